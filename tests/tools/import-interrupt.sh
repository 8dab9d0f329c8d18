#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Ctrl-C, and worse, in the middle of an import: run again, it goes on where it was.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
mkdir "$work/source"
for i in $(seq 3000); do
  printf 'Subject: message %d\n\n%d\n' "$i" "$i" >"$work/source/$i.eml"
done

# Stops an import with signal $1 when some messages have come in; leaves $status.
stop_import() {
  local pid waited=0
  mailstore import --format eml "$work/source" joe@example.com >"$work/out" 2>"$work/err" &
  pid=$!
  until [ -n "$(find "$store/mail" -name '*.eml' -print -quit)" ] || [ "$waited" -ge 600 ]; do
    waited=$((waited + 1))
    sleep 0.05
  done
  kill "-$1" "$pid" 2>/dev/null || true
  status=0
  wait "$pid" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
}

# A background job of a script ignores SIGINT, so it is SIGTERM that says the same here.
stop_import TERM
if [ "$status" -ne 0 ]; then
  expect_status 143
  expect_one_error
  expect_equal "$(find "$store/tmp" -type f | wc -l)" 0 'tmp/ is not empty'
fi
run check
expect_status 0
stop_import KILL
run import --format eml "$work/source" joe@example.com
expect_status 0
expect_out ' 0 failed of 3000'
expect_equal "$(count)" 3000
run check --full
expect_status 0
