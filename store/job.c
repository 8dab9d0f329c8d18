/* SPDX-License-Identifier: Apache-2.0 */
/* The command table, and one run of a command: what it is for, how far it is, what it found. */
#include "store/internal.h"

#include <string.h>

const StoreCommand store_commands[] = {
    {"check", STORE_WORD_RECURSIVE | STORE_WORD_FULL, "[-r] [--full] [MAILBOX...]",
     "compare files, indexes and the mailbox list; change nothing", command_check},
    {"reconstruct", STORE_WORD_RECURSIVE | STORE_WORD_DRY_RUN | STORE_WORD_FORCE | STORE_WORD_LIST,
     "[-r] [-m] [-n] [--force] [MAILBOX...]", "rebuild indexes from the message files",
     command_reconstruct},
    {"reset", STORE_WORD_RECURSIVE | STORE_WORD_DRY_RUN, "[-r] [-n] [MAILBOX...]",
     "replace indexes by fresh empty ones; files stay untouched", command_reset},
    {NULL, 0, NULL, NULL, NULL},
};

const StoreCommand *
store_command_find (const char *name)
{
  for (const StoreCommand *command = store_commands; command->name != NULL; command++) {
    if (strcmp (command->name, name) == 0)
      return command;
  }
  return NULL;
}

/* ---- requests ------------------------------------------------------------------------------ */

static const struct {
  const char *text;
  uint32_t word;
} words[] = {
    {"1", 0},
    {"recursive", STORE_WORD_RECURSIVE},
    {"dry-run", STORE_WORD_DRY_RUN},
    {"force", STORE_WORD_FORCE},
    {"full", STORE_WORD_FULL},
    {"mailbox-list", STORE_WORD_LIST},
};

/* Whether `text` is a word, and which; mailboxes of these names are written as paths. */
static bool
find_word (const char *text, uint32_t *out_word)
{
  for (size_t i = 0; i < G_N_ELEMENTS (words); i++) {
    if (strcmp (words[i].text, text) == 0) {
      *out_word = words[i].word;
      return true;
    }
  }
  return false;
}

static bool
parse_word (Store *store, StoreRequest *request, const char *text, GError **error)
{
  uint32_t word;
  if (find_word (text, &word)) {
    if ((word & ~request->command->words) != 0)
      return fail (error, EINVAL, "'%s' does not take '%s'", request->command->name, text);
    request->words |= word;
    return true;
  }
  g_auto (StoreNode) node = {0};
  if (!store_node_resolve (store, text, &node, error))
    return false;
  g_array_append_val (request->targets, node.number);
  return true;
}

StoreRequest *
store_request_parse (Store *self, const char *const *text, GError **error)
{
  const StoreCommand *command = text[0] != NULL ? store_command_find (text[0]) : NULL;
  if (command == NULL) {
    g_autofree char *printable = store_text_printable (text[0] != NULL ? text[0] : "");
    fail (error, EINVAL, "no command '%s'", printable);
    return NULL;
  }
  g_autoptr (StoreRequest) request = g_new0 (StoreRequest, 1);
  request->command = command;
  request->targets = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (const char *const *word = text + 1; *word != NULL; word++) {
    if (!parse_word (self, request, *word, error))
      return NULL;
  }
  return g_steal_pointer (&request);
}

void
store_request_free (StoreRequest *self)
{
  if (self == NULL)
    return;
  g_array_unref (self->targets);
  g_free (self);
}

/* ---- findings ------------------------------------------------------------------------------ */

const char *
store_problem_name (StoreProblem problem)
{
  static const char *const names[] = {
      [STORE_PROBLEM_NO_ROW] = "missing-row",
      [STORE_PROBLEM_NO_FILE] = "missing-file",
      [STORE_PROBLEM_CHANGED] = "changed",
      [STORE_PROBLEM_DIGEST] = "hash-mismatch",
      [STORE_PROBLEM_SIZE] = "size-mismatch",
      [STORE_PROBLEM_NUL] = "nul",
      [STORE_PROBLEM_UNREADABLE] = "io-error",
      [STORE_PROBLEM_NO_INDEX] = "missing-index",
      [STORE_PROBLEM_BAD_INDEX] = "bad-index",
      [STORE_PROBLEM_NO_LIST_ENTRY] = "unlisted",
      [STORE_PROBLEM_NO_DIRECTORY] = "missing-directory",
      [STORE_PROBLEM_BAD_STATE] = "state-mismatch",
      [STORE_PROBLEM_UIDNEXT] = "uidnext",
      [STORE_PROBLEM_STRAY] = "stray",
      [STORE_PROBLEM_NO_ATTRIBUTES] = "no-attributes",
      [STORE_PROBLEM_PERMISSION] = "permission",
  };
  return names[problem];
}

static void
finding_free (gpointer data)
{
  StoreFinding *finding = data;
  g_free (finding->object);
  g_free (finding->detail);
  g_free (finding);
}

