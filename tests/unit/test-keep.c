/* SPDX-License-Identifier: Apache-2.0 */
/* That changes keep what snapshots need, once, and that it stays as long as they need it. */
#include "store/snapshot.h"
#include "tests/unit/test-store.h"

static uint32_t
take (Store *store, const char *name)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreSnapshot) snapshot = {0};
  assert_ok (store_snapshot_take (store, name, &snapshot, &error), error);
  return snapshot.epoch;
}

static void
drop (Store *store, const char *name)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_snapshot_drop (store, name, &error), error);
}

/* Runs a command; how much it took. */
static uint64_t
command (Store *store, const char *const *words)
{
  g_autoptr (GError) error = NULL;
  StoreResult result;
  StoreRequest *request = store_request_parse (store, words, &error);
  g_assert_no_error (error);
  g_autoptr (StoreJob) job = store_job_new (store, request);
  assert_ok (store_job_run (job, &error), error);
  store_job_result (job, &result);
  return result.taken;
}

static uint64_t
cleanup (Store *store)
{
  static const char *const words[] = {"cleanup", "age=0s", NULL};
  return command (store, words);
}

static void
flag (StoreMailbox *mailbox, uint32_t uid, uint32_t flags)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_message_flag (mailbox, &uid, 1, STORE_FLAGS_SET, flags, NULL, &error), error);
}

static void
expunge (StoreMailbox *mailbox, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_expunge (mailbox, &uid, 1, &error), error);
}

/* How many lines a history has. */
static guint
lines (const Fixture *fixture, const char *name)
{
  g_autofree char *path = g_strdup_printf ("%s/history/%s", fixture->path, name), *text = NULL;
  g_auto (GStrv) split =
      g_file_get_contents (path, &text, NULL, NULL) ? g_strsplit (text, "\n", -1) : NULL;
  return split != NULL ? g_strv_length (split) - 1 : 0;
}

static guint
lines_of (const Fixture *fixture, const StoreMailbox *mailbox)
{
  g_autofree char *name = g_strdup_printf ("%u", mailbox->number);
  return lines (fixture, name);
}

/* What the message was; false: nothing is kept. */
static bool
kept (StoreMailbox *mailbox, uint32_t uid, uint32_t epoch, HistoryMessage *out)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (History) history = history_new (mailbox->store, mailbox->number);
  bool is = false;
  assert_ok (history_load (history, &error) &&
                 history_message (history, uid, epoch, out, &is, &error),
             error);
  return is;
}

static HistoryNode
kept_node (Store *store, uint32_t number, uint32_t epoch)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (History) tree = history_new_tree (store);
  HistoryNode node = {0};
  bool is = false;
  assert_ok (history_load (tree, &error) && history_node (tree, number, epoch, &node, &is, &error),
             error);
  g_assert_true (is);
  return node;
}

static void
test_none (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t uid = deliver (inbox, "one", 0, NULL);
  flag (inbox, uid, STORE_FLAG_SEEN);
  expunge (inbox, uid);
  cleanup (fixture->store);
  run_in (fixture, "test ! -e history && test ! -e snapshots", "");
}

static void
test_flags (Fixture *fixture, gconstpointer data)
{
  g_auto (HistoryMessage) was = {0};
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t uid = deliver (inbox, "one", STORE_FLAG_SEEN, "work");
  uint32_t next = deliver (inbox, "two", 0, NULL);
  uint32_t first = take (fixture->store, "first");
  g_assert_cmpuint (lines_of (fixture, inbox), ==, 0);
  flag (inbox, uid, STORE_FLAG_FLAGGED);
  g_assert_cmpuint (lines_of (fixture, inbox), ==, 2); /* the directory, too */
  flag (inbox, uid, STORE_FLAG_DRAFT);
  flag (inbox, next, STORE_FLAG_SEEN);
  uint32_t born = deliver (inbox, "three", 0, NULL);
  flag (inbox, born, STORE_FLAG_SEEN);
  g_assert_cmpuint (lines_of (fixture, inbox), ==, 3);
  g_assert_true (kept (inbox, next, first, &was));
  g_assert_cmpuint (was.state.flags, ==, 0);
  history_message_clear (&was);
  g_assert_true (kept (inbox, uid, first, &was));
  g_assert_cmpuint (was.state.flags, ==, STORE_FLAG_SEEN);
  g_assert_cmpstr (was.state.keywords, ==, "work");
  g_assert_cmpuint (was.state.birth, <=, first);
  history_message_clear (&was);

  uint32_t second = take (fixture->store, "second");
  flag (inbox, uid, 0);
  g_assert_cmpuint (lines_of (fixture, inbox), ==, 5);
  g_assert_true (kept (inbox, uid, second, &was));
  g_assert_cmpuint (was.state.flags, ==, STORE_FLAG_DRAFT);
  history_message_clear (&was);
  g_assert_true (kept (inbox, uid, first, &was));
  g_assert_cmpuint (was.state.flags, ==, STORE_FLAG_SEEN);
  history_message_clear (&was);

  /* What the first needed goes with it. */
  drop (fixture->store, "first");
  cleanup (fixture->store);
  g_assert_cmpuint (lines_of (fixture, inbox), ==, 2);
  g_assert_true (kept (inbox, uid, second, &was));
  g_assert_cmpuint (was.state.flags, ==, STORE_FLAG_DRAFT);
  drop (fixture->store, "second");
  run_in (fixture, "test ! -e history", "");
}

