/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases that we did not make, or that are not any more as we made them. Whatever their bytes
 * are: no crash, no endless loop, and errors that say which file is meant.
 */
#include "tests/unit/test-index.h"

#define PAGE_SIZE 8192

enum { MAILBOX = 3, MESSAGES = 500 };

static void
assert_clean_failure (Fixture *fixture, const GError *error)
{
  g_assert_nonnull (error);
  g_assert_true (error->domain == MAILFS_ERROR);
  g_assert_nonnull (strstr (error->message, fixture->path));
  if (error->code != EUCLEAN && error->code != EIO && error->code != EEXIST)
    g_error ("unexpected: %s", error->message);
}

static void
ignore_digest (uint32_t uid, const uint8_t sha256[32], void *user_data)
{
  uint32_t *calls = user_data;
  g_assert_cmpuint (++*calls, <, 100 * MESSAGES);
}

/* Reads all there is. A failure ends it. */
static bool
read_everything (Index *index, GError **error)
{
  IndexMailbox mailbox;
  bool found;
  uint32_t calls = 0;
  g_autoptr (GArray) numbers = index_mailbox_numbers (index, error);
  if (numbers == NULL || !index_totals (index, &mailbox, error) ||
      !index_mailbox_get (index, MAILBOX, &mailbox, &found, error) ||
      !index_digests (index, MAILBOX, ignore_digest, &calls, error))
    return false;
  for (uint32_t after = 0;;) {
    IndexMessage page[7];
    size_t count;
    if (!index_message_page (index, MAILBOX, after, INDEX_LIVE | INDEX_EXPUNGED, page, 7, &count,
                             error))
      return false;
    if (count == 0)
      return true;
    after = page[count - 1].uid;
    index_messages_clear (page, count);
    g_auto (IndexSummary) summary = {0};
    uint64_t size;
    uint8_t sha256[32];
    g_assert_cmpuint (++calls, <, 100 * MESSAGES);
    if (!index_summary_get (index, MAILBOX, after, &summary, &found, error) ||
        !index_digest_get (index, MAILBOX, after, &size, sha256, &found, error))
      return false;
    if (found)
      g_assert_cmpuint (strlen (summary.envelope) + strlen (summary.bodystructure), <, 1u << 20);
  }
}

static bool
write_something (Index *index, GError **error)
{
  g_autoptr (IndexWrite) write = index_write_begin (index, error);
  char text[] = "()";
  IndexSummary summary = {.envelope = text, .bodystructure = text};
  IndexMailbox mailbox = {.number = MAILBOX, .uidnext = 1};
  if (write == NULL || !index_write_mailbox (write, &mailbox, error))
    return false;
  for (uint32_t uid = 1; uid <= MESSAGES + 10; uid += 10) {
    IndexMessage message = make_message (uid);
    if (!index_write_message (write, MAILBOX, &message, &summary, error) ||
        !index_write_remove_message (write, MAILBOX, uid + 1, false, error))
      return false;
  }
  return index_write_commit (write, error);
}

/* Does everything there is to do with the file as it is now. Returns whether it could be opened. */
static bool
try_everything (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = index_open (fixture->path, 0, &error);
  if (index == NULL) {
    assert_clean_failure (fixture, error);
    return false;
  }
  bool (*const steps[]) (Index *, GError **) = {index_verify, read_everything, write_something,
                                                read_everything, index_verify};
  for (size_t i = 0; i < G_N_ELEMENTS (steps); i++)
    if (!steps[i](index, &error)) {
      assert_clean_failure (fixture, error);
      g_clear_error (&error);
    }
  return true;
}

static void
write_file (Fixture *fixture, const char *bytes, size_t size)
{
  g_autofree char *journal = g_strconcat (fixture->path, "-journal", NULL);
  g_remove (journal);
  g_assert_true (g_file_set_contents (fixture->path, bytes, (gssize)size, NULL));
}

