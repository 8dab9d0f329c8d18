/* SPDX-License-Identifier: Apache-2.0 */
/* The mailbox list and the queue, of which a store has one each, kept open like the rest. */
#include "store/evidence.h"

/* ---- the mailbox list ---------------------------------------------------------------------- */

/* How long a list in memory serves a store that may be written, before it is tried on disk. */
#define LIST_RETRY_US (60 * G_USEC_PER_SEC)

/* Whether a list cannot be put on disk, but can be shown all the same. */
static bool
is_unwritable (int code)
{
  return code == ENOSPC || code == EDQUOT || code == EROFS || code == EACCES || code == EPERM;
}

/* Makes the list again: on disk, or in memory where nothing can be written. */
static bool
make_list (Store *store, Handle *handle, GError **error)
{
  if (!store_is_read_only (store)) {
    g_clear_error (&handle->remade);
    handle->remade = g_steal_pointer (&handle->failure);
    handle->list = relist_replace (store, handle->path, NULL, NULL, &handle->failure);
    if (handle->list != NULL)
      return true;
    if (!is_unwritable (error_code (handle->failure))) {
      g_propagate_error (error, g_steal_pointer (&handle->failure));
      return false;
    }
  }
  handle->made_us = g_get_monotonic_time ();
  handle->list = list_open (NULL, 0, error);
  return handle->list != NULL && relist (store, handle->list, true, NULL, NULL, error);
}

/* Whether somebody put users into the store, or took some away, which only who may write can note
 * on the list: then it is left alone. */
static bool
is_behind (Store *store, Handle *handle)
{
  bool due = false;
  if (!integrate_is_due (store, handle->list, &due, NULL) || !due)
    return false;
  g_clear_pointer (&handle->list, list_close);
  fail (&handle->failure, ESTALE, "%s is behind the directories", handle->path);
  return true;
}

/* Remembers that a write to the list was interrupted: opening it for writing takes that back. */
static void
note_interrupted (Handle *handle)
{
  g_autofree char *journal = g_strconcat (handle->path, "-journal", NULL);
  struct stat st;
  if (stat (journal, &st) < 0 || st.st_size == 0)
    return;
  g_autoptr (GError) failure = NULL;
  g_autoptr (List) look G_GNUC_UNUSED = list_open (handle->path, INDEX_READ_ONLY, &failure);
  if (error_code (failure) == EROFS)
    handle->remade = g_steal_pointer (&failure);
}

/* What is shown of evidence is made of its directories; its list tells the numbers of those that
 * have lost theirs. */
static Handle *
open_evidence_list (Store *store, const char *path, GError **error)
{
  g_autoptr (Handle) handle = handle_new (path);
  g_autoptr (List) known = evidence_list (store, path, &handle->failure);
  handle->list = list_open (NULL, 0, error);
  return handle->list != NULL && relist_evidence (store, known, handle->list, error)
             ? g_steal_pointer (&handle)
             : NULL;
}

/* Opens the list, or makes it again. */
static Handle *
open_list (Store *store, const char *path, GError **error)
{
  if (store->evidence != NULL)
    return open_evidence_list (store, path, error);
  g_autoptr (Handle) handle = handle_new (path);
  if (!store_is_read_only (store))
    note_interrupted (handle);
  IndexOpenFlags flags = store_is_read_only (store) ? INDEX_READ_ONLY : 0;
  handle->list = list_open (path, flags, &handle->failure);
  if (handle->list != NULL && (!store_is_read_only (store) || !is_behind (store, handle)))
    return g_steal_pointer (&handle);
  int code = error_code (handle->failure);
  if (code != ENOENT && !is_index_broken (handle->failure) && code != EROFS && code != ESTALE) {
    g_propagate_error (error, g_steal_pointer (&handle->failure));
    return NULL;
  }
  return make_list (store, handle, error) ? g_steal_pointer (&handle) : NULL;
}

static void
keep_list (Store *store, Handle *handle)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  g_clear_pointer (&store->list, handle_unref);
  store->list_in_memory = handle->failure != NULL;
  store->list = handle_ref (handle);
}

/* What a list in memory was made from cannot be watched. */
static bool
list_serves (const Store *store, const Handle *handle)
{
  if (handle->failure == NULL)
    return list_is_current (handle->list);
  return store_is_read_only (store) || g_get_monotonic_time () - handle->made_us < LIST_RETRY_US;
}

Handle *
cache_list (Store *store, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  Handle *current = store->list;
  if (current != NULL && list_serves (store, current))
    return handle_ref (current);
  g_clear_pointer (&locker, g_mutex_locker_free);

  g_autofree char *path = g_build_filename (store->path, "mailboxes.sqlite3", NULL);
  Handle *opened = open_list (store, path, error);
  if (opened != NULL)
    keep_list (store, opened);
  return opened;
}

bool
cache_outdate_list (Store *store)
{
  g_autoptr (Handle) current = cache_list (store, NULL);
  if (current == NULL || current->failure != NULL)
    return false;
  g_autoptr (Handle) handle = handle_new (current->path);
  fail (&handle->failure, ESTALE, "%s is behind the directories", handle->path);
  if (!make_list (store, handle, NULL))
    return false;
  keep_list (store, handle);
  return true;
}

Handle *
cache_renew_list (Store *store, Handle *damaged, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  bool other = store->list != NULL && store->list != damaged;
  g_clear_pointer (&locker, g_mutex_locker_free);
  if (other) /* Another thread was faster. */
    return cache_list (store, error);
  g_autoptr (Handle) handle = handle_new (damaged->path);
  fail (&handle->failure, EUCLEAN, "%s is damaged", damaged->path);
  if (!make_list (store, handle, error))
    return NULL;
  keep_list (store, handle);
  return g_steal_pointer (&handle);
}

void
cache_drop_list (Store *store)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  g_clear_pointer (&store->list, handle_unref);
}

/* ---- the queue ----------------------------------------------------------------------------- */

static Queue *
open_queue (Store *store, const char *path, bool create, GError **error)
{
  if (store->evidence == NULL)
    return queue_open (path,
                       store_is_read_only (store) ? INDEX_READ_ONLY
                       : create                   ? INDEX_CREATE
                                                  : 0,
                       error);
  g_autoptr (GError) failure = NULL;
  Queue *queue = evidence_queue (store, path, &failure);
  if (queue != NULL)
    return queue;
  if (failure->code != ENOENT)
    evidence_note (store, "%s", failure->message);
  return queue_open (NULL, 0, error); /* an empty one, so that nobody tries again */
}

Handle *
cache_queue (Store *store, bool create, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  if (store->queue != NULL && queue_is_current (store->queue->queue))
    return handle_ref (store->queue);
  g_clear_pointer (&locker, g_mutex_locker_free);

  g_autofree char *path = g_build_filename (store->path, "queue.sqlite3", NULL);
  g_autoptr (Handle) handle = handle_new (path);
  handle->queue = open_queue (store, path, create, error);
  if (handle->queue == NULL || (create && !layout_own_path (store, path, error)))
    return NULL;
  g_autoptr (GMutexLocker) again G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  g_clear_pointer (&store->queue, handle_unref);
  store->queue = handle_ref (handle);
  return g_steal_pointer (&handle);
}

void
cache_drop_queue (Store *store)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->mutex);
  g_clear_pointer (&store->queue, handle_unref);
}
