/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that the reading functions of a Store tell, as text: of the store as it is, or of a
 * snapshot, which is to be the same. */
#pragma once

#include "test-store.h"

#include <stdlib.h>

static inline void
dump_times (GString *text, Store *store, uint32_t number)
{
  g_autoptr (GError) error = NULL;
  StoreNodeTimes times;
  assert_ok (store_node_times (store, number, &times, &error), error);
  /* Numbers that are given out are noted on the root, too. */
  g_string_append_printf (text, " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %u:%u", times.mtime_ns,
                          number == STORE_ROOT ? 0 : times.ctime_ns, times.uid, times.gid);
}

static inline void
dump_node (GString *text, Store *store, const StoreNode *node)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) got = {0}, found = {0}, resolved = {0};
  bool is_found = false;
  g_autofree char *path = store_node_path (store, node->number, &error);
  g_assert_no_error (error);
  g_autofree char *title = store_node_title (store, node->number, &error);
  g_assert_no_error (error);
  /* Whichever way leads to it. */
  assert_ok (store_node_get (store, node->number, &got, &error), error);
  assert_ok (store_node_find (store, node->parent, node->name, &found, &is_found, &error), error);
  g_assert_true (is_found);
  assert_ok (store_node_resolve (store, path, &resolved, &error), error);
  g_assert_cmpuint (got.number, ==, found.number);
  g_assert_cmpuint (got.number, ==, resolved.number);
  g_assert_cmpstr (got.name, ==, node->name);
  g_assert_cmpuint (got.parent, ==, node->parent);
  g_assert_cmpstr (found.full_name, ==, node->full_name);
  g_string_append_printf (text, "node %s (%s) %u in %u of %u, %d %d %d '%s' '%s' '%s'", path, title,
                          node->number, node->parent, node->owner, node->kind, node->subscribed,
                          node->no_index, node->name, node->full_name ? node->full_name : "-",
                          node->special_use ? node->special_use : "-");
  dump_times (text, store, node->number);
  g_string_append_c (text, '\n');
}

static inline void
dump_message (GString *text, StoreMailbox *mailbox, const StoreMessage *message)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreMessage) found = {0};
  g_auto (StoreSummary) summary = {0};
  bool is_found = false, known = false;
  char buffer[4096];
  size_t size = 0;
  assert_ok (store_message_find (mailbox, message->uid, &found, &is_found, &error), error);
  g_assert_true (is_found);
  g_assert_cmpuint (found.modseq, ==, message->modseq);
  g_assert_cmpuint (found.flags, ==, message->flags);
  g_assert_cmpint (found.changed_ns, ==, message->changed_ns);
  g_assert_cmpstr (found.keywords, ==, message->keywords);
  assert_ok (store_message_summary (mailbox, message->uid, &summary, &error), error);
  auto_fd fd = store_message_open (mailbox, message->uid, &error);
  g_assert_no_error (error);
  assert_ok (store_message_verify (mailbox, message->uid, fd, buffer, sizeof buffer, &size, &known,
                                   &error),
             error);
  g_autofree char *flags = store_flags_to_string (message->flags, message->keywords);
  g_autofree char *bytes = g_compute_checksum_for_data (G_CHECKSUM_MD5, (guchar *)buffer, size);
  g_string_append_printf (text,
                          "  %u %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT
                          " %" G_GUINT64_FORMAT " %u [%s] %s %02x%02x %" G_GINT64_FORMAT " %s %s\n",
                          message->uid, message->size, message->internal_s, message->changed_ns,
                          message->modseq, message->damage, flags, bytes, summary.sha256[0],
                          summary.sha256[31], summary.sent_s, summary.envelope,
                          summary.bodystructure);
}

