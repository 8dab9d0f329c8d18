/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.c - what is known of jobs: jobs/ID/, jobs/last and queue.
 *
 * The store's queue knows it all, but for what run.c knows of the jobs that it runs itself. A job
 * that has ended stays for as long as the queue keeps it.
 */
#include "fs/jobs.h"
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/order.h"
#include "fs/rows.h"
#include "store/commands.h"
#include "store/text.h"

#include <inttypes.h>
#include <string.h>

#define PAGE 64

/* The word for a job's state. One that a worker will take up again is as good as queued. */
static const char *
name_state (const StoreRecord *record)
{
  bool again = record->state == STORE_JOB_INTERRUPTED && record->queued;

  return record->state == STORE_JOB_WAITING || again ? "queued"
                                                     : store_job_state_name (record->state);
}

/* The name of the errno with which it failed; NULL: it did not. */
static const char *
name_failure (const StoreRecord *record)
{
  const char *name = record->code > 0 ? strerrorname_np (record->code) : NULL;

  return record->state != STORE_JOB_FAILED ? NULL : name != NULL ? name : "EIO";
}

void
job_append_state (const StoreRecord *record, GString *out)
{
  g_string_append_printf (out, "%s %" PRIu64, name_state (record), record->id);
  if (record->state == STORE_JOB_RUNNING)
    g_string_append_printf (out, " %" PRIu64 " %" PRIu64, record->progress.done,
                            record->progress.total);
  else if (record->state == STORE_JOB_DONE)
    g_string_append_printf (out, " fixed=%" PRIu64 " left=%" PRIu64, record->fixed, record->left);
  else if (record->state == STORE_JOB_FAILED)
    g_string_append_printf (out, " %s", name_failure (record));
}

/* ---- the files of a job ------------------------------------------------------------------- */

static bool
load_record (Mount *mount, const ControlNode *node, StoreRecord *out, GError **error)
{
  if (!store_queue_get (mount->store, node->job, out, error))
    return false;
  runs_complete (mount->runs, out);
  return true;
}

/* The mailboxes that it is for; `whole` when it is for the whole store. */
static char *
make_title (const StoreRecord *record, const char *whole)
{
  return store_text_printable (record->title != NULL ? record->title : whole);
}

bool
job_render_cmd (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_auto (StoreRecord) record = {0};

  if (!load_record (mount, node, &record, error))
    return false;
  g_autofree char *title = make_title (&record, "");
  g_string_append_printf (out, "%s%s%s\n", record.action, *title != '\0' ? " " : "", title);
  return true;
}

bool
job_render_state (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_auto (StoreRecord) record = {0};

  if (!load_record (mount, node, &record, error))
    return false;
  g_string_append_printf (out, "%s\n", name_state (&record));
  return true;
}

bool
job_render_progress (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_auto (StoreRecord) record = {0};

  if (!load_record (mount, node, &record, error))
    return false;
  g_string_append_printf (out, "%" PRIu64 " %" PRIu64 " %s\n", record.progress.done,
                          record.progress.total,
                          record.progress.unit != NULL ? record.progress.unit : "messages");
  return true;
}

bool
job_render_log (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_auto (StoreRecord) record = {0};

  if (!load_record (mount, node, &record, error))
    return false;
  g_string_append (out, record.log);
  return true;
}

bool
job_render_result (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_auto (StoreRecord) record = {0};

  if (!load_record (mount, node, &record, error))
    return false;
  g_autoptr (GPtrArray) findings = store_queue_findings (mount->store, node->job, error);
  if (findings == NULL)
    return false;
  g_string_append_printf (out, "fixed %" PRIu64 "\nleft %" PRIu64 "\ntaken %" PRIu64 "\n",
                          record.fixed, record.left, record.taken);
  if (record.error != NULL)
    g_string_append_printf (out, "error %s\n", record.error);
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = findings->pdata[i];
    g_string_append_printf (out, "%s %s %s: %s\n", store_outcome_name (finding->outcome),
                            store_problem_name (finding->problem), finding->object,
                            finding->detail);
  }
  return true;
}

bool
job_spill_report (Mount *mount, const ControlNode *node, FILE *out, GError **error)
{
  g_auto (StoreRecord) record = {0};

  if (!load_record (mount, node, &record, error))
    return false;
  g_autoptr (Run) run = runs_find_ended (mount->runs, node->job);
  StoreResult result;
  if (run != NULL) {
    store_job_result (run->job, &result);
    return store_report_write (&record, &result, store_job_findings (run->job), out, error);
  }
  g_autoptr (GPtrArray) findings = store_queue_findings (mount->store, node->job, error);
  return findings != NULL && store_report_write (&record, NULL, findings, out, error);
}

bool
job_write_cancel (Order *order, char *text, GError **error)
{
  order->text = g_strdup (g_strstrip (text));
  return (g_str_equal (text, "1") || fail (error, EINVAL, "'1' cancels a job, and nothing else")) &&
         store_queue_cancel (order->mount->store, order->node.job, error);
}

/* ---- the directory jobs ------------------------------------------------------------------- */

bool
job_list (Mount *mount, uint64_t after, ControlAddFunc add, void *data, GError **error)
{
  StoreRecord page[PAGE];
  size_t count = PAGE;

  for (bool room = true; count == PAGE && room;) {
    if (!store_queue_page (mount->store, after, false, page, PAGE, &count, error))
      return false;
    for (size_t i = 0; i < count && room; i++) {
      char name[24];
      g_snprintf (name, sizeof name, "%" PRIu64, page[i].id);
      after = page[i].id;
      room = after <= INODE_JOB_MAX &&
             add (name, inode_job (after, 0), S_IFDIR, COOKIE_JOB | (off_t)after, data);
    }
    store_records_clear (page, count);
  }
  return true;
}

/* Jobs come and go only when something happens to one. */
bool
job_render_names (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  uint64_t place = STORE_QUEUE_NOW;
  size_t count;

  if (!store_queue_changes (mount->store, &place, NULL, 0, &count, error))
    return false;
  g_string_append_printf (out, "%" PRIu64, place);
  return true;
}

bool
job_render_last (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  uint64_t newest;

  if (!store_queue_newest (mount->store, &newest, error))
    return false;
  if (newest > 0)
    g_string_append_printf (out, "%" PRIu64, newest);
  return true;
}

/* ---- the file queue ----------------------------------------------------------------------- */

/* The columns that administrators of such queues know. */
static void
write_record (FILE *out, const StoreRecord *record)
{
  g_autoptr (GDateTime) created = g_date_time_new_from_unix_local (record->created_s);
  g_autofree char *title = make_title (record, "(the whole store)");
  g_autofree char *time = created == NULL ? NULL : g_date_time_format (created, "%Y%m%d%H%M%S");

  fprintf (out, "%-10" PRIu64 " %-35s %-14s %s%s\n", record->id, title, time != NULL ? time : "-",
           record->action, record->state == STORE_JOB_RUNNING ? " (running)" : "");
}

bool
job_spill_queue (Mount *mount, const ControlNode *node, FILE *out, GError **error)
{
  StoreRecord page[PAGE];
  size_t count = 1;

  fprintf (out, "%-10s %-35s %-14s %s\n", "RecNo", "Mailbox", "Timestamp", "Action");
  for (uint64_t after = 0; count > 0 && !ferror (out);) {
    if (!store_queue_page (mount->store, after, true, page, PAGE, &count, error))
      return false;
    for (size_t i = 0; i < count; i++) {
      write_record (out, &page[i]);
      after = page[i].id;
    }
    store_records_clear (page, count);
  }
  return true;
}
