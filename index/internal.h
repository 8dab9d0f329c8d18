/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of index/ share: one database, its two connections, its statements.
 *
 * Every read of a database runs on its reading connection, every transaction on its writing one.
 * Both use a rollback journal, where a reader that holds its lock keeps the committer out. So a
 * statement is reset as soon as its function returns, and no lock on the file outlives a call, but
 * for the calls between db_read_begin() and db_read_end(). The two `auto_` types see to it, if they
 * are declared in this order:
 *
 *   auto_connection reading = connection_acquire (self->db.reading);
 *   auto_statement select = connection_prepare (reading, "SELECT ... WHERE id = ?1", error);
 *   if (select == NULL)
 *     return false;
 *   sqlite3_bind_int64 (select, 1, id);
 *   bool row;
 *   if (!connection_step (reading, select, &row, error))
 *     return false;
 */
#pragma once

#include "index/index.h"

#include <sqlite3.h>
#include <sys/types.h>

/* ---- connection.c: one SQLite handle and its prepared statements --------------------------- */

#define CONNECTION_STATEMENTS 24

typedef struct {
  GRecMutex mutex;  /* guards all below, and the handle: SQLite does no locking of its own. What is
                       used for writing alone is guarded by the transaction instead */
  sqlite3 *handle;  /* NULL: not open */
  const char *name; /* the path, which is the Db's, or ":memory:" */
  struct {
    const char *sql; /* the literal itself is the key: compared by address */
    sqlite3_stmt *statement;
  } prepared[CONNECTION_STATEMENTS];
  uint64_t turns, turns_max; /* of the statement that runs; see count_turn() */
} Connection;

/* Opens the existing file at `path` (NULL: an empty database in memory). Reads nothing yet. */
bool connection_open (Connection *self, const char *path, bool read_only, GError **error);

/* Likewise the database whose bytes are at `image`, for reading; they stay the caller's. */
bool connection_open_image (Connection *self, const char *name, void *image, size_t size,
                            GError **error);

/* Sets what each connection needs: durability, caches, distrust. The first that reads the file. */
bool connection_configure (Connection *self, GError **error);
void connection_close (Connection *self);

/* Waits until no other thread uses the connection. It is released when the variable leaves scope.
 */
#define auto_connection __attribute__ ((cleanup (connection_release))) AutoConnection
typedef Connection *AutoConnection;
Connection *connection_acquire (Connection *self);
void connection_release (Connection *const *self);

/* The statement of a string literal, prepared at its first use; it stays the connection's. */
sqlite3_stmt *connection_prepare (Connection *self, const char *sql, GError **error);

/* `*out_row` is false at the end. */
bool connection_step (Connection *self, sqlite3_stmt *statement, bool *out_row, GError **error);

/* For statements without rows that run seldom. */
bool connection_execute (Connection *self, const char *sql, GError **error);

/* Sets `error` to what went wrong last. Always returns false. */
bool connection_fail (Connection *self, GError **error);

#define auto_statement __attribute__ ((cleanup (statement_reset))) AutoStatement
typedef sqlite3_stmt *AutoStatement;
void statement_reset (const AutoStatement *self);

/* A copy of a text column; NULL stays NULL. */
char *statement_text (sqlite3_stmt *self, int column);

/* ---- schema.c: what a database of ours looks like ------------------------------------------ */

typedef struct {
  const char *name; /* for messages: "index" */
  int32_t application_id;
  int32_t version;
  const char *sql; /* exactly what the database keeps in sqlite_schema */
  const char
      *shadows; /* but for tables with such names, in which FTS5 keeps a virtual one; or NULL */
} Schema;

extern const Schema index_schema, list_schema, queue_schema, fulltext_schema;

/* Looks at the first bytes of the file, without a lock and before SQLite acts on them. `*out_fresh`
 * tells a file that holds nothing yet. EUCLEAN: anything that we did not make. */
bool schema_check_header (const Schema *self, Connection *connection, bool *out_fresh,
                          GError **error);

/* Holds the tables against the schema. `*out_fresh` as above; EUCLEAN when they differ. */
bool schema_check_tables (const Schema *self, Connection *connection, bool *out_fresh,
                          GError **error);

/* Makes the tables, unless another process came first. */
bool schema_create (const Schema *self, Connection *connection, GError **error);

