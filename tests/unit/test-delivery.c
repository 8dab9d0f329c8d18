/* SPDX-License-Identifier: Apache-2.0 */
/* Appends that share a commit: each has its own result, and a stream that breaks off loses nothing.
 */
#include "tests/unit/test-store.h"

#include <sys/wait.h>

static StoreDraft *
make_draft (StoreMailbox *mailbox, uint32_t wanted_uid)
{
  g_autoptr (GError) error = NULL;
  StoreFacts facts = {
      .flags = STORE_FLAG_FLAGGED, .keywords = "Work", .internal_s = 1600000000, .uid = wanted_uid};
  StoreDraft *draft = store_draft_new (mailbox->store, &facts, &error);
  g_assert_no_error (error);
  assert_ok (store_draft_write (draft, "Subject: x\n\nbody\n", 17, &error), error);
  assert_ok (store_draft_finish (draft, mailbox, &error), error);
  return draft;
}

/* Leaves the row to the stream, as deliver() does not. */
static void
append_one (StoreMailbox *mailbox)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreDraft) draft = make_draft (mailbox, 0);
  assert_ok (store_mailbox_append (mailbox, &draft, 1, 0, &error), error);
}

static void
assert_messages (StoreMailbox *mailbox, uint32_t count, uint32_t uidnext)
{
  g_autoptr (GError) error = NULL;
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (mailbox, &info, &error), error);
  g_assert_cmpuint (info.messages, ==, count);
  g_assert_cmpuint (info.uidnext, ==, uidnext);
  g_assert_cmpint (info.health, ==, STORE_HEALTH_OK);
}

/* ---- one batch ----------------------------------------------------------------------------- */

static void
append_all (Append *appends, size_t count)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) batch = g_ptr_array_new ();
  for (size_t i = 0; i < count; i++)
    g_ptr_array_add (batch, &appends[i]);
  StoreMailbox *mailbox = appends[0].mailbox;
  auto_fd lock = lock_user (mailbox->store, mailbox->owner, &error);
  g_assert_no_error (error);
  UserWrite user = {.lock = lock};
  user.write = mailbox_write_begin (mailbox, &user.handle, &error);
  append_batch (batch, &user);
  assert_ok (index_write_commit (user.write, &error), error);
  index_write_free (user.write);
  handle_unref (user.handle);
}

/* UIDs are given in the order of the batch, and what fails takes none and fails alone. */
static void
test_failure_of_one (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "joe@example.com/Other");
  StoreMailbox *into[] = {inbox, other, inbox, inbox, other, inbox};
  StoreDraft *drafts[G_N_ELEMENTS (into)];
  Append appends[G_N_ELEMENTS (into)];
  for (size_t i = 0; i < G_N_ELEMENTS (into); i++) {
    drafts[i] = make_draft (into[i], i == 2 ? STORE_UID_MAX + 1 : 0);
    appends[i] = (Append){.mailbox = into[i], .drafts = &drafts[i], .count = 1};
  }
  g_assert_cmpint (unlinkat (fixture->store->tmp_fd, drafts[4]->name, 0), ==, 0);
  append_all (appends, G_N_ELEMENTS (into));
  static const int codes[] = {0, 0, EOVERFLOW, 0, ENOENT, 0};
  static const uint32_t uids[] = {1, 1, 0, 2, 0, 3};
  for (size_t i = 0; i < G_N_ELEMENTS (into); i++) {
    if (codes[i] != 0)
      g_assert_error (appends[i].failure, MAILFS_ERROR, codes[i]);
    else
      g_assert_no_error (appends[i].failure);
    g_clear_error (&appends[i].failure);
    g_assert_cmpuint (appends[i].placed, ==, codes[i] == 0);
    if (codes[i] == 0)
      g_assert_cmpuint (store_draft_uid (drafts[i]), ==, uids[i]);
    store_draft_free (drafts[i]);
  }
  assert_messages (inbox, 3, 4);
  assert_messages (other, 1, 3); /* a UID that was given out is not given again */
  assert_clean (fixture->store);
}

/* A mailbox that cannot take mail at all keeps none from the user's others, nor their rows. */
static void
test_failure_of_a_mailbox (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) user = store_mailbox_open (fixture->store, inbox->owner, &error);
  StoreMailbox *into[] = {inbox, user, inbox};
  StoreDraft *drafts[3];
  Append appends[3];
  for (size_t i = 0; i < 3; i++) {
    drafts[i] = make_draft (inbox, 0);
    appends[i] = (Append){.mailbox = into[i], .drafts = &drafts[i], .count = 1};
  }
  append_all (appends, 3);
  g_assert_no_error (appends[0].failure);
  g_assert_error (appends[1].failure, MAILFS_ERROR, EINVAL);
  g_clear_error (&appends[1].failure);
  g_assert_no_error (appends[2].failure);
  for (size_t i = 0; i < 3; i++)
    store_draft_free (drafts[i]);
  assert_messages (inbox, 2, 3);
  assert_clean (fixture->store);
}

/* ---- threads ------------------------------------------------------------------------------- */

#define THREADS 8
#define EACH    20

