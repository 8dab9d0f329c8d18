/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows from what a scan found. Differences are collected and applied in short transactions, each
 * with the user lock held. Since the scan ran without a lock, every item is looked at once more.
 *
 * A mailbox counts as complete (IndexMailbox.directory_ns) only in the last transaction. A rebuild
 * that is killed leaves a mailbox that is served from its files, and rows that the next rebuild
 * finds unchanged.
 */
#include "store/internal.h"

#include <string.h>
#include <unistd.h>

/* How much is collected before it is applied. */
#define ITEMS_MAX 2048u

/* What a writer mends on the way; more is left to reconstruct. */
#define CATCH_UP_MAX 256u

struct Rebuild {
  StoreJob *job;
  uint32_t owner, epoch;
  Handle *handle;       /* the index that was there when the scan began */
  GPtrArray *items;     /* of ScanItem, to be applied */
  GPtrArray *stateless; /* files that need a new modseq: applied last, when the highest is known */
};

/* ---- one row ------------------------------------------------------------------------------- */

IndexMessage
rebuild_row (const ScanItem *item, uint32_t epoch, bool *out_write_state)
{
  bool known = item->verdict == SCAN_CHANGED;
  bool state_wins = item->has_state && (!known || item->state.modseq >= item->row.modseq);
  IndexMessage row = {.uid = item->uid,
                      .damage = item->damage,
                      .size = known ? item->row.size : (uint64_t)item->st.st_size,
                      .internal_s = known ? item->row.internal_s : item->st.st_mtim.tv_sec,
                      .changed_ns = stat_ctime_ns (&item->st)};
  if (state_wins) {
    row.modseq = item->state.modseq;
    row.birth = item->state.birth;
    row.flags = item->state.flags;
    row.keywords = g_strdup (item->state.keywords);
    row.expunged = item->state.expunged;
  } else if (known) {
    row.modseq = item->row.modseq;
    row.birth = item->row.birth;
    row.flags = item->row.flags;
    row.keywords = g_strdup (item->row.keywords);
    row.expunged = item->row.expunged;
  } else {
    row.birth = epoch;
  }
  /* Where the file lies decides whether it is expunged. */
  bool moved = (row.expunged != 0) != item->expunged;
  if (moved)
    row.expunged = item->expunged ? epoch : 0;
  /* A file that cannot be read cannot be given a state either. */
  *out_write_state = (!state_wins || moved) && !(item->damage & INDEX_DAMAGE_UNREADABLE);
  return row;
}

/* Puts the row's state on the file, which did not carry it. */
static bool
write_state (const ScanItem *item, IndexMessage *row, GError **error)
{
  StoreMailbox *mailbox = item->mailbox;
  char path[32];
  scan_item_path (item, path);
  auto_fd fd = layout_open_message (mailbox->fd, path);
  struct stat st;
  MessageState state = {.modseq = row->modseq,
                        .birth = row->birth,
                        .expunged = row->expunged,
                        .flags = row->flags,
                        .keywords = row->keywords};
  if (fd < 0)
    return fail_errno (error, "open '%s/%s'", mailbox->path, path);
  if (!message_state_write (mailbox->store, mailbox->fd, fd, item->uid, &state, error))
    return fail_prefix (error, "'%s/%s'", mailbox->path, path);
  if (fsync (fd) < 0 || fstat (fd, &st) < 0)
    return fail_errno (error, "sync '%s/%s'", mailbox->path, path);
  row->changed_ns = stat_ctime_ns (&st);
  return true;
}

static IndexSummary
summary_row (const ScanItem *item)
{
  IndexSummary summary = {.sent_s = item->summary.sent_s,
                          .envelope = item->summary.envelope,
                          .bodystructure = item->summary.bodystructure};
  memcpy (summary.sha256, item->summary.sha256, sizeof summary.sha256);
  return summary;
}

