/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries: `from:alice subject:"the invoice" since:2026-01-01 -flag:seen`.
 *
 * One table says which keys there are, what their values are, and what they are compared with.
 */
#include "store/query.h"

#include <string.h>

/* More is no question that somebody asks. */
#define QUERY_BYTES_MAX 4096u
#define QUERY_TERMS_MAX 64u

typedef bool (*ParseFunc) (QueryTerm *term, const char *value, GError **error);
typedef bool (*RowFunc) (const QueryTerm *term, const StoreMessage *message);

struct QueryKey {
  const char *name; /* NULL: of words without one */
  QueryStage stage;
  ParseFunc parse;
  RowFunc holds;         /* of a row */
  const char *fields[4]; /* of the header, as store_summary_field() calls them */
};

static void
clear_term (gpointer data)
{
  QueryTerm *term = data;
  g_free (term->text);
  g_clear_pointer (&term->uids, g_array_unref);
}

/* ---- text ---------------------------------------------------------------------------------- */

/* One space for each run of blanks, so that a phrase is found across the end of a line. */
static void
put_blanks_together (char *text)
{
  char *to = text;
  for (const char *from = text; *from != '\0'; from++) {
    bool blank = *from == ' ' || (*from >= '\t' && *from <= '\r');
    if (!blank)
      *to++ = *from;
    else if (to == text || to[-1] != ' ')
      *to++ = ' ';
  }
  *to = '\0';
}

char *
query_fold (const char *text)
{
  char *folded;
  if (g_str_is_ascii (text)) {
    folded = g_ascii_strdown (text, -1);
  } else {
    g_autofree char *valid = g_utf8_make_valid (text, -1);
    g_autofree char *composed = g_utf8_normalize (valid, -1, G_NORMALIZE_ALL_COMPOSE);
    folded = g_utf8_casefold (composed, -1);
  }
  put_blanks_together (folded);
  return folded;
}

/* ---- values -------------------------------------------------------------------------------- */

static bool
parse_text (QueryTerm *term, const char *value, GError **error)
{
  g_autofree char *folded = query_fold (value);
  term->text = g_strdup (g_strstrip (folded));
  return *term->text != '\0' || fail (error, EINVAL, "there is nothing to look for in it");
}

static bool
parse_place (QueryTerm *term, const char *value, GError **error)
{
  const char *from = value + strspn (value, "/");
  size_t length = strlen (from);
  while (length > 0 && from[length - 1] == '/')
    length--;
  g_autofree char *names = g_strndup (from, length);
  return parse_text (term, names, error);
}

/* A year, a month or a day, in UTC: from when to when. */
static bool
parse_period (const char *value, int64_t *out_from_s, int64_t *out_to_s)
{
  static const char pattern[] = "dddd-dd-dd";
  int part[3] = {0, 1, 1}; /* year, month, day */
  size_t length = strlen (value), field = 0;
  if (length != 4 && length != 7 && length != 10)
    return false;
  for (size_t i = 0; i < length; i++) {
    bool digit = pattern[i] == 'd';
    if (digit ? !g_ascii_isdigit (value[i]) : value[i] != '-')
      return false;
    field += !digit;
    if (!digit)
      part[field] = 0;
    else
      part[field] = part[field] * 10 + (value[i] - '0');
  }
  g_autoptr (GDateTime) from = g_date_time_new_utc (part[0], part[1], part[2], 0, 0, 0);
  g_autoptr (GDateTime) to = from == NULL  ? NULL
                             : length == 4 ? g_date_time_add_years (from, 1)
                             : length == 7 ? g_date_time_add_months (from, 1)
                                           : g_date_time_add_days (from, 1);
  if (to == NULL)
    return false;
  *out_from_s = g_date_time_to_unix (from);
  *out_to_s = g_date_time_to_unix (to);
  return true;
}

/* In the order of times, also of those before 1970. */
static uint64_t
time_value (int64_t time_s)
{
  return (uint64_t)time_s ^ G_GUINT64_CONSTANT (1) << 63;
}

static bool
parse_since (QueryTerm *term, const char *value, GError **error)
{
  int64_t from_s, to_s, age_s;
  if (!parse_period (value, &from_s, &to_s)) {
    if (!store_age_parse (value, &age_s, NULL))
      return fail (error, EINVAL, "it takes a date, 2026-01-31, or a span of time, 7d");
    from_s = record_now () - age_s;
  }
  term->least = time_value (from_s);
  term->most = UINT64_MAX;
  return true;
}

