/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots as files: taking, dropping, renaming, and what is damaged. */
#include "store/snapshot.h"
#include "tests/unit/test-store.h"

#include <sys/file.h>

static void
take (Store *store, const char *name, StoreSnapshot *out)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_snapshot_take (store, name, out, &error), error);
}

static guint
count (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) list = store_snapshot_list (store, &error);
  g_assert_no_error (error);
  return list->len;
}

static void
test_take (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreSnapshot) first = {0}, second = {0}, latest = {0};
  g_assert_cmpuint (count (fixture->store), ==, 0);
  assert_fails (store_snapshot_find (fixture->store, "latest", &latest, &error), error, ENOENT);
  take (fixture->store, "first", &first);
  take (fixture->store, "a/b", &second);
  g_assert_cmpstr (first.name, ==, "first");
  g_assert_cmpstr (second.name, ==, "a%2Fb");
  g_assert_cmpuint (first.epoch, >, 0);
  g_assert_cmpuint (second.epoch, >, first.epoch);
  g_assert_cmpuint (second.slot, !=, first.slot);
  g_assert_cmpint (second.taken_ns, >=, first.taken_ns);
  assert_fails (store_snapshot_take (fixture->store, "first", NULL, &error), error, EEXIST);
  assert_fails (store_snapshot_take (fixture->store, "a%2Fb", NULL, &error), error, EEXIST);

  /* Another process sees them, and so does who opens the store later. */
  reopen (fixture, STORE_READ_ONLY);
  g_autoptr (GPtrArray) list = store_snapshot_list (fixture->store, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (list->len, ==, 2);
  g_assert_cmpstr (((StoreSnapshot *)list->pdata[0])->name, ==, "first");
  g_assert_cmpuint (((StoreSnapshot *)list->pdata[1])->epoch, ==, second.epoch);
  assert_ok (store_snapshot_find (fixture->store, "latest", &latest, &error), error);
  g_assert_cmpstr (latest.name, ==, "a%2Fb");
  assert_fails (store_snapshot_take (fixture->store, "third", NULL, &error), error, EROFS);
  assert_fails (store_snapshot_drop (fixture->store, "first", &error), error, EROFS);
  assert_fails (store_snapshot_rename (fixture->store, "first", "last", &error), error, EROFS);
}

static void
test_names (Fixture *fixture, gconstpointer data)
{
  static const char *const bad[] = {"", ".", "..", ".hidden", "latest", "new"};
  g_autoptr (GError) error = NULL;
  g_auto (StoreSnapshot) made = {0}, again = {0};
  for (size_t i = 0; i < G_N_ELEMENTS (bad); i++) {
    assert_fails (store_snapshot_take (fixture->store, bad[i], NULL, &error), error, EINVAL);
    assert_fails (store_snapshot_drop (fixture->store, bad[i], &error), error, ENOENT);
  }
  g_autofree char *long_name = g_strnfill (256, 'x');
  assert_fails (store_snapshot_take (fixture->store, long_name, NULL, &error), error, ENAMETOOLONG);
  take (fixture->store, NULL, &made);
  take (fixture->store, NULL, &again);
  g_assert_true (g_regex_match_simple ("^[0-9]{8}T[0-9]{6}Z$", made.name, 0, 0));
  g_assert_cmpstr (made.name, !=, again.name);
}

static void
test_drop (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreSnapshot) first = {0}, second = {0};
  take (fixture->store, "first", &first);
  assert_ok (store_snapshot_rename (fixture->store, "first", "renamed", &error), error);
  assert_fails (store_snapshot_rename (fixture->store, "first", "x", &error), error, ENOENT);
  assert_fails (store_snapshot_drop (fixture->store, "first", &error), error, ENOENT);
  take (fixture->store, "other", NULL);
  assert_fails (store_snapshot_rename (fixture->store, "renamed", "other", &error), error, EEXIST);
  assert_fails (store_snapshot_rename (fixture->store, "renamed", "new", &error), error, EINVAL);
  assert_ok (store_snapshot_drop (fixture->store, "renamed", &error), error);
  run_in (fixture, "mkdir history && touch history/5", "");
  assert_ok (store_snapshot_drop (fixture->store, "other", &error), error);
  run_in (fixture,
          "test ! -e history && test -z \"$(find snapshots -mindepth 1; find tmp -mindepth 2)\"",
          "");
  g_assert_cmpuint (count (fixture->store), ==, 0);
  take (fixture->store, "second", &second);
  g_assert_cmpuint (second.slot, !=, first.slot);
}

static void
test_many (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  bool slots[STORE_SNAPSHOTS_MAX + 1] = {false};
  for (int i = 0; i < STORE_SNAPSHOTS_MAX; i++) {
    g_auto (StoreSnapshot) snapshot = {0};
    g_autofree char *name = g_strdup_printf ("snapshot %d", i);
    take (fixture->store, name, &snapshot);
    g_assert_false (slots[snapshot.slot]);
    slots[snapshot.slot] = true;
  }
  assert_fails (store_snapshot_take (fixture->store, "more", NULL, &error), error, ENOSPC);
  assert_ok (store_snapshot_drop (fixture->store, "snapshot 100", &error), error);
  take (fixture->store, "more", NULL);
  g_assert_cmpuint (count (fixture->store), ==, STORE_SNAPSHOTS_MAX);
}

