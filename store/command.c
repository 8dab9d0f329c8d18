/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of commands and words, and the requests that are made of them. */
#include "store/internal.h"

#include <string.h>

#define MAILBOXES "[-u USER] [DOMAIN] [MAILBOX...]"

const StoreCommand store_commands[] = {
    {"check", STORE_WORD_RECURSIVE | STORE_WORD_FULL, STORE_COMMAND_READS, MAILBOXES,
     "compare files, indexes and the mailbox list; change nothing", command_check},
    {"repair", STORE_WORD_RECURSIVE | STORE_WORD_DRY_RUN | STORE_WORD_FULL | STORE_WORD_MODES,
     STORE_COMMAND_REBUILDS, MAILBOXES, "put right what check finds, as far as that is safe",
     command_repair},
    {"reconstruct", STORE_WORD_RECURSIVE | STORE_WORD_DRY_RUN | STORE_WORD_FORCE | STORE_WORD_LIST,
     STORE_COMMAND_REBUILDS, MAILBOXES, "rebuild indexes from the message files",
     command_reconstruct},
    {"verify", STORE_WORD_RECURSIVE | STORE_WORD_DRY_RUN, 0, MAILBOXES,
     "read every message, and hold it against the digest of what was delivered", command_verify},
    {"expunge", STORE_WORD_RECURSIVE | STORE_WORD_UIDS | STORE_WORD_DRY_RUN, STORE_COMMAND_NAMED,
     "[-u USER] [DOMAIN] MAILBOX...",
     "take messages out of mailboxes: those with \\Deleted, or those named", command_expunge},
    {"cleanup", STORE_WORD_RECURSIVE | STORE_WORD_AGE | STORE_WORD_DRY_RUN, 0, MAILBOXES,
     "remove the files of messages that were expunged", command_cleanup},
    {"purge", STORE_WORD_RECURSIVE | STORE_WORD_AGE | STORE_WORD_DRY_RUN, 0, MAILBOXES,
     "drop what is not needed any more, and put what belongs nowhere into quarantine",
     command_purge},
    {"undelete", STORE_WORD_RECURSIVE | STORE_WORD_UIDS | STORE_WORD_DRY_RUN,
     STORE_COMMAND_NAMED | STORE_COMMAND_BRINGS, "[-u USER] [DOMAIN] MAILBOX...",
     "bring expunged messages back", command_undelete},
    {"reset", STORE_WORD_RECURSIVE | STORE_WORD_DRY_RUN, 0, MAILBOXES,
     "replace indexes by fresh empty ones; files stay untouched", command_reset,
     .after =
         "the mailboxes have no index now and are served from their files; reconstruct builds it"},
    {"test", STORE_WORD_RECOVER | STORE_WORD_LOCKS | STORE_WORD_VERBOSE, STORE_COMMAND_READS,
     MAILBOXES, "open and test the databases", command_test},
    {"recover",
     STORE_WORD_RECURSIVE | STORE_WORD_DRY_RUN | STORE_WORD_FORCE | STORE_WORD_CATASTROPHIC |
         STORE_WORD_DIRECTORY,
     0, MAILBOXES, "make broken databases again, with what they still tell", command_recover,
     .force = "make sound ones again, too"},
    {"checkpoint", 0, 0, MAILBOXES, "finish or take back interrupted writes; sync databases",
     command_checkpoint},
    {"backup", STORE_WORD_DIRECTORY | STORE_WORD_RECURSIVE, STORE_COMMAND_DIRECTORY,
     "DIR " MAILBOXES, "copy the store, or some of it, as it is at one moment", command_backup},
    {"restore",
     STORE_WORD_DIRECTORY | STORE_WORD_OF | STORE_WORD_RECURSIVE | STORE_WORD_DRY_RUN |
         STORE_WORD_FORCE,
     STORE_COMMAND_DIRECTORY | STORE_COMMAND_FOREIGN | STORE_COMMAND_BRINGS, "DIR " MAILBOXES,
     "bring back from a backup what is missing", command_restore,
     .force =
         "DANGER: make mailboxes as they are in the backup: newer flags are lost, and messages "
         "that it does not have are expunged; also take one that is not complete"},
    {NULL},
};

const StoreCommand *
store_command_find (const char *name)
{
  for (const StoreCommand *command = store_commands; command->name != NULL; command++) {
    if (strcmp (command->name, name) == 0)
      return command;
  }
  return NULL;
}

/* ---- words --------------------------------------------------------------------------------- */

