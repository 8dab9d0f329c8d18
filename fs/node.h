/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - what there is to tell of a node: its attributes, its names, its bytes, its extended
 * attributes.
 */
#pragma once

#include "fs/view.h"

/* ---- attr.c: what stat(2) shows ------------------------------------------------------------ */

struct timespec attr_timespec (int64_t ns);
void attr_message (Mount *mount, const View *view, StoreMailbox *mailbox,
                   const StoreMessage *message, struct stat *out);
bool attr_directory (Mount *mount, const View *view, uint32_t number, struct stat *out,
                     GError **error);
bool attr_read (Mount *mount, fuse_ino_t ino, struct stat *out, GError **error); /* of anything */

/* An entry for an inode with its `attr`, which the kernel may keep; notes that it was told. */
void attr_entry (Mount *mount, fuse_ino_t ino, const struct stat *attr,
                 struct fuse_entry_param *out);

/* ---- dir.c: names and listings ------------------------------------------------------------- */

/* What a name was found to be. */
typedef struct {
  struct fuse_entry_param entry; /* `ino` is 0: there is no such name */
  View *view; /* that it is in, held until the kernel was told; NULL: it is a control node */
} Found;
void found_clear (Found *found);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Found, found_clear)

/* Answers a request with what the name is found to be, as a lookup. */
void answer_lookup (fuse_req_t req, fuse_ino_t parent, const char *name);

/* The name of the child `number`, after which a listing goes on; NULL: from the first, also where
 * that one is gone. Owned by the caller. */
char *dir_resume_name (Store *store, uint32_t parent, uint32_t number);

/* What readdir(3) asks for at a time: directories have it as their st_blksize, which the C library
 * goes by, or it would ask four times as often. */
#define LISTING_SIZE (128u << 10)

/* ---- file.c: reading messages -------------------------------------------------------------- */

/* Opens a message, in a view and a mailbox that are NULL before and the caller's references then.
 * Returns a descriptor, or -1. */
int file_open (Mount *mount, fuse_ino_t ino, View **out_view, StoreMailbox **out_mailbox,
               GError **error);

/* Holds a message against its digest, unless that was done before or is not wanted. When it was
 * done now and the message fits, its bytes are in `buffer` and `*out_size` is its size, else that
 * is 0. */
bool file_verify (Mount *mount, StoreMailbox *mailbox, fuse_ino_t ino, int fd, void *buffer,
                  size_t capacity, size_t *out_size, GError **error);

/* ---- attribute.c: the extended attributes user.mailfs.NAME --------------------------------- */

/* The value of an attribute, which the caller owns. NULL without an error when it is unset or
 * unknown. */
char *attribute_value (Mount *mount, fuse_ino_t ino, const char *name, GError **error);

/* Appends the names that listxattr shows, each with its prefix and its NUL. */
bool attribute_list (Mount *mount, fuse_ino_t ino, GString *out, GError **error);

/* Whether there is an attribute of that name for such an inode, set or unset. */
bool attribute_is_known (fuse_ino_t ino, const char *name);

#define ATTRIBUTE_PREFIX "user.mailfs."
