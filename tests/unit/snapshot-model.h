/* SPDX-License-Identifier: Apache-2.0 */
/* What a store is to be like, kept beside it in memory and told in the words of facts_of_store().
 */
#pragma once

#include "tests/unit/snapshot-facts.h"

typedef struct {
  uint32_t uid, flags;
  char *keywords, *sha;
  int64_t internal_s;
  bool expunged, cleaned; /* the latter: its file may be gone, and it cannot come back */
  unsigned needed;        /* how many snapshots have it */
} Mail;

typedef struct Box Box;
struct Box {
  uint32_t number, uidvalidity;
  StoreNodeKind kind;
  char *name, *special_use;
  bool subscribed, off;
  Box *parent;
  char *place,
      *was; /* of one that was removed: in quarantine, and its path; NULL: it cannot come back */
  bool removed;
  GPtrArray *mail; /* of Mail, by UID */
};

typedef struct {
  GPtrArray *boxes; /* of Box, removed ones too; the first is the root */
} Model;

static inline void
mail_free (gpointer data)
{
  Mail *mail = data;
  g_free (mail->keywords);
  g_free (mail->sha);
  g_free (mail);
}

static inline void
box_free (gpointer data)
{
  Box *box = data;
  g_free (box->name);
  g_free (box->special_use);
  g_free (box->place);
  g_free (box->was);
  g_ptr_array_unref (box->mail);
  g_free (box);
}

static inline Box *
model_add (Model *model, Box *parent, const StoreNode *node, uint32_t uidvalidity)
{
  Box *box = g_new0 (Box, 1);
  *box = (Box){.number = node->number,
               .uidvalidity = uidvalidity,
               .kind = node->kind,
               .name = g_strdup (node->name),
               .special_use = g_strdup (node->special_use),
               .subscribed = node->subscribed,
               .parent = parent,
               .mail = g_ptr_array_new_with_free_func (mail_free)};
  g_ptr_array_add (model->boxes, box);
  return box;
}

static inline void
model_init (Model *model)
{
  StoreNode root = {.name = (char *)""};
  model->boxes = g_ptr_array_new_with_free_func (box_free);
  model_add (model, NULL, &root, 0);
}

/* Whether it is in the store: neither it nor what it is in was removed. */
static inline bool
box_is_there (const Box *box)
{
  for (; box != NULL; box = box->parent) {
    if (box->removed)
      return false;
  }
  return true;
}

static inline char *
box_path (const Box *box)
{
  if (box->parent == NULL)
    return g_strdup ("");
  g_autofree char *above = box_path (box->parent);
  return *above != '\0' ? g_strconcat (above, "/", box->name, NULL) : g_strdup (box->name);
}

static inline bool
box_is_within (const Box *box, const Box *above)
{
  while (box != NULL && box != above)
    box = box->parent;
  return box != NULL;
}

static inline Box *
model_child (const Model *model, const Box *parent, const char *name)
{
  for (guint i = 0; i < model->boxes->len; i++) {
    Box *box = model->boxes->pdata[i];
    if (box->parent == parent && !box->removed && strcmp (box->name, name) == 0)
      return box;
  }
  return NULL;
}

static inline int
compare_boxes (gconstpointer a, gconstpointer b)
{
  const Box *first = *(Box *const *)a, *second = *(Box *const *)b;
  return strcmp (first->name, second->name);
}

static inline void
render_box (const Model *model, GString *text, const Box *box)
{
  g_autofree char *path = box_path (box);
  g_string_append_printf (text, "%s #%u%s%s %s", path, box->number,
                          box->subscribed ? " subscribed" : "", box->off ? " off" : "",
                          box->special_use != NULL ? box->special_use : "-");
  if (box->kind == STORE_NODE_MAILBOX)
    g_string_append_printf (text, " %u", box->uidvalidity);
  g_string_append_c (text, '\n');
  for (guint i = 0; i < box->mail->len; i++) {
    const Mail *mail = box->mail->pdata[i];
    g_autofree char *flags = store_flags_to_string (mail->flags, mail->keywords);
    if (!mail->expunged)
      g_string_append_printf (text, "  %u %" G_GINT64_FORMAT " [%s] %.12s\n", mail->uid,
                              mail->internal_s, flags, mail->sha);
  }
}

static inline void
render_children (const Model *model, GString *text, const Box *parent)
{
  g_autoptr (GPtrArray) children = g_ptr_array_new ();
  for (guint i = 0; i < model->boxes->len; i++) {
    Box *box = model->boxes->pdata[i];
    if (box->parent == parent && !box->removed)
      g_ptr_array_add (children, box);
  }
  g_ptr_array_sort (children, compare_boxes);
  for (guint i = 0; i < children->len; i++) {
    render_box (model, text, children->pdata[i]);
    render_children (model, text, children->pdata[i]);
  }
}

/* What facts_of_store() is to say, without what only the disk tells. */
static inline char *
model_render (const Model *model)
{
  GString *text = g_string_new (NULL);
  render_children (model, text, model->boxes->pdata[0]);
  return g_string_free (text, FALSE);
}