const StoreWord store_words[] = {
    {"recursive", STORE_WORD_RECURSIVE, 'r', NULL, "with everything below"},
    {"dry-run", STORE_WORD_DRY_RUN, 'n', NULL, "only say what would be done"},
    {"force", STORE_WORD_FORCE, 0, NULL, "do not trust what looks unchanged"},
    {"full", STORE_WORD_FULL, 0, NULL, "read every message"},
    {"mailbox-list", STORE_WORD_LIST, 'm', NULL, "the mailbox list instead of the indexes"},
    {"age", STORE_WORD_AGE, 0, "TIME", "only what is older: 30m, 24h, 7d, 2w; 0 is everything"},
    {"permissions", STORE_WORD_MODES, 0, NULL, "put owners and modes right, too"},
    {"uid", STORE_WORD_UIDS, 0, "SET", "only these messages: 4 or 1:5,7,9:*"},
    {"directory", STORE_WORD_DIRECTORY, 0, "DIR", "of the backup"},
    {"of", STORE_WORD_OF, 0, "NAMES", "only these mailboxes of the backup, separated by commas"},
    {"recover", STORE_WORD_RECOVER, 'r', NULL, "recover broken databases first"},
    {"locks", STORE_WORD_LOCKS, 'l', NULL, "look for locks that are held too long"},
    {"verbose", STORE_WORD_VERBOSE, 'v', NULL, "tell of what is in order, too"},
    {"catastrophic", STORE_WORD_CATASTROPHIC, 'c', NULL, "use what the last backup tells, too"},
    {NULL},
};

/* The word that `text` is, and its value, "" when it has none; NULL: a mailbox. Mailboxes that are
 * called like a word are written as paths. */
static const StoreWord *
find_word (const char *text, const char **out_value)
{
  for (const StoreWord *word = store_words; word->name != NULL; word++) {
    size_t length = strlen (word->name);
    if (strncmp (text, word->name, length) != 0)
      continue;
    if (text[length] == (word->value != NULL ? '=' : '\0')) {
      *out_value = text + length + (word->value != NULL);
      return word;
    }
  }
  return NULL;
}

/* Values that may hold anything are percent-escaped: no word holds a space. */
static char *
unescape_value (const char *value)
{
  char *plain = g_uri_unescape_string (value, NULL);
  return plain != NULL ? plain : g_strdup (value);
}

static void
parse_names (StoreRequest *request, const char *value)
{
  g_auto (GStrv) parts = g_strsplit (value, ",", -1);
  g_clear_pointer (&request->names, g_ptr_array_unref);
  request->names = g_ptr_array_new_with_free_func (g_free);
  for (char **part = parts; *part != NULL; part++)
    g_ptr_array_add (request->names, unescape_value (*part));
}

static bool
parse_value (StoreRequest *request, StoreWords bit, const char *value, GError **error)
{
  switch (bit) {
  case STORE_WORD_AGE: return store_age_parse (value, &request->age_s, error);
  case STORE_WORD_UIDS:
    g_clear_pointer (&request->uids, g_array_unref);
    return store_uids_parse (value, &request->uids, error);
  case STORE_WORD_DIRECTORY:
    g_free (request->directory);
    request->directory = unescape_value (value);
    return g_path_is_absolute (request->directory) ||
           fail (error, EINVAL, "'%s' is no absolute path", request->directory);
  case STORE_WORD_OF: parse_names (request, value); return true;
  default: return true;
  }
}

/* ---- requests ------------------------------------------------------------------------------ */

static bool
parse_target (Store *store, StoreRequest *request, const char *text, GError **error)
{
  if (request->command->traits & STORE_COMMAND_FOREIGN)
    return fail (error, EINVAL, "'%s' wants 'of=%s': it is not this store's mailbox",
                 request->command->name, text);
  g_auto (StoreNode) node = {0};
  if (!store_node_resolve (store, text, &node, error))
    return false;
  g_array_append_val (request->targets, node.number);
  return true;
}

static bool
parse_word (Store *store, StoreRequest *request, const char *text, GError **error)
{
  if (strcmp (text, "1") == 0)
    return true;
  const char *value;
  const StoreWord *word = find_word (text, &value);
  if (word == NULL)
    return parse_target (store, request, text, error);
  if ((word->bit & ~request->command->words) != 0)
    return fail (error, EINVAL, "'%s' does not take '%s'", request->command->name, word->name);
  request->words |= word->bit;
  if (!parse_value (request, word->bit, value, error))
    return false;
  g_ptr_array_add (request->spelled, g_strdup (text));
  return true;
}

static bool
check_named (const StoreRequest *request, GError **error)
{
  if ((request->command->traits & STORE_COMMAND_DIRECTORY) != 0 && request->directory == NULL)
    return fail (error, EINVAL, "'%s' wants a directory", request->command->name);
  return (request->command->traits & STORE_COMMAND_NAMED) == 0 || request->targets->len > 0 ||
         fail (error, EINVAL, "'%s' wants a mailbox", request->command->name);
}

