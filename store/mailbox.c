/* SPDX-License-Identifier: Apache-2.0 */
/* A mailbox: its messages page by page, its figures, and what those share who write to it. */
#include "store/past.h"

#include <time.h>
#include <unistd.h>

/* ---- pages --------------------------------------------------------------------------------- */

StoreMessage
message_from_row (IndexMessage *row)
{
  return (StoreMessage){.uid = row->uid,
                        .flags = row->flags,
                        .damage = row->damage,
                        .size = row->size,
                        .modseq = row->modseq,
                        .internal_s = row->internal_s,
                        .changed_ns = row->changed_ns,
                        .keywords = g_steal_pointer (&row->keywords)};
}

void
store_message_clear (StoreMessage *message)
{
  g_clear_pointer (&message->keywords, g_free);
}

void
store_messages_clear (StoreMessage *messages, size_t count)
{
  for (size_t i = 0; i < count; i++)
    store_message_clear (&messages[i]);
}

static bool
page_from_files (View *view, uint32_t after, StoreMessage *out, size_t capacity, size_t *out_count,
                 GError **error)
{
  size_t count = 0;
  for (guint i = uids_first_above (view->uids, after); i < view->uids->len && count < capacity;
       i++) {
    g_auto (IndexMessage) message = {0};
    bool found;
    uint32_t uid = g_array_index (view->uids, uint32_t, i);
    if (!view_message (view, uid, &message, &found, error)) {
      store_messages_clear (out, count);
      return false;
    }
    if (found)
      out[count++] = message_from_row (&message);
  }
  *out_count = count;
  return true;
}

bool
store_mailbox_page (StoreMailbox *self, uint32_t after, StoreMessage *out, size_t capacity,
                    size_t *out_count, GError **error)
{
  g_auto (View) view = {0};
  if (self->store->past != NULL)
    return past_mailbox_page (self, after, out, capacity, out_count, error);
  if (!view_begin_still (self, &view, error))
    return false;
  if (view.uids != NULL)
    return page_from_files (&view, after, out, capacity, out_count, error);
  g_autofree IndexMessage *rows = g_new (IndexMessage, capacity);
  size_t count;
  if (!index_message_page (view.handle->index, self->number, after, INDEX_LIVE, rows, capacity,
                           &count, NULL))
    return view_distrust (&view, error) &&
           page_from_files (&view, after, out, capacity, out_count, error);
  for (size_t i = 0; i < count; i++)
    out[i] = message_from_row (&rows[i]);
  *out_count = count;
  return true;
}

bool
store_message_find (StoreMailbox *self, uint32_t uid, StoreMessage *out, bool *out_found,
                    GError **error)
{
  g_auto (View) view = {0};
  g_auto (IndexMessage) row = {0};
  if (self->store->past != NULL)
    return past_message_find (self, uid, out, out_found, error);
  if (!view_begin_still (self, &view, error) || !view_message (&view, uid, &row, out_found, error))
    return false;
  if (*out_found)
    *out = message_from_row (&row);
  return true;
}

/* ---- the mailbox as a whole ---------------------------------------------------------------- */

const char *
store_health_name (StoreHealth health)
{
  static const char *const names[] = {"ok", "degraded", "damaged", "rebuilding"};
  return names[health];
}

static bool
count_files (View *view, StoreMailboxInfo *info, GError **error)
{
  for (guint i = 0; i < view->uids->len; i++) {
    g_auto (IndexMessage) message = {0};
    bool found;
    uint32_t uid = g_array_index (view->uids, uint32_t, i);
    if (!view_message (view, uid, &message, &found, error))
      return false;
    if (!found)
      continue;
    info->messages++;
    info->unseen += (message.flags & INDEX_FLAG_SEEN) == 0;
    info->bytes += message.size;
    info->highestmodseq = MAX (info->highestmodseq, message.modseq);
    info->uidnext = MAX (info->uidnext, uid + 1);
  }
  return true;
}

