/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots against a model: thousands of changes of every kind, in an order that a seed gives,
 * with snapshots taken, dropped and renamed in between. The model is what the store is to be like;
 * each snapshot must show, to the last attribute and time, what the store showed when it was taken,
 * whatever happened since, and still does when all that is only a cache has been deleted.
 *
 * MAILFS_MODEL_STEPS and MAILFS_MODEL_SEED ask for longer or other runs.
 */
#include "tests/unit/snapshot-model.h"

#include <stdlib.h>

#define STEPS         160
#define SNAPSHOTS_MAX 7
#define LOOK_EVERY    12

typedef struct {
  char *name;
  char *facts, *shown; /* by the model; and all that the store showed */
  Store *view;         /* open since it was taken */
  GPtrArray *mail;     /* of Mail that it has */
} Taken;

typedef struct {
  Fixture fixture;
  Store *stores[2]; /* as two processes would have them open */
  Model model;
  GRand *random;
  GPtrArray *taken; /* of Taken, the oldest first */
  unsigned count;   /* of everything that wants a name of its own */
} World;

static unsigned
pick (World *self, unsigned below)
{
  return (unsigned)g_rand_int_range (self->random, 0, (gint32)below);
}

static Store *
any_store (World *self)
{
  return self->stores[pick (self, 2)];
}

/* A box that is there and holds messages; with `live` some that are not expunged, or NULL when none
 * was met. There is always the INBOX of user0. */
static Box *
any_box (World *self, bool live)
{
  for (int attempt = 0; attempt < 20 || !live; attempt++) {
    Box *box = self->model.boxes->pdata[pick (self, self->model.boxes->len)];
    unsigned count = 0;
    for (guint i = 0; i < box->mail->len; i++)
      count += !((Mail *)box->mail->pdata[i])->expunged;
    if (box->kind == STORE_NODE_MAILBOX && box_is_there (box) && (!live || count > 0))
      return box;
  }
  return NULL;
}

/* Up to five messages of the box, expunged ones or others; owned by the caller. */
static GPtrArray *
any_mail (World *self, const Box *box, bool expunged)
{
  GPtrArray *some = g_ptr_array_new ();
  unsigned wanted = 1 + pick (self, 5),
           first = box->mail->len > 0 ? pick (self, box->mail->len) : 0;
  for (guint i = 0; i < box->mail->len && some->len < wanted; i++) {
    Mail *mail = box->mail->pdata[(first + i) % box->mail->len];
    if (mail->expunged == expunged && !mail->cleaned)
      g_ptr_array_add (some, mail);
  }
  return some;
}

static uint32_t *
uids_of (const GPtrArray *some)
{
  uint32_t *uids = g_new (uint32_t, some->len + 1);
  for (guint i = 0; i < some->len; i++)
    uids[i] = ((Mail *)some->pdata[i])->uid;
  return uids;
}

static StoreMailbox *
open_box (Store *store, const Box *box)
{
  g_autoptr (GError) error = NULL;
  StoreMailbox *mailbox = store_mailbox_open (store, box->number, &error);
  g_assert_no_error (error);
  return mailbox;
}

/* ---- changes to messages ------------------------------------------------------------------- */

static Mail *
add_mail (Box *box, uint32_t uid, uint32_t flags, const char *keywords, int64_t internal_s,
          const char *sha)
{
  Mail *mail = g_new0 (Mail, 1);
  *mail = (Mail){.uid = uid,
                 .flags = flags,
                 .keywords = g_strdup (keywords),
                 .internal_s = internal_s,
                 .sha = g_strdup (sha)};
  g_ptr_array_add (box->mail, mail);
  return mail;
}

static const char *
any_keywords (World *self)
{
  static const char *const keywords[] = {NULL, "Work", "$Label1 Work", "a b c"};
  return keywords[pick (self, G_N_ELEMENTS (keywords))];
}

static StoreDraft *
any_draft (World *self, StoreMailbox *mailbox, StoreFacts *out_facts, char **out_sha)
{
  g_autoptr (GError) error = NULL;
  StoreFacts facts = {.flags = pick (self, 32),
                      .keywords = any_keywords (self),
                      .internal_s = 1500000000 + pick (self, 100000000)};
  StoreDraft *draft = store_draft_new (mailbox->store, &facts, &error);
  g_assert_no_error (error);
  g_autofree char *text =
      g_strdup_printf ("Subject: %u\r\n\r\n%0*d\r\n", ++self->count, (int)pick (self, 300), 1);
  assert_ok (store_draft_write (draft, text, strlen (text), &error), error);
  assert_ok (store_draft_finish (draft, mailbox, &error), error);
  *out_facts = facts;
  *out_sha = g_compute_checksum_for_string (G_CHECKSUM_SHA256, text, -1);
  return draft;
}

