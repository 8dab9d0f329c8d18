/* SPDX-License-Identifier: Apache-2.0 */
/* cat.c - mailstore cat: write a message to standard output, byte for byte. */
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

bool
cat_run (Tool *tool, int argc, char **argv, GError **error)
{
  uint32_t uid;
  if (argc != 2)
    return fail (error, EINVAL, "cat takes a MAILBOX and a UID");
  if (!tool_uid_parse (argv[1], &uid, error))
    return false;
  g_autoptr (Store) store = tool_store_open (tool, STORE_READ_ONLY, error);
  if (store == NULL)
    return false;
  g_autoptr (StoreMailbox) mailbox = tool_mailbox_open (store, argv[0], error);
  if (mailbox == NULL)
    return false;
  auto_fd fd = store_message_open (mailbox, uid, error);
  if (fd < 0)
    return false;
  /* All of it is held against the digest before the first byte is written: half a message that
   * turns out to be damaged would already be in the pipe. */
  size_t size;
  bool known;
  if (!damaged && !store_message_verify (mailbox, uid, fd, NULL, 0, &size, &known, error))
    return fail_prefix (error, "%s UID %u (--damaged writes it all the same)", argv[0], uid);
  return copy_to_stdout (fd, error);
}