static bool
parse_before (QueryTerm *term, const char *value, GError **error)
{
  if (!parse_since (term, value, error))
    return false;
  term->most = term->least;
  term->least = 0;
  return true;
}

static bool
parse_on (QueryTerm *term, const char *value, GError **error)
{
  int64_t from_s, to_s;
  if (!parse_period (value, &from_s, &to_s))
    return fail (error, EINVAL, "it takes a day, 2026-01-31, a month or a year");
  term->least = time_value (from_s);
  term->most = time_value (to_s);
  return true;
}

static bool
parse_larger (QueryTerm *term, const char *value, GError **error)
{
  if (!store_size_parse (value, &term->least, NULL))
    return fail (error, EINVAL, "it takes a size: 500, 64K, 20M");
  term->least++;
  term->most = UINT64_MAX;
  return true;
}

static bool
parse_smaller (QueryTerm *term, const char *value, GError **error)
{
  return store_size_parse (value, &term->most, NULL) ||
         fail (error, EINVAL, "it takes a size: 500, 64K, 20M");
}

static bool
parse_flag (QueryTerm *term, const char *value, GError **error)
{
  g_autofree char *keywords = NULL;
  if (!store_flags_parse_bare (value, &term->flags, &keywords, error))
    return false;
  if (strchr (value, ' ') != NULL)
    return fail (error, EINVAL, "it takes one flag");
  term->text = g_steal_pointer (&keywords);
  return true;
}

static bool
parse_keyword (QueryTerm *term, const char *value, GError **error)
{
  if (!parse_flag (term, value, error))
    return false;
  return term->flags == 0 || fail (error, EINVAL, "it is no keyword; flag:%s looks for it", value);
}

/* What "*" means depends on the mailbox; open ranges do not. */
static bool
parse_uid (QueryTerm *term, const char *value, GError **error)
{
  if (!store_uids_parse (value, &term->uids, error))
    return false;
  for (guint i = 0; i < term->uids->len; i++) {
    const StoreUidRange *range = &g_array_index (term->uids, StoreUidRange, i);
    if (range->first == STORE_UID_HIGHEST)
      return fail (error, EINVAL, "it takes UIDs: 4, 1:5 or 7:*");
  }
  return true;
}

/* ---- rows ---------------------------------------------------------------------------------- */

static bool
is_between (const QueryTerm *term, uint64_t value)
{
  return value >= term->least && value < term->most;
}

static bool
holds_time (const QueryTerm *term, const StoreMessage *message)
{
  return is_between (term, time_value (message->internal_s));
}

static bool
holds_size (const QueryTerm *term, const StoreMessage *message)
{
  return is_between (term, message->size);
}

/* Case means nothing in keywords (RFC 9051, 2.3.2). */
static bool
has_keyword (const char *keywords, const char *keyword)
{
  size_t length = strlen (keyword);
  for (const char *at = keywords; at != NULL; at = strchr (at, ' ')) {
    at += *at == ' ';
    if (g_ascii_strncasecmp (at, keyword, length) == 0 && (at[length] == '\0' || at[length] == ' '))
      return true;
  }
  return false;
}

static bool
holds_flag (const QueryTerm *term, const StoreMessage *message)
{
  return term->flags != 0 ? (message->flags & term->flags) != 0
                          : has_keyword (message->keywords, term->text);
}

static bool
holds_uid (const QueryTerm *term, const StoreMessage *message)
{
  for (guint i = 0; i < term->uids->len; i++) {
    const StoreUidRange *range = &g_array_index (term->uids, StoreUidRange, i);
    if (message->uid >= MIN (range->first, range->last) &&
        message->uid <= MAX (range->first, range->last))
      return true;
  }
  return false;
}

/* ---- the table ----------------------------------------------------------------------------- */

static const QueryKey plain_word = {
    NULL, QUERY_HEADER, parse_text, NULL, {"subject", "from", "to"}};

