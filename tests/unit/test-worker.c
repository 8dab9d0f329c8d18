/* SPDX-License-Identifier: Apache-2.0 */
/* The worker: order, exclusion, interruption; and what it makes of damage that readers met. */
#include "tests/unit/test-jobs.h"

#include <sys/resource.h>

static uint64_t
add (Store *store, const char *action, uint32_t node)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *nodes = node != 0 ? g_strdup_printf ("%u", node) : g_strdup ("");
  uint64_t id = 0;
  bool added;
  assert_ok (queue_add_waiting (store, action, nodes, "a test", 0, &id, &added, &error), error);
  g_assert_true (added);
  return id;
}

/* Collects what the worker says. */
static void
hear (uint64_t job, const char *mailbox, const char *text, void *data)
{
  g_string_append_printf (data, "%s\n", text);
}

static guint
count_heard (const GString *heard, const char *what)
{
  g_auto (GStrv) pieces = g_strsplit (heard->str, what, -1);
  return g_strv_length (pieces) - 1;
}

static StoreWorker *
make_worker (Store *store, StoreJobFunc function, GString *heard)
{
  g_autoptr (GError) error = NULL;
  StoreWorkerCalls calls = {
      .say = heard != NULL ? hear : NULL, .go_on = function, .user_data = heard};
  StoreWorker *worker = store_worker_new (store, &calls, &error);
  g_assert_no_error (error);
  return worker;
}

/* Runs all that waits; returns how many jobs that were. */
static unsigned
run_all (StoreWorker *worker)
{
  g_autoptr (GError) error = NULL;
  unsigned count = 0;
  for (uint64_t id = 1; id != 0; count += id != 0)
    assert_ok (store_worker_step (worker, &id, &error), error);
  return count;
}

/* ---- the worker ---------------------------------------------------------------------------- */

static void
test_order (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  deliver (inbox, "one", 0, NULL);
  uint64_t first = add (fixture->store, "reset", 0), failing = add (fixture->store, "reset", 1000);
  uint64_t last = add (fixture->store, "check", inbox->number), id = 0;
  g_autoptr (GString) heard = g_string_new (NULL);
  g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, heard);
  assert_ok (store_worker_step (worker, &id, &error), error);
  g_assert_cmpuint (id, ==, first);
  assert_ok (store_worker_step (worker, &id, &error), error);
  g_assert_cmpuint (id, ==, last); /* on the way the one for a node that is not there was dropped */
  assert_state (fixture->store, failing, STORE_JOB_CANCELLED);
  assert_ok (store_worker_step (worker, &id, &error), error);
  g_assert_cmpuint (id, ==, 0);
  g_assert_cmpuint (count_heard (heard, " begun\n"), ==, 2);
  g_assert_cmpuint (count_heard (heard, " done: "), ==, 2);
  g_assert_cmpuint (count_heard (heard, "not needed any more"), ==, 1);
}

static void
test_failing (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  deliver (inbox, "one", 0, NULL);
  run_in (fixture, "rm -r index/example.com && touch index/example.com", "");
  uint64_t failing = add (fixture->store, "reconstruct force", 0);
  uint64_t last = add (fixture->store, "check", 0);
  g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, NULL);
  g_assert_cmpuint (run_all (worker), ==, 2);
  assert_state (fixture->store, failing, STORE_JOB_FAILED);
  assert_state (fixture->store, last, STORE_JOB_DONE);
}

static void
test_exclusion (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  StoreWorkerCalls calls = {.go_on = go_on};
  g_autoptr (Store) other = store_open (fixture->path, 0, &error);
  g_assert_no_error (error);
  g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, NULL);
  g_autofree char *me = g_strdup_printf ("process %d on ", getpid ());
  g_assert_null (store_worker_new (other, &calls, &error));
  g_assert_error (error, MAILFS_ERROR, EBUSY);
  g_assert_nonnull (strstr (error->message, me));
  g_clear_error (&error);
  g_clear_pointer (&worker, store_worker_free);
  worker = store_worker_new (other, &calls, &error);
  g_assert_no_error (error);
  g_clear_pointer (&worker, store_worker_free); /* before its store */
  reopen (fixture, STORE_READ_ONLY);
  assert_fails (store_worker_new (fixture->store, &calls, &error), error, EROFS);
}