static char *
make_database (Fixture *fixture, size_t *out_size)
{
  char *bytes;
  index_close (open_filled_index (fixture, MAILBOX, MESSAGES));
  g_assert_true (g_file_get_contents (fixture->path, &bytes, out_size, NULL));
  g_assert_cmpuint (*out_size, >, 4 * PAGE_SIZE);
  return bytes;
}

/* ---- bytes --------------------------------------------------------------------------------- */

/* A file that lost whole pages is noticed when it is opened, one that lost a part of its last
 * page when it is verified. */
static void
test_truncated (Fixture *fixture, const void *data)
{
  size_t size;
  g_autofree char *bytes = make_database (fixture, &size);
  for (size_t length = 2; length < size; length += 512 - length % 512) {
    write_file (fixture, bytes, length);
    g_autoptr (GError) error = NULL;
    g_autoptr (Index) index = index_open (fixture->path, INDEX_CREATE, &error);
    g_assert_true (index == NULL || length > size - PAGE_SIZE);
    if (index != NULL)
      g_assert_false (index_verify (index, &error));
    g_assert_error (error, MAILFS_ERROR, EUCLEAN);
    assert_clean_failure (fixture, error);
    g_clear_pointer (&index, index_close);
    try_everything (fixture);
  }
}

/* An empty file is none, and may become one. */
static void
test_empty (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  write_file (fixture, "", 0);
  g_assert_null (index_open (fixture->path, 0, &error));
  g_assert_error (error, MAILFS_ERROR, ENOENT);
  g_clear_error (&error);
  g_assert_null (index_open (fixture->path, INDEX_READ_ONLY, &error));
  g_assert_error (error, MAILFS_ERROR, ENOENT);
  index_close (open_filled_index (fixture, MAILBOX, 1));
  g_assert_true (try_everything (fixture));
}

/* Verifying finds each zeroed page; none of them makes a mailbox look shorter than it is. */
static void
test_zeroed_page (Fixture *fixture, const void *data)
{
  size_t size;
  g_autofree char *bytes = make_database (fixture, &size);
  for (size_t page = 0; page < size / PAGE_SIZE; page++) {
    g_autofree char *copy = g_memdup2 (bytes, size);
    memset (copy + page * PAGE_SIZE, 0, PAGE_SIZE);
    write_file (fixture, copy, size);
    g_autoptr (GError) error = NULL;
    g_autoptr (Index) index = index_open (fixture->path, 0, &error);
    if (index != NULL)
      g_assert_false (index_verify (index, &error));
    g_assert_error (error, MAILFS_ERROR, EUCLEAN);
    g_clear_pointer (&index, index_close);
    try_everything (fixture);
  }
}

/* Reads a mailbox or a node's children at once, and tells whether their order was found wrong. */
static bool
is_message_order_wrong (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = index_open (fixture->path, 0, &error);
  IndexMessage page[2 * MESSAGES];
  size_t count;
  if (index != NULL &&
      index_message_page (index, MAILBOX, 0, INDEX_LIVE, page, G_N_ELEMENTS (page), &count, &error))
    index_messages_clear (page, count);
  return error != NULL && strstr (error->message, "out of order") != NULL;
}

static bool
is_name_order_wrong (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = list_open (fixture->path, 0, &error);
  ListNode page[2 * MESSAGES];
  size_t count;
  if (list != NULL && list_children (list, 0, NULL, page, G_N_ELEMENTS (page), &count, &error))
    list_nodes_clear (page, count);
  return error != NULL && strstr (error->message, "out of order") != NULL;
}

