/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message and an expunged one with the same UID: an old file came back, or was copied. The modseq
 * tells which of the two is older, and that one goes to quarantine; of two that are equally old,
 * the one in the mailbox, because an expunged message does not come back by itself. A file without
 * a state is a copy that somebody put there, and the newer one.
 */
#include "store/jobs.h"
#include "store/rebuild.h"
#include "store/snapshot.h"

#include <unistd.h>

/* The modseq of the file; 0 when it has a state that makes no sense. */
static bool
read_modseq (const StoreMailbox *mailbox, uint32_t uid, bool expunged, uint64_t *out,
             GError **error)
{
  char path[32];
  layout_message_path (uid, expunged, path);
  auto_fd fd = layout_open_message (mailbox->fd, path);
  g_auto (MessageState) state = {0};
  bool found = false;
  g_autoptr (GError) failure = NULL;
  if (fd < 0)
    return fail_errno (error, "open '%s/%s'", mailbox->path, path);
  if (!message_state_read (mailbox->fd, fd, uid, &state, &found, &failure) &&
      failure->code != EBADMSG) {
    g_propagate_prefixed_error (error, g_steal_pointer (&failure), "'%s/%s': ", mailbox->path,
                                path);
    return false;
  }
  bool copied = failure == NULL && !expunged && (!found || state.copied);
  *out = copied ? UINT64_MAX : found ? state.modseq : 0;
  return true;
}

static bool
settle (StoreJob *job, const StoreMailbox *mailbox, uint32_t uid, const char *stamp, GError **error)
{
  uint64_t live, expunged;
  if (!read_modseq (mailbox, uid, false, &live, error) ||
      !read_modseq (mailbox, uid, true, &expunged, error))
    return false;
  char older[32];
  layout_message_path (uid, live > expunged, older);
  g_autofree char *path = g_build_filename (mailbox->path, older, NULL);
  if (!quarantine_take (job->store, stamp, path, error))
    return false;
  job_found (job, STORE_PROBLEM_DUPLICATE, true, mailbox->number, uid, mailbox->path,
             "the older one, '%s', is in quarantine", older);
  change_note (job->store, mailbox->number, uid);
  return true;
}

/* With the user lock held. */
static bool
settle_mailbox (StoreJob *job, StoreMailbox *mailbox, const char *stamp, GError **error)
{
  g_auto (Epoch) epoch = EPOCH_NONE;
  g_autoptr (GArray) gone = expunge_uids (mailbox, error);
  g_autoptr (GArray) live =
      gone != NULL && gone->len > 0 ? layout_uids (mailbox->fd, "", NULL, error) : NULL;
  if (gone == NULL || (gone->len > 0 && live == NULL))
    return false;
  for (guint i = 0; i < gone->len; i++) {
    uint32_t uid = g_array_index (gone, uint32_t, i);
    if (!g_array_binary_search (live, &uid, layout_compare_uids, NULL))
      continue;
    if (epoch.snapshots == NULL &&
        (!epoch_enter (job->store, &epoch, error) || !keep_directory (&epoch, mailbox, error)))
      return false;
    if (!settle (job, mailbox, uid, stamp, error))
      return false;
  }
  return true;
}

bool
duplicate_settle (StoreJob *job, uint32_t owner, const GArray *mailboxes, GError **error)
{
  g_autofree char *stamp = quarantine_stamp ();
  for (guint i = 0; i < mailboxes->len; i++) {
    g_autoptr (GError) failure = NULL;
    auto_fd lock = lock_user (job->store, owner, error);
    g_autoptr (StoreMailbox) mailbox = NULL;
    if (lock < 0 || !job_go_on (job, error))
      return false;
    mailbox = store_mailbox_open (job->store, g_array_index (mailboxes, uint32_t, i), &failure);
    /* One whose directory is gone is told of by who rebuilds. */
    if (mailbox == NULL && failure->code == ESTALE)
      continue;
    if (mailbox == NULL || !settle_mailbox (job, mailbox, stamp, &failure)) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
  }
  return true;
}
