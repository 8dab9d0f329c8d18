/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir.c - finding names and listing directories.
 *
 * A directory lists ".", "..", then its subdirectories in byte order of their names, then its
 * messages by UID. The cookie of an entry, from which a listing may be resumed at any time by
 * anyone, is arithmetic on what never changes: the node's number or the message's UID. So
 * rewinding, seeking and deliveries or expunges in between neither skip nor double a name:
 *
 *     1, 2, 3          ".", "..", the control directory
 *     1 << 32 | number a subdirectory: on with the name above the one that node has now
 *     2 << 32 | UID    a message: on with the UID above
 *
 * If a subdirectory is gone by the time its cookie is used, the subdirectories start again: a
 * doubled name does less harm than a skipped one.
 *
 * Every listing is a READDIRPLUS and hands out full attributes, which the kernel keeps; walking a
 * mailbox is one query of the index for some hundred messages and nothing per message. The page
 * that a walk asks for next is made while the kernel takes in this one (page.c).
 */
#include "fs/cache.h"
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/metrics.h"
#include "fs/node.h"
#include "fs/notify.h"
#include "fs/operation.h"
#include "fs/reply.h"
#include "fs/snapshots.h"
#include "fs/transient.h"
#include "fs/view.h"

enum {
  COOKIE_DOT = 1,
  COOKIE_DOTDOT = 2,
  COOKIE_CONTROL = 3,
};
#define COOKIE_CHILD   (G_GINT64_CONSTANT (1) << 32)
#define COOKIE_MESSAGE (G_GINT64_CONSTANT (2) << 32)

/* A page that is being filled. */
typedef struct {
  Mount *mount;
  const View *view;
  uint32_t number; /* the directory's */
  Page *page;
  bool full; /* it has no room for the next entry */
} Listing;

/* False when there is no room left. */
static bool
add_entry (Listing *self, const char *name, const struct fuse_entry_param *entry, off_t cookie)
{
  Page *page = self->page;
  size_t room = page->size - page->used;
  size_t need = fuse_add_direntry_plus (NULL, page->bytes + page->used, room, name, entry, cookie);

  self->full = need > room;
  if (self->full)
    return false;
  page->used += need;
  page->end = cookie;
  page->nodes += entry->ino != 0;
  return true;
}

/* A name and its inode number only: the kernel asks for the attributes when somebody wants them. */
static bool
add_bare (Listing *self, const char *name, fuse_ino_t ino, mode_t mode, off_t cookie)
{
  struct fuse_entry_param entry = {.attr = {.st_ino = ino, .st_mode = mode}};

  return add_entry (self, name, &entry, cookie);
}

static bool
add_dots (Listing *self, off_t offset, GError **error)
{
  const Options *options = self->mount->options;
  const View *view = self->view;
  g_auto (StoreNode) node = {0};

  if (self->number != STORE_ROOT && !store_node_get (view->store, self->number, &node, error))
    return false;
  if ((offset >= COOKIE_DOT ||
       add_bare (self, ".", inode_directory (view->slot, self->number), S_IFDIR, COOKIE_DOT)) &&
      (offset >= COOKIE_DOTDOT ||
       add_bare (self, "..", inode_directory (view->slot, node.parent), S_IFDIR, COOKIE_DOTDOT)) &&
      options->ctl == CTL_VISIBLE && view->number == VIEW_TOP)
    add_bare (self, options->ctldir, inode_control (self->number, 0), S_IFDIR, COOKIE_CONTROL);
  return true;
}

static bool
add_child (const StoreNode *child, void *data, GError **error)
{
  Listing *self = data;
  struct stat attr;
  struct fuse_entry_param entry;
  off_t cookie = COOKIE_CHILD | child->number;

  if (!attr_directory (self->mount, self->view, child->number, &attr, NULL))
    return add_bare (self, child->name, inode_directory (self->view->slot, child->number), S_IFDIR,
                     cookie);
  attr_entry (self->mount, inode_directory (self->view->number, child->number), &attr, &entry);
  return add_entry (self, child->name, &entry, cookie);
}

