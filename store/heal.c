/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage that readers met. Reading itself never starts anything: a reader gets the right answer or
 * an error, leaves a note in memory, and goes on. The worker makes jobs of the notes, some at a
 * time, and a process that closes the store does so once more.
 *
 * Not every note becomes one. A writer leaves a mailbox behind for some milliseconds, so it is
 * looked at once more. And what a repair could not mend, because the bytes are gone, is not tried
 * again for each reader that comes along: see is_futile().
 *
 * Whoever delivers leaves a note in the same way, that there is something new for a full-text
 * index.
 */
#include "store/jobs.h"
#include "store/past.h"

/* How long a mailbox is left alone that a repair did not help, and one that changed meanwhile: say
 * a copy that was still being put back. */
#define REST_S         3600
#define REST_CHANGED_S 2

/* More notes than that are not kept; whoever reads those mailboxes next leaves them again. */
#define NOTES_MAX 65536u

/* How many notes are dealt with in a row. Each may take a commit, and whoever wants the worker or
 * the process to end waits for that. */
#define HEAL_AT_ONCE 16u

void
heal_init (Store *store)
{
  g_mutex_init (&store->heal_mutex);
  store->heal = g_hash_table_new (NULL, NULL);
}

void
heal_clear (Store *store)
{
  if (!store_is_read_only (store))
    heal_flush (store, NULL, NULL);
  g_hash_table_unref (store->heal);
  g_mutex_clear (&store->heal_mutex);
}

void
heal_note (const StoreMailbox *mailbox, HealReasons reasons)
{
  Store *store = past_live (mailbox->store);
  bool index = (reasons & (HEAL_INDEX | HEAL_TEXT)) != 0;
  gpointer key = GUINT_TO_POINTER (index ? mailbox->owner : mailbox->number);
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->heal_mutex);
  guint known = GPOINTER_TO_UINT (g_hash_table_lookup (store->heal, key));
  if (known != 0 || g_hash_table_size (store->heal) < NOTES_MAX)
    g_hash_table_insert (store->heal, key, GUINT_TO_POINTER (known | reasons));
}

typedef struct {
  uint32_t number;
  HealReasons reasons;
} Note;

/* Some of the notes, HEAL_AT_ONCE at most. */
static size_t
take_notes (Store *store, Note out[HEAL_AT_ONCE])
{
  g_autoptr (GMutexLocker) locker G_GNUC_UNUSED = g_mutex_locker_new (&store->heal_mutex);
  GHashTableIter iter;
  gpointer key, value;
  size_t count = 0;
  g_hash_table_iter_init (&iter, store->heal);
  while (count < HEAL_AT_ONCE && g_hash_table_iter_next (&iter, &key, &value)) {
    out[count++] = (Note){GPOINTER_TO_UINT (key), GPOINTER_TO_UINT (value)};
    g_hash_table_iter_remove (&iter);
  }
  return count;
}

bool
heal_is_behind (Store *store, uint32_t number)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, number, NULL);
  g_auto (StoreNode) owner = {0};
  if (mailbox == NULL || !store_node_get (store, mailbox->owner, &owner, NULL) || owner.no_index)
    return false;
  auto_fd lock = lock_user_try_look (store, mailbox->owner, NULL);
  return lock >= 0 && mailbox_is_behind (mailbox);
}

/* SQLite's own check, of all of the index: it may take seconds. */
static bool
is_index_damaged (Store *store, uint32_t owner)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) handle = cache_index (store, owner, false, &failure);
  bool good = handle != NULL && index_verify (handle->index, &failure);
  return !good && is_index_broken (failure);
}

/* What is still so. What was noted of an index is its owner's, the rest a mailbox's. */
static HealReasons
look_again (Store *store, uint32_t number, HealReasons reasons)
{
  g_auto (StoreNode) node = {0};
  /* Readers of a snapshot meet damage in what was removed, too. */
  if (!store_node_get (store, number, &node, NULL))
    return 0;
  if ((reasons & HEAL_INDEX) != 0)
    return is_index_damaged (store, number) ? reasons : 0;
  bool behind = (reasons & HEAL_ROWS) != 0 && heal_is_behind (store, number);
  return (reasons & HEAL_BYTES) | (behind ? HEAL_ROWS : 0);
}

typedef struct {
  const char *action, *nodes;
  QueueJob job;
  bool found;
} Last;

static bool
read_last (Queue *queue, void *data, GError **error)
{
  Last *last = data;
  return queue_last (queue, last->action, last->nodes, &last->job, &last->found, error);
}

/* Whether a repair was lately tried in vain for these reasons. Rows that it does not mend make it
 * fail (record.c), bytes that are gone are what it leaves; and an index that is damaged again so
 * soon lies on a bad disk. */
static bool
is_futile (Store *store, const char *action, const char *nodes, HealReasons reasons)
{
  Last last = {.action = action, .nodes = nodes};
  if (!queue_use (store, false, read_last, &last, NULL) || !last.found)
    return false;
  g_auto (QueueJob) job = last.job;
  /* What ended in the future says nothing of when that was. */
  int64_t now_s = record_now ();
  int64_t rest_s = job.code == EAGAIN ? REST_CHANGED_S : REST_S;
  if (job.ended_s <= now_s - rest_s || job.ended_s > now_s)
    return false;
  return job.state == QUEUE_FAILED || reasons == HEAL_INDEX ||
         (reasons == HEAL_BYTES && job.left > 0);
}

static const char *
describe (HealReasons reasons)
{
  if ((reasons & HEAL_INDEX) != 0)
    return "a reader met a damaged index";
  return (reasons & HEAL_ROWS) != 0 ? "a reader was served from the files"
                                    : "a reader met a message that is not what was delivered";
}

static void
queue_repair (Store *store, uint32_t number, HealReasons reasons, StoreSayFunc say, void *user_data)
{
  const char *action = store_command_find ("repair") != NULL ? "repair" : "reconstruct";
  g_autofree char *nodes = g_strdup_printf ("%u", number);
  uint64_t id;
  bool added = false;
  if (is_futile (store, action, nodes, reasons) ||
      !queue_add_waiting (store, action, nodes, describe (reasons), 0, &id, &added, NULL) ||
      !added || say == NULL)
    return;
  g_autofree char *title = store_node_title (store, number, NULL);
  g_autofree char *text =
      g_strdup_printf ("job %" G_GUINT64_FORMAT ": %s %s queued: %s", id, action,
                       title != NULL ? title : nodes, describe (reasons));
  g_autofree char *printable = store_text_printable (text);
  say (id, title, printable, user_data);
}

void
heal_flush (Store *store, StoreSayFunc say, void *user_data)
{
  Note notes[HEAL_AT_ONCE];
  size_t count = take_notes (store, notes);
  for (size_t i = 0; i < count; i++) {
    if ((notes[i].reasons & HEAL_TEXT) != 0)
      fulltext_queue (store, notes[i].number);
    HealReasons reasons =
        look_again (store, notes[i].number, notes[i].reasons & ~(HealReasons)HEAL_TEXT);
    if (reasons != 0)
      queue_repair (store, notes[i].number, reasons, say, user_data);
  }
}
