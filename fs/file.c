/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c - reading messages.
 *
 * Message bytes never change, so the kernel keeps its pages of them for as long as it likes and
 * comes here only for what it does not have. It does not even tell of opens: a read opens the
 * message file, reads and closes it.
 *
 * The first read of a message in the life of the mount holds the whole of it against its digest, so
 * that damage surfaces as EIO instead of as wrong bytes in a backup. What fits into the buffer is
 * answered from the bytes that were verified. A damaged message is looked at afresh by each read:
 * it may have been restored behind our back.
 *
 * Who wants what is left of it has two ways (-o damaged=). With "raw" the file is read as it is.
 * With "partial" the kernel does tell of opens: a message that is found to be damaged then is read
 * past the kernel's pages, so that what is good beside a damaged place can be had to the byte, and
 * which places those are is kept with the open file.
 */
#include "fs/cache.h"
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/metrics.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/operation.h"
#include "fs/reply.h"
#include "fs/trail.h"
#include "fs/view.h"
#include "store/commands.h"
#include "store/rescue.h"

#include <inttypes.h>

/* Nine in ten mails, and the largest read that the kernel asks for when reading ahead, fit well. */
#define BUFFER_SIZE (256u << 10)

static GPrivate buffer_key = G_PRIVATE_INIT (g_free);

/* The calling thread's buffer of BUFFER_SIZE; lives as long as the thread. */
static void *
borrow_buffer (void)
{
  void *buffer = g_private_get (&buffer_key);

  if (buffer == NULL) {
    buffer = g_malloc (BUFFER_SIZE);
    g_private_set (&buffer_key, buffer);
  }
  return buffer;
}

/* Tells of it once, until it is found to be good again or is changed. */
static void
note_damage (Mount *mount, fuse_ino_t ino, const GError *failure)
{
  g_autofree char *path = NULL;

  if (marks_has (mount->marks, inode_bytes (ino), MARK_DAMAGED))
    return;
  marks_set (mount->marks, inode_bytes (ino), MARK_DAMAGED);
  path = inode_path (mount, ino);
  trail_event (mount, "damage", "object", path, "reason", failure->message, NULL);
}

/* A message whose digest nobody knows passes: there is nothing to hold it against until it gets
 * one, which is a change that makes the mark void. */
bool
file_verify (Mount *mount, StoreMailbox *mailbox, fuse_ino_t ino, int fd, void *buffer,
             size_t capacity, size_t *out_size, GError **error)
{
  fuse_ino_t bytes = inode_bytes (ino);
  bool known;

  *out_size = 0;
  if (mount->verify == VERIFY_NEVER)
    return true;
  if (mount->verify == VERIFY_ALWAYS)
    marks_forget_bytes (mount->marks, bytes);
  if (!marks_verify_begin (mount->marks, bytes))
    return true;
  g_autoptr (GError) failure = NULL;
  bool good = store_message_verify (mailbox, inode_uid (ino), fd, buffer, capacity, out_size,
                                    &known, &failure);
  metrics_add (mount->metrics, COUNTER_VERIFIED, 1);
  if (good)
    marks_set (mount->marks, bytes, MARK_VERIFIED);
  else if (error_code (failure) == EIO)
    note_damage (mount, ino, failure);
  marks_verify_end (mount->marks, bytes);
  if (!good)
    g_propagate_error (error, g_steal_pointer (&failure));
  return good;
}

/* ---- what is left of a damaged one -------------------------------------------------------- */

