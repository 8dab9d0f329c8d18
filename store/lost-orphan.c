/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orphans: regular files that are no part of the store. They lie
 *
 *   in a mailbox, or among its expunged messages, under a name that is no message's
 *   in a directory that holds mailboxes, but no messages
 *   in a lost+found, where fsck puts what it has found the inodes of; the state on a message's file
 *     still tells what it is
 *   in tmp/, where a process was about to deliver them when it died
 *
 * Names that begin with a dot belong to the store. What is called an orphan is told by its path
 * alone, so that looking one up takes no listing, and a name that somebody made up leads to nothing
 * else. What a directory has is kept until one of its places changes, or another is asked for: who
 * lists very many asks for a page at a time.
 */
#include "store/life.h"
#include "store/lost.h"

#include <dirent.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* A place that was changed within that time may change once more without its mtime showing it. */
#define FRESH_NS 100000000

/* A directory that may have some, from the one of the number; "" is that itself. */
typedef struct {
  char *path;
  bool messages; /* what is called like a message is one, and no orphan */
} Place;

static void
clear_place (gpointer data)
{
  g_free (((Place *)data)->path);
}

static void
add_place (GArray *places, const char *path, bool messages)
{
  Place place = {g_strdup (path), messages};
  g_array_append_val (places, place);
}

/* Opens a place of the directory `node_path`; -1 and errno. */
static int
open_place (Store *store, const char *node_path, const char *place)
{
  if (g_str_has_prefix (place, "../"))
    return layout_open (store->fd, place + strlen ("../"), O_RDONLY | O_DIRECTORY, 0);
  g_autofree char *path = *node_path == '\0' ? g_strdup (place)
                          : *place == '\0'   ? g_strdup (node_path)
                                             : g_build_filename (node_path, place, NULL);
  return layout_open (store->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
}

/* Those directories of tmp/ that no living process has locked. */
static void
add_left (Store *store, GArray *places)
{
  g_autoptr (GPtrArray) names = layout_names (store->fd, "tmp", NULL);
  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_autofree char *path = g_strconcat ("tmp/", names->pdata[i], NULL);
    auto_fd fd = layout_open (store->fd, path, O_RDONLY | O_DIRECTORY, 0);
    g_autofree char *place = g_strconcat ("../", path, NULL);
    if (fd >= 0 && flock (fd, LOCK_SH | LOCK_NB) == 0)
      add_place (places, place, false);
  }
}

static GArray *
list_places (Store *store, const StoreNode *node)
{
  GArray *places = g_array_new (FALSE, FALSE, sizeof (Place));
  g_array_set_clear_func (places, clear_place);
  bool mailbox = node->kind == STORE_NODE_MAILBOX;
  add_place (places, "", mailbox);
  if (mailbox)
    add_place (places, LAYOUT_EXPUNGED, true);
  if (node->kind == STORE_NODE_ROOT) {
    add_place (places, NODE_LOST_FOUND, false);
    add_place (places, "../" NODE_LOST_FOUND, false);
    add_place (places, "../tmp", false);
    add_left (store, places);
  }
  return places;
}

static bool
may_be_orphan (const Place *place, const char *name)
{
  return name[0] != '.' && !(place->messages && store_message_uid (name) > 0);
}

/* ---- one of them --------------------------------------------------------------------------- */

/* The name of what lies at `path` from the directory of that number, and where that is in the
 * store. */
static StoreLost
make_orphan (uint32_t number, const char *node_path, const char *path)
{
  g_autofree char *escaped = lost_escape (path);
  bool beside = *node_path == '\0' || g_str_has_prefix (path, "../");
  return (StoreLost){.kind = STORE_LOST_ORPHANS,
                     .number = number,
                     .name = g_strdup_printf ("%08u-%s", number, escaped),
                     .path = beside ? g_strdup (path) : g_build_filename (node_path, path, NULL)};
}

static char *
join (const Place *place, const char *name)
{
  return *place->path == '\0' ? g_strdup (name) : g_build_filename (place->path, name, NULL);
}

/* ---- all of a directory -------------------------------------------------------------------- */

/* Adds the paths of those of a place that there may be, with their escaped names before them, by
 * which they are ordered. */