/* Writes one item. `modseq` is what a message without a state gets. */
static bool
apply (const ScanItem *item, IndexWrite *write, uint32_t epoch, uint64_t modseq, GError **error)
{
  uint32_t mailbox = item->mailbox->number;
  if (item->verdict == SCAN_GONE)
    return index_write_remove_message (write, mailbox, item->uid, error);
  bool state_missing;
  g_auto (IndexMessage) row = rebuild_row (item, epoch, &state_missing);
  if (state_missing && row.modseq == 0)
    row.modseq = modseq;
  if (state_missing && !write_state (item, &row, error))
    return false;
  /* Bytes that are not those that were delivered do not change what is known of those that were. */
  bool damaged = item->verdict == SCAN_CHANGED && (item->damage & STORE_DAMAGE_GRAVE) != 0;
  IndexSummary summary = summary_row (item);
  bool keep = damaged || !item->has_summary;
  if (keep && item->verdict == SCAN_NEW)
    return true; /* Unreadable and unknown: there is nothing to put into a row. */
  return index_write_message (write, mailbox, &row, keep ? NULL : &summary, error);
}

/* ---- collecting and applying --------------------------------------------------------------- */

Rebuild *
rebuild_new (StoreJob *job, uint32_t owner, GError **error)
{
  g_autoptr (Rebuild) self = g_new0 (Rebuild, 1);
  self->job = job;
  self->owner = owner;
  self->epoch = store_epoch (job->store);
  self->items = g_ptr_array_new_with_free_func ((GDestroyNotify)scan_item_free);
  self->stateless = g_ptr_array_new_with_free_func ((GDestroyNotify)scan_item_free);
  self->handle = cache_index (job->store, owner, true, error);
  return self->handle != NULL ? g_steal_pointer (&self) : NULL;
}

void
rebuild_free (Rebuild *self)
{
  if (self == NULL)
    return;
  g_ptr_array_unref (self->items);
  g_ptr_array_unref (self->stateless);
  handle_unref (self->handle);
  g_free (self);
}

/* Begins a transaction, with the user lock held. ESTALE when the index is not the one that was
 * scanned: a mailbox must not be called complete in an index that was made in between. */
static IndexWrite *
begin (Rebuild *self, GError **error)
{
  g_autoptr (Handle) now = cache_index (self->job->store, self->owner, true, error);
  if (now != NULL && now != self->handle) {
    fail (error, ESTALE, "%s was replaced while it was rebuilt", self->handle->path);
    return NULL;
  }
  return now != NULL ? index_write_begin (self->handle->index, error) : NULL;
}

/* Looks once more, now that nobody can change anything. Where the row changed since the scan,
 * somebody was faster and knows better: `*out_apply` is false. Where only the file did, it is read
 * again. */
