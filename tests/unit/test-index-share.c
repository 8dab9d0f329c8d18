/* SPDX-License-Identifier: Apache-2.0 */
/* An index that other processes and other threads use, too. */
#include "tests/unit/test-index.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- other processes ----------------------------------------------------------------------- */

typedef struct {
  pid_t pid;
  int stop; /* closing it lets the process end */
} Locker;

/* Another process that holds a lock of the database. */
static Locker
start_locker (const char *path, const char *sql)
{
  int ready[2], stop[2];
  char byte;
  g_assert_cmpint (pipe2 (ready, O_CLOEXEC), ==, 0);
  g_assert_cmpint (pipe2 (stop, O_CLOEXEC), ==, 0);
  pid_t pid = fork ();
  if (pid == 0) {
    sqlite3 *handle;
    close (stop[1]);
    if (sqlite3_open (path, &handle) != SQLITE_OK ||
        sqlite3_exec (handle, sql, NULL, NULL, NULL) != SQLITE_OK)
      _exit (1);
    _exit (write (ready[1], "r", 1) == 1 && read (stop[0], &byte, 1) == 0 ? 0 : 1);
  }
  close (ready[1]);
  close (stop[0]);
  g_assert_cmpint (read (ready[0], &byte, 1), ==, 1);
  close (ready[0]);
  return (Locker){pid, stop[1]};
}

static void
stop_locker (Locker locker)
{
  int status;
  close (locker.stop);
  g_assert_cmpint (waitpid (locker.pid, &status, 0), ==, locker.pid);
  g_assert_cmpint (status, ==, 0);
}

static void
test_busy (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 10);
  set_patience (index, 50);

  Locker writer = start_locker (fixture->path, "BEGIN IMMEDIATE");
  g_assert_null (index_write_begin (index, &error));
  g_assert_error (error, MAILFS_ERROR, EBUSY);
  g_assert_nonnull (strstr (error->message, fixture->path));
  g_clear_error (&error);
  g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 10); /* a writer keeps no reader out */
  stop_locker (writer);

  Locker committer = start_locker (fixture->path, "BEGIN EXCLUSIVE");
  IndexMailbox mailbox;
  bool found;
  g_assert_false (index_mailbox_get (index, 1, &mailbox, &found, &error));
  g_assert_error (error, MAILFS_ERROR, EBUSY);
  g_clear_error (&error);
  stop_locker (committer);

  Locker reader = start_locker (fixture->path, "BEGIN; SELECT count (*) FROM message");
  g_autoptr (IndexWrite) write = begin (index);
  IndexMessage message = make_message (11);
  put_message (write, 1, &message);
  g_assert_false (index_write_commit (write, &error));
  g_assert_error (error, MAILFS_ERROR, EBUSY);
  stop_locker (reader);
  commit (write); /* it may be tried again */
  g_assert_cmpuint (get_mailbox (index, 1).messages, ==, 11);
}

/* What is read between begin and end is one state, whoever writes; then it is the next one. */
static void
test_read (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 10);
  g_autoptr (IndexWrite) write = begin (index);
  IndexMessage message = make_message (11);
  put_message (write, 1, &message);
  set_patience (index, 50);
  {
    g_autoptr (IndexRead) read = index_read_begin (index, &error);
    g_assert_no_error (error);
    g_assert_cmpuint (get_mailbox (read, 1).messages, ==, 10);
    g_assert_false (index_write_commit (write, &error));
    g_assert_error (error, MAILFS_ERROR, EBUSY);
    g_clear_error (&error);
    g_assert_cmpuint (get_mailbox (read, 1).messages, ==, 10);
  }
  commit (write);

  /* One in which reading fails ends like any other. */
  Locker committer = start_locker (fixture->path, "BEGIN EXCLUSIVE");
  IndexMailbox mailbox;
  bool found;
  IndexRead *read = index_read_begin (index, &error);
  g_assert_no_error (error);
  g_assert_false (index_mailbox_get (read, 1, &mailbox, &found, &error));
  g_assert_error (error, MAILFS_ERROR, EBUSY);
  g_clear_error (&error);
  index_read_end (read);
  stop_locker (committer);
  read = index_read_begin (index, &error);
  g_assert_no_error (error);
  g_assert_cmpuint (get_mailbox (read, 1).messages, ==, 11);
  index_read_end (read);
}

