#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore list: mailboxes, and the messages of one.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
run list
expect_status 0
expect_no_out
run list -l
expect_status 0
expect_out MAILBOX
expect_equal "$(wc -l <"$work/out")" 1

mailstore import -q --format eml "$sample" joe@example.com >/dev/null
mailstore deliver -c 'Public Folders/Announcements@example.com' <"$sample/01-welcome.eml" >/dev/null
mailstore deliver -c 'jane@example.org/Über/a b' <"$sample/01-welcome.eml" >/dev/null

run list
expect_status 0
expect_no_err
expect_out 'joe@example.com/INBOX'
expect_out 'jane@example.org/Über/a b'
expect_out 'Announcements'
# What is printed can be typed again.
while read -r mailbox; do
  mailstore list "$mailbox" >/dev/null || complain "'$mailbox' is printed but not understood"
done <"$work/out"

run list example.org
expect_equal "$out" 'jane@example.org/Über
jane@example.org/Über/a b'
run list joe@example.com
expect_out 'joe@example.com/INBOX'
[[ $out != *jane* ]] || complain 'list of a user shows another user'
run list -r 'jane@example.org/Über'
expect_equal "$out" 'jane@example.org/Über
jane@example.org/Über/a b'

run list -l
expect_status 0
head -1 "$work/out" | grep -q 'MSGS.*SIZE.*UNSEEN.*GONE.*VALIDITY.*NEXT.*HEALTH.*MAILBOX' ||
  complain 'headings'
# Columns stand under their headings.
python3 - "$work/out" <<'PYTHON' || complain 'columns are not aligned'
import sys
lines = open(sys.argv[1], encoding='utf-8').read().splitlines()
at = lines[0].index('MAILBOX')
assert all(line[at - 1] == ' ' and line[at] != ' ' for line in lines)
end = lines[0].index('MSGS') + len('MSGS')
assert all(line[:end].strip().isdigit() for line in lines[1:])
PYTHON
# A usual name fits 80 columns.
grep -q '^.\{,80\}$' <(grep 'joe@example.com/Receipts$' "$work/out") || complain 'lines are too long'
run list -l --no-headers
expect_equal "$(wc -l <"$work/out")" "$(mailstore list | wc -l)"
run --json list
expect_json "len(rows) == $(mailstore list | wc -l)" 'all(r["health"] == "ok" for r in rows)' \
  'sum(r["messages"] for r in rows) == 10' 'all(r["uidvalidity"] > 0 for r in rows)' \
  'sorted(r["path"] for r in rows)[-1] == "example.org/user/jane/Über/a b"' \
  'all(r["unseen"] == r["messages"] for r in rows)'

# Messages.
mailstore flag joe@example.com/INBOX 2 +Seen +Flagged +work
run list joe@example.com/INBOX
expect_status 0
head -1 "$work/out" | grep -q 'UID.*SIZE.*DATE.*FLAGS.*FROM.*SUBJECT' || complain 'headings'
expect_out 'Grüße aus Köln – 友達へ'
expect_out '\Flagged'
run list -l --no-headers joe@example.com/INBOX
expect_out '\Flagged \Seen work'
# Long flags move no column, and no line ends in blanks.
mailstore deliver --flags '\Answered \Draft \Flagged \Seen a-keyword-longer-than-all' -c wide@example.com \
  <"$sample/01-welcome.eml" >/dev/null
echo >"$work/blank" && mailstore deliver wide@example.com <"$work/blank" >/dev/null
for long in '' -l; do
  # shellcheck disable=SC2086
  run list $long wide@example.com/INBOX
  at=$(sed -n '1s/FROM.*//p' "$work/out")
  [[ $(sed -n 2p "$work/out" | cut -c "$((${#at} + 1))-") == Anna* ]] || complain 'long flags shift the columns'
  ! grep -q ' $' "$work/out" || complain 'trailing blanks'
done
rm -r "$store/mail/example.com/user/wide"
mailstore -q reconstruct -m >/dev/null || true
run list --json joe@example.com/INBOX
expect_json 'rows[1]["subject"] == "Grüße aus Köln – 友達へ"' 'rows[1]["uid"] == 2' \
  'rows[1]["name"] == "0000000002.eml"' 'rows[1]["flags"] == ["\\Flagged", "\\Seen", "work"]' \
  'rows[0]["sent"] == "2024-06-03T06:15:00Z"' 'rows[0]["damage"] == []' \
  'rows[0]["message_id"] == "<20240603081500.1@example.org>"' '"Anna Berg" in rows[0]["from"]'
run --json list -l joe@example.com/Receipts
expect_json 'rows[-1]["sent"] is None' 'rows[-1]["message_id"] is None'

# A message that would move the cursor, and one that is not UTF-8, are printed harmlessly.
printf 'From: \033[2J\a x\nSubject: \033]0;owned\a \377\376 end\n\nbody\n' >"$work/evil"
mailstore deliver -c evil@example.com <"$work/evil" >/dev/null
run list evil@example.com/INBOX
expect_status 0
expect_out end
LC_ALL=C grep -q $'[\001-\010\013-\037\177]' "$work/out" && complain 'control bytes were printed'
iconv -f UTF-8 -t UTF-8 "$work/out" >/dev/null || complain 'what was printed is not UTF-8'
run list --json evil@example.com/INBOX
expect_json 'rows[0]["subject"].endswith("end")'

# Without the index too, from the files.
rm -r "$store/index" "$store/mailboxes.sqlite3"
run list --json -r
expect_status 0
expect_json 'sum(r["messages"] for r in rows) == 11'
run list --json joe@example.com/INBOX
expect_json 'rows[1]["subject"] == "Grüße aus Köln – 友達へ"' 'rows[1]["flags"] == ["\\Flagged", "\\Seen", "work"]'
[ ! -e "$store/mailboxes.sqlite3" ] || complain 'list wrote a mailbox list'

run list joe@example.com/Missing
expect_status 66
expect_one_error
run list nobody@example.com
expect_status 66
run list one two
expect_status 64
