#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is left of what was asked for and what happened: audit, last_error, events.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

ctl=$mnt/.ctl
allow_log 'job [0-9]+: '

# look TEXT: a Python expression that must be true of `audit`, `events` (lists of objects) and `errors`
# (lists of columns). All lines are whole and have numbers without gaps.
look() {
  python3 - "$ctl" "$1" <<'PYTHON' || complain_here "not so: $1"
import json, re, sys
def read(name):
    with open(f'{sys.argv[1]}/{name}', encoding='utf-8', newline='\n') as file:
        text = file.read()
    assert text == '' or text.endswith('\n'), name
    return text.split('\n')[:-1]
def objects(name):
    found = [json.loads(line, strict=True) for line in read(name)]
    first = found[0]['seq'] if found else 0
    assert [one['seq'] for one in found] == list(range(first, first + len(found))), name
    assert all(re.fullmatch(r'20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z', one['time']) for one in found)
    assert all(list(one)[:2] == ['seq', 'time'] for one in found)
    return found
audit, events = objects('audit'), objects('events')
errors = [line.split('\t') for line in read('last_error')]
assert all(len(columns) == 6 for columns in errors), errors
actions = [event for event in events if event['type'] == 'action']
jobs = [event for event in events if event['type'].startswith('job')]
assert eval(sys.argv[2]), '\n'.join(map(str, audit[-3:] + events[-8:] + errors))
PYTHON
}

is_so() {
  [ -z "$(look "$1" 2>&1)" ]
}

refused() {
  ! printf '%s\n' "$1" 2>/dev/null >"$ctl/ctl" || complain_here "not refused: $1"
}

make_sample_store
start -f
look 'audit == [] and errors == [] and [event["type"] for event in events] == ["mounted"]'
look "events[0]['store'] == '$store' and events[0]['mountpoint'] == '$mnt'"

# ---- one action leaves one line in each -----------------------------------------------------------

printf 'check tag=nightly-1 joe@example.com\n' >"$ctl/ctl"
look 'len(audit) == 1 and len(actions) == 1 and errors == []'
look 'audit[0] == {**audit[0], "uid": 0, "gid": 0, "comm": "bash", "through": "ctl", "object": "/",
      "command": "check tag=nightly-1 joe@example.com", "tag": "nightly-1", "jobs": [1], "result": "ok"}'
look "audit[0]['pid'] == $$"
look '{**actions[0], **{key: audit[0][key] for key in ("seq", "time")}} == {**audit[0], "type": "action"}'

refused 'explode "the store"'
look 'audit[1] == {**audit[1], "command": "explode \"the store\"", "jobs": [], "result": "EINVAL"}'
look '"explode" in audit[1]["reason"] and "tag" not in audit[1]'
look 'errors[0][1:3] == ["0", str(audit[1]["pid"])] and errors[0][3:] == ["explode \"the store\"", "EINVAL", audit[1]["reason"]]'

echo dry-run >"$inbox/.ctl/repair"
look 'audit[2] == {**audit[2], "through": "repair", "object": "/example.com/user/joe/INBOX", "result": "ok"}'
look 'audit[2]["command"].endswith("dry-run") and audit[2]["jobs"] == [2]'

# The last eight failures, the newest last.
for i in 1 2 3 4 5 6 7 8 9 10; do
  refused "nonsense$i"
done
look '[columns[3] for columns in errors] == [f"nonsense{i}" for i in range(3, 11)]'
look 'len(audit) == 13 and len(actions) == 13'
# It is whole, too, when it has just been shorter, and a moment before that longer than then.
for length in 40 4 4 4 4 4 4 4 4 80; do
  refused "$(printf %0*d "$length" 0)"
  expect_equal "$(tail -n 1 "$ctl/last_error" | cut -f 6)" "no command '$(printf %0*d "$length" 0)'"
done
expect [ "$(stat -c %s "$ctl/last_error")" -eq "$(wc -c <"$ctl/last_error")" ]
for name in audit events last_error; do
  expect_equal "$(stat -c %a "$ctl/$name")" 440
  expect_error EPERM write_to "$ctl/$name"
done

# ---- jobs, whoever runs them ----------------------------------------------------------------------

ended() {
  is_so "[event['state'] for event in jobs if event['type'] == 'job-ended' and event['job'] == $1] == ['$2']"
}
within 20000 ended 1 'done'
within 20000 ended 2 'done'
look '[event["type"] for event in jobs if event["job"] == 2] == ["job-queued", "job-started", "job-ended"]'
look '[event["mailbox"] for event in jobs if event["job"] == 1] == ["joe@example.com"] * 3'
mailstore -q reconstruct joe@example.com >"$work/out"
within 20000 ended 3 'done'
look '[event["type"] for event in jobs if event["job"] == 3] == ["job-started", "job-ended"]'
mailstore -q queue add check --full >"$work/out"
within 20000 ended 4 'done'

