/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and transactions. */
#include "tests/unit/test-index.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
assert_open_fails (const char *path, IndexOpenFlags flags, int code)
{
  g_autoptr (GError) error = NULL;
  g_assert_null (index_open (path, flags, &error));
  g_assert_error (error, MAILFS_ERROR, code);
  g_assert_nonnull (strstr (error->message, path));
}

static int
compare_lines (const void *one, const void *other)
{
  return strcmp (*(char *const *)one, *(char *const *)other);
}

/* Names and contents of all that is in the directory. */
static char *
digest_directory (Fixture *fixture)
{
  g_autoptr (GDir) directory = g_dir_open (fixture->directory, 0, NULL);
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func (g_free);
  for (const char *name; (name = g_dir_read_name (directory)) != NULL;) {
    g_autofree char *path = g_build_filename (fixture->directory, name, NULL);
    g_autofree char *content = NULL;
    size_t size = 0;
    struct stat status;
    g_assert_cmpint (lstat (path, &status), ==, 0);
    g_file_get_contents (path, &content, &size, NULL);
    g_autofree char *sum =
        g_compute_checksum_for_data (G_CHECKSUM_SHA256, (const guchar *)content, size);
    g_ptr_array_add (lines, g_strdup_printf ("%s %s %ld.%09ld", name, sum, status.st_mtim.tv_sec,
                                             status.st_mtim.tv_nsec));
  }
  g_ptr_array_sort (lines, compare_lines);
  g_ptr_array_add (lines, NULL);
  return g_strjoinv ("\n", (char **)lines->pdata);
}

/* ---- opening ------------------------------------------------------------------------------- */

static void
test_create (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  assert_open_fails (fixture->path, 0, ENOENT);
  assert_open_fails (fixture->path, INDEX_CREATE | INDEX_READ_ONLY, ENOENT);
  index_close (open_filled_index (fixture, 1, 3));
  struct stat status;
  g_assert_cmpint (lstat (fixture->path, &status), ==, 0);
  g_assert_cmpuint (status.st_mode & 0027, ==, 0); /* others read no mail here */

  g_autoptr (Index) again = index_open (fixture->path, 0, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (get_mailbox (again, 1).messages, ==, 3);
  g_autoptr (Index) twice = open_index (fixture);
  g_assert_cmpuint (get_mailbox (twice, 1).messages, ==, 3);
}

static void
test_refused_paths (Fixture *fixture, const void *data)
{
  g_autofree char *missing = g_build_filename (fixture->directory, "none", "a.sqlite3", NULL);
  assert_open_fails (missing, INDEX_CREATE, ENOENT);
  assert_open_fails ("relative.sqlite3", INDEX_CREATE, EINVAL);
  assert_open_fails ("file:/tmp/uri.sqlite3?mode=memory", INDEX_CREATE, EINVAL);

  g_assert_cmpint (mkfifo (fixture->path, 0600), ==, 0);
  assert_open_fails (fixture->path, INDEX_CREATE, EUCLEAN);
  g_remove (fixture->path);
  g_assert_cmpint (g_mkdir (fixture->path, 0700), ==, 0);
  assert_open_fails (fixture->path, INDEX_CREATE, EISDIR);
  assert_open_fails (fixture->path, INDEX_READ_ONLY, EISDIR);
  g_rmdir (fixture->path);

  g_autofree char *target = g_build_filename (fixture->directory, "target", NULL);
  g_assert_cmpint (symlink (target, fixture->path), ==, 0);
  assert_open_fails (fixture->path, INDEX_CREATE, ELOOP);
  g_assert_false (g_file_test (target, G_FILE_TEST_EXISTS));
  g_remove (fixture->path);
  g_autofree char *below = g_build_filename (fixture->directory, "link", "a.sqlite3", NULL);
  g_autofree char *link = g_path_get_dirname (below);
  g_assert_cmpint (symlink (fixture->directory, link), ==, 0);
  assert_open_fails (below, INDEX_CREATE, ELOOP);
}

/* A path is a path, whatever characters are in it. */
static void
test_odd_names (Fixture *fixture, const void *data)
{
  const char *names[] = {"a b", "a%41?mode=memory", "a#b", "file:c", "\xc3\xa4'\"", "d.sqlite3-x"};
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (GError) error = NULL;
    g_autofree char *path = g_build_filename (fixture->directory, names[i], NULL);
    g_autoptr (Index) index = index_open (path, INDEX_CREATE, &error);
    g_assert_no_error (error);
    g_assert_true (g_file_test (path, G_FILE_TEST_IS_REGULAR));
    g_assert_true (index_is_current (index));
  }
}

