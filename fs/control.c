/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - the control directories, and the table of what is in them.
 *
 * Fixed files are rows here. The rows of verbs and settings are made of the store's own tables when
 * the mount begins, so a command that is added there has its file in every control directory.
 */
#include "fs/control.h"

#define ABI_VERSION 1

/* The cookies of listings: those of "." and "..", then the slots. */
enum { COOKIE_DOT = 1, COOKIE_DOTDOT = 2, COOKIE_SLOT = 3 };

struct Control {
  ControlFile files[SLOTS]; /* by slot; without a name: there is none */
};

static bool
render_readme (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_string_append (out, "This directory tells about the mail store that is mounted here.\n"
                        "It is not listed, so that backups do not walk into it.\n"
                        "Reading a file never starts anything.\n"
                        "\n"
                        "version      program and version of this interface\n"
                        "health       ok, degraded, damaged or rebuilding\n"
                        "status       the store and this mount: a key and its value per line\n"
                        "status.json  the same\n"
                        "\n"
                        "mailfs(8) tells more.\n");
  return true;
}

static bool
render_version (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_string_append_printf (out, "mailfs %s abi %d\n", MAILFS_VERSION, ABI_VERSION);
  return true;
}

/* ---- the table ---------------------------------------------------------------------------- */

static const ControlFile fixed_files[] = {
    {"README", 1, PLACE_STORE, S_IFREG, .render = render_readme},
    {"version", 2, PLACE_STORE, S_IFREG, .render = render_version},
    {"health", 3, PLACE_STORE, S_IFREG, .render = status_render_health},
    {"status", 4, PLACE_STORE, S_IFREG, .render = status_render_text},
    {"status.json", 5, PLACE_STORE, S_IFREG, .render = status_render_json},
    {"metrics", 15, PLACE_STORE, S_IFREG, .render = metrics_render},
    {"last_error", 16, PLACE_STORE, S_IFREG, .render = trail_render_last_error, .grows = true},
    {"events", 17, PLACE_STORE, S_IFREG, .render = trail_render_events, .grows = true},
    {"audit", 18, PLACE_STORE, S_IFREG, .open = trail_open_audit, .grows = true},
    {"ctl", 6, PLACE_STORE, S_IFREG, .render = order_render_grammar, .write = order_write_ctl},
};

/* The control directory itself: of the root, and of others. */
static const ControlFile control_directories[] = {
    {.type = S_IFDIR, .holds = PLACE_NODE},
    {.type = S_IFDIR, .holds = PLACE_STORE},
};

/* A job's directory and its files; the slot is that of the job's inode numbers. */
static const ControlFile job_files[] = {
    {"", 0, PLACE_JOBS, S_IFDIR, PLACE_JOB},
};

/* Verbs that name a directory outside the store, and short ones, are for ctl only. */
static void
add_verbs (Control *self)
{
  for (unsigned i = 0; store_commands[i].name != NULL && i < SLOT_SETTINGS - SLOT_VERBS; i++) {
    const StoreCommand *command = &store_commands[i];
    bool named = (command->traits & STORE_COMMAND_NAMED) != 0;
    if ((command->traits & STORE_COMMAND_DIRECTORY) == 0)
      self->files[SLOT_VERBS + i] = (ControlFile){
          .name = command->name,
          .slot = SLOT_VERBS + i,
          .places = named ? PLACE_NODE : PLACE_STORE | PLACE_NODE,
          .type = S_IFREG,
          .render = order_render_state,
          .write = order_write_verb,
      };
  }
}

Control *
control_new (void)
{
  Control *self = g_new0 (Control, 1);

  for (size_t i = 0; i < G_N_ELEMENTS (fixed_files); i++)
    self->files[fixed_files[i].slot] = fixed_files[i];
  add_verbs (self);
  return self;
}

void
control_free (Control *self)
{
  g_free (self);
}

static const ControlFile *
find_job_file (uint32_t slot)
{
  for (size_t i = 0; i < G_N_ELEMENTS (job_files); i++)
    if (job_files[i].slot == slot)
      return &job_files[i];
  return NULL;
}

const ControlFile *
control_find (Mount *mount, fuse_ino_t ino, ControlNode *out)
{
  uint32_t slot = inode_slot (ino);
  bool is_root = inode_number (ino) == STORE_ROOT;

  if (mount->options->ctl == CTL_OFF)
    return NULL;
  *out = (ControlNode){.ino = ino, .number = inode_number (ino), .job = inode_job_id (ino)};
  if (out->job != 0)
    return find_job_file (slot);
  if (slot == 0)
    return &control_directories[is_root];
  if (slot >= SLOTS || mount->control->files[slot].name == NULL ||
      (!is_root && (mount->control->files[slot].places & PLACE_NODE) == 0))
    return NULL;
  out->row = slot >= SLOT_SETTINGS ? slot - SLOT_SETTINGS
             : slot >= SLOT_VERBS  ? slot - SLOT_VERBS
                                   : 0;
  return &mount->control->files[slot];
}

/* As control_find(), for a directory. */
static const ControlFile *
find_directory (Mount *mount, fuse_ino_t ino, ControlNode *out)
{
  const ControlFile *file = control_find (mount, ino, out);

  return file != NULL && file->type == S_IFDIR ? file : NULL;
}

/* ---- names -------------------------------------------------------------------------------- */

