/* SPDX-License-Identifier: Apache-2.0 */
/* All the text of a message, to search in. */
#include "store/parts.h"

#include <string.h>

/* Longer ones are no entities, nor names of tags that matter. */
#define WORD_MAX 10u

/* Where text goes, and where in HTML it stands. */
typedef struct {
  GString *out;
  size_t limit;
  bool is_html;
  bool is_tag, is_quiet; /* in a tag; in an element that is no text */
  bool is_entity;
  GString *word; /* that entity, or the name of that tag */
  bool is_name;  /* which has not ended */
  char last;     /* in the tag, but for blanks */
  char quote;    /* in the value of an attribute: how it ends; NUL: in none */
} Text;

static void
put_char (Text *self, char c)
{
  if (!self->is_quiet)
    g_string_append_c (self->out, c != '\0' ? c : ' ');
}

static void
put_text (Text *self, const char *text)
{
  if (!self->is_quiet)
    g_string_append (self->out, text);
}

/* ---- HTML ----------------------------------------------------------------------------------- */

static gunichar
find_entity (const char *name)
{
  static const struct {
    const char *name;
    gunichar c;
  } entities[] = {{"amp", '&'},     {"lt", '<'},       {"gt", '>'},       {"quot", '"'},
                  {"apos", '\''},   {"nbsp", ' '},     {"auml", 0xe4},    {"ouml", 0xf6},
                  {"uuml", 0xfc},   {"Auml", 0xc4},    {"Ouml", 0xd6},    {"Uuml", 0xdc},
                  {"szlig", 0xdf},  {"eacute", 0xe9},  {"egrave", 0xe8},  {"agrave", 0xe0},
                  {"euro", 0x20ac}, {"ndash", 0x2013}, {"mdash", 0x2014}, {"rsquo", 0x2019}};
  if (name[0] == '#') {
    bool is_hex = (name[1] | 0x20) == 'x';
    guint64 c = g_ascii_strtoull (name + 1 + is_hex, NULL, is_hex ? 16 : 10);
    return c < 0x110000 && g_unichar_validate ((gunichar)c) ? (gunichar)c : 0;
  }
  for (size_t i = 0; i < G_N_ELEMENTS (entities); i++)
    if (strcmp (entities[i].name, name) == 0)
      return entities[i].c;
  return 0;
}

/* The entity is complete, or is none: then it is text. */
static void
end_entity (Text *self, bool is_whole)
{
  gunichar c = is_whole ? find_entity (self->word->str) : 0;
  char text[8] = "";
  if (c != 0) {
    text[g_unichar_to_utf8 (c, text)] = '\0';
    put_text (self, text);
  } else {
    put_char (self, '&');
    put_text (self, self->word->str);
    if (is_whole)
      put_char (self, ';');
  }
  self->is_entity = false;
}

/* What is in scripts and styles is not for readers. Blocks part words; tags within a line do not.
 */
static void
end_tag (Text *self)
{
  static const char *const inner[] = {"a",    "b",  "i",    "u",    "em",    "strong", "span",
                                      "font", "tt", "code", "mark", "small", "sub",    "sup"};
  g_autofree char *name = g_ascii_strdown (self->word->str, -1);
  const char *bare = name + (*name == '/');
  if (strcmp (bare, "script") == 0 || strcmp (bare, "style") == 0)
    self->is_quiet = *name != '/';
  bool is_inner = false;
  for (size_t i = 0; i < G_N_ELEMENTS (inner); i++)
    is_inner = is_inner || strcmp (bare, inner[i]) == 0;
  if (!is_inner)
    put_char (self, ' ');
  self->is_tag = false;
}

static void
begin_tag (Text *self)
{
  self->is_tag = self->is_name = true;
  self->quote = self->last = '\0';
  g_string_truncate (self->word, 0);
}

/* A quote stands behind an '='; else it is an apostrophe in a comment, or a mistake. */
static void
take_in_tag (Text *self, char c)
{
  bool is_blank = g_ascii_isspace (c);
  if (self->quote != '\0')
    self->quote = c == self->quote ? '\0' : self->quote;
  else if (c == '>')
    end_tag (self);
  else if (c == '<')
    begin_tag (self);
  else if ((c == '"' || c == '\'') && self->last == '=')
    self->quote = c;
  else if (is_blank)
    self->is_name = false;
  else if (self->is_name && self->word->len < WORD_MAX)
    g_string_append_c (self->word, c);
  self->last = is_blank ? self->last : c;
}

static void
take_html (Text *self, char c)
{
  if (self->is_tag) {
    take_in_tag (self, c);
    return;
  }
  if (self->is_entity && (g_ascii_isalnum (c) || c == '#') && self->word->len < WORD_MAX) {
    g_string_append_c (self->word, c);
    return;
  }
  bool is_entity_end = self->is_entity && c == ';';
  if (self->is_entity)
    end_entity (self, is_entity_end);
  if (is_entity_end)
    return;
  if (c == '<' || c == '&') {
    g_string_truncate (self->word, 0);
    self->is_entity = c == '&';
    if (c == '<')
      begin_tag (self);
    return;
  }
  put_char (self, c);
}

/* ---- all of it ------------------------------------------------------------------------------ */

static bool
take_bytes (const char *bytes, size_t size, void *data, GError **error)
{
  Text *self = data;
  for (size_t i = 0; i < size && self->out->len < self->limit; i++)
    if (self->is_html)
      take_html (self, bytes[i]);
    else
      put_char (self, bytes[i]);
  return true;
}

char *
store_parts_text (const StoreParts *self, int fd, size_t limit, GError **error)
{
  g_autoptr (GString) out = g_string_new (NULL);
  g_autoptr (GString) word = g_string_new (NULL);
  for (uint32_t i = 0; i < store_parts_count (self) && out->len < limit; i++) {
    const StorePart *part = store_parts_get (self, i);
    PartSource source = part_source (self, i);
    Text text = {.out = out, .limit = limit, .word = word};
    text.is_html = strcmp (part->type, "text/html") == 0;
    if (part->kind != STORE_PART_TEXT)
      continue;
    if (!part_decode (fd, &source, take_bytes, &text, error))
      return NULL;
    if (text.is_entity)
      end_entity (&text, false);
    g_string_append_c (out, '\n');
  }
  /* The limit may have cut a character. */
  if (out->len > limit)
    g_string_truncate (out, limit);
  const char *end;
  g_utf8_validate (out->str, (gssize)out->len, &end);
  g_string_truncate (out, (gsize)(end - out->str));
  return g_string_free (g_steal_pointer (&out), FALSE);
}
