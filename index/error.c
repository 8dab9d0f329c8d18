/* SPDX-License-Identifier: Apache-2.0 */
#include "index/error.h"

#include <string.h>

G_DEFINE_QUARK (mailfs-error, mailfs_error)

bool
(fail) (GError **error, int code, const char *format, ...)
{
  if (error == NULL)
    return false;
  va_list args;
  va_start (args, format);
  g_clear_error (error);
  *error = g_error_new_valist (MAILFS_ERROR, code, format, args);
  va_end (args);
  return false;
}

bool
(fail_errno) (GError **error, const char *format, ...)
{
  int code = errno;
  if (error == NULL)
    return false;
  va_list args;
  va_start (args, format);
  g_autofree char *message = g_strdup_vprintf (format, args);
  va_end (args);
  return fail (error, code, "%s: %s", message, g_strerror (code));
}

bool
(fail_prefix) (GError **error, const char *format, ...)
{
  if (error == NULL || *error == NULL)
    return false;
  va_list args;
  va_start (args, format);
  g_autofree char *prefix = g_strdup_vprintf (format, args);
  va_end (args);
  g_prefix_error (error, "%s: ", prefix);
  return false;
}

int
error_code (const GError *error)
{
  return error != NULL && error->domain == MAILFS_ERROR ? error->code : EIO;
}
