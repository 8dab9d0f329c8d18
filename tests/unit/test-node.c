/* SPDX-License-Identifier: Apache-2.0 */
/* Directories: spellings, creation, and the mailbox list made again from what lies on disk. */
#include "tests/unit/test-store.h"

static void
assert_path (Store *store, const char *spelling, const char *path)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (store, spelling, &node, &error), error);
  g_autofree char *found = store_node_path (store, node.number, &error);
  g_assert_cmpstr (found, ==, path);
}

static void
test_spellings (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (StoreMailbox) a = open_named (store, "joe@example.com/INBOX/Receipts");
  g_autoptr (StoreMailbox) b = open_named (store, "ann");
  g_autoptr (StoreMailbox) c = open_named (store, "Public Folders/News@example.com");
  g_autoptr (StoreMailbox) d = open_named (store, "joe@example.com/100% .odd");
  assert_path (store, "joe@example.com", "example.com/user/joe");
  assert_path (store, "joe@example.com/INBOX/Receipts/", "example.com/user/joe/INBOX/Receipts");
  assert_path (store, "example.com/user/joe/INBOX", "example.com/user/joe/INBOX");
  assert_path (store, "/example.com/user/joe//INBOX", "example.com/user/joe/INBOX");
  assert_path (store, "Other Users/joe@example.com/INBOX", "example.com/user/joe/INBOX");
  assert_path (store, "ann/INBOX", "local/user/ann/INBOX");
  assert_path (store, "ann", "local/user/ann");
  assert_path (store, "Other Users/ann", "local/user/ann");
  assert_path (store, "Public Folders/News@example.com", "example.com/shared/News");
  assert_path (store, "example.com/shared/News", "example.com/shared/News");
  assert_path (store, "example.com", "example.com");
  assert_path (store, "", "");
  assert_path (store, "joe@example.com/100% .odd", "example.com/user/joe/100%25 .odd");
  assert_path (store, "joe@example.com/100%25 .odd", "example.com/user/joe/100%25 .odd");
  g_autoptr (GError) error = NULL;
  StoreNode node = {0};
  assert_fails (store_node_resolve (store, "nobody@example.com", &node, &error), error, ENOENT);
  assert_fails (store_node_resolve (store, "joe@example.com/../ann", &node, &error), error, ENOENT);
  g_autofree char *title = store_node_title (store, store_mailbox_number (a), &error);
  g_assert_cmpstr (title, ==, "joe@example.com/INBOX/Receipts");
}

/* No name leads out of the store, or to what is the store's own. */
/* A new mailbox, and the one that it was made in, agree with the index at once. */
static void
test_new_mailboxes_are_indexed (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  assert_clean (fixture->store);
  deliver (inbox, "one", 0, NULL);
  g_autoptr (StoreMailbox) child = open_named (fixture->store, "joe@example.com/INBOX/A/B");
  assert_clean (fixture->store);
  StoreMailboxInfo info;
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_assert_cmpint (info.health, ==, STORE_HEALTH_OK);
  assert_ok (store_mailbox_info (child, &info, &error), error);
  g_assert_cmpint (info.health, ==, STORE_HEALTH_OK);
}

static void
test_names_stay_inside (Fixture *fixture, gconstpointer data)
{
  static const char *const names[] = {
      "joe@example.com/../../../etc", "../../x@y",         "a@../b",
      "joe@example.com/.expunged",    "joe@example.com/.", "joe@example.com/0000000001.eml"};
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (GError) error = NULL;
    g_auto (StoreNode) node = {0};
    if (!store_mailbox_create (fixture->store, names[i], &node, &error))
      continue;
    g_autofree char *path = store_node_path (fixture->store, node.number, &error);
    g_assert_null (strstr (path, "/../"));
    g_assert_null (strstr (path, "/."));
    g_assert_cmpint (path[0], !=, '.');
  }
  run_in (fixture, "test \"$(find mail -type l -o -name '..*' | wc -l)\" = 0", "");
  run_in (fixture, "test ! -e ../etc && test ! -e etc", "");
}

static void
test_long_names (Fixture *fixture, gconstpointer data)
{
  g_autofree char *name = g_strnfill (400, 'n');
  g_autofree char *spelling = g_strconcat ("joe@example.com/", name, NULL);
  g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, spelling);
  g_autoptr (StoreMailbox) again = open_named (fixture->store, spelling);
  g_assert_cmpuint (store_mailbox_number (mailbox), ==, store_mailbox_number (again));
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_get (fixture->store, store_mailbox_number (mailbox), &node, &error), error);
  g_assert_cmpstr (node.full_name, ==, name);
  g_autofree char *user = g_strconcat (name, "@example.com", NULL);
  assert_fails (store_mailbox_create (fixture->store, user, &node, &error), error, ENAMETOOLONG);
  run_in (fixture, "rm mailboxes.sqlite3", "");
  reopen (fixture, 0);
  g_auto (StoreNode) relisted = {0};
  assert_ok (store_node_get (fixture->store, again->number, &relisted, &error), error);
  g_assert_cmpstr (relisted.full_name, ==, name);
}