static void
test_data_version (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 1);
  uint32_t first = 0, second = 0, third = 0;
  g_assert_true (index_data_version (index, &first, &error));
  g_assert_true (index_data_version (index, &second, &error));
  g_assert_cmpuint (second, ==, first);
  stop_locker (start_locker (fixture->path, "UPDATE message SET flags = 1"));
  g_assert_true (index_data_version (index, &third, &error));
  g_assert_cmpuint (third, >, second);
}

/* Puts one message after another under the next UID; returns 0, or else what a child exits with. */
static int
append_messages (const char *path, int count)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = index_open (path, INDEX_CREATE, &error);
  if (index == NULL)
    return error_code (error);
  for (int i = 0; i < count; i++) {
    g_autoptr (IndexWrite) write = index_write_begin (index, &error);
    IndexMailbox mailbox = {.number = 1, .uidnext = 1};
    bool found;
    if (write == NULL || !index_write_get_mailbox (write, 1, &mailbox, &found, &error) ||
        (!found && !index_write_mailbox (write, &mailbox, &error)))
      return error_code (error);
    IndexMessage message = make_message (mailbox.uidnext);
    if (!index_write_message (write, 1, &message, NULL, &error) ||
        !index_write_commit (write, &error))
      return error_code (error);
  }
  return 0;
}

/* Several processes make one database at once and then write to it in turn. */
static void
test_processes (Fixture *fixture, const void *data)
{
  g_autoptr (GError) error = NULL;
  for (int round = 0; round < 4; round++) {
    pid_t children[4];
    g_remove (fixture->path);
    for (size_t i = 0; i < G_N_ELEMENTS (children); i++)
      if ((children[i] = fork ()) == 0)
        _exit (append_messages (fixture->path, 10));
    for (size_t i = 0; i < G_N_ELEMENTS (children); i++) {
      int status;
      g_assert_cmpint (waitpid (children[i], &status, 0), ==, children[i]);
      g_assert_cmpint (WEXITSTATUS (status), ==, 0);
      g_assert_true (WIFEXITED (status));
    }
    g_autoptr (Index) index = index_open (fixture->path, 0, &error);
    g_assert_no_error (error);
    IndexMailbox mailbox = get_mailbox (index, 1);
    g_assert_cmpuint (mailbox.messages, ==, 40);
    g_assert_cmpuint (mailbox.uidnext, ==, 41);
    g_assert_true (index_verify (index, &error));
  }
}

/* No room for the commit: the child's exit code tells. */
static int
overfill (Fixture *fixture)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Index) index = open_filled_index (fixture, 1, 10);
  struct stat status;
  if (stat (fixture->path, &status) < 0)
    return 1;
  /* A page less, so that it is the journal that has no room: SQLite forgets why it could not write
   * the database while it takes back what it wrote. */
  struct rlimit limit = {(rlim_t)status.st_size - 8192, RLIM_INFINITY};
  signal (SIGXFSZ, SIG_IGN);
  setrlimit (RLIMIT_FSIZE, &limit);
  {
    g_autoptr (IndexWrite) write = begin (index);
    for (uint32_t uid = 11; uid <= 1000; uid++) {
      IndexMessage message = make_message (uid);
      put_message (write, 1, &message);
    }
    if (index_write_commit (write, &error) || !g_error_matches (error, MAILFS_ERROR, EFBIG))
      return 2;
  }
  if (get_mailbox (index, 1).messages != 10)
    return 3;
  limit.rlim_cur = RLIM_INFINITY;
  setrlimit (RLIMIT_FSIZE, &limit);
  g_autoptr (IndexWrite) write = begin (index);
  IndexMessage message = make_message (11);
  put_message (write, 1, &message);
  commit (write);
  return get_mailbox (index, 1).messages == 11 ? 0 : 4;
}

