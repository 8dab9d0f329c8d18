/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of store/ share: files on disk, mailboxes, messages, locks. Those
 * that make jobs of them share store/jobs.h, too. Nothing outside store/ and its unit tests
 * includes either.
 *
 * Five invariants, each with a test of its own (tests/unit/test-invariants.c):
 *
 *  1. One message is one file. Its name is its UID. A UID is never used for another message.
 *  2. The file moves first, the index follows; so a crash leaves the index behind the files, never
 *     ahead, and the next check catches up.
 *  3. No fact lives only in the index.
 *  4. A message's bytes never change once committed.
 *  5. check and reconstruct never modify or remove a message file. (An old file of a message that
 *     was expunged is put back among the expunged, as it is.) Only cleanup removes any, of messages
 *     that were expunged; purge takes none.
 *
 * Lock order, outermost first; no lock is held over reading or syncing a message's content:
 *
 *  - task lock: flock(2) on a directory of tmp/: imports, rebuilds and purges of a user
 *  - run lock: a byte of jobs.lock (record.c): who runs a job, and the one worker. Nobody waits
 *  - user lock: flock(2) on the user's directory: all that changes the user's mail or index. A
 *    stream of deliveries keeps it for some milliseconds (delivery.c). Of two users the lower
 * number comes first
 *  - epoch: flock(2) on the store's directory, shared by whoever changes anything. Who takes a
 *    snapshot waits for all of them, and holds no user lock (epoch.c)
 *  - store lock: flock(2) on mail/: numbers, the mailbox list, snapshots
 *  - audit lock: flock(2) on audit.jsonl: who adds a line, until it is on disk
 *  - IndexWrite, ListWrite
 *  - Store.delivery_mutex: who delivers to whom; nothing is waited for, nor any lock taken, with it
 *  - Store.remains_mutex: held while what is left of broken indexes is made use of
 *  - Store.mutex: the caches of open mailboxes and indexes
 *  - StoreMailbox.mutex
 *  - Store.snapshot_mutex, and the one of each History
 *  - Store.missing_mutex
 *  - Store.heal_mutex
 */
#pragma once

#include "index/index.h"
#include "store/store.h"

#include <fcntl.h>
#include <sys/stat.h>

typedef struct Evidence Evidence;       /* store/evidence.h */
typedef struct Epoch Epoch;             /* store/snapshot.h */
typedef struct Keep Keep;               /* likewise */
typedef struct Missing Missing;         /* store/missing.c */
typedef struct Remains Remains;         /* store/lost-index.c */
typedef struct History History;         /* likewise */
typedef struct SnapshotSet SnapshotSet; /* likewise */

/* ---- the store object ---------------------------------------------------------------------- */

/* An open database that several threads share. It is closed with the last reference. */
typedef struct {
  gatomicrefcount references;
  uint64_t serial; /* no other handle of this process has or had it */
  char *path;
  Index *index; /* one of the three; all are NULL when opening failed */
  List *list;
  Queue *queue;
  GError *failure;    /* why it could not be opened; remembered until the file changes */
  GError *remade;     /* why the list had to be mended, until that is told; by Store.mutex */
  struct stat failed; /* the file then */
  bool fixed;         /* evidence: its file is not looked at again */
  int64_t made_us;    /* when a list in memory was made */
} Handle;
void handle_unref (Handle *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Handle, handle_unref)

typedef struct Past Past; /* see past.h */

struct Store {
  Past *past; /* NULL: the store as it is; else this is how it was at a snapshot */
  Evidence *evidence; /* NULL: a store like any other; a snapshot's is the live one's */
  char *path; /* absolute, without symbolic links */
  char *uuid;
  StoreOpenFlags flags;
  _Atomic int64_t settings[STORE_PURGE_AGE + 1]; /* written with the store lock held */
  uid_t owner_uid; /* of the store's directory; all that is made belongs to it */
  gid_t owner_gid;
  int fd, mail_fd;

  GMutex mutex;                      /* guards what follows */
  GHashTable *mailboxes, *indexes;   /* number -> StoreMailbox, Handle; see cache.c */
  GQueue mailbox_order, index_order; /* least recently used last */
  Handle *list;
  bool list_in_memory;
  Handle *queue;
  int tmp_fd; /* -1 until the first draft */
  char tmp_name[32];
  int tmp_count; /* atomic */

