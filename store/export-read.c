/* SPDX-License-Identifier: Apache-2.0 */
/* An export, read: JSON lines that somebody may have written by hand, so nothing is taken for
 * granted. */
#include "store/export-read.h"

#include <json-glib/json-glib.h>
#include <string.h>

/* A line with all keywords that a file can hold is shorter by far. */
#define LINE_MAX_BYTES (1u << 20)

/* An export has lists in objects, and no more; the parser calls itself for each level. */
#define DEPTH_MAX 16u

struct ExportReader {
  char *path;
  FILE *file;
  char *line; /* with room for LINE_MAX_BYTES, a newline and the end */
  uint64_t lines, messages;
  char *top; /* what the paths are relative to, below mail/ */
  JsonParser *parser;
  JsonObject *object; /* of the line that was read last; NULL: it was used */
  bool ended;
};

void
told_clear (Told *told)
{
  g_clear_pointer (&told->path, g_free);
  g_clear_pointer (&told->messages, g_array_unref);
}

static void
clear_message (gpointer data)
{
  g_free (((ToldMessage *)data)->keywords);
}

/* ---- members ------------------------------------------------------------------------------- */

static JsonNode *
get_value (JsonObject *object, const char *key, GType type)
{
  JsonNode *node = json_object_get_member (object, key);
  bool good =
      node != NULL && JSON_NODE_HOLDS_VALUE (node) && json_node_get_value_type (node) == type;
  return good ? node : NULL;
}

static const char *
get_text (JsonObject *object, const char *key)
{
  JsonNode *node = get_value (object, key, G_TYPE_STRING);
  return node != NULL ? json_node_get_string (node) : NULL;
}

/* 0 where there is none, or one that is larger. */
static uint64_t
get_uint (JsonObject *object, const char *key, uint64_t max)
{
  JsonNode *node = get_value (object, key, G_TYPE_INT64);
  int64_t value = node != NULL ? json_node_get_int (node) : 0;
  return value > 0 && (uint64_t)value <= max ? (uint64_t)value : 0;
}

static bool
get_bool (JsonObject *object, const char *key, bool standard)
{
  JsonNode *node = get_value (object, key, G_TYPE_BOOLEAN);
  return node != NULL ? json_node_get_boolean (node) : standard;
}

/* The words of a list, each with a space before it. */
static void
add_words (JsonObject *object, const char *key, GString *text)
{
  JsonNode *node = json_object_get_member (object, key);
  JsonArray *array =
      node != NULL && JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;
  for (guint i = 0; array != NULL && i < json_array_get_length (array); i++) {
    JsonNode *word = json_array_get_element (array, i);
    if (JSON_NODE_HOLDS_VALUE (word) && json_node_get_value_type (word) == G_TYPE_STRING)
      g_string_append_printf (text, " %s", json_node_get_string (word));
  }
}

static bool
get_digest (JsonObject *object, uint8_t out[32])
{
  const char *text = get_text (object, "sha256");
  memset (out, 0, 32);
  if (text == NULL)
    return true;
  for (size_t i = 0; i < 64; i++) {
    int digit = g_ascii_xdigit_value (text[i]);
    if (digit < 0)
      return false;
    out[i / 2] = (uint8_t)(out[i / 2] << 4 | digit);
  }
  return text[64] == '\0';
}

/* ---- lines --------------------------------------------------------------------------------- */

static bool
fail_line (const ExportReader *self, const char *what, GError **error)
{
  return fail (error, EINVAL, "%s, line %" G_GUINT64_FORMAT ": %s", self->path, self->lines, what);
}

/* How deep lists and objects lie in one another; brackets in strings count as none. What JSON does
 * not have, and the parser takes for a comment or another kind of string, is too deep. */
static unsigned
depth_of (const char *json)
{
  unsigned depth = 0, deepest = 0;
  bool quoted = false;
  for (const char *c = json; *c != '\0'; c++) {
    if (quoted && *c == '\\' && c[1] != '\0')
      c++;
    else if (*c == '"')
      quoted = !quoted;
    else if (!quoted && strchr ("/#'", *c) != NULL)
      return UINT_MAX;
    else if (!quoted && (*c == '[' || *c == '{'))
      deepest = MAX (deepest, ++depth);
    else if (!quoted && (*c == ']' || *c == '}') && depth > 0)
      depth--;
  }
  return deepest;
}

