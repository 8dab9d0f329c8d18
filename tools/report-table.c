/* SPDX-License-Identifier: Apache-2.0 */
/* report-table.c - the lower part of the page: mailboxes, users, damage, jobs, disk and settings.
 */
#include "tools/print.h"
#include "tools/report.h"

#include <inttypes.h>

#define JOBS_SHOWN 15

/* Heads are separated by '|'; one that begins with '#' stands over figures. */
static void
begin_table (GString *page, const char *class, const char *heads)
{
  g_auto (GStrv) names = g_strsplit (heads, "|", -1);
  page_add (page, "<table class=\"%s\"><thead><tr>", class);
  for (char **name = names; *name != NULL; name++) {
    if (**name == '#')
      page_add (page, "<th scope=\"col\" class=\"number\">%s</th>", *name + 1);
    else
      page_add (page, "<th scope=\"col\">%s</th>", *name);
  }
  page_add (page, "</tr></thead>\n<tbody>\n");
}

static void
end_table (GString *page)
{
  page_add (page, "</tbody></table>\n");
}

/* The first cell of a row: a name with a bar below it, as long as its share of the most. */
static void
add_name (GString *page, const char *name, uint64_t value, uint64_t most)
{
  page_add (page,
            "<tr><td><bdi>%s</bdi><div class=\"meter\"><b style=\"width:%.1f%%\"></b></div></td>",
            name != NULL ? name : "?", (double)value * 100 / (double)MAX (most, 1));
}

static void
add_number (GString *page, const char *text)
{
  page_add (page, "<td class=\"number\">%s</td>", text);
}

static void
add_count (GString *page, uint64_t count)
{
  g_autofree char *text = text_digits (count);
  add_number (page, text);
}

static void
add_size (GString *page, uint64_t bytes)
{
  g_autofree char *text = text_size (bytes);
  add_number (page, text);
}

static void
add_more (GString *page, uint64_t all, uint64_t shown)
{
  if (all <= shown)
    return;
  g_autofree char *more = text_digits (all - shown);
  page_add (page, "<p class=\"note\">And %s more.</p>\n", more);
}

/* A date and a time, which a narrow table may put below each other. */
static void
add_time (GString *page, int64_t time_s)
{
  g_autofree char *text = text_local_time (time_s);
  g_auto (GStrv) parts = g_strsplit (text, " ", 2);
  page_add (page, "<td><span class=\"when\">%s</span> %.5s</td>", parts[0],
            parts[1] != NULL ? parts[1] : "");
}

/* ---- mailboxes and users ------------------------------------------------------------------- */

static void
add_top (GString *page, const char *title, const char *heads, const ReportTop *top, ReportKey key)
{
  page_add (page, "<div><h3>%s</h3>\n", title);
  begin_table (page, "top", heads);
  for (size_t i = 0; i < top->count; i++) {
    const ReportMailbox *row = &top->rows[i];
    add_name (page, row->title, row->keys[key], top->rows[0].keys[key]);
    add_count (page, key == REPORT_BY_SIZE ? row->messages : row->keys[key]);
    if (key == REPORT_BY_SIZE)
      add_size (page, row->keys[key]);
    page_add (page, "</tr>\n");
  }
  end_table (page);
  page_add (page, "</div>\n");
}

static void
add_mailboxes (GString *page, const Report *report)
{
  if (report->tops[REPORT_BY_SIZE].count == 0)
    return;
  ReportKey busy = report_busy_key (report);
  page_add (page, "<section class=\"long\" id=\"tops\"><h2>Mailboxes</h2>\n<div class=\"pair\">\n");
  add_top (page, "Largest", "Mailbox|#Messages|#Size", &report->tops[REPORT_BY_SIZE],
           REPORT_BY_SIZE);
  if (busy != REPORT_KEYS)
    add_top (page, "Busiest",
             busy == REPORT_BY_MONTH ? "Mailbox|#Messages of 30 days"
                                     : "Mailbox|#Messages of a year",
             &report->tops[busy], busy);
  page_add (page, "</div></section>\n");
}

