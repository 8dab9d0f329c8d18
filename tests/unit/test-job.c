/* SPDX-License-Identifier: Apache-2.0 */
/* A job: how it runs and ends, and when nobody needs it any more. */
#include "tests/unit/test-jobs.h"

#include <sys/wait.h>

/* ---- a job's life -------------------------------------------------------------------------- */

static void
test_registered (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  deliver (inbox, "one", 0, NULL);
  deliver (inbox, "two", 0, NULL);
  run_in (fixture, "rm mail/example.com/user/joe/INBOX/0000000001.eml", "");
  g_autoptr (StoreJob) job = make_job (fixture->store, "reconstruct joe@example.com");
  assert_ok (store_job_register (job, &error), error);
  uint64_t id = store_job_id (job);
  g_assert_cmpuint (id, >, 0);
  assert_state (fixture->store, id, STORE_JOB_RUNNING);
  g_assert_cmpuint (count_jobs (fixture->store, true), ==, 1);
  assert_fails (store_queue_remove (fixture->store, id, &error), error, EBUSY);
  assert_fails (store_job_resume (fixture->store, id, &error), error, EBUSY);

  assert_ok (store_job_watch (job, go_on, NULL, &error), error);
  g_auto (StoreRecord) record = get_record (fixture->store, id);
  g_assert_cmpint (record.state, ==, STORE_JOB_DONE);
  g_assert_cmpint (record.code, ==, 0);
  g_assert_false (record.queued);
  g_assert_cmpuint (record.fixed + record.left, >=, 1);
  g_assert_cmpint (record.ended_s, >=, record.started_s);
  g_assert_nonnull (strstr (record.log, "done"));
  g_autoptr (GPtrArray) kept = store_queue_findings (fixture->store, id, &error);
  g_assert_no_error (error);
  const GPtrArray *found = store_job_findings (job);
  g_assert_cmpuint (kept->len, ==, found->len);
  for (guint i = 0; i < kept->len; i++) {
    const StoreFinding *a = kept->pdata[i], *b = found->pdata[i];
    g_assert_cmpint (a->problem, ==, b->problem);
    g_assert_cmpint (a->outcome, ==, b->outcome);
    g_assert_cmpuint (a->uid, ==, b->uid);
    g_assert_cmpstr (a->object, ==, b->object);
    g_assert_cmpstr (a->detail, ==, b->detail);
  }
  assert_fails (store_job_resume (fixture->store, id, &error), error, EALREADY);
}

static bool
stop_at_once (StoreJob *job, void *data)
{
  return false;
}

/* Nothing that the job waits for comes to pass while somebody holds the user's lock. */
static int
hold_lock (Fixture *fixture, const StoreMailbox *mailbox)
{
  g_autoptr (GError) error = NULL;
  int lock = lock_user (fixture->store, mailbox->owner, &error);
  g_assert_no_error (error);
  return lock;
}

static void
test_interrupted (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  deliver (inbox, "one", 0, NULL);
  g_autoptr (StoreJob) job = make_job (fixture->store, "reconstruct joe@example.com force");
  assert_ok (store_job_register (job, &error), error);
  store_job_cancel (job);
  job->interrupted = true;
  assert_fails (store_job_watch (job, stop_at_once, NULL, &error), error, ECANCELED);
  uint64_t id = store_job_id (job);
  assert_state (fixture->store, id, STORE_JOB_INTERRUPTED);
  g_assert_cmpuint (count_jobs (fixture->store, true), ==, 0); /* it was not a worker's */

  g_autoptr (StoreJob) again = store_job_resume (fixture->store, id, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (store_job_id (again), ==, id);
  g_assert_true (job_has (again, STORE_WORD_FORCE));
  assert_state (fixture->store, id, STORE_JOB_RUNNING);
  assert_ok (store_job_watch (again, go_on, NULL, &error), error);
  assert_state (fixture->store, id, STORE_JOB_DONE);
}

/* Asks for the end of the job once it runs, as another process would. */
static bool
cancel_it (StoreJob *job, void *data)
{
  g_autoptr (GError) error = NULL;
  Fixture *fixture = data;
  g_autoptr (Store) other = store_open (fixture->path, 0, &error);
  g_assert_no_error (error);
  assert_ok (store_queue_cancel (other, store_job_id (job), &error), error);
  return true;
}

typedef struct {
  Fixture *fixture;
  int *lock;
  bool asked;
} Cancelling;

static bool
cancel_then_let_go (StoreJob *job, void *data)
{
  Cancelling *cancelling = data;
  if (!cancelling->asked)
    cancelling->asked = cancel_it (job, cancelling->fixture);
  /* The flag has been seen; now the job may come to where it looks. */
  if (g_atomic_int_get (&job->cancelled) != 0 && *cancelling->lock >= 0) {
    store_close_fd (cancelling->lock);
    *cancelling->lock = -1;
  }
  return true;
}

static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "zoe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  deliver (inbox, "one", 0, NULL);
  g_autoptr (StoreJob) job = make_job (fixture->store, "reset");
  assert_ok (store_job_register (job, &error), error);
  auto_fd lock = hold_lock (fixture, inbox);
  Cancelling cancelling = {fixture, &lock, false};
  assert_fails (store_job_watch (job, cancel_then_let_go, &cancelling, &error), error, ECANCELED);
  assert_state (fixture->store, store_job_id (job), STORE_JOB_CANCELLED);
}

