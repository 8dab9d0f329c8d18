/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - the control directories as the kernel sees them: names, listings, attributes, bytes.
 *
 * The kernel may keep nothing of a control node but listings, and names of directories that are
 * always there. Listings it takes for good as long as the directory's mtime stays the same, which
 * is that of the mount, but for jobs/ and snapshots/: there it is the time at which somebody
 * noticed that some came or went. What lies below a directory that has a tree is that tree's
 * business (transient.c).
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/jobs.h"
#include "fs/operation.h"
#include "fs/rendering.h"
#include "fs/reply.h"
#include "fs/snapshots.h"
#include "fs/transient.h"
#include "store/commands.h"

#include <inttypes.h>
#include <string.h>

enum { COOKIE_DOT = 1, COOKIE_DOTDOT = 2, COOKIE_SLOT = 3 };

/* As control_find(), for a directory. */
static const ControlFile *
find_directory (Mount *mount, fuse_ino_t ino, ControlNode *out)
{
  const ControlFile *file = control_find (mount, ino, out);

  return file != NULL && file->type == S_IFDIR ? file : NULL;
}

static fuse_ino_t
make_inode (const ControlNode *directory, const ControlFile *file)
{
  return directory->job != 0 ? inode_job (directory->job, file->slot)
                             : inode_control (directory->number, file->slot);
}

/* ---- names -------------------------------------------------------------------------------- */

bool
control_is_directory (Mount *mount, fuse_ino_t parent, const char *name)
{
  return mount->options->ctl != CTL_OFF && inode_kind (parent) == INODE_DIRECTORY &&
         inode_view (parent) == VIEW_TOP && strcmp (name, mount->options->ctldir) == 0;
}

/* A job has one name only: its number, as printf(3) writes it. */
static bool
find_job (const char *name, fuse_ino_t *out)
{
  guint64 id;

  if (*name == '0' || !g_ascii_string_to_unsigned (name, 10, 1, INODE_JOB_MAX, &id, NULL))
    return false;
  *out = inode_job (id, 0);
  return true;
}

bool
control_lookup (Mount *mount, fuse_ino_t parent, const char *name, fuse_ino_t *out)
{
  ControlNode node;
  const ControlFile *directory = find_directory (mount, parent, &node), *file;

  if (directory == NULL)
    return false;
  for (uint32_t slot = 0; (file = control_next (mount, directory->holds, slot)) != NULL;
       slot = file->slot)
    if (strcmp (name, file->name) == 0) {
      *out = make_inode (&node, file);
      return true;
    }
  return directory->holds == PLACE_JOBS && find_job (name, out);
}

static fuse_ino_t
find_parent (Mount *mount, fuse_ino_t ino)
{
  ControlNode node;

  if (find_directory (mount, ino, &node) == NULL || inode_slot (ino) == 0)
    return node.job != 0 ? control_place (mount, PLACE_JOBS)
                         : inode_directory (VIEW_TOP, node.number);
  return inode_control (node.number, 0);
}

char *
control_path (Mount *mount, fuse_ino_t ino)
{
  ControlNode node;

  if (inode_is_transient (ino))
    return transient_path (mount, ino);
  const ControlFile *file = control_find (mount, ino, &node);
  const char *name = file == NULL ? "?" : file->name != NULL ? file->name : "";
  g_autofree char *above = inode_path (mount, inode_directory (VIEW_TOP, node.number));
  g_autofree char *job =
      node.job != 0 ? g_strdup_printf ("jobs/%" PRIu64, node.job) : g_strdup ("");

  return g_build_filename (above, mount->options->ctldir, job, name, NULL);
}

/* ---- listing ------------------------------------------------------------------------------ */

/* A link is there as long as there is something to point to. */
static bool
is_there (Mount *mount, const ControlFile *file, fuse_ino_t ino)
{
  ControlNode node;

  if (file->type != S_IFLNK || control_find (mount, ino, &node) == NULL)
    return true;
  g_autoptr (Rendering) target = rendering_look (mount, file, &node);
  return target->size > 0;
}

