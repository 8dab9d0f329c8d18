/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.c - mailstore jobs: what runs, what has ended and how.
 *
 *   mailstore jobs
 *   mailstore jobs 12
 *   mailstore jobs resume 12
 *   mailstore jobs cancel 12
 */
#include "tools/print.h"
#include "tools/site.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOOK_US 200000 /* how often --follow looks */

#define NEWEST 20u /* how many are shown to people who do not ask for all */

static gboolean follow, all;

const GOptionEntry jobs_options[] = {
    {"all", 'a', 0, G_OPTION_ARG_NONE, &all, "list all jobs, not only the newest 20", NULL},
    {"follow", 'F', 0, G_OPTION_ARG_NONE, &follow,
     "go on until the job, or all of them, have ended", NULL},
    {NULL},
};

bool
job_id_parse (const char *text, uint64_t *out_id, GError **error)
{
  guint64 id;
  if (!g_ascii_string_to_unsigned (text, 10, 1, INT64_MAX, &id, NULL))
    return fail (error, EINVAL, "'%s' is no number of a job", text);
  *out_id = id;
  return true;
}

/* ---- one line each ------------------------------------------------------------------------- */

void
record_print_json (const StoreRecord *record)
{
  json_print (store_record_json (record));
}

static char *
describe_progress (const StoreProgress *progress)
{
  if (progress->total > 0)
    return g_strdup_printf ("%" PRIu64 "/%" PRIu64, progress->done, progress->total);
  return progress->done > 0 ? g_strdup_printf ("%" PRIu64, progress->done) : g_strdup ("-");
}

static char *
describe_target (const StoreRecord *record)
{
  return store_text_printable (record->title != NULL ? record->title : "(the whole store)");
}

static void
print_line (const Tool *tool, const StoreRecord *record)
{
  if (tool->json) {
    record_print_json (record);
    return;
  }
  g_autofree char *created = text_local_time (record->created_s);
  g_autofree char *progress = describe_progress (&record->progress);
  g_autofree char *target = describe_target (record);
  printf ("%7" PRIu64 "  %-11s  %-19s  %13s  %6" PRIu64 " %6" PRIu64 " %6" PRIu64 "  %s  %s%s%s\n",
          record->id, store_job_state_name (record->state), created, progress, record->fixed,
          record->left, record->taken, record->action, target, record->error != NULL ? ": " : "",
          record->error != NULL ? record->error : "");
}

static void
print_heading (const Tool *tool)
{
  if (!tool->json)
    printf ("%7s  %-11s  %-19s  %13s  %6s %6s %6s  %s\n", "JOB", "STATE", "CREATED", "PROGRESS",
            "FIXED", "LEFT", "TAKEN", "ACTION");
}

/* What is printed of a list. */
typedef struct {
  const Tool *tool;
  uint64_t count;     /* of jobs */
  uint64_t skip;      /* of the first ones */
  GHashTable *states; /* that were printed, by number */
} Listing;

static void
count_each (const StoreRecord *record, void *data)
{
  Listing *listing = data;
  listing->count++;
}

static void
print_each (const StoreRecord *record, void *data)
{
  Listing *listing = data;
  if (listing->skip > 0)
    listing->skip--;
  else
    print_line (listing->tool, record);
}

/* Programs get all. */
static bool
print_newest (const Tool *tool, Site *site, GError **error)
{
  Listing listing = {.tool = tool};
  if (!all && !tool->json && !site_each_record (site, false, count_each, &listing, error))
    return false;
  uint64_t older = listing.count > NEWEST ? listing.count - NEWEST : 0;
  listing.skip = older;
  if (!site_each_record (site, false, print_each, &listing, error))
    return false;
  if (older > 0)
    tool_say (tool, "%" PRIu64 " older than these; -a lists all", older);
  return true;
}

/* What is not to be done yet may wait for days. */
static void
count_due (const StoreRecord *record, void *data)
{
  Listing *listing = data;
  listing->count += record->due_s <= g_get_real_time () / G_USEC_PER_SEC;
}

/* Prints what is new about a job. */
static void
print_change (const StoreRecord *record, void *data)
{
  Listing *listing = data;
  gpointer key = GSIZE_TO_POINTER (record->id), state = GUINT_TO_POINTER (record->state + 1);
  if (g_hash_table_lookup (listing->states, key) == state)
    return;
  g_hash_table_insert (listing->states, key, state);
  print_line (listing->tool, record);
}

/* Until nothing waits or runs any more. */
static bool
follow_all (const Tool *tool, Site *site, GError **error)
{
  g_autoptr (GHashTable) states = g_hash_table_new (NULL, NULL);
  g_autoptr (Progress) progress = progress_new (tool);
  for (;;) {
    Listing listing = {.tool = tool, .states = states};
    if (!site_each_record (site, true, count_due, &listing, error) ||
        !site_each_record (site, false, print_change, &listing, error))
      return false;
    fflush (stdout);
    if (listing.count == 0)
      return true;
    if (progress_interrupted () != 0)
      return fail (error, ECANCELED, "no longer followed");
    g_usleep (LOOK_US);
  }
}

