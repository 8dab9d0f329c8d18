/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files against rows. The calling thread reads names and rows, both in order of UID, and compares
 * size and times; only files that are new or look different are opened, by threads of the scan's
 * own, and come back through a queue of bounded length. Nothing is locked and nothing is written:
 * what a scan found may be out of date by the time it is consumed, and the consumer looks again.
 */
#include "store/scan.h"
#include "store/check.h"
#include "store/jobs.h"

#include <string.h>
#include <unistd.h>

/* How many items may be under way. */
#define UNDER_WAY_MAX 256u

#define ROWS_PAGE 256u

struct Scan {
  StoreJob *job; /* NULL: nobody to tell about progress */
  ScanFlags flags;
  Inspection *inspection; /* NULL: none */
  ScanFunc consume;
  void *data;
  GThreadPool *pool;
  GAsyncQueue *read; /* items that the threads are done with */
  unsigned under_way;
  Index *salvaged; /* NULL: nothing */
};

/* A message file that was found. */
typedef struct {
  uint32_t uid;
  bool expunged;
  bool doubled; /* there is one in either place */
} Name;

void
scan_mailbox_free (ScanMailbox *mailbox)
{
  if (mailbox == NULL)
    return;
  store_mailbox_unref (mailbox->mailbox);
  node_state_clear (&mailbox->state);
  g_free (mailbox);
}

/* ---- the flow of items --------------------------------------------------------------------- */

static void
read_in_thread (gpointer item, gpointer data)
{
  Scan *scan = data;
  if (scan->job == NULL || g_atomic_int_get (&scan->job->cancelled) == 0)
    scan_read (item);
  g_async_queue_push (scan->read, item);
}

Scan *
scan_new (StoreJob *job, ScanFlags flags, ScanFunc consume, void *data)
{
  Scan *self = g_new0 (Scan, 1);
  self->job = job;
  self->flags = flags;
  self->consume = consume;
  self->data = data;
  self->read = g_async_queue_new_full ((GDestroyNotify)scan_item_free);
  return self;
}

/* By threads of its own, which inherit the low priority of a worker, as those that pools share do
 * not. Most scans find nothing to read and need none. */
static void
read_beside (Scan *self, ScanItem *item)
{
  if (self->pool == NULL)
    self->pool =
        g_thread_pool_new (read_in_thread, self, (int)MIN (g_get_num_processors (), 8), TRUE, NULL);
  g_thread_pool_push (self->pool, item, NULL);
}

void
scan_recall (Scan *self, Index *salvaged)
{
  self->salvaged = salvaged;
}

void
scan_inspect (Scan *self, Inspection *inspection)
{
  self->inspection = inspection;
}

void
scan_free (Scan *self)
{
  if (self == NULL)
    return;
  if (self->pool != NULL)
    g_thread_pool_free (self->pool, FALSE, TRUE);
  /* The threads are done, so all that was under way is in the queue. */
  for (; self->under_way > 0; self->under_way--)
    scan_item_free (g_async_queue_pop (self->read));
  g_async_queue_unref (self->read);
  g_free (self);
}

static bool
consume (Scan *self, ScanItem *item, GError **error)
{
  if (self->job != NULL) {
    job_step (self->job, 1, 0);
    if (item->verdict != SCAN_GONE)
      job_looked_at (self->job, 0, 1, (uint64_t)item->st.st_size);
    if (!job_go_on (self->job, error)) {
      scan_item_free (item);
      return false;
    }
  }
  if (self->inspection != NULL && item->verdict != SCAN_GONE && item->st.st_nlink > 0)
    inspection_message (self->inspection, item->mailbox, item->uid, item->expunged, &item->st);
  return self->consume (item, self->data, error);
}

static bool
consume_one (Scan *self, GError **error)
{
  ScanItem *item = g_async_queue_pop (self->read);
  self->under_way--;
  return consume (self, item, error);
}

bool
scan_drain (Scan *self, GError **error)
{
  while (self->under_way > 0) {
    if (!consume_one (self, error))
      return false;
  }
  return true;
}

