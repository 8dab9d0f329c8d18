/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting drafts into a mailbox, in the order of invariant 2:
 *
 *   1. content and state attribute are on disk, under the name in tmp/
 *   2. with the user lock held: the next UID goes onto the mailbox's directory, then the file moves
 * into it without replacing anything, then the directory is synced
 *   3. the row is committed
 *
 * A draft whose state was written with the wrong modseq, because another change came first, gets it
 * written once more between 1 and 2.
 */
#include "store/internal.h"

#include <string.h>
#include <unistd.h>

/* One commit of drafts into a mailbox. */
typedef struct {
  StoreMailbox *mailbox;
  StoreDraft *const *drafts;
  size_t count, placed;
  bool bulk;
  IndexMailbox facts;
  uint32_t epoch;
} Append;

static bool
sync_drafts (const Append *append, GError **error)
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

/* Writes the states that were guessed wrong, and syncs them. */
static bool
correct_states (const Append *append, GError **error)
{
  StoreMailbox *mailbox = append->mailbox;
  uint64_t modseq = append->facts.highestmodseq;
  bool any = false;
  for (size_t i = 0; i < append->count; i++) {
    StoreDraft *draft = append->drafts[i];
    if (draft->state.modseq == modseq && draft->state.birth == append->epoch)
      continue;
    draft->state.modseq = modseq;
    draft->state.birth = append->epoch;
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
number_drafts (Append *append, GError **error)
{
  uint32_t next = append->facts.uidnext;
  for (size_t i = 0; i < append->count; i++) {
    uint32_t uid = MAX (next, append->drafts[i]->wanted_uid);
    if (uid > STORE_UID_MAX)
      return fail (error, EOVERFLOW, "mailbox '%s' has given out all of its UIDs",
                   append->mailbox->path);
    append->drafts[i]->uid = uid;
    next = uid + 1;
  }
  append->facts.uidnext = next;
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
write_rows (Append *append, IndexWrite *write, bool agreed, GError **error)
{
  StoreMailbox *mailbox = append->mailbox;
  append->facts.directory_ns = 0;
  if (agreed && !mailbox_stamp (mailbox, &append->facts.directory_ns, error))
    return false;
  if (!index_write_mailbox (write, &append->facts, error))
    return false;
  for (size_t i = 0; i < append->placed; i++) {
    StoreDraft *draft = append->drafts[i];
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
    if (!index_write_message (write, mailbox->number, &row, &summary, error))
      return false;
  }
  return index_write_commit (write, error);
}

/* Where index and directory disagree, the directory may hold UIDs that nothing else knows. */
static bool
skip_taken (Append *append, GError **error)
{
  if (append->facts.directory_ns != 0)
    return true;
  g_autoptr (GArray) uids = layout_uids (append->mailbox->fd, "", NULL, error);
  if (uids != NULL && uids->len > 0)
    append->facts.uidnext =
        MAX (append->facts.uidnext, g_array_index (uids, uint32_t, uids->len - 1) + 1);
  return uids != NULL;
}

/* With the user lock held. When the files are in place it has succeeded: an index that cannot
 * follow shows by the directory's mtime that it is behind, and the files are shown instead. */
static bool
append_locked (Append *append, GError **error)
{
  StoreMailbox *mailbox = append->mailbox;
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) handle = NULL;
  g_autoptr (IndexWrite) write = mailbox_write_begin (mailbox, &handle, NULL);
  if (mailbox_learn (mailbox, &write, &append->facts, &failure)) {
    append->facts.highestmodseq++;
    append->epoch = store_epoch (mailbox->store);
    if (skip_taken (append, &failure) && number_drafts (append, &failure) &&
        correct_states (append, &failure) &&
        mailbox_write_state (mailbox, &append->facts, &failure))
      place_drafts (append, &failure);
  }
  if (append->placed > 0 && fsync (mailbox->fd) < 0 && failure == NULL)
    fail_errno (&failure, "sync '%s'", mailbox->path);
  if (append->placed > 0 && write != NULL)
    write_rows (append, write, append->facts.directory_ns != 0, NULL);
  if (failure == NULL)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static void
note_appended (const Append *append)
{
  Store *store = append->mailbox->store;
  uint32_t number = append->mailbox->number;
  change_note (store, number, 0);
  for (size_t i = 0; i < append->placed && append->placed <= 64; i++)
    change_note (store, number, append->drafts[i]->uid);
}

bool
store_mailbox_append (StoreMailbox *self, StoreDraft *const *drafts, size_t count,
                      StoreAppendFlags flags, GError **error)
{
  Append append = {
      .mailbox = self, .drafts = drafts, .count = count, .bulk = (flags & STORE_APPEND_BULK) != 0};
  if (count == 0)
    return true;
  if (!sync_drafts (&append, error))
    return fail_prefix (error, "append to '%s'", self->path);
  auto_fd lock = lock_mailbox (self, error);
  if (lock < 0)
    return false;
  bool done = append_locked (&append, error) || fail_prefix (error, "append to '%s'", self->path);
  for (size_t i = append.placed; i < count; i++)
    drafts[i]->uid = 0;
  if (append.placed > 0)
    note_appended (&append);
  return done;
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
  g_auto (NodeState) state = {0};
  bool found;
  if (lock < 0 || !node_state_read (self->fd, self->kind, &state, &found, error))
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
  if (!node_state_write (self->store, self->fd, self->kind, &state, error))
    return fail_prefix (error, "'%s'", self->path);
  if (fsync (self->fd) < 0)
    return fail_errno (error, "sync '%s'", self->path);
  write_uid_row (self);
  change_note (self->store, self->number, 0);
  return true;
}
