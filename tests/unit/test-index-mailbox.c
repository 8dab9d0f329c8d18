/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/test-index.h"

static void
test_round_trip (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_index (fixture);
  const IndexMailbox given = {
      .number = (1u << 24) - 1,
      .uidvalidity = UINT32_MAX,
      .uidnext = UINT32_MAX,
      .highestmodseq = INT64_MAX,
      .directory_ns = INT64_MIN,
      .last_repair_s = -1,
      .messages = 1, /* these are ignored */
      .unseen = 2,
      .expunged = 3,
      .damaged = 4,
      .bytes = 5,
  };
  g_autoptr (IndexWrite) write = begin (index);
  g_assert_true (index_write_mailbox (write, &given, &error));
  commit (write);

  IndexMailbox got = get_mailbox (index, given.number);
  g_assert_cmpuint (got.number, ==, given.number);
  g_assert_cmpuint (got.uidvalidity, ==, given.uidvalidity);
  g_assert_cmpuint (got.uidnext, ==, given.uidnext);
  g_assert_cmpuint (got.highestmodseq, ==, given.highestmodseq);
  g_assert_cmpint (got.directory_ns, ==, given.directory_ns);
  g_assert_cmpint (got.last_repair_s, ==, given.last_repair_s);
  assert_counts (got, 0, 0, 0, 0, 0);
}

static void
test_absent (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_index (fixture);
  IndexMailbox mailbox = {.number = 99};
  bool found = true;
  g_assert_true (index_mailbox_get (index, 1, &mailbox, &found, &error));
  g_assert_false (found);
  g_assert_cmpuint (mailbox.number, ==, 99);

  g_autoptr (IndexWrite) write = begin (index);
  IndexMessage message = make_message (1);
  g_assert_false (index_write_message (write, 1, &message, NULL, &error));
  g_assert_error (error, MAILFS_ERROR, ENOENT);
  g_clear_error (&error);
  g_assert_false (index_write_mailbox (write, &(IndexMailbox){.number = 0}, &error));
  g_assert_error (error, MAILFS_ERROR, EINVAL);
  g_clear_error (&error);
  g_assert_false (index_write_mailbox (write, &(IndexMailbox){.number = 1u << 24}, &error));
  g_assert_error (error, MAILFS_ERROR, EINVAL);
  commit (write); /* nothing was changed by what was refused, and nothing is in the way */
}

static void
test_numbers_and_totals (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_index (fixture);
  IndexMailbox totals = {.number = 99};
  g_assert_true (index_totals (index, &totals, &error));
  g_assert_cmpuint (totals.number, ==, 0);
  assert_counts (totals, 0, 0, 0, 0, 0);

  g_autoptr (IndexWrite) write = begin (index);
  const uint32_t numbers[] = {900, 3, 77};
  for (size_t i = 0; i < G_N_ELEMENTS (numbers); i++) {
    put_mailbox (write, numbers[i]);
    for (uint32_t uid = 1; uid <= 4; uid++) {
      IndexMessage message = make_message (uid);
      message.expunged = uid == 4 ? 1 : 0;
      message.damage = uid >= 3 ? INDEX_DAMAGE_DIGEST : INDEX_DAMAGE_NUL | INDEX_DAMAGE_LIMIT;
      put_message (write, numbers[i], &message);
    }
  }
  commit (write);

  g_autoptr (GArray) got = index_mailbox_numbers (index, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (got->len, ==, 3);
  g_assert_cmpuint (g_array_index (got, uint32_t, 0), ==, 3);
  g_assert_cmpuint (g_array_index (got, uint32_t, 1), ==, 77);
  g_assert_cmpuint (g_array_index (got, uint32_t, 2), ==, 900);
  g_assert_true (index_totals (index, &totals, &error));
  assert_counts (totals, 9, 3, 3, 3, 3 * (1001 + 1002 + 1003));
}

/* The counts as the rows of messages give them. */
static IndexMailbox
count_messages (Index *index, uint32_t mailbox)
{
  g_autoptr (GError) error = NULL;
  IndexMailbox counted = {0};
  size_t count = 0;
  for (uint32_t after = 0;;) {
    g_auto (IndexMessage) message = {0};
    index_message_page (index, mailbox, after, INDEX_LIVE | INDEX_EXPUNGED, &message, 1, &count,
                        &error);
    g_assert_no_error (error);
    if (count == 0)
      return counted;
    after = message.uid;
    if (message.expunged != 0) {
      counted.expunged++;
      continue;
    }
    counted.messages++;
    counted.damaged += (message.damage & ~(INDEX_DAMAGE_NUL | INDEX_DAMAGE_LIMIT)) != 0;
    counted.bytes += message.size;
    counted.unseen += (message.flags & INDEX_FLAG_SEEN) == 0;
  }
}

/* Whatever is done to messages, the mailbox's row tells what is there, during and after. */
static void
test_counts_follow (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 0);
  for (int round = 0; round < 20; round++) {
    g_autoptr (IndexWrite) write = begin (index);
    IndexMailbox during = {0};
    bool found;
    for (int i = 0; i < 50; i++) {
      uint32_t uid = (uint32_t)g_test_rand_int_range (1, 60);
      IndexMessage message = make_message (uid);
      message.flags = (uint32_t)g_test_rand_int_range (0, 32);
      message.damage = (uint32_t)g_test_rand_int_range (0, 32);
      message.expunged = g_test_rand_int_range (0, 3) == 0;
      message.size = (uint64_t)g_test_rand_int_range (0, 10000);
      if (g_test_rand_int_range (0, 4) > 0)
        put_message (write, 1, &message);
      else
        g_assert_true (index_write_remove_message (write, 1, uid, false, &error));
    }
    g_assert_true (index_write_get_mailbox (write, 1, &during, &found, &error));
    bool keep = round % 3 != 0;
    if (keep)
      commit (write);
    else
      g_clear_pointer (&write, index_write_free);
    IndexMailbox counted = count_messages (index, 1), kept = get_mailbox (index, 1);
    assert_counts (kept, counted.messages, counted.unseen, counted.expunged, counted.damaged,
                   counted.bytes);
    if (keep)
      assert_counts (during, counted.messages, counted.unseen, counted.expunged, counted.damaged,
                     counted.bytes);
  }
}

