/* SPDX-License-Identifier: Apache-2.0 */
/* The worker: runs what waits in the queue, one job after the other. */
#include "store/jobs.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The lowest claims: whoever reads mail comes first. */
#define WORKER_NICE 10

/* ioprio_set(2) has no header. */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_CLASS_IDLE  (3 << 13)

struct StoreWorker {
  Store *store;
  StoreWorkerCalls calls;
  int lock; /* byte 0 of jobs.lock; what the file says tells who has it */
};

/* ---- who it is ----------------------------------------------------------------------------- */

/* "process 4711 on mail.example.com since 2026-05-01T12:00:00Z" */
static bool
sign_lock (const StoreWorker *self, GError **error)
{
  char host[256] = "";
  gethostname (host, sizeof host - 1);
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ");
  g_autofree char *text = g_strdup_printf ("process %d on %s since %s\n", getpid (), host, time);
  return (ftruncate (self->lock, 0) == 0 &&
          pwrite (self->lock, text, strlen (text), 0) == (ssize_t)strlen (text)) ||
         fail_errno (error, "write %s/jobs.lock", self->store->path);
}

/* Puts the holder's name into the error. */
static bool
tell_holder (Store *store, GError **error)
{
  char text[512] = "";
  auto_fd fd = layout_open (store->fd, "jobs.lock", O_RDONLY | O_NOFOLLOW, 0);
  ssize_t size = fd >= 0 ? pread (fd, text, sizeof text - 1, 0) : 0;
  text[MAX (size, 0)] = '\0';
  g_autofree char *holder = store_text_printable (g_strchomp (text));
  return fail (error, EBUSY, "the store %s has a worker already%s%s", store->path,
               *holder != '\0' ? ": " : "", holder);
}

/* For the calling thread alone, and those that it starts. Without effect where that is not allowed.
 */
static void
step_back (void)
{
  setpriority (PRIO_PROCESS, (id_t)gettid (), WORKER_NICE);
  syscall (SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_CLASS_IDLE);
}

StoreWorker *
store_worker_new (Store *self, const StoreWorkerCalls *calls, GError **error)
{
  if (store_is_read_only (self)) {
    fail (error, EROFS, "the store %s is open read only", self->path);
    return NULL;
  }
  g_autoptr (GError) failure = NULL;
  auto_fd lock = run_lock_take (self, 0, &failure);
  if (lock < 0) {
    if (failure->code == EBUSY)
      tell_holder (self, error);
    else
      g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  g_autoptr (StoreWorker) worker = g_new0 (StoreWorker, 1);
  *worker = (StoreWorker){self, *calls, g_steal_fd (&lock)};
  if (!sign_lock (worker, error))
    return NULL;
  step_back ();
  return g_steal_pointer (&worker);
}

void
store_worker_free (StoreWorker *self)
{
  if (self == NULL)
    return;
  store_close_fd (&self->lock);
  g_free (self);
}

/* ---- what it does -------------------------------------------------------------------------- */

/* What messages about a job begin with, and what they are about. */
typedef struct {
  uint64_t id;
  char *mailbox; /* NULL: the whole store, or gone */
  char *text;    /* "job 12: repair joe@example.com/INBOX" */
} Label;

static void
label_clear (Label *label)
{
  g_free (label->mailbox);
  g_free (label->text);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Label, label_clear)

static void G_GNUC_PRINTF (3, 4)
    say (const StoreWorker *self, const Label *label, const char *format, ...)
{
  va_list args;
  if (self->calls.say == NULL)
    return;
  va_start (args, format);
  g_autofree char *news = g_strdup_vprintf (format, args);
  va_end (args);
  g_autofree char *text = g_strdup_printf ("%s %s", label->text, news);
  g_autofree char *printable = store_text_printable (text);
  self->calls.say (label->id, label->mailbox, printable, self->calls.user_data);
}

/* A job that was run directly, and whose process died: nobody takes it up unasked. */
static bool
note_death (Store *store, const QueueJob *from, GError **error)
{
  QueueJob to = *from;
  bool changed;
  to.state = QUEUE_INTERRUPTED;
  to.ended_s = record_now ();
  g_autofree char *log = record_log (from->log, "interrupted: its process died");
  to.log = log;
  return queue_turn (store, from, &to, NULL, 0, &changed, error);
}

/* The first job that waits for a worker, or whose worker died. */
static bool
find_next (Store *store, QueueJob *out, bool *out_found, GError **error)
{
  for (uint64_t after = 0;;) {
    g_auto (QueueJob) job = {0};
    if (!queue_next (store, after, &job, out_found, error))
      return false;
    if (!*out_found)
      return true;
    after = job.id;
    bool runs = job.state == QUEUE_RUNNING && run_lock_is_held (store, job.runner);
    if (job.queued && !runs && job.due_s <= record_now ()) {
      *out = job;
      job = (QueueJob){0};
      return true;
    }
    if (!job.queued && !runs && job.state == QUEUE_RUNNING && !note_death (store, &job, error))
      return false;
  }
}

static Label
make_label (Store *store, uint64_t id)
{
  g_auto (StoreRecord) record = {0};
  if (!store_queue_get (store, id, &record, NULL))
    return (Label){id, NULL, g_strdup_printf ("job %" G_GUINT64_FORMAT ":", id)};
  Label label = {.id = id, .mailbox = g_steal_pointer (&record.title)};
  label.text = g_strdup_printf ("job %" G_GUINT64_FORMAT ": %s%s%s", id, record.action,
                                label.mailbox != NULL ? " " : "",
                                label.mailbox != NULL ? label.mailbox : "");
  return label;
}

static bool
run_job (StoreWorker *self, StoreJob *job, const Label *label, GError **error)
{
  g_autoptr (GError) failure = NULL;
  StoreResult result;
  say (self, label, "begun");
  bool done = store_job_watch (job, self->calls.go_on, self->calls.user_data, &failure);
  store_job_result (job, &result);
  if (done)
    say (self, label,
         "done: %" G_GUINT64_FORMAT " messages looked at, %" G_GUINT64_FORMAT
         " fixed, %" G_GUINT64_FORMAT " left, %" G_GUINT64_FORMAT " taken",
         result.messages, result.fixed, result.left, result.taken);
  else
    say (self, label, "ended: %s", failure->message);
  if (!job->interrupted)
    return true;
  /* It may have come to its end all the same, but its worker is to end, too. */
  return fail (error, ECANCELED, "%s was interrupted", label->text);
}

bool
store_worker_step (StoreWorker *self, uint64_t *out_id, GError **error)
{
  heal_flush (self->store, self->calls.say, self->calls.user_data);
  for (;;) {
    g_auto (QueueJob) next = {0};
    g_autoptr (StoreJob) job = NULL;
    g_autoptr (GError) failure = NULL;
    bool found;
    if (!find_next (self->store, &next, &found, error))
      return false;
    *out_id = found ? next.id : 0;
    if (!found)
      return true;
    g_auto (Label) label = make_label (self->store, next.id);
    bool taken = record_take (self->store, &next, &job, &failure);
    if (!taken && failure->code != EAGAIN) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
    if (job != NULL)
      return run_job (self, job, &label, error);
    if (taken)
      say (self, &label, "is not needed any more");
  }
}
