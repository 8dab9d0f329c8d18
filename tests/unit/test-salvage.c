/* SPDX-License-Identifier: Apache-2.0 */
/* What is found in a database again, whole or broken. */
#include "tests/unit/test-index.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_SIZE 8192

enum { MESSAGES = 1500 };

static char *
sub_path (const Fixture *fixture, const char *name)
{
  return g_build_filename (fixture->directory, name, NULL);
}

/* Facts of every kind: all flags, keywords short and long, dates before 1970, digests. */
static IndexMessage
rich_message (uint32_t uid)
{
  IndexMessage message = make_message (uid);
  message.flags = uid % 32;
  message.expunged = uid % 11 == 0 ? 4 : 0;
  message.internal_s = uid % 7 == 0 ? -(int64_t)uid * 1000 : message.internal_s;
  message.modseq = uid % 5 == 0 ? (UINT64_C (1) << 40) + uid : uid;
  if (uid % 3 == 0 && uid % 400 != 0)
    message.keywords = g_strdup_printf ("$Label%u NonJunk", uid);
  if (uid % 400 == 0) { /* goes on in other pages */
    GString *text = g_string_new ("$Long");
    while (text->len < 20000)
      g_string_append_printf (text, " Keyword%zu", text->len);
    message.keywords = g_string_free (text, FALSE);
  }
  return message;
}

static Index *
make_rich_index (Fixture *fixture, uint32_t messages)
{
  Index *index = open_index (fixture);
  g_autoptr (IndexWrite) write = begin (index);
  for (uint32_t mailbox = 3; mailbox <= 5; mailbox++)
    put_mailbox (write, mailbox);
  for (uint32_t uid = 1; uid <= messages; uid++) {
    g_auto (IndexMessage) message = rich_message (uid);
    put_message (write, 3 + uid % 3, &message);
  }
  commit (write);
  return index;
}

/* Every row as text, by id. */
static GHashTable *
dump (Index *index)
{
  g_autoptr (GError) error = NULL;
  GHashTable *rows = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  for (uint32_t mailbox = 3; mailbox <= 5; mailbox++) {
    IndexMessage page[64];
    size_t count = 0;
    IndexMailbox row = {0};
    bool found;
    g_assert_true (index_mailbox_get (index, mailbox, &row, &found, &error));
    if (found)
      g_hash_table_add (rows, g_strdup_printf ("mailbox %u %u %u %" G_GUINT64_FORMAT " %u %u",
                                               row.number, row.uidvalidity, row.uidnext,
                                               row.highestmodseq, row.messages, row.unseen));
    for (uint32_t after = 0;; after = page[count - 1].uid, index_messages_clear (page, count)) {
      g_assert_true (index_message_page (index, mailbox, after, INDEX_LIVE | INDEX_EXPUNGED, page,
                                         G_N_ELEMENTS (page), &count, &error));
      for (size_t i = 0; i < count; i++) {
        const IndexMessage *m = &page[i];
        g_auto (IndexSummary) summary = {0};
        g_assert_true (index_summary_get (index, mailbox, m->uid, &summary, &found, &error));
        g_hash_table_add (
            rows, g_strdup_printf ("%u/%u %u %u %u %u %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
                                   " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %s",
                                   mailbox, m->uid, m->flags, m->damage, m->birth, m->expunged,
                                   m->size, m->modseq, m->internal_s, m->changed_ns, m->keywords));
        if (found)
          g_hash_table_add (rows, g_strdup_printf ("%u/%u %02x%02x", mailbox, m->uid,
                                                   summary.sha256[0], summary.sha256[31]));
        if (found && *summary.envelope != '\0')
          g_hash_table_add (rows, g_strdup_printf ("%u/%u %" G_GINT64_FORMAT " %s", mailbox, m->uid,
                                                   summary.sent_s, summary.envelope));
      }
      if (count == 0)
        break;
    }
  }
  return rows;
}

/* What is salvaged from `path`, in a database of its own. */
static GHashTable *
salvage (Fixture *fixture, const char *path, IndexSalvage *out)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *made = sub_path (fixture, "salvaged.sqlite3");
  g_remove (made);
  g_autoptr (Index) index = index_open (made, INDEX_CREATE, &error);
  g_assert_no_error (error);
  g_assert_true (index_salvage (index, path, out, &error));
  g_assert_no_error (error);
  g_assert_true (index_verify (index, &error));
  return dump (index);
}

/* How many of `rows` are in `all`; mailboxes, whose counts depend on the others, are left out. */
static guint
count_known (GHashTable *rows, GHashTable *all)
{
  GHashTableIter iter;
  gpointer key;
  guint known = 0;
  g_hash_table_iter_init (&iter, rows);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    if (g_str_has_prefix (key, "mailbox"))
      continue;
    if (!g_hash_table_contains (all, key))
      g_error ("made up: %.200s", (char *)key);
    known++;
  }
  return known;
}

