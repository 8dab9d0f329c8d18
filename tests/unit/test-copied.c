/* SPDX-License-Identifier: Apache-2.0 */
/* What was copied out of a mount, and is put into mail/ again. */
#include "tests/unit/test-store.h"

#include <sys/stat.h>
#include <sys/xattr.h>

#define USERS "mail/example.com/user/"
#define INBOX USERS "joe/INBOX"

/* Sets user.mailfs.KEY on `path` in the fixture; NULL: to nothing. */
static void
tell (const Fixture *fixture, const char *path, const char *key, const char *value)
{
  g_autofree char *object = g_build_filename (fixture->path, path, NULL);
  g_autofree char *name = g_strconcat ("user.mailfs.", key, NULL);
  if (value == NULL)
    removexattr (object, name);
  else
    g_assert_cmpint (setxattr (object, name, value, strlen (value), 0), ==, 0);
}

static void
tell_number (const Fixture *fixture, const char *path, const char *key, uint32_t value)
{
  g_autofree char *text = g_strdup_printf ("%u", value);
  tell (fixture, path, key, text);
}

static bool
tells (const Fixture *fixture, const char *path, const char *key)
{
  g_autofree char *object = g_build_filename (fixture->path, path, NULL);
  g_autofree char *name = g_strconcat ("user.mailfs.", key, NULL);
  return getxattr (object, name, NULL, 0) >= 0;
}

static const char *const mailboxes[] = {"INBOX", "Work", "Work/2024"};

static StoreMailbox *
open_there (Store *store, const char *name)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  g_autofree char *spelling = g_strconcat ("joe@example.com/", name, NULL);
  assert_ok (store_node_resolve (store, spelling, &node, &error), error);
  StoreMailbox *mailbox = store_mailbox_open (store, node.number, &error);
  g_assert_no_error (error);
  return mailbox;
}

static void
fill (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) work = open_named (fixture->store, "joe@example.com/Work/2024");
  deliver (inbox, "one", STORE_FLAG_SEEN, NULL);
  deliver (inbox, "two", STORE_FLAG_FLAGGED, "$Label1 Later");
  deliver (inbox, "three", 0, NULL);
  deliver (work, "four", 0, NULL);
  assert_ok (store_mailbox_subscribe (fixture->store, work->number, true, &error), error);
  assert_ok (store_mailbox_set_special_use (fixture->store, work->number, "\\Archive", &error),
             error);
}

/* Puts on a copied mailbox what a mount tells of it and of its messages. */
static void
tell_mailbox (Fixture *fixture, const char *name)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_there (fixture->store, name);
  g_autofree char *path = g_build_filename (".copy/joe", name, NULL);
  g_auto (StoreNode) node = {0};
  StoreMailboxInfo info;
  StoreMessage page[8];
  size_t count;
  assert_ok (store_mailbox_info (mailbox, &info, &error), error);
  assert_ok (store_node_get (fixture->store, mailbox->number, &node, &error), error);
  tell_number (fixture, path, "number", mailbox->number);
  tell_number (fixture, path, "uidvalidity", info.uidvalidity);
  tell_number (fixture, path, "uidnext", info.uidnext);
  tell (fixture, path, "subscribed", node.subscribed ? "1" : NULL);
  tell (fixture, path, "special_use", node.special_use);
  assert_ok (store_mailbox_page (mailbox, 0, page, G_N_ELEMENTS (page), &count, &error), error);
  for (size_t i = 0; i < count; i++) {
    g_autofree char *flags = store_flags_to_string (page[i].flags, page[i].keywords);
    g_autofree char *message = g_strdup_printf ("%s/%010u.eml", path, page[i].uid);
    tell (fixture, message, "flags", *flags != '\0' ? flags : NULL);
  }
  store_messages_clear (page, count);
}

/* Copies Joe to .copy/ as out of a mount. */
static void
copy_joe (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) joe = {0};
  run_in (fixture,
          "mkdir .copy && cp -r --preserve=timestamps,mode " USERS "joe .copy/ && "
          "rm -rf .copy/joe/*/.expunged",
          "");
  assert_ok (store_node_resolve (fixture->store, "joe@example.com", &joe, &error), error);
  tell_number (fixture, ".copy/joe", "number", joe.number);
  for (size_t i = 0; i < G_N_ELEMENTS (mailboxes); i++)
    tell_mailbox (fixture, mailboxes[i]);
}

