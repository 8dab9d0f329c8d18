#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Setting user.mailfs.cmd.VERB on a directory is writing to its verb file.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
mailstore -q deliver -c 'Public Folders/News@example.com' <"$sample/01-welcome.eml" >"$work/out"
joe=$mnt/example.com/user/joe

# command VERB VALUE DIRECTORY
command_() {
  setfattr -n "user.mailfs.cmd.$1" -v "$2" "$3"
}
take_back() {
  setfattr -x "user.mailfs.cmd.$1" "$2"
}
get() {
  getfattr --absolute-names --only-values -n "user.mailfs.$1" "$2"
}
queue() {
  mailstore --json queue | python3 -c '
import json, sys
for line in sys.stdin:
    job = json.loads(line)
    print(job["action"], "for", job.get("mailbox") or "everything")'
}
empty_queue() {
  mailstore --json queue | python3 -c '
import json, sys
for line in sys.stdin:
    print(json.loads(line)["id"])' | while read -r id; do mailstore -q queue remove "$id"; done
}

# Waits for the end of a job, longer than an attribute does when the machine is slow.
do_and_wait() {
  command_ "$1" "$2 wait" "$3" 2>"$work/waited" || expect grep -q 'now in progress' "$work/waited"
  within 100000 has_ended "$3/.ctl/$1"
}
has_ended() {
  [ "$(cut -d' ' -f1 <"$1")" == 'done' ]
}

# ---- with nobody who runs anything ------------------------------------------------------------

start -f -o worker=off

# Every verb that has a file in a directory is an attribute of it, and no other is.
verbs=()
while read -r verb _; do
  [ ! -f "$inbox/.ctl/$verb" ] || verbs+=("$verb")
done < <(sed -n 's/^\([a-z-]*\) .*/\1/p' "$mnt/.ctl/ctl")
expect [ "${#verbs[@]}" -ge 8 ]
for verb in "${verbs[@]}"; do
  command_ "$verb" 1 "$inbox"
  expect_equal "$(queue)" "$verb for joe@example.com/INBOX"
  expect_equal "$(<"$inbox/.ctl/$verb")" "queued $(get job "$inbox" | cut -d' ' -f1)"
  expect_equal "$(get job "$inbox" | cut -d' ' -f2-)" "queued $verb"
  expect_error ENODATA get "cmd.$verb" "$inbox"
  expect_equal "$(getfattr --absolute-names -d -m - "$inbox" | grep -c cmd)" 0
  take_back "$verb" "$inbox"
  expect_equal "$(queue)" ''
  expect_error ENODATA take_back "$verb" "$inbox"
  expect_equal "$(<"$inbox/.ctl/$verb")" "$(sed s/queued/cancelled/ <"$inbox/.ctl/$verb")"
done
while read -r verb _; do
  [ -f "$inbox/.ctl/$verb" ] || expect_error EINVAL command_ "$verb" 1 "$inbox"
done < <(sed -n 's/^\([a-z-]*\) .*/\1/p' "$mnt/.ctl/ctl")
for verb in nonsense check.x Check CHECK ctl wait '' 'check ' ../check backup restore; do
  expect_error EINVAL command_ "$verb" 1 "$inbox"
  expect_error ENODATA take_back "$verb" "$inbox"
  expect_error ENODATA get "cmd.$verb" "$inbox"
done
expect_equal "$(queue)" ''

# Every kind of directory takes them.
for pair in "$mnt=everything" "$mnt/example.com=example.com" "$mnt/example.com/user=example.com/user" \
  "$mnt/example.com/shared=example.com/shared" "$joe=joe@example.com" "$inbox=joe@example.com/INBOX" \
  "$mnt/example.com/shared/News=example.com/shared/News"; do
  command_ check recursive "${pair%%=*}"
  expect_equal "$(queue)" "check recursive for ${pair#*=}"
  expect_equal "$(get job "${pair%%=*}" | cut -d' ' -f2-)" 'queued check recursive'
  take_back check "${pair%%=*}"
