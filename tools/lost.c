/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lost.c - mailstore lost: what lies in no mailbox any more, or is not what it was.
 *
 *   mailstore lost list expunged
 *   mailstore lost show missing/00000004-0000000042.eml
 *   mailstore lost restore --to joe@example.com/Found orphans/00000004-notes.txt
 */
#include "tools/site.h"
#include "tools/tools.h"

#include <stdio.h>
#include <string.h>

static gboolean force;
static char *target;

const GOptionEntry lost_options[] = {
    {"to", 0, 0, G_OPTION_ARG_FILENAME, &target,
     "the mailbox to put it into; else the one that it was in (restore)", "MAILBOX"},
    {"force", 0, 0, G_OPTION_ARG_NONE, &force, "yes, for good (remove)", NULL},
    {NULL},
};

typedef enum { LIST, SHOW, RESTORE, REMOVE } Action;

static const struct {
  const char *name, *command;
  const char *takes; /* in words */
  int least;         /* operands */
} actions[] = {
    [LIST] = {"list", "lost-list", "kinds of lost things, or none", 0},
    [SHOW] = {"show", "lost-list", "KIND/NAME...", 1},
    [RESTORE] = {"restore", "lost-restore", "KIND/NAME...", 1},
    [REMOVE] = {"remove", "lost-remove", "KIND/NAME...", 1},
};

static bool
find_action (const char *name, int operands, Action *out, GError **error)
{
  for (Action action = LIST; action <= REMOVE; action++) {
    if (strcmp (name, actions[action].name) != 0)
      continue;
    *out = action;
    return operands >= actions[action].least ||
           fail (error, EINVAL, "lost %s takes %s", name, actions[action].takes);
  }
  return fail (error, EINVAL, "lost takes list, show, restore or remove, not '%s'", name);
}

/* A kind has no slash, a name has one: so each action gets what it means. */
static bool
check_operands (Action action, char **operands, GError **error)
{
  for (; operands != NULL && *operands != NULL; operands++) {
    if ((strchr (*operands, '/') != NULL) == (action == LIST))
      return fail (error, EINVAL, "lost %s takes %s, not '%s'", actions[action].name,
                   actions[action].takes, *operands);
  }
  return true;
}

static GPtrArray *
spell (Action action, char **operands)
{
  static char *const none[] = {NULL};
  GPtrArray *words = words_new (actions[action].command);
  if (action == REMOVE)
    words_add (words, "force", NULL);
  if (action == RESTORE && target != NULL) {
    g_autofree char *to = store_word_escape (target);
    words_add (words, "to", to);
  }
  words_end (words, operands != NULL ? operands : none);
  return words;
}

typedef struct {
  Tool *tool;
  Action action;
} Telling;

static void
tell (const StoreFinding *finding, void *data)
{
  const Telling *self = data;
  if (self->action == SHOW)
    puts (finding->detail);
  else if (self->tool->json)
    json_print (store_finding_json (finding));
  else if (self->action == LIST)
    printf ("%s  %s\n", finding->object, finding->detail);
  else if (self->action == RESTORE && finding->uid > 0)
    printf ("%u\n", finding->uid);
}

bool
lost_run (Tool *tool, int argc, char **argv, GError **error)
{
  Telling telling = {.tool = tool};
  char **operands = argc > 0 ? argv + 1 : NULL;
  if (!find_action (argc > 0 ? argv[0] : actions[LIST].name, MAX (argc - 1, 0), &telling.action,
                    error) ||
      !check_operands (telling.action, operands, error))
    return false;
  if (telling.action == REMOVE && !force)
    return fail (error, EINVAL, "what is removed cannot be brought back; --force removes it");
  bool looks = telling.action == LIST || telling.action == SHOW;
  g_autoptr (GPtrArray) words = spell (telling.action, operands);
  g_autoptr (Site) site = site_open (tool, looks ? STORE_READ_ONLY : 0, error);
  return site != NULL && site_tell (site, tool, words, tell, &telling, error);
}
