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
 */
#include "fs/internal.h"

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

  g_autoptr (View) view = view_take (mount, ino, &error);
  g_autoptr (StoreMailbox) mailbox =
      view == NULL ? NULL : store_mailbox_open (view->store, inode_number (ino), &error);
  auto_fd fd = mailbox == NULL ? -1 : store_message_open (mailbox, inode_uid (ino), &error);
  if (fd < 0 || !file_verify (mount, mailbox, ino, fd, buffer, BUFFER_SIZE, &whole, &error))
    return reply_error (req, ino, error);
  if (whole > 0)
    reply_slice (req, buffer, whole, size, offset);
  else
    reply_file (req, fd, size, offset);
}

/* As opendir: ENOSYS means that the kernel need not ask, and may keep its pages. */
void
handle_open (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
  reply_errno (req, ENOSYS);
}

void
handle_flush (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
  reply_errno (req, ENOSYS);
}