/* What a user sees of Joe; with the modseqs, unless those may be others. */
static char *
dump_joe (Store *store)
{
  GString *text = g_string_new (NULL);
  for (size_t i = 0; i < G_N_ELEMENTS (mailboxes); i++) {
    g_autoptr (GError) error = NULL;
    g_autoptr (StoreMailbox) mailbox = open_there (store, mailboxes[i]);
    g_auto (StoreNode) node = {0};
    StoreMailboxInfo info;
    StoreMessage page[8];
    size_t count;
    assert_ok (store_node_get (store, mailbox->number, &node, &error), error);
    assert_ok (store_mailbox_info (mailbox, &info, &error), error);
    g_string_append_printf (text, "%s %u %u %u %d %s\n", mailboxes[i], node.number,
                            info.uidvalidity, info.uidnext, node.subscribed,
                            node.special_use != NULL ? node.special_use : "-");
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

static void
assert_joe (Store *store, const char *expected)
{
  g_autofree char *is = dump_joe (store);
  g_assert_cmpstr (is, ==, expected);
}

/* Joe is copied back, with what `ruin` leaves of what the store knew. He is the same at once, after
 * a repair, and when every database is made again. */
static void
test_user (Fixture *fixture, gconstpointer data)
{
  const char *ruin = data;
  fill (fixture);
  copy_joe (fixture);
  g_autofree char *before = dump_joe (fixture->store);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, ruin, "");
  run_in (fixture, "rsync -aX .copy/joe " USERS, "");

  reopen (fixture, STORE_READ_ONLY);
  assert_joe (fixture->store, before);
  reopen (fixture, 0);
  assert_joe (fixture->store, before);
  g_assert_true (tells (fixture, INBOX, "mailbox"));
  g_assert_false (tells (fixture, INBOX, "uidvalidity"));
  store_job_free (run_job (fixture->store, "repair"));
  assert_clean (fixture->store);
  g_assert_true (tells (fixture, INBOX "/0000000002.eml", "state"));
  g_assert_false (tells (fixture, INBOX "/0000000002.eml", "flags"));

  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm -r index mailboxes.sqlite3", "");
  reopen (fixture, 0);
  store_job_free (run_job (fixture->store, "reconstruct"));
  assert_joe (fixture->store, before);
  assert_clean (fixture->store);
}

/* Copied over a mailbox that is in use, a copy takes the states away: what is newer than it stays,
 * and goes back onto the files. */
static void
test_over (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  uint32_t first = 1;
  fill (fixture);
  copy_joe (fixture);
  g_autoptr (StoreMailbox) inbox = open_there (fixture->store, "INBOX");
  assert_ok (
      store_message_flag (inbox, &first, 1, STORE_FLAGS_SET, STORE_FLAG_ANSWERED, NULL, &error),
      error);
  uint32_t gone = deliver (inbox, "five", 0, NULL);
  assert_ok (store_mailbox_expunge (inbox, &gone, 1, &error), error);
  run_in (fixture, "rm " INBOX "/.expunged/*", "");
  g_autofree char *before = dump_joe (fixture->store);
  run_in (fixture, "rsync -aX .copy/joe " USERS, "");
  g_assert_false (tells (fixture, INBOX, "mailbox"));
  assert_joe (fixture->store, before);

  /* Nor is a UID given again. */
  g_assert_cmpuint (deliver (inbox, "six", 0, NULL), ==, gone + 1);
  g_assert_true (mailbox_is_behind (inbox));
  assert_ok (store_message_flag (inbox, &first, 1, STORE_FLAGS_ADD, STORE_FLAG_SEEN, NULL, &error),
             error);
  before = (g_free (before), dump_joe (fixture->store));
  store_job_free (run_job (fixture->store, "repair"));
  assert_joe (fixture->store, before);
  assert_clean (fixture->store);
  g_clear_pointer (&inbox, store_mailbox_unref);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm -r index mailboxes.sqlite3", "");
  reopen (fixture, 0);
  assert_joe (fixture->store, before);
}

/* A mailbox in a mailbox is found when that is listed, and when it is asked for by name. */
static void
test_below (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  copy_joe (fixture);
  g_autofree char *before = dump_joe (fixture->store);
  for (int list = 0; list < 2; list++) {
    g_autoptr (StoreMailbox) below = open_there (fixture->store, "Work/2024");
    assert_ok (store_mailbox_remove (fixture->store, below->number, true, NULL, &error), error);
    run_in (fixture, "rsync -aX .copy/joe/Work/2024 " USERS "joe/Work/", "");
    g_autoptr (StoreMailbox) work = open_there (fixture->store, "Work");
    StoreNode children[2];
    size_t count = 0;
    if (list == 1)
      assert_ok (
          store_node_children (fixture->store, work->number, NULL, children, 2, &count, &error),
          error);
    g_assert_cmpuint (count, ==, list);
    store_nodes_clear (children, count);
    assert_joe (fixture->store, before);
  }
  store_job_free (run_job (fixture->store, "repair"));
  assert_clean (fixture->store);
}

/* Values that no mount shows count for nothing, and none uses up what there is only so much of. */
static void
test_nonsense (Fixture *fixture, gconstpointer data)
{
  static const char *const values[][2] = {
      {"number", "0"},
      {"number", "-1"},
      {"number", "16777216"},
      {"number", "16777215"},
      {"number", "4294967299"},
      {"number", "3x"},
      {"number", " 3"},
      {"number", "3\n3"},
      {"uidvalidity", "0"},
      {"uidvalidity", "1e9"},
      {"uidvalidity", "99999999999999999999"},
      {"uidnext", "0"},
      {"uidnext", "4294967295"},
      {"uidnext", "4026000000"},
      {"uidnext", "\xff\xfe"},
      {"subscribed", "yes"},
      {"special_use", "\\Nonsense"},
      {"special_use", "Sent 1"},
      {"name", "../../../etc"},
      {"name", "\xff"},
  };
  g_autoptr (GError) error = NULL;
  fill (fixture);
  copy_joe (fixture);
  for (size_t i = 0; i < G_N_ELEMENTS (values); i++) {
    g_clear_pointer (&fixture->store, store_close);
    run_in (fixture, "rm -rf index mailboxes.sqlite3 " USERS "* && rsync -aX .copy/joe " USERS, "");
    tell (fixture, INBOX, values[i][0], values[i][1]);
    reopen (fixture, 0);
    g_autoptr (StoreMailbox) inbox = open_there (fixture->store, "INBOX");
    StoreMailboxInfo info;
    assert_ok (store_mailbox_info (inbox, &info, &error), error);
    g_assert_cmpuint (inbox->number, <, 100);
    g_assert_cmpuint (info.uidvalidity, >, 1);
    g_assert_cmpuint (info.uidnext, ==, 4);
    g_assert_cmpuint (deliver (inbox, "more", 0, NULL), ==, 4);
    g_auto (StoreNode) node = {0};
    assert_ok (store_node_get (fixture->store, inbox->number, &node, &error), error);
    g_assert_false (node.subscribed);
    g_assert_null (node.special_use);
    g_assert_null (node.full_name);
    store_job_free (run_job (fixture->store, "repair"));
    assert_clean (fixture->store);
  }
}

/* Flags that are none are no flags; those that only fit once still become a state. */
static void
test_flags (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreMessage) message = {0};
  g_autofree char *large = g_strnfill (2600, 'k');
  fill (fixture);
  copy_joe (fixture);
  tell (fixture, ".copy/joe/INBOX/0000000001.eml", "flags", "\\Recent (");
  tell (fixture, ".copy/joe/INBOX/0000000003.eml", "flags", large);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm -rf index mailboxes.sqlite3 " USERS "* && rsync -aX .copy/joe " USERS, "");
  reopen (fixture, 0);
  g_autoptr (StoreMailbox) inbox = open_there (fixture->store, "INBOX");
  g_autofree char *before = dump_joe (fixture->store);
  store_job_free (run_job (fixture->store, "repair"));
  assert_joe (fixture->store, before);
  assert_clean (fixture->store);
  bool found;
  assert_ok (store_message_find (inbox, 3, &message, &found, &error), error);
  g_assert_cmpstr (message.keywords, ==, large);
  g_assert_cmpuint (message.modseq, >, 0);
  g_assert_true (tells (fixture, INBOX "/0000000003.eml", "state"));
  g_assert_false (tells (fixture, INBOX "/0000000003.eml", "flags"));
}

