/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots in corners that test-snapshot-model.c does not come to by itself, or only rarely. */
#include "tests/unit/snapshot-facts.h"

#define INBOX "mail/example.com/user/joe/INBOX"

/* A snapshot, and what the store showed when it was taken. */
typedef struct {
  char name[32];
  char *shown;
} Moment;

static void
moment_clear (Moment *moment)
{
  g_free (moment->shown);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Moment, moment_clear)

static Moment
take (Store *store)
{
  static unsigned count;
  g_autoptr (GError) error = NULL;
  Moment moment;
  g_snprintf (moment.name, sizeof moment.name, "s%u", ++count);
  assert_ok (store_snapshot_take (store, moment.name, NULL, &error), error);
  moment.shown = dump_store (store);
  return moment;
}

static void
assert_shows (Store *store, const Moment *moment)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) view = store_snapshot_open (store, moment->name, &error);
  g_assert_no_error (error);
  g_autofree char *shown = dump_store (view);
  assert_same_text (moment->name, shown, moment->shown);
}

static void
repair (Store *store)
{
  store_job_free (run_job (store, "repair"));
}

/* In an index that was made anew a mailbox that has only expunged messages must not pass for an
 * empty one. */
static void
test_only_expunged (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  uint32_t uids[2] = {deliver (inbox, "one", 0, NULL), deliver (inbox, "two", 0, "Work")};
  g_auto (Moment) moment = take (fixture->store);
  assert_ok (store_mailbox_expunge (inbox, uids, 2, &error), error);
  run_in (fixture, "rm -r index", "");
  deliver (inbox, "three", 0, NULL);
  assert_shows (fixture->store, &moment);
  repair (fixture->store);
  assert_shows (fixture->store, &moment);
}

/* Who makes the list again leaves the times of directories alone that have just been changed. */
static void
test_fresh_directories (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  for (int i = 0; i < 5; i++) {
    g_autofree char *name = g_strdup_printf ("user%d@example.com", i);
    store_mailbox_unref (open_named (fixture->store, name));
    g_auto (Moment) moment = take (fixture->store);
    run_in (fixture, "rm mailboxes.sqlite3", "");
    repair (fixture->store);
    assert_shows (fixture->store, &moment);
  }
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/snapshot-corners/only-expunged", test_only_expunged);
  add_test ("/snapshot-corners/fresh-directories", test_fresh_directories);
  return g_test_run ();
}
