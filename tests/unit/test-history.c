/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept for snapshots: lines, what they tell of an epoch, and which of them may go. */
#include "store/snapshot.h"
#include "tests/unit/test-store.h"

#define STATE "1 7 3 0 00000000000000ab \\Seen work"

static void
append (Store *store, uint32_t number, const char *lines)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (History) history = history_new (store, number);
  auto_fd fd = history_append (history, lines, &error);
  assert_ok (fd >= 0 && history_sync (history, fd, &error), error);
}

static void
load (History *history)
{
  g_autoptr (GError) error = NULL;
  assert_ok (history_load (history, &error), error);
}

/* The ctime kept of a message for an epoch; -1: nothing is. */
static int64_t
changed (History *history, uint32_t uid, uint32_t epoch)
{
  g_autoptr (GError) error = NULL;
  g_auto (HistoryMessage) message = {0};
  bool kept = false;
  assert_ok (history_message (history, uid, epoch, &message, &kept, &error), error);
  return kept ? message.changed_ns : -1;
}

static void
test_messages (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (History) history = history_new (fixture->store, 9);
  g_auto (HistoryMessage) message = {0};
  bool kept = true;
  load (history);
  assert_ok (history_message (history, 4, 1, &message, &kept, &error), error);
  g_assert_false (kept);
  append (fixture->store, 9, "5 4 1001 " STATE "\n5 6 1002 -\n");
  append (fixture->store, 9, "8 4 1003 " STATE "\n8 4 1004 " STATE "\n");
  load (history);
  g_assert_cmpint (changed (history, 4, 1), ==, 1001);
  g_assert_cmpint (changed (history, 4, 5), ==, 1001);
  g_assert_cmpint (changed (history, 4, 6), ==, 1003); /* the first of the two counts */
  g_assert_cmpint (changed (history, 4, 9), ==, -1);
  g_assert_cmpint (changed (history, 5, 1), ==, -1);
  assert_ok (history_message (history, 6, 5, &message, &kept, &error), error);
  g_assert_true (kept && !message.has_state);
  assert_ok (history_message (history, 4, 5, &message, &kept, &error), error);
  g_assert_cmpuint (message.state.modseq, ==, 7);
  g_assert_cmpuint (message.state.birth, ==, 3);
  g_assert_cmpstr (message.state.keywords, ==, "work");
  g_autoptr (GArray) old = history_subjects (history, 2), new = history_subjects (history, 7);
  g_assert_cmpuint (old->len, ==, 2);
  g_assert_cmpuint (g_array_index (old, uint32_t, 1), ==, 6);
  g_assert_cmpuint (new->len, ==, 1);

  /* What another process adds is taken in, whichever file it is in by then. */
  append (fixture->store, 9, "8 7 1005 -\n");
  load (history);
  g_assert_cmpint (changed (history, 7, 8), ==, 1005);
  run_in (fixture, "cp history/9 history/x && mv history/x history/9", "");
  append (fixture->store, 9, "9 7 1006 -\n");
  load (history);
  g_assert_cmpint (changed (history, 7, 9), ==, 1006);
  g_assert_cmpuint (history_damaged (history), ==, 0);
  run_in (fixture, "rm -r history", "");
  load (history);
  g_assert_cmpint (changed (history, 7, 9), ==, -1);
}

static void
test_directories (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (History) history = history_new (fixture->store, 9);
  g_auto (HistoryDirectory) directory = {0};
  bool kept = false;
  append (fixture->store, 9, "5 0 11 12 1 9 77 8 99 1 \\Sent -\n");
  load (history);
  assert_ok (history_directory (history, STORE_NODE_MAILBOX, 5, &directory, &kept, &error), error);
  g_assert_true (kept && directory.has_state);
  g_assert_cmpint (directory.mtime_ns, ==, 11);
  g_assert_cmpint (directory.ctime_ns, ==, 12);
  g_assert_cmpuint (directory.state.uidnext, ==, 8);
  g_assert_cmpstr (directory.state.special_use, ==, "\\Sent");
  g_autoptr (GArray) subjects = history_subjects (history, 1);
  g_assert_cmpuint (subjects->len, ==, 0);
  assert_ok (history_directory (history, STORE_NODE_MAILBOX, 6, &directory, &kept, &error), error);
  g_assert_false (kept);
}

