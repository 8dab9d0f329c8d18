#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Damage that readers meet is repaired behind them, once; what cannot be repaired is left alone.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
files=$store/mail/example.com/user/joe/INBOX
index=$(find "$store/index" -name 'joe.sqlite3')
allow_log 'job [0-9]+: |INBOX/0000000002.eml: '

logged() {
  [ "$(grep -cE "$1" "$work/log")" -eq "$2" ]
}
jobs() {
  mailstore --json jobs | python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
print(sum(eval(sys.argv[1], {"row": row}) for row in rows))' "$1"
}
# Whether $2 jobs are like $1; for within.
jobs_are() {
  [ "$(jobs "$1")" -eq "$2" ]
}
nothing_open() {
  jobs_are 'row["state"] in ("waiting", "running")' 0
}
look() {
  (cd "$mnt" && find . -printf '%P %y %i %m %s %T@\n' | sort)
}
health_is() {
  [ "$(<"$mnt/.ctl/health")" == "$1" ]
}

# A broken index: everybody gets right answers, each mailbox is repaired once, and the log tells.
start -f
look >"$work/before"
expect_equal "$(status_of worker)" on
expect_equal "$(status_of queue) $(status_of job)" '0 none'
head -c 100000 /dev/urandom >"$index"
look | diff "$work/before" - >"$work/diff" || complain_here "another tree: $(<"$work/diff")"
for _ in 1 2 3; do
  cat "$mnt"/example.com/user/joe/*/*.eml >/dev/null
  look >/dev/null
done
within 20000 jobs_are 'row["mailbox"] == "joe@example.com" and row["state"] == "done" and row["fixed"] > 0' 1
within 20000 nothing_open
look | diff "$work/before" - >"$work/diff" || complain_here "another tree afterwards: $(<"$work/diff")"
expect logged 'job [0-9]+: (repair|reconstruct) joe@example.com queued: a reader met a damaged index' 1
expect logged 'job [0-9]+: .* joe@example.com begun' 1
expect logged 'job [0-9]+: .* joe@example.com done: [0-9]+ messages looked at, [1-9][0-9]* fixed, 0 left' 1
expect_equal "$(grep -c ' queued: ' "$work/log")" 1 'one repair mends the user'
within 20000 health_is ok
run check
expect_status 0
expect_equal "$(find "$store/index" -name '*.damaged-*' | wc -l)" 1 'the damaged one is kept'

# Nobody reads: nothing begins. Somebody does: it is mended again.
before=$(jobs True)
rm "$index"
sleep 2.5
expect jobs_are True "$before"
expect [ ! -e "$index" ]
echo 3 >/proc/sys/vm/drop_caches
ls "$inbox" >/dev/null
stat "$inbox"/*.eml >/dev/null
getfattr -n user.mailfs.messages "$inbox" >/dev/null 2>&1
within 20000 jobs_are 'row["mailbox"] == "joe@example.com/INBOX" and row["state"] == "done"' 1
within 20000 nothing_open

# Bytes that are gone: EIO, one repair that cannot help, and no other for each reader that comes.
stop
python3 - "$files/0000000002.eml" <<'PYTHON'
import os, sys
st = os.stat(sys.argv[1])
with open(sys.argv[1], 'r+b') as file:
    file.seek(5)
    file.write(b'\x01')
os.utime(sys.argv[1], ns=(st.st_atime_ns, st.st_mtime_ns))
PYTHON
start -f
before=$(jobs True)
expect_error EIO cat "$inbox/0000000002.eml"
within 20000 logged 'joe@example.com/INBOX done: [0-9]+ messages looked at, [01] fixed, 1 left' 1
for _ in 1 2 3 4 5 6; do
  expect_error EIO cat "$inbox/0000000002.eml"
  expect cat "$inbox/0000000003.eml" >/dev/null
  sleep 0.5
done
expect jobs_are True $((before + 1))
within 20000 health_is damaged
expect_equal "$(getfattr --absolute-names --only-values -n user.mailfs.state "$inbox/0000000002.eml")" damaged
# A broken index in the same mailbox is another matter.
rm "$index"
getfattr -n user.mailfs.messages "$inbox" >/dev/null 2>&1
within 20000 jobs_are 'row["mailbox"] == "joe@example.com/INBOX" and row["state"] == "done"' 3
expect_error EIO cat "$inbox/0000000002.eml"
within 20000 nothing_open
stop

# After a remount, too: the queue remembers.
start -f
before=$(jobs True)
expect_error EIO cat "$inbox/0000000002.eml"
sleep 2.5
expect jobs_are True "$before"
stop

# Whoever must not change anything does not.
rm "$index"
start -f -o ro
expect_equal "$(status_of worker)" off
look >/dev/null
expect cat "$inbox/0000000003.eml" >/dev/null
sleep 1.5
stop
expect jobs_are True "$before"
expect [ ! -e "$index" ]

# One damaged page, met by readers of one mailbox or two after a remount: all of the user's mailboxes are mended.
rm -r "$store/index/example.com"
for ((i = 0; i < 13; i++)); do
  mailstore -q import --format eml "$sample" "ann@example.com/Box$i" >/dev/null
done
mailstore -q reconstruct >/dev/null || true
index=$(find "$store/index" -name 'ann.sqlite3')
break_last_leaf() {
  python3 - "$1" <<'PYTHON'
import os, struct, sys
with open(sys.argv[1], 'r+b') as file:
    data = file.read()
    size = struct.unpack('>H', data[16:18])[0]
    leaf = max(at for at in range(size, len(data), size) if data[at] == 13)
    file.seek(leaf)
    file.write(os.urandom(size))
PYTHON
}
break_last_leaf "$index"
mailstore check --full >/dev/null && complain_here 'the damage does not show'
start -f
look >/dev/null
cat "$mnt"/example.com/user/ann/*/*.eml >/dev/null
within 20000 jobs_are 'row["mailbox"] == "ann@example.com" and row["state"] == "done" and row["fixed"] > 0' 1
within 20000 nothing_open
stop
run check --full ann@example.com
expect_status 0
