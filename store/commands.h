/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands.h - what operators ask of a store (store.h): its settings, bringing mail in, the table
 * of commands, jobs, the queue in which they wait, the worker that runs them, and the trail of who
 * asked for what.
 *
 * Errors, threads and units are as in store.h.
 */
#pragma once

#include "store/store.h"
#include "store/text.h"

/* ---- settings ------------------------------------------------------------------------------ */

/* What mailfs.conf sets: the key "size" in its group [cleanup] is "cleanup.size" here. */
typedef enum {
  STORE_CLEANUP_SIZE,
  STORE_CLEANUP_AGE,
  STORE_PURGE_COUNT,
  STORE_PURGE_PERCENTAGE,
  STORE_PURGE_AGE,
} StoreSetting;

typedef enum { STORE_UNIT_COUNT, STORE_UNIT_PERCENT, STORE_UNIT_TIME } StoreUnit;

typedef struct {
  const char *name; /* "cleanup.size" */
  StoreUnit unit;   /* times are in seconds */
  int64_t standard, least, most;
  const char *summary;
} StoreSettingInfo;

/* The table, by StoreSetting, ended by a row whose name is NULL. */
extern const StoreSettingInfo store_settings[];

/* The value, as it was when the store was opened or was set since; and as people write it: "1d". */
int64_t store_setting (const Store *self, StoreSetting setting);
char *store_setting_string (const Store *self, StoreSetting setting);

/* Sets it for this Store at once, and in mailfs.conf, whose comments stay, for whoever opens the
 * store later on. EINVAL: `text` makes no sense, or is past the limits. */
bool store_setting_set (Store *self, StoreSetting setting, const char *text, GError **error);

/* ---- bringing mail in ---------------------------------------------------------------------- */

typedef struct {
  uint64_t done, total; /* total is 0 until it is known */
  const char *unit;     /* "messages" */
} StoreProgress;

typedef struct {
  const char *format; /* "eml", "maildir", "mbox" */
  const char *source;
  const char *target; /* "USER@DOMAIN" or "USER@DOMAIN/MAILBOX" */
  StoreTransfer transfer;
  bool dry_run;
} StoreImport;

typedef struct {
  uint64_t seen, imported, known, failed, bytes; /* messages; `known` were there already */
  uint64_t mailboxes;
  uint64_t uids_changed; /* messages that could not keep the UID the source gave them */
  GPtrArray *warnings;   /* of char *, printable: what was not brought in, and why */
} StoreImportResult;

void store_import_result_clear (StoreImportResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreImportResult, store_import_result_clear)

/* Brings mail in. What is in the target already (same digest, as often as in the source) is left
 * alone, so an interrupted import is simply run again. `progress` may be NULL; it is called from
 * the calling thread, at most some times a second, and stops the import by returning false
 * (ECANCELED). A message that cannot be read is counted and named in the warnings, and the rest
 * goes on; what stops all is ENOSPC, EDQUOT, EIO on the store's side, EACCES; EBUSY while another
 * import into that user runs. `out` is filled on failure as well: what was committed stays. */
typedef bool (*StoreImportFunc) (const StoreProgress *progress, void *user_data);
bool store_import (Store *self, const StoreImport *import, StoreImportFunc progress,
                   void *user_data, StoreImportResult *out, GError **error);

/* ---- commands ------------------------------------------------------------------------------ */

/*
 * Every operator verb is one row of one table. tools/ makes subcommands of it and fs/ control
 * files; both parse words with store_request_parse() and run a StoreJob.
 */
typedef struct StoreJob StoreJob;

