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
#include "index/journal.h"

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

  JOURNAL_PAGES_MAX = 1 << 20, /* that are remembered: 8 GiB of ours */
};

typedef struct {
  SalvageSink sink; /* NULL: only count */
  void *data;
  const char *path;
  sqlite3_file *file;
  uint64_t size;
  int holes_fd;        /* tells where the file has holes; -1: nobody does */
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

/* ---- the journal --------------------------------------------------------------------------- */

/* Remembers where the image of a page is. The first one is that from before the transaction. */
static bool
note_image (uint32_t number, const uint8_t *image, uint64_t at, void *data)
{
  Salvage *self = data;
  gpointer key = GUINT_TO_POINTER (number);
  if (!g_hash_table_contains (self->journal, key))
    g_hash_table_insert (self->journal, key, g_memdup2 (&at, sizeof at));
  return g_hash_table_size (self->journal) < JOURNAL_PAGES_MAX;
}

static void
note_journal (Salvage *self)
{
  JournalFacts facts;
  g_hash_table_remove_all (self->journal);
  journal_read (self->journal_fd, self->page_size, note_image, self, &facts);
}

/* ---- the whole file ------------------------------------------------------------------------ */

/* The next page from `number` on that is no hole: a file may say that it is larger than any disk.
 */
static uint64_t
next_page (const Salvage *self, uint64_t number)
{
  off_t at = (off_t)((number - 1) * self->page_size);
  off_t data = self->holes_fd >= 0 ? lseek (self->holes_fd, at, SEEK_DATA) : at;
  if (data < 0 && errno == ENXIO)
    return UINT64_MAX;
  return data > at ? (uint64_t)data / self->page_size + 1 : number;
}

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
  pages = MIN (pages, UINT32_MAX - 1);
  for (uint64_t at = next_page (self, 1); at <= pages && !self->stopped;
       at = next_page (self, at + 1)) {
    uint32_t number = (uint32_t)at;
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
  self->file = g_malloc0 ((gsize)vfs->szOsFile);
  int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_NOFOLLOW;
  return vfs->xOpen (vfs, name, self->file, flags, NULL) == SQLITE_OK ||
         fail (error, access (name, R_OK) < 0 ? errno : EIO, "%s: cannot be opened", name);
}

/* ---- evidence, which is read through a descriptor ------------------------------------------- */

typedef struct {
  sqlite3_file base;
  int fd; /* the caller's */
} EvidenceFile;

static int
close_evidence (sqlite3_file *file)
{
  return SQLITE_OK;
}

static int
read_evidence (sqlite3_file *file, void *out, int size, sqlite3_int64 at)
{
  ssize_t got = pread (((EvidenceFile *)file)->fd, out, (size_t)size, at);
  if (got < 0)
    return SQLITE_IOERR_READ;
  memset ((char *)out + got, 0, (size_t)(size - got));
  return got == size ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int
size_evidence (sqlite3_file *file, sqlite3_int64 *out)
{
  struct stat st;
  if (fstat (((EvidenceFile *)file)->fd, &st) < 0)
    return SQLITE_IOERR_FSTAT;
  *out = st.st_size;
  return SQLITE_OK;
}

static sqlite3_file *
open_evidence (int fd)
{
  static const sqlite3_io_methods methods = {
      .iVersion = 1,
      .xClose = close_evidence,
      .xRead = read_evidence,
      .xFileSize = size_evidence,
  };
  EvidenceFile *file = g_new0 (EvidenceFile, 1);
  *file = (EvidenceFile){.base.pMethods = &methods, .fd = fd};
  return &file->base;
}

/* ---- the calls ------------------------------------------------------------------------------ */

/* `journal_fd` becomes its own. */
static Salvage *
salvage_new (const char *name, int journal_fd, SalvageSink sink, void *data)
{
  Salvage *self = g_new0 (Salvage, 1);
  self->sink = sink;
  self->data = data;
  self->path = name;
  self->holes_fd = -1;
  self->journal_fd = journal_fd;
  self->journal = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  return self;
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

/* The file is open. */
static bool
run (Salvage *self, IndexSalvage *out, GError **error)
{
  sqlite3_int64 size = 0;
  if (self->file->pMethods->xFileSize (self->file, &size) != SQLITE_OK)
    return fail (error, EIO, "%s: its size cannot be read", self->path);
  self->size = (uint64_t)size;
  if (!read_file (self, error))
    return false;
  if (out != NULL)
    *out = self->counts;
  return true;
}

typedef const char Filename;
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Filename, sqlite3_free_filename)

bool
salvage_read (const char *path, SalvageSink sink, void *data, IndexSalvage *out, GError **error)
{
  if (!check_file (path, error))
    return false;
  g_autofree char *journal = g_strconcat (path, "-journal", NULL);
  g_autoptr (Filename) name = sqlite3_create_filename (path, journal, "", 0, NULL);
  int journal_fd = open (journal, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  g_autoptr (Salvage) self = salvage_new (path, journal_fd, sink, data);
  return open_file (self, name, error) && run (self, out, error);
}

bool
salvage_read_evidence (const IndexEvidence *from, SalvageSink sink, void *data, IndexSalvage *out,
                       GError **error)
{
  int journal = from->journal >= 0 ? fcntl (from->journal, F_DUPFD_CLOEXEC, 0) : -1;
  g_autoptr (Salvage) self = salvage_new (from->name, journal, sink, data);
  self->file = open_evidence (from->file);
  self->holes_fd = from->file;
  return run (self, out, error);
}
