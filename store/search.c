/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Searching: mailbox by mailbox, page by page, so that memory does not grow with the mail.
 *
 * Of each message as little is read as decides: first its row, then its envelope, its body last and
 * only where the full-text index cannot say that it is in vain. So an index that is missing, behind
 * or wrong by what it lacks makes a search slower, never its answer another one.
 */
#include "store/search.h"

#include "store/past.h"

#define PAGE 256u

/* ---- one message --------------------------------------------------------------------------- */

char *
search_read_text (int fd, GError **error)
{
  g_autoptr (StoreParts) parts = store_parts_new (fd, error);
  g_autofree char *text =
      parts != NULL ? store_parts_text (parts, fd, SEARCH_TEXT_MAX, error) : NULL;
  return text != NULL ? query_fold (text) : NULL;
}

/* Tells that something could not be looked at, unless it is just gone. */
static void
miss (const Search *self, uint32_t number, uint32_t uid, const GError *failure)
{
  if (!is_gone (failure) && self->calls->missed != NULL)
    self->calls->missed (number, uid, failure, self->calls->user_data);
}

/* A body that cannot be read has nothing in it that anybody could find. */
static bool
holds_body (Search *self, QuerySubject *subject, StoreMailbox *mailbox)
{
  QueryAnswer answer = query_ask (self->query, QUERY_BODY, subject);
  if (answer != QUERY_UNSURE)
    return answer == QUERY_YES;
  g_autoptr (GError) failure = NULL;
  auto_fd fd = store_message_open (mailbox, subject->message->uid, &failure);
  g_autofree char *body = fd >= 0 ? search_read_text (fd, &failure) : NULL;
  if (body == NULL)
    miss (self, mailbox->number, subject->message->uid, failure);
  subject->body = body != NULL ? body : "";
  bool holds = query_ask (self->query, QUERY_BODY, subject) == QUERY_YES;
  subject->body = NULL;
  return holds;
}

/* Whether header and body hold. */
static bool
holds_content (Search *self, QuerySubject *subject, StoreMailbox *mailbox)
{
  g_auto (StoreSummary) summary = {0};
  g_autoptr (GError) failure = NULL;
  if (!self->asks_header && !self->asks_body)
    return true;
  if (!store_message_summary (mailbox, subject->message->uid, &summary, &failure))
    miss (self, mailbox->number, subject->message->uid, failure);
  subject->summary = &summary;
  return query_ask (self->query, QUERY_HEADER, subject) == QUERY_YES &&
         (!self->asks_body || holds_body (self, subject, mailbox));
}

/* ---- mailboxes ----------------------------------------------------------------------------- */

static bool
search_page (Search *self, StoreMailbox *mailbox, const StoreMessage *page, size_t count,
             GError **error)
{
  g_autoptr (FulltextPage) known = NULL;
  for (size_t i = 0; i < count; i++) {
    QuerySubject subject = {.path = mailbox->path, .message = &page[i]};
    if (query_ask (self->query, QUERY_ROW, &subject) != QUERY_YES)
      continue;
    if (self->asks_body && known == NULL)
      known = fulltext_page_new (self, mailbox, page[i].uid, page[count - 1].uid);
    subject.absent = known != NULL ? fulltext_page_absent (known, page[i].uid) : NULL;
    if (holds_content (self, &subject, mailbox) &&
        !self->calls->found (mailbox, &page[i], self->calls->user_data, error))
      return false;
  }
  return self->calls->go_on == NULL || self->calls->go_on (count, self->calls->user_data, error);
}

/* `*out_failure` is why the mailbox cannot be read, which does not end the search. */
static bool
search_pages (Search *self, StoreMailbox *mailbox, GError **out_failure, GError **error)
{
  StoreMessage page[PAGE];
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    if (!store_mailbox_page (mailbox, after, page, PAGE, &count, out_failure))
      return true;
    if (count == 0)
      break;
    after = page[count - 1].uid;
    bool good = search_page (self, mailbox, page, count, error);
    store_messages_clear (page, count);
    if (!good)
      return false;
  }
  return true;
}

bool
search_mailbox (Search *self, uint32_t number, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->store, number, &failure);
  QuerySubject subject = {.path = mailbox != NULL ? mailbox->path : NULL};
  bool good = mailbox == NULL || query_ask (self->query, QUERY_MAILBOX, &subject) != QUERY_YES ||
              search_pages (self, mailbox, &failure, error);
  if (failure != NULL)
    miss (self, number, 0, failure);
  return good;
}

Search
search_begin (Store *store, const StoreQuery *query, const StoreSearch *calls)
{
  guint first;
  return (Search){.store = store,
                  .query = query,
                  .calls = calls,
                  .asks_header = query_count (query, QUERY_HEADER, &first) > 0,
                  .asks_body = query_count (query, QUERY_BODY, &first) > 0};
}

bool
search_end (const Search *self, GError **error)
{
  return self->store->past == NULL || past_is_there (self->store, error);
}

void
search_clear (Search *self)
{
  g_clear_pointer (&self->text, fulltext_close);
}

/* ---- below a node -------------------------------------------------------------------------- */

static bool search_below (Search *self, uint32_t number, GError **error);

static bool
search_child (const StoreNode *child, void *data, GError **error)
{
  Search *self = data;
  return (child->kind != STORE_NODE_MAILBOX || search_mailbox (self, child->number, error)) &&
         search_below (self, child->number, error);
}

/* As deep as directories are, NODE_DEPTH_MAX at most. */
static bool
search_below (Search *self, uint32_t number, GError **error)
{
  return store_node_each_child (self->store, number, NULL, search_child, self, error);
}

bool
store_search (Store *self, const StoreQuery *query, uint32_t number, const StoreSearch *calls,
              GError **error)
{
  g_auto (StoreNode) top = {0};
  if (!store_node_get (self, number, &top, error))
    return false;
  g_auto (Search) search = search_begin (self, query, calls);
  return search_child (&top, &search, error) && search_end (&search, error);
}
