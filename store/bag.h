/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bag.h - bags (RFC 8493): what writing one (bag.c) and checking one (bag-verify.c) share.
 *
 *   bagit.txt                says that it is a bag; written last
 *   bag-info.txt             what is in it
 *   data/                    the payload: the messages
 *   manifest-sha256.txt      their digests
 *   tagmanifest-sha256.txt   those of all other files here but itself
 */
#pragma once

#include "store/internal.h"

#define BAG_DECLARATION  "bagit.txt"
#define BAG_INFO         "bag-info.txt"
#define BAG_PAYLOAD      "data"
#define BAG_MANIFEST     "manifest-sha256.txt"
#define BAG_TAG_MANIFEST "tagmanifest-sha256.txt"
#define BAG_OXUM         "Payload-Oxum"

/* A path as a manifest has it: CR, LF and '%' are %XX; and back. Owned by the caller. */
char *bag_path_escape (const char *path);
char *bag_path_unescape (const char *text);
