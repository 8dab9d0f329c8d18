/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parse.h"

#include <gmime/gmime.h>

int64_t
parse_date (const char *text)
{
  g_autoptr (GDateTime) date = text == NULL ? NULL : g_mime_utils_header_decode_date (text);
  return date == NULL ? INT64_MIN : g_date_time_to_unix (date);
}
