/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.h - what those files of store/ share that make commands: jobs and their queue, scans,
 * rebuilds, repair and backup. What they stand on, files, mailboxes and messages, is in
 * store/internal.h.
 */
#pragma once

#include "store/internal.h"

/* ---- job.c --------------------------------------------------------------------------------- */

typedef struct Inspection Inspection; /* see inspect.c */

struct StoreJob {
  Store *store;
  StoreRequest *request;
  int cancelled;          /* atomic */
  bool counted;           /* what is looked at now was counted before; the running thread's own */
  Inspection *inspection; /* of a check; likewise */
  void *data;             /* the command's own, while it runs */
  QueueJob record;        /* as it stands in the queue; id 0: it is not registered */
  int run_lock;           /* -1: none */
  bool interrupted;       /* cancelled by the end of its process; the watching thread's own */
  StoreFindingFunc tell;  /* NULL: findings are kept; set before it runs */
  void *tell_data;
  GMutex mutex; /* guards what follows */
  uint64_t done, total;
  GPtrArray *findings;
  StoreResult result;
};

bool job_has (const StoreJob *self, StoreWords word);

/* ECANCELED when the job was cancelled. */
bool job_go_on (StoreJob *self, GError **error);
void job_step (StoreJob *self, uint64_t done, uint64_t total);
void job_looked_at (StoreJob *self, uint64_t mailboxes, uint64_t messages, uint64_t bytes);

/* Counts messages that were taken without a finding of each. */
void job_copied (StoreJob *self, uint64_t messages, uint64_t bytes);

/* Adds a finding. `path`, where the message or directory is below mail/, and `detail` are made
 * printable. */
void job_found (StoreJob *self, StoreProblem problem, bool fixed, uint32_t number, uint32_t uid,
                const char *path, const char *detail, ...) G_GNUC_PRINTF (7, 8);

/* Adds a finding of some bytes of a message. */
void job_found_at (StoreJob *self, StoreOutcome outcome, uint32_t number, uint32_t uid,
                   const char *path, const StoreDamageRange *range, const char *detail, ...)
    G_GNUC_PRINTF (7, 8);

/* Tells of `size` bytes that the command took, or would take in a dry run. */
void job_took (StoreJob *self, StoreProblem problem, uint32_t number, uint32_t uid, uint64_t size,
               const char *path, const char *detail, ...) G_GNUC_PRINTF (7, 8);

/* Says something that is neither wrong nor taken. */
void job_noted (StoreJob *self, StoreProblem problem, uint32_t number, uint32_t uid,
                const char *path, const char *detail, ...) G_GNUC_PRINTF (6, 7);

/* Runs `check` on the job with a store that is open read only in the place of the job's own: what
 * that has open for writing would undo an interrupted write by reading. */
bool check_on_own (StoreJob *job, bool (*check) (StoreJob *job, GError **error), GError **error);

/* Compares the messages of some of an owner's mailboxes with their rows, and tells of each that is
 * not as it should be. EUCLEAN: the index is of no use; with `without_rows` it is not looked at. */
bool check_messages (StoreJob *job, uint32_t owner, const GArray *mailboxes, bool without_rows,
                     GError **error);

/* Runs "reconstruct" on `nodes` ("4 17"; "": everything) in a store, without telling of what it
 * mends. */
bool job_reconstruct_quietly (Store *store, const char *nodes, GError **error);

/* Calls `each` for every user or shared node that the request is for, with those of its mailboxes
 * that are meant, parents first; `whole` is true when that is all of them. Stops at the first
 * failure. */
typedef bool (*JobOwnerFunc) (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole,
                              GError **error);
bool job_each_owner (StoreJob *self, JobOwnerFunc each, GError **error);

/* Tells what is wrong with a database that could not be opened or read: that it is missing, that a
 * write to it was interrupted, or that it is damaged. */
void report_database (StoreJob *job, uint32_t owner, const char *path, bool fixed,
                      const GError *failure);