/* NULL: it makes no sense. */
static JsonNode *
parse_line (ExportReader *self, size_t size)
{
  g_clear_object (&self->parser);
  self->parser = json_parser_new ();
  return depth_of (self->line) <= DEPTH_MAX &&
                 json_parser_load_from_data (self->parser, self->line, (gssize)size, NULL)
             ? json_parser_get_root (self->parser)
             : NULL;
}

/* Reads a line into `object`, unless the last one was not used; NULL at the end of the file. */
static bool
read_line (ExportReader *self, GError **error)
{
  if (self->object != NULL)
    return true;
  if (fgets (self->line, LINE_MAX_BYTES + 2, self->file) == NULL)
    return !ferror (self->file) || fail_errno (error, "read %s", self->path);
  self->lines++;
  size_t size = strlen (self->line);
  if (size > LINE_MAX_BYTES && self->line[size - 1] != '\n')
    return fail_line (self, "it is too long", error);
  JsonNode *root = parse_line (self, size);
  if (root == NULL || !JSON_NODE_HOLDS_OBJECT (root) ||
      get_text (json_node_get_object (root), "type") == NULL)
    return !feof (self->file) ? fail_line (self, "no object with a type", error)
                              : fail (error, EUCLEAN, "%s is cut off in line %" G_GUINT64_FORMAT,
                                      self->path, self->lines);
  self->object = json_node_get_object (root);
  return true;
}

static bool
is_type (const ExportReader *self, const char *type)
{
  return self->object != NULL && strcmp (get_text (self->object, "type"), type) == 0;
}

/* The member "path" as it is below mail/; NULL when it is missing. */
static char *
take_path (const ExportReader *self)
{
  const char *path = get_text (self->object, "path");
  if (path == NULL)
    return NULL;
  return *self->top != '\0' && *path != '\0' ? g_build_filename (self->top, path, NULL)
                                             : g_strdup (*path != '\0' ? path : self->top);
}

static bool
take_message (ExportReader *self, Told *mailbox, GError **error)
{
  JsonObject *object = self->object;
  g_autofree char *path = take_path (self);
  g_autofree char *directory = path != NULL ? g_path_get_dirname (path) : NULL;
  g_autofree char *name = path != NULL ? g_path_get_basename (path) : NULL;
  g_autoptr (GDateTime) time = NULL;
  g_autoptr (GString) flags = g_string_new (NULL);
  ToldMessage message = {.uid = (uint32_t)get_uint (object, "uid", STORE_UID_MAX),
                         .modseq = get_uint (object, "modseq", INT64_MAX),
                         .size = get_uint (object, "size", INT64_MAX)};
  const char *date = get_text (object, "internaldate");
  if (mailbox == NULL || g_strcmp0 (directory, mailbox->path) != 0 || message.uid == 0 ||
      store_message_uid (name) != message.uid)
    return fail_line (self, "the message is in no mailbox above it", error);
  if (date == NULL || (time = g_date_time_new_from_iso8601 (date, NULL)) == NULL)
    return fail_line (self, "no internal date", error);
  add_words (object, "flags", flags);
  add_words (object, "keywords", flags);
  if (!get_digest (object, message.sha256) ||
      !store_flags_parse (flags->str, &message.flags, &message.keywords, NULL))
    return fail_line (self, "flags, keywords or the digest make no sense", error);
  message.internal_s = g_date_time_to_unix (time);
  g_array_append_val (mailbox->messages, message);
  self->messages++;
  return true;
}

static gint
compare_messages (gconstpointer a, gconstpointer b)
{
  return layout_compare_uids (&((const ToldMessage *)a)->uid, &((const ToldMessage *)b)->uid);
}