static void
deliver_some (World *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self, false);
  StoreDraft *drafts[3];
  StoreFacts facts[3];
  char *shas[3];
  unsigned count = 1 + pick (self, 3);
  g_autoptr (StoreMailbox) mailbox = open_box (any_store (self), box);
  for (unsigned i = 0; i < count; i++)
    drafts[i] = any_draft (self, mailbox, &facts[i], &shas[i]);
  assert_ok (store_mailbox_append (mailbox, drafts, count,
                                   pick (self, 4) == 0 ? STORE_APPEND_BULK : 0, &error),
             error);
  for (unsigned i = 0; i < count; i++) {
    add_mail (box, store_draft_uid (drafts[i]), facts[i].flags, facts[i].keywords,
              facts[i].internal_s, shas[i]);
    store_draft_free (drafts[i]);
    g_free (shas[i]);
  }
}

static void
flag_some (World *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self, true);
  if (box == NULL)
    return;
  g_autoptr (StoreMailbox) mailbox = open_box (any_store (self), box);
  g_autoptr (GPtrArray) some = any_mail (self, box, false);
  g_autofree uint32_t *uids = uids_of (some);
  StoreFlagsChange change = pick (self, 3);
  uint32_t flags = pick (self, 32);
  const char *keywords = any_keywords (self);
  assert_ok (store_message_flag (mailbox, uids, some->len, change, flags, keywords, &error), error);
  for (guint i = 0; i < some->len; i++) {
    Mail *mail = some->pdata[i];
    mail->flags = change == STORE_FLAGS_ADD      ? mail->flags | flags
                  : change == STORE_FLAGS_REMOVE ? mail->flags & ~flags
                                                 : flags;
    char *changed = keywords_change (mail->keywords, keywords, change);
    g_free (mail->keywords);
    mail->keywords = changed;
  }
}

static void
expunge_some (World *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self, true);
  if (box == NULL)
    return;
  g_autoptr (StoreMailbox) mailbox = open_box (any_store (self), box);
  g_autoptr (GPtrArray) some = any_mail (self, box, false);
  g_autofree uint32_t *uids = uids_of (some);
  assert_ok (store_mailbox_expunge (mailbox, uids, some->len, &error), error);
  for (guint i = 0; i < some->len; i++)
    ((Mail *)some->pdata[i])->expunged = true;
}

static void
undelete_some (World *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self, false);
  g_autoptr (StoreMailbox) mailbox = open_box (any_store (self), box);
  g_autoptr (GPtrArray) some = any_mail (self, box, true);
  g_autofree uint32_t *uids = uids_of (some);
  assert_ok (store_mailbox_undelete (mailbox, uids, some->len, &error), error);
  for (guint i = 0; i < some->len; i++) {
    Mail *mail = some->pdata[i];
    mail->expunged = false;
    mail->flags &= ~(uint32_t)STORE_FLAG_DELETED;
  }
}

static void
transfer_some (World *self)
{
  g_autoptr (GError) error = NULL;
  Box *from = any_box (self, true), *to = any_box (self, false);
  bool moves = pick (self, 3) > 0;
  if (from == NULL || from == to)
    return;
  Store *store = any_store (self);
  g_autoptr (StoreMailbox) source = open_box (store, from);
  g_autoptr (StoreMailbox) target = open_box (store, to);
  g_autoptr (GPtrArray) some = any_mail (self, from, false);
  g_autofree uint32_t *uids = uids_of (some), *copies = g_new0 (uint32_t, some->len + 1);
  assert_ok ((moves ? store_mailbox_move : store_mailbox_copy) (source, uids, some->len, target,
                                                                copies, &error),
             error);
  for (guint i = 0; i < some->len; i++) {
    Mail *mail = some->pdata[i];
    add_mail (to, copies[i], mail->flags, mail->keywords, mail->internal_s, mail->sha);
    mail->expunged = moves;
  }
}

