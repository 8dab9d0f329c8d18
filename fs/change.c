/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change.c - making, removing and renaming names: whose business that is.
 *
 * Mail is read-only, and most of the control directory is as it is. What remains are snapshots/ and
 * those trees of transient nodes in which the name of a system call says what is wanted.
 */
#include "fs/control.h"
#include "fs/operation.h"
#include "fs/snapshots.h"
#include "fs/transient.h"

/* The directory of a tree that is to do something, and the tree; NULL: it is none, or is gone. */
static TransientNode *
take_directory (fuse_req_t req, fuse_ino_t ino, const TransientTree **out)
{
  TransientNode *directory = transient_take (fuse_req_userdata (req), ino, NULL);

  if (directory != NULL)
    *out = directory->file->tree;
  return directory;
}

void
handle_mkdir (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
  const TransientTree *tree;
  g_autoptr (TransientNode) directory = take_directory (req, parent, &tree);

  if (snapshots_is (fuse_req_userdata (req), parent))
    snapshots_mkdir (req, name);
  else if (directory != NULL && tree->mkdir != NULL)
    tree->mkdir (req, directory, name);
  else
    refuse_mkdir (req, parent, name, mode);
}

void
handle_rmdir (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  const TransientTree *tree;
  g_autoptr (TransientNode) directory = take_directory (req, parent, &tree);

  if (snapshots_is (fuse_req_userdata (req), parent))
    snapshots_rmdir (req, name);
  else if (directory != NULL && tree->rmdir != NULL)
    tree->rmdir (req, directory, name);
  else
    refuse_unlink (req, parent, name);
}

void
handle_unlink (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  const TransientTree *tree;
  g_autoptr (TransientNode) directory = take_directory (req, parent, &tree);

  if (directory != NULL && tree->unlink != NULL)
    tree->unlink (req, directory, name);
  else
    refuse_unlink (req, parent, name);
}

void
handle_rename (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned flags)
{
  Mount *mount = fuse_req_userdata (req);
  const TransientTree *tree;
  g_autoptr (TransientNode) directory = take_directory (req, parent, &tree);
  fuse_ino_t fixed; /* the link in snapshots/ */

  if (snapshots_is (mount, parent) && snapshots_is (mount, new_parent) &&
      !control_lookup (mount, parent, name, &fixed))
    snapshots_rename (req, name, new_name, flags);
  else if (directory != NULL && tree->rename != NULL)
    tree->rename (req, directory, name, new_parent, new_name, flags);
  else
    refuse_rename (req, parent, name, new_parent, new_name, flags);
}
