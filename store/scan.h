/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scan.h - files against rows: what differs, and what is damaged.
 */
#pragma once

#include "store/jobs.h"

/* ---- scan-item.c: one difference ----------------------------------------------------------- */

typedef enum {
  SCAN_NEW,     /* a file without a row */
  SCAN_CHANGED, /* both, but they differ, or the file was to be read in any case */
  SCAN_GONE,    /* a row without a file */
} ScanVerdict;

/* One difference. */
typedef struct {
  StoreMailbox *mailbox;
  ScanVerdict verdict;
  uint32_t uid;
  bool expunged;      /* the file lies in .expunged */
  bool doubled;       /* and so does another of that UID */
  uint64_t removed;   /* modseq that it had when it was removed for good; 0: never */
  bool mailbox_known; /* the index has rows of this mailbox */
  bool partial;       /* the index is what is left of broken ones: in evidence */
  Index *salvaged;    /* as given to scan_recall() */
  bool recalled;      /* the row is from there: the index itself has none */
  IndexMessage row;   /* as the scan saw it; nothing for SCAN_NEW */
  struct stat st;     /* of the file */
  bool has_state;     /* of its own */
  MessageState state; /* also one that was copied */
  bool has_summary;
  StoreSummary summary;
  uint32_t damage;   /* INDEX_DAMAGE_*: what reading the file showed */
  GArray *ranges;    /* of StoreDamageRange: where it is damaged; NULL: it is not */
  bool stale;        /* the index tells something else about the bytes than they do */
  uint8_t known[32]; /* digest of what was delivered, by row or state; see digest_matches() */
  GError *failure;   /* why the file or its state could not be read; NULL */
} ScanItem;
void scan_item_free (ScanItem *item);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ScanItem, scan_item_free)

/* Where the item's file lies, below its mailbox. */
void scan_item_path (const ScanItem *item, char out[32]);

/* Reads the file of one item: state, summary, damage. Never fails: see `failure`. May be repeated.
 */
void scan_read (ScanItem *item);

/* Whether the row has a date that no message can have. */
bool scan_row_is_undated (const ScanItem *item);

/* Whether the file's date is the internal date: of a new message, of one whose row was made of a
 * damaged file and that is whole again, and where the row's makes no sense. Otherwise the row knows
 * better. */
bool scan_takes_date (const ScanItem *item);

/* Whether it is a copy without a state of a message that was expunged, or removed for good:
 * somebody put it there, and it is a message again. */
bool scan_item_returns (const ScanItem *item);

/* Whether it is an older file of a message that was expunged, or removed for good, and not brought
 * back: it goes to .expunged. */
bool scan_item_is_back (const ScanItem *item);

/* ---- scan.c: files against rows ------------------------------------------------------------ */

/* What a scan of one mailbox starts from and learns. */
typedef struct {
  StoreMailbox *mailbox;
  int64_t directory_ns;  /* the directory's mtime before it was read */
  IndexMailbox row;      /* number 0: none */
  IndexMailbox salvaged; /* likewise */
  bool recalling;        /* the row that is being compared was salvaged */
  bool partial;          /* as of its items */
  bool has_state;
  NodeState state;
  uint32_t highest_uid;
  uint32_t uidvalidity; /* what it gets where it has none */
  bool has_index;       /* there are rows to compare with */
  uint64_t differences;
} ScanMailbox;
void scan_mailbox_free (ScanMailbox *mailbox);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ScanMailbox, scan_mailbox_free)

typedef enum {
  SCAN_READ_ALL = 1u << 0, /* read unchanged files, too */
  SCAN_NAMES = 1u << 1,    /* trust every row whose file is there */
  SCAN_SKIP_NEW = 1u << 2, /* do not read files that have no row */
  SCAN_NO_ROWS = 1u << 3,  /* look at the files alone: the index is of no use */
} ScanFlags;

/* A scan compares; threads of its own read the files that need it. `consume` gets the differences,
 * in the calling thread, and owns them; returning false stops the scan. */
typedef struct Scan Scan;
typedef bool (*ScanFunc) (ScanItem *item, void *data, GError **error);
Scan *scan_new (StoreJob *job, ScanFlags flags, ScanFunc consume, void *data);
void scan_free (Scan *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Scan, scan_free)

/* From now on rows that the index does not have are looked for in `salvaged`, which is the
 * caller's: what a broken index still told. NULL: nowhere. Such rows are always differences. */
void scan_recall (Scan *self, Index *salvaged);

/* Shows the files that are looked at to an inspection, too. */
void scan_inspect (Scan *self, Inspection *inspection);

/* Compares one mailbox. Items may still be under way when it returns. NULL with an error. */
ScanMailbox *scan_mailbox (Scan *self, StoreMailbox *mailbox, GError **error);

/* Waits until every item has been consumed. */
bool scan_drain (Scan *self, GError **error);

/* ---- report.c: telling of it --------------------------------------------------------------- */

/* Tells the job what an item is: one finding for each thing that is wrong. `fixed` is for what a
 * rebuild can put right. */
void scan_report (const ScanItem *item, StoreJob *job, bool fixed);

/* Whether there is nothing to tell. */
bool scan_item_is_clean (const ScanItem *item);

/* Likewise for what is wrong with the mailbox itself. */
void scan_report_mailbox (const ScanMailbox *scanned, StoreJob *job, bool fixed);

/* ---- damage.c: bytes against what was delivered -------------------------------------------- */

/* Fills in what the item's file, which has just been parsed, shows: known, damage, ranges, stale.
 */
void damage_find (ScanItem *item, int fd);

/* Fills in which bytes of it cannot be read, after reading has failed. */
void damage_find_unreadable (ScanItem *item, int fd);

/* Holds the bytes in `fd`, the message's file or a copy of it, against what was delivered. EIO when
 * they differ or cannot be read; `*out_problem` then says how. `*out_known` is false when there is
 * nothing to compare with: no error. */
bool damage_verify (StoreMailbox *mailbox, uint32_t uid, int fd, StoreProblem *out_problem,
                    bool *out_known, GError **error);

/* ---- locate.c: which bytes are damaged ----------------------------------------------------- */

/* Reads the `size` bytes of a file of which `delivered` were delivered: an array of
 * StoreDamageRange, in their order, of all that looks damaged. `out_nul`, if it is not NULL,
 * reaches from the first NUL byte to the last. */
GArray *damage_ranges (int fd, uint64_t size, uint64_t delivered, StoreDamageRange *out_nul);
void damage_add_range (GArray *ranges, StoreProblem kind, uint64_t offset, uint64_t length);

/* Those lines of the header that are none; the length is 0 when it is as it should be. */
StoreDamageRange damage_header (int fd);
