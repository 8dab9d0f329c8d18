/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages whose file is gone. What their rows said is kept in missing/NUMBER, a line each:
 *
 *   UID NOTED-S SIZE INTERNAL-S DIGEST ENVELOPE STATE
 *
 * of which the last one about a UID counts; "UID -" says that there is nothing to say of it any
 * more. DIGEST has 64 hex digits, or the 16 that stand on files, or is "-". ENVELOPE is escaped as
 * the names in history/ are, STATE is what stood on the file. Lines have a checksum: see lines.c.
 */
#include "store/missing.h"
#include "store/internal.h"
#include "store/parse.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define MISSING "missing"

/* What is read at once, and what is held of a file: beyond that nothing is believed. */
#define CHUNK      262144u
#define FILE_MAX   (UINT64_C (1) << 30)
#define BATCH_SIZE 1048576u

static char *
make_path (uint32_t number)
{
  return g_strdup_printf (MISSING "/%u", number);
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Where the lines of a mailbox are. Store.missing_mutex guards it. */
struct Missing {
  uint32_t number;
  int fd; /* held open, so that nothing else can have its inode; -1: there is none */
  struct stat st;
  uint64_t read;     /* bytes of whole lines that were taken in */
  GHashTable *lines; /* UID -> where its last line begins, plus 1 */
  GArray *uids;      /* of these, ascending; never changed. NULL: nobody asked since */
};

static void
forget (Store *store)
{
  Missing *self = g_steal_pointer (&store->missing);
  if (self == NULL)
    return;
  store_close_fd (&self->fd);
  g_hash_table_unref (self->lines);
  g_clear_pointer (&self->uids, g_array_unref);
  g_free (self);
}

void
missing_init (Store *store)
{
  g_mutex_init (&store->missing_mutex);
}

void
missing_clear (Store *store)
{
  forget (store);
  g_mutex_clear (&store->missing_mutex);
}

/* Takes in a line, without its end, that begins at `at`. */
static void
take_line (Missing *self, char *line, size_t size, uint64_t at)
{
  const char *text = line;
  uint64_t uid;
  if (size > LINE_BYTES_MAX || !lines_is_whole (line, size, &size))
    return;
  line[size] = '\0';
  if (strlen (line) != size || !state_take_number (&text, 10, STORE_UID_MAX, &uid) || uid == 0)
    return;
  gpointer key = GUINT_TO_POINTER ((uint32_t)uid);
  if (strcmp (text, "-") == 0)
    g_hash_table_remove (self->lines, key);
  else
    g_hash_table_replace (self->lines, key, GSIZE_TO_POINTER (at + 1));
}

/* Takes in what has been added. */
static bool
read_lines (Missing *self, GError **error)
{
  g_autoptr (GString) text = g_string_sized_new (CHUNK);
  g_autofree char *chunk = g_malloc (CHUNK);
  g_clear_pointer (&self->uids, g_array_unref);
  for (uint64_t at = self->read, begun = at; at < FILE_MAX; self->read = begun) {
    ssize_t got = pread (self->fd, chunk, CHUNK, (off_t)at);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno (error, "read " MISSING "/%u", self->number);
    if (got == 0)
      break;
    at += (uint64_t)got;
    g_string_append_len (text, chunk, got);
    char *begin = text->str, *end;
    for (; (end = memchr (begin, '\n', (size_t)(text->str + text->len - begin))) != NULL;
         begin = end + 1) {
      take_line (self, begin, (size_t)(end - begin), begun);
      begun += (uint64_t)(end + 1 - begin);
    }
    g_string_erase (text, 0, begin - text->str);
    /* No line is so long: what there is of this one makes no sense, and the rest will not either.
     */
    if (text->len > LINE_BYTES_MAX) {
      begun += text->len - 1;
      g_string_erase (text, 0, (gssize)text->len - 1);
    }
  }
  return true;
}

/* Whether the file is the one that was read, with more lines behind those at most. */
static bool
is_same (const Missing *self, uint32_t number, const struct stat *st)
{
  return self != NULL && self->number == number && self->fd >= 0 && self->st.st_dev == st->st_dev &&
         self->st.st_ino == st->st_ino && self->st.st_size <= st->st_size;
}

static Missing *
open_lines (Store *store, uint32_t number, const char *path, GError **error)
{
  int fd = layout_open_message (store->fd, path);
  if (fd < 0 && errno != ENOENT) {
    fail_errno (error, "open %s/%s", store->path, path);
    return NULL;
  }
  Missing *self = g_new0 (Missing, 1);
  *self = (Missing){.number = number, .fd = fd, .lines = g_hash_table_new (NULL, NULL)};
  return self;
}

/* The lines of a mailbox, with the mutex held: those that were asked for last, if they still are as
 * they were, with what was added. That there are none is no error. NULL and an error. */
static Missing *
load (Store *store, uint32_t number, GError **error)
{
  g_autofree char *path = make_path (number);
  struct stat st;
  if (fstatat (store->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
      !is_same (store->missing, number, &st)) {
    forget (store);
    if ((store->missing = open_lines (store, number, path, error)) == NULL)
      return NULL;
  }
  Missing *self = store->missing;
  off_t known = self->st.st_size;
  bool looked = self->fd < 0 || fstat (self->fd, &self->st) == 0 ||
                fail_errno (error, "stat %s/%s", store->path, path);
  if (looked && (self->st.st_size == known || read_lines (self, error)))
    return self;
  forget (store);
  return NULL;
}

/* Sorts the UIDs that there are lines about, once for all who ask before there are more. */
static void
list_uids (Missing *self)
{
  GHashTableIter iter;
  gpointer key;
  self->uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  g_hash_table_iter_init (&iter, self->lines);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    uint32_t uid = GPOINTER_TO_UINT (key);
    g_array_append_val (self->uids, uid);
  }
  g_array_sort (self->uids, layout_compare_uids);
}

GArray *
missing_uids (Store *store, uint32_t number, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->missing_mutex);
  Missing *self = load (store, number, error);
  if (self == NULL)
    return NULL;
  if (self->uids == NULL)
    list_uids (self);
  return g_array_ref (self->uids);
}

