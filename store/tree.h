/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - the directories: their locks, numbers and names, how they are made, listed and taken in,
 * and what was removed of them. Of store/internal.h, which includes it.
 */
#pragma once

#include "store/files.h"

typedef struct Epoch Epoch;   /* store/snapshot.h */
typedef struct Handle Handle; /* store/internal.h */

/* ---- lock.c -------------------------------------------------------------------------------- */

/* Waits for the user lock of the node `owner`, or the store lock; closing the descriptor gives it
 * back. -1 with an error. */
int lock_user (Store *store, uint32_t owner, GError **error);
int lock_store (Store *store, GError **error);

/* Whether anybody else waits for a lock that is held. */
bool lock_is_wanted (int lock);

/* The user lock for a change to the mailbox. ESTALE: its directory is gone, or was replaced by
 * another (not: renamed), and what was known of it must not be written to what is there now. */
int lock_mailbox (StoreMailbox *mailbox, GError **error);

/* The same for a delivery, which must not settle what it is part of, and asks lock_fits() itself,
 * with the lock held, before each mailbox that it writes to. */
int lock_mailbox_to_deliver (StoreMailbox *mailbox, GError **error);
bool lock_fits (StoreMailbox *mailbox, GError **error);

/* The user lock of who only looks, which is shared with others who do; writers wait for it. It
 * changes nothing on disk, and so it can be had of a store that is open read only, too. */
int lock_user_look (Store *store, uint32_t owner, GError **error);

/* Likewise the store lock together with the list, as lock_list(); one in memory will do. */
int lock_list_look (Store *store, Handle **out_list, GError **error);

/* As lock_user_look() without waiting for a writer: EAGAIN. */
int lock_user_try_look (Store *store, uint32_t owner, GError **error);

/* The store lock together with the list, which nobody replaces while the lock is held. Whoever
 * holds the store lock uses this handle and does not ask the cache: making a missing list takes the
 * same lock. Fails with what forced the list into memory, if that is where it is. */
int lock_list (Store *store, Handle **out_list, GError **error);

/* What a process does with a user for longer than a commit takes. Taken before the locks above, and
 * given back likewise. */
typedef enum {
  LOCK_IMPORT,  /* EBUSY: another import into that user is running */
  LOCK_REBUILD, /* any number at a time; waits while the user is purged */
  LOCK_PURGE,   /* EBUSY: somebody rebuilds the user's index, or purges */
} LockTask;
int lock_task (Store *store, uint32_t owner, LockTask task, GError **error);

/* Takes `count` consecutive node numbers, and a UIDVALIDITY above every earlier one. The store lock
 * must be held. `least` is the lowest number that may be given, above all that are known to be in
 * use: the counter may be lost or old. `count` may be 0; the counter is written all the same. */
bool store_numbers_take (Store *store, uint32_t count, uint32_t least, uint32_t *out_first,
                         uint32_t *out_uidvalidity, GError **error);

/* The store's own state; without one that makes sense (a store restored without attributes) the
 * defaults. */
bool store_state_current (Store *store, StoreState *out, GError **error);

/* The epoch that changes made now most likely belong to; epoch_enter() tells for sure. */
uint32_t store_epoch (Store *store);

/* ---- node.c -------------------------------------------------------------------------------- */

/* How deep below mail/ a directory may lie. */
#define NODE_DEPTH_MAX 64u

/* Names that mean something below a domain and below a user. */
#define NODE_USERS  "user"
#define NODE_SHARED "shared"
#define NODE_INBOX  "INBOX"

/* What fsck makes at the top of a filesystem, which mail/ may be; no domain. */
#define NODE_LOST_FOUND "lost+found"

/* What a directory `name` in a `parent` of that kind is; STORE_NODE_ROOT when it is nothing of
 * ours. */
StoreNodeKind node_child_kind (StoreNodeKind parent, const char *name);

/* Whether the error, which may be NULL, says that what was looked for is not there, or not any
 * more.
 */
bool is_gone (const GError *error);

/* Whether it is a user's INBOX, which is always there (RFC 3501, 5.1). */
bool node_is_inbox (Store *store, const StoreNode *node);

/* Whether a user or shared node has an index, or may have one: it is the user's choice. */
bool node_has_index (Store *store, uint32_t owner);

/* As store_node_find() and store_node_children(), of what the list has: nobody looks whether others
 * put something there. Not of a snapshot. */
bool node_listed_find (Store *self, uint32_t parent, const char *name, StoreNode *out,
                       bool *out_found, GError **error);
bool node_listed_children (Store *self, uint32_t parent, const char *after, StoreNode *out,
                           size_t capacity, size_t *out_count, GError **error);

