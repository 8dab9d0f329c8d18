/* SPDX-License-Identifier: Apache-2.0 */
#include "store/formats/reader.h"

#include <string.h>

#define KEYWORD_MAX 256u /* bytes of one keyword */
#define KEYWORDS_MAX                                                                               \
  2048u /* bytes of all keywords of a message; an attribute holds 4 KiB on ext4 */

/* ATOM-CHAR of RFC 3501, 9; a keyword cannot begin with '\' either, which is none. */
static bool
is_atom_char (unsigned char byte)
{
  return byte > 0x20 && byte < 0x7f && strchr ("(){%*\"\\]", byte) == NULL;
}

static bool
is_atom (const char *name)
{
  for (const char *p = name; *p != '\0'; p++)
    if (!is_atom_char ((unsigned char)*p))
      return false;
  return *name != '\0';
}

char *
keywords_make_valid (const char *name)
{
  g_autofree char *valid = NULL;
  if (strlen (name) > KEYWORD_MAX)
    return NULL;
  if (is_atom (name)) {
    valid = g_strdup (name);
  } else {
    g_autofree char *utf8 = g_utf8_make_valid (name, -1);
    valid = utf7_encode (utf8, is_atom_char);
  }
  size_t length = strlen (valid);
  return length > 0 && length <= KEYWORD_MAX ? g_steal_pointer (&valid) : NULL;
}

void
keywords_init (Keywords *self)
{
  *self = (Keywords){.names = g_ptr_array_new_with_free_func (g_free), .text = g_string_new (NULL)};
}

void
keywords_clear (Keywords *self)
{
  if (self->names == NULL)
    return;
  g_ptr_array_unref (self->names);
  g_string_free (self->text, TRUE);
}

void
keywords_reset (Keywords *self)
{
  g_ptr_array_set_size (self->names, 0);
  self->full = false;
  g_string_truncate (self->text, 0);
}

bool
keywords_add (Keywords *self, const char *name)
{
  g_autofree char *valid = self->full ? NULL : keywords_make_valid (name);
  if (valid == NULL)
    return false;
  guint at = 0;
  size_t size = strlen (valid);
  int order = 1;
  for (guint i = 0; i < self->names->len; i++) {
    const char *other = g_ptr_array_index (self->names, i);
    size += strlen (other) + 1;
    order = strcmp (valid, other);
    if (order == 0)
      return true;
    if (order > 0)
      at = i + 1;
  }
  self->full = size > KEYWORDS_MAX;
  if (self->full)
    return false;
  g_ptr_array_insert (self->names, (int)at, g_steal_pointer (&valid));
  return true;
}

const char *
keywords_text (Keywords *self)
{
  g_string_truncate (self->text, 0);
  for (guint i = 0; i < self->names->len; i++)
    g_string_append_printf (self->text, "%s%s", i == 0 ? "" : " ",
                            (const char *)g_ptr_array_index (self->names, i));
  return self->text->len > 0 ? self->text->str : NULL;
}
