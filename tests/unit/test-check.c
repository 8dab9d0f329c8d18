/* SPDX-License-Identifier: Apache-2.0 */
/* check and the census: what they notice, and what it costs. */
#include "store/check.h"
#include "store/scan.h"
#include "tests/unit/test-store.h"

/* Sanitizers keep what was freed. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif

static StoreStatus
count_store (Store *store)
{
  g_autoptr (GError) error = NULL;
  StoreStatus status;
  assert_ok (store_status (store, &status, &error), error);
  return status;
}

/* A message that somebody took away shows in the figures, although nobody told the index. */
static void
test_census_looks_at_directories (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "joe@example.com/Other");
  for (unsigned i = 0; i < 3; i++)
    deliver (inbox, "one", 0, NULL);
  deliver (other, "two", 0, NULL);
  StoreStatus status = count_store (fixture->store);
  g_assert_cmpuint (status.messages, ==, 4);
  g_assert_cmpuint (status.mailboxes, ==, 2);
  g_assert_cmpuint (status.behind, ==, 0);
  run_in (fixture, "rm mail/example.com/user/joe/INBOX/0000000002.eml", "");
  status = count_store (fixture->store);
  g_assert_cmpuint (status.messages, ==, 3);
  g_assert_cmpuint (status.behind, ==, 1);
  store_job_free (run_job (fixture->store, "reconstruct recursive"));
  status = count_store (fixture->store);
  g_assert_cmpuint (status.messages, ==, 3);
  g_assert_cmpuint (status.behind, ==, 0);
}

/* ---- what is clean ------------------------------------------------------------------------- */

static bool
keep_item (ScanItem *item, void *items, GError **error)
{
  g_ptr_array_add (items, item);
  return true;
}

static GPtrArray *
read_all (StoreMailbox *mailbox)
{
  g_autoptr (GError) error = NULL;
  GPtrArray *items = g_ptr_array_new_with_free_func ((GDestroyNotify)scan_item_free);
  g_autoptr (Scan) scan = scan_new (NULL, SCAN_READ_ALL, keep_item, items);
  g_autoptr (ScanMailbox) scanned G_GNUC_UNUSED = scan_mailbox (scan, mailbox, &error);
  g_assert_no_error (error);
  assert_ok (scan_drain (scan, &error), error);
  return items;
}

static unsigned
count_clean (StoreMailbox *mailbox)
{
  g_autoptr (GPtrArray) items = read_all (mailbox);
  unsigned clean = 0;
  for (guint i = 0; i < items->len; i++)
    clean += scan_item_is_clean (items->pdata[i]);
  return clean;
}

/* Whatever check has something to say about is not clean, and nothing else. */
static void
test_clean (Fixture *fixture, gconstpointer data)
{
  static const char *const ways[] = {
      "touch -d @1500000000 0000000001.eml",
      "printf x >> 0000000002.eml && touch -d @1600000000 0000000002.eml",
      "sed -i s/example/exumple/ 0000000003.eml && touch -d @1600000000 0000000003.eml",
      "setfattr -x user.mailfs.state 0000000004.eml",
      "setfattr -n user.mailfs.state -v nonsense 0000000005.eml",
      "mkdir -p .expunged && mv 0000000006.eml .expunged",
      "rm 0000000007.eml",
      "cp 0000000001.eml 0000000100.eml",
  };
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  for (unsigned i = 1; i <= 10; i++)
    deliver (inbox, "one", i % 2, i % 3 == 0 ? "Work" : NULL);
  g_assert_cmpuint (count_clean (inbox), ==, 10);
  unsigned clean = 10;
  for (guint i = 0; i < G_N_ELEMENTS (ways); i++) {
    run_in (fixture, "cd mail/example.com/user/joe/INBOX && ", ways[i]);
    clean -= i < 7;
    g_test_message ("%s", ways[i]);
    g_assert_cmpuint (count_clean (inbox), ==, clean);
  }
  g_autoptr (StoreJob) job = run_job (fixture->store, "check full");
  const GPtrArray *findings = store_job_findings (job);
  bool named[101] = {false};
  for (guint i = 0; i < findings->len; i++)
    named[((StoreFinding *)findings->pdata[i])->uid] = true;
  for (guint uid = 1; uid <= 100; uid++)
    g_assert_cmpint (named[uid], ==, uid <= 7 || uid == 100);
}