/* A line that was cut short never counts, even where what is left of it would make sense. */
static void
test_damage (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (History) history = history_new (fixture->store, 9);
  g_auto (HistoryMessage) message = {0};
  bool kept;
  run_in (fixture, "mkdir history && printf '5 4 10 1 7 3 0 - work' > history/9", "");
  load (history);
  g_assert_cmpint (changed (history, 4, 5), ==, -1);
  append (fixture->store, 9, "5 4 20 -\n");
  load (history);
  g_assert_cmpint (changed (history, 4, 5), ==, 20);
  g_assert_cmpuint (history_damaged (history), ==, 0);
  append (fixture->store, 9, "5 5 21 -\n6 8 x\n7 9 22 -\n");
  run_in (fixture, "sed -i '/^5 5 /s/21/31/; /^7 9 /s/9 22 - /1x/' history/9", "");
  run_in (fixture, "printf 'rubbish\\n\\n5 6 23 -\\n' >> history/9", "");
  load (history);
  g_assert_cmpint (changed (history, 4, 5), ==, 20);
  g_assert_cmpuint (history_damaged (history), ==, 5);
  /* One behind whose head it is that something has changed, or is missing, or made no sense. */
  for (uint32_t uid = 5; uid <= 8; uid += uid == 6 ? 2 : 1)
    assert_fails (history_message (history, uid, 5, &message, &kept, &error), error, EBADMSG);
  g_assert_cmpint (changed (history, 9, 7), ==, -1);
  run_in (fixture, "rm history/9 && ln -s ../mailfs.conf history/9", "");
  assert_fails (history_load (history, &error), error, ELOOP);
  assert_fails (history_append (history, "5 4 20 -\n", &error) >= 0, error, ELOOP);
}

/* Keeps a node of the tree in the epoch of the newest snapshot. */
static void
keep_place (Store *store, const ListNode *node, const char *place)
{
  g_autoptr (GError) error = NULL;
  g_auto (Epoch) epoch = EPOCH_NONE;
  g_auto (Keep) keep = {0};
  assert_ok (epoch_enter (store, &epoch, &error) && keep_begin_tree (&keep, &epoch, &error), error);
  if (node->kind == LIST_ROOT)
    keep_absent (&keep, node->number);
  else
    keep_node (&keep, node, place);
  assert_ok (keep_end (&keep, &error), error);
}

static uint32_t
take (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreSnapshot) snapshot = {0};
  assert_ok (store_snapshot_take (store, NULL, &snapshot, &error), error);
  return snapshot.epoch;
}

static void
test_tree (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (History) tree = history_new_tree (fixture->store);
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t number = inbox->number;
  ListNode node = {.number = number, .parent = 3, .owner = 3, .kind = LIST_MAILBOX};
  node.name = (char *)"-odd \"name\"";
  keep_place (fixture->store, &node, NULL); /* there is no snapshot */
  run_in (fixture, "test ! -e history", "");
  uint32_t first = take (fixture->store);
  keep_place (fixture->store, &node, NULL);
  node.name = (char *)"other";
  keep_place (fixture->store, &node, NULL); /* is kept already */
  keep_place (fixture->store, &node, "STAMP/a b");
  uint32_t second = take (fixture->store);
  load (tree);
  g_auto (HistoryNode) was = {0};
  bool kept = false;
  assert_ok (history_node (tree, number, first, &was, &kept, &error), error);
  g_assert_true (kept && !was.absent);
  g_assert_cmpstr (was.node.name, ==, "-odd \"name\"");
  g_assert_null (was.node.full_name);
  g_assert_cmpuint (was.node.parent, ==, 3);
  g_assert_cmpstr (was.place, ==, "STAMP/a b");
  history_node_clear (&was);
  assert_ok (history_node (tree, number, second, &was, &kept, &error), error);
  g_assert_false (kept);
  g_autoptr (GArray) children = history_children (tree, 3, first);
  g_assert_cmpuint (children->len, ==, 1);

  /* It comes back, and the second snapshot, which did not have it, still has not. */
  node.kind = LIST_ROOT;
  keep_place (fixture->store, &node, NULL);
  load (tree);
  assert_ok (history_node (tree, number, second, &was, &kept, &error), error);
  g_assert_true (kept && was.absent);
  assert_ok (history_node (tree, number, first, &was, &kept, &error), error);
  g_assert_true (kept && !was.absent);
  g_assert_cmpstr (was.place, ==, "STAMP/a b"); /* the list counts more */
  history_node_clear (&was);
  g_autoptr (GArray) none = history_children (tree, STORE_ROOT, second);
  g_assert_cmpuint (none->len, ==, 0);
}

