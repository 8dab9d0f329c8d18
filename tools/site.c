/* SPDX-License-Identifier: Apache-2.0 */
/* site.c - what a command talks to: a store, or a mount of one. The only place that knows which. */
#include "tools/site.h"
#include "tools/print.h"
#include "tools/remote.h"

#include <unistd.h>

#define PAGE 128

struct Site {
  StoreTree tree;
  Store *store; /* one of these two is NULL */
  Remote *remote;
};

static Site *
site_of_store (Store *store)
{
  if (store == NULL)
    return NULL;
  Site *self = g_new0 (Site, 1);
  *self = (Site){.tree = store_tree (store), .store = store};
  return self;
}

Site *
site_open (const Tool *tool, StoreOpenFlags flags, GError **error)
{
  g_autofree char *path = tool_store_path (tool);
  g_autoptr (Remote) remote = NULL;
  if (!tool_check_flags (tool, flags, error))
    return NULL;
  if (tool->forensic)
    return site_open_store (tool, flags, error);
  if (!remote_open (tool, path, &remote, error))
    return NULL;
  if (remote == NULL)
    return site_open_store (tool, flags, error);
  if (!remote_introduce (remote, tool, error) ||
      (tool->snapshot != NULL && !remote_go_back (remote, tool->snapshot, error)) ||
      ((flags & STORE_READ_ONLY) == 0 && !remote_check_writable (remote, error)))
    return NULL;
  Site *self = g_new0 (Site, 1);
  *self = (Site){.tree = remote_tree (remote), .remote = g_steal_pointer (&remote)};
  return self;
}

Site *
site_open_store (const Tool *tool, StoreOpenFlags flags, GError **error)
{
  return site_of_store (tool_store_open (tool, flags, error));
}

Site *
site_open_queue (const Tool *tool, GError **error)
{
  g_autofree char *path = tool_store_path (tool);
  g_autoptr (Remote) remote = NULL;
  if (!remote_open (tool, path, &remote, error))
    return NULL;
  bool looks = remote != NULL || euidaccess (path, W_OK) != 0;
  return site_open (tool, looks ? STORE_READ_ONLY : 0, error);
}

void
site_free (Site *self)
{
  if (self == NULL)
    return;
  store_close (self->store);
  remote_free (self->remote);
  g_free (self);
}

/* ---- doing something at once --------------------------------------------------------------- */

static bool
act_in_store (Store *store, const GPtrArray *words, GPtrArray **out_findings, GError **error)
{
  StoreRequest *request = store_request_parse (store, (const char *const *)words->pdata, error);
  if (request == NULL)
    return false;
  g_autoptr (StoreJob) job = store_job_new (store, request);
  bool done = store_job_run (job, error);
  *out_findings = g_ptr_array_ref ((GPtrArray *)store_job_findings (job));
  return done;
}

bool
site_act (Site *self, GPtrArray *words, GPtrArray **out_findings, GError **error)
{
  *out_findings = NULL;
  return self->remote != NULL ? remote_act (self->remote, words, out_findings, error)
                              : act_in_store (self->store, words, out_findings, error);
}

static bool
tell_of_store (Store *store, const GPtrArray *words, StoreFindingFunc each, void *data,
               GError **error)
{
  StoreRequest *request = store_request_parse (store, (const char *const *)words->pdata, error);
  if (request == NULL)
    return false;
  g_autoptr (StoreJob) job = store_job_new (store, request);
  store_job_tell (job, each, data);
  return store_job_run (job, error);
}

bool
site_tell (Site *self, const Tool *tool, GPtrArray *words, StoreFindingFunc each, void *data,
           GError **error)
{
  g_autoptr (GPtrArray) findings = NULL;
  if (self->remote != NULL && !remote_check_writable (self->remote, NULL) &&
      (self->store = tool_store_open (tool, STORE_READ_ONLY, error)) == NULL)
    return false;
  if (self->store != NULL)
    return tell_of_store (self->store, words, each, data, error);
  bool done = remote_act (self->remote, words, &findings, error);
  for (guint i = 0; findings != NULL && i < findings->len; i++)
    each (findings->pdata[i], data);
  return done;
}

bool
site_setting (Site *self, StoreSetting setting, int64_t *out, GError **error)
{
  if (self->remote != NULL)
    return remote_setting (self->remote, setting, out, error);
  *out = store_setting (self->store, setting);
  return true;
}

/* ---- nodes --------------------------------------------------------------------------------- */

bool
site_resolve (Site *self, const char *spelling, StoreNode *out, GError **error)
{
  return store_tree_resolve (&self->tree, spelling, out, error);
}

bool
site_resolve_mailbox (Site *self, const char *spelling, StoreNode *out, GError **error)
{
  return store_tree_resolve_mailbox (&self->tree, spelling, out, error);
}

bool
site_node (Site *self, uint32_t number, StoreNode *out, GError **error)
{
  return self->remote != NULL ? remote_node (self->remote, number, out, error)
                              : store_node_get (self->store, number, out, error);
}

bool
site_node_state (Site *self, StoreNode *node, GError **error)
{
  return self->remote == NULL || remote_node_state (self->remote, node, error);
}

