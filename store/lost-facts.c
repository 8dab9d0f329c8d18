/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of something lost, by whom, and in JSON. */
#include "store/lost.h"

#include <string.h>

#define FROM_FILE "file"
#define FROM_ROW  "row"
#define FROM_COPY "copied attribute"

void
lost_facts_clear (LostFacts *facts)
{
  message_state_clear (&facts->state);
  store_summary_clear (&facts->summary);
}

/* ---- learning ------------------------------------------------------------------------------ */

/* What the file's state and date say. */
static void
learn_from_file (const StoreLost *lost, int directory_fd, int fd, LostFacts *out)
{
  bool found = false;
  struct stat st;
  if (fstat (fd, &st) == 0) {
    out->internal_s = st.st_mtim.tv_sec;
    out->date_source = FROM_FILE;
  }
  if (!message_state_read (directory_fd, fd, lost->uid, &out->state, &found, NULL) || !found)
    return;
  out->state_source = out->state.copied ? FROM_COPY : FROM_FILE;
  if (out->state.digest != 0) {
    digest_from_prefix (out->state.digest, out->delivered);
    out->delivered_source = FROM_FILE;
  }
}

/* The newer of row and state counts; the date, size and digest that were delivered are the row's.
 */
void
lost_take_row (const IndexMessage *row, const char *source, LostFacts *out)
{
  bool known = out->state_source != NULL && !out->state.copied;
  out->internal_s = row->internal_s;
  out->date_source = source;
  if (known && out->state.modseq >= row->modseq)
    return;
  message_state_clear (&out->state);
  out->state = (MessageState){.modseq = row->modseq,
                              .birth = row->birth,
                              .expunged = row->expunged,
                              .flags = row->flags,
                              .keywords = g_strdup (row->keywords)};
  out->state_source = source;
}

void
lost_take_summary (IndexSummary *summary, uint64_t size, const char *source, LostFacts *out)
{
  if (digest_prefix (summary->sha256) != 0) {
    memcpy (out->delivered, summary->sha256, sizeof out->delivered);
    out->delivered_source = source;
    out->delivered_size = size;
  }
  if (summary->envelope == NULL || *summary->envelope == '\0')
    return;
  out->summary.sent_s = summary->sent_s;
  out->summary.envelope = g_steal_pointer (&summary->envelope);
  out->summary.bodystructure = g_steal_pointer (&summary->bodystructure);
  out->envelope_source = source;
}

/* What the index has of it. That it has nothing, or cannot be read, is no error. */
static void
learn_from_index (Store *store, const StoreLost *lost, LostFacts *out)
{
  g_autoptr (StoreMailbox) mailbox =
      lost->uid > 0 ? store_mailbox_open (store, lost->number, NULL) : NULL;
  g_autoptr (Handle) handle =
      mailbox != NULL ? cache_index (store, mailbox->owner, false, NULL) : NULL;
  g_auto (IndexMessage) row = {0};
  g_auto (IndexSummary) summary = {0};
  bool found = false;
  if (handle == NULL ||
      !index_message_get (handle->index, lost->number, lost->uid, &row, &found, NULL) || !found)
    return;
  lost_take_row (&row, FROM_ROW, out);
  if (index_summary_get (handle->index, lost->number, lost->uid, &summary, &found, NULL) && found)
    lost_take_summary (&summary, row.size, FROM_ROW, out);
}

/* Where nothing else tells, the bytes do, as far as they can be read. */
static void
learn_from_bytes (const StoreLost *lost, int fd, LostFacts *out)
{
  g_auto (StoreSummary) summary = {0};
  uint64_t size;
  if (!parse_file (fd, lost->size, &summary, &size, NULL))
    return;
  out->has_digest = true;
  memcpy (out->digest, summary.sha256, sizeof out->digest);
  if (out->envelope_source != NULL)
    return;
  out->summary = summary;
  out->envelope_source = FROM_FILE;
  summary = (StoreSummary){0};
}