typedef enum {
  STORE_WORD_RECURSIVE = 1u << 0, /* "recursive", -r: with everything below */
  STORE_WORD_DRY_RUN = 1u << 1,   /* "dry-run", -n: say what would be done */
  STORE_WORD_FORCE = 1u << 2,     /* "force": do not trust what looks unchanged */
  STORE_WORD_FULL = 1u << 3,      /* "full": read every message */
  STORE_WORD_LIST = 1u << 4,      /* "mailbox-list", -m: the mailbox list instead of indexes */
  STORE_WORD_AGE = 1u << 5,       /* "age=7d": only what is older */
  STORE_WORD_UIDS = 1u << 6,      /* "uid=1:5,7": only these messages */
  STORE_WORD_MODES = 1u << 7,     /* "permissions": put owners and modes right, too */
  STORE_WORD_DIRECTORY = 1u << 8, /* "directory=DIR": of a backup; absolute, percent-escaped */
  STORE_WORD_OF = 1u << 9,       /* "of=NAME,NAME": by names that are not looked up in this store */
  STORE_WORD_RECOVER = 1u << 10, /* "recover", -r: mend it first */
  STORE_WORD_LOCKS = 1u << 11,   /* "locks", -l: whether somebody holds a lock too long */
  STORE_WORD_VERBOSE = 1u << 12, /* "verbose", -v: tell of what is in order, too */
  STORE_WORD_CATASTROPHIC = 1u << 13, /* "catastrophic", -c: with what the last backup tells */
  STORE_WORD_SET = 1u << 14,          /* "set=\Seen,Work": replace all flags */
  STORE_WORD_ADD = 1u << 15,          /* "add=Seen": system flags may lack the backslash */
  STORE_WORD_REMOVE = 1u << 16,       /* "remove=Work" */
  STORE_WORD_TO = 1u << 17,           /* "to=MAILBOX": where to; percent-escaped, as all values */
  STORE_WORD_USE = 1u << 18,          /* "special-use=\Sent", or none */
  STORE_WORD_INDEX = 1u << 19,        /* "index=off" */
  STORE_WORD_RATE = 1u << 20,         /* "rate=20M": bytes a second */
  STORE_WORD_BRIEF = 1u << 21,        /* "brief": without figures that take time */
  STORE_WORD_EXPORT = 1u << 22,       /* "export=FILE": of store_export_write(); as directory */
  STORE_WORD_QUERY = 1u << 23,        /* "query=QUERY": of store_query_parse() */
} StoreWords;

/* How a word is spelt: in a control file and among operands as `name` or "name=value", as an option
 * --name, --name=value or -letter. */
typedef struct {
  const char *name;
  StoreWords bit;
  char letter;       /* 0: none */
  const char *value; /* what a value stands for: "TIME"; NULL: the word has none */
  const char *summary;
} StoreWord;

/* The table, ended by a row whose name is NULL. */
extern const StoreWord store_words[];

/* A value as a word can hold it: spaces, commas, '%' and control bytes become %XX. Values that are
 * several names or flags have commas between them. Owned by the caller. */
char *store_word_escape (const char *value);

typedef enum {
  STORE_COMMAND_READS = 1u << 0,     /* changes nothing on disk */
  STORE_COMMAND_NAMED = 1u << 1,     /* wants to be told what it is for: no mailbox is an error */
  STORE_COMMAND_REBUILDS = 1u << 2,  /* brings rows in line with files: once is enough */
  STORE_COMMAND_IMMEDIATE = 1u << 3, /* short: is run at once, and never waits in the queue */
  STORE_COMMAND_SINGLE = 1u << 4,    /* is for exactly one mailbox */
  STORE_COMMAND_DIRECTORY = 1u << 8, /* its first operand is a directory */
  STORE_COMMAND_FOREIGN = 1u << 9, /* its operands are names that are not looked up in this store */
  STORE_COMMAND_BRINGS = 1u << 10, /* what it takes it brings back */
  STORE_COMMAND_PAST = 1u << 11,   /* can look at a snapshot, too */
} StoreCommandTraits;

typedef struct {
  const char *name;     /* "mailbox-create" may be written as two words */
  uint32_t words;       /* StoreWords it takes */
  uint32_t traits;      /* StoreCommandTraits */
  const char *operands; /* "[-u USER] [DOMAIN] [MAILBOX...]" */
  const char *summary;  /* one line */
  bool (*run) (StoreJob *job, GError **error);
  const char *force;                /* what "force" does; NULL: what store_words[] says */
  const char *after;                /* what to say when it is done; NULL: nothing */
  uint32_t needs;                   /* StoreWords, all of which must be given */
  uint32_t one_of;                  /* StoreWords, one of which must; 0: none */
  uint32_t least_names, most_names; /* with STORE_COMMAND_FOREIGN; at most 0: any number */
} StoreCommand;

/* The table, ended by a row whose name is NULL. */
extern const StoreCommand store_commands[];
const StoreCommand *store_command_find (const char *name);

/* How it is written in a control file: "flag uid=SET [set=FLAGS] [add=FLAGS] [remove=FLAGS]
 * MAILBOX". Owned by the caller. */
char *store_command_usage (const StoreCommand *self);

