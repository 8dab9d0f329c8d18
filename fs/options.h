/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - the command line of mailfs, and of mount.mailfs.
 */
#pragma once

#include "index/error.h"

#include <fuse_lowlevel.h>

/* ---- options.c: the command line ----------------------------------------------------------- */

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
  char *user;    /* to work as; NULL: who mounts */
  uid_t run_uid; /* his, and his group */
  gid_t run_gid;
  char *snapshot; /* that is to be mounted, or SNAPSHOT_NEW; NULL: the store as it is */
  char *workdir;  /* of a forensic mount; NULL: memory */
  int foreground, debug, single, help, version;
  int read_only, nonempty, sloppy, replace, forensic, io_uring;
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

/* ---- helper.c: as mount(8) calls it -------------------------------------------------------- */

/* Whether the program's name is mount.mailfs. */
bool helper_is_called (const char *program);

/* Mounts by `run`, which takes the arguments of mailfs, and returns what mount(8) expects. */
typedef int (*HelperRun) (int argc, char **argv);
int helper_main (int argc, char **argv, HelperRun run);
