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
 *   for (uint32_t after = 0; store_mailbox_page (inbox, after, page, 128, &n, &error) && n > 0;)
 *     ...
 *
 * Tools and the filesystem stand on this header alone. It reads from top to bottom: the store, its
 * directories (nodes), mailboxes, messages, new mail, changes, commands, the queue.
 *
 * Errors are errnos with a message (index/error.h). ENOENT: what the caller named is not there.
 * EUCLEAN: index and files disagree, or a database is damaged. EIO: a message's bytes are not those
 * that were delivered. On failure outputs are untouched.
 *
 * Threads: everything here may be called from any thread. Processes: any number may use one store at
 * the same time; a writer locks one user for the few milliseconds of its commit, or of a stream of mail.
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
  STORE_TAKE_LATER = 1u << 1, /* what others put into mail/ is not taken in yet: by restore --export */
} StoreOpenFlags;

/* Makes an empty store in the directory `path`, which must be empty or not exist. EEXIST when it is a
 * store already; ENOTEMPTY when something else is there. */
bool store_create (const char *path, GError **error);

/* Opens a store. The cost does not depend on how much mail is in it. ENOENT: no such directory;
 * EINVAL: it is no mail store, or its mailfs.conf cannot be read; EPROTONOSUPPORT: a newer format;
 * EACCES. A missing or damaged mailbox list is no error: the list is made again from the directories
 * (in memory with STORE_READ_ONLY); and what others put into mail/ or took away, as users copied back
 * from a backup, is taken into it. */
Store *store_open (const char *path, StoreOpenFlags flags, GError **error);

/* Opens a store as evidence: nothing in it is changed by looking at it, not even an access time, by the
 * kernel's guarantee where it gives one. All may be missing or broken but its mail/, and what cannot be
 * read of that is shown as far as it can be, which store_notice() tells of. Databases are copied, with
 * what a crash left beside them, to memory or to files without a name in `workdir`; where that copy is
 * damaged its rows are salvaged. The store is read only; what is there at the first look counts.
 * Directories without a number get one that is the same each time. The cost grows with the number of
 * directories. EINVAL: there is no mail/, or `workdir` lies in the store. */
Store *store_open_evidence (const char *path, const char *workdir, GError **error);
bool store_is_evidence (const Store *self);
const char *store_workdir (const Store *self); /* NULL: memory */

/* From then on `notice` is told of what went wrong with the store itself and was put right, and of which
 * no call returns an error: such as a damaged queue that was set aside. It may be called from any
 * thread that uses the store, with locks held, and must not use the store. To be set before other
 * threads use it. */
typedef void (*StoreNoticeFunc) (const char *text, void *user_data);
void store_notice (Store *self, StoreNoticeFunc notice, void *user_data);

/* What readers met that wants to be repaired is put into the queue, where the store can be written. */
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
  uint64_t damaged;             /* messages whose bytes are known not to be those delivered */
  uint64_t behind;              /* mailboxes served from their files: the index does not have them */
  uint64_t users_without_index; /* all of whose mailboxes are served so */
  uint64_t highestmodseq;       /* of any mailbox; each counts by itself */
  int64_t last_repair_s;        /* the latest of any mailbox; 0: never */
  bool list_in_memory;          /* the mailbox list was missing, damaged or behind, and could not be written */
} StoreStatus;

/* Counts the store; opens every user's index and every mailbox, so it takes about 0.5 ms a user and 0.03 ms
 * a mailbox, and looks at the files of mailboxes that their index does not have as they are now. */
bool store_status (Store *self, StoreStatus *out, GError **error);

/* The same for one directory with everything below it. ENOENT: there is none of that number. */
bool store_node_status (Store *self, uint32_t number, StoreStatus *out, GError **error);

/* ---- settings ------------------------------------------------------------------------------ */

/* What mailfs.conf sets: the key "size" in its group [cleanup] is "cleanup.size" here. */
typedef enum {
  STORE_CLEANUP_SIZE,
  STORE_CLEANUP_AGE,
  STORE_PURGE_COUNT,
  STORE_PURGE_PERCENTAGE,
  STORE_PURGE_AGE,
} StoreSetting;

typedef enum { STORE_UNIT_COUNT, STORE_UNIT_PERCENT, STORE_UNIT_TIME } StoreUnit;

typedef struct {
  const char *name; /* "cleanup.size" */
  StoreUnit unit;   /* times are in seconds */
  int64_t standard, least, most;
  const char *summary;
} StoreSettingInfo;

/* The table, by StoreSetting, ended by a row whose name is NULL. */
extern const StoreSettingInfo store_settings[];

/* The value, as it was when the store was opened or was set since; and as people write it: "1d". */
int64_t store_setting (const Store *self, StoreSetting setting);
char *store_setting_string (const Store *self, StoreSetting setting);

/* Sets it for this Store at once, and in mailfs.conf, whose comments stay, for whoever opens the store
 * later on. EINVAL: `text` makes no sense, or is past the limits. */
bool store_setting_set (Store *self, StoreSetting setting, const char *text, GError **error);

/* A span of time: "90", "90s", "30m", "24h", "7d", "2w". EINVAL when it is none. */
bool store_age_parse (const char *text, int64_t *out_s, GError **error);

/* A size: "500", "64K", "20M", "1G", in steps of 1024. EINVAL when it is none, or 0. */
bool store_size_parse (const char *text, uint64_t *out, GError **error);

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

/* Times and owner of the directory. mtime: last delivery, expunge or rename inside. */
typedef struct {
  int64_t mtime_ns, ctime_ns;
  uint32_t uid, gid;
} StoreNodeTimes;
bool store_node_times (Store *self, uint32_t number, StoreNodeTimes *out, GError **error);

/* When the directory `path` below mail/ was changed last, be it only its attributes; 0: it is gone. One
 * system call. */
int64_t store_path_changed_ns (Store *self, const char *path);

/* Whether somebody put something into the directory, or took it away, without this library: then what
 * is shown of it is not what was shown before. Of a mailbox a repair is asked for. */
bool store_node_is_foreign (Store *self, uint32_t number);

/* "example.com/user/joe/INBOX": the path below mail/ and below the mount; "" is the root. */
char *store_node_path (Store *self, uint32_t number, GError **error);

/* "joe@example.com/INBOX", or the path for what has no such name. For people to read. */
char *store_node_title (Store *self, uint32_t number, GError **error);
char *store_path_title (const char *path);

/* Finds a node by any spelling people use: "USER@DOMAIN", "USER@DOMAIN/MAILBOX/SUB", a path below the
 * mount, "DOMAIN", "Other Users/USER@DOMAIN/...", "Public Folders/MAILBOX@DOMAIN"; "" is the root.
 * A user without a domain is in "local". */
bool store_node_resolve (Store *self, const char *spelling, StoreNode *out, GError **error);

/* The same in any tree of nodes that is laid out like a store's: `find` is its store_node_find(). */
typedef struct {
  bool (*find) (void *data, uint32_t parent, const char *name, StoreNode *out, bool *out_found,
                GError **error);
  void *data;
} StoreTree;
StoreTree store_tree (Store *self);
bool store_tree_resolve (const StoreTree *tree, const char *spelling, StoreNode *out,
                         GError **error);

/* The same for what is to hold messages: a user stands for that user's INBOX. EISDIR: it is a directory
 * that holds none. */
bool store_tree_resolve_mailbox (const StoreTree *tree, const char *spelling, StoreNode *out,
                                 GError **error);