typedef struct {
  uint32_t flags; /* StoreFlags */
  char *keywords; /* NULL: none */
} StoreFlagSet;

/* What to do: a verb, its words and the nodes it is for. */
typedef struct {
  const StoreCommand *command;
  uint32_t words;           /* StoreWords */
  int64_t age_s;            /* with STORE_WORD_AGE */
  GArray *uids;             /* of StoreUidRange, with STORE_WORD_UIDS; else NULL */
  GArray *targets;          /* uint32_t node numbers; empty: the whole store */
  char *directory;          /* with STORE_WORD_DIRECTORY: absolute */
  char *export;             /* with STORE_WORD_EXPORT: likewise */
  GPtrArray *names;         /* with STORE_WORD_OF: of char *; NULL: everything there */
  StoreFlagSet flags[3];    /* by StoreFlagsChange, with STORE_WORD_SET, _ADD and _REMOVE */
  char *to;                 /* with STORE_WORD_TO */
  struct StoreQuery *query; /* with STORE_WORD_QUERY */
  const char *special_use;  /* with STORE_WORD_USE; NULL: none */
  StoreIndexing index;      /* with STORE_WORD_INDEX */
  uint64_t rate;            /* with STORE_WORD_RATE; 0: as fast as it goes */
  GPtrArray *spelled;       /* the words as they were given, for the queue: "uid=1:5" */
} StoreRequest;

/* Parses { "reconstruct", "recursive", "joe@example.com", NULL }: the verb, then words and
 * mailboxes in any order; "1" means the defaults, and behind "--" there are mailboxes only. Nothing
 * is started. EINVAL: no such verb or word, a value that makes no sense, or something is missing;
 * ENOENT: no such mailbox. */
StoreRequest *store_request_parse (Store *self, const char *const *words, GError **error);
void store_request_free (StoreRequest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreRequest, store_request_free)

/* Whether the request, as it stands, changes nothing on disk: a look, or a dry run. */
bool store_request_reads (const StoreRequest *self);

/* Whether it reads or writes outside the store, which only those may ask for who have the rights
 * that it is run with: a path that it names, or one that the store does. */
bool store_request_goes_out (const StoreRequest *self);