static bool
add_number (const StoreNode *child, void *numbers, GError **error)
{
  g_array_append_val ((GArray *)numbers, child->number);
  return true;
}

bool
site_children (Site *self, uint32_t parent, GArray *numbers, GError **error)
{
  return self->remote != NULL
             ? remote_children (self->remote, parent, numbers, error)
             : store_node_each_child (self->store, parent, NULL, add_number, numbers, error);
}

char *
site_node_path (Site *self, uint32_t number, GError **error)
{
  return self->remote != NULL ? g_strdup (remote_node_path (self->remote, number))
                              : store_node_path (self->store, number, error);
}

char *
site_node_title (Site *self, uint32_t number, GError **error)
{
  g_autofree char *path = site_node_path (self, number, error);
  return path != NULL ? store_path_title (path) : NULL;
}

bool
site_mailbox_info (Site *self, uint32_t number, StoreMailboxInfo *out, GError **error)
{
  if (self->remote != NULL)
    return remote_mailbox_info (self->remote, number, out, error);
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->store, number, error);
  return mailbox != NULL && store_mailbox_info (mailbox, out, error);
}

/* ---- messages ------------------------------------------------------------------------------ */

void
letter_clear (Letter *letter)
{
  store_message_clear (&letter->message);
  g_free (letter->from);
  g_free (letter->to);
  g_free (letter->subject);
  g_free (letter->message_id);
  *letter = (Letter){0};
}

void
letter_read (StoreMailbox *mailbox, StoreMessage *message, Letter *out)
{
  g_auto (StoreSummary) summary = {.sent_s = INT64_MIN};
  bool known = store_message_summary (mailbox, message->uid, &summary, NULL);
  *out = (Letter){.message = *message, .sent_s = summary.sent_s};
  *message = (StoreMessage){0};
  if (!known || summary.envelope == NULL)
    return;
  out->from = store_summary_field (&summary, "from");
  out->to = store_summary_field (&summary, "to");
  out->subject = store_summary_field (&summary, "subject");
  out->message_id = store_summary_field (&summary, "message-id");
}

static bool
store_each_letter (Store *store, uint32_t number, LetterFunc each, void *data, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, number, error);
  size_t count = mailbox != NULL;
  for (uint32_t after = 0; count > 0;) {
    StoreMessage page[PAGE];
    if (!store_mailbox_page (mailbox, after, page, PAGE, &count, error))
      return false;
    after = count > 0 ? page[count - 1].uid : 0;
    for (size_t i = 0; i < count; i++) {
      g_auto (Letter) letter = {0};
      letter_read (mailbox, &page[i], &letter);
      each (&letter, data);
    }
  }
  return mailbox != NULL;
}

static bool
store_letter (Store *store, uint32_t number, uint32_t uid, Letter *out, bool *out_found,
              GError **error)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, number, error);
  g_auto (StoreMessage) message = {0};
  if (mailbox == NULL || !store_message_find (mailbox, uid, &message, out_found, error))
    return false;
  if (*out_found)
    letter_read (mailbox, &message, out);
  return true;
}

bool
site_letter (Site *self, uint32_t number, uint32_t uid, Letter *out, bool *out_found,
             GError **error)
{
  return self->remote != NULL ? remote_letter (self->remote, number, uid, out, out_found, error)
                              : store_letter (self->store, number, uid, out, out_found, error);
}

bool
site_each_letter (Site *self, uint32_t number, LetterFunc each, void *data, GError **error)
{
  return self->remote != NULL ? remote_each_letter (self->remote, number, each, data, error)
                              : store_each_letter (self->store, number, each, data, error);
}

/* All of it is held against the digest before the first byte is given out: half a message that
 * turns out to be damaged would already be in a pipe. */
static int
open_verified (Store *store, uint32_t number, uint32_t uid, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (store, number, error);
  auto_fd fd = mailbox != NULL ? store_message_open (mailbox, uid, error) : -1;
  size_t size;
  bool known;
  return fd >= 0 && store_message_verify (mailbox, uid, fd, NULL, 0, &size, &known, error)
             ? g_steal_fd (&fd)
             : -1;
}

int
site_message_open (Site *self, uint32_t number, uint32_t uid, GError **error)
{
  return self->remote != NULL ? remote_message_open (self->remote, number, uid, error)
                              : open_verified (self->store, number, uid, error);
}

/* ---- what is given out whole ---------------------------------------------------------------- */

bool
site_manifest_write (Site *self, uint32_t number, FILE *out, GError **error)
{
  return self->remote != NULL
             ? remote_write_file (self->remote, number, "manifest.sha256", out, error)
             : store_manifest_write (self->store, number, out, error);
}

bool
site_export_write (Site *self, uint32_t number, FILE *out, GError **error)
{
  return self->remote != NULL ? remote_write_file (self->remote, number, "export.jsonl", out, error)
                              : store_export_write (self->store, number, out, error);
}

bool
site_manifest_json_write (Site *self, uint32_t number, FILE *out, GError **error)
{
  return self->remote != NULL
             ? remote_write_file (self->remote, number, "manifest.json", out, error)
             : store_manifest_json_write (self->store, number, out, error);
}

