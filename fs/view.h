/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.h - the stores that are read from: what is mounted, and its snapshots.
 */
#pragma once

#include "fs/mount.h"
#include "store/rescue.h"

/* ---- view.c: what is mounted, and the snapshots that can be seen in it --------------------- */

/* Where a node is to be read from. It lives as long as somebody holds it. */
typedef struct {
  gatomicrefcount references;
  uint32_t number; /* of the view: stands in the inodes that the kernel is told of */
  uint32_t slot;   /* stands in st_ino instead */
  uint32_t epoch;  /* of the snapshot, by which nothing else goes; 0: it is the live store */
  Store *store;
} View;

/* The one that an inode is in: a reference. ESTALE: its snapshot is gone. Who tells the kernel of
 * nodes holds it until that is counted. */
View *view_take (Mount *mount, fuse_ino_t ino, GError **error);
View *view_ref (View *self);
void view_unref (View *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (View, view_unref)

Views *views_new (Store *top);
void views_free (Views *self); /* `top` stays open */

/* The view in which the kernel is told of a snapshot's nodes, and the name that the kernel has for
 * it now, which need not be written as the store's. EBUSY: there is none left. */
bool views_enter (Mount *mount, const StoreSnapshot *snapshot, const char *name, bool promised,
                  uint32_t *out_view, GError **error);

/* Promises one for a snapshot that is about to be taken; EBUSY as above, or ENOSPC when there are
 * as many snapshots as there may be. Then views_enter() with `promised` does not fail; when it is
 * not taken after all, the promise is to be broken. */
bool views_promise (Mount *mount, GError **error);
void views_break_promise (Mount *mount);

/* Counts nodes that the kernel was told of in the view of an inode; negative: that it forgot. */
void views_count (Mount *mount, fuse_ino_t ino, int64_t nodes);

/* Looks for snapshots that were dropped, and calls `tell` for each: the view and the name in the
 * control directory that it was looked up by. For the notify thread. */
typedef void (*ViewGoneFunc) (uint32_t view, const char *name, void *data);
void views_look (Mount *mount, ViewGoneFunc tell, void *data);
