/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of a mailbox in a backup: what it has not yet is copied, what changed follows, and
 * what the store expunged and removed is taken away.
 *
 * A copy that is what was delivered is never given up for one that is not, nor because its original
 * has vanished.
 */
#include "store/backup.h"
#include "store/scan.h"

#include <string.h>
#include <unistd.h>

/* How much is copied before it is synced and gets its names. */
#define PENDING_MAX   512u
#define PENDING_BYTES (UINT64_C (32) << 20)

#define PAGE 128u

#define KEEPS_WHOLE "damaged; the backup keeps the whole copy that it has"

typedef struct {
  BackupOwner *owner;
  Backup *backup;
  StoreMailbox *from;
  const char *path; /* below mail/ */
  int to;
  GArray *unread; /* UIDs of what could not be read: the backup keeps what it has of them */
} Place;

/* One message, and how it is to be in the backup. */
typedef struct {
  uint32_t uid;
  bool expunged;
  char path[32]; /* below the mailbox, there */
  int source;
  struct stat st;     /* of the source */
  MessageState state; /* modseq 0: none is known */
} Item;

static void
item_clear (Item *item)
{
  store_close_fd (&item->source);
  message_state_clear (&item->state);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Item, item_clear)

static void
tell (const Place *place, StoreProblem problem, uint32_t uid, bool fixed, const char *what)
{
  job_found (place->backup->job, problem, fixed, place->from->number, uid, place->path, "%s", what);
}

/* ---- what the backup has ------------------------------------------------------------------- */

/* Puts the state on the copy, if it has another one. */
static bool
copy_state (const Place *place, const Item *item, int copy, GError **error)
{
  g_auto (MessageState) there = {0};
  bool has = false;
  const MessageState *state = &item->state;
  if (state->modseq == 0 ||
      (message_state_read (place->to, copy, item->uid, &there, &has, NULL) && has &&
       there.modseq == state->modseq && there.flags == state->flags &&
       g_strcmp0 (there.keywords, state->keywords) == 0 && there.expunged == state->expunged))
    return true;
  place->owner->changed = true;
  return message_state_write (place->backup->job->store, place->to, copy, item->uid, state, error);
}

/* Whether the backup's index has the message so, and nobody has touched the copy since;
 * `*out_touched` is set when somebody has. */
static bool
agrees (const Place *place, const Item *item, const struct stat *copy, bool *out_touched)
{
  g_auto (IndexMessage) row = {0};
  bool found = false;
  IndexRead *read = place->owner->read;
  if (read == NULL ||
      !index_message_get (read, place->from->number, item->uid, &row, &found, NULL) || !found)
    return false;
  *out_touched = row.changed_ns != stat_ctime_ns (copy);
  return !*out_touched && row.modseq == item->state.modseq && row.flags == item->state.flags &&
         row.expunged == item->state.expunged &&
         g_strcmp0 (row.keywords, item->state.keywords) == 0;
}

/* Whether a file can be the copy of another: under one UID there is never another message. */
static bool
looks_same (const struct stat *one, const struct stat *other)
{
  return one->st_size == other->st_size && stat_mtime_ns (one) == stat_mtime_ns (other);
}

/* Opens the copy that looks like the source. One that lies where the message was before is moved.
 */
static int
open_copy (const Place *place, const Item *item)
{
  char other[32];
  layout_message_path (item->uid, !item->expunged, other);
  for (int moves = 0; moves < 2; moves++) {
    auto_fd copy = layout_open_message (place->to, moves ? other : item->path);
    struct stat st;
    if (copy < 0 || fstat (copy, &st) < 0 || !looks_same (&st, &item->st))
      continue;
    if (moves && renameat (place->to, other, place->to, item->path) < 0)
      continue;
    place->owner->changed |= moves;
    return g_steal_fd (&copy);
  }
  return -1;
}

static bool
is_whole (const Place *place, uint32_t uid, int fd, bool *out_known)
{
  size_t size;
  return store_message_verify (place->from, uid, fd, NULL, 0, &size, out_known, NULL);
}

