/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.sha256 in a backup: the digest of every file that is there, for `sha256sum -c`.
 *
 * Of a message that has not been touched since the backup's index was made of it, the digest is
 * the index's: that of the bytes that were copied. So what rots later on is found. Every other file
 * is read; also a damaged message, which is evidence, and is to stay as it is.
 */
#include "store/backup.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct {
  const Backup *backup;
  FILE *out;
  uint64_t files;
} Manifest;

/* What is known of a directory. */
typedef struct {
  bool mail; /* it is mail/, or in it */
  StoreNodeKind kind;
  uint32_t number; /* of the mailbox; 0: none */
  IndexRead *read; /* of its owner's index; NULL: none */
} Around;

static void
write_line (Manifest *self, const uint8_t sha256[32], const char *path, bool damaged)
{
  manifest_write_line (self->out, sha256, path, damaged);
  self->files++;
}

/* The digest by the index; `*out_damaged` tells that it is not that of the file. */
static bool
ask_index (const Around *around, uint32_t uid, const struct stat *st, uint8_t out_sha256[32],
           bool *out_damaged)
{
  g_auto (IndexMessage) row = {0};
  bool found = false;
  uint64_t size;
  if (around->read == NULL || uid == 0 ||
      !index_message_get (around->read, around->number, uid, &row, &found, NULL) || !found)
    return false;
  *out_damaged = (row.damage & STORE_DAMAGE_GRAVE) != 0;
  return !*out_damaged && row.changed_ns == stat_ctime_ns (st) &&
         index_digest_get (around->read, around->number, uid, &size, out_sha256, &found, NULL) &&
         found && size == (uint64_t)st->st_size && digest_is_whole (out_sha256);
}

static bool
write_file (Manifest *self, const Around *around, int directory, const char *name, const char *path,
            GError **error)
{
  uint8_t sha256[32];
  bool damaged = false;
  auto_fd fd = -1;
  struct stat st;
  if (fstatat (directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return fail_errno (error, "stat %s/%s", self->backup->path, path);
  if (!ask_index (around, store_message_uid (name), &st, sha256, &damaged)) {
    fd = layout_open_message (directory, name);
    if (fd < 0 || !message_digest (fd, (uint64_t)st.st_size, NULL, 0, sha256, error))
      return fd >= 0 ? fail_prefix (error, "%s/%s", self->backup->path, path)
                     : fail_errno (error, "open %s/%s", self->backup->path, path);
  }
  write_line (self, sha256, path, damaged);
  return true;
}

static uint32_t
read_number (int directory, const char *name)
{
  g_auto (NodeState) state = {0};
  bool found = false;
  auto_fd fd = layout_open (directory, name, O_RDONLY | O_DIRECTORY, 0);
  return fd >= 0 && node_state_read (fd, STORE_NODE_MAILBOX, &state, &found, NULL) && found
             ? state.number
             : 0;
}

static bool write_entry (Manifest *self, const Around *around, int directory, const char *name,
                         const char *path, GError **error);

static bool
write_directory (Manifest *self, const Around *around, const char *path, GError **error)
{
  auto_fd fd = layout_open (self->backup->fd, path, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    return fail_errno (error, "open %s/%s", self->backup->path, path);
  g_autoptr (GPtrArray) names = layout_names (fd, "", error);
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *name = names->pdata[i];
    g_autofree char *child = *path != '\0' ? g_build_filename (path, name, NULL) : g_strdup (name);
    if (!write_entry (self, around, fd, name, child, error))
      return false;
  }
  return names != NULL || fail_prefix (error, "%s/%s", self->backup->path, path);
}

/* A user or the shared folders of a domain, with the index that has all below them. */
static bool
write_owner (Manifest *self, const Around *around, const char *path, GError **error)
{
  g_autofree char *file =
      g_strdup_printf ("%s/index/%s.sqlite3", self->backup->path, path + strlen ("mail/"));
  g_autoptr (Index) index = index_open (file, INDEX_READ_ONLY, NULL);
  g_autoptr (IndexRead) read = index != NULL ? index_read_begin (index, NULL) : NULL;
  Around owner = *around;
  owner.read = read;
  return write_directory (self, &owner, path, error);
}

static bool
write_entry (Manifest *self, const Around *around, int directory, const char *name,
             const char *path, GError **error)
{
  bool is_directory = false;
  if (!job_go_on (self->backup->job, error) ||
      !walk_is_directory (directory, name, &is_directory, error))
    return false;
  if (!is_directory)
    return write_file (self, around, directory, name, path, error);
  Around child = *around;
  if (!around->mail) {
    child.mail = strcmp (path, "mail") == 0;
    return write_directory (self, &child, path, error);
  }
  if (strcmp (name, LAYOUT_EXPUNGED) == 0)
    return write_directory (self, &child, path, error);
  child.kind = node_child_kind (around->kind, name);
  if (child.kind == STORE_NODE_MAILBOX)
    child.number = read_number (directory, name);
  return child.kind == STORE_NODE_USER || child.kind == STORE_NODE_SHARED
             ? write_owner (self, &child, path, error)
             : write_directory (self, &child, path, error);
}

/* backup.conf is written last, and tmp/ is nobody's. */
static bool
write_all (Manifest *self, const char *conf, GError **error)
{
  Around outside = {0};
  uint8_t sha256[32];
  g_autoptr (GPtrArray) names = layout_names (self->backup->fd, "", error);
  for (guint i = 0; names != NULL && i < names->len; i++) {
    const char *name = names->pdata[i];
    if (strcmp (name, "tmp") != 0 && strcmp (name, BACKUP_CONF) != 0 &&
        !g_str_has_prefix (name, BACKUP_MANIFEST) &&
        !write_entry (self, &outside, self->backup->fd, name, name, error))
      return false;
  }
  if (names == NULL || !EVP_Digest (conf, strlen (conf), sha256, NULL, EVP_sha256 (), NULL))
    return names != NULL && fail (error, ENOMEM, "digest");
  write_line (self, sha256, BACKUP_CONF, false);
  fprintf (self->out, "# complete: %" G_GUINT64_FORMAT " files\n", self->files);
  return true;
}

bool
backup_manifest_write (const Backup *self, const char *conf, GError **error)
{
  static const char temporary[] = BACKUP_MANIFEST ".new";
  auto_fd fd =
      openat (self->fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
  FILE *out = fd >= 0 && layout_own (self->job->store, fd, error) ? fdopen (dup (fd), "w") : NULL;
  if (out == NULL)
    return fd >= 0 ? false : fail_errno (error, "make %s/%s", self->path, temporary);
  Manifest manifest = {.backup = self, .out = out};
  fprintf (out, "# backup of store %s\n", self->job->store->uuid);
  bool done = write_all (&manifest, conf, error);
  bool written = fclose (out) == 0;
  return done && ((written && fsync (fd) == 0 &&
                   renameat (self->fd, temporary, self->fd, BACKUP_MANIFEST) == 0 &&
                   fsync (self->fd) == 0) ||
                  fail_errno (error, "write %s/" BACKUP_MANIFEST, self->path));
}
