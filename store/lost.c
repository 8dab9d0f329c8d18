/* SPDX-License-Identifier: Apache-2.0 */
/* Lost and found: kinds, names, and the way through all of a store. */
#include "store/lost.h"

#include <string.h>
#include <unistd.h>

/* Names have room behind them for ".json", and before them for the number. */
#define ESCAPED_MAX 220u

#define NUMBERS_PAGE  64u
#define NUMBER_DIGITS 8

static const LostKind *const kinds[STORE_LOST_KINDS] = {
    [STORE_LOST_ORPHANS] = &lost_orphans, [STORE_LOST_EXPUNGED] = &lost_expunged,
    [STORE_LOST_DAMAGED] = &lost_damaged, [STORE_LOST_MISSING] = &lost_missing,
    [STORE_LOST_INDEX] = &lost_index,     [STORE_LOST_QUARANTINE] = &lost_quarantine,
};

static const char *const names[STORE_LOST_KINDS] = {
    "orphans", "expunged", "damaged", "missing", "index", "quarantine",
};

const char *
store_lost_kind_name (StoreLostKind kind)
{
  return names[kind];
}

const LostKind *
lost_kind (StoreLostKind kind)
{
  return kinds[kind];
}

bool
store_lost_kind_parse (const char *name, StoreLostKind *out)
{
  for (size_t i = 0; i < STORE_LOST_KINDS; i++) {
    if (strcmp (names[i], name) == 0) {
      *out = (StoreLostKind)i;
      return true;
    }
  }
  return false;
}

void
store_lost_clear (StoreLost *lost)
{
  g_clear_pointer (&lost->name, g_free);
  g_clear_pointer (&lost->path, g_free);
}

void
store_losts_clear (StoreLost *losts, size_t count)
{
  for (size_t i = 0; i < count; i++)
    store_lost_clear (&losts[i]);
}

/* ---- names --------------------------------------------------------------------------------- */

char *
lost_escape (const char *text)
{
  g_autofree char *escaped = store_name_escape (text, NULL);
  size_t length = strlen (escaped);
  if (length > ESCAPED_MAX) {
    /* As store_name_escape() cuts what does not fit. */
    g_autofree char *hash = g_compute_checksum_for_string (G_CHECKSUM_SHA256, text, -1);
    size_t end = ESCAPED_MAX - 9;
    while (((unsigned char)escaped[end] & 0xc0) == 0x80)
      end--;
    end -= escaped[end - 1] == '%' ? 1 : escaped[end - 2] == '%' ? 2 : 0;
    return g_strdup_printf ("%.*s~%.8s", (int)end, escaped, hash);
  }
  if (g_str_has_suffix (escaped, ".json"))
    return g_strdup_printf ("%.*s%%6E", (int)length - 1, escaped);
  return g_steal_pointer (&escaped);
}

/* Takes a name apart; false: it is none. */
static bool
parse_name (const char *name, uint32_t *out_number, const char **out_rest)
{
  uint32_t number = 0;
  for (int i = 0; i < NUMBER_DIGITS; i++) {
    if (!g_ascii_isdigit (name[i]))
      return false;
    number = number * 10 + (uint32_t)(name[i] - '0');
  }
  if (name[NUMBER_DIGITS] != '-' || number > STORE_NUMBER_MAX)
    return false;
  *out_number = number;
  *out_rest = name + NUMBER_DIGITS + 1;
  return true;
}

/* ---- files --------------------------------------------------------------------------------- */

int
lost_open_parent (Store *store, const StoreLost *lost, char **out_name, GError **error)
{
  bool beside = g_str_has_prefix (lost->path, "../");
  const char *path = lost->path + (beside ? strlen ("../") : 0);
  const char *slash = strrchr (path, '/');
  g_autofree char *parent = g_strndup (path, slash != NULL ? (gsize)(slash - path) : 0);
  int fd = layout_open (beside ? store->fd : store->mail_fd, parent, O_RDONLY | O_DIRECTORY, 0);
  if (fd < 0)
    fail_errno (error, "open the directory of '%s'", lost->name);
  else
    *out_name = g_strdup (slash != NULL ? slash + 1 : path);
  return fd;
}

