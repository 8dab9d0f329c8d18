/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner goes through a message once, line by line, in whatever pieces it comes.
 *
 * It is always either in a header block or in a body. A header block ends at an empty line or at a
 * boundary; lines in it that are no fields are passed over. The parts that are open at a place form
 * a stack: multiparts and forwarded messages, and on top a part that holds no others. A line that
 * is a boundary of one of them closes all above it. What a part's header says is written to `body`
 * when the part is opened, its size and what comes after when it is closed, so that BODYSTRUCTURE
 * is ready with the last line.
 *
 * Lines end with LF, with or without CR before it, mixed or not. Sizes are octets as they are
 * stored. The line end before a boundary belongs to the boundary (RFC 2046, 5.1.1). A last line
 * without an end counts as a line.
 *
 * Whatever a message holds, memory is bounded by PARSE_HEADER_MAX and PARSE_BODY_MAX. Past a limit
 * what follows is left out and STORE_DAMAGE_LIMIT set; sizes and line counts of what is there stay
 * right.
 */
#include "store/parse.h"

#include <string.h>

/* What of a line is kept to compare it with boundaries. They have at most 70 bytes in good mail. */
#define LINE_KEPT    1024u
#define BOUNDARY_MAX (LINE_KEPT - 16)

/* More than what closing any one part adds to `body`, beside its own text: numbers, and what stands
 * for parts that it should have had. */
#define CLOSE_RESERVE 256u

/* Any header block's text fits, since it grows less than fourfold: at worst each of its bytes that
 * is not a separator becomes a literal of its own. */
G_STATIC_ASSERT (PARSE_HEADER_MAX * 7 / 2 + CLOSE_RESERVE * (PARSE_DEPTH_MAX + 2) < PARSE_BODY_MAX);

#define EMPTY_ENVELOPE "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"

typedef struct {
  ParseKind kind;
  bool is_digest;
  uint32_t parts; /* how many it has */
  size_t text;    /* where in `texts` its tail begins, then its boundary */
  size_t tail_size;
  size_t boundary_size; /* 0: it has none, or it came to its end */
  size_t hole;          /* where in `body` a message's size goes */
  uint64_t start;       /* offset of its body's first byte */
  uint64_t start_line;  /* line ends before that */
} Open;

struct ParseScan {
  ParseWatch watch;
  ParseHeader header;
  bool is_header;
  ParsePart part;
  GString *envelope;       /* the message's own */
  GString *inner_envelope; /* of the forwarded message that is being opened */
  GString *body;
  GString *texts; /* of the open parts */
  Open open[PARSE_DEPTH_MAX + 1];
  unsigned depth;
  uint32_t parts;
  uint32_t damage;
  int64_t sent_s;

  /* Before the current line. */
  uint64_t offset;
  uint64_t lines;     /* line ends */
  unsigned end_size;  /* size of the last line's end: 0 to 2 */
  bool is_last_empty; /* there was nothing else in that line */

  /* The current line, when it comes in pieces. */
  char line[LINE_KEPT]; /* its beginning */
  uint64_t line_size;
  char line_last;     /* its last byte so far */
  size_t header_size; /* of the header block without the line */
};

ParseScan *
parse_scan_new (void)
{
  ParseScan *self = g_new0 (ParseScan, 1);
  parse_header_init (&self->header);
  parse_part_init (&self->part);
  self->is_header = true;
  self->envelope = g_string_sized_new (1024);
  self->inner_envelope = g_string_new (NULL);
  self->body = g_string_sized_new (1024);
  self->texts = g_string_sized_new (512);
  self->sent_s = INT64_MIN;
  return self;
}

void
parse_scan_watch (ParseScan *self, const ParseWatch *watch)
{
  self->watch = *watch;
}

static void
free_string (GString *string)
{
  if (string != NULL)
    g_string_free (string, TRUE);
}

void
parse_scan_free (ParseScan *self)
{
  if (self == NULL)
    return;
  parse_header_clear (&self->header);
  parse_part_clear (&self->part);
  free_string (self->envelope);
  free_string (self->inner_envelope);
  free_string (self->body);
  free_string (self->texts);
  g_free (self);
}

/* ---- parts: opened by their header, closed by a boundary or the end ------------------------- */

/* RFC 3501 has numbers of 32 bits. */
static void
insert_number (ParseScan *self, size_t position, uint64_t number)
{
  if (number > UINT32_MAX)
    self->damage |= STORE_DAMAGE_LIMIT;
  char text[16];
  g_snprintf (text, sizeof text, " %u", (unsigned)MIN (number, UINT32_MAX));
  g_string_insert (self->body, position, text);
}

static void
put_number (ParseScan *self, uint64_t number)
{
  insert_number (self, self->body->len, number);
}

/* A multipart must have a part, and a message a body, where none was found or looked for. One text
 * stands for all there is. */
static void
put_stand_in (ParseScan *self, uint64_t size, uint64_t lines)
{
  g_string_append (self->body, "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\"");
  put_number (self, size);
  put_number (self, lines);
  g_string_append (self->body, " NIL NIL NIL NIL)");
}

