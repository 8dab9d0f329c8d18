#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check tells that a filesystem is nearly full when it is, and once; fsck and cron go by what it says.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mkdir "$work/small"
mount -t tmpfs -o size=32m,mode=700 tmpfs "$work/small" 2>/dev/null || skip 'nothing can be mounted here'
mounts+=("$work/small")
store=$work/small/store
export MAILSTORE=$store
mailstore -q init
printf 'Subject: nul\n\na\0b\n' | mailstore -q deliver -c joe@example.com >/dev/null

# 32 MiB are little, but nearly all of it is free. Nor is anything wrong with a NUL, or with state kept in .state.
run check --full
expect_status 0
expect_out 'nul                example.com/user/joe/INBOX/0000000001.eml'
expect_err '0 left'
status=0
out=$(fsck.mailfs -n -f "$store") || status=$?
expect_status 0
expect_out clean

head -c 40M /dev/zero >"$work/small/full" 2>/dev/null || true
run check
expect_status 1
expect_equal "$(grep -c '^disk-space ' "$work/out")" 1
expect_out '../mail  0 of 32 MiB are free'
rm "$work/small/full"
run check
expect_status 0