/* Looks whether a message without a row was removed for good before. */
static bool
find_record (const ScanMailbox *in, ScanItem *item, GError **error)
{
  bool found = false;
  if (in->row.removed == 0 || item->expunged)
    return true;
  g_autoptr (Handle) handle = cache_index (in->mailbox->store, in->mailbox->owner, false, error);
  return handle != NULL && index_removed_get (handle->index, in->mailbox->number, item->uid,
                                              &item->removed, &found, error);
}

/* Takes the row over. */
static bool
emit (Scan *self, ScanMailbox *in, ScanVerdict verdict, const Name *name, IndexMessage *row,
      const struct stat *st, GError **error)
{
  ScanItem *item = g_new0 (ScanItem, 1);
  item->mailbox = store_mailbox_ref (in->mailbox);
  item->verdict = verdict;
  item->uid = name != NULL ? name->uid : row->uid;
  item->expunged = name != NULL && name->expunged;
  item->doubled = name != NULL && name->doubled;
  item->mailbox_known = in->row.number != 0 && self->salvaged == NULL;
  item->partial = in->partial;
  item->salvaged = self->salvaged;
  item->recalled = row != NULL && in->recalling;
  if (row != NULL) {
    item->row = *row;
    *row = (IndexMessage){0};
  }
  if (st != NULL)
    item->st = *st;
  in->differences++;
  char path[32];
  scan_item_path (item, path);
  if (verdict == SCAN_NEW && !find_record (in, item, error)) {
    scan_item_free (item);
    return false;
  }
  bool unread = verdict == SCAN_NEW && (self->flags & SCAN_SKIP_NEW) && item->removed == 0;
  if (unread && fstatat (in->mailbox->fd, path, &item->st, AT_SYMLINK_NOFOLLOW) < 0)
    item->st = (struct stat){0};
  if (unread || verdict == SCAN_GONE)
    return consume (self, item, error);
  read_beside (self, item);
  self->under_way++;
  return self->under_way < UNDER_WAY_MAX || consume_one (self, error);
}

/* ---- names --------------------------------------------------------------------------------- */

static gint
compare_names (gconstpointer a, gconstpointer b)
{
  const Name *first = a, *second = b;
  if (first->uid != second->uid)
    return first->uid < second->uid ? -1 : 1;
  return first->expunged - second->expunged;
}

static void
append_names (GArray *names, const GArray *uids, bool expunged)
{
  for (guint i = 0; i < uids->len; i++) {
    Name name = {g_array_index (uids, uint32_t, i), expunged};
    g_array_append_val (names, name);
  }
}

/* Whether what it meets is told of: in a second pass it has been. */
static bool
tells (const Scan *self)
{
  return self->job != NULL && !self->job->counted;
}

/* Of a UID in both places the message that is not expunged counts; the other is told of and left
 * alone. */
static void
tell_doubled (Scan *self, ScanMailbox *in, GArray *names)
{
  for (guint i = 1; i < names->len; i++) {
    Name *name = &g_array_index (names, Name, i - 1);
    name->doubled = name->uid == g_array_index (names, Name, i).uid;
    if (name->doubled && tells (self))
      job_found (self->job, STORE_PROBLEM_DUPLICATE, false, in->mailbox->number, name->uid,
                 in->mailbox->path, "an expunged message has this UID, too");
  }
}

/* All message files of the mailbox, expunged ones too. */
static GArray *
read_names (Scan *self, ScanMailbox *in, GError **error)
{
  g_autoptr (GPtrArray) strays = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GArray) live = layout_uids (in->mailbox->fd, "", strays, error);
  g_autoptr (GError) failure = NULL;
  g_autoptr (GArray) gone = layout_uids (in->mailbox->fd, LAYOUT_EXPUNGED, strays, &failure);
  if (live == NULL || (gone == NULL && failure->code != ENOENT)) {
    if (live != NULL)
      g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  for (guint i = 0; tells (self) && i < strays->len; i++) {
    g_autofree char *path = g_strdup_printf ("%s/%s", in->mailbox->path, (char *)strays->pdata[i]);
    job_found (self->job, STORE_PROBLEM_STRAY, false, in->mailbox->number, 0, path, "no message");
  }
  GArray *names = g_array_sized_new (FALSE, FALSE, sizeof (Name), live->len);
  append_names (names, live, false);
  if (gone != NULL && gone->len > 0) {
    append_names (names, gone, true);
    g_array_sort (names, compare_names);
    tell_doubled (self, in, names);
  }
  if (names->len > 0)
    in->highest_uid = g_array_index (names, Name, names->len - 1).uid;
  return names;
}

