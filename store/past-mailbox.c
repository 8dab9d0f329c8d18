/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a snapshot. They lie where they lay, or, expunged since, in .expunged; and they
 * have the state that they had, or another since, and then the history has the old one.
 *
 * What comes from rows or files is a row of the index as it is now, of any message that may have
 * been there: see read_rows(). Then keep_those_then() makes of them what they were.
 */
#include "store/past.h"

#include <string.h>

/* ---- what was there ------------------------------------------------------------------------ */

/* The history of the mailbox, with what was added to it until now; owned by the mailbox. */
static History *
follow_history (StoreMailbox *self, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  if (self->history == NULL)
    self->history = history_new (past_live (self->store), self->number);
  g_clear_pointer (&locker, g_mutex_locker_free);
  return history_load (self->history, error) ? self->history : NULL;
}

/* Makes of a message what it was; false when it was not there. What is kept of it and makes no
 * sense is as good as nothing: then it is shown as it is now. */
static bool
turn_back (const StoreSnapshot *snapshot, History *history, IndexMessage *message)
{
  g_auto (HistoryMessage) old = {0};
  bool kept = false;
  if (!history_message (history, message->uid, snapshot->epoch, &old, &kept, NULL) || !kept) {
    MessageState now = {.birth = message->birth, .expunged = message->expunged};
    return snapshot_has (snapshot, &now, message->changed_ns);
  }
  message->flags = old.state.flags;
  message->modseq = old.state.modseq;
  message->changed_ns = old.changed_ns;
  g_free (message->keywords);
  message->keywords = g_steal_pointer (&old.state.keywords);
  return snapshot_has (snapshot, old.has_state ? &old.state : NULL, old.changed_ns);
}

/* Leaves those that were there, as they were; `*count` says how many. */
static bool
keep_those_then (StoreMailbox *self, IndexMessage *messages, size_t *count, GError **error)
{
  size_t kept = 0;
  History *history = follow_history (self, error);
  for (size_t i = 0; history != NULL && i < *count; i++) {
    if (turn_back (&self->store->past->snapshot, history, &messages[i]))
      messages[kept++] = messages[i];
    else
      index_message_clear (&messages[i]);
  }
  bool good = history != NULL && past_is_there (self->store, error);
  if (!good)
    index_messages_clear (messages, history != NULL ? kept : *count);
  *count = kept;
  return good;
}

/* ---- from rows and files ------------------------------------------------------------------- */

/* Both places of a file are looked at, and one of them twice: it may be moved meanwhile. */
#define LOOKS 3

GArray *
past_mailbox_files (StoreMailbox *self, GError **error)
{
  g_autoptr (GArray) all = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (int look = 0; look < LOOKS; look++) {
    bool expunged = look % 2 == 0;
    g_autoptr (GArray) there =
        expunged ? expunge_uids (self, error) : layout_uids (self->fd, "", NULL, error);
    if (there == NULL)
      return NULL;
    g_array_append_vals (all, there->data, there->len);
  }
  uids_sort (all);
  return g_steal_pointer (&all);
}

/* A file wherever it is. */
static bool
read_file (StoreMailbox *self, uint32_t uid, IndexMessage *out, bool *out_found, GError **error)
{
  int64_t then_ns = self->store->past->snapshot.taken_ns;
  *out_found = false;
  for (int look = 0; look < LOOKS && !*out_found; look++) {
    bool expunged = look % 2 != 0;
    if (!message_from_file (self, uid, expunged, then_ns, out, out_found, error))
      return false;
  }
  return true;
}

/* Whether the row of a mailbox that the index is behind with tells where the file is. */
static bool
is_where (const StoreMailbox *self, const IndexMessage *row)
{
  struct stat st;
  char name[STORE_NAME_SIZE];
  store_message_name (row->uid, name);
  return layout_message_stat (self->fd, name, &st) == (row->expunged == 0);
}

/* One message, whether it was there or not. */
static bool
read_row (View *view, uint32_t uid, IndexMessage *out, bool *out_found, GError **error)
{
  g_auto (IndexMessage) row = {0};
  StoreMailbox *mailbox = view->mailbox;
  bool found = false;
  if (view->handle != NULL &&
      !index_message_get (view->handle->index, mailbox->number, uid, &row, &found, NULL) &&
      !view_distrust (view, error))
    return false;
  if (view->uids != NULL && !(found && is_where (mailbox, &row)))
    return read_file (mailbox, uid, out, out_found, error);
  if (found) {
    if (view->uids != NULL)
      view_prefer_file (view, &row);
    *out = row;
    row = (IndexMessage){0};
  }
  *out_found = found;
  return true;
}

