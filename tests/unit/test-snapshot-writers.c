/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots while others write: several processes with several threads each deliver, flag, expunge
 * and move mail between mailboxes and users, rename and remove mailboxes, while snapshots are taken
 * and dropped, and somebody cleans up, purges, and rebuilds indexes.
 *
 * Every writer has mailboxes of its own, so it knows each state that they ever had: every call is
 * one step from one to the next, a move as well. A snapshot must show, of every writer, one of the
 * states between the step that was done when the snapshot was begun and the one that was begun when
 * it was taken; so never half of a move. And it must go on showing that.
 *
 * MAILFS_MODEL_STEPS and MAILFS_MODEL_SEED ask for longer or other runs.
 */
#include "tests/unit/snapshot-facts.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PROCESSES     3
#define THREADS       2 /* of each */
#define WRITERS       (PROCESSES * THREADS)
#define BOXES         4 /* of each writer; in two users by turns, the last one below another */
#define STEPS         50
#define STEPS_MAX     20000
#define TEXT_MAX      ((size_t)256 << 20)
#define SNAPSHOTS_MAX 6

/* The states that a writer's mailboxes had, as text; in memory that all processes share, of which
 * only what is used is there. */
typedef struct {
  _Atomic unsigned begun, done;
  size_t at[STEPS_MAX + 1];
  size_t used;
  char text[TEXT_MAX];
} Log;

typedef struct {
  Log *logs[WRITERS];
  _Atomic unsigned finished; /* writers */
} Shared;

typedef struct {
  uint32_t uid, flags;
  char *sha;
  bool expunged;
} Mail;

typedef struct {
  uint32_t number, above; /* the latter: what it lies in */
  char *above_path, *name;
  GArray *mail; /* of Mail */
  bool removed;
} Box;

typedef struct {
  Store *store;
  Log *log;
  GRand *random;
  unsigned which, count, steps;
  Box boxes[BOXES];
} Writer;

static unsigned
pick (GRand *random, unsigned below)
{
  return (unsigned)g_rand_int_range (random, 0, (gint32)below);
}

static unsigned
number_from_environment (const char *name, unsigned standard)
{
  const char *text = g_getenv (name);
  return text != NULL ? (unsigned)strtoul (text, NULL, 10) : standard;
}

/* ---- a writer ------------------------------------------------------------------------------ */

/* In the words of facts_of_messages(). */
static void
render (const Box *box, GString *text)
{
  if (box->removed)
    return;
  g_string_append_printf (text, "#%u %s/%s\n", box->number, box->above_path, box->name);
  for (guint i = 0; i < box->mail->len; i++) {
    const Mail *mail = &g_array_index (box->mail, Mail, i);
    g_autofree char *flags = store_flags_to_string (mail->flags, NULL);
    if (!mail->expunged)
      g_string_append_printf (text, "  %u 1600000000 [%s] %.12s\n", mail->uid, flags, mail->sha);
  }
}

/* What the mailboxes are like after the step. */
static void
record (Writer *self, unsigned step)
{
  g_autoptr (GString) text = g_string_new (NULL);
  for (unsigned i = 0; i < BOXES; i++)
    render (&self->boxes[i], text);
  Log *log = self->log;
  g_assert_cmpuint (log->used + text->len + 1, <=, TEXT_MAX);
  log->at[step] = log->used;
  memcpy (log->text + log->used, text->str, text->len + 1);
  log->used += text->len + 1;
}

static StoreMailbox *
open_box (const Writer *self, const Box *box)
{
  g_autoptr (GError) error = NULL;
  StoreMailbox *mailbox = store_mailbox_open (self->store, box->number, &error);
  g_assert_no_error (error);
  return mailbox;
}

static Box *
any_box (Writer *self)
{
  Box *box;
  do
    box = &self->boxes[pick (self->random, BOXES)];
  while (box->removed);
  return box;
}

/* The places of up to four messages, and their UIDs. */
static unsigned
any_mail (Writer *self, const Box *box, bool expunged, guint *out_places, uint32_t *out_uids)
{
  unsigned count = 0, first = box->mail->len > 0 ? pick (self->random, box->mail->len) : 0;
  for (guint i = 0; i < box->mail->len && count < 4; i++) {
    guint place = (first + i) % box->mail->len;
    const Mail *mail = &g_array_index (box->mail, Mail, place);
    if (mail->expunged != expunged)
      continue;
    out_places[count] = place;
    out_uids[count++] = mail->uid;
  }
  return count;
}

