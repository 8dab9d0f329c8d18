/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a store as evidence, and its databases. */
#include "store/evidence.h"
#include "store/past.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* More is not noted: a store may be broken in a million places. */
#define NOTES_MAX 1000u

/* ---- notes ----------------------------------------------------------------------------------- */

static Evidence *
evidence_new (const char *workdir)
{
  Evidence *self = g_new0 (Evidence, 1);
  self->workdir = g_strdup (workdir);
  self->tree_fd = -1;
  self->notes = g_ptr_array_new_with_free_func (g_free);
  g_mutex_init (&self->mutex);
  return self;
}

void
evidence_free (Evidence *self)
{
  if (self == NULL)
    return;
  store_close_fd (&self->tree_fd);
  g_ptr_array_unref (self->notes);
  g_clear_pointer (&self->gone, g_hash_table_unref);
  g_mutex_clear (&self->mutex);
  g_free (self->workdir);
  g_free (self);
}

/* Takes the text over; false: it was noted before, or there are too many. */
static bool
keep_note (Evidence *self, char *text)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  bool known = self->notes->len >= NOTES_MAX ||
               g_ptr_array_find_with_equal_func (self->notes, text, g_str_equal, NULL);
  if (!known)
    g_ptr_array_add (self->notes, text);
  else
    g_free (text);
  return !known;
}

void
evidence_note (Store *store, const char *format, ...)
{
  va_list arguments;
  if (store->evidence == NULL)
    return;
  va_start (arguments, format);
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  if (keep_note (store->evidence, store_text_printable (text)))
    store_tell (past_live (store), "%s", text);
}

bool
evidence_excuses (Store *store, const GError *failure)
{
  if (failure != NULL)
    evidence_note (store, "%s", failure->message);
  return store->evidence != NULL;
}

bool
evidence_or_fail (Store *store, GError **error, const char *format, ...)
{
  int code = errno;
  va_list arguments;
  va_start (arguments, format);
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  errno = code;
  if (store->evidence == NULL)
    return fail_errno (error, "%s", text);
  evidence_note (store, "%s: %s", text, g_strerror (code));
  return true;
}

void
evidence_repeat (Store *store)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->evidence->mutex);
  for (guint i = 0; i < store->evidence->notes->len; i++)
    store_tell (store, "%s", (const char *)store->evidence->notes->pdata[i]);
}

/* ---- a view that nobody can write to --------------------------------------------------------- */

/* Makes a mount of its own of what lies at `path`, with all that is mounted below, which is nowhere
 * to be seen. Only system calls: it runs in a child as well. An ordinary user may not change how
 * access times are dealt with, but where nobody can write there are none. */
static int
clone_tree (const char *path)
{
  struct mount_attr quiet = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
                                         MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOATIME,
                             .attr_clr = MOUNT_ATTR__ATIME};
  struct mount_attr least = {.attr_set = quiet.attr_set & ~(uint64_t)MOUNT_ATTR_NOATIME};
  int tree = open_tree (AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0 ||
      mount_setattr (tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &quiet, sizeof quiet) == 0 ||
      mount_setattr (tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &least, sizeof least) == 0)
    return tree;
  int code = errno;
  close (tree);
  errno = code;
  return -1;
}

typedef union {
  char bytes[CMSG_SPACE (sizeof (int))];
  struct cmsghdr align;
} Control;

