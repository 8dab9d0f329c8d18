/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of messages: expunge, undelete, cleanup. */
#include "store/life.h"
#include "store/jobs.h"
#include "store/missing.h"
#include "store/snapshot.h"
#include "store/verbs.h"

#include <time.h>
#include <unistd.h>

/* A command on one mailbox. */
typedef bool (*MailboxFunc) (StoreJob *job, StoreMailbox *mailbox, GError **error);

/* Calls `each` for the mailboxes, the user lock held where anything may be changed. What a look
 * tells must be true of one moment, too; so it takes the lock where it can. */
static bool
each_mailbox (StoreJob *job, uint32_t owner, const GArray *mailboxes, MailboxFunc each,
              GError **error)
{
  for (guint i = 0; i < mailboxes->len; i++) {
    uint32_t number = g_array_index (mailboxes, uint32_t, i);
    auto_fd lock = -1;
    g_autoptr (GError) failure = NULL;
    if (!job_go_on (job, error) ||
        (!store_is_read_only (job->store) && (lock = lock_user (job->store, owner, error)) < 0))
      return false;
    g_autoptr (StoreMailbox) mailbox = store_mailbox_open (job->store, number, &failure);
    if (mailbox == NULL && failure->code == ESTALE) {
      g_autofree char *path = store_node_path (job->store, number, NULL);
      job_found (job, STORE_PROBLEM_NO_DIRECTORY, false, number, 0, path ? path : "",
                 "the directory is gone");
      continue;
    }
    if (mailbox == NULL) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
    if (!each (job, mailbox, error))
      return false;
  }
  return true;
}

bool
life_require_writable (const StoreJob *job, GError **error)
{
  return !store_is_read_only (job->store) || job_has (job, STORE_WORD_DRY_RUN) ||
         fail (error, EROFS, "the store %s is open read only", job->store->path);
}

int64_t
life_before_ns (const StoreJob *job, StoreSetting age)
{
  struct timespec now;
  clock_gettime (CLOCK_REALTIME, &now);
  int64_t age_s =
      job_has (job, STORE_WORD_AGE) ? job->request->age_s : store_setting (job->store, age);
  int64_t now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
  return age_s < INT64_MAX / 1000000000 ? now_ns - age_s * 1000000000 : INT64_MIN;
}

/* ---- expunge and undelete ------------------------------------------------------------------ */

/* Tells what became of each message, or what would. */
static void
report_moves (StoreJob *job, const StoreMailbox *mailbox, ExpungeWay way, const GArray *moves)
{
  bool out = way == EXPUNGE_OUT;
  StoreProblem kind = out ? STORE_PROBLEM_DELETED : STORE_PROBLEM_EXPUNGED;
  uint64_t bytes = 0;
  for (guint i = 0; i < moves->len; i++) {
    const ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    bytes += move->size;
    if (move->moved)
      job_took (job, kind, mailbox->number, move->uid, move->size, mailbox->path, "%s",
                out ? "leaves the mailbox" : "comes back");
    else if (move->failure != NULL)
      job_found (job, move->failure->code == EEXIST ? STORE_PROBLEM_DUPLICATE : kind, false,
                 mailbox->number, move->uid, mailbox->path, "%s", move->failure->message);
  }
  job_looked_at (job, 0, moves->len, bytes);
  job_step (job, moves->len, 0);
}

/* One change, which a snapshot waits for, and with it everybody who changes anything. */
#define MOVES_MAX 4096u

static bool
move_some (StoreJob *job, StoreMailbox *mailbox, ExpungeWay way, GArray *moves, GError **error)
{
  g_auto (Epoch) epoch = EPOCH_NONE;
  bool done = true;
  if (job_has (job, STORE_WORD_DRY_RUN))
    expunge_foresee (mailbox, way, moves);
  else
    done = epoch_enter (job->store, &epoch, error) &&
           expunge_move (mailbox, &epoch, way, moves, error);
  epoch_leave (&epoch);
  report_moves (job, mailbox, way, moves);
  return done;
}

static bool
move_messages (StoreJob *job, StoreMailbox *mailbox, ExpungeWay way, GError **error)
{
  g_autoptr (GArray) all = expunge_select (mailbox, way, job->request->uids, error);
  bool done = all != NULL;
  job_looked_at (job, 1, 0, 0);
  if (all != NULL)
    job_step (job, 0, all->len);
  for (guint from = 0; done && from < all->len; from += MOVES_MAX) {
    g_autoptr (GArray) moves = expunge_moves_new ();
    for (guint i = from; i < MIN (from + MOVES_MAX, all->len); i++)
      expunge_moves_add (moves, g_array_index (all, ExpungeMove, i).uid);
    done = job_go_on (job, error) && move_some (job, mailbox, way, moves, error);
  }
  return done;
}

