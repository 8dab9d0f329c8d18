/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - a mail store: message files, the index beside them, and the promise that they agree.
 *
 *   g_autoptr (Store) store = store_open ("/var/lib/mailfs", 0, &error);
 *   g_auto (StoreNode) node = { 0 };
 *   if (store == NULL || !store_node_resolve (store, "joe@example.com/INBOX", &node, &error))
 *     ...
 *   g_autoptr (StoreMailbox) inbox = store_mailbox_open (store, node.number, &error);
 *   StoreMessage page[128];
 *   size_t n;
 *   for (uint32_t after = 0; store_mailbox_page (inbox, after, page, 128, &n, &error) && n > 0;) {
 *     ...
 *     after = page[n - 1].uid;
 *     store_messages_clear (page, n);
 *   }
 *
 * It reads from top to bottom: the store, its directories (nodes), mailboxes, messages, new mail,
 * and who changed what. Two more headers stand on it: commands.h has what operators ask for,
 * rescue.h what was removed, lost or damaged, and what there was at a moment; text.h tells how all
 * of them write things. Tools and the filesystem stand on these four alone.
 *
 * Errors are errnos with a message (index/error.h). ENOENT: what the caller named is not there.
 * EUCLEAN: index and files disagree, or a database is damaged. EIO: a message's bytes are not those
 * that were delivered. On failure outputs are untouched.
 *
 * Threads: everything here may be called from any thread. Processes: any number may use one store
 * at the same time; a writer locks one user for the few milliseconds of its commit, or of a stream
 * of mail.
 *
 * Sizes are bytes; `_s` are seconds and `_ns` nanoseconds since 1970 in UTC.
 */
#pragma once

#include "index/error.h"

#include <limits.h>
#include <stdio.h>
#include <time.h>

#define STORE_FORMAT_VERSION 1

/* A descriptor that closes itself when it leaves scope: auto_fd fd = -1; */
#define auto_fd __attribute__ ((cleanup (store_close_fd))) int
void store_close_fd (const int *fd);

/* ---- the store ----------------------------------------------------------------------------- */

typedef struct Store Store;

typedef enum {
  STORE_READ_ONLY = 1u << 0, /* change nothing on disk */
  STORE_TAKE_LATER =
      1u << 1, /* what others put into mail/ is not taken in yet: by restore --export */
} StoreOpenFlags;

/* Makes an empty store in the directory `path`, which must be empty or not exist. EEXIST when it is
 * a store already; ENOTEMPTY when something else is there. */
bool store_create (const char *path, GError **error);

/* Opens a store. The cost does not depend on how much mail is in it. ENOENT: no such directory;
 * EINVAL: it is no mail store, or its mailfs.conf cannot be read; EPROTONOSUPPORT: a newer format;
 * EACCES. A missing or damaged mailbox list is no error: the list is made again from the
 * directories (in memory with STORE_READ_ONLY); and what others put into mail/ or took away, as
 * users copied back from a backup, is taken into it. */
Store *store_open (const char *path, StoreOpenFlags flags, GError **error);

/* From then on `notice` is told of what went wrong with the store itself and was put right, and of
 * which no call returns an error: such as a damaged queue that was set aside. It may be called from
 * any thread that uses the store, with locks held, and must not use the store. To be set before
 * other threads use it. */
typedef void (*StoreNoticeFunc) (const char *text, void *user_data);
void store_notice (Store *self, StoreNoticeFunc notice, void *user_data);

/* What readers met that wants to be repaired is put into the queue, where the store can be written.
 */
void store_close (Store *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Store, store_close)

const char *store_path (const Store *self); /* absolute */
const char *store_uuid (const Store *self);
bool store_is_read_only (const Store *self);

/* Whether the mailbox list was missing, damaged or behind, and could not be written. */
bool store_list_in_memory (const Store *self);

/* Size and free space of the filesystem that holds the mail (statvfs(3)). */
struct statvfs;
bool store_statvfs (Store *self, struct statvfs *out, GError **error);

typedef struct {
  uint64_t domains, users, mailboxes;
  uint64_t messages, unseen, expunged, bytes;
  uint64_t damaged; /* messages whose bytes are known not to be those delivered */
  uint64_t behind;  /* mailboxes served from their files: the index does not have them */
  uint64_t users_without_index; /* all of whose mailboxes are served so */
  uint64_t highestmodseq;       /* of any mailbox; each counts by itself */
  int64_t last_repair_s;        /* the latest of any mailbox; 0: never */
  bool list_in_memory; /* the mailbox list was missing, damaged or behind, and could not be written
                        */
} StoreStatus;

