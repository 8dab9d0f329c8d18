/* SPDX-License-Identifier: Apache-2.0 */
/*
 * files.h - what lies on disk: settings, the layout, the facts that are kept on files and
 * directories. Of store/internal.h, which includes it.
 */
#pragma once

#include "index/index.h"
#include "store/rescue.h"

#include <fcntl.h>
#include <sys/stat.h>

/* ---- settings.c: mailfs.conf --------------------------------------------------------------- */

#define CONFIG "mailfs.conf"

/* Reads the file; EINVAL when there is none, or it makes no sense. */
GKeyFile *config_read (const Store *store, GError **error);

/* Puts `text` in its place, durably, with the owner and mode that it had. `fd` is of the store's
 * directory. */
bool config_write (int fd, const char *text, GError **error);

/* Takes the settings out of it. EINVAL names the key that makes no sense. */
bool settings_load (Store *store, GKeyFile *file, GError **error);

/* ---- layout.c: where things are on disk ---------------------------------------------------- */

#define LAYOUT_EXPUNGED ".expunged"
#define LAYOUT_STATE    ".state"

/* The mailbox list, as findings name it: from mail/, as all that they name. */
#define LAYOUT_LIST  "../mailboxes.sqlite3"
#define LAYOUT_QUEUE "../queue.sqlite3"

/* Opens `path` below the directory `fd`, never through a symbolic link and never out of it
 * (openat2);
 * "" is the directory itself. O_CLOEXEC is added; opening for reading does not change the atime
 * where that is allowed. Returns a descriptor, or -1 with errno set. */
int layout_open (int fd, const char *path, int flags, mode_t mode);

/* Opens a regular file for reading; EMEDIUMTYPE when it is something else. */
int layout_open_message (int fd, const char *name);

/* write(2) of all bytes. */
bool layout_write (int fd, const void *bytes, size_t size, GError **error);

/* Gives a new file or directory to the store's owner, when root makes it. */
bool layout_own (Store *store, int fd, GError **error);

/* The same for a database, which must not be opened for reading beside SQLite: closing it would
 * drop SQLite's locks. */
bool layout_own_path (Store *store, const char *path, GError **error);

/* Makes a directory that is visible only once it is complete: first under a name of its own in
 * tmp/, then renamed to `name` in `parent_fd`. `prepare` runs in between. EEXIST when it is there
 * already. */
typedef bool (*LayoutPrepareFunc) (int fd, void *data, GError **error);
bool layout_make_directory (Store *store, int parent_fd, const char *name,
                            LayoutPrepareFunc prepare, void *data, GError **error);

/* renameat2 (RENAME_NOREPLACE), or the next best where the filesystem lacks it. -1 and errno. */
int layout_move (int from_fd, const char *from, int to_fd, const char *to);

/* Absolute path of the index of the user or shared node whose path below mail/ is `node_path`. */
char *layout_index_path (Store *store, const char *node_path);

/* The same of the full-text index. No index is called so: their names end in ".sqlite3". */
char *layout_fulltext_path (Store *store, const char *node_path);

/* Removes a database durably, with its journal; absence is no error. */
bool layout_remove_database (const char *path, GError **error);

/* Renames a damaged database, or whatever lies in its place, and what belongs to it, so that it
 * stays as evidence: PATH.damaged-TIME. */
bool layout_keep_damaged (const char *path, GError **error);

/* The same for an index from which something may still be salvaged. It is called PATH.broken-N
 * until layout_keep_broken() says that all it told is in the files; so nothing is forgotten when
 * the rebuild is interrupted. */
bool layout_set_aside (const char *path, GError **error);
bool layout_keep_broken (const char *path, GError **error);

/* The name of the Nth of them; NULL: there are no more. */
char *layout_broken_path (const char *path, unsigned n);

/* Removes what is in the directory `fd`, or the file or directory `name` in it with all that it
 * holds, never through a link. What cannot be removed stays, and the first of it is the error. */
bool layout_empty (int fd, GError **error);
bool layout_remove (int fd, const char *name, GError **error);

/* The directory in tmp/ that belongs to this process; what dead processes left there is removed
 * when it is made. */
