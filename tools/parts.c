/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts.c - mailstore parts: what is inside a message.
 *
 *   mailstore parts joe@example.com 42
 *   mailstore parts joe@example.com 42 text.txt message/header.txt
 *   mailstore parts --output DIR joe@example.com 42
 */
#include "tools/print.h"
#include "tools/tools.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *output;
static gboolean damaged;

const GOptionEntry parts_options[] = {
    {"output", 'o', 0, G_OPTION_ARG_FILENAME, &output,
     "put all of it into this directory, which is made", "DIR"},
    {"damaged", 0, 0, G_OPTION_ARG_NONE, &damaged,
     "look into what is there, even if it is not what was delivered", NULL},
    {NULL},
};

/* ---- the list ------------------------------------------------------------------------------- */

static char *
make_path (const StoreParts *parts, uint32_t index)
{
  const StorePart *part = store_parts_get (parts, index);
  char *path = g_strdup (part->name);
  while (part->parent != STORE_PARTS_TOP) {
    part = store_parts_get (parts, part->parent);
    g_autofree char *below = path;
    path = g_build_filename (part->name, below, NULL);
  }
  return path;
}

static void
print_part (const Tool *tool, const StorePart *part, const char *path)
{
  if (tool->json) {
    GString *json = json_begin ("part");
    json_string (json, "path", path);
    json_string (json, "kind", store_part_kind_name (part->kind));
    json_string (json, "content_type", part->type);
    json_string (json, "charset", part->charset);
    json_uint (json, "size", part->size);
    json_uint (json, "offset", part->offset);
    json_uint (json, "raw_size", part->raw_size);
    json_print (json);
    return;
  }
  bool is_directory = part->kind == STORE_PART_MESSAGE;
  g_autofree char *size = is_directory ? g_strdup ("-") : text_size (part->size);
  printf ("%9s  %-26s  %s%s\n", size, part->type, path, is_directory ? "/" : "");
}

static void
list_parts (Tool *tool, const StoreParts *parts)
{
  for (uint32_t i = 0; i < store_parts_count (parts); i++) {
    g_autofree char *path = make_path (parts, i);
    print_part (tool, store_parts_get (parts, i), path);
  }
}

/* ---- one by one ----------------------------------------------------------------------------- */

static uint32_t
find_part (const StoreParts *parts, const char *path)
{
  g_auto (GStrv) names = g_strsplit (path, "/", -1);
  uint32_t index = STORE_PARTS_TOP;
  for (char **name = names; *name != NULL; name++) {
    index = store_parts_find (parts, index, *name);
    if (index == STORE_PARTS_TOP)
      break;
  }
  return index;
}

static bool
write_parts (const StoreParts *parts, int fd, char **paths, GError **error)
{
  for (; *paths != NULL; paths++) {
    uint32_t index = find_part (parts, *paths);
    if (index == STORE_PARTS_TOP)
      return fail (error, ENOENT, "the message has no part '%s'", *paths);
    if (!store_part_write (parts, index, fd, STDOUT_FILENO, error))
      return false;
  }
  return true;
}

/* ---- all into a directory ------------------------------------------------------------------- */

/* A directory that is open: that of the message, or of one that was forwarded in it. */
typedef struct {
  uint32_t part;
  int fd;
} Level;

static void
level_clear (Level *level)
{
  store_close_fd (&level->fd);
}

static bool
extract_file (const StoreParts *parts, uint32_t index, int fd, int directory, GError **error)
{
  const char *name = store_parts_get (parts, index)->name;
  auto_fd out =
      openat (directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
  if (out < 0)
    return fail_errno (error, "create '%s'", name);
  return store_part_write (parts, index, fd, out, error);
}

static bool
enter (GArray *levels, uint32_t part, int parent, const char *name, GError **error)
{
  if (mkdirat (parent, name, 0750) < 0)
    return fail_errno (error, "make directory '%s'", name);
  Level level = {part, openat (parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
  if (level.fd < 0)
    return fail_errno (error, "open directory '%s'", name);
  g_array_append_val (levels, level);
  return true;
}

/* Each part lies in one of the directories that are open, for it follows what it lies in. A path
 * could be longer than the kernel takes. */
static bool
extract (const StoreParts *parts, int fd, GError **error)
{
  g_autoptr (GArray) levels = g_array_new (FALSE, FALSE, sizeof (Level));
  g_array_set_clear_func (levels, (GDestroyNotify)level_clear);
  if (!enter (levels, STORE_PARTS_TOP, AT_FDCWD, output, error))
    return false;
  for (uint32_t i = 0; i < store_parts_count (parts); i++) {
    const StorePart *part = store_parts_get (parts, i);
    while (g_array_index (levels, Level, levels->len - 1).part != part->parent)
      g_array_set_size (levels, levels->len - 1);
    int directory = g_array_index (levels, Level, levels->len - 1).fd;
    if (part->kind == STORE_PART_MESSAGE ? !enter (levels, i, directory, part->name, error)
                                         : !extract_file (parts, i, fd, directory, error))
      return false;
  }
  return true;
}

bool
parts_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc < 2)
    return fail (error, EINVAL, "parts takes a MAILBOX and a UID");
  if (output != NULL && argc > 2)
    return fail (error, EINVAL, "--output takes all parts");
  auto_fd fd = tool_message_open (tool, argv[0], argv[1], damaged, error);
  g_autoptr (StoreParts) parts = fd >= 0 ? store_parts_new (fd, error) : NULL;
  if (parts == NULL)
    return false;
  if (!store_parts_are_all (parts))
    tool_say (tool, "not all parts are shown: there are too many, or they are nested too deeply");
  if (argc > 2)
    return write_parts (parts, fd, argv + 2, error);
  if (output != NULL)
    return extract (parts, fd, error);
  list_parts (tool, parts);
  return true;
}