/* All mailboxes of a user or shared node, parents first. */
GArray *job_mailboxes_of (StoreJob *self, uint32_t owner, GError **error);

/* Whether the job is a repair, which gives files their dates back, too. */
bool job_repairs (const StoreJob *self);

bool command_check (StoreJob *job, GError **error);
bool command_repair (StoreJob *job, GError **error);
bool command_reconstruct (StoreJob *job, GError **error);
bool command_recover (StoreJob *job, GError **error);
bool command_verify (StoreJob *job, GError **error);
bool command_test (StoreJob *job, GError **error);
bool command_checkpoint (StoreJob *job, GError **error);
bool command_backup (StoreJob *job, GError **error);
bool command_restore (StoreJob *job, GError **error);
bool command_reset (StoreJob *job, GError **error);
bool command_search (StoreJob *job, GError **error);
bool command_text (StoreJob *job, GError **error);

/* ---- command-mail.c, command-mailbox.c: what is done at once --------------------------------- */

bool command_flag (StoreJob *job, GError **error);
bool command_copy (StoreJob *job, GError **error);
bool command_move (StoreJob *job, GError **error);
bool command_mailbox_create (StoreJob *job, GError **error);
bool command_mailbox_rename (StoreJob *job, GError **error);
bool command_mailbox_remove (StoreJob *job, GError **error);
bool command_mailbox_subscribe (StoreJob *job, GError **error);
bool command_mailbox_unsubscribe (StoreJob *job, GError **error);
bool command_mailbox_set (StoreJob *job, GError **error);
bool command_quarantine_restore (StoreJob *job, GError **error);
bool command_quarantine_remove (StoreJob *job, GError **error);

/* ---- command-lost.c ------------------------------------------------------------------------- */

bool command_lost_list (StoreJob *job, GError **error);
bool command_lost_restore (StoreJob *job, GError **error);
bool command_lost_remove (StoreJob *job, GError **error);

/* ---- pace.c: the word "rate"; pace_pass() is in internal.h ----------------------------------- */

struct Pace {
  StoreJob *job;
  uint64_t rate;  /* bytes a second; 0: as fast as it goes */
  int64_t due_us; /* when what was passed so far would have been at that rate */
};
Pace pace_of (StoreJob *job);

/* ---- command-snapshot.c, snapshot-diff.c ---------------------------------------------------- */

bool command_snapshot_take (StoreJob *job, GError **error);
bool command_snapshot_drop (StoreJob *job, GError **error);
bool command_snapshot_rename (StoreJob *job, GError **error);
bool command_snapshot_list (StoreJob *job, GError **error);
bool command_snapshot_diff (StoreJob *job, GError **error);

/* ---- word.c: the words of commands ----------------------------------------------------------- */

/* The word that `text` is, and its value, "" when it has none; NULL: it is no word. */
const StoreWord *word_find (const char *text, const char **out_value);

/* Takes a word's value into the request; EINVAL when it makes no sense. */
bool word_parse_value (StoreRequest *request, StoreWords bit, const char *value, GError **error);

/* The word as the queue keeps it, escaped; and one of several parts: "of=a,b". */
char *word_spell (const StoreWord *word, const char *value);
char *word_join (const char *name, const GPtrArray *parts);

/* ---- command.c ----------------------------------------------------------------------------- */

/* One without words and targets. */
StoreRequest *request_new (const StoreCommand *command);

/* The request's names, an array that is made when there is none. */
GPtrArray *request_names (StoreRequest *self);

/* A request as words, without its targets: "reconstruct recursive"; and back, with the targets of
 * `nodes` ("4 17"). ENOENT: a node is gone; EINVAL: this version knows no such command or word. */
char *request_action (const StoreRequest *request);
char *request_nodes (const StoreRequest *request);
StoreRequest *request_from_action (Store *store, const char *action, const char *nodes,
                                   GError **error);

/* ---- queue.c: jobs that wait, run, or have ended --------------------------------------------- */

/* Calls `use` with the queue; once more, with another one, when it turns out to be damaged.
 * `create` makes one where there is none, else that is ENOENT. The store lock must not be held. */