/* One thing that a command found or took. */
typedef enum {
  STORE_PROBLEM_NO_ROW,        /* a message file that the index does not know */
  STORE_PROBLEM_NO_FILE,       /* a row whose file is gone */
  STORE_PROBLEM_CHANGED,       /* size, date or state of file and row differ */
  STORE_PROBLEM_DIGEST,        /* the bytes are not those that were delivered */
  STORE_PROBLEM_SIZE,          /* not the size that was delivered */
  STORE_PROBLEM_NUL,           /* NUL bytes in a message */
  STORE_PROBLEM_UNREADABLE,    /* reading failed */
  STORE_PROBLEM_NO_INDEX,      /* a user's index is missing */
  STORE_PROBLEM_BAD_INDEX,     /* a database is damaged */
  STORE_PROBLEM_NO_LIST_ENTRY, /* a mailbox directory that the mailbox list does not know */
  STORE_PROBLEM_NO_DIRECTORY,  /* a mailbox in the list whose directory is gone */
  STORE_PROBLEM_BAD_STATE,     /* a directory or file without a valid state attribute */
  STORE_PROBLEM_UIDNEXT,       /* the next UID is not above the highest UID */
  STORE_PROBLEM_STRAY,         /* something in the store that is no part of it */
  STORE_PROBLEM_NO_ATTRIBUTES, /* the filesystem keeps no user attributes */
  STORE_PROBLEM_PERMISSION,    /* owner or mode would keep the store from using it */
  STORE_PROBLEM_HOT_JOURNAL,   /* a write to a database was interrupted */
  STORE_PROBLEM_DUPLICATE,     /* a message and an expunged one have the same UID */
  STORE_PROBLEM_BACK,          /* an old file of a message that was expunged lies in its mailbox */
  STORE_PROBLEM_BUSY,          /* something else is at work there */
  STORE_PROBLEM_DELETED,       /* a message to be expunged: nothing wrong with it */
  STORE_PROBLEM_EXPUNGED,      /* an expunged message: likewise */
  STORE_PROBLEM_RECORDS,       /* records of removed messages: likewise */
  STORE_PROBLEM_QUARANTINED, /* something in quarantine: likewise. Of mailbox-remove `detail` is its
                                name there, STAMP/PATH */
  STORE_PROBLEM_TRUNCATED,   /* shorter than what was delivered */
  STORE_PROBLEM_ZERO_RUN,    /* zeros where something else was delivered */
  STORE_PROBLEM_SUMMARY,     /* the index tells something else about a message than its bytes do */
  STORE_PROBLEM_HARD_LINK,   /* two messages are one file */
  STORE_PROBLEM_LEFTOVER,    /* what a process left in tmp/ when it died */
  STORE_PROBLEM_DISK_SPACE,  /* a filesystem of the store is nearly full */
  STORE_PROBLEM_NUMBER,      /* two directories have one mailbox number */
  STORE_PROBLEM_LOCKED,      /* somebody holds a lock longer than any change takes */
  STORE_PROBLEM_BAD_SNAPSHOT, /* the file of a snapshot, or what is kept for it, makes no sense */
  STORE_PROBLEM_VANISHED, /* a backup has it, the store not any more, and did not take it away */
  STORE_PROBLEM_FLAGGED,  /* nothing: flags in `object` were changed. `detail`: the UIDs, "4:7,9" */
  STORE_PROBLEM_COPIED,   /* nothing: `object` has copies now. `detail`: "4:7,9 -> 12:16", two sets
                             of UIDs in the same order, of the messages and of their copies */
  STORE_PROBLEM_CREATED,  /* nothing: `object` and `number` are a mailbox that was made */
  STORE_PROBLEM_SNAPSHOT, /* nothing: `object` is a snapshot. `detail`: "taken TIME, epoch N", and
                             when it was weighed "...: N messages, N bytes; N messages, N bytes only
                             here" */
  STORE_PROBLEM_ADDED,    /* nothing: snapshot-diff says that it is in the second one only */
  STORE_PROBLEM_REMOVED,  /* nothing: likewise in the first */
  STORE_PROBLEM_RENAMED,  /* nothing: likewise a mailbox has another name or place */
  STORE_PROBLEM_DIFFERENT,  /* nothing: likewise something else is different */
  STORE_PROBLEM_BAD_HEADER, /* a message that is not known to have come so begins with no header */
  STORE_PROBLEM_LOST, /* messages of `object` whose file is gone, and that are known all the same */
  STORE_PROBLEM_MATCH, /* nothing: search found it. `detail`: its flags */
  STORE_PROBLEM_NOTE,  /* nothing: what a command has to say */
} StoreProblem;
const char *store_problem_name (StoreProblem problem);   /* "missing-row" ... */
const char *store_problem_remedy (StoreProblem problem); /* what puts it right, for people */

typedef enum {
  STORE_LEFT,  /* wrong, and still so */
  STORE_FIXED, /* was wrong */
  STORE_TAKEN, /* nothing wrong: what the command is there to take, or would take in a dry run */
  STORE_NOTED, /* nothing wrong: good to know, or said because it is asked for */
} StoreOutcome;
const char *store_outcome_name (StoreOutcome outcome); /* "left" ... */

typedef struct {
  StoreProblem problem;
  StoreOutcome outcome;
  uint32_t number;         /* the node; 0: the store */
  uint32_t uid;            /* the message; 0: none */
  uint64_t size;           /* bytes of what was taken */
  uint64_t offset, length; /* which bytes of the message it is about; nothing: all or none */
  char *object;            /* path below mail/, printable */
  char *detail;            /* what exactly, printable */
} StoreFinding;

void store_finding_free (gpointer finding);

/* One run of a command. */
StoreJob *store_job_new (Store *self, StoreRequest *request); /* takes the request over */
const StoreRequest *store_job_request (const StoreJob *self);

/* From then on each finding is told when it is found, by the thread that runs the job, and not
 * kept. */
typedef void (*StoreFindingFunc) (const StoreFinding *finding, void *user_data);
void store_job_tell (StoreJob *self, StoreFindingFunc tell, void *user_data);
void store_job_free (StoreJob *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreJob, store_job_free)

/* Runs to the end, in the calling thread and helpers of its own. ECANCELED after
 * store_job_cancel(). */
bool store_job_run (StoreJob *self, GError **error);
void store_job_cancel (StoreJob *self);

void store_job_progress (StoreJob *self, StoreProgress *out);