static void
test_uidnext_and_modseq_rise (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 10);
  g_assert_cmpuint (get_mailbox (index, 1).uidnext, ==, 11);
  g_assert_cmpuint (get_mailbox (index, 1).highestmodseq, ==, 10);

  g_autoptr (IndexWrite) write = begin (index);
  IndexMessage message = make_message (3);
  message.modseq = 500;
  put_message (write, 1, &message);
  message = make_message (4); /* of modseq 4 */
  put_message (write, 1, &message);
  g_assert_true (index_write_remove_message (write, 1, 10, false, &error));
  commit (write);
  g_assert_cmpuint (get_mailbox (index, 1).uidnext, ==, 11); /* a UID is never given out again */
  g_assert_cmpuint (get_mailbox (index, 1).highestmodseq, ==, 500);
}

/* A transaction that does nothing else removes too. */
static void
test_remove_alone (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 2);
  g_autoptr (IndexWrite) write = begin (index);
  g_assert_true (index_write_remove_message (write, 1, 2, false, &error));
  commit (write);
  IndexMailbox row = get_mailbox (index, 1);
  assert_counts (row, 1, 0, 0, 0, 1001);
}

/* Writing a mailbox's facts keeps its counts; removing it and writing it again starts from nothing.
 */
static void
test_replace_and_remove (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 10);
  {
    g_autoptr (IndexWrite) write = begin (index);
    IndexMailbox mailbox = {.number = 1, .uidvalidity = 8, .uidnext = 50, .directory_ns = 1};
    g_assert_true (index_write_mailbox (write, &mailbox, &error));
    commit (write);
  }
  g_assert_cmpuint (get_mailbox (index, 1).uidvalidity, ==, 8);
  g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 10);

  g_autoptr (IndexWrite) write = begin (index);
  put_mailbox (write, 2);
  IndexMessage message = make_message (1);
  put_message (write, 2, &message);
  g_assert_true (index_write_remove_mailbox (write, 1, &error));
  IndexMailbox mailbox;
  bool found = true;
  g_assert_true (index_write_get_mailbox (write, 1, &mailbox, &found, &error));
  g_assert_false (found);
  g_assert_true (
      index_write_remove_message (write, 1, 1, false, &error)); /* absent: nothing to do */
  put_mailbox (write, 1);
  put_message (write, 1, &message);
  g_assert_true (index_write_remove_mailbox (write, 2, &error));
  commit (write);

  IndexMailbox row = get_mailbox (index, 1);
  assert_counts (row, 1, 0, 0, 0, 1001);
  g_assert_cmpuint (count_messages (index, 1).messages, ==, 1);
  g_assert_cmpuint (count_messages (index, 2).messages, ==, 0);
  g_assert_true (index_mailbox_get (index, 2, &mailbox, &found, &error));
  g_assert_false (found);
}

/* A removed mailbox leaves no summary behind. */
static void
test_removed_is_empty (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 10);
  g_autoptr (IndexWrite) write = begin (index);
  g_assert_true (index_write_remove_mailbox (write, 1, &error));
  commit (write);
  IndexSummary summary;
  bool found = true;
  g_assert_true (index_summary_get (index, 1, 5, &summary, &found, &error));
  g_assert_false (found);
  g_autoptr (GArray) numbers = index_mailbox_numbers (index, &error);
  g_assert_cmpuint (numbers->len, ==, 0);
}

