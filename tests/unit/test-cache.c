/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept open, and the locks: files and directories that change under a running process. */
#include "tests/unit/test-store.h"

/* A second import into a user is refused; one that died, or was swept away, hinders nobody. */
static void
test_import_lock (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "ann@example.com");
  auto_fd first = lock_import (fixture->store, inbox->owner, &error);
  g_assert_no_error (error);
  assert_fails (lock_import (fixture->store, inbox->owner, &error) >= 0, error, EBUSY);
  auto_fd another = lock_import (fixture->store, other->owner, &error);
  g_assert_no_error (error);
  /* Opening a second store sweeps tmp/: a lock that is held survives it. */
  g_autoptr (Store) second = store_open (fixture->path, 0, &error);
  g_assert_cmpint (layout_tmp (second, &error), >=, 0);
  assert_fails (lock_import (second, inbox->owner, &error) >= 0, error, EBUSY);
  store_close_fd (&first);
  first = lock_import (second, inbox->owner, &error);
  g_assert_no_error (error);
  g_assert_cmpint (first, >=, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/cache/import-lock", test_import_lock);
  return g_test_run ();
}
