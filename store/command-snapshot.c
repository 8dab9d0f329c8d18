/* SPDX-License-Identifier: Apache-2.0 */
/* What is done at once with snapshots: taken, dropped, renamed, listed. */
#include "store/jobs.h"
#include "store/verbs.h"

#include <string.h>

/* The Nth name that the request is for; NULL: there are fewer. */
static const char *
nth_name (const StoreJob *job, guint n)
{
  const GPtrArray *names = job->request->names;
  return names != NULL && n < names->len ? names->pdata[n] : NULL;
}

/* "2026-11-22T14:30:00Z"; "-" when nobody knows. */
static char *
format_taken (const StoreSnapshot *snapshot)
{
  if (snapshot->epoch == 0)
    return g_strdup ("-");
  g_autoptr (GDateTime) time =
      g_date_time_new_from_unix_utc (snapshot->taken_ns / G_GINT64_CONSTANT (1000000000));
  return time != NULL ? g_date_time_format (time, "%Y-%m-%dT%H:%M:%SZ") : g_strdup ("-");
}

/* What it weighs may not be asked for. */
static void
tell_snapshot (StoreJob *job, const StoreSnapshot *snapshot, const StoreWeight *weight)
{
  g_autofree char *name = store_name_unescape (snapshot->name);
  g_autofree char *taken = format_taken (snapshot);
  g_autoptr (GString) detail = g_string_new (NULL);
  g_string_printf (detail, "taken %s, epoch %u", taken, snapshot->epoch);
  if (weight != NULL)
    g_string_append_printf (
        detail,
        ": %" G_GUINT64_FORMAT " messages, %" G_GUINT64_FORMAT " bytes; %" G_GUINT64_FORMAT
        " messages, %" G_GUINT64_FORMAT " bytes only here",
        weight->messages, weight->bytes, weight->own_messages, weight->own_bytes);
  job_noted (job, STORE_PROBLEM_SNAPSHOT, 0, 0, name, "%s", detail->str);
}

bool
command_snapshot_take (StoreJob *job, GError **error)
{
  g_auto (StoreSnapshot) snapshot = {0};
  if (!store_snapshot_take (job->store, nth_name (job, 0), &snapshot, error))
    return false;
  tell_snapshot (job, &snapshot, NULL);
  return true;
}

bool
command_snapshot_drop (StoreJob *job, GError **error)
{
  const char *name;
  for (guint i = 0; (name = nth_name (job, i)) != NULL; i++) {
    if (!store_snapshot_drop (job->store, name, error))
      return false;
  }
  return true;
}

bool
command_snapshot_rename (StoreJob *job, GError **error)
{
  return store_snapshot_rename (job->store, nth_name (job, 0), nth_name (job, 1), error);
}

/* ---- the list ------------------------------------------------------------------------------ */

/* Which of the snapshots are asked for: the named ones, or all. */
static bool
find_asked (StoreJob *job, const GPtrArray *snapshots, bool *asked, GError **error)
{
  const char *name;
  for (guint i = 0; i < snapshots->len; i++)
    asked[i] = nth_name (job, 0) == NULL;
  for (guint n = 0; (name = nth_name (job, n)) != NULL; n++) {
    g_auto (StoreSnapshot) named = {0};
    if (!store_snapshot_find (job->store, name, &named, error))
      return false;
    for (guint i = 0; i < snapshots->len; i++) {
      const StoreSnapshot *snapshot = snapshots->pdata[i];
      asked[i] |= strcmp (snapshot->name, named.name) == 0;
    }
  }
  return true;
}

/* What is kept for one alone only those tell together, so all are weighed. */
bool
command_snapshot_list (StoreJob *job, GError **error)
{
  StoreWeight weights[STORE_SNAPSHOTS_MAX] = {0};
  bool asked[STORE_SNAPSHOTS_MAX], brief = job_has (job, STORE_WORD_BRIEF);
  uint64_t kept;
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (job->store, error);
  if (snapshots == NULL || !find_asked (job, snapshots, asked, error) ||
      (!brief && !store_snapshot_weigh (job->store, snapshots, weights, &kept, error)))
    return false;
  for (guint i = 0; i < snapshots->len; i++) {
    if (asked[i])
      tell_snapshot (job, snapshots->pdata[i], brief ? NULL : &weights[i]);
  }
  return true;
}
