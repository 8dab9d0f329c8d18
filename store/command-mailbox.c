/* SPDX-License-Identifier: Apache-2.0 */
/* What is done at once with mailboxes, and with what is in quarantine. */
#include "store/jobs.h"
#include "store/verbs.h"

/* Calls `each` for what the request is for: its nodes, or its names. */
typedef bool (*TargetFunc) (StoreJob *job, uint32_t number, GError **error);
typedef bool (*NameFunc) (StoreJob *job, const char *name, GError **error);

static bool
each_target (StoreJob *job, TargetFunc each, GError **error)
{
  const GArray *targets = job->request->targets;
  for (guint i = 0; i < targets->len; i++) {
    if (!job_go_on (job, error) || !each (job, g_array_index (targets, uint32_t, i), error))
      return false;
  }
  return true;
}

static bool
each_name (StoreJob *job, NameFunc each, GError **error)
{
  const GPtrArray *names = job->request->names;
  for (guint i = 0; i < names->len; i++) {
    if (!job_go_on (job, error) || !each (job, names->pdata[i], error))
      return false;
  }
  return true;
}

/* ---- mailboxes ----------------------------------------------------------------------------- */

static bool
set_use (StoreJob *job, uint32_t number, GError **error)
{
  return !job_has (job, STORE_WORD_USE) ||
         store_mailbox_set_special_use (job->store, number, job->request->special_use, error);
}

static bool
create_mailbox (StoreJob *job, const char *name, GError **error)
{
  g_auto (StoreNode) node = {0};
  if (*name == '\0')
    return fail (error, EINVAL, "a mailbox's name is empty");
  if (store_node_resolve (job->store, name, &node, NULL))
    return fail (error, EEXIST, "there is '%s' already", name);
  if (!store_mailbox_create (job->store, name, &node, error) || !set_use (job, node.number, error))
    return false;
  g_autofree char *path = store_node_path (job->store, node.number, error);
  if (path == NULL)
    return false;
  job_noted (job, STORE_PROBLEM_CREATED, node.number, 0, path, "made");
  return true;
}

bool
command_mailbox_create (StoreJob *job, GError **error)
{
  return each_name (job, create_mailbox, error);
}

static bool
rename_mailbox (StoreJob *job, uint32_t number, GError **error)
{
  return store_mailbox_rename (job->store, number, job->request->to, error);
}

bool
command_mailbox_rename (StoreJob *job, GError **error)
{
  return each_target (job, rename_mailbox, error);
}

static bool
remove_mailbox (StoreJob *job, uint32_t number, GError **error)
{
  g_autofree char *path = store_node_path (job->store, number, error), *place = NULL;
  bool recursive = job_has (job, STORE_WORD_RECURSIVE);
  if (path == NULL || !store_mailbox_remove (job->store, number, recursive, &place, error))
    return false;
  job_took (job, STORE_PROBLEM_QUARANTINED, number, 0, 0, path, "%s", place);
  return true;
}

bool
command_mailbox_remove (StoreJob *job, GError **error)
{
  return each_target (job, remove_mailbox, error);
}

static bool
subscribe_mailbox (StoreJob *job, uint32_t number, GError **error)
{
  return store_mailbox_subscribe (job->store, number, true, error);
}

bool
command_mailbox_subscribe (StoreJob *job, GError **error)
{
  return each_target (job, subscribe_mailbox, error);
}

static bool
unsubscribe_mailbox (StoreJob *job, uint32_t number, GError **error)
{
  return store_mailbox_subscribe (job->store, number, false, error);
}

bool
command_mailbox_unsubscribe (StoreJob *job, GError **error)
{
  return each_target (job, unsubscribe_mailbox, error);
}

static bool
set_mailbox (StoreJob *job, uint32_t number, GError **error)
{
  return set_use (job, number, error) &&
         (!job_has (job, STORE_WORD_INDEX) ||
          store_user_set_index (job->store, number, job->request->index, error));
}

bool
command_mailbox_set (StoreJob *job, GError **error)
{
  return each_target (job, set_mailbox, error);
}

/* ---- quarantine ---------------------------------------------------------------------------- */

static bool
restore_object (StoreJob *job, const char *name, GError **error)
{
  return store_quarantine_restore (job->store, name, error);
}

bool
command_quarantine_restore (StoreJob *job, GError **error)
{
  return each_name (job, restore_object, error);
}

static bool
remove_object (StoreJob *job, const char *name, GError **error)
{
  return store_quarantine_remove (job->store, name, error);
}

bool
command_quarantine_remove (StoreJob *job, GError **error)
{
  return each_name (job, remove_object, error);
}