/* Counts the store; opens every user's index and every mailbox, so it takes about 0.5 ms a user and
 * 0.03 ms a mailbox, and looks at the files of mailboxes that their index does not have as they are
 * now. */
bool store_status (Store *self, StoreStatus *out, GError **error);

/* The same for one directory with everything below it. ENOENT: there is none of that number. */
bool store_node_status (Store *self, uint32_t number, StoreStatus *out, GError **error);

/* ---- nodes: the directories ---------------------------------------------------------------- */

/* Every directory below mail/ has a number that is given out once per store and never reused. */
#define STORE_NUMBER_MAX ((1u << 24) - 1)
#define STORE_ROOT       0u

typedef enum {
  STORE_NODE_ROOT = 0,
  STORE_NODE_DOMAIN = 1,
  STORE_NODE_USERS = 2,  /* DOMAIN/user */
  STORE_NODE_USER = 3,   /* DOMAIN/user/USER */
  STORE_NODE_SHARED = 4, /* DOMAIN/shared */
  STORE_NODE_MAILBOX = 5,
} StoreNodeKind;

typedef struct {
  uint32_t number, parent;
  uint32_t owner; /* the user or shared node above it, or itself; 0 above those */
  StoreNodeKind kind;
  bool subscribed;
  bool no_index;     /* a user who has no index, by choice: see store_user_set_index() */
  char *name;        /* as on disk and in the mount: escaped UTF-8 */
  char *full_name;   /* the mailbox name as given; NULL where unescaping `name` gives it */
  char *special_use; /* RFC 6154, like "\Sent"; NULL: none */
} StoreNode;

void store_node_clear (StoreNode *node);
void store_nodes_clear (StoreNode *nodes, size_t count);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreNode, store_node_clear)

bool store_node_get (Store *self, uint32_t number, StoreNode *out, GError **error);

/* Child by name. Sets `*out_found`; absence is no error. */
bool store_node_find (Store *self, uint32_t parent, const char *name, StoreNode *out,
                      bool *out_found, GError **error);

/* The next at most `capacity` children whose name is above `after` (NULL: from the first), in byte
 * order. 0 in `*out_count` is the end. The caller clears them. */
bool store_node_children (Store *self, uint32_t parent, const char *after, StoreNode *out,
                          size_t capacity, size_t *out_count, GError **error);

/* Calls `each` for every child whose name is above `after`, in that order, until it returns false;
 * then this does, too. */
typedef bool (*StoreNodeFunc) (const StoreNode *child, void *user_data, GError **error);
bool store_node_each_child (Store *self, uint32_t parent, const char *after, StoreNodeFunc each,
                            void *user_data, GError **error);

/* Times and owner of the directory. mtime: last delivery, expunge or rename inside. */
typedef struct {
  int64_t mtime_ns, ctime_ns;
  uint32_t uid, gid;
} StoreNodeTimes;
bool store_node_times (Store *self, uint32_t number, StoreNodeTimes *out, GError **error);

/* "example.com/user/joe/INBOX": the path below mail/ and below the mount; "" is the root. */
char *store_node_path (Store *self, uint32_t number, GError **error);

/* "joe@example.com/INBOX", or the path for what has no such name. For people to read. */
char *store_node_title (Store *self, uint32_t number, GError **error);
char *store_path_title (const char *path);

/* Finds a node by any spelling people use: "USER@DOMAIN", "USER@DOMAIN/MAILBOX/SUB", a path below
 * the mount, "DOMAIN", "Other Users/USER@DOMAIN/...", "Public Folders/MAILBOX@DOMAIN"; "" is the
 * root. A user without a domain is in "local". */
bool store_node_resolve (Store *self, const char *spelling, StoreNode *out, GError **error);

/* The same in any tree of nodes that is laid out like a store's: `find` is its store_node_find().
 */
typedef struct {
  bool (*find) (void *data, uint32_t parent, const char *name, StoreNode *out, bool *out_found,
                GError **error);
  void *data;
} StoreTree;
StoreTree store_tree (Store *self);
bool store_tree_resolve (const StoreTree *tree, const char *spelling, StoreNode *out,
                         GError **error);

/* The same for what is to hold messages: a user stands for that user's INBOX. EISDIR: it is a
 * directory that holds none. */