GArray *
missing_numbers (Store *store, GError **error)
{
  return layout_numbers (store->fd, MISSING, error);
}

/* ---- one line ------------------------------------------------------------------------------ */

static bool
take_signed (const char **text, int64_t *out)
{
  char *end;
  *out = g_ascii_strtoll (*text, &end, 10);
  bool good = end != *text && *end == ' ';
  *text = end + good;
  return good;
}

/* The field up to the next space, owned; NULL: there is none. */
static char *
take_field (const char **text)
{
  const char *end = strchr (*text, ' ');
  char *field = end != NULL ? g_strndup (*text, (gsize)(end - *text)) : NULL;
  *text = end != NULL ? end + 1 : *text;
  return field;
}

static bool
parse_digest (const char *digits, uint8_t out[32])
{
  size_t length = strlen (digits);
  memset (out, 0, 32);
  if (strcmp (digits, "-") == 0)
    return true;
  for (size_t i = 0; i + 1 < length && i < 64; i += 2) {
    if (!g_ascii_isxdigit (digits[i]) || !g_ascii_isxdigit (digits[i + 1]))
      return false;
    out[i / 2] =
        (uint8_t)(g_ascii_xdigit_value (digits[i]) << 4 | g_ascii_xdigit_value (digits[i + 1]));
  }
  return length == 64 || length == 16;
}

/* The Date that an envelope has; INT64_MIN: none that makes sense. */
static int64_t
date_of (char *envelope)
{
  const StoreSummary summary = {.envelope = envelope};
  g_autofree char *date = store_summary_field (&summary, "date");
  return date != NULL ? parse_date (date) : INT64_MIN;
}