/* As store_node_resolve(), but makes what is missing, with INBOX when only a user is named. */
bool store_mailbox_create (Store *self, const char *spelling, StoreNode *out, GError **error);

/* As store_mailbox_create() below an existing node, one name a level, unescaped. */
bool store_mailbox_create_at (Store *self, uint32_t parent, const char *const *names,
                              StoreNode *out, GError **error);

/* Gives a mailbox another name, or another place below the same user; `spelling` is the whole new
 * name. Number, UIDs and UIDVALIDITY stay, sub-mailboxes move along, missing parents are made. EEXIST:
 * there is one of that name; EINVAL: into itself, or it is INBOX or no mailbox; EXDEV: another
 * user's. The list may follow later than the directory, after a crash. */
bool store_mailbox_rename (Store *self, uint32_t number, const char *spelling, GError **error);

/* Takes a mailbox, a user or an empty domain out of the store: its directory goes to quarantine as it
 * is, where `*out_place` is its STAMP/PATH; `out_place` may be NULL. ENOTEMPTY: there are mailboxes in
 * it, and `recursive` is not set, or it is a domain with users or shared folders; EINVAL: it is INBOX,
 * or something else. */
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
  STORE_INDEX_OFF,  /* none: they take less room, and are shown from the files */
  STORE_INDEX_ON,
  STORE_INDEX_TEXT, /* and a full-text index, for searches */
} StoreIndexing;

/* Sets that: the index is built, or removed; a full-text index likewise, but filled by a worker. EINVAL:
 * `number` is neither. */
bool store_user_set_index (Store *self, uint32_t number, StoreIndexing indexing, GError **error);

/* What was set. */
bool store_user_index (Store *self, uint32_t number, StoreIndexing *out, GError **error);

/* Escapes a mailbox name into a directory name (format.md), and back. Escaping a name that does not fit
 * into 255 bytes cuts it; `*out_lossy` tells. Both results are owned by the caller. */
char *store_name_escape (const char *name, bool *out_lossy);
char *store_name_unescape (const char *name);

/* Any bytes made safe to print: control bytes and invalid UTF-8 become \xHH. */
char *store_text_printable (const char *text);

/* ---- JSON ---------------------------------------------------------------------------------- */

/*
 * One object (RFC 8259) per line, member by member, as everything here prints it:
 *
 *   g_autoptr (GString) json = json_begin ("message"); {"type":"message"
 *   json_uint (json, "uid", uid);
 *   json_end (json);                                   }, and the end of the line
 *
 * Strings may hold any bytes: what is not UTF-8 becomes U+FFFD. A NULL string is written as null.
 */
GString *json_begin (const char *type);
void json_string (GString *json, const char *key, const char *value);
void json_uint (GString *json, const char *key, uint64_t value);
void json_bool (GString *json, const char *key, bool value);
void json_time (GString *json, const char *key, int64_t time_s); /* RFC 3339; 0: null */
void json_uints (GString *json, const char *key, const uint64_t *values, size_t count);

/* The words of `value`, which are separated by one space, as an array. */
void json_words (GString *json, const char *key, const char *value);
void json_end (GString *json);

/* ---- mailboxes ----------------------------------------------------------------------------- */

typedef struct StoreMailbox StoreMailbox;

/* A handle on a mailbox (or on a user, domain or root directory, which hold no messages). Handles are
 * cached and cheap. ESTALE later on: the directory is gone, or was replaced by another; then open it
 * again. */
StoreMailbox *store_mailbox_open (Store *self, uint32_t number, GError **error);
StoreMailbox *store_mailbox_ref (StoreMailbox *self);
void store_mailbox_unref (StoreMailbox *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreMailbox, store_mailbox_unref)

uint32_t store_mailbox_number (const StoreMailbox *self);

typedef enum {
  STORE_HEALTH_OK,         /* index and files agree */
  STORE_HEALTH_DEGRADED,   /* served from the files: the index is missing, damaged or behind */
  STORE_HEALTH_DAMAGED,    /* a message's bytes are not those that were delivered */
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
  uint32_t flags;      /* StoreFlags */
  uint32_t damage;     /* StoreDamage */
  uint64_t size;       /* as delivered */
  uint64_t modseq;
  int64_t internal_s;  /* INTERNALDATE: the file's mtime */
  int64_t changed_ns;  /* last change of state: the file's ctime */
  char *keywords;      /* separated by one space, sorted; NULL: none */
} StoreMessage;

void store_message_clear (StoreMessage *message);
void store_messages_clear (StoreMessage *messages, size_t count);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreMessage, store_message_clear)

/* "\Flagged \Seen $Label1": system flags, then keywords, as on the mount. "" when there are none. */
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

/* Which of `uids` (uint32_t, ascending) are in the set: an array likewise. ENOENT when a UID that is
 * named is not among them; of a range there may be none. */
GArray *store_uids_match (const GArray *set, const GArray *uids, GError **error);

/* The UIDs that the set means in the mailbox: store_uids_match() with its messages. Whether those that
 * are named are there is left to what uses them, so that naming some costs nothing. */
GArray *store_mailbox_uids (StoreMailbox *self, const GArray *set, GError **error);

/* The next at most `capacity` live messages with a UID above `after`, ascending; what is shown is what
 * lies in the directory, whatever state the index is in. The caller clears them. */
bool store_mailbox_page (StoreMailbox *self, uint32_t after, StoreMessage *out, size_t capacity,
                         size_t *out_count, GError **error);

bool store_message_find (StoreMailbox *self, uint32_t uid, StoreMessage *out, bool *out_found,
                         GError **error);

/* Where what is shown of a message is known from, as long as index and files of its mailbox do not agree:
 * "flags=file date=row digest=row". A fact is from the file, from a row of the index, from a salvaged-row
 * of one that is broken, from a copied-attribute that a mount told, or is guessed. Owned by the caller;
 * NULL without an error: they agree, or it is a snapshot's. */
char *store_message_sources (StoreMailbox *self, uint32_t uid, GError **error);

/* Opens the message file for reading; ESTALE when it is gone. Returns a descriptor or -1. */
int store_message_open (StoreMailbox *self, uint32_t uid, GError **error);

/* Reads the whole message from `fd` and holds it against its digest. EIO when size or bytes differ. When
 * the message fits, its bytes are left in `buffer` and `*out_size` is its size, else `*out_size` is 0.
 * `*out_known` is false when the index has no digest to compare with: no error. */
bool store_message_verify (StoreMailbox *self, uint32_t uid, int fd, void *buffer, size_t capacity,
                           size_t *out_size, bool *out_known, GError **error);

/* What the message's bytes say. */
typedef struct {
  uint8_t sha256[32];
  int64_t sent_s;      /* Date: in UTC; INT64_MIN: absent or unreadable */
  char *envelope;      /* IMAP strings (RFC 3501, 7.4.2) */
  char *bodystructure;
  uint32_t damage;     /* STORE_DAMAGE_NUL and _LIMIT: found while parsing */
} StoreSummary;

void store_summary_clear (StoreSummary *summary);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreSummary, store_summary_clear)

/* From the index, else from the file. */
bool store_message_summary (StoreMailbox *self, uint32_t uid, StoreSummary *out, GError **error);

/* A header field out of an ENVELOPE, decoded to UTF-8 (RFC 2047), control bytes replaced by spaces;
 * NULL when it is NIL. `field`: "subject", "from", "to", "cc", "date", "message-id", "in-reply-to". */
char *store_summary_field (const StoreSummary *summary, const char *field);

