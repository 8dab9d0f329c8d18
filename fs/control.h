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

/* ---- transient.c: trees whose nodes are there only while the kernel knows them -------------- */

/*
 * What lies below such a directory (a row with a `tree`) is asked of the tree when somebody looks,
 * and has an inode number only as long as the kernel knows it. To make such a directory takes a
 * row, and a TransientTree with these functions, which may be called by any thread at any time:
 *
 *   find    is there such a name, and what is it? Absence is no error: `out` stays as it is. It is
 *           called at each access, since the kernel keeps no name.
 *   list    which names are there, after a cookie?
 *   open    the bytes of a file that is not made (bytes == NULL): a descriptor, or -1.
 *   mkdir, rmdir, unlink, rename
 *           what system calls in such a directory do. They answer the request themselves, now or
 *           later (wait.c), with reply_errno() or answer_lookup(). NULL: EPERM. Where the mount is
 *           read-only they are not called.
 */

/* What a name is. */
typedef struct {
  mode_t type;      /* S_IFREG or S_IFDIR; 0: there is no such name */
  uint64_t size;    /* of a file */
  int64_t mtime_ns; /* 0, of a directory: now, so that the kernel keeps no listing of it */
  int64_t ctime_ns; /* 0: that of the mount */
  GBytes *bytes;    /* of a file that is made, as many as its size; NULL: open() has them */
  gpointer data;    /* the tree's own */
  void (*free) (gpointer data); /* locks nothing */
  uint32_t number, uid; /* with a uid: it is this message of VIEW_TOP, as if it were a hard link;
                           nothing else is needed then but the type */
} TransientEntry;
void transient_entry_clear (TransientEntry *entry);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (TransientEntry, transient_entry_clear)

/* One node, as it was found last. It does not change; each reference is given back. */
typedef struct {
  gatomicrefcount references;
  const ControlFile *file; /* the row of the tree's root */
  ControlNode root;        /* and which node that is */
  fuse_ino_t ino, directory;
  char *path; /* below the root, which has "" */
  TransientEntry entry;
} TransientNode;
void transient_node_unref (TransientNode *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TransientNode, transient_node_unref)

const char *transient_name (const TransientNode *self); /* the last part of its path */

typedef struct TransientTree {
  /* `known` is what the name was at the last look, if that is still known; else NULL. The tree may
   * take references of what is in it. */
  bool (*find) (Mount *mount, const TransientNode *directory, const char *name,
                const TransientEntry *known, TransientEntry *out, GError **error);

  /* Calls `add` for each name after that with the cookie `after` (0: from the first), until it
   * returns false; `ino` is 0, or that of a message. A cookie is above 0 and below 1 << 62, and is
   * good for as long as somebody reads the directory: so it has to be arithmetic on what never
   * changes, such as a UID. */
  bool (*list) (Mount *mount, const TransientNode *directory, off_t after, ControlAddFunc add,
                void *data, GError **error);

  int (*open) (Mount *mount, const TransientNode *file, GError **error);

  void (*mkdir) (fuse_req_t req, const TransientNode *directory, const char *name);
  void (*rmdir) (fuse_req_t req, const TransientNode *directory, const char *name);
  void (*unlink) (fuse_req_t req, const TransientNode *directory, const char *name);
  void (*rename) (fuse_req_t req, const TransientNode *directory, const char *name,
                  fuse_ino_t new_parent, const char *new_name, unsigned flags);
} TransientTree;

/* Whether it is a directory with a tree, or something in one. */
bool transient_has (Mount *mount, fuse_ino_t ino);

/* That node. ESTALE: it is none, or nobody knows it any more. */
TransientNode *transient_take (Mount *mount, fuse_ino_t ino, GError **error);

/* Finds a name in such a directory. What is no message has its entry in `*out_entry`, and counts as
 * told to the kernel: it is to be answered with that. */
bool transient_find (Mount *mount, fuse_ino_t ino, const char *name, TransientEntry *out,
                     struct fuse_entry_param *out_entry, GError **error);

bool transient_list (Mount *mount, fuse_ino_t ino, off_t after, ControlAddFunc add, void *data,
                     GError **error);
bool transient_attr (Mount *mount, fuse_ino_t ino, struct stat *out, GError **error);
void transient_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset);
char *transient_path (Mount *mount, fuse_ino_t ino); /* below the mountpoint, for people */

/* The name that list() added last with that cookie, if that is not too long ago; else NULL. Owned
 * by the caller. For a tree whose cookies do not tell names: listings are resumed there, as a rule.
 */
char *transient_recall (Mount *mount, const TransientNode *directory, off_t cookie);

/* ---- lost.c: lost and found ----------------------------------------------------------------- */

extern const TransientTree lost_tree;

/* ---- parts.c: what is inside messages ------------------------------------------------------ */

extern const TransientTree parts_tree;

/* ---- search.c: what was found ------------------------------------------------------------- */

