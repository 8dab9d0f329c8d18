/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tools.h - what the commands of mailstore share.
 *
 * main.c parses the options and runs one command. A command gets its operands, writes its data to
 * standard output and everything else to standard error, and returns false with an error that
 * main.c prints once and turns into an exit code. With --json each line of standard output is one
 * object. The tools know no layout on disk: whatever they do to a store, they do through
 * store/store.h. What a command talks to is in site.h, what people see is in print.h.
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

/* ---- main.c -------------------------------------------------------------------------------- */

/* Takes the options of a verb of store_commands[] out of `argv`, which begins with its name; prints
 * its help if that is one of them. */
bool tool_verb_parse (const StoreCommand *verb, int *argc, char ***argv, GError **error);

/* ---- tool.c: finding the store and a mailbox in it ----------------------------------------- */

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

/* ---- cat.c --------------------------------------------------------------------------------- */

/* A descriptor of a message, or -1. `as_it_is`: also when that is not what was delivered, which
 * only the store itself gives out; else EIO. */
int tool_message_open (const Tool *tool, const char *spelling, const char *uid_text, bool as_it_is,
                       GError **error);

/* ---- bag.c --------------------------------------------------------------------------------- */

/* mailstore export --bagit. */
bool bag_write (Tool *tool, const char *spelling, const char *directory, GError **error);

/* ---- words.c: requests for what is done at once -------------------------------------------- */

/* The command's name; then its words; then "--" and what it is for. */
GPtrArray *words_new (const char *name);
void words_add (GPtrArray *words, const char *word, const char *value); /* NULL: it has none */
void words_end (GPtrArray *words, char *const *operands);

/* All UIDs (uint32_t) of a set, in its order. */
GArray *words_uids (const char *set, GError **error);

/* ---- jobs.c -------------------------------------------------------------------------------- */

/* The number of a job, in decimal, or EINVAL. */
bool job_id_parse (const char *text, uint64_t *out_id, GError **error);
