#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every attribute that a mount lists stays what it is, whatever is mounted or rebuilt, comes back with a
# copy that has it, and can be set again where it was lost.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
make_mail

# All that is listed, with names and values; sizes as both calls tell them.
listed() {
  python3 - "$mnt" <<'PYTHON'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
for path, directories, files in os.walk(sys.argv[1]):
    directories.sort()
    for name in ['.', *sorted(files)]:
        file = os.path.join(path, name)
        names = os.listxattr(file)
        assert libc.listxattr(file.encode(), None, 0) == sum(len(name) + 1 for name in names), file
        for attribute in sorted(names):
            value = os.getxattr(file, attribute)
            assert libc.getxattr(file.encode(), attribute.encode(), None, 0) == len(value), file
            print(os.path.relpath(file, sys.argv[1]), attribute, value)
PYTHON
}
look() {
  start -f -o "$1"
  listed >"$work/$2"
  stop
}
same() {
  diff "$work/before" "$work/$1" >"$work/diff" || complain_here "$2: $(head -n 5 "$work/diff")"
}

look ro before
expect_equal "$(grep -c "user.mailfs.flags b'" "$work/before")" 19
for kind in uidvalidity uidnext subscribed special_use name; do
  expect grep -q "user.mailfs.$kind b'" "$work/before"
done
start -f -o ro
(cd "$mnt" && getfattr -R -d -m user.mailfs.flags .) >"$work/dump"
stop
look rw again
same again 'another mount'
rebuild_everything
look ro rebuilt
same rebuilt 'after everything was rebuilt'
mailstore -q mailbox set --index off joe@example.com
look ro unindexed
same unindexed 'without an index'
mailstore -q mailbox set --index on joe@example.com
rm -r "$store/index" "$store/mailboxes.sqlite3"
look ro lost
same lost 'while every index is lost'
mailstore -q reconstruct -m >/dev/null
mailstore -q reconstruct -r >/dev/null

# Copied into an empty store, and nothing else done.
start -f -o ro
cp -a --no-preserve=ownership "$mnt/." "$work/copy/"
stop
mailstore -q init "$work/other"
cp -a "$work/copy/." "$work/other/mail/"
whole=$store store=$work/other
allow_log '^mailfs: job ' # where a reader came before the rows
look rw restored
allow_log '^$'
same restored 'from a copy'
store=$whole

# What has lost its flags, or has others, gets them from the copy through a mount.
mailstore -q flag joe@example.com/INBOX 2:8 -Work
mailstore -q flag jane@example.com/INBOX 5 -Flagged
start -f
! diff <(listed) "$work/before" >/dev/null || complain_here 'no flag is another'
(cd "$mnt" && setfattr --restore="$work/dump")
listed >"$work/set"
same set 'set from a dump'
stop
