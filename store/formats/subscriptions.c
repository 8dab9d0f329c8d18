/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dovecot's list of subscribed mailboxes, beside a Maildir: the file `subscriptions`.
 *
 *   version 1     one name a line, its levels separated by '.' or, in LAYOUT=fs, by '/'
 *   version 2     "V", tab, "2" and an empty line first; levels separated by tabs
 *
 * Names are in modified UTF-7. A '.' in version 1 may be part of a name, too, so both are kept.
 */
#include "store/formats/reader.h"

#include <string.h>

#define SUBSCRIPTIONS     "subscriptions"
#define SUBSCRIPTIONS_MAX 100000u

typedef struct {
  GHashTable *names;
  bool begun, tabbed;
} Reading;

/* Levels with "/" between them, each decoded. */
static void
add_name (GHashTable *names, const char *name, const char *separators)
{
  g_auto (GStrv) levels = g_strsplit_set (name, separators, -1);
  for (char **level = levels; *level != NULL; level++) {
    char *decoded = utf7_decode (*level);
    if (decoded == NULL)
      continue;
    g_free (*level);
    *level = decoded;
  }
  g_hash_table_add (names, g_strjoinv ("/", levels));
}

static bool
take_line (const char *line, void *data)
{
  Reading *reading = data;
  if (!reading->begun && strcmp (line, "V\t2") == 0) {
    reading->begun = reading->tabbed = true;
    return true;
  }
  /* A later version may mean anything. */
  if (!reading->begun && g_str_has_prefix (line, "V\t"))
    return false;
  reading->begun = true;
  if (*line == '\0' || g_hash_table_size (reading->names) >= SUBSCRIPTIONS_MAX)
    return true;
  add_name (reading->names, line, reading->tabbed ? "\t" : "/");
  if (!reading->tabbed)
    add_name (reading->names, line, "./");
  return true;
}

GHashTable *
subscriptions_read (int directory_fd, GPtrArray *warnings, const char *where)
{
  g_autoptr (GError) reason = NULL;
  Reading reading = {.names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL)};
  if (!lines_each (directory_fd, SUBSCRIPTIONS, take_line, &reading, &reason) &&
      error_code (reason) != ENOENT)
    source_warn (warnings, "%s: %s", where, reason->message);
  return reading.names;
}

bool
subscriptions_has (GHashTable *names, char *const *levels)
{
  g_autofree char *name = g_strjoinv ("/", (char **)levels);
  return g_hash_table_contains (names, name);
}
