/* SPDX-License-Identifier: Apache-2.0 */
/* The directories below mail/: finding them by number and by name. */
#include "store/past.h"

#include <string.h>
#include <unistd.h>

/* What runs deeper than any path in the list runs in a ring. */
#define LIST_DEPTH_MAX 4096u

void
store_node_clear (StoreNode *node)
{
  g_clear_pointer (&node->name, g_free);
  g_clear_pointer (&node->full_name, g_free);
  g_clear_pointer (&node->special_use, g_free);
}

void
store_nodes_clear (StoreNode *nodes, size_t count)
{
  for (size_t i = 0; i < count; i++)
    store_node_clear (&nodes[i]);
}

/* Moves a row of the list into a node. */
StoreNode
node_from_list (ListNode *row)
{
  return (StoreNode){.number = row->number,
                     .parent = row->parent,
                     .owner = row->owner,
                     .kind = (StoreNodeKind)row->kind,
                     .subscribed = row->subscribed,
                     .no_index = row->no_index,
                     .name = g_steal_pointer (&row->name),
                     .full_name = g_steal_pointer (&row->full_name),
                     .special_use = g_steal_pointer (&row->special_use)};
}

static StoreNode
root_node (void)
{
  return (StoreNode){.kind = STORE_NODE_ROOT, .name = g_strdup ("")};
}

StoreNodeKind
node_child_kind (StoreNodeKind parent, const char *name)
{
  switch (parent) {
  case STORE_NODE_ROOT: return STORE_NODE_DOMAIN;
  case STORE_NODE_DOMAIN:
    return strcmp (name, NODE_USERS) == 0    ? STORE_NODE_USERS
           : strcmp (name, NODE_SHARED) == 0 ? STORE_NODE_SHARED
                                             : STORE_NODE_ROOT;
  case STORE_NODE_USERS: return STORE_NODE_USER;
  case STORE_NODE_USER:
  case STORE_NODE_SHARED:
  case STORE_NODE_MAILBOX: /* What is called as a message is no mailbox, be it a directory. */
    return store_message_uid (name) > 0 ? STORE_NODE_ROOT : STORE_NODE_MAILBOX;
  }
  return STORE_NODE_ROOT;
}

/* ---- by number and by name ----------------------------------------------------------------- */

/* A question to the list, and the answer. */
typedef struct {
  uint32_t number; /* the node, or the parent */
  const char *name;
  ListNode *rows;
  size_t capacity, count;
  bool found;
  char *path;
} Query;
typedef bool (*QueryFunc) (List *list, Query *query, GError **error);

/* Asks; when the list turns out to be damaged, once more the one that takes its place. */
static bool
ask (Store *self, QueryFunc read, Query *query, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) list = cache_list (self, error);
  if (list == NULL)
    return false;
  if (read (list->list, query, &failure))
    return true;
  if (failure->code != EUCLEAN) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  g_autoptr (Handle) fresh = cache_renew_list (self, list, error);
  return fresh != NULL && read (fresh->list, query, error);
}

static bool
read_node (List *list, Query *query, GError **error)
{
  return list_get (list, query->number, query->rows, &query->found, error);
}

static bool
read_child (List *list, Query *query, GError **error)
{
  return list_find (list, query->number, query->name, query->rows, &query->found, error);
}

static bool
read_children (List *list, Query *query, GError **error)
{
  return list_children (list, query->number, query->name, query->rows, query->capacity,
                        &query->count, error);
}

static bool
read_page (List *list, Query *query, GError **error)
{
  return list_page (list, query->number, query->rows, query->capacity, &query->count, error);
}

static bool
read_path (List *list, Query *query, GError **error)
{
  g_autoptr (ListRead) read = list_read_begin (list, error);
  return read != NULL && list_node_path (list, query->number, &query->path, error);
}