static bool
send_descriptor (int socket, int fd)
{
  char byte = 0;
  Control control = {0};
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  struct cmsghdr *header = CMSG_FIRSTHDR (&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN (sizeof fd);
  memcpy (CMSG_DATA (header), &fd, sizeof fd);
  return sendmsg (socket, &message, 0) == 1;
}

/* -1: none came. */
static int
receive_descriptor (int socket)
{
  char byte;
  int fd = -1;
  Control control;
  struct iovec data = {&byte, 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  ssize_t got;
  do
    got = recvmsg (socket, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  const struct cmsghdr *header = got == 1 ? CMSG_FIRSTHDR (&message) : NULL;
  if (header != NULL && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN (sizeof fd))
    memcpy (&fd, CMSG_DATA (header), sizeof fd);
  return fd;
}

/* An ordinary user may do that in namespaces of their own; a child makes them, and hands over what
 * it has got there. */
static int
clone_in_namespaces (const char *path)
{
  int pair[2];
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
    return -1;
  auto_fd ours = pair[0];
  auto_fd theirs = pair[1];
  pid_t child = fork ();
  if (child == 0) {
    int tree = unshare (CLONE_NEWUSER | CLONE_NEWNS) == 0 ? clone_tree (path) : -1;
    _exit (tree >= 0 && send_descriptor (theirs, tree) ? 0 : 1);
  }
  store_close_fd (&theirs);
  theirs = -1;
  if (child < 0)
    return -1;
  int tree = receive_descriptor (ours);
  while (waitpid (child, NULL, 0) < 0 && errno == EINTR)
    continue;
  return tree;
}

/* Where the kernel gives no view, reading leaves an access time wherever the filesystem keeps them
 * and the files are somebody else's. */
static void
note_no_view (Store *store)
{
  struct statvfs filesystem;
  if (fstatvfs (store->fd, &filesystem) < 0 || (filesystem.f_flag & (ST_RDONLY | ST_NOATIME)) == 0)
    evidence_note (store,
                   "the kernel gives no view of %s that nobody can write to: access times of files "
                   "that are not yours may change",
                   store->path);
}

static bool
open_view (Store *self, GError **error)
{
  int tree = clone_tree (self->path);
  if (tree < 0)
    tree = clone_in_namespaces (self->path);
  self->evidence->tree_fd = tree;
  int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  self->fd = tree >= 0 ? openat (tree, ".", flags) : open (self->path, flags);
  if (self->fd < 0 && errno == ENOTDIR)
    return fail (error, EINVAL, "%s is not a mail store (it is no directory)", self->path);
  if (self->fd < 0)
    return fail_errno (error, "open store %s", self->path);
  if (tree < 0)
    note_no_view (self);
  return true;
}

/* ---- the store ------------------------------------------------------------------------------- */

/* Settings are of no use to who only looks, so a file that is missing or makes no sense costs the
 * store's UUID, and no more. */
static void
read_settings (Store *self)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (GKeyFile) none = g_key_file_new ();
  settings_load (self, none, NULL);
  if (!store_read_config (self, &failure))
    evidence_note (self, "%s", failure->message);
  if (self->uuid == NULL)
    self->uuid = g_strdup ("00000000-0000-0000-0000-000000000000");
}

/* The directory for copies, which must not lie in what is looked at. */
static char *
find_workdir (const Store *self, const char *workdir, GError **error)
{
  char *real = realpath (workdir, NULL);
  g_autofree char *path = g_strdup (real);
  free (real);
  if (path == NULL || access (path, W_OK) < 0) {
    fail_errno (error, "workdir %s", workdir);
    return NULL;
  }
  size_t length = strlen (self->path);
  if (strncmp (path, self->path, length) == 0 && (path[length] == '/' || path[length] == '\0')) {
    fail (error, EINVAL, "workdir %s lies in the store", workdir);
    return NULL;
  }
  return g_steal_pointer (&path);
}

Store *
store_open_evidence (const char *path, const char *workdir, GError **error)
{
  g_autoptr (Store) self = store_new_at (path, error);
  if (self == NULL)
    return NULL;
  self->flags = STORE_READ_ONLY;
  g_autofree char *place = workdir != NULL ? find_workdir (self, workdir, error) : NULL;
  if (workdir != NULL && place == NULL)
    return NULL;
  self->evidence = evidence_new (place);
  if (!open_view (self, error))
    return NULL;
  read_settings (self);
  if (!store_open_mail (self, error))
    return NULL;
  g_autoptr (Handle) list = cache_list (self, error);
  return list != NULL ? g_steal_pointer (&self) : NULL;
}

bool
store_is_evidence (const Store *self)
{
  return self->evidence != NULL;
}

const char *
store_workdir (const Store *self)
{
  return self->evidence != NULL ? self->evidence->workdir : NULL;
}

/* ---- databases ------------------------------------------------------------------------------- */

/* A database as it is handed to index/. */
typedef struct {
  IndexEvidence from;
  char *name;
} Files;

static void
files_clear (gpointer data)
{
  Files *files = data;
  store_close_fd (&files->from.file);
  store_close_fd (&files->from.journal);
  store_close_fd (&files->from.log);
  g_free (files->name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Files, files_clear)

static int
open_beside (const Store *store, const char *name, const char *suffix)
{
  g_autofree char *path = g_strconcat (name, suffix, NULL);
  return layout_open_message (store->fd, path);
}

static const char *
workdir_of (const Store *store)
{
  return store->evidence != NULL ? store->evidence->workdir : NULL;
}

/* Opens what belongs to the database at `path`. That it is not there is no failure; what lies in
 * its place may be one. */
static bool
open_files (const Store *store, const char *path, Files *out, GError **error)
{
  const char *name = path + strlen (store->path) + 1;
  int file = open_beside (store, name, "");
  if (file < 0 && errno != ENOENT)
    return fail_errno (error, "%s", path);
  *out = (Files){.name = g_strdup (path)};
  out->from = (IndexEvidence){.name = out->name,
                              .file = file,
                              .journal = open_beside (store, name, "-journal"),
                              .log = open_beside (store, name, "-wal"),
                              .workdir = workdir_of (store)};
  return true;
}

static void
tell_note (Store *store, char *note)
{
  if (note != NULL)
    evidence_note (store, "%s", note);
  g_free (note);
}

List *
evidence_list (Store *store, const char *path, GError **error)
{
  char *note = NULL;
  g_auto (Files) files = {.from = {.file = -1, .journal = -1, .log = -1}};
  if (store->evidence == NULL)
    return list_open (path, INDEX_READ_ONLY, error);
  if (!open_files (store, path, &files, error))
    return NULL;
  List *list = list_open_evidence (&files.from, &note, error);
  tell_note (store, note);
  return list;
}

Queue *
evidence_queue (Store *store, const char *path, GError **error)
{
  char *note = NULL;
  g_auto (Files) files = {.from = {.file = -1, .journal = -1, .log = -1}};
  if (!open_files (store, path, &files, error))
    return NULL;
  Queue *queue = queue_open_evidence (&files.from, &note, error);
  tell_note (store, note);
  return queue;
}

/* The index, and those that a rebuild which never came to its end has set aside. */
static GArray *
open_all_files (Store *store, const char *path, GError **error)
{
  g_autoptr (GArray) all = g_array_new (FALSE, FALSE, sizeof (Files));
  char *broken = NULL;
  Files files;
  g_array_set_clear_func (all, files_clear);
  if (!open_files (store, path, &files, error))
    return NULL;
  g_array_append_val (all, files);
  for (unsigned n = 0; (broken = layout_broken_path (path, n)) != NULL; n++) {
    g_autofree char *name = broken;
    if (open_files (store, name, &files, NULL))
      g_array_append_val (all, files);
  }
  return g_steal_pointer (&all);
}

Index *
evidence_index (Store *store, const char *path, GError **error)
{
  char *note = NULL;
  g_autoptr (GArray) files = open_all_files (store, path, error);
  if (files == NULL)
    return NULL;
  g_autofree IndexEvidence *from = g_new (IndexEvidence, files->len);
  for (guint i = 0; i < files->len; i++)
    from[i] = g_array_index (files, Files, i).from;
  g_autoptr (GError) failure = NULL;
  Index *index = index_open_evidence (from, files->len, &note, &failure);
  tell_note (store, note);
  if (error_code (failure) == ENOMEM)
    evidence_note (store, "%s", failure->message);
  if (index == NULL)
    g_propagate_error (error, g_steal_pointer (&failure));
  return index;
}

/* Where a store can be written there is a better place than memory. */
static bool
find_scratch (Store *store, char **out, GError **error)
{
  if (store_is_read_only (store)) {
    *out = g_strdup (workdir_of (store));
    return true;
  }
  if (layout_tmp (store, error) < 0)
    return false;
  *out = g_strdup_printf ("%s/tmp/%s", store->path, store->tmp_name);
  return true;
}

Index *
evidence_gather (Store *store, const char *in_use, const GPtrArray *paths, GError **error)
{
  g_autoptr (GArray) all = g_array_new (FALSE, FALSE, sizeof (Files));
  g_autofree char *workdir = NULL;
  Files files;
  g_array_set_clear_func (all, files_clear);
  if (!find_scratch (store, &workdir, error))
    return NULL;
  for (guint i = 0; i < paths->len; i++) {
    if (open_files (store, paths->pdata[i], &files, NULL))
      g_array_append_val (all, files);
  }
  g_autofree IndexEvidence *from = g_new (IndexEvidence, all->len + 1);
  for (guint i = 0; i < all->len; i++)
    from[i] = g_array_index (all, Files, i).from;
  return index_gather (in_use, from, all->len, workdir, error);
}
