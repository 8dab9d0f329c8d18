/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audit.c - where the lines of the audit go, and, with -o audit=read, who mounted and who opened
 * what.
 *
 * They belong into the store. One that is read only takes none, and evidence must not: then they go
 * to audit.jsonl in the directory of -o workdir, or are kept in memory, as long as the mount lives
 * and as far as there is room, and told in the log.
 *
 * To see opens they have to be answered: the kernel asks then at each of them, whether it has the
 * file's pages or not, and is told that it may keep these. An open is answered when its line is on
 * disk; one that cannot be put there is refused.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/log.h"
#include "fs/node.h"
#include "fs/rows.h"
#include "fs/trail.h"
#include "fs/view.h"
#include "store/commands.h"
#include "store/rescue.h"
#include "store/text.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#define FILE_NAME  "audit.jsonl"
#define MEMORY_MAX (4u << 20)

struct Audit {
  GMutex mutex; /* for what follows */
  GString *lines;
  int fd; /* in the directory for what is made; -1: there is none */
  uint64_t seq;
};

/* ---- lines outside the store -------------------------------------------------------------- */

/* How many lines the file has; one that was cut short is ended. */
static bool
count_lines (int fd, uint64_t *out, GError **error)
{
  char piece[65536], last = '\n';
  ssize_t got;

  for (off_t done = 0; (got = pread (fd, piece, sizeof piece, done)) > 0; done += got) {
    for (ssize_t i = 0; i < got; i++)
      *out += piece[i] == '\n';
    last = piece[got - 1];
  }
  if (got < 0 || (last != '\n' && write (fd, "\n", 1) < 0))
    return fail_errno (error, FILE_NAME);
  *out += last != '\n';
  return true;
}

static bool
open_file (Audit *self, const char *directory, GError **error)
{
  g_autofree char *path = g_build_filename (directory, FILE_NAME, NULL);
  struct stat st;

  self->fd = open (path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
  if (self->fd < 0 || fstat (self->fd, &st) < 0)
    return fail_errno (error, "open '%s'", path);
  if (!S_ISREG (st.st_mode))
    return fail (error, EINVAL, "'%s' is no file", path);
  return count_lines (self->fd, &self->seq, error);
}

Audit *
audit_new (const Store *store, GError **error)
{
  g_autoptr (Audit) self = g_new0 (Audit, 1);

  g_mutex_init (&self->mutex);
  self->lines = g_string_new (NULL);
  self->fd = -1;
  if (store_workdir (store) != NULL && !open_file (self, store_workdir (store), error))
    return NULL;
  return g_steal_pointer (&self);
}

void
audit_free (Audit *self)
{
  if (self == NULL)
    return;
  store_close_fd (&self->fd);
  g_string_free (self->lines, TRUE);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

static void
keep_line (Audit *self, const char *line)
{
  if (self->lines->len > MEMORY_MAX) {
    const char *end = strchr (self->lines->str + MEMORY_MAX / 2, '\n');
    g_string_erase (self->lines, 0, end != NULL ? end + 1 - self->lines->str : -1);
  }
  g_string_append (self->lines, line);
}

/* All of it, or nothing. */
static bool
write_line (int fd, const char *line)
{
  size_t size = strlen (line);
  off_t end = lseek (fd, 0, SEEK_END);
  ssize_t written = end < 0 ? -1 : write (fd, line, size);

  if (written == (ssize_t)size && fdatasync (fd) == 0)
    return true;
  int code = written >= 0 && written < (ssize_t)size ? ENOSPC : errno;
  if (end >= 0 && ftruncate (fd, end) < 0)
    code = errno;
  errno = code;
  return false;
}

static bool
add_line (Audit *self, const char *object, GError **error)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format (now, "%Y-%m-%dT%H:%M:%S.%fZ");
  g_autofree char *line =
      g_strdup_printf ("{\"seq\":%" PRIu64 ",\"time\":\"%s\",%s", self->seq + 1, time, object + 1);

  if (self->fd < 0) {
    keep_line (self, line);
    log_message (LOG_NOTICE, "audit: %s", g_strchomp (line));
  } else if (!write_line (self->fd, line)) {
    return fail_errno (error, "write " FILE_NAME);
  }
  self->seq++;
  return true;
}

bool
audit_append (Mount *mount, const char *object, GError **error)
{
  return store_is_read_only (mount->store) ? add_line (mount->audit, object, error)
                                           : store_audit_append (mount->store, object, error);
}

int
audit_open (Mount *mount, const ControlNode *node, GError **error)
{
  Audit *self = mount->audit;

  if (!store_is_read_only (mount->store) || mount->options->audit != AUDIT_READ)
    return store_audit_open (mount->store, error);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  auto_fd fd =
      self->fd >= 0 ? fcntl (self->fd, F_DUPFD_CLOEXEC, 0) : memfd_create (FILE_NAME, MFD_CLOEXEC);
  if (fd < 0 || (self->fd < 0 && write (fd, self->lines->str, self->lines->len) < 0)) {
    fail_errno (error, FILE_NAME);
    return -1;
  }
  return g_steal_fd (&fd);
}

/* ---- opens -------------------------------------------------------------------------------- */

/* The digest of the message, as it is known or else as it is; NULL: neither. `*out_damage` tells
 * that its bytes are not what was delivered, which is no failure; `*out_there`, whether it could be
 * opened. */
static char *
verify_message (Mount *mount, fuse_ino_t ino, bool *out_there, GError **out_damage, GError **error)
{
  g_auto (StoreSummary) summary = {0};
  size_t whole;

  g_autoptr (View) view = NULL;
  g_autoptr (StoreMailbox) mailbox = NULL;
  auto_fd fd = file_open (mount, ino, &view, &mailbox, error);
  *out_there = fd >= 0;
  if (fd < 0)
    return NULL;
  file_verify (mount, mailbox, ino, fd, NULL, 0, &whole, out_damage);
  return store_message_summary (mailbox, inode_uid (ino), &summary, NULL)
             ? store_digest_string (summary.sha256)
             : NULL;
}

/* That a message is damaged is told, and no failure: whether its bytes are handed out is for the
 * read to say. */
bool
audit_note_open (fuse_req_t req, fuse_ino_t ino, GError **error)
{
  Mount *mount = fuse_req_userdata (req);
  Caller caller = caller_of (req);
  bool is_message = inode_kind (ino) == INODE_MESSAGE, there = true;
  g_autoptr (GError) damage = NULL;
  g_autofree char *digest = NULL, *path = NULL;

  if (!is_message && !inode_is_transient (ino))
    return true;
  if (is_message)
    digest = verify_message (mount, ino, &there, &damage, error);
  path = there ? inode_path (mount, ino) : NULL;
  return there && trail_open (mount, &caller, path, digest, damage, error);
}
