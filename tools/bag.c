/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bag.c - mailstore export --bagit and verify-bag: messages with their digests, to hand on.
 *
 *   mailstore --snapshot nightly export --bagit /srv/evidence/joe joe@example.com
 *   mailstore verify-bag /srv/evidence/joe
 */
#include "tools/print.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <stdio.h>
#include <sysexits.h>

static bool
show_progress (const StoreProgress *now, void *user_data)
{
  progress_show (user_data, now);
  return progress_interrupted () == 0;
}

static void
print_bag (const Tool *tool, const char *directory, const StoreBag *bag, const uint64_t *problems)
{
  if (tool->json) {
    GString *json = json_begin ("bag");
    json_string (json, "directory", directory);
    json_uint (json, "messages", bag->messages);
    json_uint (json, "bytes", bag->bytes);
    json_uint (json, "damaged", bag->damaged);
    if (problems != NULL)
      json_uint (json, "problems", *problems);
    json_print (json);
    return;
  }
  g_autofree char *name = store_text_printable (directory);
  g_autofree char *messages = problems == NULL ? text_count (bag->messages, "message", "messages")
                                               : text_count (bag->messages, "file", "files");
  g_autofree char *size = text_size (bag->bytes);
  g_autofree char *rest = problems != NULL ? text_count (*problems, "problem", "problems")
                                           : g_strdup_printf ("%" PRIu64 " damaged", bag->damaged);
  if (!tool->quiet)
    printf ("%s: %s, %s, %s\n", name, messages, size, rest);
}

bool
bag_write (Tool *tool, const char *spelling, const char *directory, GError **error)
{
  g_auto (StoreNode) node = {0};
  StoreBag bag;
  g_autoptr (Store) store = tool_store_open (tool, STORE_READ_ONLY, error);
  if (store == NULL || !store_node_resolve (store, spelling, &node, error))
    return false;
  g_autoptr (Progress) progress = progress_new (tool);
  if (!store_bag_write (store, node.number, directory, show_progress, progress, &bag, error))
    return false;
  g_clear_pointer (&progress, progress_free); /* the bar goes before the lines come */
  print_bag (tool, directory, &bag, NULL);
  if (bag.damaged > 0)
    tool_say (tool, "damaged messages are in it as they are; damaged.tsv names them");
  return true;
}

static void
print_problem (const char *path, const char *problem, void *user_data)
{
  const Tool *tool = user_data;
  if (!tool->json) {
    printf ("%s: %s\n", path, problem);
    return;
  }
  GString *json = json_begin ("problem");
  json_string (json, "path", path);
  json_string (json, "detail", problem);
  json_print (json);
}

bool
verify_bag_run (Tool *tool, int argc, char **argv, GError **error)
{
  StoreBag bag = {0};
  uint64_t problems;
  if (argc != 1)
    return fail (error, EINVAL, "verify-bag takes a directory");
  if (!store_bag_verify (argv[0], print_problem, tool, &bag, &problems, error))
    return false;
  print_bag (tool, argv[0], &bag, &problems);
  tool->exit_code = problems > 0 ? EXIT_FINDINGS : EX_OK;
  return true;
}
