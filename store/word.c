/* SPDX-License-Identifier: Apache-2.0 */
/* The words of commands: how they are spelt, and what their values mean. */
#include "store/jobs.h"

#include <string.h>

const StoreWord store_words[] = {
    {"recursive", STORE_WORD_RECURSIVE, 'r', NULL, "with everything below"},
    {"dry-run", STORE_WORD_DRY_RUN, 'n', NULL, "only say what would be done"},
    {"force", STORE_WORD_FORCE, 0, NULL, "do not trust what looks unchanged"},
    {"full", STORE_WORD_FULL, 0, NULL, "read every message"},
    {"mailbox-list", STORE_WORD_LIST, 'm', NULL, "the mailbox list instead of the indexes"},
    {"age", STORE_WORD_AGE, 0, "TIME", "only what is older: 30m, 24h, 7d, 2w; 0 is everything"},
    {"permissions", STORE_WORD_MODES, 0, NULL, "put owners and modes right, too"},
    {"uid", STORE_WORD_UIDS, 0, "SET", "only these messages: 4 or 1:5,7,9:*"},
    {"directory", STORE_WORD_DIRECTORY, 0, "DIR", "of the backup"},
    {"export", STORE_WORD_EXPORT, 0, "FILE",
     "instead of messages what an export tells of those that are there"},
    {"of", STORE_WORD_OF, 0, "NAMES", "only these mailboxes of the backup, separated by commas"},
    {"recover", STORE_WORD_RECOVER, 'r', NULL, "recover broken databases first"},
    {"locks", STORE_WORD_LOCKS, 'l', NULL, "look for locks that are held too long"},
    {"verbose", STORE_WORD_VERBOSE, 'v', NULL, "tell of what is in order, too"},
    {"catastrophic", STORE_WORD_CATASTROPHIC, 'c', NULL, "use what the last backup tells, too"},
    {"set", STORE_WORD_SET, 0, "FLAGS", "replace all flags by these, separated by commas"},
    {"add", STORE_WORD_ADD, 0, "FLAGS", "set these flags, too"},
    {"remove", STORE_WORD_REMOVE, 0, "FLAGS", "take these flags away"},
    {"to", STORE_WORD_TO, 0, "MAILBOX", "where they go, or what it is called then"},
    {"special-use", STORE_WORD_USE, 0, "USE", "what it is for, like \\Sent, or none"},
    {"index", STORE_WORD_INDEX, 0, "off|on|text",
     "whether a user has an index, or for text in full, too"},
    {"rate", STORE_WORD_RATE, 0, "RATE", "copy at most so many bytes a second: 500K, 20M, 1G"},
    {"query", STORE_WORD_QUERY, 0, "QUERY", "what to look for"},
    {"brief", STORE_WORD_BRIEF, 0, NULL, "without figures that take time"},
    {NULL},
};

const StoreWord *
word_find (const char *text, const char **out_value)
{
  for (const StoreWord *word = store_words; word->name != NULL; word++) {
    size_t length = strlen (word->name);
    if (strncmp (text, word->name, length) != 0)
      continue;
    if (text[length] == (word->value != NULL ? '=' : '\0')) {
      *out_value = text + length + (word->value != NULL);
      return word;
    }
  }
  return NULL;
}

/* ---- escaping ------------------------------------------------------------------------------ */

/* In the queue words are separated by spaces, and of some values the parts by commas. */
char *
store_word_escape (const char *value)
{
  GString *text = g_string_new (NULL);
  for (const char *at = value; *at != '\0'; at++) {
    unsigned char byte = (unsigned char)*at;
    if (byte <= ' ' || byte == 0x7f || byte == '%' || byte == ',')
      g_string_append_printf (text, "%%%02X", byte);
    else
      g_string_append_c (text, (char)byte);
  }
  return g_string_free (text, FALSE);
}

static char *
unescape (const char *value)
{
  char *plain = g_uri_unescape_string (value, NULL);
  return plain != NULL ? plain : g_strdup (value);
}

/* The parts of a value between its commas. */
static GPtrArray *
split_value (const char *value)
{
  g_auto (GStrv) parts = g_strsplit (value, ",", -1);
  GPtrArray *plain = g_ptr_array_new_with_free_func (g_free);
  for (char **part = parts; *part != NULL; part++)
    g_ptr_array_add (plain, unescape (*part));
  return plain;
}

