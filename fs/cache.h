/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h - what was made before it is asked for, or not so long ago that it is good no more.
 */
#pragma once

#include "fs/view.h"

/* ---- page.c: pages of listings that were made before they are asked for -------------------- */

/* What one READDIRPLUS is answered with. */
struct Page {
  fuse_ino_t ino; /* of the directory; this, `offset` and `size` are what is asked for */
  off_t offset;
  size_t size;
  uint64_t told; /* as in the Telling that began before the page was made */
  off_t end;     /* offset of what comes after it */
  size_t used;   /* 0: there is nothing left */
  int64_t nodes; /* that it tells the kernel of */
  char *bytes;   /* NULL: not made yet. Owned */
};

void page_clear (Page *page);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Page, page_clear)

Pages *pages_new (void);
void pages_free (Pages *self);

/* Fills in a page that was asked for, if it lies here and is still good. */
bool pages_take (Pages *self, Page *page);

/* Keeps a page, whose bytes it takes over. */
void pages_put (Pages *self, Page *page);

/* ---- recent.c: messages that were read from the store a moment ago ------------------------- */

Recent *recent_new (void);
void recent_free (Recent *self);

/* store_message_find() for answers that the kernel does not keep: cheap for who asks for one
 * message after the other. The caller clears `out`. */
bool recent_find (Mount *mount, const View *view, uint32_t number, uint32_t uid, StoreMessage *out,
                  bool *out_found, GError **error);

/* Keeps all messages of a mailbox above the UID `after` up to the last of these, which it takes
 * over, array and all. `stamp` is from before they were read. */
void recent_keep (Mount *mount, const View *view, uint32_t number, uint32_t after, StoreStamp stamp,
                  StoreMessage *messages, size_t count);

/* ---- ahead.c: reading ahead of who reads message by message -------------------------------- */

/* Starts the thread; `mount->session` must be mounted. */
Ahead *ahead_start (Mount *mount);

/* Ends the thread. Requests must be answered meanwhile: one of them may hold it up. */
void ahead_stop (Ahead *self);
void ahead_free (Ahead *self);

/* Tells that the beginning of a message is being read. */
void ahead_note_read (Ahead *self, fuse_ino_t ino);

/* ---- census.c: what a directory and everything below it amount to -------------------------- */

Census *census_new (void);
void census_free (Census *self); /* returns when nothing is counted any more */

/* The figures of a directory with everything below it; STORE_ROOT: of all of the view. They are of
 * now, or as old as twenty times what counting took. When that failed they are those before, or
 * zeros, and `*out_failure` says why; EAGAIN: they are being counted for the first time. Takes two
 * seconds at most. */
void census_take (Census *self, View *view, uint32_t number, StoreStatus *out,
                  GError **out_failure);

/* The last count, as it is; false: nobody has asked for one. */
bool census_last (Census *self, const View *view, uint32_t number, StoreStatus *out);