static Mail *
mail_at (const Box *box, guint place)
{
  return &g_array_index (box->mail, Mail, place);
}

static void
deliver_some (Writer *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self);
  g_autoptr (StoreMailbox) mailbox = open_box (self, box);
  StoreDraft *drafts[3];
  Mail mail[3];
  unsigned count = 1 + pick (self->random, 3);
  for (unsigned i = 0; i < count; i++) {
    StoreFacts facts = {.flags = pick (self->random, 32), .internal_s = 1600000000};
    g_autofree char *text =
        g_strdup_printf ("Subject: %u of %u\r\n\r\nbody\r\n", ++self->count, self->which);
    drafts[i] = store_draft_new (self->store, &facts, &error);
    g_assert_no_error (error);
    assert_ok (store_draft_write (drafts[i], text, strlen (text), &error), error);
    assert_ok (store_draft_finish (drafts[i], mailbox, &error), error);
    mail[i] = (Mail){.flags = facts.flags,
                     .sha = g_compute_checksum_for_string (G_CHECKSUM_SHA256, text, -1)};
  }
  assert_ok (store_mailbox_append (mailbox, drafts, count, 0, &error), error);
  for (unsigned i = 0; i < count; i++) {
    mail[i].uid = store_draft_uid (drafts[i]);
    store_draft_free (drafts[i]);
    g_array_append_val (box->mail, mail[i]);
  }
}

static void
flag_some (Writer *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self);
  g_autoptr (StoreMailbox) mailbox = open_box (self, box);
  guint places[4];
  uint32_t uids[4], flags = pick (self->random, 32);
  unsigned count = any_mail (self, box, false, places, uids);
  assert_ok (store_message_flag (mailbox, uids, count, STORE_FLAGS_SET, flags, NULL, &error),
             error);
  for (unsigned i = 0; i < count; i++)
    mail_at (box, places[i])->flags = flags;
}

static void
expunge_some (Writer *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self);
  g_autoptr (StoreMailbox) mailbox = open_box (self, box);
  guint places[4];
  uint32_t uids[4];
  unsigned count = any_mail (self, box, false, places, uids);
  assert_ok (store_mailbox_expunge (mailbox, uids, count, &error), error);
  for (unsigned i = 0; i < count; i++)
    mail_at (box, places[i])->expunged = true;
}

/* A cleanup may have been faster: then nothing happens. */
static void
undelete_some (Writer *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self);
  g_autoptr (StoreMailbox) mailbox = open_box (self, box);
  guint places[4];
  uint32_t uids[4];
  unsigned count = any_mail (self, box, true, places, uids);
  if (!store_mailbox_undelete (mailbox, uids, count, &error)) {
    g_assert_error (error, MAILFS_ERROR, ENOENT);
    return;
  }
  for (unsigned i = 0; i < count; i++) {
    mail_at (box, places[i])->expunged = false;
    mail_at (box, places[i])->flags &= ~(uint32_t)STORE_FLAG_DELETED;
  }
}

static void
move_some (Writer *self)
{
  g_autoptr (GError) error = NULL;
  Box *from = any_box (self), *to = any_box (self);
  guint places[4];
  uint32_t uids[4], copies[4];
  unsigned count = any_mail (self, from, false, places, uids);
  if (from == to || count == 0)
    return;
  g_autoptr (StoreMailbox) source = open_box (self, from);
  g_autoptr (StoreMailbox) target = open_box (self, to);
  assert_ok (store_mailbox_move (source, uids, count, target, copies, &error), error);
  for (unsigned i = 0; i < count; i++) {
    Mail *mail = mail_at (from, places[i]);
    Mail copy = {.uid = copies[i], .flags = mail->flags, .sha = mail->sha};
    mail->expunged = true;
    g_array_append_val (to->mail, copy);
  }
}

/* Makes the box, or another one of its name. */
static void
make_box (Writer *self, Box *box)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  const char *names[] = {box->name, NULL};
  assert_ok (store_mailbox_create_at (self->store, box->above, names, &node, &error), error);
  box->number = node.number;
  box->mail = g_array_new (FALSE, FALSE, sizeof (Mail));
  box->removed = false;
}

