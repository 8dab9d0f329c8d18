#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each kind of finding: something makes it, check tells it, a dry run of repair tells the same and changes
# nothing, repair does what it can, and a check afterwards finds only what repair said is left.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

setfattr -n user.test -v 1 "$work" 2>/dev/null || skip 'the filesystem keeps no user attributes'

good=$work/good
inbox=example.com/user/joe/INBOX
lists=example.com/user/joe/Lists
index=index/example.com/user/joe.sqlite3

# Two mailboxes; a message of eight is large enough to lose a block.
mailstore -q -s "$good" init
mailstore -q -s "$good" import --format eml "$sample" joe@example.com
{
  printf 'Subject: large\n\n'
  seq -f 'line %g of a mail' 2000
} | mailstore -q -s "$good" deliver --flags '\Seen Work' --date @1600000000 joe@example.com/Lists >/dev/null
printf 'Subject: expunged\n\nbody\n' | mailstore -q -s "$good" deliver joe@example.com/Lists >/dev/null
mailstore -q -s "$good" expunge --uid 3 joe@example.com/Lists >/dev/null
large=$lists/0000000002.eml

# findings COMMAND... -> $work/found: "problem object outcome" of each, sorted; but not what repairs have set aside.
findings() {
  status=0
  mailstore --json "$@" >"$work/out" 2>"$work/err" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
  [ "$status" -le 1 ] || complain "$*: exit status $status"
  python3 - "$work/out" >"$work/found" <<'PYTHON'
import json, sys
rows = [json.loads(line) for line in open(sys.argv[1], encoding='utf-8')]
told = [json.dumps(row) for row in rows]
for line in sorted(set(line for line in told if told.count(line) > 1 or '***' in line)):
    print('told twice, or raw:', line)
for row in sorted((row['problem'], row['object'], row['outcome']) for row in rows if row['type'] == 'finding'):
    if row[0] != 'note' or '.damaged-' not in row[1]:
        print(*row)
PYTHON
}

# Every message file's bytes, by whatever name.
bytes() {
  (cd "$store" && find mail -name '*.eml' -type f -exec sha256sum {} +) | sort
}

tree() {
  (cd "$store" && find . -printf '%p %i %m %U:%G %s %T@ %C@\n' | sort)
}

# finding KIND OUTCOME OBJECT REPAIR-OPTIONS COMMAND: the command, run in the store, makes a finding of that
# kind about the object; after the repair it is fixed, left, or (gone) only told. What is noted is not wrong.
finding() {
  local kind=$1 outcome=$2 object=$3 options=() looking=() before seen=left
  [ "$outcome" != noted ] || seen=noted
  [ -z "$4" ] || read -ra options <<<"$4"
  [[ $4 != *--full* ]] || looking=(--full)
  rm -rf "$store"
  cp -a "$good" "$store"
  mailstore -q reconstruct -r >/dev/null # the copy's change times are others
  (cd "$store" && eval "$5") || complain "$kind: the damage failed"
  before=$(bytes)
  findings check "${looking[@]}"
  grep -qxF "$kind $object $seen" "$work/found" || complain "$kind: check does not find it: $(<"$work/found")"
  ! grep '^told' "$work/found" || complain "$kind: not told as it should be"
  if grep -q ' left$' "$work/found"; then expect_status 1; else expect_status 0; fi
  cp "$work/found" "$work/check"
  tree >"$work/tree"
  findings repair -n "${options[@]}"
  cmp -s "$work/found" "$work/check" || complain "$kind: repair -n says something else than check"
  expect_equal "$(tree)" "$(<"$work/tree")" "$kind: a dry run changed something"

  findings repair "${options[@]}"
  ! grep '^told' "$work/found" || complain "$kind: repair does not tell as it should"
  case $outcome in
  gone) grep -qxF "$kind $object left" "$work/found" || complain "$kind: repair does not tell: $(<"$work/found")" ;;
  *) grep -qxF "$kind $object $outcome" "$work/found" || complain "$kind: not $outcome: $(<"$work/found")" ;;
  esac
  grep -E ' (left|noted)$' "$work/found" | sort >"$work/left" || true
  expect_equal "$(bytes)" "$before" "$kind: repair changed a message"
  findings check "${looking[@]}"
  # A message whose file is gone goes on being told of, though nothing is wrong any more.
  [ "$kind" != missing-file ] || grep -qx 'lost .* noted' "$work/found" || complain "$kind: check forgot it"
  sed -i '/^lost .* noted$/d' "$work/found"
  [ -z "$(comm -23 "$work/found" "$work/left")" ] ||
    complain "$kind: check finds more than repair left: $(comm -23 "$work/found" "$work/left")"
  case $outcome in
  left | noted) grep -qxF "$kind $object $outcome" "$work/found" || complain "$kind: repair hid it" ;;
  *) [ ! -s "$work/found" ] || complain "$kind: something is still wrong: $(<"$work/found")" ;;
  esac
}

# overwrite FILE AT BYTES [SOURCE]: other bytes, the same date. A single random byte may be the one that was there.
overwrite() {
  local date
  date=$(stat -c @%Y "$1")
  head -c "$3" "${4:-/dev/zero}" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
  touch -d "$date" "$1"
}

