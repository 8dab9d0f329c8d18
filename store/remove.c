/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing a mailbox, a user, or a domain without any: the directory goes to quarantine as it is,
 * the rows leave the list and the index. Nothing is lost; bringing it back is renaming it back.
 */
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* Adds the numbers of a node and of all below it: a ListChildFunc. */
static bool
collect (List *list, ListNode *node, void *numbers, GError **error)
{
  g_array_append_val ((GArray *)numbers, node->number);
  return list_each_child (list, node->number, collect, numbers, error);
}

static bool
remove_row (List *list, uint32_t number, const Doubt *doubt, GError **error)
{
  g_autoptr (ListWrite) write = list_write_begin (list, error);
  return write != NULL && doubt_end (doubt, write, error) &&
         list_write_remove (write, number, error) && list_write_commit (write, error);
}

/* What is locked, and whose place on the list is in doubt, meanwhile; a domain has no owner. */
static uint32_t
owner_of (const StoreMailbox *mailbox)
{
  return mailbox->owner != 0 ? mailbox->owner : mailbox->number;
}

/* A user's index, which nobody would find any more after a crash, goes first: it is a cache. */
static bool
forget_index (StoreMailbox *owner, GError **error)
{
  g_autofree char *path = layout_index_path (owner->store, owner->path);
  g_autofree char *text = layout_fulltext_path (owner->store, owner->path);
  cache_drop_index (owner->store, owner->number);
  return layout_remove_database (text, error) && layout_remove_database (path, error);
}

/* A domain goes when nobody is left in it; tells who is: a ListChildFunc. */
static bool
refuse_inhabited (List *list, ListNode *node, void *path, GError **error)
{
  g_autofree char *below = g_build_filename (path, node->name, NULL);
  if (node->kind == LIST_USERS)
    return list_each_child (list, node->number, refuse_inhabited, below, error);
  return fail (error, ENOTEMPTY, "'%s' is not empty: '%s' is in the way", (char *)path, below);
}

static bool
may_go (List *list, const StoreMailbox *mailbox, bool recursive, guint count, GError **error)
{
  if (mailbox->kind == STORE_NODE_DOMAIN)
    return list_each_child (list, mailbox->number, refuse_inhabited, mailbox->path, error);
  return count <= 1 || recursive ||
         fail (error, ENOTEMPTY, "'%s' holds mailboxes; -r removes them, too", mailbox->path);
}

/* Keeps for snapshots where all that goes is, and where it will be; and what the directory is like
 * that it was in. */
static bool
keep_places (StoreMailbox *mailbox, StoreMailbox *parent, const Epoch *epoch, List *list,
             const GArray *numbers, const char *stamp, GError **error)
{
  g_auto (Keep) keep = {0};
  if (!keep_begin_tree (&keep, epoch, error))
    return false;
  for (guint i = 0; i < numbers->len && keep.history != NULL; i++) {
    g_auto (ListNode) row = {0};
    g_autofree char *path = NULL;
    bool found;
    uint32_t number = g_array_index (numbers, uint32_t, i);
    if (!list_get (list, number, &row, &found, error) ||
        !list_node_path (list, number, &path, error))
      return false;
    g_autofree char *place = g_build_filename (stamp, path, NULL);
    if (found)
      keep_node (&keep, &row, place);
  }
  return keep_end (&keep, error) && keep_directory (epoch, mailbox, error) &&
         keep_directory (epoch, parent, error);
}

/* With the user locked: takes the directory away, then its row. A list that cannot follow is
 * marked, and follows at the next look. */
static bool
remove_listed (StoreMailbox *mailbox, StoreMailbox *parent, const Epoch *epoch, bool recursive,
               GArray *numbers, char **out_place, GError **error)
{
  Store *store = mailbox->store;
  g_autoptr (Handle) list = NULL;
  auto_fd lock = lock_list (store, &list, error);
  g_auto (Doubt) doubt = {0};
  if (lock < 0)
    return false;
  if (!mailbox_is_current (mailbox))
    return fail (error, ESTALE, "'%s' was removed or renamed", mailbox->path);
  ListNode top = {.number = mailbox->number};
  if (!collect (list->list, &top, numbers, error))
    return false;
  g_autofree char *stamp = quarantine_stamp ();
  if (!may_go (list->list, mailbox, recursive, numbers->len, error) ||
      !keep_places (mailbox, parent, epoch, list->list, numbers, stamp, error) ||
      (mailbox->number == mailbox->owner && !forget_index (mailbox, error)) ||
      !doubt_begin (&doubt, store, list->list, owner_of (mailbox), error))
    return false;
  if (!quarantine_take (store, stamp, mailbox->path, error)) {
    if (mailbox_is_current (mailbox))
      doubt_drop (&doubt, list->list);
    return false;
  }
  remove_row (list->list, mailbox->number, &doubt, NULL);
  *out_place = g_build_filename (stamp, mailbox->path, NULL);
  return true;
}

/* The rows of what was removed, and the peace with the directory that it was in. Rows that stay are
 * found when the index is rebuilt. */
static void
forget_rows (StoreMailbox *parent, const Epoch *epoch, const GArray *numbers)
{
  g_autoptr (Handle) handle = NULL;
  g_autoptr (IndexWrite) write = mailbox_write_begin (parent, &handle, NULL);
  bool good = write != NULL;
  for (guint i = 0; i < numbers->len && good; i++)
    good = index_write_remove_mailbox (write, g_array_index (numbers, uint32_t, i), NULL);
  if (good && (parent->kind != STORE_NODE_MAILBOX || mailbox_catch_up (parent, epoch, write, NULL)))
    index_write_commit (write, NULL);
}

static bool
may_remove (Store *store, const StoreNode *node, GError **error)
{
  if (node_is_inbox (store, node))
    return fail (error, EINVAL, "INBOX cannot be removed, only the user as a whole");
  return node->kind == STORE_NODE_MAILBOX || node->kind == STORE_NODE_USER ||
         node->kind == STORE_NODE_SHARED || node->kind == STORE_NODE_DOMAIN ||
         fail (error, EINVAL, "'%s' is no mailbox, user or domain", node->name);
}

bool
store_mailbox_remove (Store *self, uint32_t number, bool recursive, char **out_place,
                      GError **error)
{
  g_auto (StoreNode) node = {0};
  if (store_is_read_only (self))
    return fail (error, EROFS, "the store %s is open read only", self->path);
  if (!store_node_get (self, number, &node, error) || !may_remove (self, &node, error))
    return false;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self, number, error);
  g_autoptr (StoreMailbox) parent =
      mailbox != NULL ? store_mailbox_open (self, node.parent, error) : NULL;
  g_autoptr (GArray) numbers = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  auto_fd lock = parent != NULL ? lock_user (self, owner_of (mailbox), error) : -1;
  g_auto (Epoch) epoch = EPOCH_NONE;
  g_autofree char *place = NULL;
  if (lock < 0 || !epoch_enter (self, &epoch, error) ||
      !remove_listed (mailbox, parent, &epoch, recursive, numbers, &place, error))
    return false;
  if (node.kind == STORE_NODE_MAILBOX)
    forget_rows (parent, &epoch, numbers);
  change_note (self, node.parent, 0);
  change_note (self, number, 0);
  if (out_place != NULL)
    *out_place = g_steal_pointer (&place);
  return true;
}