/* ---- budget.c: memory that copies of evidence take ------------------------------------------- */

/* Takes a part of it for what `name` is a copy of; and gives it back. ENOMEM: there is too little.
 */
bool budget_take (const char *name, uint64_t size, GError **error);
void budget_give (uint64_t size);

/* ---- db.c: one database file --------------------------------------------------------------- */

typedef struct {
  const Schema *schema;
  char *path;  /* NULL: in memory */
  char *name;  /* for messages, of an image; else NULL */
  void *image; /* that is all the database there is: mapped, and unmapped at the end; else NULL */
  size_t image_size;
  uint64_t budget; /* what it takes of that */
  bool read_only;
  dev_t device; /* of the file that was opened */
  ino_t inode;
  Connection connections[2];
  Connection *reading;
  Connection *writing; /* opened by the first transaction; in memory the same as `reading` */

  GMutex mutex; /* guards `is_writing` */
  GCond written;
  bool is_writing; /* there is a transaction, which alone uses `writing` and `failed` */
  int failed;      /* errno of a failed change in this transaction */
} Db;

/* As index_open(). After failure only db_close() may follow. */
bool db_open (Db *self, const Schema *schema, const char *path, IndexOpenFlags flags,
              GError **error);
void db_close (Db *self);

/* Opens a database whose bytes are mapped into memory, for reading; they belong to it from then on,
 * also after failure. Errors are as for a file. */
bool db_open_image (Db *self, const Schema *schema, const char *name, void *image, size_t size,
                    GError **error);
bool db_is_current (const Db *self);
bool db_data_version (Db *self, uint32_t *out_version, GError **error);
bool db_verify (Db *self, GError **error);
bool db_sync (Db *self, GError **error);
bool db_compact (Db *self, const char *path, GError **error);

/* A transaction of the reading connection, which is the thread's own from begin to end. */
bool db_read_begin (Db *self, GError **error);
void db_read_end (Db *self);

/* A transaction: from begin to the commit that succeeds, or to the rollback, no other begins. One
 * thread may carry on what another began; in memory, where reading waits for it, only its own.
 * After db_write() failed, other than by EEXIST, every db_write() and db_commit() fails: half a
 * change is never committed. A commit that failed by EBUSY may be tried again. */
bool db_begin (Db *self, GError **error);
bool db_write (Db *self, sqlite3_stmt *statement, GError **error);
bool db_commit (Db *self, GError **error);
void db_rollback (Db *self);

/* ---- queue.c, queue-write.c ---------------------------------------------------------------- */

struct Queue {
  Db db;
};

/* All statements that read or add whole jobs name these, in the order that both know. */
#define QUEUE_JOB_COLUMNS                                                                          \
  "id, state, queued, deaths, action, nodes, created_s, started_s, ended_s, done, total, unit,"    \
  " fixed, left, taken, error, log, runner, due_s, code, cancel, changed"

/* The only number that a literal selects; 0 for NULL. */
bool queue_read_number (Connection *connection, const char *sql, uint64_t *out, GError **error);

/* How many jobs wait. */
bool queue_read_length (Connection *connection, uint64_t *out, GError **error);

/* ---- mailbox.c, message.c: rows ------------------------------------------------------------ */

struct Index {
  Db db;
  bool salvaged; /* of what is left in others */
};

/* ---- list.c --------------------------------------------------------------------------------- */

struct List {
  Db db;
};

/* A message's row, mailbox by mailbox in the order of UIDs, so that a mailbox is one range. */
static inline int64_t
message_id (uint32_t mailbox, uint32_t uid)
{
  return (int64_t)mailbox << 32 | uid;
}

/* As index_mailbox_get(), index_message_get() and index_removed_get(); the connection is the
 * caller's. */
bool mailbox_read (Connection *connection, uint32_t number, IndexMailbox *out, bool *out_found,
                   GError **error);
bool message_read (Connection *connection, uint32_t mailbox, uint32_t uid, IndexMessage *out,
                   bool *out_found, GError **error);
bool removed_read (Connection *connection, uint32_t mailbox, uint32_t uid, uint64_t *out_modseq,
                   bool *out_found, GError **error);

/* Adds a summary, unless there is one that tells as much; its message need not be there. */
bool write_summary (IndexWrite *self, uint32_t mailbox, uint32_t uid, const IndexSummary *summary,
                    GError **error);
