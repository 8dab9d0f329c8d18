/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The history: what snapshots need of what has changed.
 *
 *  - history/NUMBER, the directory itself: UNTIL 0 MTIME-NS CTIME-NS STATE
 *  - history/NUMBER, a message: UNTIL UID CTIME-NS STATE
 *  - history/tree: UNTIL NUMBER KIND PARENT OWNER SUBSCRIBED INDEX SPECIAL-USE PLACE NAME FULL-NAME
 *
 * A line holds up to the epoch UNTIL: what a message was in an epoch is told by the line with the
 * smallest UNTIL that is not below it, the first of them where there are several, and without one
 * it is as it is now. STATE is the attribute's line, or "-".
 *
 * Lines are only added, and have a checksum: see lines.c.
 */
#include "store/history.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK  262144u
#define WINDOW 4096u

static History *
make (Store *store, bool is_tree, char *path)
{
  History *self = g_new0 (History, 1);
  g_mutex_init (&self->mutex);
  self->store = store;
  self->is_tree = is_tree;
  self->path = path;
  self->fd = -1;
  self->window = g_string_new (NULL);
  self->lines = g_array_new (FALSE, FALSE, sizeof (Line));
  self->last = g_hash_table_new (NULL, NULL);
  return self;
}

History *
history_new (Store *store, uint32_t number)
{
  return make (store, false, g_strdup_printf (HISTORY "/%u", number));
}

History *
history_new_tree (Store *store)
{
  return make (store, true, g_strdup (HISTORY "/tree"));
}

void
history_free (History *self)
{
  if (self == NULL)
    return;
  store_close_fd (&self->fd);
  g_string_free (self->window, TRUE);
  g_array_unref (self->lines);
  g_hash_table_unref (self->last);
  g_mutex_clear (&self->mutex);
  g_free (self->path);
  g_free (self);
}

/* ---- reading the file ---------------------------------------------------------------------- */

bool
line_parse_head (const History *self, const char **text, Line *out)
{
  uint64_t until, subject, kind, parent = 0;
  if (!state_take_number (text, 10, UINT32_MAX, &until) || until == 0 ||
      !state_take_number (text, 10, UINT32_MAX, &subject))
    return false;
  if (self->is_tree && !g_str_has_prefix (*text, "-")) {
    const char *rest = *text;
    if (!state_take_number (&rest, 10, STORE_NODE_MAILBOX, &kind) ||
        !state_take_number (&rest, 10, STORE_NUMBER_MAX, &parent))
      return false;
  }
  *out = (Line){.until = (uint32_t)until, .subject = (uint32_t)subject, .parent = (uint32_t)parent};
  return true;
}

/* Whether this can be no part of a line that a crash cut off. */
static bool
is_garbled (const char *tail, size_t size)
{
  for (size_t i = 0; i < size; i++) {
    if (g_ascii_iscntrl (tail[i]))
      return true;
  }
  return size > LINE_BYTES_MAX;
}

/* Takes in one line, without its end, that begins at `at`. Whether it is what was written is looked
 * at when somebody wants to know what it says: until then it stands for what may not be known any
 * more. */
static void
add_line (History *self, const char *text, size_t size, uint64_t at)
{
  Line line;
  if (size > 0 && text[size - 1] == '"') {
    self->damaged += is_garbled (text, size);
    return;
  }
  if (size == 0 || size > LINE_BYTES_MAX || memchr (text, '\0', size) != NULL ||
      !line_parse_head (self, &text, &line)) {
    self->damaged++;
    return;
  }
  gpointer key = GUINT_TO_POINTER (line.subject);
  line.before = GPOINTER_TO_UINT (g_hash_table_lookup (self->last, key));
  line.at = at;
  self->generation++;
  g_array_append_val (self->lines, line);
  g_hash_table_replace (self->last, key, GUINT_TO_POINTER (self->lines->len));
}

static void
forget (History *self)
{
  self->generation++;
  g_string_truncate (self->window, 0);
  store_close_fd (&self->fd);
  self->fd = -1;
  self->size = 0;
  self->settled = 0;
  self->damaged = 0;
  self->garbled = false;
  g_array_set_size (self->lines, 0);
  g_hash_table_remove_all (self->last);
}

