/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/source-dump.h"

#include "store/formats/reader.h"

#define FROM_A "From a@example.org Thu Jan  1 00:01:00 1970\n"
#define FROM_B "From b@example.org Thu Jan  1 00:02:00 1970\n"

/* What an mbox with this content gives, without the line of its folder. */
static char *
dump_mbox (const char *name, const char *content)
{
  auto_tree root = tree_new ();
  tree_write (root, name, content, 5);
  g_autofree char *dump = dump_source (&source_mbox, root, name);
  g_assert_true (g_str_has_prefix (dump, "= INBOX"));
  return g_strdup (strchr (dump, '\n') + 1);
}

static void
check (const char *content, const char *expected)
{
  g_autofree char *dump = dump_mbox ("m", content);
  g_assert_cmpstr (dump, ==, expected);
}

static void
test_messages (void)
{
  check ("", "");
  check ("\n\n" FROM_A "S: 1\n\nbody\n\n" FROM_B "S: 2\n\nend\n\n",
         "- \"S: 1\\n\\nbody\\n\" @60\n- \"S: 2\\n\\nend\\n\" @120\n");
  /* The last blank line is the file's, others are the message's; the last newline may be missing.
   */
  check (FROM_A "S: 1\n\nbody\n\n\n" FROM_B "S: 2\n\nend",
         "- \"S: 1\\n\\nbody\\n\\n\" @60\n- \"S: 2\\n\\nend\" @120\n");
  /* No blank line, but a date and a header behind. */
  check (FROM_A "S: 1\n\nbody\n" FROM_B "S: 2\n",
         "- \"S: 1\\n\\nbody\\n\" @60\n- \"S: 2\\n\" @120\n");
  /* Without a blank line or a date it is text. */
  check (FROM_A "S: 1\n\nbody\n" FROM_B "and so on\n\nFrom here on: nothing\n",
         "- \"S: 1\\n\\nbody\\n"
         "From b@example.org Thu Jan  1 00:02:00 1970\\nand so on\\n\\n"
         "From here on: nothing\\n\" @60\n");
  check (FROM_A FROM_B "\n" FROM_A "\nbody\n",
         "- \"From b@example.org Thu Jan  1 00:02:00 1970\\n\" @60\n- \"\\nbody\\n\" @60\n");
}

static void
test_line_ends (void)
{
  check ("From a Thu Jan  1 00:01:00 1970\r\nS: 1\r\n\r\nx\r\n\r\n"
         "From b Thu Jan  1 00:02:00 1970\r\nS: 2\r\n\r\ny\r\n\r\n",
         "- \"S: 1\\r\\n\\r\\nx\\r\\n\" @60\n- \"S: 2\\r\\n\\r\\ny\\r\\n\" @120\n");
  check ("From a Thu Jan  1 00:01:00 1970\rS: 1\r\rx\r\rFrom b Thu Jan  1 00:02:00 1970\rS: 2\r",
         "- \"S: 1\\r\\rx\\r\" @60\n- \"S: 2\\r\" @120\n");
}

/* Files whose From_ lines have no date: then a header must follow. */
static void
test_undated (void)
{
  check (
      "From \nS: 1\nDate: Thu, 01 Jan 1970 01:00:30 +0100\n\nx\n\nFrom here it is text\n\nFrom \nS: 2\n",
      "- \"S: 1\\nDate: Thu, 01 Jan 1970 01:00:30 +0100\\n\\nx\\n\\nFrom here it is text\\n\" @30\n"
      "- \"S: 2\\n\" @5\n");
}

