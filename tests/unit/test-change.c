/* SPDX-License-Identifier: Apache-2.0 */
/* The log of changes: every note arrives, or a watch is told that notes were lost. */
#include "tests/unit/test-store.h"

#include <sys/stat.h>

#define WRITERS      4
#define NOTES        30000u /* of each writer: more than the log holds */
#define FIRST_NUMBER 100u

static StoreWatch *
new_watch (Store *store)
{
  g_autoptr (GError) error = NULL;
  StoreWatch *watch = store_watch_new (store, &error);
  g_assert_no_error (error);
  return watch;
}

static void
expect_note (StoreWatch *watch, uint32_t number, uint32_t uid)
{
  StoreChange change;
  g_assert_true (store_watch_next (watch, &change));
  g_assert_cmpuint (change.number, ==, number);
  g_assert_cmpuint (change.uid, ==, uid);
}

static void
expect_nothing (StoreWatch *watch)
{
  StoreChange change;
  g_assert_false (store_watch_next (watch, &change));
}

static void
test_watch (Fixture *fixture, gconstpointer data)
{
  Fixture other = {.path = fixture->path};
  reopen (&other, STORE_READ_ONLY);
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com");
  g_autoptr (StoreWatch) watch = new_watch (other.store);
  expect_nothing (watch);
  deliver (inbox, "one", 0, NULL);
  expect_note (watch, inbox->number, 0);
  expect_note (watch, inbox->number, 1);
  expect_nothing (watch);
  for (uint32_t i = 1; i <= 5000; i++)
    change_note (fixture->store, i, i + 1);
  for (uint32_t i = 1; i <= 5000; i++)
    expect_note (watch, i, i + 1);
  expect_nothing (watch);
  store_close (other.store);
}

/* Names of any length, and more of them than are read at a time. */
static void
test_names (Fixture *fixture, gconstpointer data)
{
  change_note (fixture->store, 1, 1);
  g_autoptr (StoreWatch) watch = new_watch (fixture->store);
  for (uint32_t length = 0; length <= NAME_MAX; length++) {
    g_autofree char *name = g_strnfill (length, 'n');
    change_note_name (fixture->store, 7, name);
    change_note (fixture->store, 8, length);
  }
  for (uint32_t length = 0; length <= NAME_MAX; length++) {
    StoreChange change;
    g_assert_true (store_watch_next (watch, &change));
    g_assert_cmpuint (change.number, ==, 7);
    g_assert_cmpuint (change.uid, ==, STORE_CHANGE_NAME);
    g_assert_cmpuint (strlen (change.name), ==, length);
    g_assert_cmpuint (strspn (change.name, "n"), ==, length);
    expect_note (watch, 8, length);
  }
  expect_nothing (watch);
}

/* A name whose end is not there tells nothing. */
static void
test_cut_name (Fixture *fixture, gconstpointer data)
{
  change_note (fixture->store, 1, 1);
  g_autoptr (StoreWatch) watch = new_watch (fixture->store);
  change_note_name (fixture->store, 7, "a name of more than one note");
  run_in (fixture, "truncate -s -16 changes", "");
  expect_note (watch, STORE_CHANGE_ALL, 0);
  change_note (fixture->store, 5, 5);
  expect_note (watch, 5, 5);
  expect_nothing (watch);
}

/* Before there is a file, and when it begins anew because it is full. */
static void
test_begin_and_overflow (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreWatch) watch = new_watch (fixture->store);
  expect_nothing (watch);
  change_note (fixture->store, 1, 1);
  expect_note (watch, STORE_CHANGE_ALL, 0);
  expect_nothing (watch);
  for (uint32_t i = 0; i < 40000; i++)
    change_note (fixture->store, 1, i);
  expect_note (watch, STORE_CHANGE_ALL, 0);
  expect_nothing (watch);
  change_note (fixture->store, 2, 3);
  expect_note (watch, 2, 3);
  g_autofree char *path = g_build_filename (fixture->path, "changes", NULL);
  struct stat st;
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmpint (st.st_size, <=, 512 * 1024);
}

