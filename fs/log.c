/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - stderr in the foreground, the journal or syslog in the background.
 *
 * Where the journal is, also behind the stderr of a service in the foreground, it gets each line
 * with fields: what mailbox and what job it is about. Its protocol (systemd's "Native Journal
 * Protocol", documented and stable) is a datagram of assignments; no library is needed to write
 * that.
 */
#include "fs/log.h"
#include "store/store.h"
#include "store/text.h"

#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define JOURNAL "/run/systemd/journal/socket"

/* More than anybody reads, and less than a socket takes. */
#define TEXT_MAX 16384

static enum { TO_STDERR, TO_JOURNAL, TO_SYSTEM } sink;
static bool with_debug;

/* ---- the journal -------------------------------------------------------------------------- */

/* A printable value has no line ends, so it stands for itself. */
static void
add_field (GString *out, const char *key, const char *value)
{
  g_autofree char *printable = store_text_printable (value);

  g_string_append_printf (out, "%s=%.*s\n", key, TEXT_MAX, printable);
}

static bool
send_to_journal (int priority, const char *mailbox, uint64_t job, const char *text)
{
  const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL};
  g_autoptr (GString) fields = g_string_new (NULL);

  g_string_append_printf (fields, "PRIORITY=%d\nSYSLOG_FACILITY=%d\n", priority,
                          LOG_FAC (LOG_DAEMON));
  add_field (fields, "SYSLOG_IDENTIFIER", "mailfs");
  add_field (fields, "MESSAGE", text);
  if (mailbox != NULL && *mailbox != '\0')
    add_field (fields, "MAILBOX", mailbox);
  if (job != 0)
    g_string_append_printf (fields, "JOB=%" PRIu64 "\n", job);
  auto_fd fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  return fd >= 0 && sendto (fd, fields->str, fields->len, MSG_NOSIGNAL,
                            (const struct sockaddr *)&address, sizeof address) >= 0;
}

/* Whether what goes to stderr goes to the journal: then it says so, by device and inode. */
static bool
stderr_is_journal (void)
{
  const char *stream = g_getenv ("JOURNAL_STREAM");
  struct stat st;

  if (stream == NULL || fstat (STDERR_FILENO, &st) < 0)
    return false;
  g_autofree char *ours = g_strdup_printf ("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
  return strcmp (stream, ours) == 0;
}

/* ---- lines -------------------------------------------------------------------------------- */

static void
write_to_stderr (int priority, const char *text)
{
  g_autofree char *printable = store_text_printable (text);

  if (priority != LOG_INFO || with_debug)
    fprintf (stderr, "mailfs: %s\n", printable);
}

static void
write_to_syslog (int priority, const char *text)
{
  g_autofree char *printable = store_text_printable (text);

  syslog (priority, "%s", printable);
}

static void
write_line (int priority, const char *mailbox, uint64_t job, const char *text)
{
  if (sink != TO_STDERR && send_to_journal (priority, mailbox, job, text))
    return;
  if (sink == TO_SYSTEM)
    write_to_syslog (priority, text);
  else
    write_to_stderr (priority, text);
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
    write_line ((int)level, NULL, 0, g_strchomp (text));
}

void
log_start (bool debug)
{
  with_debug = debug;
  sink = stderr_is_journal () ? TO_JOURNAL : TO_STDERR;
  fuse_set_log_func (forward_libfuse);
}

void
log_to_system (void)
{
  openlog ("mailfs", LOG_PID, LOG_DAEMON);
  sink = TO_SYSTEM;
}

bool
log_is_debug (void)
{
  return with_debug;
}

static void G_GNUC_PRINTF (4, 0) write_message (int priority, const char *mailbox, uint64_t job,
                                                const char *format, va_list arguments)
{
  if (priority == LOG_DEBUG && !with_debug)
    return;
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  write_line (priority, mailbox, job, text);
}

void
log_message (int priority, const char *format, ...)
{
  va_list arguments;

  va_start (arguments, format);
  write_message (priority, NULL, 0, format, arguments);
  va_end (arguments);
}

void
log_about (int priority, const char *mailbox, uint64_t job, const char *format, ...)
{
  va_list arguments;

  va_start (arguments, format);
  write_message (priority, mailbox, job, format, arguments);
  va_end (arguments);
}
