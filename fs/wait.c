/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.c - requests that are answered later: when jobs have ended, or when a file that takes long
 * to make is there.
 *
 * A request that waits holds no thread: it lies here, and one thread for all looks at what they
 * wait for a few times a second, or when somebody says that something has happened. Who is
 * interrupted (Ctrl-C, a signal) gets EINTR, and what he waited for goes on; so do those who still
 * wait when the mount comes to its end.
 *
 * FUSE_INTERRUPT comes in another thread, with libfuse's lock of the request held; it only leaves a
 * mark here, and finds the request by its address. While that thread is at it libfuse does not free
 * the request, so the address is not another's. A request may be answered, and is gone then, from
 * the moment that it is `ready`: that is after fuse_req_interrupt_func(), which needs it.
 */
#include "fs/loop.h"
#include "fs/metrics.h"
#include "fs/order.h"
#include "fs/reply.h"

#define LOOK_US (250 * G_TIME_SPAN_MILLISECOND)
#define TICK_US (1 * G_TIME_SPAN_SECOND)

typedef struct {
  fuse_req_t req;
  const WaitKind *kind;
  void *data; /* the kind's; owned */
  Stamp stamp;
  bool ready;       /* the thread may have it; with what follows protected by Waits.mutex */
  bool interrupted; /* nobody waits for it any more */
} Waiter;

struct Waits {
  Mount *mount;
  Loop loop; /* woken when `look` was set; its mutex is for what follows */
  GPtrArray *waiters;
  bool look; /* there is something new */
};

static void
set_look (Waits *self)
{
  self->look = true;
  g_cond_signal (&self->loop.wake);
}

void
waits_wake (Waits *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  set_look (self);
}

/* ---- the requests' side ------------------------------------------------------------------- */

static void
note_interrupt (fuse_req_t req, void *data)
{
  Waits *self = data;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  for (guint i = 0; i < self->waiters->len; i++) {
    Waiter *waiter = self->waiters->pdata[i];
    if (waiter->req == req)
      waiter->interrupted = true;
  }
  set_look (self);
}

void
waits_add (Waits *self, fuse_req_t req, const WaitKind *kind, void *data)
{
  Waiter *waiter = g_new0 (Waiter, 1);

  *waiter = (Waiter){.req = req, .kind = kind, .data = data, .stamp = metrics_put_off ()};
  g_mutex_lock (&self->loop.mutex);
  g_ptr_array_add (self->waiters, waiter);
  g_mutex_unlock (&self->loop.mutex);
  fuse_req_interrupt_func (req, note_interrupt, self);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);
  waiter->ready = true;
  set_look (self);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* Sleeps until there may be something to do; those who wait then, or NULL at the end. */
static GPtrArray *
wait_for_work (Waits *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);
  int64_t until = g_get_monotonic_time () + (self->waiters->len > 0 ? LOOK_US : TICK_US);

  while (!self->look && !self->loop.stop &&
         g_cond_wait_until (&self->loop.wake, &self->loop.mutex, until))
    ;
  self->look = false;
  if (self->loop.stop)
    return NULL;
  GPtrArray *ready = g_ptr_array_new ();
  for (guint i = 0; i < self->waiters->len; i++) {
    Waiter *waiter = self->waiters->pdata[i];
    if (waiter->ready)
      g_ptr_array_add (ready, waiter);
  }
  return ready;
}

/* Lets go of the waiter if it is to be answered. */
static bool
take_out (Waits *self, Waiter *waiter, bool is_over)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  return (is_over || waiter->interrupted) && g_ptr_array_remove_fast (self->waiters, waiter);
}

static void
answer (Waiter *waiter, int code)
{
  metrics_resume (waiter->stamp);
  waiter->kind->answer (waiter->req, waiter->data, code);
  waiter->kind->free (waiter->data);
  g_free (waiter);
}

static void
look_at (Waits *self, Waiter *waiter)
{
  int code = EINTR;
  bool is_over = waiter->kind->is_over (self->mount, waiter->data, &code);

  if (take_out (self, waiter, is_over))
    answer (waiter, code);
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
      look_at (self, ready->pdata[i]);
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
  loop_init (&self->loop);
  loop_start (&self->loop, "wait", run, self);
  return self;
}

void
waits_free (Waits *self)
{
  if (self == NULL)
    return;
  loop_stop (&self->loop);
  for (guint i = 0; i < self->waiters->len; i++)
    answer (self->waiters->pdata[i], EINTR);
  g_ptr_array_unref (self->waiters);
  loop_clear (&self->loop);
  g_free (self);
}
