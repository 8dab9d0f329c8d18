/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases that are only to be looked at: what a crash left beside them counts as SQLite would
 * have it count, what is damaged is salvaged, and no file changes.
 */
#include "index/journal.h"
#include "tests/unit/test-index.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAILBOX = 3, MESSAGES = 400, FRAME = 24 + 8192 };

/* ---- evidence -------------------------------------------------------------------------------- */

typedef struct {
  IndexEvidence from;
  GBytes *bytes[3]; /* of the files, as they were */
} Evidence;

static int
open_one (const char *path, const char *suffix, GBytes **out_bytes)
{
  g_autofree char *name = g_strconcat (path, suffix, NULL);
  char *text = NULL;
  gsize size = 0;
  g_file_get_contents (name, &text, &size, NULL);
  *out_bytes = g_bytes_new_take (text, size);
  return open (name, O_RDONLY | O_CLOEXEC);
}

static Evidence
find (const Fixture *fixture)
{
  Evidence self = {.from.name = fixture->path};
  self.from.file = open_one (fixture->path, "", &self.bytes[0]);
  self.from.journal = open_one (fixture->path, "-journal", &self.bytes[1]);
  self.from.log = open_one (fixture->path, "-wal", &self.bytes[2]);
  return self;
}

static void
leave (const Fixture *fixture, Evidence *self)
{
  Evidence now = find (fixture);
  for (size_t i = 0; i < G_N_ELEMENTS (now.bytes); i++) {
    g_assert_true (g_bytes_equal (self->bytes[i], now.bytes[i]));
    g_bytes_unref (self->bytes[i]);
    g_bytes_unref (now.bytes[i]);
  }
  const int all[] = {self->from.file, self->from.journal, self->from.log,
                     now.from.file,   now.from.journal,   now.from.log};
  for (size_t i = 0; i < G_N_ELEMENTS (all); i++) {
    if (all[i] >= 0)
      close (all[i]);
  }
}

/* Flags of a message as the evidence has them; UINT32_MAX: there is none. */
static uint32_t
flags_of (Index *index, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_auto (IndexMessage) message = {0};
  bool found = false;
  index_message_get (index, MAILBOX, uid, &message, &found, &error);
  g_assert_no_error (error);
  return found ? message.flags : UINT32_MAX;
}

/* Opens it, and asserts what the note says; `note` NULL: there is nothing to be told. */
static Index *
look (const Fixture *fixture, const char *workdir, const char *note)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *told = NULL;
  Evidence evidence = find (fixture);
  evidence.from.workdir = workdir;
  Index *index = index_open_evidence (&evidence.from, 1, &told, &error);
  g_assert_no_error (error);
  g_assert_nonnull (index);
  if (note == NULL)
    g_assert_null (told);
  else if (told == NULL || strstr (told, note) == NULL)
    g_error ("'%s' is not in '%s'", note, told);
  leave (fixture, &evidence);
  return index;
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* Runs SQL on the database in a process that dies then, without closing it. */
static void
die_after (const Fixture *fixture, const char *sql)
{
  pid_t child = fork ();
  if (child == 0) {
    sqlite3 *db = NULL;
    _exit (sqlite3_open (fixture->path, &db) != SQLITE_OK ||
           sqlite3_exec (db, sql, NULL, NULL, NULL) != SQLITE_OK);
  }
  int status = 0;
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
}

static void
fill (Fixture *fixture)
{
  index_close (open_filled_index (fixture, MAILBOX, MESSAGES));
}

static void
test_sound (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  g_autoptr (Index) index = look (fixture, NULL, NULL);
  g_assert_cmpuint (flags_of (index, 1), ==, INDEX_FLAG_SEEN);
  g_assert_cmpuint (flags_of (index, MESSAGES), ==, 0);
  g_assert_cmpuint (flags_of (index, MESSAGES + 1), ==, UINT32_MAX);
  g_assert_true (index_is_current (index));
  g_assert_null (index_write_begin (index, &error));
  g_assert_error (error, MAILFS_ERROR, EROFS);
}

static void
test_log (Fixture *fixture, const void *data)
{
  fill (fixture);
  die_after (fixture, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
                      "UPDATE message SET flags = 8;"
                      "UPDATE message SET flags = 16 WHERE (id & 1) = 1;"
                      "BEGIN; UPDATE message SET flags = 0;");
  g_autoptr (Index) index = look (fixture, NULL, "2 commits are taken from its log");
  g_assert_cmpuint (flags_of (index, 1), ==, 16);
  g_assert_cmpuint (flags_of (index, 2), ==, 8);
  g_autofree char *scratch = g_strdup (fixture->directory);
  g_autoptr (Index) other = look (fixture, scratch, "2 commits");
  g_assert_cmpuint (flags_of (other, 1), ==, 16);
}

