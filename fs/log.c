/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - stderr in the foreground, syslog in the background.
 */
#include "fs/internal.h"

#include <stdio.h>
#include <syslog.h>

static bool to_syslog;
static bool with_debug;

/* Who looks at a terminal is not to be told of what goes as it should. */
static void
write_line (int priority, const char *text)
{
  g_autofree char *printable = store_text_printable (text);
  if (!to_syslog && !with_debug && priority == LOG_INFO)
    return;
  if (to_syslog)
    syslog (priority, "%s", printable);
  else
    fprintf (stderr, "mailfs: %s\n", printable);
}

/* What libfuse has to say; its levels are syslog's. It says some lines piece by piece. */
static void G_GNUC_PRINTF (2, 0)
    forward_libfuse (enum fuse_log_level level, const char *format, va_list arguments)
{
  static GPrivate pieces_key = G_PRIVATE_INIT (g_free);
  g_autofree char *piece = g_strdup_vprintf (format, arguments);
  const char *pieces = g_private_get (&pieces_key);
  g_autofree char *text = g_strconcat (pieces != NULL ? pieces : "", piece, NULL);
  bool whole = g_str_has_suffix (text, "\n");

  g_private_replace (&pieces_key, whole ? NULL : g_strdup (text));
  if (whole && ((int)level != LOG_DEBUG || with_debug))
    write_line ((int)level, g_strchomp (text));
}

void
log_start (bool debug)
{
  with_debug = debug;
  fuse_set_log_func (forward_libfuse);
}

void
log_to_syslog (void)
{
  openlog ("mailfs", LOG_PID, LOG_DAEMON);
  to_syslog = true;
}

bool
log_is_debug (void)
{
  return with_debug;
}

void
log_message (int priority, const char *format, ...)
{
  if (priority == LOG_DEBUG && !with_debug)
    return;
  va_list arguments;
  va_start (arguments, format);
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  write_line (priority, text);
}

void
log_about (int priority, const char *mailbox, uint64_t job, const char *format, ...)
{
  if (priority == LOG_DEBUG && !with_debug)
    return;
  va_list arguments;
  va_start (arguments, format);
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  write_line (priority, text);
}
