/* SPDX-License-Identifier: Apache-2.0 */
/* reconstruct and check: what they find, what they keep, what they never do. */
#include "tests/unit/test-store.h"

#include <sys/xattr.h>

static void
fill (StoreMailbox *mailbox, unsigned count)
{
  for (unsigned i = 1; i <= count; i++) {
    g_autofree char *subject = g_strdup_printf ("message %u", i);
    deliver (mailbox, subject, i % 3 == 0 ? STORE_FLAG_SEEN : 0,
             i % 4 == 0 ? "$Label1 Work" : NULL);
  }
}

static guint
count_problem (StoreJob *job, StoreProblem problem)
{
  const GPtrArray *findings = store_job_findings (job);
  guint count = 0;
  for (guint i = 0; i < findings->len; i++)
    count += ((StoreFinding *)findings->pdata[i])->problem == problem;
  return count;
}

static void
test_all_databases_lost (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) deep = open_named (fixture->store, "joe@example.com/INBOX/A/B");
  fill (inbox, 20);
  fill (deep, 3);
  uint32_t uids[] = {2, 5};
  g_autoptr (GError) error = NULL;
  assert_ok (
      store_message_flag (inbox, uids, 2, STORE_FLAGS_ADD, STORE_FLAG_FLAGGED, "$Late", &error),
      error);
  g_autofree char *before = dump (inbox), *deep_before = dump (deep);
  uint32_t numbers[] = {store_mailbox_number (inbox), store_mailbox_number (deep)};
  g_clear_pointer (&inbox, store_mailbox_unref);
  g_clear_pointer (&deep, store_mailbox_unref);
  run_in (fixture, "rm -rf index mailboxes.sqlite3*", "");
  reopen (fixture, 0);
  inbox = open_named (fixture->store, "joe@example.com");
  g_autofree char *from_files = dump (inbox);
  g_assert_cmpstr (before, ==, from_files);
  g_autoptr (StoreJob) list = run_job (fixture->store, "reconstruct mailbox-list");
  g_autoptr (StoreJob) all = run_job (fixture->store, "reconstruct recursive");
  deep = open_named (fixture->store, "joe@example.com/INBOX/A/B");
  g_assert_cmpuint (store_mailbox_number (inbox), ==, numbers[0]);
  g_assert_cmpuint (store_mailbox_number (deep), ==, numbers[1]);
  g_autofree char *after = dump (inbox), *deep_after = dump (deep);
  g_assert_cmpstr (before, ==, after);
  g_assert_cmpstr (deep_before, ==, deep_after);
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpint (info.health, ==, STORE_HEALTH_OK);
  assert_clean (fixture->store);
}

static void
test_unchanged_writes_nothing (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 5);
  g_autoptr (StoreJob) first = run_job (fixture->store, "reconstruct");
  g_autofree char *index = g_strdup_printf ("%s/index/example.com/user/joe.sqlite3", fixture->path);
  struct stat before, after;
  g_assert_cmpint (stat (index, &before), ==, 0);
  g_autoptr (StoreJob) second = run_job (fixture->store, "reconstruct");
  g_assert_cmpint (stat (index, &after), ==, 0);
  g_assert_cmpint (stat_mtime_ns (&before), ==, stat_mtime_ns (&after));
  g_assert_cmpuint (store_job_findings (second)->len, ==, 0);
}

static void
test_file_added_and_removed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 4);
  run_in (fixture, "cd mail/example.com/user/joe/INBOX && ",
          "cp 0000000002.eml 0000000009.eml && rm 0000000003.eml");
  g_autoptr (StoreJob) check = run_job (fixture->store, "check");
  g_assert_cmpuint (count_problem (check, STORE_PROBLEM_NO_ROW), ==, 1);
  g_assert_cmpuint (count_problem (check, STORE_PROBLEM_NO_FILE), ==, 1);
  StoreMessage message;
  bool found;
  g_autoptr (GError) error = NULL;
  assert_ok (store_message_find (inbox, 3, &message, &found, &error), error);
  g_assert_false (found);
  assert_ok (store_message_find (inbox, 9, &message, &found, &error), error);
  g_assert_true (found);
  store_message_clear (&message);
  g_autoptr (StoreJob) rebuild = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
  /* The UID of the new file is not given out again. */
  g_assert_cmpuint (deliver (inbox, "next", 0, NULL), ==, 10);
  assert_clean (fixture->store);
}

/* Bytes that changed behind the store's back are damage, not news: the digest of what was delivered
 * stays. */
