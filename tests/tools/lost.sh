#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore lost: what lies in no mailbox any more is listed, told of, put back and removed.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

directory=$store/mail/example.com/user/joe/INBOX
mailstore -q init
for _ in 1 2 3 4 5; do
  mailstore deliver -c joe@example.com <"$sample/01-welcome.eml" >/dev/null
done
mailstore -q flag joe@example.com 2 +Flagged +Work
run lost
expect_status 0
expect_no_out
expect_no_err

# One of each kind.
mailstore -q expunge --uid 1 joe@example.com/INBOX >/dev/null
rm "$directory/0000000002.eml"
printf rot | dd of="$directory/0000000003.eml" conv=notrunc status=none
cp "$sample/01-welcome.eml" "$directory/notes.txt"
printf 'evil' >"$directory/$(printf 'e\033[31m\n.json')"
cp "$directory/notes.txt" "$store/tmp/left"
run -q repair --full
expect_status 1
number=$(printf '%08u' "$(getfattr --absolute-names --only-values -n user.mailfs.mailbox "$directory" | cut -d ' ' -f 2)")
cat >"$work/expected" <<END
orphans/00000000-%2E.%2Ftmp%2Fleft  ../tmp/left
orphans/$number-e%1B[31m%0A.jso%6E  example.com/user/joe/INBOX/e\\x1b[31m\\x0a.json
orphans/$number-notes.txt  example.com/user/joe/INBOX/notes.txt
expunged/$number-0000000001.eml  example.com/user/joe/INBOX/.expunged/0000000001.eml
damaged/$number-0000000003.eml  example.com/user/joe/INBOX/0000000003.eml
missing/$number-0000000002.eml  example.com/user/joe/INBOX/0000000002.eml
END
run lost
expect_status 0
diff "$work/expected" "$work/out" || complain 'the list'
run lost list missing expunged
expect_equal "$out" "$(grep ^missing "$work/expected"; grep ^expunged "$work/expected")"
run --json lost list missing
expect_json 'len(rows) == 1' 'rows[0]["problem"] == "lost"' 'rows[0]["object"].endswith ("2.eml")'
run lost show "missing/$number-0000000002.eml" "damaged/$number-0000000003.eml"
expect_status 0
expect_json 'rows[0]["flags"] == ["\\Flagged", "Work"]' 'rows[0]["flags_source"] == "record"' \
  'rows[0]["subject"]' 'not rows[0]["bytes"]' 'rows[0]["path"].startswith("mail/example.com/")' \
  'rows[1]["sha256"] != rows[1]["delivered_sha256"]' 'rows[1]["mailbox"] == "joe@example.com/INBOX"'
run --forensic lost
diff "$work/expected" "$work/out" || complain 'the list of evidence'

# Out of it.
run lost restore --to joe@example.com/Found "orphans/$number-notes.txt"
expect_status 66
expect_one_error
mailstore -q mailbox create joe@example.com/Found
run lost restore --to joe@example.com/Found "orphans/$number-notes.txt" orphans/00000000-%2E.%2Ftmp%2Fleft
expect_status 0
expect_equal "$out" $'1\n2'
cmp "$sample/01-welcome.eml" "$store/mail/example.com/user/joe/Found/0000000001.eml" || complain 'other bytes'
[ ! -e "$directory/notes.txt" ] || complain 'the orphan is still there'
[ ! -e "$store/tmp/left" ] || complain 'what was left is still there'
run lost restore "expunged/$number-0000000001.eml"
expect_status 0
expect_equal "$out" 1
run lost restore "missing/$number-0000000002.eml"
expect_status 64
expect_one_error
run lost remove "missing/$number-0000000002.eml"
expect_status 64
run lost remove --force "damaged/$number-0000000003.eml"
expect_status 64
run lost remove --force "missing/$number-0000000002.eml" "orphans/$number-e%1B[31m%0A.jso%6E"
expect_status 0
run lost
expect_equal "$out" "$(grep ^damaged "$work/expected")"
mailstore -q expunge --uid 3 joe@example.com/INBOX >/dev/null
run -q check --full
expect_status 1
run lost show "missing/$number-0000000002.eml"
expect_status 66
expect_one_error
for words in 'list nothing' 'list orphans/x' 'show orphans' 'show nothing/x' 'nothing' 'restore'; do
  # shellcheck disable=SC2086 # they are several
  run lost $words
  expect_status 64
  expect_one_error
done

# A time that nanoseconds cannot tell; the sanitizers see what becomes of it.
mkdir -p "$store/quarantine/99991231T235959Z-00000000/example.com"
cp "$sample/01-welcome.eml" "$store/quarantine/99991231T235959Z-00000000/example.com/far.eml"
run lost list quarantine
expect_status 0
expect_out 'quarantine/99991231T235959Z-00000000%2Fexample.com%2Ffar.eml'
