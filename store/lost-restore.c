/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Out of lost and found: back into a mailbox, or away for good. A thing leaves the place where it
 * was only when it is on disk in the new one. Who dies in between has it in both, and nothing is
 * lost.
 */
#include "store/lost.h"

#include <string.h>
#include <unistd.h>

static bool
require_writable (Store *store, GError **error)
{
  return !store_is_read_only (store) ||
         fail (error, EROFS, "the store %s is open read only", store->path);
}

/* ---- as a new message ---------------------------------------------------------------------- */

/* Makes a draft of its bytes, with what is known of it. */
static StoreDraft *
make_draft (Store *store, const StoreLost *lost, GError **error)
{
  g_auto (LostFacts) known = {0};
  g_autofree char *name = NULL;
  if (!lost_learn (store, lost, false, &known, error))
    return NULL;
  StoreFacts facts = {.flags = known.state.flags,
                      .keywords = known.state.keywords,
                      .internal_s = known.date_source != NULL ? known.internal_s : INT64_MIN};
  /* It would be expunged again. */
  if (lost->kind == STORE_LOST_EXPUNGED)
    facts.flags &= ~(uint32_t)STORE_FLAG_DELETED;
  auto_fd parent = lost_open_parent (store, lost, &name, error);
  g_autoptr (StoreDraft) draft = parent >= 0 ? store_draft_new (store, &facts, error) : NULL;
  return draft != NULL && store_draft_take (draft, parent, name, STORE_COPY, error)
             ? g_steal_pointer (&draft)
             : NULL;
}

/* Takes the old one away. One that a snapshot needs may stay. */
static bool
take_away (Store *store, const StoreLost *lost, GError **error)
{
  g_autoptr (GError) failure = NULL;
  bool gone;
  if (lost->kind == STORE_LOST_DAMAGED) {
    g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, lost->number, &failure);
    gone = mailbox != NULL && store_mailbox_expunge (mailbox, &lost->uid, 1, &failure);
  } else {
    gone = lost_kind (lost->kind)->remove (store, lost, &failure);
  }
  if (gone || failure->code == EBUSY || failure->code == ENOENT)
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return fail_prefix (error, "it is in its new place, and still in the old one");
}

static bool
restore_as_new (Store *store, const StoreLost *lost, StoreMailbox *mailbox, uint32_t *out_uid,
                GError **error)
{
  g_autoptr (StoreDraft) draft = make_draft (store, lost, error);
  if (draft == NULL)
    return fail_prefix (error, "'%s'", lost->name);
  if (!store_draft_finish (draft, mailbox, error) ||
      !store_mailbox_append (mailbox, &draft, 1, 0, error) || !take_away (store, lost, error))
    return false;
  *out_uid = store_draft_uid (draft);
  return true;
}

/* ---- as it was ----------------------------------------------------------------------------- */

/* What quarantine has goes back as it is. */
static bool
restore_quarantined (Store *store, const StoreLost *lost, uint32_t *out_uid, GError **error)
{
  if (!store_quarantine_restore (store, lost->path + strlen ("../quarantine/"), error))
    return false;
  *out_uid = lost->uid;
  return true;
}

static bool
restore_expunged (StoreMailbox *mailbox, uint32_t uid, uint32_t *out_uid, GError **error)
{
  if (!store_mailbox_undelete (mailbox, &uid, 1, error))
    return false;
  *out_uid = uid;
  return true;
}

/* Whether there is no message of that UID in the mailbox. */
static bool
is_free (const StoreMailbox *mailbox, uint32_t uid)
{
  char name[STORE_NAME_SIZE];
  store_message_name (uid, name);
  return faccessat (mailbox->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}

static bool
restore_into (Store *store, const StoreLost *lost, StoreMailbox *mailbox, uint32_t *out_uid,
              GError **error)
{
  bool own = lost->uid > 0 && lost->number == mailbox->number && is_free (mailbox, lost->uid);
  if (mailbox->kind != STORE_NODE_MAILBOX)
    return fail (error, EINVAL, "'%s' holds mailboxes, not messages", mailbox->path);
  if (lost->is_directory)
    return fail (error, EINVAL, "'%s' is no message: it can only go back to where it was",
                 lost->name);
  if (!lost->has_bytes)
    return fail (error, EINVAL, "nothing is left of '%s' but what is known of it", lost->name);
  if (own && lost->kind == STORE_LOST_EXPUNGED)
    return restore_expunged (mailbox, lost->uid, out_uid, error);
  if (own && lost->kind == STORE_LOST_QUARANTINE)
    return restore_quarantined (store, lost, out_uid, error);
  return restore_as_new (store, lost, mailbox, out_uid, error);
}

bool
store_lost_restore (Store *self, const StoreLost *lost, uint32_t number, uint32_t *out_uid,
                    GError **error)
{
  if (!require_writable (self, error))
    return false;
  if (number == STORE_ROOT && lost->kind == STORE_LOST_QUARANTINE)
    return restore_quarantined (self, lost, out_uid, error);
  if (number == STORE_ROOT && lost->number == STORE_ROOT)
    return fail (error, EINVAL, "it is not known which mailbox '%s' was in", lost->name);
  g_autoptr (StoreMailbox) mailbox =
      store_mailbox_open (self, number != STORE_ROOT ? number : lost->number, error);
  return mailbox != NULL && restore_into (self, lost, mailbox, out_uid, error);
}

bool
store_lost_remove (Store *self, const StoreLost *lost, GError **error)
{
  return require_writable (self, error) && lost_kind (lost->kind)->remove (self, lost, error);
}
