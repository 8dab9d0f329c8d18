/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job's own record in the queue, from the moment it is run to its end.
 *
 * Whoever runs a job holds a lock on a byte of the file jobs.lock, which the record names. So
 * everybody can tell a job that runs from one whose process died, however it died. These are locks
 * of open file descriptions (F_OFD_SETLK): they can be tested without being taken, and keep threads
 * apart, too.
 */
#include "store/jobs.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOCK_FILE "jobs.lock"

/* How many findings are kept; the figures of the result are about all. */
#define FINDINGS_MAX 256u

#define LOG_MAX 8192u

/* A job that was the death of so many processes is not tried again. */
#define DEATHS_MAX 3u

/* How often the queue is told of the progress, and the watching function called. */
#define TELL_US  (1 * G_TIME_SPAN_SECOND)
#define WATCH_US (100 * G_TIME_SPAN_MILLISECOND)

/* ---- locks --------------------------------------------------------------------------------- */

int
run_lock_take (Store *store, uint64_t runner, GError **error)
{
  if (store_is_read_only (store)) {
    fail (error, EROFS, "the store %s is open read only", store->path);
    return -1;
  }
  auto_fd fd = layout_open (store->fd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW, 0640);
  if (fd < 0) {
    fail_errno (error, "open %s/" LOCK_FILE, store->path);
    return -1;
  }
  struct flock lock = {
      .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)runner, .l_len = 1};
  if (!layout_own (store, fd, error))
    return -1;
  if (fcntl (fd, F_OFD_SETLK, &lock) == 0)
    return g_steal_fd (&fd);
  int code = errno == EAGAIN || errno == EACCES ? EBUSY : errno;
  fail (error, code, "lock %s/" LOCK_FILE ": %s", store->path, g_strerror (code));
  return -1;
}

bool
run_lock_is_held (Store *store, uint64_t runner)
{
  auto_fd fd = layout_open (store->fd, LOCK_FILE, O_RDONLY | O_NOFOLLOW, 0);
  struct flock lock = {
      .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)runner, .l_len = 1};
  return fd >= 0 && fcntl (fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* Any byte but the worker's; that two runs have the same one is as good as impossible. */
static int
take_new_lock (Store *store, uint64_t *out_runner, GError **error)
{
  uint64_t runner = ((uint64_t)g_random_int () << 31 ^ g_random_int ()) + 1;
  int lock = run_lock_take (store, runner, error);
  if (lock >= 0)
    *out_runner = runner;
  return lock;
}

/* ---- the log ------------------------------------------------------------------------------- */

int64_t
record_now (void)
{
  return g_get_real_time () / G_USEC_PER_SEC;
}

char *
record_log (const char *log, const char *format, ...)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format (now, "%Y-%m-%dT%H:%M:%SZ");
  va_list args;
  va_start (args, format);
  g_autofree char *text = g_strdup_vprintf (format, args);
  va_end (args);
  g_autofree char *printable = store_text_printable (text);
  g_autofree char *line = g_strdup_printf ("%s %s\n", time, printable);
  size_t size = strlen (log), room = LOG_MAX - MIN (strlen (line), LOG_MAX);
  /* What is left of the old log begins with a whole line. */
  const char *end = size > room ? strchr (log + size - room - 1, '\n') : NULL;
  const char *kept = size <= room ? log : end != NULL ? end + 1 : "";
  return g_strconcat (kept, line, NULL);
}

/* ---- the beginning ------------------------------------------------------------------------- */

bool
store_job_register (StoreJob *self, GError **error)
{
  g_auto (QueueJob) record = {.state = QUEUE_RUNNING,
                              .action = request_action (self->request),
                              .nodes = request_nodes (self->request),
                              .created_s = record_now (),
                              .started_s = record_now (),
                              .log = record_log ("", "begun by process %d", getpid ())};
  /* The lock first: whoever finds the record must find its process alive. */
  auto_fd lock = take_new_lock (self->store, &record.runner, error);
  bool added;
  if (lock < 0 || !queue_insert (self->store, &record, 1, &record.id, &added, error))
    return false;
  self->run_lock = g_steal_fd (&lock);
  self->record = record;
  record = (QueueJob){0};
  return true;
}

