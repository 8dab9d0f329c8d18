/* SPDX-License-Identifier: Apache-2.0 */
/*
 * census.c - what a directory and everything below it amount to.
 *
 * Counting opens the index of every user below and looks at every mailbox, which for a domain may
 * take a minute. So threads of their own count, when somebody asks. What is counted in no time is
 * counted anew for each who asks; else there is the last count until it is old: half a second, and
 * twenty times what counting took. Who sets a count going waits a little for it; everybody else
 * gets the last one, soon. Only some may wait at the same time, so that there are threads left
 * for those who ask for other things.
 */
#include "fs/cache.h"
#include "fs/view.h"

#define QUICK_US    (10 * G_TIME_SPAN_MILLISECOND) /* that is no time */
#define KEEP_US     (500 * G_TIME_SPAN_MILLISECOND)
#define SHARE       20 /* counting may use a twentieth of the time */
#define WAIT_US     (2 * G_TIME_SPAN_SECOND)
#define GLANCE_US   (100 * G_TIME_SPAN_MILLISECOND) /* who need not, or may not, wait so long */
#define WAITING_MAX 4                               /* who wait at the same time */
#define THREADS_MAX 3                               /* that count */
#define COUNTS_MAX  256                             /* directories whose count is kept */

/* Of one directory. */
typedef struct {
  uint64_t key;
  uint32_t number;
  View *view;                /* while it is being counted, else NULL */
  unsigned asking;           /* who hold it */
  bool counting;             /* a thread is at it, or will be */
  int64_t begun_us, next_us; /* of the last count; 0: there is none. next_us: good until then */
  int64_t asked_us;
  StoreStatus figures;
  GError *failure; /* of the last count; the figures are older then */
} Count;

struct Census {
  GThreadPool *threads;
  GMutex mutex; /* for what follows */
  GCond counted;
  GHashTable *counts; /* set of Count by key */
  unsigned waiting;   /* who may do so for long */
};

/* By the snapshot's epoch, for its view may become another's. */
static uint64_t
make_key (const View *view, uint32_t number)
{
  return (uint64_t)view->epoch << 32 | number;
}

static void
free_count (gpointer data)
{
  Count *count = data;

  g_clear_error (&count->failure);
  g_free (count);
}

/* In a thread of the pool. */
static void
take_count (gpointer data, gpointer user_data)
{
  Count *count = data;
  Census *self = user_data;
  int64_t begun = g_get_monotonic_time ();
  StoreStatus figures;
  GError *failure = NULL;
  bool good = store_node_status (count->view->store, count->number, &figures, &failure);
  int64_t now = g_get_monotonic_time ();
  g_autoptr (View) view = NULL;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  if (good)
    count->figures = figures;
  g_clear_error (&count->failure);
  count->failure = failure;
  count->begun_us = begun;
  count->next_us = now - begun > QUICK_US ? now + MAX (KEEP_US, (now - begun) * SHARE) : begun;
  count->counting = false;
  view = g_steal_pointer (&count->view);
  g_cond_broadcast (&self->counted);
}

/* ---- asking ------------------------------------------------------------------------------- */

/* Forgets the directory that nobody has asked for the longest. */
static void
drop_one (Census *self)
{
  Count *oldest = NULL;
  GHashTableIter iter;
  gpointer value;

  g_hash_table_iter_init (&iter, self->counts);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    Count *count = value;
    if (!count->counting && count->asking == 0 &&
        (oldest == NULL || count->asked_us < oldest->asked_us))
      oldest = count;
  }
  if (oldest != NULL)
    g_hash_table_remove (self->counts, &oldest->key);
}

static Count *
find_count (Census *self, const View *view, uint32_t number)
{
  uint64_t key = make_key (view, number);
  Count *count = g_hash_table_lookup (self->counts, &key);

  if (count != NULL)
    return count;
  if (g_hash_table_size (self->counts) >= COUNTS_MAX)
    drop_one (self);
  count = g_new0 (Count, 1);
  count->key = key;
  count->number = number;
  fail (&count->failure, EAGAIN, "it is being counted");
  g_hash_table_add (self->counts, count);
  return count;
}

/* How long somebody waits for a count that is under way. */
static int64_t
patience (const Count *count, bool begun, bool may_wait)
{
  bool known = count->next_us != 0, slow = count->next_us > count->begun_us;

  if (begun || !known)
    return may_wait ? WAIT_US : GLANCE_US;
  return slow ? 0 : GLANCE_US;
}

/* Returns when the count is good for who asks now, or he has waited enough. The mutex is held. */
static void
wait_for_count (Census *self, View *view, Count *count)
{
  int64_t asked = g_get_monotonic_time ();
  bool may_wait = self->waiting < WAITING_MAX, begun = false, in_time = true;

  count->asked_us = asked;
  self->waiting += may_wait;
  while (in_time && count->begun_us < asked && count->next_us <= asked) {
    if (!count->counting) {
      count->counting = begun = true;
      count->view = view_ref (view);
      g_thread_pool_push (self->threads, count, NULL);
    }
    in_time =
        g_cond_wait_until (&self->counted, &self->mutex, asked + patience (count, begun, may_wait));
  }
  self->waiting -= may_wait;
}

void
census_take (Census *self, View *view, uint32_t number, StoreStatus *out, GError **out_failure)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Count *count = find_count (self, view, number);

  count->asking++;
  wait_for_count (self, view, count);
  count->asking--;
  *out = count->figures;
  if (count->failure != NULL)
    *out_failure = g_error_copy (count->failure);
}

bool
census_last (Census *self, const View *view, uint32_t number, StoreStatus *out)
{
  uint64_t key = make_key (view, number);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  const Count *count = g_hash_table_lookup (self->counts, &key);

  if (count == NULL || count->begun_us == 0)
    return false;
  *out = count->figures;
  return true;
}

/* ---- beginning and end -------------------------------------------------------------------- */

Census *
census_new (void)
{
  Census *self = g_new0 (Census, 1);

  self->threads = g_thread_pool_new (take_count, self, THREADS_MAX, TRUE, NULL);
  self->counts = g_hash_table_new_full (g_int64_hash, g_int64_equal, NULL, free_count);
  g_mutex_init (&self->mutex);
  g_cond_init (&self->counted);
  return self;
}

void
census_free (Census *self)
{
  g_thread_pool_free (self->threads, TRUE, TRUE);
  g_hash_table_unref (self->counts);
  g_cond_clear (&self->counted);
  g_mutex_clear (&self->mutex);
  g_free (self);
}
