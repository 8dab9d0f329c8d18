/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attribute.c - the extended attributes user.mailfs.NAME.
 *
 * An attribute is a row in a table: its name, what it is on, whether it is listed (and so carried
 * along by backups) and the function that makes its value. The kernel keeps no extended attributes:
 * each question comes here, so what is listed must be cheap.
 *
 * Attributes that say what is wrong must work on what is wrong: nothing here reads a message's
 * bytes unless its row is missing from the index.
 */
#include "fs/cache.h"
#include "fs/inode.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/status.h"
#include "fs/view.h"
#include "store/commands.h"
#include "store/text.h"

#include <inttypes.h>

enum {
  ON_MESSAGE = 1u << 0,
  ON_MAILBOX = 1u << 1,
  ON_ABOVE = 1u << 2, /* directories that hold no messages themselves: users, domains, the root */
  ON_DIRECTORY = ON_MAILBOX | ON_ABOVE,
};

/* What an attribute is asked of, loaded as far as was needed. A message's mailbox is not open until
 * load_mailbox(). */
typedef struct {
  Mount *mount;
  fuse_ino_t ino;
  View *view;
  unsigned on;
  StoreMailbox *mailbox; /* of the message; or the directory itself */
  StoreMessage message;
  StoreNode node;
  bool has_info, has_summary, has_totals;
  StoreMailboxInfo info;
  StoreSummary summary;
  StoreStatus own, totals; /* figures of a directory: without what is below it, and with that */
  GError *totals_failure;
} Subject;

/* Returns NULL without an error when the attribute is unset. */
typedef char *(*ValueFunc) (Subject *subject, const char *name, GError **error);

typedef struct {
  const char *name;
  unsigned on;
  bool listed;
  ValueFunc value;
} Attribute;

/* ---- subjects ----------------------------------------------------------------------------- */

static void
subject_clear (Subject *self)
{
  g_clear_pointer (&self->mailbox, store_mailbox_unref);
  store_message_clear (&self->message);
  store_node_clear (&self->node);
  store_summary_clear (&self->summary);
  g_clear_error (&self->totals_failure);
  view_unref (self->view);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Subject, subject_clear)

static StoreMailbox *
load_mailbox (Subject *self, GError **error)
{
  if (self->mailbox == NULL)
    self->mailbox = store_mailbox_open (self->view->store, inode_number (self->ino), error);
  return self->mailbox;
}

static bool
load_subject (Mount *mount, fuse_ino_t ino, Subject *out, GError **error)
{
  bool found = true;

  out->mount = mount;
  out->ino = ino;
  if (inode_kind (ino) == INODE_CONTROL)
    return true;
  out->view = view_take (mount, ino, error);
  if (out->view == NULL)
    return false;
  if (inode_kind (ino) == INODE_DIRECTORY) {
    if (load_mailbox (out, error) == NULL ||
        !store_node_get (out->view->store, inode_number (ino), &out->node, error))
      return false;
    out->on = out->node.kind == STORE_NODE_MAILBOX ? ON_MAILBOX : ON_ABOVE;
    return true;
  }
  out->on = ON_MESSAGE;
  if (!recent_find (mount, out->view, inode_number (ino), inode_uid (ino), &out->message, &found,
                    error))
    return false;
  return found || fail (error, ESTALE, "the message is gone");
}

static const StoreMailboxInfo *
load_info (Subject *self, GError **error)
{
  if (!self->has_info && !store_mailbox_info (self->mailbox, &self->info, error))
    return NULL;
  self->has_info = true;
  return &self->info;
}

static const StoreSummary *
load_summary (Subject *self, GError **error)
{
  if (!self->has_summary &&
      (load_mailbox (self, error) == NULL ||
       !store_message_summary (self->mailbox, self->message.uid, &self->summary, error)))
    return NULL;
  self->has_summary = true;
  return &self->summary;
}

/* Counting may take as long as it is waited for, so it is asked for once. */
static const StoreStatus *
load_totals (Subject *self, GError **error)
{
  if (!self->has_totals)
    census_take (self->mount->census, self->view, inode_number (self->ino), &self->totals,
                 &self->totals_failure);
  self->has_totals = true;
  if (self->totals_failure == NULL)
    return &self->totals;
  g_propagate_error (error, g_error_copy (self->totals_failure));
  return NULL;
}

