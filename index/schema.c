/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the three databases, and the tests that a file on disk holds just these. */
#include "index/internal.h"

#include <string.h>

/* SQLite keeps these texts with their comments, so `.schema` explains a database to who finds it.
 * Any change, of a comment too, needs a new version below. */

static const char index_sql[] = //
    "CREATE TABLE mailbox (\n"
    "  number INTEGER PRIMARY KEY,       -- given out once per store\n"
    "  uidvalidity INTEGER NOT NULL,\n"
    "  uidnext INTEGER NOT NULL,         -- above the UID of every message\n"
    "  highestmodseq INTEGER NOT NULL,   -- not below the modseq of any message\n"
    "  directory_ns INTEGER NOT NULL,    -- mtime when rows and files last agreed; 0: they may not\n"
    "  last_repair_s INTEGER NOT NULL,\n"
    "  messages INTEGER NOT NULL,        -- live ones\n"
    "  unseen INTEGER NOT NULL,          -- live ones without \\Seen\n"
    "  expunged INTEGER NOT NULL,\n"
    "  damaged INTEGER NOT NULL,         -- live ones with damage other than NUL and limit\n"
    "  removed INTEGER NOT NULL,         -- records below\n"
    "  bytes INTEGER NOT NULL            -- of the live ones\n"
    ") STRICT;\n"
    "CREATE TABLE message (\n"
    "  id INTEGER PRIMARY KEY,           -- mailbox number << 32 | UID\n"
    "  flags INTEGER NOT NULL,           -- 1 answered, 2 deleted, 4 draft, 8 flagged, 16 seen\n"
    "  damage INTEGER NOT NULL,          -- 1 NUL, 2 size, 4 digest, 8 unreadable, 16 past a limit\n"
    "  birth INTEGER NOT NULL,           -- epoch of delivery\n"
    "  expunged INTEGER NOT NULL,        -- epoch of the expunge; 0: live\n"
    "  size INTEGER NOT NULL,\n"
    "  modseq INTEGER NOT NULL,\n"
    "  internal_s INTEGER NOT NULL,      -- INTERNALDATE\n"
    "  changed_ns INTEGER NOT NULL,      -- ctime of the message file\n"
    "  keywords TEXT                     -- separated by one space, sorted; NULL: none\n"
    ") STRICT;\n"
    /* Apart from `message`, so that a listing reads forty bytes a message and not seven hundred. */
    "CREATE TABLE summary (\n"
    "  id INTEGER PRIMARY KEY,           -- as in message\n"
    "  sha256 BLOB NOT NULL,\n"
    "  sent_s INTEGER,                   -- Date: in UTC; NULL: absent or unreadable\n"
    "  envelope TEXT NOT NULL,           -- RFC 3501, 7.4.2\n"
    "  bodystructure TEXT NOT NULL\n"
    ") STRICT;\n"
    "CREATE TABLE removed (              -- messages whose files were removed for good\n"
    "  id INTEGER PRIMARY KEY,           -- as in message; never in both\n"
    "  modseq INTEGER NOT NULL           -- of the expunge: an older file of that UID is no news\n"
    ") STRICT;\n";

static const char list_sql[] = //
    "CREATE TABLE node (\n"
    "  number INTEGER PRIMARY KEY,       -- given out once per store\n"
    "  parent INTEGER NOT NULL,          -- 0: the root, which has no row\n"
    "  owner INTEGER NOT NULL,           -- the node whose index holds it; 0: none\n"
    "  kind INTEGER NOT NULL,            -- 1 domain, 2 users, 3 user, 4 shared, 5 mailbox\n"
    "  subscribed INTEGER NOT NULL,\n"
    "  name TEXT NOT NULL,               -- of the directory, escaped\n"
    "  full_name TEXT,                   -- as given, where unescaping does not give it\n"
    "  special_use TEXT,                 -- RFC 6154\n"
    "  no_index INTEGER NOT NULL,        -- 1: a user who has none\n"
    "  UNIQUE (parent, name)\n"
    ") STRICT;\n"
    "CREATE TABLE container (\n"
    "  number INTEGER PRIMARY KEY,       -- of a node that is no mailbox; 0: the root\n"
    "  directory_ns INTEGER NOT NULL     -- mtime when it had the children listed; 0: look below it\n"
    ") STRICT;\n";

