/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order.c - what somebody asked for, by writing to a control file or setting an attribute.
 *
 * An order is one write(2): one or more lines, each a command of the store's table with its words.
 * All lines are looked at before any acts. Then those that are for the queue go there, in one
 * transaction, and the others are carried out in their order.
 *
 * Four words belong to this interface and not to commands: "wait", "cancel", "now" and "tag=TEXT".
 */
#include "fs/order.h"
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/jobs.h"
#include "fs/rendering.h"
#include "fs/reply.h"
#include "fs/rows.h"
#include "fs/trail.h"
#include "store/commands.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define TAG_MAX 64

/* One line, understood. */
typedef struct {
  StoreRequest *request; /* NULL: a job is to be taken out of the queue */
  bool now;              /* run it at once */
  uint64_t id;           /* of the job to take out */
  bool cancel;           /* even if it runs */
} Line;

static void
clear_line (gpointer data)
{
  Line *line = data;

  store_request_free (line->request);
}

static GArray *
lines_new (void)
{
  GArray *lines = g_array_new (FALSE, FALSE, sizeof (Line));

  g_array_set_clear_func (lines, clear_line);
  return lines;
}

Order
order_begin (fuse_req_t req, const ControlNode *node, const char *through)
{
  return (Order){
      .mount = fuse_req_userdata (req),
      .node = *node,
      .caller = caller_of (req),
      .through = through,
      .jobs = g_array_new (FALSE, FALSE, sizeof (uint64_t)),
  };
}

void
order_clear (Order *order)
{
  g_clear_pointer (&order->text, g_free);
  g_clear_pointer (&order->tag, g_free);
  g_clear_pointer (&order->jobs, g_array_unref);
}

/* ---- words -------------------------------------------------------------------------------- */

