/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mbox.c - an mbox file, or a directory tree of them: a mailbox each, under the file's name without
 * ".mbox" (and ".sbd" for directories). A single file is the INBOX.
 *
 * A message is exactly the bytes after its From_ line up to the blank line before the next one, or
 * before the end of the file (mboxscan.c). The variants of the format differ in what they do to
 * lines inside a message that begin with "From ":
 *
 *   mboxo    puts ">" before "From ", nothing before ">From ". What was there before cannot be
 * told, so the bytes stay as they are. mboxrd   puts ">" before "From ", ">From ", ">>From " and so
 * on, which can be undone exactly. But no file says that it is one, and undoing it in an mboxo
 * would damage messages. So it is done only in files *.mboxrd and when the caller asks for the
 * format "mboxrd". mboxcl2  leaves them and says in Content-Length how long the body is. Such a
 * length is believed when a From_ line or the end of the file follows there.
 *
 * The internal date is that of the From_ line, else the Date: header, else the file's mtime. Flags,
 * keywords and UIDs come out of the header (status.c), which stays part of the message.
 */
#include "store/formats/reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define MESSAGE_MAX (UINT64_C (1) << 30)

typedef struct {
  Source base;
  bool unquote; /* the caller asked for mboxrd */
  char *file;   /* when the source is one file */
  guint folder; /* number of the next one */

  /* The file that is being read: */
  int fd;
  struct stat st;
  MboxScan scan;
  bool is_scanned; /* scan has a message that was not given out */
  uint64_t number; /* of that message, from 1 on */
  uint32_t last_uid, previous_uid;
  char *where;
} Mbox;

static void
strip_suffix (char *name, const char *suffix)
{
  size_t length = strlen (name), size = strlen (suffix);
  if (length > size && g_ascii_strcasecmp (name + length - size, suffix) == 0)
    name[length - size] = '\0';
}

static char **
folder_levels (const char *path)
{
  char **levels = g_strsplit (path, "/", -1);
  guint last = g_strv_length (levels) - 1;
  for (guint i = 0; i < last; i++)
    strip_suffix (levels[i], ".sbd");
  strip_suffix (levels[last], ".mbox");
  strip_suffix (levels[last], ".mboxrd");
  return levels;
}

/* Adds a file as a folder. Takes `levels` over. */
static bool
add_file (Source *base, int directory_fd, const char *name, const char *path, char **levels,
          GError **error)
{
  g_auto (GStrv) owned = levels;
  struct stat st;
  auto_fd fd = source_open_file (directory_fd, name, &st, error);
  if (fd < 0)
    return false;
  bool is_mbox = false;
  if (!mbox_scan_is_mbox (fd, &is_mbox, error))
    return fail_prefix (error, "%s", name);
  if (!is_mbox)
    return fail (error, EINVAL, "no mbox");
  source_add_folder (base, path, g_steal_pointer (&owned), (uint64_t)st.st_size);
  return true;
}

static bool
visit_directory (Source *base, int directory_fd, const char *path, GPtrArray *entries,
                 GError **error)
{
  for (guint i = 0; i < entries->len; i++) {
    SourceEntry *entry = g_ptr_array_index (entries, i);
    if (entry->name[0] == '.') /* indexes and settings of other programs */
      entry->type = DT_UNKNOWN;
    if (entry->type != DT_REG)
      continue;
    g_autoptr (GError) reason = NULL;
    g_autofree char *below =
        *path == '\0' ? g_strdup (entry->name) : g_strdup_printf ("%s/%s", path, entry->name);
    if (add_file (base, directory_fd, entry->name, below, folder_levels (below), &reason))
      continue;
    if (error_code (reason) == EINVAL)
      source_warn (base->warnings, "%s/%s: left out: %s", base->root, below, reason->message);
    else
      source_lose (base, below, reason->message);
  }
  return true;
}

static Source *
open_source (const char *path, bool unquote, GPtrArray *warnings, GError **error)
{
  Mbox *self = g_new0 (Mbox, 1);
  self->fd = -1;
  self->unquote = unquote;
  mbox_scan_init (&self->scan);
  bool ok = source_open_root (&self->base, path, "bytes", warnings, &self->file, error);
  if (ok && self->file != NULL)
    ok = add_file (&self->base, self->base.fd, self->file, self->file,
                   g_strsplit ("INBOX", "/", -1), error) ||
         fail_prefix (error, "%s", path);
  else
    ok = ok && source_walk (&self->base, visit_directory, error);
  if (ok)
    return &self->base;
  source_mbox.close (&self->base);
  return NULL;
}

