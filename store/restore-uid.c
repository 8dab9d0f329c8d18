/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing messages back into the mailbox that they were in. */
#include "store/restore.h"
#include "store/scan.h"
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* Messages a commit. */
#define BATCH_MAX 256u

void
restore_pair_clear (RestorePair *pair)
{
  g_clear_pointer (&pair->from, store_mailbox_unref);
  g_clear_pointer (&pair->to, store_mailbox_unref);
  g_clear_pointer (&pair->missing, g_array_unref);
  g_clear_pointer (&pair->others, g_array_unref);
  g_clear_pointer (&pair->damaged, g_array_unref);
  g_clear_pointer (&pair->restated, g_array_unref);
  g_clear_pointer (&pair->expunged, g_array_unref);
  g_clear_pointer (&pair->newer, g_array_unref);
  node_state_clear (&pair->was);
}
static bool
has (const GArray *uids, uint32_t uid)
{
  return g_array_binary_search ((GArray *)uids, &uid, layout_compare_uids, NULL);
}

/* ---- what is to be done -------------------------------------------------------------------- */

static bool
read_state (const StoreMailbox *mailbox, uint32_t uid, MessageState *out)
{
  char name[STORE_NAME_SIZE];
  bool found = false;
  store_message_name (uid, name);
  auto_fd fd = layout_open_message (mailbox->fd, name);
  return fd >= 0 && message_state_read (mailbox->fd, fd, uid, out, &found, NULL) && found;
}

