/* SPDX-License-Identifier: Apache-2.0 */
/* What purge takes, what it must not touch, and the quarantine. */
#include "test-store.h"

#define JOE       "joe@example.com/INBOX"
#define DIRECTORY "mail/example.com/user/joe/INBOX"

static StoreMailbox *
fill (Store *store, const char *name, uint32_t count)
{
  StoreMailbox *mailbox = open_named (store, name);
  for (uint32_t uid = 1; uid <= count; uid++) {
    g_autofree char *subject = g_strdup_printf ("message %u", uid);
    deliver (mailbox, subject, 0, NULL);
  }
  return mailbox;
}

/* What a command found, one a line. */
static char *
told (Store *store, const char *words)
{
  g_autoptr (StoreJob) job = run_job (store, words);
  const GPtrArray *findings = store_job_findings (job);
  GString *text = g_string_new (NULL);
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    g_string_append_printf (text, "%d %s %s %" G_GUINT64_FORMAT "\n", finding->outcome,
                            store_problem_name (finding->problem), finding->object, finding->size);
  }
  return g_string_free (text, FALSE);
}

static void
assert_told (Store *store, const char *words, const char *expected)
{
  g_autofree char *text = told (store, words);
  g_assert_cmpstr (text, ==, expected);
}

/* All files below mail/ and quarantine/, with their bytes. */
static char *
files (const Fixture *fixture)
{
  g_autofree char *command = g_strdup_printf (
      "cd '%s' && find mail quarantine -type f -exec sha256sum {} + | sort -k 2", fixture->path);
  char *output = NULL;
  char *arguments[] = {(char *)"/bin/sh", (char *)"-c", command, NULL};
  g_autoptr (GError) error = NULL;
  assert_ok (g_spawn_sync (NULL, arguments, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, NULL, NULL,
                           &error),
             error);
  return output;
}

/* The disaster of another system: an index that is fresh and empty, and then a purge of everything
 * that is not in it. Not one message is lost, however the index came to be incomplete. */
static void
test_empty_index (Fixture *fixture, gconstpointer data)
{
  static const char *const ways[] = {
      ":",
      "rm -r index",
      "rm index/example.com/user/joe.sqlite3",
      "printf 'no database' | dd of=index/example.com/user/joe.sqlite3 conv=notrunc status=none",
      "rm " DIRECTORY "/0000000003.eml",
      "sqlite3 index/example.com/user/joe.sqlite3 'DELETE FROM mailbox'",
  };
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, JOE, 5);
  g_autoptr (StoreMailbox) other = fill (fixture->store, "joe@example.com/Other", 5);
  run_in (fixture, "echo stray >" DIRECTORY "/stray", "");
  for (size_t i = 0; i < G_N_ELEMENTS (ways); i++) {
    store_job_free (run_job (fixture->store, "reconstruct"));
    if (i == 0)
      store_job_free (run_job (fixture->store, "reset joe@example.com"));
    run_in (fixture, ways[i], "");
    g_autofree char *before = files (fixture);
    StoreResult result;
    g_autoptr (StoreJob) job = run_job (fixture->store, "purge age=0");
    store_job_result (job, &result);
    for (guint k = 0; k < store_job_findings (job)->len; k++)
      g_test_message ("%s: %s", ways[i],
                      ((StoreFinding *)store_job_findings (job)->pdata[k])->object);
    g_assert_cmpuint (result.taken, ==, 0);
    g_assert_cmpuint (result.left, >, 0);
    const StoreFinding *finding = store_job_findings (job)->pdata[0];
    g_assert_nonnull (strstr (finding->object, "example.com/user/joe"));
    g_assert_nonnull (strstr (finding->detail, "nothing of this user is purged: "));
    g_autofree char *after = files (fixture);
    g_assert_cmpstr (after, ==, before);
  }
}

/* While somebody rebuilds the index nothing is purged; and the other way round one waits. */
static void
test_locked_out (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, JOE, 1);
  g_autoptr (StoreMailbox) jane = fill (fixture->store, "jane@example.com/INBOX", 1);
  run_in (fixture, "touch " DIRECTORY "/stray mail/example.com/user/jane/INBOX/stray", "");
  store_job_free (run_job (fixture->store, "reconstruct"));
  {
    auto_fd rebuild = lock_task (fixture->store, inbox->owner, LOCK_REBUILD, &error);
    auto_fd another = lock_task (fixture->store, inbox->owner, LOCK_REBUILD, &error);
    g_assert_no_error (error);
    assert_told (fixture->store, "purge age=0",
                 "2 stray example.com/user/jane/INBOX/stray 0\n0 busy example.com/user/joe 0\n");
  }
  auto_fd purge = lock_task (fixture->store, inbox->owner, LOCK_PURGE, &error);
  g_assert_no_error (error);
  assert_fails (lock_task (fixture->store, inbox->owner, LOCK_PURGE, &error) >= 0, error, EBUSY);
  auto_fd import = lock_task (fixture->store, inbox->owner, LOCK_IMPORT, &error);
  g_assert_no_error (error);
}

