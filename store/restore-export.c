/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore --export: what the files alone do not tell comes back to messages that are there, as
 * those of a copy without extended attributes. An export that was written beside the copy tells it.
 *
 * A message is the one that the export tells of when it lies in the mailbox of that path, under
 * that UID, and has that digest. When there is no other in a mailbox, UIDs mean there what they
 * meant, so UIDVALIDITY and the mailbox number come back as well. In a mailbox that has its
 * UIDVALIDITY all the time, flags that are newer than the export stay.
 *
 * A directory keeps the number that a store gave it once: so it gets the one that it had only as
 * long as it has none, before the store takes it in.
 *
 * No file comes or goes. Whatever failed or was interrupted is simply done again.
 */
#include "store/restore.h"
#include "store/snapshot.h"

#include <string.h>
#include <unistd.h>

/* ---- what there is ------------------------------------------------------------------------- */

static bool
find_path (Store *store, const char *path, StoreNode *out, bool *out_found, GError **error)
{
  StoreTree tree = store_tree (store);
  g_auto (GStrv) levels = g_strsplit (path, "/", -1);
  g_auto (StoreNode) node = {.kind = STORE_NODE_ROOT, .name = g_strdup ("")};
  unsigned count = *path != '\0' ? g_strv_length (levels) : 0, depth = 0;
  if (!spelling_descend (&tree, levels, count, &node, &depth, error))
    return false;
  *out_found = depth == count;
  if (*out_found) {
    *out = node;
    node = (StoreNode){0};
  }
  return true;
}

/* Whether the path was named, or lies below what was. */
static bool
is_meant (const RestoreExport *self, const char *path)
{
  bool recursive = job_has (self->job, STORE_WORD_RECURSIVE);
  for (guint i = 0; self->scope != NULL && i < self->scope->len; i++) {
    const char *named = self->scope->pdata[i];
    size_t length = strlen (named);
    bool mailbox = create_path_depth (named) > 3;
    if (strncmp (path, named, length) != 0)
      continue;
    if (length == 0 || path[length] == '\0' || (path[length] == '/' && (recursive || !mailbox)))
      return true;
  }
  return self->scope == NULL;
}

/* ---- one after the other ------------------------------------------------------------------- */

/* A user may have no index, or one of texts, too. */
static bool
restore_directory (RestoreExport *self, const StoreNode *node, const Told *told, GError **error)
{
  StoreIndexing now, then = told->no_index ? STORE_INDEX_OFF : STORE_INDEX_TEXT;
  if ((!told->no_index && !told->full_text) ||
      !store_user_index (self->store, node->number, &now, NULL) || now == then)
    return true;
  job_took (self->job, STORE_PROBLEM_CHANGED, node->number, 0, 0, told->path, "has %s index again",
            told->no_index ? "no" : "a full-text");
  return self->dry_run || store_user_set_index (self->store, node->number, then, error);
}

static bool
restore_told (RestoreExport *self, const Told *told, GError **error)
{
  g_auto (StoreNode) node = {0};
  bool found = false;
  if (!is_meant (self, told->path))
    return true;
  if (!job_go_on (self->job, error) || !find_path (self->store, told->path, &node, &found, error))
    return false;
  if (!found || (node.kind == STORE_NODE_MAILBOX) != told->is_mailbox) {
    job_found (self->job, STORE_PROBLEM_NO_DIRECTORY, false, 0, 0, told->path,
               "the export tells of it, but it is not there");
    return true;
  }
  return told->is_mailbox ? restore_export_mailbox (self, &node, told, error)
                          : restore_directory (self, &node, told, error);
}

/* Calls `each` for every directory that the export tells of. */
typedef bool (*ToldFunc) (RestoreExport *self, const Told *told, GError **error);
static bool
each_told (RestoreExport *self, ToldFunc each, GError **error)
{
  const char *path = self->job->request->export;
  g_autoptr (ExportReader) reader = export_reader_new (self->file, path, error);
  while (reader != NULL) {
    g_auto (Told) told = {0};
    if (!job_go_on (self->job, error) || !export_reader_next (reader, &told, error))
      return false;
    if (told.path == NULL)
      return true;
    if (!each (self, &told, error))
      return false;
  }
  return false;
}

