/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.c - mailstore report: how the store is, for people.
 *
 *   mailstore report
 *   mailstore report --html report.html
 *   mailstore report joe@example.com example.org
 */
#include "tools/report.h"
#include "tools/print.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHOWN 5 /* of each list, on a terminal */

static char *html;
static gboolean subjects;

const GOptionEntry report_options[] = {
    {"html", 0, 0, G_OPTION_ARG_FILENAME, &html, "write a page with plots; '-' is standard output",
     "FILE"},
    {"subjects", 0, 0, G_OPTION_ARG_NONE, &subjects,
     "tell damaged messages by sender and subject, too", NULL},
    {NULL},
};

/* ---- on a terminal ------------------------------------------------------------------------- */

static void
print_key (const char *key)
{
  printf ("%-11s ", key);
}

static void
print_totals (const Report *report)
{
  g_autofree char *size = text_size (report->bytes);
  g_autofree char *messages = text_count (report->messages, "message", "messages");
  g_autofree char *mailboxes = text_count (report->mailboxes, "mailbox", "mailboxes");
  g_autofree char *users = text_count (report->users, "user", "users");
  g_autofree char *why = report_explain_health (report);
  print_key ("store");
  puts (report->store);
  if (report->scope != NULL) {
    print_key ("mailboxes");
    puts (report->scope);
  }
  print_key ("health");
  printf ("%s: %s\n", store_health_name (report->health), why);
  print_key ("mail");
  printf ("%s, %s, in %s of %s; %" PRIu64 " unseen, %" PRIu64 " expunged\n", messages, size,
          mailboxes, users, report->unseen, report->expunged);
  if (report->messages == 0)
    return;
  g_autofree char *oldest = text_local_time (report->oldest_s);
  g_autofree char *newest = text_local_time (report->newest_s);
  print_key ("dated");
  printf ("%s to %s\n", oldest, newest);
}

static void
print_disk (const Report *report)
{
  g_autofree char *size = text_size (report->disk_size);
  g_autofree char *free = text_size (report->disk_free);
  g_autofree char *quarantined = text_size (report->quarantined_bytes);
  g_autofree char *kept = text_size (report->snapshots_bytes);
  print_key ("disk");
  printf ("%s free of %s\n", free, size);
  if (report->quarantined > 0) {
    print_key ("quarantine");
    printf ("%" PRIu64 " taken out of the store, %s\n", report->quarantined, quarantined);
  }
  if (report->snapshots > 0) {
    print_key ("snapshots");
    printf ("%" PRIu64 ", for which %s of removed mail are kept\n", report->snapshots, kept);
  }
}

static void
print_mailboxes (const char *heading, const ReportTop *top, ReportKey key)
{
  if (top->count > 0)
    printf ("\n%s\n", heading);
  for (size_t i = 0; i < MIN (top->count, SHOWN); i++) {
    const ReportMailbox *row = &top->rows[i];
    g_autofree char *figure = key == REPORT_BY_SIZE ? text_size (row->keys[key])
                                                    : g_strdup_printf ("%" PRIu64, row->keys[key]);
    printf ("%10s  %s\n", figure, row->title);
  }
}

static void
print_damage (const Report *report)
{
  if (report->damaged_sample->len + report->unreadable->len == 0)
    return;
  bool is_grave = report->damaged + report->unreadable->len > 0;
  puts (is_grave ? "\nDamaged" : "\nUnusual, but what was delivered");
  for (guint i = 0; i < report->unreadable->len; i++)
    printf ("%10s  %s\n", "unreadable", (const char *)g_ptr_array_index (report->unreadable, i));
  for (guint i = 0; i < MIN (report->damaged_sample->len, 4 * SHOWN); i++) {
    const ReportDamaged *row = g_ptr_array_index (report->damaged_sample, i);
    g_autofree char *kinds = store_damage_to_string (row->damage);
    printf ("%10s  %s %u%s%s%s%s\n", kinds, row->title, row->uid, row->from != NULL ? "  " : "",
            row->from != NULL ? row->from : "", row->subject != NULL ? "  " : "",
            row->subject != NULL ? row->subject : "");
  }
  uint64_t all = report->damaged + report->odd;
  if (all > 4 * SHOWN)
    printf ("%10s  and %" PRIu64 " more\n", "", all - 4 * SHOWN);
}

static void
print_job (const StoreRecord *record)
{
  int64_t seconds = report_job_seconds (record);
  g_autofree char *time =
      text_local_time (record->started_s > 0 ? record->started_s : record->created_s);
  g_autofree char *took = seconds >= 0 ? text_seconds ((double)seconds) : g_strdup ("-");
  g_autofree char *result = report_job_result (record);
  printf ("%10" PRIu64 "  %s  %8s  %s  %s: %s\n", record->id, time, took, record->action,
          record->title != NULL ? record->title : "(the whole store)", result);
}

static void
print_jobs (const Report *report)
{
  if (report->waiting_count + report->running > 0)
    printf ("\nQueue: %" PRIu64 " waiting, %" PRIu64 " running\n", report->waiting_count,
            report->running);
  guint shown = 0;
  for (const GList *link = report->waiting.head; link != NULL && shown < SHOWN; link = link->next) {
    print_job (link->data);
    shown++;
  }
  if (report->jobs.length > 0)
    puts ("\nLast jobs");
  shown = 0;
  for (const GList *link = report->jobs.tail; link != NULL && shown < SHOWN; link = link->prev) {
    print_job (link->data);
    shown++;
  }
}