static void
test_content_length (void)
{
  /* mboxcl2: the body has a From_ line that is not quoted. */
  check (FROM_A "Content-Length: 49\n\nbody\n" FROM_B "\n" FROM_B "S: 2\n",
         "- \"Content-Length: 49\\n\\nbody\\nFrom b@example.org Thu Jan  1 00:02:00 1970\\n\" @60\n"
         "- \"S: 2\\n\" @120\n");
  /* To the end of the file. */
  check (FROM_A "Content-Length: 7\n\nbody\n\n\n",
         "- \"Content-Length: 7\\n\\nbody\\n\\n\\n\" @60\n");
  check (FROM_A "Content-Length: 6\n\nbody\n\n\n", "- \"Content-Length: 6\\n\\nbody\\n\\n\" @60\n");
  check (FROM_A "Content-Length: 4\n\nbody\n\n" FROM_B "S: 2\n",
         "- \"Content-Length: 4\\n\\nbody\" @60\n- \"S: 2\\n\" @120\n");
  /* Into a line. */
  check (
      FROM_A "Content-Length: 1\n\nx" FROM_B "S: 2\n",
      "- \"Content-Length: 1\\n\\nxFrom b@example.org Thu Jan  1 00:02:00 1970\\nS: 2\\n\" @60\n");
  /* An mboxrd quotes whatever its headers say. */
  g_autofree char *quoted =
      dump_mbox ("m.mboxrd", FROM_A "Content-Length: 44\n\n" FROM_B "\n" FROM_B "S: 2\n");
  g_assert_cmpstr (quoted, ==,
                   "- \"Content-Length: 44\\n\" @60\n- \"\" @120\n- \"S: 2\\n\" @120\n");
  /* Lies: into the middle, beyond the end, no number. */
  static const char *const lies[] = {"2", "44", "500", "99999999999999999999", "-1", "x", ""};
  for (size_t i = 0; i < G_N_ELEMENTS (lies); i++) {
    g_autofree char *content =
        g_strdup_printf (FROM_A "Content-Length: %s\n\nbody\n\n" FROM_B "S: 2\n", lies[i]);
    g_autofree char *expected = g_strdup_printf (
        "- \"Content-Length: %s\\n\\nbody\\n\" @60\n- \"S: 2\\n\" @120\n", lies[i]);
    check (content, expected);
  }
}

static void
test_quoting (void)
{
  static const char content[] =
      FROM_A "S: 1\n\n>From x\n>>From y\n> From z\n>Fromage\n\n" FROM_B "S: 2\n";
  static const char unquoted[] =
      "- \"S: 1\\n\\nFrom x\\n>From y\\n> From z\\n>Fromage\\n\" @60\n- \"S: 2\\n\" @120\n";
  g_autofree char *by_name = dump_mbox ("m.mboxrd", content);
  g_assert_cmpstr (by_name, ==, unquoted);
  check (content,
         "- \"S: 1\\n\\n>From x\\n>>From y\\n> From z\\n>Fromage\\n\" @60\n- \"S: 2\\n\" @120\n"
         "! /m: 2 lines begin with '>From '; they stay as they are, unless read as mboxrd\n");
  auto_tree root = tree_new ();
  tree_write (root, "m", content, 5);
  g_autofree char *by_format = dump_source (&source_mboxrd, root, "m");
  g_assert_cmpstr (strchr (by_format, '\n') + 1, ==, unquoted);
}

static void
test_status (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "m",
              FROM_A
              "X-IMAPbase: 1234567890 30 $Label1 todo\nStatus: RO\nX-Status: AF\nX-UID: 7\n"
              "X-Keywords: todo\n\t $Label1 todo\n other\nS: folded\n nonsense\n\nx\n\n" FROM_A
              "x-uid: 7\nx-status: TD\n\n\n"              /* not ascending */
              FROM_A "X-UID: 31\nX-IMAPbase: 5 500\n\n\n" /* above the last UID */
              FROM_A "X-UID: 30\nStatus: O\n\nStatus: R\n\n",
              5);
  tree_write (root, "n", FROM_A "X-UID: 7\nS: 1\n\n", 5); /* who says so? */
  g_autofree char *dump = dump_source (&source_mbox, root, "m");
  g_assert_true (g_str_has_prefix (dump, "= INBOX 1234567890 31\n"));
  g_auto (GStrv) lines = g_strsplit (dump, "\n", -1);
  g_assert_true (
      g_str_has_suffix (lines[1], " \\Answered \\Flagged \\Seen $Label1 other todo @60 #7"));
  g_assert_cmpstr (lines[2], ==, "- \"x-uid: 7\\nx-status: TD\\n\\n\" \\Deleted \\Draft @60");
  g_assert_true (g_str_has_suffix (lines[3], "\\n\" @60"));
  g_assert_true (g_str_has_suffix (lines[4], "\\n\" @60 #30"));
  g_autofree char *other = dump_source (&source_mbox, root, "n");
  g_assert_cmpstr (other, ==, "= INBOX\n- \"X-UID: 7\\nS: 1\\n\" @60\n");
}

