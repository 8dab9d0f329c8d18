/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote-tree.c - the directories and messages of a mount.
 *
 * A node is a path below the mountpoint; its number is the place in the array of those that were
 * met. What a path is follows from its names: DOMAIN, DOMAIN/user, DOMAIN/user/USER, DOMAIN/shared,
 * and below these there are mailboxes. What cannot be seen by looking is in extended attributes.
 */
#include "tools/answer.h"
#include "tools/remote.h"
#include "tools/site.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- attributes ---------------------------------------------------------------------------- */

/* NULL without an error when it is unset. */
static char *
get_attribute (const Remote *self, const char *path, const char *name, GError **error)
{
  g_autofree char *whole = remote_path (self, path);
  g_autofree char *attribute = g_strconcat ("user.mailfs.", name, NULL);
  char value[XATTR_SIZE_MAX];
  ssize_t size = lgetxattr (whole, attribute, value, sizeof value);
  if (size >= 0)
    return g_strndup (value, (size_t)size);
  if (errno != ENODATA)
    fail_errno (error, "'%s': attribute '%s'", path, name);
  return NULL;
}

/* One that every node, or message, of that kind has. */
static char *
need_attribute (const Remote *self, const char *path, const char *name, GError **error)
{
  g_autoptr (GError) failure = NULL;
  char *value = get_attribute (self, path, name, &failure);
  if (value != NULL)
    return value;
  if (failure == NULL || failure->code == EOPNOTSUPP)
    fail (error, EOPNOTSUPP,
          "'%s': the mount does not tell its %s; its option -o xattrs may forbid it", path, name);
  else
    g_propagate_error (error, g_steal_pointer (&failure));
  return NULL;
}

static bool
get_number (const Remote *self, const char *path, const char *name, uint64_t *out, GError **error)
{
  g_autofree char *value = need_attribute (self, path, name, error);
  if (value == NULL)
    return false;
  *out = g_ascii_strtoull (value, NULL, 10);
  return true;
}

/* ---- nodes --------------------------------------------------------------------------------- */

static StoreNodeKind
kind_of (const char *path)
{
  g_auto (GStrv) names = g_strsplit (path, "/", 4);
  guint depth = g_strv_length (names);
  bool users = depth > 1 && strcmp (names[1], "user") == 0;
  switch (depth) {
  case 0: return STORE_NODE_ROOT;
  case 1: return STORE_NODE_DOMAIN;
  case 2: return users ? STORE_NODE_USERS : STORE_NODE_SHARED;
  case 3: return users ? STORE_NODE_USER : STORE_NODE_MAILBOX;
  default: return STORE_NODE_MAILBOX;
  }
}

const char *
remote_node_path (Remote *self, uint32_t number)
{
  return remote_places (self)->pdata[number];
}

static uint32_t
add_place (Remote *self, uint32_t parent, const char *name)
{
  const char *above = remote_node_path (self, parent);
  GPtrArray *places = remote_places (self);
  g_ptr_array_add (places, g_strconcat (above, *above != '\0' ? "/" : "", name, NULL));
  return places->len - 1;
}

bool
remote_node (Remote *self, uint32_t number, StoreNode *out, GError **error)
{
  const char *path = remote_node_path (self, number);
  *out = (StoreNode){.number = number, .kind = kind_of (path), .name = g_path_get_basename (path)};
  return true;
}

bool
remote_node_state (Remote *self, StoreNode *node, GError **error)
{
  const char *path = remote_node_path (self, node->number);
  g_autoptr (GError) failure = NULL;
  g_autofree char *subscribed = get_attribute (self, path, "subscribed", &failure);
  if (failure == NULL)
    node->special_use = get_attribute (self, path, "special_use", &failure);
  if (failure == NULL)
    node->full_name = get_attribute (self, path, "name", &failure);
  if (failure != NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  node->subscribed = subscribed != NULL;
  return true;
}

/* What begins with a dot is no mailbox: the control directory may have any such name. */
static bool
find_child (void *data, uint32_t parent, const char *name, StoreNode *out, bool *out_found,
            GError **error)
{
  Remote *self = data;
  g_autofree char *above = remote_path (self, remote_node_path (self, parent));
  g_autofree char *path = g_build_filename (above, name, NULL);
  struct stat st;
  bool there = *name != '.' && lstat (path, &st) == 0;
  if (*name != '.' && !there && errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG)
    return fail_errno (error, "%s", path);
  *out_found = there && S_ISDIR (st.st_mode);
  return !*out_found || remote_node (self, add_place (self, parent, name), out, error);
}

StoreTree
remote_tree (Remote *self)
{
  return (StoreTree){find_child, self};
}

static DIR *
open_directory (Remote *self, uint32_t number, GError **error)
{
  const char *path = remote_node_path (self, number);
  g_autofree char *whole = remote_path (self, path);
  DIR *directory = opendir (whole);
  if (directory == NULL)
    fail_errno (error, "'%s'", path);
  return directory;
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *)a, *(char *const *)b);
}

