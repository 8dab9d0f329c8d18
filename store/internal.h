/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of store/ share. Nothing outside store/ and its unit tests includes it.
 *
 * Five invariants, each with a test of its own (tests/unit/test-invariants.c):
 *
 *  1. One message is one file. Its name is its UID. A UID is never used for another message.
 *  2. The file moves first, the index follows; so a crash leaves the index behind the files, never
 *     ahead, and the next check catches up.
 *  3. No fact lives only in the index.
 *  4. A message's bytes never change once committed.
 *  5. check and reconstruct never modify or remove a message file.
 *
 * Lock order, outermost first; no lock is held over reading or syncing a message's content:
 *
 *   user lock        flock(2) on the user's directory: all that changes the user's mail or index
 *   store lock       flock(2) on mail/: numbers, the mailbox list
 *   IndexWrite, ListWrite
 *   Store.mutex      the caches of open mailboxes and indexes
 *   StoreMailbox.mutex
 */
#pragma once

#include "index/index.h"
#include "store/store.h"

/* ---- parse.c: what a message's bytes say ------------------------------------------------------- */

#define PARSE_DEPTH_MAX  100u     /* nesting of multiparts and forwarded messages */
#define PARSE_PARTS_MAX  10000u   /* parts of one message */
#define PARSE_HEADER_MAX 262144u  /* bytes of one header block that are looked at */

/* Must be called once before any other thread parses. */
void parse_init (void);

/* Digests and parses a whole message in one pass. Never fails: whatever the bytes are, ENVELOPE and
 * BODYSTRUCTURE are valid IMAP strings. */
void parse_bytes (const uint8_t *bytes, size_t size, StoreSummary *out);

/* The same for the first `size` bytes of a file, from offset 0 on, with bounded memory. Fails only when
 * reading fails; a file that ends early is parsed as far as it goes, and `*out_size` says how far. */
bool parse_file (int fd, uint64_t size, StoreSummary *out, uint64_t *out_size, GError **error);
