/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse.h - what the files of the parser share; only parse*.c and their tests include it.
 *
 *   parse.c           bytes or a file in, a StoreSummary out: feeds digest and scanner
 *   parse-scan.c      finds header blocks, boundaries and sizes; writes BODYSTRUCTURE
 *   parse-header.c    splits a header block into fields; puts strings as IMAP spells them
 *   parse-body.c      what the Content-* fields of one part say
 *   parse-envelope.c  ENVELOPE out of a message's fields
 *   parse-address.c   lists of addresses
 *   parse-date.c      Date
 *   parse-summary.c   reads header fields back out of an ENVELOPE
 *
 * Nothing here recurses, and each byte of a message is looked at a bounded number of times.
 */
#pragma once

#include "store/internal.h"

/* What a summary may come to, whatever the message is. */
#define PARSE_ENVELOPE_MAX 65536u
#define PARSE_BODY_MAX     1048576u

/* A piece of a longer text. */
typedef struct {
  const char *text;
  size_t size;
} ParseSlice;

/* ---- IMAP's strings (RFC 3501, 4.3) --------------------------------------------------------- */

/* Appends a quoted string where that is allowed and short, else a literal. `text` may hold any
 * byte but NUL. */
void parse_put_string (GString *out, const char *text, size_t size);

/* The same; NIL for NULL. */
void parse_put_nstring (GString *out, const char *text);

/* The same in upper case: for words in which case means nothing. */
void parse_put_upper (GString *out, const char *text, size_t size);

/* ---- header blocks -------------------------------------------------------------------------- */

typedef enum {
  PARSE_FIELD_DATE,
  PARSE_FIELD_SUBJECT,
  PARSE_FIELD_FROM,
  PARSE_FIELD_SENDER,
  PARSE_FIELD_REPLY_TO,
  PARSE_FIELD_TO,
  PARSE_FIELD_CC,
  PARSE_FIELD_BCC,
  PARSE_FIELD_IN_REPLY_TO,
  PARSE_FIELD_MESSAGE_ID,
  PARSE_FIELD_TYPE,
  PARSE_FIELD_ID,
  PARSE_FIELD_DESCRIPTION,
  PARSE_FIELD_ENCODING,
  PARSE_FIELD_MD5,
  PARSE_FIELD_DISPOSITION,
  PARSE_FIELD_LANGUAGE,
  PARSE_FIELD_LOCATION,
  PARSE_FIELD_COUNT,
} ParseField;

/* A header block. It is filled piece by piece, then split, and used again for the next one. */
typedef struct {
  GString *raw;                      /* as it stands, at most PARSE_HEADER_MAX bytes */
  GString *value[PARSE_FIELD_COUNT]; /* unfolded, trimmed, NUL replaced by '?' */
  uint32_t present;                  /* bits by ParseField: the others' values are left-overs */
} ParseHeader;

void parse_header_init (ParseHeader *self);
void parse_header_clear (ParseHeader *self);
void parse_header_reset (ParseHeader *self);
void parse_header_split (ParseHeader *self);

/* NULL when there is no such field; "" when it is empty. */
const char *parse_header_get (const ParseHeader *self, ParseField field);

/* Both take what `*at` stands on, a comment with its parentheses or a quoted string with its
 * quotes, and append what is inside without quoting. One without an end goes to the end of the
 * text. `out` may be NULL. */
void parse_take_comment (const char **at, GString *out);
void parse_take_quoted (const char **at, GString *out);

/* ---- what is made of them ------------------------------------------------------------------- */

typedef enum {
  PARSE_KIND_BASIC,
  PARSE_KIND_TEXT,
  PARSE_KIND_MULTIPART,
  PARSE_KIND_MESSAGE, /* message/rfc822 */
} ParseKind;

/* One part, as its own header describes it. In BODYSTRUCTURE `head` goes before the size or, for a
 * multipart, before its parts; `tail` follows and closes the parenthesis. */
typedef struct {
  ParseKind kind;
  bool is_digest;    /* multipart/digest: its parts are messages unless they say otherwise */
  GString *boundary; /* of a multipart; empty when it has none */
  GString *head, *tail;
} ParsePart;

void parse_part_init (ParsePart *self);
void parse_part_clear (ParsePart *self);
void parse_part_describe (ParsePart *self, const ParseHeader *header, bool in_digest);

/* Appends the ENVELOPE, of at most PARSE_ENVELOPE_MAX bytes. Returns whether it is complete. */
bool parse_put_envelope (GString *out, const ParseHeader *header);

/* Appends a parenthesised list of addresses, or NIL; addresses that would make `out` longer than
 * `limit` bytes are left out, but for a few bytes that end the list. Returns whether it is
 * complete. */
bool parse_put_addresses (GString *out, const char *text, size_t limit);

/* A header field as people read it: decoded (RFC 2047), valid UTF-8, without control characters.
 * Owned by the caller. */
char *parse_decode_text (const char *text);

/* A Date field in seconds since 1970, UTC; INT64_MIN when it cannot be read. */
int64_t parse_date (const char *text);

/* ---- the scanner ---------------------------------------------------------------------------- */

typedef struct ParseScan ParseScan;

ParseScan *parse_scan_new (void);
void parse_scan_free (ParseScan *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (ParseScan, parse_scan_free)

/* Who wants to know of each part where it lies. A part is opened when its header block ends, with
 * the offset of its body's first byte, and closed with that behind its last one. `depth` is how
 * many parts it is in; parts are closed in the reverse order in which they were opened. */
typedef struct {
  void (*opened) (const ParseHeader *header, const ParsePart *part, unsigned depth, uint64_t start,
                  void *data);
  void (*closed) (unsigned depth, uint64_t end, void *data);
  void *data;
} ParseWatch;

/* Before anything is fed. */
void parse_scan_watch (ParseScan *self, const ParseWatch *watch);

/* The next bytes of the message, cut anywhere. */
void parse_scan_feed (ParseScan *self, const uint8_t *bytes, size_t size);

/* The end of the message. Fills all of `out` but the digest, and adds to its damage. */
void parse_scan_finish (ParseScan *self, StoreSummary *out);
