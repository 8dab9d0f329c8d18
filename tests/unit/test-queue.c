/* SPDX-License-Identifier: Apache-2.0 */
/* The queue: what is the same job, in what order they come, and what becomes of it when it is
 * damaged. */
#include "tests/unit/test-jobs.h"

/* ---- adding -------------------------------------------------------------------------------- */

static void
test_same (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  bool added;
  g_assert_cmpuint (count_jobs (fixture->store, false), ==, 0);
  uint64_t first = add_job (fixture->store, "reconstruct joe@example.com/INBOX", &added);
  g_assert_true (added);
  g_assert_cmpuint (add_job (fixture->store, "reconstruct joe@example.com/INBOX", &added), ==,
                    first);
  g_assert_false (added);
  uint64_t forced = add_job (fixture->store, "reconstruct joe@example.com/INBOX force", &added);
  g_assert_true (added);
  g_assert_cmpuint (forced, >, first);
  uint64_t user = add_job (fixture->store, "reconstruct joe@example.com", &added);
  g_assert_true (added);
  uint64_t whole = add_job (fixture->store, "reconstruct", &added);
  g_assert_true (added);
  g_assert_cmpuint (count_jobs (fixture->store, true), ==, 4);

  g_auto (StoreRecord) record = get_record (fixture->store, forced);
  g_assert_cmpstr (record.action, ==, "reconstruct force");
  g_assert_cmpstr (record.title, ==, "joe@example.com/INBOX");
  g_assert_true (record.queued);
  g_auto (StoreRecord) all = get_record (fixture->store, whole);
  g_assert_null (all.title);

  /* What was taken out is no longer the same. */
  assert_ok (store_queue_remove (fixture->store, first, &error), error);
  assert_state (fixture->store, first, STORE_JOB_CANCELLED);
  g_auto (StoreRecord) removed = get_record (fixture->store, first);
  g_assert_cmpint (removed.code, ==, ECANCELED);
  assert_fails (store_queue_remove (fixture->store, first, &error), error, EALREADY);
  assert_fails (store_queue_remove (fixture->store, 4711, &error), error, ENOENT);
  g_assert_cmpuint (add_job (fixture->store, "reconstruct joe@example.com/INBOX", &added), >, user);
  g_assert_true (added);
}

/* All words of a command, each with a value that makes sense. */
static GPtrArray *
spell_all (const StoreCommand *command)
{
  static const struct {
    const char *name, *value;
  } values[] = {{"age", "7d"},
                {"uid", "1:5,7,9:*"},
                {"directory", "/a%20b"},
                {"of", "joe,a%2cb"},
                {"set", ""},
                {"add", "\\Seen,a%2Cb"},
                {"remove", "Work"},
                {"to", "joe@example.com/a b%25"},
                {"special-use", "none"},
                {"index", "on"}};
  GPtrArray *words = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (words, g_strdup (command->name));
  for (const StoreWord *word = store_words; word->name != NULL; word++) {
    /* An export is given instead of a directory. */
    if ((command->words & word->bit) == 0 || word->bit == STORE_WORD_EXPORT)
      continue;
    const char *value = "1";
    bool one_name = word->bit == STORE_WORD_OF && command->most_names == 1;
    for (size_t i = 0; i < G_N_ELEMENTS (values) && !one_name; i++)
      value = strcmp (values[i].name, word->name) == 0 ? values[i].value : value;
    /* In another order than the table's. */
    g_ptr_array_insert (words, 1,
                        word->value != NULL ? g_strdup_printf ("%s=%s", word->name, value)
                                            : g_strdup (word->name));
  }
  if ((command->traits & STORE_COMMAND_FOREIGN) == 0) {
    g_ptr_array_add (words, g_strdup ("joe@example.com/INBOX"));
    if ((command->traits & STORE_COMMAND_SINGLE) == 0)
      g_ptr_array_add (words, g_strdup ("ann@example.com/INBOX"));
  }
  g_ptr_array_add (words, NULL);
  return words;
}

