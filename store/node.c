/* SPDX-License-Identifier: Apache-2.0 */
/* The directories below mail/: finding them by number, by name and by what people call them. */
#include "store/internal.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_DOMAIN "local"
#define USERS          "user"
#define SHARED         "shared"
#define INBOX          "INBOX"

/* What a user may be called: the index is named after it, with ".sqlite3-journal" at the end. */
#define USER_BYTES_MAX 239u

/* Longer paths are not made: they would come near PATH_MAX. */
#define PATH_BYTES_MAX 3072u

/* What runs deeper than any path in the list runs in a ring. */
#define LIST_DEPTH_MAX 4096u

/* How often a node is made again when the list goes away under it. */
#define ATTEMPTS_MAX 3

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
static StoreNode
from_list (ListNode *row)
{
  return (StoreNode){.number = row->number,
                     .parent = row->parent,
                     .owner = row->owner,
                     .kind = (StoreNodeKind)row->kind,
                     .subscribed = row->subscribed,
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
    return strcmp (name, USERS) == 0    ? STORE_NODE_USERS
           : strcmp (name, SHARED) == 0 ? STORE_NODE_SHARED
                                        : STORE_NODE_ROOT;
  case STORE_NODE_USERS: return STORE_NODE_USER;
  case STORE_NODE_USER:
  case STORE_NODE_SHARED:
  case STORE_NODE_MAILBOX: return STORE_NODE_MAILBOX;
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
read_path (List *list, Query *query, GError **error)
{
  return list_node_path (list, query->number, &query->path, error);
}

bool
store_node_get (Store *self, uint32_t number, StoreNode *out, GError **error)
{
  if (number == STORE_ROOT) {
    *out = root_node ();
    return true;
  }
  ListNode row;
  Query query = {.number = number, .rows = &row};
  if (!ask (self, read_node, &query, error))
    return false;
  if (!query.found)
    return fail (error, ENOENT, "no mailbox with number %u", number);
  *out = from_list (&row);
  return true;
}

bool
store_node_find (Store *self, uint32_t parent, const char *name, StoreNode *out, bool *out_found,
                 GError **error)
{
  ListNode row;
  Query query = {.number = parent, .name = name, .rows = &row};
  if (!ask (self, read_child, &query, error))
    return false;
  if (query.found)
    *out = from_list (&row);
  *out_found = query.found;
  return true;
}

bool
store_node_children (Store *self, uint32_t parent, const char *after, StoreNode *out,
                     size_t capacity, size_t *out_count, GError **error)
{
  g_autofree ListNode *rows = g_new (ListNode, capacity);
  Query query = {.number = parent, .name = after, .rows = rows, .capacity = capacity};
  if (!ask (self, read_children, &query, error))
    return false;
  for (size_t i = 0; i < query.count; i++)
    out[i] = from_list (&rows[i]);
  *out_count = query.count;
  return true;
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
  *out = (StoreNodeTimes){stat_mtime_ns (&st), stat_ctime_ns (&st), st.st_uid, st.st_gid};
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
  Query query = {.number = number};
  return ask (self, read_path, &query, error) ? query.path : NULL;
}

char *
store_node_title (Store *self, uint32_t number, GError **error)
{
  g_autofree char *path = store_node_path (self, number, error);
  if (path == NULL)
    return NULL;
  g_auto (GStrv) names = g_strsplit (path, "/", 4);
  if (g_strv_length (names) < 3 || strcmp (names[1], USERS) != 0)
    return g_steal_pointer (&path);
  return g_strdup_printf ("%s@%s%s%s", names[2], names[0], names[3] ? "/" : "",
                          names[3] ? names[3] : "");
}

/* ---- spellings ----------------------------------------------------------------------------- */

/* Splits at slashes; empty names are left out. */
static GPtrArray *
split_path (const char *path)
{
  g_auto (GStrv) names = g_strsplit (path, "/", -1);
  GPtrArray *levels = g_ptr_array_new_with_free_func (g_free);
  for (char **name = names; *name != NULL; name++) {
    if (**name != '\0')
      g_ptr_array_add (levels, g_strdup (*name));
  }
  return levels;
}

static void
insert_levels (GPtrArray *levels, const char *domain, const char *second)
{
  g_ptr_array_insert (levels, 0, g_strdup (second));
  g_ptr_array_insert (levels, 0, g_strdup (domain));
}

/* Cuts "NAME@DOMAIN" at its last '@' and returns the domain, or the default one. In DNS case does
 * not matter; what is there in that very spelling comes first. */
static char *
take_domain (Store *self, char *name)
{
  char *at = strrchr (name, '@');
  if (at == NULL)
    return g_strdup (DEFAULT_DOMAIN);
  *at = '\0';
  g_auto (StoreNode) domain = {0};
  bool found = false;
  if (store_node_find (self, STORE_ROOT, at + 1, &domain, &found, NULL) && found)
    return g_strdup (at + 1);
  return g_ascii_strdown (at + 1, -1);
}

/* Turns any spelling into the names from the root down, one a level. */
static GPtrArray *
spelling_levels (Store *self, const char *spelling)
{
  static const char other_users[] = "Other Users/", public_folders[] = "Public Folders/";
  const char *rest = spelling;
  const char *second = NULL;
  if (g_str_has_prefix (spelling, other_users)) {
    rest += strlen (other_users);
    second = USERS;
  } else if (g_str_has_prefix (spelling, public_folders)) {
    rest += strlen (public_folders);
    second = SHARED;
  }
  GPtrArray *levels = split_path (rest);
  if (levels->len == 0)
    return levels;
  char *first = levels->pdata[0];
  if (second == NULL) {
    g_auto (StoreNode) domain = {0};
    bool is_domain = false;
    if ((store_node_find (self, STORE_ROOT, first, &domain, &is_domain, NULL) && is_domain) ||
        strchr (first, '@') == NULL)
      return levels;
    second = USERS;
  }
  g_autofree char *domain = take_domain (self, first);
  insert_levels (levels, domain, second);
  return levels;
}

/* Any spelling of INBOX means the one (RFC 3501, 5.1). */
static const char *
fold_inbox (const StoreNode *parent, const char *name)
{
  bool inbox = parent->kind == STORE_NODE_USER && g_ascii_strcasecmp (name, INBOX) == 0;
  return inbox ? INBOX : name;
}

/* A child by its name on disk, or by its plain name. */
static bool
find_child (Store *self, const StoreNode *parent, const char *name, StoreNode *out, bool *out_found,
            GError **error)
{
  name = fold_inbox (parent, name);
  if (!store_node_find (self, parent->number, name, out, out_found, error))
    return false;
  if (*out_found)
    return true;
  g_autofree char *escaped = store_name_escape (name, NULL);
  return store_node_find (self, parent->number, escaped, out, out_found, error);
}

/* Follows `levels` down from `out` as far as there are nodes; `*out_depth` says how far. */
static bool
descend (Store *self, char *const *levels, unsigned count, StoreNode *out, unsigned *out_depth,
         GError **error)
{
  unsigned depth = 0;
  for (; depth < count; depth++) {
    StoreNode child = {0};
    bool found = false;
    if (!find_child (self, out, levels[depth], &child, &found, error))
      return false;
    if (!found)
      break;
    store_node_clear (out);
    *out = child;
  }
  *out_depth = depth;
  return true;
}

/* Finds the node, or how far down the way to it exists. A first name that is neither a domain nor
 * has one is a user of the default domain. */
static bool
locate (Store *self, GPtrArray *levels, StoreNode *out, unsigned *out_depth, GError **error)
{
  *out = root_node ();
  if (!descend (self, (char *const *)levels->pdata, levels->len, out, out_depth, error))
    return false;
  const char *second = levels->len > 1 ? levels->pdata[1] : NULL;
  bool domain_path = second == NULL || strcmp (second, USERS) == 0 || strcmp (second, SHARED) == 0;
  if (*out_depth > 0 || levels->len == 0 || (domain_path && second != NULL))
    return true;
  insert_levels (levels, DEFAULT_DOMAIN, USERS);
  return descend (self, (char *const *)levels->pdata, levels->len, out, out_depth, error);
}

bool
store_node_resolve (Store *self, const char *spelling, StoreNode *out, GError **error)
{
  g_autoptr (GPtrArray) levels = spelling_levels (self, spelling);
  g_auto (StoreNode) node = {0};
  unsigned depth;
  if (!locate (self, levels, &node, &depth, error))
    return false;
  if (depth < levels->len) {
    g_autofree char *printable = store_text_printable (spelling);
    return fail (error, ENOENT, "no mailbox '%s'", printable);
  }
  *out = node;
  node = (StoreNode){0};
  return true;
}

/* ---- making -------------------------------------------------------------------------------- */

typedef struct {
  Store *store;
  StoreNodeKind kind;
  NodeState state;
} NewNode;

static bool
prepare_node (int fd, void *data, GError **error)
{
  NewNode *new_node = data;
  return node_state_write (new_node->store, fd, new_node->kind, &new_node->state, error);
}

/* A directory of that name is there although the list does not know it, after a crash or a restore:
 * it keeps its state when that is valid and nobody else's. */
static bool
adopt (Store *self, int parent_fd, List *list, NewNode *new_node, const char *name, GError **error)
{
  auto_fd fd = layout_open (parent_fd, name, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    return fail_errno (error, "open directory '%s'", name);
  NodeState state = {0};
  g_auto (ListNode) holder = {0};
  bool found = false, taken = false;
  if (node_state_read (fd, new_node->kind, &state, &found, NULL) && found) {
    if (!list_get (list, state.number, &holder, &taken, error)) {
      node_state_clear (&state);
      return false;
    }
    if (!taken) {
      node_state_clear (&new_node->state);
      new_node->state = state;
      return true;
    }
    node_state_clear (&state);
  }
  if (!node_state_write (self, fd, new_node->kind, &new_node->state, error))
    return fail_prefix (error, "directory '%s'", name);
  return fsync (fd) == 0 || fail_errno (error, "sync directory '%s'", name);
}

/* Makes the directory and its row; the store lock is held. */
static bool
make_locked (Store *self, List *list, const StoreMailbox *parent, StoreNodeKind kind,
             const char *disk_name, const char *full_name, GError **error)
{
  NewNode node = {.store = self, .kind = kind};
  node.state.uidnext = 1;
  node.state.full_name = g_strdup (full_name);
  g_autoptr (GError) failure = NULL;
  uint32_t highest;
  bool made =
      list_highest (list, &highest, error) &&
      store_numbers_take (self, 1, highest + 1, &node.state.number, &node.state.uidvalidity, error);
  if (made && !layout_make_directory (self, parent->fd, disk_name, prepare_node, &node, &failure)) {
    made = error_code (failure) == EEXIST
               ? adopt (self, parent->fd, list, &node, disk_name, error)
               : (g_propagate_error (error, g_steal_pointer (&failure)), false);
  }
  bool owns = kind == STORE_NODE_USER || kind == STORE_NODE_SHARED;
  ListNode row = {.number = node.state.number,
                  .parent = parent->number,
                  .owner = owns ? node.state.number : parent->owner,
                  .kind = (ListKind)kind,
                  .subscribed = node.state.subscribed,
                  .name = (char *)disk_name,
                  .full_name = node.state.full_name,
                  .special_use = node.state.special_use};
  g_autoptr (ListWrite) write = made ? list_write_begin (list, error) : NULL;
  made =
      write != NULL && list_write_new_node (write, &row, error) && list_write_commit (write, error);
  if (made)
    change_note (self, parent->number, 0);
  node_state_clear (&node.state);
  return made;
}

/* Makes the node unless it is there. ESTALE: the list, or the parent, was removed meanwhile. */
static bool
make_node (Store *self, const StoreNode *parent, StoreNodeKind kind, const char *disk_name,
           const char *full_name, StoreNode *out, GError **error)
{
  g_autoptr (Handle) list = NULL;
  g_autoptr (StoreMailbox) directory = store_mailbox_open (self, parent->number, error);
  auto_fd lock = directory != NULL ? lock_list (self, &list, error) : -1;
  if (lock < 0)
    return false;
  if (!mailbox_is_current (directory))
    return fail (error, ESTALE, "'%s' was removed or replaced", directory->path);
  ListNode row;
  bool found = false;
  if (!list_find (list->list, parent->number, disk_name, &row, &found, error))
    return false;
  if (!found && (!make_locked (self, list->list, directory, kind, disk_name, full_name, error) ||
                 !list_find (list->list, parent->number, disk_name, &row, &found, error)))
    return false;
  if (!found)
    return fail (error, EUCLEAN, "the mailbox list lost '%s'", disk_name);
  *out = from_list (&row);
  return true;
}

static bool
make_child (Store *self, const StoreNode *parent, const char *name, StoreNode *out, GError **error)
{
  name = fold_inbox (parent, name);
  StoreNodeKind kind = node_child_kind (parent->kind, name);
  if (kind == STORE_NODE_DOMAIN && strcmp (name, NODE_LOST_FOUND) == 0)
    return fail (error, EINVAL, "'" NODE_LOST_FOUND "' cannot be a domain");
  if (kind == STORE_NODE_ROOT)
    return fail (error, EINVAL, "a domain holds only '" USERS "' and '" SHARED "', not '%s'", name);
  if (*name == '\0' || strlen (name) > 4096)
    return fail (error, EINVAL, "a mailbox name has 1 to 4096 bytes");
  bool lossy;
  g_autofree char *escaped = store_name_escape (name, &lossy);
  /* What is an escaped name already is taken as it is: paths below the mount are given that way. */
  g_autofree char *plain = store_name_unescape (name);
  g_autofree char *again = store_name_escape (plain, NULL);
  const char *disk_name = strcmp (again, name) == 0 ? name : escaped;
  if (kind == STORE_NODE_USER && strlen (disk_name) > USER_BYTES_MAX)
    return fail (error, ENAMETOOLONG, "user name '%s' is too long", disk_name);
  g_autofree char *path = store_node_path (self, parent->number, error);
  if (path == NULL)
    return false;
  if (strlen (path) + strlen (disk_name) > PATH_BYTES_MAX)
    return fail (error, ENAMETOOLONG, "mailbox '%s' lies too deep", disk_name);
  const char *full_name = lossy && disk_name == escaped ? name : NULL;
  for (int attempt = 1;; attempt++) {
    g_autoptr (GError) failure = NULL;
    if (make_node (self, parent, kind, disk_name, full_name, out, &failure))
      return true;
    if (failure->code != ESTALE || attempt == ATTEMPTS_MAX) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
  }
}

/* Gives a new mailbox its row, and takes note that its parent's directory changed only by it. An
 * index that cannot be written stays behind, as after any other change. */
static void
index_child (Store *self, const StoreNode *child)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self, child->number, NULL);
  g_autoptr (StoreMailbox) parent = store_mailbox_open (self, child->parent, NULL);
  auto_fd lock = mailbox != NULL ? lock_user (self, child->owner, NULL) : -1;
  g_autoptr (Handle) handle = NULL;
  g_autoptr (IndexWrite) write = lock >= 0 ? mailbox_write_begin (mailbox, &handle, NULL) : NULL;
  IndexMailbox facts;
  if (write != NULL && mailbox_facts (mailbox, write, &facts, NULL) &&
      index_write_mailbox (write, &facts, NULL) &&
      (parent == NULL || mailbox_catch_up (parent, write, NULL)))
    index_write_commit (write, NULL);
}

/* How many names a path has. */
static unsigned
path_depth (const char *path)
{
  unsigned depth = *path != '\0';
  for (const char *c = path; *c != '\0'; c++)
    depth += *c == '/';
  return depth;
}

/* Makes what is missing of `levels` below `node`, which becomes the last of them. */
static bool
make_all (Store *self, StoreNode *node, char *const *levels, unsigned count, GError **error)
{
  g_autofree char *path = count > 0 ? store_node_path (self, node->number, error) : NULL;
  if (count > 0 && path == NULL)
    return false;
  if (count > 0 && path_depth (path) + count > NODE_DEPTH_MAX)
    return fail (error, ENAMETOOLONG, "more than %u levels of mailboxes", NODE_DEPTH_MAX);
  for (unsigned i = 0; i < count; i++) {
    StoreNode child = {0};
    if (!make_child (self, node, levels[i], &child, error))
      return false;
    store_node_clear (node);
    *node = child;
    if (node->kind == STORE_NODE_MAILBOX)
      index_child (self, node);
  }
  return true;
}

bool
store_mailbox_create (Store *self, const char *spelling, StoreNode *out, GError **error)
{
  g_autoptr (GPtrArray) levels = spelling_levels (self, spelling);
  g_auto (StoreNode) node = {0};
  unsigned depth;
  if (!locate (self, levels, &node, &depth, error))
    return false;
  bool user = levels->len == 3 && strcmp (levels->pdata[1], USERS) == 0;
  if (user) {
    g_ptr_array_add (levels, g_strdup (INBOX));
    unsigned more = 0;
    if (depth == 3 && !descend (self, (char *const *)levels->pdata + 3, 1, &node, &more, error))
      return false;
    depth += more;
  }
  if (levels->len < 3) {
    g_autofree char *printable = store_text_printable (spelling);
    return fail (error, EINVAL, "'%s' names no mailbox; write USER@DOMAIN/MAILBOX", printable);
  }
  if (!make_all (self, &node, (char *const *)levels->pdata + depth, levels->len - depth, error))
    return false;
  *out = node;
  node = (StoreNode){0};
  return true;
}

bool
store_mailbox_create_at (Store *self, uint32_t parent, const char *const *names, StoreNode *out,
                         GError **error)
{
  g_auto (StoreNode) node = {0};
  unsigned count = g_strv_length ((char **)names), depth;
  if (!store_node_get (self, parent, &node, error) ||
      !descend (self, (char *const *)names, count, &node, &depth, error) ||
      !make_all (self, &node, (char *const *)names + depth, count - depth, error))
    return false;
  *out = node;
  node = (StoreNode){0};
  return true;
}