typedef enum { STORE_FLAGS_ADD, STORE_FLAGS_REMOVE, STORE_FLAGS_SET } StoreFlagsChange;

/* Changes the flags of `count` messages in one commit; unchanged ones keep their modseq. ENOENT when a
 * UID is not there (then nothing is changed); E2BIG when keywords do not fit beside the file. */
bool store_message_flag (StoreMailbox *self, const uint32_t *uids, size_t count,
                         StoreFlagsChange change, uint32_t flags, const char *keywords,
                         GError **error);

/* Takes messages out of the mailbox, whether they have \Deleted or not, in one commit. Their files go
 * into .expunged, where they keep everything; store_mailbox_undelete() brings them back under the same
 * UIDs, without \Deleted. ENOENT when a message is not there (then nothing is changed). One that cannot
 * be moved alone, say because the other place has a file of that UID (EEXIST), stays, and the others
 * have moved. */
bool store_mailbox_expunge (StoreMailbox *self, const uint32_t *uids, size_t count, GError **error);
bool store_mailbox_undelete (StoreMailbox *self, const uint32_t *uids, size_t count,
                             GError **error);

/* ---- new mail ------------------------------------------------------------------------------ */

/*
 * A draft is a message on its way in: written to tmp/ and parsed by any thread, without a lock, then
 * put into a mailbox together with others by one short commit.
 *
 *   g_autoptr (StoreDraft) draft = store_draft_new (store, &facts, &error);
 *   store_draft_write (draft, bytes, size, &error);         // any number of times
 *   store_draft_finish (draft, inbox, &error);
 *   store_mailbox_append (inbox, &draft, 1, 0, &error);     // on disk when it returns true
 *   store_draft_uid (draft);
 */
typedef struct StoreDraft StoreDraft;

typedef struct {
  uint32_t flags;        /* StoreFlags */
  const char *keywords;  /* NULL: none */
  int64_t internal_s;    /* INT64_MIN: now */
  uint32_t uid;          /* the UID it should keep; 0: the next one */
} StoreFacts;

StoreDraft *store_draft_new (Store *self, const StoreFacts *facts, GError **error);
bool store_draft_write (StoreDraft *self, const void *bytes, size_t size, GError **error);

typedef enum {
  STORE_COPY,
  STORE_LINK,    /* hard link; the source gets our attribute and mtime. EXDEV across filesystems; EMLINK
                    when it has other names or is in a store: two messages must not share a file */
  STORE_REFLINK, /* shares blocks; EOPNOTSUPP where the filesystem cannot */
} StoreTransfer;

/* Takes the content of the regular file `name` in `directory_fd`, with its foreign user.* attributes.
 * Instead of store_draft_write(). */
bool store_draft_take (StoreDraft *self, int directory_fd, const char *name, StoreTransfer transfer,
                       GError **error);

/* Parses and digests. `mailbox` is where it will go; it may still go elsewhere, at a small cost. */
bool store_draft_finish (StoreDraft *self, StoreMailbox *mailbox, GError **error);
const uint8_t *store_draft_sha256 (const StoreDraft *self); /* 32 bytes, after finish */
uint64_t store_draft_size (const StoreDraft *self);
uint32_t store_draft_uid (const StoreDraft *self);          /* after append */
void store_draft_free (StoreDraft *self);                   /* removes what was not appended */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreDraft, store_draft_free)

typedef enum {
  STORE_APPEND_BULK = 1u << 0, /* sync the filesystem once instead of every file */
} StoreAppendFlags;

/* Gives the drafts their UIDs, ascending in the order given, and puts them into the mailbox: all of
 * them, or the first ones when it fails half way (store_draft_uid() tells which). A wanted UID is kept
 * when it is not below the mailbox's next UID. When it returns true all is on disk. In a stream of mail the
 * index follows some milliseconds later, or when this process looks at it; the files decide meanwhile.
 * Calls for one user's mailboxes share their commits; each has its own result. */
bool store_mailbox_append (StoreMailbox *self, StoreDraft *const *drafts, size_t count,
                           StoreAppendFlags flags, GError **error);

/* Puts copies of `count` messages into `target`, in one commit: new messages with the same bytes, flags,
 * keywords, internal date and foreign attributes. Their UIDs go to `out_uids`, which may be NULL. EIO: a
 * message is not what was delivered; ENOENT: it is not there; then nothing is copied. On disk when it
 * returns true. Some thousand are enough for one call. */
bool store_mailbox_copy (StoreMailbox *self, const uint32_t *uids, size_t count, StoreMailbox *target,
                         uint32_t *out_uids, GError **error);

/* Copies, and when that is on disk expunges the originals. After a failure or a crash in between they
 * are in both mailboxes. No snapshot shows half of it. */
bool store_mailbox_move (StoreMailbox *self, const uint32_t *uids, size_t count, StoreMailbox *target,
                         uint32_t *out_uids, GError **error);

/* Takes over another store's UIDVALIDITY and next UID; only while the mailbox never held a message,
 * else EBUSY. With the UIDVALIDITY that it has already the next UID is raised, never lowered. */
bool store_mailbox_set_uidvalidity (StoreMailbox *self, uint32_t uidvalidity, uint32_t uidnext,
                                    GError **error);

/* Digest of every message of the mailbox, expunged ones too (so that a second import brings only what
 * is new): GHashTable of 32-byte GBytes to GUINT_TO_POINTER (count). */
GHashTable *store_mailbox_digests (StoreMailbox *self, GError **error);

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
  uint64_t size;   /* of a file, decoded */
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
 *   body: text:                          in the text of the message; there, or in one of these fields
 *   since: before: on:                   the internal date, in UTC: 2026-01-31, 2026-01, 2026; or 7d ago
 *   flag: keyword:                       flag:seen, keyword:$Label1
 *   larger: smaller:                     500, 64K, 20M
 *   uid:                                 4, 1:5,7:*
 *   in:                                  in the mailbox, user or domain of that name, or below it
 *
 * A word without a key is in subject, from or to. A value that has blanks or a colon stands in quotes:
 * subject:"the invoice". A '-' before a word negates it. Case and forms of characters do not matter, and
 * a run of blanks is one. Parts of words are found, too.
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
  /* A mailbox, or with `uid` a message, could not be looked at, which the answer lacks. May be NULL. */
  void (*missed) (uint32_t number, uint32_t uid, const GError *failure, void *user_data);
  void *user_data;
} StoreSearch;

/* Looks for messages in the node and all below it: mailbox by mailbox, in the order of UIDs. What is in
 * the index is asked of it, the rest of the files; bodies are read where a query asks for them, and
 * where a full-text index does not rule them out. The answer is the same with any index or none. What
 * comes, goes or changes meanwhile is found or not. ENOENT: no such node. */
bool store_search (Store *self, const StoreQuery *query, uint32_t number, const StoreSearch *calls,
                   GError **error);

/* ---- manifest and export ------------------------------------------------------------------- */

/* The digest of every live message of the node and below it, a line each, as `sha256sum -c` takes it in
 * the node's directory in the mount. Comments at the top say what it is of; a last one, "# complete: N
 * messages" or "# incomplete: N of M messages", that it ends there. Of what is known to be damaged the digest
 * that was delivered is told, as far as it is known, behind a comment "# damaged PATH". Digests are those of
 * the index; where it has none the files are read, which takes as long. ENOENT: no such node; an errno of
 * writing. What comes or goes meanwhile is in it or not. */
bool store_manifest_write (Store *self, uint32_t number, FILE *out, GError **error);

