/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transient.c - trees below .ctl whose nodes are there only while the kernel knows them.
 *
 * What lies in such a tree has no number of its own in the store, so it gets one here when its name
 * is looked up, and loses it when the kernel forgets it. The tree itself (its TransientTree) is
 * asked for names and bytes each time; the table only remembers what a number stands for.
 *
 * The kernel keeps no name of these nodes, but knows many of them for as long as it has memory, so
 * the table is bounded: when there are too many files or directories, or they hold too many bytes,
 * those go that were used the longest ago. What the kernel asks of them afterwards is answered with
 * ESTALE, upon which it looks the name up once more; only who holds such a file open, or stands in
 * such a directory, through NODES_MAX others can notice.
 */
#include "fs/transient.h"
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/node.h"
#include "fs/reply.h"

#include <inttypes.h>
#include <string.h>

#define NODES_MAX 65536u /* of either type */
#define BYTES_MAX (64u << 20)
#define ENDS_MAX  64

/* Cookies of listings: ".", "..", and those of the tree above them. */
enum { COOKIE_DOT = 1, COOKIE_DOTDOT = 2 };

/* d_ino of what has no number before it is looked up; what libfuse has in this case. */
#define INODE_UNKNOWN 0xffffffffu

typedef struct {
  TransientNode *node; /* as it was found last; its number, its directory and its name stay */
  uint64_t known;      /* as often as the kernel was told of it */
  GList link;          /* in the queue of its type */
} Slot;

/* Where a part of a listing ended. */
typedef struct {
  fuse_ino_t directory;
  off_t cookie;
  char *name; /* NULL: unused */
} End;

struct Transients {
  GMutex mutex;      /* for what follows */
  GHashTable *slots; /* Slot by its node's `ino` */
  GHashTable *names; /* the same by `directory` and name */
  GQueue files;      /* the same; the one that was used last is at the tail */
  GQueue directories;
  uint64_t bytes; /* that they hold */
  uint32_t last;  /* number that was given out */
  End ends[ENDS_MAX];
  unsigned next_end;
};

/* ---- nodes -------------------------------------------------------------------------------- */

void
transient_entry_clear (TransientEntry *entry)
{
  g_clear_pointer (&entry->bytes, g_bytes_unref);
  if (entry->free != NULL)
    entry->free (entry->data);
  *entry = (TransientEntry){0};
}

void
transient_node_unref (TransientNode *self)
{
  if (self == NULL || !g_atomic_ref_count_dec (&self->references))
    return;
  transient_entry_clear (&self->entry);
  g_free (self->path);
  g_free (self);
}

static TransientNode *
ref_node (TransientNode *self)
{
  g_atomic_ref_count_inc (&self->references);
  return self;
}

static TransientNode *
make_root (const ControlFile *file, const ControlNode *root)
{
  TransientNode *self = g_new0 (TransientNode, 1);

  g_atomic_ref_count_init (&self->references);
  self->file = file;
  self->root = *root;
  self->ino = root->ino;
  self->directory = inode_control (root->number, 0);
  self->path = g_strdup ("");
  self->entry.type = S_IFDIR;
  return self;
}

/* Takes the entry over. */
static TransientNode *
make_child (const TransientNode *directory, const char *name, fuse_ino_t ino, TransientEntry *entry)
{
  TransientNode *self = make_root (directory->file, &directory->root);

  g_free (self->path);
  self->path =
      *directory->path == '\0' ? g_strdup (name) : g_build_filename (directory->path, name, NULL);
  self->ino = ino;
  self->directory = directory->ino;
  self->entry = *entry;
  *entry = (TransientEntry){0};
  return self;
}

const char *
transient_name (const TransientNode *self)
{
  const char *slash = strrchr (self->path, '/');

  return slash == NULL ? self->path : slash + 1;
}

static uint64_t
measure (const TransientNode *node)
{
  return node->entry.bytes == NULL ? 0 : g_bytes_get_size (node->entry.bytes);
}

/* ---- the table ---------------------------------------------------------------------------- */

