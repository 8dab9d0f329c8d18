/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.c - what this mount has done, counted, for Prometheus.
 *
 * A request costs two readings of the clock and two additions: whatever is counted while requests
 * are answered is an atomic number that nobody waits for. All else is found out when somebody asks.
 *
 * A request is stamped with its kind and the time, in the thread that takes it from the kernel
 * (operation.c), and counted just before its answer goes back (reply.c): what the kernel and a full
 * pipe take is not in the figures. What waits for a job is answered by another thread, which gets
 * the stamp handed on.
 */
#include "fs/metrics.h"
#include "fs/control.h"
#include "fs/notify.h"
#include "fs/rows.h"
#include "fs/status.h"

#include <inttypes.h>
#include <unistd.h>

/* ---- requests ----------------------------------------------------------------------------- */

static const char *const request_names[REQUESTS] = {
    [REQUEST_OTHER] = "other",         [REQUEST_LOOKUP] = "lookup",
    [REQUEST_GETATTR] = "getattr",     [REQUEST_READDIRPLUS] = "readdirplus",
    [REQUEST_READ] = "read",           [REQUEST_GETXATTR] = "getxattr",
    [REQUEST_LISTXATTR] = "listxattr", [REQUEST_SETXATTR] = "setxattr",
    [REQUEST_WRITE] = "write",         [REQUEST_STATFS] = "statfs",
    [REQUEST_WAIT] = "wait",
};

/* Upper bounds of the buckets, which a request of just that time falls into. */
static const struct {
  uint64_t ns;
  const char *seconds;
} bounds[] = {
    {5000, "0.000005"}, {10000, "0.00001"}, {20000, "0.00002"},  {50000, "0.00005"},
    {100000, "0.0001"}, {200000, "0.0002"}, {500000, "0.0005"},  {1000000, "0.001"},
    {2000000, "0.002"}, {5000000, "0.005"}, {10000000, "0.01"},  {20000000, "0.02"},
    {50000000, "0.05"}, {100000000, "0.1"}, {200000000, "0.2"},  {500000000, "0.5"},
    {1000000000, "1"},  {5000000000, "5"},  {30000000000, "30"}, {UINT64_MAX, "+Inf"},
};

/* Of one kind, apart from the others in memory, so that they do not slow each other down. */
typedef struct {
  _Alignas(64) _Atomic uint64_t buckets[G_N_ELEMENTS (bounds)];
  _Atomic uint64_t ns; /* that all of them took */
} Latency;

/* ---- counters ----------------------------------------------------------------------------- */

/* Those with the same name stand together. */
static const struct {
  const char *name, *labels, *help;
} counters[COUNTERS] = {
    [COUNTER_EIO] = {"mailfs_request_failures_total", "errno=\"EIO\"",
                     "Requests that failed because of damage."},
    [COUNTER_EUCLEAN] = {"mailfs_request_failures_total", "errno=\"EUCLEAN\""},
    [COUNTER_READ_BYTES] = {"mailfs_read_bytes_total", NULL, "Bytes sent in answer to reads."},
    [COUNTER_VERIFIED] = {"mailfs_messages_verified_total", NULL,
                          "Messages held against their digest."},
    [COUNTER_PUSHED] = {"mailfs_messages_pushed_total", NULL,
                        "Messages put into the page cache ahead of their reader."},
    [COUNTER_PUSHED_BYTES] = {"mailfs_pushed_bytes_total", NULL, "Bytes of these."},
    [COUNTER_PAGES_READY] =
        {"mailfs_listing_pages_total", "made=\"before\"",
         "Pages of listings, by whether they were made before they were asked for."},
    [COUNTER_PAGES_MADE] = {"mailfs_listing_pages_total", "made=\"then\""},
    [COUNTER_ROWS_READY] =
        {"mailfs_attribute_rows_total", "read=\"before\"",
         "Requests for attributes of messages, by whether their rows were read before."},
    [COUNTER_ROWS_READ] = {"mailfs_attribute_rows_total", "read=\"then\""},
    [COUNTER_ACTIONS] = {"mailfs_actions_total", "result=\"done\"",
                         "What was asked for through the control interface."},
    [COUNTER_REFUSALS] = {"mailfs_actions_total", "result=\"refused\""},
    [COUNTER_JOBS_DONE] = {"mailfs_jobs_ended_total", "state=\"done\"",
                           "Jobs of the store that ended while it was mounted, whoever ran them."},
    [COUNTER_JOBS_FAILED] = {"mailfs_jobs_ended_total", "state=\"failed\""},
    [COUNTER_JOBS_CANCELLED] = {"mailfs_jobs_ended_total", "state=\"cancelled\""},
    [COUNTER_JOBS_INTERRUPTED] = {"mailfs_jobs_ended_total", "state=\"interrupted\""},
    [COUNTER_EVENTS] = {"mailfs_events_total", NULL, "Lines that were added to the events."},
    [COUNTER_NOTICES] = {"mailfs_notices_total", NULL,
                         "What went wrong with the store itself and was put right."},
};

