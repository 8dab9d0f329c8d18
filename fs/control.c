/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - the table of what is in the control directories.
 *
 * Fixed files are rows here. The rows of verbs and settings are made of the store's own tables when
 * the mount begins, so a command that is added there has its file in every control directory.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/rendering.h"
#include "fs/rows.h"
#include "fs/transient.h"
#include "store/commands.h"
#include "store/rescue.h"

#define ABI_VERSION 1

struct Control {
  ControlFile files[SLOTS]; /* by slot; without a name: there is none */
};

static bool
render_version (Mount *mount, const ControlNode *node, GString *out, GError **error)
{
  g_string_append_printf (out, "mailfs %s abi %d\n", MAILFS_VERSION, ABI_VERSION);
  return true;
}

static bool
spill_manifest (Mount *mount, const ControlNode *node, FILE *out, GError **error)
{
  return store_manifest_write (mount->top, node->number, out, error);
}

static bool
spill_export (Mount *mount, const ControlNode *node, FILE *out, GError **error)
{
  return store_export_write (mount->top, node->number, out, error);
}

static bool
spill_manifest_json (Mount *mount, const ControlNode *node, FILE *out, GError **error)
{
  return store_manifest_json_write (mount->top, node->number, out, error);
}

static bool
spill_timeline (Mount *mount, const ControlNode *node, FILE *out, GError **error)
{
  return store_timeline_write (mount->top, node->number, out, error);
}

static bool
goes_on (StoreJob *job, void *mount)
{
  return !renderings_stopped (((Mount *)mount)->renderings);
}

static bool
spill_damage (Mount *mount, const ControlNode *node, FILE *out, GError **error)
{
  return store_damage_write (mount->top, node->number, out, goes_on, mount, error);
}

static bool
spill_quarantine (Mount *mount, const ControlNode *node, FILE *out, GError **error)
{
  return store_quarantine_write (mount->store, out, error);
}

/* ---- the table ---------------------------------------------------------------------------- */

/* Slots tell no order but that of listings. */
static const ControlFile fixed_files[] = {
    {"README", 1, PLACE_STORE, S_IFREG, .render = readme_render, .past = true},
    {"version", 2, PLACE_STORE, S_IFREG, .render = render_version, .past = true},
    {"health", 3, PLACE_STORE, S_IFREG, .render = status_render_health, .past = true},
    {"status", 4, PLACE_STORE | PLACE_NODE, S_IFREG, .render = status_render_text, .past = true},
    {"status.json", 5, PLACE_STORE | PLACE_NODE, S_IFREG, .render = status_render_json,
     .past = true},
    {"config", 6, PLACE_STORE, S_IFDIR, .holds = PLACE_CONFIG},
    {"ctl", 7, PLACE_STORE, S_IFREG, .render = order_render_grammar, .write = order_write_ctl},
    {"queue", 8, PLACE_STORE, S_IFREG, .spill = job_spill_queue},
    {"jobs", 9, PLACE_STORE, S_IFDIR, .holds = PLACE_JOBS, .render = job_render_names},
    {"last", 10, PLACE_JOBS, S_IFLNK, .render = job_render_last},
    {"snapshots", 11, PLACE_STORE, S_IFDIR, .holds = PLACE_SNAPSHOTS,
     .render = snapshots_render_names, .grows = true},
    {"latest", 12, PLACE_SNAPSHOTS, S_IFLNK, .render = snapshots_render_latest, .grows = true},
    {"lost+found", 13, PLACE_STORE, S_IFDIR, .tree = &lost_tree},
    {"parts", 14, PLACE_STORE, S_IFDIR, .tree = &parts_tree, .past = true},
    {"metrics", 15, PLACE_STORE, S_IFREG, .render = metrics_render},
    {"last_error", 16, PLACE_STORE, S_IFREG, .render = trail_render_last_error, .grows = true},
    {"events", 17, PLACE_STORE, S_IFREG, .render = trail_render_events, .grows = true},
    {"audit", 18, PLACE_STORE, S_IFREG, .open = audit_open, .grows = true},
    {"search", 19, PLACE_STORE | PLACE_NODE, S_IFDIR, .tree = &search_tree},
    {"manifest.sha256", 20, PLACE_STORE | PLACE_NODE, S_IFREG, .spill = spill_manifest,
     .walks = true, .past = true},
    {"export.jsonl", 21, PLACE_STORE | PLACE_NODE, S_IFREG, .spill = spill_export, .walks = true,
     .past = true},
    {"quarantine.jsonl", 22, PLACE_STORE, S_IFREG, .spill = spill_quarantine},
    {"damage", 23, PLACE_STORE | PLACE_NODE, S_IFREG, .spill = spill_damage, .walks = true},
    {"manifest.json", 24, PLACE_STORE | PLACE_NODE, S_IFREG, .spill = spill_manifest_json,
     .walks = true, .past = true},
    {"timeline", 25, PLACE_STORE | PLACE_NODE, S_IFREG, .spill = spill_timeline, .walks = true},
    {"orphans", 26, PLACE_NODE, S_IFDIR, .tree = &lost_tree},
    {"expunged", 27, PLACE_NODE, S_IFDIR, .tree = &lost_tree},
    {"store", 32, PLACE_CONFIG, S_IFREG, .render = config_render_store},
    {"uuid", 40, PLACE_CONFIG, S_IFREG, .render = config_render_uuid},
    {"mountpoint", 33, PLACE_CONFIG, S_IFREG, .render = config_render_mountpoint},
    {"ctl", 34, PLACE_CONFIG, S_IFREG, .render = config_render_ctl},
    {"ctldir", 35, PLACE_CONFIG, S_IFREG, .render = config_render_ctldir},
    {"xattrs", 36, PLACE_CONFIG, S_IFREG, .render = config_render_xattrs},
    {"read_only", 37, PLACE_CONFIG, S_IFREG, .render = config_render_read_only},
    {"verify", 38, PLACE_CONFIG, S_IFREG, .render = config_render_verify,
     .write = config_write_verify},
    {"damaged", 41, PLACE_CONFIG, S_IFREG, .render = config_render_damaged},
    {"audit", 42, PLACE_CONFIG, S_IFREG, .render = config_render_audit},
    {"worker", 39, PLACE_CONFIG, S_IFREG, .render = config_render_worker,
     .write = config_write_worker},
};

