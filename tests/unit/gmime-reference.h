/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gmime-reference.h - holds a summary of ours against what GMime makes of the same message.
 *
 * GMime says of most malformed messages that they are; of those nothing is compared, since two
 * readers of what is no mail need not agree. On the others they differ on purpose:
 *
 *  - NUL bytes. GMime ends the text there, we put '?'. Messages with any are not compared, nor are
 *    those past a limit of ours.
 *  - Addresses. GMime leaves out "<>" and mends "Doe, John <doe@example.com>", leaves comments in
 *    names and takes bytes above 127 for Latin-1; we show what stands there. Only lists of plain
 *    addresses are compared.
 *  - The line end before a boundary. GMime takes its size from the end of the boundary line itself,
 *    so where that is another or none, its sizes are off by one.
 *  - Blanks at the end of a boundary (RFC 2046 allows none). They count for GMime, not for us.
 *  - message/news and the like. GMime reads them as messages; IMAP has no form for that.
 *  - Parameters. GMime mends and decodes what we show as it stands, and we add the default charset
 *    where there is no Content-Type (RFC 2045, 5.2). Only plain parameters are compared.
 *  - A multipart without any part. IMAP wants one.
 */
#pragma once

#include "store/internal.h"
#include "tests/unit/imap-grammar.h"

#include <gmime/gmime.h>

typedef struct {
  bool has_mixed_ends;
  char *difference; /* the first */
} Reference;

static inline bool
reference_differs (Reference *self, const char *what, const char *theirs, const char *ours)
{
  if (self->difference == NULL)
    self->difference =
        g_strdup_printf ("%s: GMime has [%s], we have [%s]", what, theirs == NULL ? "NIL" : theirs,
                         ours == NULL ? "NIL" : ours);
  return false;
}

static inline bool
reference_check_number (Reference *self, const char *what, uint64_t theirs, uint64_t ours)
{
  if (theirs == ours)
    return true;
  g_autofree char *a = g_strdup_printf ("%" G_GUINT64_FORMAT, theirs);
  g_autofree char *b = g_strdup_printf ("%" G_GUINT64_FORMAT, ours);
  return reference_differs (self, what, a, b);
}

static inline bool
reference_check_word (Reference *self, const char *what, const char *theirs, const char *ours)
{
  if (theirs == NULL || ours == NULL ? theirs == ours : g_ascii_strcasecmp (theirs, ours) == 0)
    return true;
  return reference_differs (self, what, theirs, ours);
}

/* ---- fields as they stand
 * ------------------------------------------------------------------------ */

/* The field's value, unfolded and trimmed, when there is exactly one; owned by the caller. */
static inline char *
reference_field (GMimeObject *object, const char *name, int *out_count)
{
  GMimeHeaderList *headers = g_mime_object_get_header_list (object);
  const char *raw = NULL;
  *out_count = 0;
  for (int i = 0; i < g_mime_header_list_get_count (headers); i++) {
    GMimeHeader *header = g_mime_header_list_get_header_at (headers, i);
    if (g_ascii_strcasecmp (g_mime_header_get_name (header), name) == 0 && (*out_count)++ == 0)
      raw = g_mime_header_get_raw_value (header);
  }
  if (raw == NULL)
    return NULL;
  g_autoptr (GString) text = g_string_new (raw);
  g_string_replace (text, "\r\n", "", 0);
  g_string_replace (text, "\n", "", 0);
  return g_strdup (g_strstrip (text->str));
}

static inline bool
reference_check_field (Reference *self, GMimeObject *object, const char *name, const char *ours)
{
  int count;
  g_autofree char *theirs = reference_field (object, name, &count);
  return g_strcmp0 (theirs, ours) == 0 || reference_differs (self, name, theirs, ours);
}

/* ---- addresses ------------------------------------------------------------------------------ */

#define REFERENCE_SPEC                                                                             \
  "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++)*+"                      \
  "@[A-Za-z0-9-]++(?:\\.[A-Za-z0-9-]++)*+"
#define REFERENCE_WORD                                                                             \
  "(?:[A-Za-z0-9_'.-]++|\"[A-Za-z0-9 ,.:;@<>()'-]++\"|=\\?utf-8\\?q\\?[A-Za-z0-9_=]++\\?=)"
