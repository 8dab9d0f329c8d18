/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mailbox list, made again from the directories below mail/.
 *
 * The walk collects every directory with the state that stands on it. Only when all are known are
 * numbers given to those that have none, or one that another directory has too: the one that the
 * list knows, else a new one, and never one that is in use anywhere. Then the list is brought in
 * line in one transaction.
 */
#include "store/internal.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A directory that was found. */
typedef struct {
  guint parent; /* its place in Walk.found, plus 1; 0: mail/ itself */
  unsigned depth;
  StoreNodeKind kind;
  char *name, *path;
  NodeState state; /* number 0: it needs one */
  bool unwritten;  /* the state is not, or not so, on the directory */
} Found;

typedef struct {
  Store *store;
  List *list; /* as it was */
  bool dry_run;
  GPtrArray *found;    /* of Found; parents come before their children */
  GHashTable *numbers; /* number -> Found: who has it */
  GArray *deep;        /* of ListNode: rows of directories that lie too deep to be looked at */
  uint32_t highest;    /* number on any directory or in the list */
  RelistFunc report;   /* may be NULL */
  void *data;
} Walk;

static void
found_free (gpointer data)
{
  Found *found = data;
  node_state_clear (&found->state);
  g_free (found->name);
  g_free (found->path);
  g_free (found);
}

static void
tell (const Walk *walk, StoreProblem problem, uint32_t number, const char *path, const char *detail)
{
  if (walk->report != NULL)
    walk->report (problem, number, path, detail, walk->data);
}

/* ---- walking ------------------------------------------------------------------------------- */

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

