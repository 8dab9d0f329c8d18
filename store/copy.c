/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies for backup and restore. Never hard links: the bytes of a message do not change, but its
 * attributes do, and two names of one file share them. A flag that is set later would be set in the
 * backup as well. Where the filesystem can, the copy shares the blocks instead.
 */
#include "store/internal.h"

#include <attr/error_context.h>
#include <attr/libattr.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CHUNK 262144u

static int
is_user_attribute (const char *name, struct error_context *context)
{
  return g_str_has_prefix (name, "user.");
}

static void
ignore_error (struct error_context *context, const char *format, ...)
{
}

/* A filesystem without attributes keeps none; states are written once more where they count. */
static void
copy_attributes (int from, int to)
{
  struct error_context quiet = {.error = ignore_error};
  attr_copy_fd ("source", from, "copy", to, is_user_attribute, &quiet);
}

static bool
write_all (int fd, const uint8_t *bytes, size_t size)
{
  for (size_t done = 0; done < size;) {
    ssize_t written = write (fd, bytes + done, size - done);
    if (written < 0 && errno != EINTR)
      return false;
    done += written > 0 ? (size_t)written : 0;
  }
  return true;
}

static bool
copy_bytes (int from, int to, Pace *pace, GError **error)
{
  if (ioctl (to, FICLONE, from) == 0)
    return true;
  g_autofree uint8_t *buffer = g_malloc (CHUNK);
  for (off_t at = 0;;) {
    ssize_t got = pread (from, buffer, pace_chunk (pace, CHUNK), at);
    if (got == 0)
      return true;
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail (error, EIO, "read: %s", g_strerror (errno));
    if (!write_all (to, buffer, (size_t)got))
      return fail_errno (error, "write");
    if (!pace_pass (pace, (uint64_t)got, error))
      return false;
    at += got;
  }
}

/* The attributes come after the owner: who may not change that any more may still set them. */
static bool
copy_facts (Store *store, int from, int to, const struct stat *st, GError **error)
{
  if (!layout_own (store, to, error))
    return false;
  copy_attributes (from, to);
  return fchmod (to, st->st_mode & 07777) == 0 || fail_errno (error, "set the mode");
}

int
copy_open_file (Store *store, int source, int to_fd, const char *to, Pace *pace, GError **error)
{
  struct stat st;
  auto_fd copy = openat (to_fd, to, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (copy < 0 || fstat (source, &st) < 0) {
    fail_errno (error, "make a file");
    return -1;
  }
  bool done =
      copy_bytes (source, copy, pace, error) && copy_facts (store, source, copy, &st, error);
  struct timespec times[2] = {st.st_mtim, st.st_mtim};
  if (done && futimens (copy, times) < 0)
    done = fail_errno (error, "set its date");
  if (done)
    return g_steal_fd (&copy);
  unlinkat (to_fd, to, 0);
  return -1;
}

int
copy_file (Store *store, int from_fd, const char *from, int to_fd, const char *to, Pace *pace,
           GError **error)
{
  auto_fd source = layout_open_message (from_fd, from);
  if (source < 0) {
    fail_errno (error, "open '%s'", from);
    return -1;
  }
  auto_fd copy = copy_open_file (store, source, to_fd, to, pace, error);
  if (copy < 0)
    fail_prefix (error, "copy '%s'", from);
  return g_steal_fd (&copy);
}

bool
copy_directory_facts (Store *store, int from_fd, int to_fd, GError **error)
{
  struct stat st;
  if (fstat (from_fd, &st) < 0)
    return fail_errno (error, "stat a directory");
  return copy_facts (store, from_fd, to_fd, &st, error);
}
