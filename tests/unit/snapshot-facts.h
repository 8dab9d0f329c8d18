/* SPDX-License-Identifier: Apache-2.0 */
/* What a store shows of what a test put there, as text that the test can make, too: names, UIDs,
 * flags, dates and bytes. store-dump.h has all the rest. */
#pragma once

#include "tests/unit/store-dump.h"

/* The messages of a mailbox, a line each; the bytes are those of their files. */
static inline void
facts_of_messages (GString *text, StoreMailbox *mailbox)
{
  StoreMessage page[7];
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    g_autoptr (GError) error = NULL;
    assert_ok (store_mailbox_page (mailbox, after, page, G_N_ELEMENTS (page), &count, &error),
               error);
    for (size_t i = 0; i < count; i++) {
      after = page[i].uid;
      auto_fd fd = store_message_open (mailbox, after, &error);
      g_assert_no_error (error);
      g_autofree uint8_t *bytes = g_malloc (page[i].size + 1);
      g_assert_cmpint (read (fd, bytes, page[i].size + 1), ==, page[i].size);
      g_autofree char *sha = g_compute_checksum_for_data (G_CHECKSUM_SHA256, bytes, page[i].size);
      g_autofree char *flags = store_flags_to_string (page[i].flags, page[i].keywords);
      g_string_append_printf (text, "  %u %" G_GINT64_FORMAT " [%s] %.12s\n", after,
                              page[i].internal_s, flags, sha);
    }
    store_messages_clear (page, count);
  }
}

static inline void
facts_of_node (GString *text, Store *store, const StoreNode *node)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = store_node_path (store, node->number, &error);
  g_assert_no_error (error);
  g_string_append_printf (text, "%s #%u%s%s %s", path, node->number,
                          node->subscribed ? " subscribed" : "", node->no_index ? " off" : "",
                          node->special_use != NULL ? node->special_use : "-");
  if (node->kind == STORE_NODE_MAILBOX) {
    StoreMailboxInfo info;
    g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, node->number, &error);
    g_assert_no_error (error);
    assert_ok (store_mailbox_info (mailbox, &info, &error), error);
    g_string_append_printf (text, " %u\n", info.uidvalidity);
    facts_of_messages (text, mailbox);
  } else {
    g_string_append_c (text, '\n');
  }
}

static inline void
facts_below (GString *text, Store *store, uint32_t parent)
{
  StoreNode page[64];
  g_autofree char *after = NULL;
  for (size_t count = 1; count > 0;) {
    g_autoptr (GError) error = NULL;
    assert_ok (
        store_node_children (store, parent, after, page, G_N_ELEMENTS (page), &count, &error),
        error);
    g_free (after);
    after = count > 0 ? g_strdup (page[count - 1].name) : NULL;
    for (size_t i = 0; i < count; i++) {
      facts_of_node (text, store, &page[i]);
      facts_below (text, store, page[i].number);
    }
    store_nodes_clear (page, count);
  }
}

static inline char *
facts_of_store (Store *store)
{
  GString *text = g_string_new (NULL);
  facts_below (text, store, STORE_ROOT);
  return g_string_free (text, FALSE);
}

/* Prints the lines in which they differ, and fails. */
static inline void
assert_same_text (const char *what, const char *is, const char *wanted)
{
  if (strcmp (is, wanted) == 0)
    return;
  g_auto (GStrv) lines = g_strsplit (is, "\n", -1), others = g_strsplit (wanted, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++) {
    if (!g_strv_contains ((const char *const *)others, lines[i]))
      g_printerr ("# %s: is     %s\n", what, lines[i]);
  }
  for (guint i = 0; others[i] != NULL; i++) {
    if (!g_strv_contains ((const char *const *)lines, others[i]))
      g_printerr ("# %s: wanted %s\n", what, others[i]);
  }
  g_error ("%s is not what it should be", what);
}
