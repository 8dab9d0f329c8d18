/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source-read.h - reading a hostile source from a directory of its own: whatever it holds, what it
 * gives makes sense.
 */
#pragma once

#include "store/formats/source.h"
#include "store/internal.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *fuzz_root;

static inline int
fuzz_remove_entry (const char *path, const struct stat *st, int type, struct FTW *walk)
{
  return walk->level > 0 ? remove (path) : 0;
}

static inline void
fuzz_empty (void)
{
  nftw (fuzz_root, fuzz_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void
fuzz_finish (void)
{
  fuzz_empty ();
  rmdir (fuzz_root);
  g_free (fuzz_root);
}

/* Makes the directory fuzz_root, or empties it. */
static inline void
fuzz_begin (void)
{
  if (fuzz_root != NULL) {
    fuzz_empty ();
    return;
  }
  fuzz_root = g_dir_make_tmp ("mailfs-fuzz-XXXXXX", NULL);
  g_assert_nonnull (fuzz_root);
  atexit (fuzz_finish);
}

static inline void
fuzz_write (const char *path, const void *bytes, size_t size)
{
  g_autofree char *full = g_build_filename (fuzz_root, path, NULL);
  g_autofree char *parent = g_path_get_dirname (full);
  g_mkdir_with_parents (parent, 0700);
  auto_fd fd = open (full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  g_assert_true (fd < 0 || write (fd, bytes, size) == (ssize_t)size);
}

/* Fills fuzz_root: a line "@PATH" begins a file, whose content are the lines behind it. "@PATH/" is
 * a directory, and "@PATH>TARGET" a symbolic link. */
static inline void
fuzz_write_tree (const uint8_t *data, size_t size)
{
  g_autofree char *text = g_strndup ((const char *)data, size);
  g_auto (GStrv) files = g_strsplit (text, "\n@", 64);
  for (char **file = files; *file != NULL; file++) {
    char *path = *file + (file == files && **file == '@');
    char *content = path + strcspn (path, "\n");
    if (*content != '\0')
      *content++ = '\0';
    char *target = strchr (path, '>');
    /* Nothing may come out of the directory, also through a link that an earlier entry made. */
    if (strstr (path, "..") != NULL || strlen (path) > 1000 || *path == '\0' ||
        (target != NULL && strchr (target, '/') != NULL))
      continue;
    if (target != NULL) {
      *target++ = '\0';
      g_autofree char *link = g_build_filename (fuzz_root, path, NULL);
      (void)!symlink (target, link);
    } else if (g_str_has_suffix (path, "/")) {
      g_autofree char *directory = g_build_filename (fuzz_root, path, NULL);
      g_mkdir_with_parents (directory, 0700);
    } else {
      fuzz_write (path, content, strlen (content));
    }
  }
}

static inline void
fuzz_check_message (const SourceMessage *message)
{
  g_autofree char *keywords = NULL;
  uint32_t flags;
  g_assert_nonnull (message->where);
  g_assert_cmpuint (message->facts.uid, <=, STORE_UID_MAX);
  if (message->facts.keywords != NULL) {
    g_assert_true (store_flags_parse (message->facts.keywords, &flags, &keywords, NULL));
    g_assert_cmpstr (keywords, ==, message->facts.keywords);
  }
  if (message->kind == SOURCE_FILE)
    g_assert_null (strchr (message->name, '/'));
}

/* Reads `path` below fuzz_root to its end. Returns the bytes of messages that the source holds
 * itself. */
static inline uint64_t
fuzz_read (const StoreFormat *format, const char *path)
{
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  g_autofree char *full = g_build_filename (fuzz_root, path, NULL);
  Source *source = format->open (full, warnings, &error);
  if (source == NULL) {
    g_assert_error (error, MAILFS_ERROR, EINVAL);
    return 0;
  }
  uint64_t bytes = 0;
  SourceMessage message;
  bool end, in_folder = false;
  while (format->next (source, &message, &end, &error) && !end) {
    for (const char *const *level = message.folder; *level != NULL; level++)
      g_assert_cmpint (**level, !=, '\0');
    in_folder = in_folder || message.kind == SOURCE_FOLDER;
    g_assert_true (in_folder);
    if (message.kind != SOURCE_FOLDER)
      fuzz_check_message (&message);
    if (message.kind == SOURCE_BYTES) {
      bytes += g_bytes_get_size (message.content);
      g_bytes_unref (message.content);
    }
  }
  g_assert_no_error (error);
  StoreProgress progress;
  format->progress (source, &progress);
  g_assert_cmpuint (progress.done, ==, progress.total);
  format->close (source);
  for (guint i = 0; i < warnings->len; i++)
    g_assert_true (g_utf8_validate (warnings->pdata[i], -1, NULL));
  return bytes;
}
