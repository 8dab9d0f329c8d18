/* SPDX-License-Identifier: Apache-2.0 */
/* Lost and found: what is in it, under which names, and the ways out of it. */
#include "store/missing.h"
#include "test-store.h"

#define JOE       "joe@example.com/INBOX"
#define DIRECTORY "mail/example.com/user/joe/INBOX"

/* The names of a kind, one a line, asked for `capacity` at a time. */
static char *
names_of (Store *store, StoreLostKind kind, uint32_t number, size_t capacity)
{
  g_autoptr (GError) error = NULL;
  GString *text = g_string_new (NULL);
  g_autofree StoreLost *page = g_new0 (StoreLost, capacity);
  g_autofree char *after = NULL;
  for (size_t count = 1; count > 0;) {
    assert_ok (store_lost_page (store, kind, number, after, page, capacity, &count, &error), error);
    for (size_t i = 0; i < count; i++) {
      g_auto (StoreLost) found = {0};
      bool there = false;
      g_assert_cmpstr (after, <, page[i].name);
      g_free (after);
      after = g_strdup (page[i].name);
      assert_ok (store_lost_find (store, kind, number, page[i].name, &found, &there, &error),
                 error);
      g_assert_true (there);
      g_assert_cmpstr (found.path, ==, page[i].path);
      g_assert_cmpuint (found.size, ==, page[i].size);
      g_string_append_printf (text, "%s\n", page[i].name);
    }
    store_losts_clear (page, count);
  }
  return g_string_free (text, FALSE);
}

static void
assert_names (Store *store, StoreLostKind kind, uint32_t number, const char *expected)
{
  for (size_t capacity = 1; capacity < 8; capacity += 3) {
    g_autofree char *names = names_of (store, kind, number, capacity);
    g_assert_cmpstr (names, ==, expected);
  }
}

static void
find (Store *store, StoreLostKind kind, const char *name, StoreLost *out)
{
  g_autoptr (GError) error = NULL;
  bool found = false;
  assert_ok (store_lost_find (store, kind, STORE_ROOT, name, out, &found, &error), error);
  g_assert_true (found);
}

static uint32_t
restore (Store *store, StoreLostKind kind, const char *name, uint32_t mailbox)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreLost) lost = {0};
  uint32_t uid = 0;
  find (store, kind, name, &lost);
  assert_ok (store_lost_restore (store, &lost, mailbox, &uid, &error), error);
  return uid;
}

static void
remove_lost (Store *store, StoreLostKind kind, const char *name)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreLost) lost = {0};
  find (store, kind, name, &lost);
  assert_ok (store_lost_remove (store, &lost, &error), error);
}

static void
assert_json_has (Store *store, StoreLostKind kind, const char *name, const char *text)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreLost) lost = {0};
  find (store, kind, name, &lost);
  GString *json = store_lost_json (store, &lost, &error);
  g_assert_no_error (error);
  if (strstr (json->str, text) == NULL)
    g_test_message ("%s", json->str);
  g_assert_nonnull (strstr (json->str, text));
  g_string_free (json, TRUE);
}

static char *
name_of (const StoreMailbox *mailbox, uint32_t uid)
{
  return g_strdup_printf ("%08u-%010u.eml", mailbox->number, uid);
}

/* An expunged message comes back under its UID, or goes elsewhere as a new one. */
static void
test_expunged (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "joe@example.com/Other");
  for (int i = 0; i < 4; i++)
    deliver (inbox, "a message", STORE_FLAG_SEEN | STORE_FLAG_DELETED, "$Important");
  const uint32_t uids[] = {1, 2, 4};
  assert_ok (store_mailbox_expunge (inbox, uids, 3, &error), error);
  g_autofree char *first = name_of (inbox, 1), *second = name_of (inbox, 2),
                  *fourth = name_of (inbox, 4);
  g_autofree char *all = g_strjoin ("\n", first, second, fourth, "", NULL);
  assert_names (fixture->store, STORE_LOST_EXPUNGED, STORE_ROOT, all);
  assert_names (fixture->store, STORE_LOST_EXPUNGED, inbox->number, all);
  assert_names (fixture->store, STORE_LOST_EXPUNGED, other->number, "");
  assert_json_has (fixture->store, STORE_LOST_EXPUNGED, first, "\"subject\":\"a message\"");
  assert_json_has (fixture->store, STORE_LOST_EXPUNGED, first, "\"flags_source\":\"file\"");
  g_assert_cmpuint (restore (fixture->store, STORE_LOST_EXPUNGED, first, inbox->number), ==, 1);
  g_assert_cmpuint (restore (fixture->store, STORE_LOST_EXPUNGED, second, other->number), ==, 1);
  remove_lost (fixture->store, STORE_LOST_EXPUNGED, fourth);
  assert_names (fixture->store, STORE_LOST_EXPUNGED, STORE_ROOT, "");
  g_auto (StoreMessage) message = {0};
  bool found = false;
  assert_ok (store_message_find (other, 1, &message, &found, &error), error);
  g_assert_true (found);
  g_assert_cmpuint (message.flags, ==, STORE_FLAG_SEEN);
  g_assert_cmpstr (message.keywords, ==, "$Important");
  g_assert_cmpint (message.internal_s, ==, 1600000000);
  assert_clean (fixture->store);
}