bool
lost_stat (Store *store, StoreLost *lost, mode_t *out_mode, GError **error)
{
  g_autofree char *name = NULL;
  g_autoptr (GError) failure = NULL;
  auto_fd parent = lost_open_parent (store, lost, &name, &failure);
  struct stat st;
  *out_mode = 0;
  if (parent < 0 || fstatat (parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
    int code = parent < 0 ? error_code (failure) : errno;
    return code == ENOENT || code == ENOTDIR || code == ELOOP ||
           fail (error, code, "look at '%s': %s", lost->name, g_strerror (code));
  }
  *out_mode = st.st_mode;
  lost->has_bytes = S_ISREG (st.st_mode);
  lost->size = (uint64_t)st.st_size;
  lost->mtime_ns = stat_mtime_ns (&st);
  lost->ctime_ns = stat_ctime_ns (&st);
  return true;
}

bool
lost_look (Store *store, StoreLost about, StoreLost *out, bool *out_found, GError **error)
{
  g_auto (StoreLost) lost = about;
  mode_t mode;
  *out_found = false;
  if (!lost_stat (store, &lost, &mode, error))
    return false;
  *out_found = S_ISREG (mode);
  if (*out_found) {
    *out = lost;
    lost = (StoreLost){0};
  }
  return true;
}

int
store_lost_open (Store *self, const StoreLost *lost, GError **error)
{
  g_autofree char *name = NULL;
  if (!lost->has_bytes) {
    fail (error, ENOENT, "'%s' has no bytes: there is no file", lost->name);
    return -1;
  }
  auto_fd parent = lost_open_parent (self, lost, &name, error);
  int fd = parent >= 0 ? layout_open_message (parent, name) : -1;
  if (parent >= 0 && fd < 0)
    fail_errno (error, "open '%s'", lost->name);
  return fd;
}

/* ---- all of a store ------------------------------------------------------------------------ */

/* A mailbox that is gone, or may not be read, does not keep the others from being shown. */
static bool
is_passed_over (const GError *failure)
{
  static const int codes[] = {ENOENT, ESTALE, EACCES, EPERM, ENOTDIR, ELOOP, EMEDIUMTYPE, EIO};
  for (size_t i = 0; i < G_N_ELEMENTS (codes); i++) {
    if (failure->code == codes[i])
      return true;
  }
  return false;
}

static bool
list_numbers (Store *store, const LostKind *kind, uint32_t from, uint32_t *out, size_t *out_count,
              GError **error)
{
  StoreNode page[NUMBERS_PAGE];
  if (kind->numbers != NULL)
    return kind->numbers (store, from, out, NUMBERS_PAGE, out_count, error);
  size_t given = 0;
  for (size_t count = 1; count > 0 && given == 0;) {
    if (!node_listed_from (store, from, page, NUMBERS_PAGE, &count, error))
      return false;
    for (size_t i = 0; i < count; i++) {
      from = page[i].number + 1;
      if (!kind->in_mailboxes || page[i].kind == STORE_NODE_MAILBOX)
        out[given++] = page[i].number;
    }
    store_nodes_clear (page, count);
  }
  *out_count = given;
  return true;
}

/* One page, as far as it fills, from one directory or, with `whole`, from that on. */
static bool
fill (Store *store, const LostKind *kind, uint32_t number, const char *rest, bool whole,
      StoreLost *out, size_t capacity, size_t *count, GError **error)
{
  uint32_t numbers[NUMBERS_PAGE] = {number};
  size_t there = 1;
  while (there > 0) {
    for (size_t i = 0; i < there && *count < capacity; i++, rest = NULL) {
      g_autoptr (GError) failure = NULL;
      size_t added = 0;
      if (!kind->page (store, numbers[i], rest, out + *count, capacity - *count, &added,
                       &failure) &&
          !(whole && is_passed_over (failure))) {
        g_propagate_error (error, g_steal_pointer (&failure));
        return false;
      }
      *count += added;
      number = numbers[i];
    }
    if (!whole || *count == capacity)
      return true;
    if (!list_numbers (store, kind, number + 1, numbers, &there, error))
      return false;
  }
  return true;
}

bool
store_lost_page (Store *self, StoreLostKind kind, uint32_t number, const char *after,
                 StoreLost *out, size_t capacity, size_t *out_count, GError **error)
{
  uint32_t first = number;
  const char *rest = NULL;
  size_t count = 0;
  *out_count = 0;
  if (self->past != NULL)
    return true;
  if (kind == STORE_LOST_QUARANTINE)
    return lost_quarantine.page (self, number, after, out, capacity, out_count, error);
  if (after != NULL && !parse_name (after, &first, &rest))
    return fail (error, EINVAL, "no name of something lost");
  if (number != STORE_ROOT && first < number)
    rest = NULL;
  if (number != STORE_ROOT && first > number)
    return true;
  if (!fill (self, lost_kind (kind), MAX (first, number), rest, number == STORE_ROOT, out, capacity,
             &count, error)) {
    store_losts_clear (out, count);
    return false;
  }
  *out_count = count;
  return true;
}

bool
store_lost_find (Store *self, StoreLostKind kind, uint32_t number, const char *name, StoreLost *out,
                 bool *out_found, GError **error)
{
  uint32_t own;
  const char *rest;
  *out_found = false;
  if (self->past != NULL)
    return true;
  if (kind == STORE_LOST_QUARANTINE)
    return lost_quarantine.find (self, number, name, out, out_found, error);
  if (!parse_name (name, &own, &rest) || (number != STORE_ROOT && own != number))
    return true;
  g_autoptr (GError) failure = NULL;
  if (lost_kind (kind)->find (self, own, rest, out, out_found, &failure) ||
      is_passed_over (failure))
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}
