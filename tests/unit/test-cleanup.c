/* SPDX-License-Identifier: Apache-2.0 */
/* Expunged messages removed for good, and those whose files come back. */
#include "test-store.h"

#define JOE       "joe@example.com/INBOX"
#define DIRECTORY "mail/example.com/user/joe/INBOX"

static StoreMailbox *
fill (Store *store, uint32_t count)
{
  StoreMailbox *inbox = open_named (store, JOE);
  for (uint32_t uid = 1; uid <= count; uid++) {
    g_autofree char *subject = g_strdup_printf ("message %u", uid);
    deliver (inbox, subject, 0, NULL);
  }
  return inbox;
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

static void
expunge (StoreMailbox *mailbox, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_expunge (mailbox, &uid, 1, &error), error);
}

static StoreResult
run_result (Store *store, const char *words)
{
  StoreResult result;
  g_autoptr (StoreJob) job = run_job (store, words);
  store_job_result (job, &result);
  return result;
}

/* Whether the command has a finding of that kind and outcome about the message. */
static bool
finds (Store *store, const char *words, StoreProblem problem, StoreOutcome outcome, uint32_t uid)
{
  g_autoptr (StoreJob) job = run_job (store, words);
  const GPtrArray *findings = store_job_findings (job);
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    if (finding->problem == problem && finding->outcome == outcome && finding->uid == uid)
      return true;
  }
  return false;
}

static void
assert_place (Fixture *fixture, uint32_t uid, bool live, bool expunged)
{
  for (int place = 0; place < 2; place++) {
    char name[32];
    layout_message_path (uid, place == 1, name);
    g_autofree char *path = g_build_filename (fixture->path, DIRECTORY, name, NULL);
    g_assert_cmpint (g_file_test (path, G_FILE_TEST_EXISTS), ==, place == 1 ? expunged : live);
  }
}

/* What is old enough goes, its row becomes a record, and a dry run says so before. */
static void
test_cleanup (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 5);
  g_assert_cmpuint (run_result (fixture->store, "cleanup age=0").taken, ==, 0);
  expunge (inbox, 2);
  expunge (inbox, 4);
  g_assert_cmpuint (run_result (fixture->store, "cleanup").taken, ==, 0);
  g_assert_cmpuint (run_result (fixture->store, "cleanup age=1h").taken, ==, 0);
  StoreResult dry = run_result (fixture->store, "cleanup age=0 dry-run");
  assert_place (fixture, 4, false, true);
  g_assert_cmpuint (row_of (inbox).expunged, ==, 2);
  StoreResult done = run_result (fixture->store, "cleanup age=0");
  g_assert_cmpuint (done.taken, ==, 2);
  g_assert_cmpuint (dry.taken, ==, 2);
  g_assert_cmpuint (done.taken_bytes, ==, dry.taken_bytes);
  assert_place (fixture, 4, false, false);
  g_assert_cmpuint (row_of (inbox).expunged, ==, 0);
  g_assert_cmpuint (row_of (inbox).removed, ==, 2);
  g_assert_cmpuint (row_of (inbox).messages, ==, 3);
  assert_clean (fixture->store);
}

/* One that was cut short after it had removed files is finished by the next, or by a rebuild. */
static void
test_cut_short (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 5);
  for (uint32_t uid = 1; uid <= 4; uid++)
    expunge (inbox, uid);
  run_in (fixture, "rm " DIRECTORY "/.expunged/0000000001.eml", "");
  g_assert_true (finds (fixture->store, "check", STORE_PROBLEM_CHANGED, STORE_LEFT, 1));
  g_assert_cmpuint (run_result (fixture->store, "cleanup").taken, ==, 0);
  g_assert_cmpuint (row_of (inbox).expunged, ==, 3);
  g_assert_cmpuint (row_of (inbox).removed, ==, 1);
  assert_clean (fixture->store);
  run_in (fixture, "rm " DIRECTORY "/.expunged/0000000002.eml", "");
  g_assert_cmpuint (run_result (fixture->store, "reconstruct").left, ==, 0);
  g_assert_cmpuint (row_of (inbox).expunged, ==, 2);
  g_assert_cmpuint (row_of (inbox).removed, ==, 2);
  /* One that somebody renamed back is a message again, not removed. */
  run_in (fixture, "cd " DIRECTORY " && mv .expunged/0000000003.eml .", "");
  g_assert_cmpuint (run_result (fixture->store, "cleanup").taken, ==, 0);
  g_assert_cmpuint (run_result (fixture->store, "reconstruct").left, ==, 0);
  g_assert_true (is_live (inbox, 3));
  assert_clean (fixture->store);
  g_assert_cmpuint (row_of (inbox).removed, ==, 2);
}