/* Reads the copy, and with "full" the message as well. False: it is to be copied again. */
static bool
verify_copy (const Place *place, const Item *item, int copy, bool *out_good, GError **error)
{
  bool known;
  *out_good = is_whole (place, item->uid, copy, &known);
  if (!pace_pass (&place->backup->pace, (uint64_t)item->st.st_size, error))
    return false;
  if (!*out_good || !job_has (place->backup->job, STORE_WORD_FULL))
    return true;
  StoreProblem problem;
  if (!damage_verify (place->from, item->uid, item->source, &problem, &known, NULL))
    tell (place, problem, item->uid, false, KEEPS_WHOLE);
  return pace_pass (&place->backup->pace, (uint64_t)item->st.st_size, error);
}

/* ---- copying ------------------------------------------------------------------------------- */

/* The copy from an earlier backup, if it is what was delivered; it comes to where the message lies
 * now. -1: there is none. */
static int
find_whole (const Place *place, const Item *item)
{
  char other[32];
  layout_message_path (item->uid, !item->expunged, other);
  for (int moves = 0; moves < 2; moves++) {
    bool known = false;
    auto_fd copy = layout_open_message (place->to, moves ? other : item->path);
    if (copy < 0 || !is_whole (place, item->uid, copy, &known) || !known)
      continue;
    if (moves && renameat (place->to, other, place->to, item->path) < 0)
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
check_copy (const Place *place, const Item *item, int copy)
{
  StoreProblem problem = STORE_PROBLEM_DIGEST;
  bool known = false;
  bool good = damage_verify (place->from, item->uid, copy, &problem, &known, NULL);
  if (good && known)
    return -1;
  auto_fd whole = find_whole (place, item);
  if (good && (whole < 0 || !differ (whole, copy)))
    return -1;
  tell (place, problem, item->uid, false,
        whole >= 0 ? KEEPS_WHOLE : "damaged, and so is its copy: the backup has no other");
  if (whole < 0) {
    struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, item->st.st_mtim};
    times[1].tv_nsec += times[1].tv_nsec > 0 ? -1 : 1;
    futimens (copy, times);
  }
  return g_steal_fd (&whole);
}

static bool
bring (const Place *place, const Item *item, GError **error)
{
  Backup *self = place->backup;
  uint64_t size = (uint64_t)item->st.st_size;
  g_autofree char *name = g_strdup_printf ("mail/%s/%s", place->path, item->path);
  g_autofree char *temporary = backup_name (self, name);
  place->owner->changed = true;
  auto_fd copy =
      copy_open_file (self->job->store, item->source, self->tmp_fd, temporary, &self->pace, error);
  auto_fd kept = copy >= 0 ? check_copy (place, item, copy) : -1;
  if (copy < 0 || kept >= 0)
    backup_take_back (self);
  if (copy < 0)
    return fail_prefix (error, "copy '%s/%s'", place->path, item->path);
  if (kept >= 0)
    return copy_state (place, item, kept, error);
  job_copied (self->job, 1, size);
  self->pending_bytes += size;
  return copy_state (place, item, copy, error) &&
         ((self->pending->len < PENDING_MAX && self->pending_bytes < PENDING_BYTES) ||
          backup_place (self, error));
}

/* Brings the copy of one message, whose source is open, up to date. */
static bool
update (const Place *place, const Item *item, bool touched, GError **error)
{
  auto_fd copy = open_copy (place, item);
  bool good = copy >= 0, reads = touched || job_has (place->backup->job, STORE_WORD_FULL);
  if (good && reads && !verify_copy (place, item, copy, &good, error))
    return false;
  if (good)
    return copy_state (place, item, copy, error);
  if (copy >= 0)
    tell (place, STORE_PROBLEM_DIGEST, item->uid, true, "its copy was damaged, and is made again");
  return bring (place, item, error);
}

/* What stands on the source and never changes, beside what the moment of the backup tells. */
static bool
open_source (const Place *place, Item *item, GError **error)
{
  g_auto (MessageState) state = {0};
  bool found = false;
  item->source = item->expunged ? layout_open_message (place->from->fd, item->path)
                                : store_message_open (place->from, item->uid, error);
  if (item->source < 0 && item->expunged)
    return fail_errno (error, "open '%s/%s'", place->path, item->path);
  if (item->source < 0 || fstat (item->source, &item->st) < 0)
    return item->source >= 0 && fail_errno (error, "stat '%s/%s'", place->path, item->path);
  /* A state that makes no sense is copied with the other attributes, as evidence. */
  if (!message_state_read (place->from->fd, item->source, item->uid, &state, &found, NULL) ||
      !found)
    return true;
  item->state.birth = state.birth;
  item->state.digest = state.digest;
  if (!item->expunged)
    return true;
  message_state_clear (&item->state);
  item->state = state;
  state = (MessageState){0};
  return true;
}

/* ---- the messages of a mailbox ------------------------------------------------------------- */

/* A message that cannot be read is told of, and the rest is copied. */
static bool
pass_over (const Place *place, uint32_t uid, GError *failure, GError **error)
{
  int code = error_code (failure);
  bool gone = is_gone (failure);
  if (!gone && code != EIO && code != EACCES && code != EMEDIUMTYPE && code != ELOOP) {
    g_propagate_error (error, failure);
    return false;
  }
  tell (place, gone ? STORE_PROBLEM_NO_FILE : STORE_PROBLEM_UNREADABLE, uid, false,
        failure->message);
  if (!gone)
    g_array_append_val (place->unread, uid);
  g_error_free (failure);
  return true;
}

/* Whether there is nothing to do for a message, as far as a look from outside tells. */
static bool
is_up_to_date (const Place *place, const Item *item, bool *out_touched)
{
  struct stat source, copy;
  return fstatat (place->from->fd, item->path, &source, AT_SYMLINK_NOFOLLOW) == 0 &&
         fstatat (place->to, item->path, &copy, AT_SYMLINK_NOFOLLOW) == 0 &&
         looks_same (&source, &copy) && agrees (place, item, &copy, out_touched) &&
         !job_has (place->backup->job, STORE_WORD_FULL);
}

static bool
copy_live (const Place *place, const StoreMessage *message, GError **error)
{
  g_auto (Item) item = {.uid = message->uid, .source = -1};
  GError *failure = NULL;
  bool touched = false;
  item.state.modseq = message->modseq;
  item.state.flags = message->flags;
  item.state.keywords = g_strdup (message->keywords);
  layout_message_path (item.uid, false, item.path);
  job_looked_at (place->backup->job, 0, 1, message->size);
  return is_up_to_date (place, &item, &touched) ||
         (open_source (place, &item, &failure) && update (place, &item, touched, &failure)) ||
         pass_over (place, item.uid, failure, error);
}

static bool
copy_all_live (const Place *place, GArray *uids, GError **error)
{
  StoreJob *job = place->backup->job;
  StoreMessage page[PAGE];
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    if (!store_mailbox_page (place->from, after, page, PAGE, &count, error))
      return false;
    bool good = true;
    job_step (job, 0, count);
    for (size_t i = 0; i < count && good; i++) {
      after = page[i].uid;
      g_array_append_val (uids, after);
      job_step (job, 1, 0);
      good = job_go_on (job, error) && copy_live (place, &page[i], error);
    }
    store_messages_clear (page, count);
    if (!good)
      return false;
  }
  return true;
}

