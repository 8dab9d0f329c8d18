/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lost.c - the control directory lost+found/, and orphans/ and expunged/ of a mailbox: what lies in
 * no mailbox any more, or is not what it was.
 *
 * Each thing is a file of its bytes as they are, if there are any, and beside it one whose name
 * ends in ".json" with all that is known of it. mv(1) into a mailbox restores the thing, rm(1)
 * removes it for good, where the mount was allowed that.
 */
#include "fs/control.h"
#include "fs/inode.h"
#include "fs/reply.h"
#include "fs/trail.h"
#include "fs/transient.h"
#include "store/commands.h"
#include "store/rescue.h"
#include "store/text.h"

#include <stdio.h>
#include <string.h>

#define FACTS_SUFFIX ".json"

/* Things asked for at a time: about as many as one answer to the kernel has room for. */
#define PAGE 128

/* Facts are made again after that, or after so many times what it took. */
#define HOLD_US    G_TIME_SPAN_SECOND
#define COST_SHARE 20

/* ---- directories -------------------------------------------------------------------------- */

/* What a directory has in it. */
typedef struct {
  bool above; /* it is lost+found itself, and has a directory for each kind */
  StoreLostKind kind;
  uint32_t number; /* of the mailbox; STORE_ROOT: of the whole store */
} Place;

static Place
place_of (const TransientNode *directory)
{
  bool whole = directory->root.number == STORE_ROOT;
  Place place = {.number = directory->root.number};

  place.above =
      !store_lost_kind_parse (whole ? directory->path : directory->file->name, &place.kind);
  return place;
}

/* ---- one thing ---------------------------------------------------------------------------- */

/* What an entry is kept with. */
typedef struct {
  StoreLost lost;
  int64_t until_us; /* of the file with the facts: it is not made again before */
} Thing;

static void
free_thing (gpointer data)
{
  Thing *thing = data;

  store_lost_clear (&thing->lost);
  g_free (thing);
}

/* The thing that a name is of, which the caller owns; `*out_facts` is whether it is what is known
 * of it. */
static char *
parse_name (const char *name, bool *out_facts)
{
  size_t length = strlen (name);

  *out_facts = g_str_has_suffix (name, FACTS_SUFFIX);
  return g_strndup (name, *out_facts ? length - strlen (FACTS_SUFFIX) : length);
}

/* Finds the thing that a name in a directory is of. What has no bytes has only its facts there. */
static bool
find_thing (Mount *mount, const TransientNode *directory, const char *name, StoreLost *out,
            bool *out_facts, bool *out_found, GError **error)
{
  const Place place = place_of (directory);
  g_autofree char *own_name = parse_name (name, out_facts);
  g_auto (StoreLost) lost = {0};

  *out_found = false;
  if (place.above)
    return true;
  if (!store_lost_find (mount->store, place.kind, place.number, own_name, &lost, out_found, error))
    return false;
  *out_found = *out_found && (*out_facts || lost.has_bytes);
  if (*out_found) {
    *out = lost;
    lost = (StoreLost){0};
  }
  return true;
}

static bool
is_same (const StoreLost *a, const StoreLost *b)
{
  return a->size == b->size && a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns &&
         g_strcmp0 (a->path, b->path) == 0;
}

/* Reads the whole file, so not each of the requests that come of one look makes them anew. What
 * came out the same keeps its time. */
static bool
fill_facts (Mount *mount, const TransientEntry *known, Thing *thing, TransientEntry *out,
            GError **error)
{
  const Thing *before = known != NULL ? known->data : NULL;
  int64_t begun_us = g_get_monotonic_time ();

  if (before != NULL && begun_us < before->until_us && is_same (&before->lost, &thing->lost)) {
    thing->until_us = before->until_us;
    out->bytes = g_bytes_ref (known->bytes);
  } else {
    g_autoptr (GString) json = store_lost_json (mount->store, &thing->lost, error);
    if (json == NULL)
      return false;
    json_end (json);
    out->bytes = g_string_free_to_bytes (g_steal_pointer (&json));
    int64_t now_us = g_get_monotonic_time ();
    thing->until_us = now_us + MAX (HOLD_US, (now_us - begun_us) * COST_SHARE);
  }
  out->size = g_bytes_get_size (out->bytes);
  out->mtime_ns = known == NULL                              ? thing->lost.ctime_ns
                  : g_bytes_equal (known->bytes, out->bytes) ? known->mtime_ns
                                                             : g_get_real_time () * 1000;
  return true;
}

