/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill-at - run a command and kill it, or fail it, at the Nth call that changes the disk.
 *
 *   kill-at -d DIR [-n N] [-e kill|EIO|ENOSPC|short] [-s] [-l LOG] COMMAND [ARGUMENT...]
 *
 * Counted are the calls of the command, all its threads and children, that change something below
 * DIR, an absolute path without links; LOG gets a line for each: number, call, path below DIR. At
 * the Nth call, before it has any effect, the whole command is killed with SIGKILL, or the call
 * fails with EIO or ENOSPC. With -s, so do all later ones. "short" writes half of what a write asks
 * for; as "ENOSPC" it lets pass what needs no space, so that -s makes either a full disk. Without
 * -n everything is only counted. Exits as the command does, with 128 + N after signal N.
 *
 * The command runs under a seccomp filter that asks this process before each such call. So nothing
 * escapes, neither the calls of libc's own making nor those through syscall(2), and calls are taken
 * one at a time: none that came later than the Nth has happened when the command dies.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "name the audit architecture of this machine"
#endif

#define PATH_SIZE   4096
#define LISTENER_FD 100

/* Which argument says what is changed. */
typedef enum {
  FD_0,   /* a descriptor, the first argument */
  FD_2,   /* a descriptor, the third */
  PATH_0, /* a path */
  PATH_1,
  AT_0, /* a directory's descriptor and a path */
  AT_1,
  AT_2,
  OPEN,        /* PATH_0, if the flags say that it creates or truncates */
  OPEN_AT,     /* AT_0, likewise */
  OPEN_AT_HOW, /* likewise, flags in a struct open_how */
  CLONE,       /* FD_0, if the ioctl is one of those that share blocks */
} Where;

typedef struct {
  int number;
  const char *name;
  Where where;
  bool needs_space;
} Call;

#define CALL(name, where, needs_space)                                                             \
  {                                                                                                \
    SYS_##name, #name, where, needs_space                                                          \
  }

static const Call calls[] = {
    CALL (write, FD_0, true),
    CALL (pwrite64, FD_0, true),
    CALL (writev, FD_0, true),
    CALL (pwritev, FD_0, true),
    CALL (pwritev2, FD_0, true),
    CALL (sendfile, FD_0, true),
    CALL (copy_file_range, FD_2, true),
    CALL (splice, FD_2, true),
    CALL (ioctl, CLONE, true),
    CALL (fallocate, FD_0, true),
    CALL (truncate, PATH_0, false),
    CALL (ftruncate, FD_0, false),
    CALL (fsync, FD_0, true),
    CALL (fdatasync, FD_0, true),
    CALL (syncfs, FD_0, true),
    CALL (sync_file_range, FD_0, true),
    CALL (openat, OPEN_AT, true),
    CALL (openat2, OPEN_AT_HOW, true),
    CALL (linkat, AT_2, true),
    CALL (symlinkat, AT_1, true),
    CALL (mkdirat, AT_0, true),
    CALL (mknodat, AT_0, true),
    CALL (renameat2, AT_2, true),
    CALL (unlinkat, AT_0, false),
    CALL (setxattr, PATH_0, true),
    CALL (lsetxattr, PATH_0, true),
    CALL (fsetxattr, FD_0, true),
    CALL (removexattr, PATH_0, false),
    CALL (lremovexattr, PATH_0, false),
    CALL (fremovexattr, FD_0, false),
    CALL (utimensat, AT_0, false),
    CALL (fchmod, FD_0, false),
    CALL (fchmodat, AT_0, false),
    CALL (fchown, FD_0, false),
    CALL (fchownat, AT_0, false),
#ifdef SYS_renameat
    CALL (renameat, AT_2, true),
#endif
#ifdef SYS_open /* the calls that only older architectures have */
    CALL (open, OPEN, true),
    CALL (creat, PATH_0, true),
    CALL (link, PATH_1, true),
    CALL (symlink, PATH_1, true),
    CALL (mkdir, PATH_0, true),
    CALL (mknod, PATH_0, true),
    CALL (rename, PATH_1, true),
    CALL (unlink, PATH_0, false),
    CALL (rmdir, PATH_0, false),
    CALL (utime, PATH_0, false),
    CALL (utimes, PATH_0, false),
    CALL (futimesat, AT_0, false),
    CALL (chmod, PATH_0, false),
    CALL (chown, PATH_0, false),
    CALL (lchown, PATH_0, false),
#endif
};
#define CALLS (sizeof calls / sizeof *calls)

