/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes of a message are damaged: what a file shows, and the map of a mailbox. */
#include "store/scan.h"
#include "tests/unit/test-store.h"

#include <sys/syscall.h>

/* ---- a disk with bad places ------------------------------------------------------------------ */

static uint64_t bad_from, bad_to;
static ino_t bad_file; /* 0: any */

/* Instead of the C library's: reading what touches a bad place fails, as it does on a disk. */
ssize_t
pread (int fd, void *buffer, size_t size, off_t offset)
{
  struct stat st;
  bool is_bad = (uint64_t)offset < bad_to && (uint64_t)offset + size > bad_from;
  if (is_bad && (bad_file == 0 || (fstat (fd, &st) == 0 && st.st_ino == bad_file))) {
    errno = EIO;
    return -1;
  }
  return syscall (SYS_pread64, fd, buffer, size, offset);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

static char *
describe (const GArray *ranges)
{
  GString *text = g_string_new (NULL);
  for (guint i = 0; i < ranges->len; i++) {
    const StoreDamageRange *range = &g_array_index (ranges, StoreDamageRange, i);
    g_string_append_printf (text, "%s%s %" G_GUINT64_FORMAT "+%" G_GUINT64_FORMAT,
                            i > 0 ? ", " : "", store_problem_name (range->kind), range->offset,
                            range->length);
  }
  return g_string_free (text, FALSE);
}

static void
assert_ranges (const GString *bytes, uint64_t delivered, const char *expected)
{
  g_autoptr (GError) error = NULL;
  char name[] = "/tmp/mailfs-range-XXXXXX";
  auto_fd fd = g_mkstemp (name);
  g_assert_cmpint (fd, >=, 0);
  unlink (name);
  g_assert_cmpint (write (fd, bytes->str, bytes->len), ==, (ssize_t)bytes->len);
  g_autoptr (GArray) ranges = damage_ranges (fd, bytes->len, delivered, NULL);
  g_autofree char *text = describe (ranges);
  g_assert_cmpstr (text, ==, expected);
}

static void
append (GString *bytes, char byte, size_t count)
{
  gsize at = bytes->len;
  g_string_set_size (bytes, at + count);
  memset (bytes->str + at, byte, count);
}

static void
test_zeros (void)
{
  g_autoptr (GString) bytes = g_string_new ("header");
  append (bytes, 0, 4095);
  append (bytes, 'x', 1);
  assert_ranges (bytes, bytes->len, "");
  /* Over the end of what is read at a time, twice, and up to the end. */
  append (bytes, 0, 200000);
  append (bytes, 'x', 7);
  append (bytes, 0, 4096);
  assert_ranges (bytes, bytes->len, "zero-run 4102+200000, zero-run 204109+4096");
}

static void
test_ends (void)
{
  g_autoptr (GString) bytes = g_string_new ("0123456789");
  assert_ranges (bytes, 10, "");
  assert_ranges (bytes, 25, "truncated 10+15");
  assert_ranges (bytes, 4, "size-mismatch 4+6");
  g_string_truncate (bytes, 0);
  assert_ranges (bytes, 0, "");
  assert_ranges (bytes, 3, "truncated 0+3");
}

/* Where a larger read fails it is tried block by block, and what follows is read again. */
static void
test_unreadable (void)
{
  g_autoptr (GString) bytes = g_string_new (NULL);
  append (bytes, 'x', 300000);
  bad_from = 70000, bad_to = 70001;
  assert_ranges (bytes, bytes->len, "io-error 69632+4096");
  bad_from = 8000, bad_to = 140000;
  assert_ranges (bytes, bytes->len, "io-error 4096+139264");
  bad_from = 299999, bad_to = 400000;
  assert_ranges (bytes, bytes->len, "io-error 299008+992");
  bad_from = bad_to = 0;
}

/* However many there are, they are bounded, and the last reaches to the end. */
static void
test_many (void)
{
  g_autoptr (GArray) ranges = g_array_new (FALSE, FALSE, sizeof (StoreDamageRange));
  for (uint64_t i = 0; i < 5000; i++)
    damage_add_range (ranges, STORE_PROBLEM_ZERO_RUN, 10 * i, 5);
  g_assert_cmpuint (ranges->len, ==, 4096);
  const StoreDamageRange *last = &g_array_index (ranges, StoreDamageRange, 4095);
  g_assert_cmpuint (last->offset + last->length, ==, 10 * 4999 + 5);
}

static void
assert_header (const char *text, size_t size, uint64_t offset, uint64_t length)
{
  char name[] = "/tmp/mailfs-range-XXXXXX";
  auto_fd fd = g_mkstemp (name);
  unlink (name);
  g_assert_cmpint (write (fd, text, size), ==, (ssize_t)size);
  StoreDamageRange range = damage_header (fd);
  g_assert_cmpuint (range.length, ==, length);
  if (length > 0)
    g_assert_cmpuint (range.offset, ==, offset);
}

static void
test_header (void)
{
#define HEADER(text, offset, length) assert_header (text, sizeof text - 1, offset, length)
  HEADER ("", 0, 0);
  HEADER ("\n", 0, 0);
  HEADER ("\r\nbody", 0, 0);
  HEADER ("A: b\r\n c\r\nD :\r\n\r\nno header", 0, 0);
  HEADER ("From joe Thu Jan  1\nA: b\n\n", 0, 0);
  HEADER ("A: b\nFrom joe\nC: d\n", 5, 9);
  HEADER (" begins so\nA: b\n\n", 0, 11);
  HEADER ("A: b\nrubbish\nC: d\n\377\nE: f\n\nmore rubbish", 5, 15);
  HEADER ("\0\0\0\0", 0, 4);
  HEADER (":", 0, 1);
#undef HEADER
}

/* ---- the map --------------------------------------------------------------------------------- */

#define JOE "mail/example.com/user/joe/INBOX"

static char *
map_of (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  char *text = NULL;
  size_t size;
  assert_ok (store_node_resolve (store, spelling, &node, &error), error);
  FILE *out = open_memstream (&text, &size);
  assert_ok (store_damage_write (store, node.number, out, NULL, NULL, &error), error);
  fclose (out);
  return text;
}

static void
assert_map (Fixture *fixture, const char *spelling, const char *expected)
{
  g_autofree char *text = map_of (fixture->store, spelling);
  g_assert_cmpstr (text, ==, expected);
}

static void
fill (Fixture *fixture)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "joe@example.com/INBOX/Old");
  for (unsigned i = 1; i <= 6; i++)
    deliver (inbox, "one of six", 0, NULL); /* 65 bytes */
  deliver (other, "another", 0, NULL);
}

