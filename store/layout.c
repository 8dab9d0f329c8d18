/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are on disk, and how they come there. Paths never leave the store. */
#include "store/internal.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

int
layout_open (int fd, const char *path, int flags, mode_t mode)
{
  /* O_NONBLOCK: a FIFO in the place of a file must not hold the opener up. With O_PATH nothing is
   * opened. */
  flags |= O_CLOEXEC | (flags & O_PATH ? 0 : O_NONBLOCK);
  struct open_how how = {.flags = (uint64_t)flags,
                         .mode = flags & O_CREAT ? mode : 0,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  bool reading = (flags & (O_ACCMODE | O_CREAT | O_PATH)) == O_RDONLY;
  how.flags |= reading ? O_NOATIME : 0;
  int opened = (int)syscall (SYS_openat2, fd, *path ? path : ".", &how, sizeof how);
  /* Only the owner may read without leaving a trace. */
  if (opened < 0 && errno == EPERM && reading) {
    how.flags &= ~(uint64_t)O_NOATIME;
    opened = (int)syscall (SYS_openat2, fd, *path ? path : ".", &how, sizeof how);
  }
  return opened;
}

int
layout_open_message (int fd, const char *name)
{
  auto_fd message = layout_open (fd, name, O_RDONLY | O_NOFOLLOW, 0);
  struct stat st;
  if (message < 0 || fstat (message, &st) < 0)
    return -1;
  if (!S_ISREG (st.st_mode)) {
    errno = EMEDIUMTYPE;
    return -1;
  }
  return g_steal_fd (&message);
}

bool
layout_own (Store *store, int fd, GError **error)
{
  if (geteuid () != 0 || (store->owner_uid == 0 && store->owner_gid == 0))
    return true;
  if (fchown (fd, store->owner_uid, store->owner_gid) < 0)
    return fail_errno (error, "change the owner to %u:%u", store->owner_uid, store->owner_gid);
  return true;
}

bool
layout_own_path (Store *store, const char *path, GError **error)
{
  auto_fd fd = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_PATH);
  if (fd < 0)
    return fail_errno (error, "open %s", path);
  if (geteuid () != 0 || (store->owner_uid == 0 && store->owner_gid == 0))
    return true;
  if (fchownat (fd, "", store->owner_uid, store->owner_gid, AT_EMPTY_PATH) < 0)
    return fail_errno (error, "change the owner of %s", path);
  return true;
}