static bool
is_recorded (Index *index, uint32_t mailbox, uint32_t uid, uint64_t modseq)
{
  g_autoptr (GError) error = NULL;
  uint64_t recorded = 0;
  bool found = true;
  g_assert_true (index_removed_get (index, mailbox, uid, &recorded, &found, &error));
  g_assert_true (!found || recorded == modseq);
  return found;
}

/* A message leaves a record behind where that is wanted, and takes it away when it comes again. */
static void
test_records (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 9);
  g_autoptr (IndexWrite) write = begin (index);
  put_mailbox (write, 2);
  for (uint32_t uid = 2; uid <= 8; uid += 2)
    g_assert_true (index_write_remove_message (write, 1, uid, uid != 8, &error));
  g_assert_true (index_write_remove_message (write, 1, 77, true, &error));
  IndexMessage message = make_message (4);
  message.modseq = 50;
  put_message (write, 1, &message);
  message = make_message (10);
  put_message (write, 2, &message);
  g_assert_true (index_write_remove_message (write, 2, 10, true, &error));
  uint64_t modseq = 0;
  bool found;
  g_assert_true (index_write_get_removed (write, 1, 6, &modseq, &found, &error));
  g_assert_true (found);
  g_assert_cmpuint (modseq, ==, 6);
  commit (write);
  g_clear_pointer (&write, index_write_free);

  IndexMailbox row = get_mailbox (index, 1), totals;
  g_assert_cmpuint (row.removed, ==, 2);
  g_assert_cmpuint (row.messages, ==, 6);
  g_assert_true (is_recorded (index, 1, 2, 2));
  g_assert_false (is_recorded (index, 1, 4, 0));
  g_assert_true (is_recorded (index, 1, 6, 6));
  g_assert_false (is_recorded (index, 1, 8, 0));
  g_assert_false (is_recorded (index, 1, 77, 0));
  g_assert_true (index_totals (index, &totals, &error));
  g_assert_cmpuint (totals.removed, ==, 3);

  write = begin (index);
  g_assert_true (index_write_forget_removed (write, 1, &error));
  commit (write);
  g_clear_pointer (&write, index_write_free);
  g_assert_cmpuint (get_mailbox (index, 1).removed, ==, 0);
  g_assert_false (is_recorded (index, 1, 6, 0));
  g_assert_true (is_recorded (index, 2, 10, 10));

  write = begin (index);
  g_assert_true (index_write_remove_mailbox (write, 2, &error));
  commit (write);
  g_clear_pointer (&write, index_write_free);
  g_assert_false (is_recorded (index, 2, 10, 0));
}

/* A copy holds the same, and only as much. */
static void
test_compact (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 40000);
  struct stat before, after;
  g_assert_cmpint (stat (fixture->path, &before), ==, 0);
  g_autoptr (IndexWrite) write = begin (index);
  for (uint32_t uid = 1; uid <= 36000; uid++)
    g_assert_true (index_write_remove_message (write, 1, uid, false, &error));
  commit (write);
  g_clear_pointer (&write, index_write_free);
  g_autofree char *path = g_strconcat (fixture->path, "-copy", NULL);
  g_assert_true (index_compact (index, path, &error));
  g_assert_no_error (error);
  g_assert_cmpint (stat (path, &after), ==, 0);
  g_assert_cmpint (after.st_size, <, before.st_size / 5);
  g_assert_cmpuint (after.st_mode & 0777, ==, before.st_mode & 0777);
  g_assert_false (index_compact (index, path, &error));
  g_assert_error (error, MAILFS_ERROR, EEXIST);
  g_clear_error (&error);

  g_autoptr (Index) copy = index_open (path, 0, &error);
  g_assert_no_error (error);
  g_assert_true (index_verify (copy, &error));
  g_assert_cmpuint (count_messages (copy, 1).messages, ==, 4000);
  g_assert_cmpuint (get_mailbox (copy, 1).messages, ==, 4000);
  g_assert_cmpuint (count_messages (index, 1).messages, ==, 4000);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/index/mailbox/round-trip", test_round_trip);
  add_test ("/index/mailbox/absent", test_absent);
  add_test ("/index/mailbox/numbers-and-totals", test_numbers_and_totals);
  add_test ("/index/mailbox/counts-follow", test_counts_follow);
  add_test ("/index/mailbox/uidnext-and-modseq-rise", test_uidnext_and_modseq_rise);
  add_test ("/index/mailbox/remove-alone", test_remove_alone);
  add_test ("/index/mailbox/replace-and-remove", test_replace_and_remove);
  add_test ("/index/mailbox/removed-is-empty", test_removed_is_empty);
  add_test ("/index/mailbox/records", test_records);
  add_test ("/index/mailbox/compact", test_compact);
  return g_test_run ();
}
