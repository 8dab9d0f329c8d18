/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup: a store beside the store, taken while it is in use.
 *
 * It is the store of one moment. Nobody is kept waiting: what is copied are messages, whose bytes
 * never change, and facts as they were then.
 *
 * A copy gets its name when it is on disk, so what is there under its name is whole, and an
 * interrupted backup goes on where it was. The databases are made of what was copied, as by any
 * rebuild. Last comes the manifest; until then backup.conf says that the backup is not complete.
 */
#include "store/backup.h"
#include "store/verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- backup.conf --------------------------------------------------------------------------- */

static bool
write_conf (Store *store, const char *directory, const char *text, GError **error)
{
  g_autofree char *path = g_build_filename (directory, BACKUP_CONF, NULL);
  g_autoptr (GError) failure = NULL;
  /* GLib writes beside, syncs and renames. */
  if (!g_file_set_contents_full (path, text, -1,
                                 G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0640,
                                 &failure))
    return fail (error, EIO, "write %s: %s", path, failure->message);
  return layout_own_path (store, path, error);
}

bool
backup_info_read (const char *directory, BackupInfo *out, GError **error)
{
  g_autofree char *path = g_build_filename (directory, BACKUP_CONF, NULL);
  g_autoptr (GKeyFile) file = g_key_file_new ();
  if (!g_key_file_load_from_file (file, path, G_KEY_FILE_NONE, NULL))
    return fail (error, ENOENT, "%s: no backup is there", directory);
  out->uuid = g_key_file_get_string (file, "backup", "uuid", NULL);
  out->complete = g_key_file_get_boolean (file, "backup", "complete", NULL);
  return out->uuid != NULL || fail (error, EINVAL, "%s does not say what it is of", path);
}

void
backup_info_clear (BackupInfo *info)
{
  g_clear_pointer (&info->uuid, g_free);
}

static char *
make_info (const Backup *self, bool complete)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format_iso8601 (now);
  g_key_file_set_string (file, "backup", "uuid", self->job->store->uuid);
  g_key_file_set_string (file, "backup", complete ? "finished" : "started", time);
  g_key_file_set_boolean (file, "backup", "complete", complete);
  return g_key_file_to_data (file, NULL, NULL);
}

char *
backup_last (const Store *store)
{
  g_autofree char *path = g_build_filename (store->path, BACKUP_CONF, NULL);
  g_autoptr (GKeyFile) file = g_key_file_new ();
  return g_key_file_load_from_file (file, path, G_KEY_FILE_NONE, NULL)
             ? g_key_file_get_string (file, "last", "directory", NULL)
             : NULL;
}

/* Notes in the store where its last backup is. */
static bool
note_last (const Backup *self, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autofree char *path = g_build_filename (self->job->store->path, BACKUP_CONF, NULL);
  g_key_file_load_from_file (file, path, G_KEY_FILE_NONE, NULL);
  g_key_file_set_string (file, "last", "directory", self->path);
  g_autofree char *text = g_key_file_to_data (file, NULL, NULL);
  return write_conf (self->job->store, self->job->store->path, text, error);
}

/* ---- the directory ------------------------------------------------------------------------- */

