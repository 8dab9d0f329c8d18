/* SPDX-License-Identifier: Apache-2.0 */
/* What is inside a message: parts, their names and their bytes. */
#include "store/parts.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int
open_bytes (const char *bytes, size_t size)
{
  int fd = memfd_create ("message", MFD_CLOEXEC);
  g_assert_cmpint (write (fd, bytes, size), ==, (ssize_t)size);
  return fd;
}

static char *
read_part (const StoreParts *parts, uint32_t index, int fd)
{
  g_autoptr (GError) error = NULL;
  auto_fd content = store_part_open (parts, index, fd, &error);
  g_assert_no_error (error);
  uint64_t size = store_parts_get (parts, index)->size;
  g_assert_cmpint (lseek (content, 0, SEEK_END), ==, (off_t)size);
  char *text = g_malloc0 (size + 1);
  g_assert_cmpint (pread (content, text, size, 0), ==, (ssize_t)size);
  return text;
}

/* "kind parent name type [content]", a line each; line ends in the content are "|". */
static char *
dump (const char *message, size_t size)
{
  g_autoptr (GError) error = NULL;
  auto_fd fd = open_bytes (message, size);
  g_autoptr (StoreParts) parts = store_parts_new (fd, &error);
  g_assert_no_error (error);
  GString *out = g_string_new (NULL);
  for (uint32_t i = 0; i < store_parts_count (parts); i++) {
    const StorePart *part = store_parts_get (parts, i);
    g_assert_cmpuint (store_parts_find (parts, part->parent, part->name), ==, i);
    g_autofree char *content =
        part->kind == STORE_PART_MESSAGE ? g_strdup ("") : read_part (parts, i, fd);
    g_strdelimit (g_strdelimit (content, "\n", '|'), "\r", '^');
    g_string_append_printf (out, "%s %d %s %s [%s]\n", store_part_kind_name (part->kind),
                            (int)part->parent, part->name, part->type, content);
  }
  return g_string_free (out, FALSE);
}

#define assert_parts(message, expected)                                                            \
  G_STMT_START                                                                                     \
  {                                                                                                \
    g_autofree char *parts_ = dump (message, strlen (message));                                    \
    g_assert_cmpstr (parts_, ==, expected);                                                        \
  }                                                                                                \
  G_STMT_END

static void
test_plain (void)
{
  assert_parts ("Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n aus\n\tBonn\nX-A: b\n\nHallo.\nWelt.\n",
                "header -1 header.txt text/rfc822-headers [Subject: Grüße aus Bonn|X-A: b|]\n"
                "text -1 text.txt text/plain [Hallo.|Welt.|]\n");
  assert_parts ("", "header -1 header.txt text/rfc822-headers []\n"
                    "text -1 text.txt text/plain []\n");
  assert_parts ("no field\x1b[2J here\nA: b",
                "header -1 header.txt text/rfc822-headers [no field [2J here|A: b|]\n"
                "text -1 text.txt text/plain []\n");
}

static void
test_multipart (void)
{
  assert_parts (
      "Content-Type: multipart/mixed; boundary=x\n\npreamble\n"
      "--x\nContent-Type: multipart/alternative; boundary=y\n\n"
      "--y\nContent-Type: text/plain; charset=iso-8859-1\n"
      "Content-Transfer-Encoding: quoted-printable\n\nsch=F6n=\ner\n"
      "--y\nContent-Type: text/html; charset=utf-8\n"
      "Content-Transfer-Encoding: base64\n\nPGI+w7Y8L2I+\n--y--\n"
      "--x\nContent-Type: application/pdf; name=\"a b.pdf\"\n"
      "Content-Transfer-Encoding: base64\n"
      "Content-Disposition: attachment\n\nJVBERg==\n"
      "--x\nContent-Type: image/png\n\n1\n--x\nContent-Type: image/png\n\n2\n"
      "--x\nContent-Type: text/plain; name=notes.txt\n\nbyte \xf6\n"
      "--x--\nepilogue\n",
      "header -1 header.txt text/rfc822-headers [Content-Type: multipart/mixed; boundary=x|]\n"
      "text -1 text.txt text/plain [schöner]\n"
      "text -1 text.html text/html [<b>ö</b>]\n"
      "attachment -1 a b.pdf application/pdf [%PDF]\n"
      "attachment -1 attachment.png image/png [1]\n"
      "attachment -1 attachment-2.png image/png [2]\n"
      "attachment -1 notes.txt text/plain [byte \xf6]\n");
}

