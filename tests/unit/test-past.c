/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot shows everything as it was, whatever becomes of the store. Each step changes
 * something, and takes a snapshot before; afterwards all snapshots are held against what the store
 * itself told when they were taken.
 */
#include "store-dump.h"

#include <sys/xattr.h>

/* ---- a store with some of everything ------------------------------------------------------- */

#define JOE   "joe@example.com"
#define LONG_ "joe@example.com/" LONG_NAME
/* Longer than a directory's name can be. */
#define LONG_NAME                                                                                  \
  "a mailbox whose name is far longer than what fits into one directory entry, so that it is cut " \
  "and the whole of it stands in the attribute of its directory, which is where a reader of "      \
  "the mailbox list, and so of a snapshot, has to get it from; that makes more than two hundred "  \
  "and fifty-five bytes"

static uint32_t
number_of (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (store, spelling, &node, &error), error);
  return node.number;
}

static void
fill (Store *store, const char *spelling, unsigned count)
{
  g_autoptr (StoreMailbox) mailbox = open_named (store, spelling);
  for (unsigned i = 0; i < count; i++) {
    g_autofree char *subject = g_strdup_printf ("message %u", i);
    deliver (mailbox, subject, i % 3 == 0 ? STORE_FLAG_SEEN : 0, i % 4 == 0 ? "Blue $Work" : NULL);
  }
}

static void
run_words (Store *store, const char *words)
{
  g_autoptr (StoreJob) job G_GNUC_UNUSED = run_job (store, words);
}

static void
make_store (Store *store)
{
  g_autoptr (GError) error = NULL;
  static const uint32_t gone[] = {2, 5, 6};
  fill (store, JOE "/INBOX", 12);
  fill (store, JOE "/Archive/2024/May", 3);
  fill (store, JOE "/Archive/2025", 4);
  fill (store, JOE "/zzz", 2);
  fill (store, LONG_, 2);
  fill (store, "ann@example.com/INBOX", 4);
  fill (store, "ann@example.com/Sub/Deep/Deeper", 3);
  fill (store, "bob@example.org/INBOX", 3);
  fill (store, "Public Folders/News@example.com", 3);
  fill (store, JOE "/Empty/Inside", 0);
  assert_ok (store_mailbox_set_special_use (store, number_of (store, JOE "/zzz"), "\\Sent", &error),
             error);
  assert_ok (store_mailbox_subscribe (store, number_of (store, JOE "/INBOX"), true, &error), error);
  assert_ok (store_user_set_index (store, number_of (store, "bob@example.org"), false, &error),
             error);
  g_autoptr (StoreMailbox) inbox = open_named (store, JOE "/INBOX");
  assert_ok (store_mailbox_expunge (inbox, gone, G_N_ELEMENTS (gone), &error), error);
}

/* ---- what becomes of it --------------------------------------------------------------------- */

typedef void (*StepFunc) (Fixture *fixture);

static void
do_deliver (Fixture *fixture)
{
  fill (fixture->store, JOE "/INBOX", 7);
  fill (fixture->store, JOE "/Empty/Inside", 2);
  fill (fixture->store, JOE "/New/One", 2);
  fill (fixture->store, "eve@new.example/INBOX", 2);
}

static void
flag (Store *store, const char *spelling, uint32_t uid, StoreFlagsChange change, uint32_t flags,
      const char *keywords)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (store, spelling);
  assert_ok (store_message_flag (mailbox, &uid, 1, change, flags, keywords, &error), error);
}

static void
do_flag (Fixture *fixture)
{
  flag (fixture->store, JOE "/INBOX", 1, STORE_FLAGS_SET, STORE_FLAG_FLAGGED, "Red");
  flag (fixture->store, JOE "/INBOX", 3, STORE_FLAGS_ADD, STORE_FLAG_DELETED, NULL);
  flag (fixture->store, JOE "/Archive/2024/May", 2, STORE_FLAGS_REMOVE, STORE_FLAG_SEEN, "Blue");
  flag (fixture->store, "bob@example.org/INBOX", 1, STORE_FLAGS_ADD, STORE_FLAG_ANSWERED, NULL);
}