/* Files that belong nowhere go to quarantine, those that are old enough, and from there for good.
 */
static void
test_strays (Fixture *fixture, gconstpointer data)
{
  static const char expected[] = "2 stray example.com/user/joe/INBOX/note.txt 5\n"
                                 "2 stray example.com/user/joe/INBOX/.expunged/old 4\n"
                                 "2 stray example.com/user/joe/junk 3\n"
                                 "2 stray top 0\n"
                                 "2 stray example.com/domain 0\n";
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, JOE, 3);
  static const uint32_t uid = 2;
  assert_ok (store_mailbox_expunge (inbox, &uid, 1, &error), error);
  run_in (fixture,
          "cd mail && touch top example.com/domain && cd example.com/user/joe && printf abc >junk "
          "&& cd INBOX && printf abcde >note.txt && printf abcd >.expunged/old && mkfifo pipe && ",
          "ln -s note.txt link && touch .hidden");
  store_job_free (run_job (fixture->store, "reconstruct"));
  g_autofree char *none = told (fixture->store, "purge");
  g_assert_cmpstr (none, ==, "");
  assert_told (fixture->store, "purge dry-run age=0", expected);
  run_in (fixture, "test -e " DIRECTORY "/note.txt", "");
  assert_told (fixture->store, "purge age=0 " JOE,
               "2 stray example.com/user/joe/INBOX/note.txt 5\n"
               "2 stray example.com/user/joe/INBOX/.expunged/old 4\n");
  g_assert_false (mailbox_is_behind (inbox));
  g_assert_cmpuint (row_of (inbox).messages, ==, 2);
  g_autofree char *rest = told (fixture->store, "purge age=0 joe@example.com");
  g_assert_nonnull (strstr (rest, "2 stray example.com/user/joe/junk 3\n"));
  run_in (fixture, "test -p " DIRECTORY "/pipe && test -h " DIRECTORY "/link && test -e " DIRECTORY,
          "/.hidden && test -e " DIRECTORY "/0000000001.eml");
}

static bool
add_path (Store *store, const StoreQuarantined *object, void *data, GError **error)
{
  g_string_append_printf (data, "%s %" G_GUINT64_FORMAT " %d\n", strchr (object->path, '/') + 1,
                          quarantine_size (store, object), object->is_directory);
  return true;
}

static char *
quarantined (Store *store)
{
  g_autoptr (GError) error = NULL;
  GString *text = g_string_new (NULL);
  assert_ok (quarantine_each (store, add_path, text, &error), error);
  return g_string_free (text, FALSE);
}

/* Out of quarantine it comes back to where it was, or not at all. */
static void
test_restore (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, JOE, 1);
  g_autoptr (StoreMailbox) old = fill (fixture->store, "joe@example.com/Old/Sub", 3);
  g_auto (StoreNode) node = {0};
  run_in (fixture, "printf abc >" DIRECTORY "/note", "");
  store_job_free (run_job (fixture->store, "reconstruct"));
  g_autofree char *shown = dump (old);
  assert_ok (store_node_resolve (fixture->store, "joe@example.com/Old", &node, &error), error);
  assert_ok (store_mailbox_remove (fixture->store, node.number, true, NULL, &error), error);
  g_autofree char *taken = told (fixture->store, "purge age=1h");
  g_assert_cmpstr (taken, ==, "");
  g_autoptr (GPtrArray) objects = store_quarantine_list (fixture->store, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (objects->len, ==, 1);
  const StoreQuarantined *object = objects->pdata[0];
  g_assert_true (g_str_has_suffix (object->path, "/example.com/user/joe/Old"));
  g_assert_true (object->is_directory);
  g_assert_cmpuint (object->size, >, 100);
  g_assert_cmpint (object->since_s, >=, g_get_real_time () / G_USEC_PER_SEC - 600);

  run_in (fixture, "mkdir mail/example.com/user/joe/Old", "");
  assert_fails (store_quarantine_restore (fixture->store, object->path, &error), error, EEXIST);
  run_in (fixture, "rmdir mail/example.com/user/joe/Old", "");
  assert_fails (store_quarantine_restore (fixture->store, "../mail/example.com", &error), error,
                ENOENT);
  assert_ok (store_quarantine_restore (fixture->store, object->path, &error), error);
  store_job_free (run_job (fixture->store, "reconstruct"));
  g_auto (StoreNode) again = {0};
  assert_ok (store_node_resolve (fixture->store, "joe@example.com/Old/Sub", &again, &error), error);
  g_assert_cmpuint (again.number, ==, old->number);
  g_autoptr (StoreMailbox) back = store_mailbox_open (fixture->store, again.number, &error);
  g_assert_no_error (error);
  g_autofree char *now = dump (back);
  g_assert_cmpstr (now, ==, shown);
  g_autofree char *empty = quarantined (fixture->store);
  g_assert_cmpstr (empty, ==, "");
  run_in (fixture, "test -z \"$(ls quarantine)\"", "");

  g_autofree char *stray = told (fixture->store, "purge age=0 " JOE);
  g_assert_cmpstr (stray, ==, "2 stray example.com/user/joe/INBOX/note 3\n");
  g_autofree char *held = quarantined (fixture->store);
  g_assert_cmpstr (held, ==, "example.com/user/joe/INBOX/note 3 0\n");
  g_autoptr (GPtrArray) list = store_quarantine_list (fixture->store, &error);
  const StoreQuarantined *note = list->pdata[0];
  g_autofree char *stamp = g_strndup (note->path, strcspn (note->path, "/"));
  assert_ok (store_quarantine_restore (fixture->store, stamp, &error), error);
  run_in (fixture, "test $(cat " DIRECTORY "/note) = abc", "");
  assert_fails (store_quarantine_remove (fixture->store, stamp, &error), error, ENOENT);
}

