/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rescue.h - a store (store.h) looked at from other sides: as it was at a moment, what is kept of
 * what was removed, lost or damaged, as evidence; what is inside messages and which of them say
 * something; and texts of all that for others to keep.
 *
 * Errors, threads and units are as in store.h.
 */
#pragma once

#include "store/commands.h"

/* ---- parts: what is inside a message -------------------------------------------------------- */

/*
 * A message as a small tree of files: its header, its texts, its attachments, and the messages that
 * were forwarded in it, which are directories of the same. Multiparts are no level of it.
 *
 *   auto_fd fd = store_message_open (inbox, 42, &error);
 *   g_autoptr (StoreParts) parts = store_parts_new (fd, &error);
 *   for (uint32_t i = 0; i < store_parts_count (parts); i++)
 *     store_parts_get (parts, i)->name ...
 *
 * The bytes may be anything: what makes no sense is shown as an attachment or as text, never left
 * out, up to 100 levels and 10,000 parts. Nothing is held against a digest here.
 */
typedef enum {
  STORE_PART_HEADER,     /* its fields, one a line, unfolded and decoded (RFC 2047) */
  STORE_PART_TEXT,       /* in UTF-8; what cannot be decoded is U+FFFD */
  STORE_PART_ATTACHMENT, /* the bytes that were sent */
  STORE_PART_MESSAGE,    /* a directory */
} StorePartKind;
const char *store_part_kind_name (StorePartKind kind); /* "header" ... */

typedef struct {
  StorePartKind kind;
  uint32_t parent; /* the part that it lies in; STORE_PARTS_TOP: the message itself */
  char *name;      /* of a file, whatever the sender called it: safe, and no other there has it */
  char *type;      /* "text/plain" */
  char *charset;   /* of a text, as it was sent; NULL: not told */
  uint64_t offset, raw_size; /* where it lies in the message, encoded */
  uint64_t size;             /* of a file, decoded */
} StorePart;

#define STORE_PARTS_TOP UINT32_MAX

/* Messages that are larger are not looked into. */
#define STORE_PARTS_MESSAGE_MAX (128u << 20)

typedef struct StoreParts StoreParts;

/* Reads the message at `fd`, twice; EFBIG when it is larger than that. */
StoreParts *store_parts_new (int fd, GError **error);
StoreParts *store_parts_ref (StoreParts *self);
void store_parts_unref (StoreParts *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreParts, store_parts_unref)

/* Parts follow what they lie in, and each other as in the message. */
uint32_t store_parts_count (const StoreParts *self);
const StorePart *store_parts_get (const StoreParts *self, uint32_t index);

/* Whether these are all of them: no limit was met. */
bool store_parts_are_all (const StoreParts *self);

/* The part `name` in `parent`; STORE_PARTS_TOP: there is none. */
uint32_t store_parts_find (const StoreParts *self, uint32_t parent, const char *name);

/* Writes what the file has to `out`; `fd` is the same message. */
bool store_part_write (const StoreParts *self, uint32_t index, int fd, int out, GError **error);

/* A descriptor of a file in memory with that; or -1. EISDIR. */
int store_part_open (const StoreParts *self, uint32_t index, int fd, GError **error);

/* All the text of a message, to search in: its texts one after the other, HTML without its tags, in
 * UTF-8 without NUL; at most `limit` bytes of it. Owned by the caller. */
char *store_parts_text (const StoreParts *self, int fd, size_t limit, GError **error);

/* ---- searching ----------------------------------------------------------------------------- */

/*
 * A query is words that must all hold, separated by blanks:
 *
 *   from: to: cc: subject: message-id:   in that field of the header
 *   body: text:                          in the text of the message; there, or in one of these
 * fields since: before: on:                   the internal date, in UTC: 2026-01-31, 2026-01, 2026;
 * or 7d ago flag: keyword:                       flag:seen, keyword:$Label1 larger: smaller: 500,
 * 64K, 20M uid:                                 4, 1:5,7:* in:                                  in
 * the mailbox, user or domain of that name, or below it
 *
 * A word without a key is in subject, from or to. A value that has blanks or a colon stands in
 * quotes: subject:"the invoice". A '-' before a word negates it. Case and forms of characters do
 * not matter, and a run of blanks is one. Parts of words are found, too.
 */
