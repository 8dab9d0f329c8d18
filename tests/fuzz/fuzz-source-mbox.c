/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an mbox: no message has bytes that are not the file's. */
#include "tests/fuzz/source-read.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  fuzz_begin ();
  fuzz_write ("m", data, size);
  g_assert_cmpuint (fuzz_read (&source_mbox, "m"), <=, size);
  g_assert_cmpuint (fuzz_read (&source_mboxrd, "m"), <=, size);
  return 0;
}