static StoreRequest *
request_new (const StoreCommand *command)
{
  StoreRequest *request = g_new0 (StoreRequest, 1);
  request->command = command;
  request->targets = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  request->spelled = g_ptr_array_new_with_free_func (g_free);
  return request;
}

StoreRequest *
store_request_parse (Store *self, const char *const *text, GError **error)
{
  const StoreCommand *command = text[0] != NULL ? store_command_find (text[0]) : NULL;
  if (command == NULL) {
    g_autofree char *printable = store_text_printable (text[0] != NULL ? text[0] : "");
    fail (error, EINVAL, "no command '%s'", printable);
    return NULL;
  }
  g_autoptr (StoreRequest) request = request_new (command);
  for (const char *const *word = text + 1; *word != NULL; word++) {
    if (!parse_word (self, request, *word, error))
      return NULL;
  }
  return check_named (request, error) ? g_steal_pointer (&request) : NULL;
}

void
store_request_free (StoreRequest *self)
{
  if (self == NULL)
    return;
  g_array_unref (self->targets);
  g_ptr_array_unref (self->spelled);
  g_clear_pointer (&self->names, g_ptr_array_unref);
  g_free (self->directory);
  g_clear_pointer (&self->uids, g_array_unref);
  g_free (self);
}

bool
store_request_reads (const StoreRequest *self)
{
  return ((self->command->traits & STORE_COMMAND_READS) != 0 &&
          (self->words & STORE_WORD_RECOVER) == 0) ||
         (self->words & STORE_WORD_DRY_RUN) != 0;
}

/* ---- requests in the queue ----------------------------------------------------------------- */

/* The word as it was given last; it was parsed already. */
static const char *
find_spelling (const StoreRequest *request, const StoreWord *word)
{
  const char *value;
  guint i = request->spelled->len;
  while (i-- > 0 && find_word (request->spelled->pdata[i], &value) != word)
    ;
  return request->spelled->pdata[i];
}

/* Whoever names the root means the whole store, whatever else is named. (A command that wants to be
 * told what it is for must find it named again.) */
static bool
is_for_all (const StoreRequest *request)
{
  bool named = false;
  for (guint i = 0; i < request->targets->len; i++)
    named |= g_array_index (request->targets, uint32_t, i) == STORE_ROOT;
  return named && (request->command->traits & STORE_COMMAND_NAMED) == 0;
}

/* In the order of the table, so that the same request has the same text. */
char *
request_action (const StoreRequest *request)
{
  GString *action = g_string_new (request->command->name);
  for (const StoreWord *word = store_words; word->name != NULL; word++) {
    if ((request->words & word->bit) != 0)
      g_string_append_printf (action, " %s", find_spelling (request, word));
  }
  return g_string_free (action, FALSE);
}

char *
request_nodes (const StoreRequest *request)
{
  GString *nodes = g_string_new (NULL);
  if (is_for_all (request))
    return g_string_free (nodes, FALSE);
  for (guint i = 0; i < request->targets->len; i++)
    g_string_append_printf (nodes, "%s%u", i > 0 ? " " : "",
                            g_array_index (request->targets, uint32_t, i));
  return g_string_free (nodes, FALSE);
}

static bool
take_node (Store *store, StoreRequest *request, const char *text, GError **error)
{
  guint64 number;
  g_auto (StoreNode) node = {0};
  if (!g_ascii_string_to_unsigned (text, 10, 0, STORE_NUMBER_MAX, &number, NULL))
    return fail (error, EINVAL, "'%s' is no number of a node", text);
  if (!store_node_get (store, (uint32_t)number, &node, error))
    return false;
  g_array_append_val (request->targets, node.number);
  return true;
}

StoreRequest *
request_from_action (Store *store, const char *action, const char *nodes, GError **error)
{
  g_auto (GStrv) words = g_strsplit (action, " ", -1);
  g_auto (GStrv) numbers = g_strsplit (nodes, " ", -1);
  const StoreCommand *command = words[0] != NULL ? store_command_find (words[0]) : NULL;
  if (command == NULL) {
    fail (error, EINVAL, "no command '%s'", action);
    return NULL;
  }
  g_autoptr (StoreRequest) request = request_new (command);
  for (char **word = words + 1; *word != NULL; word++) {
    if (!parse_word (store, request, *word, error))
      return NULL;
  }
  for (char **number = numbers; *number != NULL; number++) {
    if (!take_node (store, request, *number, error))
      return NULL;
  }
  return check_named (request, error) ? g_steal_pointer (&request) : NULL;
}