typedef struct StoreQuery StoreQuery;

/* EINVAL names the word that makes no sense. */
StoreQuery *store_query_parse (const char *text, GError **error);
void store_query_free (StoreQuery *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreQuery, store_query_free)

/* What a search tells. All are called by the thread that searches; `found` and `go_on` end it by
 * returning false, with an error. */
typedef struct {
  bool (*found) (StoreMailbox *mailbox, const StoreMessage *message, void *user_data,
                 GError **error);
  /* Now and then: so many more messages were looked at. May be NULL. */
  bool (*go_on) (uint64_t messages, void *user_data, GError **error);
  /* A mailbox, or with `uid` a message, could not be looked at, which the answer lacks. May be
   * NULL. */
  void (*missed) (uint32_t number, uint32_t uid, const GError *failure, void *user_data);
  void *user_data;
} StoreSearch;

/* Looks for messages in the node and all below it: mailbox by mailbox, in the order of UIDs. What
 * is in the index is asked of it, the rest of the files; bodies are read where a query asks for
 * them, and where a full-text index does not rule them out. The answer is the same with any index
 * or none. What comes, goes or changes meanwhile is found or not. ENOENT: no such node. */
bool store_search (Store *self, const StoreQuery *query, uint32_t number, const StoreSearch *calls,
                   GError **error);

/* ---- manifest and export ------------------------------------------------------------------- */

/* The digest of every live message of the node and below it, a line each, as `sha256sum -c` takes
 * it in the node's directory in the mount. Comments at the top say what it is of; a last one, "#
 * complete: N messages" or "# incomplete: N of M messages", that it ends there. Of what is known to
 * be damaged the digest that was delivered is told, as far as it is known, behind a comment "#
 * damaged PATH". Digests are those of the index; where it has none the files are read, which takes
 * as long. ENOENT: no such node; an errno of writing. What comes or goes meanwhile is in it or not.
 */
bool store_manifest_write (Store *self, uint32_t number, FILE *out, GError **error);

/* The same with more facts, as one JSON document: "messages" is an array of objects with "path",
 * "uid", "size", "sha256" (null: nobody knows it), "internaldate" and "damage", a line each; and
 * "complete", at the end, says whether all digests are known. */
bool store_manifest_json_write (Store *self, uint32_t number, FILE *out, GError **error);

/* When what happened to the node's directories and messages, and those below, the expunged ones,
 * too: the body file that mactime(1) of the Sleuth Kit takes. Of each file a line with its own
 * times: the mtime is the internal date, the ctime the last change of state or the expunge, and the
 * birth of the file its delivery. Lines of their own are for the Date of the header, "(Date)", for
 * states that snapshots know of, "(flags: ...)", for messages whose file is gone, "(missing)",
 * whose ctime is when that was found out, and, of the whole store, for snapshots and what was taken
 * out. 0: not known. The last line is
 * "# complete: N lines". EINVAL: a snapshot has none. */
bool store_timeline_write (Store *self, uint32_t number, FILE *out, GError **error);

/* Every fact of the node and below it that the files alone cannot give, an object a line: "store"
 * first, then, each above what is in it, "directory" (of a user also whether there is an index),
 * "mailbox" and "message", and "end" last. Paths are relative to the node's directory. Otherwise as
 * the manifest. */
bool store_export_write (Store *self, uint32_t number, FILE *out, GError **error);

/* ---- quarantine ---------------------------------------------------------------------------- */

/* What was taken out of the store is kept for some time, as STAMP/PATH: the time it was taken at,
 * and where below mail/ it had been. */
typedef struct {
  char *path;    /* "20261122T073000Z-1a2b3c4d/example.com/user/joe/Old", as on disk */
  uint64_t size; /* of the file, or of all files in the directory */
  int64_t since_s;
  bool is_directory;
} StoreQuarantined;
void store_quarantined_free (StoreQuarantined *object);

