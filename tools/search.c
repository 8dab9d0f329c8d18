/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search.c - mailstore search: look for messages.
 *
 *   mailstore search 'from:alice subject:"the invoice" since:2026-01-01'
 *   mailstore search -r --paths body:contract joe@example.com/INBOX | xargs -d '\n' cp -t
 * /tmp/found
 */
#include "tools/print.h"
#include "tools/site.h"
#include "tools/tools.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static gboolean recursive, paths;

const GOptionEntry search_options[] = {
    {"recursive", 'r', 0, G_OPTION_ARG_NONE, &recursive, "with everything below the mailboxes",
     NULL},
    {"paths", 'p', 0, G_OPTION_ARG_NONE, &paths, "print where each lies below the mount", NULL},
    {NULL},
};

void
search_help (void)
{
  puts ("\nQUERY is one argument; its words must all hold:\n"
        "  from: to: cc: subject: message-id:   the text is in that field\n"
        "  body: text:                          it is in the message's text; or also in a field\n"
        "  since: before: on:                   2026-01-31, 2026-01, 2026; the first two: 7d\n"
        "  flag: keyword: uid: in:              seen, $Label1, 1:5, INBOX\n"
        "  larger: smaller:                     500, 64K, 20M\n"
        "A word without a key is in subject, from or to; '-' before a word means that it does not\n"
        "hold. 'mailstore search -- \"-flag:seen subject:\\\"the invoice\\\" since:2026\"'");
}

/* While it is told what was found. */
typedef struct {
  Tool *tool;
  Site *site;
  int columns;
  char *path;      /* of the mailbox that was named last, below mail/; owned */
  uint32_t number; /* of it, here */
  uint64_t found, missed;
  GError *failure;
} Telling;

/* A mount has numbers of its own for what its store tells, so both go by the path. */
static bool
name_mailbox (Telling *self, const StoreFinding *finding, GError **error)
{
  g_autofree char *path = g_path_get_dirname (finding->object);
  g_auto (StoreNode) node = {0};
  if (g_strcmp0 (path, self->path) == 0)
    return true;
  if (!site_resolve (self->site, path, &node, error))
    return false;
  g_free (self->path);
  self->path = g_steal_pointer (&path);
  self->number = node.number;
  g_autofree char *title = store_path_title (self->path);
  if (!self->tool->json)
    printf ("%s\n", title);
  return true;
}

static bool
print_letter (Telling *self, const StoreFinding *finding, GError **error)
{
  g_auto (Letter) letter = {0};
  bool there = false;
  if (!name_mailbox (self, finding, error) ||
      !site_letter (self->site, self->number, finding->uid, &letter, &there, error))
    return false;
  g_autofree char *title = store_path_title (self->path);
  if (there && self->tool->json)
    message_print_json (title, &letter);
  else if (there)
    message_print (&letter, self->columns);
  return true;
}

/* One that is gone meanwhile is left out. */
static void
print_found (Telling *self, const StoreFinding *finding)
{
  g_autoptr (GError) failure = NULL;
  if (paths && !self->tool->json)
    puts (finding->object);
  else if (!print_letter (self, finding, &failure) && failure->code != ENOENT &&
           failure->code != ESTALE)
    self->failure = g_steal_pointer (&failure);
}

static void
tell (const StoreFinding *finding, void *data)
{
  Telling *self = data;
  if (self->failure != NULL)
    return;
  if (finding->problem == STORE_PROBLEM_MATCH) {
    self->found++;
    print_found (self, finding);
    return;
  }
  self->missed++;
  fprintf (stderr, "mailstore: %s: %s\n", finding->object, finding->detail);
}

static GPtrArray *
spell (int argc, char **argv)
{
  GPtrArray *words = words_new ("search");
  g_autofree char *query = store_word_escape (argv[0]);
  words_add (words, "query", query);
  if (recursive)
    words_add (words, "recursive", NULL);
  words_end (words, argv + 1);
  return words;
}

/* Without quotes the second word of a query is looked for among the mailboxes. */
static bool
forgot_quotes (int argc, char **argv)
{
  for (int i = 1; i < argc; i++) {
    if (strchr (argv[i], ':') != NULL)
      return true;
  }
  return false;
}

bool
search_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc < 1)
    return fail (error, EINVAL, "search takes a QUERY, and perhaps mailboxes");
  g_autoptr (GPtrArray) words = spell (argc, argv);
  /* A mount looks for nothing in its snapshots. */
  g_autoptr (Site) site =
      (tool->snapshot != NULL ? site_open_store : site_open) (tool, STORE_READ_ONLY, error);
  if (site == NULL)
    return false;
  Telling telling = {.tool = tool, .site = site, .columns = text_columns (STDOUT_FILENO)};
  bool done = site_tell (site, tool, words, tell, &telling, error);
  g_free (telling.path);
  if (!done) {
    g_clear_error (&telling.failure);
    if (error_code (*error) == ENOENT && forgot_quotes (argc, argv))
      fail_prefix (error, "all words of a QUERY are one argument, in quotes");
    return false;
  }
  if (telling.failure != NULL) {
    g_propagate_error (error, telling.failure);
    return false;
  }
  tool->exit_code = telling.found > 0 ? 0 : EXIT_FINDINGS;
  return telling.missed == 0 || fail (error, EIO, "not everything could be looked at");
}
