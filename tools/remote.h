/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote.h - a store behind a mount of mailfs, for site.c.
 *
 * Whoever can use the mount can administer the store: what is read comes out of the tree, the
 * extended attributes and the control files, and what is to be done is written to the control
 * files. The store itself may be out of reach, as it is in a container that sees the mount only.
 */
#pragma once

#include "tools/site.h"
#include "tools/tools.h"

typedef struct Remote Remote;

/* ---- remote.c: the mount and its control files ----------------------------------------------- */

/* `*out` is NULL when `path` is no mountpoint of mailfs: no error. ENOTCONN: its daemon has died;
 * EPROTONOSUPPORT: its control files are newer than this program. */
bool remote_open (const Tool *tool, const char *path, Remote **out, GError **error);
void remote_free (Remote *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Remote, remote_free)

/* The path of a control file or directory: a format below the control directory. */
char *remote_control_path (const Remote *self, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* That of a control file of another directory than the root. */
char *remote_control_below (const Remote *self, const char *directory, const char *name);

/* EOPNOTSUPP when it is the mount of a snapshot, where most control files are missing. */
bool remote_check_present (const Remote *self, GError **error);

/* All of a control file. */
char *remote_read (const Remote *self, const char *path, GError **error);

bool remote_setting (const Remote *self, StoreSetting setting, int64_t *out, GError **error);

/* From then on its tree is that of a snapshot, which has no control files. ENOENT: there is none of
 * that name. */
bool remote_go_back (Remote *self, const char *snapshot, GError **error);

/* With -v it says which store that is. */
bool remote_introduce (const Remote *self, const Tool *tool, GError **error);

/* EROFS when nothing can be changed through the mount. */
bool remote_check_writable (const Remote *self, GError **error);

/* Whether the store is evidence to the mount. */
bool remote_is_forensic (const Remote *self);

/* The path of the store that is mounted, where it can be reached and is the same one: else
 * EOPNOTSUPP, and the message says what is missing. */
char *remote_store_path (const Remote *self, GError **error);

/* ---- remote-tree.c: directories and messages ------------------------------------------------- */

/* Each is as the function of that name in site.c. Nodes are numbered as they are met. */
StoreTree remote_tree (Remote *self);
bool remote_node (Remote *self, uint32_t number, StoreNode *out, GError **error);
bool remote_node_state (Remote *self, StoreNode *node, GError **error);
bool remote_children (Remote *self, uint32_t parent, GArray *numbers, GError **error);
const char *remote_node_path (Remote *self, uint32_t number);
bool remote_mailbox_info (Remote *self, uint32_t number, StoreMailboxInfo *out, GError **error);
bool remote_letter (Remote *self, uint32_t number, uint32_t uid, Letter *out, bool *out_found,
                    GError **error);
bool remote_each_letter (Remote *self, uint32_t number, LetterFunc each, void *data,
                         GError **error);
int remote_message_open (Remote *self, uint32_t number, uint32_t uid, GError **error);

/* What lies in the control directory of a node, as it is, like "export.jsonl". */
bool remote_write_file (Remote *self, uint32_t number, const char *name, FILE *out, GError **error);
GPtrArray *remote_quarantine_list (Remote *self, GError **error);

/* The places that are known: an array of owned paths, by their numbers. For remote-tree.c. */
GPtrArray *remote_places (Remote *self);

/* Below the mountpoint. */
char *remote_path (const Remote *self, const char *path);

/* ---- remote-job.c: jobs and what asks for them ----------------------------------------------- */

bool remote_each_record (Remote *self, bool pending, RecordFunc each, void *data, GError **error);
bool remote_record (Remote *self, uint64_t id, StoreRecord *out, GError **error);
GPtrArray *remote_findings (Remote *self, uint64_t id, GError **error);

/* Asks for what the lines say: arrays of words, ended by NULL, a verb first. `how` is a word for
 * the mount: "now", or
 * "". The numbers (uint64_t) of the jobs that come of it are appended to `out_jobs`. What is
 * refused fails with the errno and the reason that the store gave. */
bool remote_order (Remote *self, const GPtrArray *lines, const char *how, GArray *out_jobs,
                   GError **error);

bool remote_queue_add (Remote *self, const GPtrArray *requests, uint64_t *out_ids, bool *out_added,
                       GError **error);

/* "cancel" or "queue-remove" for some jobs. */
bool remote_cancel (Remote *self, const char *verb, const uint64_t *ids, size_t count,
                    GError **error);

/* As site_act(). */
bool remote_act (Remote *self, GPtrArray *words, GPtrArray **out_findings, GError **error);

/* Runs a command, and prints all that there is to tell of it. */
bool remote_run (Remote *self, Tool *tool, const StoreCommand *command, GPtrArray *words,
                 GError **error);