/* Every fourth draft fails; between them each thread looks and writes. */
static void *
deliver_some (void *data)
{
  StoreMailbox *mailbox = data;
  for (uint32_t i = 1; i <= EACH; i++) {
    g_autoptr (GError) error = NULL;
    bool fails = i % 4 == 0;
    g_autoptr (StoreDraft) draft = make_draft (mailbox, fails ? STORE_UID_MAX + 1 : 0);
    if (fails) {
      assert_fails (store_mailbox_append (mailbox, &draft, 1, 0, &error), error, EOVERFLOW);
      g_assert_cmpuint (store_draft_uid (draft), ==, 0);
      continue;
    }
    assert_ok (store_mailbox_append (mailbox, &draft, 1, 0, &error), error);
    uint32_t uid = store_draft_uid (draft);
    StoreMessage message = {0};
    bool found;
    if (i % 4 == 1)
      assert_ok (
          store_message_flag (mailbox, &uid, 1, STORE_FLAGS_ADD, STORE_FLAG_SEEN, "K", &error),
          error);
    assert_ok (store_message_find (mailbox, uid, &message, &found, &error), error);
    g_assert_true (found);
    g_assert_cmpuint (message.flags, ==, STORE_FLAG_FLAGGED | (i % 4 == 1 ? STORE_FLAG_SEEN : 0));
    store_message_clear (&message);
  }
  return NULL;
}

static void
test_threads (Fixture *fixture, gconstpointer data)
{
  static const char *const names[] = {"joe@example.com", "joe@example.com/Other",
                                      "anna@example.com"};
  g_autoptr (GPtrArray) mailboxes =
      g_ptr_array_new_with_free_func ((GDestroyNotify)store_mailbox_unref);
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++)
    g_ptr_array_add (mailboxes, open_named (fixture->store, names[i]));
  GThread *threads[3 * THREADS];
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new ("deliver", deliver_some, mailboxes->pdata[i % 3]);
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  for (size_t i = 0; i < mailboxes->len; i++)
    assert_messages (mailboxes->pdata[i], THREADS * EACH * 3 / 4, THREADS * EACH * 3 / 4 + 1);
  assert_clean (fixture->store);
}

/* ---- streams ------------------------------------------------------------------------------- */

/* The rows of a stream are there for whoever looks, and when the store is opened again. */
static void
test_rows_follow (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  for (uint32_t round = 0; round < 3; round++) {
    g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
    for (uint32_t i = 0; i < 5; i++)
      append_one (inbox);
    if (round == 1)
      assert_messages (inbox, 10, 11);
    uint32_t number = inbox->number, owner = inbox->owner;
    g_clear_pointer (&inbox, store_mailbox_unref);
    reopen (fixture, STORE_READ_ONLY);
    g_autoptr (Handle) handle = cache_index (fixture->store, owner, false, &error);
    g_assert_no_error (error);
    IndexMailbox row;
    bool found;
    assert_ok (index_mailbox_get (handle->index, number, &row, &found, &error), error);
    g_assert_true (found);
    g_assert_cmpuint (row.messages, ==, 5 * (round + 1));
    g_clear_pointer (&handle, handle_unref);
    reopen (fixture, 0);
  }
  assert_clean (fixture->store);
}

/* This program run as a process that dies in a stream. */
static int
break_off (char *path)
{
  Fixture fixture = {.path = path};
  reopen (&fixture, 0);
  StoreMailbox *inbox = open_named (fixture.store, "joe@example.com");
  for (int i = 0; i < 10; i++)
    append_one (inbox);
  _exit (0);
}

/* Such a process has delivered what it acknowledged, and leaves no lock. */
static void
test_stream_breaks_off (Fixture *fixture, gconstpointer data)
{
  for (uint32_t round = 1; round <= 3; round++) {
    g_clear_pointer (&fixture->store, store_close);
    pid_t child = fork ();
    if (child == 0) {
      execl ("/proc/self/exe", "test-delivery", "--break-off", fixture->path, NULL);
      _exit (1);
    }
    int status;
    g_assert_cmpint (waitpid (child, &status, 0), ==, child);
    g_assert_cmpint (status, ==, 0);
    reopen (fixture, 0);
    g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
    g_autoptr (GError) error = NULL;
    StoreMessage page[64];
    size_t count;
    assert_ok (
        store_mailbox_page (inbox, 11 * (round - 1), page, G_N_ELEMENTS (page), &count, &error),
        error);
    g_assert_cmpuint (count, ==, 10);
    for (size_t i = 0; i < count; i++) {
      g_assert_cmpuint (page[i].flags, ==, STORE_FLAG_FLAGGED);
      g_assert_cmpstr (page[i].keywords, ==, "Work");
    }
    store_messages_clear (page, count);
    g_assert_cmpuint (deliver (inbox, "next", 0, NULL), ==, 11 * round);
    assert_messages (inbox, 11 * round, 11 * round + 1);
    assert_clean (fixture->store);
  }
}

int
main (int argc, char **argv)
{
  if (argc == 3 && strcmp (argv[1], "--break-off") == 0)
    return break_off (argv[2]);
  g_test_init (&argc, &argv, NULL);
  add_test ("/delivery/failure-of-one", test_failure_of_one);
  add_test ("/delivery/failure-of-a-mailbox", test_failure_of_a_mailbox);
  add_test ("/delivery/threads", test_threads);
  add_test ("/delivery/rows-follow", test_rows_follow);
  add_test ("/delivery/stream-breaks-off", test_stream_breaks_off);
  return g_test_run ();
}
