/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top-frame.c - a frame of mailstore top: lines of at most some width, at most so many.
 *
 * Lines are made with marks in them, which are control bytes that no printable text has. Only when
 * a line is cut to its width do they become what a terminal understands, or nothing.
 */
#include "tools/print.h"
#include "tools/top.h"

#include <inttypes.h>
#include <string.h>

#define PLAIN "\001"
#define BOLD  "\002"
#define DIM   "\003"
#define GOOD  "\004"
#define WARN  "\005"
#define BAD   "\006"
#define DATA  "\016"

#define WIDE 72 /* columns for all columns, and for bars */

/* ---- lines --------------------------------------------------------------------------------- */

static const char *
style_of (char mark, TopStyle style)
{
  switch (mark) {
  case '\001': return "\033[0m";
  case '\002': return "\033[1m";
  case '\003': return "\033[2m";
  case '\004': return style == TOP_COLOUR ? "\033[32m" : "";
  case '\005': return style == TOP_COLOUR ? "\033[33m" : "\033[1m";
  case '\006': return style == TOP_COLOUR ? "\033[1;31m" : "\033[1m";
  case '\016': return style == TOP_COLOUR ? "\033[36m" : "";
  default: return NULL;
  }
}

/* What fits into `width` columns, with what the marks stand for. */
static char *
finish_line (const char *text, int width, TopStyle style)
{
  GString *line = g_string_new (NULL);
  int used = 0;
  for (const char *at = text; *at != '\0'; at = g_utf8_next_char (at)) {
    const char *sequence = style_of (*at, style);
    if (sequence == NULL && (used += text_cells (at)) > width)
      break;
    if (sequence == NULL)
      g_string_append_len (line, at, g_utf8_next_char (at) - at);
    else if (style != TOP_PLAIN)
      g_string_append (line, sequence);
  }
  if (style != TOP_PLAIN)
    g_string_append (line, "\033[0m");
  return g_string_free (line, FALSE);
}

