/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - one object per line (JSON Lines); RFC 8259. */
#include "store/commands.h"

#include <inttypes.h>
#include <string.h>

/* What could not be seen, or would change how other text is seen. */
static void
append_code (GString *json, gunichar character)
{
  if (character > 0xffff) {
    character -= 0x10000;
    g_string_append_printf (json, "\\u%04x", 0xd800 + (character >> 10));
    character = 0xdc00 + (character & 0x3ff);
  }
  g_string_append_printf (json, "\\u%04x", character);
}

/* What is not UTF-8 becomes U+FFFD: JSON cannot hold other bytes. */
static void
append_quoted (GString *json, const char *value)
{
  g_autofree char *text = g_utf8_make_valid (value, -1);
  g_string_append_c (json, '"');
  for (const char *at = text; *at != '\0'; at = g_utf8_next_char (at)) {
    if (*at == '"' || *at == '\\')
      g_string_append_c (json, '\\');
    gunichar character = g_utf8_get_char (at);
    if (g_unichar_iscntrl (character) || g_unichar_type (character) == G_UNICODE_FORMAT)
      append_code (json, character);
    else
      g_string_append_len (json, at, g_utf8_next_char (at) - at);
  }
  g_string_append_c (json, '"');
}

static void
append_key (GString *json, const char *key)
{
  if (!g_str_has_suffix (json->str, "{"))
    g_string_append_c (json, ',');
  append_quoted (json, key);
  g_string_append_c (json, ':');
}

GString *
json_begin (const char *type)
{
  GString *json = g_string_new ("{");
  json_string (json, "type", type);
  return json;
}

void
json_string (GString *json, const char *key, const char *value)
{
  append_key (json, key);
  if (value == NULL)
    g_string_append (json, "null");
  else
    append_quoted (json, value);
}

void
json_uint (GString *json, const char *key, uint64_t value)
{
  append_key (json, key);
  g_string_append_printf (json, "%" PRIu64, value);
}

void
json_bool (GString *json, const char *key, bool value)
{
  append_key (json, key);
  g_string_append (json, value ? "true" : "false");
}

void
json_time (GString *json, const char *key, int64_t time_s)
{
  g_autoptr (GDateTime) time = time_s > 0 ? g_date_time_new_from_unix_utc (time_s) : NULL;
  g_autofree char *text = time != NULL ? g_date_time_format (time, "%Y-%m-%dT%H:%M:%SZ") : NULL;
  json_string (json, key, text);
}

void
json_uints (GString *json, const char *key, const uint64_t *values, size_t count)
{
  append_key (json, key);
  g_string_append_c (json, '[');
  for (size_t i = 0; i < count; i++)
    g_string_append_printf (json, "%s%" PRIu64, i > 0 ? "," : "", values[i]);
  g_string_append_c (json, ']');
}

void
json_words (GString *json, const char *key, const char *value)
{
  g_auto (GStrv) words = g_strsplit (value, " ", -1);
  append_key (json, key);
  g_string_append_c (json, '[');
  for (char **word = words; *word != NULL; word++) {
    if (word != words)
      g_string_append_c (json, ',');
    append_quoted (json, *word);
  }
  g_string_append_c (json, ']');
}

void
json_end (GString *json)
{
  g_string_append (json, "}\n");
}
