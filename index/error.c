/* SPDX-License-Identifier: Apache-2.0 */
#include "index/error.h"

#include <string.h>

/* Not by G_DEFINE_QUARK: two threads that meet their first errors would set its variable at once. */
GQuark
mailfs_error_quark (void)
{
  static _Atomic GQuark quark;
  if (quark == 0)
    quark = g_quark_from_static_string ("mailfs-error");
  return quark;
}

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
