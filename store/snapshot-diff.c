/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot-diff: what is different between two snapshots, or between one and the store as it is.
 *
 * Directories are known by their numbers, which outlive every rename, and messages by their UIDs.
 * All directories of the older one are looked up in the newer one, then the other way round for
 * those that were added; the messages of each mailbox are read page by page from both. So memory
 * does not grow with the store, as long as the differences are told when they are found.
 *
 * No lock is held. What changes meanwhile in the store as it is may be told or not.
 */
#include "store/jobs.h"
#include "store/verbs.h"

#include <string.h>

#define PAGE 128u

/* So many differences are kept for who asks later; more are only for who listens. */
#define KEPT_MAX 10000u

typedef struct {
  StoreJob *job;
  Store *old, *new;            /* `new` may be the live store */
  GArray *old_tops, *new_tops; /* uint32_t: what is compared, with all below it */
} Diff;

/* ---- directories --------------------------------------------------------------------------- */

/* The directory of that number; absence is no error. */
static bool
find_number (Store *store, uint32_t number, StoreNode *out, bool *out_found, GError **error)
{
  g_autoptr (GError) failure = NULL;
  *out_found = store_node_get (store, number, out, &failure);
  if (*out_found || error_code (failure) == ENOENT)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static bool
has_top (const GArray *tops, uint32_t number)
{
  for (guint i = 0; i < tops->len; i++) {
    if (g_array_index (tops, uint32_t, i) == number)
      return true;
  }
  return false;
}

/* Whether the directory is one of `tops`, or lies below one. */
static bool
is_below (Store *store, const GArray *tops, uint32_t number)
{
  g_auto (StoreNode) node = {.parent = number};
  bool below = has_top (tops, STORE_ROOT) || has_top (tops, number);
  for (uint32_t depth = 0; !below && node.parent != STORE_ROOT && depth < NODE_DEPTH_MAX; depth++) {
    uint32_t above = node.parent;
    store_node_clear (&node);
    if (!store_node_get (store, above, &node, NULL))
      return false;
    below = has_top (tops, node.parent);
  }
  return below;
}

/* ---- telling ------------------------------------------------------------------------------- */

/* Who does not listen, as a mount does not, must be able to keep it all. */
static bool
check_room (const Diff *self, GError **error)
{
  return self->job->tell != NULL || self->job->findings->len < KEPT_MAX ||
         fail (error, E2BIG,
               "there are more than %u differences: name some mailboxes, or ask the store itself",
               KEPT_MAX);
}

static const char *
kind_name (StoreNodeKind kind)
{
  switch (kind) {
  case STORE_NODE_DOMAIN: return "a domain";
  case STORE_NODE_USER: return "a user";
  case STORE_NODE_SHARED: return "shared folders";
  default: return "a directory";
  }
}

/* What is there on one side only. The directory for users goes without saying. */
static bool
tell_node (const Diff *self, StoreProblem what, Store *store, const StoreNode *node, GError **error)
{
  StoreMailboxInfo info;
  g_autofree char *path = store_node_path (store, node->number, error);
  if (path == NULL || !check_room (self, error))
    return false;
  if (node->kind == STORE_NODE_MAILBOX) {
    g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, node->number, error);
    if (mailbox == NULL || !store_mailbox_info (mailbox, &info, error))
      return false;
    job_noted (self->job, what, node->number, 0, path, "a mailbox of %u message%s", info.messages,
               info.messages == 1 ? "" : "s");
  } else if (node->kind != STORE_NODE_USERS)
    job_noted (self->job, what, node->number, 0, path, "%s", kind_name (node->kind));
  return true;
}

static bool
tell_message (const Diff *self, StoreProblem what, const StoreMailbox *mailbox,
              const StoreMessage *message, GError **error)
{
  if (!check_room (self, error))
    return false;
  job_noted (self->job, what, mailbox->number, message->uid, mailbox->path,
             "%" G_GUINT64_FORMAT " bytes", message->size);
  return true;
}

/* Adds "flags: \Seen -> none" to what is different, if it is. */
static void
add_change (GString *changes, const char *what, const char *old, const char *new)
{
  if (g_strcmp0 (old, new) != 0)
    g_string_append_printf (changes, "%s%s: %s -> %s", changes->len > 0 ? ", " : "", what,
                            old != NULL && *old != '\0' ? old : "none",
                            new != NULL &&*new != '\0' ? new : "none");
}

/* ---- messages ------------------------------------------------------------------------------ */

/* The messages of a mailbox, one after the other. */
typedef struct {
  StoreMailbox *mailbox;
  StoreMessage page[PAGE];
  size_t at, count;
  uint32_t after;
} Cursor;

