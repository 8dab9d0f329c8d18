/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store tells of its messages for others to keep: their digests (the manifest), and every
 * fact that the files alone cannot give (the export).
 *
 * Both are written while the store is walked, one page of messages after the other, so memory does
 * not grow with the store. No lock is held while anything is written: what comes or goes meanwhile
 * may be in it or not, but each line is true.
 */
#include "store/internal.h"

#include <stdio.h>
#include <string.h>

/* Messages that are looked at together. */
#define PAGE 128u

typedef struct Export Export;

/* One live message. */
typedef struct {
  const StoreMessage *message;
  char *path;         /* below the node that the export is of */
  uint8_t sha256[32]; /* of the bytes that were delivered */
  bool known;         /* so it is; else that is zeros */
  bool damaged;       /* the bytes are others, or cannot be read */
} Exported;

struct Export {
  Store *store;
  FILE *out;
  bool (*write_node) (Export *self, const StoreNode *node, StoreMailbox *mailbox, const char *path,
                      GError **error); /* `mailbox` is NULL for what is none */
  void (*write_message) (Export *self, const Exported *exported);
  uint64_t messages, known;
};

/* ---- digests ------------------------------------------------------------------------------- */

char *
store_digest_string (const uint8_t sha256[32])
{
  GString *hex = g_string_sized_new (64);
  for (size_t i = 0; i < 32; i++)
    g_string_append_printf (hex, "%02x", sha256[i]);
  return g_string_free (hex, FALSE);
}

/* What the index knows of a page: whole digests, parts of them, or zeros. One look of all at it. */
static void
ask_index (StoreMailbox *mailbox, const StoreMessage *page, size_t count, uint8_t out[][32])
{
  memset (out, 0, count * sizeof *out);
  g_autoptr (Handle) handle = cache_index (mailbox->store, mailbox->owner, false, NULL);
  g_autoptr (IndexRead) read = handle != NULL ? index_read_begin (handle->index, NULL) : NULL;
  for (size_t i = 0; read != NULL && i < count; i++) {
    uint64_t size;
    bool found;
    if (!index_digest_get (read, mailbox->number, page[i].uid, &size, out[i], &found, NULL))
      return;
  }
}

/* Reads the file of one whose whole digest nobody knows. What is known in part, by the index or the
 * file's state, must fit. False when the message is gone. */
static bool
ask_file (StoreMailbox *mailbox, uint32_t uid, Exported *exported)
{
  g_auto (MessageState) state = {0};
  struct stat st;
  uint8_t part[32], actual[32];
  bool found;
  g_autoptr (GError) failure = NULL;
  auto_fd fd = store_message_open (mailbox, uid, &failure);
  if (error_code (failure) == ESTALE)
    return false;
  memcpy (part, exported->sha256, sizeof part);
  memset (exported->sha256, 0, sizeof exported->sha256);
  if (fd >= 0 && digest_prefix (part) == 0 &&
      message_state_read (mailbox->fd, fd, uid, &state, &found, NULL) && found)
    digest_from_prefix (state.digest, part);
  exported->known = fd >= 0 && fstat (fd, &st) == 0 &&
                    message_digest (fd, (uint64_t)st.st_size, NULL, 0, actual, NULL) &&
                    digest_matches (part, actual);
  exported->damaged = !exported->known;
  if (exported->known)
    memcpy (exported->sha256, actual, sizeof actual);
  return true;
}

/* To be asked at once, while errno still is what a write that failed has left. */
static bool
check_output (const Export *self, GError **error)
{
  return !ferror (self->out) || fail_errno (error, "write");
}

static bool
export_message (Export *self, StoreMailbox *mailbox, const StoreMessage *message,
                const uint8_t sha256[32], const char *directory, GError **error)
{
  char name[STORE_NAME_SIZE];
  store_message_name (message->uid, name);
  g_autofree char *path =
      *directory != '\0' ? g_build_filename (directory, name, NULL) : g_strdup (name);
  Exported exported = {.message = message,
                       .path = path,
                       .known = digest_is_whole (sha256),
                       .damaged = (message->damage & STORE_DAMAGE_GRAVE) != 0};
  memcpy (exported.sha256, sha256, sizeof exported.sha256);
  if (!exported.known && !ask_file (mailbox, message->uid, &exported))
    return true;
  self->messages++;
  self->known += exported.known;
  self->write_message (self, &exported);
  return check_output (self, error);
}

/* ---- the walk ------------------------------------------------------------------------------ */

static bool
export_mailbox (Export *self, StoreMailbox *mailbox, const char *path, GError **error)
{
  StoreMessage page[PAGE];
  uint8_t digests[PAGE][32];
  size_t count = 1;
  for (uint32_t after = 0; count > 0;) {
    if (!store_mailbox_page (mailbox, after, page, PAGE, &count, error))
      return false;
    ask_index (mailbox, page, count, digests);
    bool good = true;
    for (size_t i = 0; i < count && good; i++)
      good = export_message (self, mailbox, &page[i], digests[i], path, error);
    after = count > 0 ? page[count - 1].uid : after;
    store_messages_clear (page, count);
    if (!good)
      return false;
  }
  return true;
}