static void add_line (GPtrArray *lines, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
add_line (GPtrArray *lines, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  g_ptr_array_add (lines, g_strdup_vprintf (format, args));
  va_end (args);
}

static int
count_columns (const char *text)
{
  int columns = 0;
  for (const char *at = text; *at != '\0'; at = g_utf8_next_char (at))
    columns += style_of (*at, TOP_PLAIN) == NULL ? text_cells (at) : 0;
  return columns;
}

static char *
align_right (const char *text, int width)
{
  return g_strdup_printf ("%*s%s", MAX (width - count_columns (text), 0), "", text);
}

static char *
text_rate (double rate)
{
  return rate > 0 && rate < 10 ? g_strdup_printf ("%.1f", rate)
                               : text_digits ((uint64_t)(rate + 0.5));
}

/* A bar of at most `width` columns; with `track` the rest of them shows, too. */
static char *
make_bar (const TopView *view, double part, int width, bool track)
{
  int full = (int)(CLAMP (part, 0.0, 1.0) * width + 0.5);
  GString *bar = g_string_new (DATA);
  for (int i = 0; i < (track ? width : full); i++) {
    if (i == full)
      g_string_append (bar, PLAIN DIM);
    g_string_append (bar, i < full ? (view->unicode ? "\342\226\210" : "#")
                                   : (view->unicode ? "\342\226\221" : "-"));
  }
  g_string_append (bar, PLAIN);
  return g_string_free (bar, FALSE);
}

/* ---- requests ------------------------------------------------------------------------------ */

static const TopOperation *
find_before (const TopSample *before, const char *name)
{
  for (guint i = 0; before != NULL && i < before->operations->len; i++) {
    const TopOperation *operation = g_ptr_array_index (before->operations, i);
    if (strcmp (operation->name, name) == 0)
      return operation;
  }
  return NULL;
}

/* Seconds that the figures are of. */
static double
get_span (const TopSample *now, const TopSample *before)
{
  return before != NULL ? MAX ((double)(now->now_us - before->now_us) / 1e6, 1e-3)
                        : (double)MAX (now->uptime_s, 1);
}

/* A counter can only grow; where it did not, the mount is another one. */
static double
get_rate (const TopSample *now, const TopSample *before, const char *name)
{
  double grown =
      top_sample_value (now, name) - (before != NULL ? top_sample_value (before, name) : 0);
  return MAX (grown, 0) / get_span (now, before);
}

static uint64_t
count_new (uint64_t now, uint64_t before)
{
  return now >= before ? now - before : now;
}

/* The time within which that part of the requests were answered; as many are taken to be in any
 * place of a bucket. Below 0: there were none. G_MAXDOUBLE: longer than the longest bound. */
static double
get_quantile (const TopSample *now, const TopOperation *operation, const TopOperation *before,
              double part)
{
  uint64_t all = count_new (operation->count, before != NULL ? before->count : 0);
  double wanted = part * (double)all;
  uint64_t below = 0;
  for (size_t i = 0; i < now->bucket_count && all > 0; i++) {
    uint64_t upto = count_new (operation->buckets[i], before != NULL ? before->buckets[i] : 0);
    if ((double)upto >= wanted && upto > below) {
      double from = i > 0 ? now->bounds_s[i - 1] : 0, to = now->bounds_s[i];
      return to > 1e9 ? G_MAXDOUBLE
                      : from + (to - from) * (wanted - (double)below) / (double)(upto - below);
    }
    below = upto;
  }
  return -1;
}

static char *
text_latency (const TopView *view, double seconds)
{
  const char *micro = view->unicode ? "\302\265s" : "us";
  if (seconds < 0)
    return g_strdup ("-");
  if (seconds > 1e9)
    return g_strdup ("> 30 s");
  if (seconds < 1e-3)
    return g_strdup_printf ("%.0f %s", MAX (seconds * 1e6, 1), micro);
  return seconds < 1 ? g_strdup_printf ("%.1f ms", seconds * 1e3)
                     : g_strdup_printf ("%.1f s", seconds);
}

static double
get_operation_rate (const TopSample *now, const TopSample *before, const TopOperation *operation)
{
  const TopOperation *old = find_before (before, operation->name);
  return (double)count_new (operation->count, old != NULL ? old->count : 0) /
         get_span (now, before);
}

static double
get_total_rate (const TopSample *now, const TopSample *before)
{
  double total = 0;
  for (guint i = 0; i < now->operations->len; i++)
    total += get_operation_rate (now, before, g_ptr_array_index (now->operations, i));
  return total;
}

void
top_view_note (TopView *self, const TopSample *now, const TopSample *before)
{
  if (self->history_count == TOP_HISTORY)
    memmove (self->history, self->history + 1, --self->history_count * sizeof *self->history);
  self->history[self->history_count++] = get_total_rate (now, before);
}

/* The last moments as a line of small bars, of at most `width` columns. */
static char *
make_history (const TopView *view, int width)
{
  static const char *const steps[] = {"\342\226\201", "\342\226\202", "\342\226\203",
                                      "\342\226\204", "\342\226\205", "\342\226\206",
                                      "\342\226\207", "\342\226\210"};
  static const char plain[] = "_.:-=+*#";
  size_t count = MIN (view->history_count, (size_t)MAX (width, 0));
  const double *from = view->history + view->history_count - count;
  double most = 1e-9;
  GString *text = g_string_new (DATA);
  for (size_t i = 0; i < count; i++)
    most = MAX (most, from[i]);
  for (size_t i = 0; i < count; i++) {
    size_t step = (size_t)(from[i] / most * 7 + 0.5);
    if (view->unicode)
      g_string_append (text, steps[step]);
    else
      g_string_append_c (text, plain[step]);
  }
  g_string_append (text, PLAIN);
  return g_string_free (text, FALSE);
}

static void
add_operation (GPtrArray *lines, const TopView *view, const TopSample *now, const TopSample *before,
               const TopOperation *operation, double most, int width)
{
  const TopOperation *old = find_before (before, operation->name);
  double rate = get_operation_rate (now, before, operation);
  g_autofree char *per_second = text_rate (rate);
  g_autofree char *median = text_latency (view, get_quantile (now, operation, old, 0.5));
  g_autofree char *slow = text_latency (view, get_quantile (now, operation, old, 0.99));
  g_autofree char *median_cell = align_right (median, 9), *slow_cell = align_right (slow, 9);
  if (width < WIDE) {
    add_line (lines, "%-12s %7s%s%s", operation->name, per_second, median_cell, slow_cell);
    return;
  }
  g_autofree char *total = text_digits (operation->count);
  g_autofree char *bar =
      make_bar (view, rate / MAX (most, 1e-9), CLAMP (width - 58, 10, 40), false);
  add_line (lines, "%-13s %9s %s %s %14s  %s", operation->name, per_second, median_cell, slow_cell,
            total, bar);
}

static GPtrArray *
make_requests (const TopView *view, const TopSample *now, const TopSample *before, int width)
{
  GPtrArray *lines = g_ptr_array_new_with_free_func (g_free);
  if (!now->is_mount)
    return lines;
  g_autofree char *rate = text_rate (get_total_rate (now, before));
  g_autofree char *history = make_history (view, width - 12 - (int)strlen (rate) - 3);
  add_line (lines, BOLD "REQUESTS" PLAIN "  %s/s  %s", rate,
            before != NULL ? history : "since it was mounted");
  add_line (lines, width < WIDE ? DIM "%-12s %7s%9s%9s" : DIM "%-13s %9s %9s %9s %14s", "operation",
            "/s", "p50", "p99", "total");
  double most = 0;
  for (guint i = 0; i < now->operations->len; i++)
    most = MAX (most, get_operation_rate (now, before, g_ptr_array_index (now->operations, i)));
  /* What nobody asked for just now comes last: there may be no room for it. */
  for (int idle = 0; idle < 2; idle++) {
    for (guint i = 0; i < now->operations->len; i++) {
      const TopOperation *operation = g_ptr_array_index (now->operations, i);
      bool asked = get_operation_rate (now, before, operation) > 0;
      if (operation->count > 0 && asked != idle)
        add_operation (lines, view, now, before, operation, most, width);
    }
  }
  return lines;
}

/* ---- the other parts ----------------------------------------------------------------------- */

static GPtrArray *
make_traffic (const TopSample *now, const TopSample *before)
{
  GPtrArray *lines = g_ptr_array_new_with_free_func (g_free);
  if (!now->is_mount)
    return lines;
  static const char ready_name[] = "mailfs_listing_pages_total{made=\"before\"}";
  static const char made_name[] = "mailfs_listing_pages_total{made=\"then\"}";
  g_autofree char *sent = text_size ((uint64_t)get_rate (now, before, "mailfs_read_bytes_total"));
  g_autofree char *verified = text_rate (get_rate (now, before, "mailfs_messages_verified_total"));
  g_autofree char *pushed = text_rate (get_rate (now, before, "mailfs_messages_pushed_total"));
  double ready = get_rate (now, before, ready_name);
  double pages = ready + get_rate (now, before, made_name);
  g_autofree char *listing =
      pages > 0 ? g_strdup_printf ("  listing %.0f %% ready", ready * 100 / pages) : g_strdup ("");
  add_line (lines, BOLD "CACHE" PLAIN "  read %s/s  verified %s/s  ahead %s/s%s", sent, verified,
            pushed, listing);
  return lines;
}

static void
add_running (GPtrArray *lines, const TopView *view, const TopJob *job, int width)
{
  if (job->total == 0) {
    g_autofree char *done = text_digits (job->done);
    add_line (lines, "%6" PRIu64 " %s  %s", job->id, job->text, done);
    return;
  }
  double part = (double)job->done / (double)job->total;
  g_autofree char *seconds = text_seconds (MAX (job->seconds_left, 0));
  g_autofree char *left = job->seconds_left >= 0 && width >= WIDE
                              ? g_strdup_printf ("  %s left", seconds)
                              : g_strdup ("");
  g_autofree char *bar = make_bar (view, part, width < WIDE ? 8 : 20, true);
  g_autofree char *end = g_strdup_printf (" %s %3.0f %%%s", bar, part * 100, left);
  int room = MAX (width - (int)strlen ("123456 ") - count_columns (end), 8);
  g_autofree char *cut = text_cut (job->text, room);
  g_autofree char *text = text_pad (cut, room);
  add_line (lines, "%6" PRIu64 " %s%s", job->id, text, end);
}

static GPtrArray *
make_jobs (const TopView *view, const TopSample *now, int width)
{
  GPtrArray *lines = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *waiting = text_digits (now->waiting);
  add_line (lines, BOLD "JOBS" PLAIN "  %" PRIu64 " running, %s waiting", now->running, waiting);
  for (guint i = 0; i < now->jobs->len; i++)
    add_running (lines, view, g_ptr_array_index (now->jobs, i), width);
  for (guint i = 0; i < now->queue->len; i++) {
    const TopJob *job = g_ptr_array_index (now->queue, i);
    add_line (lines, DIM "%6" PRIu64 " %s", job->id, job->text);
  }
  return lines;
}

static GPtrArray *
make_errors (const TopSample *now)
{
  GPtrArray *lines = g_ptr_array_new_with_free_func (g_free);
  if (now->errors->len == 0)
    return lines;
  add_line (lines, BOLD "LAST ERRORS");
  /* The newest first, since the others may have no room. */
  for (guint i = now->errors->len; i > 0; i--)
    add_line (lines, "%s", (const char *)g_ptr_array_index (now->errors, i - 1));
  return lines;
}

static const char *
mark_of_health (const char *health)
{
  return health == NULL                                                   ? PLAIN
         : strcmp (health, store_health_name (STORE_HEALTH_OK)) == 0      ? GOOD
         : strcmp (health, store_health_name (STORE_HEALTH_DAMAGED)) == 0 ? BAD
                                                                          : WARN;
}

/* Where, how it is, since when, and what time it is: as much of it as fits. */
static void
add_title (GPtrArray *lines, const TopSample *now, int width)
{
  g_autofree char *time = text_local_time (g_get_real_time () / G_USEC_PER_SEC);
  const char *space = strchr (time, ' '), *clock = space != NULL ? space + 1 : time;
  g_autofree char *up = text_seconds ((double)now->uptime_s);
  g_autofree char *since =
      now->is_mount && width >= WIDE ? g_strconcat ("  up ", up, NULL) : g_strdup ("");
  const char *health = now->health != NULL ? now->health : "counting";
  int taken = (int)(strlen ("  ") + strlen (health) + strlen (since));
  int room = width - taken - (int)(strlen ("  ") + strlen (clock));
  g_autofree char *place = text_cut (now->place, MAX (room, 1));
  g_autofree char *end = align_right (clock, width - count_columns (place) - taken);
  add_line (lines, BOLD "%s" PLAIN "  %s%s" PLAIN "%s%s", place, mark_of_health (now->health),
            health, since, end);
}

static GPtrArray *
make_head (const TopSample *now, int width)
{
  GPtrArray *lines = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GString) figures = g_string_new (NULL);
  g_autofree char *messages = text_digits (now->messages),
                  *mailboxes = text_digits (now->mailboxes);
  g_autofree char *bytes = text_size (now->bytes), *free = text_size (now->disk_free);
  if (now->damaged > 0)
    g_string_append_printf (figures, BAD "%" PRIu64 " damaged" PLAIN "  ", now->damaged);
  if (now->behind > 0)
    g_string_append_printf (figures, WARN "%" PRIu64 " behind" PLAIN "  ", now->behind);
  if (now->is_counted)
    g_string_append_printf (figures, "%s messages  %s  %s mailboxes  ", messages, bytes, mailboxes);
  if (now->disk_size > 0)
    g_string_append_printf (figures, "%s free", free);
  add_title (lines, now, width);
  add_line (lines, "%s", figures->str);
  return lines;
}

