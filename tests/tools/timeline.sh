#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore timeline, and what mactime of the Sleuth Kit makes of it; mailstore manifest --json.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
deliver() {
  printf 'From: a@example.org\nDate: Mon, 3 Jun 2024 08:00:00 +0000\nSubject: x\n\n%s\n' "$1" |
    mailstore -q deliver -c --date "$2" "$3" >"$work/uid"
}
for number in 1 2 3; do
  deliver "$number" "2024-06-03T08:0$number:00Z" joe@example.com
done
deliver 4 2024-06-04T00:00:00Z $'joe@example.com/a|b\n0|c'
mailstore -q flag joe@example.com 1 +Seen
mailstore -q snapshot take before >"$work/out"
mailstore -q flag joe@example.com 1 +Flagged
mailstore -q expunge --uid 2 joe@example.com/INBOX >"$work/out"
mailstore -q mailbox create joe@example.com/Old
mailstore -q mailbox remove joe@example.com/Old >"$work/out"
inbox=$store/mail/example.com/user/joe/INBOX

# column FIELD NAME: a field of the line about NAME, below joe's INBOX.
column() {
  awk -F'|' -v name="/example.com/user/joe/INBOX/$2" -v field="$1" '$2 == name {print $field}' "$work/body"
}
mailstore timeline >"$work/body"
expect_equal "$(awk -F'|' '!/^#/ && NF != 11' "$work/body")" '' 'lines of other than eleven fields'
expect_equal "$(tail -n 1 "$work/body")" "# complete: $(grep -vc '^#' "$work/body") lines"
file=$inbox/0000000001.eml
expect_equal "$(column 3 0000000001.eml)|$(column 4 0000000001.eml)|$(column 5 0000000001.eml)" \
  "$(stat -c '%i|r/r' "$file")$(stat -c '%A' "$file" | cut -c 2-)|$(stat -c %u "$file")"
expect_equal "$(column 7 0000000001.eml) $(column 8 0000000001.eml) $(column 9 0000000001.eml) $(column 10 0000000001.eml)" \
  "$(stat -c '%s %X %Y %Z' "$file")"
expect_equal "$(column 9 '0000000001.eml')" "$(date -u -d '2024-06-03 08:01' +%s)"
expect_equal "$(column 9 '0000000001.eml (Date)')" "$(date -u -d '2024-06-03 08:00' +%s)"
expect_equal "$(column 10 '0000000002.eml (expunged)')" "$(stat -c %Z "$inbox/.expunged/0000000002.eml")"
expect_equal "$(column 2 '0000000001.eml (flags: \Seen)')" '/example.com/user/joe/INBOX/0000000001.eml (flags: \Seen)'
expect_equal "$(grep -c '/before (snapshot)|' "$work/body") $(grep -c '/INBOX/Old\? (taken out)\|Old (taken out)' "$work/body")" '1 1'
expect_equal "$(grep -c '^0|/example.com/user/joe/a\\x7cb' "$work/body")" 3 'a name with the separator'
mailstore timeline joe@example.com/INBOX >"$work/part"
expect_equal "$(grep -c snapshot "$work/part")" 0
expect_equal "$(grep -c eml "$work/part")" 8
run --snapshot before timeline
expect_status 64

# A state that several snapshots have is told once.
for name in second third; do
  mailstore -q snapshot take "$name" >"$work/out"
  mailstore -q flag joe@example.com 1 "+$name"
done
mailstore -q flag joe@example.com 3 +Seen
mailstore timeline joe@example.com/INBOX >"$work/part"
expect_equal "$(grep -c '0000000003.eml (flags:)' "$work/part")" 1

# What cannot be written is told with its own reason, whatever was looked at since.
mkdir "$work/many"
for number in {1..60}; do
  printf 'Subject: %s\n\n' "$number" >"$work/many/$number.eml"
done
mailstore -q -s "$work/full" init
mailstore -q -s "$work/full" import --format eml "$work/many" joe@example.com
for words in timeline manifest 'manifest --json' 'export --format jsonl'; do
  status=0
  read -ra words <<<"$words"
  mailstore -s "$work/full" "${words[@]}" >/dev/full 2>"$work/err" || status=$?
  expect_status 74
  expect_equal "$(<"$work/err")" 'mailstore: write: No space left on device' "${words[*]}"
done

