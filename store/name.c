/* SPDX-License-Identifier: Apache-2.0 */
/* Names on disk: messages by UID, mailboxes escaped. The grammar is in docs/format.md. */
#include "store/internal.h"

#include <string.h>

#define NAME_BYTES_MAX 255

void
store_message_name (uint32_t uid, char out[STORE_NAME_SIZE])
{
  /* A walk makes one of these for every message, so it does without printf. */
  memcpy (out, "0000000000.eml", STORE_NAME_SIZE - 1);
  for (char *digit = out + 9; uid > 0; uid /= 10)
    *digit-- = (char)('0' + uid % 10);
}

uint32_t
store_message_uid (const char *name)
{
  uint64_t uid = 0;
  for (int i = 0; i < 10; i++) {
    if (!g_ascii_isdigit (name[i]))
      return 0;
    uid = uid * 10 + (uint64_t)(name[i] - '0');
  }
  return strcmp (name + 10, ".eml") == 0 && uid <= STORE_UID_MAX ? (uint32_t)uid : 0;
}

/* Whether the name would be taken for a message: ten digits, perhaps "~" and 8 hex digits, ".eml".
 */
static bool
looks_like_message (const char *name)
{
  for (int i = 0; i < 10; i++) {
    if (!g_ascii_isdigit (name[i]))
      return false;
  }
  const char *rest = name + 10;
  if (*rest == '~') {
    for (int i = 1; i <= 8; i++) {
      if (!g_ascii_isxdigit (rest[i]) || g_ascii_isupper (rest[i]))
        return false;
    }
    rest += 9;
  }
  return strcmp (rest, ".eml") == 0;
}

/* Length of the UTF-8 character at `c`; 0 when it is none or must be escaped. */
static size_t
plain_length (const char *c)
{
  gunichar character = g_utf8_get_char_validated (c, -1);
  if (character == (gunichar)-1 || character == (gunichar)-2)
    return 0;
  if (character < 0x20 || character == 0x7f || character == '/' || character == '%')
    return 0;
  return (size_t)(g_utf8_next_char (c) - c);
}

static void
append_escaped (GString *text, unsigned char byte)
{
  g_string_append_printf (text, "%%%02X", byte);
}

/* Cuts an escaped name so that "~" and 8 hex digits of its hash fit behind it. */
static void
cut (GString *escaped, const char *name)
{
  g_autofree char *hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, name, -1);
  size_t end = NAME_BYTES_MAX - 9;
  while (end > 0 && ((unsigned char)escaped->str[end] & 0xc0) == 0x80)
    end--;
  if (escaped->str[end - 1] == '%')
    end -= 1;
  else if (escaped->str[end - 2] == '%')
    end -= 2;
  g_string_truncate (escaped, end);
  g_string_append_printf (escaped, "~%.8s", hash);
}

char *
store_name_escape (const char *name, bool *out_lossy)
{
  GString *escaped = g_string_new (*name == '\0' ? "%" : NULL);
  const char *c = name;
  if (*c == '.' || looks_like_message (name))
    append_escaped (escaped, (unsigned char)*c++);
  while (*c != '\0') {
    size_t length = plain_length (c);
    if (length > 0)
      g_string_append_len (escaped, c, (gssize)length);
    else
      append_escaped (escaped, (unsigned char)*c);
    c += length > 0 ? length : 1;
  }
  bool lossy = escaped->len > NAME_BYTES_MAX;
  if (lossy)
    cut (escaped, name);
  if (out_lossy != NULL)
    *out_lossy = lossy;
  return g_string_free (escaped, FALSE);
}

char *
store_name_unescape (const char *name)
{
  GString *plain = g_string_new (NULL);
  for (const char *c = name; *c != '\0'; c++) {
    if (*c == '%' && g_ascii_isxdigit (c[1]) && g_ascii_isxdigit (c[2])) {
      char byte = (char)(g_ascii_xdigit_value (c[1]) << 4 | g_ascii_xdigit_value (c[2]));
      /* A NUL cannot be in a name; what claims to be one stays as it is. */
      if (byte != '\0') {
        g_string_append_c (plain, byte);
        c += 2;
        continue;
      }
    }
    if (!(*c == '%' && c == name && c[1] == '\0'))
      g_string_append_c (plain, *c);
  }
  return g_string_free (plain, FALSE);
}

char *
store_text_printable (const char *text)
{
  GString *printable = g_string_new (NULL);
  const char *c = text;
  while (*c != '\0') {
    gunichar character = g_utf8_get_char_validated (c, -1);
    bool valid = character != (gunichar)-1 && character != (gunichar)-2;
    size_t length = valid ? (size_t)(g_utf8_next_char (c) - c) : 1;
    if (valid && !g_unichar_iscntrl (character) && g_unichar_type (character) != G_UNICODE_FORMAT)
      g_string_append_len (printable, c, (gssize)length);
    else
      for (size_t i = 0; i < length; i++)
        g_string_append_printf (printable, "\\x%02x", (unsigned char)c[i]);
    c += length;
  }
  return g_string_free (printable, FALSE);
}
