/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of fs/ share: one mounted store, and a section for each file.
 *
 * A handler resolves its inode, makes one call to the store and replies once, through reply.c.
 * Nothing here keeps state for an open file, so that the kernel need not tell of opens and closes
 * at all.
 *
 * Locks, all of them leaves (nothing else is locked, called or replied while one is held): Marks,
 * Notify, Ahead, Pages, Recent, Views, Worker, Follow, Census, Trail, Pieces, Waits, Runs,
 * Transients, the table of Renderings. What is quick to make of a control file is made with that file's own lock
 * held, and any of the others inside it. The lock that turns the worker on and off is held until it
 * is off.
 */
#pragma once

#include "store/rescue.h"

#include <fuse_lowlevel.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

typedef struct Ahead Ahead;
typedef struct Audit Audit;
typedef struct Census Census;
typedef struct Control Control;
typedef struct Follow Follow;
typedef struct Marks Marks;
typedef struct Metrics Metrics;
typedef struct Mount Mount;
typedef struct Notify Notify;
typedef struct Page Page;
typedef struct Pages Pages;
typedef struct Parts Parts;
typedef struct Pieces Pieces;
typedef struct Recent Recent;
typedef struct Renderings Renderings;
typedef struct Runs Runs;
typedef struct Searches Searches;
typedef struct Trail Trail;
typedef struct Transients Transients;
typedef struct Views Views;
typedef struct Waits Waits;
typedef struct Worker Worker;

/* ---- options.c: the command line ---------------------------------------------------------- */

typedef enum { CTL_HIDDEN, CTL_VISIBLE, CTL_OFF } CtlMode;
typedef enum { XATTRS_ALL, XATTRS_DATA, XATTRS_NONE } XattrsMode;
typedef enum { AUDIT_ACTIONS, AUDIT_READ } AuditMode;
typedef enum { VERIFY_FIRST, VERIFY_ALWAYS, VERIFY_NEVER } VerifyMode;
typedef enum { DAMAGED_EIO, DAMAGED_PARTIAL, DAMAGED_RAW } DamagedMode;

#define OPTION_UNSET UINT_MAX
#define SNAPSHOT_NEW "new"

/* The integers are what fuse_opt_parse() can fill in; those for modes hold the enums above. */
typedef struct {
  struct fuse_args rest; /* what is for libfuse and the kernel */
  char *given;           /* the command line, for the audit */
  char *store;           /* absolute */
  char *mountpoint;      /* absolute */
  char *ctldir;
  char *user;     /* to work as; NULL: who mounts */
  uid_t run_uid;  /* his, and his group */
  gid_t run_gid;
  char *snapshot; /* that is to be mounted, or SNAPSHOT_NEW; NULL: the store as it is */
  char *workdir;  /* of a forensic mount; NULL: memory */
  int foreground, debug, single, help, version;
  int read_only, nonempty, sloppy, replace, forensic;
  int ctl, xattrs, verify, damaged, audit, no_worker, allow_purge;
  unsigned uid, gid, fmode, dmode; /* OPTION_UNSET: not given */
  bool dead; /* what is mounted on the mountpoint has died, and is to be replaced */
} Options;

/* Takes the command line apart and looks at the mountpoint. On failure it has said why on stderr.
 */
bool options_parse (int argc, char **argv, Options *out);
void options_clear (Options *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)
void options_help (void);

/* ---- helper.c: as mount(8) calls it ------------------------------------------------------- */

/* Whether the program's name is mount.mailfs. */
bool helper_is_called (const char *program);

/* Mounts by `run`, which takes the arguments of mailfs, and returns what mount(8) expects. */
typedef int (*HelperRun) (int argc, char **argv);
int helper_main (int argc, char **argv, HelperRun run);

/* ---- mount.c: one mounted store ----------------------------------------------------------- */

