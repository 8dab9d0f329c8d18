/* SPDX-License-Identifier: Apache-2.0 */
#include "store/parse.h"

#include <gmime/gmime.h>
#include <openssl/evp.h>
#include <unistd.h>

/* Digest and scanner take turns on pieces that stay in the processor's nearer caches. */
#define PIECE_SIZE 65536u

static EVP_MD *sha256;

void
parse_init (void)
{
  static size_t done;
  if (!g_once_init_enter (&done))
    return;
  g_mime_init ();
  sha256 = EVP_MD_fetch (NULL, "SHA256", NULL);
  if (sha256 == NULL)
    g_error ("libcrypto has no SHA-256");
  g_once_init_leave (&done, 1);
}

/* One message on its way through. */
typedef struct {
  EVP_MD_CTX *digest;
  ParseScan *scan;
  uint32_t damage;
} Parse;

static void
parse_begin (Parse *self)
{
  *self = (Parse){.digest = EVP_MD_CTX_new (), .scan = parse_scan_new ()};
  EVP_DigestInit_ex2 (self->digest, sha256, NULL);
}

static void
parse_clear (Parse *self)
{
  EVP_MD_CTX_free (self->digest);
  parse_scan_free (self->scan);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Parse, parse_clear)

static void
parse_feed (Parse *self, const uint8_t *bytes, size_t size)
{
  EVP_DigestUpdate (self->digest, bytes, size);
  if ((self->damage & STORE_DAMAGE_NUL) == 0 && memchr (bytes, '\0', size) != NULL)
    self->damage |= STORE_DAMAGE_NUL;
  parse_scan_feed (self->scan, bytes, size);
}

static void
parse_finish (Parse *self, StoreSummary *out)
{
  *out = (StoreSummary){.damage = self->damage};
  EVP_DigestFinal_ex (self->digest, out->sha256, NULL);
  parse_scan_finish (self->scan, out);
}

void
parse_bytes (const uint8_t *bytes, size_t size, StoreSummary *out)
{
  g_auto (Parse) parse = {0};
  parse_begin (&parse);
  for (size_t done = 0; done < size; done += PIECE_SIZE)
    parse_feed (&parse, bytes + done, MIN (PIECE_SIZE, size - done));
  parse_finish (&parse, out);
}

bool
parse_file (int fd, uint64_t size, StoreSummary *out, uint64_t *out_size, GError **error)
{
  g_auto (Parse) parse = {0};
  parse_begin (&parse);
  uint8_t piece[PIECE_SIZE];
  uint64_t done = 0;
  while (done < size) {
    ssize_t n = pread (fd, piece, MIN (PIECE_SIZE, size - done), done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fail_errno (error, "read message at byte %" G_GUINT64_FORMAT, done);
    if (n == 0)
      break;
    parse_feed (&parse, piece, n);
    done += n;
  }
  parse_finish (&parse, out);
  *out_size = done;
  return true;
}
