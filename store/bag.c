/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a bag: a directory that can be handed on, and checked by whoever has it.
 *
 * A message goes in as it lies in the store, be it damaged, and its digest there is that of what is
 * in the bag; that it is not what was delivered stands in damaged.tsv. What cannot be read of one
 * is zeros. Nothing in the store is changed, and memory does not grow with it.
 */
#include "store/bag.h"

#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#define PAGE  128u
#define CHUNK 262144u
#define BLOCK 4096u

#define EXPORT  "export.jsonl"
#define FACTS   "manifest.json"
#define DAMAGED "damaged.tsv"

typedef struct {
  Store *store;
  int fd;   /* of the bag */
  int data; /* of its payload */
  FILE *manifest, *damaged;
  EVP_MD_CTX *digest;
  uint8_t *chunk;
  StoreImportFunc progress;
  void *user_data;
  StoreBag done;
} Bag;

static void
bag_clear (Bag *self)
{
  store_close_fd (&self->fd);
  store_close_fd (&self->data);
  g_clear_pointer (&self->manifest, fclose);
  g_clear_pointer (&self->damaged, fclose);
  EVP_MD_CTX_free (self->digest);
  g_free (self->chunk);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Bag, bag_clear)

char *
bag_path_escape (const char *path)
{
  GString *text = g_string_new (NULL);
  for (const char *at = path; *at != '\0'; at++) {
    if (*at == '\r' || *at == '\n' || *at == '%')
      g_string_append_printf (text, "%%%02X", (uint8_t)*at);
    else
      g_string_append_c (text, *at);
  }
  return g_string_free (text, FALSE);
}

/* ---- one message ---------------------------------------------------------------------------- */

/* Reads what can be read: block by block where a read fails. What cannot is zeros, and counted. */
static ssize_t
read_chunk (int fd, uint8_t *chunk, uint64_t offset, uint64_t size, uint64_t *unreadable)
{
  ssize_t got = pread (fd, chunk, MIN (CHUNK, size - offset), (off_t)offset);
  if (got >= 0 || errno != EIO)
    return got;
  size_t wanted = MIN (BLOCK - offset % BLOCK, size - offset);
  got = pread (fd, chunk, wanted, (off_t)offset);
  if (got >= 0 || errno != EIO)
    return got;
  memset (chunk, 0, wanted);
  *unreadable += wanted;
  return (ssize_t)wanted;
}

static bool
copy_bytes (Bag *self, int from, int to, uint64_t size, uint8_t out_sha256[32],
            uint64_t *out_unreadable, GError **error)
{
  EVP_DigestInit_ex (self->digest, EVP_sha256 (), NULL);
  for (uint64_t done = 0; done < size;) {
    ssize_t got = read_chunk (from, self->chunk, done, size, out_unreadable);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno (error, "read");
    if (got == 0)
      break;
    EVP_DigestUpdate (self->digest, self->chunk, (size_t)got);
    if (!layout_write (to, self->chunk, (size_t)got, error))
      return false;
    done += (uint64_t)got;
    self->done.bytes += (uint64_t)got;
  }
  EVP_DigestFinal_ex (self->digest, out_sha256, NULL);
  return true;
}

/* A name below the node becomes a file in data/; its directory is there. */
static int
create_payload (const Bag *self, const char *path, GError **error)
{
  int fd = layout_open (self->data, path, O_WRONLY | O_CREAT | O_EXCL, 0640);
  if (fd < 0)
    fail_errno (error, "create " BAG_PAYLOAD "/%s", path);
  return fd;
}

static void
tell_damage (Bag *self, const char *path, const char *reason)
{
  g_autofree char *escaped = bag_path_escape (path);
  g_autofree char *printable = store_text_printable (reason);
  fprintf (self->damaged, BAG_PAYLOAD "/%s\t%s\n", escaped, printable);
  self->done.damaged++;
}

/* What is known against its bytes; NULL: they are what was delivered, or nobody knows. */
static char *
find_damage (StoreMailbox *mailbox, uint32_t uid, int fd)
{
  g_autoptr (GError) failure = NULL;
  size_t size;
  bool known;
  if (store_message_verify (mailbox, uid, fd, NULL, 0, &size, &known, &failure))
    return NULL;
  return g_strdup (failure->message);
}

