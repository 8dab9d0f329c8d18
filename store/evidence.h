/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evidence.h - a store that is looked at without a trace. Its Store is read only, and all that it
 * opens lies below a descriptor of a view of the store that the kernel lets nobody write to, so
 * that not even access times change. Databases are opened as copies (index.h). What cannot be read
 * is noted and shown as far as it can be, and nothing that is broken keeps the rest from being
 * shown.
 */
#pragma once

#include "store/internal.h"

struct Evidence {
  char *workdir;    /* for copies of databases; NULL: memory */
  int tree_fd;      /* of the view; -1: the kernel gave none */
  GMutex mutex;     /* guards what follows */
  GPtrArray *notes; /* of char *: what was noted, each once */
  GHashTable *gone; /* number -> owner, of mailboxes that only an index has; NULL: nobody
                       asked, else never changed any more */
};

void evidence_free (Evidence *self);

/* Notes what is wrong with the evidence, and tells it by store_notice(). Does nothing with a store
 * that is none. */
void evidence_note (Store *store, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Of evidence all is shown that can be: what cannot be read is only noted, and the answer is true.
 * Of another store it is false. */
bool evidence_excuses (Store *store, const GError *failure);

/* Likewise for the current errno, with which it fails as fail_errno() does when it is no evidence.
 */
bool evidence_or_fail (Store *store, GError **error, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* Tells again what was noted before there was somebody to be told. */
void evidence_repeat (Store *store);

/* Opens the copy of a database at its absolute path, or what can be had of it; of an index with the
 * older ones that lie beside it. */
Index *evidence_index (Store *store, const char *path, GError **error);
Queue *evidence_queue (Store *store, const char *path, GError **error);

/* Likewise the list, also of a store that is no evidence: that is opened read only. */
List *evidence_list (Store *store, const char *path, GError **error);

/* What is left in the indexes of one user at `paths`, which nobody uses any more, and in the one at
 * `in_use` (NULL: none), as an index of its own. */
Index *evidence_gather (Store *store, const char *in_use, const GPtrArray *paths, GError **error);