/* The same with more facts, as one JSON document: "messages" is an array of objects with "path", "uid",
 * "size", "sha256" (null: nobody knows it), "internaldate" and "damage", a line each; and "complete", at
 * the end, says whether all digests are known. */
bool store_manifest_json_write (Store *self, uint32_t number, FILE *out, GError **error);

/* When what happened to the node's directories and messages, and those below, the expunged ones, too: the
 * body file that mactime(1) of the Sleuth Kit takes. Of each file a line with its own times: the mtime is
 * the internal date, the ctime the last change of state or the expunge, and the birth of the file its
 * delivery. Lines of their own are for the Date of the header, "(Date)", for states that snapshots know
 * of, "(flags: ...)", and, of the whole store, for snapshots and what was taken out. 0: not known. The last
 * line is "# complete: N lines". EINVAL: a snapshot has none. */
bool store_timeline_write (Store *self, uint32_t number, FILE *out, GError **error);

/* Every fact of the node and below it that the files alone cannot give, an object a line: "store" first,
 * then, each above what is in it, "directory" (of a user also whether there is an index), "mailbox" and
 * "message", and "end" last. Paths are relative to the node's directory. Otherwise as the manifest. */
bool store_export_write (Store *self, uint32_t number, FILE *out, GError **error);

/* 64 hexadecimal digits, owned by the caller. */
char *store_digest_string (const uint8_t sha256[32]);

/* ---- quarantine ---------------------------------------------------------------------------- */

/* What was taken out of the store is kept for some time, as STAMP/PATH: the time it was taken at, and
 * where below mail/ it had been. */
typedef struct {
  char *path;      /* "20261122T073000Z-1a2b3c4d/example.com/user/joe/Old", as on disk */
  uint64_t size;   /* of the file, or of all files in the directory */
  int64_t since_s;
  bool is_directory;
} StoreQuarantined;
void store_quarantined_free (StoreQuarantined *object);

/* Everything in quarantine, the oldest first: an array of StoreQuarantined pointers. */
GPtrArray *store_quarantine_list (Store *self, GError **error);

/* One as an object of json_begin(), to be ended and freed by the caller; and all of them, one a line. */
GString *store_quarantined_json (const StoreQuarantined *object);
bool store_quarantine_write (Store *self, FILE *out, GError **error);

/* Puts back where it was what `path` names: STAMP/PATH, or STAMP for all that was taken then. ENOENT:
 * it is not there, or what it was in is gone; EEXIST: something has its place. The index takes it in
 * when it is rebuilt, which is put into the queue. */
bool store_quarantine_restore (Store *self, const char *path, GError **error);

/* Removes it for good. EBUSY: a snapshot has it. */
bool store_quarantine_remove (Store *self, const char *path, GError **error);

/* ---- lost and found ------------------------------------------------------------------------ */

/*
 * What lies in no mailbox any more, or is not what it was, by kinds. Each thing has a name of its own
 * in its kind, which is the same for every look: "NNNNNNNN-UUUUUUUUUU.eml" of the mailbox's number and
 * the UID, an orphan's "NNNNNNNN-" and where it lies in the directory of that number, of quarantine
 * STAMP/PATH; escaped as mailbox names are. No name ends in ".json". A snapshot has none of all that.
 */
typedef enum {
  STORE_LOST_ORPHANS,    /* files that are no part of the store, and what dead processes left in tmp/ */
  STORE_LOST_EXPUNGED,   /* expunged messages */
  STORE_LOST_DAMAGED,    /* messages that are not what was delivered; they are in their mailboxes, too */
  STORE_LOST_MISSING,    /* messages whose file is gone, as far as anything tells of them */
  STORE_LOST_INDEX,      /* messages that only a broken index tells of */
  STORE_LOST_QUARANTINE, /* what was taken out of the store */
} StoreLostKind;
#define STORE_LOST_KINDS 6
const char *store_lost_kind_name (StoreLostKind kind); /* "orphans" ... */
bool store_lost_kind_parse (const char *name, StoreLostKind *out);

typedef struct {
  StoreLostKind kind;
  bool has_bytes;    /* there is a file: store_lost_open() */
  bool is_directory; /* of quarantine: with all that is in it */
  uint32_t number;   /* the mailbox, or other directory, that it was in; STORE_ROOT: not known, or mail/ */
  uint32_t uid;      /* 0: it has none, or none is known */
  uint64_t size;     /* of the file; without one as it is known */
  int64_t mtime_ns, ctime_ns; /* of the file; 0: there is none */
  char *name;
  char *path;        /* where it lies, or lay: below mail/, else "../quarantine/..."; any bytes */
} StoreLost;

void store_lost_clear (StoreLost *lost);
void store_losts_clear (StoreLost *losts, size_t count);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreLost, store_lost_clear)

/* The next at most `capacity` things of a kind whose name is above `after` (NULL: from the first), in byte
 * order; of the whole store, or with a number of that mailbox. 0 in `*out_count` is the end. The caller
 * clears them. Mailboxes that cannot be read are passed over. EINVAL: `after` is no name of that kind. */
bool store_lost_page (Store *self, StoreLostKind kind, uint32_t number, const char *after,
                      StoreLost *out, size_t capacity, size_t *out_count, GError **error);

/* One by its name; absence is no error. */
bool store_lost_find (Store *self, StoreLostKind kind, uint32_t number, const char *name,
                      StoreLost *out, bool *out_found, GError **error);

/* Opens the bytes as they are, whatever they are worth. -1 with ENOENT: there are none, or not any more. */
int store_lost_open (Store *self, const StoreLost *lost, GError **error);

/* All that is known of it, as an object of json_begin(), to be ended and freed by the caller: where it is
 * from, why it is here, the facts, and where each of them is from. Reads the file. */
GString *store_lost_json (Store *self, const StoreLost *lost, GError **error);

/* Puts it into the mailbox: an expunged message of that mailbox comes back under its UID, and so does one
 * that quarantine has from there; anything else becomes a new message, with its flags, keywords and
 * internal date, and is gone from where it was once that is on disk, unless a snapshot needs it
 * there. With STORE_ROOT it goes back to where it was, if that is known; what is no message then has the UID 0. A
 * message that is damaged stays so. EINVAL: there are no bytes, or no such place; ENOENT: it is gone;
 * EROFS. */
bool store_lost_restore (Store *self, const StoreLost *lost, uint32_t mailbox, uint32_t *out_uid,
                         GError **error);

/* Removes it for good; of what is missing all that is known of it. EBUSY: a snapshot needs it; EINVAL: it
 * is a damaged message, to be expunged, or part of a broken index; ENOENT; EROFS. */
bool store_lost_remove (Store *self, const StoreLost *lost, GError **error);

/* ---- snapshots ----------------------------------------------------------------------------- */

/* The store as it was when somebody said so. A snapshot costs one small file, however much mail there
 * is, and keeps what was in the store then from being cleaned up until it is dropped. */
typedef struct {
  char *name;     /* as on disk and in the mount: escaped as mailbox names are */
  uint32_t epoch; /* the last one whose changes it has; 0: its file makes no sense. Then all that is known
                     is the name, and nothing is cleaned up until it is dropped */
  uint32_t slot;  /* 1 to 255, no other has it */
  uint32_t next_number; /* directories from this number on came later */
  int64_t taken_ns;
} StoreSnapshot;
#define STORE_SNAPSHOTS_MAX 255

void store_snapshot_clear (StoreSnapshot *snapshot);
void store_snapshot_free (StoreSnapshot *snapshot);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreSnapshot, store_snapshot_clear)

