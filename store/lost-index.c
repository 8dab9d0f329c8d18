/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lost messages that only a broken index tells of: one that is damaged where it lies, one that a
 * rebuild has set aside and not come to the end of yet, or one that is kept as evidence. What is
 * left of all of a user's is put together once, and kept as long as the same one is asked for.
 *
 * It is for looking: a rebuild puts what can be known on files by itself, and keeps the rest in
 * missing/.
 */
#include "store/evidence.h"
#include "store/lost.h"
#include "store/missing.h"

#include <dirent.h>
#include <string.h>

/* Store.remains_mutex guards it. */
struct Remains {
  uint32_t owner;
  char *signature; /* of what it was made of */
  Index *index;    /* NULL: there is nothing */
};

void
remains_init (Store *store)
{
  g_mutex_init (&store->remains_mutex);
}

static void
forget (Store *store)
{
  Remains *self = g_steal_pointer (&store->remains);
  if (self == NULL)
    return;
  g_clear_pointer (&self->index, index_close);
  g_free (self->signature);
  g_free (self);
}

void
remains_clear (Store *store)
{
  forget (store);
  g_mutex_clear (&store->remains_mutex);
}

/* ---- where they are ------------------------------------------------------------------------ */

static void
add_signature (GString *signature, const char *path)
{
  struct stat st;
  if (lstat (path, &st) == 0)
    g_string_append_printf (signature, "%s %ju %jd %jd\n", path, (uintmax_t)st.st_ino,
                            (intmax_t)st.st_size, (intmax_t)stat_mtime_ns (&st));
}

/* Those that lie beside the index at `path` under other names. */
static void
list_aside (Store *store, const char *path, GPtrArray *out)
{
  g_autofree char *directory = g_path_get_dirname (path), *name = g_path_get_basename (path);
  g_autofree char *broken = g_strconcat (name, ".broken-", NULL);
  g_autofree char *damaged = g_strconcat (name, ".damaged-", NULL);
  g_autoptr (GPtrArray) names =
      layout_names (store->fd, directory + strlen (store->path) + 1, NULL);
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *other = names->pdata[i];
    bool beside = g_str_has_suffix (other, "-journal") || g_str_has_suffix (other, "-wal") ||
                  g_str_has_suffix (other, "-shm");
    if (!beside && (g_str_has_prefix (other, broken) || g_str_has_prefix (other, damaged)))
      g_ptr_array_add (out, g_build_filename (directory, other, NULL));
  }
}

/* Whether the index where it belongs is of no use. What a copy of evidence was salvaged from is. */
static bool
is_broken (Store *store, uint32_t owner)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) handle = cache_index (store, owner, false, &failure);
  return handle != NULL ? index_is_salvaged (handle->index) : is_index_broken (failure);
}

/* What is left of an owner's broken indexes, with the mutex held; its index may be NULL. */
static const Remains *
load (Store *store, uint32_t owner, GError **error)
{
  g_autofree char *node_path = store_node_path (store, owner, error);
  if (node_path == NULL)
    return NULL;
  g_autofree char *path = layout_index_path (store, node_path);
  g_autoptr (GPtrArray) aside = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GString) signature = g_string_new (NULL);
  bool broken = is_broken (store, owner);
  list_aside (store, path, aside);
  if (broken)
    add_signature (signature, path);
  for (guint i = 0; i < aside->len; i++)
    add_signature (signature, aside->pdata[i]);
  if (store->remains != NULL && store->remains->owner == owner &&
      strcmp (store->remains->signature, signature->str) == 0)
    return store->remains;
  forget (store);
  if (broken && store->evidence != NULL)
    g_ptr_array_add (aside, g_strdup (path));
  const char *in_use = broken && store->evidence == NULL ? path : NULL;
  g_autoptr (Index) index = NULL;
  if ((broken || aside->len > 0) && (index = evidence_gather (store, in_use, aside, error)) == NULL)
    return NULL;
  store->remains = g_new0 (Remains, 1);
  store->remains->owner = owner;
  store->remains->signature = g_strdup (signature->str);
  store->remains->index = g_steal_pointer (&index);
  return store->remains;
}

/* ---- their messages ------------------------------------------------------------------------ */

/* One mailbox, and what else may know of its messages. */
typedef struct {
  Store *store;
  uint32_t number;
  StoreMailbox *mailbox; /* NULL: its directory is gone */
  Handle *handle;        /* NULL: there is no sound index */
  GArray *missing;       /* NULL: none */
  Index *remains;        /* NULL: there is nothing */
} Place;