/* A snapshot keeps what it needs; what goes elsewhere is then in both places. */
static void
test_snapshot (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  const uint32_t uid = deliver (inbox, "kept", 0, NULL);
  assert_ok (store_snapshot_take (fixture->store, "then", NULL, &error), error);
  assert_ok (store_mailbox_expunge (inbox, &uid, 1, &error), error);
  g_autofree char *name = name_of (inbox, uid);
  g_auto (StoreLost) lost = {0};
  find (fixture->store, STORE_LOST_EXPUNGED, name, &lost);
  assert_fails (store_lost_remove (fixture->store, &lost, &error), error, EBUSY);
  g_autoptr (Store) past = store_snapshot_open (fixture->store, "then", &error);
  g_assert_no_error (error);
  assert_names (past, STORE_LOST_EXPUNGED, STORE_ROOT, "");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "joe@example.com/Other");
  g_assert_cmpuint (restore (fixture->store, STORE_LOST_EXPUNGED, name, other->number), ==, 1);
  store_lost_clear (&lost);
  find (fixture->store, STORE_LOST_EXPUNGED, name, &lost);
  assert_ok (store_snapshot_drop (fixture->store, "then", &error), error);
  remove_lost (fixture->store, STORE_LOST_EXPUNGED, name);
}

/* Orphans of all places, with names that mean harm. */
static void
test_orphans (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  deliver (inbox, "expunged", STORE_FLAG_DELETED, NULL);
  store_job_free (run_job (fixture->store, "expunge " JOE));
  run_in (fixture, "cd " DIRECTORY " && echo one >notes.txt && echo two >.expunged/'a\tb' && ",
          "echo x >.hidden && ln -s /etc/passwd link && mkfifo pipe && echo 3 >x.json && "
          "echo long >$(printf 'L%.0s' $(seq 250))");
  run_in (fixture, "mkdir lost+found mail/lost+found tmp/1.dead && ",
          "cp " DIRECTORY "/.expunged/0000000001.eml 'mail/lost+found/#123' && "
          "echo top >mail/top && echo dead >tmp/1.dead/7 && echo fs >lost+found/#1");
  g_autofree char *long_name = g_strnfill (211, 'L');
  g_autofree char *whole = g_strnfill (250, 'L');
  g_autofree char *hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, whole, -1);
  g_autofree char *here =
      g_strdup_printf ("%1$08u-%%2Eexpunged%%2Fa%%09b\n%1$08u-%2$s~%3$.8s\n%1$08u-notes.txt\n"
                       "%1$08u-x.jso%%6E\n",
                       inbox->number, long_name, hash);
  g_autofree char *all = g_strconcat ("00000000-%2E.%2Flost+found%2F#1\n"
                                      "00000000-%2E.%2Ftmp%2F1.dead%2F7\n"
                                      "00000000-lost+found%2F#123\n00000000-top\n",
                                      here, NULL);
  assert_names (fixture->store, STORE_LOST_ORPHANS, STORE_ROOT, all);
  assert_names (fixture->store, STORE_LOST_ORPHANS, inbox->number, here);
  assert_json_has (fixture->store, STORE_LOST_ORPHANS, "00000000-lost+found%2F#123",
                   "\"subject\":\"expunged\"");
}