/* Whatever a copy says, a state of the store's own counts. */
static void
test_own_state (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autofree char *before = dump_joe (fixture->store);
  tell (fixture, INBOX "/0000000001.eml", "flags", "\\Deleted");
  tell (fixture, INBOX, "uidvalidity", "7");
  tell (fixture, INBOX, "number", "77");
  reopen (fixture, 0);
  store_job_free (run_job (fixture->store, "reconstruct force"));
  assert_joe (fixture->store, before);
  assert_clean (fixture->store);
}

/* An old mailbox in the place of a new one of that name: UIDs mean other messages there, so neither
 * is taken for the other. */
static void
test_other (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  copy_joe (fixture);
  g_autoptr (StoreMailbox) before = open_there (fixture->store, "Work/2024");
  StoreMailboxInfo was, is;
  assert_ok (store_mailbox_info (before, &was, &error), error);
  assert_ok (store_mailbox_remove (fixture->store, before->number, true, NULL, &error), error);
  g_autoptr (StoreMailbox) between = open_named (fixture->store, "joe@example.com/Work/2024");
  deliver (between, "other", 0, NULL);
  g_assert_cmpuint (between->number, !=, before->number);
  run_in (fixture,
          "rm -r " USERS "joe/Work/2024 && rsync -aX .copy/joe/Work/2024 " USERS "joe/Work/", "");
  store_job_free (run_job (fixture->store, "repair"));
  g_autoptr (StoreMailbox) after = open_there (fixture->store, "Work/2024");
  assert_ok (store_mailbox_info (after, &is, &error), error);
  g_assert_cmpuint (after->number, ==, before->number);
  g_assert_cmpuint (is.uidvalidity, ==, was.uidvalidity);
  g_assert_cmpuint (is.messages, ==, 1);
  assert_clean (fixture->store);

  /* The same of a copy that tells no number, as older ones do. */
  tell (fixture, ".copy/joe/Work/2024", "number", NULL);
  assert_ok (store_mailbox_remove (fixture->store, after->number, true, NULL, &error), error);
  g_autoptr (StoreMailbox) again = open_named (fixture->store, "joe@example.com/Work/2024");
  deliver (again, "other", 0, NULL);
  g_clear_pointer (&again, store_mailbox_unref);
  run_in (fixture,
          "rm -r " USERS "joe/Work/2024 && rsync -aX .copy/joe/Work/2024 " USERS "joe/Work/", "");
  store_job_free (run_job (fixture->store, "repair"));
  again = open_there (fixture->store, "Work/2024");
  assert_ok (store_mailbox_info (again, &is, &error), error);
  g_assert_cmpuint (is.uidvalidity, ==, was.uidvalidity);
  g_assert_cmpuint (is.messages, ==, 1);
  assert_clean (fixture->store);
}

