/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The damage map: what a full check finds wrong with messages, and in which bytes of them, as lines
 * for programs.
 *
 * One mailbox is looked at after the other, so that memory grows with the damage of one only.
 * Nobody waits for it but as for a check, and it changes nothing.
 */
#include "store/check.h"
#include "store/jobs.h"

#include <inttypes.h>

typedef struct {
  StoreJob *job; /* the job's `data` is this */
  FILE *out;
  bool names_mailbox;
  GPtrArray *found; /* of StoreFinding, of one mailbox */
  uint64_t lines;
} Map;

/* The kind that the map has for it; STORE_PROBLEM_NOTE: it is none of a message's. */
static StoreProblem
map_kind (StoreProblem problem)
{
  switch (problem) {
  case STORE_PROBLEM_TRUNCATED:
  case STORE_PROBLEM_ZERO_RUN:
  case STORE_PROBLEM_NUL:
  case STORE_PROBLEM_SIZE:
  case STORE_PROBLEM_DIGEST:
  case STORE_PROBLEM_NO_FILE:
  case STORE_PROBLEM_NO_ROW:
  case STORE_PROBLEM_DUPLICATE:
  case STORE_PROBLEM_BAD_HEADER:
  case STORE_PROBLEM_UNREADABLE: return problem;
  case STORE_PROBLEM_BAD_STATE:
  case STORE_PROBLEM_BACK:
  case STORE_PROBLEM_CHANGED:
  case STORE_PROBLEM_SUMMARY:
  case STORE_PROBLEM_UIDNEXT: return STORE_PROBLEM_BAD_STATE;
  default: return STORE_PROBLEM_NOTE;
  }
}

static void
take (const StoreFinding *finding, void *data)
{
  Map *self = data;
  StoreProblem kind = map_kind (finding->problem);
  if (kind == STORE_PROBLEM_NOTE)
    return;
  StoreFinding *kept = g_memdup2 (finding, sizeof *finding);
  kept->problem = kind;
  kept->object = NULL;
  kept->detail = g_strdup (finding->detail);
  g_ptr_array_add (self->found, kept);
}

static gint
compare (gconstpointer a, gconstpointer b)
{
  const StoreFinding *first = *(const StoreFinding *const *)a;
  const StoreFinding *second = *(const StoreFinding *const *)b;
  if (first->uid != second->uid)
    return first->uid < second->uid ? -1 : 1;
  if (first->offset != second->offset)
    return first->offset < second->offset ? -1 : 1;
  return (gint)first->problem - (gint)second->problem;
}

static bool
write_mailbox (Map *self, uint32_t number, GError **error)
{
  g_autofree char *path = store_node_path (self->job->store, number, NULL);
  g_autofree char *printable = store_text_printable (path != NULL ? path : "");
  g_ptr_array_sort (self->found, compare);
  for (guint i = 0; i < self->found->len; i++) {
    const StoreFinding *finding = self->found->pdata[i];
    if (self->names_mailbox)
      fprintf (self->out, "%s\t", printable);
    fprintf (self->out, "%u\t%" PRIu64 "\t%" PRIu64 "\t%s\t%s\n", finding->uid, finding->offset,
             finding->length, store_problem_name (finding->problem), finding->detail);
  }
  self->lines += self->found->len;
  g_ptr_array_set_size (self->found, 0);
  return !ferror (self->out) || fail_errno (error, "write");
}

/* An index that fails tells nothing, so the files alone are looked at. What was found by it is told
 * of no more, for half of it would be told twice. */
static bool
map_mailbox (Map *self, uint32_t owner, uint32_t number, GError **error)
{
  g_autoptr (GArray) one = g_array_new (FALSE, FALSE, sizeof number);
  g_autoptr (GError) failure = NULL;
  g_array_append_val (one, number);
  if (check_messages (self->job, owner, one, false, &failure))
    return write_mailbox (self, number, error);
  if (failure->code != EUCLEAN) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  g_ptr_array_set_size (self->found, 0);
  return check_messages (self->job, owner, one, true, error) && write_mailbox (self, number, error);
}

static bool
map_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  for (guint i = 0; i < mailboxes->len; i++) {
    if (!map_mailbox (job->data, owner, g_array_index (mailboxes, uint32_t, i), error))
      return false;
  }
  return true;
}

static bool
map_all (StoreJob *job, GError **error)
{
  return job_each_owner (job, map_owner, error);
}

static bool
run (StoreJob *job, GError **error)
{
  return check_on_own (job, map_all, error);
}

/* No command of the table: it is written to a file, and its findings are not for the queue. */
static const StoreCommand damage_command = {
    .name = "damage", .traits = STORE_COMMAND_READS, .run = run};

bool
store_damage_write (Store *self, uint32_t number, FILE *out, StoreJobFunc go_on, void *user_data,
                    GError **error)
{
  g_auto (StoreNode) node = {0};
  if (!store_node_get (self, number, &node, error))
    return false;
  StoreRequest *request = request_new (&damage_command);
  request->words = STORE_WORD_FULL;
  g_array_append_val (request->targets, number);
  g_autoptr (StoreJob) job = store_job_new (self, request);
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func (store_finding_free);
  Map map = {
      .job = job, .out = out, .names_mailbox = node.kind != STORE_NODE_MAILBOX, .found = found};
  job->data = &map;
  store_job_tell (job, take, &map);
  fprintf (out, "# %suid\toffset\tlength\tkind\tdetail\n", map.names_mailbox ? "mailbox\t" : "");
  if (!(go_on != NULL ? store_job_watch (job, go_on, user_data, error)
                      : store_job_run (job, error)))
    return false;
  fprintf (out, "# complete: %" PRIu64 " lines\n", map.lines);
  return fflush (out) == 0 || fail_errno (error, "write");
}