static void
test_rot_is_not_adopted (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 3);
  run_in (fixture, "cd mail/example.com/user/joe/INBOX && ",
          "printf X | dd of=0000000002.eml bs=1 seek=40 conv=notrunc 2>/dev/null && "
          "truncate -s 10 0000000003.eml");
  g_autoptr (StoreJob) rebuild = run_job (fixture->store, "reconstruct");
  g_assert_cmpuint (count_problem (rebuild, STORE_PROBLEM_DIGEST), ==, 1);
  g_assert_cmpuint (count_problem (rebuild, STORE_PROBLEM_TRUNCATED), ==, 1);
  StoreResult result;
  store_job_result (rebuild, &result);
  g_assert_cmpuint (result.left, ==, 2);
  g_autoptr (GError) error = NULL;
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpint (info.health, ==, STORE_HEALTH_DAMAGED);
  for (uint32_t uid = 2; uid <= 3; uid++) {
    uint8_t buffer[4096];
    size_t size;
    bool known;
    auto_fd fd = store_message_open (inbox, uid, &error);
    g_assert_no_error (error);
    assert_fails (
        store_message_verify (inbox, uid, fd, buffer, sizeof buffer, &size, &known, &error), error,
        EIO);
  }
  g_autoptr (StoreJob) check = run_job (fixture->store, "check");
  g_assert_cmpuint (store_job_findings (check)->len, ==, 2);
}

/* Rot that leaves size and times alone is seen by who reads everything. */
static void
test_silent_rot (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 2);
  g_autoptr (GError) error = NULL;
  g_autoptr (Handle) handle = cache_index (fixture->store, inbox->owner, true, &error);
  run_in (fixture, "cd mail/example.com/user/joe/INBOX && ",
          "printf X | dd of=0000000002.eml bs=1 seek=40 conv=notrunc 2>/dev/null && "
          "touch -d @1600000000 0000000002.eml");
  /* Gives the row the file's new ctime, as rot below the filesystem would leave it. */
  g_autofree char *path =
      g_build_filename (fixture->path, "mail/example.com/user/joe/INBOX/0000000002.eml", NULL);
  struct stat st;
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_autoptr (IndexWrite) write = index_write_begin (handle->index, &error);
  g_auto (IndexMessage) row = {0};
  bool found;
  assert_ok (index_write_get_message (write, inbox->number, 2, &row, &found, &error), error);
  row.changed_ns = stat_ctime_ns (&st);
  assert_ok (index_write_message (write, inbox->number, &row, NULL, &error), error);
  assert_ok (index_write_commit (write, &error), error);
  assert_clean (fixture->store);
  g_autoptr (StoreJob) full = run_job (fixture->store, "check full");
  g_assert_cmpuint (count_problem (full, STORE_PROBLEM_DIGEST), ==, 1);
}

/* What was delivered is known by part of its digest on the file, so damage does not become the
 * truth when the index is lost, and a good copy that comes back is recognised. */
static void
test_rot_outlives_the_index (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 3);
  run_in (fixture, "cp -a mail/example.com/user/joe/INBOX/0000000002.eml .good && ",
          "truncate -s 10 mail/example.com/user/joe/INBOX/0000000002.eml && rm -r index");
  for (int pass = 0; pass < 2; pass++) {
    g_autoptr (GError) error = NULL;
    uint8_t buffer[4096];
    size_t size;
    bool known;
    auto_fd fd = store_message_open (inbox, 2, &error);
    g_assert_no_error (error);
    assert_fails (store_message_verify (inbox, 2, fd, buffer, sizeof buffer, &size, &known, &error),
                  error, EIO);
    g_autoptr (StoreJob) rebuild = run_job (fixture->store, "reconstruct");
    g_assert_cmpuint (count_problem (rebuild, STORE_PROBLEM_DIGEST), ==, 1);
  }
  run_in (fixture, "cp -a .good ", "mail/example.com/user/joe/INBOX/0000000002.eml");
  g_autoptr (StoreJob) mended = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
  g_autoptr (StoreJob) full = run_job (fixture->store, "check full");
  g_assert_cmpuint (store_job_findings (full)->len, ==, 0);
}

/* A file that cannot be read stays in the list, with its damage. */
static void
test_unreadable_file (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 2);
  run_in (fixture, "cd mail/example.com/user/joe/INBOX && ",
          "cp -a 0000000002.eml 0000000003.eml && setfattr -x user.mailfs.state 0000000003.eml");
  if (geteuid () != 0) {
    g_test_skip ("needs root to take a permission away");
    return;
  }
  run_in (fixture, "chmod 0 mail/example.com/user/joe/INBOX/0000000003.eml && chown 65534 -R . && ",
          "chown 0:0 mail/example.com/user/joe/INBOX/0000000003.eml");
  g_assert_cmpint (seteuid (65534), ==, 0);
  g_clear_pointer (&inbox, store_mailbox_unref);
  reopen (fixture, 0);
  g_autoptr (StoreJob) rebuild = run_job (fixture->store, "reconstruct");
  g_assert_cmpuint (count_problem (rebuild, STORE_PROBLEM_UNREADABLE), ==, 1);
  inbox = open_named (fixture->store, "joe@example.com");
  g_assert_cmpuint (deliver (inbox, "next", 0, NULL), ==, 4);
  StoreMessage page[8];
  size_t count;
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_page (inbox, 0, page, 8, &count, &error), error);
  g_assert_cmpuint (count, ==, 4);
  g_assert_cmpuint (page[2].damage, ==, STORE_DAMAGE_UNREADABLE);
  store_messages_clear (page, count);
  g_assert_cmpint (seteuid (0), ==, 0);
  run_in (fixture, "chown 65534 mail/example.com/user/joe/INBOX/0000000003.eml && ",
          "chmod 640 mail/example.com/user/joe/INBOX/0000000003.eml");
  g_autoptr (StoreJob) mended = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
}

