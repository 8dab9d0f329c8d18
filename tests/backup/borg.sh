#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# borg of a mount.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_tool borg
export BORG_REPO=$work/copy BORG_BASE_DIR=$work/cache BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes

start_over() {
  run=0 chunks=0
  borg init --encryption=none 2>"$work/said"
}
create() {
  run=$((run + 1))
  tool env -C "$mnt" borg create --json --list --filter=AMCE "$@" "::$run" .
}
back_up() { create; }
back_up_all() { create --files-cache=disabled; }
extract() {
  mkdir "$1"
  tool env -C "$1" borg extract "::${2:-$run}"
}

# A chunk a message, since they are small, one of the archive's own, and some of the names if they are
# others. Of files that are not new it reads the last that was changed.
expect_transferred() {
  local own=$((-chunks - $1))
  chunks=$(sed -n 's/.*"total_unique_chunks": \([0-9]*\),/\1/p' <<<"$said")
  own=$((own + chunks))
  expect [ "$own" -ge 1 ] && expect [ "$own" -le $((1 + ($1 > 0) * 3)) ]
  expect [ "$(grep -c '^[AMC] ' <<<"$err")" -le "$(($1 + 1))" ]
}
# A warning, and the file is in none but the older archives.
expect_damage_told() {
  expect_equal "$status" 1
  [[ $err == *'0000000011.eml: read: [Errno 5] Input/output error'* ]] || complain_here "not told: $err"
}
tell_story
