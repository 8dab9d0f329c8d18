#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# fsck.mailfs: the options that fsck(8) and init scripts use, and the bits of its exit status.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

setfattr -n user.test -v 1 "$work" 2>/dev/null || skip 'the filesystem keeps no user attributes'

inbox=$store/mail/example.com/user/joe/INBOX
mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com

# fsck STATUS ARGS...
fsck() {
  status=0
  fsck.mailfs "${@:2}" >"$work/out" 2>"$work/err" </dev/null || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
  [ "$status" -eq "$1" ] || complain "fsck.mailfs ${*:2}: exit status $status, not $1"
}

# Nothing is wrong: 0, whatever is asked for.
for options in '' -a -p -n -y -f -v '-a -p' '-fy' '-C' '-C0' '-C 0' '-t mailfs' '-T' '-p -C0 -t fuse.mailfs'; do
  read -ra words <<<"$options"
  fsck 0 "${words[@]}" -- "$store"
  expect_out "$store: clean, 3 mailboxes, 8 messages"
done
fsck 0 "mailfs#$store"
fsck 0 -V
expect_out 'fsck.mailfs '

# Wrong use: 16.
fsck 16
fsck 16 -n -y "$store"
fsck 16 -p -n "$store"
fsck 16 -x "$store"
fsck 16 "$store" "$store"
expect_err 'usage: fsck.mailfs'

# No store, or one that cannot be read: 8.
fsck 8 "$work/none"
expect_err 'fsck.mailfs: open store '
fsck 8 -p "$work"
expect_err 'not a mail store'
mv "$store/mailfs.conf" "$work/kept.conf"
fsck 8 -p "$store"
expect_err 'has mail, but no mailfs.conf'
mv "$work/kept.conf" "$store/mailfs.conf"
if [ "$(id -u)" -eq 0 ]; then
  status=0
  as_nobody env PATH="$PATH" fsck.mailfs -n "$store" 2>/dev/null || status=$?
  expect_status 8
fi

# Something is wrong: -n tells and leaves it, and so does who cannot ask; -p mends it.
rm "$store/index/example.com/user/joe.sqlite3"
for options in -n ''; do
  fsck 4 ${options:+"$options"} "$store"
  expect_out 'missing-index      example.com/user/joe'
  expect_out "$store: 1 left"
done
[ ! -e "$store/index/example.com/user/joe.sqlite3" ] || complain 'a look made an index'
fsck 1 -p "$store"
expect_out "fixed, 0 left"
fsck 0 -n "$store"

# What cannot be mended is left: 4; with something that can: 5. Modes are mended when all is.
date=$(stat -c @%Y "$inbox/0000000001.eml")
truncate -s 10 "$inbox/0000000001.eml"
touch -d "$date" "$inbox/0000000001.eml"
fsck 4 -a "$store"
expect_out 'truncated          example.com/user/joe/INBOX/0000000001.eml'
mkdir "$store/tmp/1.dead"
touch "$store/tmp/1.dead/0"
fsck 5 -a "$store"
chmod 400 "$inbox/0000000002.eml"
fsck 4 -a "$store"
expect_out permission
fsck 5 -y "$store"
expect_out '(fixed)'
fsck 4 -n "$store"
[[ $out != *permission* ]] || complain 'a mode was not mended'

# -f reads every message.
date=$(stat -c @%Y "$inbox/0000000002.eml")
printf X | dd of="$inbox/0000000002.eml" bs=1 seek=40 conv=notrunc status=none
touch -d "$date" "$inbox/0000000002.eml"
sqlite3 "$store/index/example.com/user/joe.sqlite3" \
  "UPDATE message SET changed_ns = $(stat -c %.9Z "$inbox/0000000002.eml" | tr -d .) WHERE id & 0xffffffff = 2"
fsck 4 -n "$store"
[[ $out != *hash-mismatch* ]] || complain 'every message was read'
fsck 4 -nf "$store"
expect_out 'hash-mismatch      example.com/user/joe/INBOX/0000000002.eml'

# With a terminal it asks, once.
mkdir "$store/tmp/2.dead"
touch "$store/tmp/2.dead/0"
cat >"$work/ask.py" <<'PYTHON'
import os, pty, sys
output = b''
pid, fd = pty.fork()
if pid == 0:
    os.execvp('fsck.mailfs', ['fsck.mailfs', sys.argv[2]])
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    output += data
    if output.endswith(b'[y/N] '):
        os.write(fd, sys.argv[1].encode() + b'\n')
sys.stdout.write(output.decode(errors='replace'))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PYTHON
for answer in n y; do
  status=0
  out=$(python3 -B "$work/ask.py" "$answer" "$store") || status=$?
  [ "$(grep -o 'repair? \[y/N\]' <<<"$out" | wc -l)" -eq 1 ] || complain 'it did not ask once'
  if [ "$answer" == n ]; then
    expect_status 4
    [ -e "$store/tmp/2.dead" ] || complain 'it did not wait for an answer'
  else
    expect_status 5
    [ ! -e "$store/tmp/2.dead" ] || complain 'it did not repair'
  fi
done

# A mounted store is no obstacle.
if [ -e /dev/fuse ]; then
  mount_store
  fsck 4 -p "$store"
  unmount_store
fi

# On a read-only filesystem it can look, but not mend.
if [ "$(id -u)" -eq 0 ] && truncate -s 200M "$work/disk" && mkfs.ext4 -q "$work/disk" &&
  mkdir "$work/fs" && mount -o loop "$work/disk" "$work/fs" 2>/dev/null; then
  mounts+=("$work/fs")
  mailstore -q -s "$work/fs/store" init
  mailstore -q -s "$work/fs/store" import --format eml "$sample" joe@example.com
  mount -o remount,ro "$work/fs"
  fsck 0 -p "$work/fs/store"
  fsck 0 -fn "$work/fs/store"
  mount -o remount,rw "$work/fs"
  rm "$work/fs/store/mail/example.com/user/joe/INBOX/0000000001.eml"
  mount -o remount,ro "$work/fs"
  fsck 4 -n "$work/fs/store"
  expect_out missing-file
  fsck 12 -p "$work/fs/store"
  expect_err 'fsck.mailfs: '
  MAILSTORE=$work/fs/store run repair
  expect_status 73
  expect_one_error
  MAILSTORE=$work/fs/store run repair -n
  expect_status 1
  expect_out missing-file
fi

# A disk without room is told.
if [ "$(id -u)" -eq 0 ] && mkdir "$work/tmpfs" && mount -t tmpfs -o size=32m none "$work/tmpfs" 2>/dev/null; then
  mounts+=("$work/tmpfs")
  mailstore -q -s "$work/tmpfs/store" init
  head -c 40M /dev/zero >"$work/tmpfs/full" 2>/dev/null || true
  fsck 4 -n "$work/tmpfs/store"
  expect_out 'disk-space         ../mail  '
  expect_out 'of 32 MiB are free'
fi
