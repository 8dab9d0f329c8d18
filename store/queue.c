/* SPDX-License-Identifier: Apache-2.0 */
/* The queue as others see it: what waits, runs and has ended, and adding to it. */
#include "store/jobs.h"

#include <string.h>

/* ---- using it ------------------------------------------------------------------------------ */

bool
queue_use (Store *store, bool create, QueueFunc use, void *data, GError **error)
{
  for (int attempt = 0;; attempt++) {
    g_autoptr (GError) failure = NULL;
    g_autoptr (Handle) handle = cache_queue (store, create, &failure);
    if (handle != NULL && use (handle->queue, data, &failure))
      return true;
    bool damaged = is_index_broken (failure) && !store_is_read_only (store);
    if (attempt > 0 || (!damaged && error_code (failure) != ESTALE)) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
    if (damaged && !queue_set_aside (store, error))
      return false;
  }
}

/* As queue_use() for those who only look: no queue is an empty one. */
bool
queue_look (Store *store, QueueFunc use, void *data, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (queue_use (store, false, use, data, &failure) || error_code (failure) == ENOENT)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* ---- what people see of a job -------------------------------------------------------------- */

const char *
store_job_state_name (StoreJobState state)
{
  static const char *const names[] = {"waiting", "running",   "done",
                                      "failed",  "cancelled", "interrupted"};
  return names[state];
}

void
store_record_clear (StoreRecord *record)
{
  g_free (record->action);
  g_free (record->title);
  g_free (record->error);
  g_free (record->log);
  *record = (StoreRecord){0};
}

void
store_records_clear (StoreRecord *records, size_t count)
{
  for (size_t i = 0; i < count; i++)
    store_record_clear (&records[i]);
}

bool
store_record_rebuilds (const StoreRecord *record)
{
  g_auto (GStrv) words = g_strsplit (record->action, " ", 2);
  const StoreCommand *command = words[0] != NULL ? store_command_find (words[0]) : NULL;
  return record->state == STORE_JOB_RUNNING && command != NULL &&
         (command->traits & STORE_COMMAND_REBUILDS) != 0;
}

/* "joe@example.com/INBOX, ann@example.com" */
static char *
make_title (Store *store, const char *nodes)
{
  g_auto (GStrv) numbers = g_strsplit (nodes, " ", -1);
  for (char **number = numbers; *number != NULL; number++) {
    guint64 value = g_ascii_strtoull (*number, NULL, 10);
    char *title = store_node_title (store, (uint32_t)value, NULL);
    if (title == NULL)
      title = g_strdup_printf ("(gone: %s)", *number);
    g_free (*number);
    *number = title;
  }
  return g_strjoinv (", ", numbers);
}

/* The mailboxes of a backup that a restore is of: "joe@example.com"; NULL for all that it holds. */
static char *
make_foreign_title (const char *action)
{
  g_auto (GStrv) words = g_strsplit (action, " ", -1);
  char **word = words;
  while (*word != NULL && !g_str_has_prefix (*word, "of="))
    word++;
  g_auto (GStrv) escaped = g_strsplit (*word != NULL ? *word + strlen ("of=") : "", ",", -1);
  for (char **name = escaped; *name != NULL; name++) {
    char *plain = g_uri_unescape_string (*name, NULL);
    if (plain != NULL) {
      g_free (*name);
      *name = plain;
    }
  }
  return *word != NULL ? g_strjoinv (", ", escaped) : NULL;
}

/* Nobody knows who wrote what is in the queue. NULL for NULL; lines stay lines. */
static char *
make_printable (const char *text)
{
  if (text == NULL)
    return NULL;
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  for (char **line = lines; *line != NULL; line++) {
    char *printable = store_text_printable (*line);
    g_free (*line);
    *line = printable;
  }
  return g_strjoinv ("\n", lines);
}

/* What people see of a row. */
StoreRecord
queue_record (Store *store, const QueueJob *job)
{
  g_autofree char *unit = make_printable (job->unit);
  StoreJobState state = (StoreJobState)job->state;
  if (state == STORE_JOB_RUNNING && !run_lock_is_held (store, job->runner))
    state = STORE_JOB_INTERRUPTED;
  return (StoreRecord){
      .id = job->id,
      .state = state,
      .queued = job->queued,
      .action = make_printable (job->action),
      .title =
          *job->nodes != '\0' ? make_title (store, job->nodes) : make_foreign_title (job->action),
      .created_s = job->created_s,
      .started_s = job->started_s,
      .ended_s = job->ended_s,
      .due_s = job->due_s,
      .progress = {job->done, job->total, g_intern_string (unit)},
      .fixed = job->fixed,
      .left = job->left,
      .taken = job->taken,
      .error = make_printable (job->error),
      .code = job->code,
      .log = make_printable (job->log),
  };
}

/* ---- looking ------------------------------------------------------------------------------- */

typedef struct {
  uint64_t after;
  bool open;
  QueueJob *jobs;
  size_t capacity, count;
} Page;

static bool
read_page (Queue *queue, void *data, GError **error)
{
  Page *page = data;
  return queue_page (queue, page->after, page->open, page->jobs, page->capacity, &page->count,
                     error);
}

/* One that runs directly and is interrupted is for its administrator. */
static bool
is_pending (const StoreRecord *record)
{
  return record->state != STORE_JOB_INTERRUPTED || record->queued;
}

bool
store_queue_page (Store *self, uint64_t after, bool pending, StoreRecord *out, size_t capacity,
                  size_t *out_count, GError **error)
{
  g_autofree QueueJob *jobs = g_new (QueueJob, capacity);
  Page page = {after, pending, jobs, capacity, 1};
  size_t count = 0;
  /* The rows of a page may all be of those that are left out. */
  while (count == 0 && page.count > 0) {
    page.count = 0;
    if (!queue_look (self, read_page, &page, error))
      return false;
    for (size_t i = 0; i < page.count; i++) {
      page.after = jobs[i].id;
      out[count] = queue_record (self, &jobs[i]);
      queue_job_clear (&jobs[i]);
      if (!pending || is_pending (&out[count]))
        count++;
      else
        store_record_clear (&out[count]);
    }
  }
  *out_count = count;
  return true;
}

bool
queue_next (Store *store, uint64_t after, QueueJob *out, bool *out_found, GError **error)
{
  Page page = {after, true, out, 1, 0};
  if (!queue_look (store, read_page, &page, error))
    return false;
  *out_found = page.count > 0;
  return true;
}

typedef struct {
  uint64_t id;
  QueueJob job;
  bool found;
} Get;

static bool
read_job (Queue *queue, void *data, GError **error)
{
  Get *get = data;
  return queue_get (queue, get->id, &get->job, &get->found, error);
}

bool
queue_find (Store *store, uint64_t id, QueueJob *out, GError **error)
{
  Get get = {.id = id};
  if (!queue_look (store, read_job, &get, error))
    return false;
  if (!get.found)
    return fail (error, ENOENT, "no job %" G_GUINT64_FORMAT, id);
  *out = get.job;
  return true;
}

typedef struct {
  const char *command, *nodes;
  bool pending;
  QueueJob job;
  bool found;
} Newest;

static bool
read_newest (Queue *queue, void *data, GError **error)
{
  Newest *newest = data;
  return queue_newest (queue, newest->command, newest->nodes, newest->pending, &newest->job,
                       &newest->found, error);
}

static bool
find_newest (Store *self, const StoreCommand *command, uint32_t number, bool pending,
             StoreRecord *out, bool *out_found, GError **error)
{
  g_autofree char *node = g_strdup_printf ("%u", number);
  Newest newest = {
      .command = command->name, .nodes = number == STORE_ROOT ? "" : node, .pending = pending};
  if (!queue_look (self, read_newest, &newest, error))
    return false;
  if (newest.found)
    *out = queue_record (self, &newest.job);
  *out_found = newest.found;
  queue_job_clear (&newest.job);
  return true;
}

bool
store_queue_last (Store *self, const StoreCommand *command, uint32_t number, StoreRecord *out,
                  bool *out_found, GError **error)
{
  return find_newest (self, command, number, false, out, out_found, error);
}

bool
store_queue_pending (Store *self, const StoreCommand *command, uint32_t number, StoreRecord *out,
                     bool *out_found, GError **error)
{
  return find_newest (self, command, number, true, out, out_found, error);
}

bool
store_queue_get (Store *self, uint64_t id, StoreRecord *out, GError **error)
{
  g_auto (QueueJob) job = {0};
  if (!queue_find (self, id, &job, error))
    return false;
  *out = queue_record (self, &job);
  return true;
}

typedef struct {
  uint64_t id;
  GPtrArray *findings;
} Findings;

static void
collect_finding (const QueueFinding *row, void *user_data)
{
  StoreProblem problem;
  if (!problem_from_name (row->problem, &problem) || row->outcome < STORE_LEFT ||
      row->outcome > STORE_NOTED)
    return; /* of a later version */
  StoreFinding finding = {.problem = problem,
                          .outcome = (StoreOutcome)row->outcome,
                          .number = row->node,
                          .uid = row->uid,
                          .size = row->size,
                          .object = store_text_printable (row->object),
                          .detail = store_text_printable (row->detail)};
  g_ptr_array_add (user_data, g_memdup2 (&finding, sizeof finding));
}

static bool
read_findings (Queue *queue, void *data, GError **error)
{
  Findings *findings = data;
  g_ptr_array_set_size (findings->findings, 0);
  return queue_findings (queue, findings->id, collect_finding, findings->findings, error);
}

GPtrArray *
store_queue_findings (Store *self, uint64_t id, GError **error)
{
  g_autoptr (GPtrArray) array = g_ptr_array_new_with_free_func (store_finding_free);
  Findings findings = {id, array};
  return queue_look (self, read_findings, &findings, error) ? g_steal_pointer (&array) : NULL;
}

/* ---- adding -------------------------------------------------------------------------------- */

typedef struct {
  Store *store;
  const QueueJob *jobs;
  size_t count;
  uint64_t *ids;
  bool *added;
} Add;

static bool
add_jobs (Queue *queue, void *data, GError **error)
{
  Add *add = data;
  uint64_t highest;
  if (!queue_highest (queue, &highest, error))
    return false;
  uint64_t first = highest > 0 ? 1 : queue_first_number (add->store);
  return queue_add (queue, first, add->jobs, add->count, STORE_QUEUE_MAX, add->ids, add->added,
                    error);
}

bool
queue_insert (Store *store, const QueueJob *jobs, size_t count, uint64_t *out_ids, bool *out_added,
              GError **error)
{
  if (store_is_read_only (store))
    return fail (error, EROFS, "the store %s is open read only", store->path);
  Add add = {store, jobs, count, out_ids, out_added};
  return queue_use (store, true, add_jobs, &add, error);
}

bool
queue_add_waiting (Store *store, const char *action, const char *nodes, const char *why,
                   int64_t due_s, uint64_t *out_id, bool *out_added, GError **error)
{
  QueueJob job = {.state = QUEUE_WAITING,
                  .queued = true,
                  .action = (char *)action,
                  .nodes = (char *)nodes,
                  .created_s = record_now (),
                  .due_s = due_s};
  g_autofree char *log = record_log ("", "queued%s%s", why != NULL ? ": " : "", why ? why : "");
  job.log = log;
  return queue_insert (store, &job, 1, out_id, out_added, error);
}

static bool
check_waits (const StoreRequest *request, GError **error)
{
  return (request->command->traits & STORE_COMMAND_IMMEDIATE) == 0 ||
         fail (error, EINVAL, "'%s' is done at once: it does not wait in the queue",
               request->command->name);
}

bool
store_queue_add (Store *self, const StoreRequest *request, uint64_t *out_id, bool *out_added,
                 GError **error)
{
  g_autofree char *action = request_action (request);
  g_autofree char *nodes = request_nodes (request);
  return check_waits (request, error) &&
         queue_add_waiting (self, action, nodes, NULL, 0, out_id, out_added, error);
}

bool
store_queue_add_all (Store *self, StoreRequest *const *requests, size_t count, uint64_t *out_ids,
                     GError **error)
{
  g_autofree QueueJob *jobs = g_new0 (QueueJob, count);
  g_autofree bool *added = g_new (bool, count);
  for (size_t i = 0; i < count; i++) {
    if (!check_waits (requests[i], error))
      return false;
  }
  int64_t now_s = record_now ();
  for (size_t i = 0; i < count; i++)
    jobs[i] = (QueueJob){.state = QUEUE_WAITING,
                         .queued = true,
                         .action = request_action (requests[i]),
                         .nodes = request_nodes (requests[i]),
                         .created_s = now_s,
                         .log = record_log ("", "queued")};
  bool good = queue_insert (self, jobs, count, out_ids, added, error);
  queue_jobs_clear (jobs, count);
  return good;
}

bool
queue_add_action (Store *store, uint32_t node, const char *action, int64_t due_s, GError **error)
{
  g_autofree char *nodes = g_strdup_printf ("%u", node);
  uint64_t id;
  bool added;
  return queue_add_waiting (store, action, nodes, NULL, due_s, &id, &added, error);
}

/* ---- changing ------------------------------------------------------------------------------ */

typedef struct {
  const QueueJob *from, *to;
  const QueueFinding *findings;
  size_t count;
  bool changed;
} Turn;

static bool
turn_job (Queue *queue, void *data, GError **error)
{
  Turn *turn = data;
  return queue_change (queue, turn->from, turn->to, turn->findings, turn->count, &turn->changed,
                       error);
}

bool
queue_turn (Store *store, const QueueJob *from, const QueueJob *to, const QueueFinding *findings,
            size_t count, bool *out_changed, GError **error)
{
  Turn turn = {from, to, findings, count, false};
  if (!queue_use (store, false, turn_job, &turn, error))
    return false;
  *out_changed = turn.changed;
  return true;
}

bool
queue_drop (Store *store, const QueueJob *from, int code, const char *why, GError **error)
{
  QueueJob to = *from;
  to.state = QUEUE_CANCELLED;
  to.ended_s = record_now ();
  to.error = (char *)why;
  to.code = code;
  g_autofree char *log = record_log (from->log, "cancelled: %s", why);
  to.log = log;
  bool changed;
  return queue_turn (store, from, &to, NULL, 0, &changed, error) &&
         (changed || fail (error, EAGAIN, "job %" G_GUINT64_FORMAT " changed meanwhile", from->id));
}

typedef struct {
  uint64_t id;
  bool running;
} Cancel;

static bool
cancel_job (Queue *queue, void *data, GError **error)
{
  Cancel *cancel = data;
  return queue_cancel (queue, cancel->id, &cancel->running, error);
}

/* Finds a job that can be taken out of the queue, with `stop` also one that runs. */
static bool
find_removable (Store *store, uint64_t id, bool stop, QueueJob *out, bool *out_runs, GError **error)
{
  g_auto (QueueJob) job = {0};
  if (store_is_read_only (store))
    return fail (error, EROFS, "the store %s is open read only", store->path);
  if (!queue_find (store, id, &job, error))
    return false;
  if (job.state != QUEUE_WAITING && job.state != QUEUE_RUNNING && job.state != QUEUE_INTERRUPTED)
    return fail (error, EALREADY, "job %" G_GUINT64_FORMAT " has ended", id);
  /* Else its process died. */
  *out_runs = job.state == QUEUE_RUNNING && run_lock_is_held (store, job.runner);
  if (*out_runs && !stop)
    return fail (error, EBUSY, "job %" G_GUINT64_FORMAT " is running", id);
  *out = job;
  job = (QueueJob){0};
  return true;
}

static bool
take_out (Store *store, uint64_t id, bool stop, GError **error)
{
  g_auto (QueueJob) job = {0};
  Cancel cancel = {.id = id};
  bool runs;
  if (!find_removable (store, id, stop, &job, &runs, error))
    return false;
  return runs ? queue_use (store, false, cancel_job, &cancel, error)
              : queue_drop (store, &job, ECANCELED, "taken out of the queue", error);
}

bool
store_queue_can_remove (Store *self, uint64_t id, bool stop, GError **error)
{
  g_auto (QueueJob) job = {0};
  bool runs;
  return find_removable (self, id, stop, &job, &runs, error);
}

bool
store_queue_remove (Store *self, uint64_t id, GError **error)
{
  return take_out (self, id, false, error);
}

bool
store_queue_cancel (Store *self, uint64_t id, GError **error)
{
  return take_out (self, id, true, error);
}
