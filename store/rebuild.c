/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows from what a scan found. Differences are collected and applied in short transactions, each
 * with the user lock held. Since the scan ran without a lock, every item is looked at once more.
 *
 * A mailbox counts as complete (IndexMailbox.directory_ns) only in the last transaction. A rebuild
 * that is killed leaves a mailbox that is served from its files, and rows that the next rebuild
 * finds unchanged.
 */
#include "store/jobs.h"

#include <string.h>
#include <unistd.h>

/* How much is collected before it is applied. */
#define ITEMS_MAX 2048u

/* What a writer mends on the way; more is left to reconstruct. */
#define CATCH_UP_MAX 256u

struct Rebuild {
  StoreJob *job;
  uint32_t owner, epoch;
  bool defer;
  Handle *handle;       /* the index that was there when the scan began */
  Index *salvaged;      /* see rebuild_recall() */
  GPtrArray *items;     /* of ScanItem, to be applied */
  GHashTable *deferred; /* path of a mailbox -> number of files that wait for the second pass */
};

/* One transaction's worth. */
typedef struct {
  StoreJob *job; /* NULL: nobody to tell */
  IndexWrite *write;
  uint32_t epoch;
  bool stated; /* a state was put on a file; it must be synced before the commit */
  bool moved;  /* a file was put among the expunged, likewise */
} Apply;

/* ---- one row ------------------------------------------------------------------------------- */

IndexMessage
rebuild_row (const ScanItem *item, uint32_t epoch, bool *out_write_state)
{
  bool known = item->verdict == SCAN_CHANGED, returns = scan_item_returns (item);
  bool keeps_size = known && (item->damage & STORE_DAMAGE_GRAVE) != 0;
  bool state_wins = item->has_state && (!known || item->state.modseq >= item->row.modseq);
  IndexMessage row = {.uid = item->uid,
                      .damage = item->damage,
                      .size = keeps_size ? item->row.size : (uint64_t)item->st.st_size,
                      .internal_s =
                          scan_takes_date (item) ? item->st.st_mtim.tv_sec : item->row.internal_s,
                      .changed_ns = stat_ctime_ns (&item->st)};
  if (state_wins) {
    row.modseq = item->state.modseq;
    row.birth = item->state.birth;
    row.flags = item->state.flags;
    row.keywords = g_strdup (item->state.keywords);
    row.expunged = item->state.expunged;
  } else if (known && !returns) {
    row.modseq = item->row.modseq;
    row.birth = item->row.birth;
    row.flags = item->row.flags;
    row.keywords = g_strdup (item->row.keywords);
    row.expunged = item->row.expunged;
  } else {
    row.birth = epoch;
    row.flags = item->state.flags;
    row.keywords = g_strdup (item->state.keywords);
  }
  /* Where the file lies decides whether it is expunged. */
  bool moved = (row.expunged != 0) != item->expunged;
  if (moved)
    row.expunged = item->expunged ? epoch : 0;
  if (!returns)
    row.modseq = MAX (row.modseq, item->removed);
  /* A file that cannot be read cannot be given a state either; and which of two is the newer must
   * not be blurred. */
  *out_write_state = (!state_wins || moved) && (!item->doubled || returns) &&
                     !(item->damage & INDEX_DAMAGE_UNREADABLE);
  return row;
}

static uint64_t
state_digest (const ScanItem *item)
{
  if (item->state.digest != 0)
    return item->state.digest;
  uint64_t known = digest_prefix (item->known);
  return known != 0 || !item->has_summary ? known : digest_prefix (item->summary.sha256);
}

/* Puts the row's state on the file, which did not carry it, and its date: what lost the one may
 * have lost the other. */
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
                        .digest = state_digest (item),
                        .flags = row->flags,
                        .keywords = row->keywords,
                        .copied = item->state.copied};
  if (fd < 0)
    return fail_errno (error, "open '%s/%s'", mailbox->path, path);
  if (!message_state_write (mailbox->store, mailbox->fd, fd, item->uid, &state, error))
    return fail_prefix (error, "'%s/%s'", mailbox->path, path);
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = row->internal_s}};
  if ((row->internal_s != item->st.st_mtim.tv_sec && futimens (fd, times) < 0) ||
      fstat (fd, &st) < 0)
    return fail_errno (error, "stat '%s/%s'", mailbox->path, path);
  row->changed_ns = stat_ctime_ns (&st);
  return true;
}