static bool
parse_line (const char *text, uint32_t uid, int64_t *out_noted_s, IndexMessage *out,
            IndexSummary *out_summary)
{
  g_auto (MessageState) state = {0};
  g_auto (IndexSummary) summary = {.sent_s = INT64_MIN, .bodystructure = g_strdup ("")};
  int64_t noted_s, internal_s;
  uint64_t size;
  if (!take_signed (&text, &noted_s) || !state_take_number (&text, 10, INT64_MAX, &size) ||
      !take_signed (&text, &internal_s))
    return false;
  g_autofree char *digest = take_field (&text), *envelope = take_field (&text);
  if (digest == NULL || envelope == NULL || !parse_digest (digest, summary.sha256) ||
      !message_state_parse (text, &state, NULL))
    return false;
  summary.envelope = strcmp (envelope, "-") == 0 ? g_strdup ("") : store_name_unescape (envelope);
  summary.sent_s = date_of (summary.envelope);
  *out_noted_s = noted_s;
  *out = (IndexMessage){.uid = uid,
                        .flags = state.flags,
                        .birth = state.birth,
                        .size = size,
                        .modseq = state.modseq,
                        .internal_s = internal_s,
                        .keywords = g_steal_pointer (&state.keywords)};
  *out_summary = summary;
  summary = (IndexSummary){0};
  return true;
}

static char *
format_line (const IndexMessage *row, const IndexSummary *summary)
{
  static const uint8_t none[32];
  const uint8_t *sha256 = summary != NULL ? summary->sha256 : none;
  g_autofree char *digest = store_digest_string (sha256);
  bool has_envelope = summary != NULL && *summary->envelope != '\0';
  g_autofree char *envelope = state_escape (has_envelope ? summary->envelope : NULL);
  const MessageState state = {.modseq = row->modseq,
                              .birth = row->birth,
                              .digest = digest_prefix (sha256),
                              .flags = row->flags,
                              .keywords = row->keywords};
  g_autofree char *stated = message_state_format (&state);
  bool known = digest_prefix (sha256) != 0;
  return g_strdup_printf ("%u %" PRId64 " %" PRIu64 " %" PRId64 " %.*s %s %s\n", row->uid,
                          record_now (), row->size, row->internal_s,
                          !known                     ? 1
                          : digest_is_whole (sha256) ? 64
                                                     : 16,
                          known ? digest : "-", envelope, stated);
}

/* The text of a line that begins at `at`, without its end and its checksum, owned. Most lines are
 * short. */
static char *
read_line (const Missing *self, uint64_t at, GError **error)
{
  static const size_t sizes[] = {4096, LINE_BYTES_MAX};
  for (size_t i = 0; i < G_N_ELEMENTS (sizes); i++) {
    g_autofree char *text = g_malloc (sizes[i]);
    ssize_t got = pread (self->fd, text, sizes[i], (off_t)at);
    const char *end = got > 0 ? memchr (text, '\n', (size_t)got) : NULL;
    size_t size;
    if (end != NULL && lines_is_whole (text, (size_t)(end - text), &size))
      return g_strndup (text, size);
    if (got < 0) {
      fail_errno (error, "read " MISSING "/%u", self->number);
      return NULL;
    }
  }
  fail (error, EBADMSG, MISSING "/%u: the line at %" PRIu64 " makes no sense", self->number, at);
  return NULL;
}

bool
missing_get (Store *store, uint32_t number, uint32_t uid, int64_t *out_noted_s, IndexMessage *out,
             IndexSummary *out_summary, bool *out_found, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->missing_mutex);
  const Missing *self = load (store, number, error);
  if (self == NULL)
    return false;
  gsize at = GPOINTER_TO_SIZE (g_hash_table_lookup (self->lines, GUINT_TO_POINTER (uid)));
  g_autofree char *text = at > 0 ? read_line (self, at - 1, error) : NULL;
  const char *facts = text != NULL ? strchr (text, ' ') : NULL;
  *out_found = facts != NULL && parse_line (facts + 1, uid, out_noted_s, out, out_summary);
  return at == 0 || text != NULL;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* Whether what lies in the place of a file or directory of ours is something else. */
