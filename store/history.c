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
 * Lines are only added. One that a crash cut short has no end; who adds the next one ends it with a
 * '"', which no line has at its end otherwise, so that it never counts.
 */
#include "store/snapshot.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK          262144u
#define LINE_BYTES_MAX 131072u
#define WINDOW         4096u

/* Where a line is, and what is needed to find it. */
typedef struct {
  uint32_t subject, until;
  uint32_t parent; /* in the tree */
  guint before;    /* the line before this one about the same subject, plus 1; 0: none */
  uint64_t at;
} Line;

struct History {
  GMutex mutex; /* guards all of it */
  Store *store;
  bool is_tree;
  char *path; /* below the store's directory */
  int fd;     /* it is held open, so that nothing else can have its inode; -1: there is none */
  dev_t device;
  ino_t inode;
  uint64_t size;       /* up to where it has been read */
  uint64_t generation; /* goes up with every line that is added, or all that are forgotten */
  GString *window;     /* bytes of the file, those from `window_at` on */
  uint64_t window_at;
  GArray *lines;    /* in their order */
  GHashTable *last; /* subject -> the last line about it, plus 1 */
  guint damaged;
};

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

/* What is before the first field that only those read who want all of the line; `*text` is moved
 * there. */
static bool
parse_head (const History *self, const char **text, Line *out)
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

/* Takes in one line, without its end, that begins at `at`. */
static void
add_line (History *self, const char *text, size_t size, uint64_t at)
{
  Line line;
  if (size > 0 && text[size - 1] == '"')
    return;
  if (size == 0 || size > LINE_BYTES_MAX || memchr (text, '\0', size) != NULL ||
      !parse_head (self, &text, &line)) {
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
  self->damaged = 0;
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
    if (got == 0)
      return true;
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

static bool
load (History *self, GError **error)
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
  return load (self, error);
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
  auto_fd fd = layout_open (store->fd, HISTORY, O_RDONLY | O_DIRECTORY, 0);
  GArray *numbers = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  if (fd < 0 && errno == ENOENT)
    return numbers;
  DIR *stream = fd >= 0 ? fdopendir (fd) : NULL;
  if (stream == NULL) {
    g_array_unref (numbers);
    fail_errno (error, "read %s/" HISTORY, store->path);
    return NULL;
  }
  fd = -1;
  for (struct dirent *entry; (entry = readdir (stream)) != NULL;) {
    uint64_t number;
    if (!g_ascii_string_to_unsigned (entry->d_name, 10, 0, STORE_NUMBER_MAX, &number, NULL))
      continue;
    uint32_t directory = (uint32_t)number;
    g_array_append_val (numbers, directory);
  }
  closedir (stream);
  g_array_sort (numbers, layout_compare_uids);
  return numbers;
}

guint
history_damaged (History *self)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  return self->damaged;
}

/* ---- finding lines ------------------------------------------------------------------------- */

/* The line that tells of `subject` in `epoch`; NULL: none does. */
static const Line *
find (const History *self, uint32_t subject, uint32_t epoch)
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
  const Line *line = find (self, subject, epoch);
  return line != NULL ? line->until : 0;
}

bool
history_has (History *self, uint32_t subject, uint32_t epoch)
{
  return history_until (self, subject, epoch) != 0;
}

/* Subjects whose line passes; `parent` counts in the tree only. */
static GArray *
collect (History *self, uint32_t epoch, const uint32_t *parent)
{
  GArray *subjects = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  GHashTableIter iter;
  gpointer key;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_hash_table_iter_init (&iter, self->last);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    uint32_t subject = GPOINTER_TO_UINT (key);
    const Line *line = subject != 0 ? find (self, subject, epoch) : NULL;
    if (line != NULL && (parent == NULL || line->parent == *parent))
      g_array_append_val (subjects, subject);
  }
  g_array_sort (subjects, layout_compare_uids);
  return subjects;
}

