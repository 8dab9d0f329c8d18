/* SPDX-License-Identifier: Apache-2.0 */
/* What a snapshot is not: written to, worked on by commands, or there for ever. */
#include "store-sample.h"

static void
test_read_only (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  static const uint32_t uid = 1;
  make_store (fixture->store);
  assert_ok (store_snapshot_take (fixture->store, "s", NULL, &error), error);
  g_autoptr (Store) store = store_snapshot_open (fixture->store, "latest", &error);
  g_assert_no_error (error);
  g_assert_true (store_is_read_only (store));
  g_assert_null (store_snapshot_of (fixture->store));
  g_assert_cmpstr (store_snapshot_of (store)->name, ==, "s");
  uint32_t number = number_of (store, JOE "/INBOX");
  g_autoptr (StoreMailbox) inbox = store_mailbox_open (store, number, &error);
  g_assert_no_error (error);
  g_autoptr (StoreMailbox) live = store_mailbox_open (fixture->store, number, &error);
  assert_fails (store_message_flag (inbox, &uid, 1, STORE_FLAGS_ADD, 1, NULL, &error), error,
                EROFS);
  assert_fails (store_mailbox_expunge (inbox, &uid, 1, &error), error, EROFS);
  assert_fails (store_mailbox_undelete (inbox, &uid, 1, &error), error, EROFS);
  assert_fails (store_mailbox_copy (live, &uid, 1, inbox, NULL, &error), error, EROFS);
  assert_fails (store_mailbox_create (store, "x@example.com/New", &node, &error), error, EROFS);
  assert_fails (store_mailbox_rename (store, number, JOE "/x", &error), error, EROFS);
  assert_fails (store_mailbox_remove (store, number, true, NULL, &error), error, EROFS);
  assert_fails (store_mailbox_subscribe (store, number, true, &error), error, EROFS);
  assert_fails (store_mailbox_set_uidvalidity (inbox, 1, 1, &error), error, EROFS);
  assert_fails (store_setting_set (store, STORE_CLEANUP_AGE, "1d", &error), error, EROFS);
  assert_fails (store_quarantine_remove (store, "x", &error), error, EROFS);
  assert_fails (store_audit_append (store, "{}", &error), error, EROFS);
  assert_fails (store_snapshot_take (store, NULL, NULL, &error), error, EROFS);
  assert_fails (store_snapshot_drop (store, "s", &error), error, EROFS);
  assert_fails (store_snapshot_open (store, "s", &error) != NULL, error, EINVAL);
  g_assert_null (store_draft_new (store, &(StoreFacts){0}, &error));
  g_assert_error (error, MAILFS_ERROR, EROFS);
}

/* Commands that only read are for the store as it is, too; but verify. */
static void
test_commands (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  static const struct {
    const char *words[4];
    int code;
  } refused[] = {
      {{"check"}, EINVAL},       {{"test"}, EINVAL},   {{"reconstruct", "recursive"}, EROFS},
      {{"repair"}, EROFS},       {{"cleanup"}, EROFS}, {{"purge"}, EROFS},
      {{"expunge", JOE}, EROFS}, {{"reset"}, EROFS},
  };
  make_store (fixture->store);
  assert_ok (store_snapshot_take (fixture->store, "s", NULL, &error), error);
  remove_named (fixture->store, "ann@example.com");
  g_autoptr (Store) store = store_snapshot_open (fixture->store, "s", &error);
  g_assert_no_error (error);
  for (size_t i = 0; i < G_N_ELEMENTS (refused); i++) {
    StoreRequest *request = store_request_parse (store, refused[i].words, &error);
    g_assert_no_error (error);
    g_autoptr (StoreJob) job = store_job_new (store, request);
    g_test_message ("%s", refused[i].words[0]);
    assert_fails (store_job_run (job, &error), error, refused[i].code);
  }
  StoreResult result;
  g_autoptr (StoreJob) verify = run_job (store, "verify recursive");
  store_job_result (verify, &result);
  StoreStatus status;
  assert_ok (store_status (store, &status, &error), error);
  g_assert_cmpuint (result.messages, ==, status.messages);
  g_assert_cmpuint (result.left, ==, 0);
  run_in (fixture,
          "printf X | dd bs=1 seek=3 conv=notrunc status=none "
          "of=$(find quarantine -name 0000000001.eml | head -n 1)",
          "");
  g_autoptr (StoreJob) again = run_job (store, "verify recursive");
  store_job_result (again, &result);
  g_assert_cmpuint (result.left, ==, 1);
}

