#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# contrib/quickstart.sh, but for installing and building: once, again, with mail of every kind.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || skip 'needs root'
[ -e /dev/fuse ] || skip 'no /dev/fuse'
mounts+=("$work/mnt" "$work/other")
owner=$(stat -c %U "$sample")

quickstart() {
  status=0
  "$MAILFS_SOURCE/contrib/quickstart.sh" "$@" >"$work/out" 2>"$work/err" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
}

quickstart "$sample" "$work/mnt"
expect_status 0
expect_no_err
expect_out '8 imported'
expect_out "$work/mnt/local/user/$owner/INBOX/0000000001.eml"
expect_out 'rsync -aX'
cmp "$sample/01-welcome.eml" "$work/mnt/local/user/$owner/INBOX/0000000001.eml" || complain 'bytes differ'
quickstart "$sample" "$work/mnt"
expect_status 0
expect_out '0 imported, 8 known'
expect_out 'mounted already'

mkdir -p "$work/Maildir/cur" "$work/Maildir/new" "$work/Maildir/tmp" "$work/boxes"
cp "$sample/01-welcome.eml" "$work/Maildir/cur/1.M1P1.host:2,S"
printf 'From a Mon Jun  3 08:15:00 2024\nSubject: a\n\na\n' >"$work/boxes/old"
for mail in "$work/Maildir" "$work/boxes" "$work/boxes/old" "$sample/01-welcome.eml"; do
  quickstart "$mail" "$work/mnt"
  expect_status 0
  expect_out ' 0 failed'
done

# Refused before anything was done.
mkdir "$work/full"
touch "$work/full/file"
quickstart "$sample" "$work/full"
expect_status 1
expect_err 'not empty'
quickstart "$work/missing" "$work/other"
expect_status 1
expect_err 'no such file'
quickstart "$work/full" "$work/other"
expect_status 1
MAILSTORE=$work/full quickstart "$sample" "$work/other"
expect_status 1
expect_err 'no mail store'
expect_equal "$(ls -A "$work/full")" file
[ ! -e "$work/other" ] || complain 'a refused run left a mountpoint behind'
chmod 755 "$work"
status=0
err=$(as_nobody "$MAILFS_SOURCE/contrib/quickstart.sh" 2>&1) || status=$?
expect_status 1
expect_err root
