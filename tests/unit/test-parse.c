/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test-parse.h"

#include <fcntl.h>
#include <unistd.h>

#define US_ASCII     "(\"CHARSET\" \"us-ascii\")"
#define THRICE(list) list " " list " " list
#define FROM_ANNA    THRICE ("((\"Anna\" NIL \"anna\" \"example.org\"))")
#define FROM_JOE     THRICE ("((NIL NIL \"joe\" \"example.com\"))")
#define FROM_BERG    THRICE ("((\"Anna Berg\" NIL \"anna\" \"example.org\"))")
#define FROM_A       THRICE ("((NIL NIL \"a\" \"example.com\"))")
#define FROM_B       THRICE ("((NIL NIL \"b\" \"example.com\"))")
#define FROM_LIST    THRICE ("((NIL NIL \"list\" \"example.com\"))")

static const struct {
  const char *file;
  int64_t sent_s;
  const char *envelope, *body;
} samples[] = {
    {
        "plain.eml",
        880127706,
        "(\"Fri, 21 Nov 1997 09:55:06 -0600\""
        " \"A folded subject with \\\"quotes\\\" and a \\\\\" " FROM_BERG
        " ((\"Joe Q. Public\" NIL \"joe\" \"example.com\")(\"Mary\" NIL \"mary\" \"example.net\"))"
        " NIL NIL \"<3456@example.net>\" \"<1234@local.machine.example>\")",
        "(\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 25 2 NIL NIL NIL NIL)",
    },
    {
        "attachment.eml",
        1640991600,
        "(\"Sat, 1 Jan 2022 00:00:00 +0100\" \"=?utf-8?b?R3LDvMOfZQ==?=\""
        " ((\"=?utf-8?q?Ren=C3=A9e_M=C3=BCller?=\" NIL \"renee\" \"example.org\"))"
        " ((NIL NIL \"office\" \"example.org\"))"
        " ((\"Office, The\" NIL \"office\" \"example.org\"))"
        " ((NIL NIL \"list\" \"example.com\"))"
        " NIL NIL NIL \"<a@example.org>\")",
        "(((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\" \"FORMAT\" \"flowed\") NIL NIL \"8BIT\" 7 1"
        " NIL NIL NIL NIL)"
        "(\"TEXT\" \"HTML\" (\"CHARSET\" \"utf-8\") NIL NIL \"QUOTED-PRINTABLE\" 23 1"
        " NIL NIL NIL \"http://www.example.org/a.html\")"
        " \"ALTERNATIVE\" (\"BOUNDARY\" \"inner\") NIL NIL NIL)"
        "(\"APPLICATION\" \"PDF\" (\"NAME\" \"a \\\"b\\\".pdf\") \"<part3@example.org>\""
        " \"The bill\" \"BASE64\" 8 \"Q2hlY2sgSW50ZWdyaXR5IQ==\""
        " (\"ATTACHMENT\" (\"FILENAME*\" \"utf-8''%C3%BC%20b%2E100%25.pdf\" \"SIZE\" \"6\"))"
        " (\"de\") NIL)"
        " \"MIXED\" (\"BOUNDARY\" \"outer\") NIL (\"de\" \"en\") NIL)",
    },
    {
        "forwarded.eml",
        INT64_MIN,
        "(NIL \"Fwd: two messages\" " FROM_JOE
        " ((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL)",
        "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 10 1 NIL NIL NIL NIL)"
        "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 164"
        " (\"Mon, 3 Feb 2020 10:00:00 GMT\" \"First\" " FROM_ANNA
        " ((NIL NIL \"Friends\" NIL)(NIL NIL \"joe\" \"example.com\")"
        "(\"Mary\" NIL \"mary\" \"example.net\")(NIL NIL NIL NIL)(NIL NIL \"bob\" \"example.com\"))"
        " NIL NIL NIL NIL)"
        " (\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 11 2 NIL NIL NIL NIL)"
        " 7 NIL (\"INLINE\" NIL) NIL NIL)"
        "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 138"
        " (NIL \"Second\" NIL NIL NIL NIL NIL NIL NIL NIL)"
        " ((\"IMAGE\" \"PNG\" NIL NIL NIL \"BASE64\" 4 NIL NIL NIL NIL)"
        " \"MIXED\" (\"BOUNDARY\" \"def\") NIL NIL NIL)"
        " 9 NIL NIL NIL NIL)"
        " \"MIXED\" (\"BOUNDARY\" \"abc\") NIL NIL NIL)",
    },
    {
        "digest.eml",
        INT64_MIN,
        "(NIL \"Digest\" " FROM_LIST " NIL NIL NIL NIL NIL)",
        "((\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 35"
        " (NIL \"One\" " FROM_A " NIL NIL NIL NIL NIL)"
        " (\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)"
        " 4 NIL NIL NIL NIL)"
        "(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 13 1 NIL NIL NIL NIL)"
        "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 35"
        " (NIL \"Two\" " FROM_B " NIL NIL NIL NIL NIL)"
        " (\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)"
        " 4 NIL NIL NIL NIL)"
        " \"DIGEST\" (\"BOUNDARY\" \"----d\") NIL NIL NIL)",
    },
};

