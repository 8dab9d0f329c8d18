/* SPDX-License-Identifier: Apache-2.0 */
/*
 * helper.c - mount.mailfs, which mount(8) calls for the type mailfs:
 *
 *   mount.mailfs STORE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]
 *
 * It is mailfs under another name: the arguments are put the way mailfs has them, and the exit
 * status the way mount(8) has it.
 */
#include "fs/options.h"
#include "store/store.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

/* mount(8), EXIT STATUS. */
enum { EXIT_WRONG_USE = 1, EXIT_NOT_MOUNTED = 32 };

typedef struct {
  bool fake, sloppy, verbose, help, version;
  const char *namespace;
  const char *options;
  const char *store, *mountpoint;
} HelperArguments;

bool
helper_is_called (const char *program)
{
  g_autofree char *name = g_path_get_basename (program);
  return g_str_equal (name, "mount.mailfs");
}

static bool
parse_arguments (int argc, char **argv, HelperArguments *out)
{
  for (int letter; (letter = getopt (argc, argv, "fhno:st:vN:V")) != -1;) {
    switch (letter) {
    case 'f': out->fake = true; break;
    case 'h': out->help = true; break;
    case 'o': out->options = optarg; break;
    case 's': out->sloppy = true; break;
    case 'v': out->verbose = true; break;
    case 'N': out->namespace = optarg; break;
    case 'V': out->version = true; break;
    case 'n': /* there is no mtab to write to */
    case 't': break;
    default: return false;
    }
  }
  if (argc - optind == 2) {
    out->store = argv[optind];
    out->mountpoint = argv[optind + 1];
  }
  return out->store != NULL || out->help || out->version;
}

/* As mount(8) has it: a store that is not there is no failure then. */
static bool
may_be_missing (const HelperArguments *arguments)
{
  g_auto (GStrv) options =
      g_strsplit (arguments->options != NULL ? arguments->options : "", ",", -1);

  return g_strv_contains ((const char *const *)options, "nofail") &&
         access (arguments->store, F_OK) < 0 && errno == ENOENT;
}

/* From then on every path is one of that namespace, the store's too. */
static bool
enter_namespace (const char *path)
{
  auto_fd fd = open (path, O_RDONLY | O_CLOEXEC);

  if (fd >= 0 && setns (fd, CLONE_NEWNS) == 0)
    return true;
  fprintf (stderr, "mount.mailfs: enter namespace %s: %s\n", path, g_strerror (errno));
  return false;
}

static int
mount_as_mailfs (const HelperArguments *arguments, HelperRun run)
{
  g_autofree char *options =
      g_strconcat (arguments->sloppy ? "sloppy," : "",
                   arguments->options != NULL ? arguments->options : "rw", NULL);
  const char *argv[] = {"mailfs", "-o", options, "--", arguments->store, arguments->mountpoint,
                        NULL};

  if (arguments->namespace != NULL && !enter_namespace (arguments->namespace))
    return EXIT_NOT_MOUNTED;
  if (run (G_N_ELEMENTS (argv) - 1, (char **)argv) != EXIT_SUCCESS)
    return EXIT_NOT_MOUNTED;
  if (arguments->verbose)
    printf ("mount.mailfs: %s mounted on %s\n", arguments->store, arguments->mountpoint);
  return EXIT_SUCCESS;
}

int
helper_main (int argc, char **argv, HelperRun run)
{
  HelperArguments arguments = {0};

  if (!parse_arguments (argc, argv, &arguments) || arguments.help) {
    fputs ("usage: mount.mailfs STORE MOUNTPOINT [-fnsv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]\n"
           "mount(8) calls it; see mount.mailfs(8). 'mailfs -h' tells the options.\n",
           arguments.help ? stdout : stderr);
    return arguments.help ? EXIT_SUCCESS : EXIT_WRONG_USE;
  }
  if (arguments.version) {
    puts ("mount.mailfs " MAILFS_VERSION);
    return EXIT_SUCCESS;
  }
  if (arguments.fake || may_be_missing (&arguments))
    return EXIT_SUCCESS;
  return mount_as_mailfs (&arguments, run);
}
