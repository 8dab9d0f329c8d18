/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is inside a message, as a list of parts. The scanner of BODYSTRUCTURE tells where they lie
 * (parse-scan.c), so there is one judge of what is a part, with its limits.
 */
#include "store/parts.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PIECE_SIZE 65536u

/* What is looked at of a field with parameters; good mail has some hundred bytes. */
#define FIELD_MAX 8192u

G_DEFINE_AUTOPTR_CLEANUP_FUNC (GMimeContentType, g_object_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC (GMimeContentDisposition, g_object_unref)

struct StoreParts {
  gatomicrefcount references;
  GPtrArray *parts;  /* of StorePart */
  GArray *encodings; /* of GMimeContentEncoding, of each */
  GHashTable *names; /* "PARENT/NAME" -> index */
  bool are_all;
};

const char *
store_part_kind_name (StorePartKind kind)
{
  static const char *const names[] = {"header", "text", "attachment", "message"};
  return names[kind];
}

static void
part_free (StorePart *part)
{
  g_free (part->name);
  g_free (part->type);
  g_free (part->charset);
  g_free (part);
}

/* ---- what the scanner finds ----------------------------------------------------------------- */

/* A part that is open. */
typedef struct {
  ParseKind kind;
  uint32_t directory; /* where what is in it goes */
  uint32_t part;      /* what it became; STORE_PARTS_TOP: nothing, it is a multipart */
  uint64_t start;
  bool is_empty; /* nothing was found in it */
} Open;

typedef struct {
  StoreParts *self;
  GHashTable *taken; /* names, by directory; see part_name_unique() */
  Open open[PARSE_DEPTH_MAX + 1];
} Builder;

/* Takes `type` and `charset` over. */
static uint32_t
add_part (Builder *builder, StorePartKind kind, uint32_t parent, const char *name, char *type,
          char *charset, GMimeContentEncoding encoding, uint64_t offset)
{
  StoreParts *self = builder->self;
  uint32_t index = self->parts->len;
  StorePart *part = g_new0 (StorePart, 1);
  *part = (StorePart){.kind = kind, .parent = parent, .type = type, .charset = charset};
  part->offset = offset;
  part->name = part_name_unique (builder->taken, parent, name);
  g_ptr_array_add (self->parts, part);
  g_array_append_val (self->encodings, encoding);
  g_hash_table_insert (self->names, g_strdup_printf ("%u/%s", parent, part->name),
                       GUINT_TO_POINTER (index));
  return index;
}

static char *
take_field (const ParseHeader *header, ParseField field)
{
  const char *text = parse_header_get (header, field);
  return text != NULL ? g_strndup (text, strnlen (text, FIELD_MAX)) : NULL;
}

/* What the Content-* fields of a part say. */
typedef struct {
  char *type, *charset;
  char *name; /* as it was sent; NULL: none */
  bool is_attachment;
  GMimeContentEncoding encoding;
} Told;

static void
told_clear (Told *told)
{
  g_free (told->type);
  g_free (told->charset);
  g_free (told->name);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Told, told_clear)

/* The type in lower case, if it is one of the kind that the scanner took it for. */
static char *
make_type (GMimeContentType *content, ParseKind kind)
{
  static const char *const standard[] = {
      [PARSE_KIND_BASIC] = "application/octet-stream",
      [PARSE_KIND_TEXT] = "text/plain",
      [PARSE_KIND_MULTIPART] = "text/plain",
      [PARSE_KIND_MESSAGE] = "message/rfc822",
  };
  g_autofree char *raw = content != NULL ? g_mime_content_type_get_mime_type (content) : NULL;
  g_autofree char *type = raw != NULL ? g_ascii_strdown (raw, -1) : g_strdup ("");
  bool is_text = g_str_has_prefix (type, "text/");
  bool is_plain =
      strlen (type) <= 127 && g_str_is_ascii (type) && strpbrk (type, " \t%\"\\") == NULL;
  for (const char *at = type; *at != '\0'; at++)
    is_plain = is_plain && g_ascii_isgraph (*at);
  if ((kind == PARSE_KIND_BASIC && !is_text && is_plain && strchr (type, '/') != NULL) ||
      (kind == PARSE_KIND_TEXT && is_text && is_plain))
    return g_steal_pointer (&type);
  return g_strdup (standard[kind]);
}

static void
read_fields (const ParseHeader *header, ParseKind kind, Told *out)
{
  g_autofree char *type = take_field (header, PARSE_FIELD_TYPE);
  g_autofree char *disposition = take_field (header, PARSE_FIELD_DISPOSITION);
  g_autofree char *encoding = take_field (header, PARSE_FIELD_ENCODING);
  g_autoptr (GMimeContentType) content =
      type != NULL ? g_mime_content_type_parse (NULL, type) : NULL;
  g_autoptr (GMimeContentDisposition) place =
      disposition != NULL ? g_mime_content_disposition_parse (NULL, disposition) : NULL;
  const char *charset =
      content != NULL ? g_mime_content_type_get_parameter (content, "charset") : NULL;
  const char *name =
      place != NULL ? g_mime_content_disposition_get_parameter (place, "filename") : NULL;
  if (name == NULL && content != NULL)
    name = g_mime_content_type_get_parameter (content, "name");
  *out = (Told){
      .type = make_type (content, kind),
      .charset = g_strdup (charset),
      .name = g_strdup (name),
      .is_attachment = place != NULL && g_mime_content_disposition_is_attachment (place),
      .encoding = g_mime_content_encoding_from_string (encoding != NULL ? encoding : ""),
  };
}

/* What a part without a name is called: "text.html", "attachment.pdf". */
static char *
make_fallback (StorePartKind kind, const char *type)
{
  if (kind == STORE_PART_MESSAGE)
    return g_strdup ("message");
  const char *stem = kind == STORE_PART_TEXT ? "text" : "attachment";
  const char *subtype = strchr (type, '/') + 1;
  bool is_suffix = strlen (subtype) <= 8 && strcmp (subtype, "plain") != 0;
  for (const char *at = subtype; *at != '\0'; at++)
    is_suffix = is_suffix && g_ascii_isalnum (*at);
  const char *standard = g_str_has_prefix (type, "text/") ? "txt" : "bin";
  return g_strdup_printf ("%s.%s", stem, is_suffix ? subtype : standard);
}

/* A text that has a name is a file that was sent, and stays what it is. */
static uint32_t
add_told (Builder *builder, Told *told, ParseKind kind, uint32_t directory, uint64_t start)
{
  StorePartKind part = kind == PARSE_KIND_MESSAGE ? STORE_PART_MESSAGE
                       : kind == PARSE_KIND_TEXT && told->name == NULL && !told->is_attachment
                           ? STORE_PART_TEXT
                           : STORE_PART_ATTACHMENT;
  g_autofree char *fallback = make_fallback (part, told->type);
  g_autofree char *decoded = told->name != NULL ? parse_decode_text (told->name) : NULL;
  g_autofree char *name = part_name_make (decoded, fallback);
  return add_part (builder, part, directory, name, g_steal_pointer (&told->type),
                   g_steal_pointer (&told->charset), told->encoding, start);
}

static void
part_opened (const ParseHeader *header, const ParsePart *found, unsigned depth, uint64_t start,
             void *data)
{
  Builder *builder = data;
  Open *above = depth > 0 ? &builder->open[depth - 1] : NULL;
  Open *self = &builder->open[depth];
  g_auto (Told) told = {0};
  *self = (Open){.kind = found->kind, .part = STORE_PARTS_TOP, .start = start, .is_empty = true};
  self->directory = above != NULL ? above->directory : STORE_PARTS_TOP;
  if (above != NULL)
    above->is_empty = false;
  if (above == NULL || above->kind == PARSE_KIND_MESSAGE) {
    uint64_t begin = above != NULL ? above->start : 0;
    uint32_t index =
        add_part (builder, STORE_PART_HEADER, self->directory, "header.txt",
                  g_strdup ("text/rfc822-headers"), NULL, GMIME_CONTENT_ENCODING_DEFAULT, begin);
    StorePart *part = builder->self->parts->pdata[index];
    part->raw_size = start - begin;
  }
  if (found->kind == PARSE_KIND_MULTIPART)
    return;
  read_fields (header, found->kind, &told);
  self->part = add_told (builder, &told, found->kind, self->directory, start);
  if (found->kind == PARSE_KIND_MESSAGE)
    self->directory = self->part;
}

/* A multipart in which nothing was found, and a message that was not looked into, are shown as they
 * are. */
static void
part_closed (unsigned depth, uint64_t end, void *data)
{
  Builder *builder = data;
  Open *self = &builder->open[depth];
  if (self->kind == PARSE_KIND_MULTIPART && self->is_empty)
    self->part =
        add_part (builder, STORE_PART_TEXT, self->directory, "text.txt", g_strdup ("text/plain"),
                  NULL, GMIME_CONTENT_ENCODING_DEFAULT, self->start);
  if (self->part == STORE_PARTS_TOP)
    return;
  StorePart *part = builder->self->parts->pdata[self->part];
  part->raw_size = end - self->start;
  if (self->kind == PARSE_KIND_MESSAGE && self->is_empty)
    part->kind = STORE_PART_ATTACHMENT;
}

/* ---- the list ------------------------------------------------------------------------------- */

static bool
scan_message (int fd, Builder *builder, GError **error)
{
  g_autoptr (ParseScan) scan = parse_scan_new ();
  ParseWatch watch = {part_opened, part_closed, builder};
  g_autofree uint8_t *piece = g_malloc (PIECE_SIZE);
  g_auto (StoreSummary) summary = {0};
  parse_scan_watch (scan, &watch);
  for (off_t done = 0;;) {
    ssize_t got = pread (fd, piece, PIECE_SIZE, done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno (error, "read message at byte %" G_GINT64_FORMAT, (int64_t)done);
    if (got == 0)
      break;
    done += got;
    if (done > (off_t)STORE_PARTS_MESSAGE_MAX)
      return fail (error, EFBIG, "the message is larger than %u MiB",
                   STORE_PARTS_MESSAGE_MAX >> 20);
    parse_scan_feed (scan, piece, (size_t)got);
  }
  parse_scan_finish (scan, &summary);
  builder->self->are_all = (summary.damage & STORE_DAMAGE_LIMIT) == 0;
  return true;
}

static bool
count_bytes (const char *bytes, size_t size, void *data, GError **error)
{
  *(uint64_t *)data += size;
  return true;
}

PartSource
part_source (const StoreParts *self, uint32_t index)
{
  const StorePart *part = store_parts_get (self, index);
  return (PartSource){.kind = part->kind,
                      .encoding = g_array_index (self->encodings, GMimeContentEncoding, index),
                      .charset = part->charset,
                      .offset = part->offset,
                      .raw_size = part->raw_size};
}

/* How large they are is known only when they are decoded. */
static bool
measure_parts (StoreParts *self, int fd, GError **error)
{
  for (uint32_t i = 0; i < self->parts->len; i++) {
    StorePart *part = self->parts->pdata[i];
    PartSource source = part_source (self, i);
    if (part->kind != STORE_PART_MESSAGE &&
        !part_decode (fd, &source, count_bytes, &part->size, error))
      return false;
  }
  return true;
}

StoreParts *
store_parts_new (int fd, GError **error)
{
  parse_init ();
  g_autoptr (StoreParts) self = g_new0 (StoreParts, 1);
  g_autofree Builder *builder = g_new0 (Builder, 1);
  g_autoptr (GHashTable) taken = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_atomic_ref_count_init (&self->references);
  self->parts = g_ptr_array_new_with_free_func ((GDestroyNotify)part_free);
  self->encodings = g_array_new (FALSE, FALSE, sizeof (GMimeContentEncoding));
  self->names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  builder->self = self;
  builder->taken = taken;
  if (!scan_message (fd, builder, error) || !measure_parts (self, fd, error))
    return NULL;
  return g_steal_pointer (&self);
}

StoreParts *
store_parts_ref (StoreParts *self)
{
  g_atomic_ref_count_inc (&self->references);
  return self;
}

void
store_parts_unref (StoreParts *self)
{
  if (self == NULL || !g_atomic_ref_count_dec (&self->references))
    return;
  g_ptr_array_unref (self->parts);
  g_array_unref (self->encodings);
  g_hash_table_unref (self->names);
  g_free (self);
}

uint32_t
store_parts_count (const StoreParts *self)
{
  return self->parts->len;
}

const StorePart *
store_parts_get (const StoreParts *self, uint32_t index)
{
  g_assert (index < self->parts->len);
  return self->parts->pdata[index];
}

bool
store_parts_are_all (const StoreParts *self)
{
  return self->are_all;
}

uint32_t
store_parts_find (const StoreParts *self, uint32_t parent, const char *name)
{
  g_autofree char *key = g_strdup_printf ("%u/%s", parent, name);
  gpointer index;
  return g_hash_table_lookup_extended (self->names, key, NULL, &index) ? GPOINTER_TO_UINT (index)
                                                                       : STORE_PARTS_TOP;
}

/* ---- their bytes ---------------------------------------------------------------------------- */

static bool
write_bytes (const char *bytes, size_t size, void *data, GError **error)
{
  return layout_write (*(const int *)data, bytes, size, error);
}

bool
store_part_write (const StoreParts *self, uint32_t index, int fd, int out, GError **error)
{
  PartSource source = part_source (self, index);
  if (source.kind == STORE_PART_MESSAGE)
    return fail (error, EISDIR, "'%s' is a message with parts of its own",
                 store_parts_get (self, index)->name);
  return part_decode (fd, &source, write_bytes, &out, error);
}

int
store_part_open (const StoreParts *self, uint32_t index, int fd, GError **error)
{
  auto_fd out = memfd_create ("part", MFD_CLOEXEC);
  if (out < 0) {
    fail_errno (error, "make a file in memory");
    return -1;
  }
  return store_part_write (self, index, fd, out, error) ? g_steal_fd (&out) : -1;
}
