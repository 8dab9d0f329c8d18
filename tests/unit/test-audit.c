/* SPDX-License-Identifier: Apache-2.0 */
/* The audit trail: one line each, without gaps, whoever writes and whatever lies there. */
#include "tests/unit/test-store.h"

#include <sys/stat.h>
#include <sys/wait.h>

static void
append (Store *store, const char *object)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_audit_append (store, object, &error), error);
}

static char *
read_file (const Fixture *fixture, const char *name)
{
  g_autofree char *path = g_build_filename (fixture->path, name, NULL);
  char *text = NULL;
  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  return text;
}

/* Every line has the number that follows, from `first` on; returns the one after the last. */
static uint64_t
assert_numbers (const char *text, uint64_t first)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (char **line = lines; **line != '\0'; line++, first++) {
    g_autofree char *begin =
        g_strdup_printf ("{\"seq\":%" G_GUINT64_FORMAT ",\"time\":\"20", first);
    g_assert_true (g_str_has_prefix (*line, begin));
    g_assert_true (g_str_has_suffix (*line, "}"));
  }
  g_assert_true (*text == '\0' || g_str_has_suffix (text, "}\n"));
  return first;
}

static void
test_lines (Fixture *fixture, gconstpointer data)
{
  store_mailbox_unref (open_named (fixture->store, "joe@example.com"));
  g_autoptr (GError) error = NULL;
  struct stat st;
  g_assert_cmpint (store_audit_open (fixture->store, &error), ==, -1);
  g_assert_no_error (error);
  append (fixture->store, "{\"a\":1}\n");
  append (fixture->store, "{\"b\":\"{\\\"seq\\\":77,\"}\n");
  reopen (fixture, 0);
  append (fixture->store, "{\"c\":3}\n");
  g_autofree char *text = read_file (fixture, "audit.jsonl");
  g_assert_cmpuint (assert_numbers (text, 1), ==, 4);
  g_assert_nonnull (strstr (text, ",\"c\":3}\n"));
  auto_fd fd = store_audit_open (fixture->store, &error);
  assert_ok (fd >= 0 && fstat (fd, &st) == 0, error);
  g_assert_cmpint (st.st_size, ==, strlen (text));
  g_assert_cmpint (st.st_mode & 0777, ==, 0640);
  assert_clean (fixture->store);

  reopen (fixture, STORE_READ_ONLY);
  assert_fails (store_audit_append (fixture->store, "{\"d\":4}\n", &error), error, EROFS);
}

/* What a crash left of a line is no line, and the next has its number. */
static void
test_torn (Fixture *fixture, gconstpointer data)
{
  static const char *const tails[] = {"printf '{\"seq\":2,\"time\":\"2026' >>",
                                      "printf '\\0\\0\\0' >>", "head -c 70000 /dev/zero >>"};
  for (size_t i = 0; i < G_N_ELEMENTS (tails); i++) {
    append (fixture->store, "{\"a\":1}\n");
    run_in (fixture, tails[i], "audit.jsonl");
  }
  append (fixture->store, "{\"last\":1}\n");
  g_autofree char *text = read_file (fixture, "audit.jsonl");
  g_assert_cmpuint (assert_numbers (text, 1), ==, 5);
}

/* Lines that are none of ours stay, and the numbers go on. */
static void
test_strange (Fixture *fixture, gconstpointer data)
{
  append (fixture->store, "{\"a\":1}\n");
  run_in (fixture, "seq 1 3000 >>audit.jsonl", "");
  append (fixture->store, "{\"b\":2}\n");
  g_autofree char *text = read_file (fixture, "audit.jsonl");
  g_assert_nonnull (strstr (text, "\n3000\n{\"seq\":2,"));
}