/* Records are dropped when they are many, by number and by share; then the index is smaller, has
 * all that it had, and readers who have the old one open do not mind. */
static void
test_records (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  run_in (fixture, "printf '[purge]\\npercentage=60\\ncount=4\\n' >>mailfs.conf", "");
  reopen (fixture, 0);
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, JOE, 8);
  for (uint32_t uid = 1; uid <= 4; uid++)
    assert_ok (store_mailbox_expunge (inbox, &uid, 1, &error), error);
  store_job_free (run_job (fixture->store, "cleanup age=0"));
  assert_told (fixture->store, "purge", "");
  uint32_t more[] = {5};
  assert_ok (store_mailbox_expunge (inbox, more, 1, &error), error);
  store_job_free (run_job (fixture->store, "cleanup age=0"));
  g_assert_cmpuint (row_of (inbox).removed, ==, 5);
  assert_told (fixture->store, "purge dry-run", "2 records example.com/user/joe/INBOX 0\n");
  g_assert_cmpuint (row_of (inbox).removed, ==, 5);
  g_autoptr (Handle) open = cache_index (fixture->store, inbox->owner, false, &error);
  g_autofree char *before = dump (inbox);
  assert_told (fixture->store, "purge", "2 records example.com/user/joe/INBOX 0\n");
  g_autofree char *after = dump (inbox);
  g_assert_cmpstr (after, ==, before);
  g_assert_cmpuint (row_of (inbox).removed, ==, 0);
  IndexMailbox totals;
  assert_ok (index_totals (open->index, &totals, &error), error);
  g_assert_cmpuint (totals.messages, ==, 3);
  g_assert_false (index_is_current (open->index));
  g_assert_cmpuint (deliver (inbox, "new", 0, NULL), ==, 9);
  assert_clean (fixture->store);
  run_in (fixture, "test -z \"$(find index -name '.compact*')\"", "");
}

/* What lies in quarantine long enough goes for good, but not what belongs to somebody whose index
 * is not whole. */
static void
test_quarantined (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = fill (fixture->store, JOE, 1);
  g_autoptr (StoreMailbox) jane = fill (fixture->store, "jane@example.com/INBOX", 1);
  run_in (fixture,
          "cd quarantine && mkdir -p 20200102T030405Z-0011aabb/example.com/user/joe/INBOX "
          "20200102T030405Z-0011aabb/example.com/user/jane other && cd 2020* && "
          "printf abcd >example.com/user/joe/INBOX/x && printf ab >example.com/user/jane/y && ",
          "printf a >example.com/z");
  store_job_free (run_job (fixture->store, "reset jane@example.com"));
  /* However long an age is asked for: the setting counts. */
  g_autofree char *text = told (fixture->store, "purge age=5200w joe@example.com");
  g_assert_cmpstr (
      text, ==,
      "2 quarantined ../quarantine/20200102T030405Z-0011aabb/example.com/user/joe/INBOX/x 4\n");
  g_autofree char *all = told (fixture->store, "purge");
  g_assert_nonnull (strstr (all, "20200102T030405Z-0011aabb/example.com/z 1\n"));
  g_autofree char *left = quarantined (fixture->store);
  g_assert_cmpstr (left, ==, "example.com/user/jane/y 2 0\n");
  store_job_free (run_job (fixture->store, "reconstruct"));
  store_job_free (run_job (fixture->store, "purge"));
  run_in (fixture, "test \"$(ls quarantine)\" = other", "");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/purge/empty-index", test_empty_index);
  add_test ("/purge/locked-out", test_locked_out);
  add_test ("/purge/strays", test_strays);
  add_test ("/purge/restore", test_restore);
  add_test ("/purge/records", test_records);
  add_test ("/purge/quarantined", test_quarantined);
  return g_test_run ();
}
