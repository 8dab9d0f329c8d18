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
  g_clear_pointer (&fixture->store, store_close); /* it may have something to write still */
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

/* ---- what was lost --------------------------------------------------------------------------- */

static const StoreFinding *
find_problem (StoreJob *job, StoreProblem problem)
{
  const GPtrArray *findings = store_job_findings (job);
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    if (finding->problem == problem)
      return finding;
  }
  return NULL;
}

/* As after a copy of what lies in mail/, but not of mail/ itself. */
static void
test_lost_counter (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "joe@example.com/Other");
  uint32_t highest = MAX (inbox->number, other->number);
  run_in (fixture, "setfattr -x user.mailfs.store mail", "");
  g_autoptr (StoreMailbox) first = open_named (fixture->store, "joe@example.com/New");
  g_assert_cmpuint (first->number, >, highest);
  assert_path (fixture->store, "joe@example.com/Other", "example.com/user/joe/Other");
  assert_clean (fixture->store);

  run_in (fixture, "setfattr -n user.mailfs.store -v '1 2 1 5' mail", "");
  g_autoptr (StoreJob) check = run_job (fixture->store, "check");
  g_assert_cmpuint (store_job_findings (check)->len, ==, 1);
  g_assert_nonnull (find_problem (check, STORE_PROBLEM_BAD_STATE));
  g_autoptr (StoreJob) list = run_job (fixture->store, "reconstruct mailbox-list");
  g_assert_cmpuint (store_job_findings (list)->len, ==, 1);
  g_assert_true (find_problem (list, STORE_PROBLEM_BAD_STATE)->outcome == STORE_FIXED);
  assert_clean (fixture->store);
  StoreState state;
  bool found = false;
  g_autoptr (GError) error = NULL;
  assert_ok (store_state_read (fixture->store->mail_fd, &state, &found, &error), error);
  g_assert_cmpuint (state.next_number, ==, first->number + 1);

  run_in (fixture, "setfattr -n user.mailfs.store -v rubbish mail", "");
  g_autoptr (StoreJob) again = run_job (fixture->store, "reconstruct mailbox-list");
  g_assert_nonnull (find_problem (again, STORE_PROBLEM_BAD_STATE));
  assert_clean (fixture->store);
}

/* The list and the index know what stood on the directory. */
static void
test_lost_attribute (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) child = open_named (fixture->store, "joe@example.com/INBOX/Child");
  deliver (inbox, "one", 0, NULL);
  deliver (inbox, "two", 0, NULL);
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_set_uidvalidity (child, 77, 500, &error), error);
  StoreMailboxInfo before, after;
  assert_ok (store_mailbox_info (inbox, &before, &error), error);
  run_in (
      fixture,
      "setfattr -x user.mailfs.directory mail/example.com/user && cd mail/example.com/user/joe &&"
      " setfattr -x user.mailfs.mailbox INBOX && setfattr -x user.mailfs.mailbox INBOX/Child",
      "");
  g_autoptr (StoreJob) check = run_job (fixture->store, "check");
  g_assert_null (find_problem (check, STORE_PROBLEM_NO_DIRECTORY));
  g_assert_null (find_problem (check, STORE_PROBLEM_NO_LIST_ENTRY));
  g_autoptr (StoreJob) list = run_job (fixture->store, "reconstruct mailbox-list");
  g_assert_cmpuint (store_job_findings (list)->len, ==, 3);
  assert_ok (store_mailbox_info (inbox, &after, &error), error);
  g_assert_cmpuint (after.uidvalidity, ==, before.uidvalidity);
  g_assert_cmpuint (after.uidnext, ==, before.uidnext);
  assert_ok (store_mailbox_info (child, &after, &error), error);
  g_assert_cmpuint (after.uidvalidity, ==, 77);
  g_assert_cmpuint (after.uidnext, ==, 500);
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (fixture->store, "joe@example.com/INBOX/Child", &node, &error),
             error);
  g_assert_cmpuint (node.number, ==, child->number);
  assert_clean (fixture->store);
}

/* A number that moved away with its directory is not given to what has the name now. */
static void
test_lost_attribute_moved (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) old = open_named (fixture->store, "joe@example.com/Old");
  run_in (fixture, "cd mail/example.com/user/joe && mv Old Moved && mkdir Old", "");
  g_autoptr (StoreJob) list = run_job (fixture->store, "reconstruct mailbox-list recursive");
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) moved = {0}, made = {0};
  assert_ok (store_node_resolve (fixture->store, "joe@example.com/Moved", &moved, &error), error);
  assert_ok (store_node_resolve (fixture->store, "joe@example.com/Old", &made, &error), error);
  g_assert_cmpuint (moved.number, ==, old->number);
  g_assert_cmpuint (made.number, !=, old->number);
  assert_clean (fixture->store);
}

/* Without index and attribute the files say which UIDs were used, those in .expunged too. */
static void
test_next_uid_covers_expunged (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  for (int i = 0; i < 3; i++)
    deliver (inbox, "one", 0, NULL);
  run_in (fixture,
          "rm -r index mailboxes.sqlite3 && cd mail/example.com/user/joe/INBOX && "
          "mkdir .expunged && mv 0000000003.eml .expunged && setfattr -x user.mailfs.mailbox .",
          "");
  reopen (fixture, 0);
  g_clear_pointer (&inbox, store_mailbox_unref);
  inbox = open_named (fixture->store, "joe@example.com");
  g_assert_cmpuint (deliver (inbox, "four", 0, NULL), ==, 4);
}

