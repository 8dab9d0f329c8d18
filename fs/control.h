/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - the control interface: what the files below .ctl are made of.
 *
 * Each directory of the mount has a control directory; that of the root, which is for the whole
 * store, has more in it than the others. A control file is a row of a table (control.c): a name,
 * the places where it lies, a function that makes what it shows, and one that acts on what is
 * written to it. What is shown is made and kept by rendering.c. What is written comes as whole
 * lines (write.c) and becomes an Order (order.c), which is answered at once or when its jobs have
 * ended (wait.c).
 */
#pragma once

#include "fs/mount.h"

#include <stdio.h>

/* ---- control.c: the table ------------------------------------------------------------------ */

typedef enum {
  PLACE_STORE = 1u << 0,     /* MNT/.ctl */
  PLACE_NODE = 1u << 1,      /* .ctl in any other directory */
  PLACE_CONFIG = 1u << 2,    /* MNT/.ctl/config */
  PLACE_JOBS = 1u << 3,      /* MNT/.ctl/jobs */
  PLACE_JOB = 1u << 4,       /* MNT/.ctl/jobs/ID */
  PLACE_SNAPSHOTS = 1u << 5, /* MNT/.ctl/snapshots */
} ControlPlace;

/* One node of the control tree. */
typedef struct {
  fuse_ino_t ino;
  uint32_t number; /* of the directory that it is about; STORE_ROOT: the whole store */
  uint64_t job;    /* that it is about; 0: none */
  unsigned row;    /* of store_commands[] for a verb, of store_settings[] for a setting */
} ControlNode;

typedef struct Order Order;

typedef struct {
  const char *name;
  uint32_t slot;   /* in the inode number */
  uint32_t places; /* ControlPlace */
  mode_t type;     /* S_IFREG, S_IFDIR or S_IFLNK */
  uint32_t holds;  /* of a directory: the place that it is */

  /* Appends what it shows. A failure is shown in its place, as a line. Of a link: its target, or
   * nothing when it is not there. Of a directory: what its listing depends on. */
  bool (*render) (Mount *mount, const ControlNode *node, GString *out, GError **error);

  /* Instead of render, for what may be large: writes it to a file. Whoever looks waits, without
   * holding a thread, and may be interrupted. */
  bool (*spill) (Mount *mount, const ControlNode *node, FILE *out, GError **error);
  bool walks; /* it looks at every message below, which may take hours */

  /* Instead of render: opens a file that is there and grows; -1 without an error: it is empty. */
  int (*open) (Mount *mount, const ControlNode *node, GError **error);

  /* Acts on whole lines; NULL: nobody can write it. The text is UTF-8 and the function's. */
  bool (*write) (Order *order, char *text, GError **error);

  /* Of a directory: the tree that it is the root of, instead of anything in this table. */
  const struct TransientTree *tree;

  bool grows; /* taken anew at each look: what was shown before is how it begins, as a rule */
  bool past;  /* it is there where a snapshot is mounted, too */
} ControlFile;

/* Slots: 0 is the control directory itself, then the fixed files, the verbs, the settings. */
enum { SLOT_VERBS = 64, SLOT_SETTINGS = 128, SLOTS = 256 };

/* Cookies of listings: the slots, then, above COOKIE_JOB, the numbers of jobs or epochs of
 * snapshots. */
#define COOKIE_JOB (G_GINT64_CONSTANT (1) << 32)

/* The row of a control inode, and what node it is; NULL: there is none. Whether the directory or
 * the job is there is not looked at. */
const ControlFile *control_find (Mount *mount, fuse_ino_t ino, ControlNode *out);

/* The file of a place with the next higher slot; NULL: there is none. */
const ControlFile *control_next (Mount *mount, ControlPlace place, uint32_t after);

/* The directory in the root's control directory that is a place. */
fuse_ino_t control_place (Mount *mount, ControlPlace place);

Control *control_new (void);
void control_free (Control *self);

/* ---- tree.c: the control directories ------------------------------------------------------- */

/* Whether `name` in directory `parent` is its control directory. */
bool control_is_directory (Mount *mount, fuse_ino_t parent, const char *name);

/* Finds a name in a control directory. */
bool control_lookup (Mount *mount, fuse_ino_t parent, const char *name, fuse_ino_t *out);

/* Calls `add` for each name in a control directory, from that after the cookie `after` on, until it
 * returns false. Cookies are above 0. */
typedef bool (*ControlAddFunc) (const char *name, fuse_ino_t ino, mode_t type, off_t cookie,
                                void *data);
bool control_list (Mount *mount, fuse_ino_t ino, off_t after, ControlAddFunc add, void *data,
                   GError **error);

/* The inode to tell of at a lookup. */
fuse_ino_t control_instance (Mount *mount, fuse_ino_t ino);

/* Whether the request is put off, because what is to be shown takes long to make. It is answered by
 * calling `answer` when it is there. */
typedef void (*AnswerFunc) (fuse_req_t req, fuse_ino_t ino, const char *name);
bool control_put_off (fuse_req_t req, fuse_ino_t node, AnswerFunc answer, fuse_ino_t ino,
                      const char *name);

/* Whether the kernel may keep the name of a control node, and its attributes. */
void control_kept (Mount *mount, fuse_ino_t ino, bool *out_name, bool *out_attr);

/* What stat(2) shows, now. ESTALE: there is no such control node. */
bool control_attr (Mount *mount, fuse_ino_t ino, struct stat *out, GError **error);

bool control_is_writable (Mount *mount, fuse_ino_t ino);

void control_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset);

char *control_path (Mount *mount, fuse_ino_t ino); /* below the mountpoint, for people */
