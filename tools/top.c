/* SPDX-License-Identifier: Apache-2.0 */
/*
 * top.c - mailstore top: what a mount, or a store, is doing.
 *
 *   mailstore -s /mnt/mailfs top
 *   mailstore top --once
 *
 * The terminal is asked for a screen of its own, which goes away at the end, whatever ends it. All
 * signals are held back but while it waits, so that nothing happens in the middle of a frame.
 */
#include "tools/top.h"
#include "tools/print.h"

#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static gboolean once;
static double interval = 2;
static int frames;

const GOptionEntry top_options[] = {
    {"once", 0, 0, G_OPTION_ARG_NONE, &once,
     "print what there is now, with the figures since it was mounted", NULL},
    {"interval", 'i', 0, G_OPTION_ARG_DOUBLE, &interval, "look every so many seconds (2)",
     "SECONDS"},
    {"count", 'n', 0, G_OPTION_ARG_INT, &frames, "end after so many frames", "COUNT"},
    {NULL},
};

/* ---- the terminal -------------------------------------------------------------------------- */

#define ENTER_SCREEN "\033[?1049h\033[?25l"
#define LEAVE_SCREEN "\033[?25h\033[?1049l"

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
static volatile sig_atomic_t caught; /* the last one that was not acted on */

typedef struct {
  struct termios saved;
  struct sigaction actions[G_N_ELEMENTS (signals)];
  sigset_t mask; /* as it was before */
} Screen;

static void
note_signal (int number)
{
  caught = number;
}

static void
print_now (const char *text)
{
  fputs (text, stdout);
  fflush (stdout);
}

static void
screen_enter (Screen *self)
{
  struct termios raw = self->saved;
  raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  tcsetattr (STDIN_FILENO, TCSANOW, &raw);
  print_now (ENTER_SCREEN);
}

static void
screen_leave (Screen *self)
{
  print_now (LEAVE_SCREEN);
  tcsetattr (STDIN_FILENO, TCSANOW, &self->saved);
}

static Screen *
screen_new (void)
{
  Screen *self = g_new0 (Screen, 1);
  struct sigaction action = {.sa_handler = note_signal};
  sigset_t held;
  sigemptyset (&held);
  for (size_t i = 0; i < G_N_ELEMENTS (signals); i++)
    sigaddset (&held, signals[i]);
  sigprocmask (SIG_BLOCK, &held, &self->mask);
  for (size_t i = 0; i < G_N_ELEMENTS (signals); i++)
    sigaction (signals[i], &action, &self->actions[i]);
  tcgetattr (STDIN_FILENO, &self->saved);
  screen_enter (self);
  return self;
}

