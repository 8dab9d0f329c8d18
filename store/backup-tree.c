/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories of a backup: they are known by their numbers, so that a mailbox that was renamed
 * is renamed in the backup, too, and nothing of it is copied again.
 *
 * What the store does not have any more leaves the backup only if the store says that it was
 * removed: its quarantine has it. What has vanished otherwise, by a mistake or with a disk, is what
 * backups are for.
 */
#include "store/backup.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A directory that makes room for another one of its name until its own place is known. */
#define ASIDE ".aside-"

/* One that the backup had. */
typedef struct {
  char *path; /* below mail/, where it is now */
  uint32_t uidvalidity;
  bool stays; /* the store has it, too */
} Former;

typedef struct {
  char *path;
  struct timespec mtime;
} Date;

static void
former_free (gpointer data)
{
  Former *former = data;
  g_free (former->path);
  g_free (former);
}

static void
date_clear (gpointer data)
{
  g_free (((Date *)data)->path);
}

static char *
copy_path (const char *path)
{
  return *path != '\0' ? g_strconcat ("mail/", path, NULL) : g_strdup ("mail");
}

static int
open_directory (const Backup *self, const char *path)
{
  g_autofree char *copy = copy_path (path);
  return layout_open (self->fd, copy, O_RDONLY | O_DIRECTORY, 0);
}

/* ---- what the backup had ------------------------------------------------------------------- */

/* Calls `each` for every directory in `path` of the backup. */
typedef void (*DirectoryFunc) (const char *path, const char *name, void *data);

static void
each_directory (const Backup *self, const char *path, DirectoryFunc each, void *data)
{
  auto_fd fd = open_directory (self, path);
  DIR *stream = fd >= 0 ? fdopendir (dup (fd)) : NULL;
  struct dirent *entry;
  while (stream != NULL && (entry = readdir (stream)) != NULL) {
    bool is_directory = false;
    bool ours = entry->d_name[0] != '.' || g_str_has_prefix (entry->d_name, ASIDE);
    if (!ours || !walk_is_directory (fd, entry->d_name, &is_directory, NULL) || !is_directory)
      continue;
    g_autofree char *child =
        *path != '\0' ? g_build_filename (path, entry->d_name, NULL) : g_strdup (entry->d_name);
    each (child, entry->d_name, data);
  }
  if (stream != NULL)
    closedir (stream);
}

static void
collect (const char *path, const char *name, void *data)
{
  BackupOwner *self = data;
  g_auto (NodeState) state = {0};
  bool found = false;
  auto_fd fd = open_directory (self->backup, path);
  if (fd >= 0 && node_state_read (fd, STORE_NODE_MAILBOX, &state, &found, NULL) && found) {
    Former former = {.path = g_strdup (path), .uidvalidity = state.uidvalidity};
    g_hash_table_insert (self->former, GUINT_TO_POINTER (state.number),
                         g_memdup2 (&former, sizeof former));
  }
  each_directory (self->backup, path, collect, self);
}

/* What an interrupted run left behind does not fit, and is not asked. */
static void
open_index (BackupOwner *self)
{
  g_autofree char *file = g_strdup_printf ("%s/index/%s.sqlite3", self->backup->path, self->path);
  self->index = self->backup->interrupted ? NULL : index_open (file, INDEX_READ_ONLY, NULL);
  self->read = self->index != NULL ? index_read_begin (self->index, NULL) : NULL;
  self->changed = self->read == NULL;
}

BackupOwner *
backup_owner_new (Backup *backup, uint32_t owner, GError **error)
{
  g_autofree char *path = store_node_path (backup->moment, owner, error);
  if (path == NULL || !backup_make_way (backup, path, error))
    return NULL;
  BackupOwner *self = g_new0 (BackupOwner, 1);
  self->backup = backup;
  self->path = g_steal_pointer (&path);
  open_index (self);
  self->former = g_hash_table_new_full (NULL, NULL, NULL, former_free);
  self->dates = g_array_new (FALSE, FALSE, sizeof (Date));
  g_array_set_clear_func (self->dates, date_clear);
  each_directory (backup, self->path, collect, self);
  return self;
}

