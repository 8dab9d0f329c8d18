/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parts.c - the directory parts/: what is inside messages.
 *
 *     .ctl/parts/example.com/user/joe/INBOX/0000000042/header.txt
 *
 * It has the directories of the mount, and in a mailbox a directory for each message. That is
 * called by the UID, with or without the zeros in front or ".eml" behind it, as long as no mailbox
 * there has that name. Nothing of it is made before somebody looks: a listing of a mailbox reads no
 * message, that of a message reads it twice, to find the parts and how large they are decoded.
 *
 * What was found in the last messages is kept, and the last large parts that were read, decoded,
 * for the kernel asks for them piece by piece. Both are known by what the message's file is, so
 * that one that was restored is looked into afresh.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/node.h"
#include "fs/transient.h"
#include "store/rescue.h"

#include <string.h>

#define MESSAGES_MAX 16u
#define PAGE_SIZE    64u

/* Parts up to this size come in one piece, mostly: they are decoded each time. Of the others, the
 * last ones are kept, at most so many bytes of them, or a single one. */
#define SMALL_MAX    (64u << 10)
#define CONTENTS_MAX (128u << 20)

/* Cookies: the number of a directory, MESSAGE with a UID, or above 0 the place of a part. */
#define COOKIE_MESSAGE (G_GINT64_CONSTANT (1) << 32)

/* What a node of the tree is; the root has none, and is the directory STORE_ROOT. */
typedef struct {
  uint32_t number;
  uint32_t uid;  /* 0: a directory of the store */
  uint32_t part; /* STORE_PARTS_TOP: the message itself */
} Place;

/* A message that was looked into. */
typedef struct {
  uint32_t number, uid;
  struct stat st;
  StoreParts *parts;
} Message;

/* A part that was decoded. */
typedef struct {
  Place place;
  struct stat st; /* the message's */
  int fd;
  uint64_t size;
} Content;

struct Parts {
  GMutex decoding; /* one is decoded at a time; whoever wants it, too, waits. Before `mutex` */
  GMutex mutex;    /* for what follows */
  GQueue messages; /* of Message; the one that was looked into last comes first */
  GQueue contents; /* of Content, likewise */
  uint64_t bytes;  /* of those */
};

/* ---- what is kept ------------------------------------------------------------------------- */

static void
message_free (Message *message)
{
  store_parts_unref (message->parts);
  g_free (message);
}

static void
content_free (Content *content)
{
  store_close_fd (&content->fd);
  g_free (content);
}

Parts *
parts_new (void)
{
  Parts *self = g_new0 (Parts, 1);

  g_mutex_init (&self->decoding);
  g_mutex_init (&self->mutex);
  return self;
}

void
parts_free (Parts *self)
{
  if (self == NULL)
    return;
  g_queue_clear_full (&self->messages, (GDestroyNotify)message_free);
  g_queue_clear_full (&self->contents, (GDestroyNotify)content_free);
  g_mutex_clear (&self->mutex);
  g_mutex_clear (&self->decoding);
  g_free (self);
}

/* Whether it is the same file, with the same bytes as far as that can be seen. */
static bool
is_same (const struct stat *a, const struct stat *b)
{
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
         a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static StoreParts *
find_parts (Parts *self, const Place *place, const struct stat *st)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (GList *link = self->messages.head; link != NULL; link = link->next) {
    const Message *message = link->data;
    if (message->number != place->number || message->uid != place->uid ||
        !is_same (&message->st, st))
      continue;
    g_queue_unlink (&self->messages, link);
    g_queue_push_head_link (&self->messages, link);
    return store_parts_ref (message->parts);
  }
  return NULL;
}

static void
keep_parts (Parts *self, const Place *place, const struct stat *st, StoreParts *parts)
{
  Message *message = g_new (Message, 1);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  *message = (Message){place->number, place->uid, *st, store_parts_ref (parts)};
  g_queue_push_head (&self->messages, message);
  if (self->messages.length > MESSAGES_MAX)
    message_free (g_queue_pop_tail (&self->messages));
}

/* A descriptor of its own, or -1. */
static int
find_content (Parts *self, const Place *place, const struct stat *st)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (GList *link = self->contents.head; link != NULL; link = link->next) {
    const Content *content = link->data;
    if (memcmp (&content->place, place, sizeof *place) != 0 || !is_same (&content->st, st))
      continue;
    g_queue_unlink (&self->contents, link);
    g_queue_push_head_link (&self->contents, link);
    return fcntl (content->fd, F_DUPFD_CLOEXEC, 0);
  }
  return -1;
}

