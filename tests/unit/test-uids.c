/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of UIDs: how they are written, and what they mean in a mailbox. */
#include "test-store.h"

/* The set as it was understood: "1-5 7! 9-*". */
static char *
spell (const GArray *set)
{
  GString *text = g_string_new (NULL);
  for (guint i = 0; i < set->len; i++) {
    const StoreUidRange *range = &g_array_index (set, StoreUidRange, i);
    g_autofree char *last =
        range->last == STORE_UID_HIGHEST ? g_strdup ("*") : g_strdup_printf ("%u", range->last);
    g_string_append_printf (text, "%s%u-%s%s", i > 0 ? " " : "", range->first, last,
                            range->named ? "!" : "");
  }
  return g_string_free (text, FALSE);
}

static void
test_parse (void)
{
  static const struct {
    const char *text, *meaning;
  } good[] = {
      {"4", "4-4!"},
      {"1:5,7,9:*", "1-5 7-7! 9-*"},
      {"5:1", "1-5"},
      {"*:9", "9-*"},
      {"*", "4294967295-*!"},
      {"7:7", "7-7"},
      {"0012", "12-12!"},
      {"4026531839", "4026531839-4026531839!"},
      {"1:4294967295", "1-4026531840"},
      {"1:99999999999999999999999999", "1-4026531840"},
      {"99999999999:*", "4026531840-*"},
  };
  g_autoptr (GError) error = NULL;
  for (size_t i = 0; i < G_N_ELEMENTS (good); i++) {
    g_autoptr (GArray) set = NULL;
    assert_ok (store_uids_parse (good[i].text, &set, &error), error);
    g_autofree char *spelled = spell (set);
    g_assert_cmpstr (spelled, ==, good[i].meaning);
  }
}

static void
test_refuse (void)
{
  static const char *const bad[] = {
      "",           "0",           ",",   "1,",   ",1", "1,,2",  "x",   "1x",  "1 ",
      " 1",         "-1",          "+1",  "1:",   ":1", "1:2:3", "0:5", "1:0", "**",
      "4026531840", "99999999999", "1\n", "1:2*", "*1", "\xff",  "0x10"};
  g_autoptr (GError) error = NULL;
  for (size_t i = 0; i < G_N_ELEMENTS (bad); i++) {
    GArray *set = NULL;
    assert_fails (store_uids_parse (bad[i], &set, &error), error, EINVAL);
    g_assert_null (set);
  }
}

/* What `text` means where there are the UIDs `have`; NULL: a message is missing. */
static char *
match (const char *text, const uint32_t *have, guint count)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GArray) set = NULL;
  assert_ok (store_uids_parse (text, &set, &error), error);
  g_autoptr (GArray) uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  g_array_append_vals (uids, have, count);
  g_autoptr (GArray) matched = store_uids_match (set, uids, &error);
  if (matched == NULL) {
    g_assert_error (error, MAILFS_ERROR, ENOENT);
    return NULL;
  }
  GString *spelled = g_string_new (NULL);
  for (guint i = 0; i < matched->len; i++)
    g_string_append_printf (spelled, "%s%u", i > 0 ? " " : "",
                            g_array_index (matched, uint32_t, i));
  return g_string_free (spelled, FALSE);
}

static void
test_match (void)
{
  static const uint32_t have[] = {2, 3, 5, 9, STORE_UID_MAX};
  static const struct {
    const char *text, *meaning;
    guint count; /* of `have` */
  } rows[] = {
      {"2", "2", 4},
      {"4", NULL, 4},
      {"3:5", "3 5", 4},
      {"5:3,3,4:6", "3 5", 4},
      {"6:8", "", 4},
      {"*", "9", 4},
      {"5:*", "5 9", 4},
      {"100:*", "9", 4},
      {"10:4294967295", "", 4},
      {"1:4294967295", "2 3 5 9 4026531839", 5},
      {"9,2", "2 9", 4},
      {"2:3,8", NULL, 4},
      {"1:*", "", 0},
      {"*", NULL, 0},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (rows); i++) {
    g_autofree char *meaning = match (rows[i].text, have, rows[i].count);
    g_assert_cmpstr (meaning, ==, rows[i].meaning);
  }
}

static void
test_mailbox (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  for (int i = 0; i < 4; i++)
    deliver (inbox, "one", 0, NULL);
  g_autoptr (GArray) set = NULL;
  assert_ok (store_uids_parse ("2:3,*", &set, &error), error);
  g_autoptr (GArray) uids = store_mailbox_uids (inbox, set, &error);
  g_assert_no_error (error);
  static const uint32_t expected[] = {2, 3, 4};
  g_assert_cmpmem (uids->data, uids->len * sizeof (uint32_t), expected, sizeof expected);

  /* What is named is for the operation to find. */
  g_autoptr (GArray) named = NULL;
  assert_ok (store_uids_parse ("9,2,9", &named, &error), error);
  g_autoptr (GArray) as_named = store_mailbox_uids (inbox, named, &error);
  g_assert_no_error (error);
  static const uint32_t given[] = {2, 9};
  g_assert_cmpmem (as_named->data, as_named->len * sizeof (uint32_t), given, sizeof given);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/uids/parse", test_parse);
  g_test_add_func ("/uids/refuse", test_refuse);
  g_test_add_func ("/uids/match", test_match);
  add_test ("/uids/mailbox", test_mailbox);
  return g_test_run ();
}
