/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking messages out of a mailbox, and back into it. A message is the same file in either place
 * and goes over in one rename; so whatever cuts this short leaves each message whole in one of the
 * two.
 *
 *   0. what snapshots need of the messages as they are is kept (keep.c), on disk before 2
 *   1. with the user lock held: the new modseq goes onto the mailbox's directory and is synced, so
 *      that it is not given out again whatever happens
 *   2. each file gets its state and is renamed; where the two contradict each other after a crash,
 *      the place counts and a rebuild writes the state once more
 *   3. all is synced, the directory that the files went to before the one that they left
 *   4. the rows are committed; until then the directory's mtime tells that they are behind
 */
#include "store/snapshot.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

/* One commit. */
typedef struct {
  StoreMailbox *mailbox;
  ExpungeWay way;
  int from_fd, to_fd;
  const Epoch *epoch;
  bool sync_each;
  IndexWrite *write; /* NULL: the files alone change, and the index follows later */
  IndexMailbox facts;
} Batch;

/* ---- which messages ------------------------------------------------------------------------ */

static void
move_clear (gpointer data)
{
  ExpungeMove *move = data;
  index_message_clear (&move->row);
  g_clear_error (&move->failure);
}

GArray *
expunge_moves_new (void)
{
  GArray *moves = g_array_new (FALSE, TRUE, sizeof (ExpungeMove));
  g_array_set_clear_func (moves, move_clear);
  return moves;
}

void
expunge_moves_add (GArray *moves, uint32_t uid)
{
  ExpungeMove move = {.uid = uid};
  g_array_append_val (moves, move);
}

static GArray *
moves_of (const GArray *uids)
{
  GArray *moves = expunge_moves_new ();
  for (guint i = 0; i < uids->len; i++)
    expunge_moves_add (moves, g_array_index (uids, uint32_t, i));
  return moves;
}

GArray *
expunge_uids (StoreMailbox *self, GError **error)
{
  g_autoptr (GError) failure = NULL;
  GArray *uids = layout_uids (self->fd, LAYOUT_EXPUNGED, NULL, &failure);
  /* Where none was ever expunged there is no place for them. */
  if (uids == NULL && failure->code == ENOENT)
    return g_array_new (FALSE, FALSE, sizeof (uint32_t));
  if (uids == NULL)
    g_propagate_prefixed_error (error, g_steal_pointer (&failure), "'%s': ", self->path);
  return uids;
}