static void
keep_content (Parts *self, const Place *place, const struct stat *st, int fd, uint64_t size)
{
  int own = fcntl (fd, F_DUPFD_CLOEXEC, 0);

  if (own < 0)
    return;
  Content *content = g_new (Content, 1);
  *content = (Content){*place, *st, own, size};
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  g_queue_push_head (&self->contents, content);
  self->bytes += size;
  while (self->bytes > CONTENTS_MAX && self->contents.length > 1) {
    content = g_queue_pop_tail (&self->contents);
    self->bytes -= content->size;
    content_free (content);
  }
}

/* ---- messages ----------------------------------------------------------------------------- */

static const Place *
place_of (const TransientNode *node)
{
  static const Place root = {.part = STORE_PARTS_TOP};

  return node->entry.data != NULL ? node->entry.data : &root;
}

static void
set_place (TransientEntry *entry, const Place *place)
{
  entry->data = g_memdup2 (place, sizeof *place);
  entry->free = g_free;
}

static int
open_message (Mount *mount, const Place *place, struct stat *out, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (mount->top, place->number, error);
  auto_fd fd = mailbox != NULL ? store_message_open (mailbox, place->uid, error) : -1;

  if (fd >= 0 && fstat (fd, out) < 0) {
    fail_errno (error, "message %u", place->uid);
    return -1;
  }
  return g_steal_fd (&fd);
}

/* What is inside the message; `*out_st` is its file's. */
static StoreParts *
look_into (Mount *mount, const Place *place, struct stat *out_st, GError **error)
{
  auto_fd fd = open_message (mount, place, out_st, error);
  if (fd < 0)
    return NULL;
  g_autoptr (StoreParts) parts = find_parts (mount->parts, place, out_st);
  if (parts != NULL)
    return g_steal_pointer (&parts);
  parts = store_parts_new (fd, error);
  if (parts != NULL)
    keep_parts (mount->parts, place, out_st, parts);
  return g_steal_pointer (&parts);
}

/* A UID as people write it; 0: it is none. */
static uint32_t
read_uid (const char *name)
{
  size_t size = strlen (name);

  if (size == 0 || size > 10 || strspn (name, "0123456789") != size)
    return store_message_uid (name);
  guint64 uid = g_ascii_strtoull (name, NULL, 10);
  return uid <= STORE_UID_MAX ? (uint32_t)uid : 0;
}

/* ---- finding ------------------------------------------------------------------------------ */

static bool
find_message (Mount *mount, uint32_t number, const char *name, TransientEntry *out, GError **error)
{
  g_auto (StoreMessage) message = {0};
  Place place = {number, read_uid (name), STORE_PARTS_TOP};
  bool found;

  if (place.uid == 0)
    return true;
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (mount->top, number, error);
  if (mailbox == NULL || !store_message_find (mailbox, place.uid, &message, &found, error))
    return false;
  if (!found)
    return true;
  out->type = S_IFDIR;
  out->ctime_ns = message.changed_ns;
  set_place (out, &place);
  return true;
}

static bool
find_in_directory (Mount *mount, uint32_t number, const char *name, TransientEntry *out,
                   GError **error)
{
  g_auto (StoreNode) node = {0};
  bool found;

  if (!store_node_find (mount->top, number, name, &node, &found, error))
    return false;
  if (!found)
    return find_message (mount, number, name, out, error);
  Place place = {.number = node.number, .part = STORE_PARTS_TOP};
  out->type = S_IFDIR;
  set_place (out, &place);
  return true;
}

/* Of a file that may say any year: beyond those that fit, the last one that does. */
static int64_t
ns_of (const struct timespec *time)
{
  const int64_t most = INT64_MAX / 1000000000 - 1;

  return CLAMP ((int64_t)time->tv_sec, -most, most) * 1000000000 + time->tv_nsec;
}

static bool
find_part (Mount *mount, const Place *directory, const char *name, TransientEntry *out,
           GError **error)
{
  struct stat st;
  Place place = *directory;
  g_autoptr (StoreParts) parts = look_into (mount, directory, &st, error);

  if (parts == NULL)
    return false;
  place.part = store_parts_find (parts, directory->part, name);
  if (place.part == STORE_PARTS_TOP)
    return true;
  const StorePart *part = store_parts_get (parts, place.part);
  out->type = part->kind == STORE_PART_MESSAGE ? S_IFDIR : S_IFREG;
  out->size = part->size;
  out->mtime_ns = out->type == S_IFREG ? ns_of (&st.st_mtim) : 0;
  out->ctime_ns = ns_of (&st.st_ctim);
  set_place (out, &place);
  return true;
}

