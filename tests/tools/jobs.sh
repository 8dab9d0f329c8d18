#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Jobs: what is shown of them, Ctrl-C, resume, cancel, follow.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com >/dev/null
mailstore -q import --format eml "$sample" zoe@example.com >/dev/null

# What only looks leaves no trace; what changes something is a job, with its findings.
run check
run reconstruct -n
run jobs
expect_status 0
expect_equal "$(wc -l <"$work/out")" 1
rm "$store/mail/example.com/user/joe/INBOX/0000000002.eml"
run --json reconstruct joe@example.com/INBOX
grep '"finding"' "$work/out" >"$work/findings" || complain 'no finding'
run --json jobs 1
expect_json 'rows[0]["type"] == "job" and rows[0]["state"] == "done" and not rows[0]["queued"]' \
  'rows[0]["action"] == "reconstruct" and rows[0]["mailbox"] == "joe@example.com/INBOX"' \
  'rows[0]["created"] and rows[0]["started"] and rows[0]["ended"] and rows[0]["error"] is None' \
  'rows[0]["errno"] is None and rows[0]["due"] is None' \
  'rows[0]["total"] > 0 and rows[0]["unit"] == "messages"'
sed 1d "$work/out" | cmp - "$work/findings" || complain 'other findings than were told'
run jobs 1
expect_status 0
expect_out 'state     done'
expect_out 'mailbox   joe@example.com/INBOX'
expect_out 'missing-file'
run jobs
expect_out '1  done'
run jobs 99
expect_status 66
run jobs one
expect_status 64
run jobs 1 2
expect_status 64
run jobs resume 1
expect_status 69
run jobs cancel 1
expect_status 69
run jobs cancel
expect_status 64

# One that cannot do its work fails, and says why.
mv "$store/index/example.com" "$work/kept"
: >"$store/index/example.com"
run reconstruct
[ "$status" -ge 64 ] || complain 'it did not fail'
expect_one_error
expect_equal "$(job 2 state)" failed
[[ $err == *"$(job 2 error)"* ]] || complain 'another reason than was told'
rm "$store/index/example.com"
mv "$work/kept" "$store/index/example.com"

# Stopped by a signal, which a script's job gets as SIGTERM: it is interrupted, and goes on when it is told to.
hold
mailstore reset >"$work/out" 2>"$work/err" &
stopped=$!
wait_for 3 state running
run jobs cancel 99
expect_status 66
kill -TERM "$stopped"
wait_for 3 log 'asked to end'
release
status=0
wait "$stopped" || status=$?
err=$(<"$work/err")
expect_status 143
expect_err "'mailstore jobs resume 3' goes on"
expect_err 'reset was interrupted'
expect_equal "$(job 3 state)" interrupted
run work --until-empty
expect_status 0
expect_equal "$(job 3 state)" interrupted 'nobody asked the worker'
run jobs resume 3
expect_status 0
expect_equal "$(job 3 state)" 'done'
mailstore -q reconstruct >/dev/null || true

# Killed: everybody sees it, at once.
hold
mailstore reset >"$work/out" 2>"$work/err" &
killed=$!
wait_for 5 state running
kill -KILL "$killed"
wait "$killed" 2>/dev/null || true
release
expect_equal "$(job 5 state)" interrupted
run jobs resume 5
expect_status 0
expect_equal "$(job 5 state)" 'done'

# Cancelled by somebody else.
hold
mailstore reset >"$work/out" 2>"$work/err" &
cancelled=$!
wait_for 6 state running
run jobs resume 6
expect_status 75
run jobs cancel 6
expect_status 0
wait_for 6 log 'asked to end'
release
status=0
wait "$cancelled" || status=$?
expect_status 75
expect_equal "$(job 6 state)" cancelled

# Followed to its end.
run queue add check
mailstore jobs --follow 7 >"$work/followed" &
follower=$!
mailstore jobs -F >"$work/all" &
all=$!
run work --once
status=0
wait "$follower" || status=$?
grep -q 'state     done' "$work/followed" || complain 'not followed to its end'
wait "$all" || complain 'following all failed'
grep -q '7  done' "$work/all" || complain 'not all were followed to their ends'

# A reason stands in the list; a restore is of what it names; and only the newest are listed, unless all are wanted.
run jobs
expect_out "$(job 2 error)"
mailstore -q backup "$work/backup" >/dev/null
mailstore -q restore "$work/backup" joe@example.com/INBOX >/dev/null
last=$(mailstore --json jobs | wc -l)
expect_equal "$(job "$last" mailbox)" joe@example.com/INBOX
for ((count = last; count < 25; count++)); do mailstore -q checkpoint >/dev/null; done
run jobs
expect_status 0
expect_equal "$(wc -l <"$work/out")" 21
expect_err '5 older than these'
expect_out '25  done'
run jobs --all
expect_equal "$(wc -l <"$work/out")" 26
expect_no_err
expect_equal "$(mailstore --json jobs | wc -l)" 25

# Something else in the queue's place is kept aside, and commands do their work.
rm -f "$store"/queue.sqlite3*
mkdir "$store/queue.sqlite3"
run reset
expect_status 0
expect_err 'a new one is begun'
expect_equal "$(mailstore --json jobs | wc -l)" 1
