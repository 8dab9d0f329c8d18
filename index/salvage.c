/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage.c - the rows that are left in a broken database.
 *
 * SQLite gives a database up at the first page that makes no sense. This reader needs no page but
 * the one it looks at: every block of the file that looks like a leaf of a table is taken apart,
 * and each of its cells that is a record of one of our tables is handed out. Section numbers are
 * those of https://www.sqlite.org/fileformat.html.
 *
 * A hot journal beside the file holds pages as they were before a transaction that was never
 * committed. They come first; the pages that the transaction put in their place come after. Both
 * may tell something, for the files were changed before either: who gets the rows takes the newer
 * one.
 */
#include "index/salvage.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  HEADER_SIZE = 100, /* of the file (1.3) */
  PAGE_SIZE_AT = 16,
  PAGE_MIN = 512,
  PAGE_MAX = 65536,
  PAGE_USUAL = 8192, /* of what we make */

  LEAF = 0x0d, /* a table's leaf (1.6) */
  LEAF_HEADER = 8,
  CELL_MIN = 4,

  PAYLOAD_MAX = 131072, /* of the records that we want whole: keywords are up to 64 KiB */

  JOURNAL_HEADER = 28,
  JOURNAL_PAGES_MAX = 1 << 20, /* that are remembered: 8 GiB of ours */
};

typedef struct {
  SalvageSink sink; /* NULL: only count */
  void *data;
  const char *path;
  sqlite3_file *file;
  uint64_t size;
  int journal_fd;      /* -1: none */
  GHashTable *journal; /* page number -> where its image is in the journal: uint64_t */
  uint32_t page_size;  /* all of it is used: ours reserve nothing at the end of a page */
  bool stopped;        /* the sink has had enough: `error` is set */
  IndexSalvage counts;
  uint8_t page[PAGE_MAX], overflow[PAGE_MAX], payload[PAYLOAD_MAX];
} Salvage;

/* Hands the record out if it is a row of ours. */
static bool
take_record (Salvage *self, SalvageKind kind, const SalvageRecord *record, uint64_t rowid,
             GError **error)
{
  g_auto (SalvageRow) row = {.kind = kind};
  if (!salvage_take (record, rowid, &row))
    return false;
  self->counts.rows++;
  if (self->sink != NULL && !self->sink (&row, self->data, error))
    self->stopped = true;
  return true;
}

/* ---- pages --------------------------------------------------------------------------------- */

/* Reads page `number` as the journal has it (`before`), else as the file has it. What lies behind
 * the end is zeros. */
static bool
read_page (Salvage *self, uint32_t number, bool before, uint8_t *out)
{
  const uint64_t *image =
      before ? g_hash_table_lookup (self->journal, GUINT_TO_POINTER (number)) : NULL;
  if (image != NULL)
    return pread (self->journal_fd, out, self->page_size, (off_t)*image) ==
           (ssize_t)self->page_size;
  sqlite3_int64 at = (sqlite3_int64)(number - 1) * self->page_size;
  int code = self->file->pMethods->xRead (self->file, out, (int)self->page_size, at);
  return code == SQLITE_OK || code == SQLITE_IOERR_SHORT_READ;
}

/* Puts together a payload that goes on in other pages (1.6, "overflow pages"). A chain is as long
 * as the payload needs, so it ends even if it runs in a ring. */
static bool
read_overflow (Salvage *self, const uint8_t *local, size_t local_size, uint64_t total, bool before)
{
  memcpy (self->payload, local, local_size);
  uint32_t next = (uint32_t)salvage_be (local + local_size, 4);
  for (uint64_t done = local_size; done < total;) {
    if (next < 2 || (uint64_t)(next - 1) * self->page_size >= self->size ||
        !read_page (self, next, before, self->overflow))
      return false;
    size_t part = MIN (total - done, self->page_size - 4);
    memcpy (self->payload + done, self->overflow + 4, part);
    done += part;
    next = (uint32_t)salvage_be (self->overflow, 4);
  }
  return true;
}

