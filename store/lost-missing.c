/* SPDX-License-Identifier: Apache-2.0 */
/* Lost messages that have no file: what was noted of them when that was found, and rows that nobody
 * has held against the files yet. */
#include "store/evidence.h"
#include "store/lost.h"
#include "store/missing.h"

#include <string.h>

/* One mailbox, as far as there is anything of it. */
typedef struct {
  StoreMailbox *mailbox; /* NULL: its directory is gone */
  Handle *handle;        /* NULL: there is no index to ask */
  bool behind;           /* the index has rows that may have no file */
} Place;

static void
place_clear (Place *self)
{
  g_clear_pointer (&self->mailbox, store_mailbox_unref);
  g_clear_pointer (&self->handle, handle_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Place, place_clear)

/* ---- mailboxes of evidence whose directory is gone ------------------------------------------ */

static bool
add_gone (Store *store, uint32_t owner, GHashTable *gone, GError **error)
{
  g_autoptr (Handle) handle = cache_index (store, owner, false, NULL);
  g_autoptr (GArray) numbers = handle != NULL ? index_mailbox_numbers (handle->index, NULL) : NULL;
  for (guint i = 0; numbers != NULL && i < numbers->len; i++) {
    g_autoptr (GError) failure = NULL;
    g_auto (StoreNode) node = {0};
    uint32_t number = g_array_index (numbers, uint32_t, i);
    if (store_node_get (store, number, &node, &failure))
      continue;
    if (failure->code != ENOENT) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
    g_hash_table_insert (gone, GUINT_TO_POINTER (number), GUINT_TO_POINTER (owner));
  }
  return true;
}

/* The list of evidence is made of its directories, so it does not have these; but the indexes do.
 */
static GHashTable *
find_gone (Store *store, GError **error)
{
  g_autoptr (GHashTable) gone = g_hash_table_new (NULL, NULL);
  StoreNode page[64];
  size_t count = 1;
  for (uint32_t from = 0; count > 0;) {
    if (!node_listed_from (store, from, page, G_N_ELEMENTS (page), &count, error))
      return NULL;
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
      if (page[i].kind == STORE_NODE_USER || page[i].kind == STORE_NODE_SHARED)
        good = add_gone (store, page[i].number, gone, error);
      from = page[i].number + 1;
    }
    store_nodes_clear (page, count);
    if (!good)
      return NULL;
  }
  return g_steal_pointer (&gone);
}

/* They are looked for once: evidence does not change. */
static bool
learn_gone (Store *store, GError **error)
{
  Evidence *evidence = store->evidence;
  g_mutex_lock (&evidence->mutex);
  bool known = evidence->gone != NULL;
  g_mutex_unlock (&evidence->mutex);
  g_autoptr (GHashTable) gone = known ? NULL : find_gone (store, error);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&evidence->mutex);
  if (evidence->gone == NULL)
    evidence->gone = g_steal_pointer (&gone);
  return evidence->gone != NULL;
}

/* Which index a mailbox is in whose directory is gone; 0: none, or the store is no evidence. */
static uint32_t
owner_of_gone (Store *store, uint32_t number)
{
  if (store->evidence == NULL || !learn_gone (store, NULL))
    return 0;
  return GPOINTER_TO_UINT (g_hash_table_lookup (store->evidence->gone, GUINT_TO_POINTER (number)));
}

static bool
add_gone_numbers (Store *store, GArray *out, GError **error)
{
  GHashTableIter iter;
  gpointer key;
  if (store->evidence == NULL)
    return true;
  if (!learn_gone (store, error))
    return false;
  g_hash_table_iter_init (&iter, store->evidence->gone);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    uint32_t number = GPOINTER_TO_UINT (key);
    g_array_append_val (out, number);
  }
  uids_sort (out);
  return true;
}

/* ---- one mailbox ---------------------------------------------------------------------------- */

static void
open_place (Store *store, uint32_t number, Place *out)
{
  g_auto (StoreNode) node = {0};
  uint32_t owner = owner_of_gone (store, number);
  if (owner != 0) {
    out->handle = cache_index (store, owner, false, NULL);
    out->behind = out->handle != NULL;
    return;
  }
  if (!store_node_get (store, number, &node, NULL) || node.kind != STORE_NODE_MAILBOX)
    return;
  out->mailbox = store_mailbox_open (store, number, NULL);
  out->handle = cache_index (store, node.owner, false, NULL);
  /* What is left of broken ones is of another kind. */
  if (out->handle != NULL && index_is_salvaged (out->handle->index))
    g_clear_pointer (&out->handle, handle_unref);
  out->behind = out->handle != NULL && (out->mailbox == NULL || mailbox_is_behind (out->mailbox));
}

