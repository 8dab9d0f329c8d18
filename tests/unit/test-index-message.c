/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test-index.h"

enum { MAILBOX = 42 };

static void
assert_same (const IndexMessage *one, const IndexMessage *other)
{
  g_assert_cmpuint (one->uid, ==, other->uid);
  g_assert_cmpuint (one->flags, ==, other->flags);
  g_assert_cmpuint (one->damage, ==, other->damage);
  g_assert_cmpuint (one->birth, ==, other->birth);
  g_assert_cmpuint (one->expunged, ==, other->expunged);
  g_assert_cmpuint (one->size, ==, other->size);
  g_assert_cmpuint (one->modseq, ==, other->modseq);
  g_assert_cmpint (one->internal_s, ==, other->internal_s);
  g_assert_cmpint (one->changed_ns, ==, other->changed_ns);
  g_assert_cmpstr (one->keywords, ==, other->keywords);
}

/* Every field comes back as it was, at the ends of its range too. */
static void
test_round_trip (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_index (fixture);
  char keywords[] = "$Forwarded work";
  const IndexMessage messages[] = {
      {.uid = 1},
      {.uid = 2, .keywords = keywords, .internal_s = -1, .changed_ns = INT64_MIN},
      {.uid = UINT32_MAX,
       .flags = UINT32_MAX,
       .damage = UINT32_MAX,
       .birth = UINT32_MAX,
       .expunged = UINT32_MAX,
       .size = INT64_MAX,
       .modseq = INT64_MAX,
       .internal_s = INT64_C (1) << 34,
       .changed_ns = INT64_MAX},
  };
  g_autoptr (IndexWrite) write = begin (index);
  put_mailbox (write, MAILBOX);
  for (size_t i = 0; i < G_N_ELEMENTS (messages); i++)
    put_message (write, MAILBOX, &messages[i]);
  commit (write);

  for (size_t i = 0; i < G_N_ELEMENTS (messages); i++) {
    g_auto (IndexMessage) message = {0};
    bool found = false;
    index_message_get (index, MAILBOX, messages[i].uid, &message, &found, &error);
    g_assert_no_error (error);
    g_assert_true (found);
    assert_same (&message, &messages[i]);
  }
  g_assert_cmpuint (get_mailbox (index, MAILBOX).uidnext, ==, UINT32_MAX); /* not 0 */
}

static void
test_absent (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, MAILBOX, 3);
  IndexMessage message = {.uid = 99};
  IndexSummary summary = {.sent_s = 99};
  uint64_t size = 99;
  uint8_t sha256[32] = {99};
  bool found = true;
  g_assert_true (index_message_get (index, MAILBOX, 4, &message, &found, &error));
  g_assert_false (found);
  found = true;
  g_assert_true (index_summary_get (index, MAILBOX + 1, 1, &summary, &found, &error));
  g_assert_false (found);
  found = true;
  g_assert_true (index_digest_get (index, MAILBOX - 1, 1, &size, sha256, &found, &error));
  g_assert_false (found);
  g_assert_no_error (error);
  g_assert_cmpuint (message.uid, ==, 99);
  g_assert_cmpint (summary.sent_s, ==, 99);
  g_assert_cmpuint (size, ==, 99);
  g_assert_cmpuint (sha256[0], ==, 99);
}

static void
test_summary (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, MAILBOX, 1);
  g_autofree char *envelope = g_strnfill (100000, 'e');
  char bodystructure[] = "(\"TEXT\" \"PLAIN\" \xff\xfe \"8-bit\")"; /* not UTF-8 */
  IndexSummary given = {.sent_s = INT64_MIN, .envelope = envelope, .bodystructure = bodystructure};
  memset (given.sha256, 0xab, sizeof given.sha256);

  g_autoptr (IndexWrite) write = begin (index);
  IndexMessage message = make_message (2);
  g_assert_true (index_write_message (write, MAILBOX, &message, &given, &error));
  message.flags = INDEX_FLAG_FLAGGED;
  g_assert_true (index_write_message (write, MAILBOX, &message, NULL, &error)); /* keeps it */
  commit (write);

  g_auto (IndexSummary) summary = {0};
  bool found = false;
  g_assert_true (index_summary_get (index, MAILBOX, 2, &summary, &found, &error));
  g_assert_true (found);
  g_assert_cmpmem (summary.sha256, 32, given.sha256, 32);
  g_assert_cmpint (summary.sent_s, ==, INT64_MIN);
  g_assert_cmpstr (summary.envelope, ==, envelope);
  g_assert_cmpstr (summary.bodystructure, ==, bodystructure);

  uint64_t size;
  uint8_t sha256[32];
  g_assert_true (index_digest_get (index, MAILBOX, 2, &size, sha256, &found, &error));
  g_assert_true (found);
  g_assert_cmpuint (size, ==, 1002);
  g_assert_cmpmem (sha256, 32, given.sha256, 32);

  g_auto (IndexSummary) first = {0};
  g_assert_true (index_summary_get (index, MAILBOX, 1, &first, &found, &error));
  g_assert_true (found);
  g_assert_cmpint (first.sent_s, ==, 1600000001);
}

