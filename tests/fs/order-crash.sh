#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A daemon that is killed with jobs waiting, running and waited for: none is lost, nobody hangs.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
mailstore -q import --format eml "$sample" ann@example.com >"$work/out"
allow_log 'job [0-9]+: '
ctl=$mnt/.ctl
is_state() {
  [ "$(<"$ctl/jobs/$1/state")" == "$2" ]
}

for round in 1 2 3; do
  start -f
  hold
  echo 'force' >"$mnt/example.com/user/joe/.ctl/reconstruct"
  running=$(cut -d ' ' -f 2 "$mnt/example.com/user/joe/.ctl/reconstruct")
  within 10000 is_state "$running" running
  printf '%s\n' 'verify ann@example.com' "check ann@example.com tag=round$round" >"$work/order"
  cat "$work/order" >"$ctl/ctl"
  last=$(readlink "$ctl/jobs/last")
  (echo 'wait' >"$ctl/purge") 2>"$work/waiter" &
  waiter=$!
  until [[ $(<"$ctl/purge") == queued* ]]; do sleep 0.01; done
  kill -KILL "$daemon"
  wait "$daemon" 2>/dev/null || true
  daemon=
  ! wait "$waiter" || complain_here 'the writer was told that all is well'
  umount -l "$mnt"
  release
  start -f
  for ((id = running; id <= last + 1; id++)); do
    within 20000 is_state "$id" 'done'
  done
  expect_equal "$(grep -c "\"tag\":\"round$round\"" "$ctl/audit")" 1
  stop
done
run check
expect_status 0
