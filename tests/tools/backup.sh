#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# backup and restore, while the store is in use.
# shellcheck source-path=SCRIPTDIR
# shellcheck disable=SC2016 # keywords begin with a dollar sign
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
mailstore import -q --format eml "$sample" jane@example.com >/dev/null
mailstore deliver -c 'Public Folders/News@example.com' <"$sample/01-welcome.eml" >/dev/null
mailstore flag joe@example.com/INBOX 1 '+\Seen' '+$Work' >/dev/null
mailstore -q expunge --uid 2 joe@example.com/INBOX >/dev/null
inbox=$store/mail/example.com/user/joe/INBOX
backup="$work/the backup" # with a space
dump() {
  mailstore "$@" list --json -r
  mailstore "$@" list --json joe@example.com/INBOX
}
tree() {
  (cd "$1/mail" && find . '(' -type f -o -path '*/user/*/*' -o -path '*/shared/*' ')' ! -name .expunged \
    -printf '%p %s %T@ %m\n' | sort && getfattr -Rd -m user.mailfs . | sort)
}

# Whole, and a store of its own that agrees with itself.
run backup "$backup"
expect_status 0
expect_no_out
expect_equal "$(dump -s "$backup")" "$(dump)"
expect_equal "$(tree "$backup")" "$(tree "$store")" 'the trees'
run -s "$backup" check --full
expect_status 0
expect_no_out
run check
expect_status 0
expect_equal "$(stat -c %h "$backup/mail/example.com/user/joe/INBOX/0000000001.eml")" 1 'a hard link'
# A flag that is set later is not set in the backup.
mailstore flag joe@example.com/INBOX 3 '+\Flagged' >/dev/null
run -s "$backup" list --json joe@example.com/INBOX
expect_json '[row["flags"] for row in rows if row["uid"] == 3] == [[]]'

# Again: what is there stays, what changed follows, what is gone goes.
inode=$(stat -c %i "$backup/mail/example.com/user/joe/INBOX/0000000001.eml")
mailstore -q deliver joe@example.com <"$sample/05-bounce.eml" >/dev/null
mailstore -q deliver -c joe@example.com/New/Sub <"$sample/05-bounce.eml" >/dev/null
run backup "$backup"
expect_status 0
expect_equal "$(tree "$backup")" "$(tree "$store")" 'the trees of the second'
expect_equal "$(stat -c %i "$backup/mail/example.com/user/joe/INBOX/0000000001.eml")" "$inode" 'copied again'
run -s "$backup" check
expect_status 0

# Not over anything else.
mkdir "$work/other"
echo precious >"$work/other/file"
run backup "$work/other"
expect_status 73
expect_one_error
expect_equal "$(cat "$work/other/file")" precious
run backup "$store/mail"
expect_status 64
run backup
expect_status 64
mailstore -q -s "$work/third" init
run -s "$work/third" backup "$backup"
expect_status 73

# One user, one mailbox.
run backup "$work/joe" joe@example.com
expect_status 0
run -s "$work/joe" list --json -r
expect_json 'all("joe" in row["mailbox"] for row in rows)' 'len(rows) == 5'
run -s "$work/joe" check
expect_status 0
run backup "$work/inbox" joe@example.com/INBOX
expect_status 0
run -s "$work/inbox" list --json -r
expect_json 'len(rows) == 1' 'rows[0]["messages"] == 5'
run -s "$work/inbox" check --full
expect_status 0

# While mail comes and goes every backup agrees with itself.
for i in {1..40}; do
  mailstore deliver joe@example.com <"$sample/01-welcome.eml" >>"$work/uids"
  mailstore -q flag joe@example.com/INBOX 1 '+$Round'"$i" >/dev/null
  mailstore -q expunge --uid "$(tail -n 1 "$work/uids")" joe@example.com/INBOX >/dev/null
done &
while [ ! -s "$work/uids" ] || [ "$(wc -l <"$work/uids")" -lt 40 ]; do
  run backup "$backup"
  expect_status 0
  run -s "$backup" check
  expect_status 0
done
wait
run backup "$backup"
expect_equal "$(dump -s "$backup")" "$(dump)"

