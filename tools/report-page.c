/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report-page.c - the report as a page that stands alone: nothing is fetched, no script runs, and
 * its policy forbids both. All text goes through page_add(), which escapes it.
 */
#include "tools/print.h"
#include "tools/report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

void
page_add (GString *page, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_autofree char *text = g_markup_vprintf_escaped (format, args);
  va_end (args);
  g_string_append (page, text);
}

/* "7,948 messages" */
static char *
count_things (uint64_t count, const char *one, const char *many)
{
  g_autofree char *figure = text_digits (count);
  return g_strdup_printf ("%s %s", figure, count == 1 ? one : many);
}

/* ---- what stands above --------------------------------------------------------------------- */

static void
add_head (GString *page, const Report *report)
{
  g_autoptr (GDateTime) now = g_date_time_new_from_unix_local (report->now_s);
  g_autofree char *time = g_date_time_format (now, "%-d %B %Y, %H:%M %Z");
  page_add (page,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
            "'unsafe-inline'\">\n"
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
            "<meta name=\"referrer\" content=\"no-referrer\">\n"
            "<title>Mail store report: %s</title>\n<style>\n",
            report->store);
  g_string_append (page, report_style);
  page_add (page,
            "</style>\n</head>\n<body>\n<header>\n<p class=\"kicker\">Mail store report</p>\n"
            "<h1>%s</h1>\n<p class=\"meta\">%s \302\267 store %s</p>\n",
            report->store, time, report->uuid);
  if (report->scope != NULL)
    page_add (page, "<p class=\"meta\">Only <bdi>%s</bdi></p>\n", report->scope);
  page_add (page, "</header>\n<main>\n");
}

static void
add_health (GString *page, const Report *report)
{
  g_autofree char *why = report_explain_health (report);
  const char *health = store_health_name (report->health);
  page_add (page, "<div class=\"health %s\" id=\"health\"><h2>%s</h2><p>%s</p></div>\n", health,
            report->health == STORE_HEALTH_OK ? "all is well" : health, why);
}

static void
add_figure (GString *page, const char *id, const char *name, const char *figure, const char *more)
{
  page_add (page, "<div><dt>%s</dt><dd id=\"%s\">%s<small>%s</small></dd></div>\n", name, id,
            figure, more);
}

static void
add_figures (GString *page, const Report *report)
{
  g_autofree char *messages = text_digits (report->messages);
  g_autofree char *unseen = count_things (report->unseen, "unseen", "unseen");
  g_autofree char *bytes = text_size (report->bytes);
  g_autofree char *mean = text_size (report->bytes / MAX (report->messages, 1));
  g_autofree char *each = g_strdup_printf ("%s a message", mean);
  g_autofree char *mailboxes = text_digits (report->mailboxes);
  g_autofree char *users = count_things (report->users, "user", "users");
  g_autofree char *domains = count_things (report->domains, "domain", "domains");
  g_autofree char *of = g_strdup_printf ("%s, %s", users, domains);
  g_autofree char *damaged = text_digits (report->damaged);
  g_autofree char *behind = count_things (report->behind, "mailbox behind", "mailboxes behind");
  g_autofree char *waiting = text_digits (report->waiting_count);
  g_autofree char *running = count_things (report->running, "running", "running");
  g_autofree char *free = text_size (report->disk_free);
  g_autofree char *size = text_size (report->disk_size);
  g_autofree char *of_size = g_strdup_printf ("of %s", size);
  page_add (page, "<dl class=\"figures\">\n");
  add_figure (page, "messages", "Messages", messages, unseen);
  add_figure (page, "bytes", "Size", bytes, each);
  add_figure (page, "mailboxes", "Mailboxes", mailboxes, of);
  add_figure (page, "damaged", "Damaged", damaged, behind);
  add_figure (page, "waiting", "Waiting jobs", waiting, running);
  add_figure (page, "free", "Disk free", free, of_size);
  page_add (page, "</dl>\n");
}

