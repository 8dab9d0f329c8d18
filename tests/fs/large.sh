#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A mailbox of 100,000 messages: listed whole, in pieces, while mail comes in, in little memory.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

count=100000
[ -z "${MAILFS_SANITIZE:-}" ] || count=5000
python3 - "$work/old.mbox" "$count" <<'PYTHON'
import sys
with open(sys.argv[1], 'w') as out:
    for number in range(int(sys.argv[2])):
        out.write('From joe Mon Jun  3 08:15:00 2024\nSubject: %d\n\n%d\n\n' % (number, number))
PYTHON
mailstore -q init
mailstore -q import --format mbox "$work/old.mbox" joe@example.com/Large >"$work/out"
box=$mnt/example.com/user/joe/Large

start -f
python3 - "$box" "$count" <<'PYTHON' || complain_here 'listing'
import os, sys, time
count = int(sys.argv[2])
names = os.listdir(sys.argv[1])
assert len(names) == count and len(set(names)) == count
assert sorted(names) == ['%010u.eml' % uid for uid in range(1, count + 1)]
PYTHON
expect_equal "$(find "$box" -name '*.eml' -size +0 | wc -l)" "$count"

# Deliveries while a listing is under way: every message that was there is listed once.
python3 - "$box" "$count" "$sample/01-welcome.eml" <<'PYTHON' || complain_here 'listing under deliveries'
import ctypes, os, struct, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
buffer = ctypes.create_string_buffer(32768)
names, rounds = [], 0
while (size := libc.syscall(217, fd, buffer, len(buffer))) > 0:
    at = 0
    while at < size:
        length = struct.unpack_from('=H', buffer, at + 16)[0]
        names.append(buffer.raw[at + 19:at + length].split(b'\0')[0])
        at += length
    if rounds % 20 == 0 and rounds < 100:
        with open(sys.argv[3], 'rb') as message:
            subprocess.run(['mailstore', '-q', 'deliver', 'joe@example.com/Large'], stdin=message, check=True,
                           stdout=subprocess.DEVNULL)
    rounds += 1
assert len(names) == len(set(names)), 'doubled'
old = {b'%010u.eml' % uid for uid in range(1, int(sys.argv[2]) + 1)}
assert old <= set(names), 'skipped'
PYTHON

if [ -z "${MAILFS_SANITIZE:-}" ]; then
  expect [ "$(awk '/VmHWM/ { print $2 }' "/proc/$daemon/status")" -lt 65536 ]
fi
stop
