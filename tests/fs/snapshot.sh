#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Snapshots in the control directory: taken, looked at, renamed and dropped, with a trail of each.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
mailstore -q flag joe@example.com 1 +Seen +Work
mailstore -q mailbox create 'joe@example.com/Old Things/2025' >"$work/out"
mailstore -q mailbox subscribe joe@example.com/Lists >"$work/out"
mailstore -q expunge joe@example.com/Receipts --uid 1 >"$work/out"
snapshots=$mnt/.ctl/snapshots

# All that can be seen of a tree, but for inode numbers.
look() {
  (
    cd "$1"
    find . -printf '%P %y %m %u %s %T@ %C@\n' | sort
    find . -print0 | sort -z | xargs -0 getfattr -d -m - 2>/dev/null
    for name in uid internaldate modseq envelope bodystructure sha256 messages unseen bytes; do
      find . -print0 | sort -z | xargs -0 getfattr -n "user.mailfs.$name" 2>/dev/null || true
    done
    find . -type f -print0 | sort -z | xargs -0 sha256sum
  )
}
same() {
  look "$2" | diff "$work/$1" - >"$work/diff" || complain_here "$3: not as it was: $(head -5 "$work/diff")"
}
rename() {
  python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$@"
}
inodes() {
  (cd "$1" && find . -printf '%P %i\n' | sort)
}

start -f -o worker=off
expect_equal "$(ls -A "$snapshots")" ''
expect_error ENOENT stat "$snapshots/latest"
look "$mnt" >"$work/first"
mkdir "$snapshots/first"
expect_equal "$(ls -A "$snapshots")" $'first\nlatest'
expect_equal "$(readlink "$snapshots/latest")" first
same first "$snapshots/first" 'just taken'
same first "$snapshots/latest" 'by the link'
same first "$mnt" 'the store itself'

# Everything changes.
printf 'Subject: new\n\nnew\n' | mailstore -q deliver joe@example.com >"$work/out"
mailstore -q flag joe@example.com 1,2 =Flagged,Other
setfattr -n user.mailfs.flags -v '\Answered' "$inbox/0000000003.eml"
mailstore -q expunge joe@example.com/INBOX --uid 4 >"$work/out"
mailstore -q undelete joe@example.com/Receipts --uid 1 >"$work/out"
mailstore -q move joe@example.com 5 joe@example.com/Lists >"$work/out"
mailstore -q mailbox rename joe@example.com/Lists joe@example.com/Archive >"$work/out"
mailstore -q mailbox set --special-use Sent joe@example.com/Archive >"$work/out"
mailstore -q mailbox unsubscribe joe@example.com/Archive >"$work/out"
mailstore -q mailbox remove --recursive 'joe@example.com/Old Things' >"$work/out"
mailstore -q mailbox create ann@example.com/INBOX >"$work/out"
same first "$snapshots/first" 'after changes'
stop
start -f -o worker=off
look "$mnt" >"$work/second"
expect_error ENOENT ls "$snapshots/first/example.com/user/ann"
mkdir "$snapshots/second"
same second "$snapshots/second" 'the second'
expect_equal "$(readlink "$snapshots/latest")" second

# It is another tree, with the same numbers after a remount, and after everything was rebuilt.
inodes "$snapshots/first" >"$work/inodes"
inodes "$mnt" >"$work/live"
expect_equal "$(cut -d' ' -f2 "$work/inodes" "$work/live" | sort | uniq -d)" ''
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
umount "$mnt"
start -f -o worker=off
inodes "$snapshots/first" | cmp - "$work/inodes" || complain_here 'other inode numbers after a remount'
same first "$snapshots/first" 'after a remount'
stop
rm -r "$store/index" "$store/mailboxes.sqlite3"
start -f -o worker=off
same first "$snapshots/first" 'without any index'
same second "$snapshots/second" 'without any index'
stop
mailstore -q reconstruct >"$work/out"
start -f -o worker=off
same first "$snapshots/first" 'rebuilt'
same second "$snapshots/second" 'rebuilt'
inodes "$snapshots/first" | cmp - "$work/inodes" || complain_here 'other inode numbers after a rebuild'