# ---- messages and their rows ----

finding missing-row fixed "$inbox/0000000077.eml" '' "cp -p mail/$inbox/0000000001.eml mail/$inbox/0000000077.eml"
finding uidnext fixed "$inbox" '' "cp -p mail/$inbox/0000000001.eml mail/$inbox/0000000077.eml"
finding missing-file gone "$inbox/0000000002.eml" '' "rm mail/$inbox/0000000002.eml"
finding changed fixed "$inbox/0000000001.eml" '' "touch -d @1500000000 mail/$inbox/0000000001.eml"
finding changed fixed "$inbox/0000000001.eml" '' \
  "setfattr -n user.mailfs.state -v '1 99 1 0 - \\Seen' mail/$inbox/0000000001.eml"
# A date that no message can have never gets onto the file.
redate() {
  sqlite3 "$index" "UPDATE message SET internal_s = $1 WHERE id = (SELECT min (id) FROM message)"
}
for date in 0 -5000000000 99999999999 4611686018427387904; do
  finding changed fixed "$inbox/0000000001.eml" '' "redate $date"
  expect_equal "$(stat -c %Y "$store/mail/$inbox/0000000001.eml")" "$(stat -c %Y "$good/mail/$inbox/0000000001.eml")"
done
finding changed fixed "$inbox" '' "touch mail/$inbox"
finding changed fixed "$lists/0000000001.eml" '' "mv mail/$lists/0000000001.eml mail/$lists/.expunged"
finding changed fixed "$lists/0000000003.eml" '' "mv mail/$lists/.expunged/0000000003.eml mail/$lists"
finding state-mismatch fixed "$inbox/0000000001.eml" '' \
  "setfattr -n user.mailfs.state -v nonsense mail/$inbox/0000000001.eml"
finding summary-mismatch fixed "$inbox/0000000001.eml" --full \
  "sqlite3 $index \"UPDATE summary SET envelope = '()' WHERE id & 0xffffffff = 1\""
finding hash-mismatch left "$large" '' "overwrite mail/$large 100 1 <(echo X)"
finding hash-mismatch left "$large" --full "rm -r index; overwrite mail/$large 100 1 <(echo X)"
finding zero-run left "$large" '' "overwrite mail/$large 4096 8192"
finding truncated left "$large" '' "truncate -s 100 mail/$large"
finding size-mismatch left "$large" '' "printf more >>mail/$large"
finding nul noted "$inbox/0000000006.eml" --full \
  "printf 'Subject: nul\n\na\0b\n' | mailstore -q deliver joe@example.com >/dev/null"
finding hard-link left "$inbox/0000000077.eml" '' "ln mail/$inbox/0000000001.eml mail/$inbox/0000000077.eml"

# ---- databases ----

# impossible DATABASE: beside it lies a journal of an interrupted write, by which the database had more pages than
# any file can.
impossible() {
  python3 - "$1" <<'PYTHON'
import struct, sys
page = open(sys.argv[1], 'rb').read(65536)
size = struct.unpack('>H', page[16:18])[0]
total = 7 + sum(page[at] for at in range(size - 200, 0, -200)) & 0xffffffff
header = bytes.fromhex('d9d505f920a163d7') + struct.pack('>IIIII', 1, 7, 0xfffffff0, 512, size)
with open(sys.argv[1] + '-journal', 'wb') as journal:
    journal.write(header.ljust(512, b'\0') + struct.pack('>I', 1) + page[:size] + struct.pack('>I', total))
PYTHON
}

# The queue has free pages, by its header, that are not there; nobody comes across that who does not look for it.
misled() {
  mailstore -q queue add check joe@example.com >/dev/null
  printf '\0\0\0\5' | dd of=queue.sqlite3 bs=1 seek=36 conv=notrunc status=none
}

finding missing-index fixed "${inbox%/*}" '' "rm $index"
finding missing-index fixed "${inbox%/*}" '' "rm -r index"
finding missing-index fixed "${inbox%/*}" '' ": >$index"
finding bad-index fixed "${inbox%/*}" '' "overwrite $index 0 1"
finding bad-index fixed "${inbox%/*}" --full "overwrite $index 24576 4096 /dev/urandom"
finding bad-index fixed "${inbox%/*}" '' "rm $index; mkdir $index"
finding hot-journal fixed "${inbox%/*}" '' "interrupt $index"
finding hot-journal fixed "${inbox%/*}" '' "impossible $index"
finding bad-index fixed ../queue.sqlite3 '' misled
finding missing-index fixed ../mailboxes.sqlite3 '' 'rm mailboxes.sqlite3'
finding bad-index fixed ../mailboxes.sqlite3 '' 'overwrite mailboxes.sqlite3 0 1'
finding bad-index fixed ../mailboxes.sqlite3 --full 'overwrite mailboxes.sqlite3 8192 4000 /dev/urandom'
finding hot-journal fixed ../mailboxes.sqlite3 '' 'interrupt mailboxes.sqlite3'

