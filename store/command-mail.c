/* SPDX-License-Identifier: Apache-2.0 */
/* flag, copy and move: what is done at once with messages. */
#include "store/jobs.h"
#include "store/verbs.h"

/* Messages in one commit. */
#define BATCH 1000u

typedef bool (*CopyFunc) (StoreMailbox *self, const uint32_t *uids, size_t count,
                          StoreMailbox *target, uint32_t *out_uids, GError **error);

static StoreMailbox *
open_named (StoreJob *job, const char *spelling, GError **error)
{
  StoreTree tree = store_tree (job->store);
  g_auto (StoreNode) node = {0};
  return store_tree_resolve_mailbox (&tree, spelling, &node, error)
             ? store_mailbox_open (job->store, node.number, error)
             : NULL;
}

/* The mailbox that the request is for, and which of its messages (uint32_t). */
static StoreMailbox *
open_target (StoreJob *job, GArray **out_uids, GError **error)
{
  const StoreRequest *request = job->request;
  g_autofree char *path =
      store_node_path (job->store, g_array_index (request->targets, uint32_t, 0), error);
  if (path == NULL)
    return NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (job, path, error);
  *out_uids = mailbox != NULL ? store_mailbox_uids (mailbox, request->uids, error) : NULL;
  if (*out_uids == NULL)
    return NULL;
  job_looked_at (job, 1, (*out_uids)->len, 0);
  job_step (job, 0, (*out_uids)->len);
  return g_steal_pointer (&mailbox);
}

static const uint32_t *
uid_data (const GArray *uids)
{
  return (const uint32_t *)(const void *)uids->data;
}

/* "4:7,9": `count` ascending UIDs. */
static char *
spell_uids (const uint32_t *uids, size_t count)
{
  GString *text = g_string_new (NULL);
  for (size_t i = 0, end; i < count; i = end) {
    for (end = i + 1; end < count && uids[end] == uids[end - 1] + 1; end++)
      ;
    g_string_append_printf (text, "%s%u", i > 0 ? "," : "", uids[i]);
    if (end > i + 1)
      g_string_append_printf (text, ":%u", uids[end - 1]);
  }
  return g_string_free (text, FALSE);
}

bool
command_flag (StoreJob *job, GError **error)
{
  static const struct {
    StoreWords word;
    StoreFlagsChange change;
  } order[] = {{STORE_WORD_SET, STORE_FLAGS_SET},
               {STORE_WORD_ADD, STORE_FLAGS_ADD},
               {STORE_WORD_REMOVE, STORE_FLAGS_REMOVE}};
  g_autoptr (GArray) uids = NULL;
  g_autoptr (StoreMailbox) mailbox = open_target (job, &uids, error);
  if (mailbox == NULL)
    return false;
  for (size_t i = 0; i < G_N_ELEMENTS (order); i++) {
    const StoreFlagSet *set = &job->request->flags[order[i].change];
    if (job_has (job, order[i].word) &&
        !store_message_flag (mailbox, uid_data (uids), uids->len, order[i].change, set->flags,
                             set->keywords, error))
      return false;
  }
  g_autofree char *spelled = spell_uids (uid_data (uids), uids->len);
  job_noted (job, STORE_PROBLEM_FLAGGED, mailbox->number, 0, mailbox->path, "%s", spelled);
  job_step (job, uids->len, 0);
  return true;
}

static bool
copy_batch (StoreJob *job, StoreMailbox *source, const uint32_t *from, size_t count,
            StoreMailbox *target, CopyFunc copy, GError **error)
{
  uint32_t to[BATCH];
  if (!job_go_on (job, error) || !copy (source, from, count, target, to, error))
    return false;
  g_autofree char *old = spell_uids (from, count), *new = spell_uids (to, count);
  job_noted (job, STORE_PROBLEM_COPIED, target->number, 0, target->path, "%s -> %s", old, new);
  job_step (job, count, 0);
  return true;
}

static bool
copy_messages (StoreJob *job, CopyFunc copy, GError **error)
{
  g_autoptr (GArray) uids = NULL;
  g_autoptr (StoreMailbox) source = open_target (job, &uids, error);
  g_autoptr (StoreMailbox) target =
      source != NULL ? open_named (job, job->request->to, error) : NULL;
  if (target == NULL)
    return false;
  for (guint done = 0; done < uids->len; done += BATCH) {
    if (!copy_batch (job, source, uid_data (uids) + done, MIN (uids->len - done, BATCH), target,
                     copy, error))
      return false;
  }
  return true;
}

bool
command_copy (StoreJob *job, GError **error)
{
  return copy_messages (job, store_mailbox_copy, error);
}

bool
command_move (StoreJob *job, GError **error)
{
  return copy_messages (job, store_mailbox_move, error);
}