/* What is kept of a listing goes when one of its places changes, wherever that is. */
static void
test_orphans_kept (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  g_autofree char *two = g_strdup_printf ("%1$08u-%%2Eexpunged%%2Fb\n%1$08u-a\n", inbox->number);
  g_autofree char *one = g_strdup_printf ("%08u-a\n", inbox->number);
  deliver (inbox, "expunged", STORE_FLAG_DELETED, NULL);
  store_job_free (run_job (fixture->store, "expunge " JOE));
  run_in (fixture, "cd " DIRECTORY " && echo a >a && ", "touch -d 2020-01-01 . .expunged");
  assert_names (fixture->store, STORE_LOST_ORPHANS, inbox->number, one);
  run_in (fixture, "cd " DIRECTORY " && echo b >.expunged/b && ", "touch -d 2020-01-02 .expunged");
  assert_names (fixture->store, STORE_LOST_ORPHANS, inbox->number, two);
  assert_names (fixture->store, STORE_LOST_ORPHANS, STORE_ROOT, two);
  run_in (fixture, "cd " DIRECTORY " && rm .expunged/b && ", "touch -d 2020-01-03 .expunged");
  assert_names (fixture->store, STORE_LOST_ORPHANS, inbox->number, one);
  run_in (fixture, "cd " DIRECTORY " && rm a && ", "echo b >.expunged/b && rm .expunged/b");
  assert_names (fixture->store, STORE_LOST_ORPHANS, inbox->number, "");
}