# Of a user who is named all of the index is looked at, by a dry run as well.
rm -rf "$store"
cp -a "$good" "$store"
mailstore -q reconstruct -r >/dev/null
overwrite "$store/$index" 24576 4096 /dev/urandom
findings repair -n joe@example.com
expect_equal "$(<"$work/found")" "bad-index ${inbox%/*} left"
run test
expect_out 'repair --full'
findings repair joe@example.com
grep -qx "bad-index ${inbox%/*} fixed" "$work/found" || complain "not fixed: $(<"$work/found")"

# ---- directories ----

finding unlisted fixed "$inbox/New" '' "mkdir -m 750 mail/$inbox/New"
finding state-mismatch fixed "$inbox/New" '' "mkdir -m 750 mail/$inbox/New"
finding state-mismatch fixed "$inbox" '' "setfattr -x user.mailfs.mailbox mail/$inbox"
finding state-mismatch fixed '' '' "setfattr -x user.mailfs.store mail"
finding missing-directory fixed "$lists" '' "rm -r mail/$lists"
finding duplicate-number fixed "${lists}2" '' "cp -a mail/$lists mail/${lists}2"
finding stray left "$inbox/notes.txt" '' "touch mail/$inbox/notes.txt"
finding stray left "$inbox/notes.txt" '' \
  "touch mail/$inbox/notes.txt; cp mail/$inbox/0000000001.eml mail/$inbox/0000000009.eml"
finding stray left "$inbox/0000000009.eml" '' "ln -s 0000000001.eml mail/$inbox/0000000009.eml"
finding stray left example.com/notes.txt '' 'touch mail/example.com/notes.txt'
finding stray left ../notes.txt '' 'touch notes.txt'
finding stray left ../index/example.com/user/ann.sqlite3 '' "cp -p $index index/example.com/user/ann.sqlite3"
finding stray left ../tmp/notes.txt '' 'touch tmp/notes.txt'
finding leftover fixed ../tmp/1.dead '' 'mkdir tmp/1.dead; touch tmp/1.dead/0'
finding no-attributes noted "$inbox" '' "touch mail/$inbox/.state"

# ---- owners and modes ----

finding permission fixed "$inbox/0000000001.eml" --permissions "chmod 0 mail/$inbox/0000000001.eml"
finding permission left "$inbox/0000000001.eml" '' "chmod 0 mail/$inbox/0000000001.eml"
finding permission left "$inbox/0000000001.eml" --permissions \
  "ln mail/$inbox/0000000001.eml .other; chmod 0 mail/$inbox/0000000001.eml"
finding permission fixed "$inbox" --permissions "chmod 500 mail/$inbox"
finding permission fixed "../$index" --permissions "chmod 400 $index"
finding permission fixed ../mail --permissions 'chmod -R a+rX .'
finding permission fixed "$lists/.expunged/0000000003.eml" --permissions "chmod 400 mail/$lists/.expunged/*"
if [ "$(id -u)" -eq 0 ]; then
  finding permission fixed "$inbox/0000000001.eml" --permissions "chown nobody mail/$inbox/0000000001.eml"
  finding permission fixed ../mailfs.conf --permissions 'chown nobody mailfs.conf'
  finding permission fixed example.com --permissions 'chown nobody mail/example.com'
fi

# A link is never followed out of the store.
rm -rf "$store"
cp -a "$good" "$store"
echo secret >"$work/outside"
chmod 604 "$work/outside"
ln -s "$work/outside" "$store/mail/$inbox/.state"
rm -r "$store/quarantine"
ln -s "$work" "$store/quarantine"
chmod a+rx "$store" "$store/mail"
run repair --permissions
expect_equal "$(stat -c %a "$work/outside")" 604 'a link was followed'
expect_equal "$(stat -c %a "$work")" 700 'a link was followed'

# What one may not mend is left, and does not keep the rest from being mended.
if [ "$(id -u)" -eq 0 ]; then
  rm -rf "$store"
  cp -a "$good" "$store"
  chmod 755 "$work"
  chown -R nobody:nogroup "$store"
  mailstore -q reconstruct -r >/dev/null
  chmod 0 "$store/mail/$inbox/0000000001.eml"
  chown root "$store/mail/$inbox/0000000002.eml"
  rm "$store/mail/$inbox/0000000003.eml"
  status=0
  as_nobody mailstore -q check >"$work/out" || status=$?
  out=$(<"$work/out")
  expect_status 1
  expect_out "io-error           $inbox/0000000001.eml"
  as_nobody mailstore -q repair --permissions >"$work/out" || true
  out=$(<"$work/out")
  expect_out "permission         $inbox/0000000001.eml  mode 0000, owner 65534:65534; wanted 0640, 65534:65534 (fixed)"
  expect_out "permission         $inbox/0000000002.eml  mode 0640, owner 0:65534; wanted 0640, 65534:65534; chmod: "
  expect_out "missing-file       $inbox/0000000003.eml  the message file is gone; so is its row now; a backup may have it; 'lost list missing' tells what it was"
  run check
  expect_status 1
  expect_out "permission         $inbox/0000000002.eml"
  expect_err '1 left'
fi
