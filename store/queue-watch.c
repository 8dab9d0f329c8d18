/* SPDX-License-Identifier: Apache-2.0 */
/* What goes on in the queue: how much waits, what runs, and what happens. */
#include "store/jobs.h"

/* ---- how it stands ------------------------------------------------------------------------- */

static bool
read_length (Queue *queue, void *data, GError **error)
{
  return queue_length (queue, data, error);
}

bool
store_queue_length (Store *self, uint64_t *out, GError **error)
{
  uint64_t length = 0;
  if (!queue_look (self, read_length, &length, error))
    return false;
  *out = length;
  return true;
}

static bool
read_highest (Queue *queue, void *data, GError **error)
{
  return queue_highest (queue, data, error);
}

bool
store_queue_newest (Store *self, uint64_t *out_id, GError **error)
{
  uint64_t id = 0;
  if (!queue_look (self, read_highest, &id, error))
    return false;
  *out_id = id;
  return true;
}

typedef struct {
  uint64_t place;
  QueueJob *jobs;
  size_t capacity, count;
} Page;

static bool
read_running (Queue *queue, void *data, GError **error)
{
  Page *page = data;
  return queue_running (queue, page->jobs, page->capacity, &page->count, error);
}

/* Makes records of a page of jobs; with `running` of those alone that still run. */
static size_t
take_records (Store *store, Page *page, bool running, StoreRecord *out)
{
  size_t count = 0;
  for (size_t i = 0; i < page->count; i++) {
    out[count] = queue_record (store, &page->jobs[i]);
    queue_job_clear (&page->jobs[i]);
    if (!running || out[count].state == STORE_JOB_RUNNING)
      count++;
    else
      store_record_clear (&out[count]); /* its process died */
  }
  return count;
}

bool
store_queue_running (Store *self, StoreRecord *out, size_t capacity, size_t *out_count,
                     GError **error)
{
  g_autofree QueueJob *jobs = g_new (QueueJob, capacity);
  Page page = {.jobs = jobs, .capacity = capacity};
  if (!queue_look (self, read_running, &page, error))
    return false;
  *out_count = take_records (self, &page, true, out);
  return true;
}

/* ---- what happens -------------------------------------------------------------------------- */

/* A queue that is behind the place is another one, which was begun when the old one was damaged or
 * gone. */
static bool
read_changes (Queue *queue, void *data, GError **error)
{
  Page *page = data;
  uint64_t last;
  if (!queue_last_change (queue, &last, error))
    return false;
  if (page->place == STORE_QUEUE_NOW)
    page->place = last;
  if (last < page->place)
    page->place = 0;
  return last == page->place ||
         queue_changes (queue, page->place, page->jobs, page->capacity, &page->count, error);
}

bool
store_queue_changes (Store *self, uint64_t *place, StoreRecord *out, size_t capacity,
                     size_t *out_count, GError **error)
{
  g_autofree QueueJob *jobs = g_new (QueueJob, capacity);
  Page page = {.place = *place, .jobs = jobs, .capacity = capacity};
  if (!queue_look (self, read_changes, &page, error))
    return false;
  if (page.count > 0)
    page.place = jobs[page.count - 1].changed;
  /* Where there is no queue, all of the one that comes is new. */
  *place = page.place == STORE_QUEUE_NOW ? 0 : page.place;
  *out_count = take_records (self, &page, false, out);
  return true;
}
