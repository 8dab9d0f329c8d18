/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What broken indexes still tell. They lie beside the index they were, as NAME.broken-N, until a
 * whole rebuild has put all of it on the files: then they are kept as NAME.damaged-TIME.
 */
#include "store/backup.h"
#include "store/jobs.h"
#include "store/rebuild.h"

#include <stdio.h>
#include <unistd.h>

/* A database in tmp/: it is needed only as long as this process lives. */
static bool
make_database (Salvaged *self, Store *store, GError **error)
{
  char name[32];
  if (layout_tmp (store, error) < 0)
    return false;
  layout_tmp_name (store, name);
  self->path = g_strdup_printf ("%s/tmp/%s/%s", store->path, store->tmp_name, name);
  self->index = index_open (self->path, INDEX_CREATE, error);
  return self->index != NULL;
}

/* Adds what `path` tells. That nothing can be read there costs only what it had to tell; but when
 * that cannot be written down, it must not be taken for told. */
static bool
add (Salvaged *self, const char *path, GError **error)
{
  IndexSalvage counts = {0};
  if (!index_salvage (NULL, path, &counts, NULL))
    return true;
  self->rows += counts.rows;
  return index_salvage (self->index, path, &counts, error);
}

/* After a catastrophe the last backup is a witness, too. */
static bool
add_backup (Salvaged *self, StoreJob *job, const char *node_path, GError **error)
{
  if (!job_has (job, STORE_WORD_CATASTROPHIC))
    return true;
  const char *directory = job->request->directory;
  g_autofree char *last = directory == NULL ? backup_last (job->store) : NULL;
  directory = directory != NULL ? directory : last;
  if (directory == NULL)
    return fail (error, ENOENT, "no backup of %s is known; name one with --directory",
                 job->store->path);
  g_autofree char *path = g_strdup_printf ("%s/index/%s.sqlite3", directory, node_path);
  return (self->index != NULL || make_database (self, job->store, error)) &&
         add (self, path, error);
}

Salvaged *
salvaged_new (StoreJob *job, uint32_t owner, GError **error)
{
  g_autofree char *node_path = store_node_path (job->store, owner, error);
  if (node_path == NULL)
    return NULL;
  g_autoptr (Salvaged) self = g_new0 (Salvaged, 1);
  self->index_path = layout_index_path (job->store, node_path);
  char *broken;
  for (unsigned n = 0; (broken = layout_broken_path (self->index_path, n)) != NULL; n++) {
    bool good = (self->index != NULL || make_database (self, job->store, error)) &&
                add (self, broken, error);
    g_free (broken);
    if (!good)
      return NULL;
  }
  return add_backup (self, job, node_path, error) ? g_steal_pointer (&self) : NULL;
}

void
salvaged_free (Salvaged *self)
{
  if (self == NULL)
    return;
  index_close (self->index);
  if (self->path != NULL) {
    g_autofree char *journal = g_strconcat (self->path, "-journal", NULL);
    unlink (self->path);
    unlink (journal);
  }
  g_free (self->index_path);
  g_free (self->path);
  g_free (self);
}
