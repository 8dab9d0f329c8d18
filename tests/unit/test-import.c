/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/source-dump.h"
#include "tests/unit/test-store.h"

#include <sys/mount.h>

/* Imports `file` of a tree. The result's counts as "seen imported known failed mailboxes changed".
 */
static char *
import_with (Store *store, StoreImport request, const char *root, const char *file, int code)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreImportResult) result = {0};
  g_autofree char *source = g_build_filename (root, file, NULL);
  request.source = source;
  bool ok = store_import (store, &request, NULL, NULL, &result, &error);
  g_assert_cmpint (error != NULL ? error->code : 0, ==, code);
  g_assert_cmpint (ok, ==, code == 0);
  GString *text = g_string_new (NULL);
  g_string_printf (text,
                   "%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                   result.seen, result.imported, result.known, result.failed, result.mailboxes,
                   result.uids_changed);
  if (result.warnings != NULL)
    dump_warnings (text, result.warnings, root);
  return g_string_free (text, FALSE);
}

#define import(store, format_, target_, root, file, expected)                                      \
  G_STMT_START                                                                                     \
  {                                                                                                \
    StoreImport request_ = {.format = format_, .target = target_};                                 \
    g_autofree char *got_ = import_with (store, request_, root, file, 0);                          \
    g_assert_cmpstr (got_, ==, expected);                                                          \
  }                                                                                                \
  G_STMT_END

/* UIDVALIDITY, next UID and the messages of a mailbox: "UID size [flags] @date". */
static char *
list (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (store, spelling, &node, &error), error);
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, node.number, &error);
  g_assert_no_error (error);
  GString *text = g_string_new (NULL);
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (mailbox, &info, &error), error);
  g_string_append_printf (text, "%u %u\n", info.uidvalidity < 1000000 ? info.uidvalidity : 0,
                          info.uidnext);
  StoreMessage page[8];
  size_t count;
  for (uint32_t after = 0;; after = page[count - 1].uid, store_messages_clear (page, count)) {
    assert_ok (store_mailbox_page (mailbox, after, page, G_N_ELEMENTS (page), &count, &error),
               error);
    for (size_t i = 0; i < count; i++) {
      g_autofree char *flags = store_flags_to_string (page[i].flags, page[i].keywords);
      g_string_append_printf (text, "%u %" PRIu64 " [%s] @%" PRId64 "\n", page[i].uid, page[i].size,
                              flags, page[i].internal_s);
    }
    if (count == 0)
      break;
  }
  return g_string_free (text, FALSE);
}

static void
assert_listed (Store *store, const char *spelling, const char *expected)
{
  g_autofree char *listed = list (store, spelling);
  g_assert_cmpstr (listed, ==, expected);
}

static char *
make_maildir (void)
{
  char *root = tree_new ();
  tree_write (root, "cur/1.a:2,S", "1", 100);
  tree_write (root, "cur/2.b:2,FRa", "22", 200);
  tree_write (root, "new/3.c", "333", 300);
  tree_write (root, "dovecot-keywords", "0 todo\n", 1);
  tree_write (root, "dovecot-uidlist", "3 V4711 N9\n3 :1.a\n5 :2.b\n8 :3.c\n", 1);
  tree_write (root, ".Sent.Old/cur/4.d:2,", "4444", 400);
  tree_mkdir (root, ".Empty/cur");
  return root;
}

static void
test_maildir (Fixture *fixture, gconstpointer data)
{
  auto_tree root = make_maildir ();
  import (fixture->store, "maildir", "joe@example.org", root, "", "4 4 0 0 3 0\n");
  static const char inbox[] = "4711 9\n3 1 [\\Seen] @100\n5 2 [\\Answered \\Flagged todo] @200\n"
                              "8 3 [] @300\n";
  assert_listed (fixture->store, "joe@example.org/INBOX", inbox);
  assert_listed (fixture->store, "joe@example.org/Sent/Old", "0 2\n1 4 [] @400\n");
  assert_listed (fixture->store, "joe@example.org/Empty", "0 1\n");
  import (fixture->store, "maildir", "joe@example.org", root, "", "4 0 4 0 3 0\n");
  assert_listed (fixture->store, "joe@example.org/INBOX", inbox);
  assert_clean (fixture->store);
}