/* SQLite takes 504 bytes. One more is refused before anything is made. */
static void
test_long_path (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *name = g_strnfill (250, 'x');
  g_autofree char *directory = g_build_filename (fixture->directory, name, NULL);
  g_autofree char *rest = g_strnfill (504 - strlen (directory) - 1, 'y');
  g_autofree char *longest = g_build_filename (directory, rest, NULL);
  g_autofree char *longer = g_strconcat (longest, "y", NULL);
  g_autofree char *journal = g_strconcat (longest, "-journal", NULL);
  g_assert_cmpint (g_mkdir (directory, 0700), ==, 0);
  assert_open_fails (longer, INDEX_CREATE, ENAMETOOLONG);
  g_assert_false (g_file_test (longer, G_FILE_TEST_EXISTS));

  g_autoptr (Index) index = index_open (longest, INDEX_CREATE, &error);
  g_assert_no_error (error);
  {
    g_autoptr (IndexWrite) write = begin (index);
    put_mailbox (write, 1);
    commit (write);
  }
  g_remove (longest);
  g_remove (journal);
  g_rmdir (directory);
}

static void
test_read_only (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  index_close (open_filled_index (fixture, 1, 100));
  g_autofree char *before = digest_directory (fixture);
  {
    g_autoptr (Index) index = index_open (fixture->path, INDEX_READ_ONLY | INDEX_CREATE, &error);
    g_assert_no_error (error);
    g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 100);
    g_assert_true (index_verify (index, &error));
    g_assert_null (index_write_begin (index, &error));
    g_assert_error (error, MAILFS_ERROR, EROFS);
    g_autofree char *during = digest_directory (fixture);
    g_assert_cmpstr (during, ==, before);
  }
  g_autofree char *after = digest_directory (fixture);
  g_assert_cmpstr (after, ==, before);
}

/* A read-only open leaves alone what SQLite would mend, convert or remove. */
static void
test_read_only_changes_nothing (Fixture *fixture, const void *data)
{
  g_autofree char *journal = g_strconcat (fixture->path, "-journal", NULL);
  g_autofree char *log = g_strconcat (fixture->path, "-wal", NULL);
  for (int with_tables = 0; with_tables < 2; with_tables++) {
    if (with_tables)
      index_close (open_filled_index (fixture, 1, 100));
    else
      g_file_set_contents (fixture->path, "", 0, NULL);
    g_file_set_contents (log, "not a log", -1, NULL);
    g_autofree char *before = digest_directory (fixture);
    assert_open_fails (fixture->path, INDEX_READ_ONLY, EUCLEAN);
    g_autofree char *after = digest_directory (fixture);
    g_assert_cmpstr (after, ==, before);
    g_remove (log);
  }
  g_file_set_contents (fixture->path, "", 0, NULL);
  g_file_set_contents (journal, "not a journal", -1, NULL);
  g_autofree char *before = digest_directory (fixture);
  assert_open_fails (fixture->path, INDEX_READ_ONLY, ENOENT);
  assert_open_fails (fixture->path, 0, ENOENT);
  g_autofree char *after = digest_directory (fixture);
  g_assert_cmpstr (after, ==, before);
}

