/* SPDX-License-Identifier: Apache-2.0 */
/*
 * purge: takes away what is provably not needed, and no message ever.
 *
 *   records of removed messages, where they are many; then the index is copied without what is
 *     empty
 *   files that belong nowhere and are old enough: they go to quarantine
 *   what lies in quarantine for longer than `purge.age`, whatever --age says: it is removed for
 * good
 *
 * Nothing of a user is touched while the user's index is missing, damaged, behind or being rebuilt:
 * then there is no telling what belongs where. A lock of its own keeps rebuilds out meanwhile.
 *
 * The index is copied beside the old one and renamed into its place (VACUUM INTO), not compacted in
 * place: that would hold all of it in memory and lock readers out while it is written. Readers go
 * on with the old one; the user's writers wait, half a second or so for each 100 MB.
 */
#include "store/jobs.h"
#include "store/life.h"
#include "store/rebuild.h"
#include "store/snapshot.h"
#include "store/verbs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  StoreJob *job;
  char *stamp;        /* of this run, in quarantine */
  int64_t before_ns;  /* what was changed then or before may go to quarantine */
  GPtrArray *done;    /* paths of the users of whom all was looked at */
  GPtrArray *refused; /* paths of those who must not be touched */
  GPtrArray *needed;  /* what snapshots have in quarantine */
  unsigned kept;      /* how much stays there for that */
} Purge;

static bool
is_dry (const Purge *self)
{
  return job_has (self->job, STORE_WORD_DRY_RUN);
}

/* ---- whether a user may be touched --------------------------------------------------------- */

/* Tells why nothing of the user is purged. */
static bool
refuse (Purge *self, StoreProblem problem, uint32_t number, const char *path, const char *why)
{
  job_found (self->job, problem, false, number, 0, path, "nothing of this user is purged: %s", why);
  return false;
}

/* Whether the index has every mailbox of the user as it is now. */
static bool
has_all (Purge *self, uint32_t owner, GError **error)
{
  g_autoptr (GArray) all = job_mailboxes_of (self->job, owner, error);
  for (guint i = 0; all != NULL && i < all->len; i++) {
    uint32_t number = g_array_index (all, uint32_t, i);
    g_autoptr (GError) failure = NULL;
    g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->job->store, number, &failure);
    g_autofree char *path = mailbox != NULL ? g_strdup (mailbox->path)
                                            : store_node_path (self->job->store, number, NULL);
    if (mailbox == NULL)
      return refuse (self, STORE_PROBLEM_NO_DIRECTORY, number, path ? path : "", failure->message);
    if (mailbox_is_behind (mailbox))
      return refuse (self, STORE_PROBLEM_CHANGED, number, path,
                     "the index does not have this mailbox as it is");
  }
  return all != NULL;
}

/* Whether the user may be purged; if not, a finding says why, or there is an error. */
static bool
is_whole (Purge *self, const StoreNode *owner, const char *path, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (owner->no_index)
    return true;
  /* What is on disk counts, not what is known of it. */
  cache_drop_index (self->job->store, owner->number);
  if (index_probe (self->job, owner->number, true, &failure))
    return has_all (self, owner->number, error);
  bool missing = error_code (failure) == ENOENT;
  if (!missing && !is_index_broken (failure)) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  return refuse (self, missing ? STORE_PROBLEM_NO_INDEX : STORE_PROBLEM_BAD_INDEX, owner->number,
                 path, missing ? "there is no index" : failure->message);
}

/* ---- records ------------------------------------------------------------------------------- */

/* Collects the mailboxes that have too many records. */
static bool
find_records (Purge *self, Index *index, const GArray *mailboxes, GArray *out, GError **error)
{
  Store *store = self->job->store;
  int64_t count = store_setting (store, STORE_PURGE_COUNT);
  uint64_t percentage = (uint64_t)store_setting (store, STORE_PURGE_PERCENTAGE);
  for (guint i = 0; i < mailboxes->len; i++) {
    IndexMailbox row = {0};
    bool found;
    uint32_t number = g_array_index (mailboxes, uint32_t, i);
    if (!index_mailbox_get (index, number, &row, &found, error))
      return false;
    uint64_t all = (uint64_t)row.messages + row.expunged + row.removed;
    if (!found || row.removed <= count || (uint64_t)row.removed * 100 <= percentage * all)
      continue;
    g_autofree char *path = store_node_path (store, number, error);
    if (path == NULL)
      return false;
    job_took (self->job, STORE_PROBLEM_RECORDS, number, 0, 0, path,
              "%u records of removed messages", row.removed);
    g_array_append_val (out, number);
  }
  return true;
}

