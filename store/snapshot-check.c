/* SPDX-License-Identifier: Apache-2.0 */
/* What check has to say of snapshots/ and history/. */
#include "store/jobs.h"
#include "store/snapshot.h"

#include <string.h>

/* Calls `each` for the names in a directory of the store, but for those that begin with '.'. */
typedef void (*NameFunc) (StoreJob *job, const char *name, bool is_file);
static void
each_name (StoreJob *job, const char *path, NameFunc each)
{
  auto_fd fd = layout_open (job->store->fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
  g_autoptr (GPtrArray) names = fd >= 0 ? layout_names (fd, "", NULL) : NULL;
  struct stat st;
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *name = names->pdata[i];
    if (*name != '.' && fstatat (fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
      each (job, name, S_ISREG (st.st_mode));
  }
}

static void
tell (StoreJob *job, StoreProblem problem, const char *directory, const char *name,
      const char *what)
{
  g_autofree char *path = g_build_filename ("..", directory, name, NULL);
  g_autofree char *printable = store_text_printable (path);
  job_found (job, problem, false, 0, 0, printable, "%s", what);
}

static void
check_snapshot (StoreJob *job, const char *name, bool is_file)
{
  g_auto (StoreSnapshot) snapshot = {0};
  g_autoptr (GError) failure = NULL;
  if (!is_file)
    tell (job, STORE_PROBLEM_STRAY, SNAPSHOTS, name, "no snapshot");
  else if (!store_snapshot_find (job->store, name, &snapshot, &failure) && failure->code == EBADMSG)
    tell (job, STORE_PROBLEM_BAD_SNAPSHOT, SNAPSHOTS, name,
          "makes no sense: it is not known what it has, and all that changes is kept");
  else if (failure != NULL && failure->code == ENOENT)
    tell (job, STORE_PROBLEM_STRAY, SNAPSHOTS, name, "no name for a snapshot");
}

static void
check_history (StoreJob *job, const char *name, bool is_file)
{
  uint64_t number;
  bool is_tree = strcmp (name, "tree") == 0;
  if (!is_file ||
      (!is_tree && !g_ascii_string_to_unsigned (name, 10, 0, STORE_NUMBER_MAX, &number, NULL))) {
    tell (job, STORE_PROBLEM_STRAY, HISTORY, name, "nothing that was kept for a snapshot");
    return;
  }
  g_autoptr (GError) failure = NULL;
  g_autoptr (History) history =
      is_tree ? history_new_tree (job->store) : history_new (job->store, (uint32_t)number);
  if (!history_load (history, &failure))
    tell (job, STORE_PROBLEM_BAD_SNAPSHOT, HISTORY, name, failure->message);
  else if (history_damaged (history) > 0)
    tell (job, STORE_PROBLEM_BAD_SNAPSHOT, HISTORY, name,
          "has lines that make no sense: there snapshots show what is now");
}

void
snapshot_check (StoreJob *job)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (GPtrArray) list = store_snapshot_list (job->store, &failure);
  if (list == NULL) {
    tell (job, STORE_PROBLEM_BAD_SNAPSHOT, SNAPSHOTS, NULL, failure->message);
    return;
  }
  each_name (job, SNAPSHOTS, check_snapshot);
  each_name (job, HISTORY, check_history);
}
