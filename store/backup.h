/* SPDX-License-Identifier: Apache-2.0 */
/* backup.h - what the files of backup share. */
#pragma once

#include "store/jobs.h"

typedef struct {
  StoreJob *job;
  StoreJob walk; /* over the nodes of `moment`; its data is this */
  Store *live;   /* the store, once more: the snapshot is this one's */
  StoreSnapshot snapshot;
  Store *moment; /* the store as it was when that was taken */
  Pace pace;
  const char *path; /* of the backup */
  int fd, tmp_fd;
  bool interrupted;   /* the run before was: no index is known to agree */
  GPtrArray *pending; /* of char *: names below the backup, for the files 0, 1, ... in tmp/ */
  uint64_t pending_bytes;
  GHashTable *seen;    /* of char *: directories below mail/ that the store has */
  GHashTable *removed; /* numbers of the directories in its quarantine; NULL: nobody asked yet */
  GPtrArray *behind;   /* of char *: owners in the backup whose index is to follow */
} Backup;

/* ---- backup.c: what a backup says of itself ------------------------------------------------ */

/* backup.conf in a backup: which store it is of, and whether it is complete. In a store: where its
 * last backup is. */
#define BACKUP_CONF "backup.conf"

/* In a backup: the digest of every file, for sha256sum(1). */
#define BACKUP_MANIFEST "manifest.sha256"

typedef struct {
  char *uuid;
  bool complete;
} BackupInfo;
bool backup_info_read (const char *directory, BackupInfo *out, GError **error);
void backup_info_clear (BackupInfo *info);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (BackupInfo, backup_info_clear)

/* Where the store's last backup is; NULL: there is none that it knows of. */
char *backup_last (const Store *store);

/* ---- backup.c ------------------------------------------------------------------------------ */

/* A name in tmp/ for the next copy, which will be called `name` below the backup. Owned. The copy
 * that was not made after all is taken back. */
char *backup_name (Backup *self, const char *name);
void backup_take_back (Backup *self);

/* Gives their names to the copies that were made, once they are on disk. */
bool backup_place (Backup *self, GError **error);

/* ---- backup-tree.c: directories ------------------------------------------------------------ */

/* One owner's part of a backup. */
typedef struct {
  Backup *backup;
  char *path;         /* below mail/ */
  Index *index;       /* what the backup knew of its messages */
  IndexRead *read;    /* the same; NULL: nothing */
  GHashTable *former; /* number -> a directory that the backup had below it */
  GArray *dates;      /* of those that it has now, parents first */
  bool changed;       /* the index does not fit any more */
} BackupOwner;
BackupOwner *backup_owner_new (Backup *backup, uint32_t owner, GError **error);
void backup_owner_free (BackupOwner *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (BackupOwner, backup_owner_free)

/* Makes the directory `path` below mail/, and those above it, with the facts of the store's own. */
bool backup_make_way (Backup *self, const char *path, GError **error);

/* The same for a mailbox: a directory that has its number takes its name. */
bool backup_make_mailbox (BackupOwner *self, const StoreNode *node, StoreMailbox *from,
                          const char *path, GError **error);

/* What is to be done with the directories that the store does not have any more, of the owner or at
 * all; and the dates of the others, which that changes. */
bool backup_leave_mailboxes (BackupOwner *self, bool whole, GError **error);
bool backup_leave_owners (Backup *self, GError **error);
bool backup_date (const BackupOwner *self, GError **error);

/* ---- backup-copy.c: messages --------------------------------------------------------------- */

/* Brings the copy of a mailbox, which lies in `path` below mail/, up to date. */
bool backup_messages (BackupOwner *self, StoreMailbox *from, const char *path, GError **error);

/* ---- backup-manifest.c --------------------------------------------------------------------- */

/* Writes the digest of every file in the backup, durably; `conf` is what backup.conf will be. */
bool backup_manifest_write (const Backup *self, const char *conf, GError **error);