int layout_tmp (Store *store, GError **error);

/* Removes the directory `name` of tmp/ with all that is in it, unless a process has it locked, as
 * each has its own while it lives. */
bool layout_tmp_remove (int tmp, const char *name);

/* A new name in it. */
void layout_tmp_name (Store *store, char out[32]);

/* Removes it again, when the store is closed. */
void layout_tmp_close (Store *store);

/* Where a message lies, below its mailbox. */
void layout_message_path (uint32_t uid, bool expunged, char out[32]);

/* Whether a message file lies there; a link or a directory of that name is none. */
bool layout_message_stat (int fd, const char *path, struct stat *out);

/* The names in the directory `path` below `fd`, but for "." and "..", in byte order. */
GPtrArray *layout_names (int fd, const char *path, GError **error);

/* UIDs of the message files in the directory `path` below `fd`, ascending (uint32_t). What is
 * neither a message, a directory nor ours is added to `strays` by name, unless that is NULL. */
GArray *layout_uids (int fd, const char *path, GPtrArray *strays, GError **error);

/* The numbers that files in the directory `path` below `fd` are called by, ascending (uint32_t);
 * none where there is no such directory. */
GArray *layout_numbers (int fd, const char *path, GError **error);

/* The order of such an array: a GCompareFunc on uint32_t. */
gint layout_compare_uids (gconstpointer a, gconstpointer b);

/* Nanoseconds since 1970. A time may be of any year; that of 2262 is the last that fits, and all
 * later ones are INT64_MAX, as all before 1677 are INT64_MIN. */
int64_t time_ns (const struct timespec *time);
int64_t stat_mtime_ns (const struct stat *st);
int64_t stat_ctime_ns (const struct stat *st);

/* ---- state.c: facts kept on files ---------------------------------------------------------- */

/* What user.mailfs.state on a message says. */
typedef struct {
  uint64_t modseq;
  uint32_t birth, expunged; /* epochs; expunged is 0 for a live message */
  uint64_t digest;          /* digest_prefix() of what was delivered; 0: unknown */
  uint32_t flags;
  char *keywords;
  bool copied; /* it has no state of its own, and these flags are what a mount told; see copied.c */
} MessageState;
void message_state_clear (MessageState *state);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (MessageState, message_state_clear)

/* What the attribute on a directory says; mailboxes use all of it, the others only the number. */
typedef struct {
  uint32_t number;
  uint32_t uidvalidity, uidnext;
  uint64_t modseq; /* HIGHESTMODSEQ when it was written; messages carry newer ones themselves */
  bool subscribed;
  bool no_index;  /* of a user */
  bool full_text; /* likewise: a full-text index, too */
  char *special_use;
  char *full_name;
  bool copied; /* it has no state of its own, and this is what a mount told; see copied.c */
} NodeState;
void node_state_clear (NodeState *state);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (NodeState, node_state_clear)

/* What the attribute on mail/ says. */
typedef struct {
  uint32_t next_number;
  uint32_t epoch;
  uint32_t last_uidvalidity;
} StoreState;

/* The first 8 bytes of a SHA-256, the part of it that stands on the file; and back, the rest zeros.
 */
uint64_t digest_prefix (const uint8_t sha256[32]);
void digest_from_prefix (uint64_t prefix, uint8_t out_sha256[32]);

/* Whether bytes with the digest `actual` can be those that are known by `known`: a whole digest,
 * one made of a prefix, or zeros for none. */
bool digest_matches (const uint8_t known[32], const uint8_t actual[32]);
bool digest_is_whole (const uint8_t known[32]);

/* Reading: absence is a result (`*out_found`), EBADMSG is an attribute that makes no sense. On
 * filesystems without user attributes the same lines stand in .state in the directory;
 * `directory_fd` says where. Where there is no line, what a mount told is taken (`copied`): the
 * flags of a message, whose modseq is 0 then; of a directory, if that tells its number. Writing:
 * E2BIG when the filesystem cannot hold it. Durable after fsync of `fd` (or at once in .state). */
bool message_state_read (int directory_fd, int fd, uint32_t uid, MessageState *out, bool *out_found,
                         GError **error);
