/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot shows everything as it was, whatever becomes of the store. Each step changes
 * something, and takes a snapshot before; afterwards all snapshots are held against what the store
 * itself told when they were taken.
 */
#include "store-dump.h"

#include <sys/xattr.h>

/* ---- a store with some of everything ------------------------------------------------------- */

#define JOE   "joe@example.com"
#define LONG_ "joe@example.com/" LONG_NAME
/* Longer than a directory's name can be. */
#define LONG_NAME                                                                                  \
  "a mailbox whose name is far longer than what fits into one directory entry, so that it is cut " \
  "and the whole of it stands in the attribute of its directory, which is where a reader of "      \
  "the mailbox list, and so of a snapshot, has to get it from; that makes more than two hundred "  \
  "and fifty-five bytes"

static uint32_t
number_of (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (store, spelling, &node, &error), error);
  return node.number;
}

static void
fill (Store *store, const char *spelling, unsigned count)
{
  g_autoptr (StoreMailbox) mailbox = open_named (store, spelling);
  for (unsigned i = 0; i < count; i++) {
    g_autofree char *subject = g_strdup_printf ("message %u", i);
    deliver (mailbox, subject, i % 3 == 0 ? STORE_FLAG_SEEN : 0, i % 4 == 0 ? "Blue $Work" : NULL);
  }
}

static void
make_store (Store *store)
{
  g_autoptr (GError) error = NULL;
  static const uint32_t gone[] = {2, 5, 6};
  fill (store, JOE "/INBOX", 12);
  fill (store, JOE "/Archive/2024/May", 3);
  fill (store, JOE "/Archive/2025", 4);
  fill (store, JOE "/zzz", 2);
  fill (store, LONG_, 2);
  fill (store, "ann@example.com/INBOX", 4);
  fill (store, "ann@example.com/Sub/Deep/Deeper", 3);
  fill (store, "bob@example.org/INBOX", 3);
  fill (store, "Public Folders/News@example.com", 3);
  open_named (store, JOE "/Empty/Inside");
  assert_ok (store_mailbox_set_special_use (store, number_of (store, JOE "/zzz"), "\\Sent", &error),
             error);
  assert_ok (store_mailbox_subscribe (store, number_of (store, JOE "/INBOX"), true, &error), error);
  assert_ok (store_user_set_index (store, number_of (store, "bob@example.org"), false, &error),
             error);
  g_autoptr (StoreMailbox) inbox = open_named (store, JOE "/INBOX");
  assert_ok (store_mailbox_expunge (inbox, gone, G_N_ELEMENTS (gone), &error), error);
}

static void
expunge (Store *store, const char *spelling, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (store, spelling);
  assert_ok (store_mailbox_expunge (mailbox, &uid, 1, &error), error);
}

static void
take (Fixture *fixture, const char *name, char **out_dump)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_snapshot_take (fixture->store, name, NULL, &error), error);
  *out_dump = dump_store (fixture->store);
}

/* ---- what it is not ------------------------------------------------------------------------- */

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
  uint32_t later = deliver (open_named (fixture->store, JOE "/INBOX"), "later", 0, NULL);
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
  add_test ("/past/damage", test_damage);
  add_test ("/past/dropped", test_dropped);
  return g_test_run ();
}
