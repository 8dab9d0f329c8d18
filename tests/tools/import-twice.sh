#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two imports into one user at the same time: the second is refused, and nothing comes in twice.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mkdir "$work/source"
for i in $(seq 300); do
  printf 'Subject: message %d\n\n%d\n' "$i" "$i" >"$work/source/$i.eml"
done
mailstore -q deliver -c joe@example.com <"$work/source/1.eml"

# Somebody holds the user's lock, so that the first import cannot end before the second begins.
flock "$store/mail/example.com/user/joe" -c "touch '$work/held'; until [ -e '$work/go' ]; do sleep 0.01; done" &
holder=$!
until [ -e "$work/held" ]; do sleep 0.01; done
mailstore import --format eml "$work/source" joe@example.com >"$work/first" 2>&1 &
importer=$!
until [ -n "$(find "$store/tmp" -type f -print -quit)" ]; do sleep 0.01; done
run import --format eml "$work/source" joe@example.com
[ "$status" -ne 0 ] || complain 'two imports ran at the same time'
expect_one_error
expect_err 'another import'
run import --format eml "$work/source" ben@example.com
expect_status 0
touch "$work/go"
wait "$holder"
wait "$importer" || complain "the first import failed: $(<"$work/first")"

run import --format eml "$work/source" joe@example.com
expect_status 0
expect_out '0 imported, 300 known, 0 failed'
expect_equal "$(count)" 600
run check --full
expect_status 0
expect_equal "$(find "$store/tmp" -type f | wc -l)" 0 'tmp/ is not empty'
