/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair: what check finds, put right as far as that is safe without asking. It is made of the
 * rebuilds of reconstruct, and so it never touches a message's bytes: a message that is damaged
 * stays, and stays visible.
 *
 * What is left is what check would find afterwards, each with what helps.
 */
#include "store/check.h"
#include "store/jobs.h"
#include "store/rebuild.h"
#include "store/verbs.h"

#include <unistd.h>

/* A list that was not to be used has been made again as soon as it was needed; that is told once.
 */
static void
report_remade (StoreJob *job, Handle *list)
{
  Store *store = job->store;
  uint32_t highest = 0;
  g_mutex_lock (&store->mutex);
  g_autoptr (GError) remade = g_steal_pointer (&list->remade);
  g_mutex_unlock (&store->mutex);
  if (remade != NULL && list_highest (list->list, &highest, NULL) && highest > 0)
    report_database (job, STORE_ROOT, LAYOUT_LIST, true, remade);
}

static bool
repair_list (StoreJob *job, GError **error)
{
  if (job->request->targets->len > 0)
    return true;
  g_autoptr (Handle) list = cache_list (job->store, error);
  if (list == NULL)
    return false;
  report_remade (job, list);
  return rebuild_list (job, error);
}

/* The damage may lie where this job, which is in the queue itself, has not come to. */
static bool
repair_queue (StoreJob *job, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (job->request->targets->len > 0 || queue_probe (job->store, &failure) ||
      !is_index_broken (failure))
    return true;
  if (!queue_set_aside (job->store, error))
    return false;
  report_database (job, STORE_ROOT, LAYOUT_QUEUE, true, failure);
  return true;
}

/* Opening an index for writing takes an interrupted write back; who only reads sees that there is
 * one. */
static void
undo_write (StoreJob *job, uint32_t owner, const char *path)
{
  g_autofree char *file = layout_index_path (job->store, path);
  g_autoptr (GError) failure = NULL;
  g_autoptr (Index) look G_GNUC_UNUSED = index_open (file, INDEX_READ_ONLY, &failure);
  if (error_code (failure) != EROFS)
    return;
  cache_drop_index (job->store, owner);
  g_autoptr (GError) cause = NULL;
  g_autoptr (Handle) handle = cache_index (job->store, owner, false, &cause);
  /* One that cannot be taken back goes with the index, which is set aside next. */
  report_database (job, owner, path, handle != NULL || is_index_broken (cause), failure);
}

static bool
repair_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  g_autofree char *path = store_node_path (job->store, owner, error);
  if (path == NULL)
    return false;
  undo_write (job, owner, path);
  g_autoptr (GError) failure = NULL;
  if (duplicate_settle (job, owner, mailboxes, &failure) &&
      rebuild_mailboxes (job, owner, mailboxes, whole, job_probes_all (job, whole), &failure))
    return true;
  if (error_code (failure) != EACCES && error_code (failure) != EPERM) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  job_found (job, STORE_PROBLEM_PERMISSION, false, owner, 0, path, "%s", failure->message);
  return true;
}

bool
job_repairs (const StoreJob *self)
{
  return self->request->command->run == command_repair;
}

bool
job_probes_all (const StoreJob *self, bool whole)
{
  return job_has (self, STORE_WORD_FULL) ||
         (whole && job_repairs (self) && self->request->targets->len > 0);
}

bool
command_repair (StoreJob *job, GError **error)
{
  /* What it would do is what check says of each finding. */
  if (job_has (job, STORE_WORD_DRY_RUN))
    return command_check (job, error);
  if (store_is_read_only (job->store))
    return fail (error, EROFS, "the store %s is open read only", job->store->path);
  uint32_t flags = INSPECT_SWEEP | (job_has (job, STORE_WORD_MODES) ? INSPECT_MEND : 0);
  g_autoptr (Inspection) inspection = inspection_new (job, flags);
  return inspection_top (inspection, error) && inspection_walk (inspection, error) &&
         repair_queue (job, error) && repair_list (job, error) &&
         job_each_owner (job, repair_owner, error);
}
