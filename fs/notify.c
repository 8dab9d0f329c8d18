/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notify.c - telling the kernel what changed, from a thread of its own.
 *
 * Only this thread and that of ahead.c call fuse_lowlevel_notify_*: in a handler they can deadlock,
 * because the kernel may hold locks for the very request that is being handled.
 *
 * A change is told twice. An answer that was on its way to the kernel while the change was told the
 * first time may carry the old state, and the kernel would then keep that for a day. So every
 * handler holds a Telling, and when all those that were held at the first telling are gone, the
 * change is told once more. Handlers count themselves into one of two phases; the phase changes at
 * the first telling, so the old one only empties.
 *
 * Nothing changes in a snapshot; that it was dropped is told, too.
 */
#include "fs/notify.h"
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/loop.h"
#include "fs/view.h"

#include <string.h>

#define POLL_US (100 * G_TIME_SPAN_MILLISECOND)

struct Notify {
  Mount *mount;
  StoreWatch *watch;
  GArray *fresh;   /* StoreChange: told once since the phase changed */
  GArray *waiting; /* StoreChange: told once before that, to be told again */

  Loop loop;           /* woken when `drop` grew; its mutex is for what follows */
  GArray *drop;        /* fuse_ino_t */
  unsigned phase;      /* 0 or 1 */
  uint64_t told;       /* changes */
  unsigned telling[2]; /* handlers at work, by the phase they began in */
};

/* ---- the handlers' side ------------------------------------------------------------------- */

Telling
notify_telling (Mount *mount)
{
  Notify *self = mount->notify;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  self->telling[self->phase]++;
  return (Telling){.notify = self, .phase = self->phase, .told = self->told};
}

void
telling_clear (Telling *telling)
{
  Notify *self = telling->notify;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  self->telling[telling->phase]--;
}

void
notify_drop_pages (Notify *self, fuse_ino_t ino)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  g_array_append_val (self->drop, ino);
  g_cond_signal (&self->loop.wake);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* The kernel keeps names, too, and those of directories that may have moved are not known here: see
 * inode.c. */
static void
doubt_name (Notify *self, fuse_ino_t ino)
{
  if (inode_kind (ino) == INODE_DIRECTORY && ino != FUSE_ROOT_ID)
    marks_set (self->mount->marks, ino, MARK_MOVED);
}

/* A directory loses its listing with its attributes; of a message only the attributes can change.
 * The kernel answers ENOENT for what it has forgotten: fine. */
static void
invalidate (Notify *self, fuse_ino_t ino)
{
  off_t offset = inode_kind (ino) == INODE_MESSAGE ? -1 : 0;

  fuse_lowlevel_notify_inval_inode (self->mount->session, ino, offset, 0);
}

static void
forget_name (Notify *self, fuse_ino_t parent, const char *name)
{
  fuse_lowlevel_notify_inval_entry (self->mount->session, parent, name, strlen (name));
}

static void
invalidate_all (Notify *self, uint32_t view)
{
  g_autoptr (GArray) inodes = marks_list (self->mount->marks, MARK_TOLD, view);

  /* In a snapshot no name ever changes; and the view may be another one's already. All names are
   * doubted before the first is asked for: the kernel looks up a path once more, not twice. */
  for (guint i = 0; view == VIEW_TOP && i < inodes->len; i++)
    doubt_name (self, g_array_index (inodes, fuse_ino_t, i));
  for (guint i = 0; i < inodes->len; i++)
    invalidate (self, g_array_index (inodes, fuse_ino_t, i));
}

static void
count_change (Notify *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  self->told++;
}

/* All of a view is told of with its number in the place of the UID. The store, which knows of no
 * views, has 0 there, as VIEW_TOP is. */
static void
tell_change (Notify *self, const StoreChange *change)
{
  Marks *marks = self->mount->marks;

  count_change (self);
  if (change->number == STORE_CHANGE_ALL) {
    marks_forget_bytes (marks, 0);
    return invalidate_all (self, change->uid);
  }
  if (change->uid == STORE_CHANGE_NAME)
    return forget_name (self, inode_directory (VIEW_TOP, change->number), change->name);
  fuse_ino_t ino = change->uid == 0 ? inode_directory (VIEW_TOP, change->number)
                                    : inode_message (VIEW_TOP, change->number, change->uid);
  marks_forget_bytes (marks, ino);
  if (marks_has (marks, ino, MARK_TOLD))
    invalidate (self, ino);
}