/* Everything in quarantine, the oldest first: an array of StoreQuarantined pointers. */
GPtrArray *store_quarantine_list (Store *self, GError **error);

/* One as an object of json_begin(), to be ended and freed by the caller; and all of them, one a
 * line. */
GString *store_quarantined_json (const StoreQuarantined *object);
bool store_quarantine_write (Store *self, FILE *out, GError **error);

/* Puts back where it was what `path` names: STAMP/PATH, or STAMP for all that was taken then.
 * ENOENT: it is not there, or what it was in is gone; EEXIST: something has its place. The index
 * takes it in when it is rebuilt, which is put into the queue. */
bool store_quarantine_restore (Store *self, const char *path, GError **error);

/* Removes it for good. EBUSY: a snapshot has it. */
bool store_quarantine_remove (Store *self, const char *path, GError **error);

/* ---- lost and found ------------------------------------------------------------------------ */

/*
 * What lies in no mailbox any more, or is not what it was, by kinds. Each thing has a name of its
 * own in its kind, which is the same for every look: "NNNNNNNN-UUUUUUUUUU.eml" of the mailbox's
 * number and the UID, an orphan's "NNNNNNNN-" and where it lies in the directory of that number, of
 * quarantine STAMP/PATH; escaped as mailbox names are. No name ends in ".json". A snapshot has none
 * of all that.
 */
typedef enum {
  STORE_LOST_ORPHANS,  /* files that are no part of the store, and what dead processes left in tmp/
                        */
  STORE_LOST_EXPUNGED, /* expunged messages */
  STORE_LOST_DAMAGED,  /* messages that are not what was delivered; they are in their mailboxes, too
                        */
  STORE_LOST_MISSING,  /* messages whose file is gone, as far as anything tells of them */
  STORE_LOST_INDEX,    /* messages that only a broken index tells of */
  STORE_LOST_QUARANTINE, /* what was taken out of the store */
} StoreLostKind;
#define STORE_LOST_KINDS 6
const char *store_lost_kind_name (StoreLostKind kind); /* "orphans" ... */
bool store_lost_kind_parse (const char *name, StoreLostKind *out);

typedef struct {
  StoreLostKind kind;
  bool has_bytes;             /* there is a file: store_lost_open() */
  bool is_directory;          /* of quarantine: with all that is in it */
  uint32_t number;            /* of the directory that it was in; STORE_ROOT: not known, or mail/ */
  uint32_t uid;               /* 0: it has none, or none is known */
  uint64_t size;              /* of the file; without one as it is known */
  int64_t mtime_ns, ctime_ns; /* of the file; 0: there is none */
  char *name;
  char *path; /* where it lies, or lay: below mail/, else "../quarantine/..."; any bytes */
} StoreLost;

void store_lost_clear (StoreLost *lost);
void store_losts_clear (StoreLost *losts, size_t count);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreLost, store_lost_clear)

/* The next at most `capacity` things of a kind whose name is above `after` (NULL: from the first),
 * in byte order; of the whole store, or with a number of that mailbox. 0 in `*out_count` is the
 * end. The caller clears them. Mailboxes that cannot be read are passed over. EINVAL: `after` is no
 * name of that kind. */
bool store_lost_page (Store *self, StoreLostKind kind, uint32_t number, const char *after,
                      StoreLost *out, size_t capacity, size_t *out_count, GError **error);

/* One by its name; absence is no error. */
bool store_lost_find (Store *self, StoreLostKind kind, uint32_t number, const char *name,
                      StoreLost *out, bool *out_found, GError **error);

/* Opens the bytes as they are, whatever they are worth. -1 with ENOENT: there are none, or not any
 * more. */
int store_lost_open (Store *self, const StoreLost *lost, GError **error);

/* All that is known of it, as an object of json_begin(), to be ended and freed by the caller: where
 * it is from, why it is here, the facts, and where each of them is from. Reads the file. */
GString *store_lost_json (Store *self, const StoreLost *lost, GError **error);

