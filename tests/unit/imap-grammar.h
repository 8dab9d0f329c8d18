/* SPDX-License-Identifier: Apache-2.0 */
/*
 * imap-grammar.h - reads ENVELOPE and BODYSTRUCTURE as RFC 3501 (7.4.2 and 9) defines them and
 * takes nothing else; each is also valid in RFC 9051. Stricter than the grammar where it leaves a
 * choice that our writer has no use for: numbers have no leading zeros, and groups of addresses
 * begin and end in order.
 *
 *   g_autoptr (ImapBody) body = imap_body_read (text, &error);     // NULL: error says where and
 * what
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  char *name, *route, *mailbox, *host; /* NULL is NIL */
} ImapAddress;

typedef struct {
  char *date, *subject;
  GPtrArray *lists[6]; /* of ImapAddress: from, sender, reply-to, to, cc, bcc; NULL is NIL */
  char *in_reply_to, *message_id;
} ImapEnvelope;

typedef struct ImapBody ImapBody;
struct ImapBody {
  GPtrArray *parts; /* of ImapBody: of a multipart, or the body of a message; NULL: no container */
  char *type;       /* NULL: multipart */
  char *subtype;
  GPtrArray *parameters; /* of char *: name, value, ...; NULL is NIL */
  char *id, *description, *encoding;
  uint32_t size, lines;
  ImapEnvelope *envelope;
  char *md5, *disposition, *location;
  GPtrArray *disposition_parameters, *languages;
};

static inline void
imap_address_free (void *pointer)
{
  ImapAddress *self = pointer;
  g_free (self->name);
  g_free (self->route);
  g_free (self->mailbox);
  g_free (self->host);
  g_free (self);
}

