/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report-places.c - where inside of messages the damage is: of each that is told of one by one, and
 * of all together, by the part of the message that it is in.
 */
#include "tools/print.h"
#include "tools/report.h"

#include <inttypes.h>

#define PLACES_MAX 100000u /* messages that are read for it */

static const StoreProblem lanes[REPORT_LANES] = {STORE_PROBLEM_TRUNCATED, STORE_PROBLEM_ZERO_RUN,
                                                 STORE_PROBLEM_UNREADABLE, STORE_PROBLEM_SIZE,
                                                 STORE_PROBLEM_DIGEST};

/* ---- counting ------------------------------------------------------------------------------ */

/* How long the message is, with all that is missing and all that is too much. */
static uint64_t
measure (const StoreMessage *message, const GArray *ranges)
{
  uint64_t span = MAX (message->size, 1);
  for (guint i = 0; i < ranges->len; i++) {
    const StoreDamageRange *range = &g_array_index (ranges, StoreDamageRange, i);
    span = MAX (span, range->offset + range->length);
  }
  return span;
}

/* Marks the cells that a range touches; in `cells` a bit for each lane. */
static void
mark (uint8_t cells[REPORT_CELLS], size_t lane, const StoreDamageRange *range, uint64_t span)
{
  double scale = (double)REPORT_CELLS / (double)span;
  /* As good as on the edge of a cell is on it. */
  size_t from = (size_t)((double)range->offset * scale + 1e-6);
  size_t to = (size_t)((double)(range->offset + range->length) * scale + 1 - 1e-6);
  for (size_t i = MIN (from, REPORT_CELLS - 1); i < MIN (MAX (to, from + 1), REPORT_CELLS); i++)
    cells[i] |= (uint8_t)(1u << lane);
}

/* What is damaged where, as bits of lanes; false: that could not be found out. */
static bool
locate (StoreMailbox *mailbox, const StoreMessage *message, uint8_t cells[REPORT_CELLS])
{
  auto_fd fd = store_message_open (mailbox, message->uid, NULL);
  g_autoptr (GArray) ranges =
      fd >= 0 ? store_message_locate (mailbox, message->uid, fd, NULL) : NULL;
  StoreDamageRange whole = {0, MAX (message->size, 1), STORE_PROBLEM_UNREADABLE};
  if (fd < 0)
    mark (cells, 2, &whole, whole.length);
  for (guint i = 0; ranges != NULL && i < ranges->len; i++) {
    const StoreDamageRange *range = &g_array_index (ranges, StoreDamageRange, i);
    for (size_t lane = 0; lane < REPORT_LANES; lane++) {
      if (lanes[lane] == range->kind)
        mark (cells, lane, range, measure (message, ranges));
    }
  }
  return fd < 0 || ranges != NULL;
}

void
report_places_add (ReportPlaces *self, StoreMailbox *mailbox, const StoreMessage *message,
                   ReportDamaged *kept)
{
  uint8_t cells[REPORT_CELLS] = {0}, found = 0;
  if (self->messages >= PLACES_MAX || !locate (mailbox, message, cells)) {
    self->left++;
    return;
  }
  self->messages++;
  for (size_t i = 0; i < REPORT_CELLS; i++) {
    found |= cells[i];
    for (size_t lane = 0; lane < REPORT_LANES; lane++)
      self->cells[lane][i] += (cells[i] >> lane) & 1;
  }
  for (size_t lane = 0; lane < REPORT_LANES; lane++)
    self->counts[lane] += (found >> lane) & 1;
  if (kept != NULL)
    kept->cells = g_memdup2 (cells, sizeof cells);
}

/* ---- drawing ------------------------------------------------------------------------------- */

#define LANE_HEIGHT 14
#define LANE_STEP   18
#define LABEL_SPACE 18
#define SHADES      4 /* the more messages, the darker */
#define BAR_HEIGHT  6

/* What nobody can locate may be anywhere. */
static const char *
class_of (size_t lane)
{
  return lanes[lane] == STORE_PROBLEM_DIGEST ? "warn" : "bad";
}

static void
add_rect (GString *page, const char *class, size_t from, size_t to, unsigned top, unsigned height,
          double shade)
{
  page_add (page,
            "<rect class=\"%s\" x=\"%.2f%%\" y=\"%u\" width=\"%.2f%%\" height=\"%u\" "
            "fill-opacity=\"%.2f\"/>",
            class, (double)from * 100 / REPORT_CELLS, top, (double)(to - from) * 100 / REPORT_CELLS,
            height, shade);
}

