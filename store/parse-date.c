/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dates as RFC 5322 has them (3.3), with its obsolete forms (4.3): comments and blanks anywhere,
 * years of two digits, zones by name. Beyond that we take '-' between day, month and year, names in
 * full,
 * ':' in a zone, and no zone at all, which counts as UTC.
 */
#include "store/parse.h"

#include <string.h>

static void
skip_blanks (const char **at)
{
  while (g_ascii_isspace (**at) || **at == '(')
    if (**at == '(')
      parse_take_comment (at, NULL);
    else
      (*at)++;
}

static bool
take_mark (const char **at, char mark)
{
  skip_blanks (at);
  if (**at != mark)
    return false;
  (*at)++;
  return true;
}

/* Takes a number of at most four digits and returns how many it has; 0: there is none. */
static int
take_number (const char **at, int *out)
{
  skip_blanks (at);
  int digits = 0;
  *out = 0;
  for (; digits < 5 && g_ascii_isdigit (**at); digits++)
    *out = *out * 10 + *(*at)++ - '0';
  return digits < 5 ? digits : 0;
}

/* Takes a word of letters. Returns its size. */
static size_t
take_letters (const char **at)
{
  skip_blanks (at);
  const char *start = *at;
  while (g_ascii_isalpha (**at))
    (*at)++;
  return *at - start;
}

/* 1 to 12 for a month, by its first three letters; 0 for anything else. */
static int
take_month (const char **at)
{
  static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec";
  size_t size = take_letters (at);
  for (int month = 0; size >= 3 && month < 12; month++)
    if (g_ascii_strncasecmp (*at - size, months + 3 * month, 3) == 0)
      return month + 1;
  return 0;
}

/* Takes "+0100", "EST" or nothing, in minutes east of Greenwich. A name that nobody knows says as
 * much as "-0000" (RFC 5322, 4.3), but nothing may come after it: that 7:00 is in the morning would
 * be a guess in "7:00 PM EST". */
static bool
take_zone (const char **at, int *out)
{
  static const struct {
    const char *name;
    int hours;
  } zones[] = {
      {"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5},
      {"MST", -7}, {"MDT", -6}, {"PST", -8}, {"PDT", -7},
  };
  *out = 0;
  skip_blanks (at);
  bool is_west = **at == '-';
  if (is_west || **at == '+') {
    (*at)++;
    int zone, minutes;
    int digits = take_number (at, &zone);
    if (digits == 2 && take_mark (at, ':')) {
      digits += take_number (at, &minutes);
      zone = zone * 100 + minutes;
    }
    if (digits != 4 || zone % 100 > 59)
      return false;
    *out = (zone / 100 * 60 + zone % 100) * (is_west ? -1 : 1);
    return true;
  }
  size_t size = take_letters (at);
  for (size_t i = 0; size == 3 && i < G_N_ELEMENTS (zones); i++)
    if (g_ascii_strncasecmp (*at - size, zones[i].name, 3) == 0)
      *out = zones[i].hours * 60;
  skip_blanks (at);
  return **at == '\0';
}

/* "10:00", with seconds or without. */
static bool
take_time (const char **at, int *out_seconds)
{
  int hour, minute, second = 0;
  if (!take_number (at, &hour) || !take_mark (at, ':') || !take_number (at, &minute))
    return false;
  if (take_mark (at, ':') && !take_number (at, &second))
    return false;
  *out_seconds = (hour * 60 + minute) * 60 + second;
  return hour < 24 && minute < 60 && second <= 60; /* a leap second */
}

int64_t
parse_date (const char *text)
{
  if (text == NULL)
    return INT64_MIN;
  const char *at = text;
  take_letters (&at); /* the day of the week follows from the date */
  take_mark (&at, ',');
  int day, year, seconds, zone;
  if (!take_number (&at, &day))
    return INT64_MIN;
  take_mark (&at, '-');
  int month = take_month (&at);
  take_mark (&at, '-');
  int digits = take_number (&at, &year);
  if (month == 0 || digits < 2 || !take_time (&at, &seconds) || !take_zone (&at, &zone))
    return INT64_MIN;
  if (digits < 4)
    year += digits == 2 && year < 50 ? 2000 : 1900;
  if (year < 1900 || !g_date_valid_dmy (day, month, year))
    return INT64_MIN;
  GDate date;
  g_date_clear (&date, 1);
  g_date_set_dmy (&date, day, month, year);
  int64_t days = (int64_t)g_date_get_julian (&date) - 719163; /* 1 January 1970 */
  return days * 86400 + seconds - zone * 60;
}