static void
test_samples (void)
{
  for (size_t i = 0; i < G_N_ELEMENTS (samples); i++) {
    g_autofree char *path = g_build_filename (TEST_DATA, samples[i].file, NULL);
    g_autofree char *text = NULL;
    gsize size;
    g_assert_true (g_file_get_contents (path, &text, &size, NULL));
    g_auto (StoreSummary) summary = summarise (text, size);
    g_assert_cmpstr (summary.envelope, ==, samples[i].envelope);
    g_assert_cmpstr (summary.bodystructure, ==, samples[i].body);
    g_assert_cmpint (summary.sent_s, ==, samples[i].sent_s);
    g_assert_cmpuint (summary.damage, ==, 0);
    g_autofree char *digest = g_compute_checksum_for_data (G_CHECKSUM_SHA256, (guchar *)text, size);
    for (int k = 0; k < 32; k++) {
      g_autofree char *hex = g_strdup_printf ("%02x", summary.sha256[k]);
      g_assert_cmpmem (hex, 2, digest + 2 * k, 2);
    }
  }
}

/* However a message is cut, the summary is the same. */
static void
test_pieces (void)
{
  for (size_t i = 0; i < G_N_ELEMENTS (samples); i++) {
    g_autofree char *path = g_build_filename (TEST_DATA, samples[i].file, NULL);
    g_autofree char *text = NULL;
    g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
    g_autoptr (GString) crlf = to_crlf (text);
    g_auto (StoreSummary) whole = summarise (crlf->str, crlf->len);
    for (size_t piece = 1; piece < 80; piece++) {
      g_autoptr (ParseScan) scan = parse_scan_new ();
      for (size_t done = 0; done < crlf->len; done += piece)
        parse_scan_feed (scan, (const uint8_t *)crlf->str + done, MIN (piece, crlf->len - done));
      g_auto (StoreSummary) summary = {0};
      parse_scan_finish (scan, &summary);
      g_assert_cmpstr (summary.envelope, ==, whole.envelope);
      g_assert_cmpstr (summary.bodystructure, ==, whole.bodystructure);
    }
  }
}

static void
test_line_ends (void)
{
  /* CR LF counts two octets, and both belong to the boundary. */
  assert_body (
      "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\ntwo\r\n--b--\r\n",
      "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 8 2 NIL NIL NIL NIL)"
      " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)");
  /* Mixed: each boundary takes the line end that is there. */
  assert_body (
      "Content-Type: multipart/mixed; boundary=b\n\r\n--b\r\n\none\r\ntwo\n--b\n\nx\r\n--b--",
      "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 8 2 NIL NIL NIL NIL)"
      "(\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)"
      " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)");
  /* A bare CR ends no line, and a last line needs no end. */
  assert_body ("Subject: x\n\na\rb\nc",
               "(\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 5 2 NIL NIL NIL NIL)");
  assert_body ("Subject: x\n\n\n\n",
               "(\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 2 2 NIL NIL NIL NIL)");
  /* Empty lines before a boundary: the last belongs to it. */
  assert_body ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n\n--b\n\n\n\n--b\n\n--b--\n",
               "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)"
               "(\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)"
               "(\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)"
               " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)");
}

#define EMPTY_ENVELOPE "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
#define EMPTY_TEXT     "(\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 0 0 NIL NIL NIL NIL)"