static void
place_clear (Place *self)
{
  g_clear_pointer (&self->mailbox, store_mailbox_unref);
  g_clear_pointer (&self->handle, handle_unref);
  g_clear_pointer (&self->missing, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Place, place_clear)

/* The mutex is held as long as the place is used. */
static bool
open_place (Store *store, uint32_t number, Place *out, GError **error)
{
  g_auto (StoreNode) node = {0};
  *out = (Place){.store = store, .number = number};
  if (!store_node_get (store, number, &node, error))
    return false;
  if (node.kind != STORE_NODE_MAILBOX)
    return true;
  const Remains *remains = load (store, node.owner, error);
  if (remains == NULL)
    return false;
  out->remains = remains->index;
  if (remains->index == NULL)
    return true;
  out->mailbox = store_mailbox_open (store, number, NULL);
  out->handle = cache_index (store, node.owner, false, NULL);
  if (out->handle != NULL && index_is_salvaged (out->handle->index))
    g_clear_pointer (&out->handle, handle_unref);
  out->missing = missing_uids (store, number, NULL);
  return true;
}

/* Whether nobody else knows of the message, nor that it was removed. */
static bool
is_only_here (const Place *place, uint32_t uid)
{
  g_auto (IndexMessage) row = {0};
  uint64_t modseq;
  bool found = false;
  if (place->mailbox != NULL && missing_is_back (place->mailbox, uid))
    return false;
  if (place->missing != NULL &&
      g_array_binary_search (place->missing, &uid, layout_compare_uids, NULL))
    return false;
  if (place->handle == NULL)
    return true;
  Index *index = place->handle->index;
  return !(index_message_get (index, place->number, uid, &row, &found, NULL) && found) &&
         !(index_removed_get (index, place->number, uid, &modseq, &found, NULL) && found);
}

static StoreLost
make_lost (const Place *place, const IndexMessage *row)
{
  char name[STORE_NAME_SIZE];
  StoreLost lost = lost_message (STORE_LOST_INDEX, place->number, row->uid);
  g_autofree char *path = store_node_path (place->store, place->number, NULL);
  store_message_name (row->uid, name);
  lost.size = row->size;
  lost.path = path != NULL ? g_build_filename (path, name, NULL) : g_strdup (name);
  return lost;
}

static bool
fill (const Place *place, uint32_t after, StoreLost *out, size_t capacity, size_t *count,
      GError **error)
{
  IndexMessage page[128];
  for (size_t there = 1; there > 0 && *count < capacity;) {
    if (!index_message_page (place->remains, place->number, after, INDEX_LIVE, page,
                             G_N_ELEMENTS (page), &there, error))
      return false;
    for (size_t i = 0; i < there && *count < capacity; i++) {
      after = page[i].uid;
      if (is_only_here (place, after))
        out[(*count)++] = make_lost (place, &page[i]);
    }
    index_messages_clear (page, there);
  }
  return true;
}

static bool
page_index (Store *store, uint32_t number, const char *after, StoreLost *out, size_t capacity,
            size_t *out_count, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->remains_mutex);
  g_auto (Place) place = {0};
  size_t count = 0;
  if (!open_place (store, number, &place, error))
    return false;
  if (place.remains != NULL &&
      !fill (&place, after != NULL ? store_message_uid (after) : 0, out, capacity, &count, error)) {
    store_losts_clear (out, count);
    return false;
  }
  *out_count = count;
  return true;
}

static bool
find_index (Store *store, uint32_t number, const char *rest, StoreLost *out, bool *out_found,
            GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->remains_mutex);
  g_auto (Place) place = {0};
  g_auto (IndexMessage) row = {0};
  uint32_t uid = store_message_uid (rest);
  bool found = false;
  if (uid == 0)
    return true;
  if (!open_place (store, number, &place, error) ||
      (place.remains != NULL &&
       !index_message_get (place.remains, number, uid, &row, &found, error)))
    return false;
  *out_found = found && row.expunged == 0 && is_only_here (&place, uid);
  if (*out_found)
    *out = make_lost (&place, &row);
  return true;
}

static bool
learn_index (Store *store, const StoreLost *lost, LostFacts *out, GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->remains_mutex);
  g_auto (Place) place = {0};
  g_auto (IndexMessage) row = {0};
  g_auto (IndexSummary) summary = {0};
  bool found = false;
  if (!open_place (store, lost->number, &place, error) ||
      (place.remains != NULL &&
       !index_message_get (place.remains, lost->number, lost->uid, &row, &found, error)))
    return false;
  if (!found)
    return fail (error, ENOENT, "'%s' is gone", lost->name);
  lost_take_row (&row, "salvaged row", out);
  if (index_summary_get (place.remains, lost->number, lost->uid, &summary, &found, NULL) && found)
    lost_take_summary (&summary, row.size, "salvaged row", out);
  return true;
}

static bool
remove_index (Store *store, const StoreLost *lost, GError **error)
{
  return fail (error, EINVAL, "'%s' is part of a broken index; a repair puts it among the missing",
               lost->name);
}

const LostKind lost_index = {.in_mailboxes = true,
                             .page = page_index,
                             .find = find_index,
                             .learn = learn_index,
                             .remove = remove_index,
                             .why = "only a broken index tells of it"};
