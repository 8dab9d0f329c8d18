/* SPDX-License-Identifier: Apache-2.0 */
/* Adding to a history, and dropping from it what no snapshot needs. */
#include "store/history.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- writing ------------------------------------------------------------------------------- */

int
history_append (History *self, const char *lines, GError **error)
{
  auto_fd fd = lines_open (self->store, self->path, error);
  if (fd < 0 || !lines_write (self->store, self->path, fd, lines, error))
    return -1;
  /* The disk begins at once: there is less to wait for once the caller has synced what else it
   * must. */
  sync_file_range (fd, 0, 0, SYNC_FILE_RANGE_WRITE);
  return g_steal_fd (&fd);
}

bool
history_sync (History *self, int fd, GError **error)
{
  struct stat st;
  if (fdatasync (fd) < 0 || fstat (fd, &st) < 0)
    return fail_errno (error, "sync %s/%s", self->store->path, self->path);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  self->settled = (uint64_t)st.st_size;
  return true;
}

bool
history_settle (History *self, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  if (self->fd < 0 || self->settled >= self->size)
    return true;
  auto_fd directory = layout_open (self->store->fd, HISTORY, O_RDONLY | O_DIRECTORY, 0);
  if (directory < 0 || fdatasync (self->fd) < 0 || fsync (directory) < 0)
    return fail_errno (error, "sync %s/%s", self->store->path, self->path);
  self->settled = self->size;
  return true;
}

/* ---- dropping what nobody needs ------------------------------------------------------------ */

/* Marks the lines that a snapshot needs; of removed directories also the one that tells where they
 * are. Returns how many there are. */
static guint
mark_needed (History *self, const SnapshotSet *snapshots, bool *needed)
{
  GHashTableIter iter;
  gpointer key;
  guint count = 0;
  g_hash_table_iter_init (&iter, self->last);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    g_autofree char *place = NULL;
    guint at = 0;
    bool any = false;
    for (guint i = 0; i < snapshots->snapshots->len; i++) {
      const StoreSnapshot *snapshot = snapshots->snapshots->pdata[i];
      const Line *line = line_find (self, GPOINTER_TO_UINT (key), snapshot->epoch);
      if (line == NULL)
        break; /* Nor is there one for those that came later. */
      needed[line - (const Line *)(void *)self->lines->data] = any = true;
    }
    if (any && self->is_tree &&
        (at = history_find_place (self, GPOINTER_TO_UINT (key), &place)) > 0)
      needed[at - 1] = true;
  }
  for (guint i = 0; i < self->lines->len; i++)
    count += needed[i];
  return count;
}

/* Writes the lines that are needed to a new file, which takes the place of the old one. */
static bool
rewrite (History *self, const bool *needed, GError **error)
{
  auto_fd directory = layout_open (self->store->fd, HISTORY, O_RDONLY | O_DIRECTORY, 0);
  g_autofree char *name = g_path_get_basename (self->path);
  g_autofree char *temporary = g_strdup_printf (".%s.new", name);
  if (directory < 0)
    return fail_errno (error, "open %s/" HISTORY, self->store->path);
  unlinkat (directory, temporary, 0);
  auto_fd fd =
      openat (directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
  FILE *out = fd >= 0 && layout_own (self->store, fd, error) ? fdopen (fd, "w") : NULL;
  if (out == NULL)
    return fail_errno (error, "write %s", self->path);
  fd = -1;
  bool good = true;
  for (guint i = 0; i < self->lines->len && good; i++) {
    g_autofree char *line =
        needed[i] ? line_read_raw (self, g_array_index (self->lines, Line, i).at, error) : NULL;
    good = !needed[i] || (line != NULL && fprintf (out, "%s\n", line) > 0);
  }
  good = good && fflush (out) == 0 && fsync (fileno (out)) == 0;
  int code = errno;
  fclose (out);
  errno = code;
  if (good && renameat (directory, temporary, directory, name) == 0)
    return fsync (directory) == 0 || fail_errno (error, "sync %s/" HISTORY, self->store->path);
  unlinkat (directory, temporary, 0);
  return error != NULL && *error != NULL ? false : fail_errno (error, "write %s", self->path);
}

bool
history_compact (History *self, const SnapshotSet *snapshots, bool *out_left, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  if (!history_load_locked (self, error))
    return false;
  *out_left = self->fd >= 0;
  if (self->fd < 0 || snapshots->doubtful)
    return true;
  g_autofree bool *needed = g_new0 (bool, self->lines->len + 1);
  guint count = mark_needed (self, snapshots, needed);
  *out_left = count > 0;
  if (count == self->lines->len && count > 0)
    return true;
  if (count > 0)
    return rewrite (self, needed, error);
  return unlinkat (self->store->fd, self->path, 0) == 0 ||
         fail_errno (error, "remove %s/%s", self->store->path, self->path);
}