/* Ends the job, and lets it go on only when it has been told. */
static bool
stop_and_release (StoreJob *job, void *data)
{
  int *lock = data;
  if (g_atomic_int_get (&job->cancelled) != 0) {
    store_close_fd (lock);
    *lock = -1;
  }
  return false;
}

static void
test_interrupted (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) ann = open_named (fixture->store, "ann@example.com/INBOX");
  g_autoptr (StoreMailbox) zoe = open_named (fixture->store, "zoe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  uint64_t job = add (fixture->store, "reset", 0), same, id = 0;
  bool added;
  auto_fd lock = lock_user (fixture->store, ann->owner, &error);
  StoreWorkerCalls calls = {.go_on = stop_and_release, .user_data = &lock};
  g_autoptr (StoreWorker) stopped = store_worker_new (fixture->store, &calls, &error);
  g_assert_no_error (error);
  assert_fails (store_worker_step (stopped, &id, &error), error, ECANCELED);
  g_assert_cmpuint (id, ==, job);
  assert_state (fixture->store, job, STORE_JOB_INTERRUPTED);
  g_clear_pointer (&stopped, store_worker_free);
  store_close_fd (&lock); /* it may have ended before it came there */
  lock = -1;

  /* It waits still, for whoever is the next worker, and is the same as one that is asked for now.
   */
  assert_ok (queue_add_waiting (fixture->store, "reset", "", NULL, 0, &same, &added, &error),
             error);
  g_assert_false (added);
  g_assert_cmpuint (same, ==, job);
  g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, NULL);
  g_assert_cmpuint (run_all (worker), ==, 1);
  assert_state (fixture->store, job, STORE_JOB_DONE);
}

/* The same job is queued while it runs, and then it is interrupted: one of them is enough. */
static bool
stop_with_twin (StoreJob *job, void *data)
{
  g_autoptr (GError) error = NULL;
  uint64_t id;
  bool added;
  if (g_atomic_int_get (&job->cancelled) == 0) {
    assert_ok (queue_add_waiting (job->store, "reset", "", NULL, 0, &id, &added, &error), error);
    g_assert_true (added);
  }
  return stop_and_release (job, data);
}

static void
test_twin (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) ann = open_named (fixture->store, "ann@example.com/INBOX");
  g_autoptr (StoreMailbox) zoe = open_named (fixture->store, "zoe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  uint64_t job = add (fixture->store, "reset", 0), id = 0;
  auto_fd lock = lock_user (fixture->store, ann->owner, &error);
  StoreWorkerCalls calls = {.go_on = stop_with_twin, .user_data = &lock};
  g_autoptr (StoreWorker) worker = store_worker_new (fixture->store, &calls, &error);
  g_assert_no_error (error);
  assert_fails (store_worker_step (worker, &id, &error), error, ECANCELED);
  assert_state (fixture->store, job, STORE_JOB_CANCELLED);
  assert_state (fixture->store, job + 1, STORE_JOB_WAITING);
}

static gpointer
look_at_priority (gpointer data)
{
  Fixture *fixture = data;
  g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, NULL);
  return GINT_TO_POINTER (getpriority (PRIO_PROCESS, (id_t)gettid ()));
}

/* The worker steps back, and nobody else. */
static void
test_priority (Fixture *fixture, gconstpointer data)
{
  int before = getpriority (PRIO_PROCESS, 0);
  GThread *thread = g_thread_new ("worker", look_at_priority, fixture);
  g_assert_cmpint (GPOINTER_TO_INT (g_thread_join (thread)), ==, MAX (before, 10));
  g_assert_cmpint (getpriority (PRIO_PROCESS, 0), ==, before);
}

/* ---- healing ------------------------------------------------------------------------------- */

static void
read_all (StoreMailbox *mailbox)
{
  g_autoptr (GError) error = NULL;
  StoreMessage page[8];
  size_t count;
  assert_ok (store_mailbox_page (mailbox, 0, page, G_N_ELEMENTS (page), &count, &error), error);
  for (size_t i = 0; i < count; i++) {
    g_auto (StoreSummary) summary = {0};
    char bytes[4096];
    size_t size;
    bool known;
    auto_fd fd = store_message_open (mailbox, page[i].uid, &error);
    g_assert_no_error (error);
    if (!store_message_verify (mailbox, page[i].uid, fd, bytes, sizeof bytes, &size, &known,
                               &error))
      g_assert_error (error, MAILFS_ERROR, EIO);
    g_clear_error (&error);
    assert_ok (store_message_summary (mailbox, page[i].uid, &summary, &error), error);
  }
  store_messages_clear (page, count);
}

