/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/source-dump.h"

#include "store/formats/reader.h"

static void
test_flags (void)
{
  auto_tree root = tree_new ();
  tree_mkdir (root, "tmp");
  tree_write (root, "tmp/9.ignored", "x", 1);
  tree_write (root, "new/6.new", "x", 60);
  tree_write (root, "new/7.new:2,S", "not yet seen by any client", 70);
  tree_write (root, "cur/1.a:2,", "x", 10);
  tree_write (root, "cur/2.a:2,DFRST", "x", -20);
  tree_write (root, "cur/3.a:2,PSab", "x", 30);
  tree_write (root, "cur/4.a:2,S,x=F", "x", 40);
  tree_write (root, "cur/5.a:2,Sbz", "x", 50);
  tree_write (root, "cur/.dot", "x", 50);
  tree_write (root, "cur/noinfo", "x", 55);
  tree_write (root, "dovecot-keywords", "0 $Label1\n1 todo\n40 beyond\nnonsense\n", 1);
  g_autofree char *dump = dump_source (&source_maildir, root, "");
  g_assert_cmpstr (dump, ==,
                   "= INBOX\n"
                   "- 1.a:2, @10\n"
                   "- 2.a:2,DFRST \\Answered \\Deleted \\Draft \\Flagged \\Seen @-20\n"
                   "- 3.a:2,PSab \\Seen $Forwarded $Label1 todo @30\n"
                   "- 4.a:2,S,x=F \\Seen @40\n"
                   "- 5.a:2,Sbz \\Seen todo @50\n"
                   "- 6.new @60\n"
                   "- 7.new:2,S @70\n"
                   "- noinfo @55\n"
                   "! /: dovecot-keywords has no name for 'z'\n");
}

static void
test_folders (void)
{
  auto_tree root = tree_new ();
  static const char *const folders[] = {
      "",    ".Sent", ".Lists.c++", ".Entw&APw-rfe", ".M\xc3\xbcll",     ".A..B",
      "..C", ".D.",   ".bad&AGE-",  "fs/deep&IKw-",  ".Arch.2024/inner",
  };
  for (size_t i = 0; i < G_N_ELEMENTS (folders); i++) {
    g_autofree char *cur = g_build_filename (folders[i], "cur", NULL);
    tree_mkdir (root, cur);
  }
  tree_mkdir (root, ".Trash/new");
  tree_mkdir (root, ".nothing");
  tree_mkdir (root, "cur/.inside/cur");
  g_autofree char *dump = dump_source (&source_maildir, root, "");
  g_assert_cmpstr (dump, ==,
                   "= INBOX\n"
                   "= .C\n"
                   "= A|.B\n"
                   "= Arch|2024|inner\n"
                   "= D.\n"
                   "= Entw\xc3\xbcrfe\n"
                   "= Lists|c++\n"
                   "= M\xc3\xbcll\n"
                   "= Sent\n"
                   "= Trash\n"
                   "= bad&AGE-\n"
                   "= fs|deep\xe2\x82\xac\n");
}

static void
test_uidlist (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "cur/100.c:2,S", "x", 1);
  tree_write (root, "cur/90.b:2,", "x", 2);
  tree_write (root, "new/300.d", "x", 3);
  tree_write (root, "cur/200.x:2,", "not in the list", 4);
  tree_write (root, "cur/150.w:2,", "nor this", 5);
  tree_write (root, "dovecot-uidlist",
              "3 V1234567890 N12 G00112233445566778899aabbccddeeff\n"
              "3 :100.c:2,\n"
              "5 S17 W18 P0123 :90.b\n"
              "4 :300.d\n" /* not ascending */
              "8 :expunged:2,S\n"
              "9 G1 :300.d\n"
              "99999999999 :100.c\n"
              "20 nothing\n",
              1);
  tree_write (root, ".Old/cur/1.z", "x", 6);
  tree_write (root, ".Old/cur/2.y", "x", 7);
  tree_write (root, ".Old/dovecot-uidlist", "1 77 3\n5 2.y\n6 1.z:2,S", 1);
  tree_write (root, ".Courier/cur/1.z", "x", 8);
  tree_write (root, ".Courier/courierimapuiddb", "1 78 30\n5 1.z\n", 1);
  tree_write (root, ".New/cur/1.z", "x", 9);
  tree_write (root, ".New/dovecot-uidlist", "4 V1 N2\n1 :1.z\n", 1);
  g_autofree char *dump = dump_source (&source_maildir, root, "");
  g_assert_cmpstr (
      dump, ==,
      "= INBOX 1234567890 12\n"
      "- 100.c:2,S \\Seen @1 #3\n"
      "- 90.b:2, @2 #5\n"
      "- 300.d @3 #9\n"
      "- 150.w:2, @5\n"
      "- 200.x:2, @4\n"
      "= Courier 78 30\n"
      "- 1.z @8 #5\n"
      "= New\n"
      "- 1.z @9\n"
      "= Old 77 7\n"
      "- 2.y @7 #5\n"
      "- 1.z @6 #6\n"
      "! : 3 lines of the UID list make no sense\n"
      "! /.New: dovecot-uidlist: not in a format that is known; UIDs are kept as far as it "
      "could be read\n");
}

