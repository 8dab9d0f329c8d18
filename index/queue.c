/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of a store, as it is read: jobs that wait, run, or have ended. */
#include "index/internal.h"

/* More jobs than this no store ever had; their numbers fit an inode of a mount. */
#define NUMBER_MAX (UINT64_C (1) << 28)

void
queue_job_clear (QueueJob *job)
{
  g_free (job->action);
  g_free (job->nodes);
  g_free (job->unit);
  g_free (job->error);
  g_free (job->log);
  *job = (QueueJob){0};
}

void
queue_jobs_clear (QueueJob *jobs, size_t count)
{
  for (size_t i = 0; i < count; i++)
    queue_job_clear (&jobs[i]);
}

Queue *
queue_open (const char *path, IndexOpenFlags flags, GError **error)
{
  g_autoptr (Queue) self = g_new0 (Queue, 1);
  return db_open (&self->db, &queue_schema, path, flags, error) ? g_steal_pointer (&self) : NULL;
}

void
queue_close (Queue *self)
{
  if (self == NULL)
    return;
  db_close (&self->db);
  g_free (self);
}

bool
queue_is_current (const Queue *self)
{
  return db_is_current (&self->db);
}

/* A flipped bit makes such numbers, and the last of all leaves none for the next job. */
bool
queue_verify (Queue *self, GError **error)
{
  uint64_t highest;
  return db_verify (&self->db, error) && queue_highest (self, &highest, error) &&
         (highest <= NUMBER_MAX ||
          fail (error, EUCLEAN, "%s: the number of a job makes no sense", self->db.path));
}

/* ---- reading ------------------------------------------------------------------------------- */

/* The next job; `*out_found` is false at the end. */
static bool
step_job (Connection *connection, sqlite3_stmt *select, QueueJob *out, bool *out_found,
          GError **error)
{
  bool row;
  if (!connection_step (connection, select, &row, error))
    return false;
  int64_t state = row ? sqlite3_column_int64 (select, 1) : 0;
  if (row && (state < QUEUE_WAITING || state > QUEUE_INTERRUPTED ||
              sqlite3_column_text (select, 4) == NULL || sqlite3_column_text (select, 5) == NULL ||
              sqlite3_column_text (select, 16) == NULL))
    return fail (error, EUCLEAN, "%s: a job makes no sense", connection->name);
  if (row)
    *out = (QueueJob){
        .id = (uint64_t)sqlite3_column_int64 (select, 0),
        .state = (QueueState)state,
        .queued = sqlite3_column_int (select, 2) != 0,
        .deaths = (uint32_t)sqlite3_column_int64 (select, 3),
        .action = statement_text (select, 4),
        .nodes = statement_text (select, 5),
        .created_s = sqlite3_column_int64 (select, 6),
        .started_s = sqlite3_column_int64 (select, 7),
        .ended_s = sqlite3_column_int64 (select, 8),
        .done = (uint64_t)sqlite3_column_int64 (select, 9),
        .total = (uint64_t)sqlite3_column_int64 (select, 10),
        .unit = statement_text (select, 11),
        .fixed = (uint64_t)sqlite3_column_int64 (select, 12),
        .left = (uint64_t)sqlite3_column_int64 (select, 13),
        .taken = (uint64_t)sqlite3_column_int64 (select, 14),
        .error = statement_text (select, 15),
        .log = statement_text (select, 16),
        .runner = (uint64_t)sqlite3_column_int64 (select, 17),
        .due_s = sqlite3_column_int64 (select, 18),
        .code = sqlite3_column_int (select, 19),
        .cancel = sqlite3_column_int (select, 20) != 0,
        .changed = (uint64_t)sqlite3_column_int64 (select, 21),
    };
  *out_found = row;
  return true;
}

bool
queue_get (Queue *self, uint64_t id, QueueJob *out, bool *out_found, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading, "SELECT " QUEUE_JOB_COLUMNS " FROM job WHERE id = ?1", error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, (int64_t)id);
  return step_job (reading, select, out, out_found, error);
}

/* Reads the jobs of one of the literals that take a number and how many. */
static bool
read_page (Queue *self, const char *sql, uint64_t after, QueueJob *out, size_t capacity,
           size_t *out_count, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (reading, sql, error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, (int64_t)after);
  sqlite3_bind_int64 (select, 2, (int64_t)capacity);
  for (size_t count = 0;; count++) {
    bool found;
    if (!step_job (reading, select, &out[count], &found, error)) {
      queue_jobs_clear (out, count);
      return false;
    }
    if (!found) {
      *out_count = count;
      return true;
    }
  }
}

