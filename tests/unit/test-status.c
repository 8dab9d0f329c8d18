/* SPDX-License-Identifier: Apache-2.0 */
/* Counting a directory with everything below it. */
#include "test-store.h"

static StoreStatus
count (const Fixture *fixture, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  StoreStatus status;
  assert_ok (store_node_resolve (fixture->store, spelling, &node, &error), error);
  assert_ok (store_node_status (fixture->store, node.number, &status, &error), error);
  return status;
}

/* Two domains, three users; joe has a mailbox in a mailbox, and example.com a shared one. */
static void
fill (const Fixture *fixture)
{
  static const char *const names[] = {
      "joe@example.com", "joe@example.com/INBOX/Work",      "joe@example.com/INBOX/Work/Old",
      "ann@example.com", "Public Folders/News@example.com", "joe@example.org",
  };
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, names[i]);
    deliver (mailbox, "one", 0, NULL);
    if (i < 2)
      deliver (mailbox, "seen", STORE_FLAG_SEEN, NULL);
  }
}

static void
test_levels (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  const struct {
    const char *spelling;
    uint64_t domains, users, mailboxes, messages, unseen;
  } levels[] = {
      {"joe@example.com/INBOX/Work/Old", 0, 0, 1, 1, 1},
      {"joe@example.com/INBOX/Work", 0, 0, 2, 3, 2},
      {"joe@example.com", 0, 1, 3, 5, 3},
      {"example.com/user", 0, 2, 4, 6, 4},
      {"example.com/shared", 0, 0, 1, 1, 1},
      {"example.com", 1, 2, 5, 7, 5},
      {"example.org", 1, 1, 1, 1, 1},
      {"", 2, 3, 6, 8, 6},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (levels); i++) {
    StoreStatus status = count (fixture, levels[i].spelling);
    g_test_message ("'%s'", levels[i].spelling);
    g_assert_cmpuint (status.domains, ==, levels[i].domains);
    g_assert_cmpuint (status.users, ==, levels[i].users);
    g_assert_cmpuint (status.mailboxes, ==, levels[i].mailboxes);
    g_assert_cmpuint (status.messages, ==, levels[i].messages);
    g_assert_cmpuint (status.unseen, ==, levels[i].unseen);
    g_assert_cmpuint (status.behind, ==, 0);
    g_assert_cmpuint (status.bytes, >, 0);
    g_assert_cmpuint (status.highestmodseq, >, 0);
    g_assert_cmpint (status.last_repair_s, ==, 0);
  }
}

/* Without an index the figures are the same, and where it is missing is told. */
static void
test_without_index (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  uint64_t modseq = count (fixture, "joe@example.com").highestmodseq;
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm index/example.com/user/joe.sqlite3", "");
  reopen (fixture, 0);
  StoreStatus status = count (fixture, "example.com");
  g_assert_cmpuint (status.messages, ==, 7);
  g_assert_cmpuint (status.behind, ==, 3);
  g_assert_cmpuint (status.users_without_index, ==, 1);
  g_assert_cmpuint (count (fixture, "joe@example.com").highestmodseq, ==, modseq);
  g_assert_cmpuint (count (fixture, "example.org").behind, ==, 0);

  g_autoptr (StoreJob) job G_GNUC_UNUSED = run_job (fixture->store, "reconstruct recursive");
  g_assert_cmpuint (count (fixture, "").behind, ==, 0);
  g_assert_cmpint (count (fixture, "example.com").last_repair_s, >, 0);
  g_assert_cmpint (count (fixture, "").last_repair_s, >, 0);
}

static void
test_nothing_there (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  StoreStatus status;
  assert_fails (store_node_status (fixture->store, 4711, &status, &error), error, ENOENT);
  g_assert_cmpuint (count (fixture, "").mailboxes, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/status/levels", test_levels);
  add_test ("/status/without-index", test_without_index);
  add_test ("/status/nothing-there", test_nothing_there);
  return g_test_run ();
}
