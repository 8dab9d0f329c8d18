/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.h - readers of foreign mail: one StoreFormat each.
 *
 * A source is read once from its first message to its last. What a reader cannot make sense of it adds
 * to `warnings` and goes on; it fails only when the source as a whole cannot be read. A source is never
 * changed. Only one thread uses a source; message contents may be read by others, see below.
 */
#pragma once

#include "store/store.h"

typedef struct Source Source;

/* A message of a source. Strings and bytes belong to the source and live until the next
 * source_next() or until `content` is released. */
typedef struct {
  const char *const *folder; /* mailbox name level by level, UTF-8, NULL-terminated; { "INBOX", NULL } */
  uint32_t uidvalidity;      /* of the folder; 0: unknown */
  uint32_t uidnext;          /* likewise */
  StoreFacts facts;          /* flags, keywords, internal date, UID (0: unknown) */
  int directory_fd;          /* >= 0: the message is the whole file `name` in this directory */
  const char *name;
  GBytes *content;           /* else its bytes; owned by the receiver */
  const char *where;         /* path or position in the source, for warnings */
} SourceMessage;

typedef struct {
  const char *name; /* "maildir" */
  Source *(*open) (const char *path, GPtrArray *warnings, GError **error);
  /* Sets `*out_end` at the end. */
  bool (*next) (Source *self, SourceMessage *out, bool *out_end, GError **error);
  /* How much there is and how much has been read, in messages or bytes: for progress only. */
  void (*progress) (const Source *self, StoreProgress *out);
  void (*close) (Source *self);
} StoreFormat;

extern const StoreFormat source_eml;     /* a message file, or a directory tree of *.eml files */
extern const StoreFormat source_maildir; /* a Maildir, with Maildir++ folders */
extern const StoreFormat source_mbox;    /* an mbox file, or a directory tree of them */

/* NULL when there is none of that name. */
const StoreFormat *source_format_find (const char *name);