/* Verifies a message, unless its bytes are served whatever they are and that is known. */
static bool
verify_to_read (Mount *mount, StoreMailbox *mailbox, fuse_ino_t ino, int fd, void *buffer,
                size_t *out_size, GError **error)
{
  bool is_raw = mount->options->damaged == DAMAGED_RAW;
  g_autoptr (GError) failure = NULL;

  *out_size = 0;
  if ((is_raw && marks_has (mount->marks, inode_bytes (ino), MARK_DAMAGED)) ||
      file_verify (mount, mailbox, ino, fd, buffer, BUFFER_SIZE, out_size, &failure))
    return true;
  if (is_raw && failure->code == EIO)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* How much of what is asked for lies before the next damaged place; EIO when it begins in one. What
 * was not delivered is behind the end. */
static bool
limit_to_good (const GArray *ranges, off_t offset, size_t *size, GError **error)
{
  for (guint i = 0; i < ranges->len; i++) {
    const StoreDamageRange *range = &g_array_index (ranges, StoreDamageRange, i);
    uint64_t from = (uint64_t)offset, end = range->offset + range->length;
    if (range->kind == STORE_PROBLEM_DIGEST || end <= from)
      continue;
    if (range->offset > from)
      *size = (size_t)MIN (*size, range->offset - from);
    else if (range->kind == STORE_PROBLEM_SIZE)
      *size = 0;
    else
      return fail (error, EIO, "%s from byte %" PRIu64 " to %" PRIu64,
                   store_problem_name (range->kind), range->offset, end);
    break;
  }
  return true;
}

/* `ranges` is what the file was opened with. */
static void
read_partly (fuse_req_t req, fuse_ino_t ino, int fd, const GArray *ranges, size_t size,
             off_t offset)
{
  g_autoptr (GError) error = NULL;

  if (!limit_to_good (ranges, offset, &size, &error))
    return reply_error (req, ino, error);
  if (size == 0)
    return reply_bytes (req, NULL, 0);
  reply_file (req, fd, size, offset);
}

int
file_open (Mount *mount, fuse_ino_t ino, View **out_view, StoreMailbox **out_mailbox,
           GError **error)
{
  *out_view = view_take (mount, ino, error);
  if (*out_view == NULL)
    return -1;
  *out_mailbox = store_mailbox_open ((*out_view)->store, inode_number (ino), error);
  return *out_mailbox == NULL ? -1 : store_message_open (*out_mailbox, inode_uid (ino), error);
}

/* Looks whether the message is damaged, and where. */
static bool
open_partly (Mount *mount, fuse_ino_t ino, struct fuse_file_info *info, GError **error)
{
  g_autoptr (GError) failure = NULL;
  size_t whole;

  g_autoptr (View) view = NULL;
  g_autoptr (StoreMailbox) mailbox = NULL;
  auto_fd fd = file_open (mount, ino, &view, &mailbox, error);
  if (fd < 0)
    return false;
  if (file_verify (mount, mailbox, ino, fd, borrow_buffer (), BUFFER_SIZE, &whole, &failure))
    return true;
  if (failure->code != EIO) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  info->direct_io = 1;
  info->fh = (uintptr_t)store_message_locate (mailbox, inode_uid (ino), fd, error);
  return info->fh != 0;
}

/* ---- requests ------------------------------------------------------------------------------ */

void
handle_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *info)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;
  void *buffer = borrow_buffer ();
  size_t whole;

  if (inode_kind (ino) == INODE_CONTROL)
    return control_read (req, ino, size, offset);
  if (offset == 0)
    ahead_note_read (mount->ahead, ino);

  g_autoptr (View) view = NULL;
  g_autoptr (StoreMailbox) mailbox = NULL;
  auto_fd fd = file_open (mount, ino, &view, &mailbox, &error);
  if (fd >= 0 && info != NULL && info->fh != 0)
    return read_partly (req, ino, fd, (const GArray *)(uintptr_t)info->fh, size, offset);
  if (fd < 0 || !verify_to_read (mount, mailbox, ino, fd, buffer, &whole, &error))
    return reply_error (req, ino, error);
  if (whole > 0)
    reply_slice (req, buffer, whole, size, offset);
  else
    reply_file (req, fd, size, offset);
}

static void
let_go (const struct fuse_file_info *info)
{
  if (info->fh != 0)
    g_array_unref ((GArray *)(uintptr_t)info->fh);
}

/* As opendir: ENOSYS means that the kernel need not ask, and may keep its pages. Where it does ask
 * it is never told so, for that is for good. */
void
handle_open (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;
  bool is_audited = mount->options->audit == AUDIT_READ;
  bool is_partial = mount->options->damaged == DAMAGED_PARTIAL;

  if (!is_audited && !is_partial)
    return reply_errno (req, ENOSYS);
  info->keep_cache = 1;
  if ((is_audited && !audit_note_open (req, ino, &error)) ||
      (is_partial && inode_kind (ino) != INODE_CONTROL && !open_partly (mount, ino, info, &error)))
    return reply_error (req, ino, error);
  if (!reply_open (req, info))
    let_go (info);
}

void
handle_release (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
  let_go (info);
  reply_errno (req, 0);
}

void
handle_flush (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
  reply_errno (req, ENOSYS);
}