typedef bool (*QueueFunc) (Queue *queue, void *data, GError **error);
bool queue_use (Store *store, bool create, QueueFunc use, void *data, GError **error);

/* As queue_use() for those who only look: no queue is an empty one, and `use` is not called. */
bool queue_look (Store *store, QueueFunc use, void *data, GError **error);

/* Whether all of the queue can be read; that there is none is no failure. */
bool queue_probe (Store *store, GError **error);

/* Keeps a damaged queue under another name, and begins a new one. */
bool queue_set_aside (Store *store, GError **error);

/* What people see of a row. */
StoreRecord queue_record (Store *store, const QueueJob *job);

/* The next job above `after` that waits, runs or was interrupted. */
bool queue_next (Store *store, uint64_t after, QueueJob *out, bool *out_found, GError **error);

/* A job as it stands there; ENOENT when it does not. */
bool queue_find (Store *store, uint64_t id, QueueJob *out, GError **error);

/* queue_add() and queue_change() through queue_use(). */
bool queue_insert (Store *store, const QueueJob *jobs, size_t count, uint64_t *out_ids,
                   bool *out_added, GError **error);
bool queue_turn (Store *store, const QueueJob *from, const QueueJob *to,
                 const QueueFinding *findings, size_t count, bool *out_changed, GError **error);

/* Adds a job that waits, until `due_s` at least. `why`, for its log, may be NULL. */
bool queue_add_waiting (Store *store, const char *action, const char *nodes, const char *why,
                        int64_t due_s, uint64_t *out_id, bool *out_added, GError **error);

/* Cancels a job that does not run. `code` is the errno that goes with `why`; 0: it was not needed.
 * EAGAIN: it is not as it was any more. */
bool queue_drop (Store *store, const QueueJob *from, int code, const char *why, GError **error);

/* ---- record.c: a job's own record in the queue ----------------------------------------------- */

