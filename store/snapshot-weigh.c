/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What snapshots weigh: how much mail each has, and how much is kept for it alone.
 *
 * One pass over the rows of all mailboxes, the expunged messages too, tells of all snapshots, since
 * a message carries the epochs in which it came and went. What became otherwise later is in the
 * history. Directories that were removed since lie in quarantine, and each snapshot that has them
 * is asked.
 *
 * No lock is held: first what is, then the history, which whoever changes something adds to before.
 */
#include "store/snapshot.h"

#define PAGE 256u

typedef struct {
  Store *store;
  const GPtrArray *snapshots; /* oldest first */
  uint32_t oldest;            /* epoch of the first that makes sense; 0: none does */
  StoreWeight *weights;       /* of each */
  uint64_t kept;
  History *tree;
} Weighing;

/* A mailbox that is being looked at. */
typedef struct {
  StoreMailbox *mailbox;
  History *history;
  bool removed;                  /* it is in quarantine */
  bool has[STORE_SNAPSHOTS_MAX]; /* which of the snapshots have it */
} Weighed;

static const StoreSnapshot *
nth_snapshot (const Weighing *self, guint n)
{
  return self->snapshots->pdata[n];
}

static void
add_message (StoreWeight *weight, uint64_t size)
{
  weight->messages++;
  weight->bytes += size;
}

static void
add_own (StoreWeight *weight, uint64_t size)
{
  weight->own_messages++;
  weight->own_bytes += size;
}

/* ---- mailboxes that there are -------------------------------------------------------------- */

/* Which snapshots have the directory. What is not kept of it is as it is now. */
static bool
find_owners (Weighing *self, uint32_t number, Weighed *out, GError **error)
{
  if (!history_load (self->tree, error))
    return false;
  bool moved = history_has (self->tree, number, self->oldest);
  for (guint i = 0; i < self->snapshots->len; i++) {
    const StoreSnapshot *snapshot = nth_snapshot (self, i);
    g_auto (HistoryNode) node = {0};
    bool kept = false;
    if (moved && !history_node (self->tree, number, snapshot->epoch, &node, &kept, error))
      return false;
    out->has[i] = snapshot->epoch > 0 && number < snapshot->next_number &&
                  !(kept ? node.absent : out->removed);
  }
  return true;
}

/* Whether the message was in the snapshot, by what is kept of it. */
static bool
was_there (const StoreSnapshot *snapshot, History *history, const IndexMessage *row)
{
  g_auto (HistoryMessage) old = {0};
  MessageState now = {.birth = row->birth, .expunged = row->expunged};
  bool kept = false;
  if (history_message (history, row->uid, snapshot->epoch, &old, &kept, NULL) && kept)
    return snapshot_has (snapshot, old.has_state ? &old.state : NULL, old.changed_ns);
  return snapshot_has (snapshot, &now, row->changed_ns);
}

static void
weigh_message (Weighing *self, const Weighed *weighed, const IndexMessage *row)
{
  guint found = 0, last = 0;
  for (guint i = 0; i < self->snapshots->len; i++) {
    if (!weighed->has[i] || !was_there (nth_snapshot (self, i), weighed->history, row))
      continue;
    add_message (&self->weights[i], row->size);
    found++;
    last = i;
  }
  if (found == 0 || (row->expunged == 0 && !weighed->removed))
    return;
  self->kept += row->size;
  if (found == 1)
    add_own (&self->weights[last], row->size);
}

static bool
weigh_page (Weighing *self, const Weighed *weighed, const IndexMessage *rows, size_t count,
            GError **error)
{
  if (!history_load (weighed->history, error))
    return false;
  for (size_t i = 0; i < count; i++)
    weigh_message (self, weighed, &rows[i]);
  return true;
}

/* Those above `after` that lie in the mailbox or among the expunged ones, each once. */
static bool
weigh_files (Weighing *self, const Weighed *weighed, uint32_t after, GError **error)
{
  StoreMailbox *mailbox = weighed->mailbox;
  g_autoptr (GArray) expunged = expunge_uids (mailbox, error);
  g_autoptr (GArray) uids = expunged != NULL ? layout_uids (mailbox->fd, "", NULL, error) : NULL;
  if (uids == NULL)
    return false;
  g_array_append_vals (uids, expunged->data, expunged->len);
  uids_sort (uids);
  for (guint i = uids_first_above (uids, after); i < uids->len; i++) {
    uint32_t uid = g_array_index (uids, uint32_t, i);
    g_auto (IndexMessage) row = {0};
    bool found;
    if (!message_from_file (mailbox, uid, false, INT64_MAX, &row, &found, error) ||
        (!found && !message_from_file (mailbox, uid, true, INT64_MAX, &row, &found, error)) ||
        (found && !weigh_page (self, weighed, &row, 1, error)))
      return false;
  }
  return true;
}

