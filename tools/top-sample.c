/* SPDX-License-Identifier: Apache-2.0 */
/* top-sample.c - what mailstore top reads: the control files of a mount, or a store's own queue. */
#include "tools/print.h"
#include "tools/remote.h"
#include "tools/top.h"

#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>

#define PATIENCE_US (200 * G_TIME_SPAN_MILLISECOND)
#define QUEUE_MAX   4096 /* jobs that are looked at; of more only their number is told */

/* When a job was seen first, and how far it was. */
typedef struct {
  uint64_t id, done;
  int64_t at_us;
} Start;

struct TopSource {
  char *place;
  Remote *remote; /* one of these two is NULL */
  Store *store;
  TopCensus *census;    /* of the store */
  int64_t patience_us;  /* with the first one */
  uint64_t after;       /* all jobs up to this one have ended, and are known */
  uint64_t last_failed; /* number of the job that the newest of `failures` is of */
  GQueue failures;      /* of char *, the newest last */
  Start start;          /* of the job that runs */
};

static void
operation_free (gpointer data)
{
  TopOperation *operation = data;
  g_free (operation->name);
  g_free (operation);
}

static void
job_free (gpointer data)
{
  TopJob *job = data;
  g_free (job->text);
  g_free (job);
}

void
top_sample_free (TopSample *self)
{
  if (self == NULL)
    return;
  g_free (self->place);
  g_free (self->health);
  g_ptr_array_unref (self->operations);
  g_hash_table_unref (self->values);
  g_ptr_array_unref (self->jobs);
  g_ptr_array_unref (self->queue);
  g_ptr_array_unref (self->errors);
  g_free (self);
}

static TopSample *
make_sample (const TopSource *source)
{
  TopSample *self = g_new0 (TopSample, 1);
  self->now_us = g_get_monotonic_time ();
  self->place = store_text_printable (source->place);
  self->is_mount = source->remote != NULL;
  self->operations = g_ptr_array_new_with_free_func (operation_free);
  self->values = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  self->jobs = g_ptr_array_new_with_free_func (job_free);
  self->queue = g_ptr_array_new_with_free_func (job_free);
  self->errors = g_ptr_array_new_with_free_func (g_free);
  return self;
}

double
top_sample_value (const TopSample *self, const char *name)
{
  const double *value = g_hash_table_lookup (self->values, name);
  return value != NULL ? *value : 0;
}

static uint64_t
get_count (const TopSample *self, const char *name)
{
  return (uint64_t)MAX (top_sample_value (self, name), 0);
}

/* Adds a job. How long the first one will still take is told by how far it came since it was seen.
 */
static void
add_job (TopSource *source, TopSample *sample, GPtrArray *list, const TopJob *from)
{
  TopJob *job = g_memdup2 (from, sizeof *from);
  job->seconds_left = -1;
  job->text = store_text_printable (from->text);
  if (list == sample->jobs && list->len == 0) {
    if (source->start.id != job->id || source->start.done > job->done)
      source->start = (Start){job->id, job->done, sample->now_us};
    double done = (double)(job->done - source->start.done);
    double seconds = (double)(sample->now_us - source->start.at_us) / 1e6;
    if (done > 0 && seconds >= 1 && job->total >= job->done)
      job->seconds_left = (double)(job->total - job->done) * seconds / done;
  }
  g_ptr_array_add (list, job);
}

/* ---- a mount ------------------------------------------------------------------------------- */

/* "lookup" of {operation="lookup",le="0.001"}; NULL when there is no such label. */
static char *
get_label (const char *labels, const char *key)
{
  g_autofree char *start = g_strdup_printf ("%s=\"", key);
  const char *value = strstr (labels, start);
  if (value == NULL)
    return NULL;
  value += strlen (start);
  return g_strndup (value, strcspn (value, "\""));
}

static TopOperation *
find_operation (TopSample *self, const char *name)
{
  for (guint i = 0; i < self->operations->len; i++) {
    TopOperation *operation = g_ptr_array_index (self->operations, i);
    if (strcmp (operation->name, name) == 0)
      return operation;
  }
  TopOperation *operation = g_new0 (TopOperation, 1);
  operation->name = store_text_printable (name);
  g_ptr_array_add (self->operations, operation);
  return operation;
}

