/* SPDX-License-Identifier: Apache-2.0 */
/* The index of one user as a whole. */
#include "index/internal.h"

Index *
index_open (const char *path, IndexOpenFlags flags, GError **error)
{
  g_autoptr (Index) self = g_new0 (Index, 1);
  return db_open (&self->db, &index_schema, path, flags, error) ? g_steal_pointer (&self) : NULL;
}

void
index_close (Index *self)
{
  if (self == NULL)
    return;
  db_close (&self->db);
  g_free (self);
}

bool
index_is_current (const Index *self)
{
  return db_is_current (&self->db);
}

bool
index_data_version (Index *self, uint32_t *out_version, GError **error)
{
  return db_data_version (&self->db, out_version, error);
}

bool
index_compact (Index *self, const char *path, GError **error)
{
  return db_compact (&self->db, path, error);
}

IndexRead *
index_read_begin (Index *self, GError **error)
{
  return db_read_begin (&self->db, error) ? self : NULL;
}

void
index_read_end (IndexRead *self)
{
  if (self != NULL)
    db_read_end (&self->db);
}

bool
index_sync (Index *self, GError **error)
{
  return db_sync (&self->db, error);
}

bool
index_verify (Index *self, GError **error)
{
  return db_verify (&self->db, error);
}