bool
site_timeline_write (Site *self, uint32_t number, FILE *out, GError **error)
{
  return self->remote != NULL ? remote_write_file (self->remote, number, "timeline", out, error)
                              : store_timeline_write (self->store, number, out, error);
}

bool
site_damage_write (Site *self, uint32_t number, FILE *out, GError **error)
{
  return self->remote != NULL ? remote_write_file (self->remote, number, "damage", out, error)
                              : store_damage_write (self->store, number, out, NULL, NULL, error);
}

GPtrArray *
site_quarantine_list (Site *self, GError **error)
{
  return self->remote != NULL ? remote_quarantine_list (self->remote, error)
                              : store_quarantine_list (self->store, error);
}

/* ---- jobs ---------------------------------------------------------------------------------- */

static bool
run_in_store (Store *store, Tool *tool, const GPtrArray *words, GError **error)
{
  StoreRequest *request = store_request_parse (store, (const char *const *)words->pdata, error);
  if (request == NULL)
    return false;
  g_autoptr (StoreJob) job = store_job_new (store, request);
  /* Who only looks, as anybody does at a snapshot, leaves no trace. One that cannot be registered
   * runs all the same. */
  g_autoptr (GError) unregistered = NULL;
  if (!store_request_reads (request) && store_snapshot_of (store) == NULL &&
      !store_is_evidence (store))
    store_job_register (job, &unregistered);
  if (!run_job (tool, job, error))
    return false;
  if (unregistered != NULL)
    tool_say (tool, "it is not among the jobs: %s", unregistered->message);
  return true;
}

/* Nothing can be asked for through a mount that is read-only; but who may look may do so in the
 * store. */
bool
site_run (Site *self, Tool *tool, const StoreCommand *command, GPtrArray *words, GError **error)
{
  if (self->remote != NULL && remote_check_writable (self->remote, NULL))
    return remote_run (self->remote, tool, command, words, error);
  if (self->store == NULL)
    self->store = tool_store_open (tool, STORE_READ_ONLY, error);
  return self->store != NULL && run_in_store (self->store, tool, words, error);
}

static bool
store_each_record (Store *store, bool pending, RecordFunc each, void *data, GError **error)
{
  StoreRecord page[64];
  size_t count = 1;
  for (uint64_t after = 0; count > 0;) {
    if (!store_queue_page (store, after, pending, page, G_N_ELEMENTS (page), &count, error))
      return false;
    for (size_t i = 0; i < count; i++)
      each (&page[i], data);
    after = count > 0 ? page[count - 1].id : 0;
    store_records_clear (page, count);
  }
  return true;
}

bool
site_each_record (Site *self, bool pending, RecordFunc each, void *data, GError **error)
{
  return self->remote != NULL ? remote_each_record (self->remote, pending, each, data, error)
                              : store_each_record (self->store, pending, each, data, error);
}

bool
site_record (Site *self, uint64_t id, StoreRecord *out, GError **error)
{
  return self->remote != NULL ? remote_record (self->remote, id, out, error)
                              : store_queue_get (self->store, id, out, error);
}

GPtrArray *
site_findings (Site *self, uint64_t id, GError **error)
{
  return self->remote != NULL ? remote_findings (self->remote, id, error)
                              : store_queue_findings (self->store, id, error);
}

/* ---- the queue ----------------------------------------------------------------------------- */

static bool
store_add (Store *store, const GPtrArray *requests, uint64_t *out_ids, bool *out_added,
           GError **error)
{
  for (guint i = 0; i < requests->len; i++) {
    const GPtrArray *words = requests->pdata[i];
    g_autoptr (StoreRequest) request =
        store_request_parse (store, (const char *const *)words->pdata, error);
    if (request == NULL || !store_queue_add (store, request, &out_ids[i], &out_added[i], error))
      return false;
  }
  return true;
}

bool
site_queue_add (Site *self, const GPtrArray *requests, uint64_t *out_ids, bool *out_added,
                GError **error)
{
  return self->remote != NULL ? remote_queue_add (self->remote, requests, out_ids, out_added, error)
                              : store_add (self->store, requests, out_ids, out_added, error);
}

/* All of them, or none. */
static bool
store_take_out (Store *store, const uint64_t *ids, size_t count, bool stop, GError **error)
{
  for (size_t i = 0; i < count; i++) {
    if (!store_queue_can_remove (store, ids[i], stop, error))
      return false;
  }
  for (size_t i = 0; i < count; i++) {
    if (!(stop ? store_queue_cancel : store_queue_remove) (store, ids[i], error))
      return false;
  }
  return true;
}

bool
site_queue_remove (Site *self, const uint64_t *ids, size_t count, GError **error)
{
  return self->remote != NULL ? remote_cancel (self->remote, "queue-remove", ids, count, error)
                              : store_take_out (self->store, ids, count, false, error);
}

bool
site_queue_cancel (Site *self, const uint64_t *ids, size_t count, GError **error)
{
  return self->remote != NULL ? remote_cancel (self->remote, "cancel", ids, count, error)
                              : store_take_out (self->store, ids, count, true, error);
}
