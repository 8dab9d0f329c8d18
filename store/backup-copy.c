/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a mailbox in a backup: what it has not yet is copied, what changed since the
 * mailbox was listed is put back, and what the mailbox had earlier is taken away. */
#include "store/backup.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* How much is copied before it is synced and gets its names. */
#define PENDING_MAX 512u

bool
backup_place (Backup *self, GError **error)
{
  if (self->pending->len > 0 && syncfs (self->tmp_fd) < 0)
    return fail_errno (error, "sync %s", self->path);
  for (guint i = 0; i < self->pending->len; i++) {
    g_autofree char *temporary = g_strdup_printf ("%u", i);
    if (renameat (self->tmp_fd, temporary, self->fd, self->pending->pdata[i]) < 0)
      return fail_errno (error, "put %s/%s into place", self->path,
                         (char *)self->pending->pdata[i]);
  }
  g_ptr_array_set_size (self->pending, 0);
  return true;
}

char *
backup_name (Backup *self, const char *name)
{
  g_ptr_array_add (self->pending, g_strdup (name));
  return g_strdup_printf ("%u", self->pending->len - 1);
}

/* What the state of a message was when the index was copied: what came later is left out. */
static void
set_back (const IndexMessage *row, MessageState *state)
{
  if (row->uid == 0 || state->modseq <= row->modseq)
    return;
  g_free (state->keywords);
  state->modseq = row->modseq;
  state->birth = row->birth;
  state->expunged = row->expunged;
  state->flags = row->flags;
  state->keywords = g_strdup (row->keywords);
}

/* Puts the state on the copy, if it has another one. */
static bool
copy_state (Backup *self, int source_directory, int source, int directory, int copy, uint32_t uid,
            const IndexMessage *row, GError **error)
{
  g_auto (MessageState) state = {0}, there = {0};
  bool found = false, has = false;
  /* A state that makes no sense is copied with the other attributes, as evidence; and so is what
   * was copied itself. */
  if (!message_state_read (source_directory, source, uid, &state, &found, NULL) || !found ||
      state.copied)
    return true;
  set_back (row, &state);
  if (message_state_read (directory, copy, uid, &there, &has, NULL) && has &&
      there.modseq == state.modseq && there.flags == state.flags &&
      g_strcmp0 (there.keywords, state.keywords) == 0 && there.expunged == state.expunged)
    return true;
  return message_state_write (self->job->store, directory, copy, uid, &state, error);
}

/* Whether the backup has the message already: under one UID there is never another. */
static int
open_copied (int directory, const char *name, const struct stat *source)
{
  auto_fd copy = layout_open_message (directory, name);
  struct stat st;
  bool same = copy >= 0 && fstat (copy, &st) == 0 && st.st_size == source->st_size &&
              stat_mtime_ns (&st) == stat_mtime_ns (source);
  return same ? g_steal_fd (&copy) : -1;
}

typedef struct {
  StoreMailbox *mailbox;
  const BackupListed *listed;
  Index *index;  /* the copied one; NULL: none */
  int directory; /* in the backup */
  bool expunged;
} Place;

static const char *
place_path (const Place *place, bool expunged, const char *name, char out[32])
{
  g_snprintf (out, 32, "%s%s", expunged ? LAYOUT_EXPUNGED "/" : "", name);
  return out;
}

/* The copy from an earlier backup, if it is what was delivered; it comes to where the message lies
 * now. -1: there is none. */
static int
find_whole (const Place *place, uint32_t uid, const char *name)
{
  char path[32], to[32];
  place_path (place, place->expunged, name, to);
  for (int other = 0; other < 2; other++) {
    bool known = false;
    size_t size;
    place_path (place, place->expunged != (other == 1), name, path);
    auto_fd copy = layout_open_message (place->directory, path);
    if (copy < 0 ||
        !store_message_verify (place->mailbox, uid, copy, NULL, 0, &size, &known, NULL) || !known)
      continue;
    if (other == 1 && renameat (place->directory, path, place->directory, to) < 0)
      continue;
    return g_steal_fd (&copy);
  }
  return -1;
}

