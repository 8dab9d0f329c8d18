/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top.h - what mailstore top reads every moment, and how it is shown.
 *
 *   g_autoptr (TopSource) source = top_source_open (tool, &error);
 *   g_autoptr (TopSample) now = top_source_read (source, &error);
 *   g_autoptr (GPtrArray) lines = top_frame (&view, now, before, width, height);
 *
 * A mount tells by its control files, so whoever may read these may watch it. A store has no
 * requests; its queue and its figures are read. All text in a sample is printable UTF-8.
 */
#pragma once

#include "tools/tools.h"

#define TOP_BUCKETS 32
#define TOP_WAITING 16
#define TOP_ERRORS  8
#define TOP_HISTORY 120

/* ---- top-sample.c: reading ------------------------------------------------------------------- */

/* Requests of one kind since the store was mounted. */
typedef struct {
  char *name;
  uint64_t count;
  uint64_t buckets[TOP_BUCKETS]; /* of these, those that took at most TopSample.bounds_s */
} TopOperation;

typedef struct {
  uint64_t id;
  char *text; /* "reconstruct joe@example.com" */
  uint64_t done, total;
  double seconds_left; /* below 0: nobody knows */
} TopJob;

typedef struct {
  int64_t now_us; /* monotonic */
  char *place;    /* where the mount, or the store, is */
  bool is_mount;
  char *health;      /* NULL: not known yet */
  bool is_counted;   /* a store is being counted for the first time otherwise: no figures yet */
  uint64_t uptime_s; /* of the mount */
  uint64_t mailboxes, messages, bytes, damaged, behind;
  uint64_t disk_size, disk_free; /* bytes; 0: unknown */
  uint64_t waiting, running;

  GPtrArray *operations; /* of TopOperation, those that most was asked for first */
  double bounds_s[TOP_BUCKETS];
  size_t bucket_count;
  GHashTable *values; /* all else in the metrics, by name and labels: of double * */

  GPtrArray *jobs;   /* of TopJob: those that run, as far as they are told of */
  GPtrArray *queue;  /* of TopJob: the first that wait */
  GPtrArray *errors; /* of char *: the last ones, the newest last */
} TopSample;

void top_sample_free (TopSample *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TopSample, top_sample_free)

/* A value out of the metrics; 0 when there is none of that name. */
double top_sample_value (const TopSample *self, const char *name);

typedef struct TopSource TopSource;

/* With `patient` a store is counted to the end before it is told of. */
TopSource *top_source_open (const Tool *tool, bool patient, GError **error);
void top_source_free (TopSource *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TopSource, top_source_free)
TopSample *top_source_read (TopSource *self, GError **error);

/* ---- top-census.c: counting a store ---------------------------------------------------------- */

typedef struct TopCensus TopCensus;

TopCensus *top_census_new (Store *store);

/* False when it still counts: then neither it nor the store goes away before the process does. */
bool top_census_free (TopCensus *self);

/* What was counted last. The first time it is waited for, so long; `*out_known` is false when that
 * was not enough. */
bool top_census_take (TopCensus *self, int64_t patience_us, StoreStatus *out, bool *out_known,
                      GError **error);

/* ---- top-frame.c: showing -------------------------------------------------------------------- */

typedef enum {
  TOP_PLAIN, /* text alone */
  TOP_BOLD,  /* for a terminal, but without colours */
  TOP_COLOUR,
} TopStyle;

typedef struct {
  TopStyle style;
  bool unicode;
  double history[TOP_HISTORY]; /* requests a second, the newest last */
  size_t history_count;
} TopView;

/* Notes how many requests a second there were. */
void top_view_note (TopView *self, const TopSample *now, const TopSample *before);

/* The lines of a frame of that size, with what colours them for a terminal; `height` 0: as many as
 * there are to tell. `before` is what there was one frame ago; NULL: figures are those since the
 * store was mounted. */
GPtrArray *top_frame (const TopView *self, const TopSample *now, const TopSample *before, int width,
                      int height);

/* The same for programs: one JSON object, with the end of its line. */
GString *top_frame_json (const TopSample *now, const TopSample *before);