/* A name that somebody made up leads to no file of the store, nor out of it. */
static void
test_made_up (Fixture *fixture, gconstpointer data)
{
  static const char *const made_up[] = {
      "00000000-%2E.%2Fmailfs.conf",
      "00000000-%2E.%2F%2E.%2F..%2Fetc%2Fpasswd",
      "00000000-%2E.%2Ftmp%2F..%2Fmailfs.conf",
      "00000000-example.com",
      "00000000-",
      "00000000",
      "",
      "99999999-0000000001.eml",
      "00000001-../../mailfs.conf",
      "00000000-lost+found%2F..%2F..%2Fmailfs.conf",
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  deliver (inbox, "a message", 0, NULL);
  g_autofree char *message = g_strdup_printf ("%08u-0000000001.eml", inbox->number);
  for (size_t kind = 0; kind < STORE_LOST_KINDS; kind++) {
    for (size_t i = 0; i <= G_N_ELEMENTS (made_up); i++) {
      g_auto (StoreLost) lost = {0};
      bool found = true;
      assert_ok (store_lost_find (fixture->store, (StoreLostKind)kind, STORE_ROOT,
                                  i < G_N_ELEMENTS (made_up) ? made_up[i] : message, &lost, &found,
                                  &error),
                 error);
      g_assert_false (found);
    }
  }
}

/* An orphan becomes a message with what its file still tells of it, and the mailbox stays right. */
static void
test_orphan_ways (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  deliver (inbox, "lost", STORE_FLAG_FLAGGED, "Work");
  deliver (inbox, "stays", 0, NULL);
  run_in (fixture, "mkdir mail/lost+found && cd " DIRECTORY " && ",
          "mv 0000000001.eml ../../../../lost+found/#5 && echo stray >stray && echo two >two");
  store_job_free (run_job (fixture->store, "repair"));
  g_assert_cmpuint (
      restore (fixture->store, STORE_LOST_ORPHANS, "00000000-lost+found%2F#5", inbox->number), ==,
      3);
  g_auto (StoreMessage) message = {0};
  bool found = false;
  assert_ok (store_message_find (inbox, 3, &message, &found, &error), error);
  g_assert_true (found);
  g_assert_cmpuint (message.flags, ==, STORE_FLAG_FLAGGED);
  g_assert_cmpstr (message.keywords, ==, "Work");
  g_assert_cmpint (message.internal_s, ==, 1600000000);
  g_autofree char *stray = g_strdup_printf ("%08u-stray", inbox->number);
  g_autofree char *two = g_strdup_printf ("%08u-two", inbox->number);
  remove_lost (fixture->store, STORE_LOST_ORPHANS, stray);
  g_assert_false (mailbox_is_behind (inbox));
  g_assert_cmpuint (restore (fixture->store, STORE_LOST_ORPHANS, two, STORE_ROOT), ==, 4);
  g_assert_false (mailbox_is_behind (inbox));
  run_in (fixture, "rmdir mail/lost+found", "");
  assert_names (fixture->store, STORE_LOST_ORPHANS, STORE_ROOT, "");
}

static void
test_damaged (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  for (int i = 0; i < 9; i++)
    deliver (inbox, "a message", STORE_FLAG_SEEN, NULL);
  run_in (fixture, "cd " DIRECTORY " && for i in 3 7; do printf rot | ",
          "dd of=000000000$i.eml conv=notrunc status=none; done");
  store_job_free (run_job (fixture->store, "repair full"));
  g_autofree char *third = name_of (inbox, 3), *seventh = name_of (inbox, 7);
  g_autofree char *both = g_strjoin ("\n", third, seventh, "", NULL);
  assert_names (fixture->store, STORE_LOST_DAMAGED, STORE_ROOT, both);
  assert_json_has (fixture->store, STORE_LOST_DAMAGED, third, "\"delivered_source\":\"row\"");
  g_auto (StoreLost) lost = {0};
  find (fixture->store, STORE_LOST_DAMAGED, third, &lost);
  assert_fails (store_lost_remove (fixture->store, &lost, &error), error, EINVAL);
  auto_fd fd = store_lost_open (fixture->store, &lost, &error);
  char bytes[4] = "";
  g_assert_no_error (error);
  g_assert_cmpint (pread (fd, bytes, 3, 0), ==, 3);
  g_assert_cmpstr (bytes, ==, "rot");
  /* Whoever takes it as it is has a new message; the old one is among the expunged. */
  g_assert_cmpuint (restore (fixture->store, STORE_LOST_DAMAGED, third, inbox->number), ==, 10);
  g_autofree char *left = g_strconcat (seventh, "\n", NULL),
                  *gone = g_strconcat (third, "\n", NULL);
  assert_names (fixture->store, STORE_LOST_DAMAGED, STORE_ROOT, left);
  assert_names (fixture->store, STORE_LOST_EXPUNGED, STORE_ROOT, gone);
}

static void
test_quarantine (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  g_autoptr (StoreMailbox) old = open_named (fixture->store, "joe@example.com/Old");
  deliver (inbox, "one", 0, NULL);
  deliver (old, "two", 0, NULL);
  assert_ok (store_mailbox_remove (fixture->store, old->number, false, NULL, &error), error);
  assert_ok (quarantine_take (fixture->store, "20200101T000000Z-00000001",
                              "example.com/user/joe/INBOX/0000000001.eml", &error),
             error);
  StoreLost page[4];
  size_t count;
  assert_ok (store_lost_page (fixture->store, STORE_LOST_QUARANTINE, STORE_ROOT, NULL, page, 4,
                              &count, &error),
             error);
  g_assert_cmpuint (count, ==, 2);
  g_assert_cmpstr (page[0].name, ==,
                   "20200101T000000Z-00000001%2Fexample.com%2Fuser%2Fjoe%2FINBOX%2F0000000001.eml");
  g_assert_cmpuint (page[0].uid, ==, 1);
  g_assert_cmpuint (page[0].number, ==, inbox->number);
  g_assert_true (page[0].has_bytes);
  g_assert_true (page[1].is_directory);
  uint32_t uid = 7;
  assert_fails (store_lost_restore (fixture->store, &page[1], inbox->number, &uid, &error), error,
                EINVAL);
  assert_ok (store_lost_restore (fixture->store, &page[0], inbox->number, &uid, &error), error);
  g_assert_cmpuint (uid, ==, 1);
  assert_ok (store_lost_restore (fixture->store, &page[1], STORE_ROOT, &uid, &error), error);
  g_assert_cmpuint (uid, ==, 0);
  store_losts_clear (page, count);
  assert_names (fixture->store, STORE_LOST_QUARANTINE, STORE_ROOT, "");
  store_job_free (run_job (fixture->store, "repair"));
  assert_clean (fixture->store);
}

#define STAMP "20260101T000002Z-00000002"

/* Names are asked for a page at a time, and one by one. Of very many in one removal that would take
 * longer than a test may, if each of these took a listing. */
static void
test_quarantine_many (Fixture *fixture, gconstpointer data)
{
  run_in (fixture,
          "for i in 1 2 3; do mkdir -p quarantine/20260101T00000${i}Z-0000000$i/a/b && "
          "touch quarantine/20260101T00000${i}Z-0000000$i/a/b/x; done; "
          "mkdir -p quarantine/nonsense/x quarantine/" STAMP "-not && "
          "cd quarantine/" STAMP
          " && mkdir big && cd big && touch '! %' && seq 12000 | xargs touch",
          "");
  g_autofree char *names = names_of (fixture->store, STORE_LOST_QUARANTINE, STORE_ROOT, 64);
  g_auto (GStrv) lines = g_strsplit (names, "\n", -1);
  g_assert_cmpuint (g_strv_length (lines), ==, 1 + 1 + 1 + 12000 + 1 + 1);
  g_assert_cmpstr (lines[0], ==, "20260101T000001Z-00000001%2Fa%2Fb%2Fx");
  g_assert_cmpstr (lines[1], ==, STAMP "%2Fa%2Fb%2Fx");
  g_assert_cmpstr (lines[2], ==, STAMP "%2Fbig%2F! %25");
  g_assert_cmpstr (lines[12003], ==, "20260101T000003Z-00000003%2Fa%2Fb%2Fx");
}

/* What goes between two pages, names that were cut, and names that somebody made up. */
static void
test_quarantine_names (Fixture *fixture, gconstpointer data)
{
  static const char *const made_up[] = {
      STAMP,           STAMP "%2F",         STAMP "%2Fa",         STAMP "%2F..%2F" STAMP "%2Fa%2F1",
      STAMP "/a/1",    STAMP "%2Fa%2F./1",  STAMP "%2Fa%2F%2F1",  STAMP "%2Fa%2F4",
      "..%2Fmail%2Fx", STAMP "%2Flink%2F1", STAMP "%2Fa%2F1%2F1", "x~01234567"};
  g_autoptr (GError) error = NULL;
  StoreLost page[3], found;
  size_t count;
  bool there;
  run_in (fixture,
          "mkdir -p quarantine/" STAMP "/a && cd quarantine/" STAMP " && ln -s a link && cd a && "
          "touch 1 2 3 && x=$(printf x%.0s $(seq 200)) && mkdir -p z/$x && touch z/$x/$x && "
          "mkdir 21 && setfattr -n user.mailfs.mailbox -v nonsense 21",
          "");
  assert_ok (store_lost_page (fixture->store, STORE_LOST_QUARANTINE, STORE_ROOT, NULL, page, 1,
                              &count, &error),
             error);
  run_in (fixture, "rm -r quarantine/" STAMP "/a/2 quarantine/" STAMP "/a/21", "");
  assert_ok (store_lost_page (fixture->store, STORE_LOST_QUARANTINE, STORE_ROOT, page[0].name,
                              page + 1, 2, &count, &error),
             error);
  g_assert_cmpuint (count, ==, 2);
  g_assert_cmpstr (page[1].name, ==, STAMP "%2Fa%2F3");
  g_assert_cmpuint (strlen (page[2].name), ==, 220);
  remove_lost (fixture->store, STORE_LOST_QUARANTINE, page[2].name);
  g_autofree char *names = names_of (fixture->store, STORE_LOST_QUARANTINE, STORE_ROOT, 64);
  g_assert_cmpstr (names, ==, STAMP "%2Fa%2F1\n" STAMP "%2Fa%2F3\n" STAMP "%2Flink\n");
  for (size_t i = 0; i < G_N_ELEMENTS (made_up); i++) {
    assert_ok (store_lost_find (fixture->store, STORE_LOST_QUARANTINE, STORE_ROOT, made_up[i],
                                &found, &there, &error),
               error);
    g_assert_false (there);
  }
  store_losts_clear (page, 3);
}

/* What a message was is told as long as its file is gone, before a repair, after it, and when the
 * index is lost as well. */
static void
test_missing (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  for (int i = 0; i < 5; i++)
    deliver (inbox, i == 1 ? "lost one" : "a message", i == 1 ? STORE_FLAG_FLAGGED : 0,
             i == 1 ? "Work" : NULL);
  run_in (fixture, "mv " DIRECTORY "/0000000002.eml kept && rm " DIRECTORY "/0000000004.eml", "");
  g_autofree char *second = name_of (inbox, 2), *fourth = name_of (inbox, 4);
  g_autofree char *both = g_strjoin ("\n", second, fourth, "", NULL);
  static const char *const commands[] = {"check", "repair", "repair full", "reconstruct force"};
  for (size_t i = 0; i < G_N_ELEMENTS (commands); i++) {
    store_job_free (run_job (fixture->store, commands[i]));
    if (i == 2)
      run_in (fixture, "rm -r index", "");
    reopen (fixture, i % 2 ? 0 : STORE_READ_ONLY);
    assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, both);
    assert_names (fixture->store, STORE_LOST_MISSING, inbox->number, both);
    assert_json_has (fixture->store, STORE_LOST_MISSING, second, "\"subject\":\"lost one\"");
    assert_json_has (fixture->store, STORE_LOST_MISSING, second,
                     "\"flags\":[\"\\\\Flagged\",\"Work\"]");
    assert_json_has (fixture->store, STORE_LOST_MISSING, second,
                     i == 0 ? "\"flags_source\":\"row\"" : "\"flags_source\":\"record\"");
    assert_json_has (fixture->store, STORE_LOST_MISSING, second,
                     "\"internal_date\":\"2020-09-13T12:26:40Z\"");
    reopen (fixture, 0);
  }
  g_auto (StoreLost) lost = {0};
  uint32_t uid;
  find (fixture->store, STORE_LOST_MISSING, fourth, &lost);
  assert_fails (store_lost_restore (fixture->store, &lost, inbox->number, &uid, &error), error,
                EINVAL);
  assert_fails (store_lost_open (fixture->store, &lost, &error) >= 0, error, ENOENT);
  assert_ok (store_lost_remove (fixture->store, &lost, &error), error);
  run_in (fixture, "mv kept " DIRECTORY "/0000000002.eml", "");
  assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, "");
  store_job_free (run_job (fixture->store, "repair"));
  run_in (fixture, "test ! -e missing/", "*");
  assert_clean (fixture->store);
}

