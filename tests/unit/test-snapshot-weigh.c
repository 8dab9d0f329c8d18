/* SPDX-License-Identifier: Apache-2.0 */
/* What snapshots weigh is what can be counted in them, whatever has become of their mail since. */
#include "test-store.h"

/* ---- counting by hand ---------------------------------------------------------------------- */

/* Who has a message. */
typedef struct {
  uint64_t size;
  guint snapshots, last;
  bool live;
} Seen;

typedef struct {
  Store *store;
  GHashTable *seen; /* "NUMBER UID" -> Seen */
  guint snapshot;   /* that is counted; G_MAXUINT: the live store */
} Count;

static void
count_message (Count *self, uint32_t number, const StoreMessage *message)
{
  char *key = g_strdup_printf ("%u %u", number, message->uid);
  Seen *seen = g_hash_table_lookup (self->seen, key);
  if (seen == NULL) {
    seen = g_new0 (Seen, 1);
    g_hash_table_insert (self->seen, g_strdup (key), seen);
  }
  g_free (key);
  seen->size = message->size;
  if (self->snapshot == G_MAXUINT)
    seen->live = true;
  else {
    seen->snapshots++;
    seen->last = self->snapshot;
  }
}

static bool
count_node (const StoreNode *node, void *data, GError **error)
{
  Count *self = data;
  StoreMessage page[5];
  size_t count = node->kind == STORE_NODE_MAILBOX;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->store, node->number, error);
  g_assert_nonnull (mailbox);
  for (uint32_t after = 0; count > 0;) {
    if (!store_mailbox_page (mailbox, after, page, G_N_ELEMENTS (page), &count, error))
      return false;
    for (size_t i = 0; i < count; i++) {
      count_message (self, node->number, &page[i]);
      after = page[i].uid;
    }
    store_messages_clear (page, count);
  }
  return store_node_each_child (self->store, node->number, NULL, count_node, self, error);
}

static void
count_store (Store *store, guint snapshot, GHashTable *seen)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) root = {0};
  Count count = {store, seen, snapshot};
  assert_ok (store_node_get (store, STORE_ROOT, &root, &error), error);
  assert_ok (count_node (&root, &count, &error), error);
}

static void
add_seen (const Seen *seen, StoreWeight *weights, uint64_t *kept)
{
  if (seen->live || seen->snapshots == 0)
    return;
  *kept += seen->size;
  if (seen->snapshots > 1)
    return;
  weights[seen->last].own_messages++;
  weights[seen->last].own_bytes += seen->size;
}

static void
add_to (Store *view, StoreWeight *weight)
{
  g_autoptr (GError) error = NULL;
  StoreStatus status;
  assert_ok (store_status (view, &status, &error), error);
  weight->messages = status.messages;
  weight->bytes = status.bytes;
}

/* The weights are those that counting gives. */
static void
assert_weights (Store *store)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (store, &error);
  g_assert_no_error (error);
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  StoreWeight expected[STORE_SNAPSHOTS_MAX] = {0}, weights[STORE_SNAPSHOTS_MAX];
  uint64_t expected_kept = 0, kept;
  for (guint i = 0; i < snapshots->len; i++) {
    const StoreSnapshot *snapshot = snapshots->pdata[i];
    g_autoptr (Store) view = store_snapshot_open (store, snapshot->name, &error);
    g_assert_no_error (error);
    count_store (view, i, seen);
    add_to (view, &expected[i]);
  }
  count_store (store, G_MAXUINT, seen);
  GHashTableIter iter;
  gpointer value;
  g_hash_table_iter_init (&iter, seen);
  while (g_hash_table_iter_next (&iter, NULL, &value))
    add_seen (value, expected, &expected_kept);
  assert_ok (store_snapshot_weigh (store, snapshots, weights, &kept, &error), error);
  g_assert_cmpuint (kept, ==, expected_kept);
  for (guint i = 0; i < snapshots->len; i++)
    g_assert_cmpmem (&weights[i], sizeof *weights, &expected[i], sizeof *expected);
}

/* ---- whatever happens ---------------------------------------------------------------------- */

static void
take (Store *store, const char *name)
{
  g_autoptr (GError) error = NULL;
  assert_ok (store_snapshot_take (store, name, NULL, &error), error);
}

static void
run_words (Store *store, const char *words)
{
  g_autoptr (StoreJob) job = run_job (store, words);
  g_assert_nonnull (job);
}

static void
test_weights (Fixture *fixture, gconstpointer data)
{
  Store *store = fixture->store;
  g_autoptr (GError) error = NULL;
  assert_weights (store);
  g_autoptr (StoreMailbox) inbox = open_named (store, "joe@example.com");
  g_autoptr (StoreMailbox) work = open_named (store, "joe@example.com/Work");
  g_autoptr (StoreMailbox) deep = open_named (store, "joe@example.com/Work/Deep");
  for (int i = 0; i < 9; i++) {
    deliver (inbox, "a message", 0, NULL);
    deliver (i % 2 == 0 ? work : deep, "another one", 0, NULL);
  }
  take (store, "one");
  assert_weights (store);
  run_words (store, "expunge uid=1:3 joe@example.com/INBOX");
  run_words (store, "move uid=4 to=joe@example.com/Work joe@example.com/INBOX");
  deliver (inbox, "a third", 0, NULL);
  take (store, "two");
  assert_weights (store);
  run_words (store, "expunge uid=5 joe@example.com/INBOX");
  run_words (store, "undelete uid=2 joe@example.com/INBOX");
  run_words (store, "flag uid=6 add=Seen joe@example.com/INBOX");
  deliver (inbox, "a fourth", 0, NULL);
  take (store, "three");
  assert_weights (store);
  run_words (store, "expunge uid=2,6 joe@example.com/INBOX");
  run_words (store, "mailbox-rename to=joe@example.com/Play joe@example.com/Work");
  run_words (store, "mailbox-remove recursive joe@example.com/Play");
  assert_weights (store);
  take (store, "four");
  assert_weights (store);
  run_words (store, "cleanup age=0");
  run_words (store, "purge age=0");
  assert_weights (store);
  /* Without an index the files tell. */
  run_words (store, "reset");
  assert_weights (store);
  run_words (store, "reconstruct");
  assert_weights (store);
  assert_ok (store_snapshot_drop (store, "two", &error), error);
  assert_weights (store);
  assert_ok (store_snapshot_drop (store, "one", &error), error);
  run_words (store, "cleanup age=0");
  assert_weights (store);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add ("/snapshot-weigh/weights", Fixture, NULL, set_up, test_weights, tear_down);
  return g_test_run ();
}