/* How often swapping two pages of the database gives rows in the wrong order. */
static int
swap_pages (Fixture *fixture, bool (*is_order_wrong) (Fixture *))
{
  size_t size;
  g_autofree char *bytes = NULL;
  int wrong = 0;
  g_assert_true (g_file_get_contents (fixture->path, &bytes, &size, NULL));
  for (size_t one = PAGE_SIZE; one < size; one += PAGE_SIZE)
    for (size_t other = one + PAGE_SIZE; other < size; other += PAGE_SIZE) {
      g_autofree char *copy = g_memdup2 (bytes, size);
      memcpy (copy + one, bytes + other, PAGE_SIZE);
      memcpy (copy + other, bytes + one, PAGE_SIZE);
      write_file (fixture, copy, size);
      wrong += is_order_wrong (fixture);
    }
  return wrong;
}

static void
test_swapped_pages (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  index_close (open_filled_index (fixture, MAILBOX, MESSAGES));
  g_assert_cmpint (swap_pages (fixture, is_message_order_wrong), >, 0);

  write_file (fixture, "", 0);
  {
    g_autoptr (List) list = list_open (fixture->path, INDEX_CREATE, &error);
    g_autoptr (ListWrite) write = list_write_begin (list, &error);
    g_assert_no_error (error);
    for (uint32_t number = 1; number <= MESSAGES; number++) {
      g_autofree char *name = g_strdup_printf ("%0100u", number);
      list_write_node (write, &(ListNode){.number = number, .name = name}, &error);
    }
    list_write_commit (write, &error);
    g_assert_no_error (error);
  }
  g_assert_cmpint (swap_pages (fixture, is_name_order_wrong), >, 0);
}

static void
test_random_bytes (Fixture *fixture, const void *data)
{
  size_t size;
  int opened = 0, rounds = g_test_thorough () ? 5000 : 400;
  g_autofree char *bytes = make_database (fixture, &size);
  for (int round = 0; round < rounds; round++) {
    g_autofree char *copy = g_memdup2 (bytes, size);
    for (int i = g_test_rand_int_range (1, 30); i > 0; i--) {
      /* Most of what SQLite must not believe stands at the beginning of a page. */
      size_t page = (size_t)g_test_rand_int_range (0, (int)(size / PAGE_SIZE)) * PAGE_SIZE;
      size_t at =
          page + (size_t)g_test_rand_int_range (0, g_test_rand_int_range (0, 2) ? 64 : PAGE_SIZE);
      copy[at] = (char)g_test_rand_int ();
    }
    write_file (fixture, copy, size);
    opened += try_everything (fixture);
  }
  g_assert_cmpint (opened, >, rounds / 10); /* else this test tests nothing */
}

static void
test_no_database (Fixture *fixture, const void *data)
{
  g_autofree char *noise = g_malloc (20000);
  for (size_t i = 0; i < 20000; i++)
    noise[i] = (char)g_test_rand_int ();
  const struct {
    const char *bytes;
    size_t size;
  } files[] = {{"xy", 2}, {"From joe@example.com\n", 21}, {"SQLite format 3", 16}, {noise, 20000}};
  for (size_t i = 0; i < G_N_ELEMENTS (files); i++) {
    g_autoptr (GError) error = NULL;
    write_file (fixture, files[i].bytes, files[i].size);
    g_assert_null (index_open (fixture->path, INDEX_CREATE, &error));
    g_assert_error (error, MAILFS_ERROR, EUCLEAN);
    g_autofree char *after = NULL;
    size_t size;
    g_assert_true (g_file_get_contents (fixture->path, &after, &size, NULL));
    g_assert_cmpmem (after, size, files[i].bytes, files[i].size);
  }
}

/* ---- what other programs do ---------------------------------------------------------------- */

