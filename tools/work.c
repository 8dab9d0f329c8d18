/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.c - mailstore work: the worker, where no mount runs one.
 *
 * Without an option it stays and waits for work; --once, --until-empty and --until let it end.
 */
#include "tools/print.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_US 1000000 /* how often it looks whether something waits */

static gboolean once, until_empty;
static char *until_text;

const GOptionEntry work_options[] = {
    {"once", 0, 0, G_OPTION_ARG_NONE, &once, "run one job, if one waits", NULL},
    {"until-empty", 0, 0, G_OPTION_ARG_NONE, &until_empty, "end when nothing waits any more", NULL},
    {"until", 0, 0, G_OPTION_ARG_STRING, &until_text,
     "end at this time; a job that runs then goes back to the queue", "TIME"},
    {NULL},
};

typedef struct {
  Tool *tool;
  Progress *progress;
  int64_t until_s; /* INT64_MAX: never */
} Work;

/* The next time that clocks show HH:MM. */
static bool
parse_clock (const char *text, int64_t *out_s)
{
  int hour, minute, end = 0;
  if (sscanf (text, "%2d:%2d%n", &hour, &minute, &end) != 2 || text[end] != '\0' || hour < 0 ||
      hour > 23 || minute < 0 || minute > 59)
    return false;
  g_autoptr (GDateTime) now = g_date_time_new_now_local ();
  for (int days = 0;; days++) {
    g_autoptr (GDateTime) day = g_date_time_add_days (now, days);
    g_autoptr (GDateTime) at =
        g_date_time_new_local (g_date_time_get_year (day), g_date_time_get_month (day),
                               g_date_time_get_day_of_month (day), hour, minute, 0);
    if (at != NULL && g_date_time_compare (at, now) > 0) {
      *out_s = g_date_time_to_unix (at);
      return true;
    }
  }
}

static bool
parse_until (const char *text, int64_t *out_s, GError **error)
{
  int64_t span_s;
  if (text == NULL) {
    *out_s = INT64_MAX;
    return true;
  }
  if (parse_clock (text, out_s) || tool_date_parse (text, out_s, NULL))
    return true;
  if (!store_age_parse (text, &span_s, NULL))
    return fail (error, EINVAL, "'%s' is no time; write 06:00, 2024-05-31T06:00 or a span like 8h",
                 text);
  *out_s = time (NULL) + span_s;
  return true;
}

static bool
is_time_left (const Work *work)
{
  return progress_interrupted () == 0 && time (NULL) < work->until_s;
}

static bool
go_on (StoreJob *job, void *data)
{
  Work *work = data;
  return run_go_on (job, work->progress) && is_time_left (work);
}

static void
say (uint64_t job, const char *mailbox, const char *text, void *data)
{
  Work *work = data;
  progress_restart (work->progress, work->tool->command);
  tool_say (work->tool, "%s", text);
}

static bool
print_ended (const Work *work, Store *store, uint64_t id, GError **error)
{
  g_auto (StoreRecord) record = {0};
  if (!work->tool->json)
    return true;
  if (!store_queue_get (store, id, &record, error))
    return false;
  record_print_json (&record);
  fflush (stdout);
  return true;
}

/* Sleeps until it is time to look again, or to end. */
static void
wait_for_work (const Work *work)
{
  int64_t until_us = g_get_monotonic_time () + LOOK_US;
  while (is_time_left (work) && g_get_monotonic_time () < until_us)
    g_usleep (LOOK_US / 10);
}

static bool
work_on (Work *work, Store *store, StoreWorker *worker, GError **error)
{
  while (is_time_left (work)) {
    g_autoptr (GError) failure = NULL;
    uint64_t id = 0;
    bool good = store_worker_step (worker, &id, &failure);
    if (!good && failure->code != ECANCELED) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
    if (id != 0 && !print_ended (work, store, id, error))
      return false;
    if (once || (id == 0 && until_empty))
      break;
    if (id == 0)
      wait_for_work (work);
  }
  /* Who waits for ever is ended by a signal; for the others it comes too early. */
  bool early = progress_interrupted () != 0 && (once || until_empty || until_text != NULL);
  return !early || fail (error, ECANCELED, "stopped before the work was done");
}

bool
work_run (Tool *tool, int argc, char **argv, GError **error)
{
  Work work = {.tool = tool};
  if (argc > 0)
    return fail (error, EINVAL, "work takes no operands");
  if (once && until_empty)
    return fail (error, EINVAL, "--once and --until-empty do not go together");
  if (!parse_until (until_text, &work.until_s, error))
    return false;
  g_autoptr (Store) store = tool_store_open (tool, 0, error);
  if (store == NULL)
    return false;
  StoreWorkerCalls calls = {.say = say, .go_on = go_on, .user_data = &work};
  g_autoptr (StoreWorker) worker = store_worker_new (store, &calls, error);
  if (worker == NULL)
    return false;
  g_autoptr (Progress) progress = progress_new (tool);
  work.progress = progress;
  return work_on (&work, store, worker, error);
}
