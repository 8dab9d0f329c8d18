/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts on what was copied out of a mount and put into mail/ again: a mount shows them as extended
 * attributes of its own, one each (mailfs.ctl(5)), and rsync -X, tar and others keep those. They
 * stand in for the store's own line where that is missing, and whoever writes the line removes
 * them.
 *
 *   message      user.mailfs.flags
 *   directory    user.mailfs.number; of a mailbox also uidvalidity, uidnext, subscribed,
 *                special_use and, where the directory's name is cut, name
 *
 * Whoever can write to the copy can write anything there. So each value must be one that a mount
 * could have shown, else it counts as absent; and none may use up what a store has only so much of.
 */
#include "store/internal.h"

#include <linux/limits.h>
#include <string.h>
#include <sys/xattr.h>

#define PREFIX "user.mailfs."

static const char message_attribute[] = PREFIX "flags";
static const char *const node_attributes[] = {PREFIX "number",      PREFIX "uidvalidity",
                                              PREFIX "uidnext",     PREFIX "subscribed",
                                              PREFIX "special_use", PREFIX "name"};
enum { NUMBER, UIDVALIDITY, UIDNEXT, SUBSCRIBED, SPECIAL_USE, NAME };

/* NULL: it is not set, or no text. */
static char *
read_value (int fd, const char *attribute)
{
  g_autofree char *value = g_malloc (XATTR_SIZE_MAX);
  ssize_t size = fgetxattr (fd, attribute, value, XATTR_SIZE_MAX);
  return size > 0 && g_utf8_validate (value, size, NULL) ? g_strndup (value, (gsize)size) : NULL;
}

/* 0: it is not set, or makes no sense. */
static uint32_t
read_number (int fd, const char *attribute, uint32_t max)
{
  g_autofree char *value = read_value (fd, attribute);
  guint64 number;
  bool good = value != NULL && g_ascii_string_to_unsigned (value, 10, 1, max, &number, NULL);
  return good ? (uint32_t)number : 0;
}

bool
copied_message_read (int fd, MessageState *out)
{
  g_autofree char *value = read_value (fd, message_attribute);
  MessageState state = {.copied = true};
  if (value == NULL || !store_flags_parse (value, &state.flags, &state.keywords, NULL))
    return false;
  *out = state;
  return true;
}

void
copied_message_forget (int fd)
{
  fremovexattr (fd, message_attribute);
}

void
copied_message_keep (int fd, const MessageState *state)
{
  g_autofree char *flags = store_flags_to_string (state->flags, state->keywords);
  fsetxattr (fd, message_attribute, flags, strlen (flags), 0);
}

/* What modseq the mailbox had nobody told. Counting up from the time when the copy was made, in
 * seconds, none is given out twice. */
static uint64_t
guess_modseq (int fd)
{
  struct stat st;
  return fstat (fd, &st) == 0 ? (uint64_t)MAX (st.st_ctim.tv_sec, 1) : 1;
}

static void
read_mailbox (int fd, NodeState *out)
{
  g_autofree char *subscribed = read_value (fd, node_attributes[SUBSCRIBED]);
  g_autofree char *special_use = read_value (fd, node_attributes[SPECIAL_USE]);
  g_autofree char *name = read_value (fd, node_attributes[NAME]);
  g_autofree char *cut = NULL;
  bool is_cut = false;
  out->uidvalidity = read_number (fd, node_attributes[UIDVALIDITY], UINT32_MAX);
  out->uidnext = MAX (read_number (fd, node_attributes[UIDNEXT], UID_BELIEVED_MAX), 1);
  out->modseq = guess_modseq (fd);
  out->subscribed = g_strcmp0 (subscribed, "1") == 0;
  out->special_use = special_use != NULL ? g_strdup (store_special_use (special_use, NULL)) : NULL;
  if (name != NULL)
    cut = store_name_escape (name, &is_cut);
  out->full_name = is_cut ? g_steal_pointer (&name) : NULL;
}

bool
copied_node_read (int fd, StoreNodeKind kind, NodeState *out)
{
  NodeState state = {.copied = true,
                     .number = read_number (fd, node_attributes[NUMBER], NUMBER_BELIEVED_MAX)};
  if (kind == STORE_NODE_MAILBOX)
    read_mailbox (fd, &state);
  if (state.number == 0 && state.uidvalidity == 0) {
    node_state_clear (&state);
    return false;
  }
  *out = state;
  return true;
}

void
copied_node_forget (int fd)
{
  for (size_t i = 0; i < G_N_ELEMENTS (node_attributes); i++)
    fremovexattr (fd, node_attributes[i]);
}

void
copied_number_keep (int fd, uint32_t number)
{
  g_autofree char *text = g_strdup_printf ("%u", number);
  fsetxattr (fd, node_attributes[NUMBER], text, strlen (text), 0);
}
