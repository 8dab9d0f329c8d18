/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refuse.c - everything that would change mail: mail is read-only (EROFS), and the nodes of the
 * control directory cannot be made, changed or removed (EPERM).
 *
 * The mount itself is writable, unless it was made with -o ro, so that it can be controlled.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/operation.h"
#include "fs/reply.h"

static void
refuse (fuse_req_t req, fuse_ino_t ino)
{
  reply_errno (req, inode_kind (ino) == INODE_CONTROL ? EPERM : EROFS);
}

static void
refuse_name (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  if (control_is_directory (fuse_req_userdata (req), parent, name))
    return reply_errno (req, EPERM);
  refuse (req, parent);
}

/* Whether what is to be set is so: rsync(1) and cp(1) set dates and modes after attributes, even if
 * they are right. The time of the last access is not kept. */
static bool
is_so_already (Mount *mount, fuse_ino_t ino, const struct stat *wanted, int which)
{
  const int known = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID |
                    FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME;
  struct stat now;

  return (which & ~known) == 0 && which != FUSE_SET_ATTR_ATIME &&
         attr_read (mount, ino, &now, NULL) &&
         ((which & FUSE_SET_ATTR_MODE) == 0 ||
          (wanted->st_mode & 07777) == (now.st_mode & 07777)) &&
         ((which & FUSE_SET_ATTR_UID) == 0 || wanted->st_uid == now.st_uid) &&
         ((which & FUSE_SET_ATTR_GID) == 0 || wanted->st_gid == now.st_gid) &&
         ((which & FUSE_SET_ATTR_MTIME) == 0 || (wanted->st_mtim.tv_sec == now.st_mtim.tv_sec &&
                                                 wanted->st_mtim.tv_nsec == now.st_mtim.tv_nsec));
}

/* A control file has no size to be set: `>` and truncate(1) succeed, and do nothing. */
void
refuse_setattr (fuse_req_t req, fuse_ino_t ino, struct stat *attr, int which,
                struct fuse_file_info *info)
{
  Mount *mount = fuse_req_userdata (req);
  bool is_control = inode_kind (ino) == INODE_CONTROL;

  if (((which & FUSE_SET_ATTR_SIZE) != 0 && control_is_writable (mount, ino)) ||
      (!is_control && is_so_already (mount, ino, attr, which)))
    return handle_getattr (req, ino, info);
  refuse (req, ino);
}

void
refuse_mknod (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
  refuse_name (req, parent, name);
}

void
refuse_mkdir (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
  refuse_name (req, parent, name);
}

void
refuse_create (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *info)
{
  refuse_name (req, parent, name);
}

void
refuse_symlink (fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
  refuse_name (req, parent, name);
}

void
refuse_link (fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
  refuse_name (req, parent, name);
}

void
refuse_unlink (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  refuse_name (req, parent, name);
}

void
refuse_rename (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags)
{
  refuse_name (req, parent, name);
}

/* The kernel drops what a refused write(2) put into its pages. What came through a shared mapping
 * it keeps, and would show to others. */
void
refuse_write (fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
              struct fuse_file_info *info)
{
  Mount *mount = fuse_req_userdata (req);
  bool mapped = info->writepage != 0;

  refuse (req, ino);
  if (mapped)
    notify_drop_pages (mount->notify, ino);
}

void
refuse_fallocate (fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                  struct fuse_file_info *info)
{
  refuse (req, ino);
}
