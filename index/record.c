/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - records of our tables, out of bytes that may be anything. Section numbers are those of
 * https://www.sqlite.org/fileformat.html.
 *
 * Nothing is believed: a record counts only when its columns have just the types of one of our
 * tables, fill just the payload, and hold values that we could have written.
 */
#include "index/salvage.h"

#include <string.h>

/* ---- numbers (1.6, "varint"; 2.1, serial types) -------------------------------------------- */

uint64_t
salvage_be (const uint8_t *bytes, size_t count)
{
  uint64_t value = 0;
  for (size_t i = 0; i < count; i++)
    value = value << 8 | bytes[i];
  return value;
}

size_t
salvage_varint (const uint8_t *at, const uint8_t *end, uint64_t *out)
{
  uint64_t value = 0;
  for (size_t i = 0; i < 9 && at + i < end; i++) {
    value = i < 8 ? value << 7 | (at[i] & 0x7f) : value << 8 | at[i];
    if (i == 8 || at[i] < 0x80) {
      *out = value;
      return i + 1;
    }
  }
  return 0;
}

static uint64_t
column_size (uint64_t type)
{
  static const uint8_t sizes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
  return type < 10 ? sizes[type] : (type - 12) / 2;
}

static int64_t
column_int (const SalvageColumn *column)
{
  if (column->size == 0)
    return column->type == 9;
  uint64_t value = salvage_be (column->bytes, column->size);
  unsigned unused = 64 - 8 * (unsigned)column->size;
  return (int64_t)(value << unused) >> unused;
}

static bool
is_int (const SalvageColumn *column)
{
  return (column->type >= 1 && column->type <= 6) || column->type == 8 || column->type == 9;
}

static bool
is_text (const SalvageColumn *column)
{
  return column->type >= 13 && column->type % 2 == 1;
}

bool
salvage_parse (const uint8_t *payload, size_t local, uint64_t total, SalvageRecord *out)
{
  uint64_t header;
  size_t at = salvage_varint (payload, payload + local, &header);
  if (at == 0 || header > local || header > total)
    return false;
  uint64_t body = header;
  out->count = 0;
  while (at < header) {
    uint64_t type;
    size_t used = salvage_varint (payload + at, payload + header, &type);
    if (used == 0 || out->count == SALVAGE_COLUMNS_MAX || type == 10 || type == 11)
      return false;
    SalvageColumn *column = &out->columns[out->count++];
    *column = (SalvageColumn){.type = type, .size = column_size (type)};
    if (column->size > total - body)
      return false;
    column->bytes = body + column->size <= local ? payload + body : NULL;
    body += column->size;
    at += used;
  }
  return at == header && body == total;
}

/* ---- which table --------------------------------------------------------------------------- */

/* The columns of our tables (schema.c), in this version and the one before: n the row's own number,
 * which is kept as the rowid; i an integer, I one or NULL; t a text, T one or NULL; d a digest. No
 * two of them can be confused. */
static const struct {
  SalvageKind kind;
  const char *columns;
} tables[] = {
    {SALVAGE_MAILBOX, "niiiiiiiiiii"}, {SALVAGE_MAILBOX, "niiiiiiiiii"},
    {SALVAGE_MESSAGE, "niiiiiiiiT"},   {SALVAGE_SUMMARY, "ndItt"},
    {SALVAGE_NODE, "niiiitTTi"},       {SALVAGE_NODE, "niiiitTT"},
};

