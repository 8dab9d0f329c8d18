/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mending broken databases of a store whose files have lost their attributes, so that what is not
 * salvaged is lost.
 */
#include "tests/unit/test-store.h"

#include <sys/xattr.h>

#define MESSAGES  400u
#define PAGE_SIZE 8192u

static char *
index_path (const Fixture *fixture)
{
  return g_build_filename (fixture->path, "index/example.com/user/joe.sqlite3", NULL);
}

static StoreDraft *
make_draft (StoreMailbox *mailbox, uint32_t i)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *keywords = g_strdup_printf ("$Label%u Project-%u", i % 7, i);
  g_autofree char *text = g_strdup_printf ("Subject: Message %u\r\n\r\nIts body.\r\n", i);
  StoreFacts facts = {
      .flags = i % 32, .keywords = i % 3 ? keywords : NULL, .internal_s = 1600000000 + i};
  StoreDraft *draft = store_draft_new (mailbox->store, &facts, &error);
  g_assert_no_error (error);
  assert_ok (store_draft_write (draft, text, strlen (text), &error), error);
  assert_ok (store_draft_finish (draft, mailbox, &error), error);
  return draft;
}

/* Two mailboxes with flags, keywords, and dates that are not today's. */
static void
fill (Fixture *fixture)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (StoreMailbox) work = open_named (fixture->store, "joe@example.com/Work");
  StoreMailbox *const mailboxes[] = {inbox, work};
  for (size_t m = 0; m < G_N_ELEMENTS (mailboxes); m++) {
    g_autoptr (GPtrArray) drafts =
        g_ptr_array_new_with_free_func ((GDestroyNotify)store_draft_free);
    for (uint32_t i = 1; i <= MESSAGES; i++) {
      if ((i % 4 == 0) == (m == 1))
        g_ptr_array_add (drafts, make_draft (mailboxes[m], i));
    }
    g_autoptr (GError) error = NULL;
    assert_ok (store_mailbox_append (mailboxes[m], (StoreDraft **)drafts->pdata, drafts->len,
                                     STORE_APPEND_BULK, &error),
               error);
  }
}

/* What people see of both mailboxes. ctime is left out: attributes are set again. */
static char *
look (Fixture *fixture)
{
  GString *text = g_string_new (NULL);
  static const char *const names[] = {"joe@example.com/INBOX", "joe@example.com/Work"};
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, names[i]);
    StoreMailboxInfo info;
    assert_ok (store_mailbox_info (mailbox, &info, &error), error);
    g_string_append_printf (text, "%u %u %u %u\n", store_mailbox_number (mailbox), info.uidvalidity,
                            info.uidnext, info.messages);
    for (uint32_t uid = 1; uid < info.uidnext; uid++) {
      g_auto (StoreMessage) message = {0};
      bool found;
      assert_ok (store_message_find (mailbox, uid, &message, &found, &error), error);
      g_autofree char *flags = store_flags_to_string (message.flags, message.keywords);
      g_string_append_printf (text, "%u %d %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT " [%s] %u\n",
                              uid, found, message.modseq, message.internal_s, flags,
                              message.damage);
    }
  }
  return g_string_free (text, FALSE);
}

/* Takes the attributes and dates off everything below mail/. */
static void
strip (const Fixture *fixture)
{
  run_in (fixture,
          "find mail -name '*.eml' -exec setfattr -x user.mailfs.state {} ';' -exec touch {} ';'",
          "");
}

static void
strip_directories (const Fixture *fixture)
{
  run_in (fixture,
          "find mail -mindepth 1 -type d -exec sh -c 'for d; do for a in mailbox user directory; do"
          " setfattr -x user.mailfs.$a \"$d\" 2>/dev/null; done; done; true' sh {} +",
          "");
}

static guint
count_lines_in_common (const char *a, const char *b)
{
  g_auto (GStrv) first = g_strsplit (a, "\n", -1), second = g_strsplit (b, "\n", -1);
  guint common = 0;
  for (guint i = 0; first[i] != NULL && second[i] != NULL; i++)
    common += strcmp (first[i], second[i]) == 0 && *first[i] != '\0';
  return common;
}

/* Breaks the index with `command`, in which FILE is its name, strips the files, and runs `words`.
 * Returns how many of the messages and mailboxes are as before. */
static guint
break_and_mend (Fixture *fixture, const char *command, const char *words)
{
  fill (fixture);
  g_autofree char *before = look (fixture);
  g_clear_pointer (&fixture->store, store_close);
  strip (fixture);
  run_in (fixture, "FILE=index/example.com/user/joe.sqlite3; ", command);
  reopen (fixture, 0);
  g_autoptr (StoreJob) job = run_job (fixture->store, words);
  StoreResult result;
  store_job_result (job, &result);
  g_assert_cmpuint (result.left, ==, 0);
  g_autofree char *after = look (fixture);
  assert_clean (fixture->store);

  /* Now the files know it: no index is needed any more. */
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm -r index; ! ls index/*/*/*.broken-* 2>/dev/null", "");
  reopen (fixture, 0);
  g_autoptr (StoreJob) again = run_job (fixture->store, "reconstruct");
  g_autofree char *later = look (fixture);
  g_assert_cmpstr (later, ==, after);
  return count_lines_in_common (before, after);
}