/* How many commits end among the first `frames` frames of a log. */
static unsigned
count_commits (const char *log, gsize frames)
{
  static const char none[4];
  unsigned commits = 0;
  for (gsize frame = 0; frame < frames; frame++)
    commits += memcmp (log + 32 + frame * FRAME + 4, none, sizeof none) != 0;
  return commits;
}

/* Wherever the log is cut or rotten, the commits before it count, and no part of one. */
static void
test_torn_log (Fixture *fixture, const void *data)
{
  static const char *const notes[] = {NULL, "1 commit is", "2 commits are"};
  static const uint32_t flags[] = {INDEX_FLAG_SEEN, 8, 16};
  fill (fixture);
  die_after (fixture, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
                      "UPDATE message SET flags = 8; UPDATE message SET flags = 16;");
  g_autofree char *path = g_strconcat (fixture->path, "-wal", NULL);
  g_autofree char *whole = NULL;
  gsize size = 0;
  g_assert_true (g_file_get_contents (path, &whole, &size, NULL));
  gsize frames = (size - 32) / FRAME;
  g_assert_cmpuint (count_commits (whole, frames), ==, 2);
  for (gsize frame = 0; frame <= frames; frame++) {
    unsigned commits = count_commits (whole, frame);
    gsize end = 32 + frame * FRAME;
    for (int rotten = 0; rotten <= 1; rotten++) {
      g_autofree char *bytes = g_memdup2 (whole, size);
      if (rotten && end + 100 < size)
        bytes[end + 100] ^= 4;
      g_assert_true (g_file_set_contents (path, bytes, (gssize)(rotten ? size : end), NULL));
      g_autoptr (Index) index = look (fixture, NULL, notes[commits]);
      g_assert_cmpuint (flags_of (index, 1), ==, flags[commits]);
      g_assert_cmpuint (flags_of (index, MESSAGES - 1), ==, flags[commits]);
    }
  }
}

