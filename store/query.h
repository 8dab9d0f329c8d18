/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.h - what the files of searching share.
 *
 *   query.c    words in, a StoreQuery out; and whether a message matches it
 *   search.c   walks mailboxes, page by page, and asks as little of each message as is needed
 *   text.c     the full-text index of a user, which tells what is not in a message
 *
 * A term looks at one thing, and all terms must hold. They are asked in the order of what that
 * costs: the mailbox, the message's row, its header, its body.
 */
#pragma once

#include "store/internal.h"

/* ---- query.c ------------------------------------------------------------------------------- */

typedef enum {
  QUERY_MAILBOX, /* its path */
  QUERY_ROW,     /* what a listing tells of a message */
  QUERY_HEADER,  /* its ENVELOPE */
  QUERY_BODY,    /* its text; or its header, which then decides */
} QueryStage;

typedef struct QueryKey QueryKey;

typedef struct {
  const QueryKey *key;
  bool negated;
  char *text;           /* folded, or a keyword; NULL: none */
  uint64_t least, most; /* of a size or a time: least <= value < most */
  uint32_t flags;       /* StoreFlags */
  GArray *uids;         /* of StoreUidRange */
} QueryTerm;

struct StoreQuery {
  GArray *terms; /* of QueryTerm, in the order of their stages */
};

/* Text as it is compared: valid UTF-8, in one case and one form of its characters, blanks and line
 * ends as one space. Owned by the caller. */
char *query_fold (const char *text);

/* How many terms look at a stage; those of the last one begin at `*out_first`. */
guint query_count (const StoreQuery *self, QueryStage stage, guint *out_first);

/* What is known of a message so far. */
typedef struct {
  const char *path; /* of its mailbox, below mail/ */
  const StoreMessage *message;
  const StoreSummary *summary;
  const char *body;   /* folded; NULL: nobody has read it */
  const bool *absent; /* by term: the text is not in its body, whoever says so; NULL: nobody does */
} QuerySubject;

typedef enum { QUERY_NO, QUERY_YES, QUERY_UNSURE /* before the body is read */ } QueryAnswer;

/* Whether all terms of a stage hold. */
QueryAnswer query_ask (const StoreQuery *self, QueryStage stage, const QuerySubject *subject);