/* A file that is not ours to mark must not keep the rest from being indexed. */
static bool
state_file (Apply *self, const ScanItem *item, IndexMessage *row, GError **error)
{
  g_autoptr (GError) failure = NULL;
  self->stated = true;
  if (write_state (item, row, &failure))
    return true;
  int code = error_code (failure);
  if (code != EACCES && code != EPERM && code != EROFS && code != E2BIG) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  if (self->job != NULL)
    job_found (self->job, STORE_PROBLEM_BAD_STATE, false, item->mailbox->number, item->uid,
               item->mailbox->path, "%s", failure->message);
  return true;
}

/* What there is to say about the bytes; of a message that cannot be read, nothing. Of one whose
 * bytes are not those that were delivered the digest stays what is known of those. */
static IndexSummary
summary_row (const ScanItem *item)
{
  static char nothing[] = "";
  IndexSummary summary = {.sent_s = INT64_MIN, .envelope = nothing, .bodystructure = nothing};
  const uint8_t *sha256 = item->known;
  if (item->has_summary) {
    summary.sent_s = item->summary.sent_s;
    summary.envelope = item->summary.envelope;
    summary.bodystructure = item->summary.bodystructure;
    if (!(item->damage & (INDEX_DAMAGE_DIGEST | INDEX_DAMAGE_SIZE)))
      sha256 = item->summary.sha256;
  }
  memcpy (summary.sha256, sha256, sizeof summary.sha256);
  return summary;
}