static void
add_user (GString *page, const ReportUser *user, uint64_t most)
{
  const char *health = store_health_name (user->health);
  add_name (page, user->title, user->bytes, most);
  page_add (page, "<td><span class=\"state %s\">%s</span></td>", health, health);
  add_count (page, user->messages);
  add_size (page, user->bytes);
  page_add (page, "</tr>\n");
}

static void
add_users (GString *page, const Report *report)
{
  guint users = report->user_health->len;
  if (users == 0)
    return;
  uint64_t most = 0;
  for (size_t i = 0; i < report->top_users_count; i++)
    most = MAX (most, report->top_users[i].bytes);
  g_autofree char *all = text_digits (users);
  g_autofree char *trouble = text_digits (report->users_in_trouble);
  page_add (page, "<section class=\"long\" id=\"users\"><h2>Users</h2>\n");
  if (report->users_in_trouble == 0)
    page_add (page, "<p>All %s are well, shared folders included.</p>\n", all);
  else
    page_add (page, "<p>%s of %s are not well, shared folders included.</p>\n", trouble, all);
  if (users > REPORT_TOP) {
    plot_users (page, report->user_health);
    page_add (page,
              "<p class=\"note\">In the order of their names: grey is well, amber is served from "
              "the files or being rebuilt, red is damaged.</p>\n");
  }
  begin_table (page, "users", "User|Health|#Messages|#Size");
  for (size_t i = 0; i < report->top_users_count; i++)
    add_user (page, &report->top_users[i], most);
  end_table (page);
  add_more (page, users, report->top_users_count);
  page_add (page, "</section>\n");
}

/* ---- damage -------------------------------------------------------------------------------- */

static const char *
describe_damage (uint32_t kind)
{
  switch (kind) {
  case STORE_DAMAGE_NUL: return "has NUL bytes; served as it is";
  case STORE_DAMAGE_SIZE: return "not the size that was delivered";
  case STORE_DAMAGE_DIGEST: return "not the bytes that were delivered";
  case STORE_DAMAGE_UNREADABLE: return "the file cannot be read";
  default: return "more than is looked at in a message; summarised in part";
  }
}

static void
add_strips (GString *page, const Report *report)
{
  uint32_t kinds = 0;
  if (report->strips->len == 0)
    return;
  page_add (page, "<p>Where in the range of its UIDs a mailbox has messages that are damaged or "
                  "unusual. Grey is mail that is whole.</p>\n");
  for (guint i = 0; i < report->strips->len; i++) {
    const ReportStrip *strip = g_ptr_array_index (report->strips, i);
    g_autofree char *count = text_digits (strip->damaged);
    page_add (page, "<figure><figcaption><bdi>%s</bdi> <span>%s %s</span></figcaption>\n",
              strip->title, count,
              (strip->kinds & STORE_DAMAGE_GRAVE) != 0 ? "damaged" : "unusual");
    plot_strip (page, strip);
    page_add (page, "</figure>\n");
    kinds |= strip->kinds;
  }
  add_more (page, report->strips_count, report->strips->len);
  page_add (page, "<p class=\"note kinds\">");
  for (uint32_t kind = 1; kind <= kinds; kind <<= 1) {
    g_autofree char *name = store_damage_to_string (kind & kinds);
    if ((kind & kinds) != 0)
      page_add (page, "<b>%s</b>: %s. ", name, describe_damage (kind));
  }
  page_add (page, "</p>\n");
}

static void
add_damaged (GString *page, const ReportDamaged *row)
{
  g_autofree char *kinds = store_damage_to_string (row->damage);
  g_autofree char *date = text_local_time (row->internal_s);
  page_add (page, "<tr><td><bdi>%s</bdi>", row->title);
  if (row->from != NULL)
    page_add (page, "<br><span class=\"note\"><bdi>%s</bdi></span>", row->from);
  if (row->subject != NULL)
    page_add (page, "<br><span class=\"note\"><bdi>%s</bdi></span>", row->subject);
  plot_message (page, row);
  page_add (page, "</td><td class=\"number\">%u</td><td>%s</td><td class=\"when\">%.10s</td>",
            row->uid, kinds, date);
  add_size (page, row->size);
  page_add (page, "</tr>\n");
}