static bool
export_node (const StoreNode *node, const char *path, void *data, GError **error)
{
  Export *self = data;
  if (node->kind != STORE_NODE_MAILBOX)
    return self->write_node (self, node, NULL, path, error);
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->store, node->number, error);
  return mailbox != NULL && self->write_node (self, node, mailbox, path, error) &&
         export_mailbox (self, mailbox, path, error);
}

static bool
export_tree (Export *self, const StoreNode *node, GError **error)
{
  return node_each_below (self->store, node, export_node, self, error);
}

/* When what is exported was so. */
static int64_t
export_time (const Export *self)
{
  const StoreSnapshot *snapshot = store_snapshot_of (self->store);
  return snapshot != NULL ? snapshot->taken_ns / G_GINT64_CONSTANT (1000000000) : record_now ();
}

/* `out_path`: of the node, for the first line. */
static bool
begin (Export *self, uint32_t number, StoreNode *out_node, char **out_path, GError **error)
{
  g_auto (StoreNode) node = {0};
  if (!store_node_get (self->store, number, &node, error) ||
      (*out_path = store_node_path (self->store, number, error)) == NULL)
    return false;
  *out_node = node;
  node = (StoreNode){0};
  return true;
}

static char *
format_time (int64_t time_s)
{
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_utc (time_s);
  return time != NULL ? g_date_time_format (time, "%Y-%m-%dT%H:%M:%SZ") : NULL;
}

static bool
finish (const Export *self, GError **error)
{
  return fflush (self->out) == 0 ? check_output (self, error) : fail_errno (error, "write");
}

/* ---- the manifest -------------------------------------------------------------------------- */

/* As sha256sum(1) writes names, one a line; `*out_escaped` says that the line is to tell so. */
static char *
escape_name (const char *name, bool *out_escaped)
{
  GString *text = g_string_new (NULL);
  *out_escaped = strpbrk (name, "\\\n\r") != NULL;
  for (const char *at = name; *at != '\0'; at++) {
    switch (*at) {
    case '\\': g_string_append (text, "\\\\"); break;
    case '\n': g_string_append (text, "\\n"); break;
    case '\r': g_string_append (text, "\\r"); break;
    default: g_string_append_c (text, *at);
    }
  }
  return g_string_free (text, FALSE);
}

static bool
pass_node (Export *self, const StoreNode *node, StoreMailbox *mailbox, const char *path,
           GError **error)
{
  return true;
}

void
manifest_write_line (FILE *out, const uint8_t sha256[32], const char *path, bool damaged)
{
  bool escaped;
  g_autofree char *name = escape_name (path, &escaped);
  g_autofree char *digest = sha256 != NULL ? store_digest_string (sha256) : NULL;
  if (damaged)
    fprintf (out, "# damaged %s\n", name);
  if (digest != NULL)
    fprintf (out, "%s%s  %s\n", escaped ? "\\" : "", digest, name);
}

/* A damaged message keeps its line: it is to fail where somebody checks it, until it is restored.
 */
static void
write_digest (Export *self, const Exported *exported)
{
  manifest_write_line (self->out, exported->known ? exported->sha256 : NULL, exported->path,
                       exported->damaged);
}

bool
store_manifest_write (Store *self, uint32_t number, FILE *out, GError **error)
{
  Export export = {
      .store = self, .out = out, .write_node = pass_node, .write_message = write_digest};
  g_auto (StoreNode) node = {0};
  g_autofree char *path = NULL;
  if (!begin (&export, number, &node, &path, error))
    return false;
  bool escaped;
  g_autofree char *name = escape_name (path, &escaped);
  g_autofree char *time = format_time (export_time (&export));
  fprintf (out, "# store %s\n# directory /%s\n# time %s\n", self->uuid, name, time);
  if (!export_tree (&export, &node, error))
    return false;
  if (export.known == export.messages)
    fprintf (out, "# complete: %" G_GUINT64_FORMAT " messages\n", export.messages);
  else
    fprintf (out, "# incomplete: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " messages\n",
             export.known, export.messages);
  return finish (&export, error);
}

/* ---- the manifest as JSON ------------------------------------------------------------------ */

/* An object of the array. */
static void
write_manifest_object (Export *self, const Exported *exported)
{
  const StoreMessage *message = exported->message;
  bool found_now = exported->damaged && (message->damage & STORE_DAMAGE_GRAVE) == 0;
  g_autoptr (GString) json = json_begin ("message");
  g_autofree char *damage =
      store_damage_to_string (message->damage | (found_now ? STORE_DAMAGE_DIGEST : 0));
  g_autofree char *time = format_time (message->internal_s);
  g_autofree char *digest = store_digest_string (exported->sha256);
  json_string (json, "path", exported->path);
  json_uint (json, "uid", message->uid);
  json_uint (json, "size", message->size);
  json_string (json, "sha256", exported->known ? digest : NULL);
  json_string (json, "internaldate", time);
  json_words (json, "damage", damage);
  fprintf (self->out, "%s%s}", self->messages > 1 ? ",\n" : "\n", json->str);
}

