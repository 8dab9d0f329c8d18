/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ahead.c - reading ahead of those who read a mailbox message by message.
 *
 * Who reads a mailbox for the first time waits for each message: for the kernel's question, the
 * verification and the answer. So when messages are asked for in the order of their UIDs, this
 * thread verifies the next ones meanwhile, and puts the small ones into the kernel's page cache
 * (fuse_lowlevel_notify_store()): reading those does not come here at all. What is read ahead is no
 * more than was asked for in a row before, so a reader who jumps about costs next to nothing.
 *
 * The kernel lets a push wait for a page that a read is about to fill, and nothing ends that wait
 * but the answer to that read. Hence three rules. No lock is held and no message is being verified
 * during a push. The messages of a batch are pushed from the last to the first: whatever lies
 * between the reader and the push is then still asked for here, so that it is known where the
 * reader is, and the push stops before the two meet. And the session does not end before this
 * thread (mount.c).
 */
#include "fs/cache.h"
#include "fs/inode.h"
#include "fs/loop.h"
#include "fs/metrics.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/view.h"

#include <unistd.h>

#define READERS_MAX  8           /* that are followed at a time */
#define GAP_MAX      16          /* UIDs that may be missing between two messages read in a row */
#define WINDOW_MAX   256         /* messages ahead of a reader */
#define WINDOW_BYTES (16u << 20) /* and what is read of them */
#define BATCH_MAX    16          /* messages read before they are pushed */
#define BATCH_BYTES  (1u << 20)
#define PUSH_MAX     (128u << 10) /* the larger a message, the less there is to gain */

/* Somebody who reads the messages of a mailbox one after the other. */
typedef struct {
  uint64_t id;        /* 0: nobody */
  uint64_t asked;     /* when, in reads */
  fuse_ino_t mailbox; /* its directory */
  uint32_t at;        /* UID that was asked for last */
  uint32_t done;      /* UID up to which it was read ahead */
  unsigned window;    /* messages to read ahead at a time */
  unsigned left;      /* of these; 0: nothing to do */
  uint64_t bytes;     /* that may still be read for them */
} Reader;

/* Messages of one mailbox on their way into the kernel. */
typedef struct {
  unsigned reader;
  Reader begin; /* the reader as it was then */
  uint32_t done;
  uint64_t bytes;
  bool end; /* there is no more to read ahead */
  unsigned count;
  size_t used;
  struct {
    uint32_t uid;
    size_t start, size;
  } messages[BATCH_MAX];
  uint8_t buffer[BATCH_BYTES];
} Batch;

struct Ahead {
  Mount *mount;
  Batch batch; /* the thread's */

  Loop loop; /* woken when a reader's `left` grew; its mutex is for what follows */
  uint64_t reads;
  unsigned served; /* the reader of the last batch */
  Reader readers[READERS_MAX];
};

/* ---- the handlers' side ------------------------------------------------------------------- */

/* Who may have asked for this message after those before it; else whom to forget for him. */
static Reader *
find_reader (Ahead *self, fuse_ino_t mailbox, uint32_t uid, bool *out_known)
{
  Reader *oldest = &self->readers[0];

  for (unsigned i = 0; i < READERS_MAX; i++) {
    Reader *reader = &self->readers[i];
    *out_known = reader->id != 0 && reader->mailbox == mailbox && uid >= reader->at &&
                 uid - MIN (uid, reader->done) <= GAP_MAX;
    if (*out_known)
      return reader;
    if (reader->asked < oldest->asked)
      oldest = reader;
  }
  return oldest;
}

void
ahead_note_read (Ahead *self, fuse_ino_t ino)
{
  fuse_ino_t mailbox = inode_directory (inode_view (ino), inode_number (ino));
  uint32_t uid = inode_uid (ino);
  bool known;

  /* What the kernel keeps would not be verified again. */
  if (self->mount->verify == VERIFY_ALWAYS)
    return;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);
  Reader *reader = find_reader (self, mailbox, uid, &known);
  self->reads++;
  if (!known)
    *reader = (Reader){.id = self->reads, .mailbox = mailbox, .at = uid, .done = uid};
  reader->asked = self->reads;
  if (reader->at == uid)
    return;
  reader->at = uid;
  reader->done = MAX (reader->done, uid);
  reader->window = MIN (2 * reader->window + 2, WINDOW_MAX);
  reader->left = reader->window;
  reader->bytes = WINDOW_BYTES;
  g_cond_signal (&self->loop.wake);
}

/* ---- the thread --------------------------------------------------------------------------- */

/* The next reader in turn, when one has something to be read ahead. */
static bool
choose_reader (Ahead *self)
{
  for (unsigned i = 1; i <= READERS_MAX; i++) {
    unsigned next = (self->served + i) % READERS_MAX;
    if (self->readers[next].left > 0) {
      self->served = next;
      return true;
    }
  }
  return false;
}

/* Sleeps until there is something to read; false: the end. */
static bool
begin_batch (Ahead *self, Batch *batch)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);

  while (!self->loop.stop && !choose_reader (self))
    g_cond_wait (&self->loop.wake, &self->loop.mutex);
  batch->reader = self->served;
  batch->begin = self->readers[self->served];
  batch->done = batch->begin.done;
  batch->bytes = 0;
  batch->end = false;
  batch->count = 0;
  batch->used = 0;
  return !self->loop.stop;
}

