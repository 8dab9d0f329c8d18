/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directories below mail/ as they lie on disk, each with the state that stands on it.
 *
 * Only when all are known are numbers given to those that have none, or one that another directory
 * has too: the one that the list knows, else a new one, and never one that is in use anywhere.
 *
 * A walk is of the whole tree; or of what is new in one directory, and then the list is believed
 * about everything else.
 */
#include "store/evidence.h"
#include "store/snapshot.h"

#include <dirent.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A directory that was changed within this time could be changed again without its mtime showing
 * it. */
#define FRESH_NS 100000000

static void
found_free (gpointer data)
{
  Found *found = data;
  node_state_clear (&found->state);
  g_free (found->name);
  g_free (found->path);
  g_free (found);
}

void
walk_tell (const Walk *walk, StoreProblem problem, uint32_t number, const char *path,
           const char *detail)
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

bool
walk_is_directory (int fd, const char *name, bool *out_is, GError **error)
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
    if (entry->d_type == DT_UNKNOWN && !walk_is_directory (dirfd (directory), name, &is, error))
      return false;
    if (is)
      g_ptr_array_add (names, g_strdup (name));
  }
  return errno == 0 || fail_errno (error, "read directory");
}

/* Whether a snapshot may show the directories with the times that they have. */
static bool
are_times_needed (Store *store)
{
  g_autoptr (SnapshotSet) set = snapshot_set_get (store, store_epoch (store));
  return set->snapshots->len > 0 || set->doubtful;
}

/* The mtime of a directory that is no mailbox, before its names are read, so that every later
 * change leaves another one: a fresh one is set anew, to the nanosecond. Where it must not be, who
 * looks later looks again. */
static int64_t
container_time (const Walk *walk, int fd)
{
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};
  struct stat st;
  clock_gettime (CLOCK_REALTIME, &times[1]);
  int64_t fresh_ns = time_ns (&times[1]) - FRESH_NS;
  if (fstat (fd, &st) < 0)
    return LIST_CONTAINER_UNKNOWN;
  if (stat_mtime_ns (&st) < fresh_ns)
    return stat_mtime_ns (&st);
  if (walk->dry_run || are_times_needed (walk->store) || futimens (fd, times) < 0 ||
      fstat (fd, &st) < 0)
    return LIST_CONTAINER_UNKNOWN;
  return stat_mtime_ns (&st);
}

