/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept open, and the locks: files and directories that change under a running process. */
#include "tests/unit/test-store.h"

#include <sys/resource.h>

/* A second import into a user is refused; one that died, or was swept away, hinders nobody. */
static void
test_import_lock (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "ann@example.com");
  auto_fd first = lock_task (fixture->store, inbox->owner, LOCK_IMPORT, &error);
  g_assert_no_error (error);
  assert_fails (lock_task (fixture->store, inbox->owner, LOCK_IMPORT, &error) >= 0, error, EBUSY);
  auto_fd another = lock_task (fixture->store, other->owner, LOCK_IMPORT, &error);
  g_assert_no_error (error);
  /* Opening a second store sweeps tmp/: a lock that is held survives it. */
  g_autoptr (Store) second = store_open (fixture->path, 0, &error);
  g_assert_cmpint (layout_tmp (second, &error), >=, 0);
  assert_fails (lock_task (second, inbox->owner, LOCK_IMPORT, &error) >= 0, error, EBUSY);
  store_close_fd (&first);
  first = lock_task (second, inbox->owner, LOCK_IMPORT, &error);
  g_assert_no_error (error);
  g_assert_cmpint (first, >=, 0);
}

/* ---- the mailbox list ---------------------------------------------------------------------- */

static void
assert_number (Store *store, const char *spelling, uint32_t number)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (store, spelling, &node, &error), error);
  g_assert_cmpuint (node.number, ==, number);
}

static bool
has_finding (StoreJob *job, StoreProblem problem)
{
  const GPtrArray *findings = store_job_findings (job);
  for (guint i = 0; i < findings->len; i++) {
    if (((const StoreFinding *)findings->pdata[i])->problem == problem)
      return true;
  }
  return false;
}

typedef struct {
  const char *path;
  int stop; /* atomic */
} Remover;

static gpointer
remove_list (gpointer data)
{
  Remover *remover = data;
  while (!g_atomic_int_get (&remover->stop)) {
    unlink (remover->path);
    g_usleep (300);
  }
  return NULL;
}

/* The list goes away all the time while mailboxes are made. What fails is tried again, as a user
 * would; with a deadlock this test ends in a timeout. */
static void
test_list_removed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autofree char *path = g_build_filename (fixture->path, "mailboxes.sqlite3", NULL);
  Remover remover = {path, 0};
  GThread *thread = g_thread_new ("remover", remove_list, &remover);
  for (int i = 0; i < 40; i++) {
    g_autofree char *name = g_strdup_printf ("joe@example.com/Box%d", i);
    g_auto (StoreNode) node = {0};
    store_mailbox_create (fixture->store, name, &node, NULL);
  }
  g_atomic_int_set (&remover.stop, 1);
  g_thread_join (thread);
  for (int i = 0; i < 40; i++) {
    g_autofree char *name = g_strdup_printf ("joe@example.com/Box%d", i);
    g_autoptr (StoreMailbox) box = open_named (fixture->store, name);
    assert_number (fixture->store, name, store_mailbox_number (box));
  }
  assert_number (fixture->store, "joe@example.com/INBOX", inbox->number);
}

/* Overwrites every page but the first, which opening looks at. */
static void
damage_pages (const Fixture *fixture)
{
  run_in (fixture,
          "pages=$(($(stat -c %s mailboxes.sqlite3) / 8192)) && test $pages -gt 1 && "
          "head -c $(((pages - 1) * 8192)) /dev/urandom | "
          "dd of=mailboxes.sqlite3 bs=8192 seek=1 conv=notrunc status=none",
          "");
}

static void
test_damaged_pages (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (GError) error = NULL;
  uint32_t number = inbox->number;
  g_clear_pointer (&inbox, store_mailbox_unref);
  g_clear_pointer (&fixture->store, store_close);
  damage_pages (fixture);
  reopen (fixture, STORE_READ_ONLY);
  assert_number (fixture->store, "joe@example.com/INBOX", number);
  StoreStatus status;
  assert_ok (store_status (fixture->store, &status, &error), error);
  g_assert_true (status.list_in_memory);
  run_in (fixture, "test -z \"$(ls | grep damaged)\"", "");

  reopen (fixture, 0);
  g_autoptr (StoreJob) check = run_job (fixture->store, "check");
  g_assert_true (has_finding (check, STORE_PROBLEM_BAD_INDEX));
  assert_number (fixture->store, "joe@example.com/INBOX", number);
  assert_clean (fixture->store);
  run_in (fixture, "test \"$(ls | grep -c damaged)\" = 1", "");

  damage_pages (fixture);
  reopen (fixture, 0);
  g_autoptr (StoreJob) list = run_job (fixture->store, "reconstruct mailbox-list");
  g_assert_true (has_finding (list, STORE_PROBLEM_BAD_INDEX));
  assert_number (fixture->store, "joe@example.com/INBOX", number);
  assert_clean (fixture->store);
  run_in (fixture, "test \"$(ls | grep -c damaged)\" = 2", "");
}

