/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remote-job.c - what a mount does for us: jobs, and the lines that ask for them.
 *
 * A line that is written to `ctl` carries a tag of ours. The line of the audit that has it names
 * the jobs that came of it, or tells why nothing did. How far a job is and what it has found is in
 * its directory below `jobs`.
 */
#include "tools/answer.h"
#include "tools/print.h"
#include "tools/remote.h"
#include "tools/site.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is shown of a job is held for a tenth of a second after somebody looked. */
#define LOOK_US       (110 * G_TIME_SPAN_MILLISECOND)
#define FIRST_LOOK_US (20 * G_TIME_SPAN_MILLISECOND)

/* About as much as a mount takes in one line. */
#define LINE_SIZE 60000u

/* ---- reports ------------------------------------------------------------------------------- */

/* ENOENT: no such job. */
static JsonObject *
read_report (Remote *self, uint64_t id, JsonParser **out_parser, GError **error)
{
  g_autofree char *path = g_strdup_printf ("jobs/%" G_GUINT64_FORMAT "/report.json", id);
  g_autoptr (GError) failure = NULL;
  g_autofree char *text = remote_read (self, path, &failure);
  if (text != NULL)
    return answer_parse (text, out_parser, error);
  if (failure->code == ENOENT || failure->code == ESTALE)
    fail (error, ENOENT, "no job %" G_GUINT64_FORMAT, id);
  else
    g_propagate_error (error, g_steal_pointer (&failure));
  return NULL;
}

bool
remote_record (Remote *self, uint64_t id, StoreRecord *out, GError **error)
{
  g_autoptr (JsonParser) parser = NULL;
  JsonObject *report = read_report (self, id, &parser, error);
  if (report != NULL)
    *out = answer_record (report);
  return report != NULL;
}

GPtrArray *
remote_findings (Remote *self, uint64_t id, GError **error)
{
  g_autoptr (JsonParser) parser = NULL;
  JsonObject *report = read_report (self, id, &parser, error);
  return report != NULL ? answer_findings (report) : NULL;
}

/* ---- lists of jobs ------------------------------------------------------------------------- */

static void
add_id (GArray *ids, const char *text)
{
  guint64 id;
  if (g_ascii_string_to_unsigned (text, 10, 1, INT64_MAX, &id, NULL))
    g_array_append_val (ids, id);
}

/* Those in the queue: the first column of its lines. */
static bool
list_pending (Remote *self, GArray *ids, GError **error)
{
  g_autofree char *text = remote_read (self, "queue", error);
  g_auto (GStrv) lines = text != NULL ? g_strsplit (text, "\n", -1) : NULL;
  for (char **line = lines; lines != NULL && *line != NULL; line++) {
    (*line)[strcspn (*line, " ")] = '\0';
    add_id (ids, *line);
  }
  return text != NULL;
}

static bool
list_all (Remote *self, GArray *ids, GError **error)
{
  g_autofree char *path = remote_control_path (self, "jobs");
  DIR *directory = opendir (path);
  if (directory == NULL)
    return remote_check_present (self, error) && fail_errno (error, "open %s", path);
  for (struct dirent *entry; (entry = (errno = 0, readdir (directory))) != NULL;)
    add_id (ids, entry->d_name);
  int code = errno;
  closedir (directory);
  return code == 0 || fail (error, code, "list %s: %s", path, g_strerror (code));
}

static int
compare_ids (gconstpointer a, gconstpointer b)
{
  uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return (left > right) - (left < right);
}

bool
remote_each_record (Remote *self, bool pending, RecordFunc each, void *data, GError **error)
{
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (uint64_t));
  if (!(pending ? list_pending (self, ids, error) : list_all (self, ids, error)))
    return false;
  g_array_sort (ids, compare_ids);
  for (guint i = 0; i < ids->len; i++) {
    g_auto (StoreRecord) record = {0};
    g_autoptr (GError) failure = NULL;
    if (remote_record (self, g_array_index (ids, uint64_t, i), &record, &failure))
      each (&record, data);
    else if (failure->code != ENOENT) {
      g_propagate_error (error, g_steal_pointer (&failure));
      return false;
    }
  }
  return true;
}

