/* SPDX-License-Identifier: Apache-2.0 */
/* Messages made to cost time or memory: all come out valid, soon, and in bounded memory. */
#include "tests/unit/test-parse.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED true
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED false
#endif

/* What parsing may add to the process, whatever the message. */
#define MEMORY_MAX_KIB 4096

/* Processor time: far more than any of these takes, less than a square of its size would. */
#define SECONDS_MAX (IS_SANITIZED ? 20 : 2)

#define ANY_DAMAGE UINT32_MAX

static long
peak_kib (void)
{
  struct rusage usage;
  g_assert_cmpint (getrusage (RUSAGE_SELF, &usage), ==, 0);
  return usage.ru_maxrss;
}

/* Gives back what is free and forgets the peak. */
static void
reset_peak (void)
{
  malloc_trim (0);
  auto_fd fd = open ("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  g_assert_cmpint (write (fd, "5", 1), ==, 1);
}

/* Summarises a message that is made piece by piece and never in memory as a whole. */
typedef struct {
  ParseScan *scan;
  long before_kib;
  clock_t start;
} Feed;

static Feed
feed_begin (void)
{
  reset_peak ();
  return (Feed){.scan = parse_scan_new (), .before_kib = peak_kib (), .start = clock ()};
}

static void
feed (Feed *self, const char *text)
{
  parse_scan_feed (self->scan, (const uint8_t *)text, strlen (text));
}

static void
feed_times (Feed *self, const char *text, uint32_t times)
{
  g_autoptr (GString) block = g_string_new (NULL);
  uint32_t per_block = MIN (MAX (1, 60000 / strlen (text)), times);
  for (uint32_t i = 0; i < per_block; i++)
    g_string_append (block, text);
  uint32_t done = 0;
  for (; done + per_block <= times; done += per_block)
    feed (self, block->str);
  for (; done < times; done++)
    feed (self, text);
}

static StoreSummary
feed_end (Feed *self, uint32_t damage)
{
  StoreSummary summary = {0};
  parse_scan_finish (self->scan, &summary);
  parse_scan_free (self->scan);
  long used_kib = peak_kib () - self->before_kib;
  double seconds = (double)(clock () - self->start) / CLOCKS_PER_SEC;
  g_test_message ("%ld KiB, %.3f s, envelope %zu, body %zu", used_kib, seconds,
                  strlen (summary.envelope), strlen (summary.bodystructure));
  if (!IS_SANITIZED)
    g_assert_cmpint (used_kib, <=, MEMORY_MAX_KIB);
  g_assert_cmpfloat (seconds, <, SECONDS_MAX);
  if (damage != ANY_DAMAGE)
    g_assert_cmpuint (summary.damage, ==, damage);
  assert_valid (&summary);
  return summary;
}

static uint32_t
count (const char *text, const char *what)
{
  uint32_t n = 0;
  for (const char *p = text; (p = strstr (p, what)) != NULL; p += strlen (what))
    n++;
  return n;
}

static void
test_nothing (void)
{
  Feed none = feed_begin ();
  g_auto (StoreSummary) summary = feed_end (&none, 0);
  g_assert_cmpuint (count (summary.bodystructure, "\"7BIT\" 0 0 "), ==, 1);
  static const char nuls[100000];
  g_auto (StoreSummary) empty = summarise (nuls, sizeof nuls);
  g_assert_cmpuint (empty.damage, ==, STORE_DAMAGE_NUL);
}

static void
test_nested_multiparts (void)
{
  Feed message = feed_begin ();
  for (int i = 0; i < 100000; i++) {
    g_autofree char *part =
        g_strdup_printf ("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i);
    feed (&message, part);
  }
  g_auto (StoreSummary) summary = feed_end (&message, STORE_DAMAGE_LIMIT);
  g_assert_cmpuint (count (summary.bodystructure, "\"MIXED\""), ==, PARSE_DEPTH_MAX + 1);
}

static void
test_nested_messages (void)
{
  Feed message = feed_begin ();
  feed_times (&message, "Subject: x\nContent-Type: message/rfc822\n\n", 100000);
  g_auto (StoreSummary) summary = feed_end (&message, STORE_DAMAGE_LIMIT);
  g_assert_cmpuint (count (summary.bodystructure, "\"RFC822\""), ==, PARSE_DEPTH_MAX + 1);
}

/* Each line is compared with the boundaries of a hundred open parts. */
static void
test_many_comparisons (void)
{
  Feed message = feed_begin ();
  for (uint32_t i = 0; i < PARSE_DEPTH_MAX; i++) {
    g_autofree char *part =
        g_strdup_printf ("Content-Type: multipart/mixed; boundary=b%07u\n\n--b%07u\n", i, i);
    feed (&message, part);
  }
  feed (&message, "\n");
  feed_times (&message, "--b000000x\n", 100000);
  g_auto (StoreSummary) summary = feed_end (&message, 0);
  g_assert_cmpuint (count (summary.bodystructure, "\"MIXED\""), ==, PARSE_DEPTH_MAX);
  g_assert_cmpuint (count (summary.bodystructure, "\"7BIT\" 1100000 100000 "), ==, 1);
}

static void
test_many_parts (void)
{
  Feed message = feed_begin ();
  feed (&message, "Content-Type: multipart/mixed; boundary=b\n\n");
  feed_times (&message, "--b\n\nx\n", 100000);
  feed (&message, "--b--\n");
  g_auto (StoreSummary) summary = feed_end (&message, STORE_DAMAGE_LIMIT);
  g_assert_cmpuint (count (summary.bodystructure, "\"7BIT\" 1 1 "), ==, PARSE_PARTS_MAX - 1);
}

/* Parts whose descriptions are long: what does not fit is left out, what fits is whole. */
static void
test_long_parts (void)
{
  Feed message = feed_begin ();
  feed (&message, "Content-Type: multipart/mixed; boundary=b\n\n");
  for (int i = 0; i < 300; i++) {
    feed (&message, "--b\nContent-Type: message/rfc822; name=\"");
    feed_times (&message, "\xc3\xbc", 1000);
    feed (&message, "\"\n\nSubject: ");
    feed_times (&message, "\xc3\xbc", 1000);
    feed (&message, "\nTo: ");
    feed_times (&message, "joe@example.com, ", 100);
    feed (&message, "\n\n");
  }
  feed (&message, "--b\n\nthe last\n--b--\n");
  g_auto (StoreSummary) summary = feed_end (&message, STORE_DAMAGE_LIMIT);
  g_assert_cmpuint (count (summary.bodystructure, "\"RFC822\""), >, 100);
}

/* A field that is all the header block may hold, of what may cost most. */
static void
check_field (const char *field, const char *pattern)
{
  g_autofree char *shown = g_strescape (pattern, NULL);
  g_test_message ("%s[%s]...", field, shown);
  Feed message = feed_begin ();
  feed (&message, field);
  feed_times (&message, pattern, (PARSE_HEADER_MAX - strlen (field) - 2) / strlen (pattern));
  feed (&message, "\n\n");
  StoreSummary summary = feed_end (&message, ANY_DAMAGE);
  store_summary_clear (&summary);
}

static void
test_fields (void)
{
  static const char *const fields[] = {"Content-Type: multipart/mixed; boundary=b ",
                                       "Content-Type: text/plain",
                                       "Content-Type: text/plain; a*0*=x''; a*1=\"",
                                       "Content-Type: ",
                                       "Content-Disposition: attachment",
                                       "Content-Language: ",
                                       "Content-ID: ",
                                       "From: ",
                                       "From: \"",
                                       "From: a: ",
                                       "From: <",
                                       "Subject: ",
                                       "Date: ",
                                       ""};
  static const char *const patterns[] = {
      ";\xff=\xff", ";\xff=",  "\xff,",     "\\", "\"", ";a=b", ";a*0=b;a*1=c", "(", "=?", "%",
      "<@",         "<@,",     "a@b,",      "a:", ":",  ";",    "a ",           ".", " .", "\n ",
      "\r",         "=?a?q?,", "To:\xff\n", "1"};
  for (size_t i = 0; i < G_N_ELEMENTS (fields); i++)
    for (size_t k = 0; k < G_N_ELEMENTS (patterns); k++)
      check_field (fields[i], patterns[k]);
}

static void
test_long_header_line (void)
{
  Feed message = feed_begin ();
  feed (&message, "Subject: x\nX-Long: ");
  feed_times (&message, "0123456789", 5000000);
  feed (&message, "\nFrom: a@b\nContent-Type: image/gif\n\nx\n");
  g_auto (StoreSummary) summary = feed_end (&message, STORE_DAMAGE_LIMIT);
  g_assert_true (g_str_has_prefix (summary.envelope, "(NIL \"x\" NIL"));
  g_assert_cmpuint (count (summary.bodystructure, "\"7BIT\" 2 1 "), ==, 1);
}

static void
test_long_boundary (void)
{
  static const struct {
    uint32_t size, damage;
    const char *expected;
  } cases[] = {{1000, 0, "\"7BIT\" 1 1 "}, {1100, STORE_DAMAGE_LIMIT, "\"7BIT\" 2220 5 "}};
  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *boundary = g_strnfill (cases[i].size, 'b');
    g_autofree char *text = g_strdup_printf ("Content-Type: multipart/mixed; boundary=%s\n\n"
                                             "--%s\n\nx\n--%s--\nepilogue\n",
                                             boundary, boundary, boundary);
    Feed message = feed_begin ();
    feed (&message, text);
    g_auto (StoreSummary) summary = feed_end (&message, cases[i].damage);
    g_assert_nonnull (strstr (summary.bodystructure, cases[i].expected));
  }
}

/* A line that is longer than what is kept of it is no boundary, in one piece or in many. */
static void
test_long_line (void)
{
  for (size_t piece = 1; piece <= 10000; piece *= 10) {
    g_autoptr (GString) text = g_string_new ("Content-Type: multipart/mixed; boundary=b\n\n--b\n\n"
                                             "--b");
    g_autofree char *blanks = g_strnfill (2000, ' ');
    g_string_append (text, blanks);
    g_string_append (text, "\nx\n--b--\n");
    g_autoptr (ParseScan) scan = parse_scan_new ();
    for (size_t done = 0; done < text->len; done += piece)
      parse_scan_feed (scan, (const uint8_t *)text->str + done, MIN (piece, text->len - done));
    g_auto (StoreSummary) summary = {0};
    parse_scan_finish (scan, &summary);
    g_assert_nonnull (strstr (summary.bodystructure, "\"7BIT\" 2005 2 "));
  }
}

/* 2 GB of nothing, through the file interface. */
static void
test_large_file (void)
{
  g_autofree char *path = NULL;
  g_autoptr (GError) error = NULL;
  auto_fd fd = g_file_open_tmp ("parse-XXXXXX", &path, &error);
  g_assert_no_error (error);
  g_assert_cmpint (unlink (path), ==, 0);
  static const char header[] = "Subject: large\nContent-Type: image/gif\n\n";
  const uint64_t size = UINT64_C (2) << 30;
  g_assert_cmpint (pwrite (fd, header, strlen (header), 0), ==, strlen (header));
  g_assert_cmpint (pwrite (fd, "\n", 1, size - 1), ==, 1);
  reset_peak ();
  long before_kib = peak_kib ();
  g_auto (StoreSummary) summary = {0};
  uint64_t done;
  g_assert_true (parse_file (fd, size, &summary, &done, &error));
  long used_kib = peak_kib () - before_kib;
  g_test_message ("%ld KiB", used_kib);
  if (!IS_SANITIZED)
    g_assert_cmpint (used_kib, <=, 1024);
  g_assert_cmpuint (done, ==, size);
  g_assert_cmpuint (summary.damage, ==, STORE_DAMAGE_NUL);
  g_autofree char *expected = g_strdup_printf (
      "(\"IMAGE\" \"GIF\" NIL NIL NIL \"7BIT\" %" G_GUINT64_FORMAT " NIL NIL NIL NIL)",
      size - strlen (header));
  g_assert_cmpstr (summary.bodystructure, ==, expected);
}

/* IMAP's numbers have 32 bits. */
static void
test_large_number (void)
{
  g_autoptr (ParseScan) scan = parse_scan_new ();
  g_autofree char *block = g_strnfill (1 << 24, 'x');
  parse_scan_feed (scan, (const uint8_t *)"\n", 1);
  for (int i = 0; i < 257; i++)
    parse_scan_feed (scan, (const uint8_t *)block, 1 << 24);
  g_auto (StoreSummary) summary = {0};
  parse_scan_finish (scan, &summary);
  assert_valid (&summary);
  g_assert_cmpuint (summary.damage, ==, STORE_DAMAGE_LIMIT);
  g_assert_nonnull (strstr (summary.bodystructure, "\"7BIT\" 4294967295 1 "));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  parse_init ();
  g_test_add_func ("/parse/hostile/nothing", test_nothing);
  g_test_add_func ("/parse/hostile/nested-multiparts", test_nested_multiparts);
  g_test_add_func ("/parse/hostile/nested-messages", test_nested_messages);
  g_test_add_func ("/parse/hostile/many-comparisons", test_many_comparisons);
  g_test_add_func ("/parse/hostile/many-parts", test_many_parts);
  g_test_add_func ("/parse/hostile/long-parts", test_long_parts);
  g_test_add_func ("/parse/hostile/fields", test_fields);
  g_test_add_func ("/parse/hostile/long-header-line", test_long_header_line);
  g_test_add_func ("/parse/hostile/long-boundary", test_long_boundary);
  g_test_add_func ("/parse/hostile/long-line", test_long_line);
  g_test_add_func ("/parse/hostile/large-file", test_large_file);
  g_test_add_func ("/parse/hostile/large-number", test_large_number);
  return g_test_run ();
}
