/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trail.c - what was asked for and what happened: the files audit, last_error and events.
 *
 * The audit is kept by the store and outlives the mount; a line is on disk before the request that
 * it tells of is answered. The others live in memory, as long as the mount.
 *
 * Who follows `events` sees a file that grows: what was told is a prefix of what will be. When it
 * is full the older half goes. To tail -f the file was cut then, and it reads again what is left;
 * the sequence numbers, which have no gaps, tell what a reader knows already and what it has
 * missed.
 */
#include "fs/trail.h"
#include "fs/control.h"
#include "fs/log.h"
#include "fs/metrics.h"
#include "fs/rows.h"
#include "store/text.h"

#include <inttypes.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#define EVENTS_MAX (1u << 20) /* bytes */
#define ERRORS_MAX 8

/* What an event tells of an action; all of it is in the audit. */
#define EVENT_TEXT_MAX 1024
#define EVENT_JOBS_MAX 64

struct Trail {
  GMutex mutex; /* for what follows */
  GString *events;
  uint64_t seq;    /* of the last one */
  GQueue errors;   /* of char *: lines, the newest last */
  char *complaint; /* why the audit could not be written last, so that it is told once */
};

Trail *
trail_new (void)
{
  Trail *self = g_new0 (Trail, 1);

  g_mutex_init (&self->mutex);
  self->events = g_string_new (NULL);
  g_queue_init (&self->errors);
  return self;
}

void
trail_free (Trail *self)
{
  if (self == NULL)
    return;
  g_string_free (self->events, TRUE);
  g_queue_clear_full (&self->errors, g_free);
  g_free (self->complaint);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

/* ---- events ------------------------------------------------------------------------------- */

static char *
make_time (void)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();

  return g_date_time_format (now, "%Y-%m-%dT%H:%M:%S.%fZ");
}

/* Drops the older half, in whole lines. */
static void
halve (GString *events)
{
  const char *end = memchr (events->str + events->len / 2, '\n', events->len - events->len / 2);

  g_string_erase (events, 0, end != NULL ? end + 1 - events->str : -1);
}

void
trail_tell (Mount *mount, GString *event)
{
  Trail *self = mount->trail;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_autofree char *time = make_time ();

  json_end (event);
  metrics_add (mount->metrics, COUNTER_EVENTS, 1);
  if (self->events->len + event->len > EVENTS_MAX)
    halve (self->events);
  g_string_append_printf (self->events, "{\"seq\":%" PRIu64 ",\"time\":\"%s\",%s", ++self->seq,
                          time, event->str + 1);
}

void
trail_event (Mount *mount, const char *type, ...)
{
  g_autoptr (GString) event = json_begin (type);
  const char *key;
  va_list pairs;

  va_start (pairs, type);
  while ((key = va_arg (pairs, const char *)) != NULL)
    json_string (event, key, va_arg (pairs, const char *));
  va_end (pairs);
  trail_tell (mount, event);
}

void
trail_notice (Mount *mount, const char *text)
{
  metrics_add (mount->metrics, COUNTER_NOTICES, 1);
  trail_event (mount, "notice", "text", text, NULL);
  log_message (LOG_WARNING, "%s", text);
}

/* ---- actions ------------------------------------------------------------------------------ */

/* What somebody asked for, and what came of it. */
typedef struct {
  Caller caller;
  char *program; /* of the caller; "" when that is not known */
  const char *through, *object, *command, *tag;
  const GArray *jobs;
  const char *result; /* "ok", or the errno's name */
  const char *reason; /* NULL: it went well */
  const char *host;   /* of who mounted; NULL: it is this one */
  const char *digest; /* of what was opened; NULL: not known */
} Action;

static char *
read_program (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/comm", pid);
  char *name = NULL;
  gsize length;

  if (pid <= 0 || !g_file_get_contents (path, &name, &length, NULL))
    return g_strdup ("");
  if (length > 0)
    name[length - 1] = '\0'; /* the end of the line, which need not be the only one */
  return name;
}

static const char *
name_error (const GError *failure)
{
  const char *name = strerrorname_np (error_code (failure));

  return name != NULL ? name : "EIO";
}

/* The beginning of a text. */
static char *
cut (const char *text, size_t most)
{
  return g_strndup (text, strnlen (text, most));
}

static void
describe (const Action *action, GString *json, size_t text_max, size_t jobs_max)
{
  const GArray *jobs = action->jobs;
  g_autofree char *command = cut (action->command, text_max);
  g_autofree char *reason = action->reason != NULL ? cut (action->reason, text_max) : NULL;

  json_uint (json, "uid", action->caller.uid);
  json_uint (json, "gid", action->caller.gid);
  json_uint (json, "pid", (uint64_t)action->caller.pid);
  json_string (json, "comm", action->program);
  json_string (json, "through", action->through);
  json_string (json, "object", action->object);
  json_string (json, "command", command);
  if (action->tag != NULL)
    json_string (json, "tag", action->tag);
  json_uints (json, "jobs", jobs != NULL ? (const uint64_t *)(void *)jobs->data : NULL,
              jobs != NULL ? MIN (jobs->len, jobs_max) : 0);
  if (action->host != NULL)
    json_string (json, "host", action->host);
  if (action->digest != NULL)
    json_string (json, "sha256", action->digest);
  json_string (json, "result", action->result);
  if (reason != NULL)
    json_string (json, "reason", reason);
}

