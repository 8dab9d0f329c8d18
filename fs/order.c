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
#include "fs/control.h"

#define TAG_MAX 64u

/* One line, understood. */
typedef struct {
  StoreRequest *request; /* NULL: it is `cancel` or `queue-remove` */
  bool cancel;           /* ends the job even if it runs */
  uint64_t id;           /* of the job to take out of the queue */
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
  const struct fuse_ctx *context = fuse_req_ctx (req);

  return (Order){
      .mount = fuse_req_userdata (req),
      .node = *node,
      .caller = {context->uid, context->gid, context->pid},
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
  size_t length =
      strspn (tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-");

  if (length == 0 || length > TAG_MAX || tag[length] != '\0')
    return fail (error, EINVAL, "a tag has 1 to %u of the characters A-Z a-z 0-9 . _ : -", TAG_MAX);
  g_free (order->tag);
  order->tag = g_strdup (tag);
  return true;
}

/* Takes the words of this interface out of a line; what is left is the command's. */
static bool
take_words (Order *order, char **words, GError **error)
{
  char **kept = words;

  for (char **word = words; *word != NULL; word++) {
    g_autofree char *text = *word;
    *word = NULL;
    if (g_str_equal (text, "wait"))
      order->wait = true;
    else if (!g_str_has_prefix (text, "tag="))
      *kept++ = g_steal_pointer (&text);
    else if (!take_tag (order, text + strlen ("tag="), error))
      return false;
  }
  return true;
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

/* `cancel ID` and `queue-remove ID` */
static bool
parse_removal (char **words, Line *out, GError **error)
{
  guint64 id;

  if (words[1] == NULL || words[2] != NULL ||
      !g_ascii_string_to_unsigned (words[1], 10, 1, INT64_MAX, &id, NULL))
    return fail (error, EINVAL, "'%s' wants the number of a job", words[0]);
  out->id = id;
  return true;
}

static bool
parse_command (Order *order, char **words, Line *out, GError **error)
{
  out->cancel = g_str_equal (words[0], "cancel");
  if (out->cancel || g_str_equal (words[0], "queue-remove"))
    return parse_removal (words, out, error);
  out->request = store_request_parse (order->mount->store, (const char *const *)words, error);
  return out->request != NULL;
}

/* Reads one line into `lines`, unless there is nothing in it. */
typedef bool (*ParseFunc) (Order *order, char **words, void *data, Line *out, GError **error);

static bool
parse_line (Order *order, const char *text, ParseFunc parse, void *data, GArray *lines,
            GError **error)
{
  g_auto (GStrv) words = split_line (text, error);
  Line line = {0};

  if (words == NULL)
    return false;
  if (words[0] == NULL)
    return true;
  if (!take_words (order, words, error) || !parse (order, words, data, &line, error))
    return false;
  g_array_append_val (lines, line);
  return true;
}

/* ---- acting ------------------------------------------------------------------------------- */

static bool
queue_requests (Order *order, const GArray *lines, GError **error)
{
  for (guint i = 0; i < lines->len; i++) {
    const Line *line = &g_array_index (lines, Line, i);
    uint64_t id;
    bool added;
    if (line->request == NULL)
      continue;
    if (!store_queue_add (order->mount->store, line->request, &id, &added, error))
      return false;
    g_array_append_val (order->jobs, id);
  }
  return true;
}

static bool
remove_jobs (Order *order, const GArray *lines, GError **error)
{
  Store *store = order->mount->store;

  for (guint i = 0; i < lines->len; i++) {
    const Line *line = &g_array_index (lines, Line, i);
    if (line->request == NULL && !(line->cancel ? store_queue_cancel (store, line->id, error)
                                                : store_queue_remove (store, line->id, error)))
      return false;
  }
  return true;
}

static bool
act (Order *order, const char *text, ParseFunc parse, void *data, GError **error)
{
  g_auto (GStrv) texts = g_strsplit (text, "\n", -1);
  g_autoptr (GArray) lines = lines_new ();

  order->text = g_strchomp (g_strdup (text));
  for (char **line = texts; *line != NULL; line++)
    if (!parse_line (order, *line, parse, data, lines, error))
      return false;
  return queue_requests (order, lines, error) && remove_jobs (order, lines, error);
}

static bool
parse_ctl (Order *order, char **words, void *data, Line *out, GError **error)
{
  return parse_command (order, words, out, error);
}

bool
order_lines (Order *order, const char *text, GError **error)
{
  return act (order, text, parse_ctl, NULL, error);
}

/* ---- verbs -------------------------------------------------------------------------------- */

typedef struct {
  const StoreCommand *command;
  uint32_t number;
} Verb;

static bool
parse_verb (Order *order, char **words, void *data, Line *out, GError **error)
{
  const Verb *verb = data;
  g_autofree char *path = store_node_path (order->mount->store, verb->number, error);
  g_autoptr (GPtrArray) all = g_ptr_array_new ();

  if (path == NULL)
    return false;
  g_ptr_array_add (all, (char *)verb->command->name);
  for (char **word = words; *word != NULL; word++)
    g_ptr_array_add (all, *word);
  if (verb->number != STORE_ROOT)
    g_ptr_array_add (all, path);
  g_ptr_array_add (all, NULL);
  return parse_command (order, (char **)all->pdata, out, error);
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
  g_string_append (out, "idle\n");
  return true;
}

bool
order_render_grammar (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_string_append (out, "# VERB [WORD...] [MAILBOX...]\n");
  for (const StoreCommand *command = store_commands; command->name != NULL; command++) {
    g_string_append (out, command->name);
    for (const StoreWord *word = store_words; word->name != NULL; word++)
      if ((command->words & word->bit) != 0)
        g_string_append_printf (out, " [%s%s%s]", word->name, word->value != NULL ? "=" : "",
                                word->value != NULL ? word->value : "");
    g_string_append (out, " [MAILBOX...]\n");
  }
  g_string_append (out, "cancel ID\nqueue-remove ID\n");
  return true;
}

/* ---- the answer --------------------------------------------------------------------------- */

void
order_reply (fuse_req_t req, Order *order, bool good, const GError *error, size_t size)
{
  g_autofree char *path = inode_path (order->mount, inode_directory (order->node.number));

  trail_action (order->mount, &order->caller, order->through, path,
                order->text != NULL ? order->text : "", order->jobs, order->tag, error);
  rendering_touch (order->mount, order->node.ino);
  if (!good)
    return reply_error (req, order->node.ino, error);
  if (size > 0)
    reply_written (req, size);
  else
    reply_errno (req, 0);
}