/* The last box is renamed, removed, and made again. */
static void
change_box (Writer *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = &self->boxes[BOXES - 1];
  if (box->removed) {
    make_box (self, box);
  } else if (pick (self->random, 3) == 0) {
    assert_ok (store_mailbox_remove (self->store, box->number, false, NULL, &error), error);
    box->removed = true;
  } else {
    g_autofree char *above = store_node_title (self->store, box->above, &error);
    g_autofree char *name = g_strdup_printf ("Sub%u", ++self->count);
    g_autofree char *spelling = g_strconcat (above, "/", name, NULL);
    assert_ok (store_mailbox_rename (self->store, box->number, spelling, &error), error);
    g_free (box->name);
    box->name = g_steal_pointer (&name);
  }
}

static void
set_out (Writer *self)
{
  for (unsigned i = 0; i < BOXES; i++) {
    g_autoptr (GError) error = NULL;
    g_auto (StoreNode) user = {0};
    Box *box = &self->boxes[i];
    g_autofree char *title = g_strdup_printf ("user%u@example.com", i % 2);
    assert_ok (store_node_resolve (self->store, title, &user, &error), error);
    box->above = i < BOXES - 1 ? user.number : self->boxes[1].number;
    box->above_path = store_node_path (self->store, box->above, &error);
    box->name = g_strdup_printf ("Box%u-%u", self->which, i);
    make_box (self, box);
  }
  record (self, 0);
}

static void *
write_along (void *data)
{
  static void (*const acts[]) (Writer *) = {deliver_some, deliver_some, deliver_some, flag_some,
                                            flag_some,    flag_some,    expunge_some, undelete_some,
                                            move_some,    move_some,    move_some,    change_box};
  Writer *self = data;
  for (unsigned step = 1; step <= self->steps; step++) {
    self->log->begun = step;
    acts[pick (self->random, G_N_ELEMENTS (acts))](self);
    record (self, step);
    self->log->done = step;
  }
  return NULL;
}

/* ---- processes ----------------------------------------------------------------------------- */

/* One process that writes. It waits until the other end of the pipe `gate` is closed. */
static void
run_writers (const char *path, Shared *shared, unsigned first, uint32_t seed, unsigned steps,
             int gate)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (path, 0, &error);
  g_assert_no_error (error);
  Writer writers[THREADS];
  GThread *threads[THREADS];
  char byte;
  for (unsigned i = 0; i < THREADS; i++) {
    writers[i] = (Writer){.store = store,
                          .log = shared->logs[first + i],
                          .random = g_rand_new_with_seed (seed + first + i),
                          .which = first + i,
                          .steps = steps};
    set_out (&writers[i]);
  }
  shared->finished += THREADS;
  g_assert_cmpint (read (gate, &byte, 1), ==, 0);
  for (unsigned i = 0; i < THREADS; i++)
    threads[i] = g_thread_new ("writer", write_along, &writers[i]);
  for (unsigned i = 0; i < THREADS; i++)
    g_thread_join (threads[i]);
  shared->finished += THREADS;
}

/* Another process that is in the way of all, until the writers have finished. What it does may fail
 * where others are at the same, but must not harm. */
static void
run_administrator (const char *path, const Shared *shared, uint32_t seed)
{
  static const char *const commands[] = {"cleanup age=0",         "cleanup age=0", "purge age=0",
                                         "reconstruct recursive", "check",         "reset"};
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) store = store_open (path, 0, &error);
  g_assert_no_error (error);
  g_autoptr (GRand) random = g_rand_new_with_seed (seed);
  assert_ok (store_setting_set (store, STORE_PURGE_AGE, "0", &error), error);
  while (shared->finished < 2 * WRITERS) {
    unsigned which = pick (random, G_N_ELEMENTS (commands));
    g_auto (GStrv) words = g_strsplit (commands[which], " ", -1);
    StoreRequest *request = store_request_parse (store, (const char *const *)words, &error);
    g_assert_no_error (error);
    g_autoptr (StoreJob) job = store_job_new (store, request);
    store_job_run (job, NULL);
  }
}

static pid_t
start (void)
{
  fflush (NULL);
  pid_t child = fork ();
  g_assert_cmpint (child, >=, 0);
  return child;
}