static void
test_oddities (void)
{
  auto_tree root = tree_new ();
  auto_tree elsewhere = tree_new ();
  tree_write (root, "cur/1.a,S=5,W=6:2,S", "right", 1);
  tree_write (root, "cur/2.a,S=5:2,", "wrong!", 2);
  tree_write (root, "cur/3.a,S=x:2,S=4", "no number", 3);
  tree_mkdir (root, "cur/4.directory");
  g_autofree char *link = g_build_filename (root, "cur/5.link:2,", NULL);
  g_autofree char *folder_link = g_build_filename (root, ".Linked", NULL);
  g_assert_cmpint (symlink ("1.a,S=5,W=6:2,S", link), ==, 0);
  tree_mkdir (elsewhere, "cur");
  g_assert_cmpint (symlink (elsewhere, folder_link), ==, 0);
  tree_mkdir (root, "new");
  g_autofree char *dump = dump_source (&source_maildir, root, "");
  g_assert_cmpstr (dump, ==,
                   "= INBOX\n"
                   "- 1.a,S=5,W=6:2,S \\Seen @1\n"
                   "- 2.a,S=5:2, @2\n"
                   "- 3.a,S=x:2,S=4 \\Seen @3\n"
                   "- unreadable\n"
                   "- unreadable\n"
                   "! /.Linked: a symbolic link; not followed\n"
                   "! /cur/2.a,S=5:2,: the name says 5 bytes, the file has 6; brought in as it is\n"
                   "! /cur/4.directory: not a regular file\n"
                   "! /cur/5.link:2,: not a regular file\n");
}

/* What is there but cannot be opened is not taken for absent, nor the rest for the whole. */
static void
test_lost (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "cur/1.a", "x", 1);
  tree_write (root, ".A/new/2.b", "x", 2);
  tree_write (root, ".A/cur", "no directory", 2);
  tree_write (root, ".A/dovecot-uidlist", "3 V7 N9\n3 :2.b\n", 2);
  tree_mkdir (root, ".B/cur");
  g_autofree char *link = g_build_filename (root, ".B/new", NULL);
  g_assert_cmpint (symlink ("cur", link), ==, 0);
  tree_mkdir (root, ".C/new");
  g_autofree char *dump = dump_source (&source_maildir, root, "");
  g_assert_cmpstr (dump, ==,
                   "= INBOX\n- 1.a @1\n= A\n= B\n= C\n"
                   "! /.B/new: a symbolic link; not followed\n"
                   "! /.A: open directory cur: Not a directory\n"
                   "! /.B: open directory new: Not a directory\n"
                   "? 2\n");
}

/* A UID list must not use up the UIDs of a mailbox. */
static void
test_last_uids (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "cur/1.a", "x", 1);
  tree_write (root, "cur/2.b", "x", 2);
  tree_write (root, "dovecot-uidlist", "3 V7 N9\n5 :1.a\n4026531839 :gone\n2147483648 :2.b\n", 1);
  tree_write (root, ".High/cur/1.a", "x", 1);
  tree_write (root, ".High/dovecot-uidlist", "3 V7 N4026531840\n2147483647 :1.a\n", 1);
  g_autofree char *dump = dump_source (&source_maildir, root, "");
  g_assert_cmpstr (dump, ==,
                   "= INBOX 7 9\n- 1.a @1 #5\n- 2.b @2\n"
                   "= High 7 2147483648\n- 1.a @1 #2147483647\n"
                   "! : 2 lines of the UID list make no sense\n"
                   "! /.High: the UID list's next UID, 4026531840, makes no sense\n");
}

/* Keyword names that no IMAP client could use. */
static void
test_keywords (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "cur/1.a:2,abc", "x", 1);
  tree_write (root, "dovecot-keywords", "0 Priv\xc3\xa9\n1 a (b)\n2 \n", 1);
  g_autofree char *dump = dump_source (&source_maildir, root, "");
  g_assert_cmpstr (dump, ==,
                   "= INBOX\n"
                   "- 1.a:2,abc Priv&AOk- a&ACAAKA-b&ACk- @1\n"
                   "! : keyword 'Priv\xc3\xa9' is brought in as 'Priv&AOk-'\n"
                   "! : keyword 'a (b)' is brought in as 'a&ACAAKA-b&ACk-'\n"
                   "! : keyword '' is left out\n"
                   "! /: dovecot-keywords has no name for 'c'\n");
}

