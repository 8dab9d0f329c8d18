/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.h - answering requests: now, or when something has ended.
 */
#pragma once

#include "fs/mount.h"

/* ---- reply.c: the one place that answers --------------------------------------------------- */

void reply_errno (fuse_req_t req, int code);

/* Answers with the error's code and logs it. `ino` is what the request was about. ENOENT becomes
 * ESTALE: the kernel named an inode that it had been told of, and at ESTALE it looks the name up
 * again. */
void reply_error (fuse_req_t req, fuse_ino_t ino, const GError *error);

/* These count what the kernel is told of. */
void reply_entry (fuse_req_t req, const struct fuse_entry_param *entry);
void reply_listing (fuse_req_t req, const Page *page);

void reply_none (fuse_req_t req);
/* False: what was opened will not be released. */
bool reply_open (fuse_req_t req, const struct fuse_file_info *info);
void reply_attr (fuse_req_t req, const struct stat *attr, double timeout);
void reply_bytes (fuse_req_t req, const void *bytes, size_t size);
void reply_slice (fuse_req_t req, const void *bytes, size_t total, size_t size, off_t offset);
void reply_file (fuse_req_t req, int fd, size_t size, off_t offset);
void reply_link (fuse_req_t req, const char *target);

/* For what somebody asked for: the errno, 0 or, of a write, how much was written. */
void reply_order (fuse_req_t req, int code, size_t written);
void reply_statfs (fuse_req_t req, const struct statvfs *statfs);

/* For getxattr and listxattr: the size when the caller asked for that, ERANGE when it does not fit.
 */
void reply_xattr (fuse_req_t req, const void *bytes, size_t total, size_t size);

/* ---- wait.c: requests that are answered later ---------------------------------------------- */

/* What a request waits for. */
typedef struct {
  /* Whether that is over, with the errno in `*out_code`. Called by one thread. */
  bool (*is_over) (Mount *mount, void *data, int *out_code);
  /* EINTR: nobody waits any more, or the mount ends. */
  void (*answer) (fuse_req_t req, void *data, int code);
  void (*free) (void *data);
} WaitKind;

Waits *waits_start (Mount *mount);
void waits_free (Waits *self); /* answers those who still wait */

/* Takes `data` over. */
void waits_add (Waits *self, fuse_req_t req, const WaitKind *kind, void *data);

/* Something has happened that somebody may wait for. */
void waits_wake (Waits *self);
