/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks between processes, and the numbers that are given out under one of them.
 *
 * A lock is flock(2) on a directory of mail/: it needs no index, leaves nothing behind when its
 * holder dies, and every holder opens the directory anew, so threads exclude each other as well.
 */
#include "store/arrive.h"
#include "store/snapshot.h"

#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* Who waits for a lock says so by a read lock of fcntl(2) on the directory, which is in nobody's
 * way and goes with the descriptor. Where there are no such locks, nobody seems to wait. */
static void
mark_waiting (int fd, short type)
{
  struct flock mark = {.l_type = type, .l_whence = SEEK_SET};
  fcntl (fd, F_OFD_SETLK, &mark);
}

bool
lock_is_wanted (int lock)
{
  struct flock mark = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl (lock, F_OFD_GETLK, &mark) == 0 && mark.l_type != F_UNLCK;
}

static int
lock_directory (int directory_fd, const char *name, int operation, GError **error)
{
  auto_fd fd = layout_open (directory_fd, "", O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0) {
    fail_errno (error, "open '%s'", name);
    return -1;
  }
  if (flock (fd, operation | LOCK_NB) == 0)
    return g_steal_fd (&fd);
  mark_waiting (fd, F_RDLCK);
  while (flock (fd, operation) < 0) {
    if (errno != EINTR) {
      fail_errno (error, "lock '%s'", name);
      return -1;
    }
  }
  mark_waiting (fd, F_UNLCK);
  return g_steal_fd (&fd);
}

/* Evidence is not locked: whoever has it in use does not look for us. */
static int
no_lock (int fd, GError **error)
{
  int copy = fcntl (fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0)
    fail_errno (error, "lock");
  return copy;
}

static int
lock_owner (Store *store, uint32_t owner, int operation, GError **error)
{
  /* The directory may be replaced by another while this waits: then the lock is on nothing. */
  for (;;) {
    g_autoptr (StoreMailbox) directory = store_mailbox_open (store, owner, error);
    if (directory != NULL && store->evidence != NULL)
      return no_lock (directory->fd, error);
    auto_fd lock =
        directory != NULL ? lock_directory (directory->fd, directory->path, operation, error) : -1;
    if (lock < 0 || mailbox_is_current (directory))
      return g_steal_fd (&lock);
  }
}

static int
lock_to_write (Store *store, uint32_t owner, GError **error)
{
  if (store_is_read_only (store)) {
    fail (error, EROFS, "the store %s is open read only", store->path);
    return -1;
  }
  return lock_owner (store, owner, LOCK_EX, error);
}

bool
lock_fits (StoreMailbox *mailbox, GError **error)
{
  if (mailbox_is_current (mailbox))
    return true;
  g_autoptr (StoreMailbox) now = store_mailbox_open (mailbox->store, mailbox->number, NULL);
  return (now != NULL && now->device == mailbox->device && now->inode == mailbox->inode) ||
         fail (error, ESTALE, "'%s' was removed or replaced", mailbox->path);
}

int
lock_mailbox_to_deliver (StoreMailbox *mailbox, GError **error)
{
  g_autoptr (GError) failure = NULL;
  auto_fd lock = lock_to_write (mailbox->store, mailbox->owner, &failure);
  if (lock < 0 && error_code (failure) != ENOENT)
    g_propagate_error (error, g_steal_pointer (&failure));
  else if (lock < 0)
    fail (error, ESTALE, "'%s' was removed", mailbox->path);
  return g_steal_fd (&lock);
}

int
lock_mailbox (StoreMailbox *mailbox, GError **error)
{
  delivery_settle (mailbox->store, mailbox->owner, true);
  auto_fd lock = lock_mailbox_to_deliver (mailbox, error);
  return lock >= 0 && lock_fits (mailbox, error) ? g_steal_fd (&lock) : -1;
}

int
lock_user_look (Store *store, uint32_t owner, GError **error)
{
  delivery_settle (store, owner, true);
  return lock_owner (store, owner, LOCK_SH, error);
}

int
lock_user_try_look (Store *store, uint32_t owner, GError **error)
{
  return lock_owner (store, owner, LOCK_SH | LOCK_NB, error);
}

int
lock_user (Store *store, uint32_t owner, GError **error)
{
  delivery_settle (store, owner, true);
  return lock_to_write (store, owner, error);
}

int
lock_list_look (Store *store, Handle **out_list, GError **error)
{
  for (;;) {
    g_autoptr (Handle) list = cache_list (store, error);
    auto_fd lock = list == NULL ? -1
                   : store->evidence != NULL
                       ? no_lock (store->mail_fd, error)
                       : lock_directory (store->mail_fd, "mail", LOCK_SH, error);
    if (lock >= 0 && list->failure == NULL && !list_is_current (list->list))
      continue;
    if (lock >= 0)
      *out_list = g_steal_pointer (&list);
    return g_steal_fd (&lock);
  }
}

int
lock_store (Store *store, GError **error)
{
  if (store_is_read_only (store)) {
    fail (error, EROFS, "the store %s is open read only", store->path);
    return -1;
  }
  return lock_directory (store->mail_fd, "mail", LOCK_EX, error);
}