/* The result, after the run: the array of StoreFinding pointers is the job's. */
const GPtrArray *store_job_findings (const StoreJob *self);
typedef struct {
  uint64_t mailboxes, messages, bytes; /* looked at */
  uint64_t fixed, left, taken;         /* findings, by their outcome */
  uint64_t taken_bytes;
} StoreResult;
void store_job_result (const StoreJob *self, StoreResult *out);

/* ---- the queue ----------------------------------------------------------------------------- */

/*
 * Jobs wait here for a worker, and everyone sees here what runs, and how what ran has ended. The
 * queue outlives all processes. It is bookkeeping: when it is lost, mail and indexes are not.
 */
typedef enum {
  STORE_JOB_WAITING, /* for a worker */
  STORE_JOB_RUNNING,
  STORE_JOB_DONE,
  STORE_JOB_FAILED,
  STORE_JOB_CANCELLED,   /* somebody did not want it any more, or it was not needed any more */
  STORE_JOB_INTERRUPTED, /* its process ended before it did; may be taken up again */
} StoreJobState;
const char *store_job_state_name (StoreJobState state); /* "waiting" ... */

typedef struct {
  uint64_t id; /* the record number */
  StoreJobState state;
  bool queued;  /* is for a worker, which also takes it up again when it was interrupted */
  char *action; /* the command and its words: "reconstruct recursive" */
  char *title;  /* what it is for, for people; NULL: the whole store */
  int64_t created_s, started_s, ended_s; /* 0: not yet */
  int64_t due_s;                         /* a worker does not run it before; 0: at once */
  StoreProgress progress;
  uint64_t fixed, left, taken; /* as in StoreResult */
  char *error;                 /* why it failed, or is not needed any more; NULL */
  int code;  /* the errno of that; 0: it did not fail, or was not needed any more */
  char *log; /* what became of it: lines, each with its time */
} StoreRecord;

/* A job, a finding and a result as objects of json_begin(), to be ended and freed by the caller. */
GString *store_record_json (const StoreRecord *record);
GString *store_finding_json (const StoreFinding *finding);
GString *store_result_json (const char *command, const StoreResult *result);

/* Writes all that there is to tell of a job as one object: that of store_record_json() with its
 * findings, and the figures of its result where they are known (`result` is not NULL). */
bool store_report_write (const StoreRecord *record, const StoreResult *result,
                         const GPtrArray *findings, FILE *out, GError **error);

/* Whether it brings rows in line with files while it runs. */
bool store_record_rebuilds (const StoreRecord *record);

void store_record_clear (StoreRecord *record);
void store_records_clear (StoreRecord *records, size_t count);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreRecord, store_record_clear)

/* Lets a worker run the request, now or later. The same request, as long as it waits, is one job:
 * `*out_added` is false then. */
bool store_queue_add (Store *self, const StoreRequest *request, uint64_t *out_id, bool *out_added,
                      GError **error);

/* The same for several, in one commit: all are in the queue, or none. `out_ids` gets a number for
 * each. EINVAL: one is not to wait (STORE_COMMAND_IMMEDIATE); EAGAIN: more than STORE_QUEUE_MAX
 * would wait. */
#define STORE_QUEUE_MAX 1000000u
bool store_queue_add_all (Store *self, StoreRequest *const *requests, size_t count,
                          uint64_t *out_ids, GError **error);

/* The newest job of the command, with whatever words, for exactly that node; STORE_ROOT is the
 * whole store. One query, which the length of the queue does not matter to. Absence is no error. */
bool store_queue_last (Store *self, const StoreCommand *command, uint32_t number, StoreRecord *out,
                       bool *out_found, GError **error);

/* The same of those that wait, run, or will be taken up again. */
bool store_queue_pending (Store *self, const StoreCommand *command, uint32_t number,
                          StoreRecord *out, bool *out_found, GError **error);

/* The newest of all jobs; 0: there is none. */
bool store_queue_newest (Store *self, uint64_t *out_id, GError **error);

/* The next at most `capacity` jobs above `after` in the order of their numbers; the caller clears
 * them. With `pending` only those that wait or run, or that a worker will take up again. */
bool store_queue_page (Store *self, uint64_t after, bool pending, StoreRecord *out, size_t capacity,
                       size_t *out_count, GError **error);

/* How many jobs wait for a worker, or to be taken up again by one. */
bool store_queue_length (Store *self, uint64_t *out, GError **error);

/* The first jobs that run; the caller clears them. */
bool store_queue_running (Store *self, StoreRecord *out, size_t capacity, size_t *out_count,
                          GError **error);

