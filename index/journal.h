/* SPDX-License-Identifier: Apache-2.0 */
/* journal.h - pages of a database that lie beside it, in a rollback journal or a write-ahead log.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define JOURNAL_PAGE_MIN 512u
#define JOURNAL_PAGE_MAX 65536u

typedef struct {
  uint32_t page_size;
  uint32_t pages;   /* of the database, before the transaction or after the last commit */
  uint64_t commits; /* in a log */
} JournalFacts;

/* Gets the image of a page, whose checksum is right and which begins at `at` of the file. Returning
 * false ends the reading. */
typedef bool (*JournalFunc) (uint32_t page, const uint8_t *image, uint64_t at, void *data);

/* Hands out what the rollback journal `fd` holds, in the order in which it stands there: a page may
 * come more than once, and the first time it is as it was before the transaction. It ends where
 * something is not whole, as SQLite does. False: there is nothing to be undone, or pages of another
 * size than `page_size` (0: of any) are. */
bool journal_read (int fd, uint32_t page_size, JournalFunc each, void *data, JournalFacts *out);

/* Likewise what was committed to the write-ahead log `fd`; of a page the last image counts. False:
 * nothing was. */
bool log_read (int fd, JournalFunc each, void *data, JournalFacts *out);
