/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replace.c - mounting where a mount has died.
 *
 * Between an unmount and the next mount there would be an empty directory, and a backup that runs
 * then deletes its copy. So the new mount is made elsewhere and put below the dead one, which is
 * taken away then: who looks meets the one or the other. Kernels before 6.5 cannot put a mount
 * below another; there it goes on top, and the dead one shows again when it is unmounted.
 */
#include "fs/log.h"
#include "fs/mount.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <syslog.h>
#include <unistd.h>

#ifndef MOVE_MOUNT_BENEATH
#define MOVE_MOUNT_BENEATH 0x200
#endif

static bool
put_in_place (int tree_fd, const char *mountpoint)
{
  if (move_mount (tree_fd, "", AT_FDCWD, mountpoint,
                  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_BENEATH) == 0)
    return umount2 (mountpoint, MNT_DETACH) == 0;
  return move_mount (tree_fd, "", AT_FDCWD, mountpoint, MOVE_MOUNT_F_EMPTY_PATH) == 0;
}

bool
replace_mount (Mount *mount)
{
  const char *mountpoint = mount->options->mountpoint;
  g_autoptr (GError) error = NULL;
  g_autofree char *stage = g_dir_make_tmp ("mailfs.XXXXXX", &error);

  if (stage == NULL) {
    log_message (LOG_ERR, "%s", error->message);
    return false;
  }
  bool good = fuse_session_mount (mount->session, stage) == 0;
  if (good) {
    auto_fd tree_fd = open_tree (AT_FDCWD, stage, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    good = tree_fd >= 0 && put_in_place (tree_fd, mountpoint);
    if (!good)
      log_message (LOG_ERR, "replace the dead mount '%s': %s", mountpoint, g_strerror (errno));
    umount2 (stage, MNT_DETACH);
  }
  rmdir (stage);
  return good;
}

void
replace_unmount (Mount *mount)
{
  umount2 (mount->options->mountpoint, MNT_DETACH);
}