/* A message that came back, and was then removed as messages are, is not missing again. */
static void
test_back_and_gone (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  for (int i = 0; i < 3; i++)
    deliver (inbox, "a message", STORE_FLAG_DELETED, NULL);
  run_in (fixture, "mv " DIRECTORY "/0000000002.eml kept", "");
  store_job_free (run_job (fixture->store, "repair"));
  run_in (fixture, "test -s missing/* && mv kept " DIRECTORY "/0000000002.eml", "");
  store_job_free (run_job (fixture->store, "expunge " JOE));
  store_job_free (run_job (fixture->store, "cleanup age=0"));
  run_in (fixture, "test ! -e " DIRECTORY "/.expunged/0000000002.eml", "");
  assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, "");
  assert_clean (fixture->store);
}

/* What a shell needs to write a line with its checksum. */
#define PUT "put () { printf '%%s %%.8s\\n' \"$1\" $(printf %%s \"$1\" | sha256sum); }; "

/* Lines that make no sense, have changed, or were cut short, hide nothing and are not believed. */
static void
test_missing_lines (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  g_autofree char *number = g_strdup_printf ("%u", inbox->number);
  run_in (fixture, "mkdir missing && head -c 300000 /dev/zero | tr '\\0' x >missing/", number);
  g_autofree char *command = g_strdup_printf (
      PUT "{ echo; put '7 1700000000 99 -5 - - 1 4 1 0 - \\Seen'; put '8 nonsense'; put '9 -';"
          " put '10 5 5 5 - - 1 4 1 0 -'; put '10 -'; echo 11 5 5 5 '- - 1 4 1 0 -\"';"
          " put '4294967295 5 5 5 - - 1 4 1 0 -'; put '0 5 5 5 - - 1 4 1 0 -';"
          " put '15 5 5 5 - - 1 4 1 0 -' | sed 's/15/16/'; echo 17 5 5 5 - - 1 4 1 0 -;"
          " put '12 5 5 5 - - 1 4 1 0 -' | tr -d '\\n'; } >>missing/%s",
      number);
  run_in (fixture, command, "");
  g_autofree char *name = name_of (inbox, 7), *names = g_strconcat (name, "\n", NULL);
  assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, names);
  assert_json_has (fixture->store, STORE_LOST_MISSING, name, "\"flags\":[\"\\\\Seen\"]");
  /* What is added begins a line of its own, or goes on with the one that had no end. */
  g_autofree char *later = g_strdup_printf (
      PUT "{ printf '\"\\n'; put '13 5 5 5 - - 1 4 1 0 - \\Seen'; echo -n 14; } >>missing/%s",
      number);
  run_in (fixture, later, "");
  g_autofree char *thirteen = name_of (inbox, 13), *fourteen = name_of (inbox, 14);
  g_autofree char *two = g_strdup_printf ("%s\n%s\n", name, thirteen);
  assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, two);
  g_autofree char *end =
      g_strdup_printf (PUT "put '14 5 5 5 - - 1 4 1 0 - \\Seen' | cut -c 3- >>missing/%s", number);
  run_in (fixture, end, "");
  g_autofree char *three = g_strdup_printf ("%s%s\n", two, fourteen);
  assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, three);
  g_autoptr (GError) error = NULL;
  for (uint32_t uid = 7; uid < 15; uid += uid == 7 ? 6 : 1)
    assert_ok (missing_forget (fixture->store, inbox->number, uid, &error), error);
  assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, "");
}