static bool
has_file (const Place *place, uint32_t uid)
{
  return place->mailbox != NULL && missing_is_back (place->mailbox, uid);
}

/* Adds the next rows above `after` that have no file. */
static bool
add_rows (const Place *place, uint32_t number, uint32_t after, size_t capacity, GArray *out,
          GError **error)
{
  IndexMessage page[256];
  size_t found = 0, count = 1;
  while (place->behind && count > 0 && found < capacity) {
    if (!index_message_page (place->handle->index, number, after, INDEX_LIVE, page,
                             G_N_ELEMENTS (page), &count, error))
      return false;
    for (size_t i = 0; i < count; i++) {
      after = page[i].uid;
      if (!has_file (place, after)) {
        g_array_append_val (out, after);
        found++;
      }
    }
    index_messages_clear (page, count);
  }
  return true;
}

static bool
add_noted (Store *store, const Place *place, uint32_t number, uint32_t after, size_t capacity,
           GArray *out, GError **error)
{
  g_autoptr (GArray) uids = missing_uids (store, number, error);
  size_t found = 0;
  if (uids == NULL)
    return false;
  for (guint i = uids_first_above (uids, after); i < uids->len && found < capacity; i++) {
    if (has_file (place, g_array_index (uids, uint32_t, i)))
      continue;
    g_array_append_val (out, g_array_index (uids, uint32_t, i));
    found++;
  }
  return true;
}

/* What is known of one; the newer of line and row. What only a row tells nobody has missed yet:
 * then
 * `*out_missed_s` is 0. */
static bool
find_facts (Store *store, const Place *place, uint32_t number, uint32_t uid, IndexMessage *out,
            IndexSummary *out_summary, const char **out_source, int64_t *out_missed_s,
            GError **error)
{
  bool found = false;
  *out_source = NULL;
  *out_missed_s = 0;
  if (place->behind) {
    bool live = index_message_get (place->handle->index, number, uid, out, &found, NULL) && found;
    if (live && out->expunged == 0) {
      *out_source = "row";
      if (!index_summary_get (place->handle->index, number, uid, out_summary, &found, NULL))
        *out_summary = (IndexSummary){.sent_s = INT64_MIN};
      return true;
    }
    if (live)
      index_message_clear (out);
  }
  if (!missing_get (store, number, uid, out_missed_s, out, out_summary, &found, error))
    return false;
  *out_source = found ? "record" : NULL;
  return true;
}

static bool
look_at (Store *store, const Place *place, uint32_t number, uint32_t uid, StoreLost *out,
         bool *out_found, GError **error)
{
  g_auto (IndexMessage) row = {0};
  g_auto (IndexSummary) summary = {0};
  const char *source;
  int64_t missed_s;
  *out_found = false;
  if (has_file (place, uid))
    return true;
  if (!find_facts (store, place, number, uid, &row, &summary, &source, &missed_s, error))
    return false;
  if (source == NULL)
    return true;
  char name[STORE_NAME_SIZE];
  store_message_name (uid, name);
  g_autofree char *path = store_node_path (store, number, NULL);
  *out = lost_message (STORE_LOST_MISSING, number, uid);
  out->size = row.size;
  out->path = path != NULL ? g_build_filename (path, name, NULL) : g_strdup (name);
  *out_found = true;
  return true;
}

/* The next UIDs above `after` that there may be something of, as many as are wanted. NULL and an
 * error. */
static GArray *
next_uids (Store *store, const Place *place, uint32_t number, uint32_t after, size_t wanted,
           GError **error)
{
  g_autoptr (GArray) uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  if (!add_noted (store, place, number, after, wanted, uids, error) ||
      !add_rows (place, number, after, wanted, uids, error))
    return NULL;
  uids_sort (uids);
  if (uids->len > wanted)
    g_array_set_size (uids, (guint)wanted);
  return g_steal_pointer (&uids);
}