/* Whatever somebody does to the file, nobody crashes or waits, and the next change is noticed. */
static void
test_damage (Fixture *fixture, gconstpointer data)
{
  static const char *const ways[] = {
      ": > changes",
      "rm changes",
      "mv changes old && rm -f old",
      "mv changes old",
      "cp changes copy && mv copy changes",
      "cp old changes",
      "head -c 160000 /dev/urandom > changes",
      "head -c 77 /dev/urandom >> changes",
      "truncate -s 8 changes",
      "truncate -s 1G changes",
      "rm changes && mkfifo changes",
      "rm changes && ln -s mailfs.conf changes",
      "rm changes && mkdir changes && rmdir changes",
  };
  for (uint32_t i = 1; i <= 20; i++)
    change_note (fixture->store, 1, i);
  g_autoptr (StoreWatch) watch = new_watch (fixture->store);
  for (uint32_t way = 0; way < G_N_ELEMENTS (ways); way++) {
    StoreChange change = {0, 0};
    uint32_t notes = 0;
    run_in (fixture, ways[way], "");
    /* As many as to pass the place where the watch had stopped. */
    for (uint32_t i = 1; i <= 200; i++)
      change_note (fixture->store, 1000 + way, i);
    while (change.number != STORE_CHANGE_ALL && store_watch_next (watch, &change))
      notes++;
    if (change.number != STORE_CHANGE_ALL)
      g_error ("'%s' was not noticed: %u notes", ways[way], notes);
    while (store_watch_next (watch, &change))
      ;
    change_note (fixture->store, 5, way);
    expect_note (watch, 5, way);
    expect_nothing (watch);
  }
  g_autofree char *conf = g_build_filename (fixture->path, "mailfs.conf", NULL);
  g_autofree char *text = NULL;
  gsize size = 0;
  g_assert_true (g_file_get_contents (conf, &text, &size, NULL));
  g_assert_cmpuint (strlen (text), ==, size);
}

static void
test_damage_while_idle (Fixture *fixture, gconstpointer data)
{
  change_note (fixture->store, 1, 1);
  g_autoptr (StoreWatch) watch = new_watch (fixture->store);
  run_in (fixture, ": > changes", "");
  expect_note (watch, STORE_CHANGE_ALL, 0);
  expect_nothing (watch);
  run_in (fixture, "rm changes", "");
  expect_note (watch, STORE_CHANGE_ALL, 0);
  expect_nothing (watch);
  expect_nothing (watch);
}

/* ---- many writers -------------------------------------------------------------------------- */

typedef struct {
  Store *store;
  uint32_t number;
  int *left; /* writers that are still at it */
} Writer;

static gpointer
write_notes (gpointer data)
{
  Writer *writer = data;
  for (uint32_t i = 1; i <= NOTES; i++)
    change_note (writer->store, writer->number, i);
  g_atomic_int_add (writer->left, -1);
  return NULL;
}

/* Reads all there is. Notes of one writer come in order and without a gap, but for what a
 * STORE_CHANGE_ALL stands for. `last` says how far each writer has come; 0: unknown. */
static void
read_notes (StoreWatch *watch, uint32_t last[WRITERS], unsigned *exact, unsigned *lost)
{
  StoreChange change;
  while (store_watch_next (watch, &change)) {
    if (change.number == STORE_CHANGE_ALL) {
      memset (last, 0, WRITERS * sizeof *last);
      (*lost)++;
      continue;
    }
    uint32_t writer = change.number - FIRST_NUMBER;
    g_assert_cmpuint (writer, <, WRITERS);
    g_assert_cmpuint (change.uid, >=, 1);
    g_assert_cmpuint (change.uid, <=, NOTES);
    if (last[writer] != 0)
      g_assert_cmpuint (change.uid, ==, last[writer] + 1);
    last[writer] = change.uid;
    (*exact)++;
  }
}

static void
check_writers (Fixture *fixture, unsigned long pause_us)
{
  change_note (fixture->store, 1, 1);
  g_autoptr (StoreWatch) watch = new_watch (fixture->store);
  Writer writers[WRITERS];
  GThread *threads[WRITERS];
  uint32_t last[WRITERS] = {0};
  unsigned exact = 0, lost = 0;
  int left = WRITERS;
  for (uint32_t i = 0; i < WRITERS; i++) {
    writers[i] = (Writer){fixture->store, FIRST_NUMBER + i, &left};
    threads[i] = g_thread_new ("writer", write_notes, &writers[i]);
  }
  while (g_atomic_int_get (&left) > 0) {
    read_notes (watch, last, &exact, &lost);
    g_usleep (pause_us);
  }
  for (uint32_t i = 0; i < WRITERS; i++)
    g_thread_join (threads[i]);
  read_notes (watch, last, &exact, &lost);
  g_test_message ("%u notes, lost %u times", exact, lost);
  /* 120000 notes do not fit into a log of 32768. */
  g_assert_cmpuint (lost, >, 0);
  g_assert_cmpuint (exact, >, 0);
  for (uint32_t i = 0; i < WRITERS; i++)
    g_assert_true (last[i] == NOTES || last[i] == 0);
}

static void
test_writers (Fixture *fixture, gconstpointer data)
{
  check_writers (fixture, 100);
}

static void
test_writers_far_ahead (Fixture *fixture, gconstpointer data)
{
  check_writers (fixture, 50000);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/change/watch", test_watch);
  add_test ("/change/names", test_names);
  add_test ("/change/cut-name", test_cut_name);
  add_test ("/change/begin-and-overflow", test_begin_and_overflow);
  add_test ("/change/damage", test_damage);
  add_test ("/change/damage-while-idle", test_damage_while_idle);
  add_test ("/change/writers", test_writers);
  add_test ("/change/writers-far-ahead", test_writers_far_ahead);
  return g_test_run ();
}
