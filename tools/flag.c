/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flag.c - mailstore flag: change the flags of messages.
 *
 *   mailstore flag joe@example.com/INBOX 4,7:9 +Seen -Flagged +Project-X
 */
#include "tools/tools.h"

#include <string.h>

/* What is to be done with the flags, by StoreFlagsChange. */
typedef struct {
  bool given[3];
  uint32_t flags[3];
  char *keywords[3];
} Changes;

static void
changes_clear (Changes *changes)
{
  for (size_t i = 0; i < G_N_ELEMENTS (changes->keywords); i++)
    g_free (changes->keywords[i]);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Changes, changes_clear)

/* All words are looked at before the first one acts. */
static bool
parse_changes (char **argv, Changes *out, GError **error)
{
  static const char signs[] = {
      [STORE_FLAGS_ADD] = '+', [STORE_FLAGS_REMOVE] = '-', [STORE_FLAGS_SET] = '='};
  for (char **word = argv; *word != NULL; word++) {
    if (memchr (signs, **word, sizeof signs) == NULL || **word == '\0')
      return fail (error, EINVAL, "'%s' is no change: write +FLAG, -FLAG or =FLAG", *word);
    if (g_str_has_prefix (*word, "--"))
      return fail (error, EINVAL, "'%s': options stand before the mailbox", *word);
    if (**word != '=' && (*word)[1] == '\0')
      return fail (error, EINVAL, "'%s' names no flag", *word);
  }
  for (size_t change = 0; change < G_N_ELEMENTS (signs); change++) {
    g_autoptr (GString) text = g_string_new (NULL);
    for (char **word = argv; *word != NULL; word++) {
      if (**word != signs[change])
        continue;
      out->given[change] = true;
      g_string_append_printf (text, "%s ", *word + 1);
    }
    if (!tool_flags_parse (text->str, &out->flags[change], &out->keywords[change], error))
      return false;
  }
  return true;
}

static bool
apply_changes (StoreMailbox *mailbox, const GArray *uids, const Changes *changes, GError **error)
{
  static const StoreFlagsChange order[] = {STORE_FLAGS_SET, STORE_FLAGS_ADD, STORE_FLAGS_REMOVE};
  for (size_t i = 0; i < G_N_ELEMENTS (order); i++) {
    StoreFlagsChange change = order[i];
    if (changes->given[change] &&
        !store_message_flag (mailbox, (const uint32_t *)(const void *)uids->data, uids->len, change,
                             changes->flags[change], changes->keywords[change], error))
      return false;
  }
  return true;
}

static bool
print_messages (Store *store, StoreMailbox *mailbox, const GArray *uids, GError **error)
{
  g_autofree char *title = store_node_title (store, store_mailbox_number (mailbox), error);
  if (title == NULL)
    return false;
  for (guint i = 0; i < uids->len; i++) {
    g_auto (StoreMessage) message = {0};
    bool found;
    if (!store_message_find (mailbox, g_array_index (uids, uint32_t, i), &message, &found, error))
      return false;
    g_auto (Letter) letter = {0};
    if (!found)
      continue;
    letter_read (mailbox, &message, &letter);
    message_print_json (title, &letter);
  }
  return true;
}

bool
flag_run (Tool *tool, int argc, char **argv, GError **error)
{
  g_autoptr (GArray) set = NULL;
  g_auto (Changes) changes = {0};
  if (argc < 3)
    return fail (error, EINVAL, "flag takes a MAILBOX, UIDs and changes of flags");
  if (!store_uids_parse (argv[1], &set, error) || !parse_changes (argv + 2, &changes, error))
    return false;
  g_autoptr (Store) store = tool_store_open (tool, 0, error);
  if (store == NULL)
    return false;
  g_autoptr (StoreMailbox) mailbox = tool_mailbox_open (store, argv[0], error);
  if (mailbox == NULL)
    return false;
  g_autoptr (GArray) uids = store_mailbox_uids (mailbox, set, error);
  if (uids == NULL || !apply_changes (mailbox, uids, &changes, error))
    return false;
  return !tool->json || print_messages (store, mailbox, uids, error);
}