  StoreNoticeFunc notice; /* NULL: nobody wants to know; set before threads use the store */
  void *notice_data;

  GMutex heal_mutex; /* guards what follows */
  GHashTable *heal;  /* number of a mailbox, or an owner, -> HealReasons; see heal.c */

  GMutex delivery_mutex;  /* guards what follows; see delivery.c */
  GHashTable *deliveries; /* owner -> Delivery */
  GThread *closer;        /* NULL until there was a stream of mail */
  GCond stream_opened;
  bool closing;
  int streams; /* how many are open; written with the mutex, read without */

  GMutex missing_mutex; /* guards what follows; see missing.c */
  Missing *missing;     /* what was asked for last; NULL: nothing was */

  GMutex remains_mutex; /* guards what follows; see lost-index.c */
  Remains *remains;     /* of one user's broken indexes; NULL: nobody asked */

  GMutex snapshot_mutex;  /* guards what follows; see epoch.c */
  SnapshotSet *snapshots; /* as they were last; NULL: nobody looked */
  int gate_fd;            /* of snapshots/; -1: it was not there */
  History *tree;          /* where directories were; NULL: nobody asked. It has a lock of its own */
};

/* What the messages of a mailbox amount to in a snapshot; see past-mailbox.c. */
typedef struct {
  bool known;
  uint32_t messages, unseen, damaged, uidnext;
  uint64_t bytes, highestmodseq;
  uint32_t damaged_now; /* messages of the mailbox, when they were counted */
} PastCounts;

/* One that is not open yet; store_close() takes it. */
Store *store_new (void);

struct StoreMailbox {
  gatomicrefcount references;
  Store *store;
  uint32_t number, owner;
  StoreNodeKind kind;
  char *path;               /* below mail/ */
  _Atomic uint64_t whole;   /* serial of an index that has all its rows */
  _Atomic uint64_t lacking; /* of one that has not */
  int fd;
  dev_t device; /* of `fd` */
  ino_t inode;
  GMutex mutex;        /* guards what follows */
  GArray *uids;        /* of the files, when the index could not be trusted; NULL: never needed */
  int64_t uids_ns;     /* the directory's mtime then */
  GArray *gone;        /* of those in .expunged, when somebody looked; NULL: nobody did */
  int64_t gone_ns;     /* the mtime of that then */
  uint64_t modseq;     /* that the last append by this process gave; 0: none yet */
  uint32_t epoch;      /* likewise */
  int64_t listed_ns;   /* the directory's mtime when it was known which mailboxes are in it */
  PastCounts counts;   /* of a snapshot's mailbox that has changed since */
  int64_t appended_us; /* when it ended; whoever delivers to the user guards it, not the mutex */
  History *history;    /* what snapshots need of it; NULL: nobody asked. It has a lock of its own */
};

/* Reads mailfs.conf; and opens mail/, whose owner is the store's. */
bool store_read_config (Store *store, GError **error);
bool store_open_mail (Store *store, GError **error);