static void
test_no_damage_to_rows (Fixture *fixture, gconstpointer data)
{
  g_assert_cmpuint (break_and_mend (fixture,
                                    "dd if=/dev/urandom of=$FILE bs=8192 count=1 conv=notrunc"
                                    " status=none",
                                    "recover"),
                    ==, MESSAGES + 2);
}

static void
test_reconstruct_salvages_too (Fixture *fixture, gconstpointer data)
{
  /* Only one mailbox is named, but the index of all is broken. */
  g_assert_cmpuint (break_and_mend (fixture,
                                    "printf 'no database' | dd of=$FILE conv=notrunc status=none",
                                    "reconstruct joe@example.com/INBOX"),
                    ==, MESSAGES + 2);
}

/* The pages of the messages lie behind those of the first summaries. */
static void
test_cut (Fixture *fixture, gconstpointer data)
{
  const char *command = "truncate -s $(($(stat -c %s $FILE) / 8 * 5)) $FILE";
  g_assert_cmpuint (break_and_mend (fixture, command, "recover"), >=, MESSAGES / 10);
}

static void
test_cut_less (Fixture *fixture, gconstpointer data)
{
  const char *command = "truncate -s $(($(stat -c %s $FILE) / 4 * 3 - 100)) $FILE";
  g_assert_cmpuint (break_and_mend (fixture, command, "recover"), >=, MESSAGES / 2);
}

static void
test_zeroed (Fixture *fixture, gconstpointer data)
{
  guint kept = break_and_mend (
      fixture, "dd if=/dev/zero of=$FILE bs=8192 seek=5 count=1 conv=notrunc status=none",
      "recover");
  g_assert_cmpuint (kept, >=, MESSAGES / 2);
}

static void
test_random_in_the_middle (Fixture *fixture, gconstpointer data)
{
  guint kept = break_and_mend (
      fixture, "dd if=/dev/urandom of=$FILE bs=1000 seek=60 count=9 conv=notrunc status=none",
      "recover force");
  g_assert_cmpuint (kept, >=, MESSAGES / 2);
}

/* What lies in the index's place is kept, whatever it is. */
static void
test_strangers (Fixture *fixture, gconstpointer data)
{
  static const char *const commands[] = {
      "rm $FILE; mkdir $FILE; touch $FILE/precious",
      "rm $FILE; mkfifo $FILE",
      "rm $FILE; ln -s /etc/passwd $FILE",
      "rm $FILE; sqlite3 $FILE 'CREATE TABLE music (title)'",
      "echo diary > $FILE",
  };
  fill (fixture);
  for (size_t i = 0; i < G_N_ELEMENTS (commands); i++) {
    g_autofree char *before = look (fixture);
    g_clear_pointer (&fixture->store, store_close);
    run_in (fixture, "FILE=index/example.com/user/joe.sqlite3; ", commands[i]);
    reopen (fixture, 0);
    g_autofree char *meanwhile = look (fixture);
    g_assert_cmpstr (meanwhile, ==, before);
    g_autoptr (StoreJob) job = run_job (fixture->store, "recover");
    StoreResult result;
    store_job_result (job, &result);
    g_assert_cmpuint (result.fixed, >=, 1);
    g_assert_cmpuint (result.left, ==, 0);
    g_autofree char *after = look (fixture);
    g_assert_cmpstr (after, ==, before);
    assert_clean (fixture->store);
  }
  run_in (fixture, "test $(ls -d index/example.com/user/joe.sqlite3.damaged-* | wc -l) = 5", "");
  run_in (fixture, "test -e index/example.com/user/joe.sqlite3.damaged-*/precious", "");
}

/* Files that are newer than the broken index are not set back. */
static void
test_newest_wins (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  run_in (fixture, "cp index/example.com/user/joe.sqlite3 old", "");
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t uids[] = {3, 7};
  assert_ok (
      store_message_flag (inbox, uids, 2, STORE_FLAGS_SET, STORE_FLAG_FLAGGED, "New", &error),
      error);
  g_autofree char *before = look (fixture);
  g_clear_pointer (&inbox, store_mailbox_unref);
  g_clear_pointer (&fixture->store, store_close);
  run_in (
      fixture,
      "head -c 8192 /dev/urandom | cat - old | tail -c +8193 > index/example.com/user/joe.sqlite3;"
      " dd if=/dev/zero of=index/example.com/user/joe.sqlite3 bs=100 count=1 conv=notrunc"
      " status=none; rm old",
      "");
  reopen (fixture, 0);
  g_autoptr (StoreJob) job = run_job (fixture->store, "recover");
  g_autofree char *after = look (fixture);
  g_assert_cmpstr (after, ==, before);
  assert_clean (fixture->store);
}

