/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that others put into the store or took away, as when a user is restored. */
#include "tests/unit/test-store.h"

static uint32_t
number_of (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  if (!store_node_resolve (store, spelling, &node, &error))
    g_assert_error (error, MAILFS_ERROR, ENOENT);
  return node.number;
}

/* Joe with two mailboxes and flags, Ann beside him. */
static void
fill (Fixture *fixture)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) work = open_named (fixture->store, "joe@example.com/Work/2024");
  g_autoptr (StoreMailbox) ann = open_named (fixture->store, "ann@example.com");
  deliver (inbox, "one", STORE_FLAG_SEEN, NULL);
  deliver (inbox, "two", STORE_FLAG_FLAGGED, "$Label1 Later");
  deliver (work, "three", 0, NULL);
  deliver (ann, "four", 0, NULL);
}

/* What a user would see of Joe, without the times of the files that a copy cannot keep. */
static char *
dump_joe (Store *store)
{
  static const char *const names[] = {"joe@example.com/INBOX", "joe@example.com/Work",
                                      "joe@example.com/Work/2024"};
  GString *text = g_string_new (NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (StoreMailbox) mailbox =
        store_mailbox_open (store, number_of (store, names[i]), &error);
    g_assert_no_error (error);
    StoreMailboxInfo info;
    assert_ok (store_mailbox_info (mailbox, &info, &error), error);
    g_string_append_printf (text, "%s %u %u %u\n", names[i], mailbox->number, info.uidvalidity,
                            info.uidnext);
    StoreMessage page[8];
    size_t count;
    assert_ok (store_mailbox_page (mailbox, 0, page, G_N_ELEMENTS (page), &count, &error), error);
    for (size_t k = 0; k < count; k++) {
      g_autofree char *flags = store_flags_to_string (page[k].flags, page[k].keywords);
      g_string_append_printf (text, "%u %" G_GINT64_FORMAT " %s\n", page[k].uid, page[k].internal_s,
                              flags);
    }
    store_messages_clear (page, count);
  }
  return g_string_free (text, FALSE);
}

static bool
is_due (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Handle) list = cache_list (store, &error);
  bool due;
  assert_ok (integrate_is_due (store, list->list, &due, &error), error);
  return due;
}

/* What we make ourselves never looks like somebody else's. */
static void
test_own (Fixture *fixture, gconstpointer data)
{
  g_assert_false (is_due (fixture->store));
  fill (fixture);
  g_assert_false (is_due (fixture->store));
  g_autoptr (StoreMailbox) news = open_named (fixture->store, "Public Folders/News@example.org");
  g_assert_false (is_due (fixture->store));
  reopen (fixture, 0);
  g_assert_false (is_due (fixture->store));
  run_in (fixture, "touch mail/example.com/user", "");
  g_assert_true (is_due (fixture->store));
  reopen (fixture, 0);
  g_assert_false (is_due (fixture->store));
  assert_clean (fixture->store);
}

static void
test_restored (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autofree char *before = dump_joe (fixture->store);
  run_in (fixture,
          "rsync -aX mail/example.com/user/joe .backup/ && rm -r mail/example.com/user/joe", "");
  reopen (fixture, 0);
  g_assert_cmpuint (number_of (fixture->store, "joe@example.com"), ==, 0);
  g_assert_cmpuint (number_of (fixture->store, "ann@example.com"), !=, 0);

  run_in (fixture, "rsync -aX .backup/joe mail/example.com/user/", "");
  reopen (fixture, 0);
  g_autofree char *after = dump_joe (fixture->store);
  g_assert_cmpstr (after, ==, before);
  g_assert_false (is_due (fixture->store));
  g_autoptr (StoreJob) job = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
}

/* The whole domain, and without closing the store. */
static void
test_running (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autofree char *before = dump_joe (fixture->store);
  run_in (fixture, "mv mail/example.com away", "");
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) none = {0};
  bool found;
  assert_ok (store_node_find (fixture->store, STORE_ROOT, "nobody.org", &none, &found, &error),
             error);
  g_assert_false (found);
  g_assert_cmpuint (number_of (fixture->store, "joe@example.com"), ==, 0);
  run_in (fixture, "mv away mail/example.com", "");
  g_autofree char *after = dump_joe (fixture->store);
  g_assert_cmpstr (after, ==, before);
  assert_clean (fixture->store);
}

