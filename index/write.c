/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write.c - one write transaction.
 *
 * A mailbox's row is read once, kept and changed in memory, and written once, before the commit: a
 * thousand messages cost one update of their mailbox. So within a transaction `mailboxes` is the
 * truth and the table is not.
 */
#include "index/internal.h"

#define MAILBOX_NUMBER_MAX ((1u << 24) - 1)

typedef struct {
  IndexMailbox row;
  bool exists;
  bool changed;
} Mailbox;

struct IndexWrite {
  Db *db;
  GHashTable *mailboxes; /* number to Mailbox */
  bool open;
};

IndexWrite *
index_write_begin (Index *self, GError **error)
{
  if (!db_begin (&self->db, error))
    return NULL;
  IndexWrite *write = g_new0 (IndexWrite, 1);
  write->db = &self->db;
  write->mailboxes = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  write->open = true;
  return write;
}

void
index_write_free (IndexWrite *self)
{
  if (self == NULL)
    return;
  if (self->open)
    db_rollback (self->db);
  g_hash_table_unref (self->mailboxes);
  g_free (self);
}

/* ---- mailboxes ----------------------------------------------------------------------------- */

static Mailbox *
load_mailbox (IndexWrite *self, uint32_t number, GError **error)
{
  Mailbox *found = g_hash_table_lookup (self->mailboxes, GUINT_TO_POINTER (number));
  if (found != NULL)
    return found;
  Mailbox mailbox = {0};
  if (!mailbox_read (self->db->writing, number, &mailbox.row, &mailbox.exists, error))
    return NULL;
  found = g_memdup2 (&mailbox, sizeof mailbox);
  g_hash_table_insert (self->mailboxes, GUINT_TO_POINTER (number), found);
  return found;
}

bool
index_write_get_mailbox (IndexWrite *self, uint32_t number, IndexMailbox *out, bool *out_found,
                         GError **error)
{
  const Mailbox *mailbox = load_mailbox (self, number, error);
  if (mailbox == NULL)
    return false;
  if (mailbox->exists)
    *out = mailbox->row;
  *out_found = mailbox->exists;
  return true;
}

bool
index_write_mailbox (IndexWrite *self, const IndexMailbox *mailbox, GError **error)
{
  if (mailbox->number == 0 || mailbox->number > MAILBOX_NUMBER_MAX)
    return fail (error, EINVAL, "%s: no mailbox can have the number %u", self->db->path,
                 mailbox->number);
  Mailbox *kept = load_mailbox (self, mailbox->number, error);
  if (kept == NULL)
    return false;
  IndexMailbox row = *mailbox;
  row.messages = kept->row.messages;
  row.unseen = kept->row.unseen;
  row.expunged = kept->row.expunged;
  row.damaged = kept->row.damaged;
  row.removed = kept->row.removed;
  row.bytes = kept->row.bytes;
  *kept = (Mailbox){.row = row, .exists = true, .changed = true};
  return true;
}

/* Deletes what has an id in a range, from both tables. */
static bool
delete_messages (IndexWrite *self, int64_t first, int64_t last, GError **error)
{
  auto_statement messages = connection_prepare (
      self->db->writing, "DELETE FROM message WHERE id BETWEEN ?1 AND ?2", error);
  auto_statement summaries = connection_prepare (
      self->db->writing, "DELETE FROM summary WHERE id BETWEEN ?1 AND ?2", error);
  if (messages == NULL || summaries == NULL)
    return false;
  sqlite3_bind_int64 (messages, 1, first);
  sqlite3_bind_int64 (messages, 2, last);
  sqlite3_bind_int64 (summaries, 1, first);
  sqlite3_bind_int64 (summaries, 2, last);
  return db_write (self->db, messages, error) && db_write (self->db, summaries, error);
}

/* Deletes records of removed messages. */
static bool
delete_records (IndexWrite *self, int64_t first, int64_t last, GError **error)
{
  auto_statement records = connection_prepare (
      self->db->writing, "DELETE FROM removed WHERE id BETWEEN ?1 AND ?2", error);
  if (records == NULL)
    return false;
  sqlite3_bind_int64 (records, 1, first);
  sqlite3_bind_int64 (records, 2, last);
  return db_write (self->db, records, error);
}

bool
index_write_remove_mailbox (IndexWrite *self, uint32_t number, GError **error)
{
  Mailbox *mailbox = load_mailbox (self, number, error);
  int64_t first = message_id (number, 0), last = message_id (number, UINT32_MAX);
  if (mailbox == NULL || !delete_messages (self, first, last, error) ||
      !delete_records (self, first, last, error))
    return false;
  *mailbox = (Mailbox){.changed = true};
  return true;
}

