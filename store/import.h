/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import.h - the mailboxes that an import brings mail into. For import.c only.
 */
#pragma once

#include "store/formats/source.h"

/* A mailbox that a folder of the source goes to. */
typedef struct Target Target;

/* Those of one import. */
typedef struct Targets Targets;

/* `spelling` names a user, whose mailboxes the source's folders become, or a mailbox, which takes
 * what is in the source's INBOX and the other folders below it. What is missing is made when the
 * first folder comes, but not with `dry_run`. EINVAL: it is neither. EBUSY: another import into the
 * user is running; nobody may import between taking the digests of what is there and putting in
 * what is new. */
Targets *targets_new (Store *store, const char *spelling, bool dry_run, GError **error);
void targets_free (Targets *self);
uint64_t targets_count (const Targets *self);

/* The mailbox of a folder, which belongs to `self`. One that cannot be had because of its name is
 * no error, but target_failure() is. */
Target *targets_begin (Targets *self, const SourceMessage *folder, GError **error);

/* Why nothing can be put into it; NULL: all is well. */
const GError *target_failure (const Target *self);

/* NULL in a dry run. */
StoreMailbox *target_mailbox (const Target *self);

/* Whether the source's UIDs mean something in the mailbox. */
bool target_keeps_uids (const Target *self);

/* Whether the mailbox held messages before the import. */
bool target_has_known (const Target *self);

/* Whether it held this one: true as often as it did. One thread at a time. */
bool target_take_known (Target *self, const uint8_t sha256[32]);

/* When all of the folder's messages are in the mailbox: passes the source's next UID on. */
bool target_end (Target *self, GError **error);
