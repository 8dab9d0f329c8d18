/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c - the verbs of store_commands[] as subcommands: check, reconstruct, reset, ...
 *
 * The job runs in a thread of its own while this one draws the bar and listens for Ctrl-C. Findings
 * go to standard output, one a line; the summary goes to standard error.
 */
#include "tools/tools.h"

#include <inttypes.h>
#include <pthread.h>
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
    if ((command->words & word->bit) != 0)
      *next++ = (GOptionEntry){.long_name = word->name,
                               .short_name = word->letter,
                               .arg = flag ? G_OPTION_ARG_NONE : G_OPTION_ARG_FILENAME,
                               .arg_data = flag ? (void *)&given[i] : (void *)&values[i],
                               .description = word->summary,
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

/* From "-r -u joe example.com INBOX" to { "reconstruct", "recursive", "joe@example.com/INBOX" }. */
static GPtrArray *
make_request (const Tool *tool, Store *store, const GPtrArray *names)
{
  GPtrArray *request = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (request, g_strdup (tool->command));
  for (size_t i = 0; store_words[i].name != NULL; i++) {
    if (given[i])
      g_ptr_array_add (request, g_strdup (store_words[i].name));
    if (values[i] != NULL)
      g_ptr_array_add (request, g_strdup_printf ("%s=%s", store_words[i].name, values[i]));
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

static StoreJob *
make_job (const Tool *tool, Store *store, const GPtrArray *names, GError **error)
{
  g_autoptr (GPtrArray) request_words = make_request (tool, store, names);
  StoreRequest *request =
      store_request_parse (store, (const char *const *)request_words->pdata, error);
  if (request == NULL)
    return NULL;
  drop_covered (store, request->targets);
  return store_job_new (store, request);
}

/* ---- running ---- */

typedef struct {
  StoreJob *job;
  bool ok;
  GError *error;
} Run;

static void *
run_thread (void *data)
{
  Run *run = data;
  run->ok = store_job_run (run->job, &run->error);
  return NULL;
}

/* Runs the job to its end, or until a signal has stopped it. */
static bool
run_job (StoreJob *job, Progress *progress, GError **error)
{
  Run run = {.job = job};
  pthread_t thread;
  int code = pthread_create (&thread, NULL, run_thread, &run);
  if (code != 0)
    return fail (error, code, "start a thread: %s", g_strerror (code));
  struct timespec next;
  do {
    StoreProgress now;
    store_job_progress (job, &now);
    progress_show (progress, &now);
    if (progress_interrupted () != 0)
      store_job_cancel (job);
    clock_gettime (CLOCK_REALTIME, &next);
    next.tv_nsec += 100000000;
    next.tv_sec += next.tv_nsec / 1000000000;
    next.tv_nsec %= 1000000000;
  } while (pthread_timedjoin_np (thread, NULL, &next) == ETIMEDOUT);
  if (!run.ok)
    g_propagate_error (error, run.error);
  return run.ok;
}

#define FINDINGS_SHOWN 50u /* more would scroll away what matters; --json has them all */

static void
print_finding (const Tool *tool, const StoreFinding *finding)
{
  static const char *const outcomes[] = {
      [STORE_LEFT] = "left", [STORE_FIXED] = "fixed", [STORE_TAKEN] = "taken"};
  const char *problem = store_problem_name (finding->problem);
  if (tool->json) {
    GString *json = json_begin ("finding");
    json_string (json, "problem", problem);
    json_string (json, "outcome", outcomes[finding->outcome]);
    json_string (json, "object", finding->object);
    json_string (json, "detail", finding->detail);
    json_uint (json, "uid", finding->uid);
    json_uint (json, "size", finding->size);
    json_string (json, "remedy",
                 finding->outcome == STORE_LEFT ? store_problem_remedy (finding->problem) : NULL);
    json_print (json);
    return;
  }
  g_autofree char *size = text_size (finding->size);
  printf ("%-17s  %s  %s", problem, finding->object, finding->detail);
  switch (finding->outcome) {
  case STORE_LEFT: printf ("; %s\n", store_problem_remedy (finding->problem)); break;
  case STORE_FIXED: puts (" (fixed)"); break;
  case STORE_TAKEN: printf (" (%s)\n", size); break;
  }
}

static void
print_findings (const Tool *tool, const GPtrArray *findings)
{
  guint shown = tool->json ? findings->len : MIN (findings->len, FINDINGS_SHOWN);
  for (guint i = 0; i < shown; i++)
    print_finding (tool, g_ptr_array_index (findings, i));
  if (shown < findings->len)
    printf ("and %u more (--json prints all)\n", findings->len - shown);
  /* In a log that gets both, what follows on standard error shall follow there, too. */
  fflush (stdout);
}

static void
print_result_json (const Tool *tool, const StoreResult *result)
{
  GString *json = json_begin ("result");
  json_string (json, "command", tool->command);
  json_uint (json, "mailboxes", result->mailboxes);
  json_uint (json, "messages", result->messages);
  json_uint (json, "bytes", result->bytes);
  json_uint (json, "fixed", result->fixed);
  json_uint (json, "left", result->left);
  json_uint (json, "taken", result->taken);
  json_uint (json, "taken_bytes", result->taken_bytes);
  json_print (json);
}

/* "check: 2 mailboxes, 10 messages, 1.0 MB in 0.1 s; 1 left" */
static void
print_result (const Tool *tool, const StoreRequest *request, const StoreResult *result,
              double seconds)
{
  if (tool->json) {
    print_result_json (tool, result);
    return;
  }
  g_autofree char *mailboxes = text_count (result->mailboxes, "mailbox", "mailboxes");
  g_autofree char *messages = text_count (result->messages, "message", "messages");
  g_autofree char *size = text_size (result->bytes);
  g_autofree char *time = text_seconds (seconds);
  g_autofree char *taken_size = text_size (result->taken_bytes);
  bool dry_run = is_given (STORE_WORD_DRY_RUN);
  g_autofree char *taken = result->taken == 0
                               ? g_strdup ("")
                               : g_strdup_printf ("%" PRIu64 " %s (%s), ", result->taken,
                                                  dry_run ? "to take" : "taken", taken_size);
  /* Who only looks fixes nothing. */
  bool looks = (request->command->traits & STORE_COMMAND_READS) != 0;
  g_autofree char *fixed =
      looks ? g_strdup ("") : g_strdup_printf ("%" PRIu64 " fixed, ", result->fixed);
  tool_say (tool, "%s%s: %s, %s, %s in %s; %s%s%" PRIu64 " left", tool->command,
            dry_run ? " (dry run)" : "", mailboxes, messages, size, time, taken, fixed,
            result->left);
}

/* Who only looks changes nothing, not even what opening for writing would put right. */
static StoreOpenFlags
choose_flags (const Tool *tool)
{
  const StoreCommand *command = store_command_find (tool->command);
  bool looks = (command->traits & STORE_COMMAND_READS) != 0 || is_given (STORE_WORD_DRY_RUN);
  return looks ? STORE_READ_ONLY : 0;
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

bool
command_run (Tool *tool, int argc, char **argv, GError **error)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  for (int i = 0; i < argc; i++) {
    if (!take_operand (argv[i], names, error))
      return false;
  }
  if (from_file != NULL && !take_file (names, error))
    return false;
  g_autoptr (Store) store = tool_store_open (tool, choose_flags (tool), error);
  if (store == NULL)
    return false;
  g_autoptr (StoreJob) job = make_job (tool, store, names, error);
  if (job == NULL)
    return false;
  g_autoptr (Progress) progress = progress_new (tool);
  bool ok = run_job (job, progress, error);
  double seconds = progress_seconds (progress);
  g_clear_pointer (&progress, progress_free); /* the bar goes before the lines come */

  print_findings (tool, store_job_findings (job));
  if (!ok)
    return false;
  StoreResult result;
  store_job_result (job, &result);
  print_result (tool, store_job_request (job), &result, seconds);
  tool->exit_code = result.left > 0 ? EXIT_FINDINGS : 0;
  return true;
}