GArray *
expunge_uids_kept (StoreMailbox *self, GError **error)
{
  struct stat st;
  struct timespec now;
  if (fstatat (self->fd, LAYOUT_EXPUNGED, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return expunge_uids (self, error);
  int64_t mtime_ns = stat_mtime_ns (&st);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  if (self->gone != NULL && self->gone_ns == mtime_ns)
    return g_array_ref (self->gone);
  g_clear_pointer (&locker, g_mutex_locker_free);
  GArray *uids = expunge_uids (self, error);
  clock_gettime (CLOCK_REALTIME, &now);
  /* A directory that has just changed may change again without its mtime showing it. */
  if (uids == NULL || mtime_ns > time_ns (&now) - 100000000)
    return uids;
  g_autoptr (GMutexLocker) again G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_clear_pointer (&self->gone, g_array_unref);
  self->gone = g_array_ref (uids);
  self->gone_ns = mtime_ns;
  return uids;
}

static GArray *
select_deleted (StoreMailbox *self, GError **error)
{
  g_autoptr (GArray) moves = expunge_moves_new ();
  StoreMessage page[256];
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    if (!store_mailbox_page (self, after, page, G_N_ELEMENTS (page), &count, error))
      return NULL;
    for (size_t i = 0; i < count; i++) {
      after = page[i].uid;
      if (page[i].flags & STORE_FLAG_DELETED)
        expunge_moves_add (moves, page[i].uid);
    }
    store_messages_clear (page, count);
  }
  return g_steal_pointer (&moves);
}

static GArray *
select_set (StoreMailbox *self, ExpungeWay way, const GArray *set, GError **error)
{
  g_autoptr (GArray) there =
      way == EXPUNGE_OUT ? layout_uids (self->fd, "", NULL, error) : expunge_uids (self, error);
  if (there == NULL)
    return NULL;
  g_autoptr (GArray) uids =
      set != NULL ? store_uids_match (set, there, error) : g_array_ref (there);
  if (uids != NULL)
    return moves_of (uids);
  fail_prefix (error, "'%s'%s", self->path, way == EXPUNGE_BACK ? ", expunged" : "");
  return NULL;
}

GArray *
expunge_select (StoreMailbox *self, ExpungeWay way, const GArray *set, GError **error)
{
  return way == EXPUNGE_OUT && set == NULL ? select_deleted (self, error)
                                           : select_set (self, way, set, error);
}

/* ---- one message --------------------------------------------------------------------------- */

/* Whether an error is about the one message; the next may do better. */
static bool
concerns_message (const GError *failure)
{
  switch (failure->code) {
  case ENOENT:
  case EEXIST:
  case EMEDIUMTYPE:
  case ELOOP:
  case E2BIG:
  case EACCES:
  case EPERM: return true;
  default: return false;
  }
}

/* The state that the message gets. Its keywords are those of `before`. */
static MessageState
state_after (Batch *self, const MessageState *before, int64_t before_ns)
{
  MessageState after = *before;
  /* A file that was put there by hand may carry any modseq. */
  self->facts.highestmodseq = MAX (self->facts.highestmodseq, before->modseq + 1);
  after.modseq = self->facts.highestmodseq;
  after.birth = before->birth != 0 ? before->birth : epoch_of_time (self->epoch, before_ns);
  after.expunged = self->way == EXPUNGE_OUT ? self->epoch->epoch : 0;
  if (self->way == EXPUNGE_BACK)
    after.flags &= ~(uint32_t)STORE_FLAG_DELETED;
  return after;
}

static bool
move_file (Batch *self, ExpungeMove *move, int fd, const char *name, const MessageState *before,
           GError **error)
{
  Store *store = self->mailbox->store;
  int directory = self->mailbox->fd;
  struct stat st;
  if (fstat (fd, &st) < 0)
    return fail_errno (error, "stat it");
  MessageState after = state_after (self, before, stat_ctime_ns (&st));
  if (!message_state_write (store, directory, fd, move->uid, &after, error))
    return false;
  if ((self->sync_each && fsync (fd) < 0) ||
      layout_move (self->from_fd, name, self->to_fd, name) < 0) {
    int code = errno;
    message_state_write (store, directory, fd, move->uid, before, NULL);
    errno = code;
    return fail_errno (error, "move it %s", self->way == EXPUNGE_OUT ? "away" : "back");
  }
  if (fstat (fd, &st) < 0)
    return fail_errno (error, "stat it");
  move->moved = true;
  move->size = (uint64_t)st.st_size;
  move->row.modseq = after.modseq;
  move->row.birth = after.birth;
  move->row.expunged = after.expunged;
  move->row.flags = after.flags;
  g_free (move->row.keywords);
  move->row.keywords = g_strdup (after.keywords);
  move->row.changed_ns = stat_ctime_ns (&st);
  return true;
}

/* Opens its file, and tells the state that counts. -1 and an error. */
static int
open_message (const Batch *self, ExpungeMove *move, MessageState *out, GError **error)
{
  char name[STORE_NAME_SIZE];
  store_message_name (move->uid, name);
  auto_fd fd = layout_open_message (self->from_fd, name);
  index_message_clear (&move->row);
  if (self->write != NULL &&
      !index_write_get_message (self->write, self->mailbox->number, move->uid, &move->row,
                                &move->has_row, error))
    return -1;
  if (fd < 0)
    fail_errno (error, "open it");
  return fd >= 0 && message_state_current (self->mailbox, fd, move->uid, &move->row, out, error)
             ? g_steal_fd (&fd)
             : -1;
}

static bool
move_message (Batch *self, ExpungeMove *move, GError **error)
{
  char name[STORE_NAME_SIZE];
  store_message_name (move->uid, name);
  g_auto (MessageState) before = {0};
  auto_fd fd = open_message (self, move, &before, error);
  return fd >= 0 && move_file (self, move, fd, name, &before, error);
}

/* What cannot be looked at now cannot be moved either. */
static bool
keep_moves (Batch *self, Keep *keep, GArray *moves, GError **error)
{
  for (guint i = 0; i < moves->len; i++) {
    ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    g_auto (MessageState) before = {0};
    struct stat st;
    if (!keep_wants (keep, move->uid))
      continue;
    auto_fd fd = open_message (self, move, &before, NULL);
    if (fd >= 0 && fstat (fd, &st) == 0)
      keep_message (keep, move->uid, stat_ctime_ns (&st), &before, self->way == EXPUNGE_BACK);
  }
  return keep_write (keep, error);
}

static bool
move_all (Batch *self, GArray *moves, GError **error)
{
  for (guint i = 0; i < moves->len; i++) {
    ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    g_autoptr (GError) failure = NULL;
    if (move_message (self, move, &failure))
      continue;
    if (!concerns_message (failure)) {
      g_propagate_prefixed_error (error, g_steal_pointer (&failure),
                                  "message %u of '%s': ", move->uid, self->mailbox->path);
      return false;
    }
    move->failure = g_steal_pointer (&failure);
  }
  return true;
}

/* ---- a batch ------------------------------------------------------------------------------- */

int
expunge_place (StoreMailbox *self, GError **error)
{
  auto_fd fd = layout_open (self->fd, LAYOUT_EXPUNGED, O_RDONLY | O_DIRECTORY, 0);
  if (fd >= 0 || errno != ENOENT) {
    if (fd < 0)
      fail_errno (error, "open '%s/" LAYOUT_EXPUNGED "'", self->path);
    return g_steal_fd (&fd);
  }
  if (mkdirat (self->fd, LAYOUT_EXPUNGED, 0750) < 0 ||
      (fd = layout_open (self->fd, LAYOUT_EXPUNGED, O_RDONLY | O_DIRECTORY, 0)) < 0 ||
      fchmod (fd, 0750) < 0) {
    fail_errno (error, "make '%s/" LAYOUT_EXPUNGED "'", self->path);
    return -1;
  }
  return layout_own (self->store, fd, error) ? g_steal_fd (&fd) : -1;
}

/* A modseq of a file that was above all others has raised the one that the directory has. */
static bool
cover_modseq (const Batch *self, uint64_t written, GError **error)
{
  return self->facts.highestmodseq == written ||
         mailbox_write_state (self->mailbox, &self->facts, error);
}

static bool
sync_moves (const Batch *self, GError **error)
{
  bool synced = self->sync_each ? fsync (self->to_fd) == 0 && fsync (self->from_fd) == 0
                                : syncfs (self->mailbox->fd) == 0;
  return synced || fail_errno (error, "sync '%s'", self->mailbox->path);
}

/* Where a row is missing that the mailbox needs, it is left to whoever catches up. */
static bool
write_rows (Batch *self, const GArray *moves, bool agrees, GError **error)
{
  for (guint i = 0; i < moves->len; i++) {
    const ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    agrees = agrees && (!move->moved || move->has_row);
  }
  if (agrees && !mailbox_stamp (self->mailbox, &self->facts.directory_ns, error))
    return false;
  if (!index_write_mailbox (self->write, &self->facts, error))
    return false;
  for (guint i = 0; i < moves->len; i++) {
    const ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    if (move->moved && move->has_row &&
        !index_write_message (self->write, self->mailbox->number, &move->row, NULL, error))
      return false;
  }
  bool found;
  return index_write_get_mailbox (self->write, self->mailbox->number, &self->facts, &found,
                                  error) &&
         index_write_commit (self->write, error);
}

static void
note_moves (const Batch *self, const GArray *moves)
{
  g_autoptr (GArray) uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; i < moves->len; i++) {
    const ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    if (move->moved)
      g_array_append_val (uids, move->uid);
  }
  if (uids->len == 0)
    return;
  change_note (self->mailbox->store, self->mailbox->number, 0);
  change_note_uids (self->mailbox->store, self->mailbox->number, uids);
}

