/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c - the command line: mailfs [-o OPTIONS] STORE MOUNTPOINT, as sshfs has it.
 */
#include "fs/options.h"
#include "fs/mount.h"
#include "store/text.h"

#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>

enum { KEY_RO, KEY_RW, KEY_NONEMPTY, KEY_AUTO_UNMOUNT, KEY_REMOUNT, KEY_IGNORED };

#define SET(template, field, value)                                                                \
  {                                                                                                \
    template, offsetof (Options, field), value                                                     \
  }

static const struct fuse_opt option_table[] = {
    SET ("-f", foreground, 1),
    SET ("-d", debug, 1),
    SET ("debug", debug, 1),
    SET ("-s", single, 1),
    SET ("-h", help, 1),
    SET ("--help", help, 1),
    SET ("-V", version, 1),
    SET ("--version", version, 1),
    SET ("uid=%u", uid, 0),
    SET ("gid=%u", gid, 0),
    SET ("fmode=%o", fmode, 0),
    SET ("dmode=%o", dmode, 0),
    SET ("ctl=hidden", ctl, CTL_HIDDEN),
    SET ("ctl=visible", ctl, CTL_VISIBLE),
    SET ("ctl=off", ctl, CTL_OFF),
    SET ("ctldir=%s", ctldir, 0),
    SET ("xattrs=all", xattrs, XATTRS_ALL),
    SET ("xattrs=data", xattrs, XATTRS_DATA),
    SET ("xattrs=none", xattrs, XATTRS_NONE),
    SET ("verify=first", verify, VERIFY_FIRST),
    SET ("verify=always", verify, VERIFY_ALWAYS),
    SET ("verify=never", verify, VERIFY_NEVER),
    SET ("damaged=eio", damaged, DAMAGED_EIO),
    SET ("damaged=partial", damaged, DAMAGED_PARTIAL),
    SET ("damaged=raw", damaged, DAMAGED_RAW),
    SET ("audit=actions", audit, AUDIT_ACTIONS),
    SET ("audit=read", audit, AUDIT_READ),
    SET ("worker=on", no_worker, 0),
    SET ("worker=off", no_worker, 1),
    SET ("allow_purge", allow_purge, 1),
    SET ("sloppy", sloppy, 1),
    SET ("replace", replace, 1),
    SET ("snapshot=%s", snapshot, 0),
    SET ("forensic", forensic, 1),
    SET ("workdir=%s", workdir, 0),
    SET ("setuid=%s", user, 0),
    SET ("io_uring", io_uring, 1),
    FUSE_OPT_KEY ("ro", KEY_RO),
    FUSE_OPT_KEY ("rw", KEY_RW),
    FUSE_OPT_KEY ("data=ro", KEY_IGNORED), /* as it is always */
    FUSE_OPT_KEY ("nonempty", KEY_NONEMPTY),
    FUSE_OPT_KEY ("auto_unmount", KEY_AUTO_UNMOUNT),
    FUSE_OPT_KEY ("remount", KEY_REMOUNT),
    /* What fstab has for others and mount(8) hands on; so are x-... and X-... */
    FUSE_OPT_KEY ("", KEY_IGNORED),
    FUSE_OPT_KEY ("defaults", KEY_IGNORED),
    FUSE_OPT_KEY ("_netdev", KEY_IGNORED),
    FUSE_OPT_KEY ("auto", KEY_IGNORED),
    FUSE_OPT_KEY ("noauto", KEY_IGNORED),
    FUSE_OPT_KEY ("nofail", KEY_IGNORED),
    FUSE_OPT_KEY ("user", KEY_IGNORED),
    FUSE_OPT_KEY ("user=", KEY_IGNORED),
    FUSE_OPT_KEY ("nouser", KEY_IGNORED),
    FUSE_OPT_KEY ("users", KEY_IGNORED),
    FUSE_OPT_KEY ("owner", KEY_IGNORED),
    FUSE_OPT_KEY ("noowner", KEY_IGNORED),
    FUSE_OPT_KEY ("group", KEY_IGNORED),
    FUSE_OPT_KEY ("nogroup", KEY_IGNORED),
    FUSE_OPT_KEY ("comment=", KEY_IGNORED),
    /* There are no access times. */
    FUSE_OPT_KEY ("relatime", KEY_IGNORED),
    FUSE_OPT_KEY ("norelatime", KEY_IGNORED),
    FUSE_OPT_KEY ("strictatime", KEY_IGNORED),
    FUSE_OPT_KEY ("nostrictatime", KEY_IGNORED),
    FUSE_OPT_KEY ("diratime", KEY_IGNORED),
    FUSE_OPT_KEY ("nodiratime", KEY_IGNORED),
    FUSE_OPT_KEY ("lazytime", KEY_IGNORED),
    FUSE_OPT_KEY ("nolazytime", KEY_IGNORED),
    FUSE_OPT_END,
};

