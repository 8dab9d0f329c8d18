/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The quarantine: what was removed, until its age.
 *
 *   STORE/quarantine/STAMP/PATH
 *
 * STAMP is the time of the removal in UTC with a random suffix, PATH is where the object was below
 * mail/. So its place says where it came from, and restoring is renaming it back.
 */
#include "store/snapshot.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define QUARANTINE "quarantine"

char *
quarantine_stamp (void)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format (now, "%Y%m%dT%H%M%SZ");
  return g_strdup_printf ("%s-%08x", time, g_random_int ());
}

/* Opens the directory `name` of `parent`, made when it is missing, durably and for nobody but the
 * store's owner. -1 and an error. */
static int
make_directory (Store *store, int parent, const char *name, GError **error)
{
  bool made = mkdirat (parent, name, 0700) == 0;
  auto_fd fd = made || errno == EEXIST ? layout_open (parent, name, O_RDONLY | O_DIRECTORY, 0) : -1;
  if (fd < 0 || (made && (fsync (fd) < 0 || fsync (parent) < 0))) {
    fail_errno (error, "make directory '%s' in quarantine", name);
    return -1;
  }
  return !made || layout_own (store, fd, error) ? g_steal_fd (&fd) : -1;
}

/* Opens STAMP with what stands before the last name of `path`. */
static int
make_place (Store *store, const char *stamp, const char *path, GError **error)
{
  g_autofree char *place = g_strdup_printf (QUARANTINE "/%s/%s", stamp, path);
  g_auto (GStrv) names = g_strsplit (place, "/", -1);
  auto_fd fd = layout_open (store->fd, "", O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    fail_errno (error, "open %s", store->path);
  for (char **name = names; fd >= 0 && name[1] != NULL; name++) {
    int child = make_directory (store, fd, *name, error);
    store_close_fd (&fd);
    fd = child;
  }
  return g_steal_fd (&fd);
}

bool
quarantine_take (Store *store, const char *stamp, const char *path, GError **error)
{
  g_autofree char *name = g_path_get_basename (path);
  g_autofree char *parent = g_path_get_dirname (path);
  auto_fd from = layout_open (store->mail_fd, strcmp (parent, ".") == 0 ? "" : parent,
                              O_RDONLY | O_DIRECTORY, 0);
  if (from < 0)
    return fail_errno (error, "open '%s'", parent);
  auto_fd to = make_place (store, stamp, path, error);
  if (to < 0)
    return fail_prefix (error, "'%s'", path);
  if (layout_move (from, name, to, name) < 0)
    return fail_errno (error, "move '%s' to quarantine", path);
  /* First where it is, then where it is no more: a crash must not lose it in between. */
  if (fsync (to) < 0 || fsync (from) < 0)
    return fail_errno (error, "sync '%s' and its place in quarantine", path);
  return true;
}

/* ---- looking at it ------------------------------------------------------------------------- */

void
store_quarantined_free (StoreQuarantined *object)
{
  g_free (object->path);
  g_free (object);
}

/* The time that a stamp tells, or -1 when it is none. All stamps have one length. */
static int64_t
stamp_time (const char *stamp)
{
  static const char digits[] = "0123456789";
  struct tm tm = {0};
  bool formed = strlen (stamp) == QUARANTINE_STAMP_LENGTH && strspn (stamp, digits) == 8 &&
                strspn (stamp + 9, digits) == 6;
  const char *rest = formed ? strptime (stamp, "%Y%m%dT%H%M%SZ-", &tm) : NULL;
  return rest != NULL && strspn (rest, "0123456789abcdef") == 8 ? timegm (&tm) : -1;
}

/* Whether a directory was made on the way to what was taken, and is nothing by itself: those of the
 * store carry a state. */
static bool
is_way (int parent, const char *path)
{
  static const StoreNodeKind kinds[] = {STORE_NODE_DOMAIN, STORE_NODE_USER, STORE_NODE_MAILBOX};
  auto_fd fd = layout_open (parent, path, O_RDONLY | O_DIRECTORY, 0);
  bool found = false;
  for (size_t i = 0; fd >= 0 && i < G_N_ELEMENTS (kinds) && !found; i++) {
    g_auto (NodeState) state = {0};
    if (!node_state_read (fd, kinds[i], &state, &found, NULL))
      found = true;
  }
  return fd >= 0 && !found;
}

/* Bytes of all files below `path`. */
static uint64_t
tree_size (int parent, const char *path)
{
  struct stat st;
  if (fstatat (parent, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return 0;
  if (!S_ISDIR (st.st_mode))
    return (uint64_t)st.st_size;
  uint64_t size = 0;
  g_autoptr (GPtrArray) names = layout_names (parent, path, NULL);
  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_autofree char *child = g_build_filename (path, names->pdata[i], NULL);
    size += tree_size (parent, child);
  }
  return size;
}

/* What lies below the directory `path` of quarantine/. What was taken out of it meanwhile is none
 * of that. */
static bool
each_below (Store *store, int quarantine, const char *path, int64_t since_s, QuarantineFunc each,
            void *data, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (GPtrArray) names = layout_names (quarantine, path, &failure);
  if (names == NULL && failure->code != ENOENT) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_autofree char *child = g_build_filename (path, names->pdata[i], NULL);
    struct stat st;
    if (fstatat (quarantine, child, &st, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT)
        continue;
      return fail_errno (error, "stat '%s' in quarantine", child);
    }
    const StoreQuarantined object = {
        .path = child, .since_s = since_s, .is_directory = S_ISDIR (st.st_mode)};
    bool is_on_the_way = object.is_directory && is_way (quarantine, child);
    if (!(is_on_the_way ? each_below (store, quarantine, child, since_s, each, data, error)
                        : each (store, &object, data, error)))
      return false;
  }
  return true;
}

int
quarantine_open (Store *store, GError **error)
{
  int fd = layout_open (store->fd, QUARANTINE, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    fail_errno (error, "open %s/" QUARANTINE, store->path);
  return fd;
}

bool
quarantine_is_stamp (int quarantine, const char *name)
{
  struct stat st;
  return stamp_time (name) >= 0 &&
         (fstatat (quarantine, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR (st.st_mode));
}

GPtrArray *
quarantine_stamps (Store *store, GError **error)
{
  auto_fd quarantine = quarantine_open (store, error);
  g_autoptr (GPtrArray) names = quarantine >= 0 ? layout_names (quarantine, "", error) : NULL;
  GPtrArray *stamps = names != NULL ? g_ptr_array_new_with_free_func (g_free) : NULL;
  for (guint i = 0; names != NULL && i < names->len; i++) {
    if (quarantine_is_stamp (quarantine, names->pdata[i]))
      g_ptr_array_add (stamps, g_strdup (names->pdata[i]));
  }
  return stamps;
}

bool
quarantine_each_of (Store *store, const char *stamp, QuarantineFunc each, void *data,
                    GError **error)
{
  auto_fd quarantine = quarantine_open (store, error);
  int64_t since_s = stamp_time (stamp);
  return quarantine >= 0 &&
         (since_s < 0 || each_below (store, quarantine, stamp, since_s, each, data, error));
}

bool
quarantine_each (Store *store, QuarantineFunc each, void *data, GError **error)
{
  g_autoptr (GPtrArray) stamps = quarantine_stamps (store, error);
  for (guint i = 0; stamps != NULL && i < stamps->len; i++) {
    if (!quarantine_each_of (store, stamps->pdata[i], each, data, error))
      return false;
  }
  return stamps != NULL;
}

/* Whether listings come through all of these directories. */
static bool
is_listed (int quarantine, char *const *names)
{
  g_autoptr (GString) path = g_string_new (names[0]);
  for (char *const *name = names + 1; *name != NULL; name++) {
    if (**name == '\0' || strcmp (*name, ".") == 0 || strcmp (*name, "..") == 0)
      return false;
    if (name > names + 1 && !is_way (quarantine, path->str))
      return false;
    g_string_append_printf (path, "/%s", *name);
  }
  return true;
}

bool
quarantine_find (Store *store, const char *path, StoreQuarantined *out, bool *out_found,
                 GError **error)
{
  g_auto (GStrv) names = g_strsplit (path, "/", -1);
  int64_t since_s = names[0] != NULL && names[1] != NULL ? stamp_time (names[0]) : -1;
  struct stat st;
  *out_found = false;
  if (since_s < 0)
    return true;
  auto_fd quarantine = quarantine_open (store, error);
  if (quarantine < 0)
    return false;
  g_autofree char *parent = g_path_get_dirname (path);
  auto_fd directory = layout_open (quarantine, parent, O_RDONLY | O_DIRECTORY, 0);
  if (directory < 0 || !is_listed (quarantine, names) ||
      fstatat (directory, strrchr (path, '/') + 1, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
      (S_ISDIR (st.st_mode) && is_way (quarantine, path)))
    return true;
  *out = (StoreQuarantined){
      .path = g_strdup (path), .since_s = since_s, .is_directory = S_ISDIR (st.st_mode)};
  *out_found = true;
  return true;
}

uint64_t
quarantine_size (Store *store, const StoreQuarantined *object)
{
  auto_fd quarantine = quarantine_open (store, NULL);
  return quarantine >= 0 ? tree_size (quarantine, object->path) : 0;
}

static bool
add_object (Store *store, const StoreQuarantined *object, void *data, GError **error)
{
  StoreQuarantined *copy = g_memdup2 (object, sizeof *object);
  copy->path = g_strdup (object->path);
  copy->size = quarantine_size (store, object);
  g_ptr_array_add (data, copy);
  return true;
}

GPtrArray *
store_quarantine_list (Store *self, GError **error)
{
  g_autoptr (GPtrArray) objects =
      g_ptr_array_new_with_free_func ((GDestroyNotify)store_quarantined_free);
  return quarantine_each (self, add_object, objects, error) ? g_steal_pointer (&objects) : NULL;
}

GString *
store_quarantined_json (const StoreQuarantined *object)
{
  GString *json = json_begin ("quarantined");
  json_string (json, "path", object->path);
  json_uint (json, "size", object->size);
  json_time (json, "since", object->since_s);
  json_bool (json, "directory", object->is_directory);
  return json;
}

bool
store_quarantine_write (Store *self, FILE *out, GError **error)
{
  g_autoptr (GPtrArray) objects = store_quarantine_list (self, error);
  for (guint i = 0; objects != NULL && i < objects->len; i++) {
    g_autoptr (GString) json = store_quarantined_json (objects->pdata[i]);
    json_end (json);
    fputs (json->str, out);
  }
  return objects != NULL && (fflush (out) == 0 || fail_errno (error, "write"));
}

/* ---- taking things out of it --------------------------------------------------------------- */

/* Removes the directories above `path` as far as nothing is left in them. */
static void
prune (int quarantine, const char *path)
{
  g_autofree char *parent = g_path_get_dirname (path);
  if (strcmp (parent, ".") != 0 && unlinkat (quarantine, parent, AT_REMOVEDIR) == 0)
    prune (quarantine, parent);
}

GPtrArray *
quarantine_needed (Store *store, GError **error)
{
  g_autoptr (SnapshotSet) snapshots = snapshot_set_get (store, store_epoch (store));
  History *tree = keep_tree (store);
  return history_load (tree, error) ? history_places (tree, snapshots) : NULL;
}

static bool
is_below (const char *path, const char *above)
{
  size_t length = strlen (above);
  return strncmp (path, above, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

bool
quarantine_is_needed (const StoreQuarantined *object, const GPtrArray *needed)
{
  for (guint i = 0; i < needed->len; i++) {
    if (is_below (needed->pdata[i], object->path) || is_below (object->path, needed->pdata[i]))
      return true;
  }
  return false;
}

bool
quarantine_remove (Store *store, const StoreQuarantined *object, void *data, GError **error)
{
  if (quarantine_is_needed (object, data))
    return fail (error, EBUSY, "'%s' stays: a snapshot has it", object->path);
  auto_fd quarantine = quarantine_open (store, error);
  if (quarantine < 0)
    return false;
  g_autofree char *parent = g_path_get_dirname (object->path);
  auto_fd directory = layout_open (quarantine, parent, O_RDONLY | O_DIRECTORY, 0);
  if (directory < 0)
    return fail_errno (error, "open '%s' in quarantine", parent);
  if (!layout_remove (directory, strrchr (object->path, '/') + 1, error))
    return fail_prefix (error, "'%s' in quarantine", parent);
  prune (quarantine, object->path);
  return true;
}

/* The node that the directory `path` below mail/ is. */
static bool
find_node (Store *store, const char *path, StoreNode *out, GError **error)
{
  return store_node_resolve (store, strcmp (path, ".") == 0 ? "" : path, out, error);
}

/* Renames it back. A mailbox's list does not show by its directory that one came into it, so that
 * is marked first; whoever looks next lists the user anew. The user lock is held. */
static bool
move_back (Store *store, const StoreNode *above, int from, int to, const char *name,
           bool is_directory, GError **error)
{
  g_autoptr (Handle) list = NULL;
  auto_fd lock = -1;
  g_auto (Doubt) doubt = {0};
  bool marked = is_directory && above->owner != 0;
  if (marked && ((lock = lock_list (store, &list, error)) < 0 ||
                 !doubt_begin (&doubt, store, list->list, above->owner, error)))
    return false;
  if (layout_move (from, name, to, name) == 0)
    return true;
  int code = errno;
  if (marked)
    doubt_drop (&doubt, list->list);
  errno = code;
  return fail_errno (error, "put '%s' back", name);
}

/* Locks what keeps others out of a directory, and keeps for snapshots what that is like. */
static int
lock_place (Store *store, const StoreNode *node, Epoch *epoch, GError **error)
{
  g_autoptr (StoreMailbox) directory = store_mailbox_open (store, node->number, error);
  bool owned = node->owner != 0;
  auto_fd lock = directory != NULL && owned ? lock_user (store, node->owner, error) : -1;
  if (directory == NULL || (owned && lock < 0) || !epoch_enter (store, epoch, error))
    return -1;
  /* What is kept of a directory that is no mailbox, the store lock guards. */
  auto_fd listed = node->kind != STORE_NODE_MAILBOX ? lock_store (store, error) : -1;
  if ((node->kind != STORE_NODE_MAILBOX && listed < 0) || !keep_directory (epoch, directory, error))
    return -1;
  return owned ? g_steal_fd (&lock) : g_steal_fd (&listed);
}

/* The same, durably, with whoever changes that place kept out. A directory's place on the list, and
 * what snapshots need of that, follow when somebody looks (relist.c). */
static bool
put_back (Store *store, int quarantine, const StoreQuarantined *object, GError **error)
{
  const char *path = object->path, *place = strchr (path, '/') + 1;
  g_autofree char *parent = g_path_get_dirname (place);
  g_auto (StoreNode) node = {0};
  g_auto (Epoch) epoch = EPOCH_NONE;
  if (!find_node (store, parent, &node, error))
    return fail_prefix (error, "put '%s' back", place);
  auto_fd lock = lock_place (store, &node, &epoch, error);
  if (lock < 0)
    return false;
  g_autofree char *way = g_path_get_dirname (path), *name = g_path_get_basename (path);
  auto_fd to = layout_open (store->mail_fd, strcmp (parent, ".") == 0 ? "" : parent,
                            O_RDONLY | O_DIRECTORY, 0);
  auto_fd from = layout_open (quarantine, way, O_RDONLY | O_DIRECTORY, 0);
  if (to < 0 || from < 0)
    return fail_errno (error, "put '%s' back", place);
  if (!move_back (store, &node, from, to, name, object->is_directory, error))
    return fail_prefix (error, "'%s'", place);
  if (fsync (to) < 0 || fsync (from) < 0)
    return fail_errno (error, "sync the place of '%s'", place);
  change_note (store, node.number, 0);
  return true;
}

static bool
restore (Store *store, const StoreQuarantined *object, void *data, GError **error)
{
  auto_fd quarantine = quarantine_open (store, error);
  const char *place = strchr (object->path, '/') + 1;
  if (quarantine < 0 || !put_back (store, quarantine, object, error))
    return false;
  prune (quarantine, object->path);
  /* A mailbox is listed again, and its messages have no rows yet. */
  g_autofree char *parent = g_path_get_dirname (place);
  g_auto (StoreNode) above = {0}, node = {0};
  if (!find_node (store, parent, &above, error))
    return false;
  if (object->is_directory)
    integrate_at (store, above.number);
  bool is_node = object->is_directory && find_node (store, place, &node, NULL);
  /* The directory of a mailbox that it came into changed, too. */
  const StoreNode *behind = is_node && above.kind != STORE_NODE_MAILBOX ? &node : &above;
  if (behind->owner != 0)
    queue_add_action (store, behind->number, "reconstruct recursive", 0, NULL);
  return true;
}

/* What is done with what STAMP/PATH, or STAMP, means. */
typedef struct {
  QuarantineFunc act;
  void *data; /* for it */
  unsigned count;
} Chosen;

static bool
act_on_one (Store *store, const StoreQuarantined *object, void *data, GError **error)
{
  Chosen *chosen = data;
  chosen->count++;
  return chosen->act (store, object, chosen->data, error);
}

static bool
act_on_named (Store *store, const char *path, Chosen *chosen, GError **error)
{
  StoreQuarantined object = {0};
  bool found;
  if (!quarantine_find (store, path, &object, &found, error))
    return false;
  bool good = !found || act_on_one (store, &object, chosen, error);
  g_free (object.path);
  return good;
}

static bool
act_on (Store *store, const char *path, QuarantineFunc act, void *data, GError **error)
{
  /* Directories are listed with a slash behind them. */
  g_autofree char *plain = g_strdup (path);
  for (size_t end = strlen (plain); end > 0 && plain[end - 1] == '/'; end--)
    plain[end - 1] = '\0';
  Chosen chosen = {.act = act, .data = data};
  bool whole = strchr (plain, '/') == NULL;
  if (!(whole ? quarantine_each_of (store, plain, act_on_one, &chosen, error)
              : act_on_named (store, plain, &chosen, error)))
    return false;
  g_autofree char *printable = store_text_printable (path);
  return chosen.count > 0 || fail (error, ENOENT, "'%s' is not in quarantine", printable);
}

bool
store_quarantine_restore (Store *self, const char *path, GError **error)
{
  if (store_is_read_only (self))
    return fail (error, EROFS, "the store %s is open read only", self->path);
  return act_on (self, path, restore, NULL, error);
}

bool
store_quarantine_remove (Store *self, const char *path, GError **error)
{
  if (store_is_read_only (self))
    return fail (error, EROFS, "the store %s is open read only", self->path);
  g_autoptr (GPtrArray) needed = quarantine_needed (self, error);
  return needed != NULL && act_on (self, path, quarantine_remove, needed, error);
}