/* The expunged are no part of a moment, but can be brought back; so the backup has what there is of
 * those that were expunged before it. */
static bool
copy_expunged (const Place *place, uint32_t uid, GArray *uids, GError **error)
{
  g_auto (Item) item = {.uid = uid, .expunged = true, .source = -1};
  GError *failure = NULL;
  layout_message_path (uid, true, item.path);
  if (!open_source (place, &item, &failure)) {
    bool gone = failure->code == ENOENT;
    if (gone)
      g_error_free (failure);
    return gone || pass_over (place, uid, failure, error);
  }
  if (item.state.expunged > place->backup->snapshot.epoch)
    return true;
  g_array_append_val (uids, uid);
  job_looked_at (place->backup->job, 0, 1, (uint64_t)item.st.st_size);
  return update (place, &item, false, &failure) || pass_over (place, uid, failure, error);
}

static bool
copy_all_expunged (const Place *place, const GArray *live, GArray *uids, GError **error)
{
  g_autoptr (GArray) there = expunge_uids (place->from, error);
  if (there == NULL)
    return false;
  if (there->len > 0 && mkdirat (place->to, LAYOUT_EXPUNGED, 0750) < 0 && errno != EEXIST)
    return fail_errno (error, "make %s/mail/%s/" LAYOUT_EXPUNGED, place->backup->path, place->path);
  for (guint i = 0; i < there->len; i++) {
    uint32_t uid = g_array_index (there, uint32_t, i);
    bool lives = g_array_binary_search ((GArray *)live, &uid, layout_compare_uids, NULL);
    if (!job_go_on (place->backup->job, error) ||
        (!lives && !copy_expunged (place, uid, uids, error)))
      return false;
  }
  return true;
}

