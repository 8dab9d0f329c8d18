/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshots.c - the control directory snapshots/: mkdir takes one, rmdir drops it, rename renames
 * it.
 *
 * Each name there is the root of a whole tree (view.c), in which nothing ever changes: what the
 * kernel was told of it, it may keep. The names themselves it has to ask for each time, since
 * anybody may take, drop and rename.
 */
#include "fs/snapshots.h"
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/node.h"
#include "fs/reply.h"
#include "fs/rows.h"
#include "fs/trail.h"
#include "fs/view.h"
#include "store/commands.h"
#include "store/rescue.h"

/* A cookie of those whose file is damaged, which have no epoch and come first. They are listed, so
 * that somebody notices, and cannot be looked into. */
#define COOKIE_DAMAGED (COOKIE_JOB / 2)

bool
snapshots_is (Mount *mount, fuse_ino_t ino)
{
  return inode_kind (ino) == INODE_CONTROL && ino == control_place (mount, PLACE_SNAPSHOTS);
}

char *
snapshots_path (Mount *mount, const View *view)
{
  const StoreSnapshot *snapshot = store_snapshot_of (view->store);
  g_autofree char *above = control_path (mount, control_place (mount, PLACE_SNAPSHOTS));

  return g_build_filename (above, snapshot->name, NULL);
}

/* ---- looking ------------------------------------------------------------------------------ */

bool
snapshots_list (Mount *mount, off_t after, ControlAddFunc add, void *data, GError **error)
{
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (mount->store, error);
  bool room = true;

  if (snapshots == NULL)
    return false;
  for (guint i = 0; i < snapshots->len && room; i++) {
    const StoreSnapshot *snapshot = snapshots->pdata[i];
    off_t cookie = snapshot->epoch > 0 ? COOKIE_JOB | (off_t)snapshot->epoch : COOKIE_DAMAGED + i;
    if (cookie > after)
      room =
          add (snapshot->name, inode_directory (snapshot->slot, STORE_ROOT), S_IFDIR, cookie, data);
  }
  return true;
}

/* The root of a snapshot, as the kernel is told of it, which will know it by `name`. */
static bool
enter_snapshot (Mount *mount, const StoreSnapshot *snapshot, const char *name, bool promised,
                Found *out, GError **error)
{
  struct stat attr;
  uint32_t number;

  if (!views_enter (mount, snapshot, name, promised, &number, error))
    return false;
  fuse_ino_t root = inode_directory (number, STORE_ROOT);
  out->view = view_take (mount, root, error);
  if (out->view == NULL || !attr_directory (mount, out->view, STORE_ROOT, &attr, error))
    return false;
  attr_entry (mount, root, &attr, &out->entry);
  out->entry.entry_timeout = 0;
  return true;
}

bool
snapshots_find (Mount *mount, const char *name, Found *out, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_auto (StoreSnapshot) snapshot = {0};

  if (store_snapshot_find (mount->store, name, &snapshot, &failure))
    return enter_snapshot (mount, &snapshot, name, false, out, error);
  if (error_code (failure) == ENOENT)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* What the listing depends on. */
bool
snapshots_render_names (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (mount->store, error);

  for (guint i = 0; snapshots != NULL && i < snapshots->len; i++) {
    const StoreSnapshot *snapshot = snapshots->pdata[i];
    g_string_append_printf (out, "%u %s\n", snapshot->epoch, snapshot->name);
  }
  return snapshots != NULL;
}

bool
snapshots_render_latest (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_auto (StoreSnapshot) snapshot = {0};

  if (store_snapshot_find (mount->store, "latest", &snapshot, &failure))
    g_string_append (out, snapshot.name);
  else if (error_code (failure) != ENOENT) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  return true;
}

/* ---- taking, dropping, renaming ----------------------------------------------------------- */

/* Leaves the trail of what was asked for by the system call `through`, which is the same as the
 * command `verb`. */
static void
leave_trail (fuse_req_t req, const char *through, const char *verb, const char *name,
             const char *new_name, const GError *failure)
{
  const Caller caller = caller_of (req);
  g_autofree char *word = store_word_escape (name);
  g_autofree char *new_word = new_name != NULL ? store_word_escape (new_name) : NULL;
  g_autofree char *command = g_strjoin (" ", verb, word, new_word, NULL);

  trail_action (fuse_req_userdata (req), &caller, through, "/", command, NULL, NULL, failure);
}

/* None is taken that the kernel could not be told of afterwards. */
static bool
take_snapshot (fuse_req_t req, const char *name, Found *out, GError **error)
{
  Mount *mount = fuse_req_userdata (req);
  g_auto (StoreSnapshot) snapshot = {0};
  g_autoptr (GError) failure = NULL;

  bool promised = views_promise (mount, &failure);
  bool taken = promised && store_snapshot_take (mount->store, name, &snapshot, &failure);
  leave_trail (req, "mkdir", "snapshot-take", name, NULL, failure);
  if (taken)
    return enter_snapshot (mount, &snapshot, name, true, out, error);
  if (promised)
    views_break_promise (mount);
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

void
snapshots_mkdir (fuse_req_t req, const char *name)
{
  g_auto (Found) found = {0};
  g_autoptr (GError) error = NULL;

  if (take_snapshot (req, name, &found, &error))
    reply_entry (req, &found.entry);
  else
    reply_errno (req, error_code (error));
}

void
snapshots_rmdir (fuse_req_t req, const char *name)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;

  bool dropped = store_snapshot_drop (mount->store, name, &error);
  leave_trail (req, "rmdir", "snapshot-drop", name, NULL, error);
  reply_errno (req, dropped ? 0 : error_code (error));
}

void
snapshots_rename (fuse_req_t req, const char *name, const char *new_name, unsigned flags)
{
  Mount *mount = fuse_req_userdata (req);
  g_auto (StoreSnapshot) snapshot = {0};
  g_autoptr (GError) error = NULL;
  uint32_t view;

  /* No other is ever replaced. */
  bool renamed = (flags & ~(unsigned)RENAME_NOREPLACE) == 0
                     ? store_snapshot_rename (mount->store, name, new_name, &error)
                     : fail (&error, EINVAL, "snapshots cannot be exchanged");
  leave_trail (req, "rename", "snapshot-rename", name, new_name, error);
  /* The kernel will not ask for it by its new name, which it has to be made to forget one day. */
  if (renamed && store_snapshot_find (mount->store, new_name, &snapshot, NULL))
    views_enter (mount, &snapshot, new_name, false, &view, NULL);
  reply_errno (req, renamed ? 0 : error_code (error));
}
