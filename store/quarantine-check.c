/* SPDX-License-Identifier: Apache-2.0 */
/* What check has to say of quarantine/: what could not be put back, or not as it was. */
#include "store/check.h"

#include <string.h>

#define NOT_TAKEN "nothing that was taken out of the store"

typedef struct {
  StoreJob *job;
  int quarantine;
} Check;

/* A finding of a message names its mailbox. */
static void
tell (const Check *self, StoreProblem problem, const char *path, uint32_t uid, const char *what)
{
  g_autofree char *below = uid > 0 ? g_path_get_dirname (path) : g_strdup (path);
  g_autofree char *object = g_build_filename ("../quarantine", below, NULL);
  job_found (self->job, problem, false, 0, uid, object, "%s", what);
}

/* Nobody mends a state there: it goes on as it is until the thing is put back or purged. */
static void
tell_state (const Check *self, const char *path, uint32_t uid, const GError *failure)
{
  g_autofree char *what =
      g_strdup_printf ("%s: what is put back of it would be as new", failure->message);
  tell (self, STORE_PROBLEM_QUARANTINED, path, uid, what);
}

/* ---- messages ------------------------------------------------------------------------------ */

static void
check_bytes (const Check *self, const char *path, uint32_t uid, int fd, uint64_t digest)
{
  g_autoptr (GError) failure = NULL;
  uint8_t sha256[32];
  struct stat st;
  if (fstat (fd, &st) < 0)
    return;
  if (!message_digest (fd, (uint64_t)st.st_size, NULL, 0, sha256, &failure))
    tell (self, STORE_PROBLEM_UNREADABLE, path, uid, failure->message);
  else if (digest != 0 && digest_prefix (sha256) != digest)
    tell (self, STORE_PROBLEM_DIGEST, path, uid, "not the bytes that were delivered");
}

/* -1 when it cannot be opened. That it was taken meanwhile is nobody's fault. */
static int
open_file (const Check *self, int directory, const char *path, const char *name)
{
  int fd = layout_open_message (directory, name);
  if (fd < 0 && errno != ENOENT)
    tell (self, STORE_PROBLEM_UNREADABLE, path, store_message_uid (name), g_strerror (errno));
  return fd;
}

/* The directory may hold its state. */
static void
check_file (const Check *self, int directory, const char *path, const char *name)
{
  uint32_t uid = store_message_uid (name);
  auto_fd fd = open_file (self, directory, path, name);
  g_auto (MessageState) state = {0};
  g_autoptr (GError) failure = NULL;
  bool found = false;
  if (fd < 0)
    return;
  if (uid > 0 && !message_state_read (directory, fd, uid, &state, &found, &failure))
    tell_state (self, path, uid, failure);
  check_bytes (self, path, uid, fd, found ? state.digest : 0);
}

/* ---- directories --------------------------------------------------------------------------- */

/* Without user attributes a directory has one line, whichever kind it is of. */
static void
check_state (const Check *self, const char *path, int fd)
{
  static const StoreNodeKind kinds[] = {STORE_NODE_DOMAIN, STORE_NODE_USER, STORE_NODE_MAILBOX};
  g_autoptr (GError) failure = NULL;
  bool found = false;
  for (size_t i = 0; i < G_N_ELEMENTS (kinds) && !found; i++) {
    g_auto (NodeState) state = {0};
    g_autoptr (GError) wrong = NULL;
    if (node_state_read (fd, kinds[i], &state, &found, &wrong))
      continue;
    g_clear_error (&failure);
    failure = g_steal_pointer (&wrong);
  }
  if (!found && failure != NULL)
    tell_state (self, path, 0, failure);
}

/* Of the messages in removed mailboxes each is looked at only with "full": there may be very many.
 */
static bool
check_directory (const Check *self, const char *path, GError **error)
{
  auto_fd fd = layout_open (self->quarantine, path, O_RDONLY | O_DIRECTORY, 0);
  g_autoptr (GError) failure = NULL;
  if (fd < 0 && errno == ENOENT)
    return true;
  g_autoptr (GPtrArray) names = NULL;
  if (fd < 0 || (names = layout_names (fd, "", &failure)) == NULL) {
    tell (self, STORE_PROBLEM_UNREADABLE, path, 0,
          failure != NULL ? failure->message : g_strerror (errno));
    return true;
  }
  check_state (self, path, fd);
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *child = g_build_filename (path, names->pdata[i], NULL);
    struct stat st;
    if (!job_go_on (self->job, error))
      return false;
    if (fstatat (fd, names->pdata[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
      continue;
    if (S_ISDIR (st.st_mode) && !check_directory (self, child, error))
      return false;
    if (S_ISREG (st.st_mode) && job_has (self->job, STORE_WORD_FULL))
      check_file (self, fd, child, names->pdata[i]);
  }
  return true;
}

/* A single message may lie there because of its damage, which is no news. */
static void
check_single (const Check *self, int directory, const char *path, const char *name)
{
  struct stat st;
  if (fstatat (directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return;
  if (!S_ISREG (st.st_mode))
    return tell (self, STORE_PROBLEM_STRAY, path, 0, NOT_TAKEN);
  auto_fd fd G_GNUC_UNUSED = open_file (self, directory, path, name);
}

static bool
check_object (Store *store, const StoreQuarantined *object, void *data, GError **error)
{
  const Check *self = data;
  if (object->is_directory)
    return check_directory (self, object->path, error);
  g_autofree char *parent = g_path_get_dirname (object->path);
  auto_fd fd = layout_open (self->quarantine, parent, O_RDONLY | O_DIRECTORY, 0);
  if (fd >= 0)
    check_single (self, fd, object->path, strrchr (object->path, '/') + 1);
  return job_go_on (self->job, error);
}

/* ---- all of it ----------------------------------------------------------------------------- */

bool
quarantine_check (StoreJob *job, GError **error)
{
  auto_fd quarantine = quarantine_open (job->store, NULL);
  Check self = {.job = job, .quarantine = quarantine};
  g_autoptr (GError) failure = NULL;
  g_autoptr (GPtrArray) names = quarantine >= 0 ? layout_names (quarantine, "", &failure) : NULL;
  if (failure != NULL)
    tell (&self, STORE_PROBLEM_UNREADABLE, "", 0, failure->message);
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *stamp = names->pdata[i];
    g_autoptr (GError) cause = NULL;
    if (!quarantine_is_stamp (quarantine, stamp))
      tell (&self, STORE_PROBLEM_STRAY, stamp, 0, NOT_TAKEN);
    else if (!quarantine_each_of (job->store, stamp, check_object, &self, &cause)) {
      if (error_code (cause) == ECANCELED) {
        g_propagate_error (error, g_steal_pointer (&cause));
        return false;
      }
      tell (&self, STORE_PROBLEM_UNREADABLE, stamp, 0, cause->message);
    }
  }
  return true;
}
