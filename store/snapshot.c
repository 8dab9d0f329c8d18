/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: STORE/snapshots/NAME is a line of text, and that is all that taking one writes besides
 * the store's new epoch.
 *
 * A file that makes no sense stands for a snapshot of any epoch: it is listed, and all that changes
 * is kept until it is dropped. So damage here costs room, and no snapshot.
 */
#include "store/snapshot.h"

#include <dirent.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEMPORARY ".new"

/* A directory that was changed within this time could be changed again without its mtime showing
 * it. */
#define FRESH_NS 100000000

/* Names that become others while they are read are read again, at most so many times. */
#define LOOKS_MAX 100

void
store_snapshot_clear (StoreSnapshot *snapshot)
{
  g_clear_pointer (&snapshot->name, g_free);
}

void
store_snapshot_free (StoreSnapshot *snapshot)
{
  store_snapshot_clear (snapshot);
  g_free (snapshot);
}

static StoreSnapshot
copy_snapshot (const StoreSnapshot *from)
{
  StoreSnapshot copy = *from;
  copy.name = g_strdup (from->name);
  return copy;
}

/* ---- names --------------------------------------------------------------------------------- */

static bool
is_reserved (const char *name)
{
  return *name == '\0' || *name == '.' || strcmp (name, "latest") == 0 || strcmp (name, "new") == 0;
}

/* The file of that name. What is escaped already is taken as it is, as with mailboxes. */
static char *
file_name (const char *name, GError **error)
{
  bool lossy;
  g_autofree char *plain = store_name_unescape (name);
  g_autofree char *again = store_name_escape (plain, NULL);
  g_autofree char *escaped = store_name_escape (name, &lossy);
  if (is_reserved (name)) {
    g_autofree char *printable = store_text_printable (name);
    fail (error, EINVAL, "'%s' cannot be the name of a snapshot", printable);
    return NULL;
  }
  if (strcmp (again, name) == 0)
    return g_strdup (name);
  if (lossy) {
    fail (error, ENAMETOOLONG, "the name of a snapshot has at most 255 bytes");
    return NULL;
  }
  return g_steal_pointer (&escaped);
}

/* ---- files --------------------------------------------------------------------------------- */

static bool
parse_number (const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
  return g_ascii_string_to_unsigned (text, 10, least, most, out, NULL);
}

/* "1 EPOCH SLOT NEXT-NUMBER TAKEN-NS" */
static bool
parse_snapshot (char *text, StoreSnapshot *out)
{
  char *end = strchr (text, '\n');
  if (end == NULL || end[1] != '\0')
    return false;
  *end = '\0';
  g_auto (GStrv) fields = g_strsplit (text, " ", 6);
  uint64_t epoch, slot, next, taken;
  if (g_strv_length (fields) != 5 || strcmp (fields[0], "1") != 0 ||
      !parse_number (fields[1], 1, UINT32_MAX - 1, &epoch) ||
      !parse_number (fields[2], 1, STORE_SNAPSHOTS_MAX, &slot) ||
      !parse_number (fields[3], 1, STORE_NUMBER_MAX + 1u, &next) ||
      !parse_number (fields[4], 0, INT64_MAX, &taken))
    return false;
  out->epoch = (uint32_t)epoch;
  out->slot = (uint32_t)slot;
  out->next_number = (uint32_t)next;
  out->taken_ns = (int64_t)taken;
  return true;
}

/* Reads the snapshot `name`; its epoch is 0 when that makes no sense. False: it is none at all, or
 * has another name now (ENOENT). */
