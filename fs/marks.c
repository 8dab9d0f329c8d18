/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks.c - what this mount knows of each inode, in a bit each.
 *
 * UIDs lie close together, so the bits are kept in chunks of CHUNK_SIZE neighbouring inode numbers:
 * half a byte a message in a mailbox of any size, and a hundred bytes for a mailbox of one.
 */
#include "fs/inode.h"
#include "fs/notify.h"

#define CHUNK_SIZE 256u
#define WORD_BITS  64u
#define MARKS      (MARK_MOVED + 1)

typedef struct {
  uint64_t key; /* inode number / CHUNK_SIZE */
  uint64_t bits[MARKS][CHUNK_SIZE / WORD_BITS];
} Chunk;

struct Marks {
  GMutex mutex;
  GCond verified;        /* a verification ended */
  GHashTable *chunks;    /* set of Chunk by key; with all below protected by mutex */
  GHashTable *verifying; /* set of inode numbers, as pointers */
  unsigned waiting;      /* for one of these */
  uint64_t counts[MARKS];
};

G_STATIC_ASSERT (sizeof (gpointer) == sizeof (fuse_ino_t));

Marks *
marks_new (void)
{
  Marks *self = g_new0 (Marks, 1);

  g_mutex_init (&self->mutex);
  g_cond_init (&self->verified);
  self->chunks = g_hash_table_new_full (g_int64_hash, g_int64_equal, NULL, g_free);
  self->verifying = g_hash_table_new (NULL, NULL);
  return self;
}

void
marks_free (Marks *self)
{
  if (self == NULL)
    return;
  g_hash_table_unref (self->verifying);
  g_hash_table_unref (self->chunks);
  g_cond_clear (&self->verified);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

static Chunk *
find_chunk (Marks *self, fuse_ino_t ino)
{
  uint64_t key = ino / CHUNK_SIZE;

  return g_hash_table_lookup (self->chunks, &key);
}

static uint32_t
view_of (const Chunk *chunk)
{
  return inode_view (chunk->key * CHUNK_SIZE);
}

static Chunk *
make_chunk (Marks *self, fuse_ino_t ino)
{
  Chunk *chunk = g_new0 (Chunk, 1);

  chunk->key = ino / CHUNK_SIZE;
  g_hash_table_add (self->chunks, chunk);
  return chunk;
}

static uint64_t *
find_word (Chunk *chunk, fuse_ino_t ino, Mark mark)
{
  return &chunk->bits[mark][ino % CHUNK_SIZE / WORD_BITS];
}

static uint64_t
bit_of (fuse_ino_t ino)
{
  return UINT64_C (1) << ino % WORD_BITS;
}

static bool
has_mark (Marks *self, fuse_ino_t ino, Mark mark)
{
  Chunk *chunk = find_chunk (self, ino);

  return chunk != NULL && (*find_word (chunk, ino, mark) & bit_of (ino)) != 0;
}

static void
clear_mark (Marks *self, fuse_ino_t ino, Mark mark)
{
  if (!has_mark (self, ino, mark))
    return;
  *find_word (find_chunk (self, ino), ino, mark) &= ~bit_of (ino);
  self->counts[mark]--;
}

void
marks_set (Marks *self, fuse_ino_t ino, Mark mark)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Chunk *chunk = find_chunk (self, ino);

  if (chunk == NULL)
    chunk = make_chunk (self, ino);
  uint64_t *word = find_word (chunk, ino, mark);
  if ((*word & bit_of (ino)) == 0)
    self->counts[mark]++;
  *word |= bit_of (ino);
  if (mark == MARK_VERIFIED)
    clear_mark (self, ino, MARK_DAMAGED);
}

bool
marks_has (Marks *self, fuse_ino_t ino, Mark mark)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  return has_mark (self, ino, mark);
}

bool
marks_take (Marks *self, fuse_ino_t ino, Mark mark)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  bool had = has_mark (self, ino, mark);

  clear_mark (self, ino, mark);
  return had;
}

uint64_t
marks_count (Marks *self, Mark mark)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  return self->counts[mark];
}

GArray *
marks_list (Marks *self, Mark mark, uint32_t view)
{
  GArray *inodes = g_array_new (FALSE, FALSE, sizeof (fuse_ino_t));
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  GHashTableIter iter;
  Chunk *chunk;

  g_hash_table_iter_init (&iter, self->chunks);
  while (g_hash_table_iter_next (&iter, (gpointer *)&chunk, NULL))
    for (fuse_ino_t i = 0; i < CHUNK_SIZE && view_of (chunk) == view; i++) {
      fuse_ino_t ino = chunk->key * CHUNK_SIZE + i;
      if ((*find_word (chunk, ino, mark) & bit_of (ino)) != 0)
        g_array_append_val (inodes, ino);
    }
  return inodes;
}

void
marks_forget_view (Marks *self, uint32_t view)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  GHashTableIter iter;
  Chunk *chunk;

  g_hash_table_iter_init (&iter, self->chunks);
  while (g_hash_table_iter_next (&iter, (gpointer *)&chunk, NULL)) {
    if (view_of (chunk) != view)
      continue;
    for (unsigned mark = 0; mark < MARKS; mark++)
      for (unsigned i = 0; i < CHUNK_SIZE / WORD_BITS; i++)
        self->counts[mark] -= (unsigned)__builtin_popcountll (chunk->bits[mark][i]);
    g_hash_table_iter_remove (&iter);
  }
}

void
marks_forget_bytes (Marks *self, fuse_ino_t ino)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  if (ino != 0) {
    clear_mark (self, ino, MARK_VERIFIED);
    clear_mark (self, ino, MARK_DAMAGED);
    return;
  }
  GHashTableIter iter;
  Chunk *chunk;
  g_hash_table_iter_init (&iter, self->chunks);
  while (g_hash_table_iter_next (&iter, (gpointer *)&chunk, NULL)) {
    memset (chunk->bits[MARK_VERIFIED], 0, sizeof chunk->bits[MARK_VERIFIED]);
    memset (chunk->bits[MARK_DAMAGED], 0, sizeof chunk->bits[MARK_DAMAGED]);
  }
  self->counts[MARK_VERIFIED] = 0;
  self->counts[MARK_DAMAGED] = 0;
}

bool
marks_verify_begin (Marks *self, fuse_ino_t ino)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  while (!has_mark (self, ino, MARK_VERIFIED)) {
    if (g_hash_table_add (self->verifying, (gpointer)ino))
      return true;
    self->waiting++;
    g_cond_wait (&self->verified, &self->mutex);
    self->waiting--;
  }
  return false;
}

void
marks_verify_end (Marks *self, fuse_ino_t ino)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  g_hash_table_remove (self->verifying, (gpointer)ino);
  if (self->waiting > 0)
    g_cond_broadcast (&self->verified);
}