/* The control directory itself: of the root, and of others. */
static const ControlFile control_directories[] = {
    {.type = S_IFDIR, .holds = PLACE_NODE},
    {.type = S_IFDIR, .holds = PLACE_STORE},
};

/* The directory of a job, and what is in it. Here the slot is that of the job's inode numbers. */
static const ControlFile job_files[] = {
    {.type = S_IFDIR, .holds = PLACE_JOB},
    {"cmd", 1, PLACE_JOB, S_IFREG, .render = job_render_cmd},
    {"state", 2, PLACE_JOB, S_IFREG, .render = job_render_state},
    {"progress", 3, PLACE_JOB, S_IFREG, .render = job_render_progress},
    {"result", 4, PLACE_JOB, S_IFREG, .render = job_render_result},
    {"log", 5, PLACE_JOB, S_IFREG, .render = job_render_log},
    {"report.json", 6, PLACE_JOB, S_IFREG, .spill = job_spill_report},
    {"cancel", 7, PLACE_JOB, S_IFREG, .render = job_render_state, .write = job_write_cancel},
};

/* Verbs that name a directory outside the store, and short ones, are for ctl only. */
static void
add_verbs (Control *self)
{
  for (unsigned i = 0; store_commands[i].name != NULL && i < SLOT_SETTINGS - SLOT_VERBS; i++) {
    const StoreCommand *command = &store_commands[i];
    bool named = (command->traits & STORE_COMMAND_NAMED) != 0;
    if ((command->traits & (STORE_COMMAND_DIRECTORY | STORE_COMMAND_IMMEDIATE)) == 0)
      self->files[SLOT_VERBS + i] = (ControlFile){
          .name = command->name,
          .slot = SLOT_VERBS + i,
          .places = named ? PLACE_NODE : PLACE_STORE | PLACE_NODE,
          .type = S_IFREG,
          .render = order_render_state,
          .write = order_write_verb,
      };
  }
}

static void
add_settings (Control *self)
{
  for (unsigned i = 0; store_settings[i].name != NULL && i < SLOTS - SLOT_SETTINGS; i++)
    self->files[SLOT_SETTINGS + i] = (ControlFile){
        .name = store_settings[i].name,
        .slot = SLOT_SETTINGS + i,
        .places = PLACE_CONFIG,
        .type = S_IFREG,
        .render = config_render_setting,
        .write = config_write_setting,
    };
}

Control *
control_new (void)
{
  Control *self = g_new0 (Control, 1);

  for (size_t i = 0; i < G_N_ELEMENTS (fixed_files); i++)
    self->files[fixed_files[i].slot] = fixed_files[i];
  add_verbs (self);
  add_settings (self);
  return self;
}

void
control_free (Control *self)
{
  g_free (self);
}

/* Whether there is such a file in this mount, somewhere. */
static bool
is_there (Mount *mount, const ControlFile *file)
{
  return file->name != NULL && (file->past || mount->top == mount->store);
}

const ControlFile *
control_find (Mount *mount, fuse_ino_t ino, ControlNode *out)
{
  uint32_t slot = inode_slot (ino);

  if (mount->options->ctl == CTL_OFF || inode_kind (ino) != INODE_CONTROL)
    return NULL;
  *out = (ControlNode){
      .ino = inode_plain (ino), .number = inode_number (ino), .job = inode_job_id (ino)};
  if (out->job != 0)
    return &job_files[slot];
  if (inode_uid (ino) <= STORE_UID_MAX)
    return NULL;
  if (slot == 0)
    return &control_directories[out->number == STORE_ROOT];
  const ControlFile *file = slot < SLOTS ? &mount->control->files[slot] : NULL;
  if (file == NULL || !is_there (mount, file) ||
      (out->number != STORE_ROOT && (file->places & PLACE_NODE) == 0))
    return NULL;
  out->row = slot - (slot >= SLOT_SETTINGS ? SLOT_SETTINGS
                     : slot >= SLOT_VERBS  ? SLOT_VERBS
                                           : slot);
  return file;
}

const ControlFile *
control_next (Mount *mount, ControlPlace place, uint32_t after)
{
  if (place == PLACE_JOB)
    return after + 1 < G_N_ELEMENTS (job_files) ? &job_files[after + 1] : NULL;
  for (uint32_t slot = after + 1; slot < SLOTS; slot++)
    if ((mount->control->files[slot].places & place) != 0 &&
        is_there (mount, &mount->control->files[slot]))
      return &mount->control->files[slot];
  return NULL;
}

fuse_ino_t
control_place (Mount *mount, ControlPlace place)
{
  uint32_t slot = SLOTS - 1;

  while (slot > 0 && mount->control->files[slot].holds != place)
    slot--;
  return inode_control (STORE_ROOT, slot);
}