static bool
put_message (Bag *self, StoreMailbox *mailbox, const StoreMessage *message, int fd,
             const char *path, GError **error)
{
  struct stat st;
  uint8_t sha256[32];
  uint64_t unreadable = 0;
  g_autofree char *damage = find_damage (mailbox, message->uid, fd);
  auto_fd to = create_payload (self, path, error);
  if (to < 0)
    return false;
  if (fstat (fd, &st) < 0)
    return fail_errno (error, "message '%s'", path);
  if (!copy_bytes (self, fd, to, (uint64_t)st.st_size, sha256, &unreadable, error))
    return fail_prefix (error, "%s", path);
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = message->internal_s}};
  futimens (to, times);
  g_autofree char *digest = store_digest_string (sha256);
  g_autofree char *escaped = bag_path_escape (path);
  fprintf (self->manifest, "%s  " BAG_PAYLOAD "/%s\n", digest, escaped);
  self->done.messages++;
  if (unreadable > 0) {
    g_autofree char *reason = g_strdup_printf (
        "%" G_GUINT64_FORMAT " bytes cannot be read, and are zeros here", unreadable);
    tell_damage (self, path, reason);
  } else if (damage != NULL) {
    tell_damage (self, path, damage);
  }
  return true;
}

/* ---- the payload ---------------------------------------------------------------------------- */

static bool
go_on (const Bag *self, GError **error)
{
  StoreProgress now = {.done = self->done.messages, .unit = "messages"};
  if (self->progress != NULL && !self->progress (&now, self->user_data))
    return fail (error, ECANCELED, "interrupted");
  return !ferror (self->manifest) && !ferror (self->damaged) ? true : fail_errno (error, "write");
}

static bool
bag_message (Bag *self, StoreMailbox *mailbox, const StoreMessage *message, const char *directory,
             GError **error)
{
  char name[STORE_NAME_SIZE];
  store_message_name (message->uid, name);
  g_autofree char *path =
      *directory != '\0' ? g_build_filename (directory, name, NULL) : g_strdup (name);
  g_autoptr (GError) failure = NULL;
  auto_fd fd = store_message_open (mailbox, message->uid, &failure);
  if (fd >= 0)
    return put_message (self, mailbox, message, fd, path, error) && go_on (self, error);
  if (error_code (failure) != ESTALE) /* it went meanwhile */
    tell_damage (self, path, failure->message);
  return true;
}

static bool
bag_mailbox (Bag *self, uint32_t number, const char *path, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->store, number, error);
  StoreMessage page[PAGE];
  size_t count = 1;
  bool good = mailbox != NULL;
  for (uint32_t after = 0; good && count > 0;) {
    if (!store_mailbox_page (mailbox, after, page, PAGE, &count, error))
      return false;
    for (size_t i = 0; i < count && good; i++)
      good = bag_message (self, mailbox, &page[i], path, error);
    after = count > 0 ? page[count - 1].uid : after;
    store_messages_clear (page, count);
  }
  return good;
}

static bool
bag_node (const StoreNode *node, const char *path, void *data, GError **error)
{
  Bag *self = data;
  if (*path != '\0' && mkdirat (self->data, path, 0750) < 0)
    return fail_errno (error, "make directory " BAG_PAYLOAD "/%s", path);
  return node->kind != STORE_NODE_MAILBOX || bag_mailbox (self, node->number, path, error);
}

/* ---- what stands beside it ------------------------------------------------------------------ */

