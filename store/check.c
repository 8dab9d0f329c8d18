/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check: compares everything and changes nothing, not even an atime.
 *
 * It works on a store of its own that is open read only. Nobody waits for it, but for two things:
 * while it looks once more at what seemed wrong it holds the user lock, shared, for a batch of a
 * few hundred looks; and who commits to an index waits for SQLite's own test of that database with
 * "full", which reads all of it.
 */
#include "store/check.h"
#include "store/evidence.h"
#include "store/jobs.h"
#include "store/missing.h"
#include "store/rebuild.h"
#include "store/scan.h"
#include "store/verbs.h"

#include <string.h>
#include <unistd.h>

/* How many differences are looked at again under one lock. */
#define BATCH_MAX 256u

/* ---- is it still so? ------------------------------------------------------------------------ */

static bool
collect (ScanItem *item, void *data, GError **error)
{
  /* One finding tells that the index does not know a mailbox, not one for each of its messages. */
  bool told = item->verdict == SCAN_NEW && !item->mailbox_known && item->damage == 0;
  if (told || scan_item_is_clean (item))
    scan_item_free (item);
  else {
    /* There may be very many, of which this is the largest part, and nobody wants it any more. */
    store_summary_clear (&item->summary);
    g_ptr_array_add (data, item);
  }
  return true;
}

static gint
compare_items (gconstpointer a, gconstpointer b)
{
  const ScanItem *first = *(const ScanItem *const *)a, *second = *(const ScanItem *const *)b;
  if (first->mailbox != second->mailbox)
    return strcmp (first->mailbox->path, second->mailbox->path);
  if (first->uid != second->uid)
    return first->uid < second->uid ? -1 : 1;
  return first->expunged - second->expunged;
}

/* Whether a difference is still one with the user lock held: without it, a message that was just
 * being delivered looks like one that the index does not know. */
static bool
is_lasting (const ScanItem *item)
{
  char path[32];
  scan_item_path (item, path);
  struct stat st;
  bool there = layout_message_stat (item->mailbox->fd, path, &st);
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

/* Reports what is still so with the user lock held. */
static bool
report_lasting (StoreJob *job, uint32_t owner, const GPtrArray *items, const GPtrArray *scanned,
                GError **error)
{
  for (guint done = 0; done < items->len + scanned->len;) {
    auto_fd lock = lock_user_look (job->store, owner, error);
    if (lock < 0 || !job_go_on (job, error))
      return false;
    guint end = MIN (items->len + scanned->len, done + BATCH_MAX);
    for (; done < end; done++) {
      if (done >= items->len) {
        const ScanMailbox *in = scanned->pdata[done - items->len];
        if (is_unmoved (in))
          scan_report_mailbox (in, job, false);
      } else if (is_lasting (items->pdata[done])) {
        scan_report (items->pdata[done], job, false);
      }
    }
  }
  return true;
}

/* ---- one owner ----------------------------------------------------------------------------- */

/* Reports an index that is missing or damaged; false. */
static bool
check_index (StoreJob *job, uint32_t owner, const char *path, bool whole)
{
  g_autoptr (GError) failure = NULL;
  bool good = index_probe (job, owner, job_probes_all (job, whole), &failure);
  if (good || error_code (failure) == EOPNOTSUPP)
    return true;
  report_database (job, owner, path, false, failure);
  return false;
}

static void
tell_forbidden (StoreJob *job, uint32_t number, const GError *failure)
{
  g_autofree char *path = store_node_path (job->store, number, NULL);
  job_found (job, STORE_PROBLEM_UNREADABLE, false, number, 0, path != NULL ? path : "", "%s",
             failure->message);
}

/* Messages that are missing for some time, which the index does not tell of any more. */
static void
note_lost (StoreJob *job, const StoreMailbox *mailbox)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (GArray) uids = missing_uids (job->store, mailbox->number, &failure);
  guint count = 0;
  if (uids == NULL)
    job_found (job, STORE_PROBLEM_BAD_STATE, false, mailbox->number, 0, mailbox->path,
               "what is known of missing messages cannot be read: %s", failure->message);
  for (guint i = 0; uids != NULL && i < uids->len; i++)
    count += !missing_is_back (mailbox, g_array_index (uids, uint32_t, i));
  if (count > 0)
    job_noted (job, STORE_PROBLEM_LOST, mailbox->number, 0, mailbox->path,
               "the files of %u message%s are gone; what is known of them is kept", count,
               count == 1 ? "" : "s");
}

