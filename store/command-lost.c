/* SPDX-License-Identifier: Apache-2.0 */
/* What is done at once with lost and found. Things are called KIND/NAME, as in a mount's
 * lost+found.
 */
#include "store/jobs.h"
#include "store/verbs.h"

#include <string.h>

#define PAGE 64u

/* What a thing is told as, when nothing is wrong with that it is there. */
static const StoreProblem problems[STORE_LOST_KINDS] = {
    [STORE_LOST_ORPHANS] = STORE_PROBLEM_STRAY,
    [STORE_LOST_EXPUNGED] = STORE_PROBLEM_EXPUNGED,
    [STORE_LOST_DAMAGED] = STORE_PROBLEM_DIGEST,
    [STORE_LOST_MISSING] = STORE_PROBLEM_LOST,
    [STORE_LOST_INDEX] = STORE_PROBLEM_BAD_INDEX,
    [STORE_LOST_QUARANTINE] = STORE_PROBLEM_QUARANTINED,
};

static char *
make_name (const StoreLost *lost)
{
  return g_strconcat (store_lost_kind_name (lost->kind), "/", lost->name, NULL);
}

/* Finds what is called so. */
static bool
find_named (StoreJob *job, const char *name, StoreLost *out, GError **error)
{
  const char *slash = strchr (name, '/');
  g_autofree char *kind_name = g_strndup (name, slash != NULL ? (gsize)(slash - name) : 0);
  g_autofree char *printable = store_text_printable (name);
  StoreLostKind kind;
  bool found = false;
  if (slash == NULL || !store_lost_kind_parse (kind_name, &kind))
    return fail (error, EINVAL, "'%s' is not KIND/NAME", printable);
  return store_lost_find (job->store, kind, STORE_ROOT, slash + 1, out, &found, error) &&
         (found || fail (error, ENOENT, "nothing lost is called '%s'", printable));
}

/* ---- listing ------------------------------------------------------------------------------- */

static bool
list_kind (StoreJob *job, StoreLostKind kind, GError **error)
{
  StoreLost page[PAGE];
  g_autofree char *after = NULL;
  for (size_t count = 1; count > 0;) {
    if (!job_go_on (job, error) ||
        !store_lost_page (job->store, kind, STORE_ROOT, after, page, PAGE, &count, error))
      return false;
    for (size_t i = 0; i < count; i++) {
      g_autofree char *name = make_name (&page[i]);
      job_noted (job, problems[kind], page[i].number, 0, name, "%s", page[i].path);
    }
    g_free (after);
    after = count > 0 ? g_strdup (page[count - 1].name) : NULL;
    store_losts_clear (page, count);
  }
  return true;
}

static bool
tell_all (StoreJob *job, const char *name, GError **error)
{
  g_auto (StoreLost) lost = {0};
  if (!find_named (job, name, &lost, error))
    return false;
  g_autoptr (GString) json = store_lost_json (job->store, &lost, error);
  if (json == NULL)
    return false;
  g_autofree char *called = make_name (&lost);
  job_noted (job, STORE_PROBLEM_NOTE, lost.number, 0, called, "%s}", json->str);
  return true;
}

bool
command_lost_list (StoreJob *job, GError **error)
{
  const GPtrArray *names = job->request->names;
  StoreLostKind kind;
  for (guint i = 0; names != NULL && i < names->len; i++) {
    bool whole = store_lost_kind_parse (names->pdata[i], &kind);
    if (whole ? !list_kind (job, kind, error) : !tell_all (job, names->pdata[i], error))
      return false;
  }
  for (size_t i = 0; names == NULL && i < STORE_LOST_KINDS; i++) {
    if (!list_kind (job, (StoreLostKind)i, error))
      return false;
  }
  return true;
}

/* ---- changing ------------------------------------------------------------------------------ */

static bool
find_target (StoreJob *job, uint32_t *out_number, GError **error)
{
  StoreTree tree = store_tree (job->store);
  g_auto (StoreNode) node = {0};
  *out_number = STORE_ROOT;
  if (!job_has (job, STORE_WORD_TO))
    return true;
  if (!store_tree_resolve_mailbox (&tree, job->request->to, &node, error))
    return false;
  *out_number = node.number;
  return true;
}

static bool
restore_named (StoreJob *job, const char *name, uint32_t number, GError **error)
{
  g_auto (StoreLost) lost = {0};
  uint32_t uid;
  if (!find_named (job, name, &lost, error) ||
      !store_lost_restore (job->store, &lost, number, &uid, error))
    return false;
  g_autofree char *path =
      store_node_path (job->store, number != STORE_ROOT ? number : lost.number, NULL);
  g_autofree char *called = make_name (&lost);
  job_took (job, problems[lost.kind], number != STORE_ROOT ? number : lost.number, uid, lost.size,
            path != NULL ? path : lost.path, "%s comes back%s", called,
            uid > 0 ? "" : " to where it was");
  return true;
}

bool
command_lost_restore (StoreJob *job, GError **error)
{
  const GPtrArray *names = job->request->names;
  uint32_t number;
  if (!find_target (job, &number, error))
    return false;
  for (guint i = 0; i < names->len; i++) {
    if (!job_go_on (job, error) || !restore_named (job, names->pdata[i], number, error))
      return false;
  }
  return true;
}

bool
command_lost_remove (StoreJob *job, GError **error)
{
  const GPtrArray *names = job->request->names;
  for (guint i = 0; i < names->len; i++) {
    g_auto (StoreLost) lost = {0};
    if (!job_go_on (job, error) || !find_named (job, names->pdata[i], &lost, error) ||
        !store_lost_remove (job->store, &lost, error))
      return false;
    job_took (job, problems[lost.kind], lost.number, lost.uid, lost.size, lost.path,
              "is removed for good");
  }
  return true;
}
