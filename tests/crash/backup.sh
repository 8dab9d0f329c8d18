#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A backup that is killed at a call that changes its directory or the store: it is never taken for complete
# unless it is, and the next run finishes it, copying only what is missing.
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
slower=1
[ -z "${MAILFS_SANITIZE:-}" ] || slower=7

give_up() {
  echo "killed at call $n below $watched: $*"
  exit 1
}

# What there is for a first backup, and for one that brings an older one up to date: messages that came, went and
# rotted, a mailbox that was renamed. `total` copies are in it at the end.
prepare() {
  rm -rf "$work/backup" "$work/store"
  cp -a "$work/before" "$work/store"
  mkdir "$work/backup"
  expected=$(dump "$MAILSTORE") total=8
  $again || return 0
  mailstore backup "$work/backup"
  mailstore deliver joe@example.com <"$sample/01-welcome.eml" >/dev/null
  mailstore undelete joe@example.com/INBOX >/dev/null
  mailstore expunge --uid 1 joe@example.com/INBOX >/dev/null
  mailstore mailbox rename joe@example.com/Lists joe@example.com/Renamed
  mailstore flag joe@example.com/INBOX 4 +Seen >/dev/null
  rm "$work/backup/mail/example.com/user/joe/INBOX/0000000003.eml"
  expected=$(dump "$MAILSTORE") total=9
}

# Kills at each $2nd of the calls below $1, of which there are more than $3.
kill_below() {
  local step=$(($2 * slower))
  watched=$1 n=1
  while true; do
    prepare
    local status=0 there
    "$MAILFS_BUILD/tests/crash/kill-at" -d "$watched" -n "$n" -e kill -l "$work/log" -- \
      "$MAILFS_BUILD/tools/mailstore" -q backup "$work/backup" >/dev/null 2>&1 || status=$?
    if ! $again && grep -qs complete=true "$work/backup/backup.conf"; then
      [ "$(dump "$work/backup")" == "$expected" ] || give_up 'complete, but it is not'
    fi
    [ "$status" -ne 0 ] || break
    there=$(find "$work/backup" -path '*/mail/*.eml' | wc -l)
    [[ $(mailstore backup --json "$work/backup" | tail -n 1) == *'"taken":'$((total - there)),* ]] ||
      give_up "there were $there of $total, and the next backup copies others than those that were missing"
    mailstore -s "$work/backup" check --full || give_up 'check finds something'
    [ "$(dump "$work/backup")" == "$expected" ] || give_up 'it is not the store'
    (cd "$work/backup" && sha256sum --quiet -c manifest.sha256) || give_up 'the manifest does not fit'
    ! compgen -G "$MAILSTORE/snapshots/*" >/dev/null || give_up 'its snapshot stays'
    n=$((n + step))
  done
  echo "killed at $((n - 1)) calls below $watched"
  [ "$n" -gt "$3" ] || give_up 'that is hardly ever'
}

cp -a "$work/store" "$work/before"
for again in false true; do
  kill_below "$work/backup" 2 20
  kill_below "$work/store" 7 20
done
