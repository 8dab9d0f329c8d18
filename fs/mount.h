/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.h - one mounted store, which all of fs/ is handed.
 *
 * The other headers have a subject each, and follow a request: options.h is what was asked for at
 * the start. inode.h and view.h say what a request is about, operation.h who handles it, node.h
 * what there is to tell, reply.h how it is told. cache.h keeps what may be asked for next, notify.h
 * makes the kernel forget what has changed. The control files are a table (control.h) of rows
 * (rows.h) whose bytes rendering.h holds, with trees of their own in transient.h and snapshots.h;
 * what is written to them becomes an order (order.h) and that jobs (jobs.h). What happens is
 * counted (metrics.h), logged (log.h), recorded (trail.h) and summed up (status.h). Threads go
 * round in loops (loop.h).
 *
 * A handler resolves its inode, makes one call to the store and replies once, through reply.c.
 * Nothing here keeps state for an open file, so that the kernel need not tell of opens and closes
 * at all.
 *
 * Locks, all of them leaves (nothing else is locked, called or replied while one is held): Marks,
 * Notify, Ahead, Pages, Recent, Views, Worker, Follow, Census, Trail, Pieces, Waits, Runs,
 * Transients, the table of Renderings. What is quick to make of a control file is made with that
 * file's own lock held, and any of the others inside it. The lock that turns the worker on and off
 * is held until it is off.
 */
#pragma once

#include "fs/options.h"
#include "store/store.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct Ahead Ahead;
typedef struct Audit Audit;
typedef struct Census Census;
typedef struct Control Control;
typedef struct Follow Follow;
typedef struct Foreign Foreign;
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

/* ---- mount.c: one mounted store ------------------------------------------------------------ */

struct Mount {
  Options *options;
  Store *store; /* the live one, also where a snapshot of it is mounted */
  Store *top;   /* what is mounted: that, or the snapshot */
  char *taken;  /* snapshot that was taken for this mount, and ends with it; NULL: none */
  struct fuse_session *session;
  Views *views;
  Marks *marks;
  Foreign *foreign;
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

/* ---- replace.c: mounting where a mount has died -------------------------------------------- */

/* Instead of fuse_session_mount(), which cannot, and before fuse_session_unmount(), which does not
 * know where the mount is then. On failure it has been said why. */
bool replace_mount (Mount *mount);
void replace_unmount (Mount *mount);

/* ---- privilege.c: mounting as root and working as somebody else ---------------------------- */

/* Of a user who can be that one: EINVAL, EPERM. */
bool privilege_find (const char *user, uid_t *out_uid, gid_t *out_gid, GError **error);

/* These do nothing without -o setuid. Becomes the user for a while, before anything is open, so
 * that what he may not open is not opened; root again, to mount; and the user for good. */
bool privilege_lend (Mount *mount, GError **error);
bool privilege_take_back (Mount *mount, GError **error);
bool privilege_drop (Mount *mount, GError **error);

/* Instead of fuse_session_unmount() after that. */
void privilege_unmount (Mount *mount);