done
expect_error EINVAL command_ expunge 1 "$mnt" # wants to be told what it is for
expect_error EINVAL command_ check 1 "$inbox/0000000001.eml"
expect_error EPERM command_ check 1 "$mnt/.ctl"
expect_error EPERM command_ check 1 "$inbox/.ctl/check"

# Values are the words of the verb file; an empty one is none.
setfattr -n user.mailfs.cmd.check "$inbox"
command_ cleanup 'dry-run  age=7d' "$inbox"
command_ cleanup '  age=7d dry-run tag=nightly-1  ' "$inbox"
attr -q -s mailfs.cmd.purge "$inbox" <<<'age=3d' >"$work/out"
expect_equal "$(queue)" 'check for joe@example.com/INBOX
cleanup dry-run age=7d for joe@example.com/INBOX
purge age=3d for joe@example.com/INBOX'
expect [ "$(grep -c '"through":"user.mailfs.cmd.cleanup".*"tag":"nightly-1","jobs":\[[0-9]*\],"result":"ok"' "$mnt/.ctl/audit")" -eq 1 ]
command_ check cancel "$inbox"
expect_equal "$(queue | grep -c check)" 0
for value in nonsense 'force' 'age=soon' 'age' 'joe@example.com' '/example.com' 'INBOX' '"' "'1" '0' 'dry-run nonsense' \
  'cancel 1' 'tag=' 'tag=a/b' '-n' '--dry-run' '1;check' "$(printf '1\nnonsense')"; do
  expect_error EINVAL command_ cleanup "$value" "$inbox"
done
expect_equal "$(queue | wc -l)" 2
expect grep -q 'user.mailfs.cmd.cleanup' "$mnt/.ctl/audit"
expect [ "$(wc -l <"$mnt/.ctl/last_error")" -eq 8 ]
empty_queue

# Of several that wait the newest is taken back first.
command_ check 1 "$inbox"
command_ check full "$inbox"
take_back check "$inbox"
expect_equal "$(queue)" 'check for joe@example.com/INBOX'
expect_equal "$(get job "$inbox" | cut -d' ' -f2-)" 'queued check'
take_back check "$inbox"
expect_error ENODATA take_back check "$inbox"
expect_equal "$(queue)" ''

# What is no text, or too much of it, or not allowed.
python3 - "$inbox" <<'PYTHON' || complain_here 'hostile values and names'
import errno, os, sys
path = sys.argv[1]
def refused(name, value, codes=(errno.EINVAL,), flags=0):
    try:
        os.setxattr(path, name, value, flags)
    except OSError as error:
        assert error.errno in codes, (name, value[:40], error)
    else:
        raise AssertionError((name, value[:40]))
check = 'user.mailfs.cmd.check'
for value in (b'\0', b'1\0', b'1\0recursive', b'\xff', b'recursive\xc3', b'\x01', b'\x1b[31mrecursive', b'\x7f', b'a' * 65536,
              b'recursive ' * 6553 + b'x', b'"' * 65535, '‮recursive'.encode(), b'\\', b'$(id)', b'`id`'):
    refused(check, value)
refused(check, b'1' * 65537, (errno.E2BIG,))
refused(check, b'1', (errno.ENODATA,), os.XATTR_REPLACE)
for name in ('user.mailfs.cmd.' + 'x' * 239, 'user.mailfs.cmd.\x1b[2J', b'user.mailfs.cmd.\xff\xfe', 'user.mailfs.cmd',
             'user.mailfs.cmd.\n', 'user.mailfs.cmd.%s%n', 'user.mailfs.', 'user.mailfs.cmd.check\x01'):
    refused(name, b'1')
os.setxattr(path, check, b'1', os.XATTR_CREATE)
os.setxattr(path, check, b'1', os.XATTR_CREATE)
os.setxattr(path, check, b'recursive ' * 6553)
os.removexattr(path, check)
PYTHON
expect_equal "$(queue)" 'check for joe@example.com/INBOX'
empty_queue
for file in audit last_error events; do
  expect_equal "$(LC_ALL=C tr -d '\n\t -~\200-\377' <"$mnt/.ctl/$file" | wc -c)" 0 "$file"