static bool
is_within (const char *path, const char *above)
{
  size_t length = strlen (above);
  return strncmp (path, above, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* What is left of writing backup.conf, when that was interrupted, is no content. */
static void
remove_unfinished (const char *path)
{
  g_autoptr (GDir) directory = g_dir_open (path, 0, NULL);
  const char *name;
  while (directory != NULL && (name = g_dir_read_name (directory)) != NULL) {
    g_autofree char *whole = g_build_filename (path, name, NULL);
    if (g_str_has_prefix (name, BACKUP_CONF "."))
      unlink (whole);
  }
}

static bool
is_empty (const char *path)
{
  g_autoptr (GDir) directory = g_dir_open (path, 0, NULL);
  const char *name;
  while (directory != NULL && (name = g_dir_read_name (directory)) != NULL) {
    if (strcmp (name, NODE_LOST_FOUND) != 0)
      return false;
  }
  return directory != NULL;
}

/* `path` without symbolic links; its last name need not be there. NULL and errno. */
static char *
real_path (const char *path)
{
  char *real = realpath (path, NULL);
  if (real != NULL || errno != ENOENT)
    return real;
  g_autofree char *parent = g_path_get_dirname (path), *name = g_path_get_basename (path);
  g_autofree char *above = realpath (parent, NULL);
  return above != NULL ? g_build_filename (above, name, NULL) : NULL;
}

/* Keeps other backups out, once there is a tmp/: two would give each other's files their names. */
static bool
lock_tmp (Backup *self, GError **error)
{
  self->tmp_fd = layout_open (self->fd, "tmp", O_RDONLY | O_DIRECTORY, 0);
  if (self->tmp_fd < 0)
    return errno == ENOENT || fail_errno (error, "open %s/tmp", self->path);
  if (flock (self->tmp_fd, LOCK_EX | LOCK_NB) == 0)
    return true;
  return errno == EWOULDBLOCK ? fail (error, EBUSY, "another backup goes to %s", self->path)
                              : fail_errno (error, "lock %s/tmp", self->path);
}

/* Opens it. It is locked itself only until tmp/ is: who writes to the store that it is, as the
 * backup does in the end, takes its lock for a moment. */
static bool
take_directory (Backup *self, GError **error)
{
  const Store *store = self->job->store;
  g_autofree char *real = real_path (self->path);
  if (real == NULL)
    return fail_errno (error, "make directory %s", self->path);
  if (is_within (real, store->path) || is_within (store->path, real))
    return fail (error, EINVAL, "%s is not apart from the store %s", self->path, store->path);
  if (mkdir (self->path, 0750) < 0 && errno != EEXIST)
    return fail_errno (error, "make directory %s", self->path);
  self->fd = open (self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (self->fd < 0 || flock (self->fd, LOCK_EX) < 0)
    return fail_errno (error, "open %s", self->path);
  return lock_tmp (self, error);
}

/* Nothing that is not an earlier backup of this store is written over. */
static bool
check_directory (Backup *self, GError **error)
{
  const Store *store = self->job->store;
  remove_unfinished (self->path);
  g_auto (BackupInfo) info = {0};
  if (!backup_info_read (self->path, &info, NULL))
    return is_empty (self->path) ||
           fail (error, ENOTEMPTY, "%s is not empty, and no backup", self->path);
  self->interrupted = !info.complete;
  return strcmp (info.uuid, store->uuid) == 0 ||
         fail (error, EEXIST, "%s is the backup of another store", self->path);
}

/* The manifest is no longer of what is there from the first change on. */
static bool
begin (Backup *self, GError **error)
{
  g_autofree char *info = make_info (self, false);
  return write_conf (self->job->store, self->path, info, error) &&
         (unlinkat (self->fd, BACKUP_MANIFEST, 0) == 0 || errno == ENOENT ||
          fail_errno (error, "remove %s/" BACKUP_MANIFEST, self->path));
}

static bool
open_directory (Backup *self, GError **error)
{
  static const char *const names[] = {"mail", "index", "tmp", "quarantine"};
  if (!take_directory (self, error) || !check_directory (self, error) ||
      !copy_directory_facts (self->job->store, self->job->store->fd, self->fd, error) ||
      !begin (self, error))
    return false;
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    if (mkdirat (self->fd, names[i], 0750) < 0 && errno != EEXIST)
      return fail_errno (error, "make %s/%s", self->path, names[i]);
    auto_fd child = layout_open (self->fd, names[i], O_RDONLY | O_DIRECTORY, 0);
    if (child < 0 || !layout_own (self->job->store, child, error))
      return child >= 0 ? false : fail_errno (error, "open %s/%s", self->path, names[i]);
  }
  if (self->tmp_fd < 0 && !lock_tmp (self, error))
    return false;
  layout_empty (self->tmp_fd, NULL);
  return flock (self->fd, LOCK_UN) == 0 || fail_errno (error, "unlock %s", self->path);
}

/* ---- copies -------------------------------------------------------------------------------- */

char *
backup_name (Backup *self, const char *name)
{
  g_ptr_array_add (self->pending, g_strdup (name));
  return g_strdup_printf ("%u", self->pending->len - 1);
}

void
backup_take_back (Backup *self)
{
  g_autofree char *temporary = g_strdup_printf ("%u", self->pending->len - 1);
  unlinkat (self->tmp_fd, temporary, 0);
  g_ptr_array_set_size (self->pending, (int)self->pending->len - 1);
}

bool
backup_place (Backup *self, GError **error)
{
  if (self->pending->len > 0 && syncfs (self->tmp_fd) < 0)
    return fail_errno (error, "sync %s", self->path);
  for (guint i = 0; i < self->pending->len; i++) {
    g_autofree char *temporary = g_strdup_printf ("%u", i);
    if (renameat (self->tmp_fd, temporary, self->fd, self->pending->pdata[i]) < 0)
      return fail_errno (error, "put %s/%s into place", self->path,
                         (char *)self->pending->pdata[i]);
  }
  g_ptr_array_set_size (self->pending, 0);
  self->pending_bytes = 0;
  return true;
}

/* ---- one owner ----------------------------------------------------------------------------- */

static bool
copy_mailbox (BackupOwner *self, uint32_t number, GError **error)
{
  Store *moment = self->backup->moment;
  g_auto (StoreNode) node = {0};
  if (!store_node_get (moment, number, &node, error))
    return false;
  g_autofree char *path = store_node_path (moment, number, error);
  g_autoptr (StoreMailbox) from = path != NULL ? store_mailbox_open (moment, number, error) : NULL;
  return from != NULL && backup_make_mailbox (self, &node, from, path, error) &&
         backup_messages (self, from, path, error);
}

static bool
backup_owner (StoreJob *walk, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  Backup *self = walk->data;
  g_autoptr (BackupOwner) part = backup_owner_new (self, owner, error);
  if (part == NULL)
    return false;
  for (guint i = 0; i < mailboxes->len; i++) {
    if (!job_go_on (self->job, error) ||
        !copy_mailbox (part, g_array_index (mailboxes, uint32_t, i), error))
      return false;
  }
  job_looked_at (self->job, mailboxes->len, 0, 0);
  if (!backup_place (self, error) || !backup_leave_mailboxes (part, whole, error))
    return false;
  if (part->changed && mailboxes->len > 0)
    g_ptr_array_add (self->behind, g_strdup (part->path));
  return backup_date (part, error);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static bool
copy_config (Backup *self, GError **error)
{
  g_autofree char *temporary = backup_name (self, CONFIG);
  auto_fd copy = copy_file (self->job->store, self->job->store->fd, CONFIG, self->tmp_fd, temporary,
                            NULL, error);
  return copy >= 0 && backup_place (self, error);
}

/* The mailbox list is made of what the backup has, and indexes follow what was copied. */
static bool
make_databases (const Backup *self, GError **error)
{
  if (unlinkat (self->fd, "mailboxes.sqlite3", 0) < 0 && errno != ENOENT)
    return fail_errno (error, "remove %s/mailboxes.sqlite3", self->path);
  g_autoptr (Store) copy = store_open (self->path, 0, error);
  g_autoptr (GString) nodes = g_string_new (NULL);
  for (guint i = 0; copy != NULL && i < self->behind->len; i++) {
    g_auto (StoreNode) node = {0};
    if (!store_node_resolve (copy, self->behind->pdata[i], &node, error))
      return false;
    g_string_append_printf (nodes, "%s%u", nodes->len > 0 ? " " : "", node.number);
  }
  return copy != NULL && (nodes->len == 0 || job_reconstruct_quietly (copy, nodes->str, error));
}

static bool
finish (Backup *self, GError **error)
{
  g_autofree char *info = make_info (self, true);
  auto_fd mail = layout_open (self->fd, "mail", O_RDONLY | O_DIRECTORY, 0);
  if (mail < 0)
    return fail_errno (error, "open %s/mail", self->path);
  if ((self->job->request->targets->len == 0 && !backup_leave_owners (self, error)) ||
      !copy_directory_facts (self->job->store, self->job->store->mail_fd, mail, error) ||
      !copy_config (self, error) || !make_databases (self, error))
    return false;
  layout_empty (self->tmp_fd, NULL);
  if (syncfs (self->fd) < 0)
    return fail_errno (error, "sync %s", self->path);
  return backup_manifest_write (self, info, error) &&
         write_conf (self->job->store, self->path, info, error) && note_last (self, error);
}

/* A snapshot for as long as the backup runs. One Store has one of a kind, and there may be two
 * backups at the same time. */
static bool
open_moment (Backup *self, GError **error)
{
  self->live = store_open (self->job->store->path, 0, error);
  if (self->live == NULL || !store_snapshot_take_own (self->live, "backup", &self->snapshot, error))
    return false;
  self->moment = store_snapshot_open (self->live, self->snapshot.name, error);
  self->walk = (StoreJob){.store = self->moment, .request = self->job->request, .data = self};
  return self->moment != NULL;
}

static void
close_moment (Backup *self)
{
  g_autoptr (GError) failure = NULL;
  store_close (self->moment);
  if (self->snapshot.name != NULL &&
      !store_snapshot_drop (self->live, self->snapshot.name, &failure) && failure->code != ENOENT)
    job_noted (self->job, STORE_PROBLEM_NOTE, 0, 0, "", "the next backup drops snapshot %s: %s",
               self->snapshot.name, failure->message);
  store_snapshot_clear (&self->snapshot);
  store_close (self->live);
}

static void
clear (Backup *self)
{
  g_ptr_array_unref (self->pending);
  g_ptr_array_unref (self->behind);
  g_hash_table_unref (self->seen);
  g_clear_pointer (&self->removed, g_hash_table_unref);
  close_moment (self);
  store_close_fd (&self->tmp_fd);
  store_close_fd (&self->fd);
}

bool
command_backup (StoreJob *job, GError **error)
{
  if (store_is_read_only (job->store))
    return fail (error, EROFS, "the store %s is open read only", job->store->path);
  Backup self = {
      .job = job, .pace = pace_of (job), .path = job->request->directory, .fd = -1, .tmp_fd = -1};
  self.pending = g_ptr_array_new_with_free_func (g_free);
  self.behind = g_ptr_array_new_with_free_func (g_free);
  self.seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  bool opened = open_directory (&self, error);
  bool done = opened && open_moment (&self, error) &&
              job_each_owner (&self.walk, backup_owner, error) && finish (&self, error);
  if (opened && !done)
    fail_prefix (error, "the backup %s is incomplete and can be run again", self.path);
  clear (&self);
  return done;
}
