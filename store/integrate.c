/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories that somebody else put into the store, as when a user is copied back from a backup,
 * or took away.
 *
 * The list keeps the mtime that every directory above the mailboxes had when both agreed. Opening a
 * store looks at those above the users, so its cost does not depend on how many users there are;
 * the others are looked at when they are listed, or a name in them is not found. Whoever makes or
 * removes such a directory through this library keeps the mtime on the list current. Mailboxes
 * change with each delivery; there the number of directories counts.
 */
#include "store/internal.h"

#include <string.h>
#include <unistd.h>

/* As in walk.c: what changed within this time could change again and have the same mtime. */
#define FRESH_NS 100000000

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

/* Something to do with every directory above the users: the root, the domains and what holds the
 * users of one. */
typedef struct Top Top;
struct Top {
  Store *store;
  bool (*each) (const Top *top, List *list, uint32_t number, GError **error);
  bool *answer;
};

static bool
each_of_domain (List *list, ListNode *domain, void *data, GError **error)
{
  const Top *top = data;
  g_auto (ListNode) users = {0};
  bool found;
  return top->each (top, list, domain->number, error) &&
         list_find (list, domain->number, NODE_USERS, &users, &found, error) &&
         (!found || top->each (top, list, users.number, error));
}

static bool
each_top (Top *top, List *list, GError **error)
{
  return top->each (top, list, STORE_ROOT, error) &&
         list_each_child (list, STORE_ROOT, each_of_domain, top, error);
}

static bool
is_due (const Top *top, List *list, uint32_t number, GError **error)
{
  bool agrees;
  if (!container_agrees (top->store, list, number, &agrees, error))
    return false;
  *top->answer |= !agrees;
  return true;
}

bool
integrate_is_due (Store *store, List *list, bool *out_due, GError **error)
{
  bool due = false;
  Top top = {store, is_due, &due};
  if (!each_top (&top, list, error))
    return false;
  *out_due = due;
  return true;
}

/* With the store lock held, looks again. */
static bool
integrate (const Top *top, List *list, uint32_t number, GError **error)
{
  bool agrees, changed = false;
  if (!container_agrees (top->store, list, number, &agrees, error) ||
      (!agrees && !relist_part (top->store, list, number, &changed, error)))
    return false;
  if (changed)
    change_note (top->store, number, 0);
  return true;
}

void
integrate_all (Store *store)
{
  g_autoptr (Handle) known = cache_list (store, NULL);
  Top top = {.store = store, .each = integrate};
  bool due = false;
  if (known == NULL || known->failure != NULL ||
      !integrate_is_due (store, known->list, &due, NULL) || !due)
    return;
  g_autoptr (Handle) list = NULL;
  auto_fd lock = lock_list (store, &list, NULL);
  if (lock >= 0)
    each_top (&top, list->list, NULL);
}

/* Whether there are as many directories in a directory as the list has, where the filesystem counts
 * them as links (ext4, XFS, not btrfs). A mailbox changes all the time, but it is looked at anew
 * only then, and once is enough. */
static bool
has_as_many (Store *store, List *list, uint32_t number)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, number, NULL);
  uint64_t expected = 2, children;
  struct stat st, own;
  if (mailbox == NULL || fstat (mailbox->fd, &st) < 0 || st.st_nlink < expected)
    return true;
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&mailbox->mutex);
  if (mailbox->listed_ns == stat_mtime_ns (&st) ||
      !list_child_count (list, number, &children, NULL))
    return true;
  if (g_get_real_time () * 1000 - stat_mtime_ns (&st) > FRESH_NS)
    mailbox->listed_ns = stat_mtime_ns (&st);
  const char *of_store = number == STORE_ROOT ? NODE_LOST_FOUND : LAYOUT_EXPUNGED;
  expected += children + (fstatat (mailbox->fd, of_store, &own, AT_SYMLINK_NOFOLLOW) == 0);
  return st.st_nlink == expected;
}

/* Where a change that hides a name in `node` would show: mailboxes have no mtime on the list, but
 * what was moved between them, and was not noted any more, has left a mark on their owner. */
static bool
is_doubtful (Store *store, List *list, const ListNode *node, bool lacks, uint32_t *out_number,
             bool *out_doubtful, GError **error)
{
  int64_t known_ns;
  bool agrees = true;
  *out_number = node->number;
  if (node->kind != LIST_MAILBOX) {
    if (!container_agrees (store, list, node->number, &agrees, error))
      return false;
    *out_doubtful = !agrees;
    return true;
  }
  if (!list_container (list, node->owner, &known_ns, error))
    return false;
  bool dirty = known_ns == LIST_CONTAINER_DIRTY;
  *out_doubtful = dirty || lacks;
  if (dirty)
    *out_number = node->owner;
  return true;
}

