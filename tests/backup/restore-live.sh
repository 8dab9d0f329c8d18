#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Copies are put into a store that is mounted and in use: the mount shows them within a second, although the kernel
# keeps listings, and puts the store's own states on them by itself.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_tool rsync
allow_log '^mailfs: job |INBOX/0000000011.eml'

make_mail
start -f -o ro
rsync -aX "$mnt/" "$work/copy/"
stop
damage "$store/mail/$joe/INBOX/0000000011.eml"

start -f
lists() {
  [ "$(find "$mnt/$1" -name '*.eml' | wc -l)" -eq "$2" ]
}
# A reader who comes to the daemon asks for a repair, unless somebody is at work there.
has_state() {
  stat "$mnt/$(dirname "$1")/0000009999.eml" 2>/dev/null || true
  getfattr -n user.mailfs.state "$store/mail/$1"
}
all=$(find "$mnt" -name '*.eml' | wc -l)
user=$(find "$mnt/$joe" -name '*.eml' | wc -l)
flags=$(getfattr --only-values --absolute-names -n user.mailfs.flags "$inbox/0000000004.eml")
number=$(stat -c %i "$inbox")

# A message that somebody removed, and put back. The mailbox had been listed before, and between.
rm "$store/mail/$joe/INBOX/0000000004.eml"
within 60000 lists "$joe" $((user - 1))
rsync -aX "$work/copy/$joe/INBOX/0000000004.eml" "$store/mail/$joe/INBOX/"
within 60000 lists "$joe" "$user"
expect_equal "$(getfattr --only-values --absolute-names -n user.mailfs.flags "$inbox/0000000004.eml")" "$flags"
within 120000 has_state "$joe/INBOX/0000000004.eml"

# One that was expunged.
mailstore -q expunge --uid 4 joe@example.com/INBOX >/dev/null
within 60000 lists "$joe" $((user - 1))
rsync -aX "$work/copy/$joe/INBOX/0000000004.eml" "$store/mail/$joe/INBOX/"
within 60000 lists "$joe" "$user"
within 120000 has_state "$joe/INBOX/0000000004.eml"
within 60000 lists "$joe" "$user"

# A damaged one, in the place of which the copy goes; rsync sees that by the bytes alone, and leaves the
# directory the time that it had.
expect_error EIO cat "$inbox/0000000011.eml"
rsync -aXc "$work/copy/$joe/INBOX/" "$store/mail/$joe/INBOX/"
within 120000 cmp "$work/copy/$joe/INBOX/0000000011.eml" "$inbox/0000000011.eml"
within 120000 has_state "$joe/INBOX/0000000001.eml"

# A mailbox in another one, a user, and a whole domain under a name that nobody had asked for.
rm -r "$store/mail/$joe/INBOX/Deeper"
within 60000 lists "$joe" $((user - 40))
rsync -aX "$work/copy/$joe/INBOX/Deeper" "$store/mail/$joe/INBOX/"
within 60000 lists "$joe" "$user"
rm -r "$store/mail/$joe"
within 60000 lists . $((all - user))
rsync -aX "$work/copy/$joe" "$store/mail/example.com/user/"
within 60000 lists . "$all"
expect_equal "$(stat -c %i "$inbox")" "$number"
expect_equal "$(getfattr --only-values --absolute-names -n user.mailfs.flags "$inbox/0000000004.eml")" "$flags"
rsync -aX "$work/copy/example.com/" "$store/mail/example.net/"
within 60000 lists . $((2 * all))

# What was read is brought in line by the mount; the rest when it is read, or by a repair.
within 120000 has_state "$joe/INBOX/0000000004.eml"
stop
mailstore -q repair >/dev/null
run -q check
expect_status 0
