/* SPDX-License-Identifier: Apache-2.0 */
/* check: compares everything and changes nothing. */
#include "store/internal.h"

#include <unistd.h>

static bool
collect (ScanItem *item, void *data, GError **error)
{
  /* One finding tells that the index does not know a mailbox, not one for each of its messages. */
  bool told = item->verdict == SCAN_NEW && !item->mailbox_known && item->damage == 0;
  if (told || scan_item_is_clean (item))
    scan_item_free (item);
  else
    g_ptr_array_add (data, item);
  return true;
}

/* Whether a difference is still one with the user lock held: without it, a message that was just
 * being delivered looks like one that the index does not know. */
static bool
is_lasting (const ScanItem *item)
{
  char path[32];
  scan_item_path (item, path);
  struct stat st;
  bool there = fstatat (item->mailbox->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (item->verdict == SCAN_GONE)
    return !there;
  if (!there || stat_ctime_ns (&st) != stat_ctime_ns (&item->st))
    return false;
  g_auto (IndexMessage) row = {0};
  bool found = false;
  g_autoptr (Handle) handle = cache_index (item->mailbox->store, item->mailbox->owner, false, NULL);
  if (handle == NULL ||
      !index_message_get (handle->index, item->mailbox->number, item->uid, &row, &found, NULL))
    return true;
  if (item->verdict == SCAN_NEW)
    return !found;
  return found && row.modseq == item->row.modseq && row.changed_ns == item->row.changed_ns;
}

/* Whether the mailbox is as it was when it was scanned. */
static bool
is_unmoved (const ScanMailbox *scanned)
{
  struct stat st;
  IndexMailbox row = {0};
  bool found = false;
  const StoreMailbox *mailbox = scanned->mailbox;
  g_autoptr (Handle) handle = cache_index (mailbox->store, mailbox->owner, false, NULL);
  if (handle != NULL && !index_mailbox_get (handle->index, mailbox->number, &row, &found, NULL))
    found = false;
  return fstat (mailbox->fd, &st) == 0 && stat_mtime_ns (&st) == scanned->directory_ns &&
         found == (scanned->row.number != 0) &&
         (!found || row.directory_ns == scanned->row.directory_ns);
}

static void
report_index (StoreJob *job, uint32_t owner, const char *path, const GError *failure)
{
  bool missing = error_code (failure) == ENOENT;
  job_found (job, missing ? STORE_PROBLEM_NO_INDEX : STORE_PROBLEM_BAD_INDEX, false, owner, 0, path,
             "%s", missing ? "there is no index" : failure->message);
}

/* Reports an index that is missing or damaged; false: there is nothing to compare files with. */
static bool
check_index (StoreJob *job, uint32_t owner, const char *path)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) handle = cache_index (job->store, owner, false, &failure);
  IndexMailbox totals;
  bool good = handle != NULL &&
              (job_has (job, STORE_WORD_FULL) ? index_verify (handle->index, &failure)
                                              : index_totals (handle->index, &totals, &failure));
  if (!good)
    report_index (job, owner, path, failure);
  return good;
}

/* Mail can be kept without user attributes, but then flags depend on .state alone. */
static void
check_attributes (StoreJob *job, const StoreMailbox *mailbox)
{
  if (faccessat (mailbox->fd, LAYOUT_STATE, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    job_found (job, STORE_PROBLEM_NO_ATTRIBUTES, false, mailbox->number, 0, mailbox->path,
               "its state is kept in " LAYOUT_STATE ": the filesystem has no user attributes");
}

static bool
check_mailbox (StoreJob *job, Scan *scan, uint32_t number, GPtrArray *scanned, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (job->store, number, &failure);
  ScanMailbox *in = mailbox != NULL ? scan_mailbox (scan, mailbox, &failure) : NULL;
  if (in != NULL) {
    g_ptr_array_add (scanned, in);
    check_attributes (job, mailbox);
    return true;
  }
  if (error_code (failure) == ESTALE)
    return true; /* The comparison of the list has said so. */
  if (error_code (failure) == EACCES || error_code (failure) == EPERM) {
    g_autofree char *path = store_node_path (job->store, number, NULL);
    job_found (job, STORE_PROBLEM_PERMISSION, false, number, 0, path ? path : "", "%s",
               failure->message);
    return true;
  }
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static bool
scan_owner (StoreJob *job, const GArray *mailboxes, GPtrArray *items, GPtrArray *scanned,
            GError **error)
{
  bool full = job_has (job, STORE_WORD_FULL);
  g_autoptr (Scan) scan = scan_new (job, full ? SCAN_READ_ALL : SCAN_SKIP_NEW, collect, items);
  for (guint i = 0; i < mailboxes->len; i++) {
    if (!check_mailbox (job, scan, g_array_index (mailboxes, uint32_t, i), scanned, error))
      return false;
  }
  return scan_drain (scan, error);
}

/* Reports what is still so with the user lock held. */
static bool
report_lasting (StoreJob *job, uint32_t owner, const GPtrArray *items, const GPtrArray *scanned,
                GError **error)
{
  auto_fd lock = -1;
  if (!store_is_read_only (job->store) && (lock = lock_user (job->store, owner, error)) < 0)
    return false;
  for (guint i = 0; i < items->len; i++) {
    if (is_lasting (items->pdata[i]))
      scan_report (items->pdata[i], job, false);
  }
  for (guint i = 0; i < scanned->len; i++) {
    if (is_unmoved (scanned->pdata[i]))
      scan_report_mailbox (scanned->pdata[i], job, false);
  }
  return true;
}

static bool
check_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  g_autofree char *path = store_node_path (job->store, owner, error);
  if (path == NULL)
    return false;
  /* Without an index every mailbox differs from it; one finding says so. */
  if (mailboxes->len == 0 || !check_index (job, owner, path))
    return true;
  g_autoptr (GPtrArray) items = g_ptr_array_new_with_free_func ((GDestroyNotify)scan_item_free);
  g_autoptr (GPtrArray) scanned =
      g_ptr_array_new_with_free_func ((GDestroyNotify)scan_mailbox_free);
  g_autoptr (GError) failure = NULL;
  if (scan_owner (job, mailboxes, items, scanned, &failure))
    return report_lasting (job, owner, items, scanned, error);
  if (error_code (failure) != EUCLEAN) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  report_index (job, owner, path, failure);
  return true;
}

static void
report_list (StoreProblem problem, uint32_t number, const char *path, const char *detail,
             void *data)
{
  job_found (data, problem, false, number, 0, path, "%s", detail);
}

bool
command_check (StoreJob *job, GError **error)
{
  Store *store = job->store;
  g_autoptr (Handle) list = cache_list (store, error);
  if (list == NULL)
    return false;
  g_autoptr (GError) failure = NULL;
  if (job_has (job, STORE_WORD_FULL) && !list_verify (list->list, &failure))
    job_found (job, STORE_PROBLEM_BAD_INDEX, false, 0, 0, "", "%s", failure->message);
  if (job->request->targets->len == 0 && !relist (store, list->list, true, report_list, job, error))
    return false;
  return job_each_owner (job, check_owner, error);
}