/* `log` with a line more, and the time before it. When it is long its beginning goes. */
char *record_log (const char *log, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Locks the byte `runner` of jobs.lock, as long as the descriptor is open. -1 with EBUSY when
 * somebody else has it locked. Byte 0 is the worker's, every other one a job's. */
int run_lock_take (Store *store, uint64_t runner, GError **error);
bool run_lock_is_held (Store *store, uint64_t runner);

/* Takes up a job that waits or whose process is dead. It is cancelled instead, and `*out_job` is
 * NULL, when there is nothing left to do, and failed when it was the death of several processes.
 * EAGAIN: it is not as it was any more. */
bool record_take (Store *store, const QueueJob *from, StoreJob **out_job, GError **error);

void finding_free (gpointer finding);

/* ---- report.c ------------------------------------------------------------------------------ */

/* The reverse of store_problem_name(). */
bool problem_from_name (const char *name, StoreProblem *out);

/* ---- reconstruct.c, recover.c -------------------------------------------------------------- */

/* The one way in which an index is rebuilt: the rows of `mailboxes`, all of the owner's (`whole`)
 * or some, are made to agree with their files. When the index is broken it is set aside, all
 * mailboxes are rebuilt, and what it still told is put on files that have lost it. `thoroughly`
 * looks at every page of it first, not only at those that are needed to begin. */
bool rebuild_mailboxes (StoreJob *job, uint32_t owner, const GArray *mailboxes, bool whole,
                        bool thoroughly, GError **error);

/* Brings the mailbox list in line with the directories; a broken one is made again. */
bool rebuild_list (StoreJob *job, GError **error);

/* Whether the index can be opened, and every page of it makes sense if it is looked at
 * `thoroughly`. Otherwise is_index_broken() tells whether a rebuild is what helps. */
bool index_probe (StoreJob *job, uint32_t owner, bool thoroughly, GError **error);

/* Rebuilds the whole index of an owner if it is missing or broken, or if an earlier rebuild of a
 * broken one was interrupted. */
bool recover_owner (StoreJob *job, uint32_t owner, GError **error);

/* ---- backup.c: what a backup says of itself ------------------------------------------------- */

/* backup.conf in a backup: which store it is of, and whether it is complete. In a store: where its
 * last backup is. */
#define BACKUP_CONF "backup.conf"

/* In a backup: the digest of every file, for sha256sum(1). */
#define BACKUP_MANIFEST "manifest.sha256"

typedef struct {
  char *uuid;
  bool complete;
} BackupInfo;
bool backup_info_read (const char *directory, BackupInfo *out, GError **error);
void backup_info_clear (BackupInfo *info);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (BackupInfo, backup_info_clear)

/* Where the store's last backup is; NULL: there is none that it knows of. */
char *backup_last (const Store *store);

/* ---- salvage.c: what a broken index still tells --------------------------------------------- */

/* The rows of all broken indexes of one owner, in a database of their own in tmp/. */
typedef struct {
  Index *index;     /* NULL: there are no broken ones */
  char *index_path; /* where the owner's index belongs */
  char *path;       /* of the database */
  uint64_t rows;
} Salvaged;
Salvaged *salvaged_new (StoreJob *job, uint32_t owner, GError **error);
void salvaged_free (Salvaged *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Salvaged, salvaged_free)

/* ---- scan.c: files against rows ------------------------------------------------------------ */

typedef enum {
  SCAN_NEW,     /* a file without a row */
  SCAN_CHANGED, /* both, but they differ, or the file was to be read in any case */
  SCAN_GONE,    /* a row without a file */
} ScanVerdict;

/* One difference. */
typedef struct {
  StoreMailbox *mailbox;
  ScanVerdict verdict;
  uint32_t uid;
  bool expunged;      /* the file lies in .expunged */
  bool doubled;       /* and so does another of that UID */
  uint64_t removed;   /* modseq that it had when it was removed for good; 0: never */
  bool mailbox_known; /* the index has rows of this mailbox */
  Index *salvaged;    /* as given to scan_recall() */
  bool recalled;      /* the row is from there: the index itself has none */
  IndexMessage row;   /* as the scan saw it; nothing for SCAN_NEW */
  struct stat st;     /* of the file */
  bool has_state;     /* of its own */
  MessageState state; /* also one that was copied */
  bool has_summary;
  StoreSummary summary;
  uint32_t damage;   /* INDEX_DAMAGE_*: what reading the file showed */
  GArray *ranges;    /* of StoreDamageRange: where it is damaged; NULL: it is not */
  bool stale;        /* the index tells something else about the bytes than they do */
  uint8_t known[32]; /* digest of what was delivered, by row or state; see digest_matches() */
  GError *failure;   /* why the file or its state could not be read; NULL */
} ScanItem;
void scan_item_free (ScanItem *item);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ScanItem, scan_item_free)

/* What a scan of one mailbox starts from and learns. */
typedef struct {
  StoreMailbox *mailbox;
  int64_t directory_ns;  /* the directory's mtime before it was read */
  IndexMailbox row;      /* number 0: none */
  IndexMailbox salvaged; /* likewise */
  bool recalling;        /* the row that is being compared was salvaged */
  bool has_state;
  NodeState state;
  uint32_t highest_uid;
  uint32_t uidvalidity; /* what it gets where it has none */
  bool has_index;       /* there are rows to compare with */
  uint64_t differences;
} ScanMailbox;
void scan_mailbox_free (ScanMailbox *mailbox);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ScanMailbox, scan_mailbox_free)

typedef enum {
  SCAN_READ_ALL = 1u << 0, /* read unchanged files, too */
  SCAN_NAMES = 1u << 1,    /* trust every row whose file is there */
  SCAN_SKIP_NEW = 1u << 2, /* do not read files that have no row */
  SCAN_NO_ROWS = 1u << 3,  /* look at the files alone: the index is of no use */
} ScanFlags;

/* A scan compares; threads of its own read the files that need it. `consume` gets the differences,
 * in the calling thread, and owns them; returning false stops the scan. */