/* FNV-1a from where nobody knows: whoever made the names is not to make them collide. */
static guint
hash_name (gconstpointer key)
{
  static gsize secret;
  const Slot *slot = key;

  if (g_once_init_enter (&secret))
    g_once_init_leave (&secret, 1 + (gsize)g_random_int ());
  uint64_t hash = secret ^ slot->node->directory;
  for (const char *at = transient_name (slot->node); *at != '\0'; at++)
    hash = (hash ^ (unsigned char)*at) * UINT64_C (0x100000001b3);
  return (guint)(hash >> 32 ^ hash);
}

static gboolean
equal_names (gconstpointer left, gconstpointer right)
{
  const TransientNode *a = ((const Slot *)left)->node, *b = ((const Slot *)right)->node;

  return a->directory == b->directory && g_str_equal (transient_name (a), transient_name (b));
}

/* The mutex is held in all that follows up to the next banner. */
static Slot *
find_slot (Transients *self, fuse_ino_t directory, const char *name)
{
  TransientNode node = {.directory = directory, .path = (char *)name};
  const Slot key = {.node = &node};

  return g_hash_table_lookup (self->names, &key);
}

/* The one that a slot is in, whose type stays. */
static GQueue *
queue_of (Transients *self, const Slot *slot)
{
  return slot->node->entry.type == S_IFDIR ? &self->directories : &self->files;
}

static void
drop_slot (Transients *self, Slot *slot)
{
  g_queue_unlink (queue_of (self, slot), &slot->link);
  self->bytes -= measure (slot->node);
  g_hash_table_remove (self->names, slot);
  g_hash_table_remove (self->slots, &slot->node->ino);
  transient_node_unref (slot->node);
  g_free (slot);
}

static void
use_slot (Transients *self, Slot *slot)
{
  g_queue_unlink (queue_of (self, slot), &slot->link);
  g_queue_push_tail_link (queue_of (self, slot), &slot->link);
}

static fuse_ino_t
take_number (Transients *self)
{
  fuse_ino_t ino;

  do {
    self->last = self->last >= INODE_TRANSIENT_MAX ? INODE_TRANSIENT_MIN : self->last + 1;
    ino = inode_transient (self->last);
  } while (g_hash_table_contains (self->slots, &ino));
  return ino;
}

static void
trim (Transients *self)
{
  while (self->directories.length > NODES_MAX)
    drop_slot (self, self->directories.head->data);
  while (self->files.length > NODES_MAX || (self->bytes > BYTES_MAX && self->files.length > 1))
    drop_slot (self, self->files.head->data);
}

/* The hash tables have keys in the node, which is another one now. */
static void
set_node (Transients *self, Slot *slot, TransientNode *node)
{
  if (slot->node != NULL) {
    self->bytes -= measure (slot->node);
    g_hash_table_remove (self->names, slot);
    g_hash_table_remove (self->slots, &slot->node->ino);
    transient_node_unref (slot->node);
  }
  slot->node = node;
  self->bytes += measure (node);
  g_hash_table_add (self->names, slot);
  g_hash_table_insert (self->slots, &node->ino, slot);
}

/* ---- what the kernel knows ---------------------------------------------------------------- */

/* Gives what was found a number, or the one that it has, and counts that the kernel is told of it,
 * which is to follow. Takes the entry over. A directory never becomes a file. */
static TransientNode *
enter (Transients *self, const TransientNode *directory, const char *name, TransientEntry *entry)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Slot *slot = find_slot (self, directory->ino, name);

  if (slot != NULL && slot->node->entry.type != entry->type)
    drop_slot (self, g_steal_pointer (&slot));
  if (slot == NULL) {
    slot = g_new0 (Slot, 1);
    slot->link.data = slot;
    set_node (self, slot, make_child (directory, name, take_number (self), entry));
    g_queue_push_tail_link (queue_of (self, slot), &slot->link);
  } else {
    set_node (self, slot, make_child (directory, name, slot->node->ino, entry));
    use_slot (self, slot);
  }
  slot->known++;
  TransientNode *node = ref_node (slot->node);
  trim (self);
  return node;
}

/* What the name was found to be last; NULL: nothing. */
static TransientNode *
take_known (Transients *self, fuse_ino_t directory, const char *name)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Slot *slot = find_slot (self, directory, name);

  return slot == NULL ? NULL : ref_node (slot->node);
}

