/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - mailfs: mounts a store; and mount.mailfs, which is the same (helper.c).
 */
#include "fs/log.h"
#include "fs/mount.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Waits until the daemon is ready and has written a byte, or is gone: then it has said why on the
 * stderr that it shares with us. */
static int
wait_until_ready (pid_t daemon, int ready_fd)
{
  char byte;
  ssize_t count;

  do
    count = read (ready_fd, &byte, 1);
  while (count < 0 && errno == EINTR);
  if (count == 1)
    return EXIT_SUCCESS;
  waitpid (daemon, NULL, 0);
  return EXIT_FAILURE;
}

/* The daemon opens the store only after the fork: SQLite's locks do not survive one. */
static int
run_in_background (Options *options)
{
  int ready[2];

  if (pipe2 (ready, O_CLOEXEC) < 0) {
    perror ("mailfs: pipe");
    return EXIT_FAILURE;
  }
  pid_t daemon = fork ();
  if (daemon < 0) {
    perror ("mailfs: fork");
    return EXIT_FAILURE;
  }
  if (daemon > 0) {
    close (ready[1]);
    return wait_until_ready (daemon, ready[0]);
  }
  close (ready[0]);
  setsid ();
  if (chdir ("/") < 0)
    perror ("mailfs: chdir /");
  return mount_run (options, ready[1]);
}

/* Threads that answer requests come and go; what they freed shall not stay with an arena each. */
static void
limit_memory (void)
{
  mallopt (M_ARENA_MAX, 2);
  mallopt (M_MMAP_THRESHOLD, 256 << 10);
  mallopt (M_TRIM_THRESHOLD, 1 << 20);
}

/* A caller may have closed some of the descriptors 0 to 2. What is opened next must not get their
 * numbers: it would be written to as stderr, and be closed in the background. */
static void
fill_standard_descriptors (void)
{
  int fd;

  do
    fd = open ("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0)
    close (fd);
}

static int
run (int argc, char **argv)
{
  g_auto (Options) options = {0};

  if (!options_parse (argc, argv, &options))
    return EXIT_FAILURE;
  log_start (options.debug);
  if (options.help) {
    options_help ();
    return EXIT_SUCCESS;
  }
  if (options.version) {
    printf ("mailfs %s, libfuse %s\n", MAILFS_VERSION, fuse_pkgversion ());
    return EXIT_SUCCESS;
  }
  return options.foreground ? mount_run (&options, -1) : run_in_background (&options);
}

int
main (int argc, char **argv)
{
  fill_standard_descriptors ();
  limit_memory ();
  log_start (false);
  return helper_is_called (argv[0]) ? helper_main (argc, argv, run) : run (argc, argv);
}
