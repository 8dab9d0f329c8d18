#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# More messages than go over in one change: all of them do.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

for i in $(seq 9000); do
  printf 'From a@example.com Thu Jan  1 00:00:00 2026\nSubject: %s\n\n.\n\n' "$i"
done >"$work/many"
mailstore -q init
mailstore -q import --format mbox "$work/many" joe@example.com >"$work/out"
inbox=$MAILSTORE/mail/example.com/user/joe/INBOX
mailstore -q snapshot take before >"$work/out"

run expunge --uid 1:8999 joe@example.com/INBOX
expect_status 0
expect_err '1 mailbox, 8999 messages'
expect_err '8999 taken'
expect_equal "$(find "$inbox" -maxdepth 1 -name '*.eml' | wc -l)" 1
run check
expect_status 0
run --json --snapshot before list joe@example.com
expect_json 'rows[0]["messages"] == 9000'
run -q undelete joe@example.com/INBOX
expect_status 0
expect_equal "$(find "$inbox" -maxdepth 1 -name '*.eml' | wc -l)" 9000
run check
expect_status 0
