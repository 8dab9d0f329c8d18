/* SPDX-License-Identifier: Apache-2.0 */
/* Files of lines that only grow, in directories of the store that are made when they are needed. A
 * line that a crash cut short has no end; who adds the next one ends it with a '"', which no line
 * has at its end otherwise, so that it never counts. */
#include "store/internal.h"

#include <string.h>
#include <unistd.h>

/* Opens the directory, and makes it when there is none. -1 and an error. */
static int
open_directory (Store *store, const char *directory, GError **error)
{
  bool made = mkdirat (store->fd, directory, 0750) == 0;
  auto_fd fd =
      made || errno == EEXIST ? layout_open (store->fd, directory, O_RDONLY | O_DIRECTORY, 0) : -1;
  if (fd < 0 || (made && fsync (store->fd) < 0)) {
    fail_errno (error, "open %s/%s", store->path, directory);
    return -1;
  }
  return !made || layout_own (store, fd, error) ? g_steal_fd (&fd) : -1;
}

int
lines_open (Store *store, const char *path, GError **error)
{
  static const int flags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW;
  auto_fd fd = layout_open (store->fd, path, flags, 0640);
  g_autofree char *name = g_path_get_dirname (path);
  auto_fd directory = -1;
  struct stat st;
  if (fd < 0 && errno == ENOENT) {
    if ((directory = open_directory (store, name, error)) < 0)
      return -1;
    fd = layout_open (store->fd, path, flags, 0640);
  }
  if (fd < 0 || fstat (fd, &st) < 0) {
    fail_errno (error, "open %s/%s", store->path, path);
    return -1;
  }
  if (!S_ISREG (st.st_mode)) {
    fail (error, EMEDIUMTYPE, "%s/%s is no regular file", store->path, path);
    return -1;
  }
  if (st.st_size > 0)
    return g_steal_fd (&fd);
  /* It may be new. */
  if (!layout_own (store, fd, error) ||
      (directory < 0 && (directory = open_directory (store, name, error)) < 0))
    return -1;
  if (fsync (directory) < 0) {
    fail_errno (error, "sync %s/%s", store->path, name);
    return -1;
  }
  return g_steal_fd (&fd);
}

bool
lines_write (Store *store, const char *path, int fd, const char *lines, GError **error)
{
  struct stat st;
  char last = '\n';
  if (fstat (fd, &st) < 0 || (st.st_size > 0 && pread (fd, &last, 1, st.st_size - 1) != 1))
    return fail_errno (error, "read %s/%s", store->path, path);
  g_autofree char *ended = last != '\n' ? g_strconcat ("\"\n", lines, NULL) : NULL;
  const char *text = ended != NULL ? ended : lines;
  size_t size = strlen (text);
  for (size_t done = 0; done < size;) {
    ssize_t written = write (fd, text + done, size - done);
    if (written < 0 && errno != EINTR)
      return fail_errno (error, "write %s/%s", store->path, path);
    done += written > 0 ? (size_t)written : 0;
  }
  return true;
}