/* ---- merging ------------------------------------------------------------------------------- */

/* Rows in order, a page at a time. */
typedef struct {
  Index *index; /* NULL: no rows */
  uint32_t mailbox, after;
  IndexMessage page[ROWS_PAGE];
  size_t count, next;
} Rows;

/* The rows of the index, and those that were salvaged of a broken one. */
typedef struct {
  Rows own, salvaged;
  Rows *from; /* where the row came from that was looked at last */
} Sources;

/* The next row, or NULL at the end. */
static bool
peek_row (Rows *rows, IndexMessage **out, GError **error)
{
  if (rows->next == rows->count && rows->index != NULL) {
    index_messages_clear (rows->page, rows->count);
    rows->next = rows->count = 0;
    if (!index_message_page (rows->index, rows->mailbox, rows->after, INDEX_LIVE | INDEX_EXPUNGED,
                             rows->page, ROWS_PAGE, &rows->count, error))
      return false;
    if (rows->count > 0)
      rows->after = rows->page[rows->count - 1].uid;
    else
      rows->index = NULL;
  }
  *out = rows->next < rows->count ? &rows->page[rows->next] : NULL;
  return true;
}

/* The next salvaged row below `limit`, if there is one. One that makes no sense is passed over, and
 * so is one that the index has itself. */
static bool
peek_salvaged (Rows *rows, uint64_t limit, IndexMessage **out, GError **error)
{
  for (;; rows->next++) {
    if (!peek_row (rows, out, error))
      return false;
    if (*out == NULL)
      return true;
    uint32_t flags;
    g_autofree char *keywords = NULL;
    const char *text = (*out)->keywords;
    if ((*out)->uid != limit && (text == NULL || store_flags_parse (text, &flags, &keywords, NULL)))
      break;
  }
  if ((*out)->uid > limit)
    *out = NULL;
  return true;
}

/* The next row of either source. */
static bool
peek_either (Sources *sources, IndexMessage **out, GError **error)
{
  IndexMessage *own, *salvaged;
  if (!peek_row (&sources->own, &own, error) ||
      !peek_salvaged (&sources->salvaged, own != NULL ? own->uid : UINT64_MAX, &salvaged, error))
    return false;
  sources->from = salvaged != NULL ? &sources->salvaged : &sources->own;
  *out = salvaged != NULL ? salvaged : own;
  return true;
}

static bool
looks_same (const Name *name, const IndexMessage *row, const struct stat *st)
{
  return (row->expunged != 0) == name->expunged && row->size == (uint64_t)st->st_size &&
         row->internal_s == st->st_mtim.tv_sec && row->changed_ns == stat_ctime_ns (st) &&
         (row->damage & STORE_DAMAGE_GRAVE) == 0;
}

