/* SPDX-License-Identifier: Apache-2.0 */
/* One run of a command: what it is for, how far it is, what it found. */
#include "store/jobs.h"

/* ---- findings ------------------------------------------------------------------------------ */

void
store_finding_free (gpointer data)
{
  StoreFinding *finding = data;
  g_free (finding->object);
  g_free (finding->detail);
  g_free (finding);
}

static void
add_finding (StoreJob *self, StoreFinding finding, const char *path, char *detail)
{
  char name[STORE_NAME_SIZE] = "";
  if (finding.uid > 0)
    store_message_name (finding.uid, name);
  g_autofree char *object = g_strdup_printf ("%s%s%s", path, finding.uid > 0 ? "/" : "", name);
  finding.object = store_text_printable (object);
  finding.detail = store_text_printable (detail);
  g_free (detail);
  StoreFinding *kept = g_memdup2 (&finding, sizeof finding);
  if (self->tell != NULL) {
    self->tell (kept, self->tell_data);
    g_clear_pointer (&kept, store_finding_free);
  }
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  if (kept != NULL)
    g_ptr_array_add (self->findings, kept);
  self->result.fixed += finding.outcome == STORE_FIXED;
  self->result.left += finding.outcome == STORE_LEFT;
  self->result.taken += finding.outcome == STORE_TAKEN;
  self->result.taken_bytes += finding.size;
}

void
job_found (StoreJob *self, StoreProblem problem, bool fixed, uint32_t number, uint32_t uid,
           const char *path, const char *detail, ...)
{
  va_list args;
  va_start (args, detail);
  StoreFinding finding = {.problem = problem,
                          .outcome = fixed ? STORE_FIXED : STORE_LEFT,
                          .number = number,
                          .uid = uid};
  add_finding (self, finding, path, g_strdup_vprintf (detail, args));
  va_end (args);
}

void
job_found_at (StoreJob *self, StoreOutcome outcome, uint32_t number, uint32_t uid, const char *path,
              const StoreDamageRange *range, const char *detail, ...)
{
  va_list args;
  va_start (args, detail);
  StoreFinding finding = {.problem = range->kind,
                          .outcome = outcome,
                          .number = number,
                          .uid = uid,
                          .offset = range->offset,
                          .length = range->length};
  add_finding (self, finding, path, g_strdup_vprintf (detail, args));
  va_end (args);
}

void
job_took (StoreJob *self, StoreProblem problem, uint32_t number, uint32_t uid, uint64_t size,
          const char *path, const char *detail, ...)
{
  va_list args;
  va_start (args, detail);
  StoreFinding finding = {
      .problem = problem, .outcome = STORE_TAKEN, .number = number, .uid = uid, .size = size};
  add_finding (self, finding, path, g_strdup_vprintf (detail, args));
  va_end (args);
}

void
job_noted (StoreJob *self, StoreProblem problem, uint32_t number, uint32_t uid, const char *path,
           const char *detail, ...)
{
  va_list args;
  va_start (args, detail);
  StoreFinding finding = {.problem = problem, .outcome = STORE_NOTED, .number = number, .uid = uid};
  add_finding (self, finding, path, g_strdup_vprintf (detail, args));
  va_end (args);
}

/* ---- jobs ---------------------------------------------------------------------------------- */

StoreJob *
store_job_new (Store *self, StoreRequest *request)
{
  StoreJob *job = g_new0 (StoreJob, 1);
  g_mutex_init (&job->mutex);
  job->store = self;
  job->request = request;
  job->run_lock = -1;
  job->findings = g_ptr_array_new_with_free_func (store_finding_free);
  return job;
}

