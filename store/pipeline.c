/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pipeline.h"

#define WORKERS_MAX 4u
#define WAITING_MAX 64u         /* items that wait for a worker */
#define ORDER_MAX   1024u       /* items that wait for their commit */
#define BYTES_MAX   (64u << 20) /* held by items that wait for a worker; one alone may be larger */
#define TICK_US     (G_USEC_PER_SEC / 5)

/* A condition that knows how many wait for it: to wake nobody is a system call, too. */
typedef struct {
  GCond cond;
  unsigned waiting;
} Event;

typedef struct {
  void *item;
  uint64_t size;
  uint64_t number; /* in the order of pushing */
  bool done;
} Slot;

struct Pipeline {
  PipelineSteps steps;
  void *data;
  GThread *workers[WORKERS_MAX], *committer;
  unsigned worker_count;
  int64_t next_tick_us; /* the pushing thread's own */

  GMutex mutex; /* guards what follows; never held over a step */
  Event todo_grew, turn_moved, order_moved, room_made;
  GQueue order; /* of Slot: what is not committed, oldest first */
  GQueue todo;  /* those of them that no worker has taken */
  uint64_t pushed;
  uint64_t turn; /* number of the item whose decision comes next */
  uint64_t bytes;
  bool ended, stopped;
  GError *failure; /* the first; NULL: none */
};

static void
event_wait (Event *self, GMutex *mutex)
{
  self->waiting++;
  g_cond_wait (&self->cond, mutex);
  self->waiting--;
}

static void
event_wake (Event *self)
{
  if (self->waiting > 0)
    g_cond_broadcast (&self->cond);
}

static void
stop (Pipeline *self)
{
  self->stopped = true;
  event_wake (&self->todo_grew);
  event_wake (&self->order_moved);
  event_wake (&self->room_made);
}

/* The pushing thread is not woken for every single place. It sleeps while all of this shrinks. What
 * waits for its commit must not shrink much, for during a slow one the workers live on it. */
static void
make_room (Pipeline *self)
{
  if (self->todo.length <= WAITING_MAX / 2 && self->order.length <= ORDER_MAX - WAITING_MAX / 2 &&
      self->bytes <= BYTES_MAX / 2)
    event_wake (&self->room_made);
}

static void
free_slot (Pipeline *self, Slot *slot)
{
  self->steps.free_item (slot->item);
  g_free (slot);
}

/* Items are taken in order, so whoever has an earlier one is already at work on it. */
static void
decide_in_turn (Pipeline *self, Slot *slot)
{
  g_mutex_lock (&self->mutex);
  while (self->turn != slot->number)
    event_wait (&self->turn_moved, &self->mutex);
  g_mutex_unlock (&self->mutex);
  self->steps.decide (slot->item, self->data);
  g_mutex_lock (&self->mutex);
  self->turn++;
  event_wake (&self->turn_moved);
  g_mutex_unlock (&self->mutex);
}

/* The mutex is held, and let go over the steps. */
static void
work_on (Pipeline *self, Slot *slot)
{
  g_mutex_unlock (&self->mutex);
  self->steps.prepare (slot->item, self->data);
  if (self->steps.decide != NULL)
    decide_in_turn (self, slot);
  if (self->steps.work != NULL)
    self->steps.work (slot->item, self->data);
  g_mutex_lock (&self->mutex);
}

static void *
run_worker (void *data)
{
  Pipeline *self = data;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  for (;;) {
    while (!self->stopped && !self->ended && self->todo.length == 0)
      event_wait (&self->todo_grew, &self->mutex);
    Slot *slot = self->stopped ? NULL : g_queue_pop_head (&self->todo);
    if (slot == NULL)
      return NULL;
    make_room (self);
    work_on (self, slot);
    slot->done = true;
    self->bytes -= slot->size;
    make_room (self);
    if (slot == g_queue_peek_head (&self->order))
      event_wake (&self->order_moved);
  }
}

/* Waits for the oldest item. NULL when there is none left, or it is time to stop. */
static Slot *
take_oldest (Pipeline *self)
{
  for (;;) {
    Slot *slot = g_queue_peek_head (&self->order);
    if (self->stopped || (slot == NULL && self->ended))
      return NULL;
    if (slot != NULL && slot->done)
      return g_queue_pop_head (&self->order);
    event_wait (&self->order_moved, &self->mutex);
  }
}

