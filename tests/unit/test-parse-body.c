/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test-parse.h"

/* Header fields of a part, and how its description begins and ends around the size 0. */
static const struct {
  const char *fields, *head, *tail;
} parts[] = {
    {"Content-Type: Image/Png; Name=x.PNG\n",
     "\"IMAGE\" \"PNG\" (\"NAME\" \"x.PNG\") NIL NIL \"7BIT\"", "NIL NIL NIL NIL"},
    {"Content-Type: application/x-a.b+c (a comment); a = \"b;c\" ; ; d=e\n",
     "\"APPLICATION\" \"X-A.B+C\" (\"A\" \"b;c\" \"D\" \"e\") NIL NIL \"7BIT\"", "NIL NIL NIL NIL"},
    {"Content-Type: image/gif\nContent-Transfer-Encoding: Base64 (really)\nContent-ID:  <1> \n"
     "Content-Description: a\n \"b\"\nContent-MD5: abc\nContent-Location: http://x/\n"
     "Content-Language: de (German), en ,, fr\n",
     "\"IMAGE\" \"GIF\" NIL \"<1>\" \"a \\\"b\\\"\" \"BASE64\"",
     "\"abc\" NIL (\"de\" \"en\" \"fr\") \"http://x/\""},
    {"Content-Type: image/gif\nContent-Disposition: Inline\n",
     "\"IMAGE\" \"GIF\" NIL NIL NIL \"7BIT\"", "NIL (\"INLINE\" NIL) NIL NIL"},
    {"Content-Type: image/gif\nContent-Disposition: attachment; FileName=\"\\\"a\\\\b\\\".gif\"\n",
     "\"IMAGE\" \"GIF\" NIL NIL NIL \"7BIT\"",
     "NIL (\"ATTACHMENT\" (\"FILENAME\" \"\\\"a\\\\b\\\".gif\")) NIL NIL"},
    {"Content-Type: image/gif\nContent-Disposition: ; filename=a\n",
     "\"IMAGE\" \"GIF\" NIL NIL NIL \"7BIT\"", "NIL (\"ATTACHMENT\" (\"FILENAME\" \"a\")) NIL NIL"},

    /* Continuations (RFC 2231) that follow each other are put together, others stay. */
    {"Content-Type: image/gif; name*0=\"a b\"; NAME*1=c; name*2=\" %\"; x=y\n",
     "\"IMAGE\" \"GIF\" (\"NAME\" \"a bc %\" \"X\" \"y\") NIL NIL \"7BIT\"", "NIL NIL NIL NIL"},
    {"Content-Type: image/gif; name*0*=utf-8'en'%41; name*1=5%; name*2*=%42; name*4*=z\n",
     "\"IMAGE\" \"GIF\" (\"NAME*\" \"utf-8'en'%415%25%42\" \"NAME*4*\" \"z\") NIL NIL \"7BIT\"",
     "NIL NIL NIL NIL"},
    {"Content-Type: image/gif; name*1=b; name*0=a; name*1*=c; name*=utf-8''d; e*0=f; g*1=h; *0=i\n",
     "\"IMAGE\" \"GIF\" (\"NAME*1\" \"b\" \"NAME\" \"a\" \"NAME*1*\" \"c\" \"NAME*\" \"utf-8''d\""
     " \"E\" \"f\" \"G*1\" \"h\" \"*0\" \"i\") NIL NIL \"7BIT\"",
     "NIL NIL NIL NIL"},

    /* Mistakes. */
    {"Content-Type: image/gif name=a b (c).gif; =x; y; z=; \"q\"=r; charset=\"open\n",
     "\"IMAGE\" \"GIF\" (\"NAME\" \"a b .gif\" \"Z\" \"\" \"CHARSET\" \"open\") NIL NIL \"7BIT\"",
     "NIL NIL NIL NIL"},
    {"Content-Type: image/gif; name=a(1).gif; \xc3\xbc=\xc3\xb6\n",
     "\"IMAGE\" \"GIF\" (\"NAME\" \"a(1).gif\" {2}\r\n\xc3\xbc {2}\r\n\xc3\xb6) NIL NIL \"7BIT\"",
     "NIL NIL NIL NIL"},
    {"Content-Type: image/gif\nContent-Type: image/png\nContent-Transfer-Encoding:\n"
     "Content-Disposition:\nContent-Language:\nContent-ID:\n",
     "\"IMAGE\" \"GIF\" NIL \"\" NIL \"7BIT\"", "NIL NIL NIL NIL"},
    {"Content-Type: message/global\n", "\"MESSAGE\" \"GLOBAL\" NIL NIL NIL \"7BIT\"",
     "NIL NIL NIL NIL"},
};

static void
test_parts (void)
{
  for (size_t i = 0; i < G_N_ELEMENTS (parts); i++) {
    g_autofree char *expected = g_strdup_printf ("(%s 0 %s)", parts[i].head, parts[i].tail);
    g_autofree char *message = g_strdup_printf ("%s\n", parts[i].fields);
    assert_body (message, expected);
    /* The same with other line ends. */
    g_autoptr (GString) crlf = to_crlf (message);
    assert_body (crlf->str, expected);
  }
}

/* What cannot be read is text/plain (RFC 2045, 5.2). */
static void
test_bad_types (void)
{
  static const char *const types[] = {"",
                                      "text",
                                      "/plain",
                                      "text/",
                                      ";charset=utf-8",
                                      "text; charset=utf-8",
                                      "<text/html>",
                                      "\"text/html\"",
                                      "text\\/html",
                                      "(text/html",
                                      "text (x / y)"};
  for (size_t i = 0; i < G_N_ELEMENTS (types); i++) {
    g_autofree char *message = g_strdup_printf ("Content-Type: %s\n\n", types[i]);
    assert_body (message, "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 0 0"
                          " NIL NIL NIL NIL)");
  }
}

static void
test_strings (void)
{
  static const struct {
    const char *text;
    size_t size;
    const char *expected;
  } strings[] = {
      {"", 0, "\"\""},
      {"a\"b\\c\x7f\t\x01", 8, "\"a\\\"b\\\\c\x7f\t\x01\""},
      {"cut", 2, "\"cu\""},
      {"a\rb", 3, "{3}\r\na\rb"},
      {"a\nb", 3, "{3}\r\na\nb"},
      {"\x80", 1, "{1}\r\n\x80"},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (strings); i++) {
    g_autoptr (GString) out = g_string_new (NULL);
    parse_put_string (out, strings[i].text, strings[i].size);
    g_assert_cmpstr (out->str, ==, strings[i].expected);
  }
  g_autoptr (GString) out = g_string_new (NULL);
  parse_put_nstring (out, NULL);
  parse_put_nstring (out, "NIL");
  parse_put_upper (out, "aB\xc3\xbc", 4);
  g_assert_cmpstr (out->str, ==, "NIL\"NIL\"{4}\r\nAB\xc3\xbc");
  for (size_t size = 999; size < 1003; size++) {
    g_autofree char *text = g_strnfill (size, 'x');
    g_string_truncate (out, 0);
    parse_put_string (out, text, size);
    g_assert_cmpint (out->str[0], ==, size <= 1000 ? '"' : '{');
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  parse_init ();
  g_test_add_func ("/parse/body/parts", test_parts);
  g_test_add_func ("/parse/body/bad-types", test_bad_types);
  g_test_add_func ("/parse/body/strings", test_strings);
  return g_test_run ();
}