static void
test_all_of_it (Fixture *fixture, const void *data)
{
  g_autoptr (Index) index = make_rich_index (fixture, MESSAGES);
  g_autoptr (GHashTable) expected = dump (index);
  IndexSalvage counts;
  /* While it is open, and afterwards. */
  g_autoptr (GHashTable) found = salvage (fixture, fixture->path, &counts);
  g_assert_cmpuint (g_hash_table_size (found), ==, g_hash_table_size (expected));
  g_assert_cmpuint (g_hash_table_size (found), ==, 3 * MESSAGES + 3);
  g_assert_cmpuint (count_known (found, expected), ==, 3 * MESSAGES);
  g_assert_cmpuint (counts.rows, ==, 2 * MESSAGES + 3);
  g_assert_cmpuint (counts.unread, ==, 0);
  /* Twice the same makes no difference, and reading it dropped none of the locks. */
  g_autoptr (IndexWrite) write = begin (index);
  IndexMessage message = make_message (9999);
  put_message (write, 3, &message);
  g_autoptr (GHashTable) again = salvage (fixture, fixture->path, &counts);
  g_assert_cmpuint (g_hash_table_size (again), ==, g_hash_table_size (expected));
  commit (write);
}

static char *
read_database (Fixture *fixture, size_t *out_size)
{
  char *bytes;
  g_assert_true (g_file_get_contents (fixture->path, &bytes, out_size, NULL));
  return bytes;
}

static void
write_database (Fixture *fixture, const char *bytes, size_t size)
{
  g_autofree char *journal = g_strconcat (fixture->path, "-journal", NULL);
  g_remove (journal);
  g_assert_true (g_file_set_contents (fixture->path, bytes, (gssize)size, NULL));
}

static guint
count_found (Fixture *fixture, GHashTable *expected)
{
  IndexSalvage counts;
  g_autoptr (GHashTable) found = salvage (fixture, fixture->path, &counts);
  return count_known (found, expected);
}

/* Any one page may be lost: the rows on the others are found, and nothing else. */
static void
test_lost_pages (Fixture *fixture, const void *data)
{
  Index *index = make_rich_index (fixture, MESSAGES);
  g_autoptr (GHashTable) expected = dump (index);
  index_close (index);
  size_t size;
  g_autofree char *bytes = read_database (fixture, &size);
  guint lost_somewhere = 0;
  for (size_t page = 0; page < size / PAGE_SIZE; page += page < 4 ? 1 : 7) {
    g_autofree char *broken = g_memdup2 (bytes, size);
    for (size_t i = 0; i < PAGE_SIZE; i++)
      broken[page * PAGE_SIZE + i] = (char)(page % 2 ? g_test_rand_int () : 0);
    write_database (fixture, broken, size);
    guint lost = 3 * MESSAGES - count_found (fixture, expected);
    g_assert_cmpuint (lost, <=, 750); /* a summary is not seen without its message */
    lost_somewhere += lost > 0;
    if (page == 0) /* the header and the schema, no row */
      g_assert_cmpuint (lost, ==, 0);
  }
  g_assert_cmpuint (lost_somewhere, >, 0);
}

static void
test_cut (Fixture *fixture, const void *data)
{
  Index *index = make_rich_index (fixture, MESSAGES);
  g_autoptr (GHashTable) expected = dump (index);
  index_close (index);
  size_t size;
  g_autofree char *bytes = read_database (fixture, &size);
  guint before = 0;
  for (int quarter = 1; quarter <= 4; quarter++) {
    write_database (fixture, bytes, size * quarter / 4 - (quarter < 4 ? 100 : 0));
    guint found = count_found (fixture, expected);
    g_assert_cmpuint (found, >, before);
    before = found;
  }
  /* The beginning is gone: pages still lie where they lay. */
  memset (bytes, 0xff, size / 4);
  write_database (fixture, bytes, size);
  g_assert_cmpuint (count_found (fixture, expected), >, MESSAGES);
  write_database (fixture, bytes, 0);
  g_assert_cmpuint (count_found (fixture, expected), ==, 0);
  write_database (fixture, bytes, 57);
  g_assert_cmpuint (count_found (fixture, expected), ==, 0);
}

/* Messages and what belongs to them, as they were. */
static guint
count_right (Fixture *fixture, GHashTable *expected, guint *out_found)
{
  IndexSalvage counts;
  g_autoptr (GHashTable) found = salvage (fixture, fixture->path, &counts);
  guint right = 0;
  GHashTableIter iter;
  gpointer key;
  g_hash_table_iter_init (&iter, found);
  while (g_hash_table_iter_next (&iter, &key, NULL))
    right += g_hash_table_contains (expected, key) && !g_str_has_prefix (key, "mailbox");
  *out_found = g_hash_table_size (found);
  return right;
}

