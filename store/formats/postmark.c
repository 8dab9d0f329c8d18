/* SPDX-License-Identifier: Apache-2.0 */
#include "store/formats/reader.h"

#include <string.h>
#include <time.h>

#define TEXT_MAX  512u /* of a line; the date is at its end */
#define WORDS_MAX 64u

bool
postmark_begins (const char *line, size_t length)
{
  return length >= 5 && memcmp (line, "From ", 5) == 0;
}

/* Reads a number of at most `digits` digits that ends where `end` says. */
static bool
parse_number (const char *text, unsigned digits, const char *end, int *out)
{
  unsigned value = 0, count = 0;
  for (; g_ascii_isdigit (text[count]) && count <= digits; count++)
    value = value * 10 + (unsigned)(text[count] - '0');
  if (count == 0 || count > digits || strchr (end, text[count]) == NULL)
    return false;
  *out = (int)value;
  return true;
}

/* "hh:mm" or "hh:mm:ss". */
static bool
parse_time (const char *word, struct tm *tm)
{
  const char *minute = strchr (word, ':');
  if (minute == NULL || !parse_number (word, 2, ":", &tm->tm_hour) ||
      !parse_number (++minute, 2, ":", &tm->tm_min))
    return false;
  const char *second = strchr (minute, ':');
  tm->tm_sec = 0;
  if (second != NULL && !parse_number (second + 1, 2, "", &tm->tm_sec))
    return false;
  return tm->tm_hour < 24 && tm->tm_min < 60 && tm->tm_sec <= 60;
}

static bool
parse_month (const char *word, struct tm *tm)
{
  static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  for (int i = 0; i < 12; i++)
    if (g_ascii_strcasecmp (word, names[i]) == 0) {
      tm->tm_mon = i;
      return true;
    }
  return false;
}

static bool
parse_day (const char *word, struct tm *tm)
{
  return parse_number (word, 2, "", &tm->tm_mday) && tm->tm_mday >= 1 && tm->tm_mday <= 31;
}

static bool
parse_year (const char *word, struct tm *tm)
{
  int year;
  if (strlen (word) != 4 || !parse_number (word, 4, "", &year) || year < 1900)
    return false;
  tm->tm_year = year - 1900;
  return true;
}

/* "2020-03-03". */
static bool
parse_iso_date (const char *word, struct tm *tm)
{
  g_auto (GStrv) parts = g_strsplit (word, "-", 4);
  int month;
  if (g_strv_length (parts) != 3 || !parse_year (parts[0], tm) ||
      !parse_number (parts[1], 2, "", &month) || month < 1 || month > 12)
    return false;
  tm->tm_mon = month - 1;
  return parse_day (parts[2], tm);
}

/* "+0100", or one of the names that were in use. */
static bool
parse_zone (const char *word, int *out_minutes)
{
  static const struct {
    const char *name;
    int hours;
  } zones[] = {{"UT", 0},   {"UTC", 0},  {"GMT", 0},  {"Z", 0},    {"EST", -5}, {"EDT", -4},
               {"CST", -6}, {"CDT", -5}, {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7},
               {"WET", 0},  {"BST", 1},  {"CET", 1},  {"MET", 1},  {"CEST", 2}, {"MEST", 2},
               {"EET", 2},  {"EEST", 3}, {"JST", 9},  {"DST", 1}}; /* the last one behind another:
                                                                      "MET DST" */
  int number;
  if ((*word == '+' || *word == '-') && strlen (word) == 5 &&
      parse_number (word + 1, 4, "", &number)) {
    *out_minutes += (*word == '-' ? -1 : 1) * (number / 100 * 60 + number % 100);
    return true;
  }
  for (size_t i = 0; i < G_N_ELEMENTS (zones); i++)
    if (strcmp (word, zones[i].name) == 0) {
      *out_minutes += zones[i].hours * 60;
      return true;
    }
  return false;
}

/* The date around the time in words[at]; `words` ends with NULL. In use are
 *   Thu Jan  1 00:00:00 2004           asctime(3); seconds may be missing, a zone stands before or
 *   Thu Jan  1 00:00:00 +0100 2004     behind the year
 *   Thu, 1 Jan 2004 00:00:00 +0100     RFC 5322
 *   2004-01-01 00:00:00 +0100          ISO 8601 */
static bool
read_date (char **words, guint at, int64_t *out_time_s)
{
  struct tm tm = {0};
  bool has_year = true;
  int zone = 0;
  if (!parse_time (words[at], &tm))
    return false;
  if (at >= 2 && parse_month (words[at - 2], &tm) && parse_day (words[at - 1], &tm))
    has_year = false;
  else if (!(at >= 1 && parse_iso_date (words[at - 1], &tm)) &&
           !(at >= 3 && parse_year (words[at - 1], &tm) && parse_month (words[at - 2], &tm) &&
             parse_day (words[at - 3], &tm)))
    return false;
  for (char **word = words + at + 1; *word != NULL; word++) {
    bool is_year = !has_year && parse_year (*word, &tm);
    has_year = has_year || is_year;
    if (!is_year && !parse_zone (*word, &zone))
      break;
  }
  if (!has_year)
    return false;
  *out_time_s = timegm (&tm) - (int64_t)zone * 60;
  return true;
}

bool
postmark_date (const char *line, size_t length, int64_t *out_time_s)
{
  if (!postmark_begins (line, length))
    return false;
  size_t begin = length > TEXT_MAX ? length - TEXT_MAX : 5;
  g_autofree char *text = g_strndup (line + begin, length - begin);
  char *words[WORDS_MAX + 1];
  guint count = 0;
  char *rest = text;
  for (char *word; (word = strsep (&rest, " \t")) != NULL;) {
    if (*word == '\0')
      continue;
    if (count == WORDS_MAX)
      return false;
    words[count++] = word;
  }
  words[count] = NULL;
  for (guint at = count; at-- > 0;)
    if (read_date (words, at, out_time_s))
      return true;
  return false;
}
