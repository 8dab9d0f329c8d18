/* SPDX-License-Identifier: Apache-2.0 */
/*
 * privilege.c - mounting as root and working as somebody else: -o setuid=USER.
 *
 * Only root can mount for others, and nothing else needs him. So the store is opened as the user,
 * who must be able to; root comes back for the mount, and is then given up for good, before the
 * first request is answered. A daemon in the foreground unmounts at its end. It cannot any more, so
 * a process that stays behind does that for it: it is forked before anything is open, and waits for
 * one byte.
 */
#include "fs/mount.h"

#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The user by name or number. */
static const struct passwd *
find_user (const char *user)
{
  const struct passwd *entry = getpwnam (user);
  guint64 uid;

  if (entry == NULL && g_ascii_string_to_unsigned (user, 10, 0, UINT32_MAX - 1, &uid, NULL))
    entry = getpwuid ((uid_t)uid);
  return entry;
}

bool
privilege_find (const char *user, uid_t *out_uid, gid_t *out_gid, GError **error)
{
  const struct passwd *entry = find_user (user);

  if (entry == NULL)
    return fail (error, EINVAL, "setuid: there is no user '%s'", user);
  if (entry->pw_uid == 0)
    return fail (error, EINVAL, "setuid: '%s' is root", user);
  if (geteuid () != 0)
    return fail (error, EPERM, "setuid: only root can become another user");
  *out_uid = entry->pw_uid;
  *out_gid = entry->pw_gid;
  return true;
}

/* ---- the process that stays root ---------------------------------------------------------- */

/* It ends with the daemon, not by a signal that is sent to both. */
G_NORETURN static void
wait_to_unmount (const Options *options, int fd)
{
  char byte;
  ssize_t count;

  dup2 (fd, STDIN_FILENO);
  close_range (STDIN_FILENO + 1, UINT_MAX, 0);
  signal (SIGHUP, SIG_IGN);
  signal (SIGINT, SIG_IGN);
  signal (SIGTERM, SIG_IGN);
  prctl (PR_SET_NAME, "mailfs-umount");
  do
    count = read (STDIN_FILENO, &byte, 1);
  while (count < 0 && errno == EINTR);
  if (count == 1)
    umount2 (options->mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW);
  _exit (EXIT_SUCCESS);
}

static bool
leave_behind (Mount *mount, GError **error)
{
  int pair[2];

  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return fail_errno (error, "make a socket");
  pid_t pid = fork ();
  if (pid == 0)
    wait_to_unmount (mount->options, pair[1]);
  close (pair[1]);
  mount->unmount_fd = pair[0];
  return pid > 0 || fail_errno (error, "fork");
}

void
privilege_unmount (Mount *mount)
{
  struct pollfd device = {.fd = fuse_session_fd (mount->session)};
  char byte = 0;

  /* Somebody else has unmounted it, and something else may be there. */
  if (poll (&device, 1, 0) == 1 && (device.revents & POLLERR) != 0)
    return;
  if (write (mount->unmount_fd, &byte, 1) == 1)
    while (read (mount->unmount_fd, &byte, 1) < 0 && errno == EINTR)
      ;
}

/* ---- becoming the user -------------------------------------------------------------------- */

/* What prctl(2) sets is of this thread, and of those that it starts: there are no others yet. */
bool
privilege_lend (Mount *mount, GError **error)
{
  const Options *options = mount->options;

  if (options->user == NULL)
    return true;
  if (!leave_behind (mount, error))
    return false;
  const struct passwd *entry = getpwuid (options->run_uid);
  return (entry != NULL && prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
          initgroups (entry->pw_name, options->run_gid) == 0 && setegid (options->run_gid) == 0 &&
          seteuid (options->run_uid) == 0) ||
         fail_errno (error, "become user '%s'", options->user);
}

bool
privilege_take_back (Mount *mount, GError **error)
{
  return mount->options->user == NULL || (seteuid (0) == 0 && setegid (0) == 0) ||
         fail_errno (error, "become root again");
}

bool
privilege_drop (Mount *mount, GError **error)
{
  const Options *options = mount->options;
  uid_t uid = options->run_uid;
  gid_t gid = options->run_gid;

  if (options->user == NULL)
    return true;
  if (setresgid (gid, gid, gid) < 0 || setresuid (uid, uid, uid) < 0)
    return fail_errno (error, "become user '%s'", options->user);
  return setuid (0) < 0 || fail (error, EPERM, "root could not be given up");
}