static void
test_boundaries (void)
{
  /* Without its end, or cut off in the middle. */
  assert_body ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n",
               "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 2 1 NIL NIL NIL NIL)"
               " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)");
  assert_body ("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: image/gif",
               "((\"IMAGE\" \"GIF\" NIL NIL NIL \"7BIT\" 0 NIL NIL NIL NIL)"
               " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)");
  /* Nothing between two boundaries is no part; what follows the end is none either. */
  assert_body ("Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\nx\n--b\n--b--\n--b\n\ny\n",
               "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)"
               " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)");
  /* Longer or shorter lines are no boundaries, inner parts end with the outer boundary. */
  assert_body (
      "Content-Type: multipart/mixed; boundary=\"bb \"\n\n--b\n--bbb\n--bb\t \n"
      "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bb-\n--bb--- \n--bb--\t\n--b\n",
      "(((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 14 2 NIL NIL NIL NIL)"
      " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)"
      " \"MIXED\" (\"BOUNDARY\" \"bb \") NIL NIL NIL)");
  /* A boundary ends a header block. */
  assert_body (
      "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n--b\n"
      "Content-Type: message/rfc822\n\nSubject: x\n--b--\n",
      "((\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 0 " EMPTY_ENVELOPE " " EMPTY_TEXT
      " 0 NIL NIL NIL NIL)"
      "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 10"
      " (NIL \"x\" NIL NIL NIL NIL NIL NIL NIL NIL) " EMPTY_TEXT " 1 NIL NIL NIL NIL)"
      " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)");
}

/* IMAP has no multipart without parts and no message without a body. */
static void
test_stand_ins (void)
{
  assert_body ("Content-Type: multipart/mixed; boundary=b\n\none\ntwo\n",
               "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 8 2 NIL NIL NIL NIL)"
               " \"MIXED\" (\"BOUNDARY\" \"b\") NIL NIL NIL)");
  assert_body ("Content-Type: multipart/mixed\n\n--\n----\n",
               "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 8 2 NIL NIL NIL NIL)"
               " \"MIXED\" NIL NIL NIL NIL)");
  assert_body ("Content-Type: message/rfc822\n",
               "(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 0 " EMPTY_ENVELOPE " " EMPTY_TEXT
               " 0 NIL NIL NIL NIL)");
  assert_body ("", EMPTY_TEXT);
  assert_envelope ("", EMPTY_ENVELOPE);
}

/* What has no type in a digest is a message, what has a bad one is not. */
static void
test_digest (void)
{
  assert_body ("Content-Type: multipart/digest; boundary=b\n\n--b\nContent-Type: bad\n\nx\n--b\n"
               "Content-Type: multipart/mixed; boundary=c\n\n--c\n\ny\n--b--\n",
               "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)"
               "((\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 1 1 NIL NIL NIL NIL)"
               " \"MIXED\" (\"BOUNDARY\" \"c\") NIL NIL NIL)"
               " \"DIGEST\" (\"BOUNDARY\" \"b\") NIL NIL NIL)");
}

static void
test_header_block (void)
{
  /* What is no field is passed over, a blank before the colon is none of the name. */
  assert_envelope ("From joe Mon Jan  1 00:00:00 2001\n>From joe\nSubject : one\nno field\n"
                   "Subject: two\nX: y\n z\nMESSAGE-ID:<a>\n:x\n\nDate: now\n",
                   "(NIL \"one\" NIL NIL NIL NIL NIL NIL NIL \"<a>\")");
  /* Present but empty is not absent; lists of one name are one list. */
  assert_envelope ("Subject:\nDate: \nTo: a@b\nCc:\nto: c@d\nMessage-ID:\n \n",
                   "(\"\" \"\" NIL NIL NIL ((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\")) NIL NIL NIL"
                   " \"\")");
  /* Folding goes, blanks stay; what is no 7-bit text is a literal. */
  assert_envelope ("Subject: a\r\n\tb\r\n  c\r\nIn-Reply-To: a\rb\r\nMessage-ID: \xc3\xbc\r\n\r\n",
                   "(NIL \"a\tb  c\" NIL NIL NIL NIL NIL NIL {3}\r\na\rb {2}\r\n\xc3\xbc)");
}

static void
test_damage (void)
{
  static const char text[] = "To\0xx: a@b\nSubject: a\0b\n\nc\0d\n";
  g_auto (StoreSummary) summary = summarise (text, sizeof text - 1);
  g_assert_cmpuint (summary.damage, ==, STORE_DAMAGE_NUL);
  g_assert_cmpstr (summary.envelope, ==, "(NIL \"a?b\" NIL NIL NIL NIL NIL NIL NIL NIL)");
  g_assert_cmpstr (summary.bodystructure, ==,
                   "(\"TEXT\" \"PLAIN\" " US_ASCII " NIL NIL \"7BIT\" 4 1 NIL NIL NIL NIL)");
}

