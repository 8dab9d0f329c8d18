/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test-parse.h"

/* What a list becomes; an entry without `expected` is NIL. */
static const struct {
  const char *text, *expected;
} lists[] = {
    {"joe@example.com", "((NIL NIL \"joe\" \"example.com\"))"},
    {"<joe@example.com>", "((NIL NIL \"joe\" \"example.com\"))"},
    {"Joe Public <joe@example.com>", "((\"Joe Public\" NIL \"joe\" \"example.com\"))"},
    {"J. Q. Public<joe@example.com>", "((\"J. Q. Public\" NIL \"joe\" \"example.com\"))"},
    {"\"Public, \\\"Joe\\\"\" <joe@example.com>, b@c",
     "((\"Public, \\\"Joe\\\"\" NIL \"joe\" \"example.com\")(NIL NIL \"b\" \"c\"))"},
    {"  Joe \t\r\n  Q.  <joe@example.com>", "((\"Joe Q.\" NIL \"joe\" \"example.com\"))"},
    {"joe@example.com (Joe (the) \\(Public\\))",
     "((\"Joe (the) (Public)\" NIL \"joe\" \"example.com\"))"},
    {"Joe (not this) Public <joe@example.com> (nor this)",
     "((\"Joe Public\" NIL \"joe\" \"example.com\"))"},
    {"<joe@example.com> (Joe)", "((\"Joe\" NIL \"joe\" \"example.com\"))"},
    {"\"joe public\"@example.com", "((NIL NIL \"joe public\" \"example.com\"))"},
    {"<\"joe@home\"@example.com>", "((NIL NIL \"joe@home\" \"example.com\"))"},
    {"joe@[192.0.2.1], <joe@[IPv6:2001:db8::1]>",
     "((NIL NIL \"joe\" \"[192.0.2.1]\")(NIL NIL \"joe\" \"[IPv6:2001:db8::1]\"))"},
    {"joe@[IPv6:2001:db8::1]", "((NIL NIL \"joe\" \"[IPv6:2001:db8::1]\"))"},

    /* Encoded words stay, whatever is in them. */
    {"=?utf-8?q?Doe,_Joe_=28x=29?= <joe@example.com>",
     "((\"=?utf-8?q?Doe,_Joe_=28x=29?=\" NIL \"joe\" \"example.com\"))"},
    {"=?utf-8?b?Sm9l?=\n =?utf-8?b?RG9l?= <joe@example.com>",
     "((\"=?utf-8?b?Sm9l?= =?utf-8?b?RG9l?=\" NIL \"joe\" \"example.com\"))"},
    {"J\xc3\xb6 <joe@example.com>", "(({3}\r\nJ\xc3\xb6 NIL \"joe\" \"example.com\"))"},

    /* Groups. */
    {"undisclosed-recipients:;", "((NIL NIL \"undisclosed-recipients\" NIL)(NIL NIL NIL NIL))"},
    {"\"My: friends\": a@b, C <c@d>;, e@f",
     "((NIL NIL \"My: friends\" NIL)(NIL NIL \"a\" \"b\")(\"C\" NIL \"c\" \"d\")(NIL NIL NIL NIL)"
     "(NIL NIL \"e\" \"f\"))"},
    {"one: a@b", "((NIL NIL \"one\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL))"},
    {"one: two: a@b;;",
     "((NIL NIL \"one\" NIL)(NIL NIL NIL NIL)(NIL NIL \"two\" NIL)(NIL NIL \"a\" \"b\")"
     "(NIL NIL NIL NIL))"},
    {":", "((NIL NIL \"\" NIL)(NIL NIL NIL NIL))"},

    /* Obsolete forms (RFC 5322, 4.4). */
    {"<@a.example,@b.example:joe@example.com>",
     "((NIL \"@a.example,@b.example\" \"joe\" \"example.com\"))"},
    {"joe @ example . com, <mary@ b . c>",
     "((NIL NIL \"joe\" \"example.com\")(NIL NIL \"mary\" \"b.c\"))"},
    {",, a@b ,\r\n, (c) ,c@d,", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))"},

    /* Mistakes. What has no domain has an empty host, since NIL would begin a group. */
    {"joe", "((NIL NIL \"joe\" \"\"))"},
    {"Joe <joe>", "((\"Joe\" NIL \"joe\" \"\"))"},
    {"MAILER-DAEMON <>", "((\"MAILER-DAEMON\" NIL \"\" \"\"))"},
    {"<>", "((NIL NIL \"\" \"\"))"},
    {"Doe, Joe <joe@example.com>", "((NIL NIL \"Doe\" \"\")(\"Joe\" NIL \"joe\" \"example.com\"))"},
    {"a@b; c@d", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))"},
    {"A <a@b> C <c@d>", "((\"A\" NIL \"a\" \"b\")(\"C\" NIL \"c\" \"d\"))"},
    {"<a@b><c@d>", "((NIL NIL \"a\" \"b\")(NIL NIL \"c\" \"d\"))"},
    {"joe@example.com <joe@example.com>", "((\"joe@example.com\" NIL \"joe\" \"example.com\"))"},
    {"joe@home@example.com", "((NIL NIL \"joe@home\" \"example.com\"))"},
    {"Joe joe@example.com now", "((\"Joe\" NIL \"joe\" \"example.com\"))"},
    {"Joe <joe@example.com, mary@example.com",
     "((\"Joe\" NIL \"joe\" \"example.com\")(NIL NIL \"mary\" \"example.com\"))"},
    {"\"Joe <joe@example.com>", "((NIL NIL \"Joe <joe@example.com>\" \"\"))"},
    {"joe@example.com (Joe", "((\"Joe\" NIL \"joe\" \"example.com\"))"},
    {"@", "((NIL NIL \"\" \"\"))"},
    {") joe@example.com >", "((\")\" NIL \"joe\" \"example.com\"))"},
    {"\\", "((NIL NIL \"\\\\\" \"\"))"},
    {"=?=?utf-8?q?x", "((NIL NIL \"=?=?utf-8?q?x\" \"\"))"},
    {"", "NIL"},
    {" , ;(nobody)", "NIL"},
};