static void
expunge (Store *store, const char *spelling, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (store, spelling);
  assert_ok (store_mailbox_expunge (mailbox, &uid, 1, &error), error);
}

static void
undelete (Store *store, const char *spelling, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (store, spelling);
  assert_ok (store_mailbox_undelete (mailbox, &uid, 1, &error), error);
}

static void
do_expunge (Fixture *fixture)
{
  expunge (fixture->store, JOE "/INBOX", 3);
  expunge (fixture->store, JOE "/INBOX", 8);
  expunge (fixture->store, "bob@example.org/INBOX", 2);
}

static void
do_undelete (Fixture *fixture)
{
  undelete (fixture->store, JOE "/INBOX", 2);
  undelete (fixture->store, JOE "/INBOX", 3);
}

static void
do_expunge_again (Fixture *fixture)
{
  expunge (fixture->store, JOE "/INBOX", 2);
  expunge (fixture->store, JOE "/INBOX", 3);
  undelete (fixture->store, JOE "/INBOX", 3);
  expunge (fixture->store, JOE "/INBOX", 3);
}

static void
do_move (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  static const uint32_t uids[] = {1, 4, 7};
  g_autoptr (StoreMailbox) from = open_named (fixture->store, JOE "/INBOX");
  g_autoptr (StoreMailbox) to = open_named (fixture->store, JOE "/Archive/2025");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "ann@example.com/INBOX");
  assert_ok (store_mailbox_move (from, uids, 2, to, NULL, &error), error);
  assert_ok (store_mailbox_move (from, uids + 2, 1, other, NULL, &error), error);
  assert_ok (store_mailbox_copy (other, uids, 1, to, NULL, &error), error);
}

static void
rename_to (Store *store, const char *from, const char *to)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_rename (store, number_of (store, from), to, &error), error);
}

static void
do_rename (Fixture *fixture)
{
  rename_to (fixture->store, JOE "/zzz", JOE "/aaa");
  rename_to (fixture->store, LONG_, JOE "/short");
  rename_to (fixture->store, JOE "/Archive/2025", JOE "/zzz");
}

/* Over several levels, and into what has another one's old name. */
static void
do_rename_deep (Fixture *fixture)
{
  rename_to (fixture->store, JOE "/Archive", JOE "/Old/Things/Store");
  rename_to (fixture->store, JOE "/Old/Things/Store/2024", JOE "/Archive");
  rename_to (fixture->store, "ann@example.com/Sub/Deep/Deeper", "ann@example.com/Up");
  rename_to (fixture->store, JOE "/aaa", JOE "/zzz/aaa");
}

static void
remove_named (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_remove (store, number_of (store, spelling), true, NULL, &error), error);
}

static void
do_remove (Fixture *fixture)
{
  remove_named (fixture->store, JOE "/Old");
  remove_named (fixture->store, JOE "/zzz");
  remove_named (fixture->store, "ann@example.com");
}

/* Others with the names of those that were removed. */
static void
do_make_anew (Fixture *fixture)
{
  fill (fixture->store, JOE "/Old/Things", 1);
  fill (fixture->store, JOE "/zzz", 5);
  fill (fixture->store, "ann@example.com/INBOX", 2);
}

static void
do_set (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  Store *store = fixture->store;
  uint32_t inbox = number_of (store, JOE "/INBOX"), archive = number_of (store, JOE "/Archive");
  assert_ok (store_mailbox_subscribe (store, inbox, false, &error), error);
  assert_ok (store_mailbox_subscribe (store, archive, true, &error), error);
  assert_ok (store_mailbox_set_special_use (store, archive, "\\Archive", &error), error);
  assert_ok (store_user_set_index (store, number_of (store, "bob@example.org"), true, &error),
             error);
  g_autoptr (StoreMailbox) fresh = open_named (store, JOE "/Fresh");
  assert_ok (store_mailbox_set_uidvalidity (fresh, 4711, 100, &error), error);
}

static void
do_clean_up (Fixture *fixture)
{
  expunge (fixture->store, JOE "/INBOX", 9);
  run_words (fixture->store, "cleanup recursive age=0");
  run_words (fixture->store, "purge recursive age=0");
}

