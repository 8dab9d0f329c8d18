/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - jobs that run at once, beside the worker and without waiting in the queue.
 *
 * They are registered like any other job, so that everybody can see how far they are, end them and
 * read what they found. Short ones run in the thread that handles the request; the others, which
 * somebody asked for with the word "now", in threads of their own.
 *
 * The queue keeps the first of what a job has found, and how far it was a second ago. Of those that
 * run here, or were the last ones to do so, all is told.
 */
#include "fs/jobs.h"
#include "fs/reply.h"
#include "store/commands.h"

#define RUNS_MAX 4u

/* How many that have ended are kept. */
#define KEPT_MAX 16u

struct Runs {
  Mount *mount;
  GMutex mutex; /* for what follows */
  GCond ended;  /* `running` became less */
  GQueue runs;  /* of Run, the newest last */
  unsigned running;
  bool stop;
};

static void
clear_run (gpointer data)
{
  Run *run = data;

  store_job_free (run->job);
}

void
run_unref (Run *self)
{
  if (self != NULL)
    g_atomic_rc_box_release_full (self, clear_run);
}

Runs *
runs_new (Mount *mount)
{
  Runs *self = g_new0 (Runs, 1);

  self->mount = mount;
  g_mutex_init (&self->mutex);
  g_cond_init (&self->ended);
  g_queue_init (&self->runs);
  return self;
}

void
runs_free (Runs *self)
{
  if (self == NULL)
    return;
  g_queue_clear_full (&self->runs, (GDestroyNotify)run_unref);
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

bool
runs_have_room (Runs *self, unsigned more, GError **error)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  return self->running + more <= RUNS_MAX ||
         fail (error, EBUSY, "%u jobs run at once already, %u can", self->running, RUNS_MAX);
}

static void
end_run (Runs *self)
{
  waits_wake (self->mount->waits);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  self->running--;
  g_cond_broadcast (&self->ended);
}

/* ---- what is known of them ---------------------------------------------------------------- */

/* Lets go of the oldest that has ended, if there are too many. */
static Run *
take_oldest (Runs *self)
{
  for (GList *link = self->runs.head; self->runs.length > KEPT_MAX && link != NULL;
       link = link->next) {
    Run *run = link->data;
    if (run->ended) {
      g_queue_delete_link (&self->runs, link);
      return run;
    }
  }
  return NULL;
}

static void
keep_run (Runs *self, Run *run)
{
  g_autoptr (Run) oldest = NULL;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  g_queue_push_tail (&self->runs, g_atomic_rc_box_acquire (run));
  oldest = take_oldest (self);
}

static void
forget_run (Runs *self, Run *run)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  if (g_queue_remove (&self->runs, run))
    run_unref (run);
}

static Run *
find_run (Runs *self, uint64_t id, bool *out_ended)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (const GList *link = self->runs.tail; link != NULL; link = link->prev) {
    Run *run = link->data;
    if (store_job_id (run->job) == id) {
      *out_ended = run->ended;
      return g_atomic_rc_box_acquire (run);
    }
  }
  return NULL;
}

Run *
runs_find_ended (Runs *self, uint64_t id)
{
  bool ended = false;
  g_autoptr (Run) run = find_run (self, id, &ended);

  return ended ? g_steal_pointer (&run) : NULL;
}

void
runs_complete (Runs *self, StoreRecord *record)
{
  bool ended;
  g_autoptr (Run) run = find_run (self, record->id, &ended);

  if (run == NULL || ended)
    return;
  record->state = STORE_JOB_RUNNING;
  store_job_progress (run->job, &record->progress);
}

/* ---- running ------------------------------------------------------------------------------ */

/* Takes the job over, unless it cannot be registered. */
static Run *
register_run (Runs *self, StoreJob **job, uint64_t *out_id, GError **error)
{
  if (!store_job_register (*job, error))
    return NULL;
  Run *run = g_atomic_rc_box_new0 (Run);
  *run = (Run){.runs = self, .job = g_steal_pointer (job)};
  *out_id = store_job_id (run->job);
  keep_run (self, run);
  return run;
}

/* Runs it to its end, of which the queue is told. */
static bool
watch_run (Run *run, GError **error)
{
  Runs *self = run->runs;
  bool good = store_job_watch (run->job, go_on, self, error);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  run->ended = true;
  return good;
}

bool
run_here (Runs *self, StoreRequest *request, uint64_t *out_id, GError **error)
{
  g_autoptr (StoreJob) job = store_job_new (self->mount->store, request);
  g_autoptr (GError) failure = NULL;
  g_autoptr (Run) run = register_run (self, &job, out_id, &failure);

  if (run != NULL)
    return watch_run (run, error);
  /* Where there is no room for its record, it may be what makes some. */
  if (error_code (failure) == ENOSPC || error_code (failure) == EDQUOT)
    return store_job_watch (job, go_on, self, error);
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static gpointer
run_thread (gpointer data)
{
  g_autoptr (Run) run = data;

  watch_run (run, NULL);
  end_run (run->runs);
  return NULL;
}

bool
run_beside (Runs *self, StoreRequest *request, uint64_t *out_id, GError **error)
{
  g_autoptr (StoreJob) job = store_job_new (self->mount->store, request);

  if (!begin_run (self, RUNS_MAX, error))
    return false;
  Run *run = register_run (self, &job, out_id, error);
  GThread *thread = run == NULL ? NULL : g_thread_try_new ("now", run_thread, run, error);
  if (thread != NULL) {
    g_thread_unref (thread);
    return true;
  }
  if (run != NULL)
    forget_run (self, run);
  run_unref (run);
  end_run (self);
  return false;
}
