/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.c - one mounted store, from opening it to the end.
 */
#include "fs/internal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <syslog.h>
#include <unistd.h>

/* A day: changes are told (notify.c), and a walk that was made once is not made again by the
 * kernel. */
#define TIMEOUT_S 86400.0

#define THREADS_MAX 10

/* What one walk or one file being read can have under way in the kernel before it waits. */
#define BACKGROUND_MAX 64

static void
announce_ready (Mount *mount)
{
  if (mount->ready_fd < 0)
    return;
  log_to_syslog ();
  auto_fd null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
    dup2 (null, fd);
  ssize_t written = write (mount->ready_fd, "", 1);
  if (written < 0)
    log_message (LOG_WARNING, "the caller did not wait: %s", g_strerror (errno));
  close (mount->ready_fd);
  mount->ready_fd = -1;
}

/* The kernel is there; say how to work together. */
static void
handle_init (void *data, struct fuse_conn_info *connection)
{
  const unsigned unwanted = FUSE_CAP_READDIRPLUS_AUTO /* READDIRPLUS always */
                            | FUSE_CAP_ATOMIC_O_TRUNC /* without opens it would truncate unasked */
                            | FUSE_CAP_SPLICE_READ    /* pays for large writes only */
                            | FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS; /* the kernel's do */
  const unsigned wanted = FUSE_CAP_READDIRPLUS | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ |
                          FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE;

  connection->want = (connection->want & ~unwanted) | (connection->capable & wanted);
  connection->max_background = BACKGROUND_MAX;
  connection->congestion_threshold = BACKGROUND_MAX * 3 / 4;
  announce_ready (data);
}

/* Whatever is missing here libfuse answers with ENOSYS, and forgets need no answer. */
static const struct fuse_lowlevel_ops operations = {
    .init = handle_init,
    .lookup = handle_lookup,
    .getattr = handle_getattr,
    .statfs = handle_statfs,
    .opendir = handle_opendir,
    .readdirplus = handle_readdirplus,
    .open = handle_open,
    .read = handle_read,
    .flush = handle_flush,
    .getxattr = handle_getxattr,
    .listxattr = handle_listxattr,
    .setxattr = handle_setxattr,
    .removexattr = handle_removexattr,
    .setattr = refuse_setattr,
    .mknod = refuse_mknod,
    .mkdir = refuse_mkdir,
    .create = refuse_create,
    .symlink = refuse_symlink,
    .link = refuse_link,
    .unlink = refuse_unlink,
    .rmdir = refuse_unlink,
    .rename = refuse_rename,
    .write = refuse_write,
    .fallocate = refuse_fallocate,
};

static bool
open_store (Mount *mount, GError **error)
{
  const Options *options = mount->options;
  StoreNodeTimes root;

  mount->store = store_open (options->store, options->read_only ? STORE_READ_ONLY : 0, error);
  if (mount->store == NULL || !store_node_times (mount->store, STORE_ROOT, &root, error))
    return false;
  mount->uid = options->uid != OPTION_UNSET ? options->uid : root.uid;
  mount->gid = options->gid != OPTION_UNSET ? options->gid : root.gid;
  mount->file_mode = S_IFREG | (options->fmode != OPTION_UNSET ? options->fmode : 0640);
  mount->directory_mode = S_IFDIR | (options->dmode != OPTION_UNSET ? options->dmode : 0750);
  return true;
}

/* Mailboxes are kept open; there may be many. */
static void
raise_descriptor_limit (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) < 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit (RLIMIT_NOFILE, &limit);
}

static int
serve (Mount *mount)
{
  if (mount->options->single)
    return fuse_session_loop (mount->session);

  struct fuse_loop_config *config = fuse_loop_cfg_create ();
  fuse_loop_cfg_set_max_threads (config, THREADS_MAX);
  int result = fuse_session_loop_mt (mount->session, config);
  fuse_loop_cfg_destroy (config);
  return result;
}

/* Signals are for the thread that waits in the loop; all others are started while they are blocked.
 */
static void
set_signals_blocked (bool blocked)
{
  sigset_t signals;

  sigemptyset (&signals);
  sigaddset (&signals, SIGHUP);
  sigaddset (&signals, SIGINT);
  sigaddset (&signals, SIGTERM);
  pthread_sigmask (blocked ? SIG_BLOCK : SIG_UNBLOCK, &signals, NULL);
}

/* Serves a session that is mounted. Only in the foreground does the end of the program unmount it:
 * an empty directory in the place of a store makes a backup delete its copy, a dead mount does not.
 */
static int
serve_mounted (Mount *mount)
{
  g_autoptr (GError) error = NULL;
  int result = -1;

  mount->notify = notify_start (mount, &error);
  if (mount->notify == NULL)
    log_message (LOG_ERR, "%s", error->message);
  else {
    set_signals_blocked (false);
    result = serve (mount);
  }
  /* Unmounting closes the descriptor that the notify thread writes to. */
  bool served = mount->notify != NULL;
  notify_stop (mount->notify);
  if (mount->options->foreground || !served)
    fuse_session_unmount (mount->session);
  return result;
}

static int
run_session (Mount *mount)
{
  int result = -1;

  mount->session = fuse_session_new (&mount->options->rest, &operations, sizeof operations, mount);
  if (mount->session == NULL)
    return -1;
  if (!mount->options->foreground)
    signal (SIGHUP, SIG_IGN);
  if (fuse_set_signal_handlers (mount->session) == 0) {
    if (fuse_session_mount (mount->session, mount->options->mountpoint) == 0)
      result = serve_mounted (mount);
    fuse_remove_signal_handlers (mount->session);
  }
  fuse_session_destroy (mount->session);
  return result;
}

int
mount_run (Options *options, int ready_fd)
{
  g_autoptr (GError) error = NULL;
  Mount mount = {
      .options = options,
      .timeout = TIMEOUT_S,
      .mounted_ns = g_get_real_time () * 1000,
      .ready_fd = ready_fd,
  };
  int result = -1;

  raise_descriptor_limit ();
  set_signals_blocked (true);
  mount.marks = marks_new ();
  mount.control = control_new ();
  if (open_store (&mount, &error))
    result = run_session (&mount);
  else
    log_message (LOG_ERR, "%s", error->message);
  control_free (mount.control);
  marks_free (mount.marks);
  store_close (mount.store);
  return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
