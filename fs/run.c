/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - jobs that run at once, beside the worker and without waiting in the queue.
 *
 * They are registered like any other job, so that everybody can see how far they are, end them and
 * read what they found. Short ones run in the thread that handles the request; the others, which
 * somebody asked for with the word "now", in threads of their own.
 */
#include "fs/control.h"

#define RUNS_MAX 4u

struct Runs {
  Mount *mount;
  GMutex mutex; /* for what follows */
  GCond ended;  /* `running` became less */
  unsigned running;
  bool stop;
};

Runs *
runs_new (Mount *mount)
{
  Runs *self = g_new0 (Runs, 1);

  self->mount = mount;
  g_mutex_init (&self->mutex);
  g_cond_init (&self->ended);
  return self;
}

void
runs_free (Runs *self)
{
  if (self == NULL)
    return;
  g_cond_clear (&self->ended);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

void
runs_stop (Runs *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  self->stop = true;
  while (self->running > 0)
    g_cond_wait (&self->ended, &self->mutex);
}

static bool
go_on (StoreJob *job, void *data)
{
  Runs *self = data;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  return !self->stop;
}

static bool
begin_run (Runs *self, unsigned most, GError **error)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  if (self->stop)
    return fail (error, ECANCELED, "the mount comes to its end");
  if (self->running >= most)
    return fail (error, EBUSY, "%u jobs run at once already", self->running);
  self->running++;
  return true;
}

static void
end_run (Runs *self)
{
  waits_wake (self->mount->waits);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  self->running--;
  g_cond_broadcast (&self->ended);
}

static StoreJob *
register_job (Runs *self, StoreRequest *request, uint64_t *out_id, GError **error)
{
  g_autoptr (StoreJob) job = store_job_new (self->mount->store, request);

  if (!store_job_register (job, error))
    return NULL;
  *out_id = store_job_id (job);
  return g_steal_pointer (&job);
}

bool
run_here (Runs *self, StoreRequest *request, uint64_t *out_id, GError **error)
{
  g_autoptr (StoreJob) job = register_job (self, request, out_id, error);

  return job != NULL && store_job_watch (job, go_on, self, error);
}

typedef struct {
  Runs *runs;
  StoreJob *job;
} Run;

static gpointer
run_thread (gpointer data)
{
  g_autofree Run *run = data;

  /* How it ended is for the queue to tell. */
  store_job_watch (run->job, go_on, run->runs, NULL);
  store_job_free (run->job);
  end_run (run->runs);
  return NULL;
}

bool
run_beside (Runs *self, StoreRequest *request, uint64_t *out_id, GError **error)
{
  if (!begin_run (self, RUNS_MAX, error)) {
    store_request_free (request);
    return false;
  }
  Run *run = g_new0 (Run, 1);
  *run = (Run){self, register_job (self, request, out_id, error)};
  GThread *thread = run->job == NULL ? NULL : g_thread_try_new ("now", run_thread, run, error);
  if (thread != NULL) {
    g_thread_unref (thread);
    return true;
  }
  store_job_free (run->job);
  g_free (run);
  end_run (self);
  return false;
}