# Another one reads it so.
if command -v mactime >/dev/null; then
  mactime -b "$work/body" -d -y -z UTC 2024-06-03 >"$work/csv" 2>"$work/err"
  expect_equal "$(grep -c '2024-06-03T08:0[123]:00Z.*m\.\.\.\|2024-06-03T08:0[123]:00Z.*,ma\.\.,' "$work/csv")" 3
  expect_equal "$(sed -n 's/^2024-06-03T08:02:00Z,[0-9]*,m[a.]*,.*,"\(.*\)"$/\1/p' "$work/csv")" \
    '/example.com/user/joe/INBOX/0000000002.eml (expunged)'
  expect_equal "$(grep -c '(snapshot)' "$work/csv")" 1
else
  [ -z "${CI:-}" ] || complain 'no mactime, of the package sleuthkit'
fi

# The manifest as a document: complete, or it says so; damage that is known.
printf X | dd of="$inbox/0000000003.eml" bs=1 seek=3 conv=notrunc status=none
mailstore -q repair joe@example.com >"$work/out" 2>&1 || true
mailstore manifest --json >"$work/manifest.json"
mailstore manifest >"$work/manifest"
python3 - "$work" "$store" <<'PYTHON'
import hashlib, json, os, sys
work, store = sys.argv[1:]
document = json.load(open(f'{work}/manifest.json'))
assert list(document)[-2:] == ['count', 'complete'] and document['complete'] is True
assert document['count'] == len(document['messages']) == 3
lines = [line.split('  ', 1) for line in open(f'{work}/manifest') if line[0] != '#']
assert sorted(line[0].lstrip('\\') for line in lines) == sorted(row['sha256'] for row in document['messages'])
for row in document['messages']:
    path = os.path.join(store, 'mail', row['path'])
    data = open(path, 'rb').read()
    assert row['size'] == len(data) and row['uid'] == int(os.path.basename(path)[:-4])
    assert (hashlib.sha256(data).hexdigest() == row['sha256']) == (row['damage'] == [])
    assert row['internaldate'].startswith('2024-06-0')
assert [row['damage'] for row in document['messages'] if row['damage']] == [['digest']]
PYTHON

# What is empty is a document, too.
mailstore manifest --json joe@example.com/Old >"$work/out" 2>"$work/err" || true
mailstore -q mailbox create ann@example.com
mailstore manifest --json ann@example.com | python3 -c '
import json, sys
document = json.load(sys.stdin)
assert document["messages"] == [] and document["count"] == 0 and document["complete"]'

# A message whose file is gone: as its row tells, in evidence, too, then as it was noted, with the time of that; in the end
# its mailbox is gone as well.
rm "$inbox/0000000001.eml"
for how in '' --forensic; do
  mailstore ${how:+"$how"} timeline >"$work/body"
  expect_equal "$(column 9 '0000000001.eml (missing)') $(column 10 '0000000001.eml (missing)')" "$(date -u -d '2024-06-03 08:01' +%s) 0"
  expect_equal "$(column 7 '0000000001.eml (missing)')|$(column 3 '0000000001.eml (missing)')" \
    "$(stat -c %s "$inbox/.expunged/0000000002.eml")|0"
  expect_equal "$(column 9 '0000000001.eml (Date)')" "$(date -u -d '2024-06-03 08:00' +%s)"
done
before=$(date +%s)
mailstore -q repair >"$work/out" 2>&1 || true
mailstore timeline joe@example.com/INBOX >"$work/body"
missed=$(column 10 '0000000001.eml (missing)')
if [ "$missed" -lt "$before" ] || [ "$missed" -gt "$(date +%s)" ]; then
  complain "missed at '$missed'"
fi
expect_equal "$(column 9 '0000000001.eml (missing)') $(column 9 '0000000001.eml (Date)')" \
  "$(date -u -d '2024-06-03 08:01' +%s) $(date -u -d '2024-06-03 08:00' +%s)"
number=$(basename "$store"/missing/*)
run --json lost show "missing/$(printf %08d "$number")-0000000001.eml"
expect_status 0
expect_json "rows[0]['missed'] == '$(date -u -d "@$missed" +%Y-%m-%dT%H:%M:%SZ)'"
rm -r "$inbox"
mailstore -q repair >"$work/out" 2>&1 || true
mailstore timeline >"$work/body"
expect_equal "$(grep -c "^0|/missing/$number/0000000001.eml (missing)|" "$work/body")" 1
expect_equal "$(tail -n 1 "$work/body")" "# complete: $(grep -vc '^#' "$work/body") lines"