static void
do_reset (Fixture *fixture)
{
  run_words (fixture->store, "reset recursive");
  flag (fixture->store, JOE "/INBOX", 10, STORE_FLAGS_ADD, STORE_FLAG_FLAGGED, NULL);
  run_words (fixture->store, "reconstruct recursive");
}

static void
do_lose_all (Fixture *fixture)
{
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm -r index mailboxes.sqlite3", "");
  reopen (fixture, 0);
  expunge (fixture->store, JOE "/INBOX", 11);
  run_words (fixture->store, "reconstruct mailbox-list");
  run_words (fixture->store, "reconstruct recursive");
}

/* What people do to a store by hand. Only the times of a directory cannot be kept then, unless it
 * has been changed by the store since. */
static void
do_tamper (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  uint32_t fresh = number_of (fixture->store, JOE "/Fresh");
  assert_ok (store_mailbox_subscribe (fixture->store, fresh, true, &error), error);
  fill (fixture->store, JOE "/Kept", 0);
  flag (fixture->store, JOE "/INBOX", 10, STORE_FLAGS_REMOVE, STORE_FLAG_FLAGGED, NULL);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture,
          "cd mail/example.com/user/joe && mv Fresh Moved && cp -r --preserve=all "
          "Archive/May Copied && cp INBOX/0000000010.eml INBOX/0000000200.eml",
          "");
  reopen (fixture, 0);
  run_words (fixture->store, "reconstruct mailbox-list");
  run_words (fixture->store, "repair recursive");
}

static void
do_restore (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) objects = store_quarantine_list (fixture->store, &error);
  g_assert_no_error (error);
  for (guint i = 0; i < objects->len; i++) {
    const StoreQuarantined *object = objects->pdata[i];
    if (g_str_has_suffix (object->path, "/joe/zzz")) {
      remove_named (fixture->store, JOE "/zzz");
      assert_ok (store_quarantine_restore (fixture->store, object->path, &error), error);
    }
  }
  number_of (fixture->store, JOE "/zzz/aaa");
  run_words (fixture->store, "reconstruct recursive");
  fill (fixture->store, JOE "/zzz", 1);
}

static const struct {
  const char *name;
  StepFunc run;
} steps[] = {
    {"deliver", do_deliver},
    {"flag", do_flag},
    {"expunge", do_expunge},
    {"undelete", do_undelete},
    {"expunge-again", do_expunge_again},
    {"move", do_move},
    {"rename", do_rename},
    {"rename-deep", do_rename_deep},
    {"remove", do_remove},
    {"make-anew", do_make_anew},
    {"set", do_set},
    {"clean-up", do_clean_up},
    {"reset", do_reset},
    {"lose-all", do_lose_all},
    {"tamper", do_tamper},
    {"restore", do_restore},
};

/* ---- holding them against what was --------------------------------------------------------- */

/* A snapshot of each step, and what was told when it was taken. */
typedef struct {
  char *dumps[G_N_ELEMENTS (steps)];
} Told;

static void
take (Fixture *fixture, const char *name, char **out_dump)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_snapshot_take (fixture->store, name, NULL, &error), error);
  *out_dump = dump_store (fixture->store);
}

static void
compare (Fixture *fixture, const Told *told, size_t count, const char *after)
{
  for (size_t i = 0; i < count; i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (Store) snapshot = store_snapshot_open (fixture->store, steps[i].name, &error);
    g_assert_no_error (error);
    g_autofree char *dump = dump_store (snapshot);
    g_autofree char *what = g_strdup_printf ("before %s, after %s", steps[i].name, after);
    assert_same_dump (what, dump, told->dumps[i]);
  }
}

