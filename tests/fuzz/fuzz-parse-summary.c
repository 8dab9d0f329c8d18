/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as an ENVELOPE out of a damaged index: what is shown of it is text, if anything. */
#include "store/internal.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  parse_init ();
  static const char *const fields[] = {"date", "subject",    "from",        "to",
                                       "cc",   "message-id", "in-reply-to", "nonsense"};
  StoreSummary summary = {.envelope = g_strndup ((const char *)data, size)};
  for (size_t i = 0; i < G_N_ELEMENTS (fields); i++) {
    g_autofree char *value = store_summary_field (&summary, fields[i]);
    g_assert_true (value == NULL || g_utf8_validate (value, -1, NULL));
    for (const char *p = value; p != NULL && *p != '\0'; p = g_utf8_next_char (p))
      g_assert_false (g_unichar_iscntrl (g_utf8_get_char (p)));
  }
  store_summary_clear (&summary);
  return 0;
}
