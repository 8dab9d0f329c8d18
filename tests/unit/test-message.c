/* SPDX-License-Identifier: Apache-2.0 */
/* New mail and flags: order, UIDs, attributes, many at once. */
#include "tests/unit/test-store.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static StoreDraft *
make_draft (StoreMailbox *mailbox, const char *text, const StoreFacts *facts)
{
  g_autoptr (GError) error = NULL;
  StoreDraft *draft = store_draft_new (mailbox->store, facts, &error);
  g_assert_no_error (error);
  assert_ok (store_draft_write (draft, text, strlen (text), &error), error);
  assert_ok (store_draft_finish (draft, mailbox, &error), error);
  return draft;
}

static guint
count_in_tmp (const Fixture *fixture)
{
  g_autofree char *command = g_strdup_printf ("find '%s/tmp' -type f | wc -l", fixture->path);
  g_autofree char *output = NULL;
  char *arguments[] = {(char *)"/bin/sh", (char *)"-c", command, NULL};
  g_assert_true (g_spawn_sync (NULL, arguments, NULL, 0, NULL, NULL, &output, NULL, NULL, NULL));
  return (guint)g_ascii_strtoull (output, NULL, 10);
}

/* The part of the digest that stands on the file. */
static uint64_t
digest_of (StoreMailbox *mailbox, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreSummary) summary = {0};
  assert_ok (store_message_summary (mailbox, uid, &summary, &error), error);
  return digest_prefix (summary.sha256);
}

static void
test_deliver (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_assert_cmpuint (deliver (inbox, "one", STORE_FLAG_SEEN, "Work $A"), ==, 1);
  g_assert_cmpuint (deliver (inbox, "two", 0, NULL), ==, 2);
  g_auto (StoreMessage) message = {0};
  bool found;
  assert_ok (store_message_find (inbox, 1, &message, &found, &error), error);
  g_assert_true (found);
  g_assert_cmpint (message.internal_s, ==, 1600000000);
  g_assert_cmpstr (message.keywords, ==, "$A Work");
  auto_fd fd = store_message_open (inbox, 1, &error);
  struct stat st;
  g_assert_cmpint (fstat (fd, &st), ==, 0);
  g_assert_cmpint (st.st_mtim.tv_sec, ==, 1600000000);
  g_assert_cmpint (stat_ctime_ns (&st), ==, message.changed_ns);
  g_assert_cmpuint (st.st_mode & 07777, ==, 0640);
  g_assert_cmpuint ((uint64_t)st.st_size, ==, message.size);
  char state[128] = "";
  g_assert_cmpint (fgetxattr (fd, "user.mailfs.state", state, sizeof state), >, 0);
  g_autofree char *expected =
      g_strdup_printf ("1 1 1 0 %016" PRIx64 " \\Seen $A Work", digest_of (inbox, 1));
  g_assert_cmpstr (state, ==, expected);
  uint8_t buffer[1000];
  size_t size;
  bool known;
  assert_ok (store_message_verify (inbox, 1, fd, buffer, sizeof buffer, &size, &known, &error),
             error);
  g_assert_true (known);
  g_assert_cmpuint (size, ==, message.size);
  g_assert_cmpuint (count_in_tmp (fixture), ==, 0);
  assert_clean (fixture->store);
}

static void
test_batch_and_wanted_uids (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  assert_ok (store_mailbox_set_uidvalidity (inbox, 12345, 10, &error), error);
  static const uint32_t wanted[] = {0, 5, 20, 20, 0};
  static const uint32_t given[] = {10, 11, 20, 21, 22};
  StoreDraft *drafts[5];
  for (size_t i = 0; i < 5; i++) {
    StoreFacts facts = {.internal_s = 1500000000, .uid = wanted[i]};
    drafts[i] = make_draft (inbox, "Subject: x\n\nbody\n", &facts);
  }
  assert_ok (store_mailbox_append (inbox, drafts, 5, STORE_APPEND_BULK, &error), error);
  for (size_t i = 0; i < 5; i++) {
    g_assert_cmpuint (store_draft_uid (drafts[i]), ==, given[i]);
    store_draft_free (drafts[i]);
  }
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpuint (info.uidvalidity, ==, 12345);
  g_assert_cmpuint (info.uidnext, ==, 23);
  g_assert_cmpuint (info.messages, ==, 5);
  g_assert_cmpint (info.health, ==, STORE_HEALTH_OK);
  assert_fails (store_mailbox_set_uidvalidity (inbox, 1, 1, &error), error, EBUSY);
  assert_clean (fixture->store);
}

static void
test_unfinished_drafts_vanish (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  StoreFacts facts = {.internal_s = INT64_MIN};
  StoreDraft *draft = make_draft (inbox, "Subject: x\n\n", &facts);
  g_assert_cmpuint (count_in_tmp (fixture), ==, 1);
  store_draft_free (draft);
  g_assert_cmpuint (count_in_tmp (fixture), ==, 0);
  /* What a dead process left is swept away by the next writer. */
  run_in (fixture, "mkdir tmp/1.dead && touch tmp/1.dead/0 && mkdir tmp/1.dead/1", "");
  reopen (fixture, 0);
  g_clear_pointer (&inbox, store_mailbox_unref);
  inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  run_in (fixture, "test ! -e tmp/1.dead", "");
}