/* A write that spilled into the database before it was to be committed. */
static void
test_journal (Fixture *fixture, const void *data)
{
  fill (fixture);
  die_after (fixture, "PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN IMMEDIATE;"
                      "UPDATE message SET flags = 8; UPDATE summary SET envelope = envelope || 'x';"
                      "CREATE TABLE torn (a);");
  g_autoptr (Index) index = look (fixture, NULL, "an interrupted write is undone");
  g_assert_cmpuint (flags_of (index, 1), ==, INDEX_FLAG_SEEN);
  g_assert_cmpuint (flags_of (index, MESSAGES), ==, 0);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void
overwrite (const Fixture *fixture, off_t at, const char *text)
{
  int fd = open (fixture->path, O_WRONLY | O_CLOEXEC);
  g_assert_cmpint (pwrite (fd, text, strlen (text), at), ==, strlen (text));
  close (fd);
}

static void
test_damaged (Fixture *fixture, const void *data)
{
  fill (fixture);
  overwrite (fixture, 0, "rubbish, where a database should begin");
  g_autoptr (Index) index = look (fixture, NULL, "tables are salvaged");
  g_assert_cmpuint (flags_of (index, 1), ==, INDEX_FLAG_SEEN);
  g_autoptr (Index) other = look (fixture, fixture->directory, "tables are salvaged");
  g_assert_cmpuint (flags_of (other, MESSAGES), ==, 0);
}

/* How it is told what is left of a database that is damaged. */
static char *
tell_damage (const Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  char *told = NULL;
  Evidence evidence = find (fixture);
  g_autoptr (Index) index = index_open_evidence (&evidence.from, 1, &told, &error);
  g_assert_no_error (error);
  g_assert_nonnull (told);
  leave (fixture, &evidence);
  return told;
}

/* A journal in which nothing is written, as each commit leaves one, makes no row two. */
static void
test_damaged_once (Fixture *fixture, const void *data)
{
  g_autofree char *journal = g_strconcat (fixture->path, "-journal", NULL);
  fill (fixture);
  overwrite (fixture, 0, "rubbish, where a database should begin");
  unlink (journal);
  g_autofree char *without = tell_damage (fixture);
  g_assert_true (g_file_set_contents (journal, "", 0, NULL));
  g_autofree char *with = tell_damage (fixture);
  g_assert_cmpstr (with, ==, without);
}

/* The newest rows are in the log, be the database beside it what it will. */
static void
test_damaged_log (Fixture *fixture, const void *data)
{
  fill (fixture);
  die_after (fixture, "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;"
                      "UPDATE message SET flags = 8, modseq = modseq + 1000;");
  g_assert_cmpint (truncate (fixture->path, 8192), ==, 0);
  g_autoptr (Index) index = look (fixture, NULL, "1 commit is taken");
  g_assert_cmpuint (flags_of (index, 1), ==, 8);
}

/* One that says it is larger than any disk takes neither time nor memory. */
static void
test_huge (Fixture *fixture, const void *data)
{
  fill (fixture);
  g_assert_cmpint (truncate (fixture->path, (off_t)1 << 43), ==, 0);
  g_autoptr (GError) error = NULL;
  g_autofree char *told = NULL;
  IndexEvidence from = {.name = fixture->path, .journal = -1, .log = -1};
  from.file = open (fixture->path, O_RDONLY | O_CLOEXEC);
  g_autoptr (Index) index = index_open_evidence (&from, 1, &told, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (flags_of (index, 1), ==, INDEX_FLAG_SEEN);
  close (from.file);
}

static Index *
open_copy (const IndexEvidence *from, GError **error)
{
  g_autofree char *told = NULL;
  return index_open_evidence (from, 1, &told, error);
}

/* Copies in memory are bounded in sum: who has too many is told what helps, and goes on when some
 * are gone. These have holes, which take nothing, but count. */
static void
test_many (Fixture *fixture, const void *data)
{
  fill (fixture);
  g_assert_cmpint (truncate (fixture->path, (off_t)512 << 20), ==, 0);
  g_autoptr (GError) error = NULL;
  g_autofree char *workdir = g_path_get_dirname (fixture->path);
  IndexEvidence from = {.name = fixture->path, .journal = -1, .log = -1};
  IndexEvidence elsewhere = {.name = fixture->path, .journal = -1, .log = -1, .workdir = workdir};
  from.file = elsewhere.file = open (fixture->path, O_RDONLY | O_CLOEXEC);
  Index *copies[16] = {NULL};
  size_t count = 0;
  while (count < G_N_ELEMENTS (copies) && (copies[count] = open_copy (&from, &error)) != NULL)
    count++;
  g_assert_error (error, MAILFS_ERROR, ENOMEM);
  g_assert_nonnull (strstr (error->message, fixture->path));
  g_assert_nonnull (strstr (error->message, "workdir="));
  g_clear_error (&error);
  g_assert_cmpuint (count, >, 0);
  copies[count] = open_copy (&elsewhere, &error);
  g_assert_no_error (error);
  for (size_t i = 0; i <= count; i++)
    index_close (copies[i]);
  g_autoptr (Index) again = open_copy (&from, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (flags_of (again, 1), ==, INDEX_FLAG_SEEN);
  close (from.file);
}

static void
assert_no_index (const Fixture *fixture, int code)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *told = NULL;
  Evidence evidence = find (fixture);
  g_assert_null (index_open_evidence (&evidence.from, 1, &told, &error));
  g_assert_error (error, MAILFS_ERROR, code);
  g_assert_nonnull (strstr (error->message, fixture->path));
  leave (fixture, &evidence);
}

static void
test_nothing (Fixture *fixture, const void *data)
{
  assert_no_index (fixture, ENOENT);
  g_assert_true (g_file_set_contents (fixture->path, "", 0, NULL));
  assert_no_index (fixture, ENOENT);
  g_assert_true (g_file_set_contents (fixture->path, "no database", -1, NULL));
  assert_no_index (fixture, EUCLEAN);
}

/* An older one that was set aside tells what the newer one does not have. */
static void
test_older (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *told = NULL, *older = g_strconcat (fixture->path, ".broken-0", NULL);
  fill (fixture);
  g_assert_cmpint (rename (fixture->path, older), ==, 0);
  index_close (open_filled_index (fixture, MAILBOX, 5));
  IndexEvidence from[2] = {{.name = fixture->path, .journal = -1, .log = -1},
                           {.name = older, .journal = -1, .log = -1}};
  for (size_t i = 0; i < 2; i++)
    from[i].file = open (from[i].name, O_RDONLY | O_CLOEXEC);
  g_autoptr (Index) index = index_open_evidence (from, 2, &told, &error);
  g_assert_no_error (error);
  g_assert_nonnull (strstr (told, "older ones"));
  g_assert_cmpuint (flags_of (index, 5), ==, INDEX_FLAG_SEEN);
  g_assert_cmpuint (flags_of (index, MESSAGES), ==, 0);
  for (size_t i = 0; i < 2; i++)
    close (from[i].file);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/evidence/sound", test_sound);
  add_test ("/evidence/log", test_log);
  add_test ("/evidence/log/torn", test_torn_log);
  add_test ("/evidence/journal", test_journal);
  add_test ("/evidence/damaged", test_damaged);
  add_test ("/evidence/damaged/once", test_damaged_once);
  add_test ("/evidence/damaged/log", test_damaged_log);
  add_test ("/evidence/huge", test_huge);
  add_test ("/evidence/many", test_many);
  add_test ("/evidence/nothing", test_nothing);
  add_test ("/evidence/older", test_older);
  return g_test_run ();
}
