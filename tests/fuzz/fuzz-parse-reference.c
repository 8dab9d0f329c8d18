/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a message: where GMime does not object, our summary says what GMime says. */
#include "tests/unit/gmime-reference.h"
#include "tests/unit/test-parse.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  parse_init ();
  g_auto (StoreSummary) summary = summarise ((const char *)data, size);
  bool is_compared;
  g_autofree char *difference = reference_compare (data, size, &summary, &is_compared);
  g_assert_cmpstr (difference, ==, NULL);
  return 0;
}