/* A line longer than what is read from the end at first. */
static void
test_long (Fixture *fixture, gconstpointer data)
{
  store_mailbox_unref (open_named (fixture->store, "joe@example.com"));
  g_autofree char *text = g_strnfill (300000, 'x');
  g_autofree char *object = g_strdup_printf ("{\"text\":\"%s\"}\n", text);
  for (int i = 0; i < 60; i++)
    append (fixture->store, object);
  g_autofree char *old = read_file (fixture, "audit.jsonl.1");
  g_autofree char *now = read_file (fixture, "audit.jsonl");
  g_assert_cmpuint (strlen (old), <=, 16 << 20);
  uint64_t next = assert_numbers (old, 1);
  g_assert_cmpuint (next, >, 50);
  g_assert_cmpuint (assert_numbers (now, next), ==, 61);
  assert_clean (fixture->store);

  /* The file that is written to is gone: the one before it knows the number. */
  run_in (fixture, "rm audit.jsonl", "");
  append (fixture->store, "{\"a\":1}\n");
  g_autofree char *anew = read_file (fixture, "audit.jsonl");
  g_assert_cmpuint (assert_numbers (anew, next), ==, next + 1);
}

/* A line of about `size` bytes that somebody left by that way. */
static char *
long_line (const char *through, size_t size)
{
  g_autofree char *text = g_strnfill (size, 'x');
  return g_strdup_printf ("{\"through\":\"%s\",\"object\":\"%s\"}\n", through, text);
}

static void
append_times (Store *store, const char *line, int times)
{
  for (int i = 0; i < times; i++)
    append (store, line);
}

static size_t
count (const char *text, const char *what)
{
  size_t found = 0;
  for (; (text = strstr (text, what)) != NULL; text += strlen (what))
    found++;
  return found;
}

/* Who reads a lot does not push out who changed something; without a line twice after a crash. */
static void
test_reading (Fixture *fixture, gconstpointer data)
{
  store_mailbox_unref (open_named (fixture->store, "joe@example.com"));
  g_autofree char *open = long_line ("open", 500000);
  append (fixture->store, "{\"through\":\"ctl\",\"comm\":\"\\\"through\\\":\\\"open\\\"\"}\n");
  append_times (fixture->store, open, 40);
  append (fixture->store, "{\"through\":\"mkdir\"}\n");
  /* As if the process had died before the full file was gone. */
  run_in (fixture, "cat audit.jsonl >>audit.jsonl.1", "");
  append_times (fixture->store, open, 80);
  g_autofree char *old = read_file (fixture, "audit.jsonl.1");
  g_autofree char *now = read_file (fixture, "audit.jsonl");
  g_assert_nonnull (strstr (now, "{\"seq\":122,"));
  g_assert_cmpuint (count (old, "\"ctl\""), ==, 1);
  g_assert_cmpuint (count (old, "\"mkdir\""), ==, 1);
  g_assert_cmpuint (strlen (old), <, 17 << 20);
  g_assert_cmpuint (count (old, "\"seq\""), >, 30);
  assert_clean (fixture->store);
}

/* Nor where a whole file had told of changes alone before. */
static void
test_reading_begun (Fixture *fixture, gconstpointer data)
{
  g_autofree char *change = long_line ("mkdir", 500000);
  g_autofree char *open = long_line ("open", 500000);
  append_times (fixture->store, change, 40);
  append_times (fixture->store, open, 80);
  g_autofree char *old = read_file (fixture, "audit.jsonl.1");
  g_assert_cmpuint (count (old, "\"mkdir\""), ==, 33); /* as many as have room in 16 MiB */
  g_assert_nonnull (strstr (old, "{\"seq\":40,"));
}

/* Where there is no room to keep them, the file grows until there is. */
static void
test_reading_full (Fixture *fixture, gconstpointer data)
{
  store_mailbox_unref (open_named (fixture->store, "joe@example.com"));
  g_autofree char *open = long_line ("open", 500000);
  append (fixture->store, "{\"through\":\"mkdir\"}\n");
  append_times (fixture->store, open, 40);
  run_in (fixture, "mkdir audit.jsonl.new", "");
  append_times (fixture->store, open, 80);
  g_autofree char *grown = read_file (fixture, "audit.jsonl");
  g_assert_cmpuint (strlen (grown), >, 40 << 20);
  run_in (fixture, "rmdir audit.jsonl.new", "");
  append_times (fixture->store, open, 3); /* a MiB, after which it is tried again */
  g_autofree char *old = read_file (fixture, "audit.jsonl.1");
  g_autofree char *now = read_file (fixture, "audit.jsonl");
  g_assert_cmpuint (count (old, "\"mkdir\""), ==, 1);
  g_assert_nonnull (strstr (now, "{\"seq\":124,"));
  g_assert_cmpuint (strlen (now), <, 2 << 20);

  append_times (fixture->store, open, 40);
  g_autofree char *older = read_file (fixture, "audit.jsonl.1");
  g_assert_cmpuint (count (older, "\"mkdir\""), ==, 1);
  g_assert_cmpuint (strlen (older), <, 17 << 20);
}