static bool
parts_find (Mount *mount, const TransientNode *directory, const char *name,
            const TransientEntry *known, TransientEntry *out, GError **error)
{
  const Place *place = place_of (directory);

  return place->uid == 0 ? find_in_directory (mount, place->number, name, out, error)
                         : find_part (mount, place, name, out, error);
}

/* ---- listing ------------------------------------------------------------------------------ */

/* A listing of directories, which goes on as long as there is room. */
typedef struct {
  ControlAddFunc add;
  void *data;
  bool full;
} Children;

static bool
add_child (const StoreNode *child, void *data, GError **error)
{
  Children *self = data;

  self->full = !self->add (child->name, 0, S_IFDIR, child->number, self->data);
  return !self->full;
}

static bool
list_children (Mount *mount, uint32_t number, off_t cookie, Children *children, GError **error)
{
  g_autofree char *after = dir_resume_name (mount->top, number, (uint32_t)cookie);

  return store_node_each_child (mount->top, number, after, add_child, children, error) ||
         children->full;
}

static bool
list_messages (Mount *mount, uint32_t number, uint32_t after, ControlAddFunc add, void *data,
               GError **error)
{
  StoreMessage page[PAGE_SIZE];
  size_t count;
  bool room = true;

  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (mount->top, number, error);
  if (mailbox == NULL)
    return false;
  do {
    if (!store_mailbox_page (mailbox, after, page, PAGE_SIZE, &count, error))
      return false;
    for (size_t i = 0; i < count && room; i++) {
      char name[STORE_NAME_SIZE];
      g_snprintf (name, sizeof name, "%010u", page[i].uid);
      after = page[i].uid;
      room = add (name, 0, S_IFDIR, COOKIE_MESSAGE | after, data);
    }
    store_messages_clear (page, count);
  } while (count == PAGE_SIZE && room);
  return true;
}

static bool
list_parts (Mount *mount, const Place *place, off_t after, ControlAddFunc add, void *data,
            GError **error)
{
  struct stat st;
  g_autoptr (StoreParts) parts = look_into (mount, place, &st, error);

  if (parts == NULL)
    return false;
  for (uint32_t i = (uint32_t)after; i < store_parts_count (parts); i++) {
    const StorePart *part = store_parts_get (parts, i);
    mode_t type = part->kind == STORE_PART_MESSAGE ? S_IFDIR : S_IFREG;
    if (part->parent == place->part && !add (part->name, 0, type, i + 1, data))
      break;
  }
  return true;
}

static bool
parts_list (Mount *mount, const TransientNode *directory, off_t after, ControlAddFunc add,
            void *data, GError **error)
{
  const Place *place = place_of (directory);
  Children children = {add, data, false};

  if (place->uid != 0)
    return list_parts (mount, place, after, add, data, error);
  if (after < COOKIE_MESSAGE && !list_children (mount, place->number, after, &children, error))
    return false;
  return children.full || place->number == STORE_ROOT ||
         list_messages (mount, place->number, after < COOKIE_MESSAGE ? 0 : (uint32_t)after, add,
                        data, error);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* The part of a message whose bytes are those that were delivered: damage shows here, too. */
static int
decode (Mount *mount, const Place *place, int fd, const StoreParts *parts, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (mount->top, place->number, error);
  size_t whole;

  if (mailbox == NULL)
    return -1;
  if (mount->options->damaged != DAMAGED_RAW &&
      !file_verify (mount, mailbox, inode_message (VIEW_TOP, place->number, place->uid), fd, NULL,
                    0, &whole, error))
    return -1;
  return store_part_open (parts, place->part, fd, error);
}

static int
parts_open (Mount *mount, const TransientNode *file, GError **error)
{
  Parts *self = mount->parts;
  const Place *place = place_of (file);
  struct stat st;
  auto_fd fd = open_message (mount, place, &st, error);
  if (fd < 0)
    return -1;
  g_autoptr (StoreParts) parts = look_into (mount, place, &st, error);
  if (parts == NULL)
    return -1;
  if (place->part >= store_parts_count (parts)) {
    fail (error, ESTALE, "the message is another one");
    return -1;
  }
  uint64_t size = store_parts_get (parts, place->part)->size;
  if (size <= SMALL_MAX)
    return decode (mount, place, fd, parts, error);
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->decoding);
  auto_fd content = find_content (self, place, &st);
  if (content < 0 && (content = decode (mount, place, fd, parts, error)) >= 0)
    keep_content (self, place, &st, content, size);
  return g_steal_fd (&content);
}

const TransientTree parts_tree = {
    .find = parts_find,
    .list = parts_list,
    .open = parts_open,
};
