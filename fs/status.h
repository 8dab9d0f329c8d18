/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.h - how the store and its queue are.
 */
#pragma once

#include "fs/mount.h"
#include "store/commands.h"

typedef struct {
  StoreStatus census;
  char *failure;      /* why that is old; NULL: it is not. Owned */
  uint64_t waiting;   /* jobs */
  size_t running;     /* jobs, at most 8 */
  bool rebuilding;    /* one of them does */
  StoreRecord job;    /* the first of them; owned */
  const char *health; /* NULL: nobody has looked yet */
} Overview;

/* The first has the store counted, the second goes by what was counted last. */
Overview overview_take (Mount *mount);
Overview overview_look (Mount *mount);
void overview_clear (Overview *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Overview, overview_clear)

/* "12 reconstruct joe@example.com 40/100", or "none": owned by the caller. */
char *overview_job (const Overview *self);

/* What the figures of a directory say of its health; `complete`: they are of now. */
StoreHealth status_judge (const StoreStatus *figures, bool complete);
