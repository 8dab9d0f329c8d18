/* SPDX-License-Identifier: Apache-2.0 */
/*
 * maildir.c - a Maildir with its folders: Maildir++ (".A.B" is A/B), Dovecot's LAYOUT=fs (real
 * subdirectories), or both.
 *
 *   NAME          <unique>[,S=<bytes>][,W=<bytes>][:2,<flags>[,...]]
 *   flags         D F R S T, P (passed on: $Forwarded), a to z (named in dovecot-keywords)
 *   new/          not seen by any client yet: no flags
 *   internal date mtime
 *   UIDs          dovecot-uidlist or courierimapuiddb, matched on the part of NAME before ':'
 *
 * Messages come in the order of their UIDs, then those without one in the order of the time that
 * begins their names. A client may change flags meanwhile, which renames the file; so a name that
 * is gone is looked for again before it is given up.
 */
#include "store/formats/reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>

#define LISTINGS_MAX 5u   /* of a folder that changes while it is listed */
#define REFRESH_MAX  100u /* of a folder whose files are renamed while it is read */

typedef struct {
  Source base;
  guint folder; /* number of the next one */
  int cur_fd, new_fd;
  GArray *files; /* MaildirFile; NULL: the next folder has to be opened */
  guint position;
  GStringChunk *names; /* of the files */
  unsigned refreshes;
  char *keyword_names[MAILDIR_KEYWORDS];
  uint32_t unnamed;       /* letters without a name that were warned about */
  GHashTable *subscribed; /* names of folders */
  Keywords keywords;
  char *where;
} Maildir;

/* Dots separate levels; one that would leave a level empty belongs to the name. */
static void
add_dotted_levels (GPtrArray *levels, const char *name)
{
  g_autoptr (GString) level = g_string_new (NULL);
  for (const char *p = name; *p != '\0'; p++) {
    bool is_empty = strspn (level->str, ".") == level->len;
    if (*p != '.' || is_empty || p[1] == '\0') {
      g_string_append_c (level, *p);
      continue;
    }
    g_ptr_array_add (levels, g_strdup (level->str));
    g_string_truncate (level, 0);
  }
  g_ptr_array_add (levels, g_strdup (level->str));
}

static char **
folder_levels (const char *path)
{
  if (*path == '\0')
    return g_strsplit ("INBOX", "/", -1);
  g_autoptr (GPtrArray) levels = g_ptr_array_new ();
  g_auto (GStrv) parts = g_strsplit (path, "/", -1);
  for (char **part = parts; *part != NULL; part++) {
    if (**part == '.')
      add_dotted_levels (levels, *part + 1);
    else
      g_ptr_array_add (levels, g_strdup (*part));
  }
  for (guint i = 0; i < levels->len; i++) {
    char *decoded = utf7_decode (levels->pdata[i]);
    if (decoded == NULL)
      continue;
    g_free (levels->pdata[i]);
    levels->pdata[i] = decoded;
  }
  g_ptr_array_add (levels, NULL);
  return (char **)g_ptr_array_free (g_steal_pointer (&levels), FALSE);
}

