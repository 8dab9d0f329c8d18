#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# contrib/quickstart.sh, but for installing and building: once, again, with mail of every kind.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || skip 'needs root'
needs_fuse
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

# What died is mounted again.
kill -KILL "$(sed -n 's/^pid //p' "$work/mnt/.ctl/status")"
until ! stat -f "$work/mnt" >/dev/null 2>&1; do sleep 0.01; done
quickstart "$sample" "$work/mnt"
expect_status 0
expect_out 'has died'
cmp "$sample/01-welcome.eml" "$work/mnt/local/user/$owner/INBOX/0000000001.eml" || complain 'not mounted again'

# Another store's mount is not taken for ours, and nothing was done when that is found out.
MAILSTORE=$work/another quickstart "$sample" "$work/mnt"
expect_status 1
expect_no_out
expect_err "another store, $store, is mounted"
[ ! -e "$work/another" ] || complain 'a refused run made a store'

# Names with blanks; the commands can be pasted.
mounts+=("$work/a mount")
MAILSTORE="$work/a store" quickstart "$sample" "$work/a mount"
expect_status 0
expect_out "$work/a\\ store list"
expect_out "$work/a\\ mount/ "
MAILSTORE="$work/a store" quickstart "$sample" "$work/a mount"
expect_status 0
expect_out 'mounted already'

quickstart --help
expect_status 0
expect_out 'usage:'
expect_no_err
quickstart --frobnicate
expect_status 1

# What most files are decides.
mixed=$work/mixed
mkdir "$mixed"
echo 'About this mail' >"$mixed/00-NOTE"
expect_format() {
  quickstart "$mixed" "$work/mnt"
  expect_status "$2"
  expect_out "($1)"
}
cp "$sample/02-unicode.eml" "$mixed/1.eml"
expect_format eml 0
printf 'From a Mon Jun  3 08:15:00 2024\nSubject: a\n\na\n' | tee "$mixed/one" >"$mixed/two"
expect_format mbox 0
rm "$mixed/two"
expect_format eml 0

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