extern const TransientTree search_tree;

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

/* ---- readme.c: how to use it --------------------------------------------------------------- */

bool readme_render (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- status.c: what health, status and status.json say ------------------------------------ */

/* How the store and its queue are. */
typedef struct {
  StoreStatus census;
  char *failure;      /* why that is old; NULL: it is not. Owned */
  uint64_t waiting;   /* jobs */
  size_t running;     /* jobs, at most 8 */
  bool rebuilding;    /* one of them does */
  StoreRecord job;    /* the first of them; owned */
  const char *health; /* NULL: nobody has looked yet */
} Overview;

/* The first has the store counted, the second goes by what was counted last. */
Overview overview_take (Mount *mount);
Overview overview_look (Mount *mount);
void overview_clear (Overview *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Overview, overview_clear)

/* "12 reconstruct joe@example.com 40/100", or "none": owned by the caller. */
char *overview_job (const Overview *self);

/* What the figures of a directory say of its health; `complete`: they are of now. */
StoreHealth status_judge (const StoreStatus *figures, bool complete);

bool status_render_health (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool status_render_text (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool status_render_json (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- audit.c: where the audit is kept ------------------------------------------------------ */

int audit_open (Mount *mount, const ControlNode *node, GError **error);

/* ---- trail.c: what was asked for and what happened ---------------------------------------- */

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

/* Leaves the trail and answers the request: now, or when the jobs have ended. `size` is that of a
 * write; 0 for setxattr. */
void order_reply (fuse_req_t req, Order *order, bool good, const GError *error, size_t size);

/* What write(2) or setxattr(2) brought, as text; NULL: it is none. */
char *order_text (const char *bytes, size_t size, GError **error);

bool order_write_ctl (Order *order, char *text, GError **error);
bool order_write_verb (Order *order, char *text, GError **error);
bool order_render_state (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool order_render_grammar (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- write.c: whole lines ----------------------------------------------------------------- */

Pieces *pieces_new (void);
void pieces_free (Pieces *self);

/* Drops the beginnings of lines that nobody has ended. */
void pieces_expire (Mount *mount);

/* ---- wait.c: requests that are answered later --------------------------------------------- */

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

/* ---- run.c: jobs that run at once --------------------------------------------------------- */

Runs *runs_new (Mount *mount);
void runs_free (Runs *self);
void runs_stop (Runs *self); /* interrupts them; returns when all have ended */

/* Whether so many more could run beside now. */
bool runs_have_room (Runs *self, unsigned more, GError **error);

/* Both take the request over. `*out_id` is set as soon as the job has a number, whether it fails or
 * not. run_here() returns when it has ended; run_beside() at once; EBUSY: too many do run. */
bool run_here (Runs *self, StoreRequest *request, uint64_t *out_id, GError **error);
bool run_beside (Runs *self, StoreRequest *request, uint64_t *out_id, GError **error);

/* A job that runs here or has done so lately. */
typedef struct {
  Runs *runs;
  StoreJob *job;
  bool ended; /* protected by the mutex of Runs */
} Run;
void run_unref (Run *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Run, run_unref)

/* One that has ended, with all that it found; NULL: it is not kept here. A reference. */
Run *runs_find_ended (Runs *self, uint64_t id);

/* Fills in what is known here of a job that runs. */
void runs_complete (Runs *self, StoreRecord *record);

/* ---- jobs.c: what is known of a job ------------------------------------------------------- */

/* "queued 7", "running 7 120 5000", "done 7 fixed=3 left=0", "failed 7 EIO", "cancelled 7" */
void job_append_state (const StoreRecord *record, GString *out);

/* Calls `add` for the directory of each job above `after`, until it returns false. */
bool job_list (Mount *mount, uint64_t after, ControlAddFunc add, void *data, GError **error);

bool job_render_names (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_last (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_cmd (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_state (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_progress (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_result (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_render_log (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool job_spill_report (Mount *mount, const ControlNode *node, FILE *out, GError **error);
bool job_spill_queue (Mount *mount, const ControlNode *node, FILE *out, GError **error);
bool job_write_cancel (Order *order, char *text, GError **error);

/* ---- snapshots.c: snapshots and their names ------------------------------------------------- */

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

bool snapshots_render_names (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool snapshots_render_latest (Mount *mount, const ControlNode *node, GString *out, GError **error);

/* ---- config.c: one value a file ----------------------------------------------------------- */

bool config_render_setting (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_write_setting (Order *order, char *text, GError **error);
bool config_render_store (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_uuid (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_mountpoint (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_ctl (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_ctldir (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_xattrs (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_read_only (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_verify (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_damaged (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_audit (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_render_worker (Mount *mount, const ControlNode *node, GString *out, GError **error);
bool config_write_verify (Order *order, char *text, GError **error);
bool config_write_worker (Order *order, char *text, GError **error);