/* A request comes back from the queue as it went in. */
static void
test_words (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "ann@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  g_autofree char *first = g_strdup_printf ("%u", inbox->number);
  g_autofree char *expected = g_strdup_printf ("%u %u", inbox->number, other->number);
  for (const StoreCommand *command = store_commands; command->name != NULL; command++) {
    g_autoptr (GPtrArray) words = spell_all (command);
    g_autoptr (StoreRequest) request =
        store_request_parse (fixture->store, (const char *const *)words->pdata, &error);
    g_assert_no_error (error);
    g_autofree char *action = request_action (request);
    g_autofree char *nodes = request_nodes (request);
    bool single = (command->traits & STORE_COMMAND_SINGLE) != 0;
    g_assert_cmpstr (nodes, ==,
                     command->traits & STORE_COMMAND_FOREIGN ? ""
                     : single                                ? first
                                                             : expected);
    g_autoptr (StoreRequest) back = request_from_action (fixture->store, action, nodes, &error);
    g_assert_no_error (error);
    g_assert_true (back->command == command);
    g_assert_cmpuint (back->words, ==, command->words & ~STORE_WORD_EXPORT);
    g_assert_cmpint (back->age_s, ==, request->age_s);
    g_assert_cmpstr (back->directory, ==, request->directory);
    g_assert_cmpstr (back->to, ==, request->to);
    g_assert_cmpstr (back->special_use, ==, request->special_use);
    g_assert_cmpint (back->index, ==, request->index);
    for (size_t i = 0; i < G_N_ELEMENTS (back->flags); i++) {
      g_assert_cmpuint (back->flags[i].flags, ==, request->flags[i].flags);
      g_assert_cmpstr (back->flags[i].keywords, ==, request->flags[i].keywords);
    }
    g_assert_cmpuint (back->names != NULL ? back->names->len : 0, ==,
                      (command->words & STORE_WORD_OF) == 0 ? 0
                      : command->most_names == 1            ? 1
                                                            : 2);
    g_autofree char *again = request_action (back);
    g_autofree char *again_nodes = request_nodes (back);
    g_assert_cmpstr (again, ==, action);
    g_assert_cmpstr (again_nodes, ==, nodes);
  }
  assert_fails (request_from_action (fixture->store, "explode", "", &error), error, EINVAL);
  assert_fails (request_from_action (fixture->store, "expunge", "", &error), error, EINVAL);
  assert_fails (request_from_action (fixture->store, "reset", "4 x", &error), error, EINVAL);
  assert_fails (request_from_action (fixture->store, "reset", "4711", &error), error, ENOENT);
}

/* Asking for a job that is to be run later is asking for it now. */
static void
test_hastened (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  bool added;
  int64_t later_s = record_now () + 86400;
  assert_ok (queue_add_action (fixture->store, inbox->number, "cleanup", later_s, &error), error);
  uint64_t id = add_job (fixture->store, "cleanup joe@example.com/INBOX", &added);
  g_assert_false (added);
  g_auto (StoreRecord) record = get_record (fixture->store, id);
  g_assert_cmpint (record.due_s, ==, 0);
  assert_ok (queue_add_action (fixture->store, inbox->number, "cleanup", later_s, &error), error);
  g_auto (StoreRecord) still = get_record (fixture->store, id);
  g_assert_cmpint (still.due_s, ==, 0);
}

/* ---- several at once, and a bound ---------------------------------------------------------- */

static void
test_several (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  bool added;
  uint64_t before = add_job (fixture->store, "purge", &added), ids[4];
  StoreRequest *requests[] = {
      parse_words (fixture->store, "reconstruct joe@example.com/INBOX"),
      parse_words (fixture->store, "purge"),
      parse_words (fixture->store, "reconstruct joe@example.com/INBOX force"),
      parse_words (fixture->store, "reconstruct force joe@example.com/INBOX")};
  assert_ok (store_queue_add_all (fixture->store, requests, 4, ids, &error), error);
  g_assert_cmpuint (ids[0], >, before);
  g_assert_cmpuint (ids[1], ==, before);
  g_assert_cmpuint (ids[2], >, ids[0]);
  g_assert_cmpuint (ids[3], ==, ids[2]);
  g_assert_cmpuint (count_jobs (fixture->store, true), ==, 3);
  g_auto (StoreRecord) record = get_record (fixture->store, ids[2]);
  g_assert_true (record.queued);
  g_assert_cmpstr (record.action, ==, "reconstruct force");
  g_assert_nonnull (strstr (record.log, "queued"));
  assert_ok (store_queue_add_all (fixture->store, requests, 0, ids, &error), error);
  for (size_t i = 0; i < G_N_ELEMENTS (requests); i++)
    store_request_free (requests[i]);
}

