/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mailbox of restore --export: flags, dates, properties and UIDVALIDITY that the export tells
 * of come back to the messages that are the ones it tells of.
 */
#include "store/restore.h"
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* Messages in one commit. */
#define BATCH 1000u

/* One mailbox, as it was and as it is. */
typedef struct {
  RestoreExport *restore;
  const Told *told;
  StoreNode node;
  StoreMailbox *mailbox;
  StoreMailboxInfo info;
  GArray *matched; /* of Match */
  guint others;    /* UIDs below the next one as it was that mean something else */
  bool same;       /* it has the UIDVALIDITY that it had */
} Pair;

typedef struct {
  const ToldMessage *told;
  StoreMessage is;
} Match;

static void
match_clear (gpointer data)
{
  store_message_clear (&((Match *)data)->is);
}

static void
pair_clear (Pair *pair)
{
  store_node_clear (&pair->node);
  g_clear_pointer (&pair->mailbox, store_mailbox_unref);
  g_clear_pointer (&pair->matched, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Pair, pair_clear)

static void
tell (const Pair *pair, uint32_t uid, const char *what)
{
  job_took (pair->restore->job, STORE_PROBLEM_CHANGED, pair->node.number, uid, 0, pair->told->path,
            "%s", what);
}

static void
leave (const Pair *pair, StoreProblem problem, uint32_t uid, const char *what)
{
  job_found (pair->restore->job, problem, false, pair->node.number, uid, pair->told->path, "%s",
             what);
}

/* ---- which messages are the ones that are told of ------------------------------------------ */

/* Digest of the bytes as they are now: the index knows it of what is whole, else the file is read.
 */
static bool
digest_now (StoreMailbox *mailbox, const StoreMessage *message, uint8_t out[32])
{
  uint64_t size;
  bool found = false;
  struct stat st;
  g_autoptr (Handle) handle = cache_index (mailbox->store, mailbox->owner, false, NULL);
  if ((message->damage & STORE_DAMAGE_GRAVE) == 0 && handle != NULL &&
      index_digest_get (handle->index, mailbox->number, message->uid, &size, out, &found, NULL) &&
      found && digest_is_whole (out))
    return true;
  auto_fd fd = store_message_open (mailbox, message->uid, NULL);
  return fd >= 0 && fstat (fd, &st) == 0 &&
         message_digest (fd, (uint64_t)st.st_size, NULL, 0, out, NULL);
}

/* Without a digest, as of what was damaged then, the size has to do. */
static bool
is_the_one (StoreMailbox *mailbox, const StoreMessage *message, const ToldMessage *told)
{
  uint8_t now[32];
  if (!digest_is_whole (told->sha256))
    return message->size == told->size;
  return digest_now (mailbox, message, now) && memcmp (now, told->sha256, sizeof now) == 0;
}

/* Takes the message over. */
static void
compare_message (Pair *pair, const ToldMessage *told, StoreMessage *is)
{
  Match match = {told, *is};
  job_looked_at (pair->restore->job, 0, 1, is->size);
  if (told == NULL) {
    pair->others += is->uid < pair->told->uidnext;
  } else if (is_the_one (pair->mailbox, is, told)) {
    g_array_append_val (pair->matched, match);
    *is = (StoreMessage){0};
  } else {
    pair->others++;
    leave (pair, STORE_PROBLEM_DIGEST, is->uid, "is not the message that the export tells of");
  }
}

static void
miss_messages (Pair *pair, guint *next, uint32_t before)
{
  const GArray *messages = pair->told->messages;
  for (; *next < messages->len; ++*next) {
    uint32_t uid = g_array_index (messages, ToldMessage, *next).uid;
    if (uid >= before)
      return;
    leave (pair, STORE_PROBLEM_NO_FILE, uid, "the export tells of it, but it is not there");
  }
}

/* Both are in the order of their UIDs. */
static bool
compare (Pair *pair, GError **error)
{
  const GArray *messages = pair->told->messages;
  StoreMessage page[128];
  guint next = 0;
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    if (!job_go_on (pair->restore->job, error) ||
        !store_mailbox_page (pair->mailbox, after, page, G_N_ELEMENTS (page), &count, error))
      return false;
    for (size_t i = 0; i < count; i++) {
      after = page[i].uid;
      miss_messages (pair, &next, after);
      const ToldMessage *told =
          next < messages->len ? &g_array_index (messages, ToldMessage, next) : NULL;
      bool here = told != NULL && told->uid == after;
      compare_message (pair, here ? told : NULL, &page[i]);
      next += here;
    }
    store_messages_clear (page, count);
  }
  miss_messages (pair, &next, UINT32_MAX);
  return true;
}

/* ---- messages ------------------------------------------------------------------------------ */

/* Whether the message is to get its flags back; told of when newer ones stay. One that has none may
 * have lost them, or somebody took them off since: as nobody can tell, it gets them. */