/* The next of the files; `*after` becomes the last that was looked at. */
static bool
read_files (View *view, uint32_t *after, IndexMessage *out, size_t capacity, size_t *out_count,
            GError **error)
{
  size_t count = 0;
  for (guint i = uids_first_above (view->uids, *after); i < view->uids->len && count < capacity;
       i++) {
    bool found;
    *after = g_array_index (view->uids, uint32_t, i);
    if (!read_row (view, *after, &out[count], &found, error)) {
      index_messages_clear (out, count);
      return false;
    }
    count += found;
  }
  *out_count = count;
  return true;
}

/* The next messages that may have been there, as they are now. `*after` becomes the last of them.
 */
static bool
read_rows (StoreMailbox *self, uint32_t *after, IndexMessage *out, size_t capacity,
           size_t *out_count, GError **error)
{
  g_auto (View) view = {0};
  uint32_t epoch = self->store->past->snapshot.epoch;
  size_t count;
  if (!view_begin_still (self, &view, error))
    return false;
  if (view.uids != NULL)
    return read_files (&view, after, out, capacity, out_count, error);
  if (!index_message_page_at (view.handle->index, self->number, *after, epoch, out, capacity,
                              &count, NULL))
    return view_distrust (&view, error) &&
           read_files (&view, after, out, capacity, out_count, error);
  if (count > 0)
    *after = out[count - 1].uid;
  *out_count = count;
  return true;
}

/* ---- one by one, and page by page ---------------------------------------------------------- */

bool
past_mailbox_page (StoreMailbox *self, uint32_t after, StoreMessage *out, size_t capacity,
                   size_t *out_count, GError **error)
{
  g_autofree IndexMessage *messages = g_new (IndexMessage, capacity);
  size_t read = 1, kept = 0;
  while (read > 0 && kept == 0) {
    if (!read_rows (self, &after, messages, capacity, &read, error))
      return false;
    kept = read;
    if (!keep_those_then (self, messages, &kept, error))
      return false;
  }
  for (size_t i = 0; i < kept; i++)
    out[i] = message_from_row (&messages[i]);
  *out_count = kept;
  return true;
}

bool
past_message_find (StoreMailbox *self, uint32_t uid, StoreMessage *out, bool *out_found,
                   GError **error)
{
  g_auto (View) view = {0};
  IndexMessage message = {0};
  bool found = false;
  if (!view_begin_still (self, &view, error) || !read_row (&view, uid, &message, &found, error))
    return false;
  view_clear (&view);
  size_t count = found;
  if (!keep_those_then (self, &message, &count, error))
    return false;
  if (count > 0)
    *out = message_from_row (&message);
  *out_found = count > 0;
  return true;
}

GArray *
past_mailbox_uids (StoreMailbox *self, GError **error)
{
  g_autoptr (GArray) uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  StoreMessage page[256];
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    if (!past_mailbox_page (self, after, page, G_N_ELEMENTS (page), &count, error))
      return NULL;
    for (size_t i = 0; i < count; i++)
      g_array_append_val (uids, page[i].uid);
    after = count > 0 ? page[count - 1].uid : after;
    store_messages_clear (page, count);
  }
  return g_steal_pointer (&uids);
}

int
past_message_open (StoreMailbox *self, uint32_t uid, GError **error)
{
  g_auto (StoreMessage) message = {0};
  bool found;
  if (!past_message_find (self, uid, &message, &found, error))
    return -1;
  for (int look = 0; look < LOOKS && found; look++) {
    char path[32];
    layout_message_path (uid, look % 2 != 0, path);
    int fd = layout_open_message (self->fd, path);
    if (fd >= 0)
      return fd;
    if (errno != ENOENT) {
      fail_errno (error, "open message '%s/%s'", self->path, path);
      return -1;
    }
  }
  fail (error, ESTALE, "no message %u in '%s'", uid, self->path);
  return -1;
}

/* ---- the mailbox as a whole ---------------------------------------------------------------- */

/* Counts the messages. */
static bool
count_messages (StoreMailbox *self, PastCounts *out, GError **error)
{
  PastCounts counts = {.known = true};
  StoreMessage page[256];
  size_t read = 1;
  for (uint32_t after = 0; read > 0;) {
    if (!past_mailbox_page (self, after, page, G_N_ELEMENTS (page), &read, error))
      return false;
    for (size_t i = 0; i < read; i++) {
      counts.messages++;
      counts.unseen += (page[i].flags & STORE_FLAG_SEEN) == 0;
      counts.damaged += (page[i].damage & STORE_DAMAGE_GRAVE) != 0;
      counts.bytes += page[i].size;
      counts.highestmodseq = MAX (counts.highestmodseq, page[i].modseq);
      counts.uidnext = page[i].uid + 1;
    }
    after = counts.uidnext - 1;
    store_messages_clear (page, read);
  }
  *out = counts;
  return true;
}