static void
test_damage (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  make_store (fixture->store);
  assert_ok (store_snapshot_take (fixture->store, "s", NULL, &error), error);
  expunge (fixture->store, JOE "/INBOX", 1);
  run_in (fixture,
          "printf X | dd bs=1 seek=3 conv=notrunc status=none "
          "of=mail/example.com/user/joe/INBOX/.expunged/0000000001.eml",
          "");
  g_autoptr (Store) store = store_snapshot_open (fixture->store, "s", &error);
  g_assert_no_error (error);
  g_autoptr (StoreMailbox) inbox =
      store_mailbox_open (store, number_of (store, JOE "/INBOX"), &error);
  g_assert_no_error (error);
  auto_fd fd = store_message_open (inbox, 1, &error);
  g_assert_no_error (error);
  size_t size;
  bool known;
  assert_fails (store_message_verify (inbox, 1, fd, NULL, 0, &size, &known, &error), error, EIO);
  /* It is repaired where it lies. */
  heal_flush (fixture->store, NULL, NULL);
  StoreRecord record;
  bool found = false;
  assert_ok (store_queue_pending (fixture->store, store_command_find ("repair"), inbox->number,
                                  &record, &found, &error),
             error);
  g_assert_true (found);
  store_record_clear (&record);
  /* Those that came later, or had gone before, cannot be opened. */
  g_autoptr (StoreMailbox) live = open_named (fixture->store, JOE "/INBOX");
  uint32_t later = deliver (live, "later", 0, NULL);
  g_assert_cmpint (store_message_open (inbox, later, &error), <, 0);
  g_assert_error (error, MAILFS_ERROR, ESTALE);
  g_clear_error (&error);
  g_assert_cmpint (store_message_open (inbox, 2, &error), <, 0);
  g_assert_error (error, MAILFS_ERROR, ESTALE);
}

static void
test_dropped (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *before = NULL;
  make_store (fixture->store);
  take (fixture, "s", &before);
  g_autoptr (Store) store = store_snapshot_open (fixture->store, "s", &error);
  g_assert_no_error (error);
  uint32_t number = number_of (store, JOE "/INBOX");
  g_autoptr (StoreMailbox) inbox = store_mailbox_open (store, number, &error);
  g_assert_no_error (error);
  assert_ok (store_snapshot_rename (fixture->store, "s", "t", &error), error);
  g_autofree char *renamed = dump_store (store);
  assert_same_dump ("renamed", renamed, before);
  assert_ok (store_snapshot_drop (fixture->store, "t", &error), error);
  /* One of the same name is another. */
  assert_ok (store_snapshot_take (fixture->store, "t", NULL, &error), error);

  StoreNode nodes[4];
  StoreMessage messages[4];
  StoreMailboxInfo info;
  StoreNodeTimes times;
  StoreStatus status;
  size_t count;
  bool found;
  assert_fails (store_node_get (store, number, nodes, &error), error, ESTALE);
  assert_fails (store_node_find (store, 0, "example.com", nodes, &found, &error), error, ESTALE);
  assert_fails (store_node_children (store, 0, NULL, nodes, 4, &count, &error), error, ESTALE);
  assert_fails (store_node_times (store, number, &times, &error), error, ESTALE);
  assert_fails (store_node_path (store, number, &error) != NULL, error, ESTALE);
  assert_fails (store_mailbox_page (inbox, 0, messages, 4, &count, &error), error, ESTALE);
  assert_fails (store_message_find (inbox, 1, messages, &found, &error), error, ESTALE);
  assert_fails (store_message_open (inbox, 1, &error) >= 0, error, ESTALE);
  assert_fails (store_mailbox_info (inbox, &info, &error), error, ESTALE);
  assert_fails (store_status (store, &status, &error), error, ESTALE);
  char *bytes = NULL;
  size_t size = 0;
  FILE *out = open_memstream (&bytes, &size);
  assert_fails (store_export_write (store, STORE_ROOT, out, &error), error, ESTALE);
  fclose (out);
  free (bytes);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/past/read-only", test_read_only);
  add_test ("/past/commands", test_commands);
  add_test ("/past/damage", test_damage);
  add_test ("/past/dropped", test_dropped);
  return g_test_run ();
}
