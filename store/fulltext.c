/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The full-text index of a user, as searches see it. It lies beside the index, and is a cache as
 * that is: it rules out messages that need not be read, and what it does not know is read.
 */
#include "store/search.h"

#include "store/past.h"

struct FulltextPage {
  const StoreQuery *query;
  guint first_term, terms; /* those that look at bodies */
  GArray *known;           /* UIDs of the messages that are in it */
  GArray **candidates;     /* of each of these terms, UIDs of the messages that it may be in */
  bool *absent;            /* as given out; by term */
};

/* Opens the owner's, unless it is open. It is only looked at: what a writer left behind when it
 * died is for the next writer. Evidence is read itself, and no database of it is opened. */
static Fulltext *
open_of (Search *search, uint32_t owner)
{
  if (search->owner == owner)
    return search->text;
  Store *live = past_live (search->store);
  g_clear_pointer (&search->text, fulltext_close);
  search->owner = owner;
  if (live->evidence != NULL)
    return NULL;
  g_autofree char *node_path = store_node_path (live, owner, NULL);
  g_autofree char *path = node_path != NULL ? layout_fulltext_path (live, node_path) : NULL;
  if (path != NULL)
    search->text = fulltext_open (path, INDEX_READ_ONLY, NULL);
  return search->text;
}

static GArray *
uids_new (void)
{
  return g_array_new (FALSE, FALSE, sizeof (uint32_t));
}

static bool
ask (FulltextPage *self, Fulltext *text, uint32_t mailbox, uint32_t first, uint32_t last)
{
  self->known = uids_new ();
  if (!fulltext_known (text, mailbox, first, last, self->known, NULL))
    return false;
  for (guint i = 0; i < self->terms; i++) {
    const QueryTerm *term = &g_array_index (self->query->terms, QueryTerm, self->first_term + i);
    self->candidates[i] = uids_new ();
    if (!fulltext_candidates (text, mailbox, first, last, term->text, self->candidates[i], NULL))
      return false;
  }
  return true;
}

FulltextPage *
fulltext_page_new (Search *search, const StoreMailbox *mailbox, uint32_t first, uint32_t last)
{
  Fulltext *text = open_of (search, mailbox->owner);
  g_autoptr (FulltextPage) self = g_new0 (FulltextPage, 1);
  self->query = search->query;
  self->terms = query_count (search->query, QUERY_BODY, &self->first_term);
  self->candidates = g_new0 (GArray *, self->terms);
  self->absent = g_new0 (bool, search->query->terms->len);
  if (text != NULL && !ask (self, text, mailbox->number, first, last)) {
    /* It is damaged, so that nothing it tells is of use. */
    g_clear_pointer (&search->text, fulltext_close);
    g_array_set_size (self->known, 0);
  }
  return g_steal_pointer (&self);
}

void
fulltext_page_free (FulltextPage *self)
{
  if (self == NULL)
    return;
  for (guint i = 0; i < self->terms; i++)
    g_clear_pointer (&self->candidates[i], g_array_unref);
  g_clear_pointer (&self->known, g_array_unref);
  g_free (self->candidates);
  g_free (self->absent);
  g_free (self);
}

static bool
has_uid (GArray *uids, uint32_t uid)
{
  return g_array_binary_search (uids, &uid, layout_compare_uids, NULL);
}

const bool *
fulltext_page_absent (FulltextPage *self, uint32_t uid)
{
  if (self->known == NULL || !has_uid (self->known, uid))
    return NULL;
  for (guint i = 0; i < self->terms; i++)
    self->absent[self->first_term + i] = !has_uid (self->candidates[i], uid);
  return self->absent;
}