static bool
expunge_mailbox (StoreJob *job, StoreMailbox *mailbox, GError **error)
{
  return move_messages (job, mailbox, EXPUNGE_OUT, error);
}

static bool
undelete_mailbox (StoreJob *job, StoreMailbox *mailbox, GError **error)
{
  return move_messages (job, mailbox, EXPUNGE_BACK, error);
}

static bool
expunge_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  return each_mailbox (job, owner, mailboxes, expunge_mailbox, error);
}

static bool
undelete_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  return each_mailbox (job, owner, mailboxes, undelete_mailbox, error);
}

static bool
count_mailboxes (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  *(guint *)job->data += mailboxes->len;
  return true;
}

/* A UID means something else in each mailbox. */
static bool
require_one_mailbox (StoreJob *job, GError **error)
{
  guint count = 0;
  if (job->request->uids == NULL)
    return true;
  job->data = &count;
  bool counted = job_each_owner (job, count_mailboxes, error);
  job->data = NULL;
  return counted && (count <= 1 || fail (error, EINVAL, "--uid wants one mailbox, not %u", count));
}

bool
command_expunge (StoreJob *job, GError **error)
{
  return life_require_writable (job, error) && require_one_mailbox (job, error) &&
         job_each_owner (job, expunge_owner, error);
}

bool
command_undelete (StoreJob *job, GError **error)
{
  return life_require_writable (job, error) && require_one_mailbox (job, error) &&
         job_each_owner (job, undelete_owner, error);
}

/* ---- cleanup ------------------------------------------------------------------------------- */

/* How many rows are removed in one commit. */
#define ROWS_MAX 4096u

/* What a cleanup of one mailbox works with. */
typedef struct {
  StoreJob *job;
  StoreMailbox *mailbox;
  int place;    /* .expunged */
  GArray *left; /* UIDs of the files that stay, ascending */
  const SnapshotSet *snapshots;
  guint needed; /* how many of them stay because snapshots have them */
} Cleanup;

/* Whether a snapshot has the message. One that is taken from now on has not: it is expunged. */
static bool
is_needed (const Cleanup *self, const char *name, uint32_t uid, const struct stat *st)
{
  g_auto (MessageState) state = {0};
  bool found = false;
  if (self->snapshots->snapshots->len == 0 && !self->snapshots->doubtful)
    return false;
  auto_fd fd = layout_open_message (self->place, name);
  if (fd >= 0 && !message_state_read (self->mailbox->fd, fd, uid, &state, &found, NULL))
    found = false;
  return keep_is_needed (self->snapshots, self->mailbox, uid, found ? &state : NULL,
                         stat_ctime_ns (st));
}

