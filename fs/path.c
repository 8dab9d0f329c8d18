/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.c - where an inode lies, for people.
 */
#include "fs/internal.h"

char *
inode_path (Mount *mount, fuse_ino_t ino)
{
  if (inode_kind (ino) == INODE_CONTROL)
    return control_path (mount, ino);

  g_autofree char *directory = store_node_path (mount->store, inode_number (ino), NULL);
  if (directory == NULL)
    return g_strdup_printf ("inode %#" PRIx64, ino);
  if (inode_kind (ino) == INODE_DIRECTORY)
    return g_strdup_printf ("/%s", directory);

  char name[STORE_NAME_SIZE];
  store_message_name (inode_uid (ino), name);
  return g_strdup_printf ("/%s/%s", directory, name);
}
