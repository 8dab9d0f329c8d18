/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block-log - a disk that remembers in which order it was written to.
 *
 *   block-log IMAGE LOG MOUNTPOINT
 *
 * Shows the file IMAGE as MOUNTPOINT, itself a file, for a loop device to stand on. Every write and
 * every flush is appended to LOG before it is answered: three 64-bit numbers of this machine,
 * namely 1 for a write or 2 for a flush, the offset and the length, then the bytes written. So any
 * prefix of LOG is what the disk had been told when the power went. Runs until MOUNTPOINT is
 * unmounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

typedef struct {
  uint64_t kind, offset, size;
} Record;

enum { RECORD_WRITE = 1, RECORD_FLUSH = 2 };

static int image_fd, log_fd;

static int
disk_getattr (const char *path, struct stat *st, struct fuse_file_info *file)
{
  return fstat (image_fd, st) == 0 ? 0 : -errno;
}

static int
disk_read (const char *path, char *buffer, size_t size, off_t offset, struct fuse_file_info *file)
{
  ssize_t n = pread (image_fd, buffer, size, offset);
  return n >= 0 ? (int)n : -errno;
}

static int
append (Record record, const char *bytes)
{
  struct iovec parts[] = {{&record, sizeof record}, {(void *)bytes, bytes ? record.size : 0}};
  size_t size = parts[0].iov_len + parts[1].iov_len;
  return writev (log_fd, parts, 2) == (ssize_t)size ? 0 : -EIO;
}

static int
disk_write (const char *path, const char *bytes, size_t size, off_t offset,
            struct fuse_file_info *file)
{
  if (append ((Record){RECORD_WRITE, offset, size}, bytes) != 0)
    return -EIO;
  ssize_t n = pwrite (image_fd, bytes, size, offset);
  return n >= 0 ? (int)n : -errno;
}

static int
disk_fsync (const char *path, int data_only, struct fuse_file_info *file)
{
  return append ((Record){.kind = RECORD_FLUSH}, NULL);
}

/* Refused, so that what is discarded or zeroed comes as writes. */
static int
disk_fallocate (const char *path, int mode, off_t offset, off_t size, struct fuse_file_info *file)
{
  return -EOPNOTSUPP;
}

int
main (int argc, char **argv)
{
  static const struct fuse_operations operations = {
      .getattr = disk_getattr,
      .read = disk_read,
      .write = disk_write,
      .fsync = disk_fsync,
      .fallocate = disk_fallocate,
  };
  if (argc != 4) {
    fputs ("usage: block-log IMAGE LOG MOUNTPOINT\n", stderr);
    return 2;
  }
  image_fd = open (argv[1], O_RDWR | O_CLOEXEC);
  if (image_fd < 0) {
    perror (argv[1]);
    return 1;
  }
  log_fd = open (argv[2], O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) {
    perror (argv[2]);
    return 1;
  }
  char *arguments[] = {argv[0], "-f", "-s", argv[3], NULL};
  return fuse_main (4, arguments, &operations, NULL);
}