static void
test_no_room (Fixture *fixture, const void *data)
{
  pid_t child = fork ();
  if (child == 0)
    _exit (overfill (fixture));
  int status;
  g_assert_cmpint (waitpid (child, &status, 0), ==, child);
  g_assert_cmpint (status, ==, 0);
}

/* ---- other threads ------------------------------------------------------------------------- */

enum { THREAD_MESSAGES = 50, THREAD_ROUNDS = 60 };

typedef struct {
  Index *index;
  int writers; /* atomic: how many still write */
} Shared;

/* Gives all messages one new modseq; so does each transaction, and no reader may ever see a mix. */
static void *
write_rounds (void *data)
{
  Shared *shared = data;
  for (uint32_t round = 1; round <= THREAD_ROUNDS; round++) {
    g_autoptr (IndexWrite) write = begin (shared->index);
    IndexMailbox mailbox = {0};
    bool found = false;
    g_assert_true (index_write_get_mailbox (write, 1, &mailbox, &found, NULL));
    for (uint32_t uid = 1; uid <= THREAD_MESSAGES; uid++) {
      IndexMessage message = make_message (uid);
      message.modseq = mailbox.highestmodseq + 1;
      put_message (write, 1, &message);
    }
    commit (write);
  }
  g_atomic_int_add (&shared->writers, -1);
  return NULL;
}

static void *
read_rounds (void *data)
{
  Shared *shared = data;
  g_autoptr (GError) error = NULL;
  uint64_t newest = 0;
  while (g_atomic_int_get (&shared->writers) > 0) {
    IndexMessage page[THREAD_MESSAGES];
    size_t count = 0;
    uint64_t size;
    uint8_t sha256[32];
    bool found = false;
    index_message_page (shared->index, 1, 0, INDEX_LIVE, page, THREAD_MESSAGES, &count, &error);
    g_assert_no_error (error);
    g_assert_cmpuint (count, ==, THREAD_MESSAGES);
    for (size_t i = 0; i < count; i++)
      g_assert_cmpuint (page[i].modseq, ==, page[0].modseq);
    g_assert_cmpuint (page[0].modseq, >=, newest);
    newest = page[0].modseq;
    index_messages_clear (page, count);
    index_digest_get (shared->index, 1, 7, &size, sha256, &found, &error);
    g_assert_no_error (error);
    g_assert_true (found);
    g_assert_true (index_is_current (shared->index));
    g_assert_cmpuint (get_mailbox (shared->index, 1).messages, ==, THREAD_MESSAGES);
  }
  return NULL;
}

static void
test_threads (Fixture *fixture, const void *data)
{
  g_autoptr (Index) index = open_filled_index (fixture, 1, THREAD_MESSAGES);
  {
    g_autoptr (IndexWrite) write = begin (index);
    for (uint32_t uid = 1; uid <= THREAD_MESSAGES; uid++) {
      IndexMessage message = make_message (uid);
      message.modseq = 100;
      put_message (write, 1, &message);
    }
    commit (write);
  }
  Shared shared = {.index = index, .writers = 2};
  GThread *threads[5];
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    threads[i] = g_thread_new (NULL, i < 2 ? write_rounds : read_rounds, &shared);
  for (size_t i = 0; i < G_N_ELEMENTS (threads); i++)
    g_thread_join (threads[i]);
  g_assert_cmpuint (get_mailbox (index, 1).highestmodseq, ==, 100 + 2 * THREAD_ROUNDS);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/index/share/busy", test_busy);
  add_test ("/index/share/read", test_read);
  add_test ("/index/share/data-version", test_data_version);
  add_test ("/index/share/processes", test_processes);
  add_test ("/index/share/no-room", test_no_room);
  add_test ("/index/share/threads", test_threads);
  return g_test_run ();
}
