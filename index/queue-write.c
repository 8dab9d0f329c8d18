/* SPDX-License-Identifier: Apache-2.0 */
/* Adding jobs to the queue, and changing what becomes of them. */
#include "index/internal.h"

#include <string.h>

/* A transaction that is rolled back when it leaves scope uncommitted. */
#define auto_transaction __attribute__ ((cleanup (transaction_clear))) Transaction
typedef struct {
  Db *db; /* NULL: there is none, or no longer */
} Transaction;

static void
transaction_clear (const Transaction *self)
{
  if (self->db != NULL)
    db_rollback (self->db);
}

static bool
transaction_begin (Transaction *self, Db *db, GError **error)
{
  if (!db_begin (db, error))
    return false;
  self->db = db;
  return true;
}

static bool
transaction_commit (Transaction *self, GError **error)
{
  if (!db_commit (self->db, error))
    return false;
  self->db = NULL;
  return true;
}

/* A change that is later than all that were made. */
#define NEXT_CHANGE "(SELECT 1 + ifnull (max (changed), 0) FROM job)"
#define NEXT_NUMBER "max (?1, 1 + ifnull ((SELECT max (id) FROM job), 0))"

/* The columns that queue_change() writes, too, from ?2 on. */
static void
bind_job (sqlite3_stmt *statement, const QueueJob *job)
{
  sqlite3_bind_int (statement, 2, (int)job->state);
  sqlite3_bind_int (statement, 3, job->queued);
  sqlite3_bind_int64 (statement, 4, job->deaths);
  sqlite3_bind_text (statement, 5, job->action, -1, SQLITE_STATIC);
  sqlite3_bind_text (statement, 6, job->nodes, -1, SQLITE_STATIC);
  sqlite3_bind_int64 (statement, 7, job->created_s);
  sqlite3_bind_int64 (statement, 8, job->started_s);
  sqlite3_bind_int64 (statement, 9, job->ended_s);
  sqlite3_bind_int64 (statement, 10, (int64_t)job->done);
  sqlite3_bind_int64 (statement, 11, (int64_t)job->total);
  sqlite3_bind_text (statement, 12, job->unit, -1, SQLITE_STATIC);
  sqlite3_bind_int64 (statement, 13, (int64_t)job->fixed);
  sqlite3_bind_int64 (statement, 14, (int64_t)job->left);
  sqlite3_bind_int64 (statement, 15, (int64_t)job->taken);
  sqlite3_bind_text (statement, 16, job->error, -1, SQLITE_STATIC);
  sqlite3_bind_text (statement, 17, job->log, -1, SQLITE_STATIC);
  sqlite3_bind_int64 (statement, 18, (int64_t)job->runner);
  sqlite3_bind_int64 (statement, 19, job->due_s);
  sqlite3_bind_int (statement, 20, job->code);
}

/* Adds the job, unless there is one that is the same. */
static bool
insert_job (Db *db, uint64_t first, const QueueJob *job, bool *out_added, GError **error)
{
  auto_statement insert = connection_prepare (
      db->writing,
      "INSERT INTO job (" QUEUE_JOB_COLUMNS ") VALUES"
      " (" NEXT_NUMBER ", ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,"
      "  ?18, ?19, ?20, 0, " NEXT_CHANGE ")"
      " ON CONFLICT DO NOTHING",
      error);
  if (insert == NULL)
    return false;
  bind_job (insert, job);
  sqlite3_bind_int64 (insert, 1, (int64_t)first);
  if (!db_write (db, insert, error))
    return false;
  *out_added = sqlite3_changes (db->writing->handle) > 0;
  return true;
}

/* What is asked for now does not wait for what was asked for later. */
static bool
hasten_job (Db *db, uint64_t id, int64_t due_s, GError **error)
{
  auto_statement update = connection_prepare (
      db->writing, "UPDATE job SET due_s = ?2 WHERE id = ?1 AND due_s > ?2", error);
  if (update == NULL)
    return false;
  sqlite3_bind_int64 (update, 1, (int64_t)id);
  sqlite3_bind_int64 (update, 2, due_s);
  return db_write (db, update, error);
}

static bool
find_pending (Db *db, const QueueJob *job, uint64_t *out_id, GError **error)
{
  auto_statement select = connection_prepare (db->writing,
                                              "SELECT id FROM job WHERE action = ?1 AND nodes = ?2"
                                              "  AND (state = 0 OR state = 5 AND queued = 1)",
                                              error);
  bool row;
  if (select == NULL)
    return false;
  sqlite3_bind_text (select, 1, job->action, -1, SQLITE_STATIC);
  sqlite3_bind_text (select, 2, job->nodes, -1, SQLITE_STATIC);
  if (!connection_step (db->writing, select, &row, error))
    return false;
  if (!row)
    return fail (error, EUCLEAN, "%s: neither room for a job nor the job", db->writing->name);
  *out_id = (uint64_t)sqlite3_column_int64 (select, 0);
  return true;
}

