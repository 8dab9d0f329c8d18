/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy.c - mailstore copy and move: messages into another mailbox.
 *
 *   mailstore move joe@example.com 4,7:9 joe@example.com/Archive
 */
#include "tools/site.h"
#include "tools/tools.h"

static void
print_pair (const Tool *tool, uint32_t from, uint32_t to)
{
  if (!tool->json) {
    printf ("%u\n", to);
    return;
  }
  GString *json = json_begin (tool->command);
  json_uint (json, "uid", from);
  json_uint (json, "new_uid", to);
  json_print (json);
}

/* "4:7,9 -> 12:16" */
static bool
print_copied (const Tool *tool, const StoreFinding *finding, GError **error)
{
  g_auto (GStrv) sides = g_strsplit (finding->detail, " -> ", 2);
  g_autoptr (GArray) from = words_uids (sides[0], error);
  g_autoptr (GArray) to = from != NULL && sides[1] != NULL ? words_uids (sides[1], error) : NULL;
  if (to == NULL)
    return false;
  for (guint i = 0; i < MIN (from->len, to->len); i++)
    print_pair (tool, g_array_index (from, uint32_t, i), g_array_index (to, uint32_t, i));
  return true;
}

static bool
print_findings (const Tool *tool, const GPtrArray *findings, GError **error)
{
  for (guint i = 0; i < findings->len; i++) {
    const StoreFinding *finding = g_ptr_array_index (findings, i);
    if (finding->problem == STORE_PROBLEM_COPIED && !print_copied (tool, finding, error))
      return false;
  }
  return true;
}

bool
copy_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc != 3)
    return fail (error, EINVAL, "%s takes a MAILBOX, UIDS and the mailbox they go to",
                 tool->command);
  g_autoptr (GPtrArray) words = words_new (tool->command), findings = NULL;
  g_autofree char *to = store_word_escape (argv[2]);
  words_add (words, "uid", argv[1]);
  words_add (words, "to", to);
  words_end (words, (char *[]){argv[0], NULL});
  g_autoptr (Site) site = site_open (tool, 0, error);
  bool done = site != NULL && site_act (site, words, &findings, error);
  /* What was copied before it failed is told, too. */
  return (findings == NULL || print_findings (tool, findings, done ? error : NULL)) && done;
}
