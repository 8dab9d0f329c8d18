/* SPDX-License-Identifier: Apache-2.0 */
#include "store/import.h"
#include "store/internal.h"

#include <stdlib.h>
#include <string.h>

/* A message that was in the mailbox before the import, `count` times. */
typedef struct {
  uint8_t sha256[32];
  int count;
  int met; /* in the source so far */
} Known;

struct Target {
  StoreMailbox *mailbox;
  GError *failure;
  GArray *known; /* of Known, sorted */
  bool keeps_uids;
  uint32_t uidvalidity, uidnext; /* the source's */
};

struct Targets {
  Store *store;
  bool dry_run;
  char *spelling;      /* of the base */
  int lock_fd;         /* keeps other imports into the user out; -1 in a dry run */
  uint32_t base;       /* the node that folders go below; 0: it does not exist (yet) */
  bool base_is_inbox;  /* it is a mailbox, which takes what is in the source's INBOX */
  GHashTable *by_node; /* number -> Target: two folders may be one mailbox */
  GPtrArray *nodeless; /* of Target */
};

static void
free_target (gpointer data)
{
  Target *self = data;
  g_clear_pointer (&self->mailbox, store_mailbox_unref);
  g_clear_error (&self->failure);
  g_array_unref (self->known);
  g_free (self);
}

void
targets_free (Targets *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref (self->by_node);
  g_ptr_array_unref (self->nodeless);
  store_close_fd (&self->lock_fd);
  g_free (self->spelling);
  g_free (self);
}

static bool
take_base (Targets *self, const StoreNode *node, GError **error)
{
  if (node->kind < STORE_NODE_USER)
    return fail (error, EINVAL, "'%s' is neither a user nor a mailbox", self->spelling);
  self->base = node->number;
  self->base_is_inbox = node->kind == STORE_NODE_MAILBOX;
  if (!self->dry_run)
    self->lock_fd = lock_task (self->store, node->owner, LOCK_IMPORT, error);
  return self->dry_run || self->lock_fd >= 0;
}