int
layout_move (int from_fd, const char *from, int to_fd, const char *to)
{
  if (renameat2 (from_fd, from, to_fd, to, RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS)
    return -1;
  /* Directories cannot be linked. An empty one may be replaced, no other. */
  struct stat st;
  if (fstatat (from_fd, from, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR (st.st_mode))
    return renameat (from_fd, from, to_fd, to);
  if (linkat (from_fd, from, to_fd, to, 0) < 0)
    return -1;
  /* It is in place: failing now would make the caller put it there again. What is left in tmp/ is
   * swept away later. */
  unlinkat (from_fd, from, 0);
  return 0;
}

bool
layout_make_directory (Store *store, int parent_fd, const char *name, LayoutPrepareFunc prepare,
                       void *data, GError **error)
{
  int tmp = layout_tmp (store, error);
  if (tmp < 0)
    return false;
  char temporary[32];
  layout_tmp_name (store, temporary);
  if (mkdirat (tmp, temporary, 0750) < 0)
    return fail_errno (error, "make a directory in %s/tmp", store->path);
  auto_fd fd = layout_open (tmp, temporary, O_RDONLY | O_DIRECTORY, 0);
  bool ready = fd < 0 || fchmod (fd, 0750) < 0
                   ? fail_errno (error, "open tmp/%s", temporary)
                   : layout_own (store, fd, error) && prepare (fd, data, error);
  if (ready && fsync (fd) < 0)
    ready = fail_errno (error, "sync '%s'", name);
  if (ready && layout_move (tmp, temporary, parent_fd, name) < 0)
    ready = fail_errno (error, "make directory '%s'", name);
  if (!ready) {
    if (fd >= 0)
      unlinkat (fd, LAYOUT_STATE, 0);
    unlinkat (tmp, temporary, AT_REMOVEDIR);
    return fail_prefix (error, "directory '%s'", name);
  }
  if (fsync (parent_fd) < 0)
    return fail_errno (error, "sync the parent of '%s'", name);
  return true;
}

char *
layout_index_path (Store *store, const char *node_path)
{
  return g_strdup_printf ("%s/index/%s.sqlite3", store->path, node_path);
}

char *
layout_fulltext_path (Store *store, const char *node_path)
{
  return g_strdup_printf ("%s/index/%s.sqlite3-text", store->path, node_path);
}

/* An empty journal says nothing; every database of ours has one. */
static bool
is_empty_journal (const char *path)
{
  struct stat st;
  return g_str_has_suffix (path, "-journal") && lstat (path, &st) == 0 && S_ISREG (st.st_mode) &&
         st.st_size == 0;
}

/* Renames a database with what belongs to it. The directory is synced: whoever goes on to make
 * another one in its place must not find this one there again after a loss of power. */
static bool
move_database (const char *path, const char *new_path, GError **error)
{
  static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
  for (size_t i = 0; i < G_N_ELEMENTS (suffixes); i++) {
    g_autofree char *from = g_strconcat (path, suffixes[i], NULL);
    g_autofree char *to = g_strconcat (new_path, suffixes[i], NULL);
    int moved = is_empty_journal (from)
                    ? unlink (from)
                    : renameat2 (AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (moved < 0 && errno != ENOENT)
      return fail_errno (error, "keep %s as %s", from, to);
  }
  g_autofree char *directory = g_path_get_dirname (path);
  auto_fd fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd < 0 || fsync (fd) == 0 || fail_errno (error, "sync %s", directory);
}

/* The name that evidence about `path` is kept under. With microseconds: it may happen again within
 * the second. */
static char *
make_damaged_path (const char *path)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *stamp = g_date_time_format (now, "%Y%m%dT%H%M%S.%f");
  return g_strdup_printf ("%s.damaged-%s", path, stamp);
}

bool
layout_keep_damaged (const char *path, GError **error)
{
  g_autofree char *kept = make_damaged_path (path);
  return move_database (path, kept, error);
}

#define BROKEN_MAX 10u

char *
layout_broken_path (const char *path, unsigned n)
{
  g_autofree char *broken = g_strdup_printf ("%s.broken-%u", path, n);
  struct stat st;
  return n < BROKEN_MAX && lstat (broken, &st) == 0 ? g_steal_pointer (&broken) : NULL;
}

bool
layout_set_aside (const char *path, GError **error)
{
  unsigned n = 0;
  for (char *taken; (taken = layout_broken_path (path, n)) != NULL; n++)
    g_free (taken);
  g_autofree char *broken = g_strdup_printf ("%s.broken-%u", path, n);
  return n < BROKEN_MAX ? move_database (path, broken, error)
                        : fail (error, EEXIST, "%s: too many broken ones lie beside it", path);
}

/* From the last to the first, so that there is never a gap. */
bool
layout_keep_broken (const char *path, GError **error)
{
  for (unsigned n = BROKEN_MAX; n-- > 0;) {
    g_autofree char *broken = layout_broken_path (path, n);
    g_autofree char *kept = make_damaged_path (path);
    if (broken != NULL && !move_database (broken, kept, error))
      return false;
  }
  return true;
}

/* The database first: a journal without one is ignored, a database with a journal that is not its
 * own would be destroyed. */
bool
layout_remove_database (const char *path, GError **error)
{
  g_autofree char *journal = g_strconcat (path, "-journal", NULL);
  g_autofree char *directory = g_path_get_dirname (path);
  if ((unlink (path) < 0 && errno != ENOENT) || (unlink (journal) < 0 && errno != ENOENT))
    return fail_errno (error, "remove %s", path);
  auto_fd fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd >= 0 && fsync (fd) < 0)
    return fail_errno (error, "sync %s", directory);
  return true;
}

bool
layout_write (int fd, const void *bytes, size_t size, GError **error)
{
  for (size_t done = 0; done < size;) {
    ssize_t written = write (fd, (const char *)bytes + done, size - done);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return fail_errno (error, "write");
    done += (size_t)written;
  }
  return true;
}

/* ---- removing ------------------------------------------------------------------------------ */

/* Each level is opened from the one above it, so nobody can lead this elsewhere by a link. */
bool
layout_empty (int fd, GError **error)
{
  auto_fd copy = layout_open (fd, "", O_RDONLY | O_DIRECTORY, 0);
  DIR *directory = copy >= 0 ? fdopendir (copy) : NULL;
  if (directory == NULL)
    return fail_errno (error, "read a directory");
  copy = -1;
  bool good = true;
  for (struct dirent *entry; (entry = readdir (directory)) != NULL;) {
    if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0 &&
        !layout_remove (fd, entry->d_name, good ? error : NULL))
      good = false;
  }
  closedir (directory);
  return good;
}

