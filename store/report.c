/* SPDX-License-Identifier: Apache-2.0 */
/* What a scan found, in words. */
#include "store/check.h"
#include "store/jobs.h"
#include "store/scan.h"

/* ---- kinds --------------------------------------------------------------------------------- */

static const struct {
  const char *name, *remedy;
} problems[] = {
    [STORE_PROBLEM_NO_ROW] = {"missing-row", "repair adds the row"},
    [STORE_PROBLEM_NO_FILE] = {"missing-file",
                               "a backup may have it; 'lost list missing' tells what it was"},
    [STORE_PROBLEM_CHANGED] = {"changed", "repair makes file and row agree; the newer state wins"},
    [STORE_PROBLEM_DIGEST] = {"hash-mismatch", "restore the message from a backup"},
    [STORE_PROBLEM_SIZE] = {"size-mismatch", "restore the message from a backup"},
    [STORE_PROBLEM_NUL] = {"nul", ""},
    [STORE_PROBLEM_UNREADABLE] =
        {"io-error", "see whether its owner may read it and the disk is sound, then restore it"},
    [STORE_PROBLEM_NO_INDEX] = {"missing-index", "repair builds it"},
    [STORE_PROBLEM_BAD_INDEX] = {"bad-index", "repair --full keeps it aside and builds a new one"},
    [STORE_PROBLEM_NO_LIST_ENTRY] = {"unlisted", "repair adds it to the mailbox list"},
    [STORE_PROBLEM_NO_DIRECTORY] = {"missing-directory",
                                    "a backup may have it; repair takes it off the mailbox list"},
    [STORE_PROBLEM_BAD_STATE] = {"state-mismatch", "repair writes a valid state"},
    [STORE_PROBLEM_UIDNEXT] = {"uidnext", "repair raises it"},
    [STORE_PROBLEM_STRAY] = {"stray", "look at what it is, and move it out of the store"},
    [STORE_PROBLEM_NO_ATTRIBUTES] = {"no-attributes", ""},
    [STORE_PROBLEM_PERMISSION] = {"permission", "repair --permissions puts it right"},
    [STORE_PROBLEM_TRUNCATED] = {"truncated", "restore the message from a backup"},
    [STORE_PROBLEM_ZERO_RUN] = {"zero-run",
                                "look at the disk, then restore the message from a backup"},
    [STORE_PROBLEM_SUMMARY] = {"summary-mismatch", "repair --full corrects the index"},
    [STORE_PROBLEM_HARD_LINK] = {"hard-link", "make one of them a copy: they share their flags"},
    [STORE_PROBLEM_LEFTOVER] = {"leftover", "repair removes it, and so does who delivers next"},
    [STORE_PROBLEM_DISK_SPACE] = {"disk-space", "make room: without it nothing can be delivered"},
    [STORE_PROBLEM_NUMBER] = {"duplicate-number", "repair gives this one a new number"},
    [STORE_PROBLEM_HOT_JOURNAL] = {"hot-journal", "repair, as any writer, takes the write back"},
    [STORE_PROBLEM_DUPLICATE] = {"duplicate-uid", "repair keeps the newer one"},
    [STORE_PROBLEM_BACK] = {"expunged-back", "repair puts it back to the expunged"},
    [STORE_PROBLEM_BUSY] = {"busy", "try again later"},
    [STORE_PROBLEM_DELETED] = {"deleted", "expunge takes it away"},
    [STORE_PROBLEM_EXPUNGED] = {"expunged", "undelete brings it back, cleanup removes it"},
    [STORE_PROBLEM_RECORDS] = {"records", "purge drops them"},
    [STORE_PROBLEM_QUARANTINED] = {"quarantined", "purge removes it"},
    [STORE_PROBLEM_LOCKED] = {"locked", "look what that process is waiting for, or end it"},
    [STORE_PROBLEM_BAD_SNAPSHOT] = {"bad-snapshot",
                                    "drop the snapshots that are not needed; until then nothing is "
                                    "taken that they could have"},
    [STORE_PROBLEM_SNAPSHOT] = {"snapshot", ""},
    [STORE_PROBLEM_ADDED] = {"added", ""},
    [STORE_PROBLEM_REMOVED] = {"removed", ""},
    [STORE_PROBLEM_RENAMED] = {"renamed", ""},
    [STORE_PROBLEM_DIFFERENT] = {"different", ""},
    [STORE_PROBLEM_VANISHED] = {"vanished", "restore brings it back, backup --force gives it up"},
    [STORE_PROBLEM_BAD_HEADER] = {"bad-header", ""},
    [STORE_PROBLEM_LOST] = {"lost", "a backup may have them"},
    [STORE_PROBLEM_MATCH] = {"match", ""},
    [STORE_PROBLEM_NOTE] = {"note", ""},
    [STORE_PROBLEM_FLAGGED] = {"flagged", ""},
    [STORE_PROBLEM_COPIED] = {"copied", ""},
    [STORE_PROBLEM_CREATED] = {"created", ""},
};