static bool
find (Mount *mount, const TransientNode *directory, const char *name, const TransientEntry *known,
      TransientEntry *out, GError **error)
{
  StoreLostKind kind;
  Thing thing = {0};
  bool facts, found;

  if (place_of (directory).above) {
    out->type = store_lost_kind_parse (name, &kind) ? S_IFDIR : 0;
    return true;
  }
  if (!find_thing (mount, directory, name, &thing.lost, &facts, &found, error))
    return false;
  if (!found)
    return true;
  out->type = S_IFREG;
  out->size = thing.lost.size;
  out->mtime_ns = thing.lost.mtime_ns;
  out->ctime_ns = thing.lost.ctime_ns;
  if (facts && !fill_facts (mount, known, &thing, out, error)) {
    store_lost_clear (&thing.lost);
    return false;
  }
  out->data = g_memdup2 (&thing, sizeof thing);
  out->free = free_thing;
  return true;
}

static int
open_bytes (Mount *mount, const TransientNode *file, GError **error)
{
  const Thing *thing = file->entry.data;

  return store_lost_open (mount->store, &thing->lost, error);
}

/* ---- listing ------------------------------------------------------------------------------ */

typedef struct {
  Mount *mount;
  Place place;
  ControlAddFunc add;
  void *data;
} Listing;

/* Names are all there is to go by, so a cookie is made of the name. Its lowest bit tells that it is
 * that of the file with the facts. */
static off_t
cookie_of (const StoreLost *lost, bool facts)
{
  g_autofree char *digits = g_compute_checksum_for_string (G_CHECKSUM_SHA256, lost->name, -1);

  digits[15] = '\0';
  return (off_t)(g_ascii_strtoull (digits, NULL, 16) << 1 | facts);
}

/* The next things of a place. Where there can be none, as below a directory that is no mailbox,
 * there is none. */
static bool
read_page (const Listing *self, const char *after, StoreLost *out, size_t *out_count,
           GError **error)
{
  g_autoptr (GError) failure = NULL;

  *out_count = 0;
  if (store_lost_page (self->mount->store, self->place.kind, self->place.number, after, out, PAGE,
                       out_count, &failure) ||
      (error_code (failure) == ENOENT && self->place.number != STORE_ROOT))
    return true;
  g_propagate_error (error, g_steal_pointer (&failure));
  return false;
}

/* Calls `take` for each thing whose name is above `from` (NULL: from the first), until it returns
 * false. */
typedef bool (*TakeFunc) (const Listing *listing, const StoreLost *lost, void *data);

static bool
each_thing (const Listing *self, const char *from, TakeFunc take, void *data, GError **error)
{
  g_autofree StoreLost *page = g_new (StoreLost, PAGE);
  g_autofree char *after = g_strdup (from);
  size_t count;
  bool more = true;

  do {
    if (!read_page (self, after, page, &count, error))
      return false;
    for (size_t i = 0; i < count && more; i++)
      more = take (self, &page[i], data);
    g_free (after);
    after = count > 0 ? g_strdup (page[count - 1].name) : NULL;
    store_losts_clear (page, count);
  } while (count > 0 && more);
  return true;
}

static bool
add_facts (const Listing *self, const StoreLost *lost)
{
  g_autofree char *name = g_strconcat (lost->name, FACTS_SUFFIX, NULL);

  return self->add (name, 0, S_IFREG, cookie_of (lost, true), self->data);
}

