/* SPDX-License-Identifier: Apache-2.0 */
/*
 * site.h - what a command talks to: a store, or a mount of one.
 */
#pragma once

#include "tools/tools.h"

/* ---- site.c: a store, or a mount of one ---------------------------------------------------- */

/*
 * What a command talks to. Whether -s names a store or the mountpoint of one makes no difference to
 * it: the functions here are those of store/store.h, and in a mount they get by with what it shows
 * (remote.h). Numbers of nodes are good for as long as the Site.
 */
/* EROFS: the mount is read-only, and `flags` are not. */
Site *site_open (const Tool *tool, StoreOpenFlags flags, GError **error);

/* The same for what only the store itself can do, also where -s names a mount of it. */
Site *site_open_store (const Tool *tool, StoreOpenFlags flags, GError **error);

/* For a look at the queue: for writing, where that is allowed, because only a writer can take back
 * what a process began that died while it wrote there. */
Site *site_open_queue (const Tool *tool, GError **error);
void site_free (Site *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Site, site_free)

/* Does what `words` say, which are those of a request for something that is done at once, ended by
 * a NULL. What it had to tell is in `*out_findings`, also when it failed half way; NULL: nothing
 * was done. */
bool site_act (Site *self, GPtrArray *words, GPtrArray **out_findings, GError **error);

/* The same, but calls `each` with what there is to tell, when that comes out. Who only looks may do
 * so in the store behind a mount that is read-only. */
bool site_tell (Site *self, const Tool *tool, GPtrArray *words, StoreFindingFunc each, void *data,
                GError **error);

/* What mailfs.conf sets. */
bool site_setting (Site *self, StoreSetting setting, int64_t *out, GError **error);

bool site_resolve (Site *self, const char *spelling, StoreNode *out, GError **error);
bool site_resolve_mailbox (Site *self, const char *spelling, StoreNode *out, GError **error);

/* Of these, name and kind are filled in; all else only when site_node_state() has been called. */
bool site_node (Site *self, uint32_t number, StoreNode *out, GError **error);
bool site_node_state (Site *self, StoreNode *node, GError **error);

/* Appends the numbers (uint32_t) of the children, in the order of their names. */
bool site_children (Site *self, uint32_t parent, GArray *numbers, GError **error);
char *site_node_path (Site *self, uint32_t number, GError **error);
char *site_node_title (Site *self, uint32_t number, GError **error);
bool site_mailbox_info (Site *self, uint32_t number, StoreMailboxInfo *out, GError **error);

/* A message with what its header says. What cannot be read has no header: its damage says so, and
 * lists go on. */
typedef struct {
  StoreMessage message;
  int64_t sent_s;                         /* INT64_MIN: unknown */
  char *from, *to, *subject, *message_id; /* NULL: none */
} Letter;
void letter_clear (Letter *letter);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Letter, letter_clear)

/* Takes the message over. */
void letter_read (StoreMailbox *mailbox, StoreMessage *message, Letter *out);

/* One message of a mailbox; absence is no error. */
bool site_letter (Site *self, uint32_t number, uint32_t uid, Letter *out, bool *out_found,
                  GError **error);

/* Calls `each` for the messages of a mailbox, by UID. */
typedef void (*LetterFunc) (const Letter *letter, void *data);
bool site_each_letter (Site *self, uint32_t number, LetterFunc each, void *data, GError **error);

/* A descriptor for the bytes that were delivered, or -1. EIO: they are not these any more. */
int site_message_open (Site *self, uint32_t number, uint32_t uid, GError **error);

bool site_manifest_write (Site *self, uint32_t number, FILE *out, GError **error);
bool site_export_write (Site *self, uint32_t number, FILE *out, GError **error);
bool site_manifest_json_write (Site *self, uint32_t number, FILE *out, GError **error);
bool site_timeline_write (Site *self, uint32_t number, FILE *out, GError **error);
bool site_damage_write (Site *self, uint32_t number, FILE *out, GError **error);
GPtrArray *site_quarantine_list (Site *self, GError **error);

/* Runs what the words ask for, and prints all that there is to tell of it. */
bool site_run (Site *self, Tool *tool, const StoreCommand *command, GPtrArray *words,
               GError **error);

/* Calls `each` for all jobs, or only for those that wait or run, by number. */
typedef void (*RecordFunc) (const StoreRecord *record, void *data);
bool site_each_record (Site *self, bool pending, RecordFunc each, void *data, GError **error);
bool site_record (Site *self, uint64_t id, StoreRecord *out, GError **error);

/* What a job found: an array of StoreFinding pointers, owned by the caller. */
GPtrArray *site_findings (Site *self, uint64_t id, GError **error);

/* Puts each request, an array of words as of command_words(), into the queue: `out_ids` gets its
 * number, `out_added` whether it did not wait there already. */
bool site_queue_add (Site *self, const GPtrArray *requests, uint64_t *out_ids, bool *out_added,
                     GError **error);
bool site_queue_remove (Site *self, const uint64_t *ids, size_t count, GError **error);
bool site_queue_cancel (Site *self, const uint64_t *ids, size_t count, GError **error);

/* ---- tree.c: the mailboxes below a directory of the store ---------------------------------- */

/* Calls `each` for `top`, if that is a mailbox, and for the mailboxes in it; when `recursive`, for
 * all below it; in the order of their names. */
typedef bool (*TreeFunc) (Site *site, StoreNode *node, void *data, GError **error);
bool tree_each (Site *site, uint32_t top, bool recursive, TreeFunc each, void *data,
                GError **error);
