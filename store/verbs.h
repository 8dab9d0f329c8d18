/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs.h - the commands: what store_commands[] (command.c) runs, each in a file of its subject.
 */
#pragma once

#include "store/internal.h"

/* ---- looking ------------------------------------------------------------------------------- */

bool command_check (StoreJob *job, GError **error);
bool command_test (StoreJob *job, GError **error);
bool command_verify (StoreJob *job, GError **error);
bool command_search (StoreJob *job, GError **error);

/* ---- mending ------------------------------------------------------------------------------- */

bool command_reconstruct (StoreJob *job, GError **error);
bool command_recover (StoreJob *job, GError **error);
bool command_repair (StoreJob *job, GError **error);
bool command_reset (StoreJob *job, GError **error);
bool command_checkpoint (StoreJob *job, GError **error);
bool command_text (StoreJob *job, GError **error);

/* ---- backups ------------------------------------------------------------------------------- */

bool command_backup (StoreJob *job, GError **error);
bool command_restore (StoreJob *job, GError **error);

/* ---- messages: command-mail.c, life.c, purge.c --------------------------------------------- */

bool command_flag (StoreJob *job, GError **error);
bool command_copy (StoreJob *job, GError **error);
bool command_move (StoreJob *job, GError **error);
bool command_expunge (StoreJob *job, GError **error);
bool command_undelete (StoreJob *job, GError **error);
bool command_cleanup (StoreJob *job, GError **error);
bool command_purge (StoreJob *job, GError **error);

/* ---- mailboxes: command-mailbox.c ---------------------------------------------------------- */

bool command_mailbox_create (StoreJob *job, GError **error);
bool command_mailbox_rename (StoreJob *job, GError **error);
bool command_mailbox_remove (StoreJob *job, GError **error);
bool command_mailbox_subscribe (StoreJob *job, GError **error);
bool command_mailbox_unsubscribe (StoreJob *job, GError **error);
bool command_mailbox_set (StoreJob *job, GError **error);
bool command_quarantine_restore (StoreJob *job, GError **error);
bool command_quarantine_remove (StoreJob *job, GError **error);

/* ---- lost and found: command-lost.c -------------------------------------------------------- */

bool command_lost_list (StoreJob *job, GError **error);
bool command_lost_restore (StoreJob *job, GError **error);
bool command_lost_remove (StoreJob *job, GError **error);

/* ---- snapshots: command-snapshot.c, snapshot-diff.c ---------------------------------------- */

bool command_snapshot_take (StoreJob *job, GError **error);
bool command_snapshot_drop (StoreJob *job, GError **error);
bool command_snapshot_rename (StoreJob *job, GError **error);
bool command_snapshot_list (StoreJob *job, GError **error);
bool command_snapshot_diff (StoreJob *job, GError **error);
