/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of addresses (RFC 5322, 3.4 and 4.4) as ENVELOPE wants them: (name route mailbox host) for
 * each, and a group between (NIL NIL "its name" NIL) and (NIL NIL NIL NIL).
 *
 * Mail holds every mistake there is, so nothing is refused: what stands between two commas is an
 * address, however odd. One without a domain has the host "", since NIL would begin a group.
 * Encoded words stay as they are; quoting is taken away.
 */
#include "store/parse.h"

#include <string.h>

/* Text without quoting and comments, with each run of blanks made one, and where in it an addr-spec
 * lies. */
typedef struct {
  GString *text;
  bool is_gap;  /* a blank came after `text` */
  bool is_spec; /* this is an addr-spec: blanks around its dots mean nothing */
  size_t word;  /* start of the last word */
  bool has_at;  /* an '@' stands outside quotes; the last one is at `at` */
  size_t at;
  size_t local; /* start of the word before it */
} Words;

typedef struct {
  const char *at;
  Words outer, inner; /* what stands outside of <> and inside */
  GString *comment;   /* the last one */
  GString *route;
  bool has_angle, in_group;
  GString *out;
  size_t limit;
  bool is_cut;
} Addresses;

static void
words_reset (Words *self)
{
  g_string_truncate (self->text, 0);
  self->is_gap = self->has_at = false;
  self->word = 0;
}

/* Makes ready for text that begins with `next`: puts the blank that came before it. */
static void
words_continue (Words *self, char next)
{
  size_t size = self->text->len;
  bool is_dotted = (self->is_spec || self->has_at) &&
                   (next == '.' || (size > 0 && self->text->str[size - 1] == '.'));
  if (self->is_gap && size > 0 && !is_dotted) {
    g_string_append_c (self->text, ' ');
    self->word = self->text->len;
  }
  self->is_gap = false;
}

static void
words_put_at (Words *self)
{
  /* "joe @ example.com" is allowed, if obsolete: blanks around the sign mean nothing. */
  self->local = self->word;
  words_continue (self, '@');
  self->has_at = true;
  self->at = self->text->len;
  g_string_append_c (self->text, '@');
}

/* The size of the encoded word at `text` (RFC 2047, 2); 0 when it is none. */
static size_t
measure_encoded_word (const char *text)
{
  if (text[0] != '=' || text[1] != '?')
    return 0;
  unsigned marks = 0;
  for (size_t i = 1; g_ascii_isgraph (text[i]); i++)
    if (text[i] == '?' && ++marks >= 4)
      return text[i + 1] == '=' ? i + 2 : 0;
  return 0;
}

static bool
is_plain (char c)
{
  return c != '\0' && strchr (" \t\r\n()<>@,;:\"", c) == NULL;
}

/* Takes blanks, a comment, a quoted string or a word, whichever comes. */
static void
take_words (Addresses *self, Words *words)
{
  const char *at = self->at;
  switch (*at) {
  case ' ':
  case '\t':
  case '\r':
  case '\n':
    words->is_gap = true;
    self->at++;
    break;
  case '(':
    words->is_gap = true;
    g_string_truncate (self->comment, 0);
    parse_take_comment (&self->at, self->comment);
    break;
  case '"':
    words_continue (words, *at);
    parse_take_quoted (&self->at, words->text);
    break;
  case '@':
    words_put_at (words);
    self->at++;
    break;
  default: {
    words_continue (words, *at);
    size_t size = measure_encoded_word (at);
    if (size == 0)
      for (size = 1; is_plain (at[size]);)
        size++;
    g_string_append_len (words->text, at, size);
    self->at += size;
  }
  }
}

/* "<" [ "@a,@b:" ] local "@" domain ">" */
static void
take_angle (Addresses *self)
{
  self->has_angle = true;
  words_reset (&self->inner);
  g_string_truncate (self->route, 0);
  self->at++;
  self->at += strspn (self->at, " \t");
  if (*self->at == '@') {
    size_t size = strcspn (self->at, ":<>");
    if (self->at[size] == ':') {
      g_string_append_len (self->route, self->at, size);
      self->at += size + 1;
    }
  }
  while (*self->at != '\0' && *self->at != '>' && *self->at != ',')
    take_words (self, &self->inner);
  if (*self->at == '>')
    self->at++;
}