/* The same, once: what was there stays so. Only damage is met, and mended, later; the row tells. */
static bool
learn_counts (StoreMailbox *self, uint32_t damaged_now, PastCounts *out, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  *out = self->counts;
  g_clear_pointer (&locker, g_mutex_locker_free);
  if (out->known && out->damaged_now == damaged_now)
    return true;
  if (!count_messages (self, out, error))
    return false;
  out->damaged_now = damaged_now;
  g_autoptr (GMutexLocker) again G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  self->counts = *out;
  return true;
}

bool
past_directory (StoreMailbox *self, HistoryDirectory *out, bool *out_kept, GError **error)
{
  uint32_t epoch = self->store->past->snapshot.epoch;
  History *history = follow_history (self, error);
  if (history == NULL)
    return false;
  *out_kept = history_directory (history, self->kind, epoch, out, out_kept, NULL) && *out_kept;
  return true;
}

/* What the directory told of the mailbox, and whether anything in it has changed since. */
static bool
learn_directory (StoreMailbox *self, HistoryDirectory *out, bool *out_changed, GError **error)
{
  HistoryDirectory now = {0};
  if (!node_state_read (self->fd, self->kind, &now.state, &now.has_state, NULL))
    now.has_state = false;
  if (!past_directory (self, out, out_changed, error)) {
    history_directory_clear (&now);
    return false;
  }
  if (*out_changed)
    history_directory_clear (&now);
  else
    *out = now;
  return true;
}

/* As long as a mailbox is as it was, its row tells what it amounts to. */
static PastCounts
counts_of_row (const IndexMailbox *row)
{
  return (PastCounts){.messages = row->messages,
                      .unseen = row->unseen,
                      .damaged = row->damaged,
                      .bytes = row->bytes,
                      .highestmodseq = row->highestmodseq,
                      .uidnext = row->uidnext};
}

/* The figures, and what the directory told. */
static bool
learn (StoreMailbox *self, PastCounts *counts, HistoryDirectory *directory, GError **error)
{
  g_auto (View) view = {0};
  bool changed = false;
  if (!view_begin (self, &view, error))
    return false;
  IndexMailbox row = view.row;
  bool believed = view.uids == NULL;
  view_clear (&view);
  if (!learn_directory (self, directory, &changed, error))
    return false;
  if (!directory->has_state)
    directory->state.uidvalidity = row.uidvalidity;
  if (believed && !changed) {
    *counts = counts_of_row (&row);
    return past_is_there (self->store, error);
  }
  return learn_counts (self, row.damaged, counts, error);
}

/* What is expunged belongs to no snapshot, and neither does what became of the index since. */
bool
past_mailbox_info (StoreMailbox *self, StoreMailboxInfo *out, GError **error)
{
  PastCounts counts;
  g_auto (HistoryDirectory) directory = {0};
  if (!learn (self, &counts, &directory, error))
    return false;
  const NodeState *state = &directory.state;
  *out = (StoreMailboxInfo){.uidvalidity = state->uidvalidity,
                            .uidnext = MAX (MAX (state->uidnext, counts.uidnext), 1),
                            .highestmodseq = MAX (state->modseq, counts.highestmodseq),
                            .messages = counts.messages,
                            .unseen = counts.unseen,
                            .bytes = counts.bytes,
                            .health = counts.damaged > 0 ? STORE_HEALTH_DAMAGED : STORE_HEALTH_OK};
  return true;
}

bool
past_mailbox_count (StoreMailbox *self, StoreStatus *status, GError **error)
{
  PastCounts counts;
  g_auto (HistoryDirectory) directory = {0};
  if (!learn (self, &counts, &directory, error))
    return false;
  status->mailboxes++;
  status->messages += counts.messages;
  status->unseen += counts.unseen;
  status->damaged += counts.damaged;
  status->bytes += counts.bytes;
  status->highestmodseq =
      MAX (status->highestmodseq, MAX (directory.state.modseq, counts.highestmodseq));
  return true;
}

bool
past_mailbox_digests (StoreMailbox *self, GHashTable *digests, GError **error)
{
  g_autoptr (GArray) uids = past_mailbox_uids (self, error);
  for (guint i = 0; uids != NULL && i < uids->len; i++) {
    uint32_t uid = g_array_index (uids, uint32_t, i);
    g_auto (StoreSummary) summary = {0};
    g_autoptr (GError) failure = NULL;
    if (store_message_summary (self, uid, &summary, &failure))
      mailbox_collect_digest (uid, summary.sha256, digests);
    else if (failure->code != ESTALE && failure->code != EIO) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
  }
  return uids != NULL;
}
