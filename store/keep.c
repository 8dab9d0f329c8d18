/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeping what a change overwrites and a snapshot needs: each message, directory and place once per
 * snapshot, before it changes for the first time.
 */
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

void
keep_clear (Keep *self)
{
  if (self->lines != NULL)
    g_string_free (self->lines, TRUE);
  if (self->written)
    close (self->fd);
  *self = (Keep){0};
}

/* The history that belongs to a place where it is remembered, which `mutex` guards. */
static History *
remember (History **place, GMutex *mutex, Store *store, const StoreMailbox *mailbox)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (mutex);
  if (*place == NULL)
    *place = mailbox != NULL ? history_new (store, mailbox->number) : history_new_tree (store);
  return *place;
}

History *
keep_history (StoreMailbox *mailbox)
{
  return remember (&mailbox->history, &mailbox->mutex, mailbox->store, mailbox);
}

History *
keep_tree (Store *store)
{
  return remember (&store->tree, &store->snapshot_mutex, store, NULL);
}

static bool
begin (Keep *out, const Epoch *epoch, History *history, GError **error)
{
  if (!history_load (history, error) || !history_settle (history, error))
    return fail_prefix (error, "what snapshots need");
  *out = (Keep){.epoch = epoch, .history = history, .lines = g_string_new (NULL)};
  return true;
}

/* ---- messages and directories -------------------------------------------------------------- */

