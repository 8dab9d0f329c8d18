/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.c - the one place that answers: every request ends in one of these functions, once.
 *
 * A reply fails only when the caller was interrupted or the mount is gone, and then there is nobody
 * left to tell. Where it is counted what the kernel knows (inode.c), that is taken back, and what
 * an open file holds is let go.
 */
#include "fs/reply.h"
#include "fs/cache.h"
#include "fs/inode.h"
#include "fs/log.h"
#include "fs/metrics.h"
#include "fs/transient.h"
#include "fs/view.h"

#include <syslog.h>

static void
count_reply (fuse_req_t req)
{
  Mount *mount = fuse_req_userdata (req);
  metrics_end (mount->metrics);
}

/* Of a file, on their way to who reads it. */
static void
count_bytes (fuse_req_t req, size_t count)
{
  Mount *mount = fuse_req_userdata (req);
  metrics_add (mount->metrics, COUNTER_READ_BYTES, count);
}

void
reply_errno (fuse_req_t req, int code)
{
  count_reply (req);
  fuse_reply_err (req, code);
}

void
reply_error (fuse_req_t req, fuse_ino_t ino, const GError *error)
{
  Mount *mount = fuse_req_userdata (req);
  int code = error_code (error);
  bool grave = code == EIO || code == EUCLEAN;

  if (grave)
    metrics_add (mount->metrics, code == EIO ? COUNTER_EIO : COUNTER_EUCLEAN, 1);
  if (grave || log_is_debug ()) {
    g_autofree char *path = inode_path (mount, ino);
    g_autofree char *mailbox = inode_title (mount, ino);
    log_about (grave ? LOG_WARNING : LOG_DEBUG, mailbox, 0, "%s: %s", path, error->message);
  }
  reply_errno (req, code == ENOENT ? ESTALE : code);
}

void
reply_entry (fuse_req_t req, const struct fuse_entry_param *entry)
{
  Mount *mount = fuse_req_userdata (req);

  count_reply (req);
  if (fuse_reply_entry (req, entry) == 0)
    views_count (mount, entry->ino, 1);
  else
    transients_forget (mount, entry->ino, 1);
}

void
reply_listing (fuse_req_t req, const Page *page)
{
  Mount *mount = fuse_req_userdata (req);

  count_reply (req);
  if (fuse_reply_buf (req, page->bytes, page->used) == 0)
    views_count (mount, page->ino, page->nodes);
}

void
reply_none (fuse_req_t req)
{
  fuse_reply_none (req);
}

bool
reply_open (fuse_req_t req, const struct fuse_file_info *info)
{
  count_reply (req);
  return fuse_reply_open (req, info) == 0;
}

void
reply_attr (fuse_req_t req, const struct stat *attr, double timeout)
{
  count_reply (req);
  fuse_reply_attr (req, attr, timeout);
}

void
reply_bytes (fuse_req_t req, const void *bytes, size_t size)
{
  count_reply (req);
  fuse_reply_buf (req, bytes, size);
}

void
reply_slice (fuse_req_t req, const void *bytes, size_t total, size_t size, off_t offset)
{
  size_t start = MIN ((uint64_t)offset, total);
  size_t count = MIN (size, total - start);

  count_bytes (req, count);
  reply_bytes (req, (const char *)bytes + start, count);
}

/* The kernel takes over the file's pages where it can; libfuse copies what is too small to be worth
 * that. */
void
reply_file (fuse_req_t req, int fd, size_t size, off_t offset)
{
  struct fuse_bufvec data = FUSE_BUFVEC_INIT (size);
  struct stat st;

  if (fstat (fd, &st) == 0)
    count_bytes (req, MIN (size, (uint64_t)MAX (st.st_size - offset, 0)));
  data.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
  data.buf[0].fd = fd;
  data.buf[0].pos = offset;
  count_reply (req);
  fuse_reply_data (req, &data, FUSE_BUF_SPLICE_MOVE);
}

void
reply_order (fuse_req_t req, int code, size_t written)
{
  if (code != 0 || written == 0)
    return reply_errno (req, code);
  count_reply (req);
  fuse_reply_write (req, written);
}

void
reply_link (fuse_req_t req, const char *target)
{
  count_reply (req);
  fuse_reply_readlink (req, target);
}

void
reply_statfs (fuse_req_t req, const struct statvfs *statfs)
{
  count_reply (req);
  fuse_reply_statfs (req, statfs);
}

void
reply_xattr (fuse_req_t req, const void *bytes, size_t total, size_t size)
{
  if (size > 0 && total > size)
    return reply_errno (req, ERANGE);
  if (size > 0)
    return reply_bytes (req, bytes, total);
  count_reply (req);
  fuse_reply_xattr (req, total);
}