/* What lies in the place of that file, or of its directory, keeps nothing from being repaired. */
static void
test_missing_rubbish (Fixture *fixture, gconstpointer data)
{
  static const char *const rubbish[] = {
      "mkdir -p missing/$N", "mkdir missing && ln -s /etc/passwd missing/$N",
      "mkdir missing && mkfifo missing/$N", "echo >missing", "ln -s /etc missing"};
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  for (size_t i = 0; i < G_N_ELEMENTS (rubbish); i++) {
    const uint32_t uid = deliver (inbox, "a message", 0, NULL);
    g_autofree char *command = g_strdup_printf ("N=%u; %s", inbox->number, rubbish[i]);
    g_autofree char *name = name_of (inbox, uid), *names = g_strconcat (name, "\n", NULL);
    g_autofree char *file = g_strdup_printf (DIRECTORY "/%010u.eml", uid);
    run_in (fixture, command, "");
    assert_names (fixture->store, STORE_LOST_ORPHANS, inbox->number, "");
    run_in (fixture, "rm ", file);
    store_job_free (run_job (fixture->store, "check"));
    store_job_free (run_job (fixture->store, "repair"));
    assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, names);
    run_in (fixture, "rm -r missing", "*");
  }
}

/* What only a broken index tells of: damaged in place, set aside, kept as evidence. */
static void
test_index (Fixture *fixture, gconstpointer data)
{
#define INDEX "index/example.com/user/joe.sqlite3"
  static const char *const ways[] = {
      "printf rubbish | dd of=" INDEX " conv=notrunc status=none",
      "mv " INDEX " " INDEX ".broken-0",
      "mv " INDEX " " INDEX ".damaged-20260101T000000.000000",
      "rm " INDEX "; touch " INDEX ".broken-1",
  };
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  for (int i = 0; i < 5; i++)
    deliver (inbox, i == 1 ? "lost one" : "a message", i == 1 ? STORE_FLAG_FLAGGED : 0, NULL);
  const uint32_t expunged = 5;
  assert_ok (store_mailbox_expunge (inbox, &expunged, 1, &error), error);
  run_in (fixture, "rm " DIRECTORY "/0000000002.eml && mkdir kept && cp -a index kept", "");
  g_autofree char *second = name_of (inbox, 2), *names = g_strconcat (second, "\n", NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (ways); i++) {
    bool gone = i == 3;
    g_clear_pointer (&fixture->store, store_close);
    run_in (fixture, "rm -rf index missing && cp -a kept/index . && ", ways[i]);
    for (int writable = 0; writable < 3; writable++) {
      if (writable == 2) {
        g_clear_pointer (&fixture->store, store_close);
        fixture->store = store_open_evidence (fixture->path, NULL, &error);
        g_assert_no_error (error);
      } else {
        reopen (fixture, writable ? 0 : STORE_READ_ONLY);
      }
      assert_names (fixture->store, STORE_LOST_INDEX, STORE_ROOT, gone ? "" : names);
      assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, "");
      if (gone)
        continue;
      assert_json_has (fixture->store, STORE_LOST_INDEX, second, "\"subject\":\"lost one\"");
      assert_json_has (fixture->store, STORE_LOST_INDEX, second,
                       "\"flags_source\":\"salvaged row\"");
    }
    reopen (fixture, 0);
    store_job_free (run_job (fixture->store, "repair"));
    /* What is kept as evidence has been told, or is told still. */
    assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, i < 2 ? names : "");
    assert_names (fixture->store, STORE_LOST_INDEX, STORE_ROOT, i == 2 ? names : "");
  }
}

