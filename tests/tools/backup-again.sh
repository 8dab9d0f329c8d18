#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A backup that is brought up to date: what was moved is not copied again, what was removed leaves it,
# and what has vanished does not.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
for name in One Two Two/Deep; do
  mailstore -q deliver -c "joe@example.com/$name" <"$sample/01-welcome.eml" >/dev/null
  mailstore -q deliver "joe@example.com/$name" <"$sample/05-bounce.eml" >/dev/null
done
mailstore -q deliver -c jane@example.com/INBOX <"$sample/02-unicode.eml" >/dev/null
mailstore -q deliver -c ann@example.org/INBOX <"$sample/02-unicode.eml" >/dev/null
backup=$work/backup
user=$store/mail/example.com/user/joe
copies=$backup/mail/example.com/user/joe
dump() {
  mailstore "$@" list --json -r
  mailstore "$@" list --json joe@example.com/INBOX
}
inodes() { (cd "$1" && find . -name '*.eml' -printf '%i %p\n' | sort); }
# So many messages are copied, and the backup is the store.
expect_copies() {
  run backup --json "$backup"
  expect_status 0
  expect_json "rows[-1]['taken'] == $1"
  expect_equal "$(dump -s "$backup")" "$(dump)" 'the backup'
  run -s "$backup" check --full
  expect_status 0
  (cd "$backup" && sha256sum --quiet -c manifest.sha256) || complain 'the manifest does not fit'
}

expect_copies 16
expect_copies 0
mailstore -q deliver joe@example.com <"$sample/05-bounce.eml" >/dev/null
expect_copies 1

# Renamed, also into each other's names and places; expunged and brought back; flagged.
before=$(inodes "$copies/One" | cut -d ' ' -f 1)
mailstore -q mailbox rename joe@example.com/One joe@example.com/Three
mailstore -q mailbox rename joe@example.com/Two joe@example.com/One
mailstore -q mailbox rename joe@example.com/Three joe@example.com/Two
mailstore -q mailbox rename joe@example.com/One/Deep joe@example.com/Two/Deep
expect_copies 0
expect_equal "$(inodes "$copies/Two" | grep -v Deep | cut -d ' ' -f 1)" "$before" 'the inodes of what was renamed'
mailstore -q expunge --uid 1 joe@example.com/Two >/dev/null
mailstore -q flag joe@example.com/Two 2 +Flagged >/dev/null
expect_copies 0
[ -e "$copies/Two/.expunged/0000000001.eml" ] || complain 'the expunged message is not in the backup'
mailstore -q undelete --uid 1 joe@example.com/Two >/dev/null
expect_copies 0

# A renamed mailbox in which a message rotted still has the whole one.
printf '\001' | dd of="$user/Two/0000000001.eml" bs=1 seek=150 conv=notrunc status=none
mailstore -q mailbox rename joe@example.com/Two joe@example.com/Renamed
run backup "$backup"
expect_status 1
expect_out 'keeps the whole copy'
run -s "$backup" check --full
expect_status 0
cmp "$copies/Renamed/0000000001.eml" "$copies/One/0000000001.eml" || complain 'a rotten copy'
mailstore -q restore "$backup" >/dev/null
expect_copies 0

# Removed: expunged and cleaned up, a mailbox, a user.
mailstore -q expunge --uid 2 joe@example.com/INBOX >/dev/null
mailstore -q cleanup --age 0 joe@example.com/INBOX >/dev/null
mailstore -q mailbox remove -r joe@example.com/One >/dev/null
mailstore -q mailbox remove -r jane@example.com >/dev/null
expect_copies 0
[ ! -e "$copies/One" ] || complain 'the removed mailbox is in the backup'
[ ! -e "$backup/mail/example.com/user/jane" ] || complain 'the removed user is in the backup'
[ ! -e "$backup/index/example.com/user/jane.sqlite3" ] || complain 'the index of the removed user is in the backup'

# Vanished: a message, a mailbox, a user, a domain. Told each time, and nothing of it leaves the backup.
kept=$(cd "$backup/mail" && find . -name '*.eml' -exec sha256sum {} + | sort)
rm "$user/INBOX/0000000003.eml"
rm -r "$user/Renamed" "$store/mail/example.org"
mailstore -q reconstruct -r -m >/dev/null || true
for round in first second; do
  run backup "$backup"
  expect_status 1
  expect_out 'joe/INBOX/0000000003.eml  the store did not expunge it'
  expect_out 'vanished           example.com/user/joe/Renamed  the store'
  expect_out 'vanished           example.org  the store'
  expect_equal "$(cd "$backup/mail" && find . -name '*.eml' -exec sha256sum {} + | sort)" "$kept" "$round"
  run -s "$backup" check --full
  expect_status 0
  (cd "$backup" && sha256sum --quiet -c manifest.sha256) || complain "$round: the manifest does not fit"
done
# So does a mailbox whose name another one has now; it can be found.
mailstore -q deliver -c joe@example.com/Renamed <"$sample/02-unicode.eml" >/dev/null
run backup "$backup"
expect_status 1
expect_out 'because another one has its place'
[ "$(find "$backup/quarantine" -name '*.eml' | wc -l)" -eq 4 ] || complain 'the vanished mailbox is nowhere'
mailstore -q mailbox remove joe@example.com/Renamed

# Where the store's disk is not mounted, everything has vanished, and all of it comes back.
mv "$store/mail" "$work/disk"
mkdir "$store/mail"
run backup "$backup"
[ "$status" -ne 0 ] || complain 'an empty store is nothing to complain about'
[ -e "$copies/INBOX/0000000003.eml" ] || complain 'an empty store has emptied the backup'
rm -r "$store/mail" "$store/mailboxes.sqlite3"
mv "$work/disk" "$store/mail"
run restore "$backup"
expect_status 0
[ -e "$user/INBOX/0000000003.eml" ] || complain 'the vanished message is not restored'
[ -e "$store/mail/example.org/user/ann/INBOX/0000000001.eml" ] || complain 'the vanished domain is not restored'
run check --full
expect_status 0

# Until somebody says that it may go.
mailstore -q backup "$backup"
rm "$user/INBOX/0000000003.eml"
rm -r "$store/mail/example.org"
mailstore -q reconstruct -r -m >/dev/null || true
run backup --force "$backup"
expect_status 0
[ ! -e "$copies/INBOX/0000000003.eml" ] || complain 'the message is still there'
[ ! -e "$backup/mail/example.org" ] || complain 'the domain is still there'
expect_copies 0

# --full reads everything, here and there.
for file in "$user/INBOX/0000000004.eml" "$copies/INBOX/0000000005.eml"; do
  date=$(stat -c %y "$file")
  printf '\001' | dd of="$file" bs=1 seek=150 conv=notrunc status=none
  touch -d "$date" "$file"
done
run backup --full "$backup"
expect_status 1
expect_out '0000000004.eml  damaged; the backup keeps the whole copy'
expect_out '0000000005.eml  its copy was damaged, and is made again (fixed)'
run -s "$backup" check --full
expect_status 0