/* The source goes on living, and the import is run again. */
static void
test_again (Fixture *fixture, gconstpointer data)
{
  auto_tree root = make_maildir ();
  import (fixture->store, "maildir", "joe@example.org", root, "", "4 4 0 0 3 0\n");
  tree_rename (root, "cur/1.a:2,S", "cur/1.a:2,ST");
  tree_write (root, "new/9.x", "new", 900);
  tree_write (root, "new/9.y", "new", 901); /* the same bytes twice */
  tree_write (root, "new/9.z", "1", 902);   /* and those of an old one */
  tree_write (root, "dovecot-uidlist",
              "3 V4711 N14\n3 :1.a\n5 :2.b\n8 :3.c\n11 :9.x\n12 :9.y\n13 :9.z\n", 1);
  import (fixture->store, "maildir", "joe@example.org", root, "", "7 3 4 0 3 0\n");
  assert_listed (fixture->store, "joe@example.org/INBOX",
                 "4711 14\n3 1 [\\Seen] @100\n5 2 [\\Answered \\Flagged todo] @200\n8 3 [] @300\n"
                 "11 3 [] @900\n12 3 [] @901\n13 1 [] @902\n");
  import (fixture->store, "maildir", "joe@example.org", root, "", "7 0 7 0 3 0\n");
  assert_clean (fixture->store);
}

/* The source has given out UIDs above those of its messages. */
static void
test_uidnext (Fixture *fixture, gconstpointer data)
{
  auto_tree root = tree_new ();
  tree_write (root, "cur/1.a:2,S", "1", 100);
  tree_write (root, "dovecot-uidlist", "3 V4711 N9\n3 :1.a\n", 1);
  tree_mkdir (root, ".Empty/cur");
  tree_write (root, ".Empty/dovecot-uidlist", "3 V4712 N30\n", 1);
  import (fixture->store, "maildir", "joe@example.org", root, "", "1 1 0 0 2 0\n");
  assert_listed (fixture->store, "joe@example.org/INBOX", "4711 9\n3 1 [\\Seen] @100\n");
  assert_listed (fixture->store, "joe@example.org/Empty", "4712 30\n");
  assert_clean (fixture->store);
}

static void
test_into_mailbox (Fixture *fixture, gconstpointer data)
{
  auto_tree root = make_maildir ();
  import (fixture->store, "maildir", "joe@example.org/Old mail", root, "", "4 4 0 0 3 0\n");
  assert_listed (fixture->store, "joe@example.org/Old mail/Sent/Old", "0 2\n1 4 [] @400\n");
  g_autofree char *listed = list (fixture->store, "joe@example.org/Old mail");
  g_assert_true (g_str_has_prefix (listed, "4711 "));
}

/* INBOX has one spelling, and two folders may be one mailbox. */
static void
test_inbox (Fixture *fixture, gconstpointer data)
{
  auto_tree root = tree_new ();
  tree_write (root, "1.eml", "x", 1);
  tree_write (root, "Inbox/2.eml", "x", 2);
  tree_write (root, "Inbox/3.eml", "yy", 3);
  import (fixture->store, "eml", "joe@example.org", root, "", "3 3 0 0 1 0\n");
  import (fixture->store, "eml", "joe@example.org", root, "", "3 0 3 0 1 0\n");
  assert_listed (fixture->store, "joe@example.org/INBOX", "0 4\n1 1 [] @1\n2 1 [] @2\n3 2 [] @3\n");
}

/* UIDs of another UIDVALIDITY mean nothing in a mailbox that has mail. */
static void
test_other_uidvalidity (Fixture *fixture, gconstpointer data)
{
  auto_tree root = make_maildir ();
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.org/INBOX");
  deliver (inbox, "before", 0, NULL);
  import (fixture->store, "maildir", "joe@example.org", root, "", "4 4 0 0 3 3\n");
  g_autofree char *listed = list (fixture->store, "joe@example.org/INBOX");
  g_assert_true (g_str_has_suffix (listed, "2 1 [\\Seen] @100\n"
                                           "3 2 [\\Answered \\Flagged todo] @200\n"
                                           "4 3 [] @300\n"));
}

static void
test_mbox (Fixture *fixture, gconstpointer data)
{
  import (fixture->store, "mbox", "ada@example.org", TEST_DATA "/mbox", "sample.mbox",
          "2 2 0 0 1 0\n! /sample.mbox: 1 lines begin with '>From '; they stay as they are, unless "
          "read as mboxrd\n");
  g_autofree char *listed = list (fixture->store, "ada@example.org/INBOX");
  g_assert_cmpstr (listed, ==,
                   "0 4\n1 190 [\\Seen] @1717401600\n3 242 [\\Answered \\Seen todo] "
                   "@1717407000\n");
}

