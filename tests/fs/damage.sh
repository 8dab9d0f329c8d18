#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Damage shows where bytes are read, and nowhere else.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
head -c 3000000 /dev/zero | base64 >"$work/body"
cat "$sample/01-welcome.eml" "$work/body" >"$work/large"
mailstore -q deliver joe@example.com/Large -c <"$work/large" >"$work/out"
files=$store/mail/example.com/user/joe/INBOX
large=$store/mail/example.com/user/joe/Large/0000000001.eml

# Changes a byte and nothing else: neither size nor mtime.
flip() {
  python3 - "$1" "$2" <<'PYTHON'
import os, sys
path, at = sys.argv[1], int(sys.argv[2])
st = os.stat(path)
with open(path, 'r+b') as file:
    file.seek(at)
    byte = file.read(1)
    file.seek(at)
    file.write(bytes([byte[0] ^ 1]))
os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
PYTHON
}
look() {
  (cd "$mnt" && find . -printf '%P %y %i %s %T@\n' | sort)
}
cp -a "$files/0000000004.eml" "$work/good"
start -f -o worker=off
look >"$work/before"
stop

flip "$files/0000000001.eml" 300
truncate -s 200 "$files/0000000002.eml"
: >"$files/0000000003.eml"
flip "$files/0000000004.eml" 10
flip "$large" 3500000
allow_log 'INBOX/000000000[1234]\.eml: |Large/0000000001.eml: '

start -f -o worker=off
look | diff "$work/before" - >"$work/diff" || complain_here "damage shows in the listing: $(<"$work/diff")"
for uid in 1 2 3 4; do
  file=$inbox/000000000$uid.eml
  expect stat "$file" >/dev/null
  expect_error EIO cat "$file"
  expect_error EIO cp "$file" "$work/copy"
  expect_error EIO dd if="$file" of=/dev/null bs=1 count=1 skip=100
  expect_equal "$(getfattr --absolute-names --only-values -n user.mailfs.state "$file")" damaged
  expect [ -n "$(getfattr --absolute-names --only-values -n user.mailfs.damage "$file")" ]
done
expect cmp "$files/0000000005.eml" "$inbox/0000000005.eml"
expect_error EIO cat "$mnt/example.com/user/joe/Large/0000000001.eml"
expect_error EIO dd if="$mnt/example.com/user/joe/Large/0000000001.eml" of=/dev/null bs=4k count=1
for way in find ls tar; do
  case $way in
  find) find "$mnt" -printf '%s\n' >/dev/null || complain_here find ;;
  ls) ls -lR "$mnt" >/dev/null || complain_here ls ;;
  tar) ! tar -cf - -C "$mnt" . 2>"$work/err" >"$work/tar" || complain_here 'tar noticed nothing' ;;
  esac
done
expect_equal "$(grep -c 'Input/output error' "$work/err")" 5
expect_equal "$(status_of damaged_here)" 5
expect_equal "$(<"$mnt/.ctl/health")" damaged

# Where they are damaged.
map() {
  grep -v '^#' "$1/.ctl/damage" | cut -f "$2"
}
expect_equal "$(map "$inbox" 1,2,4 | tr '\t' ' ')" $'1 0 hash-mismatch\n2 200 truncated\n3 0 truncated\n4 0 hash-mismatch\n4 0 bad-header'
expect_equal "$(map "$mnt" 1,2 | tail -n 1)" $'example.com/user/joe/Large\t1'
expect_equal "$(tail -n 1 "$mnt/example.com/.ctl/damage")" '# complete: 6 lines'

# rsync keeps the copies it has, for the damaged ones too.
mkdir -p "$work/backup"
cp -a "$store/mail/." "$work/backup/"
rm -r "$work"/backup/example.com/user/joe/*/.??* 2>/dev/null || true
! rsync -a --delete "$mnt/" "$work/backup/" 2>/dev/null || complain_here 'rsync noticed nothing'
expect [ -e "$work/backup/example.com/user/joe/INBOX/0000000001.eml" ]

# A file that was put right is read again, without a remount.
cp -a "$work/good" "$files/0000000004.eml"
within 20000 cmp "$work/good" "$inbox/0000000004.eml"
expect_equal "$(getfattr --absolute-names --only-values -n user.mailfs.state "$inbox/0000000004.eml")" ok
stop

# A message that was found good is not read twice, but -o verify=always does.
flip "$files/0000000005.eml" 9
allow_log '.'
start -f -o worker=off,verify=never
expect cat "$inbox/0000000005.eml" >/dev/null
expect_equal "$(head -c 200 "$inbox/0000000002.eml" | wc -c)" 200
stop
flip "$files/0000000005.eml" 9
for mode in first always; do
  start -f -o "worker=off,verify=$mode"
  expect cat "$inbox/0000000005.eml" >/dev/null
  flip "$files/0000000005.eml" 9
  echo 1 >/proc/sys/vm/drop_caches
  if [ "$mode" == first ]; then
    expect cat "$inbox/0000000005.eml" >/dev/null
  else
    expect_error EIO cat "$inbox/0000000005.eml"
  fi
  flip "$files/0000000005.eml" 9
  stop
done

# A file that is gone.
start -f -o worker=off
find "$mnt" >/dev/null
rm "$files/0000000005.eml"
expect_error ESTALE cat "$inbox/0000000005.eml"
stop
