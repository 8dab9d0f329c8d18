/* SPDX-License-Identifier: Apache-2.0 */
/* answer.h - the objects of JSON that a mount answers with. */
#pragma once

#include "tools/tools.h"

#include <json-glib/json-glib.h>

/* The object is the parser's. NULL: it is none. */
JsonObject *answer_parse (const char *text, JsonParser **out_parser, GError **error);

/* NULL, or 0, where there is none. */
const char *answer_text (JsonObject *object, const char *key);
uint64_t answer_uint (JsonObject *object, const char *key);
JsonArray *answer_list (JsonObject *object, const char *key);
int answer_errno (JsonObject *object, const char *key); /* of its name */

/* Out of the report of a job. */
StoreRecord answer_record (JsonObject *report);
GPtrArray *answer_findings (JsonObject *report);
StoreResult answer_result (JsonObject *report);

StoreQuarantined *answer_quarantined (JsonObject *object);
