#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The verbs of the command table: check, reconstruct and reset, their words, targets and findings.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
mailstore import -q --format eml "$sample" jane@example.com >/dev/null
mailstore deliver -c 'Public Folders/admin@foo.com' <"$sample/01-welcome.eml" >/dev/null
mailstore deliver -c 'Public Folders/admin@foo.com/sub' <"$sample/01-welcome.eml" >/dev/null
mailstore deliver -c solo <"$sample/01-welcome.eml" >/dev/null
dump() {
  mailstore list --json -r | sort
  mailstore list --json joe@example.com/INBOX
}

run check
expect_status 0
expect_no_out
expect_err '0 left'
run -q check
expect_no_err
run --json check
expect_status 0
expect_json 'len(rows) == 1' 'rows[0]["type"] == "result"' 'rows[0]["left"] == 0' 'rows[0]["messages"] == 19'

# How many mailboxes a reconstruct with these arguments looks at: the ways administrators know.
looks_at() {
  local mailboxes=$1
  shift
  run --json "$@"
  expect_status 0
  expect_json "rows[-1]['mailboxes'] == $mailboxes"
}
looks_at 9 reconstruct -r
looks_at 6 reconstruct -r example.com
looks_at 3 reconstruct -r -u joe example.com
looks_at 1 reconstruct -u joe example.com INBOX
looks_at 2 reconstruct -u joe example.com INBOX Receipts
printf 'joe@example.com\n\njane@example.com/INBOX\n' >"$work/list"
looks_at 4 reconstruct --from-file "$work/list"
looks_at 1 reconstruct --from-file - <<<'solo'
: >"$work/empty"
run reconstruct --from-file "$work/empty"
expect_status 64
expect_err 'names no mailbox'
run reconstruct --from-file "$work/none"
expect_status 66
looks_at 1 reconstruct foo.com admin
looks_at 2 reconstruct -r foo.com admin
looks_at 1 reconstruct foo.com admin/sub
looks_at 3 reconstruct -r example.com user/joe
looks_at 1 reconstruct joe@example.com/INBOX
looks_at 2 reconstruct joe@example.com/INBOX jane@example.com/INBOX
looks_at 3 reconstruct recursive joe@example.com
looks_at 3 reconstruct -r 'Other Users/joe@example.com'
looks_at 2 reconstruct -r 'Public Folders/admin@foo.com'
looks_at 1 reconstruct -f "$store/mailfs.conf" -u joe example.com INBOX
looks_at 4 reconstruct joe@example.com jane@example.com/INBOX joe@example.com/Lists joe@example.com
looks_at 1 reconstruct solo local
looks_at 1 check -r solo/INBOX local solo@local
looks_at 1 reconstruct 1 joe@example.com/INBOX

# A file that the index does not know: found, not changed by a check or a dry run, then taken in.
inbox=$store/mail/example.com/user/joe/INBOX
cp "$sample/05-bounce.eml" "$inbox/0000000077.eml"
run check joe@example.com/INBOX
expect_status 1
expect_out missing-row
expect_out 0000000077.eml
expect_err '2 left'
[[ $err != *fixed* ]] || complain 'check speaks of fixing'
run --json check -r joe@example.com
expect_status 1
expect_json 'rows[0]["type"] == "finding"' 'rows[0]["problem"] == "missing-row"' 'rows[0]["uid"] == 77' \
  'rows[0]["outcome"] == "left"' 'rows[0]["remedy"]' 'rows[-1]["left"] == len(rows) - 1'
before=$(cd "$store" && find . -type f -printf '%p %s %T@\n' | sort)
run reconstruct -n joe@example.com/INBOX
expect_status 1
expect_out missing-row
run reconstruct dry-run joe@example.com/INBOX
expect_status 1
expect_equal "$(cd "$store" && find . -type f -printf '%p %s %T@\n' | sort)" "$before" 'a dry run changed files'
expect_err '(dry run)'
run reset -n joe@example.com
expect_err 'reset (dry run): '
# In a log the findings come before the summary.
mailstore check joe@example.com/INBOX >"$work/log" 2>&1 || true
[[ $(tail -n 1 "$work/log") == 'mailstore: check: '* ]] || complain 'the summary is not last'
run reconstruct joe@example.com/INBOX
expect_status 0
expect_out missing-row
expect_out '(fixed)'
run check
expect_status 0
run cat joe@example.com/INBOX 77
expect_status 0
rm "$inbox/0000000077.eml"
run reconstruct joe@example.com/INBOX
expect_status 1 # the row can be mended, the message cannot
expect_out missing-file
run deliver joe@example.com <"$sample/01-welcome.eml"
[ "$out" -gt 77 ] || complain 'a UID was used twice'
rm "$inbox/00000000$out.eml"
mailstore -q reconstruct joe@example.com/INBOX >/dev/null || true