static void
test_forwarded (void)
{
  assert_parts ("Content-Type: multipart/digest; boundary=x\n\n"
                "--x\n\nSubject: one\n\nfirst\n"
                "--x\nContent-Type: message/rfc822; name=\"two.eml\"\n\n"
                "Content-Type: message/rfc822\n\nSubject: inner\n\nsecond\n--x--\n",
                "header -1 header.txt text/rfc822-headers "
                "[Content-Type: multipart/digest; boundary=x|]\n"
                "message -1 message message/rfc822 []\n"
                "header 1 header.txt text/rfc822-headers [Subject: one|]\n"
                "text 1 text.txt text/plain [first]\n"
                "message -1 two.eml message/rfc822 []\n"
                "header 4 header.txt text/rfc822-headers [Content-Type: message/rfc822|]\n"
                "message 4 message message/rfc822 []\n"
                "header 6 header.txt text/rfc822-headers [Subject: inner|]\n"
                "text 6 text.txt text/plain [second]\n");
}

/* What cannot be taken apart is shown as it is. */
static void
test_broken (void)
{
  assert_parts (
      "Content-Type: multipart/mixed; boundary=x\n\nno boundary\n",
      "header -1 header.txt text/rfc822-headers [Content-Type: multipart/mixed; boundary=x|]\n"
      "text -1 text.txt text/plain [no boundary|]\n");
  assert_parts ("Content-Type: text/plain; charset=\"no such//TRANSLIT\"\n\n\xc3\xa4\xff.\n",
                "header -1 header.txt text/rfc822-headers "
                "[Content-Type: text/plain; charset=\"no such//TRANSLIT\"|]\n"
                "text -1 text.txt text/plain [ä\xef\xbf\xbd.|]\n");
  assert_parts ("Content-Type: text/plain; charset=utf-16le\n\na",
                "header -1 header.txt text/rfc822-headers "
                "[Content-Type: text/plain; charset=utf-16le|]\n"
                "text -1 text.txt text/plain [\xef\xbf\xbd]\n");
  assert_parts ("Content-Type: text/\x1b[2J\nContent-Transfer-Encoding: base64\n\n!!!\n",
                "header -1 header.txt text/rfc822-headers "
                "[Content-Type: text/ [2J|Content-Transfer-Encoding: base64|]\n"
                "text -1 text.txt text/plain []\n");
}

/* iconv knows more characters than there are. */
static void
test_beyond (void)
{
  assert_parts ("\na\xf7\xbf\xbf\xbf"
                "b",
                "header -1 header.txt text/rfc822-headers []\n"
                "text -1 text.txt text/plain [a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                "b]\n");
}

/* What keeps a character back until it sees the next one, and characters cut by a chunk's end. */
static void
test_charsets (void)
{
  assert_parts ("Content-Type: text/plain; charset=windows-1255\n\n\xe0",
                "header -1 header.txt text/rfc822-headers "
                "[Content-Type: text/plain; charset=windows-1255|]\n"
                "text -1 text.txt text/plain [א]\n");
  g_autoptr (GString) message = g_string_new ("Content-Type: text/plain; charset=utf-8\n\nx");
  g_autoptr (GString) expected = g_string_new ("x");
  for (int i = 0; i < 50000; i++)
    g_string_append (expected, "ä€");
  g_string_append (message, expected->str + 1);
  g_autoptr (GError) error = NULL;
  auto_fd fd = open_bytes (message->str, message->len);
  g_autoptr (StoreParts) parts = store_parts_new (fd, &error);
  g_assert_no_error (error);
  g_autofree char *text = read_part (parts, 1, fd);
  g_assert_cmpstr (text, ==, expected->str);
}

static void
assert_name (const char *sent, const char *expected)
{
  g_autofree char *name = part_name_make (sent, "fallback");
  g_assert_cmpstr (name, ==, expected);
}

static void
test_names (void)
{
  assert_name (NULL, "fallback");
  assert_name ("", "fallback");
  assert_name (" .. ", "fallback");
  assert_name ("report.pdf", "report.pdf");
  assert_name ("../../etc/passwd", "_._.._etc_passwd");
  assert_name (".bashrc", "_bashrc");
  assert_name ("-rf", "_rf");
  assert_name ("a\x1b[2J\n.txt", "a_[2J_.txt");
  assert_name ("\xe2\x80\xaegpj.exe", "_gpj.exe");
  assert_name ("NUL", "_NUL");
  assert_name ("com1.txt", "_com1.txt");
  assert_name ("common.txt", "common.txt");
  assert_name ("C:\\x?.doc", "C__x_.doc");
  assert_name ("\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd");
  g_autofree char *many = g_strnfill (300, 'x');
  g_autofree char *sent = g_strconcat (many, "\xc3\xa4.jpeg", NULL);
  g_autofree char *cut = part_name_make (sent, "fallback");
  g_assert_cmpuint (strlen (cut), ==, PART_NAME_MAX);
  g_assert_true (g_str_has_suffix (cut, "x.jpeg"));
}

static void
test_unique (void)
{
  g_autoptr (GHashTable) taken = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  static const struct {
    uint32_t scope;
    const char *name, *expected;
  } names[] = {
      {1, "a.txt", "a.txt"},   {1, "A.TXT", "A-2.TXT"},
      {2, "a.txt", "a.txt"},   {1, "a-3.txt", "a-3.txt"},
      {1, "a.txt", "a-4.txt"}, {1, "a-3.txt", "a-3-2.txt"},
      {1, "b", "b"},           {1, "b", "b-2"},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *name = part_name_unique (taken, names[i].scope, names[i].name);
    g_assert_cmpstr (name, ==, names[i].expected);
  }
}

