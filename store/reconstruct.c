/* SPDX-License-Identifier: Apache-2.0 */
/* reconstruct: indexes, and with -m the mailbox list, from what lies in mail/. */
#include "store/check.h"
#include "store/jobs.h"
#include "store/missing.h"
#include "store/rebuild.h"
#include "store/scan.h"
#include "store/verbs.h"

#include <string.h>
#include <unistd.h>

/* How often a rebuild begins again when its index goes away under it. */
#define ATTEMPTS_MAX 5

typedef struct {
  StoreJob *job;
  Rebuild *rebuild; /* NULL in a dry run */
  bool reported;    /* an earlier pass has told already */
} Target;

/* A file's date is the internal date of its message. Where somebody touched the file, the row knows
 * better; where it is to be mended, the file is given its date back. */
static void
mend_date (StoreJob *job, ScanItem *item)
{
  struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = item->row.internal_s}};
  if (item->verdict != SCAN_CHANGED || item->row.internal_s == item->st.st_mtim.tv_sec ||
      scan_takes_date (item))
    return;
  char path[32];
  scan_item_path (item, path);
  auto_fd fd = layout_open_message (item->mailbox->fd, path);
  if (fd >= 0 && futimens (fd, times) == 0 && fstat (fd, &item->st) == 0)
    job_found (job, STORE_PROBLEM_CHANGED, true, item->mailbox->number, item->uid,
               item->mailbox->path, "the file's date was not the internal date");
}

/* Whether a message that was read although it looked unchanged has a row that says the same. */
static bool
is_right (const ScanItem *item)
{
  return !item->recalled && scan_item_is_clean (item) && item->row.damage == item->damage &&
         item->row.changed_ns == stat_ctime_ns (&item->st);
}

static bool
take (ScanItem *item, void *data, GError **error)
{
  Target *target = data;
  bool dry_run = job_has (target->job, STORE_WORD_DRY_RUN);
  if (job_repairs (target->job))
    mend_date (target->job, item);
  if (job_has (target->job, STORE_WORD_FULL) && is_right (item)) {
    scan_item_free (item);
    return true;
  }
  if (!target->reported)
    scan_report (item, target->job, !dry_run);
  if (!dry_run)
    return rebuild_item (item, target->rebuild, error);
  scan_item_free (item);
  return true;
}

bool
index_probe (StoreJob *job, uint32_t owner, bool thoroughly, GError **error)
{
  g_autoptr (Handle) handle = cache_index (job->store, owner, false, error);
  if (handle != NULL && index_is_salvaged (handle->index))
    return fail (error, EUCLEAN, "%s: it is damaged, and rows of it are salvaged", handle->path);
  return handle != NULL && (thoroughly ? index_verify (handle->index, error)
                                       : index_count_all (handle->index, error));
}

/* Something else in its place counts as well, and so does a disk that does not give it back. */
bool
is_index_broken (const GError *failure)
{
  int code = error_code (failure);
  return failure != NULL && (code == EUCLEAN || code == EISDIR || code == ELOOP || code == EIO);
}

/* Takes a broken index out of the way; from then on it counts as missing. */
static bool
set_aside (StoreJob *job, uint32_t owner, const char *path, GError **error)
{
  auto_fd lock = lock_user (job->store, owner, error);
  if (lock < 0)
    return false;
  cache_drop_index (job->store, owner);
  g_autofree char *file = layout_index_path (job->store, path);
  return layout_set_aside (file, error);
}

/* Tells what is wrong with the index as a whole, and clears the way. */
static bool
prepare_owner (StoreJob *job, uint32_t owner, const GError *failure, GError **error)
{
  bool dry_run = job_has (job, STORE_WORD_DRY_RUN);
  bool broken = is_index_broken (failure);
  int code = error_code (failure);
  if (!broken && code != ENOENT && code != EROFS) {
    g_propagate_error (error, g_error_copy (failure));
    return false;
  }
  g_autofree char *path = store_node_path (job->store, owner, error);
  if (path == NULL)
    return false;
  g_autofree char *file = layout_index_path (job->store, path);
  g_autoptr (GError) told = g_error_copy (failure);
  IndexSalvage counts = {0};
  if (broken && index_salvage (NULL, file, &counts, NULL)) {
    g_clear_error (&told);
    fail (&told, EUCLEAN, "%s; %" G_GUINT64_FORMAT " of its rows can still be read",
          failure->message, counts.rows);
  }
  report_database (job, owner, path, !dry_run, told);
  return !broken || dry_run || set_aside (job, owner, path, error);
}