struct Mount {
  Options *options;
  Store *store; /* the live one, also where a snapshot of it is mounted */
  Store *top;   /* what is mounted: that, or the snapshot */
  char *taken;  /* snapshot that was taken for this mount, and ends with it; NULL: none */
  struct fuse_session *session;
  Views *views;
  Marks *marks;
  struct Foreign *foreign;
  Control *control;
  Renderings *renderings;
  Transients *transients;
  Searches *searches;
  Parts *parts;
  Pieces *pieces;
  Waits *waits;
  Runs *runs;
  Census *census;
  Pages *pages;
  Recent *recent;
  Notify *notify;
  Ahead *ahead;
  Worker *worker;
  Follow *follow;
  Trail *trail;
  Audit *audit;
  Metrics *metrics;
  uid_t uid; /* of everything in the mount */
  gid_t gid;
  mode_t file_mode, directory_mode; /* with their S_IF */
  _Atomic VerifyMode verify;        /* when to hold messages against their digest */
  double timeout; /* seconds that the kernel may keep names and attributes of mail */
  int64_t mounted_ns;
  int unmount_fd;      /* see privilege.c */
  int ready_fd;        /* written to when the mount is up; -1: nobody waits */
  pthread_t main;      /* the main thread */
  _Atomic bool served; /* the session has ended */
};

/* Mounts, serves until the end and returns the exit code. `ready_fd` is closed when the mount is up
 * and the process has let go of the caller's terminal. */
int mount_run (Options *options, int ready_fd);

/* The kernel is there: says how to work together. `data` is the Mount. */
void mount_init (void *data, struct fuse_conn_info *connection);

/* Who made a request. */
typedef struct {
  uid_t uid;
  gid_t gid;
  pid_t pid; /* 0: of another PID namespace */
} Caller;
Caller caller_of (fuse_req_t req);

/* ---- replace.c: mounting where a mount has died ------------------------------------------- */

/* Instead of fuse_session_mount(), which cannot, and before fuse_session_unmount(), which does not
 * know where the mount is then. On failure it has been said why. */
bool replace_mount (Mount *mount);
void replace_unmount (Mount *mount);

/* ---- privilege.c: mounting as root and working as somebody else ---------------------------- */

/* Of a user who can be that one: EINVAL, EPERM. */
bool privilege_find (const char *user, uid_t *out_uid, gid_t *out_gid, GError **error);

/* These do nothing without -o setuid. Becomes the user for a while, before anything is open, so that
 * what he may not open is not opened; root again, to mount; and the user for good. */
bool privilege_lend (Mount *mount, GError **error);
bool privilege_take_back (Mount *mount, GError **error);
bool privilege_drop (Mount *mount, GError **error);

/* Instead of fuse_session_unmount() after that. */
void privilege_unmount (Mount *mount);

/* ---- operation.c: the table of operations -------------------------------------------------- */

extern const struct fuse_lowlevel_ops operations;

/* ---- metrics.c: what was done, counted ---------------------------------------------------- */

typedef enum {
  REQUEST_OTHER,
  REQUEST_LOOKUP,
  REQUEST_GETATTR,
  REQUEST_READDIRPLUS,
  REQUEST_READ,
  REQUEST_GETXATTR,
  REQUEST_LISTXATTR,
  REQUEST_SETXATTR,
  REQUEST_WRITE,
  REQUEST_STATFS,
  REQUEST_WAIT, /* for a job to end */
  REQUESTS
} Request;

typedef enum {
  COUNTER_EIO, /* requests that failed so */
  COUNTER_EUCLEAN,
  COUNTER_READ_BYTES,
  COUNTER_VERIFIED,
  COUNTER_PUSHED,
  COUNTER_PUSHED_BYTES,
  COUNTER_PAGES_READY, /* pages of listings that were made before they were asked for */
  COUNTER_PAGES_MADE,  /* and others */
  COUNTER_ROWS_READY,  /* messages that had been read when their attributes were asked for */
  COUNTER_ROWS_READ,   /* and others */
  COUNTER_ACTIONS,
  COUNTER_REFUSALS,
  COUNTER_JOBS_DONE,
  COUNTER_JOBS_FAILED,
  COUNTER_JOBS_CANCELLED,
  COUNTER_JOBS_INTERRUPTED,
  COUNTER_EVENTS,
  COUNTER_NOTICES,
  COUNTERS
} Counter;

