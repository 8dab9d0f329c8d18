/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - mailstore: administers a mail store, mounted or not.
 *
 * Two tables make up its commands: the one below, of commands with an input or output of their own,
 * and store_commands[], whose verbs are control files in the mount and subcommands here.
 */
#include "tools/print.h"
#include "tools/tools.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static const Command commands[] = {
    {"init", "[PATH]", "make an empty store", .run = init_run},
    {"import", "--format FORMAT SOURCE TARGET", "bring in mail from files, a Maildir or an mbox",
     .options = import_options, .run = import_run},
    {"deliver", "MAILBOX < MESSAGE", "put one message into a mailbox; prints its UID",
     .options = deliver_options, .run = deliver_run},
    {"list", "[MAILBOX]", "list mailboxes, or the messages of one", .in_snapshots = true,
     .options = list_options, .run = list_run},
    {"mailbox", "create|rename|remove|list|subscribe|unsubscribe|set MAILBOX...",
     "make, rename, remove and set mailboxes", .in_snapshots = true, .options = mailbox_options,
     .run = mailbox_run},
    {"cat", "MAILBOX UID", "write a message to standard output", .in_snapshots = true,
     .options = cat_options, .run = cat_run},
    {"parts", "MAILBOX UID [PART...]",
     "what is inside a message: list it, write it out, or put it into a directory",
     .in_snapshots = true, .options = parts_options, .run = parts_run},
    {"copy", "MAILBOX UIDS TARGET", "copy messages into another mailbox; prints their new UIDs",
     .run = copy_run},
    {"move", "MAILBOX UIDS TARGET", "move messages into another mailbox; prints their new UIDs",
     .run = copy_run},
    {"flag", "MAILBOX UIDS +FLAG... -FLAG... =FLAG...", "change the flags of messages",
     .strict = true, .run = flag_run},
    {"lost", "[list [KIND...] | show KIND/NAME... | restore KIND/NAME... | remove KIND/NAME...]",
     "what lies in no mailbox any more, or is not what it was", .options = lost_options,
     .run = lost_run},
    {"quarantine", "[list | restore STAMP[/PATH]... | remove STAMP[/PATH]...]",
     "what was taken out of the store: list it, put it back, remove it",
     .options = quarantine_options, .run = quarantine_run},
    {"queue", "[add VERB [WORD...] [MAILBOX...] | remove RECNO...]",
     "what waits for the worker; let it do more, or less", .strict = true, .more = queue_help,
     .run = queue_run},
    {"manifest", "[MAILBOX]", "the digest of every message, for sha256sum -c", .in_snapshots = true,
     .run = manifest_run},
    {"damage", "[MAILBOX]", "which bytes of which messages are damaged", .run = damage_run},
    {"export", "--format jsonl | --bagit DIR [MAILBOX]",
     "every fact that the message files do not tell, or the messages as a bag",
     .in_snapshots = true, .options = export_options, .run = export_run},
    {"verify-bag", "DIR", "hold a bag against its digests and lists", .run = verify_bag_run},
    {"jobs", "[ID | resume ID | cancel ID...]", "what runs and what has ended",
     .options = jobs_options, .run = jobs_run},
    {"report", "[MAILBOX...]", "how the store is: in words, or with plots as a page",
     .in_snapshots = true, .options = report_options, .run = report_run},
    {"search", "QUERY [MAILBOX...]", "look for messages", .in_snapshots = true, .strict = true,
     .more = search_help, .options = search_options, .run = search_run},
    {"snapshot",
     "[list [SNAPSHOT...] | take [NAME] | drop SNAPSHOT... | rename SNAPSHOT NAME | diff SNAPSHOT "
     "[SNAPSHOT] [MAILBOX...]]",
     "keep the store as it is now; see what has changed since", .options = snapshot_options,
     .run = snapshot_run},
    {"timeline", "[MAILBOX]", "when what happened to messages, for mactime", .run = timeline_run},
    {"top", "", "what a mount or a store is doing, on a terminal", .options = top_options,
     .run = top_run},
    {"work", "", "run what waits in the queue", .options = work_options, .run = work_run},
    {NULL},
};

static Tool tool = {.program = "mailstore"};

