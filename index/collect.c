/* SPDX-License-Identifier: Apache-2.0 */
/* What is left in a broken database, put together in a sound one. */
#include "index/salvage.h"

/* Rows a transaction. */
#define ROWS_MAX 2000u

typedef struct {
  Index *index;
  IndexWrite *write; /* NULL: none has begun */
  unsigned rows;     /* in it */
} Collection;

static bool
end_write (Collection *self, GError **error)
{
  bool good = self->write == NULL || index_write_commit (self->write, error);
  g_clear_pointer (&self->write, index_write_free);
  self->rows = 0;
  return good;
}

/* Of two versions the higher numbers count: none of them ever falls. */
static bool
add_mailbox (Collection *self, const IndexMailbox *found, GError **error)
{
  IndexMailbox row = {0};
  bool known;
  if (!index_write_get_mailbox (self->write, found->number, &row, &known, error))
    return false;
  row.number = found->number;
  row.uidvalidity = MAX (row.uidvalidity, found->uidvalidity);
  row.uidnext = MAX (row.uidnext, found->uidnext);
  row.highestmodseq = MAX (row.highestmodseq, found->highestmodseq);
  row.last_repair_s = MAX (row.last_repair_s, found->last_repair_s);
  row.directory_ns = 0;
  return index_write_mailbox (self->write, &row, error);
}

/* The newest version counts; of two with one modseq the first. */
static bool
add_message (Collection *self, uint32_t mailbox, const IndexMessage *found, GError **error)
{
  g_auto (IndexMessage) row = {0};
  IndexMailbox none = {.number = mailbox};
  bool known;
  if (!index_write_get_message (self->write, mailbox, found->uid, &row, &known, error))
    return false;
  if (known && row.modseq >= found->modseq)
    return true;
  return add_mailbox (self, &none, error) &&
         index_write_message (self->write, mailbox, found, NULL, error);
}

static bool
add_row (SalvageRow *row, void *data, GError **error)
{
  Collection *self = data;
  if (self->rows++ == ROWS_MAX && !end_write (self, error))
    return false;
  if (self->write == NULL && (self->write = index_write_begin (self->index, error)) == NULL)
    return false;
  switch (row->kind) {
  case SALVAGE_MAILBOX: return add_mailbox (self, &row->mailbox, error);
  case SALVAGE_MESSAGE: return add_message (self, row->number, &row->message, error);
  case SALVAGE_SUMMARY:
    return write_summary (self->write, row->number, row->uid, &row->summary, error);
  case SALVAGE_NODE: break; /* of another database; not ours to keep */
  }
  return true;
}

bool
index_salvage (Index *self, const char *path, IndexSalvage *out, GError **error)
{
  Collection collection = {.index = self};
  bool good = salvage_read (path, self != NULL ? add_row : NULL, &collection, out, error) &&
              end_write (&collection, error);
  g_clear_pointer (&collection.write, index_write_free);
  return good;
}

bool
index_salvage_evidence (Index *self, const IndexEvidence *from, IndexSalvage *out, GError **error)
{
  Collection collection = {.index = self};
  bool good = salvage_read_evidence (from, add_row, &collection, out, error) &&
              end_write (&collection, error);
  g_clear_pointer (&collection.write, index_write_free);
  return good;
}

typedef struct {
  uint32_t number;
  IndexMailbox row;
  bool found;
} Wanted;

static bool
pick_mailbox (SalvageRow *row, void *data, GError **error)
{
  Wanted *wanted = data;
  if (row->kind != SALVAGE_MAILBOX || row->mailbox.number != wanted->number)
    return true;
  IndexMailbox *kept = &wanted->row;
  wanted->found = true;
  kept->number = wanted->number;
  kept->uidvalidity = MAX (kept->uidvalidity, row->mailbox.uidvalidity);
  kept->uidnext = MAX (kept->uidnext, row->mailbox.uidnext);
  kept->highestmodseq = MAX (kept->highestmodseq, row->mailbox.highestmodseq);
  return true;
}

bool
index_salvage_mailbox (const char *path, uint32_t number, IndexMailbox *out, bool *out_found,
                       GError **error)
{
  Wanted wanted = {.number = number};
  if (!salvage_read (path, pick_mailbox, &wanted, NULL, error))
    return false;
  if (wanted.found)
    *out = wanted.row;
  *out_found = wanted.found;
  return true;
}

static bool
add_node (SalvageRow *row, void *data, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (row->kind != SALVAGE_NODE || list_write_new_node (data, &row->node, &failure) ||
      failure->code == EEXIST)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

bool
list_salvage (List *self, const char *path, IndexSalvage *out, GError **error)
{
  g_autoptr (ListWrite) write = list_write_begin (self, error);
  return write != NULL && salvage_read (path, add_node, write, out, error) &&
         list_write_commit (write, error);
}

bool
list_salvage_evidence (List *self, const IndexEvidence *from, IndexSalvage *out, GError **error)
{
  g_autoptr (ListWrite) write = list_write_begin (self, error);
  return write != NULL && salvage_read_evidence (from, add_node, write, out, error) &&
         list_write_commit (write, error);
}
