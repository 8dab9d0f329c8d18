/* SPDX-License-Identifier: Apache-2.0 */
/* One database file: opening or making it, its transactions, and whether it is still there. */
#include "index/internal.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* The path must be one that SQLite can use, with "-journal" behind it. */
static bool
check_path (const char *path, GError **error)
{
  if (!g_path_is_absolute (path))
    return fail (error, EINVAL, "%s: not an absolute path", path);
  if (strlen (path) + strlen ("-journal") > (size_t)sqlite3_vfs_find (NULL)->mxPathname)
    return fail (error, ENAMETOOLONG, "%s: %s", path, g_strerror (ENAMETOOLONG));
  return true;
}

/* Makes an empty file when there is none, and remembers which file is there. */
static bool
find_file (Db *self, bool create, GError **error)
{
  /* mknod(2), because it opens nothing: closing a descriptor of a database drops all locks that
   * this process holds on it. */
  if (create && mknod (self->path, S_IFREG | 0640, 0) < 0 && errno != EEXIST)
    return fail_errno (error, "make %s", self->path);
  struct stat status;
  if (lstat (self->path, &status) < 0)
    return fail_errno (error, "%s", self->path);
  if (S_ISLNK (status.st_mode))
    return fail (error, ELOOP, "%s: is a symbolic link", self->path);
  if (S_ISDIR (status.st_mode))
    return fail (error, EISDIR, "%s: is a directory", self->path);
  if (!S_ISREG (status.st_mode))
    return fail (error, EUCLEAN, "%s: is no regular file", self->path);
  self->device = status.st_dev;
  self->inode = status.st_ino;
  return true;
}

bool
db_is_current (const Db *self)
{
  struct stat status;
  return self->path == NULL || (lstat (self->path, &status) == 0 && status.st_dev == self->device &&
                                status.st_ino == self->inode);
}

/* Opens the file that find_file() found, and no other. */
static bool
open_connection (Db *self, Connection *connection, GError **error)
{
  if (!connection_open (connection, self->path, self->read_only, error))
    return false;
  if (db_is_current (self))
    return true;
  connection_close (connection);
  return fail (error, ESTALE, "%s: removed or replaced", self->path);
}

/* SQLite would make files beside a database that has a write-ahead log. We never write one. */
static bool
check_no_log (const Db *self, GError **error)
{
  g_autofree char *log = g_strconcat (self->path, "-wal", NULL);
  struct stat status;
  if (lstat (log, &status) == 0)
    return fail (error, EUCLEAN, "%s: the log of another program lies beside it", self->path);
  return true;
}

/* Looking into a database writes only where it takes an interrupted write back. One that would make
 * the file larger than any can be has a journal that makes no sense, and is damaged like others. */
