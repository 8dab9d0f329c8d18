/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of messages: expunge, undelete. */
#include "store/internal.h"

/* A command on one mailbox. */
typedef bool (*MailboxFunc) (StoreJob *job, StoreMailbox *mailbox, GError **error);

/* Calls `each` for the mailboxes, the user lock held where anything may be changed. What a look
 * tells must be true of one moment, too; so it takes the lock where it can. */
static bool
each_mailbox (StoreJob *job, uint32_t owner, const GArray *mailboxes, MailboxFunc each,
              GError **error)
{
  for (guint i = 0; i < mailboxes->len; i++) {
    auto_fd lock = -1;
    g_autoptr (StoreMailbox) mailbox = NULL;
    bool locked =
        store_is_read_only (job->store) || (lock = lock_user (job->store, owner, error)) >= 0;
    if (!locked || !job_go_on (job, error) ||
        (mailbox = store_mailbox_open (job->store, g_array_index (mailboxes, uint32_t, i),
                                       error)) == NULL ||
        !each (job, mailbox, error))
      return false;
  }
  return true;
}

static bool
require_writable (const StoreJob *job, GError **error)
{
  return !store_is_read_only (job->store) || job_has (job, STORE_WORD_DRY_RUN) ||
         fail (error, EROFS, "the store %s is open read only", job->store->path);
}

/* ---- expunge and undelete ------------------------------------------------------------------ */

/* Tells what became of each message, or what would. */
static void
report_moves (StoreJob *job, const StoreMailbox *mailbox, ExpungeWay way, const GArray *moves)
{
  bool out = way == EXPUNGE_OUT;
  StoreProblem kind = out ? STORE_PROBLEM_DELETED : STORE_PROBLEM_EXPUNGED;
  uint64_t bytes = 0;
  for (guint i = 0; i < moves->len; i++) {
    const ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    bytes += move->size;
    if (move->moved)
      job_took (job, kind, mailbox->number, move->uid, move->size, mailbox->path, "%s",
                out ? "leaves the mailbox" : "comes back");
    else if (move->failure != NULL)
      job_found (job, move->failure->code == EEXIST ? STORE_PROBLEM_DUPLICATE : kind, false,
                 mailbox->number, move->uid, mailbox->path, "%s", move->failure->message);
  }
  job_looked_at (job, 1, moves->len, bytes);
  job_step (job, moves->len, 0);
}

static bool
move_messages (StoreJob *job, StoreMailbox *mailbox, ExpungeWay way, GError **error)
{
  g_autoptr (GArray) moves = expunge_select (mailbox, way, job->request->uids, error);
  if (moves == NULL)
    return false;
  job_step (job, 0, moves->len);
  bool done = true;
  if (job_has (job, STORE_WORD_DRY_RUN))
    expunge_foresee (mailbox, way, moves);
  else
    done = expunge_move (mailbox, way, moves, error);
  report_moves (job, mailbox, way, moves);
  return done;
}

static bool
expunge_mailbox (StoreJob *job, StoreMailbox *mailbox, GError **error)
{
  return move_messages (job, mailbox, EXPUNGE_OUT, error);
}

static bool
undelete_mailbox (StoreJob *job, StoreMailbox *mailbox, GError **error)
{
  return move_messages (job, mailbox, EXPUNGE_BACK, error);
}

static bool
expunge_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  return each_mailbox (job, owner, mailboxes, expunge_mailbox, error);
}

static bool
undelete_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  return each_mailbox (job, owner, mailboxes, undelete_mailbox, error);
}

bool
command_expunge (StoreJob *job, GError **error)
{
  return require_writable (job, error) && job_each_owner (job, expunge_owner, error);
}

bool
command_undelete (StoreJob *job, GError **error)
{
  return require_writable (job, error) && job_each_owner (job, undelete_owner, error);
}
