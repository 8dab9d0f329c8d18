#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rdiff-backup of a mount.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_tool rdiff-backup
"$(sed '1s/^#!//; q' "$(command -v rdiff-backup)")" -c 'import xattr' 2>/dev/null || skip 'no python3-pyxattr, without which it copies no attributes'
# Of dates it keeps whole seconds. It names each run after the second in which it began.
compare_options=(--seconds)

start_over() { now=$(date -d yesterday +%s); }
back_up() {
  now=$((now + 60))
  tool rdiff-backup --current-time "$now" backup "$mnt" "$work/copy"
  # 2: warnings, such as that it takes back what a run that failed had begun.
  [[ $status -ne 2 || $err != *'regressing destination now'* ]] || status=0
}
# What it has it reads again only where something is different.
back_up_all() { back_up; }
extract() {
  # Of a run that failed it asks to be taken back first.
  rdiff-backup -v 0 restore "$work/copy" "$1" 2>/dev/null || {
    rdiff-backup -v 0 regress "$work/copy" || true
    rdiff-backup -v 0 --force restore "$work/copy" "$1"
  }
}
latest() {
  local files=("$work/copy/rdiff-backup-data/$1".*)
  zcat -f "${files[-1]}"
}
# A message, or the directory that messages came into: 14 are there.
expect_transferred() {
  local directories=$(($1 > 0))
  [ "$1" -lt 300 ] || directories=14
  expect_equal "$(latest file_statistics | grep -c '\.eml 1 ')" "$1" messages
  expect_equal "$(latest file_statistics | grep -v '\.eml ' | grep -c '^[^#].* 1 ')" "$directories" directories
  expect_equal "$(latest session_statistics | sed -n 's/^DeletedFiles //p')" 0 deleted
}
# It says so, counts it, and exits with 0 all the same.
expect_damage_told() {
  [[ $err == *"UpdateError: "*0000000011.eml*'Input/output error'* ]] || complain_here "not told: $err"
  expect_equal "$(latest session_statistics | sed -n 's/^Errors //p')" 1
}
tell_story