/* The next at most `capacity` nodes from the number `from` on, ascending; without the root. */
bool node_listed_from (Store *self, uint32_t from, StoreNode *out, size_t capacity,
                       size_t *out_count, GError **error);

/* Calls `each` for a node and every directory below it, parents first, with the path below that
 * node: "" is itself. Stops at the first failure; but what is gone by now, which ENOENT and ESTALE
 * say, is left out, and so is what is below it. Only a whole snapshot that is gone is a failure. */
typedef bool (*NodePathFunc) (const StoreNode *node, const char *path, void *data, GError **error);
bool node_each_below (Store *store, const StoreNode *top, NodePathFunc each, void *data,
                      GError **error);

/* store_node_each_child() for the rows of a list; `each` may take what it needs out of the row. */
typedef bool (*ListChildFunc) (List *list, ListNode *child, void *data, GError **error);
bool list_each_child (List *list, uint32_t parent, ListChildFunc each, void *data, GError **error);

bool list_node_path (List *list, uint32_t number, char **out_path, GError **error);

/* Moves a row of the list into a node. */
StoreNode node_from_list (ListNode *row);

/* ---- create.c ------------------------------------------------------------------------------ */

/* Longer paths are not made: they would come near PATH_MAX. */
#define PATH_BYTES_MAX 3072u

/* The directory's name for a mailbox called `name` in a `parent`, and its full name where that does
 * not tell it, else NULL; both are owned by the caller. */
bool create_name (const StoreNode *parent, const char *name, char **out_name, char **out_full_name,
                  GError **error);

/* Makes what is missing of `levels` below `node`, which becomes the last of them. */
bool create_levels (Store *store, StoreNode *node, char *const *levels, unsigned count,
                    GError **error);

/* How many names a path has. */
unsigned create_path_depth (const char *path);

/* ---- spelling.c ---------------------------------------------------------------------------- */

/* The names that a spelling stands for, from the root down, one a level: owned strings. */
GPtrArray *spelling_split (const StoreTree *tree, const char *spelling);

/* The name that `name` means in `parent`: any spelling of INBOX means the one (RFC 3501, 5.1). */
const char *spelling_fold (const StoreNode *parent, const char *name);

/* Follows `levels` down from `node` as far as there are nodes; `*out_depth` says how far. */
bool spelling_descend (const StoreTree *tree, char *const *levels, unsigned count, StoreNode *node,
                       unsigned *out_depth, GError **error);

/* Finds the node, or how far down the way to it exists. A first name that is neither a domain nor
 * has one is a user of the default domain, which is then put before `levels`. */
bool spelling_locate (const StoreTree *tree, GPtrArray *levels, StoreNode *out, unsigned *out_depth,
                      GError **error);

/* ---- walk.c: the directories as they lie on disk ------------------------------------------- */

/* Called for each thing that is not as it should be. */
typedef void (*RelistFunc) (StoreProblem problem, uint32_t number, const char *path,
                            const char *detail, void *data);

/* A directory that was found. */
typedef struct {
  guint parent; /* its place in Walk.found, plus 1; 0: mail/ itself */
  unsigned depth;
  StoreNodeKind kind;
  char *name, *path;
  NodeState state;      /* number 0: it needs one */
  bool unwritten;       /* the state is not, or not so, on the directory */
  bool known;           /* the list has it so, and nobody looked below it */
  int64_t directory_ns; /* its mtime before its names were read */
} Found;

/* Of the whole tree; or, when `partial`, of one directory with what is new in it. `dry_run` gives
 * directories without a number one that is made up, and writes nothing. */
typedef struct {
  Store *store;
  List *list; /* as it was */
  bool dry_run, partial;
  RelistFunc report; /* may be NULL */
  void *data;
  GPtrArray *found;    /* of Found; parents come before their children */
  GHashTable *numbers; /* number -> Found: who has it */
  guint top;           /* whose children were looked at first, as in Found.parent */
  bool shallow;        /* those that the list knows were not looked into */
  int64_t root_ns;     /* as Found.directory_ns, of mail/ */
  uint32_t highest;    /* number on any directory or in the list */
  Index *witness;      /* of evidence: the index that was asked last; NULL: none can be */
  char *witness_path;
} Walk;
void walk_init (Walk *walk, Store *store, List *list);
void walk_clear (Walk *walk);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Walk, walk_clear)

/* Walks; `number` is where a partial walk begins. ESTALE: that is gone. */
bool walk_run (Walk *walk, uint32_t number, GError **error);
void walk_tell (const Walk *walk, StoreProblem problem, uint32_t number, const char *path,
                const char *detail);

/* The node whose index has the rows of what was found; NULL: none has. */
const Found *walk_owner (const Walk *walk, const Found *found);