/* A rotten byte costs no more than the page that it is in, and one of the header nothing. */
static void
test_flipped (Fixture *fixture, const void *data)
{
  Index *index = make_rich_index (fixture, 300);
  g_autoptr (GHashTable) expected = dump (index);
  index_close (index);
  size_t size;
  g_autofree char *bytes = read_database (fixture, &size);
  for (int round = 0; round < 60; round++) {
    g_autofree char *broken = g_memdup2 (bytes, size);
    guint found, least = 900;
    /* Every byte of the header that matters, then any at all. */
    size_t at = round < 30 ? (size_t)round : (size_t)g_test_rand_int_range (0, (int)size);
    if (round >= 30) {
      memset (broken + at / PAGE_SIZE * PAGE_SIZE, 0, PAGE_SIZE);
      write_database (fixture, broken, size);
      least = count_right (fixture, expected, &found);
      memcpy (broken, bytes, size);
    }
    broken[at] ^= (char)(1 << round % 8);
    write_database (fixture, broken, size);
    g_assert_cmpuint (count_right (fixture, expected, &found), >=, least);
    if (round >= 30)
      g_assert_cmpuint (found, <=, 904);
  }
}

static void
test_page_sizes (Fixture *fixture, const void *data)
{
  for (int size = 512; size <= 65536; size *= 2) {
    g_remove (fixture->path);
    Index *index = make_rich_index (fixture, MESSAGES);
    g_autoptr (GHashTable) expected = dump (index);
    index_close (index);
    g_autofree char *sql = g_strdup_printf ("PRAGMA page_size = %d; VACUUM", size);
    run_sql (fixture->path, sql);
    g_assert_cmpuint (count_found (fixture, expected), ==, 3 * MESSAGES);
    /* Without its header nothing tells the size but the pages. */
    size_t length;
    g_autofree char *bytes = read_database (fixture, &length);
    memset (bytes, 'x', 100);
    write_database (fixture, bytes, length);
    g_assert_cmpuint (count_found (fixture, expected), ==, 3 * MESSAGES);
  }
}

/* A process died in the middle of writing: the journal has what was there before, the file some of
 * what was to come. The newer version of each row counts, wherever it is. */
static void
test_hot_journal (Fixture *fixture, const void *data)
{
  index_close (make_rich_index (fixture, MESSAGES));
  g_autofree char *copy = sub_path (fixture, "copy.sqlite3");
  g_autofree char *copy_journal = g_strconcat (copy, "-journal", NULL);
  g_autofree char *journal = g_strconcat (fixture->path, "-journal", NULL);
  sqlite3 *handle;
  char *bytes;
  gsize size;
  g_assert_cmpint (sqlite3_open (fixture->path, &handle), ==, SQLITE_OK);
  /* A cache of ten pages spills into the file before the commit. */
  g_assert_cmpint (
      sqlite3_exec (handle,
                    "PRAGMA cache_size = 10; BEGIN;"
                    "UPDATE message SET flags = 31, modseq = modseq + 1000000000000 WHERE id & 1;"
                    "DELETE FROM message WHERE id & 3 = 2",
                    NULL, NULL, NULL),
      ==, SQLITE_OK);
  g_assert_true (g_file_get_contents (fixture->path, &bytes, &size, NULL));
  g_assert_true (g_file_set_contents (copy, bytes, (gssize)size, NULL));
  g_free (bytes);
  g_assert_true (g_file_get_contents (journal, &bytes, &size, NULL));
  g_assert_cmpuint (size, >, PAGE_SIZE);
  g_assert_true (g_file_set_contents (copy_journal, bytes, (gssize)size, NULL));
  g_free (bytes);
  g_assert_cmpint (sqlite3_exec (handle, "ROLLBACK", NULL, NULL, NULL), ==, SQLITE_OK);
  sqlite3_close (handle);

  g_autoptr (GError) error = NULL;
  g_autofree char *made = sub_path (fixture, "made.sqlite3");
  g_autoptr (Index) index = index_open (made, INDEX_CREATE, &error);
  IndexSalvage counts;
  g_assert_true (index_salvage (index, copy, &counts, &error));
  guint newer = 0;
  for (uint32_t uid = 1; uid <= MESSAGES; uid++) {
    g_auto (IndexMessage) row = {0}, old = rich_message (uid);
    bool found;
    g_assert_true (index_message_get (index, 3 + uid % 3, uid, &row, &found, &error));
    g_assert_true (found); /* those that were being deleted, too */
    newer += row.modseq > old.modseq;
    if (row.modseq == old.modseq)
      g_assert_cmpuint (row.flags, ==, old.flags);
    else
      g_assert_cmpuint (row.flags, ==, 31);
  }
  g_assert_cmpuint (newer, >, 0);

  /* A journal that is nonsense does no harm. */
  g_assert_true (
      g_file_set_contents (copy_journal, "not a journal at all, but long enough", -1, NULL));
  g_assert_true (index_salvage (NULL, copy, &counts, &error));
  g_assert_cmpuint (counts.rows, >, MESSAGES);
}