static void
test_take_files (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  run_in (
      fixture,
      "mkdir .in && printf 'Subject: taken\\n\\nhello\\n' > .in/m && setfattr -n user.foreign -v yes .in/m "
      "&& cp --preserve=all .in/m .in/copied && setfattr -n user.mailfs.state -v '1 9 9 0 - Evil' .in/copied "
      "&& ln -s m .in/link && mkfifo .in/fifo",
      "");
  auto_fd in = open (fixture->path, O_RDONLY | O_DIRECTORY);
  StoreFacts facts = {.internal_s = 1234567890, .keywords = "Mine"};
  static const StoreTransfer transfers[] = {STORE_COPY, STORE_LINK};
  static const char *const names[] = {".in/copied", ".in/m"};
  for (size_t i = 0; i < G_N_ELEMENTS (transfers); i++) {
    g_autoptr (StoreDraft) draft = store_draft_new (fixture->store, &facts, &error);
    assert_ok (store_draft_take (draft, in, names[i], transfers[i], &error), error);
    assert_ok (store_draft_finish (draft, inbox, &error), error);
    assert_ok (store_mailbox_append (inbox, &draft, 1, 0, &error), error);
    auto_fd fd = store_message_open (inbox, store_draft_uid (draft), &error);
    char value[64] = "", state[64] = "";
    g_assert_cmpint (fgetxattr (fd, "user.foreign", value, sizeof value), ==, 3);
    g_assert_cmpint (fgetxattr (fd, "user.mailfs.state", state, sizeof state), >, 0);
    g_assert_true (g_str_has_suffix (state, " Mine"));
    struct stat st;
    g_assert_cmpint (fstat (fd, &st), ==, 0);
    g_assert_cmpuint (st.st_nlink, ==, transfers[i] == STORE_LINK ? 2 : 1);
    g_assert_cmpint (st.st_mtim.tv_sec, ==, 1234567890);
  }
  /* Two messages must not be one file. */
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (StoreDraft) twin = store_draft_new (fixture->store, &facts, &error);
    assert_fails (store_draft_take (twin, in, names[i], STORE_LINK, &error), error, EMLINK);
  }
  static const char *const refused[] = {".in/link", ".in/fifo", ".in", ".in/none"};
  for (size_t i = 0; i < G_N_ELEMENTS (refused); i++) {
    g_autoptr (StoreDraft) draft = store_draft_new (fixture->store, &facts, &error);
    g_assert_false (store_draft_take (draft, in, refused[i], STORE_COPY, &error));
    g_assert_nonnull (strstr (error->message, refused[i]));
    g_clear_error (&error);
  }
  assert_clean (fixture->store);
}

#define WRITERS 4
#define EACH    25

static gpointer
deliver_each (gpointer data)
{
  for (int i = 0; i < EACH; i++)
    deliver (data, "many", 0, NULL);
  return NULL;
}

static void
assert_all_there (Fixture *fixture, StoreMailbox *inbox, uint32_t count)
{
  StoreMailboxInfo info;
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpuint (info.messages, ==, count);
  g_assert_cmpuint (info.uidnext, ==, count + 1);
  /* Those that share a commit share a modseq. */
  g_assert_cmpuint (info.highestmodseq, <=, count);
  assert_clean (fixture->store);
}

static void
test_threads (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  GThread *threads[WRITERS];
  for (int i = 0; i < WRITERS; i++)
    threads[i] = g_thread_new ("deliver", deliver_each, inbox);
  for (int i = 0; i < WRITERS; i++)
    g_thread_join (threads[i]);
  assert_all_there (fixture, inbox, WRITERS * EACH);
}

/* This program run as one of the processes below: a mere fork could not have threads again. */
static int
be_a_process (char *path)
{
  Fixture fixture = {.path = path};
  reopen (&fixture, 0);
  StoreMailbox *inbox = open_named (fixture.store, "joe@example.com");
  deliver_each (inbox);
  store_mailbox_unref (inbox);
  store_close (fixture.store);
  return 0;
}

static void
test_processes (Fixture *fixture, gconstpointer data)
{
  g_clear_pointer (&fixture->store, store_close);
  for (int i = 0; i < WRITERS; i++) {
    if (fork () == 0) {
      execl ("/proc/self/exe", "test-message", "--process", fixture->path, NULL);
      _exit (1);
    }
  }
  for (int i = 0, status; i < WRITERS; i++) {
    g_assert_cmpint (wait (&status), >, 0);
    g_assert_cmpint (status, ==, 0);
  }
  reopen (fixture, 0);
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  assert_all_there (fixture, inbox, WRITERS * EACH);
}

