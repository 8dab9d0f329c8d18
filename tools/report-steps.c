/* SPDX-License-Identifier: Apache-2.0 */
/* report-steps.c - what the figures of a report mean, and what somebody should do. */
#include "tools/print.h"
#include "tools/report.h"

#include <inttypes.h>
#include <string.h>

#define RECENT_S      ((int64_t)7 * 24 * 60 * 60) /* what failed before that is history */
#define SPACE_PERCENT 10                          /* less than that is soon none */

static void add_step (Report *self, const char *command, const char *format, ...)
    G_GNUC_PRINTF (3, 4);

static void
add_step (Report *self, const char *command, const char *format, ...)
{
  ReportStep *step = g_new0 (ReportStep, 1);
  va_list args;
  va_start (args, format);
  step->why = g_strdup_vprintf (format, args);
  va_end (args);
  step->command = g_strdup (command);
  g_ptr_array_add (self->steps, step);
}

/* The command for the one user who is in trouble, else for the whole store. A name that is not
 * printed as it is cannot be given to a shell. */
static char *
command_for_trouble (const Report *self, const char *command)
{
  const char *title = self->users_in_trouble == 1 ? self->top_users[0].title : NULL;
  if (title == NULL || strchr (title, '\\') != NULL)
    return g_strdup (command);
  size_t plain = strspn (title, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "@._/+-");
  g_autofree char *quoted = title[plain] == '\0' ? g_strdup (title) : g_shell_quote (title);
  return g_strdup_printf ("%s %s", command, quoted);
}

static void
find_damage_steps (Report *self)
{
  if (self->unreadable_count > 0) {
    g_autofree char *count = text_count (self->unreadable_count, "mailbox", "mailboxes");
    add_step (self, "mailstore check", "%s could not be read; a check tells more", count);
  }
  if (self->list_lost)
    add_step (self, "mailstore reconstruct -m",
              "the mailbox list is missing, damaged or behind, and is made anew each time");
  if (self->behind > 0) {
    g_autofree char *count = text_count (self->behind, "mailbox is", "mailboxes are");
    g_autofree char *command = command_for_trouble (self, "mailstore repair");
    add_step (self, command, "%s served from the files, because the index does not have %s", count,
              self->behind == 1 ? "it" : "them");
  }
  if (self->damaged > 0) {
    g_autofree char *count = text_count (self->damaged, "message is", "messages are");
    g_autofree char *command = command_for_trouble (self, "mailstore restore DIR");
    add_step (self, command, "%s not what was delivered; a backup in DIR may have %s whole", count,
              self->damaged == 1 ? "it" : "them");
  }
  if (self->looked != NULL && self->looked->left > 0) {
    g_autofree char *count = text_count (self->looked->left, "finding", "findings");
    g_autofree char *command = g_strdup_printf ("mailstore jobs %" PRIu64, self->looked->id);
    add_step (self, command, "the last %s left %s", self->looked->action, count);
  }
}

/* Whether who asked for it was told at once what came of it: nobody else needs to look into it. */
static bool
is_immediate (const StoreRecord *record)
{
  g_auto (GStrv) words = g_strsplit (record->action, " ", 2);
  const StoreCommand *command = words[0] != NULL ? store_command_find (words[0]) : NULL;
  return command != NULL && (command->traits & STORE_COMMAND_IMMEDIATE) != 0;
}

