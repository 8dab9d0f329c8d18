/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of one part, decoded while they are read, so that memory does not grow with it.
 *
 * Whatever the bytes are, decoding does not fail: a charset that nobody knows is taken for UTF-8,
 * and what makes no sense in it becomes U+FFFD.
 */
#include "store/parts.h"

#include <iconv.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536u

/* More than any character has in any charset. A longer one that is not complete is none. */
#define CHARACTER_MAX 16u

#define CHARSET_NAME_MAX 40u

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

typedef struct {
  PartSinkFunc func;
  void *data;
} Sink;

static bool
put (const Sink *sink, const char *bytes, size_t size, GError **error)
{
  return size == 0 || sink->func (bytes, size, sink->data, error);
}

/* ---- charsets ------------------------------------------------------------------------------- */

typedef struct {
  iconv_t converter;
  GString *pending; /* what was not converted yet: the beginning of a character */
} Charset;

/* iconv takes more than names: "//TRANSLIT" behind one changes what it does. */
static bool
is_charset_name (const char *name)
{
  size_t size = strlen (name);
  return size > 0 && size <= CHARSET_NAME_MAX &&
         strspn (name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:+()") ==
             size;
}

static void
charset_open (Charset *self, const char *name)
{
  self->pending = g_string_new (NULL);
  self->converter = (iconv_t)-1;
  /* Of what calls itself ASCII and is not, most is UTF-8. */
  if (name != NULL && is_charset_name (name) && g_ascii_strcasecmp (name, "us-ascii") != 0)
    self->converter = iconv_open ("UTF-8", g_mime_charset_iconv_name (name));
  if (self->converter == (iconv_t)-1)
    self->converter = iconv_open ("UTF-8", "UTF-8");
}

static void
charset_clear (Charset *self)
{
  if (self->pending == NULL)
    return;
  g_string_free (self->pending, TRUE);
  if (self->converter != (iconv_t)-1)
    iconv_close (self->converter);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Charset, charset_clear)

/* iconv has characters that Unicode has not, beyond U+10FFFF. */
static bool
put_valid (const char *text, size_t size, const Sink *sink, GError **error)
{
  while (size > 0) {
    const char *bad;
    g_utf8_validate (text, (gssize)size, &bad);
    size_t good = (size_t)(bad - text);
    bool is_nul = good < size && *bad == '\0';
    if (!put (sink, text, good + is_nul, error))
      return false;
    if (good < size && !is_nul && !put (sink, REPLACEMENT, strlen (REPLACEMENT), error))
      return false;
    text = bad + (good < size);
    size -= good + (good < size);
  }
  return true;
}

/* What the converter itself kept back, until it would have seen the next character. */
static bool
charset_finish (Charset *self, const Sink *sink, GError **error)
{
  char out[64];
  char *to = out;
  size_t room = sizeof out;
  iconv (self->converter, NULL, NULL, &to, &room);
  return put_valid (out, (size_t)(to - out), sink, error);
}

/* Converts what is pending as far as it goes. */
static bool
charset_convert (Charset *self, bool is_end, const Sink *sink, GError **error)
{
  char out[CHUNK];
  char *in = self->pending->str;
  size_t left = self->pending->len;
  while (left > 0) {
    char *to = out;
    size_t room = sizeof out, before = left;
    errno = 0;
    bool good = iconv (self->converter, &in, &left, &to, &room) != (size_t)-1;
    int code = good ? 0 : errno;
    if (!put_valid (out, (size_t)(to - out), sink, error))
      return false;
    bool is_stuck = to == out && left == before;
    if (code == EINVAL && !is_end && left <= CHARACTER_MAX)
      break;
    if ((code == 0 || code == E2BIG) && !is_stuck)
      continue;
    if (!put (sink, REPLACEMENT, strlen (REPLACEMENT), error))
      return false;
    in++, left--;
  }
  g_string_erase (self->pending, 0, (gssize)(self->pending->len - left));
  return !is_end || charset_finish (self, sink, error);
}

/* ---- header blocks -------------------------------------------------------------------------- */

/* One field a line, as people read it. Lines that are no field stay what they are. */
static bool
put_header (GString *raw, const Sink *sink, GError **error)
{
  for (size_t i = 0; i < raw->len; i++)
    if (raw->str[i] == '\0')
      raw->str[i] = '?';
  const char *at = raw->str;
  while (*at != '\0') {
    const char *end = at;
    do
      end += strcspn (end, "\n") + 1;
    while (end < raw->str + raw->len && (*end == ' ' || *end == '\t'));
    end = MIN (end, (const char *)raw->str + raw->len);
    g_autofree char *field = g_strndup (at, (size_t)(end - at));
    g_strchomp (field);
    g_autoptr (GString) unfolded = g_string_new (field);
    g_string_replace (unfolded, "\r\n", "", 0);
    g_string_replace (unfolded, "\n", "", 0);
    g_autofree char *text = parse_decode_text (unfolded->str);
    if (*text != '\0' && (!put (sink, text, strlen (text), error) || !put (sink, "\n", 1, error)))
      return false;
    at = end;
  }
  return true;
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* Where what is read goes through. */
typedef struct {
  const PartSource *source;
  Sink sink;
  GMimeFilter *filter; /* NULL: the bytes are sent as they are */
  Charset charset;
  GString *header;
} Decoder;

static void
decoder_clear (Decoder *self)
{
  g_clear_object (&self->filter);
  charset_clear (&self->charset);
  if (self->header != NULL)
    g_string_free (self->header, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Decoder, decoder_clear)

static void
decoder_open (Decoder *self, const PartSource *source)
{
  self->source = source;
  if (source->kind == STORE_PART_HEADER)
    self->header = g_string_new (NULL);
  if (source->kind == STORE_PART_TEXT)
    charset_open (&self->charset, source->charset);
  if (source->encoding == GMIME_CONTENT_ENCODING_BASE64 ||
      source->encoding == GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE ||
      source->encoding == GMIME_CONTENT_ENCODING_UUENCODE)
    self->filter = g_mime_filter_basic_new (source->encoding, FALSE);
}

/* The next bytes as they stand in the file; the last ones with `is_end`. */
static bool
decoder_take (Decoder *self, char *bytes, size_t size, bool is_end, GError **error)
{
  if (self->header != NULL) {
    size_t room = PARSE_HEADER_MAX - MIN (self->header->len, PARSE_HEADER_MAX);
    g_string_append_len (self->header, bytes, (gssize)MIN (size, room));
    return !is_end || put_header (self->header, &self->sink, error);
  }
  if (self->filter != NULL) {
    size_t prespace;
    (is_end ? g_mime_filter_complete : g_mime_filter_filter) (self->filter, bytes, size, 0, &bytes,
                                                              &size, &prespace);
  }
  if (self->charset.pending == NULL)
    return put (&self->sink, bytes, size, error);
  g_string_append_len (self->charset.pending, bytes, (gssize)size);
  return charset_convert (&self->charset, is_end, &self->sink, error);
}

bool
part_decode (int fd, const PartSource *source, PartSinkFunc sink, void *data, GError **error)
{
  g_auto (Decoder) decoder = {.sink = {sink, data}};
  g_autofree char *chunk = g_malloc (CHUNK);
  decoder_open (&decoder, source);
  for (uint64_t done = 0;;) {
    uint64_t wanted = MIN (CHUNK, source->raw_size - done);
    ssize_t got = pread (fd, chunk, wanted, (off_t)(source->offset + done));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno (error, "read message at byte %" G_GUINT64_FORMAT, source->offset + done);
    done += (uint64_t)got;
    bool is_end = got == 0 || done == source->raw_size;
    if (!decoder_take (&decoder, chunk, (size_t)got, is_end, error))
      return false;
    if (is_end)
      return true;
  }
}
