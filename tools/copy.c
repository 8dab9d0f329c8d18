/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy.c - mailstore copy and move: messages into another mailbox.
 *
 *   mailstore move joe@example.com 4,7:9 joe@example.com/Archive
 */
#include "tools/tools.h"

#include <stdio.h>

/* Messages in one commit. */
#define BATCH 1000u

typedef bool (*CopyFunc) (StoreMailbox *self, const uint32_t *uids, size_t count,
                          StoreMailbox *target, uint32_t *out_uids, GError **error);

static void
print_batch (const Tool *tool, const uint32_t *from, const uint32_t *to, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    if (!tool->json) {
      printf ("%u\n", to[i]);
      continue;
    }
    GString *json = json_begin (tool->command);
    json_uint (json, "uid", from[i]);
    json_uint (json, "new_uid", to[i]);
    json_print (json);
  }
}

static bool
run (const Tool *tool, char **argv, CopyFunc copy, GError **error)
{
  g_autoptr (GArray) set = NULL;
  if (!store_uids_parse (argv[1], &set, error))
    return false;
  g_autoptr (Store) store = tool_store_open (tool, 0, error);
  g_autoptr (StoreMailbox) source = NULL, target = NULL;
  g_autoptr (GArray) uids = NULL;
  if (store == NULL || (source = tool_mailbox_open (store, argv[0], error)) == NULL ||
      (target = tool_mailbox_open (store, argv[2], error)) == NULL ||
      (uids = store_mailbox_uids (source, set, error)) == NULL)
    return false;
  const uint32_t *from = (const uint32_t *)(const void *)uids->data;
  uint32_t to[BATCH];
  for (guint done = 0; done < uids->len; done += BATCH) {
    guint count = MIN (uids->len - done, BATCH);
    if (!copy (source, from + done, count, target, to, error))
      return false;
    print_batch (tool, from + done, to, count);
  }
  return true;
}

bool
copy_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc != 3)
    return fail (error, EINVAL, "copy takes a MAILBOX, UIDS and the mailbox they go to");
  return run (tool, argv, store_mailbox_copy, error);
}

bool
move_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc != 3)
    return fail (error, EINVAL, "move takes a MAILBOX, UIDS and the mailbox they go to");
  return run (tool, argv, store_mailbox_move, error);
}