/* Puts a file that came back among the expunged. */
static bool
put_back (Apply *self, ScanItem *item, GError **error)
{
  StoreMailbox *mailbox = item->mailbox;
  char name[STORE_NAME_SIZE];
  store_message_name (item->uid, name);
  auto_fd place = expunge_place (mailbox, error);
  if (place < 0)
    return false;
  if (layout_move (mailbox->fd, name, place, name) < 0 ||
      fstatat (place, name, &item->st, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_errno (error, "put '%s/%s' back to the expunged", mailbox->path, name);
  item->expunged = true;
  self->moved = true;
  /* Who put it there looks for it; a job tells of it by itself. */
  if (self->job == NULL)
    store_tell (mailbox->store,
                "'%s/%s' is an older file of a message that was expunged, and is among the "
                "expunged now: undelete brings it back",
                mailbox->path, name);
  return true;
}

/* Writes one item. `modseq` is what a message without a state gets. */
static bool
apply (Apply *self, ScanItem *item, uint64_t modseq, GError **error)
{
  uint32_t mailbox = item->mailbox->number;
  /* The file of an expunged message was removed, as a cleanup does. */
  if (item->verdict == SCAN_GONE)
    return index_write_remove_message (self->write, mailbox, item->uid, item->row.expunged != 0,
                                       error);
  if (scan_item_is_back (item) && !put_back (self, item, error))
    return false;
  bool state_missing;
  g_auto (IndexMessage) row = rebuild_row (item, self->epoch, &state_missing);
  if (row.modseq == 0)
    row.modseq = modseq;
  if (state_missing && !state_file (self, item, &row, error))
    return false;
  bool keep =
      item->verdict == SCAN_CHANGED && !item->recalled && (item->damage & STORE_DAMAGE_GRAVE) != 0;
  IndexSummary summary = summary_row (item);
  return index_write_message (self->write, mailbox, &row, keep ? NULL : &summary, error);
}

/* ---- collecting and applying --------------------------------------------------------------- */

Rebuild *
rebuild_new (StoreJob *job, uint32_t owner, bool defer, GError **error)
{
  g_autoptr (Rebuild) self = g_new0 (Rebuild, 1);
  self->job = job;
  self->owner = owner;
  self->defer = defer;
  self->epoch = store_epoch (job->store);
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
  bool there = fstatat (item->mailbox->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
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

/* Applies all that has been collected, and makes the states last that it put on files. */
static bool
apply_items (Rebuild *self, IndexWrite *write, GError **error)
{
  Apply context = {.job = self->job, .write = write, .epoch = self->epoch};
  for (guint i = 0; i < self->items->len; i++) {
    ScanItem *item = self->items->pdata[i];
    bool wanted, found;
    IndexMailbox row = {0};
    if (!look_again (item, write, &wanted, error))
      return false;
    if (!wanted)
      continue;
    if (!ensure_row (self, item->mailbox, write, error) ||
        !index_write_get_mailbox (write, item->mailbox->number, &row, &found, error) ||
        !apply (&context, item, row.highestmodseq + 1, error))
      return false;
  }
  return !(context.stated || context.moved) || syncfs (self->job->store->mail_fd) == 0 ||
         fail_errno (error, "sync %s/mail", self->job->store->path);
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
  if (write == NULL || !apply_items (self, write, error) || !index_write_commit (write, error))
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
mend_state (ScanMailbox *scanned, IndexMailbox *row, GError **error)
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
finish_mailbox (const Rebuild *self, ScanMailbox *scanned, IndexWrite *write, bool *out_again,
                GError **error)
{
  StoreMailbox *mailbox = scanned->mailbox;
  struct stat st;
  IndexMailbox row = {0};
  bool found;
  if (!ensure_row (self, mailbox, write, error) ||
      !index_write_get_mailbox (write, mailbox->number, &row, &found, error) ||
      !mend_state (scanned, &row, error))
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
catch_up_all (Rebuild *self, GPtrArray *scanned, GError **error)
{
  g_autoptr (IndexWrite) write = begin (self, error);
  bool behind = false;
  for (guint i = 0; write != NULL && i < scanned->len; i++) {
    const ScanMailbox *in = scanned->pdata[i];
    IndexMailbox row = {0};
    bool found;
    if (!mailbox_catch_up (in->mailbox, write, error) ||
        !index_write_get_mailbox (write, in->mailbox->number, &row, &found, error))
      return false;
    behind = behind || !found || row.directory_ns == 0;
  }
  if (write == NULL || !index_write_commit (write, error))
    return false;
  return !behind || fail (error, ESTALE, "much changed while it was rebuilt");
}

static bool
finish_all (Rebuild *self, GPtrArray *unfinished, bool *out_again, GError **error)
{
  g_autoptr (IndexWrite) write = begin (self, error);
  if (write == NULL || !apply_items (self, write, error))
    return false;
  for (guint i = 0; i < unfinished->len; i++) {
    if (!finish_mailbox (self, unfinished->pdata[i], write, out_again, error))
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
  if (lock < 0 || !finish_all (self, unfinished, &again, error))
    return false;
  note_items (self->items);
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

/* Whether a copy was put over the mailbox, and took the states from its files: what only rows tell
 * is to go back on them, so all have to be looked at. */
static bool
is_copied (const StoreMailbox *mailbox)
{
  g_auto (NodeState) state = {0};
  bool found = false;
  return node_state_read (mailbox->fd, mailbox->kind, &state, &found, NULL) && found &&
         state.copied;
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
  if (found && row.directory_ns != 0 && is_copied (self)) {
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
  Apply context = {.write = write, .epoch = store_epoch (self->store)};
  for (guint i = 0; i < items->len; i++) {
    if (!index_write_get_mailbox (write, self->number, &row, &found, error) ||
        !apply (&context, items->pdata[i], row.highestmodseq + 1, error))
      return false;
  }
  if ((context.stated || context.moved) && syncfs (self->fd) < 0)
    return fail_errno (error, "sync '%s'", self->path);
  if (!index_write_get_mailbox (write, self->number, &row, &found, error))
    return false;
  if (context.moved && directory_ns != 0 && !mailbox_stamp (self, &directory_ns, error))
    return false;
  row.directory_ns = directory_ns;
  return index_write_mailbox (write, &row, error);
}
