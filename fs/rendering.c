/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rendering.c - what control files show, and what was told of it.
 *
 * The content of a control file is made when somebody looks: at a lookup or a stat. From then on it
 * is held, so that who asks for the size and then reads gets what he was told of: no open file has
 * a state of its own here. It is made anew when nobody has asked for HOLD_US, or after HOLD_MAX_US
 * in any case; what took long to make is held for COST_SHARE times as long as that took. Content
 * that came out the same keeps its mtime.
 *
 * The kernel may keep neither name nor attributes of a control file, so it asks for them before
 * each read(2). When size or mtime differ it drops its pages (FUSE_CAP_AUTO_INVAL_DATA): what it
 * shows is always one rendering, through read, mmap and splice alike.
 *
 * What may be large goes to a file that has no name, in TMPDIR or /var/tmp. It is made by threads
 * of its own, outside all locks: meanwhile whoever reads it gets what he was told of, and whoever
 * looks is answered later (wait.c).
 */
#include "fs/rendering.h"
#include "fs/control.h"
#include "fs/reply.h"
#include "store/rescue.h"
#include "store/text.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define HOLD_US     (100 * G_TIME_SPAN_MILLISECOND)
#define HOLD_MAX_US (1 * G_TIME_SPAN_SECOND)
#define COST_SHARE  20

#define HELD_MAX   1024
#define MAKERS_MAX 2 /* of each kind */

/* One file of which somebody was told. */
typedef struct {
  fuse_ino_t ino;
  unsigned users;           /* who has it in hand; protected by the table's mutex */
  _Atomic int64_t asked_us; /* when somebody had it last */
  GMutex mutex;             /* held while it is made, if that is quick; for what follows */
  Rendering *rendering;     /* NULL: not made yet */
  Rendering *longer;        /* that was there before and was longer; NULL: none */
  int64_t longer_us;        /* until then */
  int64_t made_us, cost_us;
  unsigned orders; /* that had been given when it was made */
  bool touched;    /* somebody wrote to it since */
  bool making;     /* a maker is at it */
} Held;

struct Renderings {
  Mount *mount;
  GThreadPool *makers;     /* of Task */
  GThreadPool *walkers;    /* the same for what walks, so that nothing else waits for that */
  _Atomic bool stop;       /* they are to give up */
  _Atomic unsigned orders; /* that were given so far */
  GMutex mutex;
  GHashTable *held; /* Held by inode number; protected by mutex */
};

void
rendering_unref (Rendering *self)
{
  if (self == NULL || !g_atomic_ref_count_dec (&self->references))
    return;
  g_clear_pointer (&self->bytes, g_bytes_unref);
  store_close_fd (&self->fd);
  g_free (self);
}

static Rendering *
ref_rendering (Rendering *self)
{
  g_atomic_ref_count_inc (&self->references);
  return self;
}

static void
free_held (gpointer data)
{
  Held *held = data;

  rendering_unref (held->rendering);
  rendering_unref (held->longer);
  g_mutex_clear (&held->mutex);
  g_free (held);
}

/* ---- making ------------------------------------------------------------------------------- */

static Rendering *
make_rendering (void)
{
  Rendering *self = g_new0 (Rendering, 1);

  g_atomic_ref_count_init (&self->references);
  self->fd = -1;
  self->changed_ns = g_get_real_time () * 1000;
  return self;
}

/* What failed shows why instead. */
static Rendering *
render_failure (const GError *failure)
{
  Rendering *self = make_rendering ();
  g_autofree char *printable = store_text_printable (failure->message);
  char *line = g_strdup_printf ("error: %s\n", printable);

  self->size = strlen (line);
  self->bytes = g_bytes_new_take (line, self->size);
  return self;
}

static Rendering *
render (Mount *mount, const ControlFile *file, const ControlNode *node, GError **error)
{
  GString *text = g_string_new (NULL);
  bool good = file->render (mount, node, text, error);
  g_autoptr (GBytes) bytes = g_string_free_to_bytes (text);

  if (!good)
    return NULL;
  Rendering *self = make_rendering ();
  self->size = g_bytes_get_size (bytes);
  self->bytes = g_steal_pointer (&bytes);
  return self;
}

/* Where a file is written to that is being made. */
typedef struct {
  Renderings *renderings;
  int fd;
} Spill;

static ssize_t
write_spill (void *cookie, const char *bytes, size_t size)
{
  const Spill *self = cookie;

  errno = ECANCELED;
  ssize_t written = self->renderings->stop ? -1 : write (self->fd, bytes, size);
  return MAX (written, 0);
}

/* A file without a name. What is made of evidence is kept where its copies are. */
static int
make_file (const Mount *mount, GError **error)
{
  const char *directory = store_workdir (mount->store);

  if (directory == NULL && !store_is_evidence (mount->store))
    directory = g_getenv ("TMPDIR") != NULL ? g_getenv ("TMPDIR") : "/var/tmp";
  int fd = directory == NULL ? memfd_create ("mailfs-control", MFD_CLOEXEC)
                             : open (directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0)
    fail_errno (error, "make a file in %s", directory != NULL ? directory : "memory");
  return fd;
}

