/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arrive.h - new mail on its way in: drafts, appends, and deliveries that share a commit.
 */
#pragma once

#include "store/internal.h"

/* ---- draft.c: new mail --------------------------------------------------------------------- */

struct StoreDraft {
  Store *store;
  char name[32]; /* in the process's directory in tmp/ */
  int fd;        /* while it is being written, else -1 */
  bool in_tmp;   /* there is a file under `name` */
  bool appended;
  GByteArray *bytes; /* what was written, as long as it is small; NULL: parse the file */
  uint64_t size;
  MessageState state;
  int64_t internal_s;
  uint32_t wanted_uid, uid;
  StoreSummary summary;
};

/* ---- append.c: from tmp/ into the mailbox -------------------------------------------------- */

/* One call of store_mailbox_append(). */
typedef struct {
  StoreMailbox *mailbox;
  StoreDraft *const *drafts;
  size_t count, placed;
  bool bulk;
  GError *failure;
  bool done; /* delivery.c's own */
} Append;

/* The user lock, and what is written while it is held. */
typedef struct {
  int lock; /* -1: not held */
  Handle *handle;
  IndexWrite *write;  /* NULL: there is no index that could be written */
  size_t rows;        /* written, and not committed */
  const Epoch *epoch; /* of what is more than an append; NULL: each batch has its own */
} UserWrite;

/* Writes the content of the drafts to disk. No lock is held. */
bool append_sync (const Append *append, GError **error);

/* Puts the drafts of all into their mailboxes, which are one user's, in the order given; then they
 * are on disk. Rows are written but not committed. Each append has its own failure. */
void append_batch (GPtrArray *appends, UserWrite *user);

/* Fails those that have not failed yet. */
void append_fail_all (GPtrArray *appends, const GError *failure);

/* Tells the result of an append that is done: what others see of it, and its failure. */
bool append_end (Append *append, GError **error);

/* Commits what was written and gives the lock back. Rows that cannot be committed are ones that the
 * index is behind by. */
void user_write_end (UserWrite *user);

/* ---- delivery.c: appends that share a commit ----------------------------------------------- */

void delivery_init (Store *store);
void delivery_clear (Store *store);

/* Has the append done, by whichever thread; afterwards it is on disk, or `failure` says why not. */
void delivery_append (Append *append);

/* Commits the rows of a stream that nobody adds to just now, and gives its user lock back. `wait`
 * for deliveries that are under way, too; who does that must not hold the user lock. */
void delivery_settle (Store *store, uint32_t owner, bool wait);