char *
dir_resume_name (Store *store, uint32_t parent, uint32_t number)
{
  g_auto (StoreNode) node = {0};

  if (number == STORE_ROOT || !store_node_get (store, number, &node, NULL) || node.parent != parent)
    return NULL;
  return g_steal_pointer (&node.name);
}

static bool
add_children (Listing *self, off_t offset, GError **error)
{
  Store *store = self->view->store;
  uint32_t last = offset < COOKIE_CHILD ? STORE_ROOT : offset & STORE_NUMBER_MAX;
  g_autofree char *after = dir_resume_name (store, self->number, last);

  return store_node_each_child (store, self->number, after, add_child, self, error) || self->full;
}

static bool
add_messages (Listing *self, uint32_t after, GError **error)
{
  char name[STORE_NAME_SIZE];
  store_message_name (1, name);
  size_t entry_size = fuse_add_direntry_plus (NULL, NULL, 0, name, NULL, 0);
  size_t capacity = (self->page->size - self->page->used) / entry_size;
  g_autofree StoreMessage *page = g_new (StoreMessage, capacity);
  StoreStamp stamp = store_change_stamp (self->mount->store);
  size_t count = 0;

  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->view->store, self->number, error);
  if (mailbox == NULL ||
      (capacity > 0 && !store_mailbox_page (mailbox, after, page, capacity, &count, error)))
    return false;
  for (size_t i = 0; i < count; i++) {
    struct stat attr;
    struct fuse_entry_param entry;
    store_message_name (page[i].uid, name);
    attr_message (self->mount, self->view, mailbox, &page[i], &attr);
    attr_entry (self->mount, inode_message (self->view->number, self->number, page[i].uid), &attr,
                &entry);
    add_entry (self, name, &entry, COOKIE_MESSAGE | page[i].uid);
  }
  recent_keep (self->mount, self->view, self->number, after, stamp, g_steal_pointer (&page), count);
  return true;
}

static bool
fill_listing (Listing *self, off_t offset, GError **error)
{
  marks_set (self->mount->marks, self->page->ino, MARK_TOLD);
  if (inode_view (self->page->ino) == VIEW_TOP)
    foreign_follow (self->mount->foreign, inode_number (self->page->ino));
  if (offset < COOKIE_CONTROL && !add_dots (self, offset, error))
    return false;
  if (!self->full && offset < COOKIE_MESSAGE && !add_children (self, offset, error))
    return false;
  return self->full || add_messages (self, offset < COOKIE_MESSAGE ? 0 : (uint32_t)offset, error);
}

static bool
add_control (const char *name, fuse_ino_t ino, mode_t type, off_t cookie, void *data)
{
  return add_bare (data, name, ino, type, cookie);
}

static bool
make_page (Mount *mount, const View *view, Page *page, GError **error)
{
  Listing listing = {mount, view, inode_number (page->ino), page, false};

  page->bytes = g_malloc (page->size);
  if (inode_kind (page->ino) != INODE_CONTROL)
    return fill_listing (&listing, page->offset, error);
  return control_list (mount, page->ino, page->offset, add_control, &listing, error);
}

/* Makes the page that a walk asks for after this one. */
static void
prepare_next_page (Mount *mount, const View *view, const Page *page)
{
  g_auto (Page) next = {
      .ino = page->ino,
      .offset = page->end,
      .size = page->size,
      .told = page->told,
  };

  if (page->used > 0 && inode_kind (page->ino) != INODE_CONTROL &&
      make_page (mount, view, &next, NULL))
    pages_put (mount->pages, &next);
}

void
handle_readdirplus (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
  Mount *mount = fuse_req_userdata (req);
  g_auto (Telling) telling = notify_telling (mount);
  g_autoptr (GError) error = NULL;
  g_auto (Page) page = {.ino = ino, .offset = offset, .size = size, .told = telling.told};

  g_autoptr (View) view = view_take (mount, ino, &error);
  bool ready = view != NULL && pages_take (mount->pages, &page);
  if (!ready && (view == NULL || !make_page (mount, view, &page, &error)))
    return reply_error (req, ino, error);
  metrics_add (mount->metrics, ready ? COUNTER_PAGES_READY : COUNTER_PAGES_MADE, 1);
  reply_listing (req, &page);
  prepare_next_page (mount, view, &page);
}

void
found_clear (Found *found)
{
  view_unref (found->view);
}