static const GOptionEntry global_options[] = {
    {"store", 's', 0, G_OPTION_ARG_FILENAME, &tool.store,
     "the mail store, or its mountpoint (default: $MAILSTORE, else /var/lib/mailfs)", "STORE"},
    {"ctldir", 0, 0, G_OPTION_ARG_FILENAME, &tool.ctldir,
     "the store is a mountpoint, and this its control directory (default: .ctl)", "NAME"},
    {"config", 'f', 0, G_OPTION_ARG_FILENAME, &tool.config,
     "the store's mailfs.conf, instead of -s", "CONFIG"},
    {"forensic", 0, 0, G_OPTION_ARG_NONE, &tool.forensic,
     "the store is evidence: look at what is left of it, and leave no trace", NULL},
    {"workdir", 0, 0, G_OPTION_ARG_FILENAME, &tool.workdir,
     "for what --forensic makes (default: memory)", "DIR"},
    {"snapshot", 0, 0, G_OPTION_ARG_STRING, &tool.snapshot,
     "look at the store as it was when this snapshot was taken", "SNAPSHOT"},
    {"json", 0, 0, G_OPTION_ARG_NONE, &tool.json, "print one JSON object per line", NULL},
    {"quiet", 'q', 0, G_OPTION_ARG_NONE, &tool.quiet, "print data and errors only", NULL},
    {"verbose", 'v', 0, G_OPTION_ARG_NONE, &tool.verbose, "say which store is used", NULL},
    {"help", 'h', 0, G_OPTION_ARG_NONE, &tool.help, "print this help", NULL},
    {"version", 'V', 0, G_OPTION_ARG_NONE, &tool.version, "print the version", NULL},
    {NULL},
};

/* The one place where an errno becomes an exit code: sysexits(3), documented in mailstore(1). */
static int
exit_code (const GError *error)
{
  switch (error_code (error)) {
  case EINVAL:
  case ENAMETOOLONG: return EX_USAGE;
  case EUCLEAN:
  case EBADMSG:
  case E2BIG: return EX_DATAERR;
  case ENOENT:
  case ENOTDIR:
  case EISDIR:
  case ESTALE: return EX_NOINPUT;
  case EOPNOTSUPP:
  case EPROTONOSUPPORT:
  case EALREADY:
  case EXDEV: return EX_UNAVAILABLE;
  case EEXIST:
  case ENOTEMPTY:
  case EROFS: return EX_CANTCREAT;
  case EIO:
  case ENOSPC:
  case EDQUOT: return EX_IOERR;
  case EBUSY:
  case EAGAIN: return EX_TEMPFAIL;
  case EACCES:
  case EPERM: return EX_NOPERM;
  case ECANCELED: return progress_interrupted () != 0 ? 128 + progress_interrupted () : EX_TEMPFAIL;
  default: return EX_OSERR;
  }
}

static Command
make_command (const StoreCommand *verb)
{
  return (Command){.name = verb->name,
                   .operands = verb->operands,
                   .summary = verb->summary,
                   .in_snapshots = (verb->traits & STORE_COMMAND_PAST) != 0,
                   .options = command_options (verb),
                   .run = command_run};
}

/* Finds a command in either table. */
static bool
find_command (const char *name, Command *out, GError **error)
{
  for (const Command *command = commands; command->name != NULL; command++) {
    if (strcmp (command->name, name) == 0) {
      *out = *command;
      return true;
    }
  }
  const StoreCommand *verb = store_command_find (name);
  if (verb == NULL || (verb->traits & STORE_COMMAND_IMMEDIATE) != 0)
    return fail (error, EINVAL, "no command '%s'; see mailstore -h", name);
  *out = make_command (verb);
  return true;
}

/* Takes the options out of `argv`; `command` is NULL for those before the command's name. */
static GOptionContext *
parse_options (const Command *command, int *argc, char ***argv, GError **error)
{
  g_autoptr (GOptionContext) context =
      g_option_context_new (command != NULL ? command->operands : "COMMAND ...");
  g_option_context_set_help_enabled (context, FALSE);
  g_option_context_set_strict_posix (context, command == NULL || command->strict);
  if (command != NULL && command->options != NULL)
    g_option_context_add_main_entries (context, command->options, NULL);
  g_option_context_add_main_entries (context, global_options, NULL);
  g_autoptr (GError) wrong = NULL;
  if (!g_option_context_parse (context, argc, argv, &wrong)) {
    wrong->message[0] = g_ascii_tolower (wrong->message[0]);
    /* A query, a flag or a mailbox may begin as options do. */
    fail (error, EINVAL, "%s; see %s -h%s", wrong->message, g_get_prgname (),
          command != NULL ? ", or write '--' before what is no option" : "");
    return NULL;
  }
  return g_steal_pointer (&context);
}