/* A mount lists the directories in a mailbox before its messages, so these need not be read. */
bool
remote_children (Remote *self, uint32_t parent, GArray *numbers, GError **error)
{
  DIR *directory = open_directory (self, parent, error);
  if (directory == NULL)
    return false;
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);
  struct dirent *entry;
  while ((entry = (errno = 0, readdir (directory))) != NULL &&
         store_message_uid (entry->d_name) == 0) {
    if (*entry->d_name != '.')
      g_ptr_array_add (names, g_strdup (entry->d_name));
  }
  int code = entry == NULL ? errno : 0;
  closedir (directory);
  if (code != 0)
    return fail (error, code, "list '%s': %s", remote_node_path (self, parent), g_strerror (code));
  g_ptr_array_sort (names, compare_names);
  for (guint i = 0; i < names->len; i++) {
    uint32_t number = add_place (self, parent, names->pdata[i]);
    g_array_append_val (numbers, number);
  }
  return true;
}

/* ---- mailboxes ----------------------------------------------------------------------------- */

static bool
parse_health (const char *text, StoreHealth *out)
{
  for (StoreHealth health = STORE_HEALTH_OK; health <= STORE_HEALTH_REBUILDING; health++) {
    if (strcmp (text, store_health_name (health)) == 0) {
      *out = health;
      return true;
    }
  }
  return false;
}

bool
remote_mailbox_info (Remote *self, uint32_t number, StoreMailboxInfo *out, GError **error)
{
  static const char *const names[] = {"uidvalidity", "uidnext",  "highestmodseq", "messages",
                                      "unseen",      "expunged", "bytes"};
  uint64_t values[G_N_ELEMENTS (names)];
  const char *path = remote_node_path (self, number);
  StoreHealth health;
  for (size_t i = 0; i < G_N_ELEMENTS (names); i++) {
    if (!get_number (self, path, names[i], &values[i], error))
      return false;
  }
  g_autofree char *text = need_attribute (self, path, "health", error);
  if (text == NULL)
    return false;
  if (!parse_health (text, &health))
    return fail (error, EPROTONOSUPPORT, "'%s' is in a state that is not known here: %s", path,
                 text);
  *out = (StoreMailboxInfo){.uidvalidity = (uint32_t)values[0],
                            .uidnext = (uint32_t)values[1],
                            .highestmodseq = values[2],
                            .messages = (uint32_t)values[3],
                            .unseen = (uint32_t)values[4],
                            .expunged = (uint32_t)values[5],
                            .bytes = values[6],
                            .health = health};
  return true;
}

/* ---- messages ------------------------------------------------------------------------------ */

/* The value in a line "KEY VALUE" of the attribute "all"; NULL when there is none. */
static char *
find_value (char *const *lines, const char *key)
{
  size_t length = strlen (key);
  for (; *lines != NULL; lines++) {
    if (strncmp (*lines, key, length) == 0 && (*lines)[length] == ' ')
      return g_strdup (*lines + length + 1);
  }
  return NULL;
}

static uint32_t
parse_damage (const char *text)
{
  g_auto (GStrv) words = g_strsplit (text != NULL ? text : "", " ", -1);
  uint32_t damage = 0;
  for (uint32_t bit = STORE_DAMAGE_NUL; bit <= STORE_DAMAGE_LIMIT; bit <<= 1) {
    g_autofree char *name = store_damage_to_string (bit);
    if (g_strv_contains ((const char *const *)words, name))
      damage |= bit;
  }
  return damage;
}

static bool
parse_letter (const struct stat *st, uint32_t uid, char *const *lines, Letter *out, GError **error)
{
  g_autofree char *flags = find_value (lines, "flags");
  g_autofree char *modseq = find_value (lines, "modseq");
  g_autofree char *damage = find_value (lines, "damage");
  g_autofree char *sent = find_value (lines, "sent");
  StoreMessage message = {.uid = uid,
                          .size = (uint64_t)st->st_size,
                          .internal_s = st->st_mtim.tv_sec,
                          .damage = parse_damage (damage),
                          .modseq = modseq != NULL ? g_ascii_strtoull (modseq, NULL, 10) : 0};
  int64_t sent_s = INT64_MIN;
  if (sent != NULL && !tool_date_parse (sent, &sent_s, error))
    return false;
  if (flags != NULL && !store_flags_parse (flags, &message.flags, &message.keywords, error))
    return false;
  *out = (Letter){.message = message,
                  .sent_s = sent_s,
                  .from = find_value (lines, "from"),
                  .to = find_value (lines, "to"),
                  .subject = find_value (lines, "subject"),
                  .message_id = find_value (lines, "message-id")};
  return true;
}