/* What is not there yet is made when there is something to bring in. */
static bool
find_base (Targets *self, GError **error)
{
  g_auto (StoreNode) node = {0};
  g_autoptr (GError) failure = NULL;
  if (store_node_resolve (self->store, self->spelling, &node, &failure))
    return take_base (self, &node, error);
  if (error_code (failure) == ENOENT)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

static bool
make_base (Targets *self, GError **error)
{
  g_auto (StoreNode) made = {0};
  g_auto (StoreNode) node = {0};
  /* Of a user INBOX is made as well, and the user is the base. */
  return store_mailbox_create (self->store, self->spelling, &made, error) &&
         store_node_resolve (self->store, self->spelling, &node, error) &&
         take_base (self, &node, error);
}

Targets *
targets_new (Store *store, const char *spelling, bool dry_run, GError **error)
{
  Targets *self = g_new0 (Targets, 1);
  self->store = store;
  self->dry_run = dry_run;
  self->spelling = g_strdup (spelling);
  self->lock_fd = -1;
  self->by_node = g_hash_table_new_full (NULL, NULL, NULL, free_target);
  self->nodeless = g_ptr_array_new_with_free_func (free_target);
  if (find_base (self, error))
    return self;
  targets_free (self);
  return NULL;
}

uint64_t
targets_count (const Targets *self)
{
  uint64_t count = g_hash_table_size (self->by_node);
  for (guint i = 0; i < self->nodeless->len; i++)
    count += target_failure (self->nodeless->pdata[i]) == NULL;
  return count;
}

/* ---- folders --------------------------------------------------------------------------------- */

/* Names below the base: INBOX has one spelling, and is the base itself when that is a mailbox. */
static GPtrArray *
names_below_base (const Targets *self, const char *const *folder)
{
  GPtrArray *names = g_ptr_array_new ();
  bool is_inbox = g_ascii_strcasecmp (folder[0], "INBOX") == 0;
  if (!is_inbox || !self->base_is_inbox)
    g_ptr_array_add (names, (char *)(is_inbox ? "INBOX" : folder[0]));
  for (const char *const *level = folder + 1; *level != NULL; level++)
    g_ptr_array_add (names, (char *)*level);
  g_ptr_array_add (names, NULL);
  return names;
}

/* Looks for the mailbox; its number is 0 when there is none. */
static bool
find_mailbox (Targets *self, const char *const *names, StoreNode *out, GError **error)
{
  uint32_t number = self->base;
  for (; *names != NULL && number != 0; names++) {
    g_auto (StoreNode) child = {0};
    bool found = false;
    g_autofree char *name = store_name_escape (*names, NULL);
    if (!store_node_find (self->store, number, name, &child, &found, error))
      return false;
    number = found ? child.number : 0;
  }
  out->number = number;
  return true;
}

static int
compare_known (const void *a, const void *b)
{
  return memcmp (a, b, sizeof ((Known *)0)->sha256);
}

static void
add_known (gpointer key, gpointer value, gpointer user_data)
{
  Known known = {.count = GPOINTER_TO_INT (value)};
  memcpy (known.sha256, g_bytes_get_data (key, NULL), sizeof known.sha256);
  g_array_append_val ((GArray *)user_data, known);
}

static bool
load_known (Target *target, GError **error)
{
  g_autoptr (GHashTable) digests = store_mailbox_digests (target->mailbox, error);
  if (digests == NULL)
    return false;
  g_hash_table_foreach (digests, add_known, target->known);
  g_array_sort (target->known, compare_known);
  return true;
}

/* Takes the source's UIDVALIDITY over where that is possible. Its next UID has to wait for the
 * messages, which could not keep theirs otherwise. */
static bool
adopt_uidvalidity (Target *target, const SourceMessage *folder, GError **error)
{
  g_autoptr (GError) failure = NULL;
  StoreMailboxInfo info;
  target->uidvalidity = folder->uidvalidity;
  target->uidnext = folder->uidnext;
  if (folder->uidvalidity == 0)
    return true;
  if (!store_mailbox_set_uidvalidity (target->mailbox, folder->uidvalidity, 1, &failure) &&
      error_code (failure) != EBUSY) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  if (!store_mailbox_info (target->mailbox, &info, error))
    return false;
  target->keeps_uids = info.uidvalidity == folder->uidvalidity;
  return true;
}

static bool
is_fault_of_name (const GError *failure)
{
  int code = error_code (failure);
  return code == ENAMETOOLONG || code == EINVAL || code == EILSEQ || code == ENOTDIR;
}

static Target *
add_target (Targets *self, uint32_t number, const GError *failure)
{
  Target *target = g_new0 (Target, 1);
  target->known = g_array_new (FALSE, FALSE, sizeof (Known));
  target->failure = failure != NULL ? g_error_copy (failure) : NULL;
  if (number == 0)
    g_ptr_array_add (self->nodeless, target);
  else
    g_hash_table_insert (self->by_node, GUINT_TO_POINTER (number), target);
  return target;
}

Target *
targets_begin (Targets *self, const SourceMessage *folder, GError **error)
{
  if (self->base == 0 && !self->dry_run && !make_base (self, error))
    return NULL;
  g_autoptr (GError) failure = NULL;
  g_autoptr (GPtrArray) below = names_below_base (self, folder->folder);
  const char *const *names = (const char *const *)below->pdata;
  g_auto (StoreNode) node = {0};
  bool ok = self->dry_run
                ? find_mailbox (self, names, &node, &failure)
                : store_mailbox_create_at (self->store, self->base, names, &node, &failure);
  if (!ok && !is_fault_of_name (failure)) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return NULL;
  }
  Target *target = g_hash_table_lookup (self->by_node, GUINT_TO_POINTER (node.number));
  if (target != NULL)
    return target;
  target = add_target (self, node.number, failure);
  if (node.number == 0)
    return target;
  target->mailbox = store_mailbox_open (self->store, node.number, error);
  if (target->mailbox == NULL || (!self->dry_run && !adopt_uidvalidity (target, folder, error)) ||
      !load_known (target, error))
    return NULL;
  if (folder->subscribed && !node.subscribed && !self->dry_run &&
      !store_mailbox_subscribe (self->store, node.number, true, error))
    return NULL;
  return target;
}

/* ---- one target ------------------------------------------------------------------------------ */

const GError *
target_failure (const Target *self)
{
  return self->failure;
}

StoreMailbox *
target_mailbox (const Target *self)
{
  return self->mailbox;
}

bool
target_keeps_uids (const Target *self)
{
  return self->keeps_uids;
}

bool
target_has_known (const Target *self)
{
  return self->known->len > 0;
}

bool
target_take_known (Target *self, const uint8_t sha256[32])
{
  Known *known =
      bsearch (sha256, self->known->data, self->known->len, sizeof *known, compare_known);
  return known != NULL && known->met++ < known->count;
}

bool
target_end (Target *self, GError **error)
{
  bool is_known = self->keeps_uids && self->uidnext > 0 && self->uidnext <= STORE_UID_MAX;
  return !is_known ||
         store_mailbox_set_uidvalidity (self->mailbox, self->uidvalidity, self->uidnext, error);
}
