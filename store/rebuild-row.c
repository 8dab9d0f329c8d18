/* SPDX-License-Identifier: Apache-2.0 */
/* What a rebuild makes of one difference between files and rows. */
#include "store/jobs.h"
#include "store/missing.h"
#include "store/rebuild.h"
#include "store/scan.h"
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* Epochs that never come would keep a message out of every snapshot, or in every one. */
static bool
mend_epochs (const Epoch *epoch, IndexMessage *row)
{
  bool unborn = epoch_is_beyond (epoch, row->birth);
  bool undying = epoch_is_beyond (epoch, row->expunged);
  if (unborn)
    row->birth = epoch->epoch;
  if (undying)
    row->expunged = epoch->epoch;
  return unborn || undying;
}

/* The row that an item leads to, and whether its file does not carry the row's state; a modseq of 0
 * is one that it must be given. */
static IndexMessage
make_row (const ScanItem *item, const Epoch *epoch, bool *out_write_state)
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
    row.birth = epoch_of_time (epoch, stat_ctime_ns (&item->st));
    row.flags = item->state.flags;
    row.keywords = g_strdup (item->state.keywords);
  }
  /* Where the file lies decides whether it is expunged. */
  bool moved = (row.expunged != 0) != item->expunged;
  if (moved)
    row.expunged = item->expunged ? epoch->epoch : 0;
  bool mended = mend_epochs (epoch, &row);
  if (!returns)
    row.modseq = MAX (row.modseq, item->removed);
  /* A file that cannot be read cannot be given a state either; and which of two is the newer must
   * not be blurred. */
  *out_write_state = (!state_wins || moved || mended) && (!item->doubled || returns) &&
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
state_file (RebuildApply *self, const ScanItem *item, IndexMessage *row, GError **error)
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
put_back (RebuildApply *self, ScanItem *item, GError **error)
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

/* Whether the message was shown as its row has it: a row is believed that tells where the file is,
 * though a crash may have left it behind the file. */
static bool
is_shown_by_row (const ScanItem *item)
{
  return item->verdict == SCAN_CHANGED && !item->recalled &&
         (item->row.expunged != 0) == item->expunged;
}

void
rebuild_keep (Keep *keep, const ScanItem *item)
{
  bool changes, known = item->verdict == SCAN_CHANGED, by_row = is_shown_by_row (item);
  if (item->verdict == SCAN_GONE || !keep_wants (keep, item->uid))
    return;
  g_auto (IndexMessage) row = make_row (item, keep->epoch, &changes);
  if (!changes && !scan_item_is_back (item) && !(by_row && row.modseq != item->row.modseq))
    return;
  bool row_counts =
      by_row || (known && (!item->has_state || item->row.modseq > item->state.modseq));
  const MessageState of_row = {.modseq = item->row.modseq,
                               .birth = item->row.birth,
                               .expunged = item->row.expunged,
                               .digest = state_digest (item),
                               .flags = item->row.flags,
                               .keywords = item->row.keywords};
  keep_message (keep, item->uid, by_row ? item->row.changed_ns : stat_ctime_ns (&item->st),
                row_counts        ? &of_row
                : item->has_state ? &item->state
                                  : NULL,
                item->expunged);
}

void
rebuild_apply_clear (RebuildApply *self)
{
  missing_lines_clear (&self->missing);
}

/* What the row says of a message whose file is gone, it says nowhere else. */
static bool
note_missing (RebuildApply *self, const ScanItem *item, GError **error)
{
  const StoreMailbox *mailbox = item->mailbox;
  g_auto (IndexSummary) summary = {0};
  bool found = false;
  g_autoptr (Handle) handle =
      item->recalled ? NULL : cache_index (mailbox->store, mailbox->owner, false, NULL);
  Index *index = item->recalled ? item->salvaged : handle != NULL ? handle->index : NULL;
  if (index != NULL &&
      !index_summary_get (index, mailbox->number, item->uid, &summary, &found, NULL))
    found = false;
  self->missing.store = mailbox->store;
  return missing_lines_add (&self->missing, mailbox->number, &item->row, found ? &summary : NULL,
                            error);
}

bool
rebuild_apply (RebuildApply *self, ScanItem *item, uint64_t modseq, GError **error)
{
  uint32_t mailbox = item->mailbox->number;
  /* The file of an expunged message was removed, as a cleanup does. */
  if (item->verdict == SCAN_GONE)
    return (item->row.expunged != 0 || note_missing (self, item, error)) &&
           index_write_remove_message (self->write, mailbox, item->uid, item->row.expunged != 0,
                                       error);
  if (scan_item_is_back (item) && !put_back (self, item, error))
    return false;
  bool state_missing;
  g_auto (IndexMessage) row = make_row (item, self->epoch, &state_missing);
  if (row.modseq == 0)
    row.modseq = modseq;
  if (state_missing && !state_file (self, item, &row, error))
    return false;
  bool keep =
      item->verdict == SCAN_CHANGED && !item->recalled && (item->damage & STORE_DAMAGE_GRAVE) != 0;
  IndexSummary summary = summary_row (item);
  return index_write_message (self->write, mailbox, &row, keep ? NULL : &summary, error);
}