static bool
wants_flags (const Pair *pair, const Match *match)
{
  const ToldMessage *told = match->told;
  const StoreMessage *is = &match->is;
  if (is->flags == told->flags && g_strcmp0 (is->keywords, told->keywords) == 0)
    return false;
  bool newer = (is->flags != 0 || is->keywords != NULL) &&
               (!pair->same || is->modseq > told->modseq) && !pair->restore->force;
  if (newer)
    job_noted (pair->restore->job, STORE_PROBLEM_CHANGED, pair->node.number, is->uid,
               pair->told->path, "has newer flags, and keeps them");
  return !newer;
}

/* Those that get the same flags get them in one commit. */
static bool
set_flags (Pair *pair, GArray *uids, const ToldMessage *told, GError **error)
{
  const uint32_t *list = (const uint32_t *)(const void *)uids->data;
  for (guint i = 0; i < uids->len; i += BATCH) {
    if (!job_go_on (pair->restore->job, error) ||
        !store_message_flag (pair->mailbox, list + i, MIN (BATCH, uids->len - i), STORE_FLAGS_SET,
                             told->flags, told->keywords, error))
      return false;
  }
  return true;
}

static bool
restore_flags (Pair *pair, GError **error)
{
  g_autoptr (GHashTable) sets =
      g_hash_table_new_full (g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_array_unref);
  for (guint i = 0; i < pair->matched->len; i++) {
    const Match *match = &g_array_index (pair->matched, Match, i);
    if (!wants_flags (pair, match))
      continue;
    g_autofree char *flags = store_flags_to_string (match->told->flags, match->told->keywords);
    GArray *uids = g_hash_table_lookup (sets, flags);
    if (uids == NULL) {
      uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
      g_hash_table_insert (sets, g_steal_pointer (&flags), uids);
    }
    g_array_append_val (uids, match->is.uid);
    tell (pair, match->is.uid, "gets its flags back");
  }
  GHashTableIter iter;
  gpointer flags, uids;
  g_hash_table_iter_init (&iter, sets);
  while (!pair->restore->dry_run && g_hash_table_iter_next (&iter, &flags, &uids)) {
    ToldMessage told = {0};
    bool good = store_flags_parse (flags, &told.flags, &told.keywords, error) &&
                set_flags (pair, uids, &told, error);
    g_free (told.keywords);
    if (!good)
      return false;
  }
  return true;
}

/* The date is on the file, and the row follows: it would be believed else. */
static bool
set_date (Pair *pair, IndexWrite *write, const Match *match, GError **error)
{
  StoreMailbox *mailbox = pair->mailbox;
  uint32_t uid = match->is.uid;
  g_auto (IndexMessage) row = {0};
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = match->told->internal_s}};
  struct stat st;
  bool found = false;
  auto_fd fd = store_message_open (mailbox, uid, error);
  if (fd < 0)
    return false;
  if (futimens (fd, times) < 0 || fstat (fd, &st) < 0)
    return fail_errno (error, "date message %u of '%s'", uid, mailbox->path);
  if (write == NULL ||
      !index_write_get_message (write, mailbox->number, uid, &row, &found, error) || !found)
    return write == NULL || !found;
  row.internal_s = match->told->internal_s;
  row.changed_ns = stat_ctime_ns (&st);
  return index_write_message (write, mailbox->number, &row, NULL, error);
}

static bool
set_dates (Pair *pair, const GPtrArray *matches, GError **error)
{
  g_autoptr (Handle) handle = NULL;
  g_auto (Epoch) epoch = EPOCH_NONE;
  auto_fd lock = lock_mailbox (pair->mailbox, error);
  if (lock < 0 || !epoch_enter (pair->restore->store, &epoch, error))
    return false;
  g_autoptr (IndexWrite) write = mailbox_write_begin (pair->mailbox, &handle, NULL);
  for (guint i = 0; i < matches->len; i++) {
    if (!set_date (pair, write, matches->pdata[i], error))
      return false;
  }
  if (syncfs (pair->mailbox->fd) < 0)
    return fail_errno (error, "sync '%s'", pair->mailbox->path);
  return write == NULL || index_write_commit (write, error);
}

static bool
restore_dates (Pair *pair, GError **error)
{
  g_autoptr (GPtrArray) matches = g_ptr_array_new ();
  for (guint i = 0; i < pair->matched->len; i++) {
    Match *match = &g_array_index (pair->matched, Match, i);
    if (match->is.internal_s == match->told->internal_s)
      continue;
    g_ptr_array_add (matches, match);
    tell (pair, match->is.uid, "gets its internal date back");
  }
  return matches->len == 0 || pair->restore->dry_run || set_dates (pair, matches, error);
}

/* ---- the mailbox itself -------------------------------------------------------------------- */

/* Whether mail came since the messages were compared, under a UID that meant something else. */
static bool
has_others_now (const Pair *pair, bool *out, GError **error)
{
  g_autoptr (GArray) uids = layout_uids (pair->mailbox->fd, "", NULL, error);
  guint next = 0;
  *out = false;
  for (guint i = 0; uids != NULL && i < uids->len && !*out; i++) {
    uint32_t uid = g_array_index (uids, uint32_t, i);
    while (next < pair->matched->len && g_array_index (pair->matched, Match, next).is.uid < uid)
      next++;
    bool matched =
        next < pair->matched->len && g_array_index (pair->matched, Match, next).is.uid == uid;
    *out = uid < pair->told->uidnext && !matched;
  }
  return uids != NULL;
}

