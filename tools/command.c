/* SPDX-License-Identifier: Apache-2.0 */
/* command.c - the verbs of store_commands[] as subcommands: check, reconstruct, reset, ... */
#include "tools/tools.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WORDS_MAX 32u /* as many as StoreWords has bits */

static char *user, *from_file;
static gboolean given[WORDS_MAX]; /* by the row of store_words[] */
static char *values[WORDS_MAX];

const GOptionEntry *
command_options (const StoreCommand *command)
{
  static GOptionEntry entries[WORDS_MAX + 3];
  GOptionEntry *next = entries;
  for (size_t i = 0; store_words[i].name != NULL; i++) {
    const StoreWord *word = &store_words[i];
    bool flag = word->value == NULL;
    bool own = word->bit == STORE_WORD_FORCE && command->force != NULL;
    /* -v is an option of all commands. */
    if ((command->words & word->bit) != 0 && word->bit != STORE_WORD_VERBOSE)
      *next++ = (GOptionEntry){.long_name = word->name,
                               .short_name = word->letter,
                               .arg = flag ? G_OPTION_ARG_NONE : G_OPTION_ARG_FILENAME,
                               .arg_data = flag ? (void *)&given[i] : (void *)&values[i],
                               .description = own ? command->force : word->summary,
                               .arg_description = word->value};
  }
  *next++ = (GOptionEntry){.long_name = "user",
                           .short_name = 'u',
                           .arg = G_OPTION_ARG_FILENAME,
                           .arg_data = &user,
                           .description = "the mailboxes are USER's, in the DOMAIN named first",
                           .arg_description = "USER"};
  *next++ = (GOptionEntry){.long_name = "from-file",
                           .arg = G_OPTION_ARG_FILENAME,
                           .arg_data = &from_file,
                           .description = "the mailboxes are the lines of FILE, too; - is stdin",
                           .arg_description = "FILE"};
  *next = (GOptionEntry){NULL};
  return entries;
}

/* Words of the control files may stand among the mailboxes. */
static bool
take_word (const char *operand)
{
  for (size_t i = 0; store_words[i].name != NULL; i++) {
    size_t length = strlen (store_words[i].name);
    if (strncmp (operand, store_words[i].name, length) != 0)
      continue;
    if (store_words[i].value == NULL && operand[length] == '\0') {
      given[i] = true;
      return true;
    }
    if (store_words[i].value != NULL && operand[length] == '=') {
      g_free (values[i]);
      values[i] = g_strdup (operand + length + 1);
      return true;
    }
  }
  return strcmp (operand, "1") == 0;
}

static bool
is_given (StoreWords bit)
{
  for (size_t i = 0; store_words[i].name != NULL; i++) {
    if (store_words[i].bit == bit)
      return given[i] || values[i] != NULL;
  }
  return false;
}

/* What follows a DOMAIN is a name inside it: a mailbox of `user`, a path ("user/joe/INBOX"), or a
 * shared folder. */
static char *
spell_in_domain (const char *domain, const char *name)
{
  if (user != NULL)
    return g_strdup_printf ("%s@%s/%s", user, domain, name);
  bool is_path = g_str_has_prefix (name, "user/") || g_str_has_prefix (name, "shared/");
  return g_strdup_printf ("%s/%s%s", domain, is_path ? "" : "shared/", name);
}

static bool
is_domain (Store *store, const char *spelling)
{
  g_auto (StoreNode) node = {0};
  return store_node_resolve (store, spelling, &node, NULL) && node.kind == STORE_NODE_DOMAIN;
}

/* A path as a word can hold it: absolute, and without spaces. */
static char *
escape_path (const char *path)
{
  g_autofree char *absolute = g_canonicalize_filename (path, NULL);
  return g_uri_escape_string (absolute, "/", TRUE);
}

/* Mailboxes that this store may not have. */
static void
add_foreign (GPtrArray *request, const GPtrArray *names)
{
  g_autoptr (GString) text = g_string_new ("of=");
  bool in_domain = user != NULL && names->len > 0;
  for (guint i = in_domain && names->len > 1; i < names->len; i++) {
    const char *name = g_ptr_array_index (names, i), *domain = g_ptr_array_index (names, 0);
    g_autofree char *spelled = !in_domain ? g_strdup (name)
                               : i == 0   ? g_strjoin ("@", user, domain, NULL)
                                          : g_strdup_printf ("%s@%s/%s", user, domain, name);
    g_autofree char *escaped = g_uri_escape_string (spelled, "/@", TRUE);
    g_string_append_printf (text, "%s%s", text->len > 3 ? "," : "", escaped);
  }
  if (names->len > 0)
    g_ptr_array_add (request, g_strdup (text->str));
}

/* From "-r -u joe example.com INBOX" to { "reconstruct", "recursive", "joe@example.com/INBOX" }. */
static GPtrArray *
spell_request (const Tool *tool, Store *store, const StoreCommand *command, const GPtrArray *names)
{
  GPtrArray *request = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (request, g_strdup (command->name));
  for (size_t i = 0; store_words[i].name != NULL; i++) {
    bool verbose = store_words[i].bit == STORE_WORD_VERBOSE && tool->verbose &&
                   (command->words & STORE_WORD_VERBOSE) != 0;
    if (given[i] || verbose)
      g_ptr_array_add (request, g_strdup (store_words[i].name));
    g_autofree char *path = store_words[i].bit == STORE_WORD_DIRECTORY && values[i] != NULL
                                ? escape_path (values[i])
                                : NULL;
    const char *value = path != NULL ? path : values[i];
    if (value != NULL)
      g_ptr_array_add (request, g_strdup_printf ("%s=%s", store_words[i].name, value));
  }
  if (command->traits & STORE_COMMAND_FOREIGN) {
    add_foreign (request, names);
    g_ptr_array_add (request, NULL);
    return request;
  }
  const char *first = names->len > 0 ? g_ptr_array_index (names, 0) : NULL;
  bool in_domain = user != NULL || (names->len > 1 && is_domain (store, first));
  if (user != NULL && names->len < 2)
    g_ptr_array_add (request, g_strjoin ("@", user, first, NULL));
  for (guint i = in_domain ? 1 : 0; i < names->len; i++) {
    const char *name = g_ptr_array_index (names, i);
    g_ptr_array_add (request, in_domain ? spell_in_domain (first, name) : g_strdup (name));
  }
  g_ptr_array_add (request, NULL);
  return request;
}