/* ---- changes to mailboxes ------------------------------------------------------------------ */

/* Takes into the model what was made below `parent`. */
static void
learn (World *self, Store *store, Box *parent)
{
  StoreNode page[64];
  size_t count;
  g_autoptr (GError) error = NULL;
  assert_ok (
      store_node_children (store, parent->number, NULL, page, G_N_ELEMENTS (page), &count, &error),
      error);
  for (size_t i = 0; i < count; i++) {
    Box *box = model_child (&self->model, parent, page[i].name);
    StoreMailboxInfo info = {0};
    if (page[i].kind == STORE_NODE_MAILBOX) {
      g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, page[i].number, &error);
      assert_ok (store_mailbox_info (mailbox, &info, &error), error);
    }
    if (box == NULL)
      box = model_add (&self->model, parent, &page[i], info.uidvalidity);
    learn (self, store, box);
  }
  store_nodes_clear (page, count);
}

static void
create_user (World *self)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  Store *store = any_store (self);
  g_autofree char *name = g_strdup_printf ("user%u@%s", pick (self, 4),
                                           pick (self, 4) > 0 ? "example.com" : "example.org");
  assert_ok (store_mailbox_create (store, name, &node, &error), error);
  learn (self, store, self->model.boxes->pdata[0]);
}

/* Names come again and again, so that other mailboxes get those of mailboxes that were removed. */
static char *
any_name (World *self)
{
  static const char *const names[] = {"Work", "Sent", "Größe", "a b%c", ".hidden", "Old", "-"};
  unsigned which = pick (self, G_N_ELEMENTS (names) + 1);
  return which < G_N_ELEMENTS (names) ? g_strdup (names[which])
                                      : g_strdup_printf ("%0300u", pick (self, 3));
}

/* A mailbox, or sometimes the user that it belongs to. */
static Box *
any_parent (World *self)
{
  Box *box = any_box (self, false);
  while (pick (self, 2) == 0 && box->kind == STORE_NODE_MAILBOX)
    box = box->parent;
  return box;
}

static void
create_box (World *self)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  Box *parent = any_parent (self);
  g_autofree char *name = any_name (self);
  const char *names[] = {name, NULL};
  Store *store = any_store (self);
  assert_ok (store_mailbox_create_at (store, parent->number, names, &node, &error), error);
  if (model_child (&self->model, parent, node.name) != NULL)
    return;
  StoreMailboxInfo info;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, node.number, &error);
  g_assert_no_error (error);
  if (pick (self, 4) == 0)
    assert_ok (
        store_mailbox_set_uidvalidity (mailbox, 1000 + ++self->count, 1 + pick (self, 50), &error),
        error);
  assert_ok (store_mailbox_info (mailbox, &info, &error), error);
  model_add (&self->model, parent, &node, info.uidvalidity);
}

static bool
is_inbox (const Box *box)
{
  return strcmp (box->name, NODE_INBOX) == 0 && box->parent->kind == STORE_NODE_USER;
}

static void
rename_box (World *self)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  Box *box = any_box (self, false), *parent = any_parent (self);
  const Box *owner = parent;
  while (owner->kind == STORE_NODE_MAILBOX)
    owner = owner->parent;
  if (is_inbox (box) || box_is_within (parent, box) || !box_is_within (box, owner))
    return;
  Store *store = any_store (self);
  g_autofree char *name = g_strdup_printf ("%0*u", pick (self, 4) == 0 ? 300 : 1, pick (self, 30));
  g_autofree char *title = store_node_title (store, parent->number, &error);
  g_autofree char *spelling = g_strconcat (title, "/", name, NULL);
  bool found;
  g_autofree char *escaped = store_name_escape (name, NULL);
  assert_ok (store_node_find (store, parent->number, escaped, &node, &found, &error), error);
  if (found) {
    assert_fails (store_mailbox_rename (store, box->number, spelling, &error), error, EEXIST);
    return;
  }
  assert_ok (store_mailbox_rename (store, box->number, spelling, &error), error);
  g_free (box->name);
  box->name = g_steal_pointer (&escaped);
  box->parent = parent;
}

