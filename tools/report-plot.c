/* SPDX-License-Identifier: Apache-2.0 */
/* report-plot.c - the plots of the page: inline SVG, each with words for who cannot see it. */
#include "tools/print.h"
#include "tools/report.h"

#include <inttypes.h>

#define BARS_HEIGHT 160 /* pixels, without the labels below */
#define LABEL_SPACE 22
#define HEAD_SPACE  8 /* above the highest line, for half of its label */
#define CELLS_MAX   1000

/* Left of a plot its scale has a column of its own, so that the plot can be any width. */
static void
begin_plot (GString *page, const char *title, unsigned height)
{
  page_add (page,
            "<svg class=\"plot\" height=\"%u\" role=\"img\" aria-label=\"%s\"><title>%s</title>\n",
            height, title, title);
}

/* ---- bars ---------------------------------------------------------------------------------- */

/* A round step that divides the range into at most four. */
static uint64_t
round_step (uint64_t most)
{
  uint64_t step = 1;
  for (int i = 0; most > 4 * step; i++)
    step = step / (i % 3 == 1 ? 2 : 1) * (i % 3 == 1 ? 5 : 2);
  return step;
}

/* "500", "20k", "1.5M" */
static char *
short_count (uint64_t value)
{
  if (value < 10000)
    return text_digits (value);
  return value < 1000000 ? g_strdup_printf ("%gk", (double)value / 1e3)
                         : g_strdup_printf ("%gM", (double)value / 1e6);
}

static double
height_of (uint64_t value, uint64_t top)
{
  return (double)value / (double)top * BARS_HEIGHT;
}

static void
add_bar (GString *page, const PlotBar *bar, size_t index, size_t count, uint64_t top)
{
  double width = 100.0 / (double)count, left = (double)index * width;
  /* What there is must be seen, however little it is. */
  double height = bar->value > 0 ? MAX (height_of (bar->value, top), 1.5) : 0;
  page_add (page,
            "<rect class=\"bar\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" height=\"%.1f\">"
            "<title>%s</title></rect>\n",
            left + width * 0.08, HEAD_SPACE + BARS_HEIGHT - height, width * 0.84, height,
            bar->title);
}

void
plot_bars (GString *page, const char *title, const PlotBar *bars, size_t count, bool edges)
{
  uint64_t most = 1;
  for (size_t i = 0; i < count; i++)
    most = MAX (most, bars[i].value);
  uint64_t step = round_step (most), top = (most + step - 1) / step * step;
  unsigned height = HEAD_SPACE + BARS_HEIGHT + LABEL_SPACE;

  page_add (page, "<div class=\"frame\"><svg class=\"scale\" height=\"%u\" aria-hidden=\"true\">",
            height);
  for (uint64_t value = 0; value <= top; value += step) {
    g_autofree char *label = short_count (value);
    page_add (page, "<text x=\"100%%\" y=\"%.1f\">%s</text>",
              HEAD_SPACE + BARS_HEIGHT - height_of (value, top) + 4, label);
  }
  page_add (page, "</svg>\n");
  begin_plot (page, title, height);
  for (uint64_t value = 0; value <= top; value += step) {
    double y = HEAD_SPACE + BARS_HEIGHT - height_of (value, top) + 0.5;
    page_add (page, "<line class=\"%s\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
              value == 0 ? "axis" : "grid", y, y);
  }
  for (size_t i = 0; i < count; i++)
    add_bar (page, &bars[i], i, count, top);
  for (size_t i = 0; i < count; i++) {
    if (bars[i].label != NULL)
      page_add (page, "<text class=\"%s\" x=\"%.3f%%\" y=\"%u\">%s</text>\n",
                bars[i].wide ? "wide" : "tick",
                ((double)i + (edges ? 1.0 : 0.5)) * 100.0 / (double)count, height - 5,
                bars[i].label);
  }
  page_add (page, "</svg></div>\n");
}

/* ---- the damage map ------------------------------------------------------------------------ */

#define LANE_HEIGHT 14
#define LANE_STEP   18