/* A message without a summary has a row, but neither digest nor texts. */
static void
test_no_summary (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, MAILBOX, 0);
  g_autoptr (IndexWrite) write = begin (index);
  IndexMessage message = make_message (1);
  g_assert_true (index_write_message (write, MAILBOX, &message, NULL, &error));
  commit (write);
  IndexSummary summary;
  uint64_t size;
  uint8_t sha256[32];
  bool found = true;
  g_assert_true (index_summary_get (index, MAILBOX, 1, &summary, &found, &error));
  g_assert_false (found);
  found = true;
  g_assert_true (index_digest_get (index, MAILBOX, 1, &size, sha256, &found, &error));
  g_assert_false (found);
  g_assert_cmpuint (get_mailbox (index, MAILBOX).messages, ==, 1);
}

/* Reads a mailbox page by page; returns how many there were. */
static uint32_t
walk (Index *index, IndexWhich which, size_t capacity)
{
  g_autoptr (GError) error = NULL;
  IndexMessage page[8];
  uint32_t count = 0, after = 0;
  for (;;) {
    size_t got = 99;
    index_message_page (index, MAILBOX, after, which, page, capacity, &got, &error);
    g_assert_no_error (error);
    g_assert_cmpuint (got, <=, capacity);
    for (size_t i = 0; i < got; i++) {
      g_assert_cmpuint (page[i].uid, >, after);
      after = page[i].uid;
    }
    index_messages_clear (page, got);
    count += (uint32_t)got;
    if (got == 0)
      return count;
  }
}

static void
test_pages (Fixture *fixture, const void *data)
{
  g_autoptr (Index) index = open_filled_index (fixture, MAILBOX, 50);
  g_autoptr (IndexWrite) write = begin (index);
  /* Neighbours on both sides, which no page of this mailbox may show. */
  IndexMessage last = make_message (UINT32_MAX), first = make_message (1);
  put_mailbox (write, MAILBOX - 1);
  put_mailbox (write, MAILBOX + 1);
  put_message (write, MAILBOX - 1, &last);
  put_message (write, MAILBOX + 1, &first);
  for (uint32_t uid = 1; uid <= 50; uid += 5) {
    IndexMessage message = make_message (uid);
    message.expunged = 4;
    put_message (write, MAILBOX, &message);
  }
  commit (write);

  for (size_t capacity = 1; capacity <= 8; capacity++) {
    g_assert_cmpuint (walk (index, INDEX_LIVE, capacity), ==, 40);
    g_assert_cmpuint (walk (index, INDEX_EXPUNGED, capacity), ==, 10);
    g_assert_cmpuint (walk (index, INDEX_LIVE | INDEX_EXPUNGED, capacity), ==, 50);
    g_assert_cmpuint (walk (index, 0, capacity), ==, 0);
  }
}

static void
count_digest (uint32_t uid, const uint8_t sha256[32], void *user_data)
{
  uint32_t *count = user_data;
  g_assert_cmpuint (uid, ==, *count + 1);
  g_assert_cmpuint (sha256[31], ==, (uint8_t)uid);
  (*count)++;
}

static void
test_digests (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, MAILBOX, 1000);
  uint32_t count = 0;
  g_assert_true (index_digests (index, MAILBOX, count_digest, &count, &error));
  g_assert_cmpuint (count, ==, 1000);
  g_assert_true (index_digests (index, MAILBOX + 1, count_digest, &count, &error));
  g_assert_cmpuint (count, ==, 1000);
}

/* A message costs less than 1,000 bytes, texts of 600 bytes included, in whatever mailbox it comes.
 */
static void
test_size (Fixture *fixture, const void *data)
{
  enum { ROUNDS = 20, MAILBOXES = 50, EACH = 5 };
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_index (fixture);
  g_autofree char *envelope = g_strnfill (420, 'e'), *bodystructure = g_strnfill (180, 'b');
  IndexSummary summary = {.envelope = envelope, .bodystructure = bodystructure};
  for (uint32_t round = 0; round < ROUNDS; round++) {
    g_autoptr (IndexWrite) write = begin (index);
    for (uint32_t i = 0; i < MAILBOXES * EACH; i++) {
      uint32_t mailbox = 1 + i % MAILBOXES;
      IndexMessage message = make_message (1 + round * EACH + i / MAILBOXES);
      if (message.uid == 1)
        put_mailbox (write, mailbox);
      g_assert_true (index_write_message (write, mailbox, &message, &summary, &error));
    }
    commit (write);
  }
  GStatBuf status;
  g_assert_cmpint (g_stat (fixture->path, &status), ==, 0);
  g_test_message ("%.0f bytes a message", (double)status.st_size / (ROUNDS * MAILBOXES * EACH));
  g_assert_cmpint (status.st_size, <, 1000 * ROUNDS * MAILBOXES * EACH);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/index/message/round-trip", test_round_trip);
  add_test ("/index/message/absent", test_absent);
  add_test ("/index/message/summary", test_summary);
  add_test ("/index/message/no-summary", test_no_summary);
  add_test ("/index/message/pages", test_pages);
  add_test ("/index/message/digests", test_digests);
  add_test ("/index/message/size", test_size);
  return g_test_run ();
}