static void
keep_notice (const char *text, void *user_data)
{
  char **kept = user_data;
  g_free (*kept);
  *kept = g_strdup (text);
}

/* A removed message whose file comes back stays expunged, until somebody brings it back. */
static void
test_comes_back (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 4);
  run_in (fixture, "cp -a " DIRECTORY " $PWD.backup", "");
  for (uint32_t uid = 1; uid <= 3; uid++)
    expunge (inbox, uid);
  g_assert_cmpuint (run_result (fixture->store, "cleanup age=0").taken, ==, 3);

  run_in (fixture, "cp -a $PWD.backup/0000000001.eml " DIRECTORY, "");
  g_assert_true (finds (fixture->store, "check", STORE_PROBLEM_BACK, STORE_LEFT, 1));
  assert_place (fixture, 1, true, false);
  g_assert_true (finds (fixture->store, "reconstruct", STORE_PROBLEM_BACK, STORE_FIXED, 1));
  assert_place (fixture, 1, false, true);
  g_assert_false (is_live (inbox, 1));
  g_assert_cmpuint (row_of (inbox).removed, ==, 2);
  g_assert_cmpuint (row_of (inbox).expunged, ==, 1);
  assert_clean (fixture->store);

  /* The next delivery notices, too, and says so. */
  g_autofree char *said = NULL;
  store_notice (fixture->store, keep_notice, &said);
  run_in (fixture, "cp -a $PWD.backup/0000000002.eml " DIRECTORY, "");
  g_assert_cmpuint (deliver (inbox, "new", 0, NULL), ==, 5);
  g_assert_nonnull (strstr (said, "INBOX/0000000002.eml"));
  store_notice (fixture->store, NULL, NULL);
  assert_place (fixture, 2, false, true);
  g_assert_false (is_live (inbox, 2));
  g_assert_true (is_live (inbox, 5));
  store_job_free (run_job (fixture->store, "reconstruct"));
  assert_clean (fixture->store);

  g_assert_cmpuint (run_result (fixture->store, "undelete uid=1 " JOE).taken, ==, 1);
  g_assert_true (is_live (inbox, 1));
  store_job_free (run_job (fixture->store, "reconstruct force"));
  assert_place (fixture, 1, true, false);
  assert_clean (fixture->store);

  /* A file whose state is newer than the record is no old one. */
  run_in (fixture,
          "cd " DIRECTORY " && cp -a $OLDPWD.backup/0000000003.eml . && "
          "setfattr -n user.mailfs.state -v '1 900 1 0 -' 0000000003.eml",
          "");
  store_job_free (run_job (fixture->store, "reconstruct"));
  g_assert_true (is_live (inbox, 3));
  g_assert_cmpuint (row_of (inbox).removed, ==, 0);
  run_in (fixture, "rm -r $PWD.backup", "");
}

/* A copy without a state tells nothing of its age: who put it there wants it. It has what flags a
 * mount told, and a new modseq. */
static void
test_copied_back (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 4);
  run_in (fixture,
          "cp -r " DIRECTORY " $PWD.backup && chmod 640 $PWD.backup/* && cd $PWD.backup && "
          "setfattr -n user.mailfs.flags -v '\\Seen Work' *",
          "");
  expunge (inbox, 1);
  expunge (inbox, 2);
  g_assert_cmpuint (run_result (fixture->store, "cleanup age=0").taken, ==, 2);
  expunge (inbox, 3);
  uint64_t before = row_of (inbox).highestmodseq;
  run_in (fixture, "cp -a $PWD.backup/000000000[13].eml " DIRECTORY, "");
  g_assert_true (is_live (inbox, 1));
  g_assert_cmpuint (deliver (inbox, "new", 0, NULL), ==, 5);
  for (uint32_t uid = 1; uid <= 3; uid += 2) {
    g_auto (StoreMessage) message = {0};
    bool found;
    assert_ok (store_message_find (inbox, uid, &message, &found, &error), error);
    g_assert_true (found);
    g_assert_cmpuint (message.flags, ==, STORE_FLAG_SEEN);
    g_assert_cmpstr (message.keywords, ==, "Work");
    g_assert_cmpuint (message.modseq, >, before);
  }
  assert_place (fixture, 3, true, true);
  g_assert_true (finds (fixture->store, "repair", STORE_PROBLEM_DUPLICATE, STORE_FIXED, 3));
  assert_place (fixture, 3, true, false);
  assert_clean (fixture->store);
  /* What the mount told is gone, for the message has a state of its own. */
  run_in (fixture, "! getfattr -d " DIRECTORY "/*.eml | grep -F flags && rm -r $PWD.backup", "");
}