static void
cursor_clear (Cursor *self)
{
  store_messages_clear (self->page + self->at, self->count - self->at);
  g_clear_pointer (&self->mailbox, store_mailbox_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Cursor, cursor_clear)

/* The message that it stands at; NULL at the end. */
static bool
cursor_peek (Cursor *self, const StoreMessage **out, GError **error)
{
  if (self->at == self->count) {
    self->at = self->count = 0;
    if (!store_mailbox_page (self->mailbox, self->after, self->page, PAGE, &self->count, error))
      return false;
  }
  *out = self->at < self->count ? &self->page[self->at] : NULL;
  return true;
}

static void
cursor_step (Cursor *self)
{
  self->after = self->page[self->at].uid;
  store_message_clear (&self->page[self->at++]);
}

static bool
compare_message (const Diff *self, const StoreMailbox *mailbox, const StoreMessage *old,
                 const StoreMessage *new, GError **error)
{
  g_autoptr (GString) changes = g_string_new (NULL);
  g_autofree char *flags = store_flags_to_string (old->flags, old->keywords);
  g_autofree char *new_flags = store_flags_to_string (new->flags, new->keywords);
  add_change (changes, "flags", flags, new_flags);
  if (old->internal_s != new->internal_s)
    g_string_append_printf (changes, "%sinternal date: @%" G_GINT64_FORMAT " -> @%" G_GINT64_FORMAT,
                            changes->len > 0 ? ", " : "", old->internal_s, new->internal_s);
  if (changes->len == 0)
    return true;
  if (!check_room (self, error))
    return false;
  job_noted (self->job, STORE_PROBLEM_DIFFERENT, mailbox->number, new->uid, mailbox->path, "%s",
             changes->str);
  return true;
}

/* Both are in the order of their UIDs. */
static bool
compare_messages (const Diff *self, Cursor *old, Cursor *new, GError **error)
{
  for (;;) {
    const StoreMessage *left, *right;
    if (!job_go_on (self->job, error) || !cursor_peek (old, &left, error) ||
        !cursor_peek (new, &right, error))
      return false;
    if (left == NULL && right == NULL)
      return true;
    bool has_old = left != NULL && (right == NULL || left->uid <= right->uid);
    bool has_new = right != NULL && (left == NULL || right->uid <= left->uid);
    if (!(has_old && has_new ? compare_message (self, new->mailbox, left, right, error)
          : has_old          ? tell_message (self, STORE_PROBLEM_REMOVED, old->mailbox, left, error)
                    : tell_message (self, STORE_PROBLEM_ADDED, new->mailbox, right, error)))
      return false;
    job_looked_at (self->job, 0, 1, 0);
    job_step (self->job, 1, 0);
    if (has_old)
      cursor_step (old);
    if (has_new)
      cursor_step (new);
  }
}

static bool
compare_mailbox (const Diff *self, uint32_t number, GError **error)
{
  g_auto (Cursor) old = {.mailbox = store_mailbox_open (self->old, number, error)};
  g_auto (Cursor) new = {0};
  new.mailbox = old.mailbox != NULL ? store_mailbox_open (self->new, number, error) : NULL;
  job_looked_at (self->job, 1, 0, 0);
  return new.mailbox != NULL &&compare_messages (self, &old, &new, error);
}

/* ---- one directory, and all below it ------------------------------------------------------- */

static const char *
yes_or_no (bool value)
{
  return value ? "yes" : "no";
}

/* Of a directory whose name or place is another one, those below it need not be told. */
static bool
compare_facts (const Diff *self, const StoreNode *old, const StoreNode *new, GError **error)
{
  g_autoptr (GString) changes = g_string_new (NULL);
  g_autofree char *path = store_node_path (self->new, new->number, error);
  if (path == NULL || !check_room (self, error))
    return false;
  if (old->parent != new->parent || strcmp (old->name, new->name) != 0) {
    g_autofree char *before = store_node_path (self->old, old->number, error);
    if (before == NULL)
      return false;
    job_noted (self->job, STORE_PROBLEM_RENAMED, new->number, 0, path, "was %s", before);
  }
  add_change (changes, "subscribed", yes_or_no (old->subscribed), yes_or_no (new->subscribed));
  add_change (changes, "special use", old->special_use, new->special_use);
  add_change (changes, "index", yes_or_no (!old->no_index), yes_or_no (!new->no_index));
  if (changes->len > 0)
    job_noted (self->job, STORE_PROBLEM_DIFFERENT, new->number, 0, path, "%s", changes->str);
  return true;
}

static bool
compare_node (const Diff *self, const StoreNode *old, GError **error)
{
  g_auto (StoreNode) new = {0};
  bool found;
  if (!find_number (self->new, old->number, &new, &found, error))
    return false;
  if (!found)
    return tell_node (self, STORE_PROBLEM_REMOVED, self->old, old, error);
  return compare_facts (self, old, &new, error) &&
         (old->kind != STORE_NODE_MAILBOX || compare_mailbox (self, old->number, error));
}

/* Of the newer one what is not in the older one; or is, but in a place that is not compared. */
static bool
compare_new (const Diff *self, const StoreNode *new, GError **error)
{
  g_auto (StoreNode) old = {0};
  bool found;
  if (!find_number (self->old, new->number, &old, &found, error))
    return false;
  if (!found)
    return tell_node (self, STORE_PROBLEM_ADDED, self->new, new, error);
  return is_below (self->old, self->old_tops, old.number) || compare_node (self, &old, error);
}

typedef bool (*CompareFunc) (const Diff *self, const StoreNode *node, GError **error);

/* What somebody takes out of the live store meanwhile is passed over. */
static bool
visit (Diff *self, Store *store, const StoreNode *node, CompareFunc compare, StoreNodeFunc below,
       GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (!job_go_on (self->job, error))
    return false;
  if (compare (self, node, &failure) &&
      store_node_each_child (store, node->number, NULL, below, self, &failure))
    return true;
  if (is_gone (failure) && self->new == self->job->store)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static bool
visit_old (const StoreNode *node, void *data, GError **error)
{
  Diff *self = data;
  return visit (self, self->old, node, compare_node, visit_old, error);
}

static bool
visit_new (const StoreNode *node, void *data, GError **error)
{
  Diff *self = data;
  return visit (self, self->new, node, compare_new, visit_new, error);
}

static bool
visit_tops (Diff *self, Store *store, const GArray *tops, StoreNodeFunc each, GError **error)
{
  for (guint i = 0; i < tops->len; i++) {
    g_auto (StoreNode) node = {0};
    if (!store_node_get (store, g_array_index (tops, uint32_t, i), &node, error) ||
        !each (&node, self, error))
      return false;
  }
  return true;
}

/* ---- what is compared ---------------------------------------------------------------------- */

static bool
add_top (Store *store, GArray *tops, const char *spelling, bool *found, GError **error)
{
  g_auto (StoreNode) node = {0};
  g_autoptr (GError) failure = NULL;
  if (store_node_resolve (store, spelling, &node, &failure)) {
    g_array_append_val (tops, node.number);
    *found = true;
    return true;
  }
  if (failure->code == ENOENT)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* Each directory is compared once, however often it is named. */
static void
drop_nested (Store *store, GArray *tops)
{
  for (guint i = tops->len; i-- > 0;) {
    uint32_t number = g_array_index (tops, uint32_t, i);
    g_array_remove_index (tops, i);
    if (!is_below (store, tops, number))
      g_array_insert_val (tops, i, number);
  }
}

/* What the names from `first` on mean on either side; none: everything. */
static bool
find_tops (Diff *self, const GPtrArray *names, guint first, GError **error)
{
  static const char *const everything = "";
  for (guint i = first; i < MAX (names->len, first + 1); i++) {
    const char *name = i < names->len ? names->pdata[i] : everything;
    bool found = false;
    if (!add_top (self->old, self->old_tops, name, &found, error) ||
        !add_top (self->new, self->new_tops, name, &found, error))
      return false;
    if (!found)
      return fail (error, ENOENT, i == 1 ? "no snapshot and no mailbox '%s'" : "no mailbox '%s'",
                   name);
  }
  drop_nested (self->old, self->old_tops);
  drop_nested (self->new, self->new_tops);
  return true;
}

/* A snapshot that is gone by now may have been compared in part. */
static bool
check_kept (Store *live, const StoreSnapshot *snapshot, GError **error)
{
  g_auto (StoreSnapshot) now = {0};
  bool kept = store_snapshot_find (live, snapshot->name, &now, NULL);
  return (kept && now.epoch == snapshot->epoch) ||
         fail (error, ESTALE, "snapshot '%s' was dropped or renamed meanwhile", snapshot->name);
}

bool
command_snapshot_diff (StoreJob *job, GError **error)
{
  const GPtrArray *names = job->request->names;
  Store *live = job->store;
  g_auto (StoreSnapshot) first = {0}, second = {0};
  if (!store_snapshot_find (live, names->pdata[0], &first, error))
    return false;
  bool two = names->len > 1 && store_snapshot_find (live, names->pdata[1], &second, NULL);
  g_autoptr (Store) old = store_snapshot_open (live, first.name, error);
  g_autoptr (Store) other =
      old != NULL && two ? store_snapshot_open (live, second.name, error) : NULL;
  if (old == NULL || (two && other == NULL))
    return false;
  g_autoptr (GArray) old_tops = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  g_autoptr (GArray) new_tops = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  Diff diff = {job, old, two ? other : live, old_tops, new_tops};
  return find_tops (&diff, names, two ? 2 : 1, error) &&
         visit_tops (&diff, diff.old, old_tops, visit_old, error) &&
         visit_tops (&diff, diff.new, new_tops, visit_new, error) &&
         check_kept (live, &first, error) && (!two || check_kept (live, &second, error));
}
