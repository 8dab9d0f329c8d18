/* SPDX-License-Identifier: Apache-2.0 */
/* deliver.c - mailstore deliver: put one message from standard input into a mailbox. */
#include "tools/tools.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char *flags_text, *date_text;
static gboolean create;

const GOptionEntry deliver_options[] = {
    {"flags", 0, 0, G_OPTION_ARG_STRING, &flags_text, "flags and keywords it gets", "'\\Seen ...'"},
    {"date", 0, 0, G_OPTION_ARG_STRING, &date_text, "its internal date, ISO 8601 or @SECONDS",
     "DATE"},
    {"create", 'c', 0, G_OPTION_ARG_NONE, &create, "make the mailbox when it is missing", NULL},
    {NULL},
};

static bool
read_stdin (StoreDraft *draft, GError **error)
{
  char buffer[65536];
  for (;;) {
    ssize_t size = read (STDIN_FILENO, buffer, sizeof buffer);
    if (size < 0)
      return fail_errno (error, "standard input");
    if (size == 0)
      return true;
    if (!store_draft_write (draft, buffer, (size_t)size, error))
      return false;
  }
}

static void
print_delivered (const Tool *tool, Store *store, StoreMailbox *mailbox, const StoreDraft *draft)
{
  if (!tool->json) {
    printf ("%u\n", store_draft_uid (draft));
    return;
  }
  g_autofree char *title = store_node_title (store, store_mailbox_number (mailbox), NULL);
  g_autofree char *digest = store_digest_string (store_draft_sha256 (draft));
  GString *json = json_begin ("delivered");
  json_string (json, "mailbox", title);
  json_uint (json, "uid", store_draft_uid (draft));
  json_uint (json, "size", store_draft_size (draft));
  json_string (json, "sha256", digest);
  json_print (json);
}

bool
deliver_run (Tool *tool, int argc, char **argv, GError **error)
{
  StoreFacts facts = {.internal_s = INT64_MIN};
  g_autofree char *keywords = NULL;
  if (argc != 1)
    return fail (error, EINVAL, "deliver takes one MAILBOX");
  if (flags_text != NULL && !store_flags_parse_bare (flags_text, &facts.flags, &keywords, error))
    return false;
  if (date_text != NULL && !tool_date_parse (date_text, &facts.internal_s, error))
    return false;
  facts.keywords = keywords;

  g_autoptr (Store) store = tool_store_open (tool, 0, error);
  if (store == NULL)
    return false;
  g_auto (StoreNode) made = {0};
  if (create && !store_mailbox_create (store, argv[0], &made, error))
    return false;
  g_autoptr (StoreMailbox) mailbox = tool_mailbox_open (store, argv[0], error);
  if (mailbox == NULL)
    return false;
  g_autoptr (StoreDraft) draft = store_draft_new (store, &facts, error);
  if (draft == NULL || !read_stdin (draft, error) || !store_draft_finish (draft, mailbox, error))
    return false;
  /* A pipe whose writer failed looks just like this. */
  if (store_draft_size (draft) == 0)
    return fail (error, EBADMSG, "standard input is empty: nothing delivered");
  /* Told of a failure, an MTA delivers once more. From here on nobody's reading counts. */
  signal (SIGPIPE, SIG_IGN);
  if (!store_mailbox_append (mailbox, &draft, 1, 0, error))
    return false;
  tool->done = true;
  print_delivered (tool, store, mailbox, draft);
  return true;
}