/* Takes one, which waits for the changes that are under way. A NULL name is the time,
 * "20261122T143000Z", with a suffix where that is taken. `out` may be NULL. EEXIST; ENOSPC: there are 255;
 * EINVAL: no name for a snapshot, which "latest", "new" and what begins with '.' are not either; EROFS. */
bool store_snapshot_take (Store *self, const char *name, StoreSnapshot *out, GError **error);

/* Takes one for as long as this process needs it, called PURPOSE-ID. Whoever takes it drops it; those of
 * the same purpose whose process died before it could are dropped now. One of a purpose for each Store. */
bool store_snapshot_take_own (Store *self, const char *purpose, StoreSnapshot *out, GError **error);

/* ENOENT: there is none of that name. What only it had, cleanup and purge take later on. */
bool store_snapshot_drop (Store *self, const char *name, GError **error);

/* ENOENT; EEXIST; EINVAL: as when it is taken. */
bool store_snapshot_rename (Store *self, const char *name, const char *new_name, GError **error);

/* All of them, the oldest first: an array of StoreSnapshot pointers. */
GPtrArray *store_snapshot_list (Store *self, GError **error);

/* One by its name; "latest" is the newest. ENOENT; EBADMSG: its file makes no sense. */
bool store_snapshot_find (Store *self, const char *name, StoreSnapshot *out, GError **error);

/* The store as it was: all that reads here works on it, and tells names, tree, messages, flags, times
 * and figures as they were, whatever became of them since; what is expunged is no part of it. All that
 * writes fails with EROFS, and of the commands only verify is for it. `live` must stay open longer.
 * ESTALE, of every call, once the snapshot was dropped. Otherwise as store_snapshot_find(). */
Store *store_snapshot_open (Store *live, const char *name, GError **error);

/* Which snapshot the store is as of, by the name that it was opened by; NULL: it is as it is now. */
const StoreSnapshot *store_snapshot_of (const Store *self);

typedef struct {
  uint64_t messages, bytes;         /* that the snapshot has */
  uint64_t own_messages, own_bytes; /* that are kept for it alone */
} StoreWeight;

/* Weighs `snapshots`, which are all that there are: store_snapshot_list(); `out` has room for as many.
 * `*out_kept` is how many bytes are kept for any of them, and not in the store any more. One pass over all
 * messages, the expunged ones, too. */
bool store_snapshot_weigh (Store *self, const GPtrArray *snapshots, StoreWeight *out,
                           uint64_t *out_kept, GError **error);

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

/* ---- commands ------------------------------------------------------------------------------ */

/*
 * Every operator verb is one row of one table. tools/ makes subcommands of it and fs/ control files;
 * both parse words with store_request_parse() and run a StoreJob.
 */
typedef struct StoreJob StoreJob;

typedef enum {
  STORE_WORD_RECURSIVE = 1u << 0, /* "recursive", -r: with everything below */
  STORE_WORD_DRY_RUN = 1u << 1,   /* "dry-run", -n: say what would be done */
  STORE_WORD_FORCE = 1u << 2,     /* "force": do not trust what looks unchanged */
  STORE_WORD_FULL = 1u << 3,      /* "full": read every message */
  STORE_WORD_LIST = 1u << 4,      /* "mailbox-list", -m: the mailbox list instead of indexes */
  STORE_WORD_AGE = 1u << 5,       /* "age=7d": only what is older */
  STORE_WORD_UIDS = 1u << 6,      /* "uid=1:5,7": only these messages */
  STORE_WORD_MODES = 1u << 7,     /* "permissions": put owners and modes right, too */
  STORE_WORD_DIRECTORY = 1u << 8, /* "directory=DIR": of a backup; absolute, percent-escaped */
  STORE_WORD_OF = 1u << 9,        /* "of=NAME,NAME": by names that are not looked up in this store */
  STORE_WORD_RECOVER = 1u << 10,  /* "recover", -r: mend it first */
  STORE_WORD_LOCKS = 1u << 11,    /* "locks", -l: whether somebody holds a lock too long */
  STORE_WORD_VERBOSE = 1u << 12,  /* "verbose", -v: tell of what is in order, too */
  STORE_WORD_CATASTROPHIC = 1u << 13, /* "catastrophic", -c: with what the last backup tells */
  STORE_WORD_SET = 1u << 14,      /* "set=\Seen,Work": replace all flags */
  STORE_WORD_ADD = 1u << 15,      /* "add=Seen": system flags may lack the backslash */
  STORE_WORD_REMOVE = 1u << 16,   /* "remove=Work" */
  STORE_WORD_TO = 1u << 17,       /* "to=MAILBOX": where to; percent-escaped, as all values */
  STORE_WORD_USE = 1u << 18,      /* "special-use=\Sent", or none */
  STORE_WORD_INDEX = 1u << 19,    /* "index=off" */
  STORE_WORD_RATE = 1u << 20,     /* "rate=20M": bytes a second */
  STORE_WORD_BRIEF = 1u << 21,    /* "brief": without figures that take time */
  STORE_WORD_EXPORT = 1u << 22,   /* "export=FILE": of store_export_write(); as directory */
  STORE_WORD_QUERY = 1u << 23,    /* "query=QUERY": of store_query_parse() */
} StoreWords;

/* How a word is spelt: in a control file and among operands as `name` or "name=value", as an option
 * --name, --name=value or -letter. */
typedef struct {
  const char *name;
  StoreWords bit;
  char letter;         /* 0: none */
  const char *value;   /* what a value stands for: "TIME"; NULL: the word has none */
  const char *summary;
} StoreWord;

/* The table, ended by a row whose name is NULL. */
extern const StoreWord store_words[];

/* A value as a word can hold it: spaces, commas, '%' and control bytes become %XX. Values that are
 * several names or flags have commas between them. Owned by the caller. */
char *store_word_escape (const char *value);

typedef enum {
  STORE_COMMAND_READS = 1u << 0, /* changes nothing on disk */
  STORE_COMMAND_NAMED = 1u << 1, /* wants to be told what it is for: no mailbox is an error */
  STORE_COMMAND_REBUILDS = 1u << 2, /* brings rows in line with files: once is enough */
  STORE_COMMAND_IMMEDIATE = 1u << 3, /* short: is run at once, and never waits in the queue */
  STORE_COMMAND_SINGLE = 1u << 4,  /* is for exactly one mailbox */
  STORE_COMMAND_DIRECTORY = 1u << 8, /* its first operand is a directory */
  STORE_COMMAND_FOREIGN = 1u << 9,   /* its operands are names that are not looked up in this store */
  STORE_COMMAND_BRINGS = 1u << 10,   /* what it takes it brings back */
  STORE_COMMAND_PAST = 1u << 11,     /* can look at a snapshot, too */
} StoreCommandTraits;

typedef struct {
  const char *name;     /* "mailbox-create" may be written as two words */
  uint32_t words;       /* StoreWords it takes */
  uint32_t traits;      /* StoreCommandTraits */
  const char *operands; /* "[-u USER] [DOMAIN] [MAILBOX...]" */
  const char *summary;  /* one line */
  bool (*run) (StoreJob *job, GError **error);
  const char *force; /* what "force" does; NULL: what store_words[] says */
  const char *after; /* what to say when it is done; NULL: nothing */
  uint32_t needs;    /* StoreWords, all of which must be given */
  uint32_t one_of;   /* StoreWords, one of which must; 0: none */
  uint32_t least_names, most_names; /* with STORE_COMMAND_FOREIGN; at most 0: any number */
} StoreCommand;

