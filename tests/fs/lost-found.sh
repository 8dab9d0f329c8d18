#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# lost+found in the control directory: what is in it, and that mv restores it and rm removes it.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
mail=$store/mail/example.com/user/joe
lost=$mnt/.ctl/lost+found
lists=$mnt/example.com/user/joe/Lists

# The member $2 of the object in the file $1.
member() {
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"
}
# What is in a directory, in one line.
names() {
  find "$@" -mindepth 1 -maxdepth 1 -printf '%f ' | tr ' ' '\n' | sort | tr '\n' ' ' | sed 's/^ //; s/ $//'
}
count() {
  find "$@" -mindepth 1 | wc -l
}
rename() {
  python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$@"
}
last_action() {
  tail -1 "$mnt/.ctl/audit" | python3 -c 'import json, sys
row = json.load(sys.stdin)
print(row["through"], row["object"], row["command"], row["result"])'
}
last_reason() {
  tail -1 "$mnt/.ctl/last_error"
}
kinds=$'damaged\nexpunged\nindex\nmissing\norphans\nquarantine'

mailstore -q flag joe@example.com 2 +Seen +Work
cp "$mail/INBOX/0000000002.eml" "$work/two"
cp "$mail/INBOX/0000000003.eml" "$work/three"

start -f -o worker=off
expect_equal "$(ls "$lost")" "$kinds"
expect_equal "$(find "$lost" -type f)" '' 'nothing is lost yet'
expect_equal "$(count "$inbox/.ctl/expunged" "$inbox/.ctl/orphans")" 0
expect_error ENOENT stat "$lost/other"
expect_error ENOENT stat "$lost/expunged/00000004-0000000002.eml"
expect_error ENOENT stat "$lost/orphans/.."/orphans/x
# The kernel is to know all of this from before.
ls -l "$inbox" "$lists" >"$work/out"
inode=$(stat -c %i "$inbox/0000000002.eml")

