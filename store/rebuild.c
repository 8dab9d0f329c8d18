/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows from what a scan found. Differences are collected and applied in short transactions, each
 * with the user lock held. Since the scan ran without a lock, every item is looked at once more.
 *
 * A mailbox counts as complete (IndexMailbox.directory_ns) only in the last transaction. A rebuild
 * that is killed leaves a mailbox that is served from its files, and rows that the next rebuild
 * finds unchanged.
 */
#include "store/rebuild.h"
#include "store/jobs.h"
#include "store/missing.h"
#include "store/scan.h"
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* How much is collected before it is applied. */
#define ITEMS_MAX 2048u

/* What a writer mends on the way; more is left to reconstruct. */
#define CATCH_UP_MAX 256u

struct Rebuild {
  StoreJob *job;
  uint32_t owner;
  bool defer;
  Handle *handle;       /* the index that was there when the scan began */
  Index *salvaged;      /* see rebuild_recall() */
  GPtrArray *items;     /* of ScanItem, to be applied */
  GHashTable *deferred; /* path of a mailbox -> number of files that wait for the second pass */
};

/* ---- collecting and applying --------------------------------------------------------------- */

Rebuild *
rebuild_new (StoreJob *job, uint32_t owner, bool defer, GError **error)
{
  g_autoptr (Rebuild) self = g_new0 (Rebuild, 1);
  self->job = job;
  self->owner = owner;
  self->defer = defer;
  self->items = g_ptr_array_new_with_free_func ((GDestroyNotify)scan_item_free);
  self->deferred = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  self->handle = cache_index (job->store, owner, true, error);
  return self->handle != NULL ? g_steal_pointer (&self) : NULL;
}

void
rebuild_recall (Rebuild *self, Index *salvaged)
{
  self->salvaged = salvaged;
}

void
rebuild_free (Rebuild *self)
{
  if (self == NULL)
    return;
  g_ptr_array_unref (self->items);
  g_hash_table_unref (self->deferred);
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
  bool known = item->verdict != SCAN_NEW && !item->recalled;
  *out_apply =
      found == known &&
      (!found || (row.modseq == item->row.modseq && row.changed_ns == item->row.changed_ns));
  char path[32];
  scan_item_path (item, path);
  struct stat st;
  bool there = layout_message_stat (item->mailbox->fd, path, &st);
  if (!*out_apply || (!there && item->verdict == SCAN_GONE))
    return true;
  if (!there) {
    item->verdict = SCAN_GONE;
    *out_apply = known;
  } else if (stat_ctime_ns (&st) != stat_ctime_ns (&item->st)) {
    item->verdict = item->verdict != SCAN_NEW ? SCAN_CHANGED : SCAN_NEW;
    scan_read (item);
  }
  return true;
}

/* A mailbox needs a row before its messages: what stands on the directory, and what a broken index
 * still told. A state that makes no sense is mended later. */
static bool
ensure_row (const Rebuild *self, StoreMailbox *mailbox, IndexWrite *write, GError **error)
{
  IndexMailbox row = {0};
  bool found, has_state = false;
  if (!index_write_get_mailbox (write, mailbox->number, &row, &found, error))
    return false;
  if (found)
    return true;
  if (self->salvaged != NULL &&
      !index_mailbox_get (self->salvaged, mailbox->number, &row, &found, error))
    return false;
  g_auto (NodeState) state = {0};
  g_autoptr (GError) failure = NULL;
  if (!node_state_read (mailbox->fd, mailbox->kind, &state, &has_state, &failure) &&
      failure->code != EBADMSG) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  row = (IndexMailbox){.number = mailbox->number,
                       .uidvalidity = has_state ? state.uidvalidity : MAX (row.uidvalidity, 1),
                       .uidnext = MAX (MAX (state.uidnext, row.uidnext), 1),
                       .highestmodseq = MAX (state.modseq, row.highestmodseq)};
  return index_write_mailbox (write, &row, error);
}

/* Looks again at the items from `begin` on that are of one mailbox, and keeps what snapshots need
 * of them before anything is changed. `*end` is the place of the next mailbox's first. */
