#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore cat: a message, byte for byte, or none of it.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mailstore -q deliver -c joe@example.com <"$sample/03-alternative.eml" >/dev/null
head -c 5000000 /dev/urandom >"$work/large"
mailstore deliver joe@example.com <"$work/large" >/dev/null

run cat joe@example.com/INBOX 1
expect_status 0
expect_no_err
cmp "$work/out" "$sample/03-alternative.eml" || complain 'bytes differ'
mailstore cat joe@example.com/INBOX 2 | cmp - "$work/large" || complain 'bytes of a large message differ'

run cat joe@example.com/INBOX 3
expect_status 66
expect_one_error
expect_no_out
run cat joe@example.com/INBOX
expect_status 64
for uid in 0 x -1 1x 4294967296 ''; do
  run cat -- joe@example.com/INBOX "$uid"
  expect_status 64
  expect_one_error
done
run cat joe@example.com/Missing 1
expect_status 66
run cat example.com 1
expect_status 66

# One changed byte: nothing is written, unless it is asked for.
file=$(find "$store/mail" -name 0000000002.eml)
printf X | dd of="$file" bs=1 seek=4000000 conv=notrunc status=none
run cat joe@example.com/INBOX 2
expect_status 74
expect_no_out
expect_err --damaged
mailstore cat --damaged joe@example.com/INBOX 2 | cmp - "$file" || complain '--damaged wrote something else'
truncate -s 100 "$file"
run cat joe@example.com/INBOX 2
expect_status 74
expect_no_out
run cat --damaged joe@example.com/INBOX 2
expect_status 0
expect_equal "$(wc -c <"$work/out")" 100