/* Reads from where it ended to where the file ends now. */
static bool
read_lines (History *self, GError **error)
{
  g_autoptr (GString) text = g_string_sized_new (CHUNK);
  g_autofree char *chunk = g_malloc (CHUNK);
  for (;;) {
    ssize_t got = pread (self->fd, chunk, CHUNK, (off_t)(self->size + text->len));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno (error, "read %s", self->path);
    if (got == 0) {
      self->garbled = is_garbled (text->str, text->len);
      return true;
    }
    g_string_append_len (text, chunk, got);
    char *begin = text->str, *end;
    size_t left = text->len;
    for (; (end = memchr (begin, '\n', left)) != NULL; begin = end + 1) {
      *end = '\0';
      left -= (size_t)(end + 1 - begin);
      add_line (self, begin, (size_t)(end - begin), self->size);
      self->size += (uint64_t)(end + 1 - begin);
    }
    g_string_erase (text, 0, (gssize)(text->len - left));
  }
}

bool
history_load_locked (History *self, GError **error)
{
  struct stat st;
  if (fstatat (self->store->fd, self->path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
    if (errno != ENOENT)
      return fail_errno (error, "stat %s", self->path);
    forget (self);
    return true;
  }
  bool same = self->fd >= 0 && st.st_ino == self->inode && st.st_dev == self->device &&
              (uint64_t)st.st_size >= self->size;
  if (same && (uint64_t)st.st_size == self->size)
    return true;
  if (!same) {
    forget (self);
    self->fd = layout_open_message (self->store->fd, self->path);
    if (self->fd < 0 && errno == ENOENT)
      return true;
    if (self->fd < 0 || fstat (self->fd, &st) < 0)
      return fail_errno (error, "open %s", self->path);
    self->inode = st.st_ino;
    self->device = st.st_dev;
  }
  return read_lines (self, error);
}

bool
history_load (History *self, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  return history_load_locked (self, error);
}

uint64_t
history_generation (History *self)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  return self->generation;
}

bool
history_is_empty (History *self)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  return self->fd < 0;
}

GArray *
history_numbers (Store *store, GError **error)
{
  return layout_numbers (store->fd, HISTORY, error);
}

/* ---- finding lines ------------------------------------------------------------------------- */

const Line *
line_find (const History *self, uint32_t subject, uint32_t epoch)
{
  const Line *best = NULL;
  guint at = GPOINTER_TO_UINT (g_hash_table_lookup (self->last, GUINT_TO_POINTER (subject)));
  while (at > 0) {
    const Line *line = &g_array_index (self->lines, Line, at - 1);
    if (line->until >= epoch && (best == NULL || line->until <= best->until))
      best = line;
    at = line->before;
  }
  return best;
}

uint32_t
history_until (History *self, uint32_t subject, uint32_t epoch)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  const Line *line = line_find (self, subject, epoch);
  return line != NULL ? line->until : 0;
}

bool
history_has (History *self, uint32_t subject, uint32_t epoch)
{
  return history_until (self, subject, epoch) != 0;
}

GArray *
line_subjects (History *self, uint32_t epoch, const uint32_t *parent)
{
  GArray *subjects = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  GHashTableIter iter;
  gpointer key;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_hash_table_iter_init (&iter, self->last);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    uint32_t subject = GPOINTER_TO_UINT (key);
    const Line *line = subject != 0 ? line_find (self, subject, epoch) : NULL;
    if (line != NULL && (parent == NULL || line->parent == *parent))
      g_array_append_val (subjects, subject);
  }
  g_array_sort (subjects, layout_compare_uids);
  return subjects;
}

GArray *
history_subjects (History *self, uint32_t epoch)
{
  return line_subjects (self, epoch, NULL);
}

/* Reads `size` bytes from `at` on, or as many as there are. */
static bool
read_window (History *self, uint64_t at, size_t size, GError **error)
{
  ssize_t got;
  g_string_set_size (self->window, size);
  do
    got = pread (self->fd, self->window->str, size, (off_t)at);
  while (got < 0 && errno == EINTR);
  g_string_truncate (self->window, (gsize)MAX (got, 0));
  self->window_at = at;
  return got >= 0 || fail_errno (error, "read %s", self->path);
}

/* NULL. */
static char *
fail_line (const History *self, uint64_t at, GError **error)
{
  fail (error, EBADMSG, "%s: the line at %" PRIu64 " makes no sense", self->path, at);
  return NULL;
}

char *
line_read_raw (History *self, uint64_t at, GError **error)
{
  const GString *window = self->window;
  for (size_t size = WINDOW;; size *= 4) {
    uint64_t skipped = at - self->window_at;
    const char *text =
        at >= self->window_at && skipped < window->len ? window->str + skipped : NULL;
    const char *end = text != NULL ? memchr (text, '\n', window->len - skipped) : NULL;
    if (end != NULL)
      return g_strndup (text, (gsize)(end - text));
    if (size / 4 > LINE_BYTES_MAX)
      return fail_line (self, at, error);
    if (!read_window (self, at, size, error))
      return NULL;
  }
}