const char *
store_problem_name (StoreProblem problem)
{
  return problems[problem].name;
}

bool
problem_from_name (const char *name, StoreProblem *out)
{
  for (size_t i = 0; i < G_N_ELEMENTS (problems); i++) {
    if (g_strcmp0 (problems[i].name, name) == 0) {
      *out = (StoreProblem)i;
      return true;
    }
  }
  return false;
}

const char *
store_problem_remedy (StoreProblem problem)
{
  return problems[problem].remedy;
}

void
report_database (StoreJob *job, uint32_t owner, const char *path, bool fixed, const GError *failure)
{
  int code = error_code (failure);
  StoreProblem problem = code == ENOENT  ? STORE_PROBLEM_NO_INDEX
                         : code == EROFS ? STORE_PROBLEM_HOT_JOURNAL
                                         : STORE_PROBLEM_BAD_INDEX;
  job_found (job, problem, fixed, owner, 0, path, "%s",
             code == ENOENT ? "there is none" : failure->message);
}

/* ---- messages ------------------------------------------------------------------------------ */

char *
store_damage_to_string (uint32_t damage)
{
  static const char *const names[] = {"nul", "size", "digest", "unreadable", "limit"};
  GString *text = g_string_new (NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    if (damage & 1u << i)
      g_string_append_printf (text, "%s%s", text->len > 0 ? " " : "", names[i]);
  }
  return g_string_free (text, FALSE);
}

static char *
describe_range (const ScanItem *item, const StoreDamageRange *range)
{
  switch (range->kind) {
  case STORE_PROBLEM_UNREADABLE:
    return g_strdup (item->failure != NULL ? item->failure->message : "cannot be read");
  case STORE_PROBLEM_TRUNCATED:
  case STORE_PROBLEM_SIZE:
    return g_strdup_printf ("%" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT " were delivered",
                            (uint64_t)item->st.st_size, item->row.size);
  case STORE_PROBLEM_ZERO_RUN:
    return g_strdup_printf ("%" G_GUINT64_FORMAT " zero bytes from byte %" G_GUINT64_FORMAT " on",
                            range->length, range->offset);
  case STORE_PROBLEM_NUL: return g_strdup ("has NUL bytes");
  case STORE_PROBLEM_BAD_HEADER: return g_strdup ("begins with no header");
  default: return g_strdup ("not the bytes that were delivered");
  }
}

/* Damage of the bytes themselves, which no rebuild can put right; and what is odd about them. Mail
 * does have NUL bytes; where they came in later, it is the digest that tells. */
static void
report_damage (const ScanItem *item, StoreJob *job)
{
  uint32_t number = item->mailbox->number;
  const char *path = item->mailbox->path;
  for (guint i = 0; item->ranges != NULL && i < item->ranges->len; i++) {
    const StoreDamageRange *range = &g_array_index (item->ranges, StoreDamageRange, i);
    g_autofree char *detail = describe_range (item, range);
    bool odd = range->kind == STORE_PROBLEM_NUL || range->kind == STORE_PROBLEM_BAD_HEADER;
    if (!odd || job_has (job, STORE_WORD_FULL))
      job_found_at (job, odd ? STORE_NOTED : STORE_LEFT, number, item->uid, path, range, "%s%s",
                    detail, item->expunged ? " (expunged)" : "");
  }
}

/* Whether the file has a newer state than a row of which a newer one was lost: that is the index's
 * damage, not the message's. */
static bool
is_outlived (const ScanItem *item)
{
  return item->partial && item->has_state && item->state.modseq > item->row.modseq;
}

static bool
same_state (const ScanItem *item)
{
  return item->has_state && item->state.modseq == item->row.modseq &&
         item->state.flags == item->row.flags &&
         g_strcmp0 (item->state.keywords, item->row.keywords) == 0;
}

bool
scan_item_is_clean (const ScanItem *item)
{
  return item->verdict == SCAN_CHANGED && item->failure == NULL &&
         (item->damage & (STORE_DAMAGE_GRAVE | INDEX_DAMAGE_NUL)) == 0 &&
         item->row.internal_s == item->st.st_mtim.tv_sec && !item->stale &&
         (is_outlived (item) || ((item->row.expunged != 0) == item->expunged && same_state (item)));
}

