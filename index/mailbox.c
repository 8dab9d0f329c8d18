/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the rows of mailboxes. */
#include "index/internal.h"

bool
mailbox_read (Connection *connection, uint32_t number, IndexMailbox *out, bool *out_found,
              GError **error)
{
  auto_statement select =
      connection_prepare (connection,
                          "SELECT uidvalidity, uidnext, highestmodseq, directory_ns,"
                          "       last_repair_s, messages, unseen, expunged, damaged, removed,"
                          "       bytes"
                          "  FROM mailbox WHERE number = ?1",
                          error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, number);
  bool row;
  if (!connection_step (connection, select, &row, error))
    return false;
  if (row)
    *out = (IndexMailbox){
        .number = number,
        .uidvalidity = (uint32_t)sqlite3_column_int64 (select, 0),
        .uidnext = (uint32_t)sqlite3_column_int64 (select, 1),
        .highestmodseq = (uint64_t)sqlite3_column_int64 (select, 2),
        .directory_ns = sqlite3_column_int64 (select, 3),
        .last_repair_s = sqlite3_column_int64 (select, 4),
        .messages = (uint32_t)sqlite3_column_int64 (select, 5),
        .unseen = (uint32_t)sqlite3_column_int64 (select, 6),
        .expunged = (uint32_t)sqlite3_column_int64 (select, 7),
        .damaged = (uint32_t)sqlite3_column_int64 (select, 8),
        .removed = (uint32_t)sqlite3_column_int64 (select, 9),
        .bytes = (uint64_t)sqlite3_column_int64 (select, 10),
    };
  *out_found = row;
  return true;
}

bool
index_mailbox_get (Index *self, uint32_t number, IndexMailbox *out, bool *out_found, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  return mailbox_read (reading, number, out, out_found, error);
}

GArray *
index_mailbox_numbers (Index *self, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading, "SELECT number FROM mailbox ORDER BY number", error);
  if (select == NULL)
    return NULL;
  g_autoptr (GArray) numbers = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (bool row;;) {
    if (!connection_step (reading, select, &row, error))
      return NULL;
    if (!row)
      return g_steal_pointer (&numbers);
    uint32_t number = (uint32_t)sqlite3_column_int64 (select, 0);
    g_array_append_val (numbers, number);
  }
}

/* A mailbox with its number of messages, and of the rows that are found of them. */
#define SELECT_COUNTED                                                                             \
  "SELECT number, messages + expunged,"                                                            \
  "       (SELECT count (*) FROM message WHERE id > number << 32"                                  \
  "                                        AND id < (number + 1) << 32) AS found"                  \
  "  FROM mailbox"

/* The first row of a statement that begins with SELECT_COUNTED, if there is one, is a mailbox in
 * which they differ. */
static bool
count_rows (Connection *reading, sqlite3_stmt *select, GError **error)
{
  bool row;
  return connection_step (reading, select, &row, error) &&
         (!row || fail (error, EUCLEAN, "%s: mailbox %lld has %lld messages, and rows of %lld",
                        reading->name, sqlite3_column_int64 (select, 0),
                        sqlite3_column_int64 (select, 1), sqlite3_column_int64 (select, 2)));
}

bool
index_count (Index *self, uint32_t mailbox, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (
      reading,
      SELECT_COUNTED " WHERE number = ?1"
                     "   AND (messages + expunged <> found"
                     "        OR messages <> (SELECT count (*) FROM message"
                     "                         WHERE id > number << 32 AND id < (number + 1) << 32"
                     "                           AND expunged = 0))",
      error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, mailbox);
  return count_rows (reading, select, error);
}

bool
index_count_all (Index *self, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (
      reading, SELECT_COUNTED " WHERE messages + expunged <> found LIMIT 1", error);
  if (select == NULL || !count_rows (reading, select, error))
    return false;
  auto_statement strays = connection_prepare (
      reading,
      /* A count of a column is made row by row, which has an end in any file; see count_turn(). */
      "SELECT 1 WHERE (SELECT count (id) FROM message)"
      "            <> (SELECT coalesce (sum (messages + expunged), 0) FROM mailbox)",
      error);
  bool row;
  return strays != NULL && connection_step (reading, strays, &row, error) &&
         (!row || fail (error, EUCLEAN, "%s: there are messages of no mailbox", reading->name));
}

bool
index_totals (Index *self, IndexMailbox *out, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (
      reading,
      "SELECT sum (messages), sum (unseen), sum (expunged), sum (damaged), sum (removed),"
      "       sum (bytes)"
      "  FROM mailbox",
      error);
  bool row;
  if (select == NULL || !connection_step (reading, select, &row, error))
    return false;
  *out = (IndexMailbox){
      .messages = (uint32_t)sqlite3_column_int64 (select, 0),
      .unseen = (uint32_t)sqlite3_column_int64 (select, 1),
      .expunged = (uint32_t)sqlite3_column_int64 (select, 2),
      .damaged = (uint32_t)sqlite3_column_int64 (select, 3),
      .removed = (uint32_t)sqlite3_column_int64 (select, 4),
      .bytes = (uint64_t)sqlite3_column_int64 (select, 5),
  };
  return true;
}