/* How much of a payload lies in its cell (1.6). */
static uint64_t
local_part (const Salvage *self, uint64_t total)
{
  uint64_t usable = self->page_size, most = usable - 35;
  if (total <= most)
    return total;
  uint64_t least = (usable - 12) * 32 / 255 - 23;
  uint64_t part = least + (total - least) % (usable - 4);
  return part <= most ? part : least;
}

/* Where the payload of a cell begins; NULL: this is no cell. */
static const uint8_t *
parse_cell (const Salvage *self, size_t at, uint64_t *out_total, uint64_t *out_rowid)
{
  const uint8_t *cell = self->page + at, *end = self->page + self->page_size;
  size_t used = salvage_varint (cell, end, out_total);
  size_t more = used > 0 ? salvage_varint (cell + used, end, out_rowid) : 0;
  if (more == 0 || *out_total == 0 || *out_total > INT32_MAX)
    return NULL;
  uint64_t local = local_part (self, *out_total);
  uint64_t tail = local < *out_total ? 4 : 0;
  cell += used + more;
  return local + tail <= (uint64_t)(end - cell) ? cell : NULL;
}

static bool
take_cell (Salvage *self, size_t at, bool before, GError **error)
{
  uint64_t total, rowid;
  const uint8_t *payload = parse_cell (self, at, &total, &rowid);
  if (payload == NULL)
    return false;
  size_t local = (size_t)local_part (self, total);
  SalvageRecord record;
  if (!salvage_parse (payload, local, total, &record))
    return false;
  /* Of a summary the digest suffices, which stands at its beginning; of the others everything is
   * wanted. */
  SalvageKind kind;
  if (!salvage_find_table (&record, &kind))
    return false;
  bool whole = local == total ||
               (total <= PAYLOAD_MAX && read_overflow (self, payload, local, total, before) &&
                salvage_parse (self->payload, total, total, &record));
  if (!whole && (kind != SALVAGE_SUMMARY || !salvage_parse (payload, local, total, &record)))
    return false;
  return take_record (self, kind, &record, rowid, error);
}

/* The rowid of the cell that a place in the array of pointers means; false: there is none. */
static bool
peek_rowid (const Salvage *self, const uint8_t *leaf, size_t cells, size_t index, uint64_t *out)
{
  uint64_t total;
  if (index >= cells)
    return false;
  size_t at = salvage_be (leaf + LEAF_HEADER + 2 * index, 2);
  return at + CELL_MIN <= self->page_size && parse_cell (self, at, &total, out) != NULL;
}

/* Cells stand in the order of their rowids. One that does not, while those around it do, has a
 * rotten rowid: its row would be taken for another message's. */
static bool
is_out_of_order (const Salvage *self, const uint8_t *leaf, size_t cells, size_t index)
{
  uint64_t left, own, right;
  bool has_left = index > 0 && peek_rowid (self, leaf, cells, index - 1, &left);
  bool has_right = peek_rowid (self, leaf, cells, index + 1, &right);
  if (!peek_rowid (self, leaf, cells, index, &own))
    return true;
  if (has_left && has_right && left >= right)
    return false; /* which of those is wrong shows when it is looked at itself */
  return (has_left && left >= own) || (has_right && own >= right);
}

/* Takes apart what self->page holds, if it is a leaf. */
static void
take_page (Salvage *self, uint32_t number, bool before, GError **error)
{
  const uint8_t *leaf = self->page + (number == 1 ? HEADER_SIZE : 0);
  size_t offset = (size_t)(leaf - self->page);
  size_t cells = salvage_be (leaf + 3, 2), first = salvage_be (leaf + 5, 2);
  size_t pointers_end = offset + LEAF_HEADER + 2 * cells;
  first = first == 0 ? PAGE_MAX : first;
  if (leaf[0] != LEAF || cells == 0 || pointers_end > self->page_size || first < pointers_end)
    return;
  uint64_t rows = self->counts.rows;
  for (size_t i = 0; i < cells && !self->stopped; i++) {
    size_t at = salvage_be (leaf + LEAF_HEADER + 2 * i, 2);
    if (at < pointers_end || at + CELL_MIN > self->page_size ||
        is_out_of_order (self, leaf, cells, i) || !take_cell (self, at, before, error))
      self->counts.refused++;
  }
  self->counts.leaves += self->counts.rows > rows;
}