/* Directories that hold no messages themselves are what is below them. */
static const StoreStatus *
load_own (Subject *self, GError **error)
{
  if (self->on == ON_ABOVE)
    return load_totals (self, error);
  const StoreMailboxInfo *info = load_info (self, error);
  if (info == NULL)
    return NULL;
  self->own = (StoreStatus){
      .messages = info->messages,
      .unseen = info->unseen,
      .expunged = info->expunged,
      .bytes = info->bytes,
      .highestmodseq = info->highestmodseq,
      .last_repair_s = info->last_repair_s,
  };
  return &self->own;
}

static char *
format_number (uint64_t number)
{
  return g_strdup_printf ("%" PRIu64, number);
}

static char *
format_time (int64_t seconds)
{
  g_autoptr (GDateTime) time = g_date_time_new_from_unix_utc (seconds);

  return time == NULL ? format_number (seconds) : g_date_time_format_iso8601 (time);
}

/* ---- values of messages ------------------------------------------------------------------- */

static char *
value_flags (Subject *self, const char *name, GError **error)
{
  const StoreMessage *message = &self->message;

  return message->flags == 0 && message->keywords == NULL
             ? NULL
             : store_flags_to_string (message->flags, message->keywords);
}

static char *
value_uid (Subject *self, const char *name, GError **error)
{
  return format_number (self->message.uid);
}

static char *
value_internaldate (Subject *self, const char *name, GError **error)
{
  return format_time (self->message.internal_s);
}

static char *
value_modseq (Subject *self, const char *name, GError **error)
{
  return format_number (self->message.modseq);
}

/* What the index says is wrong, and what this mount found when it read the message. */
static uint32_t
find_damage (Subject *self)
{
  bool found_here = marks_has (self->mount->marks, inode_bytes (self->ino), MARK_DAMAGED);

  return self->message.damage | (found_here ? STORE_DAMAGE_DIGEST : 0);
}

/* `value` with where it is known from, when that is not what index and file agree on. */
static char *
add_sources (Subject *self, const char *value)
{
  StoreMailbox *mailbox = load_mailbox (self, NULL);
  g_autofree char *sources =
      mailbox != NULL ? store_message_sources (mailbox, self->message.uid, NULL) : NULL;

  return sources != NULL ? g_strjoin (" ", value, sources, NULL) : g_strdup (value);
}

static char *
value_state (Subject *self, const char *name, GError **error)
{
  return add_sources (self, (find_damage (self) & STORE_DAMAGE_GRAVE) != 0 ? "damaged" : "ok");
}

static char *
value_damage (Subject *self, const char *name, GError **error)
{
  uint32_t damage = find_damage (self);
  g_autofree char *text = damage != 0 ? store_damage_to_string (damage) : NULL;

  return text != NULL ? add_sources (self, text) : NULL;
}

static char *
value_sha256 (Subject *self, const char *name, GError **error)
{
  const StoreSummary *summary = load_summary (self, error);
  GString *hex = g_string_new (NULL);

  for (size_t i = 0; summary != NULL && i < sizeof summary->sha256; i++)
    g_string_append_printf (hex, "%02x", summary->sha256[i]);
  return g_string_free (hex, summary == NULL);
}

static char *
value_field (Subject *self, const char *name, GError **error)
{
  const StoreSummary *summary = load_summary (self, error);

  return summary == NULL ? NULL : store_summary_field (summary, name);
}

/* What the date means, in UTC. */
static char *
value_sent (Subject *self, const char *name, GError **error)
{
  const StoreSummary *summary = load_summary (self, error);

  return summary == NULL || summary->sent_s == INT64_MIN ? NULL : format_time (summary->sent_s);
}

static char *
value_imap (Subject *self, const char *name, GError **error)
{
  const StoreSummary *summary = load_summary (self, error);

  if (summary == NULL)
    return NULL;
  return g_strdup (g_str_equal (name, "envelope") ? summary->envelope : summary->bodystructure);
}

/* Only the store knows where the file lies; the kernel tells of what it opened. */
static char *
value_store_path (Subject *self, const char *name, GError **error)
{
  if (load_mailbox (self, error) == NULL)
    return NULL;
  auto_fd fd = store_message_open (self->mailbox, self->message.uid, error);
  if (fd < 0)
    return NULL;
  g_autofree char *link = g_strdup_printf ("/proc/self/fd/%d", fd);
  return g_file_read_link (link, error);
}

/* ---- values of directories ----------------------------------------------------------------- */

static char *
value_uids (Subject *self, const char *name, GError **error)
{
  const StoreMailboxInfo *info = load_info (self, error);

  if (info == NULL)
    return NULL;
  return format_number (g_str_equal (name, "uidnext") ? info->uidnext : info->uidvalidity);
}

