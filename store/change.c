/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of changes: a small file, STORE/changes, to whose end every writer adds one note for each
 * thing it changed. A write(2) with O_APPEND needs no lock, and what lies before the end of a file
 * is whole. The notes are hints: nothing is lost with the file, and it is never synced.
 *
 * Whoever finds the file full, or cannot add to it, removes it. A watch that finds another file
 * than before, or one that does not go on where it left off, takes it that anything may have
 * changed; so it does not matter what somebody does to the file.
 */
#include "store/internal.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#define CHANGES     "changes"
#define CHANGES_MAX (512 * 1024) /* bytes */
#define NOTES_MAX   10000u       /* of one change; more are told as "anything" */
#define NAME_NOTES  (NAME_MAX / sizeof (Note) + 1)

typedef struct {
  uint32_t number, uid;
  int64_t time_us; /* tells notes of the same thing apart */
} Note;

struct StoreWatch {
  Store *store;
  int fd;         /* -1: there is no file that could be read */
  struct stat st; /* tells which file it is */
  off_t end;      /* how far it has been read */
  Note last;      /* the note before that, if there is one */
  Note notes[128];
  size_t count, next;
};

static int
open_changes (const Store *store, int flags, struct stat *out)
{
  auto_fd fd = layout_open (store->fd, CHANGES, flags | O_NOFOLLOW, 0640);
  if (fd < 0 || fstat (fd, out) < 0 || !S_ISREG (out->st_mode))
    return -1;
  return g_steal_fd (&fd);
}

/* ---- noting -------------------------------------------------------------------------------- */

/* It does not matter when the file is removed before the notes are written: every watch then learns
 * that after the change was made, and takes it that anything may have changed. */
static bool
append (Store *store, const Note *notes, size_t count)
{
  struct stat st;
  auto_fd fd = open_changes (store, O_WRONLY | O_APPEND | O_CREAT, &st);
  return fd >= 0 && st.st_size < CHANGES_MAX && st.st_size % (off_t)sizeof *notes == 0 &&
         (st.st_size > 0 || layout_own (store, fd, NULL)) &&
         write (fd, notes, count * sizeof *notes) == (ssize_t)(count * sizeof *notes);
}

static void
append_or_replace (Store *store, const Note *notes, size_t count)
{
  if (append (store, notes, count))
    return;
  /* Even where the second attempt fails, as on a full disk, watches find another file. */
  unlinkat (store->fd, CHANGES, 0);
  append (store, notes, count);
}

void
change_note (Store *store, uint32_t number, uint32_t uid)
{
  Note note = {number, uid, g_get_real_time ()};
  append_or_replace (store, &note, 1);
}

/* The name follows the note, filled up with zeros, in as many notes as it takes. */
void
change_note_name (Store *store, uint32_t number, const char *name)
{
  Note notes[1 + NAME_NOTES] = {{number, STORE_CHANGE_NAME, g_get_real_time ()}};
  size_t length = strlen (name);
  if (length > NAME_MAX)
    return change_note (store, STORE_CHANGE_ALL, 0);
  memcpy (&notes[1], name, length);
  append_or_replace (store, notes, 1 + length / sizeof (Note) + 1);
}

void
change_note_uids (Store *store, uint32_t number, const GArray *uids)
{
  if (uids->len > NOTES_MAX)
    change_note (store, STORE_CHANGE_ALL, 0);
  if (uids->len == 0 || uids->len > NOTES_MAX)
    return;
  int64_t now_us = g_get_real_time ();
  g_autofree Note *notes = g_new (Note, uids->len);
  for (guint i = 0; i < uids->len; i++)
    notes[i] = (Note){number, g_array_index (uids, uint32_t, i), now_us};
  append_or_replace (store, notes, uids->len);
}

/* ---- stamps -------------------------------------------------------------------------------- */

StoreStamp
store_change_stamp (const Store *self)
{
  struct stat st;
  if (fstatat (self->fd, CHANGES, &st, AT_SYMLINK_NOFOLLOW) < 0)
    return (StoreStamp){0};
  return (StoreStamp){.device = st.st_dev,
                      .inode = st.st_ino,
                      .size = (uint64_t)st.st_size,
                      .changed_ns = stat_ctime_ns (&st)};
}

/* ---- watching ------------------------------------------------------------------------------ */

/* Whether the file of that name is still this one. */
static bool
is_current (const Store *store, const struct stat *st)
{
  struct stat now;
  return fstatat (store->fd, CHANGES, &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_ino == st->st_ino &&
         now.st_dev == st->st_dev;
}

/* Reads what follows the last note. False when that is not where it was. */
static bool
read_on (StoreWatch *self)
{
  off_t start = MAX (self->end - (off_t)sizeof (Note), 0);
  size_t known = (size_t)(self->end - start);
  ssize_t size = pread (self->fd, self->notes, sizeof self->notes, start);
  if (size < (ssize_t)known || memcmp (self->notes, &self->last, known) != 0)
    return false;
  self->next = known / sizeof (Note);
  self->count = (size_t)size / sizeof (Note);
  return true;
}

/* Starts at the end of the file that is there now. False when there is none. */
static bool
start_over (StoreWatch *self)
{
  store_close_fd (&self->fd);
  self->next = self->count = 0;
  self->fd = open_changes (self->store, O_RDONLY, &self->st);
  if (self->fd < 0)
    return false;
  self->end = self->st.st_size - self->st.st_size % (off_t)sizeof (Note);
  if (self->end == 0 || pread (self->fd, &self->last, sizeof (Note),
                               self->end - (off_t)sizeof (Note)) == (ssize_t)sizeof (Note))
    return true;
  store_close_fd (&self->fd);
  self->fd = -1;
  return false;
}

StoreWatch *
store_watch_new (Store *self, GError **error)
{
  StoreWatch *watch = g_new0 (StoreWatch, 1);
  watch->store = self;
  watch->fd = -1;
  start_over (watch);
  return watch;
}

void
store_watch_free (StoreWatch *self)
{
  if (self == NULL)
    return;
  store_close_fd (&self->fd);
  g_free (self);
}

/* The next note; NULL: there is none now, or `*out_lost` that it is not where it was. */
static const Note *
take_note (StoreWatch *self, bool *out_lost)
{
  *out_lost = self->next == self->count &&
              (self->fd < 0 || !is_current (self->store, &self->st) || !read_on (self));
  if (*out_lost || self->next == self->count)
    return NULL;
  self->last = self->notes[self->next++];
  self->end += (off_t)sizeof (Note);
  return &self->last;
}

/* Takes the notes that hold a name. They were written at once, so all of them are there. */
static bool
take_name (StoreWatch *self, char out[NAME_MAX + 1])
{
  for (size_t i = 0; i < NAME_NOTES; i++) {
    bool lost;
    const Note *note = take_note (self, &lost);
    if (note == NULL)
      return false;
    memcpy (out + i * sizeof *note, note, sizeof *note);
    if (memchr (note, '\0', sizeof *note) != NULL)
      return true;
  }
  return false;
}

bool
store_watch_next (StoreWatch *self, StoreChange *out)
{
  bool had_file = self->fd >= 0, lost;
  const Note *note = take_note (self, &lost);
  if (note == NULL && !lost)
    return false;
  if (note != NULL) {
    *out = (StoreChange){.number = note->number, .uid = note->uid};
    if (note->uid != STORE_CHANGE_NAME || take_name (self, out->name))
      return true;
  }
  *out = (StoreChange){.number = STORE_CHANGE_ALL};
  return start_over (self) || had_file;
}