/* A mailbox whose directory was removed by hand has all of its messages missing. */
static void
test_missing_mailbox (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  g_autoptr (StoreMailbox) old = open_named (fixture->store, "joe@example.com/Old");
  deliver (inbox, "stays", 0, NULL);
  deliver (old, "lost one", 0, NULL);
  deliver (old, "lost two", STORE_FLAG_SEEN, NULL);
  g_autofree char *first = name_of (old, 1), *second = name_of (old, 2);
  g_autofree char *both = g_strjoin ("\n", first, second, "", NULL);
  reopen (fixture, STORE_READ_ONLY);
  run_in (fixture, "rm -r mail/example.com/user/joe/Old", "");
  reopen (fixture, 0);
  for (int i = 0; i < 2; i++) {
    assert_names (fixture->store, STORE_LOST_MISSING, STORE_ROOT, both);
    assert_json_has (fixture->store, STORE_LOST_MISSING, second, "\"subject\":\"lost two\"");
    store_job_free (run_job (fixture->store, "repair"));
  }
  assert_json_has (fixture->store, STORE_LOST_MISSING, second, "\"flags_source\":\"record\"");
  assert_clean (fixture->store);
}

static void
assert_sources (Store *store, uint32_t number, uint32_t uid, const char *expected)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, number, &error);
  g_assert_no_error (error);
  g_autofree char *sources = store_message_sources (mailbox, uid, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (sources, ==, expected);
}