/* From the second in a row on eight at a time, from a multiple of eight on; one that cannot be
 * opened does not count. */
static void
test_neighbours (Fixture *fixture, gconstpointer data)
{
  g_auto (HistoryMessage) was = {0};
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  for (int i = 0; i < 20; i++)
    deliver (inbox, "one", 0, NULL);
  uint32_t epoch = take (fixture->store, "now");
  run_in (fixture, "mv mail/example.com/user/joe/INBOX/0000000013.eml 13", "");
  flag (inbox, 1, STORE_FLAG_SEEN);
  flag (inbox, 15, STORE_FLAG_SEEN);
  g_assert_cmpuint (lines_of (fixture, inbox), ==, 1 + 2);
  flag (inbox, 14, STORE_FLAG_SEEN);
  g_assert_cmpuint (lines_of (fixture, inbox), ==, 1 + 1 + 7);
  flag (inbox, 12, STORE_FLAG_SEEN);
  g_assert_cmpuint (lines_of (fixture, inbox), ==, 1 + 1 + 7);
  flag (inbox, 16, STORE_FLAG_SEEN);
  g_assert_cmpuint (lines_of (fixture, inbox), ==, 1 + 1 + 7 + 5);
  g_assert_true (kept (inbox, 12, epoch, &was));
  g_assert_cmpuint (was.state.flags, ==, 0);
  g_assert_false (kept (inbox, 7, epoch, &was));
}

/* What a snapshot shows of the message's flags. */
static uint32_t
flags_in (Store *store, const char *snapshot, uint32_t mailbox, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) past = store_snapshot_open (store, snapshot, &error);
  g_assert_no_error (error);
  g_autoptr (StoreMailbox) inbox = store_mailbox_open (past, mailbox, &error);
  g_auto (StoreMessage) message = {0};
  bool found = false;
  assert_ok (store_message_find (inbox, uid, &message, &found, &error), error);
  g_assert_true (found);
  return message.flags;
}

/* As long as nothing changes a message whose row a crash left behind its file, a snapshot shows it
 * as before, whatever becomes of those beside it. */
static void
test_neighbour_behind (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (HistoryMessage) was = {0};
  g_auto (MessageState) state = {0};
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  bool found = false;
  uint32_t before = deliver (inbox, "one", 0, NULL), uid = deliver (inbox, "two", 0, NULL);
  uint32_t behind = deliver (inbox, "three", 0, NULL);
  auto_fd fd = store_message_open (inbox, behind, &error);
  assert_ok (message_state_read (inbox->fd, fd, behind, &state, &found, &error) && found, error);
  state.modseq += 10;
  state.flags = STORE_FLAG_SEEN;
  assert_ok (message_state_write (inbox->store, inbox->fd, fd, behind, &state, &error), error);
  uint32_t epoch = take (fixture->store, "now");
  g_assert_cmpuint (flags_in (fixture->store, "now", inbox->number, behind), ==, 0);
  flag (inbox, before, STORE_FLAG_SEEN);
  flag (inbox, uid, STORE_FLAG_SEEN);
  g_assert_true (kept (inbox, uid, epoch, &was));
  g_assert_false (kept (inbox, behind, epoch, &was));
  g_assert_cmpuint (flags_in (fixture->store, "now", inbox->number, behind), ==, 0);
}