/* ---- asking for something ------------------------------------------------------------------ */

/* Takes out of a line of the audit what has our tag: the numbers of the jobs, or why there are
 * none.
 */
static bool
take_answer (JsonObject *answer, GArray *jobs, GError **error)
{
  JsonArray *list = answer_list (answer, "jobs");
  for (guint i = 0; list != NULL && i < json_array_get_length (list); i++) {
    uint64_t id = (uint64_t)json_array_get_int_element (list, i);
    g_array_append_val (jobs, id);
  }
  int code = answer_errno (answer, "result");
  const char *reason = answer_text (answer, "reason");
  /* Which of the lines it was means nothing to who has not written them. */
  if (reason != NULL && g_regex_match_simple ("^line [0-9]+: ", reason, 0, 0))
    reason = strchr (reason, ':') + 2;
  return code == 0 || fail (error, code, "%s", reason != NULL ? reason : g_strerror (code));
}

/* Looks for our lines in what came to the audit since it had `before` bytes: what was written at
 * once may have come there in parts. `*out_found` is false when there are none. */
static bool
find_answers (Remote *self, off_t before, const char *tag, GArray *jobs, bool *out_found,
              GError **error)
{
  g_autofree char *path = remote_control_path (self, "audit");
  FILE *file = fopen (path, "re");
  struct stat st;
  char *line = NULL;
  size_t capacity = 0;
  bool good = true;
  *out_found = false;
  if (file == NULL)
    return fail_errno (error, "open %s", path);
  /* Shorter than it was: it was begun anew. */
  if (fstat (fileno (file), &st) == 0 && st.st_size >= before)
    fseeko (file, before, SEEK_SET);
  while (good && getline (&line, &capacity, file) >= 0) {
    g_autoptr (JsonParser) parser = NULL;
    JsonObject *answer = strstr (line, tag) != NULL ? answer_parse (line, &parser, NULL) : NULL;
    if (answer == NULL || g_strcmp0 (answer_text (answer, "tag"), tag) != 0)
      continue;
    *out_found = true;
    good = take_answer (answer, jobs, error);
  }
  free (line);
  fclose (file);
  return good;
}

static off_t
audit_size (Remote *self)
{
  g_autofree char *path = remote_control_path (self, "audit");
  struct stat st;
  return stat (path, &st) == 0 ? st.st_size : 0;
}

