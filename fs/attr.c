/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attr.c - what stat(2) shows.
 *
 * Everything has the store's owner and constant modes; nlink is always 1, which tells find(1) not
 * to count on it. Sizes and times come from the index or the file, whatever the bytes of the file
 * are like by now: damage shows in reading only. Where the files are shown as they are, however
 * (-o damaged=raw), so are their sizes.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/operation.h"
#include "fs/reply.h"
#include "fs/view.h"

#include <sys/statvfs.h>

#define BLOCK_SIZE  4096
#define SECTOR_SIZE 512

struct timespec
attr_timespec (int64_t ns)
{
  int64_t seconds = ns / G_GINT64_CONSTANT (1000000000);
  int64_t rest = ns % G_GINT64_CONSTANT (1000000000);

  if (rest < 0) {
    rest += G_GINT64_CONSTANT (1000000000);
    seconds--;
  }
  return (struct timespec){.tv_sec = seconds, .tv_nsec = rest};
}

/* What can be read of the message. */
static uint64_t
size_of (const Mount *mount, StoreMailbox *mailbox, const StoreMessage *message)
{
  struct stat st;

  if (mount->options->damaged != DAMAGED_RAW)
    return message->size;
  auto_fd fd = store_message_open (mailbox, message->uid, NULL);
  return fd >= 0 && fstat (fd, &st) == 0 ? (uint64_t)st.st_size : message->size;
}

void
attr_message (Mount *mount, const View *view, StoreMailbox *mailbox, const StoreMessage *message,
              struct stat *out)
{
  struct timespec internal = {.tv_sec = message->internal_s};
  uint64_t size = size_of (mount, mailbox, message);

  *out = (struct stat){
      .st_ino = inode_message (view->slot, store_mailbox_number (mailbox), message->uid),
      .st_mode = mount->file_mode,
      .st_nlink = 1,
      .st_uid = mount->uid,
      .st_gid = mount->gid,
      .st_size = (off_t)size,
      .st_blksize = BLOCK_SIZE,
      .st_blocks = (blkcnt_t)((size + SECTOR_SIZE - 1) / SECTOR_SIZE),
      .st_atim = internal,
      .st_mtim = internal,
      .st_ctim = attr_timespec (message->changed_ns),
  };
}

/* All times are the mtime: what else changes on a directory is the store's own bookkeeping. */
bool
attr_directory (Mount *mount, const View *view, uint32_t number, struct stat *out, GError **error)
{
  StoreNodeTimes times;

  if (!store_node_times (view->store, number, &times, error))
    return false;
  struct timespec changed = attr_timespec (times.mtime_ns);
  *out = (struct stat){
      .st_ino = inode_directory (view->slot, number),
      .st_mode = mount->directory_mode,
      .st_nlink = 1,
      .st_uid = mount->uid,
      .st_gid = mount->gid,
      .st_blksize = LISTING_SIZE,
      .st_atim = changed,
      .st_mtim = changed,
      .st_ctim = changed,
  };
  return true;
}

void
attr_entry (Mount *mount, fuse_ino_t ino, const struct stat *attr, struct fuse_entry_param *out)
{
  bool name_kept = true, attr_kept = true;

  if (inode_kind (ino) == INODE_CONTROL)
    control_kept (mount, ino, &name_kept, &attr_kept);
  else
    marks_set (mount->marks, ino, MARK_TOLD);
  *out = (struct fuse_entry_param){
      .ino = ino,
      .attr = *attr,
      .attr_timeout = attr_kept ? mount->timeout : 0,
      .entry_timeout = name_kept ? mount->timeout : 0,
  };
}

static bool
read_message_attr (Mount *mount, const View *view, fuse_ino_t ino, struct stat *out, GError **error)
{
  uint32_t number = inode_number (ino);
  g_auto (StoreMessage) message = {0};
  bool found;

  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (view->store, number, error);
  if (mailbox == NULL || !store_message_find (mailbox, inode_uid (ino), &message, &found, error))
    return false;
  if (!found)
    return fail (error, ESTALE, "the message is gone");
  attr_message (mount, view, mailbox, &message, out);
  return true;
}

bool
attr_read (Mount *mount, fuse_ino_t ino, struct stat *out, GError **error)
{
  g_autoptr (View) view = view_take (mount, ino, error);

  if (view == NULL)
    return false;
  switch (inode_kind (ino)) {
  case INODE_DIRECTORY: return attr_directory (mount, view, inode_number (ino), out, error);
  case INODE_MESSAGE: return read_message_attr (mount, view, ino, out, error);
  case INODE_CONTROL: return control_attr (mount, ino, out, error);
  }
  g_assert_not_reached ();
}

static void
answer_getattr (fuse_req_t req, fuse_ino_t ino, const char *name)
{
  Mount *mount = fuse_req_userdata (req);
  g_auto (Telling) telling G_GNUC_UNUSED = notify_telling (mount);
  g_autoptr (GError) error = NULL;
  struct stat attr;
  struct fuse_entry_param entry;

  /* Then the kernel looks its name up once more; see inode.c. */
  if (marks_take (mount->marks, ino, MARK_MOVED))
    fail (&error, ESTALE, "the directory has another name now");
  if (error != NULL || !attr_read (mount, ino, &attr, &error))
    return reply_error (req, ino, error);
  attr_entry (mount, ino, &attr, &entry);
  reply_attr (req, &attr, entry.attr_timeout);
}

void
handle_getattr (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
  if (!control_put_off (req, ino, answer_getattr, ino, NULL))
    answer_getattr (req, ino, NULL);
}

void
handle_statfs (fuse_req_t req, fuse_ino_t ino)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;
  struct statvfs statfs;

  if (!store_statvfs (mount->store, &statfs, &error))
    return reply_error (req, ino, error);
  statfs.f_namemax = NAME_MAX;
  reply_statfs (req, &statfs);
}
