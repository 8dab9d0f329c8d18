/* SPDX-License-Identifier: Apache-2.0 */
/*
 * salvage.h - the rows that are left in a broken database, one by one: record.c knows records and
 * our tables, salvage.c pages and files, and collect.c puts together what they find.
 */
#pragma once

#include "index/internal.h"

#define SALVAGE_NUMBER_MAX ((1 << 24) - 1)

typedef enum { SALVAGE_MAILBOX, SALVAGE_MESSAGE, SALVAGE_SUMMARY, SALVAGE_NODE } SalvageKind;

typedef struct {
  SalvageKind kind;
  uint32_t number, uid; /* of a message or summary */
  IndexMailbox mailbox; /* without counts */
  IndexMessage message;
  IndexSummary summary; /* texts that are lost, or make no sense, are "" */
  ListNode node;
} SalvageRow;

void salvage_row_clear (SalvageRow *row);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (SalvageRow, salvage_row_clear)

/* ---- record.c ------------------------------------------------------------------------------ */

#define SALVAGE_COLUMNS_MAX 12

typedef struct {
  uint64_t type; /* serial type */
  uint64_t size;
  const uint8_t *bytes; /* NULL: not on this page */
} SalvageColumn;

typedef struct {
  SalvageColumn columns[SALVAGE_COLUMNS_MAX];
  size_t count;
} SalvageRecord;

uint64_t salvage_be (const uint8_t *bytes, size_t count);

/* Returns how many bytes a varint has; 0 when it does not end before `end`. */
size_t salvage_varint (const uint8_t *at, const uint8_t *end, uint64_t *out);

/* Takes a record apart of which the first `local` of `total` bytes are there. */
bool salvage_parse (const uint8_t *payload, size_t local, uint64_t total, SalvageRecord *out);

/* Which of our tables the record can be of, by the types of its columns. */
bool salvage_find_table (const SalvageRecord *record, SalvageKind *out);

/* Takes the values out of a record of the table `out->kind`. Of a summary the digest suffices,
 * of the others all must be there. */
bool salvage_take (const SalvageRecord *record, uint64_t rowid, SalvageRow *out);

/* ---- salvage.c ----------------------------------------------------------------------------- */

/* Gets a row; what it does not take out of it is freed. Returning false stops the reading. */
typedef bool (*SalvageSink) (SalvageRow *row, void *data, GError **error);

/* Reads the file at `path`, and a hot journal beside it, with a bounded amount of memory, whatever
 * their bytes are. A row may come more than once, and in several versions. A NULL `sink` only
 * counts. EISDIR, ELOOP and EUCLEAN for what is no regular file. The file may be in use. */
bool salvage_read (const char *path, SalvageSink sink, void *data, IndexSalvage *out,
                   GError **error);

/* The same of what the descriptors show. */
bool salvage_read_evidence (const IndexEvidence *from, SalvageSink sink, void *data,
                            IndexSalvage *out, GError **error);

/* ---- collect.c ------------------------------------------------------------------------------ */

/* index_salvage() and list_salvage() of evidence. */
bool index_salvage_evidence (Index *self, const IndexEvidence *from, IndexSalvage *out,
                             GError **error);
bool list_salvage_evidence (List *self, const IndexEvidence *from, IndexSalvage *out,
                            GError **error);
