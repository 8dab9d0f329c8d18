/* SPDX-License-Identifier: Apache-2.0 */
/* What is set for a mailbox or a user: on the directory first, then in the list. */
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* RFC 6154, 2, and RFC 8457. */
static const char *const special_uses[] = {"\\All",     "\\Archive",   "\\Drafts",
                                           "\\Flagged", "\\Important", "\\Junk",
                                           "\\Sent",    "\\Trash",     NULL};

/* Changes a state and the row for it; what they have in common is what is set. */
typedef struct {
  const bool *subscribed, *no_index, *full_text; /* NULL: as it is */
  const char *const *special_use;
} Settings;

static bool
write_state (StoreMailbox *node, const Settings *settings, GError **error)
{
  g_auto (NodeState) state = {0};
  bool found = false;
  if (!node_state_read (node->fd, node->kind, &state, &found, error))
    return fail_prefix (error, "'%s'", node->path);
  if (!found)
    return fail (error, EUCLEAN, "'%s' has no state; run 'mailstore reconstruct -m'", node->path);
  if (settings->subscribed != NULL)
    state.subscribed = *settings->subscribed;
  if (settings->no_index != NULL)
    state.no_index = *settings->no_index;
  if (settings->full_text != NULL)
    state.full_text = *settings->full_text;
  if (settings->special_use != NULL) {
    g_free (state.special_use);
    state.special_use = g_strdup (*settings->special_use);
  }
  if (!node_state_write (node->store, node->fd, node->kind, &state, error))
    return fail_prefix (error, "'%s'", node->path);
  return fsync (node->fd) == 0 || fail_errno (error, "sync '%s'", node->path);
}

static bool
write_row (List *list, uint32_t number, const Settings *settings, const Doubt *doubt,
           GError **error)
{
  g_auto (ListNode) row = {0};
  bool found;
  if (!list_get (list, number, &row, &found, error))
    return false;
  if (settings->subscribed != NULL)
    row.subscribed = *settings->subscribed;
  if (settings->no_index != NULL)
    row.no_index = *settings->no_index;
  if (settings->special_use != NULL) {
    g_free (row.special_use);
    row.special_use = g_strdup (*settings->special_use);
  }
  g_autoptr (ListWrite) write = list_write_begin (list, error);
  return write != NULL && list_write_node (write, &row, error) && doubt_end (doubt, write, error) &&
         list_write_commit (write, error);
}

/* Keeps for snapshots what is set now. */
static bool
keep_settings (StoreMailbox *node, const Epoch *epoch, List *list, GError **error)
{
  g_auto (Keep) keep = {0};
  g_auto (ListNode) row = {0};
  bool found;
  if (!list_get (list, node->number, &row, &found, error) || !keep_begin_tree (&keep, epoch, error))
    return false;
  if (found)
    keep_node (&keep, &row, NULL);
  return keep_end (&keep, error) && keep_directory (epoch, node, error);
}

/* The user lock is held. As in a renaming, the list is doubtful until it has followed. */
static bool
apply_locked (StoreMailbox *node, const Settings *settings, GError **error)
{
  g_autoptr (Handle) list = NULL;
  g_auto (Epoch) epoch = EPOCH_NONE;
  auto_fd lock =
      epoch_enter (node->store, &epoch, error) ? lock_list (node->store, &list, error) : -1;
  g_auto (Doubt) doubt = {0};
  if (lock < 0 || !keep_settings (node, &epoch, list->list, error) ||
      !doubt_begin (&doubt, node->store, list->list, node->owner, error))
    return false;
  if (!write_state (node, settings, error)) {
    doubt_drop (&doubt, list->list);
    return false;
  }
  write_row (list->list, node->number, settings, &doubt, NULL);
  return true;
}

/* `kind` is what can be set so. */
static bool
apply (Store *self, uint32_t number, StoreNodeKind kind, const Settings *settings, GError **error)
{
  g_autoptr (StoreMailbox) node = store_mailbox_open (self, number, error);
  if (node == NULL)
    return false;
  if (node->kind != kind && (kind == STORE_NODE_MAILBOX || node->kind != STORE_NODE_SHARED))
    return fail (error, EINVAL, "'%s' is no %s", node->path,
                 kind == STORE_NODE_MAILBOX ? "mailbox" : "user");
  auto_fd lock = lock_mailbox (node, error);
  if (lock < 0 || !apply_locked (node, settings, error))
    return false;
  change_note (self, number, 0);
  return true;
}

