#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# On a full disk what is done at once can make room, though nothing can be written down of it.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

small=$work/small
mkdir "$small"
mount -t tmpfs -o size=4m none "$small"
mounts+=("$small")
store=$small/store
export MAILSTORE=$store
make_sample_store
mailstore -q mailbox remove joe@example.com/Lists >"$work/out"
place=$(mailstore --json quarantine | sed 's/.*"path":"\([^"]*\)".*/\1/')

allow_log 'No space left'
start -f -o worker=off
dd if=/dev/zero of="$small/fill" bs=4k 2>/dev/null || true
expect_error ENOSPC bash -c "echo 'check now' >'$mnt/.ctl/ctl'"
echo "quarantine-remove force $place" >"$mnt/.ctl/ctl"
expect_equal "$(mailstore quarantine)" ''
rm "$small/fill"
stop
