/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the Content-* fields of one part say (RFC 2045 to 2049, 2183, 2231), in the spelling of
 * BODYSTRUCTURE. Words in which case means nothing (types, encodings, names of parameters) are in
 * upper case as in the RFC's examples, all else is as it stands. A Content-Type that cannot be read
 * counts as text/plain in US-ASCII (RFC 2045, 5.2).
 */
#include "store/parse.h"

#include <string.h>

/* A list of parameters on its way out. Continuations (RFC 2231, 3) that follow each other are put
 * together, as section 6 asks of IMAP servers; any others stay as they are. */
typedef struct {
  GString *out;
  GString *boundary; /* gets the first BOUNDARY; may be NULL */
  GString *name, *value;
  bool is_pending;  /* a parameter is in `name` and `value` */
  bool is_extended; /* its value has a charset and percent-encoding */
  bool is_plain;    /* but not in the section that comes next */
  unsigned section; /* number of the continuation that may follow; 0: none may */
  bool is_first;
} Parameters;

static bool
is_blank (char c)
{
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
skip_blanks (const char **at)
{
  while (is_blank (**at) || **at == '(')
    if (**at == '(')
      parse_take_comment (at, NULL);
    else
      (*at)++;
}

/* Takes what comes before a blank or one of `stops`. */
static ParseSlice
take_word (const char **at, const char *stops)
{
  const char *start = *at;
  while (**at != '\0' && !is_blank (**at) && strchr (stops, **at) == NULL)
    (*at)++;
  return (ParseSlice){start, *at - start};
}

static ParseSlice
take_token (const char **at)
{
  skip_blanks (at);
  return take_word (at, "()<>@,;:\\\"/[]?=");
}

static bool
is_word (ParseSlice slice, const char *word)
{
  return strlen (word) == slice.size && g_ascii_strncasecmp (slice.text, word, slice.size) == 0;
}

/* The next token in upper case, or `fallback` where there is none. */
static void
put_token (GString *out, const char **at, const char *fallback)
{
  ParseSlice token = take_token (at);
  if (token.size == 0)
    token = (ParseSlice){fallback, strlen (fallback)};
  parse_put_upper (out, token.text, token.size);
}

static void
put_pending (Parameters *self)
{
  if (!self->is_pending)
    return;
  if (self->is_extended)
    g_string_append_c (self->name, '*');
  if (self->boundary != NULL && self->boundary->len == 0 &&
      g_ascii_strcasecmp (self->name->str, "boundary") == 0)
    g_string_append_len (self->boundary, self->value->str, self->value->len);
  g_string_append_c (self->out, self->is_first ? '(' : ' ');
  parse_put_upper (self->out, self->name->str, self->name->len);
  g_string_append_c (self->out, ' ');
  parse_put_string (self->out, self->value->str, self->value->len);
  self->is_first = self->is_pending = self->is_extended = false;
  self->section = 0;
}

/* Splits "filename*12*" into its base, whose size it returns, a section and whether the value is
 * extended. A name that is no continuation is returned whole. */
static size_t
split_name (ParseSlice name, unsigned *out_section, bool *out_is_extended)
{
  size_t end = name.size;
  bool is_extended = end > 0 && name.text[end - 1] == '*';
  if (is_extended)
    end--;
  size_t digits = end;
  while (digits > 0 && g_ascii_isdigit (name.text[digits - 1]))
    digits--;
  if (digits == end || end - digits > 4 || digits < 2 || name.text[digits - 1] != '*')
    return name.size;
  *out_section = 0;
  for (size_t i = digits; i < end; i++)
    *out_section = *out_section * 10 + (name.text[i] - '0');
  *out_is_extended = is_extended;
  return digits - 1;
}

/* Makes `name` pending, or a continuation of what is. Leaves `value` ready to be appended to. */
static void
begin_parameter (Parameters *self, ParseSlice name)
{
  unsigned section = 0;
  bool is_extended = false;
  size_t base = split_name (name, &section, &is_extended);
  bool is_continuation = base < name.size;
  if (is_continuation && section > 0 && section == self->section && base == self->name->len &&
      (self->is_extended || !is_extended) &&
      g_ascii_strncasecmp (self->name->str, name.text, base) == 0) {
    self->section++;
    self->is_plain = self->is_extended && !is_extended;
    return;
  }
  put_pending (self);
  if (is_continuation && section == 0) {
    name.size = base;
    self->section = 1;
    self->is_extended = is_extended;
  }
  g_string_truncate (self->name, 0);
  g_string_append_len (self->name, name.text, name.size);
  g_string_truncate (self->value, 0);
  self->is_pending = true;
  self->is_plain = false;
}

/* Takes "value" or value; blanks inside the latter are an error so common that they are taken
 * along. */
static void
take_value (GString *out, const char **at)
{
  skip_blanks (at);
  if (**at == '"') {
    parse_take_quoted (at, out);
    return;
  }
  while (**at != '\0' && **at != ';') {
    ParseSlice word = take_word (at, ";");
    g_string_append_len (out, word.text, word.size);
    skip_blanks (at);
    if (**at != '\0' && **at != ';')
      g_string_append_c (out, ' ');
  }
}

/* The same for what begin_parameter() made ready. A section that is not percent-encoded in a value
 * that is must be read back as it stands. */
static void
take_section (Parameters *self, const char **at)
{
  if (!self->is_plain) {
    take_value (self->value, at);
    return;
  }
  GString *section = g_string_new (NULL);
  take_value (section, at);
  for (const char *p = section->str; *p != '\0'; p++) {
    g_string_append_c (self->value, *p);
    if (*p == '%')
      g_string_append (self->value, "25");
  }
  g_string_free (section, TRUE);
}

/* Appends the parameters at `at` in parentheses, or NIL. */
static void
put_parameters (GString *out, const char *at, GString *boundary)
{
  Parameters self = {.out = out, .boundary = boundary, .is_first = true};
  self.name = g_string_new (NULL);
  self.value = g_string_new (NULL);
  while (*at != '\0') {
    skip_blanks (&at);
    ParseSlice name = take_word (&at, ";=\"");
    skip_blanks (&at);
    if (name.size > 0 && *at == '=') {
      at++;
      begin_parameter (&self, name);
      take_section (&self, &at);
    }
    at += strcspn (at, ";");
    if (*at == ';')
      at++;
  }
  put_pending (&self);
  g_string_append (out, self.is_first ? "NIL" : ")");
  g_string_free (self.name, TRUE);
  g_string_free (self.value, TRUE);
}

/* Appends ("ATTACHMENT" ("FILENAME" "x")), or NIL. */
static void
put_disposition (GString *out, const char *at)
{
  if (at == NULL || *at == '\0') {
    g_string_append (out, "NIL");
    return;
  }
  g_string_append_c (out, '(');
  put_token (out, &at, "attachment"); /* as what is unknown (RFC 2183, 2.8) */
  g_string_append_c (out, ' ');
  put_parameters (out, at, NULL);
  g_string_append_c (out, ')');
}

/* Appends ("en" "de"), or NIL. */
static void
put_languages (GString *out, const char *at)
{
  bool is_first = true;
  while (at != NULL && *at != '\0') {
    skip_blanks (&at);
    ParseSlice language = take_word (&at, ",");
    if (language.size > 0) {
      g_string_append_c (out, is_first ? '(' : ' ');
      parse_put_string (out, language.text, language.size);
      is_first = false;
    }
    if (*at == ',')
      at++;
  }
  g_string_append (out, is_first ? "NIL" : ")");
}

void
parse_part_init (ParsePart *self)
{
  *self = (ParsePart){.boundary = g_string_new (NULL), .head = g_string_sized_new (256)};
  self->tail = g_string_sized_new (256);
}

void
parse_part_clear (ParsePart *self)
{
  g_string_free (self->boundary, TRUE);
  g_string_free (self->head, TRUE);
  g_string_free (self->tail, TRUE);
}

/* Takes "type/subtype". Neither is empty when it returns true. */
static bool
take_type (const char **at, ParseSlice *out_type, ParseSlice *out_subtype)
{
  *out_type = take_token (at);
  skip_blanks (at);
  if (out_type->size == 0 || **at != '/')
    return false;
  (*at)++;
  *out_subtype = take_token (at);
  return out_subtype->size > 0;
}

static void
put_fields (ParsePart *self, const ParseHeader *header, const char *parameters)
{
  put_parameters (self->head, parameters, NULL);
  g_string_append_c (self->head, ' ');
  parse_put_nstring (self->head, parse_header_get (header, PARSE_FIELD_ID));
  g_string_append_c (self->head, ' ');
  parse_put_nstring (self->head, parse_header_get (header, PARSE_FIELD_DESCRIPTION));
  g_string_append_c (self->head, ' ');
  const char *encoding = parse_header_get (header, PARSE_FIELD_ENCODING);
  const char *at = encoding == NULL ? "" : encoding;
  put_token (self->head, &at, "7bit");
  g_string_append_c (self->tail, ' ');
  parse_put_nstring (self->tail, parse_header_get (header, PARSE_FIELD_MD5));
}

void
parse_part_describe (ParsePart *self, const ParseHeader *header, bool in_digest)
{
  g_string_truncate (self->boundary, 0);
  g_string_truncate (self->head, 0);
  g_string_truncate (self->tail, 0);
  const char *at = parse_header_get (header, PARSE_FIELD_TYPE);
  ParseSlice type = {0}, subtype = {0};
  if (at == NULL || !take_type (&at, &type, &subtype)) {
    at = at == NULL && in_digest ? "message/rfc822" : "text/plain; charset=us-ascii";
    take_type (&at, &type, &subtype);
  }

  self->kind = PARSE_KIND_BASIC;
  self->is_digest = false;
  g_string_append_c (self->head, '(');
  if (is_word (type, "multipart")) {
    self->kind = PARSE_KIND_MULTIPART;
    self->is_digest = is_word (subtype, "digest");
    g_string_append_c (self->tail, ' ');
    parse_put_upper (self->tail, subtype.text, subtype.size);
    g_string_append_c (self->tail, ' ');
    put_parameters (self->tail, at, self->boundary);
  } else {
    if (is_word (type, "text"))
      self->kind = PARSE_KIND_TEXT;
    else if (is_word (type, "message") && is_word (subtype, "rfc822"))
      self->kind = PARSE_KIND_MESSAGE;
    parse_put_upper (self->head, type.text, type.size);
    g_string_append_c (self->head, ' ');
    parse_put_upper (self->head, subtype.text, subtype.size);
    g_string_append_c (self->head, ' ');
    put_fields (self, header, at);
  }
  g_string_append_c (self->tail, ' ');
  put_disposition (self->tail, parse_header_get (header, PARSE_FIELD_DISPOSITION));
  g_string_append_c (self->tail, ' ');
  put_languages (self->tail, parse_header_get (header, PARSE_FIELD_LANGUAGE));
  g_string_append_c (self->tail, ' ');
  parse_put_nstring (self->tail, parse_header_get (header, PARSE_FIELD_LOCATION));
  g_string_append_c (self->tail, ')');
}
