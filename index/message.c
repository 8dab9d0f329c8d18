/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the rows of messages and their summaries. */
#include "index/internal.h"

#include <string.h>

void
index_message_clear (IndexMessage *message)
{
  g_free (message->keywords);
  *message = (IndexMessage){0};
}

void
index_messages_clear (IndexMessage *messages, size_t count)
{
  for (size_t i = 0; i < count; i++)
    index_message_clear (&messages[i]);
}

void
index_summary_clear (IndexSummary *summary)
{
  g_free (summary->envelope);
  g_free (summary->bodystructure);
  *summary = (IndexSummary){0};
}

/* Both statements that read whole messages select these, in the order that take_message() knows. */
#define MESSAGE_COLUMNS                                                                            \
  "id, flags, damage, birth, expunged, size, modseq, internal_s, changed_ns, keywords"

/* The furthest from 1970 that a filesystem's times reach. */
#define TIME_MAX (INT64_C (1) << 34)

/* SQLite takes any number of 64 bits. One that we cannot have written becomes another, which
 * differs from what the file says, so that a rebuild puts it right; it is nothing to be put on a
 * file. */
static int64_t
take_number (sqlite3_stmt *select, int column, int64_t min, int64_t max, int64_t otherwise)
{
  int64_t value = sqlite3_column_int64 (select, column);
  return value < min || value > max ? otherwise : value;
}

static IndexMessage
take_message (sqlite3_stmt *select)
{
  return (IndexMessage){
      .uid = (uint32_t)sqlite3_column_int64 (select, 0),
      .flags = (uint32_t)take_number (select, 1, 0, UINT32_MAX, 0),
      .damage = (uint32_t)take_number (select, 2, 0, UINT32_MAX, 0),
      .birth = (uint32_t)take_number (select, 3, 0, UINT32_MAX, 0),
      .expunged = (uint32_t)take_number (select, 4, 0, UINT32_MAX, 1),
      .size = (uint64_t)take_number (select, 5, 0, INT64_MAX, 0),
      .modseq = (uint64_t)take_number (select, 6, 0, INT64_MAX, 0),
      .internal_s = take_number (select, 7, -TIME_MAX, TIME_MAX, 0),
      .changed_ns = sqlite3_column_int64 (select, 8),
      .keywords = statement_text (select, 9),
  };
}

bool
message_read (Connection *connection, uint32_t mailbox, uint32_t uid, IndexMessage *out,
              bool *out_found, GError **error)
{
  auto_statement select = connection_prepare (
      connection, "SELECT " MESSAGE_COLUMNS " FROM message WHERE id = ?1", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, message_id (mailbox, uid));
  bool row;
  if (!connection_step (connection, select, &row, error))
    return false;
  if (row)
    *out = take_message (select);
  *out_found = row;
  return true;
}

bool
index_message_get (Index *self, uint32_t mailbox, uint32_t uid, IndexMessage *out, bool *out_found,
                   GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  return message_read (reading, mailbox, uid, out, out_found, error);
}

/* ---- pages --------------------------------------------------------------------------------- */

/* Takes a row of a statement to the place `at` of an array. */
typedef bool (*TakeFunc) (Connection *connection, sqlite3_stmt *select, void *rows, size_t at,
                          GError **error);

/* Takes the first `capacity` rows of a mailbox above UID `after` from a statement that selects by
 * the bounds ?1 and ?2 and the number ?3, the id first, ascending. `*out_count` tells how many were
 * taken, be it until it failed. */
static bool
take_page (Connection *connection, sqlite3_stmt *select, uint32_t mailbox, uint32_t after,
           TakeFunc take, void *rows, size_t capacity, size_t *out_count, GError **error)
{
  int64_t last_id = message_id (mailbox, after);
  sqlite3_bind_int64 (select, 1, last_id);
  sqlite3_bind_int64 (select, 2, message_id (mailbox, UINT32_MAX));
  sqlite3_bind_int64 (select, 3, (int64_t)capacity);
  for (*out_count = 0;; ++*out_count) {
    bool row;
    if (!connection_step (connection, select, &row, error))
      return false;
    if (!row)
      return true;
    /* A damaged tree may run in a ring; whoever asks page by page for what is above the last one
     * would never come to the end of it. */
    int64_t id = sqlite3_column_int64 (select, 0);
    if (id <= last_id)
      return fail (error, EUCLEAN, "%s: rows are out of order", connection->name);
    last_id = id;
    if (!take (connection, select, rows, *out_count, error))
      return false;
  }
}

static bool
take_message_to (Connection *connection, sqlite3_stmt *select, void *rows, size_t at,
                 GError **error)
{
  IndexMessage *messages = rows;
  messages[at] = take_message (select);
  return true;
}

/* A page of messages. Nothing is left in `out` when it fails. */
static bool
take_messages (Connection *reading, sqlite3_stmt *select, uint32_t mailbox, uint32_t after,
               IndexMessage *out, size_t capacity, size_t *out_count, GError **error)
{
  size_t count;
  if (!take_page (reading, select, mailbox, after, take_message_to, out, capacity, &count, error)) {
    index_messages_clear (out, count);
    return false;
  }
  *out_count = count;
  return true;
}