/* Keeps what the rows of a mailbox say whose directory is gone, with all files in it. */
static bool
note_missing (Index *index, uint32_t number, MissingLines *lines, GError **error)
{
  IndexMessage page[256];
  size_t count = 1;
  bool good = true;
  for (uint32_t after = 0; good && count > 0;) {
    if (!index_message_page (index, number, after, INDEX_LIVE, page, G_N_ELEMENTS (page), &count,
                             error))
      return false;
    for (size_t i = 0; i < count && good; i++) {
      g_auto (IndexSummary) summary = {0};
      bool found = false;
      after = page[i].uid;
      if (!index_summary_get (index, number, after, &summary, &found, NULL))
        found = false;
      good = missing_lines_add (lines, number, &page[i], found ? &summary : NULL, error);
    }
    index_messages_clear (page, count);
  }
  return good;
}

/* Rows of mailboxes that are no more. */
static bool
remove_unknown (StoreJob *job, uint32_t owner, const GArray *mailboxes, GError **error)
{
  g_autoptr (Handle) handle = cache_index (job->store, owner, false, NULL);
  g_autoptr (GArray) known = handle != NULL ? index_mailbox_numbers (handle->index, error) : NULL;
  g_autoptr (GArray) unknown = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; known != NULL && i < known->len; i++) {
    uint32_t number = g_array_index (known, uint32_t, i);
    bool listed = false;
    for (guint k = 0; k < mailboxes->len && !listed; k++)
      listed = g_array_index (mailboxes, uint32_t, k) == number;
    if (!listed)
      g_array_append_val (unknown, number);
  }
  if (unknown->len == 0)
    return handle == NULL || known != NULL;
  auto_fd lock = lock_user (job->store, owner, error);
  g_autoptr (IndexWrite) write = lock >= 0 ? index_write_begin (handle->index, error) : NULL;
  g_auto (MissingLines) lines = {.store = job->store};
  for (guint i = 0; write != NULL && i < unknown->len; i++) {
    uint32_t number = g_array_index (unknown, uint32_t, i);
    g_auto (StoreNode) node = {0};
    g_autoptr (GError) failure = NULL;
    /* It may have been made while the others were rebuilt. */
    if (!store_node_get (job->store, number, &node, &failure) && failure->code == ENOENT &&
        (!note_missing (handle->index, number, &lines, error) ||
         !index_write_remove_mailbox (write, number, error)))
      return false;
  }
  return write != NULL && missing_lines_end (&lines, error) && index_write_commit (write, error);
}

static bool
scan_all (StoreJob *job, Scan *scan, const GArray *mailboxes, GPtrArray *scanned, bool report,
          GError **error)
{
  for (guint i = 0; i < mailboxes->len; i++) {
    uint32_t number = g_array_index (mailboxes, uint32_t, i);
    g_autoptr (GError) failure = NULL;
    g_autoptr (StoreMailbox) mailbox = store_mailbox_open (job->store, number, &failure);
    if (mailbox == NULL && failure->code == ESTALE) {
      g_autofree char *path = store_node_path (job->store, number, error);
      job_found (job, STORE_PROBLEM_NO_DIRECTORY, false, number, 0, path ? path : "",
                 "the directory is gone; reconstruct -m takes it off the list");
      continue;
    }
    if (mailbox == NULL) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
    ScanMailbox *in = scan_mailbox (scan, mailbox, error);
    if (in == NULL)
      return false;
    g_ptr_array_add (scanned, in);
    if (report)
      scan_report_mailbox (in, job, !job_has (job, STORE_WORD_DRY_RUN));
  }
  return scan_drain (scan, error);
}