/* Cells that follow one another are drawn as one. */
static void
add_runs (GString *page, const ReportStrip *strip, uint32_t kind, unsigned top)
{
  for (size_t i = 0, end; i < strip->cells; i = end) {
    bool on = kind == 0 ? strip->present[i] > 0 : (strip->damage[i] & kind) != 0;
    for (end = i + 1; end < strip->cells && on; end++) {
      if (kind == 0 ? strip->present[end] == 0 : (strip->damage[end] & kind) == 0)
        break;
    }
    if (on)
      page_add (page, "<rect class=\"%s\" x=\"%.2f%%\" y=\"%u\" width=\"%.2f%%\" height=\"%d\"/>",
                kind == 0                          ? "there"
                : (kind & STORE_DAMAGE_GRAVE) != 0 ? "bad"
                                                   : "warn",
                (double)i * 100 / strip->cells, top, (double)(end - i) * 100 / strip->cells,
                LANE_HEIGHT);
  }
}

/* One lane for each kind of damage that there is. */
void
plot_strip (GString *page, const ReportStrip *strip)
{
  unsigned lanes = (unsigned)__builtin_popcount (strip->kinds);
  unsigned height = lanes * LANE_STEP + LABEL_SPACE - 4;
  g_autofree char *names = store_damage_to_string (strip->kinds);
  g_autofree char *last = text_digits (MAX (strip->uidnext, 2) - 1);
  g_autofree char *count = text_digits (strip->damaged);
  g_autofree char *title = g_strdup_printf (
      "Where in UIDs 1 to %s %s damaged messages are; kinds: %s", last, count, names);
  page_add (page,
            "<div class=\"frame lanes\"><svg class=\"scale\" height=\"%u\" "
            "aria-hidden=\"true\">",
            height);
  unsigned lane = 0;
  for (uint32_t kind = 1; kind <= strip->kinds; kind <<= 1) {
    if ((strip->kinds & kind) == 0)
      continue;
    g_autofree char *name = store_damage_to_string (kind);
    page_add (page, "<text x=\"100%%\" y=\"%u\">%s</text>", lane++ * LANE_STEP + 11, name);
  }
  page_add (page, "</svg>\n");
  begin_plot (page, title, height);
  lane = 0;
  for (uint32_t kind = 1; kind <= strip->kinds; kind <<= 1) {
    if ((strip->kinds & kind) == 0)
      continue;
    add_runs (page, strip, 0, lane * LANE_STEP);
    add_runs (page, strip, kind, lane++ * LANE_STEP);
  }
  page_add (page,
            "\n<text class=\"first\" x=\"0\" y=\"%u\">UID 1</text>"
            "<text class=\"last\" x=\"100%%\" y=\"%u\">%s</text></svg></div>\n",
            height - 4, height - 4, last);
}

/* ---- users --------------------------------------------------------------------------------- */

/* A cell for each, or where there are very many for some, which then is as bad as the worst. */
void
plot_users (GString *page, const GByteArray *health)
{
  guint each = (health->len + CELLS_MAX - 1) / CELLS_MAX;
  page_add (page, "<div class=\"cells\" aria-hidden=\"true\">");
  for (guint i = 0; i < health->len; i += each) {
    uint8_t worst = STORE_HEALTH_OK;
    for (guint j = i; j < MIN (i + each, health->len); j++)
      worst = health->data[j] == STORE_HEALTH_DAMAGED || worst == STORE_HEALTH_OK ? health->data[j]
                                                                                  : worst;
    page_add (page, "<i class=\"%s\"></i>", store_health_name (worst));
  }
  page_add (page, "</div>\n");
  if (each > 1)
    page_add (page,
              "<p class=\"note\">Each cell is %u users, and as bad as the worst of them.</p>\n",
              each);
}

/* ---- jobs ---------------------------------------------------------------------------------- */

#define JOBS_HEIGHT 150

typedef struct {
  int64_t from_s, to_s;
} Span;

static const struct {
  int64_t seconds;
  const char *label;
} durations[] = {{1, "1 s"},      {10, "10 s"},  {60, "1 min"},
                 {600, "10 min"}, {3600, "1 h"}, {86400, "1 day"}};

