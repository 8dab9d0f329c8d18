/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transient.h - trees of the control tree whose nodes are there only while the kernel knows them.
 */
#pragma once

#include "fs/control.h"

/* ---- transient.c: the nodes ---------------------------------------------------------------- */

/*
 * What lies below such a directory (a row with a `tree`) is asked of the tree when somebody looks,
 * and has an inode number only as long as the kernel knows it. To make such a directory takes a
 * row, and a TransientTree with these functions, which may be called by any thread at any time:
 *
 *   find    is there such a name, and what is it? Absence is no error: `out` stays as it is. It is
 *           called at each access, since the kernel keeps no name.
 *   list    which names are there, after a cookie?
 *   open    the bytes of a file that is not made (bytes == NULL): a descriptor, or -1.
 *   mkdir, rmdir, unlink, rename
 *           what system calls in such a directory do. They answer the request themselves, now or
 *           later (wait.c), with reply_errno() or answer_lookup(). NULL: EPERM. Where the mount is
 *           read-only they are not called.
 */

/* What a name is. */
typedef struct {
  mode_t type;      /* S_IFREG or S_IFDIR; 0: there is no such name */
  uint64_t size;    /* of a file */
  int64_t mtime_ns; /* 0, of a directory: now, so that the kernel keeps no listing of it */
  int64_t ctime_ns; /* 0: that of the mount */
  GBytes *bytes;    /* of a file that is made, as many as its size; NULL: open() has them */
  gpointer data;    /* the tree's own */
  void (*free) (gpointer data); /* locks nothing */
  uint32_t number, uid; /* with a uid: it is this message of VIEW_TOP, as if it were a hard link;
                           nothing else is needed then but the type */
} TransientEntry;
void transient_entry_clear (TransientEntry *entry);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (TransientEntry, transient_entry_clear)

/* One node, as it was found last. It does not change; each reference is given back. */
typedef struct {
  gatomicrefcount references;
  const ControlFile *file; /* the row of the tree's root */
  ControlNode root;        /* and which node that is */
  fuse_ino_t ino, directory;
  char *path; /* below the root, which has "" */
  TransientEntry entry;
} TransientNode;
void transient_node_unref (TransientNode *self);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (TransientNode, transient_node_unref)

const char *transient_name (const TransientNode *self); /* the last part of its path */

typedef struct TransientTree {
  /* `known` is what the name was at the last look, if that is still known; else NULL. The tree may
   * take references of what is in it. */
  bool (*find) (Mount *mount, const TransientNode *directory, const char *name,
                const TransientEntry *known, TransientEntry *out, GError **error);

  /* Calls `add` for each name after that with the cookie `after` (0: from the first), until it
   * returns false; `ino` is 0, or that of a message. A cookie is above 0 and below 1 << 62, and is
   * good for as long as somebody reads the directory: so it has to be arithmetic on what never
   * changes, such as a UID. */
  bool (*list) (Mount *mount, const TransientNode *directory, off_t after, ControlAddFunc add,
                void *data, GError **error);

  int (*open) (Mount *mount, const TransientNode *file, GError **error);

  void (*mkdir) (fuse_req_t req, const TransientNode *directory, const char *name);
  void (*rmdir) (fuse_req_t req, const TransientNode *directory, const char *name);
  void (*unlink) (fuse_req_t req, const TransientNode *directory, const char *name);
  void (*rename) (fuse_req_t req, const TransientNode *directory, const char *name,
                  fuse_ino_t new_parent, const char *new_name, unsigned flags);
} TransientTree;

/* Whether it is a directory with a tree, or something in one. */
bool transient_has (Mount *mount, fuse_ino_t ino);

/* That node. ESTALE: it is none, or nobody knows it any more. */
TransientNode *transient_take (Mount *mount, fuse_ino_t ino, GError **error);

/* Finds a name in such a directory. What is no message has its entry in `*out_entry`, and counts as
 * told to the kernel: it is to be answered with that. */
bool transient_find (Mount *mount, fuse_ino_t ino, const char *name, TransientEntry *out,
                     struct fuse_entry_param *out_entry, GError **error);

bool transient_list (Mount *mount, fuse_ino_t ino, off_t after, ControlAddFunc add, void *data,
                     GError **error);
bool transient_attr (Mount *mount, fuse_ino_t ino, struct stat *out, GError **error);
void transient_read (fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset);
char *transient_path (Mount *mount, fuse_ino_t ino); /* below the mountpoint, for people */

/* The name that list() added last with that cookie, if that is not too long ago; else NULL. Owned
 * by the caller. For a tree whose cookies do not tell names: listings are resumed there, as a rule.
 */
char *transient_recall (Mount *mount, const TransientNode *directory, off_t cookie);

Transients *transients_new (void);
void transients_free (Transients *self);

/* The kernel forgets, or was not told of, a node of which it was to be told so often. For any
 * inode. */
void transients_forget (Mount *mount, fuse_ino_t ino, uint64_t count);

/* ---- lost.c: lost and found ---------------------------------------------------------------- */

extern const TransientTree lost_tree;

/* ---- parts.c: what is inside messages ------------------------------------------------------ */

extern const TransientTree parts_tree;

Parts *parts_new (void);
void parts_free (Parts *self);

/* ---- search.c: directories of what was found ----------------------------------------------- */

extern const TransientTree search_tree;

Searches *searches_new (Mount *mount);
void searches_stop (Searches *self); /* what is being looked for is given up */
void searches_free (Searches *self);