/* All of them or none; and whoever asks for what waits already is never one too many. */
static void
test_full (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_build_filename (fixture->path, "small.sqlite3", NULL);
  g_autoptr (Queue) queue = queue_open (path, INDEX_CREATE, &error);
  g_assert_no_error (error);
  QueueJob jobs[5] = {0};
  char names[5][2] = {"1", "2", "3", "4", "5"};
  uint64_t ids[5] = {0};
  bool added[5], found;
  for (size_t i = 0; i < G_N_ELEMENTS (jobs); i++)
    jobs[i] =
        (QueueJob){.queued = true, .action = (char *)"reset", .nodes = names[i], .log = (char *)""};
  assert_ok (queue_add (queue, 1, jobs, 2, 3, ids, added, &error), error);
  assert_fails (queue_add (queue, 1, jobs + 1, 3, 3, ids, added, &error), error, EAGAIN);
  assert_ok (queue_add (queue, 1, jobs, 3, 3, ids, added, &error), error);
  g_assert_false (added[1]);
  g_assert_true (added[2]);
  assert_fails (queue_add (queue, 1, jobs + 3, 1, 3, ids, added, &error), error, EAGAIN);
  assert_ok (queue_add (queue, 1, jobs, 3, 3, ids, added, &error), error);
  g_auto (QueueJob) job = {0};
  assert_ok (queue_get (queue, ids[2] + 1, &job, &found, &error), error);
  g_assert_false (found);

  /* One that runs does not wait. */
  QueueJob running = jobs[0];
  running.id = ids[0];
  running.state = QUEUE_RUNNING;
  assert_ok (queue_change (queue, &(QueueJob){.id = ids[0]}, &running, NULL, 0, &found, &error),
             error);
  g_assert_true (found);
  assert_ok (queue_add (queue, 1, jobs + 3, 1, 3, ids, added, &error), error);
  g_assert_true (added[0]);
}

/* ---- the newest of a node ------------------------------------------------------------------ */

/* The number of the newest job of a command for exactly that node; 0: there is none. */
static uint64_t
newest (Store *store, const char *command, uint32_t number)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreRecord) record = {0};
  bool found;
  assert_ok (
      store_queue_last (store, store_command_find (command), number, &record, &found, &error),
      error);
  g_assert_cmpint (found, ==, record.id != 0);
  return record.id;
}

static void
test_newest (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (StoreMailbox) other = open_named (fixture->store, "joe@example.com/Other");
  g_autoptr (GError) error = NULL;
  bool added;
  g_assert_cmpuint (newest (fixture->store, "reset", inbox->number), ==, 0);
  uint64_t first = add_job (fixture->store, "reset joe@example.com/INBOX", &added);
  uint64_t second = add_job (fixture->store, "reset dry-run joe@example.com/INBOX", &added);
  add_job (fixture->store, "recover joe@example.com/INBOX", &added);
  add_job (fixture->store, "reset joe@example.com/INBOX joe@example.com/Other", &added);
  uint64_t whole = add_job (fixture->store, "reset", &added);
  g_assert_cmpuint (second, >, first);
  g_assert_cmpuint (newest (fixture->store, "reset", inbox->number), ==, second);
  g_assert_cmpuint (newest (fixture->store, "reset", other->number), ==, 0);
  g_assert_cmpuint (newest (fixture->store, "reset", STORE_ROOT), ==, whole);
  g_assert_cmpuint (newest (fixture->store, "check", STORE_ROOT), ==, 0);

  /* One that has ended is told of, too; and naming the root is naming everything. */
  assert_ok (store_queue_remove (fixture->store, second, &error), error);
  g_assert_cmpuint (newest (fixture->store, "reset", inbox->number), ==, second);
  g_auto (StoreRecord) pending = {0};
  bool found;
  const StoreCommand *reset = store_command_find ("reset");
  assert_ok (store_queue_pending (fixture->store, reset, inbox->number, &pending, &found, &error),
             error);
  g_assert_true (found);
  g_assert_cmpuint (pending.id, ==, first);
  assert_ok (store_queue_remove (fixture->store, first, &error), error);
  assert_ok (store_queue_pending (fixture->store, reset, inbox->number, &pending, &found, &error),
             error);
  g_assert_false (found);
  StoreRequest *root[] = {parse_words (fixture->store, "purge")};
  uint32_t number = STORE_ROOT;
  g_array_append_val (root[0]->targets, number);
  assert_ok (store_queue_add_all (fixture->store, root, 1, &whole, &error), error);
  g_assert_cmpuint (newest (fixture->store, "purge", STORE_ROOT), ==, whole);
  store_request_free (root[0]);
}