uint64_t
store_job_id (const StoreJob *self)
{
  return self->record.id;
}

/* The one mailbox that the request is to rebuild, as far as that is needed; 0: it is another one.
 */
static uint32_t
mailbox_to_rebuild (const StoreRequest *request)
{
  bool plain = (request->command->traits & STORE_COMMAND_REBUILDS) != 0 && request->words == 0;
  return plain && request->targets->len == 1 ? g_array_index (request->targets, uint32_t, 0) : 0;
}

/* Whether the mailbox was rebuilt after that was asked for. Both times are in seconds, so one that
 * is the same may be before; and one that is yet to come, of a clock that was wrong, says nothing.
 */
static bool
is_repaired (Store *store, const StoreRequest *request, int64_t created_s)
{
  uint32_t number = mailbox_to_rebuild (request);
  StoreMailboxInfo info;
  g_autoptr (StoreMailbox) mailbox = number != 0 ? store_mailbox_open (store, number, NULL) : NULL;
  return mailbox != NULL && mailbox->kind == STORE_NODE_MAILBOX &&
         store_mailbox_info (mailbox, &info, NULL) && info.last_repair_s > created_s &&
         info.last_repair_s <= record_now ();
}

/* The same job, run by us. */
static bool
take_over (Store *store, const QueueJob *from, StoreJob *job, GError **error)
{
  QueueJob to = *from;
  bool died = from->state == QUEUE_RUNNING, changed;
  auto_fd lock = take_new_lock (store, &to.runner, error);
  if (lock < 0)
    return false;
  g_autofree char *log = record_log (from->log, "%s by process %d",
                                     from->started_s != 0 ? "taken up again" : "begun", getpid ());
  to.state = QUEUE_RUNNING;
  to.deaths += died;
  to.started_s = record_now ();
  to.ended_s = 0;
  to.done = to.total = to.fixed = to.left = to.taken = 0;
  to.error = NULL;
  to.code = 0;
  to.log = log;
  if (!queue_turn (store, from, &to, NULL, 0, &changed, error))
    return false;
  if (!changed)
    return fail (error, EAGAIN, "job %" G_GUINT64_FORMAT " changed meanwhile", from->id);
  job->run_lock = g_steal_fd (&lock);
  job->record = to;
  job->record.action = g_strdup (to.action);
  job->record.nodes = g_strdup (to.nodes);
  job->record.unit = g_strdup (to.unit);
  job->record.log = g_steal_pointer (&log);
  return true;
}

/* A job that goes out of the store works there with the worker's rights. Who may write the queue
 * is the store's owner, and must not borrow those of root. */
static bool
exceeds_owner (const Store *store, const StoreRequest *request)
{
  return store_request_goes_out (request) && geteuid () == 0 && store->owner_uid != 0;
}

