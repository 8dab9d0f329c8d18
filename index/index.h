/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.h - the rows beside the files: one index per user, one mailbox list and one queue
 * per store.
 *
 * All are SQLite databases. The Index is a cache: every row in it can be made again from the
 * message files, so a database of another schema version is never migrated, only rebuilt. This
 * layer knows rows, SQL and transactions; it knows no layout on disk, no mail syntax and no FUSE.
 *
 *   g_autoptr (Index) index = index_open (path, INDEX_CREATE, &error);
 *   g_autoptr (IndexWrite) write = index_write_begin (index, &error);
 *   if (!index_write_message (write, mailbox, &message, &summary, &error)
 *       || !index_write_commit (write, &error))
 *     ...                                          // leaving scope uncommitted rolls back
 *
 * Errors: EUCLEAN, the database is damaged or of another schema version; EBUSY, another process
 * held its lock longer than 10 s; ENOSPC, EIO, EROFS, EACCES, ENOENT as the system says. Messages
 * name the database file. Absence of a row is a result, not an error.
 *
 * Threads: every function may be called from any thread. Reads of one Index run on a reading
 * connection of their own and wait for a writer only while it commits, and for each other. One
 * IndexWrite exists at a time for an Index and process; index_write_begin() waits for the one
 * before it. Threads may pass an IndexWrite on, but only one uses it at a time.
 *
 * Durability: when a commit has returned true, it survives a loss of power (journal_mode=TRUNCATE,
 * synchronous=FULL).
 */
#pragma once

#include "index/error.h"

/* ---- the index of one user ------------------------------------------------------------------- */

typedef struct Index Index;
typedef Index IndexRead; /* an Index while it is being read */
typedef struct IndexWrite IndexWrite;

typedef enum {
  INDEX_CREATE = 1u << 0,    /* make the database when there is none */
  INDEX_READ_ONLY = 1u << 1, /* never write, not even a journal, nor leave an atime */
} IndexOpenFlags;

/* IMAP system flags (RFC 3501, 2.3.2), as bits of IndexMessage.flags. */
typedef enum {
  INDEX_FLAG_ANSWERED = 1u << 0,
  INDEX_FLAG_DELETED = 1u << 1,
  INDEX_FLAG_DRAFT = 1u << 2,
  INDEX_FLAG_FLAGGED = 1u << 3,
  INDEX_FLAG_SEEN = 1u << 4,
} IndexFlags;

/* What is wrong with a message, as bits of IndexMessage.damage. */
typedef enum {
  INDEX_DAMAGE_NUL = 1u << 0,        /* has NUL bytes; served as it is */
  INDEX_DAMAGE_SIZE = 1u << 1,       /* the file's size is not the size that was delivered */
  INDEX_DAMAGE_DIGEST = 1u << 2,     /* the file's bytes are not those that were delivered */
  INDEX_DAMAGE_UNREADABLE = 1u << 3, /* reading the file failed */
  INDEX_DAMAGE_LIMIT = 1u << 4,      /* past a parser limit; summarised in part */
} IndexDamage;

/* A mailbox. The counts are kept by the write functions; the caller never sets them. */
typedef struct {
  uint32_t number; /* given out once per store, never reused; 1 to 2^24-1 */
  uint32_t uidvalidity;
  uint32_t uidnext;
  uint64_t highestmodseq; /* RFC 7162 */
  int64_t directory_ns; /* the directory's mtime when rows and files last agreed; 0: they may not */
  int64_t last_repair_s;
  uint32_t messages, unseen, expunged; /* live, live without \Seen, expunged */
  uint32_t damaged;                    /* live, with damage other than NUL and LIMIT */
  uint32_t removed;                    /* records of removed messages */
  uint64_t bytes;                      /* of the live messages */
} IndexMailbox;

/* A message's small row: what a listing needs. */
typedef struct {
  uint32_t uid;
  uint32_t flags;    /* IndexFlags */
  uint32_t damage;   /* IndexDamage */
  uint32_t birth;    /* epoch of delivery */
  uint32_t expunged; /* epoch of the expunge; 0: live */
  uint64_t size;     /* bytes */
  uint64_t modseq;
  int64_t internal_s; /* INTERNALDATE, seconds since 1970 */
  int64_t changed_ns; /* ctime of the message file */
  char *keywords;     /* separated by one space, sorted; NULL: none. Owned */
} IndexMessage;