static Rendering *
spill (Mount *mount, const ControlFile *file, const ControlNode *node, GError **error)
{
  auto_fd fd = make_file (mount, error);
  Spill cookie = {mount->renderings, fd};
  FILE *out = fopencookie (&cookie, "w", (cookie_io_functions_t){.write = write_spill});
  struct stat st;

  bool good = fd >= 0 && (out != NULL || fail_errno (error, "open a file"));
  good = good && (!mount->renderings->stop || fail (error, ECANCELED, "the mount ends"));
  good = good && file->spill (mount, node, out, error);
  bool written = out != NULL && !ferror (out) && fflush (out) == 0 && fstat (fd, &st) == 0;
  if (good && !written)
    good = fail_errno (error, "write %s", file->name);
  if (out != NULL)
    fclose (out);
  if (!good)
    return NULL;
  Rendering *self = make_rendering ();
  self->fd = g_steal_fd (&fd);
  self->size = (uint64_t)st.st_size;
  return self;
}

/* What is there of a file that grows. Its end is not looked for beyond that. */
static Rendering *
open_file (Mount *mount, const ControlFile *file, const ControlNode *node, GError **error)
{
  g_autoptr (GError) failure = NULL;
  auto_fd fd = file->open (mount, node, &failure);
  struct stat st = {0};

  if (failure != NULL || (fd >= 0 && fstat (fd, &st) < 0)) {
    if (failure == NULL)
      fail_errno (&failure, "%s", file->name);
    g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  Rendering *self = make_rendering ();
  if (fd < 0)
    self->bytes = g_bytes_new (NULL, 0);
  else
    self->changed_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
  self->fd = g_steal_fd (&fd);
  self->size = (uint64_t)st.st_size;
  return self;
}

static Rendering *
make (Mount *mount, const ControlFile *file, const ControlNode *node)
{
  g_autoptr (GError) failure = NULL;
  Rendering *new = file->open != NULL    ? open_file (mount, file, node, &failure)
                   : file->spill != NULL ? spill (mount, file, node, &failure)
                                         : render (mount, file, node, &failure);

  return new != NULL ? new : render_failure (failure);
}

/* Whether what was made just now is what was there before. Of files nobody looks. */
static bool
is_same (const Rendering *old, const Rendering *new)
{
  return old != NULL && old->bytes != NULL &&
         new->bytes != NULL &&g_bytes_equal (old->bytes, new->bytes);
}

/* ---- what is held ------------------------------------------------------------------------- */

/* Lets go of the one for which nobody has asked the longest. */
static void
drop_oldest (Renderings *self)
{
  GHashTableIter iter;
  Held *held, *oldest = NULL;

  g_hash_table_iter_init (&iter, self->held);
  while (g_hash_table_iter_next (&iter, NULL, (gpointer *)&held))
    if (held->users == 0 && (oldest == NULL || held->asked_us < oldest->asked_us))
      oldest = held;
  if (oldest != NULL)
    g_hash_table_remove (self->held, &oldest->ino);
}

static Held *
take_held (Renderings *self, fuse_ino_t ino)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Held *held = g_hash_table_lookup (self->held, &ino);

  if (held == NULL) {
    if (g_hash_table_size (self->held) >= HELD_MAX)
      drop_oldest (self);
    held = g_new0 (Held, 1);
    held->ino = ino;
    g_mutex_init (&held->mutex);
    g_hash_table_insert (self->held, &held->ino, held);
  }
  held->users++;
  return held;
}

static void
put_held (Renderings *self, Held *held)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  held->asked_us = g_get_monotonic_time ();
  held->users--;
}

/* When something was begun to be made. */
typedef struct {
  int64_t from_us;
  unsigned orders;
} Beginning;

static Beginning
begin (const Renderings *self)
{
  return (Beginning){g_get_monotonic_time (), self->orders};
}

/* Keeps the old one for a while if it is longer, else lets go of it. Of what may be large nothing
 * is kept. */
static void
keep_longer (Held *held, Rendering *old, const Rendering *new)
{
  if (old == NULL || old->bytes == NULL || old->size <= new->size)
    return rendering_unref (old);
  rendering_unref (held->longer);
  held->longer = old;
  held->longer_us = g_get_monotonic_time () + HOLD_MAX_US;
}

/* Holds what was made, with held->mutex locked. */
static void
install (Held *held, Beginning beginning, Rendering *new)
{
  held->orders = beginning.orders;
  held->made_us = g_get_monotonic_time ();
  held->cost_us = held->made_us - beginning.from_us;
  if (!held->touched && is_same (held->rendering, new))
    return rendering_unref (new);
  held->touched = false;
  keep_longer (held, held->rendering, new);
  held->rendering = new;
}

