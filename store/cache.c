/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept open: directories and indexes, each up to a bound, the least recently used ones
 * closed first. A file may be deleted or replaced under us at any time, so every use begins with a
 * look at whether what is open is still what the name means.
 */
#include "store/arrive.h"
#include "store/evidence.h"
#include "store/past.h"

#include <unistd.h>

#define MAILBOXES_MAX 512u
#define INDEXES_MAX   128u
#define COPIES_MAX    16u /* of evidence, in memory as a whole */

/* An entry of a cache: `value` is a StoreMailbox or a Handle, `link` its place in the order of use.
 */
typedef struct {
  uint32_t number;
  gpointer value;
  GList *link;
} Entry;

/* ---- handles ------------------------------------------------------------------------------- */

Handle *
handle_new (const char *path)
{
  static _Atomic uint64_t last;
  Handle *self = g_new0 (Handle, 1);
  g_atomic_ref_count_init (&self->references);
  self->serial = ++last;
  self->path = g_strdup (path);
  return self;
}

Handle *
handle_ref (Handle *self)
{
  g_atomic_ref_count_inc (&self->references);
  return self;
}

void
handle_unref (Handle *self)
{
  if (self == NULL || !g_atomic_ref_count_dec (&self->references))
    return;
  index_close (self->index);
  list_close (self->list);
  queue_close (self->queue);
  g_clear_error (&self->failure);
  g_clear_error (&self->remade);
  g_free (self->path);
  g_free (self);
}

static bool
same_file (const struct stat *a, const struct stat *b)
{
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
         stat_ctime_ns (a) == stat_ctime_ns (b);
}

/* Whether a handle, or the failure that it remembers, still describes its file. */
static bool
handle_is_current (const Handle *self)
{
  if (self->fixed)
    return true;
  if (self->index != NULL)
    return index_is_current (self->index);
  struct stat now = {0};
  if (stat (self->path, &now) < 0)
    now = (struct stat){0};
  return same_file (&now, &self->failed);
}

/* ---- the order of use ---------------------------------------------------------------------- */

static void
evict (GHashTable *table, GQueue *order, Entry *entry, GDestroyNotify destroy)
{
  g_hash_table_remove (table, GUINT_TO_POINTER (entry->number));
  g_queue_delete_link (order, entry->link);
  destroy (entry->value);
  g_free (entry);
}

static Entry *
find (GHashTable *table, GQueue *order, uint32_t number)
{
  Entry *entry = g_hash_table_lookup (table, GUINT_TO_POINTER (number));
  if (entry != NULL && entry->link != order->head) {
    g_queue_unlink (order, entry->link);
    g_queue_push_head_link (order, entry->link);
  }
  return entry;
}

/* Takes over `value`, replacing what was there. */
static void
insert (GHashTable *table, GQueue *order, uint32_t number, gpointer value, guint max,
        GDestroyNotify destroy)
{
  Entry *old = g_hash_table_lookup (table, GUINT_TO_POINTER (number));
  if (old != NULL)
    evict (table, order, old, destroy);
  while (order->length >= max)
    evict (table, order, order->tail->data, destroy);
  Entry *entry = g_new0 (Entry, 1);
  *entry = (Entry){.number = number, .value = value};
  g_queue_push_head (order, entry);
  entry->link = order->head;
  g_hash_table_insert (table, GUINT_TO_POINTER (number), entry);
}

static void
drop (GHashTable *table, GQueue *order, uint32_t number, GDestroyNotify destroy)
{
  Entry *entry = g_hash_table_lookup (table, GUINT_TO_POINTER (number));
  if (entry != NULL)
    evict (table, order, entry, destroy);
}

void
cache_init (Store *store)
{
  g_mutex_init (&store->mutex);
  store->mailboxes = g_hash_table_new (NULL, NULL);
  store->indexes = g_hash_table_new (NULL, NULL);
  g_queue_init (&store->mailbox_order);
  g_queue_init (&store->index_order);
}

void
cache_clear (Store *store)
{
  while (store->mailbox_order.tail != NULL)
    evict (store->mailboxes, &store->mailbox_order, store->mailbox_order.tail->data,
           (GDestroyNotify)store_mailbox_unref);
  while (store->index_order.tail != NULL)
    evict (store->indexes, &store->index_order, store->index_order.tail->data,
           (GDestroyNotify)handle_unref);
  g_clear_pointer (&store->mailboxes, g_hash_table_unref);
  g_clear_pointer (&store->indexes, g_hash_table_unref);
  g_clear_pointer (&store->list, handle_unref);
  g_clear_pointer (&store->queue, handle_unref);
}

