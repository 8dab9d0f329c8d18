/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which bytes of a message are damaged, as far as that can be told without those that were
 * delivered: what cannot be read, runs of zeros as a disk or a crash leaves them, an end that is
 * missing, bytes too many.
 */
#include "store/scan.h"

#include <string.h>
#include <unistd.h>

/* What is read at a time, and where that fails. */
#define CHUNK 65536u
#define BLOCK 4096u

/* So many zeros are no part of a message. */
#define ZEROS_MIN 4096u

/* A dying disk is not asked for more than this. */
#define FAILURES_MAX 1024u

/* Ranges of one message; a longer header is not looked at. */
#define RANGES_MAX 4096u
#define HEADER_MAX 65536u

typedef struct {
  GArray *ranges;       /* of StoreDamageRange */
  uint64_t zeros;       /* how many there are just before what is looked at next */
  StoreDamageRange nul; /* from the first NUL byte to the last */
  unsigned failures;
} Search;

/* Where there are too many, the last one stands for all that follow. */
void
damage_add_range (GArray *ranges, StoreProblem kind, uint64_t offset, uint64_t length)
{
  StoreDamageRange range = {offset, length, kind};
  StoreDamageRange *last =
      ranges->len > 0 ? &g_array_index (ranges, StoreDamageRange, ranges->len - 1) : NULL;
  if (length == 0)
    return;
  if (ranges->len == RANGES_MAX)
    last->kind = last->kind == kind ? kind : STORE_PROBLEM_DIGEST;
  if (ranges->len == RANGES_MAX ||
      (last != NULL && last->kind == kind && last->offset + last->length == offset))
    last->length = offset + length - last->offset;
  else
    g_array_append_val (ranges, range);
}

static void
end_zeros (Search *self, uint64_t at)
{
  if (self->zeros >= ZEROS_MIN)
    damage_add_range (self->ranges, STORE_PROBLEM_ZERO_RUN, at - self->zeros, self->zeros);
  self->zeros = 0;
}

static void
look_at (Search *self, const uint8_t *bytes, size_t size, uint64_t offset)
{
  for (size_t i = 0; i < size; i++) {
    if (bytes[i] != 0) {
      if (self->zeros > 0)
        end_zeros (self, offset + i);
      continue;
    }
    if (self->nul.length == 0)
      self->nul.offset = offset + i;
    self->nul.length = offset + i + 1 - self->nul.offset;
    self->zeros++;
  }
}

static ssize_t
read_at (int fd, void *buffer, size_t size, uint64_t offset)
{
  ssize_t got;
  do
    got = pread (fd, buffer, size, (off_t)offset);
  while (got < 0 && errno == EINTR);
  return got;
}

/* Passes over what cannot be read: a block, or the rest. */
static uint64_t
pass_over (Search *self, uint64_t at, uint64_t size)
{
  uint64_t length = MIN (BLOCK - at % BLOCK, size - at);
  if (++self->failures > FAILURES_MAX)
    length = size - at;
  end_zeros (self, at);
  damage_add_range (self->ranges, STORE_PROBLEM_UNREADABLE, at, length);
  return at + length;
}

static void
search (Search *self, int fd, uint64_t size)
{
  g_autofree uint8_t *buffer = g_malloc (CHUNK);
  size_t step = CHUNK;
  uint64_t at = 0;
  while (at < size) {
    ssize_t got = read_at (fd, buffer, (size_t)MIN (step, size - at), at);
    if (got == 0)
      break;
    if (got < 0 && step > BLOCK) {
      step = BLOCK;
      continue;
    }
    if (got > 0)
      look_at (self, buffer, (size_t)got, at);
    at = got > 0 ? at + (uint64_t)got : pass_over (self, at, size);
    step = at % CHUNK == 0 ? CHUNK : step;
  }
  end_zeros (self, at);
}

GArray *
damage_ranges (int fd, uint64_t size, uint64_t delivered, StoreDamageRange *out_nul)
{
  Search self = {.ranges = g_array_new (FALSE, FALSE, sizeof (StoreDamageRange)),
                 .nul = {.kind = STORE_PROBLEM_NUL}};
  search (&self, fd, size);
  if (delivered > size)
    damage_add_range (self.ranges, STORE_PROBLEM_TRUNCATED, size, delivered - size);
  else
    damage_add_range (self.ranges, STORE_PROBLEM_SIZE, delivered, size - delivered);
  if (out_nul != NULL)
    *out_nul = self.nul;
  return self.ranges;
}

/* ---- the header ---------------------------------------------------------------------------- */

/* The length of the line at `text`, with its end. */
static size_t
line_length (const char *text, size_t size)
{
  const char *end = memchr (text, '\n', size);
  return end != NULL ? (size_t)(end + 1 - text) : size;
}

/* Whether a line is what may stand in a header: a field, what goes on with one, or the line of an
 * mbox before the first (RFC 5322, 2.2). */
static bool
is_header_line (const char *line, size_t length, bool is_first)
{
  size_t name = 0;
  if (is_first && length >= 5 && memcmp (line, "From ", 5) == 0)
    return true;
  if (!is_first && (*line == ' ' || *line == '\t'))
    return true;
  while (name < length && line[name] > ' ' && line[name] < 0x7f && line[name] != ':')
    name++;
  size_t colon = name;
  while (colon < length && (line[colon] == ' ' || line[colon] == '\t'))
    colon++;
  return name > 0 && colon < length && line[colon] == ':';
}

StoreDamageRange
damage_header (int fd)
{
  g_autofree char *text = g_malloc (HEADER_MAX);
  ssize_t got = read_at (fd, text, HEADER_MAX, 0);
  StoreDamageRange bad = {.kind = STORE_PROBLEM_BAD_HEADER};
  for (size_t at = 0; got > 0 && at < (size_t)got;) {
    size_t length = line_length (text + at, (size_t)got - at);
    if (text[at] == '\n' || (text[at] == '\r' && length == 2))
      break;
    bool is_good = is_header_line (text + at, length, at == 0);
    if (!is_good && bad.length == 0)
      bad.offset = at;
    if (!is_good)
      bad.length = at + length - bad.offset;
    at += length;
  }
  return bad;
}