static TransientNode *
take_number_of (Transients *self, fuse_ino_t ino)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Slot *slot = g_hash_table_lookup (self->slots, &ino);

  if (slot == NULL)
    return NULL;
  use_slot (self, slot);
  return ref_node (slot->node);
}

void
transients_forget (Mount *mount, fuse_ino_t ino, uint64_t count)
{
  Transients *self = mount->transients;

  if (!inode_is_transient (ino))
    return;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Slot *slot = g_hash_table_lookup (self->slots, &ino);
  if (slot == NULL)
    return;
  slot->known -= MIN (slot->known, count);
  if (slot->known == 0)
    drop_slot (self, slot);
}

/* ---- asking the trees --------------------------------------------------------------------- */

static const ControlFile *
find_root (Mount *mount, fuse_ino_t ino, ControlNode *out)
{
  const ControlFile *file = control_find (mount, ino, out);

  return file != NULL && file->tree != NULL ? file : NULL;
}

bool
transient_has (Mount *mount, fuse_ino_t ino)
{
  ControlNode root;

  return inode_is_transient (ino) || find_root (mount, ino, &root) != NULL;
}

TransientNode *
transient_take (Mount *mount, fuse_ino_t ino, GError **error)
{
  ControlNode root;
  const ControlFile *file = find_root (mount, ino, &root);
  TransientNode *node = file != NULL               ? make_root (file, &root)
                        : inode_is_transient (ino) ? take_number_of (mount->transients, ino)
                                                   : NULL;

  if (node == NULL)
    fail (error, ESTALE, "no such node in the control directory");
  return node;
}

static TransientNode *
take_directory (Mount *mount, fuse_ino_t ino, GError **error)
{
  g_autoptr (TransientNode) node = transient_take (mount, ino, error);

  if (node == NULL || node->entry.type == S_IFDIR)
    return g_steal_pointer (&node);
  fail (error, ENOTDIR, "'%s' is no directory", node->path);
  return NULL;
}

/* A directory of which nothing tells when it changed has changed at each look, so that the kernel
 * never takes an old listing for good. */
static void
fill_attr (Mount *mount, const TransientNode *node, struct stat *out)
{
  const TransientEntry *entry = &node->entry;
  int64_t changed_ns = entry->ctime_ns != 0 ? entry->ctime_ns : mount->mounted_ns;
  int64_t modified_ns = entry->mtime_ns != 0     ? entry->mtime_ns
                        : entry->type == S_IFDIR ? g_get_real_time () * 1000
                                                 : changed_ns;

  *out = (struct stat){
      .st_ino = node->ino,
      .st_mode = entry->type |
                 (entry->type == S_IFDIR ? mount->directory_mode & 0750 : mount->file_mode & 0440),
      .st_nlink = 1,
      .st_uid = mount->uid,
      .st_gid = mount->gid,
      .st_size = (off_t)entry->size,
      .st_blksize = 4096,
      .st_blocks = (blkcnt_t)((entry->size + 511) / 512),
      .st_atim = attr_timespec (modified_ns),
      .st_mtim = attr_timespec (modified_ns),
      .st_ctim = attr_timespec (changed_ns),
  };
}

bool
transient_find (Mount *mount, fuse_ino_t ino, const char *name, TransientEntry *out,
                struct fuse_entry_param *out_entry, GError **error)
{
  g_autoptr (TransientNode) directory = take_directory (mount, ino, error);
  if (directory == NULL)
    return false;
  g_autoptr (TransientNode) known = take_known (mount->transients, ino, name);
  if (!directory->file->tree->find (mount, directory, name, known != NULL ? &known->entry : NULL,
                                    out, error))
    return false;
  if (out->type == 0 || out->uid != 0)
    return true;
  g_autoptr (TransientNode) node = enter (mount->transients, directory, name, out);
  struct stat attr;
  fill_attr (mount, node, &attr);
  attr_entry (mount, node->ino, &attr, out_entry);
  return true;
}

/* What passes names on to who lists. */
typedef struct {
  ControlAddFunc add;
  void *data;
  End end; /* the last one that there was room for */
} Forward;

