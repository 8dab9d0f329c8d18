/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rebuild.h - rows from files: what a scan found becomes an index again.
 */
#pragma once

#include "store/missing.h"
#include "store/scan.h"

/* ---- reconstruct.c, recover.c -------------------------------------------------------------- */

/* The one way in which an index is rebuilt: the rows of `mailboxes`, all of the owner's (`whole`)
 * or some, are made to agree with their files. When the index is broken it is set aside, all
 * mailboxes are rebuilt, and what it still told is put on files that have lost it. `thoroughly`
 * looks at every page of it first, not only at those that are needed to begin. */
bool rebuild_mailboxes (StoreJob *job, uint32_t owner, const GArray *mailboxes, bool whole,
                        bool thoroughly, GError **error);

/* Brings the mailbox list in line with the directories; a broken one is made again. */
bool rebuild_list (StoreJob *job, GError **error);

/* Whether the index can be opened, and every page of it makes sense if it is looked at
 * `thoroughly`. Otherwise is_index_broken() tells whether a rebuild is what helps. */
bool index_probe (StoreJob *job, uint32_t owner, bool thoroughly, GError **error);

/* Rebuilds the whole index of an owner if it is missing or broken, or if an earlier rebuild of a
 * broken one was interrupted. */
bool recover_owner (StoreJob *job, uint32_t owner, GError **error);

/* ---- rebuild.c: rows from what a scan found ------------------------------------------------ */

/* Collects differences of one owner's mailboxes and applies them in short commits. It is made
 * before the scan, and makes the index when there is none. ESTALE: the index was deleted or
 * replaced meanwhile, and all is to be done again. */
typedef struct Rebuild Rebuild;
Rebuild *rebuild_new (StoreJob *job, uint32_t owner, bool defer, GError **error);
bool rebuild_item (ScanItem *item, void *rebuild, GError **error); /* a ScanFunc */

/* `scanned` is of ScanMailbox. With `defer`, messages without a state are left out, which
 * `*out_deferred` tells: then nothing is complete, and all is to be done once more without it. */
bool rebuild_finish (Rebuild *self, GPtrArray *scanned, bool *out_deferred, GError **error);
/* Mailboxes without a row begin with the one that was salvaged; see scan_recall(). */
void rebuild_recall (Rebuild *self, Index *salvaged);
void rebuild_free (Rebuild *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Rebuild, rebuild_free)

/* ---- rebuild-row.c: what a rebuild makes of one difference --------------------------------- */

/* One transaction's worth. */
typedef struct {
  StoreJob *job; /* NULL: nobody to tell */
  IndexWrite *write;
  const Epoch *epoch;
  bool stated;          /* a state was put on a file; it must be synced before the commit */
  bool moved;           /* a file was put among the expunged, likewise */
  MissingLines missing; /* about messages whose rows go; to be ended before the commit */
} RebuildApply;
void rebuild_apply_clear (RebuildApply *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (RebuildApply, rebuild_apply_clear)

/* Writes the row that the item's file and old row amount to: the newer state wins, the internal
 * date and the digest of a known message stay. A file that does not carry the state gets it;
 * without any it is a new one with the modseq `modseq`. The user is locked. */
bool rebuild_apply (RebuildApply *self, ScanItem *item, uint64_t modseq, GError **error);

/* Keeps what the item's file is like, if that changes it. What is shown counts: the row where it is
 * newer. */
void rebuild_keep (Keep *keep, const ScanItem *item);

/* ---- salvage.c: what a broken index still tells -------------------------------------------- */

/* The rows of all broken indexes of one owner, in a database of their own in tmp/. */
typedef struct {
  Index *index;     /* NULL: there are no broken ones */
  char *index_path; /* where the owner's index belongs */
  char *path;       /* of the database */
  uint64_t rows;
} Salvaged;
Salvaged *salvaged_new (StoreJob *job, uint32_t owner, GError **error);
void salvaged_free (Salvaged *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Salvaged, salvaged_free)

/* ---- duplicate.c: a message and an expunged one with one UID ------------------------------- */

/* Of a message and an expunged one with the same UID, puts the older one into quarantine. */
bool duplicate_settle (StoreJob *job, uint32_t owner, const GArray *mailboxes, GError **error);