static const QueryKey keys[] = {
    {"in", QUERY_MAILBOX, parse_place, NULL, {NULL}},
    {"uid", QUERY_ROW, parse_uid, holds_uid, {NULL}},
    {"flag", QUERY_ROW, parse_flag, holds_flag, {NULL}},
    {"keyword", QUERY_ROW, parse_keyword, holds_flag, {NULL}},
    {"since", QUERY_ROW, parse_since, holds_time, {NULL}},
    {"before", QUERY_ROW, parse_before, holds_time, {NULL}},
    {"on", QUERY_ROW, parse_on, holds_time, {NULL}},
    {"larger", QUERY_ROW, parse_larger, holds_size, {NULL}},
    {"smaller", QUERY_ROW, parse_smaller, holds_size, {NULL}},
    {"from", QUERY_HEADER, parse_text, NULL, {"from"}},
    {"to", QUERY_HEADER, parse_text, NULL, {"to"}},
    {"cc", QUERY_HEADER, parse_text, NULL, {"cc"}},
    {"subject", QUERY_HEADER, parse_text, NULL, {"subject"}},
    {"message-id", QUERY_HEADER, parse_text, NULL, {"message-id"}},
    {"body", QUERY_BODY, parse_text, NULL, {NULL}},
    {"text", QUERY_BODY, parse_text, NULL, {"subject", "from", "to", "cc"}},
};

static const QueryKey *
find_key (const char *name, size_t length)
{
  for (size_t i = 0; i < G_N_ELEMENTS (keys); i++) {
    if (strlen (keys[i].name) == length && g_ascii_strncasecmp (keys[i].name, name, length) == 0)
      return &keys[i];
  }
  return NULL;
}

/* ---- parsing ------------------------------------------------------------------------------- */

