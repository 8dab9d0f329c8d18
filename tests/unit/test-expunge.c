/* SPDX-License-Identifier: Apache-2.0 */
/* Messages out of a mailbox, and back into it. */
#include "test-store.h"

#include <sys/xattr.h>

#define JOE "joe@example.com/INBOX"

/* Delivers the UIDs 1 to `count`; each third has \Deleted. */
static StoreMailbox *
fill (Store *store, uint32_t count)
{
  StoreMailbox *inbox = open_named (store, JOE);
  for (uint32_t uid = 1; uid <= count; uid++) {
    g_autofree char *subject = g_strdup_printf ("message %u", uid);
    deliver (inbox, subject, uid % 3 == 0 ? STORE_FLAG_DELETED | STORE_FLAG_SEEN : 0, "Work");
  }
  return inbox;
}

static StoreMailboxInfo
info_of (StoreMailbox *mailbox)
{
  g_autoptr (GError) error = NULL;
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (mailbox, &info, &error), error);
  return info;
}

static bool
is_live (StoreMailbox *mailbox, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreMessage) message = {0};
  bool found;
  assert_ok (store_message_find (mailbox, uid, &message, &found, &error), error);
  return found;
}

static bool
exists (StoreMailbox *mailbox, const char *path)
{
  return faccessat (mailbox->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static MessageState
state_of (StoreMailbox *mailbox, uint32_t uid, bool expunged)
{
  g_autoptr (GError) error = NULL;
  MessageState state = {0};
  bool found = false;
  char path[32];
  layout_message_path (uid, expunged, path);
  auto_fd fd = layout_open_message (mailbox->fd, path);
  g_assert_cmpint (fd, >=, 0);
  assert_ok (message_state_read (mailbox->fd, fd, uid, &state, &found, &error), error);
  g_assert_true (found);
  return state;
}

/* Out and back: the file, the row, the counts, the modseq, and nothing else. */
static void
test_there_and_back (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 5);
  static const uint32_t uids[] = {2, 3};
  uint64_t before = info_of (inbox).highestmodseq;
  struct stat st, now;
  g_assert_cmpint (fstatat (inbox->fd, "0000000002.eml", &st, 0), ==, 0);

  assert_ok (store_mailbox_expunge (inbox, uids, 2, &error), error);
  StoreMailboxInfo info = info_of (inbox);
  g_assert_cmpuint (info.messages, ==, 3);
  g_assert_cmpuint (info.expunged, ==, 2);
  g_assert_cmpuint (info.unseen, ==, 3);
  g_assert_cmpuint (info.uidnext, ==, 6);
  g_assert_cmpuint (info.highestmodseq, ==, before + 1);
  g_assert_cmpint (info.health, ==, STORE_HEALTH_OK);
  g_assert_false (is_live (inbox, 2));
  g_assert_true (is_live (inbox, 4));
  g_assert_false (exists (inbox, "0000000002.eml"));
  g_assert_cmpint (fstatat (inbox->fd, ".expunged/0000000002.eml", &now, 0), ==, 0);
  g_assert_cmpuint (now.st_ino, ==, st.st_ino);
  g_assert_cmpint (stat_mtime_ns (&now), ==, stat_mtime_ns (&st));
  g_auto (MessageState) state = state_of (inbox, 3, true);
  g_assert_cmpuint (state.expunged, ==, 1);
  g_assert_cmpuint (state.modseq, ==, before + 1);
  g_assert_cmpstr (state.keywords, ==, "Work");
  g_assert_cmpuint (state.flags, ==, STORE_FLAG_DELETED | STORE_FLAG_SEEN);
  assert_clean (fixture->store);

  assert_ok (store_mailbox_undelete (inbox, uids, 2, &error), error);
  info = info_of (inbox);
  g_assert_cmpuint (info.messages, ==, 5);
  g_assert_cmpuint (info.expunged, ==, 0);
  g_assert_cmpuint (info.highestmodseq, ==, before + 2);
  g_auto (MessageState) back = state_of (inbox, 3, false);
  g_assert_cmpuint (back.expunged, ==, 0);
  g_assert_cmpuint (back.flags, ==, STORE_FLAG_SEEN);
  g_assert_cmpuint (back.modseq, ==, before + 2);
  assert_clean (fixture->store);
  g_autofree char *shown = dump (inbox);
  g_assert_nonnull (strstr (shown, "[\\Seen Work]"));
  g_assert_null (strstr (shown, "Deleted"));
}

/* What is named and not there changes nothing; what is in the way is left alone, and so is what is
 * in its place. */
static void
test_refused (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 4);
  static const uint32_t some[] = {1, 77}, all[] = {1, 2, 3};
  g_autofree char *before = dump (inbox);
  assert_fails (store_mailbox_expunge (inbox, some, 2, &error), error, ENOENT);
  assert_fails (store_mailbox_undelete (inbox, some, 1, &error), error, ENOENT);
  g_autofree char *after = dump (inbox);
  g_assert_cmpstr (after, ==, before);

  run_in (fixture, "cd mail/example.com/user/joe/INBOX && mkdir .expunged && echo other >",
          ".expunged/0000000002.eml");
  assert_fails (store_mailbox_expunge (inbox, all, 3, &error), error, EEXIST);
  g_assert_false (is_live (inbox, 1));
  g_assert_true (is_live (inbox, 2));
  g_assert_false (is_live (inbox, 3));
  g_auto (MessageState) state = state_of (inbox, 2, false);
  g_assert_cmpuint (state.expunged, ==, 0);
  run_in (fixture, "test $(cat mail/example.com/user/joe/INBOX/.expunged/0000000002.eml) = other",
          "");

  g_autoptr (StoreMailbox) user = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (fixture->store, "joe@example.com", &node, &error), error);
  user = store_mailbox_open (fixture->store, node.number, &error);
  assert_fails (store_mailbox_expunge (user, all, 1, &error), error, ENOENT);
  reopen (fixture, STORE_READ_ONLY);
  g_autoptr (StoreMailbox) reading = store_mailbox_open (fixture->store, inbox->number, &error);
  assert_fails (store_mailbox_expunge (reading, all, 1, &error), error, EROFS);
}

