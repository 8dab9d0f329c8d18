/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c - what health, status and status.json say.
 */
#include "fs/status.h"
#include "fs/cache.h"
#include "fs/control.h"
#include "fs/jobs.h"
#include "fs/metrics.h"
#include "fs/notify.h"
#include "fs/rows.h"
#include "fs/view.h"
#include "store/commands.h"
#include "store/rescue.h"
#include "store/text.h"

#include <inttypes.h>
#include <unistd.h>

StoreHealth
status_judge (const StoreStatus *figures, bool complete)
{
  if (figures->damaged > 0)
    return STORE_HEALTH_DAMAGED;
  return complete && figures->behind == 0 && !figures->list_in_memory ? STORE_HEALTH_OK
                                                                      : STORE_HEALTH_DEGRADED;
}

static const char *
judge_health (Mount *mount, const Overview *overview)
{
  StoreHealth health = status_judge (&overview->census, overview->failure == NULL);

  if (marks_count (mount->marks, MARK_DAMAGED) > 0)
    health = STORE_HEALTH_DAMAGED;
  return store_health_name (overview->rebuilding ? STORE_HEALTH_REBUILDING : health);
}

/* A queue that cannot be read is an empty one here; the worker complains of it. That of the store
 * is no business of a snapshot's mount. */
static void
look_at_queue (Mount *mount, Overview *self)
{
  StoreRecord running[8];
  size_t count = 0;

  if (mount->top != mount->store)
    return;
  store_queue_length (mount->store, &self->waiting, NULL);
  store_queue_running (mount->store, running, G_N_ELEMENTS (running), &count, NULL);
  for (size_t i = 0; i < count; i++)
    self->rebuilding |= store_record_rebuilds (&running[i]);
  if (count > 0) {
    self->job = running[0];
    running[0] = (StoreRecord){0};
  }
  self->running = count;
  store_records_clear (running, count);
}

Overview
overview_take (Mount *mount)
{
  Overview self = {0};
  g_autoptr (View) top = view_take (mount, FUSE_ROOT_ID, NULL);
  g_autoptr (GError) failure = NULL;

  census_take (mount->census, top, STORE_ROOT, &self.census, &failure);
  self.failure = failure == NULL ? NULL : store_text_printable (failure->message);
  look_at_queue (mount, &self);
  self.health = judge_health (mount, &self);
  return self;
}

Overview
overview_look (Mount *mount)
{
  Overview self = {0};
  g_autoptr (View) top = view_take (mount, FUSE_ROOT_ID, NULL);
  bool counted = census_last (mount->census, top, STORE_ROOT, &self.census);

  look_at_queue (mount, &self);
  self.health = judge_health (mount, &self);
  if (!counted && strcmp (self.health, store_health_name (STORE_HEALTH_OK)) == 0)
    self.health = NULL;
  return self;
}

void
overview_clear (Overview *self)
{
  g_free (self->failure);
  store_record_clear (&self->job);
}

char *
overview_job (const Overview *self)
{
  const StoreRecord *job = &self->job;

  if (self->running == 0)
    return g_strdup ("none");
  return g_strdup_printf ("%" PRIu64 " %s%s%s %" PRIu64 "/%" PRIu64, job->id, job->action,
                          job->title != NULL ? " " : "", job->title != NULL ? job->title : "",
                          job->progress.done, job->progress.total);
}

bool
status_render_health (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_auto (Overview) overview = overview_take (mount);

  g_string_append_printf (out, "%s\n", overview.health);
  return true;
}

/* ---- one list of keys and values, two ways to write it ------------------------------------ */

typedef struct {
  GString *out;
  bool json;
  bool first;
} Writer;

static void
write_json_text (GString *out, const char *text)
{
  g_string_append_c (out, '"');
  for (const char *c = text; *c != '\0'; c++) {
    if (*c == '"' || *c == '\\')
      g_string_append_c (out, '\\');
    g_string_append_c (out, *c);
  }
  g_string_append_c (out, '"');
}

static void
write_key (Writer *self, const char *key)
{
  if (!self->json)
    g_string_append_printf (self->out, "%s ", key);
  else
    g_string_append_printf (self->out, "%s  \"%s\": ", self->first ? "" : ",\n", key);
  self->first = false;
}

