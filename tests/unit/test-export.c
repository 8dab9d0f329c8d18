/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest, which sha256sum(1) is to judge, and the export. */
#include "test-store.h"

#include <stdio.h>

typedef bool (*WriteFunc) (Store *store, uint32_t number, FILE *out, GError **error);

/* What `write` tells of the node, as text. */
static char *
tell (Fixture *fixture, WriteFunc write, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (fixture->store, spelling, &node, &error), error);
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream (&text, &size);
  assert_ok (write (fixture->store, node.number, out, &error), error);
  fclose (out);
  return text;
}

/* Whether sha256sum agrees with a manifest, in `directory` below mail/. */
static void
check_manifest (Fixture *fixture, const char *spelling, const char *directory, unsigned lines)
{
  g_autofree char *text = tell (fixture, store_manifest_write, spelling);
  g_autofree char *path = g_build_filename (fixture->path, "manifest", NULL);
  g_assert_true (g_file_set_contents (path, text, -1, NULL));
  g_autofree char *script =
      g_strdup_printf ("m=$PWD/manifest; cd 'mail/%s' && sha256sum --strict --quiet -c \"$m\" &&"
                       " test $(grep -vc '^#' \"$m\") = %u && rm \"$m\"",
                       directory, lines);
  run_in (fixture, script, "");
}

static void
fill (Fixture *fixture)
{
  static const char *const names[] = {"joe@example.com", "joe@example.com/A\\B/C\nD",
                                      "joe@example.com/INBOX/Fr\303\274h", "ann@example.org"};
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autoptr (StoreMailbox) mailbox = open_named (fixture->store, names[i]);
    g_autofree char *text = g_strdup_printf ("message %zu", i);
    deliver (mailbox, text, 0, NULL);
    deliver (mailbox, "another", STORE_FLAG_SEEN, "$Label1");
  }
}

static void
test_manifest (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  check_manifest (fixture, "", "", 8);
  check_manifest (fixture, "joe@example.com", "example.com/user/joe", 6);
  check_manifest (fixture, "joe@example.com/INBOX", "example.com/user/joe/INBOX", 4);
  g_autofree char *text = tell (fixture, store_manifest_write, "joe@example.com/INBOX");
  g_assert_true (g_str_has_prefix (text, "# store "));
  g_assert_nonnull (strstr (text, "\n# directory /example.com/user/joe/INBOX\n# time 2"));
  g_assert_true (g_str_has_suffix (text, "\n# complete: 4 messages\n"));
  g_autoptr (StoreMailbox) empty G_GNUC_UNUSED = open_named (fixture->store, "zoe@example.org");
  g_autofree char *none = tell (fixture, store_manifest_write, "zoe@example.org");
  g_assert_true (g_str_has_suffix (none, "\n# complete: 0 messages\n"));
}

/* Expunged messages are not in the mount, so not in the manifest either. */
static void
test_manifest_expunged (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  assert_ok (store_mailbox_expunge (inbox, (uint32_t[]){1}, 1, &error), error);
  check_manifest (fixture, "", "", 7);
}

/* Without an index the digests are those of the files. */
static void
test_manifest_files (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  g_autofree char *with = tell (fixture, store_manifest_write, "");
  run_in (fixture, "rm -r index/example.com", "");
  reopen (fixture, STORE_READ_ONLY);
  check_manifest (fixture, "", "", 8);
  g_autofree char *without = tell (fixture, store_manifest_write, "");
  g_autofree char *time = g_strdup (strstr (with, "# time"));
  g_assert_cmpstr (strchr (time, '\n'), ==, strchr (strstr (without, "# time"), '\n'));
}

/* A damaged message: where its digest is known, the line stays and sha256sum tells; where it is
 * not, the manifest is not complete and says so. */
static void
test_manifest_damaged (Fixture *fixture, gconstpointer data)
{
  fill (fixture);
  run_in (fixture, "echo x >>mail/example.com/user/joe/INBOX/0000000002.eml", "");
  g_autoptr (StoreJob) job = run_job (fixture->store, "repair");
  g_autofree char *known = tell (fixture, store_manifest_write, "joe@example.com/INBOX");
  g_assert_nonnull (strstr (known, "\n# damaged 0000000002.eml\n"));
  g_assert_nonnull (strstr (known, "  0000000002.eml\n"));
  g_assert_true (g_str_has_suffix (known, "\n# complete: 4 messages\n"));

  run_in (fixture, "rm -r index/example.com", "");
  reopen (fixture, STORE_READ_ONLY);
  g_autofree char *unknown = tell (fixture, store_manifest_write, "joe@example.com/INBOX");
  g_assert_nonnull (strstr (unknown, "\n# damaged 0000000002.eml\n"));
  g_assert_null (strstr (unknown, "  0000000002.eml\n"));
  g_assert_true (g_str_has_suffix (unknown, "\n# incomplete: 3 of 4 messages\n"));
}