/* The table, ended by a row whose name is NULL. */
extern const StoreCommand store_commands[];
const StoreCommand *store_command_find (const char *name);

/* How it is written in a control file: "flag uid=SET [set=FLAGS] [add=FLAGS] [remove=FLAGS] MAILBOX".
 * Owned by the caller. */
char *store_command_usage (const StoreCommand *self);

typedef struct {
  uint32_t flags; /* StoreFlags */
  char *keywords; /* NULL: none */
} StoreFlagSet;

/* What to do: a verb, its words and the nodes it is for. */
typedef struct {
  const StoreCommand *command;
  uint32_t words;  /* StoreWords */
  int64_t age_s;   /* with STORE_WORD_AGE */
  GArray *uids;    /* of StoreUidRange, with STORE_WORD_UIDS; else NULL */
  GArray *targets; /* uint32_t node numbers; empty: the whole store */
  char *directory;    /* with STORE_WORD_DIRECTORY: absolute */
  char *export;       /* with STORE_WORD_EXPORT: likewise */
  GPtrArray *names;   /* with STORE_WORD_OF: of char *; NULL: everything there */
  StoreFlagSet flags[3]; /* by StoreFlagsChange, with STORE_WORD_SET, _ADD and _REMOVE */
  char *to;           /* with STORE_WORD_TO */
  struct StoreQuery *query; /* with STORE_WORD_QUERY */
  const char *special_use; /* with STORE_WORD_USE; NULL: none */
  StoreIndexing index; /* with STORE_WORD_INDEX */
  uint64_t rate;      /* with STORE_WORD_RATE; 0: as fast as it goes */
  GPtrArray *spelled; /* the words as they were given, for the queue: "uid=1:5" */
} StoreRequest;

/* Parses { "reconstruct", "recursive", "joe@example.com", NULL }: the verb, then words and mailboxes in
 * any order; "1" means the defaults, and behind "--" there are mailboxes only. Nothing is started. EINVAL:
 * no such verb or word, a value that makes no sense, or something is missing; ENOENT: no such mailbox. */
StoreRequest *store_request_parse (Store *self, const char *const *words, GError **error);
void store_request_free (StoreRequest *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreRequest, store_request_free)

/* Whether the request, as it stands, changes nothing on disk: a look, or a dry run. */
bool store_request_reads (const StoreRequest *self);

/* Whether it reads or writes outside the store, which only those may ask for who have the rights
 * that it is run with: a path that it names, or one that the store does. */
bool store_request_goes_out (const StoreRequest *self);

/* One thing that a command found or took. */
typedef enum {
  STORE_PROBLEM_NO_ROW,        /* a message file that the index does not know */
  STORE_PROBLEM_NO_FILE,       /* a row whose file is gone */
  STORE_PROBLEM_CHANGED,       /* size, date or state of file and row differ */
  STORE_PROBLEM_DIGEST,        /* the bytes are not those that were delivered */
  STORE_PROBLEM_SIZE,          /* not the size that was delivered */
  STORE_PROBLEM_NUL,           /* NUL bytes in a message */
  STORE_PROBLEM_UNREADABLE,    /* reading failed */
  STORE_PROBLEM_NO_INDEX,      /* a user's index is missing */
  STORE_PROBLEM_BAD_INDEX,     /* a database is damaged */
  STORE_PROBLEM_NO_LIST_ENTRY, /* a mailbox directory that the mailbox list does not know */
  STORE_PROBLEM_NO_DIRECTORY,  /* a mailbox in the list whose directory is gone */
  STORE_PROBLEM_BAD_STATE,     /* a directory or file without a valid state attribute */
  STORE_PROBLEM_UIDNEXT,       /* the next UID is not above the highest UID */
  STORE_PROBLEM_STRAY,         /* something in the store that is no part of it */
  STORE_PROBLEM_NO_ATTRIBUTES, /* the filesystem keeps no user attributes */
  STORE_PROBLEM_PERMISSION,    /* owner or mode would keep the store from using it */
  STORE_PROBLEM_HOT_JOURNAL,   /* a write to a database was interrupted */
  STORE_PROBLEM_DUPLICATE,     /* a message and an expunged one have the same UID */
  STORE_PROBLEM_BACK,          /* an old file of a message that was expunged lies in its mailbox */
  STORE_PROBLEM_BUSY,          /* something else is at work there */
  STORE_PROBLEM_DELETED,       /* a message to be expunged: nothing wrong with it */
  STORE_PROBLEM_EXPUNGED,      /* an expunged message: likewise */
  STORE_PROBLEM_RECORDS,       /* records of removed messages: likewise */
  STORE_PROBLEM_QUARANTINED,   /* something in quarantine: likewise. Of mailbox-remove `detail` is its name
                                  there, STAMP/PATH */
  STORE_PROBLEM_TRUNCATED,     /* shorter than what was delivered */
  STORE_PROBLEM_ZERO_RUN,      /* zeros where something else was delivered */
  STORE_PROBLEM_SUMMARY,       /* the index tells something else about a message than its bytes do */
  STORE_PROBLEM_HARD_LINK,     /* two messages are one file */
  STORE_PROBLEM_LEFTOVER,      /* what a process left in tmp/ when it died */
  STORE_PROBLEM_DISK_SPACE,    /* a filesystem of the store is nearly full */
  STORE_PROBLEM_NUMBER,        /* two directories have one mailbox number */
  STORE_PROBLEM_LOCKED,        /* somebody holds a lock longer than any change takes */
  STORE_PROBLEM_BAD_SNAPSHOT,  /* the file of a snapshot, or what is kept for it, makes no sense */
  STORE_PROBLEM_VANISHED,      /* a backup has it, the store not any more, and did not take it away */
  STORE_PROBLEM_FLAGGED,       /* nothing: flags in `object` were changed. `detail`: the UIDs, "4:7,9" */
  STORE_PROBLEM_COPIED,        /* nothing: `object` has copies now. `detail`: "4:7,9 -> 12:16", two sets
                                  of UIDs in the same order, of the messages and of their copies */
  STORE_PROBLEM_CREATED,       /* nothing: `object` and `number` are a mailbox that was made */
  STORE_PROBLEM_SNAPSHOT,      /* nothing: `object` is a snapshot. `detail`: "taken TIME, epoch N", and
                                  when it was weighed "...: N messages, N bytes; N messages, N bytes only
                                  here" */
  STORE_PROBLEM_ADDED,         /* nothing: snapshot-diff says that it is in the second one only */
  STORE_PROBLEM_REMOVED,       /* nothing: likewise in the first */
  STORE_PROBLEM_RENAMED,       /* nothing: likewise a mailbox has another name or place */
  STORE_PROBLEM_DIFFERENT,     /* nothing: likewise something else is different */
  STORE_PROBLEM_BAD_HEADER,    /* a message that is not known to have come so begins with no header */
  STORE_PROBLEM_LOST,          /* messages of `object` whose file is gone, and that are known all the same */
  STORE_PROBLEM_MATCH,         /* nothing: search found it. `detail`: its flags */
  STORE_PROBLEM_NOTE,          /* nothing: what a command has to say */
} StoreProblem;
const char *store_problem_name (StoreProblem problem);   /* "missing-row" ... */
const char *store_problem_remedy (StoreProblem problem); /* what puts it right, for people */

