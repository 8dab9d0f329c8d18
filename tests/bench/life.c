/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life move FROM TO      what the filesystem needs for an expunge
 * life remove FROM       or for a cleanup
 *
 * Renames, or removes, every message file of a directory, syncs the directories, and writes and
 * syncs a small file as the least that a commit is. bench.py times it beside the commands.
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
sync_file (const char *path, int flags)
{
  int fd = open (path, O_CLOEXEC | flags, 0640);
  if (fd < 0 || ((flags & O_CREAT) && write (fd, path, strlen (path)) < 0) || fsync (fd) < 0)
    err (1, "%s", path);
  close (fd);
}

int
main (int argc, char **argv)
{
  char from[4096], to[4096];
  if (argc < 3)
    errx (1, "see the source");
  DIR *directory = opendir (argv[2]);
  if (directory == NULL || (argc > 3 && mkdir (argv[3], 0750) < 0 && access (argv[3], F_OK) < 0))
    err (1, "%s", argv[2]);
  for (struct dirent *entry; (entry = readdir (directory)) != NULL;) {
    if (entry->d_type != DT_REG)
      continue;
    snprintf (from, sizeof from, "%s/%s", argv[2], entry->d_name);
    if (argc > 3)
      snprintf (to, sizeof to, "%s/%s", argv[3], entry->d_name);
    if ((argc > 3 ? rename (from, to) : unlink (from)) < 0)
      err (1, "%s", from);
  }
  closedir (directory);
  for (int i = 2; i < argc; i++)
    sync_file (argv[i], O_RDONLY | O_DIRECTORY);
  snprintf (to, sizeof to, "%s.commit", argv[2]);
  sync_file (to, O_WRONLY | O_CREAT);
  return 0;
}
