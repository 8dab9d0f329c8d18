/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.h - what the readers of foreign mail share. Only the files of formats/ and their tests
 * include it.
 *
 * Sources are hostile input: whoever could write to a mailbox chose every byte of it, names
 * included. So everything is opened relative to a directory descriptor and without following links,
 * and work stays linear in the size of the source. Memory does not depend on how long a line or a
 * file is, but on how many entries a directory has, whose names are sorted, and on how long a
 * message of an mbox is: it is given out in one piece, of at most 1 GiB (mbox.c).
 */
#pragma once

#include "store/formats/source.h"

#include <inttypes.h>
#include <sys/stat.h>

/* ---- source.c: folders and directories ------------------------------------------------------- */

typedef struct {
  char *path;      /* below the root; "" is the root itself */
  char **levels;   /* the mailbox name */
  uint64_t weight; /* messages or bytes, for progress */
} SourceFolder;

/* What every reader begins with; each has a larger struct of its own around it. */
struct Source {
  int fd;              /* the root: a directory, or the one that holds the only file */
  char *root;          /* its name, for warnings */
  GPtrArray *folders;  /* of SourceFolder, in the order in which they are read */
  GPtrArray *warnings; /* the caller's */
  const char *unit;
  uint64_t done, total; /* in units */
  uint64_t lost;        /* folders and files that could not be read */
};

/* Warns that all of a folder or file below the root cannot be read, and counts it. */
void source_lose (Source *self, const char *path, const char *reason);

/* Opens the root at `path`. When that is a regular file, `*out_file` is its name in `self->fd`;
 * NULL when it is a directory. Symbolic links are followed here, for the caller named them, and
 * nowhere else. EINVAL when it is neither. */
bool source_open_root (Source *self, const char *path, const char *unit, GPtrArray *warnings,
                       char **out_file, GError **error);
void source_clear (Source *self);
void source_progress (const Source *self, StoreProgress *out);

/* Adds a folder and its weight; takes `levels` over. */
void source_add_folder (Source *self, const char *path, char **levels, uint64_t weight);

/* Opens a directory below `directory_fd`: all of `path` is resolved beneath it. Returns -1 on
 * failure. */
int source_open_directory (int directory_fd, const char *path, GError **error);

/* Opens a regular file for reading, without following a link or waiting for a FIFO. Returns -1 on
 * failure; EMEDIUMTYPE: something else. */
int source_open_file (int directory_fd, const char *name, struct stat *out, GError **error);

typedef struct {
  unsigned char type; /* DT_REG ... as in readdir(3); never DT_UNKNOWN unless it is gone */
  char name[];
} SourceEntry;

/* A directory's entries in byte order, without "." and "..". */
GPtrArray *source_list (int directory_fd, GError **error);

/* Calls `visit` for the root and for every directory below it, parents first, in byte order. `path`
 * is
 * "" for the root. Of `entries` those with type DT_DIR are entered next; visit changes the type of
 * those that it does not want. A directory that cannot be read is lost, see source_lose(). */
typedef bool (*SourceVisit) (Source *self, int directory_fd, const char *path, GPtrArray *entries,
                             GError **error);
bool source_walk (Source *self, SourceVisit visit, GError **error);

/* A UID far up would leave a mailbox with none to give out; and mail, which is free to carry any
 * X-IMAPbase, must not do that. So none above is taken from a source. */
#define SOURCE_UID_MAX 0x7fffffffu

/* ---- lines.c --------------------------------------------------------------------------------- */

#define LINES_BUFFER 65536u

/* Reads a file line by line with bounded memory. */
typedef struct {
  int fd;
  char delimiter;  /* '\n', or '\r' for old files */
  bool inside;     /* the next piece goes on with a line */
  uint64_t offset; /* of the next byte to give out */
  uint64_t size;   /* nothing from here on is read */
  size_t begin, end;
  char buffer[LINES_BUFFER];
} Lines;

/* A line, or a piece of one that is longer than the buffer. */
typedef struct {
  uint64_t offset;
  const char *text; /* until the next call */
  size_t length;    /* without the line end */
  size_t size;      /* with it */
  bool starts, ends;
} Line;

void lines_init (Lines *self, int fd, uint64_t size);

/* Sets `*out_end` at the end; a file that has become shorter ends early. */
bool lines_next (Lines *self, Line *out, bool *out_end, GError **error);

/* Goes on at `offset`, which must be the start of a line. */
void lines_seek (Lines *self, uint64_t offset);

/* pread(2) until `size` bytes are there or the file ends. Returns how many, or -1 with errno. */
ssize_t lines_read_at (int fd, void *buffer, size_t size, uint64_t offset);

/* Calls `each` for every whole line of the file `name`, until it says false: EINVAL then. ENOENT:
 * there is no such file. */
typedef bool (*LinesFunc) (const char *line, void *user_data);
bool lines_each (int directory_fd, const char *name, LinesFunc each, void *user_data,
                 GError **error);

/* ---- subscriptions.c: which folders of a Maildir are subscribed ------------------------------ */

/* The names in the list, to be freed by the caller; none when there is no list. */
GHashTable *subscriptions_read (int directory_fd, GPtrArray *warnings, const char *where);
bool subscriptions_has (GHashTable *names, char *const *levels);

/* ---- keywords.c ------------------------------------------------------------------------------ */