bool
store_node_get (Store *self, uint32_t number, StoreNode *out, GError **error)
{
  if (number == STORE_ROOT) {
    *out = root_node ();
    return true;
  }
  if (self->past != NULL)
    return past_node_get (self, number, out, error);
  ListNode row;
  Query query = {.number = number, .rows = &row};
  if (!ask (self, read_node, &query, error))
    return false;
  if (!query.found)
    return fail (error, ENOENT, "no mailbox with number %u", number);
  *out = node_from_list (&row);
  return true;
}

bool
node_listed_find (Store *self, uint32_t parent, const char *name, StoreNode *out, bool *out_found,
                  GError **error)
{
  ListNode row;
  Query query = {.number = parent, .name = name, .rows = &row};
  if (!ask (self, read_child, &query, error))
    return false;
  if (query.found)
    *out = node_from_list (&row);
  *out_found = query.found;
  return true;
}

bool
store_node_find (Store *self, uint32_t parent, const char *name, StoreNode *out, bool *out_found,
                 GError **error)
{
  bool found = false;
  if (self->past != NULL)
    return past_node_find (self, parent, name, out, out_found, error);
  /* Somebody may have put it there without us, as from a backup. */
  if (!node_listed_find (self, parent, name, out, &found, error) ||
      (!found && integrate_at (self, parent) &&
       !node_listed_find (self, parent, name, out, &found, error)))
    return false;
  *out_found = found;
  return true;
}

bool
node_listed_children (Store *self, uint32_t parent, const char *after, StoreNode *out,
                      size_t capacity, size_t *out_count, GError **error)
{
  g_autofree ListNode *rows = g_new (ListNode, capacity);
  Query query = {.number = parent, .name = after, .rows = rows, .capacity = capacity};
  if (!ask (self, read_children, &query, error))
    return false;
  for (size_t i = 0; i < query.count; i++)
    out[i] = node_from_list (&rows[i]);
  *out_count = query.count;
  return true;
}

bool
node_listed_from (Store *self, uint32_t from, StoreNode *out, size_t capacity, size_t *out_count,
                  GError **error)
{
  g_autofree ListNode *rows = g_new (ListNode, capacity);
  Query query = {.number = from, .rows = rows, .capacity = capacity};
  if (!ask (self, read_page, &query, error))
    return false;
  for (size_t i = 0; i < query.count; i++)
    out[i] = node_from_list (&rows[i]);
  *out_count = query.count;
  return true;
}

bool
store_node_children (Store *self, uint32_t parent, const char *after, StoreNode *out,
                     size_t capacity, size_t *out_count, GError **error)
{
  if (self->past != NULL)
    return past_node_children (self, parent, after, out, capacity, out_count, error);
  if (after == NULL)
    integrate_at (self, parent);
  return node_listed_children (self, parent, after, out, capacity, out_count, error);
}

bool
store_node_each_child (Store *self, uint32_t parent, const char *after, StoreNodeFunc each,
                       void *data, GError **error)
{
  StoreNode page[64];
  g_autofree char *last = g_strdup (after);
  bool good = true;
  for (size_t count = 1; count > 0 && good;) {
    if (!store_node_children (self, parent, last, page, G_N_ELEMENTS (page), &count, error))
      return false;
    for (size_t i = 0; i < count && good; i++)
      good = each (&page[i], data, error);
    g_free (last);
    last = count > 0 ? g_strdup (page[count - 1].name) : NULL;
    store_nodes_clear (page, count);
  }
  return good;
}

bool
is_gone (const GError *error)
{
  return error_code (error) == ENOENT || error_code (error) == ESTALE;
}

/* What node_each_below() is at. */
typedef struct {
  Store *store;
  const char *path;
  NodePathFunc each;
  void *data;
} Below;

