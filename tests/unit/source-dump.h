/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source-dump.h - what a source gives, as text that a test can compare:
 *
 *   = INBOX|Sent 1234 9              folder, UIDVALIDITY, next UID
 *   - a:2,S \Seen $Forwarded @100 #7 file, flags, internal date, UID
 *   - "Subject: x\n" @100            bytes
 *   - unreadable
 *   ! warning
 *   ? 1                              folders and files that were lost
 */
#pragma once

#include "store/formats/source.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline void
dump_message (GString *out, const SourceMessage *message)
{
  g_autofree char *folder = g_strjoinv ("|", (char **)message->folder);
  g_autofree char *flags = store_flags_to_string (message->facts.flags, message->facts.keywords);
  if (message->kind == SOURCE_FOLDER) {
    g_string_append_printf (out, "= %s", folder);
    if (message->uidvalidity != 0)
      g_string_append_printf (out, " %u %u", message->uidvalidity, message->uidnext);
    g_string_append_c (out, '\n');
    return;
  }
  if (message->kind == SOURCE_UNREADABLE) {
    g_string_append (out, "- unreadable\n");
    return;
  }
  if (message->kind == SOURCE_BYTES) {
    g_autofree char *text =
        g_strndup (g_bytes_get_data (message->content, NULL), g_bytes_get_size (message->content));
    g_autofree char *escaped = g_strescape (text, NULL);
    g_string_append_printf (out, "- \"%s\"", escaped);
  } else {
    g_string_append_printf (out, "- %s", message->name);
    struct stat st;
    g_assert_cmpint (fstatat (message->directory_fd, message->name, &st, AT_SYMLINK_NOFOLLOW), ==,
                     0);
  }
  if (*flags != '\0')
    g_string_append_printf (out, " %s", flags);
  if (message->facts.internal_s != INT64_MIN)
    g_string_append_printf (out, " @%" PRId64, message->facts.internal_s);
  if (message->facts.uid != 0)
    g_string_append_printf (out, " #%u", message->facts.uid);
  g_string_append_c (out, '\n');
}

/* Reads on until `count` more messages and folders are there, or the end. False at the end. */
static inline bool
dump_some (const StoreFormat *format, Source *source, unsigned count, GString *out)
{
  for (unsigned i = 0; i < count; i++) {
    SourceMessage message = {0};
    bool end = false;
    g_autoptr (GError) error = NULL;
    g_assert_true (format->next (source, &message, &end, &error));
    g_assert_no_error (error);
    if (end)
      return false;
    dump_message (out, &message);
    g_clear_pointer (&message.content, g_bytes_unref);
  }
  return true;
}

/* Warnings, without the `root` that their paths begin with. */
static inline void
dump_warnings (GString *out, const GPtrArray *warnings, const char *root)
{
  for (guint i = 0; i < warnings->len; i++) {
    const char *warning = warnings->pdata[i];
    g_string_append_printf (out, "! %s\n",
                            g_str_has_prefix (warning, root) ? warning + strlen (root) : warning);
  }
}

/* All of it. */
static inline char *
dump_source (const StoreFormat *format, const char *root, const char *file)
{
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  g_autoptr (GError) error = NULL;
  g_autofree char *path = g_build_filename (root, file, NULL);
  GString *out = g_string_new (NULL);
  Source *source = format->open (path, warnings, &error);
  g_assert_no_error (error);
  dump_some (format, source, UINT_MAX, out);
  StoreProgress progress;
  format->progress (source, &progress);
  g_assert_cmpuint (progress.done, ==, progress.total);
  uint64_t lost = source_lost (source);
  format->close (source);
  dump_warnings (out, warnings, root);
  if (lost > 0)
    g_string_append_printf (out, "? %" PRIu64 "\n", lost);
  return g_string_free (out, FALSE);
}

/* ---- trees ----------------------------------------------------------------------------------- */

static inline char *
tree_new (void)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *made = g_dir_make_tmp ("mailfs-source-XXXXXX", &error);
  g_assert_no_error (error);
  char *root = realpath (made, NULL);
  g_assert_nonnull (root);
  return root;
}

static inline void
tree_free (char *root)
{
  const char *const argv[] = {"rm", "-rf", root, NULL};
  g_assert_true (g_spawn_sync (NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                               NULL, NULL, NULL));
  free (root);
}

#define auto_tree __attribute__ ((cleanup (tree_clear))) char *
static inline void
tree_clear (char **root)
{
  if (*root != NULL)
    tree_free (*root);
}

static inline void
tree_mkdir (const char *root, const char *path)
{
  g_autofree char *full = g_build_filename (root, path, NULL);
  g_assert_cmpint (g_mkdir_with_parents (full, 0755), ==, 0);
}

/* Writes a file whose mtime is `time_s`, with the directories above it. */
static inline void
tree_write (const char *root, const char *path, const char *content, int64_t time_s)
{
  g_autofree char *full = g_build_filename (root, path, NULL);
  g_autofree char *parent = g_path_get_dirname (full);
  g_autoptr (GError) error = NULL;
  struct timespec times[2] = {{.tv_sec = time_s}, {.tv_sec = time_s}};
  g_assert_cmpint (g_mkdir_with_parents (parent, 0755), ==, 0);
  g_file_set_contents (full, content, -1, &error);
  g_assert_no_error (error);
  g_assert_cmpint (utimensat (AT_FDCWD, full, times, 0), ==, 0);
}

static inline void
tree_rename (const char *root, const char *from, const char *to)
{
  g_autofree char *old = g_build_filename (root, from, NULL);
  g_autofree char *new = g_build_filename (root, to, NULL);
  g_assert_cmpint (rename (old, new), ==, 0);
}
