/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers share: From_ lines, modified UTF-7, keywords. */
#include "store/formats/reader.h"

#include <string.h>

static void
test_postmark (void)
{
  static const struct {
    const char *line;
    int64_t time_s; /* INT64_MIN: has none */
  } lines[] = {
      {"From a@b Thu Jan  1 00:01:00 1970", 60},
      {"From a@b  Fri Feb 22 17:06:23 2008", 1203699983},
      {"From a@b Thu Jan 1 00:01 1970", 60},
      {"From a@b Thu Jan  1 01:01:00 1970 +0100", 60},
      {"From 123@xxx Thu Jan 01 00:01:00 +0000 1970", 60},
      {"From a@b Wed Dec 31 19:01:00 EST 1969", 60},
      {"From a@b Thu Jan  1 02:01:00 MET DST 1970", 60},
      {"From a@b Thu Jan  1 00:01:00 1970 remote from host", 60},
      {"From - Thu, 1 Jan 1970 01:01:00 +0100", 60},
      {"From () 1970-01-01 01:01:00 +0100", 60},
      {"From a b <c d> Thu Jan  1 00:1:0 1970", 60},
      {"From \"10:20\" Thu Jan  1 00:01:00 1970", 60},
      {"From a@b Wed Dec 31 23:59:59 1969", -1},
      {"From a@b", INT64_MIN},
      {"From ", INT64_MIN},
      {"From", INT64_MIN},
      {"from a@b Thu Jan  1 00:01:00 1970", INT64_MIN},
      {"From a@b Thu Jan  1 00:01:00", INT64_MIN},
      {"From a@b Thu Jan 32 00:01:00 1970", INT64_MIN},
      {"From a@b Thu Jan  0 00:01:00 1970", INT64_MIN},
      {"From a@b Thu Foo  1 00:01:00 1970", INT64_MIN},
      {"From a@b Thu Jan  1 24:01:00 1970", INT64_MIN},
      {"From a@b Thu Jan  1 00:60:00 1970", INT64_MIN},
      {"From a@b Thu Jan  1 00:01:61 1970", INT64_MIN},
      {"From a@b Thu Jan  1 00:01:00:00 1970", INT64_MIN},
      {"From a@b Thu Jan  1 00:01:00 70", INT64_MIN},
      {"From a@b Thu Jan  1 00:01:00 1899", INT64_MIN},
      {"From a@b 1970-13-01 00:01:00", INT64_MIN},
      {"From here to there at 10:20 or so", INT64_MIN},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (lines); i++) {
    int64_t time_s = INT64_MIN;
    bool found = postmark_date (lines[i].line, strlen (lines[i].line), &time_s);
    g_test_message ("%s", lines[i].line);
    g_assert_cmpint (time_s, ==, lines[i].time_s);
    g_assert_cmpint (found, ==, lines[i].time_s != INT64_MIN);
  }
}

static void
test_utf7 (void)
{
  static const struct {
    const char *encoded, *decoded; /* NULL: is not valid */
  } names[] = {
      {"Sent", "Sent"},
      {"A & B", NULL},
      {"A &- B", "A & B"},
      {"Entw&APw-rfe", "Entw\xc3\xbcrfe"},
      {"~peter/mail/&U,BTFw-/&ZeVnLIqe-",
       "~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e"},
      {"&2D3eAQ-", "\xf0\x9f\x98\x81"},
      {"&IKw-&IKw-", NULL}, /* could be one */
      {"&AGE-", NULL},      /* an 'a' */
      {"&AC8-", NULL},      /* a slash */
      {"&AAA-", NULL},      /* NUL */
      {"&2D0-", NULL},      /* half a pair */
      {"&3gE-", NULL},
      {"&2D3YPQ-", NULL},
      {"&APx-", NULL}, /* bits left over */
      {"&APw", NULL},
      {"&A-", NULL},
      {"&A/w-", NULL},
      {"&", NULL},
      {"M\xc3\xbcll", NULL},
      {"tab\t", NULL},
      {"", ""},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *decoded = utf7_decode (names[i].encoded);
    g_assert_cmpstr (decoded, ==, names[i].decoded);
  }
}

static void
test_keywords (void)
{
  g_autofree char *same = keywords_make_valid ("$Label1&");
  g_autofree char *latin = keywords_make_valid ("Priv\xc3\xa9");
  g_autofree char *specials = keywords_make_valid ("(*)");
  g_autofree char *broken = keywords_make_valid ("\xff");
  g_autofree char *long_name = g_strnfill (300, 'x');
  g_assert_cmpstr (same, ==, "$Label1&");
  g_assert_cmpstr (latin, ==, "Priv&AOk-");
  g_assert_cmpstr (specials, ==, "&ACgAKgAp-");
  g_assert_cmpstr (broken, ==, "&,,0-");
  g_assert_null (keywords_make_valid (""));
  g_assert_null (keywords_make_valid (long_name));

  Keywords keywords;
  keywords_init (&keywords);
  g_assert_null (keywords_text (&keywords));
  g_assert_true (keywords_add (&keywords, "b"));
  g_assert_true (keywords_add (&keywords, "a"));
  g_assert_true (keywords_add (&keywords, "c"));
  g_assert_true (keywords_add (&keywords, "b"));
  g_assert_cmpstr (keywords_text (&keywords), ==, "a b c");
  int fit = 0;
  for (int i = 0; i < 1000; i++) {
    char name[16];
    g_snprintf (name, sizeof name, "keyword%d", i);
    fit += keywords_add (&keywords, name);
  }
  g_assert_cmpint (fit, <, 300);
  g_assert_cmpuint (strlen (keywords_text (&keywords)), <=, 2048);
  g_assert_false (keywords_add (&keywords, "d"));
  keywords_reset (&keywords);
  g_assert_true (keywords_add (&keywords, "d"));
  g_assert_cmpstr (keywords_text (&keywords), ==, "d");
  keywords_clear (&keywords);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/source/text/postmark", test_postmark);
  g_test_add_func ("/source/text/utf7", test_utf7);
  g_test_add_func ("/source/text/keywords", test_keywords);
  return g_test_run ();
}