static void
print_help (GOptionContext *context, const Command *command)
{
  g_autofree char *help = g_option_context_get_help (context, TRUE, NULL);
  fputs (help, stdout);
  if (command != NULL) {
    printf ("%s: %s. See mailstore(1).\n", command->name, command->summary);
    if (command->more != NULL)
      command->more ();
    return;
  }
  puts ("Commands:");
  for (const Command *row = commands; row->name != NULL; row++)
    printf ("  %-12s %s\n", row->name, row->summary);
  for (const StoreCommand *row = store_commands; row->name != NULL; row++) {
    if ((row->traits & STORE_COMMAND_IMMEDIATE) == 0)
      printf ("  %-12s %s\n", row->name, row->summary);
  }
  puts ("\n'mailstore help COMMAND' tells more about one; mailstore(1) about all.");
}

bool
tool_verb_parse (const StoreCommand *verb, int *argc, char ***argv, GError **error)
{
  Command command = make_command (verb);
  g_autoptr (GOptionContext) context = parse_options (&command, argc, argv, error);
  if (context != NULL && tool.help)
    print_help (context, &command);
  return context != NULL;
}

/* "help COMMAND" is "COMMAND -h". */
static void
take_help (int *argc, char ***argv)
{
  if (*argc < 2 || strcmp ((*argv)[1], "help") != 0)
    return;
  tool.help = true;
  --*argc, ++*argv;
}

static bool
run (int argc, char **argv, GError **error)
{
  g_autoptr (GOptionContext) context = parse_options (NULL, &argc, &argv, error);
  if (context == NULL)
    return false;
  take_help (&argc, &argv);
  if (tool.version) {
    puts ("mailstore " MAILFS_VERSION);
    return true;
  }
  if (argc < 2 && !tool.help)
    return fail (error, EINVAL, "no command given; see mailstore -h");
  if (argc < 2) {
    print_help (context, NULL);
    return true;
  }

  Command command;
  if (!find_command (argv[1], &command, error))
    return false;
  tool.command = command.name;
  g_autofree char *program = g_strdup_printf ("mailstore %s", command.name);
  g_set_prgname (program);
  argc--, argv++;
  g_autoptr (GOptionContext) own = parse_options (&command, &argc, &argv, error);
  if (own == NULL)
    return false;
  if (tool.help) {
    print_help (own, &command);
    return true;
  }
  if (tool.snapshot != NULL && !command.in_snapshots)
    return fail (error, EINVAL, "'%s' does not look at snapshots", command.name);
  argc--, argv++;
  if (argc > 0 && strcmp (argv[0], "--") == 0)
    argc--, argv++;
  return command.run (&tool, argc, argv, error);
}

/* A caller may have closed some of the descriptors 0 to 2. What is opened next must not get their
 * numbers: messages would go into the store's own files. Opened the wrong way round, they still
 * fail when they are used. */
static void
fill_standard_descriptors (void)
{
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
    if (fcntl (fd, F_GETFD) < 0)
      open ("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

/* Whether all that was printed has arrived. */
static bool
finish_output (GError **error)
{
  if (fflush (stdout) != 0)
    return fail_errno (error, "standard output");
  return !ferror (stdout) || fail (error, EIO, "standard output: not everything was written");
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  fill_standard_descriptors ();
  g_set_prgname ("mailstore");
  bool ok = run (argc, argv, &error);
  tool_finish ();
  if (ok && !finish_output (&error))
    ok = tool.done;
  /* The reader has enough; where SIGPIPE is not ignored we do not even get here. */
  if (!ok && error_code (error) == EPIPE)
    return 128 + SIGPIPE;
  if (error != NULL) {
    g_autofree char *message = store_text_printable (error->message);
    fprintf (stderr, "mailstore: %s\n", message);
  }
  return ok ? tool.exit_code : exit_code (error);
}
