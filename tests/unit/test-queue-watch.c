/* SPDX-License-Identifier: Apache-2.0 */
/* What goes on in the queue, as those see it who follow it. */
#include "tests/unit/test-jobs.h"

/* What happened since the place: "1 waiting, 2 done". */
static char *
follow (Store *store, uint64_t *place)
{
  g_autoptr (GError) error = NULL;
  GString *text = g_string_new (NULL);
  StoreRecord page[2]; /* so that there are several pages */
  size_t count = 1;
  while (count > 0) {
    assert_ok (store_queue_changes (store, place, page, G_N_ELEMENTS (page), &count, &error),
               error);
    for (size_t i = 0; i < count; i++)
      g_string_append_printf (text, "%s%" G_GUINT64_FORMAT " %s", text->len > 0 ? ", " : "",
                              page[i].id, store_job_state_name (page[i].state));
    store_records_clear (page, count);
  }
  return g_string_free (text, FALSE);
}

static void
assert_follows (Store *store, uint64_t *place, const char *expected)
{
  g_autofree char *text = follow (store, place);
  g_assert_cmpstr (text, ==, expected);
}

static void
work (Store *store)
{
  g_autoptr (GError) error = NULL;
  StoreWorkerCalls calls = {.go_on = go_on};
  g_autoptr (StoreWorker) worker = store_worker_new (store, &calls, &error);
  g_assert_no_error (error);
  uint64_t id = 1;
  while (id != 0)
    assert_ok (store_worker_step (worker, &id, &error), error);
}

static uint64_t
length (Store *store)
{
  g_autoptr (GError) error = NULL;
  uint64_t waiting = 4711;
  assert_ok (store_queue_length (store, &waiting, &error), error);
  return waiting;
}

static void
test_changes (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  uint64_t early = STORE_QUEUE_NOW;
  assert_follows (fixture->store, &early, ""); /* before there is a queue */
  g_assert_cmpuint (length (fixture->store), ==, 0);

  uint64_t check = add_job (fixture->store, "check joe@example.com", NULL);
  uint64_t place = STORE_QUEUE_NOW;
  assert_follows (fixture->store, &place, ""); /* what was there is no news */
  add_job (fixture->store, "check", NULL);
  add_job (fixture->store, "repair joe@example.com", NULL);
  g_assert_cmpuint (length (fixture->store), ==, 3);
  assert_follows (fixture->store, &early, "1 waiting, 2 waiting, 3 waiting");
  assert_follows (fixture->store, &place, "2 waiting, 3 waiting");
  add_job (fixture->store, "check", NULL); /* the same once more */
  assert_follows (fixture->store, &place, "");

  assert_ok (store_queue_remove (fixture->store, 2, &error), error);
  assert_follows (fixture->store, &place, "2 cancelled");
  work (fixture->store);
  g_assert_cmpuint (length (fixture->store), ==, 0);
  assert_follows (fixture->store, &place, "1 done, 3 done");
  assert_follows (fixture->store, &early, "2 cancelled, 1 done, 3 done");
  g_assert_cmpuint (check, ==, 1);
}

/* A queue that is begun anew is followed from its beginning. */
static void
test_new_queue (Fixture *fixture, gconstpointer data)
{
  uint64_t place = STORE_QUEUE_NOW;
  store_mailbox_unref (open_named (fixture->store, "joe@example.com"));
  assert_follows (fixture->store, &place, "");
  for (int i = 0; i < 3; i++)
    add_job (fixture->store, "check", NULL);
  work (fixture->store);
  assert_follows (fixture->store, &place, "1 done");
  g_clear_pointer (&fixture->store, store_close);
  run_in (fixture, "rm queue.sqlite3*", "");
  reopen (fixture, 0);
  add_job (fixture->store, "check", NULL);
  assert_follows (fixture->store, &place, "1 waiting");
}

typedef struct {
  Store *store;
  uint64_t place;
  unsigned progress; /* how often the job was seen to run */
} Watch;

/* Seen from within: the job runs, and each progress that it tells is a change. */
static bool
look_on (StoreJob *job, void *data)
{
  Watch *watch = data;
  g_autoptr (GError) error = NULL;
  StoreRecord page[4];
  size_t count;
  assert_ok (store_queue_running (watch->store, page, G_N_ELEMENTS (page), &count, &error), error);
  for (size_t i = 0; i < count; i++)
    g_assert_cmpuint (page[i].id, ==, store_job_id (job));
  store_records_clear (page, count);
  g_autofree char *text = follow (watch->store, &watch->place);
  watch->progress += strcmp (text, "1 running") == 0;
  return watch->progress < 2;
}

static void
test_progress (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  Watch watch = {fixture->store, 0, 0};
  for (int i = 0; i < 3; i++)
    deliver (inbox, "one", 0, NULL);
  g_autoptr (StoreJob) job = make_job (fixture->store, "check full");
  assert_ok (store_job_register (job, &error), error);
  store_job_watch (job, look_on, &watch, NULL);
  g_assert_cmpuint (watch.progress, <=, 2);
  g_autofree char *text = follow (fixture->store, &watch.place);
  g_assert_true (g_str_has_prefix (text, "1 "));
  StoreRecord page[4];
  size_t count = 1;
  assert_ok (store_queue_running (fixture->store, page, 4, &count, &error), error);
  g_assert_cmpuint (count, ==, 0);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/queue-watch/changes", Fixture, NULL, set_up, test_changes, tear_down);
  g_test_add ("/queue-watch/new-queue", Fixture, NULL, set_up, test_new_queue, tear_down);
  g_test_add ("/queue-watch/progress", Fixture, NULL, set_up, test_progress, tear_down);
  return g_test_run ();
}
