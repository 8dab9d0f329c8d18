/* SPDX-License-Identifier: Apache-2.0 */
/* Renaming, removing and setting mailboxes, and what others who use them meet. */
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

static bool
append_one (StoreMailbox *mailbox, GError **error)
{
  StoreFacts facts = {.internal_s = INT64_MIN};
  g_autoptr (StoreDraft) draft = store_draft_new (mailbox->store, &facts, error);
  return draft != NULL && store_draft_write (draft, "\r\n", 2, error) &&
         store_draft_finish (draft, mailbox, error) &&
         store_mailbox_append (mailbox, &draft, 1, 0, error);
}

/* Who holds a mailbox goes on with it when it gets another name, also in another process. */
static void
test_held (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) old = open_named (fixture->store, "joe@example.com/Old");
  g_autoptr (Store) other = store_open (fixture->path, 0, &error);
  g_autoptr (StoreMailbox) there = store_mailbox_open (other, old->number, &error);
  g_assert_no_error (error);
  deliver (old, "one", 0, NULL);
  assert_ok (store_mailbox_rename (fixture->store, old->number, "joe@example.com/A/New", &error),
             error);
  g_assert_cmpuint (number_of (fixture->store, "joe@example.com/A/New"), ==, old->number);
  assert_ok (append_one (old, &error), error);
  assert_ok (append_one (there, &error), error);
  uint32_t uid = 3;
  assert_ok (store_message_flag (there, &uid, 1, STORE_FLAGS_ADD, STORE_FLAG_SEEN, NULL, &error),
             error);
  assert_clean (fixture->store);

  assert_ok (store_mailbox_remove (fixture->store, old->number, false, NULL, &error), error);
  assert_fails (append_one (there, &error), error, ESTALE);
  assert_fails (store_message_flag (there, &uid, 1, STORE_FLAGS_ADD, STORE_FLAG_SEEN, NULL, &error),
                error, ESTALE);
  assert_fails (store_mailbox_expunge (there, &uid, 1, &error), error, ESTALE);
  assert_fails (store_mailbox_set_uidvalidity (there, 5, 5, &error), error, ESTALE);
  uint32_t user = old->owner;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  assert_ok (store_mailbox_remove (fixture->store, user, true, NULL, &error), error);
  assert_fails (append_one (inbox, &error), error, ESTALE);
  assert_clean (fixture->store);
}

/* Only INBOX's directory is replaced, as by a restore of it alone. */
static void
test_replaced (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  run_in (fixture, "cd mail/example.com/user/joe && cp -a INBOX x && rm -r INBOX && mv x INBOX",
          "");
  uint32_t uid = 1;
  assert_fails (append_one (inbox, &error), error, ESTALE);
  assert_fails (store_message_flag (inbox, &uid, 1, STORE_FLAGS_ADD, STORE_FLAG_SEEN, NULL, &error),
                error, ESTALE);
  g_autoptr (StoreMailbox) again = store_mailbox_open (fixture->store, inbox->number, &error);
  g_assert_no_error (error);
  assert_ok (append_one (again, &error), error);
  assert_ok (store_message_flag (again, &uid, 1, STORE_FLAGS_ADD, STORE_FLAG_SEEN, NULL, &error),
             error);
}

/* A crash after the directory has moved: the mark on the list tells the next one who looks. */
static void
test_interrupted (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) deep = open_named (fixture->store, "joe@example.com/INBOX/A/B");
  g_autoptr (StoreMailbox) ann = open_named (fixture->store, "ann@example.com");
  for (int reopened = 0; reopened < 2; reopened++) {
    g_autoptr (Handle) list = NULL;
    auto_fd lock = lock_list (fixture->store, &list, &error);
    g_auto (Doubt) doubt = {0};
    assert_ok (doubt_begin (&doubt, fixture->store, list->list, deep->owner, &error), error);
    store_close_fd (&lock);
    lock = -1;
    if (reopened == 0)
      run_in (fixture, "cd mail/example.com/user/joe && mv INBOX/A/B INBOX/B", "");
    else
      run_in (fixture, "cd mail/example.com/user/joe && mv INBOX/B B", "");
    if (reopened != 0) {
      doubt_clear (&doubt);
      g_clear_pointer (&list, handle_unref);
      g_clear_pointer (&deep, store_mailbox_unref);
      g_clear_pointer (&ann, store_mailbox_unref);
      reopen (fixture, 0);
    }
    const char *spelling = reopened == 0 ? "joe@example.com/INBOX/B" : "joe@example.com/B";
    uint32_t number = number_of (fixture->store, spelling);
    g_assert_cmpuint (number, !=, 0);
    g_assert_true (deep == NULL || number == deep->number);
    g_assert_cmpuint (number_of (fixture->store, "joe@example.com/INBOX/A/B"), ==, 0);
  }
  g_autoptr (StoreJob) job = run_job (fixture->store, "reconstruct");
  assert_clean (fixture->store);
}

