#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is written to control files: words, lines, all or nothing, and what comes of it.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
mailstore -q mailbox create "joe@example.com/Two Words" >"$work/out"
start -f -o worker=off
ctl=$mnt/.ctl
repair=$inbox/.ctl/repair

# All lines in one write; bash's printf makes one of each.
order() {
  printf '%s\n' "$@" >"$work/order"
  cat "$work/order" >"$ctl/ctl"
}
jobs() {
  find "$ctl/jobs" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort -n | tr '\n' ' '
}
cmd() {
  cat "$ctl/jobs/$1/cmd"
}
equal_state() {
  [ "$(<"$ctl/jobs/$1/state")" == "$2" ]
}
# The columns errno and reason, or another, of the newest error.
last_error() {
  tail -n 1 "$ctl/last_error" | cut -f "${1:-5,6}" --output-delimiter=' '
}
# audit KEY: of the newest line.
audit() {
  tail -n 1 "$ctl/audit" | python3 -c '
import json, sys
value = json.load(sys.stdin).get(sys.argv[1])
print(*value) if isinstance(value, list) else print(value)' "$1"
}

# A verb file: its state, its words.
expect_equal "$(<"$repair")" idle
echo 1 >"$repair"
expect_equal "$(<"$repair")" 'queued 1'
expect_equal "$(cmd 1)" 'repair joe@example.com/INBOX'
printf 'dry-run' >>"$repair"
expect_equal "$(<"$repair")" 'queued 2'
expect_equal "$(cmd 2)" 'repair dry-run joe@example.com/INBOX'
echo 'recursive age=2d' >"$mnt/example.com/user/joe/.ctl/cleanup"
expect_equal "$(cmd 3)" 'cleanup recursive age=2d joe@example.com'
echo 1 >"$ctl/reconstruct"
expect_equal "$(cmd 4)" reconstruct
expect_equal "$(<"$mnt/example.com/.ctl/reconstruct")" idle
expect_equal "$(audit through) $(audit object) $(audit command) $(audit jobs) $(audit result) $(audit pid)" \
  "reconstruct / 1 4 ok $$"

# The same request is one job as long as it waits.
echo 1 >"$repair"
echo 'dry-run' >"$repair"
expect_equal "$(jobs)" '1 2 3 4 '

# ctl: one command a line, in the words that mailstore takes, too.
order 'check full joe@example.com/INBOX' '' '# nothing' 'verify "example.com/user/joe/Two Words"'
expect_equal "$(cmd 5)" 'check full joe@example.com/INBOX'
expect_equal "$(cmd 6)" 'verify joe@example.com/Two Words'
echo "check 'joe@example.com/Two Words' recursive" >>"$ctl/ctl"
expect_equal "$(cmd 7)" 'check recursive joe@example.com/Two Words'
expect_equal "$(audit jobs)" 7

# All or nothing: a line that cannot be carried out keeps all of them from being.
before=$(jobs)
expect_error ENOENT order 'check joe@example.com/Lists' 'check nobody@example.com' 'check joe@example.com/Receipts'
expect_equal "$(last_error)" "ENOENT line 2: no mailbox 'nobody@example.com'"
expect_error EINVAL order 'check joe@example.com/Lists' 'nonsense joe@example.com'
expect_equal "$(last_error)" "EINVAL line 2: no command 'nonsense'"
expect_error EINVAL order 'check joe@example.com/Lists' 'purge age=soon'
expect_error EINVAL order 'check joe@example.com/Lists' 'cancel x'
expect_error ENOENT order 'check joe@example.com/Lists' 'cancel 4711'
expect_error ENOENT order 'check joe@example.com/Lists' 'queue-remove 4711'
expect_error EINVAL order 'check joe@example.com/Lists' 'check "joe@example.com'
expect_error EINVAL order 'check joe@example.com/Lists' 'check full full age=1d'
expect_error EINVAL order 'expunge'
expect_equal "$(jobs)" "$before"
expect_equal "$(audit result) $(audit command) $(audit jobs)" "EINVAL expunge "
expect_equal "$(audit reason)" "'expunge' wants a mailbox"