static void
test_dry_run (Fixture *fixture, gconstpointer data)
{
  auto_tree root = make_maildir ();
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  StoreImport request = {.format = "maildir", .target = "joe@example.org", .dry_run = true};
  g_autofree char *first = import_with (fixture->store, request, root, "", 0);
  g_assert_cmpstr (first, ==, "4 4 0 0 3 0\n");
  assert_fails (store_node_resolve (fixture->store, "joe@example.org", &node, &error), error,
                ENOENT);
  import (fixture->store, "maildir", "joe@example.org", root, "", "4 4 0 0 3 0\n");
  tree_write (root, "new/9.x", "new", 900);
  g_autofree char *second = import_with (fixture->store, request, root, "", 0);
  g_assert_cmpstr (second, ==, "5 1 4 0 3 0\n");
}

static void
test_link (Fixture *fixture, gconstpointer data)
{
  auto_tree root = tree_new ();
  tree_write (root, "1.eml", "x", 1);
  g_autofree char *source = g_build_filename (root, "1.eml", NULL);
  g_autofree char *copy =
      g_strconcat (fixture->path, "/mail/example.org/user/joe/INBOX/0000000001.eml", NULL);
  StoreImport request = {.format = "eml", .target = "joe@example.org", .transfer = STORE_LINK};
  g_autofree char *done = import_with (fixture->store, request, root, "", 0);
  g_assert_cmpstr (done, ==, "1 1 0 0 1 0\n");
  struct stat st, linked;
  g_assert_cmpint (stat (source, &st), ==, 0);
  g_assert_cmpint (stat (copy, &linked), ==, 0);
  g_assert_cmpuint (st.st_ino, ==, linked.st_ino);
}

/* A file that has two names in the source would be two messages that share their flags, and one
 * that is in a store already would have two states. */
static void
test_link_names (Fixture *fixture, gconstpointer data)
{
  auto_tree root = tree_new ();
  g_autoptr (GError) error = NULL;
  StoreImport request = {.format = "maildir", .target = "joe@example.org", .transfer = STORE_LINK};
  tree_write (root, "cur/1.a:2,", "twice", 1);
  tree_write (root, "cur/3.c:2,", "once", 3);
  g_autofree char *first = g_build_filename (root, "cur/1.a:2,", NULL);
  g_autofree char *second = g_build_filename (root, "cur/2.b:2,", NULL);
  g_assert_cmpint (link (first, second), ==, 0);
  g_autofree char *done = import_with (fixture->store, request, root, "", 0);
  g_assert_cmpstr (done, ==, "3 3 0 0 1 0\n");
  request.target = "ben@example.org";
  g_autofree char *again = import_with (fixture->store, request, root, "", 0);
  g_assert_cmpstr (again, ==, "3 3 0 0 1 0\n");

  struct stat st;
  g_assert_cmpint (stat (first, &st), ==, 0);
  g_assert_cmpuint (st.st_nlink, ==, 2);
  const uint32_t uids[] = {1, 3};
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.org/INBOX");
  assert_ok (store_message_flag (inbox, uids, 2, STORE_FLAGS_ADD, STORE_FLAG_FLAGGED, NULL, &error),
             error);
  assert_clean (fixture->store);
  g_autoptr (StoreJob) job G_GNUC_UNUSED = run_job (fixture->store, "reconstruct");
  assert_listed (fixture->store, "joe@example.org/INBOX",
                 "0 4\n1 5 [\\Flagged] @1\n2 5 [] @1\n3 4 [\\Flagged] @3\n");
  assert_listed (fixture->store, "ben@example.org/INBOX", "0 4\n1 5 [] @1\n2 5 [] @1\n3 4 [] @3\n");
}

/* A folder that cannot be read counts as something that was not brought in. */
static void
test_lost (Fixture *fixture, gconstpointer data)
{
  auto_tree root = make_maildir ();
  tree_write (root, ".Empty/new", "no directory", 1);
  import (fixture->store, "maildir", "joe@example.org", root, "",
          "5 4 0 1 3 0\n! /.Empty: open directory new: Not a directory\n");
}

