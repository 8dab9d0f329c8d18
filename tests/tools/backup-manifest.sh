#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The manifest of a backup has every file that is there, and only sound ones pass.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
mailstore -q expunge --uid 2 joe@example.com/INBOX >/dev/null
mailstore -q deliver -c jane@example.com/'a\b  c' <"$sample/02-unicode.eml" >/dev/null
mailstore -q deliver -c 'Public Folders/News@example.com' <"$sample/01-welcome.eml" >/dev/null
mailstore -q mailbox set --index off jane@example.com
backup=$work/backup
inbox=$store/mail/example.com/user/joe/INBOX
copies=$backup/mail/example.com/user/joe/INBOX
overwrite() { printf '\001' | dd of="$1" bs=1 seek=150 conv=notrunc status=none; }

expect_whole() {
  (cd "$backup" && sha256sum --quiet --strict -c manifest.sha256) >"$work/checked" 2>&1 ||
    complain "$1: $(cat "$work/checked")"
  expect_equal "$(cd "$backup" && grep -v '^#' manifest.sha256 | cut -d ' ' -f 3- | sort)" \
    "$(cd "$backup" && find . -type f ! -name manifest.sha256 -printf '%P\n' | sed 's/\\/\\\\/g' | sort)" \
    "$1: the files"
  [[ $(tail -n 1 "$backup/manifest.sha256") == '# complete: '* ]] || complain "$1: no end"
}

for round in first second; do
  run backup "$backup"
  expect_status 0
  expect_whole "$round"
done
cp "$backup/manifest.sha256" "$work/before"
run -s "$backup" check --full
expect_status 0
run -s "$backup" list -r
expect_whole 'after somebody looked at it'

# What comes and goes follows.
mailstore -q deliver joe@example.com <"$sample/05-bounce.eml" >/dev/null
mailstore -q expunge --uid 1 joe@example.com/INBOX >/dev/null
mailstore -q flag joe@example.com/INBOX 3 +Seen >/dev/null
mailstore -q cleanup --age 0 joe@example.com/INBOX >/dev/null
run backup "$backup"
expect_status 0
expect_whole 'after changes'
expect_equal "$(diff "$work/before" "$backup/manifest.sha256" | grep -c '[<>].*\.eml$')" 3 'lines of messages'

# A damaged message that the backup has no other of is evidence, and is what it is.
overwrite "$inbox/0000000006.eml"
rm "$copies/0000000006.eml"
for round in first second; do
  run backup "$backup"
  expect_status 1
  expect_whole "with evidence, $round"
done
grep -q '^# damaged mail/.*/0000000006.eml$' "$backup/manifest.sha256" || complain 'it does not say which is damaged'

# What rots in the backup shows, also when its dates are those that it had.
date=$(stat -c %y "$copies/0000000003.eml")
overwrite "$copies/0000000003.eml"
touch -d "$date" "$copies/0000000003.eml"
! (cd "$backup" && sha256sum --quiet -c manifest.sha256) >"$work/checked" 2>/dev/null || complain 'rot passes'
expect_equal "$(cat "$work/checked")" 'mail/example.com/user/joe/INBOX/0000000003.eml: FAILED' 'what fails'
run backup "$backup"
expect_status 1
expect_out '0000000003.eml  its copy was damaged, and is made again (fixed)'
expect_whole 'after it was mended'

# While it is incomplete there is none.
mailstore -q deliver joe@example.com <"$sample/05-bounce.eml" >/dev/null
mv "$backup/index" "$work/index"
echo 'no directory' >"$backup/index"
run backup "$backup"
expect_status 66
[ ! -e "$backup/manifest.sha256" ] || complain 'a manifest of what is incomplete'
rm "$backup/index"
mv "$work/index" "$backup/index"
run backup "$backup"
expect_status 1
expect_whole 'after the interrupted one'
