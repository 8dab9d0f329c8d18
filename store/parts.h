/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts.h - what the files that look inside messages share; only parts*.c and their tests include
 * it.
 *
 *   parts.c         the list of parts, made of what the scanner of parse.h finds
 *   parts-name.c    names that any filesystem takes and no program stumbles over
 *   parts-decode.c  the bytes of one part, decoded piece by piece
 *   parts-text.c    all the text of a message, to search in
 *
 * Nothing is decompressed, and nothing is run; what is decoded grows less than fourfold.
 */
#pragma once

#include "store/parse.h"

#include <gmime/gmime.h>

/* ---- parts-name.c --------------------------------------------------------------------------- */

/* A name is at most that many bytes long. */
#define PART_NAME_MAX 200u

/* `name` as it was sent, in UTF-8 or not, as the name of a file: no directory in it, nothing that
 * is hidden or an option, no control or direction characters, no device of another system. NULL or
 * nothing left: `fallback`. Owned by the caller. */
char *part_name_make (const char *name, const char *fallback);

/* What `name` is called where the names in `taken` are: itself, or with "-2" before its suffix, and
 * so on. Upper and lower case are the same. `scope` is the directory. Owned by the caller. */
char *part_name_unique (GHashTable *taken, uint32_t scope, const char *name);

/* ---- parts-decode.c ------------------------------------------------------------------------- */

/* Takes what is decoded; false stops, with the error set. */
typedef bool (*PartSinkFunc) (const char *bytes, size_t size, void *data, GError **error);

/* One part's bytes. */
typedef struct {
  StorePartKind kind; /* a header is unfolded; text becomes UTF-8 */
  GMimeContentEncoding encoding;
  const char *charset;       /* NULL: none is told */
  uint64_t offset, raw_size; /* in the file */
} PartSource;

/* Hands all of it to the sink. A file that ends early is decoded as far as it goes. */
bool part_decode (int fd, const PartSource *source, PartSinkFunc sink, void *data, GError **error);

/* ---- parts.c -------------------------------------------------------------------------------- */

PartSource part_source (const StoreParts *self, uint32_t index);
