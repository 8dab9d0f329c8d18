/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c - what health, status and status.json say.
 *
 * Counting the store opens the index of every user, so the census is kept: it is taken again only
 * when something changed since, and then at most every few seconds, more seldom when it takes long.
 */
#include "fs/internal.h"

#include <stdatomic.h>
#include <unistd.h>

#define CENSUS_KEEP_US (3 * G_TIME_SPAN_SECOND)
#define CENSUS_SHARE   20 /* taking the census may use a twentieth of the time */

struct Status {
  atomic_bool outdated;
  GMutex mutex;    /* for what follows */
  int64_t next_us; /* not before then */
  StoreStatus census;
  GError *failure; /* of the last census; the figures are older then */
};

Status *
status_new (void)
{
  Status *self = g_new0 (Status, 1);

  g_mutex_init (&self->mutex);
  self->outdated = true;
  return self;
}

void
status_free (Status *self)
{
  g_clear_error (&self->failure);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

void
status_outdate (Status *self)
{
  self->outdated = true;
}

/* `*out_failure` is NULL or owned by the caller. */
static StoreStatus
read_census (Mount *mount, char **out_failure)
{
  Status *self = control_status (mount->control);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  int64_t start = g_get_monotonic_time ();

  if (start >= self->next_us && atomic_exchange (&self->outdated, false)) {
    g_clear_error (&self->failure);
    if (!store_status (mount->store, &self->census, &self->failure))
      self->outdated = true;
    int64_t end = g_get_monotonic_time ();
    self->next_us = end + MAX (CENSUS_KEEP_US, (end - start) * CENSUS_SHARE);
  }
  *out_failure = self->failure == NULL ? NULL : store_text_printable (self->failure->message);
  return self->census;
}

static const char *
judge_health (Mount *mount, const StoreStatus *census, const char *failure)
{
  if (census->damaged > 0 || marks_count (mount->marks, MARK_DAMAGED) > 0)
    return store_health_name (STORE_HEALTH_DAMAGED);
  if (failure != NULL || census->behind > 0 || census->list_in_memory)
    return store_health_name (STORE_HEALTH_DEGRADED);
  return store_health_name (STORE_HEALTH_OK);
}

void
status_render_health (Mount *mount, GString *out)
{
  g_autofree char *failure = NULL;
  StoreStatus census = read_census (mount, &failure);

  g_string_append_printf (out, "%s\n", judge_health (mount, &census, failure));
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
  write_text (writer, "health", judge_health (mount, &census, failure));
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
  write_number (writer, "verified_here", marks_count (mount->marks, MARK_VERIFIED));
  write_number (writer, "damaged_here", marks_count (mount->marks, MARK_DAMAGED));
  write_number (writer, "requests", mount->requests);
  write_number (writer, "failures", mount->failures);
  if (failure != NULL)
    write_text (writer, "census_failure", failure);
}

void
status_render_text (Mount *mount, GString *out)
{
  Writer writer = {.out = out, .first = true};

  write_status (mount, &writer);
}

void
status_render_json (Mount *mount, GString *out)
{
  Writer writer = {.out = out, .json = true, .first = true};

  g_string_append (out, "{\n");
  write_status (mount, &writer);
  g_string_append (out, "\n}\n");
}
