/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - how everything here writes and reads things: names, spans of time, sizes, digests, JSON.
 */
#pragma once

#include "index/error.h"

/* Escapes a mailbox name into a directory name (format.md), and back. Escaping a name that does not
 * fit into 255 bytes cuts it; `*out_lossy` tells. Both results are owned by the caller. */
char *store_name_escape (const char *name, bool *out_lossy);
char *store_name_unescape (const char *name);

/* Any bytes made safe to print: control bytes and invalid UTF-8 become \xHH. */
char *store_text_printable (const char *text);

/* A span of time: "90", "90s", "30m", "24h", "7d", "2w". EINVAL when it is none. */
bool store_age_parse (const char *text, int64_t *out_s, GError **error);

/* A size: "500", "64K", "20M", "1G", in steps of 1024. EINVAL when it is none, or 0. */
bool store_size_parse (const char *text, uint64_t *out, GError **error);

/* 64 hexadecimal digits, owned by the caller. */
char *store_digest_string (const uint8_t sha256[32]);

/* ---- JSON ---------------------------------------------------------------------------------- */

/*
 * One object (RFC 8259) per line, member by member, as everything here prints it:
 *
 *   g_autoptr (GString) json = json_begin ("message"); {"type":"message"
 *   json_uint (json, "uid", uid);
 *   json_end (json);                                   }, and the end of the line
 *
 * Strings may hold any bytes: what is not UTF-8 becomes U+FFFD. A NULL string is written as null.
 */
GString *json_begin (const char *type);
void json_string (GString *json, const char *key, const char *value);
void json_uint (GString *json, const char *key, uint64_t value);
void json_bool (GString *json, const char *key, bool value);
void json_time (GString *json, const char *key, int64_t time_s); /* RFC 3339; 0: null */
void json_uints (GString *json, const char *key, const uint64_t *values, size_t count);

/* The words of `value`, which are separated by one space, as an array. */
void json_words (GString *json, const char *key, const char *value);
void json_end (GString *json);
