/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.h - jobs, and the queue in which they wait: what those files of store/ share that run
 * commands.
 *
 * What a command does stands in a header of its subject: verbs.h has the commands themselves,
 * scan.h compares files with rows, rebuild.h makes rows of files, check.h tells what is wrong,
 * life.h removes, backup.h and restore.h, lost.h and snapshot.h. What they all stand on, files,
 * mailboxes and messages, is in internal.h.
 */
#pragma once

#include "store/internal.h"

/* ---- job.c: one run of a command ----------------------------------------------------------- */

typedef struct Inspection Inspection; /* see inspect.c */

struct StoreJob {
  Store *store;
  StoreRequest *request;
  int cancelled;          /* atomic */
  bool counted;           /* what is looked at now is counted elsewhere; the running thread's own */
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

/* Runs "reconstruct" on `nodes` ("4 17"; "": everything) in a store, without telling of what it
 * mends. */
bool job_reconstruct_quietly (Store *store, const char *nodes, GError **error);

/* Calls `each` for every user or shared node that the request is for, with those of its mailboxes
 * that are meant, parents first; `whole` is true when that is all of them. Stops at the first
 * failure. */
typedef bool (*JobOwnerFunc) (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole,
                              GError **error);
bool job_each_owner (StoreJob *self, JobOwnerFunc each, GError **error);

/* All mailboxes of a user or shared node, parents first. */
GArray *job_mailboxes_of (StoreJob *self, uint32_t owner, GError **error);

/* Whether the job is a repair, which gives files their dates back, too. */
bool job_repairs (const StoreJob *self);

/* Whether all of an index is looked at, whose mailboxes are all meant if `whole`: with --full, and
 * by a repair that is told of its owner, as by self-healing. Damage may lie where no comparison
 * comes. */
bool job_probes_all (const StoreJob *self, bool whole);

/* ---- word.c: the words of commands --------------------------------------------------------- */

/* The word that `text` is, and its value, "" when it has none; NULL: it is no word. */
const StoreWord *word_find (const char *text, const char **out_value);

/* Takes a word's value into the request; EINVAL when it makes no sense. */
bool word_parse_value (StoreRequest *request, StoreWords bit, const char *value, GError **error);

/* The word as the queue keeps it, escaped; and one of several parts: "of=a,b". */
char *word_spell (const StoreWord *word, const char *value);
char *word_join (const char *name, const GPtrArray *parts);

/* ---- command.c: requests, as words and back ------------------------------------------------ */

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

/* ---- pace.c: the word "rate"; pace_pass() is in internal.h --------------------------------- */

struct Pace {
  StoreJob *job;
  uint64_t rate;  /* bytes a second; 0: as fast as it goes */
  int64_t due_us; /* when what was passed so far would have been at that rate */
};
Pace pace_of (StoreJob *job);

/* ---- queue.c: jobs that wait, run, or have ended ------------------------------------------- */

/* Calls `use` with the queue; once more, with another one, when it turns out to be damaged.
 * `create` makes one where there is none, else that is ENOENT. The store lock must not be held. */
typedef bool (*QueueFunc) (Queue *queue, void *data, GError **error);
bool queue_use (Store *store, bool create, QueueFunc use, void *data, GError **error);

/* As queue_use() for those who only look: no queue is an empty one, and `use` is not called. */
bool queue_look (Store *store, QueueFunc use, void *data, GError **error);

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

/* ---- queue-damaged.c ----------------------------------------------------------------------- */

/* Whether all of the queue can be read; that there is none is no failure. */
bool queue_probe (Store *store, GError **error);

/* Keeps a damaged queue under another name, and begins a new one. */
bool queue_set_aside (Store *store, GError **error);

/* The number for the first job of a queue without any: 1, or where one that was damaged is kept,
 * higher than all that it had. */
uint64_t queue_first_number (Store *store);

/* ---- record.c: a job's own record in the queue --------------------------------------------- */

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

/* ---- report.c: what was found, as text ----------------------------------------------------- */

/* The reverse of store_problem_name(). */
bool problem_from_name (const char *name, StoreProblem *out);