/* What makes no sense neither goes away nor lets anything be taken for unneeded. */
static void
test_damaged (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreSnapshot) found = {0};
  g_auto (Epoch) epoch = EPOCH_NONE;
  take (fixture->store, "good", NULL);
  run_in (fixture, "cp snapshots/good snapshots/copied && echo rubbish > snapshots/bad", "");
  run_in (fixture, "ln -s good snapshots/link && mkdir snapshots/directory", "");
  run_in (fixture, "echo half > snapshots/.new", "");
  g_autoptr (GPtrArray) list = store_snapshot_list (fixture->store, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (list->len, ==, 3);
  assert_ok (store_snapshot_find (fixture->store, "latest", &found, &error), error);
  g_assert_cmpuint (found.epoch, >, 0);
  store_snapshot_clear (&found);
  assert_fails (store_snapshot_find (fixture->store, "bad", &found, &error), error, EBADMSG);
  assert_ok (epoch_enter (fixture->store, &epoch, &error), error);
  g_assert_true (epoch.snapshots->doubtful);
  g_assert_cmpuint (epoch.newest, ==, epoch.epoch - 1);
  epoch_leave (&epoch);
  assert_ok (store_snapshot_drop (fixture->store, "bad", &error), error);
  assert_ok (store_snapshot_drop (fixture->store, "copied", &error), error);
  assert_ok (epoch_enter (fixture->store, &epoch, &error), error);
  g_assert_false (epoch.snapshots->doubtful);
}

/* Where nobody can tell which snapshots there are, all is kept, and mail is delivered. */
static void
test_unreadable (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (Epoch) epoch = EPOCH_NONE;
  run_in (fixture, "ln -s /tmp snapshots", "");
  assert_fails (store_snapshot_take (fixture->store, "x", NULL, &error), error, ELOOP);
  assert_fails (store_snapshot_list (fixture->store, &error) != NULL, error, ELOOP);
  assert_ok (epoch_enter (fixture->store, &epoch, &error), error);
  g_assert_true (epoch.snapshots->doubtful);
  g_assert_cmpuint (epoch.newest, >, 0);
  epoch_leave (&epoch);
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_assert_cmpuint (deliver (inbox, "one", 0, NULL), ==, 1);
}

/* An epoch never falls, whatever happened to the store's attribute or the clock. */
static void
test_epoch (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreSnapshot) first = {0}, second = {0};
  g_auto (Epoch) epoch = EPOCH_NONE;
  assert_ok (epoch_enter (fixture->store, &epoch, &error), error);
  g_assert_cmpuint (epoch.newest, ==, 0);
  epoch_leave (&epoch);
  take (fixture->store, "first", &first);
  assert_ok (epoch_enter (fixture->store, &epoch, &error), error);
  g_assert_cmpuint (epoch.epoch, ==, first.epoch + 1);
  g_assert_cmpuint (epoch.newest, ==, first.epoch);
  g_assert_cmpuint (epoch_of_time (&epoch, first.taken_ns - 1), ==, first.epoch);
  g_assert_cmpuint (epoch_of_time (&epoch, first.taken_ns + 1), ==, epoch.epoch);
  assert_ok (epoch_raise (&epoch, epoch.epoch + 1000, &error), error);
  assert_ok (epoch_raise (&epoch, UINT32_MAX, &error), error);
  epoch_leave (&epoch);
  take (fixture->store, "second", &second);
  g_assert_cmpuint (second.epoch, ==, first.epoch + 1001);
  run_in (fixture, "setfattr -x user.mailfs.store mail", "");
  assert_ok (epoch_enter (fixture->store, &epoch, &error), error);
  g_assert_cmpuint (epoch.epoch, ==, second.epoch + 1);
}

/* Numbers that were given out before are in a snapshot, those that come later are not. */
static void
test_numbers (Fixture *fixture, gconstpointer data)
{
  g_auto (StoreSnapshot) snapshot = {0};
  g_autoptr (StoreMailbox) before = open_named (fixture->store, "joe@example.com/INBOX");
  run_in (fixture, "setfattr -x user.mailfs.store mail", "");
  take (fixture->store, "s", &snapshot);
  g_autoptr (StoreMailbox) after = open_named (fixture->store, "joe@example.com/Later");
  g_assert_cmpuint (before->number, <, snapshot.next_number);
  g_assert_cmpuint (after->number, >=, snapshot.next_number);
}