bool
store_manifest_json_write (Store *self, uint32_t number, FILE *out, GError **error)
{
  Export export = {
      .store = self, .out = out, .write_node = pass_node, .write_message = write_manifest_object};
  g_auto (StoreNode) node = {0};
  g_autofree char *path = NULL;
  if (!begin (&export, number, &node, &path, error))
    return false;
  g_autofree char *time = format_time (export_time (&export));
  g_autoptr (GString) first = json_begin ("manifest");
  json_string (first, "store", self->uuid);
  json_string (first, "directory", path);
  json_string (first, "time", time);
  fprintf (out, "%s,\"messages\":[", first->str);
  if (!export_tree (&export, &node, error))
    return false;
  fprintf (out, "],\n\"count\":%" G_GUINT64_FORMAT ",\"complete\":%s}\n", export.messages,
           export.known == export.messages ? "true" : "false");
  return finish (&export, error);
}

/* ---- the export ---------------------------------------------------------------------------- */

static void
write_line (Export *self, GString *json)
{
  json_end (json);
  fputs (json->str, self->out);
}

static bool
write_mailbox (Export *self, const StoreNode *node, StoreMailbox *mailbox, const char *path,
               GError **error)
{
  StoreMailboxInfo info;
  if (!store_mailbox_info (mailbox, &info, error))
    return false;
  g_autoptr (GString) json = json_begin ("mailbox");
  g_autofree char *name =
      node->full_name != NULL ? g_strdup (node->full_name) : store_name_unescape (node->name);
  json_string (json, "path", path);
  json_string (json, "name", name);
  json_uint (json, "number", node->number);
  json_uint (json, "uidvalidity", info.uidvalidity);
  json_uint (json, "uidnext", info.uidnext);
  json_uint (json, "highestmodseq", info.highestmodseq);
  json_bool (json, "subscribed", node->subscribed);
  json_string (json, "special_use", node->special_use);
  write_line (self, json);
  return check_output (self, error);
}

/* Users and what is above them; the root has no facts. */
static bool
write_node (Export *self, const StoreNode *node, StoreMailbox *mailbox, const char *path,
            GError **error)
{
  if (mailbox != NULL)
    return write_mailbox (self, node, mailbox, path, error);
  if (node->kind == STORE_NODE_ROOT)
    return true;
  g_autoptr (GString) json = json_begin ("directory");
  json_string (json, "path", path);
  json_uint (json, "number", node->number);
  StoreIndexing indexing;
  if (store_user_index (self->store, node->number, &indexing, NULL)) {
    json_bool (json, "index", indexing != STORE_INDEX_OFF);
    if (indexing == STORE_INDEX_TEXT)
      json_bool (json, "full_text", true);
  }
  write_line (self, json);
  return check_output (self, error);
}

static void
write_message (Export *self, const Exported *exported)
{
  const StoreMessage *message = exported->message;
  g_autoptr (GString) json = json_begin ("message");
  g_autofree char *flags = store_flags_to_string (message->flags, NULL);
  g_autofree char *damage = store_damage_to_string (message->damage);
  g_autofree char *time = format_time (message->internal_s);
  g_autofree char *digest = store_digest_string (exported->sha256);
  json_string (json, "path", exported->path);
  json_uint (json, "uid", message->uid);
  json_string (json, "internaldate", time);
  json_words (json, "flags", flags);
  json_words (json, "keywords", message->keywords != NULL ? message->keywords : "");
  json_uint (json, "modseq", message->modseq);
  json_uint (json, "size", message->size);
  json_words (json, "damage", damage);
  json_string (json, "sha256", exported->known ? digest : NULL);
  write_line (self, json);
}

bool
store_export_write (Store *self, uint32_t number, FILE *out, GError **error)
{
  Export export = {
      .store = self, .out = out, .write_node = write_node, .write_message = write_message};
  g_auto (StoreNode) node = {0};
  g_autofree char *path = NULL;
  if (!begin (&export, number, &node, &path, error))
    return false;
  g_autofree char *time = format_time (export_time (&export));
  g_autoptr (GString) first = json_begin ("store");
  json_string (first, "uuid", self->uuid);
  json_uint (first, "format", STORE_FORMAT_VERSION);
  json_string (first, "directory", path);
  json_string (first, "time", time);
  write_line (&export, first);
  if (!export_tree (&export, &node, error))
    return false;
  g_autoptr (GString) last = json_begin ("end");
  json_uint (last, "messages", export.messages);
  write_line (&export, last);
  return finish (&export, error);
}