static void
report_change (const ScanItem *item, StoreJob *job, bool fixed)
{
  uint32_t number = item->mailbox->number;
  const char *path = item->mailbox->path;
  if (item->recalled && !item->has_state) {
    job_found (job, STORE_PROBLEM_BAD_STATE, fixed, number, item->uid, path,
               "its flags and date were lost, but the broken index still had them");
    return;
  }
  /* Who puts the state back on the file puts its date back, too. */
  bool restated = !item->has_state || item->state.modseq < item->row.modseq;
  bool redated = item->row.internal_s != item->st.st_mtim.tv_sec;
  if (redated && !scan_takes_date (item))
    job_found (job, STORE_PROBLEM_CHANGED, fixed && restated, number, item->uid, path,
               "the file's date is not the internal date");
  else if (redated && scan_row_is_undated (item))
    job_found (job, STORE_PROBLEM_CHANGED, fixed, number, item->uid, path,
               "the index has no date of it that makes sense");
  else if ((item->row.expunged != 0) != item->expunged)
    job_found (job, STORE_PROBLEM_CHANGED, fixed, number, item->uid, path, "%s",
               item->expunged             ? "was expunged"
               : scan_item_returns (item) ? "was expunged, and a copy of it was put back"
                                          : "its expunge was undone");
  else if (!same_state (item))
    job_found (job, STORE_PROBLEM_CHANGED, fixed, number, item->uid, path, "%s",
               item->has_state ? "flags of file and index differ" : "the file carries no state");
  if (item->stale)
    job_found (job, STORE_PROBLEM_SUMMARY, fixed, number, item->uid, path,
               "the index tells something else about it than its bytes do");
}

void
scan_report (const ScanItem *item, StoreJob *job, bool fixed)
{
  uint32_t number = item->mailbox->number;
  const char *path = item->mailbox->path;
  bool damaged = (item->damage & STORE_DAMAGE_GRAVE) != 0;
  if (item->verdict == SCAN_GONE && item->row.expunged != 0)
    job_found (job, STORE_PROBLEM_CHANGED, fixed, number, item->uid, path,
               "the file of an expunged message is gone");
  else if (scan_item_is_back (item))
    job_found (job, STORE_PROBLEM_BACK, fixed, number, item->uid, path,
               "an old file of a message that was expunged");
  else if (item->verdict == SCAN_GONE)
    job_found_at (job, STORE_LEFT, number, item->uid, path,
                  &(StoreDamageRange){0, item->row.size, STORE_PROBLEM_NO_FILE}, "%s",
                  fixed ? "the message file is gone; so is its row now"
                        : "the message file is gone");
  else if (item->verdict == SCAN_NEW && !damaged && item->mailbox_known)
    job_found (job, STORE_PROBLEM_NO_ROW, fixed, number, item->uid, path,
               "the index does not know it");
  else if (item->verdict == SCAN_CHANGED && !damaged)
    report_change (item, job, fixed);
  report_damage (item, job);
  if (item->verdict != SCAN_GONE && !damaged && item->failure != NULL)
    job_found (job, STORE_PROBLEM_BAD_STATE, fixed, number, item->uid, path, "%s",
               item->failure->message);
}

void
scan_report_mailbox (const ScanMailbox *scanned, StoreJob *job, bool fixed)
{
  const StoreMailbox *mailbox = scanned->mailbox;
  if (!scanned->has_state)
    job_found (job, STORE_PROBLEM_BAD_STATE, fixed, mailbox->number, 0, mailbox->path,
               "the mailbox has no valid state");
  else if (scanned->state.copied)
    job_found (job, STORE_PROBLEM_BAD_STATE, fixed, mailbox->number, 0, mailbox->path,
               "the mailbox has no state of its own, but what a mount told of it");
  else if (scanned->state.uidnext <= scanned->highest_uid)
    job_found (job, STORE_PROBLEM_UIDNEXT, fixed, mailbox->number, 0, mailbox->path,
               "the next UID is %u, but there is a message %u", scanned->state.uidnext,
               scanned->highest_uid);
  /* What is left of an index may lack the mailbox's own row, or have an older one. */
  if (!scanned->has_index || scanned->partial)
    return;
  if (scanned->row.number == 0)
    job_found (job, STORE_PROBLEM_NO_ROW, fixed, mailbox->number, 0, mailbox->path,
               "the index does not know the mailbox");
  else if (scanned->has_state && scanned->row.uidvalidity != scanned->state.uidvalidity)
    job_found (job, STORE_PROBLEM_CHANGED, fixed, mailbox->number, 0, mailbox->path,
               "UIDVALIDITY is %u, the index says %u", scanned->state.uidvalidity,
               scanned->row.uidvalidity);
  else if (scanned->row.directory_ns != scanned->directory_ns && scanned->differences == 0)
    job_found (job, STORE_PROBLEM_CHANGED, fixed, mailbox->number, 0, mailbox->path,
               "the directory was changed since it was indexed");
}