/* How many problems of a kind check leaves. */
static guint
problems (Store *store, StoreProblem problem)
{
  g_autoptr (StoreJob) job = run_job (store, "check");
  guint found = 0;
  const GPtrArray *findings = store_job_findings (job);
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    found += finding->problem == problem && finding->outcome == STORE_LEFT;
  }
  return found;
}

static void
test_check (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  take (fixture->store, "good", NULL);
  g_assert_cmpuint (deliver (inbox, "one", 0, NULL), ==, 1);
  g_autofree char *kept = g_strdup_printf ("test -s history/%u", inbox->number);
  run_in (fixture, kept, "");
  g_assert_cmpuint (problems (fixture->store, STORE_PROBLEM_BAD_SNAPSHOT), ==, 0);
  g_assert_cmpuint (problems (fixture->store, STORE_PROBLEM_STRAY), ==, 0);
  run_in (fixture, "mkdir snapshots/d && ln -s good snapshots/l && cp snapshots/good snapshots/new",
          "");
  run_in (fixture, "echo > history/x && ln -s x history/tree", "");
  g_assert_cmpuint (problems (fixture->store, STORE_PROBLEM_STRAY), ==, 5);
  run_in (fixture, "echo > snapshots/bad && for f in history/[0-9]*; do echo x >> $f; done", "");
  g_assert_cmpuint (problems (fixture->store, STORE_PROBLEM_BAD_SNAPSHOT), ==, 2);
  run_in (fixture, "rm -r snapshots && touch snapshots", "");
  g_assert_cmpuint (problems (fixture->store, STORE_PROBLEM_BAD_SNAPSHOT), ==, 1);
}

typedef struct {
  Store *store;
  int begun, done;
} Taker;

static gpointer
run_taker (gpointer data)
{
  Taker *taker = data;
  g_atomic_int_set (&taker->begun, 1);
  take (taker->store, "taken", NULL);
  g_atomic_int_set (&taker->done, 1);
  return NULL;
}

/* A snapshot waits for changes that have begun, and those that come then for it. */
static void
test_barrier (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (Epoch) epoch = EPOCH_NONE, later = EPOCH_NONE;
  Taker taker = {.store = fixture->store};
  assert_ok (epoch_enter (fixture->store, &epoch, &error), error);
  GThread *thread = g_thread_new ("take", run_taker, &taker);
  g_autofree char *gate = g_build_filename (fixture->path, "snapshots", NULL);
  /* Until it waits with the gate closed. */
  for (int fd = -1, closed = 0; !closed;) {
    fd = open (gate, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    closed = fd >= 0 && flock (fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    store_close_fd (&fd);
    g_thread_yield ();
  }
  g_assert_cmpint (g_atomic_int_get (&taker.done), ==, 0);
  uint32_t before = epoch.epoch;
  epoch_leave (&epoch);
  assert_ok (epoch_enter (fixture->store, &later, &error), error);
  g_assert_cmpuint (later.epoch, >, before);
  g_assert_cmpuint (later.newest, ==, later.epoch - 1);
  g_thread_join (thread);
}

static gpointer
run_renamer (gpointer data)
{
  Taker *renamer = data;
  for (int i = 0; i < 500; i++) {
    g_autoptr (GError) error = NULL;
    const char *const names[] = {"kept", "taken"};
    assert_ok (store_snapshot_rename (renamer->store, names[i % 2], names[(i + 1) % 2], &error),
               error);
  }
  g_atomic_int_set (&renamer->done, 1);
  return NULL;
}

/* While one is given another name it is there, for those who look and for those who change mail. */
static void
test_rename_beside (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  take (fixture->store, "older", NULL);
  take (fixture->store, "kept", NULL);
  g_autoptr (Store) beside = store_open (fixture->path, 0, &error);
  g_assert_no_error (error);
  Taker renamer = {.store = beside};
  GThread *thread = g_thread_new ("rename", run_renamer, &renamer);
  while (!g_atomic_int_get (&renamer.done)) {
    g_autoptr (GPtrArray) list = store_snapshot_list (fixture->store, &error);
    g_assert_no_error (error);
    g_assert_cmpuint (list->len, ==, 2);
    g_auto (Epoch) epoch = EPOCH_NONE;
    assert_ok (epoch_enter (fixture->store, &epoch, &error), error);
    g_assert_cmpuint (epoch.snapshots->snapshots->len, ==, 2);
    g_assert_false (epoch.snapshots->doubtful);
  }
  g_thread_join (thread);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define TEST(name, function)                                                                       \
  g_test_add ("/snapshot/" name, Fixture, NULL, set_up, function, tear_down)
  TEST ("take", test_take);
  TEST ("names", test_names);
  TEST ("drop", test_drop);
  TEST ("many", test_many);
  TEST ("damaged", test_damaged);
  TEST ("unreadable", test_unreadable);
  TEST ("epoch", test_epoch);
  TEST ("numbers", test_numbers);
  TEST ("check", test_check);
  TEST ("barrier", test_barrier);
  TEST ("rename-beside", test_rename_beside);
  return g_test_run ();
}