static void
add_steps (GString *page, const Report *report)
{
  page_add (page, "<section><h2>Next steps</h2>\n");
  if (report->steps->len == 0) {
    page_add (page, "<p>There is nothing to do.</p></section>\n");
    return;
  }
  page_add (page, "<ol class=\"steps\">\n");
  for (guint i = 0; i < report->steps->len; i++) {
    const ReportStep *step = g_ptr_array_index (report->steps, i);
    page_add (page, "<li>%s.", step->why);
    if (step->command != NULL)
      page_add (page, " <code>%s</code>", step->command);
    page_add (page, "</li>\n");
  }
  page_add (page, "</ol></section>\n");
}

/* ---- histograms ---------------------------------------------------------------------------- */

/* Bins, and what is said of them. */
typedef struct {
  const char *title, *of, *heading; /* of the plot, of its values, of its table */
  char *const *names;               /* of each bin */
  const char *const *labels;        /* below some of them; NULL: none */
  const bool *wide;                 /* which of these need a wide screen; NULL: none */
  const ReportBin *bins;
  size_t count;
  bool edges; /* labels are of the ends of bins */
} Histogram;

/* The figures of a plot, for who would rather read them. */
static void
add_bins (GString *page, const Histogram *self)
{
  page_add (page,
            "<details><summary>Figures as a table</summary>\n<table><thead><tr><th "
            "scope=\"col\">%s</th><th scope=\"col\" class=\"number\">Messages</th><th "
            "scope=\"col\" class=\"number\">Size</th></tr></thead>\n<tbody>\n",
            self->heading);
  for (size_t i = 0; i < self->count; i++) {
    g_autofree char *messages = text_digits (self->bins[i].messages);
    g_autofree char *size = text_size (self->bins[i].bytes);
    page_add (page,
              "<tr><td>%s</td><td class=\"number\">%s</td><td class=\"number\">%s</td></tr>\n",
              self->names[i], messages, size);
  }
  page_add (page, "</tbody></table></details>\n");
}

static void
add_histogram (GString *page, const Histogram *self)
{
  g_autofree PlotBar *bars = g_new0 (PlotBar, self->count);
  for (size_t i = 0; i < self->count; i++) {
    const ReportBin *bin = &self->bins[i];
    g_autofree char *messages = count_things (bin->messages, "message", "messages");
    g_autofree char *size = text_size (bin->bytes);
    bars[i] = (PlotBar){.value = bin->messages,
                        .label = self->labels[i],
                        .wide = self->wide != NULL && self->wide[i],
                        .title = g_strdup_printf ("%s: %s, %s", self->names[i], messages, size)};
  }
  page_add (page, "<figure><figcaption>%s <span>%s</span></figcaption>\n", self->title, self->of);
  plot_bars (page, self->title, bars, self->count, self->edges);
  add_bins (page, self);
  page_add (page, "</figure>\n");
  for (size_t i = 0; i < self->count; i++)
    g_free (bars[i].title);
}

static void
free_texts (char **texts, size_t count)
{
  for (size_t i = 0; i < count; i++)
    g_free (texts[i]);
}

static void
add_sizes (GString *page, const Report *report)
{
  static const char *const labels[REPORT_SIZES] = {
      [0] = "1 kB", [3] = "10 kB", [6] = "100 kB", [9] = "1 MB", [12] = "10 MB", [15] = "100 MB"};
  static const bool wide[REPORT_SIZES] = {[3] = true, [9] = true, [15] = true};
  char *names[REPORT_SIZES];
  for (size_t i = 0; i < REPORT_SIZES; i++) {
    g_autofree char *from = i > 0 ? text_size (report_size_bounds[i - 1]) : NULL;
    g_autofree char *to = i < REPORT_SIZES - 1 ? text_size (report_size_bounds[i]) : NULL;
    names[i] = from == NULL ? g_strdup_printf ("less than %s", to)
               : to == NULL ? g_strdup_printf ("%s or more", from)
                            : g_strdup_printf ("%s to %s", from, to);
  }
  add_histogram (page, &(Histogram){.title = "How large messages are",
                                    .of = "messages in each range",
                                    .heading = "Size",
                                    .names = names,
                                    .labels = labels,
                                    .wide = wide,
                                    .bins = report->sizes,
                                    .count = REPORT_SIZES,
                                    .edges = true});
  free_texts (names, REPORT_SIZES);
}

