/* SPDX-License-Identifier: Apache-2.0 */
#include "index/error.h"

#include <locale.h>

static gpointer
fail_once (gpointer data)
{
  g_autoptr (GError) error = NULL;
  fail (&error, EIO, "it is the first one");
  g_assert_error (error, MAILFS_ERROR, EIO);
  return NULL;
}

/* Threads may meet their first errors together. Comes before all other tests. */
static void
test_threads (void)
{
  GThread *threads[4];
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new (NULL, fail_once, NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
}

static void
test_fail (void)
{
  GError *error = NULL;
  g_assert_false (fail (&error, ENOENT, "no mailbox '%s'", "x"));
  g_assert_error (error, MAILFS_ERROR, ENOENT);
  g_assert_cmpstr (error->message, ==, "no mailbox 'x'");
  g_assert_false (fail (&error, EEXIST, "again")); /* replaces, without a leak */
  g_assert_error (error, MAILFS_ERROR, EEXIST);
  g_assert_false (fail (NULL, EIO, "nobody listens"));
  g_clear_error (&error);
}

static void
test_fail_errno (void)
{
  g_autoptr (GError) error = NULL;
  errno = EACCES;
  g_assert_false (fail_errno (&error, "open %s", "/x"));
  g_assert_error (error, MAILFS_ERROR, EACCES);
  g_assert_cmpstr (error->message, ==, "open /x: Permission denied");
  g_assert_false (fail_errno (NULL, "nobody listens"));
}

static void
test_fail_prefix (void)
{
  g_autoptr (GError) error = NULL;
  g_assert_false (fail_prefix (&error, "nothing yet"));
  g_assert_no_error (error);
  fail (&error, EIO, "cause");
  g_assert_false (fail_prefix (&error, "context %d", 1));
  g_assert_error (error, MAILFS_ERROR, EIO);
  g_assert_cmpstr (error->message, ==, "context 1: cause");
  g_assert_false (fail_prefix (NULL, "nobody listens"));
}

static void
test_error_code (void)
{
  g_autoptr (GError) ours = NULL;
  g_autoptr (GError) other = g_error_new_literal (G_FILE_ERROR, G_FILE_ERROR_NOENT, "x");
  fail (&ours, EDQUOT, "x");
  g_assert_cmpint (error_code (ours), ==, EDQUOT);
  g_assert_cmpint (error_code (other), ==, EIO);
  g_assert_cmpint (error_code (NULL), ==, EIO);
}

int
main (int argc, char **argv)
{
  setlocale (LC_ALL, "C");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/index/error/threads", test_threads);
  g_test_add_func ("/index/error/fail", test_fail);
  g_test_add_func ("/index/error/fail-errno", test_fail_errno);
  g_test_add_func ("/index/error/fail-prefix", test_fail_prefix);
  g_test_add_func ("/index/error/code", test_error_code);
  return g_test_run ();
}