static void *
run_committer (void *data)
{
  Pipeline *self = data;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_autoptr (GError) failure = NULL;
  bool ok = true;
  Slot *slot;
  while (ok && (slot = take_oldest (self)) != NULL) {
    make_room (self);
    g_mutex_unlock (&self->mutex);
    ok = self->steps.commit (slot->item, self->data, &failure);
    g_free (slot);
    g_mutex_lock (&self->mutex);
  }
  if (ok && !self->stopped && self->steps.finish != NULL) {
    g_mutex_unlock (&self->mutex);
    ok = self->steps.finish (self->data, &failure);
    g_mutex_lock (&self->mutex);
  }
  if (failure != NULL && self->failure == NULL)
    self->failure = g_steal_pointer (&failure);
  stop (self);
  return NULL;
}

Pipeline *
pipeline_new (const PipelineSteps *steps, void *data)
{
  Pipeline *self = g_new0 (Pipeline, 1);
  self->steps = *steps;
  self->data = data;
  g_mutex_init (&self->mutex);
  /* One more than can run: now and then one waits for the disk. */
  self->worker_count = MIN (g_get_num_processors () + 1, WORKERS_MAX);
  for (unsigned i = 0; i < self->worker_count; i++)
    self->workers[i] = g_thread_new ("pipeline", run_worker, self);
  self->committer = g_thread_new ("commit", run_committer, self);
  return self;
}

/* Calls tick when it is time to. The mutex is held, and let go meanwhile. */
static void
tick (Pipeline *self)
{
  int64_t now_us = g_get_monotonic_time ();
  if (self->steps.tick == NULL || now_us < self->next_tick_us || self->stopped)
    return;
  self->next_tick_us = now_us + TICK_US;
  g_mutex_unlock (&self->mutex);
  bool go_on = self->steps.tick (self->data);
  g_mutex_lock (&self->mutex);
  if (go_on)
    return;
  if (self->failure == NULL)
    fail (&self->failure, ECANCELED, "cancelled");
  stop (self);
}

static bool
has_room (const Pipeline *self, uint64_t size)
{
  return self->todo.length < WAITING_MAX && self->order.length < ORDER_MAX &&
         (self->bytes == 0 || self->bytes + size <= BYTES_MAX);
}

/* Waits, but not beyond the next tick. */
static void
wait_for_room (Pipeline *self)
{
  self->room_made.waiting++;
  g_cond_wait_until (&self->room_made.cond, &self->mutex, g_get_monotonic_time () + TICK_US);
  self->room_made.waiting--;
  tick (self);
}

bool
pipeline_push (Pipeline *self, void *item, uint64_t size)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  tick (self);
  while (!self->stopped && !has_room (self, size))
    wait_for_room (self);
  if (self->stopped) {
    self->steps.free_item (item);
    return false;
  }
  Slot *slot = g_new (Slot, 1);
  *slot = (Slot){.item = item, .size = size, .number = self->pushed++};
  self->bytes += size;
  g_queue_push_tail (&self->order, slot);
  g_queue_push_tail (&self->todo, slot);
  event_wake (&self->todo_grew);
  return true;
}

bool
pipeline_end (Pipeline *self, bool drop, GError **error)
{
  g_mutex_lock (&self->mutex);
  self->ended = true;
  if (drop)
    stop (self);
  event_wake (&self->todo_grew);
  event_wake (&self->order_moved);
  while (!self->stopped) /* the committing thread stops when all is done */
    wait_for_room (self);
  g_mutex_unlock (&self->mutex);
  for (unsigned i = 0; i < self->worker_count; i++)
    g_thread_join (self->workers[i]);
  g_thread_join (self->committer);
  for (Slot *slot; (slot = g_queue_pop_head (&self->order)) != NULL;)
    free_slot (self, slot);
  g_queue_clear (&self->todo);
  g_mutex_clear (&self->mutex);
  bool ok = self->failure == NULL;
  if (!ok)
    g_propagate_error (error, self->failure);
  g_free (self);
  return ok;
}
