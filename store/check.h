/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.h - what is wrong with a store, told and not touched.
 */
#pragma once

#include "store/jobs.h"

/* ---- check.c, report.c --------------------------------------------------------------------- */

/* Runs `check` on the job with a store that is open read only in the place of the job's own: what
 * that has open for writing would undo an interrupted write by reading. */
bool check_on_own (StoreJob *job, bool (*check) (StoreJob *job, GError **error), GError **error);

/* Compares the messages of some of an owner's mailboxes with their rows, and tells of each that is
 * not as it should be. EUCLEAN: the index is of no use; with `without_rows` it is not looked at. */
bool check_messages (StoreJob *job, uint32_t owner, const GArray *mailboxes, bool without_rows,
                     GError **error);

/* Tells what is wrong with a database that could not be opened or read: that it is missing, that a
 * write to it was interrupted, or that it is damaged. */
void report_database (StoreJob *job, uint32_t owner, const char *path, bool fixed,
                      const GError *failure);

/* ---- inspect.c: owner, mode, links and place of what lies in a store ----------------------- */

typedef enum {
  INSPECT_MEND = 1u << 0,  /* put owners and modes right, where that is allowed */
  INSPECT_SWEEP = 1u << 1, /* remove what dead processes left in tmp/ */
} InspectFlags;

Inspection *inspection_new (StoreJob *job, uint32_t flags);
void inspection_free (Inspection *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Inspection, inspection_free)

/* Looks at a message file by the stat of it that a scan has made. Those of one mailbox come one
 * after the other, and are all that are in it; the walk does not look at them again. */
void inspection_message (Inspection *self, const StoreMailbox *mailbox, uint32_t uid, bool expunged,
                         const struct stat *st);

/* Looks at what lies beside mail/, and at the room that is left, unless the request is for some
 * mailboxes only; and walks the directories that it is for. */
bool inspection_top (Inspection *self, GError **error);
bool inspection_walk (Inspection *self, GError **error);

/* ---- quarantine-check.c: what was taken out of the store ------------------------------------- */

/* Tells what in quarantine cannot be read, or has a state that makes no sense; of messages in
 * removed mailboxes, and of bytes, only with "full". */
bool quarantine_check (StoreJob *job, GError **error);