bool message_state_write (Store *store, int directory_fd, int fd, uint32_t uid,
                          const MessageState *state, GError **error);
bool node_state_read (int fd, StoreNodeKind kind, NodeState *out, bool *out_found, GError **error);
bool node_state_write (Store *store, int fd, StoreNodeKind kind, const NodeState *state,
                       GError **error);
/* The line of the attribute, and back; EBADMSG. A state made of one owns what it holds. */
char *message_state_format (const MessageState *state);
bool message_state_parse (const char *line, MessageState *out, GError **error);
char *node_state_format (StoreNodeKind kind, const NodeState *state);
bool node_state_parse (const char *line, StoreNodeKind kind, NodeState *out, GError **error);

/* Takes a number, and the space behind it, off the beginning of such a line. */
bool state_take_number (const char **line, unsigned base, uint64_t max, uint64_t *out);

/* A field of such a line, "-" for NULL: what would end the field or the line is escaped, which
 * store_name_unescape() undoes. */
char *state_escape (const char *text);

bool store_state_read (int fd, StoreState *out, bool *out_found, GError **error);
bool store_state_write (Store *store, int fd, const StoreState *state, GError **error);

/* ---- lines.c: files of lines that only grow -------------------------------------------------- */

/* Longer ones make no sense, with their checksum; and how long that is. */
#define LINE_BYTES_MAX     131072u
#define LINE_CHECKSUM_SIZE 9u

/* Opens the file `path` below the store's directory, to add to it; it is made when there is none,
 * with the directory that it is in, and then on disk. -1 and an error. */
int lines_open (Store *store, const char *path, GError **error);

/* Adds whole lines to it, each of which gets a checksum at its end. They are on disk once it has
 * been synced. */
bool lines_write (Store *store, const char *path, int fd, const char *lines, GError **error);

/* Whether a line of `size` bytes is what was written. `*out_size` is without the checksum. */
bool lines_is_whole (const char *line, size_t size, size_t *out_size);

/* ---- copied.c: facts on what was copied out of a mount --------------------------------------- */

/* What somebody else tells, a copy or an export, may not use up what must last: numbers so near to
 * the last one are not believed. */
#define BELIEVED_LESS       (1u << 20)
#define NUMBER_BELIEVED_MAX (STORE_NUMBER_MAX - BELIEVED_LESS)
#define UID_BELIEVED_MAX    (STORE_UID_MAX - BELIEVED_LESS)

/* Reads what the attributes tell that a mount shows; false: nothing that makes sense. Of a
 * directory the number may be 0. */
bool copied_message_read (int fd, MessageState *out);
bool copied_node_read (int fd, StoreNodeKind kind, NodeState *out);

/* Removes them; and puts those of a message back. */
void copied_message_forget (int fd);
void copied_message_keep (int fd, const MessageState *state);
void copied_node_forget (int fd);

/* Tells a directory that tells nothing its number, as a mount would; failing does no harm. */
void copied_number_keep (int fd, uint32_t number);

/* ---- copy.c: files and directories with all that belongs to them ----------------------------- */

/* How fast bytes may go (pace.c); NULL: as fast as they can. Passing some waits until they may, and
 * fails with ECANCELED. A chunk is what should be passed at once, at most `most`. */
typedef struct Pace Pace;
bool pace_pass (Pace *self, uint64_t bytes, GError **error);
size_t pace_chunk (const Pace *self, size_t most);

/* Copies the regular file `source` to a new file `to`: bytes (shared where the filesystem can),
 * user.* attributes, mode and mtime; it belongs to the store's owner. It is not synced. Returns a
 * descriptor, or -1. */
int copy_open_file (Store *store, int source, int to_fd, const char *to, Pace *pace,
                    GError **error);

/* The same for the file `from`; ENOENT when there is none. */
int copy_file (Store *store, int from_fd, const char *from, int to_fd, const char *to, Pace *pace,
               GError **error);

/* Puts mode, owner and user.* attributes of the directory `from_fd` on `to_fd`. */
bool copy_directory_facts (Store *store, int from_fd, int to_fd, GError **error);
