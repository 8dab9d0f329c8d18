/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.c - pages of a database that lie beside it: a rollback journal has them as they were
 * before a transaction that was never committed, a write-ahead log as committed ones left them.
 * Section numbers are those of https://www.sqlite.org/fileformat.html.
 */
#include "index/journal.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint32_t
be32 (const uint8_t *bytes)
{
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Reads all of it, or nothing. */
static bool
read_at (int fd, uint64_t at, void *out, size_t size)
{
  return pread (fd, out, size, (off_t)at) == (ssize_t)size;
}

static bool
is_page_size (uint32_t size)
{
  return size >= JOURNAL_PAGE_MIN && size <= JOURNAL_PAGE_MAX && (size & (size - 1)) == 0;
}

static uint64_t
file_size (int fd)
{
  struct stat st;
  return fd >= 0 && fstat (fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

/* ---- the rollback journal (3) --------------------------------------------------------------- */

enum { ROLLBACK_HEADER = 28, SECTOR_MIN = 32, SECTOR_MAX = 65536 };

typedef struct {
  uint32_t count; /* of the images that follow */
  uint32_t nonce; /* of their checksums */
  uint32_t pages; /* of the database before */
  uint32_t sector, page_size;
} Segment;

/* Reads a segment's header; false: there is none. */
static bool
read_segment (int fd, uint64_t at, Segment *out)
{
  static const uint8_t magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
  uint8_t header[ROLLBACK_HEADER];
  if (!read_at (fd, at, header, sizeof header) || memcmp (header, magic, sizeof magic) != 0)
    return false;
  *out = (Segment){be32 (header + 8), be32 (header + 12), be32 (header + 16), be32 (header + 20),
                   be32 (header + 24)};
  return out->sector >= SECTOR_MIN && out->sector <= SECTOR_MAX && is_page_size (out->page_size);
}

/* The checksum that follows a page in the journal. */
static bool
is_whole (const uint8_t *page, uint32_t size, uint32_t nonce, uint32_t sum)
{
  for (uint32_t at = size - 200; at > 0 && at < size; at -= 200)
    nonce += page[at];
  return nonce == sum;
}

/* Hands out the images of one segment; returns where it ends, 0 when it is not whole. There is no
 * page 0: that is a hole, which may be as long as a file can be. */
static uint64_t
read_images (int fd, uint64_t at, const Segment *segment, uint8_t *page, JournalFunc each,
             void *data)
{
  uint64_t record = 8 + (uint64_t)segment->page_size;
  for (uint32_t i = 0; i < segment->count; i++, at += record) {
    uint8_t number[4], sum[4];
    if (!read_at (fd, at, number, 4) || !read_at (fd, at + 4, page, segment->page_size) ||
        !read_at (fd, at + record - 4, sum, 4) || be32 (number) == 0 ||
        !is_whole (page, segment->page_size, segment->nonce, be32 (sum)) ||
        !each (be32 (number), page, at + 4, data))
      return 0;
  }
  return at;
}

bool
journal_read (int fd, uint32_t page_size, JournalFunc each, void *data, JournalFacts *out)
{
  Segment segment;
  uint64_t end = file_size (fd);
  if (end == 0 || !read_segment (fd, 0, &segment) ||
      (page_size != 0 && segment.page_size != page_size))
    return false;
  *out = (JournalFacts){.page_size = segment.page_size, .pages = segment.pages};
  g_autofree uint8_t *page = g_malloc (segment.page_size);
  uint64_t at = 0;
  do {
    uint64_t images = at + segment.sector;
    if (segment.page_size != out->page_size)
      break;
    if (segment.count == UINT32_MAX && images < end)
      segment.count =
          (uint32_t)MIN ((end - images) / (8 + (uint64_t)segment.page_size), UINT32_MAX - 1);
    at = segment.count > 0 ? read_images (fd, images, &segment, page, each, data) : 0;
    at = (at + segment.sector - 1) / segment.sector * segment.sector;
  } while (at > 0 && read_segment (fd, at, &segment));
  return true;
}

/* ---- the write-ahead log (4) ---------------------------------------------------------------- */

enum { LOG_HEADER = 32, FRAME_HEADER = 24, LOG_VERSION = 3007000 };
#define LOG_MAGIC UINT32_C (0x377f0682) /* the lowest bit: checksums are big-endian */

typedef struct {
  int fd;
  uint32_t page_size;
  bool big_endian;
  uint8_t salt[8];
  uint32_t sum[2]; /* so far */
  uint8_t *frame;  /* header and page */
} Log;

/* The checksum goes on over `size` bytes (4.2). */
static void
add_sum (Log *self, const uint8_t *bytes, size_t size)
{
  for (size_t i = 0; i < size; i += 8) {
    uint32_t words[2];
    memcpy (words, bytes + i, sizeof words);
    for (size_t word = 0; word < 2; word++) {
      words[word] =
          self->big_endian ? GUINT32_FROM_BE (words[word]) : GUINT32_FROM_LE (words[word]);
      self->sum[word] += words[word] + self->sum[1 - word];
    }
  }
}

static bool
has_sum (const Log *self, const uint8_t *bytes)
{
  return self->sum[0] == be32 (bytes) && self->sum[1] == be32 (bytes + 4);
}

static bool
begin_log (Log *self)
{
  uint8_t header[LOG_HEADER];
  if (!read_at (self->fd, 0, header, sizeof header) ||
      (be32 (header) & ~UINT32_C (1)) != LOG_MAGIC || be32 (header + 4) != LOG_VERSION ||
      !is_page_size (be32 (header + 8)))
    return false;
  self->big_endian = (be32 (header) & 1) != 0;
  self->page_size = be32 (header + 8);
  memcpy (self->salt, header + 16, sizeof self->salt);
  memset (self->sum, 0, sizeof self->sum);
  add_sum (self, header, 24);
  return has_sum (self, header + 24);
}

/* Reads the next frame; false: the log ends there, or what follows is of an earlier one. */
static bool
read_frame (Log *self, uint64_t at, uint32_t *out_page, uint32_t *out_commit)
{
  uint8_t *frame = self->frame;
  if (!read_at (self->fd, at, frame, FRAME_HEADER + (size_t)self->page_size) ||
      memcmp (frame + 8, self->salt, sizeof self->salt) != 0)
    return false;
  add_sum (self, frame, 8);
  add_sum (self, frame + FRAME_HEADER, self->page_size);
  *out_page = be32 (frame);
  *out_commit = be32 (frame + 4);
  return has_sum (self, frame + 16) && *out_page != 0;
}

/* Twice: what counts is known only when the last commit has been found. */
bool
log_read (int fd, JournalFunc each, void *data, JournalFacts *out)
{
  g_autofree uint8_t *frame = g_malloc (FRAME_HEADER + JOURNAL_PAGE_MAX);
  Log log = {.fd = fd, .frame = frame};
  uint32_t page, commit;
  uint64_t size = file_size (fd), committed = 0;
  if (size == 0 || !begin_log (&log))
    return false;
  JournalFacts facts = {.page_size = log.page_size};
  uint64_t step = FRAME_HEADER + (uint64_t)log.page_size;
  for (uint64_t at = LOG_HEADER; read_frame (&log, at, &page, &commit); at += step) {
    facts.pages = commit != 0 ? commit : facts.pages;
    facts.commits += commit != 0;
    committed = commit != 0 ? at + step : committed;
  }
  if (committed == 0 || !begin_log (&log))
    return false;
  for (uint64_t at = LOG_HEADER; at < committed && read_frame (&log, at, &page, &commit);
       at += step) {
    if (!each (page, frame + FRAME_HEADER, at + FRAME_HEADER, data))
      break;
  }
  *out = facts;
  return true;
}
