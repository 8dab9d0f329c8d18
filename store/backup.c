/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backup: a store beside the store, taken while it is in use.
 *
 * Of each user it is the store of one moment. With the user lock held the index is copied and the
 * names in the mailboxes are listed, which is short; the messages are copied afterwards, without
 * it, for their bytes never change. What did change meanwhile is put back on the copy: a message
 * that was expunged lies where it lay, a state is that of the copied index. Only when a message
 * went away for good before it was copied is the user listed once more.
 *
 * A copy gets its name when it is on disk, so what is there under its name is whole, and an
 * interrupted backup goes on where it was. Until the end backup.conf says that it is not complete.
 */
#include "store/backup.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define ATTEMPTS_MAX 5

static void
listed_free (gpointer data)
{
  BackupListed *listed = data;
  g_clear_pointer (&listed->uids, g_array_unref);
  g_clear_pointer (&listed->expunged, g_array_unref);
  g_free (listed->path);
  g_free (listed);
}

/* ---- backup.conf --------------------------------------------------------------------------- */

static bool
write_conf (Store *store, const char *directory, GKeyFile *file, GError **error)
{
  g_autofree char *path = g_build_filename (directory, BACKUP_CONF, NULL);
  g_autoptr (GError) failure = NULL;
  g_autofree char *text = g_key_file_to_data (file, NULL, NULL);
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

static bool
write_info (const Backup *self, bool complete, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format_iso8601 (now);
  g_key_file_set_string (file, "backup", "uuid", self->job->store->uuid);
  g_key_file_set_string (file, "backup", complete ? "finished" : "started", time);
  g_key_file_set_boolean (file, "backup", "complete", complete);
  return write_conf (self->job->store, self->path, file, error);
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
  return write_conf (self->job->store, self->job->store->path, file, error);
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

/* Opens it, and keeps others out: two backups would give each other's files their names. */
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
  if (self->fd < 0)
    return fail_errno (error, "open %s", self->path);
  if (flock (self->fd, LOCK_EX | LOCK_NB) == 0)
    return true;
  return errno == EWOULDBLOCK ? fail (error, EBUSY, "another backup goes to %s", self->path)
                              : fail_errno (error, "lock %s", self->path);
}

/* Nothing that is not an earlier backup of this store is written over. */
static bool
check_directory (const Backup *self, GError **error)
{
  const Store *store = self->job->store;
  remove_unfinished (self->path);
  g_auto (BackupInfo) info = {0};
  if (!backup_info_read (self->path, &info, NULL))
    return is_empty (self->path) ||
           fail (error, ENOTEMPTY, "%s is not empty, and no backup", self->path);
  return strcmp (info.uuid, store->uuid) == 0 ||
         fail (error, EEXIST, "%s is the backup of another store", self->path);
}

static bool
open_directory (Backup *self, GError **error)
{
  static const char *const names[] = {"mail", "index", "tmp", "quarantine"};
  if (!take_directory (self, error) || !check_directory (self, error) ||
      !copy_directory_facts (self->job->store, self->job->store->fd, self->fd, error) ||
      !write_info (self, false, error))
    return false;
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    if (mkdirat (self->fd, names[i], 0750) < 0 && errno != EEXIST)
      return fail_errno (error, "make %s/%s", self->path, names[i]);
    auto_fd child = layout_open (self->fd, names[i], O_RDONLY | O_DIRECTORY, 0);
    if (child < 0 || !layout_own (self->job->store, child, error))
      return child >= 0 ? false : fail_errno (error, "open %s/%s", self->path, names[i]);
  }
  self->tmp_fd = layout_open (self->fd, "tmp", O_RDONLY | O_DIRECTORY, 0);
  if (self->tmp_fd < 0)
    return fail_errno (error, "open %s/tmp", self->path);
  layout_empty (self->tmp_fd, NULL);
  return true;
}

/* ---- directories --------------------------------------------------------------------------- */

/* One that is another mailbox by now begins afresh. */
static bool
is_another (int source, int copy)
{
  g_auto (NodeState) now = {0}, before = {0};
  bool found = false, had = false;
  return node_state_read (source, STORE_NODE_MAILBOX, &now, &found, NULL) && found &&
         node_state_read (copy, STORE_NODE_MAILBOX, &before, &had, NULL) && had &&
         (now.number != before.number || now.uidvalidity != before.uidvalidity);
}