static void
add_ages (GString *page, const Report *report)
{
  static const char *const labels[REPORT_AGES] = {"1 d", "1 wk", "1 mo", "3 mo", "6 mo",
                                                  "1 y", "2 y",  "5 y",  "10 y", "20 y"};
  static const bool wide[REPORT_AGES] = {
      [0] = true, [2] = true, [4] = true, [6] = true, [8] = true};
  add_histogram (page, &(Histogram){.title = "How old messages are",
                                    .of = "messages in each range",
                                    .heading = "Age",
                                    .names = (char *const *)report_age_names,
                                    .labels = labels,
                                    .wide = wide,
                                    .bins = report->ages,
                                    .count = REPORT_AGES,
                                    .edges = true});
}

/* A year below its January; a quarter below its first month, where there are few. */
static char *
label_month (GDateTime *month, size_t count, bool *out_wide)
{
  int number = g_date_time_get_month (month);
  *out_wide = number != 1 || (count > 60 && g_date_time_get_year (month) % 2 == 1);
  return number == 1                      ? g_date_time_format (month, "%Y")
         : count <= 30 && number % 3 == 1 ? g_date_time_format (month, "%b")
                                          : NULL;
}

/* From the first month with mail on, but at least a year. */
static void
add_months (GString *page, const Report *report)
{
  size_t first = 0;
  while (first < REPORT_MONTHS - 12 && report->before == 0 && report->months[first].messages == 0)
    first++;
  size_t count = REPORT_MONTHS - first;
  g_autoptr (GDateTime) now = g_date_time_new_from_unix_local (report->now_s);
  g_autoptr (GDateTime) present =
      g_date_time_new_local (g_date_time_get_year (now), g_date_time_get_month (now), 1, 12, 0, 0);
  char *names[REPORT_MONTHS], *labels[REPORT_MONTHS];
  bool wide[REPORT_MONTHS];
  for (size_t i = 0; i < count; i++) {
    g_autoptr (GDateTime) month = g_date_time_add_months (present, (int)i + 1 - (int)count);
    names[i] = g_date_time_format (month, "%B %Y");
    labels[i] = label_month (month, count, &wide[i]);
  }
  add_histogram (page, &(Histogram){.title = "Mail by month",
                                    .of = "messages, by their date",
                                    .heading = "Month",
                                    .names = names,
                                    .labels = (const char *const *)labels,
                                    .wide = wide,
                                    .bins = &report->months[first],
                                    .count = count});
  free_texts (names, count);
  free_texts (labels, count);
}

static void
add_odd_dates (GString *page, const Report *report)
{
  g_autofree char *before = count_things (report->before, "message is", "messages are");
  g_autofree char *future = count_things (report->future, "message is", "messages are");
  if (report->before > 0)
    page_add (page, "<p class=\"note\">%s older than that.</p>\n", before);
  if (report->future > 0)
    page_add (page, "<p class=\"note\">%s dated in the future, and counted as of now.</p>\n",
              future);
}

static void
add_mail (GString *page, const Report *report)
{
  if (report->messages == 0)
    return;
  g_autofree char *oldest = text_local_time (report->oldest_s);
  g_autofree char *newest = text_local_time (report->newest_s);
  page_add (page,
            "<section><h2>Mail</h2>\n<p>The oldest message is of <span id=\"oldest\">%.10s</span>, "
            "the newest of <span id=\"newest\">%.10s</span>.</p>\n<div class=\"pair\">\n",
            oldest, newest);
  add_sizes (page, report);
  add_ages (page, report);
  page_add (page, "</div>\n");
  add_months (page, report);
  add_odd_dates (page, report);
  page_add (page, "</section>\n");
}

GString *
report_page (const Report *report)
{
  GString *page = g_string_new (NULL);
  add_head (page, report);
  add_health (page, report);
  add_figures (page, report);
  add_steps (page, report);
  add_mail (page, report);
  report_page_tables (page, report);
  page_add (
      page,
      "</main>\n<footer>Made by mailstore " MAILFS_VERSION
      " in %.1f s. Times are local; sizes are in powers of 1000.</footer>\n</body>\n</html>\n",
      report->seconds);
  return page;
}
