/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - running a job while people look on.
 *
 * The job runs in a thread of its own while this one draws the bar and listens for Ctrl-C. Findings
 * go to standard output, one a line; the summary goes to standard error.
 */
#include "tools/tools.h"

#include <inttypes.h>
#include <stdio.h>

bool
run_go_on (StoreJob *job, void *progress)
{
  StoreProgress now;
  store_job_progress (job, &now);
  progress_show (progress, &now);
  return progress_interrupted () == 0;
}

#define FINDINGS_SHOWN 50u /* more would scroll away what matters; --json has them all */

static void
print_finding (const Tool *tool, const StoreFinding *finding)
{
  static const char *const outcomes[] = {[STORE_LEFT] = "left",
                                         [STORE_FIXED] = "fixed",
                                         [STORE_TAKEN] = "taken",
                                         [STORE_NOTED] = "noted"};
  const char *problem = store_problem_name (finding->problem);
  if (tool->json) {
    GString *json = json_begin ("finding");
    json_string (json, "problem", problem);
    json_string (json, "outcome", outcomes[finding->outcome]);
    json_string (json, "object", finding->object);
    json_string (json, "detail", finding->detail);
    json_uint (json, "uid", finding->uid);
    json_uint (json, "size", finding->size);
    json_string (json, "remedy",
                 finding->outcome == STORE_LEFT ? store_problem_remedy (finding->problem) : NULL);
    json_print (json);
    return;
  }
  g_autofree char *size = text_size (finding->size);
  printf ("%-17s  %s  %s", problem, finding->object, finding->detail);
  switch (finding->outcome) {
  case STORE_LEFT: printf ("; %s\n", store_problem_remedy (finding->problem)); break;
  case STORE_FIXED: puts (" (fixed)"); break;
  case STORE_TAKEN: printf (" (%s)\n", size); break;
  case STORE_NOTED: puts (""); break;
  }
}

void
run_print_findings (const Tool *tool, const GPtrArray *findings)
{
  guint shown = tool->json ? findings->len : MIN (findings->len, FINDINGS_SHOWN);
  for (guint i = 0; i < shown; i++)
    print_finding (tool, g_ptr_array_index (findings, i));
  if (shown < findings->len)
    printf ("and %u more (--json prints all)\n", findings->len - shown);
  /* In a log that gets both, what follows on standard error shall follow there, too. */
  fflush (stdout);
}

static void
print_result_json (const StoreRequest *request, const StoreResult *result)
{
  GString *json = json_begin ("result");
  json_string (json, "command", request->command->name);
  json_uint (json, "mailboxes", result->mailboxes);
  json_uint (json, "messages", result->messages);
  json_uint (json, "bytes", result->bytes);
  json_uint (json, "fixed", result->fixed);
  json_uint (json, "left", result->left);
  json_uint (json, "taken", result->taken);
  json_uint (json, "taken_bytes", result->taken_bytes);
  json_print (json);
}

/* What became of what is counted as taken. */
static const char *
taking (const StoreRequest *request)
{
  bool dry_run = (request->words & STORE_WORD_DRY_RUN) != 0;
  if (request->command->traits & STORE_COMMAND_BRINGS)
    return dry_run ? "to bring back" : "brought back";
  return dry_run ? "to take" : "taken";
}

/* "check: 2 mailboxes, 10 messages, 1.0 MB in 0.1 s; 1 left" */
static void
print_result (const Tool *tool, const StoreRequest *request, const StoreResult *result,
              double seconds)
{
  if (tool->json) {
    print_result_json (request, result);
    return;
  }
  g_autofree char *mailboxes = text_count (result->mailboxes, "mailbox", "mailboxes");
  g_autofree char *messages = text_count (result->messages, "message", "messages");
  g_autofree char *size = text_size (result->bytes);
  g_autofree char *time = text_seconds (seconds);
  g_autofree char *taken_size = text_size (result->taken_bytes);
  bool dry_run = (request->words & STORE_WORD_DRY_RUN) != 0;
  g_autofree char *taken =
      result->taken == 0
          ? g_strdup ("")
          : g_strdup_printf ("%" PRIu64 " %s (%s), ", result->taken, taking (request), taken_size);
  /* Who only looks fixes nothing. */
  bool looks = (request->command->traits & STORE_COMMAND_READS) != 0;
  g_autofree char *fixed =
      looks ? g_strdup ("") : g_strdup_printf ("%" PRIu64 " fixed, ", result->fixed);
  tool_say (tool, "%s%s: %s, %s, %s in %s; %s%s%" PRIu64 " left", request->command->name,
            dry_run ? " (dry run)" : "", mailboxes, messages, size, time, taken, fixed,
            result->left);
  if (request->command->after != NULL && !dry_run)
    tool_say (tool, "%s", request->command->after);
}

bool
run_job (Tool *tool, StoreJob *job, GError **error)
{
  g_autoptr (Progress) progress = progress_new (tool);
  bool ok = store_job_watch (job, run_go_on, progress, error);
  double seconds = progress_seconds (progress);
  g_clear_pointer (&progress, progress_free); /* the bar goes before the lines come */

  run_print_findings (tool, store_job_findings (job));
  if (!ok && store_job_id (job) != 0 && progress_interrupted () != 0)
    tool_say (tool, "'mailstore jobs resume %" PRIu64 "' goes on", store_job_id (job));
  if (!ok)
    return false;
  StoreResult result;
  store_job_result (job, &result);
  print_result (tool, store_job_request (job), &result, seconds);
  tool->exit_code = result.left > 0 ? EXIT_FINDINGS : 0;
  return true;
}
