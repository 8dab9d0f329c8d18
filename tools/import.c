/* SPDX-License-Identifier: Apache-2.0 */
/* import.c - mailstore import: bring in mail from message files, a Maildir or an mbox. */
#include "tools/print.h"
#include "tools/tools.h"

#include <inttypes.h>
#include <stdio.h>

#define WARNINGS_SHOWN 20u

static char *format;
static gboolean copy, hard_link, reflink, dry_run;

const GOptionEntry import_options[] = {
    {"format", 0, 0, G_OPTION_ARG_STRING, &format, "what SOURCE is", "eml|maildir|mbox|mboxrd"},
    {"copy", 0, 0, G_OPTION_ARG_NONE, &copy, "copy the message files (the default)", NULL},
    {"link", 0, 0, G_OPTION_ARG_NONE, &hard_link, "share the message files by hard links", NULL},
    {"reflink", 0, 0, G_OPTION_ARG_NONE, &reflink, "share the blocks of the message files", NULL},
    {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry_run, "only say what would be done", NULL},
    {NULL},
};

static bool
show_progress (const StoreProgress *now, void *user_data)
{
  progress_show (user_data, now);
  return progress_interrupted () == 0;
}

static void
print_result (const Tool *tool, const StoreImport *import, const StoreImportResult *result,
              double seconds)
{
  if (tool->json) {
    GString *json = json_begin ("import");
    json_string (json, "source", import->source);
    json_string (json, "target", import->target);
    json_bool (json, "dry_run", import->dry_run);
    json_uint (json, "seen", result->seen);
    json_uint (json, "imported", result->imported);
    json_uint (json, "known", result->known);
    json_uint (json, "failed", result->failed);
    json_uint (json, "bytes", result->bytes);
    json_uint (json, "mailboxes", result->mailboxes);
    json_uint (json, "uids_changed", result->uids_changed);
    json_print (json);
    return;
  }
  if (tool->quiet)
    return;
  g_autofree char *seen = text_count (result->seen, "message", "messages");
  g_autofree char *mailboxes = text_count (result->mailboxes, "mailbox", "mailboxes");
  g_autofree char *size = text_size (result->bytes);
  g_autofree char *time = text_seconds (seconds);
  printf ("%s%" PRIu64 " imported, %" PRIu64 " known, %" PRIu64 " failed of %s in %s (%s, %s)\n",
          import->dry_run ? "dry run: " : "", result->imported, result->known, result->failed, seen,
          mailboxes, size, time);
  if (result->uids_changed > 0)
    tool_say (tool, "%" PRIu64 " of them could not keep the UID they had", result->uids_changed);
}

/* Very many warnings would hide what they say. */
static void
print_warnings (const Tool *tool, const GPtrArray *warnings)
{
  guint shown = tool->verbose ? warnings->len : MIN (warnings->len, WARNINGS_SHOWN);
  for (guint i = 0; i < shown; i++)
    tool_say (tool, "%s", (const char *)g_ptr_array_index (warnings, i));
  if (shown < warnings->len)
    tool_say (tool, "and %u more warnings (-v shows all)", warnings->len - shown);
}

/* Some messages, or all of them, did not come in though nothing stopped the import. */
static bool
check_complete (const StoreImport *import, const StoreImportResult *result, GError **error)
{
  if (result->failed > 0)
    return fail (error, EBADMSG, "%" PRIu64 " messages of %s were not brought in", result->failed,
                 import->source);
  if (result->seen == 0 && (result->mailboxes == 0 || result->warnings->len > 0))
    return fail (error, EBADMSG, "no message was found in %s", import->source);
  return true;
}

bool
import_run (Tool *tool, int argc, char **argv, GError **error)
{
  if (argc != 2 || format == NULL)
    return fail (error, EINVAL, "import takes --format, a SOURCE and a TARGET");
  if (copy + hard_link + reflink > 1)
    return fail (error, EINVAL, "--copy, --link and --reflink exclude each other");
  if ((hard_link || reflink) && g_str_has_prefix (format, "mbox"))
    return fail (error, EINVAL, "an mbox can only be copied, for its messages are no files");
  g_autoptr (Store) store = tool_store_open (tool, 0, error);
  if (store == NULL)
    return false;
  StoreImport import = {.format = format,
                        .source = argv[0],
                        .target = argv[1],
                        .transfer = hard_link ? STORE_LINK
                                    : reflink ? STORE_REFLINK
                                              : STORE_COPY,
                        .dry_run = dry_run};
  g_auto (StoreImportResult) result = {0};
  g_autoptr (Progress) progress = progress_new (tool);
  bool ok = store_import (store, &import, show_progress, progress, &result, error);
  double seconds = progress_seconds (progress);
  g_clear_pointer (&progress, progress_free); /* the bar goes before the lines come */
  if (result.warnings == NULL)                /* it did not even begin */
    return false;
  print_warnings (tool, result.warnings);
  if (!ok)
    return fail_prefix (error, "%" PRIu64 " messages imported; run it again for the rest",
                        result.imported);
  print_result (tool, &import, &result, seconds);
  return check_complete (&import, &result, error);
}
