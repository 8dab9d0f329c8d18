/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots in corners that test-snapshot-model.c does not come to by itself, or only rarely. */
#include "store/snapshot.h"
#include "tests/unit/snapshot-facts.h"

#define INBOX "mail/example.com/user/joe/INBOX"

/* A snapshot, and what the store showed when it was taken; `facts` alone where a crash or a hand
 * left files that their rows do not know. */
typedef struct {
  char name[32];
  char *shown, *facts;
} Moment;

static void
moment_clear (Moment *moment)
{
  g_free (moment->shown);
  g_free (moment->facts);
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
  moment.facts = facts_of_store (store);
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
assert_has_facts (Store *store, const Moment *moment)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) view = store_snapshot_open (store, moment->name, &error);
  g_assert_no_error (error);
  g_autofree char *facts = facts_of_store (view);
  assert_same_text (moment->name, facts, moment->facts);
}

/* Now, from the files alone, when the index is there again, and when the messages have been
 * expunged. */
static void
assert_keeps_facts (Fixture *fixture, const Moment *moments, size_t count)
{
  for (int step = 0; step < 4; step++) {
    if (step == 1)
      run_in (fixture, "rm -r index", "");
    if (step == 2)
      store_job_free (run_job (fixture->store, "repair"));
    if (step == 3)
      store_job_free (run_job (fixture->store, "expunge uid=1:* joe@example.com/INBOX"));
    for (size_t i = 0; i < count; i++)
      assert_has_facts (fixture->store, &moments[i]);
  }
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

/* Puts a state on a message's file that says `expunged`, and leaves it where it is, as a crash in
 * the middle of expunging it or bringing it back does. */
static void
restate (Fixture *fixture, const char *path, bool expunged)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *file = g_build_filename (fixture->path, INBOX, path, NULL);
  auto_fd fd = open (file, O_RDONLY);
  g_auto (MessageState) state = {0};
  bool found;
  assert_ok (message_state_read (-1, fd, 1, &state, &found, &error), error);
  state.expunged = expunged ? store_epoch (fixture->store) : 0;
  state.modseq++;
  assert_ok (message_state_write (fixture->store, -1, fd, 1, &state, &error), error);
}

static void
test_half_expunge (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  restate (fixture, "0000000001.eml", true);
  g_auto (Moment) moment = take (fixture->store);
  assert_keeps_facts (fixture, &moment, 1);
}

static void
test_half_undelete (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  uint32_t uid = deliver (inbox, "one", 0, NULL);
  assert_ok (store_mailbox_expunge (inbox, &uid, 1, &error), error);
  restate (fixture, ".expunged/0000000001.eml", false);
  g_auto (Moment) moment = take (fixture->store);
  assert_keeps_facts (fixture, &moment, 1);
  store_job_free (run_job (fixture->store, "undelete uid=1 joe@example.com/INBOX"));
  assert_has_facts (fixture->store, &moment);
}

/* Waits until the clock that files are stamped with has gone on. */
static void
await_tick (const Fixture *fixture)
{
  int64_t first_ns = 0, now_ns = 0;
  while (now_ns <= first_ns) {
    struct stat st;
    g_assert_cmpint (fchmod (fixture->store->fd, 0750), ==, 0);
    g_assert_cmpint (fstat (fixture->store->fd, &st), ==, 0);
    now_ns = stat_ctime_ns (&st);
    first_ns = first_ns == 0 ? now_ns : first_ns;
  }
}

/* Who moves a file by hand expunges it, or brings it back, then and there. */
static void
test_moved_by_hand (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  deliver (inbox, "one", 0, NULL);
  uint32_t two = deliver (inbox, "two", 0, NULL);
  Moment moments[3];
  moments[0] = take (fixture->store);
  assert_ok (store_mailbox_expunge (inbox, &two, 1, &error), error);
  moments[1] = take (fixture->store);
  await_tick (fixture);
  run_in (fixture, "cd " INBOX " && mv 0000000001.eml .expunged/", "");
  run_in (fixture, "cd " INBOX " && mv .expunged/0000000002.eml .", "");
  moments[2] = take (fixture->store);
  assert_keeps_facts (fixture, moments, 3);
  for (int i = 0; i < 3; i++)
    moment_clear (&moments[i]);
}