/* A message without a state is in the snapshots that were taken after it came. */
static void
test_stateless (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (HistoryMessage) was = {0};
  g_auto (StoreSnapshot) before = {0}, after = {0};
  g_auto (MessageState) now = {0};
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t uid = deliver (inbox, "one", 0, NULL);
  take (fixture->store, "before");
  /* The kernel's clock for ctimes, and that of a snapshot, has a grain of some milliseconds. */
  for (struct stat st = {0}; stat_ctime_ns (&st) == 0;) {
    assert_ok (store_snapshot_find (fixture->store, "before", &before, &error), error);
    g_autofree char *path =
        g_strdup_printf ("%s/mail/%s/0000000001.eml", fixture->path, inbox->path);
    g_assert_cmpint (chmod (path, 0640) + stat (path, &st), ==, 0);
    if (stat_ctime_ns (&st) <= before.taken_ns)
      st = (struct stat){0};
    store_snapshot_clear (&before);
  }
  run_in (fixture, "setfattr -x user.mailfs.state mail/example.com/user/joe/INBOX/*.eml", "");
  take (fixture->store, "after");
  assert_ok (store_snapshot_find (fixture->store, "before", &before, &error), error);
  assert_ok (store_snapshot_find (fixture->store, "after", &after, &error), error);
  run_in (fixture, "rm -r index", "");
  reopen (fixture, 0);
  g_clear_pointer (&inbox, store_mailbox_unref);
  inbox = open_named (fixture->store, "joe@example.com/INBOX");
  flag (inbox, uid, STORE_FLAG_SEEN);
  g_assert_true (kept (inbox, uid, after.epoch, &was));
  g_assert_true (snapshot_has (&after, &was.state, was.changed_ns));
  g_assert_false (snapshot_has (&before, &was.state, was.changed_ns));
  auto_fd fd = layout_open_message (inbox->fd, "0000000001.eml");
  bool found = false;
  assert_ok (message_state_read (inbox->fd, fd, uid, &now, &found, &error) && found, error);
  g_assert_cmpuint (now.birth, ==, after.epoch);
}

static void
test_cleanup (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t first = deliver (inbox, "one", 0, NULL), second = deliver (inbox, "two", 0, NULL);
  expunge (inbox, second);
  take (fixture->store, "a");
  expunge (inbox, first);
  uint32_t third = deliver (inbox, "three", 0, NULL);
  expunge (inbox, third);
  take (fixture->store, "b");
  g_assert_cmpuint (cleanup (fixture->store), ==, 2); /* the second and the third */
  g_assert_cmpuint (cleanup (fixture->store), ==, 0);

  /* The one that was expunged comes back and goes again: the snapshot still has it. */
  assert_ok (store_mailbox_undelete (inbox, &first, 1, &error), error);
  expunge (inbox, first);
  g_assert_cmpuint (cleanup (fixture->store), ==, 0);
  drop (fixture->store, "b");
  g_assert_cmpuint (cleanup (fixture->store), ==, 0);
  run_in (fixture, "echo rubbish > snapshots/bad", "");
  drop (fixture->store, "a");
  g_assert_cmpuint (cleanup (fixture->store), ==, 0);
  drop (fixture->store, "bad");
  g_assert_cmpuint (cleanup (fixture->store), ==, 1);
}

static void
test_places (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) top = open_named (fixture->store, "joe@example.com/Old");
  g_autoptr (StoreMailbox) sub = open_named (fixture->store, "joe@example.com/Old/Sub");
  uint32_t a = take (fixture->store, "a");
  assert_ok (store_mailbox_subscribe (fixture->store, sub->number, true, &error), error);
  assert_ok (store_mailbox_rename (fixture->store, top->number, "joe@example.com/New", &error),
             error);
  g_auto (HistoryNode) was = kept_node (fixture->store, top->number, a);
  g_assert_cmpstr (was.node.name, ==, "Old");
  g_assert_null (was.place);
  history_node_clear (&was);
  was = kept_node (fixture->store, sub->number, a);
  g_assert_false (was.node.subscribed);
  history_node_clear (&was);
  g_autofree char *place = NULL;
  assert_ok (store_mailbox_remove (fixture->store, top->number, true, &place, &error), error);
  was = kept_node (fixture->store, sub->number, a);
  g_autofree char *sub_place = g_strconcat (place, "/Sub", NULL);
  g_assert_cmpstr (was.place, ==, sub_place);
  g_assert_false (was.node.subscribed);
  history_node_clear (&was);

  /* It stays in quarantine as long as the snapshot is there. */
  static const char *const purge[] = {"purge", NULL};
  assert_ok (store_setting_set (fixture->store, STORE_PURGE_AGE, "0", &error), error);
  assert_fails (store_quarantine_remove (fixture->store, place, &error), error, EBUSY);
  g_assert_cmpuint (command (fixture->store, purge), ==, 0);

  /* What comes back is not in a snapshot that was taken meanwhile. */
  uint32_t b = take (fixture->store, "b");
  assert_ok (store_quarantine_restore (fixture->store, place, &error), error);
  was = kept_node (fixture->store, sub->number, b);
  g_assert_true (was.absent);
  history_node_clear (&was);
  was = kept_node (fixture->store, sub->number, a);
  g_assert_false (was.absent);
  history_node_clear (&was);

  /* And goes again, when no snapshot has it any more. */
  drop (fixture->store, "a");
  g_free (g_steal_pointer (&place));
  assert_ok (store_mailbox_remove (fixture->store, top->number, true, &place, &error), error);
  assert_ok (store_quarantine_remove (fixture->store, place, &error), error);
}

