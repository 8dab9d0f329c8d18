/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories of a snapshot: those of the list as it is, without what came later, and with
 * those that the history has another place or other properties of.
 */
#include "store/past.h"

#include <string.h>

/* What runs deeper runs in a ring. */
#define DEPTH_MAX 4096u

/* A listing asks the list for so many at a time. */
#define PAGE 64u

/* ---- what is kept -------------------------------------------------------------------------- */

static void
free_node (gpointer data)
{
  history_node_clear (data);
  g_free (data);
}

void
past_tree_init (Past *self)
{
  g_mutex_init (&self->mutex);
  self->tree = history_new_tree (self->live);
  self->nodes = g_hash_table_new_full (NULL, NULL, NULL, free_node);
  self->children = g_hash_table_new_full (NULL, NULL, NULL, (GDestroyNotify)g_ptr_array_unref);
}

void
past_tree_clear (Past *self)
{
  g_hash_table_unref (self->children);
  g_hash_table_unref (self->nodes);
  history_free (self->tree);
  g_mutex_clear (&self->mutex);
}

static int
compare_nodes (gconstpointer a, gconstpointer b)
{
  const HistoryNode *first = *(HistoryNode *const *)a, *second = *(HistoryNode *const *)b;
  return strcmp (first->node.name, second->node.name);
}

/* Adds a node to its parent's, whose order is restored by who sorts `touched`. */
static void
add_child (Past *self, HistoryNode *node, GHashTable *touched)
{
  gpointer key = GUINT_TO_POINTER (node->node.parent);
  GPtrArray *children = g_hash_table_lookup (self->children, key);
  if (children == NULL)
    g_hash_table_insert (self->children, key, children = g_ptr_array_new ());
  g_ptr_array_add (children, node);
  g_hash_table_add (touched, children);
}

/* What a node was is kept once for good, so only new ones are read. A line that makes no sense is
 * as good as none. The mutex is held. */
static void
add_kept (Past *self)
{
  g_autoptr (GHashTable) touched = g_hash_table_new (NULL, NULL);
  g_autoptr (GArray) numbers = history_subjects (self->tree, self->snapshot.epoch);
  for (guint i = 0; i < numbers->len; i++) {
    uint32_t number = g_array_index (numbers, uint32_t, i);
    HistoryNode node;
    bool kept = false;
    /* What was kept for a later snapshot need not have been there yet. */
    if (number >= self->snapshot.next_number ||
        g_hash_table_contains (self->nodes, GUINT_TO_POINTER (number)) ||
        !history_node (self->tree, number, self->snapshot.epoch, &node, &kept, NULL) || !kept)
      continue;
    HistoryNode *added = g_memdup2 (&node, sizeof node);
    g_hash_table_insert (self->nodes, GUINT_TO_POINTER (number), added);
    if (!added->absent)
      add_child (self, added, touched);
  }
  GHashTableIter iter;
  gpointer children;
  g_hash_table_iter_init (&iter, touched);
  while (g_hash_table_iter_next (&iter, &children, NULL))
    g_ptr_array_sort (children, compare_nodes);
}

/* Takes in what was added to the history until now. */
static bool
follow_tree (Store *store, GError **error)
{
  Past *self = store->past;
  if (!history_load (self->tree, error))
    return false;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  uint64_t generation = history_generation (self->tree);
  if (self->generation != generation)
    add_kept (self);
  self->generation = generation;
  return true;
}

static StoreNode
take_node (StoreNode *node)
{
  StoreNode taken = *node;
  *node = (StoreNode){0};
  return taken;
}

static StoreNode
copy_node (const StoreNode *node)
{
  StoreNode copy = *node;
  copy.name = g_strdup (node->name);
  copy.full_name = g_strdup (node->full_name);
  copy.special_use = g_strdup (node->special_use);
  return copy;
}

/* Whether the history tells of a node; then `*out_there` whether it was there, and what it was. */
static bool
is_kept (Store *store, uint32_t number, StoreNode *out, bool *out_there)
{
  Past *self = store->past;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  const HistoryNode *kept = g_hash_table_lookup (self->nodes, GUINT_TO_POINTER (number));
  if (kept != NULL && !kept->absent)
    *out = copy_node (&kept->node);
  if (kept != NULL)
    *out_there = !kept->absent;
  return kept != NULL;
}