bool
queue_page (Queue *self, uint64_t after, bool open, QueueJob *out, size_t capacity,
            size_t *out_count, GError **error)
{
  static const char all_sql[] = "SELECT " QUEUE_JOB_COLUMNS " FROM job WHERE id > ?1"
                                " ORDER BY id LIMIT ?2";
  /* In the words of the index of that name, else SQLite does not use it. */
  static const char open_sql[] = "SELECT " QUEUE_JOB_COLUMNS " FROM job WHERE id > ?1"
                                 "  AND (state < 2 OR state = 5) ORDER BY id LIMIT ?2";
  return read_page (self, open ? open_sql : all_sql, after, out, capacity, out_count, error);
}

bool
queue_running (Queue *self, QueueJob *out, size_t capacity, size_t *out_count, GError **error)
{
  static const char sql[] = "SELECT " QUEUE_JOB_COLUMNS " FROM job WHERE id > ?1 AND state = 1"
                            " ORDER BY id LIMIT ?2";
  return read_page (self, sql, 0, out, capacity, out_count, error);
}

bool
queue_changes (Queue *self, uint64_t after, QueueJob *out, size_t capacity, size_t *out_count,
               GError **error)
{
  static const char sql[] = "SELECT " QUEUE_JOB_COLUMNS " FROM job WHERE changed > ?1"
                            " ORDER BY changed LIMIT ?2";
  return read_page (self, sql, after, out, capacity, out_count, error);
}

bool
queue_read_number (Connection *connection, const char *sql, uint64_t *out, GError **error)
{
  auto_statement select = connection_prepare (connection, sql, error);
  bool row;
  if (select == NULL || !connection_step (connection, select, &row, error))
    return false;
  *out = row ? (uint64_t)sqlite3_column_int64 (select, 0) : 0;
  return true;
}

bool
queue_last_change (Queue *self, uint64_t *out, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  return queue_read_number (reading, "SELECT max (changed) FROM job", out, error);
}

bool
queue_highest (Queue *self, uint64_t *out, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  return queue_read_number (reading, "SELECT max (id) FROM job", out, error);
}

bool
queue_read_length (Connection *connection, uint64_t *out, GError **error)
{
  return queue_read_number (connection,
                            "SELECT count (*) FROM job WHERE state = 0 OR state = 5 AND queued = 1",
                            out, error);
}

bool
queue_length (Queue *self, uint64_t *out, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  return queue_read_length (reading, out, error);
}

bool
queue_newest (Queue *self, const char *command, const char *nodes, bool pending, QueueJob *out,
              bool *out_found, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading,
                          "SELECT " QUEUE_JOB_COLUMNS " FROM job WHERE nodes = ?1 AND command = ?2"
                          "    AND (NOT ?3 OR state < 2 OR state = 5 AND queued = 1)"
                          "  ORDER BY id DESC LIMIT 1",
                          error);
  if (select == NULL)
    return false;
  sqlite3_bind_text (select, 1, nodes, -1, SQLITE_STATIC);
  sqlite3_bind_text (select, 2, command, -1, SQLITE_STATIC);
  sqlite3_bind_int (select, 3, pending);
  return step_job (reading, select, out, out_found, error);
}

bool
queue_last (Queue *self, const char *action, const char *nodes, QueueJob *out, bool *out_found,
            GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select = connection_prepare (
      reading,
      "SELECT " QUEUE_JOB_COLUMNS " FROM job WHERE action = ?1 AND nodes = ?2 AND state IN (2, 3)"
      " ORDER BY id DESC LIMIT 1",
      error);
  if (select == NULL)
    return false;
  sqlite3_bind_text (select, 1, action, -1, SQLITE_STATIC);
  sqlite3_bind_text (select, 2, nodes, -1, SQLITE_STATIC);
  return step_job (reading, select, out, out_found, error);
}

bool
queue_findings (Queue *self, uint64_t id, QueueFindingFunc each, void *user_data, GError **error)
{
  auto_connection reading = connection_acquire (self->db.reading);
  auto_statement select =
      connection_prepare (reading,
                          "SELECT problem, outcome, node, uid, size, object, detail FROM finding"
                          " WHERE job = ?1 ORDER BY number",
                          error);
  if (select == NULL)
    return false;
  sqlite3_bind_int64 (select, 1, (int64_t)id);
  for (bool row;;) {
    if (!connection_step (reading, select, &row, error))
      return false;
    if (!row)
      return true;
    g_autofree char *problem = statement_text (select, 0);
    g_autofree char *object = statement_text (select, 5);
    g_autofree char *detail = statement_text (select, 6);
    if (problem == NULL || object == NULL || detail == NULL)
      return fail (error, EUCLEAN, "%s: a finding makes no sense", reading->name);
    QueueFinding finding = {.problem = problem,
                            .outcome = sqlite3_column_int (select, 1),
                            .node = (uint32_t)sqlite3_column_int64 (select, 2),
                            .uid = (uint32_t)sqlite3_column_int64 (select, 3),
                            .size = (uint64_t)sqlite3_column_int64 (select, 4),
                            .object = object,
                            .detail = detail};
    each (&finding, user_data);
  }
}