/* Whether two files have different bytes. */
static bool
differ (int one, int other)
{
  uint8_t digests[2][32];
  const int fds[] = {one, other};
  struct stat st;
  for (int i = 0; i < 2; i++) {
    if (fstat (fds[i], &st) < 0 ||
        !message_digest (fds[i], (uint64_t)st.st_size, NULL, 0, digests[i], NULL))
      return true;
  }
  return memcmp (digests[0], digests[1], sizeof digests[0]) != 0;
}

/* Looks at a copy that has just been made. One that is damaged never takes the place of one that is
 * whole; that is returned then, else -1. Where there is none the damaged one is evidence. Its date
 * is not quite the message's, so that the next backup looks at it again. */
static int
check_copy (Backup *self, const Place *place, uint32_t uid, const char *name, int copy)
{
  StoreProblem problem = STORE_PROBLEM_DIGEST;
  bool known = false;
  g_autoptr (GError) failure = NULL;
  bool good = damage_verify (place->mailbox, uid, copy, &problem, &known, &failure);
  if (good && known)
    return -1;
  auto_fd whole = find_whole (place, uid, name);
  if (good && (whole < 0 || !differ (whole, copy)))
    return -1;
  self->differs = true;
  if (!self->job->counted)
    job_found (self->job, problem, false, place->mailbox->number, uid, place->mailbox->path, "%s",
               whole >= 0 ? "damaged; the backup keeps the whole copy that it has"
                          : "damaged, and so is its copy: the backup has no other");
  struct stat st;
  if (whole < 0 && fstat (copy, &st) == 0) {
    struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, st.st_mtim};
    times[1].tv_nsec += times[1].tv_nsec > 0 ? -1 : 1;
    futimens (copy, times);
  }
  return g_steal_fd (&whole);
}

/* Copies one message to where it lay. ENOENT: it is nowhere any more. */
static bool
copy_message (Backup *self, const Place *place, uint32_t uid, GError **error)
{
  char name[STORE_NAME_SIZE], path[32], to[32];
  store_message_name (uid, name);
  place_path (place, place->expunged, name, to);
  auto_fd source =
      layout_open_message (place->mailbox->fd, place_path (place, place->expunged, name, path));
  if (source < 0 && errno == ENOENT)
    source =
        layout_open_message (place->mailbox->fd, place_path (place, !place->expunged, name, path));
  struct stat st;
  if (source < 0 || fstat (source, &st) < 0)
    return fail_errno (error, "open '%s/%s'", place->mailbox->path, name);
  g_auto (IndexMessage) row = {0};
  bool found;
  if (place->index != NULL &&
      !index_message_get (place->index, place->mailbox->number, uid, &row, &found, error))
    return false;
  job_looked_at (self->job, 0, 1, (uint64_t)st.st_size);
  auto_fd copy = open_copied (place->directory, to, &st);
  if (copy >= 0)
    return copy_state (self, place->mailbox->fd, source, place->directory, copy, uid, &row, error);
  g_autofree char *whole = g_strdup_printf ("mail/%s/%s", place->listed->path, to);
  g_autofree char *temporary = backup_name (self, whole);
  copy = copy_file (self->job->store, place->mailbox->fd, path, self->tmp_fd, temporary,
                    &self->pace, error);
  auto_fd kept = copy >= 0 ? check_copy (self, place, uid, name, copy) : -1;
  if (kept >= 0)
    unlinkat (self->tmp_fd, temporary, 0);
  if (copy < 0 || kept >= 0)
    g_ptr_array_set_size (self->pending, self->pending->len - 1);
  if (copy < 0)
    return false;
  if (kept >= 0)
    return copy_state (self, place->mailbox->fd, source, place->directory, kept, uid, &row, error);
  return copy_state (self, place->mailbox->fd, source, place->directory, copy, uid, &row, error) &&
         (self->pending->len < PENDING_MAX || backup_place (self, error));
}