static bool
add_thing (const Listing *self, const StoreLost *lost, void *data)
{
  return (!lost->has_bytes ||
          self->add (lost->name, 0, S_IFREG, cookie_of (lost, false), self->data)) &&
         add_facts (self, lost);
}

/* Which name has a cookie. */
typedef struct {
  off_t cookie;
  char *name;
} Search;

static bool
compare_cookie (const Listing *self, const StoreLost *lost, void *data)
{
  Search *search = data;

  if (cookie_of (lost, (search->cookie & 1) != 0) == search->cookie)
    search->name = g_strdup (lost->name);
  return search->name == NULL;
}

/* The name of the thing that a listing is to go on after. If it has been forgotten it is looked
 * for; if it is not there any more the listing begins again: a doubled name does less harm than a
 * skipped one. */
static bool
find_resume_name (const Listing *self, const TransientNode *directory, off_t cookie,
                  char **out_name, GError **error)
{
  g_autofree char *last = transient_recall (self->mount, directory, cookie);
  Search search = {.cookie = cookie};
  bool facts;

  if (last != NULL)
    search.name = parse_name (last, &facts);
  else if (!each_thing (self, NULL, compare_cookie, &search, error))
    return false;
  *out_name = search.name;
  return true;
}

/* The facts of a thing come after its bytes. */
static bool
add_rest (const Listing *self, const char *name, bool *out_room, GError **error)
{
  g_auto (StoreLost) lost = {0};
  bool found;

  if (!store_lost_find (self->mount->store, self->place.kind, self->place.number, name, &lost,
                        &found, error))
    return false;
  *out_room = !found || add_facts (self, &lost);
  return true;
}

static bool
list_kinds (off_t after, ControlAddFunc add, void *data)
{
  for (off_t i = after; i < STORE_LOST_KINDS; i++)
    if (!add (store_lost_kind_name ((StoreLostKind)i), 0, S_IFDIR, i + 1, data))
      break;
  return true;
}

static bool
list (Mount *mount, const TransientNode *directory, off_t after, ControlAddFunc add, void *data,
      GError **error)
{
  const Listing self = {mount, place_of (directory), add, data};
  g_autofree char *name = NULL;
  bool room = true;

  if (self.place.above)
    return list_kinds (after, add, data);
  if (after > 0 && !find_resume_name (&self, directory, after, &name, error))
    return false;
  if (name != NULL && (after & 1) == 0 && !add_rest (&self, name, &room, error))
    return false;
  return !room || each_thing (&self, name, add_thing, NULL, error);
}

/* ---- restoring and removing --------------------------------------------------------------- */

/* Leaves the trail of what was asked for by the system call `through` about `object`, which is the
 * same as the command `verb` with its words, and answers. */
static void
answer (fuse_req_t req, const char *through, const char *verb, const TransientNode *directory,
        const char *name, fuse_ino_t object, const GError *failure)
{
  Mount *mount = fuse_req_userdata (req);
  const Caller caller = caller_of (req);
  g_autofree char *path = inode_path (mount, object);
  g_autofree char *word = store_word_escape (name);
  g_autofree char *command =
      g_strdup_printf ("%s %s/%s", verb, store_lost_kind_name (place_of (directory).kind), word);

  trail_action (mount, &caller, through, path, command, NULL, NULL, failure);
  reply_errno (req, failure != NULL ? error_code (failure) : 0);
}

/* As find_thing(); absence is an error. */
static bool
take_thing (Mount *mount, const TransientNode *directory, const char *name, StoreLost *out,
            bool *out_facts, GError **error)
{
  bool found;

  return find_thing (mount, directory, name, out, out_facts, &found, error) &&
         (found || fail (error, ENOENT, "'%s' is not there", name));
}