/* The marks of the scale are as far from each other; between two of them it is linear. */
static double
duration_y (int64_t seconds)
{
  size_t lanes = G_N_ELEMENTS (durations) - 1, lane = 0;
  while (lane < lanes - 1 && seconds >= durations[lane + 1].seconds)
    lane++;
  double from = (double)durations[lane].seconds, to = (double)durations[lane + 1].seconds;
  double part = CLAMP (((double)seconds - from) / (to - from), 0.0, 1.0);
  return HEAD_SPACE + JOBS_HEIGHT * (1 - ((double)lane + part) / (double)lanes);
}

/* A shape for each result, so that colour is not the only sign. */
static const char *
job_shape (const StoreRecord *record, const char **out_class)
{
  bool good = record->state == STORE_JOB_DONE;
  *out_class = record->state == STORE_JOB_FAILED ? "bad"
               : !good || record->left > 0       ? "warn"
                                                 : "bar";
  return record->state == STORE_JOB_FAILED
             ? "M-5-3L-3-5L0-2L3-5L5-3L2 0L5 3L3 5L0 2L-3 5L-5 3L-2 0Z"
         : !good || record->left > 0 ? "M0-6L6 0L0 6L-6 0Z"
                                     : "M0-4A4 4 0 0 1 0 4A4 4 0 0 1 0-4Z";
}

static void
add_job (GString *page, const StoreRecord *record, const Span *span)
{
  int64_t seconds = report_job_seconds (record);
  if (seconds < 0)
    return;
  const char *class;
  const char *shape = job_shape (record, &class);
  g_autofree char *when = text_local_time (record->started_s);
  g_autofree char *took = text_seconds ((double)seconds);
  g_autofree char *result = report_job_result (record);
  page_add (page,
            "<svg class=\"mark\" x=\"%.2f%%\" y=\"%.1f\"><path class=\"%s\" d=\"%s\">"
            "<title>%s, %s, %s: %s</title></path></svg>\n",
            2 + 96 * (double)(record->started_s - span->from_s) /
                    (double)(span->to_s - span->from_s),
            duration_y (seconds), class, shape, when, record->action, took, result);
}

/* Without their seconds. */
static void
add_job_times (GString *page, const Span *span, unsigned height)
{
  g_autofree char *from = text_local_time (span->from_s);
  g_autofree char *to = text_local_time (span->to_s);
  page_add (page,
            "<text class=\"first\" x=\"0\" y=\"%u\">%.16s</text>"
            "<text class=\"last\" x=\"100%%\" y=\"%u\">%.16s</text>",
            height - 5, from, height - 5, to);
}

void
plot_jobs (GString *page, const GQueue *jobs)
{
  Span span = {.from_s = INT64_MAX, .to_s = INT64_MIN};
  for (const GList *link = jobs->head; link != NULL; link = link->next) {
    const StoreRecord *record = link->data;
    if (report_job_seconds (record) < 0)
      continue;
    span.from_s = MIN (span.from_s, record->started_s);
    span.to_s = MAX (span.to_s, record->started_s);
  }
  if (span.from_s > span.to_s)
    return;
  span.to_s = MAX (span.to_s, span.from_s + 60);
  unsigned height = HEAD_SPACE + JOBS_HEIGHT + LABEL_SPACE;
  page_add (page, "<div class=\"frame\"><svg class=\"scale\" height=\"%u\" aria-hidden=\"true\">",
            height);
  for (size_t i = 0; i < G_N_ELEMENTS (durations); i++)
    page_add (page, "<text x=\"100%%\" y=\"%.1f\">%s</text>", duration_y (durations[i].seconds) + 4,
              durations[i].label);
  page_add (page, "</svg>\n");
  begin_plot (page, "When the last jobs began, and how long they took", height);
  for (size_t i = 0; i < G_N_ELEMENTS (durations); i++) {
    double y = duration_y (durations[i].seconds) + 0.5;
    page_add (page, "<line class=\"%s\" x1=\"0\" x2=\"100%%\" y1=\"%.1f\" y2=\"%.1f\"/>\n",
              i == 0 ? "axis" : "grid", y, y);
  }
  for (const GList *link = jobs->head; link != NULL; link = link->next)
    add_job (page, link->data, &span);
  add_job_times (page, &span, height);
  page_add (page, "</svg></div>\n");
}