/* What a snapshot has seen of numbers is not given out again, though a copy took the counter away.
 */
static void
test_counter (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  g_autoptr (StoreMailbox) last = open_named (fixture->store, "joe@example.com/Last");
  assert_ok (store_snapshot_take (fixture->store, "before", NULL, &error), error);
  assert_ok (store_mailbox_remove (fixture->store, last->number, true, NULL, &error), error);
  run_in (fixture, "setfattr -x user.mailfs.store mail", "");
  reopen (fixture, 0);
  g_autoptr (StoreMailbox) next = open_named (fixture->store, "joe@example.com/Next");
  g_assert_cmpuint (next->number, >, last->number);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/copied/user", Fixture, "rm -r " USERS "joe", set_up, test_user, tear_down);
  g_test_add ("/copied/user-without-index", Fixture, "rm -r index " USERS "joe", set_up, test_user,
              tear_down);
  g_test_add ("/copied/user-without-anything", Fixture,
              "rm -r index mailboxes.sqlite3 mail/* && setfattr -x user.mailfs.store mail && mkdir "
              "-p " USERS,
              set_up, test_user, tear_down);
  add_test ("/copied/over", test_over);
  add_test ("/copied/below", test_below);
  add_test ("/copied/nonsense", test_nonsense);
  add_test ("/copied/flags", test_flags);
  add_test ("/copied/own-state", test_own_state);
  add_test ("/copied/other", test_other);
  add_test ("/copied/counter", test_counter);
  return g_test_run ();
}
