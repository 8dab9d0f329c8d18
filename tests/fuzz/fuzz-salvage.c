/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a broken database and as the journal beside it: whatever comes out could be ours. */
#include "index/salvage.h"
#include "tests/fuzz/source-read.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static bool
take (SalvageRow *row, void *data, GError **error)
{
  uint64_t *rows = data;
  ++*rows;
  switch (row->kind) {
  case SALVAGE_MAILBOX: g_assert_cmpuint (row->mailbox.number - 1, <, SALVAGE_NUMBER_MAX); break;
  case SALVAGE_MESSAGE:
    g_assert_cmpuint (row->number - 1, <, SALVAGE_NUMBER_MAX);
    g_assert_cmpuint (row->message.uid, >, 0);
    g_assert_true (row->message.keywords == NULL ||
                   g_utf8_validate (row->message.keywords, -1, NULL));
    break;
  case SALVAGE_SUMMARY: g_assert_cmpuint (row->uid, >, 0); break;
  case SALVAGE_NODE: g_assert_null (strchr (row->node.name, '/')); break;
  }
  return true;
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  fuzz_begin ();
  fuzz_write ("d", data, size);
  fuzz_write ("d-journal", data, size);
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_build_filename (fuzz_root, "d", NULL);
  uint64_t rows = 0;
  IndexSalvage counts;
  g_assert_true (salvage_read (path, take, &rows, &counts, &error));
  g_assert_cmpuint (counts.rows, ==, rows);
  return 0;
}