/* Repairs once, for what has been read: whatever else is damaged, nothing more is queued. */
static void
test_heal_rows (Fixture *fixture, gconstpointer data)
{
  static const char *const kinds[] = {
      "rm index/example.com/user/joe.sqlite3",
      "head -c 30000 /dev/urandom >index/example.com/user/joe.sqlite3",
      "dd if=/dev/urandom of=index/example.com/user/joe.sqlite3 bs=8192 seek=1 count=20"
      " conv=notrunc status=none",
      "cp -p mail/example.com/user/joe/INBOX/0000000001.eml"
      " mail/example.com/user/joe/INBOX/0000000099.eml",
      "rm mail/example.com/user/joe/INBOX/0000000099.eml",
  };
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t number = inbox->number;
  for (int i = 0; i < 7; i++)
    deliver (inbox, "some message", 0, NULL);
  g_clear_pointer (&inbox, store_mailbox_unref);
  for (size_t i = 0; i < G_N_ELEMENTS (kinds); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (GString) heard = g_string_new (NULL);
    g_clear_pointer (&fixture->store, store_close);
    run_in (fixture, kinds[i], "");
    reopen (fixture, 0);
    g_autoptr (StoreMailbox) mailbox = store_mailbox_open (fixture->store, number, &error);
    g_assert_no_error (error);
    g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, heard);
    g_assert_cmpuint (run_all (worker), ==, 0);
    for (int time = 0; time < 3; time++)
      read_all (mailbox);
    g_assert_cmpuint (run_all (worker), ==, 1);
    read_all (mailbox);
    g_assert_cmpuint (run_all (worker), ==, 0);
    const char *why = strstr (kinds[i], "urandom") != NULL
                          ? "joe@example.com queued: a reader met a damaged index"
                          : "joe@example.com/INBOX queued: a reader was served from the files";
    g_assert_cmpuint (count_heard (heard, why), ==, 1);
    g_assert_cmpuint (count_heard (heard, " 0 left"), ==, kinds[i][0] == 'r' && i > 0 ? 0 : 1);
    assert_clean (fixture->store);
    /* With its store: the worker goes first. */
    g_clear_pointer (&worker, store_worker_free);
    g_clear_pointer (&mailbox, store_mailbox_unref);
  }
}

/* A writer in the middle of its change is no damage. */
static void
test_heal_not_writers (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  deliver (inbox, "one", 0, NULL);
  auto_fd lock = lock_user (fixture->store, inbox->owner, &error);
  run_in (fixture,
          "cp -p mail/example.com/user/joe/INBOX/0000000001.eml"
          " mail/example.com/user/joe/INBOX/0000000002.eml",
          "");
  g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, NULL);
  read_all (inbox);
  g_assert_cmpuint (run_all (worker), ==, 0);
  store_close_fd (&lock);
  lock = -1;
  read_all (inbox);
  g_assert_cmpuint (run_all (worker), ==, 1);
}

static void
test_heal_bytes (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GString) heard = g_string_new (NULL);
  deliver (inbox, "one", 0, NULL);
  deliver (inbox, "two", 0, NULL);
  run_in (fixture,
          "f=mail/example.com/user/joe/INBOX/0000000001.eml; touch -r $f t;"
          " printf X | dd of=$f bs=1 seek=9 conv=notrunc status=none; touch -r t $f; rm t",
          "");
  g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, heard);
  read_all (inbox);
  g_assert_cmpuint (run_all (worker), ==, 1);
  g_assert_cmpuint (count_heard (heard, " 1 left"), ==, 1);
  for (int i = 0; i < 3; i++) {
    read_all (inbox);
    g_assert_cmpuint (run_all (worker), ==, 0);
  }
  /* Other damage in the same mailbox is not held up by it. */
  run_in (fixture, "rm index/example.com/user/joe.sqlite3", "");
  read_all (inbox);
  g_assert_cmpuint (run_all (worker), ==, 1);
}