static const char queue_sql[] = //
    "CREATE TABLE job (\n"
    "  id INTEGER PRIMARY KEY,           -- the newest is never deleted, so none is used again\n"
    "  state INTEGER NOT NULL,           -- 0 waits, 1 runs, 2 done, 3 failed, 4 cancelled,\n"
    "                                    -- 5 interrupted\n"
    "  queued INTEGER NOT NULL,          -- for a worker to run; else whoever asked for it ran it\n"
    "  cancel INTEGER NOT NULL,          -- somebody asked for its end\n"
    "  deaths INTEGER NOT NULL,          -- of processes that ran it\n"
    "  runner INTEGER NOT NULL,          -- a byte of jobs.lock, locked by who runs it\n"
    "  action TEXT NOT NULL,             -- a command and its words\n"
    "  command TEXT NOT NULL AS (substr (action, 1, instr (action || ' ', ' ') - 1)),\n"
    "  nodes TEXT NOT NULL,              -- numbers, separated by one space; empty: the store\n"
    "  created_s INTEGER NOT NULL,\n"
    "  due_s INTEGER NOT NULL,           -- not to be run before; 0: at once\n"
    "  started_s INTEGER NOT NULL,       -- 0: not yet\n"
    "  ended_s INTEGER NOT NULL,         -- 0: not yet\n"
    "  done INTEGER NOT NULL,\n"
    "  total INTEGER NOT NULL,\n"
    "  unit TEXT,                        -- of done and total\n"
    "  fixed INTEGER NOT NULL,\n"
    "  left INTEGER NOT NULL,\n"
    "  taken INTEGER NOT NULL,\n"
    "  error TEXT,                       -- why it failed or was given up\n"
    "  code INTEGER NOT NULL,            -- the errno of that; 0: none\n"
    "  log TEXT NOT NULL,                -- lines\n"
    "  changed INTEGER NOT NULL          -- counts up with every change of a row\n"
    ") STRICT;\n"
    "CREATE UNIQUE INDEX pending ON job (action, nodes)\n"
    "  WHERE state = 0 OR state = 5 AND queued = 1;\n"
    "CREATE INDEX open ON job (id) WHERE state < 2 OR state = 5;\n"
    "CREATE INDEX running ON job (id) WHERE state = 1;\n"
    "CREATE INDEX changed ON job (changed);\n"
    "CREATE INDEX latest ON job (nodes, command, id);\n"
    "CREATE TABLE finding (\n"
    "  job INTEGER NOT NULL,\n"
    "  number INTEGER NOT NULL,          -- in the order they were found\n"
    "  problem TEXT NOT NULL,\n"
    "  outcome INTEGER NOT NULL,         -- 0 left, 1 fixed, 2 taken\n"
    "  node INTEGER NOT NULL,\n"
    "  uid INTEGER NOT NULL,             -- 0: none\n"
    "  size INTEGER NOT NULL,\n"
    "  object TEXT NOT NULL,\n"
    "  detail TEXT NOT NULL,\n"
    "  PRIMARY KEY (job, number)\n"
    ") STRICT, WITHOUT ROWID;\n";

static const char fulltext_sql[] = //
    "CREATE TABLE message (\n"
    "  id INTEGER PRIMARY KEY            -- of whom the text is in `body`: as in an index\n"
    ") STRICT;\n"
    "CREATE VIRTUAL TABLE body USING fts5 (\n"
    "  text, content = '', columnsize = 0, detail = none,\n"
    "  tokenize = 'trigram case_sensitive 1'\n"
    ");\n";

const Schema index_schema = {"index", 0x6d666978, 2, index_sql, NULL};
const Schema list_schema = {"mailbox list", 0x6d666c73, 2, list_sql, NULL};
const Schema queue_schema = {"queue", 0x6d667175, 4, queue_sql, NULL};
const Schema fulltext_schema = {"full-text index", 0x6d666674, 1, fulltext_sql, "body_*"};

/* The database header, https://www.sqlite.org/fileformat.html section 1.3, and what follows of the
 * first page, section 1.6. */
