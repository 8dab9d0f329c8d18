#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The tree: names, sizes, times, owners, modes, inode numbers and bytes, exactly.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
chown -R 1234:5678 "$store"
mailstore -q import --format eml "$sample" joe@example.com >"$work/out"
mailstore -q deliver -c 'Public Folders/News@example.com' <"$sample/03-alternative.eml" >"$work/out"
mailstore -q deliver -c --date @1000000000 jane@example.org/Sent <"$sample/02-unicode.eml" >"$work/out"
mailstore -q deliver -c --date @-5 jane@example.org/Sent <"$sample/01-welcome.eml" >"$work/out"

look() {
  (cd "$mnt" && find . "$@" | sort)
}

start -f
expect_equal "$(findmnt -n -o FSTYPE,SOURCE --mountpoint "$mnt")" "fuse.mailfs $store"

# The same tree as the files', but for what is the store's own.
expect_equal "$(look -printf '%P %y\n')" \
  "$(cd "$store/mail" && find . -name '.?*' -prune -o -printf '%P %y\n' | sort)"
expect_equal "$(look -type f -printf '%P %s %T@ %C@\n')" \
  "$(cd "$store/mail" && find . -type f -name '[0-9]*' -printf '%P %s %T@ %C@\n' | sort)"
expect_equal "$(look -type d -printf '%P %T@\n')" \
  "$(cd "$store/mail" && find . -name '.?*' -prune -o -type d -printf '%P %T@\n' | sort)"
expect diff -r -x '.*' "$store/mail" "$mnt"
expect_equal "$(look -printf '%y %m %n %U:%G\n' | sort -u)" $'d 750 1 1234:5678\nf 640 1 1234:5678'
expect_equal "$(look -type f -printf '%A@ %T@\n' | awk '$1 != $2')" ''
expect_equal "$(stat -c '%Y' "$mnt/example.org/user/jane/Sent/"*)" $'1000000000\n-5'
# The C library lists a directory in pages of its block size.
expect_equal "$(stat -c %o "$mnt" "$mnt/example.org/user/jane/Sent" | sort -u)" 131072
expect_equal "$(look -type f -printf '%s %b\n' | awk '$2 != int(($1 + 511) / 512)')" ''

# Inode numbers: 24 bits number of the directory, 32 bits UID.
python3 - "$mnt" <<'PYTHON' || complain_here 'inode numbers'
import os, sys
seen = {}
for path, directories, files in os.walk(sys.argv[1]):
    inode = os.stat(path).st_ino
    assert path == sys.argv[1] and inode == 1 or (inode & 0xffffffff) == 0 and inode >> 56 == 0, path
    assert seen.setdefault(inode, path) == path
    with os.scandir(path) as entries:
        listed = {entry.name: entry.inode() for entry in entries}
    for name in directories + files:
        assert os.lstat(os.path.join(path, name)).st_ino == listed[name], name
    for name in files:
        assert listed[name] == inode | int(name[:10]), name
PYTHON
python3 - "$mnt" <<'PYTHON' || complain_here '"." and ".."'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def list_all(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    result, buffer = {}, ctypes.create_string_buffer(32768)
    while (count := libc.syscall(217, fd, buffer, len(buffer))) > 0:
        at = 0
        while at < count:
            inode, _, length, _ = struct.unpack_from('=QqHB', buffer, at)
            result[buffer.raw[at + 19:at + length].split(b'\0')[0]] = inode
            at += length
    os.close(fd)
    return result
user = os.path.join(sys.argv[1], 'example.com/user/joe')
for path in (user, os.path.dirname(user), os.path.join(user, 'INBOX')):
    listed = list_all(path)
    assert listed[b'.'] == os.stat(path).st_ino, path
    assert listed[b'..'] == os.stat(os.path.dirname(path)).st_ino, path
PYTHON

# A mailbox holds both messages and mailboxes.
mailstore -q deliver -c joe@example.com/INBOX/Below <"$sample/01-welcome.eml" >"$work/out"
same_names() {
  [ "$(ls "$inbox")" == "$(ls "$store/mail/example.com/user/joe/INBOX")" ]
}
within 20000 same_names

# What is not there.
expect_error ENOENT stat "$inbox/9999999999.eml"
expect_error ENOENT stat "$inbox/4294967295.eml"
expect_error ENOENT stat "$inbox/1.eml"
expect_error ENOENT stat "$inbox/.expunged"
expect_error ENOENT stat "$mnt/mail"
expect_error ENOTDIR stat "$inbox/0000000001.eml/x"
expect_error ENOENT stat "$mnt/0000000001.eml"

# df(1) tells of the filesystem that holds the mail.
expect_equal "$(df --output=size "$mnt" | tail -n 1)" "$(df --output=size "$store" | tail -n 1)"
look -printf '%P %i %s %T@ %C@\n' >"$work/before"
same_tree() {
  look -printf '%P %i %s %T@ %C@\n' | diff "$work/before" - || complain_here "$1"
}
stop

# Nothing depends on the mount or on the index.
start -f -s
same_tree 'mounted again'
stop
rm -rf "$store/index" "$store/mailboxes.sqlite3"
start -f
same_tree 'without an index'
stop

start -f -o uid=77,gid=88,fmode=444,dmode=555
expect_equal "$(look -printf '%y %m %n %U:%G\n' | sort -u)" $'d 555 1 77:88\nf 444 1 77:88'
stop
