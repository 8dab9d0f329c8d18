/* SPDX-License-Identifier: Apache-2.0 */
/* init.c - mailstore init: make an empty store. */
#include "tools/remote.h"

bool
init_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc > 1)
    return fail (error, EINVAL, "init takes one PATH");
  if (!tool_check_flags (tool, 0, error))
    return false;
  g_autofree char *path = argc == 1 ? g_strdup (argv[0]) : tool_store_path (tool);
  g_autoptr (Remote) remote = NULL;
  if (!remote_open (tool, path, &remote, error))
    return false;
  if (remote != NULL)
    return fail (error, EEXIST, "%s is a mail store already", path);
  if (!store_create (path, error))
    return false;
  g_autoptr (Store) store = store_open (path, STORE_READ_ONLY, error);
  if (store == NULL)
    return false;
  if (tool->json) {
    GString *json = json_begin ("store");
    json_string (json, "path", store_path (store));
    json_string (json, "uuid", store_uuid (store));
    json_print (json);
  } else {
    tool_say (tool, "made an empty mail store in %s", store_path (store));
  }
  return true;
}
