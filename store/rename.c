/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renaming a mailbox: its directory gets another name or place, and everything in it stays as it
 * is: number, UIDs, UIDVALIDITY, messages and sub-mailboxes.
 *
 * The directory leads. Before it moves, the list is marked as doubtful for the owner; the list
 * follows in the commit that takes the mark away. After a crash in between, whoever opens the store
 * lists the owner anew.
 */
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* One renaming, with the user lock held from when it is known to be possible. */
typedef struct {
  Store *store;
  StoreMailbox *source, *from, *to; /* what moves, and the directories that it leaves and enters */
  char *name, *full_name;           /* the new ones */
} Rename;

static void
rename_clear (Rename *self)
{
  g_clear_pointer (&self->source, store_mailbox_unref);
  g_clear_pointer (&self->from, store_mailbox_unref);
  g_clear_pointer (&self->to, store_mailbox_unref);
  g_free (self->name);
  g_free (self->full_name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Rename, rename_clear)

/* ---- whether it can be --------------------------------------------------------------------- */

/* Whether `number` is `above` or lies below it. */
static bool
is_within (List *list, uint32_t number, uint32_t above, bool *out_within, GError **error)
{
  for (unsigned depth = 0; number != STORE_ROOT && number != above; depth++) {
    g_auto (ListNode) row = {0};
    bool found;
    if (!list_get (list, number, &row, &found, error))
      return false;
    if (!found || depth > NODE_DEPTH_MAX)
      return fail (error, ESTALE, "mailbox %u was removed", number);
    number = row.parent;
  }
  *out_within = number == above;
  return true;
}

/* How many levels there are below a node, and how long the longest path through them is. */
typedef struct {
  unsigned levels;
  size_t bytes;
} Extent;

static bool
measure (List *list, ListNode *child, void *data, GError **error)
{
  Extent *extent = data, below = {0};
  if (!list_each_child (list, child->number, measure, &below, error))
    return false;
  extent->levels = MAX (extent->levels, below.levels + 1);
  extent->bytes = MAX (extent->bytes, below.bytes + 1 + strlen (child->name));
  return true;
}

static bool
fits (const Rename *self, List *list, GError **error)
{
  Extent below = {0};
  if (!list_each_child (list, self->source->number, measure, &below, error))
    return false;
  if (create_path_depth (self->to->path) + 1 + below.levels > NODE_DEPTH_MAX)
    return fail (error, ENAMETOOLONG, "more than %u levels of mailboxes", NODE_DEPTH_MAX);
  return strlen (self->to->path) + 1 + strlen (self->name) + below.bytes <= PATH_BYTES_MAX ||
         fail (error, ENAMETOOLONG, "mailbox '%s' would lie too deep", self->name);
}

/* With all locks held: what was true before may not be any more. */
static bool
may_move (const Rename *self, List *list, GError **error)
{
  bool within, taken;
  g_auto (ListNode) other = {0};
  if (!mailbox_is_current (self->source) || !mailbox_is_current (self->from) ||
      !mailbox_is_current (self->to))
    return fail (error, ESTALE, "'%s' was removed or renamed", self->source->path);
  if (!is_within (list, self->to->number, self->source->number, &within, error) ||
      !list_find (list, self->to->number, self->name, &other, &taken, error))
    return false;
  if (within)
    return fail (error, EINVAL, "'%s' cannot be moved into itself", self->source->path);
  if (taken)
    return fail (error, EEXIST, "there is a mailbox '%s/%s' already", self->to->path, self->name);
  return fits (self, list, error);
}

/* ---- doing it ------------------------------------------------------------------------------ */

/* Puts the full name on the directory. One that does not fit the directory's name counts for
 * nothing, so a new one is written before the directory moves, and an old one taken away after. */
static bool
write_full_name (const Rename *self, GError **error)
{
  StoreMailbox *source = self->source;
  g_auto (NodeState) state = {0};
  bool found = false;
  if (!node_state_read (source->fd, source->kind, &state, &found, error))
    return fail_prefix (error, "'%s'", source->path);
  if (!found || g_strcmp0 (state.full_name, self->full_name) == 0)
    return true;
  g_free (state.full_name);
  state.full_name = g_strdup (self->full_name);
  if (!node_state_write (self->store, source->fd, source->kind, &state, error))
    return fail_prefix (error, "'%s'", source->path);
  return fsync (source->fd) == 0 || fail_errno (error, "sync '%s'", source->path);
}

static bool
move_directory (const Rename *self, GError **error)
{
  g_autofree char *old = g_path_get_basename (self->source->path);
  if (self->full_name != NULL && !write_full_name (self, error))
    return false;
  if (layout_move (self->from->fd, old, self->to->fd, self->name) < 0)
    return fail_errno (error, "rename '%s' to '%s/%s'", self->source->path, self->to->path,
                       self->name);
  /* From here on it has that name. Where it is now comes first: it must not be lost in between. */
  if (fsync (self->to->fd) < 0 || fsync (self->from->fd) < 0)
    return fail_errno (error, "sync '%s'", self->to->path);
  return self->full_name != NULL || write_full_name (self, error);
}

static bool
write_row (const Rename *self, List *list, const Doubt *doubt, GError **error)
{
  g_auto (ListNode) row = {0};
  bool found;
  if (!list_get (list, self->source->number, &row, &found, error))
    return false;
  g_free (row.name);
  g_free (row.full_name);
  row.parent = self->to->number;
  row.name = g_strdup (self->name);
  row.full_name = g_strdup (self->full_name);
  g_autoptr (ListWrite) write = list_write_begin (list, error);
  return write != NULL && list_write_node (write, &row, error) && doubt_end (doubt, write, error) &&
         list_write_commit (write, error);
}

/* Keeps for snapshots where the mailbox is, and what the directories are like that change. */
static bool
keep_place (const Rename *self, const Epoch *epoch, List *list, GError **error)
{
  g_auto (Keep) keep = {0};
  g_auto (ListNode) row = {0};
  bool found;
  if (!list_get (list, self->source->number, &row, &found, error) ||
      !keep_begin_tree (&keep, epoch, error))
    return false;
  if (found)
    keep_node (&keep, &row, NULL);
  return keep_end (&keep, error) && keep_directory (epoch, self->source, error) &&
         keep_directory (epoch, self->from, error) && keep_directory (epoch, self->to, error);
}

/* With the user locked. A list that cannot follow is marked, and follows at the next look. */
static bool
rename_listed (const Rename *self, const Epoch *epoch, GError **error)
{
  g_autoptr (Handle) list = NULL;
  auto_fd lock = lock_list (self->store, &list, error);
  g_auto (Doubt) doubt = {0};
  if (lock < 0 || !may_move (self, list->list, error) ||
      !keep_place (self, epoch, list->list, error) ||
      !doubt_begin (&doubt, self->store, list->list, self->source->owner, error))
    return false;
  if (!move_directory (self, error)) {
    /* Unless it has moved, and only that is not certain to last. */
    if (mailbox_is_current (self->source))
      doubt_drop (&doubt, list->list);
    return false;
  }
  write_row (self, list->list, &doubt, NULL);
  return true;
}

/* Takes note in the index that a mailbox's directory changed only by a child that came or went. */
static void
agree_again (StoreMailbox *mailbox, const Epoch *epoch)
{
  g_autoptr (Handle) handle = NULL;
  g_autoptr (IndexWrite) write =
      mailbox->kind == STORE_NODE_MAILBOX ? mailbox_write_begin (mailbox, &handle, NULL) : NULL;
  if (write != NULL && mailbox_catch_up (mailbox, epoch, write, NULL))
    index_write_commit (write, NULL);
}

static bool
rename_locked (const Rename *self, GError **error)
{
  g_autofree char *old = g_path_get_basename (self->source->path);
  auto_fd lock = lock_user (self->store, self->source->owner, error);
  g_auto (Epoch) epoch = EPOCH_NONE;
  if (lock < 0 || !epoch_enter (self->store, &epoch, error) || !rename_listed (self, &epoch, error))
    return false;
  agree_again (self->from, &epoch);
  agree_again (self->to, &epoch);
  change_note (self->store, self->from->number, 0);
  change_note (self->store, self->to->number, 0);
  change_note (self->store, self->source->number, 0);
  change_note_name (self->store, self->from->number, old);
  return true;
}

/* ---- what it is to be called --------------------------------------------------------------- */

/* Finds the target as far as it exists: `*out_depth` levels of `levels`. */
static bool
locate_target (Store *self, const StoreNode *source, const char *spelling, GPtrArray *levels,
               StoreNode *out, unsigned *out_depth, GError **error)
{
  g_autofree char *printable = store_text_printable (spelling);
  StoreTree tree = store_tree (self);
  g_autoptr (Handle) list = cache_list (self, error);
  bool within;
  if (list == NULL || !spelling_locate (&tree, levels, out, out_depth, error) ||
      !is_within (list->list, out->number, source->number, &within, error))
    return false;
  if (*out_depth == levels->len)
    return fail (error, EEXIST, "there is '%s' already", printable);
  if (within)
    return fail (error, EINVAL, "'%s' lies in the mailbox itself", printable);
  if (out->owner != source->owner)
    return fail (error, EXDEV,
                 "'%s' is not the same user's: only messages can go there, with copy or move",
                 printable);
  return true;
}

/* Makes what is missing above the target (RFC 3501, 6.3.5), and opens what takes part. */
static bool
prepare (Rename *self, const StoreNode *source, const char *spelling, GError **error)
{
  StoreTree tree = store_tree (self->store);
  g_autoptr (GPtrArray) levels = spelling_split (&tree, spelling);
  g_auto (StoreNode) parent = {0};
  unsigned depth;
  if (!locate_target (self->store, source, spelling, levels, &parent, &depth, error) ||
      !create_levels (self->store, &parent, (char *const *)levels->pdata + depth,
                      levels->len - depth - 1, error) ||
      !create_name (&parent, levels->pdata[levels->len - 1], &self->name, &self->full_name, error))
    return false;
  self->source = store_mailbox_open (self->store, source->number, error);
  self->from =
      self->source != NULL ? store_mailbox_open (self->store, source->parent, error) : NULL;
  self->to = self->from != NULL ? store_mailbox_open (self->store, parent.number, error) : NULL;
  return self->to != NULL;
}

bool
store_mailbox_rename (Store *self, uint32_t number, const char *spelling, GError **error)
{
  g_auto (StoreNode) source = {0};
  g_auto (Rename) renaming = {.store = self};
  if (store_is_read_only (self))
    return fail (error, EROFS, "the store %s is open read only", self->path);
  if (!store_node_get (self, number, &source, error))
    return false;
  if (source.kind != STORE_NODE_MAILBOX)
    return fail (error, EINVAL, "'%s' is no mailbox: only mailboxes can be renamed", source.name);
  if (node_is_inbox (self, &source))
    return fail (error, EINVAL, "INBOX cannot be renamed; move its messages instead");
  return prepare (&renaming, &source, spelling, error) && rename_locked (&renaming, error);
}