/* What others do to directories is kept when it is noticed. */
static void
test_by_hand (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) joe = open_named (fixture->store, "joe@example.com/Work");
  g_autoptr (StoreMailbox) ann = open_named (fixture->store, "ann@example.com/Work");
  uint32_t owner = ann->owner, epoch = take (fixture->store, "a");
  run_in (fixture, "mv mail/example.com/user/joe mail/example.com/user/jim", "");
  run_in (fixture, "mv mail/example.com/user/ann ann", "");
  reopen (fixture, 0);
  g_auto (HistoryNode) was = kept_node (fixture->store, joe->owner, epoch);
  g_assert_cmpstr (was.node.name, ==, "joe");
  history_node_clear (&was);
  was = kept_node (fixture->store, ann->number, epoch);
  g_assert_cmpstr (was.node.name, ==, "Work");
  g_assert_cmpuint (was.node.owner, ==, owner);
  history_node_clear (&was);
  uint32_t later = take (fixture->store, "b");
  run_in (fixture, "mv ann mail/example.com/user/ann", "");
  reopen (fixture, 0);
  was = kept_node (fixture->store, owner, later);
  g_assert_true (was.absent);
  history_node_clear (&was);
  was = kept_node (fixture->store, owner, epoch);
  g_assert_cmpstr (was.node.name, ==, "ann");
  history_node_clear (&was);

  /* A list that is made anew knows nothing of what was there, and hides nothing. */
  guint before = lines (fixture, "tree");
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm mailboxes.sqlite3*", "");
  reopen (fixture, 0);
  g_assert_cmpuint (lines (fixture, "tree"), ==, before);
}

/* What a rebuild puts on a file is kept as well, and what a snapshot shows stays. */
static void
test_rebuild (Fixture *fixture, gconstpointer data)
{
  static const char *const words[] = {"reconstruct", NULL};
  g_auto (HistoryMessage) was = {0};
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t uid = deliver (inbox, "one", STORE_FLAG_SEEN, NULL);
  uint32_t epoch = take (fixture->store, "a");
  run_in (fixture, "setfattr -x user.mailfs.state mail/example.com/user/joe/INBOX/*.eml", "");
  command (fixture->store, words);
  g_assert_true (kept (inbox, uid, epoch, &was));
  g_assert_cmpuint (was.state.flags, ==, STORE_FLAG_SEEN);
  run_in (fixture, "getfattr -n user.mailfs.state mail/example.com/user/joe/INBOX/*.eml", "");
}

/* One change, however many users it is about. */
static void
test_move (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (HistoryMessage) was = {0};
  g_autoptr (StoreMailbox) joe = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (StoreMailbox) ann = open_named (fixture->store, "ann@example.com/INBOX");
  g_autoptr (StoreMailbox) work = open_named (fixture->store, "ann@example.com/Work");
  uint32_t uid = deliver (joe, "one", 0, NULL), moved;
  uint32_t epoch = take (fixture->store, "a");
  assert_ok (store_mailbox_move (joe, &uid, 1, ann, &moved, &error), error);
  g_assert_true (kept (joe, uid, epoch, &was));
  g_assert_cmpuint (was.state.expunged, ==, 0);
  assert_ok (store_mailbox_move (ann, &moved, 1, joe, &moved, &error), error);
  assert_ok (store_mailbox_move (joe, &moved, 1, work, &moved, &error), error);
  assert_ok (store_mailbox_move (work, &moved, 1, ann, &moved, &error), error);
  uint32_t gone = 99;
  assert_fails (store_mailbox_move (ann, &gone, 1, work, NULL, &error), error, ENOENT);
  g_assert_cmpuint (moved, ==, 2);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define TEST(name, function) g_test_add ("/keep/" name, Fixture, NULL, set_up, function, tear_down)
  TEST ("none", test_none);
  TEST ("flags", test_flags);
  TEST ("neighbours", test_neighbours);
  TEST ("neighbour-behind", test_neighbour_behind);
  TEST ("stateless", test_stateless);
  TEST ("cleanup", test_cleanup);
  TEST ("places", test_places);
  TEST ("by-hand", test_by_hand);
  TEST ("rebuild", test_rebuild);
  TEST ("move", test_move);
  return g_test_run ();
}
