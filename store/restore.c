/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore: what is missing comes back from a backup, into a store that is in use.
 *
 * A mailbox is the same one when it has the number and the UIDVALIDITY that it had: then a UID
 * means the same message, whatever the mailbox is called by now. A message that is gone comes back
 * under its UID with a new modseq, so that nobody takes it for the expunged one; one that is there
 * keeps what is newer. In another mailbox of that name the UIDs mean other messages: then those
 * whose bytes are not there come in as new ones.
 *
 * Files first, under the user lock and synced; the rows follow by a rebuild. So a restore that was
 * interrupted is simply run again.
 */
#include "store/restore.h"
#include "store/backup.h"
#include "store/verbs.h"

#include <string.h>
#include <unistd.h>

/* ---- the mailbox --------------------------------------------------------------------------- */

static bool
prepare_node (int fd, void *data, GError **error)
{
  const RestorePair *pair = data;
  return node_state_write (pair->restore->live, fd, pair->from->kind, &pair->was, error);
}

/* Whether two nodes of one number are the same. A store that was set back gives its numbers again:
 * then a mailbox has another UIDVALIDITY, and what is no mailbox lies elsewhere. */
static bool
is_same_node (Restore *self, const StoreNode *there, const StoreNode *here)
{
  if (there->kind != here->kind)
    return false;
  g_auto (NodeState) was = {0}, is = {0};
  bool had = false, has = false;
  g_autoptr (StoreMailbox) from = store_mailbox_open (self->backup, there->number, NULL);
  g_autoptr (StoreMailbox) to = store_mailbox_open (self->live, here->number, NULL);
  if (from == NULL || to == NULL)
    return false;
  if (there->kind != STORE_NODE_MAILBOX)
    return strcmp (from->path, to->path) == 0;
  return node_state_read (from->fd, from->kind, &was, &had, NULL) && had &&
         node_state_read (to->fd, to->kind, &is, &has, NULL) && has &&
         was.uidvalidity == is.uidvalidity;
}

/* The node of that number here, if it is what it was there. */
static bool
find_by_number (Restore *self, const StoreNode *node, StoreNode *out)
{
  return self->same_store && store_node_get (self->live, node->number, out, NULL) &&
         (is_same_node (self, node, out) || (store_node_clear (out), false));
}

/* Makes a directory as it was there: number, UIDVALIDITY, next UID, subscription. Who makes a
 * mailbox where a directory lies takes that over. */
