/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools.h - what the commands of mailstore share.
 *
 * main.c parses the options and runs one command. A command gets its operands, writes its data to
 * standard output and everything else to standard error, and returns false with an error that
 * main.c prints once and turns into an exit code. With --json each line of standard output is one
 * object. The tools know no layout on disk: whatever they do to a store, they do through
 * store/store.h.
 */
#pragma once

#include "store/rescue.h"

/* Exit code of a command that ran to its end and left findings behind, as diff(1) and check do. */
#define EXIT_FINDINGS 1

typedef struct Site Site;

typedef struct {
  const char *program; /* for messages: "mailstore" */
  const char *command; /* the name it was called by */
  char *store;         /* -s: where the store is; NULL: nobody said */
  char *ctldir;        /* --ctldir: name of the control directory of a mount; NULL: nobody said */
  char *config;        /* -f: the store's mailfs.conf, instead of -s */
  gboolean forensic;   /* --forensic: the store is evidence */
  char *workdir;       /* --workdir: for copies of its databases; NULL: memory */
  char *snapshot;      /* --snapshot: the store as it was then; NULL: as it is */
  gboolean json, quiet, verbose, help, version;
  int exit_code; /* what main returns when nothing failed */
  bool done;     /* and must not come again: output that is lost is no failure then */
} Tool;

typedef struct {
  const char *name;
  const char *operands; /* "MAILBOX UID..." */
  const char *summary;
  bool strict;       /* options end at the first operand, since operands may begin with '-' */
  bool in_snapshots; /* can look at a snapshot, too */
  const GOptionEntry *options;
  void (*more) (void); /* prints what -h says below the options; or NULL */
  bool (*run) (Tool *tool, int argc, char **argv, GError **error);
} Command;

/* One file each. */
bool cat_run (Tool *tool, int argc, char **argv, GError **error);
bool command_run (Tool *tool, int argc, char **argv, GError **error);
bool copy_run (Tool *tool, int argc, char **argv, GError **error);
bool damage_run (Tool *tool, int argc, char **argv, GError **error);
bool deliver_run (Tool *tool, int argc, char **argv, GError **error);
bool export_run (Tool *tool, int argc, char **argv, GError **error);
bool flag_run (Tool *tool, int argc, char **argv, GError **error);
bool import_run (Tool *tool, int argc, char **argv, GError **error);
bool init_run (Tool *tool, int argc, char **argv, GError **error);
bool jobs_run (Tool *tool, int argc, char **argv, GError **error);
bool list_run (Tool *tool, int argc, char **argv, GError **error);
bool mailbox_run (Tool *tool, int argc, char **argv, GError **error);
bool manifest_run (Tool *tool, int argc, char **argv, GError **error);
bool parts_run (Tool *tool, int argc, char **argv, GError **error);
bool lost_run (Tool *tool, int argc, char **argv, GError **error);
bool quarantine_run (Tool *tool, int argc, char **argv, GError **error);
void queue_help (void);
bool queue_run (Tool *tool, int argc, char **argv, GError **error);
bool report_run (Tool *tool, int argc, char **argv, GError **error);
void search_help (void);
bool search_run (Tool *tool, int argc, char **argv, GError **error);
bool snapshot_run (Tool *tool, int argc, char **argv, GError **error);
bool timeline_run (Tool *tool, int argc, char **argv, GError **error);
bool top_run (Tool *tool, int argc, char **argv, GError **error);
bool verify_bag_run (Tool *tool, int argc, char **argv, GError **error);
bool work_run (Tool *tool, int argc, char **argv, GError **error);
extern const GOptionEntry cat_options[], deliver_options[], export_options[], import_options[],
    jobs_options[], list_options[], lost_options[], mailbox_options[], parts_options[],
    quarantine_options[], report_options[], search_options[], snapshot_options[], top_options[],
    work_options[];

/* The options of a verb of store_commands[], one for each word that it takes. */
const GOptionEntry *command_options (const StoreCommand *command);

