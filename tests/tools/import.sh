#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore import: message files, Maildir, mbox; once and again.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init

# Message files.
run import --dry-run --format eml "$sample" joe@example.com
expect_status 0
expect_out '8 imported'
expect_equal "$(count)" 0 'a dry run imported'
run import --format eml "$sample" joe@example.com
expect_status 0
expect_no_err
expect_out '8 imported, 0 known, 0 failed'
expect_equal "$(wc -l <"$work/out")" 1
run import --format eml "$sample" joe@example.com
expect_status 0
expect_out '0 imported, 8 known, 0 failed'
run --json import --format eml "$sample" joe@example.com
expect_status 0
expect_json 'len(rows) == 1' 'rows[0]["known"] == 8' 'rows[0]["imported"] == 0' \
  'rows[0]["seen"] == 8' 'rows[0]["target"] == "joe@example.com"'
expect_equal "$(count)" 8

# Maildir: flags, keywords' file, folders, internal dates.
maildir=$work/Maildir
mkdir -p "$maildir"/{cur,new,tmp,.Work.Old/cur,.Work.Old/new,.Work.Old/tmp}
cp "$sample/01-welcome.eml" "$maildir/cur/1717400000.M1P1.host:2,FS"
cp "$sample/02-unicode.eml" "$maildir/new/1717500000.M2P2.host"
cp "$sample/04-forwarded.eml" "$maildir/.Work.Old/cur/1717600000.M3P3.host:2,RT"
touch -d @1717400000 "$maildir"/cur/*
run import --format maildir "$maildir" jane@example.com
expect_status 0
expect_out '3 imported'
run list jane@example.com
expect_out 'jane@example.com/INBOX'
expect_out 'jane@example.com/Work/Old'
run list --json jane@example.com/INBOX
expect_json 'len(rows) == 2' '["\\Flagged", "\\Seen"] in [r["flags"] for r in rows]' \
  '[] in [r["flags"] for r in rows]' '"2024-06-03T07:33:20Z" in [r["internaldate"] for r in rows]'
run list --json jane@example.com/Work/Old
expect_json 'rows[0]["flags"] == ["\\Answered", "\\Deleted"]'
cp "$sample/05-bounce.eml" "$maildir/new/1717700000.M4P4.host"
run import --format maildir "$maildir" jane@example.com
expect_status 0
expect_out '1 imported, 3 known'

# Which folders are subscribed, in both forms of the list, and for folders that came before it.
mkdir -p "$maildir"/{.Entw\&APw-rfe/cur,.Plain/cur}
subscribed() {
  mailstore mailbox list --subscribed jane@example.com -r | sed 's/.*@example.com.//'
}
printf 'INBOX\nWork.Old\nNowhere\n' >"$maildir/subscriptions"
mailstore -q import --format maildir -n "$maildir" jane@example.com
expect_equal "$(subscribed)" ''
mailstore -q import --format maildir "$maildir" jane@example.com
expect_equal "$(subscribed)" $'INBOX\nWork/Old'
printf 'V\t2\n\nEntw&APw-rfe\nWork\tOld\n' >"$maildir/subscriptions"
mailstore -q import --format maildir "$maildir" jane@example.com
expect_equal "$(subscribed)" $'Entwürfe\nINBOX\nWork/Old' 'what is subscribed stays so'
printf 'V\t3\n\nPlain\n' >"$maildir/subscriptions"
run import --format maildir "$maildir" jane@example.com
expect_status 0
expect_err subscriptions
expect_equal "$(subscribed)" $'Entwürfe\nINBOX\nWork/Old'

# mbox.
{
  printf 'From joe Mon Jun  3 08:15:00 2024\n'
  tr -d '\r' <"$sample/01-welcome.eml"
  printf '\nFrom joe Tue Jun  4 08:15:00 2024\nSubject: two\n\n>From here\n\n'
} >"$work/old.mbox"
run import --format mbox "$work/old.mbox" jim@example.com/Old
expect_status 0
expect_out '2 imported'
run import --format mbox "$work/old.mbox" jim@example.com/Old
expect_status 0
expect_out '0 imported, 2 known'

# Hard links share the file.
mkdir "$work/links"
cp "$sample/01-welcome.eml" "$work/links/"
run import --link --format eml "$work/links" link@example.com
expect_status 0
expect_equal "$(stat -c %h "$work/links/01-welcome.eml")" 2

# The same message twice in the source is twice in the target, and stays so.
mkdir "$work/twice"
cp "$sample/01-welcome.eml" "$work/twice/a.eml"
cp "$sample/01-welcome.eml" "$work/twice/b.eml"
run import --format eml "$work/twice" twice@example.com
expect_out '2 imported'
run import --format eml "$work/twice" twice@example.com
expect_out '0 imported, 2 known'

# What cannot be read is named and counted; the rest comes in.
mkdir "$work/some"
cp "$sample/01-welcome.eml" "$work/some/good.eml"
chmod 755 "$work" "$work/some"
cp "$sample/02-unicode.eml" "$work/some/secret.eml"
chmod 0 "$work/some/secret.eml"
if [ "$(id -u)" -eq 0 ]; then
  chown -R nobody "$store"
  status=0
  as_nobody mailstore import --format eml "$work/some" some@example.com >"$work/out" 2>"$work/err" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
  expect_status 65
  expect_out '1 imported, 0 known, 1 failed'
  expect_err secret.eml
  # So are whole folders and files.
  mkdir -p "$work/lost"/{cur,new,.Work/cur,.Work/new} "$work/boxes/secret"
  printf 'From joe Mon Jun  3 08:15:00 2024\nSubject: one\n\n' | tee "$work/boxes/a" >"$work/boxes/b"
  cp "$sample/01-welcome.eml" "$work/lost/cur/1.a:2,"
  chmod 0 "$work/lost/.Work/cur" "$work/boxes/b" "$work/boxes/secret"
  while read -r format source failed; do
    status=0
    as_nobody mailstore import --format "$format" "$work/$source" "$format@example.com" \
      >"$work/out" 2>"$work/err" || status=$?
    out=$(<"$work/out") err=$(<"$work/err")
    expect_status 65
    expect_out "1 imported, 0 known, $failed failed"
    expect_err 'Permission denied'
  done <<<$'maildir lost 1\nmbox boxes 2'
  # Root, in a store that is somebody else's: what it makes is theirs.
  run import --format eml "$work/twice" root@example.com
  expect_status 0
  expect_equal "$(find "$store" ! -user nobody | wc -l)" 0 'root left files of its own in the store'
  as_nobody mailstore import -q --format eml "$work/links" root@example.com >/dev/null ||
    complain 'the owner cannot go on after root'
fi

# What is none is named.
run import --format mbox "$sample/01-welcome.eml" none@example.com
expect_status 64
expect_err "mailstore: $sample/01-welcome.eml: no mbox"

# Nothing is found at all; and many warnings are summed up.
mkdir "$work/notes"
for i in $(seq 30); do echo note >"$work/notes/$i"; done
run import --format mbox "$work/notes" none@example.com
expect_status 65
expect_err 'and 10 more warnings'
expect_err 'no message was found'
expect_equal "$(wc -l <"$work/err")" 22
run -v import --format mbox "$work/notes" none@example.com
[ "$(grep -c 'no mbox' "$work/err")" -eq 30 ] || complain '-v does not show all warnings'
mkdir "$work/nothing"
run import --format eml "$work/nothing" none@example.com
expect_status 65
expect_err 'no message was found'
run list none@example.com
expect_err "no mailbox 'none@example.com'"
for transfer in --link --reflink; do
  run import $transfer --format mbox "$work/old.mbox" jim@example.com/Old
  expect_status 64
  expect_one_error
done

# Usage and errors.
run import "$sample" joe@example.com
expect_status 64
run import --format tar "$sample" joe@example.com
expect_status 64
expect_one_error
run import --format eml "$sample"
expect_status 64
run import --link --copy --format eml "$sample" joe@example.com
expect_status 64
run import --format eml "$work/missing" joe@example.com
expect_status 66
expect_one_error
run import --format maildir "$sample" joe@example.com
[ "$status" -ne 0 ] || complain 'a directory of files passed for a Maildir'
run -q import --format eml "$sample" quiet@example.com
expect_status 0
expect_no_out
expect_no_err

# The change of owner above touched every file.
mailstore -q reconstruct -r >/dev/null
run check --full
expect_status 0
