/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of UIDs, as IMAP writes them (RFC 3501, 9, sequence-set): "1:5,7,9:*".
 *
 * Ranges stay ranges until they meet the UIDs that there are, so "1:4294967295" costs nothing.
 */
#include "store/past.h"

#include <string.h>

/* A number of any size, or "*"; `*out_end` is what follows. What is above every UID becomes a
 * number that is no UID either and still lies below STORE_UID_HIGHEST. */
static bool
parse_number (const char *text, const char **out_end, uint32_t *out)
{
  if (*text == '*') {
    *out = STORE_UID_HIGHEST;
    *out_end = text + 1;
    return true;
  }
  uint32_t value = 0;
  const char *digit = text;
  for (; g_ascii_isdigit (*digit); digit++)
    value = value > STORE_UID_MAX / 10 ? STORE_UID_MAX + 1
                                       : value * 10 + (uint32_t)g_ascii_digit_value (*digit);
  *out = MIN (value, STORE_UID_MAX + 1);
  *out_end = digit;
  return digit > text && value > 0;
}

/* "7", "*", "3:9", "9:3" or "5:*". */
static bool
parse_range (const char *word, StoreUidRange *out)
{
  StoreUidRange range;
  const char *end;
  if (!parse_number (word, &end, &range.first))
    return false;
  range.last = range.first;
  range.named = *end == '\0' && range.first != STORE_UID_MAX + 1;
  if (!range.named && (*end != ':' || !parse_number (end + 1, &end, &range.last) || *end != '\0'))
    return false;
  *out = (StoreUidRange){.first = MIN (range.first, range.last),
                         .last = MAX (range.first, range.last),
                         .named = range.named};
  return true;
}

bool
store_uids_parse (const char *text, GArray **out, GError **error)
{
  g_auto (GStrv) words = g_strsplit (text, ",", -1);
  g_autoptr (GArray) set = g_array_new (FALSE, FALSE, sizeof (StoreUidRange));
  for (char **word = words; *word != NULL; word++) {
    StoreUidRange range;
    if (!parse_range (*word, &range)) {
      g_autofree char *printable = store_text_printable (*word);
      return fail (error, EINVAL, "'%s' is no UID (1 to %u) and no range of them like 3:7 or 3:*",
                   printable, STORE_UID_MAX);
    }
    g_array_append_val (set, range);
  }
  if (set->len == 0)
    return fail (error, EINVAL, "no UID is given");
  *out = g_steal_pointer (&set);
  return true;
}

guint
uids_first_above (const GArray *uids, uint32_t after)
{
  guint low = 0, high = uids->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (g_array_index (uids, uint32_t, middle) <= after)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void
uids_sort (GArray *uids)
{
  g_array_sort (uids, layout_compare_uids);
  guint kept = 0;
  for (guint i = 0; i < uids->len; i++) {
    uint32_t uid = g_array_index (uids, uint32_t, i);
    if (kept == 0 || uid != g_array_index (uids, uint32_t, kept - 1))
      g_array_index (uids, uint32_t, kept++) = uid;
  }
  g_array_set_size (uids, kept);
}

/* Marks in `wanted` which of `uids` the range means. "*" is the highest UID that there is, so that
 * "9:*" has that one even when it is below 9 (RFC 3501, 6.4.8). */
static bool
mark_range (const StoreUidRange *range, const GArray *uids, uint8_t *wanted, GError **error)
{
  uint32_t highest = uids->len > 0 ? g_array_index (uids, uint32_t, uids->len - 1) : 0;
  bool open = range->last == STORE_UID_HIGHEST;
  uint32_t first = open ? MIN (range->first, highest) : range->first;
  uint32_t last = open ? MAX (range->first, highest) : range->last;
  guint from = uids_first_above (uids, first - 1), i = from;
  for (; i < uids->len && g_array_index (uids, uint32_t, i) <= last; i++)
    wanted[i] = true;
  if (!range->named || i > from)
    return true;
  return open ? fail (error, ENOENT, "there is no message")
              : fail (error, ENOENT, "no message %u", range->first);
}

GArray *
store_uids_match (const GArray *set, const GArray *uids, GError **error)
{
  g_autofree uint8_t *wanted = g_new0 (uint8_t, uids->len + 1);
  for (guint i = 0; i < set->len; i++) {
    if (!mark_range (&g_array_index (set, StoreUidRange, i), uids, wanted, error))
      return NULL;
  }
  GArray *matched = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; i < uids->len; i++) {
    if (wanted[i])
      g_array_append_val (matched, g_array_index (uids, uint32_t, i));
  }
  return matched;
}

/* The set as it stands, when it names every UID; else NULL. */
static GArray *
named_uids (const GArray *set)
{
  g_autoptr (GArray) uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; i < set->len; i++) {
    const StoreUidRange *range = &g_array_index (set, StoreUidRange, i);
    if (!range->named || range->first == STORE_UID_HIGHEST)
      return NULL;
    g_array_append_val (uids, range->first);
  }
  uids_sort (uids);
  return g_steal_pointer (&uids);
}

GArray *
store_mailbox_uids (StoreMailbox *self, const GArray *set, GError **error)
{
  GArray *named = named_uids (set);
  if (named != NULL)
    return named;
  g_autoptr (GArray) uids = self->store->past != NULL ? past_mailbox_uids (self, error)
                                                      : layout_uids (self->fd, "", NULL, error);
  GArray *matched = uids != NULL ? store_uids_match (set, uids, error) : NULL;
  if (matched == NULL)
    fail_prefix (error, "'%s'", self->path);
  return matched;
}