enum {
  HEADER_SIZE = 108,
  WRITE_VERSION_AT = 18, /* 1: rollback journal, 2: WAL */
  READ_VERSION_AT = 19,
  ENCODING_AT = 56, /* 1: UTF-8 */
  USER_VERSION_AT = 60,
  APPLICATION_ID_AT = 68,
  PAGE_TYPE_AT = 100, /* 13: a leaf of a table */
  PAGE_CELLS_AT = 103,
  SCHEMA_MAX = 32, /* tables and their indexes */
};

static int32_t
read_be32 (const uint8_t *bytes)
{
  return (int32_t)((uint32_t)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3]);
}

bool
schema_check_header (const Schema *self, Connection *connection, bool *out_fresh, GError **error)
{
  /* Through SQLite's own descriptor: closing another one would drop this process's locks. And
   * before its first statement: that would make files beside a database that is in WAL mode. */
  sqlite3_file *file = NULL;
  sqlite3_int64 size = 0;
  uint8_t header[HEADER_SIZE] = {0};
  sqlite3_file_control (connection->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  int code = file->pMethods->xFileSize (file, &size);
  if (code == SQLITE_OK && size >= HEADER_SIZE)
    code = file->pMethods->xRead (file, header, HEADER_SIZE, 0);
  const char *name = connection->name;
  if (code != SQLITE_OK)
    return fail (error, EIO, "%s: reading the header failed", name);

  *out_fresh = size == 0;
  if (size == 0)
    return true;
  if (memcmp (header, "SQLite format 3", 16) != 0)
    return fail (error, EUCLEAN, "%s: not a database", name);
  if (read_be32 (header + APPLICATION_ID_AT) != self->application_id)
    return fail (error, EUCLEAN, "%s: a database, but no %s", name, self->name);
  if (read_be32 (header + USER_VERSION_AT) != self->version)
    return fail (error, EUCLEAN, "%s: made by another version, rebuild it", name);
  if (header[WRITE_VERSION_AT] != 1 || header[READ_VERSION_AT] != 1 ||
      read_be32 (header + ENCODING_AT) != 1)
    return fail (error, EUCLEAN, "%s: changed by another program, rebuild it", name);
  /* SQLite parses all that the schema has before it can be compared; ours has one page. */
  if (header[PAGE_TYPE_AT] != 13 ||
      (header[PAGE_CELLS_AT] << 8 | header[PAGE_CELLS_AT + 1]) > SCHEMA_MAX)
    return fail (error, EUCLEAN, "%s: its tables are not those of version %d, rebuild it", name,
                 self->version);
  return true;
}

bool
schema_check_tables (const Schema *self, Connection *connection, bool *out_fresh, GError **error)
{
  auto_statement select =
      connection_prepare (connection,
                          "SELECT group_concat (sql || ';' || char (10), '')"
                          "  FROM (SELECT sql FROM sqlite_schema"
                          "         WHERE ?1 IS NULL OR name NOT GLOB ?1 ORDER BY rowid)",
                          error);
  bool row;
  if (select == NULL)
    return false;
  sqlite3_bind_text (select, 1, self->shadows, -1, SQLITE_STATIC);
  if (!connection_step (connection, select, &row, error))
    return false;
  const char *sql = (const char *)sqlite3_column_text (select, 0);
  if (sql != NULL && strcmp (sql, self->sql) != 0)
    return fail (error, EUCLEAN, "%s: its tables are not those of version %d, rebuild it",
                 connection->name, self->version);
  *out_fresh = sql == NULL;
  return true;
}

static bool
create_tables (const Schema *self, Connection *connection, GError **error)
{
  bool fresh;
  if (!schema_check_tables (self, connection, &fresh, error))
    return false;
  g_autofree char *sql = g_strdup_printf ("%sPRAGMA application_id = %d; PRAGMA user_version = %d;",
                                          self->sql, self->application_id, self->version);
  return (!fresh || connection_execute (connection, sql, error)) &&
         connection_execute (connection, "COMMIT", error);
}

bool
schema_create (const Schema *self, Connection *connection, GError **error)
{
  if (!connection_execute (connection, "BEGIN IMMEDIATE", error))
    return false;
  if (create_tables (self, connection, error))
    return true;
  connection_execute (connection, "ROLLBACK", NULL);
  return false;
}