static bool
find_message (Mount *mount, uint32_t number, uint32_t uid, Found *out, GError **error)
{
  const View *view = out->view;
  g_auto (StoreMessage) message = {0};
  struct stat attr;
  bool found;

  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (view->store, number, error);
  if (mailbox == NULL || !store_message_find (mailbox, uid, &message, &found, error))
    return false;
  if (!found)
    return true;
  attr_message (mount, view, mailbox, &message, &attr);
  attr_entry (mount, inode_message (view->number, number, uid), &attr, &out->entry);
  return true;
}

static bool
find_directory (Mount *mount, uint32_t parent, const char *name, Found *out, GError **error)
{
  const View *view = out->view;
  g_auto (StoreNode) node = {0};
  struct stat attr;
  bool found;

  if (!store_node_find (view->store, parent, name, &node, &found, error))
    return false;
  if (!found)
    return true;
  if (!attr_directory (mount, view, node.number, &attr, error))
    return false;
  attr_entry (mount, inode_directory (view->number, node.number), &attr, &out->entry);
  marks_take (mount->marks, out->entry.ino, MARK_MOVED); /* this is its name */
  return true;
}

/* What a tree in the control directory has of that name. */
static bool
find_transient (Mount *mount, fuse_ino_t parent, const char *name, Found *out, GError **error)
{
  g_auto (TransientEntry) entry = {0};

  if (!transient_find (mount, parent, name, &entry, &out->entry, error))
    return false;
  if (entry.uid == 0)
    return true;
  out->view = view_take (mount, FUSE_ROOT_ID, error);
  if (out->view == NULL || !find_message (mount, entry.number, entry.uid, out, error))
    return false;
  out->entry.entry_timeout = 0;
  return true;
}

/* A control directory, or what is in one. A job that is not there is a name that is not there. */
static bool
find_control (Mount *mount, fuse_ino_t parent, const char *name, Found *out, GError **error)
{
  g_autoptr (GError) failure = NULL;
  fuse_ino_t ino = inode_control (inode_number (parent), 0);
  struct stat attr;

  if (transient_has (mount, parent))
    return find_transient (mount, parent, name, out, error);
  if (inode_kind (parent) == INODE_CONTROL && !control_lookup (mount, parent, name, &ino))
    return !snapshots_is (mount, parent) || snapshots_find (mount, name, out, error);
  if (control_attr (mount, ino, &attr, &failure))
    attr_entry (mount, control_instance (mount, ino), &attr, &out->entry);
  else if (error_code (failure) != ENOENT) {
    g_propagate_error (error, g_steal_pointer (&failure));
    return false;
  }
  return true;
}

static bool
find_name (Mount *mount, fuse_ino_t parent, const char *name, Found *out, GError **error)
{
  uint32_t uid = store_message_uid (name);

  if (inode_kind (parent) == INODE_CONTROL || control_is_directory (mount, parent, name))
    return find_control (mount, parent, name, out, error);
  out->view = view_take (mount, parent, error);
  if (out->view == NULL)
    return false;
  if (uid > 0)
    return find_message (mount, inode_number (parent), uid, out, error);
  return find_directory (mount, inode_number (parent), name, out, error);
}

void
answer_lookup (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  Mount *mount = fuse_req_userdata (req);
  g_auto (Telling) telling G_GNUC_UNUSED = notify_telling (mount);
  g_autoptr (GError) error = NULL;
  g_auto (Found) found = {0};

  if (!find_name (mount, parent, name, &found, &error))
    return reply_error (req, parent, error);
  if (found.entry.ino == 0)
    return reply_errno (req, ENOENT);
  reply_entry (req, &found.entry);
}

void
handle_lookup (fuse_req_t req, fuse_ino_t parent, const char *name)
{
  fuse_ino_t ino;

  if (!control_lookup (fuse_req_userdata (req), parent, name, &ino) ||
      !control_put_off (req, ino, answer_lookup, parent, name))
    answer_lookup (req, parent, name);
}

/* The kernel takes ENOSYS as "no need to ask, ever": it opens directories by itself, keeps their
 * listings and never tells of a close. */
void
handle_opendir (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
  reply_errno (req, ENOSYS);
}
