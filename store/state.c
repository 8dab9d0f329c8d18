/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts kept on files, so that the index may be deleted at any time: one line of text in an
 * extended attribute, its fields separated by one space, the first of them the format version.
 *
 *  - message, user.mailfs.state: 1 MODSEQ BIRTH EXPUNGED DIGEST FLAG...
 *  - mailbox, user.mailfs.mailbox: 1 NUMBER UIDVALIDITY UIDNEXT MODSEQ SUBSCRIBED SPECIAL-USE NAME
 *  - user, user.mailfs.user: 1 NUMBER INDEX
 *  - other, user.mailfs.directory: 1 NUMBER
 *  - mail/, user.mailfs.store: 1 NEXT-NUMBER EPOCH LAST-UIDVALIDITY
 *
 * Absent fields are "-"; NAME is percent-escaped. On filesystems without user attributes the same
 * line is appended to .state in the directory, behind the UID it is for (0: the directory itself);
 * the last line for a UID counts.
 */
#include "store/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LINE_MAX_BYTES 65536

static const char *const attribute_names[] = {
    [STORE_NODE_ROOT] = "user.mailfs.store",      [STORE_NODE_DOMAIN] = "user.mailfs.directory",
    [STORE_NODE_USERS] = "user.mailfs.directory", [STORE_NODE_USER] = "user.mailfs.user",
    [STORE_NODE_SHARED] = "user.mailfs.user",     [STORE_NODE_MAILBOX] = "user.mailfs.mailbox",
};
static const char message_attribute[] = "user.mailfs.state";

void
message_state_clear (MessageState *state)
{
  g_clear_pointer (&state->keywords, g_free);
}