/* An old file of a message that is still among the expunged: both stay, the one in the mailbox is
 * shown, and what each says about its age is kept. */
static void
test_doubled (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 3);
  run_in (fixture, "cp -a " DIRECTORY " $PWD.backup", "");
  expunge (inbox, 2);
  run_in (fixture, "cp -a $PWD.backup/0000000002.eml " DIRECTORY, "");
  g_assert_true (finds (fixture->store, "check", STORE_PROBLEM_DUPLICATE, STORE_LEFT, 2));
  g_assert_true (finds (fixture->store, "reconstruct", STORE_PROBLEM_DUPLICATE, STORE_LEFT, 2));
  g_assert_true (is_live (inbox, 2));
  assert_place (fixture, 2, true, true);
  run_in (fixture,
          "state() { getfattr -d \"$1\" | tail -n +2; } && test \"$(state " DIRECTORY
          "/0000000002.eml)\" = \"$(state ",
          "$PWD.backup/0000000002.eml)\"");
  g_assert_true (finds (fixture->store, "cleanup age=0", STORE_PROBLEM_DUPLICATE, STORE_LEFT, 2));
  assert_place (fixture, 2, true, true);

  /* An expunged file that was removed by hand, while an old one came: the row knows better. */
  expunge (inbox, 3);
  run_in (fixture,
          "cp -a $PWD.backup/0000000003.eml " DIRECTORY " && rm " DIRECTORY "/.expunged/*3.eml",
          "");
  g_assert_true (finds (fixture->store, "check", STORE_PROBLEM_BACK, STORE_LEFT, 3));
  g_assert_true (finds (fixture->store, "reconstruct", STORE_PROBLEM_BACK, STORE_FIXED, 3));
  g_assert_false (is_live (inbox, 3));
  assert_place (fixture, 3, false, true);

  /* A repair keeps the newer of the two: here the expunged one, then the one in the mailbox. */
  g_assert_true (finds (fixture->store, "repair", STORE_PROBLEM_DUPLICATE, STORE_FIXED, 2));
  assert_place (fixture, 2, false, true);
  g_assert_false (is_live (inbox, 2));
  assert_clean (fixture->store);
  run_in (fixture, "cmp quarantine/2*/example.com/user/joe/INBOX/0000000002.eml $PWD.backup/",
          "0000000002.eml && rm -r quarantine/2*");
  run_in (fixture,
          "cp -a $PWD.backup/0000000002.eml " DIRECTORY " && setfattr -n user.mailfs.state "
          "-v '1 900 1 0 -' " DIRECTORY,
          "/0000000002.eml");
  g_assert_true (finds (fixture->store, "repair", STORE_PROBLEM_DUPLICATE, STORE_FIXED, 2));
  assert_place (fixture, 2, true, false);
  g_assert_true (is_live (inbox, 2));
  assert_clean (fixture->store);
  run_in (fixture, "test -e quarantine/2*/example.com/user/joe/INBOX/.expunged/0000000002.eml && ",
          "rm -r $PWD.backup");
}

/* As soon as a mailbox has more expunged messages than the setting, a cleanup is queued, once. */
static void
test_queued (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  run_in (fixture, "printf '[cleanup]\\nsize=2\\n' >>mailfs.conf", "");
  reopen (fixture, 0);
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, 6);
  StoreRecord records[4];
  size_t count;
  for (uint32_t uid = 1; uid <= 4; uid++) {
    expunge (inbox, uid);
    assert_ok (store_queue_page (fixture->store, 0, true, records, 4, &count, &error), error);
    g_assert_cmpuint (count, ==, uid > 2);
    for (size_t i = 0; i < count; i++) {
      g_assert_cmpstr (records[i].action, ==, "cleanup");
      store_record_clear (&records[i]);
    }
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/cleanup/cleanup", test_cleanup);
  add_test ("/cleanup/cut-short", test_cut_short);
  add_test ("/cleanup/comes-back", test_comes_back);
  add_test ("/cleanup/copied-back", test_copied_back);
  add_test ("/cleanup/doubled", test_doubled);
  add_test ("/cleanup/queued", test_queued);
  return g_test_run ();
}
