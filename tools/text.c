/* SPDX-License-Identifier: Apache-2.0 */
/* text.c - figures for people. */
#include "tools/print.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

char *
text_size (uint64_t bytes)
{
  static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000)
    return g_strdup_printf ("%" PRIu64 " B", bytes);
  double value = (double)bytes / 1000;
  size_t unit = 0;
  /* 999.95 would be printed as 1000.0. */
  for (; value >= 999.95 && unit + 1 < G_N_ELEMENTS (units); unit++)
    value /= 1000;
  return g_strdup_printf ("%.1f %s", value, units[unit]);
}

char *
text_take_printable (char *text)
{
  char *printable = text != NULL ? store_text_printable (text) : NULL;
  g_free (text);
  return printable;
}

char *
text_count (uint64_t count, const char *one, const char *many)
{
  return g_strdup_printf ("%" PRIu64 " %s", count, count == 1 ? one : many);
}

char *
text_digits (uint64_t count)
{
  g_autofree char *digits = g_strdup_printf ("%" PRIu64, count);
  size_t length = strlen (digits);
  GString *text = g_string_new (NULL);
  for (size_t i = 0; i < length; i++) {
    if (i > 0 && (length - i) % 3 == 0)
      g_string_append_c (text, ',');
    g_string_append_c (text, digits[i]);
  }
  return g_string_free (text, FALSE);
}

char *
text_seconds (double seconds)
{
  if (seconds < 60)
    return g_strdup_printf ("%.1f s", seconds);
  uint64_t whole = (uint64_t)seconds;
  if (whole < 3600)
    return g_strdup_printf ("%" PRIu64 ":%02" PRIu64, whole / 60, whole % 60);
  return g_strdup_printf ("%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, whole / 3600, whole / 60 % 60,
                          whole % 60);
}

char *
text_local_time (int64_t time_s)
{
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_local (time_s);
  return time != NULL ? g_date_time_format (time, "%Y-%m-%d %H:%M:%S") : g_strdup ("-");
}

char *
text_rfc3339 (int64_t time_s)
{
  g_autoptr (GDateTime) time = time_s != INT64_MIN ? g_date_time_new_from_unix_utc (time_s) : NULL;
  return time != NULL ? g_date_time_format (time, "%Y-%m-%dT%H:%M:%SZ") : NULL;
}

int
text_cells (const char *letter)
{
  gunichar c = g_utf8_get_char (letter);
  return g_unichar_iszerowidth (c) ? 0 : g_unichar_iswide (c) ? 2 : 1;
}

char *
text_pad (const char *text, int width)
{
  for (const char *at = text; *at != '\0'; at = g_utf8_next_char (at))
    width -= text_cells (at);
  return g_strdup_printf ("%s%*s", text, MAX (width, 0), "");
}

char *
text_cut (const char *text, int width)
{
  const char *room_for_mark = text; /* the end of what fits beside the "~" */
  int used = 0;
  for (const char *at = text; *at != '\0'; at = g_utf8_next_char (at)) {
    used += text_cells (at);
    if (used > width)
      return g_strdup_printf ("%.*s~", (int)(room_for_mark - text), text);
    if (used < width)
      room_for_mark = g_utf8_next_char (at);
  }
  return g_strdup (text);
}

int
text_columns (int fd)
{
  struct winsize size = {0};
  if (!isatty (fd))
    return 0;
  return ioctl (fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}