struct Metrics {
  Latency requests[REQUESTS];
  _Atomic uint64_t counts[COUNTERS];
};

Metrics *
metrics_new (void)
{
  Metrics *self = aligned_alloc (_Alignof(Metrics), sizeof (Metrics));

  if (self == NULL)
    g_error ("no memory");
  memset (self, 0, sizeof *self);
  return self;
}

void
metrics_free (Metrics *self)
{
  free (self);
}

void
metrics_add (Metrics *self, Counter counter, uint64_t number)
{
  atomic_fetch_add_explicit (&self->counts[counter], number, memory_order_relaxed);
}

uint64_t
metrics_get (const Metrics *self, Counter counter)
{
  return atomic_load_explicit (&self->counts[counter], memory_order_relaxed);
}

/* ---- while requests are answered ---------------------------------------------------------- */

/* Of the request that the thread is at. */
static _Thread_local Stamp stamp;

static int64_t
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void
metrics_begin (Request request)
{
  stamp = (Stamp){request, now_ns ()};
}

Stamp
metrics_put_off (void)
{
  return (Stamp){REQUEST_WAIT, stamp.begun_ns};
}

void
metrics_resume (Stamp from)
{
  stamp = from;
}

void
metrics_end (Metrics *self)
{
  Latency *latency = &self->requests[stamp.request];
  uint64_t ns = (uint64_t)(now_ns () - stamp.begun_ns);
  size_t bucket = 0;

  while (ns > bounds[bucket].ns)
    bucket++;
  atomic_fetch_add_explicit (&latency->buckets[bucket], 1, memory_order_relaxed);
  atomic_fetch_add_explicit (&latency->ns, ns, memory_order_relaxed);
}

static uint64_t
count_requests (const Latency *latency)
{
  uint64_t count = 0;

  for (size_t i = 0; i < G_N_ELEMENTS (bounds); i++)
    count += atomic_load_explicit (&latency->buckets[i], memory_order_relaxed);
  return count;
}

uint64_t
metrics_requests (const Metrics *self)
{
  uint64_t count = 0;

  for (size_t i = 0; i < REQUESTS; i++)
    count += count_requests (&self->requests[i]);
  return count;
}

/* ---- the text ----------------------------------------------------------------------------- */

/*
 * The text exposition format of Prometheus, version 0.0.4: for each name its help and type, then
 * its samples. All numbers but times are whole.
 */