/* Whether `name` is a directory; what is not there any more is none. */
static bool
is_directory (int fd, const char *name, bool *out_is, GError **error)
{
  struct stat st;
  if (fstatat (fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
    *out_is = false;
    return errno == ENOENT || fail_errno (error, "stat '%s'", name);
  }
  *out_is = S_ISDIR (st.st_mode);
  return true;
}

/* Adds the names of the directories in `directory`. */
static bool
read_names (DIR *directory, bool top, GPtrArray *names, GError **error)
{
  struct dirent *entry;
  for (errno = 0; (entry = readdir (directory)) != NULL; errno = 0) {
    const char *name = entry->d_name;
    bool is = entry->d_type == DT_DIR;
    if (name[0] == '.' || (top && strcmp (name, NODE_LOST_FOUND) == 0))
      continue;
    if (entry->d_type == DT_UNKNOWN && !is_directory (dirfd (directory), name, &is, error))
      return false;
    if (is)
      g_ptr_array_add (names, g_strdup (name));
  }
  return errno == 0 || fail_errno (error, "read directory");
}

/* The names of the directories in a directory, sorted; the store's own are left out. */
static GPtrArray *
child_names (Walk *walk, const char *path, bool top, GError **error)
{
  auto_fd fd = layout_open (walk->store->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
  DIR *directory = fd >= 0 ? fdopendir (fd) : NULL;
  if (directory == NULL) {
    fail_errno (error, "read directory '%s'", path);
    return NULL;
  }
  fd = -1;
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  bool complete = read_names (directory, top, names, error);
  closedir (directory);
  if (!complete) {
    fail_prefix (error, "'%s'", path);
    return NULL;
  }
  g_ptr_array_sort (names, compare_names);
  return g_steal_pointer (&names);
}

/* Two directories say that they have one number, as after a copy: the one that the list knows under
 * it keeps it, else the first. The other one gets a new number later. */
static bool
settle_number (Walk *walk, Found *found, GError **error)
{
  gpointer key = GUINT_TO_POINTER (found->state.number);
  Found *first = g_hash_table_lookup (walk->numbers, key);
  if (first == NULL) {
    g_hash_table_insert (walk->numbers, key, found);
    return true;
  }
  g_autofree char *listed = NULL;
  g_auto (ListNode) row = {0};
  bool known;
  if (!list_get (walk->list, found->state.number, &row, &known, error) ||
      (known && !list_node_path (walk->list, found->state.number, &listed, error)))
    return false;
  bool moves = listed != NULL && strcmp (listed, found->path) == 0;
  Found *keeps = moves ? found : first, *loses = moves ? first : found;
  g_autofree char *detail = g_strdup_printf ("'%s' has the same number", keeps->path);
  tell (walk, STORE_PROBLEM_BAD_STATE, 0, loses->path, detail);
  loses->state.number = 0;
  g_hash_table_insert (walk->numbers, key, keeps);
  return true;
}

/* Reads what stands on a directory. */
static bool
read_found (Walk *walk, Found *found, GError **error)
{
  auto_fd fd = layout_open (walk->store->mail_fd, found->path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    return fail_errno (error, "open directory '%s'", found->path);
  bool has_state = false;
  g_autoptr (GError) failure = NULL;
  if (!node_state_read (fd, found->kind, &found->state, &has_state, &failure) &&
      failure->code != EBADMSG) {
    g_propagate_prefixed_error (error, g_steal_pointer (&failure), "%s: ", found->path);
    return false;
  }
  if (has_state) {
    walk->highest = MAX (walk->highest, found->state.number);
    return settle_number (walk, found, error);
  }
  tell (walk, STORE_PROBLEM_BAD_STATE, 0, found->path,
        failure != NULL ? failure->message : "the directory has no state");
  return true;
}

static bool
add_children (Walk *walk, guint parent, GError **error)
{
  const Found *above = parent > 0 ? walk->found->pdata[parent - 1] : NULL;
  StoreNodeKind kind = above != NULL ? above->kind : STORE_NODE_ROOT;
  bool deepest = above != NULL && above->depth >= NODE_DEPTH_MAX;
  g_autoptr (GPtrArray) names = child_names (walk, above ? above->path : "", above == NULL, error);
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *name = names->pdata[i];
    g_autofree char *path =
        above != NULL ? g_strdup_printf ("%s/%s", above->path, name) : g_strdup (name);
    StoreNodeKind child_kind = node_child_kind (kind, name);
    if (deepest || child_kind == STORE_NODE_ROOT || !g_utf8_validate (name, -1, NULL)) {
      tell (walk, STORE_PROBLEM_STRAY, 0, path,
            deepest ? "lies too deep" : "no part of a mail store");
      continue;
    }
    Found *found = g_new0 (Found, 1);
    *found = (Found){.parent = parent,
                     .depth = above != NULL ? above->depth + 1 : 1,
                     .kind = child_kind,
                     .name = g_strdup (name),
                     .path = g_steal_pointer (&path)};
    g_ptr_array_add (walk->found, found);
    if (!read_found (walk, found, error))
      return false;
  }
  return names != NULL;
}

/* ---- numbers ------------------------------------------------------------------------------- */

/* The node whose index has the rows of what was found; NULL: none has. */
static const Found *
owner_of (const Walk *walk, const Found *found)
{
  while (found->kind == STORE_NODE_MAILBOX)
    found = walk->found->pdata[found->parent - 1];
  return found->kind == STORE_NODE_USER || found->kind == STORE_NODE_SHARED ? found : NULL;
}

/* The mailbox's row in its user's index. The index is opened apart from the cache, which would ask
 * for the list. */
static bool
indexed (const Walk *walk, const Found *found, IndexMailbox *out)
{
  g_autofree char *path = layout_index_path (walk->store, owner_of (walk, found)->path);
  g_autoptr (Index) index = index_open (path, 0, NULL);
  bool has_row = false;
  return index != NULL && index_mailbox_get (index, found->state.number, out, &has_row, NULL) &&
         has_row;
}

/* Raises `*uidnext` above every message in the directory `path` below `fd`. */
static bool
cover_uids (int fd, const char *path, uint32_t *uidnext, GError **error)
{
  g_autoptr (GArray) uids = layout_uids (fd, path, NULL, error);
  if (uids != NULL && uids->len > 0)
    *uidnext = MAX (*uidnext, g_array_index (uids, uint32_t, uids->len - 1) + 1);
  return uids != NULL;
}

/* What a mailbox that lost its state goes on with: what its user's index remembers, else
 * `uidvalidity`, which is new. */
static bool
make_state (Walk *walk, int fd, Found *found, uint32_t uidvalidity, GError **error)
{
  IndexMailbox row = {.uidvalidity = uidvalidity, .uidnext = 1};
  if (!indexed (walk, found, &row))
    tell (walk, STORE_PROBLEM_BAD_STATE, found->state.number, found->path,
          "it gets a new UIDVALIDITY");
  found->state.uidvalidity = row.uidvalidity;
  found->state.uidnext = row.uidnext;
  found->state.modseq = row.highestmodseq;
  bool has_expunged = false;
  return cover_uids (fd, "", &found->state.uidnext, error) &&
         is_directory (fd, LAYOUT_EXPUNGED, &has_expunged, error) &&
         (!has_expunged || cover_uids (fd, LAYOUT_EXPUNGED, &found->state.uidnext, error));
}

static bool
write_state (Walk *walk, Found *found, uint32_t uidvalidity, GError **error)
{
  auto_fd fd = layout_open (walk->store->mail_fd, found->path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    return fail_errno (error, "open directory '%s'", found->path);
  if (found->kind == STORE_NODE_MAILBOX && found->state.uidvalidity == 0 &&
      !make_state (walk, fd, found, uidvalidity, error))
    return fail_prefix (error, "%s", found->path);
  if (!node_state_write (walk->store, fd, found->kind, &found->state, error))
    return fail_prefix (error, "%s", found->path);
  return fsync (fd) == 0 || fail_errno (error, "sync '%s'", found->path);
}

/* A directory without a number that the list knows by its name keeps the one it has there, unless
 * another directory says that the number is its own. */
static bool
recall (Walk *walk, Found *found, GError **error)
{
  const Found *parent = found->parent > 0 ? walk->found->pdata[found->parent - 1] : NULL;
  g_auto (ListNode) row = {0};
  bool known = false;
  if (parent != NULL && parent->state.number == 0)
    return true;
  if (!list_find (walk->list, parent != NULL ? parent->state.number : STORE_ROOT, found->name, &row,
                  &known, error))
    return false;
  gpointer key = GUINT_TO_POINTER (row.number);
  if (!known || row.kind != (ListKind)found->kind || g_hash_table_contains (walk->numbers, key))
    return true;
  g_hash_table_insert (walk->numbers, key, found);
  found->state.number = row.number;
  if (found->kind == STORE_NODE_MAILBOX && found->state.uidvalidity == 0) {
    found->state.subscribed = row.subscribed;
    found->state.special_use = g_steal_pointer (&row.special_use);
    found->state.full_name = g_steal_pointer (&row.full_name);
  }
  return true;
}

/* Whether the store's counter would give out a number that is in use. */
static bool
counter_is_low (Walk *walk, bool *out_low, GError **error)
{
  StoreState state = {0};
  bool found = false;
  uint32_t listed;
  g_autoptr (GError) failure = NULL;
  if (!list_highest (walk->list, &listed, error))
    return false;
  walk->highest = MAX (walk->highest, listed);
  if (!store_state_read (walk->store->mail_fd, &state, &found, &failure) &&
      failure->code != EBADMSG) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  *out_low = state.next_number <= walk->highest && walk->highest > 0;
  if (*out_low)
    tell (walk, STORE_PROBLEM_BAD_STATE, STORE_ROOT, "",
          found ? "the counter of mailbox numbers is too low"
                : "the counter of mailbox numbers is lost");
  return true;
}

/* Gives a number to every directory that has none. Where nothing may be written the numbers are
 * made up from the top and last as long as the list. */
static bool
give_numbers (Walk *walk, GError **error)
{
  guint missing = 0, unwritten = 0;
  bool low = false;
  if (!counter_is_low (walk, &low, error))
    return false;
  for (guint i = 0; i < walk->found->len; i++) {
    Found *found = walk->found->pdata[i];
    found->unwritten = found->state.number == 0;
    if (found->unwritten && !recall (walk, found, error))
      return false;
    missing += found->state.number == 0;
    unwritten += found->unwritten;
  }
  uint32_t first = STORE_NUMBER_MAX - missing + 1, uidvalidity = 1;
  if (!walk->dry_run && (low || unwritten > 0) &&
      !store_numbers_take (walk->store, missing, walk->highest + 1, &first, &uidvalidity, error))
    return false;
  for (guint i = 0; i < walk->found->len; i++) {
    Found *found = walk->found->pdata[i];
    if (found->state.number == 0)
      found->state.number = first++;
    if (found->unwritten && !walk->dry_run && !write_state (walk, found, uidvalidity, error))
      return false;
  }
  return true;
}

/* ---- the list ------------------------------------------------------------------------------ */

static bool
is_listed (List *list, const ListNode *node, bool *out_listed, GError **error)
{
  g_auto (ListNode) row = {0};
  if (!list_get (list, node->number, &row, out_listed, error))
    return false;
  *out_listed = *out_listed && row.parent == node->parent && row.owner == node->owner &&
                row.kind == node->kind && row.subscribed == node->subscribed &&
                g_strcmp0 (row.name, node->name) == 0 &&
                g_strcmp0 (row.full_name, node->full_name) == 0 &&
                g_strcmp0 (row.special_use, node->special_use) == 0;
  return true;
}

static ListNode
row_of (const Walk *walk, const Found *found)
{
  const Found *parent = found->parent > 0 ? walk->found->pdata[found->parent - 1] : NULL;
  const Found *owner = owner_of (walk, found);
  return (ListNode){.number = found->state.number,
                    .parent = parent != NULL ? parent->state.number : STORE_ROOT,
                    .owner = owner != NULL ? owner->state.number : 0,
                    .kind = (ListKind)found->kind,
                    .subscribed = found->state.subscribed,
                    .name = found->name,
                    .full_name = found->state.full_name,
                    .special_use = found->state.special_use};
}

/* Whether the directory of a row that the walk did not come across is there, too deep for it. */
static bool
lies_deep (const Walk *walk, List *list, const ListNode *row, bool *out_deep, GError **error)
{
  const Found *parent = g_hash_table_lookup (walk->numbers, GUINT_TO_POINTER (row->parent));
  bool below = parent != NULL && parent->depth >= NODE_DEPTH_MAX;
  for (guint i = 0; i < walk->deep->len && !below; i++)
    below = g_array_index (walk->deep, ListNode, i).number == row->parent;
  g_autofree char *path = NULL;
  *out_deep = false;
  return !below || (list_node_path (list, row->number, &path, error) &&
                    is_directory (walk->store->mail_fd, path, out_deep, error));
}

/* Rows of `parent` whose directory is gone: their numbers. */
static bool
collect_gone (const Walk *walk, List *list, uint32_t parent, GArray *gone, GError **error)
{
  ListNode page[64];
  g_autofree char *after = NULL;
  for (size_t count = 1; count > 0;) {
    if (!list_children (list, parent, after, page, G_N_ELEMENTS (page), &count, error))
      return false;
    bool going = true;
    for (size_t i = 0; i < count && going; i++) {
      bool there = g_hash_table_contains (walk->numbers, GUINT_TO_POINTER (page[i].number));
      bool deep = false;
      going = there || lies_deep (walk, list, &page[i], &deep, error);
      if (going && !there && !deep)
        g_array_append_val (gone, page[i].number);
      if (deep) {
        g_array_append_val (walk->deep, page[i]);
        page[i] = (ListNode){.number = page[i].number, .name = g_strdup (page[i].name)};
      }
      if (going && (there || deep))
        going = collect_gone (walk, list, page[i].number, gone, error);
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
tell_gone (const Walk *walk, List *list, const GArray *gone, GError **error)
{
  for (guint i = 0; i < gone->len; i++) {
    uint32_t number = g_array_index (gone, uint32_t, i);
    g_autofree char *path = NULL;
    if (!list_node_path (list, number, &path, error))
      return false;
    tell (walk, STORE_PROBLEM_NO_DIRECTORY, number, path, "the directory is gone");
  }
  return true;
}

/* How many directories the list does not know as they are. */
static bool
count_unlisted (const Walk *walk, List *list, guint *out_count, GError **error)
{
  *out_count = 0;
  for (guint i = 0; i < walk->found->len; i++) {
    const Found *found = walk->found->pdata[i];
    ListNode row = row_of (walk, found);
    bool listed;
    if (!is_listed (list, &row, &listed, error))
      return false;
    if (listed)
      continue;
    ++*out_count;
    tell (walk, STORE_PROBLEM_NO_LIST_ENTRY, row.number, found->path,
          walk->dry_run ? "the mailbox list does not know it; reconstruct -m adds it"
                        : "the mailbox list does not know it");
  }
  return true;
}

/* All rows are made anew, from the top down, so that names that changed places do not get in each
 * other's way. */
static bool
write_list (const Walk *walk, List *list, GError **error)
{
  g_autoptr (ListWrite) write = list_write_begin (list, error);
  if (write == NULL || !list_write_clear (write, error))
    return false;
  for (guint i = 0; i < walk->found->len; i++) {
    ListNode row = row_of (walk, walk->found->pdata[i]);
    if (!list_write_node (write, &row, error))
      return false;
  }
  for (guint i = 0; i < walk->deep->len; i++) {
    if (!list_write_node (write, &g_array_index (walk->deep, ListNode, i), error))
      return false;
  }
  return list_write_commit (write, error);
}

/* Brings the list in line. Nothing is written when nothing differs. */
static bool
update_list (const Walk *walk, GError **error)
{
  uint64_t domains = 0;
  if (!list_count (walk->list, LIST_DOMAIN, &domains, error))
    return false;
  if (domains == 0)
    return walk->found->len == 0 || write_list (walk, walk->list, error);
  g_autoptr (GArray) gone = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  guint unlisted;
  if (!collect_gone (walk, walk->list, STORE_ROOT, gone, error) ||
      !tell_gone (walk, walk->list, gone, error) ||
      !count_unlisted (walk, walk->list, &unlisted, error))
    return false;
  if (walk->dry_run || gone->len + unlisted == 0)
    return true;
  return write_list (walk, walk->list, error);
}

bool
relist (Store *store, List *list, bool dry_run, RelistFunc found, void *data, GError **error)
{
  g_autoptr (GPtrArray) directories = g_ptr_array_new_with_free_func (found_free);
  g_autoptr (GHashTable) numbers = g_hash_table_new (NULL, NULL);
  g_autoptr (GArray) deep = g_array_new (FALSE, FALSE, sizeof (ListNode));
  g_array_set_clear_func (deep, (GDestroyNotify)list_node_clear);
  Walk walk = {.store = store,
               .list = list,
               .dry_run = dry_run,
               .found = directories,
               .numbers = numbers,
               .deep = deep,
               .report = found,
               .data = data};
  for (guint i = 0; i <= directories->len; i++) {
    if (!add_children (&walk, i, error))
      return false;
  }
  g_autoptr (GError) failure = NULL;
  if (give_numbers (&walk, &failure) && update_list (&walk, &failure))
    return true;
  /* Who only looks is told about a damaged list as about anything else. */
  if (dry_run && error_code (failure) == EUCLEAN && !list_verify (list, NULL)) {
    tell (&walk, STORE_PROBLEM_BAD_INDEX, STORE_ROOT, "", failure->message);
    return true;
  }
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
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