void
backup_owner_free (BackupOwner *self)
{
  if (self == NULL)
    return;
  index_read_end (self->read);
  index_close (self->index);
  g_hash_table_unref (self->former);
  g_array_unref (self->dates);
  g_free (self->path);
  g_free (self);
}

/* ---- making directories -------------------------------------------------------------------- */

/* What stands on the copy of a directory: the attributes of the store's own, and on top of them the
 * facts as they were at the moment of the backup. */
static bool
copy_facts (const Backup *self, const StoreNode *node, StoreMailbox *from, int copy,
            bool *out_changed, GError **error)
{
  g_auto (NodeState) before = {0};
  bool had = false;
  StoreMailboxInfo info = {0};
  if (node->kind == STORE_NODE_MAILBOX && !store_mailbox_info (from, &info, error))
    return false;
  StoreIndexing indexing = STORE_INDEX_OFF; /* as it stays for what is no user */
  if (node->kind == STORE_NODE_USER || node->kind == STORE_NODE_SHARED)
    store_user_index (from->store, node->number, &indexing, NULL);
  NodeState state = {.number = node->number,
                     .uidvalidity = info.uidvalidity,
                     .uidnext = info.uidnext,
                     .modseq = info.highestmodseq,
                     .subscribed = node->subscribed,
                     .no_index = node->no_index,
                     .full_text = indexing == STORE_INDEX_TEXT,
                     .special_use = node->special_use,
                     .full_name = node->full_name};
  *out_changed = !node_state_read (copy, node->kind, &before, &had, NULL) || !had ||
                 before.uidnext != state.uidnext || before.modseq != state.modseq;
  return copy_directory_facts (self->job->store, from->fd, copy, error) &&
         node_state_write (self->job->store, copy, node->kind, &state, error);
}

/* Opens the directory of that path in the backup; it is made if it is not there. -1 and an error.
 */
static int
make_directory (const Backup *self, const char *path, bool *out_made, GError **error)
{
  g_autofree char *copy = copy_path (path);
  *out_made = mkdirat (self->fd, copy, 0750) == 0;
  auto_fd fd =
      *out_made || errno == EEXIST ? layout_open (self->fd, copy, O_RDONLY | O_DIRECTORY, 0) : -1;
  if (fd < 0)
    fail_errno (error, "make directory %s/%s", self->path, copy);
  return g_steal_fd (&fd);
}

/* The node of a path at the moment of the backup. */
static bool
find_node (Backup *self, const char *path, StoreNode *out, GError **error)
{
  g_autofree char *spelled = g_strconcat ("/", path, NULL);
  return store_node_resolve (self->moment, spelled, out, error);
}

bool
backup_make_way (Backup *self, const char *path, GError **error)
{
  if (*path == '\0' || g_hash_table_contains (self->seen, path))
    return true;
  g_autofree char *parent = g_path_get_dirname (path);
  g_auto (StoreNode) node = {0};
  bool made, changed;
  if (!backup_make_way (self, strcmp (parent, ".") != 0 ? parent : "", error) ||
      !find_node (self, path, &node, error))
    return false;
  g_autoptr (StoreMailbox) from = store_mailbox_open (self->moment, node.number, error);
  auto_fd copy = from != NULL ? make_directory (self, path, &made, error) : -1;
  if (copy < 0)
    return false;
  g_hash_table_add (self->seen, g_strdup (path));
  return copy_facts (self, &node, from, copy, &changed, error) ||
         fail_prefix (error, "copy '%s'", path);
}

/* Those below a directory that was moved were moved with it. */
static void
follow (const BackupOwner *self, const char *from, const char *to)
{
  size_t length = strlen (from);
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init (&iter, self->former);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    Former *former = value;
    if (strncmp (former->path, from, length) != 0 ||
        (former->path[length] != '/' && former->path[length] != '\0'))
      continue;
    char *path = g_strconcat (to, former->path + length, NULL);
    g_free (former->path);
    former->path = path;
  }
}

static bool
move_directory (BackupOwner *self, const char *from, const char *to, GError **error)
{
  g_autofree char *old = g_strdup (from), *source = copy_path (from), *target = copy_path (to);
  if (renameat (self->backup->fd, source, self->backup->fd, target) < 0)
    return fail_errno (error, "rename %s/%s to %s", self->backup->path, source, target);
  follow (self, old, to);
  self->changed = true;
  return true;
}