/* A rebuild that was interrupted after the broken index was set aside loses nothing. */
static void
test_interrupted (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autofree char *before = look (fixture);
  g_clear_pointer (&fixture->store, store_close);
  strip (fixture);
  run_in (fixture, "cd index/example.com/user && mv joe.sqlite3 joe.sqlite3.broken-0", "");
  reopen (fixture, 0);
  /* Mail comes in before anybody goes on, into an index that is made for it. */
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t uid = deliver (inbox, "in between", 0, NULL);
  g_autoptr (StoreJob) job = run_job (fixture->store, "recover");
  g_autofree char *after = look (fixture);
  /* All lines but the mailbox's own, which counts one more. */
  g_autofree char *line = g_strdup_printf ("\n%u 1 ", uid);
  g_assert_nonnull (strstr (after, line));
  guint common = 0;
  g_auto (GStrv) lines = g_strsplit (before, "\n", -1);
  for (char **next = lines; *next != NULL; next++)
    common += **next != '\0' && strstr (after, *next) != NULL;
  g_assert_cmpuint (common, ==, MESSAGES + 1);
  assert_clean (fixture->store);
}

/* The index, the list and the directories: numbers, UIDVALIDITY and next UIDs come back. */
static void
test_everything (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autofree char *before = look (fixture);
  g_clear_pointer (&fixture->store, store_close);
  strip (fixture);
  strip_directories (fixture);
  run_in (fixture,
          "for f in mailboxes.sqlite3 index/example.com/user/joe.sqlite3; do"
          "  dd if=/dev/urandom of=$f bs=8192 count=1 conv=notrunc status=none; done",
          "");
  reopen (fixture, 0);
  g_autoptr (StoreJob) job = run_job (fixture->store, "recover");
  g_autofree char *after = look (fixture);
  g_assert_cmpstr (after, ==, before);
  assert_clean (fixture->store);
}

/* Rotten rows accuse no sound message, and damage that is known stays known. */
static void
test_digests (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture,
          "sqlite3 index/example.com/user/joe.sqlite3"
          " 'UPDATE summary SET sha256 = randomblob (32) WHERE id & 1;"
          "  UPDATE message SET size = size + 5 WHERE id & 3 = 3'",
          "");
  run_in (fixture,
          "printf X | dd of=mail/example.com/user/joe/INBOX/0000000002.eml bs=1 seek=12"
          " conv=notrunc status=none; setfattr -x user.mailfs.state"
          " mail/example.com/user/joe/INBOX/0000000002.eml",
          "");
  run_in (fixture,
          "dd if=/dev/zero of=index/example.com/user/joe.sqlite3 bs=100 count=1 conv=notrunc"
          " status=none",
          "");
  reopen (fixture, 0);
  g_autoptr (StoreJob) job = run_job (fixture->store, "recover");
  const GPtrArray *findings = store_job_findings (job);
  guint left = 0;
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    if (finding->outcome != STORE_LEFT)
      continue;
    left++;
    g_assert_cmpint (finding->problem, ==, STORE_PROBLEM_DIGEST);
    g_assert_cmpuint (finding->uid, ==, 2);
  }
  g_assert_cmpuint (left, ==, 1);
}

static void
test_sound (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autofree char *path = index_path (fixture);
  struct stat before, after;
  g_assert_cmpint (stat (path, &before), ==, 0);
  g_autoptr (StoreJob) job = run_job (fixture->store, "recover");
  g_assert_cmpuint (store_job_findings (job)->len, ==, 0);
  g_assert_cmpint (stat (path, &after), ==, 0);
  g_assert_cmpuint (before.st_ino, ==, after.st_ino);
  g_assert_cmpint (stat_mtime_ns (&before), ==, stat_mtime_ns (&after));
  g_autoptr (StoreJob) dry = run_job (fixture->store, "recover force dry-run");
  g_assert_cmpuint (store_job_findings (dry)->len, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/recover/no-damage-to-rows", test_no_damage_to_rows);
  add_test ("/recover/reconstruct-salvages-too", test_reconstruct_salvages_too);
  add_test ("/recover/cut", test_cut);
  add_test ("/recover/cut-less", test_cut_less);
  add_test ("/recover/zeroed", test_zeroed);
  add_test ("/recover/random-in-the-middle", test_random_in_the_middle);
  add_test ("/recover/strangers", test_strangers);
  add_test ("/recover/newest-wins", test_newest_wins);
  add_test ("/recover/interrupted", test_interrupted);
  add_test ("/recover/everything", test_everything);
  add_test ("/recover/digests", test_digests);
  add_test ("/recover/sound", test_sound);
  return g_test_run ();
}