static char *
value_number (Subject *self, const char *name, GError **error)
{
  return self->node.number == STORE_ROOT ? NULL : format_number (self->node.number);
}

static char *
value_subscribed (Subject *self, const char *name, GError **error)
{
  return self->node.subscribed ? g_strdup ("1") : NULL;
}

static char *
value_special_use (Subject *self, const char *name, GError **error)
{
  return g_strdup (self->node.special_use);
}

/* Only where the directory is called differently. */
static char *
value_name (Subject *self, const char *name, GError **error)
{
  g_autofree char *full_name = self->node.full_name != NULL ? g_strdup (self->node.full_name)
                                                            : store_name_unescape (self->node.name);

  return g_str_equal (full_name, self->node.name) ? NULL : g_steal_pointer (&full_name);
}

/* Names that begin with an r are for everything below, too. */
static char *
value_figure (Subject *self, const char *name, GError **error)
{
  bool total = *name == 'r';
  const StoreStatus *figures = total ? load_totals (self, error) : load_own (self, error);
  if (figures == NULL)
    return NULL;

  const struct {
    const char *name;
    uint64_t figure;
  } known[] = {
      {"messages", figures->messages},
      {"unseen", figures->unseen},
      {"bytes", figures->bytes},
      {"expunged", figures->expunged},
      {"highestmodseq", figures->highestmodseq},
  };
  size_t i = 0;
  while (!g_str_equal (name + total, known[i].name))
    i++;
  return format_number (known[i].figure);
}

static char *
value_last_repair (Subject *self, const char *name, GError **error)
{
  const StoreStatus *figures = load_own (self, error);

  return figures == NULL || figures->last_repair_s == 0 ? NULL
                                                        : format_time (figures->last_repair_s);
}

/* The job that runs for just this directory, else the first that waits; in a snapshot there is
 * none. One query a command: how long the queue is does not matter. */
static bool
find_job (Subject *self, StoreRecord *out, bool *out_found, GError **error)
{
  uint32_t number = inode_number (self->ino);

  *out_found = false;
  for (const StoreCommand *command = store_commands;
       self->view->epoch == 0 && command->name != NULL; command++) {
    g_auto (StoreRecord) job = {0};
    bool found;
    if (!store_queue_pending (self->mount->store, command, number, &job, &found, error))
      return false;
    bool runs = found && job.state == STORE_JOB_RUNNING;
    if (!found || (!runs && *out_found && out->id < job.id))
      continue;
    store_record_clear (out);
    *out = job;
    job = (StoreRecord){0};
    *out_found = true;
    if (runs)
      return true;
  }
  return true;
}

static char *
value_job (Subject *self, const char *name, GError **error)
{
  g_auto (StoreRecord) job = {0};
  bool found;

  if (!find_job (self, &job, &found, error) || !found)
    return NULL;
  return g_strdup_printf ("%" PRIu64 " %s %s", job.id,
                          job.state == STORE_JOB_RUNNING ? "running" : "queued", job.action);
}

/* The store's is that of the file health. A mailbox's is its own; that of what holds no messages
 * itself is of everything below. */
static char *
value_health (Subject *self, const char *name, GError **error)
{
  g_auto (StoreRecord) job = {0};
  bool found;

  if (self->node.kind == STORE_NODE_ROOT && self->view->epoch == 0) {
    g_auto (Overview) overview = overview_take (self->mount);
    return g_strdup (overview.health);
  }
  if (find_job (self, &job, &found, NULL) && found && store_record_rebuilds (&job))
    return g_strdup (store_health_name (STORE_HEALTH_REBUILDING));
  if (self->on == ON_ABOVE) {
    const StoreStatus *totals = load_totals (self, error);
    return totals == NULL ? NULL : g_strdup (store_health_name (status_judge (totals, true)));
  }
  const StoreMailboxInfo *info = load_info (self, error);
  return info == NULL ? NULL : g_strdup (store_health_name (info->health));
}

/* ---- the table ---------------------------------------------------------------------------- */

static char *value_all (Subject *self, const char *name, GError **error);