/* `*out_found` is false when it is gone, as messages may be at any moment. */
static bool
read_letter (Remote *self, const char *mailbox, uint32_t uid, Letter *out, bool *out_found,
             GError **error)
{
  char name[STORE_NAME_SIZE];
  store_message_name (uid, name);
  g_autofree char *path = g_build_filename (mailbox, name, NULL);
  g_autofree char *whole = remote_path (self, path);
  g_autoptr (GError) failure = NULL;
  struct stat st;
  g_autofree char *all = NULL;
  if (lstat (whole, &st) < 0)
    fail_errno (&failure, "'%s'", path);
  else
    all = need_attribute (self, path, "all", &failure);
  *out_found = error_code (failure) != ENOENT && error_code (failure) != ESTALE;
  if (!*out_found)
    return true;
  if (failure != NULL) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  g_auto (GStrv) lines = g_strsplit (all, "\n", -1);
  return parse_letter (&st, uid, lines, out, error) || fail_prefix (error, "'%s'", path);
}

static int
compare_uids (gconstpointer a, gconstpointer b)
{
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

static GArray *
list_uids (Remote *self, uint32_t number, GError **error)
{
  DIR *directory = open_directory (self, number, error);
  if (directory == NULL)
    return NULL;
  g_autoptr (GArray) uids = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (struct dirent *entry; (entry = (errno = 0, readdir (directory))) != NULL;) {
    uint32_t uid = store_message_uid (entry->d_name);
    if (uid > 0)
      g_array_append_val (uids, uid);
  }
  int code = errno;
  closedir (directory);
  g_array_sort (uids, compare_uids);
  if (code == 0)
    return g_steal_pointer (&uids);
  fail (error, code, "list '%s': %s", remote_node_path (self, number), g_strerror (code));
  return NULL;
}

bool
remote_letter (Remote *self, uint32_t number, uint32_t uid, Letter *out, bool *out_found,
               GError **error)
{
  return read_letter (self, remote_node_path (self, number), uid, out, out_found, error);
}

bool
remote_each_letter (Remote *self, uint32_t number, LetterFunc each, void *data, GError **error)
{
  g_autoptr (GArray) uids = list_uids (self, number, error);
  for (guint i = 0; uids != NULL && i < uids->len; i++) {
    g_auto (Letter) letter = {0};
    bool found;
    if (!remote_letter (self, number, g_array_index (uids, uint32_t, i), &letter, &found, error))
      return false;
    if (found)
      each (&letter, data);
  }
  return uids != NULL;
}

/* The mount holds a message against its digest before it gives out the first byte. */
int
remote_message_open (Remote *self, uint32_t number, uint32_t uid, GError **error)
{
  const char *mailbox = remote_node_path (self, number);
  char name[STORE_NAME_SIZE], first;
  store_message_name (uid, name);
  g_autofree char *path = g_build_filename (mailbox, name, NULL);
  g_autofree char *whole = remote_path (self, path);
  auto_fd fd = open (whole, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd >= 0 && pread (fd, &first, 1, 0) >= 0)
    return g_steal_fd (&fd);
  if (errno == ENOENT || errno == ESTALE)
    fail (error, ESTALE, "no message %u in '%s'", uid, mailbox);
  else if (fd >= 0 && errno == EIO)
    fail (error, EIO, "message %u of '%s' does not have the bytes that were delivered", uid,
          mailbox);
  else
    fail_errno (error, "open message '%s'", path);
  return -1;
}

/* ---- what is given out whole ---------------------------------------------------------------- */

bool
remote_write_file (Remote *self, uint32_t number, const char *name, FILE *out, GError **error)
{
  g_autofree char *path = remote_control_below (self, remote_node_path (self, number), name);
  auto_fd fd = open (path, O_RDONLY | O_CLOEXEC);
  char buffer[65536];
  ssize_t size = fd < 0 ? -1 : 0;
  while (fd >= 0 && (size = read (fd, buffer, sizeof buffer)) > 0) {
    if (fwrite (buffer, 1, (size_t)size, out) < (size_t)size)
      return fail_errno (error, "standard output");
  }
  return size == 0 || fail_errno (error, "read %s", path);
}

GPtrArray *
remote_quarantine_list (Remote *self, GError **error)
{
  g_autofree char *text = remote_read (self, "quarantine.jsonl", error);
  g_auto (GStrv) lines = text != NULL ? g_strsplit (text, "\n", -1) : NULL;
  g_autoptr (GPtrArray) objects =
      g_ptr_array_new_with_free_func ((GDestroyNotify)store_quarantined_free);
  for (char **line = lines; lines != NULL && *line != NULL && **line != '\0'; line++) {
    g_autoptr (JsonParser) parser = NULL;
    JsonObject *object = answer_parse (*line, &parser, error);
    if (object == NULL)
      return NULL;
    g_ptr_array_add (objects, answer_quarantined (object));
  }
  return lines != NULL ? g_steal_pointer (&objects) : NULL;
}
