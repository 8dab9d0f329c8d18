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

#include "fs/internal.h"

/* ---- the table ---------------------------------------------------------------------------- */

typedef enum {
  PLACE_STORE = 1u << 0,  /* MNT/.ctl */
  PLACE_NODE = 1u << 1,   /* .ctl in any other directory */
  PLACE_CONFIG = 1u << 2, /* MNT/.ctl/config */
  PLACE_JOBS = 1u << 3,   /* MNT/.ctl/jobs */
  PLACE_JOB = 1u << 4,    /* MNT/.ctl/jobs/ID */
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

  /* Appends what it shows. A failure is shown in its place, as a line. Of a link: its target. */
  bool (*render) (Mount *mount, const ControlNode *node, GString *out, GError **error);

  /* Instead of render, for what may be large: writes it to a file. */
  bool (*spill) (Mount *mount, const ControlNode *node, FILE *out, GError **error);

  /* Instead of render: opens a file that is there and grows; -1 without an error: it is empty. */
  int (*open) (Mount *mount, const ControlNode *node, GError **error);

  /* Acts on whole lines; NULL: nobody can write it. The text is UTF-8 and the function's. */
  bool (*write) (Order *order, char *text, GError **error);

  bool grows; /* taken anew at each look: what was shown before is how it begins, as a rule */
} ControlFile;

/* Slots: 0 is the control directory itself, then the fixed files, the verbs, the settings. */
enum { SLOT_VERBS = 64, SLOT_SETTINGS = 128, SLOTS = 256 };

/* The row of a control inode, and what node it is; NULL: there is none. Whether the directory or
 * the job is there is not looked at. */
const ControlFile *control_find (Mount *mount, fuse_ino_t ino, ControlNode *out);

/* ---- rendering.c: what was told ----------------------------------------------------------- */

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

Renderings *renderings_new (void);
void renderings_free (Renderings *self);

/* What somebody who asks for the size now is told of. */
Rendering *rendering_look (Mount *mount, const ControlFile *file, const ControlNode *node);

/* What was told last, to somebody who now reads it. */
Rendering *rendering_read (Mount *mount, const ControlFile *file, const ControlNode *node);

/* Somebody has written to the file: it shows something else now, or the same with another mtime. */
void rendering_touch (Mount *mount, fuse_ino_t ino);

/* ---- status.c: what health, status and status.json say ------------------------------------ */

/* How the store and its queue are. */
typedef struct {
  StoreStatus census;
  char *failure;    /* why that is old; NULL: it is not. Owned */
  uint64_t waiting; /* jobs */
  size_t running;   /* jobs, at most 8 */
  bool rebuilding;  /* one of them does */
  StoreRecord job;  /* the first of them; owned */
  const char *health;
} Overview;

Overview overview_take (Mount *mount);
void overview_clear (Overview *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Overview, overview_clear)

/* "12 reconstruct joe@example.com 40/100", or "none": owned by the caller. */
char *overview_job (const Overview *self);

bool status_render_health (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool status_render_text (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool status_render_json (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- trail.c: what was asked for and what happened ---------------------------------------- */

int trail_open_audit (Mount *mount, const ControlNode *node, GError **error);
bool trail_render_events (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool trail_render_last_error (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- metrics.c ---------------------------------------------------------------------------- */

bool metrics_render (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- order.c: what somebody asked for ------------------------------------------------------ */

/* One write(2) or setxattr(2), while it is looked at and acted on. */
struct Order {
  Mount *mount;
  ControlNode node; /* that was written to, or whose attribute was set */
  Caller caller;
  const char *through; /* "ctl", "repair", "user.mailfs.cmd.repair": for the audit */
  char *text;          /* what was asked for, for the audit; owned */
  char *tag;           /* that the caller gave it, NULL; owned */
  GArray *jobs;        /* uint64_t: what was queued or started; owned */
  bool wait;           /* reply when these have ended */
};

Order order_begin (fuse_req_t req, const ControlNode *node, const char *through);
void order_clear (Order *order);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Order, order_clear)

/* What is written to ctl: one command a line. All lines are looked at before any acts. */
bool order_lines (Order *order, const char *text, GError **error);

/* What is written to a verb file or a command attribute: "1", "dry-run age=7d", "wait", "cancel",
 * for the directory `number` (STORE_ROOT: the whole store); one request a line. */
bool order_verb (Order *order, const StoreCommand *command, uint32_t number, const char *words,
                 GError **error);

/* Answers the request: now, or when the jobs have ended. `size` is that of a write; 0 for setxattr.
 */
void order_reply (fuse_req_t req, Order *order, bool good, const GError *error, size_t size);

/* For the table. */
bool order_write_ctl (Order *order, char *text, GError **error);
bool order_write_verb (Order *order, char *text, GError **error);
bool order_render_state (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool order_render_grammar (Mount *mount, const ControlNode *node, GString *out, GError **error);
