/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - the control directory.
 *
 * A control file is a row in a table. Its content is made when somebody looks: at a lookup or a
 * stat. From then on it is held, so that who asks for the size and then reads gets what he was told
 * of: no open file has a state of its own here. It is made anew when nobody has asked for HOLD_US,
 * or after HOLD_MAX_US in any case. Content that came out the same keeps its mtime.
 *
 * The kernel may keep neither name nor attributes of a control file, so it asks for them before
 * each read(2). When size or mtime differ it drops its pages (FUSE_CAP_AUTO_INVAL_DATA): what it
 * shows is always one rendering, through read, mmap and splice alike.
 */
#include "fs/internal.h"

#define HOLD_US     (100 * G_TIME_SPAN_MILLISECOND)
#define HOLD_MAX_US (1 * G_TIME_SPAN_SECOND)

#define ABI_VERSION 1

typedef struct {
  const char *name;
  uint32_t slot; /* in the inode number: part of the ABI, never used again for another file */
  void (*render) (Mount *mount, GString *out);
} ControlFile;

static void
render_readme (Mount *mount, GString *out)
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
}

static void
render_version (Mount *mount, GString *out)
{
  g_string_append_printf (out, "mailfs %s abi %d\n", MAILFS_VERSION, ABI_VERSION);
}

static const ControlFile files[] = {
    {"README", 1, render_readme},           {"version", 2, render_version},
    {"health", 3, status_render_health},    {"status", 4, status_render_text},
    {"status.json", 5, status_render_json},
};

/* What a file shows now. */
typedef struct {
  GMutex mutex;
  GBytes *bytes; /* NULL until somebody looks; with all below protected by mutex */
  int64_t changed_ns;
  int64_t rendered_us, asked_us;
} Rendering;

struct Control {
  Status *status;
  Rendering renderings[G_N_ELEMENTS (files)];
};

Control *
control_new (void)
{
  Control *self = g_new0 (Control, 1);

  self->status = status_new ();
  for (size_t i = 0; i < G_N_ELEMENTS (files); i++)
    g_mutex_init (&self->renderings[i].mutex);
  return self;
}

void
control_free (Control *self)
{
  if (self == NULL)
    return;
  for (size_t i = 0; i < G_N_ELEMENTS (files); i++) {
    g_clear_pointer (&self->renderings[i].bytes, g_bytes_unref);
    g_mutex_clear (&self->renderings[i].mutex);
  }
  status_free (self->status);
  g_free (self);
}

Status *
control_status (Control *self)
{
  return self->status;
}

/* Index into the table; -1: no such file. */
static int
find_file (fuse_ino_t ino)
{
  for (size_t i = 0; i < G_N_ELEMENTS (files); i++)
    if (files[i].slot == inode_slot (ino))
      return (int)i;
  return -1;
}

bool
control_is_directory (Mount *mount, fuse_ino_t parent, const char *name)
{
  return mount->options->ctl != CTL_OFF && parent == FUSE_ROOT_ID &&
         strcmp (name, mount->options->ctldir) == 0;
}

bool
control_file (unsigned index, fuse_ino_t *out_ino, const char **out_name)
{
  if (index >= G_N_ELEMENTS (files))
    return false;
  *out_ino = inode_control (files[index].slot);
  *out_name = files[index].name;
  return true;
}

const char *
control_name (fuse_ino_t ino)
{
  int index = find_file (ino);

  return index < 0 ? NULL : files[index].name;
}

/* ---- renderings --------------------------------------------------------------------------- */

static void
render (Mount *mount, const ControlFile *file, Rendering *rendering)
{
  GString *text = g_string_new (NULL);

  file->render (mount, text);
  g_autoptr (GBytes) bytes = g_string_free_to_bytes (text);
  rendering->rendered_us = g_get_monotonic_time ();
  if (rendering->bytes != NULL && g_bytes_equal (rendering->bytes, bytes))
    return;
  g_clear_pointer (&rendering->bytes, g_bytes_unref);
  rendering->bytes = g_steal_pointer (&bytes);
  rendering->changed_ns = g_get_real_time () * 1000;
}

/* The content that somebody who asks now is told of. */
static GBytes *
take_bytes (Mount *mount, int index, bool may_render, int64_t *out_changed_ns)
{
  Rendering *rendering = &mount->control->renderings[index];
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&rendering->mutex);
  int64_t now = g_get_monotonic_time ();

  if (rendering->bytes == NULL || (may_render && (now - rendering->asked_us > HOLD_US ||
                                                  now - rendering->rendered_us > HOLD_MAX_US)))
    render (mount, &files[index], rendering);
  rendering->asked_us = g_get_monotonic_time ();
  *out_changed_ns = rendering->changed_ns;
  return g_bytes_ref (rendering->bytes);
}

bool
control_attr (Mount *mount, fuse_ino_t ino, struct stat *out)
{
  bool is_directory = inode_slot (ino) == 0;
  int index = find_file (ino);
  int64_t changed_ns = mount->mounted_ns;
  g_autoptr (GBytes) bytes = NULL;

  if (mount->options->ctl == CTL_OFF || (!is_directory && index < 0))
    return false;
  if (!is_directory)
    bytes = take_bytes (mount, index, true, &changed_ns);

  struct timespec changed = {changed_ns / 1000000000, changed_ns % 1000000000};
  size_t size = bytes == NULL ? 0 : g_bytes_get_size (bytes);
  *out = (struct stat){
      .st_ino = ino,
      .st_mode = is_directory ? S_IFDIR | 0750 : S_IFREG | 0440,
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
  int index = find_file (ino);
  int64_t changed_ns;

  if (index < 0)
    return reply_errno (req, inode_slot (ino) == 0 ? EISDIR : ESTALE);
  g_autoptr (GBytes) bytes = take_bytes (mount, index, false, &changed_ns);
  reply_slice (req, g_bytes_get_data (bytes, NULL), g_bytes_get_size (bytes), size, offset);
}
