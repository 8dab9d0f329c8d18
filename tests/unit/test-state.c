/* SPDX-License-Identifier: Apache-2.0 */
/* The facts on files: round trips, nonsense, and filesystems without user attributes. */
#include "tests/unit/test-store.h"

#include <sys/mount.h>
#include <sys/xattr.h>

static void
test_message_round_trip (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  auto_fd fd = openat (fixture->store->mail_fd, "probe", O_RDWR | O_CREAT, 0600);
  MessageState state = {.modseq = 77,
                        .birth = 3,
                        .expunged = 5,
                        .digest = 0xfedcba9876543210u,
                        .flags = STORE_FLAG_DRAFT};
  g_auto (MessageState) read = {0};
  bool found = true;
  assert_ok (message_state_read (fixture->store->mail_fd, fd, 1, &read, &found, &error), error);
  g_assert_false (found);
  state.keywords = (char *)"A B";
  assert_ok (message_state_write (fixture->store, fixture->store->mail_fd, fd, 1, &state, &error),
             error);
  assert_ok (message_state_read (fixture->store->mail_fd, fd, 1, &read, &found, &error), error);
  g_assert_true (found);
  g_assert_cmpuint (read.modseq, ==, 77);
  g_assert_cmpuint (read.birth, ==, 3);
  g_assert_cmpuint (read.expunged, ==, 5);
  g_assert_cmpuint (read.digest, ==, 0xfedcba9876543210u);
  g_assert_cmpuint (read.flags, ==, STORE_FLAG_DRAFT);
  g_assert_cmpstr (read.keywords, ==, "A B");
}

static void
test_message_nonsense (Fixture *fixture, gconstpointer data)
{
  static const char *const lines[] = {"",
                                      "1",
                                      "2 1 1 0",
                                      "1 x 1 0",
                                      "1 1 1",
                                      "1 -1 1 0",
                                      "1 1 1 0 - \\Bad",
                                      "1 1 1 0",
                                      "1 1 1 0 xyz",
                                      "1 99999999999999999999 1 0",
                                      "1 1 4294967296 0",
                                      "garbage \001\002"};
  auto_fd fd = openat (fixture->store->mail_fd, "probe", O_RDWR | O_CREAT, 0600);
  for (size_t i = 0; i < G_N_ELEMENTS (lines); i++) {
    g_autoptr (GError) error = NULL;
    MessageState state = {0};
    bool found;
    g_assert_cmpint (fsetxattr (fd, "user.mailfs.state", lines[i], strlen (lines[i]), 0), ==, 0);
    assert_fails (message_state_read (fixture->store->mail_fd, fd, 1, &state, &found, &error),
                  error, EBADMSG);
  }
}

static void
test_too_many_keywords (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  uint32_t uid = deliver (inbox, "one", 0, "Small");
  g_autofree char *before = dump (inbox);
  GString *keywords = g_string_new ("k0");
  for (int i = 1; i < 1200; i++)
    g_string_append_printf (keywords, " k%d", i);
  g_autofree char *many = g_string_free (keywords, FALSE);
  g_autoptr (GError) error = NULL;
  assert_fails (store_message_flag (inbox, &uid, 1, STORE_FLAGS_ADD, 0, many, &error), error,
                E2BIG);
  g_autofree char *after = dump (inbox);
  /* The first line has HIGHESTMODSEQ, which may rise for nothing. */
  g_assert_cmpstr (strchr (before, '\n'), ==, strchr (after, '\n'));
  assert_clean (fixture->store);
}

static void
test_node_round_trip (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  NodeState state = {.number = 9, .uidvalidity = 5, .uidnext = 7, .modseq = 11, .subscribed = true};
  state.special_use = (char *)"\\Sent";
  state.full_name = (char *)"- strange % name\twith/all";
  g_auto (NodeState) read = {0};
  bool found;
  assert_ok (node_state_write (fixture->store, fixture->store->mail_fd, STORE_NODE_MAILBOX, &state,
                               &error),
             error);
  assert_ok (node_state_read (fixture->store->mail_fd, STORE_NODE_MAILBOX, &read, &found, &error),
             error);
  g_assert_true (found);
  g_assert_cmpuint (read.number, ==, 9);
  g_assert_cmpuint (read.uidnext, ==, 7);
  g_assert_true (read.subscribed);
  g_assert_cmpstr (read.special_use, ==, "\\Sent");
  g_assert_cmpstr (read.full_name, ==, state.full_name);
}

/* ramfs has no user attributes: everything works, and the facts stand in .state. */
static void
test_without_attributes (void)
{
  Fixture fixture = {0};
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_dir_make_tmp ("mailfs-test-XXXXXX", &error);
  if (mount ("none", path, "ramfs", 0, NULL) < 0) {
    g_test_skip ("cannot mount ramfs");
    rmdir (path);
    return;
  }
  fixture.path = g_build_filename (path, "store", NULL);
  assert_ok (store_create (fixture.path, &error), error);
  reopen (&fixture, 0);
  StoreMailbox *inbox = open_named (fixture.store, "joe@example.com");
  for (int i = 0; i < 4; i++)
    deliver (inbox, "text", STORE_FLAG_SEEN, "Work");
  uint32_t uid = 2;
  assert_ok (store_message_flag (inbox, &uid, 1, STORE_FLAGS_SET, 0, "Late", &error), error);
  g_autofree char *before = dump (inbox);
  store_mailbox_unref (inbox);
  run_in (&fixture, "rm -rf index mailboxes.sqlite3*", "");
  reopen (&fixture, 0);
  g_autoptr (StoreJob) rebuild = run_job (fixture.store, "reconstruct recursive");
  inbox = open_named (fixture.store, "joe@example.com");
  g_autofree char *after = dump (inbox);
  g_assert_cmpstr (before, ==, after);
  store_mailbox_unref (inbox);
  /* So does what was removed: a user with his mailbox. */
  g_autoptr (StoreMailbox) old = open_named (fixture.store, "ann@example.com/Old");
  uint32_t ann = old->owner;
  g_clear_pointer (&old, store_mailbox_unref);
  assert_ok (store_mailbox_remove (fixture.store, ann, true, NULL, &error), error);
  g_autoptr (StoreJob) check = run_job (fixture.store, "check");
  const GPtrArray *findings = store_job_findings (check);
  g_assert_cmpuint (findings->len, ==, 1);
  g_assert_cmpint (((StoreFinding *)findings->pdata[0])->problem, ==, STORE_PROBLEM_NO_ATTRIBUTES);
  store_close (fixture.store);
  g_free (fixture.path);
  umount (path);
  rmdir (path);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/state/message-round-trip", test_message_round_trip);
  add_test ("/state/message-nonsense", test_message_nonsense);
  add_test ("/state/too-many-keywords", test_too_many_keywords);
  add_test ("/state/node-round-trip", test_node_round_trip);
  g_test_add_func ("/state/without-attributes", test_without_attributes);
  return g_test_run ();
}
