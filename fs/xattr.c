/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xattr.c - the requests for extended attributes.
 *
 * Programs ask for attributes of others all the time: ls(1) for ACLs and SELinux labels, the kernel
 * for security.capability before each write. These are answered from the name alone, and for whole
 * namespaces with EOPNOTSUPP, after which ls(1) asks no more.
 *
 * No failure here is EIO: rdiff-backup would drop the file. An attribute that cannot be found out
 * is unset.
 */
#include "fs/internal.h"

#include <linux/limits.h>
#include <syslog.h>

/* Points at what comes after "user.mailfs."; else answers the request itself and returns NULL. */
static const char *
strip_prefix (fuse_req_t req, const char *name, int foreign_user_code)
{
  if (g_str_has_prefix (name, ATTRIBUTE_PREFIX))
    return name + strlen (ATTRIBUTE_PREFIX);
  reply_errno (req, g_str_has_prefix (name, "user.") ? foreign_user_code : EOPNOTSUPP);
  return NULL;
}

/* An object that is gone is told as such; everything else means that there is no value. */
static void
reply_failure (fuse_req_t req, fuse_ino_t ino, const GError *error)
{
  if (error != NULL && (error_code (error) == ENOENT || error_code (error) == ESTALE))
    return reply_error (req, ino, error);
  if (error != NULL) {
    g_autofree char *path = inode_path (fuse_req_userdata (req), ino);
    log_message (LOG_WARNING, "%s: attributes: %s", path, error->message);
  }
  reply_errno (req, ENODATA);
}

void
handle_getxattr (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;

  if (mount->options->xattrs == XATTRS_NONE)
    return reply_errno (req, EOPNOTSUPP);
  const char *key = strip_prefix (req, name, ENODATA);
  if (key == NULL)
    return;
  g_autofree char *value = attribute_value (mount, ino, key, &error);
  if (value == NULL)
    return reply_failure (req, ino, error);
  reply_xattr (req, value, MIN (strlen (value), XATTR_SIZE_MAX), size);
}

void
handle_listxattr (fuse_req_t req, fuse_ino_t ino, size_t size)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;

  if (mount->options->xattrs == XATTRS_NONE)
    return reply_xattr (req, NULL, 0, size);
  GString *text = g_string_new (NULL);
  bool listed = attribute_list (mount, ino, text, &error);
  g_autoptr (GBytes) names = g_string_free_to_bytes (text);
  if (!listed && error_code (error) == ESTALE)
    return reply_error (req, ino, error);
  reply_xattr (req, g_bytes_get_data (names, NULL), g_bytes_get_size (names), size);
}

/* Why an attribute cannot be set or removed. */
static int
judge_change (fuse_ino_t ino, const char *key, int unknown_code)
{
  if (inode_kind (ino) == INODE_CONTROL)
    return EPERM;
  if (g_str_has_prefix (key, "cmd."))
    return EOPNOTSUPP;
  if (inode_kind (ino) == INODE_MESSAGE && g_str_equal (key, "flags"))
    return EROFS;
  return attribute_is_known (ino, key) ? EPERM : unknown_code;
}

void
handle_setxattr (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags)
{
  const char *key = strip_prefix (req, name, EROFS);

  if (key != NULL)
    reply_errno (req, judge_change (ino, key, EINVAL));
}

void
handle_removexattr (fuse_req_t req, fuse_ino_t ino, const char *name)
{
  const char *key = strip_prefix (req, name, ENODATA);

  if (key != NULL)
    reply_errno (req, judge_change (ino, key, ENODATA));
}