static void
add_head (GString *out, const char *name, const char *type, const char *help)
{
  g_string_append_printf (out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* `labels` may be NULL. */
static void
add_sample (GString *out, const char *name, const char *labels, uint64_t value)
{
  g_string_append_printf (out, "%s%s%s%s %" PRIu64 "\n", name, labels != NULL ? "{" : "",
                          labels != NULL ? labels : "", labels != NULL ? "}" : "", value);
}

static void
add_gauge (GString *out, const char *name, uint64_t value, const char *help)
{
  add_head (out, name, "gauge", help);
  add_sample (out, name, NULL, value);
}

/* The count is that of the last bucket, whatever is counted meanwhile. */
static void
add_latency (GString *out, const char *request, const Latency *latency)
{
  const char *name = "mailfs_request_duration_seconds";
  uint64_t ns = atomic_load_explicit (&latency->ns, memory_order_relaxed);
  uint64_t count = 0;

  for (size_t i = 0; i < G_N_ELEMENTS (bounds); i++) {
    count += atomic_load_explicit (&latency->buckets[i], memory_order_relaxed);
    g_string_append_printf (out, "%s_bucket{operation=\"%s\",le=\"%s\"} %" PRIu64 "\n", name,
                            request, bounds[i].seconds, count);
  }
  g_string_append_printf (out, "%s_sum{operation=\"%s\"} %" PRIu64 ".%09" PRIu64 "\n", name,
                          request, ns / 1000000000, ns % 1000000000);
  g_string_append_printf (out, "%s_count{operation=\"%s\"} %" PRIu64 "\n", name, request, count);
}

static void
add_requests (const Metrics *self, GString *out)
{
  add_head (out, "mailfs_request_duration_seconds", "histogram",
            "Requests of the kernel, by what they took until their answer was made.");
  for (size_t i = 0; i < REQUESTS; i++)
    add_latency (out, request_names[i], &self->requests[i]);
}

static void
add_counters (const Metrics *self, GString *out)
{
  for (size_t i = 0; i < COUNTERS; i++) {
    if (counters[i].help != NULL)
      add_head (out, counters[i].name, "counter", counters[i].help);
    add_sample (out, counters[i].name, counters[i].labels, metrics_get (self, (Counter)i));
  }
}

static void
add_health (GString *out, const char *health)
{
  add_head (out, "mailfs_health", "gauge", "Whether the store is in that state: 1 or 0.");
  for (StoreHealth state = STORE_HEALTH_OK; state <= STORE_HEALTH_REBUILDING; state++)
    g_string_append_printf (out, "mailfs_health{state=\"%s\"} %d\n", store_health_name (state),
                            strcmp (health, store_health_name (state)) == 0);
}

static void
add_store (const Overview *overview, GString *out)
{
  const StoreStatus *census = &overview->census;

  add_gauge (out, "mailfs_domains", census->domains, "Domains.");
  add_gauge (out, "mailfs_users", census->users, "Users.");
  add_gauge (out, "mailfs_mailboxes", census->mailboxes, "Mailboxes.");
  add_gauge (out, "mailfs_mailboxes_behind", census->behind,
             "Mailboxes served from their files: the index does not have them.");
  add_gauge (out, "mailfs_messages", census->messages, "Messages.");
  add_gauge (out, "mailfs_messages_unseen", census->unseen, "Messages without the flag Seen.");
  add_gauge (out, "mailfs_messages_expunged", census->expunged,
             "Messages that were expunged and can be brought back.");
  add_gauge (out, "mailfs_messages_damaged", census->damaged,
             "Messages whose bytes are known not to be those that were delivered.");
  add_gauge (out, "mailfs_messages_bytes", census->bytes, "Bytes of the messages.");
  add_gauge (out, "mailfs_census_failed", overview->failure != NULL,
             "1 when the store could not be counted: then its figures are old.");
}

static void
add_jobs (const Overview *overview, GString *out)
{
  add_gauge (out, "mailfs_queue_length", overview->waiting, "Jobs that wait for a worker.");
  add_gauge (out, "mailfs_jobs_running", overview->running, "Jobs that run.");
  add_gauge (out, "mailfs_job_progress", overview->job.progress.done,
             "How far the first of these is, in units of its own.");
  add_gauge (out, "mailfs_job_goal", overview->job.progress.total,
             "What it comes to; 0: not known, or nothing runs.");
}

bool
metrics_render (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_auto (Overview) overview = overview_take (mount);
  uint64_t uptime_s =
      (uint64_t)MAX (0, g_get_real_time () / G_USEC_PER_SEC - mount->mounted_ns / 1000000000);

  add_head (out, "mailfs_build_info", "gauge", "The program that serves the mount.");
  g_string_append_printf (out, "mailfs_build_info{version=\"%s\",libfuse=\"%s\"} 1\n",
                          MAILFS_VERSION, fuse_pkgversion ());
  add_gauge (out, "mailfs_uptime_seconds", uptime_s, "How long the store has been mounted.");
  add_health (out, overview.health);
  add_store (&overview, out);
  add_gauge (out, "mailfs_messages_damaged_here", marks_count (mount->marks, MARK_DAMAGED),
             "Messages that readers of this mount found to be damaged, and that are so.");
  add_gauge (out, "mailfs_messages_verified_here", marks_count (mount->marks, MARK_VERIFIED),
             "Messages that this mount knows to be undamaged.");
  add_jobs (&overview, out);
  add_counters (mount->metrics, out);
  add_requests (mount->metrics, out);
  return true;
}