/* The directory that lies where a mailbox belongs goes out of its way. */
static bool
make_room (BackupOwner *self, const char *path, GError **error)
{
  GHashTableIter iter;
  gpointer number, value;
  g_hash_table_iter_init (&iter, self->former);
  while (g_hash_table_iter_next (&iter, &number, &value)) {
    const Former *former = value;
    if (strcmp (former->path, path) != 0)
      continue;
    g_autofree char *aside =
        g_strdup_printf ("%s/" ASIDE "%u", self->path, GPOINTER_TO_UINT (number));
    return move_directory (self, path, aside, error);
  }
  return true;
}

static bool
place_mailbox (BackupOwner *self, const StoreNode *node, uint32_t uidvalidity, const char *path,
               GError **error)
{
  Former *former = g_hash_table_lookup (self->former, GUINT_TO_POINTER (node->number));
  /* With another UIDVALIDITY a UID means another message. */
  if (former != NULL && former->uidvalidity != uidvalidity)
    former = NULL;
  if (former != NULL && strcmp (former->path, path) == 0) {
    former->stays = true;
    return true;
  }
  if (!make_room (self, path, error))
    return false;
  if (former == NULL)
    return true;
  former->stays = true;
  return move_directory (self, former->path, path, error);
}

bool
backup_make_mailbox (BackupOwner *self, const StoreNode *node, StoreMailbox *from, const char *path,
                     GError **error)
{
  StoreMailboxInfo info;
  StoreNodeTimes times;
  struct stat st;
  bool made = false, changed;
  if (!store_mailbox_info (from, &info, error) ||
      !store_node_times (self->backup->moment, node->number, &times, error) ||
      !place_mailbox (self, node, info.uidvalidity, path, error))
    return false;
  auto_fd copy = make_directory (self->backup, path, &made, error);
  if (copy < 0 || !copy_facts (self->backup, node, from, copy, &changed, error))
    return copy >= 0 && fail_prefix (error, "copy '%s'", path);
  self->changed |=
      made || changed || fstat (copy, &st) < 0 || stat_mtime_ns (&st) != times.mtime_ns;
  g_hash_table_add (self->backup->seen, g_strdup (path));
  Date date = {.path = g_strdup (path),
               .mtime = {times.mtime_ns / 1000000000, times.mtime_ns % 1000000000}};
  g_array_append_val (self->dates, date);
  return true;
}

bool
backup_date (const BackupOwner *self, GError **error)
{
  for (guint i = self->dates->len; i-- > 0;) {
    const Date *date = &g_array_index (self->dates, Date, i);
    g_autofree char *copy = copy_path (date->path);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, date->mtime};
    if (utimensat (self->backup->fd, copy, times, AT_SYMLINK_NOFOLLOW) < 0)
      return fail_errno (error, "set the date of %s/%s", self->backup->path, copy);
  }
  return true;
}

/* ---- what the store does not have any more ------------------------------------------------- */

/* The number that stands on a directory; 0: none. */
static uint32_t
read_number (int directory, const char *path)
{
  static const StoreNodeKind kinds[] = {STORE_NODE_DOMAIN, STORE_NODE_USER, STORE_NODE_MAILBOX};
  auto_fd fd = layout_open (directory, path, O_RDONLY | O_DIRECTORY, 0);
  for (size_t i = 0; fd >= 0 && i < G_N_ELEMENTS (kinds); i++) {
    g_auto (NodeState) state = {0};
    bool found = false;
    if (node_state_read (fd, kinds[i], &state, &found, NULL) && found)
      return state.number;
  }
  return 0;
}

static bool
note_removed (Store *store, const StoreQuarantined *object, void *data, GError **error)
{
  GHashTable *removed = data;
  g_autofree char *path = g_strconcat ("quarantine/", object->path, NULL);
  g_hash_table_add (removed, GUINT_TO_POINTER (read_number (store->fd, path)));
  return true;
}

/* Whether the store itself removed the directory. */
static bool
is_removed (Backup *self, uint32_t number)
{
  if (self->removed == NULL) {
    self->removed = g_hash_table_new (NULL, NULL);
    quarantine_each (self->job->store, note_removed, self->removed, NULL);
  }
  return number != 0 && g_hash_table_contains (self->removed, GUINT_TO_POINTER (number));
}

