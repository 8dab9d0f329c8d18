/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsck.c - fsck.mailfs: check and repair as fsck(8) and init scripts call them.
 *
 * It always looks first, which changes nothing and works on a read-only filesystem; only what is
 * wrong is a reason to write. A store that is in use is no obstacle.
 */
#include "tools/print.h"
#include "tools/tools.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* fsck(8): the exit code is the sum of these. */
enum {
  FSCK_CORRECTED = 1,
  FSCK_LEFT = 4,
  FSCK_FAILED = 8,
  FSCK_USAGE = 16,
  FSCK_CANCELLED = 32,
};

typedef enum {
  MODE_ASK,  /* once, where there is somebody to answer */
  MODE_LOOK, /* -n */
  MODE_SAFE, /* -a, -p */
  MODE_ALL,  /* -y */
} Mode;

static const char usage[] =
    "usage: fsck.mailfs [-a|-n|-p|-y] [-fvV] [-C [FD]] [-t TYPE] [-T] [--] STORE\n";

static Tool tool = {.program = "fsck.mailfs", .quiet = TRUE};

/* "-C 3" is the option with its value, "-C STORE" and "-C3" the option without and with one. */
static void
skip_descriptor (int argc, char *const *argv)
{
  bool apart = optarg == NULL && optind + 1 < argc;
  if (apart && *argv[optind] != '\0' &&
      strspn (argv[optind], "0123456789") == strlen (argv[optind]))
    optind++;
}

/* Only one way to deal with what is found may be named. */
static bool
choose (Mode *mode, Mode wanted)
{
  bool first = *mode == MODE_ASK || *mode == wanted;
  *mode = wanted;
  return first;
}

/* Fills in the options; false: they make no sense. */
static bool
parse (int argc, char **argv, Mode *mode, bool *full)
{
  bool good = true;
  for (int letter; good && (letter = getopt (argc, argv, "aC::fnpt:TvVy")) != -1;) {
    switch (letter) {
    case 'a':
    case 'p': good = choose (mode, MODE_SAFE); break;
    case 'n': good = choose (mode, MODE_LOOK); break;
    case 'y': good = choose (mode, MODE_ALL); break;
    case 'f': *full = true; break;
    case 'v':
      tool.verbose = TRUE;
      tool.quiet = FALSE;
      break;
    case 'V': tool.version = TRUE; break;
    case 'C': skip_descriptor (argc, argv); break;
    case 't':
    case 'T': break; /* for fsck(8) itself */
    default: good = false;
    }
  }
  if (!good || (argc - optind != 1 && !tool.version))
    return false;
  /* fstab may name what mounts it, too. */
  const char *operand = tool.version ? NULL : argv[optind];
  tool.store = g_strdup (operand != NULL && g_str_has_prefix (operand, "mailfs#")
                             ? operand + strlen ("mailfs#")
                             : operand);
  return true;
}

/* Runs `words`, a NULL-terminated command. */
static StoreJob *
run (StoreOpenFlags flags, const char *const *words, Store **out_store, GError **error)
{
  tool.command = words[0];
  g_autoptr (Store) store = tool_store_open (&tool, flags, error);
  StoreRequest *request = store != NULL ? store_request_parse (store, words, error) : NULL;
  if (request == NULL)
    return NULL;
  g_autoptr (StoreJob) job = store_job_new (store, request);
  if ((flags & STORE_READ_ONLY) == 0)
    store_job_register (job, NULL);
  g_autoptr (Progress) progress = progress_new (&tool);
  if (!store_job_watch (job, run_go_on, progress, error))
    return NULL;
  *out_store = g_steal_pointer (&store);
  return g_steal_pointer (&job);
}

static bool
is_wanted (const char *store)
{
  char answer[16];
  if (!isatty (STDIN_FILENO) || !isatty (STDOUT_FILENO))
    return false;
  printf ("%s: repair? [y/N] ", store);
  fflush (stdout);
  return fgets (answer, sizeof answer, stdin) != NULL && (*answer == 'y' || *answer == 'Y');
}

static int
repair (Mode mode, bool full, GError **error)
{
  const char *words[4] = {"repair"};
  size_t count = 1;
  if (full)
    words[count++] = "full";
  if (mode != MODE_SAFE)
    words[count++] = "permissions";
  g_autoptr (Store) store = NULL;
  g_autoptr (StoreJob) job = run (0, words, &store, error);
  if (job == NULL)
    return FSCK_FAILED | FSCK_LEFT;
  run_print_findings (&tool, store_job_findings (job));
  StoreResult result;
  store_job_result (job, &result);
  printf ("%s: %" PRIu64 " fixed, %" PRIu64 " left\n", tool.store, result.fixed, result.left);
  return (result.fixed > 0 ? FSCK_CORRECTED : 0) | (result.left > 0 ? FSCK_LEFT : 0);
}

static int
check (Mode mode, bool full, GError **error)
{
  const char *const words[] = {"check", full ? "full" : NULL, NULL};
  StoreResult result;
  {
    g_autoptr (Store) store = NULL;
    g_autoptr (StoreJob) job = run (STORE_READ_ONLY, words, &store, error);
    if (job == NULL)
      return FSCK_FAILED;
    store_job_result (job, &result);
    if (mode == MODE_ASK || mode == MODE_LOOK)
      run_print_findings (&tool, store_job_findings (job));
  }
  if (result.left == 0) {
    printf ("%s: clean, %" PRIu64 " mailboxes, %" PRIu64 " messages\n", tool.store,
            result.mailboxes, result.messages);
    return 0;
  }
  if (mode == MODE_SAFE || mode == MODE_ALL || (mode == MODE_ASK && is_wanted (tool.store)))
    return repair (mode, full, error);
  printf ("%s: %" PRIu64 " left\n", tool.store, result.left);
  return FSCK_LEFT;
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  Mode mode = MODE_ASK;
  bool full = false;
  g_set_prgname (tool.program);
  if (!parse (argc, argv, &mode, &full)) {
    fputs (usage, stderr);
    return FSCK_USAGE;
  }
  if (tool.version) {
    puts ("fsck.mailfs " MAILFS_VERSION);
    return 0;
  }
  int code = check (mode, full, &error);
  if (fflush (stdout) != 0 || ferror (stdout))
    code |= FSCK_FAILED;
  if (error != NULL) {
    g_autofree char *message = store_text_printable (error->message);
    fprintf (stderr, "%s: %s\n", tool.program, message);
  }
  g_free (tool.store);
  return error_code (error) == ECANCELED ? FSCK_CANCELLED : code;
}