static uint64_t
shade_of (uint64_t count, uint64_t most)
{
  return count == 0 ? 0 : 1 + (SHADES - 1) * count / most;
}

static void
add_lane (GString *page, const ReportPlaces *places, size_t lane, unsigned top)
{
  const uint32_t *cells = places->cells[lane];
  uint64_t most = 1;
  for (size_t i = 0; i < REPORT_CELLS; i++)
    most = MAX (most, cells[i]);
  add_rect (page, "there", 0, REPORT_CELLS, top, LANE_HEIGHT, 1);
  for (size_t i = 0, end; i < REPORT_CELLS; i = end) {
    uint64_t shade = shade_of (cells[i], most);
    for (end = i + 1; end < REPORT_CELLS && shade_of (cells[end], most) == shade;)
      end++;
    if (shade > 0)
      add_rect (page, class_of (lane), i, end, top, LANE_HEIGHT, (double)shade / SHADES);
  }
}

static void
add_lanes (GString *page, const ReportPlaces *places, unsigned height)
{
  unsigned drawn = 0;
  page_add (page,
            "<div class=\"frame lanes\"><svg class=\"scale\" height=\"%u\" aria-hidden=\"true\">",
            height);
  for (size_t lane = 0; lane < REPORT_LANES; lane++) {
    if (places->counts[lane] > 0)
      page_add (page, "<text x=\"100%%\" y=\"%u\">%s</text>", drawn++ * LANE_STEP + 11,
                store_problem_name (lanes[lane]));
  }
  page_add (page,
            "</svg>\n<svg class=\"plot\" height=\"%u\" role=\"img\" aria-label=\"Where inside "
            "of messages the damage is, by kind\">",
            height);
  drawn = 0;
  for (size_t lane = 0; lane < REPORT_LANES; lane++) {
    if (places->counts[lane] > 0)
      add_lane (page, places, lane, drawn++ * LANE_STEP);
  }
  page_add (page,
            "\n<text class=\"first\" x=\"0\" y=\"%u\">beginning</text>"
            "<text class=\"last\" x=\"100%%\" y=\"%u\">end</text></svg></div>\n",
            height - 4, height - 4);
}

void
plot_places (GString *page, const ReportPlaces *places)
{
  unsigned count = 0;
  for (size_t lane = 0; lane < REPORT_LANES; lane++)
    count += places->counts[lane] > 0;
  if (count == 0)
    return;
  g_autofree char *messages = text_digits (places->messages);
  page_add (
      page,
      "<figure id=\"places\"><figcaption>Where inside of messages <span>%s looked into, each from its "
      "beginning to its end; darker is more of them</span></figcaption>\n",
      messages);
  add_lanes (page, places, count * LANE_STEP + LABEL_SPACE);
  page_add (page, "<p class=\"note\">");
  for (size_t lane = 0; lane < REPORT_LANES; lane++) {
    g_autofree char *figure = text_digits (places->counts[lane]);
    if (places->counts[lane] > 0)
      page_add (page, "%s: %s. ", store_problem_name (lanes[lane]), figure);
  }
  if (places->counts[REPORT_LANES - 1] > 0)
    page_add (page, "Amber is somewhere in there. ");
  if (places->left > 0)
    page_add (page, "%" PRIu64 " more were not looked into. ", places->left);
  page_add (page, "</p></figure>\n");
}

void
plot_message (GString *page, const ReportDamaged *damaged)
{
  if (damaged->cells == NULL)
    return;
  page_add (page, "<svg class=\"within\" height=\"%d\" role=\"img\" aria-label=\"where in it\">",
            BAR_HEIGHT);
  add_rect (page, "there", 0, REPORT_CELLS, 0, BAR_HEIGHT, 1);
  for (size_t i = 0, end; i < REPORT_CELLS; i = end) {
    bool is_sure = (damaged->cells[i] & ~(1u << (REPORT_LANES - 1))) != 0;
    for (end = i + 1; end < REPORT_CELLS && damaged->cells[end] == damaged->cells[i];)
      end++;
    if (damaged->cells[i] != 0)
      add_rect (page, is_sure ? "bad" : "warn", i, end, 0, BAR_HEIGHT, 1);
  }
  page_add (page, "</svg>");
}
