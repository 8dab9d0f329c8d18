/* SPDX-License-Identifier: Apache-2.0 */
/* history.h - what the files history*.c share. What they do for others is in snapshot.h. */
#pragma once

#include "store/snapshot.h"

/* Where a line is, and what is needed to find it. */
typedef struct {
  uint32_t subject, until;
  uint32_t parent; /* in the tree */
  guint before;    /* the line before this one about the same subject, plus 1; 0: none */
  uint64_t at;
} Line;

struct History {
  GMutex mutex; /* guards all of it */
  Store *store;
  bool is_tree;
  char *path; /* below the store's directory */
  int fd;     /* it is held open, so that nothing else can have its inode; -1: there is none */
  dev_t device;
  ino_t inode;
  uint64_t size;       /* up to where it has been read */
  uint64_t settled;    /* up to where it is known to be on disk */
  uint64_t generation; /* goes up with every line that is added, or all that are forgotten */
  GString *window;     /* bytes of the file, those from `window_at` on */
  uint64_t window_at;
  GArray *lines;    /* in their order */
  GHashTable *last; /* subject -> the last line about it, plus 1 */
  guint damaged;
  bool garbled; /* so is what follows the last line */
};

/* All that follows is called with the mutex held. */

bool history_load_locked (History *self, GError **error);

/* What is before the first field that only those read who want all of the line; `*text` is moved
 * there. */
bool line_parse_head (const History *self, const char **text, Line *out);

/* The text of a line, without its end and its checksum; it is the caller's. EBADMSG: it is not what
 * was written. What is asked for one after the other mostly lies so, too, and is read at once. */
char *line_read (History *self, uint64_t at, GError **error);

/* The same as it stands there, checksum and all. */
char *line_read_raw (History *self, uint64_t at, GError **error);

/* The line that tells of `subject` in `epoch`; NULL: none does. */
const Line *line_find (const History *self, uint32_t subject, uint32_t epoch);

/* Its text, from the field behind the subject on. NULL without an error: none does. `*out_line` is
 * to be freed. */
const char *line_read_found (History *self, uint32_t subject, uint32_t epoch, char **out_line,
                             GError **error);

/* EBADMSG: what is kept of the subject makes no sense. */
bool line_fail (const History *self, uint32_t subject, GError **error);

/* Subjects that a line tells of in `epoch`, ascending; `parent` counts in the tree only. This one
 * takes the mutex itself. */
GArray *line_subjects (History *self, uint32_t epoch, const uint32_t *parent);

/* The newest line that tells where in quarantine the directory is, plus 1, and what it tells; 0:
 * none does. It may have come back since. */
guint history_find_place (History *self, uint32_t number, char **out);
