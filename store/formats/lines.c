/* SPDX-License-Identifier: Apache-2.0 */
#include "store/formats/reader.h"

#include <string.h>
#include <unistd.h>

ssize_t
lines_read_at (int fd, void *buffer, size_t size, uint64_t offset)
{
  size_t done = 0;
  while (done < size) {
    ssize_t n = pread (fd, (char *)buffer + done, size - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -1;
    if (n == 0)
      break;
    done += (size_t)n;
  }
  return (ssize_t)done;
}

void
lines_init (Lines *self, int fd, uint64_t size)
{
  self->fd = fd;
  self->delimiter = '\n';
  self->size = size;
  self->offset = 0;
  self->begin = self->end = 0;
  self->inside = false;
}

void
lines_seek (Lines *self, uint64_t offset)
{
  if (offset >= self->offset && offset - self->offset <= self->end - self->begin)
    self->begin += offset - self->offset;
  else
    self->begin = self->end = 0;
  self->offset = offset;
  self->inside = false;
}

/* Fills the rest of the buffer behind what is left in it. */
static bool
fill (Lines *self, GError **error)
{
  size_t left = self->end - self->begin;
  memmove (self->buffer, self->buffer + self->begin, left);
  self->begin = 0;
  self->end = left;
  uint64_t from = self->offset + left;
  size_t room = sizeof self->buffer - left;
  if (from >= self->size)
    return true;
  ssize_t n = lines_read_at (self->fd, self->buffer + left, MIN (room, self->size - from), from);
  if (n < 0)
    return fail_errno (error, "read");
  self->end += (size_t)n;
  return true;
}

bool
lines_next (Lines *self, Line *out, bool *out_end, GError **error)
{
  const char *found = memchr (self->buffer + self->begin, self->delimiter, self->end - self->begin);
  if (found == NULL) {
    if (!fill (self, error))
      return false;
    found = memchr (self->buffer, self->delimiter, self->end);
  }
  const char *text = self->buffer + self->begin;
  size_t size = found != NULL ? (size_t)(found - text) + 1 : self->end - self->begin;
  *out_end = size == 0;
  if (size == 0)
    return true;

  size_t length = found != NULL ? size - 1 : size;
  if (found != NULL && self->delimiter == '\n' && length > 0 && text[length - 1] == '\r')
    length--;
  *out = (Line){.offset = self->offset,
                .text = text,
                .length = length,
                .size = size,
                .starts = !self->inside,
                .ends = found != NULL || size < sizeof self->buffer};
  self->inside = !out->ends;
  self->begin += size;
  self->offset += size;
  return true;
}

bool
lines_each (int directory_fd, const char *name, LinesFunc each, void *user_data, GError **error)
{
  struct stat st;
  auto_fd fd = source_open_file (directory_fd, name, &st, error);
  if (fd < 0)
    return false;
  g_autofree Lines *lines = g_new (Lines, 1);
  lines_init (lines, fd, (uint64_t)st.st_size);
  for (;;) {
    Line line;
    bool end;
    if (!lines_next (lines, &line, &end, error))
      return fail_prefix (error, "%s", name);
    if (end)
      return true;
    if (!line.starts || !line.ends)
      continue;
    g_autofree char *text = g_strndup (line.text, line.length);
    if (!each (text, user_data))
      return fail (error, EINVAL, "%s: not in a format that is known", name);
  }
}
