/* SPDX-License-Identifier: Apache-2.0 */
/* Any names as a tree of message files, or of mboxes. */
#include "tests/fuzz/source-read.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  fuzz_begin ();
  fuzz_write_tree (data, size);
  g_assert_cmpuint (fuzz_read (&source_eml, ""), ==, 0);
  g_assert_cmpuint (fuzz_read (&source_mbox, ""), <=, size);
  return 0;
}
