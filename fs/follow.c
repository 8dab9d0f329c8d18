/* SPDX-License-Identifier: Apache-2.0 */
/*
 * follow.c - telling what happens in the queue, whoever makes it happen.
 *
 * A thread looks some times a second whether something has changed in the queue, which costs next
 * to nothing when nothing has. What it sees is how jobs are, not each step on their way: one that
 * was queued, run and ended between two looks is seen once, and told of thrice.
 */
#include "fs/log.h"
#include "fs/loop.h"
#include "fs/metrics.h"
#include "fs/status.h"
#include "fs/trail.h"
#include "store/commands.h"
#include "store/text.h"

#include <inttypes.h>

#define LOOK_US    (250 * G_TIME_SPAN_MILLISECOND)
#define LOOK_PAGES 64 /* in one look at most; there is another one soon */
#define PAGE_SIZE  64

/* Of more that are queued at once only so many are told one by one. */
#define QUEUED_MAX 64

/* How often the service manager is told of what is no change in the queue, in looks. */
#define STATUS_LOOKS 20

struct Follow {
  Mount *mount;
  Loop loop;
  uint64_t place;                /* in the queue */
  uint64_t newest;               /* number of the newest job that was seen before this look */
  GHashTable *known;             /* numbers of jobs that were seen to be newer, in this look */
  GHashTable *running;           /* numbers of jobs that were seen to run */
  uint64_t waiting, first, last; /* jobs that were seen to be queued in this look; these */
  char *status;                  /* that the service manager was told last */
};

/* ---- events of jobs ----------------------------------------------------------------------- */

static GString *
begin_event (const char *type, const StoreRecord *record)
{
  GString *event = json_begin (type);

  json_uint (event, "job", record->id);
  json_string (event, "action", record->action);
  json_string (event, "mailbox", record->title);
  return event;
}

static void
tell_queued (Follow *self, const StoreRecord *record)
{
  g_autoptr (GString) event = begin_event ("job-queued", record);

  if (self->waiting == 0)
    self->first = record->id;
  self->last = record->id;
  if (self->waiting++ < QUEUED_MAX)
    trail_tell (self->mount, event);
}

/* Those that were queued in this look and were not told one by one. */
static void
tell_many_queued (Follow *self)
{
  g_autoptr (GString) event = json_begin ("jobs-queued");

  if (self->waiting > QUEUED_MAX) {
    json_uint (event, "count", self->waiting);
    json_uint (event, "first", self->first);
    json_uint (event, "last", self->last);
    trail_tell (self->mount, event);
  }
  self->waiting = 0;
}

static void
tell_started (Follow *self, const StoreRecord *record)
{
  g_autoptr (GString) event = begin_event ("job-started", record);

  trail_tell (self->mount, event);
}

static void
tell_progress (Follow *self, const StoreRecord *record)
{
  g_autoptr (GString) event = begin_event ("job-progress", record);

  json_uint (event, "done", record->progress.done);
  json_uint (event, "total", record->progress.total);
  json_string (event, "unit", record->progress.unit);
  trail_tell (self->mount, event);
}

static void
tell_ended (Follow *self, const StoreRecord *record)
{
  static const Counter counters[] = {
      [STORE_JOB_DONE] = COUNTER_JOBS_DONE,
      [STORE_JOB_FAILED] = COUNTER_JOBS_FAILED,
      [STORE_JOB_CANCELLED] = COUNTER_JOBS_CANCELLED,
      [STORE_JOB_INTERRUPTED] = COUNTER_JOBS_INTERRUPTED,
  };
  g_autoptr (GString) event = begin_event ("job-ended", record);

  json_string (event, "state", store_job_state_name (record->state));
  json_uint (event, "fixed", record->fixed);
  json_uint (event, "left", record->left);
  json_uint (event, "taken", record->taken);
  if (record->error != NULL)
    json_string (event, "error", record->error);
  if (record->code != 0)
    json_string (event, "errno", strerrorname_np (record->code));
  trail_tell (self->mount, event);
  metrics_add (self->mount->metrics, counters[record->state], 1);
}

/* Whether the job is seen for the first time. */
static bool
is_new (Follow *self, uint64_t id)
{
  return id > self->newest && g_hash_table_add (self->known, GSIZE_TO_POINTER (id));
}

static void
tell_job (Follow *self, const StoreRecord *record)
{
  gpointer id = GSIZE_TO_POINTER (record->id);
  bool was_running = g_hash_table_contains (self->running, id);
  bool was_new = is_new (self, record->id);

  if (record->state == STORE_JOB_WAITING || (was_new && record->queued))
    tell_queued (self, record);
  if (record->state == STORE_JOB_WAITING)
    return;
  if (!was_running && record->started_s > 0)
    tell_started (self, record);
  if (record->state == STORE_JOB_RUNNING && was_running)
    tell_progress (self, record);
  if (record->state == STORE_JOB_RUNNING)
    g_hash_table_add (self->running, id);
  else {
    g_hash_table_remove (self->running, id);
    tell_ended (self, record);
  }
}

/* ---- the service manager ------------------------------------------------------------------ */

static void
tell_status (Follow *self)
{
  g_auto (Overview) overview = overview_look (self->mount);
  g_autofree char *job = overview_job (&overview);
  g_autofree char *text = g_strdup_printf ("%s; job: %s; %" PRIu64 " waiting",
                                           overview.health != NULL ? overview.health : "mounted",
                                           job, overview.waiting);

  if (g_strcmp0 (text, self->status) == 0)
    return;
  g_autofree char *printable = store_text_printable (text);
  service_tell ("STATUS=%s", printable);
  g_free (self->status);
  self->status = g_steal_pointer (&text);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* A queue that cannot be read is told of by the worker. True: something had changed. */
static bool
look (Follow *self)
{
  StoreRecord page[PAGE_SIZE];
  uint64_t newest = self->newest;
  bool changed = false;
  size_t count = 1;

  for (unsigned pages = 0; count > 0 && pages < LOOK_PAGES; pages++) {
    if (!store_queue_changes (self->mount->store, &self->place, page, PAGE_SIZE, &count, NULL))
      break;
    for (size_t i = 0; i < count; i++) {
      tell_job (self, &page[i]);
      newest = MAX (newest, page[i].id);
    }
    store_records_clear (page, count);
    changed |= count > 0;
  }
  tell_many_queued (self);
  self->newest = newest;
  g_hash_table_remove_all (self->known);
  return changed;
}

static gpointer
run (gpointer data)
{
  Follow *self = data;

  for (unsigned looks = 0; loop_sleep (&self->loop, LOOK_US); looks++)
    if (look (self) || looks % STATUS_LOOKS == 0)
      tell_status (self);
  look (self);
  return NULL;
}

/* ---- beginning and end -------------------------------------------------------------------- */

Follow *
follow_start (Mount *mount)
{
  Follow *self = g_new0 (Follow, 1);
  StoreRecord none;
  size_t count;

  self->mount = mount;
  self->place = STORE_QUEUE_NOW;
  self->known = g_hash_table_new (NULL, NULL);
  self->running = g_hash_table_new (NULL, NULL);
  loop_init (&self->loop);
  store_queue_changes (mount->store, &self->place, &none, 1, &count, NULL);
  loop_start (&self->loop, "follow", run, self);
  return self;
}

void
follow_stop (Follow *self)
{
  if (self == NULL)
    return;
  loop_clear (&self->loop);
  g_hash_table_unref (self->known);
  g_hash_table_unref (self->running);
  g_free (self->status);
  g_free (self);
}