void
store_job_free (StoreJob *self)
{
  if (self == NULL)
    return;
  store_request_free (self->request);
  queue_job_clear (&self->record);
  store_close_fd (&self->run_lock);
  g_ptr_array_unref (self->findings);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

void
store_job_tell (StoreJob *self, StoreFindingFunc tell, void *user_data)
{
  self->tell = tell;
  self->tell_data = user_data;
}

const StoreRequest *
store_job_request (const StoreJob *self)
{
  return self->request;
}

bool
store_job_run (StoreJob *self, GError **error)
{
  const StoreCommand *command = self->request->command;
  if (self->store->past != NULL && (command->traits & STORE_COMMAND_PAST) == 0)
    return fail (error, store_request_reads (self->request) ? EINVAL : EROFS,
                 "%s is for the store as it is, not for a snapshot", command->name);
  if (self->store->evidence != NULL &&
      (command->traits & (STORE_COMMAND_READS | STORE_COMMAND_PAST)) == 0)
    return fail (error, EROFS, "%s is not for evidence, in which nothing is changed",
                 command->name);
  return command->run (self, error);
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
         fail (error, ECANCELED, "%s was %s", self->request->command->name,
               self->interrupted ? "interrupted" : "cancelled");
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
job_copied (StoreJob *self, uint64_t messages, uint64_t bytes)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  self->result.taken += messages;
  self->result.taken_bytes += bytes;
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

bool
job_reconstruct_quietly (Store *store, const char *nodes, GError **error)
{
  StoreRequest *request = request_from_action (store, "reconstruct", nodes, error);
  g_autoptr (StoreJob) job = request != NULL ? store_job_new (store, request) : NULL;
  return job != NULL && store_job_run (job, error);
}

/* ---- which mailboxes ----------------------------------------------------------------------- */

typedef struct {
  StoreJob *job;
  GArray *mailboxes; /* uint32_t */
} Collection;

static bool
collect_mailbox (const StoreNode *node, void *data, GError **error)
{
  Collection *self = data;
  g_array_append_val (self->mailboxes, node->number);
  return job_go_on (self->job, error) &&
         store_node_each_child (self->job->store, node->number, NULL, collect_mailbox, self, error);
}

GArray *
job_mailboxes_of (StoreJob *self, uint32_t owner, GError **error)
{
  g_autoptr (GArray) mailboxes = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  Collection collection = {self, mailboxes};
  bool good = store_node_each_child (self->store, owner, NULL, collect_mailbox, &collection, error);
  return good ? g_steal_pointer (&mailboxes) : NULL;
}

static bool
visit_owner (StoreJob *self, uint32_t owner, JobOwnerFunc each, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (GArray) mailboxes = job_mailboxes_of (self, owner, &failure);
  if (mailboxes != NULL && each (self, owner, mailboxes, true, &failure))
    return true;
  /* One that was removed since it was listed needs nothing; the others are not to wait for it. */
  g_auto (StoreNode) node = {0};
  g_autoptr (GError) gone = NULL;
  if (is_gone (failure) && !store_node_get (self->store, owner, &node, &gone) &&
      gone->code == ENOENT)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

typedef struct {
  StoreJob *job;
  JobOwnerFunc each;
} Visit;

/* Everything below a node that is no mailbox. */
static bool
visit_container (const StoreNode *node, void *data, GError **error)
{
  Visit *visit = data;
  if (!job_go_on (visit->job, error))
    return false;
  if (node->kind == STORE_NODE_USER || node->kind == STORE_NODE_SHARED)
    return visit_owner (visit->job, node->number, visit->each, error);
  return store_node_each_child (visit->job->store, node->number, NULL, visit_container, visit,
                                error);
}

static bool
visit_target (StoreJob *self, uint32_t number, JobOwnerFunc each, GError **error)
{
  g_auto (StoreNode) node = {0};
  if (!store_node_get (self->store, number, &node, error))
    return false;
  if (node.kind != STORE_NODE_MAILBOX)
    return visit_container (&node, &(Visit){self, each}, error);
  g_autoptr (GArray) mailboxes = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  Collection collection = {self, mailboxes};
  g_array_append_val (mailboxes, number);
  if (job_has (self, STORE_WORD_RECURSIVE) &&
      !store_node_each_child (self->store, number, NULL, collect_mailbox, &collection, error))
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
