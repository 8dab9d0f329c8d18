/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs and what they found, as JSON: the same for programs that ask mailstore and for those that
 * read the report of a job in a mount. */
#include "store/commands.h"

#include <string.h>

GString *
store_record_json (const StoreRecord *record)
{
  GString *json = json_begin ("job");
  json_uint (json, "id", record->id);
  json_string (json, "state", store_job_state_name (record->state));
  json_bool (json, "queued", record->queued);
  json_string (json, "action", record->action);
  json_string (json, "mailbox", record->title);
  json_time (json, "created", record->created_s);
  json_time (json, "due", record->due_s);
  json_time (json, "started", record->started_s);
  json_time (json, "ended", record->ended_s);
  json_uint (json, "done", record->progress.done);
  json_uint (json, "total", record->progress.total);
  json_string (json, "unit", record->progress.unit);
  json_uint (json, "fixed", record->fixed);
  json_uint (json, "left", record->left);
  json_uint (json, "taken", record->taken);
  json_string (json, "error", record->error);
  json_string (json, "errno", record->code != 0 ? strerrorname_np (record->code) : NULL);
  json_string (json, "log", record->log);
  return json;
}

const char *
store_outcome_name (StoreOutcome outcome)
{
  static const char *const names[] = {[STORE_LEFT] = "left",
                                      [STORE_FIXED] = "fixed",
                                      [STORE_TAKEN] = "taken",
                                      [STORE_NOTED] = "noted"};
  return names[outcome];
}

GString *
store_finding_json (const StoreFinding *finding)
{
  GString *json = json_begin ("finding");
  json_string (json, "problem", store_problem_name (finding->problem));
  json_string (json, "outcome", store_outcome_name (finding->outcome));
  json_string (json, "object", finding->object);
  json_string (json, "detail", finding->detail);
  json_uint (json, "uid", finding->uid);
  json_uint (json, "size", finding->size);
  json_string (json, "remedy",
               finding->outcome == STORE_LEFT ? store_problem_remedy (finding->problem) : NULL);
  return json;
}

GString *
store_result_json (const char *command, const StoreResult *result)
{
  GString *json = json_begin ("result");
  json_string (json, "command", command);
  json_uint (json, "mailboxes", result->mailboxes);
  json_uint (json, "messages", result->messages);
  json_uint (json, "bytes", result->bytes);
  json_uint (json, "fixed", result->fixed);
  json_uint (json, "left", result->left);
  json_uint (json, "taken", result->taken);
  json_uint (json, "taken_bytes", result->taken_bytes);
  return json;
}

bool
store_report_write (const StoreRecord *record, const StoreResult *result, const GPtrArray *findings,
                    FILE *out, GError **error)
{
  g_autoptr (GString) json = store_record_json (record);
  if (result != NULL) {
    json_uint (json, "mailboxes", result->mailboxes);
    json_uint (json, "messages", result->messages);
    json_uint (json, "bytes", result->bytes);
    json_uint (json, "taken_bytes", result->taken_bytes);
  }
  fprintf (out, "%s,\"findings\":[", json->str);
  for (guint i = 0; i < findings->len; i++) {
    g_autoptr (GString) finding = store_finding_json (findings->pdata[i]);
    fprintf (out, "%s%s}", i > 0 ? ",\n" : "\n", finding->str);
  }
  fputs ("]}\n", out);
  return fflush (out) == 0 || fail_errno (error, "write");
}
