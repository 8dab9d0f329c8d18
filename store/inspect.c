/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files and directories of a store are like, whatever they say: owner and mode, whether
 * two messages are one file, what lies where nothing of ours belongs, and whether there is room.
 *
 * The walk takes nothing from the mailbox list, so that it sees what the list does not know. What
 * goes away while it walks is nobody's fault.
 */
#include "store/backup.h"
#include "store/check.h"
#include "store/jobs.h"
#include "store/snapshot.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The owner reads and writes, the group may read. What others may do counts where they can come: a
 * message that is open to all in a directory that is not harms nobody. */
#define FILE_MODE      0640
#define DIRECTORY_MODE 0750

/* Less than that, and less than a hundredth, is too little. */
#define SPACE_MIN ((uint64_t)64 << 20)

struct Inspection {
  StoreJob *job;
  uint32_t flags;                 /* InspectFlags */
  GHashTable *linked;             /* of Name: message files that have other names, too */
  GStringChunk *paths;            /* for those */
  GHashTable *scanned;            /* of Name: mailboxes whose messages have been looked at */
  uint32_t mailbox;               /* number of the last of them */
  bool exposed, expunged_exposed; /* others can come to its messages, and to the expunged ones */
};

/* A message file, by what makes it one with others. */
typedef struct {
  dev_t device;
  ino_t inode;
  const char *directory;
  uint32_t uid;
} Name;

/* A directory that is walked. */
typedef struct {
  Inspection *in;
  DIR *stream;
  const char *path; /* from mail/ */
  StoreNodeKind kind;
  unsigned depth;
  bool recursive;
  bool exposed; /* others can come to what lies in it */
  bool scanned; /* its messages have been looked at */
} Visit;

/* ---- owner and mode ------------------------------------------------------------------------ */

static bool
is_usable (const Store *store, const struct stat *st, bool exposed)
{
  mode_t own = S_ISDIR (st->st_mode) ? 0700 : 0600;
  mode_t others = st->st_gid == store->owner_gid ? 07 : 077;
  return st->st_uid == store->owner_uid && (st->st_mode & own) == own &&
         (!exposed || (st->st_mode & others) == 0);
}