static bool
prepare_items (const Rebuild *self, const RebuildApply *context, guint begin, guint *end,
               bool *wanted, GError **error)
{
  StoreMailbox *mailbox = ((ScanItem *)self->items->pdata[begin])->mailbox;
  g_auto (Keep) keep = {0};
  guint i = begin;
  if (!keep_begin (&keep, context->epoch, mailbox, error))
    return false;
  for (; i < self->items->len; i++) {
    ScanItem *item = self->items->pdata[i];
    if (item->mailbox != mailbox)
      break;
    if (!look_again (item, context->write, &wanted[i], error))
      return false;
    if (wanted[i])
      rebuild_keep (&keep, item);
  }
  *end = i;
  return keep_end (&keep, error);
}

static bool
apply_item (const Rebuild *self, RebuildApply *context, ScanItem *item, GError **error)
{
  bool found;
  IndexMailbox row = {0};
  return ensure_row (self, item->mailbox, context->write, error) &&
         index_write_get_mailbox (context->write, item->mailbox->number, &row, &found, error) &&
         rebuild_apply (context, item, row.highestmodseq + 1, error);
}

/* Applies all that has been collected, and makes the states last that it put on files. */
static bool
apply_items (Rebuild *self, const Epoch *epoch, IndexWrite *write, GError **error)
{
  g_auto (RebuildApply) context = {.job = self->job, .write = write, .epoch = epoch};
  g_autofree bool *wanted = g_new0 (bool, self->items->len + 1);
  guint prepared = 0;
  for (guint i = 0; i < self->items->len; i++) {
    if (i == prepared && !prepare_items (self, &context, i, &prepared, wanted, error))
      return false;
    if (wanted[i] && !apply_item (self, &context, self->items->pdata[i], error))
      return false;
  }
  return missing_lines_end (&context.missing, error) &&
         (!(context.stated || context.moved) || syncfs (self->job->store->mail_fd) == 0 ||
          fail_errno (error, "sync %s/mail", self->job->store->path));
}

static void
note_items (GPtrArray *items)
{
  for (guint i = 0; i < items->len; i++) {
    const ScanItem *item = items->pdata[i];
    /* A new row changes nothing that is shown: the file was shown before. */
    if (item->verdict != SCAN_NEW || item->expunged)
      change_note (item->mailbox->store, item->mailbox->number, item->uid);
  }
}

/* Begins to change things, with the user locked. Mail that comes from another store may be of
 * epochs that this one has not reached yet. */
static bool
enter (const Rebuild *self, Epoch *out, GError **error)
{
  uint32_t least = 0;
  for (guint i = 0; i < self->items->len; i++) {
    const ScanItem *item = self->items->pdata[i];
    least = MAX (least, MAX (item->state.birth, item->state.expunged));
  }
  return epoch_enter (self->job->store, out, error) && epoch_raise (out, least, error);
}

/* Applies what has been collected. */
static bool
flush (Rebuild *self, GError **error)
{
  if (self->items->len == 0)
    return true;
  auto_fd lock = lock_user (self->job->store, self->owner, error);
  g_auto (Epoch) epoch = EPOCH_NONE;
  if (lock < 0 || !enter (self, &epoch, error))
    return false;
  g_autoptr (IndexWrite) write = begin (self, error);
  if (write == NULL || !apply_items (self, &epoch, write, error) ||
      !index_write_commit (write, error))
    return false;
  note_items (self->items);
  g_ptr_array_set_size (self->items, 0);
  return true;
}

/* A message without a state gets a modseq above all others, so it waits until those are known: for
 * a second pass, when everything else has its row. */
static bool
defer_item (Rebuild *self, ScanItem *item)
{
  if (!self->defer || item->verdict != SCAN_NEW || item->has_state)
    return false;
  const char *path = item->mailbox->path;
  guint count = GPOINTER_TO_UINT (g_hash_table_lookup (self->deferred, path));
  g_hash_table_replace (self->deferred, g_strdup (path), GUINT_TO_POINTER (count + 1));
  scan_item_free (item);
  return true;
}

bool
rebuild_item (ScanItem *item, void *rebuild, GError **error)
{
  Rebuild *self = rebuild;
  if (defer_item (self, item))
    return true;
  g_ptr_array_add (self->items, item);
  return self->items->len < ITEMS_MAX || flush (self, error);
}

/* Says how much is without flags now, and whether there is anything. */
static bool
report_deferred (Rebuild *self)
{
  GHashTableIter iter;
  gpointer path, count;
  g_hash_table_iter_init (&iter, self->deferred);
  while (g_hash_table_iter_next (&iter, &path, &count))
    job_found (self->job, STORE_PROBLEM_BAD_STATE, true, 0, 0, path,
               "%u messages carried no state: they have the flags that a mount told, if it did",
               GPOINTER_TO_UINT (count));
  return g_hash_table_size (self->deferred) > 0;
}