/* Who asked for the end of a job gets it, even if its process is told to end, or dies, just then.
 */
static bool
cancel_and_stop (StoreJob *job, void *data)
{
  Cancelling *cancelling = data;
  cancel_then_let_go (job, cancelling);
  return false;
}

static void
test_cancelled_at_the_end (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "zoe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreJob) job = make_job (fixture->store, "reset");
  assert_ok (store_job_register (job, &error), error);
  auto_fd lock = hold_lock (fixture, inbox);
  Cancelling cancelling = {fixture, &lock, false};
  assert_fails (store_job_watch (job, cancel_and_stop, &cancelling, &error), error, ECANCELED);
  assert_state (fixture->store, store_job_id (job), STORE_JOB_CANCELLED);
}

static void
test_failed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  deliver (inbox, "one", 0, NULL);
  run_in (fixture, "rm -r index/example.com && touch index/example.com", "");
  g_autoptr (StoreJob) job = make_job (fixture->store, "reconstruct");
  assert_ok (store_job_register (job, &error), error);
  g_assert_false (store_job_watch (job, go_on, NULL, &error));
  g_auto (StoreRecord) record = get_record (fixture->store, store_job_id (job));
  g_assert_cmpint (record.state, ==, STORE_JOB_FAILED);
  g_assert_cmpstr (record.error, ==, error->message);
  g_assert_cmpint (record.code, ==, error->code);
}

/* ---- jobs that nobody needs any more ------------------------------------------------------- */

static StoreJob *
take (Store *store, uint64_t id)
{
  g_autoptr (GError) error = NULL;
  g_auto (QueueJob) row = {0};
  StoreJob *job = NULL;
  assert_ok (queue_find (store, id, &row, &error), error);
  assert_ok (record_take (store, &row, &job, &error), error);
  return job;
}

static void
test_cancelled_dead (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  bool added;
  uint64_t id = add_job (fixture->store, "reset joe@example.com", &added);
  g_autoptr (StoreJob) job = take (fixture->store, id);
  assert_ok (store_queue_cancel (fixture->store, id, &error), error);
  g_clear_pointer (&job, store_job_free); /* as if its process had died */
  g_assert_null (take (fixture->store, id));
  assert_state (fixture->store, id, STORE_JOB_CANCELLED);
}

/* Makes the entry look older than it is. */
static void
age (Fixture *fixture, uint64_t id)
{
  g_autoptr (GError) error = NULL;
  g_auto (QueueJob) row = {0};
  bool changed;
  assert_ok (queue_find (fixture->store, id, &row, &error), error);
  QueueJob to = row;
  to.created_s -= 10;
  assert_ok (queue_turn (fixture->store, &row, &to, NULL, 0, &changed, &error), error);
  g_assert_true (changed);
}