/* Closes the part on top; it ends before the current line, at a boundary or with the message. */
static void
close_part (ParseScan *self, bool is_boundary)
{
  Open *top = &self->open[--self->depth];
  uint64_t end = self->offset - (is_boundary ? self->end_size : 0);
  uint64_t size = 0, lines = 0;
  if (end > top->start) {
    size = end - top->start;
    lines = self->lines - top->start_line;
    if (is_boundary)
      lines -= self->is_last_empty;
    else
      lines += self->end_size == 0;
  }
  if (self->watch.closed != NULL)
    self->watch.closed (self->depth, top->start + size, self->watch.data);

  switch (top->kind) {
  case PARSE_KIND_BASIC: put_number (self, size); break;
  case PARSE_KIND_TEXT:
    put_number (self, size);
    put_number (self, lines);
    break;
  case PARSE_KIND_MULTIPART:
    if (top->parts == 0)
      put_stand_in (self, size, lines);
    break;
  case PARSE_KIND_MESSAGE:
    insert_number (self, top->parts == 0 ? self->body->len : top->hole, size);
    if (top->parts == 0) {
      g_string_append (self->body, " " EMPTY_ENVELOPE " ");
      put_stand_in (self, size, lines);
    }
    put_number (self, lines);
    break;
  }
  g_string_append_len (self->body, self->texts->str + top->text, top->tail_size);
  g_string_truncate (self->texts, top->text);
}

static void
begin_header (ParseScan *self)
{
  self->is_header = true;
  self->header_size = 0;
  parse_header_reset (&self->header);
}

/* Reads what only messages have out of the header block that ends here. */
static void
take_envelope (ParseScan *self, bool is_inner)
{
  GString *envelope = is_inner ? self->inner_envelope : self->envelope;
  if (!parse_put_envelope (envelope, &self->header))
    self->damage |= STORE_DAMAGE_LIMIT;
  if (!is_inner)
    self->sent_s = parse_date (parse_header_get (&self->header, PARSE_FIELD_DATE));
}

/* Whether the part that was described can be shown. */
static bool
has_room (const ParseScan *self)
{
  size_t owed = self->texts->len + (self->depth + 1) * CLOSE_RESERVE;
  size_t wanted = self->inner_envelope->len + self->part.head->len + self->part.tail->len;
  return self->parts < PARSE_PARTS_MAX && self->body->len + owed + wanted <= PARSE_BODY_MAX;
}

static void
push_part (ParseScan *self)
{
  const ParsePart *part = &self->part;
  Open *top = &self->open[self->depth];
  *top = (Open){
      .kind = part->kind,
      .is_digest = part->is_digest,
      .text = self->texts->len,
      .tail_size = part->tail->len,
      .start = self->offset,
      .start_line = self->lines,
  };
  if (self->watch.opened != NULL)
    self->watch.opened (&self->header, part, self->depth, self->offset, self->watch.data);
  g_string_append_len (self->texts, part->tail->str, part->tail->len);
  /* Blanks at its end are no part of a boundary. */
  size_t boundary_size = part->boundary->len;
  while (boundary_size > 0 && g_ascii_isspace (part->boundary->str[boundary_size - 1]))
    boundary_size--;
  bool is_holder = part->kind == PARSE_KIND_MESSAGE || boundary_size > 0;
  if (is_holder && (self->depth == PARSE_DEPTH_MAX || boundary_size > BOUNDARY_MAX))
    self->damage |= STORE_DAMAGE_LIMIT;
  else if (part->kind == PARSE_KIND_MESSAGE)
    begin_header (self);
  else {
    top->boundary_size = boundary_size;
    g_string_append_len (self->texts, part->boundary->str, boundary_size);
  }
  self->depth++;
  self->parts++;
}

/* The header block is complete and its body begins here: opens the part, unless that would go past
 * a limit. Another header block follows when it is a message. */
static void
open_part (ParseScan *self)
{
  Open *parent = self->depth == 0 ? NULL : &self->open[self->depth - 1];
  bool is_inner = parent != NULL && parent->kind == PARSE_KIND_MESSAGE;
  self->is_header = false;
  if (parent != NULL && self->header.raw->len == 0)
    return; /* not even an empty line between two boundaries, or after the last: no part */
  parse_header_split (&self->header);
  g_string_truncate (self->inner_envelope, 0);
  if (parent == NULL || is_inner)
    take_envelope (self, is_inner);
  parse_part_describe (&self->part, &self->header, parent != NULL && parent->is_digest);
  if (!has_room (self)) {
    self->damage |= STORE_DAMAGE_LIMIT;
    return;
  }
  if (is_inner) {
    parent->hole = self->body->len;
    g_string_append_printf (self->body, " %s ", self->inner_envelope->str);
  }
  if (parent != NULL)
    parent->parts++;
  g_string_append_len (self->body, self->part.head->str, self->part.head->len);
  push_part (self);
}

