/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify: reads every message, the expunged ones, too, and holds it against the digest of what was
 * delivered.
 *
 * Nobody waits for it: no lock is held. It leaves the note that any reader leaves who meets a
 * damaged message, and so the mailbox is queued for the repair that marks it. A dry run leaves
 * none.
 */
#include "store/jobs.h"
#include "store/past.h"
#include "store/pipeline.h"
#include "store/scan.h"
#include "store/verbs.h"

#define PAGE 128u

/* A message; or, with the UID 0, the end of its mailbox. */
typedef struct {
  StoreMailbox *mailbox;
  uint32_t uid;
  bool expunged;
  bool gone;  /* meanwhile */
  bool known; /* there was a digest to compare with */
  uint64_t size;
  StoreProblem problem;
  GError *failure; /* NULL: it is what was delivered, as far as anybody knows */
} Item;

typedef struct {
  StoreJob *job;
  Pipeline *pipeline;
  /* Of the mailbox that is being committed: */
  uint64_t messages, unknown;
  bool damaged;
} Verify;

static void
free_item (void *data)
{
  Item *item = data;
  store_mailbox_unref (item->mailbox);
  g_clear_error (&item->failure);
  g_free (item);
}

/* -1 when it is gone, or with the failure. A message of a snapshot is not supposed to go. */
static int
open_item (Item *item)
{
  char path[32];
  if (item->mailbox->store->past != NULL)
    return store_message_open (item->mailbox, item->uid, &item->failure);
  layout_message_path (item->uid, item->expunged, path);
  int fd = layout_open_message (item->mailbox->fd, path);
  item->gone = fd < 0 && errno == ENOENT;
  if (fd < 0 && !item->gone)
    fail_errno (&item->failure, "open");
  return fd;
}

static void
look_at (void *data, void *user_data)
{
  Item *item = data;
  struct stat st;
  if (item->uid == 0)
    return;
  item->problem = STORE_PROBLEM_UNREADABLE;
  auto_fd fd = open_item (item);
  if (fd < 0)
    return;
  if (fstat (fd, &st) < 0) {
    fail_errno (&item->failure, "open");
    return;
  }
  item->size = (uint64_t)st.st_size;
  StoreProblem problem;
  if (!damage_verify (item->mailbox, item->uid, fd, &problem, &item->known, &item->failure) &&
      item->failure->code == EIO)
    item->problem = problem;
}

/* What can be said of a mailbox when all of its messages were looked at. */
static void
end_mailbox (Verify *self, const StoreMailbox *mailbox)
{
  job_looked_at (self->job, 1, 0, 0);
  if (self->unknown > 0)
    job_noted (self->job, STORE_PROBLEM_NOTE, mailbox->number, 0, mailbox->path,
               "%" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
               " messages have no digest to compare with; repair gives them one",
               self->unknown, self->messages);
  if (self->damaged && !store_is_read_only (self->job->store))
    heal_flush (self->job->store, NULL, NULL);
  self->messages = self->unknown = 0;
  self->damaged = false;
}

static bool
commit (void *data, void *user_data, GError **error)
{
  Item *item = data;
  Verify *self = user_data;
  if (item->uid == 0)
    end_mailbox (self, item->mailbox);
  else if (!item->gone) {
    self->messages++;
    self->unknown += item->failure == NULL && !item->known;
    self->damaged |= item->failure != NULL;
    job_looked_at (self->job, 0, 1, item->size);
  }
  if (item->failure != NULL)
    job_found (self->job, item->problem, false, item->mailbox->number, item->uid,
               item->mailbox->path, "%s", item->failure->message);
  job_step (self->job, item->uid != 0, 0);
  free_item (item);
  return job_go_on (self->job, error);
}

/* False when the pipeline has stopped; it says why when it ends. */
static bool
push (Verify *self, StoreMailbox *mailbox, uint32_t uid, bool expunged)
{
  Item item = {.mailbox = store_mailbox_ref (mailbox), .uid = uid, .expunged = expunged};
  return pipeline_push (self->pipeline, g_memdup2 (&item, sizeof item), 0);
}

static bool
push_live (Verify *self, StoreMailbox *mailbox, GError **error)
{
  StoreMessage page[PAGE];
  size_t count = 1;
  bool going = true;
  for (uint32_t after = 0; count > 0 && going;) {
    if (!store_mailbox_page (mailbox, after, page, PAGE, &count, error))
      return false;
    job_step (self->job, 0, count);
    for (size_t i = 0; i < count && going; i++)
      going = push (self, mailbox, page[i].uid, false);
    after = count > 0 ? page[count - 1].uid : after;
    store_messages_clear (page, count);
    if (!job_go_on (self->job, error))
      return false;
  }
  return true;
}

static bool
push_expunged (Verify *self, StoreMailbox *mailbox, GError **error)
{
  if (mailbox->store->past != NULL)
    return true; /* They are no part of a snapshot. */
  g_autoptr (GArray) uids = expunge_uids (mailbox, error);
  if (uids == NULL)
    return false;
  job_step (self->job, 0, uids->len);
  for (guint i = 0; i < uids->len; i++)
    push (self, mailbox, g_array_index (uids, uint32_t, i), true);
  return true;
}

static bool
verify_mailbox (Verify *self, uint32_t number, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->job->store, number, &failure);
  if (mailbox != NULL && push_live (self, mailbox, &failure) &&
      push_expunged (self, mailbox, &failure)) {
    push (self, mailbox, 0, false);
    return true;
  }
  bool gone = is_gone (failure);
  if (gone && self->job->store->past == NULL)
    return true;
  g_autofree char *path = store_node_path (self->job->store, number, NULL);
  if (!gone && failure->code != EACCES && failure->code != EIO) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  job_found (self->job, STORE_PROBLEM_UNREADABLE, false, number, 0, path != NULL ? path : "", "%s",
             failure->message);
  return true;
}

static bool
verify_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  for (guint i = 0; i < mailboxes->len; i++) {
    if (!job_go_on (job, error) ||
        !verify_mailbox (job->data, g_array_index (mailboxes, uint32_t, i), error))
      return false;
  }
  return true;
}

static bool
verify_all (StoreJob *job, GError **error)
{
  static const PipelineSteps steps = {.prepare = look_at, .commit = commit, .free_item = free_item};
  g_autoptr (GError) failure = NULL;
  Verify self = {.job = job};
  self.pipeline = pipeline_new (&steps, &self);
  job->data = &self;
  bool pushed = job_each_owner (job, verify_owner, &failure);
  job->data = NULL;
  if (!pipeline_end (self.pipeline, !pushed, error))
    return false;
  if (!pushed) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  return job->store->past == NULL || past_is_there (job->store, error);
}

bool
command_verify (StoreJob *job, GError **error)
{
  if (!job_has (job, STORE_WORD_DRY_RUN) || job->store->evidence != NULL)
    return verify_all (job, error);
  /* A note of who meets damage lies in the Store, so it is left in one that queues nothing. */
  Store *given = job->store;
  g_autoptr (Store) own = store_open (given->path, STORE_READ_ONLY, error);
  g_autoptr (Store) past = NULL;
  if (own == NULL || (given->past != NULL && (past = store_snapshot_open (
                                                  own, given->past->snapshot.name, error)) == NULL))
    return false;
  job->store = past != NULL ? past : own;
  bool done = verify_all (job, error);
  job->store = given;
  return done;
}