#define REFERENCE_PHRASE REFERENCE_WORD "(?:[ \t]++" REFERENCE_WORD ")*+"
#define REFERENCE_MAILBOX                                                                          \
  "(?:" REFERENCE_PHRASE "[ \t]++<" REFERENCE_SPEC ">|<" REFERENCE_SPEC ">|" REFERENCE_SPEC ")"
#define REFERENCE_COMMA "[ \t]*+,[ \t]*+"
#define REFERENCE_GROUP                                                                            \
  REFERENCE_PHRASE ":[ \t]*+(?:" REFERENCE_MAILBOX "(?:" REFERENCE_COMMA REFERENCE_MAILBOX ")*+)?+;"
#define REFERENCE_MEMBER "(?:" REFERENCE_GROUP "|" REFERENCE_MAILBOX ")"

/* Whether nobody can doubt what this list says: names of plain words, quoted strings and encoded
 * words; addresses of dotted atoms; groups that are not nested. */
static inline bool
reference_is_plain_list (const char *text)
{
  return g_regex_match_simple ("^" REFERENCE_MEMBER "(?:" REFERENCE_COMMA REFERENCE_MEMBER ")*+$",
                               text, 0, 0) &&
         strstr (text, "xn--") == NULL;
}

/* Appends a name decoded, without quoting and blanks, in which they may differ. */
static inline void
reference_put (GString *out, const char *text)
{
  g_autofree char *decoded = g_mime_utils_header_decode_phrase (NULL, text == NULL ? "" : text);
  for (const char *p = decoded; *p != '\0'; p++)
    if (*p != '"' && *p != '\\' && !g_ascii_isspace (*p))
      g_string_append_c (out, *p);
}

static inline void
reference_put_theirs (GString *out, InternetAddressList *list)
{
  for (int i = 0; i < internet_address_list_length (list); i++) {
    InternetAddress *address = internet_address_list_get_address (list, i);
    reference_put (out, internet_address_get_name (address));
    if (INTERNET_ADDRESS_IS_GROUP (address)) {
      InternetAddressGroup *group = INTERNET_ADDRESS_GROUP (address);
      g_string_append_c (out, ':');
      reference_put_theirs (out, internet_address_group_get_members (group));
      g_string_append_c (out, ';');
    } else {
      const char *spec = internet_address_mailbox_get_addr (INTERNET_ADDRESS_MAILBOX (address));
      g_string_append_printf (out, "<%s>", spec);
    }
  }
}

static inline void
reference_put_ours (GString *out, const GPtrArray *list)
{
  for (guint i = 0; list != NULL && i < list->len; i++) {
    const ImapAddress *address = g_ptr_array_index (list, i);
    reference_put (out, address->host == NULL ? address->mailbox : address->name);
    if (address->mailbox == NULL)
      g_string_append_c (out, ';');
    else if (address->host == NULL)
      g_string_append_c (out, ':');
    else
      g_string_append_printf (out, "<%s@%s>", address->mailbox, address->host);
  }
}

/* Where there is no such field the list is that of `fallback`. */
static inline bool
reference_check_list (Reference *self, GMimeObject *object, const char *name,
                      const GPtrArray *fallback, const GPtrArray *ours)
{
  int count;
  g_autofree char *field = reference_field (object, name, &count);
  g_autoptr (GString) a = g_string_new (NULL);
  g_autoptr (GString) b = g_string_new (NULL);
  reference_put_ours (b, ours);
  if (count == 0) {
    reference_put_ours (a, fallback);
  } else if (count == 1 && reference_is_plain_list (field)) {
    InternetAddressList *list = internet_address_list_parse (NULL, field);
    reference_put_theirs (a, list);
    g_object_unref (list);
  } else {
    return true;
  }
  return strcmp (a->str, b->str) == 0 || reference_differs (self, name, a->str, b->str);
}

/* ---- bodies --------------------------------------------------------------------------------- */

static inline bool reference_check_message (Reference *self, GMimeMessage *message,
                                            const ImapEnvelope *envelope, const ImapBody *body);

#define REFERENCE_TOKEN     "[A-Za-z0-9!#$%&'+.^_`{|}~-]++"
#define REFERENCE_PARAMETER REFERENCE_TOKEN "=(?:" REFERENCE_TOKEN "|\"[ !#-[\\]-~]*+\")"

/* Whether nobody can doubt what this Content-Type or Content-Disposition says: one or two tokens,
 * and parameters with tokens or quoted strings for values. */
