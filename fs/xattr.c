/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xattr.c - the requests for extended attributes.
 *
 * Programs ask for attributes of others all the time: ls(1) for ACLs and SELinux labels, the kernel
 * for security.capability before each write. These are answered from the name alone, and for whole
 * namespaces with EOPNOTSUPP, after which ls(1) asks no more. With -o xattrs=none each request is
 * answered with ENOSYS once: the kernel answers all that follow by itself, with EOPNOTSUPP.
 *
 * No failure here is EIO: rdiff-backup would drop the file. An attribute that cannot be found out
 * is unset.
 *
 * Who may set one the kernel has decided (default_permissions): whoever may write to the file or
 * directory.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/log.h"
#include "fs/node.h"
#include "fs/operation.h"
#include "fs/order.h"
#include "fs/reply.h"
#include "store/commands.h"
#include "store/text.h"

#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <syslog.h>

#define COMMAND_PREFIX "cmd."

/* Points at what comes after "user.mailfs."; else answers the request itself and returns NULL. */
static const char *
strip_prefix (fuse_req_t req, const char *name, int foreign_user_code)
{
  if (g_str_has_prefix (name, ATTRIBUTE_PREFIX))
    return name + strlen (ATTRIBUTE_PREFIX);
  reply_errno (req, g_str_has_prefix (name, "user.") ? foreign_user_code : EOPNOTSUPP);
  return NULL;
}

/* An object that is gone is told as such, and so is a value that is not known yet; everything else
 * means that there is none. */
static void
reply_failure (fuse_req_t req, fuse_ino_t ino, const GError *error)
{
  int code = error != NULL ? error_code (error) : 0;

  if (code == ENOENT || code == ESTALE || code == EAGAIN)
    return reply_error (req, ino, error);
  if (error != NULL) {
    g_autofree char *path = inode_path (fuse_req_userdata (req), ino);
    log_message (LOG_WARNING, "%s: attributes: %s", path, error->message);
  }
  reply_errno (req, ENODATA);
}

void
handle_getxattr (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;

  if (mount->options->xattrs == XATTRS_NONE)
    return reply_errno (req, ENOSYS);
  const char *key = strip_prefix (req, name, ENODATA);
  if (key == NULL)
    return;
  g_autofree char *value = attribute_value (mount, ino, key, &error);
  if (value == NULL)
    return reply_failure (req, ino, error);
  reply_xattr (req, value, MIN (strlen (value), XATTR_SIZE_MAX), size);
}

void
handle_listxattr (fuse_req_t req, fuse_ino_t ino, size_t size)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;

  if (mount->options->xattrs == XATTRS_NONE)
    return reply_errno (req, ENOSYS);
  GString *text = g_string_new (NULL);
  bool listed = attribute_list (mount, ino, text, &error);
  g_autoptr (GBytes) names = g_string_free_to_bytes (text);
  if (!listed && error_code (error) == ESTALE)
    return reply_error (req, ino, error);
  reply_xattr (req, g_bytes_get_data (names, NULL), g_bytes_get_size (names), size);
}

/* ---- changing ----------------------------------------------------------------------------- */

/* One setxattr(2) or removexattr(2). */
typedef struct {
  fuse_ino_t ino;
  const char *key;   /* without "user.mailfs." */
  const char *value; /* NULL: it is to be removed */
  int mode;          /* XATTR_CREATE, XATTR_REPLACE or 0 */
  bool changed;      /* whether anything is different now */
} Change;

/* Values are text. Some programs end it with a newline, which is none of it. */
static char *
take_value (const char *bytes, size_t size, GError **error)
{
  if (memchr (bytes, '\0', size) != NULL)
    fail (error, EINVAL, "the value has a NUL byte");
  else if (!g_utf8_validate (bytes, (gssize)size, NULL))
    fail (error, EINVAL, "the value is not UTF-8");
  else
    return g_strndup (bytes, size > 0 && bytes[size - 1] == '\n' ? size - 1 : size);
  return NULL;
}

/* What the modes of setxattr(2) demand of an attribute that is set, or is not. */
static bool
check_mode (const Change *change, bool is_set, GError **error)
{
  if (is_set && change->mode == XATTR_CREATE)
    return fail (error, EEXIST, "the attribute is set");
  if (!is_set && (change->mode == XATTR_REPLACE || change->value == NULL))
    return fail (error, ENODATA, "the attribute is not set");
  return true;
}

static bool
find_message (StoreMailbox *mailbox, uint32_t uid, StoreMessage *out, GError **error)
{
  bool found;

  return store_message_find (mailbox, uid, out, &found, error) &&
         (found || fail (error, ESTALE, "the message is gone"));
}

/* Whether the message has another state now is told by its modseq, which the store leaves alone
 * when the flags are what they are to be. */
static bool
change_flags (Order *order, Change *change, GError **error)
{
  uint32_t uid = inode_uid (change->ino), flags = 0;
  g_autofree char *keywords = NULL;
  g_auto (StoreMessage) before = {0}, after = {0};
  g_autoptr (StoreMailbox) mailbox =
      store_mailbox_open (order->mount->store, inode_number (change->ino), error);

  if (mailbox == NULL || !find_message (mailbox, uid, &before, error) ||
      !check_mode (change, before.flags != 0 || before.keywords != NULL, error) ||
      (change->value != NULL && !store_flags_parse (change->value, &flags, &keywords, error)) ||
      !store_message_flag (mailbox, &uid, 1, STORE_FLAGS_SET, flags, keywords, error))
    return false;
  change->changed = !find_message (mailbox, uid, &after, NULL) || after.modseq != before.modseq;
  return true;
}