/* The length of the key that a word begins with, without its colon; 0: it has none. */
static size_t
key_length (const char *word)
{
  size_t length = strspn (word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");
  return word[length] == ':' ? length : 0;
}

/* Takes a value, quoted or not, up to the next blank. NULL when it makes no sense. */
static char *
take_value (const char **at)
{
  g_autoptr (GString) value = g_string_new (NULL);
  bool quoted = **at == '"';
  const char *c = *at + quoted;
  for (; *c != '\0' && *c != (quoted ? '"' : ' '); c++) {
    if (quoted && *c == '\\' && c[1] != '\0')
      c++;
    g_string_append_c (value, *c);
  }
  if (quoted && (*c != '"' || (c[1] != '\0' && c[1] != ' ')))
    return NULL;
  *at = c + quoted;
  return g_string_free (g_steal_pointer (&value), FALSE);
}

static bool
parse_value (QueryTerm *term, const char **at, GError **error)
{
  g_autofree char *value = take_value (at);
  if (value == NULL)
    return fail (error, EINVAL, "a quotation does not end, or something stands right behind it");
  if (*value == '\0')
    return fail (error, EINVAL, "there is nothing to look for in it");
  return term->key->parse (term, value, error);
}

/* Takes one term. */
static bool
take_term (const char **at, QueryTerm *term, GError **error)
{
  term->negated = **at == '-';
  *at += term->negated;
  size_t length = key_length (*at);
  term->key = length > 0 ? find_key (*at, length) : &plain_word;
  if (term->key == NULL)
    return fail (error, EINVAL,
                 "there is no such key, as from, to, cc, subject, body, text, since, before, on, "
                 "flag, keyword, larger, smaller, uid, message-id and in are; words with a colon "
                 "stand in quotes");
  *at += length > 0 ? length + 1 : 0;
  return parse_value (term, at, error);
}

static gint
compare_stages (gconstpointer a, gconstpointer b)
{
  return (gint)((const QueryTerm *)a)->key->stage - (gint)((const QueryTerm *)b)->key->stage;
}

static bool
parse_terms (StoreQuery *self, const char *text, GError **error)
{
  for (const char *at = text; *(at += strspn (at, " ")) != '\0';) {
    const char *word = at;
    QueryTerm term = {0};
    g_autoptr (GError) wrong = NULL;
    bool good = take_term (&at, &term, &wrong);
    g_array_append_val (self->terms, term);
    if (!good) {
      g_autofree char *shown = g_strndup (word, strcspn (word, " "));
      g_autofree char *printable = store_text_printable (shown);
      return fail (error, EINVAL, "'%s': %s", printable, wrong->message);
    }
    if (self->terms->len > QUERY_TERMS_MAX)
      return fail (error, EINVAL, "more than %u words to look for", QUERY_TERMS_MAX);
  }
  return self->terms->len > 0 || fail (error, EINVAL, "there is nothing to look for");
}

StoreQuery *
store_query_parse (const char *text, GError **error)
{
  if (strlen (text) > QUERY_BYTES_MAX) {
    fail (error, EINVAL, "a query has at most %u bytes", QUERY_BYTES_MAX);
    return NULL;
  }
  if (!g_utf8_validate (text, -1, NULL)) {
    fail (error, EINVAL, "a query is UTF-8");
    return NULL;
  }
  g_autofree char *line = g_strdup (text);
  g_strdelimit (line, "\t\r\n\v\f", ' ');
  g_autoptr (StoreQuery) self = g_new0 (StoreQuery, 1);
  self->terms = g_array_new (FALSE, FALSE, sizeof (QueryTerm));
  g_array_set_clear_func (self->terms, clear_term);
  if (!parse_terms (self, line, error))
    return NULL;
  g_array_sort (self->terms, compare_stages);
  return g_steal_pointer (&self);
}

void
store_query_free (StoreQuery *self)
{
  if (self == NULL)
    return;
  g_array_unref (self->terms);
  g_free (self);
}

/* ---- matching ------------------------------------------------------------------------------ */

/* Whether `path` has the names of `wanted`, one after the other, in full. */
static bool
has_names (const char *path, const char *wanted)
{
  g_autofree char *folded = query_fold (path);
  g_autofree char *names = g_strconcat ("/", folded, "/", NULL);
  g_autofree char *part = g_strconcat ("/", wanted, "/", NULL);
  return strstr (names, part) != NULL;
}

/* A mailbox goes by its path and by the name that people use, both as they are read and as they
 * stand in the mount. */
static bool
is_in_place (const QueryTerm *term, const char *path)
{
  g_autofree char *title = store_path_title (path);
  g_autofree char *plain_path = store_name_unescape (path);
  g_autofree char *plain_title = store_name_unescape (title);
  return has_names (path, term->text) || has_names (title, term->text) ||
         has_names (plain_path, term->text) || has_names (plain_title, term->text);
}

static bool
is_in_header (const QueryTerm *term, const StoreSummary *summary)
{
  for (size_t i = 0; i < G_N_ELEMENTS (term->key->fields) && term->key->fields[i] != NULL; i++) {
    g_autofree char *field = store_summary_field (summary, term->key->fields[i]);
    g_autofree char *folded = field != NULL ? query_fold (field) : NULL;
    if (folded != NULL && strstr (folded, term->text) != NULL)
      return true;
  }
  return false;
}

static QueryAnswer
answer_of (bool yes)
{
  return yes ? QUERY_YES : QUERY_NO;
}

static QueryAnswer
ask_term (const QueryTerm *term, const QuerySubject *subject, bool absent)
{
  switch (term->key->stage) {
  case QUERY_MAILBOX: return answer_of (is_in_place (term, subject->path));
  case QUERY_ROW: return answer_of (term->key->holds (term, subject->message));
  case QUERY_HEADER: return answer_of (is_in_header (term, subject->summary));
  case QUERY_BODY: break;
  }
  if (term->key->fields[0] != NULL && is_in_header (term, subject->summary))
    return QUERY_YES;
  if (absent)
    return QUERY_NO;
  return subject->body == NULL ? QUERY_UNSURE
                               : answer_of (strstr (subject->body, term->text) != NULL);
}

guint
query_count (const StoreQuery *self, QueryStage stage, guint *out_first)
{
  guint count = 0;
  for (guint i = 0; i < self->terms->len; i++) {
    if (g_array_index (self->terms, QueryTerm, i).key->stage == stage && count++ == 0)
      *out_first = i;
  }
  return count;
}

QueryAnswer
query_ask (const StoreQuery *self, QueryStage stage, const QuerySubject *subject)
{
  QueryAnswer all = QUERY_YES;
  for (guint i = 0; i < self->terms->len; i++) {
    const QueryTerm *term = &g_array_index (self->terms, QueryTerm, i);
    if (term->key->stage != stage)
      continue;
    QueryAnswer answer = ask_term (term, subject, subject->absent != NULL && subject->absent[i]);
    if (answer == (term->negated ? QUERY_YES : QUERY_NO))
      return QUERY_NO;
    if (answer == QUERY_UNSURE)
      all = QUERY_UNSURE;
  }
  return all;
}