/* The index is a cache: without one, or with one that is behind, the files move all the same. */
static void
test_without_index (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 6);
  static const uint32_t first[] = {1, 2}, second[] = {5};
  run_in (fixture, "rm -r index", "");
  assert_ok (store_mailbox_expunge (inbox, first, 2, &error), error);
  g_assert_false (is_live (inbox, 1));
  g_assert_cmpuint (info_of (inbox).messages, ==, 4);
  store_job_free (run_job (fixture->store, "reconstruct"));
  g_assert_cmpuint (info_of (inbox).expunged, ==, 2);
  assert_clean (fixture->store);

  /* A file that came by hand, with a modseq above all others; the index hears of it now. */
  run_in (fixture,
          "cd mail/example.com/user/joe/INBOX && cp -a 0000000005.eml 0000000009.eml && "
          "setfattr -n user.mailfs.state -v \"1 900 1 0 -\" ",
          "0000000009.eml");
  static const uint32_t foreign[] = {9};
  assert_ok (store_mailbox_expunge (inbox, second, 1, &error), error);
  assert_ok (store_mailbox_expunge (inbox, foreign, 1, &error), error);
  g_assert_cmpuint (info_of (inbox).highestmodseq, >, 900);
  g_assert_cmpuint (info_of (inbox).expunged, ==, 4);
  g_auto (NodeState) node = {0};
  bool found;
  assert_ok (node_state_read (inbox->fd, inbox->kind, &node, &found, &error), error);
  g_assert_cmpuint (node.modseq, >, 900);
  assert_clean (fixture->store);
}

/* Many at a time; and every place that a message may lie in is told to who watches. */
static void
test_many (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 90);
  g_autoptr (StoreWatch) watch = store_watch_new (fixture->store, &error);
  g_autoptr (StoreJob) job = run_job (fixture->store, "expunge " JOE);
  StoreResult result;
  store_job_result (job, &result);
  g_assert_cmpuint (result.taken, ==, 30);
  g_assert_cmpuint (result.left, ==, 0);
  g_assert_cmpuint (info_of (inbox).messages, ==, 60);
  g_assert_cmpuint (info_of (inbox).expunged, ==, 30);
  bool told[91] = {false};
  for (StoreChange change; store_watch_next (watch, &change);) {
    g_assert_cmpuint (change.number, ==, inbox->number);
    told[change.uid] = true;
  }
  for (uint32_t uid = 0; uid <= 90; uid++)
    g_assert_cmpint (told[uid], ==, uid % 3 == 0);
  assert_clean (fixture->store);
  StoreFinding *finding = store_job_findings (job)->pdata[1];
  g_assert_cmpuint (finding->uid, ==, 6);
  g_assert_cmpint (finding->outcome, ==, STORE_TAKEN);
  g_assert_cmpuint (finding->size, >, 20);

  g_autoptr (StoreJob) back = run_job (fixture->store, "undelete uid=1:9,30 " JOE);
  store_job_result (back, &result);
  g_assert_cmpuint (result.taken, ==, 4);
  g_assert_cmpuint (info_of (inbox).messages, ==, 64);
  assert_clean (fixture->store);
}

/* A dry run tells the same as the run after it. */
static void
test_dry_run (Fixture *fixture, gconstpointer data)
{
  static const char *const commands[] = {"expunge " JOE, "expunge uid=1:5 " JOE,
                                         "undelete uid=3:* " JOE, "undelete joe@example.com"};
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 20);
  for (size_t i = 0; i < G_N_ELEMENTS (commands); i++) {
    g_autofree char *dry = g_strdup_printf ("%s dry-run", commands[i]);
    g_autofree char *before = dump (inbox);
    g_autoptr (StoreJob) foreseen = run_job (fixture->store, dry);
    g_autofree char *after = dump (inbox);
    g_assert_cmpstr (after, ==, before);
    g_autoptr (StoreJob) job = run_job (fixture->store, commands[i]);
    const GPtrArray *a = store_job_findings (foreseen), *b = store_job_findings (job);
    g_assert_cmpuint (a->len, ==, b->len);
    g_assert_cmpuint (a->len, >, 0);
    for (guint k = 0; k < a->len; k++) {
      const StoreFinding *one = a->pdata[k], *other = b->pdata[k];
      g_assert_cmpstr (one->object, ==, other->object);
      g_assert_cmpstr (one->detail, ==, other->detail);
      g_assert_cmpuint (one->size, ==, other->size);
      g_assert_cmpint (one->outcome, ==, other->outcome);
    }
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/expunge/there-and-back", test_there_and_back);
  add_test ("/expunge/refused", test_refused);
  add_test ("/expunge/without-index", test_without_index);
  add_test ("/expunge/many", test_many);
  add_test ("/expunge/dry-run", test_dry_run);
  return g_test_run ();
}