bool
control_is_directory (Mount *mount, fuse_ino_t parent, const char *name)
{
  return mount->options->ctl != CTL_OFF && inode_kind (parent) == INODE_DIRECTORY &&
         strcmp (name, mount->options->ctldir) == 0;
}

bool
control_lookup (Mount *mount, fuse_ino_t parent, const char *name, fuse_ino_t *out)
{
  ControlNode node;
  const ControlFile *directory = find_directory (mount, parent, &node);

  if (directory == NULL)
    return false;
  for (size_t i = 0; directory->holds == PLACE_JOB && i < G_N_ELEMENTS (job_files); i++)
    if (job_files[i].places == PLACE_JOB && strcmp (name, job_files[i].name) == 0) {
      *out = inode_job (node.job, job_files[i].slot);
      return true;
    }
  for (uint32_t slot = 1; slot < SLOTS; slot++) {
    const ControlFile *file = &mount->control->files[slot];
    if ((file->places & directory->holds) != 0 && strcmp (name, file->name) == 0) {
      *out = inode_control (node.number, slot);
      return true;
    }
  }
  return false;
}

fuse_ino_t
control_parent (fuse_ino_t ino)
{
  return inode_directory (inode_number (ino));
}

char *
control_path (Mount *mount, fuse_ino_t ino)
{
  ControlNode node;
  const ControlFile *file = control_find (mount, ino, &node);
  g_autofree char *above = inode_path (mount, inode_directory (inode_number (ino)));

  return g_build_filename (above, mount->options->ctldir, file == NULL ? "?" : file->name, NULL);
}

/* ---- listing ------------------------------------------------------------------------------ */

static bool
list_slots (Mount *mount, const ControlFile *directory, const ControlNode *node, off_t after,
            ControlAddFunc add, void *data)
{
  uint32_t first = after < COOKIE_SLOT ? 1 : (uint32_t)(after - COOKIE_SLOT) + 1;

  for (uint32_t slot = first; slot < SLOTS; slot++) {
    const ControlFile *file = &mount->control->files[slot];
    if ((file->places & directory->holds) != 0 &&
        !add (file->name, inode_control (node->number, slot), file->type, COOKIE_SLOT + slot, data))
      return false;
  }
  return true;
}

bool
control_list (Mount *mount, fuse_ino_t ino, off_t after, ControlAddFunc add, void *data,
              GError **error)
{
  ControlNode node;
  const ControlFile *directory = find_directory (mount, ino, &node);

  if (directory == NULL)
    return fail (error, ESTALE, "no such control directory");
  if ((after < COOKIE_DOT && !add (".", ino, S_IFDIR, COOKIE_DOT, data)) ||
      (after < COOKIE_DOTDOT && !add ("..", control_parent (ino), S_IFDIR, COOKIE_DOTDOT, data)))
    return true;
  list_slots (mount, directory, &node, after, add, data);
  return true;
}

/* ---- what they are like ------------------------------------------------------------------- */

static mode_t
mode_of (const ControlFile *file)
{
  switch (file->type) {
  case S_IFDIR: return S_IFDIR | 0750;
  case S_IFLNK: return S_IFLNK | 0777;
  default: return S_IFREG | (file->write != NULL ? 0640 : 0440);
  }
}

bool
control_is_writable (Mount *mount, fuse_ino_t ino)
{
  ControlNode node;
  const ControlFile *file =
      inode_kind (ino) == INODE_CONTROL ? control_find (mount, ino, &node) : NULL;

  return file != NULL && file->write != NULL;
}

/* Whether what the node is about is there. */
static bool
check_subject (Mount *mount, const ControlNode *node, GError **error)
{
  g_auto (StoreNode) directory = {0};
  g_auto (StoreRecord) job = {0};

  if (node->job != 0)
    return store_queue_get (mount->store, node->job, &job, error);
  return node->number == STORE_ROOT ||
         store_node_get (mount->store, node->number, &directory, error);
}

bool
control_attr (Mount *mount, fuse_ino_t ino, struct stat *out, GError **error)
{
  ControlNode node;
  const ControlFile *file = control_find (mount, ino, &node);
  g_autoptr (Rendering) shown = NULL;

  if (file == NULL)
    return fail (error, ESTALE, "no such control file");
  if (!check_subject (mount, &node, error))
    return false;
  if (file->type != S_IFDIR)
    shown = rendering_look (mount, file, &node);

  int64_t changed_ns = shown == NULL ? mount->mounted_ns : shown->changed_ns;
  struct timespec changed = {changed_ns / 1000000000, changed_ns % 1000000000};
  uint64_t size = shown == NULL ? 0 : shown->size;
  *out = (struct stat){
      .st_ino = ino,
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

void
control_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset)
{
  Mount *mount = fuse_req_userdata (req);
  ControlNode node;
  const ControlFile *file = control_find (mount, ino, &node);

  if (file == NULL || file->type == S_IFDIR)
    return reply_errno (req, file == NULL ? ESTALE : EISDIR);
  g_autoptr (Rendering) shown = rendering_read (mount, file, &node);
  if (shown->bytes == NULL) {
    uint64_t left = shown->size - MIN ((uint64_t)offset, shown->size);
    return reply_file (req, shown->fd, MIN (size, left), offset);
  }
  reply_slice (req, g_bytes_get_data (shown->bytes, NULL), shown->size, size, offset);
}