/* Flags change, which renames files, and messages are removed, while the folder is read. */
static void
test_changes (void)
{
  auto_tree root = tree_new ();
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GString) out = g_string_new (NULL);
  tree_write (root, "cur/1.a:2,", "x", 1);
  tree_write (root, "cur/2.a:2,", "x", 2);
  tree_write (root, "new/3.a", "x", 3);
  tree_write (root, "cur/4.a:2,", "x", 4);
  tree_write (root, "cur/5.a:2,", "x", 5);
  Source *source = source_maildir.open (root, warnings, NULL);
  g_assert_true (dump_some (&source_maildir, source, 2, out));
  tree_rename (root, "cur/2.a:2,", "cur/2.a:2,S");
  tree_rename (root, "new/3.a", "cur/3.a:2,F");
  tree_rename (root, "cur/4.a:2,", "gone");
  g_assert_false (dump_some (&source_maildir, source, UINT_MAX, out));
  source_maildir.close (source);
  dump_warnings (out, warnings, root);
  g_assert_cmpstr (out->str, ==,
                   "= INBOX\n- 1.a:2, @1\n- 2.a:2,S \\Seen @2\n- 3.a:2,F \\Flagged @3\n"
                   "- unreadable\n- 5.a:2, @5\n"
                   "! /cur/4.a:2,: No such file or directory\n");
}

static void
test_find (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "new/1.a", "x", 1);
  tree_mkdir (root, "cur");
  g_autofree char *new = g_build_filename (root, "new", NULL);
  auto_fd fd = open (new, O_RDONLY | O_DIRECTORY);
  int found_fd = -1;
  char *found = NULL;
  tree_rename (root, "new/1.a", "cur/1.a:2,S");
  g_assert_false (source_maildir.find (fd, "2.a", &found_fd, &found));
  g_assert_true (source_maildir.find (fd, "1.a", &found_fd, &found));
  g_assert_cmpstr (found, ==, "1.a:2,S");
  g_assert_cmpint (faccessat (found_fd, found, R_OK, 0), ==, 0);
  g_free (found);
  close (found_fd);
}

static void
test_errors (void)
{
  auto_tree root = tree_new ();
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  tree_write (root, "file", "x", 1);
  g_autofree char *file = g_build_filename (root, "file", NULL);
  g_assert_null (source_maildir.open (root, warnings, &error));
  g_assert_error (error, MAILFS_ERROR, EINVAL);
  g_clear_error (&error);
  g_assert_null (source_maildir.open (file, warnings, &error));
  g_assert_error (error, MAILFS_ERROR, EINVAL);
}

/* A sample as Dovecot leaves it. Git keeps no empty directories, so the test makes them. */
static void
test_sample (void)
{
  auto_tree root = tree_new ();
  const char *const copy[] = {"cp", "-r", TEST_DATA "/maildir", root, NULL};
  g_assert_true (g_spawn_sync (NULL, (char **)copy, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                               NULL, NULL, NULL));
  tree_mkdir (root, "maildir/new");
  tree_mkdir (root, "maildir/tmp");
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *path = g_build_filename (root, "maildir", NULL);
  Source *source = source_maildir.open (path, warnings, NULL);
  g_autoptr (GString) uids = g_string_new (NULL);
  SourceMessage message;
  bool end;
  while (source_maildir.next (source, &message, &end, NULL) && !end)
    if (message.kind == SOURCE_FOLDER)
      g_string_append_printf (uids, "%s:", message.folder[0]);
    else
      g_string_append_printf (uids, "%u ", message.facts.uid);
  source_maildir.close (source);
  g_assert_cmpstr (uids->str, ==,
                   "INBOX:3 7 Gr\xc3\xbc\xc3\x9f"
                   "e:1 ");
  g_assert_cmpuint (warnings->len, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/source/maildir/flags", test_flags);
  g_test_add_func ("/source/maildir/folders", test_folders);
  g_test_add_func ("/source/maildir/uidlist", test_uidlist);
  g_test_add_func ("/source/maildir/oddities", test_oddities);
  g_test_add_func ("/source/maildir/lost", test_lost);
  g_test_add_func ("/source/maildir/last-uids", test_last_uids);
  g_test_add_func ("/source/maildir/keywords", test_keywords);
  g_test_add_func ("/source/maildir/changes", test_changes);
  g_test_add_func ("/source/maildir/find", test_find);
  g_test_add_func ("/source/maildir/errors", test_errors);
  g_test_add_func ("/source/maildir/sample", test_sample);
  return g_test_run ();
}