# What is no line.
no_newline() {
  printf 'check joe@example.com/Lists' >"$ctl/ctl"
}
with_nul() {
  printf 'check joe@example.com/Lists\0\n' >"$ctl/ctl"
}
no_utf8() {
  printf 'check joe@example.com/Li\xffsts\n' >"$ctl/ctl"
}
too_long() {
  (printf 'check '; printf '%070000d\n' 0) >"$work/long"
  dd if="$work/long" of="$ctl/ctl" bs=1M status=none
}
rubbish() {
  head -c 3001 /dev/urandom >"$ctl/$1"
}
expect_error EINVAL no_newline
expect_equal "$(last_error)" 'EINVAL a line ends with a newline'
expect_error EINVAL with_nul
expect_equal "$(last_error)" 'EINVAL what was written has NUL bytes'
expect_error EINVAL no_utf8
expect_equal "$(last_error)" 'EINVAL what was written is not UTF-8'
expect_error EINVAL too_long
expect_equal "$(last_error)" 'EINVAL a line is longer than 65536 bytes'
for name in ctl check config/verify config/cleanup.age "jobs/1/cancel"; do
  expect_error EINVAL rubbish "$name"
done
expect_equal "$(jobs)" "$before"

# A verb file takes words of its verb only.
words() {
  echo "$1" >"$repair"
}
for wrong in nonsense joe@example.com/INBOX age=7d 'cancel now' reconstruct 'tag=' 'tag=a/b'; do
  expect_error EINVAL words "$wrong"
done
expect_equal "$(last_error 4,5)" 'tag=a/b EINVAL'
expect_equal "$(wc -l <"$ctl/last_error")" 8
expect_equal "$(cut -f 2,4,5 --output-delimiter=' ' "$ctl/last_error" | tail -n 3)" $'0 reconstruct EINVAL\n0 tag= EINVAL\n0 tag=a/b EINVAL'

expect_error EINVAL words 'reconstruct wait'
expect_equal "$(last_error)" "EINVAL only words can be here: no mailbox 'reconstruct'"
expect_error EINVAL words '/example.com'
expect_equal "$(last_error)" 'EINVAL only words can be here, no mailbox'

# Of an action one can be told the job's number by a tag.
order 'check joe@example.com tag=nightly:1'
expect_equal "$(audit tag) $(audit jobs)" 'nightly:1 8'
expect_equal "$(grep -c '"tag":"nightly:1"' "$ctl/audit")" 1

# Cancelling, by the verb, the job and the number.
echo cancel >"$repair"
expect_equal "$(<"$repair")" 'cancelled 2'
expect_equal "$(<"$ctl/jobs/1/state")" queued
expect_error EINVAL write_to "$ctl/jobs/1/cancel"
echo 1 >"$ctl/jobs/1/cancel"
expect_equal "$(<"$ctl/jobs/1/state") $(<"$ctl/jobs/1/cancel")" 'cancelled cancelled'
expect_error ENOENT words cancel
order 'cancel 3' 'queue-remove 4'
expect_equal "$(<"$ctl/jobs/3/state") $(<"$ctl/reconstruct")" 'cancelled cancelled 4'
expect_error EALREADY order 'cancel 3'
expect_error ENOENT order 'cancel 999999'

# The queue, in the columns that administrators know.
expect_equal "$(awk 'NR == 1 || $1 == 6 {print $1, $2, NF}' "$ctl/queue")" $'RecNo Mailbox 4\n6 joe@example.com/Two 5'
expect grep -qE '^5 +joe@example.com/INBOX +20[0-9]{12} check full$' "$ctl/queue"
expect_equal "$(wc -l <"$ctl/queue")" 5