/* What libfuse and mount(2) take, as far as it can be meant for us: all else is dropped when
 * mount(8) says that the options may be sloppy, as autofs has it. */
static const struct fuse_opt passed_table[] = {
    FUSE_OPT_KEY ("rw", 0),         FUSE_OPT_KEY ("ro", 0),
    FUSE_OPT_KEY ("suid", 0),       FUSE_OPT_KEY ("nosuid", 0),
    FUSE_OPT_KEY ("dev", 0),        FUSE_OPT_KEY ("nodev", 0),
    FUSE_OPT_KEY ("exec", 0),       FUSE_OPT_KEY ("noexec", 0),
    FUSE_OPT_KEY ("async", 0),      FUSE_OPT_KEY ("sync", 0),
    FUSE_OPT_KEY ("atime", 0),      FUSE_OPT_KEY ("noatime", 0),
    FUSE_OPT_KEY ("dirsync", 0),    FUSE_OPT_KEY ("default_permissions", 0),
    FUSE_OPT_KEY ("allow_root", 0), FUSE_OPT_KEY ("allow_other", 0),
    FUSE_OPT_KEY ("fsname=", 0),    FUSE_OPT_KEY ("subtype=", 0),
    FUSE_OPT_KEY ("max_read=", 0),  FUSE_OPT_END,
};

static bool G_GNUC_PRINTF (1, 2) complain (const char *format, ...)
{
  va_list arguments;
  va_start (arguments, format);
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  g_autofree char *printable = store_text_printable (text);
  fprintf (stderr, "mailfs: %s\n", printable);
  return false;
}

static int
take_path (Options *options, const char *path)
{
  char **place = options->store == NULL ? &options->store : &options->mountpoint;

  if (*place != NULL) {
    complain ("more than STORE and MOUNTPOINT: '%s'; see mailfs -h", path);
    return -1;
  }
  *place = g_strdup (path);
  return 0;
}

/* One of our options whose value no row of the table took. */
static bool
is_wrong_value (const char *argument)
{
  static const char *const prefixes[] = {
      "data=", "ctl=", "xattrs=", "verify=", "damaged=", "audit=", "worker="};
  for (size_t i = 0; i < G_N_ELEMENTS (prefixes); i++) {
    if (g_str_has_prefix (argument, prefixes[i]))
      return true;
  }
  return false;
}

static bool
wants_value (const char *argument)
{
  static const char *const names[] = {"uid",     "gid",    "fmode",   "dmode", "ctl",    "ctldir",
                                      "xattrs",  "verify", "damaged", "audit", "worker", "snapshot",
                                      "workdir", "setuid", "data",    NULL};
  return g_strv_contains (names, argument);
}

/* What fstab has for others, or whoever asked may not mean. */
static bool
is_ignored (const Options *options, const char *argument)
{
  return g_str_has_prefix (argument, "x-") || g_str_has_prefix (argument, "X-") ||
         (options->sloppy && !fuse_opt_match (passed_table, argument));
}