static void
test_read_only (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_build_filename (fixture->path, "queue.sqlite3", NULL);
  reopen (fixture, STORE_READ_ONLY);
  g_assert_cmpuint (count_jobs (fixture->store, false), ==, 0);
  g_autoptr (StoreJob) job = make_job (fixture->store, "reconstruct");
  assert_fails (store_queue_add (fixture->store, store_job_request (job), NULL, NULL, &error),
                error, EROFS);
  assert_fails (store_job_register (job, &error), error, EROFS);
  g_assert_false (g_file_test (path, G_FILE_TEST_EXISTS));
}

/* ---- the queue as a whole ------------------------------------------------------------------ */

static void
test_bounded (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  bool added;
  uint64_t waits = add_job (fixture->store, "reconstruct", &added), last = 0;
  for (int i = 0; i < QUEUE_ENDED_MAX + 5; i++) {
    last = add_job (fixture->store, "reset", &added);
    g_assert_true (added);
    assert_ok (store_queue_remove (fixture->store, last, &error), error);
  }
  g_assert_cmpuint (count_jobs (fixture->store, false), ==, QUEUE_ENDED_MAX + 1);
  assert_state (fixture->store, waits, STORE_JOB_WAITING);
  assert_state (fixture->store, last, STORE_JOB_CANCELLED);
  g_assert_cmpuint (add_job (fixture->store, "reset", &added), ==, last + 1);
}

/* However many end meanwhile, what a job came to is there when it ends. */
static void
test_long_run (Fixture *fixture, gconstpointer data)
{
  g_autoptr (StoreMailbox) inbox = open_named (fixture->store, "joe@example.com/INBOX");
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreJob) job = make_job (fixture->store, "check");
  assert_ok (store_job_register (job, &error), error);
  enum { OTHERS = QUEUE_ENDED_MAX + 5 };
  QueueJob others[OTHERS];
  uint64_t ids[OTHERS];
  bool added[OTHERS];
  for (int i = 0; i < OTHERS; i++)
    others[i] = (QueueJob){.state = QUEUE_CANCELLED,
                           .action = (char *)"reset",
                           .nodes = (char *)"",
                           .log = (char *)""};
  assert_ok (queue_insert (fixture->store, others, OTHERS, ids, added, &error), error);
  assert_ok (store_job_watch (job, go_on, NULL, &error), error);
  assert_state (fixture->store, store_job_id (job), STORE_JOB_DONE);
  g_assert_cmpuint (count_jobs (fixture->store, false), ==, QUEUE_ENDED_MAX);
}

/* What is in the queue may be of anybody; terminals are not to act on it. */
static void
test_printable (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  char evil[] = "a\033[2Jb";
  QueueJob job = {.state = QUEUE_FAILED,
                  .action = evil,
                  .nodes = (char *)"",
                  .unit = evil,
                  .error = evil,
                  .log = (char *)"one\n\033[2Jtwo\n"};
  uint64_t id;
  bool added;
  assert_ok (queue_insert (fixture->store, &job, 1, &id, &added, &error), error);
  g_auto (StoreRecord) record = get_record (fixture->store, id);
  g_assert_null (strchr (record.action, '\033'));
  g_assert_null (strchr (record.progress.unit, '\033'));
  g_assert_null (strchr (record.error, '\033'));
  g_assert_cmpstr (record.log, ==, "one\n\\x1b[2Jtwo\n");
}

static void
test_log (void)
{
  g_autofree char *log = g_strdup ("");
  for (int i = 0; i < 1000; i++) {
    g_autofree char *longer = record_log (log, "line %d\nof a log", i);
    g_free (log);
    log = g_steal_pointer (&longer);
  }
  g_assert_cmpuint (strlen (log), <, 9000);
  g_assert_true (g_str_has_suffix (log, "line 999\\x0aof a log\n"));
  g_assert_true (log[4] == '-'); /* begins with a whole line */

  /* Whatever somebody else put there. */
  g_autofree char *blank = g_strnfill (4u << 20, '\n'), *endless = g_strnfill (4u << 20, 'a');
  g_autofree char *after_blank = record_log (blank, "last");
  g_autofree char *after_endless = record_log (endless, "last");
  g_assert_cmpuint (strlen (after_blank), ==, 8192);
  g_assert_true (g_str_has_suffix (after_blank, " last\n"));
  g_assert_cmpuint (strlen (after_endless), <, 100);
}