/* UIDs that would leave none to give out do not stop what comes behind them. */
static void
test_last_uids (Fixture *fixture, gconstpointer data)
{
  auto_tree root = make_maildir ();
  tree_write (root, "dovecot-uidlist", "3 V4711 N4026531840\n3 :1.a\n4026531839 :gone\n", 1);
  for (int i = 0; i < 2; i++) {
    StoreImport request = {.format = "maildir", .target = "joe@example.org"};
    g_autofree char *got = import_with (fixture->store, request, root, "", 0);
    g_assert_true (g_str_has_prefix (got, i == 0 ? "4 4 0 0 3 0\n" : "4 0 4 0 3 0\n"));
  }
  assert_listed (fixture->store, "joe@example.org/Sent/Old", "0 2\n1 4 [] @400\n");
}

/* Two imports at the same time would each miss what the other brings. */
static bool
import_meanwhile (const StoreProgress *progress, void *user_data)
{
  const StoreImport *request = user_data;
  g_autoptr (GError) error = NULL;
  g_auto (StoreImportResult) result = {0};
  g_autoptr (Store) other = store_open (request->target, 0, &error);
  g_assert_no_error (error);
  StoreImport second = *request;
  second.target = "joe@example.org/Other";
  assert_fails (store_import (other, &second, NULL, NULL, &result, &error), error, EBUSY);
  store_import_result_clear (&result); /* which is told even then */
  second.dry_run = true;
  assert_ok (store_import (other, &second, NULL, NULL, &result, &error), error);
  store_import_result_clear (&result);
  second.dry_run = false;
  second.target = "ben@example.org";
  assert_ok (store_import (other, &second, NULL, NULL, &result, &error), error);
  return true;
}

static void
test_together (Fixture *fixture, gconstpointer data)
{
  auto_tree root = make_maildir ();
  g_autoptr (GError) error = NULL;
  g_auto (StoreImportResult) result = {0};
  StoreImport request = {.format = "maildir", .source = root, .target = "joe@example.org"};
  StoreImport other = request;
  other.target = fixture->path;
  assert_ok (store_import (fixture->store, &request, import_meanwhile, &other, &result, &error),
             error);
  g_assert_cmpuint (result.imported, ==, 4);
  import (fixture->store, "maildir", "joe@example.org", root, "", "4 0 4 0 3 0\n");
}

/* What cannot be brought in does not hold up the rest. */
static void
test_failures (Fixture *fixture, gconstpointer data)
{
  auto_tree root = tree_new ();
  g_autoptr (GString) deep = g_string_new ("1");
  for (int i = 0; i < 60; i++)
    g_string_append_printf (deep, "/%060d", i);
  g_string_append (deep, "/x.eml");
  tree_write (root, "maildir/cur/1.a:2,", "x", 1);
  tree_mkdir (root, "maildir/cur/2.b:2,");
  tree_write (root, "maildir/cur/3.c:2,", "y", 3);
  import (fixture->store, "maildir", "joe@example.org", root, "maildir",
          "3 2 0 1 1 0\n! /maildir/cur/2.b:2,: not a regular file\n");
  tree_write (root, "eml/z.eml", "z", 4);
  g_autofree char *path = g_build_filename ("eml", deep->str, NULL);
  tree_write (root, path, "deep", 5);
  StoreImport request = {.format = "eml", .target = "ben@example.org"};
  g_autofree char *got = import_with (fixture->store, request, root, "eml", 0);
  StoreStatus status;
  g_autoptr (GError) error = NULL;
  assert_ok (store_status (fixture->store, &status, &error), error);
  g_autofree char *counts = g_strdup_printf ("2 1 0 1 %" PRIu64 " 0\n", status.mailboxes - 1);
  g_assert_true (g_str_has_prefix (got, counts));
  g_assert_nonnull (strstr (got, "lies too deep"));
}

static void
test_errors (Fixture *fixture, gconstpointer data)
{
  auto_tree root = make_maildir ();
  static const struct {
    const char *format, *file, *target;
    int code;
  } cases[] = {
      {"elm", "", "joe@example.org", EINVAL},
      {"maildir", "none", "joe@example.org", ENOENT},
      {"mbox", "cur/1.a:2,S", "joe@example.org", EINVAL},
      {"maildir", "", "", EINVAL},
      {"maildir", "", "example.org/user", EINVAL},
  };
  for (size_t i = 0; i < G_N_ELEMENTS (cases); i++) {
    StoreImport request = {.format = cases[i].format, .target = cases[i].target};
    g_free (import_with (fixture->store, request, root, cases[i].file, cases[i].code));
  }
  reopen (fixture, STORE_READ_ONLY);
  StoreImport request = {.format = "maildir", .target = "joe@example.org"};
  g_free (import_with (fixture->store, request, root, "", EROFS));
}

/* ---- interruptions --------------------------------------------------------------------------- */

