/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mailbox list, made again from the directories below mail/: all of it, or the part where its
 * directories were changed by somebody else. A walk (walk.c) collects them; then the list is
 * brought in line in one transaction.
 */
#include "store/evidence.h"
#include "store/snapshot.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Bringing the whole list in line. */
typedef struct {
  Walk walk;
  List *list;
  GArray *deep;  /* of ListNode: rows of directories that lie too deep to be looked at */
  bool salvaged; /* the list is what a broken one still told */
} Relist;

/* ---- rows ---------------------------------------------------------------------------------- */

static bool
is_listed (List *list, const ListNode *node, bool *out_listed, GError **error)
{
  g_auto (ListNode) row = {0};
  if (!list_get (list, node->number, &row, out_listed, error))
    return false;
  *out_listed = *out_listed && row.parent == node->parent && row.owner == node->owner &&
                row.kind == node->kind && row.subscribed == node->subscribed &&
                row.no_index == node->no_index && g_strcmp0 (row.name, node->name) == 0 &&
                g_strcmp0 (row.full_name, node->full_name) == 0 &&
                g_strcmp0 (row.special_use, node->special_use) == 0;
  return true;
}

/* The number of the directory that something was found in. */
static uint32_t
parent_number (const Walk *walk, const Found *found)
{
  const Found *parent = found->parent > 0 ? walk->found->pdata[found->parent - 1] : NULL;
  return parent != NULL ? parent->state.number : STORE_ROOT;
}

static ListNode
row_of (const Walk *walk, const Found *found)
{
  const Found *owner = walk_owner (walk, found);
  return (ListNode){.number = found->state.number,
                    .parent = parent_number (walk, found),
                    .owner = owner != NULL ? owner->state.number : 0,
                    .kind = (ListKind)found->kind,
                    .subscribed = found->state.subscribed,
                    .no_index = found->state.no_index,
                    .name = found->name,
                    .full_name = found->state.full_name,
                    .special_use = found->state.special_use};
}

/* Notes when the directories were looked into, where `known` does not have that. */
static bool
write_containers (const Walk *walk, List *known, ListWrite *write, GError **error)
{
  for (guint i = walk->top > 0 ? walk->top - 1 : 0; i <= walk->found->len; i++) {
    /* The root comes last: it was not found, it is there. */
    const Found *found = i < walk->found->len ? walk->found->pdata[i] : NULL;
    bool looked = found != NULL ? !found->known || i + 1 == walk->top : walk->top == 0;
    uint32_t number = found != NULL ? found->state.number : STORE_ROOT;
    int64_t directory_ns = found != NULL ? found->directory_ns : walk->root_ns;
    int64_t known_ns = LIST_CONTAINER_UNKNOWN;
    if (!looked || (found != NULL && found->kind == STORE_NODE_MAILBOX))
      continue;
    if (known != NULL && !list_container (known, number, &known_ns, error))
      return false;
    if (known_ns != directory_ns && !list_write_container (write, number, directory_ns, error))
      return false;
  }
  return true;
}

/* ---- what snapshots need ------------------------------------------------------------------- */

/* Rows that are to go, as somebody else took their directories away or put them elsewhere. */
typedef struct {
  const Walk *walk;
  Keep keep;
} Leaving;

static void
leaving_clear (Leaving *self)
{
  keep_clear (&self->keep);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Leaving, leaving_clear)

/* Keeps a row whose directory the walk did not come to, with those below it: a ListChildFunc. */
static bool
keep_gone (List *list, ListNode *row, void *data, GError **error)
{
  Leaving *self = data;
  if (g_hash_table_contains (self->walk->numbers, GUINT_TO_POINTER (row->number)))
    return true;
  keep_node (&self->keep, row, NULL);
  return list_each_child (list, row->number, keep_gone, self, error);
}

