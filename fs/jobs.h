/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.h - jobs: those that run at once, those of the queue, and what is known of each.
 */
#pragma once

#include "fs/control.h"
#include "store/commands.h"

/* ---- jobs.c: what is known of a job -------------------------------------------------------- */

/* "queued 7", "running 7 120 5000", "done 7 fixed=3 left=0", "failed 7 EIO", "cancelled 7" */
void job_append_state (const StoreRecord *record, GString *out);

/* Calls `add` for the directory of each job above `after`, until it returns false. */
bool job_list (Mount *mount, uint64_t after, ControlAddFunc add, void *data, GError **error);

/* ---- run.c: jobs that run at once ---------------------------------------------------------- */

Runs *runs_new (Mount *mount);
void runs_free (Runs *self);
void runs_stop (Runs *self); /* interrupts them; returns when all have ended */

/* Whether so many more could run beside now. */
bool runs_have_room (Runs *self, unsigned more, GError **error);

/* Both take the request over. `*out_id` is set as soon as the job has a number, whether it fails or
 * not. run_here() returns when it has ended; run_beside() at once; EBUSY: too many do run. */
bool run_here (Runs *self, StoreRequest *request, uint64_t *out_id, GError **error);
bool run_beside (Runs *self, StoreRequest *request, uint64_t *out_id, GError **error);

/* A job that runs here or has done so lately. */
typedef struct {
  Runs *runs;
  StoreJob *job;
  bool ended; /* protected by the mutex of Runs */
} Run;
void run_unref (Run *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Run, run_unref)

/* One that has ended, with all that it found; NULL: it is not kept here. A reference. */
Run *runs_find_ended (Runs *self, uint64_t id);

/* Fills in what is known here of a job that runs. */
void runs_complete (Runs *self, StoreRecord *record);

/* ---- worker.c: what runs the jobs of the queue --------------------------------------------- */

Worker *worker_new (Mount *mount); /* it is off */
void worker_free (Worker *self);   /* turns it off, if that was not done */

/* Turning it off interrupts the job that runs, and returns when it has ended. */
void worker_turn (Worker *self, bool on);
bool worker_is_on (Worker *self);
