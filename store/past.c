/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a store as it was when a snapshot was taken. */
#include "store/past.h"

#include <unistd.h>

void
past_free (Past *self)
{
  if (self == NULL)
    return;
  past_tree_clear (self);
  store_snapshot_clear (&self->snapshot);
  g_free (self);
}

Store *
past_live (Store *store)
{
  return store->past != NULL ? store->past->live : store;
}

bool
past_is_there (Store *store, GError **error)
{
  const StoreSnapshot *ours = &store->past->snapshot;
  Store *live = store->past->live;
  g_autoptr (SnapshotSet) set = snapshot_set_get (live, store_epoch (live));
  for (guint i = 0; i < set->snapshots->len; i++) {
    const StoreSnapshot *other = set->snapshots->pdata[i];
    if (other->epoch == ours->epoch && other->slot == ours->slot)
      return true;
  }
  return fail (error, ESTALE, "the snapshot '%s' was dropped", ours->name);
}

const StoreSnapshot *
store_snapshot_of (const Store *self)
{
  return self->past != NULL ? &self->past->snapshot : NULL;
}

/* What is the same at all times. */
static bool
share (Store *self, Store *live, GError **error)
{
  self->path = g_strdup (live->path);
  self->uuid = g_strdup (live->uuid);
  self->flags = STORE_READ_ONLY;
  self->evidence = live->evidence;
  self->owner_uid = live->owner_uid;
  self->owner_gid = live->owner_gid;
  for (size_t i = 0; i < G_N_ELEMENTS (self->settings); i++)
    self->settings[i] = live->settings[i];
  self->fd = fcntl (live->fd, F_DUPFD_CLOEXEC, 0);
  self->mail_fd = fcntl (live->mail_fd, F_DUPFD_CLOEXEC, 0);
  return (self->fd >= 0 && self->mail_fd >= 0) || fail_errno (error, "open store %s", self->path);
}

Store *
store_snapshot_open (Store *live, const char *name, GError **error)
{
  StoreSnapshot snapshot;
  if (live->past != NULL) {
    fail (error, EINVAL, "snapshot '%s' has no snapshots", live->past->snapshot.name);
    return NULL;
  }
  if (!store_snapshot_find (live, name, &snapshot, error))
    return NULL;
  g_autoptr (Store) self = store_new ();
  self->past = g_new0 (Past, 1);
  *self->past = (Past){.live = live, .snapshot = snapshot};
  past_tree_init (self->past);
  return share (self, live, error) ? g_steal_pointer (&self) : NULL;
}
