/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epochs, and the barrier between changes and snapshots.
 *
 * Whoever changes anything holds the barrier shared, flock(2) on the store's directory, from before
 * the change until it has ended; who takes a snapshot holds it alone. A stream of changes could
 * keep it waiting for ever. So there is a gate, a lock on snapshots/, which changes pass through
 * one moment before the barrier, and which the one who waits for the barrier keeps closed.
 *
 * Epochs go up to the clock's seconds when a snapshot is taken. So what comes from another store,
 * by a restore or a copy, is of an epoch that has passed, and in the next snapshot.
 */
#include "store/snapshot.h"

#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* How far ahead of the clock an epoch may lie. */
#define AHEAD_MAX_S (366u * 24 * 3600)

void
epoch_init (Store *store)
{
  g_mutex_init (&store->snapshot_mutex);
  store->gate_fd = -1;
}

void
epoch_clear (Store *store)
{
  g_clear_pointer (&store->snapshots, snapshot_set_unref);
  g_clear_pointer (&store->tree, history_free);
  store_close_fd (&store->gate_fd);
  g_mutex_clear (&store->snapshot_mutex);
}

/* Waits for a lock on a directory of the store: a descriptor, or -1 and errno. */
static int
lock_directory (const Store *store, const char *path, int operation)
{
  auto_fd fd = layout_open (store->fd, path, O_RDONLY | O_DIRECTORY, 0);
  while (fd >= 0 && flock (fd, operation) < 0) {
    if (errno != EINTR)
      return -1;
  }
  return g_steal_fd (&fd);
}

/* Threads share the descriptor, and so the lock; that is all the same, since nobody keeps it. */
static void
pass_gate (Store *store)
{
  g_mutex_lock (&store->snapshot_mutex);
  bool none = store->snapshots != NULL && store->snapshots->inode == 0;
  if (store->gate_fd < 0 && !none)
    store->gate_fd = layout_open (store->fd, SNAPSHOTS, O_RDONLY | O_DIRECTORY, 0);
  int gate = store->gate_fd;
  g_mutex_unlock (&store->snapshot_mutex);
  while (gate >= 0 && flock (gate, LOCK_SH) < 0 && errno == EINTR)
    continue;
  if (gate >= 0)
    flock (gate, LOCK_UN);
}

/* What the store's own state and the snapshots tell. Where a snapshot is in doubt there may be one
 * of the epoch before, with everything in it. */
static bool
learn (Epoch *self, GError **error)
{
  StoreState state;
  if (!store_state_current (self->store, &state, error))
    return false;
  self->snapshots = snapshot_set_get (self->store, state.epoch);
  const StoreSnapshot *newest = snapshot_set_newest (self->snapshots);
  self->epoch = MAX (state.epoch, newest != NULL ? newest->epoch + 1 : 0);
  self->newest = newest != NULL ? newest->epoch : 0;
  self->next_number = newest != NULL ? newest->next_number : 0;
  if (self->snapshots->doubtful) {
    self->newest = MAX (self->epoch - 1, 1);
    self->next_number = UINT32_MAX;
  }
  return true;
}

bool
epoch_look (Store *store, Epoch *out, GError **error)
{
  Epoch self = EPOCH_NONE;
  self.store = store;
  if (!learn (&self, error))
    return false;
  *out = self;
  return true;
}

bool
epoch_enter (Store *store, Epoch *out, GError **error)
{
  g_auto (Epoch) self = EPOCH_NONE;
  self.store = store;
  if (store_is_read_only (store))
    return fail (error, EROFS, "the store %s is open read only", store->path);
  pass_gate (store);
  self.fd = lock_directory (store, "", LOCK_SH);
  if (self.fd < 0)
    return fail_errno (error, "lock %s", store->path);
  if (!learn (&self, error))
    return false;
  *out = self;
  self = EPOCH_NONE;
  return true;
}

void
epoch_leave (Epoch *self)
{
  store_close_fd (&self->fd);
  g_clear_pointer (&self->snapshots, snapshot_set_unref);
  *self = EPOCH_NONE;
}

uint32_t
epoch_of_time (const Epoch *self, int64_t changed_ns)
{
  const GPtrArray *snapshots = self->snapshots->snapshots;
  for (guint i = 0; i < snapshots->len; i++) {
    const StoreSnapshot *snapshot = snapshots->pdata[i];
    if (snapshot->epoch > 0 && changed_ns <= snapshot->taken_ns)
      return snapshot->epoch;
  }
  return self->epoch;
}

bool
epoch_is_beyond (const Epoch *self, uint32_t epoch)
{
  return epoch > self->epoch && epoch > (uint64_t)time (NULL) + AHEAD_MAX_S;
}

bool
epoch_raise (const Epoch *self, uint32_t least, GError **error)
{
  StoreState state;
  if (least <= self->epoch || epoch_is_beyond (self, least))
    return true;
  auto_fd lock = lock_store (self->store, error);
  if (lock < 0 || !store_state_current (self->store, &state, error))
    return false;
  state.epoch = MAX (state.epoch, least);
  return store_state_write (self->store, self->store->mail_fd, &state, error) &&
         (fsync (self->store->mail_fd) == 0 ||
          fail_errno (error, "sync %s/mail", self->store->path));
}

/* ---- all changes kept out ------------------------------------------------------------------ */

bool
standstill_begin (Store *store, Standstill *out, GError **error)
{
  g_auto (Standstill) self = STANDSTILL_NONE;
  self.gate = lock_directory (store, SNAPSHOTS, LOCK_EX);
  if (self.gate < 0)
    return fail_errno (error, "lock %s/" SNAPSHOTS, store->path);
  self.barrier = lock_directory (store, "", LOCK_EX);
  if (self.barrier < 0)
    return fail_errno (error, "lock %s", store->path);
  self.lock = lock_list (store, &self.list, error);
  if (self.lock < 0)
    return false;
  *out = self;
  self = STANDSTILL_NONE;
  return true;
}

void
standstill_end (Standstill *self)
{
  store_close_fd (&self->lock);
  store_close_fd (&self->barrier);
  store_close_fd (&self->gate);
  g_clear_pointer (&self->list, handle_unref);
  *self = STANDSTILL_NONE;
}
