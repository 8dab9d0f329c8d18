/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue that is damaged, and the numbers of the next one.
 *
 * Nothing could make it again, and nothing must: it is kept under another name, and a new one is
 * begun. But people, programs and mounts know jobs by their numbers, and must not take a new job
 * for an old one. So the new queue goes on behind all that the kept one still tells of and, for
 * what it does not tell, behind a number that goes up with the clock: over the months faster than
 * people and worker make jobs.
 */
#include "store/jobs.h"

#define QUEUE "queue.sqlite3"
#define KEPT  QUEUE ".damaged-"

/* The clock's number begins in 2026, before there was any store, and takes eight seconds for a
 * step: so it is below what damage is believed to tell, and that below what a mount can show, for
 * more than 30 years. */
#define CLOCK_BEGIN_S 1767225600
#define CLOCK_STEP_S  8
#define BELIEVED_MAX  (UINT64_C (1) << 27)

/* ---- setting it aside ---------------------------------------------------------------------- */

bool
queue_probe (Store *store, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) handle = cache_queue (store, false, &failure);
  if ((handle != NULL && queue_verify (handle->queue, &failure)) || error_code (failure) == ENOENT)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* With the store lock held it looks again: another process may have been faster. */
bool
queue_set_aside (Store *store, GError **error)
{
  auto_fd lock = lock_store (store, error);
  if (lock < 0)
    return false;
  cache_drop_queue (store);
  g_autoptr (GError) failure = NULL;
  if (queue_probe (store, &failure))
    return true;
  if (!is_index_broken (failure)) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  cache_drop_queue (store);
  g_autofree char *path = g_build_filename (store->path, QUEUE, NULL);
  if (!layout_keep_damaged (path, error))
    return false;
  store_tell (store, "the queue was damaged: it is kept as " KEPT "*, a new one is begun");
  return true;
}

/* ---- the next one -------------------------------------------------------------------------- */

/* The highest number in a queue that is kept, or in what can be read of it; 0: none. */
static uint64_t
read_highest (const Store *store, const char *name)
{
  g_autofree char *path = g_build_filename (store->path, name, NULL);
  g_autoptr (Queue) queue = queue_open (path, INDEX_READ_ONLY, NULL);
  uint64_t highest;
  return queue != NULL && queue_highest (queue, &highest, NULL) && highest < BELIEVED_MAX ? highest
                                                                                          : 0;
}

uint64_t
queue_first_number (Store *store)
{
  g_autoptr (GPtrArray) names = layout_names (store->fd, "", NULL);
  int64_t by_clock = (record_now () - CLOCK_BEGIN_S) / CLOCK_STEP_S;
  uint64_t first = 1;
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *name = names->pdata[i];
    if (g_str_has_prefix (name, KEPT))
      first = MAX (MAX (first, (uint64_t)MAX (by_clock, 1)), read_highest (store, name) + 1);
  }
  return first;
}
