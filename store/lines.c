/* SPDX-License-Identifier: Apache-2.0 */
/* Files of lines that only grow, in directories of the store that are made when they are needed.
 * Each line ends with a space and the first 32 bits of the SHA-256 of what is before that, as eight
 * digits, so that damage does not pass for a fact. A line that a crash cut short has no end; who
 * adds the next one ends it with a '"', which no line has at its end otherwise, so that it never
 * counts. */
#include "store/internal.h"

#include <openssl/evp.h>
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

/* The checksum of a line, as it stands at its end. */
static void
put_checksum (const char *line, size_t size, char out[LINE_CHECKSUM_SIZE + 1])
{
  uint8_t sha256[EVP_MAX_MD_SIZE] = {0};
  EVP_Digest (line, size, sha256, NULL, EVP_sha256 (), NULL);
  g_snprintf (out, LINE_CHECKSUM_SIZE + 1, " %02x%02x%02x%02x", sha256[0], sha256[1], sha256[2],
              sha256[3]);
}

bool
lines_is_whole (const char *line, size_t size, size_t *out_size)
{
  char wanted[LINE_CHECKSUM_SIZE + 1];
  if (size < LINE_CHECKSUM_SIZE)
    return false;
  *out_size = size - LINE_CHECKSUM_SIZE;
  put_checksum (line, *out_size, wanted);
  return memcmp (line + *out_size, wanted, LINE_CHECKSUM_SIZE) == 0;
}

static void
append_lines (GString *text, const char *lines)
{
  char checksum[LINE_CHECKSUM_SIZE + 1];
  for (const char *end; (end = strchr (lines, '\n')) != NULL; lines = end + 1) {
    size_t size = (size_t)(end - lines);
    put_checksum (lines, size, checksum);
    g_string_append_len (text, lines, (gssize)size);
    g_string_append (text, checksum);
    g_string_append_c (text, '\n');
  }
}

bool
lines_write (Store *store, const char *path, int fd, const char *lines, GError **error)
{
  struct stat st;
  char last = '\n';
  if (fstat (fd, &st) < 0 || (st.st_size > 0 && pread (fd, &last, 1, st.st_size - 1) != 1))
    return fail_errno (error, "read %s/%s", store->path, path);
  g_autoptr (GString) text = g_string_new (last != '\n' ? "\"\n" : NULL);
  append_lines (text, lines);
  return layout_write (fd, text->str, text->len, error) ||
         fail_prefix (error, "%s/%s", store->path, path);
}