/* fuse_opt's convention: -1 is an error, 0 takes the argument, 1 leaves it for libfuse. */
static int
take_option (void *data, const char *argument, int key, struct fuse_args *rest)
{
  Options *options = data;

  switch (key) {
  case KEY_RO: options->read_only = 1; return 1;
  case KEY_RW: options->read_only = 0; return 1;
  case KEY_NONEMPTY: options->nonempty = 1; return 0;
  case KEY_IGNORED: return 0;
  case KEY_AUTO_UNMOUNT:
    complain ("auto_unmount is refused: a backup that runs when the daemon died would find an "
              "empty directory and delete its copy");
    return -1;
  case KEY_REMOUNT:
    complain ("remount: options of a mount cannot be changed; unmount it and mount it again");
    return -1;
  case FUSE_OPT_KEY_NONOPT: return take_path (options, argument);
  default: break;
  }
  if (wants_value (argument)) {
    complain ("-o %s: it takes a value, as in -o %s=...; see mailfs -h", argument, argument);
    return -1;
  }
  if (is_wrong_value (argument)) {
    complain ("-o %s: no such value; see mailfs -h", argument);
    return -1;
  }
  if (*argument != '-')
    return is_ignored (options, argument) ? 0 : 1;
  complain ("unknown option '%s'; see mailfs -h", argument);
  return -1;
}

/* Whether one of two absolute paths lies below the other, or is it. */
static bool
overlap (const char *one, const char *other)
{
  size_t length = MIN (strlen (one), strlen (other));

  return strncmp (one, other, length) == 0 &&
         (one[length] == '\0' || one[length] == '/' || one[length - 1] == '/') &&
         (other[length] == '\0' || other[length] == '/' || other[length - 1] == '/');
}

/* What lies in the mountpoint would be hidden. An automount point is not looked into: that would
 * wait for this very mount. */
static bool
check_empty (const char *path)
{
  struct statfs filesystem;

  if (statfs (path, &filesystem) == 0 && filesystem.f_type == AUTOFS_SUPER_MAGIC)
    return true;
  g_autoptr (GDir) directory = g_dir_open (path, 0, NULL);
  for (const char *name; directory != NULL && (name = g_dir_read_name (directory)) != NULL;) {
    if (!g_str_equal (name, "lost+found"))
      return complain ("mountpoint '%s' is not empty; -o nonempty hides what is in it", path);
  }
  return true;
}

/* What is mounted there may have died; stat(2) can still get along with what the kernel kept. */
static bool
complain_of_mountpoint (const char *path)
{
  return complain ("mountpoint '%s': %s%s", path, g_strerror (errno),
                   errno == ENOTCONN
                       ? "; what was mounted there has died, unmount it first, or -o replace"
                       : "");
}

/* A mount that lies there already would be hidden by ours, not replaced. An automount point is not
 * one. */
