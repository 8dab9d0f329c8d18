/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import.c - foreign mail into mailboxes.
 *
 * The calling thread reads the source, makes the mailboxes and reports progress. Working threads
 * make a draft of every message: reading, digesting, writing and parsing happen there. One
 * committing thread puts the drafts into their mailboxes in the order of the source, many at a
 * time, so that writing goes on while it waits for the disk.
 *
 * What is in the target already is left alone: the digests of a mailbox are taken once, before
 * anything is put into it, and each of them answers for one message of the source. A message is
 * digested before it is written only where there is something to compare it with.
 */
#include "store/import.h"
#include "store/internal.h"
#include "store/pipeline.h"

#include <openssl/evp.h>
#include <string.h>

#define BATCH_MESSAGES 1000u
#define BATCH_BYTES    (64u << 20)
#define DIGEST_BUFFER  (256u << 10)
#define RENAMES_MAX    3 /* of one file between listing and reading it */

/* A message, or the beginning of a folder, on its way. */
typedef struct {
  SourceKind kind;
  Target *target;
  StoreFacts facts;
  uint32_t source_uid;
  char *keywords, *where;
  int directory_fd; /* SOURCE_FILE */
  char *name;
  GBytes *content; /* SOURCE_BYTES */

  /* What working on it gave: */
  uint64_t size;
  uint8_t sha256[32];
  bool is_known;
  StoreDraft *draft;
  GError *failure;
  bool is_fatal; /* the failure is not the message's but the store's */
} Item;

typedef struct {
  Store *store;
  const StoreImport *request;
  const StoreFormat *format;
  StoreImportFunc progress;
  void *user_data;
  Source *source;
  Targets *targets;
  Target *target; /* of the folder that is being read */
  Pipeline *pipeline;

  /* The committing thread's: */
  StoreImportResult result;
  Target *batch_target;
  GPtrArray *batch; /* of Item */
  uint64_t batch_bytes;
} Import;

void
store_import_result_clear (StoreImportResult *result)
{
  g_clear_pointer (&result->warnings, g_ptr_array_unref);
  *result = (StoreImportResult){0};
}

/* Lets go of what is needed only until the message was worked on. */
static void
release_source (Item *item)
{
  store_close_fd (&item->directory_fd);
  item->directory_fd = -1;
  g_clear_pointer (&item->content, g_bytes_unref);
}

static void
free_item (void *data)
{
  Item *item = data;
  release_source (item);
  store_draft_free (item->draft);
  g_clear_error (&item->failure);
  g_free (item->keywords);
  g_free (item->name);
  g_free (item->where);
  g_free (item);
}

/* ---- working threads: from a message of the source to a draft -------------------------------- */

static bool
digest_file (Item *item, GError **error)
{
  struct stat st;
  auto_fd fd = layout_open_message (item->directory_fd, item->name);
  if (fd < 0 || fstat (fd, &st) < 0)
    return fail_errno (error, "open");
  g_autofree uint8_t *buffer = g_malloc (DIGEST_BUFFER);
  item->size = (uint64_t)st.st_size;
  return message_digest (fd, item->size, buffer, DIGEST_BUFFER, item->sha256, error);
}

static bool
digest_item (Import *self, Item *item, GError **error)
{
  if (item->kind == SOURCE_FILE)
    return digest_file (item, error);
  size_t size;
  const void *bytes = g_bytes_get_data (item->content, &size);
  item->size = size;
  return EVP_Digest (bytes, size, item->sha256, NULL, EVP_sha256 (), NULL) ||
         fail (error, ENOMEM, "digest");
}

static bool
fill_draft (Item *item, StoreDraft *draft, StoreTransfer transfer, GError **error)
{
  if (item->kind == SOURCE_FILE)
    return store_draft_take (draft, item->directory_fd, item->name, transfer, error);
  size_t size;
  const void *bytes = g_bytes_get_data (item->content, &size);
  return store_draft_write (draft, bytes, size, error);
}

static bool
try_draft (Import *self, Item *item, StoreTransfer transfer, GError **error)
{
  g_autoptr (StoreDraft) draft = store_draft_new (self->store, &item->facts, error);
  if (draft == NULL || !fill_draft (item, draft, transfer, error) ||
      !store_draft_finish (draft, target_mailbox (item->target), error))
    return false;
  item->size = store_draft_size (draft);
  item->draft = g_steal_pointer (&draft);
  return true;
}

/* A file that has another name, or is in a store, is copied where it was to be linked: the messages
 * would share their flags. */