/* Puts it into the mailbox: an expunged message of that mailbox comes back under its UID, and so
 * does one that quarantine has from there; anything else becomes a new message, with its flags,
 * keywords and internal date, and is gone from where it was once that is on disk, unless a snapshot
 * needs it there. With STORE_ROOT it goes back to where it was, if that is known; what is no
 * message then has the UID 0. A message that is damaged stays so. EINVAL: there are no bytes, or no
 * such place; ENOENT: it is gone; EROFS. */
bool store_lost_restore (Store *self, const StoreLost *lost, uint32_t mailbox, uint32_t *out_uid,
                         GError **error);

/* Removes it for good; of what is missing all that is known of it. EBUSY: a snapshot needs it;
 * EINVAL: it is a damaged message, to be expunged, or part of a broken index; ENOENT; EROFS. */
bool store_lost_remove (Store *self, const StoreLost *lost, GError **error);

/* ---- snapshots ----------------------------------------------------------------------------- */

/* The store as it was when somebody said so. A snapshot costs one small file, however much mail
 * there is, and keeps what was in the store then from being cleaned up until it is dropped. */
typedef struct {
  char *name;     /* as on disk and in the mount: escaped as mailbox names are */
  uint32_t epoch; /* the last one whose changes it has; 0: its file makes no sense. Then all that is
                     known is the name, and nothing is cleaned up until it is dropped */
  uint32_t slot;  /* 1 to 255, no other has it */
  uint32_t next_number; /* directories from this number on came later */
  int64_t taken_ns;
} StoreSnapshot;
#define STORE_SNAPSHOTS_MAX 255

void store_snapshot_clear (StoreSnapshot *snapshot);
void store_snapshot_free (StoreSnapshot *snapshot);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreSnapshot, store_snapshot_clear)

/* Takes one, which waits for the changes that are under way. A NULL name is the time,
 * "20261122T143000Z", with a suffix where that is taken. `out` may be NULL. EEXIST; ENOSPC: there
 * are 255; EINVAL: no name for a snapshot, which "latest", "new" and what begins with '.' are not
 * either; EROFS. */
bool store_snapshot_take (Store *self, const char *name, StoreSnapshot *out, GError **error);

/* Takes one for as long as this process needs it, called PURPOSE-ID. Whoever takes it drops it;
 * those of the same purpose whose process died before it could are dropped now. One of a purpose
 * for each Store. */
bool store_snapshot_take_own (Store *self, const char *purpose, StoreSnapshot *out, GError **error);

/* ENOENT: there is none of that name. What only it had, cleanup and purge take later on. */
bool store_snapshot_drop (Store *self, const char *name, GError **error);

/* ENOENT; EEXIST; EINVAL: as when it is taken. */
bool store_snapshot_rename (Store *self, const char *name, const char *new_name, GError **error);

/* All of them, the oldest first: an array of StoreSnapshot pointers. */
GPtrArray *store_snapshot_list (Store *self, GError **error);

/* One by its name; "latest" is the newest. ENOENT; EBADMSG: its file makes no sense. */
bool store_snapshot_find (Store *self, const char *name, StoreSnapshot *out, GError **error);

/* The store as it was: all that reads here works on it, and tells names, tree, messages, flags,
 * times and figures as they were, whatever became of them since; what is expunged is no part of it.
 * All that writes fails with EROFS, and of the commands only verify is for it. `live` must stay
 * open longer. ESTALE, of every call, once the snapshot was dropped. Otherwise as
 * store_snapshot_find(). */
Store *store_snapshot_open (Store *live, const char *name, GError **error);

/* Which snapshot the store is as of, by the name that it was opened by; NULL: it is as it is now.
 */
const StoreSnapshot *store_snapshot_of (const Store *self);

typedef struct {
  uint64_t messages, bytes;         /* that the snapshot has */
  uint64_t own_messages, own_bytes; /* that are kept for it alone */
} StoreWeight;

/* Weighs `snapshots`, which are all that there are: store_snapshot_list(); `out` has room for as
 * many.
 * `*out_kept` is how many bytes are kept for any of them, and not in the store any more. One pass
 * over all messages, the expunged ones, too. */
