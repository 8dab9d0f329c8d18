/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - what the files of store/ share of snapshots: which epoch a change belongs to, and
 * what snapshots need of what it changes.
 *
 * An epoch is a number that goes up with each snapshot: taking one closes the epoch that it is
 * called after. So a snapshot costs one small file, and belongs to it what its birth and expunge
 * epochs say. What else a change overwrites, and a snapshot needs, is kept first, in history/:
 *
 *   ... the user lock ...
 *   g_auto (Epoch) epoch = EPOCH_NONE;
 *   g_auto (Keep) keep = { 0 };
 *   epoch_enter (store, &epoch, error)                          no snapshot is taken from here on
 *   keep_begin (&keep, &epoch, mailbox, error)                  the directory itself
 *   keep_message (&keep, uid, changed_ns, &before, false)       each message that changes
 *   keep_end (&keep, error)                                     on disk when it returns true
 *   ... change them ...
 *
 * Readers need no lock: they look at rows and files first and at the history then, and what that
 * has counts. docs/format.md tells the files.
 */
#pragma once

#include "store/internal.h"

#define SNAPSHOTS "snapshots"
#define HISTORY   "history"

/* ---- snapshot.c: which snapshots there are ------------------------------------------------- */

/* The snapshots as they were at some moment; does not change. */
struct SnapshotSet {
  gatomicrefcount references;
  GPtrArray *snapshots; /* of StoreSnapshot, oldest first; those whose file makes no sense (epoch 0)
                           before them */
  bool doubtful;        /* one makes no sense, or they could not be read: then there may have been
                           one of any epoch, and all that changes must be kept */
  GError *failure;      /* why they could not be read */
  uint32_t epoch;       /* of the store, and inode and mtime of snapshots/, then; no inode: none */
  ino_t inode;
  int64_t mtime_ns;
  bool fresh; /* snapshots/ had just changed, and could change again without its mtime showing it */
};
SnapshotSet *snapshot_set_ref (SnapshotSet *self);
void snapshot_set_unref (SnapshotSet *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SnapshotSet, snapshot_set_unref)

/* What there is now, for a store whose epoch is `epoch`. Costs one system call when nothing has
 * changed since it was called last. Never NULL. */
SnapshotSet *snapshot_set_get (Store *store, uint32_t epoch);

/* The snapshot with the highest epoch that makes sense; NULL: there is none. */
const StoreSnapshot *snapshot_set_newest (const SnapshotSet *self);

/* Whether a message that had this state (NULL: none), and was changed last at `changed_ns`, is in
 * the snapshot. One whose birth is not known is if it was there before the snapshot was taken. */
bool snapshot_has (const StoreSnapshot *self, const MessageState *state, int64_t changed_ns);

/* ---- snapshot-check.c ---------------------------------------------------------------------- */

/* Tells what is wrong with the files of snapshots, and with what is kept for them. */
void snapshot_check (StoreJob *job);

/* ---- epoch.c: the barrier between changes and snapshots ------------------------------------ */

/* A change, from before it begins to after it has ended. */
struct Epoch {
  Store *store;
  int fd;                 /* the barrier, shared; -1: it is not held */
  uint32_t epoch;         /* what is born or expunged now belongs to this one */
  uint32_t newest;        /* until when what is changed now must be kept; 0: there is no snapshot */
  uint32_t next_number;   /* directories from this number on came after the newest snapshot */
  SnapshotSet *snapshots; /* NULL: not entered */
};
#define EPOCH_NONE ((Epoch){.fd = -1})

/* Waits while a snapshot is being taken, which waits for all changes that have begun. The user lock
 * may be held, the store lock must not be; no user lock may be waited for with the epoch. Must not
 * be entered twice by one thread. EROFS. */
bool epoch_enter (Store *store, Epoch *out, GError **error);
void epoch_leave (Epoch *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Epoch, epoch_leave)

/* The same for who holds the store lock, which keeps snapshots from being taken as well, and may
 * not wait for the barrier. */
bool epoch_look (Store *store, Epoch *out, GError **error);

/* The birth of a file that has none, and was changed last at `changed_ns`. */
uint32_t epoch_of_time (const Epoch *self, int64_t changed_ns);

/* Whether an epoch lies so far in the future that it makes no sense, as from a store whose clock
 * was wrong, or from anybody. */
bool epoch_is_beyond (const Epoch *self, uint32_t epoch);

/* Raises the store's epoch to `least`, which a file claims to be of: as mail from another store.
 * What makes no sense is ignored. The store lock is taken. */
bool epoch_raise (const Epoch *self, uint32_t least, GError **error);

/* The store without changes: gate, barrier and store lock, exclusively. */
typedef struct {
  int gate, barrier, lock; /* -1: not held */
  Handle *list;
} Standstill;
#define STANDSTILL_NONE ((Standstill){.gate = -1, .barrier = -1, .lock = -1})
bool standstill_begin (Store *store, Standstill *out, GError **error);
void standstill_end (Standstill *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Standstill, standstill_end)

void epoch_init (Store *store);
void epoch_clear (Store *store);

/* ---- history*.c: what snapshots need of what has changed ------------------------------------ */

/*
 * The history of one directory, or the one of all directories' places (the tree). It is a file of
 * lines that only grows, but for history_compact(); here is where they begin. May be used by
 * several threads at the same time.
 */
