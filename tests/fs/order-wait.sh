#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who waits for a job: gets its errno, holds up nobody, may be interrupted, and outlives no mount.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
allow_log 'job [0-9]+: '
start -f -o worker=off
ctl=$mnt/.ctl

# What is written, where to, and the directory for an answer: "ok" or the errno's name. One write(2).
# Python's own write() would be tried again after EINTR.
cat >"$work/writer" <<'PYTHON'
import ctypes, errno, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGUSR1, lambda number, frame: None)
fd, text = os.open(sys.argv[2], os.O_WRONLY | os.O_TRUNC), sys.argv[1].encode() + b'\n'
good = libc.write(fd, text, len(text)) == len(text)
answer = 'ok' if good else errno.errorcode[ctypes.get_errno()]
name = f'{sys.argv[3]}/answer.{os.getpid()}'
with open(name + '.new', 'w') as file:
    file.write(answer + '\n')
os.rename(name + '.new', name)
PYTHON
# A process in the background, whose number is that of the answer's file.
start_writer() {
  python3 "$work/writer" "$1" "$2" "$work" &
  writer=$!
}
answer_of() {
  until [ -s "$work/answer.$1" ] || ! kill -0 "$1"; do sleep 0.01; done
  cat "$work/answer.$1"
}
state() {
  cat "$ctl/jobs/$1/state"
}
is_state() {
  [ "$(state "$1")" == "$2" ]
}
has_jobs() {
  [ "$(find "$ctl/jobs" -mindepth 1 -maxdepth 1 -type d | wc -l)" -eq "$1" ]
}

# Nothing runs yet, so everybody waits; and whoever does not is not held up, whatever he does with that file.
start_writer 'check wait' "$ctl/ctl"
first=$writer
within 10000 has_jobs 1
start_writer 'recursive wait' "$mnt/example.com/user/joe/.ctl/check"
second=$writer
within 10000 has_jobs 2
for file in "$ctl/ctl" "$mnt/example.com/user/joe/.ctl/check"; do
  expect timeout 60 stat "$file" >"$work/out"
  expect timeout 60 cat "$file" >"$work/out"
  expect timeout 60 ls -l "$(dirname "$file")" >"$work/out"
done
expect_equal "$(<"$mnt/example.com/user/joe/.ctl/check")" 'queued 2'
expect timeout 60 bash -c "echo '# nothing' >'$ctl/ctl'"
expect timeout 60 bash -c "echo 'check joe@example.com/Lists' >>'$ctl/ctl'"
within 10000 has_jobs 3
expect [ ! -e "$work/answer.$first" ]

# The errno is that of the job: none when it ran, whatever it found.
rm "$store/mail/example.com/user/joe/INBOX/0000000001.eml"
echo on >"$ctl/config/worker"
expect_equal "$(answer_of "$first") $(answer_of "$second")" 'ok ok'
expect_equal "$(<"$mnt/example.com/user/joe/.ctl/check")" 'done 2 fixed=0 left=1'
touch "$work/file"
start_writer "backup directory=$work/file/backup wait" "$ctl/ctl"
answer=$(answer_of "$writer")
expect [ "$answer" != ok ]
expect_equal "$(state last)" failed
expect_equal "$(python3 -c 'import json, sys; print(json.load(sys.stdin)["errno"])' <"$ctl/jobs/last/report.json")" "$answer"
expect_equal "$(tail -n 1 "$ctl/last_error" | cut -f 3-5)" "$writer	backup directory=$work/file/backup wait	$answer"
reason=$(tail -n 1 "$ctl/last_error" | cut -f 6)
expect [ "${reason#"job $(readlink "$ctl/jobs/last"): "}" == "$(sed -n 's/.* failed: //p' "$ctl/jobs/last/log")" ]
echo off >"$ctl/config/worker"
id=$(readlink "$ctl/jobs/last")
start_writer 'wait' "$ctl/reconstruct"
until [ "$(<"$ctl/reconstruct")" == "queued $((id + 1))" ]; do sleep 0.01; done
echo cancel >"$ctl/reconstruct"
expect_equal "$(answer_of "$writer")" ECANCELED

