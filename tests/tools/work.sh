#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The worker: one at a time, its options, and what becomes of its job when it ends, or dies.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com >/dev/null
mailstore -q import --format eml "$sample" zoe@example.com >/dev/null

# end PID CODE: how it must end.
end() {
  status=0
  wait "$1" 2>/dev/null || status=$?
  out=$(<"$work/work.out") err=$(<"$work/work.err")
  expect_status "$2"
}
start_work() {
  mailstore --json work "$@" >"$work/work.out" 2>"$work/work.err" &
  worker=$!
}

for wrong in '--until noon' '--once --until-empty' 'now' '--until 25:00'; do
  # shellcheck disable=SC2086
  run work $wrong
  expect_status 64
  expect_one_error
done

# Two at once: the second is told who the first is.
mailstore -q queue add reset >/dev/null
hold
start_work --until-empty
wait_for 1 state running
run work --once
expect_status 75
expect_one_error
expect_err "process $worker on $(hostname) since 20"

# While it works others read, deliver and queue.
run cat zoe@example.com 1
expect_status 0
run list -r
expect_status 0
run deliver zoe@example.com <"$sample/01-welcome.eml"
expect_status 0
mailstore -q queue add reconstruct >/dev/null
release
end "$worker" 0
expect_equal "$(wc -l <"$work/work.out")" 2 'one line for each job that has ended'
expect_equal "$(job 1 state) $(job 2 state)" 'done done'
run check
expect_status 0

# Asked to end: the job goes back to the queue, and the next worker takes it up.
mailstore -q queue add reset >/dev/null
hold
start_work --until-empty
wait_for 3 state running
kill -TERM "$worker"
wait_for 3 log 'asked to end'
release
end "$worker" 143
expect_equal "$(job 3 state)" interrupted
run queue
expect_out '(interrupted)'
run queue add reset
expect_equal "$out" 3 'it waits still'

# Killed in the middle.
hold
start_work --until-empty
wait_for 3 state running
kill -KILL "$worker"
end "$worker" 137
release
expect_equal "$(job 3 state)" interrupted
run work --once
expect_status 0
expect_equal "$(job 3 state)" 'done'
expect_equal "$(job 3 log | grep -c 'taken up again')" 2

# Its time is over: likewise, unless that was before it came to the job.
mailstore -q queue add reset >/dev/null
hold
start_work --until 3s
until [[ $(job 4 log) == *'asked to end'* ]] || ! kill -0 "$worker" 2>/dev/null; do sleep 0.05; done
release
end "$worker" 0
[[ $(job 4 state) =~ ^(interrupted|waiting)$ ]] || complain "it is $(job 4 state)"
run work --until-empty --until 23:59
expect_status 0
run work --until 2001-01-01
expect_status 0

# Without an option it waits for more.
start_work
mailstore -q queue add reset zoe@example.com >/dev/null
wait_for 5 state 'done'
mailstore -q queue add reconstruct >/dev/null
wait_for 6 state 'done'
kill -TERM "$worker"
end "$worker" 0
run check
expect_status 0

# What the store's owner puts into the queue does not borrow root's rights outside the store.
if [ "$(id -u)" -eq 0 ]; then
  cp -a "$store" "$work/owned"
  chown -R nobody "$work/owned"
  mailstore -q -s "$work/owned" queue add backup "directory=$work/elsewhere" >/dev/null
  run -s "$work/owned" work --until-empty
  [ ! -e "$work/elsewhere" ] || complain 'a queued job left the store as root'
  run -s "$work/owned" jobs
  expect_out 'cancelled'
fi