static bool
sync_path (const char *path, int flags, GError **error)
{
  auto_fd fd = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);
  return (fd >= 0 && fsync (fd) == 0) || fail_errno (error, "sync %s", path);
}

/* Where a copy of the index is made. What an interrupted run left there is of no use to anybody,
 * and nobody else's while the user lock is held. */
static char *
clear_copy (const Handle *handle, uint32_t owner)
{
  g_autofree char *directory = g_path_get_dirname (handle->path);
  char *copy = g_strdup_printf ("%s/.compact.%u", directory, owner);
  g_autofree char *journal = g_strconcat (copy, "-journal", NULL);
  unlink (copy);
  unlink (journal);
  return copy;
}

/* Puts a copy without empty pages in the place of the index; the user lock is held. */
static bool
compact (Store *store, uint32_t owner, const Handle *handle, GError **error)
{
  g_autofree char *copy = clear_copy (handle, owner);
  g_autofree char *directory = g_path_get_dirname (handle->path);
  bool made = index_compact (handle->index, copy, error) && layout_own_path (store, copy, error) &&
              sync_path (copy, 0, error);
  if (made && rename (copy, handle->path) < 0)
    made = fail_errno (error, "put %s into place", handle->path);
  if (!made) {
    g_free (clear_copy (handle, owner));
    return false;
  }
  cache_drop_index (store, owner);
  return sync_path (directory, O_DIRECTORY, error);
}

static bool
purge_records (Purge *self, uint32_t owner, const GArray *mailboxes, GError **error)
{
  Store *store = self->job->store;
  g_autoptr (Handle) handle = cache_index (store, owner, false, error);
  g_autoptr (GArray) full = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  if (handle == NULL || !find_records (self, handle->index, mailboxes, full, error))
    return false;
  if (is_dry (self))
    return true;
  g_free (clear_copy (handle, owner));
  if (full->len == 0)
    return true;
  g_autoptr (IndexWrite) write = index_write_begin (handle->index, error);
  for (guint i = 0; write != NULL && i < full->len; i++) {
    if (!index_write_forget_removed (write, g_array_index (full, uint32_t, i), error))
      return false;
  }
  return write != NULL && index_write_commit (write, error) &&
         compact (store, owner, handle, error);
}

/* ---- strays -------------------------------------------------------------------------------- */

/* Takes those in the directory `name` of a node that are regular files and old enough. */
static bool
take_strays (Purge *self, const StoreMailbox *node, const char *name, unsigned *count,
             GError **error)
{
  g_autoptr (GPtrArray) strays = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) failure = NULL;
  g_autoptr (GArray) uids = layout_uids (node->fd, name, strays, &failure);
  if (uids == NULL && failure->code != ENOENT) {
    g_propagate_prefixed_error (error, g_steal_pointer (&failure), "'%s': ", node->path);
    return false;
  }
  for (guint i = 0; i < strays->len; i++) {
    const char *stray = strays->pdata[i];
    g_autofree char *below =
        *name != '\0' ? g_build_filename (name, stray, NULL) : g_strdup (stray);
    g_autofree char *path =
        *node->path != '\0' ? g_build_filename (node->path, below, NULL) : g_strdup (below);
    struct stat st;
    if (fstatat (node->fd, below, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG (st.st_mode) ||
        stat_ctime_ns (&st) > self->before_ns)
      continue;
    if (!is_dry (self) && !quarantine_take (self->job->store, self->stamp, path, error))
      return false;
    job_took (self->job, STORE_PROBLEM_STRAY, node->number, 0, (uint64_t)st.st_size, path,
              "goes to quarantine");
    ++*count;
  }
  return true;
}