typedef enum {
  STORE_LEFT,  /* wrong, and still so */
  STORE_FIXED, /* was wrong */
  STORE_TAKEN, /* nothing wrong: what the command is there to take, or would take in a dry run */
  STORE_NOTED, /* nothing wrong: good to know, or said because it is asked for */
} StoreOutcome;
const char *store_outcome_name (StoreOutcome outcome); /* "left" ... */

typedef struct {
  StoreProblem problem;
  StoreOutcome outcome;
  uint32_t number; /* the node; 0: the store */
  uint32_t uid;    /* the message; 0: none */
  uint64_t size;   /* bytes of what was taken */
  uint64_t offset, length; /* which bytes of the message it is about; nothing: all or none */
  char *object;    /* path below mail/, printable */
  char *detail;    /* what exactly, printable */
} StoreFinding;

/* One run of a command. */
StoreJob *store_job_new (Store *self, StoreRequest *request); /* takes the request over */
const StoreRequest *store_job_request (const StoreJob *self);

/* From then on each finding is told when it is found, by the thread that runs the job, and not kept. */
typedef void (*StoreFindingFunc) (const StoreFinding *finding, void *user_data);
void store_job_tell (StoreJob *self, StoreFindingFunc tell, void *user_data);
void store_job_free (StoreJob *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreJob, store_job_free)

/* Runs to the end, in the calling thread and helpers of its own. ECANCELED after store_job_cancel(). */
bool store_job_run (StoreJob *self, GError **error);
void store_job_cancel (StoreJob *self);

typedef struct {
  uint64_t done, total; /* total is 0 until it is known */
  const char *unit;     /* "messages" */
} StoreProgress;
void store_job_progress (StoreJob *self, StoreProgress *out);

/* The result, after the run: the array of StoreFinding pointers is the job's. */
const GPtrArray *store_job_findings (const StoreJob *self);
typedef struct {
  uint64_t mailboxes, messages, bytes; /* looked at */
  uint64_t fixed, left, taken;         /* findings, by their outcome */
  uint64_t taken_bytes;
} StoreResult;
void store_job_result (const StoreJob *self, StoreResult *out);

/* ---- the queue ----------------------------------------------------------------------------- */

/*
 * Jobs wait here for a worker, and everyone sees here what runs, and how what ran has ended. The queue
 * outlives all processes. It is bookkeeping: when it is lost, mail and indexes are not.
 */
typedef enum {
  STORE_JOB_WAITING,     /* for a worker */
  STORE_JOB_RUNNING,
  STORE_JOB_DONE,
  STORE_JOB_FAILED,
  STORE_JOB_CANCELLED,   /* somebody did not want it any more, or it was not needed any more */
  STORE_JOB_INTERRUPTED, /* its process ended before it did; may be taken up again */
} StoreJobState;
const char *store_job_state_name (StoreJobState state); /* "waiting" ... */

typedef struct {
  uint64_t id;          /* the record number */
  StoreJobState state;
  bool queued;          /* is for a worker, which also takes it up again when it was interrupted */
  char *action;         /* the command and its words: "reconstruct recursive" */
  char *title;          /* what it is for, for people; NULL: the whole store */
  int64_t created_s, started_s, ended_s; /* 0: not yet */
  int64_t due_s;        /* a worker does not run it before; 0: at once */
  StoreProgress progress;
  uint64_t fixed, left, taken; /* as in StoreResult */
  char *error;          /* why it failed, or is not needed any more; NULL */
  int code;             /* the errno of that; 0: it did not fail, or was not needed any more */
  char *log;            /* what became of it: lines, each with its time */
} StoreRecord;

/* A job, a finding and a result as objects of json_begin(), to be ended and freed by the caller. */
GString *store_record_json (const StoreRecord *record);
GString *store_finding_json (const StoreFinding *finding);
GString *store_result_json (const char *command, const StoreResult *result);

/* Writes all that there is to tell of a job as one object: that of store_record_json() with its findings,
 * and the figures of its result where they are known (`result` is not NULL). */
bool store_report_write (const StoreRecord *record, const StoreResult *result,
                         const GPtrArray *findings, FILE *out, GError **error);

/* Whether it brings rows in line with files while it runs. */
bool store_record_rebuilds (const StoreRecord *record);

void store_record_clear (StoreRecord *record);
void store_records_clear (StoreRecord *records, size_t count);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreRecord, store_record_clear)

/* Lets a worker run the request, now or later. The same request, as long as it waits, is one job:
 * `*out_added` is false then. */
bool store_queue_add (Store *self, const StoreRequest *request, uint64_t *out_id, bool *out_added,
                      GError **error);

/* The same for several, in one commit: all are in the queue, or none. `out_ids` gets a number for each.
 * EINVAL: one is not to wait (STORE_COMMAND_IMMEDIATE); EAGAIN: more than STORE_QUEUE_MAX would wait. */
#define STORE_QUEUE_MAX 1000000u
bool store_queue_add_all (Store *self, StoreRequest *const *requests, size_t count,
                          uint64_t *out_ids, GError **error);

/* The newest job of the command, with whatever words, for exactly that node; STORE_ROOT is the whole
 * store. One query, which the length of the queue does not matter to. Absence is no error. */
bool store_queue_last (Store *self, const StoreCommand *command, uint32_t number, StoreRecord *out,
                       bool *out_found, GError **error);

/* The same of those that wait, run, or will be taken up again. */
bool store_queue_pending (Store *self, const StoreCommand *command, uint32_t number,
                          StoreRecord *out, bool *out_found, GError **error);

/* The newest of all jobs; 0: there is none. */
bool store_queue_newest (Store *self, uint64_t *out_id, GError **error);

/* The next at most `capacity` jobs above `after` in the order of their numbers; the caller clears
 * them. With `pending` only those that wait or run, or that a worker will take up again. */
bool store_queue_page (Store *self, uint64_t after, bool pending, StoreRecord *out, size_t capacity,
                       size_t *out_count, GError **error);

/* How many jobs wait for a worker, or to be taken up again by one. */
bool store_queue_length (Store *self, uint64_t *out, GError **error);

/* The first jobs that run; the caller clears them. */
bool store_queue_running (Store *self, StoreRecord *out, size_t capacity, size_t *out_count,
                          GError **error);

/* The next at most `capacity` jobs that something happened to, as they are now and in the order in which
 * it did; the caller clears them. `*place` tells how far that was followed, at first
 * STORE_QUEUE_NOW. One that something happened to twice is told once. Costs next to nothing when
 * there is nothing to tell. */
#define STORE_QUEUE_NOW UINT64_MAX
bool store_queue_changes (Store *self, uint64_t *place, StoreRecord *out, size_t capacity,
                          size_t *out_count, GError **error);

/* ENOENT: no such job. */
bool store_queue_get (Store *self, uint64_t id, StoreRecord *out, GError **error);

/* The first of what the job found, which it has told when it ended: an array of StoreFinding pointers,
 * owned by the caller. */
GPtrArray *store_queue_findings (Store *self, uint64_t id, GError **error);

/* Takes a job that waits, or may be taken up again, out of the queue: it is cancelled. EBUSY: it runs;
 * EALREADY: it has ended. */
bool store_queue_remove (Store *self, uint64_t id, GError **error);

/* As store_queue_remove(), and asks whoever runs the job to end it, which takes a second or two. */
bool store_queue_cancel (Store *self, uint64_t id, GError **error);

/* Whether store_queue_remove(), or with `stop` store_queue_cancel(), would do that now. */
bool store_queue_can_remove (Store *self, uint64_t id, bool stop, GError **error);

