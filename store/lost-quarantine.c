/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was taken out of the store, among what is lost. Its names are STAMP/PATH, escaped, and all
 * stamps have one length: so the order of names is first that of stamps, and a listing goes through
 * one after the other. What one of them has is read when the listing comes to it, and kept as long
 * as it goes on there, however many pages that takes. Looking up a name takes no listing.
 */
#include "store/lost.h"

#include <string.h>

/* What was listed last. Store.removed_mutex guards it, but not what is in the arrays, which never
 * changes: who makes use of one has a reference. */
struct Removed {
  GPtrArray *stamps;
  char *stamp;
  GPtrArray *entries; /* what came there with that, in the order of names */
};

typedef struct {
  char *name;
  StoreQuarantined object;
} Entry;

static void
free_entry (gpointer data)
{
  Entry *entry = data;
  g_free (entry->object.path);
  g_free (entry->name);
  g_free (entry);
}

void
removed_init (Store *store)
{
  g_mutex_init (&store->removed_mutex);
  store->removed = g_new0 (Removed, 1);
}

void
removed_clear (Store *store)
{
  Removed *self = store->removed;
  g_clear_pointer (&self->stamps, g_ptr_array_unref);
  g_clear_pointer (&self->entries, g_ptr_array_unref);
  g_free (self->stamp);
  g_free (self);
  g_mutex_clear (&store->removed_mutex);
}

/* ---- listing ------------------------------------------------------------------------------- */

static GPtrArray *
list_stamps (Store *store, bool goes_on, GError **error)
{
  Removed *self = store->removed;
  g_mutex_lock (&store->removed_mutex);
  GPtrArray *stamps = goes_on && self->stamps != NULL ? g_ptr_array_ref (self->stamps) : NULL;
  g_mutex_unlock (&store->removed_mutex);
  if (stamps != NULL || (stamps = quarantine_stamps (store, error)) == NULL)
    return stamps;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->removed_mutex);
  g_clear_pointer (&self->stamps, g_ptr_array_unref);
  self->stamps = g_ptr_array_ref (stamps);
  return stamps;
}

static bool
add_entry (Store *store, const StoreQuarantined *object, void *data, GError **error)
{
  Entry *entry = g_new (Entry, 1);
  *entry = (Entry){lost_escape (object->path), *object};
  entry->object.path = g_strdup (object->path);
  g_ptr_array_add (data, entry);
  return true;
}

static gint
compare_entries (gconstpointer a, gconstpointer b)
{
  const Entry *first = *(Entry *const *)a, *second = *(Entry *const *)b;
  return strcmp (first->name, second->name);
}

static GPtrArray *
take_kept (Store *store, const char *stamp)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->removed_mutex);
  const Removed *self = store->removed;
  return g_strcmp0 (self->stamp, stamp) == 0 ? g_ptr_array_ref (self->entries) : NULL;
}

/* What came there with a stamp. */
static GPtrArray *
list_entries (Store *store, const char *stamp, bool goes_on, GError **error)
{
  GPtrArray *kept = goes_on ? take_kept (store, stamp) : NULL;
  if (kept != NULL)
    return kept;
  g_autoptr (GPtrArray) entries = g_ptr_array_new_with_free_func (free_entry);
  if (!quarantine_each_of (store, stamp, add_entry, entries, error))
    return NULL;
  g_ptr_array_sort (entries, compare_entries);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->removed_mutex);
  Removed *self = store->removed;
  g_free (self->stamp);
  self->stamp = g_strdup (stamp);
  g_clear_pointer (&self->entries, g_ptr_array_unref);
  self->entries = g_ptr_array_ref (entries);
  return g_steal_pointer (&entries);
}

