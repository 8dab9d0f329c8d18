/* SPDX-License-Identifier: Apache-2.0 */
/* Making mailboxes: a directory that is complete when it appears, its row in the list, its row in
 * the user's index. */
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* What a user may be called: the index is named after it, with ".sqlite3", and a suffix that tells
 * the time when a broken one was put aside, at the end. */
#define USER_BYTES_MAX 208u

/* How often a node is made again when the list goes away under it. */
#define ATTEMPTS_MAX 3

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

static bool
child_time (int parent_fd, const char *name, int64_t *out_ns, GError **error)
{
  struct stat st;
  if (fstatat (parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_errno (error, "stat '%s'", name);
  *out_ns = stat_mtime_ns (&st);
  return true;
}

/* Puts the row of a new node on the list, and takes note that its parent's directory changed only
 * by it, if that is so. A directory that was there before may have anything in it. */
static bool
list_new (Store *self, List *list, StoreMailbox *parent, const ListNode *row, bool agreed,
          bool adopted, GError **error)
{
  int64_t parent_ns = LIST_CONTAINER_UNKNOWN, own_ns = LIST_CONTAINER_UNKNOWN;
  g_autoptr (ListWrite) write = list_write_begin (list, error);
  if (write == NULL || !list_write_new_node (write, row, error))
    return false;
  if (agreed && (!mailbox_stamp (parent, &parent_ns, error) ||
                 !list_write_container (write, parent->number, parent_ns, error)))
    return false;
  if (row->kind != LIST_MAILBOX && !adopted &&
      (!child_time (parent->fd, row->name, &own_ns, error) ||
       !list_write_container (write, row->number, own_ns, error)))
    return false;
  return list_write_commit (write, error);
}

/* Keeps what snapshots need of the directory in which something is made; and that there was no node
 * with the number of a directory that came back. */
static bool
keep_parent (const Epoch *epoch, StoreMailbox *parent, uint32_t number, GError **error)
{
  g_auto (Keep) keep = {0};
  if (number == 0)
    return keep_directory (epoch, parent, error);
  if (!keep_begin_tree (&keep, epoch, error))
    return false;
  keep_absent (&keep, number);
  return keep_end (&keep, error);
}

/* Makes the directory and its row; the store lock is held. */
static bool
make_locked (Store *self, const Epoch *epoch, List *list, StoreMailbox *parent, StoreNodeKind kind,
             const char *disk_name, const char *full_name, GError **error)
{
  NewNode node = {.store = self, .kind = kind};
  node.state.uidnext = 1;
  node.state.full_name = g_strdup (full_name);
  g_autoptr (GError) failure = NULL;
  uint32_t highest;
  bool agreed = false, adopted = false;
  bool made = list_highest (list, &highest, error) &&
              (parent->kind == STORE_NODE_MAILBOX ||
               container_agrees (self, list, parent->number, &agreed, error)) &&
              store_numbers_take (self, 1, highest + 1, &node.state.number, &node.state.uidvalidity,
                                  error) &&
              keep_parent (epoch, parent, 0, error);
  if (made && !layout_make_directory (self, parent->fd, disk_name, prepare_node, &node, &failure)) {
    adopted = error_code (failure) == EEXIST;
    made = adopted ? adopt (self, parent->fd, list, &node, disk_name, error)
                   : (g_propagate_error (error, g_steal_pointer (&failure)), false);
  }
  bool owns = kind == STORE_NODE_USER || kind == STORE_NODE_SHARED;
  ListNode row = {.number = node.state.number,
                  .parent = parent->number,
                  .owner = owns ? node.state.number : parent->owner,
                  .kind = (ListKind)kind,
                  .subscribed = node.state.subscribed,
                  .no_index = node.state.no_index,
                  .name = (char *)disk_name,
                  .full_name = node.state.full_name,
                  .special_use = node.state.special_use};
  made = made && (!adopted || keep_parent (epoch, parent, node.state.number, error)) &&
         list_new (self, list, parent, &row, agreed, adopted, error);
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
  g_auto (Epoch) epoch = EPOCH_NONE;
  bool entered = directory != NULL && epoch_enter (self, &epoch, error);
  auto_fd lock = entered ? lock_list (self, &list, error) : -1;
  if (lock < 0)
    return false;
  if (!mailbox_is_current (directory))
    return fail (error, ESTALE, "'%s' was removed or replaced", directory->path);
  ListNode row;
  bool found = false;
  if (!list_find (list->list, parent->number, disk_name, &row, &found, error))
    return false;
  if (!found &&
      (!make_locked (self, &epoch, list->list, directory, kind, disk_name, full_name, error) ||
       !list_find (list->list, parent->number, disk_name, &row, &found, error)))
    return false;
  if (!found)
    return fail (error, EUCLEAN, "the mailbox list lost '%s'", disk_name);
  *out = node_from_list (&row);
  return true;
}

/* A new domain has to be one, as far as a typo would show; what is there is taken as it is. */
static bool
is_domain (const char *name)
{
  bool label = false;
  for (const char *c = name; *c != '\0'; c++) {
    if ((unsigned char)*c <= ' ' || *c == 0x7f || *c == '/' || *c == '%' || (*c == '.' && !label))
      return false;
    label = *c != '.';
  }
  return label;
}

static bool
check_new_name (StoreNodeKind kind, const char *name, GError **error)
{
  if (kind == STORE_NODE_DOMAIN ? is_domain (name)
                                : strcmp (name, ".") != 0 && strcmp (name, "..") != 0)
    return true;
  g_autofree char *printable = store_text_printable (name);
  return fail (error, EINVAL, "'%s' cannot be the name of a %s", printable,
               kind == STORE_NODE_DOMAIN ? "domain" : "mailbox or user");
}

bool
create_name (const StoreNode *parent, const char *name, char **out_name, char **out_full_name,
             GError **error)
{
  name = spelling_fold (parent, name);
  StoreNodeKind kind = node_child_kind (parent->kind, name);
  if (kind == STORE_NODE_DOMAIN && strcmp (name, NODE_LOST_FOUND) == 0)
    return fail (error, EINVAL, "'" NODE_LOST_FOUND "' cannot be a domain");
  if (kind == STORE_NODE_ROOT && parent->kind == STORE_NODE_DOMAIN)
    return fail (error, EINVAL,
                 "a domain holds only '" NODE_USERS "' and '" NODE_SHARED "', not '%s'", name);
  if (*name == '\0' || strlen (name) > 4096)
    return fail (error, EINVAL, "a mailbox name has 1 to 4096 bytes");
  bool lossy;
  g_autofree char *escaped = store_name_escape (name, &lossy);
  /* What is an escaped name already is taken as it is: paths below the mount are given that way. */
  g_autofree char *plain = store_name_unescape (name);
  g_autofree char *again = store_name_escape (plain, NULL);
  bool is_escaped = strcmp (again, name) == 0;
  if (!check_new_name (kind, is_escaped ? plain : name, error))
    return false;
  if (kind == STORE_NODE_USER && strlen (is_escaped ? name : escaped) > USER_BYTES_MAX)
    return fail (error, ENAMETOOLONG, "user name '%s' is too long", name);
  *out_full_name = lossy && !is_escaped ? g_strdup (name) : NULL;
  *out_name = is_escaped ? g_strdup (name) : g_steal_pointer (&escaped);
  return true;
}

static bool
make_child (Store *self, const StoreNode *parent, const char *name, StoreNode *out, GError **error)
{
  g_autofree char *disk_name = NULL, *full_name = NULL;
  if (!create_name (parent, name, &disk_name, &full_name, error))
    return false;
  StoreNodeKind kind = node_child_kind (parent->kind, disk_name);
  g_autofree char *path = store_node_path (self, parent->number, error);
  if (path == NULL)
    return false;
  if (strlen (path) + strlen (disk_name) > PATH_BYTES_MAX)
    return fail (error, ENAMETOOLONG, "mailbox '%s' lies too deep", disk_name);
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
  g_auto (Epoch) epoch = EPOCH_NONE;
  g_autoptr (Handle) handle = NULL;
  bool entered = lock >= 0 && epoch_enter (self, &epoch, NULL);
  g_autoptr (IndexWrite) write = entered ? mailbox_write_begin (mailbox, &handle, NULL) : NULL;
  IndexMailbox facts;
  if (write != NULL && mailbox_facts (mailbox, write, &facts, NULL) &&
      index_write_mailbox (write, &facts, NULL) &&
      (parent == NULL || mailbox_catch_up (parent, &epoch, write, NULL)))
    index_write_commit (write, NULL);
}

unsigned
create_path_depth (const char *path)
{
  unsigned depth = *path != '\0';
  for (const char *c = path; *c != '\0'; c++)
    depth += *c == '/';
  return depth;
}

bool
create_levels (Store *self, StoreNode *node, char *const *levels, unsigned count, GError **error)
{
  g_autofree char *path = count > 0 ? store_node_path (self, node->number, error) : NULL;
  if (count > 0 && path == NULL)
    return false;
  if (count > 0 && create_path_depth (path) + count > NODE_DEPTH_MAX)
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
  StoreTree tree = store_tree (self);
  g_autoptr (GPtrArray) levels = spelling_split (&tree, spelling);
  g_auto (StoreNode) node = {0};
  unsigned depth;
  if (!spelling_locate (&tree, levels, &node, &depth, error))
    return false;
  bool user = levels->len == 3 && strcmp (levels->pdata[1], NODE_USERS) == 0;
  if (user) {
    g_ptr_array_add (levels, g_strdup (NODE_INBOX));
    unsigned more = 0;
    if (depth == 3 &&
        !spelling_descend (&tree, (char *const *)levels->pdata + 3, 1, &node, &more, error))
      return false;
    depth += more;
  }
  if (levels->len < 3) {
    g_autofree char *printable = store_text_printable (spelling);
    return fail (error, EINVAL, "'%s' names no mailbox; write USER@DOMAIN/MAILBOX", printable);
  }
  if (!create_levels (self, &node, (char *const *)levels->pdata + depth, levels->len - depth,
                      error))
    return false;
  *out = node;
  node = (StoreNode){0};
  return true;
}

bool
store_mailbox_create_at (Store *self, uint32_t parent, const char *const *names, StoreNode *out,
                         GError **error)
{
  StoreTree tree = store_tree (self);
  g_auto (StoreNode) node = {0};
  unsigned count = g_strv_length ((char **)names), depth;
  if (!store_node_get (self, parent, &node, error) ||
      !spelling_descend (&tree, (char *const *)names, count, &node, &depth, error) ||
      !create_levels (self, &node, (char *const *)names + depth, count - depth, error))
    return false;
  *out = node;
  node = (StoreNode){0};
  return true;
}
