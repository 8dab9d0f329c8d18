/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of jobs and their queue do again and again. */
#pragma once

#include "tests/unit/test-store.h"

/* Puts what the words say into the queue; `out_added` may be NULL. */
static inline uint64_t
add_job (Store *store, const char *words, bool *out_added)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (StoreRequest) request = parse_words (store, words);
  uint64_t id = 0;
  bool added;
  assert_ok (store_queue_add (store, request, &id, &added, &error), error);
  if (out_added != NULL)
    *out_added = added;
  return id;
}

static inline StoreRecord
get_record (Store *store, uint64_t id)
{
  g_autoptr (GError) error = NULL;
  StoreRecord record = {0};
  assert_ok (store_queue_get (store, id, &record, &error), error);
  return record;
}

static inline void
assert_state (Store *store, uint64_t id, StoreJobState state)
{
  g_auto (StoreRecord) record = get_record (store, id);
  g_assert_cmpstr (store_job_state_name (record.state), ==, store_job_state_name (state));
}

static inline size_t
count_jobs (Store *store, bool pending)
{
  g_autoptr (GError) error = NULL;
  StoreRecord page[7];
  size_t all = 0, count = 1;
  for (uint64_t after = 0; count > 0; all += count) {
    assert_ok (store_queue_page (store, after, pending, page, G_N_ELEMENTS (page), &count, &error),
               error);
    after = count > 0 ? page[count - 1].id : 0;
    store_records_clear (page, count);
  }
  return all;
}

/* For who watches a job that is to end by itself. */
static inline bool
go_on (StoreJob *job, void *data)
{
  return true;
}
