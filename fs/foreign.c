/* SPDX-License-Identifier: Apache-2.0 */
/*
 * foreign.c - changes of which nobody tells: somebody copies mail into the store, say from a
 * backup.
 *
 * The kernel keeps listings for a day. So of each directory that was listed the ctime is looked at
 * again and again, of some at a time: that is one stat each, and each has its turn within two
 * seconds. With more than 4,000 directories it takes that much longer, for there are never more
 * than about 2,500 stats a second. It is not the mtime, because rsync sets that back. What a store
 * changes itself it tells, and its rows agree afterwards.
 */
#include "fs/notify.h"

#define TURNS            16u /* until each had its own, ten in a second */
#define LOOKS_A_TURN_MAX 256u

typedef struct {
  uint32_t number;
  char *path;
  int64_t changed_ns;
} Directory;

struct Foreign {
  const Mount *mount;
  GMutex mutex;        /* guards what follows */
  GHashTable *known;   /* set of numbers */
  GArray *directories; /* of Directory */
  guint next;          /* to be looked at */
};

static void
directory_clear (gpointer data)
{
  g_free (((Directory *)data)->path);
}

Foreign *
foreign_new (const Mount *mount)
{
  Foreign *self = g_new0 (Foreign, 1);

  self->mount = mount;
  g_mutex_init (&self->mutex);
  self->known = g_hash_table_new (NULL, NULL);
  self->directories = g_array_new (FALSE, FALSE, sizeof (Directory));
  g_array_set_clear_func (self->directories, directory_clear);
  return self;
}

void
foreign_free (Foreign *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref (self->known);
  g_array_unref (self->directories);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

/* Takes the path over. */
static void
add_directory (Foreign *self, uint32_t number, char *path, int64_t changed_ns)
{
  Directory directory = {number, path, changed_ns};
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  if (g_hash_table_add (self->known, GUINT_TO_POINTER (number)))
    g_array_append_val (self->directories, directory);
  else
    g_free (path);
}

void
foreign_follow (Foreign *self, uint32_t number)
{
  g_mutex_lock (&self->mutex);
  bool known = g_hash_table_contains (self->known, GUINT_TO_POINTER (number));
  g_mutex_unlock (&self->mutex);

  char *path = known ? NULL : store_node_path (self->mount->store, number, NULL);
  if (path != NULL)
    add_directory (self, number, path, store_path_changed_ns (self->mount->store, path));
}

/* Looks at one; false: it has not changed. One that is gone, or lies elsewhere, is followed again
 * when it is listed next. */
static bool
look_at (Foreign *self, guint place, uint32_t *out_number)
{
  Directory *directory = &g_array_index (self->directories, Directory, place);
  int64_t changed_ns = store_path_changed_ns (self->mount->store, directory->path);

  *out_number = directory->number;
  if (changed_ns == directory->changed_ns)
    return false;
  directory->changed_ns = changed_ns;
  if (changed_ns == 0) {
    g_hash_table_remove (self->known, GUINT_TO_POINTER (directory->number));
    g_array_remove_index_fast (self->directories, place);
  }
  return true;
}

GArray *
foreign_look (Foreign *self)
{
  g_autoptr (GArray) changed = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  GArray *foreign = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  uint32_t number;

  g_mutex_lock (&self->mutex);
  guint looks = MIN ((self->directories->len + TURNS - 1) / TURNS, LOOKS_A_TURN_MAX);
  for (guint i = 0; i < looks && self->directories->len > 0; i++) {
    self->next = (self->next + 1) % self->directories->len;
    if (look_at (self, self->next, &number))
      g_array_append_val (changed, number);
  }
  g_mutex_unlock (&self->mutex);

  for (guint i = 0; i < changed->len; i++) {
    number = g_array_index (changed, uint32_t, i);
    if (store_node_is_foreign (self->mount->store, number))
      g_array_append_val (foreign, number);
  }
  return foreign;
}
