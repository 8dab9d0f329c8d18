/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appends to one user's mailboxes share what makes them last.
 *
 * Of the threads that append at the same time one, the leader, does the work for all that wait:
 * one lock, one sync of each mailbox's directory, one commit of the index. Who comes meanwhile
 * waits for that batch and no longer: the next one takes all that wait.
 *
 * Putting a message on disk takes two syncs, committing its row five more. So the rows of a stream
 * of mail wait for each other. A stream is mail that comes together with other mail, or shortly
 * after it. There the leader leaves the user lock and the transaction to the next leader, and tells
 * those that wait as soon as their messages are on disk. The rows are committed when the stream has
 * been open for STREAM_US: by a leader, or by the closing thread when there is none; and at once
 * for whoever in this process wants to lock the user or see the index, and when the store is
 * closed.
 *
 * A message that is acknowledged before its row is committed has all its facts on its file and in
 * its directory. When the process or the power goes, the transaction is as if it had never been,
 * and the index is behind, which the directory's mtime tells and the next writer mends. Nobody sees
 * that state with the user lock held, since the lock goes with the transaction. Every commit is one
 * of synchronous=FULL; there are only fewer.
 */
#include "store/arrive.h"
#include "store/internal.h"

#include <unistd.h>

/* How long the user lock is kept, and how soon mail must follow mail to make a stream. */
#define STREAM_US (20 * G_USEC_PER_SEC / 1000)

/* Likewise while somebody else waits for the lock. */
#define STREAM_WANTED_US (STREAM_US / 4)

/* Rows that are committed without waiting for more; fewer than what a writer catches up with. */
#define STREAM_ROWS_MAX 128u

/* The appends to one user's mailboxes. Store.delivery_mutex guards it all but `user`, which is for
 * whoever has set `busy`. It exists while it is of use to anybody. */
typedef struct {
  uint32_t owner;
  unsigned threads;   /* that are in one of the functions here */
  GPtrArray *waiting; /* of Append: the next batch */
  bool busy, closing; /* the latter: committing the rows of a stream */
  GCond moved;        /* appends are done, or nobody is busy any more */
  UserWrite user;
  bool open; /* a stream: `user` is left to who comes next */
  int64_t opened_us;
} Delivery;

static Delivery *
enter (Store *store, uint32_t owner)
{
  Delivery *self = g_hash_table_lookup (store->deliveries, GUINT_TO_POINTER (owner));
  if (self == NULL) {
    self = g_new0 (Delivery, 1);
    self->owner = owner;
    self->waiting = g_ptr_array_new ();
    self->user.lock = -1;
    g_cond_init (&self->moved);
    g_hash_table_insert (store->deliveries, GUINT_TO_POINTER (owner), self);
  }
  self->threads++;
  return self;
}

static void
leave (Store *store, Delivery *self)
{
  self->threads--;
  if (self->threads > 0 || self->open)
    return;
  g_hash_table_remove (store->deliveries, GUINT_TO_POINTER (self->owner));
  g_cond_clear (&self->moved);
  g_ptr_array_unref (self->waiting);
  g_free (self);
}

/* ---- what is done without the mutex, by whoever is busy ------------------------------------- */

static bool
begin (Delivery *self, StoreMailbox *mailbox, GError **error)
{
  self->user.lock = lock_mailbox_to_deliver (mailbox, error);
  if (self->user.lock < 0)
    return false;
  self->user.write = mailbox_write_begin (mailbox, &self->user.handle, NULL);
  self->user.rows = 0;
  return true;
}

void
user_write_end (UserWrite *user)
{
  if (user->write != NULL)
    index_write_commit (user->write, NULL);
  g_clear_pointer (&user->write, index_write_free);
  g_clear_pointer (&user->handle, handle_unref);
  store_close_fd (&user->lock);
  user->lock = -1;
}

/* Whether more mail is likely to come soon. */
static bool
is_stream (const Delivery *self, const GPtrArray *batch)
{
  int64_t now_us = g_get_monotonic_time ();
  bool stream = batch->len > 1 || self->open, bulk = false;
  for (guint i = 0; i < batch->len; i++) {
    const Append *append = batch->pdata[i];
    bulk = bulk || append->bulk;
    stream = stream || now_us - append->mailbox->appended_us < STREAM_US;
    append->mailbox->appended_us = now_us;
  }
  return stream && !bulk && self->user.write != NULL;
}

/* Puts a batch on disk; returns whether it leaves a stream open. */
static bool
deliver (Delivery *self, GPtrArray *batch)
{
  const Append *first = batch->pdata[0];
  g_autoptr (GError) failure = NULL;
  if (self->user.lock < 0 && !begin (self, first->mailbox, &failure)) {
    append_fail_all (batch, failure);
    return false;
  }
  append_batch (batch, &self->user);
  if (is_stream (self, batch))
    return true;
  user_write_end (&self->user);
  return false;
}

/* ---- streams: with the mutex, which is let go while somebody is busy ------------------------- */

/* A stream that is due, or NULL and when the next one will be. Whoever is busy with one sees to it
 * afterwards. */