/* Where the bucket of that upper bound is. TOP_BUCKETS: nowhere, there are too many. */
static size_t
find_bucket (TopSample *self, const char *le)
{
  double bound = g_ascii_strtod (le, NULL); /* "+Inf" as well */
  for (size_t i = 0; i < self->bucket_count; i++) {
    if (self->bounds_s[i] >= bound)
      return i;
  }
  if (self->bucket_count == TOP_BUCKETS)
    return TOP_BUCKETS;
  self->bounds_s[self->bucket_count] = bound;
  return self->bucket_count++;
}

/* One line: a name, perhaps labels, and a value. Buckets are summed up from the shortest on. */
static void
take_metric (TopSample *self, const char *line)
{
  static const char bucket_prefix[] = "mailfs_request_duration_seconds_bucket{";
  const char *space = strrchr (line, ' ');
  if (*line == '#' || space == NULL)
    return;
  double value = g_ascii_strtod (space + 1, NULL);
  g_autofree char *name = g_strndup (line, (gsize)(space - line));
  if (!g_str_has_prefix (name, bucket_prefix)) {
    g_hash_table_insert (self->values, g_steal_pointer (&name), g_memdup2 (&value, sizeof value));
    return;
  }
  g_autofree char *kind = get_label (name, "operation"), *le = get_label (name, "le");
  size_t bucket = kind != NULL && le != NULL ? find_bucket (self, le) : TOP_BUCKETS;
  if (bucket == TOP_BUCKETS)
    return;
  TopOperation *operation = find_operation (self, kind);
  operation->buckets[bucket] = (uint64_t)MAX (value, 0);
  operation->count = MAX (operation->count, operation->buckets[bucket]);
}

static int
compare_operations (gconstpointer a, gconstpointer b)
{
  const TopOperation *one = *(const TopOperation *const *)a,
                     *other = *(const TopOperation *const *)b;
  return one->count != other->count ? (one->count < other->count ? 1 : -1)
                                    : strcmp (one->name, other->name);
}

static void
take_metrics (TopSample *self, const char *text)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (char **line = lines; *line != NULL; line++)
    take_metric (self, *line);
  g_ptr_array_sort (self->operations, compare_operations);
  self->uptime_s = get_count (self, "mailfs_uptime_seconds");
  self->mailboxes = get_count (self, "mailfs_mailboxes");
  self->messages = get_count (self, "mailfs_messages");
  self->bytes = get_count (self, "mailfs_messages_bytes");
  self->damaged = MAX (get_count (self, "mailfs_messages_damaged"),
                       get_count (self, "mailfs_messages_damaged_here"));
  self->behind = get_count (self, "mailfs_mailboxes_behind");
  self->waiting = get_count (self, "mailfs_queue_length");
  self->running = get_count (self, "mailfs_jobs_running");
}

/* "12 reconstruct joe@example.com 40/100", or "none" */
static void
take_running (TopSource *source, TopSample *sample, const char *text)
{
  const char *first = strchr (text, ' '), *last = strrchr (text, ' ');
  TopJob job = {.id = g_ascii_strtoull (text, NULL, 10)};
  if (job.id == 0 || first == last ||
      sscanf (last, " %" SCNu64 "/%" SCNu64, &job.done, &job.total) != 2)
    return;
  g_autofree char *name = job.text = g_strndup (first + 1, (gsize)(last - first - 1));
  add_job (source, sample, sample->jobs, &job);
}

/* "RecNo Mailbox Timestamp Action" in the first line, then what they are of each job; only the
 * mailbox may hold spaces, and the action, which the time stands before. */