char *
word_join (const char *name, const GPtrArray *parts)
{
  GString *text = g_string_new (name);
  g_string_append_c (text, '=');
  for (guint i = 0; i < parts->len; i++) {
    g_autofree char *escaped = store_word_escape (parts->pdata[i]);
    g_string_append_printf (text, "%s%s", i > 0 ? "," : "", escaped);
  }
  return g_string_free (text, FALSE);
}

/* One spelling for all that mean the same. */
char *
word_spell (const StoreWord *word, const char *value)
{
  if (word->value == NULL)
    return g_strdup (word->name);
  g_autoptr (GPtrArray) parts = split_value (value);
  return word_join (word->name, parts);
}

/* ---- values -------------------------------------------------------------------------------- */

static bool
parse_flags (StoreRequest *request, StoreFlagsChange change, const char *value, GError **error)
{
  g_autoptr (GPtrArray) parts = split_value (value);
  g_autoptr (GString) text = g_string_new (NULL);
  for (guint i = 0; i < parts->len; i++)
    g_string_append_printf (text, "%s ", (const char *)parts->pdata[i]);
  StoreFlagSet *set = &request->flags[change];
  g_clear_pointer (&set->keywords, g_free);
  if (!store_flags_parse_bare (text->str, &set->flags, &set->keywords, error))
    return false;
  return change == STORE_FLAGS_SET || set->flags != 0 || set->keywords != NULL ||
         fail (error, EINVAL, "'%s' names no flag", value);
}

static bool
parse_names (StoreRequest *request, const char *value)
{
  g_autoptr (GPtrArray) parts = split_value (value);
  g_ptr_array_extend_and_steal (request_names (request), g_steal_pointer (&parts));
  return true;
}

static bool
parse_path (char **path, const char *value, GError **error)
{
  g_free (*path);
  *path = unescape (value);
  return g_path_is_absolute (*path) || fail (error, EINVAL, "'%s' is no absolute path", *path);
}

static bool
parse_use (StoreRequest *request, const char *value, GError **error)
{
  g_autofree char *use = unescape (value);
  request->special_use = NULL;
  return strcmp (use, "none") == 0 ||
         (request->special_use = store_special_use (use, error)) != NULL;
}

static bool
parse_query (StoreRequest *request, const char *value, GError **error)
{
  g_autofree char *query = unescape (value);
  g_clear_pointer (&request->query, store_query_free);
  request->query = store_query_parse (query, error);
  return request->query != NULL;
}

static bool
parse_index (StoreRequest *request, const char *value, GError **error)
{
  static const char *const names[] = {"off", "on", "text"};
  for (StoreIndexing indexing = STORE_INDEX_OFF; indexing <= STORE_INDEX_TEXT; indexing++) {
    request->index = indexing;
    if (strcmp (value, names[indexing]) == 0)
      return true;
  }
  return fail (error, EINVAL, "an index is off, on, or text (for full-text, too), not '%s'", value);
}

bool
word_parse_value (StoreRequest *request, StoreWords bit, const char *value, GError **error)
{
  switch (bit) {
  case STORE_WORD_AGE: return store_age_parse (value, &request->age_s, error);
  case STORE_WORD_UIDS:
    g_clear_pointer (&request->uids, g_array_unref);
    return store_uids_parse (value, &request->uids, error);
  case STORE_WORD_DIRECTORY: return parse_path (&request->directory, value, error);
  case STORE_WORD_EXPORT: return parse_path (&request->export, value, error);
  case STORE_WORD_OF: return parse_names (request, value);
  case STORE_WORD_SET: return parse_flags (request, STORE_FLAGS_SET, value, error);
  case STORE_WORD_ADD: return parse_flags (request, STORE_FLAGS_ADD, value, error);
  case STORE_WORD_REMOVE: return parse_flags (request, STORE_FLAGS_REMOVE, value, error);
  case STORE_WORD_TO:
    g_free (request->to);
    request->to = unescape (value);
    return *request->to != '\0' || fail (error, EINVAL, "'to' names no mailbox");
  case STORE_WORD_QUERY: return parse_query (request, value, error);
  case STORE_WORD_USE: return parse_use (request, value, error);
  case STORE_WORD_INDEX: return parse_index (request, value, error);
  case STORE_WORD_RATE: return store_size_parse (value, &request->rate, error);
  default: return true;
  }
}
