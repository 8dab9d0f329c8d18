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
static size_t
take_word (const char **at, const char *stops)
{
  const char *start = *at;
  while (**at != '\0' && !is_blank (**at) && strchr (stops, **at) == NULL)
    (*at)++;
  return *at - start;
}

static size_t
take_token (const char **at)
{
  return take_word (at, "()<>@,;:\\\"/[]?=");
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
split_name (const char *name, size_t size, unsigned *out_section, bool *out_is_extended)
{
  size_t end = size;
  bool is_extended = end > 0 && name[end - 1] == '*';
  if (is_extended)
    end--;
  size_t digits = end;
  while (digits > 0 && g_ascii_isdigit (name[digits - 1]))
    digits--;
  if (digits == end || end - digits > 4 || digits < 2 || name[digits - 1] != '*')
    return size;
  *out_section = 0;
  for (size_t i = digits; i < end; i++)
    *out_section = *out_section * 10 + (name[i] - '0');
  *out_is_extended = is_extended;
  return digits - 1;
}

/* Makes `name` pending, or a continuation of what is. Leaves `value` ready to be appended to. */
static void
begin_parameter (Parameters *self, const char *name, size_t size)
{
  unsigned section = 0;
  bool is_extended = false;
  size_t base = split_name (name, size, &section, &is_extended);
  if (base < size && section > 0 && section == self->section && base == self->name->len &&
      (self->is_extended || !is_extended) &&
      g_ascii_strncasecmp (self->name->str, name, base) == 0) {
    self->section++;
    self->is_plain = self->is_extended && !is_extended;
    return;
  }
  put_pending (self);
  if (base < size && section == 0) {
    size = base;
    self->section = 1;
    self->is_extended = is_extended;
  }
  g_string_truncate (self->name, 0);
  g_string_append_len (self->name, name, size);
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
    size_t size = take_word (at, ";");
    g_string_append_len (out, *at - size, size);
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
    size_t size = take_word (&at, ";=\"");
    const char *name = at - size;
    skip_blanks (&at);
    if (size > 0 && *at == '=') {
      at++;
      begin_parameter (&self, name, size);
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
  skip_blanks (&at);
  size_t size = take_token (&at);
  g_string_append_c (out, '(');
  /* What is no known disposition is an attachment (RFC 2183, 2.8). */
  parse_put_upper (out, size == 0 ? "attachment" : at - size, size == 0 ? 10 : size);
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
    size_t size = take_word (&at, ",");
    if (size > 0) {
      g_string_append_c (out, is_first ? '(' : ' ');
      parse_put_string (out, at - size, size);
      is_first = false;
    }
    if (*at == ',')
      at++;
  }
  g_string_append (out, is_first ? "NIL" : ")");
}

static void
put_encoding (GString *out, const char *at)
{
  size_t size = 0;
  if (at != NULL) {
    skip_blanks (&at);
    size = take_token (&at);
  }
  parse_put_upper (out, size == 0 ? "7bit" : at - size, size == 0 ? 4 : size);
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

/* Takes "type/subtype". Both sizes are above 0 when it returns true. */
static bool
take_type (const char **at, const char **out_type, size_t *out_size, const char **out_subtype,
           size_t *out_subtype_size)
{
  skip_blanks (at);
  *out_type = *at;
  *out_size = take_token (at);
  skip_blanks (at);
  if (*out_size == 0 || **at != '/')
    return false;
  (*at)++;
  skip_blanks (at);
  *out_subtype = *at;
  *out_subtype_size = take_token (at);
  return *out_subtype_size > 0;
}

static bool
is_word (const char *text, size_t size, const char *word)
{
  return strlen (word) == size && g_ascii_strncasecmp (text, word, size) == 0;
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
  put_encoding (self->head, parse_header_get (header, PARSE_FIELD_ENCODING));
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
  const char *type, *subtype;
  size_t size, subtype_size;
  if (at == NULL || !take_type (&at, &type, &size, &subtype, &subtype_size)) {
    at = at == NULL && in_digest ? "message/rfc822" : "text/plain; charset=us-ascii";
    take_type (&at, &type, &size, &subtype, &subtype_size);
  }

  self->kind = PARSE_KIND_BASIC;
  self->is_digest = false;
  g_string_append_c (self->head, '(');
  if (is_word (type, size, "multipart")) {
    self->kind = PARSE_KIND_MULTIPART;
    self->is_digest = is_word (subtype, subtype_size, "digest");
    g_string_append_c (self->tail, ' ');
    parse_put_upper (self->tail, subtype, subtype_size);
    g_string_append_c (self->tail, ' ');
    put_parameters (self->tail, at, self->boundary);
  } else {
    if (is_word (type, size, "text"))
      self->kind = PARSE_KIND_TEXT;
    else if (is_word (type, size, "message") && is_word (subtype, subtype_size, "rfc822"))
      self->kind = PARSE_KIND_MESSAGE;
    parse_put_upper (self->head, type, size);
    g_string_append_c (self->head, ' ');
    parse_put_upper (self->head, subtype, subtype_size);
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