static void
list_place (Store *store, const char *node_path, const Place *place, GPtrArray *out)
{
  auto_fd fd = open_place (store, node_path, place->path);
  DIR *stream = fd >= 0 ? fdopendir (fd) : NULL;
  if (stream == NULL)
    return;
  fd = -1;
  for (struct dirent *entry; (entry = readdir (stream)) != NULL;) {
    if ((entry->d_type != DT_REG && entry->d_type != DT_UNKNOWN) ||
        !may_be_orphan (place, entry->d_name))
      continue;
    g_autofree char *path = join (place, entry->d_name);
    g_autofree char *escaped = lost_escape (path);
    g_ptr_array_add (out, g_strconcat (escaped, "\n", path, NULL));
  }
  closedir (stream);
}

/* An escaped name has no byte below the line end. */
static gint
compare_listed (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

/* Those of a directory. Store.orphans_mutex guards it. */
struct Orphans {
  uint32_t number;
  char *signature;   /* of its places */
  GPtrArray *listed; /* never changed: who lists has a reference */
};

void
orphans_init (Store *store)
{
  g_mutex_init (&store->orphans_mutex);
}

static void
forget (Store *store)
{
  Orphans *self = g_steal_pointer (&store->orphans);
  if (self == NULL)
    return;
  g_ptr_array_unref (self->listed);
  g_free (self->signature);
  g_free (self);
}

void
orphans_clear (Store *store)
{
  forget (store);
  g_mutex_clear (&store->orphans_mutex);
}

/* By what it shows that nothing came or went in the places; NULL: there it would not. */
static char *
sign (Store *store, const char *node_path, const GArray *places)
{
  g_autoptr (GString) signature = g_string_new (NULL);
  struct timespec now;
  struct stat st;
  clock_gettime (CLOCK_REALTIME, &now);
  int64_t old_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - FRESH_NS;
  for (guint i = 0; i < places->len; i++) {
    const Place *place = &g_array_index (places, Place, i);
    auto_fd fd = open_place (store, node_path, place->path);
    if (fd < 0)
      continue;
    if (fstat (fd, &st) < 0 || stat_mtime_ns (&st) > old_ns)
      return NULL;
    g_string_append_printf (signature, "%s %ju %ju %" PRId64 "\n", place->path,
                            (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, stat_mtime_ns (&st));
  }
  return g_string_free (g_steal_pointer (&signature), FALSE);
}

static GPtrArray *
take_kept (Store *store, uint32_t number, const char *signature)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->orphans_mutex);
  const Orphans *kept = store->orphans;
  return kept != NULL && kept->number == number && g_strcmp0 (kept->signature, signature) == 0
             ? g_ptr_array_ref (kept->listed)
             : NULL;
}

/* Takes the signature over. */
static void
keep (Store *store, uint32_t number, char *signature, GPtrArray *listed)
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->orphans_mutex);
  forget (store);
  store->orphans = g_new (Orphans, 1);
  *store->orphans = (Orphans){number, signature, g_ptr_array_ref (listed)};
}

static GPtrArray *
list_all (Store *store, const StoreNode *node, const char *node_path)
{
  g_autoptr (GArray) places = list_places (store, node);
  g_autofree char *signature = sign (store, node_path, places);
  GPtrArray *listed = take_kept (store, node->number, signature);
  if (listed != NULL)
    return listed;
  listed = g_ptr_array_new_with_free_func (g_free);
  for (guint i = 0; i < places->len; i++)
    list_place (store, node_path, &g_array_index (places, Place, i), listed);
  g_ptr_array_sort (listed, compare_listed);
  if (signature != NULL && listed->len > 0)
    keep (store, node->number, g_steal_pointer (&signature), listed);
  return listed;
}