History *history_new (Store *store, uint32_t number);
History *history_new_tree (Store *store);
void history_free (History *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (History, history_free)

/* Takes in what was added to the file since; one system call when there is nothing. That there is
 * no file is no error: then nothing is kept. */
bool history_load (History *self, GError **error);

/* Another number whenever there is something else in it than before. */
uint64_t history_generation (History *self);

/* Whether nothing was kept. */
bool history_is_empty (History *self);

/* The directories of which there is one, ascending (uint32_t). */
GArray *history_numbers (Store *store, GError **error);

/* Lines that are not what was written, or make no sense, of which check tells. Reads all. */
guint history_damaged (History *self);

/* Whether a line tells of `subject`, a UID, 0 for the directory itself, or in the tree a number, as
 * it was in `epoch`. */
bool history_has (History *self, uint32_t subject, uint32_t epoch);

/* Until when that line holds; 0: there is none. */
uint32_t history_until (History *self, uint32_t subject, uint32_t epoch);

/* All subjects that history_has() answers true for, ascending (uint32_t); without the directory
 * itself. */
GArray *history_subjects (History *self, uint32_t epoch);

/* A message as it was: with snapshot_has() that is all there is to know. */
typedef struct {
  int64_t changed_ns;
  bool has_state;
  MessageState state;
} HistoryMessage;
void history_message_clear (HistoryMessage *message);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (HistoryMessage, history_message_clear)

/* `*out_kept` is false when nothing is kept: then it is as it is now. EBADMSG: the line makes no
 * sense. */
bool history_message (History *self, uint32_t uid, uint32_t epoch, HistoryMessage *out,
                      bool *out_kept, GError **error);

/* All that messages have been, line by line: the one at `*place`, at first 0, which is moved on.
 * What makes no sense is passed over. `*out_found` is false at the end. */
bool history_message_next (History *self, guint *place, uint32_t *out_uid, HistoryMessage *out,
                           bool *out_found, GError **error);

/* The directory itself as it was; `kind` is that of its node. */
typedef struct {
  int64_t mtime_ns, ctime_ns;
  bool has_state;
  NodeState state;
} HistoryDirectory;
void history_directory_clear (HistoryDirectory *directory);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (HistoryDirectory, history_directory_clear)
bool history_directory (History *self, StoreNodeKind kind, uint32_t epoch, HistoryDirectory *out,
                        bool *out_kept, GError **error);

/* A node of the tree as it was. */
typedef struct {
  bool absent;    /* it was not there, although its number was given out */
  StoreNode node; /* unless it is absent */
  char *place;    /* STAMP/PATH in quarantine, where it was taken to when it was removed last. Where
                     the list has its number counts more: it may have come back. NULL: never */
} HistoryNode;
void history_node_clear (HistoryNode *node);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (HistoryNode, history_node_clear)
bool history_node (History *self, uint32_t number, uint32_t epoch, HistoryNode *out, bool *out_kept,
                   GError **error);

/* Numbers of the nodes that were in `parent` in `epoch`, as far as that is kept, ascending. */
GArray *history_children (History *self, uint32_t parent, uint32_t epoch);

/* Adds whole lines to the file; who holds the user lock of the directory, or the store lock, does.
 * They are on disk when history_sync() has been called with the descriptor that is returned, which
 * is the caller's. -1 with an error. */
int history_append (History *self, const char *lines, GError **error);
bool history_sync (History *self, int fd, GError **error);

/* Makes sure that what is in it is on disk: who added it may have died before that. */
bool history_settle (History *self, GError **error);

/* Drops the lines that none of the snapshots needs; both of those locks are held. `*out_left` is
 * false when no line is left, and no file. */
bool history_compact (History *self, const SnapshotSet *snapshots, bool *out_left, GError **error);

/* Where in quarantine directories are that a snapshot has: STAMP/PATH, an array of char *. */
GPtrArray *history_places (History *self, const SnapshotSet *snapshots);

/* ---- keep.c: keeping what a change overwrites ---------------------------------------------- */

/* The history of a mailbox, and that of the tree, which are remembered. */
History *keep_history (StoreMailbox *mailbox);
History *keep_tree (Store *store);

/* Whether a snapshot has the message, which is like this now: then its file must stay. In doubt it
 * must. The histories of the mailbox and of the tree have been loaded. */
bool keep_is_needed (const SnapshotSet *snapshots, StoreMailbox *mailbox, uint32_t uid,
                     const MessageState *state, int64_t changed_ns);

/* What is to be kept of one directory, or of the tree, before a change. */
struct Keep {
  const Epoch *epoch;
  History *history; /* NULL: no snapshot needs anything */
  GString *lines;
  bool written; /* and not synced */
  int fd;       /* then */
};
void keep_clear (Keep *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Keep, keep_clear)

/* Begins with the directory as it is. Costs nothing when there is no snapshot. */
bool keep_begin (Keep *out, const Epoch *epoch, StoreMailbox *mailbox, GError **error);

/* Adds the message as it is, unless it is kept already or no snapshot has it: then it returns
 * false. `state` is what counts as its state, NULL for none; `expunged` tells where its file lies.
 */
bool keep_message (Keep *self, uint32_t uid, int64_t changed_ns, const MessageState *state,
                   bool expunged);

/* Whether keep_message() may have to add it. */
bool keep_wants (const Keep *self, uint32_t uid);

/* Begins one of the tree; the store lock is held. */
bool keep_begin_tree (Keep *out, const Epoch *epoch, GError **error);

/* Adds the node as it is. With `place`, where in quarantine it goes, that is told whatever is kept
 * already. */
void keep_node (Keep *self, const ListNode *node, const char *place);

/* Adds that there is no node of that number. */
void keep_absent (Keep *self, uint32_t number);

/* Writes all of it, durably. What is changed after a failure would be lost to the snapshots. */
bool keep_end (Keep *self, GError **error);

/* The same in two steps, between which other files may be written that are synced next: then most
 * filesystems have one commit to do instead of two. */
bool keep_write (Keep *self, GError **error);
bool keep_sync (Keep *self, GError **error);

/* The directory alone. */
bool keep_directory (const Epoch *epoch, StoreMailbox *mailbox, GError **error);
