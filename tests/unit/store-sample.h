/* SPDX-License-Identifier: Apache-2.0 */
/* A store with some of everything, and what is done to it again and again. */
#pragma once

#include "store-dump.h"

#define JOE   "joe@example.com"
#define LONG_ "joe@example.com/" LONG_NAME
/* Longer than a directory's name can be. */
#define LONG_NAME                                                                                  \
  "a mailbox whose name is far longer than what fits into one directory entry, so that it is cut " \
  "and the whole of it stands in the attribute of its directory, which is where a reader of "      \
  "the mailbox list, and so of a snapshot, has to get it from; that makes more than two hundred "  \
  "and fifty-five bytes"

static inline uint32_t
number_of (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_node_resolve (store, spelling, &node, &error), error);
  return node.number;
}

static inline void
fill (Store *store, const char *spelling, unsigned count)
{
  g_autoptr (StoreMailbox) mailbox = open_named (store, spelling);
  for (unsigned i = 0; i < count; i++) {
    g_autofree char *subject = g_strdup_printf ("message %u", i);
    deliver (mailbox, subject, i % 3 == 0 ? STORE_FLAG_SEEN : 0, i % 4 == 0 ? "Blue $Work" : NULL);
  }
}

static inline void
run_words (Store *store, const char *words)
{
  g_autoptr (StoreJob) job G_GNUC_UNUSED = run_job (store, words);
}

static inline void
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
  fill (store, JOE "/Empty/Inside", 0);
  assert_ok (store_mailbox_set_special_use (store, number_of (store, JOE "/zzz"), "\\Sent", &error),
             error);
  assert_ok (store_mailbox_subscribe (store, number_of (store, JOE "/INBOX"), true, &error), error);
  assert_ok (store_user_set_index (store, number_of (store, "bob@example.org"), false, &error),
             error);
  g_autoptr (StoreMailbox) inbox = open_named (store, JOE "/INBOX");
  assert_ok (store_mailbox_expunge (inbox, gone, G_N_ELEMENTS (gone), &error), error);
}

static inline void
expunge (Store *store, const char *spelling, uint32_t uid)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) mailbox = open_named (store, spelling);
  assert_ok (store_mailbox_expunge (mailbox, &uid, 1, &error), error);
}

static inline void
remove_named (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_mailbox_remove (store, number_of (store, spelling), true, NULL, &error), error);
}

static inline void
take (Fixture *fixture, const char *name, char **out_dump)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_snapshot_take (fixture->store, name, NULL, &error), error);
  *out_dump = dump_store (fixture->store);
}
