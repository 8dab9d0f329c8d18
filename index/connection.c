/* SPDX-License-Identifier: Apache-2.0 */
/* One SQLite handle: how it is set up, its statements, and what its errors mean. */
#include "index/internal.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* How long to wait for another process's lock. */
#define BUSY_MS 10000

/* An I/O error's cause, where the caller can do something about it. */
static int
errno_of_io (int cause)
{
  switch (cause) {
  case ENOSPC:
  case EDQUOT:
  case EFBIG:
  case ESTALE: return cause;
  default: return EIO;
  }
}

static int
errno_of_read_only (int extended, const char *path)
{
  switch (extended) {
  case SQLITE_READONLY_ROLLBACK: return EROFS;
  case SQLITE_READONLY_DBMOVED: return ESTALE;
  case SQLITE_READONLY_DIRECTORY: return EACCES;
  default: return path != NULL && access (path, W_OK) < 0 ? errno : EROFS;
  }
}

static int
errno_of_sqlite (sqlite3 *handle, int extended, const char *path)
{
  int cause = sqlite3_system_errno (handle);
  switch (extended & 0xff) {
  case SQLITE_BUSY:
  case SQLITE_LOCKED: return EBUSY;
  case SQLITE_NOMEM: return ENOMEM;
  case SQLITE_FULL: return ENOSPC;
  case SQLITE_READONLY: return errno_of_read_only (extended, path);
  case SQLITE_CANTOPEN:
    if (extended == SQLITE_CANTOPEN_SYMLINK)
      return ELOOP;
    return cause != 0 ? cause : EIO;
  case SQLITE_IOERR: return errno_of_io (cause);
  case SQLITE_CONSTRAINT: return extended == SQLITE_CONSTRAINT_UNIQUE ? EEXIST : EINVAL;
  /* What is left (CORRUPT, NOTADB, FORMAT, SCHEMA, and ERROR for a table that is not there any more
   * or a sum that overflows) cannot come from a database that only we wrote. */
  default: return EUCLEAN;
  }
}

bool
connection_fail (Connection *self, GError **error)
{
  int extended = sqlite3_extended_errcode (self->handle);
  int code = errno_of_sqlite (self->handle, extended, self->name);
  const char *cause = g_strerror (code);
  if (extended == SQLITE_READONLY_ROLLBACK)
    cause = "a write was interrupted, and only a writer can undo it";
  else if (extended == SQLITE_INTERRUPT)
    cause = "it goes round in circles";
  else if (code == EIO || code == EUCLEAN || code == EEXIST || code == EINVAL)
    cause = sqlite3_errmsg (self->handle);
  return fail (error, code, "%s: %s", self->name, cause);
}

/* open(2) for SQLite: who only reads leaves no trace in the atime, where that is allowed. */
static int
open_quietly (const char *path, int flags, int mode)
{
  bool reading = (flags & (O_ACCMODE | O_CREAT)) == O_RDONLY;
  int fd = open (path, flags | (reading ? O_NOATIME : 0), mode);
  return fd < 0 && errno == EPERM && reading ? open (path, flags, mode) : fd;
}

/* fchown(2) for SQLite, which gives a journal to the database's owner even where it only looks at
 * it, and so changes the ctime. */
static int
chown_written (int fd, uid_t uid, gid_t gid)
{
  return (fcntl (fd, F_GETFL) & O_ACCMODE) == O_RDONLY ? 0 : fchown (fd, uid, gid);
}

static void
install_quiet_calls (void)
{
  static gsize installed;
  if (!g_once_init_enter (&installed))
    return;
  sqlite3_initialize ();
  sqlite3_vfs *vfs = sqlite3_vfs_find (NULL);
  vfs->xSetSystemCall (vfs, "open", (sqlite3_syscall_ptr)open_quietly);
  vfs->xSetSystemCall (vfs, "fchown", (sqlite3_syscall_ptr)chown_written);
  g_once_init_leave (&installed, 1);
}

/* ---- files that somebody has made to do harm ----------------------------------------------- */

/* What a value may be long: rows are made of messages whose texts are bounded. */
#define LENGTH_MAX (64 << 20)

/* A turn is a number of steps of SQLite's machine. No statement takes more of them than this and
 * those that it takes to look at all that fits into the file, some times over. */
#define TURN_STEPS     100000
#define TURNS          200
#define BYTES_PER_TURN 2000

