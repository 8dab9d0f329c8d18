/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - running a job while people look on.
 *
 * The job runs in a thread of its own while this one draws the bar and listens for Ctrl-C. Findings
 * go to standard output, one a line; the summary goes to standard error.
 */
#include "tools/print.h"
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
  if (tool->json) {
    json_print (store_finding_json (finding));
    return;
  }
  g_autofree char *size = text_size (finding->size);
  printf ("%-17s  %s  %s", store_problem_name (finding->problem), finding->object, finding->detail);
  switch (finding->outcome) {
  case STORE_LEFT: printf ("; %s\n", store_problem_remedy (finding->problem)); break;
  case STORE_FIXED: puts (" (fixed)"); break;
  case STORE_TAKEN:
    if (finding->size > 0)
      printf (" (%s)", size);
    G_GNUC_FALLTHROUGH;
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

/* What became of what is counted as taken. */
static const char *
taking (const StoreCommand *command, bool dry_run)
{
  if (command->traits & STORE_COMMAND_BRINGS)
    return dry_run ? "to bring back" : "brought back";
  if (command->traits & STORE_COMMAND_DIRECTORY)
    return "copied";
  return dry_run ? "to take" : "taken";
}

/* "3 brought back (1.2 KB), ": of what has no bytes of its own, such as flags, only the number. */
static char *
describe_taken (const StoreCommand *command, bool dry_run, const StoreResult *result)
{
  if (result->taken == 0)
    return g_strdup ("");
  g_autofree char *size = text_size (result->taken_bytes);
  g_autofree char *bytes = g_strdup_printf (" (%s)", size);
  return g_strdup_printf ("%" PRIu64 " %s%s, ", result->taken, taking (command, dry_run),
                          result->taken_bytes > 0 ? bytes : "");
}

/* "check: 2 mailboxes, 10 messages, 1.0 MB in 0.1 s; 1 left" */
static void
say_result (const Tool *tool, const StoreCommand *command, bool dry_run, const StoreResult *result,
            double seconds)
{
  g_autofree char *mailboxes = text_count (result->mailboxes, "mailbox", "mailboxes");
  g_autofree char *messages = text_count (result->messages, "message", "messages");
  g_autofree char *size = text_size (result->bytes);
  g_autofree char *time = text_seconds (seconds);
  g_autofree char *taken = describe_taken (command, dry_run, result);
  /* Who only looks fixes nothing. */
  bool looks = (command->traits & STORE_COMMAND_READS) != 0;
  g_autofree char *fixed =
      looks ? g_strdup ("") : g_strdup_printf ("%" PRIu64 " fixed, ", result->fixed);
  tool_say (tool, "%s%s: %s, %s, %s in %s; %s%s%" PRIu64 " left", command->name,
            dry_run ? " (dry run)" : "", mailboxes, messages, size, time, taken, fixed,
            result->left);
  if (command->after != NULL && !dry_run)
    tool_say (tool, "%s", command->after);
}

void
run_print_result (Tool *tool, const StoreCommand *command, bool dry_run, const StoreResult *result,
                  double seconds)
{
  if (tool->json)
    json_print (store_result_json (command->name, result));
  else
    say_result (tool, command, dry_run, result, seconds);
  tool->exit_code = result->left > 0 ? EXIT_FINDINGS : 0;
}

bool
run_job (Tool *tool, StoreJob *job, GError **error)
{
  const StoreRequest *request = store_job_request (job);
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
  run_print_result (tool, request->command, (request->words & STORE_WORD_DRY_RUN) != 0, &result,
                    seconds);
  return true;
}