static bool
list_jobs (const Tool *tool, Site *site, GError **error)
{
  print_heading (tool);
  return follow ? follow_all (tool, site, error) : print_newest (tool, site, error);
}

/* ---- one of them --------------------------------------------------------------------------- */

static bool
has_ended (const StoreRecord *record)
{
  return record->state != STORE_JOB_WAITING && record->state != STORE_JOB_RUNNING &&
         !(record->state == STORE_JOB_INTERRUPTED && record->queued);
}

static bool
follow_one (const Tool *tool, Site *site, uint64_t id, GError **error)
{
  g_autoptr (Progress) progress = progress_new (tool);
  for (;;) {
    g_auto (StoreRecord) record = {0};
    if (!site_record (site, id, &record, error))
      return false;
    if (has_ended (&record))
      return true;
    if (record.state == STORE_JOB_RUNNING)
      progress_show (progress, &record.progress);
    if (progress_interrupted () != 0)
      return fail (error, ECANCELED, "no longer followed");
    g_usleep (LOOK_US);
  }
}

static void
print_time (const char *key, int64_t time_s)
{
  if (time_s <= 0)
    return;
  g_autofree char *time = text_local_time (time_s);
  printf ("%-9s %s\n", key, time);
}

static void
print_details (const StoreRecord *record)
{
  g_autofree char *target = describe_target (record);
  g_autofree char *progress = describe_progress (&record->progress);
  printf ("%-9s %" PRIu64 "\n%-9s %s\n%-9s %s\n%-9s %s\n", "job", record->id, "state",
          store_job_state_name (record->state), "action", record->action, "mailbox", target);
  print_time ("created", record->created_s);
  print_time ("due", record->due_s);
  print_time ("started", record->started_s);
  print_time ("ended", record->ended_s);
  printf ("%-9s %s%s%s\n", "progress", progress, record->progress.unit != NULL ? " " : "",
          record->progress.unit != NULL ? record->progress.unit : "");
  printf ("%-9s %" PRIu64 " fixed, %" PRIu64 " left, %" PRIu64 " taken\n", "result", record->fixed,
          record->left, record->taken);
  if (record->error != NULL)
    printf ("%-9s %s\n", "error", record->error);
  g_auto (GStrv) lines = g_strsplit (record->log, "\n", -1);
  for (char **line = lines; *line != NULL; line++) {
    if (**line != '\0')
      printf ("%-9s %s\n", "log", *line);
  }
}

static bool
show_job (Tool *tool, Site *site, uint64_t id, GError **error)
{
  g_auto (StoreRecord) record = {0};
  if ((follow && !follow_one (tool, site, id, error)) || !site_record (site, id, &record, error))
    return false;
  g_autoptr (GPtrArray) findings = site_findings (site, id, error);
  if (findings == NULL)
    return false;
  if (tool->json)
    record_print_json (&record);
  else
    print_details (&record);
  run_print_findings (tool, findings);
  tool->exit_code =
      follow && (record.state != STORE_JOB_DONE || record.left > 0) ? EXIT_FINDINGS : 0;
  return true;
}

/* ---- doing something about them ------------------------------------------------------------ */

static bool
resume_job (Tool *tool, int argc, char **argv, GError **error)
{
  uint64_t id = 0;
  if (argc != 1)
    return fail (error, EINVAL, "jobs resume takes the number of a job");
  if (!job_id_parse (argv[0], &id, error))
    return false;
  g_autoptr (Store) store = tool_store_open (tool, 0, error);
  g_autoptr (StoreJob) job = store != NULL ? store_job_resume (store, id, error) : NULL;
  return job != NULL && run_job (tool, job, error);
}

static bool
cancel_jobs (const Tool *tool, int argc, char **argv, GError **error)
{
  if (argc == 0)
    return fail (error, EINVAL, "jobs cancel takes numbers of jobs");
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (uint64_t));
  for (int i = 0; i < argc; i++) {
    uint64_t id;
    if (!job_id_parse (argv[i], &id, error))
      return false;
    g_array_append_val (ids, id);
  }
  g_autoptr (Site) site = site_open (tool, 0, error);
  return site != NULL &&
         site_queue_cancel (site, (const uint64_t *)(void *)ids->data, ids->len, error);
}

bool
jobs_run (Tool *tool, int argc, char **argv, GError **error)
{
  uint64_t id = 0;
  if (argc > 0 && strcmp (argv[0], "resume") == 0)
    return resume_job (tool, argc - 1, argv + 1, error);
  if (argc > 0 && strcmp (argv[0], "cancel") == 0)
    return cancel_jobs (tool, argc - 1, argv + 1, error);
  if (argc > 1)
    return fail (error, EINVAL, "jobs takes the number of one job");
  if (argc == 1 && !job_id_parse (argv[0], &id, error))
    return false;
  g_autoptr (Site) site = site_open_queue (tool, error);
  if (site == NULL)
    return false;
  return id != 0 ? show_job (tool, site, id, error) : list_jobs (tool, site, error);
}