static Delivery *
find_due (Store *store, int64_t *out_next_us)
{
  int64_t now_us = g_get_monotonic_time ();
  GHashTableIter iter;
  void *value;
  *out_next_us = G_MAXINT64;
  g_hash_table_iter_init (&iter, store->deliveries);
  while (g_hash_table_iter_next (&iter, NULL, &value)) {
    Delivery *self = value;
    if (!self->open)
      continue;
    bool due = store->closing || self->opened_us + STREAM_US <= now_us;
    if (due && !self->busy)
      return self;
    if (!due)
      *out_next_us = MIN (*out_next_us, self->opened_us + STREAM_US);
  }
  return NULL;
}

static void note_stream (Store *store, Delivery *self, bool open);

static void
close_stream (Store *store, Delivery *self)
{
  self->busy = self->closing = true;
  g_mutex_unlock (&store->delivery_mutex);
  user_write_end (&self->user);
  g_mutex_lock (&store->delivery_mutex);
  self->busy = self->closing = false;
  note_stream (store, self, false);
  g_cond_broadcast (&self->moved);
}

/* The closing thread: closes what no leader comes by to close, and with the store what is left. */
static void *
run_closer (void *data)
{
  Store *store = data;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->delivery_mutex);
  for (;;) {
    int64_t next_us;
    Delivery *due = find_due (store, &next_us);
    if (due != NULL) {
      due->threads++;
      close_stream (store, due);
      leave (store, due);
    } else if (store->closing) {
      return NULL;
    } else if (next_us < G_MAXINT64) {
      g_cond_wait_until (&store->stream_opened, &store->delivery_mutex, next_us);
    } else {
      g_cond_wait (&store->stream_opened, &store->delivery_mutex);
    }
  }
}

static void
note_stream (Store *store, Delivery *self, bool open)
{
  if (open == self->open)
    return;
  self->open = open;
  g_atomic_int_add (&store->streams, open ? 1 : -1);
  if (!open)
    return;
  self->opened_us = g_get_monotonic_time ();
  if (store->closer == NULL)
    store->closer = g_thread_new ("close", run_closer, store);
  g_cond_signal (&store->stream_opened);
}

/* Whether an open stream has gone on for long enough. */
static bool
is_due (const Delivery *self)
{
  int64_t open_us = g_get_monotonic_time () - self->opened_us;
  return self->user.rows >= STREAM_ROWS_MAX || open_us >= STREAM_US ||
         (open_us >= STREAM_WANTED_US && lock_is_wanted (self->user.lock));
}

/* Does the work for all that wait. A stream that is due is closed after they have been told. */
static void
lead (Store *store, Delivery *self)
{
  g_autoptr (GPtrArray) batch = g_steal_pointer (&self->waiting);
  self->waiting = g_ptr_array_new ();
  self->busy = true;
  g_mutex_unlock (&store->delivery_mutex);
  bool stays = deliver (self, batch);
  g_mutex_lock (&store->delivery_mutex);
  for (guint i = 0; i < batch->len; i++)
    ((Append *)batch->pdata[i])->done = true;
  self->busy = false;
  g_cond_broadcast (&self->moved);
  note_stream (store, self, stays);
  if (stays && is_due (self))
    close_stream (store, self);
}

/* ---- what the others call -------------------------------------------------------------------- */

void
delivery_init (Store *store)
{
  g_mutex_init (&store->delivery_mutex);
  g_cond_init (&store->stream_opened);
  store->deliveries = g_hash_table_new (NULL, NULL);
}

void
delivery_clear (Store *store)
{
  if (store->closer != NULL) {
    g_mutex_lock (&store->delivery_mutex);
    store->closing = true;
    g_cond_signal (&store->stream_opened);
    g_mutex_unlock (&store->delivery_mutex);
    g_thread_join (store->closer);
  }
  g_clear_pointer (&store->deliveries, g_hash_table_unref);
  g_cond_clear (&store->stream_opened);
  g_mutex_clear (&store->delivery_mutex);
}

void
delivery_append (Append *append)
{
  Store *store = append->mailbox->store;
  g_mutex_lock (&store->delivery_mutex);
  Delivery *self = enter (store, append->mailbox->owner);
  g_ptr_array_add (self->waiting, append);
  while (!append->done && self->busy)
    g_cond_wait (&self->moved, &store->delivery_mutex);
  if (!append->done)
    lead (store, self);
  leave (store, self);
  g_mutex_unlock (&store->delivery_mutex);
}

void
delivery_settle (Store *store, uint32_t owner, bool wait)
{
  if (!wait && g_atomic_int_get (&store->streams) == 0)
    return;
  g_mutex_lock (&store->delivery_mutex);
  Delivery *self = enter (store, owner);
  while (self->closing || (wait && self->busy))
    g_cond_wait (&self->moved, &store->delivery_mutex);
  if (self->open && !self->busy)
    close_stream (store, self);
  leave (store, self);
  g_mutex_unlock (&store->delivery_mutex);
}
