#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The figures of the store follow what happens to it, whoever does it, and nobody waits for them.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

make_sample_store
start -f -o worker=off
figures() {
  [ "$(status_of health) $(status_of messages) $(status_of behind)" == "$*" ]
}
within 20000 figures ok 8 0

# A file that was taken away by hand is noted nowhere.
rm "$store/mail/example.com/user/joe/INBOX/0000000002.eml"
within 20000 figures degraded 7 1
mailstore -q reconstruct -r >"$work/out" || true
within 20000 figures ok 7 0

# While the store is being counted, which takes as long as it takes, there is the last census.
if command -v strace >/dev/null; then
  strace -f -p "$daemon" -P "$store/mail/example.com/user/joe/INBOX" \
    -e trace=fstat,newfstatat -e inject=fstat,newfstatat:delay_enter=30000000 \
    2>"$work/strace" &
  tracer=$!
  within 20000 grep -q attached "$work/strace"
  sleep 1 # until a new census is due
  cat "$mnt/.ctl/health" >"$work/health" &
  first=$!
  sleep 0.3
  before=$(date +%s%3N)
  expect figures ok 7 0
  after=$(date +%s%3N)
  expect [ $((after - before)) -lt 20000 ]
  wait "$first"
  expect_equal "$(<"$work/health")" ok
  kill "$tracer"
  wait "$tracer" || true
fi
stop