bool
record_take (Store *store, const QueueJob *from, StoreJob **out_job, GError **error)
{
  *out_job = NULL;
  if (from->state == QUEUE_RUNNING && from->deaths + 1 >= DEATHS_MAX) {
    g_autofree char *why = g_strdup_printf ("%u processes died of it", from->deaths + 1);
    return queue_drop (store, from, EIO, why, error);
  }
  if (from->state == QUEUE_RUNNING && from->cancel)
    return queue_drop (store, from, ECANCELED, "somebody asked for its end", error);
  g_autoptr (GError) failure = NULL;
  StoreRequest *request = request_from_action (store, from->action, from->nodes, &failure);
  if (request == NULL && failure->code != ENOENT && failure->code != EINVAL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  if (request == NULL)
    return queue_drop (store, from, failure->code, failure->message, error);
  g_autoptr (StoreJob) job = store_job_new (store, request);
  if (exceeds_owner (store, request))
    return queue_drop (store, from, EPERM, "root runs it only when asked directly", error);
  if (is_repaired (store, request, from->created_s))
    return queue_drop (store, from, 0, "repaired since", error);
  if (!take_over (store, from, job, error))
    return false;
  *out_job = g_steal_pointer (&job);
  return true;
}

StoreJob *
store_job_resume (Store *self, uint64_t id, GError **error)
{
  g_auto (QueueJob) record = {0};
  StoreJob *job = NULL;
  if (!queue_find (self, id, &record, error))
    return NULL;
  if (record.state == QUEUE_RUNNING && run_lock_is_held (self, record.runner)) {
    fail (error, EBUSY, "job %" G_GUINT64_FORMAT " is running", id);
    return NULL;
  }
  if (record.state > QUEUE_RUNNING && record.state != QUEUE_INTERRUPTED) {
    fail (error, EALREADY, "job %" G_GUINT64_FORMAT " has ended", id);
    return NULL;
  }
  if (record_take (self, &record, &job, error) && job == NULL)
    fail (error, ECANCELED, "job %" G_GUINT64_FORMAT " is not needed any more", id);
  return job;
}

/* ---- progress and end ---------------------------------------------------------------------- */

typedef struct {
  const QueueJob *record;
  bool cancel;
} Tell;

static bool
tell_progress (Queue *queue, void *data, GError **error)
{
  Tell *tell = data;
  return queue_progress (queue, tell->record, &tell->cancel, error);
}

static void
read_progress (StoreJob *self)
{
  StoreProgress now;
  store_job_progress (self, &now);
  self->record.done = now.done;
  self->record.total = now.total;
  if (g_strcmp0 (self->record.unit, now.unit) != 0) {
    g_free (self->record.unit);
    self->record.unit = g_strdup (now.unit);
  }
}

/* Tells the queue how far the job is; whether somebody wants it to end. A queue that cannot be
 * written does not keep a job from going on. */
static bool
record_progress (StoreJob *self)
{
  Tell tell = {.record = &self->record};
  read_progress (self);
  return queue_use (self->store, false, tell_progress, &tell, NULL) && tell.cancel;
}

static GArray *
collect_findings (const StoreJob *self)
{
  GArray *rows = g_array_new (FALSE, FALSE, sizeof (QueueFinding));
  for (guint i = 0; i < MIN (self->findings->len, FINDINGS_MAX); i++) {
    const StoreFinding *finding = self->findings->pdata[i];
    QueueFinding row = {.problem = (char *)store_problem_name (finding->problem),
                        .outcome = (int)finding->outcome,
                        .node = finding->number,
                        .uid = finding->uid,
                        .size = finding->size,
                        .object = finding->object,
                        .detail = finding->detail};
    g_array_append_val (rows, row);
  }
  return rows;
}

static QueueState
judge_end (const StoreJob *self, const GError *failure)
{
  if (failure == NULL)
    return QUEUE_DONE;
  if (failure->code != ECANCELED)
    return QUEUE_FAILED;
  return self->interrupted ? QUEUE_INTERRUPTED : QUEUE_CANCELLED;
}

/* Tells the queue how the job ended. */
static void
record_end (StoreJob *self, const GError *failure)
{
  QueueJob to;
  bool changed = true;
  read_progress (self);
  /* Who wants the job gone has it his way, also when its process is to end. */
  if (self->interrupted && record_progress (self))
    self->interrupted = false;
  to = self->record;
  to.state = judge_end (self, failure);
  if (failure == NULL)
    to.total = to.done; /* Messages may have come and gone since they were counted. */
  to.ended_s = record_now ();
  to.fixed = self->result.fixed;
  to.left = self->result.left;
  to.taken = self->result.taken;
  to.error = failure != NULL && failure->code != ECANCELED ? failure->message : NULL;
  to.code = failure != NULL ? error_code (failure) : 0;
  g_autofree char *log =
      failure != NULL
          ? record_log (to.log, "%s: %s", store_job_state_name ((StoreJobState)to.state),
                        failure->message)
          : record_log (to.log,
                        "done: %" G_GUINT64_FORMAT " fixed, %" G_GUINT64_FORMAT
                        " left, %" G_GUINT64_FORMAT " taken",
                        to.fixed, to.left, to.taken);
  to.log = log;
  g_autoptr (GArray) findings = collect_findings (self);
  const QueueFinding *rows = (const void *)findings->data;
  if (queue_turn (self->store, &self->record, &to, rows, findings->len, &changed, NULL) &&
      !changed && to.state == QUEUE_INTERRUPTED)
    /* The same job was queued meanwhile. */
    queue_drop (self->store, &self->record, ECANCELED, "the same job waits", NULL);
  store_close_fd (&self->run_lock);
  self->run_lock = -1;
}

/* ---- running ------------------------------------------------------------------------------- */

typedef struct {
  StoreJob *job;
  GError *failure; /* the running thread's, until it is done */
  GMutex mutex;    /* for what follows */
  GCond ended;
  bool done;
} Run;

/* The kernel stamps files by a clock that is a tick behind. */
#define TICK_NS INT64_C (10000000)

/* What was queued because it is served from its files is not done while it is. EAGAIN: something
 * has changed there since `begun_ns`, be it by the job itself, so it is worth another try. */
static bool
check_served (StoreJob *job, uint32_t number, int64_t begun_ns, GError **error)
{
  if (!heal_is_behind (job->store, number))
    return true;
  g_autofree char *path = store_node_path (job->store, number, error);
  if (path == NULL)
    return false;
  if (store_path_changed_ns (job->store, path) > begun_ns - TICK_NS)
    return fail (error, EAGAIN, "the mailbox was changed while it was repaired");
  return fail (error, EUCLEAN, "the mailbox is still served from its files");
}

static gpointer
run_thread (gpointer data)
{
  Run *run = data;
  StoreJob *job = run->job;
  uint32_t number = mailbox_to_rebuild (job->request);
  int64_t begun_ns = g_get_real_time () * 1000;
  if (store_job_run (job, &run->failure) && job->record.queued && number != 0)
    check_served (job, number, begun_ns, &run->failure);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&run->mutex);
  run->done = true;
  g_cond_signal (&run->ended);
  return NULL;
}