bool
lost_learn (Store *store, const StoreLost *lost, bool thoroughly, LostFacts *out, GError **error)
{
  const LostKind *kind = lost_kind (lost->kind);
  if (kind->learn != NULL)
    return kind->learn (store, lost, out, error);
  if (!lost->has_bytes)
    return true;
  g_autofree char *name = NULL;
  auto_fd parent = lost_open_parent (store, lost, &name, error);
  auto_fd fd = parent >= 0 ? layout_open_message (parent, name) : -1;
  /* One that may not be read, or that the disk does not give back, has a row. */
  if (fd >= 0)
    learn_from_file (lost, parent, fd, out);
  else if (parent >= 0 && errno == ENOENT)
    return fail (error, ENOENT, "'%s' is gone", lost->name);
  else if (parent < 0)
    return false;
  /* What quarantine has may have been another message of that UID. */
  if (lost->kind != STORE_LOST_QUARANTINE)
    learn_from_index (store, lost, out);
  if (fd >= 0 && thoroughly)
    learn_from_bytes (lost, fd, out);
  return true;
}

/* ---- telling ------------------------------------------------------------------------------- */

/* From the store's directory. */
static char *
store_relative (const char *path)
{
  return g_str_has_prefix (path, "../") ? g_strdup (path + strlen ("../"))
                                        : g_strconcat ("mail/", path, NULL);
}

static void
tell_digest (GString *json, const char *key, const uint8_t sha256[32])
{
  g_autofree char *digits = store_digest_string (sha256);
  if (!digest_is_whole (sha256))
    digits[16] = '\0';
  json_string (json, key, digits);
}

static void
tell_place (Store *store, const StoreLost *lost, GString *json)
{
  g_autofree char *path = store_relative (lost->path);
  g_autofree char *title =
      lost->number != STORE_ROOT ? store_node_title (store, lost->number, NULL) : NULL;
  json_string (json, "kind", store_lost_kind_name (lost->kind));
  json_string (json, "name", lost->name);
  json_string (json, "why", lost_kind (lost->kind)->why);
  json_string (json, "mailbox", title);
  json_uint (json, "number", lost->number);
  json_uint (json, "uid", lost->uid);
  json_string (json, "path", path);
  json_bool (json, "bytes", lost->has_bytes);
  json_bool (json, "directory", lost->is_directory);
  json_uint (json, "size", lost->size);
  json_time (json, "modified", lost->mtime_ns / 1000000000);
  json_time (json, "changed", lost->ctime_ns / 1000000000);
}

static void
tell_facts (const LostFacts *facts, GString *json)
{
  static const char *const fields[] = {"subject", "from", "to", "cc", "date", "message-id"};
  json_time (json, "internal_date", facts->internal_s);
  json_string (json, "internal_date_source", facts->date_source);
  if (facts->missed_s != 0)
    json_time (json, "missed", facts->missed_s);
  if (facts->state_source != NULL) {
    g_autofree char *flags = store_flags_to_string (facts->state.flags, facts->state.keywords);
    json_words (json, "flags", flags);
    json_string (json, "flags_source", facts->state_source);
    json_uint (json, "modseq", facts->state.modseq);
  }
  if (facts->has_digest)
    tell_digest (json, "sha256", facts->digest);
  if (facts->delivered_source != NULL) {
    tell_digest (json, "delivered_sha256", facts->delivered);
    if (facts->delivered_size > 0)
      json_uint (json, "delivered_size", facts->delivered_size);
    json_string (json, "delivered_source", facts->delivered_source);
  }
  for (size_t i = 0; i < G_N_ELEMENTS (fields) && facts->envelope_source != NULL; i++) {
    g_autofree char *value = store_summary_field (&facts->summary, fields[i]);
    g_autofree char *key = g_strdelimit (g_strdup (fields[i]), "-", '_');
    json_string (json, key, value);
  }
  if (facts->envelope_source != NULL)
    json_string (json, "envelope_source", facts->envelope_source);
}

GString *
store_lost_json (Store *self, const StoreLost *lost, GError **error)
{
  g_auto (LostFacts) facts = {0};
  if (!lost_learn (self, lost, true, &facts, error))
    return NULL;
  GString *json = json_begin ("lost");
  tell_place (self, lost, json);
  if (!lost->is_directory)
    tell_facts (&facts, json);
  return json;
}
