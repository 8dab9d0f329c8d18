/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of index/ share: a private directory, rows to write, and SQL from outside. */
#pragma once

#include "index/internal.h"

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  char *directory;
  char *path; /* of a database in it, which does not exist yet */
} Fixture;

static inline void
fixture_set_up (Fixture *self, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *made = g_dir_make_tmp ("test-index-XXXXXX", &error);
  g_assert_no_error (error);
  char *real = realpath (made, NULL); /* index_open() takes no symbolic link on the way */
  self->directory = g_strdup (real);
  free (real);
  self->path = g_build_filename (self->directory, "user.sqlite3", NULL);
}

static inline void
fixture_tear_down (Fixture *self, const void *data)
{
  g_autoptr (GDir) directory = g_dir_open (self->directory, 0, NULL);
  for (const char *name; (name = g_dir_read_name (directory)) != NULL;) {
    g_autofree char *path = g_build_filename (self->directory, name, NULL);
    g_remove (path);
  }
  g_assert_cmpint (g_rmdir (self->directory), ==, 0);
  g_free (self->directory);
  g_free (self->path);
}

#define add_test(name, function)                                                                   \
  g_test_add (name, Fixture, NULL, fixture_set_up, function, fixture_tear_down)

static inline Index *
open_index (Fixture *self)
{
  g_autoptr (GError) error = NULL;
  Index *index = index_open (self->path, INDEX_CREATE, &error);
  g_assert_no_error (error);
  return index;
}

static inline void
commit (IndexWrite *write)
{
  g_autoptr (GError) error = NULL;
  index_write_commit (write, &error);
  g_assert_no_error (error);
}

static inline IndexWrite *
begin (Index *index)
{
  g_autoptr (GError) error = NULL;
  IndexWrite *write = index_write_begin (index, &error);
  g_assert_no_error (error);
  return write;
}

static inline void
put_mailbox (IndexWrite *write, uint32_t number)
{
  g_autoptr (GError) error = NULL;
  IndexMailbox mailbox = {.number = number, .uidvalidity = 7, .uidnext = 1, .directory_ns = 5};
  index_write_mailbox (write, &mailbox, &error);
  g_assert_no_error (error);
}

/* A message whose facts follow from its UID. */
static inline IndexMessage
make_message (uint32_t uid)
{
  return (IndexMessage){
      .uid = uid,
      .flags = uid % 2 ? INDEX_FLAG_SEEN : 0,
      .birth = 3,
      .size = 1000 + uid,
      .modseq = uid,
      .internal_s = 1700000000 + uid,
      .changed_ns = INT64_C (1700000000123456789) + uid,
  };
}

static inline void
put_message (IndexWrite *write, uint32_t mailbox, const IndexMessage *message)
{
  g_autoptr (GError) error = NULL;
  char envelope[] = "(NIL \"subject\" NIL NIL NIL NIL NIL NIL NIL NIL)";
  char bodystructure[] = "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 5 1)";
  IndexSummary summary = {
      .sent_s = 1600000000 + message->uid,
      .envelope = envelope,
      .bodystructure = bodystructure,
  };
  memset (summary.sha256, (int)message->uid, sizeof summary.sha256);
  index_write_message (write, mailbox, message, &summary, &error);
  g_assert_no_error (error);
}

/* A new index with one mailbox that holds the UIDs 1 to `count`. */
static inline Index *
open_filled_index (Fixture *self, uint32_t mailbox, uint32_t count)
{
  Index *index = open_index (self);
  g_autoptr (IndexWrite) write = begin (index);
  put_mailbox (write, mailbox);
  for (uint32_t uid = 1; uid <= count; uid++) {
    IndexMessage message = make_message (uid);
    put_message (write, mailbox, &message);
  }
  commit (write);
  return index;
}

static inline IndexMailbox
get_mailbox (Index *index, uint32_t number)
{
  g_autoptr (GError) error = NULL;
  IndexMailbox mailbox = {0};
  bool found = false;
  index_mailbox_get (index, number, &mailbox, &found, &error);
  g_assert_no_error (error);
  g_assert_true (found);
  return mailbox;
}

#define assert_counts(row, live, without_seen, gone, bad, size)                                    \
  do {                                                                                             \
    g_assert_cmpuint ((row).messages, ==, live);                                                   \
    g_assert_cmpuint ((row).unseen, ==, without_seen);                                             \
    g_assert_cmpuint ((row).expunged, ==, gone);                                                   \
    g_assert_cmpuint ((row).damaged, ==, bad);                                                     \
    g_assert_cmpuint ((row).bytes, ==, size);                                                      \
  } while (0)

/* Runs SQL on the file as another program would. */
static inline void
run_sql (const char *path, const char *sql)
{
  sqlite3 *handle;
  g_assert_cmpint (sqlite3_open (path, &handle), ==, SQLITE_OK);
  if (sqlite3_exec (handle, sql, NULL, NULL, NULL) != SQLITE_OK)
    g_error ("%s: %s", sql, sqlite3_errmsg (handle));
  g_assert_cmpint (sqlite3_close (handle), ==, SQLITE_OK);
}

static inline void
set_patience (Index *index, int milliseconds)
{
  sqlite3_busy_timeout (index->db.reading->handle, milliseconds);
  if (index->db.writing->handle != NULL)
    sqlite3_busy_timeout (index->db.writing->handle, milliseconds);
}