/* What a crash left on a file alone comes to pass when the index is repaired, and not before. */
static void
test_half_flag (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autofree char *file = g_build_filename (fixture->path, INBOX, "0000000001.eml", NULL);
  deliver (inbox, "one", 0, NULL);
  auto_fd fd = open (file, O_RDONLY);
  g_auto (MessageState) state = {0};
  bool found;
  assert_ok (message_state_read (-1, fd, 1, &state, &found, &error), error);
  state.modseq++;
  state.flags = STORE_FLAG_FLAGGED;
  assert_ok (message_state_write (fixture->store, -1, fd, 1, &state, &error), error);
  g_auto (Moment) moment = take (fixture->store);
  assert_shows (fixture->store, &moment);
  store_job_free (run_job (fixture->store, "reconstruct recursive"));
  g_autofree char *now = dump_store (fixture->store);
  g_assert_cmpstr (now, !=, moment.shown);
  assert_shows (fixture->store, &moment);
}

/* A mailbox that lay in quarantine when a snapshot was taken has nothing that this one needs. */
static void
test_cleanup_of_returned (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *place = NULL;
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreMailbox) box = open_named (fixture->store, "joe@example.com/Box");
  uint32_t uid = deliver (box, "one", 0, NULL);
  assert_ok (store_mailbox_remove (fixture->store, box->number, false, &place, &error), error);
  g_auto (Moment) moment = take (fixture->store);
  assert_ok (store_quarantine_restore (fixture->store, place, &error), error);
  g_autoptr (StoreMailbox) again = open_named (fixture->store, "joe@example.com/Box");
  g_assert_cmpuint (again->number, ==, box->number);
  assert_ok (store_mailbox_expunge (again, &uid, 1, &error), error);
  store_job_free (run_job (fixture->store, "cleanup age=0"));
  run_in (fixture, "test -z \"$(ls mail/example.com/user/joe/Box/.expunged)\"", "");
  assert_shows (fixture->store, &moment);
}

/* ---- as many as there can be --------------------------------------------------------------- */

/* Something else each time; the messages 1 to 5 change again and again. */
static void
change (StoreMailbox *box, unsigned turn)
{
  g_autoptr (GError) error = NULL;
  Store *store = box->store;
  uint32_t uid = 1 + turn / 6 % 5, other = 1 + (turn / 6 + 2) % 5;
  g_autofree char *name = g_strdup_printf ("joe@example.com/Box%u", turn);
  switch (turn % 6) {
  case 0: deliver (box, name, 0, "Work"); break;
  case 1: store_mailbox_expunge (box, &uid, 1, NULL); break;
  case 2: assert_ok (store_mailbox_rename (store, box->number, name, &error), error); break;
  case 3: store_mailbox_undelete (box, &uid, 1, NULL); break;
  case 4: store_job_free (run_job (store, "cleanup age=0")); break;
  default:
    store_message_flag (box, &other, 1, STORE_FLAGS_SET, turn % 32, turn % 2 ? "a" : "b", NULL);
  }
}

static void
assert_all (Store *store, const GPtrArray *moments, guint step)
{
  for (guint i = 0; i < moments->len; i += step)
    assert_has_facts (store, moments->pdata[i]);
}

static void
free_moment (gpointer moment)
{
  moment_clear (moment);
  g_free (moment);
}

static void
test_all_slots (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GRand) random = g_rand_new_with_seed (255);
  g_autoptr (GPtrArray) moments = g_ptr_array_new_with_free_func (free_moment);
  store_mailbox_unref (open_named (fixture->store, "joe@example.com"));
  StoreMailbox *box = open_named (fixture->store, "joe@example.com/Box");
  uint32_t number = box->number;
  store_mailbox_unref (box);
  for (unsigned turn = 0; turn < STORE_SNAPSHOTS_MAX; turn++) {
    g_autoptr (StoreMailbox) now = store_mailbox_open (fixture->store, number, &error);
    g_assert_no_error (error);
    change (now, turn);
    Moment moment = take (fixture->store);
    g_ptr_array_add (moments, g_memdup2 (&moment, sizeof moment));
  }
  assert_fails (store_snapshot_take (fixture->store, "more", NULL, &error), error, ENOSPC);
  assert_all (fixture->store, moments, 1);
  run_in (fixture, "rm -r index mailboxes.sqlite3", "");
  repair (fixture->store);
  while (moments->len > 0) {
    guint which = (guint)g_rand_int_range (random, 0, (gint32)moments->len);
    const Moment *moment = moments->pdata[which];
    assert_ok (store_snapshot_drop (fixture->store, moment->name, &error), error);
    g_ptr_array_remove_index (moments, which);
    if (moments->len % 16 == 0 || moments->len < 4) {
      store_job_free (run_job (fixture->store, "cleanup age=0"));
      assert_all (fixture->store, moments, 3);
    }
  }
  run_in (fixture, "test ! -e history && test -z \"$(find mail -path '*/.expunged/*')\"", "");
}