/* Removes one file, if it is old enough. What must stay is told. */
static bool
clean_file (Cleanup *self, uint32_t uid, int64_t before_ns, GError **error)
{
  StoreMailbox *mailbox = self->mailbox;
  char name[STORE_NAME_SIZE];
  struct stat st;
  store_message_name (uid, name);
  if (fstatat (self->place, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_errno (error, "stat '%s/" LAYOUT_EXPUNGED "/%s'", mailbox->path, name);
  job_looked_at (self->job, 0, 1, (uint64_t)st.st_size);
  bool old = S_ISREG (st.st_mode) && stat_ctime_ns (&st) <= before_ns;
  bool doubled = old && faccessat (mailbox->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
  bool needed = old && !doubled && is_needed (self, name, uid, &st);
  bool goes = old && !doubled && !needed;
  self->needed += needed;
  if (goes && !job_has (self->job, STORE_WORD_DRY_RUN) && unlinkat (self->place, name, 0) < 0) {
    if (errno != EACCES && errno != EPERM)
      return fail_errno (error, "remove '%s/" LAYOUT_EXPUNGED "/%s'", mailbox->path, name);
    job_found (self->job, STORE_PROBLEM_PERMISSION, false, mailbox->number, uid, mailbox->path,
               "its expunged file cannot be removed: %s", g_strerror (errno));
    goes = false;
  }
  if (doubled)
    job_found (self->job, STORE_PROBLEM_DUPLICATE, false, mailbox->number, uid, mailbox->path,
               "an expunged message has this UID, too");
  if (goes)
    job_took (self->job, STORE_PROBLEM_EXPUNGED, mailbox->number, uid, (uint64_t)st.st_size,
              mailbox->path, "is removed for good");
  else
    g_array_append_val (self->left, uid);
  return true;
}

/* Adds the next expunged rows above `*after` whose file is gone; `*after` is 0 at the end. */
static bool
find_gone (const Cleanup *self, Index *index, uint32_t *after, GArray *gone, GError **error)
{
  IndexMessage page[256];
  size_t count;
  if (!index_message_page (index, self->mailbox->number, *after, INDEX_EXPUNGED, page,
                           G_N_ELEMENTS (page), &count, error))
    return false;
  *after = count > 0 ? page[count - 1].uid : 0;
  for (size_t i = 0; i < count; i++) {
    char name[STORE_NAME_SIZE];
    uint32_t uid = page[i].uid;
    store_message_name (uid, name);
    /* One that somebody renamed back is none of ours. */
    if (!g_array_binary_search (self->left, &uid, layout_compare_uids, NULL) &&
        faccessat (self->mailbox->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
      g_array_append_val (gone, uid);
  }
  index_messages_clear (page, count);
  return true;
}

static bool
record_gone (const Cleanup *self, Index *index, const GArray *gone, GError **error)
{
  g_autoptr (IndexWrite) write = index_write_begin (index, error);
  for (guint i = 0; write != NULL && i < gone->len; i++) {
    if (!index_write_remove_message (write, self->mailbox->number,
                                     g_array_index (gone, uint32_t, i), true, error))
      return false;
  }
  return write != NULL && index_write_commit (write, error);
}

/* Rows of expunged messages without a file become records that they were removed. That takes in
 * those that a cleanup left behind which was cut short. */
static bool
clean_rows (const Cleanup *self, GError **error)
{
  StoreMailbox *mailbox = self->mailbox;
  IndexMailbox row = {0};
  bool found = false;
  /* Without an index there are no rows; one that is damaged is rebuilt from the files. */
  g_autoptr (Handle) handle = cache_index (mailbox->store, mailbox->owner, false, NULL);
  if (handle == NULL)
    return true;
  if (!index_mailbox_get (handle->index, mailbox->number, &row, &found, error))
    return false;
  uint32_t after = 0;
  bool more = found && row.expunged > self->left->len;
  while (more) {
    g_autoptr (GArray) gone = g_array_new (FALSE, FALSE, sizeof (uint32_t));
    do
      if (!find_gone (self, handle->index, &after, gone, error))
        return false;
    while (after != 0 && gone->len < ROWS_MAX);
    more = after != 0;
    if (gone->len > 0 && !record_gone (self, handle->index, gone, error))
      return false;
  }
  return true;
}

static bool
clean_files (Cleanup *self, const GArray *uids, GError **error)
{
  int64_t before_ns = life_before_ns (self->job, STORE_CLEANUP_AGE);
  for (guint i = 0; i < uids->len; i++) {
    if (!job_go_on (self->job, error) ||
        !clean_file (self, g_array_index (uids, uint32_t, i), before_ns, error)) {
      g_array_append_vals (self->left, &g_array_index (uids, uint32_t, i), uids->len - i);
      return false;
    }
    job_step (self->job, 1, 0);
  }
  return true;
}

/* Takes the file away; the user is locked. */
static bool
remove_file (Cleanup *self, uint32_t uid, GError **error)
{
  const StoreMailbox *mailbox = self->mailbox;
  char name[STORE_NAME_SIZE];
  struct stat st;
  store_message_name (uid, name);
  if (fstatat (self->place, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_errno (error, "expunged message %u of '%s'", uid, mailbox->path);
  if (faccessat (mailbox->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
    return fail (error, EBUSY, "expunged message %u of '%s' stays: there is another of that UID",
                 uid, mailbox->path);
  if (is_needed (self, name, uid, &st))
    return fail (error, EBUSY, "expunged message %u of '%s' stays: a snapshot has it", uid,
                 mailbox->path);
  return (unlinkat (self->place, name, 0) == 0 && fsync (self->place) == 0) ||
         fail_errno (error, "remove expunged message %u of '%s'", uid, mailbox->path);
}

bool
life_remove_expunged (StoreMailbox *mailbox, uint32_t uid, GError **error)
{
  Store *store = mailbox->store;
  auto_fd lock = lock_mailbox (mailbox, error);
  if (lock < 0 || !history_load (keep_history (mailbox), error) ||
      !history_load (keep_tree (store), error))
    return false;
  g_autoptr (SnapshotSet) snapshots = snapshot_set_get (store, store_epoch (store));
  auto_fd place = layout_open (mailbox->fd, LAYOUT_EXPUNGED, O_RDONLY | O_DIRECTORY, 0);
  if (place < 0)
    return fail_errno (error, "open '%s/" LAYOUT_EXPUNGED "'", mailbox->path);
  Cleanup cleanup = {.mailbox = mailbox, .place = place, .snapshots = snapshots};
  if (!missing_settle (mailbox, error) || !remove_file (&cleanup, uid, error))
    return false;
  change_note (store, mailbox->number, 0);
  g_autoptr (GArray) left = cleanup.left = expunge_uids (mailbox, error);
  return left != NULL && clean_rows (&cleanup, error);
}

/* How soon a mailbox that a cleanup could not lessen is looked at again. */
#define REST_S 3600

void
life_queue_cleanup (StoreMailbox *mailbox, uint32_t expunged, int64_t least_wait_s)
{
  Store *store = mailbox->store;
  int64_t wait_s = MAX (store_setting (store, STORE_CLEANUP_AGE), least_wait_s);
  if (expunged > store_setting (store, STORE_CLEANUP_SIZE))
    queue_add_action (store, mailbox->number, "cleanup", record_now () + wait_s, NULL);
}

/* Drops what was kept for snapshots that are no more. Which there are is asked with the store lock
 * held, for none is taken then: of one that came since, lines would be dropped that it needs. */
static bool
clean_history (Store *store, History *history, GError **error)
{
  bool left;
  auto_fd lock = lock_store (store, error);
  if (lock < 0)
    return false;
  g_autoptr (SnapshotSet) snapshots = snapshot_set_get (store, store_epoch (store));
  return history_compact (history, snapshots, &left, error);
}

static bool
clean_messages (StoreJob *job, StoreMailbox *mailbox, const SnapshotSet *snapshots, GError **error)
{
  g_autoptr (GArray) uids = expunge_uids (mailbox, error);
  g_autoptr (GArray) left = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  if (uids == NULL)
    return false;
  auto_fd place = layout_open (mailbox->fd, LAYOUT_EXPUNGED, O_RDONLY | O_DIRECTORY, 0);
  if (place < 0)
    return errno == ENOENT || fail_errno (error, "open '%s/" LAYOUT_EXPUNGED "'", mailbox->path);
  Cleanup cleanup = {
      .job = job, .mailbox = mailbox, .place = place, .left = left, .snapshots = snapshots};
  job_step (job, 0, uids->len);
  /* What was missing and is removed now is not missing again. */
  if (!job_has (job, STORE_WORD_DRY_RUN) && !missing_settle (mailbox, error))
    return false;
  bool done = clean_files (&cleanup, uids, error);
  if (cleanup.needed > 0)
    job_noted (job, STORE_PROBLEM_NOTE, mailbox->number, 0, mailbox->path,
               "%u expunged messages stay: snapshots have them", cleanup.needed);
  if (job_has (job, STORE_WORD_DRY_RUN))
    return done;
  /* The files first: a row without one is seen, a file without a row would be a message again. */
  if (left->len < uids->len) {
    if (fsync (place) < 0)
      return done && fail_errno (error, "sync '%s/" LAYOUT_EXPUNGED "'", mailbox->path);
    change_note (job->store, mailbox->number, 0);
  }
  life_queue_cleanup (mailbox, left->len, REST_S);
  return clean_rows (&cleanup, done ? error : NULL) && done;
}

static bool
clean_mailbox (StoreJob *job, StoreMailbox *mailbox, GError **error)
{
  Store *store = job->store;
  g_autoptr (SnapshotSet) snapshots = snapshot_set_get (store, store_epoch (store));
  History *history = keep_history (mailbox);
  job_looked_at (job, 1, 0, 0);
  return history_load (history, error) && history_load (keep_tree (store), error) &&
         clean_messages (job, mailbox, snapshots, error) &&
         (job_has (job, STORE_WORD_DRY_RUN) || history_is_empty (history) ||
          clean_history (store, history, error));
}

static bool
clean_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  return each_mailbox (job, owner, mailboxes, clean_mailbox, error);
}

/* What is kept of directories that no cleanup of a mailbox comes to: of removed ones, and those
 * above mailboxes. */
static bool
clean_rest (Store *store, GError **error)
{
  g_autoptr (GArray) numbers = history_numbers (store, error);
  for (guint i = 0; numbers != NULL && i < numbers->len; i++) {
    uint32_t number = g_array_index (numbers, uint32_t, i);
    g_auto (StoreNode) node = {0};
    g_autoptr (History) history = history_new (store, number);
    if ((!store_node_get (store, number, &node, NULL) || node.kind != STORE_NODE_MAILBOX) &&
        !clean_history (store, history, error))
      return false;
  }
  return numbers != NULL && clean_history (store, keep_tree (store), error);
}

bool
command_cleanup (StoreJob *job, GError **error)
{
  bool rest = job->request->targets->len == 0 && !job_has (job, STORE_WORD_DRY_RUN);
  return life_require_writable (job, error) && job_each_owner (job, clean_owner, error) &&
         (!rest || clean_rest (job->store, error));
}
