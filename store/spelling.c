/* SPDX-License-Identifier: Apache-2.0 */
/* What people call a mailbox: from a spelling to names, from names to nodes. */
#include "store/internal.h"

#include <string.h>

#define DEFAULT_DOMAIN "local"

/* Splits at slashes; empty names are left out. */
static GPtrArray *
split_path (const char *path)
{
  g_auto (GStrv) names = g_strsplit (path, "/", -1);
  GPtrArray *levels = g_ptr_array_new_with_free_func (g_free);
  for (char **name = names; *name != NULL; name++) {
    if (**name != '\0')
      g_ptr_array_add (levels, g_strdup (*name));
  }
  return levels;
}

static bool
find_node (void *data, uint32_t parent, const char *name, StoreNode *out, bool *out_found,
           GError **error)
{
  return store_node_find (data, parent, name, out, out_found, error);
}

StoreTree
store_tree (Store *self)
{
  return (StoreTree){find_node, self};
}

static void
insert_levels (GPtrArray *levels, const char *domain, const char *second)
{
  g_ptr_array_insert (levels, 0, g_strdup (second));
  g_ptr_array_insert (levels, 0, g_strdup (domain));
}

/* Cuts "NAME@DOMAIN" at its last '@' and returns the domain, or the default one. In DNS case does
 * not matter; what is there in that very spelling comes first. */
static char *
take_domain (const StoreTree *tree, char *name)
{
  char *at = strrchr (name, '@');
  if (at == NULL)
    return g_strdup (DEFAULT_DOMAIN);
  *at = '\0';
  g_auto (StoreNode) domain = {0};
  bool found = false;
  if (tree->find (tree->data, STORE_ROOT, at + 1, &domain, &found, NULL) && found)
    return g_strdup (at + 1);
  return g_ascii_strdown (at + 1, -1);
}

/* Turns any spelling into the names from the root down, one a level. */
GPtrArray *
spelling_split (const StoreTree *tree, const char *spelling)
{
  static const char other_users[] = "Other Users/", public_folders[] = "Public Folders/";
  const char *rest = spelling;
  const char *second = NULL;
  if (g_str_has_prefix (spelling, other_users)) {
    rest += strlen (other_users);
    second = NODE_USERS;
  } else if (g_str_has_prefix (spelling, public_folders)) {
    rest += strlen (public_folders);
    second = NODE_SHARED;
  }
  GPtrArray *levels = split_path (rest);
  if (levels->len == 0)
    return levels;
  char *first = levels->pdata[0];
  if (second == NULL) {
    g_auto (StoreNode) domain = {0};
    bool is_domain = false;
    if ((tree->find (tree->data, STORE_ROOT, first, &domain, &is_domain, NULL) && is_domain) ||
        strchr (first, '@') == NULL)
      return levels;
    second = NODE_USERS;
  }
  g_autofree char *domain = take_domain (tree, first);
  insert_levels (levels, domain, second);
  return levels;
}

/* Any spelling of INBOX means the one (RFC 3501, 5.1). */
const char *
spelling_fold (const StoreNode *parent, const char *name)
{
  bool inbox = parent->kind == STORE_NODE_USER && g_ascii_strcasecmp (name, NODE_INBOX) == 0;
  return inbox ? NODE_INBOX : name;
}

/* A child by its name on disk, or by its plain name. */
static bool
find_child (const StoreTree *tree, const StoreNode *parent, const char *name, StoreNode *out,
            bool *out_found, GError **error)
{
  name = spelling_fold (parent, name);
  if (!tree->find (tree->data, parent->number, name, out, out_found, error))
    return false;
  if (*out_found)
    return true;
  g_autofree char *escaped = store_name_escape (name, NULL);
  return tree->find (tree->data, parent->number, escaped, out, out_found, error);
}

/* Follows `levels` down from `out` as far as there are nodes; `*out_depth` says how far. */
bool
spelling_descend (const StoreTree *tree, char *const *levels, unsigned count, StoreNode *out,
                  unsigned *out_depth, GError **error)
{
  unsigned depth = 0;
  for (; depth < count; depth++) {
    StoreNode child = {0};
    bool found = false;
    if (!find_child (tree, out, levels[depth], &child, &found, error))
      return false;
    if (!found)
      break;
    store_node_clear (out);
    *out = child;
  }
  *out_depth = depth;
  return true;
}

/* Finds the node, or how far down the way to it exists. A first name that is neither a domain nor
 * has one is a user of the default domain. */
bool
spelling_locate (const StoreTree *tree, GPtrArray *levels, StoreNode *out, unsigned *out_depth,
                 GError **error)
{
  *out = (StoreNode){.kind = STORE_NODE_ROOT, .name = g_strdup ("")};
  if (!spelling_descend (tree, (char *const *)levels->pdata, levels->len, out, out_depth, error))
    return false;
  const char *second = levels->len > 1 ? levels->pdata[1] : NULL;
  bool domain_path =
      second == NULL || strcmp (second, NODE_USERS) == 0 || strcmp (second, NODE_SHARED) == 0;
  if (*out_depth > 0 || levels->len == 0 || (domain_path && second != NULL))
    return true;
  insert_levels (levels, DEFAULT_DOMAIN, NODE_USERS);
  return spelling_descend (tree, (char *const *)levels->pdata, levels->len, out, out_depth, error);
}

bool
store_tree_resolve (const StoreTree *tree, const char *spelling, StoreNode *out, GError **error)
{
  g_autoptr (GPtrArray) levels = spelling_split (tree, spelling);
  g_auto (StoreNode) node = {0};
  unsigned depth;
  if (!spelling_locate (tree, levels, &node, &depth, error))
    return false;
  if (depth < levels->len) {
    g_autofree char *printable = store_text_printable (spelling);
    return fail (error, ENOENT, "no mailbox '%s'", printable);
  }
  *out = node;
  node = (StoreNode){0};
  return true;
}

/* Puts the user's INBOX in the user's place. */
static bool
take_inbox (const StoreTree *tree, StoreNode *user, bool *out_found, GError **error)
{
  StoreNode inbox = {0};
  if (!tree->find (tree->data, user->number, NODE_INBOX, &inbox, out_found, error))
    return false;
  if (*out_found) {
    store_node_clear (user);
    *user = inbox;
  }
  return true;
}

bool
store_tree_resolve_mailbox (const StoreTree *tree, const char *spelling, StoreNode *out,
                            GError **error)
{
  g_auto (StoreNode) node = {0};
  bool found;
  if (!store_tree_resolve (tree, spelling, &node, error) ||
      (node.kind == STORE_NODE_USER && !take_inbox (tree, &node, &found, error)))
    return false;
  if (node.kind != STORE_NODE_MAILBOX)
    return fail (error, EISDIR, "'%s' is a %s, not a mailbox", spelling,
                 node.kind == STORE_NODE_USER ? "user without an INBOX" : "directory of mailboxes");
  *out = node;
  node = (StoreNode){0};
  return true;
}

bool
store_node_resolve (Store *self, const char *spelling, StoreNode *out, GError **error)
{
  StoreTree tree = store_tree (self);
  return store_tree_resolve (&tree, spelling, out, error);
}