# What was expunged is gone from the store, and still in the snapshots.
mailstore -q cleanup --age 0 >"$work/out"
same first "$snapshots/first" 'cleaned up'
same second "$snapshots/second" 'cleaned up'

# Nothing in one can be changed, and it has no control directory.
old=$snapshots/first/example.com/user/joe/INBOX
for command in 'touch file' 'rm 0000000001.eml' 'mkdir Sub' 'rmdir ../Receipts' 'mv 0000000001.eml x' \
  'setfattr -n user.mailfs.flags -v x 0000000001.eml' 'setfattr -n user.mailfs.cmd.check -v 1 .' \
  'chmod 777 0000000001.eml' 'truncate -s 0 0000000001.eml' 'append_to 0000000001.eml'; do
  (cd "$old" && expect_error EROFS eval "$command" && exit "$failures") || failures=$?
done
setfattr -n user.mailfs.flags -v "$(getfattr --only-values -n user.mailfs.flags "$old/0000000001.eml")" \
  "$old/0000000001.eml" || complain_here 'what is so already can be set'
expect_error ENOENT stat "$old/.ctl"
expect_error ENODATA getfattr -n user.mailfs.job "$old"
expect_error EROFS mv "$old" "$inbox/"
expect_error EPERM mv "$snapshots/first" "$mnt/.ctl/first"
expect_error EPERM touch "$snapshots/file"
expect_error EPERM ln -s first "$snapshots/link"
expect_error EPERM rm "$snapshots/latest"
expect_error ENOTDIR rmdir "$snapshots/latest"
expect_error EPERM mv "$snapshots/latest" "$snapshots/last"

# Names.
mv -T "$snapshots/first" "$snapshots/a b"
same first "$snapshots/a b" 'renamed'
expect_equal "$(ls "$snapshots")" $'a b\nlatest\nsecond'
expect_error EINVAL mkdir "$snapshots/.hidden"
expect_error EINVAL mkdir "$snapshots/new"
expect_error EINVAL rename "$snapshots/a b" "$snapshots/new"
expect_error EEXIST mkdir "$snapshots/second"
expect_error EEXIST rename "$snapshots/a b" "$snapshots/second"
expect_error ENOENT rmdir "$snapshots/first"
expect_error ENAMETOOLONG mkdir "$snapshots/$(printf '%%%.0s' {1..200})"
rmdir "$snapshots/a b"
expect_error ENOENT ls "$snapshots/a b"
expect_equal "$(ls "$snapshots")" $'latest\nsecond'

# Each of these left its trail.
python3 - "$mnt/.ctl/audit" <<'PYTHON' || complain_here 'the audit is not right'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
told = [(line['through'], line['command'], line['result']) for line in lines
        if line['command'].startswith('snapshot-')]
expected = [('mkdir', 'snapshot-take first', 'ok'), ('mkdir', 'snapshot-take second', 'ok'),
            ('rename', 'snapshot-rename first a%20b', 'ok'), ('mkdir', 'snapshot-take .hidden', 'EINVAL'),
            ('mkdir', 'snapshot-take new', 'EINVAL'), ('rename', 'snapshot-rename a%20b new', 'EINVAL'),
            ('rename', 'snapshot-rename a%20b second', 'EEXIST'),
            ('mkdir', 'snapshot-take ' + '%25' * 200, 'ENAMETOOLONG'),
            ('rmdir', 'snapshot-drop a%20b', 'ok')]
if told != expected:
    sys.exit('\n'.join(map(str, told)))
PYTHON
expect grep -q 'snapshot-take new.*EINVAL.*cannot be the name' "$mnt/.ctl/last_error"
stop

# Who may, and where.
start -f -o worker=off,allow_other,dmode=755
expect_error EACCES as_nobody mkdir "$snapshots/third"
expect_error EACCES as_nobody ls "$snapshots"
stop
start -f -o ro
expect_error EROFS mkdir "$snapshots/third"
expect_error EROFS rmdir "$snapshots/second"
same second "$snapshots/second" 'read only'
stop
start -f -o worker=off,ctl=off
expect_error ENOENT ls "$snapshots"
stop
start -f -o worker=off,ctl=visible
expect_equal "$(find "$snapshots/second" -name .ctl)" ''
stop