static void
test_numbers_are_never_reused (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) first = open_named (fixture->store, "joe@example.com/One");
  g_autoptr (StoreMailbox) second = open_named (fixture->store, "joe@example.com/Two");
  uint32_t highest = store_mailbox_number (second);
  run_in (fixture, "rm -r mail/example.com/user/joe/Two mailboxes.sqlite3", "");
  reopen (fixture, 0);
  g_autoptr (StoreMailbox) third = open_named (fixture->store, "joe@example.com/Three");
  g_assert_cmpuint (store_mailbox_number (third), >, highest);
}

/* A copy of a user is another user; the original keeps its numbers. */
static void
test_copied_user (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", STORE_FLAG_SEEN, NULL);
  run_in (fixture, "cd mail/example.com/user && cp -a joe ann && cp -a joe zoe", "");
  g_autoptr (StoreJob) check = run_job (fixture->store, "check");
  g_assert_cmpuint (store_job_findings (check)->len, >=, 2);
  g_autoptr (StoreJob) list = run_job (fixture->store, "reconstruct mailbox-list recursive");
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) joe = {0}, ann = {0}, zoe = {0};
  assert_ok (store_node_resolve (fixture->store, "joe@example.com/INBOX", &joe, &error), error);
  assert_ok (store_node_resolve (fixture->store, "ann@example.com/INBOX", &ann, &error), error);
  assert_ok (store_node_resolve (fixture->store, "zoe@example.com/INBOX", &zoe, &error), error);
  g_assert_cmpuint (joe.number, ==, store_mailbox_number (inbox));
  g_assert_cmpuint (ann.number, !=, joe.number);
  g_assert_cmpuint (zoe.number, !=, ann.number);
  assert_clean (fixture->store);
}

/* A read-only opener must not write, so it makes the list in memory. */
static void
test_list_in_memory (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  uint32_t number = store_mailbox_number (inbox);
  g_clear_pointer (&inbox, store_mailbox_unref);
  run_in (fixture, "rm -rf mailboxes.sqlite3* index", "");
  reopen (fixture, STORE_READ_ONLY);
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (fixture->store, "joe@example.com/INBOX", &node, &error), error);
  g_assert_cmpuint (node.number, ==, number);
  StoreStatus status;
  assert_ok (store_status (fixture->store, &status, &error), error);
  g_assert_true (status.list_in_memory);
  g_assert_cmpuint (status.messages, ==, 1);
  g_assert_cmpuint (status.behind, ==, 1);
  run_in (fixture, "test ! -e mailboxes.sqlite3 && test ! -e index", "");
  StoreFacts facts = {.internal_s = INT64_MIN};
  g_assert_null (store_draft_new (fixture->store, &facts, &error));
  g_assert_error (error, MAILFS_ERROR, EROFS);
}

static void
test_damaged_list (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  uint32_t number = store_mailbox_number (inbox);
  g_clear_pointer (&inbox, store_mailbox_unref);
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "head -c 5000 /dev/urandom > mailboxes.sqlite3", "");
  reopen (fixture, 0);
  inbox = open_named (fixture->store, "joe@example.com");
  g_assert_cmpuint (store_mailbox_number (inbox), ==, number);
  run_in (fixture, "ls mailboxes.sqlite3.damaged-* >/dev/null", "");
}

static void
test_not_a_store (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_dir_make_tmp ("mailfs-test-XXXXXX", &error);
  assert_fails (store_open (path, 0, &error) != NULL, error, EINVAL);
  assert_fails (store_open ("/nonexistent/store", 0, &error) != NULL, error, ENOENT);
  g_autofree char *config = g_build_filename (path, "mailfs.conf", NULL);
  g_assert_true (g_file_set_contents (config, "[store]\nformat=2\nuuid=x\n", -1, NULL));
  assert_fails (store_open (path, 0, &error) != NULL, error, EPROTONOSUPPORT);
  assert_fails (store_create (path, &error), error, EEXIST);
  g_assert_true (g_file_set_contents (config, "rubbish", -1, NULL));
  assert_fails (store_open (path, 0, &error) != NULL, error, EINVAL);
  remove (config);
  g_autofree char *other = g_build_filename (path, "other", NULL);
  g_assert_true (g_file_set_contents (other, "x", -1, NULL));
  assert_fails (store_create (path, &error), error, ENOTEMPTY);
  remove (other);
  rmdir (path);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/node/spellings", test_spellings);
  add_test ("/node/new-mailboxes-are-indexed", test_new_mailboxes_are_indexed);
  add_test ("/node/names-stay-inside", test_names_stay_inside);
  add_test ("/node/long-names", test_long_names);
  add_test ("/node/numbers-are-never-reused", test_numbers_are_never_reused);
  add_test ("/node/copied-user", test_copied_user);
  add_test ("/node/list-in-memory", test_list_in_memory);
  add_test ("/node/damaged-list", test_damaged_list);
  g_test_add_func ("/store/not-a-store", test_not_a_store);
  return g_test_run ();
}
