/* SPDX-License-Identifier: Apache-2.0 */
/* What mailfs.conf sets. */
#include "test-store.h"

static void
set_config (Fixture *fixture, const char *text)
{
  g_clear_pointer (&fixture->store, store_close);
  g_autofree char *path = g_build_filename (fixture->path, "mailfs.conf", NULL);
  g_autofree char *config =
      g_strdup_printf ("[store]\nformat=1\nuuid=12345678-1234-1234-1234-123456789012\n%s", text);
  g_assert_true (g_file_set_contents (path, config, -1, NULL));
}

static void
assert_setting (Fixture *fixture, StoreSetting setting, int64_t value, const char *text)
{
  g_autofree char *string = store_setting_string (fixture->store, setting);
  g_assert_cmpint (store_setting (fixture->store, setting), ==, value);
  g_assert_cmpstr (string, ==, text);
}

static void
test_defaults (Fixture *fixture, gconstpointer data)
{
  assert_setting (fixture, STORE_CLEANUP_SIZE, 100, "100");
  assert_setting (fixture, STORE_CLEANUP_AGE, 86400, "1d");
  assert_setting (fixture, STORE_PURGE_COUNT, 500, "500");
  assert_setting (fixture, STORE_PURGE_PERCENTAGE, 5, "5");
  assert_setting (fixture, STORE_PURGE_AGE, 7 * 86400, "7d");
}

static void
test_values (Fixture *fixture, gconstpointer data)
{
  set_config (fixture, "[cleanup]\nsize = 7\nage=90m\nother=x\n[purge]\npercentage=100\nage=0\n");
  reopen (fixture, 0);
  assert_setting (fixture, STORE_CLEANUP_SIZE, 7, "7");
  assert_setting (fixture, STORE_CLEANUP_AGE, 5400, "90m");
  assert_setting (fixture, STORE_PURGE_COUNT, 500, "500");
  assert_setting (fixture, STORE_PURGE_PERCENTAGE, 100, "100");
  assert_setting (fixture, STORE_PURGE_AGE, 0, "0");
}

/* The error tells the file and the key. */
static void
test_nonsense (Fixture *fixture, gconstpointer data)
{
  static const char *const configs[] = {
      "[cleanup]\nsize=many\n",      "[cleanup]\nsize=-1\n",     "[cleanup]\nsize=\n",
      "[cleanup]\nage=1y\n",         "[cleanup]\nage=d\n",       "[purge]\npercentage=101\n",
      "[purge]\ncount=5000000000\n", "[purge]\nage=99999999d\n", "[purge]\nage=7 d\n",
  };
  for (size_t i = 0; i < G_N_ELEMENTS (configs); i++) {
    g_autoptr (GError) error = NULL;
    set_config (fixture, configs[i]);
    g_assert_null (store_open (fixture->path, 0, &error));
    g_assert_error (error, MAILFS_ERROR, EINVAL);
    g_assert_nonnull (strstr (error->message, "mailfs.conf: "));
    g_auto (GStrv) lines = g_strsplit (configs[i], "\n", 3);
    g_auto (GStrv) key = g_strsplit (lines[1], "=", 2);
    g_assert_nonnull (strstr (error->message, key[0]));
    g_assert_nonnull (strstr (error->message, lines[0]));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/settings/defaults", test_defaults);
  add_test ("/settings/values", test_values);
  add_test ("/settings/nonsense", test_nonsense);
  return g_test_run ();
}
