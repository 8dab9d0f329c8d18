/* SPDX-License-Identifier: Apache-2.0 */
/* What reading a message file shows: whether its bytes are those that were delivered, and whether
 * the index tells about them what they say. */
#include "store/scan.h"

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

/* Whether the row tells something else about the bytes than they do. */
static bool
is_stale (const ScanItem *item, const IndexSummary *row)
{
  return (item->damage & STORE_DAMAGE_GRAVE) == 0 &&
         (row == NULL || row->sent_s != item->summary.sent_s ||
          strcmp (row->envelope, item->summary.envelope) != 0 ||
          strcmp (row->bodystructure, item->summary.bodystructure) != 0);
}

static GArray *
new_ranges (void)
{
  return g_array_new (FALSE, FALSE, sizeof (StoreDamageRange));
}

/* A message of no bytes can be damaged, too. */
static void
add_whole (GArray *ranges, StoreProblem kind, uint64_t size)
{
  StoreDamageRange whole = {0, size, kind};
  g_array_append_val (ranges, whole);
}

static gint
compare_ranges (gconstpointer a, gconstpointer b)
{
  const StoreDamageRange *first = a, *second = b;
  return first->offset < second->offset ? -1 : first->offset > second->offset;
}

/* Which bytes are damaged, and which are odd. Zeros that were delivered are none of the disk's;
 * that is so when the digest says so. What nobody has a digest of may not be a message at all. */
static void
locate (ScanItem *item, int fd)
{
  uint64_t size = (uint64_t)item->st.st_size;
  bool is_grave = (item->damage & STORE_DAMAGE_GRAVE) != 0;
  bool is_sure = !is_grave && digest_prefix (item->known) != 0;
  StoreDamageRange nul = {0}, header = {0};
  if (is_sure && (item->damage & INDEX_DAMAGE_NUL) == 0)
    return;
  item->ranges =
      is_grave || (item->damage & INDEX_DAMAGE_NUL) != 0
          ? damage_ranges (fd, size, item->damage & INDEX_DAMAGE_SIZE ? item->row.size : size, &nul)
          : new_ranges ();
  if (is_sure)
    g_array_set_size (item->ranges, 0);
  else
    header = damage_header (fd);
  if (is_grave && item->ranges->len == 0)
    add_whole (item->ranges, STORE_PROBLEM_DIGEST, size);
  damage_add_range (item->ranges, nul.kind, nul.offset, nul.length);
  damage_add_range (item->ranges, header.kind, header.offset, header.length);
  g_array_sort (item->ranges, compare_ranges);
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
  /* What is lost of an index is its own damage, and not the message's. */
  item->stale = asked && !item->partial && is_stale (item, has_row ? &row : NULL);
  locate (item, fd);
}

void
damage_find_unreadable (ScanItem *item, int fd)
{
  uint64_t size = (uint64_t)item->st.st_size;
  item->ranges = fd >= 0 ? damage_ranges (fd, size, size, NULL) : new_ranges ();
  for (guint i = 0; i < item->ranges->len; i++) {
    if (g_array_index (item->ranges, StoreDamageRange, i).kind == STORE_PROBLEM_UNREADABLE)
      return;
  }
  g_array_set_size (item->ranges, 0);
  add_whole (item->ranges, STORE_PROBLEM_UNREADABLE, size);
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

GArray *
store_message_locate (StoreMailbox *self, uint32_t uid, int fd, GError **error)
{
  g_autoptr (GError) failure = NULL;
  size_t size;
  bool known;
  if (store_message_verify (self, uid, fd, NULL, 0, &size, &known, &failure))
    return new_ranges ();
  struct stat st;
  uint64_t delivered;
  uint8_t digest[32];
  if (failure->code != EIO || fstat (fd, &st) < 0) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  /* A row made of a file that was damaged already has that file's size. */
  if (!message_delivered (self, uid, fd, &delivered, digest) || !digest_is_whole (digest))
    delivered = (uint64_t)st.st_size;
  GArray *ranges = damage_ranges (fd, (uint64_t)st.st_size, delivered, NULL);
  if (ranges->len == 0)
    add_whole (ranges, STORE_PROBLEM_DIGEST, (uint64_t)st.st_size);
  return ranges;
}