/* Leaves database and journal as they are in the middle of a commit. */
static void
make_hot_journal (Fixture *fixture)
{
  index_close (open_filled_index (fixture, 1, 500));
  g_autofree char *journal = g_strconcat (fixture->path, "-journal", NULL);
  sqlite3 *handle;
  g_assert_cmpint (sqlite3_open (fixture->path, &handle), ==, SQLITE_OK);
  const char *sql = "PRAGMA cache_size = 2; PRAGMA cache_spill = 1; BEGIN;"
                    "UPDATE message SET flags = 31; UPDATE summary SET envelope = 'torn'";
  g_assert_cmpint (sqlite3_exec (handle, sql, NULL, NULL, NULL), ==, SQLITE_OK);
  char *contents[2];
  size_t sizes[2];
  g_assert_true (g_file_get_contents (fixture->path, &contents[0], &sizes[0], NULL));
  g_assert_true (g_file_get_contents (journal, &contents[1], &sizes[1], NULL));
  sqlite3_close (handle);
  g_assert_true (g_file_set_contents (fixture->path, contents[0], (gssize)sizes[0], NULL));
  g_assert_true (g_file_set_contents (journal, contents[1], (gssize)sizes[1], NULL));
  g_free (contents[0]);
  g_free (contents[1]);
}

static void
test_hot_journal (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  make_hot_journal (fixture);
  g_autofree char *before = digest_directory (fixture);
  assert_open_fails (fixture->path, INDEX_READ_ONLY, EROFS);
  g_autofree char *after = digest_directory (fixture);
  g_assert_cmpstr (after, ==, before);

  g_autoptr (Index) index = index_open (fixture->path, 0, &error);
  g_assert_no_error (error);
  g_assert_true (index_verify (index, &error));
  g_auto (IndexSummary) summary = {0};
  bool found = false;
  g_assert_true (index_summary_get (index, 1, 1, &summary, &found, &error));
  g_assert_true (found);
  g_assert_cmpstr (summary.envelope, !=, "torn");
}

/* What a database that is gone left behind is not applied to the next one. */
static void
test_left_journal (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  make_hot_journal (fixture);
  g_assert_cmpint (g_remove (fixture->path), ==, 0);
  g_autoptr (Index) index = open_filled_index (fixture, 2, 5);
  g_autoptr (GArray) numbers = index_mailbox_numbers (index, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (numbers->len, ==, 1);
  g_assert_true (index_verify (index, &error));
}

static void
test_is_current (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 1);
  g_assert_true (index_is_current (index));
  g_autofree char *aside = g_strconcat (fixture->path, ".aside", NULL);
  g_assert_cmpint (g_rename (fixture->path, aside), ==, 0);
  g_assert_false (index_is_current (index));
  g_assert_null (index_write_begin (index, &error));
  g_assert_error (error, MAILFS_ERROR, ESTALE);
  g_clear_error (&error);

  g_autoptr (Index) other = open_index (fixture);
  g_assert_false (index_is_current (index));
  g_assert_true (index_is_current (other));
  g_assert_null (index_write_begin (index, &error));
  g_assert_error (error, MAILFS_ERROR, ESTALE);
  g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 1); /* what is open can still be read */

  g_assert_cmpint (g_rename (aside, fixture->path), ==, 0);
  g_assert_true (index_is_current (index));
  index_write_free (begin (index));
}

/* ---- transactions -------------------------------------------------------------------------- */

static void
test_rollback_on_free (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 10);
  {
    g_autoptr (IndexWrite) write = begin (index);
    IndexMessage message = make_message (11), inside = {0};
    bool found = false;
    put_mailbox (write, 2);
    put_message (write, 1, &message);
    g_assert_true (index_write_remove_message (write, 1, 1, false, &error));
    g_assert_true (index_write_get_message (write, 1, 11, &inside, &found, &error));
    g_assert_true (found);
    g_assert_true (index_message_get (index, 1, 11, &inside, &found, &error));
    g_assert_false (found); /* readers see nothing of it yet */
    g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 10);
  }
  IndexMessage message;
  bool found = true;
  g_assert_true (index_message_get (index, 1, 11, &message, &found, &error));
  g_assert_false (found);
  g_assert_true (index_message_get (index, 1, 1, &message, &found, &error));
  g_assert_true (found);
  IndexMailbox mailbox;
  g_assert_true (index_mailbox_get (index, 2, &mailbox, &found, &error));
  g_assert_false (found);
}