int
lock_list (Store *store, Handle **out_list, GError **error)
{
  for (;;) {
    g_autoptr (Handle) list = cache_list (store, error);
    auto_fd lock = list != NULL ? lock_store (store, error) : -1;
    if (lock < 0)
      return -1;
    if (list->failure != NULL) {
      g_propagate_error (error, g_error_copy (list->failure));
      return -1;
    }
    if (list_is_current (list->list)) {
      *out_list = g_steal_pointer (&list);
      return g_steal_fd (&lock);
    }
  }
}

/* How often lock_task() looks again, and how long it waits before. */
#define TASK_ATTEMPTS 10
#define TASK_PAUSE_US 10000

/* By LockTask. Who rebuilds shares the lock with others who do, and waits for a purge to end. */
static const struct {
  const char *name;
  int operation;
  const char *busy;
} tasks[] = {
    [LOCK_IMPORT] = {"import", LOCK_EX | LOCK_NB, "another import is running"},
    [LOCK_REBUILD] = {"rebuild", LOCK_SH, "it is being purged"},
    [LOCK_PURGE] = {"rebuild", LOCK_EX | LOCK_NB, "its index is being rebuilt, or purged"},
};

/* Opens and locks the directory `name` of tmp/, made on demand. -1 with errno EWOULDBLOCK when
 * somebody has it locked, ENOENT when it was swept away before it was locked. */
static int
try_lock_tmp (Store *store, int tmp, const char *name, int operation)
{
  if (mkdirat (tmp, name, 0700) < 0 && errno != EEXIST)
    return -1;
  auto_fd fd = layout_open (tmp, name, O_RDONLY | O_DIRECTORY, 0);
  struct stat st;
  if (fd < 0 || flock (fd, operation) < 0 || fstat (fd, &st) < 0)
    return -1;
  if (st.st_nlink == 0) {
    errno = ENOENT;
    return -1;
  }
  return layout_own (store, fd, NULL) ? g_steal_fd (&fd) : -1;
}

static bool
fail_busy (Store *store, uint32_t owner, LockTask task, GError **error)
{
  g_autofree char *path = store_node_path (store, owner, error);
  return path != NULL && fail (error, EBUSY, "'%s': %s", path, tasks[task].busy);
}

int
lock_task (Store *store, uint32_t owner, LockTask task, GError **error)
{
  if (store_is_read_only (store)) {
    fail (error, EROFS, "the store %s is open read only", store->path);
    return -1;
  }
  g_autofree char *name = g_strdup_printf ("%s.%u", tasks[task].name, owner);
  auto_fd tmp = layout_open (store->fd, "tmp", O_RDONLY | O_DIRECTORY, 0);
  if (tmp < 0) {
    fail_errno (error, "open %s/tmp", store->path);
    return -1;
  }
  /* Who sweeps tmp/ locks the directory for a moment, too, and removes it. */
  for (int attempt = 1;; attempt++) {
    int fd = try_lock_tmp (store, tmp, name, tasks[task].operation);
    if (fd >= 0)
      return fd;
    bool busy = errno == EWOULDBLOCK;
    if ((!busy && errno != ENOENT && errno != EINTR) || attempt == TASK_ATTEMPTS) {
      if (busy)
        fail_busy (store, owner, task, error);
      else
        fail_errno (error, "lock %s/tmp/%s", store->path, name);
      return -1;
    }
    g_usleep (TASK_PAUSE_US);
  }
}

bool
store_state_current (Store *store, StoreState *out, GError **error)
{
  bool found = false;
  g_autoptr (GError) failure = NULL;
  *out = (StoreState){.next_number = 1, .epoch = 1};
  if (!store_state_read (store->mail_fd, out, &found, &failure) && failure->code != EBADMSG) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  out->next_number = MAX (out->next_number, 1);
  out->epoch = MAX (out->epoch, 1);
  return true;
}

bool
store_numbers_take (Store *store, uint32_t count, uint32_t least, uint32_t *out_first,
                    uint32_t *out_uidvalidity, GError **error)
{
  StoreState state;
  if (!store_state_current (store, &state, error))
    return false;
  /* A copy that was put over mail/ takes the counter away; a snapshot still tells where it was. */
  g_autoptr (SnapshotSet) snapshots = snapshot_set_get (store, store_epoch (store));
  const StoreSnapshot *newest = snapshot_set_newest (snapshots);
  uint32_t first = MAX (state.next_number, least);
  if (newest != NULL && newest->next_number <= STORE_NUMBER_MAX)
    first = MAX (first, newest->next_number);
  if (count > STORE_NUMBER_MAX || first > STORE_NUMBER_MAX - count)
    return fail (error, EOVERFLOW, "the store has given out all of its %u mailbox numbers",
                 STORE_NUMBER_MAX);
  uint32_t now = (uint32_t)CLAMP (time (NULL), 1, UINT32_MAX - 1);
  state.next_number = first + count;
  state.last_uidvalidity = MAX (now, state.last_uidvalidity + 1);
  if (!store_state_write (store, store->mail_fd, &state, error))
    return fail_prefix (error, "%s/mail", store->path);
  if (fsync (store->mail_fd) < 0)
    return fail_errno (error, "sync %s/mail", store->path);
  *out_first = first;
  *out_uidvalidity = state.last_uidvalidity;
  return true;
}

uint32_t
store_epoch (Store *store)
{
  StoreState state;
  return store_state_current (store, &state, NULL) ? state.epoch : 1;
}