/* c-client's message that is none, in its place; mail that only looks a bit like it is mail. */
static void
test_internal (void)
{
  static const char sender[] = "From: Mail System Internal Data <MAILER-DAEMON@host>\n";
  static const char subject[] = "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n";
  static const struct {
    const char *first, *from, *subject, *rest;
    bool is_internal;
  } cases[] = {
      {"", sender, subject, "X-IMAP: 99 4\n", true},
      {"", sender, subject, "", false},
      {"", "From: joe@example.org\n", subject, "X-IMAP: 99 4\n", false},
      {"", "", subject, "X-IMAP: 99 4\n", false},
      {"", sender, "Subject: Re: FOLDER INTERNAL DATA\n", "X-IMAP: 99 4\n", false},
      {FROM_B "X-IMAP: 99 4\n\nx\n\n", sender, subject, "X-IMAP: 99 4\n", false},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *content = g_strconcat (cases[i].first, FROM_A, cases[i].from, cases[i].subject,
                                            cases[i].rest, "\nText.\n", NULL);
    g_autofree char *dump = dump_mbox ("m", content);
    g_assert_cmpint (strstr (dump, "Text.") == NULL, ==, cases[i].is_internal);
    g_assert_cmpint (strstr (dump, "left out") != NULL, ==, cases[i].is_internal);
  }
  g_autofree char *content = g_strconcat (
      FROM_A, sender, subject, "X-IMAP: 99 4\n\nInternal.\n\n" FROM_B "X-UID: 4\nS: 2\n", NULL);
  check (content,
         "- \"X-UID: 4\\nS: 2\\n\" @120 #4\n"
         "! /m: message 1 at byte 44: left out: no mail, but the folder's internal data\n");
}

static void
test_long_lines (void)
{
  /* A line as long as the buffer, and around that, before a From_ line. */
  for (int size = LINES_BUFFER - 3; size < (int)LINES_BUFFER + 3; size++) {
    g_autofree char *line = g_strnfill ((gsize)size, 'x');
    g_autofree char *content =
        g_strdup_printf (FROM_A "S: 1\n\n%s\nFrom inside\n\n" FROM_B "S: 2\n", line);
    g_autofree char *expected =
        g_strdup_printf ("- \"S: 1\\n\\n%s\\nFrom inside\\n\" @60\n- \"S: 2\\n\" @120\n", line);
    check (content, expected);
  }
  /* What stands where the second buffer of a line begins does not begin a line. */
  g_autofree char *buffer = g_strnfill (LINES_BUFFER, 'x');
  g_autofree char *inside = g_strdup_printf (FROM_A "S: 1\n\n%s" FROM_B "S: 2\n", buffer);
  g_autofree char *whole = g_strdup_printf (
      "- \"S: 1\\n\\n%sFrom b@example.org Thu Jan  1 00:02:00 1970\\nS: 2\\n\" @60\n", buffer);
  check (inside, whole);
  g_autofree char *sender = g_strnfill (3 * LINES_BUFFER, 'x');
  g_autofree char *content = g_strdup_printf ("From %s\nS: 1\n\nx\n", sender);
  check (content, "- \"S: 1\\n\\nx\\n\" @5\n");
}

static void
test_tree (void)
{
  auto_tree root = tree_new ();
  tree_write (root, "Archive.MBOX", FROM_A "S: 1\n", 1);
  tree_write (root, "Archive.sbd/2024.mboxrd", FROM_A "S: 2\n\n>From x\n", 1);
  tree_write (root, "sub/empty", "", 1);
  tree_write (root, "sub/index.msf", "// <!-- mork -->", 1);
  tree_write (root, ".imap/INBOX/dovecot.index", "From ", 1);
  tree_write (root, ".hidden", "From ", 1);
  g_autofree char *link = g_build_filename (root, "z", NULL);
  g_assert_cmpint (symlink ("Archive.MBOX", link), ==, 0);
  g_autofree char *dump = dump_source (&source_mbox, root, "");
  g_assert_cmpstr (dump, ==,
                   "= Archive\n- \"S: 1\\n\" @60\n"
                   "= Archive|2024\n- \"S: 2\\n\\nFrom x\\n\" @60\n"
                   "= sub|empty\n"
                   "! /sub/index.msf: left out: no mbox\n"
                   "! /z: a symbolic link; not followed\n");
}

/* The file becomes shorter, and longer, while it is read. */
static void
test_changes (void)
{
  auto_tree root = tree_new ();
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GString) out = g_string_new (NULL);
  g_autofree char *path = g_build_filename (root, "m", NULL);
  g_autofree char *line = g_strnfill (4 * LINES_BUFFER, 'x');
  g_autofree char *content =
      g_strdup_printf (FROM_A "S: 1\n\nx\n\n" FROM_B "S: 2\n\n%s\n\n" FROM_B "S: 3\n", line);
  tree_write (root, "m", content, 5);
  Source *source = source_mbox.open (path, warnings, NULL);
  g_assert_true (dump_some (&source_mbox, source, 2, out));
  g_assert_cmpint (truncate (path, 200), ==, 0);
  g_assert_false (dump_some (&source_mbox, source, UINT_MAX, out));
  source_mbox.close (source);
  dump_warnings (out, warnings, root);
  g_assert_true (g_str_has_prefix (out->str, "= INBOX\n- \"S: 1\\n\\nx\\n\" @60\n- unreadable\n"));
  g_assert_nonnull (strstr (out->str, "! /m: changed while it was read\n"));
}

