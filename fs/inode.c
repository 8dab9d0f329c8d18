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
 * The view is 0: what is mounted; in a snapshot it is the snapshot's slot, 1 to 255. The number is
 * that of a directory of the store, given out once, kept on the directory itself and never used
 * again; the UID is a message's in that directory, and is never used again either. So st_ino means
 * one thing for ever: it is the same after a remount, a rebuild of every index and a restore, and a
 * backup that keys its cache on it finds everything again. A snapshot that is mounted by itself is
 * view 0, so that this is true from one night's snapshot to the next, too.
 *
 *     UID 0                         the directory itself
 *     UID 1 to STORE_UID_MAX        the message
 *     UID above STORE_UID_MAX       a node of that directory's control directory: the UID's last
 *                                   eight bits tell which. There are some in view 0 only
 *     1 (number 0, UID 1)           the root, as FUSE demands; number 0 is the root of the store,
 *                                   which holds no messages, so its UIDs are free
 *     number 0, UID from 1 << 31    a job: its number and, in the last three bits, which of its
 *                                   files
 *     number 0, UIDs below that     a transient node of the control directory (transient.c)
 *
 * The kernel's inode (its "node id") is this number too, with two exceptions. In a snapshot it has
 * another view, which this mount has given to the snapshot (view.c). And while a write(2) is under
 * way the kernel keeps the inode locked, and the pages that are written with it. To a control
 * file that may be for hours, with the word "wait": whoever else writes to that file, reads it or
 * only looks at it would hang until then, and could not even be killed. So each lookup of a control
 * file that can be written tells of another inode, an "instance" of the node. It has a serial
 * number, of which no bit is needed for anything else in the number of a control node:
 *
 *     63      56 55              32 31   28 27             8 7       0
 *     [ 1..255 ] [ node's number  ] [ 1111 ] [ 0 .. 1048575 ] [ slot  ]
 *
 * st_ino never is one, and inode_plain() tells which node it is.
 *
 * Nothing is allocated when the kernel learns of an inode, so nothing is freed when it forgets one:
 * a leak or a use after free is not possible. (Of the nodes of snapshots it is counted how many the
 * kernel knows.) What the kernel asks of an inode is answered from the store as it is then. The
 * exception are transient nodes, of which there is nothing in the store that a number could tell,
 * such as the parts of a message: they are numbered as they are looked up, in a bounded table, and
 * their st_ino is another one the next time.
 *
 * An object may go while the kernel still knows its inode. Then the answer is ESTALE, whatever the
 * request: the kernel looks the name up once more, does not find it, and the caller gets ENOENT.
 * That is also what ends a name that the kernel was told it may keep for a day: the notify thread
 * only makes the attributes of a changed inode void, and at the next use the kernel asks for them,
 * because default_permissions, which is always on, needs them.
 *
 * A directory that was renamed is still there, so its attributes would be answered, and its old
 * name would live on. Therefore the change log tells the old name, and the notify thread makes that
 * void. Where notes were lost nobody knows which names are old. Then the first question for the
 * attributes of any directory is answered with ESTALE, too: the kernel looks its name up once more,
 * and finds it gone, or finds the same directory, whose name is in no doubt then. That does not
 * help when the one who asks stands in the directory, and so asks without a name.
 *
 * Names that do not exist are not kept at all. Backups hardly ask for them, and a kept one would
 * hide a mailbox made meanwhile, whose name the notify thread does not know.
 */
#include "fs/inode.h"

G_STATIC_ASSERT (sizeof (fuse_ino_t) == sizeof (uint64_t));

#define VIEW_SHIFT   56
#define NUMBER_SHIFT 32

#define SLOT_BITS 8
#define SERIAL_BITS                                                                                \
  20 /* of an instance's serial number; the others are where the view would be                     \
      */
#define SLOT_MASK   ((1u << SLOT_BITS) - 1)
#define SERIAL_MASK ((1u << SERIAL_BITS) - 1)

#define JOB_BIT       (1u << 31)
#define JOB_SHIFT     3
#define JOB_FILE_MASK ((1u << JOB_SHIFT) - 1)

G_STATIC_ASSERT (UINT32_MAX - STORE_UID_MAX == 1u << (SLOT_BITS + SERIAL_BITS));
G_STATIC_ASSERT (STORE_NUMBER_MAX >> (VIEW_SHIFT - NUMBER_SHIFT) == 0);
G_STATIC_ASSERT (INODE_TRANSIENT_MAX<JOB_BIT && INODE_TRANSIENT_MIN> FUSE_ROOT_ID);
G_STATIC_ASSERT ((JOB_BIT | INODE_JOB_MAX << JOB_SHIFT | JOB_FILE_MASK) <= STORE_UID_MAX);

static fuse_ino_t
make_inode (uint32_t view, uint32_t number, uint32_t uid)
{
  return (uint64_t)view << VIEW_SHIFT | (uint64_t)number << NUMBER_SHIFT | uid;
}

fuse_ino_t
inode_directory (uint32_t view, uint32_t number)
{
  return number == STORE_ROOT && view == VIEW_TOP ? FUSE_ROOT_ID : make_inode (view, number, 0);
}

fuse_ino_t
inode_message (uint32_t view, uint32_t number, uint32_t uid)
{
  return make_inode (view, number, uid);
}

fuse_ino_t
inode_control (uint32_t number, uint32_t slot)
{
  return make_inode (VIEW_TOP, number, STORE_UID_MAX + 1 + slot);
}

fuse_ino_t
inode_job (uint64_t job, uint32_t file)
{
  return make_inode (VIEW_TOP, STORE_ROOT, JOB_BIT | (uint32_t)job << JOB_SHIFT | file);
}

fuse_ino_t
inode_transient (uint32_t id)
{
  return make_inode (VIEW_TOP, STORE_ROOT, id);
}

bool
inode_is_transient (fuse_ino_t ino)
{
  return ino >= INODE_TRANSIENT_MIN && ino <= INODE_TRANSIENT_MAX;
}

static bool
is_control_slot (fuse_ino_t ino)
{
  return (uint32_t)ino > STORE_UID_MAX;
}

/* Of a job nobody waits by writing to it. */
fuse_ino_t
inode_instance (fuse_ino_t ino)
{
  static _Atomic uint32_t last;

  if (!is_control_slot (ino))
    return ino;
  uint32_t serial = ++last;
  return inode_plain (ino) | (uint64_t)(1 + (serial >> SERIAL_BITS) % UINT8_MAX) << VIEW_SHIFT |
         (serial & SERIAL_MASK) << SLOT_BITS;
}

fuse_ino_t
inode_plain (fuse_ino_t ino)
{
  return is_control_slot (ino) ? inode_control (inode_number (ino), inode_slot (ino)) : ino;
}

uint32_t
inode_view (fuse_ino_t ino)
{
  return is_control_slot (ino) ? VIEW_TOP : ino >> VIEW_SHIFT;
}

InodeKind
inode_kind (fuse_ino_t ino)
{
  if (ino == FUSE_ROOT_ID || (uint32_t)ino == 0)
    return INODE_DIRECTORY;
  return is_control_slot (ino) || inode_number (ino) == STORE_ROOT ? INODE_CONTROL : INODE_MESSAGE;
}

uint32_t
inode_number (fuse_ino_t ino)
{
  return ino >> NUMBER_SHIFT & STORE_NUMBER_MAX;
}

uint32_t
inode_uid (fuse_ino_t ino)
{
  return (uint32_t)ino;
}

uint32_t
inode_slot (fuse_ino_t ino)
{
  return (uint32_t)ino & (is_control_slot (ino) ? SLOT_MASK : JOB_FILE_MASK);
}

uint64_t
inode_job_id (fuse_ino_t ino)
{
  uint32_t uid = inode_uid (ino);

  return inode_number (ino) != STORE_ROOT || inode_view (ino) != VIEW_TOP ||
                 is_control_slot (ino) || (uid & JOB_BIT) == 0
             ? 0
             : (uid & ~JOB_BIT) >> JOB_SHIFT;
}

fuse_ino_t
inode_bytes (fuse_ino_t ino)
{
  return inode_message (VIEW_TOP, inode_number (ino), inode_uid (ino));
}