/* Nobody looks into a user's directory when the store is opened; but who asks for a name does. */
static void
test_mailbox (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  run_in (fixture, "mkdir -p mail/example.com/user/joe/New/Below", "");
  reopen (fixture, 0);
  g_auto (StoreNode) last = {0};
  uint32_t below = number_of (fixture->store, "joe@example.com/New/Below");
  g_assert_cmpuint (below, !=, 0);
  g_autoptr (GError) error = NULL;
  assert_ok (store_node_get (fixture->store, below, &last, &error), error);
  g_assert_cmpuint (last.owner, ==, number_of (fixture->store, "joe@example.com"));
  run_in (fixture, "rm -r mail/example.com/user/joe/New", "");
  g_assert_cmpuint (number_of (fixture->store, "joe@example.com/New/Other"), ==, 0);
}

/* A copy of Joe says that it has his numbers. */
static void
test_clash (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autofree char *before = dump_joe (fixture->store);
  run_in (fixture, "cd mail/example.com/user && cp -a joe bob", "");
  g_autofree char *untouched = dump_joe (fixture->store);
  uint32_t bob = number_of (fixture->store, "bob@example.com/Work/2024");
  g_assert_cmpuint (bob, !=, 0);
  g_assert_cmpuint (bob, !=, number_of (fixture->store, "joe@example.com/Work/2024"));
  g_autofree char *after = dump_joe (fixture->store);
  g_assert_cmpstr (untouched, ==, before);
  g_assert_cmpstr (after, ==, before);
  reopen (fixture, 0);
  g_assert_cmpuint (number_of (fixture->store, "bob@example.com/Work/2024"), ==, bob);
  g_autoptr (StoreJob) job = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
}

/* Two users who changed places keep what is theirs. */
static void
test_swap (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  uint32_t joe = number_of (fixture->store, "joe@example.com/Work");
  uint32_t ann = number_of (fixture->store, "ann@example.com/INBOX");
  run_in (fixture, "cd mail/example.com/user && mv joe x && mv ann joe && mv x ann", "");
  reopen (fixture, 0);
  g_assert_cmpuint (number_of (fixture->store, "ann@example.com/Work"), ==, joe);
  g_assert_cmpuint (number_of (fixture->store, "joe@example.com/INBOX"), ==, ann);
  g_assert_cmpuint (number_of (fixture->store, "joe@example.com/Work"), ==, 0);
}

/* From a .backup without extended attributes: new numbers and UIDVALIDITYs, the same UIDs. */
static void
test_bare (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  run_in (fixture, "rsync -a mail/example.com/user/joe/ mail/example.com/user/bob/", "");
  reopen (fixture, 0);
  g_autoptr (GError) error = NULL;
  uint32_t number = number_of (fixture->store, "bob@example.com/INBOX");
  g_autoptr (StoreMailbox) inbox = store_mailbox_open (fixture->store, number, &error);
  g_assert_no_error (error);
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpuint (info.messages, ==, 2);
  g_assert_cmpuint (info.uidnext, ==, 3);
  g_assert_cmpuint (info.uidvalidity, >, 0);
  g_assert_cmpuint (deliver (inbox, "three", 0, NULL), ==, 3);
}

/* Who may not write shows what is there all the same, and leaves the list as it is. */
static void
test_read_only (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autofree char *before = dump_joe (fixture->store);
  run_in (fixture, "mv mail/example.com/user/joe away", "");
  reopen (fixture, 0);
  g_assert_cmpuint (number_of (fixture->store, "joe@example.com"), ==, 0);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "mv away mail/example.com/user/joe && sha256sum mailboxes.sqlite3 >sum", "");
  reopen (fixture, STORE_READ_ONLY);
  g_autofree char *after = dump_joe (fixture->store);
  g_assert_cmpstr (after, ==, before);
  run_in (fixture, "sha256sum --quiet -c sum", "");
  reopen (fixture, 0);
  g_autofree char *taken = dump_joe (fixture->store);
  g_assert_cmpstr (taken, ==, before);

  reopen (fixture, STORE_READ_ONLY);
  run_in (fixture, "sha256sum mailboxes.sqlite3 >sum && mkdir mail/example.com/user/joe/New", "");
  g_assert_cmpuint (number_of (fixture->store, "joe@example.com/New"), !=, 0);
  run_in (fixture, "sha256sum --quiet -c sum", "");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/integrate/own", test_own);
  add_test ("/integrate/restored", test_restored);
  add_test ("/integrate/running", test_running);
  add_test ("/integrate/mailbox", test_mailbox);
  add_test ("/integrate/clash", test_clash);
  add_test ("/integrate/swap", test_swap);
  add_test ("/integrate/bare", test_bare);
  add_test ("/integrate/read-only", test_read_only);
  return g_test_run ();
}
