/* SPDX-License-Identifier: Apache-2.0 */
/* recover: broken databases made again, with what they still tell. Sound ones are left alone. */
#include "store/backup.h"
#include "store/jobs.h"
#include "store/rebuild.h"
#include "store/verbs.h"

/* Whether there is something to do for an owner: its index is missing or broken, or a rebuild that
 * was to use what a broken one tells has never come to its end. */
static bool
needs_recovery (StoreJob *job, uint32_t owner, bool *out_needs, GError **error)
{
  g_autofree char *path = store_node_path (job->store, owner, error);
  if (path == NULL)
    return false;
  g_autofree char *file = layout_index_path (job->store, path);
  g_autofree char *broken = layout_broken_path (file, 0);
  *out_needs = broken != NULL || job_has (job, STORE_WORD_FORCE | STORE_WORD_CATASTROPHIC) ||
               !index_probe (job, owner, true, NULL);
  return true;
}

bool
recover_owner (StoreJob *job, uint32_t owner, GError **error)
{
  bool needs;
  if (!needs_recovery (job, owner, &needs, error))
    return false;
  g_autoptr (GArray) all = job_mailboxes_of (job, owner, error);
  if (all == NULL || needs)
    return all != NULL && rebuild_mailboxes (job, owner, all, true, true, error);
  job_looked_at (job, all->len, 0, 0);
  return true;
}

/* An index is broken or sound as a whole, whichever of its mailboxes was named. */
static bool
recover_whole (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  return recover_owner (job, owner, error);
}

/* The backup that is to be made use of must be there. That none is known shows later. */
static bool
check_backup (StoreJob *job, GError **error)
{
  if (!job_has (job, STORE_WORD_CATASTROPHIC))
    return true;
  g_auto (BackupInfo) info = {0};
  g_autofree char *last = backup_last (job->store);
  const char *directory = job->request->directory != NULL ? job->request->directory : last;
  return directory == NULL || backup_info_read (directory, &info, error);
}

bool
command_recover (StoreJob *job, GError **error)
{
  if (job->request->directory != NULL && !job_has (job, STORE_WORD_CATASTROPHIC))
    return fail (error, EINVAL, "a backup is used only with -c");
  if (store_is_read_only (job->store) && !job_has (job, STORE_WORD_DRY_RUN))
    return fail (error, EROFS, "the store %s is open read only", job->store->path);
  if (!check_backup (job, error))
    return false;
  g_autoptr (Handle) list = cache_list (job->store, error);
  if (list == NULL || ((is_index_broken (list->failure) || !list_verify (list->list, NULL)) &&
                       !rebuild_list (job, error)))
    return false;
  return job_each_owner (job, recover_whole, error);
}
