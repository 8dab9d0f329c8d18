/* SPDX-License-Identifier: Apache-2.0 */
/* What reading a message file shows: whether its bytes are those that were delivered, and whether
 * the index tells about them what they say. */
#include "store/jobs.h"

#include <string.h>
#include <unistd.h>

/* What a broken index still told about the bytes. The file's state is a second witness: when the
 * two disagree and the bytes are those that the state knows, it is the salvaged digest that is
 * rotten. */
static void
recall_digest (ScanItem *item)
{
  g_auto (IndexSummary) summary = {0};
  bool found = false;
  bool intact = item->state.digest != 0 && digest_matches (item->known, item->summary.sha256);
  if (!intact &&
      index_summary_get (item->salvaged, item->mailbox->number, item->uid, &summary, &found,
                         NULL) &&
      found)
    memcpy (item->known, summary.sha256, sizeof item->known);
}

/* What the row, else the file's state, says about the bytes that were delivered. */
static void
learn_digest (ScanItem *item, const IndexSummary *row)
{
  digest_from_prefix (item->state.digest, item->known);
  if (item->salvaged != NULL && (item->recalled || item->verdict == SCAN_NEW))
    recall_digest (item);
  if (row != NULL && digest_prefix (row->sha256) != 0)
    memcpy (item->known, row->sha256, sizeof row->sha256);
}

/* Holds what was read against what was delivered. */
static uint32_t
compare_digest (const ScanItem *item)
{
  bool known = digest_prefix (item->known) != 0;
  if (known && digest_matches (item->known, item->summary.sha256))
    return 0;
  bool was_readable = !(item->row.damage & INDEX_DAMAGE_UNREADABLE);
  if (item->verdict == SCAN_CHANGED && was_readable && item->row.size != (uint64_t)item->st.st_size)
    return INDEX_DAMAGE_SIZE;
  return known ? INDEX_DAMAGE_DIGEST : 0;
}

/* Looks for zeros where a message should be, as a disk or a crash leaves them. */
static void
find_zeros (ScanItem *item, int fd)
{
  g_autofree uint8_t *buffer = g_malloc (65536);
  uint64_t at = 0, run = 0;
  ssize_t got = 0;
  while ((item->zeros == 0 || run > 0) && (got = pread (fd, buffer, 65536, (off_t)at)) > 0) {
    for (ssize_t i = 0; i < got; i++, at++) {
      run = buffer[i] == 0 ? run + 1 : 0;
      if (run >= SCAN_ZEROS_MIN && run > item->zeros) {
        item->zeros = run;
        item->zeros_at = at + 1 - run;
      }
    }
  }
}

/* Whether the row tells something else about the bytes than they do. */
static bool
is_stale (const ScanItem *item, const IndexSummary *row)
{
  return (item->damage & STORE_DAMAGE_GRAVE) == 0 &&
         (row == NULL || row->sent_s != item->summary.sent_s ||
          strcmp (row->envelope, item->summary.envelope) != 0 ||
          strcmp (row->bodystructure, item->summary.bodystructure) != 0);
}

void
damage_find (ScanItem *item, int fd)
{
  const StoreMailbox *mailbox = item->mailbox;
  g_auto (IndexSummary) row = {0};
  bool has_row = false;
  g_autoptr (Handle) handle = item->verdict == SCAN_CHANGED && !item->recalled
                                  ? cache_index (mailbox->store, mailbox->owner, false, NULL)
                                  : NULL;
  bool asked = handle != NULL &&
               index_summary_get (handle->index, mailbox->number, item->uid, &row, &has_row, NULL);
  learn_digest (item, has_row ? &row : NULL);
  item->damage = item->summary.damage | compare_digest (item);
  item->stale = asked && is_stale (item, has_row ? &row : NULL);
  item->zeros = 0;
  if (item->damage & INDEX_DAMAGE_NUL)
    find_zeros (item, fd);
}

bool
damage_verify (StoreMailbox *mailbox, uint32_t uid, int fd, StoreProblem *out_problem,
               bool *out_known, GError **error)
{
  size_t size;
  if (store_message_verify (mailbox, uid, fd, NULL, 0, &size, out_known, error))
    return true;
  uint64_t delivered;
  uint8_t known[32];
  bool found = false;
  struct stat st;
  g_autoptr (Handle) handle = cache_index (mailbox->store, mailbox->owner, false, NULL);
  bool sized =
      handle != NULL && fstat (fd, &st) == 0 &&
      index_digest_get (handle->index, mailbox->number, uid, &delivered, known, &found, NULL) &&
      found && digest_is_whole (known) && delivered != (uint64_t)st.st_size;
  *out_problem = !sized                             ? STORE_PROBLEM_DIGEST
                 : (uint64_t)st.st_size < delivered ? STORE_PROBLEM_TRUNCATED
                                                    : STORE_PROBLEM_SIZE;
  return false;
}
