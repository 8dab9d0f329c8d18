/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.h - readers of foreign mail: one StoreFormat each.
 *
 *   const StoreFormat *format = source_format_find ("maildir");
 *   Source *source = format->open (path, warnings, &error);
 *   while (format->next (source, &message, &end, &error) && !end)
 *     ...
 *   format->close (source);
 *
 * A source is read once from its first folder to its last, in an order that depends on what is in
 * it only. What a reader cannot make sense of it adds to `warnings` and goes on; it fails only when
 * the source as a whole cannot be read. A source is never changed, and no symbolic link inside it
 * is followed. Only one thread uses a source; message contents may be read by others, see below.
 */
#pragma once

#include "store/commands.h"

typedef struct Source Source;

/* A folder announces itself first, then come its messages. */
typedef enum {
  SOURCE_FOLDER,     /* folder, uidvalidity, uidnext and subscribed are set */
  SOURCE_FILE,       /* a message: the whole file `name` in `directory_fd` */
  SOURCE_BYTES,      /* a message: `content` */
  SOURCE_UNREADABLE, /* a message that is there but cannot be had; the warnings say why */
} SourceKind;

/* Strings and the descriptor belong to the source and live until the next source_next(); who needs
 * the file longer duplicates the descriptor. */
typedef struct {
  SourceKind kind;
  const char *const
      *folder;          /* mailbox name level by level, UTF-8, NULL-terminated; { "INBOX", NULL } */
  uint32_t uidvalidity; /* of the folder; 0: unknown */
  uint32_t uidnext;     /* likewise */
  bool subscribed;      /* the folder is; false: not, or unknown */
  StoreFacts facts;     /* flags, keywords, internal date, UID (0: unknown) */
  int directory_fd;
  const char *name;
  GBytes *content;   /* owned by the receiver */
  const char *where; /* path or position in the source, for warnings */
} SourceMessage;

typedef struct {
  const char *name; /* "maildir" */
  Source *(*open) (const char *path, GPtrArray *warnings, GError **error);
  /* Sets `*out_end` at the end. */
  bool (*next) (Source *self, SourceMessage *out, bool *out_end, GError **error);
  /* How much there is and how much has been read, in messages or bytes: for progress only. */
  void (*progress) (const Source *self, StoreProgress *out);
  void (*close) (Source *self);
  /* Looks again for the file of a message that was not there any more when it was to be read: in a
   * Maildir every change of flags renames it. Any thread. On success the caller owns both outputs.
   * NULL: files of this format keep their names. */
  bool (*find) (int directory_fd, const char *name, int *out_directory_fd, char **out_name);
} StoreFormat;

/* How many folders and files could not be read, nobody knows how many messages they hold; the
 * warnings say why. Final when the source is at its end. */
uint64_t source_lost (const Source *self);

/* Adds a line, made printable. Past SOURCE_WARNINGS_MAX lines one more says that there were more.
 */
#define SOURCE_WARNINGS_MAX 10000u
void source_warn (GPtrArray *warnings, const char *format, ...) G_GNUC_PRINTF (2, 3);

extern const StoreFormat source_eml;     /* a message file, or a directory tree of *.eml files */
extern const StoreFormat source_maildir; /* a Maildir, with Maildir++ folders */
extern const StoreFormat source_mbox;    /* an mbox file, or a directory tree of them */
extern const StoreFormat source_mboxrd;  /* likewise; lines quoted as >From are unquoted */

/* NULL when there is none of that name. */
const StoreFormat *source_format_find (const char *name);
