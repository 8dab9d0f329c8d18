/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The timeline: when what happened, as a body file for mactime(1) of the Sleuth Kit, whose lines
 * are
 *
 *   MD5|NAME|INODE|MODE|UID|GID|SIZE|ATIME|MTIME|CTIME|BIRTH
 *
 * Times and inodes are those of the store's own files, so that they can be held against a timeline
 * of the disk; names are those of the mount.
 */
#include "store/lost.h"
#include "store/snapshot.h"

#include <inttypes.h>
#include <string.h>

typedef struct {
  Store *store;
  FILE *out;
  uint64_t lines;
  int failure; /* errno of the first write that failed; 0: none did */
} Timeline;

/* Seconds since 1970; 0: not known. */
typedef struct {
  int64_t a, m, c, b;
} Times;

#define NS_PER_S G_GINT64_CONSTANT (1000000000)

/* ---- lines ---------------------------------------------------------------------------------- */

static char
type_of (mode_t mode)
{
  return S_ISREG (mode) ? 'r' : S_ISDIR (mode) ? 'd' : S_ISLNK (mode) ? 'l' : '-';
}

/* "r/rrw-r-----", as fls(1) has it: the type of the name, and of what it names. */
static void
format_mode (mode_t mode, char out[13])
{
  static const char bits[] = "rwxrwxrwx";
  out[0] = out[2] = type_of (mode);
  out[1] = '/';
  for (unsigned i = 0; i < 9; i++)
    out[3 + i] = mode & (0400u >> i) ? bits[i] : '-';
  out[12] = '\0';
}

/* A name cannot hold the separator. */
static char *
escape (const char *name)
{
  g_autofree char *printable = store_text_printable (name);
  g_auto (GStrv) parts = g_strsplit (printable, "|", 0);
  return g_strjoinv ("\\x7c", parts);
}

/* Takes what fprintf() or fflush() returned. What is looked at next leaves an errno of its own. */
static void
note_written (Timeline *self, int written)
{
  if (written < 0 && self->failure == 0)
    self->failure = errno;
}

/* `note` may be NULL, and so may `st`, for what is no file. */
static void
write_line (Timeline *self, const char *path, const char *note, const struct statx *st, Times times)
{
  char mode[13] = "-/----------";
  struct statx none = {0};
  g_autofree char *name = g_strdup_printf ("/%s%s%s%s", path, note != NULL ? " (" : "",
                                           note != NULL ? note : "", note != NULL ? ")" : "");
  g_autofree char *escaped = escape (name);
  if (MAX (MAX (times.a, times.m), MAX (times.c, times.b)) <= 0)
    return;
  if (st != NULL)
    format_mode (st->stx_mode, mode);
  else
    st = &none;
  int written = fprintf (
      self->out,
      "0|%s|%" PRIu64 "|%s|%u|%u|%" PRIu64 "|%" PRId64 "|%" PRId64 "|%" PRId64 "|%" PRId64 "\n",
      escaped, (uint64_t)st->stx_ino, mode, st->stx_uid, st->stx_gid, (uint64_t)st->stx_size,
      MAX (times.a, 0), MAX (times.m, 0), MAX (times.c, 0), MAX (times.b, 0));
  note_written (self, written);
  self->lines++;
}

static void
write_file (Timeline *self, const char *path, const char *note, const struct statx *st)
{
  Times times = {.a = st->stx_atime.tv_sec,
                 .m = st->stx_mtime.tv_sec,
                 .c = st->stx_ctime.tv_sec,
                 .b = st->stx_mask & STATX_BTIME ? st->stx_btime.tv_sec : 0};
  write_line (self, path, note, st, times);
}

/* Of what is gone by now, or cannot be read; the rest goes on. */
static void
write_comment (Timeline *self, const GError *failure)
{
  g_autofree char *reason = store_text_printable (failure->message);
  note_written (self, fprintf (self->out, "# %s\n", reason));
}