bool
store_mailbox_info (StoreMailbox *self, StoreMailboxInfo *out, GError **error)
{
  g_auto (View) view = {0};
  g_auto (NodeState) state = {0};
  bool has_state = false;
  if (self->store->past != NULL)
    return past_mailbox_info (self, out, error);
  if (!view_begin (self, &view, error))
    return false;
  if (!node_state_read (self->fd, self->kind, &state, &has_state, NULL))
    has_state = false;
  StoreMailboxInfo info = {.uidvalidity = has_state ? state.uidvalidity : view.row.uidvalidity,
                           .uidnext = MAX (MAX (state.uidnext, view.row.uidnext), 1),
                           .highestmodseq = MAX (state.modseq, view.row.highestmodseq),
                           .expunged = view.row.expunged,
                           .last_repair_s = view.row.last_repair_s};
  if (view.uids != NULL) {
    bool wanted = node_has_index (self->store, self->owner);
    info.health = wanted ? STORE_HEALTH_DEGRADED : STORE_HEALTH_OK;
    if (!count_files (&view, &info, error))
      return false;
  } else {
    info.messages = view.row.messages;
    info.unseen = view.row.unseen;
    info.bytes = view.row.bytes;
    info.health = view.row.damaged > 0 ? STORE_HEALTH_DAMAGED : STORE_HEALTH_OK;
  }
  if (self->kind != STORE_NODE_MAILBOX)
    info.health = STORE_HEALTH_OK;
  *out = info;
  return true;
}

void
mailbox_collect_digest (uint32_t uid, const uint8_t sha256[32], void *user_data)
{
  GHashTable *digests = user_data;
  GBytes *key = g_bytes_new (sha256, 32);
  guint count = GPOINTER_TO_UINT (g_hash_table_lookup (digests, key));
  g_hash_table_replace (digests, key, GUINT_TO_POINTER (count + 1));
}

/* Messages that the index does not know are read. */
static bool
digest_files (View *view, GHashTable *digests, GError **error)
{
  for (guint i = 0; view->uids != NULL && i < view->uids->len; i++) {
    uint32_t uid = g_array_index (view->uids, uint32_t, i);
    g_auto (StoreSummary) summary = {0};
    uint64_t size;
    uint8_t sha256[32];
    bool known = false;
    if (view->handle != NULL && !index_digest_get (view->handle->index, view->mailbox->number, uid,
                                                   &size, sha256, &known, NULL))
      return view_distrust (view, error) && digest_files (view, digests, error);
    if (known)
      continue;
    g_autoptr (GError) failure = NULL;
    if (store_message_summary (view->mailbox, uid, &summary, &failure))
      mailbox_collect_digest (uid, summary.sha256, digests);
    else if (failure->code != ESTALE && failure->code != EIO) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
  }
  return true;
}

GHashTable *
store_mailbox_digests (StoreMailbox *self, GError **error)
{
  g_autoptr (GHashTable) digests =
      g_hash_table_new_full (g_bytes_hash, g_bytes_equal, (GDestroyNotify)g_bytes_unref, NULL);
  g_auto (View) view = {0};
  if (self->store->past != NULL)
    return past_mailbox_digests (self, digests, error) ? g_steal_pointer (&digests) : NULL;
  if (!view_begin (self, &view, error))
    return NULL;
  if (view.handle != NULL &&
      !index_digests (view.handle->index, self->number, mailbox_collect_digest, digests, NULL)) {
    g_hash_table_remove_all (digests);
    if (!view_distrust (&view, error))
      return NULL;
  }
  return digest_files (&view, digests, error) ? g_steal_pointer (&digests) : NULL;
}

/* ---- what writers share -------------------------------------------------------------------- */

IndexWrite *
mailbox_write_begin (StoreMailbox *self, Handle **out_handle, GError **error)
{
  g_autoptr (GError) failure = NULL;
  /* The index may be deleted between opening it and beginning. */
  for (int attempt = 0; attempt < 3; attempt++) {
    g_clear_error (&failure);
    g_autoptr (Handle) handle = cache_index (self->store, self->owner, true, &failure);
    IndexWrite *write = handle != NULL ? index_write_begin (handle->index, &failure) : NULL;
    if (write != NULL) {
      *out_handle = g_steal_pointer (&handle);
      return write;
    }
    if (!is_gone (failure))
      break;
  }
  int code = error_code (failure);
  if (code == EUCLEAN)
    heal_note (self, HEAL_ROWS | HEAL_INDEX);
  else if (code != EOPNOTSUPP)
    g_propagate_error (error, g_steal_pointer (&failure));
  return NULL;
}