/* Keeps what the list had of a directory, or that it had none of its number. */
static bool
keep_found (Leaving *self, List *list, const Found *found, GError **error)
{
  ListNode now = row_of (self->walk, found);
  g_auto (ListNode) row = {0};
  bool listed, same;
  if (!list_get (list, now.number, &row, &listed, error) || !is_listed (list, &now, &same, error))
    return false;
  if (!listed)
    keep_absent (&self->keep, now.number);
  else if (!same)
    keep_node (&self->keep, &row, NULL);
  return list_each_child (list, now.number, keep_gone, self, error);
}

/* Before the list follows what others did to the directories, snapshots get what it had: it is what
 * they go by. The store lock is held. */
static bool
keep_places (const Walk *walk, List *list, uint32_t top, GError **error)
{
  g_auto (Epoch) epoch = EPOCH_NONE;
  g_auto (Leaving) leaving = {.walk = walk};
  if (!epoch_look (walk->store, &epoch, error) || !keep_begin_tree (&leaving.keep, &epoch, error))
    return false;
  if (leaving.keep.history == NULL)
    return true;
  if (!list_each_child (list, top, keep_gone, &leaving, error))
    return false;
  for (guint i = 0; i < walk->found->len; i++) {
    const Found *found = walk->found->pdata[i];
    if (!found->known && !keep_found (&leaving, list, found, error))
      return false;
  }
  return keep_end (&leaving.keep, error);
}

/* ---- all of the list ----------------------------------------------------------------------- */

/* Whether the directory of a row that the walk did not come across is there, too deep for it. */
static bool
lies_deep (const Relist *self, const ListNode *row, bool *out_deep, GError **error)
{
  const Found *parent = g_hash_table_lookup (self->walk.numbers, GUINT_TO_POINTER (row->parent));
  bool below = parent != NULL && parent->depth >= NODE_DEPTH_MAX;
  for (guint i = 0; i < self->deep->len && !below; i++)
    below = g_array_index (self->deep, ListNode, i).number == row->parent;
  g_autofree char *path = NULL;
  *out_deep = false;
  return !below || (list_node_path (self->list, row->number, &path, error) &&
                    walk_is_directory (self->walk.store->mail_fd, path, out_deep, error));
}