/* Thousands of files without a state: all get one, and what is lost is said. */
static void
test_states_lost (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 6);
  run_in (fixture,
          "rm -r index && cd mail/example.com/user/joe/INBOX && for i in 2 3 5; do "
          "setfattr -x user.mailfs.state 000000000$i.eml; done",
          "");
  g_autoptr (StoreJob) rebuild = run_job (fixture->store, "reconstruct");
  g_assert_cmpuint (count_problem (rebuild, STORE_PROBLEM_BAD_STATE), ==, 1);
  StoreResult result;
  store_job_result (rebuild, &result);
  g_assert_cmpuint (result.messages, ==, 6);
  g_assert_cmpuint (result.mailboxes, ==, 1);
  assert_clean (fixture->store);
  g_autoptr (GError) error = NULL;
  g_auto (StoreMessage) message = {0};
  bool found;
  assert_ok (store_message_find (inbox, 5, &message, &found, &error), error);
  g_assert_true (found);
  g_assert_cmpuint (message.modseq, >, 6);
  run_in (fixture, "rm -r index", "");
  g_autofree char *before = dump (inbox);
  g_autoptr (StoreJob) again = run_job (fixture->store, "reconstruct");
  g_autofree char *after = dump (inbox);
  g_assert_cmpstr (before, ==, after);
  g_assert_cmpuint (count_problem (again, STORE_PROBLEM_BAD_STATE), ==, 0);
}

/* An index that is newer than a file brought back from a backup wins, and the file gets its state.
 */
static void
test_newer_modseq_wins (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 2);
  run_in (fixture, "cd mail/example.com/user/joe/INBOX && ",
          "cp -a 0000000001.eml ../../../../../old");
  uint32_t uid = 1;
  g_autoptr (GError) error = NULL;
  assert_ok (store_message_flag (inbox, &uid, 1, STORE_FLAGS_SET, STORE_FLAG_SEEN, "$New", &error),
             error);
  run_in (fixture, "mv old mail/example.com/user/joe/INBOX/0000000001.eml", "");
  g_autoptr (StoreJob) rebuild = run_job (fixture->store, "reconstruct");
  g_auto (StoreMessage) message = {0};
  bool found;
  assert_ok (store_message_find (inbox, 1, &message, &found, &error), error);
  g_assert_cmpuint (message.flags, ==, STORE_FLAG_SEEN);
  g_assert_cmpstr (message.keywords, ==, "$New");
  run_in (fixture, "rm -rf index", "");
  g_autoptr (StoreJob) again = run_job (fixture->store, "reconstruct");
  g_auto (StoreMessage) rebuilt = {0};
  assert_ok (store_message_find (inbox, 1, &rebuilt, &found, &error), error);
  g_assert_cmpstr (rebuilt.keywords, ==, "$New");
  g_assert_cmpuint (rebuilt.modseq, ==, message.modseq);
  assert_clean (fixture->store);
}

/* The attribute is lost, the index has it: the file gets it back. */
static void
test_state_restored_from_index (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", STORE_FLAG_FLAGGED, "Work");
  g_autofree char *before = dump (inbox);
  run_in (fixture, "setfattr -x user.mailfs.state ",
          "mail/example.com/user/joe/INBOX/0000000001.eml");
  g_autoptr (StoreJob) rebuild = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
  run_in (fixture, "rm -rf index", "");
  g_autoptr (StoreJob) again = run_job (fixture->store, "reconstruct");
  g_auto (StoreMessage) message = {0};
  bool found;
  g_autoptr (GError) error = NULL;
  assert_ok (store_message_find (inbox, 1, &message, &found, &error), error);
  g_assert_cmpstr (message.keywords, ==, "Work");
  g_assert_cmpuint (message.flags, ==, STORE_FLAG_FLAGGED);
}