bool
layout_remove (int fd, const char *name, GError **error)
{
  if (unlinkat (fd, name, 0) == 0)
    return true;
  if (errno != EISDIR)
    return fail_errno (error, "remove '%s'", name);
  auto_fd child = layout_open (fd, name, O_RDONLY | O_DIRECTORY, 0);
  if (child < 0)
    return fail_errno (error, "remove '%s'", name);
  return (layout_empty (child, error) || fail_prefix (error, "'%s'", name)) &&
         (unlinkat (fd, name, AT_REMOVEDIR) == 0 || fail_errno (error, "remove '%s'", name));
}

/* ---- tmp/ ------------------------------------------------------------------------------------ */

bool
layout_tmp_remove (int tmp, const char *name)
{
  auto_fd fd = layout_open (tmp, name, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0 || flock (fd, LOCK_EX | LOCK_NB) < 0)
    return false;
  layout_empty (fd, NULL);
  return unlinkat (tmp, name, AT_REMOVEDIR) == 0;
}

static void
sweep_tmp (int tmp)
{
  auto_fd copy = layout_open (tmp, "", O_RDONLY | O_DIRECTORY, 0);
  DIR *directory = copy >= 0 ? fdopendir (copy) : NULL;
  if (directory == NULL)
    return;
  copy = -1;
  for (struct dirent *entry; (entry = readdir (directory)) != NULL;) {
    if (entry->d_name[0] != '.')
      layout_tmp_remove (tmp, entry->d_name);
  }
  closedir (directory);
}

/* Makes and locks a directory; -1 with errno EAGAIN when another process swept it away before. */
static int
make_tmp (Store *store, int tmp, const char *name)
{
  if (mkdirat (tmp, name, 0700) < 0)
    return -1;
  auto_fd fd = layout_open (tmp, name, O_RDONLY | O_DIRECTORY, 0);
  struct stat st;
  if (fd < 0 || flock (fd, LOCK_EX | LOCK_NB) < 0 || fstat (fd, &st) < 0 || st.st_nlink == 0) {
    errno = EAGAIN;
    return -1;
  }
  if (!layout_own (store, fd, NULL))
    return -1;
  return g_steal_fd (&fd);
}

int
layout_tmp (Store *store, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  if (store->tmp_fd >= 0)
    return store->tmp_fd;
  auto_fd tmp = layout_open (store->fd, "tmp", O_RDONLY | O_DIRECTORY, 0);
  if (tmp < 0) {
    fail_errno (error, "open %s/tmp", store->path);
    return -1;
  }
  sweep_tmp (tmp);
  for (int attempt = 0; attempt < 10; attempt++) {
    snprintf (store->tmp_name, sizeof store->tmp_name, "%d.%08x", getpid (), g_random_int ());
    store->tmp_fd = make_tmp (store, tmp, store->tmp_name);
    if (store->tmp_fd >= 0)
      return store->tmp_fd;
    if (errno != EAGAIN && errno != EEXIST)
      break;
  }
  fail_errno (error, "make a directory in %s/tmp", store->path);
  return -1;
}

void
layout_tmp_name (Store *store, char out[32])
{
  snprintf (out, 32, "%u", (unsigned)g_atomic_int_add (&store->tmp_count, 1));
}