/* As long as index and files do not agree each fact tells where it is from. */
static void
test_sources (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
  for (int i = 0; i < 3; i++)
    deliver (inbox, "a message", STORE_FLAG_SEEN, NULL);
  assert_sources (fixture->store, inbox->number, 1, NULL);
  run_in (fixture, "cd " DIRECTORY " && touch x && cp 0000000001.eml 0000000007.eml && ",
          "setfattr -x user.mailfs.state 0000000002.eml");
  reopen (fixture, STORE_READ_ONLY);
  assert_sources (fixture->store, inbox->number, 1, "flags=row date=row digest=row");
  assert_sources (fixture->store, inbox->number, 7, "flags=guessed date=file digest=none");
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "printf rubbish | dd conv=notrunc status=none of=", INDEX);
  reopen (fixture, STORE_READ_ONLY);
  assert_sources (fixture->store, inbox->number, 1, "flags=file date=file digest=file");
  g_clear_pointer (&fixture->store, store_close);
  fixture->store = store_open_evidence (fixture->path, NULL, &error);
  g_assert_no_error (error);
  assert_sources (fixture->store, inbox->number, 2,
                  "flags=salvaged-row date=salvaged-row digest=salvaged-row");
}

/* Nothing leaves a store that is open read only. */
static void
test_read_only (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  {
    g_autoptr (StoreMailbox) inbox = open_named (fixture->store, JOE);
    deliver (inbox, "one", 0, NULL);
  }
  run_in (fixture, "echo top >mail/top", "");
  reopen (fixture, STORE_READ_ONLY);
  g_auto (StoreLost) lost = {0};
  uint32_t uid;
  find (fixture->store, STORE_LOST_ORPHANS, "00000000-top", &lost);
  assert_fails (store_lost_remove (fixture->store, &lost, &error), error, EROFS);
  assert_fails (store_lost_restore (fixture->store, &lost, 4, &uid, &error), error, EROFS);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
#define ADD(name, function) g_test_add ("/lost/" name, Fixture, NULL, set_up, function, tear_down)
  ADD ("expunged", test_expunged);
  ADD ("snapshot", test_snapshot);
  ADD ("orphans", test_orphans);
  ADD ("orphans-kept", test_orphans_kept);
  ADD ("made-up", test_made_up);
  ADD ("orphan-ways", test_orphan_ways);
  ADD ("damaged", test_damaged);
  ADD ("quarantine", test_quarantine);
  ADD ("quarantine-many", test_quarantine_many);
  ADD ("quarantine-names", test_quarantine_names);
  ADD ("missing", test_missing);
  ADD ("back-and-gone", test_back_and_gone);
  ADD ("missing-lines", test_missing_lines);
  ADD ("missing-rubbish", test_missing_rubbish);
  ADD ("index", test_index);
  ADD ("missing-mailbox", test_missing_mailbox);
  ADD ("sources", test_sources);
  ADD ("read-only", test_read_only);
  return g_test_run ();
}
