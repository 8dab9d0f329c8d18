/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit trail: STORE/audit.jsonl, to whose end each action that somebody asked a mount for adds
 * one line. When the file is full it becomes audit.jsonl.1, in whose place it goes, and a new one
 * is begun; the numbers of the lines go on. Where reading is told of, it must not push out what was
 * changed: so of the file before the other lines stay, as many as one file may have.
 *
 * Who adds holds a lock on the file (flock(2)), so that lines come one after the other and their
 * numbers have no gaps, whichever process they come from. A line counts from the moment that its
 * end is on disk. What a crash left of one that does not is cut off by the next.
 */
#include "store/internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define AUDIT     "audit.jsonl"
#define AUDIT_OLD AUDIT ".1"
#define AUDIT_NEW AUDIT ".new"       /* the next one of that name, while it is made */
#define AUDIT_MAX (16 * 1024 * 1024) /* bytes */

/* How far one may grow that cannot be put aside, and after how much that is tried again: it costs
 * reading both files, and where there is no room writes until there is none for anybody. */
#define GROWN_MAX  (4 * AUDIT_MAX)
#define GROWN_STEP (1024 * 1024)

/* How each line begins: SEQ is its number. A line holds no raw control bytes, so behind the end of
 * another line this is nowhere but there. */
#define BEGINNING "{\"seq\":"

/* What a line has that tells of reading. No text in it can, for there quotes are escaped. */
#define READING "\"through\":\"open\""

/* How much is read from the end to find the last line: at first, and at most. */
#define TAIL_SIZE 4096
#define TAIL_MAX  (2 * AUDIT_MAX)

/* -1 and errno. */
static int
open_regular (const Store *store, const char *name, int flags)
{
  auto_fd fd = layout_open (store->fd, name, flags | O_NOFOLLOW, 0640);
  struct stat st;
  if (fd < 0 || fstat (fd, &st) < 0)
    return -1;
  if (!S_ISREG (st.st_mode)) {
    errno = EMEDIUMTYPE;
    return -1;
  }
  return g_steal_fd (&fd);
}

int
store_audit_open (Store *self, GError **error)
{
  int fd = open_regular (self, AUDIT, O_RDONLY);
  if (fd < 0 && errno != ENOENT)
    fail_errno (error, "open %s/" AUDIT, self->path);
  return fd;
}

/* ---- the lock ------------------------------------------------------------------------------ */

