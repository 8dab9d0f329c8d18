/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.h - one error domain for every layer: the code is an errno.
 *
 *   if (fd < 0)
 *     return fail_errno (error, "open %s", path);
 *   if (!found)
 *     return fail (error, ENOENT, "no mailbox '%s'", name);
 *
 * fs/ replies the code, tools/ print the message, tests assert both. Messages are lower case, without
 * a full stop, context first and cause last. EUCLEAN means "index and files disagree" or "the
 * database is damaged".
 */
#pragma once

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define MAILFS_ERROR (mailfs_error_quark ())
GQuark mailfs_error_quark (void);

/* Sets `error` to `code` (an errno above 0) and the message. Always returns false. */
bool fail (GError **error, int code, const char *format, ...) G_GNUC_PRINTF (3, 4);

/* Like fail() with the current errno; ": " and its text are appended to the message. */
bool fail_errno (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Puts "MESSAGE: " before the message that `error` already holds. Always returns false. */
bool fail_prefix (GError **error, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* So that the compiler, too, sees that these return false: else it takes what a function that fails
 * leaves unset for something that is used. */
#define fail(...)        fail_is_false ((fail) (__VA_ARGS__))
#define fail_errno(...)  fail_is_false ((fail_errno) (__VA_ARGS__))
#define fail_prefix(...) fail_is_false ((fail_prefix) (__VA_ARGS__))
static inline bool
fail_is_false (bool result)
{
  return false;
}

/* The errno an error stands for; errors of another domain (GLib's own) are EIO. */
int error_code (const GError *error);
