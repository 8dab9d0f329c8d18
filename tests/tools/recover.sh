#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# recover: broken databases made again, beside a mount, and after a catastrophe with the last backup.
# shellcheck source-path=SCRIPTDIR
# shellcheck disable=SC2016 # keywords begin with a dollar sign
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
mailstore import -q --format eml "$sample" jane@example.com >/dev/null
mailstore flag joe@example.com/INBOX 1:3 '+\Flagged' '+$Work' >/dev/null
index=$store/index/example.com/user/joe.sqlite3
dump() { mailstore list --json -r; mailstore list --json joe@example.com/INBOX; }
strip() {
  find "$store/mail/example.com/user/joe" -name '*.eml' -exec setfattr -x user.mailfs.state {} ';' -exec touch {} ';'
}
expected=$(dump)

run recover
expect_status 0
expect_no_out
run recover -n --force
expect_status 0

# The header is gone, and every file has lost its flags and date.
strip
dd if=/dev/zero of="$index" bs=4096 count=1 conv=notrunc status=none
run recover -n
expect_status 1
expect_out 'of its rows can still be read'
run recover joe@example.com/INBOX
expect_status 0
expect_out bad-index
expect_out 'the broken index still had them'
expect_equal "$(dump)" "$expected"
compgen -G "$index.damaged-*" >/dev/null || complain 'the broken index was not kept'
! compgen -G "$index.broken-*" >/dev/null || complain 'a broken index is still to be made use of'
run check --full
expect_status 0

# A sound one is not replaced.
before=$(stat -c '%i %Y' "$index")
run recover
expect_status 0
expect_equal "$(stat -c '%i %Y' "$index")" "$before"

# -c without a backup, with one, and with one that is named. Nothing is left of the index itself.
run recover -c
expect_status 66
expect_err 'no backup'
run backup "$work/backup"
expect_status 0
for options in '-c' "-c --directory $work/backup"; do
  strip
  rm "$index"
  # shellcheck disable=SC2086 # words
  run recover $options joe@example.com
  expect_status 0
  expect_equal "$(dump)" "$expected" "recover $options"
done
run recover --directory "$work/backup"
expect_status 64
expect_err 'only with -c'
run check
expect_status 0
for options in '' joe@example.com; do
  # shellcheck disable=SC2086 # words
  run recover -c --directory "$work/nosuch" $options
  expect_status 66
  expect_one_error
  expect_err "$work/nosuch: no backup is there"
done
mv "$work/backup" "$work/elsewhere"
run recover -c
expect_status 66
expect_err "$work/backup: no backup is there"

# Pages in the middle are gone: a dry run tells what is wrong and changes nothing.
pages=$(($(stat -c %s "$index") / 4096))
dd if=/dev/urandom of="$index" bs=4096 seek=2 count=$((pages - 2)) conv=notrunc status=none
broken=$(sha256sum "$index")
for command in 'reconstruct -n' 'reconstruct -n --force' 'recover -n' 'repair -n' 'repair -n --full' \
  'recover -n joe@example.com/INBOX'; do
  # shellcheck disable=SC2086 # words
  run $command
  expect_status 1
  expect_out bad-index
  expect_err '(dry run): '
  expect_equal "$(sha256sum "$index")" "$broken" "$command"
done
run recover
expect_status 0
expect_out bad-index
run check --full
expect_status 0

# The mailbox list, too.
dd if=/dev/urandom of="$store/mailboxes.sqlite3" bs=4096 seek=1 conv=notrunc status=none \
  count=$(($(stat -c %s "$store/mailboxes.sqlite3") / 4096 - 1))
for command in 'reconstruct -n -m' 'recover -n' 'repair -n'; do
  # shellcheck disable=SC2086 # words
  run $command
  expect_status 1
  expect_out bad-index
done

# A reset says what is left to do.
run reset
expect_status 0
expect_no_out
expect_err 'reconstruct builds it'