/* With the indexes of those below it. */
static bool
remove_directory (const Backup *self, const char *path, GError **error)
{
  g_autofree char *copy = copy_path (path), *indexes = g_strconcat ("index/", path, NULL);
  g_autofree char *index = g_strdup_printf ("%s/%s.sqlite3", self->path, indexes);
  layout_remove (self->fd, indexes, NULL);
  return (layout_remove_database (index, error) && layout_remove (self->fd, copy, error)) ||
         fail_prefix (error, "in the backup %s", self->path);
}

/* It keeps its place, unless another one has that now: then it goes to the backup's quarantine. */
static bool
keep_directory (const Backup *self, uint32_t number, const char *path, GError **error)
{
  static const char told[] = "the store did not remove it; the backup keeps its copy";
  const char *name = strrchr (path, '/');
  if (name == NULL || !g_str_has_prefix (name, "/" ASIDE)) {
    job_found (self->job, STORE_PROBLEM_VANISHED, false, number, 0, path, "%s", told);
    return true;
  }
  g_autofree char *stamp = quarantine_stamp (), *copy = copy_path (path);
  g_autofree char *place = g_strconcat ("quarantine/", stamp, NULL);
  g_autofree char *target = g_strconcat (place, name, NULL);
  if (mkdirat (self->fd, place, 0700) < 0 || renameat (self->fd, copy, self->fd, target) < 0)
    return fail_errno (error, "put %s/%s into quarantine", self->path, copy);
  job_found (self->job, STORE_PROBLEM_VANISHED, false, number, 0, path,
             "%s in %s, because another one has its place", told, target);
  return true;
}

static bool
leave (Backup *self, uint32_t number, const char *path, GError **error)
{
  return is_removed (self, number) || job_has (self->job, STORE_WORD_FORCE)
             ? remove_directory (self, path, error)
             : keep_directory (self, number, path, error);
}

static bool
is_below_one_of (const char *path, GHashTable *paths)
{
  g_autofree char *above = g_strdup (path);
  for (char *slash; (slash = strrchr (above, '/')) != NULL;) {
    *slash = '\0';
    if (g_hash_table_contains (paths, above))
      return true;
  }
  return false;
}

bool
backup_leave_mailboxes (BackupOwner *self, bool whole, GError **error)
{
  g_autoptr (GHashTable) paths = g_hash_table_new (g_str_hash, g_str_equal);
  GHashTableIter iter;
  gpointer number, value;
  g_hash_table_iter_init (&iter, self->former);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    const Former *former = value;
    if (!former->stays && (whole || strstr (former->path, "/" ASIDE) != NULL))
      g_hash_table_add (paths, former->path);
  }
  g_hash_table_iter_init (&iter, self->former);
  while (g_hash_table_iter_next (&iter, &number, &value)) {
    const char *path = ((const Former *)value)->path;
    /* What is in another one goes with that. */
    if (!g_hash_table_contains (paths, path) || is_below_one_of (path, paths))
      continue;
    if (!leave (self->backup, GPOINTER_TO_UINT (number), path, error))
      return false;
    self->changed = true;
  }
  return true;
}

typedef struct {
  Backup *backup;
  StoreNodeKind kind;
  GError *failure;
} Container;

static void
leave_container (const char *path, const char *name, void *data)
{
  Container *parent = data;
  Backup *self = parent->backup;
  Container child = {self, node_child_kind (parent->kind, name), NULL};
  if (parent->failure != NULL)
    return;
  if (!g_hash_table_contains (self->seen, path)) {
    g_autofree char *copy = copy_path (path);
    leave (self, read_number (self->fd, copy), path, &parent->failure);
  } else if (child.kind != STORE_NODE_USER && child.kind != STORE_NODE_SHARED) {
    each_directory (self, path, leave_container, &child);
    parent->failure = child.failure;
  }
}

bool
backup_leave_owners (Backup *self, GError **error)
{
  Container root = {self, STORE_NODE_ROOT, NULL};
  each_directory (self, "", leave_container, &root);
  if (root.failure == NULL)
    return true;
  g_propagate_error (error, root.failure);
  return false;
}
