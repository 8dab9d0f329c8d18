/* SPDX-License-Identifier: Apache-2.0 */
/* The history of places: where directories were, and where in quarantine those are that were
 * removed. */
#include "store/history.h"

#include <string.h>

void
history_node_clear (HistoryNode *node)
{
  store_node_clear (&node->node);
  g_clear_pointer (&node->place, g_free);
}

static char *
optional (const char *field)
{
  return strcmp (field, "-") == 0 ? NULL : store_name_unescape (field);
}

/* KIND PARENT OWNER SUBSCRIBED INDEX SPECIAL-USE PLACE NAME FULL-NAME */
static bool
parse_node (const char *text, uint32_t number, HistoryNode *out)
{
  g_auto (GStrv) fields = g_strsplit (text, " ", 10);
  if (g_strv_length (fields) != 9)
    return false;
  if (strcmp (fields[0], "-") == 0) {
    *out = (HistoryNode){.absent = true};
    return true;
  }
  uint64_t kind, parent, owner, subscribed, index;
  if (!g_ascii_string_to_unsigned (fields[0], 10, 1, STORE_NODE_MAILBOX, &kind, NULL) ||
      !g_ascii_string_to_unsigned (fields[1], 10, 0, STORE_NUMBER_MAX, &parent, NULL) ||
      !g_ascii_string_to_unsigned (fields[2], 10, 0, STORE_NUMBER_MAX, &owner, NULL) ||
      !g_ascii_string_to_unsigned (fields[3], 10, 0, 1, &subscribed, NULL) ||
      !g_ascii_string_to_unsigned (fields[4], 10, 0, 1, &index, NULL))
    return false;
  *out = (HistoryNode){.node = {.number = number,
                                .parent = (uint32_t)parent,
                                .owner = (uint32_t)owner,
                                .kind = (StoreNodeKind)kind,
                                .subscribed = subscribed != 0,
                                .no_index = index == 0,
                                .special_use = optional (fields[5]),
                                .name = store_name_unescape (fields[7]),
                                .full_name = optional (fields[8])},
                       .place = optional (fields[6])};
  return true;
}

guint
history_find_place (History *self, uint32_t number, char **out)
{
  guint at = GPOINTER_TO_UINT (g_hash_table_lookup (self->last, GUINT_TO_POINTER (number)));
  while (at > 0) {
    const Line *line = &g_array_index (self->lines, Line, at - 1);
    g_autofree char *text = line_read (self, line->at, NULL);
    g_auto (HistoryNode) node = {0};
    Line head;
    const char *rest = text;
    if (text != NULL && line_parse_head (self, &rest, &head) && parse_node (rest, number, &node) &&
        node.place != NULL) {
      *out = g_steal_pointer (&node.place);
      return at;
    }
    at = line->before;
  }
  return 0;
}

bool
history_node (History *self, uint32_t number, uint32_t epoch, HistoryNode *out, bool *out_kept,
              GError **error)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_autofree char *line = NULL;
  g_autoptr (GError) failure = NULL;
  const char *text = line_read_found (self, number, epoch, &line, &failure);
  if (failure != NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  *out_kept = text != NULL;
  if (text == NULL)
    return true;
  g_auto (HistoryNode) node = {0};
  if (!parse_node (text, number, &node))
    return line_fail (self, number, error);
  g_clear_pointer (&node.place, g_free);
  if (!node.absent)
    history_find_place (self, number, &node.place);
  *out = node;
  node = (HistoryNode){0};
  return true;
}

GArray *
history_children (History *self, uint32_t parent, uint32_t epoch)
{
  g_autoptr (GArray) all = line_subjects (self, epoch, &parent);
  GArray *children = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; i < all->len; i++) {
    uint32_t number = g_array_index (all, uint32_t, i);
    g_auto (HistoryNode) node = {0};
    bool kept = false;
    /* One that was not there has no parent, which is 0 as well. */
    if (history_node (self, number, epoch, &node, &kept, NULL) && kept && !node.absent)
      g_array_append_val (children, number);
  }
  return children;
}

/* ---- what must stay in quarantine ---------------------------------------------------------- */

/* Whether a snapshot has the node. */
static bool
is_needed (History *self, const SnapshotSet *snapshots, uint32_t number)
{
  for (guint i = 0; i < snapshots->snapshots->len && !snapshots->doubtful; i++) {
    const StoreSnapshot *snapshot = snapshots->snapshots->pdata[i];
    const Line *line = line_find (self, number, snapshot->epoch);
    g_autofree char *text = line != NULL ? line_read (self, line->at, NULL) : NULL;
    g_auto (HistoryNode) node = {0};
    Line head;
    const char *rest = text;
    /* What makes no sense is taken for one that is needed. */
    if (line != NULL && number < snapshot->next_number &&
        !(text != NULL && line_parse_head (self, &rest, &head) &&
          parse_node (rest, number, &node) && node.absent))
      return true;
  }
  return snapshots->doubtful;
}

GPtrArray *
history_places (History *self, const SnapshotSet *snapshots)
{
  GPtrArray *places = g_ptr_array_new_with_free_func (g_free);
  GHashTableIter iter;
  gpointer key;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_hash_table_iter_init (&iter, self->last);
  while (g_hash_table_iter_next (&iter, &key, NULL)) {
    uint32_t number = GPOINTER_TO_UINT (key);
    char *place = NULL;
    if (is_needed (self, snapshots, number) && history_find_place (self, number, &place) > 0)
      g_ptr_array_add (places, place);
  }
  return places;
}
