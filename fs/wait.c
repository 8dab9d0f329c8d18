/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.c - requests that are answered when jobs have ended.
 *
 * A request that waits holds no thread: it lies here, and one thread for all looks at the queue a
 * few times a second, or when a job of this mount has ended. Who is interrupted (Ctrl-C, a signal)
 * gets EINTR and the job goes on; so do those who still wait when the mount comes to its end.
 *
 * FUSE_INTERRUPT comes in another thread, with libfuse's lock of the request held; it only leaves a
 * mark here, and finds the request by its address. While that thread is at it libfuse does not free
 * the request, so the address is not another's. A request may be answered, and is gone then, from
 * the moment that it is `ready`: that is after fuse_req_interrupt_func(), which needs it.
 */
#include "fs/control.h"

#define LOOK_US (250 * G_TIME_SPAN_MILLISECOND)
#define TICK_US (1 * G_TIME_SPAN_SECOND)

typedef struct {
  fuse_req_t req;
  GArray *jobs; /* uint64_t */
  guint next;   /* the first of which the end is not known; for the thread */
  size_t size;
  Stamp stamp;
  int code;         /* errno of the first that failed; for the thread */
  bool ready;       /* the thread may have it; with what follows protected by Waits.mutex */
  bool interrupted; /* nobody waits for it any more */
} Waiter;

struct Waits {
  Mount *mount;
  GThread *thread;
  GMutex mutex; /* for what follows */
  GCond wake;   /* `look` or `stop` was set */
  GPtrArray *waiters;
  bool look; /* there is something new */
  bool stop;
};

static void
free_waiter (gpointer data)
{
  Waiter *waiter = data;

  g_array_unref (waiter->jobs);
  g_free (waiter);
}

static void
set_look (Waits *self)
{
  self->look = true;
  g_cond_signal (&self->wake);
}

void
waits_wake (Waits *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  set_look (self);
}

/* ---- the requests' side ------------------------------------------------------------------- */

static void
note_interrupt (fuse_req_t req, void *data)
{
  Waits *self = data;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (guint i = 0; i < self->waiters->len; i++) {
    Waiter *waiter = self->waiters->pdata[i];
    if (waiter->req == req)
      waiter->interrupted = true;
  }
  set_look (self);
}

void
waits_add (Waits *self, fuse_req_t req, GArray *jobs, size_t size)
{
  Waiter *waiter = g_new0 (Waiter, 1);

  *waiter =
      (Waiter){.req = req, .jobs = g_array_ref (jobs), .size = size, .stamp = metrics_put_off ()};
  g_mutex_lock (&self->mutex);
  g_ptr_array_add (self->waiters, waiter);
  g_mutex_unlock (&self->mutex);
  fuse_req_interrupt_func (req, note_interrupt, self);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  waiter->ready = true;
  set_look (self);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* Whether the job has ended; `*out_code` is its errno then. */
static bool
has_ended (Store *store, uint64_t id, int *out_code)
{
  g_auto (StoreRecord) record = {0};
  g_autoptr (GError) error = NULL;

  *out_code = 0;
  if (!store_queue_get (store, id, &record, &error)) {
    *out_code = error_code (error) == ENOENT ? ESTALE : error_code (error);
    return true;
  }
  switch (record.state) {
  case STORE_JOB_WAITING:
  case STORE_JOB_RUNNING: return false;
  case STORE_JOB_DONE: return true;
  case STORE_JOB_FAILED: *out_code = record.code != 0 ? record.code : EIO; return true;
  case STORE_JOB_CANCELLED: *out_code = ECANCELED; return true;
  case STORE_JOB_INTERRUPTED: *out_code = EINTR; return !record.queued;
  }
  g_assert_not_reached ();
}

/* Whether all its jobs have ended. */
static bool
look_at (Waits *self, Waiter *waiter)
{
  int code;

  while (
      waiter->next < waiter->jobs->len &&
      has_ended (self->mount->store, g_array_index (waiter->jobs, uint64_t, waiter->next), &code)) {
    if (waiter->code == 0)
      waiter->code = code;
    waiter->next++;
  }
  return waiter->next == waiter->jobs->len;
}

/* Sleeps until there may be something to do; those who wait then, or NULL at the end. */
static GPtrArray *
wait_for_work (Waits *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  int64_t until = g_get_monotonic_time () + (self->waiters->len > 0 ? LOOK_US : TICK_US);
  GPtrArray *ready = g_ptr_array_new ();

  while (!self->look && !self->stop && g_cond_wait_until (&self->wake, &self->mutex, until))
    ;
  self->look = false;
  for (guint i = 0; i < self->waiters->len; i++) {
    Waiter *waiter = self->waiters->pdata[i];
    if (waiter->ready)
      g_ptr_array_add (ready, waiter);
  }
  if (self->stop)
    g_clear_pointer (&ready, g_ptr_array_unref);
  return ready;
}

/* Lets go of the waiter if it is to be answered. */
static bool
take_out (Waits *self, Waiter *waiter, bool ended)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  if (!ended && !waiter->interrupted)
    return false;
  if (!ended)
    waiter->code = EINTR;
  return g_ptr_array_remove_fast (self->waiters, waiter);
}

static void
answer (Waiter *waiter)
{
  metrics_resume (waiter->stamp);
  reply_order (waiter->req, waiter->code, waiter->size);
  free_waiter (waiter);
}

static gpointer
run (gpointer data)
{
  Waits *self = data;

  for (;;) {
    g_autoptr (GPtrArray) ready = wait_for_work (self);
    if (ready == NULL)
      return NULL;
    for (guint i = 0; i < ready->len; i++)
      if (take_out (self, ready->pdata[i], look_at (self, ready->pdata[i])))
        answer (ready->pdata[i]);
    pieces_expire (self->mount);
  }
}

/* ---- beginning and end -------------------------------------------------------------------- */

Waits *
waits_start (Mount *mount)
{
  Waits *self = g_new0 (Waits, 1);

  self->mount = mount;
  self->waiters = g_ptr_array_new ();
  g_mutex_init (&self->mutex);
  g_cond_init (&self->wake);
  self->thread = g_thread_new ("wait", run, self);
  return self;
}

void
waits_free (Waits *self)
{
  if (self == NULL)
    return;
  g_mutex_lock (&self->mutex);
  self->stop = true;
  g_cond_signal (&self->wake);
  g_mutex_unlock (&self->mutex);
  g_thread_join (self->thread);
  for (guint i = 0; i < self->waiters->len; i++) {
    Waiter *waiter = self->waiters->pdata[i];
    waiter->code = EINTR;
    answer (waiter);
  }
  g_ptr_array_unref (self->waiters);
  g_cond_clear (&self->wake);
  g_mutex_clear (&self->mutex);
  g_free (self);
}