static bool
rebuild_pass (StoreJob *job, uint32_t owner, const GArray *mailboxes, Index *salvaged, bool second,
              bool *out_deferred, GError **error)
{
  bool dry_run = job_has (job, STORE_WORD_DRY_RUN);
  g_autoptr (Rebuild) rebuild = dry_run ? NULL : rebuild_new (job, owner, !second, error);
  *out_deferred = false;
  if (rebuild == NULL && !dry_run)
    return false;
  Target target = {job, rebuild, second};
  ScanFlags flags =
      job_has (job, STORE_WORD_FORCE | STORE_WORD_FULL) && !second ? SCAN_READ_ALL : 0;
  g_autoptr (GPtrArray) scanned =
      g_ptr_array_new_with_free_func ((GDestroyNotify)scan_mailbox_free);
  g_autoptr (Scan) scan = scan_new (job, flags, take, &target);
  scan_recall (scan, salvaged);
  if (!dry_run)
    rebuild_recall (rebuild, salvaged);
  return scan_all (job, scan, mailboxes, scanned, !second, error) &&
         (dry_run || rebuild_finish (rebuild, scanned, out_deferred, error));
}

/* One rebuild with what broken indexes still tell. When all mailboxes have been rebuilt with that,
 * it has been told. */
static bool
rebuild_owner (StoreJob *job, uint32_t owner, const GArray *mailboxes, bool whole, GError **error)
{
  g_autoptr (Salvaged) salvaged = salvaged_new (job, owner, error);
  bool deferred;
  if (salvaged == NULL ||
      !rebuild_pass (job, owner, mailboxes, salvaged->index, false, &deferred, error))
    return false;
  bool counted = job->counted;
  job->counted |= deferred;
  bool done =
      !deferred || rebuild_pass (job, owner, mailboxes, salvaged->index, true, &deferred, error);
  job->counted = counted;
  bool told = whole && salvaged->index != NULL && !job_has (job, STORE_WORD_DRY_RUN);
  return done && (!told || layout_keep_broken (salvaged->index_path, error));
}

/* Whether a failure was the index's own. */
static bool
is_index_damaged (StoreJob *job, uint32_t owner)
{
  g_autoptr (GError) failure = NULL;
  return !index_probe (job, owner, true, &failure) && is_index_broken (failure);
}

/* Rebuilds until the index is whole: damage may show only when the rows are read, and somebody may
 * delete the index meanwhile. With a broken index every mailbox in it is lost, whichever was named:
 * so `broken` makes it all of the owner's. */
static bool
rebuild_until_whole (StoreJob *job, uint32_t owner, const GArray *mailboxes, bool whole,
                     bool broken, GError **error)
{
  bool dry_run = job_has (job, STORE_WORD_DRY_RUN);
  g_autoptr (GArray) all = NULL;
  for (int attempt = 1;; attempt++) {
    g_autoptr (GError) failure = NULL;
    if (broken && !whole) {
      mailboxes = all = job_mailboxes_of (job, owner, error);
      whole = true;
      if (all == NULL)
        return false;
    }
    if (rebuild_owner (job, owner, mailboxes, whole, &failure))
      return !whole || dry_run || remove_unknown (job, owner, mailboxes, error);
    bool damaged = is_index_broken (failure) && is_index_damaged (job, owner);
    /* Only without it there were more to tell, and a dry run leaves it where it is. */
    if (damaged && dry_run)
      return broken || prepare_owner (job, owner, failure, error);
    bool again = attempt < ATTEMPTS_MAX && !dry_run && (failure->code == ESTALE || damaged);
    if (!again) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
    if (damaged && !prepare_owner (job, owner, failure, error))
      return false;
    broken = broken || damaged;
  }
}

bool
rebuild_mailboxes (StoreJob *job, uint32_t owner, const GArray *mailboxes, bool whole,
                   bool thoroughly, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (mailboxes->len == 0 || !node_has_index (job->store, owner))
    return true;
  /* Nobody purges meanwhile. */
  auto_fd task = -1;
  if (!store_is_read_only (job->store) &&
      (task = lock_task (job->store, owner, LOCK_REBUILD, error)) < 0)
    return false;
  if (!index_probe (job, owner, thoroughly, &failure) &&
      !prepare_owner (job, owner, failure, error))
    return false;
  return rebuild_until_whole (job, owner, mailboxes, whole, is_index_broken (failure), error);
}

static bool
reconstruct_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  return rebuild_mailboxes (job, owner, mailboxes, whole, job_has (job, STORE_WORD_FORCE), error);
}