/* Takes away what the backup has from before and the mailbox has no more. */
static bool
remove_others (const Place *place, const char *path, const GArray *uids, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (GArray) there = layout_uids (place->directory, path, NULL, &failure);
  if (there == NULL)
    return failure->code == ENOENT ||
           (g_propagate_error (error, g_steal_pointer (&failure)), false);
  for (guint i = 0; i < there->len; i++) {
    uint32_t uid = g_array_index (there, uint32_t, i);
    char name[STORE_NAME_SIZE], whole[32];
    store_message_name (uid, name);
    if (!g_array_binary_search ((GArray *)uids, &uid, layout_compare_uids, NULL) &&
        unlinkat (place->directory, place_path (place, *path != '\0', name, whole), 0) < 0)
      return fail_errno (error, "remove '%s'", whole);
  }
  return true;
}

/* A message that cannot be read is told of, and the rest is copied; one that is gone is counted. */
static bool
copy_uids (Backup *self, const Place *place, const GArray *uids, unsigned *gone, GError **error)
{
  for (guint i = 0; i < uids->len; i++) {
    g_autoptr (GError) failure = NULL;
    uint32_t uid = g_array_index (uids, uint32_t, i);
    job_step (self->job, 1, 0);
    if (!job_go_on (self->job, error))
      return false;
    if (copy_message (self, place, uid, &failure))
      continue;
    int code = error_code (failure);
    if (code == ENOENT)
      ++*gone;
    else if (code == EIO || code == EACCES || code == EMEDIUMTYPE || code == ELOOP)
      job_found (self->job, STORE_PROBLEM_UNREADABLE, false, place->mailbox->number, uid,
                 place->mailbox->path, "%s", failure->message);
    else {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
  }
  return true;
}

/* Without attributes states stand in a file of each directory. */
static bool
copy_log (Backup *self, const Place *place, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autofree char *whole = g_strdup_printf ("mail/%s/" LAYOUT_STATE, place->listed->path);
  if (faccessat (place->mailbox->fd, LAYOUT_STATE, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
    return true;
  g_autofree char *temporary = backup_name (self, whole);
  auto_fd copy = copy_file (self->job->store, place->mailbox->fd, LAYOUT_STATE, self->tmp_fd,
                            temporary, NULL, error);
  return copy >= 0 && backup_place (self, error);
}

bool
backup_mailbox (Backup *self, const BackupListed *listed, Index *index, unsigned *gone,
                GError **error)
{
  g_autofree char *path = g_strdup_printf ("mail/%s", listed->path);
  g_autoptr (GError) failure = NULL;
  g_autoptr (StoreMailbox) mailbox =
      store_mailbox_open (self->job->store, listed->number, &failure);
  auto_fd directory = layout_open (self->fd, path, O_RDONLY | O_DIRECTORY, 0);
  if (directory < 0)
    return fail_errno (error, "open %s/%s", self->path, path);
  if (mailbox == NULL) {
    ++*gone;
    return true;
  }
  Place place = {mailbox, listed, index, directory, false};
  if (!copy_log (self, &place, error) || !copy_uids (self, &place, listed->uids, gone, error))
    return false;
  place.expunged = true;
  if (listed->expunged->len > 0 && mkdirat (directory, LAYOUT_EXPUNGED, 0750) < 0 &&
      errno != EEXIST)
    return fail_errno (error, "make %s/%s/" LAYOUT_EXPUNGED, self->path, path);
  return copy_uids (self, &place, listed->expunged, gone, error) &&
         remove_others (&place, "", listed->uids, error) &&
         remove_others (&place, LAYOUT_EXPUNGED, listed->expunged, error);
}