void
job_found (StoreJob *self, StoreProblem problem, bool fixed, uint32_t number, uint32_t uid,
           const char *path, const char *detail, ...)
{
  va_list args;
  va_start (args, detail);
  g_autofree char *text = g_strdup_vprintf (detail, args);
  va_end (args);
  char name[STORE_NAME_SIZE] = "";
  if (uid > 0)
    store_message_name (uid, name);
  g_autofree char *object = g_strdup_printf ("%s%s%s", path, uid > 0 ? "/" : "", name);
  StoreFinding *finding = g_new0 (StoreFinding, 1);
  *finding = (StoreFinding){.problem = problem,
                            .number = number,
                            .uid = uid,
                            .object = store_text_printable (object),
                            .detail = store_text_printable (text),
                            .fixed = fixed};
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_ptr_array_add (self->findings, finding);
  self->result.fixed += fixed;
  self->result.left += !fixed;
}

/* ---- jobs ---------------------------------------------------------------------------------- */

StoreJob *
store_job_new (Store *self, StoreRequest *request)
{
  StoreJob *job = g_new0 (StoreJob, 1);
  g_mutex_init (&job->mutex);
  job->store = self;
  job->request = request;
  job->findings = g_ptr_array_new_with_free_func (finding_free);
  return job;
}

void
store_job_free (StoreJob *self)
{
  if (self == NULL)
    return;
  store_request_free (self->request);
  g_ptr_array_unref (self->findings);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

bool
store_job_run (StoreJob *self, GError **error)
{
  return self->request->command->run (self, error);
}

void
store_job_cancel (StoreJob *self)
{
  g_atomic_int_set (&self->cancelled, 1);
}

bool
job_go_on (StoreJob *self, GError **error)
{
  return g_atomic_int_get (&self->cancelled) == 0 ||
         fail (error, ECANCELED, "%s was cancelled", self->request->command->name);
}

bool
job_has (const StoreJob *self, StoreWords word)
{
  return (self->request->words & word) != 0;
}

void
job_step (StoreJob *self, uint64_t done, uint64_t total)
{
  if (self->counted)
    return;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  self->done += done;
  self->total += total;
}

void
job_looked_at (StoreJob *self, uint64_t mailboxes, uint64_t messages, uint64_t bytes)
{
  if (self->counted)
    return;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  self->result.mailboxes += mailboxes;
  self->result.messages += messages;
  self->result.bytes += bytes;
}

void
store_job_progress (StoreJob *self, StoreProgress *out)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  *out = (StoreProgress){self->done, self->total, "messages"};
}

const GPtrArray *
store_job_findings (const StoreJob *self)
{
  return self->findings;
}

void
store_job_result (const StoreJob *self, StoreResult *out)
{
  *out = self->result;
}

/* ---- which mailboxes ----------------------------------------------------------------------- */

/* Calls `each` for the children of a node. */
typedef bool (*ChildFunc) (StoreJob *job, const StoreNode *child, void *data, GError **error);

static bool
each_child (StoreJob *self, uint32_t parent, ChildFunc each, void *data, GError **error)
{
  StoreNode page[64];
  g_autofree char *after = NULL;
  bool good = true;
  for (size_t count = 1; count > 0 && good;) {
    if (!store_node_children (self->store, parent, after, page, G_N_ELEMENTS (page), &count, error))
      return false;
    for (size_t i = 0; i < count && good; i++)
      good = job_go_on (self, error) && each (self, &page[i], data, error);
    g_free (after);
    after = count > 0 ? g_strdup (page[count - 1].name) : NULL;
    store_nodes_clear (page, count);
  }
  return good;
}

static bool
collect_mailbox (StoreJob *self, const StoreNode *node, void *data, GError **error)
{
  GArray *mailboxes = data;
  g_array_append_val (mailboxes, node->number);
  return each_child (self, node->number, collect_mailbox, mailboxes, error);
}

static bool
visit_owner (StoreJob *self, uint32_t owner, JobOwnerFunc each, GError **error)
{
  g_autoptr (GArray) mailboxes = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  return each_child (self, owner, collect_mailbox, mailboxes, error) &&
         each (self, owner, mailboxes, true, error);
}

/* Everything below a node that is no mailbox. */
static bool
visit_container (StoreJob *self, const StoreNode *node, void *data, GError **error)
{
  JobOwnerFunc *each = data;
  if (node->kind == STORE_NODE_USER || node->kind == STORE_NODE_SHARED)
    return visit_owner (self, node->number, *each, error);
  return each_child (self, node->number, visit_container, data, error);
}

static bool
visit_target (StoreJob *self, uint32_t number, JobOwnerFunc each, GError **error)
{
  g_auto (StoreNode) node = {0};
  if (!store_node_get (self->store, number, &node, error))
    return false;
  if (node.kind != STORE_NODE_MAILBOX)
    return visit_container (self, &node, &each, error);
  g_autoptr (GArray) mailboxes = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  g_array_append_val (mailboxes, number);
  if (job_has (self, STORE_WORD_RECURSIVE) &&
      !each_child (self, number, collect_mailbox, mailboxes, error))
    return false;
  return each (self, node.owner, mailboxes, false, error);
}

bool
job_each_owner (StoreJob *self, JobOwnerFunc each, GError **error)
{
  const GArray *targets = self->request->targets;
  if (targets->len == 0)
    return visit_target (self, STORE_ROOT, each, error);
  for (guint i = 0; i < targets->len; i++) {
    if (!visit_target (self, g_array_index (targets, uint32_t, i), each, error))
      return false;
  }
  return true;
}
