/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write.c - what is written to control files: whole lines, out of any number of writes.
 *
 * No open file has a state here. A write(2) is one or more lines, and what it asks for is done, or
 * refused, by the time it returns. But cat(1), cp(1) and dd(1) write in chunks, and the kernel cuts
 * a write(2) where a page of the file ends; both cut lines in two. So when what was written from
 * one place on, so far, looks like chunks (its size is a multiple of CHUNK_SIZE, or it ends at
 * one), the beginning of a line at its end is kept for what comes next: of the same user and
 * process, to the same file, where it left off. After O_APPEND that is the end of what the file
 * shows, if somebody has looked at that meanwhile.
 *
 * What is kept is bounded. What is dropped in the end is told in last_error.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/operation.h"
#include "fs/order.h"
#include "fs/rendering.h"
#include "fs/trail.h"

#define CHUNK_SIZE    4096
#define LINE_SIZE_MAX (64 << 10)
#define PIECES_MAX    256
#define PIECE_AGE_US  (10 * G_TIME_SPAN_SECOND)

/* The beginning of a line. */
typedef struct {
  ControlNode node;
  const char *through;
  Caller caller;
  off_t from; /* where the first of its chunks was written to */
  off_t next; /* where the rest of it is written to */
  GString *text;
  int64_t since_us;
} Piece;

struct Pieces {
  GMutex mutex;
  GQueue pieces; /* of Piece, the oldest first; protected by mutex */
};

static void
free_piece (gpointer data)
{
  Piece *piece = data;

  g_string_free (piece->text, TRUE);
  g_free (piece);
}

Pieces *
pieces_new (void)
{
  Pieces *self = g_new0 (Pieces, 1);

  g_mutex_init (&self->mutex);
  g_queue_init (&self->pieces);
  return self;
}

void
pieces_free (Pieces *self)
{
  if (self == NULL)
    return;
  g_queue_clear_full (&self->pieces, free_piece);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

/* ---- beginnings of lines ------------------------------------------------------------------ */

static bool
belongs (const Piece *piece, const Order *order, off_t offset, off_t end)
{
  return piece->node.ino == order->node.ino && piece->caller.uid == order->caller.uid &&
         piece->caller.pid == order->caller.pid && (offset == piece->next || offset == end);
}

static Piece *
make_piece (const Order *order, off_t offset)
{
  Piece *piece = g_new0 (Piece, 1);

  *piece = (Piece){
      .node = order->node,
      .through = order->through,
      .caller = order->caller,
      .from = offset,
      .text = g_string_new (NULL),
  };
  return piece;
}

/* Takes what goes on at `offset`, or a new piece. `end` is that of what the file shows. */
static Piece *
take_piece (const Order *order, off_t offset, off_t end)
{
  Pieces *self = order->mount->pieces;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (GList *link = self->pieces.head; link != NULL; link = link->next) {
    Piece *piece = link->data;
    if (belongs (piece, order, offset, end)) {
      g_queue_delete_link (&self->pieces, link);
      return piece;
    }
  }
  return make_piece (order, offset);
}

/* Takes the oldest piece if it is too old, or if there are too many. */
static Piece *
take_outdated (Pieces *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  const Piece *oldest = g_queue_peek_head (&self->pieces);

  if (oldest == NULL || (g_get_monotonic_time () - oldest->since_us < PIECE_AGE_US &&
                         g_queue_get_length (&self->pieces) <= PIECES_MAX))
    return NULL;
  return g_queue_pop_head (&self->pieces);
}

void
pieces_expire (Mount *mount)
{
  for (Piece *piece; (piece = take_outdated (mount->pieces)) != NULL;) {
    g_autoptr (GError) failure = NULL;
    g_autofree char *path = inode_path (mount, inode_directory (VIEW_TOP, piece->node.number));
    fail (&failure, EINVAL, "a line was begun and not ended: it is dropped");
    if (piece->text->len > 0)
      trail_action (mount, &piece->caller, piece->through, path, piece->text->str, NULL, NULL,
                    failure);
    free_piece (piece);
  }
}

static void
keep_piece (Mount *mount, Piece *piece)
{
  piece->since_us = g_get_monotonic_time ();
  g_mutex_lock (&mount->pieces->mutex);
  g_queue_push_tail (&mount->pieces->pieces, piece);
  g_mutex_unlock (&mount->pieces->mutex);
  pieces_expire (mount);
}

/* ---- lines -------------------------------------------------------------------------------- */

/* Whether what was written up to `piece->next` may go on in the middle of a line. */
static bool
is_chunk (const Piece *piece, size_t size)
{
  return size % CHUNK_SIZE == 0 || piece->next % CHUNK_SIZE == 0 ||
         (piece->next - piece->from) % CHUNK_SIZE == 0;
}

static size_t
measure_lines (const GString *text)
{
  const char *newline = memrchr (text->str, '\n', text->len);

  return newline == NULL ? 0 : (size_t)(newline + 1 - text->str);
}

static bool
check_lengths (const GString *text, GError **error)
{
  const char *end = text->str + text->len;

  for (const char *line = text->str, *next; line < end; line = next) {
    const char *newline = memchr (line, '\n', (size_t)(end - line));
    next = newline == NULL ? end : newline + 1;
    if (next - line > LINE_SIZE_MAX)
      return fail (error, EINVAL, "a line is longer than %d bytes", LINE_SIZE_MAX);
  }
  return true;
}

char *
order_text (const char *bytes, size_t size, GError **error)
{
  if (memchr (bytes, '\0', size) != NULL)
    fail (error, EINVAL, "what was written has NUL bytes");
  else if (!g_utf8_validate (bytes, (gssize)size, NULL))
    fail (error, EINVAL, "what was written is not UTF-8");
  else
    return g_strndup (bytes, size);
  return NULL;
}

/* ---- the request -------------------------------------------------------------------------- */

static void
write_control (fuse_req_t req, const ControlFile *file, const ControlNode *node, const char *bytes,
               size_t size, off_t offset)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;
  g_auto (Order) order = order_begin (req, node, file->name);
  g_autoptr (Rendering) shown = rendering_read (mount, file, node);
  Piece *piece = take_piece (&order, offset, (off_t)shown->size);
  GString *text = g_string_append_len (piece->text, bytes, (gssize)size);

  piece->next = offset + (off_t)size;
  bool goes_on = is_chunk (piece, size);
  size_t whole = goes_on ? measure_lines (text) : text->len;
  g_autofree char *lines =
      check_lengths (text, &error) ? order_text (text->str, whole, &error) : NULL;
  bool good = lines != NULL && (whole == 0 || file->write (&order, lines, &error));
  g_string_erase (text, 0, (gssize)whole);
  if (good && goes_on)
    keep_piece (mount, piece);
  else
    free_piece (piece);
  order_reply (req, &order, good, error, size);
}

void
handle_write (fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
              struct fuse_file_info *info)
{
  ControlNode node;
  const ControlFile *file = control_find (fuse_req_userdata (req), ino, &node);

  /* Who wrote to a mapping is not known, nor what exactly. */
  if (file == NULL || file->write == NULL || info->writepage != 0)
    return refuse_write (req, ino, bytes, size, offset, info);
  write_control (req, file, &node, bytes, size, offset);
}