static void
test_errors (void)
{
  auto_tree root = tree_new ();
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_build_filename (root, "m", NULL);
  tree_write (root, "m", "Subject: no mbox\n", 1);
  g_assert_null (source_mbox.open (path, warnings, &error));
  g_assert_error (error, MAILFS_ERROR, EINVAL);
}

/* A message larger than any memory should be asked for. */
static void
test_huge (void)
{
  auto_tree root = tree_new ();
  g_autofree char *path = g_build_filename (root, "m", NULL);
  tree_write (root, "m", FROM_A "Content-Length: 2147483648\n\n", 5);
  g_assert_cmpint (truncate (path, strlen (FROM_A) + 28 + (off_t)2147483648), ==, 0);
  g_autofree char *dump = dump_source (&source_mbox, root, "m");
  g_assert_cmpstr (dump, ==,
                   "= INBOX\n- unreadable\n! /m: message 1 at byte 44: a message of 2147483676 "
                   "bytes is too large\n");
}

static void
test_sample (void)
{
  g_autofree char *dump = dump_source (&source_mbox, TEST_DATA, "mbox/sample.mbox");
  g_auto (GStrv) lines = g_strsplit (dump, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), ==, 5);
  g_assert_cmpstr (lines[0], ==, "= INBOX 1717400000 4");
  g_assert_true (g_str_has_suffix (lines[1], " \\Seen @1717401600 #1"));
  g_assert_true (g_str_has_suffix (lines[2], " \\Answered \\Seen todo @1717407000 #3"));
  g_assert_true (g_str_has_prefix (lines[3], "! "));
}

/* Real files, where they are at hand: every byte that is not a From_ line or the blank line before
 * one is in a message. */
static void
test_corpus (void)
{
  const char *given = g_getenv ("MAILFS_CORPORA");
  g_autofree char *root =
      g_build_filename (given != NULL ? given : TEST_SOURCE "/../shared/corpora", "mbox", NULL);
  if (!g_file_test (root, G_FILE_TEST_IS_DIR)) {
    g_test_skip ("no corpus here");
    return;
  }
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  Source *source = source_mbox.open (root, warnings, &error);
  g_assert_no_error (error);
  SourceMessage message;
  uint64_t messages = 0, folders = 0, bytes = 0;
  bool end;
  while (source_mbox.next (source, &message, &end, &error) && !end) {
    folders += message.kind == SOURCE_FOLDER;
    g_assert_cmpint (message.kind, !=, SOURCE_UNREADABLE);
    if (message.kind != SOURCE_BYTES)
      continue;
    messages++;
    bytes += g_bytes_get_size (message.content);
    g_assert_cmpint (message.facts.internal_s, !=, 5);
    g_bytes_unref (message.content);
  }
  g_assert_no_error (error);
  StoreProgress progress;
  source_mbox.progress (source, &progress);
  source_mbox.close (source);
  g_assert_cmpuint (folders, ==, 150);
  g_assert_cmpuint (messages, ==, 5799);
  g_assert_cmpuint (bytes, <, progress.total - messages * strlen ("From x\n"));
  g_assert_cmpuint (bytes, >, progress.total - messages * 100);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/source/mbox/messages", test_messages);
  g_test_add_func ("/source/mbox/line-ends", test_line_ends);
  g_test_add_func ("/source/mbox/undated", test_undated);
  g_test_add_func ("/source/mbox/content-length", test_content_length);
  g_test_add_func ("/source/mbox/quoting", test_quoting);
  g_test_add_func ("/source/mbox/status", test_status);
  g_test_add_func ("/source/mbox/internal", test_internal);
  g_test_add_func ("/source/mbox/long-lines", test_long_lines);
  g_test_add_func ("/source/mbox/tree", test_tree);
  g_test_add_func ("/source/mbox/changes", test_changes);
  g_test_add_func ("/source/mbox/errors", test_errors);
  g_test_add_func ("/source/mbox/huge", test_huge);
  g_test_add_func ("/source/mbox/sample", test_sample);
  g_test_add_func ("/source/mbox/corpus", test_corpus);
  return g_test_run ();
}
