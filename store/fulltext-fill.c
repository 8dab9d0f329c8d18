/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text: takes messages into the full-text indexes of those users who have one.
 *
 * What is in the index is never looked at again, since a message never changes. So only what passes
 * its digest is taken: of a message that is damaged, and restored one day, the index would rule out
 * what then is in it. Whatever is left out is read by each search that might find it.
 */
#include "store/jobs.h"
#include "store/life.h"
#include "store/search.h"
#include "store/verbs.h"

#include <string.h>
#include <sys/stat.h>

#define PAGE 256u

/* Text in one commit. */
#define BATCH_BYTES (4u << 20)

/* New mail waits so long for more. */
#define WAIT_S 60

/* An index is begun anew when it has more messages that are gone than are there, and so many. */
#define GONE_LEAST 1000u

typedef struct {
  StoreJob *job;
  Fulltext *text;
  FulltextWrite *write; /* NULL: nothing waits for a commit */
  size_t waiting;       /* bytes of text that do */
  uint64_t there;       /* messages that are in it and in the mailboxes */
} Fill;

static void
fill_clear (Fill *self)
{
  g_clear_pointer (&self->write, fulltext_write_free);
  g_clear_pointer (&self->text, fulltext_close);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Fill, fill_clear)

/* ---- whose --------------------------------------------------------------------------------- */

static bool
is_wanted (Store *store, uint32_t owner)
{
  StoreIndexing indexing;
  return store_user_index (store, owner, &indexing, NULL) && indexing == STORE_INDEX_TEXT;
}

void
fulltext_queue (Store *store, uint32_t owner)
{
  if (is_wanted (store, owner))
    queue_add_action (store, owner, "text", record_now () + WAIT_S, NULL);
}

/* ---- messages ------------------------------------------------------------------------------ */

static bool
commit (Fill *self, GError **error)
{
  g_autoptr (FulltextWrite) write = g_steal_pointer (&self->write);
  self->waiting = 0;
  return write == NULL || fulltext_write_commit (write, error);
}

/* The text of a message, if that is what was delivered; else NULL. */
static char *
read_verified (StoreMailbox *mailbox, uint32_t uid)
{
  size_t size;
  bool known = false;
  auto_fd fd = store_message_open (mailbox, uid, NULL);
  return fd >= 0 && store_message_verify (mailbox, uid, fd, NULL, 0, &size, &known, NULL) && known
             ? search_read_text (fd, NULL)
             : NULL;
}

static bool
take_message (Fill *self, StoreMailbox *mailbox, const StoreMessage *message, GError **error)
{
  g_autofree char *text = read_verified (mailbox, message->uid);
  if (!job_go_on (self->job, error))
    return false;
  if (text == NULL)
    return true;
  if (self->write == NULL && (self->write = fulltext_write_begin (self->text, error)) == NULL)
    return false;
  if (!fulltext_write_add (self->write, mailbox->number, message->uid, text, error))
    return false;
  self->waiting += strlen (text);
  self->there++;
  job_looked_at (self->job, 0, 1, message->size);
  return self->waiting < BATCH_BYTES || commit (self, error);
}

static bool
take_page (Fill *self, StoreMailbox *mailbox, const StoreMessage *page, size_t count,
           GError **error)
{
  g_autoptr (GArray) known = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  if (!fulltext_known (self->text, mailbox->number, page[0].uid, page[count - 1].uid, known, error))
    return false;
  for (size_t i = 0; i < count; i++) {
    if (g_array_binary_search (known, &page[i].uid, layout_compare_uids, NULL))
      self->there++;
    else if (!take_message (self, mailbox, &page[i], error))
      return false;
  }
  job_step (self->job, count, 0);
  return true;
}

static bool
take_mailbox (Fill *self, uint32_t number, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->job->store, number, NULL);
  StoreMessage page[PAGE];
  size_t count = mailbox != NULL;
  for (uint32_t after = 0; count > 0;) {
    /* What cannot be read is no news here: searches tell of it, and so does check. */
    if (!store_mailbox_page (mailbox, after, page, PAGE, &count, NULL) || count == 0)
      break;
    after = page[count - 1].uid;
    bool good = take_page (self, mailbox, page, count, error);
    store_messages_clear (page, count);
    if (!good)
      return false;
  }
  job_looked_at (self->job, 1, 0, 0);
  return commit (self, error);
}

/* ---- users --------------------------------------------------------------------------------- */

/* A cache that is damaged has nothing in it that is worth to be kept; what is no database may have.
 */
static bool
clear_away (const char *path, const GError *failure, GError **error)
{
  return failure->code == EISDIR ? layout_keep_damaged (path, error)
                                 : layout_remove_database (path, error);
}

/* Opens it, or makes it. */
static Fulltext *
open_or_make (Store *store, uint32_t owner, const char *path, GError **error)
{
  g_autoptr (GError) failure = NULL;
  /* The directories are made with the index. */
  g_autoptr (Handle) index G_GNUC_UNUSED = cache_index (store, owner, true, NULL);
  g_autoptr (Fulltext) text = fulltext_open (path, INDEX_CREATE, &failure);
  if (text == NULL && is_index_broken (failure)) {
    if (!clear_away (path, failure, error))
      return NULL;
    g_clear_error (&failure);
    text = fulltext_open (path, INDEX_CREATE, &failure);
  }
  if (text == NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  return layout_own_path (store, path, error) ? g_steal_pointer (&text) : NULL;
}

static bool
fill (StoreJob *job, uint32_t owner, const char *path, const GArray *mailboxes, uint64_t *out_gone,
      GError **error)
{
  g_auto (Fill) self = {.job = job, .text = open_or_make (job->store, owner, path, error)};
  if (self.text == NULL)
    return false;
  for (guint i = 0; i < mailboxes->len; i++) {
    if (!job_go_on (job, error) ||
        !take_mailbox (&self, g_array_index (mailboxes, uint32_t, i), error))
      return false;
  }
  uint64_t all;
  if (!fulltext_count (self.text, &all, error))
    return false;
  *out_gone = all - MIN (self.there, all);
  if (*out_gone < GONE_LEAST || *out_gone < self.there)
    *out_gone = 0;
  return true;
}

static bool
fill_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  g_autofree char *node_path = store_node_path (job->store, owner, NULL);
  if (node_path == NULL)
    return true;
  if (!is_wanted (job->store, owner)) {
    if (job->request->targets->len > 0)
      job_noted (job, STORE_PROBLEM_NOTE, owner, 0, node_path,
                 "there is no full-text index; 'mailbox set --index text' gives it one");
    return true;
  }
  g_autofree char *path = layout_fulltext_path (job->store, node_path);
  g_autoptr (GError) failure = NULL;
  uint64_t gone = 0;
  bool done = fill (job, owner, path, mailboxes, &gone, &failure);
  /* Damaged further in, or for the most part of messages that are gone. */
  if (done ? whole && gone > 0 : is_index_broken (failure)) {
    g_clear_error (&failure);
    done = layout_remove_database (path, &failure) &&
           fill (job, owner, path, mailboxes, &gone, &failure);
  }
  if (failure != NULL)
    g_propagate_error (error, g_steal_pointer (&failure));
  return done;
}

bool
command_text (StoreJob *job, GError **error)
{
  return life_require_writable (job, error) && job_each_owner (job, fill_owner, error);
}
