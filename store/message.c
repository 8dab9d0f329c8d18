/* SPDX-License-Identifier: Apache-2.0 */
/* One message: its bytes, what they say, its flags. */
#include "store/past.h"
#include "store/snapshot.h"

#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#define CHUNK        262144u
#define KEPT_AT_ONCE 8u /* messages with neighbouring UIDs; a power of two */

/* ---- reading ------------------------------------------------------------------------------- */

int
store_message_open (StoreMailbox *self, uint32_t uid, GError **error)
{
  if (self->store->past != NULL)
    return past_message_open (self, uid, error);
  char name[STORE_NAME_SIZE];
  store_message_name (uid, name);
  int fd = layout_open_message (self->fd, name);
  if (fd < 0) {
    int code = errno == ENOENT ? ESTALE : errno;
    if (code == ESTALE)
      fail (error, code, "no message %u in '%s'", uid, self->path);
    else
      fail (error, code, "open message '%s/%s': %s", self->path, name, g_strerror (errno));
  }
  return fd;
}

/* Reads `size` bytes from the beginning. EIO when the file ends before. */
static bool
read_whole (int fd, uint8_t *buffer, size_t size, GError **error)
{
  for (size_t done = 0; done < size;) {
    ssize_t got = pread (fd, buffer + done, size - done, (off_t)done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail_errno (error, "read");
    if (got == 0)
      return fail (error, EIO, "ends after %zu of %zu bytes", done, size);
    done += (size_t)got;
  }
  return true;
}

static bool
digest_large (int fd, uint64_t size, uint8_t out_sha256[32], GError **error)
{
  g_autofree uint8_t *chunk = g_malloc (CHUNK);
  EVP_MD_CTX *context = EVP_MD_CTX_new ();
  bool good = context != NULL && EVP_DigestInit_ex (context, EVP_sha256 (), NULL);
  if (!good)
    fail (error, ENOMEM, "start a digest");
  for (uint64_t done = 0; good && done < size;) {
    ssize_t got = pread (fd, chunk, MIN (CHUNK, size - done), (off_t)done);
    if (got < 0 && errno == EINTR)
      continue;
    good = got > 0 && EVP_DigestUpdate (context, chunk, (size_t)got);
    if (got < 0)
      fail_errno (error, "read");
    else if (got == 0)
      fail (error, EIO, "ends after %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes", done,
            size);
    done += got > 0 ? (uint64_t)got : 0;
  }
  good = good && EVP_DigestFinal_ex (context, out_sha256, NULL);
  EVP_MD_CTX_free (context);
  return good;
}

bool
message_digest (int fd, uint64_t size, uint8_t *buffer, size_t capacity, uint8_t out_sha256[32],
                GError **error)
{
  if (size > capacity)
    return digest_large (fd, size, out_sha256, error);
  if (!read_whole (fd, buffer, (size_t)size, error))
    return false;
  return EVP_Digest (buffer, (size_t)size, out_sha256, NULL, EVP_sha256 (), NULL) ||
         fail (error, ENOMEM, "digest");
}

bool
message_delivered (StoreMailbox *self, uint32_t uid, int fd, uint64_t *out_size,
                   uint8_t out_known[32])
{
  bool found = false;
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) handle = cache_index (self->store, self->owner, false, &failure);
  bool good = handle != NULL && index_digest_get (handle->index, self->number, uid, out_size,
                                                  out_known, &found, &failure);
  bool told = good && found;
  if (told && !index_is_salvaged (handle->index))
    return true;
  heal_note (self, is_index_broken (failure) ? HEAL_ROWS | HEAL_INDEX : HEAL_ROWS);
  g_auto (MessageState) state = {0};
  struct stat st;
  if (fstat (fd, &st) < 0 || !message_state_read (self->fd, fd, uid, &state, &found, NULL) ||
      !found || state.digest == 0)
    return told;
  *out_size = (uint64_t)st.st_size;
  digest_from_prefix (state.digest, out_known);
  return true;
}

static bool
verify (StoreMailbox *self, uint32_t uid, int fd, void *buffer, size_t capacity, size_t *out_size,
        bool *out_known, GError **error)
{
  uint64_t size = 0;
  uint8_t expected[32], actual[32];
  bool known = message_delivered (self, uid, fd, &size, expected);
  struct stat st;
  if (fstat (fd, &st) < 0)
    return fail_errno (error, "stat message %u of '%s'", uid, self->path);
  /* A row made of a file that was damaged already has that file's size. */
  if (known && digest_is_whole (expected) && size != (uint64_t)st.st_size)
    return fail (error, EIO,
                 "message %u of '%s' has %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT
                 " were delivered",
                 uid, self->path, (uint64_t)st.st_size, size);
  size = (uint64_t)st.st_size;
  if (known || size <= capacity) {
    if (!message_digest (fd, size, buffer, capacity, actual, error))
      return fail_prefix (error, "message %u of '%s'", uid, self->path);
    if (known && !digest_matches (expected, actual))
      return fail (error, EIO, "message %u of '%s' does not have the bytes that were delivered",
                   uid, self->path);
  }
  *out_size = size <= capacity ? (size_t)size : 0;
  *out_known = known;
  return true;
}

