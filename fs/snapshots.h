/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshots.h - snapshots as directories of the control tree.
 */
#pragma once

#include "fs/control.h"
#include "fs/node.h"

bool snapshots_is (Mount *mount, fuse_ino_t ino); /* whether it is their directory */
void snapshots_mkdir (fuse_req_t req, const char *name);
void snapshots_rmdir (fuse_req_t req, const char *name);
void snapshots_rename (fuse_req_t req, const char *name, const char *new_name, unsigned flags);

/* A snapshot by its name; `out` stays as it is when there is none of that name. */
bool snapshots_find (Mount *mount, const char *name, Found *out, GError **error);

/* Calls `add` for each snapshot above the cookie `after`, until it returns false. */
bool snapshots_list (Mount *mount, off_t after, ControlAddFunc add, void *data, GError **error);

/* Path below the mountpoint of the root of a snapshot's view. */
char *snapshots_path (Mount *mount, const View *view);
