/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The quarantine: what was removed, until its age.
 *
 *   STORE/quarantine/STAMP/PATH
 *
 * STAMP is the time of the removal in UTC with a random suffix, PATH is where the object was below
 * mail/. So its place says where it came from, and restoring is renaming it back.
 */
#include "store/internal.h"

#include <string.h>
#include <unistd.h>

#define QUARANTINE "quarantine"

char *
quarantine_stamp (void)
{
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *time = g_date_time_format (now, "%Y%m%dT%H%M%SZ");
  return g_strdup_printf ("%s-%08x", time, g_random_int ());
}

/* Opens the directory `name` of `parent`, made when it is missing, durably and for nobody but the
 * store's owner. -1 and an error. */
static int
make_directory (Store *store, int parent, const char *name, GError **error)
{
  bool made = mkdirat (parent, name, 0700) == 0;
  auto_fd fd = made || errno == EEXIST ? layout_open (parent, name, O_RDONLY | O_DIRECTORY, 0) : -1;
  if (fd < 0 || (made && (fsync (fd) < 0 || fsync (parent) < 0))) {
    fail_errno (error, "make directory '%s' in quarantine", name);
    return -1;
  }
  return !made || layout_own (store, fd, error) ? g_steal_fd (&fd) : -1;
}

/* Opens STAMP with what stands before the last name of `path`. */
static int
make_place (Store *store, const char *stamp, const char *path, GError **error)
{
  g_autofree char *place = g_strdup_printf (QUARANTINE "/%s/%s", stamp, path);
  g_auto (GStrv) names = g_strsplit (place, "/", -1);
  auto_fd fd = layout_open (store->fd, "", O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    fail_errno (error, "open %s", store->path);
  for (char **name = names; fd >= 0 && name[1] != NULL; name++) {
    int child = make_directory (store, fd, *name, error);
    store_close_fd (&fd);
    fd = child;
  }
  return g_steal_fd (&fd);
}

bool
quarantine_take (Store *store, const char *stamp, const char *path, GError **error)
{
  g_autofree char *name = g_path_get_basename (path);
  g_autofree char *parent = g_path_get_dirname (path);
  auto_fd from = layout_open (store->mail_fd, strcmp (parent, ".") == 0 ? "" : parent,
                              O_RDONLY | O_DIRECTORY, 0);
  if (from < 0)
    return fail_errno (error, "open '%s'", parent);
  auto_fd to = make_place (store, stamp, path, error);
  if (to < 0)
    return fail_prefix (error, "'%s'", path);
  if (layout_move (from, name, to, name) < 0)
    return fail_errno (error, "move '%s' to quarantine", path);
  /* First where it is, then where it is no more: a crash must not lose it in between. */
  if (fsync (to) < 0 || fsync (from) < 0)
    return fail_errno (error, "sync '%s' and its place in quarantine", path);
  return true;
}