static void
find_job_steps (Report *self)
{
  uint64_t failed = 0, last_failed = 0, interrupted = 0;
  bool backed_up = false;
  for (const GList *link = self->jobs.head; link != NULL; link = link->next) {
    const StoreRecord *record = link->data;
    bool recent = record->ended_s > self->now_s - RECENT_S;
    backed_up |= record->state == STORE_JOB_DONE && g_str_has_prefix (record->action, "backup");
    if (record->state == STORE_JOB_FAILED && recent && !is_immediate (record)) {
      failed++;
      last_failed = record->id;
    }
    if (record->state == STORE_JOB_INTERRUPTED)
      interrupted = record->id;
  }
  if (failed > 0) {
    g_autofree char *count = text_count (failed, "job has", "jobs have");
    g_autofree char *command = g_strdup_printf ("mailstore jobs %" PRIu64, last_failed);
    add_step (self, command, "%s failed in the last seven days; the job tells why", count);
  }
  if (interrupted > 0) {
    g_autofree char *command = g_strdup_printf ("mailstore jobs resume %" PRIu64, interrupted);
    add_step (self, command, "job %" PRIu64 " was interrupted, and can go on", interrupted);
  }
  if (self->waiting_count > 0 && self->running == 0) {
    g_autofree char *count = text_count (self->waiting_count, "job waits", "jobs wait");
    add_step (self, "mailstore work --until-empty",
              "%s and none runs; a mount or a worker would run what is due", count);
  }
  if (!backed_up && self->messages > 0 && !self->forensic)
    add_step (self, "mailstore backup DIR",
              "no backup is among the last jobs; ignore this if something else makes backups");
}

void
report_find_steps (Report *self)
{
  if (self->forensic)
    add_step (self, "mailstore --forensic damage",
              "this reads all mail, and tells of damage that nobody met yet. What follows changes "
              "the store: do it to a copy");
  find_damage_steps (self);
  if (self->queue_lost)
    add_step (self, "mailstore jobs", "the queue could not be read");
  if (self->disk_size > 0 && self->disk_free < self->disk_size / 100 * SPACE_PERCENT) {
    g_autofree char *free = text_size (self->disk_free);
    add_step (self, NULL, "only %s of the disk are free: make room", free);
  }
  find_job_steps (self);
}

char *
report_explain_health (const Report *self)
{
  if (self->health == STORE_HEALTH_REBUILDING)
    return g_strdup ("A job is bringing the index in line with the files.");
  if (self->health == STORE_HEALTH_OK)
    return g_strdup ("Index and files agree, and no message is known to be damaged.");
  g_autofree char *damaged = text_count (self->damaged, "message is", "messages are");
  g_autofree char *behind = text_count (self->behind, "mailbox is", "mailboxes are");
  g_autofree char *unreadable = text_count (self->unreadable_count, "mailbox", "mailboxes");
  g_autoptr (GString) text = g_string_new (NULL);
  if (self->damaged > 0)
    g_string_append_printf (text, "%s not what was delivered. ", damaged);
  if (self->unreadable_count > 0)
    g_string_append_printf (text, "%s could not be read. ", unreadable);
  if (self->behind > 0)
    g_string_append_printf (text, "%s served from the files. ", behind);
  if (self->list_lost)
    g_string_append (text, "The mailbox list is not as the directories are. ");
  return g_strdup (g_strchomp (text->str));
}

ReportKey
report_busy_key (const Report *self)
{
  return self->tops[REPORT_BY_MONTH].count > 0  ? REPORT_BY_MONTH
         : self->tops[REPORT_BY_YEAR].count > 0 ? REPORT_BY_YEAR
                                                : REPORT_KEYS;
}

int64_t
report_job_seconds (const StoreRecord *record)
{
  return record->started_s > 0 && record->ended_s >= record->started_s
             ? record->ended_s - record->started_s
             : -1;
}

char *
report_job_result (const StoreRecord *record)
{
  if (record->state != STORE_JOB_DONE)
    return g_strdup (store_job_state_name (record->state));
  GString *text = g_string_new (NULL);
  if (record->fixed > 0)
    g_string_append_printf (text, "%" PRIu64 " fixed, ", record->fixed);
  if (record->taken > 0)
    g_string_append_printf (text, "%" PRIu64 " taken, ", record->taken);
  if (record->left > 0)
    g_string_append_printf (text, "%" PRIu64 " left, ", record->left);
  if (text->len == 0)
    g_string_append (text, "done, ");
  g_string_truncate (text, text->len - strlen (", "));
  return g_string_free (text, FALSE);
}
