/* SPDX-License-Identifier: Apache-2.0 */
/*
 * missing.h - messages whose file is gone.
 */
#pragma once

#include "store/internal.h"

/*
 * What a lost message was must not be forgotten with its row: so a line about it is added to
 * missing/NUMBER before, which counts as long as there is no file of that UID. Whoever changes it
 * holds the user lock.
 */
typedef struct {
  Store *store;
  uint32_t number; /* whose lines those are */
  GString *lines;  /* NULL: none yet */
} MissingLines;
void missing_lines_clear (MissingLines *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (MissingLines, missing_lines_clear)

/* Adds one about a message of that mailbox; the summary may be NULL. Those of another mailbox
 * before are written. missing_lines_end() writes what is left; then all are on disk. */
bool missing_lines_add (MissingLines *self, uint32_t number, const IndexMessage *row,
                        const IndexSummary *summary, GError **error);
bool missing_lines_end (MissingLines *self, GError **error);

/* Drops the lines about messages whose file is there again, before that may go. Costs one system
 * call where nothing is missing. */
bool missing_settle (StoreMailbox *mailbox, GError **error);

void missing_init (Store *store);
void missing_clear (Store *store);

/* Whether there is a file of that UID, in the mailbox or among the expunged. */
bool missing_is_back (const StoreMailbox *mailbox, uint32_t uid);

/* Drops the one about a message. */
bool missing_forget (Store *store, uint32_t number, uint32_t uid, GError **error);

/* The UIDs that there are lines about, ascending (uint32_t), whether there is a file or not. Not to
 * be changed. */
GArray *missing_uids (Store *store, uint32_t number, GError **error);

/* What is known of one; `*out_noted_s` is when its file was missed first. Absence is no error. */
bool missing_get (Store *store, uint32_t number, uint32_t uid, int64_t *out_noted_s,
                  IndexMessage *out, IndexSummary *out_summary, bool *out_found, GError **error);

/* The mailboxes that there are lines about, ascending (uint32_t). */
GArray *missing_numbers (Store *store, GError **error);
