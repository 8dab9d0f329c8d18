/* SPDX-License-Identifier: Apache-2.0 */
/* cat.c - mailstore cat: write a message to standard output, byte for byte. */
#include "tools/site.h"
#include "tools/tools.h"

#include <stdio.h>
#include <unistd.h>

static gboolean damaged;

const GOptionEntry cat_options[] = {
    {"damaged", 0, 0, G_OPTION_ARG_NONE, &damaged,
     "write what is there, even if it is not what was delivered", NULL},
    {NULL},
};

static bool
copy_to_stdout (int fd, GError **error)
{
  char buffer[65536];
  off_t offset = 0;
  for (;;) {
    ssize_t size = pread (fd, buffer, sizeof buffer, offset);
    if (size < 0)
      return fail_errno (error, "read message");
    if (size == 0)
      return true;
    if (fwrite (buffer, 1, (size_t)size, stdout) < (size_t)size)
      return fail_errno (error, "standard output");
    offset += size;
  }
}

/* Only the store itself gives out what was not delivered. */
static int
open_damaged (const Tool *tool, const char *spelling, uint32_t uid, GError **error)
{
  g_autoptr (Store) store = tool_store_open (tool, STORE_READ_ONLY, error);
  g_autoptr (StoreMailbox) mailbox =
      store != NULL ? tool_mailbox_open (store, spelling, error) : NULL;
  return mailbox != NULL ? store_message_open (mailbox, uid, error) : -1;
}

static int
open_whole (const Tool *tool, const char *spelling, uint32_t uid, GError **error)
{
  g_auto (StoreNode) node = {0};
  g_autoptr (Site) site = site_open (tool, STORE_READ_ONLY, error);
  if (site == NULL || !site_resolve_mailbox (site, spelling, &node, error))
    return -1;
  g_autoptr (GError) failure = NULL;
  int fd = site_message_open (site, node.number, uid, &failure);
  if (fd < 0 && failure->code == EIO) {
    fail (error, EIO, "%s UID %u: %s; --damaged takes what is there", spelling, uid,
          failure->message);
    return -1;
  }
  if (failure != NULL)
    g_propagate_error (error, g_steal_pointer (&failure));
  return fd;
}

int
tool_message_open (const Tool *tool, const char *spelling, const char *uid_text, bool as_it_is,
                   GError **error)
{
  uint32_t uid;
  if (!tool_uid_parse (uid_text, &uid, error))
    return -1;
  return as_it_is ? open_damaged (tool, spelling, uid, error)
                  : open_whole (tool, spelling, uid, error);
}

bool
cat_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc != 2)
    return fail (error, EINVAL, "cat takes a MAILBOX and a UID");
  auto_fd fd = tool_message_open (tool, argv[0], argv[1], damaged, error);
  return fd >= 0 && copy_to_stdout (fd, error);
}