bool
purge_keep_agreed (StoreMailbox *mailbox, GError **error)
{
  IndexMailbox row = {0};
  bool found;
  g_autoptr (Handle) handle = cache_index (mailbox->store, mailbox->owner, false, error);
  g_autoptr (IndexWrite) write = handle != NULL ? index_write_begin (handle->index, error) : NULL;
  return write != NULL && index_write_get_mailbox (write, mailbox->number, &row, &found, error) &&
         found && mailbox_stamp (mailbox, &row.directory_ns, error) &&
         index_write_mailbox (write, &row, error) && index_write_commit (write, error);
}

static bool
has_strays (const StoreMailbox *node)
{
  g_autoptr (GPtrArray) strays = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GArray) uids = layout_uids (node->fd, "", strays, NULL);
  return strays->len > 0;
}

/* Strays of a mailbox, whose user is locked, or of a directory above mailboxes, which needs no
 * lock: what is no part of the store is nobody's. */
static bool
purge_strays (Purge *self, uint32_t number, GError **error)
{
  Store *store = self->job->store;
  g_autoptr (StoreMailbox) node = store_mailbox_open (store, number, error);
  unsigned count = 0, expunged = 0;
  if (node == NULL)
    return false;
  g_auto (Epoch) epoch = EPOCH_NONE;
  if (!is_dry (self) && node->kind == STORE_NODE_MAILBOX &&
      (!epoch_enter (store, &epoch, error) ||
       (epoch.newest > 0 && has_strays (node) && !keep_directory (&epoch, node, error))))
    return false;
  bool mailbox = node->kind == STORE_NODE_MAILBOX;
  bool agreed = mailbox && !mailbox_is_behind (node);
  if (!take_strays (self, node, "", &count, error) ||
      (mailbox && !take_strays (self, node, LAYOUT_EXPUNGED, &expunged, error)))
    return false;
  if (count > 0 && agreed && !is_dry (self))
    return purge_keep_agreed (node, error);
  return true;
}

/* ---- users --------------------------------------------------------------------------------- */

static bool
purge_locked (Purge *self, const StoreNode *owner, const GArray *mailboxes, bool whole,
              GError **error)
{
  Store *store = self->job->store;
  auto_fd lock = -1;
  if (!store_is_read_only (store) && (lock = lock_user (store, owner->number, error)) < 0)
    return false;
  if (!owner->no_index && !purge_records (self, owner->number, mailboxes, error))
    return false;
  for (guint i = 0; i < mailboxes->len; i++) {
    job_looked_at (self->job, 1, 0, 0);
    if (!job_go_on (self->job, error) ||
        !purge_strays (self, g_array_index (mailboxes, uint32_t, i), error))
      return false;
  }
  return !whole || purge_strays (self, owner->number, error);
}

/* A dry run says what the run would refuse, and so it takes the same lock where it can. */
static bool
purge_owner (StoreJob *job, uint32_t number, GArray *mailboxes, bool whole, GError **error)
{
  Purge *self = job->data;
  g_auto (StoreNode) owner = {0};
  g_autofree char *path = store_node_path (job->store, number, error);
  g_autoptr (GError) failure = NULL;
  if (path == NULL || !store_node_get (job->store, number, &owner, error))
    return false;
  auto_fd task =
      store_is_read_only (job->store) ? -1 : lock_task (job->store, number, LOCK_PURGE, &failure);
  bool busy = error_code (failure) == EBUSY;
  if (failure != NULL && !busy) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  bool good = busy ? refuse (self, STORE_PROBLEM_BUSY, number, path, "its index is being rebuilt")
                   : is_whole (self, &owner, path, &failure);
  if (failure != NULL && !busy) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  if (good && whole)
    g_ptr_array_add (self->done, g_strdup (path));
  if (!good)
    g_ptr_array_add (self->refused, g_strdup (path));
  return !good || purge_locked (self, &owner, mailboxes, whole, error);
}

/* ---- what belongs to nobody ---------------------------------------------------------------- */

static bool purge_container (const StoreNode *node, void *data, GError **error);