/* The next at most `capacity` jobs that something happened to, as they are now and in the order in
 * which it did; the caller clears them. `*place` tells how far that was followed, at first
 * STORE_QUEUE_NOW. One that something happened to twice is told once. Costs next to nothing when
 * there is nothing to tell. */
#define STORE_QUEUE_NOW UINT64_MAX
bool store_queue_changes (Store *self, uint64_t *place, StoreRecord *out, size_t capacity,
                          size_t *out_count, GError **error);

/* ENOENT: no such job. */
bool store_queue_get (Store *self, uint64_t id, StoreRecord *out, GError **error);

/* The first of what the job found, which it has told when it ended: an array of StoreFinding
 * pointers, owned by the caller. */
GPtrArray *store_queue_findings (Store *self, uint64_t id, GError **error);

/* Takes a job that waits, or may be taken up again, out of the queue: it is cancelled. EBUSY: it
 * runs; EALREADY: it has ended. */
bool store_queue_remove (Store *self, uint64_t id, GError **error);

/* As store_queue_remove(), and asks whoever runs the job to end it, which takes a second or two. */
bool store_queue_cancel (Store *self, uint64_t id, GError **error);

/* Whether store_queue_remove(), or with `stop` store_queue_cancel(), would do that now. */
bool store_queue_can_remove (Store *self, uint64_t id, bool stop, GError **error);

/* Puts the job into the queue as the running one that it is from now on until it ends, in
 * store_job_watch(). */
bool store_job_register (StoreJob *self, GError **error);
uint64_t store_job_id (const StoreJob *self); /* the record number; 0: it is not registered */

/* Takes up a job that was interrupted, or that waits: it is registered, and to be run by the
 * caller. EBUSY: it runs; EALREADY: it has ended; ECANCELED: what it was for is gone or needs it no
 * more. */
StoreJob *store_job_resume (Store *self, uint64_t id, GError **error);

/* Runs the job in a thread of its own while the calling one watches: it calls `go_on` about ten
 * times a second, which interrupts the job by returning false. Of a registered job the queue is
 * told how far it is, about once a second, and how it ended. ECANCELED as store_job_run(). */
typedef bool (*StoreJobFunc) (StoreJob *job, void *user_data);
bool store_job_watch (StoreJob *self, StoreJobFunc go_on, void *user_data, GError **error);

/*
 * The worker runs what waits in the queue, one job after the other. There is one of a store at a
 * time.
 *
 *   StoreWorkerCalls calls = { .say = ..., .go_on = ... };
 *   g_autoptr (StoreWorker) worker = store_worker_new (store, &calls, &error);
 *   do
 *     good = store_worker_step (worker, &id, &error);
 *   while (good && id != 0);
 */
typedef struct StoreWorker StoreWorker;

/* One line, printable, for a log; `mailbox` is what the job is for, NULL when that is the whole
 * store. */
typedef void (*StoreSayFunc) (uint64_t job, const char *mailbox, const char *text, void *user_data);

typedef struct {
  StoreSayFunc say;   /* may be NULL */
  StoreJobFunc go_on; /* as in store_job_watch() */
  void *user_data;
} StoreWorkerCalls;

/* Makes the calling thread the worker, which then has the lowest claim on processor and disk; so do
 * the threads that it starts. EBUSY: there is one already; the message says which. */
StoreWorker *store_worker_new (Store *self, const StoreWorkerCalls *calls, GError **error);
void store_worker_free (StoreWorker *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreWorker, store_worker_free)

/* Queues the repair of some of what readers of this Store met, then takes the first job that waits,
 * or whose process died, and runs it. `*out_id` is its number, 0 when nothing waits. A job that
 * fails is no failure of the worker; ECANCELED when `go_on` interrupted it. */
bool store_worker_step (StoreWorker *self, uint64_t *out_id, GError **error);

/* ---- the audit trail ------------------------------------------------------------------------ */

/* Adds a line to the store's audit.jsonl: the object, as json_end() ends it, behind members "seq"
 * and "time". The line is on disk when this returns. Lines have numbers without gaps, whichever
 * process adds them. At 16 MiB the file becomes audit.jsonl.1, and what was called that is gone.
 * EROFS. */
bool store_audit_append (Store *self, const char *object, GError **error);

/* Opens the file for reading: it grows at its end until another takes its place. -1 without an
 * error when there is none. */
int store_audit_open (Store *self, GError **error);