static bool
read_snapshot (int directory, const char *name, StoreSnapshot *out)
{
  StoreSnapshot snapshot = {0};
  char text[128];
  struct stat st;
  if (is_reserved (name) || fstatat (directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
      !S_ISREG (st.st_mode))
    return false;
  auto_fd fd = layout_open_message (directory, name);
  if (fd < 0 && errno == ENOENT)
    return false;
  ssize_t size = fd >= 0 ? pread (fd, text, sizeof text - 1, 0) : -1;
  text[MAX (size, 0)] = '\0';
  if (!parse_snapshot (text, &snapshot))
    snapshot.epoch = 0;
  snapshot.name = g_strdup (name);
  *out = snapshot;
  return true;
}

static bool
write_file (Store *store, int directory, const char *text, GError **error)
{
  unlinkat (directory, TEMPORARY, 0);
  auto_fd fd =
      openat (directory, TEMPORARY, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
  size_t size = strlen (text);
  if (fd < 0 || fchmod (fd, 0640) < 0 || write (fd, text, size) != (ssize_t)size)
    return fail_errno (error, "write a file in %s/" SNAPSHOTS, store->path);
  if (!layout_own (store, fd, error))
    return false;
  return fsync (fd) == 0 || fail_errno (error, "sync a file in %s/" SNAPSHOTS, store->path);
}

static bool
write_snapshot (Store *store, int directory, const StoreSnapshot *snapshot, GError **error)
{
  g_autofree char *text =
      g_strdup_printf ("1 %u %u %u %" G_GINT64_FORMAT "\n", snapshot->epoch, snapshot->slot,
                       snapshot->next_number, snapshot->taken_ns);
  bool written = write_file (store, directory, text, error);
  if (written && layout_move (directory, TEMPORARY, directory, snapshot->name) < 0)
    written = fail_errno (error, "make snapshot '%s'", snapshot->name);
  if (!written) {
    unlinkat (directory, TEMPORARY, 0);
    return false;
  }
  return fsync (directory) == 0 || fail_errno (error, "sync %s/" SNAPSHOTS, store->path);
}

/* ---- all of them --------------------------------------------------------------------------- */

SnapshotSet *
snapshot_set_ref (SnapshotSet *self)
{
  g_atomic_ref_count_inc (&self->references);
  return self;
}

void
snapshot_set_unref (SnapshotSet *self)
{
  if (self == NULL || !g_atomic_ref_count_dec (&self->references))
    return;
  g_ptr_array_unref (self->snapshots);
  g_clear_error (&self->failure);
  g_free (self);
}

static int
compare_snapshots (gconstpointer a, gconstpointer b)
{
  const StoreSnapshot *first = *(StoreSnapshot *const *)a, *second = *(StoreSnapshot *const *)b;
  if (first->epoch != second->epoch)
    return first->epoch < second->epoch ? -1 : 1;
  return strcmp (first->name, second->name);
}

/* Of two with one slot, as when a file was copied, the older one is right, and the other makes no
 * sense. */
static void
settle_slots (SnapshotSet *self)
{
  bool taken[STORE_SNAPSHOTS_MAX + 1] = {false};
  g_ptr_array_sort (self->snapshots, compare_snapshots);
  for (guint i = 0; i < self->snapshots->len; i++) {
    StoreSnapshot *snapshot = self->snapshots->pdata[i];
    if (snapshot->epoch > 0 && taken[snapshot->slot])
      snapshot->epoch = 0;
    else if (snapshot->epoch > 0)
      taken[snapshot->slot] = true;
    self->doubtful = self->doubtful || snapshot->epoch == 0;
  }
  g_ptr_array_sort (self->snapshots, compare_snapshots);
}

/* False: snapshots/ changed meanwhile, and one that was given another name may not be among them.
 */
static bool
read_set (const Store *store, SnapshotSet *self)
{
  bool still = true;
  auto_fd fd = layout_open (store->fd, SNAPSHOTS, O_RDONLY | O_DIRECTORY, 0);
  DIR *stream = fd >= 0 ? fdopendir (fd) : NULL;
  if (stream == NULL) {
    self->doubtful = true;
    fail_errno (&self->failure, "read %s/" SNAPSHOTS, store->path);
    return true;
  }
  fd = -1;
  struct dirent *entry;
  struct stat before = {0}, after = {0};
  fstat (dirfd (stream), &before);
  for (errno = 0; (entry = readdir (stream)) != NULL; errno = 0) {
    StoreSnapshot snapshot;
    if (read_snapshot (dirfd (stream), entry->d_name, &snapshot))
      g_ptr_array_add (self->snapshots, g_memdup2 (&snapshot, sizeof snapshot));
    else if (!is_reserved (entry->d_name) && errno == ENOENT)
      still = false;
  }
  if (errno != 0) {
    self->doubtful = true;
    fail_errno (&self->failure, "read %s/" SNAPSHOTS, store->path);
  }
  fstat (dirfd (stream), &after);
  closedir (stream);
  settle_slots (self);
  return (still && stat_mtime_ns (&before) == stat_mtime_ns (&after)) || self->failure != NULL;
}

/* What is there at one moment. Who holds the barrier sees nothing of all this: names change only
 * while nobody does. */
static void
read_still (const Store *store, SnapshotSet *self)
{
  for (int look = 0; look < LOOKS_MAX; look++) {
    g_ptr_array_set_size (self->snapshots, 0);
    self->doubtful = false;
    if (read_set (store, self))
      return;
  }
  self->doubtful = true;
}

static bool
same_set (const SnapshotSet *a, const SnapshotSet *b)
{
  return a->epoch == b->epoch && a->inode == b->inode && a->mtime_ns == b->mtime_ns && !a->fresh &&
         a->failure == NULL;
}

SnapshotSet *
snapshot_set_get (Store *store, uint32_t epoch)
{
  SnapshotSet now = {.epoch = epoch};
  struct stat st = {.st_ino = 1};
  struct timespec time;
  bool there = fstatat (store->fd, SNAPSHOTS, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
  if (there) {
    now.inode = st.st_ino;
    now.mtime_ns = stat_mtime_ns (&st);
  }
  g_autoptr (GMutexLocker) locker = g_mutex_locker_new (&store->snapshot_mutex);
  if (store->snapshots != NULL && same_set (store->snapshots, &now))
    return snapshot_set_ref (store->snapshots);
  g_clear_pointer (&locker, g_mutex_locker_free);
  clock_gettime (CLOCK_REALTIME, &time);
  int64_t now_ns = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
  SnapshotSet *self = g_memdup2 (&now, sizeof now);
  g_atomic_ref_count_init (&self->references);
  self->snapshots = g_ptr_array_new_with_free_func ((GDestroyNotify)store_snapshot_free);
  self->fresh = now.mtime_ns <= now_ns && now_ns - now.mtime_ns < FRESH_NS;
  if (there)
    read_still (store, self);
  g_mutex_lock (&store->snapshot_mutex);
  SnapshotSet *old = store->snapshots;
  store->snapshots = snapshot_set_ref (self);
  g_mutex_unlock (&store->snapshot_mutex);
  snapshot_set_unref (old);
  return self;
}

const StoreSnapshot *
snapshot_set_newest (const SnapshotSet *self)
{
  const StoreSnapshot *last =
      self->snapshots->len > 0 ? self->snapshots->pdata[self->snapshots->len - 1] : NULL;
  return last != NULL && last->epoch > 0 ? last : NULL;
}

static const StoreSnapshot *
find_named (const SnapshotSet *self, const char *name)
{
  for (guint i = 0; i < self->snapshots->len; i++) {
    const StoreSnapshot *snapshot = self->snapshots->pdata[i];
    if (strcmp (snapshot->name, name) == 0)
      return snapshot;
  }
  return NULL;
}

bool
snapshot_has (const StoreSnapshot *self, const MessageState *state, int64_t changed_ns)
{
  if (state == NULL || state->birth == 0) {
    if (changed_ns > self->taken_ns)
      return false;
  } else if (state->birth > self->epoch) {
    return false;
  }
  return state == NULL || state->expunged == 0 || state->expunged > self->epoch;
}

/* What there is, as somebody wants to be told of it. */
static SnapshotSet *
read_all (Store *store, GError **error)
{
  g_autoptr (SnapshotSet) set = snapshot_set_get (store, store_epoch (store));
  if (set->failure == NULL)
    return g_steal_pointer (&set);
  g_propagate_error (error, g_error_copy (set->failure));
  return NULL;
}

GPtrArray *
store_snapshot_list (Store *self, GError **error)
{
  g_autoptr (SnapshotSet) set = read_all (self, error);
  if (set == NULL)
    return NULL;
  GPtrArray *list = g_ptr_array_new_with_free_func ((GDestroyNotify)store_snapshot_free);
  for (guint i = 0; i < set->snapshots->len; i++) {
    StoreSnapshot copy = copy_snapshot (set->snapshots->pdata[i]);
    g_ptr_array_add (list, g_memdup2 (&copy, sizeof copy));
  }
  return list;
}

bool
store_snapshot_find (Store *self, const char *name, StoreSnapshot *out, GError **error)
{
  g_autoptr (SnapshotSet) set = read_all (self, error);
  if (set == NULL)
    return false;
  bool latest = strcmp (name, "latest") == 0;
  g_autofree char *file = latest ? NULL : file_name (name, NULL);
  const StoreSnapshot *snapshot = latest         ? snapshot_set_newest (set)
                                  : file != NULL ? find_named (set, file)
                                                 : NULL;
  g_autofree char *printable = store_text_printable (name);
  if (snapshot == NULL)
    return fail (error, ENOENT, "no snapshot '%s'", printable);
  if (snapshot->epoch == 0)
    return fail (error, EBADMSG, "the file of snapshot '%s' makes no sense", printable);
  *out = copy_snapshot (snapshot);
  return true;
}

/* ---- changing them ------------------------------------------------------------------------- */

/* What is known of them is not so any more. */
static void
forget_set (Store *store)
{
  g_mutex_lock (&store->snapshot_mutex);
  SnapshotSet *old = g_steal_pointer (&store->snapshots);
  g_mutex_unlock (&store->snapshot_mutex);
  snapshot_set_unref (old);
}

/* Opens the directory, and makes it when there is none. -1 and an error. */
static int
open_directory (Store *store, GError **error)
{
  if (store_is_read_only (store)) {
    fail (error, EROFS, "the store %s is open read only", store->path);
    return -1;
  }
  bool made = mkdirat (store->fd, SNAPSHOTS, 0750) == 0;
  auto_fd fd =
      made || errno == EEXIST ? layout_open (store->fd, SNAPSHOTS, O_RDONLY | O_DIRECTORY, 0) : -1;
  if (fd < 0 || (made && (fchmod (fd, 0750) < 0 || fsync (store->fd) < 0))) {
    fail_errno (error, "open %s/" SNAPSHOTS, store->path);
    return -1;
  }
  if (made)
    forget_set (store);
  return !made || layout_own (store, fd, error) ? g_steal_fd (&fd) : -1;
}

static char *
make_name (const SnapshotSet *set)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format (now, "%Y%m%dT%H%M%SZ");
  char *name = g_strdup (time);
  for (unsigned n = 2; find_named (set, name) != NULL; n++) {
    g_free (name);
    name = g_strdup_printf ("%s-%u", time, n);
  }
  return name;
}

/* A slot that nobody has. The search begins at another one each time, so that who still knows a
 * snapshot that was dropped does not take this one for it. */
static bool
choose_slot (const SnapshotSet *set, StoreSnapshot *snapshot, GError **error)
{
  bool taken[STORE_SNAPSHOTS_MAX] = {false};
  for (guint i = 0; i < set->snapshots->len; i++) {
    const StoreSnapshot *other = set->snapshots->pdata[i];
    if (other->epoch > 0)
      taken[other->slot - 1] = true;
  }
  for (uint32_t i = 0; i < STORE_SNAPSHOTS_MAX; i++) {
    uint32_t slot = (snapshot->epoch + i) % STORE_SNAPSHOTS_MAX;
    if (!taken[slot]) {
      snapshot->slot = slot + 1;
      return true;
    }
  }
  return fail (error, ENOSPC, "there are %d snapshots already", STORE_SNAPSHOTS_MAX);
}

/* Closes the store's epoch. Numbers that are in use count, too: the counter may be lost or old. */
static bool
close_epoch (Store *store, List *list, const Epoch *now, StoreSnapshot *snapshot, GError **error)
{
  struct timespec time;
  StoreState state;
  uint32_t highest;
  clock_gettime (CLOCK_REALTIME, &time);
  if (!store_state_current (store, &state, error) || !list_highest (list, &highest, error))
    return false;
  snapshot->epoch = MAX (now->epoch, (uint32_t)CLAMP (time.tv_sec, 1, UINT32_MAX - 2));
  if (snapshot->epoch >= UINT32_MAX - 1)
    return fail (error, EOVERFLOW, "the store has no epochs left");
  snapshot->next_number = MAX (state.next_number, highest + 1);
  snapshot->taken_ns = (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
  if (!choose_slot (now->snapshots, snapshot, error))
    return false;
  state.epoch = snapshot->epoch + 1;
  if (!store_state_write (store, store->mail_fd, &state, error))
    return fail_prefix (error, "%s/mail", store->path);
  return fsync (store->mail_fd) == 0 || fail_errno (error, "sync %s/mail", store->path);
}

/* With everything at a standstill. The epoch ends first: what a crash leaves in between is an epoch
 * that nobody asks for. */
static bool
take (Store *store, int directory, List *list, const char *name, StoreSnapshot *out, GError **error)
{
  g_auto (Epoch) now = EPOCH_NONE;
  g_auto (StoreSnapshot) snapshot = {0};
  if (!epoch_look (store, &now, error))
    return false;
  if (now.snapshots->failure != NULL) {
    g_propagate_error (error, g_error_copy (now.snapshots->failure));
    return false;
  }
  snapshot.name = name != NULL ? g_strdup (name) : make_name (now.snapshots);
  if (faccessat (directory, snapshot.name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    return fail (error, EEXIST, "there is a snapshot '%s' already", snapshot.name);
  if (!close_epoch (store, list, &now, &snapshot, error) ||
      !write_snapshot (store, directory, &snapshot, error))
    return false;
  if (out != NULL) {
    *out = snapshot;
    snapshot = (StoreSnapshot){0};
  }
  return true;
}

bool
store_snapshot_take (Store *self, const char *name, StoreSnapshot *out, GError **error)
{
  g_autofree char *file = name != NULL ? file_name (name, error) : NULL;
  if (name != NULL && file == NULL)
    return false;
  auto_fd directory = open_directory (self, error);
  g_auto (Standstill) still = STANDSTILL_NONE;
  if (directory < 0 || !standstill_begin (self, &still, error))
    return false;
  bool taken = take (self, directory, still.list->list, file, out, error);
  forget_set (self);
  return taken;
}

/* Takes history/ away, which no snapshot needs any more. Its lines are of epochs that have passed,
 * so it does no harm where that fails, or what is in tmp/ stays for a while. */
static void
discard_history (Store *store, char out_name[32])
{
  int tmp = layout_tmp (store, NULL);
  layout_tmp_name (store, out_name);
  if (tmp < 0 || renameat (store->fd, HISTORY, tmp, out_name) < 0)
    *out_name = '\0';
}

static bool
drop (Store *store, int directory, const char *name, bool *out_last, GError **error)
{
  if (unlinkat (directory, name, 0) < 0)
    return fail_errno (error, "drop snapshot '%s'", name);
  forget_set (store);
  if (fsync (directory) < 0)
    return fail_errno (error, "sync %s/" SNAPSHOTS, store->path);
  g_autoptr (SnapshotSet) left = snapshot_set_get (store, store_epoch (store));
  *out_last = left->snapshots->len == 0 && !left->doubtful;
  return true;
}

bool
store_snapshot_drop (Store *self, const char *name, GError **error)
{
  g_autofree char *file = file_name (name, NULL), *printable = store_text_printable (name);
  g_autoptr (SnapshotSet) set = read_all (self, error);
  if (set == NULL)
    return false;
  if (file == NULL || find_named (set, file) == NULL)
    return fail (error, ENOENT, "no snapshot '%s'", printable);
  auto_fd directory = open_directory (self, error);
  if (directory < 0)
    return false;
  char removed[32] = "";
  bool last = false;
  g_auto (Standstill) still = STANDSTILL_NONE;
  if (!standstill_begin (self, &still, error) || !drop (self, directory, file, &last, error))
    return false;
  if (last)
    discard_history (self, removed);
  standstill_end (&still);
  if (*removed != '\0')
    layout_remove (self->tmp_fd, removed, NULL);
  return true;
}

bool
store_snapshot_rename (Store *self, const char *name, const char *new_name, GError **error)
{
  g_autofree char *from = file_name (name, NULL), *to = file_name (new_name, error);
  g_autofree char *printable = store_text_printable (name);
  g_autoptr (SnapshotSet) set = to != NULL ? read_all (self, error) : NULL;
  if (set == NULL)
    return false;
  if (from == NULL || find_named (set, from) == NULL)
    return fail (error, ENOENT, "no snapshot '%s'", printable);
  auto_fd directory = open_directory (self, error);
  g_auto (Standstill) still = STANDSTILL_NONE;
  if (directory < 0 || !standstill_begin (self, &still, error))
    return false;
  if (layout_move (directory, from, directory, to) < 0)
    return errno == EEXIST ? fail (error, EEXIST, "there is a snapshot '%s' already", to)
                           : fail_errno (error, "rename snapshot '%s' to '%s'", from, to);
  forget_set (self);
  return fsync (directory) == 0 || fail_errno (error, "sync %s/" SNAPSHOTS, self->path);
}
