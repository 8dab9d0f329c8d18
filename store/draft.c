/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New mail. A draft is a file in tmp/, written and parsed without any lock; appending gives it a
 * UID and puts it into its mailbox. The order is that of invariant 2:
 *
 *   1. content and state attribute are on disk, under the name in tmp/
 *   2. with the user lock held: the next UID on the mailbox's directory, then the file moves into
 * the directory without replacing anything, then the directory is synced
 *   3. the row is committed
 *
 * The state attribute contains the modseq, which is known only under the lock. A draft is written
 * with the modseq that it will most likely get; only when another change came first is it written
 * once more.
 */
#include "store/internal.h"

#include <attr/error_context.h>
#include <attr/libattr.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* Messages up to this size are parsed from memory, larger ones from their file. */
#define MEMORY_MAX (4u << 20)

struct StoreDraft {
  Store *store;
  char name[32]; /* in the process's directory in tmp/ */
  int fd;        /* while it is being written, else -1 */
  bool in_tmp;   /* there is a file under `name` */
  bool appended;
  GByteArray *bytes; /* what was written, as long as it is small; NULL: parse the file */
  uint64_t size;
  MessageState state;
  int64_t internal_s;
  uint32_t wanted_uid, uid;
  StoreSummary summary;
};

/* ---- writing ------------------------------------------------------------------------------- */

StoreDraft *
store_draft_new (Store *self, const StoreFacts *facts, GError **error)
{
  if (store_is_read_only (self)) {
    fail (error, EROFS, "the store %s is open read only", self->path);
    return NULL;
  }
  if (layout_tmp (self, error) < 0)
    return NULL;
  g_autoptr (StoreDraft) draft = g_new0 (StoreDraft, 1);
  draft->store = self;
  draft->fd = -1;
  draft->bytes = g_byte_array_new ();
  draft->internal_s = facts->internal_s == INT64_MIN ? time (NULL) : facts->internal_s;
  draft->wanted_uid = facts->uid;
  /* Sorts the keywords and refuses what is none. */
  g_autofree char *text = store_flags_to_string (facts->flags, facts->keywords);
  if (!store_flags_parse (text, &draft->state.flags, &draft->state.keywords, error))
    return NULL;
  layout_tmp_name (self, draft->name);
  return g_steal_pointer (&draft);
}