static void
test_map (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  assert_map (fixture, "joe@example.com/INBOX",
              "# uid\toffset\tlength\tkind\tdetail\n# complete: 0 lines\n");
  run_in (fixture,
          "cd " JOE " && truncate -s 60 0000000005.eml && echo >>0000000004.eml && "
          "printf 'X' | dd of=0000000003.eml bs=1 seek=3 conv=notrunc status=none && "
          "rm 0000000002.eml && cp 0000000001.eml 0000000009.eml && "
          "echo more >>Old/0000000001.eml",
          "");
  g_autofree char *before = map_of (fixture->store, "joe@example.com/INBOX");
  g_assert_cmpstr (before, ==,
                   "# uid\toffset\tlength\tkind\tdetail\n"
                   "0\t0\t0\tstate-mismatch\tthe next UID is 7, but there is a message 9\n"
                   "2\t0\t65\tmissing-file\tthe message file is gone\n"
                   "3\t0\t65\thash-mismatch\tnot the bytes that were delivered\n"
                   "4\t65\t1\tsize-mismatch\t66 bytes, 65 were delivered\n"
                   "5\t60\t5\ttruncated\t60 bytes, 65 were delivered\n"
                   "9\t0\t0\tmissing-row\tthe index does not know it\n"
                   "# complete: 6 lines\n");
  g_autofree char *all = map_of (fixture->store, "joe@example.com");
  g_assert_nonnull (strstr (all, "# mailbox\tuid\toffset\t"));
  g_assert_nonnull (
      strstr (all, "\nexample.com/user/joe/INBOX/Old\t1\t59\t5\tsize-mismatch\t64 bytes, 59 were"));
  /* Looking changed nothing. */
  g_autofree char *again = map_of (fixture->store, "joe@example.com/INBOX");
  g_assert_cmpstr (before, ==, again);
}

