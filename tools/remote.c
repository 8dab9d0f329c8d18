/* SPDX-License-Identifier: Apache-2.0 */
/* remote.c - a mount of mailfs and its control files. */
#include "tools/remote.h"

#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define CONTROL_DEFAULT ".ctl"
#define ABI_MAX         1

struct Remote {
  char *path;    /* of the mountpoint */
  char *root;    /* of the tree: the mountpoint, or a snapshot below the control directory */
  char *control; /* of the control directory */
  GPtrArray *places;
};

void
remote_free (Remote *self)
{
  if (self == NULL)
    return;
  g_free (self->path);
  g_free (self->root);
  g_free (self->control);
  g_ptr_array_unref (self->places);
  g_free (self);
}

GPtrArray *
remote_places (Remote *self)
{
  return self->places;
}

char *
remote_path (const Remote *self, const char *path)
{
  return g_build_filename (self->root, path, NULL);
}

char *
remote_control_path (const Remote *self, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *path = g_strdup_vprintf (format, args);
  va_end (args);
  return g_build_filename (self->control, path, NULL);
}

char *
remote_control_below (const Remote *self, const char *directory, const char *name)
{
  g_autofree char *control = g_path_get_basename (self->control);
  return g_build_filename (self->root, directory, control, name, NULL);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* What a file shows may change while it is read; it ends where it says that it does. */
static char *
read_file (const char *path, GError **error)
{
  auto_fd fd = open (path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) {
    fail_errno (error, "open %s", path);
    return NULL;
  }
  g_autoptr (GString) text = g_string_new (NULL);
  char buffer[65536];
  ssize_t size;
  while ((size = read (fd, buffer, sizeof buffer)) > 0)
    g_string_append_len (text, buffer, size);
  if (size < 0) {
    fail_errno (error, "read %s", path);
    return NULL;
  }
  return g_string_free (g_steal_pointer (&text), FALSE);
}

/* A value that status tells, or NULL. */
static char *
find_status (const Remote *self, const char *key)
{
  g_autofree char *path = remote_control_path (self, "status");
  g_autofree char *text = read_file (path, NULL);
  g_auto (GStrv) lines = g_strsplit (text != NULL ? text : "", "\n", -1);
  size_t size = strlen (key);
  for (char **line = lines; *line != NULL; line++)
    if (strncmp (*line, key, size) == 0 && (*line)[size] == ' ')
      return g_strdup (*line + size + 1);
  return NULL;
}

/* Why it has few control files, and no snapshots. */
bool
remote_check_present (const Remote *self, GError **error)
{
  g_autofree char *snapshot = find_status (self, "snapshot");
  g_autofree char *store = snapshot != NULL ? find_status (self, "store") : NULL;
  return store == NULL || fail (error, EOPNOTSUPP,
                                "this wants the store itself, %s, not the mount of its snapshot "
                                "'%s' at %s",
                                store, snapshot, self->path);
}

char *
remote_read (const Remote *self, const char *path, GError **error)
{
  g_autofree char *whole = remote_control_path (self, "%s", path);
  g_autoptr (GError) failure = NULL;
  char *text = read_file (whole, &failure);
  if (text == NULL && (failure->code != ENOENT || remote_check_present (self, error)))
    g_propagate_error (error, g_steal_pointer (&failure));
  return text;
}

static char *
read_config (const Remote *self, const char *key, GError **error)
{
  g_autofree char *path = g_strconcat ("config/", key, NULL);
  char *value = remote_read (self, path, error);
  return value != NULL ? g_strchomp (value) : NULL;
}

bool
remote_setting (const Remote *self, StoreSetting setting, int64_t *out, GError **error)
{
  const StoreSettingInfo *info = &store_settings[setting];
  g_autofree char *value = read_config (self, info->name, error);
  if (value == NULL)
    return false;
  if (info->unit == STORE_UNIT_TIME)
    return store_age_parse (value, out, error);
  *out = g_ascii_strtoll (value, NULL, 10);
  return true;
}

/* ---- opening ------------------------------------------------------------------------------- */

/* "mailfs 0.1.0 abi 1" */
static bool
check_version (const char *path, const char *text, bool *out_is_mount, GError **error)
{
  unsigned abi = 0;
  *out_is_mount = sscanf (text, "mailfs %*s abi %u", &abi) == 1;
  return abi <= ABI_MAX || fail (error, EPROTONOSUPPORT,
                                 "%s is a mount of a newer mailfs, whose control files (version "
                                 "%u) this program does not know",
                                 path, abi);
}

/* Whether a mailfs is mounted there, as the kernel has it. */
static bool
is_mounted (const char *path)
{
  g_autofree char *real = realpath (path, NULL);
  FILE *mounts = real != NULL ? setmntent ("/proc/self/mounts", "re") : NULL;
  bool found = false;
  for (struct mntent *entry; mounts != NULL && !found && (entry = getmntent (mounts)) != NULL;)
    found = strcmp (entry->mnt_type, "fuse.mailfs") == 0 && strcmp (entry->mnt_dir, real) == 0;
  if (mounts != NULL)
    endmntent (mounts);
  return found;
}

/* There is no control directory: it is a store, or it cannot be administered. */
static bool
check_no_mount (const Tool *tool, const char *path, const char *control, const GError *failure,
                GError **error)
{
  bool mounted = is_mounted (path);
  if (mounted && failure != NULL && failure->code == EACCES)
    return fail (error, EACCES, "%s", failure->message);
  if (mounted)
    return fail (error, EOPNOTSUPP,
                 "%s is a mount of mailfs without the control directory %s: --ctldir tells its "
                 "name, and with -o ctl=off it has none",
                 path, control);
  return tool->ctldir == NULL ||
         fail (error, EOPNOTSUPP, "%s is no mount of mailfs: it has no %s", path, control);
}

bool
remote_open (const Tool *tool, const char *path, Remote **out, GError **error)
{
  g_autofree char *control =
      g_build_filename (path, tool->ctldir != NULL ? tool->ctldir : CONTROL_DEFAULT, NULL);
  g_autofree char *version = g_build_filename (control, "version", NULL);
  g_autoptr (GError) failure = NULL;
  g_autofree char *text = read_file (version, &failure);
  bool is_mount = false;
  *out = NULL;
  if (text == NULL && error_code (failure) == ENOTCONN)
    return fail (error, ENOTCONN, "%s: the mailfs that was mounted there has died", path);
  if (text != NULL && !check_version (path, text, &is_mount, error))
    return false;
  if (!is_mount)
    return check_no_mount (tool, path, control, failure, error);
  Remote *self = g_new0 (Remote, 1);
  self->path = g_strdup (path);
  self->root = g_strdup (path);
  self->control = g_steal_pointer (&control);
  self->places = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (self->places, g_strdup ("")); /* the root */
  *out = self;
  return true;
}

bool
remote_go_back (Remote *self, const char *snapshot, GError **error)
{
  g_autofree char *plain = store_name_unescape (snapshot);
  g_autofree char *again = store_name_escape (plain, NULL);
  g_autofree char *escaped = store_name_escape (snapshot, NULL);
  /* What is escaped already is taken as it is. */
  g_autofree char *path = remote_control_path (self, "snapshots/%s",
                                               strcmp (again, snapshot) == 0 ? snapshot : escaped);
  char *real = realpath (path, NULL); /* the latest one is a link */
  if (real == NULL && errno != ENOENT)
    return fail_errno (error, "%s", path);
  if (real == NULL)
    return remote_check_present (self, error) && fail (error, ENOENT, "no snapshot '%s'", snapshot);
  g_free (self->root);
  self->root = real;
  return true;
}

bool
remote_introduce (const Remote *self, const Tool *tool, GError **error)
{
  if (!tool->verbose)
    return true;
  g_autofree char *store = find_status (self, "store");
  g_autofree char *uuid = find_status (self, "uuid");
  if (store == NULL || uuid == NULL)
    return fail (error, EIO, "%s does not tell of which store it is", self->path);
  tool_say (tool, "store %s, %s", store, uuid);
  return true;
}

bool
remote_check_writable (const Remote *self, GError **error)
{
  struct statvfs filesystem;
  if (statvfs (self->path, &filesystem) < 0)
    return fail_errno (error, "%s", self->path);
  return (filesystem.f_flag & ST_RDONLY) == 0 ||
         fail (error, EROFS, "%s is mounted read-only", self->path);
}

bool
remote_is_forensic (const Remote *self)
{
  g_autofree char *access = find_status (self, "access");
  return g_strcmp0 (access, "forensic") == 0;
}

/* ---- the store behind it ------------------------------------------------------------------- */

char *
remote_store_path (const Remote *self, GError **error)
{
  g_autofree char *path = read_config (self, "store", error);
  g_autofree char *uuid = path != NULL ? read_config (self, "uuid", error) : NULL;
  if (uuid == NULL)
    return NULL;
  g_autoptr (GError) failure = NULL;
  g_autoptr (Store) store = remote_is_forensic (self)
                                ? store_open_evidence (path, NULL, &failure)
                                : store_open (path, STORE_READ_ONLY, &failure);
  if (store != NULL && strcmp (store_uuid (store), uuid) == 0)
    return g_steal_pointer (&path);
  fail (error, EOPNOTSUPP,
        "this wants the store itself, not its mount at %s: %s, which is mounted there, %s%s",
        self->path, path, store != NULL ? "is another store here" : "cannot be reached from here: ",
        store != NULL ? "" : failure->message);
  return NULL;
}
