#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck source-path=SCRIPTDIR
# With -o audit=read the audit tells who mounted and who opened which message, each time, with its digest;
# where the store takes no line it is in the work directory, or in memory and the log.
source "$(dirname "$0")/lib.sh"
make_sample_store
message=/example.com/user/joe/INBOX/0000000001.eml
digest=$(sha256sum <"$store/mail$message")
digest=${digest%% *}

# rows FILE EXPRESSION: of the lines, as Python sees them.
rows() {
  python3 - "$1" "$2" "$digest" "$message" <<'PYTHON'
import json, os, sys
rows = [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')]
digest, message = sys.argv[3:]
mounts = [row for row in rows if row['through'] == 'mount']
opens = [row for row in rows if row['through'] == 'open']
print(eval(sys.argv[2]))
PYTHON
}
audit=$mnt/.ctl/audit

# Nobody asks for it: opens are no business of ours.
start -f
cat "$mnt$message" >/dev/null
expect equal "$(cat "$mnt/.ctl/config/audit")" actions
stop
[ ! -e "$store/audit.jsonl" ] || complain_here 'somebody wrote the audit'

start -f -o audit=read
expect equal "$(cat "$mnt/.ctl/config/audit")" read
for _ in 1 2; do # the second from the kernel's pages
  cat "$mnt$message" >"$work/out"
  expect cmp "$work/out" "$store/mail$message"
done
cat "$mnt/.ctl/parts/example.com/user/joe/INBOX/1/header.txt" >/dev/null
expect equal "$(rows "$audit" 'len(mounts), mounts[0]["uid"], mounts[0]["host"] == os.uname().nodename, "audit=read" in mounts[0]["command"]')" \
  '(1, 0, True, True)'
expect equal "$(rows "$audit" '[(row["object"] == message, row["sha256"] == digest, row["comm"], row["uid"], row["result"]) for row in opens[:2]]')" \
  "[(True, True, 'cat', 0, 'ok'), (True, True, 'cat', 0, 'ok')]"
expect equal "$(rows "$audit" '[row["object"] for row in opens[2:]]')" "['/.ctl/parts/example.com/user/joe/INBOX/1/header.txt']"
expect equal "$(rows "$audit" '[row["seq"] for row in rows] == list(range(1, len(rows) + 1))')" True
ls -lR "$mnt" >/dev/null
getfattr -d "$mnt$message" >/dev/null
expect equal "$(rows "$audit" 'len(opens)')" 3
echo 'check wait' >"$mnt/.ctl/ctl" # what is done through it is in it as well
expect equal "$(rows "$audit" 'rows[-1]["command"]')" 'check wait'
allow_log 'check'
stop
expect equal "$(rows "$store/audit.jsonl" 'mounts[-1]["command"].split()[0]')" unmount

# Damage: the line says so, and the digest is that of what was delivered.
printf X | dd of="$store/mail$message" bs=1 conv=notrunc status=none
allow_log 'does not have the bytes|job [0-9]+: repair'
start -f -o audit=read
expect_error EIO cat "$mnt$message"
expect equal "$(rows "$audit" '(opens[-1]["result"], opens[-1]["sha256"] == digest, "reason" in opens[-1])')" "('EIO', True, True)"
stop
size=$(stat -c %s "$store/audit.jsonl")

# A store that takes no line: the log and memory.
allow_log 'audit: |does not have the bytes'
message=/example.com/user/joe/INBOX/0000000002.eml
for option in ro ro,forensic; do
  start -f -o "$option,audit=read"
  cat "$mnt$message" >/dev/null
  expect equal "$(rows "$audit" '[(row["seq"], row["object"] == message) for row in opens]')" '[(2, True)]'
  stop
  expect grep -q "audit: .*$message" "$work/log"
done
mkdir "$work/dir"
for count in 1 2; do
  start -f -o "ro,forensic,workdir=$work/dir,audit=read"
  cat "$mnt$message" >/dev/null
  expect equal "$(rows "$audit" '[row["object"] == message for row in opens]')" "[$(yes True | head -$count | paste -sd , | sed 's/,/, /g')]"
  stop
done
expect equal "$(rows "$work/dir/audit.jsonl" '[row["seq"] for row in rows] == list(range(1, 7))')" True
expect equal "$(stat -c %s "$store/audit.jsonl")" "$size"
expect [ "$(stat -c %a "$work/dir/audit.jsonl")" = 600 ]
