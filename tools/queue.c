/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.c - mailstore queue: what waits for the worker.
 *
 *   mailstore queue
 *   mailstore queue add reconstruct -r joe@example.com ann@example.com
 *   mailstore queue add cleanup --age 0 joe@example.com
 *   mailstore queue remove 12 13
 */
#include "tools/print.h"
#include "tools/site.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- listing ------------------------------------------------------------------------------- */

/* The columns that administrators of such queues know. */
static void
print_record (const StoreRecord *record, void *data)
{
  const Tool *tool = data;
  if (tool->json) {
    record_print_json (record);
    return;
  }
  g_autoptr (GDateTime) created = g_date_time_new_from_unix_local (record->created_s);
  g_autofree char *time =
      created != NULL ? g_date_time_format (created, "%Y%m%d%H%M%S") : g_strdup ("-");
  g_autofree char *title =
      store_text_printable (record->title != NULL ? record->title : "(the whole store)");
  g_autofree char *padded = text_pad (title, 35);
  printf ("%-10" PRIu64 " %s %-14s %s", record->id, padded, time, record->action);
  if (record->state != STORE_JOB_WAITING)
    printf (" (%s)", store_job_state_name (record->state));
  else if (record->due_s > g_get_real_time () / G_USEC_PER_SEC) {
    g_autofree char *due = text_local_time (record->due_s);
    printf (" (not before %s)", due);
  }
  putchar ('\n');
}

static bool
list_queue (const Tool *tool, Site *site, GError **error)
{
  if (!tool->json)
    puts ("RecNo      Mailbox                             Timestamp      Action\n"
          "---------- ----------------------------------- -------------- ------");
  return site_each_record (site, true, print_record, (void *)tool, error);
}

/* ---- adding -------------------------------------------------------------------------------- */

static bool
print_added (const Tool *tool, Site *site, uint64_t id, bool added, GError **error)
{
  g_auto (StoreRecord) record = {0};
  if (!site_record (site, id, &record, error))
    return false;
  if (tool->json)
    record_print_json (&record);
  else
    printf ("%" PRIu64 "\n", id);
  if (!added)
    tool_say (tool, "job %" PRIu64 " waits already", id);
  return true;
}

/* Each mailbox is an entry of its own: it is done, removed and found to wait already by itself. The
 * mailboxes are the last `count` of the words. */
static GPtrArray *
split_request (const GPtrArray *words, guint count)
{
  guint before = words->len - 1 - count;
  GPtrArray *requests = g_ptr_array_new_with_free_func ((GDestroyNotify)g_ptr_array_unref);
  for (guint i = 0; i < MAX (count, 1); i++) {
    GPtrArray *request = g_ptr_array_new ();
    for (guint word = 0; word < before; word++)
      g_ptr_array_add (request, words->pdata[word]);
    if (count > 0)
      g_ptr_array_add (request, words->pdata[before + i]);
    g_ptr_array_add (request, NULL);
    g_ptr_array_add (requests, request);
  }
  return requests;
}

static bool
add_each (const Tool *tool, Site *site, const GPtrArray *words, guint count, GError **error)
{
  g_autoptr (GPtrArray) requests = split_request (words, count);
  g_autofree uint64_t *ids = g_new0 (uint64_t, requests->len);
  g_autofree bool *added = g_new0 (bool, requests->len);
  if (!site_queue_add (site, requests, ids, added, error))
    return false;
  for (guint i = 0; i < requests->len; i++) {
    if (!print_added (tool, site, ids[i], added[i], error))
      return false;
  }
  return true;
}

/* What follows `add` is what would follow `mailstore`. */
static bool
add_to_queue (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc == 0)
    return fail (error, EINVAL, "queue add takes a command, its options and mailboxes");
  const StoreCommand *command = store_command_find (argv[0]);
  if (command == NULL)
    return fail (error, EINVAL, "no command '%s' for the queue; see mailstore queue -h", argv[0]);
  if (!tool_verb_parse (command, &argc, &argv, error))
    return false;
  if (tool->help)
    return true;
  g_autoptr (GPtrArray) names = command_names (command, argc - 1, argv + 1, error);
  g_autoptr (Site) site = names != NULL ? command_site (tool, command, 0, error) : NULL;
  guint count;
  g_autoptr (GPtrArray) words =
      site != NULL ? command_words (tool, site, command, names, &count, error) : NULL;
  return words != NULL && add_each (tool, site, words, count, error);
}

void
queue_help (void)
{
  puts ("What follows add is what could follow mailstore, for the worker to do:\n"
        "  mailstore queue add repair joe@example.com\n"
        "  mailstore queue add cleanup --age 0 joe@example.com\n"
        "  mailstore queue add backup /var/backups/mail\n"
        "'mailstore VERB -h' tells the options of each VERB:");
  for (const StoreCommand *verb = store_commands; verb->name != NULL; verb++) {
    if ((verb->traits & STORE_COMMAND_IMMEDIATE) == 0)
      printf ("  %s\n", verb->name);
  }
}

/* ---- removing ------------------------------------------------------------------------------ */

static bool
remove_from_queue (const Tool *tool, int argc, char **argv, GError **error)
{
  if (argc == 0)
    return fail (error, EINVAL, "queue remove takes record numbers");
  g_autofree uint64_t *ids = g_new0 (uint64_t, argc);
  for (int i = 0; i < argc; i++) {
    if (!job_id_parse (argv[i], &ids[i], error))
      return false;
  }
  g_autoptr (Site) site = site_open (tool, 0, error);
  return site != NULL && site_queue_remove (site, ids, (size_t)argc, error);
}

bool
queue_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc > 0 && strcmp (argv[0], "add") == 0)
    return add_to_queue (tool, argc - 1, argv + 1, error);
  if (argc > 0 && strcmp (argv[0], "remove") == 0)
    return remove_from_queue (tool, argc - 1, argv + 1, error);
  if (argc > 0)
    return fail (error, EINVAL, "queue takes add or remove, not '%s'", argv[0]);
  g_autoptr (Site) site = site_open_queue (tool, error);
  return site != NULL && list_queue (tool, site, error);
}
