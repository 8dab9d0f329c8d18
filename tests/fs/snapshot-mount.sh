#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# -o snapshot: a snapshot mounted by itself, with the inode numbers of the store, for backups.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store

# Names, numbers, sizes, dates, attributes and bytes.
look() {
  (
    cd "$mnt"
    find . -printf '%P %i %y %m %s %T@ %C@\n' | sort
    find . -print0 | sort -z | xargs -0 getfattr -d -m - 2>/dev/null
    find . -type f -print0 | sort -z | xargs -0 sha256sum
  )
}
same() {
  look | diff "$work/$1" - >"$work/diff" || complain_here "$2: not as it was: $(head -5 "$work/diff")"
}
# The other way round, for within.
fails() {
  ! "$@"
}
snapshots() {
  ls -A "$store/snapshots" 2>/dev/null || true
}
are_snapshots() {
  [ "$(snapshots)" == "$1" ]
}
deliver() {
  printf 'Subject: %s\n\n%s\n' "$1" "$1" | mailstore -q deliver joe@example.com >"$work/out"
}

start -f -o worker=off
look >"$work/monday"
mkdir "$mnt/.ctl/snapshots/monday"
deliver tuesday
mailstore -q flag joe@example.com 1 +Flagged
mailstore -q expunge joe@example.com/INBOX --uid 2 >"$work/out"
stop
start -f -o worker=off
look >"$work/tuesday"
mkdir "$mnt/.ctl/snapshots/tuesday"
stop

# The store as it was, in the place of the store as it is.
for options in snapshot=monday ro,snapshot=monday rw,snapshot=monday snapshot=monday,data=ro,ctl=off; do
  start -f -o "$options"
  same monday "$options"
  expect grep -q " $mnt fuse.mailfs ro," /proc/mounts
  expect_error EROFS touch "$mnt/example.com/x"
  stop
done
start -f -o snapshot=latest
same tuesday 'the latest'

# It has few control files, which tell of the snapshot, and none can be written.
expect_equal "$(ls -A "$mnt/.ctl")" \
  "$(printf '%s\n' README export.jsonl health manifest.json manifest.sha256 parts status status.json version)"
expect_equal "$(ls -A "$inbox/.ctl")" "$(printf '%s\n' export.jsonl manifest.json manifest.sha256 status status.json)"
expect_equal "$(find "$mnt/.ctl" "$inbox/.ctl" -type f -perm /222)" ''
expect_error ENOENT ls "$mnt/.ctl/snapshots"
expect_error ENOENT ls "$mnt/.ctl/ctl"
expect_error EROFS write_to "$mnt/.ctl/README"
expect_error EROFS setfattr -n user.mailfs.cmd.check -v 1 "$inbox"
expect_error EROFS setfattr -n user.mailfs.flags -v x "$inbox/0000000001.eml"
expect_equal "$(<"$mnt/.ctl/health")" ok
expect_equal "$(status_of snapshot)" tuesday
expect_equal "$(status_of access)" ro
expect_equal "$(status_of messages)" "$(find "$mnt" -name '*.eml' | wc -l)"
expect python3 -c 'import json, sys; assert json.load(open(sys.argv[1]))["snapshot"] == "tuesday"' "$mnt/.ctl/status.json"
expect grep -q 'OF A SNAPSHOT' "$mnt/.ctl/README"
(cd "$mnt" && sha256sum --quiet -c .ctl/manifest.sha256) || complain_here 'the manifest'
expect_equal "$(grep -c '"type":"message"' "$mnt/.ctl/export.jsonl")" "$(find "$mnt" -name '*.eml' | wc -l)"

# mailstore reads mail through it; of all else it says where that can be done.
expect_equal "$(mailstore -v -s "$mnt" list 2>/dev/null)" "$(mailstore --snapshot tuesday list)"
for words in check report jobs queue 'snapshot list' 'top --once' '--snapshot monday list'; do
  status=0
  # shellcheck disable=SC2086 # they are several
  mailstore -s "$mnt" $words >"$work/out" 2>"$work/err" || status=$?
  expect_equal "$status" 69 "$words"
  expect grep -q -F "wants the store itself, $store, not the mount of its snapshot 'tuesday'" "$work/err"