/* The next rows. `*out_trusted` is false when the index cannot tell. */
static bool
read_rows (StoreMailbox *mailbox, uint32_t after, IndexMessage *out, size_t *out_count,
           bool *out_trusted, GError **error)
{
  g_auto (View) view = {0};
  if (!view_begin_still (mailbox, &view, error))
    return false;
  *out_trusted = view.uids == NULL &&
                 index_message_page (view.handle->index, mailbox->number, after,
                                     INDEX_LIVE | INDEX_EXPUNGED, out, PAGE, out_count, NULL);
  return true;
}

static bool
weigh_messages (Weighing *self, const Weighed *weighed, GError **error)
{
  g_autofree IndexMessage *rows = g_new (IndexMessage, PAGE);
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    bool trusted;
    count = 0;
    if (!read_rows (weighed->mailbox, after, rows, &count, &trusted, error))
      return false;
    if (!trusted)
      return weigh_files (self, weighed, after, error);
    bool good = weigh_page (self, weighed, rows, count, error);
    after = count > 0 ? rows[count - 1].uid : after;
    index_messages_clear (rows, count);
    if (!good)
      return false;
  }
  return true;
}

static bool
weigh_mailbox (Weighing *self, uint32_t number, GError **error)
{
  g_autoptr (History) history = history_new (self->store, number);
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->store, number, error);
  Weighed weighed = {.mailbox = mailbox, .history = history};
  return mailbox != NULL && find_owners (self, number, &weighed, error) &&
         weigh_messages (self, &weighed, error);
}

/* What is removed meanwhile is not counted. */
static bool
weigh_node (const StoreNode *node, const char *path, void *data, GError **error)
{
  return node->kind != STORE_NODE_MAILBOX || weigh_mailbox (data, node->number, error);
}

/* ---- mailboxes that were removed ----------------------------------------------------------- */

/* The first of the snapshots for which the node is a mailbox; NULL: there is none. */
static const StoreSnapshot *
find_user (Weighing *self, uint32_t number, const bool has[])
{
  for (guint i = 0; i < self->snapshots->len; i++) {
    g_auto (HistoryNode) node = {0};
    bool kept;
    if (has[i] &&
        history_node (self->tree, number, nth_snapshot (self, i)->epoch, &node, &kept, NULL) &&
        kept && node.node.kind == STORE_NODE_MAILBOX)
      return nth_snapshot (self, i);
  }
  return NULL;
}

/* Who has the mailbox knows where it is. */
static bool
weigh_removed (Weighing *self, uint32_t number, GError **error)
{
  Weighed weighed = {.removed = true};
  if (!find_owners (self, number, &weighed, error))
    return false;
  const StoreSnapshot *user = find_user (self, number, weighed.has);
  if (user == NULL)
    return true;
  g_autoptr (History) history = history_new (self->store, number);
  g_autoptr (Store) past = store_snapshot_open (self->store, user->name, error);
  g_autoptr (StoreMailbox) mailbox = past != NULL ? store_mailbox_open (past, number, error) : NULL;
  weighed.mailbox = mailbox;
  weighed.history = history;
  return mailbox != NULL && weigh_files (self, &weighed, 0, error);
}

static bool
weigh_all_removed (Weighing *self, GError **error)
{
  g_autoptr (GArray) moved = history_subjects (self->tree, self->oldest);
  for (guint i = 0; i < moved->len; i++) {
    uint32_t number = g_array_index (moved, uint32_t, i);
    g_auto (StoreNode) node = {0};
    g_autoptr (GError) failure = NULL;
    if (store_node_get (self->store, number, &node, &failure))
      continue;
    if (failure->code == ENOENT) {
      g_clear_error (&failure);
      weigh_removed (self, number, &failure);
    }
    if (failure != NULL && failure->code != ESTALE) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
  }
  return true;
}

bool
store_snapshot_weigh (Store *self, const GPtrArray *snapshots, StoreWeight *out, uint64_t *out_kept,
                      GError **error)
{
  g_autofree StoreWeight *weights = g_new0 (StoreWeight, MAX (snapshots->len, 1));
  g_autoptr (History) tree = history_new_tree (self);
  g_auto (StoreNode) root = {0};
  Weighing weighing = {.store = self, .snapshots = snapshots, .weights = weights, .tree = tree};
  for (guint i = 0; i < snapshots->len && weighing.oldest == 0; i++)
    weighing.oldest = nth_snapshot (&weighing, i)->epoch;
  if (weighing.oldest > 0 && (!store_node_get (self, STORE_ROOT, &root, error) ||
                              !node_each_below (self, &root, weigh_node, &weighing, error) ||
                              !weigh_all_removed (&weighing, error)))
    return false;
  for (guint i = 0; i < snapshots->len; i++)
    out[i] = weights[i];
  *out_kept = weighing.kept;
  return true;
}