/* ---- indexes ------------------------------------------------------------------------------- */

static Handle *
cached_index (Store *store, uint32_t owner)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  Entry *entry = find (store->indexes, &store->index_order, owner);
  return entry != NULL ? handle_ref (entry->value) : NULL;
}

/* Opens the index; a failure is part of the handle. */
static Handle *
open_index (Store *store, const char *path, bool create)
{
  Handle *handle = handle_new (path);
  if (store->evidence != NULL) {
    handle->fixed = true;
    handle->index = evidence_index (store, path, &handle->failure);
    return handle;
  }
  if (stat (path, &handle->failed) < 0)
    handle->failed = (struct stat){0};
  IndexOpenFlags flags =
      (create ? INDEX_CREATE : 0) | (store_is_read_only (store) ? INDEX_READ_ONLY : 0);
  handle->index = index_open (path, flags, &handle->failure);
  return handle;
}

/* Makes the directories above an index, for the store's owner. */
static bool
prepare_directories (Store *store, const char *node_path, GError **error)
{
  g_autofree char *parent = g_path_get_dirname (node_path);
  g_autofree char *path = g_strdup_printf ("index/%s", parent);
  g_auto (GStrv) names = g_strsplit (path, "/", -1);
  auto_fd fd = layout_open (store->fd, "", O_RDONLY | O_DIRECTORY, 0);
  for (char **name = names; *name != NULL; name++) {
    if (fd < 0 || (mkdirat (fd, *name, 0750) < 0 && errno != EEXIST))
      return fail_errno (error, "make directory %s/%s", store->path, path);
    int child = layout_open (fd, *name, O_RDONLY | O_DIRECTORY, 0);
    store_close_fd (&fd);
    fd = child;
    if (fd >= 0 && !layout_own (store, fd, error))
      return false;
  }
  return fd >= 0 || fail_errno (error, "open directory %s/%s", store->path, path);
}

/* Whether what opening an index led to stays so until its file changes. Anything else (no memory,
 * no descriptors, a lock that was held too long) may be over at the next use. */
static bool
is_lasting (const Handle *handle)
{
  int code = handle->index == NULL ? error_code (handle->failure) : 0;
  return (handle->fixed && code != ENOMEM) || code == 0 || code == ENOENT || code == EUCLEAN ||
         code == EROFS;
}

/* Opens it anew. A copy of evidence in memory may find no room there before the others go, which
 * nobody uses just now. */
static Handle *
open_in_room (Store *store, const char *path, bool create)
{
  Handle *handle = open_index (store, path, create);
  if (store->evidence == NULL || error_code (handle->failure) != ENOMEM)
    return handle;
  handle_unref (handle);
  g_mutex_lock (&store->mutex);
  while (store->index_order.tail != NULL)
    evict (store->indexes, &store->index_order, store->index_order.tail->data,
           (GDestroyNotify)handle_unref);
  g_mutex_unlock (&store->mutex);
  return open_index (store, path, create);
}

/* Opens the index of `owner` anew and keeps it, or the failure to do so. */
static Handle *
reopen_index (Store *store, uint32_t owner, bool create, GError **error)
{
  if (!node_has_index (store, owner)) {
    fail (error, EOPNOTSUPP, "user %u has no index", owner);
    return NULL;
  }
  g_autofree char *node_path = store_node_path (store, owner, error);
  if (node_path == NULL || (create && !prepare_directories (store, node_path, error)))
    return NULL;
  g_autofree char *path = layout_index_path (store, node_path);
  g_autoptr (Handle) handle = open_in_room (store, path, create);
  if (create && handle->index != NULL && !layout_own_path (store, path, error))
    return NULL;
  if (!is_lasting (handle))
    return g_steal_pointer (&handle);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  insert (store->indexes, &store->index_order, owner, handle_ref (handle),
          store->evidence != NULL && store_workdir (store) == NULL ? COPIES_MAX : INDEXES_MAX,
          (GDestroyNotify)handle_unref);
  return g_steal_pointer (&handle);
}

Handle *
cache_index (Store *store, uint32_t owner, bool create, GError **error)
{
  store = past_live (store);
  create = create && !store_is_read_only (store);
  delivery_settle (store, owner, false);
  g_autoptr (Handle) handle = cached_index (store, owner);
  bool usable = handle != NULL && handle_is_current (handle) &&
                (handle->index != NULL || !create || error_code (handle->failure) != ENOENT);
  if (!usable) {
    g_clear_pointer (&handle, handle_unref);
    handle = reopen_index (store, owner, create, error);
  }
  if (handle != NULL && handle->index == NULL) {
    if (error != NULL)
      *error = g_error_copy (handle->failure);
    return NULL;
  }
  return g_steal_pointer (&handle);
}

