/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox.c - mailstore mailbox: make, rename, remove and set mailboxes.
 *
 *   mailstore mailbox create --special-use '\Sent' joe@example.com/Sent
 *   mailstore mailbox rename joe@example.com/Old joe@example.com/Archive/2024
 */
#include "tools/print.h"
#include "tools/site.h"
#include "tools/tools.h"

#include <stdio.h>
#include <string.h>

static gboolean recursive, subscribed_only;
static char *special_use, *index_state;

const GOptionEntry mailbox_options[] = {
    {"recursive", 'r', 0, G_OPTION_ARG_NONE, &recursive, "with everything below (list, remove)",
     NULL},
    {"subscribed", 0, 0, G_OPTION_ARG_NONE, &subscribed_only, "subscribed ones only (list)", NULL},
    {"special-use", 0, 0, G_OPTION_ARG_STRING, &special_use,
     "what it is for, like '\\Sent', or none (create, set)", "USE"},
    {"index", 0, 0, G_OPTION_ARG_STRING, &index_state,
     "whether a user has an index, or for text in full, too (set)", "on|off|text"},
    {NULL},
};

/* ---- listing ------------------------------------------------------------------------------- */

static bool
print_node (Site *site, StoreNode *node, void *data, GError **error)
{
  const Tool *tool = data;
  if (!site_node_state (site, node, error))
    return false;
  if (subscribed_only && !node->subscribed)
    return true;
  if (tool->json)
    return mailbox_print (site, node, error);
  g_autofree char *title = site_node_title (site, node->number, error);
  if (title == NULL)
    return false;
  g_autofree char *printable = store_text_printable (title);
  g_autofree char *use = store_text_printable (node->special_use ? node->special_use : "-");
  printf ("%-10s  %-10s  %s\n", node->subscribed ? "subscribed" : "-", use, printable);
  return true;
}

/* Above the users there are no mailboxes to list alone. */
static bool
list (const Tool *tool, char **operands, GError **error)
{
  g_auto (StoreNode) node = {0};
  g_autoptr (Site) site = site_open (tool, STORE_READ_ONLY, error);
  if (site == NULL || !site_resolve (site, operands[0] != NULL ? operands[0] : "", &node, error))
    return false;
  bool above = node.kind < STORE_NODE_USER;
  return tree_each (site, node.number, recursive || above, print_node, (void *)tool, error);
}

/* ---- changing ------------------------------------------------------------------------------ */

static const struct {
  const char *name;
  const char *takes; /* in words */
  int least, most;   /* operands */
} actions[] = {
    {"create", "MAILBOX...", 1, INT_MAX},    {"rename", "a MAILBOX and its new name", 2, 2},
    {"remove", "MAILBOX...", 1, INT_MAX},    {"list", "one MAILBOX, USER or DOMAIN, or none", 0, 1},
    {"subscribe", "MAILBOX...", 1, INT_MAX}, {"unsubscribe", "MAILBOX...", 1, INT_MAX},
    {"set", "MAILBOX...", 1, INT_MAX},
};

/* Which of them `argv` begins with, with as many operands as it takes. */
static bool
check_action (int argc, char **argv, GError **error)
{
  for (size_t i = 0; argc > 0 && i < G_N_ELEMENTS (actions); i++) {
    if (strcmp (actions[i].name, argv[0]) == 0)
      return (argc - 1 >= actions[i].least && argc - 1 <= actions[i].most) ||
             fail (error, EINVAL, "mailbox %s takes %s", actions[i].name, actions[i].takes);
  }
  return fail (error, EINVAL,
               "mailbox takes create, rename, remove, list, subscribe, unsubscribe or set");
}

/* "mailbox-create", with those of the options that it takes. */
static GPtrArray *
spell (char **argv)
{
  g_autofree char *name = g_strconcat ("mailbox-", argv[0], NULL);
  uint32_t takes = store_command_find (name)->words;
  GPtrArray *words = words_new (name);
  if (recursive && (takes & STORE_WORD_RECURSIVE))
    words_add (words, "recursive", NULL);
  if (special_use != NULL && (takes & STORE_WORD_USE))
    words_add (words, "special-use", special_use);
  if (index_state != NULL && (takes & STORE_WORD_INDEX))
    words_add (words, "index", index_state);
  if (takes & STORE_WORD_TO) {
    g_autofree char *to = store_word_escape (argv[2]);
    words_add (words, "to", to);
    words_end (words, (char *[]){argv[1], NULL});
  } else
    words_end (words, argv + 1);
  return words;
}

static bool
print_made (Site *site, const StoreFinding *finding, GError **error)
{
  g_auto (StoreNode) node = {0};
  return site_resolve (site, finding->object, &node, error) &&
         site_node_state (site, &node, error) && mailbox_print (site, &node, error);
}

static bool
say_removed (const Tool *tool, Site *site, const StoreFinding *finding, GError **error)
{
  int64_t age_s;
  if (!site_setting (site, STORE_PURGE_AGE, &age_s, error))
    return false;
  g_autofree char *until = text_local_time (time (NULL) + age_s);
  tool_say (tool, "kept until %s; 'mailstore quarantine restore %s' brings it back", until,
            finding->detail);
  return true;
}

static bool
tell (const Tool *tool, Site *site, const GPtrArray *findings, GError **error)
{
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = g_ptr_array_index (findings, i);
    bool made = finding->problem == STORE_PROBLEM_CREATED && tool->json;
    bool removed = finding->problem == STORE_PROBLEM_QUARANTINED;
    if ((made && !print_made (site, finding, error)) ||
        (removed && !say_removed (tool, site, finding, error)))
      return false;
  }
  return true;
}

bool
mailbox_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (!check_action (argc, argv, error))
    return false;
  for (int i = 1; i < argc; i++) {
    if (*argv[i] == '\0')
      return fail (error, EINVAL, "a mailbox's name is empty");
  }
  if (strcmp (argv[0], "list") == 0)
    return list (tool, argv + 1, error);
  g_autoptr (GPtrArray) words = spell (argv), findings = NULL;
  g_autoptr (Site) site = site_open (tool, 0, error);
  bool done = site != NULL && site_act (site, words, &findings, error);
  /* What was done before it failed is told, too. */
  return (findings == NULL || tell (tool, site, findings, done ? error : NULL)) && done;
}
