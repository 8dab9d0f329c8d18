#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The control directories: hidden, exact in size, readable by everything, never acting on a look.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
mailstore -q reconstruct # a job to look at
start -f -o worker=off
ctl=$mnt/.ctl
names() {
  (cd "$1" && printf '%s\n' *) | tr '\n' ' '
}

# Not listed, but there, in every directory.
expect_equal "$(find "$mnt" -name '.?*')" ''
expect_equal "$(ls -A "$mnt")" example.com
for directory in "$mnt" "$mnt/example.com" "$mnt/example.com/user" "$mnt/example.com/user/joe" "$inbox"; do
  expect_equal "$(stat -c '%F %a %h %U' "$directory/.ctl")" 'directory 750 1 root'
  expect_equal "$(stat -c '%a' "$directory/.ctl/status")" 440
  expect_equal "$(stat -c '%a' "$directory/.ctl/repair")" 640
  expect_equal "$(stat -c %i "$directory/.ctl/..")" "$(stat -c %i "$directory")"
done
expect_error ENOENT stat "$ctl/nonsense"
expect_error ENOENT stat "$ctl/.ctl"
expect_error ENOENT stat "$ctl/jobs/.ctl"
expect_error ENOENT stat "$inbox/.ctl/health"
expect_error ENOTDIR stat "$inbox/0000000001.eml/.ctl"
expect_equal "$(stat -c %i "$ctl/config/..") $(stat -c %i "$ctl/jobs/1/..")" \
  "$(stat -c %i "$ctl") $(stat -c %i "$ctl/jobs")"

# What is where. The verbs are the store's commands, but for those that name a directory, or are short.
fixed='README audit config ctl events export.jsonl health jobs last_error manifest.sha256 metrics queue status status.json version '
for name in $fixed check cleanup purge reconstruct repair verify; do
  expect [ -e "$ctl/$name" ]
done
for name in status status.json manifest.sha256 export.jsonl check cleanup expunge purge reconstruct repair undelete verify; do
  expect [ -f "$inbox/.ctl/$name" ]
done
expect [ ! -e "$ctl/expunge" ]
expect [ ! -e "$ctl/backup" ]
expect_equal "$(names "$ctl/jobs")" '1 last '
expect_equal "$(names "$ctl/jobs/1")" 'cancel cmd log progress report.json result state '
find "$ctl" "$inbox/.ctl" >"$work/tree"
expect [ "$(xargs -d '\n' stat -c %i <"$work/tree" | sort | uniq -d)" == '' ]
expect_equal "$(xargs -d '\n' stat -c '%F' <"$work/tree" | sort -u)" $'directory\nregular empty file\nregular file\nsymbolic link'

# The README fits a terminal, and names all that is there.
expect [ "$(wc -L <"$ctl/README")" -lt 80 ]
for name in "$ctl"/*; do
  name=${name##*/}
  expect grep -qE "^${name//+/\\+}\b" "$ctl/README"
done
expect_equal "$(<"$ctl/version")" "$(mailfs -V | sed 's/, .*//') abi 1"
expect_equal "$(<"$ctl/health")" ok
expect_equal "$(status_of store)" "$store"
expect_equal "$(status_of mountpoint)" "$mnt"
expect_equal "$(status_of pid)" "$daemon"
expect_equal "$(status_of domains) $(status_of users) $(status_of mailboxes)" '1 1 3'
expect_equal "$(status_of messages) $(status_of damaged_here) $(status_of failures)" '8 0 0'
expect_equal "$(status_of uuid)" "$(sed -n 's/^uuid *= *//p' "$store/mailfs.conf")"
expect_equal "$(sed '/^\S* [^ ]/d' "$ctl/status")" ''

# The status of a directory is about it and what is below.
expect_equal "$(grep -E '^(path|health|mailboxes|messages) ' "$mnt/example.com/user/joe/.ctl/status")" \
  $'path example.com/user/joe\nhealth ok\nmailboxes 3\nmessages 8'
expect_equal "$(grep -E '^(path|mailboxes|messages) ' "$inbox/.ctl/status")" \
  $'path example.com/user/joe/INBOX\nmailboxes 1\nmessages 5'