/* Where those begin whose escaped name is above `after`. */
static guint
first_above (const GPtrArray *listed, const char *after)
{
  g_autofree char *key = g_strconcat (after != NULL ? after : "", "\v", NULL);
  guint low = 0, high = after != NULL ? listed->len : 0;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (strcmp (listed->pdata[middle], key) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool
page_orphans (Store *store, uint32_t number, const char *after, StoreLost *out, size_t capacity,
              size_t *out_count, GError **error)
{
  g_auto (StoreNode) node = {0};
  g_autofree char *node_path = NULL;
  size_t count = 0;
  if (!store_node_get (store, number, &node, error) ||
      (node_path = store_node_path (store, number, error)) == NULL)
    return false;
  g_autoptr (GPtrArray) listed = list_all (store, &node, node_path);
  for (guint i = first_above (listed, after); i < listed->len && count < capacity; i++) {
    bool found = false;
    const char *path = strchr (listed->pdata[i], '\n') + 1;
    /* What cannot be looked at is not there to be had either. */
    if (lost_look (store, make_orphan (number, node_path, path), &out[count], &found, NULL) &&
        found)
      count++;
  }
  *out_count = count;
  return true;
}

/* Whether what lies at `path` would be an orphan. */
static bool
is_in_places (const GArray *places, const char *path)
{
  const char *slash = strrchr (path, '/');
  g_autofree char *directory = g_strndup (path, slash != NULL ? (gsize)(slash - path) : 0);
  for (guint i = 0; i < places->len; i++) {
    const Place *place = &g_array_index (places, Place, i);
    if (strcmp (place->path, directory) == 0)
      return may_be_orphan (place, slash != NULL ? slash + 1 : path);
  }
  return false;
}

/* A name that was cut does not tell the path. */
static char *
find_cut (Store *store, const StoreNode *node, const char *node_path, const char *rest)
{
  size_t length = strlen (rest);
  if (length < 9 || rest[length - 9] != '~')
    return NULL;
  g_autoptr (GPtrArray) listed = list_all (store, node, node_path);
  for (guint i = 0; i < listed->len; i++) {
    const char *entry = listed->pdata[i];
    if (strncmp (entry, rest, length) == 0 && entry[length] == '\n')
      return g_strdup (entry + length + 1);
  }
  return NULL;
}

static bool
find_orphan (Store *store, uint32_t number, const char *rest, StoreLost *out, bool *out_found,
             GError **error)
{
  g_auto (StoreNode) node = {0};
  g_autofree char *node_path = NULL, *path = store_name_unescape (rest);
  if (!store_node_get (store, number, &node, error) ||
      (node_path = store_node_path (store, number, error)) == NULL)
    return false;
  g_autofree char *escaped = lost_escape (path);
  g_autoptr (GArray) places = list_places (store, &node);
  if (strcmp (escaped, rest) == 0 && is_in_places (places, path) &&
      !lost_look (store, make_orphan (number, node_path, path), out, out_found, error))
    return false;
  g_autofree char *cut = *out_found ? NULL : find_cut (store, &node, node_path, rest);
  return cut == NULL ||
         lost_look (store, make_orphan (number, node_path, cut), out, out_found, error);
}

/* ---- removing ------------------------------------------------------------------------------ */

/* In a mailbox it changes the directory that the index goes by; the user is locked then. */
static bool
remove_file (StoreMailbox *node, int parent, const char *name, bool above, GError **error)
{
  g_auto (Epoch) epoch = EPOCH_NONE;
  bool mailbox = node != NULL && node->kind == STORE_NODE_MAILBOX;
  bool agreed = mailbox && above && !mailbox_is_behind (node);
  if (mailbox &&
      (!epoch_enter (node->store, &epoch, error) || !keep_directory (&epoch, node, error)))
    return false;
  if (unlinkat (parent, name, 0) < 0 || fsync (parent) < 0)
    return fail_errno (error, "remove '%s'", name);
  return !agreed || purge_keep_agreed (node, error);
}

static bool
remove_orphan (Store *store, const StoreLost *lost, GError **error)
{
  g_autofree char *name = NULL;
  g_autoptr (StoreMailbox) node = store_mailbox_open (store, lost->number, error);
  if (node == NULL)
    return false;
  auto_fd lock = node->kind == STORE_NODE_MAILBOX ? lock_mailbox (node, error) : -1;
  if (node->kind == STORE_NODE_MAILBOX && lock < 0)
    return false;
  auto_fd parent = lost_open_parent (store, lost, &name, error);
  struct stat st;
  if (parent < 0)
    return false;
  if (fstat (parent, &st) < 0)
    return fail_errno (error, "stat the directory of '%s'", lost->name);
  bool above = st.st_ino == node->inode && st.st_dev == node->device;
  return remove_file (node, parent, name, above, error);
}

const LostKind lost_orphans = {.page = page_orphans,
                               .find = find_orphan,
                               .remove = remove_orphan,
                               .why = "no part of the store is called so"};
