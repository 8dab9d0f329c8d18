/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker.c - the worker of a store that is mounted for writing, in a thread of its own.
 *
 * It looks at the queue every second, and makes jobs of what readers of this mount met. What it
 * changes reaches the kernel as any other program's changes do (notify.c). At the end of the mount
 * a job that runs goes back to the queue.
 */
#include "fs/jobs.h"
#include "fs/log.h"
#include "fs/loop.h"
#include "fs/reply.h"
#include "store/commands.h"

#include <syslog.h>

#define LOOK_US (1 * G_TIME_SPAN_SECOND)

struct Worker {
  Mount *mount;
  Loop loop;      /* runs while it is on */
  GMutex turning; /* held while it is turned on or off, which may take a while */
  _Atomic bool on;
  char *complaint; /* what went wrong last, so that it is told once; the thread's own */
};

static bool
go_on (StoreJob *job, void *data)
{
  Worker *self = data;

  return loop_goes_on (&self->loop);
}

static void
say (uint64_t job, const char *mailbox, const char *text, void *data)
{
  log_about (LOG_NOTICE, mailbox, job, "%s", text);
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

  while (loop_sleep (&self->loop, LOOK_US))
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
  loop_init (&self->loop);
  return self;
}

void
worker_turn (Worker *self, bool on)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->turning);

  if (!on)
    loop_stop (&self->loop);
  else if (self->loop.thread == NULL)
    loop_start (&self->loop, "worker", run, self);
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
  loop_clear (&self->loop);
  g_mutex_clear (&self->turning);
  g_free (self->complaint);
  g_free (self);
}