static inline bool
reference_is_plain_field (const char *text)
{
  return g_regex_match_simple ("^" REFERENCE_TOKEN "(?:/" REFERENCE_TOKEN ")?"
                               "(?:[ \t]*+;[ \t]*+" REFERENCE_PARAMETER ")*+[ \t]*+;?+$",
                               text, 0, 0);
}

static inline bool
reference_check_parameters (Reference *self, GMimeParamList *list, const GPtrArray *ours)
{
  guint theirs = list == NULL ? 0 : g_mime_param_list_length (list);
  if (!reference_check_number (self, "parameters", theirs, ours == NULL ? 0 : ours->len / 2))
    return false;
  for (guint i = 0; i < theirs; i++) {
    GMimeParam *param = g_mime_param_list_get_parameter_at (list, i);
    const char *name = g_ptr_array_index (ours, 2 * i);
    const char *value = g_ptr_array_index (ours, 2 * i + 1);
    g_autofree char *decoded = g_mime_utils_header_decode_text (NULL, value);
    if (!reference_check_word (self, "parameter", g_mime_param_get_name (param), name))
      return false;
    if (strcmp (g_mime_param_get_value (param), decoded) != 0)
      return reference_differs (self, name, g_mime_param_get_value (param), decoded);
  }
  return true;
}

/* Sets `*out_plain` to false where there is nothing to say about the part. */
static inline bool
reference_check_type (Reference *self, GMimeObject *object, const ImapBody *body, bool *out_plain)
{
  GMimeContentType *theirs = g_mime_object_get_content_type (object);
  int count;
  g_autofree char *field = reference_field (object, "Content-Type", &count);
  *out_plain = count == 0 || (count == 1 && reference_is_plain_field (field));
  if (!*out_plain)
    return true;
  return reference_check_word (self, "type", g_mime_content_type_get_media_type (theirs),
                               body->type == NULL ? "multipart" : body->type) &&
         reference_check_word (self, "subtype", g_mime_content_type_get_media_subtype (theirs),
                               body->subtype) &&
         (count == 0 || reference_check_parameters (
                            self, g_mime_content_type_get_parameters (theirs), body->parameters));
}

static inline bool
reference_check_disposition (Reference *self, GMimeObject *object, const ImapBody *body)
{
  GMimeContentDisposition *theirs = g_mime_object_get_content_disposition (object);
  int count;
  g_autofree char *field = reference_field (object, "Content-Disposition", &count);
  if (count != 1 || !reference_is_plain_field (field))
    return true;
  return reference_check_word (self, "disposition",
                               g_mime_content_disposition_get_disposition (theirs),
                               body->disposition) &&
         reference_check_parameters (self, g_mime_content_disposition_get_parameters (theirs),
                                     body->disposition_parameters);
}

static inline bool
reference_check_content (Reference *self, GMimePart *part, const ImapBody *body)
{
  GMimeDataWrapper *content = g_mime_part_get_content (part);
  GMimeStream *stream = content == NULL ? NULL : g_mime_data_wrapper_get_stream (content);
  uint64_t size = stream == NULL ? 0 : g_mime_stream_length (stream);
  if (!self->has_mixed_ends && !reference_check_number (self, "size", size, body->size))
    return false;
  if (g_ascii_strcasecmp (body->type, "TEXT") != 0 || stream == NULL || self->has_mixed_ends)
    return true;
  g_autofree char *text = g_malloc (size + 1);
  g_mime_stream_reset (stream);
  if (g_mime_stream_read (stream, text, size) != (ssize_t)size)
    return reference_differs (self, "content", "less than its size", "a size");
  uint64_t lines = size > 0 && text[size - 1] != '\n';
  for (uint64_t i = 0; i < size; i++)
    lines += text[i] == '\n';
  return reference_check_number (self, "lines", lines, body->lines);
}