static bool
create_file (StoreDraft *self, GError **error)
{
  if (self->fd >= 0)
    return true;
  self->fd = openat (self->store->tmp_fd, self->name,
                     O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
  if (self->fd < 0)
    return fail_errno (error, "make a file in %s/tmp", self->store->path);
  self->in_tmp = true;
  return layout_own (self->store, self->fd, error);
}

static bool
write_file (StoreDraft *self, const uint8_t *bytes, size_t size, GError **error)
{
  for (size_t done = 0; done < size;) {
    ssize_t written = write (self->fd, bytes + done, size - done);
    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return fail_errno (error, "write a message to %s/tmp", self->store->path);
    done += (size_t)written;
  }
  self->size += size;
  return true;
}

bool
store_draft_write (StoreDraft *self, const void *bytes, size_t size, GError **error)
{
  if (!create_file (self, error) || !write_file (self, bytes, size, error))
    return false;
  if (self->bytes != NULL && self->size <= MEMORY_MAX)
    g_byte_array_append (self->bytes, bytes, (guint)size);
  else
    g_clear_pointer (&self->bytes, g_byte_array_unref);
  return true;
}

/* Which attributes are carried: foreign user.* ones. */
static int
is_foreign (const char *name, struct error_context *context)
{
  return g_str_has_prefix (name, "user.") && !g_str_has_prefix (name, "user.mailfs.");
}

static void
ignore_error (struct error_context *context, const char *format, ...)
{
}

/* Copies what can be copied: an attribute that does not fit is no reason to refuse the message. */
static void
copy_attributes (int from, int to)
{
  struct error_context quiet = {.error = ignore_error};
  attr_copy_fd ("source", from, "message", to, is_foreign, &quiet);
}

static bool
copy_bytes (StoreDraft *self, int source, GError **error)
{
  g_autofree uint8_t *buffer = g_malloc (262144);
  ssize_t got;
  while ((got = read (source, buffer, 262144)) != 0) {
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno (error, "read");
    if (!store_draft_write (self, buffer, (size_t)got, error))
      return false;
  }
  return create_file (self, error);
}

static bool
link_file (StoreDraft *self, int directory_fd, const char *name, GError **error)
{
  int tmp = self->store->tmp_fd;
  if (linkat (directory_fd, name, tmp, self->name, 0) < 0)
    return fail_errno (error, "link '%s'", name);
  self->in_tmp = true;
  self->fd = layout_open (tmp, self->name, O_RDWR | O_NOFOLLOW, 0);
  if (self->fd < 0)
    return fail_errno (error, "open '%s'", name);
  if (fchmod (self->fd, 0640) < 0)
    return fail_errno (error, "change the mode of '%s'", name);
  return layout_own (self->store, self->fd, error);
}

static bool
reflink_file (StoreDraft *self, int source, GError **error)
{
  if (!create_file (self, error))
    return false;
  if (ioctl (self->fd, FICLONE, source) < 0)
    return fail_errno (error, "share the blocks of a message");
  return true;
}

bool
store_draft_take (StoreDraft *self, int directory_fd, const char *name, StoreTransfer transfer,
                  GError **error)
{
  auto_fd source = openat (directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  struct stat st;
  if (source < 0 || fstat (source, &st) < 0)
    return fail_errno (error, "open '%s'", name);
  if (!S_ISREG (st.st_mode))
    return fail (error, EINVAL, "'%s' is no regular file", name);
  bool taken = transfer == STORE_COPY      ? copy_bytes (self, source, error)
               : transfer == STORE_REFLINK ? reflink_file (self, source, error)
                                           : link_file (self, directory_fd, name, error);
  if (!taken)
    return false;
  if (transfer != STORE_COPY) {
    g_clear_pointer (&self->bytes, g_byte_array_unref);
    self->size = (uint64_t)st.st_size;
  }
  if (transfer != STORE_LINK)
    copy_attributes (source, self->fd);
  return true;
}

static bool
parse (StoreDraft *self, GError **error)
{
  if (self->bytes != NULL) {
    parse_bytes (self->bytes->data, self->bytes->len, &self->summary);
    return true;
  }
  uint64_t size;
  if (!parse_file (self->fd, self->size, &self->summary, &size, error))
    return false;
  return size == self->size || fail (error, EIO, "the message changed while it was read");
}

/* The modseq that the next change of the mailbox gets, if none comes before. */
static uint64_t
guess_modseq (StoreMailbox *mailbox)
{
  g_auto (NodeState) state = {0};
  bool found;
  IndexMailbox row = {0};
  g_autoptr (Handle) handle = cache_index (mailbox->store, mailbox->owner, false, NULL);
  if (handle == NULL || !index_mailbox_get (handle->index, mailbox->number, &row, &found, NULL) ||
      !found)
    row.highestmodseq = 0;
  if (!node_state_read (mailbox->fd, mailbox->kind, &state, &found, NULL) || !found)
    state.modseq = 0;
  return MAX (row.highestmodseq, state.modseq) + 1;
}

bool
store_draft_finish (StoreDraft *self, StoreMailbox *mailbox, GError **error)
{
  if (!create_file (self, error) || !parse (self, error))
    return false;
  g_clear_pointer (&self->bytes, g_byte_array_unref);
  self->state.modseq = guess_modseq (mailbox);
  self->state.birth = store_epoch (self->store);
  /* Without user attributes the state is kept in the mailbox's .state, which is written on
   * appending. */
  g_autoptr (GError) failure = NULL;
  if (!message_state_write (self->store, -1, self->fd, 0, &self->state, &failure) &&
      failure->code != EBADF) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  if (failure != NULL)
    self->state.modseq = 0;
  struct timespec times[2] = {{.tv_sec = self->internal_s}, {.tv_sec = self->internal_s}};
  if (futimens (self->fd, times) < 0)
    return fail_errno (error, "set the date of a message");
  close (g_steal_fd (&self->fd));
  return true;
}

const uint8_t *
store_draft_sha256 (const StoreDraft *self)
{
  return self->summary.sha256;
}

uint64_t
store_draft_size (const StoreDraft *self)
{
  return self->size;
}

uint32_t
store_draft_uid (const StoreDraft *self)
{
  return self->uid;
}

void
store_draft_free (StoreDraft *self)
{
  if (self == NULL)
    return;
  store_close_fd (&self->fd);
  if (self->in_tmp && !self->appended)
    unlinkat (self->store->tmp_fd, self->name, 0);
  g_clear_pointer (&self->bytes, g_byte_array_unref);
  message_state_clear (&self->state);
  store_summary_clear (&self->summary);
  g_free (self);
}

/* ---- appending ----------------------------------------------------------------------------- */

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

/* Puts the next UID and the modseq on the directory; the sync of the directory makes it last. */
static bool
write_mailbox_state (const Append *append, GError **error)
{
  StoreMailbox *mailbox = append->mailbox;
  g_auto (NodeState) state = {0};
  bool found;
  if (!node_state_read (mailbox->fd, mailbox->kind, &state, &found, error))
    return false;
  state.number = mailbox->number;
  state.uidvalidity = append->facts.uidvalidity;
  state.uidnext = append->facts.uidnext;
  state.modseq = append->facts.highestmodseq;
  return node_state_write (mailbox->store, mailbox->fd, mailbox->kind, &state, error);
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
  g_autoptr (IndexWrite) write = mailbox_write_begin (mailbox, &handle, &failure);
  if (failure == NULL && mailbox_catch_up (mailbox, write, &failure) &&
      mailbox_facts (mailbox, write, &append->facts, &failure)) {
    append->facts.highestmodseq++;
    append->epoch = store_epoch (mailbox->store);
    if (skip_taken (append, &failure) && number_drafts (append, &failure) &&
        correct_states (append, &failure) && write_mailbox_state (append, &failure))
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
    return false;
  auto_fd lock = lock_user (self->store, self->owner, error);
  if (lock < 0)
    return false;
  bool done = append_locked (&append, error);
  for (size_t i = append.placed; i < count; i++)
    drafts[i]->uid = 0;
  if (append.placed > 0)
    note_appended (&append);
  return done;
}

bool
store_mailbox_set_uidvalidity (StoreMailbox *self, uint32_t uidvalidity, uint32_t uidnext,
                               GError **error)
{
  if (uidvalidity == 0 || uidnext == 0 || uidnext > STORE_UID_MAX)
    return fail (error, EINVAL, "UIDVALIDITY %u with next UID %u makes no sense", uidvalidity,
                 uidnext);
  auto_fd lock = lock_user (self->store, self->owner, error);
  g_auto (NodeState) state = {0};
  bool found;
  if (lock < 0 || !node_state_read (self->fd, self->kind, &state, &found, error))
    return false;
  g_autoptr (GArray) uids = layout_uids (self->fd, "", NULL, error);
  if (uids == NULL)
    return false;
  if (!found || state.uidnext != 1 || uids->len > 0)
    return fail (error, EBUSY, "mailbox '%s' has held messages already", self->path);
  state.uidvalidity = uidvalidity;
  state.uidnext = uidnext;
  if (!node_state_write (self->store, self->fd, self->kind, &state, error))
    return false;
  if (fsync (self->fd) < 0)
    return fail_errno (error, "sync '%s'", self->path);
  change_note (self->store, self->number, 0);
  return true;
}
