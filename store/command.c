/* SPDX-License-Identifier: Apache-2.0 */
/* The table of commands, and the requests that are made of them. */
#include "store/jobs.h"
#include "store/verbs.h"

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
    {"verify", STORE_WORD_RECURSIVE | STORE_WORD_DRY_RUN, STORE_COMMAND_PAST, MAILBOXES,
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
    {"text", STORE_WORD_RECURSIVE, 0, MAILBOXES,
     "bring full-text indexes up to date, of users who have one", command_text},
    {"backup",
     STORE_WORD_DIRECTORY | STORE_WORD_RECURSIVE | STORE_WORD_RATE | STORE_WORD_FULL |
         STORE_WORD_FORCE,
     STORE_COMMAND_DIRECTORY, "DIR " MAILBOXES,
     "copy the store, or some of it, as it is at one moment", command_backup,
     .force = "DANGER: give up the copies of what has vanished from the store"},
    {"restore",
     STORE_WORD_DIRECTORY | STORE_WORD_EXPORT | STORE_WORD_OF | STORE_WORD_RECURSIVE |
         STORE_WORD_DRY_RUN | STORE_WORD_FORCE | STORE_WORD_RATE,
     STORE_COMMAND_DIRECTORY | STORE_COMMAND_FOREIGN | STORE_COMMAND_BRINGS, "DIR " MAILBOXES,
     "bring back from a backup what is missing", command_restore,
     .force =
         "DANGER: make mailboxes as they are in the backup: newer flags are lost, and messages "
         "that it does not have are expunged; also take one that is not complete"},
    /* What is done at once. Their names may be written as two words. */
    {"flag", STORE_WORD_UIDS | STORE_WORD_SET | STORE_WORD_ADD | STORE_WORD_REMOVE,
     STORE_COMMAND_IMMEDIATE | STORE_COMMAND_SINGLE, "MAILBOX", "change the flags of messages",
     command_flag, .needs = STORE_WORD_UIDS,
     .one_of = STORE_WORD_SET | STORE_WORD_ADD | STORE_WORD_REMOVE},
    {"copy", STORE_WORD_UIDS | STORE_WORD_TO, STORE_COMMAND_IMMEDIATE | STORE_COMMAND_SINGLE,
     "MAILBOX", "copy messages into another mailbox", command_copy,
     .needs = STORE_WORD_UIDS | STORE_WORD_TO},
    {"move", STORE_WORD_UIDS | STORE_WORD_TO, STORE_COMMAND_IMMEDIATE | STORE_COMMAND_SINGLE,
     "MAILBOX", "move messages into another mailbox", command_move,
     .needs = STORE_WORD_UIDS | STORE_WORD_TO},
    {"mailbox-create", STORE_WORD_OF | STORE_WORD_USE,
     STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN | STORE_COMMAND_NAMED, "MAILBOX...",
     "make mailboxes", command_mailbox_create},
    {"mailbox-rename", STORE_WORD_TO, STORE_COMMAND_IMMEDIATE | STORE_COMMAND_SINGLE, "MAILBOX",
     "give a mailbox another name or place", command_mailbox_rename, .needs = STORE_WORD_TO},
    {"mailbox-remove", STORE_WORD_RECURSIVE, STORE_COMMAND_IMMEDIATE | STORE_COMMAND_NAMED,
     "MAILBOX...", "put mailboxes into quarantine", command_mailbox_remove},
    {"mailbox-subscribe", 0, STORE_COMMAND_IMMEDIATE | STORE_COMMAND_NAMED, "MAILBOX...",
     "subscribe to mailboxes", command_mailbox_subscribe},
    {"mailbox-unsubscribe", 0, STORE_COMMAND_IMMEDIATE | STORE_COMMAND_NAMED, "MAILBOX...",
     "undo that", command_mailbox_unsubscribe},
    {"mailbox-set", STORE_WORD_USE | STORE_WORD_INDEX,
     STORE_COMMAND_IMMEDIATE | STORE_COMMAND_NAMED, "MAILBOX...",
     "say what mailboxes are for, or whether a user has an index", command_mailbox_set,
     .one_of = STORE_WORD_USE | STORE_WORD_INDEX},
    {"quarantine-restore", STORE_WORD_OF,
     STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN | STORE_COMMAND_NAMED, "STAMP[/PATH]...",
     "put back where it was what is in quarantine", command_quarantine_restore},
    {"quarantine-remove", STORE_WORD_OF | STORE_WORD_FORCE,
     STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN | STORE_COMMAND_NAMED, "STAMP[/PATH]...",
     "remove it for good", command_quarantine_remove, .force = "yes, for good",
     .needs = STORE_WORD_FORCE},
    {"lost-list", STORE_WORD_OF,
     STORE_COMMAND_READS | STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN,
     "[KIND...] [KIND/NAME...]", "tell what lies in no mailbox any more, or is not what it was",
     command_lost_list},
    {"lost-restore", STORE_WORD_OF | STORE_WORD_TO,
     STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN | STORE_COMMAND_NAMED | STORE_COMMAND_BRINGS,
     "KIND/NAME...", "put it into a mailbox, or back to where it was", command_lost_restore},
    {"lost-remove", STORE_WORD_OF | STORE_WORD_FORCE,
     STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN | STORE_COMMAND_NAMED, "KIND/NAME...",
     "remove it for good", command_lost_remove, .force = "yes, for good",
     .needs = STORE_WORD_FORCE},
    {"snapshot-take", STORE_WORD_OF, STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN, "[NAME]",
     "keep the store as it is now, under a name", command_snapshot_take, .most_names = 1},
    {"snapshot-drop", STORE_WORD_OF, STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN, "SNAPSHOT...",
     "let snapshots go", command_snapshot_drop, .least_names = 1},
    {"snapshot-rename", STORE_WORD_OF, STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN,
     "SNAPSHOT NAME", "give a snapshot another name", command_snapshot_rename, .least_names = 2,
     .most_names = 2},
    {"snapshot-list", STORE_WORD_OF | STORE_WORD_BRIEF,
     STORE_COMMAND_READS | STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN, "[SNAPSHOT...]",
     "tell which snapshots there are, and what they hold", command_snapshot_list},
    {"snapshot-diff", STORE_WORD_OF,
     STORE_COMMAND_READS | STORE_COMMAND_IMMEDIATE | STORE_COMMAND_FOREIGN,
     "SNAPSHOT [SNAPSHOT] [MAILBOX...]",
     "tell what is different between two snapshots, or one and now", command_snapshot_diff,
     .least_names = 1},
    {"search", STORE_WORD_QUERY | STORE_WORD_RECURSIVE,
     STORE_COMMAND_READS | STORE_COMMAND_IMMEDIATE | STORE_COMMAND_PAST, "[MAILBOX...]",
     "look for messages", command_search, .needs = STORE_WORD_QUERY},
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

static const char *
describe_operands (const StoreCommand *command)
{
  bool foreign = (command->traits & STORE_COMMAND_FOREIGN) != 0;
  if (foreign && (command->traits & STORE_COMMAND_DIRECTORY) == 0)
    return command->operands;
  if (command->traits & STORE_COMMAND_SINGLE)
    return "MAILBOX";
  return command->traits & STORE_COMMAND_NAMED ? "MAILBOX..." : "[MAILBOX...]";
}

char *
store_command_usage (const StoreCommand *self)
{
  GString *text = g_string_new (self->name);
  bool directory = (self->traits & STORE_COMMAND_DIRECTORY) != 0;
  bool choice = (self->words & STORE_WORD_EXPORT) != 0;
  uint32_t needs = self->needs | (directory && !choice ? STORE_WORD_DIRECTORY : 0);
  for (const StoreWord *word = store_words; word->name != NULL; word++) {
    /* Foreign names may stand there as they are. */
    if ((self->words & word->bit) == 0 || word->bit == STORE_WORD_OF)
      continue;
    bool needed = (needs & word->bit) != 0;
    g_string_append_printf (text, " %s%s%s%s%s", needed ? "" : "[", word->name,
                            word->value != NULL ? "=" : "", word->value != NULL ? word->value : "",
                            needed ? "" : "]");
  }
  g_string_append_printf (text, " %s", describe_operands (self));
  return g_string_free (text, FALSE);
}

/* ---- requests ------------------------------------------------------------------------------ */

GPtrArray *
request_names (StoreRequest *self)
{
  if (self->names == NULL)
    self->names = g_ptr_array_new_with_free_func (g_free);
  return self->names;
}

/* What is no word: a mailbox, or a name that means nothing here. */
static bool
parse_operand (Store *store, StoreRequest *request, const char *text, GError **error)
{
  if (request->command->traits & STORE_COMMAND_FOREIGN) {
    g_ptr_array_add (request_names (request), g_strdup (text));
    request->words |= STORE_WORD_OF;
    return true;
  }
  g_auto (StoreNode) node = {0};
  if (!store_node_resolve (store, text, &node, error))
    return false;
  g_array_append_val (request->targets, node.number);
  return true;
}

/* Mailboxes that are called like a word are written as paths, or after "--". */
static bool
parse_word (Store *store, StoreRequest *request, const char *text, GError **error)
{
  bool names = (request->command->traits & STORE_COMMAND_FOREIGN) != 0;
  if (strcmp (text, "1") == 0 && !names)
    return true;
  const char *value;
  const StoreWord *word = word_find (text, &value);
  if (word == NULL)
    return parse_operand (store, request, text, error);
  if ((word->bit & ~request->command->words) != 0)
    return fail (error, EINVAL, "'%s' does not take '%s'", request->command->name, word->name);
  request->words |= word->bit;
  if (!word_parse_value (request, word->bit, value, error))
    return false;
  g_ptr_array_add (request->spelled, word_spell (word, value));
  return true;
}

/* The names of the words in a mask, for people: "set, add, remove". */
static char *
list_words (uint32_t words)
{
  GString *text = g_string_new (NULL);
  for (const StoreWord *word = store_words; word->name != NULL; word++) {
    if ((words & word->bit) != 0)
      g_string_append_printf (text, "%s%s", text->len > 0 ? ", " : "", word->name);
  }
  return g_string_free (text, FALSE);
}

/* Whether all is there that the command cannot do without. */
static bool
check_complete (const StoreRequest *request, GError **error)
{
  const StoreCommand *command = request->command;
  guint names = request->names != NULL ? request->names->len : 0;
  bool named = request->targets->len > 0 || names > 0;
  if ((command->traits & STORE_COMMAND_DIRECTORY) != 0 &&
      (request->directory == NULL) == (request->export == NULL))
    return fail (error, EINVAL, "'%s' wants a directory%s", command->name,
                 command->words & STORE_WORD_EXPORT ? " or an export" : "");
  if ((command->traits & STORE_COMMAND_SINGLE) != 0 && request->targets->len != 1)
    return fail (error, EINVAL, "'%s' wants one mailbox", command->name);
  if ((command->traits & STORE_COMMAND_NAMED) != 0 && !named)
    return fail (error, EINVAL, "'%s' wants %s", command->name,
                 command->traits & STORE_COMMAND_FOREIGN ? command->operands : "a mailbox");
  if (names < command->least_names || (command->most_names > 0 && names > command->most_names))
    return fail (error, EINVAL, "'%s' takes %s", command->name, command->operands);
  g_autofree char *missing = list_words (command->needs & ~request->words);
  if (*missing != '\0')
    return fail (error, EINVAL, "'%s' wants '%s'", command->name, missing);
  g_autofree char *choice = list_words (command->one_of);
  return command->one_of == 0 || (command->one_of & request->words) != 0 ||
         fail (error, EINVAL, "'%s' wants one of '%s'", command->name, choice);
}

StoreRequest *
request_new (const StoreCommand *command)
{
  StoreRequest *request = g_new0 (StoreRequest, 1);
  request->command = command;
  request->targets = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  request->spelled = g_ptr_array_new_with_free_func (g_free);
  return request;
}

/* The command that the first words name, also one whose name is written as two; `*out_count` of
 * them.
 */
static const StoreCommand *
find_command (const char *const *words, size_t *out_count, GError **error)
{
  const char *first = words[0] != NULL ? words[0] : "";
  g_autofree char *both =
      words[0] != NULL && words[1] != NULL ? g_strjoin ("-", first, words[1], NULL) : NULL;
  const StoreCommand *command = both != NULL ? store_command_find (both) : NULL;
  *out_count = command != NULL ? 2 : 1;
  if (command == NULL)
    command = store_command_find (first);
  if (command == NULL) {
    g_autofree char *printable = store_text_printable (first);
    fail (error, EINVAL, "no command '%s'", printable);
  }
  return command;
}

StoreRequest *
store_request_parse (Store *self, const char *const *text, GError **error)
{
  size_t count;
  const StoreCommand *command = find_command (text, &count, error);
  if (command == NULL)
    return NULL;
  g_autoptr (StoreRequest) request = request_new (command);
  bool words = true;
  for (const char *const *word = text + count; *word != NULL; word++) {
    if (words && strcmp (*word, "--") == 0)
      words = false;
    else if (words ? !parse_word (self, request, *word, error)
                   : !parse_operand (self, request, *word, error))
      return NULL;
  }
  return check_complete (request, error) ? g_steal_pointer (&request) : NULL;
}

void
store_request_free (StoreRequest *self)
{
  if (self == NULL)
    return;
  g_array_unref (self->targets);
  g_ptr_array_unref (self->spelled);
  g_clear_pointer (&self->names, g_ptr_array_unref);
  for (size_t i = 0; i < G_N_ELEMENTS (self->flags); i++)
    g_free (self->flags[i].keywords);
  g_free (self->directory);
  g_free (self->export);
  g_free (self->to);
  store_query_free (self->query);
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

bool
store_request_goes_out (const StoreRequest *self)
{
  return self->directory != NULL || self->export != NULL ||
         (self->words & STORE_WORD_CATASTROPHIC) != 0;
}

/* ---- requests in the queue ----------------------------------------------------------------- */

/* The word as it was given last; it was parsed already. Of names each counts. */
static char *
find_spelling (const StoreRequest *request, const StoreWord *word)
{
  const char *value;
  guint i = request->spelled->len;
  if (word->bit == STORE_WORD_OF)
    return word_join (word->name, request->names);
  while (i-- > 0 && word_find (request->spelled->pdata[i], &value) != word)
    ;
  return g_strdup (request->spelled->pdata[i]);
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
    if ((request->words & word->bit) == 0)
      continue;
    g_autofree char *spelled = find_spelling (request, word);
    g_string_append_printf (action, " %s", spelled);
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
  size_t count;
  const StoreCommand *command = find_command ((const char *const *)words, &count, error);
  if (command == NULL)
    return NULL;
  g_autoptr (StoreRequest) request = request_new (command);
  for (char **word = words + count; *word != NULL; word++) {
    if (!parse_word (store, request, *word, error))
      return NULL;
  }
  for (char **number = numbers; *number != NULL; number++) {
    if (!take_node (store, request, *number, error))
      return NULL;
  }
  return check_complete (request, error) ? g_steal_pointer (&request) : NULL;
}
