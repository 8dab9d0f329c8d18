/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of store/ share: what lies on disk (files.h), the directories
 * (tree.h), and here mailboxes and messages; new mail is in arrive.h, what is missing in missing.h.
 * Those that make jobs of them share jobs.h, and what stands on that. Nothing outside store/ and
 * its unit tests includes any of these.
 *
 * Five invariants, each with a test of its own (tests/unit/test-invariants.c):
 *
 *  1. One message is one file. Its name is its UID. A UID is never used for another message.
 *  2. The file moves first, the index follows; so a crash leaves the index behind the files, never
 *     ahead, and the next writer or repair catches up.
 *  3. No fact lives only in the index.
 *  4. A message's bytes never change once committed.
 *  5. check and reconstruct never modify or remove a message file. (An old file of a message that
 *     was expunged is put back among the expunged, as it is.) Only cleanup removes any, of messages
 *     that were expunged; purge takes none but those that have long been in quarantine.
 *
 * Lock order, outermost first; no lock is held over reading or syncing a message's content:
 *
 *  - task lock: flock(2) on a directory of tmp/: imports, rebuilds and purges of a user
 *  - run lock: a byte of jobs.lock (record.c): who runs a job, and the one worker. Nobody waits
 *  - user lock: flock(2) on the user's directory: all that changes the user's mail or index. A
 *    stream of deliveries keeps it for some milliseconds (delivery.c). Of two users the lower
 *    number comes first
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
 *  - Store.orphans_mutex
 *  - Store.removed_mutex
 *  - Store.heal_mutex
 */
#pragma once

#include "store/tree.h"

typedef struct Evidence Evidence; /* store/evidence.h */
typedef struct Missing Missing;   /* store/missing.c */
typedef struct Remains Remains;   /* store/lost-index.c */
typedef struct Orphans Orphans;   /* store/lost-orphan.c */
typedef struct Removed Removed;   /* store/lost-quarantine.c */
typedef struct Keep Keep;         /* store/snapshot.h, as those that follow */
typedef struct History History;
typedef struct SnapshotSet SnapshotSet;

/* ---- the store object ---------------------------------------------------------------------- */

/* An open database that several threads share. It is closed with the last reference. */
struct Handle {
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
};
Handle *handle_new (const char *path);
Handle *handle_ref (Handle *self);
void handle_unref (Handle *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Handle, handle_unref)

typedef struct Past Past; /* see past.h */

struct Store {
  Past *past;         /* NULL: the store as it is; else this is how it was at a snapshot */
  Evidence *evidence; /* NULL: a store like any other; a snapshot's is the live one's */
  char *path;         /* absolute, without symbolic links */
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

  GMutex orphans_mutex; /* guards what follows; see lost-orphan.c */
  Orphans *orphans;     /* of one directory; NULL: nobody asked for many */

  GMutex removed_mutex; /* guards what follows; see lost-quarantine.c */
  Removed *removed;     /* what was listed last; NULL: nothing was */

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

/* One that is not open yet; store_close() takes it. The other knows its path, with all links
 * resolved. */
Store *store_new (void);
Store *store_new_at (const char *path, GError **error);

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

/* ---- flags.c ------------------------------------------------------------------------------- */

/* The keywords that come of changing `old` by `given`: sorted, owned; NULL when there are none. */
char *keywords_change (const char *old, const char *given, StoreFlagsChange change);

/* ---- uids.c -------------------------------------------------------------------------------- */

/* Sorts UIDs (uint32_t), and leaves each once; the place of the first above `after` among sorted
 * ones. */
void uids_sort (GArray *uids);
guint uids_first_above (const GArray *uids, uint32_t after);

/* ---- change.c ------------------------------------------------------------------------------ */

/* Notes a change for every process that watches the store. Never fails: it is a hint. */
void change_note (Store *store, uint32_t number, uint32_t uid);

/* Likewise that what was called `name` in the directory has another name or place now. */
void change_note_name (Store *store, uint32_t number, const char *name);

/* The same for many messages of one mailbox. */
void change_note_uids (Store *store, uint32_t number, const GArray *uids);

/* ---- cache.c, cache-list.c: what is kept open ---------------------------------------------- */

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

/* ---- expunge.c: out of a mailbox, and back into it ----------------------------------------- */

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

/* ---- export.c ------------------------------------------------------------------------------ */

/* A line as sha256sum(1) writes and checks it, unless the digest is NULL. What is damaged has a
 * comment above it. */
void manifest_write_line (FILE *out, const uint8_t sha256[32], const char *path, bool damaged);

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

/* ---- what mailboxes and messages want of jobs.h -------------------------------------------- */

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

/* ---- fulltext-fill.c ----------------------------------------------------------------------- */

/* Lets a worker take new mail of the owner into the full-text index, if there is to be one. */
void fulltext_queue (Store *store, uint32_t owner);

/* ---- heal.c: damage that readers met ------------------------------------------------------- */

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
