/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify.h - what the kernel knows of this mount, and making it forget what has changed.
 */
#pragma once

#include "fs/mount.h"

/* ---- marks.c: what this mount knows of each inode, in a bit each --------------------------- */

typedef enum {
  MARK_TOLD,     /* the kernel was told of it and may keep what it was told */
  MARK_VERIFIED, /* the message's bytes were held against their digest */
  MARK_DAMAGED,  /* and they were not those that were delivered */
  MARK_MOVED,    /* the kernel may know the directory by a name that it has no more */
} Mark;

Marks *marks_new (void);
void marks_free (Marks *self);

void marks_set (Marks *self, fuse_ino_t ino, Mark mark);
bool marks_has (Marks *self, fuse_ino_t ino, Mark mark);
bool marks_take (Marks *self, fuse_ino_t ino, Mark mark); /* takes it away; whether it was there */
uint64_t marks_count (Marks *self, Mark mark);
GArray *marks_list (Marks *self, Mark mark, uint32_t view); /* of fuse_ino_t */
void marks_forget_view (Marks *self, uint32_t view);        /* all of them */

/* Forgets what was found out about a message's bytes; `ino` 0: about everything. */
void marks_forget_bytes (Marks *self, fuse_ino_t ino);

/* Whether the caller is the one to verify the message now: false when it was found good. While
 * another thread is at it, this waits for its result. True must be followed by marks_set() with the
 * result, if there is one, and then by marks_verify_end(). */
bool marks_verify_begin (Marks *self, fuse_ino_t ino);
void marks_verify_end (Marks *self, fuse_ino_t ino);

/* ---- notify.c: telling the kernel what changed --------------------------------------------- */

/* Starts the thread; `mount->session` must be mounted. */
Notify *notify_start (Mount *mount, GError **error);
void notify_stop (Notify *self);

/* Lets the kernel drop its pages of an inode, soon. Handlers may call it. */
void notify_drop_pages (Notify *self, fuse_ino_t ino);

/* Held, from before the store is asked until after the reply, by each handler whose answer the
 * kernel may keep. A change that happens meanwhile is told again after the reply, which may have
 * carried the old state. */
typedef struct {
  Notify *notify;
  unsigned phase;
  uint64_t told; /* changes told before it began */
} Telling;
Telling notify_telling (Mount *mount);
void telling_clear (Telling *telling);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Telling, telling_clear)

/* ---- foreign.c: what others put into mail/ without telling anybody ------------------------- */

Foreign *foreign_new (const Mount *mount);
void foreign_free (Foreign *self);

/* From now on changes of the directory, whose listing the kernel is about to keep, are looked for.
 */
void foreign_follow (Foreign *self, uint32_t number);

/* Looks at some directories: the numbers (uint32_t) of those that somebody else has changed. */
GArray *foreign_look (Foreign *self);
