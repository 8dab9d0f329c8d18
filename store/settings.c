/* SPDX-License-Identifier: Apache-2.0 */
/* mailfs.conf, and what it sets beside the format: figures, each with a default. */
#include "store/internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DAY_S INT64_C (86400)

#define CONFIG_MAX 65536 /* bytes; a longer file is none of ours */

/* ---- the file ------------------------------------------------------------------------------ */

/* Where there is mail, it is only the settings that were lost. */
static bool
fail_missing (const Store *store, GError **error)
{
  struct stat st;
  if (fstatat (store->fd, "mail", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR (st.st_mode))
    return fail (error, EINVAL, "%s is not a mail store (it has no " CONFIG ")", store->path);
  if (store_is_evidence (store))
    return fail (error, EINVAL, "%s: there is no " CONFIG "; all settings have their defaults",
                 store->path);
  return fail (error, EINVAL,
               "%s has mail, but no " CONFIG ": mailfs-store(5) tells how to make one; "
               "forensic looks without it",
               store->path);
}

/* The text is read by hand, so that looking at a store leaves no atime. */
static char *
read_text (const Store *store, GError **error)
{
  g_autofree char *text = g_malloc0 (CONFIG_MAX + 1);
  auto_fd fd = layout_open_message (store->fd, CONFIG);
  ssize_t size = fd >= 0 ? pread (fd, text, CONFIG_MAX + 1, 0) : 0;
  if (fd < 0 && errno == ENOENT)
    fail_missing (store, error);
  else if (fd < 0)
    fail (error, errno == EACCES ? EACCES : EINVAL, "read %s/" CONFIG ": %s", store->path,
          g_strerror (errno));
  else if (size < 0)
    fail_errno (error, "read %s/" CONFIG, store->path);
  else if (size > CONFIG_MAX)
    fail (error, EINVAL, "read %s/" CONFIG ": longer than %d bytes", store->path, CONFIG_MAX);
  else
    return g_steal_pointer (&text);
  return NULL;
}

static GKeyFile *
parse_text (const Store *store, const char *text, GError **error)
{
  g_autoptr (GKeyFile) file = g_key_file_new ();
  g_autoptr (GError) failure = NULL;
  if (g_key_file_load_from_data (file, text, (gsize)-1, G_KEY_FILE_NONE, &failure))
    return g_steal_pointer (&file);
  fail (error, EINVAL, "read %s/" CONFIG ": %s", store->path, failure->message);
  return NULL;
}

GKeyFile *
config_read (const Store *store, GError **error)
{
  g_autofree char *text = read_text (store, error);
  return text != NULL ? parse_text (store, text, error) : NULL;
}

/* What root writes is still theirs who had it. */
static bool
keep_owner (int fd, int file)
{
  struct stat old;
  if (fstatat (fd, CONFIG, &old, AT_SYMLINK_NOFOLLOW) < 0)
    return errno == ENOENT;
  return fchmod (file, old.st_mode & 07777) == 0 &&
         (geteuid () != 0 || fchown (file, old.st_uid, old.st_gid) == 0);
}

bool
config_write (int fd, const char *text, GError **error)
{
  unlinkat (fd, CONFIG ".new", 0); /* that a crash left */
  auto_fd file = layout_open (fd, CONFIG ".new", O_WRONLY | O_CREAT | O_EXCL, 0640);
  if (file < 0 || write (file, text, strlen (text)) != (ssize_t)strlen (text) ||
      !keep_owner (fd, file) || fsync (file) < 0)
    return fail_errno (error, "write " CONFIG);
  if (renameat (fd, CONFIG ".new", fd, CONFIG) < 0 || fsync (fd) < 0)
    return fail_errno (error, "put " CONFIG " into place");
  return true;
}

/* ---- the settings -------------------------------------------------------------------------- */

const StoreSettingInfo store_settings[] = {
    [STORE_CLEANUP_SIZE] = {"cleanup.size", STORE_UNIT_COUNT, 100, 0, UINT32_MAX,
                            "expunged messages of a mailbox that a cleanup is queued at"},
    [STORE_CLEANUP_AGE] = {"cleanup.age", STORE_UNIT_TIME, DAY_S, 0, 36500 * DAY_S,
                           "how long an expunged message is kept"},
    [STORE_PURGE_COUNT] = {"purge.count", STORE_UNIT_COUNT, 500, 0, UINT32_MAX,
                           "records of removed messages of a mailbox that are kept"},
    [STORE_PURGE_PERCENTAGE] = {"purge.percentage", STORE_UNIT_PERCENT, 5, 0, 100,
                                "how much of a mailbox's rows they may be"},
    [STORE_PURGE_AGE] = {"purge.age", STORE_UNIT_TIME, 7 * DAY_S, 0, 36500 * DAY_S,
                         "how long orphans lie, and then what is in quarantine"},
    {NULL},
};

static const struct {
  const char *suffix;
  int64_t seconds;
} units[] = {{"w", 604800}, {"d", DAY_S}, {"h", 3600}, {"m", 60}, {"s", 1}, {"", 1}};

bool
store_age_parse (const char *text, int64_t *out_s, GError **error)
{
  char *end = NULL;
  uint64_t count = g_ascii_isdigit (*text) ? g_ascii_strtoull (text, &end, 10) : 0;
  for (size_t i = 0; end != NULL && i < G_N_ELEMENTS (units); i++) {
    if (strcmp (end, units[i].suffix) == 0 && count <= (uint64_t)(INT64_MAX / 604800)) {
      *out_s = (int64_t)count * units[i].seconds;
      return true;
    }
  }
  g_autofree char *printable = store_text_printable (text);
  return fail (error, EINVAL, "'%s' is no span of time; write 30m, 24h, 7d or 2w", printable);
}

bool
store_size_parse (const char *text, uint64_t *out, GError **error)
{
  static const char *const suffixes[] = {"", "K", "M", "G"};
  char *end = NULL;
  uint64_t count = g_ascii_isdigit (*text) ? g_ascii_strtoull (text, &end, 10) : 0;
  for (size_t i = 0; count > 0 && i < G_N_ELEMENTS (suffixes); i++) {
    if (g_ascii_strcasecmp (end, suffixes[i]) == 0 && count <= UINT32_MAX) {
      *out = count << (10 * i);
      return true;
    }
  }
  g_autofree char *printable = store_text_printable (text);
  return fail (error, EINVAL, "'%s' is no size; write 64K, 20M or 1G", printable);
}

/* In the largest unit that says it exactly, though not in weeks. */
static char *
age_to_string (int64_t age_s)
{
  size_t i = 1;
  while (age_s % units[i].seconds != 0)
    i++;
  return age_s == 0 ? g_strdup ("0")
                    : g_strdup_printf ("%" G_GINT64_FORMAT "%s", age_s / units[i].seconds,
                                       units[i].suffix);
}

int64_t
store_setting (const Store *self, StoreSetting setting)
{
  return self->settings[setting];
}

char *
store_setting_string (const Store *self, StoreSetting setting)
{
  int64_t value = self->settings[setting];
  return store_settings[setting].unit == STORE_UNIT_TIME
             ? age_to_string (value)
             : g_strdup_printf ("%" G_GINT64_FORMAT, value);
}

static bool
parse (const StoreSettingInfo *info, const char *text, int64_t *out, GError **error)
{
  int64_t value;
  uint64_t number;
  if (info->unit == STORE_UNIT_TIME) {
    if (!store_age_parse (text, &value, error))
      return false;
  } else {
    if (!g_ascii_string_to_unsigned (text, 10, 0, INT64_MAX, &number, NULL)) {
      g_autofree char *printable = store_text_printable (text);
      return fail (error, EINVAL, "'%s' is no number", printable);
    }
    value = (int64_t)number;
  }
  if (value < info->least || value > info->most)
    return fail (error, EINVAL, "'%s' is not between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT,
                 text, info->least, info->most);
  *out = value;
  return true;
}

bool
settings_load (Store *store, GKeyFile *file, GError **error)
{
  for (size_t i = 0; store_settings[i].name != NULL; i++) {
    const StoreSettingInfo *info = &store_settings[i];
    g_auto (GStrv) names = g_strsplit (info->name, ".", 2);
    g_autofree char *text = g_key_file_get_value (file, names[0], names[1], NULL);
    int64_t value = info->standard;
    if (text != NULL && !parse (info, g_strstrip (text), &value, error))
      return fail_prefix (error, "%s in [%s]", names[1], names[0]);
    store->settings[i] = value;
  }
  return true;
}

/* Whether the line is the key's, as GKeyFile reads it. */
static bool
is_key (const char *line, const char *key)
{
  size_t length = strlen (key);
  return strncmp (line, key, length) == 0 && line[length + strspn (line + length, " \t")] == '=';
}

/* The text with that value: where the key is, else at the end of its group, else behind everything.
 * What people wrote around it stays as they wrote it. Of several GKeyFile takes the last. */
static char *
edit (const char *text, const char *group, const char *key, const char *value)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_autofree char *header = g_strdup_printf ("[%s]", group);
  char **place = NULL, **end = NULL;
  bool inside = false;
  for (char **line = lines; *line != NULL; line++) {
    g_autofree char *bare = g_strstrip (g_strdup (*line));
    if (*bare == '[')
      inside = strcmp (bare, header) == 0;
    if (inside && is_key (bare, key))
      place = line;
    if (inside && *bare != '\0' && *bare != '#')
      end = line;
  }
  if (end == NULL)
    return g_strdup_printf ("%s\n%s\n%s=%s\n", text, header, key, value);
  char **at = place != NULL ? place : end;
  g_autofree char *before = place != NULL ? g_strdup ("") : g_strconcat (*end, "\n", NULL);
  g_free (*at);
  *at = g_strdup_printf ("%s%s=%s", before, key, value);
  return g_strjoinv ("\n", lines);
}

bool
store_setting_set (Store *self, StoreSetting setting, const char *text, GError **error)
{
  const StoreSettingInfo *info = &store_settings[setting];
  g_auto (GStrv) names = g_strsplit (info->name, ".", 2);
  g_autofree char *stripped = g_strstrip (g_strdup (text));
  int64_t value;
  if (!parse (info, stripped, &value, error))
    return fail_prefix (error, "%s", info->name);
  if (store_is_read_only (self))
    return fail (error, EROFS, "the store %s is open read only", self->path);
  /* Of two who change different settings neither undoes what the other has done. */
  auto_fd lock = lock_store (self, error);
  g_autofree char *old = lock >= 0 ? read_text (self, error) : NULL;
  if (old == NULL)
    return false;
  g_autofree char *edited = edit (old, names[0], names[1], stripped);
  g_autoptr (GKeyFile) file = parse_text (self, edited, error);
  if (file == NULL || !config_write (self->fd, edited, error))
    return fail_prefix (error, "set %s", info->name);
  self->settings[setting] = value;
  return true;
}