/* A change that failed half way takes its whole transaction with it. */
static void
test_failed_change (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 1);
  {
    g_autoptr (IndexWrite) write = begin (index);
    IndexMessage message = make_message (2);
    g_assert_false (index_write_message (write, 1, &message, &(IndexSummary){0}, &error));
    g_assert_error (error, MAILFS_ERROR, EINVAL); /* a summary without texts */
    g_assert_nonnull (strstr (error->message, fixture->path));
    g_clear_error (&error);
    g_assert_false (index_write_message (write, 1, &message, NULL, &error));
    g_assert_error (error, MAILFS_ERROR, EINVAL);
    g_clear_error (&error);
    g_assert_false (index_write_commit (write, &error));
    g_assert_error (error, MAILFS_ERROR, EINVAL);
  }
  g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 1);
  g_autoptr (IndexWrite) write = begin (index);
  IndexMessage message = make_message (2);
  put_message (write, 1, &message);
  commit (write);
  g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 2);
}

/* However much a transaction holds, readers go on until it commits. */
static void
test_large_transaction (Fixture *fixture, const void *data)
{
  g_autoptr (Index) index = open_filled_index (fixture, 1, 10);
  set_patience (index, 0);
  g_autoptr (IndexWrite) write = begin (index);
  for (uint32_t uid = 11; uid <= 20000; uid++) {
    IndexMessage message = make_message (uid);
    put_message (write, 1, &message);
  }
  g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 10);
  commit (write);
  g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 20000);
}

/* Whatever was called, nobody is kept from the whole database afterwards. */
static void
test_no_lock_stays (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 100);
  IndexMessage page[10];
  IndexMailbox mailbox;
  IndexSummary summary;
  size_t count;
  uint32_t version;
  bool found;
  g_assert_true (index_message_page (index, 1, 0, INDEX_LIVE, page, 10, &count, &error));
  g_assert_true (index_mailbox_get (index, 1, &mailbox, &found, &error));
  g_assert_true (index_summary_get (index, 1, 1, &summary, &found, &error));
  index_summary_clear (&summary);
  g_assert_true (index_totals (index, &mailbox, &error));
  g_assert_true (index_data_version (index, &version, &error));
  g_assert_true (index_verify (index, &error));
  index_write_free (begin (index));
  IndexRead *read = index_read_begin (index, &error);
  g_assert_true (index_totals (read, &mailbox, &error));
  index_read_end (read);

  pid_t child = fork ();
  if (child == 0) {
    sqlite3 *handle;
    sqlite3_open (fixture->path, &handle);
    _exit (sqlite3_exec (handle, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK ? 0 : 1);
  }
  int status;
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/index/db/create", test_create);
  add_test ("/index/db/refused-paths", test_refused_paths);
  add_test ("/index/db/odd-names", test_odd_names);
  add_test ("/index/db/long-path", test_long_path);
  add_test ("/index/db/read-only", test_read_only);
  add_test ("/index/db/read-only-changes-nothing", test_read_only_changes_nothing);
  add_test ("/index/db/hot-journal", test_hot_journal);
  add_test ("/index/db/left-journal", test_left_journal);
  add_test ("/index/db/is-current", test_is_current);
  add_test ("/index/db/rollback-on-free", test_rollback_on_free);
  add_test ("/index/db/failed-change", test_failed_change);
  add_test ("/index/db/large-transaction", test_large_transaction);
  add_test ("/index/db/no-lock-stays", test_no_lock_stays);
  return g_test_run ();
}