static void
take_queue (TopSource *source, TopSample *sample, const char *text)
{
  g_autoptr (GRegex) form =
      g_regex_new ("^\\s*(\\d+)\\s+(.*?)\\s+\\d{14}\\s+(.*?)\\s*$", 0, 0, NULL);
  g_auto (GStrv) lines = g_strsplit (text, "\n", 2 * TOP_WAITING);
  for (char **line = lines; *line != NULL && sample->queue->len < TOP_WAITING; line++) {
    g_autoptr (GMatchInfo) match = NULL;
    if (strchr (*line, '\n') != NULL || g_str_has_suffix (*line, " (running)") ||
        !g_regex_match (form, *line, 0, &match))
      continue;
    g_autofree char *id = g_match_info_fetch (match, 1), *mailbox = g_match_info_fetch (match, 2);
    g_autofree char *action = g_match_info_fetch (match, 3);
    g_autofree char *whole = g_strdup_printf ("%s %s", action, mailbox);
    add_job (source, sample, sample->queue,
             &(TopJob){.id = g_ascii_strtoull (id, NULL, 10), .text = whole});
  }
}

/* Lines of time, uid, pid, command, errno and reason, parted by tabs. */
static void
take_errors (TopSample *sample, const char *text)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (char **line = lines; *line != NULL; line++) {
    g_auto (GStrv) parts = g_strsplit (*line, "\t", 6);
    int64_t time_s;
    if (g_strv_length (parts) < 6 || !tool_date_parse (parts[0], &time_s, NULL))
      continue;
    g_autofree char *time = text_local_time (time_s);
    g_autofree char *whole = g_strdup_printf ("%s  %s  %s: %s", time, parts[4], parts[3], parts[5]);
    g_ptr_array_add (sample->errors, store_text_printable (whole));
  }
}

/* What the line of status that begins with `key` says; "" when there is none. */
static char *
find_status (const char *status, const char *key)
{
  g_auto (GStrv) lines = g_strsplit (status, "\n", -1);
  g_autofree char *start = g_strconcat (key, " ", NULL);
  for (char **line = lines; *line != NULL; line++) {
    if (g_str_has_prefix (*line, start))
      return store_text_printable (*line + strlen (start));
  }
  return g_strdup ("");
}

static bool
read_mount (TopSource *source, TopSample *sample, GError **error)
{
  const Remote *remote = source->remote;
  g_autofree char *metrics = remote_read (remote, "metrics", error);
  g_autofree char *status = metrics != NULL ? remote_read (remote, "status", error) : NULL;
  if (status == NULL)
    return false;
  sample->is_counted = true;
  take_metrics (sample, metrics);
  sample->health = find_status (status, "health");
  g_autofree char *job = find_status (status, "job");
  take_running (source, sample, job);
  /* What is only for some to read is not shown to others. */
  g_autofree char *queue =
      sample->waiting <= QUEUE_MAX ? remote_read (remote, "queue", NULL) : NULL;
  g_autofree char *errors = remote_read (remote, "last_error", NULL);
  take_queue (source, sample, queue != NULL ? queue : "");
  take_errors (sample, errors != NULL ? errors : "");
  struct statvfs disk;
  if (statvfs (source->place, &disk) == 0) {
    sample->disk_size = (uint64_t)disk.f_blocks * disk.f_frsize;
    sample->disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
  }
  return true;
}

/* ---- a store ------------------------------------------------------------------------------- */

static bool
take_census (TopSource *source, TopSample *sample, GError **error)
{
  StoreStatus census;
  bool known;
  if (!top_census_take (source->census, source->patience_us, &census, &known, error))
    return false;
  sample->mailboxes = census.mailboxes;
  sample->messages = census.messages;
  sample->bytes = census.bytes;
  sample->damaged = census.damaged;
  sample->behind = census.behind;
  StoreHealth health = census.damaged > 0                           ? STORE_HEALTH_DAMAGED
                       : census.behind > 0 || census.list_in_memory ? STORE_HEALTH_DEGRADED
                                                                    : STORE_HEALTH_OK;
  sample->is_counted = known;
  sample->health = known ? g_strdup (store_health_name (health)) : NULL;
  return true;
}