bool
index_message_page (Index *self, uint32_t mailbox, uint32_t after, IndexWhich which,
                    IndexMessage *out, size_t capacity, size_t *out_count, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (reading,
                                              "SELECT " MESSAGE_COLUMNS "  FROM message"
                                              " WHERE id > ?1 AND id <= ?2"
                                              "   AND CASE expunged WHEN 0 THEN ?4 ELSE ?5 END"
                                              " ORDER BY id LIMIT ?3",
                                              error);
  if (select == NULL)
    return false;
  sqlite3_bind_int (select, 4, (which & INDEX_LIVE) != 0);
  sqlite3_bind_int (select, 5, (which & INDEX_EXPUNGED) != 0);
  return take_messages (reading, select, mailbox, after, out, capacity, out_count, error);
}

bool
index_message_page_at (Index *self, uint32_t mailbox, uint32_t after, uint32_t epoch,
                       IndexMessage *out, size_t capacity, size_t *out_count, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (reading,
                                              "SELECT " MESSAGE_COLUMNS "  FROM message"
                                              " WHERE id > ?1 AND id <= ?2 AND birth <= ?4"
                                              "   AND (expunged = 0 OR expunged > ?4)"
                                              " ORDER BY id LIMIT ?3",
                                              error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 4, epoch);
  return take_messages (reading, select, mailbox, after, out, capacity, out_count, error);
}

/* ---- summaries and digests ----------------------------------------------------------------- */

/* A digest is copied only where it has the length of one. */
static bool
take_digest (Connection *connection, sqlite3_stmt *select, int column, uint8_t out[32],
             GError **error)
{
  const void *bytes = sqlite3_column_blob (select, column);
  if (bytes == NULL || sqlite3_column_bytes (select, column) != 32)
    return fail (error, EUCLEAN, "%s: a digest is not 32 bytes long", connection->name);
  memcpy (out, bytes, 32);
  return true;
}

bool
index_summary_get (Index *self, uint32_t mailbox, uint32_t uid, IndexSummary *out, bool *out_found,
                   GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (
      reading, "SELECT sha256, sent_s, envelope, bodystructure FROM summary WHERE id = ?1", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, message_id (mailbox, uid));
  bool row;
  if (!connection_step (reading, select, &row, error))
    return false;
  if (row) {
    g_auto (IndexSummary) summary = {.sent_s = INT64_MIN};
    if (!take_digest (reading, select, 0, summary.sha256, error))
      return false;
    if (sqlite3_column_type (select, 1) != SQLITE_NULL)
      summary.sent_s = sqlite3_column_int64 (select, 1);
    summary.envelope = statement_text (select, 2);
    summary.bodystructure = statement_text (select, 3);
    if (summary.envelope == NULL || summary.bodystructure == NULL)
      return fail (error, EUCLEAN, "%s: a summary lacks its texts", reading->name);
    *out = summary;
    summary = (IndexSummary){0};
  }
  *out_found = row;
  return true;
}

bool
index_digest_get (Index *self, uint32_t mailbox, uint32_t uid, uint64_t *out_size,
                  uint8_t out_sha256[32], bool *out_found, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading,
                          "SELECT size, sha256 FROM message JOIN summary USING (id)"
                          " WHERE id = ?1",
                          error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, message_id (mailbox, uid));
  bool row;
  if (!connection_step (reading, select, &row, error) ||
      (row && !take_digest (reading, select, 1, out_sha256, error)))
    return false;
  if (row)
    *out_size = (uint64_t)sqlite3_column_int64 (select, 0);
  *out_found = row;
  return true;
}

typedef struct {
  uint32_t uid;
  uint8_t sha256[32];
} Digest;

static bool
take_digest_to (Connection *connection, sqlite3_stmt *select, void *rows, size_t at, GError **error)
{
  Digest *digest = (Digest *)rows + at;
  digest->uid = (uint32_t)sqlite3_column_int64 (select, 0);
  return take_digest (connection, select, 1, digest->sha256, error);
}

static bool
read_digests (Index *self, uint32_t mailbox, uint32_t after, Digest *out, size_t capacity,
              size_t *out_count, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (reading,
                                              "SELECT id, sha256 FROM summary"
                                              " WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
                                              error);
  return select != NULL && take_page (reading, select, mailbox, after, take_digest_to, out,
                                      capacity, out_count, error);
}

bool
index_digests (Index *self, uint32_t mailbox, IndexDigestFunc each, void *user_data, GError **error)
{
  /* In pages, so that no lock is held over the callback. */
  Digest page[256];
  size_t count;
  for (uint32_t after = 0;; after = page[count - 1].uid) {
    if (!read_digests (self, mailbox, after, page, G_N_ELEMENTS (page), &count, error))
      return false;
    if (count == 0)
      return true;
    for (size_t i = 0; i < count; i++)
      each (page[i].uid, page[i].sha256, user_data);
  }
}

/* ---- records of removed messages ----------------------------------------------------------- */

bool
removed_read (Connection *connection, uint32_t mailbox, uint32_t uid, uint64_t *out_modseq,
              bool *out_found, GError **error)
{
  auto_statement select =
      connection_prepare (connection, "SELECT modseq FROM removed WHERE id = ?1", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, message_id (mailbox, uid));
  bool row;
  if (!connection_step (connection, select, &row, error))
    return false;
  if (row)
    *out_modseq = (uint64_t)sqlite3_column_int64 (select, 0);
  *out_found = row;
  return true;
}

bool
index_removed_get (Index *self, uint32_t mailbox, uint32_t uid, uint64_t *out_modseq,
                   bool *out_found, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  return removed_read (reading, mailbox, uid, out_modseq, out_found, error);
}
