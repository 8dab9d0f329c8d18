/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eml.c - message files: a single one, or a directory tree of *.eml.
 *
 * The root's files are the INBOX, a directory below it is the mailbox of that name, an empty one
 * too (but not one with other things in it only, such as attachments). The internal date is the
 * file's mtime. A tree copied off a mount with its attributes keeps flags and keywords, and its
 * mailbox names are unescaped again. The UIDs in such names are not taken: nothing says which
 * UIDVALIDITY they belong to.
 */
#include "store/formats/reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>

#define FLAGS_ATTRIBUTE "user.mailfs.flags"
#define FLAGS_MAX       4096

typedef struct {
  Source base;
  char *file;   /* when the source is one file */
  guint folder; /* number of the next one */
  int directory_fd;
  GPtrArray *entries; /* of the folder; NULL: the next folder has to be opened */
  guint position;
  char *keywords, *where; /* what the last message points to */
} Eml;

static bool
is_message_name (const char *name)
{
  size_t length = strlen (name);
  return name[0] != '.' && length > 4 && g_ascii_strcasecmp (name + length - 4, ".eml") == 0;
}

/* A name in the store's own spelling is unescaped, any other stays as it is: also "%", which would
 * be the name of nothing. */
static char *
unescape_level (const char *name)
{
  bool lossy = false;
  g_autofree char *plain = store_name_unescape (name);
  g_autofree char *again = store_name_escape (plain, &lossy);
  bool is_ours = !lossy && *plain != '\0' && strcmp (again, name) == 0;
  return is_ours ? g_steal_pointer (&plain) : g_strdup (name);
}

static char **
folder_levels (const char *path)
{
  if (*path == '\0')
    return g_strsplit ("INBOX", "/", -1);
  char **levels = g_strsplit (path, "/", -1);
  for (char **level = levels; *level != NULL; level++) {
    char *plain = unescape_level (*level);
    g_free (*level);
    *level = plain;
  }
  return levels;
}

static bool
visit_directory (Source *base, int directory_fd, const char *path, GPtrArray *entries,
                 GError **error)
{
  uint64_t messages = 0, others = 0;
  for (guint i = 0; i < entries->len; i++) {
    SourceEntry *entry = g_ptr_array_index (entries, i);
    if (entry->name[0] == '.' && entry->type == DT_DIR)
      entry->type = DT_UNKNOWN;
    else if (entry->type == DT_REG && is_message_name (entry->name))
      messages++;
    else if (entry->type != DT_DIR && entry->type != DT_LNK && entry->name[0] != '.')
      others++;
  }
  if (others > 0)
    source_warn (base->warnings, "%s/%s: %" PRIu64 " entries that are no *.eml files are left out",
                 base->root, path, others);
  if (messages > 0 || (others == 0 && *path != '\0'))
    source_add_folder (base, path, folder_levels (path), messages);
  return true;
}

static Source *
eml_open (const char *path, GPtrArray *warnings, GError **error)
{
  Eml *self = g_new0 (Eml, 1);
  self->directory_fd = -1;
  bool ok = source_open_root (&self->base, path, "messages", warnings, &self->file, error);
  if (ok && self->file != NULL)
    source_add_folder (&self->base, "", folder_levels (""), 1);
  else
    ok = ok && source_walk (&self->base, visit_directory, error);
  if (ok)
    return &self->base;
  source_eml.close (&self->base);
  return NULL;
}

static void
end_folder (Eml *self)
{
  g_clear_pointer (&self->entries, g_ptr_array_unref);
  store_close_fd (&self->directory_fd);
  self->directory_fd = -1;
}

static void
eml_close (Source *base)
{
  Eml *self = (Eml *)base;
  end_folder (self);
  source_clear (base);
  g_free (self->file);
  g_free (self->keywords);
  g_free (self->where);
  g_free (self);
}

static GPtrArray *
single_entry (const char *file)
{
  size_t size = strlen (file) + 1;
  SourceEntry *entry = g_malloc (sizeof *entry + size);
  entry->type = DT_REG;
  memcpy (entry->name, file, size);
  GPtrArray *entries = g_ptr_array_new_with_free_func (g_free);
  g_ptr_array_add (entries, entry);
  return entries;
}

/* Opens the next folder. One that has gone since the tree was walked is lost and stays empty. */
static void
begin_folder (Eml *self, SourceMessage *out)
{
  const SourceFolder *folder = g_ptr_array_index (self->base.folders, self->folder++);
  g_autoptr (GError) reason = NULL;
  self->position = 0;
  if (self->file != NULL) {
    self->directory_fd = fcntl (self->base.fd, F_DUPFD_CLOEXEC, 0);
    self->entries = single_entry (self->file);
  } else {
    self->directory_fd = source_open_directory (self->base.fd, folder->path, &reason);
    self->entries = self->directory_fd >= 0 ? source_list (self->directory_fd, &reason) : NULL;
  }
  if (self->entries == NULL) {
    source_lose (&self->base, folder->path, reason->message);
    self->base.done += folder->weight;
    self->entries = g_ptr_array_new ();
  }
  *out = (SourceMessage){.kind = SOURCE_FOLDER, .folder = (const char *const *)folder->levels};
}

/* Flags as a mount shows them, when the file was copied with its attributes. */
static void
read_flags (Eml *self, const char *name, StoreFacts *facts)
{
  g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d/%s", self->directory_fd, name);
  char text[FLAGS_MAX + 1];
  ssize_t size = lgetxattr (path, FLAGS_ATTRIBUTE, text, FLAGS_MAX);
  if (size <= 0)
    return;
  text[size] = '\0';
  g_autoptr (GError) reason = NULL;
  if (!store_flags_parse (text, &facts->flags, &self->keywords, &reason))
    source_warn (self->base.warnings, "%s: %s", self->where, reason->message);
  facts->keywords = self->keywords;
}

static void
take_message (Eml *self, const char *name, SourceMessage *out)
{
  const SourceFolder *folder = g_ptr_array_index (self->base.folders, self->folder - 1);
  struct stat st;
  g_clear_pointer (&self->keywords, g_free);
  g_free (self->where);
  self->where = g_build_filename (self->base.root, folder->path, name, NULL);
  *out = (SourceMessage){.kind = SOURCE_FILE,
                         .folder = (const char *const *)folder->levels,
                         .directory_fd = self->directory_fd,
                         .name = name,
                         .where = self->where};
  out->facts.internal_s = INT64_MIN;
  if (fstatat (self->directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return; /* whoever reads the file will find out */
  out->facts.internal_s = st.st_mtim.tv_sec;
  read_flags (self, name, &out->facts);
}

static bool
eml_next (Source *base, SourceMessage *out, bool *out_end, GError **error)
{
  Eml *self = (Eml *)base;
  while (self->entries != NULL && self->position < self->entries->len) {
    const SourceEntry *entry = g_ptr_array_index (self->entries, self->position++);
    if (self->file == NULL && (entry->type != DT_REG || !is_message_name (entry->name)))
      continue;
    base->done++;
    take_message (self, entry->name, out);
    *out_end = false;
    return true;
  }
  end_folder (self);
  *out_end = self->folder == base->folders->len;
  if (!*out_end)
    begin_folder (self, out);
  return true;
}

const StoreFormat source_eml = {.name = "eml",
                                .open = eml_open,
                                .next = eml_next,
                                .progress = source_progress,
                                .close = eml_close};
