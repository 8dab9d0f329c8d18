#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tar of a mount, each archive holding what is new since the one before.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_tool tar

start_over() {
  mkdir "$work/copy"
  run=0
  full=1
}
# Each mount is a device of its own. The list is of what is in good archives only: of a message that could
# not be read tar makes zeros, and counts it as done.
back_up() {
  local list=$work/copy/list
  run=$((run + 1))
  : >>"$list"
  cp "$list" "$list.new"
  tool tar --create --verbose --xattrs --format=posix --no-check-device --listed-incremental="$list.new" \
    --file="$work/copy/$run.tar" --directory="$mnt" .
  if [ "$status" -eq 0 ]; then
    mv "$list.new" "$list"
  else
    run=$((run - 1))
  fi
}
back_up_all() {
  rm "$work/copy/list"
  back_up
  [ "$status" -ne 0 ] || full=$run
}
extract() {
  local number
  mkdir "$1"
  for number in $(seq "$full" "$run"); do
    tar --extract --xattrs --listed-incremental=/dev/null --file="$work/copy/$number.tar" --directory="$1"
  done
}
expect_transferred() {
  expect_equal "$(grep -c '\.eml$' <<<"$said")" "$1"
}
expect_damage_told() {
  expect_equal "$status" 2
  [[ $err == *'0000000011.eml: Read error at byte 0'*'Input/output error'* ]] || complain_here "not told: $err"
}
tell_story
