/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.c - what is mounted, and the snapshots of it that can be seen in its control directory.
 *
 * All of them are Stores. View 0 is what is mounted. A snapshot is given a view when its name is
 * looked up, and the view stands in the inodes by which the kernel knows its nodes. It is not the
 * snapshot's slot, which stands in st_ino and is the same in every mount: a slot is used again for
 * another snapshot some time after its own was dropped, and whoever still sits in a directory of
 * that, or has a file of it open, would find himself in the other. A view is used again only when
 * the kernel has forgotten every node of it. So nodes are counted: as often as the kernel is told
 * of one, until it forgets.
 *
 * What is asked of a dropped snapshot is answered with ESTALE. The thread that tells the kernel of
 * changes (notify.c) looks for those that were dropped, whoever did it, and is the one that gives
 * views free.
 *
 * Few snapshots are looked at at the same time, so only some are kept open.
 */
#include "fs/view.h"
#include "fs/inode.h"
#include "fs/notify.h"
#include "fs/operation.h"
#include "fs/reply.h"
#include "fs/transient.h"
#include "store/rescue.h"

#define VIEWS    256 /* the first is VIEW_TOP */
#define OPEN_MAX 16

/* A snapshot that the kernel may know. */
typedef struct {
  uint32_t epoch; /* of the snapshot, which tells it from all others; 0: the view is free */
  uint32_t slot;
  char *name;    /* that the kernel has for it */
  bool gone;     /* it was dropped */
  int64_t nodes; /* that the kernel knows, each as often as it was told of it */
  View *view;    /* NULL: it is not open */
  uint64_t taken_at;
} Known;

struct Views {
  View top;
  GMutex mutex; /* for what follows */
  Known known[VIEWS];
  unsigned promised; /* of those that are free */
  uint64_t takes;
};

/* ---- views -------------------------------------------------------------------------------- */

View *
view_ref (View *self)
{
  g_atomic_ref_count_inc (&self->references);
  return self;
}

void
view_unref (View *self)
{
  if (self == NULL || !g_atomic_ref_count_dec (&self->references))
    return;
  store_close (self->store);
  g_free (self);
}

/* The snapshot of that epoch, in what store_snapshot_list() gives; NULL: it was dropped. */
static const StoreSnapshot *
find_epoch (const GPtrArray *snapshots, uint32_t epoch)
{
  for (guint i = 0; i < snapshots->len; i++) {
    const StoreSnapshot *snapshot = snapshots->pdata[i];
    if (snapshot->epoch == epoch)
      return snapshot;
  }
  return NULL;
}

static View *
open_snapshot (Store *live, const Known *known, uint32_t number, GError **error)
{
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (live, error);
  if (snapshots == NULL)
    return NULL;
  const StoreSnapshot *snapshot = find_epoch (snapshots, known->epoch);
  g_autoptr (Store) store =
      snapshot == NULL ? NULL : store_snapshot_open (live, snapshot->name, error);
  if (snapshot != NULL && store == NULL)
    return NULL;
  /* Its name may have become another's meanwhile. */
  if (store == NULL || store_snapshot_of (store)->epoch != known->epoch) {
    fail (error, ESTALE, "the snapshot is gone");
    return NULL;
  }
  View *self = g_new0 (View, 1);
  g_atomic_ref_count_init (&self->references);
  self->number = number;
  self->slot = known->slot;
  self->epoch = known->epoch;
  self->store = g_steal_pointer (&store);
  return self;
}

/* ---- the table ---------------------------------------------------------------------------- */

static bool
is_idle (const Known *known)
{
  return known->view == NULL || g_atomic_ref_count_compare (&known->view->references, 1);
}

/* Of those that nobody uses, takes out the one that nobody has used the longest, when too many are
 * open. The mutex is held; the caller lets go of it without. */