static bool
add_slots (Mount *mount, const ControlFile *directory, const ControlNode *node, off_t after,
           ControlAddFunc add, void *data)
{
  uint32_t slot = after < COOKIE_SLOT ? 0 : (uint32_t)MIN (after - COOKIE_SLOT, SLOTS);
  const ControlFile *file;

  for (; (file = control_next (mount, directory->holds, slot)) != NULL; slot = file->slot) {
    fuse_ino_t ino = make_inode (node, file);
    if (is_there (mount, file, ino) &&
        !add (file->name, ino, file->type, COOKIE_SLOT + file->slot, data))
      return false;
  }
  return true;
}

bool
control_list (Mount *mount, fuse_ino_t ino, off_t after, ControlAddFunc add, void *data,
              GError **error)
{
  ControlNode node;

  if (transient_has (mount, ino))
    return transient_list (mount, ino, after, add, data, error);
  const ControlFile *directory = find_directory (mount, ino, &node);
  if (directory == NULL)
    return fail (error, ESTALE, "no such control directory");
  bool room = (after >= COOKIE_DOT || add (".", ino, S_IFDIR, COOKIE_DOT, data)) &&
              (after >= COOKIE_DOTDOT ||
               add ("..", find_parent (mount, ino), S_IFDIR, COOKIE_DOTDOT, data)) &&
              (after >= COOKIE_JOB || add_slots (mount, directory, &node, after, add, data));
  if (room && directory->holds == PLACE_SNAPSHOTS)
    return snapshots_list (mount, after, add, data, error);
  if (!room || directory->holds != PLACE_JOBS)
    return true;
  return job_list (mount, after > COOKIE_JOB ? (uint64_t)(after - COOKIE_JOB) : 0, add, data,
                   error);
}

/* ---- attributes --------------------------------------------------------------------------- */

bool
control_is_writable (Mount *mount, fuse_ino_t ino)
{
  ControlNode node;
  const ControlFile *file = control_find (mount, ino, &node);

  return file != NULL && file->write != NULL;
}

fuse_ino_t
control_instance (Mount *mount, fuse_ino_t ino)
{
  return control_is_writable (mount, ino) ? inode_instance (ino) : ino;
}

static mode_t
mode_of (const ControlFile *file)
{
  switch (file->type) {
  case S_IFDIR: return S_IFDIR | 0750;
  case S_IFLNK: return S_IFLNK | 0777;
  default: return S_IFREG | (file->write != NULL ? 0640 : 0440);
  }
}

/* Whether what the node is about is there. */
static bool
check_subject (Mount *mount, const ControlNode *node, GError **error)
{
  g_auto (StoreNode) directory = {0};
  g_auto (StoreRecord) job = {0};

  if (node->job != 0)
    return store_queue_get (mount->store, node->job, &job, error);
  return node->number == STORE_ROOT || store_node_get (mount->top, node->number, &directory, error);
}

bool
control_attr (Mount *mount, fuse_ino_t ino, struct stat *out, GError **error)
{
  ControlNode node;
  g_autoptr (Rendering) shown = NULL;

  if (inode_is_transient (ino))
    return transient_attr (mount, ino, out, error);
  const ControlFile *file = control_find (mount, ino, &node);
  if (file == NULL)
    return fail (error, ESTALE, "no such control file");
  if (!check_subject (mount, &node, error))
    return false;
  if (file->tree != NULL)
    return transient_attr (mount, ino, out, error);
  if (file->type != S_IFDIR || file->render != NULL)
    shown = rendering_look (mount, file, &node);
  if (file->type == S_IFLNK && shown->size == 0)
    return fail (error, ENOENT, "there is nothing to point to");

  int64_t changed_ns = shown == NULL ? mount->mounted_ns : shown->changed_ns;
  struct timespec changed = {changed_ns / 1000000000, changed_ns % 1000000000};
  uint64_t size = file->type == S_IFDIR ? 0 : shown->size;
  *out = (struct stat){
      .st_ino = node.ino,
      .st_mode = mode_of (file),
      .st_nlink = 1,
      .st_uid = mount->uid,
      .st_gid = mount->gid,
      .st_size = (off_t)size,
      .st_blksize = 4096,
      .st_blocks = (blkcnt_t)((size + 511) / 512),
      .st_atim = changed,
      .st_mtim = changed,
      .st_ctim = changed,
  };
  return true;
}