/* NIL; anything else has a text, if an empty one. */
static const ParseSlice nil;

/* Bytes `start` to `end` of the words, without blanks around them. */
static ParseSlice
words_slice (const Words *self, size_t start, size_t end)
{
  const char *text = self->text->str;
  while (start < end && text[start] == ' ')
    start++;
  while (start < end && text[end - 1] == ' ')
    end--;
  return (ParseSlice){text + start, end - start};
}

static void
put_tuple (Addresses *self, ParseSlice name, ParseSlice route, ParseSlice mailbox, ParseSlice host)
{
  const ParseSlice members[] = {name, route, mailbox, host};
  size_t start = self->out->len;
  for (size_t i = 0; i < G_N_ELEMENTS (members); i++) {
    g_string_append_c (self->out, i == 0 ? '(' : ' ');
    if (members[i].text == NULL)
      g_string_append (self->out, "NIL");
    else
      parse_put_string (self->out, members[i].text, members[i].size);
  }
  g_string_append_c (self->out, ')');
  if (self->out->len > self->limit) {
    g_string_truncate (self->out, start);
    self->is_cut = true;
  }
}

static void
end_address (Addresses *self)
{
  const Words *outer = &self->outer;
  const Words *spec = self->has_angle ? &self->inner : outer;
  size_t start = 0;
  size_t end = spec->text->len;
  ParseSlice name = nil;
  if (self->has_angle) {
    name = words_slice (outer, 0, outer->text->len);
  } else if (outer->has_at) {
    start = outer->local;
    name = words_slice (outer, 0, start);
  }
  if (self->has_angle || end > 0) {
    if (name.size == 0)
      name = self->comment->len == 0 ? nil : (ParseSlice){self->comment->str, self->comment->len};
    ParseSlice route = nil;
    if (self->has_angle && self->route->len > 0)
      route = (ParseSlice){self->route->str, self->route->len};
    size_t at = spec->has_at ? spec->at : end;
    ParseSlice host = words_slice (spec, MIN (at + 1, end), end);
    const char *blank = self->has_angle ? NULL : memchr (host.text, ' ', host.size);
    if (blank != NULL)
      host.size = blank - host.text;
    put_tuple (self, name, route, words_slice (spec, start, at), host);
  }
  words_reset (&self->outer);
  g_string_truncate (self->comment, 0);
  self->has_angle = false;
}

static void
end_group (Addresses *self)
{
  if (self->in_group)
    g_string_append (self->out, "(NIL NIL NIL NIL)");
  self->in_group = false;
}

static void
begin_group (Addresses *self)
{
  end_group (self);
  put_tuple (self, nil, nil, words_slice (&self->outer, 0, self->outer.text->len), nil);
  self->in_group = !self->is_cut;
  words_reset (&self->outer);
}

static void
take_list (Addresses *self)
{
  while (*self->at != '\0' && !self->is_cut) {
    char c = *self->at;
    bool is_group = c == ':' && !self->has_angle && !self->outer.has_at;
    if (c == '<') {
      if (self->has_angle)
        end_address (self);
      take_angle (self);
    } else if (c == ',' || c == ';' || is_group) {
      self->at++;
      if (is_group)
        begin_group (self);
      else
        end_address (self);
      if (c == ';')
        end_group (self);
    } else {
      /* A word after "<...>" begins another address, whose comma was forgotten. */
      if (self->has_angle && is_plain (c))
        end_address (self);
      take_words (self, &self->outer);
    }
  }
  if (!self->is_cut)
    end_address (self);
  end_group (self);
}

bool
parse_put_addresses (GString *out, const char *text, size_t limit)
{
  size_t start = out->len;
  Addresses list = {.at = text, .out = out, .limit = limit};
  list.outer.text = g_string_new (NULL);
  list.inner = (Words){.text = g_string_new (NULL), .is_spec = true};
  list.comment = g_string_new (NULL);
  list.route = g_string_new (NULL);
  g_string_append_c (out, '(');
  take_list (&list);
  if (out->len == start + 1) {
    g_string_truncate (out, start);
    g_string_append (out, "NIL");
  } else {
    g_string_append_c (out, ')');
  }
  g_string_free (list.outer.text, TRUE);
  g_string_free (list.inner.text, TRUE);
  g_string_free (list.comment, TRUE);
  g_string_free (list.route, TRUE);
  return !list.is_cut;
}
