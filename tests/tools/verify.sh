#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore verify: every message against its digest, and what becomes of what differs.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
for user in joe ann; do
  for _ in 1 2; do
    mailstore deliver -c "$user@example.com" <"$sample/01-welcome.eml" >/dev/null
  done
done

run verify
expect_status 0
expect_no_out
expect_err '2 mailboxes, 4 messages'
run verify --json joe@example.com
expect_json 'rows[-1]["messages"] == 2' 'rows[-1]["left"] == 0'

file=$store/mail/example.com/user/joe/INBOX/0000000002.eml
printf '\377' | dd of="$file" bs=1 seek=20 conv=notrunc status=none
run verify -n
expect_status 1
expect_out 'hash-mismatch'
expect_out 'example.com/user/joe/INBOX/0000000002.eml'
run queue
expect_equal "$(grep -c repair <<<"$out")" 0 'a dry run queued something'

# The repair that it asks for marks the message as damaged.
run verify
expect_status 1
run queue
expect_equal "$(grep -c repair <<<"$out")" 1
mailstore -q work --until-empty 2>/dev/null
run list --json joe@example.com/INBOX
expect_json 'rows[1]["damage"] == ["digest"]' 'rows[0]["damage"] == []'
run verify ann@example.com
expect_status 0