static void
test_dates (void)
{
  static const struct {
    const char *text;
    int64_t sent_s;
  } dates[] = {
      {"Thu, 1 Jan 1970 00:00:00 +0000", 0},
      {"1 Jan 1970 00:00 GMT", 0},
      {"Wed, 31 Dec 1969 23:59:59 UT", -1},
      {"Fri, 21 Nov 97 09(comment):   55  :  06 -0600", 880127706},
      {"(a (b) c) Mon,3 Feb 120 10:00:00 +0530 (IST)", 1580704200},
      {"Monday, 03-February-2020 10:00:60 EST", 1580742060},
      {"3 Feb 49 10:00 Z", 2495959200},
      {"3 Feb 50 10:00 Z", -628264800},
      {"Mon, 3 Feb 2020 10:00:61 +0000", INT64_MIN},
      {"Mon, 3 Feb 2020 10:00:00 -01:30 and more", 1580729400},
      {"Mon, 3 Feb 2020 10:00:00 CEST", 1580724000},
      {"Fri, 31 Dec 9999 23:59:59 +0000", 253402300799},
      {"Sat, 29 Feb 2020 10:00:00", 1582970400},
      {"Sun, 29 Feb 2021 10:00:00 +0000", INT64_MIN},
      {"Mon, 3 Feb 2020 7:00 PM EST", INT64_MIN},
      {"Mon, 3 Feb 2020 24:00 +0000", INT64_MIN},
      {"Mon, 3 Feb 2020 10:60 +0000", INT64_MIN},
      {"Mon, 3 Feb 0102 10:00 +0000", INT64_MIN},
      {"Mon, 3 Feb 20200 10:00 +0000", INT64_MIN},
      {"Mon, 3 Feb 2020 10:00 +600", INT64_MIN},
      {"Mon, 3 Foo 2020 10:00 +0000", INT64_MIN},
      {"Mon, 3 Feb 2020", INT64_MIN},
      {"yesterday", INT64_MIN},
      {"(", INT64_MIN},
      {"", INT64_MIN},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (dates); i++)
    g_assert_cmpint (parse_date (dates[i].text), ==, dates[i].sent_s);
  g_assert_cmpint (parse_date (NULL), ==, INT64_MIN);
}

static void
test_file (void)
{
  g_autofree char *path = g_build_filename (TEST_DATA, "attachment.eml", NULL);
  g_autofree char *text = NULL;
  gsize size;
  g_assert_true (g_file_get_contents (path, &text, &size, NULL));
  auto_fd fd = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (fd, >=, 0);
  /* Whole, too short, and as far as it was asked for. */
  const uint64_t sizes[] = {size, size + 1000, UINT64_MAX, 600, 0};
  for (size_t i = 0; i < G_N_ELEMENTS (sizes); i++) {
    g_autoptr (GError) error = NULL;
    g_auto (StoreSummary) expected = summarise (text, MIN (size, sizes[i]));
    g_auto (StoreSummary) summary = {0};
    uint64_t done;
    g_assert_true (parse_file (fd, sizes[i], &summary, &done, &error));
    g_assert_no_error (error);
    g_assert_cmpuint (done, ==, MIN (size, sizes[i]));
    g_assert_cmpstr (summary.envelope, ==, expected.envelope);
    g_assert_cmpstr (summary.bodystructure, ==, expected.bodystructure);
    g_assert_cmpmem (summary.sha256, 32, expected.sha256, 32);
    g_assert_cmpint (summary.sent_s, ==, expected.sent_s);
  }
}

static void
test_file_fails (void)
{
  auto_fd fd = open (TEST_DATA, O_RDONLY | O_CLOEXEC);
  g_autoptr (GError) error = NULL;
  StoreSummary summary = {.envelope = (char *)"untouched"};
  uint64_t done = 42;
  g_assert_false (parse_file (fd, 10, &summary, &done, &error));
  g_assert_error (error, MAILFS_ERROR, EISDIR);
  g_assert_cmpstr (summary.envelope, ==, "untouched");
  g_assert_cmpuint (done, ==, 42);
}

static void *
parse_samples (void *data)
{
  for (int round = 0; round < 100; round++)
    test_samples ();
  return NULL;
}

static void
test_threads (void)
{
  GThread *threads[4];
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("parse", parse_samples, NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  parse_init ();
  g_test_add_func ("/parse/samples", test_samples);
  g_test_add_func ("/parse/pieces", test_pieces);
  g_test_add_func ("/parse/line-ends", test_line_ends);
  g_test_add_func ("/parse/boundaries", test_boundaries);
  g_test_add_func ("/parse/stand-ins", test_stand_ins);
  g_test_add_func ("/parse/digest", test_digest);
  g_test_add_func ("/parse/header-block", test_header_block);
  g_test_add_func ("/parse/damage", test_damage);
  g_test_add_func ("/parse/dates", test_dates);
  g_test_add_func ("/parse/file", test_file);
  g_test_add_func ("/parse/file-fails", test_file_fails);
  g_test_add_func ("/parse/threads", test_threads);
  return g_test_run ();
}