/* Whether the audit fails, and not as it did the last time. */
static bool
note_complaint (Trail *self, const GError *failure)
{
  const char *text = failure != NULL ? failure->message : NULL;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  bool news = text != NULL && g_strcmp0 (text, self->complaint) != 0;

  g_free (self->complaint);
  self->complaint = g_strdup (text);
  return news;
}

static bool
append_audit (Mount *mount, const Action *action, GError **error)
{
  g_autoptr (GString) json = g_string_new ("{");

  describe (action, json, SIZE_MAX, SIZE_MAX);
  json_end (json);
  return audit_append (mount, json->str, error);
}

/* That the audit cannot be written, as on a full disk, must not keep anybody from making room
 * there.
 */
static void
write_audit (Mount *mount, const Action *action)
{
  g_autoptr (GError) failure = NULL;

  append_audit (mount, action, &failure);
  if (note_complaint (mount->trail, failure))
    log_message (LOG_WARNING, "audit: %s", failure->message);
}

/* A line of last_error: its columns are parted by tabs, which are in none of them. */
static void
keep_error (Trail *self, const Action *action)
{
  g_autofree char *time = make_time ();
  g_autofree char *short_command = cut (action->command, EVENT_TEXT_MAX);
  g_autofree char *short_reason = cut (action->reason, EVENT_TEXT_MAX);
  g_autofree char *command = store_text_printable (short_command);
  g_autofree char *reason = store_text_printable (short_reason);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  g_queue_push_tail (&self->errors,
                     g_strdup_printf ("%s\t%u\t%d\t%s\t%s\t%s\n", time, action->caller.uid,
                                      action->caller.pid, command, action->result, reason));
  if (g_queue_get_length (&self->errors) > ERRORS_MAX)
    g_free (g_queue_pop_head (&self->errors));
}

Caller
caller_of (fuse_req_t req)
{
  const struct fuse_ctx *context = fuse_req_ctx (req);

  return (Caller){context->uid, context->gid, context->pid};
}

void
trail_failure (Mount *mount, const Caller *caller, const char *command, const GError *failure)
{
  Action action = {
      .caller = *caller,
      .command = command,
      .result = name_error (failure),
      .reason = failure->message,
  };

  keep_error (mount->trail, &action);
}

/* What the store calls the mailbox or user at that path; NULL: there is none. */
static char *
find_title (Mount *mount, const char *path)
{
  g_auto (StoreNode) node = {0};

  while (*path == '/')
    path++;
  if (*path == '\0' || !store_node_resolve (mount->store, path, &node, NULL))
    return NULL;
  return store_node_title (mount->store, node.number, NULL);
}

static void
log_action (Mount *mount, const Action *action)
{
  g_autofree char *mailbox = find_title (mount, action->object);
  const GArray *jobs = action->jobs;
  uint64_t job = jobs != NULL && jobs->len > 0 ? g_array_index (jobs, uint64_t, 0) : 0;

  log_about (LOG_INFO, mailbox, job, "uid %u, pid %d (%s), %s: %.*s: %s%s%s", action->caller.uid,
             action->caller.pid, action->program, action->through, EVENT_TEXT_MAX, action->command,
             action->result, action->reason != NULL ? ": " : "",
             action->reason != NULL ? action->reason : "");
}

void
trail_action (Mount *mount, const Caller *caller, const char *through, const char *node_path,
              const char *command, const GArray *jobs, const char *tag, const GError *failure)
{
  g_autofree char *program = read_program (caller->pid);
  g_autoptr (GString) event = json_begin ("action");
  Action action = {
      .caller = *caller,
      .program = program,
      .through = through,
      .object = node_path,
      .command = command,
      .tag = tag,
      .jobs = jobs,
      .result = failure != NULL ? name_error (failure) : "ok",
      .reason = failure != NULL ? failure->message : NULL,
  };

  metrics_add (mount->metrics, failure != NULL ? COUNTER_REFUSALS : COUNTER_ACTIONS, 1);
  write_audit (mount, &action);
  if (failure != NULL)
    keep_error (mount->trail, &action);
  describe (&action, event, EVENT_TEXT_MAX, EVENT_JOBS_MAX);
  trail_tell (mount, event);
  log_action (mount, &action);
}

/* ---- with -o audit=read ------------------------------------------------------------------- */

bool
trail_mount (Mount *mount, const char *command, GError **error)
{
  Caller caller = {getuid (), getgid (), getpid ()};
  g_autofree char *program = read_program (caller.pid);
  Action action = {
      .caller = caller,
      .program = program,
      .through = "mount",
      .object = mount->options->mountpoint,
      .command = command,
      .host = g_get_host_name (),
      .result = "ok",
  };

  return append_audit (mount, &action, error);
}

bool
trail_open (Mount *mount, const Caller *caller, const char *path, const char *digest,
            const GError *damage, GError **error)
{
  g_autofree char *program = read_program (caller->pid);
  Action action = {
      .caller = *caller,
      .program = program,
      .through = "open",
      .object = path,
      .command = "read",
      .digest = digest,
      .result = damage != NULL ? name_error (damage) : "ok",
      .reason = damage != NULL ? damage->message : NULL,
  };

  return append_audit (mount, &action, error);
}

/* ---- what the files show ------------------------------------------------------------------ */

bool
trail_render_events (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  Trail *self = mount->trail;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  g_string_append_len (out, self->events->str, (gssize)self->events->len);
  return true;
}

bool
trail_render_last_error (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  Trail *self = mount->trail;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (const GList *line = self->errors.head; line != NULL; line = line->next)
    g_string_append (out, line->data);
  return true;
}