/* Whether `name` is a directory; what is not there any more is none. */
bool walk_is_directory (int fd, const char *name, bool *out_is, GError **error);

/* ---- relist.c: the mailbox list from the directories --------------------------------------- */

/* Fills an empty or outdated list with what lies below mail/. Directories without a valid state get
 * one, unless the store is read only or `dry_run`. `found` is called for each difference; it may be
 * NULL. */
bool relist (Store *store, List *list, bool dry_run, RelistFunc found, void *data, GError **error);

/* Fills the empty `list` with what lies below mail/ of evidence. `known`, which may be NULL, tells
 * the numbers of directories that do not. */
bool relist_evidence (Store *store, List *known, List *list, GError **error);

/* Builds a list beside the one at `path` and puts it in its place; a damaged one is kept under
 * another name. Returns the new one, opened; or the one that is there, when it is sound: another
 * process may have been faster. */
List *relist_replace (Store *store, const char *path, RelistFunc found, void *data, GError **error);

/* Brings the list in line below the directory `number`: with all that is new in it or gone from it,
 * and with everything below when nobody knows what became of that. The store
 * lock is held. */
bool relist_part (Store *store, List *list, uint32_t number, bool *out_changed, GError **error);

/* ---- integrate.c: what others put into the store ------------------------------------------- */

/* Whether a directory that is no mailbox has, as far as its mtime tells, just the children that the
 * list has. */
bool container_agrees (Store *store, List *list, uint32_t number, bool *out_agrees, GError **error);

/* Whether that is so of all that lies above the users. */
bool integrate_is_due (Store *store, List *list, bool *out_due, GError **error);

/* Takes into the list what somebody else put above the users, or took away; what cannot be taken in
 * stays as it is. The store lock is taken only when there is something to do. */
void integrate_all (Store *store);

/* Likewise in `parent`, which is to be listed, or where a name was not found; true: it is worth to
 * look again. */
bool integrate_at (Store *store, uint32_t parent);

/* What was moved below `owner`, a user or shared node, is doubtful from doubt_begin() until the
 * list follows with doubt_end() in the same commit: whoever looks after a crash lists all of it
 * anew. The store lock is held. When nothing came of it, doubt_drop() ends it. */
typedef struct {
  StoreMailbox *owner, *above;
  int64_t owner_ns, above_ns; /* as the list had them */
  bool owner_agreed, above_agreed;
} Doubt;
bool doubt_begin (Doubt *out, Store *store, List *list, uint32_t owner, GError **error);
bool doubt_end (const Doubt *doubt, ListWrite *write, GError **error);
void doubt_drop (const Doubt *doubt, List *list);
void doubt_clear (Doubt *doubt);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Doubt, doubt_clear)

/* ---- quarantine.c: what was removed ---------------------------------------------------------- */

/* A name for one removal, and what it takes: the file or directory `path` below mail/, to
 * STORE/quarantine/STAMP/PATH. It is durable when that returns. */
char *quarantine_stamp (void);
bool quarantine_take (Store *store, const char *stamp, const char *path, GError **error);

/* Opens quarantine/; -1 and an error. */
int quarantine_open (Store *store, GError **error);

/* Stamps have one length, and there is one for each removal, a directory: names, the oldest first.
 * What is gone by now may have been one. */
#define QUARANTINE_STAMP_LENGTH 25u
bool quarantine_is_stamp (int quarantine, const char *name);
GPtrArray *quarantine_stamps (Store *store, GError **error);

/* Calls `each` for everything in quarantine, or what came there with a stamp; without its size,
 * which takes a walk through it. */
typedef bool (*QuarantineFunc) (Store *store, const StoreQuarantined *object, void *data,
                                GError **error);
bool quarantine_each (Store *store, QuarantineFunc each, void *data, GError **error);
bool quarantine_each_of (Store *store, const char *stamp, QuarantineFunc each, void *data,
                         GError **error);
uint64_t quarantine_size (Store *store, const StoreQuarantined *object);

/* The one of that path, with its own copy of it; absence is no error. */
bool quarantine_find (Store *store, const char *path, StoreQuarantined *out, bool *out_found,
                      GError **error);

/* Where in quarantine the directories are that snapshots have, and whether an object is one, holds
 * one or lies in one. */
GPtrArray *quarantine_needed (Store *store, GError **error);
bool quarantine_is_needed (const StoreQuarantined *object, const GPtrArray *needed);

/* Removes it for good. A QuarantineFunc; `data` is what quarantine_needed() told. EBUSY: it is
 * needed. */
bool quarantine_remove (Store *store, const StoreQuarantined *object, void *data, GError **error);