static void
add_findings (GString *page, const Report *report)
{
  if (report->findings == NULL)
    return;
  g_autofree char *when = text_local_time (report->looked->ended_s);
  g_autofree char *left = text_digits (report->looked->left);
  page_add (page, "<h3>What the last %s left (%s, job %" PRIu64 ": %s)</h3>\n",
            report->looked->action, when, report->looked->id, left);
  begin_table (page, "findings", "Problem|Where|What helps");
  guint shown = 0;
  for (guint i = 0; i < report->findings->len && shown < REPORT_FINDINGS; i++) {
    const StoreFinding *finding = g_ptr_array_index (report->findings, i);
    if (finding->outcome != STORE_LEFT)
      continue;
    const char *remedy = store_problem_remedy (finding->problem);
    page_add (
        page,
        "<tr><td>%s</td><td><bdi>%s</bdi><br><span class=\"note\">%s</span></td><td>%s</td></tr>\n",
        store_problem_name (finding->problem), finding->object, finding->detail,
        remedy != NULL ? remedy : "");
    shown++;
  }
  end_table (page);
  add_more (page, report->looked->left, shown);
}

static void
add_damage (GString *page, const Report *report)
{
  page_add (page, "<section class=\"long\" id=\"damage\"><h2>Damage</h2>\n");
  if (report->strips->len + report->unreadable->len == 0)
    page_add (page, "<p>No message is known to be damaged.</p>\n");
  for (guint i = 0; i < report->unreadable->len; i++)
    page_add (page, "<p class=\"state failed\"><bdi>%s</bdi></p>\n",
              (const char *)g_ptr_array_index (report->unreadable, i));
  add_more (page, report->unreadable_count, report->unreadable->len);
  add_strips (page, report);
  plot_places (page, &report->places);
  if (report->damaged_sample->len > 0) {
    page_add (page, "<details><summary>%s messages, one by one</summary>\n",
              report->damaged > 0 ? "Damaged" : "Unusual");
    begin_table (page, "damaged", "Mailbox|#UID|Kind|Date|#Size");
    for (guint i = 0; i < report->damaged_sample->len; i++)
      add_damaged (page, g_ptr_array_index (report->damaged_sample, i));
    end_table (page);
    add_more (page, report->damaged + report->odd, report->damaged_sample->len);
    page_add (page, "</details>\n");
  }
  add_findings (page, report);
  page_add (page, "</section>\n");
}

/* ---- jobs ---------------------------------------------------------------------------------- */

static const char *
classify_job (const StoreRecord *record)
{
  switch (record->state) {
  case STORE_JOB_DONE: return record->left > 0 ? "left" : "ok";
  case STORE_JOB_FAILED: return "failed";
  case STORE_JOB_CANCELLED:
  case STORE_JOB_INTERRUPTED: return "left";
  default: return "";
  }
}

static void
add_job (GString *page, const StoreRecord *record)
{
  int64_t seconds = report_job_seconds (record);
  g_autofree char *took = seconds < 0    ? g_strdup ("")
                          : seconds == 0 ? g_strdup ("< 1 s")
                                         : text_seconds ((double)seconds);
  g_autofree char *result = report_job_result (record);
  page_add (page, "<tr><td class=\"number\">%" PRIu64 "</td>", record->id);
  add_time (page, record->started_s > 0 ? record->started_s : record->created_s);
  page_add (page, "<td>%s", record->action);
  if (record->title != NULL)
    page_add (page, " <bdi>%s</bdi>", record->title);
  if (record->error != NULL)
    page_add (page, "<br><span class=\"note\">%s</span>", record->error);
  page_add (page, "</td><td class=\"number\">%s</td>", took);
  page_add (page, "<td><span class=\"state %s\">%s</span></td></tr>\n", classify_job (record),
            result);
}