static bool
store_mailbox (IndexWrite *self, const IndexMailbox *row, GError **error)
{
  auto_statement replace = connection_prepare (
      self->db->writing,
      "REPLACE INTO mailbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)", error);
  if (replace == NULL)
    return false;
  sqlite3_bind_int64 (replace, 1, row->number);
  sqlite3_bind_int64 (replace, 2, row->uidvalidity);
  sqlite3_bind_int64 (replace, 3, row->uidnext);
  sqlite3_bind_int64 (replace, 4, (int64_t)row->highestmodseq);
  sqlite3_bind_int64 (replace, 5, row->directory_ns);
  sqlite3_bind_int64 (replace, 6, row->last_repair_s);
  sqlite3_bind_int64 (replace, 7, row->messages);
  sqlite3_bind_int64 (replace, 8, row->unseen);
  sqlite3_bind_int64 (replace, 9, row->expunged);
  sqlite3_bind_int64 (replace, 10, row->damaged);
  sqlite3_bind_int64 (replace, 11, row->removed);
  sqlite3_bind_int64 (replace, 12, (int64_t)row->bytes);
  return db_write (self->db, replace, error);
}

static bool
delete_mailbox (IndexWrite *self, uint32_t number, GError **error)
{
  auto_statement delete =
      connection_prepare (self->db->writing, "DELETE FROM mailbox WHERE number = ?1", error);
  if (delete == NULL)
    return false;
  sqlite3_bind_int64 (delete, 1, number);
  return db_write (self->db, delete, error);
}

bool
index_write_commit (IndexWrite *self, GError **error)
{
  GHashTableIter iter;
  void *number, *value;
  g_hash_table_iter_init (&iter, self->mailboxes);
  while (g_hash_table_iter_next (&iter, &number, &value)) {
    const Mailbox *mailbox = value;
    if (mailbox->changed &&
        !(mailbox->exists ? store_mailbox (self, &mailbox->row, error)
                          : delete_mailbox (self, GPOINTER_TO_UINT (number), error)))
      return false;
  }
  if (!db_commit (self->db, error))
    return false;
  self->open = false;
  return true;
}

/* ---- messages ------------------------------------------------------------------------------ */

/* What a message adds to the counts of its mailbox. */
typedef struct {
  bool exists, live, unseen, damaged;
  uint64_t bytes;
} Share;

static Share
make_share (uint32_t flags, uint32_t damage, uint32_t expunged, uint64_t size)
{
  bool live = expunged == 0;
  return (Share){
      .exists = true,
      .live = live,
      .unseen = live && (flags & INDEX_FLAG_SEEN) == 0,
      .damaged = live && (damage & ~(INDEX_DAMAGE_NUL | INDEX_DAMAGE_LIMIT)) != 0,
      .bytes = live ? size : 0,
  };
}

static bool
read_share (IndexWrite *self, int64_t id, Share *out, GError **error)
{
  auto_statement select = connection_prepare (
      self->db->writing, "SELECT flags, damage, expunged, size FROM message WHERE id = ?1", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, id);
  bool row;
  if (!connection_step (self->db->writing, select, &row, error))
    return false;
  *out = (Share){0};
  if (row)
    *out = make_share (
        (uint32_t)sqlite3_column_int64 (select, 0), (uint32_t)sqlite3_column_int64 (select, 1),
        (uint32_t)sqlite3_column_int64 (select, 2), (uint64_t)sqlite3_column_int64 (select, 3));
  return true;
}

static void
add_share (IndexMailbox *row, const Share *share)
{
  row->messages += share->live;
  row->unseen += share->unseen;
  row->expunged += share->exists && !share->live;
  row->damaged += share->damaged;
  row->bytes += share->bytes;
}

static void
subtract_share (IndexMailbox *row, const Share *share)
{
  row->messages -= share->live;
  row->unseen -= share->unseen;
  row->expunged -= share->exists && !share->live;
  row->damaged -= share->damaged;
  row->bytes -= share->bytes;
}

static bool
store_message (IndexWrite *self, int64_t id, const IndexMessage *message, GError **error)
{
  auto_statement replace = connection_prepare (
      self->db->writing, "REPLACE INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
      error);
  if (replace == NULL)
    return false;
  sqlite3_bind_int64 (replace, 1, id);
  sqlite3_bind_int64 (replace, 2, message->flags);
  sqlite3_bind_int64 (replace, 3, message->damage);
  sqlite3_bind_int64 (replace, 4, message->birth);
  sqlite3_bind_int64 (replace, 5, message->expunged);
  sqlite3_bind_int64 (replace, 6, (int64_t)message->size);
  sqlite3_bind_int64 (replace, 7, (int64_t)message->modseq);
  sqlite3_bind_int64 (replace, 8, message->internal_s);
  sqlite3_bind_int64 (replace, 9, message->changed_ns);
  sqlite3_bind_text (replace, 10, message->keywords, -1, SQLITE_STATIC);
  return db_write (self->db, replace, error);
}