static void
end_batch (Ahead *self, const Batch *batch, unsigned looked_at)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);
  Reader *reader = &self->readers[batch->reader];

  if (reader->id != batch->begin.id)
    return;
  reader->done = MAX (reader->done, batch->done);
  reader->bytes -= MIN (reader->bytes, batch->bytes);
  reader->left -= MIN (reader->left, looked_at);
  if (batch->end || reader->bytes == 0)
    reader->left = 0;
}

static fuse_ino_t
message_inode (const Batch *batch, uint32_t uid)
{
  fuse_ino_t mailbox = batch->begin.mailbox;

  return inode_message (inode_view (mailbox), inode_number (mailbox), uid);
}

/* Whether the message still lies ahead of the reader, and he is not about to ask for it. */
static bool
is_ahead (Ahead *self, const Batch *batch, uint32_t uid)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->loop.mutex);
  const Reader *reader = &self->readers[batch->reader];

  return !self->loop.stop && reader->id == batch->begin.id && uid > reader->at + 1;
}

static bool
read_bytes (int fd, uint8_t *buffer, size_t size)
{
  ssize_t got;

  do
    got = pread (fd, buffer, size, 0);
  while (got < 0 && errno == EINTR);
  return got == (ssize_t)size;
}

/* Verifies a message, and keeps its bytes if they are to be pushed. The kernel goes by the size
 * that it was told. */
static void
read_message (Ahead *self, Batch *batch, StoreMailbox *mailbox, const StoreMessage *message)
{
  fuse_ino_t ino = message_inode (batch, message->uid);
  uint8_t *buffer = batch->buffer + batch->used;
  size_t size;
  auto_fd fd = store_message_open (mailbox, message->uid, NULL);

  batch->bytes += message->size;
  if (fd < 0 || !file_verify (self->mount, mailbox, ino, fd, buffer, PUSH_MAX, &size, NULL) ||
      message->size == 0 || message->size > PUSH_MAX)
    return;
  if (size == 0 && read_bytes (fd, buffer, message->size))
    size = message->size;
  if (size != message->size)
    return;
  batch->messages[batch->count].uid = message->uid;
  batch->messages[batch->count].start = batch->used;
  batch->messages[batch->count].size = size;
  batch->count++;
  batch->used += size;
}

static unsigned
fill_batch (Ahead *self, Batch *batch)
{
  StoreMessage page[BATCH_MAX];
  size_t count;
  unsigned looked_at = 0;

  g_autoptr (View) view = view_take (self->mount, batch->begin.mailbox, NULL);
  g_autoptr (StoreMailbox) mailbox =
      view == NULL ? NULL
                   : store_mailbox_open (view->store, inode_number (batch->begin.mailbox), NULL);
  batch->end = mailbox == NULL ||
               !store_mailbox_page (mailbox, batch->done, page, MIN (BATCH_MAX, batch->begin.left),
                                    &count, NULL) ||
               count == 0;
  if (batch->end)
    return 0;
  while (looked_at < count && batch->used + PUSH_MAX <= BATCH_BYTES) {
    const StoreMessage *message = &page[looked_at];
    fuse_ino_t ino = message_inode (batch, message->uid);
    /* The kernel does not take what it has not been told of. */
    if (!marks_has (self->mount->marks, ino, MARK_TOLD)) {
      batch->end = true;
      break;
    }
    if ((message->damage & STORE_DAMAGE_GRAVE) == 0 && is_ahead (self, batch, message->uid))
      read_message (self, batch, mailbox, message);
    batch->done = message->uid;
    looked_at++;
  }
  store_messages_clear (page, count);
  return looked_at;
}

static void
push_batch (Ahead *self, Batch *batch)
{
  while (batch->count > 0 && is_ahead (self, batch, batch->messages[batch->count - 1].uid)) {
    batch->count--;
    fuse_ino_t ino = message_inode (batch, batch->messages[batch->count].uid);
    struct fuse_bufvec bytes = FUSE_BUFVEC_INIT (batch->messages[batch->count].size);
    bytes.buf[0].mem = batch->buffer + batch->messages[batch->count].start;
    /* It fails when the kernel has forgotten the inode, of which libfuse complains where it
     * splices. */
    if (fuse_lowlevel_notify_store (self->mount->session, ino, 0, &bytes, FUSE_BUF_NO_SPLICE) ==
        0) {
      metrics_add (self->mount->metrics, COUNTER_PUSHED, 1);
      metrics_add (self->mount->metrics, COUNTER_PUSHED_BYTES, bytes.buf[0].size);
    }
  }
}

static gpointer
run (gpointer data)
{
  Ahead *self = data;

  while (begin_batch (self, &self->batch)) {
    unsigned looked_at = fill_batch (self, &self->batch);
    push_batch (self, &self->batch);
    end_batch (self, &self->batch, looked_at);
  }
  return NULL;
}

/* ---- beginning and end -------------------------------------------------------------------- */

Ahead *
ahead_start (Mount *mount)
{
  Ahead *self = g_new0 (Ahead, 1);
  self->mount = mount;
  loop_init (&self->loop);
  loop_start (&self->loop, "ahead", run, self);
  return self;
}

void
ahead_stop (Ahead *self)
{
  if (self != NULL)
    loop_stop (&self->loop);
}

void
ahead_free (Ahead *self)
{
  if (self == NULL)
    return;
  loop_clear (&self->loop);
  g_free (self);
}