/* What is left of the command line when its options were taken out: the mailboxes, also those of
 * --from-file. Words of the control files among them count as options. */
GPtrArray *command_names (const StoreCommand *command, int argc, char **argv, GError **error);

/* What the command is to be run on. */
Site *command_site (const Tool *tool, const StoreCommand *command, StoreOpenFlags flags,
                    GError **error);

/* The command with the options that were given, for these mailboxes, as the words of a control
 * file: an array of strings, ended by NULL. The last `*out_count` are mailboxes, by their paths,
 * each once. */
GPtrArray *command_words (const Tool *tool, Site *site, const StoreCommand *command,
                          const GPtrArray *names, guint *out_count, GError **error);

/* ---- main.c --------------------------------------------------------------------------------- */

/* Takes the options of a verb of store_commands[] out of `argv`, which begins with its name; prints
 * its help if that is one of them. */
bool tool_verb_parse (const StoreCommand *verb, int *argc, char ***argv, GError **error);

/* ---- tool.c: finding the store and a mailbox in it ---------------------------------------------
 */

/* Where the store, or the mount, is: -s, else -f, else $MAILSTORE, else /var/lib/mailfs. Owned by
 * the caller. */
char *tool_store_path (const Tool *tool);

/* For what only the store itself can do. Of a mount it is the store that is mounted; EOPNOTSUPP
 * when that one cannot be reached, EROFS when the mount is read-only and `flags` are not. With
 * --snapshot it is the store as it was then, which cannot be changed either. */
Store *tool_store_open (const Tool *tool, StoreOpenFlags flags, GError **error);

/* EROFS when --snapshot or --forensic is given, and `flags` are not read-only. */
bool tool_check_flags (const Tool *tool, StoreOpenFlags flags, GError **error);

/* Closes the store that snapshots were opened of, after them. */
void tool_finish (void);

/* The mailbox that `spelling` names; a user stands for that user's INBOX. */
StoreMailbox *tool_mailbox_open (Store *store, const char *spelling, GError **error);

/* One UID in decimal, or EINVAL. */
bool tool_uid_parse (const char *text, uint32_t *out_uid, GError **error);

/* "@1700000000", "2024-05-31T17:04:09+02:00", without a zone in local time; or a mere day, which is
 * its midnight in UTC. */
bool tool_date_parse (const char *text, int64_t *out_s, GError **error);

/* One line on standard error that is no error; silent with -q. */
void tool_say (const Tool *tool, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Ends an object of json_begin(), prints it as a line of standard output and frees it. */
void json_print (GString *json);

/* ---- site.c: a store, or a mount of one --------------------------------------------------------
 */

/*
 * What a command talks to. Whether -s names a store or the mountpoint of one makes no difference to
 * it: the functions here are those of store/store.h, and in a mount they get by with what it shows
 * (remote.h). Numbers of nodes are good for as long as the Site.
 */
/* EROFS: the mount is read-only, and `flags` are not. */
Site *site_open (const Tool *tool, StoreOpenFlags flags, GError **error);

/* The same for what only the store itself can do, also where -s names a mount of it. */
Site *site_open_store (const Tool *tool, StoreOpenFlags flags, GError **error);

/* For a look at the queue: for writing, where that is allowed, because only a writer can take back
 * what a process began that died while it wrote there. */
Site *site_open_queue (const Tool *tool, GError **error);
void site_free (Site *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Site, site_free)

/* Does what `words` say, which are those of a request for something that is done at once, ended by
 * a NULL. What it had to tell is in `*out_findings`, also when it failed half way; NULL: nothing
 * was done. */
bool site_act (Site *self, GPtrArray *words, GPtrArray **out_findings, GError **error);

/* The same, but calls `each` with what there is to tell, when that comes out. Who only looks may do
 * so in the store behind a mount that is read-only. */
bool site_tell (Site *self, const Tool *tool, GPtrArray *words, StoreFindingFunc each, void *data,
                GError **error);

/* What mailfs.conf sets. */
bool site_setting (Site *self, StoreSetting setting, int64_t *out, GError **error);

bool site_resolve (Site *self, const char *spelling, StoreNode *out, GError **error);
bool site_resolve_mailbox (Site *self, const char *spelling, StoreNode *out, GError **error);

/* Of these, name and kind are filled in; all else only when site_node_state() has been called. */
bool site_node (Site *self, uint32_t number, StoreNode *out, GError **error);
bool site_node_state (Site *self, StoreNode *node, GError **error);

/* Appends the numbers (uint32_t) of the children, in the order of their names. */
bool site_children (Site *self, uint32_t parent, GArray *numbers, GError **error);
char *site_node_path (Site *self, uint32_t number, GError **error);
char *site_node_title (Site *self, uint32_t number, GError **error);
bool site_mailbox_info (Site *self, uint32_t number, StoreMailboxInfo *out, GError **error);

/* A message with what its header says. What cannot be read has no header: its damage says so, and
 * lists go on. */
typedef struct {
  StoreMessage message;
  int64_t sent_s;                         /* INT64_MIN: unknown */
  char *from, *to, *subject, *message_id; /* NULL: none */
} Letter;
void letter_clear (Letter *letter);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Letter, letter_clear)