/* Sees that those that have ended did so in order; with `wait` all of them. */
static void
look_after (pid_t children[PROCESSES + 1], bool wait)
{
  for (unsigned i = 0; i <= PROCESSES; i++) {
    int status;
    if (children[i] == 0 || waitpid (children[i], &status, wait ? 0 : WNOHANG) == 0)
      continue;
    g_assert_true (WIFEXITED (status) && WEXITSTATUS (status) == 0);
    children[i] = 0;
  }
}

/* ---- snapshots ----------------------------------------------------------------------------- */

typedef struct {
  char *name;
  unsigned least[WRITERS], most[WRITERS]; /* the steps that it may show */
  char *shown[WRITERS];
  Store *view;
} Taken;

static void
taken_free (gpointer data)
{
  Taken *taken = data;
  for (unsigned i = 0; i < WRITERS; i++)
    g_free (taken->shown[i]);
  store_close (taken->view);
  g_free (taken->name);
  g_free (taken);
}

typedef struct {
  Store *view;
  unsigned which;
  GString *text;
} Look;

/* Adds what a snapshot shows of one writer's mailboxes, which are told by their names. */
static bool
look_at_node (const StoreNode *node, void *data, GError **error)
{
  Look *self = data;
  g_autofree char *prefix = g_strdup_printf ("Box%u-", self->which);
  g_autofree char *path = store_node_path (self->view, node->number, error);
  bool own = path != NULL && strstr (path, prefix) != NULL;
  if (own) {
    g_autoptr (GError) failure = NULL;
    g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->view, node->number, &failure);
    g_assert_no_error (failure);
    g_string_append_printf (self->text, "#%u %s\n", node->number, path);
    facts_of_messages (self->text, mailbox);
  }
  return path != NULL &&
         store_node_each_child (self->view, node->number, NULL, look_at_node, self, error);
}

/* In the order in which the writer has them. */
static char *
look (Store *view, unsigned which)
{
  g_autoptr (GError) error = NULL;
  Look self = {view, which, g_string_new (NULL)};
  assert_ok (store_node_each_child (view, STORE_ROOT, NULL, look_at_node, &self, &error), error);
  return g_string_free (self.text, FALSE);
}

static int
compare_texts (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

/* The blocks of mailboxes, sorted: the tree has them in another order than the writer. */
static char *
sorted (const char *text)
{
  g_auto (GStrv) blocks = g_strsplit (text, "#", -1);
  g_autoptr (GPtrArray) order = g_ptr_array_new ();
  GString *result = g_string_new (NULL);
  for (guint i = 0; blocks[i] != NULL; i++)
    g_ptr_array_add (order, blocks[i]);
  g_ptr_array_sort (order, compare_texts);
  for (guint i = 0; i < order->len; i++)
    g_string_append_printf (result, "%s%s", *(char *)order->pdata[i] != '\0' ? "#" : "",
                            (char *)order->pdata[i]);
  return g_string_free (result, FALSE);
}

static Taken *
take (Store *store, Shared *shared, unsigned count)
{
  g_autoptr (GError) error = NULL;
  Taken *taken = g_new0 (Taken, 1);
  taken->name = g_strdup_printf ("s%u", count);
  for (unsigned i = 0; i < WRITERS; i++)
    taken->least[i] = shared->logs[i]->done;
  assert_ok (store_snapshot_take (store, taken->name, NULL, &error), error);
  for (unsigned i = 0; i < WRITERS; i++)
    taken->most[i] = shared->logs[i]->begun;
  taken->view = store_snapshot_open (store, taken->name, &error);
  g_assert_no_error (error);
  for (unsigned i = 0; i < WRITERS; i++)
    taken->shown[i] = look (taken->view, i);
  return taken;
}

/* Whether what it showed at once is a state that the writer had then; and it still shows it. */
static void
check (Store *store, const Shared *shared, const Taken *taken)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) fresh = store_snapshot_open (store, taken->name, &error);
  g_assert_no_error (error);
  for (unsigned i = 0; i < WRITERS; i++) {
    const Log *log = shared->logs[i];
    g_autofree char *shown = sorted (taken->shown[i]);
    bool found = false;
    for (unsigned step = taken->least[i]; step <= taken->most[i] && !found; step++) {
      g_autofree char *state = sorted (log->text + log->at[step]);
      found = strcmp (state, shown) == 0;
    }
    if (!found) {
      g_printerr ("# of the steps %u to %u of writer %u:\n", taken->least[i], taken->most[i], i);
      for (unsigned step = taken->least[i]; step <= taken->most[i]; step++)
        g_printerr ("# -- %u\n%s", step, log->text + log->at[step]);
      g_error ("%s shows none, but\n%s", taken->name, taken->shown[i]);
    }
    g_autofree char *again = look (taken->view, i);
    assert_same_text (taken->name, again, taken->shown[i]);
    g_autofree char *anew = look (fresh, i);
    assert_same_text (taken->name, anew, taken->shown[i]);
  }
}

