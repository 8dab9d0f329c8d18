/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life.h - what is taken out of a store for good, and when.
 */
#pragma once

#include "store/jobs.h"

/* ---- life.c: expunged messages ------------------------------------------------------------- */

/* What was last changed at this time or before is old enough for the job: its word "age", else the
 * setting, tells. */
int64_t life_before_ns (const StoreJob *job, StoreSetting age);

/* Removes the file of an expunged message for good, whatever its age. EBUSY: a snapshot has it, or
 * it is doubled; ENOENT. The user lock is taken. */
bool life_remove_expunged (StoreMailbox *mailbox, uint32_t uid, GError **error);

/* EROFS when the job changes something, and the store is open read only. */
bool life_require_writable (const StoreJob *job, GError **error);

/* ---- purge.c: what became of no message ---------------------------------------------------- */

/* Row and files of the mailbox agree as before, when only a file went that is no message. The user
 * lock is held. */
bool purge_keep_agreed (StoreMailbox *mailbox, GError **error);
