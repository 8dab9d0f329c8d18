# SPDX-License-Identifier: Apache-2.0
"""All that there is to a tree, to see that nothing of it has changed."""
import os
import stat


class Changed(Exception):
    pass


def times_of(status):
    """Reading a link, which is how its target is known, may set its access time."""
    accessed = 0 if stat.S_ISLNK(status.st_mode) else status.st_atime_ns
    return accessed, status.st_mtime_ns, status.st_ctime_ns


def content_of(path, mode):
    if stat.S_ISLNK(mode):
        return os.readlink(path)
    if stat.S_ISREG(mode):
        with open(os.open(path, os.O_RDONLY | os.O_NOATIME), "rb") as file:
            return file.read()
    return None


def record(top):
    """Types, owners, modes, times, attributes and bytes, by path."""
    found = {}
    for path, names, files in os.walk(top):
        links = [name for name in names if os.path.islink(os.path.join(path, name))]
        for name in [".", *files, *links]:
            child = os.path.join(path, name)
            status = os.lstat(child)
            attributes = [(key, os.getxattr(child, key, follow_symlinks=False))
                          for key in os.listxattr(child, follow_symlinks=False)]
            found[os.path.relpath(child, top)] = (
                status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_size,
                times_of(status), attributes, content_of(child, status.st_mode))
    return found


def require_same(before, now):
    changed = [path for path in before.keys() | now.keys() if before.get(path) != now.get(path)]
    if changed:
        raise Changed(", ".join(sorted(changed)))
