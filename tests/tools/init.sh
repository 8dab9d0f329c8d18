#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# mailstore init: an empty store, once.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

run init
expect_status 0
expect_err "$store"
expect_no_out
[ -f "$store/mailfs.conf" ] || complain 'no mailfs.conf'
run list
expect_status 0
expect_no_out
run check
expect_status 0
expect_no_out

run init
expect_status 73
expect_one_error
run init "$store"
expect_status 73

mkdir "$work/other"
touch "$work/other/file"
run init "$work/other"
expect_status 73
expect_one_error
expect_equal "$(ls -A "$work/other")" file 'init left something behind'

run -q init "$work/quiet"
expect_status 0
expect_no_err
run --json init "$work/json"
expect_status 0
expect_json 'len(rows) == 1' 'rows[0]["type"] == "store"' 'len(rows[0]["uuid"]) == 36' \
  "rows[0]['path'] == '$work/json'"

mkdir "$work/empty"
run init "$work/empty"
expect_status 0
run init one two
expect_status 64

chmod 755 "$work"
mkdir -m 755 "$work/roots"
status=0
err=$(as_nobody mailstore init "$work/roots/theirs" 2>&1) || status=$?
expect_status 77
[ ! -e "$work/roots/theirs" ] || complain 'init made a directory without permission'
