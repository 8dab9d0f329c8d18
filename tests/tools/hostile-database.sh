#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Databases that somebody has made to do harm: they loop, claim to be huge, bring SQL of their own, or control bytes.
# Whoever looks at them comes to an end, nothing runs, nothing shows raw bytes; evidence shows all messages and stays as
# it is, and a repair leaves a whole store.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

crafted=$MAILFS_SOURCE/tests/tools/crafted.py
base=$work/base
mailstore -q -s "$base" init
mailstore -q -s "$base" import --format eml "$sample" joe@example.com
mailstore -q -s "$base" queue add check >"$work/out"

# Nothing takes long: minutes are for machines that are busy, and sanitizers.
try() {
  local raw
  status=0
  timeout 180 mailstore -s "$store" "$@" >"$work/out" 2>"$work/err" </dev/null || status=$?
  [ "$status" -lt 124 ] || complain "$kind of $database: $* ended with $status"
  raw=$(cat "$work/out" "$work/err" | LC_ALL=C tr -d '\n\t[:print:]\200-\377' | wc -c)
  [ "$raw" -eq 0 ] || complain "$kind of $database: $* printed control bytes"
  ! grep -q CRITICAL "$work/err" || complain "$kind of $database: $*: $(<"$work/err")"
}
messages() {
  grep -c '^ *[0-9]' "$work/out"
}
# What the files are; the holes of huge ones would take long to read.
dump() {
  find "$store" -type f -printf '%P %s %b %T@ %C@\n' | sort
  find "$store" -type f -size -64M -exec sha256sum {} + | sort
}

for database in index/example.com/user/joe.sqlite3 mailboxes.sqlite3 queue.sqlite3; do
  for kind in $(python3 -B "$crafted"); do
    rm -rf "$store"
    cp -a "$base" "$store"
    timeout 60 python3 -B "$crafted" "$kind" "$store/$database" || complain "$kind of $database was not made"

    dump >"$work/before"
    try --forensic list joe@example.com/INBOX
    [ "$(messages)" -eq 5 ] || complain "$kind of $database: evidence shows $(messages) messages"
    dump >"$work/after"
    cmp -s "$work/before" "$work/after" || complain "$kind of $database: the evidence was changed"

    [[ $database == index/* ]] && try list -l joe@example.com/Receipts
    try check
    try repair
    try check
    # The queue is set aside when somebody who uses it meets the damage.
    [ "$status" -eq 0 ] || [[ $database == queue.* && $(grep -vc 'bad-index .*queue' "$work/out") -eq 0 ]] ||
      complain "$kind of $database: not repaired: $(<"$work/out")"
    try list joe@example.com/INBOX
    [ "$(messages)" -eq 5 ] || complain "$kind of $database: $(messages) messages are left"
  done
done