static inline void
imap_envelope_free (ImapEnvelope *self)
{
  if (self == NULL)
    return;
  for (int i = 0; i < 6; i++)
    g_clear_pointer (&self->lists[i], g_ptr_array_unref);
  g_free (self->date);
  g_free (self->subject);
  g_free (self->in_reply_to);
  g_free (self->message_id);
  g_free (self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImapEnvelope, imap_envelope_free)

static inline void
imap_body_free (void *pointer)
{
  ImapBody *self = pointer;
  if (self == NULL)
    return;
  g_clear_pointer (&self->parts, g_ptr_array_unref);
  g_clear_pointer (&self->parameters, g_ptr_array_unref);
  g_clear_pointer (&self->disposition_parameters, g_ptr_array_unref);
  g_clear_pointer (&self->languages, g_ptr_array_unref);
  imap_envelope_free (self->envelope);
  g_free (self->type);
  g_free (self->subtype);
  g_free (self->id);
  g_free (self->description);
  g_free (self->encoding);
  g_free (self->md5);
  g_free (self->disposition);
  g_free (self->location);
  g_free (self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ImapBody, imap_body_free)

/* ---- reading -------------------------------------------------------------------------------- */

typedef struct {
  const char *start, *at;
  char *error; /* the first */
} ImapReader;

static inline bool
imap_fail (ImapReader *self, const char *what)
{
  if (self->error == NULL)
    self->error = g_strdup_printf ("byte %zu: %s, not \"%.40s\"", (size_t)(self->at - self->start),
                                   what, self->at);
  return false;
}

static inline bool
imap_take (ImapReader *self, const char *token)
{
  if (!g_str_has_prefix (self->at, token))
    return imap_fail (self, token);
  self->at += strlen (token);
  return true;
}

static inline bool
imap_take_nil (ImapReader *self)
{
  return g_str_has_prefix (self->at, "NIL") && imap_take (self, "NIL");
}

static inline bool
imap_take_number (ImapReader *self, uint32_t *out)
{
  const char *end = self->at;
  uint64_t number = 0;
  while (g_ascii_isdigit (*end) && number <= UINT32_MAX)
    number = number * 10 + (*end++ - '0');
  if (end == self->at || number > UINT32_MAX || (*self->at == '0' && end > self->at + 1))
    return imap_fail (self, "number");
  self->at = end;
  *out = number;
  return true;
}

static inline bool
imap_take_quoted (ImapReader *self, char **out)
{
  g_autoptr (GString) text = g_string_new (NULL);
  const char *p = self->at + 1;
  for (; *p != '"'; p++) {
    if (*p == '\\' && p[1] != '"' && p[1] != '\\')
      return imap_fail (self, "quoted string with a good escape");
    if (*p == '\\')
      p++;
    if ((signed char)*p <= 0 || *p == '\r' || *p == '\n')
      return imap_fail (self, "quoted string of 7-bit text");
    g_string_append_c (text, *p);
  }
  if (text->len > 1000)
    return imap_fail (self, "quoted string of at most 1000 bytes");
  self->at = p + 1;
  *out = g_strdup (text->str);
  return true;
}

static inline bool
imap_take_string (ImapReader *self, char **out)
{
  if (*self->at == '"')
    return imap_take_quoted (self, out);
  uint32_t size;
  if (!imap_take (self, "{") || !imap_take_number (self, &size) || !imap_take (self, "}\r\n"))
    return false;
  if (strnlen (self->at, size) < size)
    return imap_fail (self, "a literal's whole text");
  *out = g_strndup (self->at, size);
  self->at += size;
  return true;
}

static inline bool
imap_take_nstring (ImapReader *self, char **out)
{
  *out = NULL;
  return imap_take_nil (self) || imap_take_string (self, out);
}

static inline bool
imap_take_address (ImapReader *self, GPtrArray *list)
{
  ImapAddress *address = g_new0 (ImapAddress, 1);
  g_ptr_array_add (list, address);
  return imap_take (self, "(") && imap_take_nstring (self, &address->name) &&
         imap_take (self, " ") && imap_take_nstring (self, &address->route) &&
         imap_take (self, " ") && imap_take_nstring (self, &address->mailbox) &&
         imap_take (self, " ") && imap_take_nstring (self, &address->host) && imap_take (self, ")");
}

static inline bool
imap_take_addresses (ImapReader *self, GPtrArray **out)
{
  if (imap_take_nil (self))
    return true;
  if (!imap_take (self, "("))
    return false;
  *out = g_ptr_array_new_with_free_func (imap_address_free);
  bool in_group = false;
  do {
    if (!imap_take_address (self, *out))
      return false;
    const ImapAddress *last = g_ptr_array_index (*out, (*out)->len - 1);
    if (last->host != NULL && last->mailbox == NULL)
      return imap_fail (self, "mailbox before a host");
    if (last->host != NULL)
      continue;
    if (last->name != NULL || last->route != NULL)
      return imap_fail (self, "group mark");
    if (in_group == (last->mailbox != NULL))
      return imap_fail (self, in_group ? "end of the group" : "begin of a group");
    in_group = !in_group;
  } while (*self->at == '(');
  if (in_group)
    return imap_fail (self, "end of the group");
  return imap_take (self, ")");
}

static inline bool
imap_take_envelope (ImapReader *self, ImapEnvelope **out)
{
  ImapEnvelope *envelope = *out = g_new0 (ImapEnvelope, 1);
  if (!imap_take (self, "(") || !imap_take_nstring (self, &envelope->date) ||
      !imap_take (self, " ") || !imap_take_nstring (self, &envelope->subject))
    return false;
  for (int i = 0; i < 6; i++)
    if (!imap_take (self, " ") || !imap_take_addresses (self, &envelope->lists[i]))
      return false;
  return imap_take (self, " ") && imap_take_nstring (self, &envelope->in_reply_to) &&
         imap_take (self, " ") && imap_take_nstring (self, &envelope->message_id) &&
         imap_take (self, ")");
}

/* "(" string *(SP string) ")"; an even number of them for parameters. */
static inline bool
imap_take_strings (ImapReader *self, GPtrArray **out, bool is_even)
{
  if (imap_take_nil (self))
    return true;
  *out = g_ptr_array_new_with_free_func (g_free);
  const char *before = "(";
  do {
    char *string = NULL;
    if (!imap_take (self, before) || !imap_take_string (self, &string))
      return false;
    g_ptr_array_add (*out, string);
    before = " ";
  } while (*self->at == ' ');
  if (is_even && (*out)->len % 2 != 0)
    return imap_fail (self, "a value for each parameter");
  return imap_take (self, ")");
}

/* [SP body-fld-dsp SP body-fld-lang SP body-fld-loc], which our writer always gives in full. */
static inline bool
imap_take_extension (ImapReader *self, ImapBody *body)
{
  if (!imap_take (self, " "))
    return false;
  if (!imap_take_nil (self) &&
      (!imap_take (self, "(") || !imap_take_string (self, &body->disposition) ||
       !imap_take (self, " ") || !imap_take_strings (self, &body->disposition_parameters, true) ||
       !imap_take (self, ")")))
    return false;
  return imap_take (self, " ") && imap_take_strings (self, &body->languages, false) &&
         imap_take (self, " ") && imap_take_nstring (self, &body->location);
}

static inline bool imap_take_body (ImapReader *self, GPtrArray *parts);

static inline bool
imap_take_multipart (ImapReader *self, ImapBody *body)
{
  body->parts = g_ptr_array_new_with_free_func (imap_body_free);
  while (*self->at == '(')
    if (!imap_take_body (self, body->parts))
      return false;
  return imap_take (self, " ") && imap_take_string (self, &body->subtype) &&
         imap_take (self, " ") && imap_take_strings (self, &body->parameters, true) &&
         imap_take_extension (self, body);
}

static inline bool
imap_take_single (ImapReader *self, ImapBody *body)
{
  if (!imap_take_string (self, &body->type) || !imap_take (self, " ") ||
      !imap_take_string (self, &body->subtype) || !imap_take (self, " ") ||
      !imap_take_strings (self, &body->parameters, true) || !imap_take (self, " ") ||
      !imap_take_nstring (self, &body->id) || !imap_take (self, " ") ||
      !imap_take_nstring (self, &body->description) || !imap_take (self, " ") ||
      !imap_take_string (self, &body->encoding) || !imap_take (self, " ") ||
      !imap_take_number (self, &body->size))
    return false;
  bool is_text = g_ascii_strcasecmp (body->type, "TEXT") == 0;
  bool is_message = g_ascii_strcasecmp (body->type, "MESSAGE") == 0 &&
                    g_ascii_strcasecmp (body->subtype, "RFC822") == 0;
  if (g_ascii_strcasecmp (body->type, "MULTIPART") == 0)
    return imap_fail (self, "parts of a multipart");
  if (is_message) {
    body->parts = g_ptr_array_new_with_free_func (imap_body_free);
    if (!imap_take (self, " ") || !imap_take_envelope (self, &body->envelope) ||
        !imap_take (self, " ") || !imap_take_body (self, body->parts))
      return false;
  }
  if ((is_text || is_message) && (!imap_take (self, " ") || !imap_take_number (self, &body->lines)))
    return false;
  return imap_take (self, " ") && imap_take_nstring (self, &body->md5) &&
         imap_take_extension (self, body);
}

static inline bool
imap_take_body (ImapReader *self, GPtrArray *parts)
{
  ImapBody *body = g_new0 (ImapBody, 1);
  g_ptr_array_add (parts, body);
  return imap_take (self, "(") &&
         (*self->at == '(' ? imap_take_multipart (self, body) : imap_take_single (self, body)) &&
         imap_take (self, ")");
}

static inline bool
imap_take_end (ImapReader *self)
{
  return *self->at == '\0' || imap_fail (self, "the end");
}

static inline ImapEnvelope *
imap_envelope_read (const char *text, char **out_error)
{
  ImapReader reader = {.start = text, .at = text};
  g_autoptr (ImapEnvelope) envelope = NULL;
  bool is_good = imap_take_envelope (&reader, &envelope) && imap_take_end (&reader);
  *out_error = reader.error;
  return is_good ? g_steal_pointer (&envelope) : NULL;
}

static inline ImapBody *
imap_body_read (const char *text, char **out_error)
{
  ImapReader reader = {.start = text, .at = text};
  g_autoptr (GPtrArray) parts = g_ptr_array_new_with_free_func (imap_body_free);
  bool is_good = imap_take_body (&reader, parts) && imap_take_end (&reader);
  *out_error = reader.error;
  return is_good ? g_ptr_array_steal_index (parts, 0) : NULL;
}