static bool
add_name (const char *name, fuse_ino_t ino, mode_t type, off_t cookie, void *data)
{
  Forward *forward = data;

  if (!forward->add (name, ino != 0 ? ino : INODE_UNKNOWN, type, cookie + COOKIE_DOTDOT,
                     forward->data))
    return false;
  g_free (forward->end.name);
  forward->end.name = g_strdup (name);
  forward->end.cookie = cookie;
  return true;
}

/* Takes the name over. */
static void
keep_end (Transients *self, const End *end)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  if (end->name == NULL)
    return;
  g_free (self->ends[self->next_end].name);
  self->ends[self->next_end] = *end;
  self->next_end = (self->next_end + 1) % ENDS_MAX;
}

char *
transient_recall (Mount *mount, const TransientNode *directory, off_t cookie)
{
  Transients *self = mount->transients;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (unsigned i = 0; i < ENDS_MAX; i++) {
    const End *end = &self->ends[i];
    if (end->name != NULL && end->directory == directory->ino && end->cookie == cookie)
      return g_strdup (end->name);
  }
  return NULL;
}

bool
transient_list (Mount *mount, fuse_ino_t ino, off_t after, ControlAddFunc add, void *data,
                GError **error)
{
  g_autoptr (TransientNode) directory = take_directory (mount, ino, error);
  Forward forward = {add, data, {.directory = ino}};

  if (directory == NULL)
    return false;
  if ((after < COOKIE_DOT && !add (".", ino, S_IFDIR, COOKIE_DOT, data)) ||
      (after < COOKIE_DOTDOT && !add ("..", directory->directory, S_IFDIR, COOKIE_DOTDOT, data)))
    return true;
  bool listed = directory->file->tree->list (mount, directory, MAX (after - COOKIE_DOTDOT, 0),
                                             add_name, &forward, error);
  keep_end (mount->transients, &forward.end);
  return listed;
}

bool
transient_attr (Mount *mount, fuse_ino_t ino, struct stat *out, GError **error)
{
  g_autoptr (TransientNode) node = transient_take (mount, ino, error);

  if (node == NULL)
    return false;
  fill_attr (mount, node, out);
  return true;
}

void
transient_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;
  g_autoptr (TransientNode) node = transient_take (mount, ino, &error);

  if (node == NULL)
    return reply_error (req, ino, error);
  if (node->entry.type != S_IFREG)
    return reply_errno (req, EISDIR);
  if (node->entry.bytes != NULL)
    return reply_slice (req, g_bytes_get_data (node->entry.bytes, NULL), node->entry.size, size,
                        offset);
  auto_fd fd = node->file->tree->open (mount, node, &error);
  if (fd < 0)
    return reply_error (req, ino, error);
  uint64_t left = node->entry.size - MIN ((uint64_t)offset, node->entry.size);
  reply_file (req, fd, MIN (size, left), offset);
}

char *
transient_path (Mount *mount, fuse_ino_t ino)
{
  g_autoptr (TransientNode) node = transient_take (mount, ino, NULL);
  g_autofree char *root =
      node == NULL ? NULL : control_path (mount, inode_control (node->root.number, 0));

  return node == NULL ? g_strdup_printf ("inode %#" PRIx64, ino)
                      : g_build_filename (root, node->file->name, node->path, NULL);
}

/* ---- beginning and end -------------------------------------------------------------------- */

Transients *
transients_new (void)
{
  Transients *self = g_new0 (Transients, 1);

  g_mutex_init (&self->mutex);
  self->slots = g_hash_table_new (g_int64_hash, g_int64_equal);
  self->names = g_hash_table_new (hash_name, equal_names);
  self->last = INODE_TRANSIENT_MIN;
  return self;
}

void
transients_free (Transients *self)
{
  if (self == NULL)
    return;
  while (self->directories.length > 0)
    drop_slot (self, self->directories.head->data);
  while (self->files.length > 0)
    drop_slot (self, self->files.head->data);
  for (unsigned i = 0; i < ENDS_MAX; i++)
    g_free (self->ends[i].name);
  g_hash_table_unref (self->names);
  g_hash_table_unref (self->slots);
  g_mutex_clear (&self->mutex);
  g_free (self);
}
