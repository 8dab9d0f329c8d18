/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One difference between a file and its row: reading the file, and what the difference amounts to.
 */
#include "store/scan.h"

#include <unistd.h>

void
scan_item_free (ScanItem *item)
{
  if (item == NULL)
    return;
  store_mailbox_unref (item->mailbox);
  index_message_clear (&item->row);
  message_state_clear (&item->state);
  store_summary_clear (&item->summary);
  g_clear_pointer (&item->ranges, g_array_unref);
  g_clear_error (&item->failure);
  g_free (item);
}

void
scan_item_path (const ScanItem *item, char out[32])
{
  layout_message_path (item->uid, item->expunged, out);
}

/* ---- reading one file ---------------------------------------------------------------------- */

static void
free_buffer (gpointer buffer)
{
  g_free (buffer);
}

/* One buffer a thread; it grows to the largest small message seen. */
typedef struct {
  size_t size;
  uint8_t bytes[];
} Buffer;

static GPrivate thread_buffer = G_PRIVATE_INIT (free_buffer);

static uint8_t *
get_buffer (size_t size)
{
  Buffer *buffer = g_private_get (&thread_buffer);
  if (buffer == NULL || buffer->size < size) {
    size_t rounded = MAX ((size + 65535) & ~(size_t)65535, 262144);
    buffer = g_malloc (sizeof *buffer + rounded);
    buffer->size = rounded;
    g_private_replace (&thread_buffer, buffer);
  }
  return buffer->bytes;
}

static bool
parse_item (ScanItem *item, int fd, GError **error)
{
  uint64_t size = (uint64_t)item->st.st_size, parsed = 0;
  if (size > PARSE_MEMORY_MAX)
    return parse_file (fd, size, &item->summary, &parsed, error);
  uint8_t *buffer = get_buffer ((size_t)size);
  while (parsed < size) {
    ssize_t got = pread (fd, buffer + parsed, (size_t)(size - parsed), (off_t)parsed);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno (error, "read");
    if (got == 0)
      break;
    parsed += (uint64_t)got;
  }
  parse_bytes (buffer, (size_t)parsed, &item->summary);
  return true;
}

void
scan_read (ScanItem *item)
{
  message_state_clear (&item->state);
  store_summary_clear (&item->summary);
  g_clear_error (&item->failure);
  g_clear_pointer (&item->ranges, g_array_unref);
  item->has_summary = item->has_state = false;
  item->damage = 0;
  char path[32];
  scan_item_path (item, path);
  auto_fd fd = layout_open_message (item->mailbox->fd, path);
  if (fd < 0 || fstat (fd, &item->st) < 0) {
    item->damage = INDEX_DAMAGE_UNREADABLE;
    fail_errno (&item->failure, "open");
    damage_find_unreadable (item, -1);
    return;
  }
  if (!message_state_read (item->mailbox->fd, fd, item->uid, &item->state, &item->has_state,
                           &item->failure))
    item->has_state = false;
  /* Flags that a mount told count where nothing else is known. */
  item->has_state = item->has_state && !item->state.copied;
  g_autoptr (GError) failure = NULL;
  if (!parse_item (item, fd, &failure)) {
    item->damage = INDEX_DAMAGE_UNREADABLE;
    g_clear_error (&item->failure);
    item->failure = g_steal_pointer (&failure);
    damage_find_unreadable (item, fd);
    return;
  }
  item->has_summary = true;
  damage_find (item, fd);
}

/* ---- what it amounts to -------------------------------------------------------------------- */

/* Dates that a message may have: no filesystem keeps later ones, and those before 1970 nobody has
 * sent. What a damaged row has instead must not get onto the file. */
#define DATE_MAX_S INT64_C (0x37fffffff)

bool
scan_row_is_undated (const ScanItem *item)
{
  int64_t date_s = item->row.internal_s;
  return item->verdict != SCAN_NEW && (date_s <= 0 || date_s > DATE_MAX_S);
}

bool
scan_takes_date (const ScanItem *item)
{
  bool healed = (item->row.damage & STORE_DAMAGE_GRAVE) && !(item->damage & STORE_DAMAGE_GRAVE);
  return item->verdict == SCAN_NEW || scan_row_is_undated (item) ||
         (healed && !digest_is_whole (item->known));
}

bool
scan_item_returns (const ScanItem *item)
{
  bool was_expunged = item->removed > 0 || item->row.expunged != 0;
  return was_expunged && !item->expunged && item->verdict != SCAN_GONE && !item->has_state &&
         item->failure == NULL;
}

bool
scan_item_is_back (const ScanItem *item)
{
  uint64_t modseq = item->has_state ? item->state.modseq : 0;
  if (item->expunged || item->doubled || item->verdict == SCAN_GONE || scan_item_returns (item))
    return false;
  if (item->removed > 0)
    return modseq <= item->removed;
  /* Renamed by hand it carries what the row does: that undoes the expunge. */
  return item->verdict == SCAN_CHANGED && item->row.expunged != 0 && modseq < item->row.modseq;
}
