#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# No extended attribute gives EIO, whatever the store is like and whoever asks: programs that copy would drop the file.
# Nobody waits for ever either, and what cannot be told is not made up.
# shellcheck source-path=SCRIPTDIR disable=SC2016,SC2034 # harm() expands its argument
source "$(dirname "$0")/lib.sh"

make_sample_store
for i in 1 2 3; do
  mailstore -q deliver joe@example.com/Lists <"$sample/01-welcome.eml" >"$work/out"
done
mailstore -q deliver -c 'Public Folders/News@example.com' <"$sample/01-welcome.eml" >"$work/out"
mailstore -q queue add check joe@example.com >"$work/out"
lists=$store/mail/example.com/user/joe/Lists
index=$store/index/example.com/user/joe.sqlite3
allow_log .

# Asks everything of everything, sets it and removes it: by each errno how often.
cat >"$work/ask" <<'PYTHON'
import collections, errno, os, sys
top, asked = sys.argv[1], sys.argv[2:]
names = '''flags uid internaldate modseq state damage sha256 subject from to date message-id envelope bodystructure store_path
number uidvalidity uidnext subscribed special_use name messages unseen bytes rmessages rbytes expunged highestmodseq last_repair health
job all cmd.check cmd.repair cmd.nonsense nonsense'''.split()
some = 'flags', 'uid', 'uidnext', 'rbytes', 'cmd.check', 'nonsense'
objects, found = [], collections.Counter()
def walk(path):
    objects.append(path)
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        assert error.errno != errno.EIO, (path, error)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            walk(entry.path)
        else:
            objects.append(entry.path)
