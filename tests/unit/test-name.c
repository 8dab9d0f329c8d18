/* SPDX-License-Identifier: Apache-2.0 */
/* Names on disk and in print, flags, and the state lines on files. */
#include "tests/unit/test-store.h"

static void
test_message_names (void)
{
  char name[STORE_NAME_SIZE];
  store_message_name (42, name);
  g_assert_cmpstr (name, ==, "0000000042.eml");
  g_assert_cmpuint (store_message_uid (name), ==, 42);
  store_message_name (STORE_UID_MAX, name);
  g_assert_cmpuint (store_message_uid (name), ==, STORE_UID_MAX);
  static const char *const none[] = {"",
                                     "42.eml",
                                     "0000000000.eml",
                                     "0000000042.emlx",
                                     "0000000042.EML",
                                     "00000000042.eml",
                                     "4294967295.eml",
                                     "9999999999.eml",
                                     "000000004a.eml",
                                     "0000000042",
                                     "+000000042.eml"};
  for (size_t i = 0; i < G_N_ELEMENTS (none); i++)
    g_assert_cmpuint (store_message_uid (none[i]), ==, 0);
}

static void
test_escape (void)
{
  static const char *const pairs[][2] = {
      {"INBOX", "INBOX"},
      {"a/b", "a%2Fb"},
      {"100%", "100%25"},
      {".ctl", "%2Ectl"},
      {"..", "%2E."},
      {"a.b", "a.b"},
      {"tab\there", "tab%09here"},
      {"0000000001.eml", "%30000000001.eml"},
      {"0000000001~0a1b2c3d.eml", "%30000000001~0a1b2c3d.eml"},
      {"0000000001.eml2", "0000000001.eml2"},
      {"Entw\303\274rfe", "Entw\303\274rfe"},
      {"bad\377byte", "bad%FFbyte"},
      {"", "%"},
      {"trailing ", "trailing "},
      {"\177", "%7F"},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (pairs); i++) {
    bool lossy = true;
    g_autofree char *escaped = store_name_escape (pairs[i][0], &lossy);
    g_autofree char *plain = store_name_unescape (escaped);
    g_assert_cmpstr (escaped, ==, pairs[i][1]);
    g_assert_cmpstr (plain, ==, pairs[i][0]);
    g_assert_false (lossy);
  }
}

/* Every name becomes one directory name, of at most 255 bytes, that is not the store's own. */
static void
test_escape_anything (void)
{
  for (int round = 0; round < 20000; round++) {
    char name[700];
    int length = g_test_rand_int_range (0, round % 50 == 0 ? 700 : 40);
    for (int i = 0; i < length; i++)
      name[i] = (char)g_test_rand_int_range (1, 256);
    name[MAX (length - 1, 0)] = '\0';
    bool lossy;
    g_autofree char *escaped = store_name_escape (name, &lossy);
    g_assert_cmpuint (strlen (escaped), >, 0);
    g_assert_cmpuint (strlen (escaped), <=, 255);
    g_assert_true (g_utf8_validate (escaped, -1, NULL));
    g_assert_null (strchr (escaped, '/'));
    g_assert_cmpint (escaped[0], !=, '.');
    g_assert_cmpuint (store_message_uid (escaped), ==, 0);
    g_autofree char *plain = store_name_unescape (escaped);
    if (!lossy)
      g_assert_cmpstr (plain, ==, name);
  }
}

static void
test_long_names_differ (void)
{
  g_autofree char *first = g_strnfill (300, 'x');
  g_autofree char *second = g_strconcat (first, "y", NULL);
  bool lossy = false;
  g_autofree char *first_escaped = store_name_escape (first, &lossy);
  g_autofree char *second_escaped = store_name_escape (second, NULL);
  g_assert_true (lossy);
  g_assert_cmpuint (strlen (first_escaped), ==, 255);
  g_assert_cmpstr (first_escaped, !=, second_escaped);
}

static void
test_printable (void)
{
  g_autofree char *escape = store_text_printable ("a\033[31mb\nc\302\233d\377\342\200\256");
  g_assert_cmpstr (escape, ==, "a\\x1b[31mb\\x0ac\\xc2\\x9bd\\xff\\xe2\\x80\\xae");
  g_autofree char *plain = store_text_printable ("Gr\303\274\303\237e");
  g_assert_cmpstr (plain, ==, "Gr\303\274\303\237e");
}

static void
test_flags (void)
{
  g_autoptr (GError) error = NULL;
  uint32_t flags;
  g_autofree char *keywords = NULL;
  assert_ok (store_flags_parse ("Work \\seen $Label1  \\FLAGGED Work", &flags, &keywords, &error),
             error);
  g_assert_cmpuint (flags, ==, STORE_FLAG_SEEN | STORE_FLAG_FLAGGED);
  g_assert_cmpstr (keywords, ==, "$Label1 Work");
  g_autofree char *text = store_flags_to_string (flags, keywords);
  g_assert_cmpstr (text, ==, "\\Flagged \\Seen $Label1 Work");
  g_autofree char *none = NULL;
  assert_ok (store_flags_parse ("", &flags, &none, &error), error);
  g_assert_null (none);
  static const char *const bad[] = {"\\Recent", "a(b", "caf\303\251", "x\001", "a\"b", "\\"};
  for (size_t i = 0; i < G_N_ELEMENTS (bad); i++)
    assert_fails (store_flags_parse (bad[i], &flags, &none, &error), error, EINVAL);
}

static void
test_keywords_change (void)
{
  g_autofree char *added = keywords_change ("b c", "a c", STORE_FLAGS_ADD);
  g_autofree char *removed = keywords_change ("a b c", "b x", STORE_FLAGS_REMOVE);
  g_autofree char *emptied = keywords_change ("a", "a", STORE_FLAGS_REMOVE);
  g_autofree char *set = keywords_change ("a", "z", STORE_FLAGS_SET);
  g_assert_cmpstr (added, ==, "a b c");
  g_assert_cmpstr (removed, ==, "a c");
  g_assert_null (emptied);
  g_assert_cmpstr (set, ==, "z");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/name/message-names", test_message_names);
  g_test_add_func ("/name/escape", test_escape);
  g_test_add_func ("/name/escape-anything", test_escape_anything);
  g_test_add_func ("/name/long-names-differ", test_long_names_differ);
  g_test_add_func ("/name/printable", test_printable);
  g_test_add_func ("/flags/parse", test_flags);
  g_test_add_func ("/flags/keywords-change", test_keywords_change);
  return g_test_run ();
}