static void
remove_box (World *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self, false);
  if (is_inbox (box) || pick (self, 8) == 0) {
    while (box->kind == STORE_NODE_MAILBOX)
      box = box->parent;
    if (strcmp (box->name, "user0") == 0)
      return;
  }
  g_free (box->place);
  g_free (box->was);
  box->was = box_path (box);
  box->place = NULL;
  assert_ok (store_mailbox_remove (any_store (self), box->number, true, &box->place, &error),
             error);
  box->removed = true;
}

/* One that was removed comes back, if the place where it was is there and free. */
static void
restore_box (World *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = self->model.boxes->pdata[pick (self, self->model.boxes->len)];
  if (!box->removed || box->place == NULL || !box_is_there (box->parent) ||
      model_child (&self->model, box->parent, box->name) != NULL)
    return;
  g_autofree char *path = box_path (box);
  if (strcmp (path, box->was) != 0)
    return;
  assert_ok (store_quarantine_restore (any_store (self), box->place, &error), error);
  box->removed = false;
}

static void
set_box (World *self)
{
  static const char *const uses[] = {NULL, "\\Sent", "\\Junk"};
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self, false);
  Store *store = any_store (self);
  if (pick (self, 2) == 0) {
    box->subscribed = pick (self, 2);
    assert_ok (store_mailbox_subscribe (store, box->number, box->subscribed, &error), error);
    return;
  }
  const char *use = uses[pick (self, G_N_ELEMENTS (uses))];
  assert_ok (store_mailbox_set_special_use (store, box->number, use, &error), error);
  g_free (box->special_use);
  box->special_use = g_strdup (use);
}

static void
set_user (World *self)
{
  g_autoptr (GError) error = NULL;
  Box *box = any_box (self, false);
  while (box->kind == STORE_NODE_MAILBOX)
    box = box->parent;
  box->off = pick (self, 2);
  assert_ok (store_user_set_index (any_store (self), box->number, !box->off, &error), error);
}

/* ---- what administrators do ---------------------------------------------------------------- */

static char *
mail_path (World *self, const Box *box, const Mail *mail)
{
  char below[32];
  g_autofree char *path = box_path (box);
  layout_message_path (mail->uid, true, below);
  return g_build_filename (self->fixture.path, "mail", path, below, NULL);
}

/* Whatever no snapshot has is gone for good, and nothing else. */
static void
clean_up (World *self)
{
  store_job_free (run_job (any_store (self), "cleanup age=0"));
  for (guint i = 0; i < self->model.boxes->len; i++) {
    Box *box = self->model.boxes->pdata[i];
    for (guint k = 0; k < box->mail->len && box_is_there (box); k++) {
      Mail *mail = box->mail->pdata[k];
      g_autofree char *path = mail_path (self, box, mail);
      if (!mail->expunged)
        continue;
      if ((access (path, F_OK) == 0) != (mail->needed > 0))
        g_error ("%s %s, though %u snapshots have it", path,
                 mail->needed > 0 ? "is gone" : "is there", mail->needed);
      mail->cleaned = mail->cleaned || mail->needed == 0;
    }
  }
}

/* Nothing that was removed can come back any more. */
static void
purge (World *self)
{
  g_autoptr (StoreJob) job = run_job (any_store (self), "purge age=0");
  for (guint i = 0; i < self->model.boxes->len; i++) {
    Box *box = self->model.boxes->pdata[i];
    g_clear_pointer (&box->place, g_free);
  }
}

static void
run_command (World *self, const char *words)
{
  store_job_free (run_job (any_store (self), words));
}

static void
lose_caches (World *self)
{
  switch (pick (self, 3)) {
  case 0: run_in (&self->fixture, "rm -rf index mailboxes.sqlite3*", ""); break;
  case 1: run_in (&self->fixture, "rm -rf index/example.com", ""); break;
  default: run_in (&self->fixture, "rm -f mailboxes.sqlite3*", ""); break;
  }
}

static void
reopen_one (World *self)
{
  g_autoptr (GError) error = NULL;
  unsigned which = pick (self, 2);
  for (guint i = 0; i < self->taken->len; i++) {
    Taken *taken = self->taken->pdata[i];
    g_clear_pointer (&taken->view, store_close);
  }
  store_close (self->stores[which]);
  self->stores[which] = store_open (self->fixture.path, 0, &error);
  g_assert_no_error (error);
}

