/* SPDX-License-Identifier: Apache-2.0 */
/* A store as a whole: making, opening, counting. */
#include "store/arrive.h"
#include "store/evidence.h"
#include "store/lost.h"
#include "store/missing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *const directories[] = {"mail", "index", "tmp", "quarantine"};

void
store_close_fd (const int *fd)
{
  int code = errno;
  if (*fd >= 0)
    close (*fd);
  errno = code;
}

/* ---- making one ---------------------------------------------------------------------------- */

static bool
is_empty (const char *path)
{
  g_autoptr (GDir) directory = g_dir_open (path, 0, NULL);
  const char *name;
  while (directory != NULL && (name = g_dir_read_name (directory)) != NULL) {
    if (strcmp (name, "lost+found") != 0)
      return false;
  }
  return true;
}

static bool
write_config (int fd, GError **error)
{
  g_autofree char *uuid = g_uuid_string_random ();
  g_autofree char *text = g_strdup_printf ("# mailfs.conf - see mailfs-store(5)\n"
                                           "[store]\nformat=%d\nuuid=%s\n",
                                           STORE_FORMAT_VERSION, uuid);
  return config_write (fd, text, error);
}

/* mailfs.conf comes last: a directory is a store from then on. */
bool
store_create (const char *path, GError **error)
{
  g_autofree char *config = g_build_filename (path, CONFIG, NULL);
  if (g_file_test (config, G_FILE_TEST_EXISTS))
    return fail (error, EEXIST, "%s is a mail store already", path);
  if (g_mkdir_with_parents (path, 0750) < 0)
    return fail_errno (error, "make directory %s", path);
  auto_fd fd = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat (fd, &st) < 0)
    return fail_errno (error, "open %s", path);
  for (size_t i = 0; i < G_N_ELEMENTS (directories); i++) {
    /* What an interrupted attempt left is taken over; anything else is not ours to fill. */
    g_autofree char *child = g_build_filename (path, directories[i], NULL);
    bool ours = g_file_test (child, G_FILE_TEST_IS_DIR) && is_empty (child);
    if (i == 0 && !ours && !is_empty (path))
      return fail (error, ENOTEMPTY, "%s is not empty", path);
    if (mkdirat (fd, directories[i], 0750) < 0 && !(errno == EEXIST && ours))
      return fail_errno (error, "make directory %s/%s", path, directories[i]);
    /* What root makes in somebody's directory is theirs. */
    if (geteuid () == 0 &&
        fchownat (fd, directories[i], st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
      return fail_errno (error, "change the owner of %s/%s", path, directories[i]);
  }
  if (!write_config (fd, error))
    return fail_prefix (error, "%s", path);
  return geteuid () != 0 || fchownat (fd, CONFIG, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) == 0 ||
         fail_errno (error, "change the owner of %s/" CONFIG, path);
}

/* ---- opening ------------------------------------------------------------------------------- */

bool
store_read_config (Store *self, GError **error)
{
  g_autoptr (GKeyFile) file = config_read (self, error);
  g_autoptr (GError) failure = NULL;
  if (file == NULL)
    return false;
  int format = g_key_file_get_integer (file, "store", "format", &failure);
  if (failure != NULL)
    return fail (error, EINVAL, "read %s/" CONFIG ": %s", self->path, failure->message);
  if (format > STORE_FORMAT_VERSION)
    return fail (error, EPROTONOSUPPORT,
                 "%s has format %d, which is newer than this program's format %d", self->path,
                 format, STORE_FORMAT_VERSION);
  if (format < 1)
    return fail (error, EINVAL, "read %s/" CONFIG ": format %d makes no sense", self->path, format);
  self->uuid = g_key_file_get_string (file, "store", "uuid", NULL);
  if (self->uuid == NULL)
    return fail (error, EINVAL, "read %s/" CONFIG ": no uuid", self->path);
  return settings_load (self, file, error) || fail_prefix (error, "%s/" CONFIG, self->path);
}

bool
store_open_mail (Store *self, GError **error)
{
  self->mail_fd = layout_open (self->fd, "mail", O_RDONLY | O_DIRECTORY, 0);
  struct stat st;
  if (self->evidence != NULL && self->mail_fd < 0 &&
      (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
    return fail (error, EINVAL, "%s is not a mail store (it has no directory mail)", self->path);
  if (self->mail_fd < 0 || fstat (self->mail_fd, &st) < 0)
    return fail_errno (error, "open %s/mail", self->path);
  self->owner_uid = st.st_uid;
  self->owner_gid = st.st_gid;
  if (self->flags & STORE_READ_ONLY)
    return true;
  /* The index may be deleted at any time, the directory with it. */
  if (mkdirat (self->fd, "index", 0750) < 0 && errno != EEXIST)
    return fail_errno (error, "make %s/index", self->path);
  return true;
}

static bool
open_directories (Store *self, GError **error)
{
  self->fd = open (self->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (self->fd < 0 && errno == ENOTDIR)
    return fail (error, EINVAL, "%s is not a mail store (it is no directory)", self->path);
  if (self->fd < 0)
    return fail_errno (error, "open store %s", self->path);
  return store_read_config (self, error) && store_open_mail (self, error);
}

Store *
store_new (void)
{
  Store *self = g_new0 (Store, 1);
  self->fd = self->mail_fd = self->tmp_fd = -1;
  cache_init (self);
  heal_init (self);
  delivery_init (self);
  epoch_init (self);
  missing_init (self);
  remains_init (self);
  orphans_init (self);
  removed_init (self);
  parse_init ();
  return self;
}

Store *
store_new_at (const char *path, GError **error)
{
  char *real = realpath (path, NULL);
  if (real == NULL) {
    fail_errno (error, "open store %s", path);
    return NULL;
  }
  Store *self = store_new ();
  self->path = g_strdup (real);
  free (real);
  return self;
}

Store *
store_open (const char *path, StoreOpenFlags flags, GError **error)
{
  g_autoptr (Store) self = store_new_at (path, error);
  if (self == NULL)
    return NULL;
  self->flags = flags;
  if (!open_directories (self, error))
    return NULL;
  if (flags & STORE_TAKE_LATER)
    return g_steal_pointer (&self);
  g_autoptr (Handle) list = cache_list (self, error);
  if (list == NULL)
    return NULL;
  if (!store_is_read_only (self))
    integrate_all (self);
  return g_steal_pointer (&self);
}

void
store_notice (Store *self, StoreNoticeFunc notice, void *user_data)
{
  self->notice = notice;
  self->notice_data = user_data;
  if (self->evidence != NULL && notice != NULL)
    evidence_repeat (self);
}

void
store_close (Store *self)
{
  if (self == NULL)
    return;
  heal_clear (self);
  delivery_clear (self);
  cache_clear (self);
  orphans_clear (self);
  removed_clear (self);
  remains_clear (self);
  missing_clear (self);
  epoch_clear (self);
  layout_tmp_close (self);
  if (self->past == NULL)
    evidence_free (self->evidence);
  past_free (self->past);
  store_close_fd (&self->mail_fd);
  store_close_fd (&self->fd);
  g_mutex_clear (&self->mutex);
  g_free (self->uuid);
  g_free (self->path);
  g_free (self);
}

/* ---- facts about it ------------------------------------------------------------------------ */

const char *
store_path (const Store *self)
{
  return self->path;
}

const char *
store_uuid (const Store *self)
{
  return self->uuid;
}

void
store_tell (const Store *self, const char *format, ...)
{
  va_list arguments;
  if (self->notice == NULL)
    return;
  va_start (arguments, format);
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  self->notice (text, self->notice_data);
}

bool
store_is_read_only (const Store *self)
{
  return self->flags & STORE_READ_ONLY;
}

bool
store_list_in_memory (const Store *self)
{
  return self->past != NULL ? self->past->live->list_in_memory : self->list_in_memory;
}

bool
store_statvfs (Store *self, struct statvfs *out, GError **error)
{
  return fstatvfs (self->mail_fd, out) == 0 || fail_errno (error, "stat %s/mail", self->path);
}

/* One mailbox: from its row, as long as that agrees with the directory, else from its files. */
static bool
count_mailbox (Store *self, uint32_t number, Handle *index, StoreStatus *status, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self, number, &failure);
  IndexMailbox row = {0};
  StoreMailboxInfo info = {0};
  struct stat st;
  bool found = false;
  if (index == NULL || !index_mailbox_get (index->index, number, &row, &found, NULL))
    found = false;
  if (!found || mailbox == NULL || fstat (mailbox->fd, &st) < 0 ||
      row.directory_ns != stat_mtime_ns (&st)) {
    status->behind += mailbox == NULL || node_has_index (self, mailbox->owner);
    if (mailbox == NULL || !store_mailbox_info (mailbox, &info, &failure)) {
      if (is_gone (failure))
        return true; /* It is gone. */
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
    row.messages = info.messages;
    row.unseen = info.unseen;
    row.expunged = info.expunged;
    row.bytes = info.bytes;
    row.highestmodseq = info.highestmodseq;
    row.last_repair_s = info.last_repair_s;
  }
  status->mailboxes++;
  status->messages += row.messages;
  status->unseen += row.unseen;
  status->expunged += row.expunged;
  status->damaged += row.damaged;
  status->bytes += row.bytes;
  status->highestmodseq = MAX (status->highestmodseq, row.highestmodseq);
  status->last_repair_s = MAX (status->last_repair_s, row.last_repair_s);
  return true;
}

static bool
count_past (Store *self, uint32_t number, StoreStatus *status, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self, number, &failure);
  if (mailbox != NULL && past_mailbox_count (mailbox, status, &failure))
    return true;
  if (is_gone (failure))
    return true; /* Somebody took it away; or the snapshot was dropped, which shows soon. */
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

typedef struct {
  Store *store;
  Handle *index; /* of the user that it is below; NULL: there is none */
  StoreStatus *status;
} Count;

/* The node and all below it. */
static bool
count_node (const StoreNode *node, void *data, GError **error)
{
  Count count = *(const Count *)data;
  Store *self = count.store;
  g_autoptr (Handle) own = NULL;
  count.status->domains += node->kind == STORE_NODE_DOMAIN;
  count.status->users += node->kind == STORE_NODE_USER;
  if (self->past == NULL && (node->kind == STORE_NODE_USER || node->kind == STORE_NODE_SHARED)) {
    count.index = own = cache_index (self, node->number, false, NULL);
    count.status->users_without_index += own == NULL && !node->no_index;
  }
  if (node->kind == STORE_NODE_MAILBOX &&
      !(self->past != NULL ? count_past (self, node->number, count.status, error)
                           : count_mailbox (self, node->number, count.index, count.status, error)))
    return false;
  return store_node_each_child (self, node->number, NULL, count_node, &count, error);
}

/* A mailbox is counted with the index that it is in; users and what is above them bring theirs. */
static bool
count_tree (Store *self, uint32_t number, StoreStatus *status, GError **error)
{
  Count count = {self, NULL, status};
  g_auto (StoreNode) node = {0};
  if (number == STORE_ROOT)
    return store_node_each_child (self, number, NULL, count_node, &count, error);
  if (!store_node_get (self, number, &node, error))
    return false;
  g_autoptr (Handle) index = NULL;
  if (node.kind == STORE_NODE_MAILBOX)
    count.index = index = cache_index (self, node.owner, false, NULL);
  return count_node (&node, &count, error);
}

bool
store_node_status (Store *self, uint32_t number, StoreStatus *out, GError **error)
{
  StoreStatus status = {0};
  if (!count_tree (self, number, &status, error))
    return false;
  status.list_in_memory = store_list_in_memory (self);
  *out = status;
  return true;
}

bool
store_status (Store *self, StoreStatus *out, GError **error)
{
  return store_node_status (self, STORE_ROOT, out, error);
}
