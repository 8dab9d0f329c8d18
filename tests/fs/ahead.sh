#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Reading ahead: who reads a mailbox in order finds the next messages in the kernel's page cache, and only good ones.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

count=300
python3 - "$work/old.mbox" "$count" <<'PYTHON'
import random, sys
chance = random.Random(1)
with open(sys.argv[1], 'w') as out:
    for number in range(int(sys.argv[2])):
        lines = chance.choice((1, 100, 118, 1000)) if number % 50 else 5000
        out.write('From joe Mon Jun  3 08:15:00 2024\nSubject: %d\n\n' % number)
        out.writelines('line %d of %d\n' % (line, number) for line in range(lines))
        out.write('\n')
PYTHON
mailstore -q init
mailstore -q import --format mbox "$work/old.mbox" joe@example.com/Old >"$work/out"
old=$mnt/example.com/user/joe/Old
files=$store/mail/example.com/user/joe/Old
name() {
  printf '%010u.eml' "$1"
}

# is_cached FILE: whether the kernel has all pages of it, which it tells without asking the daemon.
is_cached() {
  python3 - "$1" <<'PYTHON'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd).st_size
pages = ctypes.create_string_buffer((size + 4095) // 4096)
at = libc.mmap(None, ctypes.c_size_t(size), 1, 1, fd, ctypes.c_long(0))
assert libc.mincore(ctypes.c_void_p(at), ctypes.c_size_t(size), pages) == 0
sys.exit(not all(page[0] & 1 for page in [pages.raw[i:i + 1] for i in range(len(pages))]))
PYTHON
}
# read_all ORDER: every message, in that order of UIDs, must be what lies in the store.
read_all() {
  python3 - "$1" "$old" "$files" <<'PYTHON' || complain_here "read $1"
import os, random, sys
order, shown, stored = sys.argv[1:]
names = sorted(os.listdir(shown))
if order == 'backwards':
    names.reverse()
elif order == 'shuffled':
    random.Random(2).shuffle(names)
for name in names:
    with open(os.path.join(shown, name), 'rb') as one, open(os.path.join(stored, name), 'rb') as other:
        assert one.read() == other.read(), name
PYTHON
}
asked() {
  local before
  before=$(requests)
  "$@"
  echo $(($(requests) - before))
}

# The first two messages in a row begin it; the pages come with the right bytes, and need no daemon.
start -f -o worker=off
ls "$old" >/dev/null
expect [ "$(cat "$old/$(name 10)" "$old/$(name 11)" | wc -l)" -gt 2 ]
within 10000 is_cached "$old/$(name 13)"
kill -STOP "$daemon"
timeout 60 cat "$old/$(name 13)" | cmp - "$files/$(name 13)" || complain_here 'the daemon was asked'
kill -CONT "$daemon"
read_all forwards
stop

# Who does not read in order gets the same, and nothing in advance; nor does who wants all to be verified each time.
for mode in first,backwards always,forwards; do
  start -f -o "worker=off,verify=${mode%,*}"
  expect [ "$(asked read_all "${mode#*,}")" -ge "$count" ]
  stop
done
for mode in first never; do
  for order in forwards shuffled; do
    start -f -o "ro,verify=$mode"
    read_all "$order"
    stop
  done
done

# Two at a time, in one thread.
start -f -s
read_all forwards &
read_all forwards
wait %?read_all
stop

# What is damaged is not put there. The messages of a batch are, from the last to the first.
python3 - "$files/$(name 14)" <<'PYTHON'
import os, sys
st = os.stat(sys.argv[1])
with open(sys.argv[1], 'r+b') as file:
    file.write(b'x')
os.utime(sys.argv[1], ns=(st.st_atime_ns, st.st_mtime_ns))
PYTHON
cp -a "$files/$(name 15)" "$work/saved"
truncate -s -1 "$files/$(name 15)"
allow_log 'Old/000000001[45]\.eml: '
start -f -o worker=off
ls "$old" >/dev/null
for uid in 10 11 12 13; do
  cat "$old/$(name "$uid")" >/dev/null
done
within 10000 is_cached "$old/$(name 16)"
for uid in 14 15; do
  ! is_cached "$old/$(name "$uid")" || complain_here "damaged message $uid is in the page cache"
  expect_error EIO cat "$old/$(name "$uid")"
done
expect cmp "$files/$(name 16)" "$old/$(name 16)"
cp -a "$work/saved" "$files/$(name 15)"
within 20000 cmp "$work/saved" "$old/$(name 15)"
stop
rm "$files/$(name 14)"

# A mailbox without an index; and what comes and goes while it is being read.
rm -r "$store/index"
start -f -o ro
read_all forwards
stop
start -f -o worker=off
python3 - "$old" "$files" "$sample/01-welcome.eml" <<'PYTHON' || complain_here 'reading while it changes'
import os, subprocess, sys
shown, stored, sample = sys.argv[1:]
names = sorted(os.listdir(shown))
for i, name in enumerate(names):
    if i % 20 == 10:
        os.unlink(os.path.join(stored, names[i + 5]))
        with open(sample, 'rb') as message:
            subprocess.run(['mailstore', '-q', 'deliver', 'joe@example.com/Old'], stdin=message, check=True,
                           stdout=subprocess.DEVNULL)
    if i % 20 == 15 and i > 10:
        continue
    with open(os.path.join(shown, name), 'rb') as one, open(os.path.join(stored, name), 'rb') as other:
        assert one.read() == other.read(), name
PYTHON
stop

# What the kernel has forgotten meanwhile it does not take, which is no matter and is not told.
start -f -o worker=off
python3 - "$old" <<'PYTHON' || complain_here 'reading while the kernel forgets'
import os, sys
for i, name in enumerate(sorted(os.listdir(sys.argv[1]))):
    with open(os.path.join(sys.argv[1], name), 'rb') as one:
        one.read()
    if i % 3 == 2:
        with open('/proc/sys/vm/drop_caches', 'w') as drop:
            drop.write('2')
PYTHON
stop

# The end may come at any moment of a walk.
for _ in 1 2 3 4 5; do
  start -f -o worker=off
  find "$mnt" -name '*.eml' -exec cat {} + >/dev/null 2>&1 &
  reader=$!
  until [ "$(status_of requests)" -gt 50 ]; do :; done
  kill -TERM "$daemon"
  wait "$reader" || true
  end_daemon 0
done