static void
test_lists (void)
{
  for (size_t i = 0; i < G_N_ELEMENTS (lists); i++) {
    g_autoptr (GString) out = g_string_new (NULL);
    g_assert_true (parse_put_addresses (out, lists[i].text, SIZE_MAX));
    g_assert_cmpstr (out->str, ==, lists[i].expected);
    g_autofree char *field = g_strdup_printf ("Cc: %s\n\n", lists[i].text);
    g_auto (StoreSummary) summary = summarise (field, strlen (field));
    g_autofree char *envelope =
        g_strdup_printf ("(NIL NIL NIL NIL NIL NIL %s NIL NIL NIL)", lists[i].expected);
    if (strchr (lists[i].text, '\n') == NULL)
      g_assert_cmpstr (summary.envelope, ==, envelope);
  }
}

/* Whatever the limit, what comes out is a list, and it ends at an address. */
static void
test_limit (void)
{
  static const char text[] = "one: Joe <joe@example.com>, b@c;, two: d@e, f@g;";
  g_autoptr (GString) whole = g_string_new (NULL);
  g_assert_true (parse_put_addresses (whole, text, SIZE_MAX));
  for (size_t limit = 0; limit < whole->len + 8; limit++) {
    g_autoptr (GString) out = g_string_new (NULL);
    bool is_whole = parse_put_addresses (out, text, limit);
    g_assert_cmpint (is_whole, ==, strcmp (out->str, whole->str) == 0);
    g_assert_cmpuint (out->len, <=, limit + 24);
    g_autofree char *error = NULL;
    g_autofree char *envelope =
        g_strdup_printf ("(NIL NIL %s NIL NIL NIL NIL NIL NIL NIL)", out->str);
    g_autoptr (ImapEnvelope) read = imap_envelope_read (envelope, &error);
    g_assert_cmpstr (error, ==, NULL);
    g_assert_nonnull (read);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  parse_init ();
  g_test_add_func ("/parse/address/lists", test_lists);
  g_test_add_func ("/parse/address/limit", test_limit);
  return g_test_run ();
}
