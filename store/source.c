/* SPDX-License-Identifier: Apache-2.0 */
/* Where what is shown of a message is known from, while index and files do not agree. */
#include "store/evidence.h"

/* What the file itself has to say. */
typedef struct {
  const char *flags; /* where they would be from; NULL: it tells none */
  uint64_t modseq;
  bool digest;
} FileFacts;

static FileFacts
read_file (const StoreMailbox *mailbox, uint32_t uid)
{
  char name[STORE_NAME_SIZE];
  g_auto (MessageState) state = {0};
  bool found = false;
  store_message_name (uid, name);
  auto_fd fd = layout_open_message (mailbox->fd, name);
  if (fd < 0 || !message_state_read (mailbox->fd, fd, uid, &state, &found, NULL) || !found)
    return (FileFacts){0};
  return (FileFacts){.flags = state.copied ? "copied-attribute" : "file",
                     .modseq = state.modseq,
                     .digest = state.digest != 0};
}

/* As view_message() chooses. */
static char *
tell (const View *view, uint32_t uid, GError **error)
{
  g_auto (IndexMessage) row = {0};
  uint64_t size;
  uint8_t known[32];
  bool found = false, has_digest = false;
  Index *index = view->handle != NULL ? view->handle->index : NULL;
  if (index != NULL &&
      (!index_message_get (index, view->mailbox->number, uid, &row, &found, error) ||
       !index_digest_get (index, view->mailbox->number, uid, &size, known, &has_digest, error)))
    return NULL;
  FileFacts file = read_file (view->mailbox, uid);
  const char *from_row = index != NULL && index_is_salvaged (index) ? "salvaged-row" : "row";
  bool live = found && row.expunged == 0;
  bool newer = view->mailbox->store->evidence != NULL && file.modseq > row.modseq;
  const char *flags = live && !newer ? from_row : file.flags != NULL ? file.flags : "guessed";
  return g_strdup_printf ("flags=%s date=%s digest=%s", flags, live ? from_row : "file",
                          has_digest && digest_prefix (known) != 0 ? from_row
                          : file.digest                            ? "file"
                                                                   : "none");
}

char *
store_message_sources (StoreMailbox *self, uint32_t uid, GError **error)
{
  g_auto (View) view = {0};
  if (self->store->past != NULL || !view_begin (self, &view, error) || view.uids == NULL)
    return NULL;
  return tell (&view, uid, error);
}