/* What lies there instead of a database. */
static void
test_strangers (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  IndexSalvage counts;
  static const struct {
    const char *command;
    int code;
  } cases[] = {
      {"mkdir", EISDIR}, {"mkfifo", EUCLEAN}, {"ln -s /dev/zero", ELOOP}, {"true", ENOENT}};
  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *command = g_strdup_printf ("%s '%s'", cases[i].command, fixture->path);
    g_assert_cmpint (system (command), ==, 0);
    g_assert_false (index_salvage (NULL, fixture->path, &counts, &error));
    g_assert_error (error, MAILFS_ERROR, cases[i].code);
    g_assert_nonnull (strstr (error->message, fixture->path));
    g_clear_error (&error);
    remove (fixture->path);
  }
  run_sql (fixture->path, "CREATE TABLE a (b, c, d, e, f, g, h, i, j); INSERT INTO a VALUES"
                          " (NULL, 1, 2, 3, 4, 5, 6, 7, 8), ('x', 1, 2, 3, 4, 5, 6, 7, 8)");
  g_assert_true (index_salvage (NULL, fixture->path, &counts, &error));
  g_assert_cmpuint (counts.rows, ==, 0);
  g_assert_true (g_file_set_contents (fixture->path, "Dear diary", -1, NULL));
  g_assert_true (index_salvage (NULL, fixture->path, &counts, &error));
  g_assert_cmpuint (counts.rows, ==, 0);
}

static void
test_one_mailbox (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  IndexMailbox row = {0};
  bool found;
  index_close (make_rich_index (fixture, 30));
  g_assert_true (index_salvage_mailbox (fixture->path, 4, &row, &found, &error));
  g_assert_true (found);
  g_assert_cmpuint (row.uidvalidity, ==, 7);
  g_assert_cmpuint (row.uidnext, ==, 29);
  g_assert_true (index_salvage_mailbox (fixture->path, 9, &row, &found, &error));
  g_assert_false (found);
}

static void
test_list (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (List) list = list_open (fixture->path, INDEX_CREATE, &error);
  g_autoptr (ListWrite) write = list_write_begin (list, &error);
  for (uint32_t number = 1; number <= 2000; number++) {
    g_autofree char *name = g_strdup_printf ("Mailbox %u \303\244", number);
    ListNode node = {.number = number,
                     .parent = number - 1,
                     .owner = number > 3 ? 3 : 0,
                     .kind = MIN (number, LIST_MAILBOX),
                     .subscribed = number % 2,
                     .name = name,
                     .full_name = number % 100 == 0 ? name : NULL,
                     .special_use = number % 50 == 0 ? (char *)"\\Sent" : NULL};
    g_assert_true (list_write_node (write, &node, &error));
  }
  g_assert_true (list_write_commit (write, &error));
  g_clear_pointer (&write, list_write_free);
  g_clear_pointer (&list, list_close);

  size_t size;
  g_autofree char *bytes = read_database (fixture, &size);
  memset (bytes, 0, PAGE_SIZE);
  write_database (fixture, bytes, size);
  IndexSalvage counts;
  g_autoptr (List) found = list_open (NULL, 0, &error);
  g_assert_true (list_salvage (found, fixture->path, &counts, &error));
  g_assert_cmpuint (counts.rows, ==, 2000);
  for (uint32_t number = 1; number <= 2000; number++) {
    g_auto (ListNode) node = {0};
    bool known;
    g_autofree char *name = g_strdup_printf ("Mailbox %u \303\244", number);
    g_assert_true (list_get (found, number, &node, &known, &error));
    g_assert_true (known);
    g_assert_cmpstr (node.name, ==, name);
    g_assert_cmpuint (node.parent, ==, number - 1);
    g_assert_cmpint (node.subscribed, ==, number % 2);
    g_assert_cmpstr (node.special_use, ==, number % 50 == 0 ? "\\Sent" : NULL);
    g_assert_cmpstr (node.full_name, ==, number % 100 == 0 ? name : NULL);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/salvage/all-of-it", test_all_of_it);
  add_test ("/salvage/lost-pages", test_lost_pages);
  add_test ("/salvage/cut", test_cut);
  add_test ("/salvage/flipped", test_flipped);
  add_test ("/salvage/page-sizes", test_page_sizes);
  add_test ("/salvage/hot-journal", test_hot_journal);
  add_test ("/salvage/strangers", test_strangers);
  add_test ("/salvage/one-mailbox", test_one_mailbox);
  add_test ("/salvage/list", test_list);
  return g_test_run ();
}