/* ---- the whole ----------------------------------------------------------------------------- */

enum { HEAD, REQUESTS, TRAFFIC, JOBS, ERRORS, BLOCKS };

/* Lines that a part has at least when room is short; what is more goes where most is. */
static const guint least[BLOCKS] = {
    [HEAD] = 2, [REQUESTS] = 4, [TRAFFIC] = 1, [JOBS] = 2, [ERRORS] = 2};

/* Makes the blocks fit into `height` lines. Returns whether there is room between them. */
static bool
fit_blocks (GPtrArray *const *blocks, int height)
{
  for (;;) {
    int used = 0, gaps = -1, longest = -1;
    for (int i = 0; i < BLOCKS; i++) {
      used += (int)blocks[i]->len;
      gaps += blocks[i]->len > 0;
      if (blocks[i]->len > least[i] && (longest < 0 || blocks[i]->len > blocks[longest]->len))
        longest = i;
    }
    if (used + gaps <= height)
      return true;
    if (longest < 0)
      return false;
    g_ptr_array_set_size (blocks[longest], (int)blocks[longest]->len - 1);
  }
}

GPtrArray *
top_frame (const TopView *self, const TopSample *now, const TopSample *before, int width,
           int height)
{
  GPtrArray *blocks[BLOCKS] = {make_head (now, width), make_requests (self, now, before, width),
                               make_traffic (now, before), make_jobs (self, now, width),
                               make_errors (now)};
  GPtrArray *frame = g_ptr_array_new_with_free_func (g_free);
  bool gaps = height == 0 || fit_blocks (blocks, height);
  for (int i = 0; i < BLOCKS; i++) {
    if (gaps && blocks[i]->len > 0 && frame->len > 0)
      g_ptr_array_add (frame, g_strdup (""));
    for (guint j = 0; j < blocks[i]->len && (height == 0 || (int)frame->len < height); j++)
      g_ptr_array_add (frame, finish_line (g_ptr_array_index (blocks[i], j), width, self->style));
    g_ptr_array_unref (blocks[i]);
  }
  return frame;
}