static bool
is_current (const Store *store, int fd)
{
  struct stat ours, now;
  return fstat (fd, &ours) == 0 && fstatat (store->fd, AUDIT, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
         ours.st_ino == now.st_ino && ours.st_dev == now.st_dev;
}

/* The file, locked until the descriptor is closed; it may have got its other name while the lock
 * was waited for. */
static int
open_locked (Store *store, GError **error)
{
  for (;;) {
    auto_fd fd = open_regular (store, AUDIT, O_RDWR | O_APPEND | O_CREAT);
    int code = fd < 0 ? -1 : flock (fd, LOCK_EX);
    if (code == 0 && is_current (store, fd))
      return layout_own (store, fd, error) ? g_steal_fd (&fd) : -1;
    if (code < 0 && errno != EINTR) {
      fail_errno (error, "open %s/" AUDIT, store->path);
      return -1;
    }
  }
}

/* ---- the last line ------------------------------------------------------------------------- */

/* The last `size` bytes before `end`; NULL and errno. */
static char *
read_before (int fd, off_t end, size_t size)
{
  g_autofree char *bytes = g_malloc (size + 1);
  for (size_t got = 0; got < size;) {
    ssize_t count = pread (fd, bytes + got, size - got, end - (off_t)(size - got));
    if (count == 0)
      errno = EIO; /* somebody cut it meanwhile */
    if (count == 0 || (count < 0 && errno != EINTR))
      return NULL;
    got += count > 0 ? (size_t)count : 0;
  }
  return g_steal_pointer (&bytes);
}

/* The last whole line in `bytes` that has a number; NULL: none begins here. `*out_whole` is what
 * comes before the last line's end, that included. `first` tells that they begin a line. */
static const char *
find_last_line (const char *bytes, size_t size, bool first, size_t *out_whole)
{
  const char *end = memrchr (bytes, '\n', size);
  *out_whole = end == NULL ? 0 : (size_t)(end + 1 - bytes);
  while (end != NULL) {
    const char *before = memrchr (bytes, '\n', (size_t)(end - bytes));
    const char *line = before != NULL ? before + 1 : first ? bytes : end;
    if ((size_t)(end - line) > strlen (BEGINNING) &&
        memcmp (line, BEGINNING, strlen (BEGINNING)) == 0)
      return line;
    end = before;
  }
  return NULL;
}

/* `*out_size` is where the last whole line ends, `*out_seq` its number, or that of the last that
 * has one; 0: none has. */
static bool
read_last (int fd, off_t *out_size, uint64_t *out_seq)
{
  struct stat st;
  if (fstat (fd, &st) < 0)
    return false;
  size_t most = (size_t)MIN (st.st_size, TAIL_MAX);
  for (size_t size = MIN (TAIL_SIZE, most);; size = MIN (8 * size, most)) {
    size_t whole;
    g_autofree char *bytes = read_before (fd, st.st_size, size);
    if (bytes == NULL)
      return false;
    const char *line = find_last_line (bytes, size, (off_t)size == st.st_size, &whole);
    if (line == NULL && size < most)
      continue;
    *out_size = st.st_size - (off_t)(size - whole);
    *out_seq = line != NULL ? g_ascii_strtoull (line + strlen (BEGINNING), NULL, 10) : 0;
    return true;
  }
}

/* The number of the last line of the file before this one; 0: there is none. */
static uint64_t
read_old_seq (const Store *store)
{
  auto_fd fd = open_regular (store, AUDIT_OLD, O_RDONLY);
  off_t size;
  uint64_t seq;
  return fd >= 0 && read_last (fd, &size, &seq) ? seq : 0;
}

/* ---- adding -------------------------------------------------------------------------------- */

/* Adds the line at `size`, where the file is cut first: all of it, or nothing. */
static bool
write_line (int fd, off_t size, const char *line)
{
  size_t length = strlen (line);
  if (ftruncate (fd, size) < 0)
    return false;
  ssize_t count = write (fd, line, length);
  if (count == (ssize_t)length && fdatasync (fd) == 0)
    return true;
  int code = count >= 0 && count < (ssize_t)length ? ENOSPC : errno;
  if (ftruncate (fd, size) < 0)
    code = errno;
  errno = code;
  return false;
}

static char *
make_line (uint64_t seq, const char *object)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format (now, "%Y-%m-%dT%H:%M:%S.%fZ");
  return g_strdup_printf (BEGINNING "%" G_GUINT64_FORMAT ",\"time\":\"%s\",%s", seq, time,
                          object + 1);
}

/* ---- the file before ----------------------------------------------------------------------- */

/* All of a file of the audit; NULL when it cannot be read, or has grown beyond what is one. */
static char *
read_whole (int fd, off_t most, size_t *out_size)
{
  struct stat st;
  if (fd < 0 || fstat (fd, &st) < 0 || st.st_size > most)
    return NULL;
  *out_size = (size_t)st.st_size;
  return read_before (fd, st.st_size, *out_size);
}

/* The number of the line; 0: it has none. */
static uint64_t
line_number (const char *line, size_t size)
{
  bool numbered = size > strlen (BEGINNING) && memcmp (line, BEGINNING, strlen (BEGINNING)) == 0;
  return numbered ? g_ascii_strtoull (line + strlen (BEGINNING), NULL, 10) : 0;
}

static bool
has_reading (const char *bytes, size_t size)
{
  return memmem (bytes, size, READING, strlen (READING)) != NULL;
}

