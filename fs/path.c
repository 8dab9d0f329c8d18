/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.c - where an inode lies, for people.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/snapshots.h"
#include "fs/view.h"

#include <inttypes.h>

/* Of the directory `number`; "/" before it is that of the mountpoint. */
static char *
directory_path (Mount *mount, const View *view, uint32_t number)
{
  g_autofree char *below = store_node_path (view->store, number, NULL);
  g_autofree char *root = view->number == VIEW_TOP ? g_strdup ("/") : snapshots_path (mount, view);

  if (below == NULL || *below == '\0')
    return below == NULL ? NULL : g_steal_pointer (&root);
  return g_build_filename (root, below, NULL);
}

char *
inode_path (Mount *mount, fuse_ino_t ino)
{
  if (inode_kind (ino) == INODE_CONTROL)
    return control_path (mount, ino);

  g_autoptr (View) view = view_take (mount, ino, NULL);
  g_autofree char *directory =
      view == NULL ? NULL : directory_path (mount, view, inode_number (ino));
  if (directory == NULL)
    return g_strdup_printf ("inode %#" PRIx64, ino);
  if (inode_kind (ino) == INODE_DIRECTORY)
    return g_steal_pointer (&directory);

  char name[STORE_NAME_SIZE];
  store_message_name (inode_uid (ino), name);
  return g_build_filename (directory, name, NULL);
}

char *
inode_title (Mount *mount, fuse_ino_t ino)
{
  g_autoptr (View) view = view_take (mount, ino, NULL);

  return view == NULL ? NULL : store_node_title (view->store, inode_number (ino), NULL);
}
