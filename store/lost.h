/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lost.h - what the files share that make the store's lost and found. Each kind looks into one
 * directory at a time, that of a number; lost.c goes from one to the next.
 */
#pragma once

#include "store/jobs.h"
#include "store/past.h"

/* What is known of a message that is lost, and where each fact is from: "file", "row", "copied
 * attribute", "salvaged row", "record"; NULL: nowhere. */
typedef struct {
  const char *state_source;
  MessageState state;
  const char *date_source;
  int64_t internal_s;
  const char *delivered_source;
  uint64_t delivered_size; /* 0: only the digest is known */
  uint8_t delivered[32];   /* see digest_matches() */
  const char *envelope_source;
  StoreSummary summary;
  int64_t missed_s; /* when it was missed first; 0: not known, or it is there */
  bool has_digest;
  uint8_t digest[32]; /* of the bytes that are there */
} LostFacts;
void lost_facts_clear (LostFacts *facts);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (LostFacts, lost_facts_clear)

/* What a kind has to say. The `rest` is what stands behind the number in a name. */
typedef struct {
  bool in_mailboxes; /* only there */
  /* The next numbers from `from` on that there may be something of, ascending; at most `capacity`,
   * and none at the end. NULL: all on the mailbox list. */
  bool (*numbers) (Store *store, uint32_t from, uint32_t *out, size_t capacity, size_t *out_count,
                   GError **error);
  /* The next things in one directory behind `after` (NULL: from the first), in the order of their
   * names. */
  bool (*page) (Store *store, uint32_t number, const char *after, StoreLost *out, size_t capacity,
                size_t *out_count, GError **error);
  bool (*find) (Store *store, uint32_t number, const char *rest, StoreLost *out, bool *out_found,
                GError **error);
  /* NULL: what the file tells, and its row. */
  bool (*learn) (Store *store, const StoreLost *lost, LostFacts *out, GError **error);
  bool (*remove) (Store *store, const StoreLost *lost, GError **error);
  const char *why; /* it is here */
} LostKind;

extern const LostKind lost_orphans, lost_expunged, lost_damaged, lost_missing, lost_index;
extern const LostKind lost_quarantine; /* whose names have no number: the rest is all of them */

/* ---- lost.c -------------------------------------------------------------------------------- */

const LostKind *lost_kind (StoreLostKind kind);

/* The name of a thing that has no UID, of the text behind the number: escaped so that it is a
 * file's, and never ends in ".json". */
char *lost_escape (const char *text);

/* Opens the directory that it lies in; `*out_name` is its name there. -1 and an error. */
int lost_open_parent (Store *store, const StoreLost *lost, char **out_name, GError **error);

/* Fills in what the file is like that it is; `*out_mode` is 0 when there is none. */
bool lost_stat (Store *store, StoreLost *lost, mode_t *out_mode, GError **error);

/* Hands out what `about` has the name and path of, with what its file is like, if that is a regular
 * one. Takes `about` over. */
bool lost_look (Store *store, StoreLost about, StoreLost *out, bool *out_found, GError **error);

/* ---- lost-message.c: those that have a UID ------------------------------------------------- */

/* A thing of that kind with number and UID, and nothing else. */
StoreLost lost_message (StoreLostKind kind, uint32_t number, uint32_t uid);

/* ---- lost-index.c -------------------------------------------------------------------------- */

void remains_init (Store *store);
void remains_clear (Store *store);

/* ---- lost-orphan.c ------------------------------------------------------------------------- */

void orphans_init (Store *store);
void orphans_clear (Store *store);

/* ---- lost-quarantine.c --------------------------------------------------------------------- */

void removed_init (Store *store);
void removed_clear (Store *store);

/* ---- lost-facts.c -------------------------------------------------------------------------- */

/* What a row tells, which came from `source`, and its summary, whose texts may be taken over. */
void lost_take_row (const IndexMessage *row, const char *source, LostFacts *out);
void lost_take_summary (IndexSummary *summary, uint64_t size, const char *source, LostFacts *out);

/* All that is known of it, with the bytes read if `thoroughly`. */
bool lost_learn (Store *store, const StoreLost *lost, bool thoroughly, LostFacts *out,
                 GError **error);
