#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Mailboxes of any name: each is a directory that can be entered, and says its real name.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
names=('Grüße' 'a b' ' leading' 'trailing ' '.hidden' '..more' '100%' $'tab\there' $'new\nline'
  $'bell\a' '-rf' '0000000001.eml' '*' '?' '"quoted"' "it's" '\backslash' '日本語' '😀' $'e\u0301'
  "$(printf 'x%.0s' $(seq 300))" "$(printf 'ü%.0s' $(seq 200))" '.ctl' 'INBOX.Sub')
for name in "${names[@]}"; do
  mailstore -q deliver -c "joe@example.com/$name" <"$sample/01-welcome.eml" >"$work/out"
done

start -f
python3 - "$mnt/example.com/user/joe" "${names[@]}" <<'PYTHON' || complain_here 'names'
import os, sys
top, wanted = sys.argv[1], set(sys.argv[2:])
shown = {}
for directory in os.listdir(top):
    path = os.path.join(top, directory)
    assert not directory.startswith('.') and len(os.fsencode(directory)) <= 255, directory
    assert os.listdir(path) == ['0000000001.eml'], directory
    assert os.stat(os.path.join(path, '0000000001.eml')).st_size > 0
    try:
        name = os.getxattr(path, 'user.mailfs.name').decode()
    except OSError:
        name = directory
    shown[name] = directory
# In an attribute control bytes are escaped.
wanted = {''.join(f'\\x{ord(c):02x}' if ord(c) < 32 else c for c in name) for name in wanted}
assert set(shown) - {'INBOX'} == wanted, set(shown) ^ wanted
PYTHON

# Listing in pieces of any size, from any place, neither skips nor doubles.
python3 - "$mnt/example.com/user/joe" <<'PYTHON' || complain_here 'listing in pieces'
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def pieces(fd, size):
    buffer = ctypes.create_string_buffer(size)
    while (count := libc.syscall(217, fd, buffer, size)) > 0:
        at = 0
        while at < count:
            inode, cookie, length, _ = struct.unpack_from('=QqHB', buffer, at)
            yield buffer.raw[at + 19:at + length].split(b'\0')[0], cookie
            at += length
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
whole = list(pieces(fd, 65536))
names = [name for name, _ in whole]
assert len(names) == len(set(names)) and len(names) > 20
assert names[:2] == [b'.', b'..'] and names[2:] == sorted(names[2:])
os.lseek(fd, 0, os.SEEK_SET)
assert [name for name, _ in pieces(fd, 300)] == names
for place, (_, cookie) in enumerate(whole):
    os.lseek(fd, cookie, os.SEEK_SET)
    assert [name for name, _ in pieces(fd, 4096)] == names[place + 1:], place
PYTHON
expect_equal "$(find "$mnt/example.com/user/joe" -name '*.eml' -type f | wc -l)" ${#names[@]}
rsync -a "$mnt/" "$work/copy/"
expect diff -r "$mnt" "$work/copy"
stop