char *
line_read (History *self, uint64_t at, GError **error)
{
  g_autofree char *text = line_read_raw (self, at, error);
  size_t size;
  if (text == NULL)
    return NULL;
  if (!lines_is_whole (text, strlen (text), &size))
    return fail_line (self, at, error);
  text[size] = '\0';
  return g_steal_pointer (&text);
}

guint
history_damaged (History *self)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  guint damaged = self->damaged + self->garbled;
  for (guint i = 0; i < self->lines->len; i++) {
    g_autofree char *text = line_read (self, g_array_index (self->lines, Line, i).at, NULL);
    damaged += text == NULL;
  }
  return damaged;
}

const char *
line_read_found (History *self, uint32_t subject, uint32_t epoch, char **out_line, GError **error)
{
  const Line *line = line_find (self, subject, epoch);
  Line head;
  if (line == NULL || (*out_line = line_read (self, line->at, error)) == NULL)
    return NULL;
  const char *rest = *out_line;
  if (line_parse_head (self, &rest, &head) && head.subject == subject)
    return rest;
  return fail_line (self, line->at, error);
}

bool
line_fail (const History *self, uint32_t subject, GError **error)
{
  return fail (error, EBADMSG, "%s: what is kept of %u makes no sense", self->path, subject);
}

/* ---- messages and directories -------------------------------------------------------------- */

void
history_message_clear (HistoryMessage *message)
{
  message_state_clear (&message->state);
}

static bool
parse_message (const char *text, HistoryMessage *out)
{
  uint64_t changed;
  if (!state_take_number (&text, 10, INT64_MAX, &changed))
    return false;
  *out = (HistoryMessage){.changed_ns = (int64_t)changed, .has_state = strcmp (text, "-") != 0};
  return !out->has_state || message_state_parse (text, &out->state, NULL);
}

bool
history_message (History *self, uint32_t uid, uint32_t epoch, HistoryMessage *out, bool *out_kept,
                 GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_autofree char *line = NULL;
  g_autoptr (GError) failure = NULL;
  const char *text = line_read_found (self, uid, epoch, &line, &failure);
  if (failure != NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  HistoryMessage message;
  if (text != NULL && !parse_message (text, &message))
    return line_fail (self, uid, error);
  *out_kept = text != NULL;
  if (text != NULL)
    *out = message;
  return true;
}

bool
history_message_next (History *self, guint *place, uint32_t *out_uid, HistoryMessage *out,
                      bool *out_found, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  *out_found = false;
  if (!history_load_locked (self, error))
    return false;
  while (!*out_found && *place < self->lines->len) {
    const Line *line = &g_array_index (self->lines, Line, *place);
    g_autofree char *read = line->subject != 0 ? line_read (self, line->at, NULL) : NULL;
    const char *rest = read;
    Line head;
    ++*place;
    *out_found = read != NULL && line_parse_head (self, &rest, &head) && parse_message (rest, out);
    *out_uid = line->subject;
  }
  return true;
}

void
history_directory_clear (HistoryDirectory *directory)
{
  node_state_clear (&directory->state);
}

static bool
parse_directory (const char *text, StoreNodeKind kind, HistoryDirectory *out)
{
  uint64_t mtime, ctime;
  if (!state_take_number (&text, 10, INT64_MAX, &mtime) ||
      !state_take_number (&text, 10, INT64_MAX, &ctime))
    return false;
  *out = (HistoryDirectory){
      .mtime_ns = (int64_t)mtime, .ctime_ns = (int64_t)ctime, .has_state = strcmp (text, "-") != 0};
  return !out->has_state || node_state_parse (text, kind, &out->state, NULL);
}

bool
history_directory (History *self, StoreNodeKind kind, uint32_t epoch, HistoryDirectory *out,
                   bool *out_kept, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_autofree char *line = NULL;
  g_autoptr (GError) failure = NULL;
  const char *text = line_read_found (self, 0, epoch, &line, &failure);
  if (failure != NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  HistoryDirectory directory;
  if (text != NULL && !parse_directory (text, kind, &directory))
    return line_fail (self, 0, error);
  *out_kept = text != NULL;
  if (text != NULL)
    *out = directory;
  return true;
}
