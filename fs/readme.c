/* SPDX-License-Identifier: Apache-2.0 */
/*
 * readme.c - the file README: how to use the control directory.
 *
 * It fits a terminal of 80 columns. Verbs and their words are those of the store's tables.
 */
#include "fs/control.h"
#include "fs/rows.h"
#include "store/commands.h"

#include <string.h>

#define INDENT 17
#define WIDTH  79

static const char readme_store[] =
    "THE CONTROL DIRECTORY\n"
    "\n"
    "This tree controls the mail store that is mounted here, and tells about it. It\n"
    "is not listed, so that backups do not walk into it; its name always works, in\n"
    "every directory of the mount. Reading, listing and stat start nothing. Write\n"
    "with echo: a write returns when what it asks for is queued, or fails; the\n"
    "reason in words is in last_error then.\n"
    "\n"
    "    cd MNT/.ctl\n"
    "    echo recursive > ../example.com/user/joe/.ctl/repair\n"
    "    echo \"check full joe@example.com/INBOX wait\" > ctl\n"
    "    cat jobs/last/result\n"
    "\n"
    "In this directory, for the whole store:\n"
    "\n"
    "README           this text\n"
    "version          program, and version of this interface\n"
    "health           ok, degraded, damaged or rebuilding\n"
    "status           the store and this mount: a key and its value per line\n"
    "status.json      the same\n"
    "metrics          the same and more, for Prometheus\n"
    "config/          a value per file; those with the w bit can be set\n"
    "ctl              write \"VERB [WORD...] [MAILBOX...]\", a line each; read: how\n"
    "queue            what waits and what runs\n"
    "jobs/ID/         cmd state progress result log report.json; 1 in cancel ends it\n"
    "jobs/last        the newest\n"
    "last_error       the last 8: time, uid, pid, command, errno, reason\n"
    "events           what happens, a JSON object per line; follow with tail -f\n"
    "audit            what was asked for here, by whom, and what came of it\n"
    "manifest.sha256  sha256sum -c, run in the directory above, verifies all mail\n"
    "manifest.json    the same as JSON, with sizes, dates and damage\n"
    "export.jsonl     what the files alone cannot tell: UIDs, flags, dates, names\n"
    "parts/           what is inside messages: DOMAIN/user/USER/MAILBOX/UID/ has the\n"
    "                 header, texts and attachments\n"
    "timeline         when what happened, for mactime of the Sleuth Kit\n"
    "damage           which bytes of which messages are damaged; reads all mail\n"
    "quarantine.jsonl what was taken out of the store and can be put back\n"
    "lost+found/      what is expunged, damaged, missing or belongs nowhere: mv into\n"
    "                 a mailbox restores it; the .json beside it tells what it is\n"
    "search/          mkdir 'from:ann since:2026-01-31' gives a directory of the\n"
    "                 messages that match; rmdir drops it\n"
    "snapshots/       the store as it was: mkdir takes one, rmdir drops it, mv gives\n"
    "                 it another name; latest is the newest\n"
    "\n"
    "In the .ctl of any other directory, for that one: status, status.json,\n"
    "manifest.sha256, manifest.json, export.jsonl, timeline, damage, search/, and of\n"
    "lost+found/ what is from there: expunged/ and orphans/.\n"
    "\n"
    "In both, a file per verb. Reading it gives the state of its last job: idle,\n"
    "queued ID, running ID DONE TOTAL, done ID fixed=N left=N, failed ID ERRNO or\n"
    "cancelled ID. Write words to it, separated by spaces. Verbs that want to be\n"
    "told what they are for have no file here; ctl knows more verbs than these:\n"
    "\n";

static const char readme_past[] =
    "THE CONTROL DIRECTORY OF A SNAPSHOT\n"
    "\n"
    "What is mounted here is a mail store as it was when the snapshot was taken that\n"
    "status names. Nothing in it changes, or can be changed. This tree, which is not\n"
    "listed, tells about it:\n"
    "\n"
    "README           this text\n"
    "version          program, and version of this interface\n"
    "health           ok, degraded or damaged\n"
    "status           the snapshot and this mount: a key and its value per line\n"
    "status.json      the same\n"
    "manifest.sha256  sha256sum -c, run in the directory above, verifies all mail\n"
    "manifest.json    the same as JSON, with sizes, dates and damage\n"
    "export.jsonl     what the files alone cannot tell: UIDs, flags, dates, names\n"
    "parts/           what is inside messages: DOMAIN/user/USER/MAILBOX/UID/ has the\n"
    "                 header, texts and attachments\n"
    "\n"
    "In the .ctl of any other directory, for that one: status, status.json,\n"
    "manifest.sha256, manifest.json and export.jsonl. mailfs.ctl(5) tells more.\n";

static const char readme_words[] =
    "\n"
    "Words:\n"
    "\n"
    "1                the defaults\n"
    "wait             return when the job has ended, with its errno\n"
    "now              at once, beside the worker\n"
    "cancel           end the last job of this verb\n"
    "tag=TEXT         stands in the audit, beside the job's number\n";

static const char readme_end[] =
    "\n"
    "A line that is empty or begins with # does nothing. All lines of one write are\n"
    "looked at before any acts. Names with spaces are quoted as in a shell. A job\n"
    "that ran and could not put everything right is no error.\n"
    "\n"
    "mailfs.ctl(5) tells more.\n";

/* "NAME             TEXT", in as many lines as it takes. */
static void
append_row (GString *out, const char *name, const char *text)
{
  g_auto (GStrv) words = g_strsplit (text, " ", -1);
  size_t column = INDENT - 1;

  g_string_append_printf (out, "%-*s", INDENT - 1, name);
  for (char **word = words; *word != NULL; word++) {
    if (column + 1 + strlen (*word) > WIDTH) {
      g_string_append_printf (out, "\n%*s", INDENT - 1, "");
      column = INDENT - 1;
    }
    g_string_append_printf (out, " %s", *word);
    column += 1 + strlen (*word);
  }
  g_string_append_c (out, '\n');
}

/* Of the verbs that have files, with the words that one of them takes. */
static uint32_t
append_verbs (GString *out, Mount *mount)
{
  const ControlFile *file = control_next (mount, PLACE_NODE, SLOT_VERBS - 1);
  uint32_t words = 0;

  for (; file != NULL && file->slot < SLOT_SETTINGS;
       file = control_next (mount, PLACE_NODE, file->slot)) {
    const StoreCommand *command = &store_commands[file->slot - SLOT_VERBS];
    append_row (out, command->name, command->summary);
    words |= command->words;
  }
  return words;
}

bool
readme_render (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  if (mount->top != mount->store) {
    g_string_append (out, readme_past);
    return true;
  }
  g_string_append (out, readme_store);
  uint32_t words = append_verbs (out, mount);
  g_string_append (out, readme_words);
  for (const StoreWord *word = store_words; word->name != NULL; word++) {
    g_autofree char *spelling =
        g_strconcat (word->name, word->value != NULL ? "=" : NULL, word->value, NULL);
    if ((words & word->bit) != 0)
      append_row (out, spelling, word->summary);
  }
  g_string_append (out, readme_end);
  return true;
}