static bool
copy_directory (Backup *self, const char *path, GError **error)
{
  if (g_hash_table_contains (self->made, path))
    return true;
  const char *slash = strrchr (path, '/');
  g_autofree char *parent = slash != NULL ? g_strndup (path, (gsize)(slash - path)) : NULL;
  if (*path != '\0' && !copy_directory (self, parent != NULL ? parent : "", error))
    return false;
  g_autofree char *whole = g_strdup_printf ("mail%s%s", *path != '\0' ? "/" : "", path);
  if (mkdirat (self->fd, whole, 0750) < 0 && errno != EEXIST)
    return fail_errno (error, "make %s/%s", self->path, whole);
  auto_fd source = layout_open (self->job->store->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
  auto_fd copy = layout_open (self->fd, whole, O_RDONLY | O_DIRECTORY, 0);
  if (source < 0 || copy < 0)
    return fail_errno (error, "open directory '%s'", path);
  if (is_another (source, copy))
    layout_empty (copy, NULL);
  g_hash_table_add (self->made, g_strdup (path));
  g_hash_table_add (self->seen, g_strdup (path));
  return copy_directory_facts (self->job->store, source, copy, error) ||
         fail_prefix (error, "copy '%s'", path);
}

static bool
list_mailbox (Backup *self, uint32_t number, GPtrArray *out, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->job->store, number, &failure);
  struct stat st;
  if (mailbox == NULL && (failure->code == ESTALE || failure->code == ENOENT))
    return true; /* removed since it was asked for */
  if (mailbox == NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  BackupListed *listed = g_new0 (BackupListed, 1);
  g_ptr_array_add (out, listed);
  listed->number = number;
  listed->path = g_strdup (mailbox->path);
  if (fstat (mailbox->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", mailbox->path);
  if (!copy_directory (self, listed->path, error))
    return false;
  listed->mtime = st.st_mtim;
  listed->uids = layout_uids (mailbox->fd, "", NULL, error);
  if (listed->uids == NULL)
    return false;
  listed->expunged = layout_uids (mailbox->fd, LAYOUT_EXPUNGED, NULL, &failure);
  if (listed->expunged == NULL && failure->code == ENOENT)
    listed->expunged = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  if (listed->expunged == NULL)
    g_propagate_error (error, g_steal_pointer (&failure));
  return listed->expunged != NULL;
}

/* ---- one owner ----------------------------------------------------------------------------- */

/* Makes the directories that the database of the node `path` lies in. */
static bool
make_index_place (const Backup *self, const char *path, GError **error)
{
  for (const char *end = strchr (path, '/'); end != NULL; end = strchr (end + 1, '/')) {
    g_autofree char *place = g_strdup_printf ("%s/index/%.*s", self->path, (int)(end - path), path);
    if (mkdir (place, 0750) < 0 && errno != EEXIST)
      return fail_errno (error, "make directory %s", place);
    if (!layout_own_path (self->job->store, place, error))
      return false;
  }
  return true;
}

/* Copies the index as it is, beside where it belongs. `*out_path` stays NULL when it cannot be
 * copied: then the backup makes its own from the files. */
static bool
copy_index (Backup *self, uint32_t owner, const char *path, char **out_path, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) handle = cache_index (self->job->store, owner, false, NULL);
  g_autofree char *fresh = g_strdup_printf ("%s/index/%s.sqlite3.new", self->path, path);
  if (!make_index_place (self, path, error))
    return false;
  unlink (fresh);
  if (handle == NULL || !index_verify (handle->index, NULL))
    return true;
  if (index_compact (handle->index, fresh, &failure) &&
      layout_own_path (self->job->store, fresh, &failure)) {
    *out_path = g_steal_pointer (&fresh);
    return true;
  }
  unlink (fresh);
  if (is_index_broken (failure))
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static bool
list_owner (Backup *self, uint32_t owner, const char *path, const GArray *mailboxes, bool whole,
            GPtrArray *listed, char **out_index, GError **error)
{
  auto_fd lock = lock_user (self->job->store, owner, error);
  if (lock < 0 || !copy_directory (self, path, error) ||
      (whole && !copy_index (self, owner, path, out_index, error)))
    return false;
  for (guint i = 0; i < mailboxes->len; i++) {
    if (!list_mailbox (self, g_array_index (mailboxes, uint32_t, i), listed, error))
      return false;
  }
  return true;
}

/* Puts the copied index where it belongs; without one an older one must go, and be made again. */
static bool
place_index (Backup *self, const char *path, const char *copied, GError **error)
{
  g_autofree char *file = g_strdup_printf ("%s/index/%s.sqlite3", self->path, path);
  if (copied != NULL)
    return rename (copied, file) == 0 || fail_errno (error, "put %s into place", file);
  return unlink (file) == 0 || errno == ENOENT || fail_errno (error, "remove %s", file);
}

/* From the last to the first: what is put into a directory changes its mtime. */
static bool
date_directories (Backup *self, const GPtrArray *listed, GError **error)
{
  for (guint i = listed->len; i-- > 0;) {
    const BackupListed *mailbox = listed->pdata[i];
    g_autofree char *path = g_strdup_printf ("mail/%s", mailbox->path);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, mailbox->mtime};
    if (utimensat (self->fd, path, times, AT_SYMLINK_NOFOLLOW) < 0)
      return fail_errno (error, "set the date of %s/%s", self->path, path);
  }
  return true;
}

/* Calls `gone` for the directories in `path` below the backup, deepest last; true removes one. */
typedef bool (*GoneFunc) (const Backup *self, const char *path, const void *data);

static void
remove_directories (const Backup *self, const char *path, GoneFunc gone, const void *data)
{
  auto_fd fd = layout_open (self->fd, path, O_RDONLY | O_DIRECTORY, 0);
  DIR *stream = fd >= 0 ? fdopendir (dup (fd)) : NULL;
  struct dirent *entry;
  while (stream != NULL && (entry = readdir (stream)) != NULL) {
    struct stat st;
    if (entry->d_name[0] == '.' || fstatat (fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISDIR (st.st_mode))
      continue;
    g_autofree char *child = g_strdup_printf ("%s/%s", path, entry->d_name);
    if (gone (self, child + strlen ("mail/"), data))
      layout_remove (fd, entry->d_name, NULL);
    else
      remove_directories (self, child, gone, data);
  }
  if (stream != NULL)
    closedir (stream);
}

static bool
is_unlisted (const Backup *self, const char *path, const void *data)
{
  return !g_hash_table_contains ((GHashTable *)data, path);
}

/* Mailboxes that the user had at an earlier backup. */
static void
remove_former (const Backup *self, const char *owner_path, const GPtrArray *listed)
{
  g_autoptr (GHashTable) paths = g_hash_table_new (g_str_hash, g_str_equal);
  g_autofree char *path = g_strdup_printf ("mail/%s", owner_path);
  for (guint i = 0; i < listed->len; i++)
    g_hash_table_add (paths, ((BackupListed *)listed->pdata[i])->path);
  remove_directories (self, path, is_unlisted, paths);
}

static bool
copy_owner (Backup *self, uint32_t owner, const GArray *mailboxes, bool whole, bool last,
            unsigned *gone, GError **error)
{
  g_autoptr (GPtrArray) listed = g_ptr_array_new_with_free_func (listed_free);
  g_autofree char *path = store_node_path (self->job->store, owner, error);
  g_autofree char *copied = NULL;
  g_hash_table_remove_all (self->made);
  self->differs = false;
  if (path == NULL || !list_owner (self, owner, path, mailboxes, whole, listed, &copied, error))
    return false;
  g_autoptr (Index) index = copied != NULL ? index_open (copied, 0, error) : NULL;
  if (copied != NULL && index == NULL)
    return false;
  for (guint i = 0; i < listed->len; i++) {
    const BackupListed *mailbox = listed->pdata[i];
    job_step (self->job, 0, mailbox->uids->len + mailbox->expunged->len);
    if (!backup_mailbox (self, mailbox, index, gone, error))
      return false;
  }
  g_clear_pointer (&index, index_close);
  if (copied != NULL) {
    g_autofree char *journal = g_strconcat (copied, "-journal", NULL);
    unlink (journal);
  }
  if (!backup_place (self, error))
    return false;
  if (*gone > 0 && !last)
    return true;
  bool makes = copied == NULL || *gone > 0;
  if ((makes || self->differs) && mailboxes->len > 0)
    g_string_append_printf (self->reconstruct, "%s%s", self->reconstruct->len > 0 ? "\n" : "",
                            path);
  if (whole)
    remove_former (self, path, listed);
  return place_index (self, path, makes ? NULL : copied, error) &&
         date_directories (self, listed, error);
}

static bool
backup_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  Backup *self = job->data;
  job_looked_at (job, mailboxes->len, 0, 0);
  for (int attempt = 1;; attempt++) {
    unsigned gone = 0;
    g_autoptr (GArray) all = whole && attempt > 1 ? job_mailboxes_of (job, owner, error) : NULL;
    if (whole && attempt > 1 && all == NULL)
      return false;
    job->counted = attempt > 1;
    bool done = copy_owner (self, owner, all != NULL ? all : mailboxes, whole,
                            attempt == ATTEMPTS_MAX, &gone, error);
    job->counted = false;
    if (!done || gone == 0 || attempt == ATTEMPTS_MAX)
      return done;
  }
}

/* ---- the whole ----------------------------------------------------------------------------- */

static bool
copy_config (Backup *self, GError **error)
{
  g_autofree char *temporary = backup_name (self, "mailfs.conf");
  auto_fd copy = copy_file (self->job->store, self->job->store->fd, "mailfs.conf", self->tmp_fd,
                            temporary, NULL, error);
  return copy >= 0 && backup_place (self, error);
}

/* The mailbox list is made of what the backup has; so are indexes that could not be copied. */
static bool
make_databases (Backup *self, GError **error)
{
  if (unlinkat (self->fd, "mailboxes.sqlite3", 0) < 0 && errno != ENOENT)
    return fail_errno (error, "remove %s/mailboxes.sqlite3", self->path);
  g_autoptr (Store) copy = store_open (self->path, 0, error);
  g_auto (GStrv) paths = g_strsplit (self->reconstruct->str, "\n", -1);
  g_autoptr (GString) nodes = g_string_new (NULL);
  for (char **path = paths; copy != NULL && *path != NULL; path++) {
    g_auto (StoreNode) node = {0};
    if (!store_node_resolve (copy, *path, &node, error))
      return false;
    g_string_append_printf (nodes, "%s%u", nodes->len > 0 ? " " : "", node.number);
  }
  return copy != NULL && (nodes->len == 0 || job_reconstruct_quietly (copy, nodes->str, error));
}

static bool
finish (Backup *self, GError **error)
{
  bool whole = self->job->request->targets->len == 0;
  /* The counters once more: mailboxes may have been made meanwhile. */
  g_hash_table_remove_all (self->made);
  /* By what was copied, not by what is there now: a mailbox that was renamed since is in the backup
   * under the name that it had. */
  if (whole)
    remove_directories (self, "mail", is_unlisted, self->seen);
  if (!copy_directory (self, "", error) || !copy_config (self, error) ||
      !make_databases (self, error))
    return false;
  layout_empty (self->tmp_fd, NULL);
  if (syncfs (self->fd) < 0)
    return fail_errno (error, "sync %s", self->path);
  return write_info (self, true, error) && note_last (self, error);
}

bool
command_backup (StoreJob *job, GError **error)
{
  if (store_is_read_only (job->store))
    return fail (error, EROFS, "the store %s is open read only", job->store->path);
  Backup self = {
      .job = job, .pace = pace_of (job), .path = job->request->directory, .fd = -1, .tmp_fd = -1};
  self.pending = g_ptr_array_new_with_free_func (g_free);
  self.made = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self.seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self.reconstruct = g_string_new (NULL);
  job->data = &self;
  bool opened = open_directory (&self, error);
  bool done = opened && job_each_owner (job, backup_owner, error) && finish (&self, error);
  if (opened && !done)
    fail_prefix (error, "the backup %s is incomplete and can be run again", self.path);
  job->data = NULL;
  g_ptr_array_unref (self.pending);
  g_hash_table_unref (self.made);
  g_hash_table_unref (self.seen);
  g_string_free (self.reconstruct, TRUE);
  store_close_fd (&self.tmp_fd);
  store_close_fd (&self.fd);
  return done;
}