static uint64_t
size_there (const RestorePair *pair, uint32_t uid)
{
  char name[STORE_NAME_SIZE];
  struct stat st = {0};
  store_message_name (uid, name);
  return fstatat (pair->from->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
}

/* Whether the message here is to get the state that it has there. */
static bool
is_outdated (const RestorePair *pair, uint32_t uid)
{
  g_auto (MessageState) there = {0}, here = {0};
  if (!read_state (pair->from, uid, &there))
    return false;
  if (!read_state (pair->to, uid, &here))
    return true;
  bool same = there.flags == here.flags && g_strcmp0 (there.keywords, here.keywords) == 0;
  return !same && (there.modseq > here.modseq || pair->restore->exact);
}

/* Whether the UID was given to two messages, as when the store itself was set back and went on. */
static bool
is_other (const RestorePair *pair, uint32_t uid)
{
  g_auto (MessageState) there = {0}, here = {0};
  return read_state (pair->from, uid, &there) && read_state (pair->to, uid, &here) &&
         there.digest != 0 && here.digest != 0 && there.digest != here.digest;
}

/* Whether the message in the backup is what was delivered. */
static bool
is_whole_there (const RestorePair *pair, uint32_t uid)
{
  bool known = false;
  size_t size;
  auto_fd fd = store_message_open (pair->from, uid, NULL);
  return fd >= 0 && store_message_verify (pair->from, uid, fd, NULL, 0, &size, &known, NULL) &&
         known;
}

bool
restore_is_damaged (StoreMailbox *mailbox, uint32_t uid, StoreProblem *out_problem)
{
  g_autoptr (GError) failure = NULL;
  bool known;
  *out_problem = STORE_PROBLEM_UNREADABLE;
  auto_fd fd = store_message_open (mailbox, uid, &failure);
  if (fd >= 0)
    return !damage_verify (mailbox, uid, fd, out_problem, &known, NULL);
  return failure->code != ESTALE;
}

void
restore_tell_damaged (const RestorePair *pair, StoreProblem problem, uint32_t uid, const char *what)
{
  const StoreMailbox *mailbox = pair->to != NULL ? pair->to : pair->from;
  job_found (pair->restore->job, problem, false, pair->to != NULL ? pair->to->number : 0, uid,
             mailbox->path, "%s", what);
}

/* Whether the message is not what was delivered, here, but is so in the backup. One that cannot be
 * mended is told of. */
static bool
is_mendable (const RestorePair *pair, uint32_t uid)
{
  StoreProblem problem;
  if (!restore_is_damaged (pair->to, uid, &problem))
    return false;
  if (is_whole_there (pair, uid))
    return true;
  restore_tell_damaged (pair, problem, uid,
                        "damaged, and the backup does not have it whole either");
  return false;
}

/* A message that the backup does not have cannot come back from it. */
static void
look_at_newer (const RestorePair *pair, uint32_t uid)
{
  StoreProblem problem;
  if (restore_is_damaged (pair->to, uid, &problem))
    restore_tell_damaged (pair, problem, uid, "damaged, and the backup does not have it");
}

/* A copy that is damaged comes back all the same: it is better than none. */
static void
look_at_missing (const RestorePair *pair, uint32_t uid)
{
  StoreProblem problem;
  if (restore_is_damaged (pair->from, uid, &problem))
    restore_tell_damaged (pair, problem, uid, "comes back as the backup has it: damaged");
}

bool
restore_is_other (const RestorePair *pair, uint32_t uid)
{
  return has (pair->others, uid);
}

static GArray *
list_uids (const StoreMailbox *mailbox, const char *path, GError **error)
{
  g_autoptr (GError) failure = NULL;
  GArray *uids = mailbox != NULL ? layout_uids (mailbox->fd, path, NULL, &failure) : NULL;
  if (uids == NULL && failure != NULL && failure->code != ENOENT) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  return uids != NULL ? uids : g_array_new (FALSE, FALSE, sizeof (uint32_t));
}

static bool
compare (RestorePair *pair, GError **error)
{
  g_autoptr (GArray) there = list_uids (pair->from, "", error);
  g_autoptr (GArray) here = there != NULL ? list_uids (pair->to, "", error) : NULL;
  g_autoptr (GArray) gone = here != NULL ? list_uids (pair->to, LAYOUT_EXPUNGED, error) : NULL;
  pair->missing = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  pair->others = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  pair->damaged = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  pair->restated = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  pair->expunged = expunge_moves_new ();
  pair->newer = expunge_moves_new ();
  for (guint i = 0; gone != NULL && i < there->len; i++) {
    uint32_t uid = g_array_index (there, uint32_t, i);
    if (!job_go_on (pair->restore->job, error))
      return false;
    uint64_t size = size_there (pair, uid);
    job_looked_at (pair->restore->job, 0, 1, size);
    if (!pace_pass (&pair->restore->pace, size, error))
      return false;
    if (has (here, uid) && is_other (pair, uid)) {
      g_array_append_val (pair->others, uid);
    } else if (has (here, uid) && is_mendable (pair, uid)) {
      g_array_append_val (pair->damaged, uid);
      g_array_append_val (pair->missing, uid);
    } else if (has (here, uid)) {
      if (is_outdated (pair, uid))
        g_array_append_val (pair->restated, uid);
    } else if (has (gone, uid)) {
      expunge_moves_add (pair->expunged, uid);
    } else {
      look_at_missing (pair, uid);
      g_array_append_val (pair->missing, uid);
    }
  }
  for (guint i = 0; gone != NULL && i < here->len; i++) {
    uint32_t uid = g_array_index (here, uint32_t, i);
    if (!job_go_on (pair->restore->job, error))
      return false;
    if (has (there, uid))
      continue;
    look_at_newer (pair, uid);
    if (pair->restore->exact)
      expunge_moves_add (pair->newer, uid);
  }
  return gone != NULL;
}

/* ---- doing it ------------------------------------------------------------------------------ */

void
restore_tell (const RestorePair *pair, StoreProblem problem, uint32_t uid, uint64_t size,
              const char *what)
{
  const StoreMailbox *mailbox = pair->to != NULL ? pair->to : pair->from;
  job_took (pair->restore->job, problem, pair->to != NULL ? pair->to->number : 0, uid, size,
            mailbox->path, "%s", what);
}

/* One commit, with the user locked. */
typedef struct {
  const RestorePair *pair;
  int lock;
  Epoch epoch;
  Keep keep; /* what snapshots need of what changes */
  uint64_t modseq;
} Change;

static void
change_clear (Change *self)
{
  keep_clear (&self->keep);
  epoch_leave (&self->epoch);
  store_close_fd (&self->lock);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Change, change_clear)

static bool
change_begin (Change *out, const RestorePair *pair, GError **error)
{
  Store *live = pair->restore->live;
  *out = (Change){.pair = pair, .epoch = EPOCH_NONE};
  out->lock = lock_user (live, pair->to->owner, error);
  return out->lock >= 0 && epoch_enter (live, &out->epoch, error) &&
         keep_begin (&out->keep, &out->epoch, pair->to, error);
}

/* Keeps what the message is like here, and returns its birth: that stays. One whose file was lost
 * is what its row says; one that was never here is born now. */
static uint32_t
keep_here (Change *self, uint32_t uid)
{
  const StoreMailbox *to = self->pair->to;
  g_auto (MessageState) state = {0};
  g_auto (IndexMessage) row = {0};
  char name[STORE_NAME_SIZE];
  struct stat st;
  bool found = false;
  store_message_name (uid, name);
  if (fstatat (to->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
    bool stated = read_state (to, uid, &state);
    keep_message (&self->keep, uid, stat_ctime_ns (&st), stated ? &state : NULL, false);
    return stated && state.birth != 0 ? state.birth
                                      : epoch_of_time (&self->epoch, stat_ctime_ns (&st));
  }
  g_autoptr (Handle) handle = cache_index (to->store, to->owner, false, NULL);
  if (handle == NULL || !index_message_get (handle->index, to->number, uid, &row, &found, NULL) ||
      !found || row.expunged != 0)
    return self->epoch.epoch;
  const MessageState was = {
      .modseq = row.modseq, .birth = row.birth, .flags = row.flags, .keywords = row.keywords};
  keep_message (&self->keep, uid, row.changed_ns, &was, false);
  return row.birth;
}

/* Takes the next modseq, and makes sure that it is never given out again. */
static bool
take_modseq (Change *self, uint32_t uidnext, GError **error)
{
  const RestorePair *pair = self->pair;
  g_autoptr (Handle) handle = NULL;
  g_autoptr (IndexWrite) write = mailbox_write_begin (pair->to, &handle, NULL);
  IndexMailbox facts;
  if (!(write != NULL && mailbox_facts (pair->to, write, &facts, NULL)) &&
      !mailbox_facts (pair->to, NULL, &facts, error))
    return false;
  facts.highestmodseq = MAX (facts.highestmodseq, pair->was.modseq) + 1;
  facts.uidnext = MAX (MAX (facts.uidnext, pair->was.uidnext), uidnext);
  self->modseq = facts.highestmodseq;
  return keep_end (&self->keep, error) && mailbox_write_state (pair->to, &facts, error) &&
         (fsync (pair->to->fd) == 0 || fail_errno (error, "sync '%s'", pair->to->path));
}

/* Puts the state that the message has there on the file here, with a new modseq. */
static bool
write_state (const Change *self, int fd, uint32_t uid, uint32_t birth, GError **error)
{
  const RestorePair *pair = self->pair;
  g_auto (MessageState) state = {0};
  if (!read_state (pair->from, uid, &state))
    return true;
  state.modseq = self->modseq;
  state.birth = birth;
  state.expunged = 0;
  return message_state_write (pair->restore->live, pair->to->fd, fd, uid, &state, error) ||
         fail_prefix (error, "message %u of '%s'", uid, pair->to->path);
}

/* Copies come into tmp/ without a lock; with it they get their states and places. */
static bool
place_batch (const RestorePair *pair, const uint32_t *uids, char (*names)[32], guint count,
             GError **error)
{
  Store *live = pair->restore->live;
  g_auto (Change) change = {.lock = -1, .epoch = EPOCH_NONE};
  uint32_t births[BATCH_MAX];
  if (syncfs (live->tmp_fd) < 0)
    return fail_errno (error, "sync %s/tmp", live->path);
  if (!change_begin (&change, pair, error))
    return false;
  for (guint i = 0; i < count; i++)
    births[i] = keep_here (&change, uids[i]);
  if (!take_modseq (&change, uids[count - 1] + 1, error))
    return false;
  for (guint i = 0; i < count; i++) {
    auto_fd fd = layout_open_message (live->tmp_fd, names[i]);
    if (fd < 0)
      return fail_errno (error, "open a message in %s/tmp", live->path);
    if (!write_state (&change, fd, uids[i], births[i], error))
      return false;
  }
  if (syncfs (live->tmp_fd) < 0)
    return fail_errno (error, "sync %s/tmp", live->path);
  for (guint i = 0; i < count; i++) {
    char name[STORE_NAME_SIZE];
    store_message_name (uids[i], name);
    if (layout_move (live->tmp_fd, names[i], pair->to->fd, name) < 0 && errno != EEXIST)
      return fail_errno (error, "put '%s/%s' into place", pair->to->path, name);
  }
  return fsync (pair->to->fd) == 0 || fail_errno (error, "sync '%s'", pair->to->path);
}

static bool
bring_batch (const RestorePair *pair, const uint32_t *uids, guint count, GError **error)
{
  Store *live = pair->restore->live;
  int tmp = layout_tmp (live, error);
  char names[BATCH_MAX][32];
  bool done = tmp >= 0;
  guint copied = 0;
  for (; done && copied < count; copied++) {
    char name[STORE_NAME_SIZE];
    store_message_name (uids[copied], name);
    layout_tmp_name (live, names[copied]);
    auto_fd copy =
        copy_file (live, pair->from->fd, name, tmp, names[copied], &pair->restore->pace, error);
    done = copy >= 0 && job_go_on (pair->restore->job, error);
  }
  done = done && place_batch (pair, uids, names, count, error);
  for (guint i = 0; i < copied && tmp >= 0; i++)
    unlinkat (tmp, names[i], 0);
  return done;
}

/* Damaged files make room; they are evidence. */
static bool
remove_damaged (const RestorePair *pair, GError **error)
{
  if (pair->damaged->len == 0)
    return true;
  g_auto (Change) change = {.lock = -1, .epoch = EPOCH_NONE};
  g_autofree char *stamp = quarantine_stamp ();
  if (!change_begin (&change, pair, error))
    return false;
  for (guint i = 0; i < pair->damaged->len; i++)
    keep_here (&change, g_array_index (pair->damaged, uint32_t, i));
  if (!keep_end (&change.keep, error))
    return false;
  for (guint i = 0; i < pair->damaged->len; i++) {
    char name[STORE_NAME_SIZE];
    store_message_name (g_array_index (pair->damaged, uint32_t, i), name);
    g_autofree char *path = g_strdup_printf ("%s/%s", pair->to->path, name);
    if (!quarantine_take (pair->restore->live, stamp, path, error))
      return false;
  }
  return true;
}

static bool
bring_missing (const RestorePair *pair, GError **error)
{
  if (!remove_damaged (pair, error))
    return false;
  const uint32_t *uids = (const uint32_t *)pair->missing->data;
  for (guint i = 0; i < pair->missing->len; i += BATCH_MAX) {
    guint count = MIN (pair->missing->len - i, BATCH_MAX);
    if (!bring_batch (pair, uids + i, count, error))
      return false;
  }
  return true;
}

static bool
restate (const RestorePair *pair, GError **error)
{
  if (pair->restated->len == 0)
    return true;
  g_auto (Change) change = {.lock = -1, .epoch = EPOCH_NONE};
  if (!change_begin (&change, pair, error))
    return false;
  g_autoptr (GArray) births = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; i < pair->restated->len; i++) {
    uint32_t birth = keep_here (&change, g_array_index (pair->restated, uint32_t, i));
    g_array_append_val (births, birth);
  }
  if (!take_modseq (&change, 0, error))
    return false;
  for (guint i = 0; i < pair->restated->len; i++) {
    char name[STORE_NAME_SIZE];
    uint32_t uid = g_array_index (pair->restated, uint32_t, i);
    store_message_name (uid, name);
    auto_fd fd = layout_open_message (pair->to->fd, name);
    if (fd >= 0 && !write_state (&change, fd, uid, g_array_index (births, uint32_t, i), error))
      return false;
  }
  return syncfs (pair->to->fd) == 0 || fail_errno (error, "sync '%s'", pair->to->path);
}

static bool
move (const RestorePair *pair, ExpungeWay way, GArray *moves, GError **error)
{
  if (moves->len == 0)
    return true;
  Store *live = pair->restore->live;
  auto_fd lock = lock_user (live, pair->to->owner, error);
  g_auto (Epoch) epoch = EPOCH_NONE;
  return lock >= 0 && epoch_enter (live, &epoch, error) &&
         expunge_move (pair->to, &epoch, way, moves, error);
}

/* One that could not go over is left. */
static void
tell_moves (const RestorePair *pair, StoreProblem problem, const GArray *moves, const char *what)
{
  for (guint i = 0; i < moves->len; i++) {
    const ExpungeMove *move = &g_array_index (moves, ExpungeMove, i);
    if (move->failure == NULL)
      restore_tell (pair, problem, move->uid, size_there (pair, move->uid), what);
    else
      job_found (pair->restore->job, problem, false, pair->to->number, move->uid, pair->to->path,
                 "%s", move->failure->message);
  }
}

static void
tell_all (const RestorePair *pair)
{
  for (guint i = 0; i < pair->missing->len; i++) {
    uint32_t uid = g_array_index (pair->missing, uint32_t, i);
    if (has (pair->damaged, uid))
      restore_tell (pair, STORE_PROBLEM_DIGEST, uid, size_there (pair, uid),
                    "comes back whole; the damaged file goes to quarantine");
    else
      restore_tell (pair, STORE_PROBLEM_NO_FILE, uid, size_there (pair, uid), "comes back");
  }
  tell_moves (pair, STORE_PROBLEM_EXPUNGED, pair->expunged, "comes back");
  for (guint i = 0; i < pair->restated->len; i++)
    restore_tell (pair, STORE_PROBLEM_CHANGED, g_array_index (pair->restated, uint32_t, i), 0,
                  "gets its flags back");
  tell_moves (pair, STORE_PROBLEM_DELETED, pair->newer,
              "is not in the backup and leaves the mailbox");
}

bool
restore_by_uid (RestorePair *pair, GError **error)
{
  if (!compare (pair, error))
    return false;
  bool done = job_has (pair->restore->job, STORE_WORD_DRY_RUN) ||
              (bring_missing (pair, error) && move (pair, EXPUNGE_BACK, pair->expunged, error) &&
               restate (pair, error) && move (pair, EXPUNGE_OUT, pair->newer, error));
  if (done)
    tell_all (pair);
  return done;
}