static bool
check_mailbox (StoreJob *job, Scan *scan, uint32_t number, GPtrArray *scanned, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (job->store, number, &failure);
  ScanMailbox *in = mailbox != NULL ? scan_mailbox (scan, mailbox, &failure) : NULL;
  if (in != NULL) {
    g_ptr_array_add (scanned, in);
    note_lost (job, mailbox);
    return true;
  }
  /* The comparison of the list has said what is gone, an inspection what may not be read. */
  int code = error_code (failure);
  bool forbidden = code == EACCES || code == EPERM;
  if (forbidden && job->inspection == NULL)
    tell_forbidden (job, number, failure);
  if (code == ENOENT)
    job_noted (job, STORE_PROBLEM_NOTE, number, 0, "",
               "mailbox %u is not on the list any more, and was not looked at", number);
  if (code == ESTALE || code == ENOENT || forbidden)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static bool
scan_owner (StoreJob *job, const GArray *mailboxes, ScanFlags flags, GPtrArray *items,
            GPtrArray *scanned, GError **error)
{
  flags |= job_has (job, STORE_WORD_FULL) ? SCAN_READ_ALL : SCAN_SKIP_NEW;
  g_autoptr (Scan) scan = scan_new (job, flags, collect, items);
  scan_inspect (scan, job->inspection);
  for (guint i = 0; i < mailboxes->len; i++) {
    if (!check_mailbox (job, scan, g_array_index (mailboxes, uint32_t, i), scanned, error))
      return false;
  }
  return scan_drain (scan, error);
}

bool
check_messages (StoreJob *job, uint32_t owner, const GArray *mailboxes, bool without_rows,
                GError **error)
{
  g_autoptr (GPtrArray) items = g_ptr_array_new_with_free_func ((GDestroyNotify)scan_item_free);
  g_autoptr (GPtrArray) scanned =
      g_ptr_array_new_with_free_func ((GDestroyNotify)scan_mailbox_free);
  if (!scan_owner (job, mailboxes, without_rows ? SCAN_NO_ROWS : 0, items, scanned, error))
    return false;
  g_ptr_array_sort (items, compare_items);
  return items->len + scanned->len == 0 || report_lasting (job, owner, items, scanned, error);
}

static bool
check_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  g_autofree char *path = store_node_path (job->store, owner, error);
  if (path == NULL)
    return false;
  if (mailboxes->len == 0)
    return true;
  bool good = check_index (job, owner, path, whole);
  g_autoptr (GError) failure = NULL;
  if (check_messages (job, owner, mailboxes, false, &failure))
    return true;
  if (error_code (failure) != EUCLEAN) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  /* Once is enough, though the comparison stumbles over it, too. */
  if (good)
    report_database (job, owner, path, false, failure);
  return true;
}

/* ---- the store ----------------------------------------------------------------------------- */

static void
report_list (StoreProblem problem, uint32_t number, const char *path, const char *detail,
             void *data)
{
  job_found (data, problem, false, number, 0, path, "%s", detail);
}

/* The list on disk against the directories. What reading goes by meanwhile was made of those, if
 * the one on disk is not to be used; a new store has none. */
static bool
check_list (StoreJob *job, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) used = cache_list (job->store, error);
  uint32_t highest;
  if (used == NULL)
    return false;
  g_autoptr (List) list = evidence_list (job->store, used->path, &failure);
  if (list != NULL && !list_verify (list, &failure)) {
    g_clear_pointer (&list, list_close);
    Handle *fresh = cache_renew_list (job->store, used, error);
    handle_unref (used);
    used = fresh;
  }
  if (used == NULL || (list == NULL && !list_highest (used->list, &highest, error)))
    return false;
  if (list == NULL && (failure->code != ENOENT || highest > 0))
    report_database (job, STORE_ROOT, LAYOUT_LIST, false, failure);
  g_clear_error (&failure);
  if (job->request->targets->len > 0 ||
      relist (job->store, list != NULL ? list : used->list, true, report_list, job, &failure))
    return true;
  /* A directory that may not be read: the inspection says more of it. */
  if (failure->code != EACCES) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  job_found (job, STORE_PROBLEM_PERMISSION, false, STORE_ROOT, 0, "", "%s", failure->message);
  return true;
}

/* Whoever stumbles over the damage sets the queue aside, and begins a new one; and so does a
 * repair, wherever it is. */
static void
check_queue (StoreJob *job)
{
  g_autoptr (GError) failure = NULL;
  if (!queue_probe (job->store, &failure) && is_index_broken (failure))
    report_database (job, STORE_ROOT, LAYOUT_QUEUE, false, failure);
}

static bool
check_store (StoreJob *job, GError **error)
{
  g_autoptr (Inspection) inspection = inspection_new (job, 0);
  job->inspection = inspection;
  if (job->request->targets->len == 0)
    check_queue (job);
  return check_list (job, error) && inspection_top (inspection, error) &&
         job_each_owner (job, check_owner, error) && inspection_walk (inspection, error);
}

bool
check_on_own (StoreJob *job, bool (*check) (StoreJob *job, GError **error), GError **error)
{
  Store *given = job->store;
  g_autoptr (Store) own =
      store_is_read_only (given) ? NULL : store_open (given->path, STORE_READ_ONLY, error);
  if (own == NULL && !store_is_read_only (given))
    return false;
  job->store = own != NULL ? own : given;
  bool done = check (job, error);
  job->store = given;
  return done;
}

bool
command_check (StoreJob *job, GError **error)
{
  return check_on_own (job, check_store, error);
}