/* ---- lines ---------------------------------------------------------------------------------- */

/* The open part that has the line as its boundary, the innermost one first; NULL when there is
 * none. Blanks may follow a boundary, nothing else. */
static Open *
find_boundary (ParseScan *self, const char *line, size_t size, bool *out_is_last)
{
  if (size < 3 || line[0] != '-' || line[1] != '-')
    return NULL;
  line += 2;
  size -= 2;
  while (size > 0 && g_ascii_isspace (line[size - 1]))
    size--;
  for (unsigned i = self->depth; i-- > 0;) {
    Open *open = &self->open[i];
    size_t wanted = open->boundary_size;
    *out_is_last = size == wanted + 2 && line[wanted] == '-' && line[wanted + 1] == '-';
    if (wanted > 0 && (size == wanted || *out_is_last) &&
        memcmp (line, self->texts->str + open->text + open->tail_size, wanted) == 0)
      return open;
  }
  return NULL;
}

static void
end_line (ParseScan *self, size_t content_size, unsigned end_size)
{
  self->offset += content_size + end_size;
  self->lines += end_size > 0;
  self->end_size = end_size;
  self->is_last_empty = content_size == 0;
  self->line_size = 0;
}

/* A line is complete. `line` holds all of it, or its first LINE_KEPT bytes. */
static void
take_line (ParseScan *self, const char *line, unsigned end_size)
{
  uint64_t size = self->line_size - end_size;
  bool is_last = false;
  Open *open = size > LINE_KEPT ? NULL : find_boundary (self, line, size, &is_last);
  if (open == NULL) {
    end_line (self, size, end_size);
    self->header_size = self->header.raw->len;
    if (self->is_header && size == 0)
      open_part (self);
    return;
  }
  g_string_truncate (self->header.raw, self->header_size);
  while (self->is_header)
    open_part (self);
  while (&self->open[self->depth - 1] != open)
    close_part (self, true);
  end_line (self, size, end_size);
  if (is_last)
    open->boundary_size = 0;
  else
    begin_header (self);
}

static void
append_header (ParseScan *self, const char *piece, size_t size)
{
  size_t room = PARSE_HEADER_MAX - self->header.raw->len;
  if (size > room)
    self->damage |= STORE_DAMAGE_LIMIT;
  g_string_append_len (self->header.raw, piece, MIN (size, room));
}

/* The current line goes on, and comes to its end with the piece's last byte when `is_end`. */
static void
take_piece (ParseScan *self, const char *piece, size_t size, bool is_end)
{
  if (self->is_header)
    append_header (self, piece, size);
  const char *line = piece;
  if (!is_end || self->line_size > 0) {
    line = self->line;
    if (self->line_size < LINE_KEPT)
      memcpy (self->line + self->line_size, piece, MIN (size, LINE_KEPT - self->line_size));
  }
  char before = size > 1 ? piece[size - 2] : self->line_last;
  self->line_size += size;
  self->line_last = piece[size - 1];
  if (is_end)
    take_line (self, line, before == '\r' ? 2 : 1);
}

/* Passes over the whole lines of a body that cannot be boundaries; nearly all bytes of mail go this
 * way. Returns where it stopped. */
static const char *
pass_lines (ParseScan *self, const char *at, const char *end)
{
  const char *last = NULL;
  const char *line = at;
  uint64_t lines = 0;
  while (line < end && *line != '-') {
    const char *newline = memchr (line, '\n', end - line);
    if (newline == NULL)
      break;
    last = line;
    line = newline + 1;
    lines++;
  }
  if (last != NULL) {
    self->offset += line - at;
    self->lines += lines;
    self->end_size = line - last > 1 && line[-2] == '\r' ? 2 : 1;
    self->is_last_empty = (size_t)(line - last) == self->end_size;
  }
  return line;
}

void
parse_scan_feed (ParseScan *self, const uint8_t *bytes, size_t size)
{
  const char *at = (const char *)bytes;
  const char *end = at + size;
  while (at < end) {
    if (!self->is_header && self->line_size == 0)
      at = pass_lines (self, at, end);
    if (at == end)
      break;
    const char *newline = memchr (at, '\n', end - at);
    size_t piece = (newline == NULL ? end : newline + 1) - at;
    take_piece (self, at, piece, newline != NULL);
    at += piece;
  }
}

/* The text alone, without the room it grew in. */
static char *
take_string (GString **string)
{
  size_t size = (*string)->len + 1;
  return g_realloc (g_string_free (g_steal_pointer (string), FALSE), size);
}

void
parse_scan_finish (ParseScan *self, StoreSummary *out)
{
  if (self->line_size > 0)
    take_line (self, self->line, 0);
  while (self->is_header)
    open_part (self);
  while (self->depth > 0)
    close_part (self, false);
  out->envelope = take_string (&self->envelope);
  out->bodystructure = take_string (&self->body);
  out->sent_s = self->sent_s;
  out->damage |= self->damage;
}
