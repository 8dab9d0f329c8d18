/* SPDX-License-Identifier: Apache-2.0 */
/* search: a finding for each message that matches. */
#include "store/jobs.h"
#include "store/search.h"
#include "store/verbs.h"

static bool
tell_found (StoreMailbox *mailbox, const StoreMessage *message, void *job, GError **error)
{
  g_autofree char *flags = store_flags_to_string (message->flags, message->keywords);
  job_noted (job, STORE_PROBLEM_MATCH, mailbox->number, message->uid, mailbox->path, "%s", flags);
  return true;
}

static bool
count_messages (uint64_t messages, void *job, GError **error)
{
  job_looked_at (job, 0, messages, 0);
  job_step (job, messages, 0);
  return job_go_on (job, error);
}

static void
tell_missed (uint32_t number, uint32_t uid, const GError *failure, void *user_data)
{
  StoreJob *job = user_data;
  g_autofree char *path = store_node_path (job->store, number, NULL);
  job_found (job, STORE_PROBLEM_UNREADABLE, false, number, uid, path != NULL ? path : "", "%s",
             failure->message);
}

static bool
search_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  for (guint i = 0; i < mailboxes->len; i++) {
    if (!job_go_on (job, error) ||
        !search_mailbox (job->data, g_array_index (mailboxes, uint32_t, i), error))
      return false;
    job_looked_at (job, 1, 0, 0);
  }
  return true;
}

bool
command_search (StoreJob *job, GError **error)
{
  StoreSearch calls = {
      .found = tell_found, .go_on = count_messages, .missed = tell_missed, .user_data = job};
  g_auto (Search) search = search_begin (job->store, job->request->query, &calls);
  job->data = &search;
  bool done = job_each_owner (job, search_owner, error) && search_end (&search, error);
  job->data = NULL;
  return done;
}
