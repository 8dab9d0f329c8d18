/* SPDX-License-Identifier: Apache-2.0 */
/* test and checkpoint: the databases of a store, looked at and brought to rest. */
#include "store/check.h"
#include "store/jobs.h"
#include "store/rebuild.h"
#include "store/verbs.h"

#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- locks --------------------------------------------------------------------------------- */

/* No change holds a lock for longer. */
#define LOCK_WAIT_US  (10 * G_USEC_PER_SEC)
#define LOCK_PAUSE_US 20000

/* Who holds a lock on the directory, by /proc/locks: "1: FLOCK  ADVISORY  WRITE 812 fe:00:2049 0
 * EOF". 0: it is not told. */
static int
find_holder (const struct stat *st)
{
  FILE *locks = fopen ("/proc/locks", "re");
  char line[256];
  int holder = 0;
  while (locks != NULL && holder == 0 && fgets (line, sizeof line, locks) != NULL) {
    int pid;
    unsigned long inode;
    if (sscanf (line, "%*s FLOCK %*s WRITE %d %*x:%*x:%lu", &pid, &inode) == 2 &&
        inode == st->st_ino)
      holder = pid;
  }
  if (locks != NULL)
    fclose (locks);
  return holder;
}

/* Takes the lock of a directory and gives it back. */
static bool
test_lock (StoreJob *job, uint32_t number, const char *path, GError **error)
{
  auto_fd fd = layout_open (job->store->mail_fd, path, O_RDONLY | O_DIRECTORY, 0);
  struct stat st;
  if (fd < 0 || fstat (fd, &st) < 0)
    return fail_errno (error, "open '%s'", path);
  for (int64_t waited_us = 0; flock (fd, LOCK_EX | LOCK_NB) < 0; waited_us += LOCK_PAUSE_US) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return fail_errno (error, "lock '%s'", path);
    if (waited_us >= LOCK_WAIT_US) {
      job_found (job, STORE_PROBLEM_LOCKED, false, number, 0, path, "held by process %d",
                 find_holder (&st));
      return true;
    }
    if (!job_go_on (job, error))
      return false;
    g_usleep (LOCK_PAUSE_US);
  }
  return true;
}

/* ---- test ---------------------------------------------------------------------------------- */

/* What it looks at is counted by the test that follows. */
static bool
recover_before (StoreJob *job, uint32_t owner, GError **error)
{
  job->counted = true;
  bool done = recover_owner (job, owner, error);
  job->counted = false;
  return done;
}

static bool
test_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autofree char *path = store_node_path (job->store, owner, error);
  if (path == NULL || !job_go_on (job, error) ||
      (job_has (job, STORE_WORD_RECOVER) && !recover_before (job, owner, error)) ||
      (job_has (job, STORE_WORD_LOCKS) && !test_lock (job, owner, path, error)))
    return false;
  g_autofree char *file = layout_index_path (job->store, path);
  g_autofree char *broken = layout_broken_path (file, 0);
  if (broken != NULL)
    job_found (job, STORE_PROBLEM_BAD_INDEX, false, owner, 0, path,
               "%s has not been made use of yet", broken);
  if (!index_probe (job, owner, true, &failure)) {
    /* A user who never had a mailbox has no index either. */
    if (mailboxes->len > 0 || error_code (failure) != ENOENT)
      report_database (job, owner, path, false, failure);
    return true;
  }
  IndexMailbox totals = {0};
  g_autoptr (Handle) handle = cache_index (job->store, owner, false, NULL);
  if (handle != NULL && index_totals (handle->index, &totals, NULL))
    job_looked_at (job, mailboxes->len, totals.messages, totals.bytes);
  if (job_has (job, STORE_WORD_VERBOSE))
    job_noted (job, STORE_PROBLEM_NOTE, owner, 0, path,
               "sound: %u mailboxes, %u messages, %u expunged", mailboxes->len, totals.messages,
               totals.expunged);
  return true;
}

/* The mailbox list; one that had to be made in memory says why. */
static bool
test_list (StoreJob *job, GError **error)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) list = cache_list (job->store, error);
  if (list == NULL)
    return false;
  bool sound = list->failure == NULL && list_verify (list->list, &failure);
  if (!sound && job_has (job, STORE_WORD_RECOVER))
    return rebuild_list (job, error);
  if (!sound)
    report_database (job, STORE_ROOT, LAYOUT_LIST, false,
                     list->failure != NULL ? list->failure : failure);
  else if (job_has (job, STORE_WORD_VERBOSE))
    job_noted (job, STORE_PROBLEM_NOTE, STORE_ROOT, 0, LAYOUT_LIST, "sound");
  return true;
}

bool
command_test (StoreJob *job, GError **error)
{
  if (store_is_read_only (job->store) && job_has (job, STORE_WORD_RECOVER))
    return fail (error, EROFS, "the store %s is open read only", job->store->path);
  return (!job_has (job, STORE_WORD_LOCKS) || test_lock (job, 0, "", error)) &&
         test_list (job, error) && job_each_owner (job, test_owner, error);
}

/* ---- checkpoint ---------------------------------------------------------------------------- */

/* Whether a write to the database at `path` was cut short, or is just going on. */
static bool
has_journal (const char *path)
{
  g_autofree char *journal = g_strconcat (path, "-journal", NULL);
  struct stat st;
  return lstat (journal, &st) == 0 && st.st_size > 0;
}

/* Opening a database takes back what was cut short; what is there is then read and synced. */
static bool
checkpoint_owner (StoreJob *job, uint32_t owner, GArray *mailboxes, bool whole, GError **error)
{
  g_autofree char *path = store_node_path (job->store, owner, error);
  auto_fd lock = path != NULL ? lock_user (job->store, owner, error) : -1;
  if (lock < 0 || !job_go_on (job, error))
    return false;
  g_autofree char *file = layout_index_path (job->store, path);
  g_autoptr (GError) failure = NULL;
  bool hot = has_journal (file);
  if (!index_probe (job, owner, true, &failure)) {
    if (mailboxes->len > 0 || error_code (failure) != ENOENT)
      report_database (job, owner, path, false, failure);
    return true;
  }
  g_autoptr (Handle) handle = cache_index (job->store, owner, false, error);
  if (handle == NULL || !index_sync (handle->index, error))
    return false;
  job_looked_at (job, mailboxes->len, 0, 0);
  if (hot)
    job_noted (job, STORE_PROBLEM_NOTE, owner, 0, path, "an interrupted write was taken back");
  return true;
}

bool
command_checkpoint (StoreJob *job, GError **error)
{
  if (store_is_read_only (job->store))
    return fail (error, EROFS, "the store %s is open read only", job->store->path);
  g_autoptr (Handle) list = cache_list (job->store, error);
  g_autoptr (GError) failure = NULL;
  if (list == NULL || !job_each_owner (job, checkpoint_owner, error))
    return false;
  if (list->failure != NULL || !list_verify (list->list, &failure) ||
      !list_sync (list->list, &failure))
    job_found (job, STORE_PROBLEM_BAD_INDEX, false, 0, 0, "", "%s",
               list->failure != NULL ? list->failure->message : failure->message);
  if (job->findings->len == 0)
    job_noted (job, STORE_PROBLEM_NOTE, 0, 0, "",
               "nothing to do: every commit is in its database and on disk already");
  return true;
}