static bool
write_ctl (Remote *self, const GString *text, GError **error)
{
  g_autofree char *path = remote_control_path (self, "ctl");
  auto_fd fd = open (path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return fail_errno (error, "open %s", path);
  errno = EIO; /* of a write that is cut short the audit tells why */
  return write (fd, text->str, text->len) == (ssize_t)text->len ||
         fail_errno (error, "write to %s", path);
}

static void
append_word (GString *text, const char *word)
{
  g_autofree char *quoted = g_shell_quote (word);
  g_string_append_printf (text, "%s%s", text->len > 0 ? " " : "", quoted);
}

bool
remote_order (Remote *self, const GPtrArray *lines, const char *how, GArray *out_jobs,
              GError **error)
{
  g_autofree char *tag = g_strdup_printf ("mailstore-%d-%08x", getpid (), g_random_int ());
  g_autoptr (GString) all = g_string_new (NULL);
  for (guint i = 0; i < lines->len; i++) {
    const GPtrArray *words = lines->pdata[i];
    g_autoptr (GString) line = g_string_new (NULL);
    /* Behind "--" the mount would not look for its own words. */
    append_word (line, words->pdata[0]);
    g_string_append_printf (line, " tag=%s%s%s", tag, *how != '\0' ? " " : "", how);
    for (char **word = (char **)words->pdata + 1; *word != NULL; word++)
      append_word (line, *word);
    g_string_append_printf (all, "%s\n", line->str);
  }
  off_t before = audit_size (self);
  g_autoptr (GError) failure = NULL, reason = NULL;
  bool found, written = write_ctl (self, all, &failure);
  if (!find_answers (self, before, tag, out_jobs, &found, &reason))
    g_propagate_error (error, g_steal_pointer (&reason));
  else if (!written)
    g_propagate_error (error, g_steal_pointer (&failure));
  else
    return found || fail (error, EPROTONOSUPPORT, "the mount did not tell what came of it");
  return false;
}

/* Jobs are numbered in the order of their coming: one with a number that was there before waits
 * already. */
bool
remote_queue_add (Remote *self, const GPtrArray *requests, uint64_t *out_ids, bool *out_added,
                  GError **error)
{
  g_autofree char *path = remote_control_path (self, "jobs/last");
  g_autofree char *last = g_file_read_link (path, NULL);
  uint64_t newest = last != NULL ? g_ascii_strtoull (last, NULL, 10) : 0;
  g_autoptr (GArray) jobs = g_array_new (FALSE, FALSE, sizeof (uint64_t));
  if (!remote_order (self, requests, "", jobs, error))
    return false;
  if (jobs->len != requests->len)
    return fail (error, EPROTONOSUPPORT, "the mount told of %u jobs, not of %u", jobs->len,
                 requests->len);
  for (guint i = 0; i < jobs->len; i++) {
    out_ids[i] = g_array_index (jobs, uint64_t, i);
    out_added[i] = out_ids[i] > newest;
    newest = MAX (newest, out_ids[i]);
  }
  return true;
}

/* ---- running something --------------------------------------------------------------------- */

/* Whether the job has ended. */
static bool
look_at (Remote *self, uint64_t id, bool *out_ended, GError **error)
{
  g_autofree char *path = g_strdup_printf ("jobs/%" G_GUINT64_FORMAT "/state", id);
  g_autofree char *state = remote_read (self, path, error);
  *out_ended =
      state != NULL && !g_str_has_prefix (state, "queued") && !g_str_has_prefix (state, "running");
  return state != NULL;
}

static void
show_progress (Remote *self, uint64_t id, Progress *progress)
{
  g_autofree char *path = g_strdup_printf ("jobs/%" G_GUINT64_FORMAT "/progress", id);
  g_autofree char *text = remote_read (self, path, NULL);
  StoreProgress now = {0};
  char unit[32] = "";
  if (text != NULL &&
      sscanf (text, "%" SCNu64 " %" SCNu64 " %31s", &now.done, &now.total, unit) >= 2) {
    now.unit = g_intern_string (unit);
    progress_show (progress, &now);
  }
}

bool
remote_cancel (Remote *self, const char *verb, const uint64_t *ids, size_t count, GError **error)
{
  g_autoptr (GPtrArray) lines = g_ptr_array_new_with_free_func ((GDestroyNotify)g_ptr_array_unref);
  g_autoptr (GArray) jobs = g_array_new (FALSE, FALSE, sizeof (uint64_t));
  for (size_t i = 0; i < count; i++) {
    GPtrArray *words = g_ptr_array_new_with_free_func (g_free);
    g_ptr_array_add (words, g_strdup (verb));
    g_ptr_array_add (words, g_strdup_printf ("%" G_GUINT64_FORMAT, ids[i]));
    g_ptr_array_add (words, NULL);
    g_ptr_array_add (lines, words);
  }
  return remote_order (self, lines, "", jobs, error);
}

/* Until the job has ended. Who presses Ctrl-C ends it. */
static bool
follow (Remote *self, uint64_t id, Progress *progress, GError **error)
{
  bool ended = false, cancelled = false;
  for (int64_t pause_us = FIRST_LOOK_US; !ended; pause_us = LOOK_US) {
    g_usleep ((gulong)pause_us);
    if (progress_interrupted () != 0 && !cancelled) {
      cancelled = true;
      /* It may just have ended. */
      remote_cancel (self, "cancel", &id, 1, NULL);
    }
    if (!look_at (self, id, &ended, error))
      return false;
    show_progress (self, id, progress);
  }
  return true;
}

/* How it ended. */
static bool
judge (const StoreRecord *record, const char *verb, GError **error)
{
  switch (record->state) {
  case STORE_JOB_DONE: return true;
  case STORE_JOB_FAILED:
    return fail (error, record->code != 0 ? record->code : EIO, "%s",
                 record->error != NULL ? record->error : "it failed");
  case STORE_JOB_INTERRUPTED: return fail (error, ECANCELED, "%s was interrupted", verb);
  default: return fail (error, ECANCELED, "%s was cancelled", verb);
  }
}

bool
remote_act (Remote *self, GPtrArray *words, GPtrArray **out_findings, GError **error)
{
  g_autoptr (GArray) jobs = g_array_new (FALSE, FALSE, sizeof (uint64_t));
  g_autoptr (GPtrArray) lines = g_ptr_array_new ();
  g_ptr_array_add (lines, words);
  bool done = remote_order (self, lines, "", jobs, error);
  if (jobs->len > 0)
    *out_findings = remote_findings (self, g_array_index (jobs, uint64_t, 0), done ? error : NULL);
  else if (done)
    *out_findings = g_ptr_array_new (); /* the disk is full, and nothing could be written down */
  return done && *out_findings != NULL;
}

/* What several jobs came to. */
typedef struct {
  GPtrArray *findings;
  StoreResult result;
} Outcome;

static void
add_result (StoreResult *sum, const StoreResult *part)
{
  sum->mailboxes += part->mailboxes;
  sum->messages += part->messages;
  sum->bytes += part->bytes;
  sum->fixed += part->fixed;
  sum->left += part->left;
  sum->taken += part->taken;
  sum->taken_bytes += part->taken_bytes;
}

static bool
run_part (Remote *self, GPtrArray *words, Progress *progress, Outcome *outcome, GError **error)
{
  g_autoptr (GArray) jobs = g_array_new (FALSE, FALSE, sizeof (uint64_t));
  g_autoptr (GPtrArray) lines = g_ptr_array_new ();
  g_autoptr (JsonParser) parser = NULL;
  g_ptr_array_add (lines, words);
  if (!remote_order (self, lines, "now", jobs, error))
    return false;
  if (jobs->len != 1)
    return fail (error, EPROTONOSUPPORT, "the mount told of no job");
  uint64_t id = g_array_index (jobs, uint64_t, 0);
  JsonObject *report =
      follow (self, id, progress, error) ? read_report (self, id, &parser, error) : NULL;
  if (report == NULL)
    return false;
  g_auto (StoreRecord) record = answer_record (report);
  StoreResult result = answer_result (report);
  g_ptr_array_extend_and_steal (outcome->findings, answer_findings (report));
  add_result (&outcome->result, &result);
  return judge (&record, words->pdata[0], error);
}

/* The first words that fit into one line of those in `rest`, which are taken from there: words,
 * then as many mailboxes, which begin with a slash, as there is room for. */
static GPtrArray *
take_part (const GPtrArray *words, guint *next)
{
  GPtrArray *part = g_ptr_array_new ();
  size_t size = 0;
  guint i = 0;
  for (const char *word; (word = words->pdata[i]) != NULL && *word != '/'; i++)
    g_ptr_array_add (part, words->pdata[i]);
  guint common = i;
  for (i = MAX (i, *next); words->pdata[i] != NULL; i++) {
    g_autofree char *quoted = g_shell_quote (words->pdata[i]);
    size += strlen (quoted) + 1;
    if (size > LINE_SIZE && i > MAX (common, *next))
      break;
    g_ptr_array_add (part, words->pdata[i]);
  }
  g_ptr_array_add (part, NULL);
  *next = i;
  return part;
}

bool
remote_run (Remote *self, Tool *tool, const StoreCommand *command, GPtrArray *words, GError **error)
{
  g_autoptr (GPtrArray) findings = g_ptr_array_new_with_free_func (store_finding_free);
  g_autoptr (Progress) progress = progress_new (tool);
  Outcome outcome = {findings, {0}};
  bool good = true;
  guint next = 0;
  do {
    g_autoptr (GPtrArray) part = take_part (words, &next);
    good = run_part (self, part, progress, &outcome, error);
  } while (good && words->pdata[next] != NULL);
  double seconds = progress_seconds (progress);
  g_clear_pointer (&progress, progress_free); /* the bar goes before the lines come */
  run_print_findings (tool, findings);
  if (good)
    run_print_result (tool, command, g_strv_contains ((const char *const *)words->pdata, "dry-run"),
                      &outcome.result, seconds);
  return good;
}