/* UIDVALIDITY and the next UID, with the user locked; the row follows. */
static bool
write_identity (Pair *pair, bool *out_written, GError **error)
{
  StoreMailbox *mailbox = pair->mailbox;
  const Told *told = pair->told;
  g_auto (NodeState) state = {0};
  g_auto (Epoch) epoch = EPOCH_NONE;
  bool found = false, others = false;
  auto_fd lock = lock_mailbox (mailbox, error);
  if (lock < 0 || !epoch_enter (mailbox->store, &epoch, error) ||
      !keep_directory (&epoch, mailbox, error) ||
      !node_state_read (mailbox->fd, mailbox->kind, &state, &found, error) ||
      !has_others_now (pair, &others, error))
    return false;
  *out_written = pair->same || !others;
  if (!*out_written)
    return true;
  if (!found)
    return fail (error, EUCLEAN, "'%s' has no state; run 'mailstore reconstruct -m'",
                 mailbox->path);
  state.number = mailbox->number;
  state.uidvalidity = told->uidvalidity;
  state.uidnext = MAX (state.uidnext, told->uidnext);
  if (!node_state_write (mailbox->store, mailbox->fd, mailbox->kind, &state, error))
    return fail_prefix (error, "'%s'", mailbox->path);
  if (fsync (mailbox->fd) < 0)
    return fail_errno (error, "sync '%s'", mailbox->path);
  g_hash_table_add (pair->restore->touched, GUINT_TO_POINTER (mailbox->owner));
  return true;
}

static bool
restore_identity (Pair *pair, GError **error)
{
  const Told *told = pair->told;
  bool written = true, told_less = pair->same && told->uidnext <= pair->info.uidnext;
  if (told->number != pair->node.number && told->number != 0)
    job_noted (pair->restore->job, STORE_PROBLEM_NUMBER, pair->node.number, 0, told->path,
               "has a new number, and its messages have new inode numbers: it had %u",
               told->number);
  if (told_less || (pair->same && pair->others > 0))
    return true;
  if (pair->others == 0 && !pair->restore->dry_run && !write_identity (pair, &written, error))
    return false;
  if (pair->others > 0 || !written)
    leave (pair, STORE_PROBLEM_CHANGED, 0,
           "keeps its new UIDVALIDITY: there are messages under UIDs that meant others");
  else
    tell (pair, 0, pair->same ? "gets its next UID back" : "gets its UIDVALIDITY back");
  return true;
}

/* What is told of the mailbox itself counts where it was lost, or with force. */
static bool
restore_properties (Pair *pair, GError **error)
{
  const Told *told = pair->told;
  Store *store = pair->restore->store;
  bool dry_run = pair->restore->dry_run;
  if (pair->same && !pair->restore->force)
    return true;
  if (pair->node.subscribed != told->subscribed) {
    tell (pair, 0, told->subscribed ? "is subscribed to again" : "is not subscribed to any more");
    if (!dry_run && !store_mailbox_subscribe (store, pair->node.number, told->subscribed, error))
      return false;
  }
  if (g_strcmp0 (pair->node.special_use, told->special_use) != 0) {
    tell (pair, 0, "gets its special use back");
    if (!dry_run &&
        !store_mailbox_set_special_use (store, pair->node.number, told->special_use, error))
      return false;
  }
  return true;
}

/* Files get states, and rows the digests of their files, before they are compared with anything. */
static bool
compare_rows (RestoreExport *self, uint32_t owner, GError **error)
{
  if (self->dry_run || !g_hash_table_add (self->compared, GUINT_TO_POINTER (owner)))
    return true;
  g_autofree char *nodes = g_strdup_printf ("%u", owner);
  return job_reconstruct_quietly (self->store, nodes, error);
}

bool
restore_export_mailbox (RestoreExport *self, StoreNode *node, const Told *told, GError **error)
{
  g_auto (Pair) pair = {.restore = self, .told = told, .node = *node};
  *node = (StoreNode){0};
  pair.matched = g_array_new (FALSE, FALSE, sizeof (Match));
  g_array_set_clear_func (pair.matched, match_clear);
  job_looked_at (self->job, 1, 0, 0);
  if (!compare_rows (self, pair.node.owner, error) ||
      (pair.mailbox = store_mailbox_open (self->store, pair.node.number, error)) == NULL ||
      !store_mailbox_info (pair.mailbox, &pair.info, error) || !compare (&pair, error))
    return false;
  pair.same = pair.info.uidvalidity == told->uidvalidity;
  return restore_flags (&pair, error) && restore_dates (&pair, error) &&
         restore_properties (&pair, error) && restore_identity (&pair, error);
}
