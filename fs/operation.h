/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operation.h - the requests of the kernel, and who handles each.
 */
#pragma once

#include "fs/mount.h"

/* ---- operation.c: the table of operations -------------------------------------------------- */

extern const struct fuse_lowlevel_ops operations;

/* ---- dir.c: names and listings ------------------------------------------------------------- */

void handle_lookup (fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_opendir (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_readdirplus (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                         struct fuse_file_info *info);

/* ---- attr.c: what stat(2) shows ------------------------------------------------------------ */

void handle_getattr (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_statfs (fuse_req_t req, fuse_ino_t ino);

/* ---- file.c: the bytes of messages --------------------------------------------------------- */

void handle_open (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_release (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_flush (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                  struct fuse_file_info *info);

/* ---- xattr.c: extended attributes ---------------------------------------------------------- */

void handle_getxattr (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void handle_listxattr (fuse_req_t req, fuse_ino_t ino, size_t size);
void handle_setxattr (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                      size_t size, int flags);
void handle_removexattr (fuse_req_t req, fuse_ino_t ino, const char *name);

/* ---- change.c: making, removing and renaming names ----------------------------------------- */

void handle_mkdir (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void handle_rmdir (fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_unlink (fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_rename (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                    const char *new_name, unsigned flags);

/* ---- tree.c, write.c: control files -------------------------------------------------------- */

void handle_readlink (fuse_req_t req, fuse_ino_t ino);
void handle_write (fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                   struct fuse_file_info *info);

/* ---- refuse.c: what is not for this mount -------------------------------------------------- */

void refuse_setattr (fuse_req_t req, fuse_ino_t ino, struct stat *attr, int which,
                     struct fuse_file_info *info);
void refuse_mknod (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void refuse_mkdir (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void refuse_create (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                    struct fuse_file_info *info);
void refuse_symlink (fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void refuse_link (fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void refuse_unlink (fuse_req_t req, fuse_ino_t parent, const char *name); /* and rmdir */
void refuse_rename (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                    const char *new_name, unsigned flags);
void refuse_write (fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                   struct fuse_file_info *info);
void refuse_fallocate (fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                       struct fuse_file_info *info);

/* ---- view.c: what the kernel forgets ------------------------------------------------------- */

void handle_forget (fuse_req_t req, fuse_ino_t ino, uint64_t count);
void handle_forget_multi (fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