/* With a number that no job had before. */
static uint64_t
assert_usable (Fixture *fixture, const char *kept, uint64_t before)
{
  bool added;
  uint64_t id = add_job (fixture->store, "reset", &added);
  g_assert_true (added);
  assert_state (fixture->store, id, STORE_JOB_WAITING);
  run_in (fixture, "test $(ls queue.sqlite3.damaged-* 2>/dev/null | wc -l) = ", kept);
  g_assert_cmpuint (id, >, before);
  g_assert_cmpuint (id, <, 1u << 28); /* else a mount could not show it */
  return id;
}

static void
test_damaged (Fixture *fixture, gconstpointer data)
{
  bool added;
  uint64_t id = add_job (fixture->store, "check", &added);
  g_assert_cmpuint (id, ==, 1);
  /* Nothing is left of it. */
  run_in (fixture, "head -c 20000 /dev/urandom >queue.sqlite3", "");
  reopen (fixture, 0); /* what SQLite had read, it still has */
  id = assert_usable (fixture, "1", 1);
  /* In the middle: opening it goes well. */
  for (int i = 0; i < 300; i++) {
    g_autofree char *action = g_strdup_printf ("padding %d", i);
    uint64_t next;
    assert_ok (queue_add_waiting (fixture->store, action, "", "to fill some pages", 0, &next,
                                  &added, NULL),
               (GError *)NULL);
    g_assert_cmpuint (next, ==, ++id);
  }
  run_in (fixture,
          "dd if=/dev/urandom of=queue.sqlite3 bs=8192 seek=1 conv=notrunc status=none"
          " count=$(($(stat -c %s queue.sqlite3) / 8192 - 1))",
          "");
  reopen (fixture, 0);
  assert_usable (fixture, "2", 1);
  run_in (fixture, "rm queue.sqlite3*", "");
  assert_usable (fixture, "0", 0);
  run_in (fixture, ": >queue.sqlite3", "");
  assert_usable (fixture, "0", 0);
}

/* A new queue with one job, of that number. */
static Queue *
make_queue (Fixture *fixture, uint64_t number)
{
  QueueJob job = {.queued = true, .action = "check", .nodes = "", .log = ""};
  g_autofree char *path = g_build_filename (fixture->store->path, "queue.sqlite3", NULL);
  g_autoptr (GError) error = NULL;
  Queue *queue = queue_open (path, INDEX_CREATE, &error);
  g_assert_no_error (error);
  uint64_t id;
  bool added;
  assert_ok (queue_add (queue, number, &job, 1, 10, &id, &added, &error), error);
  g_assert_cmpuint (id, ==, number);
  return queue;
}

/* Which numbers there were can still be read, and are above the clock's. */
static void
test_damaged_tells (Fixture *fixture, gconstpointer data)
{
  const uint64_t high = 100000000;
  g_autoptr (GError) error = NULL;
  queue_close (make_queue (fixture, high));
  run_in (fixture,
          "dd if=/dev/urandom of=queue.sqlite3 bs=8192 conv=notrunc status=none"
          " seek=$(($(stat -c %s queue.sqlite3) / 8192 - 1))  count=1",
          "");
  assert_ok (queue_set_aside (fixture->store, &error), error);
  assert_usable (fixture, "1", high);
}

/* The last number there is leaves none for the next job. */
static void
test_damaged_number (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  Queue *queue = make_queue (fixture, INT64_MAX);
  assert_fails (queue_verify (queue, &error), error, EUCLEAN);
  queue_close (queue);
  assert_usable (fixture, "1", 1);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/queue/same", test_same);
  add_test ("/queue/words", test_words);
  add_test ("/queue/several", test_several);
  add_test ("/queue/full", test_full);
  add_test ("/queue/newest", test_newest);
  add_test ("/queue/read-only", test_read_only);
  add_test ("/queue/printable", test_printable);
  add_test ("/queue/hastened", test_hastened);
  add_test ("/queue/bounded", test_bounded);
  add_test ("/queue/long-run", test_long_run);
  g_test_add_func ("/queue/log", test_log);
  add_test ("/queue/damaged", test_damaged);
  add_test ("/queue/damaged-tells", test_damaged_tells);
  add_test ("/queue/damaged-number", test_damaged_number);
  return g_test_run ();
}
