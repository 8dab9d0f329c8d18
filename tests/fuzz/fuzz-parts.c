/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a message: its parts have safe and different names, lie in it, are as long decoded
 * as they say, and texts are UTF-8.
 */
#include "store/parts.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
check_name (const char *name)
{
  g_assert_true (g_utf8_validate (name, -1, NULL));
  g_assert_cmpuint (strlen (name), <=, PART_NAME_MAX);
  g_assert_cmpuint (strlen (name), >, 0);
  g_assert_true (strchr (".-~", name[0]) == NULL && strchr (name, '/') == NULL);
  for (const char *at = name; *at != '\0'; at = g_utf8_next_char (at))
    g_assert_false (g_unichar_iscntrl (g_utf8_get_char (at)));
}

static void
check_part (const StoreParts *parts, uint32_t index, int fd, size_t size)
{
  g_autoptr (GError) error = NULL;
  const StorePart *part = store_parts_get (parts, index);
  check_name (part->name);
  g_assert_cmpuint (store_parts_find (parts, part->parent, part->name), ==, index);
  g_assert_cmpuint (part->offset + part->raw_size, <=, size);
  g_assert_true (part->parent == STORE_PARTS_TOP || part->parent < index);
  if (part->kind == STORE_PART_MESSAGE)
    return;
  auto_fd content = store_part_open (parts, index, fd, &error);
  g_assert_no_error (error);
  g_assert_cmpint (lseek (content, 0, SEEK_END), ==, (off_t)part->size);
  if (part->kind == STORE_PART_ATTACHMENT)
    return;
  g_autofree char *text = g_malloc0 (part->size + 1);
  g_assert_cmpint (pread (content, text, part->size, 0), ==, (ssize_t)part->size);
  for (uint64_t i = 0; i < part->size; i++)
    text[i] = text[i] != '\0' ? text[i] : ' ';
  g_assert_true (g_utf8_validate (text, (gssize)part->size, NULL));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  g_autoptr (GError) error = NULL;
  auto_fd fd = memfd_create ("message", MFD_CLOEXEC);
  g_assert_cmpint (write (fd, data, size), ==, (ssize_t)size);
  g_autoptr (StoreParts) parts = store_parts_new (fd, &error);
  g_assert_no_error (error);
  for (uint32_t i = 0; i < store_parts_count (parts); i++)
    check_part (parts, i, fd, size);
  g_autofree char *text = store_parts_text (parts, fd, 10000, &error);
  g_assert_no_error (error);
  g_assert_true (g_utf8_validate (text, -1, NULL) && strlen (text) <= 10000);
  return 0;
}
