/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deliver bare DIRECTORY COUNT              what the filesystem can do
 * deliver store STORE COUNT THREADS USERS   what the store makes of it
 *
 * Delivers COUNT small messages, one at a time and each of them durable before the next: once with
 * nothing but write, fsync, rename and fsync of the directory; once into the INBOXes of as many
 * users by as many threads. bench.py times the two. Into a store, each message is told as soon as
 * it is acknowledged: number of the user, UID and SHA-256.
 */
#include "store/commands.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MESSAGE_SIZE 5000

typedef struct {
  Store *store;
  StoreMailbox **inboxes;
  int users, threads;
  int left;   /* messages; atomic */
  int joined; /* threads that began; atomic */
} Work;

static void
die (const char *what, const GError *error)
{
  fprintf (stderr, "deliver: %s: %s\n", what, error != NULL ? error->message : g_strerror (errno));
  exit (1);
}

/* No two are the same. */
static void
make_message (char text[MESSAGE_SIZE], int number)
{
  memset (text, 'x', MESSAGE_SIZE);
  int head = snprintf (text, MESSAGE_SIZE,
                       "From: u%d@example.org\r\nTo: joe@example.com\r\nSubject: message %d\r\n"
                       "Message-ID: <%d@example.org>\r\nDate: Mon, 4 Mar 2024 10:00:00 +0100\r\n"
                       "\r\n",
                       number % 97, number, number);
  text[head] = 'x';
  for (size_t i = (size_t)head + 70; i + 1 < MESSAGE_SIZE; i += 72)
    memcpy (text + i, "\r\n", 2);
}

/* ---- without a store ----------------------------------------------------------------------- */

static void
deliver_bare (int tmp, int directory, int number)
{
  char text[MESSAGE_SIZE], name[32];
  make_message (text, number);
  snprintf (name, sizeof name, "%010d.eml", number);
  auto_fd fd = openat (tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
  if (fd < 0 || write (fd, text, sizeof text) != (ssize_t)sizeof text || fsync (fd) < 0 ||
      renameat (tmp, name, directory, name) < 0 || fsync (directory) < 0)
    die (name, NULL);
}

static void
run_bare (const char *path, int count)
{
  auto_fd directory = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0 || mkdirat (directory, "tmp", 0750) < 0 ||
      mkdirat (directory, "inbox", 0750) < 0)
    die (path, NULL);
  auto_fd tmp = openat (directory, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  auto_fd inbox = openat (directory, "inbox", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int number = 0; number < count; number++)
    deliver_bare (tmp, inbox, number);
}

/* ---- into a store -------------------------------------------------------------------------- */

static void
deliver (Store *store, StoreMailbox *inbox, int user, int number)
{
  char text[MESSAGE_SIZE];
  make_message (text, number);
  g_autoptr (GError) error = NULL;
  StoreFacts facts = {.internal_s = INT64_MIN};
  g_autoptr (StoreDraft) draft = store_draft_new (store, &facts, &error);
  if (draft == NULL || !store_draft_write (draft, text, sizeof text, &error) ||
      !store_draft_finish (draft, inbox, &error) ||
      !store_mailbox_append (inbox, &draft, 1, 0, &error))
    die ("append", error);
  GString *line = g_string_new (NULL);
  g_string_printf (line, "%d %u ", user, store_draft_uid (draft));
  for (size_t i = 0; i < 32; i++)
    g_string_append_printf (line, "%02x", store_draft_sha256 (draft)[i]);
  g_string_append_c (line, '\n');
  if (write (STDOUT_FILENO, line->str, line->len) != (ssize_t)line->len)
    die ("standard output", NULL);
  g_string_free (line, TRUE);
}

static void *
run_thread (void *data)
{
  Work *work = data;
  int user = g_atomic_int_add (&work->joined, 1) % work->users;
  for (int left; (left = g_atomic_int_add (&work->left, -1)) > 0;)
    deliver (work->store, work->inboxes[user], user, left);
  return NULL;
}

static void
run_store (const char *path, int count, int threads, int users)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (path, 0, &error);
  if (store == NULL)
    die (path, error);
  g_autoptr (GPtrArray) inboxes =
      g_ptr_array_new_with_free_func ((GDestroyNotify)store_mailbox_unref);
  for (int user = 0; user < users; user++) {
    g_autofree char *name = g_strdup_printf ("u%d@example.com", user);
    g_auto (StoreNode) node = {0};
    if (!store_mailbox_create (store, name, &node, &error))
      die (name, error);
    g_ptr_array_add (inboxes, store_mailbox_open (store, node.number, &error));
  }
  Work work = {store, (StoreMailbox **)inboxes->pdata, users, threads, count, 0};
  g_autofree GThread **running = g_new (GThread *, threads);
  for (int i = 0; i < threads; i++)
    running[i] = g_thread_new ("deliver", run_thread, &work);
  for (int i = 0; i < threads; i++)
    g_thread_join (running[i]);
}

int
main (int argc, char **argv)
{
  if (argc == 4 && strcmp (argv[1], "bare") == 0)
    run_bare (argv[2], atoi (argv[3]));
  else if (argc == 6 && strcmp (argv[1], "store") == 0)
    run_store (argv[2], atoi (argv[3]), atoi (argv[4]), atoi (argv[5]));
  else
    return 64;
  return 0;
}
