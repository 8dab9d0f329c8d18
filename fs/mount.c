/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.c - one mounted store, from opening it to the end.
 */
#include "fs/cache.h"
#include "fs/control.h"
#include "fs/jobs.h"
#include "fs/log.h"
#include "fs/metrics.h"
#include "fs/notify.h"
#include "fs/operation.h"
#include "fs/order.h"
#include "fs/rendering.h"
#include "fs/reply.h"
#include "fs/trail.h"
#include "fs/transient.h"
#include "fs/view.h"
#include "store/rescue.h"

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
  log_to_system ();
  auto_fd null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
    dup2 (null, fd);
  ssize_t written = write (mount->ready_fd, "", 1);
  if (written < 0)
    log_message (LOG_WARNING, "the caller did not wait: %s", g_strerror (errno));
  close (mount->ready_fd);
  mount->ready_fd = -1;
}

void
mount_init (void *data, struct fuse_conn_info *connection)
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
  service_tell ("READY=1\nMAINPID=%d\nSTATUS=mounted", getpid ());
}

static void
tell_notice (const char *text, void *data)
{
  trail_notice (data, text);
}

/* What is mounted instead of the store as it is. */
static Store *
open_snapshot (Mount *mount, GError **error)
{
  const char *name = mount->options->snapshot;
  g_auto (StoreSnapshot) taken = {0};

  if (!g_str_equal (name, SNAPSHOT_NEW))
    return store_snapshot_open (mount->store, name, error);
  if (!store_snapshot_take_own (mount->store, "mount", &taken, error))
    return NULL;
  mount->taken = g_steal_pointer (&taken.name);
  return store_snapshot_open (mount->store, mount->taken, error);
}

/* Who has given it another name meanwhile wants to keep it. */
static void
drop_taken (Mount *mount)
{
  g_autoptr (GError) error = NULL;

  if (mount->taken != NULL && !store_snapshot_drop (mount->store, mount->taken, &error))
    log_message (error_code (error) == ENOENT ? LOG_INFO : LOG_WARNING, "%s", error->message);
  g_clear_pointer (&mount->taken, g_free);
}

static bool
open_store (Mount *mount, GError **error)
{
  const Options *options = mount->options;
  bool takes = g_strcmp0 (options->snapshot, SNAPSHOT_NEW) == 0;
  StoreNodeTimes root;

  mount->store =
      options->forensic
          ? store_open_evidence (options->store, options->workdir, error)
          : store_open (options->store, options->read_only && !takes ? STORE_READ_ONLY : 0, error);
  if (mount->store == NULL)
    return options->user != NULL && fail_prefix (error, "setuid: as user '%s'", options->user);
  store_notice (mount->store, tell_notice, mount);
  mount->top = options->snapshot != NULL ? open_snapshot (mount, error) : mount->store;
  if (mount->top == NULL)
    return false;
  mount->views = views_new (mount->top);
  if (!store_node_times (mount->store, STORE_ROOT, &root, error))
    return false;
  mount->audit = audit_new (mount->store, error);
  if (mount->audit == NULL)
    return false;
  /* Evidence is the examiner's to look at, whoever owned it. */
  bool theirs = store_is_evidence (mount->store) && geteuid () != 0;
  mount->uid = options->uid != OPTION_UNSET ? options->uid : theirs ? geteuid () : root.uid;
  mount->gid = options->gid != OPTION_UNSET ? options->gid : theirs ? getegid () : root.gid;
  mount->file_mode = S_IFREG | (options->fmode != OPTION_UNSET ? options->fmode : 0640);
  mount->directory_mode = S_IFDIR | (options->dmode != OPTION_UNSET ? options->dmode : 0750);
  return true;
}

