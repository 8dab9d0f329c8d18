#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The maintenance queue: adding, showing, removing, and a worker that empties it.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore -q import --format eml "$sample" joe@example.com >/dev/null
mailstore -q import --format eml "$sample" ann@example.com >/dev/null

# An empty one has a heading and makes no file.
run queue
expect_status 0
expect_equal "$(wc -l <"$work/out")" 2
[ ! -e "$store/queue.sqlite3" ] || complain 'a look made a queue'
run work --until-empty
expect_status 0

# Each mailbox is an entry; the numbers are printed.
run queue add reconstruct joe@example.com/INBOX joe@example.com/Lists
expect_status 0
expect_equal "$out" $'1\n2'
run queue add reconstruct -r --force ann@example.com
expect_equal "$out" 3
run queue add reconstruct recursive force ann@example.com
expect_equal "$out" 3 'the same entry again'
expect_err 'waits already'
run queue add reset
expect_equal "$out" 4
run queue
expect_out 'RecNo      Mailbox                             Timestamp      Action'
[[ $out =~ 1\ +joe@example.com/INBOX\ +20[0-9]{12}\ reconstruct ]] || complain 'no entry 1'
[[ $out =~ 3\ +ann@example.com\ +20[0-9]{12}\ reconstruct\ recursive\ force ]] || complain 'no entry 3'
run --json queue
expect_json 'len(rows) == 4' \
  '[row["id"] for row in rows] == [1, 2, 3, 4]' \
  'all(row["type"] == "job" and row["state"] == "waiting" and row["queued"] for row in rows)' \
  'rows[3]["mailbox"] is None and rows[0]["mailbox"] == "joe@example.com/INBOX"' \
  'rows[0]["started"] is None and rows[0]["ended"] is None'

# What makes no sense adds nothing, not even in part.
for words in 'explode' 'reconstruct joe@example.com nobody@example.com' 'check --force' 'reconstruct -x joe@example.com'; do
  # shellcheck disable=SC2086
  run queue add $words
  [ "$status" -ge 64 ] || complain "no error: $words"
  expect_one_error
done
run queue add reconstruct ''
expect_status 64
run queue add
expect_status 64
run queue shuffle
expect_status 64
expect_equal "$(mailstore --json queue | wc -l)" 4

# Options as the commands have them, and a directory where they take one.
before=$(mailstore --json queue | wc -l)
run queue add cleanup --age 0 joe@example.com
expect_status 0
run queue add cleanup --age=0 joe@example.com
expect_err 'waits already'
run queue add -- cleanup age=0 joe@example.com
expect_status 64
run queue add cleanup age=0 -u joe example.com
expect_err 'waits already'
run queue add expunge --uid 50 joe@example.com/INBOX
expect_status 0
run queue add test -r joe@example.com
expect_status 0
run queue add backup "$work/backup" joe@example.com
expect_status 0
run --json queue
expect_json "len(rows) == $before + 4" \
  '[row["action"] for row in rows][-4:-1] == ["cleanup age=0", "expunge uid=50", "test recover"]' \
  'rows[-1]["action"].startswith("backup directory=/") and rows[-1]["mailbox"] == "joe@example.com"'
mapfile -t ids < <(mailstore --json queue | tail -n 4 | sed 's/.*"id":\([0-9]*\).*/\1/')
run queue remove "${ids[@]}"
expect_status 0
run queue add cleanup -h
expect_status 0
expect_out '--age'
run queue -h
expect_status 0
expect_out 'queue add cleanup --age 0 joe@example.com'
for verb in $(mailstore -h | sed -n '/^  work /,$s/^  \([a-z]*\) .*/\1/p' | tail -n +2); do
  grep -qw -- "$verb" <<<"${out#*VERB is}" || complain "queue -h does not know $verb"
done

run queue remove 2 4
expect_status 0
expect_no_out
run queue remove 2
expect_status 69
expect_err 'has ended'
run queue remove 99
expect_status 66
run queue remove x
expect_status 64
expect_equal "$(mailstore --json queue | wc -l)" 2

# The worker takes them in their order, and tells of each.
rm -r "$store/index/example.com"
run --json work --once
expect_status 0
expect_json 'len(rows) == 1' 'rows[0]["id"] == 1 and rows[0]["state"] == "done"' 'rows[0]["fixed"] > 0'
expect_err 'job 1: reconstruct joe@example.com/INBOX begun'
expect_err 'job 1: reconstruct joe@example.com/INBOX done: '
expect_equal "$(mailstore --json queue | wc -l)" 1
run work --until-empty
expect_status 0
expect_equal "$(mailstore --json queue | wc -l)" 0
run --json jobs
expect_json '[row["state"] for row in rows] == ["done", "cancelled", "done"] + 5 * ["cancelled"]'
mailstore -q reconstruct >/dev/null
run check
expect_status 0

# An entry that was overtaken by another rebuild is dropped, and one for a mailbox that is gone.
echo 'Subject: old' | mailstore -q deliver -c joe@example.com/Old >/dev/null
run queue add reconstruct joe@example.com/Old
gone=$out
rm -r "$store/mail/example.com/user/joe/Old"
mailstore -q reconstruct -m >/dev/null
run queue add reconstruct joe@example.com/INBOX
late=$out
sleep 1.1 # the times of both are seconds
mailstore -q reset joe@example.com
mailstore -q reconstruct joe@example.com >/dev/null
run work --until-empty
expect_status 0
run --json jobs
expect_json "{row['id']: row['state'] for row in rows}[$gone] == 'cancelled'" \
  "{row['id']: (row['state'], row['error']) for row in rows}[$late] == ('cancelled', 'repaired since')"

# A queue that is damaged is kept, and somebody is told; check notes it, and nothing is left to do for that.
head -c 20000 /dev/urandom >"$store/queue.sqlite3"
run queue add reset
expect_status 0
expect_err 'the queue was damaged: it is kept as queue.sqlite3.damaged-'
run queue
expect_no_err
run --json check
expect_status 0
expect_json 'any(row.get("outcome") == "noted" and "queue.sqlite3.damaged-" in row["object"] for row in rows)'

# Who may only read the store sees the queue.
if [ "$(id -u)" -eq 0 ]; then
  mailstore -q queue add reset >/dev/null
  chmod -R o+rX "$work"
  chmod o+rX "$work"
  status=0
  as_nobody "$(command -v mailstore)" --json queue >"$work/out" 2>"$work/err" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
  expect_status 0
  expect_json 'len(rows) == 1'
fi