def call(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        found[errno.errorcode[error.errno]] += 1
        assert error.errno != errno.EIO, (function.__name__, arguments, error)
walk(top)
for path in objects:
    call(os.listxattr, path)
    setting = 'set' in asked and not path.endswith(('INBOX', 'Receipts', 'News')) and 'INBOX/' not in path
    for name in names:
        call(os.getxattr, path, 'user.mailfs.' + name)
        if setting and (name in some or path.endswith('3.eml')):
            call(os.setxattr, path, 'user.mailfs.' + name, b'nonsense-1' if name != 'flags' else b'\\Seen set')
            call(os.setxattr, path, 'user.mailfs.' + name, b'1')
            call(os.removexattr, path, 'user.mailfs.' + name)
unexpected = set(found) - {'ENODATA', 'EPERM', 'EINVAL', 'ESTALE', 'ENOENT', 'EAGAIN', 'EUCLEAN', 'ENOSPC', 'E2BIG', 'ENOTDIR',
                           'EISDIR', 'EMEDIUMTYPE', 'ENXIO', 'EROFS', 'ELOOP'}
assert not unexpected, found
assert len(objects) > 12, objects
PYTHON
# ask WHAT WORDS...: mounts, asks, and unmounts.
ask() {
  start -f -o "worker=off$options"
  timeout 300 python3 "$work/ask" "$mnt" "${@:2}" || complain_here "$1: see above"
  stop
}
options=
ask 'a good store' set
mailstore -q queue add check joe@example.com/INBOX >"$work/out"
cp -a "$store" "$work/good"

# Each of these in a store that was good.
harm() {
  echo "# $1" >>"$work/harms"
  rm -rf "$store"
  cp -a "$work/good" "$store"
  (
    cd "$store"
    eval "$2"
  ) || complain_here "could not do: $2"
  ask "$1" set
}
noise() {
  head -c 40000 /dev/urandom | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
harm 'no index' 'rm "$index"'
harm 'a directory for an index' 'rm "$index"; mkdir "$index"'
harm 'an index of noise' 'noise "$index" 0'
harm 'noise in the index' 'noise "$index" 9000'
harm 'half an index' 'truncate -s 9000 "$index"'
harm 'an index nobody may read' 'chmod 0 "$index"'
harm 'no list' 'rm mailboxes.sqlite3'
harm 'a list of noise' 'noise mailboxes.sqlite3 0'
harm 'noise in the list' 'noise mailboxes.sqlite3 9000'
harm 'a queue of noise' 'noise queue.sqlite3 0'
harm 'noise in the queue' 'noise queue.sqlite3 9000'
harm 'a directory for a queue' 'rm queue.sqlite3; mkdir queue.sqlite3'
harm 'a directory for an audit' 'rm -f audit.jsonl; mkdir audit.jsonl'
harm 'no message' 'rm "$lists"/0000000003.eml'
harm 'half a message' 'truncate -s 100 "$lists"/0000000003.eml'
harm 'an empty message' ': >"$lists"/0000000003.eml'
harm 'a message of noise' 'noise "$lists"/0000000003.eml 0'
harm 'a directory for a message' 'rm "$lists"/0000000003.eml; mkdir "$lists"/0000000003.eml'
harm 'a pipe for a message' 'rm "$lists"/0000000003.eml; mkfifo "$lists"/0000000003.eml'
harm 'a link for a message' 'ln -sf /etc/passwd "$lists"/0000000003.eml'
harm 'no state of a message' 'setfattr -x user.mailfs.state "$lists"/0000000003.eml'
harm 'nonsense for the state of a message' 'setfattr -n user.mailfs.state -v nonsense "$lists"/0000000003.eml'
harm 'no state of a mailbox' 'setfattr -x user.mailfs.mailbox "$lists"'
harm 'nonsense for the state of a mailbox' 'setfattr -n user.mailfs.mailbox -v nonsense "$lists"'
harm 'nonsense for the state of a user' 'setfattr -n user.mailfs.user -v nonsense "$lists/.."'
harm 'no mailbox' 'rm -r "$lists"'
harm 'a file for a mailbox' 'rm -r "$lists"; : >"$lists"'
harm 'a link for a mailbox' 'mv "$lists" elsewhere; ln -s "$PWD/elsewhere" "$lists"'
harm 'a message without an index' 'rm "$index"; truncate -s 100 "$lists"/0000000003.eml'
options=,ro
rm -rf "$store"
cp -a "$work/good" "$store"
noise "$index" 9000
ask 'noise in the index, read only'
options=

# A disk that fails gives EIO to others, but not here; and what could not be put on disk is not so afterwards.
if command -v strace >/dev/null; then
  rm -rf "$store"
  cp -a "$work/good" "$store"
  start -f -o worker=off
  message=$mnt/example.com/user/joe/Lists/0000000002.eml
  setfattr -n user.mailfs.flags -v before "$message"
  # fail CALLS ERROR: setting flags then fails with $3.
  fail() {
    strace -f -p "$daemon" -e "trace=$1" -e "inject=$1:error=$2" 2>"$work/strace" &
    tracer=$!
    within 20000 grep -q attached "$work/strace"
    expect_error "$3" setfattr -n user.mailfs.flags -v after "$message"
    timeout 100 getfattr -d -m - "$message" >"$work/out" 2>&1 || true
    expect_equal "$(grep -c 'Input/output' "$work/out")" 0
    kill "$tracer"
    wait "$tracer" || true
    expect_equal "$(getfattr --absolute-names --only-values -n user.mailfs.flags "$message")" before "$1 $2"
  }
  fail fsync,fdatasync EIO EUCLEAN
  fail fsetxattr EIO EUCLEAN
  fail fsetxattr ENOSPC ENOSPC
  fail fsetxattr EDQUOT EDQUOT
  fail flock EIO EUCLEAN
  strace -f -p "$daemon" -e trace=pwrite64 -e inject=pwrite64:error=EIO 2>"$work/strace" &
  tracer=$!
  within 20000 grep -q attached "$work/strace"
  expect_error EUCLEAN setfattr -n user.mailfs.cmd.repair -v 1 "$inbox"
  kill "$tracer"
  wait "$tracer" || true
  stop
fi
