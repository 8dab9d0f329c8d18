#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The control directory: hidden, exact in size, readable by everything, never acting on a look.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
start -f
ctl=$mnt/.ctl

# Not listed, but there.
expect_equal "$(ls -A "$mnt")" example.com
expect_equal "$(find "$mnt" -name '.ctl*')" ''
for name in README version health status status.json ctl check repair reconstruct; do
  expect [ -f "$ctl/$name" ]
done
expect_equal "$(stat -c '%F %a %h' "$ctl")" 'directory 750 1'
expect_equal "$(stat -c '%F %a %h' "$ctl/status")" 'regular file 440 1'
expect_equal "$(stat -c %i "$ctl"/* "$ctl" "$mnt" | sort | uniq -d)" ''
expect_error ENOENT stat "$ctl/nonsense"
expect_equal "$(find "$inbox" -maxdepth 1 -name '.*')" ''
expect_equal "$(<"$inbox/.ctl/repair")" idle
expect_error ENOENT stat "$inbox/.ctl/health"

expect_equal "$(<"$ctl/version")" "$(mailfs -V | sed 's/, .*//') abi 1"
expect_equal "$(<"$ctl/health")" ok
expect [ "$(wc -L <"$ctl/README")" -le 80 ]
expect_equal "$(status_of store)" "$store"
expect_equal "$(status_of mountpoint)" "$mnt"
expect_equal "$(status_of pid)" "$daemon"
expect_equal "$(status_of domains) $(status_of users) $(status_of mailboxes)" '1 1 3'
expect_equal "$(status_of messages) $(status_of damaged_here) $(status_of failures)" '8 0 0'
expect_equal "$(status_of uuid)" "$(sed -n 's/^uuid *= *//p' "$store/mailfs.conf")"
expect_equal "$(sed '/^\S* [^ ]/d' "$ctl/status")" ''

# status.json says the same; the figures of requests move on.
sleep 0.2
python3 - "$ctl" <<'PYTHON' || complain_here 'status.json'
import json, sys
text = dict(line.rstrip('\n').split(' ', 1) for line in open(sys.argv[1] + '/status'))
data = json.load(open(sys.argv[1] + '/status.json'))
assert list(text) == list(data)
assert all(text[key] == str(data[key]) for key in data if key != 'requests')
assert isinstance(data['messages'], int) and isinstance(data['store'], str)
PYTHON

# Every reader gets as many bytes as it was told of, and the same ones.
for name in README version health status.json status; do
  file=$ctl/$name
  sleep 0.15
  size=$(stat -c %s "$file")
  cat "$file" >"$work/cat"
  expect_equal "$(stat -c %s "$work/cat")" "$size" "$name"
  cp "$file" "$work/cp"
  dd if="$file" of="$work/dd" bs=7 status=none
  tail -c +1 "$file" >"$work/tail"
  tar -C "$ctl" -cf - "$name" | tar -xOf - >"$work/tar"
  rsync -a "$file" "$work/rsync"
  python3 - "$file" "$work/mmap" "$work/splice" <<'PYTHON'
import mmap, os, sys
with open(sys.argv[1], 'rb') as file, open(sys.argv[2], 'wb') as out:
    out.write(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:])
with open(sys.argv[1], 'rb') as file, open(sys.argv[3], 'wb') as out:
    read, write = os.pipe()
    while (count := os.splice(file.fileno(), write, 4096)) > 0:
        out.write(os.read(read, count))
PYTHON
  for way in cp dd tail tar rsync mmap splice; do
    expect [ -s "$work/$way" ]
    [ "$name" == status ] || [ "$name" == status.json ] || expect cmp "$work/cat" "$work/$way"
    expect_equal "$(head -n 1 "$work/$way")" "$(head -n 1 "$work/cat")" "$way"
  done
done

# The size that fstat tells is what is read, while the figures change.
python3 - "$ctl/status" "$inbox" <<'PYTHON' || complain_here 'size and content of a changing file'
import os, sys, time
contents = set()
for round in range(15):
    for other in range(10 ** (round % 4)):
        os.getxattr(sys.argv[2], 'user.mailfs.messages')
    fd = os.open(sys.argv[1], os.O_RDONLY)
    told = os.fstat(fd)
    parts = []
    while part := os.read(fd, 100):
        parts.append(part)
    content = b''.join(parts)
    assert len(content) == told.st_size, (len(content), told.st_size)
    assert content.count(b'\nrequests ') == 1 and content.endswith(b'\n')
    os.close(fd)
    contents.add((content, told.st_mtime_ns))
    time.sleep(0.12)
assert len(contents) == 15 and len({mtime for _, mtime in contents}) == 15
PYTHON

# What stays the same keeps its mtime.
before=$(stat -c '%y %s' "$ctl/README" "$ctl/health")
sleep 0.2
expect_equal "$(stat -c '%y %s' "$ctl/README" "$ctl/health")" "$before"

# The census follows, if not at once.
mailstore -q deliver joe@example.com <"$sample/01-welcome.eml" >"$work/out"
messages() {
  [ "$(status_of messages)" -eq "$1" ]
}
sleep 3
within 2000 messages 9

# Nothing here can be changed.
for name in README status; do
  expect_error EPERM write_to "$ctl/$name"
  expect_error EPERM append_to "$ctl/$name"
  expect_error EPERM chmod 600 "$ctl/$name"
  expect_error EPERM rm -f "$ctl/$name"
  expect_error EPERM mv "$ctl/$name" "$ctl/other"
done
expect_error EPERM touch "$ctl/other"
expect_error EPERM mkdir "$ctl/other"
expect_error EEXIST mkdir "$ctl"
expect_error EPERM rmdir "$ctl"
expect_error EPERM mv "$ctl" "$mnt/other"
expect_error EPERM ln "$ctl/status" "$ctl/other"
expect_error EISDIR cat "$ctl"
stop

start -f -o ctl=visible,ctldir=.mailfs
expect_equal "$(ls -A "$mnt")" $'.mailfs\nexample.com'
expect_equal "$(find "$inbox" -maxdepth 1 -name '.*')" "$inbox/.mailfs"
expect [ -f "$mnt/.mailfs/status" ]
expect_error ENOENT stat "$mnt/.ctl"
expect cat "$mnt/.mailfs/version" >"$work/out"
stop
start -f -o ctl=off
expect_error ENOENT stat "$mnt/.ctl"
expect_equal "$(ls -A "$mnt")" example.com
stop
