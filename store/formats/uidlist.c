/* SPDX-License-Identifier: Apache-2.0 */
#include "store/formats/reader.h"

#include <string.h>

size_t
maildir_base_length (const char *name)
{
  return strcspn (name, ":");
}

int
maildir_base_compare (const char *a, const char *b)
{
  size_t left = maildir_base_length (a), right = maildir_base_length (b);
  int order = memcmp (a, b, MIN (left, right));
  return order != 0 ? order : (left > right) - (left < right);
}

int
maildir_file_compare (gconstpointer a, gconstpointer b)
{
  const MaildirFile *left = a, *right = b;
  int order = maildir_base_compare (left->name, right->name);
  if (order == 0)
    order = strcmp (left->name, right->name);
  return order != 0 ? order : left->is_new - right->is_new;
}

MaildirFile *
maildir_file_find (GArray *files, const char *name)
{
  guint low = 0, high = files->len;
  while (low < high) {
    guint middle = low + (high - low) / 2;
    if (maildir_base_compare (g_array_index (files, MaildirFile, middle).name, name) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == files->len)
    return NULL;
  MaildirFile *found = &g_array_index (files, MaildirFile, low);
  return maildir_base_compare (found->name, name) == 0 ? found : NULL;
}

/* Reads a decimal number of 32 bits and moves behind it. */
static bool
take_number (const char **p, uint32_t *out)
{
  uint64_t value = 0;
  const char *q = *p;
  for (; g_ascii_isdigit (*q) && value <= UINT32_MAX; q++)
    value = value * 10 + (uint64_t)(*q - '0');
  if (q == *p || value > UINT32_MAX)
    return false;
  *p = q;
  *out = (uint32_t)value;
  return true;
}

/* "3 V<uidvalidity> N<nextuid> G<guid>", keys in any order, or "1 <uidvalidity> <nextuid>". */
static bool
parse_header (const char *line, bool *out_keyed, Uidlist *out)
{
  uint32_t version;
  if (!take_number (&line, &version) || (version != 1 && version != 3))
    return false;
  *out_keyed = version == 3;
  if (version == 1)
    return *line++ == ' ' && take_number (&line, &out->uidvalidity) && *line++ == ' ' &&
           take_number (&line, &out->uidnext);
  while (*line == ' ') {
    char key = *++line;
    line += key != '\0';
    if ((key == 'V' && !take_number (&line, &out->uidvalidity)) ||
        (key == 'N' && !take_number (&line, &out->uidnext)))
      return false;
    line += strcspn (line, " ");
  }
  return true;
}

/* "<uid> [K<value> ...] :<name>", or "<uid> <name>" without keys. */
static const char *
parse_entry (const char *line, bool keyed, uint32_t *out_uid)
{
  if (!take_number (&line, out_uid) || *line != ' ')
    return NULL;
  if (!keyed)
    return line + 1;
  const char *name = strstr (line, " :");
  return name != NULL ? name + 2 : NULL;
}

typedef struct {
  GArray *files;
  Uidlist *list;
  bool has_header, keyed;
  uint32_t last;
  uint64_t bad;
} Reading;

static bool
take_uidlist_line (const char *line, void *user_data)
{
  Reading *self = user_data;
  if (!self->has_header) {
    self->has_header = parse_header (line, &self->keyed, self->list);
    return self->has_header;
  }
  uint32_t uid = 0;
  const char *name = parse_entry (line, self->keyed, &uid);
  if (name == NULL || uid <= self->last || uid > SOURCE_UID_MAX) {
    self->bad++;
    return true;
  }
  self->last = uid;
  MaildirFile *file = maildir_file_find (self->files, name);
  if (file != NULL && file->uid == 0)
    file->uid = uid;
  return true;
}

void
uidlist_read (int directory_fd, GArray *files, Uidlist *out, GPtrArray *warnings, const char *where)
{
  static const char *const names[] = {"dovecot-uidlist", "courierimapuiddb"};
  g_autoptr (GError) reason = NULL;
  Uidlist list = {0};
  Reading reading = {.files = files, .list = &list};
  bool ok = false;
  for (size_t i = 0; i < G_N_ELEMENTS (names) && !ok; i++) {
    g_clear_error (&reason);
    ok = lines_each (directory_fd, names[i], take_uidlist_line, &reading, &reason);
    if (!ok && error_code (reason) != ENOENT)
      break;
  }
  if (reason != NULL && error_code (reason) != ENOENT)
    source_warn (warnings, "%s: %s; UIDs are kept as far as it could be read", where,
                 reason->message);
  if (reading.bad > 0)
    source_warn (warnings, "%s: %" PRIu64 " lines of the UID list make no sense", where,
                 reading.bad);
  if (!reading.has_header)
    return;
  if (list.uidnext > SOURCE_UID_MAX)
    source_warn (warnings, "%s: the UID list's next UID, %u, makes no sense", where, list.uidnext);
  /* The header may lag behind the last delivery. */
  if (list.uidnext <= reading.last || list.uidnext > SOURCE_UID_MAX)
    list.uidnext = reading.last + 1;
  *out = list;
}

typedef struct {
  char **names;
  GPtrArray *warnings;
  const char *where;
} KeywordReading;

static bool
take_keyword_line (const char *line, void *user_data)
{
  KeywordReading *self = user_data;
  uint32_t letter;
  if (!take_number (&line, &letter) || *line != ' ' || letter >= MAILDIR_KEYWORDS ||
      self->names[letter] != NULL)
    return true; /* Dovecot numbers on past 26, for its own index */
  const char *name = line + 1;
  self->names[letter] = keywords_make_valid (name);
  if (self->names[letter] == NULL)
    source_warn (self->warnings, "%s: keyword '%.64s' is left out", self->where, name);
  else if (strcmp (self->names[letter], name) != 0)
    source_warn (self->warnings, "%s: keyword '%s' is brought in as '%s'", self->where, name,
                 self->names[letter]);
  return true;
}

void
uidlist_read_keywords (int directory_fd, char *names[MAILDIR_KEYWORDS], GPtrArray *warnings,
                       const char *where)
{
  g_autoptr (GError) reason = NULL;
  KeywordReading reading = {.names = names, .warnings = warnings, .where = where};
  if (!lines_each (directory_fd, "dovecot-keywords", take_keyword_line, &reading, &reason) &&
      error_code (reason) != ENOENT)
    source_warn (warnings, "%s: %s", where, reason->message);
}