/* Whether another target has all of `number` already: the same one, met before, or a directory of
 * mailboxes above it. (A mailbox above it may be meant alone.) */
static bool
is_covered (Store *store, const GArray *targets, guint index)
{
  uint32_t number = g_array_index (targets, uint32_t, index);
  for (uint32_t at = number;;) {
    g_auto (StoreNode) node = {0};
    if (!store_node_get (store, at, &node, NULL))
      return false;
    for (guint i = 0; i < targets->len; i++) {
      bool whole = at == number
                       ? i < index
                       : node.kind != STORE_NODE_MAILBOX || is_given (STORE_WORD_RECURSIVE);
      if (g_array_index (targets, uint32_t, i) == at && whole)
        return true;
    }
    if (at == STORE_ROOT)
      return false;
    at = node.parent;
  }
}

/* "reconstruct joe local": each mailbox is worked on, and counted, once. */
static void
drop_covered (Store *store, GArray *targets)
{
  for (guint i = targets->len; i-- > 0;) {
    if (is_covered (store, targets, i))
      g_array_remove_index (targets, i);
  }
}

StoreRequest *
command_request (const Tool *tool, Store *store, const StoreCommand *command,
                 const GPtrArray *names, GError **error)
{
  g_autoptr (GPtrArray) words = spell_request (tool, store, command, names);
  StoreRequest *request = store_request_parse (store, (const char *const *)words->pdata, error);
  if (request != NULL)
    drop_covered (store, request->targets);
  return request;
}

/* ---- running --------------------------------------------------------------------------------- */

/* Who only looks changes nothing, not even what opening for writing would put right. */
static StoreOpenFlags
choose_flags (const StoreCommand *command)
{
  bool looks = (command->traits & STORE_COMMAND_READS) != 0 || is_given (STORE_WORD_DRY_RUN);
  looks = looks && !is_given (STORE_WORD_RECOVER) && !is_given (STORE_WORD_LOCKS);
  return looks ? STORE_READ_ONLY : 0;
}

/* Where the first operand is a directory. */
static void
take_directory (const StoreCommand *command, GPtrArray *names)
{
  if ((command->traits & STORE_COMMAND_DIRECTORY) == 0 || names->len == 0 ||
      is_given (STORE_WORD_DIRECTORY))
    return;
  for (size_t i = 0; store_words[i].name != NULL; i++) {
    if (store_words[i].bit == STORE_WORD_DIRECTORY)
      values[i] = g_strdup (g_ptr_array_index (names, 0));
  }
  g_ptr_array_remove_index (names, 0);
}

/* What the command is for, and its words: operands, and lines of --from-file. */
static bool
take_operand (const char *text, GPtrArray *names, GError **error)
{
  /* Most likely a variable that was never set; to the store it would be the whole of it. */
  if (*text == '\0')
    return fail (error, EINVAL, "a mailbox's name is empty");
  if (!take_word (text))
    g_ptr_array_add (names, g_strdup (text));
  return true;
}

static bool
take_file (GPtrArray *names, GError **error)
{
  FILE *file = strcmp (from_file, "-") == 0 ? stdin : fopen (from_file, "re");
  if (file == NULL)
    return fail_errno (error, "open %s", from_file);
  char *line = NULL;
  size_t size = 0;
  guint before = names->len;
  for (ssize_t got; (got = getline (&line, &size, file)) >= 0;) {
    g_strchomp (line);
    if (*line != '\0')
      g_ptr_array_add (names, g_strdup (line));
  }
  free (line);
  bool good = !ferror (file) || fail_errno (error, "read %s", from_file);
  if (file != stdin)
    fclose (file);
  /* An empty list means nothing; to the store it would be the whole of it. */
  return good && (names->len > before || fail (error, EINVAL, "%s names no mailbox", from_file));
}

GPtrArray *
command_names (const StoreCommand *command, int argc, char **argv, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  for (int i = 0; i < argc; i++) {
    if (!take_operand (argv[i], names, error))
      return NULL;
  }
  take_directory (command, names);
  return from_file == NULL || take_file (names, error) ? g_steal_pointer (&names) : NULL;
}

bool
command_run (Tool *tool, int argc, char **argv, GError **error)
{
  const StoreCommand *command = store_command_find (tool->command);
  g_autoptr (GPtrArray) names = command_names (command, argc, argv, error);
  g_autoptr (Store) store =
      names != NULL ? tool_store_open (tool, choose_flags (command), error) : NULL;
  StoreRequest *request =
      store != NULL ? command_request (tool, store, command, names, error) : NULL;
  if (request == NULL)
    return false;
  g_autoptr (StoreJob) job = store_job_new (store, request);
  /* Who only looks leaves no trace. One that cannot be registered runs all the same. */
  g_autoptr (GError) unregistered = NULL;
  if (!store_request_reads (store_job_request (job)))
    store_job_register (job, &unregistered);
  if (!run_job (tool, job, error))
    return false;
  if (unregistered != NULL)
    tool_say (tool, "it is not among the jobs: %s", unregistered->message);
  return true;
}
