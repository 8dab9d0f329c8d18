/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search.c - the control directory search/: mkdir looks for messages, rmdir drops what was found.
 *
 * The name is the query. What was found is a directory of the messages themselves, as if these were
 * hard links: NUMBER-UID.eml, the mailbox's number and the UID. It tells what there was when it was
 * looked; what has gone since is not found any more.
 *
 * Searches run in threads of their own, few at a time, while who made the directory waits without
 * holding a thread, and may be interrupted. The kernel keeps search/ locked meanwhile: whoever else
 * wants something in this one waits for that.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/node.h"
#include "fs/reply.h"
#include "fs/trail.h"
#include "fs/transient.h"
#include "store/commands.h"
#include "store/rescue.h"
#include "store/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How many there are at a time, how many run, and how many messages one finds. */
#define SEARCHES_MAX 64u
#define RUNNING_MAX  2
#define FOUND_MAX    1000000u

#define NAME_FORMAT "%08u-%010u.eml"

typedef struct {
  gatomicrefcount references;
  uint32_t number; /* of the directory below which is looked */
  uint64_t serial; /* the higher, the later */
  char *name;      /* of the directory */
  StoreQuery *query;
  _Atomic bool stopped;
  _Atomic bool ended; /* what follows is the thread's until then, and does not change afterwards */
  GArray *found;      /* of uint64_t: the mailbox's number, and in the lower half the UID; sorted */
  uint64_t missed;    /* how many messages and mailboxes could not be looked at */
  GError *failure;
  int64_t ended_ns;
} Search;

struct Searches {
  GThreadPool *pool;
  GMutex mutex;    /* for what follows */
  GPtrArray *list; /* of Search, by serial */
  uint64_t last;   /* serial */
};

static Search *
search_ref (Search *self)
{
  g_atomic_ref_count_inc (&self->references);
  return self;
}

static void
search_unref (gpointer data)
{
  Search *self = data;

  if (!g_atomic_ref_count_dec (&self->references))
    return;
  g_free (self->name);
  store_query_free (self->query);
  g_array_unref (self->found);
  g_clear_error (&self->failure);
  g_free (self);
}

/* ---- looking for messages ----------------------------------------------------------------- */

static bool
add_found (StoreMailbox *mailbox, const StoreMessage *message, void *data, GError **error)
{
  Search *self = data;
  uint64_t id = (uint64_t)store_mailbox_number (mailbox) << 32 | message->uid;

  if (self->found->len >= FOUND_MAX)
    return fail (error, E2BIG, "more than %u messages match", FOUND_MAX);
  g_array_append_val (self->found, id);
  return true;
}

static bool
go_on (uint64_t messages, void *data, GError **error)
{
  const Search *self = data;

  return !self->stopped || fail (error, EINTR, "the search was interrupted");
}

static void
count_missed (uint32_t number, uint32_t uid, const GError *failure, void *data)
{
  ((Search *)data)->missed++;
}

static gint
compare_ids (gconstpointer a, gconstpointer b)
{
  const uint64_t *left = a, *right = b;

  return (*left > *right) - (*left < *right);
}

static void
run (gpointer data, gpointer user_data)
{
  Search *self = data;
  Mount *mount = user_data;
  const StoreSearch calls = {
      .found = add_found, .go_on = go_on, .missed = count_missed, .user_data = self};

  store_search (mount->top, self->query, self->number, &calls, &self->failure);
  g_array_sort (self->found, compare_ids);
  self->ended_ns = g_get_real_time () * 1000;
  self->ended = true;
  waits_wake (mount->waits);
  search_unref (self);
}

/* ---- those that there are ----------------------------------------------------------------- */

/* The mutex is held. */
static bool
find_index (const Searches *self, uint32_t number, const char *name, guint *out)
{
  for (guint i = 0; i < self->list->len; i++) {
    const Search *search = self->list->pdata[i];
    if (search->number == number && strcmp (search->name, name) == 0) {
      *out = i;
      return true;
    }
  }
  return false;
}

