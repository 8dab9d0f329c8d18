/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting drafts into mailboxes, in the order of invariant 2:
 *
 *   1. content and state attribute are on disk, under the name in tmp/
 *   2. with the user lock held: the next UID goes onto the mailbox's directory, then the files move
 *      into it without replacing anything, then the directory is synced
 *   3. the rows are written; delivery.c says when they are committed
 *
 * A draft whose state was written with the wrong modseq, because another change came first, gets it
 * written once more between 1 and 2. UID and file name become durable together, by the one sync of
 * the directory: before it nobody has been told of either.
 */
#include "store/arrive.h"
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* Those appends of a batch that go into one mailbox. */
typedef struct {
  StoreMailbox *mailbox;
  GPtrArray *appends;
  IndexMailbox facts;
  const Epoch *epoch;
} Group;

bool
append_sync (const Append *append, GError **error)
{
  int tmp = append->mailbox->store->tmp_fd;
  if (append->bulk)
    return syncfs (tmp) == 0 || fail_errno (error, "sync the filesystem");
  for (size_t i = 0; i < append->count; i++) {
    auto_fd fd = layout_open (tmp, append->drafts[i]->name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0 || fsync (fd) < 0)
      return fail_errno (error, "sync a message in tmp");
  }
  return true;
}

/* ---- one append ---------------------------------------------------------------------------- */

static bool
number_drafts (Group *group, const Append *append, GError **error)
{
  uint32_t next = group->facts.uidnext;
  for (size_t i = 0; i < append->count; i++) {
    uint32_t uid = MAX (next, append->drafts[i]->wanted_uid);
    if (uid > STORE_UID_MAX)
      return fail (error, EOVERFLOW, "mailbox '%s' has given out all of its UIDs",
                   group->mailbox->path);
    append->drafts[i]->uid = uid;
    next = uid + 1;
  }
  group->facts.uidnext = next;
  return true;
}

/* Writes the states that were guessed wrong, and syncs them. */
static bool
correct_states (const Group *group, const Append *append, GError **error)
{
  StoreMailbox *mailbox = group->mailbox;
  uint64_t modseq = group->facts.highestmodseq;
  bool any = false;
  for (size_t i = 0; i < append->count; i++) {
    StoreDraft *draft = append->drafts[i];
    if (draft->state.modseq == modseq && draft->state.birth == group->epoch->epoch)
      continue;
    draft->state.modseq = modseq;
    draft->state.birth = group->epoch->epoch;
    auto_fd fd = layout_open (mailbox->store->tmp_fd, draft->name, O_RDONLY | O_NOFOLLOW, 0);
    if (fd < 0)
      return fail_errno (error, "open a message in tmp");
    if (!message_state_write (mailbox->store, mailbox->fd, fd, draft->uid, &draft->state, error))
      return false;
    if (!append->bulk && fsync (fd) < 0)
      return fail_errno (error, "sync a message in tmp");
    any = true;
  }
  if (any && append->bulk && syncfs (mailbox->fd) < 0)
    return fail_errno (error, "sync the filesystem");
  return true;
}

static bool
place_drafts (Append *append, GError **error)
{
  StoreMailbox *mailbox = append->mailbox;
  for (; append->placed < append->count; append->placed++) {
    StoreDraft *draft = append->drafts[append->placed];
    char name[STORE_NAME_SIZE];
    store_message_name (draft->uid, name);
    if (layout_move (mailbox->store->tmp_fd, draft->name, mailbox->fd, name) < 0)
      return fail_errno (error, "put message '%s/%s' into place", mailbox->path, name);
    draft->appended = true;
  }
  return true;
}

