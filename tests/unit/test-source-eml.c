/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/source-dump.h"

#include <sys/xattr.h>

static void
test_file (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "some letter", "Subject: x\n\n", 100);
  g_autofree char *dump = dump_source (&source_eml, root, "some letter");
  g_assert_cmpstr (dump, ==, "= INBOX\n- some letter @100\n");
}

static void
test_tree (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "b.eml", "1", 1);
  tree_write (root, "a.EML", "2", -5);
  tree_write (root, ".eml", "no name", 2);
  tree_write (root, "notes.txt", "no message", 2);
  tree_write (root, "Sent/x.eml", "3", 3);
  tree_write (root, "Sent/2024/y.eml", "4", 4);
  tree_write (root, "a%2Fb/z.eml", "5", 5);
  tree_write (root, "100%/z.eml", "6", 6);
  tree_write (root, "a%41/z.eml", "6", 6);
  tree_write (root, "%/z.eml", "6", 6);
  tree_write (root, "attachments/picture.png", "7", 7);
  tree_write (root, ".hidden/x.eml", "8", 8);
  tree_mkdir (root, "empty");
  g_autofree char *dump = dump_source (&source_eml, root, "");
  g_assert_cmpstr (dump, ==,
                   "= INBOX\n- a.EML @-5\n- b.eml @1\n"
                   "= %\n- z.eml @6\n"
                   "= 100%\n- z.eml @6\n"
                   "= Sent\n- x.eml @3\n"
                   "= Sent|2024\n- y.eml @4\n"
                   "= a/b\n- z.eml @5\n"
                   "= a%41\n- z.eml @6\n"
                   "= empty\n"
                   "! /: 1 entries that are no *.eml files are left out\n"
                   "! /attachments: 1 entries that are no *.eml files are left out\n");
}

/* A tree that was copied off a mount with its attributes. */
static void
test_flags (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "0000000007.eml", "x", 1);
  tree_write (root, "0000000008.eml", "y", 2);
  g_autofree char *good = g_build_filename (root, "0000000007.eml", NULL);
  g_autofree char *bad = g_build_filename (root, "0000000008.eml", NULL);
  if (setxattr (good, "user.mailfs.flags", "\\Seen work", 10, 0) < 0 && errno == EOPNOTSUPP) {
    g_test_skip ("no user attributes here");
    return;
  }
  g_assert_cmpint (setxattr (bad, "user.mailfs.flags", "\\Wrong", 6, 0), ==, 0);
  g_autofree char *dump = dump_source (&source_eml, root, "");
  g_assert_true (g_str_has_prefix (dump, "= INBOX\n- 0000000007.eml \\Seen work @1\n"
                                         "- 0000000008.eml @2\n! /0000000008.eml: "));
}

static void
test_links (void)
{
  auto_tree root = tree_new ();
  auto_tree elsewhere = tree_new ();
  tree_write (elsewhere, "secret.eml", "x", 1);
  g_autofree char *link = g_build_filename (root, "mail/a.eml", NULL);
  g_autofree char *directory_link = g_build_filename (root, "mail/b", NULL);
  g_autofree char *fifo = g_build_filename (root, "mail/c.eml", NULL);
  g_autofree char *root_link = g_build_filename (root, "link", NULL);
  g_autofree char *target = g_build_filename (elsewhere, "secret.eml", NULL);
  tree_mkdir (root, "mail");
  g_assert_cmpint (symlink (target, link), ==, 0);
  g_assert_cmpint (symlink (elsewhere, directory_link), ==, 0);
  g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);
  g_assert_cmpint (symlink ("mail", root_link), ==, 0);
  tree_write (root, "mail/d.eml", "d", 4);
  g_autofree char *dump = dump_source (&source_eml, root, "link");
  g_assert_cmpstr (dump, ==,
                   "= INBOX\n- d.eml @4\n"
                   "! /mail/: 1 entries that are no *.eml files are left out\n"
                   "! /mail/a.eml: a symbolic link; not followed\n"
                   "! /mail/b: a symbolic link; not followed\n");
}

static void
test_too_deep (void)
{
  auto_tree root = tree_new ();
  g_autoptr (GString) path = g_string_new (NULL);
  for (int i = 0; i < 70; i++)
    g_string_append (path, "d/");
  g_string_append (path, "x.eml");
  tree_write (root, path->str, "x", 1);
  g_autofree char *dump = dump_source (&source_eml, root, "");
  g_assert_nonnull (strstr (dump, "nested too deeply"));
  g_assert_null (strstr (dump, "x.eml"));
}

static void
test_vanished (void)
{
  auto_tree root = tree_new ();
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GString) out = g_string_new (NULL);
  tree_write (root, "a/x.eml", "x", 1);
  tree_write (root, "b/y.eml", "y", 2);
  Source *source = source_eml.open (root, warnings, NULL);
  g_autofree char *gone = g_build_filename (root, "b", NULL);
  g_autofree char *file = g_build_filename (root, "b/y.eml", NULL);
  g_assert_cmpint (unlink (file), ==, 0);
  g_assert_cmpint (rmdir (gone), ==, 0);
  g_assert_false (dump_some (&source_eml, source, UINT_MAX, out));
  source_eml.close (source);
  dump_warnings (out, warnings, root);
  g_assert_cmpstr (out->str, ==,
                   "= a\n- x.eml @1\n= b\n! /b: open directory b: No such file or directory\n");
}

static void
test_errors (void)
{
  auto_tree root = tree_new ();
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  g_autofree char *missing = g_build_filename (root, "none", NULL);
  g_autofree char *fifo = g_build_filename (root, "fifo", NULL);
  g_assert_cmpint (mkfifo (fifo, 0600), ==, 0);
  g_assert_null (source_eml.open (missing, warnings, &error));
  g_assert_error (error, MAILFS_ERROR, ENOENT);
  g_clear_error (&error);
  g_assert_null (source_eml.open (fifo, warnings, &error));
  g_assert_error (error, MAILFS_ERROR, EINVAL);
  g_assert_null (source_format_find ("elm"));
  g_assert_true (source_format_find ("eml") == &source_eml);
}

static void
test_warnings_are_bounded (void)
{
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  for (unsigned i = 0; i < SOURCE_WARNINGS_MAX + 5; i++)
    source_warn (warnings, "line %u\n", i);
  g_assert_cmpuint (warnings->len, ==, SOURCE_WARNINGS_MAX + 1);
  g_assert_cmpstr (warnings->pdata[0], ==, "line 0\\x0a");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/source/eml/file", test_file);
  g_test_add_func ("/source/eml/tree", test_tree);
  g_test_add_func ("/source/eml/flags", test_flags);
  g_test_add_func ("/source/eml/links", test_links);
  g_test_add_func ("/source/eml/too-deep", test_too_deep);
  g_test_add_func ("/source/eml/vanished", test_vanished);
  g_test_add_func ("/source/eml/errors", test_errors);
  g_test_add_func ("/source/eml/warnings", test_warnings_are_bounded);
  return g_test_run ();
}