# A broken index is no obstacle: the backup makes its own.
cp "$store/index/example.com/user/jane.sqlite3" "$work/jane"
dd if=/dev/urandom of="$store/index/example.com/user/jane.sqlite3" bs=4096 count=1 conv=notrunc status=none
run backup "$work/broken"
expect_status 0
run -s "$work/broken" check --full
expect_status 0
cp "$work/jane" "$store/index/example.com/user/jane.sqlite3"

# Restore: nothing is missing, nothing is done.
expected=$(dump)
run restore "$backup"
expect_status 0
expect_no_out
expect_equal "$(dump)" "$expected"

# Messages that are gone, expunged since, or rotten; a user that is gone; what is newer stays.
rm "$inbox/0000000003.eml"
mailstore -q expunge --uid 4 joe@example.com/INBOX >/dev/null
mailstore -q flag joe@example.com/INBOX 1 '+\Answered' >/dev/null
printf X | dd of="$inbox/0000000005.eml" bs=1 seek=200 conv=notrunc status=none
newest=$(mailstore deliver joe@example.com <"$sample/01-welcome.eml")
rm -r "$store/mail/example.com/user/jane"
mailstore -q check --full >/dev/null || true
mailstore -q reconstruct --force -r >/dev/null || true
before=$(tree "$store")
run restore -n "$backup"
expect_status 0
expect_out '0000000003.eml  comes back'
expect_equal "$(tree "$store")" "$before" 'a dry run'
run restore "$backup"
expect_status 0
expect_out 'jane/INBOX/0000000001.eml  comes back'
expect_out 'joe/INBOX/0000000005.eml  comes back whole; the damaged file goes to quarantine'
run check --full
expect_status 0
run list --json joe@example.com/INBOX
expect_json "[row['uid'] for row in rows] == [1, 3, 4, 5, 6, $newest]" \
  '"\\Answered" in rows[0]["flags"] and "$Work" in rows[0]["flags"]' '"\\Flagged" in rows[1]["flags"]' \
  'rows[1]["modseq"] > rows[4]["modseq"]'
numbers() { mailstore "$@" list --json -r jane@example.com; }
expect_equal "$(numbers | sed 's/"highestmodseq":[0-9]*//')" \
  "$(numbers -s "$backup" | sed 's/"highestmodseq":[0-9]*//')" 'jane'
[ -n "$(ls "$store/quarantine")" ] || complain 'no evidence of the rotten message'
run restore "$backup"
expect_no_out

# By name, also where this store has no such thing; and one that the backup has not.
rm -r "$store/mail/example.com/user/jane"
mailstore -q reconstruct -m >/dev/null
run restore "$backup" jane@example.com/INBOX
expect_status 0
run list --json -r jane@example.com
expect_json 'len(rows) == 1' 'rows[0]["messages"] == 5'
run restore -u jane "$backup" example.com
expect_status 0
run list --json -r jane@example.com
expect_json 'len(rows) == 3'
run restore "$backup" nobody@example.com
expect_status 66

# As it was: what is newer leaves the mailbox, and can come back.
run restore --force "$backup" joe@example.com
expect_status 0
run list --json joe@example.com/INBOX
expect_json '[row["uid"] for row in rows] == [1, 3, 4, 5, 6]' '"\\Answered" not in rows[0]["flags"]'
run undelete --uid "$newest" joe@example.com/INBOX
expect_status 0
run check
expect_status 0

# Into a fresh store, with the UIDs and UIDVALIDITY of the old one.
fresh=$work/fresh
mailstore -q -s "$fresh" init
run -s "$fresh" restore "$backup"
expect_status 0
facts() { mailstore -s "$1" list --json -r | sed 's/"highestmodseq":[0-9]*//;s/"expunged":[0-9]*//'; }
expect_equal "$(facts "$fresh")" "$(facts "$backup")"
run -s "$fresh" check --full
expect_status 0

# An interrupted backup is not used, and is finished by the next one.
sed -i s/complete=true/complete=false/ "$backup/backup.conf"
run restore "$backup"
expect_status 65
expect_err 'not complete'
rm -r "$backup/index" "$backup/mail/example.com/user/joe/INBOX/0000000003.eml"
run backup "$backup"
expect_status 0
run -s "$backup" check --full
expect_status 0
expect_equal "$(dump -s "$backup")" "$(dump)"
run restore "$work/other"
expect_status 66
