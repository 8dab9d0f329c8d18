/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.c - a bar, and the way to stop what it shows.
 *
 *   import [##########----------]  50 %  3974/7948 messages  1820/s  2.2 s left
 */
#include "tools/print.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_US 300000 /* what is over sooner shows no bar */
#define REFRESH_US  100000 /* ten times a second: quick enough to the eye */
#define BAR_MAX     40

struct Progress {
  const char *label;
  bool visible, colour;
  bool drawn;
  int64_t started_us, next_us;
  struct sigaction saved_int, saved_term;
};

static atomic_int interrupted; /* lock-free, so a signal handler may set it */

static void
note_signal (int number)
{
  interrupted = number;
}

int
progress_interrupted (void)
{
  return interrupted;
}

Progress *
progress_new (const Tool *tool)
{
  Progress *self = g_new0 (Progress, 1);
  self->visible = !tool->quiet && isatty (STDERR_FILENO);
  const char *no_colour = g_getenv ("NO_COLOR");
  self->colour =
      (no_colour == NULL || *no_colour == '\0') && g_strcmp0 (g_getenv ("TERM"), "dumb") != 0;
  progress_restart (self, tool->command);
  /* SA_RESETHAND: whoever asks twice is not kept waiting. */
  struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESETHAND | SA_RESTART};
  sigaction (SIGINT, &action, &self->saved_int);
  sigaction (SIGTERM, &action, &self->saved_term);
  return self;
}

/* "3974/7948 messages  1820/s  2.2 s left", as much of it as is known. */
static char *
describe (const StoreProgress *now, double seconds)
{
  bool bytes = g_strcmp0 (now->unit, "bytes") == 0;
  double rate = seconds > 0 ? (double)now->done / seconds : 0;
  g_autofree char *done = bytes ? text_size (now->done) : g_strdup_printf ("%" PRIu64, now->done);
  g_autofree char *total =
      bytes ? text_size (now->total) : g_strdup_printf ("%" PRIu64, now->total);
  g_autofree char *speed = bytes ? text_size ((uint64_t)rate) : g_strdup_printf ("%.0f", rate);
  GString *text = g_string_new (done);
  if (now->total > 0)
    g_string_append_printf (text, "/%s", total);
  if (!bytes && now->unit != NULL)
    g_string_append_printf (text, " %s", now->unit);
  g_string_append_printf (text, "  %s/s", speed);
  /* The first moments say little about the rest. */
  if (now->total > now->done && now->done > 0 && seconds >= 1) {
    g_autofree char *left = text_seconds ((double)(now->total - now->done) / rate);
    g_string_append_printf (text, "  %s left", left);
  }
  return g_string_free (text, FALSE);
}

/* Under ten cells a bar is not worth having. */
static void
append_bar (GString *line, const Progress *self, double part, int width)
{
  if (width < 10)
    return;
  int full = (int)(part * width);
  g_string_append_printf (line, "[%s", self->colour ? "\033[32m" : "");
  for (int i = 0; i < width; i++) {
    if (i == full && self->colour)
      g_string_append (line, "\033[2m");
    g_string_append_c (line, i < full ? '#' : '-');
  }
  g_string_append_printf (line, "%s] ", self->colour ? "\033[0m" : "");
}

/* One line that fits into `columns`: the bar takes what the text leaves. */
static char *
compose (const Progress *self, const StoreProgress *now, int columns)
{
  static const char percent[] = "100 %  ";
  g_autofree char *text = describe (now, progress_seconds (self));
  GString *line = g_string_new (self->label);
  g_string_append_c (line, ' ');
  /* A terminal prints ^C behind the line; it must not wrap, or erasing would miss it. */
  int room = columns - 1 - (int)strlen ("^C") - (int)line->len;
  if (now->total > 0) {
    double part = MIN ((double)now->done / (double)now->total, 1.0);
    room -= (int)strlen (percent);
    append_bar (line, self, part, MIN (room - (int)strlen (text) - (int)strlen ("[] "), BAR_MAX));
    g_string_append_printf (line, "%3d %%  ", (int)(part * 100));
  }
  g_autofree char *fitting = text_cut (text, MAX (room, 0));
  g_string_append (line, fitting);
  return g_string_free (line, FALSE);
}

static void
erase_line (int columns)
{
  fprintf (stderr, "\r%*s\r", columns - 1, "");
}

void
progress_show (Progress *self, const StoreProgress *now)
{
  int64_t time_us = g_get_monotonic_time ();
  if (!self->visible || time_us < self->next_us)
    return;
  self->next_us = time_us + REFRESH_US;
  self->drawn = true;
  int columns = text_columns (STDERR_FILENO);
  g_autofree char *line = compose (self, now, columns);
  erase_line (columns);
  fputs (line, stderr);
  fflush (stderr);
}

void
progress_restart (Progress *self, const char *label)
{
  if (self->drawn)
    erase_line (text_columns (STDERR_FILENO));
  self->drawn = false;
  self->label = label;
  self->started_us = g_get_monotonic_time ();
  self->next_us = self->started_us + PATIENCE_US;
}

double
progress_seconds (const Progress *self)
{
  return (double)(g_get_monotonic_time () - self->started_us) / 1e6;
}

void
progress_free (Progress *self)
{
  if (self == NULL)
    return;
  if (self->drawn)
    erase_line (text_columns (STDERR_FILENO));
  sigaction (SIGINT, &self->saved_int, NULL);
  sigaction (SIGTERM, &self->saved_term, NULL);
  g_free (self);
}
