#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A rebuild changes nothing that a user sees, even when every database was lost.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_fuse

mailstore -q init
mailstore import -q --format eml "$sample" joe@example.com >/dev/null
mailstore deliver -c 'Public Folders/News@example.com' <"$sample/03-alternative.eml" >/dev/null
mailstore deliver -c 'jane@example.org/Grüße %/.deep' --date @1000000000 <"$sample/02-unicode.eml" >/dev/null
mailstore flag joe@example.com/INBOX 1,3 +Seen +Flagged +Project-X
mailstore flag joe@example.com/INBOX 2 +Answered

# Everything that stat, getfattr and cat show through the mount.
look() {
  mount_store
  (
    cd "$work/mnt"
    find . -printf '%p %y %i %m %U %G %n %s %T@ %C@\n' | sort
    find . -print0 | sort -z | xargs -0 getfattr -h -d -m - --absolute-names 2>/dev/null
    find . -type f -print0 | sort -z | xargs -0 sha256sum
  )
  unmount_store
}
look >"$work/before"
grep -q 'user.mailfs.flags="\\134Flagged \\134Seen Project-X"\|user.mailfs.flags=.*Project-X' "$work/before" ||
  complain 'the mount shows no flags'
[ "$(grep -c '\.eml' "$work/before")" -ge 20 ] || complain 'the mount shows no messages'
files=$(cd "$store/mail" && find . -printf '%p %i %m %U %G %s %T@ %C@\n' | sort)

rm -r "$store/index" "$store/mailboxes.sqlite3"
look >"$work/without"
diff "$work/before" "$work/without" || complain 'without its databases the store looks different'
rm -rf "$store/index" "$store/mailboxes.sqlite3"
run reconstruct -m
expect_status 0
run reconstruct -r
expect_status 0
look >"$work/after"
diff "$work/before" "$work/after" || complain 'a rebuild changed what is seen'
expect_equal "$(cd "$store/mail" && find . -printf '%p %i %m %U %G %s %T@ %C@\n' | sort)" "$files" \
  'a rebuild touched files'
run check --full
expect_status 0

# The next message gets the next UID, not one that was used.
run deliver joe@example.com <"$sample/01-welcome.eml"
expect_equal "$out" 6
