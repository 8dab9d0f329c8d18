/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases as evidence: a copy of each is opened, in memory or in a file without a name, and
 * SQLite never sees the files themselves. What a crash left beside them is dealt with here as
 * SQLite would, but in the copy.
 */
#include "index/journal.h"
#include "index/salvage.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  CHUNK = 65536, /* what is read at once, */
  BLOCK = 4096,  /* and where that fails */
  WRITE_VERSION_AT = 18,
  READ_VERSION_AT = 19,
};

/* The largest copy that is made; of what is larger the rows are salvaged. */
#define MEMORY_MAX (UINT64_C (1) << 30)
#define FILE_MAX   (UINT64_C (1) << 36)

typedef struct {
  const IndexEvidence *from;
  int fd;      /* of the copy */
  void *image; /* mapped; NULL: not, or given away */
  uint64_t size;
  uint64_t budget;    /* what it takes of the memory that there may be for copies */
  uint32_t page_size; /* of what is being put into it */
  uint64_t unread;    /* bytes */
  uint64_t pages;     /* that were put back where a write was interrupted */
  uint64_t commits;   /* taken from a log */
  int failure;        /* errno of a write that failed; 0: none did */
} Copy;

static void
copy_clear (Copy *self)
{
  if (self->image != NULL)
    munmap (self->image, self->size);
  if (self->fd >= 0)
    close (self->fd);
  budget_give (self->budget);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Copy, copy_clear)

/* ---- files without a name -------------------------------------------------------------------- */

/* A name in `workdir`, and the empty file of that name. */
static int
make_named (const char *workdir, char **out_path)
{
  g_autofree char *path = g_build_filename (workdir, "mailfs-XXXXXX", NULL);
  int fd = g_mkstemp_full (path, O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0)
    *out_path = g_steal_pointer (&path);
  return fd;
}

static int
make_file (const char *workdir)
{
  if (workdir == NULL)
    return memfd_create ("mailfs-evidence", MFD_CLOEXEC);
  int fd = open (workdir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0)
    return fd;
  g_autofree char *path = NULL;
  fd = make_named (workdir, &path);
  if (fd >= 0)
    unlink (path);
  return fd;
}

/* ---- the copy -------------------------------------------------------------------------------- */

static uint64_t
most (const Copy *self)
{
  return self->from->workdir != NULL ? FILE_MAX : MEMORY_MAX;
}

static bool
put (Copy *self, const uint8_t *bytes, size_t size, uint64_t at)
{
  for (size_t done = 0; done < size;) {
    ssize_t written = pwrite (self->fd, bytes + done, size - done, (off_t)(at + done));
    if (written < 0 && errno == EINTR)
      continue;
    if (written <= 0) {
      self->failure = written < 0 ? errno : EIO;
      return false;
    }
    done += (size_t)written;
  }
  return true;
}

/* Copies a part of the file, block by block where it cannot be read; what is unread stays zeros. */
static bool
copy_part (Copy *self, uint64_t at, size_t size, size_t step)
{
  uint8_t bytes[CHUNK];
  for (size_t done = 0; done < size; done += step) {
    size_t part = MIN (step, size - done);
    ssize_t got = pread (self->from->file, bytes, part, (off_t)(at + done));
    if (got < 0 && step > BLOCK) {
      if (!copy_part (self, at + done, part, BLOCK))
        return false;
    } else if (got < 0) {
      self->unread += part;
    } else if (!put (self, bytes, (size_t)got, at + done)) {
      return false;
    }
  }
  return true;
}