/* The place of the first whose name is above `after`. */
static guint
first_above (const GPtrArray *entries, const char *after)
{
  guint low = 0, high = after != NULL ? entries->len : 0;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (strcmp (((const Entry *)entries->pdata[middle])->name, after) <= 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* ---- one of them --------------------------------------------------------------------------- */

/* Only what was in that directory of mail/; NULL: all. */
static bool
was_below (const StoreQuarantined *object, const char *below)
{
  const char *place = strchr (object->path, '/') + 1;
  size_t length = below != NULL ? strlen (below) : 0;
  return below == NULL || (strncmp (place, below, length) == 0 && place[length] == '/');
}

/* What the directory was called is known, which number it had is not, if it has gone. */
static uint32_t
number_of (Store *store, const char *place)
{
  g_autofree char *parent = g_path_get_dirname (place);
  g_auto (StoreNode) node = {0};
  return strcmp (parent, ".") != 0 && store_node_resolve (store, parent, &node, NULL) ? node.number
                                                                                      : STORE_ROOT;
}

/* `*out_found` is false when it is gone. A file that may not be looked at is there, without bytes.
 */
static void
make_lost (Store *store, const StoreQuarantined *object, StoreLost *out, bool *out_found)
{
  const char *place = strchr (object->path, '/') + 1;
  StoreLost lost = {
      .kind = STORE_LOST_QUARANTINE,
      .is_directory = object->is_directory,
      .number = number_of (store, place),
      .uid = object->is_directory ? 0 : store_message_uid (strrchr (object->path, '/') + 1),
      .ctime_ns = time_ns (&(struct timespec){.tv_sec = object->since_s}),
      .name = lost_escape (object->path),
      .path = g_strconcat ("../quarantine/", object->path, NULL)};
  StoreLost seen = lost;
  mode_t mode = 0;
  *out_found = !lost_stat (store, &seen, &mode, NULL) || mode != 0;
  if (!object->is_directory)
    lost = seen;
  else if (*out_found)
    lost.size = quarantine_size (store, object);
  if (*out_found)
    *out = lost;
  else
    store_lost_clear (&lost);
}

/* ---- pages --------------------------------------------------------------------------------- */

static bool
add_stamp (Store *store, const char *stamp, const char *after, const char *below, StoreLost *out,
           size_t capacity, size_t *count, GError **error)
{
  bool goes_on = after != NULL && g_str_has_prefix (after, stamp);
  g_autoptr (GPtrArray) entries = list_entries (store, stamp, goes_on, error);
  if (entries == NULL)
    return false;
  for (guint i = first_above (entries, after); i < entries->len && *count < capacity; i++) {
    const Entry *entry = entries->pdata[i];
    bool found = false;
    if (was_below (&entry->object, below))
      make_lost (store, &entry->object, &out[*count], &found);
    *count += found;
  }
  return true;
}

/* The path of a mailbox, below which those are that it had; NULL: it is about the whole store. */
static bool
find_below (Store *store, uint32_t number, char **out_path, GError **error)
{
  return number == STORE_ROOT || (*out_path = store_node_path (store, number, error)) != NULL;
}

/* Without a quarantine nothing is in it. */
static bool
page_quarantine (Store *store, uint32_t number, const char *after, StoreLost *out, size_t capacity,
                 size_t *out_count, GError **error)
{
  g_autofree char *below = NULL;
  g_autoptr (GError) failure = NULL;
  size_t count = 0;
  if (!find_below (store, number, &below, error))
    return false;
  g_autoptr (GPtrArray) stamps = list_stamps (store, after != NULL, &failure);
  for (guint i = 0; stamps != NULL && i < stamps->len && count < capacity; i++) {
    const char *stamp = stamps->pdata[i];
    if (after != NULL && strncmp (stamp, after, QUARANTINE_STAMP_LENGTH) < 0)
      continue;
    if (!add_stamp (store, stamp, after, below, out, capacity, &count, error)) {
      store_losts_clear (out, count);
      return false;
    }
  }
  if (failure != NULL && failure->code != ENOENT) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  *out_count = count;
  return true;
}

/* The path of an object whose name was cut, and does not tell it. */
static char *
find_cut (Store *store, const char *name)
{
  size_t length = strlen (name);
  g_autofree char *stamp = g_strndup (name, QUARANTINE_STAMP_LENGTH);
  if (length < 9 || name[length - 9] != '~')
    return NULL;
  /* What was listed last has it, or it came later. */
  for (int fresh = 0; fresh < 2; fresh++) {
    g_autoptr (GPtrArray) entries = list_entries (store, stamp, !fresh, NULL);
    for (guint i = 0; entries != NULL && i < entries->len; i++) {
      const Entry *entry = entries->pdata[i];
      if (strcmp (entry->name, name) == 0)
        return g_strdup (entry->object.path);
    }
  }
  return NULL;
}

/* `path` may be NULL, for nothing. */
static bool
find_path (Store *store, const char *path, const char *below, StoreLost *out, bool *out_found,
           GError **error)
{
  g_autoptr (GError) failure = NULL;
  StoreQuarantined object = {0};
  bool found = false;
  if (path != NULL && !quarantine_find (store, path, &object, &found, &failure) &&
      failure->code != ENOENT) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  *out_found = found && was_below (&object, below);
  if (*out_found)
    make_lost (store, &object, out, out_found);
  g_free (object.path);
  return true;
}

static bool
find_quarantined (Store *store, uint32_t number, const char *name, StoreLost *out, bool *out_found,
                  GError **error)
{
  g_autofree char *below = NULL, *path = store_name_unescape (name);
  g_autofree char *whole = lost_escape (path);
  bool told = strcmp (whole, name) == 0;
  if (!find_below (store, number, &below, error) ||
      !find_path (store, told ? path : NULL, below, out, out_found, error))
    return false;
  g_autofree char *cut = *out_found ? NULL : find_cut (store, name);
  return *out_found || find_path (store, cut, below, out, out_found, error);
}

static bool
remove_quarantined (Store *store, const StoreLost *lost, GError **error)
{
  return store_quarantine_remove (store, lost->path + strlen ("../quarantine/"), error);
}

const LostKind lost_quarantine = {.page = page_quarantine,
                                  .find = find_quarantined,
                                  .remove = remove_quarantined,
                                  .why = "it was taken out of the store"};