/* A message's keywords as they are collected: valid, sorted, each once. */
typedef struct {
  GPtrArray *names; /* of char * */
  GString *text;
  bool full; /* so that a header full of keywords costs linear time */
} Keywords;

void keywords_init (Keywords *self);
void keywords_clear (Keywords *self);
void keywords_reset (Keywords *self);

/* The keyword made valid: bytes that an IMAP atom cannot have are written in modified UTF-7. NULL
 * when it is empty or far too long. */
char *keywords_make_valid (const char *name);

/* Adds a keyword, valid or not. False when it had to be left out: a message's state has to fit into
 * an attribute. */
bool keywords_add (Keywords *self, const char *name);

/* As StoreFacts wants them, NULL: none. Until the next reset. */
const char *keywords_text (Keywords *self);

/* ---- utf7.c: modified UTF-7 (RFC 3501, 5.1.3) ------------------------------------------------ */

/* NULL when `text` is not modified UTF-7 in its one valid spelling. */
char *utf7_decode (const char *text);

/* `direct` tells which printable ASCII characters, "&" apart, stand for themselves; `text` is
 * UTF-8. */
char *utf7_encode (const char *text, bool (*direct) (unsigned char byte));

/* ---- uidlist.c: what Dovecot and Courier keep beside a Maildir ------------------------------- */

typedef struct {
  const char *name; /* of the file; owned by who made it */
  uint32_t uid;     /* 0: not known */
  bool is_new;      /* lies in new/ */
} MaildirFile;

/* How long the part before ':' is: it stays the same when flags change. */
size_t maildir_base_length (const char *name);
int maildir_base_compare (const char *a, const char *b); /* as strcmp(3), of those parts */

/* For g_array_sort(): order of the part before ':', then of the whole name, then cur/ before new/.
 */
int maildir_file_compare (gconstpointer a, gconstpointer b);

/* The first of the `files`, sorted like that, whose name has the same part before ':'; or NULL. */
MaildirFile *maildir_file_find (GArray *files, const char *name);

/* What a folder's uidlist says. */
typedef struct {
  uint32_t uidvalidity, uidnext; /* 0: unknown */
} Uidlist;

/* Reads dovecot-uidlist or else courierimapuiddb in the folder's directory and gives the sorted
 * `files` their UIDs. Never fails: what makes no sense is a warning, `where` names the folder in
 * it. */
void uidlist_read (int directory_fd, GArray *files, Uidlist *out, GPtrArray *warnings,
                   const char *where);

/* Reads dovecot-keywords, likewise: names[N] is that of letter 'a' + N, NULL: none. Owned by the
 * caller. */
#define MAILDIR_KEYWORDS 26u
void uidlist_read_keywords (int directory_fd, char *names[MAILDIR_KEYWORDS], GPtrArray *warnings,
                            const char *where);

/* ---- postmark.c: the From_ line of an mbox --------------------------------------------------- */

/* Whether the line begins with "From ". */
bool postmark_begins (const char *line, size_t length);

/* The date at the end of a From_ line; without a zone it is UTC (RFC 4155). False when there is
 * none. */
bool postmark_date (const char *line, size_t length, int64_t *out_time_s);

/* ---- status.c: what mail programs note in the header of a message in an mbox ----------------- */

typedef struct {
  uint32_t flags;
  Keywords keywords;
  bool keywords_left_out;
  uint32_t uid;                   /* X-UID; 0: none */
  uint32_t uidvalidity, last_uid; /* X-IMAPbase, which stands in a file's first message; 0: none */
  bool has_internal_from, has_internal_subject; /* those of c-client's message that is no mail */
  int64_t date_s;                               /* Date: in UTC; INT64_MIN: none */
  uint64_t content_length;                      /* UINT64_MAX: none */
  bool in_keywords;                             /* a folded line goes on with keywords */
} MboxStatus;

void mbox_status_init (MboxStatus *self);
void mbox_status_clear (MboxStatus *self);
void mbox_status_reset (MboxStatus *self);

/* Takes the next line of a header. */
void mbox_status_line (MboxStatus *self, const char *line, size_t length);

/* ---- mboxscan.c ------------------------------------------------------------------------------ */

typedef struct {
  Lines lines;
  bool is_mboxrd;  /* then no Content-Length is believed */
  bool is_dated;   /* the first From_ line has a date, so all must have */
  uint64_t quoted; /* lines that begin with ">From ", ">>From " ... */

  /* The message found last: */
  uint64_t begin, end;
  int64_t postmark_s; /* the date of its From_ line; INT64_MIN: none */
  MboxStatus status;

  bool has_next; /* a From_ line was read; its message begins at: */
  uint64_t next_begin;
  int64_t next_postmark_s;
} MboxScan;

/* Whether the file begins with a From_ line, or with nothing at all. */
bool mbox_scan_is_mbox (int fd, bool *out_is_mbox, GError **error);
bool mbox_scan_is_quoted (const char *line, size_t length);

void mbox_scan_init (MboxScan *self);
void mbox_scan_clear (MboxScan *self);

/* Begins with the first `size` bytes of a file. */
bool mbox_scan_begin (MboxScan *self, int fd, uint64_t size, bool is_mboxrd, GError **error);

/* Finds the next message. Sets `*out_end` when there is none. */
bool mbox_scan_next (MboxScan *self, bool *out_end, GError **error);
