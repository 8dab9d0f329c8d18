/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox.c - mailstore mailbox: make, rename, remove and set mailboxes.
 *
 *   mailstore mailbox create --special-use '\Sent' joe@example.com/Sent
 *   mailstore mailbox rename joe@example.com/Old joe@example.com/Archive/2024
 */
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
    {"index", 0, 0, G_OPTION_ARG_STRING, &index_state, "whether a user has an index (set)",
     "on|off"},
    {NULL},
};

/* One action, for each of its operands. */
typedef struct {
  const char *name;
  const char *takes; /* in words */
  int least, most;   /* operands */
  /* NULL: it only looks */
  bool (*run) (const Tool *tool, Store *store, char **operands, GError **error);
} Action;

static bool
is_none (const char *use)
{
  return strcmp (use, "none") == 0;
}

static bool
set_special_use (Store *store, uint32_t number, GError **error)
{
  return special_use == NULL ||
         store_mailbox_set_special_use (store, number, is_none (special_use) ? NULL : special_use,
                                        error);
}

/* What an operand names, and what is to be done with it. */
typedef bool (*NodeFunc) (const Tool *tool, Store *store, const StoreNode *node, GError **error);

static bool
each_node (const Tool *tool, Store *store, char **operands, NodeFunc each, GError **error)
{
  for (char **operand = operands; *operand != NULL; operand++) {
    g_auto (StoreNode) node = {0};
    if (!store_node_resolve (store, *operand, &node, error) || !each (tool, store, &node, error))
      return false;
  }
  return true;
}

/* ---- the actions ---- */

static bool
print_made (Store *store, uint32_t number, GError **error)
{
  g_auto (StoreNode) node = {0};
  g_autofree char *path = store_node_path (store, number, error);
  g_autoptr (StoreMailbox) mailbox =
      path != NULL ? store_mailbox_open (store, number, error) : NULL;
  StoreMailboxInfo info;
  if (mailbox == NULL || !store_node_get (store, number, &node, error) ||
      !store_mailbox_info (mailbox, &info, error))
    return false;
  mailbox_print_json (&node, path, &info);
  return true;
}

static bool
create (const Tool *tool, Store *store, char **operands, GError **error)
{
  for (char **operand = operands; *operand != NULL; operand++) {
    g_auto (StoreNode) node = {0};
    if (store_node_resolve (store, *operand, &node, NULL))
      return fail (error, EEXIST, "there is '%s' already", *operand);
    if (!store_mailbox_create (store, *operand, &node, error) ||
        !set_special_use (store, node.number, error))
      return false;
    if (tool->json && !print_made (store, node.number, error))
      return false;
  }
  return true;
}

static bool
rename_one (const Tool *tool, Store *store, char **operands, GError **error)
{
  g_auto (StoreNode) node = {0};
  return store_node_resolve (store, operands[0], &node, error) &&
         store_mailbox_rename (store, node.number, operands[1], error);
}

static bool
remove_node (const Tool *tool, Store *store, const StoreNode *node, GError **error)
{
  g_autofree char *place = NULL;
  if (!store_mailbox_remove (store, node->number, recursive, &place, error))
    return false;
  g_autofree char *printable = store_text_printable (place);
  g_autofree char *until = text_local_time (time (NULL) + store_setting (store, STORE_PURGE_AGE));
  tool_say (tool, "kept until %s; 'mailstore quarantine restore %s' brings it back", until,
            printable);
  return true;
}

static bool
remove_each (const Tool *tool, Store *store, char **operands, GError **error)
{
  return each_node (tool, store, operands, remove_node, error);
}

static bool
subscribe_node (const Tool *tool, Store *store, const StoreNode *node, GError **error)
{
  return store_mailbox_subscribe (store, node->number, true, error);
}

static bool
subscribe (const Tool *tool, Store *store, char **operands, GError **error)
{
  return each_node (tool, store, operands, subscribe_node, error);
}

static bool
unsubscribe_node (const Tool *tool, Store *store, const StoreNode *node, GError **error)
{
  return store_mailbox_subscribe (store, node->number, false, error);
}

static bool
unsubscribe (const Tool *tool, Store *store, char **operands, GError **error)
{
  return each_node (tool, store, operands, unsubscribe_node, error);
}

static bool
set_node (const Tool *tool, Store *store, const StoreNode *node, GError **error)
{
  bool on = g_strcmp0 (index_state, "on") == 0;
  return set_special_use (store, node->number, error) &&
         (index_state == NULL || store_user_set_index (store, node->number, on, error));
}

static bool
set (const Tool *tool, Store *store, char **operands, GError **error)
{
  if (special_use == NULL && index_state == NULL)
    return fail (error, EINVAL, "set takes --special-use or --index");
  if (index_state != NULL && strcmp (index_state, "on") != 0 && strcmp (index_state, "off") != 0)
    return fail (error, EINVAL, "--index is on or off, not '%s'", index_state);
  return each_node (tool, store, operands, set_node, error);
}

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

static const Action actions[] = {
    {"create", "MAILBOX...", 1, INT_MAX, .run = create},
    {"rename", "a MAILBOX and its new name", 2, 2, .run = rename_one},
    {"remove", "MAILBOX...", 1, INT_MAX, .run = remove_each},
    {"list", "one MAILBOX, USER or DOMAIN, or none", 0, 1},
    {"subscribe", "MAILBOX...", 1, INT_MAX, .run = subscribe},
    {"unsubscribe", "MAILBOX...", 1, INT_MAX, .run = unsubscribe},
    {"set", "MAILBOX...", 1, INT_MAX, .run = set},
};

static const Action *
find_action (const char *name)
{
  for (size_t i = 0; name != NULL && i < G_N_ELEMENTS (actions); i++) {
    if (strcmp (actions[i].name, name) == 0)
      return &actions[i];
  }
  return NULL;
}

bool
mailbox_run (Tool *tool, int argc, char **argv, GError **error)
{
  const Action *action = find_action (argc > 0 ? argv[0] : NULL);
  if (action == NULL)
    return fail (error, EINVAL,
                 "mailbox takes create, rename, remove, list, subscribe, unsubscribe or set");
  if (argc - 1 < action->least || argc - 1 > action->most)
    return fail (error, EINVAL, "mailbox %s takes %s", action->name, action->takes);
  for (int i = 1; i < argc; i++) {
    if (*argv[i] == '\0')
      return fail (error, EINVAL, "a mailbox's name is empty");
  }
  if (special_use != NULL && !is_none (special_use) &&
      store_special_use (special_use, error) == NULL)
    return false;
  if (action->run == NULL)
    return list (tool, argv + 1, error);
  g_autoptr (Store) store = tool_store_open (tool, 0, error);
  return store != NULL && action->run (tool, store, argv + 1, error);
}