/* Whether others can come to what lies in a directory. */
static bool
others_enter (int fd, const char *path)
{
  struct stat st;
  return fstatat (fd, *path != '\0' ? path : ".", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
         (st.st_mode & 01) != 0;
}

/* Puts owner and mode right. The file is held, so that nobody can put a link in its place, and one
 * with other names may be somebody else's. */
static bool
mend (const Store *store, int fd, const char *name, mode_t mode, GError **error)
{
  auto_fd held = openat (fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  struct stat st;
  if (held < 0 || fstat (held, &st) < 0)
    return fail_errno (error, "open");
  if (!S_ISDIR (st.st_mode) && (!S_ISREG (st.st_mode) || st.st_nlink > 1))
    return fail (error, EMLINK, "it has other names");
  /* fchmod(2) refuses such a descriptor. */
  char path[32];
  snprintf (path, sizeof path, "/proc/self/fd/%d", held);
  if (chmod (path, mode) < 0)
    return fail_errno (error, "chmod");
  bool owned = st.st_uid == store->owner_uid && st.st_gid == store->owner_gid;
  return owned || fchownat (held, "", store->owner_uid, store->owner_gid, AT_EMPTY_PATH) == 0 ||
         fail_errno (error, "chown");
}

/* Looks at `name` in the directory `fd`, which findings call `directory`. Returns whether others
 * can come into `name`, if that is a directory. */
static bool
look_at (const Inspection *self, int fd, const char *name, const struct stat *st,
         const char *directory, bool exposed)
{
  const Store *store = self->job->store;
  bool open = exposed && (st->st_mode & 01) != 0;
  if (is_usable (store, st, exposed))
    return open;
  mode_t mode = S_ISDIR (st->st_mode) ? DIRECTORY_MODE : FILE_MODE;
  g_autoptr (GError) failure = NULL;
  bool mended = (self->flags & INSPECT_MEND) && mend (store, fd, name, mode, &failure);
  g_autofree char *path = g_strconcat (directory, *directory != '\0' ? "/" : "", name, NULL);
  job_found (self->job, STORE_PROBLEM_PERMISSION, mended, 0, 0, path,
             "mode %04o, owner %u:%u; wanted %04o, %u:%u%s%s", st->st_mode & 07777, st->st_uid,
             st->st_gid, mode, store->owner_uid, store->owner_gid, failure != NULL ? "; " : "",
             failure != NULL ? failure->message : "");
  return open && !mended;
}

static void
tell_stray (const Inspection *self, const char *directory, const char *name, const char *what)
{
  g_autofree char *path = g_strconcat (directory, *directory != '\0' ? "/" : "", name, NULL);
  job_found (self->job, STORE_PROBLEM_STRAY, false, 0, 0, path, "%s", what);
}

/* ---- walking ------------------------------------------------------------------------------- */

/* Opens a directory for reading, without a trace. NULL when it is gone, or may not be read: of that
 * its mode told. */
static DIR *
open_stream (int fd, const char *path)
{
  auto_fd directory = layout_open (fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
  DIR *stream = directory >= 0 ? fdopendir (directory) : NULL;
  if (stream != NULL)
    directory = -1;
  return stream;
}

static void
close_stream (DIR *stream)
{
  if (stream != NULL)
    closedir (stream);
}

/* The next name in a directory, and what it is; NULL at the end, and for no directory. `scanned`
 * leaves out messages. */
static const char *
next_entry (DIR *stream, bool scanned, struct stat *out)
{
  struct dirent *entry;
  while (stream != NULL && (entry = readdir (stream)) != NULL) {
    bool told = scanned && entry->d_type == DT_REG && store_message_uid (entry->d_name) > 0;
    if (!told && strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0 &&
        fstatat (dirfd (stream), entry->d_name, out, AT_SYMLINK_NOFOLLOW) == 0)
      return entry->d_name;
  }
  return NULL;
}

static const char *
next_name (DIR *stream, struct stat *out)
{
  return next_entry (stream, false, out);
}

static guint
hash_name (gconstpointer key)
{
  const Name *name = key;
  return (guint)name->inode;
}

static gboolean
same_inode (gconstpointer a, gconstpointer b)
{
  const Name *first = a, *second = b;
  return first->inode == second->inode && first->device == second->device;
}

/* Whether two directories hold the live and the expunged messages of one mailbox. */
static bool
same_mailbox (const char *a, const char *b)
{
  size_t length = MIN (strlen (a), strlen (b));
  const char *rest = strlen (a) > length ? a + length : b + length;
  return strncmp (a, b, length) == 0 && (*rest == '\0' || strcmp (rest, "/" LAYOUT_EXPUNGED) == 0);
}

/* Two names of one file are two messages that share their flags. One that was being expunged, or
 * brought back, when something died is another matter. */
static void
check_links (Inspection *self, const struct stat *st, const char *directory, uint32_t uid)
{
  if (st->st_nlink == 1)
    return;
  Name name = {.device = st->st_dev, .inode = st->st_ino, .directory = directory, .uid = uid};
  const Name *other = g_hash_table_lookup (self->linked, &name);
  if (other == NULL) {
    name.directory = g_string_chunk_insert_const (self->paths, directory);
    g_hash_table_add (self->linked, g_memdup2 (&name, sizeof name));
  } else if (other->uid != uid || !same_mailbox (other->directory, directory)) {
    /* In whichever order they were met. */
    int order = strcmp (directory, other->directory);
    bool later = order > 0 || (order == 0 && uid > other->uid);
    const Name *first = later ? other : &name, *second = later ? &name : other;
    job_found (self->job, STORE_PROBLEM_HARD_LINK, false, 0, second->uid, second->directory,
               "is one file with '%s/%010u.eml'", first->directory, first->uid);
  }
}

static bool visit (Visit *here, GError **error);

static bool
visit_directory (const Visit *here, const char *name, const struct stat *st, GError **error)
{
  bool expunged = here->kind == STORE_NODE_MAILBOX && strcmp (name, LAYOUT_EXPUNGED) == 0;
  bool top = here->depth == 0 && strcmp (name, NODE_LOST_FOUND) == 0;
  StoreNodeKind kind = expunged ? STORE_NODE_MAILBOX : node_child_kind (here->kind, name);
  /* What lies too deep, or is no part of a store, the comparison of the list tells. */
  if (top || (name[0] == '.' && !expunged) || kind == STORE_NODE_ROOT ||
      here->depth > NODE_DEPTH_MAX || !(here->recursive || expunged))
    return true;
  Visit child = {.in = here->in, .kind = kind, .depth = here->depth + 1};
  child.exposed = look_at (here->in, dirfd (here->stream), name, st, here->path, here->exposed);
  child.recursive = here->recursive;
  Name self = {.device = st->st_dev, .inode = st->st_ino};
  child.scanned = expunged ? here->scanned : g_hash_table_contains (here->in->scanned, &self);
  g_autofree char *path = g_strconcat (here->path, here->depth > 0 ? "/" : "", name, NULL);
  child.path = path;
  return visit (&child, error);
}

static void
visit_file (const Visit *here, const char *name, const struct stat *st)
{
  uint32_t uid = S_ISREG (st->st_mode) ? store_message_uid (name) : 0;
  bool ours = uid > 0 && here->kind == STORE_NODE_MAILBOX;
  if (S_ISREG (st->st_mode) && (ours || name[0] == '.'))
    look_at (here->in, dirfd (here->stream), name, st, here->path, here->exposed);
  else if (here->kind != STORE_NODE_MAILBOX &&
           name[0] != '.') /* The scan tells those in mailboxes. */
    tell_stray (here->in, here->path, name, "no mail lies here");
  if (ours)
    check_links (here->in, st, here->path, uid);
  /* Mail can be kept without user attributes, but then flags depend on this file alone. */
  if (here->kind == STORE_NODE_MAILBOX && strcmp (name, LAYOUT_STATE) == 0)
    job_noted (here->in->job, STORE_PROBLEM_NO_ATTRIBUTES, 0, 0, here->path,
               "its state is kept in " LAYOUT_STATE ": the filesystem has no user attributes");
}

/* Walks the directory `here->path` below mail/. */
static bool
visit (Visit *here, GError **error)
{
  StoreJob *job = here->in->job;
  here->stream = open_stream (job->store->mail_fd, here->path);
  bool good = job_go_on (job, error);
  struct stat st;
  for (const char *name; good && (name = next_entry (here->stream, here->scanned, &st)) != NULL;) {
    if (S_ISDIR (st.st_mode))
      good = visit_directory (here, name, &st, error);
    else
      visit_file (here, name, &st);
  }
  close_stream (here->stream);
  return good;
}

/* ---- beside mail/ -------------------------------------------------------------------------- */

/* Looks for room on a directory's filesystem, unless that is `*device`, which was looked at. */
static bool
check_space (const Inspection *self, const char *name, dev_t *device, GError **error)
{
  const Store *store = self->job->store;
  auto_fd fd = layout_open (store->fd, name, O_RDONLY | O_DIRECTORY, 0);
  struct statvfs now;
  struct stat st;
  if (fd < 0)
    return true;
  if (fstat (fd, &st) < 0 || fstatvfs (fd, &now) < 0)
    return fail_errno (error, "stat %s/%s", store->path, name);
  if (st.st_dev == *device)
    return true;
  *device = st.st_dev;
  uint64_t unit = now.f_frsize, available = now.f_bavail * unit, size = now.f_blocks * unit;
  g_autofree char *path = g_strconcat ("../", name, NULL);
  if (size > 0 && available < SPACE_MIN && available < size / 100)
    job_found (self->job, STORE_PROBLEM_DISK_SPACE, false, 0, 0, path,
               "%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " MiB are free", available >> 20,
               size >> 20);
  if (now.f_files > 0 && now.f_favail == 0)
    job_found (self->job, STORE_PROBLEM_DISK_SPACE, false, 0, 0, path, "no inodes are free");
  return true;
}

/* The owner whose database, or a file beside that, is called `name` has a directory in mail/. */
static bool
has_owner (const Inspection *self, const char *directory, const char *name)
{
  const char *end = strstr (name, ".sqlite3");
  if (end == NULL)
    return false;
  g_autofree char *path = g_strdup_printf ("%s/%.*s", directory, (int)(end - name), name);
  return faccessat (self->job->store->mail_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* What was set aside when a database was found damaged. A repair is not the one to tell: it may
 * just have done so. */
static void
note_kept (const Inspection *self, const char *directory, const char *name)
{
  bool kept = strstr (name, ".sqlite3.damaged-") != NULL;
  if ((self->flags & INSPECT_SWEEP) || (!kept && strstr (name, ".sqlite3.broken-") == NULL))
    return;
  g_autofree char *path = g_strconcat (directory, "/", name, NULL);
  job_noted (self->job, STORE_PROBLEM_NOTE, 0, 0, path, "%s",
             kept ? "a damaged database, kept as evidence; it may be removed"
                  : "a damaged index; it goes on being made use of until its user is repaired");
}

/* Walks index/, or the directory `path` below it. */
static void
walk_indexes (const Inspection *self, const char *path, unsigned depth, bool exposed)
{
  g_autofree char *title = g_strdup_printf ("../index%s%s", *path != '\0' ? "/" : "", path);
  DIR *stream = open_stream (self->job->store->fd, title + strlen ("../"));
  struct stat st;
  for (const char *name; (name = next_name (stream, &st)) != NULL;) {
    note_kept (self, title, name);
    if (has_owner (self, path, name)) {
      look_at (self, dirfd (stream), name, &st, title, exposed);
    } else if (S_ISDIR (st.st_mode) && depth < 2) {
      g_autofree char *child = g_strconcat (path, depth > 0 ? "/" : "", name, NULL);
      bool open = look_at (self, dirfd (stream), name, &st, title, exposed);
      walk_indexes (self, child, depth + 1, open);
    } else {
      tell_stray (self, title, name, "the index of nobody");
    }
  }
  close_stream (stream);
}

/* How many names are in the directory `name` of tmp/ that no living process has locked. One that is
 * empty may just have been made. */
static unsigned
count_left (int tmp, const char *name)
{
  DIR *stream = open_stream (tmp, name);
  unsigned count = 0;
  struct stat st;
  while (stream != NULL && flock (dirfd (stream), LOCK_SH | LOCK_NB) == 0 &&
         next_name (stream, &st) != NULL)
    count++;
  close_stream (stream);
  return count;
}

static void
walk_tmp (const Inspection *self)
{
  DIR *stream = open_stream (self->job->store->fd, "tmp");
  struct stat st;
  for (const char *name; (name = next_name (stream, &st)) != NULL;) {
    g_autofree char *path = g_strconcat ("../tmp/", name, NULL);
    unsigned left = S_ISDIR (st.st_mode) ? count_left (dirfd (stream), name) : 0;
    if (!S_ISDIR (st.st_mode))
      tell_stray (self, "../tmp", name, "no process left it");
    else if (left > 0)
      job_found (self->job, STORE_PROBLEM_LEFTOVER,
                 (self->flags & INSPECT_SWEEP) && layout_tmp_remove (dirfd (stream), name), 0, 0,
                 path, "%u file%s of a process that is gone", left, left > 1 ? "s" : "");
  }
  close_stream (stream);
}

/* Whether one of the store's own lies there as what it is not. Of databases others tell. */
static bool
is_misplaced (const char *name, mode_t mode)
{
  static const char *const directories[] = {"history", "index", "quarantine", "snapshots", "tmp"};
  for (size_t i = 0; i < G_N_ELEMENTS (directories); i++) {
    if (strcmp (name, directories[i]) == 0)
      return !S_ISDIR (mode);
  }
  return !S_ISREG (mode) &&
         (strcmp (name, "backup.conf") == 0 || strcmp (name, "changes") == 0 ||
          strcmp (name, "jobs.lock") == 0 || strcmp (name, BACKUP_MANIFEST) == 0 ||
          g_str_has_prefix (name, "audit.jsonl"));
}

static bool
is_top_name (const char *name)
{
  static const char *const names[] = {"backup.conf",     "changes",      "history",   "index",
                                      NODE_LOST_FOUND,   "jobs.lock",    "mail",      "mailfs.conf",
                                      "missing",         "quarantine",   "snapshots", "tmp",
                                      "mailfs.conf.new", BACKUP_MANIFEST};
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    if (strcmp (name, names[i]) == 0)
      return true;
  }
  return name[0] == '.' || g_str_has_prefix (name, "mailboxes.sqlite3") ||
         g_str_has_prefix (name, "queue.sqlite3") || g_str_has_prefix (name, "audit.jsonl");
}

/* What lies at the store's top; and what lies in index/. */
static void
walk_top (const Inspection *self)
{
  DIR *stream = open_stream (self->job->store->fd, "");
  bool exposed = others_enter (self->job->store->fd, "");
  struct stat st;
  for (const char *name; (name = next_name (stream, &st)) != NULL;) {
    bool open = false;
    note_kept (self, "..", name);
    if (!is_top_name (name))
      tell_stray (self, "..", name, "no part of a mail store");
    else if (is_misplaced (name, st.st_mode))
      tell_stray (self, "..", name, "something else is in its place");
    else if (strcmp (name, NODE_LOST_FOUND) != 0 && name[0] != '.')
      open = look_at (self, dirfd (stream), name, &st, "..", exposed);
    if (strcmp (name, "index") == 0)
      walk_indexes (self, "", 0, open);
  }
  close_stream (stream);
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* Whether others can come to the directory `path` below mail/, as far as the store has to say. */
static bool
is_exposed (const Store *store, const char *path)
{
  bool exposed = others_enter (store->fd, "") && others_enter (store->mail_fd, "");
  for (const char *end = path; exposed && *end != '\0'; end += *end == '/') {
    end += strcspn (end, "/");
    g_autofree char *parent = g_strndup (path, (gsize)(end - path));
    exposed = others_enter (store->mail_fd, parent);
  }
  return exposed;
}

static bool
inspect_target (Inspection *self, uint32_t number, GError **error)
{
  Store *store = self->job->store;
  g_auto (StoreNode) node = {0};
  if (!store_node_get (store, number, &node, error))
    return false;
  g_autofree char *path = store_node_path (store, number, error);
  if (path == NULL)
    return false;
  Visit here = {.in = self, .path = path, .kind = node.kind, .depth = *path != '\0'};
  here.recursive = node.kind != STORE_NODE_MAILBOX || job_has (self->job, STORE_WORD_RECURSIVE);
  for (const char *c = path; *c != '\0'; c++)
    here.depth += *c == '/';
  if (number == STORE_ROOT) {
    here.exposed = is_exposed (store, path);
    return visit (&here, error);
  }
  const char *slash = strrchr (path, '/');
  g_autofree char *parent = g_strndup (path, slash != NULL ? (gsize)(slash - path) : 0);
  auto_fd fd = layout_open (store->mail_fd, parent, O_RDONLY | O_DIRECTORY, 0);
  struct stat st;
  if (fd < 0 || fstatat (fd, node.name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return true;
  here.exposed = look_at (self, fd, node.name, &st, parent, is_exposed (store, parent));
  here.scanned =
      g_hash_table_contains (self->scanned, &(Name){.device = st.st_dev, .inode = st.st_ino});
  return visit (&here, error);
}

Inspection *
inspection_new (StoreJob *job, uint32_t flags)
{
  Inspection *self = g_new0 (Inspection, 1);
  self->job = job;
  self->flags = flags;
  self->linked = g_hash_table_new_full (hash_name, same_inode, g_free, NULL);
  self->scanned = g_hash_table_new_full (hash_name, same_inode, g_free, NULL);
  self->paths = g_string_chunk_new (4096);
  return self;
}

void
inspection_free (Inspection *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref (self->linked);
  g_hash_table_unref (self->scanned);
  g_string_chunk_free (self->paths);
  g_free (self);
}

/* Takes up a mailbox: how others can come to what is in it is the same for all its messages. */
static void
begin_mailbox (Inspection *self, const StoreMailbox *mailbox)
{
  Name name = {.device = mailbox->device, .inode = mailbox->inode};
  g_hash_table_add (self->scanned, g_memdup2 (&name, sizeof name));
  self->mailbox = mailbox->number;
  self->exposed = is_exposed (mailbox->store, mailbox->path);
  self->expunged_exposed = self->exposed && others_enter (mailbox->fd, LAYOUT_EXPUNGED);
}

void
inspection_message (Inspection *self, const StoreMailbox *mailbox, uint32_t uid, bool expunged,
                    const struct stat *st)
{
  if (self->mailbox != mailbox->number)
    begin_mailbox (self, mailbox);
  bool exposed = expunged ? self->expunged_exposed : self->exposed;
  if (st->st_nlink == 1 && is_usable (mailbox->store, st, exposed))
    return;
  g_autofree char *directory =
      expunged ? g_strconcat (mailbox->path, "/" LAYOUT_EXPUNGED, NULL) : g_strdup (mailbox->path);
  char name[STORE_NAME_SIZE];
  store_message_name (uid, name);
  auto_fd fd = layout_open (mailbox->store->mail_fd, directory, O_RDONLY | O_DIRECTORY, 0);
  look_at (self, fd, name, st, directory, exposed);
  check_links (self, st, directory, uid);
}

bool
inspection_top (Inspection *self, GError **error)
{
  if (self->job->request->targets->len > 0)
    return true;
  walk_top (self);
  walk_tmp (self);
  snapshot_check (self->job);
  dev_t device = 0;
  return quarantine_check (self->job, error) && check_space (self, "mail", &device, error) &&
         check_space (self, "index", &device, error);
}

bool
inspection_walk (Inspection *self, GError **error)
{
  const GArray *targets = self->job->request->targets;
  bool good = targets->len > 0 || inspect_target (self, STORE_ROOT, error);
  for (guint i = 0; good && i < targets->len; i++)
    good = inspect_target (self, g_array_index (targets, uint32_t, i), error);
  return good;
}
