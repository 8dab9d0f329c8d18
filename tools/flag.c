/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flag.c - mailstore flag: change the flags of messages.
 *
 *   mailstore flag joe@example.com/INBOX 4,7:9 +Seen -Flagged +Project-X
 */
#include "tools/print.h"
#include "tools/site.h"
#include "tools/tools.h"

#include <string.h>

/* Words that begin with the sign become one, whose value they are. */
static void
add_changes (GPtrArray *words, char **changes, char sign, const char *word)
{
  g_autoptr (GString) value = g_string_new (NULL);
  bool given = false;
  for (char **change = changes; *change != NULL; change++) {
    if (**change != sign)
      continue;
    g_autofree char *flag = store_word_escape (*change + 1);
    g_string_append_printf (value, "%s%s", given ? "," : "", flag);
    given = true;
  }
  if (given)
    words_add (words, word, value->str);
}

static bool
check_changes (char **changes, GError **error)
{
  for (char **change = changes; *change != NULL; change++) {
    if (**change == '\0' || strchr ("+-=", **change) == NULL)
      return fail (error, EINVAL, "'%s' is no change: write +FLAG, -FLAG or =FLAG", *change);
    if (g_str_has_prefix (*change, "--"))
      return fail (error, EINVAL, "'%s': options stand before the mailbox", *change);
    if (**change != '=' && (*change)[1] == '\0')
      return fail (error, EINVAL, "'%s' names no flag", *change);
  }
  return true;
}

static bool
print_messages (Site *site, const StoreFinding *finding, GError **error)
{
  g_auto (StoreNode) node = {0};
  g_autoptr (GArray) uids = *finding->detail != '\0' ? words_uids (finding->detail, error) : NULL;
  if (*finding->detail == '\0')
    return true; /* none was meant */
  if (uids == NULL || !site_resolve (site, finding->object, &node, error))
    return false;
  g_autofree char *title = site_node_title (site, node.number, error);
  for (guint i = 0; title != NULL && i < uids->len; i++) {
    g_auto (Letter) letter = {0};
    bool found;
    if (!site_letter (site, node.number, g_array_index (uids, uint32_t, i), &letter, &found, error))
      return false;
    if (found)
      message_print_json (title, &letter);
  }
  return title != NULL;
}

bool
flag_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc < 3)
    return fail (error, EINVAL, "flag takes a MAILBOX, UIDs and changes of flags");
  if (!check_changes (argv + 2, error))
    return false;
  g_autoptr (GPtrArray) words = words_new ("flag"), findings = NULL;
  words_add (words, "uid", argv[1]);
  add_changes (words, argv + 2, '=', "set");
  add_changes (words, argv + 2, '+', "add");
  add_changes (words, argv + 2, '-', "remove");
  words_end (words, (char *[]){argv[0], NULL});
  g_autoptr (Site) site = site_open (tool, 0, error);
  if (site == NULL || !site_act (site, words, &findings, error))
    return false;
  for (guint i = 0; tool->json && i < findings->len; i++) {
    if (!print_messages (site, findings->pdata[i], error))
      return false;
  }
  return true;
}
