/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parse.h"

#include <gmime/gmime.h>
#include <string.h>

void
store_summary_clear (StoreSummary *summary)
{
  if (summary == NULL)
    return;
  g_clear_pointer (&summary->envelope, g_free);
  g_clear_pointer (&summary->bodystructure, g_free);
}

/* ---- reading an ENVELOPE -------------------------------------------------------------------- */

/* What is read may come from a damaged index: anything may be anywhere, and then the reading stops.
 */

static void
skip_blanks (const char **at)
{
  while (**at == ' ')
    (*at)++;
}

/* Takes a string or NIL. Returns NULL for NIL and for what is neither; `*at` does not move then but
 * for NIL. Owned by the caller. */
static char *
take_nstring (const char **at)
{
  skip_blanks (at);
  if (**at == '"') {
    GString *text = g_string_new (NULL);
    parse_take_quoted (at, text);
    return g_string_free (text, FALSE);
  }
  if (**at == '{') {
    char *end;
    guint64 size = g_ascii_strtoull (*at + 1, &end, 10);
    if (strncmp (end, "}\r\n", 3) != 0 || strnlen (end + 3, size) < size)
      return NULL;
    *at = end + 3 + size;
    return g_strndup (end + 3, size);
  }
  if (strncmp (*at, "NIL", 3) == 0)
    *at += 3;
  return NULL;
}

static bool
take_char (const char **at, char c)
{
  skip_blanks (at);
  if (**at != c)
    return false;
  (*at)++;
  return true;
}

/* Passes over an envelope's member: a string, NIL or a list of addresses. */
static void
skip_member (const char **at)
{
  unsigned depth = 0;
  const char *before;
  do {
    before = *at;
    if (take_char (at, '('))
      depth++;
    else if (depth > 0 && take_char (at, ')'))
      depth--;
    else
      g_free (take_nstring (at));
  } while (depth > 0 && *at != before);
}

/* ---- putting it for people ------------------------------------------------------------------ */

/* Takes `text` over; returns it as valid UTF-8 without control characters. */
static char *
clean_text (char *text)
{
  g_autofree char *owned = text;
  g_autofree char *valid = g_utf8_make_valid (owned, -1);
  GString *out = g_string_new (NULL);
  for (const char *p = valid; *p != '\0'; p = g_utf8_next_char (p)) {
    gunichar c = g_utf8_get_char (p);
    g_string_append_unichar (out, g_unichar_iscntrl (c) ? ' ' : c);
  }
  return g_string_free (out, FALSE);
}

/* Takes bytes that are not UTF-8 for Latin-1. */
char *
parse_decode_text (const char *text)
{
  return clean_text (g_mime_utils_header_decode_text (NULL, text));
}

/* Appends a word, quoted when it would be read as something else. */
static void
put_word (GString *out, const char *text, const char *specials)
{
  if (strpbrk (text, specials) == NULL) {
    g_string_append (out, text);
    return;
  }
  g_string_append_c (out, '"');
  for (const char *p = text; *p != '\0'; p++) {
    if (*p == '"' || *p == '\\')
      g_string_append_c (out, '\\');
    g_string_append_c (out, *p);
  }
  g_string_append_c (out, '"');
}

static void
put_name (GString *out, const char *name)
{
  g_autofree char *text = parse_decode_text (name);
  put_word (out, text, "()<>[]:;@\\,\"");
}

static void
put_mailbox (GString *out, const char *mailbox, const char *host)
{
  g_autofree char *local = clean_text (g_strdup (mailbox == NULL ? "" : mailbox));
  g_autofree char *domain = clean_text (g_strdup (host));
  put_word (out, local, "()<>[]:;@\\,\" ");
  if (*domain != '\0')
    g_string_append_printf (out, "@%s", domain);
}

/* Takes one (name route mailbox host). Returns false when there is none. */
static bool
take_address (const char **at, GString *out)
{
  if (!take_char (at, '('))
    return false;
  g_autofree char *name = take_nstring (at);
  g_free (take_nstring (at)); /* a route says nothing to people */
  g_autofree char *mailbox = take_nstring (at);
  g_autofree char *host = take_nstring (at);
  bool is_group = host == NULL && mailbox != NULL;
  bool is_group_end = host == NULL && mailbox == NULL;
  bool is_after_group = g_str_has_suffix (out->str, ": ");
  if (out->len > 0 && !is_after_group && !is_group_end)
    g_string_append (out, ", ");
  if (is_group_end) {
    g_string_append_c (out, ';');
  } else if (is_group) {
    put_name (out, mailbox);
    g_string_append (out, ": ");
  } else if (name == NULL) {
    put_mailbox (out, mailbox, host);
  } else {
    put_name (out, name);
    g_string_append (out, " <");
    put_mailbox (out, mailbox, host);
    g_string_append_c (out, '>');
  }
  return take_char (at, ')');
}

static char *
take_addresses (const char **at)
{
  if (!take_char (at, '('))
    return NULL;
  GString *out = g_string_new (NULL);
  while (take_address (at, out))
    ;
  return g_string_free (out, FALSE);
}

char *
store_summary_field (const StoreSummary *summary, const char *field)
{
  enum Kind { PLAIN, TEXT, ADDRESSES };
  static const struct {
    const char *name;
    enum Kind kind;
  } members[] = {
      {"date", PLAIN},         {"subject", TEXT},     {"from", ADDRESSES}, {"sender", ADDRESSES},
      {"reply-to", ADDRESSES}, {"to", ADDRESSES},     {"cc", ADDRESSES},   {"bcc", ADDRESSES},
      {"in-reply-to", PLAIN},  {"message-id", PLAIN},
  };
  size_t i = 0;
  while (i < G_N_ELEMENTS (members) && strcmp (members[i].name, field) != 0)
    i++;
  if (i == G_N_ELEMENTS (members) || summary->envelope == NULL)
    return NULL;
  const char *at = summary->envelope;
  if (!take_char (&at, '('))
    return NULL;
  for (size_t skipped = 0; skipped < i; skipped++)
    skip_member (&at);
  if (members[i].kind == ADDRESSES)
    return take_addresses (&at);
  g_autofree char *text = take_nstring (&at);
  if (text == NULL)
    return NULL;
  if (members[i].kind == TEXT)
    return parse_decode_text (text);
  return clean_text (g_steal_pointer (&text));
}