/* Puts the job into the queue as the running one that it is from now on until it ends, in
 * store_job_watch(). */
bool store_job_register (StoreJob *self, GError **error);
uint64_t store_job_id (const StoreJob *self); /* the record number; 0: it is not registered */

/* Takes up a job that was interrupted, or that waits: it is registered, and to be run by the caller.
 * EBUSY: it runs; EALREADY: it has ended; ECANCELED: what it was for is gone or needs it no more. */
StoreJob *store_job_resume (Store *self, uint64_t id, GError **error);

/* Runs the job in a thread of its own while the calling one watches: it calls `go_on` about ten times a
 * second, which interrupts the job by returning false. Of a registered job the queue is told how far it
 * is, about once a second, and how it ended. ECANCELED as store_job_run(). */
typedef bool (*StoreJobFunc) (StoreJob *job, void *user_data);
bool store_job_watch (StoreJob *self, StoreJobFunc go_on, void *user_data, GError **error);

/*
 * The worker runs what waits in the queue, one job after the other. There is one of a store at a time.
 *
 *   StoreWorkerCalls calls = { .say = ..., .go_on = ... };
 *   g_autoptr (StoreWorker) worker = store_worker_new (store, &calls, &error);
 *   do
 *     good = store_worker_step (worker, &id, &error);
 *   while (good && id != 0);
 */
typedef struct StoreWorker StoreWorker;

/* One line, printable, for a log; `mailbox` is what the job is for, NULL when that is the whole store. */
typedef void (*StoreSayFunc) (uint64_t job, const char *mailbox, const char *text, void *user_data);

typedef struct {
  StoreSayFunc say;    /* may be NULL */
  StoreJobFunc go_on;                              /* as in store_job_watch() */
  void *user_data;
} StoreWorkerCalls;

/* Makes the calling thread the worker, which then has the lowest claim on processor and disk; so do the
 * threads that it starts. EBUSY: there is one already; the message says which. */
StoreWorker *store_worker_new (Store *self, const StoreWorkerCalls *calls, GError **error);
void store_worker_free (StoreWorker *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (StoreWorker, store_worker_free)

/* Queues the repair of some of what readers of this Store met, then takes the first job that waits, or whose
 * process died, and runs it. `*out_id` is its number, 0 when nothing waits. A job that fails is no
 * failure of the worker; ECANCELED when `go_on` interrupted it. */
bool store_worker_step (StoreWorker *self, uint64_t *out_id, GError **error);

/* ---- damage: which bytes of which messages ------------------------------------------------- */

/* Where a message's file is not what was delivered. What lies behind the file's end is missing. */
typedef struct {
  uint64_t offset, length;
  StoreProblem kind; /* _TRUNCATED, _ZERO_RUN, _SIZE, _UNREADABLE; _DIGEST: it cannot be located */
} StoreDamageRange;

/* Reads the whole message from `fd`, and finds out which of its bytes are damaged: an array of
 * StoreDamageRange, in their order; of one that is what was delivered, as far as anybody knows, an empty
 * one. */
GArray *store_message_locate (StoreMailbox *self, uint32_t uid, int fd, GError **error);

/* The damage map of a mailbox, or of everything below another node: reads every message, the expunged
 * ones, too, as a check does with "full", and writes a line for each thing that is wrong with one, by
 * UID and offset:
 *
 *   UID <TAB> OFFSET <TAB> LENGTH <TAB> KIND <TAB> DETAIL
 *
 * with the mailbox's path in front where it is of more than one mailbox. KIND is store_problem_name() of
 * _TRUNCATED, _ZERO_RUN, _NUL, _SIZE, _DIGEST, _NO_FILE, _NO_ROW, _DUPLICATE, _BAD_HEADER, _UNREADABLE
 * or _BAD_STATE, which stands for all in which file and index differ but the bytes. Without a UID, which
 * is 0 then, it is the mailbox's own. A first line, "# uid ...", names the columns, a last one, "#
 * complete: N lines", says that it is whole. `go_on` is as in store_job_watch(), and may be NULL. */
bool store_damage_write (Store *self, uint32_t number, FILE *out, StoreJobFunc go_on,
                         void *user_data, GError **error);

/* ---- the audit trail ------------------------------------------------------------------------ */

/* Adds a line to the store's audit.jsonl: the object, as json_end() ends it, behind members "seq" and
 * "time". The line is on disk when this returns. Lines have numbers without gaps, whichever process
 * adds them. At 16 MiB the file becomes audit.jsonl.1, and what was called that is gone. EROFS. */
bool store_audit_append (Store *self, const char *object, GError **error);

/* Opens the file for reading: it grows at its end until another takes its place. -1 without an error
 * when there is none. */
int store_audit_open (Store *self, GError **error);

/* ---- import -------------------------------------------------------------------------------- */

typedef struct {
  const char *format;     /* "eml", "maildir", "mbox" */
  const char *source;
  const char *target;     /* "USER@DOMAIN" or "USER@DOMAIN/MAILBOX" */
  StoreTransfer transfer;
  bool dry_run;
} StoreImport;

typedef struct {
  uint64_t seen, imported, known, failed, bytes; /* messages; `known` were there already */
  uint64_t mailboxes;
  uint64_t uids_changed; /* messages that could not keep the UID the source gave them */
  GPtrArray *warnings;   /* of char *, printable: what was not brought in, and why */
} StoreImportResult;

void store_import_result_clear (StoreImportResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (StoreImportResult, store_import_result_clear)

/* Brings mail in. What is in the target already (same digest, as often as in the source) is left alone,
 * so an interrupted import is simply run again. `progress` may be NULL; it is called from the calling
 * thread, at most some times a second, and stops the import by returning false (ECANCELED). A message
 * that cannot be read is counted and named in the warnings, and the rest goes on; what stops all is
 * ENOSPC, EDQUOT, EIO on the store's side, EACCES; EBUSY while another import into that user runs. `out`
 * is filled on failure as well: what was committed stays. */
typedef bool (*StoreImportFunc) (const StoreProgress *progress, void *user_data);
bool store_import (Store *self, const StoreImport *import, StoreImportFunc progress,
                   void *user_data, StoreImportResult *out, GError **error);

/* ---- bags ---------------------------------------------------------------------------------- */

/* A bag (RFC 8493) is a directory with copies of messages, their digests, and what is to be known of
 * them, for others to keep: whatever program they have for bags tells whether it is whole. */
typedef struct {
  uint64_t messages, bytes; /* in it */
  uint64_t damaged;         /* of the messages, as far as that is known */
} StoreBag;

/* Puts the messages of the node and everything below it into the new or empty `directory`, with
 * their facts (store_export_write(), store_manifest_json_write()) in export.jsonl and manifest.json.
 * What is damaged goes in as it is, and is told in damaged.tsv. All is on disk when it returns true;
 * before that there is no bagit.txt, and so no bag. `progress` as of an import. ENOTEMPTY; ENOENT: no
 * such node. */
bool store_bag_write (Store *self, uint32_t number, const char *directory, StoreImportFunc progress,
                      void *user_data, StoreBag *out, GError **error);

/* Holds a bag, by whatever program, against its digests and lists. Calls `tell` for each problem,
 * with texts that are printable. EINVAL: it is no bag. */
typedef void (*StoreBagFunc) (const char *path, const char *problem, void *user_data);
bool store_bag_verify (const char *directory, StoreBagFunc tell, void *user_data, StoreBag *out,
                       uint64_t *out_problems, GError **error);
