/* SPDX-License-Identifier: Apache-2.0 */
#include "store/formats/reader.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

/* Bits on their way from one width to another, the oldest on top. */
typedef struct {
  uint32_t bits;
  unsigned count;
} Bits;

static void
push_bits (Bits *self, uint32_t value, unsigned width)
{
  self->bits = self->bits << width | value;
  self->count += width;
}

static uint32_t
take_bits (Bits *self, unsigned width)
{
  self->count -= width;
  uint32_t value = self->bits >> self->count;
  self->bits &= (1u << self->count) - 1;
  return value;
}

static void
append_unit (GString *out, Bits *bits, uint32_t unit)
{
  push_bits (bits, unit, 16);
  while (bits->count >= 6)
    g_string_append_c (out, digits[take_bits (bits, 6)]);
}

static void
append_shifted (GString *out, Bits *bits, gunichar c)
{
  if (c >= 0x10000) {
    append_unit (out, bits, 0xd800 + ((c - 0x10000) >> 10));
    c = 0xdc00 + ((c - 0x10000) & 0x3ff);
  }
  append_unit (out, bits, c);
}

static void
end_shift (GString *out, Bits *bits)
{
  if (bits->count > 0)
    g_string_append_c (out, digits[bits->bits << (6 - bits->count) & 63]);
  *bits = (Bits){0};
  g_string_append_c (out, '-');
}

char *
utf7_encode (const char *text, bool (*direct) (unsigned char byte))
{
  GString *out = g_string_new (NULL);
  Bits bits = {0};
  bool shifted = false;
  for (const char *p = text; *p != '\0'; p = g_utf8_next_char (p)) {
    bool plain = *p == '&' || ((unsigned char)*p < 0x80 && direct ((unsigned char)*p));
    if (shifted && plain)
      end_shift (out, &bits);
    else if (!shifted && !plain)
      g_string_append_c (out, '&');
    shifted = !plain;
    if (*p == '&')
      g_string_append (out, "&-");
    else if (plain)
      g_string_append_c (out, *p);
    else
      append_shifted (out, &bits, g_utf8_get_char (p));
  }
  if (shifted)
    end_shift (out, &bits);
  return g_string_free (out, FALSE);
}

/* Appends a UTF-16 unit as UTF-8; `*high` is the first half of a pair that waits for its second. */
static bool
append_utf16 (GString *out, uint32_t unit, uint32_t *high)
{
  bool is_low = unit >= 0xdc00 && unit < 0xe000;
  if (is_low != (*high != 0) || unit == 0)
    return false;
  if (unit >= 0xd800 && unit < 0xdc00) {
    *high = unit;
    return true;
  }
  g_string_append_unichar (out,
                           is_low ? 0x10000 + ((*high - 0xd800) << 10) + (unit - 0xdc00) : unit);
  *high = 0;
  return true;
}

/* Decodes from behind '&' to '-'. Returns what follows, NULL when it is not valid. */
static const char *
decode_shifted (const char *p, GString *out)
{
  Bits bits = {0};
  uint32_t high = 0;
  for (; *p != '-'; p++) {
    const char *digit = *p == '\0' ? NULL : strchr (digits, *p);
    if (digit == NULL)
      return NULL;
    push_bits (&bits, (uint32_t)(digit - digits), 6);
    if (bits.count >= 16 && !append_utf16 (out, take_bits (&bits, 16), &high))
      return NULL;
  }
  return p + 1;
}

static bool
is_printable (unsigned char byte)
{
  return byte >= 0x20 && byte < 0x7f;
}

char *
utf7_decode (const char *text)
{
  g_autoptr (GString) out = g_string_new (NULL);
  for (const char *p = text; *p != '\0';) {
    if (!is_printable ((unsigned char)*p))
      return NULL;
    if (*p != '&') {
      g_string_append_c (out, *p++);
    } else if (p[1] == '-') {
      g_string_append_c (out, '&');
      p += 2;
    } else {
      p = decode_shifted (p + 1, out);
      if (p == NULL)
        return NULL;
    }
  }
  /* Two spellings must not become one name, so only the one that encoding gives is valid. */
  g_autofree char *again = utf7_encode (out->str, is_printable);
  return strcmp (again, text) == 0 ? g_string_free (g_steal_pointer (&out), FALSE) : NULL;
}