/* The place of the first name above `after`. */
static guint
first_above (const GPtrArray *children, const char *after)
{
  guint low = 0, high = after != NULL ? children->len : 0;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    const HistoryNode *kept = children->pdata[middle];
    if (strcmp (kept->node.name, after) <= 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/* Those children that the history tells of, of which the name is above `after`, and not above
 * `last` (NULL: whatever it is), at most `most` of them in the order of their names. */
static GArray *
kept_children (Store *store, uint32_t parent, const char *after, const char *last, size_t most)
{
  Past *self = store->past;
  GArray *nodes = g_array_new (FALSE, FALSE, sizeof (StoreNode));
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  GPtrArray *children = g_hash_table_lookup (self->children, GUINT_TO_POINTER (parent));
  for (guint i = children != NULL ? first_above (children, after) : 0;
       children != NULL && i < children->len && nodes->len < most; i++) {
    const HistoryNode *kept = children->pdata[i];
    if (last != NULL && strcmp (kept->node.name, last) > 0)
      break;
    StoreNode copy = copy_node (&kept->node);
    g_array_append_val (nodes, copy);
  }
  return nodes;
}

/* Whether the history tells of a child of that name. */
static bool
is_kept_child (Store *store, uint32_t parent, const char *name, StoreNode *out)
{
  Past *self = store->past;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  const GPtrArray *children = g_hash_table_lookup (self->children, GUINT_TO_POINTER (parent));
  guint above = children != NULL ? first_above (children, name) : 0;
  const HistoryNode *kept = above > 0 ? children->pdata[above - 1] : NULL;
  if (kept == NULL || strcmp (kept->node.name, name) != 0)
    return false;
  *out = copy_node (&kept->node);
  return true;
}

/* ---- by number ----------------------------------------------------------------------------- */

/* The node as the list has it now; absence is no error. */
static bool
listed_node (Store *self, uint32_t number, StoreNode *out, bool *out_found, GError **error)
{
  g_autoptr (GError) failure = NULL;
  *out_found = store_node_get (self->past->live, number, out, &failure);
  if (*out_found || failure->code == ENOENT)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* The node as it was; `*out_found` is false when it was not there. */
static bool
find_number (Store *self, uint32_t number, StoreNode *out, bool *out_found, GError **error)
{
  g_auto (StoreNode) now = {0}, old = {0};
  bool listed, there = false;
  if (!listed_node (self, number, &now, &listed, error) || !follow_tree (self, error))
    return false;
  bool kept = is_kept (self, number, &old, &there);
  if (!past_is_there (self, error))
    return false;
  *out_found = number < self->past->snapshot.next_number && (kept ? there : listed);
  if (*out_found)
    *out = take_node (kept ? &old : &now);
  return true;
}

bool
past_node_get (Store *self, uint32_t number, StoreNode *out, GError **error)
{
  bool found = false;
  if (!find_number (self, number, out, &found, error))
    return false;
  return found || fail (error, ENOENT, "no mailbox with number %u", number);
}

char *
past_node_path (Store *self, uint32_t number, GError **error)
{
  g_autofree char *path = g_strdup ("");
  for (unsigned depth = 0; number != STORE_ROOT; depth++) {
    g_auto (StoreNode) node = {0};
    if (depth > DEPTH_MAX) {
      fail (error, EUCLEAN, "mailbox %u is not below the root", number);
      return NULL;
    }
    if (!past_node_get (self, number, &node, error))
      return NULL;
    char *longer = g_strconcat (node.name, *path != '\0' ? "/" : "", path, NULL);
    g_free (path);
    path = longer;
    number = node.parent;
  }
  return g_steal_pointer (&path);
}

/* ---- by name ------------------------------------------------------------------------------- */

/* Whether a node of the list was there, just as it is. */
static bool
is_unchanged (Store *store, uint32_t number)
{
  Past *self = store->past;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  return number < self->snapshot.next_number &&
         !g_hash_table_contains (self->nodes, GUINT_TO_POINTER (number));
}

/* Moves the first `capacity` of both, which are sorted, into `out`. */
static size_t
merge (StoreNode *listed, size_t count, StoreNode *kept, size_t kept_count, StoreNode *out,
       size_t capacity)
{
  size_t merged = 0, i = 0, k = 0;
  while (merged < capacity && (i < count || k < kept_count)) {
    bool from_list = k == kept_count || (i < count && strcmp (listed[i].name, kept[k].name) < 0);
    out[merged++] = take_node (from_list ? &listed[i++] : &kept[k++]);
  }
  return merged;
}

/* Leaves those that were there, as they are. */
static size_t
drop_changed (Store *self, StoreNode *nodes, size_t count)
{
  size_t left = 0;
  for (size_t i = 0; i < count; i++) {
    if (is_unchanged (self, nodes[i].number))
      nodes[left++] = take_node (&nodes[i]);
    else
      store_node_clear (&nodes[i]);
  }
  return left;
}

/* The next children, from the next ones that the list has; `*from` becomes the last of those, NULL
 * when there are no more. */
static bool
next_children (Store *self, uint32_t parent, char **from, StoreNode *out, size_t capacity,
               size_t *out_count, GError **error)
{
  StoreNode listed[PAGE];
  size_t count;
  if (!node_listed_children (self->past->live, parent, *from, listed, PAGE, &count, error))
    return false;
  g_autofree char *last = count == PAGE ? g_strdup (listed[count - 1].name) : NULL;
  if (!follow_tree (self, error)) {
    store_nodes_clear (listed, count);
    return false;
  }
  count = drop_changed (self, listed, count);
  g_autoptr (GArray) kept = kept_children (self, parent, *from, last, capacity);
  StoreNode *nodes = (StoreNode *)(void *)kept->data;
  *out_count = merge (listed, count, nodes, kept->len, out, capacity);
  store_nodes_clear (listed, count);
  store_nodes_clear (nodes, kept->len);
  g_free (*from);
  *from = g_steal_pointer (&last);
  return true;
}

bool
past_node_children (Store *self, uint32_t parent, const char *after, StoreNode *out,
                    size_t capacity, size_t *out_count, GError **error)
{
  g_autofree char *from = g_strdup (after);
  size_t count = 0;
  do {
    if (!next_children (self, parent, &from, out, capacity, &count, error))
      return false;
  } while (count == 0 && from != NULL);
  if (!past_is_there (self, error)) {
    store_nodes_clear (out, count);
    return false;
  }
  *out_count = count;
  return true;
}

bool
past_node_find (Store *self, uint32_t parent, const char *name, StoreNode *out, bool *out_found,
                GError **error)
{
  g_auto (StoreNode) now = {0};
  bool listed = false;
  if (!node_listed_find (self->past->live, parent, name, &now, &listed, error) ||
      !follow_tree (self, error))
    return false;
  g_auto (StoreNode) old = {0};
  bool unchanged = listed && is_unchanged (self, now.number);
  bool kept = !unchanged && is_kept_child (self, parent, name, &old);
  if (!past_is_there (self, error))
    return false;
  *out_found = unchanged || kept;
  if (*out_found)
    *out = take_node (unchanged ? &now : &old);
  return true;
}

/* ---- the directories themselves ------------------------------------------------------------ */

/* Whether the directory `fd` is the node: its path may have become another's since it was told. */
static bool
is_node (int fd, const StoreNode *node)
{
  g_auto (NodeState) state = {0};
  bool found = false;
  return node->number == STORE_ROOT || !node_state_read (fd, node->kind, &state, &found, NULL) ||
         !found || state.number == node->number;
}

/* Opens `path` below the directory `above`, if that is the node. -1 and errno. */
static int
open_node (int above, const char *path, const StoreNode *node)
{
  auto_fd fd = layout_open (above, path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0 || is_node (fd, node))
    return g_steal_fd (&fd);
  errno = ENOENT;
  return -1;
}

/* Where in quarantine the directory was taken to; NULL: nowhere. Of several removals the last one
 * counts. */
static char *
quarantined_place (Store *self, uint32_t number)
{
  const Past *past = self->past;
  g_auto (HistoryNode) old = {0};
  bool kept = false;
  if (!history_load (past->tree, NULL) ||
      !history_node (past->tree, number, past->snapshot.epoch, &old, &kept, NULL) || !kept)
    return NULL;
  return g_steal_pointer (&old.place);
}

/* Opens it where the list has it now, at `path`, or else where it was taken to. What came back from
 * there is on the list a moment later. -1 and errno. */
static int
look_for_node (Store *self, const StoreNode *node, const char *path)
{
  int fd = path != NULL ? open_node (self->mail_fd, path, node) : -1;
  if (fd >= 0 || (path != NULL && errno != ENOENT && errno != ENOTDIR))
    return fd;
  g_autofree char *place = quarantined_place (self, node->number);
  auto_fd quarantine = place != NULL ? quarantine_open (self, NULL) : -1;
  fd = quarantine >= 0 ? open_node (quarantine, place, node) : -1;
  const char *origin = place != NULL ? strchr (place, '/') : NULL;
  if (fd < 0 && origin != NULL)
    fd = open_node (self->mail_fd, origin + 1, node);
  if (fd < 0 && (place == NULL || errno == ENOTDIR))
    errno = ENOENT;
  return fd;
}

/* The same while nobody moves it: who does holds the store lock until the list has followed. */
static int
look_again (Store *self, const StoreNode *node)
{
  g_autoptr (Handle) list = NULL;
  g_autofree char *path = NULL;
  auto_fd lock = lock_list_look (self->past->live, &list, NULL);
  if (lock >= 0 && !list_node_path (list->list, node->number, &path, NULL))
    path = NULL;
  return look_for_node (self, node, path);
}

int
past_node_open (Store *self, const StoreNode *node, GError **error)
{
  g_autofree char *path = store_node_path (self->past->live, node->number, NULL);
  int fd = look_for_node (self, node, path);
  if (fd < 0 && errno == ENOENT)
    fd = look_again (self, node);
  if (fd < 0)
    fail (error, errno == ENOENT ? ESTALE : errno, "open mailbox '%s': %s", node->name,
          g_strerror (errno));
  return fd;
}

bool
past_node_times (StoreMailbox *directory, StoreNodeTimes *times, GError **error)
{
  g_auto (HistoryDirectory) old = {0};
  bool kept = false;
  if (!past_directory (directory, &old, &kept, error))
    return false;
  if (kept) {
    times->mtime_ns = old.mtime_ns;
    times->ctime_ns = old.ctime_ns;
  }
  return past_is_there (directory->store, error);
}
