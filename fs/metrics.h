/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - what was done, counted.
 */
#pragma once

#include "fs/mount.h"

typedef enum {
  REQUEST_OTHER,
  REQUEST_LOOKUP,
  REQUEST_GETATTR,
  REQUEST_READDIRPLUS,
  REQUEST_READ,
  REQUEST_GETXATTR,
  REQUEST_LISTXATTR,
  REQUEST_SETXATTR,
  REQUEST_WRITE,
  REQUEST_STATFS,
  REQUEST_WAIT, /* for a job to end */
  REQUESTS
} Request;

typedef enum {
  COUNTER_EIO, /* requests that failed so */
  COUNTER_EUCLEAN,
  COUNTER_READ_BYTES,
  COUNTER_VERIFIED,
  COUNTER_PUSHED,
  COUNTER_PUSHED_BYTES,
  COUNTER_PAGES_READY, /* pages of listings that were made before they were asked for */
  COUNTER_PAGES_MADE,  /* and others */
  COUNTER_ROWS_READY,  /* messages that had been read when their attributes were asked for */
  COUNTER_ROWS_READ,   /* and others */
  COUNTER_ACTIONS,
  COUNTER_REFUSALS,
  COUNTER_JOBS_DONE,
  COUNTER_JOBS_FAILED,
  COUNTER_JOBS_CANCELLED,
  COUNTER_JOBS_INTERRUPTED,
  COUNTER_EVENTS,
  COUNTER_NOTICES,
  COUNTERS
} Counter;

Metrics *metrics_new (void);
void metrics_free (Metrics *self);

void metrics_add (Metrics *self, Counter counter, uint64_t number);
uint64_t metrics_get (const Metrics *self, Counter counter);

/* When a request came in, and what it is. */
typedef struct {
  Request request;
  int64_t begun_ns;
} Stamp;

/* The calling thread begins with a request, and is about to answer it. */
void metrics_begin (Request request);
void metrics_end (Metrics *self);

/* For a request that another thread answers when something has ended: the handler takes the stamp,
 * and who answers sets it before. */
Stamp metrics_put_off (void);
void metrics_resume (Stamp from);

uint64_t metrics_requests (const Metrics *self); /* answered so far, but for forgets */