static bool
add_job (Db *db, uint64_t first, const QueueJob *job, uint64_t *out_id, bool *out_added,
         GError **error)
{
  if (!insert_job (db, first, job, out_added, error))
    return false;
  if (!*out_added)
    return find_pending (db, job, out_id, error) && hasten_job (db, *out_id, job->due_s, error);
  *out_id = (uint64_t)sqlite3_last_insert_rowid (db->writing->handle);
  return true;
}

/* Counting takes as long as there are many, so it is done only where there may be too many: numbers
 * are given out one after the other. */
static bool
check_room (Db *db, uint64_t most, GError **error)
{
  static const char first_sql[] = "SELECT min (id) FROM job WHERE state < 2 OR state = 5";
  static const char last_sql[] = "SELECT max (id) FROM job";
  uint64_t first, last, waiting;
  if (!queue_read_number (db->writing, first_sql, &first, error) ||
      !queue_read_number (db->writing, last_sql, &last, error))
    return false;
  if (last - first < most)
    return true;
  return queue_read_length (db->writing, &waiting, error) &&
         (waiting <= most ||
          fail (error, EAGAIN, "the queue is full: %" G_GUINT64_FORMAT " jobs wait", most));
}

bool
queue_add (Queue *self, uint64_t first, const QueueJob *jobs, size_t count, uint64_t most,
           uint64_t *out_ids, bool *out_added, GError **error)
{
  auto_transaction transaction = {NULL};
  g_autofree uint64_t *ids = g_new (uint64_t, count);
  g_autofree bool *added = g_new (bool, count);
  bool waits = false;
  if (count == 0)
    return true;
  if (!transaction_begin (&transaction, &self->db, error))
    return false;
  for (size_t i = 0; i < count; i++) {
    if (!add_job (&self->db, first, &jobs[i], &ids[i], &added[i], error))
      return false;
    waits |= added[i] && jobs[i].state == QUEUE_WAITING;
  }
  if ((waits && !check_room (&self->db, most, error)) || !transaction_commit (&transaction, error))
    return false;
  memcpy (out_ids, ids, count * sizeof *ids);
  memcpy (out_added, added, count * sizeof *added);
  return true;
}

static bool
update_job (Db *db, const QueueJob *from, const QueueJob *to, bool *out_changed, GError **error)
{
  auto_statement update = connection_prepare (
      db->writing,
      "UPDATE OR IGNORE job SET state = ?2, queued = ?3, deaths = ?4, action = ?5, nodes = ?6,"
      "  created_s = ?7, started_s = ?8, ended_s = ?9, done = ?10, total = ?11, unit = ?12,"
      "  fixed = ?13, left = ?14, taken = ?15, error = ?16, log = ?17, runner = ?18, due_s = ?19,"
      "  code = ?20, changed = " NEXT_CHANGE ","
      "  cancel = cancel AND ?2 = 1" /* it was asked of a run, not of a job that waits */
      " WHERE id = ?1 AND state = ?21 AND runner = ?22",
      error);
  if (update == NULL)
    return false;
  bind_job (update, to);
  sqlite3_bind_int64 (update, 1, (int64_t)from->id);
  sqlite3_bind_int (update, 21, (int)from->state);
  sqlite3_bind_int64 (update, 22, (int64_t)from->runner);
  if (!db_write (db, update, error))
    return false;
  *out_changed = sqlite3_changes (db->writing->handle) > 0;
  return true;
}

static bool
insert_finding (Db *db, uint64_t id, size_t number, const QueueFinding *finding, GError **error)
{
  auto_statement insert = connection_prepare (
      db->writing, "REPLACE INTO finding VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", error);
  if (insert == NULL)
    return false;
  sqlite3_bind_int64 (insert, 1, (int64_t)id);
  sqlite3_bind_int64 (insert, 2, (int64_t)number);
  sqlite3_bind_text (insert, 3, finding->problem, -1, SQLITE_STATIC);
  sqlite3_bind_int (insert, 4, finding->outcome);
  sqlite3_bind_int64 (insert, 5, finding->node);
  sqlite3_bind_int64 (insert, 6, finding->uid);
  sqlite3_bind_int64 (insert, 7, (int64_t)finding->size);
  sqlite3_bind_text (insert, 8, finding->object, -1, SQLITE_STATIC);
  sqlite3_bind_text (insert, 9, finding->detail, -1, SQLITE_STATIC);
  return db_write (db, insert, error);
}

#define ENDED "state > 1 AND NOT (state = 5 AND queued = 1)"

/* Those to go: what ended first goes first, however long it ran. The newest stays, so that its
 * number is not used again. */
#define OUTDATED "changed <= ?1 AND " ENDED " AND id < (SELECT max (id) FROM job)"