/* Tells the audit, if it is to know who reads, that there is a mount, or is none any more. */
static bool
tell_audit (Mount *mount, const char *what, GError **error)
{
  g_autofree char *command = g_strdup_printf ("%s %s", what, mount->options->given);

  return mount->options->audit != AUDIT_READ || trail_mount (mount, command, error);
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

/* ---- serving ------------------------------------------------------------------------------ */

/*
 * A signal ends the session, but not before the worker and the thread that reads ahead. A job may
 * take a while to come to where it can end, and readers are not to wait for that. The other thread
 * may wait for a page which a read is to fill, and libfuse, told to end, may leave a read
 * unanswered. So the session is served by a thread of its own, and the main thread takes the
 * signals. WAKE is between the two: it tells the main thread that the session has ended, and the
 * other to look whether it is to end.
 */
#define WAKE    SIGUSR1
#define WAKE_NS 10000000

/* The signals that end the session, unless the caller wants them ignored, and WAKE. */
static void
list_signals (sigset_t *out)
{
  static const int ending[] = {SIGHUP, SIGINT, SIGTERM};
  struct sigaction action;

  sigemptyset (out);
  sigaddset (out, WAKE);
  for (size_t i = 0; i < G_N_ELEMENTS (ending); i++) {
    if (sigaction (ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
      sigaddset (out, ending[i]);
  }
}

static void
ignore_wake (int number)
{
}

static void
block_signals (bool foreground)
{
  const struct sigaction wake = {.sa_handler = ignore_wake};
  sigset_t signals;

  if (!foreground)
    signal (SIGHUP, SIG_IGN);
  signal (SIGPIPE, SIG_IGN);
  sigaction (WAKE, &wake, NULL);
  list_signals (&signals);
  pthread_sigmask (SIG_BLOCK, &signals, NULL);
}

static int
run_loop (Mount *mount)
{
  if (mount->options->single)
    return fuse_session_loop (mount->session);

  struct fuse_loop_config *config = fuse_loop_cfg_create ();
  fuse_loop_cfg_set_max_threads (config, THREADS_MAX);
  int result = fuse_session_loop_mt (mount->session, config);
  fuse_loop_cfg_destroy (config);
  return result;
}

/* The serving thread. */
static void *
serve (void *data)
{
  Mount *mount = data;
  sigset_t wake;

  sigemptyset (&wake);
  sigaddset (&wake, WAKE);
  pthread_sigmask (SIG_UNBLOCK, &wake, NULL);
  int result = run_loop (mount);
  mount->served = true;
  pthread_kill (mount->main, WAKE);
  return GINT_TO_POINTER (result);
}

/* The main thread meanwhile. */
static int
serve_until_signal (Mount *mount)
{
  const struct timespec moment = {.tv_nsec = WAKE_NS};
  pthread_t server;
  sigset_t signals;
  void *result;
  int number;

  mount->main = pthread_self ();
  int code = pthread_create (&server, NULL, serve, mount);
  if (code != 0) {
    log_message (LOG_ERR, "start a thread: %s", g_strerror (code));
    return -1;
  }
  list_signals (&signals);
  do
    sigwait (&signals, &number);
  while (number == WAKE && !mount->served);

  service_tell ("STOPPING=1\nSTATUS=ending");
  worker_turn (mount->worker, false);
  runs_stop (mount->runs);
  ahead_stop (mount->ahead);
  fuse_session_exit (mount->session);
  while (!mount->served) {
    pthread_kill (server, WAKE);
    sigtimedwait (&signals, NULL, &moment);
  }
  pthread_join (server, &result);
  return GPOINTER_TO_INT (result);
}

static void
tell_mounted (Mount *mount)
{
  const StoreSnapshot *snapshot = store_snapshot_of (mount->top);

  trail_event (mount, "mounted", "version", MAILFS_VERSION, "store", store_path (mount->store),
               "mountpoint", mount->options->mountpoint, snapshot != NULL ? "snapshot" : NULL,
               snapshot != NULL ? snapshot->name : NULL, NULL);
}

static void
unmount (Mount *mount)
{
  if (mount->options->user != NULL)
    return privilege_unmount (mount);
  if (mount->options->dead)
    replace_unmount (mount);
  fuse_session_unmount (mount->session);
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
    tell_mounted (mount);
    mount->follow = follow_start (mount);
    mount->ahead = ahead_start (mount);
    mount->waits = waits_start (mount);
    mount->runs = runs_new (mount);
    mount->worker = worker_new (mount);
    if (!mount->options->read_only && !mount->options->no_worker)
      worker_turn (mount->worker, true);
    result = serve_until_signal (mount);
    worker_free (mount->worker);
    renderings_stop (mount->renderings);
    searches_stop (mount->searches);
    waits_free (mount->waits);
    runs_free (mount->runs);
    ahead_free (mount->ahead);
    follow_stop (mount->follow);
  }
  /* Unmounting closes the descriptor that the notify thread writes to. */
  bool served = mount->notify != NULL;
  notify_stop (mount->notify);
  if (mount->options->foreground || !served)
    unmount (mount);
  return result;
}

/* Whether it is mounted, as root, who is not needed after that; else it has been said why. */
static bool
mount_session (Mount *mount)
{
  g_autoptr (GError) error = NULL;

  bool mounted =
      privilege_take_back (mount, &error) &&
      (mount->options->dead ? replace_mount (mount)
                            : fuse_session_mount (mount->session, mount->options->mountpoint) == 0);
  if (mounted && privilege_drop (mount, &error))
    return true;
  if (error != NULL)
    log_message (LOG_ERR, "%s", error->message);
  if (mounted)
    unmount (mount);
  return false;
}

static int
run_session (Mount *mount)
{
  int result = -1;

  mount->session = fuse_session_new (&mount->options->rest, &operations, sizeof operations, mount);
  if (mount->session == NULL)
    return -1;
  if (mount_session (mount))
    result = serve_mounted (mount);
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
      .verify = (VerifyMode)options->verify,
      .mounted_ns = g_get_real_time () * 1000,
      .unmount_fd = -1,
      .ready_fd = ready_fd,
  };
  int result = -1;

  raise_descriptor_limit ();
  block_signals (options->foreground);
  bool lent = privilege_lend (&mount, &error);
  mount.marks = marks_new ();
  mount.foreign = foreign_new (&mount);
  mount.control = control_new ();
  mount.renderings = renderings_new (&mount);
  mount.transients = transients_new ();
  mount.searches = searches_new (&mount);
  mount.parts = parts_new ();
  mount.pieces = pieces_new ();
  mount.census = census_new ();
  mount.trail = trail_new ();
  mount.metrics = metrics_new ();
  mount.pages = pages_new ();
  mount.recent = recent_new ();
  if (lent && open_store (&mount, &error) && tell_audit (&mount, "mount", &error)) {
    result = run_session (&mount);
    tell_audit (&mount, "unmount", &error);
  }
  if (error != NULL)
    log_message (LOG_ERR, "%s", error->message);
  recent_free (mount.recent);
  pages_free (mount.pages);
  renderings_free (mount.renderings);
  pieces_free (mount.pieces);
  transients_free (mount.transients);
  searches_free (mount.searches);
  parts_free (mount.parts);
  census_free (mount.census);
  control_free (mount.control);
  foreign_free (mount.foreign);
  marks_free (mount.marks);
  views_free (mount.views);
  if (mount.top != mount.store)
    store_close (mount.top);
  drop_taken (&mount);
  store_close (mount.store);
  trail_free (mount.trail);
  audit_free (mount.audit);
  metrics_free (mount.metrics);
  store_close_fd (&mount.unmount_fd);
  return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
