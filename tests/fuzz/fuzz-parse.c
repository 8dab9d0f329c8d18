/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a message: the summary is valid and within its bounds, and the same however the
 * message is cut into pieces.
 */
#include "tests/unit/test-parse.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  parse_init ();
  g_auto (StoreSummary) whole = summarise ((const char *)data, size);
  g_autoptr (ParseScan) scan = parse_scan_new ();
  for (size_t done = 0, piece; done < size; done += piece) {
    piece = MIN (1 + data[done] % 32u, size - done);
    parse_scan_feed (scan, data + done, piece);
  }
  g_auto (StoreSummary) pieces = {0};
  parse_scan_finish (scan, &pieces);
  g_assert_cmpstr (pieces.envelope, ==, whole.envelope);
  g_assert_cmpstr (pieces.bodystructure, ==, whole.bodystructure);
  g_assert_cmpint (pieces.sent_s, ==, whole.sent_s);
  g_assert_cmpuint (pieces.damage, ==, whole.damage & ~STORE_DAMAGE_NUL);
  return 0;
}