bool
store_message_verify (StoreMailbox *self, uint32_t uid, int fd, void *buffer, size_t capacity,
                      size_t *out_size, bool *out_known, GError **error)
{
  g_autoptr (GError) failure = NULL;
  if (verify (self, uid, fd, buffer, capacity, out_size, out_known, &failure))
    return true;
  if (failure->code == EIO)
    heal_note (self, HEAL_BYTES);
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

bool
store_message_summary (StoreMailbox *self, uint32_t uid, StoreSummary *out, GError **error)
{
  IndexSummary row = {0};
  bool found = false;
  g_autoptr (Handle) handle = cache_index (self->store, self->owner, false, NULL);
  if (handle != NULL && !index_summary_get (handle->index, self->number, uid, &row, &found, NULL)) {
    heal_note (self, HEAL_INDEX);
    found = false;
  }
  /* A message that could not be read when it was indexed has an empty one. */
  if (found && *row.envelope == '\0') {
    index_summary_clear (&row);
    found = false;
  }
  if (found) {
    *out = (StoreSummary){.sent_s = row.sent_s,
                          .envelope = g_steal_pointer (&row.envelope),
                          .bodystructure = g_steal_pointer (&row.bodystructure)};
    memcpy (out->sha256, row.sha256, sizeof out->sha256);
    return true;
  }
  auto_fd fd = store_message_open (self, uid, error);
  struct stat st;
  uint64_t size;
  if (fd < 0)
    return false;
  if (fstat (fd, &st) < 0)
    return fail_errno (error, "stat message %u of '%s'", uid, self->path);
  return parse_file (fd, (uint64_t)st.st_size, out, &size, error) ||
         fail_prefix (error, "message %u of '%s'", uid, self->path);
}

/* ---- flags --------------------------------------------------------------------------------- */

/* A message whose flags change. */
typedef struct {
  uint32_t uid;
  IndexMessage row;    /* as the index or the file shows it */
  MessageState before; /* as the file carries it, unless the row's is newer */
  int64_t before_ns;   /* the file's ctime then */
  uint32_t flags;      /* as they will be */
  char *keywords;
} Flagging;

static void
flagging_clear (gpointer data)
{
  Flagging *flagging = data;
  index_message_clear (&flagging->row);
  message_state_clear (&flagging->before);
  g_free (flagging->keywords);
}

static uint32_t
change_flags (uint32_t old, uint32_t given, StoreFlagsChange change)
{
  switch (change) {
  case STORE_FLAGS_ADD: return old | given;
  case STORE_FLAGS_REMOVE: return old & ~given;
  case STORE_FLAGS_SET: break;
  }
  return given;
}

bool
message_state_current (StoreMailbox *mailbox, int fd, uint32_t uid, const IndexMessage *row,
                       MessageState *out, GError **error)
{
  g_auto (MessageState) state = {0};
  bool has_state = false;
  g_autoptr (GError) failure = NULL;
  if (!message_state_read (mailbox->fd, fd, uid, &state, &has_state, &failure) &&
      failure->code != EBADMSG) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  if (has_state && !state.copied && state.modseq >= row->modseq) {
    *out = state;
    state = (MessageState){0};
    return true;
  }
  uint64_t size, digest = state.digest;
  uint8_t known[32];
  if (digest == 0 && message_delivered (mailbox, uid, fd, &size, known))
    digest = digest_prefix (known);
  *out = (MessageState){.modseq = row->modseq,
                        .birth = row->birth,
                        .expunged = row->expunged,
                        .digest = digest,
                        .flags = row->flags,
                        .keywords = g_strdup (row->keywords),
                        .copied = has_state && state.copied};
  return true;
}

static bool
read_before (StoreMailbox *mailbox, Flagging *flagging, GError **error)
{
  auto_fd fd = store_message_open (mailbox, flagging->uid, error);
  struct stat st;
  if (fd < 0)
    return false;
  if (fstat (fd, &st) < 0)
    return fail_errno (error, "stat message %u of '%s'", flagging->uid, mailbox->path);
  flagging->before_ns = stat_ctime_ns (&st);
  return message_state_current (mailbox, fd, flagging->uid, &flagging->row, &flagging->before,
                                error);
}

/* Finds the messages and keeps those that really change, or whose row is behind its file. */
static bool
collect_flaggings (View *view, const uint32_t *uids, size_t count, StoreFlagsChange change,
                   uint32_t flags, const char *keywords, GArray *out, GError **error)
{
  for (size_t i = 0; i < count; i++) {
    Flagging flagging = {.uid = uids[i]};
    bool found = false;
    bool good = view_message (view, uids[i], &flagging.row, &found, error);
    if (good && !found)
      good = fail (error, ENOENT, "no message %u in '%s'", uids[i], view->mailbox->path);
    if (!good || !read_before (view->mailbox, &flagging, error)) {
      flagging_clear (&flagging);
      return false;
    }
    flagging.flags = change_flags (flagging.before.flags, flags, change);
    flagging.keywords = keywords_change (flagging.before.keywords, keywords, change);
    if (flagging.flags == flagging.before.flags &&
        g_strcmp0 (flagging.keywords, flagging.before.keywords) == 0 &&
        flagging.before.modseq == flagging.row.modseq)
      flagging_clear (&flagging);
    else
      g_array_append_val (out, flagging);
  }
  return true;
}

/* Puts a state on a message file and tells the file's new ctime. */
static bool
write_state (StoreMailbox *self, uint32_t uid, const MessageState *state, bool sync,
             int64_t *out_changed_ns, GError **error)
{
  auto_fd fd = store_message_open (self, uid, error);
  struct stat st;
  if (fd < 0)
    return false;
  if (!message_state_write (self->store, self->fd, fd, uid, state, error))
    return fail_prefix (error, "message %u of '%s'", uid, self->path);
  if ((sync && fsync (fd) < 0) || fstat (fd, &st) < 0)
    return fail_errno (error, "sync message %u of '%s'", uid, self->path);
  *out_changed_ns = stat_ctime_ns (&st);
  return true;
}

/* Gives the first `count` files their old state back. */
static void
restore_files (StoreMailbox *self, GArray *flaggings, guint count)
{
  for (guint i = 0; i < count; i++) {
    Flagging *flagging = &g_array_index (flaggings, Flagging, i);
    write_state (self, flagging->uid, &flagging->before, false, &flagging->row.changed_ns, NULL);
  }
}

/* The files first. When one fails, those before it get their old state back. */
static bool
flag_files (StoreMailbox *self, const Epoch *epoch, GArray *flaggings, uint64_t modseq,
            GError **error)
{
  bool sync_each = flaggings->len <= SYNC_EACH_MAX;
  g_autoptr (GError) failure = NULL;
  for (guint i = 0; i < flaggings->len; i++) {
    Flagging *flagging = &g_array_index (flaggings, Flagging, i);
    MessageState state = flagging->before;
    state.modseq = modseq;
    state.birth = state.birth != 0 ? state.birth : epoch_of_time (epoch, flagging->before_ns);
    state.flags = flagging->flags;
    state.keywords = flagging->keywords;
    if (write_state (self, flagging->uid, &state, sync_each, &flagging->row.changed_ns, &failure))
      continue;
    /* One that does not take the state has not been touched. */
    restore_files (self, flaggings, error_code (failure) == E2BIG ? i : i + 1);
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  if (sync_each || syncfs (self->fd) == 0)
    return true;
  fail_errno (error, "sync '%s'", self->path);
  restore_files (self, flaggings, flaggings->len);
  return false;
}

static bool
flag_rows (StoreMailbox *self, IndexWrite *write, GArray *flaggings, IndexMailbox *facts,
           GError **error)
{
  if (!index_write_mailbox (write, facts, error))
    return false;
  for (guint i = 0; i < flaggings->len; i++) {
    const Flagging *flagging = &g_array_index (flaggings, Flagging, i);
    IndexMessage row = flagging->row;
    row.modseq = facts->highestmodseq;
    row.flags = flagging->flags;
    row.keywords = flagging->keywords;
    IndexMessage known = {0};
    bool has_row;
    if (!index_write_get_message (write, self->number, flagging->uid, &known, &has_row, error))
      return false;
    index_message_clear (&known);
    /* A row needs a summary; the message of one that has none is read when the index is rebuilt. */
    if (has_row && !index_write_message (write, self->number, &row, NULL, error))
      return false;
  }
  return index_write_commit (write, error);
}

/* Who has flagged two messages in a row often flags those that follow next. So they are kept along
 * with the second, which spares each of them a sync. One that cannot be read is kept when it
 * changes, and so is one whose row a crash left behind the file, or whose file was touched since:
 * snapshots show it by its row, and must go on to. */
static void
keep_neighbours (Keep *keep, View *view, uint32_t uid)
{
  uint32_t first = uid - uid % KEPT_AT_ONCE;
  if ((uid == 1 || keep_wants (keep, uid - 1)) && keep_wants (keep, uid + 1))
    return;
  for (uint32_t other = first; other - first < KEPT_AT_ONCE; other++) {
    Flagging flagging = {.uid = other};
    bool found = false;
    if (other != uid && keep_wants (keep, other) &&
        view_message (view, other, &flagging.row, &found, NULL) && found &&
        read_before (view->mailbox, &flagging, NULL) &&
        flagging.before.modseq == flagging.row.modseq &&
        flagging.before_ns == flagging.row.changed_ns)
      keep_message (keep, other, flagging.before_ns, &flagging.before, false);
    flagging_clear (&flagging);
  }
}

/* Puts the new modseq on the directory: one that a crash leaves on a file alone is not given out
 * again. Snapshots need the mailbox, and the messages, as they are. */
static bool
prepare_directory (View *view, const Epoch *epoch, const GArray *flaggings,
                   const IndexMailbox *facts, GError **error)
{
  StoreMailbox *self = view->mailbox;
  g_auto (Keep) keep = {0};
  bool added = false;
  if (!keep_begin (&keep, epoch, self, error) || !keep_end (&keep, error))
    return false; /* so what the directory was is on disk before it changes */
  for (guint i = 0; i < flaggings->len; i++) {
    const Flagging *flagging = &g_array_index (flaggings, Flagging, i);
    added = keep_message (&keep, flagging->uid, flagging->before_ns, &flagging->before, false);
  }
  if (added && flaggings->len == 1)
    keep_neighbours (&keep, view, g_array_index (flaggings, Flagging, 0).uid);
  if (!keep_write (&keep, error) || !mailbox_write_state (self, facts, error))
    return false;
  if (fsync (self->fd) < 0)
    return fail_errno (error, "sync '%s'", self->path);
  return keep_sync (&keep, error);
}

/* The user is locked, and the epoch held. */
static bool
flag_all (View *view, const Epoch *epoch, GArray *flaggings, GError **error)
{
  StoreMailbox *self = view->mailbox;
  g_autoptr (GError) failure = NULL;
  g_autoptr (Handle) handle = NULL;
  g_autoptr (IndexWrite) write = mailbox_write_begin (self, &handle, &failure);
  IndexMailbox facts;
  if (failure != NULL || !mailbox_facts (self, write, &facts, &failure)) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  for (guint i = 0; i < flaggings->len; i++)
    facts.highestmodseq =
        MAX (facts.highestmodseq, g_array_index (flaggings, Flagging, i).before.modseq);
  facts.highestmodseq++;
  if (!prepare_directory (view, epoch, flaggings, &facts, error) ||
      !flag_files (self, epoch, flaggings, facts.highestmodseq, error))
    return false;
  /* A row that stayed behind would be believed, so what it cannot follow is taken back; unless the
   * index was deleted meanwhile: then there is nobody to believe but the files. */
  if (write != NULL && !flag_rows (self, write, flaggings, &facts, &failure) &&
      failure->code != ESTALE) {
    restore_files (self, flaggings, flaggings->len);
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  return true;
}

bool
store_message_flag (StoreMailbox *self, const uint32_t *uids, size_t count, StoreFlagsChange change,
                    uint32_t flags, const char *keywords, GError **error)
{
  auto_fd lock = lock_mailbox (self, error);
  g_auto (Epoch) epoch = EPOCH_NONE;
  if (lock < 0 || !epoch_enter (self->store, &epoch, error))
    return false;
  g_autoptr (GArray) flaggings = g_array_new (FALSE, FALSE, sizeof (Flagging));
  g_array_set_clear_func (flaggings, flagging_clear);
  g_auto (View) view = {0};
  if (!view_begin (self, &view, error) ||
      !collect_flaggings (&view, uids, count, change, flags, keywords, flaggings, error))
    return false;
  if (flaggings->len == 0)
    return true;
  if (!flag_all (&view, &epoch, flaggings, error))
    return false;
  g_autoptr (GArray) changed = g_array_new (FALSE, FALSE, sizeof (uint32_t));
  for (guint i = 0; i < flaggings->len; i++)
    g_array_append_val (changed, g_array_index (flaggings, Flagging, i).uid);
  change_note_uids (self->store, self->number, changed);
  return true;
}