static bool
take_tag (Order *order, const char *tag, GError **error)
{
  size_t length = strspn (tag, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._:-");

  if (length == 0 || length > TAG_MAX || tag[length] != '\0')
    return fail (error, EINVAL, "a tag has 1 to %d of the characters A-Z a-z 0-9 . _ : -", TAG_MAX);
  g_free (order->tag);
  order->tag = g_strdup (tag);
  return true;
}

/* Takes the words of this interface out of a line; what is left is the command's, and so is all
 * behind "--". */
static bool
take_words (Order *order, char **words, Line *line, GError **error)
{
  char **kept = words;
  bool good = true, names = false;

  for (char **word = words; *word != NULL; word++) {
    g_autofree char *text = g_steal_pointer (word);
    names |= g_str_equal (text, "--");
    if (names)
      *kept++ = g_steal_pointer (&text);
    else if (g_str_equal (text, "wait"))
      order->wait = true;
    else if (g_str_equal (text, "now"))
      line->now = true;
    else if (!g_str_has_prefix (text, "tag="))
      *kept++ = g_steal_pointer (&text);
    else if (good)
      good = take_tag (order, text + strlen ("tag="), error);
  }
  return good;
}

/* The words of a line; an empty array when there are none. */
static char **
split_line (const char *text, GError **error)
{
  g_autoptr (GError) failure = NULL;
  char **words;

  if (g_shell_parse_argv (text, NULL, &words, &failure))
    return words;
  if (g_error_matches (failure, G_SHELL_ERROR, G_SHELL_ERROR_EMPTY_STRING))
    return g_new0 (char *, 1);
  fail (error, EINVAL, "%s", failure->message);
  return NULL;
}

/* ---- lines -------------------------------------------------------------------------------- */

/* What lies outside the store is looked into, or written to, with the rights of this process: who
 * has them may ask for that. */
static bool
check_rights (const Order *order, const StoreRequest *request, GError **error)
{
  uid_t ours = geteuid ();

  return !store_request_goes_out (request) || order->caller.uid == ours || ours != 0 ||
         fail (error, EPERM, "only root can name a directory outside the store, or use a backup");
}

/* Makes a line of its words, of which there is one at least in ctl. */
typedef bool (*ParseFunc) (Order *order, char **words, const void *data, Line *line,
                           GError **error);

static bool
parse_line (Order *order, const char *text, ParseFunc parse, const void *data, GArray *lines,
            GError **error)
{
  g_auto (GStrv) words = split_line (text, error);
  Line line = {0};

  if (words == NULL)
    return false;
  if (words[0] == NULL)
    return true;
  if (!take_words (order, words, &line, error) || !parse (order, words, data, &line, error))
    return false;
  g_array_append_val (lines, line);
  if (line.request == NULL)
    return !line.now || fail (error, EINVAL, "'now' is for commands");
  return check_rights (order, line.request, error);
}

static GArray *
parse_lines (Order *order, const char *text, ParseFunc parse, const void *data, GError **error)
{
  g_auto (GStrv) texts = g_strsplit (text, "\n", -1);
  g_autoptr (GArray) lines = lines_new ();
  bool several = texts[0] != NULL && texts[1] != NULL && *texts[1] != '\0';

  for (char **line = texts; *line != NULL; line++) {
    if (parse_line (order, *line, parse, data, lines, error))
      continue;
    if (several)
      g_prefix_error (error, "line %td: ", line - texts + 1);
    return NULL;
  }
  return g_steal_pointer (&lines);
}

/* `cancel ID` and `queue-remove ID` */
static bool
parse_removal (Store *store, char **words, Line *line, GError **error)
{
  guint64 id;

  if (words[1] == NULL || words[2] != NULL ||
      !g_ascii_string_to_unsigned (words[1], 10, 1, INT64_MAX, &id, NULL))
    return fail (error, EINVAL, "'%s' wants the number of a job", words[0]);
  line->id = id;
  return store_queue_can_remove (store, id, line->cancel, error);
}

static bool
parse_ctl (Order *order, char **words, const void *data, Line *line, GError **error)
{
  if (words[0] == NULL)
    return fail (error, EINVAL, "no command");
  line->cancel = g_str_equal (words[0], "cancel");
  if (line->cancel || g_str_equal (words[0], "queue-remove"))
    return parse_removal (order->mount->store, words, line, error);
  line->request = store_request_parse (order->mount->store, (const char *const *)words, error);
  return line->request != NULL;
}

/* ---- verbs -------------------------------------------------------------------------------- */

/* A command, and the directory that it is for. */
typedef struct {
  const StoreCommand *command;
  uint32_t number;
} Verb;

static bool
parse_cancel (Order *order, char **words, const Verb *verb, Line *line, GError **error)
{
  g_auto (StoreRecord) record = {0};
  bool found;

  if (words[1] != NULL)
    return fail (error, EINVAL, "'cancel' stands alone");
  if (!store_queue_pending (order->mount->store, verb->command, verb->number, &record, &found,
                            error))
    return false;
  if (!found)
    return fail (error, ENOENT, "no '%s' waits or runs there", verb->command->name);
  line->cancel = true;
  line->id = record.id;
  return true;
}

/* The command's name, its words and the directory's path, as store_request_parse() wants them. What
 * is no word would be taken for a mailbox there. */
static bool
parse_verb (Order *order, char **words, const void *data, Line *line, GError **error)
{
  const Verb *verb = data;
  Store *store = order->mount->store;
  g_autoptr (GError) failure = NULL;
  g_autofree char *path = store_node_path (store, verb->number, &failure);
  g_autofree char *target = g_strconcat ("/", path, NULL);
  g_autoptr (GPtrArray) all = g_ptr_array_new ();

  if (path == NULL)
    return fail (error, error_code (failure) == ENOENT ? ESTALE : error_code (failure), "%s",
                 failure->message);
  if (words[0] != NULL && g_str_equal (words[0], "cancel"))
    return parse_cancel (order, words, verb, line, error);
  g_ptr_array_add (all, (char *)verb->command->name);
  if (verb->number != STORE_ROOT)
    g_ptr_array_add (all, target);
  for (char **word = words; *word != NULL; word++)
    g_ptr_array_add (all, *word);
  g_ptr_array_add (all, NULL);
  line->request = store_request_parse (store, (const char *const *)all->pdata, &failure);
  if (line->request != NULL && line->request->targets->len == (verb->number != STORE_ROOT))
    return true;
  g_clear_pointer (&line->request, store_request_free);
  if (failure == NULL)
    return fail (error, EINVAL, "only words can be here, no mailbox");
  if (failure->code == ENOENT)
    return fail (error, EINVAL, "only words can be here: %s", failure->message);
  return fail (error, failure->code, "%s", failure->message);
}

/* ---- acting ------------------------------------------------------------------------------- */

static bool
is_for_queue (const Line *line)
{
  return line->request != NULL && !line->now &&
         (line->request->command->traits & STORE_COMMAND_IMMEDIATE) == 0;
}

static bool
queue_lines (Order *order, const GArray *lines, GError **error)
{
  g_autoptr (GPtrArray) requests = g_ptr_array_new ();

  for (guint i = 0; i < lines->len; i++)
    if (is_for_queue (&g_array_index (lines, Line, i)))
      g_ptr_array_add (requests, g_array_index (lines, Line, i).request);
  if (requests->len == 0)
    return true;
  g_autofree uint64_t *ids = g_new (uint64_t, requests->len);
  if (!store_queue_add_all (order->mount->store, (StoreRequest *const *)requests->pdata,
                            requests->len, ids, error))
    return false;
  g_array_append_vals (order->jobs, ids, requests->len);
  return true;
}

/* Carries out what is not for the queue. */
static bool
carry_out (Order *order, Line *line, GError **error)
{
  Mount *mount = order->mount;
  uint64_t id = 0;

  if (line->request == NULL)
    return line->cancel ? store_queue_cancel (mount->store, line->id, error)
                        : store_queue_remove (mount->store, line->id, error);
  bool here = (line->request->command->traits & STORE_COMMAND_IMMEDIATE) != 0;
  StoreRequest *request = g_steal_pointer (&line->request);
  bool good = here ? run_here (mount->runs, request, &id, error)
                   : run_beside (mount->runs, request, &id, error);
  if (id != 0)
    g_array_append_val (order->jobs, id);
  return good;
}

/* Whether all that is to run at once can. */
static bool
check_room (const Order *order, const GArray *lines, GError **error)
{
  unsigned beside = 0;

  for (guint i = 0; i < lines->len; i++) {
    const Line *line = &g_array_index (lines, Line, i);
    beside += line->now && (line->request->command->traits & STORE_COMMAND_IMMEDIATE) == 0;
  }
  return runs_have_room (order->mount->runs, beside, error);
}

static bool
act (Order *order, const char *text, ParseFunc parse, const void *data, GError **error)
{
  order->text = g_strchomp (g_strdup (text));
  g_autoptr (GArray) lines = parse_lines (order, text, parse, data, error);
  if (lines == NULL || !check_room (order, lines, error) || !queue_lines (order, lines, error))
    return false;
  for (guint i = 0; i < lines->len; i++) {
    Line *line = &g_array_index (lines, Line, i);
    if (!is_for_queue (line) && !carry_out (order, line, error))
      return false;
  }
  return true;
}

bool
order_lines (Order *order, const char *text, GError **error)
{
  return act (order, text, parse_ctl, NULL, error);
}

bool
order_verb (Order *order, const StoreCommand *command, uint32_t number, const char *words,
            GError **error)
{
  Verb verb = {command, number};

  return act (order, words, parse_verb, &verb, error);
}

/* ---- files -------------------------------------------------------------------------------- */

bool
order_write_ctl (Order *order, char *text, GError **error)
{
  if (!g_str_has_suffix (text, "\n"))
    return fail (error, EINVAL, "a line ends with a newline");
  return order_lines (order, text, error);
}

bool
order_write_verb (Order *order, char *text, GError **error)
{
  return order_verb (order, &store_commands[order->node.row], order->node.number, text, error);
}

bool
order_render_state (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_auto (StoreRecord) record = {0};
  bool found;

  if (!store_queue_last (mount->store, &store_commands[node->row], node->number, &record, &found,
                         error))
    return false;
  if (found) {
    runs_complete (mount->runs, &record);
    job_append_state (&record, out);
  } else
    g_string_append (out, "idle");
  g_string_append_c (out, '\n');
  return true;
}

bool
order_render_grammar (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_string_append (out, "# VERB [WORD...] [MAILBOX...], one a line. Words of every verb:\n"
                        "#   wait      the write returns when the job has ended\n"
                        "#   now       at once, without waiting in the queue\n"
                        "#   tag=TEXT  stands in the audit, beside the job's number\n");
  for (const StoreCommand *command = store_commands; command->name != NULL; command++) {
    g_autofree char *usage = store_command_usage (command);
    g_string_append_printf (out, "%s\n", usage);
  }
  g_string_append (out, "cancel ID\nqueue-remove ID\n");
  return true;
}

/* ---- waiting for its jobs ----------------------------------------------------------------- */

/* While somebody sets an attribute of a directory the kernel keeps that locked: nobody can list it,
 * nor find what is new in it. So nobody waits there for long. */
#define PATIENCE_US (10 * G_TIME_SPAN_SECOND)

typedef struct {
  Caller caller;
  char *text;       /* what was asked for */
  GArray *jobs;     /* uint64_t */
  guint next;       /* the first whose end is not known */
  GError *failure;  /* of the first that failed */
  size_t size;      /* of the write; 0: it is an attribute */
  int64_t until_us; /* of an attribute */
} JobsWait;

static bool
tell_end (const StoreRecord *record, int code, GError **out_failure)
{
  if (code != 0)
    fail (out_failure, code, "job %" PRIu64 ": %s", record->id,
          record->error != NULL ? record->error : store_job_state_name (record->state));
  return true;
}

/* Whether the job has ended; `*out_failure` is why it failed then. */
static bool
has_ended (Mount *mount, uint64_t id, GError **out_failure)
{
  g_auto (StoreRecord) record = {0};
  g_autoptr (GError) error = NULL;

  if (!store_queue_get (mount->store, id, &record, &error)) {
    fail (out_failure, error_code (error) == ENOENT ? ESTALE : error_code (error), "%s",
          error->message);
    return true;
  }
  runs_complete (mount->runs, &record);
  switch (record.state) {
  case STORE_JOB_WAITING:
  case STORE_JOB_RUNNING: return false;
  case STORE_JOB_DONE: return true;
  case STORE_JOB_FAILED:
    return tell_end (&record, record.code != 0 ? record.code : EIO, out_failure);
  case STORE_JOB_CANCELLED: return tell_end (&record, record.code, out_failure); /* 0: not needed */
  case STORE_JOB_INTERRUPTED: return !record.queued && tell_end (&record, EINTR, out_failure);
  }
  g_assert_not_reached ();
}

static bool
jobs_are_over (Mount *mount, void *data, int *out_code)
{
  JobsWait *wait = data;
  GError *failure = NULL;

  while (wait->next < wait->jobs->len &&
         has_ended (mount, g_array_index (wait->jobs, uint64_t, wait->next), &failure)) {
    if (wait->failure == NULL)
      wait->failure = g_steal_pointer (&failure);
    g_clear_error (&failure);
    wait->next++;
  }
  bool is_over = wait->next == wait->jobs->len;
  if (!is_over && (wait->size > 0 || g_get_monotonic_time () < wait->until_us))
    return false;
  int code = wait->failure != NULL ? error_code (wait->failure) : 0;
  *out_code = !is_over                         ? EINPROGRESS
              : wait->size == 0 && code == EIO ? EUCLEAN /* No attribute gives EIO. */
                                               : code;
  return true;
}

static void
answer_jobs (fuse_req_t req, void *data, int code)
{
  const JobsWait *wait = data;

  if (wait->failure != NULL)
    trail_failure (fuse_req_userdata (req), &wait->caller, wait->text, wait->failure);
  reply_order (req, code, wait->size);
}

static void
free_jobs (void *data)
{
  JobsWait *wait = data;

  g_array_unref (wait->jobs);
  g_clear_error (&wait->failure);
  g_free (wait->text);
  g_free (wait);
}

static const WaitKind wait_for_jobs = {jobs_are_over, answer_jobs, free_jobs};

/* ---- the answer --------------------------------------------------------------------------- */

void
order_reply (fuse_req_t req, Order *order, bool good, const GError *error, size_t size)
{
  Mount *mount = order->mount;
  bool is_message = inode_kind (order->node.ino) == INODE_MESSAGE;
  fuse_ino_t object = is_message
                          ? order->node.ino
                          : inode_directory (inode_view (order->node.ino), order->node.number);
  g_autofree char *path = inode_path (mount, object);

  if (!good || order->text != NULL)
    trail_action (mount, &order->caller, order->through, path,
                  order->text != NULL ? order->text : "", order->jobs, order->tag, error);
  rendering_touch (mount, order->node.ino);
  if (good && order->wait && order->jobs->len > 0) {
    JobsWait wait = {
        .caller = order->caller,
        .text = g_strdup (order->text != NULL ? order->text : ""),
        .jobs = g_array_ref (order->jobs),
        .size = size,
        .until_us = g_get_monotonic_time () + PATIENCE_US,
    };
    return waits_add (mount->waits, req, &wait_for_jobs, g_memdup2 (&wait, sizeof wait));
  }
  reply_order (req, good ? 0 : error_code (error), size);
}
