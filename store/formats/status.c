/* SPDX-License-Identifier: Apache-2.0 */
#include "store/formats/reader.h"
#include "store/parse.h"

#include <string.h>

static void
take_flags (MboxStatus *self, const char *value)
{
  for (const char *p = value; *p != '\0'; p++) {
    switch (*p) {
    case 'R': self->flags |= STORE_FLAG_SEEN; break;
    case 'A': self->flags |= STORE_FLAG_ANSWERED; break;
    case 'F': self->flags |= STORE_FLAG_FLAGGED; break;
    case 'T': self->flags |= STORE_FLAG_DRAFT; break;
    case 'D': self->flags |= STORE_FLAG_DELETED; break;
    default: break; /* O: no longer recent */
    }
  }
}

static void
take_keywords (MboxStatus *self, const char *value)
{
  g_auto (GStrv) names = g_strsplit_set (value, " \t", -1);
  for (char **name = names; *name != NULL; name++)
    if (**name != '\0' && !keywords_add (&self->keywords, *name))
      self->keywords_left_out = true;
  self->in_keywords = true;
}

static void
take_uid (MboxStatus *self, const char *value)
{
  uint64_t uid = g_ascii_strtoull (value, NULL, 10);
  self->uid = uid <= STORE_UID_MAX ? (uint32_t)uid : 0;
}

/* "<uidvalidity> <last uid> [keyword ...]" */
static void
take_base (MboxStatus *self, const char *value)
{
  char *rest = NULL;
  uint64_t uidvalidity = g_ascii_strtoull (value, &rest, 10);
  uint64_t last_uid = g_ascii_strtoull (rest, NULL, 10);
  if (uidvalidity == 0 || uidvalidity > UINT32_MAX || last_uid > SOURCE_UID_MAX)
    return;
  self->uidvalidity = (uint32_t)uidvalidity;
  self->last_uid = (uint32_t)last_uid;
}

/* Where c-client keeps what belongs to the folder. A real message has not got both by chance. */
static void
take_from (MboxStatus *self, const char *value)
{
  self->has_internal_from = g_str_has_prefix (value, "Mail System Internal Data <MAILER-DAEMON@");
}

static void
take_subject (MboxStatus *self, const char *value)
{
  self->has_internal_subject =
      strcmp (value, "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA") == 0;
}

static void
take_date (MboxStatus *self, const char *value)
{
  self->date_s = parse_date (value);
}

static void
take_content_length (MboxStatus *self, const char *value)
{
  uint64_t length = g_ascii_strtoull (value, NULL, 10);
  if (g_ascii_isdigit (*value))
    self->content_length = length;
}

static const struct {
  const char *name;
  void (*take) (MboxStatus *self, const char *value);
} fields[] = {
    {"Status", take_flags},        {"X-Status", take_flags},
    {"X-Keywords", take_keywords}, {"X-UID", take_uid},
    {"X-IMAPbase", take_base},     {"X-IMAP", take_base},
    {"From", take_from},           {"Subject", take_subject},
    {"Date", take_date},           {"Content-Length", take_content_length},
};

void
mbox_status_init (MboxStatus *self)
{
  keywords_init (&self->keywords);
  mbox_status_reset (self);
}

void
mbox_status_clear (MboxStatus *self)
{
  keywords_clear (&self->keywords);
}

void
mbox_status_reset (MboxStatus *self)
{
  keywords_reset (&self->keywords);
  *self =
      (MboxStatus){.keywords = self->keywords, .date_s = INT64_MIN, .content_length = UINT64_MAX};
}

void
mbox_status_line (MboxStatus *self, const char *line, size_t length)
{
  bool is_folded = length > 0 && (*line == ' ' || *line == '\t');
  if (is_folded && self->in_keywords) {
    g_autofree char *value = g_strndup (line, length);
    take_keywords (self, value);
  }
  if (is_folded)
    return;
  self->in_keywords = false;
  for (size_t i = 0; i < G_N_ELEMENTS (fields); i++) {
    size_t size = strlen (fields[i].name);
    if (length <= size || line[size] != ':' ||
        g_ascii_strncasecmp (line, fields[i].name, size) != 0)
      continue;
    g_autofree char *value = g_strndup (line + size + 1, length - size - 1);
    fields[i].take (self, g_strstrip (value));
    return;
  }
}
