/* SPDX-License-Identifier: Apache-2.0 */
/* A private store for a test, and the few things that tests of it do again and again. */
#pragma once

#include "store/arrive.h"
#include "store/jobs.h"

#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define assert_ok(call, error)                                                                     \
  G_STMT_START                                                                                     \
  {                                                                                                \
    bool ok_ = (call);                                                                             \
    g_assert_no_error (error);                                                                     \
    g_assert_true (ok_);                                                                           \
  }                                                                                                \
  G_STMT_END

/* The call fails with this errno and says something; clears the error. */
#define assert_fails(call, error, errno_)                                                          \
  G_STMT_START                                                                                     \
  {                                                                                                \
    bool failed_ = !(call);                                                                        \
    g_assert_true (failed_);                                                                       \
    g_assert_error (error, MAILFS_ERROR, errno_);                                                  \
    g_assert_cmpuint (strlen ((error)->message), >, 0);                                            \
    g_clear_error (&(error));                                                                      \
  }                                                                                                \
  G_STMT_END

typedef struct {
  char *path;
  Store *store;
} Fixture;

static inline void
run (const char *command)
{
  g_autoptr (GError) error = NULL;
  int status = 0;
  char *arguments[] = {(char *)"/bin/sh", (char *)"-c", (char *)command, NULL};
  g_spawn_sync (NULL, arguments, NULL, G_SPAWN_DEFAULT, NULL, NULL, NULL, NULL, &status, &error);
  g_assert_no_error (error);
  g_assert_cmpint (status, ==, 0);
}

static inline void
run_in (const Fixture *fixture, const char *format, const char *what)
{
  g_autofree char *command = g_strdup_printf ("cd '%s' && %s%s", fixture->path, format, what);
  run (command);
}

static inline void
reopen (Fixture *fixture, StoreOpenFlags flags)
{
  g_autoptr (GError) error = NULL;
  g_clear_pointer (&fixture->store, store_close);
  fixture->store = store_open (fixture->path, flags, &error);
  g_assert_no_error (error);
  g_assert_nonnull (fixture->store);
}

static inline void
set_up (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  fixture->path = g_dir_make_tmp ("mailfs-test-XXXXXX", &error);
  g_assert_no_error (error);
  assert_ok (store_create (fixture->path, &error), error);
  reopen (fixture, 0);
}

static inline void
tear_down (Fixture *fixture, gconstpointer data)
{
  g_clear_pointer (&fixture->store, store_close);
  g_autofree char *command = g_strdup_printf ("rm -rf '%s'", fixture->path);
  run (command);
  g_free (fixture->path);
}

static inline StoreMailbox *
open_named (Store *store, const char *spelling)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  assert_ok (store_mailbox_create (store, spelling, &node, &error), error);
  StoreMailbox *mailbox = store_mailbox_open (store, node.number, &error);
  g_assert_no_error (error);
  return mailbox;
}

/* Delivers a small message and returns its UID. Its row is committed: tests look at the index
 * behind the store's back. */
static inline uint32_t
deliver (StoreMailbox *mailbox, const char *subject, uint32_t flags, const char *keywords)
{
  g_autoptr (GError) error = NULL;
  StoreFacts facts = {.flags = flags, .keywords = keywords, .internal_s = 1600000000};
  g_autoptr (StoreDraft) draft = store_draft_new (mailbox->store, &facts, &error);
  g_assert_no_error (error);
  g_autofree char *text = g_strdup_printf (
      "From: a@example.org\r\nSubject: %s\r\n\r\nBody of %s.\r\n", subject, subject);
  assert_ok (store_draft_write (draft, text, strlen (text), &error), error);
  assert_ok (store_draft_finish (draft, mailbox, &error), error);
  assert_ok (store_mailbox_append (mailbox, &draft, 1, 0, &error), error);
  g_assert_cmpuint (store_draft_uid (draft), >, 0);
  delivery_settle (mailbox->store, mailbox->owner, true);
  return store_draft_uid (draft);
}

/* Everything that the view of a mailbox shows, as text. */
static inline char *
dump (StoreMailbox *mailbox)
{
  g_autoptr (GError) error = NULL;
  GString *text = g_string_new (NULL);
  StoreMailboxInfo info;
  assert_ok (store_mailbox_info (mailbox, &info, &error), error);
  g_string_append_printf (text, "%u %u %" G_GUINT64_FORMAT " %u %u %" G_GUINT64_FORMAT "\n",
                          info.uidvalidity, info.uidnext, info.highestmodseq, info.messages,
                          info.unseen, info.bytes);
  StoreMessage page[7];
  size_t count;
  for (uint32_t after = 0;; after = page[count - 1].uid, store_messages_clear (page, count)) {
    assert_ok (store_mailbox_page (mailbox, after, page, G_N_ELEMENTS (page), &count, &error),
               error);
    if (count == 0)
      break;
    for (size_t i = 0; i < count; i++) {
      g_auto (StoreSummary) summary = {0};
      assert_ok (store_message_summary (mailbox, page[i].uid, &summary, &error), error);
      g_autofree char *flags = store_flags_to_string (page[i].flags, page[i].keywords);
      g_string_append_printf (text,
                              "%u %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT
                              " %" G_GUINT64_FORMAT " [%s] %02x%02x %s %s\n",
                              page[i].uid, page[i].size, page[i].internal_s, page[i].changed_ns,
                              page[i].modseq, flags, summary.sha256[0], summary.sha256[31],
                              summary.envelope, summary.bodystructure);
    }
  }
  return g_string_free (text, FALSE);
}

/* The request that words separated by one space make, and a job of it. */
static inline StoreRequest *
parse_words (Store *store, const char *words)
{
  g_autoptr (GError) error = NULL;
  g_auto (GStrv) list = g_strsplit (words, " ", -1);
  StoreRequest *request = store_request_parse (store, (const char *const *)list, &error);
  g_assert_no_error (error);
  return request;
}

static inline StoreJob *
make_job (Store *store, const char *words)
{
  return store_job_new (store, parse_words (store, words));
}

/* The job has run. */
static inline StoreJob *
run_job (Store *store, const char *words)
{
  g_autoptr (GError) error = NULL;
  StoreJob *job = make_job (store, words);
  assert_ok (store_job_run (job, &error), error);
  return job;
}

static inline void
assert_clean (Store *store)
{
  g_autoptr (StoreJob) job = run_job (store, "check");
  const GPtrArray *findings = store_job_findings (job);
  guint count = 0;
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    g_test_message ("%s %s %s", store_problem_name (finding->problem), finding->object,
                    finding->detail);
    count += finding->outcome != STORE_NOTED;
  }
  g_assert_cmpuint (count, ==, 0);
}

#define add_test(name, function) g_test_add (name, Fixture, NULL, set_up, function, tear_down)

/* The row that the index has of a mailbox. */
static inline IndexMailbox
row_of (StoreMailbox *mailbox)
{
  g_autoptr (GError) error = NULL;
  IndexMailbox row = {0};
  bool found;
  g_autoptr (Handle) handle = cache_index (mailbox->store, mailbox->owner, false, &error);
  assert_ok (index_mailbox_get (handle->index, mailbox->number, &row, &found, &error), error);
  return row;
}