bool
integrate_at (Store *store, uint32_t parent)
{
  g_autoptr (Handle) known = cache_list (store, NULL);
  g_auto (ListNode) node = {.kind = LIST_ROOT};
  bool found = parent == STORE_ROOT, lacks, doubtful;
  Top top = {.store = store};
  uint32_t number;
  if (known == NULL || known->failure != NULL || store->evidence != NULL ||
      (!found && !list_get (known->list, parent, &node, &found, NULL)) || !found)
    return false;
  lacks = !has_as_many (store, known->list, parent);
  /* Of a page that was lost, in part, nothing else tells: its names are just not found. */
  if (lacks && !list_verify (known->list, NULL)) {
    g_autoptr (Handle) fresh = cache_renew_list (store, known, NULL);
    return fresh != NULL;
  }
  if (!is_doubtful (store, known->list, &node, lacks, &number, &doubtful, NULL) || !doubtful)
    return false;
  if (store_is_read_only (store))
    return cache_outdate_list (store);
  g_autoptr (Handle) list = NULL;
  auto_fd lock = lock_list (store, &list, NULL);
  return lock >= 0 && integrate (&top, list->list, number, NULL);
}

int64_t
store_path_changed_ns (Store *self, const char *path)
{
  struct stat st;
  const char *name = *path != '\0' ? path : ".";
  return fstatat (self->mail_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? stat_ctime_ns (&st) : 0;
}

bool
store_node_is_foreign (Store *self, uint32_t number)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self, number, NULL);
  if (mailbox == NULL)
    return true;
  if (mailbox->kind == STORE_NODE_MAILBOX) {
    bool behind = mailbox_is_behind (mailbox);
    if (behind)
      heal_note (mailbox, HEAL_ROWS);
    return behind;
  }
  g_autoptr (Handle) list = cache_list (self, NULL);
  bool agrees = false;
  return list == NULL || !container_agrees (self, list->list, number, &agrees, NULL) || !agrees;
}

/* ---- doubt --------------------------------------------------------------------------------- */

static bool
write_containers (List *list, uint32_t owner, int64_t owner_ns, uint32_t above, int64_t above_ns,
                  GError **error)
{
  g_autoptr (ListWrite) write = list_write_begin (list, error);
  return write != NULL && list_write_container (write, owner, owner_ns, error) &&
         list_write_container (write, above, above_ns, error) && list_write_commit (write, error);
}

bool
doubt_begin (Doubt *out, Store *store, List *list, uint32_t owner, GError **error)
{
  g_auto (Doubt) doubt = {0};
  g_auto (StoreNode) node = {0};
  if (!store_node_get (store, owner, &node, error) ||
      (doubt.owner = store_mailbox_open (store, owner, error)) == NULL ||
      (doubt.above = store_mailbox_open (store, node.parent, error)) == NULL ||
      !container_agrees (store, list, owner, &doubt.owner_agreed, error) ||
      !container_agrees (store, list, node.parent, &doubt.above_agreed, error) ||
      !list_container (list, owner, &doubt.owner_ns, error) ||
      !list_container (list, node.parent, &doubt.above_ns, error) ||
      !write_containers (list, owner, LIST_CONTAINER_DIRTY, node.parent, LIST_CONTAINER_UNKNOWN,
                         error))
    return false;
  *out = doubt;
  doubt = (Doubt){0};
  return true;
}

/* What the list shall say of a directory that only we may have changed. */
static bool
settled_time (StoreMailbox *directory, bool agreed, int64_t before_ns, int64_t *out_ns,
              GError **error)
{
  struct stat st;
  if (fstat (directory->fd, &st) < 0)
    return fail_errno (error, "stat '%s'", directory->path);
  *out_ns = before_ns;
  return !agreed || stat_mtime_ns (&st) == before_ns || mailbox_stamp (directory, out_ns, error);
}

bool
doubt_end (const Doubt *doubt, ListWrite *write, GError **error)
{
  int64_t owner_ns, above_ns;
  return settled_time (doubt->owner, doubt->owner_agreed, doubt->owner_ns, &owner_ns, error) &&
         settled_time (doubt->above, doubt->above_agreed, doubt->above_ns, &above_ns, error) &&
         list_write_container (write, doubt->owner->number, owner_ns, error) &&
         list_write_container (write, doubt->above->number, above_ns, error);
}

void
doubt_drop (const Doubt *doubt, List *list)
{
  write_containers (list, doubt->owner->number, doubt->owner_ns, doubt->above->number,
                    doubt->above_ns, NULL);
}

void
doubt_clear (Doubt *doubt)
{
  g_clear_pointer (&doubt->owner, store_mailbox_unref);
  g_clear_pointer (&doubt->above, store_mailbox_unref);
}
