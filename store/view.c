/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a mailbox. What is shown is what lies in the directory. The index is believed without
 * a look at the files only while the directory's mtime is the one at which both agreed; otherwise
 * the names in the directory decide which messages there are, and the index or the file tells about
 * each.
 */
#include "store/evidence.h"
#include "store/past.h"

#include <time.h>

static int64_t
now_ns (void)
{
  struct timespec now;
  clock_gettime (CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The UIDs of the files that there are to show. */
static GArray *
list_files (StoreMailbox *self, GError **error)
{
  g_autoptr (GError) failure = NULL;
  GArray *uids = self->store->past != NULL ? past_mailbox_files (self, &failure)
                                           : layout_uids (self->fd, "", NULL, &failure);
  if (uids == NULL && evidence_excuses (self->store, failure))
    return g_array_new (FALSE, FALSE, sizeof (uint32_t));
  if (uids == NULL)
    g_propagate_prefixed_error (error, g_steal_pointer (&failure), "'%s': ", self->path);
  return uids;
}

/* The UIDs in the directory. They are kept while its mtime stays, unless that is so fresh that
 * another change could have left the same. */
static GArray *
directory_uids (StoreMailbox *self, int64_t mtime_ns, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  if (self->uids != NULL && self->uids_ns == mtime_ns)
    return g_array_ref (self->uids);
  g_clear_pointer (&locker, g_mutex_locker_free);
  GArray *uids = list_files (self, error);
  if (uids == NULL)
    return NULL;
  if (now_ns () - mtime_ns > 100000000) {
    g_autoptr (GMutexLocker) again G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
    g_clear_pointer (&self->uids, g_array_unref);
    self->uids = g_array_ref (uids);
    self->uids_ns = mtime_ns;
  }
  return uids;
}

static void
drop_index (View *view)
{
  g_clear_pointer (&view->read, index_read_end);
  g_clear_pointer (&view->handle, handle_unref);
}

/* Whether the index has all the rows of the mailbox that it says it has. They are counted once, by
 * the first view that keeps the index as it is. */
static bool
has_all_rows (const View *view)
{
  StoreMailbox *mailbox = view->mailbox;
  uint64_t serial = view->handle->serial;
  if (mailbox->whole != serial && mailbox->lacking != serial && view->read != NULL) {
    if (index_count (view->handle->index, mailbox->number, NULL))
      mailbox->whole = serial;
    else
      mailbox->lacking = serial;
  }
  return mailbox->lacking != serial;
}

/* What the index has of a mailbox. `*out_reasons` is 0 when that is what lies in the directory,
 * else why it is of no use; if it is 0, and `still`, the index stays as it is. */
static bool
find_row (StoreMailbox *mailbox, bool still, View *view, int64_t *out_mtime_ns,
          HealReasons *out_reasons, GError **error)
{
  struct stat st;
  bool found = false, broken = false;
  g_autoptr (GError) failure = NULL;
  if (fstat (mailbox->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", mailbox->path);
  *view = (View){.mailbox = mailbox};
  if (mailbox->kind == STORE_NODE_MAILBOX) {
    view->handle = cache_index (mailbox->store, mailbox->owner, false, &failure);
    broken = view->handle == NULL && is_index_broken (failure);
  }
  if (view->handle != NULL && still)
    view->read = index_read_begin (view->handle->index, NULL);
  if (view->handle != NULL &&
      !index_mailbox_get (view->handle->index, mailbox->number, &view->row, &found, NULL)) {
    drop_index (view);
    broken = true;
  }
  if (!found)
    view->row = (IndexMailbox){0};
  *out_mtime_ns = stat_mtime_ns (&st);
  bool agrees = found && view->row.directory_ns == *out_mtime_ns;
  if (agrees && !has_all_rows (view)) {
    agrees = false;
    broken = true;
  }
  *out_reasons = agrees ? 0 : broken ? HEAL_ROWS | HEAL_INDEX : HEAL_ROWS;
  if (!agrees)
    g_clear_pointer (&view->read, index_read_end);
  return true;
}

static bool
begin (StoreMailbox *mailbox, bool still, View *out, GError **error)
{
  View view;
  int64_t mtime_ns;
  HealReasons reasons;
  if (!find_row (mailbox, still, &view, &mtime_ns, &reasons, error))
    return false;
  if (reasons != 0) {
    if (mailbox->kind == STORE_NODE_MAILBOX)
      heal_note (mailbox, reasons);
    view.uids = directory_uids (mailbox, mtime_ns, error);
    if (view.uids == NULL) {
      view_clear (&view);
      return false;
    }
  }
  *out = view;
  return true;
}

bool
view_begin (StoreMailbox *mailbox, View *out, GError **error)
{
  return begin (mailbox, false, out, error);
}

bool
view_begin_still (StoreMailbox *mailbox, View *out, GError **error)
{
  return begin (mailbox, true, out, error);
}

bool
mailbox_is_copied (const StoreMailbox *self)
{
  g_auto (NodeState) state = {0};
  bool found = false;
  return node_state_read (self->fd, self->kind, &state, &found, NULL) && found && state.copied;
}

bool
mailbox_is_behind (StoreMailbox *self)
{
  g_auto (View) view = {0};
  int64_t mtime_ns;
  HealReasons reasons;
  return self->kind == STORE_NODE_MAILBOX &&
         ((find_row (self, false, &view, &mtime_ns, &reasons, NULL) && reasons != 0) ||
          mailbox_is_copied (self));
}

void
view_clear (View *view)
{
  drop_index (view);
  g_clear_pointer (&view->uids, g_array_unref);
}

bool
view_distrust (View *view, GError **error)
{
  drop_index (view);
  heal_note (view->mailbox, HEAL_INDEX);
  if (view->uids == NULL)
    view->uids = list_files (view->mailbox, error);
  return view->uids != NULL;
}

bool
message_from_file (const StoreMailbox *mailbox, uint32_t uid, bool expunged, int64_t then_ns,
                   IndexMessage *out, bool *out_found, GError **error)
{
  char name[32];
  layout_message_path (uid, expunged, name);
  struct stat st;
  *out_found = false;
  if (fstatat (mailbox->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
    if (errno == ENOENT)
      return true;
    if (!evidence_or_fail (mailbox->store, error, "stat '%s/%s'", mailbox->path, name))
      return false;
    *out = (IndexMessage){.uid = uid, .damage = INDEX_DAMAGE_UNREADABLE, .expunged = expunged};
    return *out_found = true;
  }
  if (!S_ISREG (st.st_mode))
    return true;
  g_auto (MessageState) state = {0};
  bool has_state = false;
  auto_fd fd = layout_open_message (mailbox->fd, name);
  if (fd < 0 && errno == ENOENT)
    return true;
  *out_found = true;
  if (fd < 0 || !message_state_read (mailbox->fd, fd, uid, &state, &has_state, NULL))
    message_state_clear (&state);
  *out = (IndexMessage){.uid = uid,
                        .flags = state.flags,
                        .damage = fd < 0 ? INDEX_DAMAGE_UNREADABLE : 0,
                        .birth = state.birth,
                        .expunged = state.expunged,
                        .size = (uint64_t)st.st_size,
                        .modseq = state.modseq,
                        .internal_s = st.st_mtim.tv_sec,
                        .changed_ns = stat_ctime_ns (&st),
                        .keywords = g_steal_pointer (&state.keywords)};
  /* Where state and place contradict each other the place counts, since the file came there. */
  if ((out->expunged != 0) != expunged && out->changed_ns <= then_ns)
    out->expunged = expunged;
  return true;
}

/* Where evidence has rows and files that do not agree nobody brings them together: what is newer is
 * shown. A row that was salvaged of a damaged index may be rotten itself, its modseq too. */
void
view_prefer_file (const View *view, IndexMessage *row)
{
  const StoreMailbox *mailbox = view->mailbox;
  g_auto (IndexMessage) file = {0};
  bool found = false;
  if (mailbox->store->evidence == NULL ||
      !message_from_file (mailbox, row->uid, row->expunged != 0, INT64_MAX, &file, &found, NULL) ||
      !found || file.modseq == 0)
    return;
  if (index_is_salvaged (view->handle->index)) {
    IndexMessage salvaged = *row;
    *row = file;
    file = salvaged;
    return;
  }
  if (file.modseq <= row->modseq)
    return;
  row->flags = file.flags;
  row->modseq = file.modseq;
  g_free (row->keywords);
  row->keywords = g_steal_pointer (&file.keywords);
}

bool
view_message (View *view, uint32_t uid, IndexMessage *out, bool *out_found, GError **error)
{
  IndexMessage row = {0};
  bool found = false;
  if (view->handle != NULL &&
      !index_message_get (view->handle->index, view->mailbox->number, uid, &row, &found, NULL) &&
      !view_distrust (view, error))
    return false;
  bool live = found && row.expunged == 0;
  if (live && view->uids != NULL)
    live = g_array_binary_search (view->uids, &uid, layout_compare_uids, NULL);
  if (live) {
    if (view->uids != NULL)
      view_prefer_file (view, &row);
    *out = row;
    *out_found = true;
    return true;
  }
  index_message_clear (&row);
  *out_found = false;
  return view->uids == NULL ||
         message_from_file (view->mailbox, uid, false, INT64_MAX, out, out_found, error);
}
