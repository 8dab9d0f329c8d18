/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top-census.c - the figures of a store, for mailstore top.
 *
 * Counting a store opens the index of every user, which takes long where there are many. So a
 * thread of its own counts, a twentieth of the time at most, and what is shown is what was counted
 * last.
 */
#include "tools/top.h"

#define SHARE 20

struct TopCensus {
  Store *store;
  GThread *thread; /* that counts, or has counted last */
  GMutex mutex;    /* for what follows */
  GCond ended;     /* `counting` became false */
  bool counting;
  bool known; /* `status` is of an earlier count */
  StoreStatus status;
  GError *failure; /* of the last count */
  int64_t next_us; /* not again before then */
};

/* That counted on when the program ended. It stays in sight of who looks for memory that is lost.
 */
static TopCensus *volatile left;

TopCensus *
top_census_new (Store *store)
{
  TopCensus *self = g_new0 (TopCensus, 1);
  self->store = store;
  g_mutex_init (&self->mutex);
  g_cond_init (&self->ended);
  return self;
}

bool
top_census_free (TopCensus *self)
{
  if (self == NULL)
    return true;
  g_mutex_lock (&self->mutex);
  bool counting = self->counting;
  g_mutex_unlock (&self->mutex);
  if (counting) {
    g_clear_pointer (&self->thread, g_thread_unref); /* nobody waits for its end */
    left = self;
    return false;
  }
  g_clear_pointer (&self->thread, g_thread_join);
  g_clear_error (&self->failure);
  g_cond_clear (&self->ended);
  g_mutex_clear (&self->mutex);
  g_free (self);
  return true;
}

static gpointer
count_store (gpointer data)
{
  TopCensus *self = data;
  int64_t begun_us = g_get_monotonic_time ();
  StoreStatus status;
  GError *failure = NULL;
  bool good = store_status (self->store, &status, &failure);
  int64_t now_us = g_get_monotonic_time ();
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  if (good)
    self->status = status;
  g_clear_error (&self->failure);
  self->failure = failure;
  self->known |= good;
  self->next_us = now_us + (now_us - begun_us) * SHARE;
  self->counting = false;
  g_cond_broadcast (&self->ended);
  return NULL;
}

bool
top_census_take (TopCensus *self, int64_t patience_us, StoreStatus *out, bool *out_known,
                 GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  int64_t now_us = g_get_monotonic_time ();
  if (!self->counting && now_us >= self->next_us) {
    g_clear_pointer (&self->thread, g_thread_join);
    self->counting = true;
    self->thread = g_thread_new ("census", count_store, self);
  }
  while (self->counting && !self->known && self->failure == NULL &&
         g_cond_wait_until (&self->ended, &self->mutex, now_us + patience_us))
    ;
  if (self->failure != NULL)
    return g_propagate_error (error, g_error_copy (self->failure)), false;
  *out_known = self->known;
  *out = self->status;
  return true;
}