/* Moves the files and makes that last. As soon as one has moved the index follows, whatever became
 * of the others; if it cannot, the files are shown instead of it. */
static bool
run_batch (Batch *self, Keep *keep, GArray *moves, GError **error)
{
  self->facts.highestmodseq++;
  uint64_t written = self->facts.highestmodseq;
  if (!mailbox_write_state (self->mailbox, &self->facts, error))
    return false;
  if (fsync (self->mailbox->fd) < 0)
    return fail_errno (error, "sync '%s'", self->mailbox->path);
  if (!keep_sync (keep, error))
    return false;
  bool done = move_all (self, moves, error);
  done = cover_modseq (self, written, done ? error : NULL) && done;
  done = sync_moves (self, done ? error : NULL) && done;
  if (self->write != NULL &&
      write_rows (self, moves, done && self->facts.directory_ns != 0, NULL) &&
      self->way == EXPUNGE_OUT)
    life_queue_cleanup (self->mailbox, self->facts.expunged, 0);
  note_moves (self, moves);
  return done;
}

bool
expunge_move (StoreMailbox *self, const Epoch *epoch, ExpungeWay way, GArray *moves, GError **error)
{
  if (moves->len == 0)
    return true;
  Batch batch = {
      .mailbox = self, .way = way, .epoch = epoch, .sync_each = moves->len <= SYNC_EACH_MAX};
  g_autoptr (Handle) handle = NULL;
  g_autoptr (IndexWrite) write = mailbox_write_begin (self, &handle, NULL);
  g_auto (Keep) keep = {0};
  if (!keep_directory (epoch, self, error) ||
      !mailbox_learn (self, epoch, &write, &batch.facts, error) ||
      !keep_begin (&keep, epoch, self, error))
    return false;
  auto_fd gone = expunge_place (self, error);
  if (gone < 0)
    return false;
  batch.write = write;
  batch.from_fd = way == EXPUNGE_OUT ? self->fd : gone;
  batch.to_fd = way == EXPUNGE_OUT ? gone : self->fd;
  return keep_moves (&batch, &keep, moves, error) && run_batch (&batch, &keep, moves, error);
}

