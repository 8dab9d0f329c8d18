/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c - mailstore snapshot: keep the store as it is now, and look what has changed since.
 *
 *   mailstore snapshot take nightly
 *   mailstore snapshot
 *   mailstore snapshot diff nightly joe@example.com
 *   mailstore --snapshot nightly cat joe@example.com 4
 *   mailstore snapshot drop nightly
 */
#include "tools/print.h"
#include "tools/site.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static gboolean brief;

const GOptionEntry snapshot_options[] = {
    {"brief", 0, 0, G_OPTION_ARG_NONE, &brief, "names and times only, which is fast (list)", NULL},
    {NULL},
};

/* ---- what there is to tell ----------------------------------------------------------------- */

/* What a finding says of a snapshot. */
typedef struct {
  const char *name;
  int64_t taken_s; /* 0: nobody knows, its file makes no sense */
  unsigned epoch;
  bool weighed;                     /* and these are known */
  uint64_t messages, bytes;         /* that it has */
  uint64_t own_messages, own_bytes; /* that are kept for it only */
} Snapshot;

static bool
read_snapshot (const StoreFinding *finding, Snapshot *out, GError **error)
{
  char taken[32] = "";
  Snapshot read = {.name = finding->object};
  int found =
      sscanf (finding->detail,
              "taken %31[^,], epoch %u: %" SCNu64 " messages, %" SCNu64 " bytes; %" SCNu64
              " messages, %" SCNu64 " bytes only here",
              taken, &read.epoch, &read.messages, &read.bytes, &read.own_messages, &read.own_bytes);
  bool known = strcmp (taken, "-") != 0;
  read.weighed = found == 6;
  if (found < 2 || (known && !tool_date_parse (taken, &read.taken_s, NULL)))
    return fail (error, EPROTONOSUPPORT, "of snapshot '%s' is told: %s", finding->object,
                 finding->detail);
  *out = read;
  return true;
}

static void
print_snapshot_json (const Snapshot *snapshot)
{
  GString *json = json_begin ("snapshot");
  json_string (json, "name", snapshot->name);
  json_time (json, "taken", snapshot->taken_s);
  json_uint (json, "epoch", snapshot->epoch);
  const struct {
    const char *key;
    uint64_t value;
  } figures[] = {{"messages", snapshot->messages},
                 {"bytes", snapshot->bytes},
                 {"own_messages", snapshot->own_messages},
                 {"own_bytes", snapshot->own_bytes}};
  for (size_t i = 0; i < G_N_ELEMENTS (figures); i++) {
    if (snapshot->weighed)
      json_uint (json, figures[i].key, figures[i].value);
    else
      json_string (json, figures[i].key, NULL);
  }
  json_print (json);
}

static void
print_snapshot (const Snapshot *snapshot, bool first)
{
  g_autofree char *taken =
      snapshot->taken_s != 0 ? text_local_time (snapshot->taken_s) : g_strdup ("unreadable");
  g_autofree char *size = text_size (snapshot->bytes);
  g_autofree char *own = text_size (snapshot->own_bytes);
  if (snapshot->weighed && first)
    printf ("%-19s  %8s  %9s  %9s  %s\n", "TAKEN", "MESSAGES", "SIZE", "ONLY HERE", "NAME");
  if (snapshot->weighed)
    printf ("%-19s  %8" PRIu64 "  %9s  %9s  %s\n", taken, snapshot->messages, size, own,
            snapshot->name);
  else
    printf ("%-19s  %s\n", taken, snapshot->name);
}

/* Of what is compared: what is so in the second only, in the first only, or in both. */
static void
print_difference (const Tool *tool, const StoreFinding *finding)
{
  if (tool->json)
    json_print (store_finding_json (finding));
  else
    printf ("%-9s  %s  %s\n", store_problem_name (finding->problem), finding->object,
            finding->detail);
}

/* ---- the actions --------------------------------------------------------------------------- */

typedef enum { LIST, TAKE, DROP, RENAME, DIFF } Action;

static const struct {
  const char *name;
  const char *takes; /* in words */
  int least, most;   /* operands */
} actions[] = {
    [LIST] = {"list", "names of snapshots, or none", 0, INT_MAX},
    [TAKE] = {"take", "one NAME, or none", 0, 1},
    [DROP] = {"drop", "names of snapshots", 1, INT_MAX},
    [RENAME] = {"rename", "a SNAPSHOT and its new NAME", 2, 2},
    [DIFF] = {"diff", "one SNAPSHOT or two, and perhaps mailboxes", 1, INT_MAX},
};

static bool
find_action (const char *name, int operands, Action *out, GError **error)
{
  for (Action action = LIST; action <= DIFF; action++) {
    if (strcmp (name, actions[action].name) != 0)
      continue;
    *out = action;
    return (operands >= actions[action].least && operands <= actions[action].most) ||
           fail (error, EINVAL, "snapshot %s takes %s", name, actions[action].takes);
  }
  return fail (error, EINVAL, "snapshot takes list, take, drop, rename or diff, not '%s'", name);
}

/* While it is told what there is. */
typedef struct {
  Tool *tool;
  Action action;
  unsigned told;   /* how often that was */
  GError *failure; /* what is told makes no sense */
} Telling;

static void
tell (const StoreFinding *finding, void *data)
{
  Telling *self = data;
  Snapshot snapshot;
  if (self->action == DIFF) {
    print_difference (self->tool, finding);
    self->tool->exit_code = EXIT_FINDINGS;
  } else if (self->failure != NULL || finding->problem != STORE_PROBLEM_SNAPSHOT ||
             !read_snapshot (finding, &snapshot, &self->failure))
    return;
  else if (self->tool->json)
    print_snapshot_json (&snapshot);
  else if (self->action == TAKE)
    puts (snapshot.name);
  else
    print_snapshot (&snapshot, self->told++ == 0);
}

static GPtrArray *
spell (Action action, char **operands)
{
  static char *const none[] = {NULL};
  g_autofree char *name = g_strconcat ("snapshot-", actions[action].name, NULL);
  GPtrArray *words = words_new (name);
  if (brief && action == LIST)
    words_add (words, "brief", NULL);
  words_end (words, operands != NULL ? operands : none);
  return words;
}

bool
snapshot_run (Tool *tool, int argc, char **argv, GError **error)
{
  Telling telling = {.tool = tool};
  if (!find_action (argc > 0 ? argv[0] : actions[LIST].name, MAX (argc - 1, 0), &telling.action,
                    error))
    return false;
  bool looks = telling.action == LIST || telling.action == DIFF;
  g_autoptr (GPtrArray) words = spell (telling.action, argc > 0 ? argv + 1 : NULL);
  g_autoptr (Site) site = site_open (tool, looks ? STORE_READ_ONLY : 0, error);
  if (site == NULL || !site_tell (site, tool, words, tell, &telling, error)) {
    g_clear_error (&telling.failure);
    return false;
  }
  if (telling.action == DROP)
    tool_say (tool, "what nothing else keeps is removed by the next cleanup");
  if (telling.failure != NULL)
    g_propagate_error (error, telling.failure);
  return telling.failure == NULL;
}