GArray *
history_subjects (History *self, uint32_t epoch)
{
  return collect (self, epoch, NULL);
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

/* The text of a line, without its end; it is the caller's. What is asked for one after the other
 * mostly lies so, too, and is read at once. */
static char *
read_line (History *self, uint64_t at, GError **error)
{
  const GString *window = self->window;
  for (size_t size = WINDOW;; size *= 4) {
    uint64_t skipped = at - self->window_at;
    const char *text =
        at >= self->window_at && skipped < window->len ? window->str + skipped : NULL;
    const char *end = text != NULL ? memchr (text, '\n', window->len - skipped) : NULL;
    if (end != NULL)
      return g_strndup (text, (gsize)(end - text));
    if (size / 4 > LINE_BYTES_MAX) {
      fail (error, EBADMSG, "%s: the line at %" PRIu64 " makes no sense", self->path, at);
      return NULL;
    }
    if (!read_window (self, at, size, error))
      return NULL;
  }
}

/* The line that tells of `subject`, from the field behind that on. NULL without an error: none
 * does. `*out_line` is to be freed. */
static const char *
read_found (History *self, uint32_t subject, uint32_t epoch, char **out_line, GError **error)
{
  const Line *line = find (self, subject, epoch);
  Line head;
  if (line == NULL || (*out_line = read_line (self, line->at, error)) == NULL)
    return NULL;
  const char *rest = *out_line;
  if (parse_head (self, &rest, &head) && head.subject == subject)
    return rest;
  fail (error, EBADMSG, "%s: the line at %" PRIu64 " makes no sense", self->path, line->at);
  return NULL;
}

static bool
fail_line (const History *self, uint32_t subject, GError **error)
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
  const char *text = read_found (self, uid, epoch, &line, &failure);
  if (failure != NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  HistoryMessage message;
  if (text != NULL && !parse_message (text, &message))
    return fail_line (self, uid, error);
  *out_kept = text != NULL;
  if (text != NULL)
    *out = message;
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
  const char *text = read_found (self, 0, epoch, &line, &failure);
  if (failure != NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  HistoryDirectory directory;
  if (text != NULL && !parse_directory (text, kind, &directory))
    return fail_line (self, 0, error);
  *out_kept = text != NULL;
  if (text != NULL)
    *out = directory;
  return true;
}

/* ---- the tree ------------------------------------------------------------------------------ */

void
history_node_clear (HistoryNode *node)
{
  store_node_clear (&node->node);
  g_clear_pointer (&node->place, g_free);
}

static char *
optional (const char *field)
{
  return strcmp (field, "-") == 0 ? NULL : store_name_unescape (field);
}

/* KIND PARENT OWNER SUBSCRIBED INDEX SPECIAL-USE PLACE NAME FULL-NAME */
static bool
parse_node (const char *text, uint32_t number, HistoryNode *out)
{
  g_auto (GStrv) fields = g_strsplit (text, " ", 10);
  if (g_strv_length (fields) != 9)
    return false;
  if (strcmp (fields[0], "-") == 0) {
    *out = (HistoryNode){.absent = true};
    return true;
  }
  uint64_t kind, parent, owner, subscribed, index;
  if (!g_ascii_string_to_unsigned (fields[0], 10, 1, STORE_NODE_MAILBOX, &kind, NULL) ||
      !g_ascii_string_to_unsigned (fields[1], 10, 0, STORE_NUMBER_MAX, &parent, NULL) ||
      !g_ascii_string_to_unsigned (fields[2], 10, 0, STORE_NUMBER_MAX, &owner, NULL) ||
      !g_ascii_string_to_unsigned (fields[3], 10, 0, 1, &subscribed, NULL) ||
      !g_ascii_string_to_unsigned (fields[4], 10, 0, 1, &index, NULL))
    return false;
  *out = (HistoryNode){.node = {.number = number,
                                .parent = (uint32_t)parent,
                                .owner = (uint32_t)owner,
                                .kind = (StoreNodeKind)kind,
                                .subscribed = subscribed != 0,
                                .no_index = index == 0,
                                .special_use = optional (fields[5]),
                                .name = store_name_unescape (fields[7]),
                                .full_name = optional (fields[8])},
                       .place = optional (fields[6])};
  return true;
}

/* The newest line that tells where in quarantine the directory is, plus 1, and what it tells; 0:
 * none does. It may have come back since. */
static guint
find_place (History *self, uint32_t number, char **out)
{
  guint at = GPOINTER_TO_UINT (g_hash_table_lookup (self->last, GUINT_TO_POINTER (number)));
  while (at > 0) {
    const Line *line = &g_array_index (self->lines, Line, at - 1);
    g_autofree char *text = read_line (self, line->at, NULL);
    g_auto (HistoryNode) node = {0};
    Line head;
    const char *rest = text;
    if (text != NULL && parse_head (self, &rest, &head) && parse_node (rest, number, &node) &&
        node.place != NULL) {
      *out = g_steal_pointer (&node.place);
      return at;
    }
    at = line->before;
  }
  return 0;
}

bool
history_node (History *self, uint32_t number, uint32_t epoch, HistoryNode *out, bool *out_kept,
              GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_autofree char *line = NULL;
  g_autoptr (GError) failure = NULL;
  const char *text = read_found (self, number, epoch, &line, &failure);
  if (failure != NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  *out_kept = text != NULL;
  if (text == NULL)
    return true;
  g_auto (HistoryNode) node = {0};
  if (!parse_node (text, number, &node))
    return fail_line (self, number, error);
  g_clear_pointer (&node.place, g_free);
  if (!node.absent)
    find_place (self, number, &node.place);
  *out = node;
  node = (HistoryNode){0};
  return true;
}

GArray *
history_children (History *self, uint32_t parent, uint32_t epoch)
{
  g_autoptr (GArray) all = collect (self, epoch, &parent);
  GArray *children = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; i < all->len; i++) {
    uint32_t number = g_array_index (all, uint32_t, i);
    g_auto (HistoryNode) node = {0};
    bool kept = false;
    /* One that was not there has no parent, which is 0 as well. */
    if (history_node (self, number, epoch, &node, &kept, NULL) && kept && !node.absent)
      g_array_append_val (children, number);
  }
  return children;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* Opens the file to add to it, and makes it with history/ when there is none. -1 and an error. */
static int
open_to_append (const History *self, GError **error)
{
  static const int flags = O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW;
  Store *store = self->store;
  auto_fd fd = layout_open (store->fd, self->path, flags, 0640);
  if (fd < 0 && errno == ENOENT && (mkdirat (store->fd, HISTORY, 0750) == 0 || errno == EEXIST)) {
    auto_fd directory = layout_open (store->fd, HISTORY, O_RDONLY | O_DIRECTORY, 0);
    if (directory >= 0 && (!layout_own (store, directory, error) || fsync (store->fd) < 0))
      return -1;
    fd = layout_open (store->fd, self->path, flags, 0640);
  }
  struct stat st;
  if (fd < 0 || fstat (fd, &st) < 0 || !S_ISREG (st.st_mode)) {
    fail_errno (error, "open %s/%s", store->path, self->path);
    return -1;
  }
  if (st.st_size > 0)
    return g_steal_fd (&fd);
  /* It may be new. */
  auto_fd directory = layout_open (store->fd, HISTORY, O_RDONLY | O_DIRECTORY, 0);
  if (!layout_own (store, fd, error))
    return -1;
  if (directory < 0 || fsync (directory) < 0) {
    fail_errno (error, "sync %s/" HISTORY, store->path);
    return -1;
  }
  return g_steal_fd (&fd);
}

static bool
write_lines (const History *self, int fd, const char *lines, GError **error)
{
  struct stat st;
  char last = '\n';
  if (fstat (fd, &st) < 0 || (st.st_size > 0 && pread (fd, &last, 1, st.st_size - 1) != 1))
    return fail_errno (error, "read %s/%s", self->store->path, self->path);
  g_autofree char *ended = last != '\n' ? g_strconcat ("\"\n", lines, NULL) : NULL;
  const char *text = ended != NULL ? ended : lines;
  size_t size = strlen (text);
  for (size_t done = 0; done < size;) {
    ssize_t written = write (fd, text + done, size - done);
    if (written < 0 && errno != EINTR)
      return fail_errno (error, "write %s/%s", self->store->path, self->path);
    done += written > 0 ? (size_t)written : 0;
  }
  return true;
}

int
history_append (History *self, const char *lines, GError **error)
{
  auto_fd fd = open_to_append (self, error);
  return fd >= 0 && write_lines (self, fd, lines, error) ? g_steal_fd (&fd) : -1;
}

bool
history_sync (const History *self, int fd, GError **error)
{
  return fdatasync (fd) == 0 || fail_errno (error, "sync %s/%s", self->store->path, self->path);
}

/* ---- dropping what nobody needs ------------------------------------------------------------ */

/* Marks the lines that a snapshot needs; of removed directories also the one that tells where they
 * are. Returns how many there are. */
static guint
mark_needed (History *self, const SnapshotSet *snapshots, bool *needed)
{
  GHashTableIter iter;
  gpointer key;
  guint count = 0;
  g_hash_table_iter_init (&iter, self->last);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    g_autofree char *place = NULL;
    guint at = 0;
    bool any = false;
    for (guint i = 0; i < snapshots->snapshots->len; i++) {
      const StoreSnapshot *snapshot = snapshots->snapshots->pdata[i];
      const Line *line = find (self, GPOINTER_TO_UINT (key), snapshot->epoch);
      if (line == NULL)
        break; /* Nor is there one for those that came later. */
      needed[line - (const Line *)(void *)self->lines->data] = any = true;
    }
    if (any && self->is_tree && (at = find_place (self, GPOINTER_TO_UINT (key), &place)) > 0)
      needed[at - 1] = true;
  }
  for (guint i = 0; i < self->lines->len; i++)
    count += needed[i];
  return count;
}

/* Whether a snapshot has the node. */
static bool
is_needed (History *self, const SnapshotSet *snapshots, uint32_t number)
{
  for (guint i = 0; i < snapshots->snapshots->len && !snapshots->doubtful; i++) {
    const StoreSnapshot *snapshot = snapshots->snapshots->pdata[i];
    const Line *line = find (self, number, snapshot->epoch);
    g_autofree char *text = line != NULL ? read_line (self, line->at, NULL) : NULL;
    g_auto (HistoryNode) node = {0};
    Line head;
    const char *rest = text;
    /* What makes no sense is taken for one that is needed. */
    if (line != NULL && number < snapshot->next_number &&
        !(text != NULL && parse_head (self, &rest, &head) && parse_node (rest, number, &node) &&
          node.absent))
      return true;
  }
  return snapshots->doubtful;
}

GPtrArray *
history_places (History *self, const SnapshotSet *snapshots)
{
  GPtrArray *places = g_ptr_array_new_with_free_func (g_free);
  GHashTableIter iter;
  gpointer key;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_hash_table_iter_init (&iter, self->last);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    uint32_t number = GPOINTER_TO_UINT (key);
    char *place = NULL;
    if (is_needed (self, snapshots, number) && find_place (self, number, &place) > 0)
      g_ptr_array_add (places, place);
  }
  return places;
}

/* Writes the lines that are needed to a new file, which takes the place of the old one. */
static bool
rewrite (History *self, const bool *needed, GError **error)
{
  auto_fd directory = layout_open (self->store->fd, HISTORY, O_RDONLY | O_DIRECTORY, 0);
  g_autofree char *name = g_path_get_basename (self->path);
  g_autofree char *temporary = g_strdup_printf (".%s.new", name);
  if (directory < 0)
    return fail_errno (error, "open %s/" HISTORY, self->store->path);
  unlinkat (directory, temporary, 0);
  auto_fd fd =
      openat (directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
  FILE *out = fd >= 0 && layout_own (self->store, fd, error) ? fdopen (fd, "w") : NULL;
  if (out == NULL)
    return fail_errno (error, "write %s", self->path);
  fd = -1;
  bool good = true;
  for (guint i = 0; i < self->lines->len && good; i++) {
    g_autofree char *line =
        needed[i] ? read_line (self, g_array_index (self->lines, Line, i).at, error) : NULL;
    good = !needed[i] || (line != NULL && fprintf (out, "%s\n", line) > 0);
  }
  good = good && fflush (out) == 0 && fsync (fileno (out)) == 0;
  int code = errno;
  fclose (out);
  errno = code;
  if (good && renameat (directory, temporary, directory, name) == 0)
    return fsync (directory) == 0 || fail_errno (error, "sync %s/" HISTORY, self->store->path);
  unlinkat (directory, temporary, 0);
  return error != NULL && *error != NULL ? false : fail_errno (error, "write %s", self->path);
}

bool
history_compact (History *self, const SnapshotSet *snapshots, bool *out_left, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  if (!load (self, error))
    return false;
  *out_left = self->fd >= 0;
  if (self->fd < 0 || snapshots->doubtful)
    return true;
  g_autofree bool *needed = g_new0 (bool, self->lines->len + 1);
  guint count = mark_needed (self, snapshots, needed);
  *out_left = count > 0;
  if (count == self->lines->len && count > 0)
    return true;
  if (count > 0)
    return rewrite (self, needed, error);
  return unlinkat (self->store->fd, self->path, 0) == 0 ||
         fail_errno (error, "remove %s/%s", self->store->path, self->path);
}