static void
take_record (TopSource *source, TopSample *sample, const StoreRecord *record, bool *rebuilds)
{
  g_autofree char *text = g_strdup_printf (
      "%s %s", record->action, record->title != NULL ? record->title : "(the whole store)");
  TopJob job = {.id = record->id,
                .text = text,
                .done = record->progress.done,
                .total = record->progress.total};
  bool again = record->state == STORE_JOB_INTERRUPTED && record->queued;
  *rebuilds |= store_record_rebuilds (record);
  if (record->state == STORE_JOB_RUNNING)
    add_job (source, sample, sample->jobs, &job);
  else if ((record->state == STORE_JOB_WAITING || again) && sample->queue->len < TOP_WAITING)
    add_job (source, sample, sample->queue, &job);
  if (record->state != STORE_JOB_FAILED || record->id <= source->last_failed)
    return;
  g_autofree char *time = text_local_time (record->ended_s);
  g_autofree char *line =
      g_strdup_printf ("%s  job %" PRIu64 "  %s: %s", time, record->id, record->action,
                       record->error != NULL ? record->error : "failed");
  g_queue_push_tail (&source->failures, store_text_printable (line));
  source->last_failed = record->id;
  if (source->failures.length > TOP_ERRORS)
    g_free (g_queue_pop_head (&source->failures));
}

/* Looks at the jobs that had not ended when they were looked at last, and at newer ones. */
static bool
take_records (TopSource *source, TopSample *sample, bool *rebuilds, GError **error)
{
  StoreRecord page[64];
  size_t count = 1;
  bool all_ended = true;
  uint64_t after = source->after;
  for (guint seen = 0; count > 0 && seen < QUEUE_MAX; seen += (guint)count) {
    if (!store_queue_page (source->store, after, false, page, G_N_ELEMENTS (page), &count, error))
      return false;
    for (size_t i = 0; i < count; i++) {
      take_record (source, sample, &page[i], rebuilds);
      all_ended &= page[i].ended_s > 0;
      if (all_ended)
        source->after = page[i].id;
      after = page[i].id;
    }
    store_records_clear (page, count);
  }
  return store_queue_length (source->store, &sample->waiting, error);
}

static bool
read_store (TopSource *source, TopSample *sample, GError **error)
{
  bool rebuilds = false;
  struct statvfs disk;
  g_autoptr (GError) failure = NULL;
  if (!take_census (source, sample, error) || !store_statvfs (source->store, &disk, error))
    return false;
  bool queued = take_records (source, sample, &rebuilds, &failure);
  if (rebuilds) {
    g_free (sample->health);
    sample->health = g_strdup (store_health_name (STORE_HEALTH_REBUILDING));
  }
  sample->running = sample->jobs->len;
  sample->disk_size = (uint64_t)disk.f_blocks * disk.f_frsize;
  sample->disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
  for (const GList *link = source->failures.head; link != NULL; link = link->next)
    g_ptr_array_add (sample->errors, g_strdup (link->data));
  if (!queued)
    g_ptr_array_add (sample->errors, store_text_printable (failure->message));
  return true;
}

/* ---- either -------------------------------------------------------------------------------- */

TopSource *
top_source_open (const Tool *tool, bool patient, GError **error)
{
  g_autoptr (TopSource) self = g_new0 (TopSource, 1);
  g_queue_init (&self->failures);
  self->place = tool_store_path (tool);
  if (!remote_open (tool, self->place, &self->remote, error))
    return NULL;
  if (self->remote == NULL) {
    self->store = tool_store_open (tool, STORE_READ_ONLY, error);
    if (self->store == NULL)
      return NULL;
    self->census = top_census_new (self->store);
    self->patience_us = patient ? G_TIME_SPAN_DAY : PATIENCE_US;
  }
  return g_steal_pointer (&self);
}

void
top_source_free (TopSource *self)
{
  if (self == NULL)
    return;
  g_queue_clear_full (&self->failures, g_free);
  remote_free (self->remote);
  if (top_census_free (self->census))
    store_close (self->store);
  g_free (self->place);
  g_free (self);
}

TopSample *
top_source_read (TopSource *self, GError **error)
{
  g_autoptr (TopSample) sample = make_sample (self);
  bool good =
      self->remote != NULL ? read_mount (self, sample, error) : read_store (self, sample, error);
  return good ? g_steal_pointer (&sample) : NULL;
}