static bool
add_directory (Keep *self, StoreMailbox *mailbox, GError **error)
{
  struct stat st;
  g_auto (NodeState) state = {0};
  bool found = false;
  g_autoptr (GError) failure = NULL;
  if (history_has (self->history, 0, self->epoch->newest))
    return true;
  if (fstat (mailbox->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", mailbox->path);
  if (mailbox->kind != STORE_NODE_ROOT &&
      !node_state_read (mailbox->fd, mailbox->kind, &state, &found, &failure) &&
      failure->code != EBADMSG) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  g_autofree char *line = found ? node_state_format (mailbox->kind, &state) : g_strdup ("-");
  g_string_append_printf (self->lines, "%u 0 %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %s\n",
                          self->epoch->newest, stat_mtime_ns (&st), stat_ctime_ns (&st), line);
  return true;
}

bool
keep_begin (Keep *out, const Epoch *epoch, StoreMailbox *mailbox, GError **error)
{
  *out = (Keep){.epoch = epoch};
  if (epoch->newest == 0 || mailbox->number >= epoch->next_number)
    return true;
  return begin (out, epoch, keep_history (mailbox), error) && add_directory (out, mailbox, error);
}

bool
keep_wants (const Keep *self, uint32_t uid)
{
  return self->history != NULL && !history_has (self->history, uid, self->epoch->newest);
}

static void
add_message (Keep *self, uint32_t until, uint32_t uid, int64_t changed_ns,
             const MessageState *state)
{
  g_autofree char *line = state != NULL ? message_state_format (state) : g_strdup ("-");
  g_string_append_printf (self->lines, "%u %u %" G_GINT64_FORMAT " %s\n", until, uid, changed_ns,
                          line);
}

/* The epoch of the last snapshot that was taken before `changed_ns`; 0: there is none. */
static uint32_t
epoch_before (const Epoch *epoch, int64_t changed_ns)
{
  uint32_t before = 0;
  for (guint i = 0; i < epoch->snapshots->snapshots->len; i++) {
    const StoreSnapshot *snapshot = epoch->snapshots->snapshots->pdata[i];
    if (snapshot->taken_ns < changed_ns)
      before = MAX (before, snapshot->epoch);
  }
  return before;
}

/* A file that a crash left in the wrong place, or that somebody moved, has been there since it
 * changed last: snapshots from before that go by its state, later ones by its place. */
static void
add_misplaced (Keep *self, uint32_t uid, int64_t changed_ns, const MessageState *state,
               bool expunged)
{
  uint32_t before = MIN (epoch_before (self->epoch, changed_ns), self->epoch->newest);
  MessageState placed = state != NULL ? *state : (MessageState){0};
  placed.expunged = expunged;
  if (before > 0 && !history_has (self->history, uid, before))
    add_message (self, before, uid, changed_ns, state);
  if (before < self->epoch->newest)
    add_message (self, self->epoch->newest, uid, changed_ns, &placed);
}

bool
keep_message (Keep *self, uint32_t uid, int64_t changed_ns, const MessageState *state,
              bool expunged)
{
  bool later = state != NULL && state->birth > self->epoch->newest;
  if (later || !keep_wants (self, uid))
    return false;
  if ((state != NULL && state->expunged != 0) == expunged)
    add_message (self, self->epoch->newest, uid, changed_ns, state);
  else
    add_misplaced (self, uid, changed_ns, state, expunged);
  return true;
}

bool
keep_write (Keep *self, GError **error)
{
  if (self->lines == NULL || self->lines->len == 0)
    return true;
  self->fd = history_append (self->history, self->lines->str, error);
  self->written = self->fd >= 0;
  g_string_truncate (self->lines, 0);
  return self->written || fail_prefix (error, "keep what snapshots need");
}

bool
keep_sync (Keep *self, GError **error)
{
  if (!self->written)
    return true;
  bool synced = history_sync (self->history, self->fd, error);
  close (self->fd);
  self->written = false;
  return synced || fail_prefix (error, "keep what snapshots need");
}

bool
keep_end (Keep *self, GError **error)
{
  return keep_write (self, error) && keep_sync (self, error);
}

bool
keep_directory (const Epoch *epoch, StoreMailbox *mailbox, GError **error)
{
  g_auto (Keep) keep = {0};
  return keep_begin (&keep, epoch, mailbox, error) && keep_end (&keep, error);
}

/* Whether the snapshot has the mailbox itself: it may have lain in quarantine then. */
static bool
has_mailbox (const StoreSnapshot *snapshot, const StoreMailbox *mailbox)
{
  g_auto (HistoryNode) was = {0};
  bool kept = false;
  return mailbox->number < snapshot->next_number &&
         (!history_node (mailbox->store->tree, mailbox->number, snapshot->epoch, &was, &kept,
                         NULL) ||
          !kept || !was.absent);
}

static bool
needs (const StoreSnapshot *snapshot, StoreMailbox *mailbox, uint32_t uid,
       const MessageState *state, int64_t changed_ns)
{
  g_auto (HistoryMessage) was = {0};
  bool kept = false;
  if (!has_mailbox (snapshot, mailbox))
    return false;
  if (!history_message (mailbox->history, uid, snapshot->epoch, &was, &kept, NULL))
    return true;
  return kept ? snapshot_has (snapshot, was.has_state ? &was.state : NULL, was.changed_ns)
              : snapshot_has (snapshot, state, changed_ns);
}

bool
keep_is_needed (const SnapshotSet *snapshots, StoreMailbox *mailbox, uint32_t uid,
                const MessageState *state, int64_t changed_ns)
{
  for (guint i = 0; i < snapshots->snapshots->len && !snapshots->doubtful; i++) {
    if (needs (snapshots->snapshots->pdata[i], mailbox, uid, state, changed_ns))
      return true;
  }
  return snapshots->doubtful;
}

/* ---- the tree ------------------------------------------------------------------------------ */

bool
keep_begin_tree (Keep *out, const Epoch *epoch, GError **error)
{
  *out = (Keep){.epoch = epoch};
  return epoch->newest == 0 || begin (out, epoch, keep_tree (epoch->store), error);
}

/* Whether the newest snapshot has, or might have had, a node of that number. */
static bool
concerns (const Keep *self, uint32_t number)
{
  return self->history != NULL && number < self->epoch->next_number;
}

/* Until when a line holds that tells where the node is now. It must not hide the one that tells
 * what the node was, which a snapshot that was dropped may have had kept for longer; the first of
 * two with one end counts. */
static uint32_t
until_for (const Keep *self, uint32_t number)
{
  uint32_t until = history_until (self->history, number, self->epoch->newest);
  return until != 0 ? until : self->epoch->newest;
}

void
keep_node (Keep *self, const ListNode *node, const char *place)
{
  if (!concerns (self, node->number) ||
      (place == NULL && history_has (self->history, node->number, self->epoch->newest)))
    return;
  g_autofree char *use = state_escape (node->special_use), *where = state_escape (place);
  g_autofree char *name = state_escape (node->name), *full_name = state_escape (node->full_name);
  g_string_append_printf (self->lines, "%u %u %d %u %u %d %d %s %s %s %s\n",
                          until_for (self, node->number), node->number, node->kind, node->parent,
                          node->owner, node->subscribed, !node->no_index, use, where, name,
                          full_name);
}

void
keep_absent (Keep *self, uint32_t number)
{
  if (concerns (self, number) && !history_has (self->history, number, self->epoch->newest))
    g_string_append_printf (self->lines, "%u %u - - - - - - - - -\n", self->epoch->newest, number);
}