static void
test_export (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  assert_ok (store_mailbox_subscribe (fixture->store, inbox->number, true, &error), error);
  g_autofree char *text = tell (fixture, store_export_write, "joe@example.com");
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_assert_true (g_str_has_prefix (lines[0], "{\"type\":\"store\",\"uuid\":"));
  g_assert_true (g_str_has_prefix (lines[1], "{\"type\":\"directory\",\"path\":\"\",\"number\":"));
  g_assert_true (g_str_has_suffix (lines[1], ",\"index\":true}"));
  g_assert_true (g_str_has_suffix (text, "\n{\"type\":\"end\",\"messages\":6}\n"));
  g_assert_nonnull (strstr (text, "\"path\":\"A\\\\B/C%0AD\",\"name\":\"C\\u000aD\""));
  g_assert_nonnull (strstr (text, "\"path\":\"INBOX/Fr\303\274h/0000000001.eml\",\"uid\":1"));

  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (inbox, &info, &error), error);
  g_autofree char *mailbox =
      g_strdup_printf ("{\"type\":\"mailbox\",\"path\":\"INBOX\",\"name\":\"INBOX\",\"number\":%u,"
                       "\"uidvalidity\":%u,\"uidnext\":3,\"highestmodseq\":%" G_GUINT64_FORMAT
                       ",\"subscribed\":true,\"special_use\":null}",
                       inbox->number, info.uidvalidity, info.highestmodseq);
  g_assert_nonnull (strstr (text, mailbox));
}

/* Every fact of a message, the same with and without an index. */
static void
test_export_message (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  uint32_t uid = deliver (inbox, "two", STORE_FLAG_SEEN | STORE_FLAG_FLAGGED, "$Label1 Zoo");
  g_auto (StoreMessage) message = {0};
  g_auto (StoreSummary) summary = {0};
  bool found;
  assert_ok (store_message_find (inbox, uid, &message, &found, &error), error);
  assert_ok (store_message_summary (inbox, uid, &summary, &error), error);
  g_autofree char *digest = store_digest_string (summary.sha256);
  g_autoptr (GDateTime) date = g_date_time_new_from_unix_utc (message.internal_s);
  g_autofree char *time = g_date_time_format (date, "%Y-%m-%dT%H:%M:%SZ");
  g_autofree char *line = g_strdup_printf (
      "\n{\"type\":\"message\",\"path\":\"0000000001.eml\",\"uid\":1,\"internaldate\":\"%s\","
      "\"flags\":[\"\\\\Flagged\",\"\\\\Seen\"],\"keywords\":[\"$Label1\",\"Zoo\"],"
      "\"modseq\":%" G_GUINT64_FORMAT ",\"size\":%" G_GUINT64_FORMAT
      ",\"damage\":[],\"sha256\":\"%s\"}\n",
      time, message.modseq, message.size, digest);
  g_autofree char *with = tell (fixture, store_export_write, "joe@example.com/INBOX");
  g_assert_nonnull (strstr (with, line));
  g_clear_pointer (&inbox, store_mailbox_unref);
  run_in (fixture, "rm -r index/example.com", "");
  reopen (fixture, STORE_READ_ONLY);
  g_autofree char *without = tell (fixture, store_export_write, "joe@example.com/INBOX");
  g_assert_nonnull (strstr (without, line));
}

static void
test_failures (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fill (fixture);
  FILE *full = fopen ("/dev/full", "we");
  assert_fails (store_manifest_write (fixture->store, 4711, full, &error), error, ENOENT);
  assert_fails (store_manifest_write (fixture->store, STORE_ROOT, full, &error), error, ENOSPC);
  assert_fails (store_export_write (fixture->store, STORE_ROOT, full, &error), error, ENOSPC);
  fclose (full);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/export/manifest", test_manifest);
  add_test ("/export/manifest-expunged", test_manifest_expunged);
  add_test ("/export/manifest-files", test_manifest_files);
  add_test ("/export/manifest-damaged", test_manifest_damaged);
  add_test ("/export/export", test_export);
  add_test ("/export/message", test_export_message);
  add_test ("/export/failures", test_failures);
  return g_test_run ();
}
