/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recent.c - messages that were read from the store a moment ago.
 *
 * The kernel keeps no extended attributes. A backup that wants them asks for those of each message,
 * one after the other, up to three times, and to look a row up costs more than all the rest of the
 * answer. So who asks for messages in the order of their UIDs is given some hundred rows that were
 * read at once, and who has just listed a mailbox the rows that the listing was made of.
 *
 * What lies here is used only as long as nothing was noted in the log of changes since before it
 * was read, so a change shows at once, whoever made it. What is changed behind the store's back is
 * not noted, hence KEEP_US. The kernel must not be told to keep what is made of this: what became
 * of a change that is not noted it would never learn.
 */
#include "fs/cache.h"
#include "fs/inode.h"
#include "fs/metrics.h"
#include "fs/view.h"

#include <string.h>

#define KEEP_US    G_TIME_SPAN_SECOND
#define RUNS       16   /* that are kept */
#define FEW        8    /* messages that are read for who asks for one */
#define MANY       1024 /* and for who has asked for as many */
#define GAP_MAX    16   /* UIDs that may be missing between two messages asked for in a row */
#define TEXT_BYTES (256u << 10) /* keywords that a run may have */

/* Messages of a mailbox, without those between them that are not there. */
typedef struct {
  fuse_ino_t mailbox; /* its directory */
  uint32_t epoch;     /* of its view */
  uint32_t after;     /* the messages are all those above this UID, up to the last one */
  StoreMessage *messages;
  size_t count;  /* 0: there is no run in this place */
  uint32_t at;   /* UID that was asked for last, if it is above all others */
  unsigned used; /* messages that were asked for */
  int64_t read_us;
  StoreStamp stamp; /* from before they were read */
} Run;

struct Recent {
  GMutex mutex; /* for what follows */
  unsigned next;
  Run runs[RUNS];
};

/* ---- runs --------------------------------------------------------------------------------- */

static void
run_clear (Run *run)
{
  store_messages_clear (run->messages, run->count);
  g_free (run->messages);
  *run = (Run){0};
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Run, run_clear)

static Run
run_begin (const View *view, uint32_t number, StoreStamp stamp)
{
  return (Run){
      .mailbox = inode_directory (view->number, number),
      .epoch = view->epoch,
      .read_us = g_get_monotonic_time (),
      .stamp = stamp,
  };
}

static bool
is_of (const Run *run, const Run *asked)
{
  return run->count > 0 && run->mailbox == asked->mailbox && run->epoch == asked->epoch;
}

static uint32_t
last_uid (const Run *run)
{
  return run->messages[run->count - 1].uid;
}

static const StoreMessage *
find_in_run (const Run *run, uint32_t uid)
{
  size_t low = 0, high = run->count;

  while (low < high) {
    size_t middle = (low + high) / 2;
    if (run->messages[middle].uid < uid)
      low = middle + 1;
    else
      high = middle;
  }
  return low < run->count && run->messages[low].uid == uid ? &run->messages[low] : NULL;
}

static StoreMessage
copy_message (const StoreMessage *message)
{
  StoreMessage copy = *message;

  copy.keywords = g_strdup (message->keywords);
  return copy;
}

/* ---- what is kept ------------------------------------------------------------------------- */

/* Finds a message in what is kept and as it was `now`. Else tells how many to read for whoever asks
 * for it: the more, the more he has made use of before. */
static bool
take_kept (Recent *self, const Run *now, uint32_t uid, StoreMessage *out, size_t *out_wanted)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  *out_wanted = FEW;
  for (unsigned i = 0; i < RUNS; i++) {
    Run *run = &self->runs[i];
    if (!is_of (run, now) || uid <= run->after || uid - MIN (uid, last_uid (run)) > GAP_MAX)
      continue;
    *out_wanted = MAX (*out_wanted, MIN (4 * run->used, MANY));
    const StoreMessage *message = find_in_run (run, uid);
    if (message == NULL || now->read_us - run->read_us > KEEP_US ||
        memcmp (&run->stamp, &now->stamp, sizeof run->stamp) != 0)
      continue;
    run->used += uid > run->at;
    run->at = MAX (run->at, uid);
    *out = copy_message (message);
    return true;
  }
  return false;
}

/* Keeps a run in the place of one of the same messages, else of the oldest. Takes it over, as far
 * as it is not too large. */
static void
keep (Recent *self, Run *run)
{
  size_t count = 0, bytes = 0;
  g_auto (Run) old = {0};

  for (; count < run->count && bytes < TEXT_BYTES; count++)
    bytes += run->messages[count].keywords != NULL ? strlen (run->messages[count].keywords) : 0;
  store_messages_clear (run->messages + count, run->count - count);
  run->count = count;
  if (count == 0)
    return;

  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  unsigned place = self->next;
  for (unsigned i = 0; i < RUNS; i++)
    if (is_of (&self->runs[i], run) && self->runs[i].after < last_uid (run) &&
        run->after < last_uid (&self->runs[i]))
      place = i;
  if (place == self->next)
    self->next = (self->next + 1) % RUNS;
  old = self->runs[place];
  self->runs[place] = *run;
  *run = (Run){0};
}

/* ---- asking ------------------------------------------------------------------------------- */

/* Reads the message and those after it. */
static bool
read_run (const View *view, uint32_t number, uint32_t uid, size_t capacity, Run *run,
          GError **error)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (view->store, number, error);
  size_t count;

  if (mailbox == NULL)
    return false;
  g_autofree StoreMessage *messages = g_new (StoreMessage, capacity);
  if (!store_mailbox_page (mailbox, uid - 1, messages, capacity, &count, error))
    return false;
  run->after = uid - 1;
  run->at = uid;
  run->used = 1;
  run->messages = g_steal_pointer (&messages);
  run->count = count;
  return true;
}

bool
recent_find (Mount *mount, const View *view, uint32_t number, uint32_t uid, StoreMessage *out,
             bool *out_found, GError **error)
{
  g_auto (Run) run = run_begin (view, number, store_change_stamp (mount->store));
  size_t wanted;

  *out_found = take_kept (mount->recent, &run, uid, out, &wanted);
  metrics_add (mount->metrics, *out_found ? COUNTER_ROWS_READY : COUNTER_ROWS_READ, 1);
  if (*out_found)
    return true;
  if (!read_run (view, number, uid, wanted, &run, error))
    return false;
  const StoreMessage *message = find_in_run (&run, uid);
  *out_found = message != NULL;
  if (message != NULL)
    *out = copy_message (message);
  keep (mount->recent, &run);
  return true;
}

/* ---- listings ----------------------------------------------------------------------------- */

void
recent_keep (Mount *mount, const View *view, uint32_t number, uint32_t after, StoreStamp stamp,
             StoreMessage *messages, size_t count)
{
  g_auto (Run) run = run_begin (view, number, stamp);

  run.after = after;
  run.messages = messages;
  run.count = count;
  keep (mount->recent, &run);
}

/* ---- beginning and end -------------------------------------------------------------------- */

Recent *
recent_new (void)
{
  Recent *self = g_new0 (Recent, 1);

  g_mutex_init (&self->mutex);
  return self;
}

void
recent_free (Recent *self)
{
  if (self == NULL)
    return;
  for (unsigned i = 0; i < RUNS; i++)
    run_clear (&self->runs[i]);
  g_mutex_clear (&self->mutex);
  g_free (self);
}