bool store_tree_resolve_mailbox (const StoreTree *tree, const char *spelling, StoreNode *out,
                                 GError **error);

/* As store_node_resolve(), but makes what is missing, with INBOX when only a user is named. */
bool store_mailbox_create (Store *self, const char *spelling, StoreNode *out, GError **error);

/* As store_mailbox_create() below an existing node, one name a level, unescaped. */
bool store_mailbox_create_at (Store *self, uint32_t parent, const char *const *names,
                              StoreNode *out, GError **error);

/* Gives a mailbox another name, or another place below the same user; `spelling` is the whole new
 * name. Number, UIDs and UIDVALIDITY stay, sub-mailboxes move along, missing parents are made.
 * EEXIST: there is one of that name; EINVAL: into itself, or it is INBOX or no mailbox; EXDEV:
 * another user's. The list may follow later than the directory, after a crash. */
bool store_mailbox_rename (Store *self, uint32_t number, const char *spelling, GError **error);

/* Takes a mailbox, a user or an empty domain out of the store: its directory goes to quarantine as
 * it is, where `*out_place` is its STAMP/PATH; `out_place` may be NULL. ENOTEMPTY: there are
 * mailboxes in it, and `recursive` is not set, or it is a domain with users or shared folders;
 * EINVAL: it is INBOX, or something else. */
bool store_mailbox_remove (Store *self, uint32_t number, bool recursive, char **out_place,
                           GError **error);

bool store_mailbox_subscribe (Store *self, uint32_t number, bool subscribed, GError **error);

/* The special use (RFC 6154) that `text` names in any case, like "\Sent"; or NULL with EINVAL. */
const char *store_special_use (const char *text, GError **error);

/* Sets what the mailbox is for; NULL: nothing special. */
bool store_mailbox_set_special_use (Store *self, uint32_t number, const char *special_use,
                                    GError **error);

/* Which indexes a user has, or the shared folders of a domain. */
typedef enum {
  STORE_INDEX_OFF, /* none: they take less room, and are shown from the files */
  STORE_INDEX_ON,
  STORE_INDEX_TEXT, /* and a full-text index, for searches */
} StoreIndexing;

/* Sets that: the index is built, or removed; a full-text index likewise, but filled by a worker.
 * EINVAL: `number` is neither. */
bool store_user_set_index (Store *self, uint32_t number, StoreIndexing indexing, GError **error);

/* What was set. */
bool store_user_index (Store *self, uint32_t number, StoreIndexing *out, GError **error);

/* ---- mailboxes ----------------------------------------------------------------------------- */

typedef struct StoreMailbox StoreMailbox;

/* A handle on a mailbox (or on a user, domain or root directory, which hold no messages). Handles
 * are cached and cheap. ESTALE later on: the directory is gone, or was replaced by another; then
 * open it again. */
StoreMailbox *store_mailbox_open (Store *self, uint32_t number, GError **error);
StoreMailbox *store_mailbox_ref (StoreMailbox *self);
void store_mailbox_unref (StoreMailbox *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreMailbox, store_mailbox_unref)

uint32_t store_mailbox_number (const StoreMailbox *self);

typedef enum {
  STORE_HEALTH_OK,       /* index and files agree */
  STORE_HEALTH_DEGRADED, /* served from the files: the index is missing, damaged or behind */
  STORE_HEALTH_DAMAGED,  /* a message's bytes are not those that were delivered */
  STORE_HEALTH_REBUILDING,
} StoreHealth;
const char *store_health_name (StoreHealth health); /* "ok" ... */

typedef struct {
  uint32_t uidvalidity, uidnext;
  uint64_t highestmodseq;
  uint32_t messages, unseen, expunged;
  uint64_t bytes;
  int64_t last_repair_s; /* 0: never */
  StoreHealth health;
} StoreMailboxInfo;

/* Works without an index too: then it looks at every file. */
bool store_mailbox_info (StoreMailbox *self, StoreMailboxInfo *out, GError **error);

/* ---- messages ------------------------------------------------------------------------------ */

/* UIDs are 1 to STORE_UID_MAX; those above are kept for the mount's own files. */
#define STORE_UID_MAX 0xefffffffu

/* IMAP system flags (RFC 3501, 2.3.2). */
typedef enum {
  STORE_FLAG_ANSWERED = 1u << 0,
  STORE_FLAG_DELETED = 1u << 1,
  STORE_FLAG_DRAFT = 1u << 2,
  STORE_FLAG_FLAGGED = 1u << 3,
  STORE_FLAG_SEEN = 1u << 4,
} StoreFlags;