/* ---- finishing ----------------------------------------------------------------------------- */

/* Puts a valid state on the directory where there is none, or one whose next UID is too low. What
 * the scan saw may be old by now, so it only ever raises. */
static bool
mend_state (ScanMailbox *scanned, const Epoch *epoch, IndexMailbox *row, GError **error)
{
  StoreMailbox *mailbox = scanned->mailbox;
  g_auto (NodeState) state = {0};
  bool has_state = false;
  g_autoptr (GError) failure = NULL;
  if (!node_state_read (mailbox->fd, mailbox->kind, &state, &has_state, &failure) &&
      failure->code != EBADMSG) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  row->uidnext = MAX (MAX (row->uidnext, state.uidnext), scanned->highest_uid + 1);
  row->highestmodseq = MAX (row->highestmodseq, state.modseq);
  row->uidvalidity = has_state ? state.uidvalidity : scanned->uidvalidity;
  if (has_state && !state.copied && state.uidnext >= row->uidnext)
    return true;
  if (!keep_directory (epoch, mailbox, error))
    return false;
  if (!has_state) {
    node_state_clear (&state);
    g_auto (StoreNode) node = {0};
    store_node_get (mailbox->store, mailbox->number, &node, NULL);
    state = (NodeState){.uidvalidity = row->uidvalidity,
                        .subscribed = node.subscribed,
                        .special_use = g_steal_pointer (&node.special_use),
                        .full_name = g_steal_pointer (&node.full_name)};
  }
  state.number = mailbox->number;
  state.uidnext = row->uidnext;
  state.modseq = row->highestmodseq;
  if (!node_state_write (mailbox->store, mailbox->fd, mailbox->kind, &state, error))
    return fail_prefix (error, "%s", mailbox->path);
  return fsync (mailbox->fd) == 0 || fail_errno (error, "sync '%s'", mailbox->path);
}

/* A mailbox that has lost its UIDVALIDITY everywhere needs a new one. It is taken before the user
 * lock. */
static bool
ensure_uidvalidity (ScanMailbox *scanned, GError **error)
{
  scanned->uidvalidity = MAX (scanned->row.uidvalidity, scanned->salvaged.uidvalidity);
  if (scanned->has_state || scanned->uidvalidity > 1)
    return true;
  uint32_t unused;
  Store *store = scanned->mailbox->store;
  auto_fd lock = lock_store (store, error);
  return lock >= 0 && store_numbers_take (store, 1, 1, &unused, &scanned->uidvalidity, error);
}

static bool
needs_finish (const ScanMailbox *scanned)
{
  return scanned->differences > 0 || scanned->row.directory_ns != scanned->directory_ns ||
         !scanned->has_state || scanned->state.copied ||
         scanned->state.uidnext <= scanned->highest_uid ||
         scanned->row.uidvalidity != scanned->state.uidvalidity ||
         scanned->row.uidnext < scanned->state.uidnext ||
         scanned->row.highestmodseq < scanned->state.modseq;
}

/* Marks a mailbox as complete as of the scan; `*out_again` is set when its directory has changed
 * since. */