/* The verb of a command that can be given to a directory; those that are done at once, or are about
 * a directory outside the store, are given by way of ctl. */
static const StoreCommand *
find_command (const Change *change, GError **error)
{
  const uint32_t others = STORE_COMMAND_DIRECTORY | STORE_COMMAND_IMMEDIATE;
  const char *verb = change->key + strlen (COMMAND_PREFIX);
  const StoreCommand *command = store_command_find (verb);
  g_autofree char *printable = store_text_printable (verb);

  if (inode_kind (change->ino) == INODE_DIRECTORY && command != NULL &&
      (command->traits & others) == 0)
    return command;
  fail (error, change->value != NULL ? EINVAL : ENODATA, "there is no command '%s' %s", printable,
        inode_kind (change->ino) == INODE_DIRECTORY ? "for a directory" : "for a message");
  return NULL;
}

/* The attribute is never set: to set it gives the command, to remove it takes the command back as
 * long as it waits. */
static bool
change_command (Order *order, Change *change, GError **error)
{
  const Options *options = order->mount->options;
  g_autoptr (GError) failure = NULL;

  change->changed = true;
  if (options->xattrs != XATTRS_ALL || options->ctl == CTL_OFF)
    return fail (error, EOPNOTSUPP, "this mount takes no commands by attributes");
  const StoreCommand *command = find_command (change, error);
  if (command == NULL || (change->mode == XATTR_REPLACE && !check_mode (change, false, error)))
    return false;
  const char *words = change->value == NULL    ? "cancel"
                      : *change->value == '\0' ? "1"
                                               : change->value;
  if (order_verb (order, command, inode_number (change->ino), words, &failure))
    return true;
  if (change->value == NULL && error_code (failure) == ENOENT)
    failure->code = ENODATA;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* Nothing else can be changed. To set what is so already succeeds, so that copies can be copied
 * back. */
static bool
change_nothing (Order *order, Change *change, int code, const char *reason, GError **error)
{
  g_autofree char *value = NULL;

  if (change->value != NULL)
    value = attribute_value (order->mount, change->ino, change->key, NULL);
  return value != NULL && g_str_equal (value, change->value) ? check_mode (change, true, error)
                                                             : fail (error, code, "%s", reason);
}

static bool
change_other (Order *order, Change *change, GError **error)
{
  if (inode_kind (change->ino) == INODE_CONTROL)
    return fail (error, EPERM, "control files have no attributes");
  if (!attribute_is_known (change->ino, change->key))
    return fail (error, change->value != NULL ? EINVAL : ENODATA, "there is no such attribute");
  return change_nothing (order, change, EPERM, "the attribute cannot be changed", error);
}

static bool
change_attribute (Order *order, Change *change, GError **error)
{
  InodeKind kind = inode_kind (change->ino);

  if (inode_view (change->ino) != VIEW_TOP)
    return change_nothing (order, change, EROFS, "nothing in a snapshot can be changed", error);
  if (kind != INODE_CONTROL && g_str_has_prefix (change->key, COMMAND_PREFIX))
    return change_command (order, change, error);
  if (kind == INODE_MESSAGE && g_str_equal (change->key, "flags"))
    return change_flags (order, change, error);
  return change_other (order, change, error);
}

/* Here, too, no failure is EIO. A state that cannot be read (EBADMSG) is for repair, too. */
static void
soften (GError *failure)
{
  if (failure != NULL && (failure->code == EIO || failure->code == EBADMSG))
    failure->code = EUCLEAN;
}

/* What changes something and what is refused is told in the audit. */
static void
handle_change (fuse_req_t req, fuse_ino_t ino, const char *name, const char *bytes, size_t size,
               int mode)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;
  g_autofree char *value = NULL;

  if (mount->options->xattrs == XATTRS_NONE)
    return reply_errno (req, ENOSYS);
  Change change = {ino, strip_prefix (req, name, bytes != NULL ? EROFS : ENODATA), NULL, mode,
                   false};
  if (change.key == NULL)
    return;
  ControlNode node = {.ino = ino, .number = inode_number (ino)};
  g_auto (Order) order = order_begin (req, &node, name);
  if (bytes != NULL)
    change.value = value = take_value (bytes, size, &error);
  bool good = error == NULL && change_attribute (&order, &change, &error);
  if (good && !change.changed)
    return reply_errno (req, 0);
  if (order.text == NULL)
    order.text = store_text_printable (value != NULL ? value : "");
  soften (error);
  order_reply (req, &order, good, error, 0);
}

void
handle_setxattr (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
                 int flags)
{
  handle_change (req, ino, name, value, size, flags);
}

void
handle_removexattr (fuse_req_t req, fuse_ino_t ino, const char *name)
{
  handle_change (req, ino, name, NULL, 0, 0);
}