typedef enum {
  STORE_DAMAGE_NUL = 1u << 0,        /* has NUL bytes; served as it is */
  STORE_DAMAGE_SIZE = 1u << 1,       /* not the size that was delivered */
  STORE_DAMAGE_DIGEST = 1u << 2,     /* not the bytes that were delivered */
  STORE_DAMAGE_UNREADABLE = 1u << 3, /* the file cannot be read */
  STORE_DAMAGE_LIMIT = 1u << 4,      /* past a parser limit; summarised in part */
} StoreDamage;

/* The message is not what was delivered. */
#define STORE_DAMAGE_GRAVE (STORE_DAMAGE_SIZE | STORE_DAMAGE_DIGEST | STORE_DAMAGE_UNREADABLE)

/* "digest nul"; "" when there is none. */
char *store_damage_to_string (uint32_t damage);

typedef struct {
  uint32_t uid;
  uint32_t flags;  /* StoreFlags */
  uint32_t damage; /* StoreDamage */
  uint64_t size;   /* as delivered */
  uint64_t modseq;
  int64_t internal_s; /* INTERNALDATE: the file's mtime */
  int64_t changed_ns; /* last change of state: the file's ctime */
  char *keywords;     /* separated by one space, sorted; NULL: none */
} StoreMessage;

void store_message_clear (StoreMessage *message);
void store_messages_clear (StoreMessage *messages, size_t count);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreMessage, store_message_clear)

/* "\Flagged \Seen $Label1": system flags, then keywords, as on the mount. "" when there are none.
 */
char *store_flags_to_string (uint32_t flags, const char *keywords);

/* The reverse; any order, doubled or not. EINVAL names what is neither a system flag nor a valid
 * keyword (an IMAP atom). `*out_keywords` is NULL when there are none. */
bool store_flags_parse (const char *text, uint32_t *out_flags, char **out_keywords, GError **error);

/* As store_flags_parse(), but system flags may lack their backslash, which shells make awkward; and
 * "Recent", which nobody can set, is refused in either spelling. */
bool store_flags_parse_bare (const char *text, uint32_t *out_flags, char **out_keywords,
                             GError **error);

/* "0000000042.eml" and back; 0 when `name` is not a message's. */
#define STORE_NAME_SIZE 16
void store_message_name (uint32_t uid, char out[STORE_NAME_SIZE]);
uint32_t store_message_uid (const char *name);

/* Sets of UIDs in IMAP's spelling (RFC 3501, 9, sequence-set): "4", "1:5,7,9:*". */
typedef struct {
  uint32_t first, last;
  bool named; /* one UID that was named, or "*": that message must be there */
} StoreUidRange;

/* "*", the highest UID that there is. */
#define STORE_UID_HIGHEST UINT32_MAX

/* Makes an array of StoreUidRange, as given. EINVAL when it is no such set. */
bool store_uids_parse (const char *text, GArray **out, GError **error);

/* Which of `uids` (uint32_t, ascending) are in the set: an array likewise. ENOENT when a UID that
 * is named is not among them; of a range there may be none. */
GArray *store_uids_match (const GArray *set, const GArray *uids, GError **error);

/* The UIDs that the set means in the mailbox: store_uids_match() with its messages. Whether those
 * that are named are there is left to what uses them, so that naming some costs nothing. */
GArray *store_mailbox_uids (StoreMailbox *self, const GArray *set, GError **error);

/* The next at most `capacity` live messages with a UID above `after`, ascending; what is shown is
 * what lies in the directory, whatever state the index is in. The caller clears them. */
bool store_mailbox_page (StoreMailbox *self, uint32_t after, StoreMessage *out, size_t capacity,
                         size_t *out_count, GError **error);

bool store_message_find (StoreMailbox *self, uint32_t uid, StoreMessage *out, bool *out_found,
                         GError **error);

/* Where what is shown of a message is known from, as long as index and files of its mailbox do not
 * agree: "flags=file date=row digest=row". A fact is from the file, from a row of the index, from a
 * salvaged-row of one that is broken, from a copied-attribute that a mount told, or is guessed.
 * Owned by the caller; NULL without an error: they agree, or it is a snapshot's. */
char *store_message_sources (StoreMailbox *self, uint32_t uid, GError **error);

