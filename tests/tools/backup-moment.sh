#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A backup is the whole store of one moment: a message that goes back and forth between two users is in it once, and
# changes that were made one after the other are never there without those before.
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/lib.sh"

mailstore -q init
for user in ann zed; do
  mailstore import -q --format eml "$sample" "$user@example.com" >/dev/null
done
mailstore -q deliver -c ann@example.com/Ball <"$sample/05-bounce.eml" >/dev/null
mailstore -q mailbox create zed@example.com/Ball
backup=$work/backup

# One and the same number goes onto a message of each user, one after the other; the ball changes hands.
play() {
  local from=ann to=zed round=0
  until [ -e "$work/stop" ]; do
    round=$((round + 1))
    mailstore -q flag ann@example.com/INBOX 1 "=N$round"
    mailstore -q flag zed@example.com/INBOX 1 "=N$round"
    mailstore -q move "$from@example.com/Ball" '1:*' "$to@example.com/Ball"
    mailstore -q deliver "$from@example.com/INBOX" <"$sample/01-welcome.eml"
    read -r from to <<<"$to $from"
    echo "$round" >"$work/round.new"
    mv "$work/round.new" "$work/round"
  done
}
play >"$work/log" 2>&1 &
player=$!
until [ -s "$work/round" ] || [ ! -e "/proc/$player" ]; do sleep 0.01; done

for ((i = 0; i < 15; i++)); do
  seen=$(cat "$work/round")
  run backup "$backup"
  expect_status 0
  run -s "$backup" list -r --json
  expect_json 'sum(row["messages"] for row in rows if row["mailbox"].endswith("/Ball")) == 1'
  numbers=$(for user in ann zed; do
    mailstore -s "$backup" list --json "$user@example.com/INBOX" | sed -nE '/"uid":1,/s/.*"N([0-9]+)".*/\1/p'
  done | paste -sd ' ')
  read -r ann zed <<<"$numbers" || true
  [ "${ann:-0}" -ge "$seen" ] || complain "begun after round $seen, and is of round $ann"
  [ "${ann:-0}" -eq "${zed:--1}" ] || [ "${ann:-0}" -eq $((zed + 1)) ] || complain "ann has $ann, zed has $zed"
  run -s "$backup" check
  expect_status 0
done
touch "$work/stop"
wait "$player" || complain "$(tail -n 3 "$work/log")"
run backup "$backup"
expect_equal "$(mailstore -s "$backup" list --json -r)" "$(mailstore list --json -r)" 'the last backup'