static void
add_latency (GString *json, const char *key, double seconds)
{
  if (seconds >= 0 && seconds < 1e9)
    g_string_append_printf (json, ",\"%s\":%.6f", key, seconds);
  else
    g_string_append_printf (json, ",\"%s\":null", key);
}

GString *
top_frame_json (const TopSample *now, const TopSample *before)
{
  GString *json = json_begin ("frame");
  g_autofree char *time = text_rfc3339 (g_get_real_time () / G_USEC_PER_SEC);
  json_string (json, "time", time);
  json_string (json, "place", now->place);
  json_bool (json, "mount", now->is_mount);
  json_string (json, "health", now->health);
  json_uint (json, "messages", now->messages);
  json_uint (json, "bytes", now->bytes);
  json_uint (json, "mailboxes", now->mailboxes);
  json_uint (json, "damaged", now->damaged);
  json_uint (json, "behind", now->behind);
  json_uint (json, "running", now->running);
  json_uint (json, "waiting", now->waiting);
  json_uint (json, "disk_free", now->disk_free);
  g_string_append_printf (json, ",\"seconds\":%.3f,\"requests\":[", get_span (now, before));
  for (guint i = 0; i < now->operations->len; i++) {
    const TopOperation *operation = g_ptr_array_index (now->operations, i);
    const TopOperation *old = find_before (before, operation->name);
    if (i > 0)
      g_string_append_c (json, ',');
    g_string_append_c (json, '{');
    json_string (json, "operation", operation->name);
    json_uint (json, "total", operation->count);
    g_string_append_printf (json, ",\"rate\":%.3f", get_operation_rate (now, before, operation));
    add_latency (json, "p50", get_quantile (now, operation, old, 0.5));
    add_latency (json, "p99", get_quantile (now, operation, old, 0.99));
    g_string_append_c (json, '}');
  }
  g_string_append_c (json, ']');
  json_end (json);
  return json;
}
