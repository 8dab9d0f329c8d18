/* SPDX-License-Identifier: Apache-2.0 */
/*
 * past.h - a store as it was when a snapshot was taken. Its Store is a Store like any other, except
 * that it has a `past`: the public functions that read turn to those below, and the ones that write
 * find it read only.
 *
 * What a snapshot shows is made of what there is now, in the live Store that stands behind it, and
 * of the history (snapshot.h), which tells what has been something else. No lock is taken, because
 * of one order, which every function here keeps: first what is, then the history, then whether the
 * snapshot is still there. Who changes something adds to the history before; so what was read after
 * a change is set right by what is read later. And the history is not given up before the
 * snapshot is.
 */
#pragma once

#include "store/snapshot.h"

struct Past {
  Store *live;
  StoreSnapshot snapshot;
  History *tree;

  GMutex mutex;         /* guards what follows: what the tree's history has, see past-tree.c */
  uint64_t generation;  /* of the history, when it was read last */
  GHashTable *nodes;    /* number -> HistoryNode */
  GHashTable *children; /* parent -> GPtrArray of those that were in it, by name */
};

/* ---- past.c -------------------------------------------------------------------------------- */

void past_free (Past *self);

/* The Store that has what is now: behind that of a snapshot the live one, else the Store itself. */
Store *past_live (Store *store);

/* ESTALE when the snapshot was dropped; the last look of every answer. */
bool past_is_there (Store *store, GError **error);

/* ---- past-tree.c: directories -------------------------------------------------------------- */

void past_tree_init (Past *self);
void past_tree_clear (Past *self);

/* store_node_get() and so on, of a snapshot. */
bool past_node_get (Store *self, uint32_t number, StoreNode *out, GError **error);
bool past_node_find (Store *self, uint32_t parent, const char *name, StoreNode *out,
                     bool *out_found, GError **error);
bool past_node_children (Store *self, uint32_t parent, const char *after, StoreNode *out,
                         size_t capacity, size_t *out_count, GError **error);
char *past_node_path (Store *self, uint32_t number, GError **error);

/* Opens the directory wherever it lies now, be it in quarantine. ESTALE: it is nowhere. The store
 * lock must not be held. */
int past_node_open (Store *self, const StoreNode *node, GError **error);

/* Turns the times that a directory has into those that it had. */
bool past_node_times (StoreMailbox *directory, StoreNodeTimes *times, GError **error);

/* ---- past-mailbox.c: messages -------------------------------------------------------------- */

/* The directory itself, if that is kept. */
bool past_directory (StoreMailbox *self, HistoryDirectory *out, bool *out_kept, GError **error);

/* UIDs of all files that may be messages of the snapshot: those in the mailbox and those expunged.
 */
GArray *past_mailbox_files (StoreMailbox *self, GError **error);

/* UIDs of the messages of the snapshot, ascending. */
GArray *past_mailbox_uids (StoreMailbox *self, GError **error);

/* store_mailbox_page() and so on, of a snapshot. */
bool past_mailbox_page (StoreMailbox *self, uint32_t after, StoreMessage *out, size_t capacity,
                        size_t *out_count, GError **error);
bool past_message_find (StoreMailbox *self, uint32_t uid, StoreMessage *out, bool *out_found,
                        GError **error);
int past_message_open (StoreMailbox *self, uint32_t uid, GError **error);
bool past_mailbox_info (StoreMailbox *self, StoreMailboxInfo *out, GError **error);
bool past_mailbox_digests (StoreMailbox *self, GHashTable *digests, GError **error);

/* Adds a mailbox to the figures of a store. */
bool past_mailbox_count (StoreMailbox *self, StoreStatus *status, GError **error);