/* Adds what there is of the next of them; `*after` is the last, or 0 when there are none. */
static bool
add_next (Store *store, const Place *place, uint32_t number, uint32_t *after, StoreLost *out,
          size_t capacity, size_t *count, GError **error)
{
  g_autoptr (GArray) uids = next_uids (store, place, number, *after, capacity - *count, error);
  *after = 0;
  for (guint i = 0; uids != NULL && i < uids->len; i++) {
    bool found;
    *after = g_array_index (uids, uint32_t, i);
    if (!look_at (store, place, number, *after, &out[*count], &found, error))
      return false;
    *count += found;
  }
  return uids != NULL;
}

/* Lines that make no sense are passed over; there may be many in a row. */
static bool
page_missing (Store *store, uint32_t number, const char *after, StoreLost *out, size_t capacity,
              size_t *out_count, GError **error)
{
  g_auto (Place) place = {0};
  uint32_t last = after != NULL ? store_message_uid (after) : 0;
  size_t count = 0;
  open_place (store, number, &place);
  do {
    if (!add_next (store, &place, number, &last, out, capacity, &count, error)) {
      store_losts_clear (out, count);
      return false;
    }
  } while (last != 0 && count < capacity);
  *out_count = count;
  return true;
}

static bool
find_missing (Store *store, uint32_t number, const char *rest, StoreLost *out, bool *out_found,
              GError **error)
{
  g_auto (Place) place = {0};
  uint32_t uid = store_message_uid (rest);
  if (uid == 0)
    return true;
  open_place (store, number, &place);
  return look_at (store, &place, number, uid, out, out_found, error);
}

/* Mailboxes that are on the list, and those that are not any more, but were missed something of. */
static bool
list_numbers (Store *store, uint32_t from, uint32_t *out, size_t capacity, size_t *out_count,
              GError **error)
{
  g_autofree StoreNode *page = g_new0 (StoreNode, capacity);
  g_autoptr (GArray) noted = missing_numbers (store, error);
  size_t listed = 0, count = 0;
  if (noted == NULL || !add_gone_numbers (store, noted, error) ||
      !node_listed_from (store, from, page, capacity, &listed, error))
    return false;
  guint next = from > 0 ? uids_first_above (noted, from - 1) : 0;
  for (size_t i = 0; count < capacity && (i < listed || next < noted->len);) {
    uint32_t node = i < listed ? page[i].number : UINT32_MAX;
    uint32_t line = next < noted->len ? g_array_index (noted, uint32_t, next) : UINT32_MAX;
    /* Behind a full page of nodes there are more, which come before such a line. */
    if (node == UINT32_MAX && listed == capacity)
      break;
    out[count++] = MIN (node, line);
    next += line <= node;
    i += node <= line;
  }
  store_nodes_clear (page, listed);
  *out_count = count;
  return true;
}

static bool
learn_missing (Store *store, const StoreLost *lost, LostFacts *out, GError **error)
{
  g_auto (Place) place = {0};
  g_auto (IndexMessage) row = {0};
  g_auto (IndexSummary) summary = {0};
  const char *source;
  open_place (store, lost->number, &place);
  if (!find_facts (store, &place, lost->number, lost->uid, &row, &summary, &source, &out->missed_s,
                   error))
    return false;
  if (source == NULL)
    return fail (error, ENOENT, "'%s' is gone", lost->name);
  lost_take_row (&row, source, out);
  lost_take_summary (&summary, row.size, source, out);
  return true;
}

/* First the line is dropped, then the row: that would be noted once more. */
static bool
remove_missing (Store *store, const StoreLost *lost, GError **error)
{
  g_auto (Place) place = {0};
  g_autoptr (Handle) handle = NULL;
  open_place (store, lost->number, &place);
  auto_fd lock = place.mailbox != NULL ? lock_mailbox (place.mailbox, error) : -1;
  if ((place.mailbox != NULL && lock < 0) ||
      !missing_forget (store, lost->number, lost->uid, error))
    return false;
  if (place.mailbox == NULL || !place.behind)
    return true;
  g_autoptr (IndexWrite) write = mailbox_write_begin (place.mailbox, &handle, error);
  return write != NULL &&
         index_write_remove_message (write, lost->number, lost->uid, false, error) &&
         index_write_commit (write, error);
}

const LostKind lost_missing = {.numbers = list_numbers,
                               .page = page_missing,
                               .find = find_missing,
                               .learn = learn_missing,
                               .remove = remove_missing,
                               .why = "its file is gone"};