/* ---- limits and spellings -------------------------------------------------------------------- */

static void
test_depth (Fixture *fixture, gconstpointer data)
{
  GString *spelling = g_string_new ("joe@example.com");
  for (unsigned depth = 3; depth < NODE_DEPTH_MAX; depth++)
    g_string_append (spelling, "/d");
  g_autofree char *deepest = g_string_free (spelling, FALSE);
  g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, deepest);
  g_autofree char *deeper = g_strconcat (deepest, "/e", NULL);
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_fails (store_mailbox_create (fixture->store, deeper, &node, &error), error, ENAMETOOLONG);
  assert_clean (fixture->store);

  /* What lies deeper all the same, and is listed, stays listed. */
  g_autoptr (Handle) list = NULL;
  auto_fd lock = lock_list (fixture->store, &list, &error);
  g_autoptr (ListWrite) write = list_write_begin (list->list, &error);
  char name[] = "e";
  ListNode row = {.number = 999999,
                  .parent = mailbox->number,
                  .owner = mailbox->owner,
                  .kind = LIST_MAILBOX,
                  .name = name};
  assert_ok (list_write_node (write, &row, &error), error);
  assert_ok (list_write_commit (write, &error), error);
  g_clear_pointer (&write, list_write_free);
  store_close_fd (&lock);
  lock = -1;
  g_autofree char *below = g_strdup_printf ("mail/%s/e", mailbox->path);
  run_in (fixture, "mkdir mail/example.com/user/joe/new && mkdir ", below);
  g_autoptr (StoreJob) job = run_job (fixture->store, "reconstruct mailbox-list");
  g_assert_null (find_problem (job, STORE_PROBLEM_NO_DIRECTORY));
  assert_path (fixture->store, "joe@example.com/new", "example.com/user/joe/new");
  assert_ok (store_node_get (fixture->store, row.number, &node, &error), error);
  run_in (fixture, "rmdir ", below);
  g_autoptr (StoreJob) again = run_job (fixture->store, "reconstruct mailbox-list");
  g_assert_nonnull (find_problem (again, STORE_PROBLEM_NO_DIRECTORY));
}

static void
test_case (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (StoreMailbox) inbox = open_named (store, "joe@Example.COM/inbox");
  g_autoptr (StoreMailbox) sub = open_named (store, "joe@example.com/iNBOX/inbox");
  assert_path (store, "joe@EXAMPLE.com/InBox", "example.com/user/joe/INBOX");
  assert_path (store, "joe@example.com/INBOX/inbox", "example.com/user/joe/INBOX/inbox");
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  const char *const names[] = {"Inbox", NULL};
  assert_ok (store_mailbox_create_at (store, inbox->owner, names, &node, &error), error);
  g_assert_cmpuint (node.number, ==, inbox->number);
  /* A domain that is there in that spelling is meant by it. */
  run_in (fixture, "mkdir -p mail/Other.ORG/user/ann/INBOX", "");
  g_autoptr (StoreJob) job = run_job (store, "reconstruct mailbox-list");
  g_assert_cmpuint (store_job_findings (job)->len, >, 0);
  assert_path (store, "ann@Other.ORG", "Other.ORG/user/ann");
  assert_fails (store_mailbox_create (store, "joe@lost+found", &node, &error), error, EINVAL);
}

/* A directory that check finds is only looked at by reconstruct -m, and check says so. */
static void
test_unlisted (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  run_in (fixture, "mkdir mail/example.com/user/joe/Restored", "");
  g_autoptr (StoreJob) check = run_job (fixture->store, "check");
  const StoreFinding *finding = find_problem (check, STORE_PROBLEM_NO_LIST_ENTRY);
  g_assert_nonnull (finding);
  g_assert_nonnull (strstr (finding->detail, "reconstruct -m"));
}

/* What root makes in somebody's directory is theirs. */
static void
test_owner (void)
{
  if (geteuid () != 0) {
    g_test_skip ("needs root");
    return;
  }
  g_autoptr (GError) error = NULL;
  Fixture fixture = {.path = g_dir_make_tmp ("mailfs-test-XXXXXX", &error)};
  g_assert_cmpint (chown (fixture.path, 65534, 65534), ==, 0);
  assert_ok (store_create (fixture.path, &error), error);
  reopen (&fixture, 0);
  g_autoptr (StoreMailbox) inbox = open_named (fixture.store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  g_clear_pointer (&inbox, store_mailbox_unref);
  run_in (&fixture, "test \"$(find . ! -uid 65534 ! -path './tmp/*' | wc -l)\" = 0", "");
  tear_down (&fixture, NULL);
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
  add_test ("/node/lost-counter", test_lost_counter);
  add_test ("/node/lost-attribute", test_lost_attribute);
  add_test ("/node/lost-attribute-moved", test_lost_attribute_moved);
  add_test ("/node/next-uid-covers-expunged", test_next_uid_covers_expunged);
  add_test ("/node/depth", test_depth);
  add_test ("/node/case", test_case);
  add_test ("/node/unlisted", test_unlisted);
  g_test_add_func ("/store/owner", test_owner);
  g_test_add_func ("/store/not-a-store", test_not_a_store);
  return g_test_run ();
}