/* The size of the file, or image; 0 for what is in memory alone. */
static uint64_t
size_of_file (Connection *self)
{
  sqlite3_file *file = NULL;
  sqlite3_int64 size = 0;
  sqlite3_file_control (self->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  if (file == NULL || file->pMethods == NULL ||
      file->pMethods->xFileSize (file, &size) != SQLITE_OK)
    return 0;
  return (uint64_t)size;
}

/* Pages of a tree may have others below them again and again: each level makes a scan a thousand
 * times longer, and nothing that SQLite looks for is wrong. Other than 0 ends the statement. */
static int
count_turn (void *data)
{
  Connection *self = data;
  if (++self->turns > self->turns_max)
    self->turns_max = TURNS + size_of_file (self) / BYTES_PER_TURN;
  return self->turns > self->turns_max;
}

static void
set_limits (Connection *self)
{
  sqlite3_limit (self->handle, SQLITE_LIMIT_LENGTH, LENGTH_MAX);
  sqlite3_progress_handler (self->handle, TURN_STEPS, count_turn, self);
}

/* ---- opening and closing ------------------------------------------------------------------- */

bool
connection_open (Connection *self, const char *path, bool read_only, GError **error)
{
  install_quiet_calls ();
  /* Never SQLITE_OPEN_CREATE: SQLite would make the file with a mode of its own choice. */
  int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  flags |= SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
  self->name = path != NULL ? path : ":memory:";
  if (sqlite3_open_v2 (self->name, &self->handle, flags, NULL) == SQLITE_OK) {
    /* What is in memory alone nobody else has made. */
    if (path != NULL)
      set_limits (self);
    return true;
  }
  connection_fail (self, error);
  connection_close (self);
  return false;
}

bool
connection_open_image (Connection *self, const char *name, void *image, size_t size, GError **error)
{
  sqlite3_int64 length = (sqlite3_int64)size;
  if (!connection_open (self, NULL, false, error))
    return false;
  self->name = name;
  if (sqlite3_deserialize (self->handle, "main", image, length, length,
                           SQLITE_DESERIALIZE_READONLY) == SQLITE_OK) {
    set_limits (self);
    return true;
  }
  connection_fail (self, error);
  connection_close (self);
  return false;
}

bool
connection_configure (Connection *self, GError **error)
{
  /* A file may have been made by anyone: nothing in it shall run, and nothing in it is believed. */
  sqlite3_busy_timeout (self->handle, BUSY_MS);
  sqlite3_db_config (self->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
  sqlite3_db_config (self->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
  sqlite3_db_config (self->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
  sqlite3_db_config (self->handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
  return connection_execute (
      self,
      /* Of a new database; summaries of a kilobyte would leave more of smaller pages unused. */
      "PRAGMA page_size = 8192;"
      "PRAGMA cell_size_check = ON;"
      "PRAGMA mmap_size = 0;" /* a read error shall not be a SIGBUS */
      "PRAGMA journal_mode = TRUNCATE;"
      "PRAGMA synchronous = FULL;"
      "PRAGMA cache_spill = OFF;" /* spilling would lock the readers out */
      "PRAGMA cache_size = -256;" /* KiB: hundreds may be open, and the kernel caches too */
      "PRAGMA temp_store = MEMORY;",
      error);
}

void
connection_close (Connection *self)
{
  for (size_t i = 0; i < CONNECTION_STATEMENTS; i++)
    sqlite3_finalize (self->prepared[i].statement);
  memset (self->prepared, 0, sizeof self->prepared);
  sqlite3_close (self->handle);
  self->handle = NULL;
}

Connection *
connection_acquire (Connection *self)
{
  g_rec_mutex_lock (&self->mutex);
  return self;
}

void
connection_release (Connection *const *self)
{
  g_rec_mutex_unlock (&(*self)->mutex);
}

sqlite3_stmt *
connection_prepare (Connection *self, const char *sql, GError **error)
{
  size_t i = 0;
  self->turns = 0;
  while (self->prepared[i].sql != NULL && self->prepared[i].sql != sql) {
    i++;
    g_assert (i < CONNECTION_STATEMENTS);
  }
  if (self->prepared[i].sql == NULL) {
    if (sqlite3_prepare_v3 (self->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                            &self->prepared[i].statement, NULL) != SQLITE_OK) {
      connection_fail (self, error);
      return NULL;
    }
    self->prepared[i].sql = sql;
  }
  return self->prepared[i].statement;
}

void
statement_reset (const AutoStatement *self)
{
  if (*self == NULL)
    return;
  sqlite3_reset (*self);
  sqlite3_clear_bindings (*self); /* they point into memory of the caller */
}

bool
connection_step (Connection *self, sqlite3_stmt *statement, bool *out_row, GError **error)
{
  int code = sqlite3_step (statement);
  if (code != SQLITE_ROW && code != SQLITE_DONE)
    return connection_fail (self, error);
  *out_row = code == SQLITE_ROW;
  return true;
}

bool
connection_execute (Connection *self, const char *sql, GError **error)
{
  self->turns = 0;
  return sqlite3_exec (self->handle, sql, NULL, NULL, NULL) == SQLITE_OK ||
         connection_fail (self, error);
}

char *
statement_text (sqlite3_stmt *self, int column)
{
  return g_strdup ((const char *)sqlite3_column_text (self, column));
}