/* Without an index, and with one that is broken, the states on the files tell. */
static void
test_without_index (Fixture *fixture, gconstpointer way)
{
  fill (fixture);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture,
          "printf X | dd of=" JOE "/0000000003.eml bs=1 seek=3 conv=notrunc status=none && "
          "index=$(find index -name joe.sqlite3) && ",
          way);
  reopen (fixture, STORE_READ_ONLY);
  g_autofree char *text = map_of (fixture->store, "joe@example.com/INBOX");
  g_assert_nonnull (strstr (text, "\n3\t0\t65\thash-mismatch\t"));
  g_assert_null (strstr (text, "\n4\t"));
  g_assert_null (strstr (strstr (text, "\n3\t") + 1, "\n3\t"));
}

/* Zeros, of which the state of the file tells that they were not delivered; and those that were. */
static void
test_map_zeros (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autofree char *subject = g_strnfill (20000, 'x');
  deliver (inbox, subject, 0, NULL);
  run_in (fixture,
          "dd if=/dev/zero of=" JOE "/0000000001.eml bs=1 seek=30000 count=5000 conv=notrunc "
          "status=none",
          "");
  g_autofree char *text = map_of (fixture->store, "joe@example.com/INBOX");
  g_assert_nonnull (strstr (text, "\n1\t30000\t5000\tzero-run\t5000 zero bytes from byte 30000"));
  g_assert_null (strstr (text, "hash-mismatch"));
}

static char *
locate (Fixture *fixture, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  auto_fd fd = store_message_open (inbox, uid, &error);
  g_autoptr (GArray) ranges = store_message_locate (inbox, uid, fd, &error);
  g_assert_no_error (error);
  return describe (ranges);
}

static void
test_locate (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  run_in (fixture,
          "cd " JOE " && truncate -s 60 0000000002.eml && echo >>0000000003.eml && "
          "printf X | dd of=0000000004.eml bs=1 seek=3 conv=notrunc status=none",
          "");
  static const char *const expected[] = {"", "truncated 60+5", "size-mismatch 65+1",
                                         "hash-mismatch 0+65"};
  for (uint32_t uid = 1; uid <= G_N_ELEMENTS (expected); uid++) {
    g_autofree char *text = locate (fixture, uid);
    g_assert_cmpstr (text, ==, expected[uid - 1]);
  }
  struct stat st;
  g_autofree char *path = g_build_filename (fixture->path, JOE "/0000000005.eml", NULL);
  g_assert_cmpint (stat (path, &st), ==, 0);
  bad_file = st.st_ino;
  bad_from = 5, bad_to = 6;
  g_autofree char *text = locate (fixture, 5);
  g_assert_cmpstr (text, ==, "io-error 0+65");
  g_autofree char *map = map_of (fixture->store, "joe@example.com/INBOX");
  bad_from = bad_to = bad_file = 0;
  g_assert_nonnull (strstr (map, "\n5\t0\t65\tio-error\t"));
}

static void
test_full (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  FILE *out = fopen ("/dev/full", "w");
  assert_fails (store_damage_write (fixture->store, STORE_ROOT, out, NULL, NULL, &error), error,
                ENOSPC);
  fclose (out);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  parse_init ();
  g_test_add_func ("/damage/zeros", test_zeros);
  g_test_add_func ("/damage/ends", test_ends);
  g_test_add_func ("/damage/unreadable", test_unreadable);
  g_test_add_func ("/damage/many", test_many);
  g_test_add_func ("/damage/header", test_header);
  g_test_add ("/damage/map", Fixture, NULL, set_up, test_map, tear_down);
  g_test_add ("/damage/no-index", Fixture, "rm $index", set_up, test_without_index, tear_down);
  g_test_add ("/damage/cut-index", Fixture, "truncate -s 8192 $index", set_up, test_without_index,
              tear_down);
  g_test_add ("/damage/broken-index", Fixture,
              "for at in 2 3 4 5 6 7 8; do printf XXXXXXXX | dd of=$index bs=1 seek=$((at * 8192)) "
              "conv=notrunc status=none; done",
              set_up, test_without_index, tear_down);
  g_test_add ("/damage/map-zeros", Fixture, NULL, set_up, test_map_zeros, tear_down);
  g_test_add ("/damage/locate", Fixture, NULL, set_up, test_locate, tear_down);
  g_test_add ("/damage/full", Fixture, NULL, set_up, test_full, tear_down);
  return g_test_run ();
}