/* A reference to the one that has ended with an answer; NULL: there is none. */
static Search *
take_ended (Searches *self, uint32_t number, const char *name)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  guint i;

  if (!find_index (self, number, name, &i))
    return NULL;
  Search *search = self->list->pdata[i];
  return search->ended && search->failure == NULL ? search_ref (search) : NULL;
}

/* Begins one that nobody sees before it has ended. */
static Search *
begin (Searches *self, uint32_t number, const char *name, GError **error)
{
  g_autofree char *text = store_name_unescape (name);
  g_autoptr (StoreQuery) query = store_query_parse (text, error);
  guint i;

  if (query == NULL)
    return NULL;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  if (find_index (self, number, name, &i)) {
    fail (error, EEXIST, "that is being looked for, or was: rmdir drops it");
    return NULL;
  }
  if (self->list->len >= SEARCHES_MAX) {
    fail (error, ENOSPC, "there are %u searches; rmdir drops them", SEARCHES_MAX);
    return NULL;
  }
  Search *search = g_new0 (Search, 1);
  g_atomic_ref_count_init (&search->references);
  search->number = number;
  search->serial = ++self->last;
  search->name = g_strdup (name);
  search->query = g_steal_pointer (&query);
  search->found = g_array_new (FALSE, FALSE, sizeof (uint64_t));
  g_ptr_array_add (self->list, search_ref (search));
  g_thread_pool_push (self->pool, search_ref (search), NULL);
  return search;
}

/* Drops the one of that name; with `which` only if it still is that. */
static bool
drop (Searches *self, uint32_t number, const char *name, const Search *which)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  guint i;

  if (!find_index (self, number, name, &i) || (which != NULL && self->list->pdata[i] != which))
    return false;
  ((Search *)self->list->pdata[i])->stopped = true;
  g_ptr_array_remove_index (self->list, i);
  return true;
}

/* ---- the tree ----------------------------------------------------------------------------- */

static bool
is_top (const TransientNode *directory)
{
  return *directory->path == '\0';
}

static void
find_search (Mount *mount, const TransientNode *directory, const char *name, TransientEntry *out)
{
  Search *search = take_ended (mount->searches, directory->root.number, name);

  if (search != NULL)
    *out = (TransientEntry){.type = S_IFDIR,
                            .mtime_ns = search->ended_ns,
                            .ctime_ns = search->ended_ns,
                            .data = search,
                            .free = search_unref};
}

static bool
find (Mount *mount, const TransientNode *directory, const char *name, const TransientEntry *known,
      TransientEntry *out, GError **error)
{
  char spelled[32];
  unsigned number, uid;

  if (is_top (directory)) {
    find_search (mount, directory, name, out);
    return true;
  }
  const Search *search = directory->entry.data;
  if (sscanf (name, "%8u-%10u", &number, &uid) != 2)
    return true;
  g_snprintf (spelled, sizeof spelled, NAME_FORMAT, number, uid);
  uint64_t id = (uint64_t)number << 32 | uid;
  if (strcmp (name, spelled) == 0 && g_array_binary_search (search->found, &id, compare_ids, NULL))
    *out = (TransientEntry){.type = S_IFREG, .number = number, .uid = uid};
  return true;
}

static void
list_searches (Mount *mount, uint32_t number, off_t after, ControlAddFunc add, void *data)
{
  Searches *self = mount->searches;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (guint i = 0; i < self->list->len; i++) {
    const Search *search = self->list->pdata[i];
    if (search->number == number && (off_t)search->serial > after && search->ended &&
        search->failure == NULL && !add (search->name, 0, S_IFDIR, (off_t)search->serial, data))
      return;
  }
}

static bool
list (Mount *mount, const TransientNode *directory, off_t after, ControlAddFunc add, void *data,
      GError **error)
{
  char name[32];

  if (is_top (directory)) {
    list_searches (mount, directory->root.number, after, add, data);
    return true;
  }
  const Search *search = directory->entry.data;
  for (uint64_t i = (uint64_t)after; i < search->found->len; i++) {
    uint64_t id = g_array_index (search->found, uint64_t, i);
    uint32_t number = (uint32_t)(id >> 32), uid = (uint32_t)id;
    g_snprintf (name, sizeof name, NAME_FORMAT, number, uid);
    if (!add (name, inode_message (VIEW_TOP, number, uid), S_IFREG, (off_t)i + 1, data))
      break;
  }
  return true;
}