/* Opens the message file for reading; ESTALE when it is gone. Returns a descriptor or -1. */
int store_message_open (StoreMailbox *self, uint32_t uid, GError **error);

/* Reads the whole message from `fd` and holds it against its digest. EIO when size or bytes differ.
 * When the message fits, its bytes are left in `buffer` and `*out_size` is its size, else
 * `*out_size` is 0.
 * `*out_known` is false when the index has no digest to compare with: no error. */
bool store_message_verify (StoreMailbox *self, uint32_t uid, int fd, void *buffer, size_t capacity,
                           size_t *out_size, bool *out_known, GError **error);

/* What the message's bytes say. */
typedef struct {
  uint8_t sha256[32];
  int64_t sent_s; /* Date: in UTC; INT64_MIN: absent or unreadable */
  char *envelope; /* IMAP strings (RFC 3501, 7.4.2) */
  char *bodystructure;
  uint32_t damage; /* STORE_DAMAGE_NUL and _LIMIT: found while parsing */
} StoreSummary;

void store_summary_clear (StoreSummary *summary);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreSummary, store_summary_clear)

/* From the index, else from the file. */
bool store_message_summary (StoreMailbox *self, uint32_t uid, StoreSummary *out, GError **error);

/* A header field out of an ENVELOPE, decoded to UTF-8 (RFC 2047), control bytes replaced by spaces;
 * NULL when it is NIL. `field`: "subject", "from", "to", "cc", "date", "message-id", "in-reply-to".
 */
char *store_summary_field (const StoreSummary *summary, const char *field);

typedef enum { STORE_FLAGS_ADD, STORE_FLAGS_REMOVE, STORE_FLAGS_SET } StoreFlagsChange;

/* Changes the flags of `count` messages in one commit; unchanged ones keep their modseq. ENOENT
 * when a UID is not there (then nothing is changed); E2BIG when keywords do not fit beside the
 * file. */
bool store_message_flag (StoreMailbox *self, const uint32_t *uids, size_t count,
                         StoreFlagsChange change, uint32_t flags, const char *keywords,
                         GError **error);

/* Takes messages out of the mailbox, whether they have \Deleted or not, in one commit. Their files
 * go into .expunged, where they keep everything; store_mailbox_undelete() brings them back under
 * the same UIDs, without \Deleted. ENOENT when a message is not there (then nothing is changed).
 * One that cannot be moved alone, say because the other place has a file of that UID (EEXIST),
 * stays, and the others have moved. */
bool store_mailbox_expunge (StoreMailbox *self, const uint32_t *uids, size_t count, GError **error);
bool store_mailbox_undelete (StoreMailbox *self, const uint32_t *uids, size_t count,
                             GError **error);

/* ---- new mail ------------------------------------------------------------------------------ */

/*
 * A draft is a message on its way in: written to tmp/ and parsed by any thread, without a lock,
 * then put into a mailbox together with others by one short commit.
 *
 *   g_autoptr (StoreDraft) draft = store_draft_new (store, &facts, &error);
 *   store_draft_write (draft, bytes, size, &error);         // any number of times
 *   store_draft_finish (draft, inbox, &error);
 *   store_mailbox_append (inbox, &draft, 1, 0, &error);     // on disk when it returns true
 *   store_draft_uid (draft);
 */
typedef struct StoreDraft StoreDraft;

typedef struct {
  uint32_t flags;       /* StoreFlags */
  const char *keywords; /* NULL: none */
  int64_t internal_s;   /* INT64_MIN: now */
  uint32_t uid;         /* the UID it should keep; 0: the next one */
} StoreFacts;

StoreDraft *store_draft_new (Store *self, const StoreFacts *facts, GError **error);
bool store_draft_write (StoreDraft *self, const void *bytes, size_t size, GError **error);

typedef enum {
  STORE_COPY,
  STORE_LINK,    /* hard link; the source gets our attribute and mtime. EXDEV across filesystems,
                    EMLINK when it has other names or is in a store: messages share no file */
  STORE_REFLINK, /* shares blocks; EOPNOTSUPP where the filesystem cannot */
} StoreTransfer;

/* Takes the content of the regular file `name` in `directory_fd`, with its foreign user.*
 * attributes. Instead of store_draft_write(). */
bool store_draft_take (StoreDraft *self, int directory_fd, const char *name, StoreTransfer transfer,
                       GError **error);