static bool
write_row (StoreMailbox *mailbox, IndexWrite *write, const StoreDraft *draft, GError **error)
{
  char name[STORE_NAME_SIZE];
  store_message_name (draft->uid, name);
  struct stat st;
  if (fstatat (mailbox->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_errno (error, "stat '%s/%s'", mailbox->path, name);
  IndexMessage row = {.uid = draft->uid,
                      .flags = draft->state.flags,
                      .damage = draft->summary.damage,
                      .birth = draft->state.birth,
                      .size = draft->size,
                      .modseq = draft->state.modseq,
                      .internal_s = st.st_mtim.tv_sec,
                      .changed_ns = stat_ctime_ns (&st),
                      .keywords = draft->state.keywords};
  IndexSummary summary = {.sent_s = draft->summary.sent_s,
                          .envelope = draft->summary.envelope,
                          .bodystructure = draft->summary.bodystructure};
  memcpy (summary.sha256, draft->summary.sha256, sizeof summary.sha256);
  return index_write_message (write, mailbox->number, &row, &summary, error);
}

/* ---- all appends to a mailbox -------------------------------------------------------------- */

/* Where index and directory disagree, the directory may hold UIDs that nothing else knows. */
static bool
skip_taken (Group *group, GError **error)
{
  if (group->facts.directory_ns != 0)
    return true;
  g_autoptr (GArray) uids = layout_uids (group->mailbox->fd, "", NULL, error);
  if (uids != NULL && uids->len > 0)
    group->facts.uidnext =
        MAX (group->facts.uidnext, g_array_index (uids, uint32_t, uids->len - 1) + 1);
  return uids != NULL;
}

/* What drafts that are finished from now on will most likely get. */
static void
note_guess (const Group *group)
{
  StoreMailbox *mailbox = group->mailbox;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&mailbox->mutex);
  mailbox->modseq = group->facts.highestmodseq;
  mailbox->epoch = group->epoch->epoch;
}

/* Gives the drafts what is only known now. An append that fails here leaves the others alone. */
static bool
prepare (Group *group, IndexWrite **write, GError **error)
{
  if (!lock_fits (group->mailbox, error) || !keep_directory (group->epoch, group->mailbox, error) ||
      !mailbox_learn (group->mailbox, group->epoch, write, &group->facts, error) ||
      !skip_taken (group, error))
    return false;
  group->facts.highestmodseq++;
  note_guess (group);
  for (guint i = 0; i < group->appends->len; i++) {
    Append *append = group->appends->pdata[i];
    if (number_drafts (group, append, &append->failure))
      correct_states (group, append, &append->failure);
  }
  return mailbox_write_state (group->mailbox, &group->facts, error);
}

static size_t
place (Group *group)
{
  size_t placed = 0;
  for (guint i = 0; i < group->appends->len; i++) {
    Append *append = group->appends->pdata[i];
    if (append->failure == NULL)
      place_drafts (append, &append->failure);
    placed += append->placed;
  }
  return placed;
}

static bool
write_rows (Group *group, IndexWrite *write, GError **error)
{
  bool agreed = group->facts.directory_ns != 0;
  if ((agreed && !mailbox_stamp (group->mailbox, &group->facts.directory_ns, error)) ||
      !index_write_mailbox (write, &group->facts, error))
    return false;
  for (guint i = 0; i < group->appends->len; i++) {
    const Append *append = group->appends->pdata[i];
    for (size_t k = 0; k < append->placed; k++)
      if (!write_row (group->mailbox, write, append->drafts[k], error))
        return false;
  }
  return true;
}

/* When the files are in place it has succeeded: an index that cannot follow shows by the
 * directory's mtime that it is behind, and the files are shown instead. */
static bool
append_group (Group *group, UserWrite *user, GError **error)
{
  if (!prepare (group, &user->write, error))
    return false;
  size_t placed = place (group);
  if (placed == 0)
    return true;
  bool synced =
      fsync (group->mailbox->fd) == 0 || fail_errno (error, "sync '%s'", group->mailbox->path);
  if (user->write != NULL && !write_rows (group, user->write, NULL))
    g_clear_pointer (&user->write, index_write_free);
  user->rows += placed;
  return synced;
}

static void
append_groups (GPtrArray *appends, UserWrite *user, const Epoch *epoch)
{
  g_autoptr (GPtrArray) left = g_ptr_array_copy (appends, NULL, NULL);
  while (left->len > 0) {
    g_autoptr (GPtrArray) own = g_ptr_array_new ();
    Group group = {.mailbox = ((Append *)left->pdata[0])->mailbox, .appends = own, .epoch = epoch};
    for (guint i = 0; i < left->len;) {
      Append *append = left->pdata[i];
      if (append->mailbox == group.mailbox)
        g_ptr_array_add (own, g_ptr_array_remove_index (left, i));
      else
        i++;
    }
    g_autoptr (GError) failure = NULL;
    if (!append_group (&group, user, &failure))
      append_fail_all (own, failure);
  }
}

void
append_batch (GPtrArray *appends, UserWrite *user)
{
  g_auto (Epoch) epoch = EPOCH_NONE;
  g_autoptr (GError) failure = NULL;
  const Append *first = appends->pdata[0];
  if (user->epoch != NULL)
    append_groups (appends, user, user->epoch);
  else if (epoch_enter (first->mailbox->store, &epoch, &failure))
    append_groups (appends, user, &epoch);
  else
    append_fail_all (appends, failure);
}

void
append_fail_all (GPtrArray *appends, const GError *failure)
{
  for (guint i = 0; i < appends->len; i++) {
    Append *append = appends->pdata[i];
    if (append->failure == NULL)
      append->failure = g_error_copy (failure);
  }
}

static void
note_appended (const Append *append)
{
  Store *store = append->mailbox->store;
  uint32_t number = append->mailbox->number;
  change_note (store, number, 0);
  for (size_t i = 0; i < append->placed && append->placed <= 64; i++)
    change_note (store, number, append->drafts[i]->uid);
  heal_note (append->mailbox, HEAL_TEXT);
}

bool
append_end (Append *append, GError **error)
{
  for (size_t i = append->placed; i < append->count; i++)
    append->drafts[i]->uid = 0;
  if (append->placed > 0)
    note_appended (append);
  if (append->failure == NULL)
    return true;
  g_propagate_prefixed_error (error, g_steal_pointer (&append->failure),
                              "append to '%s': ", append->mailbox->path);
  return false;
}

bool
store_mailbox_append (StoreMailbox *self, StoreDraft *const *drafts, size_t count,
                      StoreAppendFlags flags, GError **error)
{
  Append append = {
      .mailbox = self, .drafts = drafts, .count = count, .bulk = (flags & STORE_APPEND_BULK) != 0};
  if (count == 0)
    return true;
  if (store_is_read_only (self->store))
    return fail (error, EROFS, "the store %s is open read only", self->store->path);
  if (!append_sync (&append, error))
    return fail_prefix (error, "append to '%s'", self->path);
  delivery_append (&append);
  return append_end (&append, error);
}

/* The row follows; when it cannot, the directory's attribute counts all the same. */
static void
write_uid_row (StoreMailbox *self)
{
  g_autoptr (Handle) handle = NULL;
  g_autoptr (IndexWrite) write = mailbox_write_begin (self, &handle, NULL);
  IndexMailbox facts;
  if (write != NULL && mailbox_facts (self, write, &facts, NULL) &&
      index_write_mailbox (write, &facts, NULL))
    index_write_commit (write, NULL);
}

bool
store_mailbox_set_uidvalidity (StoreMailbox *self, uint32_t uidvalidity, uint32_t uidnext,
                               GError **error)
{
  if (uidvalidity == 0 || uidnext == 0 || uidnext > STORE_UID_MAX)
    return fail (error, EINVAL, "UIDVALIDITY %u with next UID %u makes no sense", uidvalidity,
                 uidnext);
  auto_fd lock = lock_mailbox (self, error);
  g_auto (Epoch) epoch = EPOCH_NONE;
  g_auto (NodeState) state = {0};
  bool found;
  if (lock < 0 || !epoch_enter (self->store, &epoch, error) ||
      !node_state_read (self->fd, self->kind, &state, &found, error))
    return false;
  g_autoptr (GArray) uids = layout_uids (self->fd, "", NULL, error);
  if (uids == NULL)
    return false;
  bool same = found && state.uidvalidity == uidvalidity;
  if (!same && (!found || state.uidnext != 1 || uids->len > 0))
    return fail (error, EBUSY, "mailbox '%s' has held messages already", self->path);
  if (same && uidnext <= state.uidnext)
    return true;
  state.uidvalidity = uidvalidity;
  state.uidnext = uidnext;
  if (!keep_directory (&epoch, self, error))
    return false;
  if (!node_state_write (self->store, self->fd, self->kind, &state, error))
    return fail_prefix (error, "'%s'", self->path);
  if (fsync (self->fd) < 0)
    return fail_errno (error, "sync '%s'", self->path);
  write_uid_row (self);
  change_note (self->store, self->number, 0);
  return true;
}