/* ---- mkdir and rmdir ---------------------------------------------------------------------- */

/* Somebody who waits for a search. */
typedef struct {
  Search *search;
  fuse_ino_t directory; /* search/ */
  Caller caller;
} Waiting;

static void
leave_trail (Mount *mount, const Caller *caller, const char *through, uint32_t number,
             const char *name, const GError *failure)
{
  g_autofree char *path = inode_path (mount, inode_directory (VIEW_TOP, number));
  g_autofree char *text = store_name_unescape (name);
  g_autofree char *query = store_word_escape (text);
  g_autofree char *command = g_strconcat ("search query=", query, NULL);

  trail_action (mount, caller, through, path, command, NULL, NULL, failure);
}

static bool
is_over (Mount *mount, void *data, int *out_code)
{
  const Waiting *self = data;

  *out_code = 0;
  return self->search->ended;
}

/* Who does not wait any more does not want it, and what failed is not shown. */
static void
answer (fuse_req_t req, void *data, int code)
{
  Mount *mount = fuse_req_userdata (req);
  const Waiting *self = data;
  const Search *search = self->search;
  g_autoptr (GError) error = NULL;

  if (code != 0)
    fail (&error, code, "the search was interrupted");
  else if (search->failure != NULL)
    error = g_error_copy (search->failure);
  leave_trail (mount, &self->caller, "mkdir", search->number, search->name, error);
  if (error != NULL) {
    drop (mount->searches, search->number, search->name, search);
    return reply_errno (req, error_code (error));
  }
  if (search->missed > 0) {
    fail (&error, EIO, "%" PRIu64 " messages or mailboxes could not be looked at", search->missed);
    trail_failure (mount, &self->caller, "search", error);
  }
  answer_lookup (req, self->directory, search->name);
}

static void
free_waiting (void *data)
{
  Waiting *self = data;

  search_unref (self->search);
  g_free (self);
}

static void
make (fuse_req_t req, const TransientNode *directory, const char *name)
{
  static const WaitKind kind = {is_over, answer, free_waiting};
  Mount *mount = fuse_req_userdata (req);
  Waiting waiting = {.directory = directory->ino, .caller = caller_of (req)};
  g_autoptr (GError) error = NULL;

  if (!is_top (directory))
    return reply_errno (req, EPERM);
  waiting.search = begin (mount->searches, directory->root.number, name, &error);
  if (waiting.search != NULL)
    return waits_add (mount->waits, req, &kind, g_memdup2 (&waiting, sizeof waiting));
  leave_trail (mount, &waiting.caller, "mkdir", directory->root.number, name, error);
  reply_errno (req, error_code (error));
}

static void
remove_search (fuse_req_t req, const TransientNode *directory, const char *name)
{
  Mount *mount = fuse_req_userdata (req);

  if (!is_top (directory))
    return reply_errno (req, EPERM);
  reply_errno (req, drop (mount->searches, directory->root.number, name, NULL) ? 0 : ENOENT);
}

const TransientTree search_tree = {
    .find = find,
    .list = list,
    .mkdir = make,
    .rmdir = remove_search,
};

/* ---- beginning and end -------------------------------------------------------------------- */

Searches *
searches_new (Mount *mount)
{
  Searches *self = g_new0 (Searches, 1);

  g_mutex_init (&self->mutex);
  self->list = g_ptr_array_new_with_free_func (search_unref);
  self->pool = g_thread_pool_new_full (run, mount, search_unref, RUNNING_MAX, FALSE, NULL);
  return self;
}

void
searches_stop (Searches *self)
{
  g_mutex_lock (&self->mutex);
  for (guint i = 0; i < self->list->len; i++)
    ((Search *)self->list->pdata[i])->stopped = true;
  g_mutex_unlock (&self->mutex);
  g_thread_pool_free (g_steal_pointer (&self->pool), TRUE, TRUE);
}

void
searches_free (Searches *self)
{
  if (self->pool != NULL)
    searches_stop (self);
  g_ptr_array_unref (self->list);
  g_mutex_clear (&self->mutex);
  g_free (self);
}