void
layout_tmp_close (Store *store)
{
  if (store->tmp_fd < 0)
    return;
  auto_fd tmp = layout_open (store->fd, "tmp", O_RDONLY | O_DIRECTORY, 0);
  if (tmp >= 0)
    unlinkat (tmp, store->tmp_name, AT_REMOVEDIR);
  close (store->tmp_fd);
  store->tmp_fd = -1;
}

void
layout_message_path (uint32_t uid, bool expunged, char out[32])
{
  char name[STORE_NAME_SIZE];
  store_message_name (uid, name);
  g_snprintf (out, 32, "%s%s", expunged ? LAYOUT_EXPUNGED "/" : "", name);
}

bool
layout_message_stat (int fd, const char *path, struct stat *out)
{
  return fstatat (fd, path, out, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG (out->st_mode);
}

/* ---- reading directories --------------------------------------------------------------------- */

gint
layout_compare_uids (gconstpointer a, gconstpointer b)
{
  uint32_t first = *(const uint32_t *)a, second = *(const uint32_t *)b;
  return first < second ? -1 : first > second;
}

static DIR *
open_stream (int fd, const char *path, GError **error)
{
  auto_fd copy = layout_open (fd, path, O_RDONLY | O_DIRECTORY, 0);
  DIR *stream = copy >= 0 ? fdopendir (copy) : NULL;
  if (stream == NULL)
    fail_errno (error, "open directory '%s'", path);
  else
    copy = -1;
  return stream;
}

/* Behind the last readdir(3), which had to leave errno as it was. */
static bool
close_stream (DIR *stream, const char *path, GError **error)
{
  int code = errno;
  closedir (stream);
  errno = code;
  return code == 0 || fail_errno (error, "read directory '%s'", path);
}

static gint
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

GPtrArray *
layout_names (int fd, const char *path, GError **error)
{
  DIR *directory = open_stream (fd, path, error);
  if (directory == NULL)
    return NULL;
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  struct dirent *entry;
  for (errno = 0; (entry = readdir (directory)) != NULL; errno = 0) {
    if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0)
      g_ptr_array_add (names, g_strdup (entry->d_name));
  }
  if (!close_stream (directory, path, error))
    return NULL;
  g_ptr_array_sort (names, compare_names);
  return g_steal_pointer (&names);
}

GArray *
layout_uids (int fd, const char *path, GPtrArray *strays, GError **error)
{
  DIR *directory = open_stream (fd, path, error);
  if (directory == NULL)
    return NULL;
  g_autoptr (GArray) uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  struct dirent *entry;
  for (errno = 0; (entry = readdir (directory)) != NULL; errno = 0) {
    uint32_t uid = store_message_uid (entry->d_name);
    bool file = entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN;
    if (uid > 0 && file)
      g_array_append_val (uids, uid);
    else if (strays != NULL && entry->d_name[0] != '.' && entry->d_type != DT_DIR)
      g_ptr_array_add (strays, g_strdup (entry->d_name));
  }
  if (!close_stream (directory, path, error))
    return NULL;
  g_array_sort (uids, layout_compare_uids);
  return g_steal_pointer (&uids);
}

GArray *
layout_numbers (int fd, const char *path, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (GPtrArray) names = layout_names (fd, path, &failure);
  if (names == NULL && failure->code != ENOENT) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  GArray *numbers = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; names != NULL && i < names->len; i++) {
    uint64_t number;
    if (!g_ascii_string_to_unsigned (names->pdata[i], 10, 0, STORE_NUMBER_MAX, &number, NULL))
      continue;
    uint32_t found = (uint32_t)number;
    g_array_append_val (numbers, found);
  }
  g_array_sort (numbers, layout_compare_uids);
  return numbers;
}

int64_t
time_ns (const struct timespec *time)
{
  int64_t ns;
  return __builtin_mul_overflow ((int64_t)time->tv_sec, 1000000000, &ns) ||
                 __builtin_add_overflow (ns, time->tv_nsec, &ns)
             ? time->tv_sec < 0 ? INT64_MIN : INT64_MAX
             : ns;
}

int64_t
stat_mtime_ns (const struct stat *st)
{
  return time_ns (&st->st_mtim);
}

int64_t
stat_ctime_ns (const struct stat *st)
{
  return time_ns (&st->st_ctim);
}
