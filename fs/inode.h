/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inode.h - what an inode number means, and where that lies.
 */
#pragma once

#include "fs/mount.h"

/* ---- inode.c: what an inode number means --------------------------------------------------- */

typedef enum { INODE_DIRECTORY, INODE_MESSAGE, INODE_CONTROL } InodeKind;

/* What is mounted: the store, or a snapshot of it. The other views are snapshots in the control
 * directory; see view.c. */
#define VIEW_TOP 0u

fuse_ino_t inode_directory (uint32_t view, uint32_t number);
fuse_ino_t inode_message (uint32_t view, uint32_t number, uint32_t uid);
fuse_ino_t inode_control (uint32_t number, uint32_t slot); /* 0 is the control directory itself */
fuse_ino_t inode_job (uint64_t job, uint32_t file);        /* 0 is the job's directory */
fuse_ino_t inode_transient (uint32_t id);                  /* see transient.c */
#define INODE_TRANSIENT_MIN 2u
#define INODE_TRANSIENT_MAX ((1u << 31) - 1)
bool inode_is_transient (fuse_ino_t ino);
#define INODE_JOB_MAX ((STORE_UID_MAX - (1u << 31)) >> 3) /* jobs above have no inode */

fuse_ino_t inode_instance (fuse_ino_t ino); /* another inode for the same control node */
fuse_ino_t inode_plain (fuse_ino_t ino);    /* its own one */

InodeKind inode_kind (fuse_ino_t ino);
uint32_t inode_view (fuse_ino_t ino);
uint32_t inode_number (fuse_ino_t ino); /* the directory's, or that of the directory it lies in */
uint32_t inode_uid (fuse_ino_t ino);    /* of a message */
uint32_t inode_slot (fuse_ino_t ino);   /* of a control node, or which file of a job */
uint64_t inode_job_id (fuse_ino_t ino); /* of a job's nodes; 0: it is another one */

/* The same message as it is in VIEW_TOP, by which is known what is true of its bytes: those are the
 * same in every view. */
fuse_ino_t inode_bytes (fuse_ino_t ino);

/* ---- path.c: where an inode lies ----------------------------------------------------------- */

/* Path below the mountpoint, for people; never NULL. */
char *inode_path (Mount *mount, fuse_ino_t ino);

/* The mailbox or user that it is, or is in, as store_node_title() has it; NULL: it is gone. */
char *inode_title (Mount *mount, fuse_ino_t ino);