/* Takes the message over. */
void letter_read (StoreMailbox *mailbox, StoreMessage *message, Letter *out);

/* One message of a mailbox; absence is no error. */
bool site_letter (Site *self, uint32_t number, uint32_t uid, Letter *out, bool *out_found,
                  GError **error);

/* Calls `each` for the messages of a mailbox, by UID. */
typedef void (*LetterFunc) (const Letter *letter, void *data);
bool site_each_letter (Site *self, uint32_t number, LetterFunc each, void *data, GError **error);

/* A descriptor for the bytes that were delivered, or -1. EIO: they are not these any more. */
int site_message_open (Site *self, uint32_t number, uint32_t uid, GError **error);

bool site_manifest_write (Site *self, uint32_t number, FILE *out, GError **error);
bool site_export_write (Site *self, uint32_t number, FILE *out, GError **error);
bool site_manifest_json_write (Site *self, uint32_t number, FILE *out, GError **error);
bool site_timeline_write (Site *self, uint32_t number, FILE *out, GError **error);
bool site_damage_write (Site *self, uint32_t number, FILE *out, GError **error);
GPtrArray *site_quarantine_list (Site *self, GError **error);

/* Runs what the words ask for, and prints all that there is to tell of it. */
bool site_run (Site *self, Tool *tool, const StoreCommand *command, GPtrArray *words,
               GError **error);

/* Calls `each` for all jobs, or only for those that wait or run, by number. */
typedef void (*RecordFunc) (const StoreRecord *record, void *data);
bool site_each_record (Site *self, bool pending, RecordFunc each, void *data, GError **error);
bool site_record (Site *self, uint64_t id, StoreRecord *out, GError **error);

/* What a job found: an array of StoreFinding pointers, owned by the caller. */
GPtrArray *site_findings (Site *self, uint64_t id, GError **error);

/* Puts each request, an array of words as of command_words(), into the queue: `out_ids` gets its
 * number, `out_added` whether it did not wait there already. */
bool site_queue_add (Site *self, const GPtrArray *requests, uint64_t *out_ids, bool *out_added,
                     GError **error);
bool site_queue_remove (Site *self, const uint64_t *ids, size_t count, GError **error);
bool site_queue_cancel (Site *self, const uint64_t *ids, size_t count, GError **error);

/* ---- cat.c -------------------------------------------------------------------------------------
 */

/* A descriptor of a message, or -1. `as_it_is`: also when that is not what was delivered, which
 * only the store itself gives out; else EIO. */
int tool_message_open (const Tool *tool, const char *spelling, const char *uid_text, bool as_it_is,
                       GError **error);

/* ---- bag.c -------------------------------------------------------------------------------------
 */

