/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export-read.h - what store_export_write() wrote, read again: one mailbox after the other, so that
 * memory grows with the largest of them only.
 *
 *   g_autoptr (ExportReader) reader = export_reader_new (file, path, &error);
 *   g_auto (Told) told = { 0 };
 *   while (export_reader_next (reader, &told, &error) && told.path != NULL)
 *     ...
 */
#pragma once

#include "store/internal.h"

/* A message as it was. */
typedef struct {
  uint32_t uid, flags;
  char *keywords; /* NULL: none */
  int64_t internal_s;
  uint64_t modseq, size;
  uint8_t sha256[32]; /* zeros: not known */
} ToldMessage;

/* A directory as it was; `messages` and what stands beside it is NULL and 0 for what is no mailbox.
 */
typedef struct {
  char *path; /* below mail/ */
  uint32_t number;
  bool no_index, full_text; /* of a user */
  bool is_mailbox;
  uint32_t uidvalidity, uidnext;
  bool subscribed;
  const char *special_use;
  GArray *messages; /* of ToldMessage, by UID */
} Told;
void told_clear (Told *told);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Told, told_clear)

/* From the beginning of the file, which stays the caller's; `path` is what it is called. EINVAL: it
 * is no export. */
typedef struct ExportReader ExportReader;
ExportReader *export_reader_new (FILE *file, const char *path, GError **error);
void export_reader_free (ExportReader *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ExportReader, export_reader_free)

/* Fills in the next directory; one without a path is the end. EINVAL names the line that makes no
 * sense; EUCLEAN: the export ends before its end, and what came last may be cut off. */
bool export_reader_next (ExportReader *self, Told *out, GError **error);
