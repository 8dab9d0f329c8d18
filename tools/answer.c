/* SPDX-License-Identifier: Apache-2.0 */
/* answer.c - the objects of JSON that a mount answers with. */
#include "tools/answer.h"
#include "tools/print.h"

#include <string.h>

JsonObject *
answer_parse (const char *text, JsonParser **out_parser, GError **error)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) failure = NULL;
  JsonNode *root = json_parser_load_from_data (parser, text, -1, &failure)
                       ? json_parser_get_root (parser)
                       : NULL;
  if (root == NULL || !JSON_NODE_HOLDS_OBJECT (root)) {
    fail (error, EPROTONOSUPPORT, "the mount's answer makes no sense%s%s",
          failure != NULL ? ": " : "", failure != NULL ? failure->message : "");
    return NULL;
  }
  *out_parser = g_steal_pointer (&parser);
  return json_node_get_object (root);
}

/* NULL where there is none of that type. */
static JsonNode *
get_value (JsonObject *object, const char *key, GType type)
{
  JsonNode *node = json_object_get_member (object, key);
  bool good =
      node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == type;
  return good ? node : NULL;
}

const char *
answer_text (JsonObject *object, const char *key)
{
  JsonNode *node = get_value (object, key, G_TYPE_STRING);
  return node != NULL ? json_node_get_string (node) : NULL;
}

/* A copy, safe to print: who knows what is mounted there. Lines stay lines; "" where there is none.
 */
static char *
take_text (JsonObject *object, const char *key)
{
  const char *text = answer_text (object, key);
  g_auto (GStrv) lines = g_strsplit (text != NULL ? text : "", "\n", -1);
  for (char **line = lines; *line != NULL; line++)
    *line = text_take_printable (*line);
  return g_strjoinv ("\n", lines);
}

/* The same, but NULL where there is none. */
static char *
take_optional (JsonObject *object, const char *key)
{
  return answer_text (object, key) != NULL ? take_text (object, key) : NULL;
}

uint64_t
answer_uint (JsonObject *object, const char *key)
{
  JsonNode *node = get_value (object, key, G_TYPE_INT64);
  return node != NULL ? (uint64_t)json_node_get_int (node) : 0;
}

static bool
get_bool (JsonObject *object, const char *key)
{
  JsonNode *node = get_value (object, key, G_TYPE_BOOLEAN);
  return node != NULL && json_node_get_boolean (node);
}

JsonArray *
answer_list (JsonObject *object, const char *key)
{
  JsonNode *node = json_object_get_member (object, key);
  return node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
}

static int64_t
get_time (JsonObject *object, const char *key)
{
  int64_t time_s = 0;
  const char *text = answer_text (object, key);
  return text != NULL && tool_date_parse (text, &time_s, NULL) ? time_s : 0;
}

/* The errno of that name, or 0. */
int
answer_errno (JsonObject *object, const char *key)
{
  const char *name = answer_text (object, key);
  for (int code = 1; name != NULL && code < 4096; code++) {
    if (g_strcmp0 (strerrorname_np (code), name) == 0)
      return code;
  }
  return 0;
}

/* Which of `count` names that is; the last one when it is none. */
static unsigned
get_enum (JsonObject *object, const char *key, const char *(*name_of) (unsigned), unsigned last)
{
  const char *name = answer_text (object, key);
  unsigned value = 0;
  while (value < last && g_strcmp0 (name_of (value), name) != 0)
    value++;
  return value;
}

static const char *
name_of_state (unsigned state)
{
  return store_job_state_name ((StoreJobState)state);
}

static const char *
name_of_problem (unsigned problem)
{
  return store_problem_name ((StoreProblem)problem);
}

static const char *
name_of_outcome (unsigned outcome)
{
  return store_outcome_name ((StoreOutcome)outcome);
}

/* ---- what a mount tells -------------------------------------------------------------------- */

static StoreFinding *
read_finding (JsonObject *object)
{
  StoreFinding *finding = g_new0 (StoreFinding, 1);
  *finding = (StoreFinding){
      .problem = get_enum (object, "problem", name_of_problem, STORE_PROBLEM_NOTE),
      .outcome = get_enum (object, "outcome", name_of_outcome, STORE_NOTED),
      .uid = (uint32_t)answer_uint (object, "uid"),
      .size = answer_uint (object, "size"),
      .object = take_text (object, "object"),
      .detail = take_text (object, "detail"),
  };
  return finding;
}

GPtrArray *
answer_findings (JsonObject *report)
{
  GPtrArray *findings = g_ptr_array_new_with_free_func (store_finding_free);
  JsonArray *list = answer_list (report, "findings");
  for (guint i = 0; list != NULL && i < json_array_get_length (list); i++) {
    JsonNode *node = json_array_get_element (list, i);
    if (JSON_NODE_HOLDS_OBJECT (node))
      g_ptr_array_add (findings, read_finding (json_node_get_object (node)));
  }
  return findings;
}

StoreRecord
answer_record (JsonObject *report)
{
  g_autofree char *unit = take_optional (report, "unit");
  return (StoreRecord){
      .id = answer_uint (report, "id"),
      .state = get_enum (report, "state", name_of_state, STORE_JOB_INTERRUPTED),
      .queued = get_bool (report, "queued"),
      .action = take_text (report, "action"),
      .title = g_strdup (answer_text (report, "mailbox")),
      .created_s = get_time (report, "created"),
      .due_s = get_time (report, "due"),
      .started_s = get_time (report, "started"),
      .ended_s = get_time (report, "ended"),
      .progress = {answer_uint (report, "done"), answer_uint (report, "total"),
                   g_intern_string (unit)},
      .fixed = answer_uint (report, "fixed"),
      .left = answer_uint (report, "left"),
      .taken = answer_uint (report, "taken"),
      .error = take_optional (report, "error"),
      .code = answer_errno (report, "errno"),
      .log = take_text (report, "log"),
  };
}

StoreResult
answer_result (JsonObject *report)
{
  return (StoreResult){.mailboxes = answer_uint (report, "mailboxes"),
                       .messages = answer_uint (report, "messages"),
                       .bytes = answer_uint (report, "bytes"),
                       .fixed = answer_uint (report, "fixed"),
                       .left = answer_uint (report, "left"),
                       .taken = answer_uint (report, "taken"),
                       .taken_bytes = answer_uint (report, "taken_bytes")};
}

StoreQuarantined *
answer_quarantined (JsonObject *object)
{
  StoreQuarantined *found = g_new0 (StoreQuarantined, 1);
  const char *path = answer_text (object, "path");
  *found = (StoreQuarantined){
      .path = g_strdup (path != NULL ? path : ""),
      .size = answer_uint (object, "size"),
      .since_s = get_time (object, "since"),
      .is_directory = get_bool (object, "directory"),
  };
  return found;
}
