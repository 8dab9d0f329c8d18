/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - threads that go round until they are told to stop.
 */
#pragma once

#include "index/error.h"

typedef struct {
  GThread *thread; /* NULL: it does not run */
  GMutex mutex;    /* for `stop`, and for what its owner keeps beside it */
  GCond wake;      /* `stop` was set, or something of that changed */
  bool stop;
} Loop;

void loop_init (Loop *self);
void loop_start (Loop *self, const char *name, GThreadFunc run, void *data);
void loop_stop (Loop *self);  /* returns when it has ended; does nothing when it does not run */
void loop_clear (Loop *self); /* stops it, if that was not done */

/* For the thread, and what it calls. Sleeping lasts `us`, or until it is to stop; both return
 * whether it goes on. */
bool loop_goes_on (Loop *self);
bool loop_sleep (Loop *self, int64_t us);