typedef enum { KILL, FAIL, SHORT } Effect;

static struct {
  const char *directory;
  unsigned long at; /* 0: never */
  Effect effect;
  int error; /* of FAIL */
  bool sticky;
  FILE *log;
  unsigned long count;
  pid_t command;
} run;

static void __attribute__ ((noreturn)) die (const char *what)
{
  perror (what);
  exit (125);
}

/* ---- the command's side ---------------------------------------------------------------------- */

/* Lets this process ask before each of `calls`; returns the descriptor that the questions come
 * from. */
static int
filter_install (void)
{
  struct sock_filter code[CALLS + 6];
  size_t n = 0;
  code[n++] =
      (struct sock_filter)BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, arch));
  code[n++] = (struct sock_filter)BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, CALLS + 1);
  code[n++] =
      (struct sock_filter)BPF_STMT (BPF_LD | BPF_W | BPF_ABS, offsetof (struct seccomp_data, nr));
  for (size_t i = 0; i < CALLS; i++)
    code[n++] =
        (struct sock_filter)BPF_JUMP (BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, CALLS - i, 0);
  code[n++] = (struct sock_filter)BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  code[n++] = (struct sock_filter)BPF_STMT (BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);

  const struct sock_fprog program = {.len = n, .filter = code};
  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl (PR_SET_PDEATHSIG, SIGKILL) != 0)
    die ("kill-at: prctl");
  return syscall (SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

/* Stops until the parent has taken the listener over, then becomes the command. */
static void __attribute__ ((noreturn)) command_exec (char **argv)
{
  if (setpgid (0, 0) != 0)
    die ("kill-at: setpgid");
  int listener = filter_install ();
  if (listener < 0 || dup3 (listener, LISTENER_FD, O_CLOEXEC) < 0)
    die ("kill-at: seccomp");
  close (listener);
  raise (SIGSTOP);
  execvp (argv[0], argv);
  _exit (127);
}

/* ---- what a call is about -------------------------------------------------------------------- */

static bool
read_memory (pid_t pid, uint64_t address, void *out, size_t size)
{
  struct iovec local = {out, size}, remote = {(void *)(uintptr_t)address, size};
  return process_vm_readv (pid, &local, 1, &remote, 1, 0) == (ssize_t)size;
}

/* A string may end just before memory that is not there, so it is read up to page ends. */
static bool
read_string (pid_t pid, uint64_t address, char out[PATH_SIZE])
{
  for (size_t n = 0; n < PATH_SIZE;) {
    size_t chunk = 4096 - (address + n) % 4096;
    if (chunk > PATH_SIZE - n)
      chunk = PATH_SIZE - n;
    if (!read_memory (pid, address + n, out + n, chunk))
      return false;
    if (memchr (out + n, 0, chunk) != NULL)
      return true;
    n += chunk;
  }
  return false;
}

static bool
read_link (const char *link, char out[PATH_SIZE])
{
  ssize_t n = readlink (link, out, PATH_SIZE - 1);
  if (n < 0)
    return false;
  out[n] = '\0';
  return true;
}

static bool
path_of_descriptor (pid_t pid, int fd, char out[PATH_SIZE])
{
  char link[64];
  if (fd == AT_FDCWD)
    snprintf (link, sizeof link, "/proc/%d/cwd", (int)pid);
  else
    snprintf (link, sizeof link, "/proc/%d/fd/%d", (int)pid, fd);
  return read_link (link, out);
}

static bool
path_at (pid_t pid, int directory, uint64_t address, char out[PATH_SIZE])
{
  static const char self[] = "/proc/self/fd/";
  char name[PATH_SIZE] = "", base[PATH_SIZE];
  if (address != 0 && !read_string (pid, address, name))
    return false;
  if (strncmp (name, self, sizeof self - 1) == 0)
    return path_of_descriptor (pid, atoi (name + sizeof self - 1), out);
  if (name[0] == '/')
    return snprintf (out, PATH_SIZE, "%s", name) < PATH_SIZE;
  if (!path_of_descriptor (pid, directory, base))
    return false;
  return snprintf (out, PATH_SIZE, "%s%s%s", base, name[0] != '\0' ? "/" : "", name) < PATH_SIZE;
}

static bool
is_creating (uint64_t flags)
{
  return (flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

/* The path that `call` changes; false when it changes none. */
static bool
path_of_call (const Call *call, pid_t pid, const __u64 *arg, char out[PATH_SIZE])
{
  struct open_how how;
  switch (call->where) {
  case FD_0: return path_of_descriptor (pid, arg[0], out);
  case FD_2: return path_of_descriptor (pid, arg[2], out);
  case PATH_0: return path_at (pid, AT_FDCWD, arg[0], out);
  case PATH_1: return path_at (pid, AT_FDCWD, arg[1], out);
  case AT_0: return path_at (pid, arg[0], arg[1], out);
  case AT_1: return path_at (pid, arg[1], arg[2], out);
  case AT_2: return path_at (pid, arg[2], arg[3], out);
  case OPEN: return is_creating (arg[1]) && path_at (pid, AT_FDCWD, arg[0], out);
  case OPEN_AT: return is_creating (arg[2]) && path_at (pid, arg[0], arg[1], out);
  case OPEN_AT_HOW:
    return read_memory (pid, arg[2], &how, sizeof how) && is_creating (how.flags) &&
           path_at (pid, arg[0], arg[1], out);
  case CLONE:
    return (arg[1] == FICLONE || arg[1] == FICLONERANGE) && path_of_descriptor (pid, arg[0], out);
  }
  return false;
}

/* The path that a link or a rename leads away from. */
static bool
origin_of_call (const Call *call, pid_t pid, const __u64 *arg, char out[PATH_SIZE])
{
  switch (call->where) {
  case PATH_1: return path_at (pid, AT_FDCWD, arg[0], out);
  case AT_2: return path_at (pid, arg[0], arg[1], out);
  default: return false;
  }
}

static bool
is_below_directory (const char *path)
{
  size_t n = strlen (run.directory);
  return strncmp (path, run.directory, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* ---- what becomes of a call ------------------------------------------------------------------ */

static pid_t
process_of_thread (pid_t thread)
{
  char path[64], line[256];
  int process = thread;
  snprintf (path, sizeof path, "/proc/%d/status", (int)thread);
  FILE *status = fopen (path, "re");
  while (status != NULL && fgets (line, sizeof line, status) != NULL)
    if (sscanf (line, "Tgid: %d", &process) == 1)
      break;
  if (status != NULL)
    fclose (status);
  return process;
}

/* Does half of a write in the caller's place. Returns the bytes written, or -1. */
static ssize_t
write_half (pid_t pid, int number, const __u64 *arg)
{
  size_t size = arg[2] / 2;
  if ((number != SYS_write && number != SYS_pwrite64) || size == 0)
    return -1;
  int process = syscall (SYS_pidfd_open, process_of_thread (pid), 0);
  int fd = syscall (SYS_pidfd_getfd, process, (int)arg[0], 0);
  char *bytes = malloc (size);
  ssize_t n = -1;
  if (bytes != NULL && read_memory (pid, arg[1], bytes, size))
    n = number == SYS_write ? write (fd, bytes, size) : pwrite (fd, bytes, size, arg[3]);
  free (bytes);
  close (fd);
  close (process);
  return n;
}

static const Call *
find_call (int number)
{
  for (size_t i = 0; i < CALLS; i++)
    if (calls[i].number == number)
      return &calls[i];
  return NULL;
}

static void
log_call (const Call *call, pid_t pid, const __u64 *arg, const char *path)
{
  char origin[PATH_SIZE];
  size_t top = strlen (run.directory);
  fprintf (run.log, "%lu %s %s", run.count, call->name, path + top);
  if (origin_of_call (call, pid, arg, origin) && is_below_directory (origin))
    fprintf (run.log, " <- %s", origin + top);
  fputc ('\n', run.log);
}

/* Whether this is a call that something happens to; counts it. */
static bool
is_due (const Call *call, pid_t pid, const __u64 *arg)
{
  char path[PATH_SIZE];
  if (call == NULL || !path_of_call (call, pid, arg, path) || !is_below_directory (path))
    return false;
  run.count++;
  if (run.log != NULL)
    log_call (call, pid, arg, path);
  return run.at != 0 && (run.count == run.at || (run.sticky && run.count > run.at));
}

static void
answer (int listener)
{
  struct seccomp_notif question = {0};
  if (ioctl (listener, SECCOMP_IOCTL_NOTIF_RECV, &question) != 0) {
    if (errno == ENOENT || errno == EINTR) /* the thread that asked is gone */
      return;
    die ("kill-at: receive");
  }
  struct seccomp_notif_resp reply = {.id = question.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
  const Call *call = find_call (question.data.nr);
  if (is_due (call, question.pid, question.data.args)) {
    if (run.effect == KILL) {
      kill (-run.command, SIGKILL);
      return;
    }
    ssize_t half = -1;
    if (run.effect == SHORT && run.count == run.at)
      half = write_half (question.pid, question.data.nr, question.data.args);
    if (half >= 0)
      reply = (struct seccomp_notif_resp){.id = question.id, .val = half};
    else if (run.error != ENOSPC || call->needs_space)
      reply = (struct seccomp_notif_resp){.id = question.id, .error = -run.error};
  }
  if (ioctl (listener, SECCOMP_IOCTL_NOTIF_SEND, &reply) != 0 && errno != ENOENT)
    die ("kill-at: send");
}

/* Answers until the command and all that it started have ended; returns how the command did. */
static int
answer_all (int listener, int command)
{
  int status = 0;
  struct pollfd events[] = {{.fd = listener, .events = POLLIN}, {.fd = command, .events = POLLIN}};
  while ((events[0].revents & POLLHUP) == 0) {
    if (poll (events, 2, -1) < 0 && errno != EINTR)
      die ("kill-at: poll");
    if ((events[0].revents & POLLIN) != 0)
      answer (listener);
    if (events[1].revents != 0) {
      waitpid (run.command, &status, 0);
      events[1] = (struct pollfd){.fd = -1};
    }
  }
  if (events[1].fd >= 0)
    waitpid (run.command, &status, 0);
  return WIFEXITED (status) ? WEXITSTATUS (status) : 128 + WTERMSIG (status);
}

static bool
parse_effect (const char *word)
{
  static const struct {
    const char *word;
    Effect effect;
    int error;
  } effects[] = {
      {"kill", KILL, 0},
      {"EIO", FAIL, EIO},
      {"ENOSPC", FAIL, ENOSPC},
      {"short", SHORT, ENOSPC},
  };
  for (size_t i = 0; i < sizeof effects / sizeof *effects; i++)
    if (strcmp (word, effects[i].word) == 0) {
      run.effect = effects[i].effect;
      run.error = effects[i].error;
      return true;
    }
  return false;
}

int
main (int argc, char **argv)
{
  bool is_valid = true;
  for (int option; (option = getopt (argc, argv, "+d:n:e:sl:")) != -1;) {
    switch (option) {
    case 'd': run.directory = optarg; break;
    case 'n': run.at = strtoul (optarg, NULL, 10); break;
    case 'e': is_valid = is_valid && parse_effect (optarg); break;
    case 's': run.sticky = true; break;
    case 'l':
      run.log = fopen (optarg, "we");
      if (run.log == NULL)
        die (optarg);
      break;
    default: is_valid = false;
    }
  }
  if (!is_valid || run.directory == NULL || optind == argc) {
    fputs ("usage: kill-at -d DIR [-n N] [-e kill|EIO|ENOSPC|short] [-s] [-l LOG] COMMAND...\n",
           stderr);
    return 125;
  }

  run.command = fork ();
  if (run.command < 0)
    die ("kill-at: fork");
  if (run.command == 0)
    command_exec (argv + optind);

  int status;
  if (waitpid (run.command, &status, WUNTRACED) < 0 || !WIFSTOPPED (status))
    return 125; /* the child said why */
  int command = syscall (SYS_pidfd_open, run.command, 0);
  int listener = syscall (SYS_pidfd_getfd, command, LISTENER_FD, 0);
  if (command < 0 || listener < 0)
    die ("kill-at: pidfd");
  kill (run.command, SIGCONT);
  int result = answer_all (listener, command);
  if (run.log != NULL && fclose (run.log) != 0)
    die ("kill-at: log");
  return result;
}