static bool
make_directory (RestorePair *pair, const StoreMailbox *parent, const char *name, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (!pair->restore->same_store ||
      layout_make_directory (pair->restore->live, parent->fd, name, prepare_node, pair, &failure) ||
      failure->code == EEXIST)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static bool find_or_make (Restore *self, uint32_t number, bool make, StoreNode *out,
                          bool *out_found, GError **error);

static bool
make_node (Restore *self, const StoreNode *node, const StoreNode *parent, StoreNode *out,
           GError **error)
{
  g_auto (RestorePair) pair = {.restore = self};
  bool found;
  g_autoptr (StoreMailbox) above = store_mailbox_open (self->live, parent->number, error);
  pair.from = above != NULL ? store_mailbox_open (self->backup, node->number, error) : NULL;
  if (pair.from == NULL || !node_state_read (pair.from->fd, node->kind, &pair.was, &found, error) ||
      (found && !make_directory (&pair, above, node->name, error)))
    return false;
  g_autofree char *name =
      node->full_name != NULL ? g_strdup (node->full_name) : store_name_unescape (node->name);
  const char *names[] = {name, NULL};
  if (!store_mailbox_create_at (self->live, parent->number, names, out, error))
    return false;
  if (self->same_store || node->kind != STORE_NODE_MAILBOX || !found)
    return true;
  g_autoptr (StoreMailbox) made = store_mailbox_open (self->live, out->number, error);
  return made != NULL && store_mailbox_set_uidvalidity (made, pair.was.uidvalidity,
                                                        MAX (pair.was.uidnext, 1), error);
}

/* The node here that node `number` of the backup is, by its number, else by its name. */
static bool
find_or_make (Restore *self, uint32_t number, bool make, StoreNode *out, bool *out_found,
              GError **error)
{
  g_auto (StoreNode) node = {0}, parent = {0};
  *out_found = true;
  if (number == STORE_ROOT)
    return store_node_get (self->live, STORE_ROOT, out, error);
  if (!store_node_get (self->backup, number, &node, error))
    return false;
  if (find_by_number (self, &node, out))
    return true;
  if (!find_or_make (self, node.parent, make, &parent, out_found, error))
    return false;
  if (!*out_found)
    return true;
  return store_node_find (self->live, parent.number, node.name, out, out_found, error) &&
         (*out_found || !make || (*out_found = make_node (self, &node, &parent, out, error)));
}

/* ---- another mailbox of that name ---------------------------------------------------------- */

static bool
bring_as_new (const RestorePair *pair, const StoreMessage *message, GError **error)
{
  char name[STORE_NAME_SIZE];
  StoreFacts facts = {
      .flags = message->flags, .keywords = message->keywords, .internal_s = message->internal_s};
  store_message_name (message->uid, name);
  g_autoptr (StoreDraft) draft = store_draft_new (pair->restore->live, &facts, error);
  return draft != NULL && store_draft_take (draft, pair->from->fd, name, STORE_COPY, error) &&
         store_draft_finish (draft, pair->to, error) &&
         store_mailbox_append (pair->to, &draft, 1, 0, error);
}

static bool
restore_message (const RestorePair *pair, const StoreMessage *message, GHashTable *known,
                 GError **error)
{
  g_auto (StoreSummary) summary = {0};
  if (pair->others == NULL)
    job_looked_at (pair->restore->job, 0, 1, message->size);
  if (!store_message_summary (pair->from, message->uid, &summary, error))
    return false;
  g_autoptr (GBytes) digest = g_bytes_new (summary.sha256, sizeof summary.sha256);
  guint count = GPOINTER_TO_UINT (g_hash_table_lookup (known, digest));
  if (count > 0) {
    g_hash_table_replace (known, g_bytes_ref (digest), GUINT_TO_POINTER (count - 1));
    return true;
  }
  if (pair->others != NULL && !restore_is_other (pair, message->uid))
    return true;
  /* As a new message it would pass for what was delivered. */
  StoreProblem problem;
  if (restore_is_damaged (pair->from, message->uid, &problem)) {
    restore_tell_damaged (pair, problem, message->uid, "damaged in the backup; it stays there");
    return true;
  }
  if (!job_has (pair->restore->job, STORE_WORD_DRY_RUN) && !bring_as_new (pair, message, error))
    return false;
  restore_tell (pair, STORE_PROBLEM_NO_FILE, message->uid, message->size,
                pair->others == NULL
                    ? "comes back under a new UID: the mailbox is another one"
                    : "comes back under a new UID: here this one is another message");
  return true;
}

static bool
restore_by_digest (RestorePair *pair, GError **error)
{
  g_autoptr (GHashTable) known = store_mailbox_digests (pair->to, error);
  if (known == NULL)
    return false;
  StoreMessage page[64];
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    if (!store_mailbox_page (pair->from, after, page, G_N_ELEMENTS (page), &count, error))
      return false;
    bool good = true;
    for (size_t i = 0; i < count && good; i++) {
      after = page[i].uid;
      good =
          job_go_on (pair->restore->job, error) && restore_message (pair, &page[i], known, error);
    }
    store_messages_clear (page, count);
    if (!good)
      return false;
  }
  return true;
}