static void
screen_free (Screen *self)
{
  if (self == NULL)
    return;
  screen_leave (self);
  for (size_t i = 0; i < G_N_ELEMENTS (signals); i++)
    sigaction (signals[i], &self->actions[i], NULL);
  sigprocmask (SIG_SETMASK, &self->mask, NULL);
  g_free (self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Screen, screen_free)

/* Stops as Ctrl-Z wants it, on the screen there was before. */
static void
screen_suspend (Screen *self)
{
  sigset_t stop, held;
  struct sigaction ours, standard = {.sa_handler = SIG_DFL};
  screen_leave (self);
  sigemptyset (&stop);
  sigaddset (&stop, SIGTSTP);
  sigaction (SIGTSTP, &standard, &ours);
  raise (SIGTSTP);
  sigprocmask (SIG_UNBLOCK, &stop, &held); /* stopped here, until it goes on */
  sigprocmask (SIG_SETMASK, &held, NULL);
  sigaction (SIGTSTP, &ours, NULL);
  screen_enter (self);
}

/* What a wait ended with. */
typedef enum { LOOK, REDRAW, LEAVE } Wish;

/* Waits until it is time to look again, for a key or for a signal. */
static Wish
screen_wait (Screen *self, int64_t until_us)
{
  int64_t left_us = MAX (until_us - g_get_monotonic_time (), 0);
  struct timespec left = {left_us / 1000000, left_us % 1000000 * 1000};
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  char key = 0;
  caught = 0;
  int ready = ppoll (&input, 1, &left, &self->mask);
  if (ready > 0 && read (STDIN_FILENO, &key, 1) <= 0)
    return LEAVE; /* the terminal is gone */
  if (caught == SIGTSTP)
    screen_suspend (self);
  if (caught == SIGWINCH || caught == SIGTSTP)
    return REDRAW;
  if (caught != 0 || key == 'q' || key == 'Q')
    return LEAVE;
  return ready == 0 || key == ' ' ? LOOK : REDRAW;
}

/* ---- frames -------------------------------------------------------------------------------- */

static TopView
make_view (bool terminal)
{
  const char *no_colour = g_getenv ("NO_COLOR");
  bool bare = g_strcmp0 (g_getenv ("TERM"), "dumb") == 0;
  bool colour = no_colour == NULL || *no_colour == '\0';
  setlocale (LC_CTYPE, "");
  return (TopView){.style = !terminal || bare ? TOP_PLAIN
                            : colour          ? TOP_COLOUR
                                              : TOP_BOLD,
                   .unicode = g_ascii_strcasecmp (nl_langinfo (CODESET), "UTF-8") == 0};
}

static void
print_frame (const TopView *view, const TopSample *now, const TopSample *before)
{
  int columns = text_columns (STDOUT_FILENO);
  g_autoptr (GPtrArray) lines = top_frame (view, now, before, columns > 0 ? columns : 80, 0);
  for (guint i = 0; i < lines->len; i++)
    puts (g_strchomp (g_ptr_array_index (lines, i)));
}

/* In one write, over the last frame. */
static void
draw_frame (const TopView *view, const TopSample *now, const TopSample *before)
{
  struct winsize size = {0};
  ioctl (STDOUT_FILENO, TIOCGWINSZ, &size);
  int width = size.ws_col > 0 ? size.ws_col : 80, height = size.ws_row > 0 ? size.ws_row : 24;
  g_autoptr (GPtrArray) lines = top_frame (view, now, before, width, height);
  g_autoptr (GString) text = g_string_new ("\033[H");
  for (guint i = 0; i < lines->len; i++)
    g_string_append_printf (text, "%s%s\033[K", i > 0 ? "\r\n" : "",
                            (const char *)g_ptr_array_index (lines, i));
  g_string_append (text, "\033[J");
  print_now (text->str);
}

/* Until somebody wants no more. */
static bool
show_screen (TopSource *source, GError **error)
{
  TopView view = make_view (true);
  g_autoptr (TopSample) before = NULL;
  g_autoptr (TopSample) now = top_source_read (source, error);
  if (now == NULL)
    return false;
  g_autoptr (Screen) screen = screen_new ();
  for (int shown = 1;; shown++) {
    int64_t until_us = g_get_monotonic_time () + (int64_t)(interval * 1e6);
    Wish wish = REDRAW;
    while (wish == REDRAW) {
      draw_frame (&view, now, before);
      if (shown == frames)
        return true;
      wish = screen_wait (screen, until_us);
    }
    if (wish == LEAVE)
      return true;
    TopSample *next = top_source_read (source, error);
    if (next == NULL)
      return false;
    top_sample_free (before);
    before = now;
    now = next;
    top_view_note (&view, now, before);
  }
}

/* A frame a line for programs; a program that reads no more ends it by SIGPIPE. */
static bool
print_lines (TopSource *source, GError **error)
{
  g_autoptr (TopSample) before = NULL;
  for (int printed = 0; frames == 0 || printed < frames; printed++) {
    if (printed > 0)
      g_usleep ((gulong)(interval * 1e6));
    TopSample *now = top_source_read (source, error);
    if (now == NULL)
      return false;
    g_autoptr (GString) line = top_frame_json (now, before);
    print_now (line->str);
    top_sample_free (before);
    before = now;
  }
  return true;
}

bool
top_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc > 0)
    return fail (error, EINVAL, "top takes no operands; -s names the mount, or the store");
  if (interval < 0.1 || interval > 86400 || frames < 0)
    return fail (error, EINVAL, "top looks every 0.1 to 86400 seconds");
  bool live = isatty (STDOUT_FILENO) && isatty (STDIN_FILENO) && !once && !tool->json;
  g_autoptr (TopSource) source = top_source_open (tool, !live, error);
  if (source == NULL)
    return false;
  if (live)
    return show_screen (source, error);
  if (tool->json) {
    frames = once ? 1 : frames;
    return print_lines (source, error);
  }
  g_autoptr (TopSample) now = top_source_read (source, error);
  TopView view = make_view (isatty (STDOUT_FILENO));
  if (now != NULL)
    print_frame (&view, now, NULL);
  return now != NULL;
}