void
cache_drop_index (Store *store, uint32_t owner)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  drop (store->indexes, &store->index_order, owner, (GDestroyNotify)handle_unref);
}

/* ---- mailboxes ----------------------------------------------------------------------------- */

bool
mailbox_is_current (const StoreMailbox *self)
{
  struct stat st;
  if (self->store->past != NULL) /* It may lie elsewhere by now. */
    return fstat (self->fd, &st) == 0 && st.st_nlink > 0;
  const char *path = *self->path != '\0' ? self->path : ".";
  return fstatat (self->store->mail_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
         st.st_dev == self->device && st.st_ino == self->inode;
}

static StoreMailbox *
cached_mailbox (Store *store, uint32_t number)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  Entry *entry = find (store->mailboxes, &store->mailbox_order, number);
  StoreMailbox *mailbox = entry != NULL ? store_mailbox_ref (entry->value) : NULL;
  g_clear_pointer (&locker, g_mutex_locker_free);
  /* What is not current is replaced by what is opened instead. */
  if (mailbox != NULL && !mailbox_is_current (mailbox))
    g_clear_pointer (&mailbox, store_mailbox_unref);
  return mailbox;
}

static int
open_directory (Store *store, const StoreNode *node, const char *path, GError **error)
{
  if (store->past != NULL)
    return past_node_open (store, node, error);
  int fd = layout_open (store->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
  /* One that may not be read can still be shown. */
  if (fd < 0 && store->evidence != NULL)
    fd = layout_open (store->mail_fd, path, O_PATH | O_DIRECTORY, 0);
  if (fd < 0) {
    int code = errno == ENOENT || errno == ENOTDIR ? ESTALE : errno;
    fail (error, code, "open mailbox '%s': %s", path, g_strerror (errno));
  }
  return fd;
}

static StoreMailbox *
open_mailbox (Store *store, uint32_t number, GError **error)
{
  g_auto (StoreNode) node = {0};
  g_autofree char *path = NULL;
  if (!store_node_get (store, number, &node, error) ||
      (path = store_node_path (store, number, error)) == NULL)
    return NULL;
  auto_fd fd = open_directory (store, &node, path, error);
  struct stat st;
  if (fd < 0)
    return NULL;
  if (fstat (fd, &st) < 0) {
    fail_errno (error, "stat '%s'", path);
    return NULL;
  }
  StoreMailbox *self = g_new0 (StoreMailbox, 1);
  g_atomic_ref_count_init (&self->references);
  g_mutex_init (&self->mutex);
  self->store = store;
  self->number = number;
  self->owner = node.owner;
  self->kind = node.kind;
  self->path = g_steal_pointer (&path);
  self->fd = g_steal_fd (&fd);
  self->device = st.st_dev;
  self->inode = st.st_ino;
  return self;
}

StoreMailbox *
store_mailbox_open (Store *self, uint32_t number, GError **error)
{
  StoreMailbox *mailbox = cached_mailbox (self, number);
  if (mailbox != NULL)
    return mailbox;
  mailbox = open_mailbox (self, number, error);
  if (mailbox == NULL) {
    g_autoptr (GMutexLocker) dropping G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
    drop (self->mailboxes, &self->mailbox_order, number, (GDestroyNotify)store_mailbox_unref);
    return NULL;
  }
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  insert (self->mailboxes, &self->mailbox_order, number, store_mailbox_ref (mailbox), MAILBOXES_MAX,
          (GDestroyNotify)store_mailbox_unref);
  return mailbox;
}

StoreMailbox *
store_mailbox_ref (StoreMailbox *self)
{
  g_atomic_ref_count_inc (&self->references);
  return self;
}

void
store_mailbox_unref (StoreMailbox *self)
{
  if (self == NULL || !g_atomic_ref_count_dec (&self->references))
    return;
  store_close_fd (&self->fd);
  g_mutex_clear (&self->mutex);
  g_clear_pointer (&self->uids, g_array_unref);
  g_clear_pointer (&self->gone, g_array_unref);
  history_free (self->history);
  g_free (self->path);
  g_free (self);
}

uint32_t
store_mailbox_number (const StoreMailbox *self)
{
  return self->number;
}
