/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.c - mailstore queue: what waits for the worker.
 *
 *   mailstore queue
 *   mailstore queue add reconstruct -r joe@example.com ann@example.com
 *   mailstore queue add cleanup --age 0 joe@example.com
 *   mailstore queue remove 12 13
 */
#include "tools/tools.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- listing ------------------------------------------------------------------------------- */

/* The columns that administrators of such queues know. */
static void
print_record (const Tool *tool, const StoreRecord *record)
{
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
list_queue (const Tool *tool, Store *store, GError **error)
{
  StoreRecord page[64];
  if (!tool->json)
    puts ("RecNo      Mailbox                             Timestamp      Action\n"
          "---------- ----------------------------------- -------------- ------");
  size_t count = 1;
  for (uint64_t after = 0; count > 0;) {
    if (!store_queue_page (store, after, true, page, G_N_ELEMENTS (page), &count, error))
      return false;
    for (size_t i = 0; i < count; i++)
      print_record (tool, &page[i]);
    after = count > 0 ? page[count - 1].id : 0;
    store_records_clear (page, count);
  }
  return true;
}

/* ---- adding -------------------------------------------------------------------------------- */

static bool
add_request (const Tool *tool, Store *store, const StoreRequest *request, GError **error)
{
  uint64_t id;
  bool added;
  g_auto (StoreRecord) record = {0};
  if (!store_queue_add (store, request, &id, &added, error) ||
      !store_queue_get (store, id, &record, error))
    return false;
  if (tool->json)
    record_print_json (&record);
  else
    printf ("%" PRIu64 "\n", id);
  if (!added)
    tool_say (tool, "job %" PRIu64 " waits already", id);
  return true;
}

/* Each mailbox is an entry of its own: it is done, removed and found to wait already by itself. */
static bool
add_each (const Tool *tool, Store *store, const StoreRequest *request, GError **error)
{
  if (request->targets->len == 0)
    return add_request (tool, store, request, error);
  g_autoptr (GArray) target = g_array_sized_new (FALSE, FALSE, sizeof (uint32_t), 1);
  g_array_set_size (target, 1);
  StoreRequest single = *request;
  single.targets = target;
  for (guint i = 0; i < request->targets->len; i++) {
    g_array_index (target, uint32_t, 0) = g_array_index (request->targets, uint32_t, i);
    if (!add_request (tool, store, &single, error))
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
  g_autoptr (Store) store = names != NULL ? tool_store_open (tool, 0, error) : NULL;
  g_autoptr (StoreRequest) request =
      store != NULL ? command_request (tool, store, command, names, error) : NULL;
  return request != NULL && add_each (tool, store, request, error);
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
  for (int i = 0; i < argc; i++) {
    uint64_t id;
    if (!job_id_parse (argv[i], &id, error))
      return false;
  }
  g_autoptr (Store) store = tool_store_open (tool, 0, error);
  for (int i = 0; store != NULL && i < argc; i++) {
    uint64_t id = g_ascii_strtoull (argv[i], NULL, 10);
    if (!store_queue_remove (store, id, error))
      return false;
  }
  return store != NULL;
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
  g_autoptr (Store) store = tool_store_open_queue (tool, error);
  return store != NULL && list_queue (tool, store, error);
}