# ---- damage that a reader meets ------------------------------------------------------

allow_log 'job [0-9]+: |INBOX/0000000001.eml: '
file=$store/mail/example.com/user/joe/INBOX/0000000001.eml
printf X | dd of="$file" bs=1 seek=20 conv=notrunc status=none
expect_error EIO cat "$inbox/0000000001.eml"
expect_error EIO cat "$inbox/0000000001.eml"
within 20000 is_so '{event["object"] for event in events if event["type"] == "damage"} == {"/example.com/user/joe/INBOX/0000000001.eml"}'

# ---- hostile names, words and callers ------------------------------------------------------------------

hostile=$'a"b\\c\nd\te\x7ff\x01 \xc3\xbc {"seq":7}'
run mailbox create "joe@example.com/$hostile"
expect_status 0
caller=$work/'d"d\ '$'\n'
cp "$(command -v dd)" "$caller"
for directory in "$mnt"/example.com/user/joe/a*; do
  echo dry-run >"$directory/.ctl/repair"
  printf 1 | "$caller" of="$directory/.ctl/check" conv=notrunc status=none
done
look 'audit[-1]["object"] == audit[-2]["object"] and chr(34) in audit[-1]["object"] and chr(92) in audit[-1]["object"]'
look 'audit[-1]["comm"] == "d\"d\\ \n"'
refused $'no\x01such\tverb "\\" \xc3\xbc \xe2\x80\xa8 {"seq":9}'
look 'audit[-1]["command"] == "no\x01such\tverb \"\\\" \u00fc \u2028 {\"seq\":9}"'
look 'errors[-1][3] == r"no\x01such\x09verb " + "\"\\\" \u00fc \u2028 {\"seq\":9}"'
printf 'nonsense \xff\xfe\n' 2>/dev/null >"$ctl/ctl" && complain_here 'bytes that are not UTF-8'
look 'errors[-1][4] == "EINVAL" and audit[-1]["result"] == "EINVAL"'

# ---- who follows events sees all of them, and the file never grows without bound --------------------------

cat >"$work/follow.py" <<'PYTHON'
# follow.py FILE LAST: as tail -f does, polls the file and reads on; from its beginning when it was cut.
# Ends when it has seen LAST lines more than there are at its start; there may be no gaps.
import json, os, sys
path, more = sys.argv[1], int(sys.argv[2])
seen, offset, rest, end = None, 0, b'', None
while end is None or seen < end:
    size = os.stat(path).st_size
    assert size <= 1 << 20, size
    if size < offset:
        offset, rest = 0, b''
    with open(path, 'rb') as file:
        file.seek(offset)
        data = file.read(size - offset)
    # Between the moment that the kernel learns of a greater size and that when it drops its pages, another
    # reader finds zeros where the new lines are to be: so does everybody who follows a file through FUSE.
    if b'\0' in data:
        continue
    offset += len(data)
    *lines, rest = (rest + data).split(b'\n')
    for line in lines:
        try:
            seq = json.loads(line.decode())['seq']
        except ValueError: # in the middle of another line: the file was cut
            offset, rest = 0, b''
            break
        if seen is not None and seq > seen + 1:
            sys.exit(f'a gap between {seen} and {seq}')
        seen = max(seen or 0, seq)
    if end is None:
        end = seen + more
        print('ready', flush=True)
PYTHON
cat >"$work/act.py" <<'PYTHON'
# act.py CTL COUNT: asks for nonsense, in long lines.
import os, sys
fd = os.open(sys.argv[1] + '/ctl', os.O_WRONLY)
for i in range(int(sys.argv[2])):
    try:
        os.write(fd, f'nonsense {i} {"x" * 3000}\n'.encode())
        sys.exit('not refused')
    except OSError as error:
        assert error.strerror == 'Invalid argument', error
PYTHON
rounds=1200
readers=()
for i in 1 2 3 4; do
  python3 "$work/follow.py" "$ctl/events" $rounds >"$work/reader$i" &
  readers+=($!)
done
# tail(1) says so when the file was cut, and goes on.
tail -n +1 -s 0.2 -f "$ctl/events" >"$work/tail" 2>"$work/tail.err" &
tail=$!
for i in 1 2 3 4; do
  within 20000 grep -q ready "$work/reader$i"
done
before=$(wc -l <"$ctl/events")
python3 "$work/act.py" "$ctl" $rounds || complain_here 'act.py'
for reader in "${readers[@]}"; do
  wait "$reader" || complain_here 'a reader missed something'
