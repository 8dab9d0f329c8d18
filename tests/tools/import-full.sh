#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A full disk in the middle of an import: an error, a sound store, and no duplicates afterwards.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
[ "$(id -u)" -eq 0 ] || skip 'needs root to mount a small filesystem'

mkdir "$work/disk"
mount -t tmpfs -o size=30m tmpfs "$work/disk" || skip 'cannot mount a tmpfs'
mounts+=("$work/disk")
store=$work/disk/store
export MAILSTORE=$store
mailstore -q init

mkdir "$work/source"
for i in $(seq 1600); do
  { printf 'Subject: message %d\n\n' "$i"; head -c 15000 /dev/urandom | base64; } >"$work/source/$i.eml"
done
run import --format eml "$work/source" joe@example.com
expect_status 74
expect_one_error
expect_err 'No space left'
some=$(count)
[ "$some" -lt 1600 ] || complain 'all of it found room'
[ "$some" -gt 0 ] || complain 'nothing was kept of what found room'

# A delivery that finds no room fails as cleanly.
head -c 30000000 /dev/urandom >"$work/large"
run deliver joe@example.com <"$work/large"
expect_status 74
expect_one_error
expect_no_out
run check joe@example.com # the whole store would say that the disk is full
expect_status 0
expect_equal "$(find "$store/tmp" -type f | wc -l)" 0 'tmp/ is not empty'

mount -o remount,size=120m "$work/disk"
run import --format eml "$work/source" joe@example.com
expect_status 0
expect_out "$((1600 - some)) imported, $some known, 0 failed"
expect_equal "$(count)" 1600
run check --full
expect_status 0
expect_equal "$(find "$store/mail" -name '*.eml' -exec sha256sum {} + | cut -c-64 | sort)" \
  "$(sha256sum "$work"/source/*.eml | cut -c-64 | sort)" 'bytes of the messages'