static bool
look_into (Db *self, bool *out_fresh, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (connection_configure (self->reading, &failure) &&
      schema_check_tables (self->schema, self->reading, out_fresh, &failure))
    return true;
  if (failure->code == EFBIG)
    return fail (error, EUCLEAN, "%s: its journal makes no sense", self->reading->name);
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* Makes sure that the file holds our tables; `create` makes them in an empty one. */
static bool
check_schema (Db *self, bool create, GError **error)
{
  bool fresh = true;
  bool made = self->path != NULL || self->image != NULL;
  if ((made && !schema_check_header (self->schema, self->reading, &fresh, error)) ||
      (self->path != NULL && self->read_only && !check_no_log (self, error)))
    return false;
  /* There is nothing to read in an empty file, and SQLite would remove what lies beside it. The
   * other way round, reading takes back what a process did that died while it made the tables. */
  if ((create || !fresh) && !look_into (self, &fresh, error))
    return false;
  if (!fresh)
    return true;
  if (!create)
    return fail (error, ENOENT, "%s: nothing is in it", self->path);
  return schema_create (self->schema, self->reading, error);
}

/* What is the same of a file and of memory. */
static void
init (Db *self, const Schema *schema, const char *path)
{
  self->schema = schema;
  self->path = g_strdup (path);
  self->reading = &self->connections[0];
  self->writing = &self->connections[path != NULL ? 1 : 0];
  g_mutex_init (&self->mutex);
  g_cond_init (&self->written);
  g_rec_mutex_init (&self->connections[0].mutex);
  g_rec_mutex_init (&self->connections[1].mutex);
}

bool
db_open (Db *self, const Schema *schema, const char *path, IndexOpenFlags flags, GError **error)
{
  init (self, schema, path);
  self->read_only = flags & INDEX_READ_ONLY;
  bool create = path == NULL || (flags & INDEX_CREATE && !self->read_only);
  return (path == NULL || (check_path (path, error) && find_file (self, create, error))) &&
         open_connection (self, self->reading, error) && check_schema (self, create, error);
}

bool
db_open_image (Db *self, const Schema *schema, const char *name, void *image, size_t size,
               GError **error)
{
  init (self, schema, NULL);
  self->name = g_strdup (name);
  self->read_only = true;
  self->image = image;
  self->image_size = size;
  return connection_open_image (self->reading, self->name, image, size, error) &&
         check_schema (self, false, error);
}

void
db_close (Db *self)
{
  for (size_t i = 0; i < G_N_ELEMENTS (self->connections); i++) {
    connection_close (&self->connections[i]);
    g_rec_mutex_clear (&self->connections[i].mutex);
  }
  g_cond_clear (&self->written);
  g_mutex_clear (&self->mutex);
  if (self->image != NULL)
    munmap (self->image, self->image_size);
  budget_give (self->budget);
  g_free (self->name);
  g_free (self->path);
}

bool
db_data_version (Db *self, uint32_t *out_version, GError **error)
{
  auto_connection reading = connection_acquire (self->reading);
  auto_statement select = connection_prepare (reading, "PRAGMA data_version", error);
  bool row;
  if (select == NULL || !connection_step (reading, select, &row, error))
    return false;
  *out_version = (uint32_t)sqlite3_column_int64 (select, 0);
  return true;
}

bool
db_verify (Db *self, GError **error)
{
  auto_connection reading = connection_acquire (self->reading);
  auto_statement check = connection_prepare (reading, "PRAGMA integrity_check (1)", error);
  bool row;
  if (check == NULL || !connection_step (reading, check, &row, error))
    return false;
  g_autofree char *finding = statement_text (check, 0);
  if (g_strcmp0 (finding, "ok") == 0)
    return true;
  /* A line of its own says which database of the connection it is, though there is but one. */
  const char *sentence = finding != NULL ? strchr (finding, '\n') : NULL;
  return fail (error, EUCLEAN, "%s: %s", reading->name, sentence != NULL ? sentence + 1 : finding);
}

bool
db_sync (Db *self, GError **error)
{
  /* Through SQLite's own descriptor: closing another one would drop this process's locks. */
  auto_connection reading = connection_acquire (self->reading);
  sqlite3_file *file = NULL;
  if (self->path == NULL)
    return true;
  sqlite3_file_control (reading->handle, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  return file->pMethods->xSync (file, SQLITE_SYNC_FULL) == SQLITE_OK ||
         fail (error, EIO, "%s: cannot be synced", reading->name);
}

/* Runs a statement without rows that runs often. */
static bool
run (Connection *connection, const char *sql, GError **error)
{
  auto_statement statement = connection_prepare (connection, sql, error);
  bool row;
  return statement != NULL && connection_step (connection, statement, &row, error);
}

bool
db_read_begin (Db *self, GError **error)
{
  connection_acquire (self->reading);
  if (run (self->reading, "BEGIN", error))
    return true;
  connection_release (&self->reading);
  return false;
}

void
db_read_end (Db *self)
{
  /* This fails only where an error has ended the transaction already. */
  run (self->reading, "COMMIT", NULL);
  connection_release (&self->reading);
}

static bool
open_writing (Db *self, GError **error)
{
  if (self->writing->handle == NULL) {
    if (!open_connection (self, self->writing, error))
      return false;
    if (!connection_configure (self->writing, error)) {
      connection_close (self->writing);
      return false;
    }
  }
  if (!db_is_current (self))
    return fail (error, ESTALE, "%s: removed or replaced", self->path);
  return true;
}

/* Waits until there is no transaction. In memory nobody may read meanwhile, either. */
static void
start_writing (Db *self)
{
  g_mutex_lock (&self->mutex);
  while (self->is_writing)
    g_cond_wait (&self->written, &self->mutex);
  self->is_writing = true;
  g_mutex_unlock (&self->mutex);
  if (self->writing == self->reading)
    connection_acquire (self->writing);
}

static void
stop_writing (Db *self)
{
  if (self->writing == self->reading)
    connection_release (&self->writing);
  g_mutex_lock (&self->mutex);
  self->is_writing = false;
  g_cond_signal (&self->written);
  g_mutex_unlock (&self->mutex);
}

bool
db_begin (Db *self, GError **error)
{
  if (self->read_only)
    return fail (error, EROFS, "%s: opened read-only", self->path);
  start_writing (self);
  if (open_writing (self, error)) {
    if (connection_execute (self->writing, "BEGIN IMMEDIATE", error)) {
      self->failed = 0;
      return true;
    }
  }
  stop_writing (self);
  return false;
}

/* Passes an error on, and remembers it when it left a change half done. */
static bool
note_failure (Db *self, GError *cause, GError **error)
{
  if (cause->code != EEXIST && cause->code != EBUSY)
    self->failed = cause->code;
  g_propagate_error (error, cause);
  return false;
}

/* After some errors SQLite has rolled back already; what came now would be committed by itself. */
static bool
check_failed (const Db *self, GError **error)
{
  return self->failed == 0 ||
         fail (error, self->failed, "%s: an earlier change failed", self->writing->name);
}

bool
db_write (Db *self, sqlite3_stmt *statement, GError **error)
{
  GError *cause = NULL;
  bool row;
  return check_failed (self, error) && (connection_step (self->writing, statement, &row, &cause) ||
                                        note_failure (self, cause, error));
}

bool
db_commit (Db *self, GError **error)
{
  GError *cause = NULL;
  if (!check_failed (self, error))
    return false;
  if (!connection_execute (self->writing, "COMMIT", &cause))
    return note_failure (self, cause, error);
  stop_writing (self);
  return true;
}

void
db_rollback (Db *self)
{
  if (!sqlite3_get_autocommit (self->writing->handle))
    connection_execute (self->writing, "ROLLBACK", NULL);
  /* What a failed write or sync left in the caches is not to be trusted. */
  if (self->failed != 0 && self->path != NULL)
    connection_close (self->writing);
  stop_writing (self);
}

bool
db_compact (Db *self, const char *path, GError **error)
{
  if (self->read_only)
    return fail (error, EROFS, "%s: opened read-only", self->path);
  /* With the mode of ours; SQLite takes an empty file for none. */
  if (!check_path (path, error))
    return false;
  if (mknod (path, S_IFREG | 0640, 0) < 0)
    return fail_errno (error, "make %s", path);
  /* The other connection stays free for readers. */
  auto_connection writing = connection_acquire (self->writing);
  if (!open_writing (self, error))
    return false;
  auto_statement vacuum = connection_prepare (writing, "VACUUM INTO ?1", error);
  if (vacuum == NULL)
    return false;
  sqlite3_bind_text (vacuum, 1, path, -1, SQLITE_STATIC);
  bool row;
  return connection_step (writing, vacuum, &row, error);
}