static Source *
mbox_open (const char *path, GPtrArray *warnings, GError **error)
{
  return open_source (path, false, warnings, error);
}

static Source *
mboxrd_open (const char *path, GPtrArray *warnings, GError **error)
{
  return open_source (path, true, warnings, error);
}

static void
mbox_close (Source *base)
{
  Mbox *self = (Mbox *)base;
  store_close_fd (&self->fd);
  source_clear (base);
  mbox_scan_clear (&self->scan);
  g_free (self->file);
  g_free (self->where);
  g_free (self);
}

static const SourceFolder *
current_folder (const Mbox *self)
{
  return g_ptr_array_index (self->base.folders, self->folder - 1);
}

static void
set_where (Mbox *self)
{
  g_free (self->where);
  self->where = g_strdup_printf ("%s/%s: message %" PRIu64 " at byte %" PRIu64, self->base.root,
                                 current_folder (self)->path, self->number, self->scan.begin);
}

/* ---- files ----------------------------------------------------------------------------------- */

static int
open_folder (Mbox *self, const SourceFolder *folder, GError **error)
{
  if (self->file != NULL)
    return source_open_file (self->base.fd, self->file, &self->st, error);
  g_autofree char *parent = g_path_get_dirname (folder->path);
  g_autofree char *name = g_path_get_basename (folder->path);
  auto_fd fd = source_open_directory (self->base.fd, parent, error);
  return fd < 0 ? -1 : source_open_file (fd, name, &self->st, error);
}

/* Goes to the next message, if there is one. */
static bool
scan_next (Mbox *self, GError **error)
{
  bool end = false;
  if (!mbox_scan_next (&self->scan, &end, error))
    return false;
  self->is_scanned = !end;
  self->number += !end;
  return true;
}

/* Whether the message is no mail but where c-client keeps what belongs to the folder. */
static bool
is_internal (const Mbox *self)
{
  const MboxStatus *status = &self->scan.status;
  return self->number == 1 && status->uidvalidity != 0 && status->has_internal_from &&
         status->has_internal_subject;
}

/* Opens the next file and looks at its first message, which says what is known of the folder. */
static void
begin_file (Mbox *self, SourceMessage *out)
{
  const SourceFolder *folder = g_ptr_array_index (self->base.folders, self->folder++);
  const MboxStatus *status = &self->scan.status;
  g_autoptr (GError) reason = NULL;
  bool is_mboxrd = self->unquote || g_str_has_suffix (folder->path, ".mboxrd");
  self->base.done += folder->weight;
  self->number = 0;
  self->last_uid = self->previous_uid = 0;
  *out = (SourceMessage){.kind = SOURCE_FOLDER, .folder = (const char *const *)folder->levels};
  self->fd = open_folder (self, folder, &reason);
  if (self->fd < 0 ||
      !mbox_scan_begin (&self->scan, self->fd, (uint64_t)self->st.st_size, is_mboxrd, &reason) ||
      !scan_next (self, &reason))
    source_lose (&self->base, folder->path, reason->message);
  if (!self->is_scanned || status->uidvalidity == 0)
    return;
  self->last_uid = status->last_uid;
  out->uidvalidity = status->uidvalidity;
  out->uidnext = status->last_uid + 1;
  if (!is_internal (self))
    return;
  set_where (self);
  source_warn (self->base.warnings, "%s: left out: no mail, but the folder's internal data",
               self->where);
  self->is_scanned = false;
}