/* Encoded names in all spellings that are about (RFC 2047, RFC 2231). */
static void
test_encoded_names (void)
{
  static const char *const fields[] = {
      "Content-Disposition: attachment; filename*=utf-8''%C3%84.bin",
      "Content-Disposition: attachment; filename*0*=iso-8859-1''%C4; filename*1=.bin",
      "Content-Disposition: attachment; filename=\"=?utf-8?q?=C3=84=2Ebin?=\"",
      "Content-Type: application/x-y; name==?utf-8?b?w4QuYmlu?=",
  };
  for (size_t i = 0; i < G_N_ELEMENTS (fields); i++) {
    g_autofree char *message = g_strconcat (fields[i], "\n\nx", NULL);
    g_autofree char *parts = dump (message, strlen (message));
    g_test_message ("%s: %s", fields[i], parts);
    g_assert_nonnull (strstr (parts, " -1 Ä.bin "));
  }
}

static void
assert_text (const char *html, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *message = g_strconcat ("Content-Type: text/html; charset=utf-8\n\n", html, NULL);
  auto_fd fd = open_bytes (message, strlen (message));
  g_autoptr (StoreParts) parts = store_parts_new (fd, &error);
  g_autofree char *text = store_parts_text (parts, fd, 1000, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (text, ==, expected);
}

static void
test_text (void)
{
  assert_text ("in<b>voi</b>ce<br>7", "invoice 7\n");
  assert_text ("a &amp; b &#228;&#xe4; &bogus; &", "a & b ää &bogus; &\n");
  assert_text ("<a title=\"x > y\" href='>'>z</a>", "z\n");
  assert_text ("<style>p { }</style><script>if (a<b) 'x'</script>y", "  y\n");
  assert_text ("<!-- don't -->z<p", " z\n");
  g_autofree char *many = g_strnfill (5000, 'x');
  g_autofree char *wide = g_strconcat ("x", many, NULL);
  g_autofree char *cut = g_strndup (wide, 1000);
  assert_text (wide, cut);
}

/* Limits: nothing is lost, and no time. */
static void
test_many (void)
{
  g_autoptr (GString) message = g_string_new ("Content-Type: multipart/mixed; boundary=x\n\n");
  for (unsigned i = 0; i < PARSE_PARTS_MAX + 10; i++)
    g_string_append (message, "--x\nContent-Disposition: attachment; filename=a\n\ny\n");
  g_autoptr (GError) error = NULL;
  auto_fd fd = open_bytes (message->str, message->len);
  g_autoptr (StoreParts) parts = store_parts_new (fd, &error);
  g_assert_no_error (error);
  g_assert_false (store_parts_are_all (parts));
  g_assert_cmpuint (store_parts_count (parts), ==, PARSE_PARTS_MAX);
}

static void
test_deep (void)
{
  g_autoptr (GString) message = g_string_new (NULL);
  for (unsigned i = 0; i < 5000; i++)
    g_string_append (message, "Content-Type: message/rfc822\n\n");
  g_autoptr (GError) error = NULL;
  auto_fd fd = open_bytes (message->str, message->len);
  g_autoptr (StoreParts) parts = store_parts_new (fd, &error);
  g_assert_no_error (error);
  g_assert_false (store_parts_are_all (parts));
  const StorePart *last = store_parts_get (parts, store_parts_count (parts) - 1);
  g_assert_cmpint (last->kind, ==, STORE_PART_ATTACHMENT);
  g_assert_cmpuint (last->offset + last->size, ==, message->len);
}

static void
test_large (void)
{
  g_autoptr (GError) error = NULL;
  auto_fd fd = open_bytes ("\n", 1);
  g_assert_cmpint (ftruncate (fd, (off_t)STORE_PARTS_MESSAGE_MAX + 1), ==, 0);
  g_assert_null (store_parts_new (fd, &error));
  g_assert_error (error, MAILFS_ERROR, EFBIG);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/parts/plain", test_plain);
  g_test_add_func ("/parts/multipart", test_multipart);
  g_test_add_func ("/parts/forwarded", test_forwarded);
  g_test_add_func ("/parts/broken", test_broken);
  g_test_add_func ("/parts/charsets", test_charsets);
  g_test_add_func ("/parts/beyond", test_beyond);
  g_test_add_func ("/parts/names", test_names);
  g_test_add_func ("/parts/unique", test_unique);
  g_test_add_func ("/parts/encoded-names", test_encoded_names);
  g_test_add_func ("/parts/text", test_text);
  g_test_add_func ("/parts/many", test_many);
  g_test_add_func ("/parts/deep", test_deep);
  g_test_add_func ("/parts/large", test_large);
  return g_test_run ();
}