static bool
store_summary (IndexWrite *self, int64_t id, const IndexSummary *summary, GError **error)
{
  auto_statement replace = connection_prepare (
      self->db->writing, "REPLACE INTO summary VALUES (?1, ?2, ?3, ?4, ?5)", error);
  if (replace == NULL)
    return false;
  sqlite3_bind_int64 (replace, 1, id);
  sqlite3_bind_blob (replace, 2, summary->sha256, sizeof summary->sha256, SQLITE_STATIC);
  if (summary->sent_s != INT64_MIN)
    sqlite3_bind_int64 (replace, 3, summary->sent_s);
  sqlite3_bind_text (replace, 4, summary->envelope, -1, SQLITE_STATIC);
  sqlite3_bind_text (replace, 5, summary->bodystructure, -1, SQLITE_STATIC);
  return db_write (self->db, replace, error);
}

bool
write_summary (IndexWrite *self, uint32_t mailbox, uint32_t uid, const IndexSummary *summary,
               GError **error)
{
  int64_t id = message_id (mailbox, uid);
  auto_statement select = connection_prepare (
      self->db->writing, "SELECT 1 FROM summary WHERE id = ?1 AND (envelope <> '' OR ?2 = '')",
      error);
  bool known;
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, id);
  sqlite3_bind_text (select, 2, summary->envelope, -1, SQLITE_STATIC);
  return connection_step (self->db->writing, select, &known, error) &&
         (known || store_summary (self, id, summary, error));
}

bool
index_write_get_message (IndexWrite *self, uint32_t mailbox, uint32_t uid, IndexMessage *out,
                         bool *out_found, GError **error)
{
  return message_read (self->db->writing, mailbox, uid, out, out_found, error);
}

/* A message that has a row again is not removed. New ones never were. */
static bool
drop_record (IndexWrite *self, Mailbox *kept, uint32_t uid, GError **error)
{
  if (kept->row.removed == 0 || uid >= kept->row.uidnext)
    return true;
  int64_t id = message_id (kept->row.number, uid);
  uint64_t modseq;
  bool found;
  if (!removed_read (self->db->writing, kept->row.number, uid, &modseq, &found, error) ||
      (found && !delete_records (self, id, id, error)))
    return false;
  kept->row.removed -= found;
  return true;
}

bool
index_write_message (IndexWrite *self, uint32_t mailbox, const IndexMessage *message,
                     const IndexSummary *summary, GError **error)
{
  Mailbox *kept = load_mailbox (self, mailbox, error);
  if (kept == NULL)
    return false;
  if (!kept->exists)
    return fail (error, ENOENT, "%s: no mailbox has the number %u", self->db->path, mailbox);
  if (message->uid == 0)
    return fail (error, EINVAL, "%s: no message can have the UID 0", self->db->path);

  int64_t id = message_id (mailbox, message->uid);
  Share before, after;
  after = make_share (message->flags, message->damage, message->expunged, message->size);
  if (!read_share (self, id, &before, error) || !store_message (self, id, message, error) ||
      (summary != NULL && !store_summary (self, id, summary, error)) ||
      (!before.exists && !drop_record (self, kept, message->uid, error)))
    return false;
  subtract_share (&kept->row, &before);
  add_share (&kept->row, &after);
  kept->row.highestmodseq = MAX (kept->row.highestmodseq, message->modseq);
  if (kept->row.uidnext <= message->uid)
    kept->row.uidnext = message->uid < UINT32_MAX ? message->uid + 1 : UINT32_MAX;
  kept->changed = true;
  return true;
}

static bool
store_record (IndexWrite *self, int64_t id, GError **error)
{
  auto_statement insert = connection_prepare (
      self->db->writing, "REPLACE INTO removed SELECT id, modseq FROM message WHERE id = ?1",
      error);
  if (insert == NULL)
    return false;
  sqlite3_bind_int64 (insert, 1, id);
  return db_write (self->db, insert, error);
}

bool
index_write_remove_message (IndexWrite *self, uint32_t mailbox, uint32_t uid, bool record,
                            GError **error)
{
  int64_t id = message_id (mailbox, uid);
  Mailbox *kept = load_mailbox (self, mailbox, error);
  Share before;
  if (kept == NULL || !read_share (self, id, &before, error))
    return false;
  if (!before.exists)
    return true;
  if ((record && !store_record (self, id, error)) || !delete_messages (self, id, id, error))
    return false;
  subtract_share (&kept->row, &before);
  kept->row.removed += record;
  kept->changed = true;
  return true;
}

/* ---- records of removed messages ----------------------------------------------------------- */

bool
index_write_get_removed (IndexWrite *self, uint32_t mailbox, uint32_t uid, uint64_t *out_modseq,
                         bool *out_found, GError **error)
{
  return removed_read (self->db->writing, mailbox, uid, out_modseq, out_found, error);
}

bool
index_write_forget_removed (IndexWrite *self, uint32_t mailbox, GError **error)
{
  Mailbox *kept = load_mailbox (self, mailbox, error);
  if (kept == NULL ||
      !delete_records (self, message_id (mailbox, 0), message_id (mailbox, UINT32_MAX), error))
    return false;
  kept->row.removed = 0;
  kept->changed |= kept->exists;
  return true;
}
