/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c - what health, status and status.json say.
 */
#include "fs/control.h"

#include <unistd.h>

/* What the whole store amounts to. `*out_failure` is NULL or owned by the caller. */
static StoreStatus
read_census (Mount *mount, char **out_failure)
{
  g_autoptr (GError) failure = NULL;
  StoreStatus figures;

  census_take (mount->census, STORE_ROOT, &figures, &failure);
  *out_failure = failure == NULL ? NULL : store_text_printable (failure->message);
  return figures;
}

/* ---- the queue ---------------------------------------------------------------------------- */

typedef struct {
  uint64_t waiting;
  bool rebuilding;
  char *running; /* "12 reconstruct joe@example.com 40/100"; NULL: nothing runs */
} QueueState;

static void
queue_state_clear (QueueState *state)
{
  g_free (state->running);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (QueueState, queue_state_clear)

static void
add_record (QueueState *state, const StoreRecord *record)
{
  state->rebuilding |= store_record_rebuilds (record);
  state->waiting += record->state != STORE_JOB_RUNNING;
  if (record->state == STORE_JOB_RUNNING && state->running == NULL)
    state->running = g_strdup_printf ("%" PRIu64 " %s%s%s %" PRIu64 "/%" PRIu64, record->id,
                                      record->action, record->title != NULL ? " " : "",
                                      record->title != NULL ? record->title : "",
                                      record->progress.done, record->progress.total);
}

/* A queue that cannot be read is an empty one here; the worker complains of it. */
static QueueState
read_queue (Mount *mount)
{
  QueueState state = {0};
  StoreRecord page[64];
  size_t count = 1;

  for (uint64_t after = 0; count > 0;) {
    if (!store_queue_page (mount->store, after, true, page, G_N_ELEMENTS (page), &count, NULL))
      break;
    for (size_t i = 0; i < count; i++)
      add_record (&state, &page[i]);
    after = count > 0 ? page[count - 1].id : 0;
    store_records_clear (page, count);
  }
  return state;
}

static const char *
judge_health (Mount *mount, const StoreStatus *census, const char *failure, const QueueState *queue)
{
  if (queue->rebuilding)
    return store_health_name (STORE_HEALTH_REBUILDING);
  if (census->damaged > 0 || marks_count (mount->marks, MARK_DAMAGED) > 0)
    return store_health_name (STORE_HEALTH_DAMAGED);
  if (failure != NULL || census->behind > 0 || census->list_in_memory)
    return store_health_name (STORE_HEALTH_DEGRADED);
  return store_health_name (STORE_HEALTH_OK);
}

bool
status_render_health (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_autofree char *failure = NULL;
  g_auto (QueueState) queue = read_queue (mount);
  StoreStatus census = read_census (mount, &failure);

  g_string_append_printf (out, "%s\n", judge_health (mount, &census, failure, &queue));
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
write_status (Mount *mount, Writer *writer)
{
  static const char *const verify_names[] = {"first", "always", "never"};
  g_autofree char *failure = NULL;
  g_auto (QueueState) queue = read_queue (mount);
  StoreStatus census = read_census (mount, &failure);
  g_autoptr (GDateTime) mounted = g_date_time_new_from_unix_utc (mount->mounted_ns / 1000000000);
  g_autofree char *since = g_date_time_format_iso8601 (mounted);

  write_text (writer, "version", MAILFS_VERSION);
  write_text (writer, "store", store_path (mount->store));
  write_text (writer, "uuid", store_uuid (mount->store));
  write_text (writer, "mountpoint", mount->options->mountpoint);
  write_text (writer, "mounted", since);
  write_number (writer, "pid", (uint64_t)getpid ());
  write_text (writer, "access", store_is_read_only (mount->store) ? "ro" : "rw");
  write_text (writer, "verify", verify_names[mount->options->verify]);
  write_text (writer, "worker", mount->worker != NULL ? "on" : "off");
  write_text (writer, "health", judge_health (mount, &census, failure, &queue));
  write_number (writer, "domains", census.domains);
  write_number (writer, "users", census.users);
  write_number (writer, "mailboxes", census.mailboxes);
  write_number (writer, "messages", census.messages);
  write_number (writer, "unseen", census.unseen);
  write_number (writer, "expunged", census.expunged);
  write_number (writer, "bytes", census.bytes);
  write_number (writer, "damaged", census.damaged);
  write_number (writer, "behind", census.behind);
  write_number (writer, "users_without_index", census.users_without_index);
  write_number (writer, "queue", queue.waiting);
  write_text (writer, "job", queue.running != NULL ? queue.running : "none");
  write_number (writer, "verified_here", marks_count (mount->marks, MARK_VERIFIED));
  write_number (writer, "damaged_here", marks_count (mount->marks, MARK_DAMAGED));
  write_number (writer, "requests", mount->requests);
  write_number (writer, "failures", mount->failures);
  if (failure != NULL)
    write_text (writer, "census_failure", failure);
}

bool
status_render_text (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  Writer writer = {.out = out, .first = true};

  write_status (mount, &writer);
  return true;
}

bool
status_render_json (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  Writer writer = {.out = out, .json = true, .first = true};

  g_string_append (out, "{\n");
  write_status (mount, &writer);
  g_string_append (out, "\n}\n");
  return true;
}
