#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Without an index, or with garbage in its place, the same tree is served from the files.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
mailstore flag joe@example.com 1 +Seen +Work
index=$(find "$store/index" -name 'joe.sqlite3')

look() {
  (
    cd "$mnt"
    find . -printf '%P %y %i %m %s %T@ %C@\n' | sort
    find . -print0 | sort -z | xargs -0 getfattr -d -m - 2>/dev/null
    find . -type f -print0 | sort -z | xargs -0 sha256sum
  )
}
check_same() {
  look | diff "$work/before" - >"$work/diff" || complain_here "$1: another tree: $(head "$work/diff")"
}
start -f -o worker=off
look >"$work/before"
cp "$index" "$work/index"

# Under a running mount: what the kernel keeps stays right, and what it asks for comes from the files.
rm "$index"
check_same 'index removed under the mount'
stop
allow_log '.'

garbage() {
  head -c 100000 /dev/urandom >"$1"
}
empty() {
  : >"$1"
}
torn() {
  head -c 5000 "$work/index" >"$1"
}
overwritten() {
  cp "$work/index" "$1"
  dd if=/dev/urandom of="$1" bs=1k seek=5 count=20 conv=notrunc status=none
}
for kind in garbage empty torn overwritten; do
  for options in rw ro; do
    rm -f "$index"
    "$kind" "$index"
    start -f -o "worker=off,$options"
    check_same "$kind, $options"
    [ "$kind" == overwritten ] || expect_equal "$(<"$mnt/.ctl/health")" degraded "$kind, $options"
    stop
  done
done

# The mailbox list too.
for kind in garbage empty; do
  "$kind" "$store/mailboxes.sqlite3"
  start -f -o ro
  check_same "mailbox list $kind, ro"
  stop
  start -f -o worker=off
  check_same "mailbox list $kind"
  stop
  rm -f "$store"/mailboxes.sqlite3.damaged*
done
rm -rf "$store/index" "$store/mailboxes.sqlite3"
start -f -o worker=off
check_same 'nothing but files'
stop
mailstore -q reconstruct
start -f -o worker=off
check_same 'rebuilt'
expect_equal "$(<"$mnt/.ctl/health")" ok

# A rebuild under the mount changes nothing that was seen.
mailstore -q reset joe@example.com
check_same 'reset under the mount'
mailstore -q reconstruct
check_same 'rebuilt under the mount'
stop