static bool
visit_below (const StoreNode *node, void *data, GError **error)
{
  const Below *above = data;
  g_autofree char *path = above->path == NULL    ? g_strdup ("")
                          : *above->path == '\0' ? g_strdup (node->name)
                                                 : g_build_filename (above->path, node->name, NULL);
  Below below = {above->store, path, above->each, above->data};
  g_autoptr (GError) failure = NULL;
  if ((below.each (node, path, below.data, &failure) &&
       store_node_each_child (below.store, node->number, NULL, visit_below, &below, &failure)) ||
      is_gone (failure))
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

bool
node_each_below (Store *store, const StoreNode *top, NodePathFunc each, void *data, GError **error)
{
  Below above = {store, NULL, each, data};
  return visit_below (top, &above, error) && (store->past == NULL || past_is_there (store, error));
}

bool
store_node_times (Store *self, uint32_t number, StoreNodeTimes *out, GError **error)
{
  g_autoptr (StoreMailbox) directory = store_mailbox_open (self, number, error);
  struct stat st;
  if (directory == NULL)
    return false;
  if (fstat (directory->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", directory->path);
  StoreNodeTimes times = {stat_mtime_ns (&st), stat_ctime_ns (&st), st.st_uid, st.st_gid};
  if (self->past != NULL && !past_node_times (directory, &times, error))
    return false;
  *out = times;
  return true;
}

bool
node_is_inbox (Store *store, const StoreNode *node)
{
  g_auto (StoreNode) parent = {0};
  return strcmp (node->name, NODE_INBOX) == 0 &&
         store_node_get (store, node->parent, &parent, NULL) && parent.kind == STORE_NODE_USER;
}

bool
node_has_index (Store *store, uint32_t owner)
{
  g_auto (StoreNode) node = {0};
  return !store_node_get (store, owner, &node, NULL) || !node.no_index;
}

bool
list_each_child (List *list, uint32_t parent, ListChildFunc each, void *data, GError **error)
{
  ListNode page[64];
  g_autofree char *after = NULL;
  for (size_t count = 1; count > 0;) {
    if (!list_children (list, parent, after, page, G_N_ELEMENTS (page), &count, error))
      return false;
    g_free (after);
    after = count > 0 ? g_strdup (page[count - 1].name) : NULL;
    bool going = true;
    for (size_t i = 0; i < count && going; i++)
      going = each (list, &page[i], data, error);
    list_nodes_clear (page, count);
    if (!going)
      return false;
  }
  return true;
}

bool
list_node_path (List *list, uint32_t number, char **out_path, GError **error)
{
  g_autofree char *path = g_strdup ("");
  uint32_t current = number;
  for (unsigned depth = 0; current != STORE_ROOT; depth++) {
    g_auto (ListNode) node = {0};
    bool found = false;
    if (!list_get (list, current, &node, &found, error))
      return false;
    if (!found && current == number)
      return fail (error, ENOENT, "no mailbox with number %u", number);
    if (!found || depth > LIST_DEPTH_MAX)
      return fail (error, EUCLEAN, "mailbox %u is not below the root", number);
    char *longer = g_strconcat (node.name, *path != '\0' ? "/" : "", path, NULL);
    g_free (path);
    path = longer;
    current = node.parent;
  }
  *out_path = g_steal_pointer (&path);
  return true;
}

char *
store_node_path (Store *self, uint32_t number, GError **error)
{
  if (self->past != NULL)
    return past_node_path (self, number, error);
  Query query = {.number = number};
  return ask (self, read_path, &query, error) ? query.path : NULL;
}

char *
store_path_title (const char *path)
{
  g_auto (GStrv) names = g_strsplit (path, "/", 4);
  if (g_strv_length (names) < 3 || strcmp (names[1], NODE_USERS) != 0)
    return g_strdup (path);
  return g_strdup_printf ("%s@%s%s%s", names[2], names[0], names[3] ? "/" : "",
                          names[3] ? names[3] : "");
}

char *
store_node_title (Store *self, uint32_t number, GError **error)
{
  g_autofree char *path = store_node_path (self, number, error);
  return path != NULL ? store_path_title (path) : NULL;
}
