/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checking a bag, whoever made it: every file against its digest, and the lists against what is
 * there. Nothing in it is believed: paths lead out of it neither by their names nor through links.
 */
#include "store/bag.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Directories below data/ that are looked into. */
#define DEPTH_MAX 256u

/* A line of a manifest: a digest, and a path with every byte of it escaped. */
#define LINE_SIZE (64u + 3u * PATH_MAX + 8u)

typedef struct {
  int fd;
  StoreBagFunc tell;
  void *user_data;
  StoreBag found; /* of the payload */
  uint64_t problems;
  GHashTable *listed; /* of the payload's paths that the manifest has, and the bag, too */
} Check;

static void
check_clear (Check *self)
{
  store_close_fd (&self->fd);
  g_clear_pointer (&self->listed, g_hash_table_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Check, check_clear)

static void complain (Check *self, const char *path, const char *format, ...) G_GNUC_PRINTF (3, 4);

static void
complain (Check *self, const char *path, const char *format, ...)
{
  va_list arguments;
  va_start (arguments, format);
  g_autofree char *raw = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  g_autofree char *name = store_text_printable (path);
  g_autofree char *text = store_text_printable (raw);
  self->problems++;
  self->tell (name, text, self->user_data);
}

char *
bag_path_unescape (const char *text)
{
  GString *path = g_string_new (NULL);
  while (*text != '\0') {
    bool is_escape = text[0] == '%' && g_ascii_isxdigit (text[1]) && g_ascii_isxdigit (text[2]);
    int byte = is_escape ? g_ascii_xdigit_value (text[1]) << 4 | g_ascii_xdigit_value (text[2]) : 0;
    is_escape = is_escape && (byte == '\r' || byte == '\n' || byte == '%');
    g_string_append_c (path, is_escape ? (char)byte : *text);
    text += is_escape ? 3 : 1;
  }
  return g_string_free (path, FALSE);
}

/* ---- files ---------------------------------------------------------------------------------- */

/* A regular file in the bag, or -1, which has been told. */
static int
open_file (Check *self, const char *path, struct stat *out)
{
  auto_fd fd = layout_open (self->fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
  if (fd < 0) {
    complain (self, path, "%s", g_strerror (errno));
    return -1;
  }
  if (fstat (fd, out) < 0 || !S_ISREG (out->st_mode)) {
    complain (self, path, "is no file");
    return -1;
  }
  return g_steal_fd (&fd);
}

static void
check_file (Check *self, const char *path, const char *digest, bool is_payload)
{
  struct stat st;
  uint8_t sha256[32];
  g_autoptr (GError) failure = NULL;
  auto_fd fd = open_file (self, path, &st);
  if (fd < 0)
    return;
  if (is_payload) {
    self->found.messages++;
    self->found.bytes += (uint64_t)st.st_size;
  }
  if (!message_digest (fd, (uint64_t)st.st_size, NULL, 0, sha256, &failure)) {
    complain (self, path, "%s", failure->message);
    return;
  }
  g_autofree char *actual = store_digest_string (sha256);
  if (g_ascii_strcasecmp (actual, digest) != 0)
    complain (self, path, "has another digest");
}

/* ---- manifests ------------------------------------------------------------------------------ */

/* "DIGEST PATH". False: it is no such line. */
static bool
split_line (char *line, const char **out_digest, const char **out_path)
{
  size_t size = strspn (line, "0123456789abcdefABCDEF");
  char *path = line + size + strspn (line + size, " \t*");
  if (size != 64 || path == line + size || *path == '\0')
    return false;
  line[size] = '\0';
  *out_digest = line;
  *out_path = path;
  return true;
}

/* Only what is there is remembered: memory goes by the bag, not by what a manifest says. */
static bool
is_there (const Check *self, const char *path)
{
  auto_fd fd = layout_open (self->fd, path, O_PATH | O_NOFOLLOW, 0);
  return fd >= 0;
}

static void
take_line (Check *self, const char *manifest, char *line, bool is_payload)
{
  const char *digest, *text;
  if (!split_line (line, &digest, &text)) {
    complain (self, manifest, "has a line that makes no sense: %.200s", line);
    return;
  }
  g_autofree char *path = bag_path_unescape (text);
  if (is_payload != g_str_has_prefix (path, BAG_PAYLOAD "/"))
    complain (self, path, "does not belong into %s", manifest);
  else if (is_payload && is_there (self, path) && !g_hash_table_add (self->listed, g_strdup (path)))
    complain (self, path, "is in %s twice", manifest);
  else
    check_file (self, path, digest, is_payload);
}

/* The next line, without its end. One that does not fit is cut, and its rest passed over. */
static bool
read_line (FILE *file, char line[LINE_SIZE], bool *out_whole)
{
  size_t size = 0;
  int byte;
  for (; (byte = getc_unlocked (file)) != EOF && byte != '\n'; size++) {
    if (size < LINE_SIZE - 1)
      line[size] = (char)byte;
  }
  line[MIN (size, LINE_SIZE - 1)] = '\0';
  *out_whole = size < LINE_SIZE;
  return size > 0 || byte != EOF;
}

static bool
check_manifest (Check *self, const char *name, bool is_payload, GError **error)
{
  struct stat st;
  auto_fd fd = open_file (self, name, &st);
  FILE *file = fd >= 0 ? fdopen (fd, "r") : NULL;
  if (file == NULL)
    return true;
  g_steal_fd (&fd);
  char line[LINE_SIZE];
  bool whole;
  while (read_line (file, line, &whole)) {
    g_strchomp (line);
    if (!whole)
      complain (self, name, "has a line of more than %u bytes: %.64s...", LINE_SIZE - 1, line);
    else if (*line != '\0')
      take_line (self, name, line, is_payload);
  }
  bool good = !ferror (file) || fail_errno (error, "read %s", name);
  fclose (file);
  return good;
}

/* ---- what is there -------------------------------------------------------------------------- */

static void check_names (Check *self, const char *directory, unsigned depth);

static void
check_name (Check *self, const char *path, unsigned depth)
{
  struct stat st;
  if (fstatat (self->fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
    complain (self, path, "%s", g_strerror (errno));
  else if (S_ISDIR (st.st_mode))
    check_names (self, path, depth + 1);
  else if (!g_hash_table_contains (self->listed, path))
    complain (self, path, "is not in " BAG_MANIFEST);
}

/* That nothing is in the payload but what the manifest has. */
static void
check_names (Check *self, const char *directory, unsigned depth)
{
  g_autoptr (GError) failure = NULL;
  g_autoptr (GPtrArray) names = layout_names (self->fd, directory, &failure);
  if (names == NULL || depth > DEPTH_MAX) {
    complain (self, directory, "%s", names == NULL ? failure->message : "is too deep");
    return;
  }
  for (guint i = 0; i < names->len; i++) {
    g_autofree char *path = g_build_filename (directory, names->pdata[i], NULL);
    check_name (self, path, depth);
  }
}

/* ---- tag files ------------------------------------------------------------------------------ */

/* The text of a small tag file; NULL: there is none. */
static char *
read_tag (Check *self, const char *name, bool is_needed)
{
  char text[65536];
  struct stat st;
  if (!is_needed && faccessat (self->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
    return NULL;
  auto_fd fd = open_file (self, name, &st);
  ssize_t size = fd >= 0 ? pread (fd, text, sizeof text - 1, 0) : -1;
  return size >= 0 ? g_strndup (text, (gsize)size) : NULL;
}

/* What stands behind "LABEL:"; NULL: nothing does. Owned by the caller. */
static char *
find_label (const char *text, const char *label)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  size_t size = strlen (label);
  for (char **line = lines; *line != NULL; line++)
    if (g_ascii_strncasecmp (*line, label, size) == 0 && (*line)[size] == ':')
      return g_strdup (g_strstrip (*line + size + 1));
  return NULL;
}

static void
check_declaration (Check *self)
{
  g_autofree char *text = read_tag (self, BAG_DECLARATION, true);
  if (text == NULL)
    return;
  g_autofree char *version = find_label (text, "BagIt-Version");
  if (version == NULL || (strcmp (version, "1.0") != 0 && !g_str_has_prefix (version, "0.9")))
    complain (self, BAG_DECLARATION, "tells of no version that is known");
}

static void
check_oxum (Check *self)
{
  g_autofree char *text = read_tag (self, BAG_INFO, false);
  g_autofree char *told = text != NULL ? find_label (text, BAG_OXUM) : NULL;
  g_autofree char *actual =
      g_strdup_printf ("%" PRIu64 ".%" PRIu64, self->found.bytes, self->found.messages);
  if (told != NULL && strcmp (told, actual) != 0)
    complain (self, BAG_INFO, "tells of " BAG_OXUM " %s, but it is %s", told, actual);
}

bool
store_bag_verify (const char *directory, StoreBagFunc tell, void *user_data, StoreBag *out,
                  uint64_t *out_problems, GError **error)
{
  g_auto (Check) check = {.fd = -1, .tell = tell, .user_data = user_data};
  struct stat st;
  check.fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (check.fd < 0)
    return fail_errno (error, "open directory '%s'", directory);
  if (fstatat (check.fd, BAG_DECLARATION, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return fail (error, EINVAL, "'%s' is no bag: it has no " BAG_DECLARATION, directory);
  check.listed = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  check_declaration (&check);
  bool has_tags = fstatat (check.fd, BAG_TAG_MANIFEST, &st, AT_SYMLINK_NOFOLLOW) == 0;
  if (!check_manifest (&check, BAG_MANIFEST, true, error) ||
      (has_tags && !check_manifest (&check, BAG_TAG_MANIFEST, false, error)))
    return false;
  check_names (&check, BAG_PAYLOAD, 0);
  check_oxum (&check);
  *out = check.found;
  *out_problems = check.problems;
  return true;
}
