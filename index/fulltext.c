/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The full-text index of a user: of each message that is in it, which three characters in a row its
 * text has. A text that is looked for has each of its own such triples in every message that it is
 * in; so what lacks one is ruled out, and what has them all is worth reading.
 *
 * Neither texts nor places in them are kept, which makes the index smaller than the mail. What
 * FTS5 has no text of it cannot delete; UIDs are never used again, so what is left of messages that
 * are gone does no harm.
 */
#include "index/internal.h"

#include <string.h>

/* Triples that one question asks for; more rule out hardly anything else. */
#define TRIPLES_MAX 48u

struct Fulltext {
  Db db;
};

struct FulltextWrite {
  Db *db;
  bool open;
};

Fulltext *
fulltext_open (const char *path, IndexOpenFlags flags, GError **error)
{
  g_autoptr (Fulltext) self = g_new0 (Fulltext, 1);
  return db_open (&self->db, &fulltext_schema, path, flags, error) ? g_steal_pointer (&self) : NULL;
}

void
fulltext_close (Fulltext *self)
{
  if (self == NULL)
    return;
  db_close (&self->db);
  g_free (self);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Adds the UIDs of the rows that a statement selects. */
static bool
take_uids (Connection *reading, sqlite3_stmt *select, GArray *out, GError **error)
{
  for (bool row;;) {
    if (!connection_step (reading, select, &row, error))
      return false;
    if (!row)
      return true;
    uint32_t uid = (uint32_t)sqlite3_column_int64 (select, 0);
    g_array_append_val (out, uid);
  }
}

bool
fulltext_known (Fulltext *self, uint32_t mailbox, uint32_t first, uint32_t last, GArray *out_uids,
                GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (
      reading, "SELECT id FROM message WHERE id BETWEEN ?1 AND ?2 ORDER BY id", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, message_id (mailbox, first));
  sqlite3_bind_int64 (select, 2, message_id (mailbox, last));
  return take_uids (reading, select, out_uids, error);
}

/* The triples of a text, as FTS5 is asked for all of them: "abc" "bcd". NULL: it has none. */
static char *
spell_triples (const char *text)
{
  GString *spelled = g_string_new (NULL);
  size_t count = 0;
  for (const char *at = text; count < TRIPLES_MAX; at = g_utf8_next_char (at), count++) {
    const char *end = at;
    for (int i = 0; i < 3 && *end != '\0'; i++)
      end = g_utf8_next_char (end);
    if (g_utf8_strlen (at, end - at) < 3)
      break;
    g_string_append (spelled, count > 0 ? " \"" : "\"");
    for (const char *c = at; c < end; c++) {
      if (*c == '"')
        g_string_append_c (spelled, '"');
      g_string_append_c (spelled, *c);
    }
    g_string_append_c (spelled, '"');
  }
  return g_string_free (spelled, count == 0);
}

bool
fulltext_candidates (Fulltext *self, uint32_t mailbox, uint32_t first, uint32_t last,
                     const char *text, GArray *out_uids, GError **error)
{
  g_autofree char *triples = spell_triples (text);
  if (triples == NULL)
    return fulltext_known (self, mailbox, first, last, out_uids, error);
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (
      reading,
      "SELECT rowid FROM body WHERE body MATCH ?1 AND rowid BETWEEN ?2 AND ?3 ORDER BY rowid",
      error);
  if (select == NULL)
    return false;
  sqlite3_bind_text (select, 1, triples, -1, SQLITE_STATIC);
  sqlite3_bind_int64 (select, 2, message_id (mailbox, first));
  sqlite3_bind_int64 (select, 3, message_id (mailbox, last));
  return take_uids (reading, select, out_uids, error);
}

bool
fulltext_count (Fulltext *self, uint64_t *out_count, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  /* Of a column: row by row, which comes to an end in any file; see count_turn(). */
  auto_statement select = connection_prepare (reading, "SELECT count (id) FROM message", error);
  bool row;
  if (select == NULL || !connection_step (reading, select, &row, error))
    return false;
  *out_count = (uint64_t)sqlite3_column_int64 (select, 0);
  return true;
}

/* ---- writing ------------------------------------------------------------------------------- */

FulltextWrite *
fulltext_write_begin (Fulltext *self, GError **error)
{
  if (!db_begin (&self->db, error))
    return NULL;
  FulltextWrite *write = g_new0 (FulltextWrite, 1);
  *write = (FulltextWrite){.db = &self->db, .open = true};
  return write;
}

void
fulltext_write_free (FulltextWrite *self)
{
  if (self == NULL)
    return;
  if (self->open)
    db_rollback (self->db);
  g_free (self);
}

bool
fulltext_write_commit (FulltextWrite *self, GError **error)
{
  if (!db_commit (self->db, error))
    return false;
  self->open = false;
  return true;
}

/* Another process may have been faster; then FTS5 must not get the text twice. */
bool
fulltext_write_add (FulltextWrite *self, uint32_t mailbox, uint32_t uid, const char *text,
                    GError **error)
{
  Connection *writing = self->db->writing;
  auto_statement message =
      connection_prepare (writing, "INSERT OR IGNORE INTO message VALUES (?1)", error);
  auto_statement body =
      connection_prepare (writing, "INSERT INTO body (rowid, text) VALUES (?1, ?2)", error);
  if (message == NULL || body == NULL)
    return false;
  sqlite3_bind_int64 (message, 1, message_id (mailbox, uid));
  sqlite3_bind_int64 (body, 1, message_id (mailbox, uid));
  sqlite3_bind_text (body, 2, text, -1, SQLITE_STATIC);
  if (!db_write (self->db, message, error))
    return false;
  return sqlite3_changes (writing->handle) == 0 || db_write (self->db, body, error);
}