static void
administer (World *self)
{
  switch (pick (self, 9)) {
  case 0:
  case 1: clean_up (self); break;
  case 2: purge (self); break;
  case 3: run_command (self, "reconstruct recursive"); break;
  case 4: run_command (self, "reconstruct mailbox-list"); break;
  case 5: run_command (self, "repair"); break;
  case 6: run_command (self, "reset"); break;
  case 7: lose_caches (self); break;
  default: reopen_one (self); break;
  }
}

/* ---- snapshots ----------------------------------------------------------------------------- */

static void
taken_free (gpointer data)
{
  Taken *taken = data;
  for (guint i = 0; i < taken->mail->len; i++)
    ((Mail *)taken->mail->pdata[i])->needed--;
  g_ptr_array_unref (taken->mail);
  g_clear_pointer (&taken->view, store_close);
  g_free (taken->name);
  g_free (taken->facts);
  g_free (taken->shown);
  g_free (taken);
}

static void
take (World *self)
{
  g_autoptr (GError) error = NULL;
  StoreSnapshot snapshot = {0};
  Store *store = any_store (self);
  Taken *taken = g_new0 (Taken, 1);
  taken->name = g_strdup_printf ("s%u", ++self->count);
  taken->facts = model_render (&self->model);
  taken->mail = g_ptr_array_new ();
  for (guint i = 0; i < self->model.boxes->len; i++) {
    const Box *box = self->model.boxes->pdata[i];
    for (guint k = 0; k < box->mail->len && box_is_there (box); k++) {
      Mail *mail = box->mail->pdata[k];
      if (mail->expunged)
        continue;
      mail->needed++;
      g_ptr_array_add (taken->mail, mail);
    }
  }
  assert_ok (store_snapshot_take (store, taken->name, &snapshot, &error), error);
  g_assert_cmpstr (snapshot.name, ==, taken->name);
  g_assert_cmpuint (snapshot.slot, >=, 1);
  g_assert_cmpuint (snapshot.slot, <=, 255);
  store_snapshot_clear (&snapshot);
  /* Not before: who takes a snapshot may first have to make the list again. */
  taken->shown = dump_store (store);
  g_ptr_array_add (self->taken, taken);
}

static void
drop (World *self, guint which)
{
  g_autoptr (GError) error = NULL;
  Taken *taken = self->taken->pdata[which];
  assert_ok (store_snapshot_drop (any_store (self), taken->name, &error), error);
  g_ptr_array_remove_index (self->taken, which);
}

static void
change_snapshots (World *self)
{
  g_autoptr (GError) error = NULL;
  guint which = self->taken->len > 0 ? pick (self, self->taken->len) : 0;
  if (self->taken->len >= SNAPSHOTS_MAX || (self->taken->len > 0 && pick (self, 5) == 0)) {
    drop (self, which);
  } else if (self->taken->len > 0 && pick (self, 6) == 0) {
    Taken *taken = self->taken->pdata[which];
    g_autofree char *name = g_strdup_printf ("renamed %u", ++self->count);
    assert_ok (store_snapshot_rename (any_store (self), taken->name, name, &error), error);
    g_free (taken->name);
    taken->name = g_steal_pointer (&name);
    g_clear_pointer (&taken->view, store_close);
  } else {
    take (self);
  }
}

/* What was opened long ago and what is opened now must both show it. */
static void
look_at (World *self, Taken *taken)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (Store) fresh = store_snapshot_open (any_store (self), taken->name, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (store_snapshot_of (fresh)->name, ==, taken->name);
  g_autofree char *shown = dump_store (fresh);
  g_autofree char *facts = facts_of_store (fresh);
  assert_same_text (taken->name, facts, taken->facts);
  assert_same_text (taken->name, shown, taken->shown);
  if (taken->view == NULL) {
    taken->view = g_steal_pointer (&fresh);
    return;
  }
  g_autofree char *still = dump_store (taken->view);
  assert_same_text (taken->name, still, taken->shown);
}

static void
look_at_all (World *self)
{
  for (int i = 0; i < 2; i++) {
    g_autofree char *wanted = model_render (&self->model);
    g_autofree char *is = facts_of_store (self->stores[i]);
    assert_same_text ("the store", is, wanted);
  }
  for (guint i = 0; i < self->taken->len; i++)
    look_at (self, self->taken->pdata[i]);
}

/* ---- the test ------------------------------------------------------------------------------ */

