/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inode.c - what an inode number means.
 *
 * Inode numbers and lifetimes
 *
 * An inode number is arithmetic, not a table:
 *
 *     63      56 55              32 31                               0
 *     [  view  ] [ node's number  ] [ UID                            ]
 *
 * The view is 0: the live tree; others stay below 128. The number is that of a directory of the
 * store, given out once, kept on the directory itself and never used again; the UID is a message's
 * in that directory, and is never used again either. So st_ino means one thing for ever: it is the
 * same after a remount, a rebuild of every index and a restore, and a backup that keys its cache on
 * it finds everything again.
 *
 *     UID 0                         the directory itself
 *     UID 1 to STORE_UID_MAX        the message
 *     UID above STORE_UID_MAX       a node of that directory's control directory: the UID's last
 *                                   eight bits tell which
 *     1 (number 0, UID 1)           the root, as FUSE demands; number 0 is the root of the store,
 *                                   which holds no messages, so its UIDs are free
 *     number 0, UID from 1 << 31    a job: its number and, in the last three bits, which of its
 *                                   files
 *
 * The kernel's inode (its "node id") is this number too, with one exception. While a write(2) is
 * under way the kernel keeps the inode locked, and the pages that are written with it. To a control
 * file that may be for hours, with the word "wait": whoever else writes to that file, reads it or
 * only looks at it would hang until then, and could not even be killed. So each lookup of a control
 * file that can be written tells of another inode, an "instance" of the node:
 *
 *     63  62                     32 31                8 7           0
 *     [1] [ serial number         ] [ node's number  ] [ slot       ]
 *
 * st_ino never is one, and inode_plain() tells which node it is.
 *
 * Nothing is allocated when the kernel learns of an inode, so nothing is freed when it forgets one:
 * forget is a no-op, and a leak or a use after free is not possible. What the kernel asks of an
 * inode is answered from the store as it is then.
 *
 * An object may go while the kernel still knows its inode. Then the answer is ESTALE, whatever the
 * request: the kernel looks the name up once more, does not find it, and the caller gets ENOENT.
 * That is also what ends a name that the kernel was told it may keep for a day: the notify thread
 * only makes the attributes of a changed inode void, and at the next use the kernel asks for them,
 * because default_permissions, which is always on, needs them.
 *
 * A directory that was renamed is still there, so its attributes would be answered, and its old
 * name would live on. Therefore the first question for them after a renaming is answered with
 * ESTALE, too: the kernel looks the name up once more, and finds it gone, or finds the same
 * directory and asks again.
 *
 * Names that do not exist are not kept at all. Backups hardly ask for them, and a kept one would
 * hide a mailbox made meanwhile, whose name the notify thread does not know.
 */
#include "fs/internal.h"

G_STATIC_ASSERT (sizeof (fuse_ino_t) == sizeof (uint64_t));

#define INSTANCE_BIT   (UINT64_C (1) << 63)
#define INSTANCE_SHIFT 32

#define JOB_BIT       (1u << 31)
#define JOB_SHIFT     3
#define JOB_FILE_MASK ((1u << JOB_SHIFT) - 1)

G_STATIC_ASSERT ((JOB_BIT | INODE_JOB_MAX << JOB_SHIFT | JOB_FILE_MASK) <= STORE_UID_MAX);

static fuse_ino_t
make_inode (uint32_t number, uint32_t uid)
{
  return (uint64_t)number << 32 | uid;
}

fuse_ino_t
inode_directory (uint32_t number)
{
  return number == STORE_ROOT ? FUSE_ROOT_ID : make_inode (number, 0);
}

fuse_ino_t
inode_message (uint32_t number, uint32_t uid)
{
  return make_inode (number, uid);
}

fuse_ino_t
inode_control (uint32_t number, uint32_t slot)
{
  return make_inode (number, STORE_UID_MAX + 1 + slot);
}

fuse_ino_t
inode_job (uint64_t job, uint32_t file)
{
  return make_inode (STORE_ROOT, JOB_BIT | (uint32_t)job << JOB_SHIFT | file);
}

/* Of a job nobody waits by writing to it. */
fuse_ino_t
inode_instance (fuse_ino_t ino)
{
  static _Atomic uint32_t last;

  if (inode_job_id (ino) != 0)
    return ino;
  return INSTANCE_BIT | (uint64_t)(++last & INT32_MAX) << INSTANCE_SHIFT | inode_number (ino) << 8 |
         inode_slot (ino);
}

fuse_ino_t
inode_plain (fuse_ino_t ino)
{
  return (ino & INSTANCE_BIT) == 0 ? ino : inode_control ((uint32_t)ino >> 8, (uint32_t)ino & 0xff);
}

InodeKind
inode_kind (fuse_ino_t ino)
{
  uint32_t uid = inode_uid (ino);

  if (ino == FUSE_ROOT_ID || uid == 0)
    return INODE_DIRECTORY;
  return uid > STORE_UID_MAX || inode_number (ino) == STORE_ROOT ? INODE_CONTROL : INODE_MESSAGE;
}

uint32_t
inode_number (fuse_ino_t ino)
{
  return inode_plain (ino) >> 32 & STORE_NUMBER_MAX;
}

uint32_t
inode_uid (fuse_ino_t ino)
{
  return (uint32_t)inode_plain (ino);
}

uint32_t
inode_slot (fuse_ino_t ino)
{
  uint32_t uid = inode_uid (ino);

  return uid > STORE_UID_MAX ? uid - (STORE_UID_MAX + 1) : uid & JOB_FILE_MASK;
}

uint64_t
inode_job_id (fuse_ino_t ino)
{
  uint32_t uid = inode_uid (ino);

  return inode_number (ino) != STORE_ROOT || uid > STORE_UID_MAX || (uid & JOB_BIT) == 0
             ? 0
             : (uid & ~JOB_BIT) >> JOB_SHIFT;
}

char *
inode_path (Mount *mount, fuse_ino_t ino)
{
  if (inode_kind (ino) == INODE_CONTROL)
    return control_path (mount, ino);

  g_autofree char *directory = store_node_path (mount->store, inode_number (ino), NULL);
  if (directory == NULL)
    return g_strdup_printf ("inode %#" PRIx64, ino);
  if (inode_kind (ino) == INODE_DIRECTORY)
    return g_strdup_printf ("/%s", directory);

  char name[STORE_NAME_SIZE];
  store_message_name (inode_uid (ino), name);
  return g_strdup_printf ("/%s/%s", directory, name);
}