void
node_state_clear (NodeState *state)
{
  g_clear_pointer (&state->special_use, g_free);
  g_clear_pointer (&state->full_name, g_free);
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* The last line for `uid` in the directory's .state; NULL when there is none. */
static char *
read_log (int directory_fd, uint32_t uid)
{
  auto_fd fd = layout_open (directory_fd, LAYOUT_STATE, O_RDONLY | O_NOFOLLOW, 0);
  FILE *log = fd >= 0 ? fdopen (fd, "re") : NULL;
  if (log == NULL)
    return NULL;
  fd = -1;
  char *found = NULL, *line = NULL;
  size_t size = 0;
  for (ssize_t length; (length = getline (&line, &size, log)) > 0;) {
    char *rest;
    /* A line that a crash cut off has no end and does not count. */
    if (line[length - 1] != '\n' || strtoul (line, &rest, 10) != uid || *rest != ' ')
      continue;
    line[length - 1] = '\0';
    g_free (found);
    found = g_strdup (rest + 1);
  }
  free (line);
  fclose (log);
  return found;
}

static bool
append_log (Store *store, int directory_fd, uint32_t uid, const char *line, GError **error)
{
  auto_fd fd =
      layout_open (directory_fd, LAYOUT_STATE, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW, 0640);
  if (fd < 0)
    return fail_errno (error, "open %s", LAYOUT_STATE);
  struct stat st;
  char last = '\n';
  if (fstat (fd, &st) == 0 && st.st_size > 0 && pread (fd, &last, 1, st.st_size - 1) != 1)
    return fail_errno (error, "read %s", LAYOUT_STATE);
  /* Ends a line that a crash cut off. */
  g_autofree char *text = g_strdup_printf ("%s%u %s\n", last == '\n' ? "" : "\n", uid, line);
  if (write (fd, text, strlen (text)) != (ssize_t)strlen (text) || fsync (fd) < 0 ||
      fsync (directory_fd) < 0)
    return fail_errno (error, "write %s", LAYOUT_STATE);
  return layout_own (store, fd, error);
}

/* Reads attribute `name` of `fd`. Returns NULL without an error when there is none. */
static char *
read_attribute (int fd, const char *name, GError **error)
{
  char small[512];
  ssize_t size = fgetxattr (fd, name, small, sizeof small);
  if (size >= 0)
    return g_strndup (small, (gsize)size);
  if (errno == ERANGE) {
    g_autofree char *large = g_malloc (LINE_MAX_BYTES);
    size = fgetxattr (fd, name, large, LINE_MAX_BYTES);
    if (size >= 0)
      return g_strndup (large, (gsize)size);
  }
  if (errno != ENODATA && errno != EOPNOTSUPP)
    fail_errno (error, "read attribute %s", name);
  return NULL;
}

static char *
read_line (int directory_fd, int fd, const char *name, uint32_t uid, GError **error)
{
  GError *failure = NULL;
  char *line = read_attribute (fd, name, &failure);
  if (failure != NULL) {
    g_propagate_error (error, failure);
    return NULL;
  }
  return line != NULL ? line : read_log (directory_fd, uid);
}

static bool
write_line (Store *store, int directory_fd, int fd, const char *name, uint32_t uid,
            const char *line, GError **error)
{
  if (fsetxattr (fd, name, line, strlen (line), 0) == 0)
    return true;
  if (errno == EOPNOTSUPP)
    return append_log (store, directory_fd, uid, line, error);
  /* ext4 says ENOSPC for a value that does not fit beside the inode, whatever room the disk has. */
  if ((errno == ENOSPC && strlen (line) > 3500) || errno == ERANGE || errno == E2BIG)
    return fail (error, E2BIG, "attribute %s: %zu bytes do not fit", name, strlen (line));
  return fail_errno (error, "write attribute %s", name);
}

/* Splits a line into at most `count` fields, the last with all that is left. EBADMSG when it has
 * fewer than `least`, or another version. */
static char **
split (const char *line, int least, int count, const char *name, GError **error)
{
  g_auto (GStrv) fields = g_strsplit (line, " ", count);
  if ((int)g_strv_length (fields) < least) {
    fail (error, EBADMSG, "attribute %s makes no sense", name);
    return NULL;
  }
  if (strcmp (fields[0], "1") != 0) {
    fail (error, EBADMSG, "attribute %s has an unknown version", name);
    return NULL;
  }
  return g_steal_pointer (&fields);
}

static bool
number (const char *text, uint64_t max, uint64_t *out, const char *name, GError **error)
{
  char *end;
  errno = 0;
  uint64_t value = g_ascii_strtoull (text, &end, 10);
  if (!g_ascii_isdigit (*text) || *end != '\0' || errno != 0 || value > max)
    return fail (error, EBADMSG, "attribute %s makes no sense", name);
  *out = value;
  return true;
}

/* ---- digests --------------------------------------------------------------------------------- */

uint64_t
digest_prefix (const uint8_t sha256[32])
{
  uint64_t prefix;
  memcpy (&prefix, sha256, sizeof prefix);
  return GUINT64_FROM_BE (prefix);
}

void
digest_from_prefix (uint64_t prefix, uint8_t out_sha256[32])
{
  uint64_t bytes = GUINT64_TO_BE (prefix);
  memset (out_sha256, 0, 32);
  memcpy (out_sha256, &bytes, sizeof bytes);
}

bool
digest_is_whole (const uint8_t known[32])
{
  static const uint8_t zeros[24];
  return memcmp (known + 8, zeros, sizeof zeros) != 0;
}

bool
digest_matches (const uint8_t known[32], const uint8_t actual[32])
{
  if (digest_is_whole (known))
    return memcmp (known, actual, 32) == 0;
  return digest_prefix (known) == 0 || digest_prefix (known) == digest_prefix (actual);
}

/* ---- messages -------------------------------------------------------------------------------- */

static unsigned
digit_value (char c)
{
  return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                : 16;
}

bool
state_take_number (const char **line, unsigned base, uint64_t max, uint64_t *out)
{
  const char *at = *line;
  uint64_t value = 0;
  for (unsigned digit; (digit = digit_value (*at)) < base; at++) {
    if (__builtin_mul_overflow (value, base, &value) ||
        __builtin_add_overflow (value, digit, &value))
      return false;
  }
  if (value > max || at == *line || (*at != ' ' && *at != '\0'))
    return false;
  *line = at + (*at == ' ');
  *out = value;
  return true;
}

/* All of its digits are there, or what comes behind them is cut off as well. */
static bool
take_digest (const char **line, uint64_t *out)
{
  if (**line != '-')
    return strspn (*line, "0123456789abcdef") == 16 &&
           state_take_number (line, 16, UINT64_MAX, out);
  (*line)++;
  bool ends = **line == '\0' || **line == ' ';
  *line += **line == ' ';
  return ends;
}

/* Snapshots have many of these, so nothing is copied in vain. */
bool
message_state_parse (const char *line, MessageState *out, GError **error)
{
  const char *name = message_attribute, *at = line;
  uint64_t version, modseq, birth, expunged, digest = 0;
  if (state_take_number (&at, 10, UINT32_MAX, &version) && version != 1)
    return fail (error, EBADMSG, "attribute %s has an unknown version", name);
  if (at == line || !state_take_number (&at, 10, INT64_MAX, &modseq) ||
      !state_take_number (&at, 10, UINT32_MAX, &birth) ||
      !state_take_number (&at, 10, UINT32_MAX, &expunged))
    return fail (error, EBADMSG, "attribute %s makes no sense", name);
  if (!take_digest (&at, &digest))
    return fail (error, EBADMSG, "attribute %s has an invalid digest", name);
  uint32_t flags = 0;
  char *keywords = NULL;
  if (*at != '\0' && !store_flags_parse (at, &flags, &keywords, NULL))
    return fail (error, EBADMSG, "attribute %s has invalid flags", name);
  *out = (MessageState){.modseq = modseq,
                        .birth = (uint32_t)birth,
                        .expunged = (uint32_t)expunged,
                        .digest = digest,
                        .flags = flags,
                        .keywords = keywords};
  return true;
}

bool
message_state_read (int directory_fd, int fd, uint32_t uid, MessageState *out, bool *out_found,
                    GError **error)
{
  GError *failure = NULL;
  g_autofree char *line = read_line (directory_fd, fd, message_attribute, uid, &failure);
  if (failure != NULL) {
    g_propagate_error (error, failure);
    return false;
  }
  if (line != NULL && !message_state_parse (line, out, error))
    return false;
  *out_found = line != NULL || copied_message_read (fd, out);
  return true;
}

char *
message_state_format (const MessageState *state)
{
  g_autofree char *flags = store_flags_to_string (state->flags, state->keywords);
  g_autofree char *digest =
      state->digest != 0 ? g_strdup_printf ("%016" PRIx64, state->digest) : g_strdup ("-");
  return g_strdup_printf ("1 %" PRIu64 " %u %u %s%s%s", state->modseq, state->birth,
                          state->expunged, digest, *flags ? " " : "", flags);
}

/* Puts the line in the place of what a mount told. Both may not fit side by side. */
static bool
replace_copied (Store *store, int directory_fd, int fd, uint32_t uid, const char *line,
                const MessageState *state, GError **error)
{
  if (write_line (store, directory_fd, fd, message_attribute, uid, line, NULL)) {
    copied_message_forget (fd);
    return true;
  }
  copied_message_forget (fd);
  if (write_line (store, directory_fd, fd, message_attribute, uid, line, error))
    return true;
  copied_message_keep (fd, state);
  return false;
}

bool
message_state_write (Store *store, int directory_fd, int fd, uint32_t uid,
                     const MessageState *state, GError **error)
{
  g_autofree char *line = message_state_format (state);
  if (state->copied)
    return replace_copied (store, directory_fd, fd, uid, line, state, error);
  return write_line (store, directory_fd, fd, message_attribute, uid, line, error);
}

/* ---- directories ----------------------------------------------------------------------------- */

static char *
optional (const char *field)
{
  return strcmp (field, "-") == 0 ? NULL : g_strdup (field);
}

bool
node_state_parse (const char *line, StoreNodeKind kind, NodeState *out, GError **error)
{
  const char *name = attribute_names[kind];
  bool mailbox = kind == STORE_NODE_MAILBOX;
  g_auto (GStrv) fields = split (line, mailbox ? 8 : 2, mailbox ? 8 : 3, name, error);
  uint64_t node, uidvalidity = 0, uidnext = 0, modseq = 0, subscribed = 0;
  if (fields == NULL || !number (fields[1], STORE_NUMBER_MAX, &node, name, error))
    return false;
  if (mailbox && (!number (fields[2], UINT32_MAX, &uidvalidity, name, error) ||
                  !number (fields[3], UINT32_MAX, &uidnext, name, error) ||
                  !number (fields[4], INT64_MAX, &modseq, name, error) ||
                  !number (fields[5], 1, &subscribed, name, error)))
    return false;
  if (node == 0 || (mailbox && (uidvalidity == 0 || uidnext == 0)))
    return fail (error, EBADMSG, "attribute %s makes no sense", name);
  *out = (NodeState){.number = (uint32_t)node,
                     .uidvalidity = (uint32_t)uidvalidity,
                     .uidnext = (uint32_t)uidnext,
                     .modseq = modseq,
                     .subscribed = subscribed != 0,
                     .no_index = !mailbox && fields[2] != NULL && strcmp (fields[2], "off") == 0,
                     .full_text = !mailbox && fields[2] != NULL && strcmp (fields[2], "text") == 0,
                     .special_use = mailbox ? optional (fields[6]) : NULL};
  if (mailbox && strcmp (fields[7], "-") != 0)
    out->full_name = store_name_unescape (fields[7]);
  return true;
}

bool
node_state_read (int fd, StoreNodeKind kind, NodeState *out, bool *out_found, GError **error)
{
  GError *failure = NULL;
  g_autofree char *line = read_line (fd, fd, attribute_names[kind], 0, &failure);
  if (failure != NULL) {
    g_propagate_error (error, failure);
    return false;
  }
  if (line != NULL && !node_state_parse (line, kind, out, error))
    return false;
  g_auto (NodeState) copied = {0};
  *out_found = line != NULL;
  if (line == NULL && copied_node_read (fd, kind, &copied) && copied.number != 0 &&
      (kind != STORE_NODE_MAILBOX || copied.uidvalidity != 0)) {
    *out = copied;
    copied = (NodeState){0};
    *out_found = true;
  }
  return true;
}

char *
state_escape (const char *name)
{
  if (name == NULL)
    return g_strdup ("-");
  GString *escaped = g_string_new (NULL);
  for (const char *c = name; *c != '\0'; c++) {
    if (*c <= ' ' || *c == 0x7f || *c == '%' || *c == '"' || (*c == '-' && c == name))
      g_string_append_printf (escaped, "%%%02X", (unsigned char)*c);
    else
      g_string_append_c (escaped, *c);
  }
  return g_string_free (escaped, FALSE);
}

char *
node_state_format (StoreNodeKind kind, const NodeState *state)
{
  if (kind != STORE_NODE_MAILBOX)
    return g_strdup_printf ("1 %u%s", state->number,
                            kind != STORE_NODE_USER && kind != STORE_NODE_SHARED ? ""
                            : state->no_index                                    ? " off"
                            : state->full_text                                   ? " text"
                                                                                 : " on");
  g_autofree char *name = state_escape (state->full_name);
  return g_strdup_printf ("1 %u %u %u %" G_GUINT64_FORMAT " %d %s %s", state->number,
                          state->uidvalidity, state->uidnext, state->modseq, state->subscribed,
                          state->special_use ? state->special_use : "-", name);
}

bool
node_state_write (Store *store, int fd, StoreNodeKind kind, const NodeState *state, GError **error)
{
  g_autofree char *line = node_state_format (kind, state);
  if (!write_line (store, fd, fd, attribute_names[kind], 0, line, error))
    return false;
  if (state->copied)
    copied_node_forget (fd);
  return true;
}

bool
store_state_read (int fd, StoreState *out, bool *out_found, GError **error)
{
  const char *name = attribute_names[STORE_NODE_ROOT];
  GError *failure = NULL;
  g_autofree char *line = read_line (fd, fd, name, 0, &failure);
  if (failure != NULL) {
    g_propagate_error (error, failure);
    return false;
  }
  *out_found = line != NULL;
  if (line == NULL)
    return true;
  g_auto (GStrv) fields = split (line, 4, 5, name, error);
  uint64_t next, epoch, validity;
  if (fields == NULL || !number (fields[1], UINT32_MAX, &next, name, error) ||
      !number (fields[2], UINT32_MAX, &epoch, name, error) ||
      !number (fields[3], UINT32_MAX, &validity, name, error))
    return false;
  *out = (StoreState){(uint32_t)next, (uint32_t)epoch, (uint32_t)validity};
  return true;
}

bool
store_state_write (Store *store, int fd, const StoreState *state, GError **error)
{
  g_autofree char *line =
      g_strdup_printf ("1 %u %u %u", state->next_number, state->epoch, state->last_uidvalidity);
  return write_line (store, fd, fd, attribute_names[STORE_NODE_ROOT], 0, line, error);
}