static bool
fits (const SalvageRecord *record, const char *pattern)
{
  if (strlen (pattern) != record->count)
    return false;
  for (size_t i = 0; i < record->count; i++) {
    const SalvageColumn *column = &record->columns[i];
    bool null = column->type == 0;
    bool good = false;
    switch (pattern[i]) {
    case 'n': good = null; break;
    case 'i': good = is_int (column); break;
    case 'I': good = null || is_int (column); break;
    case 't': good = is_text (column); break;
    case 'T': good = null || is_text (column); break;
    case 'd': good = column->type == 12 + 2 * 32; break;
    }
    if (!good)
      return false;
  }
  return true;
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* The values of `count` columns from `first` on, each from 0 to its `max`. */
static bool
take_numbers (const SalvageRecord *record, size_t first, size_t count, const int64_t *max,
              int64_t *out)
{
  for (size_t i = 0; i < count; i++) {
    out[i] = column_int (&record->columns[first + i]);
    if (out[i] < 0 || out[i] > max[i])
      return false;
  }
  return true;
}

/* Text without control bytes; NULL stays NULL. */
static bool
take_text (const SalvageColumn *column, char **out)
{
  if (column->type == 0)
    return true;
  g_autofree char *text = g_strndup ((const char *)column->bytes, column->size);
  if (*text == '\0' || strlen (text) != column->size || !g_utf8_validate (text, -1, NULL))
    return false;
  for (const char *c = text; *c != '\0'; c++) {
    if ((unsigned char)*c < ' ' || *c == 0x7f)
      return false;
  }
  *out = g_steal_pointer (&text);
  return true;
}

static bool
take_mailbox (const SalvageRecord *record, uint64_t rowid, SalvageRow *out)
{
  static const int64_t max[] = {UINT32_MAX, UINT32_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
  int64_t values[G_N_ELEMENTS (max)];
  if (rowid == 0 || rowid > SALVAGE_NUMBER_MAX ||
      !take_numbers (record, 1, G_N_ELEMENTS (max), max, values))
    return false;
  out->mailbox = (IndexMailbox){.number = (uint32_t)rowid,
                                .uidvalidity = (uint32_t)values[0],
                                .uidnext = (uint32_t)values[1],
                                .highestmodseq = (uint64_t)values[2],
                                .directory_ns = values[3],
                                .last_repair_s = values[4]};
  return true;
}

/* Whether a row of that id can be a message's. */
static bool
take_id (uint64_t rowid, SalvageRow *out)
{
  out->number = (uint32_t)(rowid >> 32);
  out->uid = (uint32_t)rowid;
  return rowid >> 32 >= 1 && rowid >> 32 <= SALVAGE_NUMBER_MAX && out->uid > 0;
}

static bool
take_message (const SalvageRecord *record, uint64_t rowid, SalvageRow *out)
{
  static const int64_t max[] = {0x1f, 0x1f, UINT32_MAX, UINT32_MAX, INT64_MAX, INT64_MAX};
  int64_t values[G_N_ELEMENTS (max)];
  if (!take_id (rowid, out) || !take_numbers (record, 1, G_N_ELEMENTS (max), max, values))
    return false;
  out->message = (IndexMessage){.uid = out->uid,
                                .flags = (uint32_t)values[0],
                                .damage = (uint32_t)values[1],
                                .birth = (uint32_t)values[2],
                                .expunged = (uint32_t)values[3],
                                .size = (uint64_t)values[4],
                                .modseq = (uint64_t)values[5],
                                .internal_s = column_int (&record->columns[7]),
                                .changed_ns = column_int (&record->columns[8])};
  return take_text (&record->columns[9], &out->message.keywords);
}

/* A text of ours that is one list in parentheses (RFC 3501); "" where it is lost or was damaged. */
static char *
take_list (const SalvageColumn *column)
{
  g_autofree char *text = NULL;
  bool good = column->bytes != NULL && take_text (column, &text) && text[0] == '(' &&
              g_str_has_suffix (text, ")");
  return good ? g_steal_pointer (&text) : g_strdup ("");
}

static bool
take_summary (const SalvageRecord *record, uint64_t rowid, SalvageRow *out)
{
  const SalvageColumn *columns = record->columns;
  if (!take_id (rowid, out) || columns[1].bytes == NULL)
    return false;
  memcpy (out->summary.sha256, columns[1].bytes, sizeof out->summary.sha256);
  bool dated = columns[2].type != 0 && (columns[2].size == 0 || columns[2].bytes != NULL);
  out->summary.sent_s = dated ? column_int (&columns[2]) : INT64_MIN;
  out->summary.envelope = take_list (&columns[3]);
  out->summary.bodystructure = take_list (&columns[4]);
  return true;
}

static bool
take_node (const SalvageRecord *record, uint64_t rowid, SalvageRow *out)
{
  static const int64_t max[] = {SALVAGE_NUMBER_MAX, SALVAGE_NUMBER_MAX, LIST_MAILBOX, 1};
  int64_t values[G_N_ELEMENTS (max)];
  if (rowid == 0 || rowid > SALVAGE_NUMBER_MAX ||
      !take_numbers (record, 1, G_N_ELEMENTS (max), max, values) || values[2] == LIST_ROOT)
    return false;
  out->node = (ListNode){.number = (uint32_t)rowid,
                         .parent = (uint32_t)values[0],
                         .owner = (uint32_t)values[1],
                         .kind = (ListKind)values[2],
                         .subscribed = values[3] != 0,
                         .no_index = record->count > 8 && column_int (&record->columns[8]) != 0};
  return take_text (&record->columns[5], &out->node.name) && strchr (out->node.name, '/') == NULL &&
         take_text (&record->columns[6], &out->node.full_name) &&
         take_text (&record->columns[7], &out->node.special_use);
}

void
salvage_row_clear (SalvageRow *row)
{
  index_message_clear (&row->message);
  index_summary_clear (&row->summary);
  list_node_clear (&row->node);
}

bool
salvage_find_table (const SalvageRecord *record, SalvageKind *out)
{
  for (size_t i = 0; i < G_N_ELEMENTS (tables); i++) {
    if (fits (record, tables[i].columns)) {
      *out = tables[i].kind;
      return true;
    }
  }
  return false;
}

bool
salvage_take (const SalvageRecord *record, uint64_t rowid, SalvageRow *out)
{
  static bool (*const takers[]) (const SalvageRecord *, uint64_t, SalvageRow *) = {
      [SALVAGE_MAILBOX] = take_mailbox,
      [SALVAGE_MESSAGE] = take_message,
      [SALVAGE_SUMMARY] = take_summary,
      [SALVAGE_NODE] = take_node,
  };
  return takers[out->kind](record, rowid, out);
}