static bool
is_rubbish (const GError *failure)
{
  int code = error_code (failure);
  return code == EISDIR || code == ENOTDIR || code == ELOOP || code == EMEDIUMTYPE || code == ENXIO;
}

/* Keeps it under another name: it must not be in the way of what is to be written. */
static bool
set_aside (Store *store, const char *path, GError **error)
{
  struct stat st;
  bool whole = fstatat (store->fd, MISSING, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR (st.st_mode);
  g_autofree char *rubbish = g_build_filename (store->path, whole ? MISSING : path, NULL);
  return layout_keep_damaged (rubbish, error);
}

static bool
append (Store *store, uint32_t number, const char *lines, GError **error)
{
  g_autofree char *path = make_path (number);
  g_autoptr (GError) failure = NULL;
  auto_fd fd = lines_open (store, path, &failure);
  if (fd < 0 && is_rubbish (failure)) {
    if (!set_aside (store, path, error))
      return false;
    g_clear_error (&failure);
    fd = lines_open (store, path, &failure);
  }
  if (fd < 0) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  return lines_write (store, path, fd, lines, error) &&
         (fdatasync (fd) == 0 || fail_errno (error, "sync %s/%s", store->path, path));
}

void
missing_lines_clear (MissingLines *self)
{
  if (self->lines != NULL)
    g_string_free (g_steal_pointer (&self->lines), TRUE);
}

bool
missing_lines_end (MissingLines *self, GError **error)
{
  bool good = self->lines == NULL || append (self->store, self->number, self->lines->str, error);
  missing_lines_clear (self);
  return good;
}

bool
missing_lines_add (MissingLines *self, uint32_t number, const IndexMessage *row,
                   const IndexSummary *summary, GError **error)
{
  bool full = self->lines != NULL && (self->number != number || self->lines->len > BATCH_SIZE);
  if (full && !missing_lines_end (self, error))
    return false;
  g_autofree char *line = format_line (row, summary);
  if (self->lines == NULL)
    self->lines = g_string_new (NULL);
  self->number = number;
  /* An envelope so long is left out. */
  if (strlen (line) > LINE_BYTES_MAX - LINE_CHECKSUM_SIZE && summary != NULL) {
    IndexSummary digest = *summary;
    static char nothing[] = "";
    digest.envelope = nothing;
    return missing_lines_add (self, number, row, &digest, error);
  }
  g_string_append (self->lines, line);
  return true;
}

bool
missing_forget (Store *store, uint32_t number, uint32_t uid, GError **error)
{
  g_autofree char *line = g_strdup_printf ("%u -\n", uid);
  return append (store, number, line, error);
}

bool
missing_is_back (const StoreMailbox *mailbox, uint32_t uid)
{
  char path[32];
  for (int expunged = 0; expunged < 2; expunged++) {
    layout_message_path (uid, expunged, path);
    if (faccessat (mailbox->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
      return true;
  }
  return false;
}

bool
missing_settle (StoreMailbox *mailbox, GError **error)
{
  Store *store = mailbox->store;
  g_autofree char *path = make_path (mailbox->number);
  if (faccessat (store->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
    return true;
  g_autoptr (GError) failure = NULL;
  g_autoptr (GArray) uids = missing_uids (store, mailbox->number, &failure);
  g_autoptr (GString) lines = g_string_new (NULL);
  guint back = 0;
  for (guint i = 0; uids != NULL && i < uids->len; i++) {
    uint32_t uid = g_array_index (uids, uint32_t, i);
    if (missing_is_back (mailbox, uid)) {
      g_string_append_printf (lines, "%u -\n", uid);
      back++;
    }
  }
  if (uids == NULL && !is_rubbish (failure)) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  if (uids == NULL || lines->len == 0)
    return true;
  if (!append (store, mailbox->number, lines->str, error))
    return false;
  return back < uids->len || unlinkat (store->fd, path, 0) == 0 ||
         fail_errno (error, "remove %s/%s", store->path, path);
}