static View *
take_superfluous (Views *self)
{
  Known *oldest = NULL;
  unsigned open = 0;

  for (unsigned i = 0; i < VIEWS; i++) {
    Known *known = &self->known[i];
    open += known->view != NULL;
    if (known->view != NULL && is_idle (known) &&
        (oldest == NULL || known->taken_at < oldest->taken_at))
      oldest = known;
  }
  return open > OPEN_MAX && oldest != NULL ? g_steal_pointer (&oldest->view) : NULL;
}

/* What is open of a view; else NULL, and what is known of it. */
static View *
take_open (Views *self, uint32_t number, Known *out)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Known *known = &self->known[number];

  *out = *known;
  if (known->gone || known->view == NULL)
    return NULL;
  known->taken_at = ++self->takes;
  return view_ref (known->view);
}

/* Keeps what was opened, which it takes over, unless another thread has opened the same. */
static View *
keep_open (Views *self, View *opened, GError **error)
{
  g_autoptr (View) view = opened, superfluous = NULL;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Known *known = &self->known[opened->number];

  if (known->epoch != opened->epoch || known->gone) {
    fail (error, ESTALE, "the snapshot is gone");
    return NULL;
  }
  if (known->view == NULL)
    known->view = g_steal_pointer (&view);
  known->taken_at = ++self->takes;
  View *taken = view_ref (known->view);
  superfluous = take_superfluous (self);
  return taken;
}

View *
view_take (Mount *mount, fuse_ino_t ino, GError **error)
{
  Views *self = mount->views;
  uint32_t number = inode_view (ino);
  Known known;

  if (number == VIEW_TOP)
    return view_ref (&self->top);
  View *view = take_open (self, number, &known);
  if (view != NULL)
    return view;
  if (known.epoch == 0 || known.gone) {
    fail (error, ESTALE, "the snapshot is gone");
    return NULL;
  }
  view = open_snapshot (mount->store, &known, number, error);
  return view == NULL ? NULL : keep_open (self, view, error);
}

/* The view of that epoch, else one that is free: VIEW_TOP, if there are no more than `reserved`.
 * The mutex is held. */
static uint32_t
choose_view (const Views *self, uint32_t epoch, unsigned reserved)
{
  uint32_t view = VIEW_TOP;
  unsigned left = 0;

  for (uint32_t i = VIEWS - 1; i > VIEW_TOP; i--) {
    if (self->known[i].epoch == epoch)
      return i;
    if (self->known[i].epoch == 0) {
      view = i;
      left++;
    }
  }
  return left > reserved ? view : VIEW_TOP;
}

static bool
fail_busy (GError **error)
{
  return fail (error, EBUSY, "too many dropped snapshots are still in use");
}

/* Whether there was one to promise. */
static bool
promise (Views *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  if (choose_view (self, UINT32_MAX, self->promised) == VIEW_TOP)
    return false;
  self->promised++;
  return true;
}

bool
views_promise (Mount *mount, GError **error)
{
  if (promise (mount->views))
    return true;
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (mount->store, error);
  if (snapshots == NULL)
    return false;
  return snapshots->len < STORE_SNAPSHOTS_MAX
             ? fail_busy (error)
             : fail (error, ENOSPC, "there are %d snapshots already", STORE_SNAPSHOTS_MAX);
}

void
views_break_promise (Mount *mount)
{
  Views *self = mount->views;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  self->promised--;
}

bool
views_enter (Mount *mount, const StoreSnapshot *snapshot, const char *name, bool promised,
             uint32_t *out_view, GError **error)
{
  Views *self = mount->views;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  self->promised -= promised;
  uint32_t view = choose_view (self, snapshot->epoch, self->promised);
  if (view == VIEW_TOP)
    return fail_busy (error);
  Known *known = &self->known[view];
  known->epoch = snapshot->epoch;
  known->slot = snapshot->slot;
  g_free (known->name);
  known->name = g_strdup (name);
  *out_view = view;
  return true;
}

void
views_count (Mount *mount, fuse_ino_t ino, int64_t nodes)
{
  Views *self = mount->views;
  uint32_t view = inode_view (ino);

  if (view == VIEW_TOP)
    return;
  g_mutex_lock (&self->mutex);
  self->known[view].nodes += nodes;
  g_mutex_unlock (&self->mutex);
}

