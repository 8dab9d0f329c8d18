/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot-diff: that memory stays bounded, and that a snapshot that goes away meanwhile shows.
 * What it tells is in tests/tools/snapshot.sh. */
#include "test-store.h"

#define MANY 10001

/* Puts `count` messages into the mailbox with one commit a thousand. */
static void
deliver_many (StoreMailbox *mailbox, unsigned count)
{
  g_autoptr (GError) error = NULL;
  const StoreFacts facts = {.internal_s = 1600000000};
  for (unsigned done = 0; done < count;) {
    g_autoptr (GPtrArray) drafts =
        g_ptr_array_new_with_free_func ((GDestroyNotify)store_draft_free);
    for (; done < count && drafts->len < 1000; done++) {
      StoreDraft *draft = store_draft_new (mailbox->store, &facts, &error);
      g_assert_no_error (error);
      g_ptr_array_add (drafts, draft);
      assert_ok (store_draft_write (draft, "x: y\n\nz\n", 8, &error), error);
      assert_ok (store_draft_finish (draft, mailbox, &error), error);
    }
    assert_ok (store_mailbox_append (mailbox, (StoreDraft *const *)drafts->pdata, drafts->len,
                                     STORE_APPEND_BULK, &error),
               error);
  }
}

static void
count_finding (const StoreFinding *finding, void *data)
{
  unsigned *count = data;
  g_assert_cmpint (finding->problem, ==, STORE_PROBLEM_ADDED);
  ++*count;
}

/* Who listens is told of all; who does not, of no more than can be kept, and then it fails. */
static void
test_many (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (store, "joe@example.com");
  assert_ok (store_snapshot_take (store, "before", NULL, &error), error);
  deliver_many (inbox, MANY);
  unsigned count = 0;
  g_autoptr (StoreJob) told = make_job (store, "snapshot diff before");
  store_job_tell (told, count_finding, &count);
  assert_ok (store_job_run (told, &error), error);
  g_assert_cmpuint (count, ==, MANY);
  g_assert_cmpuint (store_job_findings (told)->len, ==, 0);

  g_autoptr (StoreJob) kept = make_job (store, "snapshot diff before joe@example.com");
  assert_fails (store_job_run (kept, &error), error, E2BIG);
  g_assert_cmpuint (store_job_findings (kept)->len, ==, MANY - 1);
}

static void
drop_it (const StoreFinding *finding, void *data)
{
  g_autoptr (GError) error = NULL;
  Store *store = data;
  assert_ok (store_snapshot_drop (store, "before", &error), error);
}

/* What is left of the comparison may lack anything. */
static void
test_dropped (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (store, "joe@example.com");
  deliver (inbox, "first", 0, NULL);
  assert_ok (store_snapshot_take (store, "before", NULL, &error), error);
  deliver (inbox, "second", 0, NULL);
  g_autoptr (StoreJob) job = make_job (store, "snapshot diff before");
  store_job_tell (job, drop_it, store);
  assert_fails (store_job_run (job, &error), error, ESTALE);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/snapshot-diff/many", Fixture, NULL, set_up, test_many, tear_down);
  g_test_add ("/snapshot-diff/dropped", Fixture, NULL, set_up, test_dropped, tear_down);
  return g_test_run ();
}
