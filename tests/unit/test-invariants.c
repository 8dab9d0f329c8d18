/* SPDX-License-Identifier: Apache-2.0 */
/* The five invariants of store/internal.h, each by a test of its own. */
#include "tests/unit/test-store.h"

/* The output of a shell command in the store's directory. */
static char *
output_of (const Fixture *fixture, const char *command)
{
  g_autofree char *line = g_strdup_printf ("cd '%s' && %s", fixture->path, command);
  char *arguments[] = {(char *)"/bin/sh", (char *)"-c", line, NULL};
  char *output = NULL;
  int status;
  g_assert_true (g_spawn_sync (NULL, arguments, NULL, 0, NULL, NULL, &output, NULL, &status, NULL));
  g_assert_cmpint (status, ==, 0);
  return output;
}

/* All that anybody can see of the mail: names, inodes, sizes, times, bytes, attributes.
 */
static const char picture[] = "find mail -printf '%p %i %n %m %U %G %s %T@ %C@\\n' | sort;"
                              "getfattr -R -d -m - mail; find mail -type f | sort |"
                              "while read -r f; do cat \"$f\"; done | sha256sum";

/* 1. A UID is never used for another message, whatever was lost. */
static void
test_uid_is_never_reused (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  for (uint32_t uid = 1; uid <= 3; uid++)
    g_assert_cmpuint (deliver (inbox, "x", 0, NULL), ==, uid);
  run_in (fixture, "rm -r index mailboxes.sqlite3 ", "mail/example.com/user/joe/INBOX/*2.eml");
  run_in (fixture, "rm ", "mail/example.com/user/joe/INBOX/0000000003.eml");
  g_clear_pointer (&inbox, store_mailbox_unref);
  reopen (fixture, 0);
  inbox = open_named (fixture->store, "joe@example.com");
  g_assert_cmpuint (deliver (inbox, "y", 0, NULL), ==, 4);
  g_autoptr (StoreJob) job = run_job (fixture->store, "reconstruct");
  run_in (fixture, "rm ", "mail/example.com/user/joe/INBOX/0000000004.eml");
  g_assert_cmpuint (deliver (inbox, "z", 0, NULL), ==, 5);
}

/* 2. The file moves first: with an index that cannot be written mail is delivered all the same. */
static void
test_file_before_row (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  run_in (fixture, "cd index/example.com/user && cp joe.sqlite3 ../old &&",
          "head -c 9000 /dev/urandom > joe.sqlite3");
  g_assert_cmpuint (deliver (inbox, "two", STORE_FLAG_SEEN, NULL), ==, 2);
  /* An index that is behind is never believed about what it does not know. */
  run_in (fixture, "mv index/example.com/old ", "index/example.com/user/joe.sqlite3");
  g_auto (StoreMessage) message = {0};
  bool found;
  g_autoptr (GError) error = NULL;
  assert_ok (store_message_find (inbox, 2, &message, &found, &error), error);
  g_assert_true (found);
  g_assert_cmpuint (message.flags, ==, STORE_FLAG_SEEN);
  g_autoptr (StoreJob) job = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
}

/* 3. No fact lives only in the index: without any database the view is the same. */
static void
test_no_fact_only_in_the_index (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", STORE_FLAG_SEEN | STORE_FLAG_FLAGGED, "Work");
  deliver (inbox, "two", 0, NULL);
  g_autofree char *before = dump (inbox);
  uint32_t number = store_mailbox_number (inbox);
  g_clear_pointer (&inbox, store_mailbox_unref);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm -r index mailboxes.sqlite3", "");
  reopen (fixture, STORE_READ_ONLY);
  inbox = open_named (fixture->store, "joe@example.com");
  g_autofree char *after = dump (inbox);
  g_assert_cmpstr (before, ==, after);
  g_assert_cmpuint (store_mailbox_number (inbox), ==, number);
}

/* 4. A message's bytes, its name and its inode stay, whatever is done with the message. */
static void
test_bytes_never_change (Fixture *fixture, gconstpointer data)
{
  static const char bytes[] = "find mail -type f -printf '%p %i %s %T@\\n' | sort;"
                              "find mail -type f | sort | xargs sha256sum";
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  for (int i = 0; i < 5; i++)
    deliver (inbox, "x", 0, NULL);
  g_autofree char *before = output_of (fixture, bytes);
  uint32_t uids[] = {1, 3, 5};
  g_autoptr (GError) error = NULL;
  assert_ok (
      store_message_flag (inbox, uids, 3, STORE_FLAGS_SET, STORE_FLAG_DELETED, "A B", &error),
      error);
  static const char *const commands[] = {"check full", "reconstruct force", "reset", "reconstruct"};
  for (size_t i = 0; i < G_N_ELEMENTS (commands); i++) {
    g_autoptr (StoreJob) job = run_job (fixture->store, commands[i]);
    g_autofree char *after = output_of (fixture, bytes);
    g_assert_cmpstr (before, ==, after);
  }
}

/* 5. check and reconstruct remove and modify no message file, whatever they find. */
static void
test_rebuild_touches_no_file (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  for (int i = 0; i < 6; i++)
    deliver (inbox, "x", 0, "Work");
  g_clear_pointer (&inbox, store_mailbox_unref);
  run_in (
      fixture, "cd mail/example.com/user/joe/INBOX && ",
      ": > 0000000001.eml && printf X | dd of=0000000002.eml bs=1 seek=9 conv=notrunc 2>/dev/null"
      " && cp -a 0000000003.eml 0000000077.eml && mkdir .expunged && mv 0000000004.eml .expunged"
      " && echo stray > notes.txt && truncate -s 1M 0000000005.eml && ln -s /etc/passwd 0000000088.eml");
  run_in (fixture, "rm -r ", "index");
  /* States are put on files that have none and on those that moved; after that nothing changes. */
  g_autoptr (StoreJob) first = run_job (fixture->store, "reconstruct");
  g_autofree char *before = output_of (fixture, picture);
  static const char *const commands[] = {"check",       "check full", "reconstruct",      "reset",
                                         "reconstruct", "check",      "reconstruct force"};
  for (size_t i = 0; i < G_N_ELEMENTS (commands); i++) {
    g_autoptr (StoreJob) job = run_job (fixture->store, commands[i]);
    g_autofree char *after = output_of (fixture, picture);
    g_assert_cmpstr (before, ==, after);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/invariants/1-uid-is-never-reused", test_uid_is_never_reused);
  add_test ("/invariants/2-file-before-row", test_file_before_row);
  add_test ("/invariants/3-no-fact-only-in-the-index", test_no_fact_only_in_the_index);
  add_test ("/invariants/4-bytes-never-change", test_bytes_never_change);
  add_test ("/invariants/5-rebuild-touches-no-file", test_rebuild_touches_no_file);
  return g_test_run ();
}
