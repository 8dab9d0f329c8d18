/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pipeline.h - one thread brings items, several work on them, one takes them in the order in which
 * they were brought.
 *
 *   Pipeline *pipeline = pipeline_new (&steps, data);
 *   while (... && pipeline_push (pipeline, item, size))
 *     ...
 *   pipeline_end (pipeline, false, &error);
 *
 * What is under way is bounded: by number, and by the bytes that items hold until they were worked
 * on. The first failure stops everything; items that are left are freed.
 */
#pragma once

#include "index/error.h"

typedef struct Pipeline Pipeline;

/* All but `prepare`, `commit` and `free_item` may be NULL. */
typedef struct {
  /* Any of the working threads, one after the other for an item: */
  void (*prepare) (void *item, void *data);
  void (*decide) (void *item, void *data); /* one item at a time, in the order of pushing */
  void (*work) (void *item, void *data);
  /* The one committing thread, in the order of pushing; owns the item from then on. False stops. */
  bool (*commit) (void *item, void *data, GError **error);
  /* The committing thread, when every item was committed. */
  bool (*finish) (void *data, GError **error);
  void (*free_item) (void *item);
  /* The pushing thread, some times a second while it pushes or waits. False stops: ECANCELED. */
  bool (*tick) (void *data);
} PipelineSteps;

Pipeline *pipeline_new (const PipelineSteps *steps, void *data);

/* Takes `item` over, which holds `size` bytes of memory until it was worked on. Waits for room.
 * False when the pipeline has stopped; pipeline_end() says why. */
bool pipeline_push (Pipeline *self, void *item, uint64_t size);

/* Waits for the rest (or, with `drop`, drops it), ends the threads and frees the pipeline. False
 * with the failure that stopped it. */
bool pipeline_end (Pipeline *self, bool drop, GError **error);