static void
forget (Mount *mount, fuse_ino_t ino, uint64_t count)
{
  views_count (mount, ino, -(int64_t)count);
  transients_forget (mount, ino, count);
}

void
handle_forget (fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
  forget (fuse_req_userdata (req), ino, count);
  reply_none (req);
}

void
handle_forget_multi (fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
  for (size_t i = 0; i < count; i++)
    forget (fuse_req_userdata (req), forgets[i].ino, forgets[i].nlookup);
  reply_none (req);
}

/* ---- those that were dropped -------------------------------------------------------------- */

/* Marks the snapshot of that epoch in a view as gone, if it has not been so before. */
static bool
mark_gone (Views *self, uint32_t number, uint32_t epoch, char **out_name)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Known *known = &self->known[number];

  if (known->epoch != epoch || known->gone)
    return false;
  known->gone = true;
  *out_name = g_strdup (known->name);
  return true;
}

/* Whether the kernel knows nothing of it any more, and nobody is about to tell it of anything; then
 * what is open of it is in `*out_view`. */
static bool
is_forgotten (Views *self, uint32_t number, View **out_view)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Known *known = &self->known[number];

  if (!known->gone || known->nodes > 0 || !is_idle (known))
    return false;
  *out_view = g_steal_pointer (&known->view);
  return true;
}

/* Lets another snapshot have the view. Pages of listings that were made of this one are not used:
 * it was told since that it is gone. */
static void
give_free (Mount *mount, uint32_t number)
{
  Views *self = mount->views;
  Known *known = &self->known[number];

  marks_forget_view (mount->marks, number);
  g_mutex_lock (&self->mutex);
  g_free (known->name);
  *known = (Known){0};
  g_mutex_unlock (&self->mutex);
}

/* The epochs of the snapshots in all views; whether there are any. */
static bool
list_epochs (Views *self, uint32_t out[VIEWS])
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  bool any = false;

  for (unsigned i = 0; i < VIEWS; i++) {
    out[i] = self->known[i].epoch;
    any |= out[i] != 0;
  }
  return any;
}

/* What comes into a view after its epochs were listed is none of what is looked for: the list of
 * snapshots may be older. */
void
views_look (Mount *mount, ViewGoneFunc tell, void *data)
{
  Views *self = mount->views;
  uint32_t epochs[VIEWS];
  g_autoptr (GPtrArray) snapshots =
      list_epochs (self, epochs) ? store_snapshot_list (mount->store, NULL) : NULL;

  for (uint32_t i = 0; snapshots != NULL && i < VIEWS; i++) {
    g_autofree char *name = NULL;
    g_autoptr (View) view = NULL;
    if (epochs[i] == 0)
      continue;
    if (find_epoch (snapshots, epochs[i]) == NULL && mark_gone (self, i, epochs[i], &name))
      tell (i, name, data);
    if (i != VIEW_TOP && is_forgotten (self, i, &view))
      give_free (mount, i);
  }
}

/* ---- beginning and end -------------------------------------------------------------------- */

Views *
views_new (Store *top)
{
  Views *self = g_new0 (Views, 1);
  const StoreSnapshot *snapshot = store_snapshot_of (top);

  g_mutex_init (&self->mutex);
  g_atomic_ref_count_init (&self->top.references);
  self->top.store = top;
  if (snapshot != NULL) {
    self->top.epoch = snapshot->epoch;
    self->known[VIEW_TOP].epoch = snapshot->epoch;
    self->known[VIEW_TOP].name = g_strdup (snapshot->name);
  }
  return self;
}

void
views_free (Views *self)
{
  if (self == NULL)
    return;
  for (unsigned i = 0; i < VIEWS; i++) {
    view_unref (self->known[i].view);
    g_free (self->known[i].name);
  }
  g_mutex_clear (&self->mutex);
  g_free (self);
}
