#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore copy and move: messages into another mailbox, or another user's.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
for name in 01-welcome 02-unicode 03-alternative; do
  mailstore deliver -c --flags 'Seen Project-X' --date 2021-03-04T05:06:07Z joe@example.com \
    <"$sample/$name.eml" >/dev/null
done
mailstore mailbox create joe@example.com/Archive ann@example.org 'Public Folders/News@example.com'
inbox=$store/mail/example.com/user/joe/INBOX
archive=$store/mail/example.com/user/joe/Archive
setfattr -n user.foreign -v kept "$inbox/0000000002.eml"

# What a message is, wherever it lies: but for its mailbox, UID and modseq.
facts() {
  mailstore list --json "$1" | python3 -c '
import json, sys
for line in sys.stdin:
    row = json.loads(line)
    print(row["size"], row["internaldate"], row["flags"], row["subject"], row["damage"])'
}
clean() {
  run check
  [ "$status" -eq 0 ] || complain 'the store is not clean'
}
before=$(facts joe@example.com/INBOX)

run copy joe@example.com 1:* joe@example.com/Archive
expect_status 0
expect_equal "$out" $'1\n2\n3'
expect_no_err
expect_equal "$(facts joe@example.com/INBOX)" "$before"
expect_equal "$(facts joe@example.com/Archive)" "$before"
for uid in 1 2 3; do
  cmp "$inbox/000000000$uid.eml" "$archive/000000000$uid.eml" || complain "other bytes in $uid"
done
expect_equal "$(getfattr --absolute-names --only-values -n user.foreign "$archive/0000000002.eml")" kept
# A flag on one is not a flag on the other.
mailstore flag joe@example.com 1 +Flagged
expect_equal "$(facts joe@example.com/Archive)" "$before"
mailstore flag joe@example.com 1 -Flagged
clean

# Into the same mailbox, another user's, a shared folder.
run copy --json joe@example.com 3 joe@example.com/INBOX
expect_json 'len(rows) == 1' 'rows[0] == {"type": "copy", "uid": 3, "new_uid": 4}'
run copy joe@example.com/INBOX 2,4 'Other Users/ann@example.org'
expect_equal "$out" $'1\n2'
run move joe@example.com/INBOX 4 'Public Folders/News@example.com'
expect_equal "$out" 1
expect_equal "$(facts joe@example.com/INBOX)" "$before"
expect_equal "$(facts example.com/shared/News)" "$(sed -n 3p <<<"$before")"
clean

# What was moved can be brought back where it was.
mailstore undelete --uid 4 joe@example.com/INBOX >/dev/null
expect_equal "$(facts joe@example.com/INBOX)" "$before
$(sed -n 3p <<<"$before")"
mailstore move joe@example.com 4 joe@example.com/Archive >/dev/null

# Nothing is copied when one is missing or damaged, or there is nowhere to go.
archived=$(facts joe@example.com/Archive)
printf X | dd of="$inbox/0000000002.eml" conv=notrunc status=none
while read -r expected uids target; do
  for verb in copy move; do
    run "$verb" joe@example.com "$uids" "$target"
    [ "$status" -eq "$expected" ] || complain "$verb $uids $target: $status, not $expected"
    expect_no_out
    expect_one_error
  done
done <<'END'
66 1,9 joe@example.com/Archive
74 1:3 joe@example.com/Archive
66 1 joe@example.com/Nowhere
66 1 example.com
64 x joe@example.com/Archive
END
run move joe@example.com 1 joe@example.com
expect_status 64
run copy joe@example.com 1
expect_status 64
run copy joe@example.com 7:8 joe@example.com/Archive
expect_status 0
expect_no_out
expect_equal "$(facts joe@example.com/Archive)" "$archived"
expect_equal "$(mailstore list --no-headers joe@example.com/INBOX | wc -l)" 3

# More than one commit's worth, of one user to another.
mailstore mailbox create joe@example.com/Many ann@example.org/Many
seq -f 'Subject: %g' 1100 | split -l 1 --additional-suffix .eml - "$work/many."
mkdir "$work/many" && mv "$work"/many.* "$work/many"
mailstore -q import --format eml "$work/many" joe@example.com/Many
expect_equal "$(mailstore move joe@example.com/Many 1:1050 ann@example.org/Many | wc -l)" 1050
expect_equal "$(mailstore list --no-headers joe@example.com/Many | wc -l)" 50
expect_equal "$(mailstore list --no-headers ann@example.org/Many | wc -l)" 1050
