/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test-parse.h"

static void
assert_field (const char *message, const char *field, const char *expected)
{
  g_auto (StoreSummary) summary = summarise (message, strlen (message));
  g_autofree char *value = store_summary_field (&summary, field);
  g_assert_cmpstr (value, ==, expected);
}

static void
test_fields (void)
{
  static const char message[] =
      "From: =?iso-8859-1?q?Andr=E9?= <andre@example.org>\n"
      "Sender: \"Doe, =?utf-8?q?J=C3=B6?=\" <doe@example.org>\n"
      "To: Friends: joe@example.com, \"The \\\"Boss\\\"\" <boss@example.com>;, root,\n"
      " \"joe public\"@example.com\n"
      "Cc: none:;\nSubject: =?utf-8?b?R3LDvA==?= =?utf-8?q?=C3=9Fe?= a\tb\n"
      "Date: Mon, 3 Feb 2020 10:00:00 +0000\nMessage-ID: <=?utf-8?q?a?=@b>\nIn-Reply-To:\n\n";
  assert_field (message, "from", "Andr\xc3\xa9 <andre@example.org>");
  assert_field (message, "sender", "\"Doe, J\xc3\xb6\" <doe@example.org>");
  assert_field (message, "reply-to", "Andr\xc3\xa9 <andre@example.org>");
  assert_field (message, "to",
                "Friends: joe@example.com, \"The \\\"Boss\\\"\" <boss@example.com>;, root, "
                "\"joe public\"@example.com");
  assert_field (message, "cc", "none: ;");
  assert_field (message, "bcc", NULL);
  assert_field (message, "subject",
                "Gr\xc3\xbc\xc3\x9f"
                "e a b");
  assert_field (message, "date", "Mon, 3 Feb 2020 10:00:00 +0000");
  assert_field (message, "message-id", "<=?utf-8?q?a?=@b>");
  assert_field (message, "in-reply-to", "");
  assert_field (message, "received", NULL);
  assert_field ("\n", "subject", NULL);
  assert_field ("\n", "from", NULL);
}

/* Whatever bytes there are, what is shown is UTF-8 without control characters. */
static void
test_bytes (void)
{
  assert_field ("Subject: Gr\xfc\xdf\x65 \x01\x1b[2J\x7f\r\n\n", "subject",
                "Gr\xc3\xbc\xc3\x9f"
                "e   [2J ");
  assert_field ("Subject: Gr\xc3\xbc\xc3\x9f\x65 \xc2\x9b\n\n", "subject",
                "Gr\xc3\xbc\xc3\x9f"
                "e  ");
  assert_field ("Subject: =?utf-8?q?a=0Ab=1B=00c?=\n\n", "subject", "a b ?c");
  assert_field ("From: \x1b <a\x1b@\xff>\n\n", "from", "  <\"a \"@\xef\xbf\xbd>");
}

/* An index may be damaged: anything is read, and nothing beyond its end. */
static void
test_damaged (void)
{
  static const char *const envelopes[] = {"",
                                          "(",
                                          "NIL",
                                          "(NIL",
                                          "(\"",
                                          "(\"a\\",
                                          "({",
                                          "({5",
                                          "({5}\r\nabc",
                                          "({99999999999999999999999}\r\nabc",
                                          "(NIL NIL",
                                          "(NIL NIL (",
                                          "(NIL NIL ((",
                                          "(NIL NIL ((NIL",
                                          "(NIL NIL ((NIL NIL NIL NIL",
                                          "(NIL NIL ((NIL NIL NIL NIL)",
                                          "(NIL NIL (((((((((((((((((((((((((((((((",
                                          "(NIL NIL ))))))",
                                          "(x y z)",
                                          "(NIL NIL (x) NIL)"};
  static const char *const fields[] = {"date", "subject", "from", "to", "message-id"};
  for (size_t i = 0; i < G_N_ELEMENTS (envelopes); i++)
    for (size_t k = 0; k < G_N_ELEMENTS (fields); k++) {
      /* On the heap, so that reading too far is found. */
      StoreSummary summary = {.envelope = g_strdup (envelopes[i])};
      g_free (store_summary_field (&summary, fields[k]));
      store_summary_clear (&summary);
    }
  StoreSummary nothing = {0};
  g_assert_null (store_summary_field (&nothing, "subject"));
  store_summary_clear (&nothing);
  store_summary_clear (NULL);
}

static void *
read_fields (void *data)
{
  for (int round = 0; round < 200; round++)
    test_fields ();
  return NULL;
}

static void
test_threads (void)
{
  GThread *threads[4];
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("read", read_fields, NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  parse_init ();
  g_test_add_func ("/parse/summary/fields", test_fields);
  g_test_add_func ("/parse/summary/bytes", test_bytes);
  g_test_add_func ("/parse/summary/damaged", test_damaged);
  g_test_add_func ("/parse/summary/threads", test_threads);
  return g_test_run ();
}