/* A file with its row: compared, and emitted when they differ. */
static bool
compare_pair (Scan *self, ScanMailbox *in, const Name *name, IndexMessage *row, GError **error)
{
  struct stat st;
  char path[32];
  layout_message_path (name->uid, name->expunged, path);
  bool names_only = (self->flags & SCAN_NAMES) && (row->expunged != 0) == name->expunged;
  if (!names_only) {
    if (fstatat (in->mailbox->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
      return errno == ENOENT ? emit (self, in, SCAN_GONE, NULL, row, NULL, error)
                             : fail_errno (error, "stat '%s/%s'", in->mailbox->path, path);
    if ((self->flags & SCAN_READ_ALL) || in->recalling || !looks_same (name, row, &st))
      return emit (self, in, SCAN_CHANGED, name, row, &st, error);
    if (self->inspection != NULL)
      inspection_message (self->inspection, in->mailbox, name->uid, name->expunged, &st);
  }
  if (self->job != NULL)
    job_looked_at (self->job, 0, 1, row->size);
  return true;
}

/* A row without a name: the file is gone, or came after the names were read. */
static bool
miss_file (Scan *self, ScanMailbox *in, IndexMessage *row, GError **error)
{
  struct stat st;
  char path[32];
  layout_message_path (row->uid, row->expunged != 0, path);
  return layout_message_stat (in->mailbox->fd, path, &st) ||
         emit (self, in, SCAN_GONE, NULL, row, NULL, error);
}

static bool
merge (Scan *self, ScanMailbox *in, const GArray *names, Sources *sources, GError **error)
{
  guint i = 0;
  uint64_t stepped = 0;
  while (true) {
    const Name *name = i < names->len ? &g_array_index (names, Name, i) : NULL;
    IndexMessage *row;
    bool good = true;
    if (!peek_either (sources, &row, error))
      return false;
    in->recalling = sources->from == &sources->salvaged;
    if (name == NULL && row == NULL)
      break;
    if (name != NULL && i > 0 && g_array_index (names, Name, i - 1).uid == name->uid) {
      i++;
      continue;
    }
    if (row == NULL || (name != NULL && name->uid < row->uid)) {
      good = emit (self, in, SCAN_NEW, name, NULL, NULL, error);
      i++;
    } else if (name == NULL || row->uid < name->uid) {
      good = miss_file (self, in, row, error);
      sources->from->next++;
    } else {
      uint64_t before = in->differences;
      good = compare_pair (self, in, name, row, error);
      stepped += in->differences == before;
      sources->from->next++;
      i++;
    }
    if (!good || (self->job != NULL && !job_go_on (self->job, error)))
      return false;
    if (self->job != NULL && stepped >= 1000) {
      job_step (self->job, stepped, 0);
      stepped = 0;
    }
  }
  if (self->job != NULL)
    job_step (self->job, stepped, 0);
  return true;
}

/* What stands on the directory and in the mailbox's own row. */
static bool
read_mailbox (const Scan *self, ScanMailbox *in, Handle *handle, GError **error)
{
  StoreMailbox *mailbox = in->mailbox;
  struct stat st;
  if (fstat (mailbox->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", mailbox->path);
  in->directory_ns = stat_mtime_ns (&st);
  in->has_index = handle != NULL;
  in->partial = handle != NULL && index_is_salvaged (handle->index);
  bool found = false;
  if (handle != NULL &&
      !index_mailbox_get (handle->index, mailbox->number, &in->row, &found, error))
    return false;
  if (!found)
    in->row = (IndexMailbox){0};
  if (self->salvaged != NULL &&
      !index_mailbox_get (self->salvaged, mailbox->number, &in->salvaged, &found, error))
    return false;
  g_autoptr (GError) failure = NULL;
  if (!node_state_read (mailbox->fd, mailbox->kind, &in->state, &in->has_state, &failure) &&
      failure->code != EBADMSG) {
    g_propagate_prefixed_error (error, g_steal_pointer (&failure), "%s: ", mailbox->path);
    return false;
  }
  return true;
}

ScanMailbox *
scan_mailbox (Scan *self, StoreMailbox *mailbox, GError **error)
{
  ScanMailbox *in = g_new0 (ScanMailbox, 1);
  in->mailbox = store_mailbox_ref (mailbox);
  g_autoptr (Handle) handle = (self->flags & SCAN_NO_ROWS) != 0
                                  ? NULL
                                  : cache_index (mailbox->store, mailbox->owner, false, NULL);
  g_autoptr (GArray) names = NULL;
  bool good =
      read_mailbox (self, in, handle, error) && (names = read_names (self, in, error)) != NULL;
  if (good) {
    if (self->job != NULL) {
      job_looked_at (self->job, 1, 0, 0);
      job_step (self->job, 0, names->len);
    }
    g_autofree Sources *sources = g_new0 (Sources, 1);
    sources->own.index = handle != NULL ? handle->index : NULL;
    sources->salvaged.index = self->salvaged;
    sources->own.mailbox = sources->salvaged.mailbox = mailbox->number;
    good = merge (self, in, names, sources, error);
    index_messages_clear (sources->own.page, sources->own.count);
    index_messages_clear (sources->salvaged.page, sources->salvaged.count);
  }
  if (!good)
    g_clear_pointer (&in, scan_mailbox_free);
  return in;
}
