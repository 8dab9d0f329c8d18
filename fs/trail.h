/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trail.h - what was asked for, by whom, and what came of it; for the audit, the events and the
 * last errors.
 */
#pragma once

#include "fs/mount.h"

/* ---- trail.c: what was asked for and what happened ----------------------------------------- */

/* Who made a request. */
typedef struct {
  uid_t uid;
  gid_t gid;
  pid_t pid; /* 0: of another PID namespace */
} Caller;
Caller caller_of (fuse_req_t req);

Trail *trail_new (void);
void trail_free (Trail *self);

/* Tells, once it is over, of something that somebody asked for: in the audit, which is on disk when
 * this returns, in the events, in the log and, when it failed, in last_error. `through` is how it
 * was asked: "ctl", "repair", "user.mailfs.cmd.repair"; `node_path` and `command` are what for;
 * `jobs` (uint64_t; may be NULL) what was queued or started; `tag` may be NULL. All may be hostile.
 */
void trail_action (Mount *mount, const Caller *caller, const char *through, const char *node_path,
                   const char *command, const GArray *jobs, const char *tag, const GError *failure);

/* With -o audit=read: that it was mounted, or unmounted; and that somebody opened a file, with the
 * digest of the message, or NULL, and what is wrong with it, or NULL. False: it is in no audit. */
bool trail_mount (Mount *mount, const char *command, GError **error);
bool trail_open (Mount *mount, const Caller *caller, const char *path, const char *digest,
                 const GError *damage, GError **error);

/* Tells in last_error why a job failed that the caller waited for; the action was told before. */
void trail_failure (Mount *mount, const Caller *caller, const char *command, const GError *failure);

/* Adds a line to the events: the type, then keys and their values, ended by NULL. */
void trail_event (Mount *mount, const char *type, ...) G_GNUC_NULL_TERMINATED;

/* The same with an object of json_begin(), which this ends. */
void trail_tell (Mount *mount, GString *event);

/* What the store has to say; see store_notice(). */
void trail_notice (Mount *mount, const char *text);

/* ---- audit.c: where the audit is kept ------------------------------------------------------ */

/* EINVAL: what is there in the directory of -o workdir is no file of ours. */
Audit *audit_new (const Store *store, GError **error);
void audit_free (Audit *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Audit, audit_free)

/* Adds a line, an object as json_end() ends it, as store_audit_append() does; where the store takes
 * none, where that is kept instead. */
bool audit_append (Mount *mount, const char *object, GError **error);

/* Tells who opens the file, if it is a message or made of one. False: it must not be opened. */
bool audit_note_open (fuse_req_t req, fuse_ino_t ino, GError **error);

/* ---- follow.c: telling what happens in the queue ------------------------------------------- */

/* Starts a thread that tells of it in the events, and the service manager of how things are. */
Follow *follow_start (Mount *mount);
void follow_stop (Follow *self); /* when it has told of all that has happened */