/* Each UID is told of once. */
static bool
sort_messages (const ExportReader *self, Told *mailbox, GError **error)
{
  g_array_sort (mailbox->messages, compare_messages);
  for (guint i = 1; i < mailbox->messages->len; i++) {
    if (g_array_index (mailbox->messages, ToldMessage, i).uid ==
        g_array_index (mailbox->messages, ToldMessage, i - 1).uid)
      return fail (error, EINVAL, "%s tells of message %u in '%s' twice", self->path,
                   g_array_index (mailbox->messages, ToldMessage, i).uid, mailbox->path);
  }
  return true;
}

static bool
take_mailbox (ExportReader *self, Told *out, GError **error)
{
  JsonObject *object = self->object;
  const char *special_use = get_text (object, "special_use");
  out->uidvalidity = (uint32_t)get_uint (object, "uidvalidity", UINT32_MAX);
  out->uidnext = (uint32_t)get_uint (object, "uidnext", UID_BELIEVED_MAX);
  out->subscribed = get_bool (object, "subscribed", false);
  out->special_use = special_use != NULL ? store_special_use (special_use, NULL) : NULL;
  out->is_mailbox = true;
  out->messages = g_array_new (FALSE, FALSE, sizeof (ToldMessage));
  g_array_set_clear_func (out->messages, clear_message);
  if (out->uidvalidity == 0 || out->uidnext == 0)
    return fail_line (self, "no UIDVALIDITY, or no next UID", error);
  for (self->object = NULL; read_line (self, error); self->object = NULL) {
    if (!is_type (self, "message"))
      return sort_messages (self, out, error);
    if (!take_message (self, out, error))
      return false;
  }
  return false;
}

static bool
take_end (ExportReader *self, GError **error)
{
  uint64_t messages = get_uint (self->object, "messages", INT64_MAX);
  self->object = NULL;
  self->ended = true;
  return messages == self->messages ||
         fail (error, EUCLEAN,
               "%s tells of %" G_GUINT64_FORMAT " messages, and should of %" G_GUINT64_FORMAT,
               self->path, self->messages, messages);
}

static bool
take_directory (ExportReader *self, Told *out, GError **error)
{
  bool mailbox = is_type (self, "mailbox");
  Told told = {.path = take_path (self),
               .number = (uint32_t)get_uint (self->object, "number", NUMBER_BELIEVED_MAX),
               .no_index = !get_bool (self->object, "index", true),
               .full_text = get_bool (self->object, "full_text", false)};
  bool good = told.path != NULL || fail_line (self, "no path", error);
  if (good && mailbox)
    good = take_mailbox (self, &told, error);
  else
    self->object = NULL;
  if (!good) {
    told_clear (&told);
    return false;
  }
  *out = told;
  return true;
}

bool
export_reader_next (ExportReader *self, Told *out, GError **error)
{
  while (!self->ended) {
    if (!read_line (self, error))
      return false;
    if (self->object == NULL)
      return fail (error, EUCLEAN, "%s ends before its end", self->path);
    if (is_type (self, "directory") || is_type (self, "mailbox"))
      return take_directory (self, out, error);
    if (is_type (self, "message"))
      return take_message (self, NULL, error);
    /* Versions to come may tell of more. */
    if (!is_type (self, "end"))
      self->object = NULL;
    else if (!take_end (self, error))
      return false;
  }
  *out = (Told){0};
  return true;
}

/* The first line says what all the others are about. */
static bool
take_store (ExportReader *self, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (!read_line (self, &failure) || !is_type (self, "store"))
    return fail (error, EINVAL, "%s is no export of a store", self->path);
  const char *top = get_text (self->object, "directory");
  self->top = g_strdup (top != NULL ? top : "");
  self->object = NULL;
  return true;
}

ExportReader *
export_reader_new (FILE *file, const char *path, GError **error)
{
  g_autoptr (ExportReader) self = g_new0 (ExportReader, 1);
  self->path = g_strdup (path);
  self->file = file;
  self->line = g_malloc (LINE_MAX_BYTES + 2);
  rewind (file);
  return take_store (self, error) ? g_steal_pointer (&self) : NULL;
}

void
export_reader_free (ExportReader *self)
{
  if (self == NULL)
    return;
  g_free (self->line);
  g_clear_object (&self->parser);
  g_free (self->top);
  g_free (self->path);
  g_free (self);
}