typedef struct Scan Scan;
typedef bool (*ScanFunc) (ScanItem *item, void *data, GError **error);
Scan *scan_new (StoreJob *job, ScanFlags flags, ScanFunc consume, void *data);
void scan_free (Scan *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Scan, scan_free)

/* From now on rows that the index does not have are looked for in `salvaged`, which is the
 * caller's: what a broken index still told. NULL: nowhere. Such rows are always differences. */
void scan_recall (Scan *self, Index *salvaged);

/* Shows the files that are looked at to an inspection, too. */
void scan_inspect (Scan *self, Inspection *inspection);

/* Compares one mailbox. Items may still be under way when it returns. NULL with an error. */
ScanMailbox *scan_mailbox (Scan *self, StoreMailbox *mailbox, GError **error);

/* Waits until every item has been consumed. */
bool scan_drain (Scan *self, GError **error);

/* Whether the row has a date that no message can have. */
bool scan_row_is_undated (const ScanItem *item);

/* Whether the file's date is the internal date: of a new message, of one whose row was made of a
 * damaged file and that is whole again, and where the row's makes no sense. Otherwise the row knows
 * better. */
bool scan_takes_date (const ScanItem *item);

/* Whether it is a copy without a state of a message that was expunged, or removed for good:
 * somebody put it there, and it is a message again. */
bool scan_item_returns (const ScanItem *item);

/* Whether it is an older file of a message that was expunged, or removed for good, and not brought
 * back: it goes to .expunged. */
bool scan_item_is_back (const ScanItem *item);

/* Where the item's file lies, below its mailbox. */
void scan_item_path (const ScanItem *item, char out[32]);

/* Reads the file of one item: state, summary, damage. Never fails: see `failure`. May be repeated.
 */
void scan_read (ScanItem *item);

/* Tells the job what an item is: one finding for each thing that is wrong. `fixed` is for what a
 * rebuild can put right. */
void scan_report (const ScanItem *item, StoreJob *job, bool fixed);

/* Whether there is nothing to tell. */
bool scan_item_is_clean (const ScanItem *item);

/* Likewise for what is wrong with the mailbox itself. */
void scan_report_mailbox (const ScanMailbox *scanned, StoreJob *job, bool fixed);

/* ---- inspect.c: owner, mode, links and place of what lies in a store ------------------------- */

typedef enum {
  INSPECT_MEND = 1u << 0,  /* put owners and modes right, where that is allowed */
  INSPECT_SWEEP = 1u << 1, /* remove what dead processes left in tmp/ */
} InspectFlags;

Inspection *inspection_new (StoreJob *job, uint32_t flags);
void inspection_free (Inspection *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Inspection, inspection_free)

/* Looks at a message file by the stat of it that a scan has made. Those of one mailbox come one
 * after the other, and are all that are in it; the walk does not look at them again. */
void inspection_message (Inspection *self, const StoreMailbox *mailbox, uint32_t uid, bool expunged,
                         const struct stat *st);

/* Looks at what lies beside mail/, and at the room that is left, unless the request is for some
 * mailboxes only; and walks the directories that it is for. */
bool inspection_top (Inspection *self, GError **error);
bool inspection_walk (Inspection *self, GError **error);

/* ---- locate.c: which bytes are damaged ------------------------------------------------------ */

/* Reads the `size` bytes of a file of which `delivered` were delivered: an array of
 * StoreDamageRange, in their order, of all that looks damaged. `out_nul`, if it is not NULL,
 * reaches from the first NUL byte to the last. */
GArray *damage_ranges (int fd, uint64_t size, uint64_t delivered, StoreDamageRange *out_nul);
void damage_add_range (GArray *ranges, StoreProblem kind, uint64_t offset, uint64_t length);

/* Those lines of the header that are none; the length is 0 when it is as it should be. */
StoreDamageRange damage_header (int fd);

/* ---- damage.c ------------------------------------------------------------------------------ */

/* Fills in what the item's file, which has just been parsed, shows: known, damage, ranges, stale.
 */