static FILE *
create_tag (const Bag *self, const char *name, GError **error)
{
  auto_fd fd = openat (self->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
  FILE *file = fd >= 0 ? fdopen (fd, "w") : NULL;
  if (file == NULL)
    fail_errno (error, "create %s", name);
  else
    g_steal_fd (&fd);
  return file;
}

static bool
close_tag (FILE **file, const char *name, GError **error)
{
  bool good = !ferror (*file);
  good = fclose (g_steal_pointer (file)) == 0 && good;
  return good || fail_errno (error, "write %s", name);
}

static bool
write_text (const Bag *self, const char *name, const char *text, GError **error)
{
  FILE *file = create_tag (self, name, error);
  if (file == NULL)
    return false;
  fputs (text, file);
  return close_tag (&file, name, error);
}

static bool
write_info (const Bag *self, uint32_t number, GError **error)
{
  g_autofree char *path = store_node_path (self->store, number, error);
  if (path == NULL)
    return false;
  g_autoptr (GDateTime) now = g_date_time_new_now_utc ();
  g_autofree char *date = g_date_time_format (now, "%Y-%m-%d");
  g_autofree char *directory = bag_path_escape (path);
  g_autofree char *text =
      g_strdup_printf ("Bag-Software-Agent: mailfs " MAILFS_VERSION "\n"
                       "Bagging-Date: %s\n"
                       "External-Identifier: %s\n"
                       "External-Description: mail of /%s\n" BAG_OXUM ": %" G_GUINT64_FORMAT
                       ".%" G_GUINT64_FORMAT "\n"
                       "Damaged-Messages: %" G_GUINT64_FORMAT "\n",
                       date, store_uuid (self->store), directory, self->done.bytes,
                       self->done.messages, self->done.damaged);
  return write_text (self, BAG_INFO, text, error);
}

typedef bool (*WriteFunc) (Store *store, uint32_t number, FILE *out, GError **error);

/* What the store has to tell of the node. */
static bool
write_facts (const Bag *self, uint32_t number, const char *name, WriteFunc facts, GError **error)
{
  FILE *file = create_tag (self, name, error);
  if (file == NULL)
    return false;
  bool good = facts (self->store, number, file, error);
  return close_tag (&file, name, good ? error : NULL) && good;
}

/* A bag is one when bagit.txt is there, and not before all else is on disk. */
static bool
write_tag_manifest (Bag *self, GError **error)
{
  static const char declaration[] = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
  static const char *const tags[] = {BAG_INFO, BAG_MANIFEST, EXPORT, FACTS, DAMAGED};
  g_autoptr (GString) text = g_string_new (NULL);
  g_autofree char *digest =
      g_compute_checksum_for_string (G_CHECKSUM_SHA256, declaration, strlen (declaration));
  g_string_append_printf (text, "%s  " BAG_DECLARATION "\n", digest);
  for (size_t i = 0; i < G_N_ELEMENTS (tags); i++) {
    struct stat st;
    uint8_t sha256[32];
    auto_fd fd = layout_open (self->fd, tags[i], O_RDONLY, 0);
    if (fd < 0 || fstat (fd, &st) < 0)
      return fail_errno (error, "open %s", tags[i]);
    if (!message_digest (fd, (uint64_t)st.st_size, NULL, 0, sha256, error))
      return fail_prefix (error, "%s", tags[i]);
    g_autofree char *hex = store_digest_string (sha256);
    g_string_append_printf (text, "%s  %s\n", hex, tags[i]);
  }
  if (!write_text (self, BAG_TAG_MANIFEST, text->str, error))
    return false;
  if (syncfs (self->fd) < 0)
    return fail_errno (error, "sync");
  return write_text (self, BAG_DECLARATION, declaration, error) &&
         (syncfs (self->fd) == 0 || fail_errno (error, "sync"));
}

/* ---- all of it ------------------------------------------------------------------------------ */

static bool
open_bag (Bag *self, const char *directory, GError **error)
{
  g_autoptr (GPtrArray) names = NULL;
  if (mkdir (directory, 0750) < 0 && errno != EEXIST)
    return fail_errno (error, "make directory '%s'", directory);
  self->fd = open (directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (self->fd < 0)
    return fail_errno (error, "open directory '%s'", directory);
  names = layout_names (self->fd, "", error);
  if (names == NULL)
    return false;
  if (names->len > 0)
    return fail (error, ENOTEMPTY, "directory '%s' is not empty", directory);
  if (mkdirat (self->fd, BAG_PAYLOAD, 0750) < 0)
    return fail_errno (error, "make directory " BAG_PAYLOAD);
  self->data = layout_open (self->fd, BAG_PAYLOAD, O_RDONLY | O_DIRECTORY, 0);
  if (self->data < 0)
    return fail_errno (error, "open directory " BAG_PAYLOAD);
  self->manifest = create_tag (self, BAG_MANIFEST, error);
  self->damaged = self->manifest != NULL ? create_tag (self, DAMAGED, error) : NULL;
  self->chunk = g_malloc (CHUNK);
  self->digest = EVP_MD_CTX_new ();
  return self->damaged != NULL;
}

static bool
fill_bag (Bag *self, uint32_t number, GError **error)
{
  g_auto (StoreNode) node = {0};
  return store_node_get (self->store, number, &node, error) &&
         node_each_below (self->store, &node, bag_node, self, error) &&
         close_tag (&self->manifest, BAG_MANIFEST, error) &&
         close_tag (&self->damaged, DAMAGED, error) &&
         write_facts (self, number, EXPORT, store_export_write, error) &&
         write_facts (self, number, FACTS, store_manifest_json_write, error) &&
         write_info (self, number, error) && write_tag_manifest (self, error);
}

bool
store_bag_write (Store *self, uint32_t number, const char *directory, StoreImportFunc progress,
                 void *user_data, StoreBag *out, GError **error)
{
  g_auto (Bag)
      bag = {.store = self, .fd = -1, .data = -1, .progress = progress, .user_data = user_data};
  if (!open_bag (&bag, directory, error))
    return false;
  if (!fill_bag (&bag, number, error))
    return fail_prefix (error, "bag '%s'", directory);
  *out = bag.done;
  return true;
}