static const struct {
  void (*act) (World *self);
  const char *name;
  unsigned weight;
} acts[] = {
    {deliver_some, "deliver", 12}, {flag_some, "flag", 16},
    {expunge_some, "expunge", 8},  {undelete_some, "undelete", 5},
    {transfer_some, "move", 10},   {create_user, "user", 1},
    {create_box, "create", 4},     {rename_box, "rename", 4},
    {remove_box, "remove", 2},     {restore_box, "restore", 4},
    {set_box, "set", 2},           {set_user, "index", 1},
    {administer, "administer", 8}, {change_snapshots, "snapshots", 9},
};

static void
act (World *self)
{
  unsigned all = 0, chosen;
  for (size_t i = 0; i < G_N_ELEMENTS (acts); i++)
    all += acts[i].weight;
  chosen = pick (self, all);
  for (size_t i = 0; i < G_N_ELEMENTS (acts); i++) {
    if (chosen < acts[i].weight) {
      if (g_getenv ("MAILFS_MODEL_TRACE") != NULL)
        g_printerr ("# %s\n", acts[i].name);
      acts[i].act (self);
      return;
    }
    chosen -= acts[i].weight;
  }
}

static unsigned
number_from_environment (const char *name, unsigned standard)
{
  const char *text = g_getenv (name);
  return text != NULL ? (unsigned)strtoul (text, NULL, 10) : standard;
}

static void
world_init (World *self, uint32_t seed)
{
  g_autoptr (GError) error = NULL;
  *self = (World){.random = g_rand_new_with_seed (seed)};
  set_up (&self->fixture, NULL);
  assert_ok (store_setting_set (self->fixture.store, STORE_PURGE_AGE, "0", &error), error);
  g_clear_pointer (&self->fixture.store, store_close);
  for (int i = 0; i < 2; i++) {
    self->stores[i] = store_open (self->fixture.path, 0, &error);
    g_assert_no_error (error);
  }
  model_init (&self->model);
  self->taken = g_ptr_array_new_with_free_func (taken_free);
  g_auto (StoreNode) node = {0};
  assert_ok (store_mailbox_create (self->stores[0], "user0@example.com", &node, &error), error);
  learn (self, self->stores[0], self->model.boxes->pdata[0]);
}

static void
world_clear (World *self)
{
  g_ptr_array_unref (self->taken);
  g_ptr_array_unref (self->model.boxes);
  for (int i = 0; i < 2; i++)
    store_close (self->stores[i]);
  g_rand_free (self->random);
  tear_down (&self->fixture, NULL);
}

/* The last of them takes all with it that was only kept for snapshots. */
static void
drop_all (World *self)
{
  while (self->taken->len > 0) {
    drop (self, pick (self, self->taken->len));
    clean_up (self);
    purge (self);
    look_at_all (self);
  }
  g_autofree char *history = g_build_filename (self->fixture.path, "history", NULL);
  g_assert_false (g_file_test (history, G_FILE_TEST_EXISTS));
}

static void
run_model (uint32_t seed, unsigned steps)
{
  World world;
  g_test_message ("MAILFS_MODEL_SEED=%u MAILFS_MODEL_STEPS=%u", seed, steps);
  world_init (&world, seed);
  for (unsigned step = 1; step <= steps; step++) {
    if (g_getenv ("MAILFS_MODEL_TRACE") != NULL)
      g_printerr ("# step %u of seed %u: ", step, seed);
    act (&world);
    if (step % LOOK_EVERY == 0)
      look_at_all (&world);
  }
  look_at_all (&world);
  reopen_one (&world);
  run_in (&world.fixture, "rm -rf index mailboxes.sqlite3*", "");
  look_at_all (&world);
  run_command (&world, "repair");
  look_at_all (&world);
  assert_clean (world.stores[0]);
  drop_all (&world);
  assert_clean (world.stores[1]);
  world_clear (&world);
}

static void
test_model (gconstpointer which)
{
  run_model (number_from_environment ("MAILFS_MODEL_SEED", 1) + GPOINTER_TO_UINT (which),
             number_from_environment ("MAILFS_MODEL_STEPS", STEPS));
}

int
main (int argc, char *argv[])
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < 3; i++) {
    g_autofree char *name = g_strdup_printf ("/snapshot-model/%u", i);
    g_test_add_data_func (name, GUINT_TO_POINTER (i), test_model);
  }
  return g_test_run ();
}
