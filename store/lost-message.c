/* SPDX-License-Identifier: Apache-2.0 */
/* Lost messages that have a file: the expunged ones, and those that are damaged. */
#include "store/life.h"
#include "store/lost.h"

#include <string.h>

/* The UID that the rest of a name tells; 0: it is none. */
static uint32_t
parse_rest (const char *rest)
{
  return rest != NULL ? store_message_uid (rest) : 0;
}

StoreLost
lost_message (StoreLostKind kind, uint32_t number, uint32_t uid)
{
  char name[STORE_NAME_SIZE];
  store_message_name (uid, name);
  return (StoreLost){.kind = kind,
                     .number = number,
                     .uid = uid,
                     .name = g_strdup_printf ("%08u-%s", number, name)};
}

/* One that lies in the mailbox, or among the expunged. */
static bool
look_at (StoreMailbox *mailbox, StoreLostKind kind, uint32_t uid, bool expunged, StoreLost *out,
         bool *out_found, GError **error)
{
  char below[32];
  StoreLost lost = lost_message (kind, mailbox->number, uid);
  layout_message_path (uid, expunged, below);
  lost.path = g_build_filename (mailbox->path, below, NULL);
  return lost_look (mailbox->store, lost, out, out_found, error);
}

static StoreMailbox *
open_mailbox (Store *store, uint32_t number, GError **error)
{
  StoreMailbox *mailbox = store_mailbox_open (store, number, error);
  if (mailbox == NULL || mailbox->kind == STORE_NODE_MAILBOX)
    return mailbox;
  store_mailbox_unref (mailbox);
  fail (error, ENOENT, "directory %u is no mailbox", number);
  return NULL;
}

/* ---- expunged ------------------------------------------------------------------------------ */

static bool
page_expunged (Store *store, uint32_t number, const char *after, StoreLost *out, size_t capacity,
               size_t *out_count, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = open_mailbox (store, number, error);
  g_autoptr (GArray) uids = mailbox != NULL ? expunge_uids_kept (mailbox, error) : NULL;
  size_t count = 0;
  if (uids == NULL)
    return false;
  for (guint i = uids_first_above (uids, parse_rest (after)); i < uids->len && count < capacity;
       i++) {
    bool found;
    if (!look_at (mailbox, STORE_LOST_EXPUNGED, g_array_index (uids, uint32_t, i), true,
                  &out[count], &found, error)) {
      store_losts_clear (out, count);
      return false;
    }
    count += found;
  }
  *out_count = count;
  return true;
}

static bool
find_expunged (Store *store, uint32_t number, const char *rest, StoreLost *out, bool *out_found,
               GError **error)
{
  uint32_t uid = parse_rest (rest);
  g_autoptr (StoreMailbox) mailbox = uid > 0 ? open_mailbox (store, number, error) : NULL;
  return uid == 0 || (mailbox != NULL &&
                      look_at (mailbox, STORE_LOST_EXPUNGED, uid, true, out, out_found, error));
}

static bool
remove_expunged (Store *store, const StoreLost *lost, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = open_mailbox (store, lost->number, error);
  return mailbox != NULL && life_remove_expunged (mailbox, lost->uid, error);
}

const LostKind lost_expunged = {.in_mailboxes = true,
                                .page = page_expunged,
                                .find = find_expunged,
                                .remove = remove_expunged,
                                .why = "it was expunged"};

/* ---- damaged ------------------------------------------------------------------------------- */

/* Whether the index is right, and says that no message is damaged. */
static bool
is_sound (StoreMailbox *mailbox)
{
  g_auto (View) view = {0};
  return view_begin (mailbox, &view, NULL) && view.uids == NULL && view.row.damaged == 0;
}

/* Those of one page of messages; `*after` is the last of them, 0 at the end. */
static bool
add_damaged (StoreMailbox *mailbox, uint32_t *after, StoreLost *out, size_t capacity, size_t *count,
             GError **error)
{
  StoreMessage page[128];
  size_t there;
  if (!store_mailbox_page (mailbox, *after, page, MIN (capacity - *count, G_N_ELEMENTS (page)),
                           &there, error))
    return false;
  bool good = true;
  for (size_t i = 0; i < there && good; i++) {
    bool found = false;
    good = (page[i].damage & STORE_DAMAGE_GRAVE) == 0 ||
           look_at (mailbox, STORE_LOST_DAMAGED, page[i].uid, false, &out[*count], &found, error);
    *count += found;
  }
  *after = there > 0 ? page[there - 1].uid : 0;
  store_messages_clear (page, there);
  return good;
}

static bool
page_damaged (Store *store, uint32_t number, const char *after, StoreLost *out, size_t capacity,
              size_t *out_count, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = open_mailbox (store, number, error);
  uint32_t uid = parse_rest (after);
  size_t count = 0;
  if (mailbox == NULL)
    return false;
  bool more = !is_sound (mailbox);
  while (more && count < capacity) {
    if (!add_damaged (mailbox, &uid, out, capacity, &count, error)) {
      store_losts_clear (out, count);
      return false;
    }
    more = uid != 0;
  }
  *out_count = count;
  return true;
}

static bool
find_damaged (Store *store, uint32_t number, const char *rest, StoreLost *out, bool *out_found,
              GError **error)
{
  uint32_t uid = parse_rest (rest);
  g_auto (StoreMessage) message = {0};
  g_autoptr (StoreMailbox) mailbox = uid > 0 ? open_mailbox (store, number, error) : NULL;
  bool there = false;
  if (uid == 0)
    return true;
  if (mailbox == NULL || !store_message_find (mailbox, uid, &message, &there, error))
    return false;
  return !there || (message.damage & STORE_DAMAGE_GRAVE) == 0 ||
         look_at (mailbox, STORE_LOST_DAMAGED, uid, false, out, out_found, error);
}

static bool
remove_damaged (Store *store, const StoreLost *lost, GError **error)
{
  return fail (error, EINVAL, "'%s' is a message of '%s': expunge it there", lost->name,
               lost->path);
}

const LostKind lost_damaged = {.in_mailboxes = true,
                               .page = page_damaged,
                               .find = find_damaged,
                               .remove = remove_damaged,
                               .why = "its bytes are not those that were delivered"};
