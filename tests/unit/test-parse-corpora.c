/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real mail: every message's summary is valid, and where GMime does not object to the message it
 * says the same. Looks at eml/ in $MAILFS_CORPORA, or in shared/corpora beside the project, or else
 * at the directories that are named on the command line.
 */
#include "tests/unit/gmime-reference.h"
#include "tests/unit/test-parse.h"

typedef struct {
  uint32_t messages, compared, differences;
  uint64_t bytes, summary_bytes;
} Tally;

static void
check_message (const char *path, Tally *tally)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *text = NULL;
  gsize size;
  g_file_get_contents (path, &text, &size, &error);
  g_assert_no_error (error);
  g_auto (StoreSummary) summary = summarise (text, size);
  bool is_compared;
  g_autofree char *difference =
      reference_compare ((const uint8_t *)text, size, &summary, &is_compared);
  tally->messages++;
  tally->compared += is_compared;
  tally->bytes += size;
  tally->summary_bytes += strlen (summary.envelope) + strlen (summary.bodystructure);
  if (difference == NULL)
    return;
  tally->differences++;
  g_test_message ("%s: %s", path, difference);
}

static void
check_tree (const char *path, Tally *tally)
{
  g_autoptr (GDir) directory = g_dir_open (path, 0, NULL);
  if (directory == NULL) {
    check_message (path, tally);
    return;
  }
  const char *name;
  while ((name = g_dir_read_name (directory)) != NULL) {
    g_autofree char *child = g_build_filename (path, name, NULL);
    check_tree (child, tally);
  }
}

static void
test_tree (const void *data)
{
  const char *path = data;
  if (!g_file_test (path, G_FILE_TEST_IS_DIR)) {
    g_test_skip ("no corpora here");
    return;
  }
  Tally tally = {0};
  check_tree (path, &tally);
  g_test_message ("%u messages, %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT
                  " bytes of summaries; compared %u, different %u",
                  tally.messages, tally.bytes, tally.summary_bytes, tally.compared,
                  tally.differences);
  g_assert_cmpuint (tally.differences, ==, 0);
  g_assert_cmpuint (tally.compared, >, tally.messages / 100 * 95);
}

static char *
find_corpora (void)
{
  const char *corpora = g_getenv ("MAILFS_CORPORA");
  return corpora != NULL ? g_build_filename (corpora, "eml", NULL)
                         : g_build_filename (TEST_SOURCE, "..", "shared", "corpora", "eml", NULL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  parse_init ();
  g_autofree char *corpora = find_corpora ();
  if (argc == 1)
    g_test_add_data_func ("/parse/corpora", corpora, test_tree);
  for (int i = 1; i < argc; i++) {
    g_autofree char *name = g_strdup_printf ("/parse/corpora/%d", i);
    g_test_add_data_func (name, argv[i], test_tree);
  }
  return g_test_run ();
}
