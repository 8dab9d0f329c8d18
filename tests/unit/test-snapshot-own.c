/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots that belong to a process: they end with it, or when the next one comes. */
#include "tests/unit/test-store.h"

#include <sys/wait.h>
#include <unistd.h>

static void
take_own (Store *store, const char *purpose, StoreSnapshot *out)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_snapshot_take_own (store, purpose, out, &error), error);
}

/* Takes one in a process of its own, which dies. */
static void
take_and_die (const char *path, const char *purpose)
{
  int status;
  pid_t child = fork ();
  if (child == 0) {
    Store *store = store_open (path, 0, NULL);
    _exit (store == NULL || !store_snapshot_take_own (store, purpose, NULL, NULL));
  }
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
}

/* The names of all, the oldest first, with '*' for what is different each time. */
static char *
list (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (store, &error);
  g_assert_no_error (error);
  GString *names = g_string_new (NULL);
  for (guint i = 0; i < snapshots->len; i++) {
    const char *name = ((StoreSnapshot *)snapshots->pdata[i])->name;
    const char *dash = strchr (name, '-');
    bool own = dash != NULL && strlen (dash) > 9 && dash[strlen (dash) - 9] == '.';
    g_string_append_printf (names, "%s%.*s%s", i > 0 ? " " : "",
                            own ? (int)(dash - name + 1) : (int)strlen (name), name,
                            own ? "*" : "");
  }
  return g_string_free (names, FALSE);
}

static void
expect (Store *store, const char *names)
{
  g_autofree char *found = list (store);
  g_assert_cmpstr (found, ==, names);
}

static void
test_left (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreSnapshot) mine = {0};

  /* What was left is for the next of the same purpose. */
  take_and_die (fixture->path, "mount");
  take_and_die (fixture->path, "backup");
  expect (fixture->store, "mount-* backup-*");
  take_own (fixture->store, "mount", &mine);
  expect (fixture->store, "backup-* mount-*");
  assert_ok (store_snapshot_drop (fixture->store, mine.name, &error), error);
  take_and_die (fixture->path, "backup");
  expect (fixture->store, "backup-*");
}

static void
test_alive (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreSnapshot) mine = {0}, other = {0};
  g_autoptr (Store) store = store_open (fixture->path, 0, &error);
  g_assert_no_error (error);

  take_own (fixture->store, "mount", &mine);
  take_own (store, "mount", &other);
  take_and_die (fixture->path, "mount");
  take_and_die (fixture->path, "mount");
  expect (fixture->store, "mount-* mount-* mount-*");
  assert_fails (store_snapshot_take_own (store, "mount", NULL, &error), error, EEXIST);
  g_clear_pointer (&store, store_close);
  take_and_die (fixture->path, "mount");
  expect (fixture->store, "mount-* mount-*");
}

static void
test_others (Fixture *fixture, gconstpointer data)
{
  static const char *const names[] = {"mount",
                                      "mount-",
                                      "mount-1.2",
                                      "mount-01.0badcafe",
                                      "mount-x.0badcafe",
                                      "remount-1.0badcafe",
                                      "amount-of-mail"};
  g_autoptr (GError) error = NULL;
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++)
    assert_ok (store_snapshot_take (fixture->store, names[i], NULL, &error), error);
  g_autoptr (GPtrArray) before = store_snapshot_list (fixture->store, &error);
  take_own (fixture->store, "mount", NULL);
  g_autoptr (GPtrArray) after = store_snapshot_list (fixture->store, &error);
  g_assert_cmpuint (after->len, ==, before->len + 1);

  reopen (fixture, STORE_READ_ONLY);
  assert_fails (store_snapshot_take_own (fixture->store, "mount", NULL, &error), error, EROFS);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/snapshot-own/left", test_left);
  add_test ("/snapshot-own/alive", test_alive);
  add_test ("/snapshot-own/others", test_others);
  return g_test_run ();
}
