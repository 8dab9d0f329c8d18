/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New mail on its way in: a file in tmp/, written and parsed without any lock. append.c puts it
 * into a mailbox.
 *
 * The file gets its state attribute here, before it is synced. That contains the modseq, which is
 * known only under the lock; it is written with the modseq that it will most likely get.
 */
#include "store/arrive.h"
#include "store/internal.h"

#include <attr/error_context.h>
#include <attr/libattr.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

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
  /* Whatever the umask is. */
  if (fchmod (self->fd, 0640) < 0)
    return fail_errno (error, "set the mode of a file in %s/tmp", self->store->path);
  return layout_own (self->store, self->fd, error);
}

static bool
write_file (StoreDraft *self, const uint8_t *bytes, size_t size, GError **error)
{
  if (!layout_write (self->fd, bytes, size, error))
    return fail_prefix (error, "a message in %s/tmp", self->store->path);
  self->size += size;
  return true;
}

bool
store_draft_write (StoreDraft *self, const void *bytes, size_t size, GError **error)
{
  if (!create_file (self, error) || !write_file (self, bytes, size, error))
    return false;
  if (self->bytes != NULL && self->size <= PARSE_MEMORY_MAX)
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
  struct stat st;
  if (self->fd < 0 || fstat (self->fd, &st) < 0)
    return fail_errno (error, "open '%s'", name);
  /* Two messages must not be one file: they would share their flags. */
  if (st.st_nlink > 2 || fgetxattr (self->fd, "user.mailfs.state", NULL, 0) >= 0)
    return fail (error, EMLINK, "'%s' has other names, or is in a mail store already", name);
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

/* The modseq and epoch that the next change of the mailbox gets, if none comes before. */
static void
guess_state (StoreMailbox *mailbox, MessageState *state)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&mailbox->mutex);
  state->modseq = mailbox->modseq + 1;
  state->birth = mailbox->epoch;
  g_clear_pointer (&locker, g_mutex_locker_free);
  if (state->modseq > 1)
    return;
  g_auto (NodeState) node = {0};
  IndexMailbox row = {0};
  bool found;
  g_autoptr (Handle) handle = cache_index (mailbox->store, mailbox->owner, false, NULL);
  if (handle == NULL || !index_mailbox_get (handle->index, mailbox->number, &row, &found, NULL) ||
      !found)
    row.highestmodseq = 0;
  if (!node_state_read (mailbox->fd, mailbox->kind, &node, &found, NULL) || !found)
    node.modseq = 0;
  state->modseq = MAX (row.highestmodseq, node.modseq) + 1;
  state->birth = store_epoch (mailbox->store);
}

bool
store_draft_finish (StoreDraft *self, StoreMailbox *mailbox, GError **error)
{
  if (!create_file (self, error) || !parse (self, error))
    return false;
  g_clear_pointer (&self->bytes, g_byte_array_unref);
  guess_state (mailbox, &self->state);
  self->state.digest = digest_prefix (self->summary.sha256);
  /* Without user attributes the state is kept in the mailbox's .state, which is written on
   * appending. */
  g_autoptr (GError) failure = NULL;
  if (!message_state_write (self->store, -1, self->fd, 0, &self->state, &failure) &&
      failure->code != EBADF) {
    g_propagate_prefixed_error (error, g_steal_pointer (&failure), "%s/tmp: ", self->store->path);
    return false;
  }
  if (failure != NULL)
    self->state.modseq = 0;
  struct timespec times[2] = {{.tv_sec = self->internal_s}, {.tv_sec = self->internal_s}};
  if (futimens (self->fd, times) < 0)
    return fail_errno (error, "set the date of a file in %s/tmp", self->store->path);
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
