#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# restic of a mount.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"
needs_tool restic
export RESTIC_REPOSITORY=$work/copy RESTIC_PASSWORD=secret

device=
start_over() { restic init --quiet; }
make_snapshot() {
  last_device=$device
  device=$(awk -v mnt="$mnt" '$5 == mnt { print $3 }' /proc/self/mountinfo)
  tool env -C "$mnt" restic backup --json "$@" .
  run=$(figure snapshot_id)
}
back_up() { make_snapshot; }
back_up_all() { make_snapshot --force; }
extract() { tool restic restore "${2:-$run}" --target "$1"; }
figure() {
  sed -n "s/.*\"message_type\":\"summary\".*\"$1\":\"*\([0-9a-f]*\).*/\1/p" <<<"$said"
}
# Its description of each file has the number of the device, and each mount is a device of its own, which
# may have been another's meanwhile: then the descriptions are new ones, but no message is read.
expect_transferred() {
  expect_equal "$(figure files_new)/$(figure files_changed)/$(figure data_blobs)" "$1/0/$1" 'new, changed and their data'
  if [ "$1" -eq 0 ] && [ "$device" == "$last_device" ]; then
    expect_equal "$(figure dirs_changed)/$(figure data_added)" 0/0
  fi
}
# 3: not all could be read; the others are there.
expect_damage_told() {
  expect_equal "$status" 3
  [[ $err == *0000000011.eml* ]] || complain_here "not told: $err"
}
tell_story
