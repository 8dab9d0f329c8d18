#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A backup that is killed at any call that changes its directory: it is never taken for complete unless it
# is, and the next run finishes it.
set -euo pipefail
work=$(mktemp -d -t mailfs-crash.XXXXXX)
trap 'rm -rf -- "$work"' EXIT
mailstore() { "$MAILFS_BUILD/tools/mailstore" -q "$@"; }
export MAILSTORE=$work/store
sample=$MAILFS_SOURCE/contrib/sample
mailstore init
mailstore import --format eml "$sample" joe@example.com
mailstore expunge --uid 2 joe@example.com/INBOX >/dev/null
dump() { mailstore -s "$1" list --json -r && mailstore -s "$1" list --json joe@example.com/INBOX; }
expected=$(dump "$MAILSTORE")
step=1
[ -z "${MAILFS_SANITIZE:-}" ] || step=7

# A first backup, and one that brings an older one up to date.
for again in false true; do
  for ((n = 1; ; n += step)); do
    rm -rf "$work/backup"
    mkdir "$work/backup"
    if $again; then
      mailstore backup "$work/backup" joe@example.com/INBOX
      rm "$work/backup/mail/example.com/user/joe/INBOX/0000000003.eml"
    fi
    status=0
    "$MAILFS_BUILD/tests/crash/kill-at" -d "$work/backup" -n "$n" -e kill -l "$work/log" -- \
      "$MAILFS_BUILD/tools/mailstore" -q backup "$work/backup" >/dev/null 2>&1 || status=$?
    if grep -qs complete=true "$work/backup/backup.conf" && ! $again; then
      [ "$(dump "$work/backup")" == "$expected" ] || { echo "call $n: complete, but it is not"; exit 1; }
    fi
    [ "$status" -ne 0 ] || break
    mailstore backup "$work/backup" || { echo "call $n: the next backup fails"; exit 1; }
    mailstore -s "$work/backup" check --full || { echo "call $n: check finds something"; exit 1; }
    [ "$(dump "$work/backup")" == "$expected" ] || { echo "call $n: it is not the store"; exit 1; }
  done
  echo "killed at $((n - 1)) calls"
  [ "$n" -gt 20 ] || { echo 'it was hardly ever killed'; exit 1; }
done