static void
test_damaged_index_is_kept (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 6);
  g_autofree char *before = dump (inbox);
  run_in (fixture, "printf 'not a database' > ", "index/example.com/user/joe.sqlite3");
  g_autofree char *from_files = dump (inbox);
  g_assert_cmpstr (before, ==, from_files);
  /* Mail goes on arriving meanwhile. */
  g_assert_cmpuint (deliver (inbox, "while broken", 0, NULL), ==, 7);
  g_autoptr (StoreJob) check = run_job (fixture->store, "check");
  g_assert_cmpuint (count_problem (check, STORE_PROBLEM_BAD_INDEX), ==, 1);
  g_autoptr (StoreJob) rebuild = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
  run_in (fixture, "ls index/example.com/user/joe.sqlite3.damaged-* >/dev/null", "");
  g_assert_cmpuint (deliver (inbox, "after", 0, NULL), ==, 8);
}

/* What a crash between the file and the row leaves: the next writer mends it on its way. */
static void
test_catch_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 3);
  run_in (fixture, "cd mail/example.com/user/joe/INBOX && ", "cp -a 0000000003.eml 0000000004.eml");
  g_assert_cmpuint (deliver (inbox, "five", 0, NULL), ==, 5);
  assert_clean (fixture->store);
  StoreMailboxInfo info;
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpuint (info.messages, ==, 5);
  g_assert_cmpint (info.health, ==, STORE_HEALTH_OK);
}

static void
test_dry_run (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 2);
  run_in (fixture, "rm ", "mail/example.com/user/joe/INBOX/0000000001.eml");
  g_autoptr (StoreJob) dry = run_job (fixture->store, "reconstruct dry-run");
  StoreResult result;
  store_job_result (dry, &result);
  g_assert_cmpuint (result.fixed, ==, 0);
  g_assert_cmpuint (result.left, ==, 1);
  g_autoptr (StoreJob) check = run_job (fixture->store, "check");
  g_assert_cmpuint (store_job_findings (check)->len, ==, 1);
}

static gpointer
deliver_many (gpointer data)
{
  StoreMailbox *mailbox = data;
  for (int i = 0; i < 40; i++)
    deliver (mailbox, "during", 0, NULL);
  return NULL;
}

static gpointer
flag_many (gpointer data)
{
  StoreMailbox *mailbox = data;
  g_autoptr (GError) error = NULL;
  for (uint32_t i = 0; i < 60; i++) {
    uint32_t uid = i % 30 + 1;
    assert_ok (store_message_flag (mailbox, &uid, 1, i % 2 ? STORE_FLAGS_ADD : STORE_FLAGS_SET,
                                   STORE_FLAG_SEEN, "$X", &error),
               error);
  }
  return NULL;
}

/* Nobody waits for a rebuild, and it takes nothing back. */
static void
test_rebuild_beside_writers (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  fill (inbox, 30);
  GThread *first = g_thread_new ("deliver", deliver_many, inbox);
  GThread *second = g_thread_new ("flag", flag_many, inbox);
  for (int i = 0; i < 6; i++) {
    if (i % 2)
      run_in (fixture, "rm -f ", "index/example.com/user/joe.sqlite3");
    g_autoptr (StoreJob) job =
        run_job (fixture->store, i % 3 ? "reconstruct" : "reconstruct force");
  }
  g_thread_join (first);
  g_thread_join (second);
  g_autoptr (StoreJob) last = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
  StoreMailboxInfo info;
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpuint (info.messages, ==, 70);
  g_assert_cmpuint (info.uidnext, ==, 71);
  for (uint32_t uid = 1; uid <= 30; uid++) {
    g_auto (StoreMessage) message = {0};
    bool found;
    assert_ok (store_message_find (inbox, uid, &message, &found, &error), error);
    g_assert_true (found);
    g_assert_true (message.flags & STORE_FLAG_SEEN);
    g_assert_nonnull (strstr (message.keywords, "$X"));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/rebuild/all-databases-lost", test_all_databases_lost);
  add_test ("/rebuild/unchanged-writes-nothing", test_unchanged_writes_nothing);
  add_test ("/rebuild/file-added-and-removed", test_file_added_and_removed);
  add_test ("/rebuild/rot-is-not-adopted", test_rot_is_not_adopted);
  add_test ("/rebuild/silent-rot", test_silent_rot);
  add_test ("/rebuild/rot-outlives-the-index", test_rot_outlives_the_index);
  add_test ("/rebuild/unreadable-file", test_unreadable_file);
  add_test ("/rebuild/states-lost", test_states_lost);
  add_test ("/rebuild/newer-modseq-wins", test_newer_modseq_wins);
  add_test ("/rebuild/state-restored-from-index", test_state_restored_from_index);
  add_test ("/rebuild/damaged-index-is-kept", test_damaged_index_is_kept);
  add_test ("/rebuild/catch-up", test_catch_up);
  add_test ("/rebuild/dry-run", test_dry_run);
  add_test ("/rebuild/beside-writers", test_rebuild_beside_writers);
  return g_test_run ();
}