/* What cannot be repaired fails, and is left alone. */
static void
test_heal_in_vain (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GString) heard = g_string_new (NULL);
  deliver (inbox, "one", 0, NULL);
  run_in (fixture, "rm -r index/example.com && touch index/example.com", "");
  g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, heard);
  for (int i = 0; i < 4; i++) {
    read_all (inbox);
    g_assert_cmpuint (run_all (worker), ==, i == 0 ? 1 : 0);
  }
  g_assert_cmpuint (count_heard (heard, " queued: "), ==, 1);
}

/* Puts a job that has ended into the past, with another end. */
static void
end_before (Store *store, uint64_t id, int code, int64_t seconds)
{
  g_autoptr (GError) error = NULL;
  g_auto (QueueJob) job = {0};
  bool changed = false;
  assert_ok (queue_find (store, id, &job, &error), error);
  g_assert_cmpint (job.state, ==, QUEUE_FAILED);
  QueueJob to = job;
  to.code = code;
  to.ended_s = record_now () - seconds;
  assert_ok (queue_turn (store, &job, &to, NULL, 0, &changed, &error), error);
  g_assert_true (changed);
}

/* A repair that somebody got in the way of, say by still copying a mailbox back, is soon tried
 * again. */
static void
test_heal_again (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  deliver (inbox, "one", 0, NULL);
  run_in (fixture, "rm -r index/example.com && touch index/example.com", "");
  g_autoptr (StoreWorker) worker = make_worker (fixture->store, go_on, NULL);
  read_all (inbox);
  g_assert_cmpuint (run_all (worker), ==, 1);
  end_before (fixture->store, 1, EUCLEAN, 60);
  read_all (inbox);
  g_assert_cmpuint (run_all (worker), ==, 0);
  end_before (fixture->store, 1, EAGAIN, 60);
  read_all (inbox);
  g_assert_cmpuint (run_all (worker), ==, 1);
}

/* However much readers met, whoever wants the worker to end waits for some of it only. */
static void
test_heal_slowly (Fixture *fixture, gconstpointer data)
{
  enum { MAILBOXES = 40 };
  g_autoptr (GError) error = NULL;
  for (int i = 0; i < MAILBOXES; i++) {
    g_autofree char *name = g_strdup_printf ("joe@example.com/M%d", i);
    g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, name);
    deliver (mailbox, "one", 0, NULL);
    heal_note (mailbox, HEAL_BYTES);
  }
  g_autoptr (GString) heard = g_string_new (NULL);
  heal_flush (fixture->store, hear, heard);
  guint first = count_heard (heard, " queued: ");
  g_assert_cmpuint (first, >, 0);
  g_assert_cmpuint (first, <, MAILBOXES / 2);
  for (int i = 0; i < MAILBOXES; i++)
    heal_flush (fixture->store, hear, heard);
  g_assert_cmpuint (count_heard (heard, " queued: "), ==, MAILBOXES);
}

/* A process that goes leaves what it met to the worker. */
static void
test_heal_at_close (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  uint32_t number = inbox->number;
  deliver (inbox, "one", 0, NULL);
  run_in (fixture, "rm index/example.com/user/joe.sqlite3", "");
  read_all (inbox);
  g_clear_pointer (&inbox, store_mailbox_unref);
  reopen (fixture, STORE_READ_ONLY);
  g_auto (QueueJob) job = {0};
  assert_ok (queue_find (fixture->store, 1, &job, &error), error);
  g_autofree char *nodes = g_strdup_printf ("%u", number);
  g_assert_cmpint (job.state, ==, QUEUE_WAITING);
  g_assert_cmpstr (job.nodes, ==, nodes);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/worker/order", test_order);
  add_test ("/worker/failing", test_failing);
  add_test ("/worker/exclusion", test_exclusion);
  add_test ("/worker/interrupted", test_interrupted);
  add_test ("/worker/twin", test_twin);
  add_test ("/worker/priority", test_priority);
  add_test ("/worker/heal-rows", test_heal_rows);
  add_test ("/worker/heal-not-writers", test_heal_not_writers);
  add_test ("/worker/heal-bytes", test_heal_bytes);
  add_test ("/worker/heal-in-vain", test_heal_in_vain);
  add_test ("/worker/heal-again", test_heal_again);
  add_test ("/worker/heal-slowly", test_heal_slowly);
  add_test ("/worker/heal-at-close", test_heal_at_close);
  return g_test_run ();
}