/* Mail of a store whose clock was wrong, or of anybody: what it says is in no snapshot else, or in
 * all of them. */
static void
test_far_epochs (Fixture *fixture, gconstpointer data)
{
  static const MessageState far[] = {{.modseq = 3, .birth = UINT32_MAX - 5},
                                     {.modseq = 3, .birth = 1, .expunged = UINT32_MAX - 5}};
  g_autoptr (GError) error = NULL;
  Store *store = fixture->store;
  g_autoptr (StoreMailbox) box = open_named (store, "joe@example.com");
  for (uint32_t i = 0; i < G_N_ELEMENTS (far); i++) {
    uint32_t uid = deliver (box, "far", 0, NULL);
    if (far[i].expunged != 0)
      assert_ok (store_mailbox_expunge (box, &uid, 1, &error), error);
    char path[32];
    layout_message_path (uid, far[i].expunged != 0, path);
    auto_fd fd = layout_open_message (box->fd, path);
    assert_ok (message_state_write (store, box->fd, fd, uid, &far[i], &error), error);
  }
  run_in (fixture, "rm -r index", "");
  repair (store);
  g_auto (Moment) moment = take (store);
  assert_shows (store, &moment);
  assert_has_facts (store, &moment);
  run_in (fixture, "rm -r index", "");
  repair (store);
  assert_has_facts (store, &moment);
}

/* Waits until somebody waits for the lock on mail/. */
static void
await_waiter (const Store *store)
{
  struct stat st;
  g_assert_cmpint (fstat (store->mail_fd, &st), ==, 0);
  g_autofree char *inode = g_strdup_printf (":%lu ", (unsigned long)st.st_ino);
  for (bool waits = false; !waits; g_usleep (1000)) {
    g_autofree char *locks = NULL;
    g_assert_true (g_file_get_contents ("/proc/locks", &locks, NULL, NULL));
    g_auto (GStrv) lines = g_strsplit (locks, "\n", -1);
    for (char **line = lines; *line != NULL; line++)
      waits = waits || (strstr (*line, "->") != NULL && strstr (*line, inode) != NULL);
  }
}

static gpointer
clean_up (gpointer store)
{
  store_job_free (run_job (store, "cleanup age=0"));
  return NULL;
}

/* A cleanup waits while a snapshot is taken, and something is kept for it. */
static void
test_cleanup_meanwhile (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  Store *store = fixture->store;
  g_autoptr (StoreMailbox) box = open_named (store, "joe@example.com");
  g_autofree char *tree = g_build_filename (fixture->path, "history", "tree", NULL);
  g_auto (Epoch) epoch = EPOCH_NONE;
  g_auto (Keep) keep = {0};
  int lock = lock_store (store, &error);
  g_assert_no_error (error);
  g_autoptr (GThread) thread = g_thread_new ("cleanup", clean_up, store);
  await_waiter (store);
  g_autofree char *line = g_strdup_printf ("1 %u 1 %u %" G_GINT64_FORMAT, store_epoch (store),
                                           box->number + 1, g_get_real_time () * 1000);
  g_autofree char *script =
      g_strdup_printf ("mkdir -p snapshots && echo '%s' > snapshots/first", line);
  run_in (fixture, script, "");
  assert_ok (epoch_look (store, &epoch, &error), error);
  assert_ok (keep_begin_tree (&keep, &epoch, &error), error);
  keep_absent (&keep, box->number);
  assert_ok (keep_end (&keep, &error), error);
  close (lock);
  g_thread_join (g_steal_pointer (&thread));
  g_assert_true (g_file_test (tree, G_FILE_TEST_EXISTS));
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/snapshot-corners/only-expunged", test_only_expunged);
  add_test ("/snapshot-corners/fresh-directories", test_fresh_directories);
  add_test ("/snapshot-corners/half-expunge", test_half_expunge);
  add_test ("/snapshot-corners/half-undelete", test_half_undelete);
  add_test ("/snapshot-corners/half-flag", test_half_flag);
  add_test ("/snapshot-corners/moved-by-hand", test_moved_by_hand);
  add_test ("/snapshot-corners/cleanup-of-returned", test_cleanup_of_returned);
  add_test ("/snapshot-corners/far-epochs", test_far_epochs);
  add_test ("/snapshot-corners/cleanup-meanwhile", test_cleanup_meanwhile);
  add_test ("/snapshot-corners/all-slots", test_all_slots);
  return g_test_run ();
}