bool
store_mailbox_subscribe (Store *self, uint32_t number, bool subscribed, GError **error)
{
  Settings settings = {.subscribed = &subscribed};
  return apply (self, number, STORE_NODE_MAILBOX, &settings, error);
}

const char *
store_special_use (const char *text, GError **error)
{
  for (size_t i = 0; special_uses[i] != NULL; i++) {
    if (g_ascii_strcasecmp (text, special_uses[i] + (*text == '\\' ? 0 : 1)) == 0)
      return special_uses[i];
  }
  g_autofree char *printable = store_text_printable (text);
  g_autofree char *names = g_strjoinv (" ", (char **)special_uses);
  fail (error, EINVAL, "'%s' is no special use; there are %s", printable, names);
  return NULL;
}

bool
store_mailbox_set_special_use (Store *self, uint32_t number, const char *special_use,
                               GError **error)
{
  const char *known = special_use != NULL ? store_special_use (special_use, error) : NULL;
  Settings settings = {.special_use = &known};
  return (special_use == NULL || known != NULL) &&
         apply (self, number, STORE_NODE_MAILBOX, &settings, error);
}

/* ---- the indexes of a user ----------------------------------------------------------------- */

bool
store_user_index (Store *self, uint32_t number, StoreIndexing *out, GError **error)
{
  g_auto (NodeState) state = {0};
  bool found = false;
  g_autoptr (StoreMailbox) user = store_mailbox_open (self, number, error);
  if (user == NULL)
    return false;
  if (user->kind != STORE_NODE_USER && user->kind != STORE_NODE_SHARED)
    return fail (error, EINVAL, "'%s' is no user", user->path);
  if (!node_state_read (user->fd, user->kind, &state, &found, NULL))
    state = (NodeState){0};
  *out = !node_has_index (self, number) ? STORE_INDEX_OFF
         : state.full_text              ? STORE_INDEX_TEXT
                                        : STORE_INDEX_ON;
  return true;
}

static bool
remove_indexes (Store *self, uint32_t number, StoreIndexing indexing, GError **error)
{
  auto_fd lock = lock_user (self, number, error);
  g_autofree char *path = lock >= 0 ? store_node_path (self, number, error) : NULL;
  if (path == NULL)
    return false;
  g_autofree char *index = layout_index_path (self, path);
  g_autofree char *text = layout_fulltext_path (self, path);
  if (!layout_remove_database (text, error))
    return false;
  if (indexing == STORE_INDEX_OFF)
    cache_drop_index (self, number);
  return indexing != STORE_INDEX_OFF || layout_remove_database (index, error);
}

static bool
build_index (Store *self, uint32_t number, GError **error)
{
  g_autofree char *path = store_node_path (self, number, error);
  const char *const words[] = {"reconstruct", path, NULL};
  StoreRequest *request = path != NULL ? store_request_parse (self, words, error) : NULL;
  g_autoptr (StoreJob) job = request != NULL ? store_job_new (self, request) : NULL;
  return job != NULL && store_job_run (job, error);
}

bool
store_user_set_index (Store *self, uint32_t number, StoreIndexing indexing, GError **error)
{
  bool no_index = indexing == STORE_INDEX_OFF, full_text = indexing == STORE_INDEX_TEXT;
  Settings settings = {.no_index = &no_index, .full_text = &full_text};
  StoreIndexing before;
  if (!store_user_index (self, number, &before, error) ||
      !apply (self, number, STORE_NODE_USER, &settings, error))
    return false;
  if (indexing != STORE_INDEX_TEXT && !remove_indexes (self, number, indexing, error))
    return false;
  bool built = indexing == STORE_INDEX_OFF || (full_text && before != STORE_INDEX_OFF) ||
               build_index (self, number, error);
  return built && (!full_text || queue_add_action (self, number, "text", 0, error));
}
