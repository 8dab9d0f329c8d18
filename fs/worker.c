/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c - the worker of a store that is mounted for writing, in a thread of its own.
 *
 * It looks at the queue every second, and makes jobs of what readers of this mount met. What it
 * changes reaches the kernel as any other program's changes do (notify.c). At the end of the mount
 * a job that runs goes back to the queue.
 */
#include "fs/control.h"

#include <syslog.h>

#define LOOK_US (1 * G_TIME_SPAN_SECOND)

struct Worker {
  Mount *mount;
  GMutex turning;  /* held while it is turned on or off, which may take a while; for `thread` */
  GThread *thread; /* NULL: it is off */
  _Atomic bool on;
  char *complaint; /* what went wrong last, so that it is told once; the thread's own */

  GMutex mutex; /* for what follows */
  GCond wake;   /* `stop` was set */
  bool stop;
};

static bool
go_on (StoreJob *job, void *data)
{
  Worker *self = data;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  return !self->stop;
}

static void
say (uint64_t job, const char *mailbox, const char *text, void *data)
{
  log_about (LOG_NOTICE, mailbox, job, "%s", text);
}

/* Sleeps until it is time to look again; false: the end. */
static bool
wait_a_moment (Worker *self)
{
  int64_t until = g_get_monotonic_time () + LOOK_US;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  while (!self->stop && g_cond_wait_until (&self->wake, &self->mutex, until))
    ;
  return !self->stop;
}

static void
complain (Worker *self, const GError *failure)
{
  /* Another worker does what is to be done. */
  int priority = error_code (failure) == EBUSY ? LOG_INFO : LOG_WARNING;

  if (error_code (failure) == ECANCELED || g_strcmp0 (self->complaint, failure->message) == 0)
    return;
  g_free (self->complaint);
  self->complaint = g_strdup (failure->message);
  log_message (priority, "worker: %s", failure->message);
}

/* Runs one job, if one waits. */
static bool
work (Worker *self, StoreWorker **worker)
{
  StoreWorkerCalls calls = {.say = say, .go_on = go_on, .user_data = self};
  g_autoptr (GError) failure = NULL;
  uint64_t id = 0;

  if (*worker == NULL)
    *worker = store_worker_new (self->mount->store, &calls, &failure);
  if (*worker == NULL || !store_worker_step (*worker, &id, &failure))
    complain (self, failure);
  else
    g_clear_pointer (&self->complaint, g_free);
  if (id != 0)
    waits_wake (self->mount->waits);
  return failure == NULL && id != 0;
}

static gpointer
run (gpointer data)
{
  Worker *self = data;
  g_autoptr (StoreWorker) worker = NULL;

  while (wait_a_moment (self))
    while (go_on (NULL, self) && work (self, &worker))
      ;
  return NULL;
}

/* ---- on and off --------------------------------------------------------------------------- */

Worker *
worker_new (Mount *mount)
{
  Worker *self = g_new0 (Worker, 1);

  self->mount = mount;
  g_mutex_init (&self->turning);
  g_mutex_init (&self->mutex);
  g_cond_init (&self->wake);
  return self;
}

static void
set_stop (Worker *self, bool stop)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  self->stop = stop;
  g_cond_signal (&self->wake);
}

void
worker_turn (Worker *self, bool on)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->turning);

  set_stop (self, !on);
  if (on && self->thread == NULL)
    self->thread = g_thread_new ("worker", run, self);
  else if (!on)
    g_clear_pointer (&self->thread, g_thread_join);
  self->on = on;
}

bool
worker_is_on (Worker *self)
{
  return self->on;
}

void
worker_free (Worker *self)
{
  if (self == NULL)
    return;
  worker_turn (self, false);
  g_cond_clear (&self->wake);
  g_mutex_clear (&self->mutex);
  g_mutex_clear (&self->turning);
  g_free (self->complaint);
  g_free (self);
}
