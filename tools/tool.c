/* SPDX-License-Identifier: Apache-2.0 */
/* tool.c - finding the store and a mailbox in it. */
#include "tools/remote.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define STORE_DEFAULT "/var/lib/mailfs"

char *
tool_store_path (const Tool *tool)
{
  if (tool->store != NULL)
    return g_strdup (tool->store);
  if (tool->config != NULL)
    return g_path_get_dirname (tool->config);
  const char *path = g_getenv ("MAILSTORE");
  return g_strdup (path != NULL && *path != '\0' ? path : STORE_DEFAULT);
}

static void
say_notice (const char *text, void *data)
{
  const Tool *tool = data;
  tool_say (tool, "%s", text);
}

/* The path of the store itself, also of one that is mounted there. `*out_forensic` tells whether it
 * is to be looked at as evidence, as the mount does. */
static char *
find_store (const Tool *tool, StoreOpenFlags flags, bool *out_forensic, GError **error)
{
  g_autofree char *path = tool_store_path (tool);
  g_autoptr (Remote) remote = NULL;
  if (tool->store == NULL && tool->config != NULL &&
      g_file_test (tool->config, G_FILE_TEST_IS_DIR)) {
    fail (error, EINVAL, "-f %s: a file is wanted, the store's mailfs.conf; -s takes a directory",
          tool->config);
    return NULL;
  }
  *out_forensic = tool->forensic;
  if (tool->forensic) /* not even to see whether it is a mount */
    return g_steal_pointer (&path);
  if (!remote_open (tool, path, &remote, error))
    return NULL;
  if (remote == NULL)
    return g_steal_pointer (&path);
  if ((flags & STORE_READ_ONLY) == 0 && !remote_check_writable (remote, error))
    return NULL;
  *out_forensic = remote_is_forensic (remote);
  return remote_store_path (remote, error);
}

bool
tool_check_flags (const Tool *tool, StoreOpenFlags flags, GError **error)
{
  if (tool->forensic && (flags & STORE_READ_ONLY) == 0)
    return fail (error, EROFS, "with --forensic nothing can be changed");
  return tool->snapshot == NULL || (flags & STORE_READ_ONLY) != 0 ||
         fail (error, EROFS, "a snapshot cannot be changed");
}

/* What snapshots are opened of must outlive them. */
static Store *live;

void
tool_finish (void)
{
  g_clear_pointer (&live, store_close);
}

/* The store as it was when a snapshot was taken; takes `store` over. */
static Store *
open_snapshot (const Tool *tool, Store *store, GError **error)
{
  g_assert (live == NULL);
  live = store;
  return store_snapshot_open (live, tool->snapshot, error);
}

Store *
tool_store_open (const Tool *tool, StoreOpenFlags flags, GError **error)
{
  bool forensic = false;
  g_autofree char *path =
      tool_check_flags (tool, flags, error) ? find_store (tool, flags, &forensic, error) : NULL;
  Store *store = path == NULL ? NULL
                 : forensic   ? store_open_evidence (path, tool->workdir, error)
                              : store_open (path, flags, error);
  if (store != NULL)
    store_notice (store, say_notice, (void *)tool);
  if (store != NULL && tool->verbose)
    tool_say (tool, "store %s, %s", store_path (store), store_uuid (store));
  if (store != NULL && tool->snapshot != NULL)
    return open_snapshot (tool, store, error);
  return store;
}

StoreMailbox *
tool_mailbox_open (Store *store, const char *spelling, GError **error)
{
  StoreTree tree = store_tree (store);
  g_auto (StoreNode) node = {0};
  return store_tree_resolve_mailbox (&tree, spelling, &node, error)
             ? store_mailbox_open (store, node.number, error)
             : NULL;
}

bool
tool_uid_parse (const char *text, uint32_t *out_uid, GError **error)
{
  guint64 value;
  if (!g_ascii_string_to_unsigned (text, 10, 1, STORE_UID_MAX, &value, NULL))
    return fail (error, EINVAL, "'%s' is no UID (1 to %u)", text, STORE_UID_MAX);
  *out_uid = (uint32_t)value;
  return true;
}

bool
tool_date_parse (const char *text, int64_t *out_s, GError **error)
{
  gint64 seconds;
  if (*text == '@' &&
      g_ascii_string_to_signed (text + 1, 10, G_MININT64 / 4, G_MAXINT64 / 4, &seconds, NULL)) {
    *out_s = seconds;
    return true;
  }
  g_autoptr (GTimeZone) zone = g_time_zone_new_local ();
  g_autofree char *whole =
      strchr (text, 'T') == NULL ? g_strconcat (text, "T00:00:00Z", NULL) : g_strdup (text);
  g_autoptr (GDateTime) date = g_date_time_new_from_iso8601 (whole, zone);
  if (date == NULL)
    return fail (error, EINVAL, "'%s' is no date; write 2024-05-31T17:04:09Z or @SECONDS", text);
  *out_s = g_date_time_to_unix (date);
  return true;
}

void
tool_say (const Tool *tool, const char *format, ...)
{
  if (tool->quiet)
    return;
  va_list args;
  va_start (args, format);
  g_autofree char *message = g_strdup_vprintf (format, args);
  va_end (args);
  fprintf (stderr, "%s: %s\n", tool->program, message);
}

void
json_print (GString *json)
{
  json_end (json);
  fputs (json->str, stdout);
  g_string_free (json, TRUE);
}
