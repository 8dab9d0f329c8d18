/* SPDX-License-Identifier: Apache-2.0 */
/* Any names, uidlists and keyword lists as a Maildir. */
#include "tests/fuzz/source-read.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  fuzz_begin ();
  fuzz_write_tree (data, size);
  g_assert_cmpuint (fuzz_read (&source_maildir, ""), ==, 0);
  return 0;
}