/* ---- the journal (3) ----------------------------------------------------------------------- */

/* The checksum that follows a page in the journal. */
static bool
is_whole (const uint8_t *page, uint32_t size, uint32_t nonce, uint32_t sum)
{
  for (uint32_t at = size - 200; at > 0 && at < size; at -= 200)
    nonce += page[at];
  return nonce == sum;
}

/* Remembers the pages of one segment; returns where it ends, 0 when it is not whole. */
static uint64_t
note_segment (Salvage *self, uint64_t at, uint64_t end, uint32_t count, uint32_t nonce)
{
  uint64_t record = 8 + (uint64_t)self->page_size;
  for (uint32_t i = 0; i < count; i++, at += record) {
    uint8_t number[4], sum[4];
    if (at + record > end || g_hash_table_size (self->journal) >= JOURNAL_PAGES_MAX ||
        pread (self->journal_fd, number, 4, (off_t)at) != 4 ||
        pread (self->journal_fd, self->page, self->page_size, (off_t)at + 4) !=
            (ssize_t)self->page_size ||
        pread (self->journal_fd, sum, 4, (off_t)(at + record) - 4) != 4 ||
        !is_whole (self->page, self->page_size, nonce, (uint32_t)salvage_be (sum, 4)))
      return 0;
    gpointer key = GUINT_TO_POINTER ((uint32_t)salvage_be (number, 4));
    uint64_t image = at + 4;
    /* The first image of a page is the one from before the transaction. */
    if (key != NULL && !g_hash_table_contains (self->journal, key))
      g_hash_table_insert (self->journal, key, g_memdup2 (&image, sizeof image));
  }
  return at;
}

/* Reads a segment's header; false: there is none. */
static bool
read_journal_header (int fd, uint64_t at, uint32_t out[5])
{
  static const uint8_t magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
  uint8_t header[JOURNAL_HEADER];
  if (pread (fd, header, sizeof header, (off_t)at) != (ssize_t)sizeof header ||
      memcmp (header, magic, sizeof magic) != 0)
    return false;
  for (size_t i = 0; i < 5; i++)
    out[i] = (uint32_t)salvage_be (header + 8 + 4 * i, 4);
  return true;
}

enum { JOURNAL_COUNT, JOURNAL_NONCE, JOURNAL_PAGES, JOURNAL_SECTOR, JOURNAL_PAGE_SIZE };

static void
note_journal (Salvage *self)
{
  struct stat st;
  uint32_t header[5];
  g_hash_table_remove_all (self->journal);
  if (self->journal_fd < 0 || fstat (self->journal_fd, &st) < 0)
    return;
  uint64_t end = (uint64_t)st.st_size;
  for (uint64_t at = 0; read_journal_header (self->journal_fd, at, header);) {
    uint32_t sector = header[JOURNAL_SECTOR];
    if (header[JOURNAL_PAGE_SIZE] != self->page_size || sector < 32 || sector > PAGE_MAX)
      return;
    uint64_t records = at + sector;
    uint32_t count = header[JOURNAL_COUNT];
    if (count == UINT32_MAX && records < end)
      count = (uint32_t)MIN ((end - records) / (8 + self->page_size), UINT32_MAX - 1);
    at = note_segment (self, records, end, count, header[JOURNAL_NONCE]);
    at = (at + sector - 1) / sector * sector;
    if (at == 0 || count == 0)
      return;
  }
}

/* ---- the whole file ------------------------------------------------------------------------ */

