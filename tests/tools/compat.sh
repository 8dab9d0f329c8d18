#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The older systems' commands, under their names and with their option letters.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

export PATH=$MAILFS_SOURCE/contrib/compat:$PATH MSDB_BACKUP=$work/backup
mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
mailstore deliver -c 'Public Folders/admin@foo.com/sub' <"$sample/01-welcome.eml" >/dev/null
index=$(find "$store/index" -name 'joe.sqlite3')

# Runs a wrapper; leaves $status, $out and $err as run does.
old() {
  status=0
  "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
}

# Each tells how it is called.
for wrapper in "$MAILFS_SOURCE"/contrib/compat/[!R]*; do
  old "$wrapper" -h
  expect_status 0
  expect_no_err
  expect_equal "$(wc -l <"$work/out")" 1
  expect_out "usage: ${wrapper##*/}"
done

# M-Store's and PMDF's reconstruct.
for arguments in '-r example.com' '-r -u joe example.com' '-u joe example.com INBOX' 'foo.com admin' \
  '-r foo.com admin' '-r example.com user/joe' '-r' '-m' '-recurse' '-mailbox_list'; do
  # shellcheck disable=SC2086 # several words
  old reconstruct $arguments
  expect_status 0
done
old reconstruct 'Other Users/joe@example.com/Receipts' joe@example.com
expect_status 0
old reconstruct -f "$store/mailfs.conf" -r
expect_status 0
old reconstruct -v
expect_status 0
expect_out 'mailstore '
old reconstruct nobody
expect_status 66
expect_err "nobody"

# M-Store's databases.
for command in 'msdb_test' 'msdb_test -v' 'msdb_test -lv' 'msdb_test -r' 'msdb_recover -v' 'msdb_checkpoint'; do
  # shellcheck disable=SC2086 # several words
  old $command
  expect_status 0
done
head -c 100 /dev/urandom | dd of="$index" bs=100 count=1 conv=notrunc status=none
old msdb_test
expect_status 1
old msdb_recover
expect_status 0
old msdb_test
expect_status 0
old msdb_backup
expect_status 0
backup=$out
[[ $backup == "$work"/backup/MSDB_Backup_* && -d $backup ]] || complain "no backup in '$backup'"
rm "$store/mail/example.com/user/joe/INBOX/0000000002.eml"
old msdb_restore "$backup"
expect_status 0
cmp "$store/mail/example.com/user/joe/INBOX/0000000002.eml" \
  "$(find "$backup" -path '*joe/INBOX/0000000002.eml')" || complain 'not restored'
old msdb_recover -c
expect_status 0

# Oracle's queue.
mailstore queue add reconstruct joe@example.com >/dev/null
old imcheck -q
expect_status 0
expect_out 'RecNo'
expect_out 'joe@example.com'
old impurge --until-empty
expect_status 0
MAILSTORE=$work/none old impurge
expect_status 66
expect_err 'waits for work in the queue'
old imcheck -q
[[ $out != *joe@example.com* ]] || complain 'impurge left something'
old imcheck -m joe@example.com/INBOX
expect_status 0
expect_out 'INBOX'
old imcheck
expect_status 0

# grommunio's index.
old mkmidb joe@example.com
expect_status 73
expect_err 'has an index'
old mkmidb -vf joe@example.com
expect_status 0
old purge-datafiles -u joe@example.com
expect_status 1 # the index is incomplete now
[ -e "$store/mail/example.com/user/joe/INBOX/0000000001.eml" ] || complain 'purge took mail'
printf 'joe@example.com\n\nnobody@example.com\n' >"$work/list"
old midb-resync "$work/list"
expect_status 1
expect_out 'Mailbox   1: joe@example.com'
expect_equal "$(grep -c TRUE <<<"$out") $(grep -c FALSE <<<"$out")" '1 1'
[ -e "$work/list" ] || complain 'the list is gone'
old purge-datafiles joe@example.com
expect_status 0
rm -r "$store/index"
old mkmidb joe@example.com
expect_status 0
