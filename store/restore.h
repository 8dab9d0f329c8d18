/* SPDX-License-Identifier: Apache-2.0 */
/* restore.h - what the files of restore share. */
#pragma once

#include "store/export-read.h"
#include "store/jobs.h"

/* ---- restore.c, restore-uid.c: what a backup has comes back ---------------------------------- */

typedef struct {
  StoreJob walk; /* over the backup's nodes; its data is this */
  StoreJob *job;
  Store *live, *backup;
  Pace pace;
  bool same_store;
  bool exact; /* what the backup does not have goes, what it has counts: force, and it is whole */
  GHashTable *touched; /* owners in the store whose rows are behind */
} Restore;

/* One mailbox, there and here. */
typedef struct {
  Restore *restore;
  StoreMailbox *from, *to; /* `to` is NULL in a dry run of what has to be made */
  NodeState was;
  GArray *missing;  /* UIDs */
  GArray *others;   /* UIDs of messages there that are other messages here */
  GArray *damaged;  /* UIDs, also among the missing: their files here go first */
  GArray *restated; /* UIDs whose state is to be the backup's */
  GArray *expunged; /* ExpungeMove of what lies in .expunged */
  GArray *newer;    /* ExpungeMove of what the backup does not have */
} RestorePair;
void restore_pair_clear (RestorePair *pair);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (RestorePair, restore_pair_clear)

/* Tells what became of a message, or would in a dry run. */
void restore_tell (const RestorePair *pair, StoreProblem problem, uint32_t uid, uint64_t size,
                   const char *what);

/* Whether the message is not what was delivered; `*out_problem` says how. */
bool restore_is_damaged (StoreMailbox *mailbox, uint32_t uid, StoreProblem *out_problem);

/* Tells of a damaged message that is left. */
void restore_tell_damaged (const RestorePair *pair, StoreProblem problem, uint32_t uid,
                           const char *what);

/* Whether the UID, which is in both, means another message here. */
bool restore_is_other (const RestorePair *pair, uint32_t uid);

/* Brings back what is missing in the same mailbox, UID by UID. */
bool restore_by_uid (RestorePair *pair, GError **error);

/* ---- restore-export.c: what an export tells comes back to the messages that are there -------- */

typedef struct {
  StoreJob *job;
  Store *store;
  bool dry_run, force;
  FILE *file;           /* the export */
  GPtrArray *scope;     /* paths of what was named; NULL: everything */
  GHashTable *compared; /* owners whose rows have been compared with their files */
  GHashTable *touched;  /* owners whose rows are behind */
} RestoreExport;

bool restore_from_export (StoreJob *job, GError **error);

/* Of one mailbox, `node`, which it takes over. */
bool restore_export_mailbox (RestoreExport *self, StoreNode *node, const Told *told,
                             GError **error);