# One write, several jobs: it waits for all, and has the errno of the first that failed.
echo on >"$ctl/config/worker"
start_writer "check wait"$'\n'"backup directory=$work/file/backup"$'\n''verify' "$ctl/ctl"
expect_equal "$(answer_of "$writer")" "$answer"
expect_equal "$(cut -d ' ' -f 1 "$ctl/verify")" 'done'
echo off >"$ctl/config/worker"

# Who is interrupted gets EINTR, and the job stays. Who is killed is gone at once.
actions() {
  [ "$(wc -l <"$ctl/audit")" -gt "$1" ]
}
for signal in USR1 KILL TERM; do
  before=$(wc -l <"$ctl/audit")
  start_writer "wait force" "$inbox/.ctl/reconstruct"
  within 10000 actions "$before"
  kill "-$signal" "$writer"
  wait "$writer" 2>/dev/null || true
  [ "$signal" != USR1 ] || expect_equal "$(<"$work/answer.$writer")" EINTR
  expect_equal "$(cut -d ' ' -f 1 "$inbox/.ctl/reconstruct")" queued
done
echo cancel >"$inbox/.ctl/reconstruct"

# Two hundred at once, each for a job of its own, on one file.
python3 - "$ctl" <<'PYTHON' || complain_here 'two hundred who wait'
import os, sys, threading
ctl = sys.argv[1]
verbs = ['check', 'check full', 'verify', 'repair', 'repair full', 'reconstruct', 'reconstruct force', 'cleanup', 'purge',
         'test']
mailboxes = ['joe@example.com', 'joe@example.com/INBOX', 'joe@example.com/Lists', 'joe@example.com/Receipts', '']
orders = [f'{verb} {mailbox} wait tag=t{number}' for number in range(4) for verb in verbs for mailbox in mailboxes]
assert len(orders) == 200
answers = []
def order(text):
    fd = os.open(ctl + '/ctl', os.O_WRONLY | os.O_TRUNC)
    answers.append(os.write(fd, text.encode() + b'\n') - len(text) - 1)
    os.close(fd)
threads = [threading.Thread(target=order, args=(text,)) for text in orders]
for thread in threads:
    thread.start()
while open(ctl + '/audit').read().count('"tag":"t') < 200:
    pass
assert answers == [], answers
open(ctl + '/config/worker', 'w').write('on')
for thread in threads:
    thread.join(120)
assert answers == [0] * 200, answers
PYTHON
expect_equal "$(awk 'NR > 1' "$ctl/queue")" ''
echo off >"$ctl/config/worker"

# At the end of the mount those who wait get EINTR, and the job is there for the next one.
start_writer wait "$ctl/verify"
until [[ $(<"$ctl/verify") == queued* ]]; do sleep 0.01; done
id=$(cut -d ' ' -f 2 "$ctl/verify")
kill -TERM "$daemon"
expect_equal "$(answer_of "$writer")" EINTR
end_daemon 0
start -f
within 10000 is_state "$id" 'done'

# What runs at once ends with the mount, too, and waits for somebody to take it up.
hold
start_writer 'now wait force' "$mnt/example.com/user/joe/.ctl/reconstruct"
until [[ $(<"$mnt/example.com/user/joe/.ctl/reconstruct") == running* ]]; do sleep 0.01; done
id=$(readlink "$ctl/jobs/last")
kill -TERM "$daemon"
within 10000 grep -q 'asked to end' "$ctl/jobs/$id/log"
release
expect [ "$(answer_of "$writer")" != EIO ]
end_daemon 0
run --json jobs "$id"
expect [ "$status" -eq 0 ]
