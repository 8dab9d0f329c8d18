/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operation.c - the table of operations that libfuse calls.
 *
 * Each request is stamped with its kind when it comes in, so that the reply can tell how long it
 * took (metrics.c): the functions that libfuse calls are made here of one list, stamp the request
 * and hand it to its handler, which knows nothing of that. Whatever is missing here libfuse answers
 * with ENOSYS. Forgets need no answer, and are not counted.
 */
#include "fs/operation.h"
#include "fs/metrics.h"

/* What the operations are called with, and how that is handed on. */
#define NODE (fuse_req_t req, fuse_ino_t ino), (req, ino)
#define NAME (fuse_req_t req, fuse_ino_t parent, const char *name), (req, parent, name)
#define OPEN (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info * info), (req, ino, info)
#define READ                                                                                       \
  (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info * info),       \
      (req, ino, size, offset, info)
#define WRITE                                                                                      \
  (fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,                   \
   struct fuse_file_info *info),                                                                   \
      (req, ino, bytes, size, offset, info)
#define GETXATTR                                                                                   \
  (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size), (req, ino, name, size)
#define LISTXATTR (fuse_req_t req, fuse_ino_t ino, size_t size), (req, ino, size)
#define SETXATTR                                                                                   \
  (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags),   \
      (req, ino, name, value, size, flags)
#define SETATTR                                                                                    \
  (fuse_req_t req, fuse_ino_t ino, struct stat * attr, int which, struct fuse_file_info *info),    \
      (req, ino, attr, which, info)
#define MKNOD                                                                                      \
  (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device),                \
      (req, parent, name, mode, device)
#define MKDIR                                                                                      \
  (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode), (req, parent, name, mode)
#define CREATE                                                                                     \
  (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *info), \
      (req, parent, name, mode, info)
#define SYMLINK                                                                                    \
  (fuse_req_t req, const char *target, fuse_ino_t parent, const char *name),                       \
      (req, target, parent, name)
#define LINK                                                                                       \
  (fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name), (req, ino, parent, name)
#define RENAME                                                                                     \
  (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,                     \
   const char *new_name, unsigned flags),                                                          \
      (req, parent, name, new_parent, new_name, flags)
#define FALLOCATE                                                                                  \
  (fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,                           \
   struct fuse_file_info *info),                                                                   \
      (req, ino, mode, offset, length, info)

/* The operation, what it counts as, and who handles it. */
#define OPERATIONS(EACH)                                                                           \
  EACH (lookup, REQUEST_LOOKUP, handle_lookup, NAME)                                               \
  EACH (readlink, REQUEST_OTHER, handle_readlink, NODE)                                            \
  EACH (getattr, REQUEST_GETATTR, handle_getattr, OPEN)                                            \
  EACH (statfs, REQUEST_STATFS, handle_statfs, NODE)                                               \
  EACH (opendir, REQUEST_OTHER, handle_opendir, OPEN)                                              \
  EACH (readdirplus, REQUEST_READDIRPLUS, handle_readdirplus, READ)                                \
  EACH (open, REQUEST_OTHER, handle_open, OPEN)                                                    \
  EACH (read, REQUEST_READ, handle_read, READ)                                                     \
  EACH (release, REQUEST_OTHER, handle_release, OPEN)                                              \
  EACH (flush, REQUEST_OTHER, handle_flush, OPEN)                                                  \
  EACH (getxattr, REQUEST_GETXATTR, handle_getxattr, GETXATTR)                                     \
  EACH (listxattr, REQUEST_LISTXATTR, handle_listxattr, LISTXATTR)                                 \
  EACH (setxattr, REQUEST_SETXATTR, handle_setxattr, SETXATTR)                                     \
  EACH (removexattr, REQUEST_OTHER, handle_removexattr, NAME)                                      \
  EACH (setattr, REQUEST_OTHER, refuse_setattr, SETATTR)                                           \
  EACH (mknod, REQUEST_OTHER, refuse_mknod, MKNOD)                                                 \
  EACH (mkdir, REQUEST_OTHER, handle_mkdir, MKDIR)                                                 \
  EACH (create, REQUEST_OTHER, refuse_create, CREATE)                                              \
  EACH (symlink, REQUEST_OTHER, refuse_symlink, SYMLINK)                                           \
  EACH (link, REQUEST_OTHER, refuse_link, LINK)                                                    \
  EACH (unlink, REQUEST_OTHER, handle_unlink, NAME)                                                \
  EACH (rmdir, REQUEST_OTHER, handle_rmdir, NAME)                                                  \
  EACH (rename, REQUEST_OTHER, handle_rename, RENAME)                                              \
  EACH (write, REQUEST_WRITE, handle_write, WRITE)                                                 \
  EACH (fallocate, REQUEST_OTHER, refuse_fallocate, FALLOCATE)

#define DEFINE_STAMPED(operation, request, handler, parameters, arguments)                         \
  static void on_##operation parameters                                                            \
  {                                                                                                \
    metrics_begin (request);                                                                       \
    handler arguments;                                                                             \
  }
/* One more turn, in which a signature becomes its two parts. */
#define DEFINE(...)           DEFINE_STAMPED (__VA_ARGS__)
#define ENTER(operation, ...) .operation = on_##operation,

OPERATIONS (DEFINE)

const struct fuse_lowlevel_ops operations = {.init = mount_init,
                                             .forget = handle_forget,
                                             .forget_multi = handle_forget_multi,
                                             OPERATIONS (ENTER)};