/* A list that cannot be put on disk is shown all the same; only changes are refused. */
static void
test_unwritable_list (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  uint32_t number = inbox->number;
  g_clear_pointer (&inbox, store_mailbox_unref);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm -f mailboxes.sqlite3* && chmod -R a+rX . && chmod a-w .", "");
  bool root = geteuid () == 0;
  g_assert_true (!root || seteuid (65534) == 0);
  reopen (fixture, 0);
  assert_number (fixture->store, "joe@example.com/INBOX", number);
  g_autoptr (GError) error = NULL;
  StoreStatus status;
  assert_ok (store_status (fixture->store, &status, &error), error);
  g_assert_true (status.list_in_memory);
  g_auto (StoreNode) node = {0};
  assert_fails (store_mailbox_create (fixture->store, "joe@example.com/New", &node, &error), error,
                EACCES);
  g_assert_true (!root || seteuid (0) == 0);
  run_in (fixture, "chmod u+w .", "");
}

/* ---- indexes and directories --------------------------------------------------------------- */

/* No descriptor is left for the index once: it is opened at the next use. */
static void
test_transient_failure (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  cache_drop_index (fixture->store, inbox->owner);
  g_autoptr (GError) error = NULL;
  struct rlimit limit, none;
  g_assert_cmpint (getrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &none), ==, 0);
  g_autoptr (Handle) handle = cache_index (fixture->store, inbox->owner, false, &error);
  g_assert_cmpint (setrlimit (RLIMIT_NOFILE, &limit), ==, 0);
  assert_fails (handle != NULL, error, EMFILE);
  handle = cache_index (fixture->store, inbox->owner, false, &error);
  g_assert_no_error (error);
  g_assert_nonnull (handle);
}

/* A directory that another takes the place of is noticed at the next use, by who locks it too. */
static void
test_replaced_directory (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  run_in (fixture,
          "cd mail/example.com/user && cp -a joe new && mv joe old && mv new joe && "
          "mv old ../..",
          "");
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) now = store_mailbox_open (fixture->store, inbox->number, &error);
  g_assert_no_error (error);
  g_assert_true (now != inbox);
  deliver (now, "two", 0, NULL);
  run_in (fixture, "test -e mail/example.com/user/joe/INBOX/0000000002.eml", "");
  g_assert_true (mailbox_is_current (now));
  g_assert_false (mailbox_is_current (inbox));
}

typedef struct {
  Store *store;
  uint32_t owner;
  int fd;
} Waiter;

static gpointer
wait_for_lock (gpointer data)
{
  Waiter *waiter = data;
  waiter->fd = lock_user (waiter->store, waiter->owner, NULL);
  return NULL;
}

static void
test_replaced_while_waiting (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (GError) error = NULL;
  auto_fd held = lock_user (fixture->store, inbox->owner, &error);
  g_assert_no_error (error);
  Waiter waiter = {fixture->store, inbox->owner, -1};
  GThread *thread = g_thread_new ("waiter", wait_for_lock, &waiter);
  g_usleep (100000);
  run_in (fixture, "cd mail/example.com/user && cp -a joe new && mv joe ../../old && mv new joe",
          "");
  store_close_fd (&held);
  held = -1;
  g_thread_join (thread);
  auto_fd got = waiter.fd;
  struct stat st, path;
  g_autofree char *joe = g_build_filename (fixture->path, "mail/example.com/user/joe", NULL);
  g_assert_cmpint (fstat (got, &st), ==, 0);
  g_assert_cmpint (stat (joe, &path), ==, 0);
  g_assert_cmpuint (st.st_ino, ==, path.st_ino);
}

/* ---- layout -------------------------------------------------------------------------------- */

static void
test_keep_damaged (Fixture *fixture, gconstpointer data)
{
  g_autofree char *path = g_build_filename (fixture->path, "x.sqlite3", NULL);
  g_autoptr (GError) error = NULL;
  for (int i = 0; i < 5; i++) {
    run_in (fixture, "echo x > x.sqlite3 && : > x.sqlite3-journal", "");
    assert_ok (layout_keep_damaged (path, &error), error);
  }
  run_in (fixture, "test \"$(ls | grep -c 'x.sqlite3.damaged-')\" = 5", "");
  run_in (fixture, ": > x.sqlite3-journal", "");
  assert_ok (layout_keep_damaged (path, &error), error);
  run_in (fixture, "test -z \"$(ls | grep journal)\" && test ! -e x.sqlite3", "");
  run_in (fixture, "echo x > x.sqlite3-journal", "");
  assert_ok (layout_keep_damaged (path, &error), error);
  run_in (fixture, "test \"$(ls | grep -c journal)\" = 1", "");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/cache/import-lock", test_import_lock);
  add_test ("/cache/list-removed", test_list_removed);
  add_test ("/cache/damaged-pages", test_damaged_pages);
  add_test ("/cache/unwritable-list", test_unwritable_list);
  add_test ("/cache/transient-failure", test_transient_failure);
  add_test ("/cache/replaced-directory", test_replaced_directory);
  add_test ("/cache/replaced-while-waiting", test_replaced_while_waiting);
  add_test ("/cache/keep-damaged", test_keep_damaged);
  return g_test_run ();
}