static void
print_steps (const Report *report)
{
  puts (report->steps->len > 0 ? "\nNext steps" : "\nThere is nothing to do.");
  for (guint i = 0; i < report->steps->len; i++) {
    const ReportStep *step = g_ptr_array_index (report->steps, i);
    printf ("%3u. %s\n", i + 1, step->why);
    if (step->command != NULL)
      printf ("     %s\n", step->command);
  }
}

static void
print_report (const Report *report)
{
  ReportKey busy = report_busy_key (report);
  print_totals (report);
  print_disk (report);
  print_mailboxes ("Largest mailboxes", &report->tops[REPORT_BY_SIZE], REPORT_BY_SIZE);
  if (busy != REPORT_KEYS)
    print_mailboxes (busy == REPORT_BY_MONTH ? "Busiest mailboxes: messages of the last 30 days"
                                             : "Busiest mailboxes: messages of the last year",
                     &report->tops[busy], busy);
  print_damage (report);
  print_jobs (report);
  print_steps (report);
}

static void
print_json (const Report *report)
{
  GString *json = json_begin ("report");
  g_autofree char *time = text_rfc3339 (report->now_s);
  g_autofree char *oldest = text_rfc3339 (report->messages > 0 ? report->oldest_s : INT64_MIN);
  g_autofree char *newest = text_rfc3339 (report->newest_s);
  json_string (json, "time", time);
  json_string (json, "store", report->store);
  json_string (json, "scope", report->scope);
  json_string (json, "health", store_health_name (report->health));
  json_uint (json, "users", report->users);
  json_uint (json, "mailboxes", report->mailboxes);
  json_uint (json, "messages", report->messages);
  json_uint (json, "unseen", report->unseen);
  json_uint (json, "expunged", report->expunged);
  json_uint (json, "bytes", report->bytes);
  json_string (json, "oldest", oldest);
  json_string (json, "newest", newest);
  json_uint (json, "damaged", report->damaged);
  json_uint (json, "behind", report->behind);
  json_uint (json, "unreadable", report->unreadable_count);
  json_uint (json, "waiting", report->waiting_count);
  json_uint (json, "running", report->running);
  json_uint (json, "disk_size", report->disk_size);
  json_uint (json, "disk_free", report->disk_free);
  json_uint (json, "snapshots", report->snapshots);
  json_uint (json, "snapshots_bytes", report->snapshots_bytes);
  json_print (json);
  for (guint i = 0; i < report->steps->len; i++) {
    const ReportStep *step = g_ptr_array_index (report->steps, i);
    GString *line = json_begin ("step");
    json_string (line, "why", step->why);
    json_string (line, "command", step->command);
    json_print (line);
  }
}

/* ---- as a page ----------------------------------------------------------------------------- */

static bool
write_all (int fd, const char *text, size_t size)
{
  for (size_t done = 0; done < size;) {
    ssize_t got = write (fd, text + done, size - done);
    if (got < 0 && errno != EINTR)
      return false;
    done += got > 0 ? (size_t)got : 0;
  }
  return true;
}

/* Puts the page in the place of `path` when it is whole. It tells who has mail here, so others may
 * not read it. */
static bool
write_page (const char *path, const GString *page, GError **error)
{
  struct stat st;
  if (stat (path, &st) == 0 && !S_ISREG (st.st_mode))
    return fail (error, EEXIST, "%s: no ordinary file; '-' is standard output", path);
  g_autofree char *temporary = g_strconcat (path, ".XXXXXX", NULL);
  auto_fd fd = g_mkstemp_full (temporary, O_WRONLY | O_CLOEXEC, 0640);
  if (fd < 0)
    return fail_errno (error, "write %s", path);
  if (write_all (fd, page->str, page->len) && fsync (fd) == 0 && rename (temporary, path) == 0)
    return true;
  fail_errno (error, "write %s", path);
  unlink (temporary);
  return false;
}

/* ---- the command --------------------------------------------------------------------------- */

static GArray *
find_nodes (Store *store, int argc, char **argv, GError **error)
{
  g_autoptr (GArray) nodes = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (int i = 0; i < argc; i++) {
    g_auto (StoreNode) node = {0};
    if (!store_node_resolve (store, argv[i], &node, error))
      return NULL;
    g_array_append_val (nodes, node.number);
  }
  return g_steal_pointer (&nodes);
}

bool
report_run (Tool *tool, int argc, char **argv, GError **error)
{
  g_autoptr (Store) store = tool_store_open (tool, STORE_READ_ONLY, error);
  g_autoptr (GArray) nodes = store != NULL ? find_nodes (store, argc, argv, error) : NULL;
  g_autoptr (Report) report =
      nodes != NULL ? report_new (tool, store, nodes, subjects, html != NULL, error) : NULL;
  if (report == NULL)
    return false;
  if (html == NULL && tool->json)
    print_json (report);
  else if (html == NULL)
    print_report (report);
  if (html == NULL)
    return true;
  g_autoptr (GString) page = report_page (report);
  if (strcmp (html, "-") == 0)
    return fputs (page->str, stdout) != EOF || fail_errno (error, "standard output");
  return write_page (html, page, error);
}
