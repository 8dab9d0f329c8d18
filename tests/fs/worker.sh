#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The mount's worker: runs what is queued, is the only one, tells how far it is, and ends with the mount.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
mailstore -q import --format eml "$sample" zoe@example.com >"$work/out"
allow_log 'job [0-9]+: '

state_of() {
  mailstore --json jobs "$1" | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["state"])'
}
is_state() {
  [ "$(state_of "$1")" == "$2" ]
}
log_of() {
  mailstore --json jobs "$1" | python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["log"])'
}
has_log() {
  [[ $(log_of "$1") == *"$2"* ]]
}
status_says() {
  [[ $(status_of "$1") == "$2"* ]]
}

start -f
run queue add reconstruct --force joe@example.com
expect_equal "$out" 1
within 10000 is_state 1 'done'

# There is one worker.
run work --once
expect_status 75
expect_err "process $daemon on $(hostname) since 20"
expect_one_error

# While a job runs it shows, and readers do not wait for it.
hold
run queue add reset joe@example.com
run queue add reconstruct --force joe@example.com
run queue add check
within 10000 status_says job '2 reset joe@example.com '
expect_equal "$(status_of queue)" 2
expect cat "$inbox/0000000001.eml" >/dev/null
expect ls "$inbox" >/dev/null
release
within 10000 is_state 4 'done'
within 20000 status_says job none
hold
run queue add reconstruct --force
rebuild=$out
within 10000 status_says health rebuilding
expect_equal "$(<"$mnt/.ctl/health")" rebuilding

# The end of the mount does not wait for the job, which goes back to the queue and on in the next one.
umount "$mnt"
within 10000 has_log "$rebuild" 'asked to end'
release
end_daemon 0
expect is_state "$rebuild" interrupted
run queue
expect_out '(interrupted)'
start -f
within 10000 is_state "$rebuild" 'done'
within 20000 status_says health ok

# Nor do readers, when a signal ends it, while the job comes to where it can end.
hold
run queue add reconstruct --force
rebuild=$out
within 10000 is_state "$rebuild" running
kill -TERM "$daemon"
within 10000 has_log "$rebuild" 'asked to end'
for _ in 1 2 3; do
  expect timeout 60 cat "$mnt/.ctl/version" >/dev/null
done
release
end_daemon 0
expect is_state "$rebuild" interrupted
start -f
within 10000 is_state "$rebuild" 'done'

# A daemon that is killed.
hold
run queue add reconstruct --force joe@example.com
rebuild=$out
within 10000 is_state "$rebuild" running
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null || true
daemon=
umount "$mnt"
release
expect is_state "$rebuild" interrupted
run work --until-empty
expect_status 0
expect is_state "$rebuild" 'done'

# None here: then it is for others.
start -f -o worker=off
expect_equal "$(status_of worker)" off
run queue add check
run work --until-empty
expect_status 0
stop
! mailfs -o worker=perhaps "$store" "$mnt" 2>"$work/err" || complain_here 'no error'
expect grep -q 'worker=perhaps: no such value' "$work/err"