typedef struct {
  uint64_t stop_at; /* messages that may be read */
  unsigned calls;
  StoreProgress last;
} Watch;

static bool
watch (const StoreProgress *progress, void *user_data)
{
  Watch *self = user_data;
  self->calls++;
  self->last = *progress;
  return progress->done < self->stop_at;
}

static void
make_messages (const char *root, int count, size_t size)
{
  g_autofree char *padding = g_strnfill (size, 'x');
  for (int i = 0; i < count; i++) {
    g_autofree char *path = g_strdup_printf ("%05d.eml", i);
    g_autofree char *content = g_strdup_printf ("Subject: %d\n\n%s\n", i, padding);
    tree_write (root, path, content, 1000 + i);
  }
}

static void
test_cancel (Fixture *fixture, gconstpointer data)
{
  auto_tree root = tree_new ();
  make_messages (root, 2500, 10);
  g_autoptr (GError) error = NULL;
  StoreImport request = {.format = "eml", .source = root, .target = "joe@example.org"};
  g_auto (StoreImportResult) result = {0};
  Watch impatient = {.stop_at = 1};
  bool ok = store_import (fixture->store, &request, watch, &impatient, &result, &error);
  if (!ok)
    g_assert_error (error, MAILFS_ERROR, ECANCELED);
  g_clear_error (&error);

  Watch patient = {.stop_at = UINT64_MAX};
  g_auto (StoreImportResult) rest = {0};
  assert_ok (store_import (fixture->store, &request, watch, &patient, &rest, &error), error);
  g_assert_cmpuint (result.imported + rest.imported, ==, 2500);
  g_assert_cmpuint (rest.known, ==, result.imported);
  g_assert_cmpuint (patient.last.done, ==, 2500);
  g_assert_cmpuint (patient.last.total, ==, 2500);
  g_assert_cmpstr (patient.last.unit, ==, "messages");
  import (fixture->store, "eml", "joe@example.org", root, "", "2500 0 2500 0 1 0\n");
  assert_clean (fixture->store);
}

static void
cancel_at_once (Fixture *fixture, gconstpointer data)
{
  auto_tree root = tree_new ();
  make_messages (root, 1, 10);
  g_autoptr (GError) error = NULL;
  StoreImport request = {.format = "eml", .source = root, .target = "joe@example.org"};
  g_auto (StoreImportResult) result = {0};
  Watch watching = {.stop_at = 0};
  assert_fails (store_import (fixture->store, &request, watch, &watching, &result, &error), error,
                ECANCELED);
  g_assert_cmpuint (watching.calls, ==, 1);
  g_assert_cmpuint (result.imported, ==, 0);
}

/* A full filesystem stops the import; with more room it goes on where it was. */
static void
test_full (void)
{
  auto_tree root = tree_new ();
  auto_tree mountpoint = tree_new ();
  make_messages (root, 3000, 4000);
  if (mount ("none", mountpoint, "tmpfs", 0, "size=9m") < 0) {
    g_test_skip ("cannot mount a small filesystem here");
    return;
  }
  g_autofree char *path = g_build_filename (mountpoint, "store", NULL);
  g_autoptr (GError) error = NULL;
  assert_ok (store_create (path, &error), error);
  Store *store = store_open (path, 0, &error);
  StoreImport request = {.format = "eml", .target = "joe@example.org"};
  g_autofree char *stopped = import_with (store, request, root, "", ENOSPC);
  uint64_t seen = 0, imported = 0;
  g_assert_cmpint (sscanf (stopped, "%" SCNu64 " %" SCNu64, &seen, &imported), ==, 2);
  g_assert_cmpuint (imported, <, 3000);
  g_assert_cmpint (mount ("none", mountpoint, "tmpfs", MS_REMOUNT, "size=99m"), ==, 0);
  g_autofree char *rest = import_with (store, request, root, "", 0);
  g_autofree char *expected =
      g_strdup_printf ("3000 %" PRIu64 " %" PRIu64 " 0 1 0\n", 3000 - imported, imported);
  g_assert_cmpstr (rest, ==, expected);
  store_close (store);
  g_assert_cmpint (umount (mountpoint), ==, 0);
}

/* Files of a Maildir are renamed all the time while it is imported: nothing is lost or doubled. */
static void *
rename_files (void *data)
{
  const char *root = data;
  for (int i = 0; i < 1500; i++) {
    g_autofree char *from = g_strdup_printf ("%s/new/%d.m", root, 1000 + i);
    g_autofree char *to = g_strdup_printf ("%s/cur/%d.m:2,S", root, 1000 + i);
    g_assert_cmpint (rename (from, to), ==, 0);
  }
  return NULL;
}

