#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What was walked and read once does not reach the daemon again: it may even be stopped.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mkdir -p "$work/mail/Sub"
for i in $(seq 400); do
  printf 'Subject: %s\n\n%s\n' "$i" "$i" >"$work/mail/Sub/$i.eml"
done
cp -r "$work/mail/Sub" "$work/mail/Other"
mailstore -q import --format eml "$work/mail" joe@example.com >"$work/out"

# Looks at everything twice and reads it: in the end the kernel has all of it.
walk() {
  tar -cf - . | md5sum
  (cd / && python3 -) 3<. <<'PYTHON'
import os
os.fchdir(3)
for path, _, files in os.walk('.'):
    for name in files:
        os.access(os.path.join(path, name), os.R_OK)
        os.stat(os.path.join(path, name))
PYTHON
}
answered() {
  local before
  before=$(requests)
  "$@" >"$work/out"
  echo $(($(requests) - before))
}
# Somebody else on this machine may drop the kernel's caches at any moment, so these are tried some times.
try() {
  for _ in 1 2 3 4 5; do
    if "$@"; then
      return 0
    fi
  done
  return 1
}
asks_nothing() {
  [ "$(answered walk)" -le $((idle + on_the_way)) ]
}
needs_no_daemon() {
  local stopped
  walk >"$work/out"
  kill -STOP "$daemon"
  stopped=$(env -u PWD timeout 60 bash -c "$(declare -f walk); walk") || true
  kill -CONT "$daemon"
  [ "$stopped" == "$sum" ]
}

# A snapshot in the control directory as well. Only the way there is asked for, each time that a program
# wants to know where it is, and never any of the 800 messages.
mailstore -q snapshot take old >"$work/out"
for access in ro rw snapshot=old .ctl/snapshots/old; do
  if [[ $access == .* ]]; then
    start -f
    cd "$mnt/$access"
    export -n PWD
    on_the_way=60
  else
    start -f -o "$access"
    cd "$mnt"
    on_the_way=0
  fi
  # A status that takes long to make is held for long, and then does not tell of the last requests.
  idle=0
  for _ in 1 2 3 4 5; do
    nothing=$(answered true)
    idle=$((nothing > idle ? nothing : idle))
  done
  expect [ "$idle" -le 20 ]

  # A first walk takes a reply for hundreds of messages, a second none but one a directory for access
  # times, which the kernel does not keep where they could change.
  first=$(answered find . -printf '%s %T@\n')
  expect [ "$first" -lt $((idle + on_the_way + 40)) ]
  expect [ "$(answered find . -printf '%s %T@\n')" -le $((idle + on_the_way + 8)) ]

  # Once all is read and looked at, nothing is asked, so the daemon is not needed.
  sum=$(walk)
  expect try asks_nothing
  expect try needs_no_daemon
  cd "$work"
  stop
done