done
expect [ "$before" -lt 100 ]
look "events[0]['seq'] > 1 and events[-1]['seq'] >= $before + $rounds"
look 'len(events[-1]["command"]) == 1024 and len(audit[-1]["command"]) > 3000'
last=$(tail -n 1 "$ctl/events")
within 20000 grep -qF "$last" "$work/tail"
kill "$tail"
wait "$tail" 2>/dev/null || true
python3 - "$work/tail" <<'PYTHON' || complain_here 'tail -f'
import json, sys
# Where the file was cut under it, tail(1) may go on in the middle of a line.
lines = open(sys.argv[1], encoding='utf-8').read().split('\n')[:-1]
whole = []
for line in lines:
    try:
        whole.append(json.loads(line)['seq'])
    except json.JSONDecodeError:
        pass
assert len(whole) >= len(lines) - 4, (len(lines), len(whole))
assert min(whole) == 1
PYTHON

# ---- what is told later begins with what was told before -----------------------------------------------------

for name in audit events; do
  cp "$ctl/$name" "$work/before"
  refused 'more nonsense'
  expect cmp -n "$(stat -c %s "$work/before")" "$work/before" "$ctl/$name"
  expect [ "$(stat -c %s "$ctl/$name")" -gt "$(stat -c %s "$work/before")" ]
done

# ---- the audit outlives the daemon ---------------------------------------------------------------------------

cp "$ctl/audit" "$work/before"
expect cmp "$work/before" "$store/audit.jsonl"
expect_equal "$(stat -c '%a %U' "$store/audit.jsonl")" "640 $(stat -c %U "$store")"
for i in $(seq 20); do
  printf 'check tag=last-%s\n' "$i"
done >"$work/lines"
# What was answered is on disk when the daemon dies in the next moment.
python3 - "$ctl/ctl" "$daemon" "$work/lines" <<'PYTHON'
import os, signal, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
for line in open(sys.argv[3], 'rb'):
    os.write(fd, line)
os.kill(int(sys.argv[2]), signal.SIGKILL)
PYTHON
wait "$daemon" 2>/dev/null || true
umount "$mnt"
expect_equal "$(grep -c '"tag":"last-' "$store/audit.jsonl")" 20
expect cmp -n "$(stat -c %s "$work/before")" "$work/before" "$store/audit.jsonl"
start -f -o worker=off
cp "$ctl/audit" "$work/after"
expect cmp "$work/after" "$store/audit.jsonl"
look 'events[0]["seq"] == 1 and audit[-1]["tag"] == "last-20" and errors == []'
printf 'cancel 4711\n' 2>/dev/null >"$ctl/ctl" && complain_here 'a job that is not there was cancelled'
look 'audit[-1]["result"] == "ENOENT" and audit[-2]["tag"] == "last-20"'

# ---- many that are queued at once are told together -----------------------------------------------------------

for i in $(seq 200); do
  printf 'cleanup age=%ss\n' "$i"
done >"$work/lines"
dd if="$work/lines" of="$ctl/ctl" bs=1M conv=notrunc status=none
within 20000 is_so '[event["count"] for event in events if event["type"] == "jobs-queued"] == [200]'
look '[event["last"] - event["first"] for event in events if event["type"] == "jobs-queued"] == [199]'
look 'len([event for event in jobs if event["type"] == "job-queued"]) == 64'
look 'len(audit[-1]["jobs"]) == 200 and len(actions[-1]["jobs"]) == 64'

# ---- an audit that cannot be written keeps nobody from anything, and is told of once ---------------------------

allow_log "job [0-9]+: |audit: open $store/audit.jsonl: "
mv "$store/audit.jsonl" "$work/audit.jsonl"
mkdir "$store/audit.jsonl"
printf 'check\n' >"$ctl/ctl"
printf 'check\n' >"$ctl/ctl"
expect_equal "$(grep -c 'audit: ' "$work/log")" 1
look_at_error=$(cat "$ctl/audit")
[[ $look_at_error == 'error: open '* ]] || complain_here "audit shows: $look_at_error"
rmdir "$store/audit.jsonl"
mv "$work/audit.jsonl" "$store/audit.jsonl"
printf 'check\n' >"$ctl/ctl"
look 'audit[-1]["result"] == "ok"'

# ---- a queue that was set aside is told of ----------------------------------------------------------------------

allow_log "job [0-9]+: |audit: open |the queue was damaged|worker: |queue.sqlite3"
dd if=/dev/urandom of="$store/queue.sqlite3" bs=8192 count=3 conv=notrunc status=none
again() {
  printf 'check\n' >"$ctl/ctl"
}
within 20000 again
within 20000 is_so '[event["text"][:21] for event in events if event["type"] == "notice"] == ["the queue was damaged"]'
stop

# ---- it is part of the store, but of no backup ---------------------------------------------------------------------

run check
[[ $out != *audit.jsonl* ]] || complain_here "check: $out"
run backup "$work/backup"
expect [ -d "$work/backup/mail" ]
expect [ ! -e "$work/backup/audit.jsonl" ]

# With -o ro nothing is done, and what was done can be read.
start -f -o ro
look 'audit[-1]["command"] == "check" and [event["type"] for event in events] == ["mounted"]'
expect_error EROFS write_to "$ctl/ctl"
stop
