/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages copied or moved into another mailbox.
 *
 * A copy is a new message, put in as any other. A move is a copy that is on disk, and then an
 * expunge: a crash in between leaves both, never none. It is one change, in one epoch, so that
 * every snapshot has the message in one of the two mailboxes. For that both users are locked all
 * the time, the one with the lower number first.
 */
#include "store/arrive.h"
#include "store/snapshot.h"

#include <string.h>

/* Takes the file over, its blocks shared where the filesystem can do that. */
static bool
take_file (StoreMailbox *self, const char *name, const StoreFacts *facts, StoreDraft **out,
           GError **error)
{
  static const StoreTransfer ways[] = {STORE_REFLINK, STORE_COPY};
  g_autoptr (GError) failure = NULL;
  for (size_t i = 0; i < G_N_ELEMENTS (ways); i++) {
    g_clear_error (&failure);
    g_autoptr (StoreDraft) draft = store_draft_new (self->store, facts, error);
    if (draft == NULL)
      return false;
    if (store_draft_take (draft, self->fd, name, ways[i], &failure)) {
      *out = g_steal_pointer (&draft);
      return true;
    }
  }
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* Bytes that are not those that were delivered must not become a new message, which would be whole.
 */
static bool
is_whole (StoreMailbox *self, uint32_t uid, const StoreDraft *draft, GError **error)
{
  g_auto (MessageState) state = {0};
  uint8_t known[32];
  bool found;
  auto_fd fd = store_message_open (self, uid, error);
  if (fd < 0 || !message_state_read (self->fd, fd, uid, &state, &found, error))
    return false;
  digest_from_prefix (found ? state.digest : 0, known);
  return digest_matches (known, store_draft_sha256 (draft)) ||
         fail (error, EIO, "its bytes are not those that were delivered");
}

static bool
draft_one (StoreMailbox *self, uint32_t uid, StoreMailbox *target, StoreDraft **out, GError **error)
{
  g_auto (StoreMessage) message = {0};
  g_autoptr (StoreDraft) draft = NULL;
  char name[STORE_NAME_SIZE];
  bool found;
  if (!store_message_find (self, uid, &message, &found, error))
    return false;
  if (!found)
    return fail (error, ENOENT, "no such message");
  StoreFacts facts = {
      .flags = message.flags, .keywords = message.keywords, .internal_s = message.internal_s};
  store_message_name (uid, name);
  if (!take_file (self, name, &facts, &draft, error) ||
      !store_draft_finish (draft, target, error) || !is_whole (self, uid, draft, error))
    return false;
  *out = g_steal_pointer (&draft);
  return true;
}

/* Drafts of all the messages; NULL with an error. */
static GPtrArray *
draft_all (StoreMailbox *self, const uint32_t *uids, size_t count, StoreMailbox *target,
           GError **error)
{
  g_autoptr (GPtrArray) drafts = g_ptr_array_new_with_free_func ((GDestroyNotify)store_draft_free);
  for (size_t i = 0; i < count; i++) {
    StoreDraft *draft = NULL;
    if (!draft_one (self, uids[i], target, &draft, error)) {
      fail_prefix (error, "message %u of '%s'", uids[i], self->path);
      return NULL;
    }
    g_ptr_array_add (drafts, draft);
  }
  return g_steal_pointer (&drafts);
}

static void
tell_uids (const GPtrArray *drafts, uint32_t *out_uids)
{
  for (guint i = 0; out_uids != NULL && i < drafts->len; i++)
    out_uids[i] = store_draft_uid (drafts->pdata[i]);
}

bool
store_mailbox_copy (StoreMailbox *self, const uint32_t *uids, size_t count, StoreMailbox *target,
                    uint32_t *out_uids, GError **error)
{
  g_autoptr (GPtrArray) drafts = draft_all (self, uids, count, target, error);
  StoreAppendFlags flags = count > SYNC_EACH_MAX ? STORE_APPEND_BULK : 0;
  if (drafts == NULL ||
      !store_mailbox_append (target, (StoreDraft *const *)drafts->pdata, count, flags, error))
    return false;
  tell_uids (drafts, out_uids);
  return true;
}

/* ---- moving -------------------------------------------------------------------------------- */

/* Puts the drafts into their mailbox, whose user is locked. The rows are committed, for what
 * follows may want the same index. */
static bool
append_locked (Append *append, const Epoch *epoch, GError **error)
{
  UserWrite user = {.lock = -1, .epoch = epoch};
  g_autoptr (GPtrArray) appends = g_ptr_array_new ();
  g_ptr_array_add (appends, append);
  user.write = mailbox_write_begin (append->mailbox, &user.handle, NULL);
  append_batch (appends, &user);
  user_write_end (&user);
  return append_end (append, error);
}

/* With both users locked. */
static bool
move_locked (StoreMailbox *self, const uint32_t *uids, Append *append, GError **error)
{
  g_auto (Epoch) epoch = EPOCH_NONE;
  return epoch_enter (self->store, &epoch, error) && append_locked (append, &epoch, error) &&
         (expunge_named (self, &epoch, EXPUNGE_OUT, uids, append->count, error) ||
          fail_prefix (error, "the messages are in '%s' now, but here, too",
                       append->mailbox->path));
}

static bool
move_drafts (StoreMailbox *self, const uint32_t *uids, Append *append, GError **error)
{
  StoreMailbox *target = append->mailbox;
  bool one = self->owner == target->owner, target_first = target->owner < self->owner;
  auto_fd first = lock_mailbox (target_first ? target : self, error);
  auto_fd second = first >= 0 && !one ? lock_mailbox (target_first ? self : target, error) : -1;
  if (first < 0 || (one ? !lock_fits (target, error) : second < 0))
    return false;
  return move_locked (self, uids, append, error);
}

bool
store_mailbox_move (StoreMailbox *self, const uint32_t *uids, size_t count, StoreMailbox *target,
                    uint32_t *out_uids, GError **error)
{
  if (self->number == target->number)
    return fail (error, EINVAL, "'%s' is where the messages are", self->path);
  g_autoptr (GPtrArray) drafts = draft_all (self, uids, count, target, error);
  if (drafts == NULL || count == 0)
    return drafts != NULL;
  Append append = {.mailbox = target,
                   .drafts = (StoreDraft *const *)drafts->pdata,
                   .count = count,
                   .bulk = count > SYNC_EACH_MAX};
  if (!append_sync (&append, error))
    return fail_prefix (error, "append to '%s'", target->path);
  bool moved = move_drafts (self, uids, &append, error);
  if (append.placed == count)
    tell_uids (drafts, out_uids);
  return moved;
}
