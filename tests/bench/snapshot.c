/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot take STORE COUNT    takes as many snapshots, and drops each
 * snapshot flag STORE COUNT    flags the first messages of u0@example.com, one at a time; the next
 * run takes the flag away again
 * snapshot scatter STORE COUNT    as many of them, each the first of eight
 *
 * bench.py times the two.
 */
#include "store/rescue.h"

#include <stdlib.h>
#include <string.h>

static void
die (const char *what, const GError *error)
{
  fprintf (stderr, "snapshot: %s: %s\n", what, error->message);
  exit (1);
}

static void
take (Store *store, int count)
{
  g_autoptr (GError) error = NULL;
  for (int i = 0; i < count; i++) {
    g_auto (StoreSnapshot) snapshot = {0};
    if (!store_snapshot_take (store, NULL, &snapshot, &error) ||
        !store_snapshot_drop (store, snapshot.name, &error))
      die ("take", error);
  }
}

static void
flag (Store *store, int count, uint32_t step)
{
  g_autoptr (GError) error = NULL;
  g_auto (StoreNode) node = {0};
  g_auto (StoreMessage) first = {0};
  bool found;
  if (!store_node_resolve (store, "u0@example.com/INBOX", &node, &error))
    die ("INBOX", error);
  g_autoptr (StoreMailbox) inbox = store_mailbox_open (store, node.number, &error);
  if (inbox == NULL || !store_message_find (inbox, 1, &first, &found, &error))
    die ("INBOX", error);
  StoreFlagsChange change = first.flags & STORE_FLAG_FLAGGED ? STORE_FLAGS_REMOVE : STORE_FLAGS_ADD;
  for (uint32_t uid = 1; uid <= (uint32_t)count * step; uid += step)
    if (!store_message_flag (inbox, &uid, 1, change, STORE_FLAG_FLAGGED, NULL, &error))
      die ("flag", error);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  if (argc != 4)
    return 64;
  g_autoptr (Store) store = store_open (argv[2], 0, &error);
  if (store == NULL)
    die (argv[2], error);
  if (strcmp (argv[1], "take") == 0)
    take (store, atoi (argv[3]));
  else if (strcmp (argv[1], "flag") == 0)
    flag (store, atoi (argv[3]), 1);
  else if (strcmp (argv[1], "scatter") == 0)
    flag (store, atoi (argv[3]), 8);
  else
    return 64;
  return 0;
}
