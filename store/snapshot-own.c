/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots that belong to a process: it takes one, uses it, and drops it.
 *
 * They are called PURPOSE-ID, where ID is the name of the process's directory in tmp/, which it has
 * locked while it lives. So a snapshot of this kind tells whether anybody still uses it, from
 * before it is taken; and what was left by a process that died is dropped by the next one that
 * takes a snapshot for the same purpose.
 */
#include "store/snapshot.h"

#include <string.h>

/* The ID in the name of a snapshot for that purpose; NULL: it is another one. */
static const char *
find_id (const char *name, const char *purpose)
{
  size_t length = strlen (purpose);

  return strncmp (name, purpose, length) == 0 && name[length] == '-' ? name + length + 1 : NULL;
}

/* Whether it is one as layout_tmp() makes them: other names mean something else. */
static bool
is_id (const char *text)
{
  unsigned pid, random;
  char again[32];

  return sscanf (text, "%9u.%8x", &pid, &random) == 2 &&
         snprintf (again, sizeof again, "%u.%08x", pid, random) > 0 && strcmp (again, text) == 0;
}

/* Whether the process has died that had this ID. */
static bool
has_died (int tmp, const char *id)
{
  return faccessat (tmp, id, F_OK, AT_SYMLINK_NOFOLLOW) < 0 ? errno == ENOENT
                                                            : layout_tmp_remove (tmp, id);
}

/* What cannot be dropped now is for the next one. */
static void
drop_left (Store *store, int tmp, const char *purpose)
{
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (store, NULL);

  for (guint i = 0; snapshots != NULL && i < snapshots->len; i++) {
    const StoreSnapshot *snapshot = snapshots->pdata[i];
    const char *id = find_id (snapshot->name, purpose);
    if (id != NULL && is_id (id) && has_died (tmp, id))
      store_snapshot_drop (store, snapshot->name, NULL);
  }
}

bool
store_snapshot_take_own (Store *self, const char *purpose, StoreSnapshot *out, GError **error)
{
  if (store_is_read_only (self))
    return fail (error, EROFS, "the store %s is open read only", self->path);
  if (layout_tmp (self, error) < 0)
    return false;
  auto_fd tmp = layout_open (self->fd, "tmp", O_RDONLY | O_DIRECTORY, 0);
  if (tmp < 0)
    return fail_errno (error, "open %s/tmp", self->path);
  drop_left (self, tmp, purpose);
  g_autofree char *name = g_strdup_printf ("%s-%s", purpose, self->tmp_name);
  return store_snapshot_take (self, name, out, error);
}
