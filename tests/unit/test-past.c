/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot shows everything as it was, whatever becomes of the store. Each step changes
 * something, and takes a snapshot before; afterwards all snapshots are held against what the store
 * itself told when they were taken.
 */
#include "store-sample.h"

#include <sys/xattr.h>

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

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/past/steps", test_steps);
  add_test ("/past/steps-without-index", test_steps_without_index);
  add_test ("/past/kept-open", test_kept_open);
  add_test ("/past/beside-writers", test_beside_writers);
  return g_test_run ();
}
