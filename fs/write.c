/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write.c - writing to control files.
 */
#include "fs/control.h"

/* What is written must be text. */
static char *
take_text (const char *bytes, size_t size, GError **error)
{
  if (memchr (bytes, '\0', size) != NULL)
    fail (error, EINVAL, "what was written has NUL bytes");
  else if (!g_utf8_validate (bytes, (gssize)size, NULL))
    fail (error, EINVAL, "what was written is not UTF-8");
  else
    return g_strndup (bytes, size);
  return NULL;
}

void
handle_write (fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
              struct fuse_file_info *info)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;
  ControlNode node;

  /* Who wrote to a mapping is not known, nor what exactly. */
  if (info->writepage != 0 || !control_is_writable (mount, ino))
    return refuse_write (req, ino, bytes, size, offset, info);
  const ControlFile *file = control_find (mount, ino, &node);
  g_auto (Order) order = order_begin (req, &node, file->name);
  g_autofree char *text = take_text (bytes, size, &error);
  bool good = text != NULL && file->write (&order, text, &error);
  order_reply (req, &order, good, error, size);
}