Metrics *metrics_new (void);
void metrics_free (Metrics *self);

void metrics_add (Metrics *self, Counter counter, uint64_t number);
uint64_t metrics_get (const Metrics *self, Counter counter);

/* When a request came in, and what it is. */
typedef struct {
  Request request;
  int64_t begun_ns;
} Stamp;

/* The calling thread begins with a request, and is about to answer it. */
void metrics_begin (Request request);
void metrics_end (Metrics *self);

/* For a request that another thread answers when something has ended: the handler takes the stamp,
 * and who answers sets it before. */
Stamp metrics_put_off (void);
void metrics_resume (Stamp from);

uint64_t metrics_requests (const Metrics *self); /* answered so far, but for forgets */

/* ---- log.c: stderr in the foreground, the journal or syslog in the background -------------- */

void log_start (bool debug);
void log_to_system (void); /* from now on */
bool log_is_debug (void);

/* `priority` is syslog's. Control bytes in the text are escaped. What goes as it should (LOG_INFO)
 * is not for a stderr that people look at. */
void log_message (int priority, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* As log_message(), of a mailbox (as store_node_title() has it; NULL or empty: none) and a job (0:
 * none). */
void log_about (int priority, const char *mailbox, uint64_t job, const char *format, ...)
    G_GNUC_PRINTF (4, 5);

/* ---- inode.c: what an inode number means -------------------------------------------------- */

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
bool views_enter (Mount *mount, const StoreSnapshot *snapshot, const char *name, uint32_t *out_view,
                  GError **error);

/* Counts nodes that the kernel was told of in the view of an inode; negative: that it forgot. */
void views_count (Mount *mount, fuse_ino_t ino, int64_t nodes);

/* Looks for snapshots that were dropped, and calls `tell` for each: the view and the name in the
 * control directory that it was looked up by. For the notify thread. */
typedef void (*ViewGoneFunc) (uint32_t view, const char *name, void *data);
void views_look (Mount *mount, ViewGoneFunc tell, void *data);

void handle_forget (fuse_req_t req, fuse_ino_t ino, uint64_t count);
void handle_forget_multi (fuse_req_t req, size_t count, struct fuse_forget_data *forgets);

/* ---- path.c: where an inode lies ---------------------------------------------------------- */

/* Path below the mountpoint, for people; never NULL. */
char *inode_path (Mount *mount, fuse_ino_t ino);

/* The mailbox or user that it is, or is in, as store_node_title() has it; NULL: it is gone. */
char *inode_title (Mount *mount, fuse_ino_t ino);

/* ---- reply.c: the one place that answers -------------------------------------------------- */

void reply_errno (fuse_req_t req, int code);

/* Answers with the error's code and logs it. `ino` is what the request was about. ENOENT becomes
 * ESTALE: the kernel named an inode that it had been told of, and at ESTALE it looks the name up
 * again. */
void reply_error (fuse_req_t req, fuse_ino_t ino, const GError *error);

/* These count what the kernel is told of. */
void reply_entry (fuse_req_t req, const struct fuse_entry_param *entry);
void reply_listing (fuse_req_t req, const Page *page);

void reply_none (fuse_req_t req);
/* False: what was opened will not be released. */
bool reply_open (fuse_req_t req, const struct fuse_file_info *info);
void reply_attr (fuse_req_t req, const struct stat *attr, double timeout);
void reply_bytes (fuse_req_t req, const void *bytes, size_t size);
void reply_slice (fuse_req_t req, const void *bytes, size_t total, size_t size, off_t offset);
void reply_file (fuse_req_t req, int fd, size_t size, off_t offset);
void reply_link (fuse_req_t req, const char *target);

/* For what somebody asked for: the errno, 0 or, of a write, how much was written. */
void reply_order (fuse_req_t req, int code, size_t written);
void reply_statfs (fuse_req_t req, const struct statvfs *statfs);

/* For getxattr and listxattr: the size when the caller asked for that, ERANGE when it does not fit.
 */
void reply_xattr (fuse_req_t req, const void *bytes, size_t total, size_t size);

/* ---- attr.c: what stat(2) shows ----------------------------------------------------------- */

struct timespec attr_timespec (int64_t ns);
void attr_message (Mount *mount, const View *view, StoreMailbox *mailbox,
                   const StoreMessage *message, struct stat *out);
bool attr_directory (Mount *mount, const View *view, uint32_t number, struct stat *out,
                     GError **error);
bool attr_read (Mount *mount, fuse_ino_t ino, struct stat *out, GError **error); /* of anything */

/* An entry for an inode with its `attr`, which the kernel may keep; notes that it was told. */
void attr_entry (Mount *mount, fuse_ino_t ino, const struct stat *attr,
                 struct fuse_entry_param *out);

void handle_getattr (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_statfs (fuse_req_t req, fuse_ino_t ino);

/* ---- dir.c: names and listings ------------------------------------------------------------ */

/* What a name was found to be. */
typedef struct {
  struct fuse_entry_param entry; /* `ino` is 0: there is no such name */
  View *view; /* that it is in, held until the kernel was told; NULL: it is a control node */
} Found;
void found_clear (Found *found);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Found, found_clear)

/* Answers a request with what the name is found to be, as a lookup. */
void answer_lookup (fuse_req_t req, fuse_ino_t parent, const char *name);

void handle_lookup (fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_opendir (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_readdirplus (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                         struct fuse_file_info *info);

/* What readdir(3) asks for at a time: directories have it as their st_blksize, which the C library
 * goes by, or it would ask four times as often. */
#define LISTING_SIZE (128u << 10)

/* ---- page.c: pages of listings that were made before they are asked for ------------------- */

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

/* ---- recent.c: messages that were read from the store a moment ago ------------------------ */

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

/* ---- file.c: reading messages ------------------------------------------------------------- */

void handle_open (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_release (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_flush (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info);
void handle_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                  struct fuse_file_info *info);

/* Opens a message, in a view and a mailbox that are NULL before and the caller's references then.
 * Returns a descriptor, or -1. */
int file_open (Mount *mount, fuse_ino_t ino, View **out_view, StoreMailbox **out_mailbox,
               GError **error);

/* Holds a message against its digest, unless that was done before or is not wanted. When it was
 * done now and the message fits, its bytes are in `buffer` and `*out_size` is its size, else that
 * is 0. */
bool file_verify (Mount *mount, StoreMailbox *mailbox, fuse_ino_t ino, int fd, void *buffer,
                  size_t capacity, size_t *out_size, GError **error);

/* ---- refuse.c: what is not for this mount ------------------------------------------------- */

void refuse_setattr (fuse_req_t req, fuse_ino_t ino, struct stat *attr, int which,
                     struct fuse_file_info *info);
void refuse_mknod (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void refuse_mkdir (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void refuse_create (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                    struct fuse_file_info *info);
void refuse_symlink (fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void refuse_link (fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void refuse_unlink (fuse_req_t req, fuse_ino_t parent, const char *name); /* and rmdir */
void refuse_rename (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                    const char *new_name, unsigned flags);
void refuse_write (fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                   struct fuse_file_info *info);
void refuse_fallocate (fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                       struct fuse_file_info *info);

/* ---- change.c: making, removing and renaming names ----------------------------------------- */

void handle_mkdir (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void handle_rmdir (fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_unlink (fuse_req_t req, fuse_ino_t parent, const char *name);
void handle_rename (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                    const char *new_name, unsigned flags);

/* ---- ahead.c: reading ahead of who reads message by message ------------------------------- */

/* Starts the thread; `mount->session` must be mounted. */
Ahead *ahead_start (Mount *mount);

/* Ends the thread. Requests must be answered meanwhile: one of them may hold it up. */
void ahead_stop (Ahead *self);
void ahead_free (Ahead *self);

/* Tells that the beginning of a message is being read. */
void ahead_note_read (Ahead *self, fuse_ino_t ino);

/* ---- attribute.c: the extended attributes user.mailfs.NAME -------------------------------- */

/* The value of an attribute, which the caller owns. NULL without an error when it is unset or
 * unknown. */
char *attribute_value (Mount *mount, fuse_ino_t ino, const char *name, GError **error);

/* Appends the names that listxattr shows, each with its prefix and its NUL. */
bool attribute_list (Mount *mount, fuse_ino_t ino, GString *out, GError **error);

/* Whether there is an attribute of that name for such an inode, set or unset. */
bool attribute_is_known (fuse_ino_t ino, const char *name);

#define ATTRIBUTE_PREFIX "user.mailfs."

/* ---- xattr.c: the requests for them ------------------------------------------------------- */

void handle_getxattr (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void handle_listxattr (fuse_req_t req, fuse_ino_t ino, size_t size);
void handle_setxattr (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                      size_t size, int flags);
void handle_removexattr (fuse_req_t req, fuse_ino_t ino, const char *name);

/* ---- marks.c: what this mount knows of each inode, in a bit each -------------------------- */

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

/* ---- control.c: the table of control files; control.h is for what is behind them ----------- */

Control *control_new (void);
void control_free (Control *self);

/* ---- tree.c: the control directories ------------------------------------------------------ */

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

void handle_readlink (fuse_req_t req, fuse_ino_t ino);
void control_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset);

char *control_path (Mount *mount, fuse_ino_t ino); /* below the mountpoint, for people */

/* ---- search.c: directories of what was found; control.h has the rest ----------------------- */

Searches *searches_new (Mount *mount);
void searches_stop (Searches *self); /* what is being looked for is given up */
void searches_free (Searches *self);

/* ---- transient.c: what is there only while the kernel knows it; control.h has the rest ------- */

Transients *transients_new (void);
void transients_free (Transients *self);

/* The kernel forgets, or was not told of, a node of which it was to be told so often. For any
 * inode. */
void transients_forget (Mount *mount, fuse_ino_t ino, uint64_t count);

/* ---- parts.c: what is inside messages; control.h has the tree ------------------------ */

Parts *parts_new (void);
void parts_free (Parts *self);

/* ---- census.c: what a directory and everything below it amount to -------------------------- */

Census *census_new (void);
void census_free (Census *self); /* returns when nothing is counted any more */

/* The figures of a directory with everything below it; STORE_ROOT: of all of the view. They are of
 * now, or as old as twenty times what counting took. When that failed they are those before, or
 * zeros, and
 * `*out_failure` says why; EAGAIN: they are being counted for the first time. Takes two seconds at
 * most. */
void census_take (Census *self, View *view, uint32_t number, StoreStatus *out,
                  GError **out_failure);

/* The last count, as it is; false: nobody has asked for one. */
bool census_last (Census *self, const View *view, uint32_t number, StoreStatus *out);

/* ---- write.c: writing to control files ---------------------------------------------------- */

void handle_write (fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                   struct fuse_file_info *info);

/* ---- loop.c: threads that go round until they are told to stop ---------------------------- */

typedef struct {
  GThread *thread; /* NULL: it does not run */
  GMutex mutex;    /* for `stop`, and for what its owner keeps beside it */
  GCond wake;      /* `stop` was set, or something of that changed */
  bool stop;
} Loop;

void loop_init (Loop *self);
void loop_start (Loop *self, const char *name, GThreadFunc run, void *data);
void loop_stop (Loop *self);  /* returns when it has ended; does nothing when it does not run */
void loop_clear (Loop *self); /* stops it, if that was not done */

/* For the thread, and what it calls. Sleeping lasts `us`, or until it is to stop; both return
 * whether it goes on. */
bool loop_goes_on (Loop *self);
bool loop_sleep (Loop *self, int64_t us);

/* ---- notify.c: telling the kernel what changed -------------------------------------------- */

/* Starts the thread; `mount->session` must be mounted. */
/* foreign.c: what others put into mail/ without telling anybody. */
typedef struct Foreign Foreign;
Foreign *foreign_new (const Mount *mount);
void foreign_free (Foreign *self);

/* From now on changes of the directory, whose listing the kernel is about to keep, are looked for.
 */
void foreign_follow (Foreign *self, uint32_t number);

/* Looks at some directories: the numbers (uint32_t) of those that somebody else has changed. */
GArray *foreign_look (Foreign *self);

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

/* ---- worker.c: what runs the jobs of the queue -------------------------------------------- */

Worker *worker_new (Mount *mount); /* it is off */
void worker_free (Worker *self);   /* turns it off, if that was not done */

/* Turning it off interrupts the job that runs, and returns when it has ended. */
void worker_turn (Worker *self, bool on);
bool worker_is_on (Worker *self);

/* ---- audit.c: where the audit is kept ------------------------------------------------------- */

/* EINVAL: what is there in the directory of -o workdir is no file of ours. */
Audit *audit_new (const Store *store, GError **error);
void audit_free (Audit *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Audit, audit_free)

/* Adds a line, an object as json_end() ends it, as store_audit_append() does; where the store takes
 * none, where that is kept instead. */
bool audit_append (Mount *mount, const char *object, GError **error);

/* Tells who opens the file, if it is a message or made of one. False: it must not be opened. */
bool audit_note_open (fuse_req_t req, fuse_ino_t ino, GError **error);

/* ---- trail.c: what was asked for and what happened ---------------------------------------- */

Trail *trail_new (void);
void trail_free (Trail *self);

/* Tells, once it is over, of something that somebody asked for: in the audit, which is on disk when
 * this returns, in the events, in the log and, when it failed, in last_error. `through` is how it
 * was asked: "ctl", "repair", "user.mailfs.cmd.repair"; `node_path` and `command` are what for;
 * `jobs` (uint64_t; may be NULL) what was queued or started; `tag` may be NULL. All may be hostile.
 */
void trail_action (Mount *mount, const Caller *caller, const char *through, const char *node_path,
                   const char *command, const GArray *jobs, const char *tag, const GError *failure);

/* Tells in last_error why a job failed that the caller waited for; the action was told before. */
/* With -o audit=read: that it was mounted, or unmounted; and that somebody opened a file, with the
 * digest of the message, or NULL, and what is wrong with it, or NULL. False: it is in no audit. */
bool trail_mount (Mount *mount, const char *command, GError **error);
bool trail_open (Mount *mount, const Caller *caller, const char *path, const char *digest,
                 const GError *damage, GError **error);

void trail_failure (Mount *mount, const Caller *caller, const char *command, const GError *failure);

/* Adds a line to the events: the type, then keys and their values, ended by NULL. */
void trail_event (Mount *mount, const char *type, ...) G_GNUC_NULL_TERMINATED;

/* The same with an object of json_begin(), which this ends. */
void trail_tell (Mount *mount, GString *event);

/* What the store has to say; see store_notice(). */
void trail_notice (Mount *mount, const char *text);

/* ---- follow.c: telling what happens in the queue ------------------------------------------- */

/* Starts a thread that tells of it in the events, and the service manager of how things are. */
Follow *follow_start (Mount *mount);
void follow_stop (Follow *self); /* when it has told of all that has happened */

/* ---- service.c: the service manager ------------------------------------------------------- */

/* Tells it of assignments like "READY=1", a line each; does nothing when there is none. */
void service_tell (const char *format, ...) G_GNUC_PRINTF (1, 2);
