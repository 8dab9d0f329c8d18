/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of changes: a small file, STORE/changes, that every process maps. A writer takes the
 * next position by one atomic addition and puts there what it changed; a watcher compares the head
 * with how far it has read. The notes are hints: nothing is lost with the file, and it is never
 * synced.
 *
 * A slot carries its position, so that a reader can tell a slot that is not written yet (an older
 * position) from one that was overwritten (a newer one).
 */
#include "store/internal.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RING_FILE  "changes"
#define RING_SLOTS 8192u
#define RING_MAGIC 0x3167736368636c6dull

typedef struct {
  _Atomic uint64_t position; /* 1 and up */
  _Atomic uint64_t what;     /* number << 32 | uid */
} Slot;

typedef struct {
  _Atomic uint64_t magic;
  _Atomic uint64_t head; /* the last position that was taken */
  Slot slots[RING_SLOTS];
} Shared;

struct Ring {
  Shared *shared;
  int fd;
};

struct StoreWatch {
  Store *store;
  Ring *ring; /* NULL while the store has none */
  uint64_t position;
  unsigned polls, stuck;
};

void
ring_free (Ring *ring)
{
  if (ring == NULL)
    return;
  munmap (ring->shared, sizeof (Shared));
  close (ring->fd);
  g_free (ring);
}

/* Maps the ring, making it when `writable`. NULL when that is not possible. */
static Ring *
ring_open (Store *store, bool writable)
{
  int flags = writable ? O_RDWR | O_CREAT : O_RDONLY;
  auto_fd fd = layout_open (store->fd, RING_FILE, flags | O_NOFOLLOW, 0640);
  struct stat st;
  if (fd < 0 || fstat (fd, &st) < 0 || !S_ISREG (st.st_mode))
    return NULL;
  if (st.st_size < (off_t)sizeof (Shared) &&
      (!writable || !layout_own (store, fd, NULL) || posix_fallocate (fd, 0, sizeof (Shared)) != 0))
    return NULL;
  int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  Shared *shared = mmap (NULL, sizeof (Shared), protection, MAP_SHARED, fd, 0);
  if (shared == MAP_FAILED)
    return NULL;
  if (writable)
    atomic_store (&shared->magic, RING_MAGIC);
  Ring *ring = g_new0 (Ring, 1);
  ring->shared = shared;
  ring->fd = g_steal_fd (&fd);
  return ring;
}

static bool
is_deleted (const Ring *ring)
{
  struct stat st;
  return fstat (ring->fd, &st) < 0 || st.st_nlink == 0 || st.st_size < (off_t)sizeof (Shared);
}

void
change_note (Store *store, uint32_t number, uint32_t uid)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  if (store->ring != NULL && is_deleted (store->ring))
    g_clear_pointer (&store->ring, ring_free);
  if (store->ring == NULL)
    store->ring = ring_open (store, true);
  if (store->ring == NULL)
    return;
  Shared *shared = store->ring->shared;
  uint64_t position = atomic_fetch_add (&shared->head, 1) + 1;
  Slot *slot = &shared->slots[position % RING_SLOTS];
  atomic_store (&slot->position, 0);
  atomic_store (&slot->what, (uint64_t)number << 32 | uid);
  atomic_store (&slot->position, position);
}

/* ---- watching ------------------------------------------------------------------------------ */

StoreWatch *
store_watch_new (Store *self, GError **error)
{
  StoreWatch *watch = g_new0 (StoreWatch, 1);
  watch->store = self;
  watch->ring = ring_open (self, !store_is_read_only (self));
  if (watch->ring != NULL)
    watch->position = atomic_load (&watch->ring->shared->head);
  return watch;
}

void
store_watch_free (StoreWatch *self)
{
  if (self == NULL)
    return;
  ring_free (self->ring);
  g_free (self);
}

static bool
everything (StoreChange *out)
{
  *out = (StoreChange){STORE_CHANGE_ALL, 0};
  return true;
}

/* Looks now and then whether there is a ring by now, or another one. */
static bool
reopen (StoreWatch *self)
{
  if (self->ring != NULL && !is_deleted (self->ring))
    return false;
  g_clear_pointer (&self->ring, ring_free);
  self->ring = ring_open (self->store, false);
  self->position = self->ring != NULL ? atomic_load (&self->ring->shared->head) : 0;
  return self->ring != NULL;
}

bool
store_watch_next (StoreWatch *self, StoreChange *out)
{
  if (self->polls++ % 4 == 0 && reopen (self))
    return everything (out);
  if (self->ring == NULL)
    return false;
  Shared *shared = self->ring->shared;
  uint64_t head = atomic_load (&shared->head);
  if (head == self->position)
    return false;
  /* Behind by more than the ring holds, or a head that went back: what was missed is unknown. */
  if (head < self->position || head - self->position > RING_SLOTS) {
    self->position = head;
    return everything (out);
  }
  Slot *slot = &shared->slots[(self->position + 1) % RING_SLOTS];
  uint64_t what = atomic_load (&slot->what);
  uint64_t position = atomic_load (&slot->position);
  if (position > self->position + 1) {
    self->position = head;
    return everything (out);
  }
  if (position < self->position + 1) {
    /* Taken but not written yet. A writer that died between the two must not hold the watch up. */
    if (++self->stuck < 20)
      return false;
    self->stuck = 0;
    self->position = head;
    return everything (out);
  }
  self->stuck = 0;
  self->position++;
  *out = (StoreChange){(uint32_t)(what >> 32), (uint32_t)what};
  return true;
}
