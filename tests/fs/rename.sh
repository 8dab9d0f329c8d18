#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Mailboxes that are renamed, removed and put back beside a mount show so within a second.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
start -f
user=$mnt/example.com/user/joe
gone() {
  ! stat "$1" >/dev/null 2>&1
}
is_inode() {
  [ "$(stat -c %i "$1" 2>/dev/null)" == "$2" ]
}

mailstore mailbox create joe@example.com/Old/Sub
mailstore -q deliver joe@example.com/Old/Sub <"$sample/01-welcome.eml" >"$work/out"
within 20000 cmp "$sample/01-welcome.eml" "$user/Old/Sub/0000000001.eml"
inode=$(stat -c %i "$user/Old") below=$(stat -c %i "$user/Old/Sub/0000000001.eml")
mailstore mailbox rename joe@example.com/Old joe@example.com/INBOX/New
within 20000 gone "$user/Old"
within 20000 gone "$user/Old/Sub/0000000001.eml"
within 20000 is_inode "$user/INBOX/New" "$inode"
within 20000 is_inode "$user/INBOX/New/Sub/0000000001.eml" "$below"
expect_equal "$(find "$user" -name Old)" ''

# Another one under the old name; nobody asked for the new name before.
mailstore mailbox rename joe@example.com/INBOX/New joe@example.com/Third
mailstore mailbox create joe@example.com/INBOX/New
newer() {
  [ "$(stat -c %i "$user/INBOX/New")" != "$inode" ]
}
within 20000 newer
within 20000 is_inode "$user/Third" "$inode"

# Who stands in it stays there, and asks for its attributes without a name.
gone_for_who_is_in() {
  stat . >/dev/null 2>&1
  gone "$1"
}
cd "$user/Third"
mailstore mailbox rename joe@example.com/Third joe@example.com/Fourth
within 20000 gone_for_who_is_in "$user/Third"
expect_equal "$(stat -c %i .)" "$inode"
expect cmp "$sample/01-welcome.eml" Sub/0000000001.eml
cd "$work"

mailstore mailbox remove -r joe@example.com/Fourth
within 20000 gone "$user/Fourth"
within 20000 gone "$user/Fourth/Sub/0000000001.eml"

# A user who is taken away and copied back, without any tool of ours.
before=$(cd "$mnt" && find . -printf '%P %i %s %T@\n' | sort)
cp -a "$store/mail/example.com/user/joe" "$work/backup"
rm -r "$store/mail/example.com/user/joe"
mailstore -q mailbox create ann@example.com
within 20000 gone "$user/INBOX"
cp -a "$work/backup" "$store/mail/example.com/user/joe"
within 20000 test -e "$user/INBOX"
mailstore mailbox remove -r ann@example.com
same() {
  [ "$(cd "$mnt" && find . -mindepth 4 -printf '%P %i %s %T@\n' | sort)" == "$(grep /joe/ <<<"$before")" ]
}
within 20000 same
stop