mailstore -q expunge joe@example.com/INBOX --uid 2,3 >"$work/out"
printf 'Subject: stray\n\nstray\n' >"$mail/INBOX/stray"$'\e''[1m.txt'
two=00000004-0000000002.eml three=00000004-0000000003.eml stray=00000004-stray%1B[1m.txt
expect_equal "$(ls "$lost/expunged")" "$two"$'\n'"$two.json"$'\n'"$three"$'\n'"$three.json"
expect_equal "$(ls "$inbox/.ctl/expunged")" "$(ls "$lost/expunged")"
expect_equal "$(ls "$lists/.ctl/expunged")" ''
expect_equal "$(ls "$inbox/.ctl/orphans")" "$stray"$'\n'"$stray.json"
expect_equal "$(ls "$lost/orphans")" "$(ls "$inbox/.ctl/orphans")"

# Sizes and dates are those of the bytes, and everything can be read whole.
touch -d '1969-12-31 23:59:58.25' "$mail/INBOX/stray"$'\e''[1m.txt'
expect_equal "$(stat -c %.2Y "$lost/orphans/$stray")" "$(stat -c %.2Y "$mail/INBOX/stray"$'\e''[1m.txt')" 'before 1970'
expect cmp "$lost/expunged/$two" "$work/two"
expect_equal "$(stat -c '%s %Y %a' "$lost/expunged/$two")" "$(stat -c '%s %Y 440' "$work/two" | sed "s/ [0-9]* / $(stat -c %Y "$mail/INBOX/.expunged/0000000002.eml") /")"
expect_equal "$(stat -c %s "$lost/expunged/$two.json")" "$(wc -c <"$lost/expunged/$two.json")"
expect_equal "$(member "$lost/expunged/$two.json" uid)" 2
expect_equal "$(member "$lost/expunged/$two.json" mailbox)" joe@example.com/INBOX
expect_equal "$(member "$lost/expunged/$two.json" sha256)" "$(sha256sum <"$work/two" | cut -d' ' -f1)"
expect_equal "$(member "$lost/expunged/$two.json" flags)" "['\\\\Seen', 'Work']"
expect_equal "$(tar cf - -C "$lost" . 2>"$work/err" | tar tf - | grep -c '[^/]$')" 6
expect_equal "$(<"$work/err")" '' 'what tar had to say'

# What cannot be done there, and why.
expect_error EPERM rm -f "$lost/expunged/$two"
expect_equal "$(last_action)" "unlink /.ctl/lost+found/expunged lost-remove force expunged/$two EPERM"
expect_equal "$(last_reason | cut -f6)" 'only a mount with the option allow_purge removes for good'
expect_error EPERM rm -f "$inbox/.ctl/expunged/$two"
expect_error EPERM rmdir "$lost/expunged"
expect_error EPERM mkdir "$lost/expunged/new"
expect_error EPERM touch "$lost/new"
expect_error EPERM append_to "$lost/expunged/$two"
expect_error EPERM mv "$lost/expunged" "$lost/other"
expect_error EINVAL rename "$lost/expunged/$two" "$lost/orphans/$two"
expect_error EINVAL rename "$lost/expunged/$two" "$mnt/.ctl/$two"
expect_error EINVAL rename "$lost/expunged/$two" "$inbox/0000000009.eml"
expect_error EINVAL rename "$lost/expunged/$two" "$inbox/new"
expect_error EINVAL rename "$lost/expunged/$two" "$mnt/example.com/$two"
expect_error EINVAL rename "$lost/expunged/$two.json" "$inbox/$two.json"
expect_error EROFS mv "$inbox/0000000001.eml" "$lost/orphans/"
expect_error EROFS ln "$lost/expunged/$two" "$inbox/"
mkdir "$mnt/.ctl/snapshots/now"
expect_error EROFS mv "$lost/expunged/$two" "$mnt/.ctl/snapshots/now/example.com/user/joe/INBOX/"
rmdir "$mnt/.ctl/snapshots/now"
expect_equal "$(count "$lost/expunged")" 4

# An expunged message comes back into its mailbox as it was; the kernel believes nothing of before.
mv "$lost/expunged/$two" "$inbox/"
expect_equal "$(last_action)" "rename /example.com/user/joe/INBOX lost-restore to=joe@example.com/INBOX expunged/$two ok"
expect_error ENOENT stat "$inbox/$two"
expect_error ENOENT stat "$lost/expunged/$two"
expect_error ENOENT cat "$lost/expunged/$two.json"
expect_equal "$(names "$inbox")" '0000000001.eml 0000000002.eml 0000000004.eml 0000000005.eml'
expect cmp "$inbox/0000000002.eml" "$work/two"
expect_equal "$(stat -c %i "$inbox/0000000002.eml")" "$inode"
expect_equal "$(getfattr --only-values -n user.mailfs.flags "$inbox/0000000002.eml")" '\Seen Work'

# By the name that it will have; into another mailbox it is a new message.
mv "$inbox/.ctl/expunged/$three" "$inbox/0000000003.eml"
expect cmp "$inbox/0000000003.eml" "$work/three"
mailstore -q expunge joe@example.com/INBOX --uid 3 >"$work/out"
mv "$lost/expunged/$three" "$lists/"
expect_equal "$(names "$lists")" '0000000001.eml 0000000002.eml'
expect cmp "$lists/0000000002.eml" "$work/three"
expect_equal "$(ls "$lost/expunged")" ''

mailstore -q expunge joe@example.com/INBOX --uid 2 >"$work/out"
expect_error EEXIST rename "$lost/expunged/$two" "$lists/0000000002.eml"
expect cmp "$lists/0000000002.eml" "$work/three"
mv "$lost/expunged/$two" "$inbox/"

# An orphan becomes a message.
mv "$lost/orphans/$stray" "$inbox/"
expect_equal "$(tail -1 "$inbox/0000000006.eml")" stray
expect_equal "$(ls "$lost/orphans")" ''
run check
expect_status 0

# A message that is damaged is shown as it is, and stays in its mailbox.
printf X | dd of="$mail/INBOX/0000000005.eml" bs=1 seek=700 conv=notrunc status=none
touch -r "$work/two" "$mail/INBOX/0000000005.eml"
run repair --full joe@example.com
expect_equal "$(ls "$lost/damaged")" $'00000004-0000000005.eml\n00000004-0000000005.eml.json'
expect cmp "$lost/damaged/00000004-0000000005.eml" "$mail/INBOX/0000000005.eml"

# What was removed lies in quarantine; of a directory there is only what is known.
mailstore -q mailbox create joe@example.com/Old/Older >"$work/out"
mailstore -q mailbox remove --recursive joe@example.com/Old >"$work/out"
expect_equal "$(names "$lost/quarantine" | sed 's/^[^%]*//')" '%2Fexample.com%2Fuser%2Fjoe%2FOld.json'
expect_equal "$(member "$lost/quarantine/"*.json directory)" True
stop

# With allow_purge what is removed is gone.
mailstore -q expunge joe@example.com/INBOX --uid 1,2 >"$work/out"
echo junk >"$mail/junk"
start -f -o worker=off,allow_purge
expect_error EPERM rm "$lost/expunged/$two.json"
expect_equal "$(last_reason | cut -f6)" "'$two.json' goes when '$two' is removed"
rm "$lost/expunged/$two" "$lost/orphans/00000003-junk"
expect_equal "$(last_action)" 'unlink /.ctl/lost+found/orphans lost-remove force orphans/00000003-junk ok'
expect_error ENOENT stat "$lost/expunged/$two"
expect_equal "$(names "$lost/expunged")" '00000004-0000000001.eml 00000004-0000000001.eml.json'
expect_equal "$(ls "$mail/INBOX/.expunged")" 0000000001.eml
expect_equal "$(ls "$mail")" $'INBOX\nLists\nReceipts'
rm "$lost/quarantine/"*.json
expect_equal "$(ls "$lost/quarantine")" ''
expect_equal "$(ls "$store/quarantine")" ''
mkdir "$mnt/.ctl/snapshots/kept"
mailstore -q expunge joe@example.com/INBOX --uid 6 >"$work/out"
expect_error EBUSY rm "$lost/expunged/00000004-0000000006.eml"
expect_equal "$(ls "$mail/INBOX/.expunged")" $'0000000001.eml\n0000000006.eml'
stop

# Where nothing can be changed, it can be looked at.
start -f -o ro,allow_purge
expect_equal "$(count "$lost/expunged")" 4
expect_error EROFS rm -f "$lost/expunged/00000004-0000000001.eml"
expect_error EROFS rename "$lost/expunged/00000004-0000000001.eml" "$inbox/00000004-0000000001.eml"
stop
start -f -o snapshot=kept
expect_error ENOENT stat "$lost"
expect_error ENOENT stat "$inbox/.ctl/expunged"
stop