void
expunge_foresee (StoreMailbox *self, ExpungeWay way, GArray *moves)
{
  for (guint i = 0; i < moves->len; i++) {
    ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    struct stat st = {0};
    char from[32], to[32];
    layout_message_path (move->uid, way == EXPUNGE_BACK, from);
    layout_message_path (move->uid, way == EXPUNGE_OUT, to);
    if (fstatat (self->fd, from, &st, AT_SYMLINK_NOFOLLOW) < 0)
      fail_errno (&move->failure, "open it");
    else if (faccessat (self->fd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
      fail (&move->failure, EEXIST, "move it %s: %s", way == EXPUNGE_OUT ? "away" : "back",
            g_strerror (EEXIST));
    move->moved = move->failure == NULL;
    move->size = (uint64_t)st.st_size;
  }
}

/* ---- for everybody ------------------------------------------------------------------------- */

/* Messages that were named must be there, or nothing is changed. */
static bool
require_all (StoreMailbox *self, ExpungeWay way, const GArray *moves, GError **error)
{
  for (guint i = 0; i < moves->len; i++) {
    uint32_t uid = g_array_index (moves, ExpungeMove, i).uid;
    char path[32];
    layout_message_path (uid, way == EXPUNGE_BACK, path);
    if (faccessat (self->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
      return errno == ENOENT ? fail (error, ENOENT, "no %smessage %u in '%s'",
                                     way == EXPUNGE_BACK ? "expunged " : "", uid, self->path)
                             : fail_errno (error, "message %u of '%s'", uid, self->path);
  }
  return true;
}

bool
expunge_named (StoreMailbox *self, const Epoch *epoch, ExpungeWay way, const uint32_t *uids,
               size_t count, GError **error)
{
  g_autoptr (GArray) moves = expunge_moves_new ();
  for (size_t i = 0; i < count; i++)
    expunge_moves_add (moves, uids[i]);
  if (!require_all (self, way, moves, error) || !expunge_move (self, epoch, way, moves, error))
    return false;
  for (guint i = 0; i < moves->len; i++) {
    const ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    if (move->failure == NULL)
      continue;
    g_propagate_prefixed_error (error, g_error_copy (move->failure),
                                "message %u of '%s': ", move->uid, self->path);
    return false;
  }
  return true;
}

static bool
move_named (StoreMailbox *self, ExpungeWay way, const uint32_t *uids, size_t count, GError **error)
{
  auto_fd lock = lock_mailbox (self, error);
  g_auto (Epoch) epoch = EPOCH_NONE;
  return lock >= 0 && epoch_enter (self->store, &epoch, error) &&
         expunge_named (self, &epoch, way, uids, count, error);
}

bool
store_mailbox_expunge (StoreMailbox *self, const uint32_t *uids, size_t count, GError **error)
{
  return move_named (self, EXPUNGE_OUT, uids, count, error);
}

bool
store_mailbox_undelete (StoreMailbox *self, const uint32_t *uids, size_t count, GError **error)
{
  return move_named (self, EXPUNGE_BACK, uids, count, error);
}