/* ---- numbers ------------------------------------------------------------------------------- */

/* A directory that the store has not taken in yet gets the number that it had. */
static bool
preset_number (RestoreExport *self, const Told *told, GError **error)
{
  g_auto (GStrv) levels = g_strsplit (told->path, "/", -1);
  g_auto (NodeState) state = {0};
  StoreNodeKind kind = STORE_NODE_ROOT;
  bool found = false;
  for (char **level = levels; *level != NULL; level++)
    kind = node_child_kind (kind, *level);
  auto_fd fd = layout_open (self->store->mail_fd, told->path, O_RDONLY | O_DIRECTORY, 0);
  if (!self->dry_run && fd >= 0 && kind != STORE_NODE_ROOT && told->number != 0 &&
      node_state_read (fd, kind, &state, &found, NULL) && !found)
    copied_number_keep (fd, told->number);
  return true;
}

/* ---- the whole ----------------------------------------------------------------------------- */

/* What is no regular file cannot be read twice. */
static FILE *
open_export (const char *path, GError **error)
{
  struct stat st;
  char bytes[65536];
  FILE *file = fopen (path, "re");
  if (file == NULL || fstat (fileno (file), &st) < 0) {
    fail_errno (error, "open %s", path);
    g_clear_pointer (&file, fclose);
    return NULL;
  }
  if (S_ISREG (st.st_mode))
    return file;
  FILE *copy = tmpfile ();
  for (size_t got; copy != NULL && (got = fread (bytes, 1, sizeof bytes, file)) > 0;)
    fwrite (bytes, 1, got, copy);
  if (copy == NULL || ferror (file) || fflush (copy) != 0) {
    fail_errno (error, "read %s", path);
    g_clear_pointer (&copy, fclose);
  }
  fclose (file);
  return copy;
}

/* What was named must be there. */
static bool
resolve (RestoreExport *self, GError **error)
{
  const GPtrArray *names = self->job->request->names;
  for (guint i = 0; names != NULL && i < names->len; i++) {
    g_auto (StoreNode) node = {0};
    char *path = NULL;
    if (!store_node_resolve (self->store, names->pdata[i], &node, error) ||
        (path = store_node_path (self->store, node.number, error)) == NULL)
      return false;
    if (self->scope == NULL)
      self->scope = g_ptr_array_new_with_free_func (g_free);
    g_ptr_array_add (self->scope, path);
  }
  return true;
}

/* All of the export makes sense before anything is changed. */
static bool
restore_all (RestoreExport *self, GError **error)
{
  self->file = open_export (self->job->request->export, error);
  if (self->file == NULL || !each_told (self, preset_number, error))
    return false;
  integrate_all (self->store);
  return resolve (self, error) && each_told (self, restore_told, error);
}

/* Rows have the UIDVALIDITY of their mailboxes. */
static bool
update_rows (const RestoreExport *self, GError **error)
{
  GHashTableIter iter;
  gpointer owner;
  g_hash_table_iter_init (&iter, self->touched);
  while (g_hash_table_iter_next (&iter, &owner, NULL)) {
    g_autofree char *nodes = g_strdup_printf ("%u", GPOINTER_TO_UINT (owner));
    if (!job_reconstruct_quietly (self->store, nodes, error))
      return false;
  }
  return true;
}

bool
restore_from_export (StoreJob *job, GError **error)
{
  RestoreExport self = {.job = job,
                        .store = job->store,
                        .dry_run = job_has (job, STORE_WORD_DRY_RUN),
                        .force = job_has (job, STORE_WORD_FORCE),
                        .compared = g_hash_table_new (NULL, NULL),
                        .touched = g_hash_table_new (NULL, NULL)};
  bool done = restore_all (&self, error);
  /* What was changed before it failed is not left behind. */
  done = update_rows (&self, done ? error : NULL) && done;
  g_clear_pointer (&self.scope, g_ptr_array_unref);
  g_clear_pointer (&self.file, fclose);
  g_hash_table_unref (self.compared);
  g_hash_table_unref (self.touched);
  return done;
}
