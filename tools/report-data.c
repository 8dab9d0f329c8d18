/* SPDX-License-Identifier: Apache-2.0 */
/* report-data.c - what a report holds, and what it tells beside the mail: jobs, disk, settings. */
#include "tools/print.h"
#include "tools/report.h"

#include <sys/statvfs.h>

/* ---- what is beside the mail --------------------------------------------------------------- */

static void
record_free (StoreRecord *record)
{
  store_record_clear (record);
  g_free (record);
}

/* A copy that leaves nothing behind in `record`. */
static StoreRecord *
record_take (StoreRecord *record)
{
  StoreRecord *taken = g_memdup2 (record, sizeof *record);
  *record = (StoreRecord){0};
  taken->title = text_take_printable (taken->title);
  return taken;
}

/* Commands that tell about damage. */
static bool
has_looked (const StoreRecord *record)
{
  static const char *const verbs[] = {"check", "repair", "reconstruct", "verify"};
  g_auto (GStrv) words = g_strsplit (record->action, " ", 2);
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++) {
    if (record->state == STORE_JOB_DONE && g_strcmp0 (words[0], verbs[i]) == 0)
      return true;
  }
  return false;
}

static void
add_record (Report *self, StoreRecord *record)
{
  bool pending = record->state == STORE_JOB_WAITING ||
                 (record->state == STORE_JOB_INTERRUPTED && record->queued);
  self->running += record->state == STORE_JOB_RUNNING;
  self->rebuilding |= store_record_rebuilds (record);
  if (pending) {
    self->waiting_count++;
    if (self->waiting.length < REPORT_WAITING)
      g_queue_push_tail (&self->waiting, record_take (record));
    return;
  }
  self->jobs_count++;
  StoreRecord *kept = record_take (record);
  g_queue_push_tail (&self->jobs, kept);
  if (has_looked (kept))
    self->looked = kept;
  if (self->jobs.length > REPORT_JOBS) {
    StoreRecord *oldest = g_queue_pop_head (&self->jobs);
    if (oldest == self->looked)
      self->looked = NULL;
    record_free (oldest);
  }
}

/* A queue that cannot be read is told of, and the rest is told all the same. */
static void
read_queue (Report *self, Store *store)
{
  StoreRecord page[64];
  size_t count = 1;
  for (uint64_t after = 0; count > 0;) {
    self->queue_lost =
        !store_queue_page (store, after, false, page, G_N_ELEMENTS (page), &count, NULL);
    if (self->queue_lost)
      return;
    after = count > 0 ? page[count - 1].id : 0;
    for (size_t i = 0; i < count; i++)
      add_record (self, &page[i]);
    store_records_clear (page, count);
  }
  if (self->looked != NULL && self->looked->left > 0)
    self->findings = store_queue_findings (store, self->looked->id, NULL);
}

/* Of a snapshot itself there is nothing to tell. */
static void
read_snapshots (Report *self, Store *store)
{
  StoreWeight weights[STORE_SNAPSHOTS_MAX];
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (store, NULL);
  if (store_snapshot_of (store) != NULL || snapshots == NULL ||
      !store_snapshot_weigh (store, snapshots, weights, &self->snapshots_bytes, NULL))
    return;
  self->snapshots = snapshots->len;
}

static bool
read_rest (Report *self, Store *store, GError **error)
{
  struct statvfs disk;
  if (!store_statvfs (store, &disk, error))
    return false;
  self->disk_size = (uint64_t)disk.f_blocks * disk.f_frsize;
  self->disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
  g_autoptr (GPtrArray) quarantined = store_quarantine_list (store, NULL);
  for (guint i = 0; quarantined != NULL && i < quarantined->len; i++) {
    const StoreQuarantined *object = g_ptr_array_index (quarantined, i);
    self->quarantined++;
    self->quarantined_bytes += object->size;
  }
  read_snapshots (self, store);
  for (StoreSetting key = 0; store_settings[key].name != NULL; key++)
    g_ptr_array_add (self->settings, store_setting_string (store, key));
  read_queue (self, store);
  return true;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void
damaged_free (gpointer data)
{
  ReportDamaged *damaged = data;
  g_free (damaged->title);
  g_free (damaged->from);
  g_free (damaged->subject);
  g_free (damaged->cells);
  g_free (damaged);
}

static void
strip_free (gpointer data)
{
  ReportStrip *strip = data;
  g_free (strip->title);
  g_free (strip);
}

static void
step_free (gpointer data)
{
  ReportStep *step = data;
  g_free (step->why);
  g_free (step->command);
  g_free (step);
}

static Report *
make_report (Store *store)
{
  Report *self = g_new0 (Report, 1);
  self->now_s = g_get_real_time () / G_USEC_PER_SEC;
  self->store = store_text_printable (store_path (store));
  self->uuid = g_strdup (store_uuid (store));
  self->oldest_s = INT64_MAX;
  self->newest_s = INT64_MIN;
  self->user_health = g_byte_array_new ();
  self->strips = g_ptr_array_new_with_free_func (strip_free);
  self->damaged_sample = g_ptr_array_new_with_free_func (damaged_free);
  self->unreadable = g_ptr_array_new_with_free_func (g_free);
  self->settings = g_ptr_array_new_with_free_func (g_free);
  self->steps = g_ptr_array_new_with_free_func (step_free);
  g_queue_init (&self->jobs);
  g_queue_init (&self->waiting);
  return self;
}

static StoreHealth
judge_health (const Report *self)
{
  if (self->rebuilding)
    return STORE_HEALTH_REBUILDING;
  if (self->damaged > 0 || self->unreadable_count > 0)
    return STORE_HEALTH_DAMAGED;
  return self->behind > 0 || self->list_lost ? STORE_HEALTH_DEGRADED : STORE_HEALTH_OK;
}

Report *
report_new (const Tool *tool, Store *store, const GArray *nodes, bool subjects, bool places,
            GError **error)
{
  g_autoptr (Report) self = make_report (store);
  g_autoptr (Progress) progress = progress_new (tool);
  self->places.wanted = places;
  if (!report_count (self, store, nodes, subjects, progress, error) ||
      !read_rest (self, store, error))
    return NULL;
  self->seconds = progress_seconds (progress);
  /* A store that never held anything has none to lose. */
  self->list_lost = self->mailboxes > 0 && store_list_in_memory (store);
  self->health = judge_health (self);
  self->forensic = tool->forensic;
  report_find_steps (self);
  return g_steal_pointer (&self);
}

void
report_free (Report *self)
{
  if (self == NULL)
    return;
  for (ReportKey key = 0; key < REPORT_KEYS; key++) {
    for (size_t i = 0; i < self->tops[key].count; i++)
      g_free (self->tops[key].rows[i].title);
  }
  for (size_t i = 0; i < self->top_users_count; i++)
    g_free (self->top_users[i].title);
  g_queue_clear_full (&self->jobs, (GDestroyNotify)record_free);
  g_queue_clear_full (&self->waiting, (GDestroyNotify)record_free);
  g_clear_pointer (&self->findings, g_ptr_array_unref);
  g_ptr_array_unref (self->strips);
  g_ptr_array_unref (self->damaged_sample);
  g_ptr_array_unref (self->unreadable);
  g_ptr_array_unref (self->settings);
  g_ptr_array_unref (self->steps);
  g_byte_array_unref (self->user_health);
  g_free (self->store);
  g_free (self->uuid);
  g_free (self->scope);
  g_free (self);
}