static void
write_text (Writer *self, const char *key, const char *value)
{
  g_autofree char *printable = store_text_printable (value);

  write_key (self, key);
  if (self->json)
    write_json_text (self->out, printable);
  else
    g_string_append_printf (self->out, "%s\n", printable);
}

static void
write_number (Writer *self, const char *key, uint64_t value)
{
  write_key (self, key);
  g_string_append_printf (self->out, "%" PRIu64 "%s", value, self->json ? "" : "\n");
}

static void
write_figures (Writer *writer, const StoreStatus *census)
{
  write_number (writer, "users", census->users);
  write_number (writer, "mailboxes", census->mailboxes);
  write_number (writer, "messages", census->messages);
  write_number (writer, "unseen", census->unseen);
  write_number (writer, "expunged", census->expunged);
  write_number (writer, "bytes", census->bytes);
  write_number (writer, "damaged", census->damaged);
  write_number (writer, "behind", census->behind);
  write_number (writer, "users_without_index", census->users_without_index);
}

static void
write_time (Writer *writer, const char *key, int64_t time_ns)
{
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_utc (time_ns / 1000000000);
  g_autofree char *text = time == NULL ? NULL : g_date_time_format_iso8601 (time);

  write_text (writer, key, text != NULL ? text : "?");
}

/* Of the store and this mount. */
static void
write_store (Mount *mount, Writer *writer)
{
  static const char *const verify_names[] = {"first", "always", "never"};
  g_auto (Overview) overview = overview_take (mount);
  g_autofree char *job = overview_job (&overview);
  const StoreSnapshot *snapshot = store_snapshot_of (mount->top);

  write_text (writer, "version", MAILFS_VERSION);
  write_text (writer, "store", store_path (mount->store));
  write_text (writer, "uuid", store_uuid (mount->store));
  write_text (writer, "mountpoint", mount->options->mountpoint);
  write_time (writer, "mounted", mount->mounted_ns);
  if (snapshot != NULL) {
    write_text (writer, "snapshot", snapshot->name);
    write_time (writer, "taken", snapshot->taken_ns);
  }
  write_number (writer, "pid", (uint64_t)getpid ());
  write_text (writer, "access",
              store_is_evidence (mount->store)  ? "forensic"
              : store_is_read_only (mount->top) ? "ro"
                                                : "rw");
  write_text (writer, "verify", verify_names[mount->verify]);
  write_text (writer, "worker", worker_is_on (mount->worker) ? "on" : "off");
  write_text (writer, "health", overview.health);
  write_number (writer, "domains", overview.census.domains);
  write_figures (writer, &overview.census);
  write_number (writer, "queue", overview.waiting);
  write_text (writer, "job", job);
  write_number (writer, "verified_here", marks_count (mount->marks, MARK_VERIFIED));
  write_number (writer, "damaged_here", marks_count (mount->marks, MARK_DAMAGED));
  write_number (writer, "requests", metrics_requests (mount->metrics));
  write_number (writer, "failures",
                metrics_get (mount->metrics, COUNTER_EIO) +
                    metrics_get (mount->metrics, COUNTER_EUCLEAN));
  if (overview.failure != NULL)
    write_text (writer, "census_failure", overview.failure);
}

/* Of a directory and everything below it. */
static bool
write_node (Mount *mount, uint32_t number, Writer *writer, GError **error)
{
  g_autoptr (View) top = view_take (mount, FUSE_ROOT_ID, NULL);
  g_autofree char *path = store_node_path (top->store, number, error);
  g_autoptr (GError) failure = NULL;
  StoreStatus census;

  if (path == NULL)
    return false;
  census_take (mount->census, top, number, &census, &failure);
  write_text (writer, "path", path);
  write_text (writer, "health", store_health_name (status_judge (&census, failure == NULL)));
  write_figures (writer, &census);
  if (failure != NULL)
    write_text (writer, "census_failure", failure->message);
  return true;
}

static bool
write_status (Mount *mount, const ControlNode *node, Writer *writer, GError **error)
{
  if (node->number != STORE_ROOT)
    return write_node (mount, node->number, writer, error);
  write_store (mount, writer);
  return true;
}

bool
status_render_text (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  Writer writer = {.out = out, .first = true};

  return write_status (mount, node, &writer, error);
}

bool
status_render_json (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  Writer writer = {.out = out, .json = true, .first = true};

  g_string_append (out, "{\n");
  if (!write_status (mount, node, &writer, error))
    return false;
  g_string_append (out, "\n}\n");
  return true;
}