static bool
make_draft (Import *self, Item *item, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (try_draft (self, item, self->request->transfer, &failure))
    return true;
  if (error_code (failure) == EMLINK)
    return try_draft (self, item, STORE_COPY, error);
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* Whether everything else would fail like this, too. Where it could be either side's fault, reading
 * the source tells. */
static bool
is_fatal (Import *self, Item *item)
{
  switch (error_code (item->failure)) {
  case EMFILE:
  case ENFILE:
  case ENOMEM: return true;
  case EINVAL:
  case E2BIG: return false;
  default: return digest_item (self, item, NULL);
  }
}

/* The file may have got another name since it was listed. */
static bool
find_again (Import *self, Item *item)
{
  int directory_fd;
  char *name;
  if (item->kind != SOURCE_FILE || self->format->find == NULL ||
      error_code (item->failure) != ENOENT ||
      !self->format->find (item->directory_fd, item->name, &directory_fd, &name))
    return false;
  release_source (item);
  g_free (item->name);
  item->directory_fd = directory_fd;
  item->name = name;
  return true;
}

/* Does a step that reads the source. Its failure becomes the item's. */
static void
take_step (Import *self, Item *item, bool (*step) (Import *self, Item *item, GError **error))
{
  bool done = step (self, item, &item->failure);
  for (int i = 0; !done && i < RENAMES_MAX && find_again (self, item); i++) {
    g_clear_error (&item->failure);
    done = step (self, item, &item->failure);
  }
  item->is_fatal = !done && is_fatal (self, item);
}

static bool
is_message (const Item *item)
{
  return item->kind == SOURCE_FILE || item->kind == SOURCE_BYTES;
}

static void
prepare_item (void *data, void *user_data)
{
  Import *self = user_data;
  Item *item = data;
  const GError *failure = target_failure (item->target);
  if (!is_message (item))
    return;
  if (failure != NULL)
    item->failure = g_error_copy (failure);
  else if (target_has_known (item->target) || self->request->dry_run)
    take_step (self, item, digest_item);
}

static void
decide_on_item (void *data, void *user_data)
{
  Item *item = data;
  if (is_message (item) && item->failure == NULL && target_has_known (item->target))
    item->is_known = target_take_known (item->target, item->sha256);
}

static void
work_on_item (void *data, void *user_data)
{
  Import *self = user_data;
  Item *item = data;
  if (is_message (item) && item->failure == NULL && !item->is_known && !self->request->dry_run)
    take_step (self, item, make_draft);
  release_source (item);
}

/* ---- the committing thread ------------------------------------------------------------------- */

static void
count_imported (Import *self, const Item *item, uint32_t uid)
{
  self->result.imported++;
  self->result.bytes += item->size;
  self->result.uids_changed += item->source_uid != 0 && item->source_uid != uid;
}

static bool
commit_batch (Import *self, GError **error)
{
  if (self->batch->len == 0)
    return true;
  g_autofree StoreDraft **drafts = g_new (StoreDraft *, self->batch->len);
  for (guint i = 0; i < self->batch->len; i++)
    drafts[i] = ((Item *)self->batch->pdata[i])->draft;
  bool done = store_mailbox_append (target_mailbox (self->batch_target), drafts, self->batch->len,
                                    STORE_APPEND_BULK, error);
  for (guint i = 0; i < self->batch->len; i++)
    if (store_draft_uid (drafts[i]) != 0)
      count_imported (self, self->batch->pdata[i], store_draft_uid (drafts[i]));
  g_ptr_array_set_size (self->batch, 0);
  self->batch_bytes = 0;
  return done;
}

static bool
end_folder (Import *self, GError **error)
{
  if (!commit_batch (self, error))
    return false;
  Target *target = g_steal_pointer (&self->batch_target);
  return target == NULL || target_end (target, error);
}

/* Takes `item` over. */
static bool
add_to_batch (Import *self, Item *item, GError **error)
{
  self->batch_bytes += item->size;
  g_ptr_array_add (self->batch, item);
  return (self->batch->len < BATCH_MESSAGES && self->batch_bytes < BATCH_BYTES) ||
         commit_batch (self, error);
}

/* Counts a message that is not put into a mailbox. */
static bool
count_item (Import *self, Item *item, GError **error)
{
  if (item->is_fatal) {
    g_propagate_error (error, g_steal_pointer (&item->failure));
    return fail_prefix (error, "%s", item->where);
  }
  if (item->failure != NULL)
    source_warn (self->result.warnings, "%s: %s", item->where, item->failure->message);
  if (item->failure != NULL || item->kind == SOURCE_UNREADABLE)
    self->result.failed++;
  else if (item->is_known)
    self->result.known++;
  else
    count_imported (self, item, item->source_uid); /* a dry run */
  return true;
}

static bool
commit_item (void *data, void *user_data, GError **error)
{
  Import *self = user_data;
  Item *item = data;
  bool ok;
  self->result.seen += item->kind != SOURCE_FOLDER;
  if (item->draft != NULL)
    return add_to_batch (self, item, error);
  if (item->kind == SOURCE_FOLDER) {
    ok = end_folder (self, error);
    self->batch_target = item->target;
  } else {
    ok = count_item (self, item, error);
  }
  free_item (item);
  return ok;
}

static bool
finish_commits (void *user_data, GError **error)
{
  return end_folder (user_data, error);
}

/* ---- the calling thread ---------------------------------------------------------------------- */

static Item *
new_item (Import *self, SourceMessage *message)
{
  Item *item = g_new0 (Item, 1);
  item->kind = message->kind;
  item->target = self->target;
  item->facts = message->facts;
  item->facts.keywords = item->keywords = g_strdup (message->facts.keywords);
  item->source_uid = message->facts.uid;
  if (!target_keeps_uids (self->target))
    item->facts.uid = 0;
  item->where = g_strdup (message->where);
  item->name = g_strdup (message->name);
  item->content = message->content;
  item->directory_fd = -1;
  return item;
}

static bool
push_message (Import *self, SourceMessage *message, GError **error)
{
  Item *item = new_item (self, message);
  if (message->kind == SOURCE_FILE) {
    item->directory_fd = fcntl (message->directory_fd, F_DUPFD_CLOEXEC, 0);
    if (item->directory_fd < 0) {
      free_item (item);
      return fail_errno (error, "%s", message->where);
    }
  }
  /* When the pipeline has stopped, it is for pipeline_end() to say why. */
  return pipeline_push (self->pipeline, item,
                        item->content != NULL ? g_bytes_get_size (item->content) : 0);
}

static bool
read_source (Import *self, GError **error)
{
  for (;;) {
    SourceMessage message;
    bool end;
    if (!self->format->next (self->source, &message, &end, error))
      return false;
    if (end)
      return true;
    if (message.kind == SOURCE_FOLDER) {
      self->target = targets_begin (self->targets, &message, error);
      if (self->target == NULL)
        return false;
    }
    if (!push_message (self, &message, error))
      return false;
  }
}

static bool
tick (void *user_data)
{
  Import *self = user_data;
  StoreProgress progress;
  if (self->progress == NULL)
    return true;
  self->format->progress (self->source, &progress);
  return self->progress (&progress, self->user_data);
}

static bool
run (Import *self, GError **error)
{
  static const PipelineSteps steps = {.prepare = prepare_item,
                                      .decide = decide_on_item,
                                      .work = work_on_item,
                                      .commit = commit_item,
                                      .finish = finish_commits,
                                      .free_item = free_item,
                                      .tick = tick};
  g_autoptr (GError) failure = NULL;
  self->pipeline = pipeline_new (&steps, self);
  bool has_read = read_source (self, &failure);
  if (!pipeline_end (self->pipeline, !has_read, error))
    return false;
  if (has_read)
    tick (self); /* too late to stop; but now all is done */
  else
    g_propagate_error (error, g_steal_pointer (&failure));
  return has_read;
}

static void
clear_import (Import *self)
{
  if (self->source != NULL)
    self->format->close (self->source);
  g_clear_pointer (&self->batch, g_ptr_array_unref);
  g_clear_pointer (&self->targets, targets_free);
  store_import_result_clear (&self->result);
}

bool
store_import (Store *self, const StoreImport *request, StoreImportFunc progress, void *user_data,
              StoreImportResult *out, GError **error)
{
  __attribute__ ((cleanup (clear_import)))
  Import import = {.store = self, .request = request, .progress = progress, .user_data = user_data};
  g_autoptr (GPtrArray) warnings = g_ptr_array_new_with_free_func (g_free);
  import.format = source_format_find (request->format);
  if (import.format == NULL)
    return fail (error, EINVAL, "no format '%s'; there are eml, maildir, mbox and mboxrd",
                 request->format);
  import.result.warnings = g_ptr_array_new_with_free_func (g_free);
  import.batch = g_ptr_array_new_with_free_func (free_item);
  import.source = import.format->open (request->source, warnings, error);
  if (import.source == NULL)
    return false;
  import.targets = targets_new (self, request->target, request->dry_run, error);
  if (import.targets == NULL)
    return false;
  bool done = run (&import, error);

  /* What was brought in before a failure stays, so the caller is told in any case. */
  g_ptr_array_extend_and_steal (warnings, g_steal_pointer (&import.result.warnings));
  import.result.warnings = g_steal_pointer (&warnings);
  import.result.failed += source_lost (import.source);
  import.result.seen += source_lost (import.source);
  import.result.mailboxes = targets_count (import.targets);
  *out = import.result;
  import.result = (StoreImportResult){0};
  return done;
}