/* Parses and digests. `mailbox` is where it will go; it may still go elsewhere, at a small cost. */
bool store_draft_finish (StoreDraft *self, StoreMailbox *mailbox, GError **error);
const uint8_t *store_draft_sha256 (const StoreDraft *self); /* 32 bytes, after finish */
uint64_t store_draft_size (const StoreDraft *self);
uint32_t store_draft_uid (const StoreDraft *self); /* after append */
void store_draft_free (StoreDraft *self);          /* removes what was not appended */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreDraft, store_draft_free)

typedef enum {
  STORE_APPEND_BULK = 1u << 0, /* sync the filesystem once instead of every file */
} StoreAppendFlags;

/* Gives the drafts their UIDs, ascending in the order given, and puts them into the mailbox: all of
 * them, or the first ones when it fails half way (store_draft_uid() tells which). A wanted UID is
 * kept when it is not below the mailbox's next UID. When it returns true all is on disk. In a
 * stream of mail the index follows some milliseconds later, or when this process looks at it; the
 * files decide meanwhile. Calls for one user's mailboxes share their commits; each has its own
 * result. */
bool store_mailbox_append (StoreMailbox *self, StoreDraft *const *drafts, size_t count,
                           StoreAppendFlags flags, GError **error);

/* Puts copies of `count` messages into `target`, in one commit: new messages with the same bytes,
 * flags, keywords, internal date and foreign attributes. Their UIDs go to `out_uids`, which may be
 * NULL. EIO: a message is not what was delivered; ENOENT: it is not there; then nothing is copied.
 * On disk when it returns true. Some thousand are enough for one call. */
bool store_mailbox_copy (StoreMailbox *self, const uint32_t *uids, size_t count,
                         StoreMailbox *target, uint32_t *out_uids, GError **error);

/* Copies, and when that is on disk expunges the originals. After a failure or a crash in between
 * they are in both mailboxes. No snapshot shows half of it. */
bool store_mailbox_move (StoreMailbox *self, const uint32_t *uids, size_t count,
                         StoreMailbox *target, uint32_t *out_uids, GError **error);

/* Takes over another store's UIDVALIDITY and next UID; only while the mailbox never held a message,
 * else EBUSY. With the UIDVALIDITY that it has already the next UID is raised, never lowered. */
bool store_mailbox_set_uidvalidity (StoreMailbox *self, uint32_t uidvalidity, uint32_t uidnext,
                                    GError **error);

/* Digest of every message of the mailbox, expunged ones too (so that a second import brings only
 * what is new): GHashTable of 32-byte GBytes to GUINT_TO_POINTER (count). */
GHashTable *store_mailbox_digests (StoreMailbox *self, GError **error);

/* ---- changes ------------------------------------------------------------------------------- */

/*
 * Every process that changes a store notes in a small shared log what it changed. A watch reads it;
 * the notes are hints for caches, not facts.
 */
typedef struct StoreWatch StoreWatch;

typedef struct {
  uint32_t number; /* the node */
  uint32_t uid;    /* the message; 0: the directory itself: messages or children came or went */
  char name[NAME_MAX + 1]; /* with STORE_CHANGE_NAME */
} StoreChange;

/* As `uid`: what was called `name` in the directory has another name or place now. */
#define STORE_CHANGE_NAME (STORE_UID_MAX + 1)

/* A change with this number means: notes were lost, anything may have changed. */
#define STORE_CHANGE_ALL UINT32_MAX

StoreWatch *store_watch_new (Store *self, GError **error);
void store_watch_free (StoreWatch *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreWatch, store_watch_free)

/* The next change since the watch was made; false: none now. Never blocks; costs two system
 * calls when there is none. */
bool store_watch_next (StoreWatch *self, StoreChange *out);

/* How far the log has come. While it stays byte for byte the same nothing is noted: what was read
 * after it was taken is as it was. One system call. */
typedef struct {
  uint64_t device, inode, size;
  int64_t changed_ns;
} StoreStamp;
StoreStamp store_change_stamp (const Store *self);

/* What was changed without this library is noted by nobody, and found by looking. */

/* When the directory `path` below mail/ was changed last, be it only its attributes; 0: it is gone.
 * One system call. */
int64_t store_path_changed_ns (Store *self, const char *path);

/* Whether somebody put something into the directory, or took it away, without this library: then
 * what is shown of it is not what was shown before. Of a mailbox a repair is asked for. */
bool store_node_is_foreign (Store *self, uint32_t number);
