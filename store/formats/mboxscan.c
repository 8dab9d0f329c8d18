/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mboxscan.c - where the messages of an mbox file begin and end.
 *
 * What separates messages is a line "From ..." that
 *
 *   - ends with a date and stands behind a blank line or before a header field; or,
 *   - in files whose first such line has no date, stands behind a blank line and before a header
 * field.
 *
 * The blank line before it, or before the end of the file, belongs to it. No byte is scanned twice,
 * whatever the file holds, and a body whose Content-Length is believed is not scanned at all.
 */
#include "store/formats/reader.h"

#include <string.h>

#define PEEK_SIZE 4096u

bool
mbox_scan_is_mbox (int fd, bool *out_is_mbox, GError **error)
{
  char text[PEEK_SIZE];
  ssize_t size = lines_read_at (fd, text, sizeof text, 0);
  ssize_t begin = 0;
  if (size < 0)
    return fail_errno (error, "read");
  while (begin < size && (text[begin] == '\n' || text[begin] == '\r'))
    begin++;
  *out_is_mbox = size == 0 || postmark_begins (text + begin, (size_t)(size - begin));
  return true;
}

bool
mbox_scan_is_quoted (const char *line, size_t length)
{
  size_t quotes = 0;
  while (quotes < length && line[quotes] == '>')
    quotes++;
  return quotes > 0 && postmark_begins (line + quotes, length - quotes);
}

void
mbox_scan_init (MboxScan *self)
{
  mbox_status_init (&self->status);
}

void
mbox_scan_clear (MboxScan *self)
{
  mbox_status_clear (&self->status);
}

/* Old Macintosh files end their lines with CR alone. */
static char
line_delimiter (int fd)
{
  char text[PEEK_SIZE];
  ssize_t size = lines_read_at (fd, text, sizeof text, 0);
  bool has_cr = size > 0 && memchr (text, '\r', (size_t)size) != NULL;
  return has_cr && memchr (text, '\n', (size_t)size) == NULL ? '\r' : '\n';
}

/* Notes that a message begins behind the From_ line, of which `line` is the first piece. */
static bool
begin_message (MboxScan *self, Line line, int64_t time_s, GError **error)
{
  bool end = false;
  while (!line.ends && !end)
    if (!lines_next (&self->lines, &line, &end, error))
      return false;
  self->has_next = true;
  self->next_begin = self->lines.offset;
  self->next_postmark_s = time_s;
  return true;
}

bool
mbox_scan_begin (MboxScan *self, int fd, uint64_t size, bool is_mboxrd, GError **error)
{
  lines_init (&self->lines, fd, size);
  self->lines.delimiter = line_delimiter (fd);
  self->is_mboxrd = is_mboxrd;
  self->has_next = false;
  self->quoted = 0;
  for (;;) {
    Line line;
    bool end;
    int64_t time_s = INT64_MIN;
    if (!lines_next (&self->lines, &line, &end, error))
      return false;
    if (end)
      return true;
    if (line.length == 0)
      continue;
    self->is_dated = postmark_date (line.text, line.length, &time_s);
    return begin_message (self, line, time_s, error);
  }
}

/* Whether a header field, "Name:", begins at `offset`. */
static bool
is_field_at (const MboxScan *self, uint64_t offset)
{
  char text[128];
  ssize_t size = lines_read_at (self->lines.fd, text, sizeof text, offset);
  ssize_t i = 0;
  while (i < size && text[i] > ' ' && text[i] < 0x7f && text[i] != ':')
    i++;
  return i > 0 && i < size && text[i] == ':';
}

static bool
is_separator (const MboxScan *self, const Line *line, bool after_blank, int64_t *out_time_s)
{
  if (!line->starts || !postmark_begins (line->text, line->length))
    return false;
  *out_time_s = INT64_MIN;
  if (postmark_date (line->text, line->length, out_time_s))
    return after_blank || is_field_at (self, line->offset + line->size);
  return !self->is_dated && after_blank && is_field_at (self, line->offset + line->size);
}

/* How many newlines follow at `text`, at most `most`; `*out_size` is the bytes they take. */
static unsigned
count_newlines (const char *text, size_t size, unsigned most, size_t *out_size)
{
  unsigned count = 0;
  size_t i = 0;
  while (count < most && i < size) {
    size_t width = text[i] == '\n' ? 1 : 2;
    if (width == 2 && (i + 1 == size || text[i] != '\r' || text[i + 1] != '\n'))
      break;
    count++;
    i += width;
  }
  *out_size = i;
  return count;
}

/* Whether the body that begins at `body` is as long as its header says: up to two newlines behind
 * it there is a From_ line, or the end of the file. If so, goes there. */
static bool
try_content_length (MboxScan *self, uint64_t body, bool *out_fits, GError **error)
{
  char text[1024];
  uint64_t length = self->status.content_length;
  *out_fits = false;
  if (self->is_mboxrd || length > self->lines.size - body)
    return true;
  uint64_t end = body + length;
  ssize_t n = lines_read_at (self->lines.fd, text, sizeof text, end - 1);
  if (n < 1)
    return true;
  size_t skip, size = (size_t)n - 1;
  unsigned newlines = count_newlines (text + 1, size, 2, &skip);
  const char *postmark = text + 1 + skip;
  const char *newline = memchr (postmark, '\n', size - skip);
  size_t postmark_size = newline != NULL ? (size_t)(newline - postmark) : size - skip;
  int64_t time_s = INT64_MIN;
  bool has_date = postmark_date (postmark, postmark_size, &time_s);
  bool is_postmark = postmark_begins (postmark, postmark_size) && (has_date || !self->is_dated) &&
                     (newlines > 0 || text[0] == '\n');
  *out_fits = is_postmark || end + skip == self->lines.size;
  if (!*out_fits)
    return true;

  Line line;
  bool at_end = false;
  self->end = end;
  lines_seek (&self->lines, end + skip);
  if (!lines_next (&self->lines, &line, &at_end, error))
    return false;
  return at_end || begin_message (self, line, time_s, error);
}

/* Finds the end of the message that has begun, and the From_ line behind it. */
static bool
find_end (MboxScan *self, GError **error)
{
  bool in_header = true, fits = false, at_end = false;
  size_t blank = 0; /* size of the line before, when it is blank */
  for (;;) {
    Line line;
    int64_t time_s;
    if (!lines_next (&self->lines, &line, &at_end, error))
      return false;
    self->end = (at_end ? self->lines.offset : line.offset) - blank;
    if (at_end)
      return true;
    if (is_separator (self, &line, blank > 0, &time_s))
      return begin_message (self, line, time_s, error);
    blank = line.starts && line.ends && line.length == 0 ? line.size : 0;
    if (in_header && blank > 0 &&
        (!try_content_length (self, self->lines.offset, &fits, error) || fits))
      return fits;
    if (in_header && line.starts)
      mbox_status_line (&self->status, line.text, line.length);
    in_header = in_header && blank == 0;
    self->quoted += line.starts && mbox_scan_is_quoted (line.text, line.length);
  }
}

bool
mbox_scan_next (MboxScan *self, bool *out_end, GError **error)
{
  *out_end = !self->has_next;
  if (!self->has_next)
    return true;
  self->has_next = false;
  self->begin = self->next_begin;
  self->postmark_s = self->next_postmark_s;
  mbox_status_reset (&self->status);
  return find_end (self, error);
}