/* A mailbox that has gone from the list meanwhile, as one whose number turns out to be another
 * one's, does not keep the rest from being looked at. */
static void
test_unlisted (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (GArray) numbers = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  uint32_t asked[] = {4711, inbox->number};
  deliver (inbox, "one", 0, NULL);
  run_in (fixture, "rm mail/example.com/user/joe/INBOX/0000000001.eml", "");
  g_array_append_vals (numbers, asked, G_N_ELEMENTS (asked));
  g_autoptr (StoreJob) job =
      store_job_new (fixture->store, request_new (store_command_find ("check")));
  assert_ok (check_messages (job, inbox->owner, numbers, false, &error), error);
  const GPtrArray *findings = store_job_findings (job);
  g_assert_cmpuint (findings->len, ==, 2);
  const StoreFinding *unlisted = findings->pdata[0], *gone = findings->pdata[1];
  g_assert_cmpint (unlisted->problem, ==, STORE_PROBLEM_NOTE);
  g_assert_cmpuint (unlisted->number, ==, 4711);
  g_assert_cmpint (gone->problem, ==, STORE_PROBLEM_NO_FILE);
}

/* ---- memory -------------------------------------------------------------------------------- */

#ifndef SANITIZED
/* Bytes that the process held at most, since the last call. */
static uint64_t
peak_memory (void)
{
  g_autofree char *status = NULL;
  g_assert_true (g_file_get_contents ("/proc/self/status", &status, NULL, NULL));
  const char *line = strstr (status, "VmHWM:");
  g_assert_nonnull (line);
  FILE *clear = fopen ("/proc/self/clear_refs", "w");
  g_assert_nonnull (clear);
  fputs ("5", clear);
  fclose (clear);
  return g_ascii_strtoull (line + strlen ("VmHWM:"), NULL, 10) * 1024;
}

/* A clean message is forgotten as soon as it was read. */
static void
test_memory (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (GString) text = g_string_new ("Subject: many\r\nTo: a@b.example");
  for (unsigned i = 0; i < 800; i++)
    g_string_append_printf (text, ",\r\n recipient%u@example.org", i);
  g_string_append (text, "\r\n\r\nBody.\r\n");
  for (unsigned batch = 0; batch < 20; batch++) {
    StoreDraft *drafts[100];
    for (guint i = 0; i < 100; i++) {
      StoreFacts facts = {.internal_s = 1600000000};
      drafts[i] = store_draft_new (fixture->store, &facts, &error);
      assert_ok (store_draft_write (drafts[i], text->str, text->len, &error), error);
      assert_ok (store_draft_finish (drafts[i], inbox, &error), error);
    }
    assert_ok (store_mailbox_append (inbox, drafts, 100, STORE_APPEND_BULK, &error), error);
    for (guint i = 0; i < 100; i++)
      store_draft_free (drafts[i]);
  }
  store_job_free (run_job (fixture->store, "check"));
  peak_memory ();
  uint64_t before = peak_memory ();
  g_autoptr (StoreJob) job = run_job (fixture->store, "check full");
  uint64_t grown = peak_memory () - before;
  g_test_message ("check --full took %" G_GUINT64_FORMAT " KB", grown / 1024);
  g_assert_cmpuint (store_job_findings (job)->len, ==, 0);
  g_assert_cmpuint (grown, <, 32 << 20);
}
#endif

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/status/looks-at-directories", test_census_looks_at_directories);
  add_test ("/check/clean", test_clean);
  add_test ("/check/unlisted", test_unlisted);
#ifndef SANITIZED
  add_test ("/check/memory", test_memory);
#endif
  return g_test_run ();
}