/* Strays of a directory above users, and of those below it. */
static bool
purge_containers (Purge *self, uint32_t number, GError **error)
{
  return purge_strays (self, number, error) &&
         store_node_each_child (self->job->store, number, NULL, purge_container, self, error);
}

static bool
purge_container (const StoreNode *node, void *data, GError **error)
{
  bool above = node->kind == STORE_NODE_DOMAIN || node->kind == STORE_NODE_USERS;
  return !above || purge_containers (data, node->number, error);
}

static bool
lies_in (const char *path, const GPtrArray *directories)
{
  for (guint i = 0; i < directories->len; i++) {
    size_t length = strlen (directories->pdata[i]);
    if (strncmp (path, directories->pdata[i], length) == 0 &&
        (path[length] == '/' || path[length] == '\0'))
      return true;
  }
  return false;
}

/* Whether it lies in quarantine for long enough. An age that was asked for does not count: who
 * sweeps what is stray has not said that what was removed yesterday is not wanted back. */
static bool
is_over (const Purge *self, const StoreQuarantined *object)
{
  return object->since_s <= record_now () - store_setting (self->job->store, STORE_PURGE_AGE);
}

/* Removes what is old enough in quarantine, of users who were looked at; with the whole store also
 * what is of nobody. */
static bool
purge_quarantined (Purge *self, const StoreQuarantined *object, GError **error)
{
  Store *store = self->job->store;
  const char *path = strchr (object->path, '/') + 1;
  bool everything = self->job->request->targets->len == 0;
  if (!job_go_on (self->job, error))
    return false;
  /* Whatever the setting is: what came in just now stays. */
  if (g_str_has_prefix (object->path, self->stamp) || !is_over (self, object) ||
      lies_in (path, self->refused) || !(everything || lies_in (path, self->done)))
    return true;
  if (quarantine_is_needed (object, self->needed)) {
    self->kept++;
    return true;
  }
  if (!is_dry (self) && !quarantine_remove (store, object, self->needed, error))
    return false;
  g_autofree char *place = g_strconcat ("../quarantine/", object->path, NULL);
  job_took (self->job, STORE_PROBLEM_QUARANTINED, 0, 0, object->size, place, "is removed for good");
  return true;
}

/* First what is there, then what of it snapshots need: where a directory goes is kept before it
 * goes. What comes later is for the next purge. */
static bool
purge_quarantine (Purge *self, GError **error)
{
  Store *store = self->job->store;
  g_autoptr (GPtrArray) objects = store_quarantine_list (store, error);
  self->needed = objects != NULL ? quarantine_needed (store, error) : NULL;
  if (self->needed == NULL)
    return false;
  for (guint i = 0; i < objects->len; i++) {
    if (!purge_quarantined (self, objects->pdata[i], error))
      return false;
  }
  return true;
}

static bool
purge_rest (Purge *self, GError **error)
{
  bool everything = self->job->request->targets->len == 0;
  if ((everything && !purge_containers (self, STORE_ROOT, error)) ||
      !purge_quarantine (self, error))
    return false;
  if (self->kept > 0)
    job_noted (self->job, STORE_PROBLEM_NOTE, 0, 0, "../quarantine",
               "%u objects stay: snapshots have them", self->kept);
  return true;
}

static void
purge_clear (Purge *self)
{
  g_free (self->stamp);
  g_clear_pointer (&self->done, g_ptr_array_unref);
  g_clear_pointer (&self->refused, g_ptr_array_unref);
  g_clear_pointer (&self->needed, g_ptr_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Purge, purge_clear)

bool
command_purge (StoreJob *job, GError **error)
{
  g_auto (Purge) purge = {.job = job,
                          .stamp = quarantine_stamp (),
                          .before_ns = life_before_ns (job, STORE_PURGE_AGE),
                          .done = g_ptr_array_new_with_free_func (g_free),
                          .refused = g_ptr_array_new_with_free_func (g_free)};
  job->data = &purge;
  bool done = life_require_writable (job, error) && job_each_owner (job, purge_owner, error) &&
              purge_rest (&purge, error);
  job->data = NULL;
  return done;
}