/* Takes snapshots until the writers have finished; the list is full again and again, and then one
 * is dropped. */
static GPtrArray *
take_along (Store *store, Shared *shared, pid_t children[PROCESSES + 1], GRand *random)
{
  GPtrArray *all = g_ptr_array_new_with_free_func (taken_free);
  for (unsigned count = 1; shared->finished < 2 * WRITERS; count++) {
    look_after (children, false);
    g_ptr_array_add (all, take (store, shared, count));
    if (all->len <= SNAPSHOTS_MAX)
      continue;
    g_autoptr (GError) error = NULL;
    guint which = pick (random, all->len);
    Taken *taken = all->pdata[which];
    assert_ok (store_snapshot_drop (store, taken->name, &error), error);
    g_ptr_array_remove_index (all, which);
  }
  return all;
}

static void
check_all (Store *store, const Shared *shared, const GPtrArray *all)
{
  for (guint i = 0; i < all->len; i++)
    check (store, shared, all->pdata[i]);
}

/* The store itself has come to where the writers left it. */
static void
check_end (Store *store, const Shared *shared)
{
  for (unsigned i = 0; i < WRITERS; i++) {
    const Log *log = shared->logs[i];
    g_autofree char *shown = look (store, i);
    g_autofree char *is = sorted (shown);
    g_autofree char *wanted = sorted (log->text + log->at[log->done]);
    assert_same_text ("the store", is, wanted);
  }
}

/* ---- the test ------------------------------------------------------------------------------ */

static void *
share (size_t size)
{
  void *memory =
      mmap (NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  g_assert_true (memory != MAP_FAILED);
  return memory;
}

static void
test_writers (Fixture *fixture, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  unsigned steps = MIN (number_from_environment ("MAILFS_MODEL_STEPS", STEPS), STEPS_MAX);
  uint32_t seed = number_from_environment ("MAILFS_MODEL_SEED", 1);
  Shared *shared = share (sizeof *shared);
  pid_t children[PROCESSES + 1];
  int gate[2];
  for (unsigned i = 0; i < WRITERS; i++)
    shared->logs[i] = share (sizeof (Log));
  store_mailbox_unref (open_named (fixture->store, "user0@example.com"));
  store_mailbox_unref (open_named (fixture->store, "user1@example.com"));
  g_clear_pointer (&fixture->store, store_close);
  g_assert_cmpint (pipe (gate), ==, 0);
  for (unsigned i = 0; i <= PROCESSES; i++) {
    children[i] = start ();
    if (children[i] > 0)
      continue;
    close (gate[1]);
    if (i < PROCESSES)
      run_writers (fixture->path, shared, i * THREADS, seed, steps, gate[0]);
    else
      run_administrator (fixture->path, shared, seed);
    _exit (0);
  }
  reopen (fixture, 0);
  while (shared->finished < WRITERS)
    look_after (children, false);
  close (gate[0]);
  close (gate[1]);
  g_autoptr (GRand) random = g_rand_new_with_seed (seed);
  g_autoptr (GPtrArray) all = take_along (fixture->store, shared, children, random);
  look_after (children, true);
  check_end (fixture->store, shared);
  check_all (fixture->store, shared, all);
  run_in (fixture, "rm -rf index mailboxes.sqlite3*", "");
  check_all (fixture->store, shared, all);
  store_job_free (run_job (fixture->store, "repair"));
  store_job_free (run_job (fixture->store, "cleanup age=0"));
  check_all (fixture->store, shared, all);
  assert_clean (fixture->store);
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  add_test ("/snapshot-writers", test_writers);
  return g_test_run ();
}