/* In the same mailbox; then, by their bytes, those whose UID means another message here. */
static bool
restore_same (RestorePair *pair, GError **error)
{
  if (!restore_by_uid (pair, error))
    return false;
  if (pair->others->len == 0)
    return true;
  g_autofree char *owner = g_strdup_printf ("%u", pair->to->owner);
  return (job_has (pair->restore->job, STORE_WORD_DRY_RUN) ||
          job_reconstruct_quietly (pair->restore->live, owner, error)) &&
         restore_by_digest (pair, error);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static bool
restore_mailbox (Restore *self, uint32_t number, GError **error)
{
  bool dry_run = job_has (self->job, STORE_WORD_DRY_RUN), found, has_state = false;
  g_auto (StoreNode) node = {0};
  g_auto (RestorePair) pair = {.restore = self};
  g_auto (NodeState) now = {0};
  pair.from = store_mailbox_open (self->backup, number, error);
  if (pair.from == NULL ||
      !node_state_read (pair.from->fd, pair.from->kind, &pair.was, &found, error) ||
      !find_or_make (self, number, !dry_run, &node, &found, error))
    return false;
  if (found && (pair.to = store_mailbox_open (self->live, node.number, error)) == NULL)
    return false;
  job_looked_at (self->job, 1, 0, 0);
  if (pair.to == NULL)
    return restore_by_uid (&pair, error);
  if (!node_state_read (pair.to->fd, pair.to->kind, &now, &has_state, error))
    return false;
  g_hash_table_add (self->touched, GUINT_TO_POINTER (node.owner));
  return has_state && now.uidvalidity == pair.was.uidvalidity ? restore_same (&pair, error)
                                                              : restore_by_digest (&pair, error);
}

static bool
restore_owner (StoreJob *walk, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  Restore *self = walk->data;
  g_auto (StoreNode) node = {0};
  bool found;
  if (whole &&
      !find_or_make (self, owner, !job_has (self->job, STORE_WORD_DRY_RUN), &node, &found, error))
    return false;
  for (guint i = 0; i < mailboxes->len; i++) {
    if (!job_go_on (self->job, error) ||
        !restore_mailbox (self, g_array_index (mailboxes, uint32_t, i), error))
      return false;
  }
  return true;
}

/* The rows follow the files. */
static bool
update_rows (Restore *self, GError **error)
{
  GHashTableIter iter;
  gpointer owner;
  if (job_has (self->job, STORE_WORD_DRY_RUN))
    return true;
  g_hash_table_iter_init (&iter, self->touched);
  while (g_hash_table_iter_next (&iter, &owner, NULL)) {
    g_autofree char *nodes = g_strdup_printf ("%u", GPOINTER_TO_UINT (owner));
    if (!job_reconstruct_quietly (self->live, nodes, error))
      return false;
  }
  return true;
}

static Store *
open_backup (Restore *self, GError **error)
{
  const StoreJob *job = self->job;
  const char *directory = job->request->directory;
  g_auto (BackupInfo) info = {0};
  if (!backup_info_read (directory, &info, error))
    return NULL;
  if (!info.complete && !job_has (job, STORE_WORD_FORCE)) {
    fail (error, EUCLEAN, "the backup %s is not complete; run backup again, or use --force",
          directory);
    return NULL;
  }
  self->same_store = strcmp (info.uuid, job->store->uuid) == 0;
  /* What a backup that is not complete does not have is no reason to take it away. */
  self->exact = info.complete && job_has (job, STORE_WORD_FORCE);
  return store_open (directory, STORE_READ_ONLY, error);
}

/* The mailboxes of the backup that were named. */
static bool
resolve (Restore *self, GArray *targets, GError **error)
{
  const GPtrArray *names = self->job->request->names;
  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_auto (StoreNode) node = {0};
    if (!store_node_resolve (self->backup, names->pdata[i], &node, error))
      return fail_prefix (error, "in the backup %s", self->backup->path);
    g_array_append_val (targets, node.number);
  }
  return true;
}

bool
command_restore (StoreJob *job, GError **error)
{
  if (store_is_read_only (job->store) && !job_has (job, STORE_WORD_DRY_RUN))
    return fail (error, EROFS, "the store %s is open read only", job->store->path);
  if (job->request->export != NULL)
    return restore_from_export (job, error);
  Restore self = {.job = job, .live = job->store, .pace = pace_of (job)};
  g_autoptr (Store) backup = open_backup (&self, error);
  if (backup == NULL)
    return false;
  g_autoptr (GArray) targets = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  StoreRequest request = *job->request;
  request.targets = targets;
  self.backup = backup;
  self.walk.store = backup;
  self.walk.request = &request;
  self.walk.data = &self;
  self.touched = g_hash_table_new (NULL, NULL);
  bool done = resolve (&self, targets, error) && job_each_owner (&self.walk, restore_owner, error);
  /* What came back before it failed is not left behind. */
  done = update_rows (&self, done ? error : NULL) && done;
  g_hash_table_unref (self.touched);
  return done;
}