/* Sleeps until it is time to look again; whether the job has ended. */
static bool
wait_for_end (Run *run)
{
  int64_t until = g_get_monotonic_time () + WATCH_US;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&run->mutex);
  while (!run->done && g_cond_wait_until (&run->ended, &run->mutex, until))
    ;
  return run->done;
}

/* Ends the job as soon as it comes to where it looks, and says so where everybody can see it. */
static void
end_early (StoreJob *self)
{
  QueueJob to = self->record;
  bool changed, again = g_atomic_int_get (&self->cancelled) != 0;
  store_job_cancel (self);
  if (self->record.id == 0 || again)
    return;
  to.log = record_log (self->record.log, "asked to end");
  queue_turn (self->store, &self->record, &to, NULL, 0, &changed, NULL);
  g_free (self->record.log);
  self->record.log = to.log;
}

static bool
watch (StoreJob *self, Run *run, StoreJobFunc go_on, void *user_data, GError **error)
{
  GThread *thread = g_thread_try_new ("job", run_thread, run, error);
  int64_t told_us = g_get_monotonic_time ();
  if (thread == NULL)
    return false;
  do {
    if (!go_on (self, user_data) && !self->interrupted) {
      self->interrupted = true;
      end_early (self);
    }
    if (self->record.id != 0 && g_get_monotonic_time () - told_us >= TELL_US) {
      if (record_progress (self))
        end_early (self);
      told_us = g_get_monotonic_time ();
    }
  } while (!wait_for_end (run));
  g_thread_join (thread);
  return true;
}

bool
store_job_watch (StoreJob *self, StoreJobFunc go_on, void *user_data, GError **error)
{
  Run run = {.job = self};
  g_mutex_init (&run.mutex);
  g_cond_init (&run.ended);
  bool started = watch (self, &run, go_on, user_data, &run.failure);
  g_mutex_clear (&run.mutex);
  g_cond_clear (&run.ended);
  if (self->record.id != 0)
    record_end (self, run.failure);
  if (run.failure != NULL)
    g_propagate_error (error, run.failure);
  return started && run.failure == NULL;
}