/* ---- the mailbox list ---------------------------------------------------------------------- */

static void
report_list (StoreProblem problem, uint32_t number, const char *path, const char *detail,
             void *data)
{
  StoreJob *job = data;
  bool fixed = !job_has (job, STORE_WORD_DRY_RUN) && problem != STORE_PROBLEM_STRAY;
  job_found (job, problem, fixed, number, 0, path, "%s", detail);
}

bool
rebuild_list (StoreJob *job, GError **error)
{
  Store *store = job->store;
  bool dry_run = job_has (job, STORE_WORD_DRY_RUN);
  g_autoptr (Handle) list = cache_list (store, error);
  if (list == NULL)
    return false;
  g_autoptr (GError) failure = NULL;
  /* Who may not mend it has one in memory instead. */
  if (is_index_broken (list->failure) || !list_verify (list->list, &failure)) {
    job_found (job, STORE_PROBLEM_BAD_INDEX, !dry_run, 0, 0, LAYOUT_LIST, "%s",
               failure != NULL ? failure->message : list->failure->message);
    if (dry_run)
      return true;
    /* With the lock held it looks again, and sets the damaged one aside. */
    g_autoptr (List) fresh = relist_replace (store, list->path, report_list, job, error);
    cache_drop_list (store);
    return fresh != NULL;
  }
  if (dry_run)
    return relist (store, list->list, true, report_list, job, error);
  g_autoptr (Handle) locked = NULL;
  auto_fd lock = lock_list (store, &locked, error);
  return lock >= 0 && relist (store, locked->list, false, report_list, job, error);
}

bool
command_reconstruct (StoreJob *job, GError **error)
{
  if (store_is_read_only (job->store) && !job_has (job, STORE_WORD_DRY_RUN))
    return fail (error, EROFS, "the store %s is open read only", job->store->path);
  if (job_has (job, STORE_WORD_LIST)) {
    if (!rebuild_list (job, error))
      return false;
    /* -m alone is about the list alone. */
    if (job->request->targets->len == 0 && !job_has (job, STORE_WORD_RECURSIVE))
      return true;
  }
  return job_each_owner (job, reconstruct_owner, error);
}

/* ---- reset --------------------------------------------------------------------------------- */

static bool
reset_mailboxes (StoreJob *job, uint32_t owner, const GArray *mailboxes, GError **error)
{
  g_autoptr (Handle) handle = cache_index (job->store, owner, false, error);
  g_autoptr (IndexWrite) write = handle != NULL ? index_write_begin (handle->index, error) : NULL;
  for (guint i = 0; write != NULL && i < mailboxes->len; i++) {
    if (!index_write_remove_mailbox (write, g_array_index (mailboxes, uint32_t, i), error))
      return false;
  }
  return write != NULL && index_write_commit (write, error);
}

static bool
reset_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  job_looked_at (job, mailboxes->len, 0, 0);
  if (job_has (job, STORE_WORD_DRY_RUN) || !node_has_index (job->store, owner))
    return true;
  auto_fd task = lock_task (job->store, owner, LOCK_REBUILD, error);
  auto_fd lock = task >= 0 ? lock_user (job->store, owner, error) : -1;
  g_autofree char *path = lock >= 0 ? store_node_path (job->store, owner, error) : NULL;
  if (path == NULL)
    return false;
  if (whole) {
    g_autofree char *file = layout_index_path (job->store, path);
    cache_drop_index (job->store, owner);
    g_autoptr (Handle) fresh = NULL;
    if (!layout_remove_database (file, error) ||
        (fresh = cache_index (job->store, owner, true, error)) == NULL)
      return false;
  } else if (!reset_mailboxes (job, owner, mailboxes, error)) {
    return false;
  }
  for (guint i = 0; i < mailboxes->len; i++)
    change_note (job->store, g_array_index (mailboxes, uint32_t, i), 0);
  return true;
}

bool
command_reset (StoreJob *job, GError **error)
{
  if (store_is_read_only (job->store) && !job_has (job, STORE_WORD_DRY_RUN))
    return fail (error, EROFS, "the store %s is open read only", job->store->path);
  return job_each_owner (job, reset_owner, error);
}