static void
test_flags (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  for (int i = 0; i < 40; i++)
    deliver (inbox, "x", 0, NULL);
  uint32_t uids[40];
  for (uint32_t i = 0; i < 40; i++)
    uids[i] = i + 1;
  assert_ok (store_message_flag (inbox, uids, 40, STORE_FLAGS_ADD, STORE_FLAG_SEEN, "K", &error),
             error);
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpuint (info.unseen, ==, 0);
  uint64_t modseq = info.highestmodseq;
  assert_ok (store_message_flag (inbox, uids, 40, STORE_FLAGS_ADD, STORE_FLAG_SEEN, NULL, &error),
             error);
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpuint (info.highestmodseq, ==, modseq);
  uids[39] = 99;
  g_autofree char *before = dump (inbox);
  assert_fails (store_message_flag (inbox, uids, 40, STORE_FLAGS_SET, 0, NULL, &error), error,
                ENOENT);
  g_autofree char *after = dump (inbox);
  g_assert_cmpstr (before, ==, after);
  assert_clean (fixture->store);
}

/* The file's state is what counts: neither an index from a backup nor a crash between file and row
 * makes a newer state go away, and no modseq is given twice. */
static void
test_flags_on_stale_rows (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  deliver (inbox, "two", 0, NULL);
  run_in (fixture, "cp -a index/example.com/user/joe.sqlite3 ", "old");
  uint32_t uid = 1, other = 2;
  assert_ok (
      store_message_flag (inbox, &uid, 1, STORE_FLAGS_ADD, STORE_FLAG_FLAGGED, "Keep", &error),
      error);
  run_in (fixture, "mv old ", "index/example.com/user/joe.sqlite3");
  assert_ok (store_message_flag (inbox, &other, 1, STORE_FLAGS_ADD, STORE_FLAG_SEEN, NULL, &error),
             error);
  assert_ok (store_message_flag (inbox, &uid, 1, STORE_FLAGS_ADD, STORE_FLAG_SEEN, NULL, &error),
             error);
  g_auto (StoreMessage) first = {0}, second = {0};
  bool found;
  assert_ok (store_message_find (inbox, 1, &first, &found, &error), error);
  assert_ok (store_message_find (inbox, 2, &second, &found, &error), error);
  g_assert_cmpuint (first.flags, ==, STORE_FLAG_FLAGGED | STORE_FLAG_SEEN);
  g_assert_cmpstr (first.keywords, ==, "Keep");
  g_assert_cmpuint (second.modseq, ==, 4);
  g_assert_cmpuint (first.modseq, ==, 5);
  assert_clean (fixture->store);
}

/* Mail arrives whatever is wrong with the index. */
static void
test_deliver_beside_broken_index (Fixture *fixture, gconstpointer data)
{
  static const char *const damages[] = {
      "head -c 8192 /dev/urandom | dd of=joe.sqlite3 bs=8192 seek=1 conv=notrunc 2>/dev/null",
      "rm -f joe.sqlite3* && mkdir joe.sqlite3", "head -c 20000 /dev/urandom > joe.sqlite3"};
  for (uint32_t i = 0; i < G_N_ELEMENTS (damages); i++) {
    g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
    deliver (inbox, "before", 0, NULL);
    run_in (fixture, "cd index/example.com/user && ", damages[i]);
    g_assert_cmpuint (deliver (inbox, "beside", 0, NULL), ==, 2 * i + 2);
    StoreMessage message;
    bool found;
    g_autoptr (GError) error = NULL;
    assert_ok (store_message_find (inbox, 2 * i + 2, &message, &found, &error), error);
    g_assert_true (found);
    store_message_clear (&message);
    run_in (fixture, "rm -rf index/example.com/user/", "joe.sqlite3*");
    g_autoptr (StoreJob) job = run_job (fixture->store, "reconstruct");
    assert_clean (fixture->store);
  }
}

static void
test_raise_uidnext (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  assert_ok (store_mailbox_set_uidvalidity (inbox, 77, 5, &error), error);
  assert_clean (fixture->store);
  g_assert_cmpuint (deliver (inbox, "one", 0, NULL), ==, 5);
  assert_ok (store_mailbox_set_uidvalidity (inbox, 77, 100, &error), error);
  assert_ok (store_mailbox_set_uidvalidity (inbox, 77, 50, &error), error);
  assert_fails (store_mailbox_set_uidvalidity (inbox, 78, 200, &error), error, EBUSY);
  assert_clean (fixture->store);
  g_assert_cmpuint (deliver (inbox, "two", 0, NULL), ==, 100);
}

int
main (int argc, char **argv)
{
  if (argc == 3 && strcmp (argv[1], "--process") == 0)
    return be_a_process (argv[2]);
  g_test_init (&argc, &argv, NULL);
  add_test ("/message/deliver", test_deliver);
  add_test ("/message/batch-and-wanted-uids", test_batch_and_wanted_uids);
  add_test ("/message/unfinished-drafts-vanish", test_unfinished_drafts_vanish);
  add_test ("/message/take-files", test_take_files);
  add_test ("/message/threads", test_threads);
  add_test ("/message/processes", test_processes);
  add_test ("/message/flags", test_flags);
  add_test ("/message/flags-on-stale-rows", test_flags_on_stale_rows);
  add_test ("/message/deliver-beside-broken-index", test_deliver_beside_broken_index);
  add_test ("/message/raise-uidnext", test_raise_uidnext);
  return g_test_run ();
}
