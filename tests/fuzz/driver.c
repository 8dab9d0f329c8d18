/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over every file of the directories in argv, so that what fuzzing found once is
 * an ordinary test wherever there is no libFuzzer. A directory that is missing or empty fails.
 */
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static bool
run_directory (const char *path, unsigned *inputs)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GDir) directory = g_dir_open (path, 0, &error);
  const char *name;
  while (directory != NULL && (name = g_dir_read_name (directory)) != NULL) {
    g_autofree char *file = g_build_filename (path, name, NULL);
    g_autofree char *contents = NULL;
    gsize size;
    if (!g_file_get_contents (file, &contents, &size, &error))
      break;
    /* A copy without the NUL that GLib puts behind it, so that reading too far is found. It exists
     * even when it is empty. */
    g_autofree uint8_t *data = malloc (size);
    memcpy (data, contents, size);
    LLVMFuzzerTestOneInput (data, size);
    (*inputs)++;
  }
  if (error != NULL)
    fprintf (stderr, "%s\n", error->message);
  return error == NULL;
}

int
main (int argc, char **argv)
{
  unsigned inputs = 0;
  for (int i = 1; i < argc; i++)
    if (!run_directory (argv[i], &inputs))
      return EXIT_FAILURE;
  printf ("%u inputs\n", inputs);
  return inputs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