/* In pages of a few, so that there are several. */
static inline void
dump_mailbox (GString *text, Store *store, uint32_t number)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, number, &error);
  g_assert_no_error (error);
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (mailbox, &info, &error), error);
  g_string_append_printf (text, " info %u %u %" G_GUINT64_FORMAT " %u %u %" G_GUINT64_FORMAT "\n",
                          info.uidvalidity, info.uidnext, info.highestmodseq, info.messages,
                          info.unseen, info.bytes);
  StoreMessage page[5];
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    assert_ok (store_mailbox_page (mailbox, after, page, G_N_ELEMENTS (page), &count, &error),
               error);
    for (size_t i = 0; i < count; i++) {
      g_assert_cmpuint (page[i].uid, >, after);
      after = page[i].uid;
      dump_message (text, mailbox, &page[i]);
    }
    store_messages_clear (page, count);
  }
  g_autoptr (GArray) all = NULL;
  assert_ok (store_uids_parse ("1:*", &all, &error), error);
  g_autoptr (GArray) uids = store_mailbox_uids (mailbox, all, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (uids->len, ==, info.messages);
}

static inline void
dump_below (GString *text, Store *store, uint32_t parent)
{
  g_autoptr (GError) error = NULL;
  StoreNode page[3];
  g_autofree char *after = NULL;
  for (size_t count = 1; count > 0;) {
    assert_ok (
        store_node_children (store, parent, after, page, G_N_ELEMENTS (page), &count, &error),
        error);
    for (size_t i = 0; i < count; i++) {
      g_assert_cmpuint (page[i].parent, ==, parent);
      g_assert_true (after == NULL || strcmp (page[i].name, after) > 0);
      g_free (after);
      after = g_strdup (page[i].name);
      dump_node (text, store, &page[i]);
      if (page[i].kind == STORE_NODE_MAILBOX)
        dump_mailbox (text, store, page[i].number);
      dump_below (text, store, page[i].number);
    }
    store_nodes_clear (page, count);
  }
}

typedef bool (*DumpWriteFunc) (Store *store, uint32_t number, FILE *out, GError **error);

/* What is written of the whole store, without the lines that tell the time. */
static inline void
dump_written (GString *text, Store *store, DumpWriteFunc write)
{
  g_autoptr (GError) error = NULL;
  char *bytes = NULL;
  size_t size = 0;
  FILE *out = open_memstream (&bytes, &size);
  assert_ok (write (store, STORE_ROOT, out, &error), error);
  fclose (out);
  g_auto (GStrv) lines = g_strsplit (bytes, "\n", -1);
  free (bytes);
  for (char **line = lines; *line != NULL; line++) {
    if (!g_str_has_prefix (*line, "# time") && strstr (*line, "\"type\":\"store\"") == NULL)
      g_string_append_printf (text, "%s\n", *line);
  }
}

static inline char *
dump_store (Store *store)
{
  g_autoptr (GError) error = NULL;
  GString *text = g_string_new ("root");
  StoreStatus status;
  dump_times (text, store, STORE_ROOT);
  g_string_append_c (text, '\n');
  dump_below (text, store, STORE_ROOT);
  dump_written (text, store, store_manifest_write);
  dump_written (text, store, store_export_write);
  assert_ok (store_status (store, &status, &error), error);
  g_string_append_printf (text,
                          "status %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT,
                          status.domains, status.users, status.mailboxes);
  g_string_append_printf (text,
                          " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT
                          " %" G_GUINT64_FORMAT "\n",
                          status.messages, status.unseen, status.bytes, status.highestmodseq);
  return g_string_free (text, FALSE);
}

/* Says where two dumps part. */
static inline void
assert_same_dump (const char *what, const char *is, const char *was)
{
  if (strcmp (is, was) == 0)
    return;
  g_auto (GStrv) now = g_strsplit (is, "\n", -1), then = g_strsplit (was, "\n", -1);
  guint line = 0;
  while (g_strcmp0 (now[line], then[line]) == 0)
    line++;
  g_test_message ("%s, line %u:\n is  %s\n was %s", what, line + 1,
                  now[line] != NULL ? now[line] : "(end)",
                  then[line] != NULL ? then[line] : "(end)");
  g_test_fail ();
}