# Without a worker: at once. What it found can be read.
rm "$store/mail/example.com/user/joe/INBOX/0000000002.eml"
echo 'now wait' >"$inbox/.ctl/check"
id=$(readlink "$ctl/jobs/last")
expect_equal "$(<"$inbox/.ctl/check")" "done $id fixed=0 left=1"
expect_equal "$(<"$ctl/jobs/$id/progress")" '5 5 messages'
expect_equal "$(head -n 3 "$ctl/jobs/$id/result")" $'fixed 0\nleft 1\ntaken 0'
expect grep -q '^left missing-file example.com/user/joe/INBOX/0000000002.eml: ' "$ctl/jobs/$id/result"
expect grep -q 'done: 0 fixed, 1 left' "$ctl/jobs/$id/log"
python3 - "$ctl/jobs/$id/report.json" "$id" <<'PYTHON' || complain_here 'report.json'
import json, sys
report = json.load(open(sys.argv[1]))
assert report['id'] == int(sys.argv[2]) and report['state'] == 'done' and report['left'] == 1
assert report['action'] == 'check' and report['mailbox'] == 'joe@example.com/INBOX'
assert [finding['problem'] for finding in report['findings']] == ['missing-file']
PYTHON
mailstore --json jobs "$id" >"$work/out"
expect_equal "$(python3 -c 'import json, sys; print(json.loads(sys.stdin.readline())["state"])' <"$work/out")" 'done'
echo 'now wait' >"$repair"
expect_equal "$(cut -d ' ' -f 1,4 "$repair")" 'done left=1'
expect_error ENOENT stat "$inbox/0000000002.eml"

# The listing of jobs follows.
order 'check joe@example.com/Receipts'
expect_equal "$(jobs)" "$(seq -s ' ' $((id + 2))) "
expect_equal "$(readlink "$ctl/jobs/last")" $((id + 2))
expect_error ENOENT stat "$ctl/jobs/$((id + 3))"
expect_error ENOENT stat "$ctl/jobs/01"
expect_error ENOENT stat "$ctl/jobs/0"
expect_error ENOENT stat "$ctl/jobs/99999999999999999999"

# Nothing but four at once, also in one write: of five none is begun.
before=$(jobs)
expect_error EBUSY order 'check now' 'verify now' 'check now full' 'test now' 'checkpoint now'
expect_equal "$(jobs)" "$before"
joe=$mnt/example.com/user/joe/.ctl/reconstruct
at_once() {
  echo 'now force' >"$joe"
}
hold
for _ in 1 2 3 4; do
  at_once
done
expect_equal "$(cut -d ' ' -f 1 "$joe")" running
expect_error EBUSY at_once
id=$(cut -d ' ' -f 2 "$joe")
expect_error EBUSY order "queue-remove $id"
echo cancel >"$joe"
within 10000 grep -q 'asked to end' "$ctl/jobs/$id/log"
release
within 10000 equal_state $((id - 1)) 'done'
within 10000 at_once

# The kernel's pages of a file that was written to are not what was written.
for name in ctl check config/verify; do
  before=$(md5sum <"$ctl/$name")
  echo '# nothing' >"$ctl/ctl"
  printf '# nothing at all\n' 1<>"$ctl/$name" 2>"$work/err" || true
  expect_equal "$(md5sum <"$ctl/$name")" "$before"
done
truncate -s 0 "$ctl/ctl"
truncate -s +5 "$ctl/ctl"
expect_error EPERM truncate -s 0 "$ctl/status"

# No name moves a terminal's cursor.
order $'mailbox-create joe@example.com/a\u009b2Jb' $'mailbox-create joe@example.com/a\u202eb'
order $'cleanup joe@example.com/a\u009b2Jb joe@example.com/a\u202eb'
id=$(readlink "$ctl/jobs/last")
expect_equal "$(cmd "$id")" 'cleanup joe@example.com/a\xc2\x9b2Jb, joe@example.com/a\xe2\x80\xaeb'
expect grep -qF "$(cmd "$id" | cut -d ' ' -f 2-) " "$ctl/queue"

# A job whose process has died does not keep those behind it from being shown.
for i in {1..100}; do
  echo "cleanup age=${i}h"
done >"$work/order"
cat "$work/order" >"$ctl/ctl"
python3 - "$store/queue.sqlite3" <<'PYTHON'
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=60) as queue:
    queue.execute("UPDATE job SET state = 1, queued = 0, runner = 12345 WHERE action = 'cleanup age=1h'")
PYTHON
expect_equal "$(grep -c 'cleanup age=[0-9]*h$' "$ctl/queue")" 99
stop