/* mailstore export --bagit. */
bool bag_write (Tool *tool, const char *spelling, const char *directory, GError **error);

/* ---- words.c: requests for what is done at once ------------------------------------------------
 */

/* The command's name; then its words; then "--" and what it is for. */
GPtrArray *words_new (const char *name);
void words_add (GPtrArray *words, const char *word, const char *value); /* NULL: it has none */
void words_end (GPtrArray *words, char *const *operands);

/* All UIDs (uint32_t) of a set, in its order. */
GArray *words_uids (const char *set, GError **error);

/* ---- tree.c: the mailboxes below a directory of the store --------------------------------------
 */

/* Calls `each` for `top`, if that is a mailbox, and for the mailboxes in it; when `recursive`, for
 * all below it; in the order of their names. */
typedef bool (*TreeFunc) (Site *site, StoreNode *node, void *data, GError **error);
bool tree_each (Site *site, uint32_t top, bool recursive, TreeFunc each, void *data,
                GError **error);

/* ---- text.c: figures for people ----------------------------------------------------------------
 */

char *text_count (uint64_t count, const char *one, const char *many); /* "1 message" */
char *text_digits (uint64_t count);                                   /* "7,948" */
char *text_size (uint64_t bytes);                                     /* "45.1 MB" */
char *text_seconds (double seconds);    /* "4.2 s", "3:07", "1:00:09" */
char *text_local_time (int64_t time_s); /* "2024-05-31 17:04:09", in the local time zone */
char *text_rfc3339 (int64_t time_s);    /* "2024-05-31T15:04:09Z"; NULL for INT64_MIN */

/* Printable UTF-8 made at least, or at most, `width` columns of a terminal wide; what is cut ends
 * in
 * "~". */
char *text_pad (const char *text, int width);
char *text_cut (const char *text, int width);

/* Columns of a terminal that the character takes. */
int text_cells (const char *letter);

/* Columns of the terminal at `fd`, or 0 when it is none. */
int text_columns (int fd);

/* One mailbox as an object of JSON, of a node whose state is known. */
bool mailbox_print (Site *site, const StoreNode *node, GError **error);

/* One message, as `list` and others print it; `columns` is the width of the terminal, 0: there is
 * none, and the subject is printed whole. */
void message_print_json (const char *title, const Letter *letter);
void message_print (const Letter *letter, int columns);

/* ---- progress.c: a bar, and the way to stop what it shows ---------------------------------------
 */

/*
 * The bar stands on standard error while that is a terminal, and is gone when the Progress is.
 * While one lives, the first SIGINT or SIGTERM only asks to stop: see progress_interrupted(); a
 * second one ends the process at once.
 */
typedef struct Progress Progress;

Progress *progress_new (const Tool *tool);
void progress_show (Progress *self, const StoreProgress *now);
double progress_seconds (const Progress *self); /* since progress_new() */
void progress_free (Progress *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Progress, progress_free)

/* Takes the bar away; it begins anew, for something else. */
void progress_restart (Progress *self, const char *label);

/* The signal that asked to stop, or 0. */
int progress_interrupted (void);

/* ---- run.c: running a job while people look on --------------------------------------------------
 */

/* Runs the job with a bar, prints what it found, and sets the exit code. */
bool run_job (Tool *tool, StoreJob *job, GError **error);

/* A StoreJobFunc for a Progress: draws the bar, and stops at a signal. */
bool run_go_on (StoreJob *job, void *progress);

void run_print_findings (const Tool *tool, const GPtrArray *findings);

/* The summary of a run that went to its end; sets the exit code. */
void run_print_result (Tool *tool, const StoreCommand *command, bool dry_run,
                       const StoreResult *result, double seconds);

/* ---- jobs.c ------------------------------------------------------------------------------------
 */

void record_print_json (const StoreRecord *record);

/* The number of a job, in decimal, or EINVAL. */
bool job_id_parse (const char *text, uint64_t *out_id, GError **error);