static bool
look_again (ScanItem *item, IndexWrite *write, bool *out_apply, GError **error)
{
  g_auto (IndexMessage) row = {0};
  bool found;
  if (!index_write_get_message (write, item->mailbox->number, item->uid, &row, &found, error))
    return false;
  bool known = item->verdict != SCAN_NEW;
  *out_apply =
      found == known &&
      (!found || (row.modseq == item->row.modseq && row.changed_ns == item->row.changed_ns));
  char path[32];
  scan_item_path (item, path);
  struct stat st;
  bool there = fstatat (item->mailbox->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (!*out_apply || (!there && item->verdict == SCAN_GONE))
    return true;
  if (!there) {
    item->verdict = SCAN_GONE;
    *out_apply = known;
  } else if (stat_ctime_ns (&st) != stat_ctime_ns (&item->st)) {
    item->verdict = known ? SCAN_CHANGED : SCAN_NEW;
    scan_read (item);
  }
  return true;
}

/* A mailbox needs a row before its messages. */
static bool
ensure_row (StoreMailbox *mailbox, IndexWrite *write, GError **error)
{
  IndexMailbox row = {0};
  bool found, has_state;
  if (!index_write_get_mailbox (write, mailbox->number, &row, &found, error))
    return false;
  if (found)
    return true;
  g_auto (NodeState) state = {0};
  if (!node_state_read (mailbox->fd, mailbox->kind, &state, &has_state, error))
    return false;
  row = (IndexMailbox){.number = mailbox->number,
                       .uidvalidity = MAX (state.uidvalidity, 1),
                       .uidnext = MAX (state.uidnext, 1),
                       .highestmodseq = state.modseq};
  return index_write_mailbox (write, &row, error);
}

static bool
apply_items (Rebuild *self, GPtrArray *items, IndexWrite *write, bool give_modseq, GError **error)
{
  for (guint i = 0; i < items->len; i++) {
    ScanItem *item = items->pdata[i];
    bool wanted;
    if (!look_again (item, write, &wanted, error))
      return false;
    IndexMailbox row = {0};
    bool found = false;
    if (!wanted)
      continue;
    if (!ensure_row (item->mailbox, write, error) ||
        (give_modseq &&
         !index_write_get_mailbox (write, item->mailbox->number, &row, &found, error)) ||
        !apply (item, write, self->epoch, row.highestmodseq + 1, error))
      return false;
  }
  return true;
}

static void
note_items (GPtrArray *items)
{
  for (guint i = 0; i < items->len; i++) {
    const ScanItem *item = items->pdata[i];
    /* A new row changes nothing that is shown: the file was shown before. */
    if (item->verdict != SCAN_NEW)
      change_note (item->mailbox->store, item->mailbox->number, item->uid);
  }
}

/* Applies what has been collected. */
static bool
flush (Rebuild *self, GError **error)
{
  if (self->items->len == 0)
    return true;
  auto_fd lock = lock_user (self->job->store, self->owner, error);
  if (lock < 0)
    return false;
  g_autoptr (IndexWrite) write = begin (self, error);
  if (write == NULL || !apply_items (self, self->items, write, false, error) ||
      !index_write_commit (write, error))
    return false;
  note_items (self->items);
  g_ptr_array_set_size (self->items, 0);
  return true;
}

bool
rebuild_item (ScanItem *item, void *rebuild, GError **error)
{
  Rebuild *self = rebuild;
  bool needs_modseq = item->verdict == SCAN_NEW && !item->has_state;
  g_ptr_array_add (needs_modseq ? self->stateless : self->items, item);
  return self->items->len < ITEMS_MAX || flush (self, error);
}

/* ---- finishing ----------------------------------------------------------------------------- */

/* Puts a valid state on the directory where there is none, or one whose next UID is too low. */
static bool
mend_state (Rebuild *self, ScanMailbox *scanned, GError **error)
{
  StoreMailbox *mailbox = scanned->mailbox;
  bool low = scanned->has_state && scanned->state.uidnext <= scanned->highest_uid;
  if (scanned->has_state && !low)
    return true;
  NodeState *state = &scanned->state;
  state->number = mailbox->number;
  state->uidnext = MAX (MAX (state->uidnext, scanned->row.uidnext), scanned->highest_uid + 1);
  state->modseq = MAX (state->modseq, scanned->row.highestmodseq);
  state->uidvalidity = scanned->has_state ? state->uidvalidity : scanned->row.uidvalidity;
  if (state->uidvalidity == 0) {
    uint32_t unused;
    auto_fd lock = lock_store (mailbox->store, error);
    if (lock < 0 || !store_numbers_take (mailbox->store, 1, 1, &unused, &state->uidvalidity, error))
      return false;
  }
  if (!node_state_write (mailbox->store, mailbox->fd, mailbox->kind, state, error))
    return fail_prefix (error, "%s", mailbox->path);
  if (fsync (mailbox->fd) < 0)
    return fail_errno (error, "sync '%s'", mailbox->path);
  scanned->has_state = true;
  return true;
}

static bool
needs_finish (const ScanMailbox *scanned)
{
  return scanned->differences > 0 || scanned->row.directory_ns != scanned->directory_ns ||
         !scanned->has_state || scanned->state.uidnext <= scanned->highest_uid ||
         scanned->row.uidvalidity != scanned->state.uidvalidity ||
         scanned->row.uidnext < scanned->state.uidnext ||
         scanned->row.highestmodseq < scanned->state.modseq;
}

/* Marks a mailbox as complete as of the scan; `*out_again` is set when its directory has changed
 * since. */
static bool
finish_mailbox (Rebuild *self, ScanMailbox *scanned, IndexWrite *write, bool *out_again,
                GError **error)
{
  StoreMailbox *mailbox = scanned->mailbox;
  struct stat st;
  IndexMailbox row = {0};
  bool found;
  if (!mend_state (self, scanned, error) || !ensure_row (mailbox, write, error) ||
      !index_write_get_mailbox (write, mailbox->number, &row, &found, error))
    return false;
  if (fstat (mailbox->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", mailbox->path);
  row.uidvalidity = scanned->state.uidvalidity;
  row.uidnext = MAX (row.uidnext, scanned->state.uidnext);
  row.highestmodseq = MAX (row.highestmodseq, scanned->state.modseq);
  row.last_repair_s = g_get_real_time () / G_USEC_PER_SEC;
  row.directory_ns = scanned->directory_ns;
  *out_again = *out_again || stat_mtime_ns (&st) != scanned->directory_ns;
  return index_write_mailbox (write, &row, error);
}

/* Mailboxes that changed while they were scanned: what came is little, and is taken in with the
 * lock held. */
static bool
catch_up_all (Rebuild *self, GPtrArray *scanned, GError **error)
{
  g_autoptr (IndexWrite) write = begin (self, error);
  for (guint i = 0; write != NULL && i < scanned->len; i++) {
    const ScanMailbox *in = scanned->pdata[i];
    if (!mailbox_catch_up (in->mailbox, write, error))
      return false;
  }
  return write != NULL && index_write_commit (write, error);
}

bool
rebuild_finish (Rebuild *self, GPtrArray *scanned, GError **error)
{
  g_autoptr (GPtrArray) unfinished = g_ptr_array_new ();
  for (guint i = 0; i < scanned->len; i++) {
    if (needs_finish (scanned->pdata[i]))
      g_ptr_array_add (unfinished, scanned->pdata[i]);
  }
  if (unfinished->len == 0)
    return true;
  auto_fd lock = lock_user (self->job->store, self->owner, error);
  g_autoptr (IndexWrite) write = lock >= 0 ? begin (self, error) : NULL;
  bool again = false;
  if (write == NULL || !apply_items (self, self->items, write, false, error) ||
      !apply_items (self, self->stateless, write, true, error))
    return false;
  for (guint i = 0; i < unfinished->len; i++) {
    if (!finish_mailbox (self, unfinished->pdata[i], write, &again, error))
      return false;
  }
  if (!index_write_commit (write, error))
    return false;
  g_clear_pointer (&write, index_write_free);
  note_items (self->items);
  note_items (self->stateless);
  for (guint i = 0; i < unfinished->len; i++)
    change_note (self->job->store, ((ScanMailbox *)unfinished->pdata[i])->mailbox->number, 0);
  return !again || catch_up_all (self, unfinished, error);
}

/* ---- catching up --------------------------------------------------------------------------- */

static bool
collect (ScanItem *item, void *data, GError **error)
{
  GPtrArray *items = data;
  g_ptr_array_add (items, item);
  return items->len <= CATCH_UP_MAX || fail (error, E2BIG, "more than a few differences");
}

static bool
collect_differences (StoreMailbox *mailbox, GPtrArray *items, int64_t *out_directory_ns,
                     GError **error)
{
  g_autoptr (Scan) scan = scan_new (NULL, SCAN_NAMES, collect, items);
  g_autoptr (ScanMailbox) scanned = scan_mailbox (scan, mailbox, error);
  if (scanned == NULL || !scan_drain (scan, error))
    return false;
  *out_directory_ns = scanned->directory_ns;
  return true;
}

bool
mailbox_catch_up (StoreMailbox *self, IndexWrite *write, GError **error)
{
  IndexMailbox row = {0};
  bool found = false;
  struct stat st;
  if (write != NULL && !index_write_get_mailbox (write, self->number, &row, &found, error))
    return false;
  if (fstat (self->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", self->path);
  if (!found || row.directory_ns == 0 || row.directory_ns == stat_mtime_ns (&st))
    return true;
  g_autoptr (GPtrArray) items = g_ptr_array_new_with_free_func ((GDestroyNotify)scan_item_free);
  g_autoptr (GError) failure = NULL;
  int64_t directory_ns = 0;
  if (!collect_differences (self, items, &directory_ns, &failure)) {
    if (failure->code != E2BIG) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
    /* Too much to do under a lock: the mailbox counts as incomplete, and nobody tries again. */
    g_ptr_array_set_size (items, 0);
    directory_ns = 0;
  }
  uint32_t epoch = store_epoch (self->store);
  for (guint i = 0; i < items->len; i++) {
    if (!index_write_get_mailbox (write, self->number, &row, &found, error) ||
        !apply (items->pdata[i], write, epoch, row.highestmodseq + 1, error))
      return false;
  }
  if (!index_write_get_mailbox (write, self->number, &row, &found, error))
    return false;
  row.directory_ns = directory_ns;
  return index_write_mailbox (write, &row, error);
}