# status.json says the same; the figures of requests move on.
within 20000 python3 - "$ctl" "$inbox/.ctl" <<'PYTHON'
import json, sys
for directory in sys.argv[1:]:
    text = dict(line.rstrip('\n').split(' ', 1) for line in open(directory + '/status'))
    data = json.load(open(directory + '/status.json'))
    assert list(text) == list(data)
    assert all(text[key] == str(data[key]) for key in data if key != 'requests')
    assert isinstance(data['messages'], int)
PYTHON

# Every reader gets as many bytes as it was told of, and the same ones: of every file there is.
changing='/(status|status\.json|metrics|manifest\.sha256|manifest\.json|export\.jsonl)$'
find "$ctl/" "$inbox/.ctl/" -type f >"$work/files"
expect [ "$(wc -l <"$work/files")" -gt 50 ]
while read -r file; do
  name=$(basename "$file")
  cat "$file" >"$work/cat"
  expect_equal "$(stat -c %s "$file")" "$(stat -c %s "$work/cat")" "$file"
  cp "$file" "$work/cp"
  dd if="$file" of="$work/dd" bs=7 status=none
  tail -c +1 "$file" >"$work/tail"
  tar -C "$(dirname "$file")" -cf - "$name" | tar -xOf - >"$work/tar"
  rm -f "$work/rsync"
  rsync -a "$file" "$work/rsync"
  python3 - "$file" "$work/mmap" "$work/splice" "$work/sendfile" <<'PYTHON'
import mmap, os, sys
with open(sys.argv[1], 'rb') as file, open(sys.argv[2], 'wb') as out:
    if os.fstat(file.fileno()).st_size > 0:
        out.write(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[:])
with open(sys.argv[1], 'rb') as file, open(sys.argv[3], 'wb') as out:
    read, write = os.pipe()
    while (count := os.splice(file.fileno(), write, 4096)) > 0:
        out.write(os.read(read, count))
with open(sys.argv[1], 'rb') as file, open(sys.argv[4], 'wb') as out:
    while os.sendfile(out.fileno(), file.fileno(), None, 4096) > 0:
        pass
PYTHON
  for way in cp dd tail tar rsync mmap splice sendfile; do
    if [[ $file =~ $changing ]]; then
      expect_equal "$(grep -vE '[0-9]' "$work/$way")" "$(grep -vE '[0-9]' "$work/cat")" "$file, $way"
    else
      expect cmp "$work/cat" "$work/$way"
    fi
  done
done <"$work/files"

# Nobody has asked for anything by that.
expect_equal "$(names "$ctl/jobs")" '1 last '
expect [ ! -s "$ctl/audit" ]
expect [ ! -s "$ctl/last_error" ]

# The size that fstat tells is what is read, while the figures change.
python3 - "$ctl/status" "$inbox" <<'PYTHON' || complain_here 'size and content of a changing file'
import os, sys, time

def look():
    """The size that is told, and the content."""
    fd = os.open(sys.argv[1], os.O_RDONLY)
    told = os.fstat(fd)
    parts = []
    while part := os.read(fd, 100):
        parts.append(part)
    os.close(fd)
    return told, b''.join(parts)

contents, mtimes = set(), set()
for round in range(15):
    for other in range(10 ** (round % 4)):
        os.getxattr(sys.argv[2], 'user.mailfs.messages')
    # On a busy machine the time for which a content is held may run out in between, or be longer. What
    # is read then is another content than that whose mtime was told.
    for attempt in range(200):
        told, content = look()
        whole = content.count(b'\nrequests ') == 1 and content.endswith(b'\n')
        good = len(content) == told.st_size and whole
        if good and content not in contents and told.st_mtime_ns not in mtimes:
            break
        time.sleep(0.05)
    assert good, (told.st_size, content)
    contents.add(content)
    mtimes.add(told.st_mtime_ns)
assert len(contents) == len(mtimes) == 15
PYTHON

# What stays the same keeps its mtime.
before=$(stat -c '%y %s' "$ctl/README" "$ctl/health" "$ctl/jobs" "$ctl")
sleep 0.2
expect_equal "$(stat -c '%y %s' "$ctl/README" "$ctl/health" "$ctl/jobs" "$ctl")" "$before"

