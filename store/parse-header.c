/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parse.h"

#include <string.h>

/* Longer strings are literals: no reader of IMAP need take longer quoted ones. */
#define QUOTED_MAX 1000u

static const char *const names[PARSE_FIELD_COUNT] = {
    [PARSE_FIELD_DATE] = "date",
    [PARSE_FIELD_SUBJECT] = "subject",
    [PARSE_FIELD_FROM] = "from",
    [PARSE_FIELD_SENDER] = "sender",
    [PARSE_FIELD_REPLY_TO] = "reply-to",
    [PARSE_FIELD_TO] = "to",
    [PARSE_FIELD_CC] = "cc",
    [PARSE_FIELD_BCC] = "bcc",
    [PARSE_FIELD_IN_REPLY_TO] = "in-reply-to",
    [PARSE_FIELD_MESSAGE_ID] = "message-id",
    [PARSE_FIELD_TYPE] = "content-type",
    [PARSE_FIELD_ID] = "content-id",
    [PARSE_FIELD_DESCRIPTION] = "content-description",
    [PARSE_FIELD_ENCODING] = "content-transfer-encoding",
    [PARSE_FIELD_MD5] = "content-md5",
    [PARSE_FIELD_DISPOSITION] = "content-disposition",
    [PARSE_FIELD_LANGUAGE] = "content-language",
    [PARSE_FIELD_LOCATION] = "content-location",
};

static bool
is_quotable (const char *text, size_t size)
{
  if (size > QUOTED_MAX)
    return false;
  for (size_t i = 0; i < size; i++)
    if ((signed char)text[i] <= 0 || text[i] == '\r' || text[i] == '\n')
      return false;
  return true;
}

void
parse_put_string (GString *out, const char *text, size_t size)
{
  if (!is_quotable (text, size)) {
    g_string_append_printf (out, "{%zu}\r\n", size);
    g_string_append_len (out, text, size);
    return;
  }
  g_string_append_c (out, '"');
  size_t done = 0;
  for (size_t i = 0; i < size; i++)
    if (text[i] == '"' || text[i] == '\\') {
      g_string_append_len (out, text + done, i - done);
      g_string_append_c (out, '\\');
      done = i;
    }
  g_string_append_len (out, text + done, size - done);
  g_string_append_c (out, '"');
}

void
parse_put_nstring (GString *out, const char *text)
{
  if (text == NULL)
    g_string_append (out, "NIL");
  else
    parse_put_string (out, text, strlen (text));
}

void
parse_put_upper (GString *out, const char *text, size_t size)
{
  size_t start = out->len;
  parse_put_string (out, text, size);
  for (size_t i = start; i < out->len; i++)
    out->str[i] = g_ascii_toupper (out->str[i]);
}

void
parse_header_init (ParseHeader *self)
{
  *self = (ParseHeader){.raw = g_string_sized_new (4096)};
}

void
parse_header_clear (ParseHeader *self)
{
  if (self->raw != NULL)
    g_string_free (self->raw, TRUE);
  for (int i = 0; i < PARSE_FIELD_COUNT; i++)
    if (self->value[i] != NULL)
      g_string_free (self->value[i], TRUE);
}

void
parse_header_reset (ParseHeader *self)
{
  g_string_truncate (self->raw, 0);
  self->present = 0;
}

const char *
parse_header_get (const ParseHeader *self, ParseField field)
{
  return (self->present & 1u << field) != 0 ? self->value[field]->str : NULL;
}

/* The size of the field at `at` with its line end and the lines that continue it. */
static size_t
measure_field (const char *at, const char *end)
{
  const char *line = at;
  do {
    line = memchr (line, '\n', end - line);
    if (line == NULL)
      return end - at;
    line++;
  } while (line < end && (*line == ' ' || *line == '\t'));
  return line - at;
}

/* PARSE_FIELD_COUNT for a name that is none of ours. */
static ParseField
find_field (const char *name, size_t size)
{
  char first = g_ascii_tolower (*name);
  ParseField field = 0;
  while (field < PARSE_FIELD_COUNT && (names[field][0] != first || strlen (names[field]) != size ||
                                       g_ascii_strncasecmp (names[field], name, size) != 0))
    field++;
  return field;
}

/* Appends a field's body without its line ends (RFC 5322, 2.2.3) and without blanks around it. */
static void
append_unfolded (GString *out, const char *at, const char *end)
{
  while (at < end && g_ascii_isspace (*at))
    at++;
  while (at < end && g_ascii_isspace (end[-1]))
    end--;
  while (at < end) {
    const char *newline = memchr (at, '\n', end - at);
    const char *stop = newline == NULL ? end : newline;
    if (newline != NULL && stop > at && stop[-1] == '\r')
      stop--;
    size_t start = out->len;
    g_string_append_len (out, at, stop - at);
    for (char *nul = out->str + start;
         (nul = memchr (nul, '\0', out->str + out->len - nul)) != NULL;)
      *nul = '?';
    at = newline == NULL ? end : newline + 1;
  }
}

static void
take_field (ParseHeader *self, const char *at, const char *end)
{
  const char *colon = memchr (at, ':', end - at);
  if (colon == NULL)
    return;
  const char *name_end = colon;
  while (name_end > at && (name_end[-1] == ' ' || name_end[-1] == '\t'))
    name_end--;
  ParseField field = find_field (at, name_end - at);
  if (field == PARSE_FIELD_COUNT)
    return;
  bool is_first = (self->present & 1u << field) == 0;
  bool is_list = field >= PARSE_FIELD_FROM && field <= PARSE_FIELD_BCC;
  if (!is_first && !is_list)
    return;
  if (self->value[field] == NULL)
    self->value[field] = g_string_sized_new (128);
  if (is_first)
    g_string_truncate (self->value[field], 0);
  else
    g_string_append (self->value[field], ", ");
  append_unfolded (self->value[field], colon + 1, end);
  self->present |= 1u << field;
}

void
parse_header_split (ParseHeader *self)
{
  const char *at = self->raw->str;
  const char *end = at + self->raw->len;
  while (at < end) {
    size_t size = measure_field (at, end);
    take_field (self, at, at + size);
    at += size;
  }
}

void
parse_take_comment (const char **at, GString *out)
{
  const char *p = *at + 1;
  for (unsigned depth = 1; *p != '\0'; p++) {
    if (*p == '(')
      depth++;
    else if (*p == ')' && --depth == 0)
      break;
    else if (*p == '\\' && p[1] != '\0')
      p++;
    if (out != NULL)
      g_string_append_c (out, *p);
  }
  *at = *p == '\0' ? p : p + 1;
}

void
parse_take_quoted (const char **at, GString *out)
{
  const char *p = *at + 1;
  for (; *p != '\0' && *p != '"'; p++) {
    if (*p == '\\' && p[1] != '\0')
      p++;
    if (out != NULL)
      g_string_append_c (out, *p);
  }
  *at = *p == '\0' ? p : p + 1;
}
