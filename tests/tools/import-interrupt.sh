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

threads() {
  find "/proc/$1/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l
}

# Somebody holds the user's lock, so that the import is under way, and cannot end, when signal $1 comes.
# It has noticed when its workers are gone, which wait for more to do as long as it goes on.
stop_import() {
  local importer before
  hold
  mailstore import --format eml "$work/source" joe@example.com >"$work/out" 2>"$work/err" &
  importer=$!
  until [ -n "$(find "$store/tmp" -type f -print -quit)" ]; do sleep 0.01; done
  before=$(threads "$importer")
  kill "-$1" "$importer"
  until [ "$(threads "$importer")" -lt "$before" ]; do sleep 0.01; done
  release
  status=0
  wait "$importer" || status=$?
  out=$(<"$work/out") err=$(<"$work/err")
}

mailstore deliver -c joe@example.com <"$work/source/1.eml" >/dev/null
# A background job of a script ignores SIGINT, so it is SIGTERM that says the same here.
stop_import TERM
expect_status 143
expect_one_error
expect_err 'messages imported; run it again'
expect_equal "$(find "$store/tmp" -type f | wc -l)" 0 'tmp/ is not empty'
[ "$(count)" -lt 3000 ] || complain 'all messages came in'
run check
expect_status 0
stop_import KILL
expect_status 137
run import --format eml "$work/source" joe@example.com
expect_status 0
expect_out ' 0 failed of 3000'
expect_equal "$(count)" 3000
run check --full
expect_status 0