/* Opens cur/ or new/ of a folder. `*out_fd` is -1 when there is none. */
static bool
open_part (int directory_fd, const char *name, int *out_fd, GError **error)
{
  *out_fd = openat (directory_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return *out_fd >= 0 || errno == ENOENT || fail_errno (error, "open directory %s", name);
}

/* The entries of cur/ or new/ for who can do without them: NULL when they cannot be had. */
static GPtrArray *
try_list_part (int directory_fd, const char *name, int *out_fd)
{
  bool ok = open_part (directory_fd, name, out_fd, NULL);
  return ok && *out_fd >= 0 ? source_list (*out_fd, NULL) : NULL;
}

static uint64_t
count_messages (int directory_fd, const char *part)
{
  auto_fd fd = -1;
  g_autoptr (GPtrArray) entries = try_list_part (directory_fd, part, &fd);
  uint64_t count = 0;
  for (guint i = 0; entries != NULL && i < entries->len; i++)
    count += ((SourceEntry *)g_ptr_array_index (entries, i))->name[0] != '.';
  return count;
}

static bool
visit_directory (Source *base, int directory_fd, const char *path, GPtrArray *entries,
                 GError **error)
{
  bool is_folder = false;
  for (guint i = 0; i < entries->len; i++) {
    SourceEntry *entry = g_ptr_array_index (entries, i);
    bool holds_mail = strcmp (entry->name, "cur") == 0 || strcmp (entry->name, "new") == 0;
    is_folder = is_folder || (holds_mail && entry->type == DT_DIR);
    if (entry->type == DT_DIR && (holds_mail || strcmp (entry->name, "tmp") == 0))
      entry->type = DT_UNKNOWN;
  }
  if (is_folder)
    source_add_folder (base, path, folder_levels (path),
                       count_messages (directory_fd, "new") + count_messages (directory_fd, "cur"));
  return true;
}

static Source *
maildir_open (const char *path, GPtrArray *warnings, GError **error)
{
  Maildir *self = g_new0 (Maildir, 1);
  g_autofree char *file = NULL;
  self->cur_fd = self->new_fd = -1;
  keywords_init (&self->keywords);
  bool ok = source_open_root (&self->base, path, "messages", warnings, &file, error) &&
            (file != NULL || source_walk (&self->base, visit_directory, error));
  if (ok && self->base.folders->len == 0)
    ok = fail (error, EINVAL, "%s is no Maildir: nothing in it has a cur or new directory", path);
  if (ok) {
    self->subscribed = subscriptions_read (self->base.fd, warnings, path);
    return &self->base;
  }
  source_maildir.close (&self->base);
  return NULL;
}

static void
end_folder (Maildir *self)
{
  g_clear_pointer (&self->files, g_array_unref);
  g_clear_pointer (&self->names, g_string_chunk_free);
  store_close_fd (&self->cur_fd);
  store_close_fd (&self->new_fd);
  self->cur_fd = self->new_fd = -1;
  for (guint i = 0; i < MAILDIR_KEYWORDS; i++)
    g_clear_pointer (&self->keyword_names[i], g_free);
}

static void
maildir_close (Source *base)
{
  Maildir *self = (Maildir *)base;
  end_folder (self);
  source_clear (base);
  keywords_clear (&self->keywords);
  g_clear_pointer (&self->subscribed, g_hash_table_unref);
  g_free (self->where);
  g_free (self);
}

static int
part_fd (const Maildir *self, const MaildirFile *file)
{
  return file->is_new ? self->new_fd : self->cur_fd;
}

static const SourceFolder *
current_folder (const Maildir *self)
{
  return g_ptr_array_index (self->base.folders, self->folder - 1);
}

/* ---- listing --------------------------------------------------------------------------------- */

static bool
list_part (Maildir *self, bool is_new, GArray *files, GError **error)
{
  int fd = is_new ? self->new_fd : self->cur_fd;
  if (fd < 0)
    return true;
  g_autoptr (GPtrArray) entries = source_list (fd, error);
  if (entries == NULL)
    return false;
  for (guint i = 0; i < entries->len; i++) {
    const SourceEntry *entry = g_ptr_array_index (entries, i);
    MaildirFile file = {.name = entry->name, .is_new = is_new};
    if (entry->name[0] == '.')
      continue;
    file.name = g_string_chunk_insert (self->names, entry->name);
    g_array_append_val (files, file);
  }
  return true;
}

static struct timespec
changed_at (int fd)
{
  struct stat st = {0};
  return fd >= 0 && fstat (fd, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

static bool
is_same_time (struct timespec a, struct timespec b)
{
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool
is_twin (GArray *files, guint a, guint b)
{
  return b < files->len && maildir_base_compare (g_array_index (files, MaildirFile, a).name,
                                                 g_array_index (files, MaildirFile, b).name) == 0;
}

static bool
stat_file (const Maildir *self, const MaildirFile *file, struct stat *st)
{
  return fstatat (part_fd (self, file), file->name, st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A rename during the listing may have shown a message under both names. */
static void
drop_stale_twins (const Maildir *self, GArray *files)
{
  struct stat st;
  for (guint i = files->len; i-- > 0;)
    if ((is_twin (files, i, i + 1) || is_twin (files, i, i - 1)) &&
        !stat_file (self, &g_array_index (files, MaildirFile, i), &st))
      g_array_remove_index (files, i);
}

/* Lists new/, then cur/, whereto messages move. readdir(3) may miss a file that is renamed
 * meanwhile, so a listing counts only when neither directory changed. */
static GArray *
list_files (Maildir *self, GError **error)
{
  for (unsigned listing = 1;; listing++) {
    g_autoptr (GArray) files = g_array_new (FALSE, FALSE, sizeof (MaildirFile));
    struct timespec cur = changed_at (self->cur_fd), new = changed_at (self->new_fd);
    if (!list_part (self, true, files, error) || !list_part (self, false, files, error))
      return NULL;
    if (listing < LISTINGS_MAX && !(is_same_time (cur, changed_at (self->cur_fd)) &&
                                    is_same_time (new, changed_at (self->new_fd))))
      continue;
    g_array_sort (files, maildir_file_compare);
    drop_stale_twins (self, files);
    return g_steal_pointer (&files);
  }
}

/* The delivery time that a name begins with. */
static int64_t
name_time (const char *name)
{
  int64_t value = 0;
  for (const char *p = name; g_ascii_isdigit (*p) && value < INT64_MAX / 100; p++)
    value = value * 10 + (*p - '0');
  return g_ascii_isdigit (*name) ? value : INT64_MAX;
}

static int
compare_for_reading (gconstpointer a, gconstpointer b)
{
  const MaildirFile *left = a, *right = b;
  uint64_t left_uid = left->uid != 0 ? left->uid : UINT64_MAX;
  uint64_t right_uid = right->uid != 0 ? right->uid : UINT64_MAX;
  int64_t left_time = name_time (left->name), right_time = name_time (right->name);
  if (left_uid != right_uid)
    return left_uid < right_uid ? -1 : 1;
  if (left_time != right_time)
    return left_time < right_time ? -1 : 1;
  return maildir_file_compare (a, b);
}

/* All of the folder or nothing: had new/ come in without cur/, the messages of cur/ would find
 * their UIDs passed when they can be read at last. */
static bool
open_folder (Maildir *self, int directory_fd, GError **error)
{
  if (!open_part (directory_fd, "cur", &self->cur_fd, error) ||
      !open_part (directory_fd, "new", &self->new_fd, error))
    return false;
  self->files = list_files (self, error);
  return self->files != NULL;
}

static void
begin_folder (Maildir *self, SourceMessage *out)
{
  const SourceFolder *folder = g_ptr_array_index (self->base.folders, self->folder++);
  g_autofree char *where = g_build_filename (self->base.root, folder->path, NULL);
  g_autoptr (GError) reason = NULL;
  Uidlist list = {0};
  self->position = self->refreshes = 0;
  self->unnamed = 0;
  self->names = g_string_chunk_new (65536);
  auto_fd fd = source_open_directory (self->base.fd, folder->path, &reason);
  if (fd < 0 || !open_folder (self, fd, &reason)) {
    source_lose (&self->base, folder->path, reason->message);
    self->base.done += folder->weight;
    self->files = g_array_new (FALSE, FALSE, sizeof (MaildirFile));
  } else {
    uidlist_read (fd, self->files, &list, self->base.warnings, where);
    uidlist_read_keywords (fd, self->keyword_names, self->base.warnings, where);
    g_array_sort (self->files, compare_for_reading);
  }
  *out = (SourceMessage){.kind = SOURCE_FOLDER,
                         .folder = (const char *const *)folder->levels,
                         .uidvalidity = list.uidvalidity,
                         .uidnext = list.uidnext,
                         .subscribed = subscriptions_has (self->subscribed, folder->levels)};
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Lists the folder again and gives the files that are still to be read their new names. */
static void
refresh (Maildir *self)
{
  if (self->refreshes++ >= REFRESH_MAX)
    return;
  g_autoptr (GArray) now = list_files (self, NULL);
  for (guint i = self->position; now != NULL && i < self->files->len; i++) {
    MaildirFile *file = &g_array_index (self->files, MaildirFile, i);
    const MaildirFile *found = maildir_file_find (now, file->name);
    if (found == NULL)
      continue;
    file->name = found->name;
    file->is_new = found->is_new;
  }
}

static void
add_keyword (Maildir *self, char letter)
{
  unsigned number = (unsigned)(letter - 'a');
  const char *name = self->keyword_names[number];
  if (name != NULL && !keywords_add (&self->keywords, name))
    source_warn (self->base.warnings, "%s: too many keywords; '%s' is left out", self->where, name);
  if (name != NULL || (self->unnamed & 1u << number) != 0)
    return;
  self->unnamed |= 1u << number;
  source_warn (self->base.warnings, "%s/%s: dovecot-keywords has no name for '%c'", self->base.root,
               current_folder (self)->path, letter);
}

static uint32_t
flag_of (char letter)
{
  switch (letter) {
  case 'D': return STORE_FLAG_DRAFT;
  case 'F': return STORE_FLAG_FLAGGED;
  case 'R': return STORE_FLAG_ANSWERED;
  case 'S': return STORE_FLAG_SEEN;
  case 'T': return STORE_FLAG_DELETED;
  default: return 0;
  }
}

static void
take_flags (Maildir *self, const char *name, StoreFacts *facts)
{
  const char *info = name + maildir_base_length (name);
  keywords_reset (&self->keywords);
  if (strncmp (info, ":2,", 3) != 0)
    return;
  for (const char *p = info + 3; *p != '\0' && *p != ','; p++) {
    facts->flags |= flag_of (*p);
    if (*p == 'P')
      keywords_add (&self->keywords, "$Forwarded");
    else if (g_ascii_islower (*p))
      add_keyword (self, *p);
  }
  facts->keywords = keywords_text (&self->keywords);
}

/* Dovecot believes the size in the name; a file that was compressed or edited has another one. */
static void
check_size (Maildir *self, const char *name, uint64_t size)
{
  const char *field = strstr (name, ",S=");
  if (field == NULL || field >= name + maildir_base_length (name))
    return;
  char *end = NULL;
  uint64_t said = g_ascii_strtoull (field + 3, &end, 10);
  bool is_number = g_ascii_isdigit (field[3]) && strchr (",:", *end) != NULL;
  if (is_number && said != size)
    source_warn (self->base.warnings,
                 "%s: the name says %" PRIu64 " bytes, the file has %" PRIu64
                 "; brought in as it is",
                 self->where, said, size);
}

static void
set_where (Maildir *self, const MaildirFile *file)
{
  g_free (self->where);
  self->where = g_build_filename (self->base.root, current_folder (self)->path,
                                  file->is_new ? "new" : "cur", file->name, NULL);
}

static void
take_message (Maildir *self, MaildirFile *file, SourceMessage *out)
{
  struct stat st;
  bool there = stat_file (self, file, &st);
  if (!there && errno == ENOENT) {
    refresh (self);
    there = stat_file (self, file, &st);
  }
  int code = errno;
  set_where (self, file);
  *out = (SourceMessage){.kind = SOURCE_UNREADABLE,
                         .folder = (const char *const *)current_folder (self)->levels,
                         .directory_fd = part_fd (self, file),
                         .name = file->name,
                         .where = self->where};
  if (!there) {
    source_warn (self->base.warnings, "%s: %s", self->where, g_strerror (code));
    return;
  }
  if (!S_ISREG (st.st_mode)) {
    source_warn (self->base.warnings, "%s: not a regular file", self->where);
    return;
  }
  out->kind = SOURCE_FILE;
  out->facts.uid = file->uid;
  out->facts.internal_s = st.st_mtim.tv_sec;
  if (!file->is_new)
    take_flags (self, file->name, &out->facts);
  check_size (self, file->name, (uint64_t)st.st_size);
}

static bool
maildir_next (Source *base, SourceMessage *out, bool *out_end, GError **error)
{
  Maildir *self = (Maildir *)base;
  *out_end = false;
  if (self->files != NULL && self->position < self->files->len) {
    base->done++;
    take_message (self, &g_array_index (self->files, MaildirFile, self->position), out);
    self->position++;
    return true;
  }
  end_folder (self);
  *out_end = self->folder == base->folders->len;
  if (!*out_end)
    begin_folder (self, out);
  return true;
}

/* Any thread may call this, so it works on what it is given only. */
static bool
maildir_find (int directory_fd, const char *name, int *out_directory_fd, char **out_name)
{
  static const char *const parts[] = {"../new", "../cur"};
  for (size_t i = 0; i < G_N_ELEMENTS (parts); i++) {
    auto_fd fd = -1;
    g_autoptr (GPtrArray) entries = try_list_part (directory_fd, parts[i], &fd);
    for (guint j = 0; entries != NULL && j < entries->len; j++) {
      const SourceEntry *entry = g_ptr_array_index (entries, j);
      if (maildir_base_compare (entry->name, name) != 0)
        continue;
      *out_name = g_strdup (entry->name);
      *out_directory_fd = g_steal_fd (&fd);
      return true;
    }
  }
  return false;
}

const StoreFormat source_maildir = {.name = "maildir",
                                    .open = maildir_open,
                                    .next = maildir_next,
                                    .progress = source_progress,
                                    .close = maildir_close,
                                    .find = maildir_find};