/* The lines that tell of more than reading, the newest that one file may have. Those from the
 * number `before` on are left out: after a crash they are in both files. */
static GString *
select_changes (const char *bytes, size_t size, uint64_t before)
{
  GString *kept = g_string_new (NULL);
  for (const char *line = bytes, *end; (end = memchr (line, '\n', size)) != NULL; line = end + 1) {
    size_t length = (size_t)(end + 1 - line);
    if (line_number (line, length) < before && !has_reading (line, length))
      g_string_append_len (kept, line, (gssize)length);
    size -= length;
  }
  if (kept->len > AUDIT_MAX) {
    const char *rest = memchr (kept->str + (kept->len - AUDIT_MAX), '\n', AUDIT_MAX);
    g_string_erase (kept, 0, rest + 1 - kept->str);
  }
  return kept;
}

/* Replaces the file before by what of it is kept and all of the full one. */
static bool
write_old (Store *store, const GString *kept, const char *full, size_t size)
{
  auto_fd fd = open_regular (store, AUDIT_NEW, O_WRONLY | O_CREAT);
  return fd >= 0 && ftruncate (fd, 0) == 0 && layout_own (store, fd, NULL) &&
         layout_write (fd, kept->str, kept->len, NULL) && layout_write (fd, full, size, NULL) &&
         fsync (fd) == 0 && renameat (store->fd, AUDIT_NEW, store->fd, AUDIT_OLD) == 0 &&
         fsync (store->fd) == 0 && unlinkat (store->fd, AUDIT, 0) == 0;
}

/* Puts a full file into the place of the one before, of which changes stay where reading could push
 * them out. Who waits for its lock finds another one then, which is not there yet. False: it stays
 * where it is and may grow up to GROWN_MAX, say for want of room. */
static bool
rotate (Store *store, int fd)
{
  size_t size = 0, old_size = 0;
  auto_fd old_fd = open_regular (store, AUDIT_OLD, O_RDONLY);
  g_autofree char *old = read_whole (old_fd, GROWN_MAX + AUDIT_MAX, &old_size);
  g_autofree char *full = old != NULL ? read_whole (fd, GROWN_MAX, &size) : NULL;
  if (full == NULL || !(has_reading (old, old_size) || has_reading (full, size)))
    return renameat (store->fd, AUDIT, store->fd, AUDIT_OLD) == 0;
  uint64_t first = line_number (full, size);
  g_autoptr (GString) kept = select_changes (old, old_size, first > 0 ? first : UINT64_MAX);
  if (write_old (store, kept, full, size))
    return true;
  unlinkat (store->fd, AUDIT_NEW, 0);
  return false;
}

/* Whether the file is full with so many bytes more, and it is time to try to put it aside. */
static bool
rotation_is_due (off_t size, size_t more)
{
  off_t after = size + (off_t)more;
  return size > 0 && after > AUDIT_MAX && (after - 1) / GROWN_STEP > (size - 1) / GROWN_STEP;
}

/* ---- adding a line ------------------------------------------------------------------------- */

bool
store_audit_append (Store *self, const char *object, GError **error)
{
  if (store_is_read_only (self))
    return fail (error, EROFS, "the store %s is open read only", self->path);
  for (;;) {
    off_t size;
    uint64_t seq;
    auto_fd fd = open_locked (self, error);
    if (fd < 0)
      return false;
    if (!read_last (fd, &size, &seq))
      return fail_errno (error, "read %s/" AUDIT, self->path);
    g_autofree char *line = make_line (seq > 0 ? seq + 1 : read_old_seq (self) + 1, object);
    if (rotation_is_due (size, strlen (line)) && rotate (self, fd))
      continue;
    if (!write_line (fd, size, line) || (size == 0 && fsync (self->fd) < 0))
      return fail_errno (error, "write %s/" AUDIT, self->path);
    return true;
  }
}