static inline bool
reference_check_body (Reference *self, GMimeObject *object, const ImapBody *body)
{
  bool is_plain;
  if (!reference_check_type (self, object, body, &is_plain))
    return false;
  const char *boundary = g_mime_object_get_content_type_parameter (object, "boundary");
  if (!is_plain || (boundary != NULL && g_str_has_suffix (boundary, " ")))
    return true;
  if (!reference_check_disposition (self, object, body) ||
      !reference_check_field (self, object, "Content-Location", body->location))
    return false;
  if (GMIME_IS_MULTIPART (object)) {
    GMimeMultipart *multipart = GMIME_MULTIPART (object);
    guint count = g_mime_multipart_get_count (multipart);
    if (!reference_check_number (self, "parts", MAX (count, 1), body->parts->len))
      return false;
    for (guint i = 0; i < count; i++)
      if (!reference_check_body (self, g_mime_multipart_get_part (multipart, i),
                                 g_ptr_array_index (body->parts, i)))
        return false;
    return true;
  }
  if (!reference_check_field (self, object, "Content-ID", body->id) ||
      !reference_check_field (self, object, "Content-Description", body->description) ||
      !reference_check_field (self, object, "Content-MD5", body->md5))
    return false;
  if (GMIME_IS_MESSAGE_PART (object)) {
    GMimeMessage *message = g_mime_message_part_get_message (GMIME_MESSAGE_PART (object));
    return message == NULL || body->parts == NULL ||
           reference_check_message (self, message, body->envelope,
                                    g_ptr_array_index (body->parts, 0));
  }
  return !GMIME_IS_PART (object) || reference_check_content (self, GMIME_PART (object), body);
}

static inline bool
reference_check_message (Reference *self, GMimeMessage *message, const ImapEnvelope *envelope,
                         const ImapBody *body)
{
  GMimeObject *object = GMIME_OBJECT (message);
  const GPtrArray *const *lists = (const GPtrArray *const *)envelope->lists;
  return reference_check_list (self, object, "From", NULL, lists[0]) &&
         reference_check_list (self, object, "Sender", lists[0], lists[1]) &&
         reference_check_list (self, object, "Reply-To", lists[0], lists[2]) &&
         reference_check_list (self, object, "To", NULL, lists[3]) &&
         reference_check_list (self, object, "Cc", NULL, lists[4]) &&
         reference_check_list (self, object, "Bcc", NULL, lists[5]) &&
         reference_check_field (self, object, "Date", envelope->date) &&
         reference_check_field (self, object, "Subject", envelope->subject) &&
         reference_check_field (self, object, "Message-ID", envelope->message_id) &&
         reference_check_field (self, object, "In-Reply-To", envelope->in_reply_to) &&
         reference_check_body (self, g_mime_message_get_mime_part (message), body);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static inline void
reference_warn (gint64 offset, GMimeParserWarning code, const char *item, gpointer user_data)
{
  /* Of these the above takes care, or they say nothing of the structure. */
  bool is_harmless = code == GMIME_WARN_UNENCODED_8BIT_HEADER ||
                     code == GMIME_WARN_INVALID_RFC2047_HEADER_VALUE ||
                     code == GMIME_WARN_INVALID_ADDRESS_LIST;
  if (!is_harmless)
    *(bool *)user_data = true;
}

#ifdef GMIME_FREES_CALLBACK_DATA
#define set_warning_callback(options, warn, data)                                                  \
  g_mime_parser_options_set_warning_callback (options, warn, data, NULL)
#else
#define set_warning_callback g_mime_parser_options_set_warning_callback
#endif

/* Returns what differs, NULL for nothing; owned by the caller. `*out_compared` is false for a
 * message that was not compared. */
static inline char *
reference_compare (const uint8_t *bytes, size_t size, const StoreSummary *summary,
                   bool *out_compared)
{
  GMimeStream *stream = g_mime_stream_mem_new_with_buffer ((const char *)bytes, size);
  GMimeParser *parser = g_mime_parser_new_with_stream (stream);
  g_mime_parser_set_persist_stream (parser, TRUE);
  GMimeParserOptions *options = g_mime_parser_options_new ();
  bool is_malformed = false;
  set_warning_callback (options, reference_warn, &is_malformed);
  GMimeMessage *message = g_mime_parser_construct_message (parser, options);

  Reference self = {0};
  for (size_t i = 0; i < size && !self.has_mixed_ends; i++)
    self.has_mixed_ends = bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r');
  self.has_mixed_ends |= size > 0 && bytes[size - 1] != '\n';
  self.has_mixed_ends &= memmem (bytes, size, "\r\n", 2) != NULL;

  *out_compared = !is_malformed && message != NULL && summary->damage == 0;
  if (*out_compared) {
    g_autofree char *error = NULL;
    g_autoptr (ImapEnvelope) envelope = imap_envelope_read (summary->envelope, &error);
    g_autoptr (ImapBody) body = imap_body_read (summary->bodystructure, &error);
    reference_check_message (&self, message, envelope, body);
  }
  g_mime_parser_options_free (options);
  g_clear_object (&message);
  g_object_unref (parser);
  g_object_unref (stream);
  return self.difference;
}
