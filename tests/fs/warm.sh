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
  tar -cf - -C "$mnt" . | md5sum
  python3 - "$mnt" <<'PYTHON'
import os, sys
for path, _, files in os.walk(sys.argv[1]):
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
  [ "$(answered walk)" -le "$idle" ]
}
needs_no_daemon() {
  local stopped
  walk >"$work/out"
  kill -STOP "$daemon"
  stopped=$(timeout 10 bash -c "$(declare -f walk); mnt=$mnt; walk") || true
  kill -CONT "$daemon"
  [ "$stopped" == "$sum" ]
}

for access in ro rw; do
  start -f -o "$access"
  idle=$(answered true)
  expect [ "$idle" -le 20 ]

  # A first walk takes a reply for hundreds of messages, a second none but one a directory for access
  # times, which the kernel does not keep where they could change.
  first=$(answered find "$mnt" -printf '%s %T@\n')
  expect [ "$first" -lt $((idle + 40)) ]
  expect [ "$(answered find "$mnt" -printf '%s %T@\n')" -le $((idle + 8)) ]

  # Once all is read and looked at, nothing is asked, so the daemon is not needed.
  sum=$(walk)
  expect try asks_nothing
  expect try needs_no_daemon
  stop
done