done
python3 -c 'import json, sys; [json.loads(line) for line in sys.stdin]' <"$mnt/.ctl/audit"

# Many at once are one job for each directory and verb.
python3 - "$inbox" "$joe/Lists" "$joe" <<'PYTHON' || complain_here 'many at once'
import os, sys, threading
failures = []
threading.excepthook = lambda args: failures.append(args)
def run(number):
    for i in range(10):
        os.setxattr(sys.argv[1 + (number + i) % 3], 'user.mailfs.cmd.' + ('check', 'repair')[number % 2], b'1')
threads = [threading.Thread(target=run, args=(number,)) for number in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
PYTHON
expect_equal "$(queue | wc -l)" 6
expect_equal "$(queue | sort -u | wc -l)" 6
empty_queue

# What is gone takes no commands.
mailstore -q mailbox create joe@example.com/Gone
exec {gone}<"$joe/Gone"
mailstore -q mailbox remove joe@example.com/Gone >"$work/out" 2>&1
stale() {
  python3 -c 'import os, sys; os.setxattr(int(sys.argv[1]), "user.mailfs.cmd.check", b"1")' "$gone"
}
expect_error ESTALE stale
expect_error ENOENT command_ check 1 "$joe/Gone"
exec {gone}<&-
expect_equal "$(queue)" ''

# Who waits keeps the kernel's lock of the directory, so he does not wait for ever: the job goes on. Somebody who
# interrupts him gets that at once.
command_ check wait "$joe/Lists" 2>"$work/waited" &
waiter=$!
within 20000 grep -q queued "$joe/Lists/.ctl/check"
expect ls "$joe" "$inbox" >"$work/out"
expect ls "$joe/Lists" >"$work/out"
wait "$waiter" && complain_here 'it has waited for nothing'
expect grep -q 'now in progress' "$work/waited"
expect_equal "$(get job "$joe/Lists" | cut -d' ' -f2-)" 'queued check'
command_ check wait "$joe/Lists" 2>"$work/waited" &
waiter=$!
is_waiting() {
  [ "$(cut -d' ' -f3 "/proc/$waiter/stat")" == S ]
}
within 20000 is_waiting
kill "$waiter"
wait "$waiter" || true
take_back check "$joe/Lists"

# "now" does not wait for a worker.
rm "$store/index/example.com/user/joe.sqlite3"
do_and_wait repair 'now recursive' "$joe"
expect_equal "$(get health "$joe")" ok
stop

# ---- with a worker ----------------------------------------------------------------------------

allow_log '^mailfs: job [0-9]+: '
start -f
rm "$store/index/example.com/user/joe.sqlite3"
do_and_wait repair recursive "$joe"
expect_equal "$(get health "$joe")" ok
expect_error ENODATA get job "$joe"
do_and_wait check '' "$mnt"
do_and_wait purge dry-run "$inbox"
stop

# ---- where there are none ---------------------------------------------------------------------

allow_log '^$'
for options in xattrs=data ctl=off; do
  start -f -o "worker=off,$options"
  for directory in "$inbox" "$mnt"; do
    expect_error EOPNOTSUPP command_ check 1 "$directory"
    expect_error EOPNOTSUPP command_ nonsense 1 "$directory"
    expect_error EOPNOTSUPP take_back check "$directory"
    expect_error ENODATA get cmd.check "$directory"
  done
  stop
done
start -f -o worker=off,xattrs=none
expect_error EOPNOTSUPP command_ check 1 "$inbox"
expect_error EOPNOTSUPP take_back check "$inbox"
expect_error EOPNOTSUPP get cmd.check "$inbox"
expect_error EOPNOTSUPP getfattr -d -m - "$inbox"
stop
expect_equal "$(queue)" ''