/* Nothing changes in a snapshot. */
static void
tell_fresh_changes (Notify *self)
{
  StoreChange change;

  if (self->mount->top != self->mount->store)
    return;
  while (store_watch_next (self->watch, &change)) {
    tell_change (self, &change);
    g_array_append_val (self->fresh, change);
  }
}

static void
tell_foreign_changes (Notify *self)
{
  if (self->mount->top != self->mount->store)
    return;
  g_autoptr (GArray) numbers = foreign_look (self->mount->foreign);
  for (guint i = 0; i < numbers->len; i++) {
    const StoreChange change = {.number = g_array_index (numbers, uint32_t, i)};
    tell_change (self, &change);
    g_array_append_val (self->fresh, change);
  }
}

/* True when no handler that began before the last change of phase is still at work; then the phase
 * changes again. */
static bool
turn_phase (Notify *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  if (self->telling[!self->phase] > 0)
    return false;
  self->phase = !self->phase;
  return true;
}

static void
tell_waiting_changes (Notify *self)
{
  if ((self->fresh->len == 0 && self->waiting->len == 0) || !turn_phase (self))
    return;
  for (guint i = 0; i < self->waiting->len; i++)
    tell_change (self, &g_array_index (self->waiting, StoreChange, i));
  g_array_set_size (self->waiting, 0);

  GArray *told_again = self->waiting;
  self->waiting = self->fresh;
  self->fresh = told_again;
}

/* A snapshot was dropped. Without its name the kernel lets go of all below it that nobody uses;
 * about the rest it asks again, and gets ESTALE. */
static void
tell_gone (uint32_t view, const char *name, void *data)
{
  Notify *self = data;
  const StoreChange change = {STORE_CHANGE_ALL, view};
  fuse_ino_t parent = control_place (self->mount, PLACE_SNAPSHOTS);

  if (view != VIEW_TOP)
    forget_name (self, parent, name);
  tell_change (self, &change);
  g_array_append_val (self->fresh, change);
}

static void
drop_pages (Notify *self, GArray *inodes)
{
  for (guint i = 0; i < inodes->len; i++)
    fuse_lowlevel_notify_inval_inode (self->mount->session, g_array_index (inodes, fuse_ino_t, i),
                                      0, 0);
}

/* Sleeps until there may be something to do; false: the end. The caller owns `*out_drop`. */
static bool
wait_for_work (Notify *self, GArray **out_drop)
{
  int64_t until = g_get_monotonic_time () + POLL_US;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  while (!self->loop.stop && self->drop->len == 0 &&
         g_cond_wait_until (&self->loop.wake, &self->loop.mutex, until))
    ;
  *out_drop = self->drop;
  self->drop = g_array_new (FALSE, FALSE, sizeof (fuse_ino_t));
  return !self->loop.stop;
}

static gpointer
run (gpointer data)
{
  Notify *self = data;

  for (;;) {
    g_autoptr (GArray) drop = NULL;
    if (!wait_for_work (self, &drop))
      return NULL;
    drop_pages (self, drop);
    tell_fresh_changes (self);
    tell_foreign_changes (self);
    views_look (self->mount, tell_gone, self);
    tell_waiting_changes (self);
  }
}

/* ---- beginning and end -------------------------------------------------------------------- */

static void
free_notify (Notify *self)
{
  store_watch_free (self->watch);
  g_array_unref (self->fresh);
  g_array_unref (self->waiting);
  g_array_unref (self->drop);
  g_free (self);
}

Notify *
notify_start (Mount *mount, GError **error)
{
  StoreWatch *watch = store_watch_new (mount->store, error);
  if (watch == NULL)
    return NULL;

  Notify *self = g_new0 (Notify, 1);
  self->mount = mount;
  self->watch = watch;
  self->fresh = g_array_new (FALSE, FALSE, sizeof (StoreChange));
  self->waiting = g_array_new (FALSE, FALSE, sizeof (StoreChange));
  self->drop = g_array_new (FALSE, FALSE, sizeof (fuse_ino_t));
  loop_init (&self->loop);
  loop_start (&self->loop, "notify", run, self);
  return self;
}

void
notify_stop (Notify *self)
{
  if (self == NULL)
    return;
  loop_clear (&self->loop);
  free_notify (self);
}