/* A mailbox whose index is behind tells the same, and so does one that has none. */
static void
run_steps (Fixture *fixture, bool with_index)
{
  Told told = {0};
  make_store (fixture->store);
  for (size_t i = 0; i < G_N_ELEMENTS (steps) && !g_test_failed (); i++) {
    take (fixture, steps[i].name, &told.dumps[i]);
    steps[i].run (fixture);
    compare (fixture, &told, i + 1, steps[i].name);
    if (with_index)
      continue;
    run_in (fixture, "rm -rf index/* mailboxes.sqlite3", "");
    compare (fixture, &told, i + 1, "the index was deleted");
    run_words (fixture->store, "reconstruct recursive");
    compare (fixture, &told, i + 1, "it was made again");
  }
  for (size_t i = 0; i < G_N_ELEMENTS (steps); i++)
    g_free (told.dumps[i]);
}

static void
test_steps (Fixture *fixture, gconstpointer data)
{
  run_steps (fixture, true);
}

static void
test_steps_without_index (Fixture *fixture, gconstpointer data)
{
  run_steps (fixture, false);
}

/* What is open goes on to tell the truth, as a mount has it open for months. */
static void
test_kept_open (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *before = NULL;
  make_store (fixture->store);
  take (fixture, "kept", &before);
  g_autoptr (Store) live = store_open (fixture->path, STORE_READ_ONLY, &error);
  g_assert_no_error (error);
  g_autoptr (Store) snapshot = store_snapshot_open (live, "kept", &error);
  g_assert_no_error (error);
  for (size_t i = 0; i < G_N_ELEMENTS (steps); i++) {
    steps[i].run (fixture);
    g_autofree char *dump = dump_store (snapshot);
    assert_same_dump (steps[i].name, dump, before);
  }
}

/* ---- while it is changed -------------------------------------------------------------------- */

#define ROUNDS 40u

static gpointer
change_on (gpointer data)
{
  Fixture *fixture = data;
  Store *store = fixture->store;
  for (unsigned i = 0; i < ROUNDS; i++) {
    bool even = i % 2 == 0;
    flag (store, JOE "/INBOX", i % 2 == 0 ? 1 : 3, STORE_FLAGS_SET, even ? STORE_FLAG_SEEN : 0,
          "Red");
    (even ? expunge : undelete) (store, JOE "/INBOX", 4);
    (even ? undelete : expunge) (store, JOE "/INBOX", 2);
    fill (store, JOE "/INBOX", 1);
    rename_to (store, even ? JOE "/Archive" : JOE "/Other", even ? JOE "/Other" : JOE "/Archive");
    if (i == ROUNDS / 2)
      remove_named (store, JOE "/zzz");
  }
  return NULL;
}

typedef struct {
  Store *snapshot;
  const char *before;
} Looking;

static gpointer
look_on (gpointer data)
{
  const Looking *looking = data;
  for (unsigned i = 0; i < ROUNDS; i++) {
    g_autofree char *dump = dump_store (looking->snapshot);
    assert_same_dump ("meanwhile", dump, looking->before);
  }
  return NULL;
}

/* What is read while it moves is right, too; whoever reads it beside others. */
static void
test_beside_writers (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *before = NULL;
  make_store (fixture->store);
  take (fixture, "s", &before);
  g_autoptr (Store) snapshot = store_snapshot_open (fixture->store, "s", &error);
  g_assert_no_error (error);
  Looking looking = {snapshot, before};
  GThread *writer = g_thread_new ("writer", change_on, fixture);
  GThread *reader = g_thread_new ("reader", look_on, &looking);
  look_on (&looking);
  g_thread_join (reader);
  g_thread_join (writer);
  g_autofree char *dump = dump_store (snapshot);
  assert_same_dump ("afterwards", dump, before);
}

/* ---- what it is not ------------------------------------------------------------------------- */