/* But not forever. */
static void
test_reading_grown (Fixture *fixture, gconstpointer data)
{
  g_autofree char *open = long_line ("open", 2 << 20);
  append (fixture->store, open);
  run_in (fixture, "mkdir audit.jsonl.new && cp audit.jsonl audit.jsonl.1", "");
  append_times (fixture->store, open, 40);
  g_autofree char *old = read_file (fixture, "audit.jsonl.1");
  g_autofree char *now = read_file (fixture, "audit.jsonl");
  g_assert_cmpuint (strlen (old), >, 64 << 20);
  g_assert_cmpuint (strlen (now), <, 20 << 20);
}

/* What lies in its place is not written through, and nobody waits for it. */
static void
test_hostile (Fixture *fixture, gconstpointer data)
{
  static const char *const things[] = {"ln -s mailfs.conf", "mkfifo", "mkdir"};
  g_autofree char *before = read_file (fixture, "mailfs.conf");
  for (size_t i = 0; i < G_N_ELEMENTS (things); i++) {
    g_autoptr (GError) error = NULL;
    run_in (fixture, things[i], " audit.jsonl");
    g_assert_false (store_audit_append (fixture->store, "{\"a\":1}\n", &error));
    g_assert_nonnull (strstr (error->message, "audit.jsonl"));
    run_in (fixture, "rm -r audit.jsonl", "");
  }
  g_autofree char *after = read_file (fixture, "mailfs.conf");
  g_assert_cmpstr (before, ==, after);
}

/* Several processes, each with several threads. */
static gpointer
append_many (gpointer data)
{
  for (int i = 0; i < 50; i++)
    append (data, "{\"by\":\"a thread\"}\n");
  return NULL;
}

static void
write_from_process (const char *path)
{
  g_autoptr (GError) error = NULL;
  GThread *threads[3];
  Store *store = store_open (path, 0, &error);
  for (int i = 0; store != NULL && i < 3; i++)
    threads[i] = g_thread_new ("writer", append_many, store);
  for (int i = 0; store != NULL && i < 3; i++)
    g_thread_join (threads[i]);
  _exit (store != NULL ? 0 : 1);
}

static void
test_writers (Fixture *fixture, gconstpointer data)
{
  g_clear_pointer (&fixture->store, store_close);
  for (int i = 0; i < 3; i++)
    if (fork () == 0)
      write_from_process (fixture->path);
  for (int i = 0; i < 3; i++) {
    int status;
    g_assert_cmpint (wait (&status), >, 0);
    g_assert_cmpint (status, ==, 0);
  }
  reopen (fixture, 0);
  g_autofree char *text = read_file (fixture, "audit.jsonl");
  g_assert_cmpuint (assert_numbers (text, 1), ==, 451);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/audit/lines", Fixture, NULL, set_up, test_lines, tear_down);
  g_test_add ("/audit/torn", Fixture, NULL, set_up, test_torn, tear_down);
  g_test_add ("/audit/strange", Fixture, NULL, set_up, test_strange, tear_down);
  g_test_add ("/audit/long", Fixture, NULL, set_up, test_long, tear_down);
  g_test_add ("/audit/reading", Fixture, NULL, set_up, test_reading, tear_down);
  g_test_add ("/audit/reading-begun", Fixture, NULL, set_up, test_reading_begun, tear_down);
  g_test_add ("/audit/reading-full", Fixture, NULL, set_up, test_reading_full, tear_down);
  g_test_add ("/audit/reading-grown", Fixture, NULL, set_up, test_reading_grown, tear_down);
  g_test_add ("/audit/hostile", Fixture, NULL, set_up, test_hostile, tear_down);
  g_test_add ("/audit/writers", Fixture, NULL, set_up, test_writers, tear_down);
  return g_test_run ();
}