static void
test_renames (Fixture *fixture, gconstpointer data)
{
  auto_tree root = tree_new ();
  tree_mkdir (root, "cur");
  for (int i = 0; i < 1500; i++) {
    g_autofree char *path = g_strdup_printf ("new/%d.m", 1000 + i);
    g_autofree char *content = g_strdup_printf ("Subject: %d\n\n", i);
    tree_write (root, path, content, 1000 + i);
  }
  GThread *thread = g_thread_new ("rename", rename_files, root);
  import (fixture->store, "maildir", "joe@example.org", root, "", "1500 1500 0 0 1 0\n");
  g_thread_join (thread);
  import (fixture->store, "maildir", "joe@example.org", root, "", "1500 0 1500 0 1 0\n");
  assert_clean (fixture->store);
}

/* A file is renamed after the source has seen it and before it is read. */
static bool
rename_late (const StoreProgress *progress, void *user_data)
{
  const char *root = user_data;
  if (progress->done == 0)
    g_usleep (G_USEC_PER_SEC / 4); /* so that the next call comes with the next message */
  else if (progress->done == 1)
    tree_rename (root, "new/1.a", "cur/1.a:2,S");
  return true;
}

static void
test_renamed_late (Fixture *fixture, gconstpointer data)
{
  auto_tree root = tree_new ();
  g_autoptr (GError) error = NULL;
  StoreImport request = {.format = "maildir", .source = root, .target = "joe@example.org"};
  g_auto (StoreImportResult) result = {0};
  tree_write (root, "new/1.a", "x", 1);
  tree_write (root, "new/2.a", "y", 1);
  tree_mkdir (root, "cur");
  assert_ok (store_import (fixture->store, &request, rename_late, root, &result, &error), error);
  g_assert_cmpuint (result.imported, ==, 2);
  g_autofree char *renamed = g_build_filename (root, "cur/1.a:2,S", NULL);
  g_assert_true (g_file_test (renamed, G_FILE_TEST_EXISTS));
}

/* ---- real mail ------------------------------------------------------------------------------- */

static void
test_corpora (Fixture *fixture, gconstpointer data)
{
  const char *given = g_getenv ("MAILFS_CORPORA");
  g_autofree char *root = g_strdup (given != NULL ? given : TEST_SOURCE "/../shared/corpora");
  if (!g_file_test (root, G_FILE_TEST_IS_DIR)) {
    g_test_skip ("no corpora here");
    return;
  }
  import (fixture->store, "eml", "eml@example.org", root, "eml", "7948 7948 0 0 12 0\n");
  import (fixture->store, "eml", "eml@example.org", root, "eml", "7948 0 7948 0 12 0\n");
  StoreImport request = {.format = "mbox", .target = "mbox@example.org"};
  g_autofree char *first = import_with (fixture->store, request, root, "mbox", 0);
  g_autofree char *second = import_with (fixture->store, request, root, "mbox", 0);
  g_assert_true (g_str_has_prefix (first, "5799 5799 0 0 150 0\n"));
  g_assert_true (g_str_has_prefix (second, "5799 0 5799 0 150 0\n"));
}

int
main (int argc, char **argv)
{
  parse_init ();
  g_test_init (&argc, &argv, NULL);
  add_test ("/import/maildir", test_maildir);
  add_test ("/import/again", test_again);
  add_test ("/import/uidnext", test_uidnext);
  add_test ("/import/into-mailbox", test_into_mailbox);
  add_test ("/import/inbox", test_inbox);
  add_test ("/import/other-uidvalidity", test_other_uidvalidity);
  add_test ("/import/mbox", test_mbox);
  add_test ("/import/dry-run", test_dry_run);
  add_test ("/import/link", test_link);
  add_test ("/import/link-names", test_link_names);
  add_test ("/import/lost", test_lost);
  add_test ("/import/last-uids", test_last_uids);
  add_test ("/import/together", test_together);
  add_test ("/import/failures", test_failures);
  add_test ("/import/errors", test_errors);
  add_test ("/import/cancel", test_cancel);
  add_test ("/import/cancel-at-once", cancel_at_once);
  g_test_add_func ("/import/full", test_full);
  add_test ("/import/renames", test_renames);
  add_test ("/import/renamed-late", test_renamed_late);
  add_test ("/import/corpora", test_corpora);
  return g_test_run ();
}