/* A message's large row: what only a look at the one message needs. */
typedef struct {
  uint8_t sha256[32];
  int64_t sent_s; /* Date: in UTC; INT64_MIN: absent or unreadable */
  char *envelope; /* IMAP ENVELOPE and BODYSTRUCTURE (RFC 3501, 7.4.2); no NUL inside. Owned */
  char *bodystructure;
} IndexSummary;

void index_message_clear (IndexMessage *message);
void index_messages_clear (IndexMessage *messages, size_t count);
void index_summary_clear (IndexSummary *summary);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (IndexMessage, index_message_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (IndexSummary, index_summary_clear)

/* Opens the index at `path` (absolute; symbolic links are refused). Reads nothing but the header.
 * ENOENT without INDEX_CREATE when there is none. EROFS with INDEX_READ_ONLY when a write was
 * interrupted: who opens it for writing undoes that. */
Index *index_open (const char *path, IndexOpenFlags flags, GError **error);
void index_close (Index *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Index, index_close)

/* Whether the file at `path` is still the one that was opened (it may be deleted or replaced at any
 * time). */
bool index_is_current (const Index *self);

/* Grows with every commit of another process or connection; a cheap test for outside writers. */
bool index_data_version (Index *self, uint32_t *out_version, GError **error);

/* Makes sure that what was committed is on disk, whoever committed it. */
bool index_sync (Index *self, GError **error);

/* SQLite's own check of the whole database; EUCLEAN with the first finding. */
bool index_verify (Index *self, GError **error);

/* What a thread reads from here to the end shows one state of the index, and locks the file once
 * instead of once a call. Other readers in this process and the commits of all writers wait for the
 * end; until then the thread neither begins another read nor writes. */
IndexRead *index_read_begin (Index *self, GError **error);
void index_read_end (IndexRead *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (IndexRead, index_read_end)

/* Fills `out` and sets `*out_found`. */
bool index_mailbox_get (Index *self, uint32_t number, IndexMailbox *out, bool *out_found,
                        GError **error);

/* Numbers of all mailboxes that have a row, ascending: an array of uint32_t. */
GArray *index_mailbox_numbers (Index *self, GError **error);

/* Sum over all mailboxes: the counts of `out`; the rest is zero. */
bool index_totals (Index *self, IndexMailbox *out, GError **error);

/* Compares the rows of messages that are found with what the mailbox says that it has. Where a part
 * of a page is lost, what lay there is just not found, and nothing else tells. EUCLEAN: there are
 * others. Takes about 0.1 us a row. */
bool index_count (Index *self, uint32_t mailbox, GError **error);

/* The same for all mailboxes; and whether there are rows of others. */
bool index_count_all (Index *self, GError **error);

bool index_message_get (Index *self, uint32_t mailbox, uint32_t uid, IndexMessage *out,
                        bool *out_found, GError **error);

typedef enum {
  INDEX_LIVE = 1u << 0,
  INDEX_EXPUNGED = 1u << 1,
} IndexWhich;

/* The next at most `capacity` messages with a UID above `after`, ascending. The caller clears them.
 * One query; 0 in `*out_count` means the end. */
bool index_message_page (Index *self, uint32_t mailbox, uint32_t after, IndexWhich which,
                         IndexMessage *out, size_t capacity, size_t *out_count, GError **error);

/* The same for those that, as far as the rows tell, were there when `epoch` ended; or may have
 * been. */
bool index_message_page_at (Index *self, uint32_t mailbox, uint32_t after, uint32_t epoch,
                            IndexMessage *out, size_t capacity, size_t *out_count, GError **error);

bool index_summary_get (Index *self, uint32_t mailbox, uint32_t uid, IndexSummary *out,
                        bool *out_found, GError **error);

/* Only size and digest of a message: what holding its bytes against them needs. */
bool index_digest_get (Index *self, uint32_t mailbox, uint32_t uid, uint64_t *out_size,
                       uint8_t out_sha256[32], bool *out_found, GError **error);

/* Calls `each` for the digest of every message of the mailbox, live and expunged. */
typedef void (*IndexDigestFunc) (uint32_t uid, const uint8_t sha256[32], void *user_data);
bool index_digests (Index *self, uint32_t mailbox, IndexDigestFunc each, void *user_data,
                    GError **error);

/* Whether a message was removed for good, and the modseq that it had then; see
 * index_write_remove_message(). */
bool index_removed_get (Index *self, uint32_t mailbox, uint32_t uid, uint64_t *out_modseq,
                        bool *out_found, GError **error);

/* Copies the index, without what is empty in it, to a new file at `path` (absolute): EEXIST when
 * there is one. Readers go on; writers must be kept out until the copy, once it is synced, has been
 * put in the place of the old one. The copy is not on disk for sure when this returns. */
bool index_compact (Index *self, const char *path, GError **error);

/* One write transaction (BEGIN IMMEDIATE). Readers go on until it commits. It is never spilled to
 * the database before that, so keep it to some thousand rows. */
IndexWrite *index_write_begin (Index *self, GError **error);
bool index_write_commit (IndexWrite *self, GError **error);
void index_write_free (IndexWrite *self); /* rolls back what was not committed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (IndexWrite, index_write_free)

/* As index_mailbox_get(), index_message_get() and index_removed_get(), seeing the transaction's own
 * changes. */
bool index_write_get_mailbox (IndexWrite *self, uint32_t number, IndexMailbox *out, bool *out_found,
                              GError **error);
bool index_write_get_message (IndexWrite *self, uint32_t mailbox, uint32_t uid, IndexMessage *out,
                              bool *out_found, GError **error);

bool index_write_get_removed (IndexWrite *self, uint32_t mailbox, uint32_t uid,
                              uint64_t *out_modseq, bool *out_found, GError **error);

/* Inserts or replaces a mailbox's row; the counts in `mailbox` are ignored, those in the row kept.
 */
bool index_write_mailbox (IndexWrite *self, const IndexMailbox *mailbox, GError **error);

/* Removes a mailbox with all its messages and records. */
bool index_write_remove_mailbox (IndexWrite *self, uint32_t number, GError **error);

/* Inserts or replaces a message. A NULL `summary` keeps the one that is there. The mailbox must
 * have a row; its counts follow, and highestmodseq and uidnext rise to cover the message. A record
 * of its removal is dropped. */
bool index_write_message (IndexWrite *self, uint32_t mailbox, const IndexMessage *message,
                          const IndexSummary *summary, GError **error);

/* With `record` a removed message leaves behind that it was there, and its modseq. */
bool index_write_remove_message (IndexWrite *self, uint32_t mailbox, uint32_t uid, bool record,
                                 GError **error);

/* Drops all records of removed messages of a mailbox. */
bool index_write_forget_removed (IndexWrite *self, uint32_t mailbox, GError **error);

/* ---- what a broken database still tells ------------------------------------------------------ */

typedef struct {
  uint64_t pages, unread; /* of the file; those that could not be read */
  uint64_t leaves;        /* pages on which rows were found */
  uint64_t rows, refused; /* cells that are rows of ours, and others */
} IndexSalvage;

/* Adds to `self` the mailboxes, messages and summaries that are still to be found in the database
 * file at `path`, be it cut, overwritten or without its header, and in a hot journal beside it. Of
 * several versions of a message the one with the highest modseq stays. A summary whose texts are
 * lost has empty ones, and may come without its message. A mailbox of which only messages were
 * found has the UIDVALIDITY 0. With a NULL `self` rows are only counted. What is no regular file
 * fails with EISDIR, ELOOP or EUCLEAN; that nothing of ours is in it is no error. The file may be
 * in use; memory is bounded. */
bool index_salvage (Index *self, const char *path, IndexSalvage *out, GError **error);

/* The same for one mailbox's row alone, without its counts. */
bool index_salvage_mailbox (const char *path, uint32_t number, IndexMailbox *out, bool *out_found,
                            GError **error);

/* ---- databases as evidence ------------------------------------------------------------------- */

/*
 * SQLite never opens evidence: it would take locks on it, want to undo what was interrupted, and
 * make files beside it. What the database holds is copied, with what lies beside it taken into
 * account, and the copy is opened. It is for reading only, and does not follow what becomes of the
 * files.
 */
typedef struct {
  const char *name;       /* of the database, for messages */
  int file, journal, log; /* regular files, open for reading, that stay the caller's; -1: there is
                             none. The database, and its "-journal" and "-wal" */
  const char *workdir;    /* for the copy; NULL: memory */
} IndexEvidence;

/* Opens the index that the first of `count` databases is, as it was after the last commit: an
 * interrupted write is undone, and what was committed to a write-ahead log is in it. One that is
 * damaged, or unreadable in part, is salvaged, and so are the others, which are older ones of the
 * same user. `*out_note` tells what had to be done, NULL for nothing; the caller frees it. ENOENT:
 * there is none; EUCLEAN: nothing is left in it; EFBIG. */
Index *index_open_evidence (const IndexEvidence *from, size_t count, char **out_note,
                            GError **error);

/* Whether it had to be salvaged. */
bool index_is_salvaged (const Index *self);

/* What is left in `count` databases of one user, and in the one at `in_use`, which SQLite may have
 * open in this process (NULL: none), as an index of its own, in memory or in a file of `workdir`
 * that has no name. It is as good as what it was made of: see index_salvage(). */
Index *index_gather (const char *in_use, const IndexEvidence *from, size_t count,
                     const char *workdir, GError **error);

/* ---- the full-text index of one user --------------------------------------------------------- */

/*
 * It tells which messages cannot have a text in them. Messages come into it one by one, some later
 * than others and some never, so it is asked which it knows, too. It is a cache, as the Index is.
 */
typedef struct Fulltext Fulltext;
typedef struct FulltextWrite FulltextWrite;

/* As index_open() and the others. */
Fulltext *fulltext_open (const char *path, IndexOpenFlags flags, GError **error);
void fulltext_close (Fulltext *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Fulltext, fulltext_close)

/* Adds the UIDs (uint32_t, ascending) of the messages from `first` to `last` that are in it; and of
 * those in which `text` may be. Text is valid UTF-8 and compared as it is, so both sides are folded
 * alike. */
bool fulltext_known (Fulltext *self, uint32_t mailbox, uint32_t first, uint32_t last,
                     GArray *out_uids, GError **error);
bool fulltext_candidates (Fulltext *self, uint32_t mailbox, uint32_t first, uint32_t last,
                          const char *text, GArray *out_uids, GError **error);

/* How many messages are in it, those that are gone by now, too. */
bool fulltext_count (Fulltext *self, uint64_t *out_count, GError **error);

/* Several messages in one commit, as IndexWrite: some megabytes of text. One that is in it is left
 * as it is. */
FulltextWrite *fulltext_write_begin (Fulltext *self, GError **error);
bool fulltext_write_add (FulltextWrite *self, uint32_t mailbox, uint32_t uid, const char *text,
                         GError **error);
bool fulltext_write_commit (FulltextWrite *self, GError **error);
void fulltext_write_free (FulltextWrite *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FulltextWrite, fulltext_write_free)

/* ---- the mailbox list of a store ------------------------------------------------------------- */

/*
 * Every directory below mail/ is a node with a number of its own. The list answers "which node is
 * called so in that one" and "what is the path of that node" without touching the disk.
 */
typedef struct List List;
typedef List ListRead;

typedef enum {
  LIST_ROOT = 0, /* number 0; has no row */
  LIST_DOMAIN = 1,
  LIST_USERS = 2,  /* DOMAIN/user */
  LIST_USER = 3,   /* DOMAIN/user/USER: has an index */
  LIST_SHARED = 4, /* DOMAIN/shared: has an index */
  LIST_MAILBOX = 5,
} ListKind;

typedef struct {
  uint32_t number, parent;
  uint32_t owner; /* the user or shared node whose index holds it, or that it is; else 0 */
  ListKind kind;
  bool subscribed;
  bool no_index;     /* a user who has none, by choice */
  char *name;        /* the directory's name: UTF-8, escaped, unique in its parent. Owned */
  char *full_name;   /* as given, where unescaping `name` does not give it; else NULL. Owned */
  char *special_use; /* RFC 6154, "\Sent"; NULL: none. Owned */
} ListNode;

void list_node_clear (ListNode *node);
void list_nodes_clear (ListNode *nodes, size_t count);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (ListNode, list_node_clear)

/* Opens the list at `path` as index_open() does; a NULL `path` makes an empty one in memory. */
List *list_open (const char *path, IndexOpenFlags flags, GError **error);
void list_close (List *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (List, list_close)
bool list_is_current (const List *self);

/* Likewise as index_open_evidence(). What is salvaged need not hang below the root. */
List *list_open_evidence (const IndexEvidence *from, char **out_note, GError **error);
bool list_data_version (List *self, uint32_t *out_version, GError **error);

bool list_sync (List *self, GError **error);

/* As index_verify(); also whether every node hangs below the root. */
bool list_verify (List *self, GError **error);

/* As index_read_begin(). */
ListRead *list_read_begin (List *self, GError **error);
void list_read_end (ListRead *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ListRead, list_read_end)

bool list_get (List *self, uint32_t number, ListNode *out, bool *out_found, GError **error);
bool list_find (List *self, uint32_t parent, const char *name, ListNode *out, bool *out_found,
                GError **error);

/* The next at most `capacity` children of `parent` whose name is above `after` (NULL: the first),
 * in byte order of their names. The caller clears them. */
bool list_children (List *self, uint32_t parent, const char *after, ListNode *out, size_t capacity,
                    size_t *out_count, GError **error);

/* The next at most `capacity` nodes from the number `from` on, ascending. The caller clears them.
 */
bool list_page (List *self, uint32_t from, ListNode *out, size_t capacity, size_t *out_count,
                GError **error);

bool list_child_count (List *self, uint32_t parent, uint64_t *out_count, GError **error);

/* Of a node that is no mailbox: its directory's mtime when the list had just the directories in it
 * as its children. LIST_CONTAINER_UNKNOWN: nobody looked. LIST_CONTAINER_DIRTY: anything below it
 * may have been moved without the list's knowing. */
#define LIST_CONTAINER_UNKNOWN INT64_MIN
#define LIST_CONTAINER_DIRTY   INT64_C (0)
bool list_container (List *self, uint32_t number, int64_t *out_directory_ns, GError **error);

/* How many nodes of a kind there are. */
bool list_count (List *self, ListKind kind, uint64_t *out_count, GError **error);

/* The highest number of all; 0 when the list is empty. */
bool list_highest (List *self, uint32_t *out_number, GError **error);

/* Several changes in one commit, as IndexWrite. Leaving scope uncommitted rolls back. */
typedef struct ListWrite ListWrite;
ListWrite *list_write_begin (List *self, GError **error);
bool list_write_commit (ListWrite *self, GError **error);
void list_write_free (ListWrite *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ListWrite, list_write_free)

/* Inserts or replaces by number. EEXIST when another number has that name in that parent. */
bool list_write_node (ListWrite *self, const ListNode *node, GError **error);

/* Inserts only: EEXIST when the number is taken, too. */
bool list_write_new_node (ListWrite *self, const ListNode *node, GError **error);

/* Notes what list_container() answers. */
bool list_write_container (ListWrite *self, uint32_t number, int64_t directory_ns, GError **error);

/* Removes a node and everything below it. */
bool list_write_remove (ListWrite *self, uint32_t number, GError **error);

/* Empties the list. */
bool list_write_clear (ListWrite *self, GError **error);

/* ---- the queue of a store -------------------------------------------------------------------- */

/*
 * Jobs that wait, run, or have ended: a command with its words, and the nodes that it is for. A
 * change names the state and the runner that it starts from, so that of two only one comes to pass.
 */
typedef struct Queue Queue;

typedef enum {
  QUEUE_WAITING = 0,
  QUEUE_RUNNING = 1,
  QUEUE_DONE = 2,
  QUEUE_FAILED = 3,
  QUEUE_CANCELLED = 4,
  QUEUE_INTERRUPTED = 5,
} QueueState;

typedef struct {
  uint64_t id; /* the record number: ascending, never used again */
  QueueState state;
  bool queued;     /* is for a worker to run; else whoever asked for it ran it */
  bool cancel;     /* somebody asked for the end of this run. Only queue_cancel() sets it */
  uint32_t deaths; /* how many processes died while they ran it */
  uint64_t runner; /* who runs it: a number that tells runs apart; 0: nobody yet */
  char *action;    /* "reconstruct recursive". Owned, as all that follow */
  char *nodes;     /* numbers separated by one space; "": the whole store */
  int64_t created_s, started_s, ended_s; /* 0: not yet */
  int64_t due_s;                         /* not to be run before; 0: at once */
  uint64_t done, total;
  char *unit; /* of these two; NULL: none */
  uint64_t fixed, left, taken;
  char *error;      /* why it failed or was given up; NULL: it was not */
  int code;         /* the errno of that; 0: none */
  char *log;        /* lines */
  uint64_t changed; /* the higher, the later: when the row was changed last. Not to be set */
} QueueJob;

typedef struct {
  char *problem;
  int outcome;
  uint32_t node, uid;
  uint64_t size;
  char *object, *detail;
} QueueFinding;

void queue_job_clear (QueueJob *job);
void queue_jobs_clear (QueueJob *jobs, size_t count);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QueueJob, queue_job_clear)

/* As index_open() and the others. */
Queue *queue_open (const char *path, IndexOpenFlags flags, GError **error);
void queue_close (Queue *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Queue, queue_close)
bool queue_is_current (const Queue *self);

/* Likewise as index_open_evidence(); EUCLEAN when it is damaged. */
Queue *queue_open_evidence (const IndexEvidence *from, char **out_note, GError **error);
bool queue_verify (Queue *self, GError **error);

/* Adds `count` jobs, whose `id` is ignored, in one commit. Their numbers follow the highest, and
 * are not below `first`. When one that waits, or was interrupted and is for a worker, has the same
 * action and nodes already, that is the job: its element of `out_ids` is its number and that of
 * `out_added` false, and it is due no later than the one given. EAGAIN when more than `most` would
 * wait: then none is added. */
bool queue_add (Queue *self, uint64_t first, const QueueJob *jobs, size_t count, uint64_t most,
                uint64_t *out_ids, bool *out_added, GError **error);

bool queue_get (Queue *self, uint64_t id, QueueJob *out, bool *out_found, GError **error);

/* The next at most `capacity` jobs with a number above `after`, ascending; with `open` only those
 * that wait, run or were interrupted. The caller clears them. */
bool queue_page (Queue *self, uint64_t after, bool open, QueueJob *out, size_t capacity,
                 size_t *out_count, GError **error);

/* The next at most `capacity` jobs in the order in which they were changed last, after the change
 * `after` (QueueJob.changed). The caller clears them. */
bool queue_changes (Queue *self, uint64_t after, QueueJob *out, size_t capacity, size_t *out_count,
                    GError **error);
bool queue_last_change (Queue *self, uint64_t *out, GError **error);

/* The highest number of a job; 0: there is none. */
bool queue_highest (Queue *self, uint64_t *out, GError **error);

/* How many jobs wait for a worker, or to be taken up again by one; and the first that run. */
bool queue_length (Queue *self, uint64_t *out, GError **error);
bool queue_running (Queue *self, QueueJob *out, size_t capacity, size_t *out_count, GError **error);

/* The newest job of that command, with whatever words, for exactly those nodes; with `pending` only
 * of those that wait, run, or will be taken up again. */
bool queue_newest (Queue *self, const char *command, const char *nodes, bool pending, QueueJob *out,
                   bool *out_found, GError **error);

/* The newest job with that action and nodes that is done or failed. */
bool queue_last (Queue *self, const char *action, const char *nodes, QueueJob *out, bool *out_found,
                 GError **error);

/* Turns the job `from` into `to`, of the same number. `*out_changed` is false when its state or
 * runner is another one by now, or when it would be a second one that waits. Findings are kept
 * beside it; of the jobs that have ended the oldest go. */
#define QUEUE_ENDED_MAX 1000
bool queue_change (Queue *self, const QueueJob *from, const QueueJob *to,
                   const QueueFinding *findings, size_t count, bool *out_changed, GError **error);

/* Writes how far a running job is: done, total and unit. `*out_cancel` tells that somebody asked
 * for its end. */
bool queue_progress (Queue *self, const QueueJob *job, bool *out_cancel, GError **error);

/* Asks for the end of a job; `*out_running` is false when it does not run. */
bool queue_cancel (Queue *self, uint64_t id, bool *out_running, GError **error);

/* Calls `each` for the findings of a job, in their order. */
typedef void (*QueueFindingFunc) (const QueueFinding *finding, void *user_data);
bool queue_findings (Queue *self, uint64_t id, QueueFindingFunc each, void *user_data,
                     GError **error);

/* Adds the nodes that are still to be found in a broken list, as index_salvage() does. They need
 * not hang below the root. */
bool list_salvage (List *self, const char *path, IndexSalvage *out, GError **error);
