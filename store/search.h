/* SPDX-License-Identifier: Apache-2.0 */
/* search.h - what those share that look for messages, and that keep full-text indexes for them. */
#pragma once

#include "store/query.h"

/* Of a message this much text is searched: what lies behind it is found by nobody. */
#define SEARCH_TEXT_MAX (8u << 20)

/* ---- search.c ------------------------------------------------------------------------------ */

/* One search. */
typedef struct {
  Store *store;
  const StoreQuery *query;
  const StoreSearch *calls;
  bool asks_header, asks_body;
  uint32_t owner; /* of whom the full-text index is open; 0: nobody was asked for yet */
  Fulltext *text; /* NULL: there is none that can be used */
} Search;
Search search_begin (Store *store, const StoreQuery *query, const StoreSearch *calls);
void search_clear (Search *self);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Search, search_clear)

/* Looks in one mailbox; what cannot be read is told as missed. */
bool search_mailbox (Search *self, uint32_t number, GError **error);

/* When all was looked at: ESTALE when that was in a snapshot that was dropped meanwhile. */
bool search_end (const Search *self, GError **error);

/* The text of the message at `fd`, folded; NULL with an error. */
char *search_read_text (int fd, GError **error);

/* ---- fulltext.c ---------------------------------------------------------------------------- */

/* What the full-text index tells of some messages of a mailbox. */
typedef struct FulltextPage FulltextPage;
FulltextPage *fulltext_page_new (Search *search, const StoreMailbox *mailbox, uint32_t first,
                                 uint32_t last);
void fulltext_page_free (FulltextPage *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FulltextPage, fulltext_page_free)

/* Which terms look for what is not in the message's body: QuerySubject.absent. NULL: nobody knows.
 * Good until the next call. */
const bool *fulltext_page_absent (FulltextPage *self, uint32_t uid);