static void
test_read_only (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  static const uint32_t uid = 1;
  make_store (fixture->store);
  assert_ok (store_snapshot_take (fixture->store, "s", NULL, &error), error);
  g_autoptr (Store) store = store_snapshot_open (fixture->store, "latest", &error);
  g_assert_no_error (error);
  g_assert_true (store_is_read_only (store));
  g_assert_null (store_snapshot_of (fixture->store));
  g_assert_cmpstr (store_snapshot_of (store)->name, ==, "s");
  uint32_t number = number_of (store, JOE "/INBOX");
  g_autoptr (StoreMailbox) inbox = store_mailbox_open (store, number, &error);
  g_assert_no_error (error);
  g_autoptr (StoreMailbox) live = store_mailbox_open (fixture->store, number, &error);
  assert_fails (store_message_flag (inbox, &uid, 1, STORE_FLAGS_ADD, 1, NULL, &error), error,
                EROFS);
  assert_fails (store_mailbox_expunge (inbox, &uid, 1, &error), error, EROFS);
  assert_fails (store_mailbox_undelete (inbox, &uid, 1, &error), error, EROFS);
  assert_fails (store_mailbox_copy (live, &uid, 1, inbox, NULL, &error), error, EROFS);
  assert_fails (store_mailbox_create (store, "x@example.com/New", &node, &error), error, EROFS);
  assert_fails (store_mailbox_rename (store, number, JOE "/x", &error), error, EROFS);
  assert_fails (store_mailbox_remove (store, number, true, NULL, &error), error, EROFS);
  assert_fails (store_mailbox_subscribe (store, number, true, &error), error, EROFS);
  assert_fails (store_mailbox_set_uidvalidity (inbox, 1, 1, &error), error, EROFS);
  assert_fails (store_setting_set (store, STORE_CLEANUP_AGE, "1d", &error), error, EROFS);
  assert_fails (store_quarantine_remove (store, "x", &error), error, EROFS);
  assert_fails (store_audit_append (store, "{}", &error), error, EROFS);
  assert_fails (store_snapshot_take (store, NULL, NULL, &error), error, EROFS);
  assert_fails (store_snapshot_drop (store, "s", &error), error, EROFS);
  assert_fails (store_snapshot_open (store, "s", &error) != NULL, error, EINVAL);
  g_assert_null (store_draft_new (store, &(StoreFacts){0}, &error));
  g_assert_error (error, MAILFS_ERROR, EROFS);
}

/* Commands that only read are for the store as it is, too; but verify. */
static void
test_commands (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  static const struct {
    const char *words[4];
    int code;
  } refused[] = {
      {{"check"}, EINVAL},       {{"test"}, EINVAL},   {{"reconstruct", "recursive"}, EROFS},
      {{"repair"}, EROFS},       {{"cleanup"}, EROFS}, {{"purge"}, EROFS},
      {{"expunge", JOE}, EROFS}, {{"reset"}, EROFS},
  };
  make_store (fixture->store);
  assert_ok (store_snapshot_take (fixture->store, "s", NULL, &error), error);
  remove_named (fixture->store, "ann@example.com");
  g_autoptr (Store) store = store_snapshot_open (fixture->store, "s", &error);
  g_assert_no_error (error);
  for (size_t i = 0; i < G_N_ELEMENTS (refused); i++) {
    StoreRequest *request = store_request_parse (store, refused[i].words, &error);
    g_assert_no_error (error);
    g_autoptr (StoreJob) job = store_job_new (store, request);
    g_test_message ("%s", refused[i].words[0]);
    assert_fails (store_job_run (job, &error), error, refused[i].code);
  }
  StoreResult result;
  g_autoptr (StoreJob) verify = run_job (store, "verify recursive");
  store_job_result (verify, &result);
  StoreStatus status;
  assert_ok (store_status (store, &status, &error), error);
  g_assert_cmpuint (result.messages, ==, status.messages);
  g_assert_cmpuint (result.left, ==, 0);
  run_in (fixture,
          "printf X | dd bs=1 seek=3 conv=notrunc status=none "
          "of=$(find quarantine -name 0000000001.eml | head -n 1)",
          "");
  g_autoptr (StoreJob) again = run_job (store, "verify recursive");
  store_job_result (again, &result);
  g_assert_cmpuint (result.left, ==, 1);
}

