/* SPDX-License-Identifier: Apache-2.0 */
/* Flags and keywords in IMAP spelling (RFC 3501, 2.3.2 and 9). */
#include "store/internal.h"

#include <string.h>

static const struct {
  uint32_t flag;
  const char *name;
} system_flags[] = {
    {STORE_FLAG_ANSWERED, "\\Answered"}, {STORE_FLAG_DELETED, "\\Deleted"},
    {STORE_FLAG_DRAFT, "\\Draft"},       {STORE_FLAG_FLAGGED, "\\Flagged"},
    {STORE_FLAG_SEEN, "\\Seen"},
};

char *
store_flags_to_string (uint32_t flags, const char *keywords)
{
  GString *text = g_string_new (NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (system_flags); i++) {
    if (flags & system_flags[i].flag)
      g_string_append_printf (text, "%s%s", text->len ? " " : "", system_flags[i].name);
  }
  if (keywords != NULL && *keywords != '\0')
    g_string_append_printf (text, "%s%s", text->len ? " " : "", keywords);
  return g_string_free (text, FALSE);
}

static uint32_t
system_flag (const char *word)
{
  for (size_t i = 0; *word == '\\' && i < G_N_ELEMENTS (system_flags); i++) {
    if (g_ascii_strcasecmp (word, system_flags[i].name) == 0)
      return system_flags[i].flag;
  }
  return 0;
}

/* An atom: printable ASCII without the characters that mean something in IMAP. */
static bool
is_atom (const char *word)
{
  for (const char *c = word; *c != '\0'; c++) {
    if (*c <= ' ' || *c >= 0x7f || strchr ("(){%*\"\\]", *c) != NULL)
      return false;
  }
  return *word != '\0';
}

static int
compare_words (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

/* Sorts `words` and joins them with single spaces, each once; NULL when there are none. */
static char *
join_sorted (GPtrArray *words)
{
  g_ptr_array_sort (words, compare_words);
  GString *text = g_string_new (NULL);
  for (guint i = 0; i < words->len; i++) {
    if (i == 0 || strcmp (words->pdata[i], words->pdata[i - 1]) != 0)
      g_string_append_printf (text, "%s%s", text->len ? " " : "", (char *)words->pdata[i]);
  }
  return g_string_free (text, text->len == 0);
}

bool
store_flags_parse (const char *text, uint32_t *out_flags, char **out_keywords, GError **error)
{
  g_autofree char *words = g_strdup (text);
  g_autoptr (GPtrArray) keywords = NULL;
  uint32_t flags = 0;
  for (char *rest = words, *word; (word = strsep (&rest, " \t")) != NULL;) {
    if (*word == '\0')
      continue;
    uint32_t flag = system_flag (word);
    if (flag == 0 && !is_atom (word)) {
      g_autofree char *printable = store_text_printable (word);
      return fail (error, EINVAL, "'%s' is neither a system flag nor a valid keyword", printable);
    }
    flags |= flag;
    if (flag == 0 && keywords == NULL)
      keywords = g_ptr_array_new ();
    if (flag == 0)
      g_ptr_array_add (keywords, word);
  }
  *out_flags = flags;
  *out_keywords = keywords != NULL ? join_sorted (keywords) : NULL;
  return true;
}

static bool
is_bare_system_flag (const char *word)
{
  static const char *const names[] = {"answered", "deleted", "draft", "flagged", "recent", "seen"};
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    if (g_ascii_strcasecmp (word, names[i]) == 0)
      return true;
  }
  return false;
}

bool
store_flags_parse_bare (const char *text, uint32_t *out_flags, char **out_keywords, GError **error)
{
  g_auto (GStrv) words = g_strsplit (text, " ", -1);
  g_autoptr (GString) spelled = g_string_new (NULL);
  for (char **word = words; *word != NULL; word++)
    g_string_append_printf (spelled, "%s%s ", is_bare_system_flag (*word) ? "\\" : "", *word);
  return store_flags_parse (spelled->str, out_flags, out_keywords, error);
}

char *
keywords_change (const char *old, const char *given, StoreFlagsChange change)
{
  if (change == STORE_FLAGS_SET)
    return g_strdup (given);
  g_auto (GStrv) had = g_strsplit (old ? old : "", " ", -1);
  g_auto (GStrv) words = g_strsplit (given ? given : "", " ", -1);
  g_autoptr (GPtrArray) result = g_ptr_array_new ();
  for (char **word = had; *word != NULL; word++) {
    bool removed =
        change == STORE_FLAGS_REMOVE && g_strv_contains ((const char *const *)words, *word);
    if (**word != '\0' && !removed)
      g_ptr_array_add (result, *word);
  }
  for (char **word = words; change == STORE_FLAGS_ADD && *word != NULL; word++) {
    if (**word != '\0')
      g_ptr_array_add (result, *word);
  }
  return join_sorted (result);
}