static const Attribute attributes[] = {
    {"flags", ON_MESSAGE, true, value_flags},
    {"uid", ON_MESSAGE, false, value_uid},
    {"internaldate", ON_MESSAGE, false, value_internaldate},
    {"modseq", ON_MESSAGE, false, value_modseq},
    {"state", ON_MESSAGE, false, value_state},
    {"damage", ON_MESSAGE, false, value_damage},
    {"sha256", ON_MESSAGE, false, value_sha256},
    {"subject", ON_MESSAGE, false, value_field},
    {"from", ON_MESSAGE, false, value_field},
    {"to", ON_MESSAGE, false, value_field},
    {"date", ON_MESSAGE, false, value_field},
    {"sent", ON_MESSAGE, false, value_sent},
    {"message-id", ON_MESSAGE, false, value_field},
    {"envelope", ON_MESSAGE, false, value_imap},
    {"bodystructure", ON_MESSAGE, false, value_imap},
    {"store_path", ON_MESSAGE, false, value_store_path},
    {"number", ON_DIRECTORY, true, value_number},
    {"uidvalidity", ON_MAILBOX, true, value_uids},
    {"uidnext", ON_MAILBOX, true, value_uids},
    {"subscribed", ON_MAILBOX, true, value_subscribed},
    {"special_use", ON_MAILBOX, true, value_special_use},
    {"name", ON_DIRECTORY, true, value_name},
    {"messages", ON_DIRECTORY, false, value_figure},
    {"unseen", ON_DIRECTORY, false, value_figure},
    {"bytes", ON_DIRECTORY, false, value_figure},
    {"rmessages", ON_DIRECTORY, false, value_figure},
    {"rbytes", ON_DIRECTORY, false, value_figure},
    {"expunged", ON_DIRECTORY, false, value_figure},
    {"highestmodseq", ON_DIRECTORY, false, value_figure},
    {"last_repair", ON_DIRECTORY, false, value_last_repair},
    {"health", ON_DIRECTORY, false, value_health},
    {"job", ON_DIRECTORY, false, value_job},
    {"all", ON_MESSAGE | ON_DIRECTORY, false, value_all},
};

static bool
applies (const Attribute *attribute, const Subject *subject)
{
  XattrsMode mode = subject->mount->options->xattrs;

  return (attribute->on & subject->on) != 0 &&
         (mode == XATTRS_ALL || (mode == XATTRS_DATA && attribute->listed));
}

/* A line for each attribute that is set. One that fails is left out: the others may be all that is
 * left to know. */
static char *
value_all (Subject *self, const char *name, GError **error)
{
  GString *text = g_string_new (NULL);

  for (size_t i = 0; i < G_N_ELEMENTS (attributes); i++) {
    const Attribute *attribute = &attributes[i];
    if (!applies (attribute, self) || attribute->value == value_all)
      continue;
    g_autofree char *value = attribute->value (self, attribute->name, NULL);
    g_autofree char *printable = value == NULL ? NULL : store_text_printable (value);
    if (printable != NULL)
      g_string_append_printf (text, "%s %s\n", attribute->name, printable);
  }
  return g_string_free (text, FALSE);
}

char *
attribute_value (Mount *mount, fuse_ino_t ino, const char *name, GError **error)
{
  g_auto (Subject) subject = {0};

  if (!attribute_is_known (ino, name) || !load_subject (mount, ino, &subject, error))
    return NULL;
  for (size_t i = 0; i < G_N_ELEMENTS (attributes); i++) {
    const Attribute *attribute = &attributes[i];
    if (!applies (attribute, &subject) || !g_str_equal (name, attribute->name))
      continue;
    g_autofree char *value = attribute->value (&subject, name, error);
    if (value == NULL || attribute->value == value_all)
      return g_steal_pointer (&value);
    return store_text_printable (value);
  }
  return NULL;
}

bool
attribute_list (Mount *mount, fuse_ino_t ino, GString *out, GError **error)
{
  g_auto (Subject) subject = {0};

  if (!load_subject (mount, ino, &subject, error))
    return false;
  for (size_t i = 0; i < G_N_ELEMENTS (attributes); i++) {
    const Attribute *attribute = &attributes[i];
    if (!attribute->listed || !applies (attribute, &subject))
      continue;
    g_autofree char *value = attribute->value (&subject, attribute->name, NULL);
    if (value != NULL) {
      g_string_append_printf (out, "%s%s", ATTRIBUTE_PREFIX, attribute->name);
      g_string_append_c (out, '\0');
    }
  }
  return true;
}

bool
attribute_is_known (fuse_ino_t ino, const char *name)
{
  InodeKind kind = inode_kind (ino);
  unsigned on = kind == INODE_MESSAGE ? ON_MESSAGE : kind == INODE_DIRECTORY ? ON_DIRECTORY : 0;

  for (size_t i = 0; i < G_N_ELEMENTS (attributes); i++)
    if ((attributes[i].on & on) != 0 && g_str_equal (name, attributes[i].name))
      return true;
  return false;
}