static void
test_damage (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  make_store (fixture->store);
  assert_ok (store_snapshot_take (fixture->store, "s", NULL, &error), error);
  expunge (fixture->store, JOE "/INBOX", 1);
  run_in (fixture,
          "printf X | dd bs=1 seek=3 conv=notrunc status=none "
          "of=mail/example.com/user/joe/INBOX/.expunged/0000000001.eml",
          "");
  g_autoptr (Store) store = store_snapshot_open (fixture->store, "s", &error);
  g_assert_no_error (error);
  g_autoptr (StoreMailbox) inbox =
      store_mailbox_open (store, number_of (store, JOE "/INBOX"), &error);
  g_assert_no_error (error);
  auto_fd fd = store_message_open (inbox, 1, &error);
  g_assert_no_error (error);
  size_t size;
  bool known;
  assert_fails (store_message_verify (inbox, 1, fd, NULL, 0, &size, &known, &error), error, EIO);
  /* It is repaired where it lies. */
  heal_flush (fixture->store, NULL, NULL);
  StoreRecord record;
  bool found = false;
  assert_ok (store_queue_pending (fixture->store, store_command_find ("repair"), inbox->number,
                                  &record, &found, &error),
             error);
  g_assert_true (found);
  store_record_clear (&record);
  /* Those that came later, or had gone before, cannot be opened. */
  g_autoptr (StoreMailbox) live = open_named (fixture->store, JOE "/INBOX");
  uint32_t later = deliver (live, "later", 0, NULL);
  g_assert_cmpint (store_message_open (inbox, later, &error), <, 0);
  g_assert_error (error, MAILFS_ERROR, ESTALE);
  g_clear_error (&error);
  g_assert_cmpint (store_message_open (inbox, 2, &error), <, 0);
  g_assert_error (error, MAILFS_ERROR, ESTALE);
}

static void
test_dropped (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *before = NULL;
  make_store (fixture->store);
  take (fixture, "s", &before);
  g_autoptr (Store) store = store_snapshot_open (fixture->store, "s", &error);
  g_assert_no_error (error);
  uint32_t number = number_of (store, JOE "/INBOX");
  g_autoptr (StoreMailbox) inbox = store_mailbox_open (store, number, &error);
  g_assert_no_error (error);
  assert_ok (store_snapshot_rename (fixture->store, "s", "t", &error), error);
  g_autofree char *renamed = dump_store (store);
  assert_same_dump ("renamed", renamed, before);
  assert_ok (store_snapshot_drop (fixture->store, "t", &error), error);
  /* One of the same name is another. */
  assert_ok (store_snapshot_take (fixture->store, "t", NULL, &error), error);

  StoreNode nodes[4];
  StoreMessage messages[4];
  StoreMailboxInfo info;
  StoreNodeTimes times;
  StoreStatus status;
  size_t count;
  bool found;
  assert_fails (store_node_get (store, number, nodes, &error), error, ESTALE);
  assert_fails (store_node_find (store, 0, "example.com", nodes, &found, &error), error, ESTALE);
  assert_fails (store_node_children (store, 0, NULL, nodes, 4, &count, &error), error, ESTALE);
  assert_fails (store_node_times (store, number, &times, &error), error, ESTALE);
  assert_fails (store_node_path (store, number, &error) != NULL, error, ESTALE);
  assert_fails (store_mailbox_page (inbox, 0, messages, 4, &count, &error), error, ESTALE);
  assert_fails (store_message_find (inbox, 1, messages, &found, &error), error, ESTALE);
  assert_fails (store_message_open (inbox, 1, &error) >= 0, error, ESTALE);
  assert_fails (store_mailbox_info (inbox, &info, &error), error, ESTALE);
  assert_fails (store_status (store, &status, &error), error, ESTALE);
  char *bytes = NULL;
  size_t size = 0;
  FILE *out = open_memstream (&bytes, &size);
  assert_fails (store_export_write (store, STORE_ROOT, out, &error), error, ESTALE);
  fclose (out);
  free (bytes);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/past/steps", test_steps);
  add_test ("/past/steps-without-index", test_steps_without_index);
  add_test ("/past/kept-open", test_kept_open);
  add_test ("/past/beside-writers", test_beside_writers);
  add_test ("/past/read-only", test_read_only);
  add_test ("/past/commands", test_commands);
  add_test ("/past/damage", test_damage);
  add_test ("/past/dropped", test_dropped);
  return g_test_run ();
}