/* Holes stay holes, however large a file says that it is. */
static bool
copy_file (Copy *self)
{
  for (uint64_t at = 0; at < self->size; at += CHUNK) {
    off_t data = lseek (self->from->file, (off_t)at, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
      return true;
    at = data > 0 ? (uint64_t)data / CHUNK * CHUNK : at;
    if (at < self->size && !copy_part (self, at, MIN (CHUNK, self->size - at), CHUNK))
      return false;
  }
  return true;
}

/* A JournalFunc. */
static bool
put_page (uint32_t page, const uint8_t *image, uint64_t at, void *data)
{
  Copy *self = data;
  uint64_t place = (uint64_t)(page - 1) * self->page_size;
  self->pages++;
  return place >= most (self) || put (self, image, self->page_size, place);
}

/* What came of it has as many pages as the journal or the log says. */
static bool
cut (Copy *self, const JournalFacts *facts)
{
  uint64_t size = (uint64_t)facts->pages * facts->page_size;
  if (self->failure != 0 || size > most (self) || ftruncate (self->fd, (off_t)size) < 0)
    return false;
  self->size = size;
  return true;
}

/* The page size has to be known before the first page comes: journals and logs begin with it. */
static uint32_t
page_size_of (int fd, off_t at)
{
  uint8_t bytes[4];
  return fd >= 0 && pread (fd, bytes, 4, at) == 4 ? (uint32_t)salvage_be (bytes, 4) : 0;
}

/* Takes back what was never committed, and adds what was committed to a log. */
static bool
apply_journals (Copy *self)
{
  const IndexEvidence *from = self->from;
  JournalFacts facts;
  self->page_size = page_size_of (from->journal, 24);
  if (from->journal >= 0 && journal_read (from->journal, 0, put_page, self, &facts) &&
      !cut (self, &facts))
    return false;
  uint64_t undone = self->pages;
  self->page_size = page_size_of (from->log, 8);
  if (from->log >= 0 && log_read (from->log, put_page, self, &facts)) {
    self->commits = facts.commits;
    if (!cut (self, &facts))
      return false;
  }
  self->pages = undone;
  return true;
}

/* A database in WAL mode is opened with a log and an index of that; ours has neither. */
static bool
leave_log_mode (Copy *self)
{
  static const uint8_t rollback[2] = {1, 1};
  uint8_t versions[2];
  if (pread (self->fd, versions, 2, WRITE_VERSION_AT) != 2 || versions[0] != 2 || versions[1] != 2)
    return true;
  return put (self, rollback, sizeof rollback, WRITE_VERSION_AT);
}

/* A journal or a log may make it larger than the file was. */
static bool
take_budget (Copy *self, GError **error)
{
  uint64_t more = self->size > self->budget ? self->size - self->budget : 0;
  if (self->from->workdir != NULL || more == 0)
    return true;
  if (!budget_take (self->from->name, more, error))
    return false;
  self->budget += more;
  return true;
}

static bool
make_copy (const IndexEvidence *from, Copy *self, GError **error)
{
  struct stat st;
  if (from->file < 0)
    return fail (error, ENOENT, "%s: %s", from->name, g_strerror (ENOENT));
  if (fstat (from->file, &st) < 0)
    return fail_errno (error, "%s", from->name);
  self->size = (uint64_t)st.st_size;
  if (self->size > most (self))
    return fail (error, EFBIG, "%s: %s", from->name, g_strerror (EFBIG));
  if (!take_budget (self, error))
    return false;
  self->fd = make_file (from->workdir);
  if (self->fd < 0 || ftruncate (self->fd, st.st_size) < 0)
    return fail_errno (error, "%s: make a copy", from->name);
  if (copy_file (self) && apply_journals (self) && leave_log_mode (self))
    return take_budget (self, error);
  return self->failure != 0 ? fail (error, self->failure, "%s: write a copy: %s", from->name,
                                    g_strerror (self->failure))
                            : fail (error, EUCLEAN, "%s: its journal makes no sense", from->name);
}

static void add_note (GString *note, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
add_note (GString *note, const char *format, ...)
{
  va_list arguments;
  va_start (arguments, format);
  g_string_append (note, note->len > 0 ? "; " : "");
  g_string_append_vprintf (note, format, arguments);
  va_end (arguments);
}

static void
note_copy (const Copy *self, GString *note)
{
  if (self->unread > 0)
    add_note (note, "%" G_GUINT64_FORMAT " bytes cannot be read", self->unread);
  if (self->pages > 0)
    add_note (note, "an interrupted write is undone, %" G_GUINT64_FORMAT " page%s", self->pages,
              self->pages > 1 ? "s" : "");
  if (self->commits > 0)
    add_note (note, "%" G_GUINT64_FORMAT " commit%s taken from its log", self->commits,
              self->commits > 1 ? "s are" : " is");
}

static char *
end_note (const IndexEvidence *from, const GString *note)
{
  return note->len > 0 ? g_strdup_printf ("%s: %s", from->name, note->str) : NULL;
}

/* Makes a copy and maps it, which outlives its descriptor. */
static bool
map_copy (const IndexEvidence *from, Copy *self, GString *note, GError **error)
{
  if (!make_copy (from, self, error))
    return false;
  note_copy (self, note);
  if (self->size == 0)
    return fail (error, ENOENT, "%s: nothing is in it", from->name);
  void *image = mmap (NULL, self->size, PROT_READ, MAP_SHARED, self->fd, 0);
  if (image == MAP_FAILED)
    return fail_errno (error, "%s: map a copy", from->name);
  self->image = image;
  return true;
}

static bool
open_copy (Copy *self, Db *db, const Schema *schema, GError **error)
{
  void *image = g_steal_pointer (&self->image);
  db->budget = self->budget;
  self->budget = 0;
  return db_open_image (db, schema, self->from->name, image, self->size, error) &&
         db_verify (db, error);
}

/* ---- the queue ------------------------------------------------------------------------------- */

Queue *
queue_open_evidence (const IndexEvidence *from, char **out_note, GError **error)
{
  g_auto (Copy) copy = {.from = from, .fd = -1};
  g_autoptr (GString) note = g_string_new (NULL);
  if (!map_copy (from, &copy, note, error))
    return NULL;
  g_autoptr (Queue) self = g_new0 (Queue, 1);
  if (!open_copy (&copy, &self->db, &queue_schema, error))
    return NULL;
  *out_note = end_note (from, note);
  return g_steal_pointer (&self);
}

/* ---- what is left of what is damaged --------------------------------------------------------- */

/* A database for rows that are salvaged. One in a file is needed by its name until they are in it.
 */
static Index *
open_scratch (const char *workdir, char **out_path, GError **error)
{
  if (workdir == NULL)
    return index_open (NULL, 0, error);
  int fd = make_named (workdir, out_path);
  if (fd < 0) {
    fail_errno (error, "make a file in %s", workdir);
    return NULL;
  }
  close (fd);
  return index_open (*out_path, INDEX_CREATE, error);
}

static void
unlink_scratch (const char *path)
{
  g_autofree char *journal = path != NULL ? g_strconcat (path, "-journal", NULL) : NULL;
  if (path == NULL)
    return;
  unlink (path);
  unlink (journal);
}

static bool
has_content (int fd)
{
  struct stat st;
  return fd >= 0 && fstat (fd, &st) == 0 && st.st_size > 0;
}

/* Rows of one database: of what is there, and of what it would be with what lies beside it. Of
 * several versions the newest stays. Most rows are in both, and count once. */
static bool
salvage_one (Index *self, const IndexEvidence *from, uint64_t *rows, GError **error)
{
  IndexSalvage counts = {0}, with = {0};
  if (from->file < 0)
    return true;
  if (!index_salvage_evidence (self, from, &counts, error))
    return false;
  g_auto (Copy) copy = {.from = from, .fd = -1};
  if ((has_content (from->journal) || has_content (from->log)) && make_copy (from, &copy, NULL)) {
    IndexEvidence whole = {.name = from->name, .file = copy.fd, .journal = -1, .log = -1};
    if (!index_salvage_evidence (self, &whole, &with, error))
      return false;
  }
  *rows += MAX (counts.rows, with.rows);
  return true;
}

/* How much can be salvaged of a file; what it says that it has, and is not there, is nothing. */
static uint64_t
content_of (int fd)
{
  struct stat st;
  return fd >= 0 && fstat (fd, &st) == 0 ? MIN ((uint64_t)st.st_size, (uint64_t)st.st_blocks * 512)
                                         : 0;
}

/* In memory the rows take no more than what they are salvaged from. */
static bool
take_scratch_budget (Index *self, const IndexEvidence *from, size_t count, GError **error)
{
  uint64_t size = 0;
  for (size_t i = 0; i < count; i++)
    size += content_of (from[i].file) + content_of (from[i].journal) + content_of (from[i].log);
  if (count == 0 || !budget_take (from[0].name, size, error))
    return count == 0;
  self->db.budget = size;
  return true;
}

/* `in_use` as in index_gather(). */
static Index *
salvage_all (const char *in_use, const IndexEvidence *from, size_t count, const char *workdir,
             uint64_t *out_rows, GError **error)
{
  g_autofree char *path = NULL;
  g_autoptr (Index) self = open_scratch (workdir, &path, error);
  IndexSalvage counts;
  bool good = self != NULL && (workdir != NULL || take_scratch_budget (self, from, count, error)) &&
              (in_use == NULL || index_salvage (self, in_use, &counts, error));
  for (size_t i = 0; i < count && good; i++)
    good = salvage_one (self, &from[i], out_rows, error);
  unlink_scratch (path);
  if (good)
    self->salvaged = true;
  return good ? g_steal_pointer (&self) : NULL;
}

bool
index_is_salvaged (const Index *self)
{
  return self->salvaged;
}

Index *
index_gather (const char *in_use, const IndexEvidence *from, size_t count, const char *workdir,
              GError **error)
{
  uint64_t rows = 0;
  return salvage_all (in_use, from, count, workdir, &rows, error);
}

/* ---- the mailbox list ------------------------------------------------------------------------ */

static List *
open_list (const IndexEvidence *from, GString *note, GError **error)
{
  g_auto (Copy) copy = {.from = from, .fd = -1};
  if (!map_copy (from, &copy, note, error))
    return NULL;
  g_autoptr (List) self = g_new0 (List, 1);
  return open_copy (&copy, &self->db, &list_schema, error) && list_verify (self, error)
             ? g_steal_pointer (&self)
             : NULL;
}

List *
list_open_evidence (const IndexEvidence *from, char **out_note, GError **error)
{
  g_autoptr (GString) note = g_string_new (NULL);
  g_autoptr (GError) failure = NULL;
  g_autoptr (List) self = open_list (from, note, &failure);
  IndexSalvage counts = {0};
  if (self == NULL && from->file >= 0 && failure->code != ENOMEM) {
    self = list_open (NULL, 0, error);
    if (self == NULL || !list_salvage_evidence (self, from, &counts, error))
      return NULL;
    add_note (note, "it is damaged; %" G_GUINT64_FORMAT " rows of all its tables are salvaged",
              counts.rows);
  }
  if (self == NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  *out_note = end_note (from, note);
  return g_steal_pointer (&self);
}

/* ---- the index ------------------------------------------------------------------------------- */

static Index *
open_index (const IndexEvidence *from, GString *note, GError **error)
{
  g_auto (Copy) copy = {.from = from, .fd = -1};
  if (!map_copy (from, &copy, note, error))
    return NULL;
  g_autoptr (Index) self = g_new0 (Index, 1);
  return open_copy (&copy, &self->db, &index_schema, error) ? g_steal_pointer (&self) : NULL;
}

Index *
index_open_evidence (const IndexEvidence *from, size_t count, char **out_note, GError **error)
{
  g_autoptr (GString) note = g_string_new (NULL);
  g_autoptr (GError) failure = NULL;
  g_autoptr (Index) self = count == 1 ? open_index (from, note, &failure) : NULL;
  bool fits = failure == NULL || failure->code != ENOMEM;
  if (self == NULL && fits && (count > 1 || from->file >= 0)) {
    uint64_t rows = 0;
    self = salvage_all (NULL, from, count, from->workdir, &rows, error);
    if (self == NULL)
      return NULL;
    if (rows == 0 && failure == NULL)
      fail (&failure, EUCLEAN, "%s: nothing is left in it", from->name);
    if (rows == 0)
      g_clear_pointer (&self, index_close);
    add_note (note, "%s; %" G_GUINT64_FORMAT " rows of all its tables are salvaged",
              failure != NULL ? "it is damaged" : "older ones lie beside it", rows);
  }
  if (self == NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  *out_note = end_note (from, note);
  return g_steal_pointer (&self);
}
