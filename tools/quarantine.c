/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quarantine.c - mailstore quarantine: what was taken out of the store and is kept for some time.
 *
 *   mailstore quarantine
 *   mailstore quarantine restore 20261122T073000Z-1a2b3c4d/example.com/user/joe/Old
 *   mailstore quarantine remove --force 20261122T073000Z-1a2b3c4d
 */
#include "tools/print.h"
#include "tools/site.h"
#include "tools/tools.h"

#include <stdio.h>
#include <string.h>

static gboolean force;

const GOptionEntry quarantine_options[] = {
    {"force", 0, 0, G_OPTION_ARG_NONE, &force, "remove for good", NULL},
    {NULL},
};

static void
print_object (const Tool *tool, const StoreQuarantined *object)
{
  if (tool->json) {
    json_print (store_quarantined_json (object));
    return;
  }
  g_autofree char *path = store_text_printable (object->path);
  g_autofree char *size = text_size (object->size);
  g_autofree char *since = text_local_time (object->since_s);
  printf ("%s  %9s  %s%s\n", since, size, path, object->is_directory ? "/" : "");
}

static bool
list (Tool *tool, char **paths, GError **error)
{
  g_autoptr (Site) site = site_open (tool, STORE_READ_ONLY, error);
  g_autoptr (GPtrArray) objects = site != NULL ? site_quarantine_list (site, error) : NULL;
  for (guint i = 0; objects != NULL && i < objects->len; i++)
    print_object (tool, objects->pdata[i]);
  return objects != NULL;
}

static bool
act (Tool *tool, const char *name, char **paths, GError **error)
{
  g_autoptr (GPtrArray) words = words_new (name), findings = NULL;
  if (store_command_find (name)->words & STORE_WORD_FORCE)
    words_add (words, "force", NULL);
  words_end (words, paths);
  g_autoptr (Site) site = site_open (tool, 0, error);
  return site != NULL && site_act (site, words, &findings, error);
}

static bool
restore (Tool *tool, char **paths, GError **error)
{
  return act (tool, "quarantine-restore", paths, error);
}

static bool
remove_for_good (Tool *tool, char **paths, GError **error)
{
  return force ? act (tool, "quarantine-remove", paths, error)
               : fail (error, EINVAL, "what is removed cannot be brought back; --force removes it");
}

bool
quarantine_run (Tool *tool, int argc, char **argv, GError **error)
{
  static const struct {
    const char *name;
    bool takes_paths;
    bool (*run) (Tool *tool, char **paths, GError **error);
  } verbs[] = {
      {"list", false, list}, {"restore", true, restore}, {"remove", true, remove_for_good}};
  const char *name = argc > 0 ? argv[0] : "list";
  for (size_t i = 0; i < G_N_ELEMENTS (verbs); i++) {
    if (strcmp (name, verbs[i].name) != 0)
      continue;
    if (verbs[i].takes_paths != (argc > 1))
      return fail (error, EINVAL, "quarantine %s takes %s", name,
                   verbs[i].takes_paths ? "STAMP/PATH or STAMP" : "nothing");
    return verbs[i].run (tool, argv + MIN (argc, 1), error);
  }
  return fail (error, EINVAL, "quarantine takes list, restore or remove, not '%s'", name);
}
