/* SPDX-License-Identifier: Apache-2.0 */
#include "store/formats/reader.h"
#include "store/internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 64 /* of directories; each level holds a descriptor while it is walked */

static const StoreFormat *const formats[] = {&source_eml, &source_maildir, &source_mbox,
                                             &source_mboxrd};

const StoreFormat *
source_format_find (const char *name)
{
  for (size_t i = 0; i < G_N_ELEMENTS (formats); i++)
    if (strcmp (formats[i]->name, name) == 0)
      return formats[i];
  return NULL;
}

void
source_warn (GPtrArray *warnings, const char *format, ...)
{
  if (warnings->len == SOURCE_WARNINGS_MAX)
    g_ptr_array_add (warnings, g_strdup ("there are more warnings than are kept"));
  if (warnings->len > SOURCE_WARNINGS_MAX)
    return;
  va_list args;
  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  g_ptr_array_add (warnings, store_text_printable (text));
}

void
source_lose (Source *self, const char *path, const char *reason)
{
  source_warn (self->warnings, "%s/%s: %s", self->root, path, reason);
  self->lost++;
}

uint64_t
source_lost (const Source *self)
{
  return self->lost;
}

static void
free_folder (gpointer data)
{
  SourceFolder *folder = data;
  g_free (folder->path);
  g_strfreev (folder->levels);
  g_free (folder);
}

bool
source_open_root (Source *self, const char *path, const char *unit, GPtrArray *warnings,
                  char **out_file, GError **error)
{
  self->fd = -1;
  self->unit = unit;
  self->warnings = warnings;
  self->root = realpath (path, NULL);
  if (self->root == NULL)
    return fail_errno (error, "%s", path);
  self->folders = g_ptr_array_new_with_free_func (free_folder);
  self->fd = open (self->root, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (self->fd >= 0 || errno != ENOTDIR)
    return self->fd >= 0 || fail_errno (error, "open %s", path);

  g_autofree char *parent = g_path_get_dirname (self->root);
  g_autofree char *file = g_path_get_basename (self->root);
  self->fd = open (parent, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  if (self->fd < 0 || fstatat (self->fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_errno (error, "open %s", path);
  if (!S_ISREG (st.st_mode))
    return fail (error, EINVAL, "%s is neither a file nor a directory", path);
  free (self->root);
  self->root = strdup (parent);
  *out_file = g_steal_pointer (&file);
  return true;
}

void
source_clear (Source *self)
{
  free (self->root);
  store_close_fd (&self->fd);
  g_clear_pointer (&self->folders, g_ptr_array_unref);
}

void
source_progress (const Source *self, StoreProgress *out)
{
  /* Messages may have arrived since they were counted. */
  *out = (StoreProgress){
      .done = self->done, .total = MAX (self->total, self->done), .unit = self->unit};
}

void
source_add_folder (Source *self, const char *path, char **levels, uint64_t weight)
{
  SourceFolder *folder = g_new (SourceFolder, 1);
  *folder = (SourceFolder){.path = g_strdup (path), .levels = levels, .weight = weight};
  g_ptr_array_add (self->folders, folder);
  self->total += weight;
}

int
source_open_directory (int directory_fd, const char *path, GError **error)
{
  int fd = layout_open (directory_fd, path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    fail_errno (error, "open directory %s", *path == '\0' ? "." : path);
  return fd;
}

int
source_open_file (int directory_fd, const char *name, struct stat *out, GError **error)
{
  auto_fd fd = layout_open_message (directory_fd, name);
  if (fd < 0 || fstat (fd, out) < 0) {
    fail_errno (error, "open %s", name);
    return -1;
  }
  return g_steal_fd (&fd);
}

static int
compare_entries (gconstpointer a, gconstpointer b)
{
  const SourceEntry *const *left = a, *const *right = b;
  return strcmp ((*left)->name, (*right)->name);
}

static unsigned char
type_of (int directory_fd, const struct dirent *entry)
{
  struct stat st;
  if (entry->d_type != DT_UNKNOWN)
    return entry->d_type;
  if (fstatat (directory_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return DT_UNKNOWN;
  return IFTODT (st.st_mode);
}

GPtrArray *
source_list (int directory_fd, GError **error)
{
  auto_fd fd = source_open_directory (directory_fd, "", error);
  if (fd < 0)
    return NULL;
  DIR *directory = fdopendir (fd);
  if (directory == NULL) {
    fail_errno (error, "read directory");
    return NULL;
  }
  g_steal_fd (&fd); /* closedir() closes it */
  g_autoptr (GPtrArray) entries = g_ptr_array_new_with_free_func (g_free);
  const struct dirent *entry;
  while (errno = 0, (entry = readdir (directory)) != NULL) {
    if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
      continue;
    size_t size = strlen (entry->d_name) + 1;
    SourceEntry *copy = g_malloc (sizeof *copy + size);
    copy->type = type_of (directory_fd, entry);
    memcpy (copy->name, entry->d_name, size);
    g_ptr_array_add (entries, copy);
  }
  int code = errno;
  closedir (directory);
  if (code != 0) {
    fail (error, code, "read directory: %s", g_strerror (code));
    return NULL;
  }
  g_ptr_array_sort (entries, compare_entries);
  return g_steal_pointer (&entries);
}

static bool walk_directory (Source *self, SourceVisit visit, int directory_fd, const char *path,
                            GPtrArray *entries, int depth, GError **error);

/* Enters a child. What is wrong with it does not concern its siblings. */
static bool
walk_child (Source *self, SourceVisit visit, int directory_fd, const char *path, const char *name,
            int depth, GError **error)
{
  g_autofree char *child = *path == '\0' ? g_strdup (name) : g_strdup_printf ("%s/%s", path, name);
  if (depth == DEPTH_MAX) {
    source_lose (self, child, "directories are nested too deeply");
    return true;
  }
  g_autoptr (GError) reason = NULL;
  auto_fd fd = source_open_directory (directory_fd, name, &reason);
  g_autoptr (GPtrArray) entries = fd < 0 ? NULL : source_list (fd, &reason);
  if (entries == NULL) {
    source_lose (self, child, reason->message);
    return true;
  }
  return walk_directory (self, visit, fd, child, entries, depth + 1, error);
}

static bool
walk_directory (Source *self, SourceVisit visit, int directory_fd, const char *path,
                GPtrArray *entries, int depth, GError **error)
{
  if (!visit (self, directory_fd, path, entries, error))
    return false;
  for (guint i = 0; i < entries->len; i++) {
    const SourceEntry *entry = g_ptr_array_index (entries, i);
    if (entry->type == DT_LNK)
      source_warn (self->warnings, "%s/%s%s%s: a symbolic link; not followed", self->root, path,
                   *path == '\0' ? "" : "/", entry->name);
    else if (entry->type == DT_DIR &&
             !walk_child (self, visit, directory_fd, path, entry->name, depth, error))
      return false;
  }
  return true;
}

bool
source_walk (Source *self, SourceVisit visit, GError **error)
{
  g_autoptr (GPtrArray) entries = source_list (self->fd, error);
  if (entries == NULL)
    return fail_prefix (error, "%s", self->root);
  return walk_directory (self, visit, self->fd, "", entries, 0, error);
}