/* Reads everything as pages of that size. Returns false when the sink stopped it. */
static bool
read_all (Salvage *self, uint32_t page_size, GError **error)
{
  self->page_size = page_size;
  self->counts = (IndexSalvage){0};
  note_journal (self);
  g_autoptr (GList) noted = g_hash_table_get_keys (self->journal);
  for (GList *link = noted; link != NULL && !self->stopped; link = link->next) {
    if (read_page (self, GPOINTER_TO_UINT (link->data), true, self->page))
      take_page (self, GPOINTER_TO_UINT (link->data), true, error);
  }
  uint64_t pages = (self->size + page_size - 1) / page_size;
  for (uint32_t number = 1; number <= MIN (pages, UINT32_MAX - 1) && !self->stopped; number++) {
    bool replaced = g_hash_table_contains (self->journal, GUINT_TO_POINTER (number));
    self->counts.pages++;
    if (read_page (self, number, false, self->page))
      take_page (self, number, !replaced, error);
    else
      self->counts.unread++;
  }
  return !self->stopped;
}

/* The page size with which most rows are found, without handing them out. */
static uint32_t
guess_page_size (Salvage *self)
{
  SalvageSink sink = self->sink;
  uint32_t best = PAGE_USUAL;
  uint64_t rows = 0;
  self->sink = NULL;
  for (uint32_t size = PAGE_MIN; size <= PAGE_MAX; size *= 2) {
    read_all (self, size, NULL);
    if (self->counts.rows > rows) {
      rows = self->counts.rows;
      best = size;
    }
  }
  self->sink = sink;
  return best;
}

/* What the header says is believed when it says what ours do. */
static bool
read_file (Salvage *self, GError **error)
{
  uint8_t header[HEADER_SIZE];
  int code = self->file->pMethods->xRead (self->file, header, HEADER_SIZE, 0);
  bool usual = code == SQLITE_OK && memcmp (header, "SQLite format 3", 16) == 0 &&
               salvage_be (header + PAGE_SIZE_AT, 2) == PAGE_USUAL;
  return read_all (self, usual ? PAGE_USUAL : guess_page_size (self), error);
}

/* A file that can be read page by page; anything else is named. */
static bool
check_file (const char *path, GError **error)
{
  struct stat st;
  if (lstat (path, &st) < 0)
    return fail_errno (error, "%s", path);
  if (S_ISLNK (st.st_mode))
    return fail (error, ELOOP, "%s: is a symbolic link", path);
  if (S_ISDIR (st.st_mode))
    return fail (error, EISDIR, "%s: is a directory", path);
  return S_ISREG (st.st_mode) || fail (error, EUCLEAN, "%s: is no regular file", path);
}

/* Through SQLite's own functions: it knows of our other descriptors of the file, and closing this
 * one does not drop their locks. */
static bool
open_file (Salvage *self, const char *name, GError **error)
{
  sqlite3_vfs *vfs = sqlite3_vfs_find (NULL);
  sqlite3_int64 size = 0;
  self->file = g_malloc0 ((gsize)vfs->szOsFile);
  int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_NOFOLLOW;
  if (vfs->xOpen (vfs, name, self->file, flags, NULL) != SQLITE_OK)
    return fail (error, access (name, R_OK) < 0 ? errno : EIO, "%s: cannot be opened", name);
  if (self->file->pMethods->xFileSize (self->file, &size) != SQLITE_OK)
    return fail (error, EIO, "%s: its size cannot be read", name);
  self->size = (uint64_t)size;
  return true;
}

static void
salvage_free (Salvage *self)
{
  if (self->file != NULL && self->file->pMethods != NULL)
    self->file->pMethods->xClose (self->file);
  if (self->journal_fd >= 0)
    close (self->journal_fd);
  g_hash_table_unref (self->journal);
  g_free (self->file);
  g_free (self);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Salvage, salvage_free)

typedef const char Filename;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Filename, sqlite3_free_filename)

bool
salvage_read (const char *path, SalvageSink sink, void *data, IndexSalvage *out, GError **error)
{
  if (!check_file (path, error))
    return false;
  g_autofree char *journal = g_strconcat (path, "-journal", NULL);
  g_autoptr (Filename) name = sqlite3_create_filename (path, journal, "", 0, NULL);
  g_autoptr (Salvage) self = g_new0 (Salvage, 1);
  self->sink = sink;
  self->data = data;
  self->path = path;
  self->journal_fd = open (journal, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  self->journal = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  if (!open_file (self, name, error) || !read_file (self, error))
    return false;
  if (out != NULL)
    *out = self->counts;
  return true;
}
