#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# rsync through a mount.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_tool rsync
make_copy() { tool rsync -i --stats "$@" "$mnt/" "$work/copy/"; }
start_over() { rm -rf "$work/copy"; }
back_up() { make_copy "${options[@]}"; }
back_up_all() { make_copy "${options[@]}" --checksum; }
extract() { cp -a "$work/copy" "$1"; }

# Itemized is also a directory whose date has changed: as many as messages came into.
expect_transferred() {
  expect_equal "$(sed -n 's/^Number of regular files transferred: //p' <<<"$said")" "$1"
  expect_equal "$(grep -c '^>f' <<<"$said")" "$1"
  [ "$1" -gt 0 ] || expect_equal "$(sed '/^$/,$d' <<<"$said")" '' 'itemized'
}
# 23: partial transfer due to error.
expect_damage_told() {
  expect_equal "$status" 23
  [[ $err == *0000000011.eml*'Input/output error'* ]] || complain_here "not told: $err"
}

# Of dates it compares and sets whole seconds.
options=(-aX --delete) compare_options=(--seconds)
tell_story

# Without attributes the rest is the same, and so it is when each run makes a tree of its own.
way=live options=(-a --delete) compare_options=(--seconds --no-attributes)
begin
tell_of_change
begin
options=(-a)
for night in 1 2; do
  options+=(--link-dest=../night$((night - 1)))
  mkdir -p "$work/night0"
  start_for_backup
  tool rsync "${options[@]}" --stats "$mnt/" "$work/night$night/"
  expect_ok
  stop
done
expect_equal "$(find "$work/night2" -type f -links 1 | wc -l)" 0 'not shared'
expect_equal "$(find "$work/night2" -type f -links 2 | wc -l)" 300 'shared'
