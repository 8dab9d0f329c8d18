# SPDX-License-Identifier: Apache-2.0
"""Prints all that can be known of a tree, a line for each file: bytes, attributes, and all of
stat(2), access times too. Looking leaves none itself, so this wants to be root."""
import hashlib
import os
import stat
import sys

QUIET = os.O_RDONLY | os.O_NOATIME | os.O_NOFOLLOW | os.O_NONBLOCK


def attributes(path):
    names = sorted(os.listxattr(path, follow_symlinks=False))
    return [(name, os.getxattr(path, name, follow_symlinks=False)) for name in names]


def digest(path):
    sha256 = hashlib.sha256()
    fd = os.open(path, QUIET)
    try:
        while block := os.read(fd, 1 << 20):
            sha256.update(block)
    except OSError as error:
        sha256.update(str(error).encode())
    finally:
        os.close(fd)
    return sha256.hexdigest()


def record(path):
    st = os.lstat(path)
    what = ''
    if stat.S_ISLNK(st.st_mode):
        what = os.readlink(path)
    elif stat.S_ISREG(st.st_mode):
        what = digest(path)
    times = st.st_mtime_ns, st.st_ctime_ns
    # Reading where a link leads leaves an access time on the link, also for this.
    if not stat.S_ISLNK(st.st_mode):
        times += (st.st_atime_ns,)
    print(repr(path), oct(st.st_mode), st.st_ino, st.st_nlink, st.st_uid, st.st_gid, st.st_size,
          st.st_blocks, *times, what, attributes(path))
    if stat.S_ISDIR(st.st_mode):
        fd = os.open(path, QUIET | os.O_DIRECTORY)
        try:
            names = sorted(os.listdir(fd))
        finally:
            os.close(fd)
        for name in names:
            record(os.path.join(path, name))


record(os.fsencode(sys.argv[1]).decode(errors='surrogateescape'))
