/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories that somebody else put into the store, as when a user is copied back from a backup,
 * or took away.
 *
 * The list keeps the mtime that every directory above the mailboxes had when both agreed. Opening a
 * store looks at those above the users, so its cost does not depend on how many users there are;
 * the others are looked at when a name in them is not found. Whoever makes or removes such a
 * directory through this library keeps the mtime on the list current.
 */
#include "store/internal.h"

#include <string.h>
#include <unistd.h>

/* The mtime of a node's directory; LIST_CONTAINER_UNKNOWN when it cannot be told. */
static bool
directory_time (Store *store, List *list, uint32_t number, int64_t *out_ns, GError **error)
{
  g_autofree char *path = NULL;
  struct stat st;
  if (!list_node_path (list, number, &path, error))
    return false;
  bool there = fstatat (store->mail_fd, *path != '\0' ? path : ".", &st, AT_SYMLINK_NOFOLLOW) == 0;
  *out_ns = there ? stat_mtime_ns (&st) : LIST_CONTAINER_UNKNOWN;
  return true;
}

bool
container_agrees (Store *store, List *list, uint32_t number, bool *out_agrees, GError **error)
{
  int64_t known_ns, now_ns;
  if (!list_container (list, number, &known_ns, error) ||
      !directory_time (store, list, number, &now_ns, error))
    return false;
  *out_agrees = known_ns == now_ns && now_ns != LIST_CONTAINER_UNKNOWN;
  return true;
}

/* Calls `each` for the root, the domains and what holds the users of one, until it says false. */
typedef bool (*TopFunc) (Store *store, List *list, uint32_t number, void *data, GError **error);
static bool
each_top (Store *store, List *list, TopFunc each, void *data, GError **error)
{
  ListNode page[64];
  g_autofree char *after = NULL;
  if (!each (store, list, STORE_ROOT, data, error))
    return false;
  for (size_t count = 1; count > 0;) {
    if (!list_children (list, STORE_ROOT, after, page, G_N_ELEMENTS (page), &count, error))
      return false;
    bool going = true;
    for (size_t i = 0; i < count && going; i++) {
      g_auto (ListNode) users = {0};
      bool found;
      going = each (store, list, page[i].number, data, error) &&
              list_find (list, page[i].number, NODE_USERS, &users, &found, error) &&
              (!found || each (store, list, users.number, data, error));
    }
    g_free (after);
    after = count > 0 ? g_strdup (page[count - 1].name) : NULL;
    list_nodes_clear (page, count);
    if (!going)
      return false;
  }
  return true;
}

static bool
is_due (Store *store, List *list, uint32_t number, void *due, GError **error)
{
  bool agrees;
  if (!container_agrees (store, list, number, &agrees, error))
    return false;
  *(bool *)due |= !agrees;
  return true;
}

bool
integrate_is_due (Store *store, List *list, bool *out_due, GError **error)
{
  bool due = false;
  if (!each_top (store, list, is_due, &due, error))
    return false;
  *out_due = due;
  return true;
}

/* With the store lock held, looks again. */
static bool
integrate (Store *store, List *list, uint32_t number, void *changed, GError **error)
{
  bool agrees, here = false;
  if (!container_agrees (store, list, number, &agrees, error) ||
      (!agrees && !relist_part (store, list, number, &here, error)))
    return false;
  if (here)
    change_note (store, number, 0);
  *(bool *)changed |= here;
  return true;
}

void
integrate_all (Store *store)
{
  g_autoptr (Handle) known = cache_list (store, NULL);
  bool due = false, changed;
  if (known == NULL || known->failure != NULL ||
      !integrate_is_due (store, known->list, &due, NULL) || !due)
    return;
  g_autoptr (Handle) list = NULL;
  auto_fd lock = lock_list (store, &list, NULL);
  if (lock >= 0)
    each_top (store, list->list, integrate, &changed, NULL);
}

/* Where a change that hides a name in `node` would show: mailboxes have no mtime on the list, but
 * what was moved between them, and was not noted any more, has left a mark on their owner. */
static bool
is_doubtful (Store *store, List *list, const ListNode *node, uint32_t *out_number,
             bool *out_doubtful, GError **error)
{
  int64_t known_ns;
  bool agrees = true;
  if (node->kind != LIST_MAILBOX) {
    *out_number = node->number;
    if (!container_agrees (store, list, node->number, &agrees, error))
      return false;
    *out_doubtful = !agrees;
    return true;
  }
  if (!list_container (list, node->owner, &known_ns, error))
    return false;
  *out_number = node->owner;
  *out_doubtful = known_ns == LIST_CONTAINER_DIRTY;
  return true;
}

bool
integrate_at (Store *store, uint32_t parent)
{
  g_autoptr (Handle) known = store_is_read_only (store) ? NULL : cache_list (store, NULL);
  g_auto (ListNode) node = {.kind = LIST_ROOT};
  bool found = parent == STORE_ROOT, doubtful, changed;
  uint32_t number;
  if (known == NULL || known->failure != NULL ||
      (!found && !list_get (known->list, parent, &node, &found, NULL)) || !found ||
      !is_doubtful (store, known->list, &node, &number, &doubtful, NULL) || !doubtful)
    return false;
  g_autoptr (Handle) list = NULL;
  auto_fd lock = lock_list (store, &list, NULL);
  return lock >= 0 && integrate (store, list->list, number, &changed, NULL);
}