static void
add_queue (GString *page, const Report *report)
{
  if (report->queue_lost) {
    page_add (page, "<p>The queue could not be read.</p>\n");
    return;
  }
  if (report->waiting.length == 0) {
    page_add (page, "<p>Nothing waits in the queue.</p>\n");
    return;
  }
  page_add (page, "<h3>Waiting</h3>\n");
  begin_table (page, "jobs", "#Job|Since|What|#|State");
  for (const GList *link = report->waiting.head; link != NULL; link = link->next)
    add_job (page, link->data);
  end_table (page);
  add_more (page, report->waiting_count, report->waiting.length);
}

static void
add_jobs (GString *page, const Report *report)
{
  page_add (page, "<section class=\"long\" id=\"jobs\"><h2>Jobs</h2>\n");
  add_queue (page, report);
  if (report->jobs.length > 0) {
    page_add (page, "<figure><figcaption>When jobs began, and how long they took <span>a dot is "
                    "done, a diamond left something, a cross failed</span></figcaption>\n");
    plot_jobs (page, &report->jobs);
    page_add (page, "</figure>\n<h3>The last ones</h3>\n");
    begin_table (page, "jobs", "#Job|Began|What|#Took|Result");
    guint shown = 0;
    for (const GList *link = report->jobs.tail; link != NULL && shown < JOBS_SHOWN;
         link = link->prev, shown++)
      add_job (page, link->data);
    end_table (page);
    add_more (page, report->jobs_count, shown);
  }
  page_add (page, "</section>\n");
}

/* ---- disk and settings --------------------------------------------------------------------- */

static void
add_disk (GString *page, const Report *report)
{
  uint64_t used = report->disk_size - MIN (report->disk_free, report->disk_size);
  uint64_t mail = MIN (report->bytes, used);
  double all = (double)MAX (report->disk_size, 1);
  g_autofree char *mail_text = text_size (report->bytes);
  g_autofree char *other_text = text_size (used - mail);
  g_autofree char *free_text = text_size (report->disk_free);
  page_add (
      page,
      "<section id=\"disk\"><h2>Disk</h2>\n<div class=\"disk\" role=\"img\" aria-label=\"Mail "
      "%s, other %s, free %s\"><b style=\"width:%.2f%%\"></b><i style=\"width:%.2f%%\"></i>"
      "</div>\n",
      mail_text, other_text, free_text, (double)mail * 100 / all,
      (double)(used - mail) * 100 / all);
  page_add (page,
            "<p><span class=\"key mail\">mail %s</span> <span class=\"key other\">other things %s"
            "</span> <span class=\"key\">free %s</span></p>\n",
            mail_text, other_text, free_text);
  if (report->quarantined > 0) {
    g_autofree char *count = text_count (report->quarantined, "thing", "things");
    g_autofree char *size = text_size (report->quarantined_bytes);
    page_add (page, "<p>%s of %s in quarantine, and can be put back.</p>\n", count, size);
  }
  if (report->snapshots > 0) {
    g_autofree char *count = text_count (report->snapshots, "snapshot", "snapshots");
    g_autofree char *size = text_size (report->snapshots_bytes);
    page_add (page, "<p>%s, for which %s of removed mail are kept.</p>\n", count, size);
  }
  if (report->expunged > 0) {
    g_autofree char *count = text_count (report->expunged, "expunged message", "expunged messages");
    page_add (page, "<p>%s still there, and can be undeleted until a cleanup.</p>\n", count);
  }
  page_add (page, "</section>\n");
}

static void
add_settings (GString *page, const Report *report)
{
  page_add (page, "<section id=\"settings\"><h2>Settings</h2>\n");
  begin_table (page, "settings", "Setting|Value|Meaning");
  for (StoreSetting key = 0; store_settings[key].name != NULL; key++)
    page_add (page, "<tr><td><code>%s</code></td><td>%s</td><td>%s</td></tr>\n",
              store_settings[key].name, (const char *)g_ptr_array_index (report->settings, key),
              store_settings[key].summary);
  end_table (page);
  page_add (page, "</section>\n");
}

void
report_page_tables (GString *page, const Report *report)
{
  add_mailboxes (page, report);
  add_users (page, report);
  add_damage (page, report);
  add_jobs (page, report);
  add_disk (page, report);
  add_settings (page, report);
}