/* What tells where a node went hides from no snapshot what it was, though that was kept for one
 * that is dropped by now. */
static void
test_tree_after_drop (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (History) tree = history_new_tree (fixture->store);
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  ListNode node = {.number = inbox->number, .parent = 3, .owner = 3, .kind = LIST_MAILBOX};
  g_auto (HistoryNode) was = {0};
  g_auto (StoreSnapshot) last = {0};
  bool kept = false;
  uint32_t first = take (fixture->store);
  take (fixture->store);
  node.name = (char *)"name";
  keep_place (fixture->store, &node, NULL);
  assert_ok (store_snapshot_find (fixture->store, "latest", &last, &error), error);
  assert_ok (store_snapshot_drop (fixture->store, last.name, &error), error);
  node.name = (char *)"later";
  keep_place (fixture->store, &node, "STAMP/later");
  load (tree);
  assert_ok (history_node (tree, node.number, first, &was, &kept, &error), error);
  g_assert_true (kept && !was.absent);
  g_assert_cmpstr (was.node.name, ==, "name");
  g_assert_cmpstr (was.place, ==, "STAMP/later");
  history_node_clear (&was);
  node.kind = LIST_ROOT;
  keep_place (fixture->store, &node, NULL);
  load (tree);
  assert_ok (history_node (tree, node.number, first, &was, &kept, &error), error);
  g_assert_true (kept && !was.absent);
  g_assert_cmpstr (was.node.name, ==, "name");
}

static void
test_compact (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (History) history = history_new (fixture->store, 9);
  bool left = false;
  uint32_t first = take (fixture->store), second = take (fixture->store);
  g_autofree char *lines =
      g_strdup_printf ("3 1 9 -\n%u 1 10 -\n%u 1 11 -\n%u 2 12 -\n", first, second, second);
  append (fixture->store, 9, lines);
  g_autoptr (SnapshotSet) set = snapshot_set_get (fixture->store, second + 1);
  g_assert_cmpuint (set->snapshots->len, ==, 2);
  assert_ok (history_compact (history, set, &left, &error), error);
  g_assert_true (left);
  load (history);
  g_assert_cmpint (changed (history, 1, 2), ==, 10); /* the line of epoch 3 is gone */
  g_assert_cmpint (changed (history, 1, second), ==, 11);
  g_assert_cmpint (changed (history, 2, first), ==, 12);
  const StoreSnapshot *oldest = set->snapshots->pdata[0];
  assert_ok (store_snapshot_drop (fixture->store, oldest->name, &error), error);
  g_autoptr (SnapshotSet) one = snapshot_set_get (fixture->store, second + 1);
  assert_ok (history_compact (history, one, &left, &error), error);
  load (history);
  g_assert_cmpint (changed (history, 1, first), ==, 11);
  append (fixture->store, 9, "4 3 1 -\n");

  /* In doubt everything stays. */
  run_in (fixture, "echo > snapshots/bad", "");
  g_autoptr (SnapshotSet) doubtful = snapshot_set_get (fixture->store, second + 1);
  assert_ok (history_compact (history, doubtful, &left, &error), error);
  load (history);
  g_assert_cmpint (changed (history, 3, 1), ==, 1);

  /* A file without a line that is needed goes. */
  append (fixture->store, 10, "4 3 1 -\n");
  g_autoptr (History) other = history_new (fixture->store, 10);
  assert_ok (history_compact (other, one, &left, &error), error);
  g_assert_false (left);
  run_in (fixture, "test \"$(ls -A history)\" = 9", "");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define TEST(name, function)                                                                       \
  g_test_add ("/history/" name, Fixture, NULL, set_up, function, tear_down)
  TEST ("messages", test_messages);
  TEST ("directories", test_directories);
  TEST ("damage", test_damage);
  TEST ("tree", test_tree);
  TEST ("tree-after-drop", test_tree_after_drop);
  TEST ("compact", test_compact);
  return g_test_run ();
}