done

# What happens to the store does not reach it: neither what is shown, nor what the kernel keeps.
deliver wednesday
mailstore -q flag joe@example.com 1 =Seen
mailstore -q mailbox rename joe@example.com/Lists joe@example.com/Elsewhere >"$work/out"
same tuesday 'after changes'
find "$mnt/example.com" -type f -exec cat '{}' + >"$work/out"
before=$(requests)
mailstore -q mailbox remove --recursive joe@example.com/Elsewhere >"$work/out"
mailstore -q flag joe@example.com 1 =Answered
requests >"$work/out"
find "$mnt/example.com" -type f -exec cat '{}' + >"$work/out"
expect [ $(($(requests) - before)) -le 20 ]
same tuesday 'after a removal'

# When it is dropped there is nothing: no empty directory, which a backup would take for the truth.
mailfs -f -o worker=off "$store" "$work/other" 2>"$work/log.other" || true
mkdir "$work/other"
mounts+=("$work/other")
mailfs -o worker=off "$store" "$work/other"
rmdir "$work/other/.ctl/snapshots/tuesday"
within 20000 fails ls "$mnt"
expect_error ESTALE ls "$mnt"
expect_error ESTALE stat "$inbox"
expect_error ESTALE cat "$inbox/0000000001.eml"
umount "$work/other"
stop

# A snapshot that ends with the mount, however the daemon ends.
start -f -o snapshot=new
expect [ "$(snapshots | grep -c '^mount-')" -eq 1 ]
expect_equal "$(status_of snapshot)" "$(snapshots | grep '^mount-')"
look >"$work/new"
deliver thursday
same new 'a new one'
stop
expect_equal "$(snapshots)" monday
start -f -o snapshot=new
kill -TERM "$daemon"
end_daemon 0
expect_equal "$(snapshots)" monday
mailfs -o snapshot=new "$store" "$mnt"
expect [ "$(snapshots | wc -l)" -eq 2 ]
umount "$mnt"
within 10000 are_snapshots monday

# One that was killed leaves it; the next one drops it, but none whose mount is alive.
start -f -o snapshot=new
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
umount "$mnt"
left=$(snapshots | grep '^mount-')
expect [ -n "$left" ]
mailfs -o snapshot=new "$store" "$work/other"
expect_equal "$(snapshots | grep -cFx -- "$left")" 0
alive=$(snapshots | grep '^mount-')
start -f -o snapshot=new
expect [ "$(snapshots | grep -c '^mount-')" -eq 2 ]
expect_equal "$(snapshots | grep -cFx -- "$alive")" 1
stop
expect_equal "$(snapshots | grep '^mount-')" "$alive"

# Who gives it another name keeps it.
start -f -o worker=off
mv "$mnt/.ctl/snapshots/$alive" "$mnt/.ctl/snapshots/kept"
stop
umount "$work/other"
within 10000 fails pgrep -f "snapshot=new $store"
expect_equal "$(snapshots)" $'kept\nmonday'

# A mount that fails takes none, or drops it again.
refused() {
  local text=$1 code=0
  shift
  timeout 60 mailfs "$@" 2>"$work/err" || code=$?
  expect [ "$code" -eq 1 ]
  expect grep -q -- "$text" "$work/err"
}
refused "no snapshot 'nothing'" -f -o snapshot=nothing "$store" "$mnt"
refused 'a name is needed' -f -o snapshot= "$store" "$mnt"
refused "no snapshot 'a.x1bb'" -f -o snapshot=$'a\eb' "$store" "$mnt"
refused '' -f -o snapshot=new,nosuchoption "$store" "$mnt"
expect_equal "$(snapshots)" $'kept\nmonday'
