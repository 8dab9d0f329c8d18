/* SPDX-License-Identifier: Apache-2.0 */
/* backup.h - what the files of backup share. */
#pragma once

#include "store/jobs.h"

typedef struct {
  StoreJob *job;
  Pace pace;
  const char *path; /* of the backup */
  int fd, tmp_fd;
  GPtrArray *pending;   /* of char *: names below the backup, for the files 0, 1, ... in tmp/ */
  GHashTable *made;     /* of char *: directories below mail/ that have been copied */
  GHashTable *seen;     /* likewise, in this run; what it does not have is from an earlier one */
  bool differs;         /* a message of this owner is not as the copied index tells */
  GString *reconstruct; /* paths in the backup whose index is to be made from the files */
} Backup;

/* A mailbox as it was when the lock was held. */
typedef struct {
  uint32_t number;
  char *path;
  GArray *uids, *expunged;
  struct timespec mtime;
} BackupListed;

/* A name in tmp/ for the next copy, which will be called `name` below the backup. Owned. */
char *backup_name (Backup *self, const char *name);

/* Gives their names to the copies that were made, once they are on disk. */
bool backup_place (Backup *self, GError **error);

/* Copies the messages of a mailbox whose directory is there. `index` is the copied one, or NULL.
 * `gone` counts those that were not there any more. */
bool backup_mailbox (Backup *self, const BackupListed *listed, Index *index, unsigned *gone,
                     GError **error);
