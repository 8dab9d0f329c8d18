/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rendering.h - what control files show: made when somebody looks, and held so that sizes and bytes
 * agree.
 */
#pragma once

#include "fs/control.h"

/* What a file showed at some moment. It does not change; each reference is given back. */
typedef struct {
  gatomicrefcount references;
  GBytes *bytes; /* NULL: it is in the file `fd` */
  int fd;
  uint64_t size;
  int64_t changed_ns;
} Rendering;

void rendering_unref (Rendering *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Rendering, rendering_unref)

Renderings *renderings_new (Mount *mount);
void renderings_stop (Renderings *self); /* what is being made is given up */
bool renderings_stopped (const Renderings *self);
void renderings_free (Renderings *self);

/* What somebody who asks for the size now is told of. */
Rendering *rendering_look (Mount *mount, const ControlFile *file, const ControlNode *node);

/* Whether that can be had at once. Otherwise it is being made, and waits_wake() tells of the end.
 */
bool rendering_prepare (Mount *mount, const ControlFile *file, const ControlNode *node);
bool rendering_is_made (Mount *mount, fuse_ino_t ino);

/* What was told last, to somebody who now reads it. */
Rendering *rendering_read (Mount *mount, const ControlFile *file, const ControlNode *node);

/* What was told a moment ago and was longer than what was told next; else NULL. What is told by now
 * may be longer still. */
Rendering *rendering_longer (Mount *mount, const ControlNode *node);

/* Somebody has written to the file: it shows something else now, or the same with another mtime,
 * and others may show something else. */
void rendering_touch (Mount *mount, fuse_ino_t ino);