# Others may deliver meanwhile: what is just under way is no finding.
for _ in {1..60}; do
  mailstore deliver joe@example.com/Lists <"$sample/01-welcome.eml" >>"$work/uids"
done &
while [ ! -s "$work/uids" ] || [ "$(wc -l <"$work/uids")" -lt 60 ]; do
  run check joe@example.com/Lists
  expect_status 0
done
wait

# Somebody who may only read can check, too, and is told that this is too many. (The change of modes
# touched every file.)
chmod -R a+rX "$store" "$work"
mailstore -q reconstruct -r >/dev/null
status=0
out=$(as_nobody mailstore -q check 2>&1) || status=$?
expect_status 1
expect_out 'permission         ../mail  mode 0755, owner 0:0; wanted 0750, 0:0'
! grep -v -e '^permission' -e '^lost ' -e '^and ' <<<"$out" || complain 'more than permissions is wrong'
status=0
out=$(as_nobody mailstore reconstruct --force 2>&1) || status=$?
expect_status 77
chmod -R o-rwx "$store"

# Reset empties the index and touches no file; a reconstruct fills it again.
mailstore -q reconstruct -r >/dev/null
expected=$(dump)
files=$(cd "$store/mail" && find . -printf '%p %i %s %T@ %C@\n' | sort)
run reset joe@example.com
expect_status 0
run reconstruct -r joe@example.com
expect_status 0
expect_equal "$(cd "$store/mail" && find . -printf '%p %i %s %T@ %C@\n' | sort)" "$files" 'files were touched'
expect_equal "$(dump)" "$expected" 'reset and reconstruct changed what is seen'

# The mailbox list.
rm "$store/mailboxes.sqlite3"
run reconstruct -m
expect_status 0
[ -s "$store/mailboxes.sqlite3" ] || complain 'no mailbox list'
run check
expect_status 0

# Damage: only check --full reads the messages.
printf X | dd of="$inbox/0000000001.eml" bs=1 seek=300 conv=notrunc status=none
touch -r "$inbox/0000000002.eml" "$inbox/0000000001.eml"
run check --full joe@example.com/INBOX
expect_status 1
expect_out 0000000001.eml

# It stays known without the index, until somebody accepts the bytes: mailfs-store(5).
rm "$store/index/example.com/user/joe.sqlite3"
mailstore -q reconstruct -r joe@example.com >/dev/null || true
run check --full joe@example.com/INBOX
expect_out 0000000001.eml
setfattr -x user.mailfs.state "$inbox/0000000001.eml"
mailstore -q reset joe@example.com/INBOX
mailstore -q reconstruct joe@example.com/INBOX >/dev/null || true
run check --full joe@example.com/INBOX
[[ $out != *0000000001.eml* ]] || complain 'accepted bytes are still called damaged'
run list --json joe@EXAMPLE.com/inbox
expect_status 0
run list joe@Example.Com/inbox/Missing
expect_status 66

# A damaged index.
index=$(find "$store/index" -name 'jane*.sqlite3')
printf 'no database at all, but long enough to look like one' | dd of="$index" conv=notrunc status=none
run check -r jane@example.com
expect_status 1
expect_out bad-index
run list --json jane@example.com/INBOX
expect_status 0
expect_json 'len(rows) == 5'
run reconstruct -r jane@example.com
expect_status 0
run check -r jane@example.com
expect_status 0

# Very many findings: the first of them, and all of them with --json.
for i in $(seq 60); do
  echo "Subject: $i" >"$inbox/$(printf %010d $((1000 + i))).eml"
done
run check joe@example.com/INBOX
expect_status 1
expect_equal "$(wc -l <"$work/out")" 51
expect_out ' more (--json prints all)'
run check --json joe@example.com/INBOX
expect_json 'sum(row.get("outcome") == "left" for row in rows) == rows[-1]["left"]' 'len(rows) > 60'

# Usage.
run reconstruct -r example.net
expect_status 66
expect_one_error
run reconstruct -u nobody example.com
expect_status 66
run reconstruct foo.com missing
expect_status 66
run reset ''
expect_status 64
expect_one_error
run check --frobnicate
expect_status 64
run reset -m --frobnicate
expect_status 64