/* The names of the directories in a directory, sorted; the store's own are left out. */
static GPtrArray *
child_names (const Walk *walk, const Found *above, int64_t *out_directory_ns, GError **error)
{
  const char *path = above != NULL ? above->path : "";
  auto_fd fd = layout_open (walk->store->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
  bool container = fd >= 0 && (above == NULL || above->kind != STORE_NODE_MAILBOX);
  int64_t directory_ns = container ? container_time (walk, fd) : LIST_CONTAINER_UNKNOWN;
  DIR *directory = fd >= 0 ? fdopendir (fd) : NULL;
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  if (directory == NULL)
    return evidence_or_fail (walk->store, error, "read directory '%s'", path)
               ? g_steal_pointer (&names)
               : NULL;
  fd = -1;
  g_autoptr (GError) failure = NULL;
  bool complete = read_names (directory, above == NULL, names, &failure);
  closedir (directory);
  if (!complete && !evidence_excuses (walk->store, failure)) {
    g_propagate_prefixed_error (error, g_steal_pointer (&failure), "'%s': ", path);
    return NULL;
  }
  g_ptr_array_sort (names, compare_names);
  *out_directory_ns = directory_ns;
  return g_steal_pointer (&names);
}

/* Whether the directory `path` has that number. */
static bool
carries (const Walk *walk, const char *path, StoreNodeKind kind, uint32_t number)
{
  auto_fd fd = layout_open (walk->store->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
  g_auto (NodeState) state = {0};
  bool found = false;
  return fd >= 0 && node_state_read (fd, kind, &state, &found, NULL) && found &&
         state.number == number;
}

static void
lose_number (const Walk *walk, Found *loses, const char *keeps)
{
  g_autofree char *detail = g_strdup_printf ("'%s' has the same number", keeps);
  walk_tell (walk, STORE_PROBLEM_NUMBER, 0, loses->path, detail);
  loses->state.number = 0;
}

/* Two directories say that they have one number, as after a copy: the one that the list knows under
 * it keeps it, else the first. The other one gets a new number later. */
static bool
settle_number (Walk *walk, Found *found, GError **error)
{
  gpointer key = GUINT_TO_POINTER (found->state.number);
  Found *first = g_hash_table_lookup (walk->numbers, key);
  if (first == NULL && !walk->partial) {
    g_hash_table_insert (walk->numbers, key, found);
    return true;
  }
  g_autofree char *listed = NULL;
  g_auto (ListNode) row = {0};
  bool known;
  if (!list_get (walk->list, found->state.number, &row, &known, error))
    return false;
  /* One that does not hang below the root knows nothing of it. */
  if (known && !list_node_path (walk->list, found->state.number, &listed, NULL))
    listed = NULL;
  bool here = listed != NULL && strcmp (listed, found->path) == 0;
  /* One that this walk does not come to, or not yet. */
  if (listed != NULL && !here && first == NULL &&
      carries (walk, listed, (StoreNodeKind)row.kind, found->state.number)) {
    lose_number (walk, found, listed);
    return true;
  }
  if (first != NULL && !here) {
    lose_number (walk, found, first->path);
    return true;
  }
  if (first != NULL)
    lose_number (walk, first, found->path);
  g_hash_table_insert (walk->numbers, key, found);
  return true;
}

/* Reads what stands on a directory. */
static bool
read_found (Walk *walk, Found *found, GError **error)
{
  g_autoptr (GError) failure = NULL;
  auto_fd fd = layout_open (walk->store->mail_fd, found->path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    return evidence_or_fail (walk->store, error, "open directory '%s'", found->path);
  bool has_state = false;
  if (!node_state_read (fd, found->kind, &found->state, &has_state, &failure) &&
      failure->code != EBADMSG && !evidence_excuses (walk->store, failure)) {
    g_propagate_prefixed_error (error, g_steal_pointer (&failure), "%s: ", found->path);
    return false;
  }
  /* Here something is better than nothing, also without a number. */
  if (!has_state)
    has_state = copied_node_read (fd, found->kind, &found->state);
  /* A crash in the middle of a rename may leave the name of another time. */
  g_autofree char *fits =
      found->state.full_name != NULL ? store_name_escape (found->state.full_name, NULL) : NULL;
  if (fits != NULL && strcmp (fits, found->name) != 0)
    g_clear_pointer (&found->state.full_name, g_free);
  if (!has_state || found->state.copied)
    walk_tell (walk, STORE_PROBLEM_BAD_STATE, 0, found->path,
               failure != NULL       ? failure->message
               : found->state.copied ? "the directory has no state but what a mount told of it"
                                     : "the directory has no state");
  walk->highest = MAX (walk->highest, found->state.number);
  return found->state.number == 0 || settle_number (walk, found, error);
}

/* Whether the list has what was found just so, and nobody may have moved anything below it. */
static bool
is_known (const Walk *walk, const Found *found, bool *out_known, GError **error)
{
  const Found *parent = found->parent > 0 ? walk->found->pdata[found->parent - 1] : NULL;
  g_auto (ListNode) row = {0};
  bool listed;
  int64_t directory_ns;
  if (!list_get (walk->list, found->state.number, &row, &listed, error) ||
      !list_container (walk->list, found->state.number, &directory_ns, error))
    return false;
  *out_known = found->state.number != 0 && !found->state.copied && listed &&
               row.kind == (ListKind)found->kind &&
               row.parent == (parent != NULL ? parent->state.number : STORE_ROOT) &&
               strcmp (row.name, found->name) == 0 && directory_ns != LIST_CONTAINER_DIRTY;
  return true;
}

static bool
add_found (Walk *walk, guint parent, StoreNodeKind kind, const char *name, const char *path,
           GError **error)
{
  const Found *above = parent > 0 ? walk->found->pdata[parent - 1] : NULL;
  Found *found = g_new0 (Found, 1);
  *found = (Found){.parent = parent,
                   .depth = above != NULL ? above->depth + 1 : 1,
                   .kind = kind,
                   .name = g_strdup (name),
                   .path = g_strdup (path),
                   .directory_ns = LIST_CONTAINER_UNKNOWN};
  g_ptr_array_add (walk->found, found);
  return read_found (walk, found, error) &&
         (!walk->shallow || parent != walk->top || is_known (walk, found, &found->known, error));
}

static bool
add_children (Walk *walk, guint parent, GError **error)
{
  Found *above = parent > 0 ? walk->found->pdata[parent - 1] : NULL;
  StoreNodeKind kind = above != NULL ? above->kind : STORE_NODE_ROOT;
  bool deepest = above != NULL && above->depth >= NODE_DEPTH_MAX;
  g_autoptr (GPtrArray) names =
      child_names (walk, above, above != NULL ? &above->directory_ns : &walk->root_ns, error);
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *name = names->pdata[i];
    g_autofree char *path =
        above != NULL ? g_strdup_printf ("%s/%s", above->path, name) : g_strdup (name);
    StoreNodeKind child_kind = node_child_kind (kind, name);
    if (deepest || child_kind == STORE_NODE_ROOT || !g_utf8_validate (name, -1, NULL))
      walk_tell (walk, STORE_PROBLEM_STRAY, 0, path,
                 deepest ? "lies too deep" : "no part of a mail store");
    else if (!add_found (walk, parent, child_kind, name, path, error))
      return false;
  }
  return names != NULL;
}

/* ---- numbers ------------------------------------------------------------------------------- */

const Found *
walk_owner (const Walk *walk, const Found *found)
{
  while (found->kind == STORE_NODE_MAILBOX)
    found = walk->found->pdata[found->parent - 1];
  return found->kind == STORE_NODE_USER || found->kind == STORE_NODE_SHARED ? found : NULL;
}

/* Keeps the copy of the index at `path` as the walk's witness, if there is one. */
static bool
has_witness (Walk *walk, const char *path)
{
  if (g_strcmp0 (walk->witness_path, path) != 0) {
    g_clear_pointer (&walk->witness, index_close);
    g_free (walk->witness_path);
    walk->witness_path = g_strdup (path);
    walk->witness = evidence_index (walk->store, path, NULL);
  }
  return walk->witness != NULL;
}

/* The row of mailbox `number` in the user's index, or what broken ones still tell. The index is
 * opened apart from the cache, which would ask for the list. */
static bool
indexed (Walk *walk, const Found *found, uint32_t number, IndexMailbox *out)
{
  g_autofree char *path = layout_index_path (walk->store, walk_owner (walk, found)->path);
  bool has_row = false;
  if (walk->store->evidence != NULL)
    return has_witness (walk, path) &&
           index_mailbox_get (walk->witness, number, out, &has_row, NULL) && has_row;
  g_autoptr (Index) index = index_open (path, walk->dry_run ? INDEX_READ_ONLY : 0, NULL);
  if (index != NULL && index_mailbox_get (index, number, out, &has_row, NULL) && has_row)
    return true;
  if (index_salvage_mailbox (path, number, out, &has_row, NULL) && has_row)
    return true;
  char *broken;
  for (unsigned n = 0; !has_row && (broken = layout_broken_path (path, n)) != NULL; n++) {
    if (!index_salvage_mailbox (broken, number, out, &has_row, NULL))
      has_row = false;
    g_free (broken);
  }
  return has_row;
}

/* Whether what was copied is not the mailbox that the index knows under that number: there UIDs
 * mean other messages. */
static bool
is_other (Walk *walk, const Found *found, uint32_t number)
{
  IndexMailbox row = {0};
  return found->kind == STORE_NODE_MAILBOX && found->state.copied &&
         found->state.uidvalidity != 0 && indexed (walk, found, number, &row) &&
         row.uidvalidity > 1 && row.uidvalidity != found->state.uidvalidity;
}

/* What was lost with the directory's state the files have lost, too, whatever their dates are: the
 * index is not to be believed until it was compared with each of them. Failing does no harm. */
static void
doubt_rows (const Walk *walk, const Found *found)
{
  g_autofree char *path = layout_index_path (walk->store, walk_owner (walk, found)->path);
  g_autoptr (Index) index = index_open (path, 0, NULL);
  g_autoptr (IndexWrite) write = index != NULL ? index_write_begin (index, NULL) : NULL;
  IndexMailbox row = {0};
  bool has_row = false;
  if (write == NULL ||
      !index_write_get_mailbox (write, found->state.number, &row, &has_row, NULL) || !has_row ||
      row.directory_ns == 0)
    return;
  row.directory_ns = 0;
  if (index_write_mailbox (write, &row, NULL))
    index_write_commit (write, NULL);
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

/* What a mailbox that lost its state goes on with: what its user's index remembers, what a mount
 * told, else `uidvalidity`, which is new. */
static bool
make_state (Walk *walk, int fd, Found *found, uint32_t uidvalidity, GError **error)
{
  NodeState *state = &found->state;
  IndexMailbox row = {.uidvalidity = state->uidvalidity};
  bool known = indexed (walk, found, state->number, &row);
  if (known && state->copied)
    doubt_rows (walk, found);
  if (!known && row.uidvalidity == 0) {
    row.uidvalidity = uidvalidity;
    walk_tell (walk, STORE_PROBLEM_BAD_STATE, state->number, found->path,
               "it gets a new UIDVALIDITY");
  }
  state->uidvalidity = row.uidvalidity;
  state->uidnext = MAX (MAX (state->uidnext, row.uidnext), 1);
  state->modseq = MAX (state->modseq, row.highestmodseq);
  bool has_expunged = false;
  return cover_uids (fd, "", &found->state.uidnext, error) &&
         walk_is_directory (fd, LAYOUT_EXPUNGED, &has_expunged, error) &&
         (!has_expunged || cover_uids (fd, LAYOUT_EXPUNGED, &found->state.uidnext, error));
}

static bool
write_state (Walk *walk, Found *found, uint32_t uidvalidity, GError **error)
{
  auto_fd fd = layout_open (walk->store->mail_fd, found->path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    return fail_errno (error, "open directory '%s'", found->path);
  bool lost = found->state.copied || found->state.uidvalidity == 0;
  if (found->kind == STORE_NODE_MAILBOX && lost &&
      !make_state (walk, fd, found, uidvalidity, error))
    return fail_prefix (error, "%s", found->path);
  if (!node_state_write (walk->store, fd, found->kind, &found->state, error))
    return fail_prefix (error, "%s", found->path);
  return fsync (fd) == 0 || fail_errno (error, "sync '%s'", found->path);
}

/* A directory without a number that the list knows by its name keeps the one it has there, unless
 * another directory says that the number is its own. What the list knows of one without a state is
 * newer than any copy. */
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
  bool same = found->state.number == row.number;
  if (!known || row.kind != (ListKind)found->kind ||
      (!same && (found->state.number != 0 || g_hash_table_contains (walk->numbers, key) ||
                 is_other (walk, found, row.number))))
    return true;
  g_hash_table_insert (walk->numbers, key, found);
  found->state.number = row.number;
  found->state.no_index |= row.no_index;
  if (found->kind == STORE_NODE_MAILBOX && (found->state.copied || found->state.uidvalidity == 0)) {
    g_free (found->state.special_use);
    g_free (found->state.full_name);
    found->state.subscribed = row.subscribed;
    found->state.special_use = g_steal_pointer (&row.special_use);
    found->state.full_name = g_steal_pointer (&row.full_name);
  }
  return true;
}

/* What a copy tells of its number is not to be believed if that is another mailbox's. */
static void
forget_number (Walk *walk, Found *found)
{
  uint32_t number = found->state.number;
  if (number == 0 || !is_other (walk, found, number))
    return;
  g_hash_table_remove (walk->numbers, GUINT_TO_POINTER (number));
  found->state.number = 0;
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
      failure->code != EBADMSG && !evidence_excuses (walk->store, failure)) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  *out_low = state.next_number <= walk->highest && walk->highest > 0;
  if (*out_low)
    walk_tell (walk, STORE_PROBLEM_BAD_STATE, STORE_ROOT, "",
               found ? "the counter of mailbox numbers is too low"
                     : "the counter of mailbox numbers is lost");
  return true;
}

/* Where nothing may be written numbers are made up from the top. They last as long as the list, and
 * are the same whenever the same directories are walked. */
static void
make_up_numbers (Walk *walk)
{
  uint32_t next = STORE_NUMBER_MAX;
  for (guint i = 0; i < walk->found->len; i++) {
    Found *found = walk->found->pdata[i];
    while (found->state.number == 0 && next > 1 &&
           g_hash_table_contains (walk->numbers, GUINT_TO_POINTER (next)))
      next--;
    if (found->state.number == 0)
      found->state.number = next--;
  }
}

/* Gives a number to every directory that has none. */
static bool
give_numbers (Walk *walk, GError **error)
{
  guint missing = 0, unwritten = 0;
  bool low = false;
  if (!counter_is_low (walk, &low, error))
    return false;
  for (guint i = 0; i < walk->found->len; i++) {
    Found *found = walk->found->pdata[i];
    forget_number (walk, found);
    found->unwritten = found->state.number == 0 || found->state.copied;
    if (found->unwritten && !recall (walk, found, error))
      return false;
    missing += found->state.number == 0;
    unwritten += found->unwritten;
  }
  uint32_t first = STORE_NUMBER_MAX - missing + 1, uidvalidity = 1;
  if (walk->dry_run) {
    make_up_numbers (walk);
    return true;
  }
  if ((low || unwritten > 0) &&
      !store_numbers_take (walk->store, missing, walk->highest + 1, &first, &uidvalidity, error))
    return false;
  for (guint i = 0; i < walk->found->len; i++) {
    Found *found = walk->found->pdata[i];
    if (found->state.number == 0)
      found->state.number = first++;
    if (found->unwritten && !write_state (walk, found, uidvalidity, error))
      return false;
  }
  return true;
}

/* ---- the walk ------------------------------------------------------------------------------ */

/* What lies on the way down to the directory `number`, which becomes the walk's top. */
static bool
add_way (Walk *walk, uint32_t number, GError **error)
{
  g_auto (ListNode) row = {0};
  bool found;
  if (number == STORE_ROOT)
    return true;
  if (!list_get (walk->list, number, &row, &found, error))
    return false;
  if (!found || walk->found->len >= NODE_DEPTH_MAX)
    return fail (error, ESTALE, "mailbox %u is gone", number);
  if (!add_way (walk, row.parent, error))
    return false;
  Found *step = g_new0 (Found, 1);
  *step = (Found){.parent = walk->top,
                  .depth = walk->found->len + 1,
                  .kind = (StoreNodeKind)row.kind,
                  .name = g_strdup (row.name),
                  .state.number = number,
                  .known = true,
                  .directory_ns = LIST_CONTAINER_UNKNOWN};
  if (!list_node_path (walk->list, number, &step->path, error)) {
    found_free (step);
    return false;
  }
  g_ptr_array_add (walk->found, step);
  g_hash_table_insert (walk->numbers, GUINT_TO_POINTER (number), step);
  walk->top = walk->found->len;
  return true;
}

bool
walk_run (Walk *walk, uint32_t number, GError **error)
{
  int64_t directory_ns;
  if (walk->partial && (!add_way (walk, number, error) ||
                        !list_container (walk->list, number, &directory_ns, error)))
    return false;
  walk->shallow = walk->partial && directory_ns != LIST_CONTAINER_DIRTY;
  if (!add_children (walk, walk->top, error))
    return false;
  for (guint i = walk->top; i < walk->found->len; i++) {
    const Found *found = walk->found->pdata[i];
    if (!found->known && !add_children (walk, i + 1, error))
      return false;
  }
  return give_numbers (walk, error);
}

void
walk_clear (Walk *walk)
{
  g_clear_pointer (&walk->found, g_ptr_array_unref);
  g_clear_pointer (&walk->numbers, g_hash_table_unref);
  g_clear_pointer (&walk->witness, index_close);
  g_clear_pointer (&walk->witness_path, g_free);
}

void
walk_init (Walk *walk, Store *store, List *list)
{
  *walk = (Walk){.store = store,
                 .list = list,
                 .found = g_ptr_array_new_with_free_func (found_free),
                 .numbers = g_hash_table_new (NULL, NULL),
                 .root_ns = LIST_CONTAINER_UNKNOWN};
}