/* ---- what the store does not have any more ------------------------------------------------- */

/* Whether the message is one that the store expunged: the copy lies among the expunged, or the
 * store knows of it. */
static bool
is_expunged (const Place *place, uint32_t uid, const char *path)
{
  Store *store = place->backup->job->store;
  uint64_t modseq;
  bool found = false;
  char name[32];
  layout_message_path (uid, true, name);
  if (strcmp (path, name) == 0 || faccessat (place->from->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    return true;
  g_autoptr (Handle) handle = cache_index (store, place->from->owner, false, NULL);
  g_auto (IndexMessage) row = {0};
  if (handle == NULL)
    return false;
  return (index_removed_get (handle->index, place->from->number, uid, &modseq, &found, NULL) &&
          found) ||
         (index_message_get (handle->index, place->from->number, uid, &row, &found, NULL) &&
          found && row.expunged != 0);
}

/* Takes away what the backup has from before and the mailbox has no more. */
static bool
leave_others (const Place *place, bool expunged, const GArray *uids, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (GArray) there =
      layout_uids (place->to, expunged ? LAYOUT_EXPUNGED : "", NULL, &failure);
  if (there == NULL && failure->code == ENOENT)
    return true;
  if (there == NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  for (guint i = 0; i < there->len; i++) {
    uint32_t uid = g_array_index (there, uint32_t, i);
    char path[32];
    layout_message_path (uid, expunged, path);
    if (g_array_binary_search ((GArray *)uids, &uid, layout_compare_uids, NULL) ||
        g_array_binary_search (place->unread, &uid, layout_compare_uids, NULL))
      continue;
    if (!job_has (place->backup->job, STORE_WORD_FORCE) && !is_expunged (place, uid, path)) {
      tell (place, STORE_PROBLEM_VANISHED, uid, false,
            "the store did not expunge it; the backup keeps its copy");
      continue;
    }
    if (unlinkat (place->to, path, 0) < 0)
      return fail_errno (error, "remove %s/mail/%s/%s", place->backup->path, place->path, path);
    place->owner->changed = true;
  }
  return true;
}

bool
backup_messages (BackupOwner *self, StoreMailbox *from, const char *path, GError **error)
{
  g_autofree char *copy = g_strconcat ("mail/", path, NULL);
  auto_fd to = layout_open (self->backup->fd, copy, O_RDONLY | O_DIRECTORY, 0);
  if (to < 0)
    return fail_errno (error, "open %s/%s", self->backup->path, copy);
  g_autoptr (GArray) unread = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  Place place = {self, self->backup, from, path, to, unread};
  g_autoptr (GArray) live = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  g_autoptr (GArray) expunged = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  if (!copy_all_live (&place, live, error) || !copy_all_expunged (&place, live, expunged, error))
    return false;
  uids_sort (unread);
  return leave_others (&place, false, live, error) && leave_others (&place, true, expunged, error);
}