/* The last change of a job that is to go for those that have ended not to be too many; 0: none. */
static bool
find_outdated (Db *db, int64_t *out_changed, GError **error)
{
  auto_statement select = connection_prepare (
      db->writing,
      "SELECT changed FROM job WHERE " ENDED " ORDER BY changed DESC LIMIT 1 OFFSET ?1", error);
  bool row;
  if (select == NULL)
    return false;
  sqlite3_bind_int (select, 1, QUEUE_ENDED_MAX);
  if (!connection_step (db->writing, select, &row, error))
    return false;
  *out_changed = row ? sqlite3_column_int64 (select, 0) : 0;
  return true;
}

/* Runs one of the literals that delete old jobs or what belongs to them. */
static bool
delete_outdated (Db *db, const char *sql, int64_t changed, GError **error)
{
  auto_statement delete = connection_prepare (db->writing, sql, error);
  if (delete == NULL)
    return false;
  sqlite3_bind_int64 (delete, 1, changed);
  return db_write (db, delete, error);
}

static bool
prune (Db *db, GError **error)
{
  static const char findings_sql[] =
      "DELETE FROM finding WHERE job IN (SELECT id FROM job WHERE " OUTDATED ")";
  static const char jobs_sql[] = "DELETE FROM job WHERE " OUTDATED;
  int64_t changed;
  if (!find_outdated (db, &changed, error))
    return false;
  return changed == 0 || (delete_outdated (db, findings_sql, changed, error) &&
                          delete_outdated (db, jobs_sql, changed, error));
}

bool
queue_change (Queue *self, const QueueJob *from, const QueueJob *to, const QueueFinding *findings,
              size_t count, bool *out_changed, GError **error)
{
  auto_transaction transaction = {NULL};
  bool changed;
  if (!transaction_begin (&transaction, &self->db, error) ||
      !update_job (&self->db, from, to, &changed, error))
    return false;
  for (size_t i = 0; changed && i < count; i++) {
    if (!insert_finding (&self->db, from->id, i, &findings[i], error))
      return false;
  }
  if (changed && to->state > QUEUE_RUNNING && !prune (&self->db, error))
    return false;
  if (!transaction_commit (&transaction, error))
    return false;
  *out_changed = changed;
  return true;
}

static bool
update_progress (Db *db, const QueueJob *job, GError **error)
{
  auto_statement update = connection_prepare (db->writing,
                                              "UPDATE job SET done = ?2, total = ?3, unit = ?4,"
                                              "  changed = " NEXT_CHANGE
                                              "  WHERE id = ?1 AND state = 1 AND runner = ?5",
                                              error);
  if (update == NULL)
    return false;
  sqlite3_bind_int64 (update, 1, (int64_t)job->id);
  sqlite3_bind_int64 (update, 2, (int64_t)job->done);
  sqlite3_bind_int64 (update, 3, (int64_t)job->total);
  sqlite3_bind_text (update, 4, job->unit, -1, SQLITE_STATIC);
  sqlite3_bind_int64 (update, 5, (int64_t)job->runner);
  return db_write (db, update, error);
}

static bool
read_cancel (Db *db, uint64_t id, bool *out_cancel, GError **error)
{
  auto_statement select =
      connection_prepare (db->writing, "SELECT cancel FROM job WHERE id = ?1", error);
  bool row;
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, (int64_t)id);
  if (!connection_step (db->writing, select, &row, error))
    return false;
  *out_cancel = row && sqlite3_column_int (select, 0) != 0;
  return true;
}

bool
queue_progress (Queue *self, const QueueJob *job, bool *out_cancel, GError **error)
{
  auto_transaction transaction = {NULL};
  bool cancel;
  if (!transaction_begin (&transaction, &self->db, error) ||
      !update_progress (&self->db, job, error) ||
      !read_cancel (&self->db, job->id, &cancel, error) ||
      !transaction_commit (&transaction, error))
    return false;
  *out_cancel = cancel;
  return true;
}

static bool
ask_cancel (Db *db, uint64_t id, bool *out_running, GError **error)
{
  auto_statement update = connection_prepare (
      db->writing, "UPDATE job SET cancel = 1 WHERE id = ?1 AND state = 1", error);
  if (update == NULL)
    return false;
  sqlite3_bind_int64 (update, 1, (int64_t)id);
  if (!db_write (db, update, error))
    return false;
  *out_running = sqlite3_changes (db->writing->handle) > 0;
  return true;
}

bool
queue_cancel (Queue *self, uint64_t id, bool *out_running, GError **error)
{
  auto_transaction transaction = {NULL};
  bool running;
  if (!transaction_begin (&transaction, &self->db, error) ||
      !ask_cancel (&self->db, id, &running, error) || !transaction_commit (&transaction, error))
    return false;
  *out_running = running;
  return true;
}