/* Tells whoever wants to know, by store_notice(), what was met and no call returns. */
void store_tell (const Store *store, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* ---- settings.c: mailfs.conf --------------------------------------------------------------- */

#define CONFIG "mailfs.conf"

/* Reads the file; EINVAL when there is none, or it makes no sense. */
GKeyFile *config_read (const Store *store, GError **error);

/* Puts `text` in its place, durably, with the owner and mode that it had. `fd` is of the store's
 * directory. */
bool config_write (int fd, const char *text, GError **error);

/* Takes the settings out of it. EINVAL names the key that makes no sense. */
bool settings_load (Store *store, GKeyFile *file, GError **error);

/* ---- layout.c: where things are on disk ---------------------------------------------------- */

#define LAYOUT_EXPUNGED ".expunged"
#define LAYOUT_STATE    ".state"

/* The mailbox list, as findings name it: from mail/, as all that they name. */
#define LAYOUT_LIST  "../mailboxes.sqlite3"
#define LAYOUT_QUEUE "../queue.sqlite3"

/* Opens `path` below the directory `fd`, never through a symbolic link and never out of it
 * (openat2);
 * "" is the directory itself. O_CLOEXEC is added; opening for reading does not change the atime
 * where that is allowed. Returns a descriptor, or -1 with errno set. */
int layout_open (int fd, const char *path, int flags, mode_t mode);

/* Opens a regular file for reading; EMEDIUMTYPE when it is something else. */
int layout_open_message (int fd, const char *name);

/* Gives a new file or directory to the store's owner, when root makes it. */
bool layout_own (Store *store, int fd, GError **error);

/* The same for a database, which must not be opened for reading beside SQLite: closing it would
 * drop SQLite's locks. */
bool layout_own_path (Store *store, const char *path, GError **error);

/* Makes a directory that is visible only once it is complete: first under a name of its own in
 * tmp/, then renamed to `name` in `parent_fd`. `prepare` runs in between. EEXIST when it is there
 * already. */
typedef bool (*LayoutPrepareFunc) (int fd, void *data, GError **error);
bool layout_make_directory (Store *store, int parent_fd, const char *name,
                            LayoutPrepareFunc prepare, void *data, GError **error);

/* renameat2 (RENAME_NOREPLACE), or the next best where the filesystem lacks it. -1 and errno. */
int layout_move (int from_fd, const char *from, int to_fd, const char *to);

/* Absolute path of the index of the user or shared node whose path below mail/ is `node_path`. */
char *layout_index_path (Store *store, const char *node_path);

/* The same of the full-text index. No index is called so: their names end in ".sqlite3". */
char *layout_fulltext_path (Store *store, const char *node_path);

/* Removes a database durably, with its journal; absence is no error. */
bool layout_remove_database (const char *path, GError **error);

/* Renames a damaged database, or whatever lies in its place, and what belongs to it, so that it
 * stays as evidence: PATH.damaged-TIME. */
bool layout_keep_damaged (const char *path, GError **error);

/* The same for an index from which something may still be salvaged. It is called PATH.broken-N
 * until layout_keep_broken() says that all it told is in the files; so nothing is forgotten when
 * the rebuild is interrupted. */
bool layout_set_aside (const char *path, GError **error);
bool layout_keep_broken (const char *path, GError **error);

/* The name of the Nth of them; NULL: there are no more. */
char *layout_broken_path (const char *path, unsigned n);

/* Removes what is in the directory `fd`, or the file or directory `name` in it with all that it
 * holds, never through a link. What cannot be removed stays, and the first of it is the error. */
bool layout_empty (int fd, GError **error);
bool layout_remove (int fd, const char *name, GError **error);

/* The directory in tmp/ that belongs to this process; what dead processes left there is removed
 * when it is made. */
int layout_tmp (Store *store, GError **error);

/* Removes the directory `name` of tmp/ with all that is in it, unless a process has it locked, as
 * each has its own while it lives. */
bool layout_tmp_remove (int tmp, const char *name);

/* A new name in it. */
void layout_tmp_name (Store *store, char out[32]);

/* Removes it again, when the store is closed. */
void layout_tmp_close (Store *store);

/* Where a message lies, below its mailbox. */
void layout_message_path (uint32_t uid, bool expunged, char out[32]);

/* Whether a message file lies there; a link or a directory of that name is none. */
bool layout_message_stat (int fd, const char *path, struct stat *out);

/* The names in the directory `path` below `fd`, but for "." and "..", in byte order. */
GPtrArray *layout_names (int fd, const char *path, GError **error);

/* UIDs of the message files in the directory `path` below `fd`, ascending (uint32_t). What is
 * neither a message, a directory nor ours is added to `strays` by name, unless that is NULL. */
GArray *layout_uids (int fd, const char *path, GPtrArray *strays, GError **error);

/* The numbers that files in the directory `path` below `fd` are called by, ascending (uint32_t); none
 * where there is no such directory. */
GArray *layout_numbers (int fd, const char *path, GError **error);

/* The order of such an array: a GCompareFunc on uint32_t. */
gint layout_compare_uids (gconstpointer a, gconstpointer b);

int64_t stat_mtime_ns (const struct stat *st);
int64_t stat_ctime_ns (const struct stat *st);

/* ---- state.c: facts kept on files ---------------------------------------------------------- */

/* What user.mailfs.state on a message says. */
typedef struct {
  uint64_t modseq;
  uint32_t birth, expunged; /* epochs; expunged is 0 for a live message */
  uint64_t digest;          /* digest_prefix() of what was delivered; 0: unknown */
  uint32_t flags;
  char *keywords;
  bool copied; /* it has no state of its own, and these flags are what a mount told; see copied.c */
} MessageState;
void message_state_clear (MessageState *state);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (MessageState, message_state_clear)

/* What the attribute on a directory says; mailboxes use all of it, the others only the number. */
typedef struct {
  uint32_t number;
  uint32_t uidvalidity, uidnext;
  uint64_t modseq; /* HIGHESTMODSEQ when it was written; messages carry newer ones themselves */
  bool subscribed;
  bool no_index; /* of a user */
  bool full_text; /* likewise: a full-text index, too */
  char *special_use;
  char *full_name;
  bool copied; /* it has no state of its own, and this is what a mount told; see copied.c */
} NodeState;
void node_state_clear (NodeState *state);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (NodeState, node_state_clear)

/* What the attribute on mail/ says. */
typedef struct {
  uint32_t next_number;
  uint32_t epoch;
  uint32_t last_uidvalidity;
} StoreState;

/* The first 8 bytes of a SHA-256, the part of it that stands on the file; and back, the rest zeros.
 */
uint64_t digest_prefix (const uint8_t sha256[32]);
void digest_from_prefix (uint64_t prefix, uint8_t out_sha256[32]);

/* Whether bytes with the digest `actual` can be those that are known by `known`: a whole digest,
 * one made of a prefix, or zeros for none. */
bool digest_matches (const uint8_t known[32], const uint8_t actual[32]);
bool digest_is_whole (const uint8_t known[32]);

/* Reading: absence is a result (`*out_found`), EBADMSG is an attribute that makes no sense. On
 * filesystems without user attributes the same lines stand in .state in the directory;
 * `directory_fd` says where. Where there is no line, what a mount told is taken (`copied`): the
 * flags of a message, whose modseq is 0 then; of a directory, if that tells its number. Writing:
 * E2BIG when the filesystem cannot hold it. Durable after fsync of `fd` (or at once in .state). */
bool message_state_read (int directory_fd, int fd, uint32_t uid, MessageState *out, bool *out_found,
                         GError **error);
bool message_state_write (Store *store, int directory_fd, int fd, uint32_t uid,
                          const MessageState *state, GError **error);
bool node_state_read (int fd, StoreNodeKind kind, NodeState *out, bool *out_found, GError **error);
bool node_state_write (Store *store, int fd, StoreNodeKind kind, const NodeState *state,
                       GError **error);
/* The line of the attribute, and back; EBADMSG. A state made of one owns what it holds. */
char *message_state_format (const MessageState *state);
bool message_state_parse (const char *line, MessageState *out, GError **error);
char *node_state_format (StoreNodeKind kind, const NodeState *state);
bool node_state_parse (const char *line, StoreNodeKind kind, NodeState *out, GError **error);

/* Takes a number, and the space behind it, off the beginning of such a line. */
bool state_take_number (const char **line, unsigned base, uint64_t max, uint64_t *out);

/* A field of such a line, "-" for NULL: what would end the field or the line is escaped, which
 * store_name_unescape() undoes. */
char *state_escape (const char *text);

bool store_state_read (int fd, StoreState *out, bool *out_found, GError **error);
bool store_state_write (Store *store, int fd, const StoreState *state, GError **error);

/* ---- lines.c: files of lines that only grow --------------------------------------------------- */

/* Longer ones make no sense. */
#define LINE_BYTES_MAX 131072u

/* Opens the file `path` below the store's directory, to add to it; it is made when there is none, with
 * the directory that it is in, and then on disk. -1 and an error. */
int lines_open (Store *store, const char *path, GError **error);

/* Adds whole lines to it. They are on disk once it has been synced. */
bool lines_write (Store *store, const char *path, int fd, const char *lines, GError **error);

/* ---- missing.c: messages whose file is gone --------------------------------------------------- */

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

/* Adds one about a message of that mailbox; the summary may be NULL. Those of another mailbox before
 * are written. missing_lines_end() writes what is left; then all are on disk. */
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

/* The UIDs that there are lines about, ascending (uint32_t), whether there is a file or not. */
GArray *missing_uids (Store *store, uint32_t number, GError **error);

/* What is known of one; `*out_noted_s` is when its file was missed first. Absence is no error. */
bool missing_get (Store *store, uint32_t number, uint32_t uid, int64_t *out_noted_s,
                  IndexMessage *out, IndexSummary *out_summary, bool *out_found, GError **error);

/* The mailboxes that there are lines about, ascending (uint32_t). */
GArray *missing_numbers (Store *store, GError **error);

/* ---- copied.c: facts on what was copied out of a mount --------------------------------------- */

/* What somebody else tells, a copy or an export, may not use up what must last: numbers so near to
 * the last one are not believed. */
#define BELIEVED_LESS       (1u << 20)
#define NUMBER_BELIEVED_MAX (STORE_NUMBER_MAX - BELIEVED_LESS)
#define UID_BELIEVED_MAX    (STORE_UID_MAX - BELIEVED_LESS)

/* Reads what the attributes tell that a mount shows; false: nothing that makes sense. Of a
 * directory the number may be 0. */
bool copied_message_read (int fd, MessageState *out);
bool copied_node_read (int fd, StoreNodeKind kind, NodeState *out);

/* Removes them; and puts those of a message back. */
void copied_message_forget (int fd);
void copied_message_keep (int fd, const MessageState *state);
void copied_node_forget (int fd);

/* Tells a directory that tells nothing its number, as a mount would; failing does no harm. */
void copied_number_keep (int fd, uint32_t number);

/* ---- flags.c ------------------------------------------------------------------------------- */

/* The keywords that come of changing `old` by `given`: sorted, owned; NULL when there are none. */
char *keywords_change (const char *old, const char *given, StoreFlagsChange change);

/* ---- uids.c -------------------------------------------------------------------------------- */

/* Sorts UIDs (uint32_t), and leaves each once; the place of the first above `after` among sorted
 * ones. */
void uids_sort (GArray *uids);
guint uids_first_above (const GArray *uids, uint32_t after);

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

/* Calls `each` for every child, in the order of their names. Stops at the first failure. */
typedef bool (*NodeFunc) (const StoreNode *child, void *data, GError **error);
bool node_each_child (Store *store, uint32_t parent, NodeFunc each, void *data, GError **error);

/* The same for the rows of a list; `each` may take what it needs out of the row. */
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

/* Calls `each` for everything in quarantine. */
typedef bool (*QuarantineFunc) (Store *store, const StoreQuarantined *object, void *data,
                                GError **error);
bool quarantine_each (Store *store, QuarantineFunc each, void *data, GError **error);

/* Where in quarantine the directories are that snapshots have, and whether an object is one, holds
 * one or lies in one. */
GPtrArray *quarantine_needed (Store *store, GError **error);
bool quarantine_is_needed (const StoreQuarantined *object, const GPtrArray *needed);

/* Removes it for good. A QuarantineFunc; `data` is what quarantine_needed() told. EBUSY: it is
 * needed. */
bool quarantine_remove (Store *store, const StoreQuarantined *object, void *data, GError **error);

/* ---- change.c ------------------------------------------------------------------------------ */

/* Notes a change for every process that watches the store. Never fails: it is a hint. */
void change_note (Store *store, uint32_t number, uint32_t uid);

/* Likewise that what was called `name` in the directory has another name or place now. */
void change_note_name (Store *store, uint32_t number, const char *name);

/* The same for many messages of one mailbox. */
void change_note_uids (Store *store, uint32_t number, const GArray *uids);

/* ---- cache.c: what is kept open ------------------------------------------------------------ */

void cache_init (Store *store);
void cache_clear (Store *store);

/* The mailbox list; made again from the directories when it is missing or damaged. Where it cannot
 * be written it is in memory, and `failure` says why. */
Handle *cache_list (Store *store, GError **error);

/* Goes on with a list in memory, made of the directories, because the one on disk turned out to be
 * behind them and the store is read only. False: so it is already, or it cannot be made. */
bool cache_outdate_list (Store *store);

/* The list instead of one whose pages turned out to be damaged. */
Handle *cache_renew_list (Store *store, Handle *damaged, GError **error);

/* The index of a user or shared node. ENOENT or EUCLEAN when it is missing or damaged and `create`
 * does not help, EOPNOTSUPP when there is to be none; readers then look at the files. */
Handle *cache_index (Store *store, uint32_t owner, bool create, GError **error);

/* Closes an index or the list, so that its file can be replaced. Users who hold it go on with the
 * old. */
void cache_drop_index (Store *store, uint32_t owner);
void cache_drop_list (Store *store);

/* The queue. ENOENT when there is none and `create` does not help; EUCLEAN when it is damaged. */
Handle *cache_queue (Store *store, bool create, GError **error);
void cache_drop_queue (Store *store);

/* Whether the directory is still what its path means. One system call. */
bool mailbox_is_current (const StoreMailbox *self);

/* ---- view.c -------------------------------------------------------------------------------- */

/* What reading a mailbox starts from: its index where that agrees with the directory, else the
 * files. */
typedef struct {
  StoreMailbox *mailbox;
  Handle *handle;   /* NULL: no index */
  IndexRead *read;  /* NULL: the index may change from one look to the next */
  IndexMailbox row; /* number 0: none */
  GArray *uids;     /* NULL: the index is right; else what lies in the directory */
} View;
bool view_begin (StoreMailbox *mailbox, View *out, GError **error);
void view_clear (View *view);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (View, view_clear)

/* A view for one answer of the index, which stays as it is until the view is cleared: commits wait
 * for that. No file is looked at meanwhile. */
bool view_begin_still (StoreMailbox *mailbox, View *out, GError **error);

/* Gives the index up after it failed in the middle: from here on the files are looked at. */
bool view_distrust (View *view, GError **error);

/* Whether a copy was put over the mailbox, and took the states from its files: what only rows tell
 * is to go back on them, so all have to be looked at. */
bool mailbox_is_copied (const StoreMailbox *self);

/* Whether a view would show the files, because the index is missing, damaged or behind; or should
 * not be believed, as of a copy. A look at one row, and at the directory. */
bool mailbox_is_behind (StoreMailbox *self);

/* Message `uid` as the index or the file shows it; `*out_found` is false when there is no such
 * file. */
bool view_message (View *view, uint32_t uid, IndexMessage *out, bool *out_found, GError **error);

/* Puts what the file tells in the place of what its row does where that is better: in evidence. */
void view_prefer_file (const View *view, IndexMessage *row);

/* What the file alone tells, in the mailbox or among the expunged. Where its state contradicts its
 * place, after a crash or since somebody moved it, `out->expunged` is what it was at `then_ns`. */
bool message_from_file (const StoreMailbox *mailbox, uint32_t uid, bool expunged, int64_t then_ns,
                        IndexMessage *out, bool *out_found, GError **error);

/* ---- mailbox.c ----------------------------------------------------------------------------- */

/* Counts a digest in the table of store_mailbox_digests(): an IndexDigestFunc. */
void mailbox_collect_digest (uint32_t uid, const uint8_t sha256[32], void *digests);

/* Moves a row into a message. */
StoreMessage message_from_row (IndexMessage *row);

/* What a writer needs to know of a mailbox, with the user lock held: UIDVALIDITY, next UID and
 * highest modseq, taken from the directory, the index and, where there is no row, the files.
 * directory_ns is the directory's mtime when row and files agree, else 0. `write` may be NULL. */
bool mailbox_facts (StoreMailbox *self, IndexWrite *write, IndexMailbox *out, GError **error);

/* Opens the user's index for writing; NULL without an error when it is damaged, or there is to be
 * none: then the files are changed alone and the index follows when it is rebuilt. `*out_handle`
 * keeps it open. */
IndexWrite *mailbox_write_begin (StoreMailbox *self, Handle **out_handle, GError **error);

/* What the mailbox is like, after row and files have been brought together. An index that fails,
 * for whatever reason, must not refuse what the files alone can do: then only they are asked, and
 * `*write` is given up. */
bool mailbox_learn (StoreMailbox *self, const Epoch *epoch, IndexWrite **write, IndexMailbox *out,
                    GError **error);

/* Puts UIDVALIDITY, next UID and highest modseq on the directory; the latter two never fall. The
 * user lock is held; it lasts once the directory has been synced. */
bool mailbox_write_state (StoreMailbox *self, const IndexMailbox *facts, GError **error);

/* Sets the directory's mtime to a value that no change by anybody else will leave behind. */
bool mailbox_stamp (StoreMailbox *self, int64_t *out_ns, GError **error);

/* ---- message.c ----------------------------------------------------------------------------- */

/* SHA-256 of the first `size` bytes of a file; they are left in `buffer` when they fit. EIO when
 * the file ends before. */
bool message_digest (int fd, uint64_t size, uint8_t *buffer, size_t capacity,
                     uint8_t out_sha256[32], GError **error);

/* What is known of the bytes that were delivered: size and digest by the index, else the part of
 * the digest that stands on the file. False: nothing. */
bool message_delivered (StoreMailbox *self, uint32_t uid, int fd, uint64_t *out_size,
                        uint8_t out_known[32]);

/* Above this many files one sync of the filesystem is cheaper than one of each. */
#define SYNC_EACH_MAX 16u

/* The state of an open message that counts: the file's own, or the row's where that is newer or the
 * file has none. */
bool message_state_current (StoreMailbox *mailbox, int fd, uint32_t uid, const IndexMessage *row,
                            MessageState *out, GError **error);

/* ---- expunge.c: out of a mailbox, and back into it ------------------------------------------ */

/* A message that is to go over. */
typedef struct {
  uint32_t uid;
  bool moved, has_row;
  uint64_t size;    /* of the file that moved */
  IndexMessage row; /* as it is, or became */
  GError *failure;  /* why it stays where it is */
} ExpungeMove;
GArray *expunge_moves_new (void); /* of ExpungeMove */
void expunge_moves_add (GArray *moves, uint32_t uid);

/* Where messages go: into .expunged, or back. */
typedef enum { EXPUNGE_OUT, EXPUNGE_BACK } ExpungeWay;

/* The messages that a command means, as an array of ExpungeMove: those of the set; without one
 * those with \Deleted, or all that are expunged. */
GArray *expunge_select (StoreMailbox *self, ExpungeWay way, const GArray *set, GError **error);

/* Moves them in one commit, the user lock held, and the epoch. What cannot go over alone stays, and
 * says so in its `failure`; what fails otherwise stops it, and those that went before are
 * committed. */
bool expunge_move (StoreMailbox *self, const Epoch *epoch, ExpungeWay way, GArray *moves,
                   GError **error);

/* The same for messages that were named: if one is not there, nothing is changed, and one that
 * stays is a failure. */
bool expunge_named (StoreMailbox *self, const Epoch *epoch, ExpungeWay way, const uint32_t *uids,
                    size_t count, GError **error);

/* Sets of each what expunge_move() would, and moves nothing. */
void expunge_foresee (StoreMailbox *self, ExpungeWay way, GArray *moves);

/* Opens the place for a mailbox's expunged messages, and makes it when there is none. -1 and an
 * error. */
int expunge_place (StoreMailbox *self, GError **error);

/* UIDs of the expunged messages, ascending. */
GArray *expunge_uids (StoreMailbox *self, GError **error);

/* The same for who comes back for more: they are kept while the directory does not change. */
GArray *expunge_uids_kept (StoreMailbox *self, GError **error);

/* ---- export.c ------------------------------------------------------------------------------- */

/* A line as sha256sum(1) writes and checks it, unless the digest is NULL. What is damaged has a
 * comment above it. */
void manifest_write_line (FILE *out, const uint8_t sha256[32], const char *path, bool damaged);

/* ---- draft.c: new mail ----------------------------------------------------------------------- */

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

/* ---- parse.c: what a message's bytes say --------------------------------------------------- */

/* Messages up to this size are parsed from memory, larger ones from their file. */
#define PARSE_MEMORY_MAX (4u << 20)

#define PARSE_DEPTH_MAX  100u    /* nesting of multiparts and forwarded messages */
#define PARSE_PARTS_MAX  10000u  /* parts of one message */
#define PARSE_HEADER_MAX 262144u /* bytes of one header block that are looked at */

/* Must be called once before any other thread parses. */
void parse_init (void);

/* Digests and parses a whole message in one pass. Never fails: whatever the bytes are, ENVELOPE and
 * BODYSTRUCTURE are valid IMAP strings. */
void parse_bytes (const uint8_t *bytes, size_t size, StoreSummary *out);

/* The same for the first `size` bytes of a file, from offset 0 on, with bounded memory. Fails only
 * when reading fails; a file that ends early is parsed as far as it goes, and `*out_size` says how
 * far. */
bool parse_file (int fd, uint64_t size, StoreSummary *out, uint64_t *out_size, GError **error);

/* ---- what mailboxes and messages want of jobs.h ---------------------------------------------- */

int64_t record_now (void); /* seconds since 1970 */

/* Whether an index failed so that a rebuild is what helps. */
bool is_index_broken (const GError *failure);

/* Brings row and files of a mailbox together where a crash left them apart, if that takes only a
 * few messages. The user lock is held; the changes become part of `write`. */
bool mailbox_catch_up (StoreMailbox *self, const Epoch *epoch, IndexWrite *write, GError **error);

/* Lets a worker run `action`, like "cleanup", on a node, not before `due_s`; one that waits already
 * is enough. The user lock may be held, the store lock must not be. */
bool queue_add_action (Store *store, uint32_t node, const char *action, int64_t due_s,
                       GError **error);

/* Where a mailbox keeps more than `cleanup.size` expunged messages, lets a worker clean it up once
 * those of now are old enough. Failing does no harm: it is asked for again. */
void life_queue_cleanup (StoreMailbox *mailbox, uint32_t expunged, int64_t least_wait_s);

/* ---- fulltext-fill.c ------------------------------------------------------------------------- */

/* Lets a worker take new mail of the owner into the full-text index, if there is to be one. */
void fulltext_queue (Store *store, uint32_t owner);

/* ---- heal.c: damage that readers met --------------------------------------------------------- */

typedef enum {
  HEAL_ROWS = 1u << 0,  /* the mailbox was served from its files */
  HEAL_INDEX = 1u << 1, /* so was a part of it: the index failed */
  HEAL_BYTES = 1u << 2, /* a message is not what was delivered */
  HEAL_TEXT = 1u << 3,  /* nothing wrong: there is new mail for a full-text index */
} HealReasons;

void heal_init (Store *store);
void heal_clear (Store *store);

/* Remembers that a reader met damage in a mailbox; when it is about an index, for its owner,
 * whose mailboxes are all in it. Cheap, and takes no lock of a file. */
void heal_note (const StoreMailbox *mailbox, HealReasons reasons);

/* Queues the repair of some of what was noted, as far as it still is so, and was not tried in vain
 * lately. `say` is told of each and may be NULL. What cannot be queued now is met again. */
void heal_flush (Store *store, StoreSayFunc say, void *user_data);

/* Whether the mailbox is served from its files, and not because somebody is just changing it. */
bool heal_is_behind (Store *store, uint32_t number);

/* ---- copy.c: files and directories with all that belongs to them ----------------------------- */

/* How fast bytes may go (pace.c); NULL: as fast as they can. Passing some waits until they may, and
 * fails with ECANCELED. A chunk is what should be passed at once, at most `most`. */
typedef struct Pace Pace;
bool pace_pass (Pace *self, uint64_t bytes, GError **error);
size_t pace_chunk (const Pace *self, size_t most);

/* Copies the regular file `source` to a new file `to`: bytes (shared where the filesystem can),
 * user.* attributes, mode and mtime; it belongs to the store's owner. It is not synced. Returns a
 * descriptor, or -1. */
int copy_open_file (Store *store, int source, int to_fd, const char *to, Pace *pace,
                    GError **error);

/* The same for the file `from`; ENOENT when there is none. */
int copy_file (Store *store, int from_fd, const char *from, int to_fd, const char *to, Pace *pace,
               GError **error);

/* Puts mode, owner and user.* attributes of the directory `from_fd` on `to_fd`. */
bool copy_directory_facts (Store *store, int from_fd, int to_fd, GError **error);