/* Where nothing is but what is known, that is what is removed. */
static bool
remove_thing (Mount *mount, const TransientNode *directory, const char *name, GError **error)
{
  g_auto (StoreLost) lost = {0};
  bool facts;

  if (!mount->options->allow_purge)
    return fail (error, EPERM, "only a mount with the option allow_purge removes for good");
  if (!take_thing (mount, directory, name, &lost, &facts, error))
    return false;
  if (facts && lost.has_bytes)
    return fail (error, EPERM, "'%s' goes when '%s' is removed", name, lost.name);
  return store_lost_remove (mount->store, &lost, error);
}

static void
unlink_thing (fuse_req_t req, const TransientNode *directory, const char *name)
{
  g_autoptr (GError) error = NULL;

  if (place_of (directory).above)
    return reply_errno (req, EPERM);
  remove_thing (fuse_req_userdata (req), directory, name, &error);
  answer (req, "unlink", "lost-remove force", directory, name, directory->ino, error);
}

/* A message gets the name that its UID gives it, so no other can be asked for. */
static bool
check_target (Mount *mount, const StoreLost *lost, fuse_ino_t new_parent, const char *new_name,
              unsigned flags, GError **error)
{
  char own[STORE_NAME_SIZE];

  if ((flags & ~(unsigned)RENAME_NOREPLACE) != 0)
    return fail (error, EINVAL, "what is lost cannot be exchanged for something");
  if (inode_kind (new_parent) != INODE_DIRECTORY)
    return fail (error, EINVAL, "'%s' can be moved into a mailbox only", lost->name);
  if (inode_view (new_parent) != VIEW_TOP)
    return fail (error, EROFS, "nothing in a snapshot can be changed");
  store_message_name (lost->uid, own);
  return g_str_equal (new_name, lost->name) || (lost->uid > 0 && g_str_equal (new_name, own)) ||
         fail (error, EINVAL, "'%s' is called by its UID once it is restored: keep its name",
               lost->name);
}

/* A message that is there already is never replaced. */
static bool
check_free (Mount *mount, uint32_t number, const char *name, GError **error)
{
  g_autoptr (StoreMailbox) mailbox = store_mailbox_open (mount->store, number, error);
  uint32_t uid = store_message_uid (name);
  g_auto (StoreMessage) message = {0};
  bool found = false;

  return mailbox != NULL &&
         (uid == 0 || store_message_find (mailbox, uid, &message, &found, error)) &&
         (!found || fail (error, EEXIST, "there is a message '%s'", name));
}

static bool
restore_thing (Mount *mount, const TransientNode *directory, const char *name,
               fuse_ino_t new_parent, const char *new_name, unsigned flags, GError **error)
{
  g_auto (StoreLost) lost = {0};
  bool facts;
  uint32_t uid;

  if (!take_thing (mount, directory, name, &lost, &facts, error))
    return false;
  if (facts)
    return fail (error, EINVAL, "'%s' is what is known of '%s', and no message", name, lost.name);
  return check_target (mount, &lost, new_parent, new_name, flags, error) &&
         check_free (mount, inode_number (new_parent), new_name, error) &&
         store_lost_restore (mount->store, &lost, inode_number (new_parent), &uid, error);
}

static void
move_thing (fuse_req_t req, const TransientNode *directory, const char *name, fuse_ino_t new_parent,
            const char *new_name, unsigned flags)
{
  Mount *mount = fuse_req_userdata (req);
  g_autoptr (GError) error = NULL;

  if (place_of (directory).above)
    return reply_errno (req, EPERM);
  restore_thing (mount, directory, name, new_parent, new_name, flags, &error);
  g_autofree char *title = inode_title (mount, new_parent);
  g_autofree char *word = store_word_escape (title != NULL ? title : "");
  g_autofree char *verb = g_strconcat ("lost-restore to=", word, NULL);
  answer (req, "rename", verb, directory, name, new_parent, error);
}

const TransientTree lost_tree = {
    .find = find,
    .list = list,
    .open = open_bytes,
    .unlink = unlink_thing,
    .rename = move_thing,
};