static bool
is_due (const Renderings *self, const Held *held, const ControlFile *file)
{
  int64_t now = g_get_monotonic_time ();
  int64_t hold = MAX (HOLD_US, held->cost_us * COST_SHARE);
  bool outdated = held->orders != self->orders && held->cost_us < HOLD_US;

  return held->rendering == NULL || held->touched || file->grows || outdated ||
         (now - held->asked_us > HOLD_US && now - held->made_us > hold) ||
         now - held->made_us > MAX (HOLD_MAX_US, hold);
}

static Rendering *
take_rendering (Mount *mount, const ControlFile *file, const ControlNode *node, bool look)
{
  Renderings *self = mount->renderings;
  Held *held = take_held (self, node->ino);

  g_mutex_lock (&held->mutex);
  if (held->rendering == NULL || (look && file->spill == NULL && is_due (self, held, file))) {
    Beginning beginning = begin (self);
    install (held, beginning, make (mount, file, node));
  }
  Rendering *rendering = ref_rendering (held->rendering);
  g_mutex_unlock (&held->mutex);
  put_held (self, held);
  return rendering;
}

Rendering *
rendering_look (Mount *mount, const ControlFile *file, const ControlNode *node)
{
  return take_rendering (mount, file, node, true);
}

Rendering *
rendering_read (Mount *mount, const ControlFile *file, const ControlNode *node)
{
  return take_rendering (mount, file, node, false);
}

Rendering *
rendering_longer (Mount *mount, const ControlNode *node)
{
  Renderings *self = mount->renderings;
  Held *held = take_held (self, node->ino);
  bool kept;

  g_mutex_lock (&held->mutex);
  kept = held->longer != NULL && g_get_monotonic_time () < held->longer_us;
  Rendering *longer = kept ? ref_rendering (held->longer) : NULL;
  g_mutex_unlock (&held->mutex);
  put_held (self, held);
  return longer;
}

void
rendering_touch (Mount *mount, fuse_ino_t ino)
{
  Renderings *self = mount->renderings;
  Held *held = take_held (self, ino);

  self->orders++;
  g_mutex_lock (&held->mutex);
  held->touched = true;
  g_mutex_unlock (&held->mutex);
  put_held (self, held);
}

/* ---- what takes long ---------------------------------------------------------------------- */

/* What a maker is to make. */
typedef struct {
  const ControlFile *file;
  ControlNode node;
  Held *held; /* in hand */
} Task;

static void
make_task (gpointer data, gpointer user_data)
{
  g_autofree Task *task = data;
  Renderings *self = user_data;
  Beginning beginning = begin (self);
  Rendering *new = make (self->mount, task->file, &task->node);

  g_mutex_lock (&task->held->mutex);
  install (task->held, beginning, new);
  task->held->making = false;
  g_mutex_unlock (&task->held->mutex);
  put_held (self, task->held);
  waits_wake (self->mount->waits);
}

bool
rendering_prepare (Mount *mount, const ControlFile *file, const ControlNode *node)
{
  Renderings *self = mount->renderings;

  if (file->spill == NULL)
    return true;
  Held *held = take_held (self, node->ino);
  g_mutex_lock (&held->mutex);
  bool was_making = held->making;
  held->making = was_making || is_due (self, held, file);
  bool is_making = held->making;
  g_mutex_unlock (&held->mutex);
  if (was_making || !is_making) {
    put_held (self, held);
    return !is_making;
  }
  Task task = {file, *node, held};
  g_thread_pool_push (file->walks ? self->walkers : self->makers, g_memdup2 (&task, sizeof task),
                      NULL);
  return false;
}

bool
rendering_is_made (Mount *mount, fuse_ino_t ino)
{
  Renderings *self = mount->renderings;
  Held *held = take_held (self, ino);

  g_mutex_lock (&held->mutex);
  bool is_made = !held->making;
  g_mutex_unlock (&held->mutex);
  put_held (self, held);
  return is_made;
}

/* ---- beginning and end -------------------------------------------------------------------- */

Renderings *
renderings_new (Mount *mount)
{
  Renderings *self = g_new0 (Renderings, 1);

  self->mount = mount;
  self->makers = g_thread_pool_new (make_task, self, MAKERS_MAX, FALSE, NULL);
  self->walkers = g_thread_pool_new (make_task, self, MAKERS_MAX, FALSE, NULL);
  g_mutex_init (&self->mutex);
  self->held = g_hash_table_new_full (g_int64_hash, g_int64_equal, NULL, free_held);
  return self;
}

void
renderings_stop (Renderings *self)
{
  self->stop = true;
  if (self->makers == NULL)
    return;
  g_thread_pool_free (g_steal_pointer (&self->makers), FALSE, TRUE);
  g_thread_pool_free (g_steal_pointer (&self->walkers), FALSE, TRUE);
}

bool
renderings_stopped (const Renderings *self)
{
  return self->stop;
}

void
renderings_free (Renderings *self)
{
  if (self == NULL)
    return;
  renderings_stop (self);
  g_hash_table_unref (self->held);
  g_mutex_clear (&self->mutex);
  g_free (self);
}
