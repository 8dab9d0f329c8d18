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

/* ---- changing them ------------------------------------------------------------------------- */

static char *
read_config (Fixture *fixture)
{
  g_autofree char *path = g_build_filename (fixture->path, "mailfs.conf", NULL);
  char *text = NULL;
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  return text;
}

/* It holds at once and later on, and all else in the file stays as it was. */
static void
test_set (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  set_config (fixture,
              "# why seven\n[cleanup]\n# ours\n size = 7\nother=x\n# end\n\n[mine]\nsize=1");
  run_in (fixture, "chmod 604 mailfs.conf", "");
  reopen (fixture, 0);
  assert_ok (store_setting_set (fixture->store, STORE_CLEANUP_SIZE, " 8\n", &error), error);
  assert_ok (store_setting_set (fixture->store, STORE_CLEANUP_AGE, "90m", &error), error);
  assert_ok (store_setting_set (fixture->store, STORE_PURGE_AGE, "48h", &error), error);
  assert_setting (fixture, STORE_CLEANUP_SIZE, 8, "8");
  assert_setting (fixture, STORE_PURGE_AGE, 2 * 86400, "2d");
  g_autofree char *text = read_config (fixture);
  g_assert_cmpstr (text, ==,
                   "[store]\nformat=1\nuuid=12345678-1234-1234-1234-123456789012\n"
                   "# why seven\n[cleanup]\n# ours\nsize=8\nother=x\nage=90m\n# end\n\n"
                   "[mine]\nsize=1\n[purge]\nage=48h\n");
  run_in (fixture, "test $(stat -c %a mailfs.conf) = 604 && ! ls mailfs.conf.* 2>/dev/null", "");
  reopen (fixture, 0);
  assert_setting (fixture, STORE_CLEANUP_SIZE, 8, "8");
  assert_setting (fixture, STORE_CLEANUP_AGE, 5400, "90m");
  assert_setting (fixture, STORE_PURGE_AGE, 2 * 86400, "2d");
}

/* The one that counts is the one that is changed. */
static void
test_set_twice (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  set_config (fixture, "[cleanup]\nsize=1\n[purge]\n[cleanup]\nsize=2\nsizes=3\n#size=4\n");
  reopen (fixture, 0);
  assert_setting (fixture, STORE_CLEANUP_SIZE, 2, "2");
  assert_ok (store_setting_set (fixture->store, STORE_CLEANUP_SIZE, "9", &error), error);
  reopen (fixture, 0);
  assert_setting (fixture, STORE_CLEANUP_SIZE, 9, "9");
}

/* What lies where the new file is written neither holds anybody up nor is written through. */
static void
test_set_hostile (Fixture *fixture, gconstpointer data)
{
  static const char *const things[] = {"mkfifo", "ln -s other", "ln other"};
  set_config (fixture, "");
  run_in (fixture, "echo theirs >other", "");
  reopen (fixture, 0);
  for (size_t i = 0; i < G_N_ELEMENTS (things); i++) {
    g_autoptr (GError) error = NULL;
    run_in (fixture, things[i], " mailfs.conf.new");
    assert_ok (store_setting_set (fixture->store, STORE_CLEANUP_SIZE, "8", &error), error);
    run_in (fixture, "grep -q theirs other && test ! -e mailfs.conf.new", "");
  }
}

/* What is refused changes nothing. */
static void
test_set_refused (Fixture *fixture, gconstpointer data)
{
  static const struct {
    StoreSetting setting;
    const char *text;
  } wrong[] = {{STORE_CLEANUP_SIZE, "many"},
               {STORE_CLEANUP_SIZE, ""},
               {STORE_CLEANUP_SIZE, "1\n[store]\nuuid=x"},
               {STORE_PURGE_PERCENTAGE, "101"},
               {STORE_PURGE_AGE, "1y"}};
  g_autofree char *before = read_config (fixture);
  for (size_t i = 0; i < G_N_ELEMENTS (wrong); i++) {
    g_autoptr (GError) error = NULL;
    g_assert_false (store_setting_set (fixture->store, wrong[i].setting, wrong[i].text, &error));
    g_assert_error (error, MAILFS_ERROR, EINVAL);
    g_assert_nonnull (strstr (error->message, store_settings[wrong[i].setting].name));
  }
  g_autoptr (GError) error = NULL;
  reopen (fixture, STORE_READ_ONLY);
  assert_fails (store_setting_set (fixture->store, STORE_CLEANUP_SIZE, "1", &error), error, EROFS);
  g_autofree char *after = read_config (fixture);
  g_assert_cmpstr (after, ==, before);
  assert_setting (fixture, STORE_CLEANUP_SIZE, 100, "100");
}

typedef struct {
  const char *path;
  StoreSetting setting;
} Setter;

/* As another process: with a Store of its own. */
static gpointer
set_often (gpointer data)
{
  const Setter *setter = data;
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (setter->path, 0, &error);
  g_assert_no_error (error);
  for (int i = 1; i <= 20; i++) {
    g_autofree char *text = g_strdup_printf ("%d", i);
    assert_ok (store_setting_set (store, setter->setting, text, &error), error);
    g_assert_cmpint (store_setting (store, setter->setting), ==, i);
  }
  return NULL;
}

/* None who changes one setting undoes what another changed. */
static void
test_set_together (Fixture *fixture, gconstpointer data)
{
  Setter setters[5];
  GThread *threads[5];
  for (int i = 0; i < 5; i++) {
    setters[i] = (Setter){fixture->path, (StoreSetting)i};
    threads[i] = g_thread_new ("set", set_often, &setters[i]);
  }
  for (int i = 0; i < 5; i++)
    g_thread_join (threads[i]);
  reopen (fixture, 0);
  for (int i = 0; i < 5; i++)
    g_assert_cmpint (store_setting (fixture->store, (StoreSetting)i), ==, 20);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/settings/defaults", test_defaults);
  add_test ("/settings/values", test_values);
  add_test ("/settings/nonsense", test_nonsense);
  add_test ("/settings/set", test_set);
  add_test ("/settings/set-twice", test_set_twice);
  add_test ("/settings/set-hostile", test_set_hostile);
  add_test ("/settings/set-refused", test_set_refused);
  add_test ("/settings/set-together", test_set_together);
  return g_test_run ();
}