void damage_find (ScanItem *item, int fd);

/* Fills in which bytes of it cannot be read, after reading has failed. */
void damage_find_unreadable (ScanItem *item, int fd);

/* Holds the bytes in `fd`, the message's file or a copy of it, against what was delivered. EIO when
 * they differ or cannot be read; `*out_problem` then says how. `*out_known` is false when there is
 * nothing to compare with: no error. */
bool damage_verify (StoreMailbox *mailbox, uint32_t uid, int fd, StoreProblem *out_problem,
                    bool *out_known, GError **error);

/* ---- rebuild-row.c: what a rebuild makes of one difference ---------------------------------- */

/* One transaction's worth. */
typedef struct {
  StoreJob *job; /* NULL: nobody to tell */
  IndexWrite *write;
  const Epoch *epoch;
  bool stated; /* a state was put on a file; it must be synced before the commit */
  bool moved;  /* a file was put among the expunged, likewise */
  MissingLines missing; /* about messages whose rows go; to be ended before the commit */
} RebuildApply;
void rebuild_apply_clear (RebuildApply *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (RebuildApply, rebuild_apply_clear)

/* Writes the row that the item's file and old row amount to: the newer state wins, the internal
 * date and the digest of a known message stay. A file that does not carry the state gets it;
 * without any it is a new one with the modseq `modseq`. The user is locked. */
bool rebuild_apply (RebuildApply *self, ScanItem *item, uint64_t modseq, GError **error);

/* Keeps what the item's file is like, if that changes it. What is shown counts: the row where it is
 * newer. */
void rebuild_keep (Keep *keep, const ScanItem *item);

/* ---- rebuild.c: rows from what a scan found ------------------------------------------------ */

/* Collects differences of one owner's mailboxes and applies them in short commits. It is made
 * before the scan, and makes the index when there is none. ESTALE: the index was deleted or
 * replaced meanwhile, and all is to be done again. */
typedef struct Rebuild Rebuild;
Rebuild *rebuild_new (StoreJob *job, uint32_t owner, bool defer, GError **error);
bool rebuild_item (ScanItem *item, void *rebuild, GError **error); /* a ScanFunc */

/* `scanned` is of ScanMailbox. With `defer`, messages without a state are left out, which
 * `*out_deferred` tells: then nothing is complete, and all is to be done once more without it. */
bool rebuild_finish (Rebuild *self, GPtrArray *scanned, bool *out_deferred, GError **error);
/* Mailboxes without a row begin with the one that was salvaged; see scan_recall(). */
void rebuild_recall (Rebuild *self, Index *salvaged);
void rebuild_free (Rebuild *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Rebuild, rebuild_free)

/* ---- life.c -------------------------------------------------------------------------------- */

/* What was last changed at this time or before is old enough for the job: its word "age", else the
 * setting, tells. */
int64_t life_before_ns (const StoreJob *job, StoreSetting age);

bool command_expunge (StoreJob *job, GError **error);
bool command_undelete (StoreJob *job, GError **error);
bool command_cleanup (StoreJob *job, GError **error);

/* Removes the file of an expunged message for good, whatever its age. EBUSY: a snapshot has it, or it
 * is doubled; ENOENT. The user lock is taken. */
bool life_remove_expunged (StoreMailbox *mailbox, uint32_t uid, GError **error);

/* EROFS when the job changes something, and the store is open read only. */
bool life_require_writable (const StoreJob *job, GError **error);

/* ---- duplicate.c --------------------------------------------------------------------------- */

/* Of a message and an expunged one with the same UID, puts the older one into quarantine. */
bool duplicate_settle (StoreJob *job, uint32_t owner, const GArray *mailboxes, GError **error);

/* ---- purge.c ------------------------------------------------------------------------------- */

bool command_purge (StoreJob *job, GError **error);

/* Row and files of the mailbox agree as before, when only a file went that is no message. The user
 * lock is held. */
bool purge_keep_agreed (StoreMailbox *mailbox, GError **error);