static void
end_file (Mbox *self)
{
  struct stat now;
  if (self->fd < 0)
    return;
  const char *path = current_folder (self)->path;
  if (self->scan.quoted > 0 && !self->scan.is_mboxrd)
    source_warn (self->base.warnings,
                 "%s/%s: %" PRIu64 " lines begin with '>From '; they stay as they are, unless read "
                 "as mboxrd",
                 self->base.root, path, self->scan.quoted);
  if (fstat (self->fd, &now) == 0 &&
      (now.st_size != self->st.st_size || now.st_mtim.tv_sec != self->st.st_mtim.tv_sec ||
       now.st_mtim.tv_nsec != self->st.st_mtim.tv_nsec))
    source_warn (self->base.warnings, "%s/%s: changed while it was read", self->base.root, path);
  store_close_fd (&self->fd);
  self->fd = -1;
  self->scan.has_next = false;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Takes one '>' off every quoted line. Returns the new size. */
static size_t
unquote_lines (char *bytes, size_t size, char delimiter)
{
  size_t out = 0;
  for (size_t in = 0; in < size;) {
    const char *end = memchr (bytes + in, delimiter, size - in);
    size_t length = end != NULL ? (size_t)(end - bytes) + 1 - in : size - in;
    size_t skip = mbox_scan_is_quoted (bytes + in, length);
    memmove (bytes + out, bytes + in + skip, length - skip);
    out += length - skip;
    in += length;
  }
  return out;
}

static GBytes *
read_content (Mbox *self, GError **error)
{
  uint64_t size = self->scan.end - self->scan.begin;
  g_autofree char *bytes = size <= MESSAGE_MAX ? g_try_malloc (size + 1) : NULL;
  ssize_t n = bytes != NULL ? lines_read_at (self->fd, bytes, size, self->scan.begin) : 0;
  if (bytes == NULL)
    fail (error, EFBIG, "a message of %" PRIu64 " bytes is too large", size);
  else if (n < 0)
    fail_errno (error, "read");
  else if ((uint64_t)n < size)
    fail (error, EIO, "the file has become shorter");
  else if (self->scan.is_mboxrd)
    size = unquote_lines (bytes, size, self->scan.lines.delimiter);
  return (uint64_t)n < size ? NULL : g_bytes_new_take (g_steal_pointer (&bytes), size);
}

/* A UID is believed only below what the file's first message says, and only in ascending order:
 * whoever sends mail may put an X-UID into it. */
static uint32_t
believed_uid (Mbox *self)
{
  uint32_t uid = self->scan.status.uid;
  if (uid <= self->previous_uid || uid > self->last_uid)
    return 0;
  self->previous_uid = uid;
  return uid;
}

static void
take_message (Mbox *self, SourceMessage *out)
{
  MboxStatus *status = &self->scan.status;
  g_autoptr (GError) reason = NULL;
  set_where (self);
  *out = (SourceMessage){.kind = SOURCE_BYTES, .where = self->where};
  out->folder = (const char *const *)current_folder (self)->levels;
  out->facts.flags = status->flags;
  out->facts.keywords = keywords_text (&status->keywords);
  out->facts.uid = believed_uid (self);
  out->facts.internal_s = self->scan.postmark_s != INT64_MIN ? self->scan.postmark_s
                          : status->date_s != INT64_MIN      ? status->date_s
                                                             : self->st.st_mtim.tv_sec;
  if (status->keywords_left_out)
    source_warn (self->base.warnings, "%s: some keywords are left out", self->where);
  out->content = read_content (self, &reason);
  if (out->content != NULL)
    return;
  out->kind = SOURCE_UNREADABLE;
  source_warn (self->base.warnings, "%s: %s", self->where, reason->message);
}

/* A file that cannot be read on ends with a message that cannot be had. */
static void
give_up_file (Mbox *self, const char *reason, SourceMessage *out)
{
  set_where (self);
  source_warn (self->base.warnings, "%s: %s; it and the rest of the file are left out", self->where,
               reason);
  *out = (SourceMessage){.kind = SOURCE_UNREADABLE, .where = self->where};
  out->folder = (const char *const *)current_folder (self)->levels;
  self->scan.has_next = false;
}

static bool
mbox_next (Source *base, SourceMessage *out, bool *out_end, GError **error)
{
  Mbox *self = (Mbox *)base;
  g_autoptr (GError) reason = NULL;
  *out_end = false;
  if (!self->is_scanned && self->fd >= 0 && !scan_next (self, &reason)) {
    give_up_file (self, reason->message, out);
    return true;
  }
  if (self->is_scanned) {
    self->is_scanned = false;
    take_message (self, out);
    return true;
  }
  end_file (self);
  *out_end = self->folder == base->folders->len;
  if (!*out_end)
    begin_file (self, out);
  return true;
}

/* A file's weight is added as a whole when it begins. */
static void
mbox_progress (const Source *base, StoreProgress *out)
{
  const Mbox *self = (const Mbox *)base;
  source_progress (base, out);
  if (self->fd >= 0)
    out->done -= self->scan.lines.size - self->scan.lines.offset;
}

const StoreFormat source_mbox = {.name = "mbox",
                                 .open = mbox_open,
                                 .next = mbox_next,
                                 .progress = mbox_progress,
                                 .close = mbox_close};

const StoreFormat source_mboxrd = {.name = "mboxrd",
                                   .open = mboxrd_open,
                                   .next = mbox_next,
                                   .progress = mbox_progress,
                                   .close = mbox_close};