static bool
check_not_mounted (const char *path)
{
  struct statx root;
  struct statfs filesystem;

  if (statx (AT_FDCWD, path, AT_NO_AUTOMOUNT, 0, &root) < 0 || statfs (path, &filesystem) < 0)
    return complain_of_mountpoint (path);
  if (filesystem.f_type == FUSE_SUPER_MAGIC && (root.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0)
    return complain ("mountpoint '%s' is in use: a FUSE filesystem is mounted there", path);
  return true;
}

static bool
has_died (const char *path)
{
  struct statfs filesystem;

  return statfs (path, &filesystem) < 0 && errno == ENOTCONN;
}

/* What can be seen of the mountpoint before it is known by its real name. */
static bool
check_directory (Options *options)
{
  struct stat st;

  if (options->replace && has_died (options->mountpoint)) {
    options->dead = true;
    return true;
  }
  if (stat (options->mountpoint, &st) < 0)
    return complain_of_mountpoint (options->mountpoint);
  return S_ISDIR (st.st_mode) ||
         complain ("mountpoint '%s': %s", options->mountpoint, g_strerror (ENOTDIR));
}

/* Makes both paths absolute, for the daemon leaves the caller's directory. */
static bool
check_paths (Options *options)
{
  if (options->mountpoint == NULL)
    return complain ("STORE and MOUNTPOINT are needed; see mailfs -h");
  if (!check_directory (options))
    return false;
  g_autofree char *given_mountpoint = options->mountpoint;
  options->mountpoint = realpath (given_mountpoint, NULL);
  g_autofree char *given_store = options->store;
  options->store = g_canonicalize_filename (given_store, NULL);
  g_autofree char *given_workdir = options->workdir;
  if (given_workdir != NULL)
    options->workdir = g_canonicalize_filename (given_workdir, NULL);
  g_autofree char *store = realpath (options->store, NULL);
  if (store != NULL && options->mountpoint != NULL && overlap (store, options->mountpoint))
    return complain ("mountpoint '%s' would hide the store '%s', or lies in it",
                     options->mountpoint, store);
  if (options->mountpoint == NULL)
    return complain_of_mountpoint (given_mountpoint);
  return options->dead || (check_not_mounted (options->mountpoint) &&
                           (options->nonempty || check_empty (options->mountpoint)));
}

/* For good, as soon as it is mounted. */
static bool
check_user (Options *options)
{
  g_autoptr (GError) error = NULL;

  return options->user == NULL ||
         privilege_find (options->user, &options->run_uid, &options->run_gid, &error) ||
         complain ("%s", error->message);
}

static bool
check_io_uring (const Options *options)
{
  if (!options->io_uring)
    return true;
  /* A request has its place in the ring until it is answered, and there are few. */
  if (!options->read_only)
    return complain ("io_uring: needs ro: who waits for a job would hold up everybody");
  return fuse_version () >= FUSE_MAKE_VERSION (3, 18) ||
         complain ("io_uring: libfuse %s does not have it, 3.18 does", fuse_pkgversion ());
}

static bool
check_values (Options *options)
{
  if (options->ctldir == NULL)
    options->ctldir = g_strdup (".ctl");
  if (options->snapshot != NULL && *options->snapshot == '\0')
    return complain ("snapshot: a name is needed, or 'latest', or '" SNAPSHOT_NEW "'");
  if (options->workdir != NULL && !options->forensic)
    return complain ("workdir: is for -o forensic");
  if (options->forensic && g_strcmp0 (options->snapshot, SNAPSHOT_NEW) == 0)
    return complain ("snapshot=" SNAPSHOT_NEW ": -o forensic changes nothing in the store");
  if (*options->ctldir == '\0' || strchr (options->ctldir, '/') != NULL ||
      strlen (options->ctldir) > NAME_MAX || g_str_equal (options->ctldir, ".") ||
      g_str_equal (options->ctldir, ".."))
    return complain ("ctldir: '%s' cannot be a file name", options->ctldir);
  if ((options->fmode != OPTION_UNSET && (options->fmode & ~0777u) != 0) ||
      (options->dmode != OPTION_UNSET && (options->dmode & ~0777u) != 0))
    return complain ("fmode, dmode: permission bits are 0 to 777, octal");
  return true;
}

/* The kernel's own: what the mount is called, no access times (they would cost a request after each
 * read), and permission checks by mode and owner, which also make it ask when attributes are void
 * (inode.c). Options of the user come later in the list and win. */
static void
add_mount_options (Options *options)
{
  char *text = NULL;
  g_autofree char *source = g_strdup_printf ("fsname=%s", options->store);

  fuse_opt_add_opt (&text, "subtype=mailfs,noatime,default_permissions");
  fuse_opt_add_opt_escaped (&text, source);
  fuse_opt_insert_arg (&options->rest, 1, text);
  fuse_opt_insert_arg (&options->rest, 1, "-o");
  free (text);
  if (options->io_uring)
    fuse_opt_add_arg (&options->rest, "-oio_uring");
  /* The last word, for mount(8) says rw by itself. */
  if (options->read_only)
    fuse_opt_add_arg (&options->rest, "-oro");
}

/* libfuse leaves "--" in the list where it puts other options before it, and takes what is added
 * behind that for operands. */
static void
drop_separator (struct fuse_args *rest)
{
  if (rest->argc > 1 && strcmp (rest->argv[rest->argc - 1], "--") == 0) {
    rest->argc--;
    g_clear_pointer (&rest->argv[rest->argc], free);
  }
}

bool
options_parse (int argc, char **argv, Options *out)
{
  struct fuse_args given = FUSE_ARGS_INIT (argc, argv);
  Options options = {
      .rest = given,
      .uid = OPTION_UNSET,
      .gid = OPTION_UNSET,
      .fmode = OPTION_UNSET,
      .dmode = OPTION_UNSET,
  };
  bool good = fuse_opt_parse (&options.rest, &options, option_table, take_option) == 0;

  /* Nothing can be changed through these, whatever mount(8) said. */
  if (options.snapshot != NULL || options.forensic)
    options.read_only = 1;
  if (good && !options.help && !options.version)
    good = check_values (&options) && check_io_uring (&options) && check_user (&options) &&
           check_paths (&options);
  if (!good) {
    options_clear (&options);
    return false;
  }
  drop_separator (&options.rest);
  if (options.debug) {
    options.foreground = 1;
    fuse_opt_add_arg (&options.rest, "-odebug");
  }
  if (options.mountpoint != NULL)
    add_mount_options (&options);
  options.given = g_strjoinv (" ", argv + MIN (argc, 1));
  *out = options;
  return true;
}

void
options_clear (Options *options)
{
  fuse_opt_free_args (&options->rest);
  g_clear_pointer (&options->store, g_free);
  g_clear_pointer (&options->given, g_free);
  g_clear_pointer (&options->mountpoint, free);
  g_clear_pointer (&options->ctldir, free);
  g_clear_pointer (&options->snapshot, free);
  g_clear_pointer (&options->workdir, g_free);
  g_clear_pointer (&options->user, free);
}

void
options_help (void)
{
  fputs ("usage: mailfs [-o OPTIONS] STORE MOUNTPOINT\n"
         "\n"
         "  -f                 stay in the foreground\n"
         "  -d, -o debug       foreground, and tell of every request\n"
         "  -s                 one thread only\n"
         "  -h, --help         this text\n"
         "  -V, --version      version\n"
         "\n"
         "  -o ro              change nothing at all, in the mount and in the store\n"
         "  -o snapshot=NAME   the store as it was then; new: as it is now, until unmounted.\n"
         "                     Nothing can be changed (as -o ro)\n"
         "  -o forensic        show what is left of a damaged store and leave no trace in it, not\n"
         "                     even an access time (as -o ro)\n"
         "  -o workdir=DIR     where -o forensic puts what it makes (in memory)\n"
         "  -o data=ro         no file operation changes mail (the default, and all there is)\n"
         "  -o uid=N,gid=N     owner of everything (the store's owner)\n"
         "  -o fmode=M,dmode=M modes of files and directories, octal (640, 750)\n"
         "  -o ctl=MODE        control directory: hidden (the default), visible, off\n"
         "  -o ctldir=NAME     its name (.ctl)\n"
         "  -o xattrs=MODE     all (the default), data: only what is listed, none\n"
         "  -o verify=MODE     hold messages against their digest when read: first (the\n"
         "                     default), always, never\n"
         "  -o damaged=MODE    what reading a damaged message gives: eio (the default), partial:\n"
         "                     all that is not in a damaged place, raw: what is in the file\n"
         "  -o audit=MODE      actions (the default); read: who mounted and opened what, too\n"
         "  -o worker=MODE     run the jobs of the maintenance queue: on (the default, but for -o\n"
         "                     ro), off\n"
         "  -o io_uring        with ro: requests go through io_uring, which is faster\n"
         "  -o setuid=USER     mount as root, then be this user, and nothing else any more\n"
         "  -o allow_purge     rm in .ctl/lost+found removes for good\n"
         "  -o replace         mount where a mount has died, and leave no gap between\n"
         "  -o nonempty        mount over a directory that is not empty\n"
         "  -o allow_other     let other users in, as owner and modes allow\n"
         "\n"
         "Options of mount(8) and of libfuse are passed on:\n",
         stdout);
  fuse_lowlevel_help ();
}