# What the store is, and what is in quarantine.
expect_equal "$(<"$ctl/config/uuid")" "$(status_of uuid)"
expect_equal "$(<"$ctl/quarantine.jsonl")" ''
mailstore -q mailbox remove joe@example.com/Lists
sleep 0.15
expect_equal "$(<"$ctl/quarantine.jsonl")" "$(mailstore --json quarantine)"
expect [ -s "$ctl/quarantine.jsonl" ]
allow_log 'job 1: reconstruct'
mailstore -q quarantine restore "$(mailstore --json quarantine | sed 's/.*"path":"\([^"]*\)".*/\1/')"

# The census follows, if not at once.
mailstore -q deliver joe@example.com <"$sample/01-welcome.eml" >"$work/out"
messages() {
  [ "$(status_of messages)" -eq "$1" ]
}
within 20000 messages 9

# The manifest verifies the mail, from the root and from any directory; the export tells the rest.
for directory in "$mnt" "$mnt/example.com/user/joe" "$inbox"; do
  (cd "$directory" && sha256sum --quiet --strict -c .ctl/manifest.sha256) || complain_here "the manifest of $directory"
done
expect_equal "$(grep -c '^[0-9a-f]' "$mnt/.ctl/manifest.sha256") $(grep -c '^[0-9a-f]' "$inbox/.ctl/manifest.sha256")" '9 6'
expect_equal "$(python3 -c '
import json, sys
print(sum(json.loads(line)["type"] == "message" for line in open(sys.argv[1])))' "$ctl/export.jsonl")" 9

# Nothing here can be made, changed or removed.
for name in README status events jobs/1/log config/store; do
  expect_error EPERM write_to "$ctl/$name"
  expect_error EPERM append_to "$ctl/$name"
  expect_error EPERM chmod 600 "$ctl/$name"
  expect_error EPERM rm -f "$ctl/$name"
  expect_error EPERM mv "$ctl/$name" "$ctl/other"
done
for name in repair ctl config/verify jobs/1/cancel; do
  expect_error EPERM chmod 600 "$ctl/$name"
  expect_error EPERM chown nobody "$ctl/$name"
  expect_error EPERM touch -d @5 "$ctl/$name"
  expect_error EPERM rm -f "$ctl/$name"
  expect_error EPERM mv "$ctl/$name" "$ctl/other"
  expect_error EPERM fallocate -l 100 "$ctl/$name"
done
for directory in "$ctl" "$ctl/jobs" "$ctl/jobs/1" "$inbox/.ctl"; do
  expect_error EPERM touch "$directory/other"
  expect_error EPERM mkdir "$directory/other"
  expect_error EPERM ln -s x "$directory/other"
  expect_error EPERM rmdir "$directory"
  expect_error EPERM mv "$directory" "$mnt/other"
done
expect_error EEXIST mkdir "$inbox/.ctl"
expect_error EPERM ln "$ctl/status" "$ctl/other"
expect_error EISDIR cat "$ctl"
expect_error EPERM setfattr -n user.mailfs.flags -v x "$ctl/repair"
stop

# Listed at every level.
start -f -o worker=off,ctl=visible,ctldir=.mailfs
expect_equal "$(ls -A "$mnt")" $'.mailfs\nexample.com'
for directory in "$mnt" "$mnt/example.com" "$inbox"; do
  expect_equal "$(find "$directory" -maxdepth 1 -name '.?*')" "$directory/.mailfs"
done
expect_error ENOENT stat "$mnt/.ctl"
expect grep -q mailfs "$mnt/.mailfs/version"
expect_equal "$(find "$mnt" -name .mailfs | wc -l)" 7
find "$mnt" -type f -exec cat {} + >"$work/out"
stop

# Nowhere.
start -f -o worker=off,ctl=off
for directory in "$mnt" "$inbox"; do
  expect_error ENOENT stat "$directory/.ctl"
  expect_equal "$(find "$directory" -maxdepth 1 -name '.?*')" ''
done
expect_error EROFS mkdir "$mnt/.ctl"
stop