/* A sound database, but not one that this version made. */
static void
test_foreign_schema (Fixture *fixture, const void *data)
{
  size_t size;
  g_autofree char *bytes = make_database (fixture, &size);
  const char *changes[] = {
      "PRAGMA user_version = 0",
      "PRAGMA user_version = 99",
      "PRAGMA application_id = 0",
      "PRAGMA journal_mode = WAL",
      "CREATE TABLE extra (a)",
      "CREATE INDEX extra ON message (size)",
      "CREATE VIEW extra AS SELECT * FROM message",
      "CREATE TRIGGER extra AFTER INSERT ON message BEGIN DELETE FROM summary; END",
      "DROP TABLE summary",
      "ALTER TABLE message RENAME TO letter",
      "ALTER TABLE message ADD COLUMN extra INTEGER",
      "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace (sql, 'STRICT', '')",
      "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET tbl_name = 'x', name = 'x'",
      "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 1",
      "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET rootpage = 100000",
  };
  for (size_t i = 0; i < G_N_ELEMENTS (changes); i++) {
    g_autoptr (GError) error = NULL;
    write_file (fixture, bytes, size);
    run_sql (fixture->path, changes[i]);
    g_autoptr (Index) index = index_open (fixture->path, 0, &error);
    if (index != NULL && index_verify (index, &error))
      g_error ("not noticed: %s", changes[i]);
    g_assert_error (error, MAILFS_ERROR, EUCLEAN);
    assert_clean_failure (fixture, error);
  }
}

/* A database without a table is as good as an empty file. */
static void
test_no_tables (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  index_close (open_filled_index (fixture, MAILBOX, MESSAGES));
  run_sql (fixture->path, "DROP TABLE removed; DROP TABLE summary; DROP TABLE message;"
                          "DROP TABLE mailbox");
  g_assert_null (index_open (fixture->path, 0, &error));
  g_assert_error (error, MAILFS_ERROR, ENOENT);
  index_close (open_filled_index (fixture, MAILBOX, 1));
  g_assert_true (try_everything (fixture));
}

/* A table that changes while it is open. */
static void
test_changed_while_open (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, MAILBOX, MESSAGES);
  g_assert_true (read_everything (index, &error));
  run_sql (fixture->path, "DROP TABLE message");
  g_assert_false (read_everything (index, &error));
  g_assert_error (error, MAILFS_ERROR, EUCLEAN);
}

/* Values that no row of ours has, in tables that are ours. */
static void
test_foreign_values (Fixture *fixture, const void *data)
{
  size_t size;
  g_autofree char *bytes = make_database (fixture, &size);
  const char *const changes[][4] = {
      {"UPDATE summary SET sha256 = x'00'"},
      {"UPDATE summary SET sha256 = zeroblob (100000)"},
      {"INSERT INTO mailbox SELECT 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9223372036854775807 FROM mailbox"},
      {"PRAGMA writable_schema = ON;"
       "UPDATE sqlite_schema SET sql = replace (sql, 'envelope TEXT NOT NULL', 'envelope TEXT')",
       "UPDATE summary SET envelope = NULL",
       "PRAGMA writable_schema = ON;"
       "UPDATE sqlite_schema SET sql = replace (sql, 'envelope TEXT', 'envelope TEXT NOT NULL')"},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (changes); i++) {
    g_autoptr (GError) error = NULL;
    write_file (fixture, bytes, size);
    for (size_t step = 0; changes[i][step] != NULL; step++)
      run_sql (fixture->path, changes[i][step]);
    g_autoptr (Index) index = index_open (fixture->path, 0, &error);
    g_assert_no_error (error);
    if (read_everything (index, &error))
      g_error ("not noticed: %s", changes[i][0]);
    g_assert_error (error, MAILFS_ERROR, EUCLEAN);
    g_clear_error (&error);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/index/damage/truncated", test_truncated);
  add_test ("/index/damage/empty", test_empty);
  add_test ("/index/damage/zeroed-page", test_zeroed_page);
  add_test ("/index/damage/swapped-pages", test_swapped_pages);
  add_test ("/index/damage/random-bytes", test_random_bytes);
  add_test ("/index/damage/no-database", test_no_database);
  add_test ("/index/damage/foreign-schema", test_foreign_schema);
  add_test ("/index/damage/no-tables", test_no_tables);
  add_test ("/index/damage/changed-while-open", test_changed_while_open);
  add_test ("/index/damage/foreign-values", test_foreign_values);
  return g_test_run ();
}