/* Highest modseq and next UID as the files alone have them. Expunged ones count, too: a snapshot
 * may have them, and finds them by their rows. */
static bool
facts_from_files (StoreMailbox *self, IndexMailbox *facts, guint *out_count, GError **error)
{
  g_autoptr (GArray) uids = layout_uids (self->fd, "", NULL, error);
  g_autoptr (GArray) gone = uids != NULL ? expunge_uids (self, error) : NULL;
  if (gone == NULL)
    return false;
  for (guint i = 0; i < uids->len; i++) {
    g_auto (IndexMessage) message = {0};
    bool found;
    uint32_t uid = g_array_index (uids, uint32_t, i);
    if (!message_from_file (self, uid, false, INT64_MAX, &message, &found, error))
      return false;
    facts->uidnext = MAX (facts->uidnext, uid + 1);
    facts->highestmodseq = MAX (facts->highestmodseq, message.modseq);
  }
  *out_count = uids->len + gone->len;
  return true;
}

bool
mailbox_facts (StoreMailbox *self, IndexWrite *write, IndexMailbox *out, GError **error)
{
  if (self->kind != STORE_NODE_MAILBOX)
    return fail (error, EINVAL, "'%s' holds mailboxes, not messages", self->path);
  g_auto (NodeState) state = {0};
  bool has_state = false, has_row = false;
  IndexMailbox facts = {.number = self->number};
  struct stat st;
  if (fstat (self->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", self->path);
  if (!node_state_read (self->fd, self->kind, &state, &has_state, error))
    return fail_prefix (error, "%s", self->path);
  if (write != NULL && !index_write_get_mailbox (write, self->number, &facts, &has_row, error))
    return false;
  if (!has_state && !has_row)
    return fail (error, EUCLEAN, "mailbox '%s' has no state; run 'mailstore reconstruct -m'",
                 self->path);
  guint files = 1;
  if (!has_row && !facts_from_files (self, &facts, &files, error))
    return false;
  facts.number = self->number;
  facts.uidvalidity = has_state ? state.uidvalidity : facts.uidvalidity;
  facts.uidnext = MAX (MAX (facts.uidnext, state.uidnext), 1);
  facts.highestmodseq = MAX (facts.highestmodseq, state.modseq);
  bool agrees = has_row ? facts.directory_ns == stat_mtime_ns (&st) : files == 0;
  facts.directory_ns = agrees ? stat_mtime_ns (&st) : 0;
  *out = facts;
  return true;
}

bool
mailbox_learn (StoreMailbox *self, const Epoch *epoch, IndexWrite **write, IndexMailbox *out,
               GError **error)
{
  if (*write != NULL && mailbox_catch_up (self, epoch, *write, NULL) &&
      mailbox_facts (self, *write, out, NULL))
    return true;
  if (!mailbox_facts (self, NULL, out, error))
    return false;
  g_clear_pointer (write, index_write_free);
  return true;
}

bool
mailbox_write_state (StoreMailbox *self, const IndexMailbox *facts, GError **error)
{
  g_auto (NodeState) state = {0};
  bool found;
  if (!node_state_read (self->fd, self->kind, &state, &found, error))
    return fail_prefix (error, "'%s'", self->path);
  state.number = self->number;
  state.uidvalidity = facts->uidvalidity;
  state.uidnext = MAX (state.uidnext, facts->uidnext);
  state.modseq = MAX (state.modseq, facts->highestmodseq);
  return node_state_write (self->store, self->fd, self->kind, &state, error) ||
         fail_prefix (error, "'%s'", self->path);
}

bool
mailbox_stamp (StoreMailbox *self, int64_t *out_ns, GError **error)
{
  /* The kernel stamps a change with a clock of some milliseconds' grain; this one has nanoseconds.
   */
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
  clock_gettime (CLOCK_REALTIME, &times[1]);
  struct stat st;
  if (futimens (self->fd, times) < 0 || fstat (self->fd, &st) < 0)
    return fail_errno (error, "stamp '%s'", self->path);
  *out_ns = stat_mtime_ns (&st);
  return true;
}