static void
test_repaired_since (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  bool added;
  deliver (inbox, "one", 0, NULL);
  uint64_t plain = add_job (fixture->store, "reconstruct joe@example.com/INBOX", &added);
  uint64_t forced = add_job (fixture->store, "reconstruct force joe@example.com/INBOX", &added);
  age (fixture, plain);
  age (fixture, forced);
  g_autoptr (StoreJob) other = run_job (fixture->store, "reconstruct joe@example.com force");
  uint64_t newer = add_job (fixture->store, "reconstruct recursive joe@example.com/INBOX", &added);

  g_assert_null (take (fixture->store, plain));
  assert_state (fixture->store, plain, STORE_JOB_CANCELLED);
  g_autoptr (StoreJob) force = take (fixture->store, forced);
  g_assert_nonnull (force);
  g_autoptr (StoreJob) late = take (fixture->store, newer);
  g_assert_nonnull (late);
}

/* A clock that was wrong once does not keep anybody from rebuilding now. */
static void
test_repaired_later (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  bool added, found;
  deliver (inbox, "one", 0, NULL);
  {
    IndexMailbox row;
    g_autoptr (Handle) handle = NULL;
    g_autoptr (IndexWrite) write = mailbox_write_begin (inbox, &handle, &error);
    assert_ok (index_write_get_mailbox (write, inbox->number, &row, &found, &error), error);
    row.last_repair_s = record_now () + 86400;
    assert_ok (index_write_mailbox (write, &row, &error), error);
    assert_ok (index_write_commit (write, &error), error);
  }
  uint64_t id = add_job (fixture->store, "reconstruct joe@example.com/INBOX", &added);
  g_autoptr (StoreJob) job = take (fixture->store, id);
  g_assert_nonnull (job);
}

static void
test_gone (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/Old");
  bool added;
  uint64_t id = add_job (fixture->store, "reset joe@example.com/Old", &added);
  run_in (fixture, "rm -r mail/example.com/user/joe/Old", "");
  g_autoptr (StoreJob) list = run_job (fixture->store, "reconstruct mailbox-list");
  g_assert_null (take (fixture->store, id));
  g_auto (StoreRecord) record = get_record (fixture->store, id);
  g_assert_cmpint (record.state, ==, STORE_JOB_CANCELLED);
  g_assert_nonnull (strstr (record.title, "gone"));
}

/* A process that takes the job up and dies. */
static void
die_of (Fixture *fixture, uint64_t id)
{
  pid_t child = fork ();
  if (child == 0) {
    g_autoptr (GError) error = NULL;
    Store *store = store_open (fixture->path, 0, &error);
    g_auto (QueueJob) row = {0};
    StoreJob *job = NULL;
    bool taken = store != NULL && queue_find (store, id, &row, &error) &&
                 record_take (store, &row, &job, &error) && job != NULL;
    _exit (taken ? 7 : 0);
  }
  int status;
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (WEXITSTATUS (status), ==, 7);
}

static void
test_deaths (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  bool added;
  uint64_t id = add_job (fixture->store, "reset joe@example.com", &added);
  reopen (fixture, 0); /* no database is open over a fork */
  g_clear_pointer (&fixture->store, store_close);
  for (int death = 0; death < 3; death++)
    die_of (fixture, id);
  reopen (fixture, 0);
  assert_state (fixture->store, id, STORE_JOB_INTERRUPTED);
  g_assert_cmpuint (count_jobs (fixture->store, true), ==, 1);
  g_assert_null (take (fixture->store, id));
  g_auto (StoreRecord) record = get_record (fixture->store, id);
  g_assert_cmpint (record.state, ==, STORE_JOB_CANCELLED);
  g_assert_nonnull (strstr (record.error, "3 processes died"));
  g_assert_cmpint (record.code, ==, EIO);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/job/registered", test_registered);
  add_test ("/job/interrupted", test_interrupted);
  add_test ("/job/cancelled", test_cancelled);
  add_test ("/job/cancelled-at-the-end", test_cancelled_at_the_end);
  add_test ("/job/failed", test_failed);
  add_test ("/job/cancelled-dead", test_cancelled_dead);
  add_test ("/job/repaired-since", test_repaired_since);
  add_test ("/job/repaired-later", test_repaired_later);
  add_test ("/job/gone", test_gone);
  add_test ("/job/deaths", test_deaths);
  return g_test_run ();
}
