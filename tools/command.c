/* SPDX-License-Identifier: Apache-2.0 */
/* command.c - the verbs of store_commands[] as subcommands: check, reconstruct, reset, ... */
#include "tools/site.h"
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

/* Whether one of them is. */
static bool
is_given (uint32_t bits)
{
  for (size_t i = 0; store_words[i].name != NULL; i++) {
    if ((store_words[i].bit & bits) != 0 && (given[i] || values[i] != NULL))
      return true;
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
is_domain (Site *site, const char *spelling)
{
  g_auto (StoreNode) node = {0};
  return site_resolve (site, spelling, &node, NULL) && node.kind == STORE_NODE_DOMAIN;
}

/* A path as a word can hold it: absolute, and without spaces. */
static char *
escape_path (const char *path, StoreWords bit)
{
  bool standard = bit == STORE_WORD_EXPORT && strcmp (path, "-") == 0;
  g_autofree char *absolute = g_canonicalize_filename (standard ? "/dev/stdin" : path, NULL);
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

/* What the mailboxes are called in full: "-u joe example.com INBOX" is "joe@example.com/INBOX". */
static GPtrArray *
spell_names (Site *site, const GPtrArray *names)
{
  GPtrArray *spelled = g_ptr_array_new_with_free_func (g_free);
  const char *first = names->len > 0 ? g_ptr_array_index (names, 0) : NULL;
  bool in_domain = user != NULL || (names->len > 1 && is_domain (site, first));
  if (user != NULL && names->len < 2)
    g_ptr_array_add (spelled, g_strjoin ("@", user, first, NULL));
  for (guint i = in_domain ? 1 : 0; i < names->len; i++) {
    const char *name = g_ptr_array_index (names, i);
    g_ptr_array_add (spelled, in_domain ? spell_in_domain (first, name) : g_strdup (name));
  }
  return spelled;
}

/* A node that the command is for. */
typedef struct {
  char *path; /* "/example.com/user/joe": with a slash before it, no word is like it */
  bool whole; /* what is below it is meant, too */
} Target;

static void
clear_target (gpointer data)
{
  g_free (((Target *)data)->path);
}

static GArray *
find_targets (Site *site, const GPtrArray *spelled, GError **error)
{
  g_autoptr (GArray) targets = g_array_new (FALSE, FALSE, sizeof (Target));
  g_array_set_clear_func (targets, clear_target);
  for (guint i = 0; i < spelled->len; i++) {
    g_auto (StoreNode) node = {0};
    if (!site_resolve (site, spelled->pdata[i], &node, error))
      return NULL;
    g_autofree char *path = site_node_path (site, node.number, error);
    if (path == NULL)
      return NULL;
    Target target = {g_strconcat ("/", path, NULL),
                     node.kind != STORE_NODE_MAILBOX || is_given (STORE_WORD_RECURSIVE)};
    g_array_append_val (targets, target);
  }
  return g_steal_pointer (&targets);
}

/* Whether another target has all of that one already: the same one, met before, or a directory
 * above it. (A mailbox above it may be meant alone.) */
static bool
is_covered (const GArray *targets, guint index)
{
  const char *path = g_array_index (targets, Target, index).path;
  for (guint i = 0; i < targets->len; i++) {
    const Target *other = &g_array_index (targets, Target, i);
    size_t length = strlen (other->path);
    if (strncmp (path, other->path, length) != 0 || i == index)
      continue;
    bool same = path[length] == '\0', root = length == 1;
    if (same ? i < index : other->whole && (root || path[length] == '/'))
      return true;
  }
  return false;
}

/* "reconstruct joe local": each mailbox is worked on, and counted, once. */
static bool
add_targets (GPtrArray *request, Site *site, const GPtrArray *names, GError **error)
{
  g_autoptr (GPtrArray) spelled = spell_names (site, names);
  g_autoptr (GArray) targets = find_targets (site, spelled, error);
  for (guint i = 0; targets != NULL && i < targets->len; i++) {
    if (!is_covered (targets, i))
      g_ptr_array_add (request, g_strdup (g_array_index (targets, Target, i).path));
  }
  return targets != NULL;
}

/* The verb, and its words as they were given. */
static GPtrArray *
spell_words (const Tool *tool, const StoreCommand *command)
{
  GPtrArray *request = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (request, g_strdup (command->name));
  for (size_t i = 0; store_words[i].name != NULL; i++) {
    bool verbose = store_words[i].bit == STORE_WORD_VERBOSE && tool->verbose &&
                   (command->words & STORE_WORD_VERBOSE) != 0;
    if (given[i] || verbose)
      g_ptr_array_add (request, g_strdup (store_words[i].name));
    bool is_path = (store_words[i].bit & (STORE_WORD_DIRECTORY | STORE_WORD_EXPORT)) != 0;
    g_autofree char *path =
        is_path && values[i] != NULL ? escape_path (values[i], store_words[i].bit) : NULL;
    const char *value = path != NULL ? path : values[i];
    if (value != NULL)
      g_ptr_array_add (request, g_strdup_printf ("%s=%s", store_words[i].name, value));
  }
  return request;
}

GPtrArray *
command_words (const Tool *tool, Site *site, const StoreCommand *command, const GPtrArray *names,
               guint *out_count, GError **error)
{
  g_autoptr (GPtrArray) request = spell_words (tool, command);
  guint before = request->len;
  bool foreign = (command->traits & STORE_COMMAND_FOREIGN) != 0;
  if (foreign)
    add_foreign (request, names);
  else if (!add_targets (request, site, names, error))
    return NULL;
  *out_count = foreign ? 0 : request->len - before;
  g_ptr_array_add (request, NULL);
  return g_steal_pointer (&request);
}

/* ---- running --------------------------------------------------------------------------------- */

/* Who only looks changes nothing, not even what opening for writing would put right. */
static StoreOpenFlags
choose_flags (const Tool *tool, const StoreCommand *command)
{
  bool looks = (command->traits & STORE_COMMAND_READS) != 0 || is_given (STORE_WORD_DRY_RUN);
  looks = looks || (tool->forensic && (command->traits & STORE_COMMAND_PAST) != 0);
  looks = looks && !is_given (STORE_WORD_RECOVER) && !is_given (STORE_WORD_LOCKS);
  StoreOpenFlags later = is_given (STORE_WORD_EXPORT) ? STORE_TAKE_LATER : 0;
  return looks || tool->snapshot != NULL ? STORE_READ_ONLY : later;
}

/* Where the first operand is a directory. */
static void
take_directory (const StoreCommand *command, GPtrArray *names)
{
  if ((command->traits & STORE_COMMAND_DIRECTORY) == 0 || names->len == 0 ||
      is_given (STORE_WORD_DIRECTORY | STORE_WORD_EXPORT))
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

/* A directory that is named is one of this host, and of whoever calls; and a mount has no jobs for
 * its snapshots. */
Site *
command_site (const Tool *tool, const StoreCommand *command, StoreOpenFlags flags, GError **error)
{
  bool store = (command->traits & STORE_COMMAND_DIRECTORY) != 0 || tool->snapshot != NULL;
  return (store ? site_open_store : site_open) (tool, flags, error);
}

bool
command_run (Tool *tool, int argc, char **argv, GError **error)
{
  const StoreCommand *command = store_command_find (tool->command);
  g_autoptr (GPtrArray) names = command_names (command, argc, argv, error);
  g_autoptr (Site) site =
      names != NULL ? command_site (tool, command, choose_flags (tool, command), error) : NULL;
  guint count;
  g_autoptr (GPtrArray) words =
      site != NULL ? command_words (tool, site, command, names, &count, error) : NULL;
  return words != NULL && site_run (site, tool, command, words, error);
}
