/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parse.h"

#include <string.h>

/* What of a Date, Subject, In-Reply-To or Message-ID is kept, and what that takes at most in IMAP's
 * spelling. */
#define TEXT_MAX  4096u
#define TEXT_ROOM (TEXT_MAX + 16u)

/* Left free by the lists of addresses: their ends, and the two texts that follow them. */
#define RESERVE (2 * TEXT_ROOM + 6 * 32u)

static bool
put_text (GString *out, const char *text)
{
  if (text == NULL || strlen (text) <= TEXT_MAX) {
    parse_put_nstring (out, text);
    return true;
  }
  parse_put_string (out, text, TEXT_MAX);
  return false;
}

/* One list; where the field is absent or empty, `fallback` bytes from `out` itself, or NIL. */
static bool
put_list (GString *out, const char *text, size_t limit, size_t fallback, size_t fallback_size)
{
  size_t start = out->len;
  bool is_whole = parse_put_addresses (out, text == NULL ? "" : text, limit);
  if (fallback_size == 0 || out->str[start] == '(')
    return is_whole;
  if (start + fallback_size > limit)
    return false;
  g_string_truncate (out, start);
  g_autofree char *copy = g_strndup (out->str + fallback, fallback_size);
  g_string_append_len (out, copy, fallback_size);
  return is_whole;
}

bool
parse_put_envelope (GString *out, const ParseHeader *header)
{
  size_t limit = out->len + PARSE_ENVELOPE_MAX - RESERVE;
  g_string_append_c (out, '(');
  bool is_whole = put_text (out, parse_header_get (header, PARSE_FIELD_DATE));
  g_string_append_c (out, ' ');
  is_whole &= put_text (out, parse_header_get (header, PARSE_FIELD_SUBJECT));

  size_t from = 0, from_size = 0;
  for (ParseField field = PARSE_FIELD_FROM; field <= PARSE_FIELD_BCC; field++) {
    g_string_append_c (out, ' ');
    bool is_like_from = field == PARSE_FIELD_SENDER || field == PARSE_FIELD_REPLY_TO;
    size_t start = out->len;
    is_whole &=
        put_list (out, parse_header_get (header, field), limit, from, is_like_from ? from_size : 0);
    if (field == PARSE_FIELD_FROM) {
      from = start;
      from_size = out->len - start;
    }
  }

  g_string_append_c (out, ' ');
  is_whole &= put_text (out, parse_header_get (header, PARSE_FIELD_IN_REPLY_TO));
  g_string_append_c (out, ' ');
  is_whole &= put_text (out, parse_header_get (header, PARSE_FIELD_MESSAGE_ID));
  g_string_append_c (out, ')');
  return is_whole;
}