/* Names in the way to the others: the root's control directory and those in it. */
void
control_kept (Mount *mount, fuse_ino_t ino, bool *out_name, bool *out_attr)
{
  ControlNode node;
  const ControlFile *file = find_directory (mount, ino, &node);

  *out_name = file != NULL && node.number == STORE_ROOT && node.job == 0;
  *out_attr = *out_name && file->render == NULL && file->tree == NULL;
}

/* ---- what takes long ---------------------------------------------------------------------- */

/* A request that waits for what it is to show. */
typedef struct {
  fuse_ino_t node;
  AnswerFunc answer;
  fuse_ino_t ino;
  char *name;
} PutOff;

static bool
is_made (Mount *mount, void *data, int *out_code)
{
  const PutOff *put_off = data;

  if (!rendering_is_made (mount, put_off->node))
    return false;
  *out_code = 0;
  return true;
}

static void
answer_put_off (fuse_req_t req, void *data, int code)
{
  const PutOff *put_off = data;

  if (code != 0)
    return reply_errno (req, code);
  put_off->answer (req, put_off->ino, put_off->name);
}

static void
free_put_off (void *data)
{
  PutOff *put_off = data;

  g_free (put_off->name);
  g_free (put_off);
}

static const WaitKind wait_for_rendering = {is_made, answer_put_off, free_put_off};

bool
control_put_off (fuse_req_t req, fuse_ino_t node, AnswerFunc answer, fuse_ino_t ino,
                 const char *name)
{
  Mount *mount = fuse_req_userdata (req);
  ControlNode found;
  const ControlFile *file = control_find (mount, node, &found);

  if (file == NULL || file->type == S_IFDIR || !check_subject (mount, &found, NULL) ||
      rendering_prepare (mount, file, &found))
    return false;
  PutOff put_off = {node, answer, ino, g_strdup (name)};
  waits_add (mount->waits, req, &wait_for_rendering, g_memdup2 (&put_off, sizeof put_off));
  return true;
}

/* ---- bytes -------------------------------------------------------------------------------- */

/* Many may follow a file that is cut once in a while. Who was told of the longer one, and reads its
 * end after somebody else was told of the shorter one, is to find it there, where the kernel would
 * show zeros. Who was told of the shorter one is not shown what lies past its end. */
static void
reply_joined (fuse_req_t req, const Rendering *shown, const Rendering *longer, size_t size,
              off_t offset)
{
  const char *bytes = g_bytes_get_data (shown->bytes, NULL);
  const char *before = g_bytes_get_data (longer->bytes, NULL);
  size_t start = MIN ((uint64_t)offset, longer->size), end = MIN (start + size, longer->size);
  g_autofree char *joined = g_malloc (end - start + 1);

  memcpy (joined, before + start, end - start);
  if (start < shown->size)
    memcpy (joined, bytes + start, MIN (end, shown->size) - start);
  reply_slice (req, joined, end - start, size, 0);
}

void
control_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset)
{
  Mount *mount = fuse_req_userdata (req);
  ControlNode node;

  if (inode_is_transient (ino))
    return transient_read (req, ino, size, offset);
  const ControlFile *file = control_find (mount, ino, &node);
  if (file == NULL || file->type != S_IFREG)
    return reply_errno (req, file == NULL ? ESTALE : EISDIR);
  g_autoptr (Rendering) shown = rendering_read (mount, file, &node);
  if (shown->bytes == NULL) {
    uint64_t left = shown->size - MIN ((uint64_t)offset, shown->size);
    return reply_file (req, shown->fd, MIN (size, left), offset);
  }
  if ((uint64_t)offset + size > shown->size) {
    g_autoptr (Rendering) longer = rendering_longer (mount, &node);
    if (longer != NULL && longer->size > shown->size)
      return reply_joined (req, shown, longer, size, offset);
  }
  reply_slice (req, g_bytes_get_data (shown->bytes, NULL), shown->size, size, offset);
}

void
handle_readlink (fuse_req_t req, fuse_ino_t ino)
{
  Mount *mount = fuse_req_userdata (req);
  ControlNode node;
  const ControlFile *file = control_find (mount, ino, &node);

  if (file == NULL || file->type != S_IFLNK)
    return reply_errno (req, file == NULL ? ESTALE : EINVAL);
  g_autoptr (Rendering) shown = rendering_read (mount, file, &node);
  g_autofree char *target = g_strndup (g_bytes_get_data (shown->bytes, NULL), shown->size);
  reply_link (req, target);
}