/* Rows of `parent` whose directory is gone: their numbers. */
static bool
collect_gone (const Relist *self, uint32_t parent, GArray *gone, GError **error)
{
  ListNode page[64];
  g_autofree char *after = NULL;
  for (size_t count = 1; count > 0;) {
    if (!list_children (self->list, parent, after, page, G_N_ELEMENTS (page), &count, error))
      return false;
    bool going = true;
    for (size_t i = 0; i < count && going; i++) {
      bool there = g_hash_table_contains (self->walk.numbers, GUINT_TO_POINTER (page[i].number));
      bool deep = false;
      going = there || lies_deep (self, &page[i], &deep, error);
      if (going && !there && !deep)
        g_array_append_val (gone, page[i].number);
      if (deep) {
        g_array_append_val (self->deep, page[i]);
        page[i] = (ListNode){.number = page[i].number, .name = g_strdup (page[i].name)};
      }
      if (going && (there || deep))
        going = collect_gone (self, page[i].number, gone, error);
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
tell_gone (const Relist *self, const GArray *gone, GError **error)
{
  for (guint i = 0; i < gone->len; i++) {
    uint32_t number = g_array_index (gone, uint32_t, i);
    g_autofree char *path = NULL;
    if (!list_node_path (self->list, number, &path, error))
      return false;
    walk_tell (&self->walk, STORE_PROBLEM_NO_DIRECTORY, number, path, "the directory is gone");
  }
  return true;
}

/* How many directories the list does not know as they are. */
static bool
count_unlisted (const Relist *self, guint *out_count, GError **error)
{
  *out_count = 0;
  for (guint i = 0; i < self->walk.found->len; i++) {
    const Found *found = self->walk.found->pdata[i];
    ListNode row = row_of (&self->walk, found);
    bool listed;
    if (!is_listed (self->list, &row, &listed, error))
      return false;
    if (listed)
      continue;
    ++*out_count;
    walk_tell (&self->walk, STORE_PROBLEM_NO_LIST_ENTRY, row.number, found->path,
               self->walk.dry_run ? "the mailbox list does not know it; reconstruct -m adds it"
                                  : "the mailbox list does not know it");
  }
  return true;
}

/* All rows are made anew, from the top down, so that names that changed places do not get in each
 * other's way. */
static bool
write_list (const Relist *self, GError **error)
{
  g_autoptr (ListWrite) write = list_write_begin (self->list, error);
  if (write == NULL || !list_write_clear (write, error))
    return false;
  for (guint i = 0; i < self->walk.found->len; i++) {
    ListNode row = row_of (&self->walk, self->walk.found->pdata[i]);
    if (!list_write_node (write, &row, error))
      return false;
  }
  for (guint i = 0; i < self->deep->len; i++) {
    if (!list_write_node (write, &g_array_index (self->deep, ListNode, i), error))
      return false;
  }
  return write_containers (&self->walk, NULL, write, error) && list_write_commit (write, error);
}

/* Brings the list in line. Nothing is written when nothing differs. */
static bool
update_list (const Relist *self, GError **error)
{
  uint64_t domains = 0;
  if (!list_count (self->list, LIST_DOMAIN, &domains, error))
    return false;
  /* Who only looks at an empty store has nothing to write, and may not. */
  if (domains == 0 && (self->walk.found->len > 0 || !self->walk.dry_run))
    return write_list (self, error);
  g_autoptr (GArray) gone = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  guint unlisted;
  if (!collect_gone (self, STORE_ROOT, gone, error) || !tell_gone (self, gone, error) ||
      !count_unlisted (self, &unlisted, error))
    return false;
  if (self->walk.dry_run)
    return true;
  if (gone->len + unlisted > 0)
    return (self->salvaged || keep_places (&self->walk, self->list, STORE_ROOT, error)) &&
           write_list (self, error);
  g_autoptr (ListWrite) write = list_write_begin (self->list, error);
  return write != NULL && write_containers (&self->walk, self->list, write, error) &&
         list_write_commit (write, error);
}

static bool
relist_walk (Relist *self, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (walk_run (&self->walk, STORE_ROOT, &failure) && update_list (self, &failure))
    return true;
  /* Who only looks is told about a damaged list as about anything else. */
  if (self->walk.dry_run && error_code (failure) == EUCLEAN && !list_verify (self->list, NULL)) {
    walk_tell (&self->walk, STORE_PROBLEM_BAD_INDEX, STORE_ROOT, LAYOUT_LIST, failure->message);
    return true;
  }
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static bool
relist_any (Store *store, List *list, bool dry_run, bool salvaged, RelistFunc found, void *data,
            GError **error)
{
  Relist self = {
      .list = list, .salvaged = salvaged, .deep = g_array_new (FALSE, FALSE, sizeof (ListNode))};
  g_array_set_clear_func (self.deep, (GDestroyNotify)list_node_clear);
  walk_init (&self.walk, store, list);
  self.walk.dry_run = dry_run;
  self.walk.report = found;
  self.walk.data = data;
  bool done = relist_walk (&self, error);
  walk_clear (&self.walk);
  g_array_unref (self.deep);
  return done;
}

bool
relist (Store *store, List *list, bool dry_run, RelistFunc found, void *data, GError **error)
{
  return relist_any (store, list, dry_run, false, found, data, error);
}

/* A RelistFunc. */
static void
note_evidence (StoreProblem problem, uint32_t number, const char *path, const char *detail,
               void *data)
{
  evidence_note (data, "%s: %s", *path != '\0' ? path : "mail", detail);
}

bool
relist_evidence (Store *store, List *known, List *list, GError **error)
{
  g_auto (Walk) walk = {0};
  g_autoptr (GArray) none = g_array_new (FALSE, FALSE, sizeof (ListNode));
  walk_init (&walk, store, known != NULL ? known : list);
  walk.dry_run = true;
  walk.report = note_evidence;
  walk.data = store;
  if (!walk_run (&walk, STORE_ROOT, error))
    return false;
  Relist self = {.walk = walk, .list = list, .deep = none};
  return write_list (&self, error);
}

/* Puts on the directories what the broken list at `path` still tells of those that have lost it. */
static bool
recall_list (Store *store, const char *path, GError **error)
{
  g_autoptr (List) salvaged = list_open (NULL, 0, error);
  if (salvaged == NULL)
    return false;
  IndexSalvage counts = {0};
  return !list_salvage (salvaged, path, &counts, NULL) || counts.rows == 0 ||
         relist_any (store, salvaged, false, true, NULL, NULL, error);
}

List *
relist_replace (Store *store, const char *path, RelistFunc found, void *data, GError **error)
{
  auto_fd lock = lock_store (store, error);
  if (lock < 0)
    return NULL;
  /* Another process may have done it while this one waited. */
  g_autoptr (List) other = list_open (path, 0, NULL);
  if (other != NULL && list_verify (other, NULL))
    return g_steal_pointer (&other);
  g_clear_pointer (&other, list_close);
  g_autofree char *fresh = g_strdup_printf ("%s.new", path);
  g_autofree char *journal = g_strconcat (fresh, "-journal", NULL);
  unlink (fresh);
  if (!recall_list (store, path, error))
    return NULL;
  g_autoptr (List) list = list_open (fresh, INDEX_CREATE, error);
  bool made = list != NULL && layout_own_path (store, fresh, error) &&
              relist (store, list, false, found, data, error) && layout_keep_damaged (path, error);
  g_clear_pointer (&list, list_close);
  unlink (journal);
  if (!made) {
    unlink (fresh);
    return NULL;
  }
  if (rename (fresh, path) < 0 || fsync (store->fd) < 0) {
    fail_errno (error, "put %s into place", path);
    return NULL;
  }
  return list_open (path, 0, error);
}

/* ---- a part of it -------------------------------------------------------------------------- */

/* One that brings a part of the list in line. */
typedef struct {
  Walk walk;
  ListWrite *write;
  bool changed;
} Part;

/* Takes a child off the list that is nowhere any more: a ListChildFunc. */
static bool
remove_gone (List *list, ListNode *child, void *data, GError **error)
{
  Part *part = data;
  if (g_hash_table_contains (part->walk.numbers, GUINT_TO_POINTER (child->number)))
    return true;
  part->changed = true;
  return list_write_remove (part->write, child->number, error);
}

/* Makes room for what was found new: its number and its name may be those of something else, which,
 * if it is still there, was found as well. */
static bool
remove_former (const Walk *walk, const Found *found, ListWrite *write, GError **error)
{
  g_auto (ListNode) holder = {0};
  bool held;
  return list_write_remove (write, found->state.number, error) &&
         list_find (walk->list, parent_number (walk, found), found->name, &holder, &held, error) &&
         (!held || list_write_remove (write, holder.number, error));
}

/* With what was found new, from the top down. */
static bool
write_part (Part *part, uint32_t number, GError **error)
{
  const Walk *walk = &part->walk;
  if (!list_each_child (walk->list, number, remove_gone, part, error))
    return false;
  for (guint i = 0; i < walk->found->len; i++) {
    const Found *found = walk->found->pdata[i];
    if (!found->known && !remove_former (walk, found, part->write, error))
      return false;
  }
  for (guint i = 0; i < walk->found->len; i++) {
    const Found *found = walk->found->pdata[i];
    ListNode row = row_of (walk, found);
    part->changed |= !found->known;
    if (!found->known && !list_write_node (part->write, &row, error))
      return false;
  }
  return write_containers (walk, walk->list, part->write, error) &&
         list_write_commit (part->write, error);
}

bool
relist_part (Store *store, List *list, uint32_t number, bool *out_changed, GError **error)
{
  Part part = {0};
  walk_init (&part.walk, store, list);
  part.walk.partial = true;
  bool done =
      walk_run (&part.walk, number, error) && keep_places (&part.walk, list, number, error) &&
      (part.write = list_write_begin (list, error)) != NULL && write_part (&part, number, error);
  if (done)
    *out_changed = part.changed;
  list_write_free (part.write);
  walk_clear (&part.walk);
  return done;
}