static bool
look_at (int fd, const char *name, struct statx *out)
{
  return statx (fd, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME,
                out) == 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

/* The Date of the header; INT64_MIN: not known. Files of messages are not read for it. */
static int64_t
date_of (Index *index, uint32_t number, uint32_t uid)
{
  g_auto (IndexSummary) row = {0};
  bool found = false;
  return index != NULL && index_summary_get (index, number, uid, &row, &found, NULL) && found
             ? row.sent_s
             : INT64_MIN;
}

static void
write_messages (Timeline *self, StoreMailbox *mailbox, const char *path, const GArray *uids,
                bool expunged)
{
  g_autoptr (Handle) handle = cache_index (self->store, mailbox->owner, false, NULL);
  for (guint i = 0; i < uids->len; i++) {
    uint32_t uid = g_array_index (uids, uint32_t, i);
    char place[32], name[STORE_NAME_SIZE];
    struct statx st;
    layout_message_path (uid, expunged, place);
    store_message_name (uid, name);
    if (!look_at (mailbox->fd, place, &st))
      continue;
    g_autofree char *object = g_strdup_printf ("%s/%s", path, name);
    write_file (self, object, expunged ? "expunged" : NULL, &st);
    int64_t date_s = date_of (handle != NULL ? handle->index : NULL, mailbox->number, uid);
    write_line (self, object, "Date", &st, (Times){.m = date_s});
  }
}

/* Whether the message is still as it was: it was kept in case that it changes. */
static bool
is_so (const StoreMailbox *mailbox, uint32_t uid, int64_t changed_ns)
{
  char place[32];
  struct stat st;
  layout_message_path (uid, false, place);
  return layout_message_stat (mailbox->fd, place, &st) && stat_ctime_ns (&st) == changed_ns;
}

/* Whether it was told before: what several snapshots have may be kept for each of them. */
static bool
is_told (GHashTable *told, uint32_t uid, int64_t changed_ns)
{
  gpointer key = GUINT_TO_POINTER (uid);
  const int64_t *before = g_hash_table_lookup (told, key);
  if (before != NULL && *before == changed_ns)
    return true;
  g_hash_table_replace (told, key, g_memdup2 (&changed_ns, sizeof changed_ns));
  return false;
}

static void
write_states (Timeline *self, const StoreMailbox *mailbox, const char *path)
{
  g_autoptr (GHashTable) told = g_hash_table_new_full (NULL, NULL, NULL, g_free);
  g_autoptr (History) history = history_new (self->store, mailbox->number);
  g_auto (HistoryMessage) was = {0};
  uint32_t uid;
  bool found;
  for (guint place = 0;
       history_message_next (history, &place, &uid, &was, &found, NULL) && found;) {
    char name[STORE_NAME_SIZE];
    store_message_name (uid, name);
    g_autofree char *object = g_strdup_printf ("%s/%s", path, name);
    g_autofree char *flags = store_flags_to_string (was.state.flags, was.state.keywords);
    g_autofree char *note = g_strdup_printf ("flags:%s%s", *flags != '\0' ? " " : "", flags);
    if (!is_told (told, uid, was.changed_ns) && !is_so (mailbox, uid, was.changed_ns))
      write_line (self, object, note, NULL, (Times){.c = was.changed_ns / NS_PER_S});
    history_message_clear (&was);
    was = (HistoryMessage){0};
  }
}

/* Of a message whose file is gone, what is known of it, and when it was missed first. */
static void
write_lost (Timeline *self, const StoreLost *lost, const char *path)
{
  g_auto (LostFacts) facts = {.summary.sent_s = INT64_MIN};
  g_autoptr (GError) failure = NULL;
  char name[STORE_NAME_SIZE];
  const struct statx size = {.stx_size = lost->size};
  store_message_name (lost->uid, name);
  g_autofree char *object = g_strdup_printf ("%s/%s", path, name);
  if (!lost_learn (self->store, lost, false, &facts, &failure)) {
    write_comment (self, failure);
    return;
  }
  write_line (self, object, "missing", &size, (Times){.m = facts.internal_s, .c = facts.missed_s});
  write_line (self, object, "Date", &size, (Times){.m = facts.summary.sent_s});
}

static void
write_missing (Timeline *self, uint32_t number, const char *path)
{
  StoreLost page[64];
  g_autofree char *after = NULL;
  for (size_t count = 1; count > 0;) {
    g_autoptr (GError) failure = NULL;
    if (!store_lost_page (self->store, STORE_LOST_MISSING, number, after, page, G_N_ELEMENTS (page),
                          &count, &failure)) {
      write_comment (self, failure);
      return;
    }
    for (size_t i = 0; i < count; i++)
      write_lost (self, &page[i], path);
    g_free (after);
    after = count > 0 ? g_strdup (page[count - 1].name) : NULL;
    store_losts_clear (page, count);
  }
}

static bool
write_mailbox (Timeline *self, StoreMailbox *mailbox, const char *path, GError **error)
{
  g_autoptr (GArray) live = layout_uids (mailbox->fd, "", NULL, error);
  if (live == NULL)
    return false;
  write_messages (self, mailbox, path, live, false);
  g_autoptr (GArray) gone = layout_uids (mailbox->fd, LAYOUT_EXPUNGED, NULL, NULL);
  if (gone != NULL)
    write_messages (self, mailbox, path, gone, true);
  write_states (self, mailbox, path);
  return true;
}

/* ---- the walk ------------------------------------------------------------------------------- */

static bool write_node (const StoreNode *node, void *data, GError **error);

static bool
check_output (const Timeline *self, GError **error)
{
  errno = self->failure;
  return self->failure == 0 || fail_errno (error, "write");
}

static bool
write_content (Timeline *self, const StoreNode *node, const char *path, GError **error)
{
  struct statx st;
  if (node->kind == STORE_NODE_MAILBOX)
    write_missing (self, node->number, path);
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (self->store, node->number, error);
  if (mailbox == NULL)
    return false;
  if (look_at (mailbox->fd, "", &st))
    write_file (self, path, NULL, &st);
  return (node->kind != STORE_NODE_MAILBOX || write_mailbox (self, mailbox, path, error)) &&
         store_node_each_child (self->store, node->number, NULL, write_node, self, error);
}

static bool
write_node (const StoreNode *node, void *data, GError **error)
{
  Timeline *self = data;
  g_autoptr (GError) failure = NULL;
  g_autofree char *path = store_node_path (self->store, node->number, &failure);
  if (path == NULL || !write_content (self, node, path, &failure))
    write_comment (self, failure);
  return check_output (self, error);
}

/* What was missed in mailboxes that are gone themselves. */
static void
write_gone (Timeline *self)
{
  uint32_t numbers[64];
  g_autoptr (GError) failure = NULL;
  size_t count = 1;
  for (uint32_t from = 1;
       count > 0 && lost_missing.numbers (self->store, from, numbers, G_N_ELEMENTS (numbers),
                                          &count, &failure);) {
    for (size_t i = 0; i < count; i++) {
      g_auto (StoreNode) node = {0};
      g_autofree char *path = g_strdup_printf ("missing/%u", numbers[i]);
      if (!store_node_get (self->store, numbers[i], &node, NULL))
        write_missing (self, numbers[i], path);
      from = numbers[i] + 1;
    }
  }
  if (failure != NULL)
    write_comment (self, failure);
}

static void
write_store (Timeline *self)
{
  g_autoptr (GPtrArray) snapshots = store_snapshot_list (self->store, NULL);
  g_autoptr (GPtrArray) quarantined = store_quarantine_list (self->store, NULL);
  for (guint i = 0; snapshots != NULL && i < snapshots->len; i++) {
    const StoreSnapshot *snapshot = snapshots->pdata[i];
    write_line (self, snapshot->name, "snapshot", NULL,
                (Times){.b = snapshot->taken_ns / NS_PER_S});
  }
  for (guint i = 0; quarantined != NULL && i < quarantined->len; i++) {
    const StoreQuarantined *object = quarantined->pdata[i];
    g_autofree char *path = g_strdup_printf ("quarantine/%s", object->path);
    write_line (self, path, "taken out", NULL, (Times){.c = object->since_s});
  }
  write_gone (self);
}

bool
store_timeline_write (Store *self, uint32_t number, FILE *out, GError **error)
{
  g_auto (StoreNode) node = {0};
  Timeline timeline = {.store = self, .out = out};
  if (self->past != NULL)
    return fail (error, EINVAL, "a timeline is of the store as it is, not of a snapshot");
  if (!store_node_get (self, number, &node, error) || !write_node (&node, &timeline, error))
    return false;
  if (number == STORE_ROOT)
    write_store (&timeline);
  if (timeline.failure == 0)
    note_written (&timeline, fprintf (out, "# complete: %" PRIu64 " lines\n", timeline.lines));
  note_written (&timeline, fflush (out));
  return check_output (&timeline, error);
}
