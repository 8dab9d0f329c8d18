/* SPDX-License-Identifier: Apache-2.0 */
/*
 * print.h - what people see of all that: figures, lines, a bar while they wait.
 */
#pragma once

#include "tools/site.h"

/* ---- text.c: figures for people ------------------------------------------------------------ */

/* `text` made printable, which is freed; NULL for NULL. */
char *text_take_printable (char *text);

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

/* ---- list.c, mailbox.c, jobs.c: one thing each --------------------------------------------- */

/* One mailbox as an object of JSON, of a node whose state is known. */
bool mailbox_print (Site *site, const StoreNode *node, GError **error);

/* One message, as `list` and others print it; `columns` is the width of the terminal, 0: there is
 * none, and the subject is printed whole. */
void message_print_json (const char *title, const Letter *letter);
void message_print (const Letter *letter, int columns);

void record_print_json (const StoreRecord *record);

/* ---- progress.c: a bar, and the way to stop what it shows ---------------------------------- */

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

/* ---- run.c: running a job while people look on --------------------------------------------- */

/* Runs the job with a bar, prints what it found, and sets the exit code. */
bool run_job (Tool *tool, StoreJob *job, GError **error);

/* A StoreJobFunc for a Progress: draws the bar, and stops at a signal. */
bool run_go_on (StoreJob *job, void *progress);

void run_print_findings (const Tool *tool, const GPtrArray *findings);

/* The summary of a run that went to its end; sets the exit code. */
void run_print_result (Tool *tool, const StoreCommand *command, bool dry_run,
                       const StoreResult *result, double seconds);
