/* SPDX-License-Identifier: Apache-2.0 */
/* words.c - requests for what is done at once, word by word. */
#include "tools/tools.h"

GPtrArray *
words_new (const char *name)
{
  GPtrArray *words = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (words, g_strdup (name));
  return words;
}

void
words_add (GPtrArray *words, const char *word, const char *value)
{
  g_ptr_array_add (words, value != NULL ? g_strdup_printf ("%s=%s", word, value) : g_strdup (word));
}

/* Whatever they are called, they are no words. */
void
words_end (GPtrArray *words, char *const *operands)
{
  g_ptr_array_add (words, g_strdup ("--"));
  for (; *operands != NULL; operands++)
    g_ptr_array_add (words, g_strdup (*operands));
  g_ptr_array_add (words, NULL);
}

GArray *
words_uids (const char *set, GError **error)
{
  g_autoptr (GArray) ranges = NULL;
  if (!store_uids_parse (set, &ranges, error))
    return NULL;
  GArray *uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; i < ranges->len; i++) {
    const StoreUidRange *range = &g_array_index (ranges, StoreUidRange, i);
    for (uint64_t uid = range->first; uid <= range->last; uid++) {
      uint32_t one = (uint32_t)uid;
      g_array_append_val (uids, one);
    }
  }
  return uids;
}