static bool
finish_mailbox (const Rebuild *self, const Epoch *epoch, ScanMailbox *scanned, IndexWrite *write,
                bool *out_again, GError **error)
{
  StoreMailbox *mailbox = scanned->mailbox;
  struct stat st;
  IndexMailbox row = {0};
  bool found;
  if (!ensure_row (self, mailbox, write, error) ||
      !index_write_get_mailbox (write, mailbox->number, &row, &found, error) ||
      !mend_state (scanned, epoch, &row, error) || !missing_settle (mailbox, error))
    return false;
  if (fstat (mailbox->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", mailbox->path);
  row.last_repair_s = g_get_real_time () / G_USEC_PER_SEC;
  row.directory_ns = scanned->directory_ns;
  *out_again = *out_again || stat_mtime_ns (&st) != scanned->directory_ns;
  return index_write_mailbox (write, &row, error);
}

/* Mailboxes that changed while they were scanned: what came is little, and is taken in with the
 * lock held. ESTALE when it was not so little. */
static bool
catch_up_all (Rebuild *self, const Epoch *epoch, GPtrArray *scanned, GError **error)
{
  g_autoptr (IndexWrite) write = begin (self, error);
  bool behind = false;
  for (guint i = 0; write != NULL && i < scanned->len; i++) {
    const ScanMailbox *in = scanned->pdata[i];
    IndexMailbox row = {0};
    bool found;
    if (!mailbox_catch_up (in->mailbox, epoch, write, error) ||
        !index_write_get_mailbox (write, in->mailbox->number, &row, &found, error))
      return false;
    behind = behind || !found || row.directory_ns == 0;
  }
  if (write == NULL || !index_write_commit (write, error))
    return false;
  return !behind || fail (error, ESTALE, "much changed while it was rebuilt");
}

static bool
finish_all (Rebuild *self, const Epoch *epoch, GPtrArray *unfinished, bool *out_again,
            GError **error)
{
  g_autoptr (IndexWrite) write = begin (self, error);
  if (write == NULL || !apply_items (self, epoch, write, error))
    return false;
  for (guint i = 0; i < unfinished->len; i++) {
    if (!finish_mailbox (self, epoch, unfinished->pdata[i], write, out_again, error))
      return false;
  }
  return index_write_commit (write, error);
}

bool
rebuild_finish (Rebuild *self, GPtrArray *scanned, bool *out_deferred, GError **error)
{
  *out_deferred = report_deferred (self);
  if (*out_deferred)
    return flush (self, error);
  g_autoptr (GPtrArray) unfinished = g_ptr_array_new ();
  for (guint i = 0; i < scanned->len; i++) {
    if (!needs_finish (scanned->pdata[i]))
      continue;
    if (!ensure_uidvalidity (scanned->pdata[i], error))
      return false;
    g_ptr_array_add (unfinished, scanned->pdata[i]);
  }
  if (unfinished->len == 0)
    return true;
  bool again = false;
  auto_fd lock = lock_user (self->job->store, self->owner, error);
  g_auto (Epoch) epoch = EPOCH_NONE;
  if (lock < 0 || !enter (self, &epoch, error) ||
      !finish_all (self, &epoch, unfinished, &again, error))
    return false;
  note_items (self->items);
  for (guint i = 0; i < unfinished->len; i++)
    change_note (self->job->store, ((ScanMailbox *)unfinished->pdata[i])->mailbox->number, 0);
  return !again || catch_up_all (self, &epoch, unfinished, error);
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

/* Takes the items in, which are all of one mailbox. */
static bool
catch_up_items (RebuildApply *context, StoreMailbox *mailbox, GPtrArray *items, GError **error)
{
  g_auto (Keep) keep = {0};
  if (items->len > 0 && !keep_begin (&keep, context->epoch, mailbox, error))
    return false;
  for (guint i = 0; i < items->len; i++)
    rebuild_keep (&keep, items->pdata[i]);
  if (!keep_end (&keep, error))
    return false;
  for (guint i = 0; i < items->len; i++) {
    IndexMailbox row = {0};
    bool found;
    if (!index_write_get_mailbox (context->write, mailbox->number, &row, &found, error) ||
        !rebuild_apply (context, items->pdata[i], row.highestmodseq + 1, error))
      return false;
  }
  return missing_lines_end (&context->missing, error) &&
         (!(context->stated || context->moved) || syncfs (mailbox->fd) == 0 ||
          fail_errno (error, "sync '%s'", mailbox->path));
}

bool
mailbox_catch_up (StoreMailbox *self, const Epoch *epoch, IndexWrite *write, GError **error)
{
  IndexMailbox row = {0};
  bool found = false;
  struct stat st;
  if (write != NULL && !index_write_get_mailbox (write, self->number, &row, &found, error))
    return false;
  if (fstat (self->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", self->path);
  if (found && row.directory_ns != 0 && mailbox_is_copied (self)) {
    row.directory_ns = 0;
    return index_write_mailbox (write, &row, error);
  }
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
  g_auto (RebuildApply) context = {.write = write, .epoch = epoch};
  if (!catch_up_items (&context, self, items, error))
    return false;
  if (!index_write_get_mailbox (write, self->number, &row, &found, error))
    return false;
  if (context.moved && directory_ns != 0 && !mailbox_stamp (self, &directory_ns, error))
    return false;
  row.directory_ns = directory_ns;
  return index_write_mailbox (write, &row, error);
}
