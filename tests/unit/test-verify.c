/* SPDX-License-Identifier: Apache-2.0 */
/* verify: every message against its digest. */
#include "test-store.h"

/* How many findings of that kind a job has, of that outcome. */
static guint
count (StoreJob *job, StoreProblem problem, StoreOutcome outcome)
{
  const GPtrArray *findings = store_job_findings (job);
  guint found = 0;
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    g_test_message ("%s %s %s", store_problem_name (finding->problem), finding->object,
                    finding->detail);
    found += finding->problem == problem && finding->outcome == outcome;
  }
  return found;
}

static void
assert_result (StoreJob *job, uint64_t mailboxes, uint64_t messages, uint64_t left)
{
  StoreResult result;
  StoreProgress progress;
  store_job_result (job, &result);
  store_job_progress (job, &progress);
  g_assert_cmpuint (result.mailboxes, ==, mailboxes);
  g_assert_cmpuint (result.messages, ==, messages);
  g_assert_cmpuint (result.left, ==, left);
  g_assert_cmpuint (progress.done, ==, progress.total);
}

/* How many jobs wait for a worker. */
static size_t
count_waiting (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  StoreRecord page[64];
  size_t waiting;
  assert_ok (store_queue_page (fixture->store, 0, true, page, 64, &waiting, &error), error);
  store_records_clear (page, waiting);
  return waiting;
}

static void
fill (Fixture *fixture)
{
  static const char *const names[] = {"joe@example.com", "joe@example.com/INBOX/Old",
                                      "ann@example.com"};
  g_autoptr (GError) error = NULL;
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, names[i]);
    for (int n = 0; n < 3; n++)
      deliver (mailbox, "as it was delivered", 0, NULL);
    assert_ok (store_mailbox_expunge (mailbox, (uint32_t[]){3}, 1, &error), error);
  }
}

static void
test_sound (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autoptr (StoreJob) all = run_job (fixture->store, "verify");
  assert_result (all, 3, 9, 0);
  g_autoptr (StoreJob) inbox = run_job (fixture->store, "verify joe@example.com/INBOX");
  assert_result (inbox, 1, 3, 0);
  g_autoptr (StoreJob) user = run_job (fixture->store, "verify joe@example.com");
  assert_result (user, 2, 6, 0);
  g_assert_cmpuint (store_job_findings (all)->len, ==, 0);
  g_assert_cmpuint (count_waiting (fixture), ==, 0);
}

#define JOE "mail/example.com/user/joe/INBOX"

/* Each is told, of the live and of the expunged, and so its mailbox is to be repaired: once. */
static void
test_damaged (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  run_in (fixture,
          "printf X | dd of=" JOE "/0000000001.eml conv=notrunc status=none;"
          "truncate -s 5 " JOE "/0000000002.eml; echo more >>" JOE "/.expunged/0000000003.eml;"
          "echo >>mail/example.com/user/ann/INBOX/0000000001.eml",
          "");
  g_autoptr (StoreJob) dry = run_job (fixture->store, "verify dry-run");
  assert_result (dry, 3, 9, 4);
  reopen (fixture, 0);
  g_assert_cmpuint (count_waiting (fixture), ==, 0);

  g_autoptr (StoreJob) job = run_job (fixture->store, "verify");
  assert_result (job, 3, 9, 4);
  g_assert_cmpuint (count (job, STORE_PROBLEM_DIGEST, STORE_LEFT), ==, 1);
  g_assert_cmpuint (count (job, STORE_PROBLEM_TRUNCATED, STORE_LEFT), ==, 1);
  g_assert_cmpuint (count (job, STORE_PROBLEM_SIZE, STORE_LEFT), ==, 2);
  g_assert_cmpuint (count_waiting (fixture), ==, 2);
}

/* What the files tell is enough to compare with; where they do not, that is said. */
static void
test_without_index (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  run_in (fixture,
          "rm -r index/example.com; printf X | dd of=" JOE
          "/0000000001.eml conv=notrunc status=none; setfattr -x user.mailfs.state " JOE
          "/0000000002.eml",
          "");
  reopen (fixture, 0);
  g_autoptr (StoreJob) job = run_job (fixture->store, "verify joe@example.com/INBOX");
  assert_result (job, 1, 3, 1);
  g_assert_cmpuint (count (job, STORE_PROBLEM_DIGEST, STORE_LEFT), ==, 1);
  g_assert_cmpuint (count (job, STORE_PROBLEM_NOTE, STORE_NOTED), ==, 1);
}

/* The index lists it, since nothing tells that the directory was changed. */
static void
test_unreadable (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  run_in (fixture,
          "cd " JOE " && t=$(stat -c %y .) && ln -sf 0000000002.eml 0000000001.eml &&"
          " touch -d \"$t\" .",
          "");
  g_autoptr (StoreJob) job = run_job (fixture->store, "verify joe@example.com/INBOX");
  assert_result (job, 1, 3, 1);
  g_assert_cmpuint (count (job, STORE_PROBLEM_UNREADABLE, STORE_LEFT), ==, 1);
}

static void
test_cancelled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  g_autoptr (StoreJob) job = make_job (fixture->store, "verify");
  store_job_cancel (job);
  assert_fails (store_job_run (job, &error), error, ECANCELED);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/verify/sound", test_sound);
  add_test ("/verify/damaged", test_damaged);
  add_test ("/verify/without-index", test_without_index);
  add_test ("/verify/unreadable", test_unreadable);
  add_test ("/verify/cancelled", test_cancelled);
  return g_test_run ();
}
