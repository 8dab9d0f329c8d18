#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""dump.py MOUNT [PATH...]: all that a mount shows, a line for each name: inode number, mode, links, owner, size,
time, digest of the bytes, attributes. Of each PATH, below the mount, the time is left out: something was put into
that directory, and it tells when."""
import hashlib
import os
import stat
import sys

top, timeless = sys.argv[1], set(sys.argv[2:])


def show(path):
    name = os.path.relpath(path, top)
    info = os.lstat(path)
    attributes = {key: os.getxattr(path, key).decode() for key in sorted(os.listxattr(path))}
    file = stat.S_ISREG(info.st_mode)
    digest = hashlib.sha256(open(path, 'rb').read()).hexdigest() if file else '-'
    time = '-' if name in timeless else info.st_mtime_ns
    print(ascii(name), info.st_ino, oct(info.st_mode), info.st_nlink, info.st_uid, info.st_gid,
          info.st_size if file else '-', time, digest, attributes)


for directory, below, files in os.walk(top):
    below.sort()
    show(directory)
    for name in sorted(files):
        show(os.path.join(directory, name))