bool store_snapshot_weigh (Store *self, const GPtrArray *snapshots, StoreWeight *out,
                           uint64_t *out_kept, GError **error);

/* ---- evidence ------------------------------------------------------------------------------ */

/* Opens a store as evidence: nothing in it is changed by looking at it, not even an access time, by
 * the kernel's guarantee where it gives one. All may be missing or broken but its mail/, and what
 * cannot be read of that is shown as far as it can be, which store_notice() tells of. Databases are
 * copied, with what a crash left beside them, to memory or to files without a name in `workdir`;
 * where that copy is damaged its rows are salvaged. The store is read only; what is there at the
 * first look counts. Directories without a number get one that is the same each time. The cost
 * grows with the number of directories. EINVAL: there is no mail/, or `workdir` lies in the store.
 */
Store *store_open_evidence (const char *path, const char *workdir, GError **error);
bool store_is_evidence (const Store *self);
const char *store_workdir (const Store *self); /* NULL: memory */

/* ---- damage: which bytes of which messages ------------------------------------------------- */

/* Where a message's file is not what was delivered. What lies behind the file's end is missing. */
typedef struct {
  uint64_t offset, length;
  StoreProblem kind; /* _TRUNCATED, _ZERO_RUN, _SIZE, _UNREADABLE; _DIGEST: it cannot be located */
} StoreDamageRange;

/* Reads the whole message from `fd`, and finds out which of its bytes are damaged: an array of
 * StoreDamageRange, in their order; of one that is what was delivered, as far as anybody knows, an
 * empty one. */
GArray *store_message_locate (StoreMailbox *self, uint32_t uid, int fd, GError **error);

/* The damage map of a mailbox, or of everything below another node: reads every message, the
 * expunged ones, too, as a check does with "full", and writes a line for each thing that is wrong
 * with one, by UID and offset:
 *
 *   UID <TAB> OFFSET <TAB> LENGTH <TAB> KIND <TAB> DETAIL
 *
 * with the mailbox's path in front where it is of more than one mailbox. KIND is
 * store_problem_name() of _TRUNCATED, _ZERO_RUN, _NUL, _SIZE, _DIGEST, _NO_FILE, _NO_ROW,
 * _DUPLICATE, _BAD_HEADER, _UNREADABLE or _BAD_STATE, which stands for all in which file and index
 * differ but the bytes. Without a UID, which is 0 then, it is the mailbox's own. A first line, "#
 * uid ...", names the columns, a last one, "# complete: N lines", says that it is whole. `go_on` is
 * as in store_job_watch(), and may be NULL. */
bool store_damage_write (Store *self, uint32_t number, FILE *out, StoreJobFunc go_on,
                         void *user_data, GError **error);

/* ---- bags ---------------------------------------------------------------------------------- */

/* A bag (RFC 8493) is a directory with copies of messages, their digests, and what is to be known
 * of them, for others to keep: whatever program they have for bags tells whether it is whole. */
typedef struct {
  uint64_t messages, bytes; /* in it */
  uint64_t damaged;         /* of the messages, as far as that is known */
} StoreBag;

/* Puts the messages of the node and everything below it into the new or empty `directory`, with
 * their facts (store_export_write(), store_manifest_json_write()) in export.jsonl and
 * manifest.json. What is damaged goes in as it is, and is told in damaged.tsv. All is on disk when
 * it returns true; before that there is no bagit.txt, and so no bag. `progress` as of an import.
 * ENOTEMPTY; ENOENT: no such node. */
bool store_bag_write (Store *self, uint32_t number, const char *directory, StoreImportFunc progress,
                      void *user_data, StoreBag *out, GError **error);

/* Holds a bag, by whatever program, against its digests and lists. Calls `tell` for each problem,
 * with texts that are printable. EINVAL: it is no bag. */
typedef void (*StoreBagFunc) (const char *path, const char *problem, void *user_data);
bool store_bag_verify (const char *directory, StoreBagFunc tell, void *user_data, StoreBag *out,
                       uint64_t *out_problems, GError **error);