/* A name that does not fit is cut, and known in full; and then it is not cut any more. */
static void
test_long_names (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, "joe@example.com/Short");
  g_autofree char *name = g_strnfill (400, 'n');
  g_autofree char *spelling = g_strconcat ("joe@example.com/", name, NULL);
  for (int relisted = 0; relisted < 2; relisted++) {
    assert_ok (store_mailbox_rename (fixture->store, mailbox->number, spelling, &error), error);
    if (relisted != 0)
      run_in (fixture, "rm mailboxes.sqlite3", "");
    g_auto (StoreNode) node = {0};
    assert_ok (store_node_get (fixture->store, mailbox->number, &node, &error), error);
    g_assert_cmpstr (node.full_name, ==, name);
    assert_ok (store_mailbox_rename (fixture->store, mailbox->number, "joe@example.com/S", &error),
               error);
    g_auto (StoreNode) shorter = {0};
    assert_ok (store_node_get (fixture->store, mailbox->number, &shorter, &error), error);
    g_assert_null (shorter.full_name);
    assert_clean (fixture->store);
  }
}

static void
test_limits (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  GString *spelling = g_string_new ("joe@example.com/a");
  for (unsigned depth = 4; depth < NODE_DEPTH_MAX; depth++)
    g_string_append (spelling, "/d");
  g_autofree char *deepest = g_string_free (spelling, FALSE);
  g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, deepest);
  uint32_t top = number_of (fixture->store, "joe@example.com/a");
  assert_fails (store_mailbox_rename (fixture->store, top, "joe@example.com/b/a", &error), error,
                ENAMETOOLONG);
  assert_ok (store_mailbox_rename (fixture->store, top, "joe@example.com/c", &error), error);
  assert_clean (fixture->store);

  g_autofree char *name = g_strnfill (255, 'n');
  g_autoptr (StoreMailbox) wide = open_named (fixture->store, "joe@example.com/w");
  g_autoptr (GString) long_path = g_string_new ("joe@example.com");
  for (int level = 0; level < 11; level++)
    g_string_append_printf (long_path, "/%s", name);
  g_autoptr (StoreMailbox) far = open_named (fixture->store, long_path->str);
  g_autofree char *path = g_strconcat ("joe@example.com/w/", name, "/", name, NULL);
  uint32_t first = far->number;
  for (int level = 0; level < 10; level++) {
    g_auto (StoreNode) node = {0};
    assert_ok (store_node_get (fixture->store, first, &node, &error), error);
    first = node.parent;
  }
  assert_fails (store_mailbox_rename (fixture->store, first, path, &error), error, ENAMETOOLONG);
}

static void
test_read_only (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, "joe@example.com/A");
  uint32_t number = mailbox->number;
  g_clear_pointer (&mailbox, store_mailbox_unref);
  reopen (fixture, STORE_READ_ONLY);
  Store *store = fixture->store;
  assert_fails (store_mailbox_rename (store, number, "joe@example.com/B", &error), error, EROFS);
  assert_fails (store_mailbox_remove (store, number, true, NULL, &error), error, EROFS);
  assert_fails (store_mailbox_subscribe (store, number, true, &error), error, EROFS);
  assert_fails (store_mailbox_set_special_use (store, number, "\\Sent", &error), error, EROFS);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/rename/held", test_held);
  add_test ("/rename/replaced", test_replaced);
  add_test ("/rename/interrupted", test_interrupted);
  add_test ("/rename/long-names", test_long_names);
  add_test ("/rename/limits", test_limits);
  add_test ("/rename/read-only", test_read_only);
  return g_test_run ();
}
