/* SPDX-License-Identifier: Apache-2.0 */
/* Names for what strangers have sent. */
#include "store/parts.h"

#include <string.h>

/* A suffix that is kept when a name is cut. */
#define SUFFIX_MAX 16u

/* Whether the character turns the reading direction, so that "exe.jpg" may be "gpj.exe". */
static bool
turns_direction (gunichar c)
{
  return c == 0x200e || c == 0x200f || c == 0x061c || (c >= 0x202a && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

/* Separators of directories and streams, and what shells and other systems take for patterns. */
static bool
is_harmless (gunichar c)
{
  return g_unichar_isprint (c) && !turns_direction (c) &&
         (c >= 0x80 || strchr ("/\\:*?\"<>|", (int)c) == NULL);
}

/* "con", "LPT1.txt": another system sends what is written there to a device. */
static bool
is_device (const char *name)
{
  static const char *const devices[] = {"con", "prn", "aux", "nul", "com", "lpt"};
  size_t size = strcspn (name, ". ");
  for (size_t i = 0; i < G_N_ELEMENTS (devices); i++) {
    bool is_numbered = i >= 4;
    if (g_ascii_strncasecmp (name, devices[i], 3) == 0 &&
        (is_numbered ? size == 4 && g_ascii_isdigit (name[3]) : size == 3))
      return true;
  }
  return false;
}

/* Where the suffix begins, with its dot; the end when there is none. */
static size_t
find_suffix (const char *name)
{
  size_t size = strlen (name);
  const char *dot = strrchr (name, '.');
  return dot != NULL && dot != name && strlen (dot) <= SUFFIX_MAX ? (size_t)(dot - name) : size;
}

/* The first bytes of `text`, at most `most`, and no half of a character. */
static size_t
measure_whole (const char *text, size_t size, size_t most)
{
  if (size <= most)
    return size;
  while (most > 0 && ((uint8_t)text[most] & 0xc0) == 0x80)
    most--;
  return most;
}

/* `name` with `infix` before its suffix, cut to fit. */
static char *
compose (const char *name, const char *infix)
{
  size_t stem = find_suffix (name);
  size_t room = PART_NAME_MAX - strlen (infix) - MIN (strlen (name + stem), SUFFIX_MAX);
  return g_strdup_printf ("%.*s%s%s", (int)measure_whole (name, stem, room), name, infix,
                          name + stem);
}

char *
part_name_make (const char *name, const char *fallback)
{
  g_autofree char *valid = g_utf8_make_valid (name != NULL ? name : "", -1);
  g_autoptr (GString) out = g_string_new (NULL);
  for (const char *at = g_strstrip (valid); *at != '\0'; at = g_utf8_next_char (at)) {
    gunichar c = g_utf8_get_char (at);
    g_string_append_unichar (out, is_harmless (c) ? c : '_');
  }
  /* Other systems do not see dots and blanks at the end. */
  while (out->len > 0 && strchr (". ", out->str[out->len - 1]) != NULL)
    g_string_truncate (out, out->len - 1);
  if (out->len == 0)
    return g_strdup (fallback);
  if (strchr (".-~", out->str[0]) != NULL)
    out->str[0] = '_';
  if (is_device (out->str))
    g_string_prepend_c (out, '_');
  return compose (out->str, "");
}

/* A number for each name that was asked for, so that a thousand of one name take no longer than of
 * different ones. */
char *
part_name_unique (GHashTable *taken, uint32_t scope, const char *name)
{
  g_autofree char *folded = g_utf8_casefold (name, -1);
  g_autofree char *key = g_strdup_printf ("%u/%s", scope, folded);
  unsigned count = GPOINTER_TO_UINT (g_hash_table_lookup (taken, key));
  if (count == 0) {
    g_hash_table_insert (taken, g_steal_pointer (&key), GUINT_TO_POINTER (1));
    return g_strdup (name);
  }
  for (;;) {
    g_autofree char *infix = g_strdup_printf ("-%u", ++count);
    g_autofree char *other = compose (name, infix);
    g_autofree char *other_folded = g_utf8_casefold (other, -1);
    g_autofree char *other_key = g_strdup_printf ("%u/%s", scope, other_folded);
    if (g_hash_table_contains (taken, other_key))
      continue;
    g_hash_table_insert (taken, g_steal_pointer (&other_key), GUINT_TO_POINTER (1));
    g_hash_table_insert (taken, g_steal_pointer (&key), GUINT_TO_POINTER (count));
    return g_steal_pointer (&other);
  }
}
